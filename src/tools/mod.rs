//! Floor 11: the check tools behind the small binaries.

pub mod check_aof;
pub mod check_rdb;
mod rdb_stats;
