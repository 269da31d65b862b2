//! When to save, and what is known of the last save: plain state, no files, no clock of its own.
//!
//! ```text
//!  save point due ─┐
//!  BGSAVE ─────────┼─► fork ─► dirty_at_fork = dirty ─► child ends well, file in place
//!  BGSAVE SCHEDULE ┘                                     └─► dirty -= dirty_at_fork
//! ```
//! A save that meets another child is not lost: the condition stays true and is looked at again.

use std::path::PathBuf;
use std::time::Duration;

/// After a failed save the next automatic one waits this long, seconds (as in Redis).
pub const RETRY_DELAY_S: i64 = 5;

/// A save in a child, as long as it runs.
#[derive(Clone, Debug)]
pub struct RunningSave {
    /// The file that will be replaced.
    pub path: PathBuf,
    /// Changes that the child's data contain.
    pub dirty_at_fork: u64,
    /// Unix seconds.
    pub started_s: i64,
}

/// The last save that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFault {
    /// Cause, with path and error of the system where there is one.
    pub reason: String,
    /// Unix seconds.
    pub at_s: i64,
}

/// What made a save in a child fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotFailure {
    /// The file could not be written, or is not what was written.
    Disk,
    /// There was no child, or a signal ended it: ours (`fork-cow-limit`, `fork-child-timeout`) or another.
    Child,
}

/// State of snapshots; the names are those of INFO.
#[derive(Clone, Debug)]
pub struct SnapshotState {
    /// `rdb_last_save_time`, Unix seconds.
    pub last_save_s: i64,
    /// When a save in a child was last tried, Unix seconds.
    pub last_try_s: i64,
    /// `rdb_last_bgsave_status`.
    pub last_ok: bool,
    /// The disk failed, and no save has succeeded since.
    pub disk_failed: bool,
    /// `rdb_last_error`, `rdb_last_error_age_sec`: why the last save failed, SAVE or not; gone with
    /// the next one that succeeds.
    pub last_fault: Option<SnapshotFault>,
    /// The file is written with a higher version than `rdb-version` says, and the log has said so.
    pub version_raised: bool,
    /// `rdb_last_bgsave_time_sec`.
    pub last_duration: Option<Duration>,
    /// `rdb_saves`: saves since the start, of both kinds.
    pub saves: u64,
    /// Saves of both kinds that are proven in place.
    pub successes: u64,
    /// `rdb_last_cow_size`: the peak, bytes.
    pub last_cow_bytes: u64,
    /// `rdb_last_load_keys_expired`, `rdb_last_load_keys_loaded`.
    pub last_load_keys_expired: u64,
    pub last_load_keys_loaded: u64,
    /// BGSAVE SCHEDULE, or a BGSAVE where no fork is allowed.
    pub scheduled: bool,
    pub running: Option<RunningSave>,
    /// Function libraries found in files, written again as they came.
    pub functions: Vec<Vec<u8>>,
}

impl Default for SnapshotState {
    fn default() -> Self {
        SnapshotState {
            last_save_s: 0,
            last_try_s: 0,
            last_ok: true,
            disk_failed: false,
            last_fault: None,
            version_raised: false,
            last_duration: None,
            saves: 0,
            successes: 0,
            last_cow_bytes: 0,
            last_load_keys_expired: 0,
            last_load_keys_loaded: 0,
            scheduled: false,
            running: None,
            functions: Vec::new(),
        }
    }
}

impl SnapshotState {
    /// Whether a new try may be made: not at once after a failure.
    pub fn may_try(&self, now_s: i64) -> bool {
        self.last_ok || now_s - self.last_try_s > RETRY_DELAY_S
    }

    /// The first save point `(seconds, changes)` that asks for a save now.
    pub fn due(
        &self,
        points: impl Iterator<Item = (u64, u64)>,
        dirty: u64,
        now_s: i64,
    ) -> Option<(u64, u64)> {
        let age_s = now_s.saturating_sub(self.last_save_s);
        let mut points = points.filter(|(seconds, changes)| {
            dirty >= *changes && i64::try_from(*seconds).is_ok_and(|seconds| age_s > seconds)
        });
        if self.may_try(now_s) { points.next() } else { None }
    }

    /// A child was started.
    pub fn began(&mut self, path: PathBuf, dirty: u64, now_s: i64) {
        self.last_try_s = now_s;
        self.saves += 1;
        self.scheduled = false;
        self.running = Some(RunningSave { path, dirty_at_fork: dirty, started_s: now_s });
    }

