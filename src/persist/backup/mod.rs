//! Backups: copies of the data set that are whole or not there.
//!
//! ```text
//!  <dir>/.incomplete-backup-20261121T153400.123Z/     being written
//!        │  appendonly.aof or dump.rdb ── synced, read back, checksum compared
//!        │  MANIFEST ── synced;  the folder ── synced
//!        └─ rename ─► <dir>/backup-20261121T153400.123Z/ ── <dir> synced
//! ```
//! | file | what |
//! | --- | --- |
//! | `mod` | names, [`BackupState`] (what the server knows of its backups) |
//! | `manifest` | the file that says what is in a backup |
//! | `job` | the work, in a thread of its own: copy, check, put in place |
//!
//! The log (AOF) is copied from an open descriptor up to the end of a batch: what a rewrite renames
//! or deletes meanwhile does not matter, and bytes below that end never change. A snapshot is
//! immutable once it has its name, so it is linked, or copied where that cannot be done.

pub mod job;
pub mod manifest;
#[cfg(test)]
mod tests;

use crate::base::calendar::compact_utc;
use crate::persist::backup::job::Progress;
use crate::persist::backup::manifest::{BackupKind, Manifest};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Begin of the names of backups.
pub const NAME_PREFIX: &str = "backup-";
/// Begin of the name of a folder that is being written, or was when its writer died.
pub const INCOMPLETE_PREFIX: &str = ".incomplete-";
/// Name of the log inside a backup, whatever the server calls its own.
pub const LOG_NAME: &str = "appendonly.aof";
/// Name of the snapshot inside a backup.
pub const SNAPSHOT_NAME: &str = "dump.rdb";
/// How long the end of the process waits for a backup to notice: it looks between two steps.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Mark in a backup: how its last check ended.
pub const VERIFIED_NAME: &str = "VERIFIED";
/// Mark in a backup: it is at another place too.
pub const OFFSITE_NAME: &str = "OFFSITE";
/// All that is ever written into the folder of a backup. A folder that holds anything else is not
/// removed.
pub const OWN_FILES: [&str; 7] = [
    manifest::FILE_NAME,
    LOG_NAME,
    SNAPSHOT_NAME,
    VERIFIED_NAME,
    OFFSITE_NAME,
    ".VERIFIED.temp",
    ".OFFSITE.temp",
];
/// The form of a time in a name: `0` is any digit.
const TIME_FORM: &[u8] = b"00000000T000000.000Z";

/// The name of a backup asked for at this time.
pub fn name_at(unix_ms: i64) -> String {
    format!("{NAME_PREFIX}{}", compact_utc(unix_ms))
}

/// Whether this is a name that [`name_at`] makes. Other people's folders may begin alike.
pub fn is_name(name: &str) -> bool {
    let Some(time) = name.strip_prefix(NAME_PREFIX) else { return false };
    let fits = |(found, form): (u8, &u8)| if *form == b'0' { found.is_ascii_digit() } else { found == *form };
    time.len() == TIME_FORM.len() && time.bytes().zip(TIME_FORM).all(fits)
}

/// Whether this is the name of a backup that is being written, or of one that is being removed.
pub fn is_incomplete_name(name: &str) -> bool {
    name.strip_prefix(INCOMPLETE_PREFIX).is_some_and(is_name)
}

/// Why a backup cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupFault {
    /// It is not what was written.
    Damaged(String),
    /// It cannot be read, or not be judged by this version: it may well be good.
    Unreadable(String),
}

impl BackupFault {
    /// What is wrong.
    pub fn reason(&self) -> &str {
        let (BackupFault::Damaged(reason) | BackupFault::Unreadable(reason)) = self;
        reason
    }
}

impl fmt::Display for BackupFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.reason())
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupRequest {
    /// The folder of all backups, absolute.
    pub dir: PathBuf,
    pub name: String,
    pub kind: BackupKind,
    /// Blocks shared with the server's own files are not wanted.
    pub copy: bool,
}

/// Where a backup stands.
#[derive(Debug, Default)]
pub enum BackupPhase {
    #[default]
    Idle,
    /// A snapshot is needed, and another child lives.
    WaitingForChild,
    /// A child writes the snapshot.
    Saving {
        pid: i32,
        /// When it was forked, Unix ms.
        forked_ms: i64,
    },
    /// The thread copies and checks.
    Copying(JoinHandle<Result<Manifest, String>>),
}

/// How the last backup ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastBackup {
    pub name: String,
    /// Why it failed.
    pub error: Option<String>,
    /// When it ended, Unix seconds.
    pub ended_s: i64,
    pub duration: Duration,
    /// Length of all files, 0 when it failed.
    pub bytes: u64,
}

/// The backup that runs, and the last ones.
#[derive(Debug, Default)]
pub struct BackupState {
    pub phase: BackupPhase,
    pub request: Option<BackupRequest>,
    pub started: Option<Instant>,
    /// Shared with the thread.
    pub progress: Arc<Progress>,
    pub last: Option<LastBackup>,
    /// Time of the last one that succeeded, Unix seconds; 0: none.
    pub last_success_s: i64,
    /// Counts since the start.
    pub taken: u64,
    pub failed: u64,
}

impl BackupState {
    pub fn in_progress(&self) -> bool {
        !matches!(self.phase, BackupPhase::Idle)
    }

    /// The word of INFO and BACKUP STATUS.
    pub fn phase_name(&self) -> &'static str {
        match self.phase {
            BackupPhase::Idle => "idle",
            BackupPhase::WaitingForChild => "waiting",
            BackupPhase::Saving { .. } => "saving",
            BackupPhase::Copying(_) if self.progress.is_checking() => "checking",
            BackupPhase::Copying(_) => "copying",
        }
    }

    /// Notes that a backup begins.
    pub fn begin(&mut self, request: BackupRequest, phase: BackupPhase) {
        self.request = Some(request);
        self.started = Some(Instant::now());
        self.phase = phase;
    }

    /// Notes the end; returns what is known of it.
    pub fn end(&mut self, outcome: Result<Manifest, String>, now_s: i64) -> &LastBackup {
        self.phase = BackupPhase::Idle;
        let name = self.request.take().map_or_else(String::new, |request| request.name);
        let duration = self.started.take().map_or(Duration::ZERO, |start| start.elapsed());
        let last = match outcome {
            Ok(manifest) => {
                (self.last_success_s, self.taken) = (now_s, self.taken + 1);
                LastBackup { name, error: None, ended_s: now_s, duration, bytes: manifest.bytes() }
            }
            Err(reason) => {
                self.failed += 1;
                LastBackup { name, error: Some(reason), ended_s: now_s, duration, bytes: 0 }
            }
        };
        self.last.insert(last)
    }

    /// The thread's result, once it has ended.
    pub fn take_result(&mut self) -> Option<Result<Manifest, String>> {
        match std::mem::take(&mut self.phase) {
            BackupPhase::Copying(thread) if thread.is_finished() => {
                Some(thread.join().unwrap_or_else(|_| Err("the thread panicked".to_owned())))
            }
            other => {
                self.phase = other;
                None
            }
        }
    }
}

impl Drop for BackupState {
    fn drop(&mut self) {
        let BackupPhase::Copying(thread) = std::mem::take(&mut self.phase) else { return };
        self.progress.cancel();
        let deadline = Instant::now() + STOP_PATIENCE;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
