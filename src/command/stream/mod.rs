//! Streams. The files below by what they do; here what several of them need: reading ids from
//! arguments, writing entries to replies, the forms in which changes of groups are propagated.

pub mod add;
pub mod claim;
pub mod group;
pub mod info;
pub mod pending;
pub mod range;
pub mod read;

use crate::command::reply::put_element;
use crate::resp::Reply;
use crate::server::Ctx;
use crate::server::error::ReplyError;
use crate::value::stream::{Entry, StreamId};

const INVALID_ID: ReplyError =
    ReplyError::fixed("ERR Invalid stream ID specified as stream command argument");
const INVALID_START: ReplyError = ReplyError::fixed("ERR invalid start ID for the interval");
const INVALID_END: ReplyError = ReplyError::fixed("ERR invalid end ID for the interval");

/// An id; the sequence number 0 may be left out.
fn strict_id(text: &[u8]) -> Result<StreamId, ReplyError> {
    StreamId::parse(text, 0).ok_or(INVALID_ID)
}

/// As [`strict_id`], or `-` and `+` for the smallest and the largest one.
fn any_id(text: &[u8], missing_seq: u64) -> Result<StreamId, ReplyError> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => StreamId::parse(text, missing_seq).ok_or(INVALID_ID),
    }
}

/// The first id of an interval; `(` in front excludes the id itself.
fn start_id(text: &[u8]) -> Result<StreamId, ReplyError> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => strict_id(rest)?.next().ok_or(INVALID_START),
        _ => any_id(text, 0),
    }
}

/// The last id of an interval.
fn end_id(text: &[u8]) -> Result<StreamId, ReplyError> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            let id = StreamId::parse(rest, u64::MAX).ok_or(INVALID_ID)?;
            id.previous().ok_or(INVALID_END)
        }
        _ => any_id(text, u64::MAX),
    }
}

fn reply_id(out: &mut Reply, id: StreamId) {
    out.bulk(id.text().as_ref());
}

/// An entry: its id and an array of fields and values.
fn reply_entry(out: &mut Reply, entry: &Entry<'_>) {
    out.array(2);
    reply_id(out, entry.id);
    out.array(entry.len() * 2);
    for (field, value) in entry.pairs() {
        put_element(out, field);
        put_element(out, value);
    }
}

/// Writes up to `most` entries (0: all) as an array.
fn reply_entries<'a>(out: &mut Reply, entries: impl Iterator<Item = Entry<'a>>, most: usize) {
    let mark = out.begin_deferred();
    let mut count = 0;
    for entry in entries.take(if most == 0 { usize::MAX } else { most }) {
        reply_entry(out, &entry);
        count += 1;
    }
    out.end_deferred_array(mark, count);
}

/// `NOGROUP No such key 'k' or consumer group 'g'`, and what follows.
fn no_group(key: &[u8], group: &[u8], rest: &str) -> ReplyError {
    let parts: [&[u8]; 6] =
        [b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'", rest.as_bytes()];
    ReplyError::coded(parts.concat())
}

/// `NOGROUP No such consumer group 'g' for key name 'k'`.
fn no_group_of_key(key: &[u8], group: &[u8]) -> ReplyError {
    let parts: [&[u8]; 5] = [b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"];
    ReplyError::coded(parts.concat())
}

/// A change of a pending entry, to be propagated as an XCLAIM that sets everything.
struct Claimed {
    id: StreamId,
    /// The entry's consumer, if it is not the command's.
    consumer: Option<Vec<u8>>,
    delivered_ms: i64,
    deliveries: u64,
    /// The group's last id at that time.
    last_id: StreamId,
}

/// Propagates `XCLAIM key group consumer 0 id TIME ms RETRYCOUNT n FORCE JUSTID LASTID id`.
fn propagate_claim(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], consumer: &[u8], claimed: &Claimed) {
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (id, last_id) = (claimed.id.text(), claimed.last_id.text());
    ctx.propagate_instead(&[
        b"XCLAIM",
        key,
        group,
        claimed.consumer.as_deref().unwrap_or(consumer),
        b"0",
        id.as_ref(),
        b"TIME",
        time.format(claimed.delivered_ms).as_bytes(),
        b"RETRYCOUNT",
        count.format(claimed.deliveries).as_bytes(),
        b"FORCE",
        b"JUSTID",
        b"LASTID",
        last_id.as_ref(),
    ]);
}

/// Propagates `XGROUP SETID key group id ENTRIESREAD n`.
fn propagate_group_id(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], last_id: StreamId, entries_read: i64) {
    let mut read = itoa::Buffer::new();
    let read = read.format(entries_read).as_bytes();
    ctx.propagate_instead(&[b"XGROUP", b"SETID", key, group, last_id.text().as_ref(), b"ENTRIESREAD", read]);
}

/// Counts a change that watchers of the key are not told of, as in Redis for groups.
fn count_change(ctx: &mut Ctx<'_>, changes: usize) {
    ctx.server.persistence.dirty += changes as u64;
}

/// Whoever waits for entries, or for a group to go, is run again.
fn signal_waiting(ctx: &mut Ctx<'_>, key: &[u8]) {
    if ctx.server.blocked.any_on_keys() {
        ctx.server.blocked.key_ready(ctx.db, key);
    }
}
