//! The lines that say who is there: a small drawing, or one line when the log goes to a file.

use crate::server::Server;
use crate::server::run::{REDIS_VERSION, TINE_VERSION};
use crate::sys::log_sink::log_raw;
use std::io::IsTerminal;

/// Shows the drawing where a person looks on (or is asked for), else one line.
///
/// ` PID: n` is what Redis's test harness waits for: it must come after binding.
pub fn show(server: &Server) {
    let config = &server.config;
    let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
    let to_person = config.logfile.is_empty() && !config.syslog_enabled && std::io::stdout().is_terminal();
    if !config.always_show_logo && !to_person {
        log::info!("Running mode={mode}, port={}.", config.port);
        return;
    }
    let (port, pid) = (config.port, server.run.pid);
    log_raw(format_args!(
        "
      | | |
      | | |      Tine {TINE_VERSION} (speaks Redis {REDIS_VERSION}) 64 bit
      | | |
       \\|/       Running in {mode} mode
        |        Port: {port}
        |        PID: {pid}
        |
        |        A fork per snapshot
"
    ));
}
