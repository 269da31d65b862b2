//! HINCRBY, HINCRBYFLOAT: fields that hold numbers. A field keeps its expiry.

use crate::base::long_double::LongDouble;
use crate::command::arg;
use crate::command::hash::{changed, drop_due, limits};
use crate::ds::element::Element;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::HashValue;
use crate::value::hash::{FieldExpiry, HashField};

const ROW: CommandSpec = CommandSpec {
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
    group: Group::Hash,
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hincrby",
        since: "2.0.0",
        summary: "Adds to the integer in a field; a missing one counts as 0.",
        handler: hincrby,
        ..ROW
    },
    CommandSpec {
        name: "hincrbyfloat",
        since: "2.6.0",
        summary: "Adds to the floating point number in a field; a missing one counts as 0.",
        handler: hincrbyfloat,
        ..ROW
    },
];

const NO_INTEGER: ReplyError = ReplyError::fixed("ERR hash value is not an integer");
const NO_FLOAT: ReplyError = ReplyError::fixed("ERR hash value is not a float");
const NO_NUMBER: ReplyError = ReplyError::fixed("ERR value is NaN or Infinity");

/// The field to be changed, which is there and has not expired.
fn find<'s>(ctx: &'s mut Ctx<'_>, args: Args<'_>) -> Result<Option<HashField<'s>>, ReplyError> {
    drop_due(ctx, args.at(1), std::iter::once(args.at(2)))?;
    let hash = ctx.server.find_as::<HashValue>(ctx.db, args.at(1))?;
    Ok(hash.and_then(|hash| hash.find(args.at(2))))
}

fn store(ctx: &mut Ctx<'_>, args: Args<'_>, text: &[u8]) -> CommandResult {
    let (limits, seed) = (limits(ctx.server), ctx.server.keyspace.seed());
    let mut hash = ctx.server.edit_or_create::<HashValue>(ctx.db, args.at(1), HashValue::new)?;
    hash.set(args.at(2), text, FieldExpiry::Keep, limits, seed);
    Ok(())
}

fn hincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let step = arg::integer(args.at(3))?;
    let old = match find(ctx, args)? {
        Some(field) => field.value.as_integer().ok_or(NO_INTEGER)?,
        None => 0,
    };
    let value = old.checked_add(step).ok_or(error::OVERFLOW)?;
    store(ctx, args, itoa::Buffer::new().format(value).as_bytes())?;
    changed(ctx.server, ctx.db, args.at(1), 1, "hincrby");
    ctx.out.integer(value);
    Ok(())
}

fn hincrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let step = LongDouble::parse(args.at(3)).ok_or(error::NOT_FLOAT)?;
    if step.is_nan() || step.is_infinite() {
        return Err(NO_NUMBER);
    }
    let (old, expiry_ms) = match find(ctx, args)? {
        Some(HashField { value: Element::Int(value), expiry_ms, .. }) => {
            (LongDouble::from_i64(value), expiry_ms)
        }
        Some(HashField { value: Element::Bytes(bytes), expiry_ms, .. }) => {
            (LongDouble::parse(bytes).ok_or(NO_FLOAT)?, expiry_ms)
        }
        None => (LongDouble::ZERO, None),
    };
    let value = old + step;
    if value.is_nan() || value.is_infinite() {
        return Err(error::NAN_OR_INFINITY);
    }
    let mut text = Vec::new();
    value.push_human(&mut text);
    store(ctx, args, &text)?;
    changed(ctx.server, ctx.db, args.at(1), 1, "hincrbyfloat");
    ctx.out.bulk(&text);
    propagate(ctx, args, &text, expiry_ms);
    Ok(())
}

/// The sum is logged, so that a replay need not round as this machine does. HSET drops the expiry.
fn propagate(ctx: &mut Ctx<'_>, args: Args<'_>, text: &[u8], expiry_ms: Option<i64>) {
    let (key, name) = (args.at(1), args.at(2));
    ctx.propagate_instead(&[b"HSET", key, name, text]);
    if let Some(expiry_ms) = expiry_ms {
        let mut digits = itoa::Buffer::new();
        let at = digits.format(expiry_ms).as_bytes();
        ctx.propagate_instead(&[b"HPEXPIREAT", key, at, b"FIELDS", b"1", name]);
    }
}
