//! Floor 11: the tools behind the small binaries.

pub mod backup;
pub mod check_aof;
pub mod check_rdb;
pub mod convert;
mod progress;
mod rdb_stats;
