//! What ties the server to its process: the title that `ps` shows (its area is lent to children
//! too, so `persistence` owns it), the log, the service manager.
//!
//! All of it is absent in tests, which run servers without a process of their own.

use crate::server::Server;
use crate::server::config::{self, OomScoreAdj};
use crate::sys;
use crate::sys::log_sink::{LogLevel, LogRole, LogSink};
use crate::sys::notify::Supervisor;
use crate::sys::watchdog::Watchdog;
use std::path::Path;

/// Handles on the process, given by boot.
#[derive(Default)]
pub struct Host {
    pub log: Option<&'static LogSink>,
    pub supervisor: Option<Supervisor>,
    /// The server was started in the background.
    pub in_background: bool,
    /// `watchdog-period` is on.
    pub watchdog: Option<Watchdog>,
    /// Kernel's score of the process before `oom-score-adj` changed it; `None` while it has not.
    pub oom_score_before: Option<i32>,
}

impl Server {
    /// Shows the title that `proc-title-template` describes. O(title).
    pub fn refresh_title(&mut self) {
        if !self.config.set_proc_title {
            return;
        }
        let text = self.title_text();
        if let Some(title) = &mut self.persistence.child_setup.title {
            title.set(&text);
        }
    }

    /// The template with its variables filled in; the check of the directive knows the same names.
    pub fn title_text(&self) -> String {
        let template = self.config.proc_title_template.to_text().into_owned();
        let mut text = String::new();
        let mut rest = template.as_str();
        while let Some(open) = rest.find('{') {
            text.push_str(&rest[..open]);
            rest = &rest[open + 1..];
            if let Some(tail) = rest.strip_prefix('{') {
                text.push('{');
                rest = tail;
                continue;
            }
            let Some(close) = rest.find('}') else { break };
            text.push_str(&self.title_variable(&rest[..close]));
            rest = &rest[close + 1..];
        }
        text.push_str(rest);
        text.trim_end().to_owned()
    }

    fn title_variable(&self, name: &str) -> String {
        let config = &self.config;
        match name {
            "title" => self.run.executable.clone(),
            "listen-addr" => self.title_address(),
            "server-mode" if config.cluster_enabled => "[cluster]".to_owned(),
            "port" => config.port.to_string(),
            "tls-port" => config.tls_port.to_string(),
            "unixsocket" => config.unixsocket.to_text().into_owned(),
            "config-file" => {
                self.config_file.as_ref().map_or(String::new(), |path| path.display().to_string())
            }
            _ => String::new(),
        }
    }

    /// First bound address with the port; the unix socket when no port is open.
    fn title_address(&self) -> String {
        if self.config.port == 0 {
            return self.config.unixsocket.to_text().into_owned();
        }
        let first = self.config.bind.iter().next();
        let host = first.map_or("*".into(), |address| String::from_utf8_lossy(address.host).into_owned());
        format!("{host}:{}", self.config.port)
    }

    /// The role has changed: what the log, the kernel and look-ups make of it, and who wants the stream.
    pub fn apply_role(&mut self) {
        self.apply_log_role();
        // A failure is in the log.
        let _ = self.apply_oom_score(false);
        self.apply_expire_rule();
        self.refresh_stream_wanted();
    }

    /// The score of this process; children get theirs after the fork. What it was before comes back when
    /// the directive is switched off. `was_off`: it is being switched on.
    ///
    /// # Errors
    /// The reason for the client.
    pub fn apply_oom_score(&mut self, was_off: bool) -> Result<(), String> {
        let proc = Path::new("/proc");
        let values = self.config.oom_score_adj_values;
        let own = if self.replication.is_primary() { values.primary } else { values.replica };
        if self.config.oom_score_adj != OomScoreAdj::No && self.host.oom_score_before.is_none() {
            self.host.oom_score_before = sys::oom::read_score_adj(proc).ok();
        }
        let Some(before) = self.host.oom_score_before else { return Ok(()) };
        self.persistence.child_setup.oom_score = match self.config.oom_score_adj {
            OomScoreAdj::No => None,
            OomScoreAdj::Relative => Some(before + values.child),
            OomScoreAdj::Absolute => Some(values.child),
        };
        let score = match self.config.oom_score_adj {
            OomScoreAdj::No => before,
            OomScoreAdj::Relative => before + own,
            OomScoreAdj::Absolute => own,
        };
        if self.config.oom_score_adj == OomScoreAdj::No {
            self.host.oom_score_before = None;
        }
        sys::oom::write_score_adj(proc, score).map_err(|failure| {
            log::warn!("Unable to write oom_score_adj: {failure}");
            if was_off {
                self.host.oom_score_before = None;
            }
            "Failed to set current oom_score_adj. Check server logs.".to_owned()
        })
    }

    /// Shows in each line of the log whether this server is a primary or a replica.
    pub fn apply_log_role(&self) {
        if let Some(log) = self.host.log {
            log.set_role(if self.replication.is_primary() { LogRole::Primary } else { LogRole::Replica });
        }
    }

    /// Lets the log show what `loglevel` asks for.
    pub fn apply_log_level(&self) {
        if let Some(log) = self.host.log {
            log.set_level(log_level(self.config.loglevel));
        }
    }
}

/// The sink's level for a configured one.
pub fn log_level(level: config::LogLevel) -> LogLevel {
    match level {
        config::LogLevel::Debug => LogLevel::Debug,
        config::LogLevel::Verbose => LogLevel::Verbose,
        config::LogLevel::Notice => LogLevel::Notice,
        config::LogLevel::Warning => LogLevel::Warning,
        config::LogLevel::Nothing => LogLevel::Nothing,
    }
}
