//! The command logs: the last commands that took long (SLOWLOG), and those whose request or reply
//! was large (COMMANDLOG, which shows all three), newest first.
//!
//! An entry keeps at most [`ARGUMENTS_MAX`] arguments of [`ARGUMENT_BYTES_MAX`] bytes, so the whole
//! log is bounded by its `-max-len` times about 5 KiB.

use crate::resp::Args;
use crate::server::config::is_sensitive;
use crate::server::recent::Recent;
use crate::server::spec::{Found, flag};
use crate::server::{ClientRef, Server};

/// Arguments kept of one command, the last replaced by a count of the rest (as Redis).
pub const ARGUMENTS_MAX: usize = 32;
/// Bytes kept of one argument (as Redis).
pub const ARGUMENT_BYTES_MAX: usize = 128;
/// What stands in the place of a secret.
pub const REDACTED: &[u8] = b"(redacted)";

/// One command worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowEntry {
    pub id: u64,
    /// Unix seconds.
    pub time_s: i64,
    /// Microseconds in the slow log, bytes in the others.
    pub figure: u64,
    pub arguments: Vec<Vec<u8>>,
    pub address: String,
    pub client_name: Vec<u8>,
}

/// Entries of one kind.
pub type SlowLog = Recent<SlowEntry>;

/// The three logs.
#[derive(Debug, Default)]
pub struct CommandLogs {
    pub slow: SlowLog,
    /// By the bytes of a request's arguments.
    pub large_requests: SlowLog,
    /// By the bytes of a reply.
    pub large_replies: SlowLog,
}

/// Whether a figure exceeds a threshold, of which -1 means none.
#[inline]
fn exceeds(figure: u64, threshold: i64) -> bool {
    threshold >= 0 && figure >= threshold as u64
}

impl Server {
    /// Looks at the bytes of a request and of its reply. Called after every command.
    #[inline]
    pub fn note_sizes(&mut self, client: ClientRef, found: Found, args: Args<'_>, reply_bytes: usize) {
        let extent_bytes = args.extent_bytes() as u64;
        let config = &self.config;
        if exceeds(extent_bytes, config.commandlog_request_larger_than)
            | exceeds(reply_bytes as u64, config.commandlog_reply_larger_than)
        {
            self.log_sizes(client, found, args, reply_bytes as u64);
        }
    }

    #[cold]
    fn log_sizes(&mut self, client: ClientRef, found: Found, args: Args<'_>, reply_bytes: u64) {
        if found.spec.has(flag::SKIP_SLOWLOG) {
            return;
        }
        let request_bytes = args.total_bytes() as u64;
        let config = &self.config;
        let (requests_max, replies_max) =
            (config.commandlog_large_request_max_len, config.commandlog_large_reply_max_len);
        let (request_from, reply_from) =
            (config.commandlog_request_larger_than, config.commandlog_reply_larger_than);
        if exceeds(request_bytes, request_from)
            && let Some(entry) = self.log_entry(client, found, args, request_bytes)
        {
            self.command_logs.large_requests.push(requests_max, |id| SlowEntry { id, ..entry });
        }
        if exceeds(reply_bytes, reply_from)
            && let Some(entry) = self.log_entry(client, found, args, reply_bytes)
        {
            self.command_logs.large_replies.push(replies_max, |id| SlowEntry { id, ..entry });
        }
    }

    /// Looks at how long a command took: slow log and latency monitor. Called after every command.
    #[inline]
    pub fn note_slow(&mut self, client: ClientRef, found: Found, args: Args<'_>, duration_ns: u64) {
        let threshold_us = self.config.slowlog_log_slower_than;
        let duration_us = duration_ns / 1000;
        if threshold_us >= 0 && duration_us >= threshold_us as u64 && !found.spec.has(flag::SKIP_SLOWLOG) {
            self.log_slow(client, found, args, duration_us);
        }
        let latency_threshold_ms = self.config.latency_monitor_threshold;
        if latency_threshold_ms > 0 && duration_us / 1000 >= latency_threshold_ms {
            let event = if found.spec.has(flag::FAST) { "fast-command" } else { "command" };
            self.note_latency(event, duration_us / 1000);
        }
    }

