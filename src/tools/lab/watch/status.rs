//! One look at a server.

use crate::sys::proc::ProcFs;
use crate::tools::client::Client;
use crate::tools::lab::arguments::WatchOptions;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a reply may take: longer than any fork.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// Forks of the past that are shown.
const HISTORY_ROWS: &[u8] = b"20";

/// A fork of the past, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    pub kind: String,
    /// Unix ms; 0: unknown.
    pub started_ms: i64,
    pub fork_us: u64,
    pub rss_bytes: u64,
    pub duration_ms: u64,
    pub extra_bytes: u64,
    pub state: String,
}

/// What a server tells at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    pub where_: String,
    /// Unix ms of the look.
    pub at_ms: i64,
    info: BTreeMap<String, String>,
    /// How long the reply to a PING took.
    pub ping_us: u64,
    /// Tine's own record of the latest fork, if it has one.
    pub record: Option<Value>,
    pub past: Vec<Past>,
    /// Of the process, where it runs on this machine.
    pub page_tables_bytes: Option<u64>,
}

impl Status {
    pub fn text(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    pub fn number(&self, name: &str) -> f64 {
        self.text(name).parse().unwrap_or(0.0)
    }

    /// Of the record, while its child lives.
    pub fn live(&self, name: &str) -> Option<f64> {
        self.record
            .as_ref()
            .filter(|_| self.child().is_some())
            .and_then(|record| record[name].as_f64())
            .filter(|v| *v >= 0.0)
    }

    /// What the living child does; `None` without one.
    pub fn child(&self) -> Option<&'static str> {
        if self.number("rdb_bgsave_in_progress") > 0.0 {
            return Some("snapshot");
        }
        (self.number("aof_rewrite_in_progress") > 0.0).then_some("AOF rewrite")
    }

    /// Share of the child's work that is done, 0 to 1; `None` where it is not told.
    pub fn progress(&self) -> Option<f64> {
        let percent = self.live("progress_perc").unwrap_or_else(|| {
            let total = self.number("current_save_keys_total");
            if total > 0.0 {
                100.0 * self.number("current_save_keys_processed") / total
            } else {
                self.number("current_fork_perc")
            }
        });
        self.child().map(|_| (percent / 100.0).clamp(0.0, 1.0))
    }

    /// Copied memory now and at its peak, while a child lives.
    pub fn copied(&self) -> (f64, f64) {
        let now = self.live("extra_bytes").unwrap_or_else(|| self.number("current_cow_size"));
        let peak = self.live("extra_peak_bytes").unwrap_or_else(|| self.number("current_cow_peak"));
        if self.child().is_some() { (now, peak.max(now)) } else { (0.0, 0.0) }
    }

    #[cfg(test)]
    pub fn from_info(info: &str) -> Status {
        Status { info: fields(info), where_: "127.0.0.1:6379".to_owned(), ..Status::default() }
    }
}

