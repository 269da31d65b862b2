//! Floor 11: the tools behind the small binaries.

pub mod backup;
pub mod check_aof;
pub mod check_rdb;
mod client;
pub mod convert;
pub mod lab;
pub mod load;
mod progress;
mod rdb_stats;

use std::path::PathBuf;

/// The server beside this program; its bare name, to be looked for on the PATH, if there is none.
fn own_server() -> PathBuf {
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|own| Some(own.parent()?.join("tine-server"))).filter(|path| path.exists());
    beside.unwrap_or_else(|| PathBuf::from("tine-server"))
}
