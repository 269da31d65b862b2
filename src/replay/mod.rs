//! Floor 8: bringing the data set back at the start, by RDB or by replaying the AOF.
//!
//! ```text
//!  appendonly no  ─► dump.rdb, when there is one
//!  appendonly yes ─► <dir>/appendonly.aof          ─► replay, go on appending to it
//!                 ─► <dir>/appendonlydir/ (Redis 7) ─► replay base + increments, write a base of
//!                                                     our own, set the folder aside
//!                 ─► only dump.rdb                 ─► load it, write a first AOF
//!                 ─► an empty AOF                  ─► as if there were none
//!                 ─► nothing                       ─► begin an empty AOF
//!                 ─► both forms                    ─► refused, unless one was made from the other
//!                 ─► an AOF, a newer snapshot made without one ─► the AOF; the other is kept
//! ```
//! `aof-restore-to-timestamp` comes before all that: the log is executed up to a point in time, set
//! aside, and a new one written.
//!
//! A log is executed through a fake client by `dispatch`. Expired keys are kept until it ends, as
//! the log says itself when they go.

mod log;
mod newer_snapshot;
mod restore;
mod snapshot;
mod start;
mod tail;
mod take_over;

pub use self::log::{TimeLimit, replay_file};
pub use self::restore::load_read_only;
pub use self::snapshot::reload_snapshot;
pub use self::start::{load_at_start, reload_aof};
pub use self::tail::{TailOptions, cut};

use crate::server::Server;

/// Called now and then while a load runs, so that the server can answer its clients.
pub type Pump<'a> = dyn FnMut(&mut Server) + 'a;

/// How a load ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadEnd {
    /// Everything is there.
    Complete,
    /// The server was told to exit meanwhile.
    Interrupted,
}
