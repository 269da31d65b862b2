//! Floor 8: what runs replication. `primary` feeds replicas, `replica` follows a primary.
//!
//! The state lies in `crate::server::replication`; sockets belong to `net`, which calls in here, and
//! `cron` does so each round.

pub mod primary;
pub mod replica;
