//! Floor 8: what runs replication. `primary` feeds replicas.
//!
//! The state lies in `crate::server::replication`; sockets belong to `net`, which calls in here at the end
//! of a turn, and `cron` does so each round.

pub mod primary;
