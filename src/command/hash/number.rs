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
    element: 2,
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

fn hincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (key, name) = (args.at(1), args.at(2));
    let step = arg::integer(args.at(3))?;
    let (limits, seed) = (limits(ctx.server), ctx.server.keyspace.seed());
    // A key made here has no field that could make the sum fail.
    let mut hash = ctx.server.edit_or_create::<HashValue>(ctx.db, key, HashValue::new)?;
    if hash.as_ref().may_expire() {
        drop(hash);
        drop_due(ctx, key, std::iter::once(name))?;
        hash = ctx.server.edit_or_create::<HashValue>(ctx.db, key, HashValue::new)?;
    }
    let old = match hash.as_ref().find(name) {
        Some(field) => field.value.as_integer().ok_or(NO_INTEGER)?,
        None => 0,
    };
    let value = old.checked_add(step).ok_or(error::OVERFLOW)?;
    hash.set(name, itoa::Buffer::new().format(value).as_bytes(), FieldExpiry::Keep, limits, seed);
    drop(hash);
    changed(ctx.server, ctx.db, key, 1, "hincrby");
    ctx.out.integer(value);
    Ok(())
}

fn hincrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (key, name) = (args.at(1), args.at(2));
    let step = LongDouble::parse(args.at(3)).ok_or(error::NOT_FLOAT)?;
    if step.is_nan() || step.is_infinite() {
        return Err(NO_NUMBER);
    }
    let (limits, seed) = (limits(ctx.server), ctx.server.keyspace.seed());
    let mut hash = ctx.server.edit_or_create::<HashValue>(ctx.db, key, HashValue::new)?;
    if hash.as_ref().may_expire() {
        drop(hash);
        drop_due(ctx, key, std::iter::once(name))?;
        hash = ctx.server.edit_or_create::<HashValue>(ctx.db, key, HashValue::new)?;
    }
    let field = hash.as_ref().find(name);
    let expiry_ms = field.and_then(|field| field.expiry_ms);
    let value = number_of(field)? + step;
    if value.is_nan() || value.is_infinite() {
        return Err(error::NAN_OR_INFINITY);
    }
    let mut text = Vec::new();
    value.push_human(&mut text);
    hash.set(name, &text, FieldExpiry::Keep, limits, seed);
    drop(hash);
    changed(ctx.server, ctx.db, key, 1, "hincrbyfloat");
    ctx.out.bulk(&text);
    propagate(ctx, args, &text, expiry_ms);
    Ok(())
}

/// The number in a field; 0 where there is none.
fn number_of(field: Option<HashField<'_>>) -> Result<LongDouble, ReplyError> {
    match field.map(|field| field.value) {
        Some(Element::Int(value)) => Ok(LongDouble::from_i64(value)),
        Some(Element::Bytes(bytes)) => LongDouble::parse(bytes).ok_or(NO_FLOAT),
        None => Ok(LongDouble::ZERO),
    }
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