fn fields(info: &str) -> BTreeMap<String, String> {
    let rows = info.lines().filter_map(|line| line.trim_end().split_once(':'));
    rows.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The connection, and what its server can do.
pub struct Source {
    client: Client,
    where_: String,
    has_fork_command: bool,
    /// Ends of forks that were seen, for servers that keep no history.
    seen: Vec<Past>,
    /// The last look had a child: its kind and the most it had copied.
    running: Option<Past>,
}

impl Source {
    /// # Errors
    /// The server cannot be reached, or refuses the password.
    pub fn connect(options: &WatchOptions) -> Result<Source, String> {
        let where_ = options
            .unix
            .as_ref()
            .map_or_else(|| format!("{}:{}", options.host, options.port), |p| p.display().to_string());
        let connected = match &options.unix {
            Some(path) => Client::connect_unix(path, REPLY_TIMEOUT),
            None => Client::connect_tcp(&options.host, options.port, REPLY_TIMEOUT),
        };
        let mut client = connected.map_err(|e| format!("{where_}: {e}"))?;
        if let Some(pass) = &options.pass {
            let words: Vec<&[u8]> = match &options.user {
                Some(user) => vec![b"AUTH", user.as_bytes(), pass.as_bytes()],
                None => vec![b"AUTH", pass.as_bytes()],
            };
            client.ask(&words).map_err(|problem| format!("{where_}: {problem}"))?;
        }
        let has_fork_command = client.ask(&[b"FORK", b"LATEST", b"JSON"]).is_ok();
        Ok(Source { client, where_, has_fork_command, seen: Vec::new(), running: None })
    }

    /// # Errors
    /// The connection broke, or INFO is refused.
    pub fn look(&mut self) -> Result<Status, String> {
        let begun = Instant::now();
        self.client.ask(&[b"PING"])?;
        let ping_us = begun.elapsed().as_micros() as u64;
        let info = fields(&self.client.ask(&[b"INFO"])?.text());
        let mut status = Status {
            where_: self.where_.clone(),
            at_ms: crate::base::clock::unix_ms_now(),
            info,
            ping_us,
            ..Status::default()
        };
        if self.has_fork_command {
            status.record = self.json(&[b"FORK", b"LATEST", b"JSON"]).filter(Value::is_object);
            let history = self.json(&[b"FORK", b"HISTORY", HISTORY_ROWS, b"JSON"]).unwrap_or(Value::Null);
            status.past = history.as_array().map_or(&[][..], Vec::as_slice).iter().map(past_of).collect();
        } else {
            self.note_end(&status);
            status.past = self.seen.clone();
        }
        status.page_tables_bytes = self.page_tables(&status);
        Ok(status)
    }

    fn json(&mut self, words: &[&[u8]]) -> Option<Value> {
        serde_json::from_str(&self.client.ask(words).ok()?.text()).ok()
    }

    /// For servers without a history: a child that was there and is gone.
    fn note_end(&mut self, status: &Status) {
        match (status.child(), &mut self.running) {
            (Some(kind), running) => {
                let past = running.get_or_insert_with(|| Past {
                    kind: kind.to_owned(),
                    started_ms: status.at_ms,
                    ..Past::default()
                });
                past.fork_us = status.number("latest_fork_usec") as u64;
                past.rss_bytes = status.number("used_memory_rss") as u64;
                past.extra_bytes = past.extra_bytes.max(status.copied().1 as u64);
                past.duration_ms = (status.at_ms - past.started_ms).max(0) as u64;
            }
            (None, running) => {
                if let Some(mut past) = running.take() {
                    let (field, size) = match past.kind.as_str() {
                        "snapshot" => ("rdb_last_bgsave_status", "rdb_last_cow_size"),
                        _ => ("aof_last_bgrewrite_status", "aof_last_cow_size"),
                    };
                    past.state = status.text(field).to_owned();
                    past.extra_bytes = past.extra_bytes.max(status.number(size) as u64);
                    self.seen.insert(0, past);
                    self.seen.truncate(20);
                }
            }
        }
    }

    /// Only where the process of that number is the server: its program has the name that INFO tells.
    fn page_tables(&self, status: &Status) -> Option<u64> {
        if let Some(bytes) = status.live("page_tables_after_bytes").filter(|bytes| *bytes > 0.0) {
            return Some(bytes as u64);
        }
        let pid: i32 = status.text("process_id").parse().ok()?;
        let told = status.text("executable").rsplit('/').next()?;
        let is_local = self.where_.starts_with("127.")
            || self.where_.starts_with("localhost")
            || self.where_.contains('/');
        // The kernel keeps 15 characters of a name.
        let name = ProcFs::system().stat_of(pid).ok()?.name;
        if !is_local || name.is_empty() || !told.starts_with(&name) {
            return None;
        }
        ProcFs::system().status_of(pid).ok().map(|process| process.page_tables)
    }
}

fn past_of(record: &Value) -> Past {
    let number = |name: &str| record[name].as_f64().unwrap_or(0.0).max(0.0) as u64;
    Past {
        kind: record["kind"].as_str().unwrap_or_default().to_owned(),
        started_ms: record["started_ms"].as_i64().unwrap_or(0),
        fork_us: number("fork_us"),
        rss_bytes: number("rss_bytes"),
        duration_ms: number("duration_ms"),
        extra_bytes: number("extra_peak_bytes"),
        state: record["state"].as_str().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Status, past_of};
    use serde_json::json;

    #[test]
    fn the_child_is_understood_from_info_alone_and_better_from_the_record() {
        let info = "rdb_bgsave_in_progress:1\r\ncurrent_save_keys_processed:30\r\ncurrent_save_keys_total:120\r\n\
                    current_cow_size:1000\r\ncurrent_cow_peak:4000\r\n";
        let mut status = Status::from_info(info);
        assert_eq!(
            (status.child(), status.progress(), status.copied()),
            (Some("snapshot"), Some(0.25), (1000.0, 4000.0))
        );
        status.record = Some(json!({"progress_perc": 50.0, "extra_bytes": 5000, "extra_peak_bytes": 6000}));
        assert_eq!((status.progress(), status.copied()), (Some(0.5), (5000.0, 6000.0)));
        let idle = Status::from_info("rdb_bgsave_in_progress:0\r\n");
        assert_eq!((idle.child(), idle.progress(), idle.copied()), (None, None, (0.0, 0.0)));
        assert_eq!(past_of(&json!({"fork_us": -1, "kind": "rdb"})).fork_us, 0);
    }
}
