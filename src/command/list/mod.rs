//! Lists: queues, ranges, and clients that wait for an element.
//!
//! | file | commands |
//! | --- | --- |
//! | `ends` | LPUSH RPUSH LPUSHX RPUSHX LPOP RPOP LMPOP BLPOP BRPOP BLMPOP |
//! | `moving` | LMOVE RPOPLPUSH BLMOVE BRPOPLPUSH |
//! | `read` | LLEN LRANGE LINDEX LPOS |
//! | `inside` | LSET LINSERT LREM LTRIM |

pub mod ends;
pub mod inside;
pub mod moving;
pub mod read;

use crate::command::arg;
use crate::command::reply::put_element;
use crate::resp::{BulkWriter, Reply};
use crate::server::config::NotifyFlags;
use crate::server::error::{self, ReplyError};
use crate::server::spec::{Group, category};
use crate::server::{CommandSpec, Ctx, Server};
use crate::value::list::{Direction, ListElement, ListLimits, Side};
use crate::value::{ListRef, TypeLimits};
use std::ops::Range;

/// What the rows of the family have in common.
const ROW: CommandSpec =
    CommandSpec { categories: category::LIST, group: Group::List, ..CommandSpec::DEFAULT };

/// Bytes a short element takes in a reply, for a first reservation.
const REPLY_BYTES_EACH: usize = 24;
/// The most bytes reserved before the elements are seen.
const REPLY_RESERVE_MAX_BYTES: usize = 64 * 1024;

/// The limits at which lists change their encoding now.
#[inline]
fn limits(server: &Server) -> ListLimits {
    TypeLimits::list_of(
        server.config.list_max_listpack_size,
        server.config.list_compress_depth as i32,
        server.run.debug.packed_threshold_bytes,
    )
}

/// `LEFT` or `RIGHT`.
fn side_of(text: &[u8]) -> Result<Side, ReplyError> {
    match text {
        text if arg::is(text, "left") => Ok(Side::Before),
        text if arg::is(text, "right") => Ok(Side::After),
        _ => Err(error::SYNTAX),
    }
}

const fn push_event(side: Side) -> &'static str {
    match side {
        Side::Before => "lpush",
        Side::After => "rpush",
    }
}

const fn pop_event(side: Side) -> &'static str {
    match side {
        Side::Before => "lpop",
        Side::After => "rpop",
    }
}

/// Writes the elements of a range as an array, in `direction`.
fn write_range(out: &mut Reply, list: ListRef<'_>, range: Range<usize>, direction: Direction) {
    out.array(range.len());
    let first = match direction {
        Direction::Forward => range.start,
        Direction::Backward => range.end.saturating_sub(1),
    };
    let reserved = (range.len() * REPLY_BYTES_EACH).min(REPLY_RESERVE_MAX_BYTES);
    let mut writer = BulkWriter::new(out, reserved);
    list.visit(first, range.len(), direction, |element| {
        match element {
            ListElement::Bytes(bytes) => writer.string(bytes),
            ListElement::Int(value) => writer.integer(value),
        }
        true
    });
}

/// The elements from `start` to `stop` (both included, negative from the end) as a range of
/// indexes; empty when there are none.
fn clamp_range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len_signed = len as i64;
    let from_head = |index: i64| if index < 0 { index.saturating_add(len_signed) } else { index };
    let (start, stop) = (from_head(start).max(0), from_head(stop));
    if start > stop || start >= len_signed {
        return 0..0;
    }
    start as usize..(stop as usize + 1).min(len)
}

/// The index counted from the head, if there is such an element.
fn from_head(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// After `count` elements were changed or added: watchers, the count of changes, the event.
#[inline]
fn changed(ctx: &mut Ctx<'_>, key: &[u8], count: usize, event: &'static str) {
    let db = ctx.db;
    ctx.server.key_changed_by(db, key, count);
    ctx.server.notify(NotifyFlags::LIST, event, db, key);
}

/// After `count` elements were removed: the event, the end of an emptied key, the count of changes.
#[inline]
fn removed(ctx: &mut Ctx<'_>, key: &[u8], count: usize, event: &'static str, emptied: bool) {
    changed(ctx, key, count, event);
    if emptied {
        ctx.server.remove_emptied(ctx.db, key);
    }
}

#[cfg(test)]
mod tests {
    use super::{clamp_range, from_head};

    #[test]
    fn ranges_and_indexes() {
        assert_eq!(clamp_range(0, -1, 3), 0..3);
        assert_eq!(clamp_range(-100, 100, 3), 0..3);
        assert_eq!(clamp_range(1, 1, 3), 1..2);
        assert_eq!(clamp_range(-2, -1, 3), 1..3);
        for (start, stop) in [(2, 1), (3, 5), (0, -4), (i64::MAX, i64::MAX), (0, i64::MIN)] {
            assert!(clamp_range(start, stop, 3).is_empty(), "{start} {stop}");
        }
        assert_eq!((from_head(0, 3), from_head(-1, 3), from_head(-3, 3)), (Some(0), Some(2), Some(0)));
        assert_eq!((from_head(3, 3), from_head(-4, 3), from_head(i64::MIN, 3)), (None, None, None));
    }
}
