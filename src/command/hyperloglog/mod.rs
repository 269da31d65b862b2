//! PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST: counting different elements.
//!
//! A sketch is a string (`value::hyperloglog`); any string with its header is taken for one.

mod selftest;

use crate::command::arg;
use crate::command::string::edit::edit_string;
use crate::keyspace::db::StringEdit;
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::hyperloglog::{self, Corrupt, Encoding, Registers, Store};
use crate::value::string::{Digits, StrRef};
use std::ops::Range;

const ROW: CommandSpec = CommandSpec {
    categories: category::HYPERLOGLOG,
    group: Group::HyperLogLog,
    since: "2.8.9",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "pfadd",
        arity: -2,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
        complexity: "O(1) for each element.",
        summary: "Counts elements in a HyperLogLog, which is made if it does not exist.",
        handler: pfadd,
        ..ROW
    },
    CommandSpec {
        name: "pfcount",
        arity: -2,
        flags: flag::READONLY | flag::MAY_REPLICATE,
        keys: &[KeySpec::rest(1, key_flag::RW | key_flag::ACCESS)],
        complexity: "O(1) for one key; O(N) for N keys, with a much larger constant.",
        summary: "Gives the approximate number of different elements in one or several HyperLogLogs.",
        handler: pfcount,
        ..ROW
    },
    CommandSpec {
        name: "pfmerge",
        arity: -2,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[
            KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::INSERT),
            KeySpec::rest(2, key_flag::RO | key_flag::ACCESS),
        ],
        complexity: "O(N) for N HyperLogLogs, with a large constant.",
        summary: "Merges HyperLogLogs into one.",
        handler: pfmerge,
        ..ROW
    },
    CommandSpec {
        name: "pfdebug",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::ADMIN,
        keys: &[KeySpec::one(2, key_flag::RW | key_flag::ACCESS)],
        complexity: "N/A",
        summary: "Shows the inside of a HyperLogLog.",
        handler: pfdebug,
        ..ROW
    },
    CommandSpec {
        name: "pfselftest",
        arity: 1,
        flags: flag::ADMIN,
        complexity: "N/A",
        summary: "Tests the HyperLogLog implementation.",
        handler: selftest::pfselftest,
        ..ROW
    },
];

const NOT_A_SKETCH: ReplyError = ReplyError::fixed("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPTED: ReplyError = ReplyError::fixed("INVALIDOBJ Corrupted HLL object detected");

impl From<Corrupt> for ReplyError {
    fn from(_: Corrupt) -> ReplyError {
        CORRUPTED
    }
}

impl Store for StringEdit<'_> {
    fn bytes(&self) -> &[u8] {
        self.as_slice()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        StringEdit::bytes_mut(self)
    }

    fn splice(&mut self, range: Range<usize>, source: &[u8]) {
        StringEdit::splice(self, range, source);
    }
}

/// A sketch as it was looked up.
#[derive(Clone, Copy)]
struct Found {
    encoding: Encoding,
    len: usize,
}

/// Checks that a string is a sketch. An integer's digits never are.
fn sketch_of<'a>(string: StrRef<'a>, digits: &'a mut Digits) -> Result<(&'a [u8], Found), ReplyError> {
    let bytes = string.bytes(digits);
    let encoding = hyperloglog::encoding_of(bytes).ok_or(NOT_A_SKETCH)?;
    Ok((bytes, Found { encoding, len: bytes.len() }))
}

fn find(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<Option<Found>, ReplyError> {
    match ctx.server.find_string(ctx.db, key)? {
        Some(string) => Ok(Some(sketch_of(string, &mut Digits::new())?.1)),
        None => Ok(None),
    }
}

/// The most bytes a sketch has after `additions` elements.
fn len_after(found: Found, additions: usize, sparse_max_bytes: usize) -> usize {
    let longest = found.len + additions * hyperloglog::GROWTH_MAX_BYTES;
    if longest > sparse_max_bytes { hyperloglog::DENSE_BYTES } else { longest }
}

/// Changes the sketch of a key, a new one if there is none.
fn edit<R>(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    found: Option<Found>,
    len_after: usize,
    change: impl FnOnce(&mut StringEdit<'_>) -> R,
) -> R {
    if found.is_none() {
        let new = NewValue::Bytes { bytes: &hyperloglog::empty(), raw: true };
        ctx.server.set_key(ctx.db, key, new, ExpiryChange::Clear);
    }
    edit_string(ctx.server, ctx.db, key, len_after, |mut string| {
        let result = change(&mut string);
        string.give_back_slack();
        result
    })
}

fn pfadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, key, elements) = (ctx.db, args.at(1), args.tail(2));
    let limit = ctx.server.config.hll_sparse_max_bytes;
    let found = find(ctx, key)?;
    let before = found.unwrap_or(Found { encoding: Encoding::Sparse, len: hyperloglog::empty().len() });
    let len_after = len_after(before, elements.len(), limit);
    let changes = edit(ctx, key, found, len_after, |sketch| -> Result<u64, Corrupt> {
        let mut changes = u64::from(found.is_none());
        for element in elements.iter() {
            changes += u64::from(hyperloglog::add(sketch, hyperloglog::pattern_of(element), limit)?);
        }
        if changes > 0 {
            hyperloglog::make_stale(sketch.bytes_mut());
        }
        Ok(changes)
    })?;
    if changes > 0 {
        ctx.server.key_changed(db, key);
        ctx.server.persistence.dirty += changes - 1;
        ctx.server.notify(NotifyFlags::STRING, "pfadd", db, key);
    }
    ctx.out.integer(i64::from(changes > 0));
    Ok(())
}

