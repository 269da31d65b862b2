//! Floor 9: the command families. A family parses arguments, calls its type or the server's
//! parts, and replies; its rows stand beside its handlers.

pub mod acl;
pub mod arg;
pub mod backup;
pub mod batch;
pub mod client;
pub mod command_info;
pub mod config;
pub mod connection;
pub mod debug;
pub mod dump;
pub mod fork;
pub mod function;
pub mod geo;
pub mod hash;
pub mod help;
pub mod hot_keys;
pub mod hyperloglog;
pub mod info;
pub mod key;
pub mod latency;
pub mod list;
pub mod memory;
pub mod migrate;
pub mod module;
pub mod pubsub;
pub mod replication;
pub mod reply;
pub mod rewrite;
pub mod server_admin;
pub mod set;
pub mod slowlog;
pub mod snapshot;
pub mod sort;
pub mod stream;
pub mod string;
pub mod transaction;
pub mod zset;

use crate::server::CommandSpec;

/// The rows of all families, for the command table.
pub const FAMILIES: &[&[CommandSpec]] = &[
    acl::ROWS,
    backup::ROWS,
    client::ROWS,
    command_info::ROWS,
    config::ROWS,
    connection::ROWS,
    debug::ROWS,
    dump::ROWS,
    fork::ROWS,
    function::ROWS,
    geo::ROWS,
    hyperloglog::ROWS,
    hash::combined::ROWS,
    hash::expire::ROWS,
    hash::number::ROWS,
    hash::read::ROWS,
    hash::walk::ROWS,
    hash::write::ROWS,
    hot_keys::ROWS,
    info::ROWS,
    latency::ROWS,
    list::ends::ROWS,
    list::inside::ROWS,
    list::moving::ROWS,
    list::read::ROWS,
    memory::ROWS,
    migrate::ROWS,
    module::ROWS,
    pubsub::ROWS,
    replication::role::ROWS,
    replication::sync::ROWS,
    replication::wait::ROWS,
    rewrite::ROWS,
    server_admin::ROWS,
    slowlog::ROWS,
    snapshot::ROWS,
    sort::ROWS,
    key::basic::ROWS,
    key::expire::ROWS,
    key::flush::ROWS,
    key::object::ROWS,
    key::scan::ROWS,
    key::transfer::ROWS,
    set::algebra::ROWS,
    set::edit::ROWS,
    set::random::ROWS,
    set::read::ROWS,
    stream::add::ROWS,
    stream::claim::ROWS,
    stream::group::ROWS,
    stream::info::ROWS,
    stream::pending::ROWS,
    stream::range::ROWS,
    stream::read::ROWS,
    string::bitfield::ROWS,
    string::bits::ROWS,
    string::edit::ROWS,
    string::lcs::ROWS,
    string::number::ROWS,
    string::read::ROWS,
    string::set::ROWS,
    transaction::ROWS,
    zset::add::ROWS,
    zset::combine::ROWS,
    zset::pop::ROWS,
    zset::random::ROWS,
    zset::range::ROWS,
    zset::read::ROWS,
    zset::remove::ROWS,
];
