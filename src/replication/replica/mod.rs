//! The replica's half: the link to the primary, the data set that comes over it, the stream.
//!
//! ```text
//!  net reads ─► receive ─┬─ handshake: a line, the next question
//!                        ├─ transfer: into a file, or left in the socket for the parser
//!                        └─ stream: apply_some, a batch of commands at a time
//!  each turn ─► step: a piece of a load      once a second ─► cron: time-outs, tries, ACK, failover
//! ```
//! | file | what |
//! | --- | --- |
//! | `role` | becoming a replica and a primary |
//! | `handshake` | from the connection to the answer to PSYNC |
//! | `transfer` | receiving a data set |
//! | `load` | taking it in the place of the old one |
//! | `stream` | commands of the primary |
//! | `cron` | what time brings |
//! | `failover` | handing the role over in a planned way |
//!
//! The old data are kept until the new are known whole: a file is received, followed and its checksum compared
//! before anything is dropped, and `swapdb` loads beside. A fault before that leaves the data as they
//! were, one behind it an empty data set; both end in the next try.

mod cron;
mod failover;
mod handshake;
mod load;
mod role;
mod stream;
mod transfer;

pub use cron::cron;
pub use failover::{abort as abort_failover, begin as begin_failover, watch as watch_failover};
pub use handshake::{connect_failed, connected};
pub use load::step;
pub use role::{primary_lost, set_primary, start, unset_primary};
pub use stream::{apply_some, send_ack};

use crate::server::Server;
use crate::server::replication::link::LinkState;

/// Monotonic milliseconds, read now.
fn now_ms(server: &Server) -> u64 {
    server.clock.now_monotonic_us() / 1000
}

/// Bytes have come from the primary.
pub fn receive(server: &mut Server, bytes: &[u8]) {
    server.link.last_heard_ms = now_ms(server);
    server.replication.counts.input_bytes += bytes.len() as u64;
    match server.link.state {
        LinkState::Transfer => transfer::receive(server, bytes),
        LinkState::Connected => stream::receive(server, bytes),
        state if state.is_handshake() => handshake::receive(server, bytes),
        _ => {}
    }
}

/// The primary has closed the connection, or it broke.
pub fn disconnected(server: &mut Server, reason: &str) {
    match server.link.state {
        LinkState::Connected => role::primary_lost(server),
        LinkState::Transfer => {
            log::warn!("I/O error trying to sync with MASTER: {reason}");
            handshake::cancel(server, true);
        }
        LinkState::Connecting => connect_failed(server, reason),
        state if state.is_handshake() => handshake::closed(server),
        _ => server.link.drop_socket(),
    }
}

/// Whether `net` is to leave the bytes in the socket: a load takes them itself, or is not over.
pub fn holds_reading(server: &Server) -> bool {
    server.link.load.is_some() || stream::holds_reading(server)
}

/// Whether there is work that no event will announce.
pub fn has_work(server: &Server) -> bool {
    server.link.load.as_ref().is_some_and(|load| load::budget_of(server, load).is_some())
}