    #[cold]
    fn log_slow(&mut self, client: ClientRef, found: Found, args: Args<'_>, duration_us: u64) {
        if self.config.slowlog_max_len == 0 {
            return;
        }
        if let Some(entry) = self.log_entry(client, found, args, duration_us) {
            self.command_logs.slow.push(self.config.slowlog_max_len, |id| SlowEntry { id, ..entry });
        }
    }

    fn log_entry(&self, client: ClientRef, found: Found, args: Args<'_>, figure: u64) -> Option<SlowEntry> {
        let state = self.clients.get(client)?;
        Some(SlowEntry {
            id: 0,
            time_s: self.call.now_ms / 1000,
            figure,
            arguments: trimmed(&redacted(found, args)),
            address: state.address.clone(),
            client_name: state.name.clone(),
        })
    }
}

/// The arguments with secrets blotted out, for the slow log and MONITOR.
pub fn redacted<'a>(found: Found, args: Args<'a>) -> Vec<&'a [u8]> {
    let mut shown: Vec<&[u8]> = args.iter().collect();
    let hide = |shown: &mut Vec<&'a [u8]>, from: usize, to: usize| {
        let end = to.min(shown.len());
        for argument in shown.get_mut(from.min(end)..end).unwrap_or(&mut []) {
            *argument = REDACTED;
        }
    };
    match found.full_name().as_str() {
        "auth" => hide(&mut shown, 1, usize::MAX),
        "acl|setuser" => hide(&mut shown, 2, usize::MAX),
        "config|set" => {
            for name in (2..args.len()).step_by(2).filter(|at| is_sensitive(args.at(*at))) {
                hide(&mut shown, name + 1, name + 2);
            }
        }
        "hello" => {
            if let Some(at) = args.iter().position(|word| word.eq_ignore_ascii_case(b"auth")) {
                hide(&mut shown, at + 1, at + 3);
            }
        }
        "migrate" => {
            for at in 6..args.len() {
                if args.at(at).eq_ignore_ascii_case(b"auth") {
                    hide(&mut shown, at + 1, at + 2);
                } else if args.at(at).eq_ignore_ascii_case(b"auth2") {
                    hide(&mut shown, at + 1, at + 3);
                }
            }
        }
        _ => {}
    }
    shown
}

/// Cut to what an entry keeps.
fn trimmed(arguments: &[&[u8]]) -> Vec<Vec<u8>> {
    let whole = if arguments.len() > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { arguments.len() };
    let mut kept: Vec<Vec<u8>> =
        arguments[..whole].iter().map(|argument| trimmed_argument(argument)).collect();
    if whole < arguments.len() {
        kept.push(format!("... ({} more arguments)", arguments.len() - whole).into_bytes());
    }
    kept
}

fn trimmed_argument(argument: &[u8]) -> Vec<u8> {
    let Some((start, rest)) = argument.split_at_checked(ARGUMENT_BYTES_MAX) else { return argument.to_vec() };
    if rest.is_empty() {
        return argument.to_vec();
    }
    let mut text = start.to_vec();
    text.extend_from_slice(format!("... ({} more bytes)", rest.len()).as_bytes());
    text
}

#[cfg(test)]
mod tests {
    use super::{ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, SlowEntry, SlowLog, trimmed};

    #[test]
    fn long_commands_are_cut_as_in_redis() {
        let long = [b'x'; ARGUMENT_BYTES_MAX + 1];
        assert_eq!(trimmed(&[&long])[0][ARGUMENT_BYTES_MAX..], *b"... (1 more bytes)");
        assert_eq!(trimmed(&[&long[1..]])[0].len(), ARGUMENT_BYTES_MAX);
        let many = vec![b"a".as_slice(); 33];
        let kept = trimmed(&many);
        assert_eq!(kept.len(), ARGUMENTS_MAX);
        assert_eq!(kept[31], b"... (2 more arguments)");
        assert_eq!(trimmed(&many[1..])[31], b"a");
    }

    #[test]
    fn the_oldest_entry_goes_first() {
        let mut slow = SlowLog::default();
        for _ in 0..3 {
            let entry = SlowEntry {
                id: 0,
                time_s: 0,
                figure: 0,
                arguments: Vec::new(),
                address: String::new(),
                client_name: Vec::new(),
            };
            slow.push(2, |id| SlowEntry { id, ..entry });
        }
        assert_eq!(slow.iter().map(|entry| entry.id).collect::<Vec<_>>(), [2, 1]);
    }
}
