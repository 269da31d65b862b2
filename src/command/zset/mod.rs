//! Sorted set commands: ZADD and the readers, ranges, removals, pops, combinations.
//!
//! Each file has the rows of its handlers; here is what they share: limits, the shapes of
//! replies, and what follows a removal or a stored result.

pub mod add;
pub mod combine;
pub mod pop;
pub mod random;
pub mod range;
pub mod read;
pub mod remove;

use crate::command::reply::put_element;
use crate::ds::element::Element;
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::Reply;
use crate::server::config::NotifyFlags;
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};
use crate::value::ZsetValue;
use crate::value::zset::ZsetLimits;

/// A reader of one key.
const READ_ROW: CommandSpec = CommandSpec {
    arity: -4,
    flags: flag::READONLY,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::SortedSet,
    ..CommandSpec::DEFAULT
};

/// Members of a variadic command whose look-ups are started together.
const LOOK_AHEAD_MEMBERS: usize = 32;
/// Fewer are not worth it.
const LOOK_AHEAD_MIN: usize = 4;

/// The limits of sorted sets, from the directives.
fn limits(server: &Server) -> ZsetLimits {
    ZsetLimits { seed: server.keyspace.seed(), packed: server.config.zset_limits() }
}

/// Begins a list of members; with scores it is flat in RESP2 and of pairs in RESP3.
fn begin_members(out: &mut Reply, count: usize, with_scores: bool) {
    let doubled = with_scores && !out.is_resp3();
    out.array(if doubled { 2 * count } else { count });
}

/// One member of such a list.
#[inline]
fn put_entry(out: &mut Reply, score: f64, member: Element<'_>, with_scores: bool) {
    if with_scores && out.is_resp3() {
        out.array(2);
    }
    put_element(out, member);
    if with_scores {
        out.double(score);
    }
}

/// Members went: the key goes with the last one, and `event` is told. The edit is over.
fn members_removed(ctx: &mut Ctx<'_>, key: &[u8], count: usize, emptied: bool, event: &str) {
    let (server, db) = (&mut *ctx.server, ctx.db);
    server.key_changed_by(db, key, count);
    server.notify(NotifyFlags::ZSET, event, db, key);
    if emptied {
        server.remove_emptied(db, key);
    }
}

/// Puts the result of a STORE command in the place of what is at `key` and answers its length;
/// an empty one removes the key. Counts as one change, as in Redis; GEO counts each member.
pub fn store_result(ctx: &mut Ctx<'_>, key: &[u8], result: ZsetValue, event: &str) {
    let (server, db) = (&mut *ctx.server, ctx.db);
    let len = result.len();
    ctx.out.integer(len as i64);
    if len > 0 {
        server.set_key(db, key, NewValue::Owned(result.into()), ExpiryChange::Clear);
        server.key_changed(db, key);
        server.notify(NotifyFlags::ZSET, event, db, key);
    } else if server.exists(db, key) {
        server.remove_key(db, key, true);
        server.key_changed(db, key);
        server.notify(NotifyFlags::GENERIC, "del", db, key);
    }
}
