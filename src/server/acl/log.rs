//! The ACL log: what was refused to whom, newest first, and counts of refusals since the start.
//!
//! Equal refusals within a minute are one entry with a count, if it is among the ten newest, so the
//! work of a refusal is bounded whatever `acllog-max-len` says.

use super::check::DeniedBy;
use crate::server::recent::Recent;

/// Refusals further apart than this are two entries, ms (as Redis).
const GROUPING_MS: i64 = 60_000;
/// Entries looked at for one that is equal (as Redis).
const GROUPING_ENTRIES: usize = 10;

/// Where the refused command stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialContext {
    TopLevel,
    Multi,
}

impl DenialContext {
    /// The word in ACL LOG.
    pub fn name(self) -> &'static str {
        match self {
            DenialContext::TopLevel => "toplevel",
            DenialContext::Multi => "multi",
        }
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub struct LogEntry {
    pub count: u64,
    pub by: DeniedBy,
    pub context: DenialContext,
    /// The command, key or channel; the command's name as written for a failed log-in.
    pub object: Vec<u8>,
    pub user_name: Vec<u8>,
    /// The line of CLIENT LIST, of the last refusal.
    pub client: Vec<u8>,
    pub id: u64,
    /// Unix ms, of the first refusal and of the last.
    pub created_ms: i64,
    pub updated_ms: i64,
}

impl LogEntry {
    fn is_like(&self, other: &LogEntry) -> bool {
        self.by == other.by
            && self.context == other.context
            && self.updated_ms.abs_diff(other.updated_ms) <= GROUPING_MS as u64
            && self.object == other.object
            && self.user_name == other.user_name
    }
}

/// Refusals since the start, for INFO. CONFIG RESETSTAT leaves them, as in Redis.
#[derive(Clone, Copy, Debug, Default)]
pub struct DenialCounts {
    pub auth: u64,
    pub command: u64,
    pub key: u64,
    pub channel: u64,
}

/// All entries.
#[derive(Debug, Default)]
pub struct AclLog {
    pub entries: Recent<LogEntry>,
    pub counts: DenialCounts,
}

impl AclLog {
    /// Counts and notes a refusal; the entry's id is given here. O(entry).
    pub(super) fn add(&mut self, entry: LogEntry, max_len: usize) {
        let count = match entry.by {
            DeniedBy::Auth => &mut self.counts.auth,
            DeniedBy::Command => &mut self.counts.command,
            DeniedBy::Key => &mut self.counts.key,
            DeniedBy::Channel => &mut self.counts.channel,
        };
        *count += 1;
        if let Some(mut known) = self.entries.take(GROUPING_ENTRIES, |known| known.is_like(&entry)) {
            known.count += 1;
            known.client = entry.client;
            known.updated_ms = entry.updated_ms;
            self.entries.put_back(known);
            return;
        }
        self.entries.push(max_len, |id| LogEntry { id, ..entry });
    }
}

#[cfg(test)]
mod tests {
    use super::{AclLog, DenialContext, LogEntry};
    use crate::server::acl::DeniedBy;

    fn entry(object: &str, at_ms: i64) -> LogEntry {
        LogEntry {
            count: 1,
            by: DeniedBy::Key,
            context: DenialContext::TopLevel,
            object: object.into(),
            user_name: b"u".to_vec(),
            client: at_ms.to_string().into_bytes(),
            id: 0,
            created_ms: at_ms,
            updated_ms: at_ms,
        }
    }

    fn shown(log: &AclLog) -> String {
        let line = |entry: &LogEntry| {
            let object = String::from_utf8_lossy(&entry.object);
            format!("{object}#{}x{}@{}-{}", entry.id, entry.count, entry.created_ms, entry.updated_ms)
        };
        log.entries.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn equal_refusals_of_a_minute_are_one_entry() {
        let mut log = AclLog::default();
        for (object, at_ms) in [("a", 0), ("b", 1), ("a", 60_000), ("a", 120_001)] {
            log.add(entry(object, at_ms), 128);
        }
        assert_eq!(shown(&log), "a#2x1@120001-120001 a#0x2@0-60000 b#1x1@1-1");
        assert_eq!(log.entries.iter().nth(1).map(|entry| entry.client.as_slice()), Some(b"60000".as_slice()));
        assert_eq!(log.counts.key, 4);
    }

    #[test]
    fn the_eleventh_entry_is_not_looked_at_and_the_oldest_goes() {
        let mut log = AclLog::default();
        for object in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "a"] {
            log.add(entry(object, 0), 11);
        }
        assert!(shown(&log).starts_with("a#11x1@0-0 k#10x1"), "{}", shown(&log));
        assert!(shown(&log).ends_with(" b#1x1@0-0"), "{}", shown(&log));
        log.add(entry("z", 0), 0);
        assert!(log.entries.is_empty());
    }
}
