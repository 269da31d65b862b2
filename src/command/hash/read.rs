//! HGET, HMGET, HGETALL, HKEYS, HVALS, HLEN, HSTRLEN, HEXISTS.

use crate::command::hash::{every, field_time, put_element};
use crate::resp::{Args, Reply};
use crate::server::error::{CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::HashValue;
use crate::value::hash::HashField;

const ROW: CommandSpec = CommandSpec {
    arity: 3,
    flags: flag::READONLY | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    element: 2,
    group: Group::Hash,
    since: "2.0.0",
    ..CommandSpec::DEFAULT
};

const WHOLE: CommandSpec = CommandSpec {
    arity: 2,
    flags: flag::READONLY,
    complexity: "O(N) for a hash of N fields.",
    tips: &["nondeterministic_output_order"],
    ..ROW
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec { name: "hget", summary: "Gives the value of a field of a hash.", handler: hget, ..ROW },
    CommandSpec {
        name: "hmget",
        arity: -3,
        complexity: "O(N) for N fields.",
        summary: "Gives the values of fields of a hash.",
        handler: hmget,
        ..ROW
    },
    CommandSpec {
        name: "hgetall",
        summary: "Gives all fields of a hash and their values.",
        handler: hgetall,
        ..WHOLE
    },
    CommandSpec {
        name: "hkeys",
        summary: "Gives the names of all fields of a hash.",
        handler: hkeys,
        ..WHOLE
    },
    CommandSpec {
        name: "hvals",
        summary: "Gives the values of all fields of a hash.",
        handler: hvals,
        ..WHOLE
    },
    CommandSpec {
        name: "hlen",
        arity: 2,
        keys: &[KeySpec::one(1, key_flag::RO)],
        summary: "Gives how many fields a hash has.",
        handler: hlen,
        ..ROW
    },
    CommandSpec {
        name: "hstrlen",
        keys: &[KeySpec::one(1, key_flag::RO)],
        since: "3.2.0",
        summary: "Gives the length of the value of a field.",
        handler: hstrlen,
        ..ROW
    },
    CommandSpec {
        name: "hexists",
        keys: &[KeySpec::one(1, key_flag::RO)],
        summary: "Tells whether a hash has a field.",
        handler: hexists,
        ..ROW
    },
];

fn hget(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = field_time(ctx.server);
    let hash = ctx.server.read_as::<HashValue>(ctx.db, args.at(1))?;
    match hash.and_then(|hash| hash.get(args.at(2), now_ms)) {
        Some(value) => put_element(ctx.out, value),
        None => ctx.out.null(),
    }
    Ok(())
}

fn hmget(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = field_time(ctx.server);
    let out = &mut *ctx.out;
    let hash = ctx.server.read_as::<HashValue>(ctx.db, args.at(1))?;
    out.array(args.len() - 2);
    let Some(hash) = hash else {
        (2..args.len()).for_each(|_| out.null());
        return Ok(());
    };
    hash.get_many(every(args, 2, 1), now_ms, |value| match value {
        Some(value) => put_element(out, value),
        None => out.null(),
    });
    Ok(())
}

/// Writes the fields that have not expired, `put` of each, as a map of pairs or as an array.
fn reply_all(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    pairs: bool,
    put: impl Fn(&mut Reply, &HashField<'_>),
) -> CommandResult {
    let now_ms = field_time(ctx.server);
    let out = &mut *ctx.out;
    let hash = ctx.server.read_as::<HashValue>(ctx.db, key)?;
    let count = hash.map_or(0, |hash| hash.live_len(now_ms));
    if pairs {
        out.map(count);
    } else {
        out.array(count);
    }
    if let Some(hash) = hash {
        hash.live_fields(now_ms).for_each(|field| put(out, &field));
    }
    Ok(())
}

fn hgetall(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_all(ctx, args.at(1), true, |out, field| {
        put_element(out, field.name);
        put_element(out, field.value);
    })
}

fn hkeys(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_all(ctx, args.at(1), false, |out, field| put_element(out, field.name))
}

fn hvals(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_all(ctx, args.at(1), false, |out, field| put_element(out, field.value))
}

fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let hash = ctx.server.read_as::<HashValue>(ctx.db, args.at(1))?;
    ctx.out.integer(hash.map_or(0, |hash| hash.len()) as i64);
    Ok(())
}

/// The length of a field's value; `None` without the field.
fn value_len(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Option<usize>, ReplyError> {
    let now_ms = field_time(ctx.server);
    let hash = ctx.server.read_as::<HashValue>(ctx.db, args.at(1))?;
    let value = hash.and_then(|hash| hash.get(args.at(2), now_ms));
    Ok(value.map(|value| value.text_len()))
}

fn hstrlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let len = value_len(ctx, args)?.unwrap_or(0);
    ctx.out.integer(len as i64);
    Ok(())
}

fn hexists(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let found = value_len(ctx, args)?.is_some();
    ctx.out.integer(i64::from(found));
    Ok(())
}
