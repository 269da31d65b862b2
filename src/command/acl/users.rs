//! ACL SETUSER, GETUSER, DELUSER, USERS, LIST, WHOAMI.

use crate::resp::{Args, Reply};
use crate::server::Ctx;
use crate::server::acl::{SelectorText, has_blank};
use crate::server::error::{CommandResult, ReplyError};

pub(super) fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let name = args.at(2);
    if has_blank(name) {
        return Err(ReplyError::err("Usernames can't contain spaces or null characters"));
    }
    let rules: Vec<&[u8]> = args.tail(3).iter().collect();
    ctx.server.set_user(name, &rules)?;
    ctx.out.ok();
    Ok(())
}

pub(super) fn delete(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.tail(2).iter().any(|name| name == b"default") {
        return Err(ReplyError::err("The 'default' user cannot be removed"));
    }
    let deleted = args.tail(2).iter().filter(|name| ctx.server.delete_user(name)).count();
    ctx.out.integer(deleted as i64);
    Ok(())
}

pub(super) fn show(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Some(user) = ctx.server.acl.by_name(args.at(2)) else {
        ctx.out.null();
        return Ok(());
    };
    ctx.out.map(6);
    ctx.out.bulk(b"flags");
    let flags = user.flag_names();
    ctx.out.set(flags.len());
    flags.iter().for_each(|flag| ctx.out.bulk_str(flag));
    ctx.out.bulk(b"passwords");
    let hashes: Vec<Vec<u8>> = user.password_hashes().collect();
    ctx.out.array(hashes.len());
    hashes.iter().for_each(|hash| ctx.out.bulk(hash));
    let selectors = user.selector_texts();
    show_selector(ctx.out, &selectors[0]);
    ctx.out.bulk(b"selectors");
    ctx.out.array(selectors.len() - 1);
    for selector in &selectors[1..] {
        ctx.out.map(3);
        show_selector(ctx.out, selector);
    }
    Ok(())
}

/// Three fields and their values.
fn show_selector(out: &mut Reply, selector: &SelectorText) {
    let fields =
        [("commands", &selector.commands), ("keys", &selector.keys), ("channels", &selector.channels)];
    for (name, text) in fields {
        out.bulk_str(name);
        out.bulk(text);
    }
}

pub(super) fn list(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let users = ctx.server.acl.users();
    ctx.out.array(users.len());
    users.for_each(|user| ctx.out.bulk(&user.line()));
    Ok(())
}

pub(super) fn names(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let users = ctx.server.acl.users();
    ctx.out.array(users.len());
    users.for_each(|user| ctx.out.bulk(user.name()));
    Ok(())
}

pub(super) fn who_am_i(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    match ctx.client().user.and_then(|id| ctx.server.acl.user(id)) {
        Some(user) => ctx.out.bulk(user.name()),
        None => ctx.out.null(),
    }
    Ok(())
}
