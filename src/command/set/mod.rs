//! The set commands: `edit` (SADD, SREM, SMOVE), `read` (SISMEMBER, SMEMBERS, SSCAN ...), `random`
//! (SPOP, SRANDMEMBER), `algebra` (SINTER, SUNION, SDIFF and their STORE forms).

pub mod algebra;
pub mod edit;
pub mod random;
pub mod read;

use crate::command::reply::put_element;
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Server};
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
        packed: config.set_limits(),
        intset_entries: config.set_max_intset_entries,
    }
}
