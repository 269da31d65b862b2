//! HSET, HMSET, HSETNX, HDEL: fields come and go.

use crate::command::hash::{changed, drop_due, every, limits};
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::HashValue;
use crate::value::hash::{FieldExpiry, SetOutcome};

const ROW: CommandSpec = CommandSpec {
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    element: 2,
    group: Group::Hash,
    since: "2.0.0",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hset",
        complexity: "O(N) for N fields.",
        summary: "Sets fields of a hash and gives how many are new.",
        handler: hset,
        ..ROW
    },
    CommandSpec {
        name: "hmset",
        complexity: "O(N) for N fields.",
        summary: "Sets fields of a hash.",
        handler: hmset,
        ..ROW
    },
    CommandSpec {
        name: "hsetnx",
        arity: 4,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
        summary: "Sets a field of a hash if it does not exist.",
        handler: hsetnx,
        ..ROW
    },
    CommandSpec {
        name: "hdel",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
        complexity: "O(N) for N fields.",
        summary: "Removes fields of a hash, and the hash with its last field.",
        handler: hdel,
        ..ROW
    },
];

fn hset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let added = set_fields(ctx, args)?;
    ctx.out.integer(added as i64);
    Ok(())
}

fn hmset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    set_fields(ctx, args)?;
    ctx.out.ok();
    Ok(())
}

/// Sets the fields behind `HSET key`; returns how many are new.
fn set_fields(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<usize, ReplyError> {
    if !args.len().is_multiple_of(2) {
        return Err(error::wrong_arity(&ctx.command_name()));
    }
    let key = args.at(1);
    let added = write_fields(ctx, key, args.tail(2), FieldExpiry::Clear)?;
    changed(ctx.server, ctx.db, key, args.len() / 2 - 1, "hset");
    Ok(added)
}

/// Adds or overwrites the fields of `pairs` (names and values in turn), making the key where it is
/// missing. The caller reports the change. Returns how many fields are new.
pub(super) fn write_fields(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    pairs: Args<'_>,
    expiry: FieldExpiry,
) -> Result<usize, ReplyError> {
    let (limits, seed) = (limits(ctx.server), ctx.server.keyspace.seed());
    let mut hash = ctx.server.edit_or_create::<HashValue>(ctx.db, key, HashValue::new)?;
    if hash.as_ref().may_expire() {
        drop(hash);
        drop_due(ctx, key, every(pairs, 0, 2))?;
        hash = ctx.server.edit_or_create::<HashValue>(ctx.db, key, HashValue::new)?;
    }
    if pairs.len() == 2 {
        let outcome = hash.set(pairs.at(0), pairs.at(1), expiry, limits, seed);
        return Ok(usize::from(outcome == SetOutcome::Added));
    }
    hash.prepare(pairs.len() / 2, every(pairs, 0, 1), limits, seed);
    Ok(hash.set_many(every(pairs, 0, 2).zip(every(pairs, 1, 2)), expiry, limits, seed))
}

fn hsetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (key, name) = (args.at(1), args.at(2));
    let (limits, seed) = (limits(ctx.server), ctx.server.keyspace.seed());
    let mut hash = ctx.server.edit_or_create::<HashValue>(ctx.db, key, HashValue::new)?;
    if hash.as_ref().may_expire() {
        drop(hash);
        drop_due(ctx, key, std::iter::once(name))?;
        hash = ctx.server.edit_or_create::<HashValue>(ctx.db, key, HashValue::new)?;
    }
    if hash.as_ref().find(name).is_some() {
        drop(hash);
        ctx.out.integer(0);
        return Ok(());
    }
    hash.set(name, args.at(3), FieldExpiry::Clear, limits, seed);
    drop(hash);
    changed(ctx.server, ctx.db, key, 1, "hset");
    ctx.out.integer(1);
    Ok(())
}

fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let removed = remove_fields(ctx, args.at(1), args.tail(2))?;
    ctx.out.integer(removed as i64);
    Ok(())
}

/// Removes fields, and the key with the last one, and reports it; returns how many there were.
pub(super) fn remove_fields(ctx: &mut Ctx<'_>, key: &[u8], names: Args<'_>) -> Result<usize, ReplyError> {
    let Some(mut hash) = ctx.server.edit::<HashValue>(ctx.db, key)? else { return Ok(0) };
    if hash.as_ref().may_expire() {
        drop(hash);
        drop_due(ctx, key, names.iter())?;
        let Some(settled) = ctx.server.edit::<HashValue>(ctx.db, key)? else { return Ok(0) };
        hash = settled;
    }
    let mut removed = 0;
    for name in names.iter() {
        removed += usize::from(hash.remove(name));
        if hash.as_ref().is_empty() {
            break;
        }
    }
    let emptied = hash.as_ref().is_empty();
    drop(hash);
    if removed > 0 {
        changed(ctx.server, ctx.db, key, removed, "hdel");
    }
    if emptied {
        ctx.server.remove_emptied(ctx.db, key);
    }
    Ok(removed)
}
