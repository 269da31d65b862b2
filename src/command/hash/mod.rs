//! Hashes.
//!
//! | file | commands |
//! | --- | --- |
//! | `write` | HSET HMSET HSETNX HDEL |
//! | `number` | HINCRBY HINCRBYFLOAT |
//! | `read` | HGET HMGET HGETALL HKEYS HVALS HLEN HSTRLEN HEXISTS |
//! | `walk` | HSCAN HRANDFIELD |
//! | `expire` | HEXPIRE HPEXPIRE HEXPIREAT HPEXPIREAT HPERSIST HTTL HPTTL HEXPIRETIME HPEXPIRETIME |
//! | `combined` | HGETEX HGETDEL HSETEX |
//!
//! A field whose time has passed is not seen. A command that would change such a field removes it
//! first and logs that ([`drop_due`]), so that a replay, which knows no time, sees the same.

pub mod combined;
pub mod expire;
pub mod number;
pub mod read;
pub mod walk;
pub mod write;

use crate::base::numbers;
use crate::command::arg;
use crate::command::reply::put_element;
use crate::keyspace::ExpireRule;
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::ReplyError;
use crate::server::{Ctx, Server};
use crate::value::hash::ALWAYS;
use crate::value::{HashValue, PackedLimits};

/// The arguments from `first` on, `step` apart.
#[inline]
fn every<'a>(args: Args<'a>, first: usize, step: usize) -> impl Iterator<Item = &'a [u8]> + Clone {
    (first..args.len()).step_by(step).map(move |index| args.at(index))
}

/// `FIELDS count field ...`, or fields with a value each.
struct FieldList<'a> {
    args: Args<'a>,
    /// Arguments a field.
    step: usize,
}

const NO_FIELDS: ReplyError =
    ReplyError::fixed("ERR Mandatory argument FIELDS is missing or not at the right position");
const NO_COUNT: ReplyError = ReplyError::fixed("ERR Parameter `numFields` should be greater than 0");
const WRONG_COUNT: ReplyError =
    ReplyError::fixed("ERR The `numfields` parameter must match the number of arguments");

impl<'a> FieldList<'a> {
    /// Reads the list that begins at argument `at` and ends the request.
    fn parse(args: Args<'a>, at: usize, step: usize) -> Result<Self, ReplyError> {
        args.get(at).filter(|word| arg::is(word, "fields")).ok_or(NO_FIELDS)?;
        let count = args.get(at + 1).and_then(numbers::parse_i64).filter(|count| *count > 0);
        let count = count.ok_or(NO_COUNT)?;
        let args = args.tail(at + 2);
        let fits = usize::try_from(count).ok().and_then(|count| count.checked_mul(step)) == Some(args.len());
        if fits { Ok(FieldList { args, step }) } else { Err(WRONG_COUNT) }
    }

    fn count(&self) -> usize {
        self.args.len() / self.step
    }

    /// The fields, with their values where those are given.
    fn args(&self) -> Args<'a> {
        self.args
    }

    fn names(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        every(self.args, 0, self.step)
    }
}

/// Fields of a hash expire at `at_ms` (Unix ms) or later: active expiry is to look at it then.
fn note_expiry(server: &mut Server, db: usize, key: &[u8], at_ms: i64) {
    server.keyspace.db_mut(db).note_field_expiry(key, at_ms);
}

/// The limits at which hashes become tables.
#[inline]
fn limits(server: &Server) -> PackedLimits {
    server.config.hash_limits()
}

/// The time by which fields are judged: a log or a primary says itself what has expired.
#[inline]
pub(crate) fn field_time(server: &Server) -> i64 {
    if server.keyspace.expire_rule == ExpireRule::Ignore { ALWAYS } else { server.now_ms() }
}

/// Reports a changed hash: `count` changes, one event.
#[inline]
fn changed(server: &mut Server, db: usize, key: &[u8], count: usize, event: &str) {
    server.key_changed_by(db, key, count);
    server.notify(NotifyFlags::HASH, event, db, key);
}

/// Removes those of the named fields whose time has passed, before a command changes them.
/// Look-ups only where a field may have expired at all.
///
/// # Errors
/// The key holds another type.
fn drop_due<'n>(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    names: impl Iterator<Item = &'n [u8]>,
) -> Result<(), ReplyError> {
    let now_ms = field_time(ctx.server);
    let removes = ctx.server.keyspace.expire_rule == ExpireRule::Remove;
    let Some(hash) = ctx.server.find_as::<HashValue>(ctx.db, key)? else { return Ok(()) };
    if !removes || !hash.may_have_expired(now_ms) {
        return Ok(());
    }
    let is_due = |name: &&[u8]| hash.find(name).is_some() && hash.get(name, now_ms).is_none();
    let due: Vec<&[u8]> = names.filter(is_due).collect();
    remove_expired(ctx.server, ctx.db, key, &due)
}

/// Removes fields because their time has passed, logs and reports it.
///
/// # Errors
/// The key holds another type.
fn remove_expired(server: &mut Server, db: usize, key: &[u8], names: &[&[u8]]) -> Result<(), ReplyError> {
    let Some(mut hash) = server.edit::<HashValue>(db, key)?.filter(|_| !names.is_empty()) else {
        return Ok(());
    };
    for name in names {
        hash.remove(name);
    }
    let emptied = hash.as_ref().is_empty();
    drop(hash);
    report_expired(server, db, key, names, emptied);
    Ok(())
}

/// Logs and reports fields that were removed because their time had passed.
fn report_expired(server: &mut Server, db: usize, key: &[u8], names: &[&[u8]], emptied: bool) {
    let mut words: Vec<&[u8]> = vec![b"HDEL", key];
    words.extend_from_slice(names);
    server.propagate_aside(db, &words);
    server.touch_watchers(db, key);
    server.notify(NotifyFlags::HASH, "hexpired", db, key);
    if emptied {
        server.remove_emptied(db, key);
    }
}
