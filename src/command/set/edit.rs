//! SADD, SREM, SMOVE: members that the client names.

use super::{WRITE, limits};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::CommandResult;
use crate::server::spec::{KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::SetValue;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "sadd",
        element: 2,
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
        complexity: "O(N) where N is the number of members given.",
        summary: "Adds members to a set, which is created when missing.",
        handler: sadd,
        ..WRITE
    },
    CommandSpec {
        name: "srem",
        element: 2,
        arity: -3,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
        complexity: "O(N) where N is the number of members given.",
        summary: "Removes members from a set; an empty one is deleted.",
        handler: srem,
        ..WRITE
    },
    CommandSpec {
        name: "smove",
        arity: 4,
        keys: &[
            KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
            KeySpec::one(2, key_flag::RW | key_flag::INSERT),
        ],
        summary: "Moves a member from one set to another.",
        handler: smove,
        ..WRITE
    },
];

fn sadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let limits = limits(ctx.server);
    let (key, members) = (args.at(1), args.tail(2));
    let make = || SetValue::for_members(members.at(0), members.len(), &limits);
    let mut set = ctx.server.edit_or_create(ctx.db, key, make)?;
    set.prepare_for(members.len(), &limits);
    let added = set.add_many(members.iter(), &limits);
    drop(set);
    if added > 0 {
        ctx.server.key_changed_by(ctx.db, key, added);
        ctx.server.notify(NotifyFlags::SET, "sadd", ctx.db, key);
    }
    ctx.out.integer(added as i64);
    Ok(())
}

fn srem(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let Some(mut set) = ctx.server.edit::<SetValue>(ctx.db, key)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let removed = set.remove_many(args.tail(2).iter());
    let emptied = set.is_empty();
    drop(set);
    if removed > 0 {
        ctx.server.key_changed_by(ctx.db, key, removed);
        ctx.server.notify(NotifyFlags::SET, "srem", ctx.db, key);
    }
    if emptied {
        ctx.server.remove_emptied(ctx.db, key);
    }
    ctx.out.integer(removed as i64);
    Ok(())
}

fn smove(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (from, to, member) = (args.at(1), args.at(2), args.at(3));
    let limits = limits(ctx.server);
    let (db, server) = (ctx.db, &mut *ctx.server);
    if !server.exists(db, from) {
        ctx.out.integer(0);
        return Ok(());
    }
    let in_source = server.find_as::<SetValue>(db, from)?.is_some_and(|set| set.contains(member));
    server.find_as::<SetValue>(db, to)?;
    if from == to || !in_source {
        ctx.out.integer(i64::from(in_source));
        return Ok(());
    }
    let mut emptied = false;
    if let Some(mut source) = server.edit::<SetValue>(db, from)? {
        source.remove(member);
        emptied = source.is_empty();
    }
    server.notify(NotifyFlags::SET, "srem", db, from);
    if emptied {
        server.remove_emptied(db, from);
    }
    let make = || SetValue::for_members(member, 1, &limits);
    let added = server.edit_or_create(db, to, make)?.add(member, &limits);
    server.key_changed(db, from);
    if added {
        server.key_changed(db, to);
        server.notify(NotifyFlags::SET, "sadd", db, to);
    }
    ctx.out.integer(1);
    Ok(())
}
