//! The set commands: `edit` (SADD, SREM, SMOVE), `read` (SISMEMBER, SMEMBERS, SSCAN ...), `random`
//! (SPOP, SRANDMEMBER), `algebra` (SINTER, SUNION, SDIFF and their STORE forms).

pub mod algebra;
pub mod edit;
pub mod random;
pub mod read;

use crate::ds::element::Element;
use crate::resp::Reply;
use crate::server::config::NotifyFlags;
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Server};
use crate::value::PackedLimits;
use crate::value::set::SetLimits;

/// What rows of readers share.
const READ: CommandSpec = CommandSpec {
    flags: flag::READONLY,
    categories: category::SET,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Set,
    ..CommandSpec::DEFAULT
};

/// What rows of writers share.
const WRITE: CommandSpec = CommandSpec {
    flags: flag::WRITE | flag::FAST,
    categories: category::SET,
    group: Group::Set,
    ..CommandSpec::DEFAULT
};

/// When sets change their encoding, from the directives.
fn limits(server: &Server) -> SetLimits {
    let config = &server.config;
    SetLimits {
        seed: server.keyspace.seed(),
        packed: PackedLimits {
            entries: config.set_max_listpack_entries,
            value_bytes: config.set_max_listpack_value,
        },
        intset_entries: config.set_max_intset_entries,
    }
}

/// Answers with a member.
#[inline]
fn reply_member(out: &mut Reply, member: Element<'_>) {
    match member {
        Element::Bytes(bytes) => out.bulk(bytes),
        Element::Int(value) => out.bulk_integer(value),
    }
}

/// Removes a set that has lost its last member.
fn remove_emptied(server: &mut Server, db: usize, key: &[u8]) {
    server.remove_key(db, key, true);
    server.notify(NotifyFlags::GENERIC, "del", db, key);
}

/// Reports `count` changes of one key (not 0).
#[inline]
fn changed(server: &mut Server, db: usize, key: &[u8], count: usize) {
    server.key_changed(db, key);
    server.persistence.dirty += count as u64 - 1;
}
