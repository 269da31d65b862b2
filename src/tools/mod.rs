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

use crate::server::run::{REDIS_VERSION, TINE_VERSION};
use std::path::{Path, PathBuf};

/// What `--version` prints: the name that the program was called by, as Redis's tool where it is its
/// name. `own` is the name if the process does not know one.
fn version_line(own: &str) -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().and_then(|name| name.to_str()).unwrap_or(own);
    match name.starts_with("redis-") {
        true => format!("{name} {REDIS_VERSION} (Tine {TINE_VERSION})"),
        false => format!("{name} {TINE_VERSION} (Redis {REDIS_VERSION})"),
    }
}

/// The server beside this program; its bare name, to be looked for on the PATH, if there is none.
fn own_server() -> PathBuf {
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|own| Some(own.parent()?.join("tine-server"))).filter(|path| path.exists());
    beside.unwrap_or_else(|| PathBuf::from("tine-server"))
}
