//! The log: where it goes, and the first lines in it.

use crate::server::config::{CommandLine, Config, LoadedConfig, SyslogFacility};
use crate::server::host::log_level;
use crate::server::run::{REDIS_VERSION, TINE_VERSION};
use crate::sys::log_sink::{self, LogSink, LogTarget, SyslogOptions};
use std::path::PathBuf;

/// Installs the sink as the configuration says.
///
/// # Errors
/// When the log file cannot be opened; a missing syslog is only reported.
pub fn install(config: &Config) -> Result<&'static LogSink, String> {
    let log = log_sink::install().map_err(|failure| failure.to_string())?;
    log.refresh_pid();
    log.set_level(log_level(config.loglevel));
    let file = (!config.logfile.is_empty()).then(|| {
        let path = config.logfile.as_path();
        std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
    });
    log.set_target(LogTarget { file, syslog: None }).map_err(|failure| {
        format!(
            "\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n>>> 'logfile {}'\nCan't open the log file: \
             {failure}\n",
            config.logfile.to_text()
        )
    })?;
    if config.syslog_enabled {
        let target = LogTarget { file: None, syslog: Some(syslog_options(config)) };
        if let Err(failure) = log.set_target(target) {
            log::warn!("Can't reach syslog: {failure}");
        }
    }
    Ok(log)
}

fn syslog_options(config: &Config) -> SyslogOptions {
    let facility = match config.syslog_facility {
        SyslogFacility::User => libc::LOG_USER,
        SyslogFacility::Local0 => libc::LOG_LOCAL0,
        SyslogFacility::Local1 => libc::LOG_LOCAL1,
        SyslogFacility::Local2 => libc::LOG_LOCAL2,
        SyslogFacility::Local3 => libc::LOG_LOCAL3,
        SyslogFacility::Local4 => libc::LOG_LOCAL4,
        SyslogFacility::Local5 => libc::LOG_LOCAL5,
        SyslogFacility::Local6 => libc::LOG_LOCAL6,
        SyslogFacility::Local7 => libc::LOG_LOCAL7,
    };
    SyslogOptions {
        ident: config.syslog_ident.to_text().into_owned(),
        facility,
        socket_path: PathBuf::from("/dev/log"),
    }
}

/// The first lines: who starts, from what, and what of the configuration does nothing yet.
pub fn say_hello(line: &CommandLine, loaded: &LoadedConfig) {
    log::info!("oO0OoO0OoO0Oo Tine is starting oO0OoO0OoO0Oo");
    let pid = std::process::id();
    log::info!(
        "Tine version={TINE_VERSION}, redis_version={REDIS_VERSION}, bits=64, pid={pid}, just started"
    );
    if line.config_file.is_none() && !line.reads_stdin && line.options.is_empty() {
        log::warn!("No configuration was given: the built-in values are used. Name a file to change them.");
    } else {
        log::info!("Configuration loaded");
    }
    for row in &loaded.inactive {
        row.log_if_inactive(&loaded.config);
    }
}
