//! CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO.

use super::settings::on_or_off;
use crate::base::numbers::parse_i64;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::tracking::ClientTracking;
use crate::server::{Ctx, Server};
use std::collections::BTreeSet;

pub(super) fn tracking(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let wanted = parse_options(ctx.server, args)?;
    if on_or_off(args.at(2))? {
        let before = ctx.client().tracking.as_deref();
        check_options(&wanted, before)?;
        let given = given_prefixes(args);
        check_prefixes(&given, before.map(|tracking| &tracking.prefixes))?;
        let client = ctx.client;
        ctx.server.enable_tracking(client, wanted);
    } else {
        let client = ctx.client;
        ctx.server.disable_tracking(client);
    }
    ctx.out.ok();
    Ok(())
}

fn parse_options(server: &Server, args: Args<'_>) -> Result<ClientTracking, ReplyError> {
    let mut wanted = ClientTracking::default();
    let mut index = 3;
    while let Some(option) = args.get(index) {
        let value = args.get(index + 1);
        match (option.to_ascii_lowercase().as_slice(), value) {
            (b"redirect", Some(value)) => {
                if wanted.redirect != 0 {
                    return Err(ReplyError::err("A client can only redirect to a single other client"));
                }
                wanted.redirect = parse_redirect(server, value)?;
                index += 1;
            }
            (b"prefix", Some(value)) => {
                wanted.prefixes.insert(value.into());
                index += 1;
            }
            (b"bcast", _) => wanted.broadcast = true,
            (b"optin", _) => wanted.opt_in = true,
            (b"optout", _) => wanted.opt_out = true,
            (b"noloop", _) => wanted.no_loop = true,
            _ => return Err(error::SYNTAX),
        }
        index += 1;
    }
    Ok(wanted)
}

fn parse_redirect(server: &Server, value: &[u8]) -> Result<u64, ReplyError> {
    let id = parse_i64(value).ok_or(error::NOT_INTEGER)?;
    let known = u64::try_from(id).ok().filter(|id| server.clients.by_id(*id).is_some());
    known.ok_or(ReplyError::err("The client ID you want redirect to does not exist"))
}

/// Prefixes in the order given: two equal ones overlap.
fn given_prefixes<'a>(args: Args<'a>) -> Vec<&'a [u8]> {
    let mut given = Vec::new();
    let mut index = 3;
    while let Some(option) = args.get(index) {
        let takes_value = option.eq_ignore_ascii_case(b"prefix") || option.eq_ignore_ascii_case(b"redirect");
        if option.eq_ignore_ascii_case(b"prefix") {
            given.extend(args.get(index + 1));
        }
        index += 1 + usize::from(takes_value);
    }
    given
}

fn check_options(wanted: &ClientTracking, before: Option<&ClientTracking>) -> CommandResult {
    if !wanted.broadcast && !wanted.prefixes.is_empty() {
        return Err(ReplyError::err("PREFIX option requires BCAST mode to be enabled"));
    }
    if before.is_some_and(|before| before.broadcast != wanted.broadcast) {
        return Err(ReplyError::err(
            "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        ));
    }
    if wanted.broadcast && (wanted.opt_in || wanted.opt_out) {
        return Err(ReplyError::err("OPTIN and OPTOUT are not compatible with BCAST"));
    }
    if wanted.opt_in && wanted.opt_out {
        return Err(ReplyError::err("You can't specify both OPTIN mode and OPTOUT mode"));
    }
    let switches =
        |before: &ClientTracking| (wanted.opt_in && before.opt_out) || (wanted.opt_out && before.opt_in);
    if before.is_some_and(switches) {
        return Err(ReplyError::err(
            "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        ));
    }
    Ok(())
}

/// No two prefixes of a client may match one key, or it would be told twice.
fn check_prefixes(given: &[&[u8]], before: Option<&BTreeSet<Box<[u8]>>>) -> CommandResult {
    let overlap = |first: &[u8], second: &[u8]| first.starts_with(second) || second.starts_with(first);
    let refuse = |prefix: &[u8], kind: &[u8], other: &[u8]| {
        const END: &[u8] = b"'. Prefixes for a single client must not overlap.";
        Err(ReplyError::err(
            [b"Prefix '", prefix, b"' overlaps with ", kind, b" prefix '", other, END].concat(),
        ))
    };
    for (index, prefix) in given.iter().enumerate() {
        if let Some(other) = before.into_iter().flatten().find(|other| overlap(prefix, other)) {
            return refuse(prefix, b"an existing", other);
        }
        if let Some(other) = given[index + 1..].iter().find(|other| overlap(prefix, other)) {
            return refuse(prefix, b"another provided", other);
        }
    }
    Ok(())
}

pub(super) fn caching(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Some(tracking) = &mut ctx.client_mut().tracking else {
        return Err(ReplyError::err(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    };
    match args.at(2).to_ascii_lowercase().as_slice() {
        b"yes" if !tracking.opt_in => {
            return Err(ReplyError::err(
                "CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            ));
        }
        b"no" if !tracking.opt_out => {
            return Err(ReplyError::err(
                "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            ));
        }
        b"yes" | b"no" => tracking.caching = true,
        _ => return Err(error::SYNTAX),
    }
    ctx.out.ok();
    Ok(())
}

pub(super) fn get_redirection(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let redirect = ctx.client().tracking.as_ref().map_or(-1, |tracking| tracking.redirect as i64);
    ctx.out.integer(redirect);
    Ok(())
}

pub(super) fn tracking_info(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let tracking = ctx.client().tracking.clone();
    let is_on = tracking.is_some();
    let tracking = tracking.unwrap_or_default();
    let flags = [
        (if is_on { "on" } else { "off" }, true),
        ("bcast", tracking.broadcast),
        ("optin", tracking.opt_in),
        ("caching-yes", tracking.opt_in && tracking.caching),
        ("optout", tracking.opt_out),
        ("caching-no", tracking.opt_out && tracking.caching),
        ("noloop", tracking.no_loop),
        ("broken_redirect", tracking.broken_redirect),
    ];
    ctx.out.map(3);
    ctx.out.bulk(b"flags");
    ctx.out.set(flags.iter().filter(|(_, set)| *set).count());
    for (name, _) in flags.iter().filter(|(_, set)| *set) {
        ctx.out.bulk_str(name);
    }
    ctx.out.bulk(b"redirect");
    ctx.out.integer(if is_on { tracking.redirect as i64 } else { -1 });
    ctx.out.bulk(b"prefixes");
    ctx.out.array(tracking.prefixes.len());
    for prefix in &tracking.prefixes {
        ctx.out.bulk(prefix);
    }
    Ok(())
}
