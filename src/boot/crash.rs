//! The crash report's own part, and who writes it.

use crate::server::config::Config;
use crate::server::run::{REDIS_VERSION, TINE_VERSION};
use crate::sys::crash::{self, AfterPanic};
use crate::sys::log_sink::LogSink;
use crate::sys::{data_alloc, general_alloc, info};
use std::fmt::Write;

/// Installs the report for fault signals and panics.
pub fn prepare(config: &Config, log: &LogSink) {
    crash::set_output_fd(log.fd());
    crash::set_section(write_section);
    crash::install_panic_hook(AfterPanic::Abort);
    if config.crash_log_enabled
        && let Err(failure) = crash::install()
    {
        log::warn!("No crash reports: {failure}");
    }
}

/// Figures that are atomics: the server itself must not be touched in a broken process.
fn write_section(out: &mut dyn Write) {
    let lines = [
        ("redis_version", REDIS_VERSION.to_owned()),
        ("tine_version", TINE_VERSION.to_owned()),
        ("process_id", std::process::id().to_string()),
        ("mem_allocator", general_alloc::name().to_owned()),
        ("used_memory_data", data_alloc::used_bytes().to_string()),
        ("used_memory_general", general_alloc::allocated_bytes().to_string()),
        ("used_memory_rss", info::current_rss_bytes().to_string()),
    ];
    for (name, value) in lines {
        // The writer is a descriptor: it never fails.
        let _ = writeln!(out, "{name}:{value}");
    }
}