    /// A save failed, or could not be started.
    pub fn failed(&mut self, failure: SnapshotFailure, reason: String, now_s: i64) {
        self.last_try_s = now_s;
        self.last_ok = false;
        self.disk_failed |= failure == SnapshotFailure::Disk;
        self.note_fault(reason, now_s);
    }

    /// What went wrong, for people. A SAVE that fails is told to whoever asked for it and changes
    /// nothing else.
    pub fn note_fault(&mut self, reason: String, now_s: i64) {
        self.last_fault = Some(SnapshotFault { reason, at_s: now_s });
    }

    /// A save is proven in place.
    pub fn succeeded(&mut self, now_s: i64) {
        self.last_save_s = now_s;
        self.successes += 1;
        self.last_ok = true;
        self.disk_failed = false;
        self.last_fault = None;
    }
}

/// The temporary file of the process with this id.
pub fn temp_name(pid: u32) -> String {
    format!("temp-{pid}.rdb")
}

/// Temporary files of ours: what stands before and behind the process id. Snapshots; bases and
/// buffers of AOF rewrites, those of Redis up to 6.2 as well.
const TEMP_NAMES: &[(&str, &str)] = &[
    ("temp-", ".rdb"),
    ("temp-rewriteaof-bg-", ".aof"),
    ("temp-rewriteaof-buffer-", ".aof"),
    ("temp-rewriteaof-", ".aof"),
];

/// The process id in the name of a temporary file of ours.
pub fn pid_of_temp_name(name: &str) -> Option<u32> {
    TEMP_NAMES.iter().find_map(|(prefix, suffix)| {
        let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        // A data set received from a primary: `temp-<unix time>.<process id>.rdb`.
        let digits = match digits.split_once('.') {
            Some((time, pid)) if !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit()) => pid,
            _ => digits,
        };
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::{SnapshotFailure, SnapshotState, pid_of_temp_name, temp_name};

    const POINTS: [(u64, u64); 2] = [(900, 1), (60, 1000)];

    #[test]
    fn save_points_need_changes_and_time() {
        let state = SnapshotState { last_save_s: 1000, ..SnapshotState::default() };
        let due = |dirty, now_s| state.due(POINTS.into_iter(), dirty, now_s);
        assert_eq!(due(0, 100_000), None);
        assert_eq!(due(1, 1900), None);
        assert_eq!(due(1, 1901), Some((900, 1)));
        assert_eq!(due(999, 1061), None);
        assert_eq!(due(1000, 1061), Some((60, 1000)));
    }

    #[test]
    fn a_failure_is_tried_again_after_five_seconds() {
        let mut state = SnapshotState { last_save_s: 1000, ..SnapshotState::default() };
        state.failed(SnapshotFailure::Disk, "disk full".into(), 2000);
        assert_eq!(state.due(POINTS.into_iter(), 5, 2005), None);
        assert_eq!(state.due(POINTS.into_iter(), 5, 2006), Some((900, 1)));
        assert_eq!(state.last_fault.as_ref().map(|fault| fault.at_s), Some(2000));
        state.succeeded(2010);
        assert!(state.last_ok && state.may_try(2010) && state.last_fault.is_none());
    }

    #[test]
    fn a_child_that_was_ended_is_no_fault_of_the_disk_nor_its_cure() {
        let mut state = SnapshotState::default();
        state.failed(SnapshotFailure::Child, "too much copied".into(), 2000);
        assert!(!state.last_ok && !state.disk_failed);
        state.failed(SnapshotFailure::Disk, "disk full".into(), 2001);
        state.failed(SnapshotFailure::Child, "too much copied".into(), 2002);
        assert!(state.disk_failed);
        state.succeeded(2003);
        assert!(state.last_ok && !state.disk_failed);
    }

    #[test]
    fn temporary_names_are_recognised() {
        assert_eq!(pid_of_temp_name(&temp_name(77)), Some(77));
        assert_eq!(pid_of_temp_name("temp-1700000000.9.rdb"), Some(9));
        let rewrites = ["temp-rewriteaof-9.aof", "temp-rewriteaof-bg-9.aof", "temp-rewriteaof-buffer-9.aof"];
        assert!(rewrites.iter().all(|name| pid_of_temp_name(name) == Some(9)));
        for name in ["temp-x.rdb", "temp-+1.rdb", "dump.rdb", "temp-1.rdb.bak", "temp-1.aof", "temp-.rdb"] {
            assert_eq!(pid_of_temp_name(name), None);
        }
    }
}
