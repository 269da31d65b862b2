//! GET, MGET, STRLEN, GETRANGE, SUBSTR: strings read.

use crate::command::{arg, batch};
use crate::resp::Args;
use crate::server::error::{self, CommandResult};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::ValueRef;
use crate::value::string::Digits;

const ONE_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        categories: category::STRING,
        keys: ONE_KEY,
        group: Group::String,
        summary: "Gives the string held by a key.",
        handler: get,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "mget",
        tips: &["request_policy:multi_shard"],
        arity: -2,
        flags: flag::READONLY | flag::FAST,
        categories: category::STRING,
        keys: &[KeySpec::rest(1, key_flag::RO | key_flag::ACCESS)],
        group: Group::String,
        complexity: "O(N) where N is the number of keys.",
        summary: "Gives the strings held by several keys.",
        handler: mget,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "strlen",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        categories: category::STRING,
        keys: &[KeySpec::one(1, key_flag::RO)],
        group: Group::String,
        since: "2.2.0",
        summary: "Gives the length of a string in bytes.",
        handler: strlen,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getrange",
        arity: 4,
        flags: flag::READONLY,
        categories: category::STRING,
        keys: ONE_KEY,
        group: Group::String,
        since: "2.4.0",
        complexity: "O(N) where N is the number of bytes given.",
        summary: "Gives a part of a string.",
        handler: getrange,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "substr",
        arity: 4,
        flags: flag::READONLY,
        categories: category::STRING,
        keys: ONE_KEY,
        group: Group::String,
        complexity: "O(N) where N is the number of bytes given.",
        summary: "Gives a part of a string (the old name of GETRANGE).",
        handler: getrange,
        ..CommandSpec::DEFAULT
    },
];

pub(super) fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    match ctx.server.read_string(ctx.db, args.at(1))? {
        Some(string) => ctx.out.bulk(string.bytes(&mut Digits::new())),
        None => ctx.out.null(),
    }
    Ok(())
}

fn mget(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, out) = (ctx.db, &mut *ctx.out);
    out.array(args.len() - 1);
    batch::each_key(ctx.server, db, args.tail(1), 1, |server, _, key| {
        match server.read(db, key).map(|view| view.value()) {
            Some(ValueRef::String(string)) => out.bulk(string.bytes(&mut Digits::new())),
            Some(_) => out.null(),
            None => out.null(),
        }
    });
    Ok(())
}

fn strlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let len = ctx.server.read_string(ctx.db, args.at(1))?.map_or(0, |string| string.len());
    ctx.out.integer(len as i64);
    Ok(())
}

fn getrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (start, end) = (arg::integer(args.at(2))?, arg::integer(args.at(3))?);
    let mut digits = Digits::new();
    let bytes = match ctx.server.read_string(ctx.db, args.at(1))? {
        Some(string) => string.bytes(&mut digits),
        None => b"",
    };
    match clamp_range(start, end, bytes.len()) {
        Some((first, last)) => ctx.out.bulk(&bytes[first..=last]),
        None => ctx.out.bulk(b""),
    }
    Ok(())
}

/// The first and last index that `start..=end` names in `len` items, where negative indexes count
/// from the end; `None` when there is nothing in between.
pub fn clamp_range(start: i64, end: i64, len: usize) -> Option<(usize, usize)> {
    if len == 0 || (start < 0 && end < 0 && start > end) {
        return None;
    }
    let len = len as i64;
    let from_end = |index: i64| if index < 0 { (len + index).max(0) } else { index };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    (start <= end).then_some((start as usize, end as usize))
}

/// A string's bytes for commands that read several at once: the key must have been looked up
/// in this call (expiry, statistics), so that this look has no side effect. `None`: no such key.
pub(super) fn bytes_of<'a>(
    ctx: &'a Ctx<'_>,
    key: &[u8],
    digits: &'a mut Digits,
) -> Result<Option<&'a [u8]>, error::ReplyError> {
    let server = &*ctx.server;
    let hash = server.hash(key);
    if !server.keyspace.exists_quietly(ctx.db, hash, key, ctx.now_ms()) {
        return Ok(None);
    }
    match server.keyspace.db(ctx.db).find(hash, key).map(|view| view.value()) {
        Some(ValueRef::String(string)) => Ok(Some(string.bytes(digits))),
        Some(_) => Err(error::WRONG_TYPE),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::clamp_range;

    #[test]
    fn ranges_as_redis_cuts_them() {
        assert_eq!(clamp_range(0, -1, 5), Some((0, 4)));
        assert_eq!(clamp_range(-3, -1, 5), Some((2, 4)));
        assert_eq!(clamp_range(0, 1000, 5), Some((0, 4)));
        assert_eq!(clamp_range(-1, -5, 5), None);
        assert_eq!(clamp_range(-100, -50, 5), Some((0, 0)));
        assert_eq!(clamp_range(5, 9, 5), None);
        assert_eq!(clamp_range(0, 0, 0), None);
        assert_eq!(clamp_range(i64::MIN, i64::MAX, 5), Some((0, 4)));
    }
}