/// The registers of all sketches together; whether one is dense.
fn merged(ctx: &mut Ctx<'_>, keys: Args<'_>) -> Result<(Registers, bool), ReplyError> {
    let mut all = Registers::new();
    let mut any_dense = false;
    for key in keys.iter() {
        if let Some(string) = ctx.server.read_string(ctx.db, key)? {
            let mut digits = Digits::new();
            let (bytes, found) = sketch_of(string, &mut digits)?;
            any_dense |= found.encoding == Encoding::Dense;
            all.merge(bytes)?;
        }
    }
    Ok((all, any_dense))
}

fn pfcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 {
        let (all, _) = merged(ctx, args.tail(1))?;
        ctx.out.integer(all.estimate() as i64);
        return Ok(());
    }
    let (db, key) = (ctx.db, args.at(1));
    let Some(string) = ctx.server.read_string(db, key)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let mut digits = Digits::new();
    let (bytes, found) = sketch_of(string, &mut digits)?;
    let count = match hyperloglog::cached_count(bytes) {
        Some(count) => count,
        None => {
            let count = hyperloglog::count(bytes)?;
            edit(ctx, key, Some(found), found.len, |sketch| {
                hyperloglog::cache_count(sketch.bytes_mut(), count)
            });
            // The string has changed: logs and replicas count it too.
            ctx.server.key_changed(db, key);
            count
        }
    };
    ctx.out.integer(count as i64);
    Ok(())
}

fn pfmerge(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, target) = (ctx.db, args.at(1));
    let limit = ctx.server.config.hll_sparse_max_bytes;
    let (all, dense) = merged(ctx, args.tail(1))?;
    let found = find(ctx, target)?;
    let len_after = if dense { hyperloglog::DENSE_BYTES } else { limit.min(hyperloglog::DENSE_BYTES) };
    edit(ctx, target, found, len_after, |sketch| hyperloglog::raise_to(sketch, &all, dense, limit))?;
    ctx.server.key_changed(db, target);
    ctx.server.notify(NotifyFlags::STRING, "pfadd", db, target);
    ctx.out.ok();
    Ok(())
}

fn pfdebug(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (word, key) = (args.at(1), args.at(2));
    let found = find(ctx, key)?.ok_or_else(|| ReplyError::err("The specified key does not exist"))?;
    match word {
        word if arg::is(word, "getreg") => {
            make_dense(ctx, key, found)?;
            let (all, _) = merged(ctx, args.tail(2))?;
            ctx.out.array(hyperloglog::REGISTERS);
            all.as_slice().iter().for_each(|value| ctx.out.integer(i64::from(*value)));
        }
        word if arg::is(word, "decode") => {
            let text = decoded(ctx, key, found)?;
            ctx.out.bulk_str(&text);
        }
        word if arg::is(word, "encoding") => ctx.out.simple(found.encoding.name()),
        word if arg::is(word, "todense") => {
            let was_sparse = make_dense(ctx, key, found)?;
            ctx.out.integer(i64::from(was_sparse));
        }
        word => {
            return Err(ReplyError::err([&b"Unknown PFDEBUG subcommand '"[..], word, b"'"].concat()));
        }
    }
    Ok(())
}

/// Turns a sketch dense, which counts as a change. Returns whether it was sparse.
fn make_dense(ctx: &mut Ctx<'_>, key: &[u8], found: Found) -> Result<bool, ReplyError> {
    let was_sparse =
        edit(ctx, key, Some(found), hyperloglog::DENSE_BYTES, |sketch| hyperloglog::make_dense(sketch))?;
    ctx.server.persistence.dirty += u64::from(was_sparse);
    Ok(was_sparse)
}

/// The runs of a sparse sketch: `z:3` and `Z:3` for zeros, `v:2,1` for a value and its run.
fn decoded(ctx: &mut Ctx<'_>, key: &[u8], found: Found) -> Result<String, ReplyError> {
    if found.encoding == Encoding::Dense {
        return Err(ReplyError::err("HLL encoding is not sparse"));
    }
    let string = ctx.server.find_string(ctx.db, key)?.ok_or(error::NO_SUCH_KEY)?;
    let mut digits = Digits::new();
    Ok(hyperloglog::describe(&string.bytes(&mut digits)[hyperloglog::HEADER_BYTES..]))
}
