//! INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT: strings that hold numbers.

use crate::base::long_double::LongDouble;
use crate::command::arg;
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::ValueRef;
use crate::value::string::{Digits, StrRef};

const ROW: CommandSpec = CommandSpec {
    arity: 3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::String,
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "incr",
        arity: 2,
        summary: "Adds one to an integer; a missing key counts as 0.",
        handler: incr,
        ..ROW
    },
    CommandSpec {
        name: "decr",
        arity: 2,
        summary: "Takes one from an integer; a missing key counts as 0.",
        handler: decr,
        ..ROW
    },
    CommandSpec {
        name: "incrby",
        summary: "Adds to an integer; a missing key counts as 0.",
        handler: incrby,
        ..ROW
    },
    CommandSpec {
        name: "decrby",
        summary: "Takes from an integer; a missing key counts as 0.",
        handler: decrby,
        ..ROW
    },
    CommandSpec {
        name: "incrbyfloat",
        since: "2.6.0",
        summary: "Adds to a floating point number; a missing key counts as 0.",
        handler: incrbyfloat,
        ..ROW
    },
];

fn incr(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    add(ctx, args.at(1), 1)
}

fn decr(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    add(ctx, args.at(1), -1)
}

fn incrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let step = arg::integer(args.at(2))?;
    add(ctx, args.at(1), step)
}

fn decrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let step = arg::integer(args.at(2))?.checked_neg().ok_or(error::DECR_OVERFLOW)?;
    add(ctx, args.at(1), step)
}

/// One look-up in the common case, an integer that is changed where it stands.
fn add(ctx: &mut Ctx<'_>, key: &[u8], step: i64) -> CommandResult {
    let (server, db) = (&mut *ctx.server, ctx.db);
    let value = match server.locate(db, key) {
        Some(word) => {
            let old = integer_of(server.keyspace.db(db).view_of(word).value())?;
            let value = old.checked_add(step).ok_or(error::OVERFLOW)?;
            if !server.keyspace.db_mut(db).set_integer_of(word, value) {
                let hash = server.hash(key);
                server.keyspace.db_mut(db).overwrite_value(hash, key, NewValue::Int(value));
            }
            value
        }
        None => {
            server.set_key(db, key, NewValue::Int(step), ExpiryChange::Clear);
            step
        }
    };
    server.key_changed(db, key);
    server.notify(NotifyFlags::STRING, "incrby", db, key);
    ctx.out.integer(value);
    Ok(())
}

#[inline]
fn integer_of(value: ValueRef<'_>) -> Result<i64, ReplyError> {
    match value {
        ValueRef::String(string) => string.to_i64().ok_or(error::NOT_INTEGER),
        _ => Err(error::WRONG_TYPE),
    }
}

fn incrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, key) = (ctx.db, args.at(1));
    let old = match ctx.server.find_string(db, key)? {
        Some(StrRef::Int(value)) => Some(LongDouble::from_i64(value)),
        Some(string) => Some(LongDouble::parse(string.bytes(&mut Digits::new())).ok_or(error::NOT_FLOAT)?),
        None => None,
    };
    let step = LongDouble::parse(args.at(2)).ok_or(error::NOT_FLOAT)?;
    let value = old.unwrap_or(LongDouble::ZERO) + step;
    if value.is_nan() || value.is_infinite() {
        return Err(error::NAN_OR_INFINITY);
    }
    let mut text = Vec::new();
    value.push_human(&mut text);
    let new = NewValue::Bytes { bytes: &text, raw: false };
    if old.is_some() {
        let hash = ctx.server.hash(key);
        ctx.server.keyspace.db_mut(db).overwrite_value(hash, key, new);
    } else {
        ctx.server.set_key(db, key, new, ExpiryChange::Clear);
    }
    ctx.server.key_changed(db, key);
    ctx.server.notify(NotifyFlags::STRING, "incrbyfloat", db, key);
    ctx.out.bulk(&text);
    // The sum is logged, so that a replay need not round as this machine does.
    ctx.propagate_instead(&[b"SET", key, &text, b"KEEPTTL"]);
    Ok(())
}
