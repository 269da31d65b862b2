//! The server program. Called by the name of a check tool (a link), it is that tool.
#![deny(unsafe_code)]

use std::path::Path;
use tine::sys::huge_pages::{PROBE_PROGRAM, probe_program};
use tine::tools::{check_aof, check_rdb};

#[global_allocator]
static ALLOCATOR: tine::sys::general_alloc::Counting = tine::sys::general_alloc::Counting;

fn main() {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    std::process::exit(match name {
        "redis-check-rdb" | "tine-check-rdb" => check_rdb::run(),
        "redis-check-aof" | "tine-check-aof" => check_aof::main(),
        PROBE_PROGRAM => probe_program(),
        _ => tine::boot::run(),
    });
}
