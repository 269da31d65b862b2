//! Backups as the server drives them: BACKUP TO starts one, cron carries it on.
//!
//! ```text
//!  BACKUP TO ─ AOF on and whole ─► flush, ask the writer for its file ─► thread copies ─► cron
//!            └ otherwise ─► (child lives: wait) ─► BGSAVE ─► thread links or copies ──────┘
//! ```
//! Main only starts things and looks at their ends; it copies nothing and waits for nothing. What
//! was acknowledged before the command was received is in the backup: the log's end is taken behind
//! it, and a snapshot is always forked after it.

use crate::persist::aof::AofState;
use crate::persist::backup::job::{self, BackupOrder, Progress, Source};
use crate::persist::backup::manifest::{BackupKind, Manifest};
use crate::persist::backup::{BackupPhase, BackupRequest, name_at};
use crate::persist::fork::ChildKind;
use crate::server::Server;
use crate::server::error::ReplyError;
use crate::server::run::TINE_VERSION;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Server {
    /// BACKUP TO: starts a backup and returns its name. `kind`: `None` takes the log while the AOF
    /// is on and whole, else a fresh snapshot.
    ///
    /// # Errors
    /// The reply: why none can be started.
    pub fn start_backup(
        &mut self,
        dir: &Path,
        kind: Option<BackupKind>,
        copy: bool,
    ) -> Result<String, ReplyError> {
        if self.persistence.backup.in_progress() {
            return Err(ReplyError::err("A backup is already in progress"));
        }
        // The working directory may change (CONFIG SET dir) before the thread uses the path.
        let dir = std::path::absolute(dir)
            .map_err(|failure| ReplyError::err(format!("Bad backup directory: {failure}")))?;
        let log_is_whole =
            self.persistence.aof.state == AofState::On && !self.persistence.aof.needs_rewrite();
        let kind = kind.unwrap_or(if log_is_whole { BackupKind::Log } else { BackupKind::Snapshot });
        if kind == BackupKind::Log && !log_is_whole {
            return Err(ReplyError::err("There is no append only file that is on and whole"));
        }
        let name = name_at(self.now_ms());
        let request = BackupRequest { dir, name: name.clone(), kind, copy };
        log::info!("Backup {name} started ({}, into {})", kind.name(), request.dir.display());
        self.persistence.backup.progress = Arc::new(Progress::default());
        let started = match kind {
            BackupKind::Log => self.copy_log(&request),
            BackupKind::Snapshot => self.save_for_backup(),
        };
        match started {
            Ok(phase) => {
                self.persistence.backup.begin(request, phase);
                Ok(name)
            }
            Err(reason) => {
                self.persistence.backup.begin(request, BackupPhase::Idle);
                self.end_backup(Err(reason.clone()));
                Err(ReplyError::err(format!("Can't start the backup: {reason}")))
            }
        }
    }

    fn copy_log(&mut self, request: &BackupRequest) -> Result<BackupPhase, String> {
        self.flush_stream();
        self.persistence.flush_aof();
        let source = Source::Captured(self.persistence.aof.capture());
        self.spawn_backup(request, source, self.now_ms())
    }

    /// Forks the child of a snapshot, or waits while another child lives: a save that already runs
    /// lacks what was written since its fork.
    fn save_for_backup(&mut self) -> Result<BackupPhase, String> {
        if self.persistence.child_kind().is_some() {
            return Ok(BackupPhase::WaitingForChild);
        }
        self.start_background_save()?;
        let pid = self.persistence.child.as_ref().map_or(0, |child| child.pid);
        Ok(BackupPhase::Saving { pid, forked_ms: self.now_ms() })
    }

    fn spawn_backup(
        &self,
        request: &BackupRequest,
        source: Source,
        unix_ms: i64,
    ) -> Result<BackupPhase, String> {
        let (mut keys, mut expires, mut field_expires) = (0, 0, 0);
        for index in 0..self.keyspace.databases() {
            let db = self.keyspace.db(index);
            keys += db.len() as u64;
            expires += db.volatile_len() as u64;
            field_expires += db.field_expiry_len() as u64;
        }
        let manifest = Manifest {
            kind: request.kind,
            name: request.name.clone(),
            unix_ms,
            tine_version: TINE_VERSION.to_owned(),
            run_id: Some(self.run.run_id.clone()),
            databases: Some(self.keyspace.databases() as u64),
            keys: Some(keys),
            expires: Some(expires),
            field_expires: Some(field_expires),
            files: Vec::new(),
        };
        let storage = match request.kind {
            BackupKind::Log => self.persistence.aof.storage(),
            BackupKind::Snapshot => Arc::clone(&self.persistence.storage),
        };
        let order = BackupOrder { storage, dir: request.dir.clone(), source, copy: request.copy, manifest };
        let progress = Arc::clone(&self.persistence.backup.progress);
        let thread = std::thread::Builder::new().name("backup".into());
        thread.spawn(move || job::run(order, &progress)).map(BackupPhase::Copying).map_err(|f| f.to_string())
    }

    /// A few times a second: the next step of a backup, or its end.
    pub fn backup_cron(&mut self) {
        let next = match self.persistence.backup.phase {
            BackupPhase::Idle => return,
            BackupPhase::WaitingForChild if self.persistence.child_kind().is_some() => return,
            BackupPhase::WaitingForChild => self.save_for_backup(),
            BackupPhase::Saving { pid, .. } => {
                if self.persistence.child.as_ref().is_some_and(|child| child.pid == pid) {
                    return;
                }
                // One that had succeeded would have moved the backup on.
                let fault = self.persistence.snapshot.last_fault.as_ref();
                let reason = fault.map_or("it was cancelled", |fault| fault.reason.as_str());
                Err(format!("the snapshot failed: {reason}"))
            }
            BackupPhase::Copying(_) => {
                if let Some(outcome) = self.persistence.backup.take_result() {
                    self.end_backup(outcome);
                }
                return;
            }
        };
        match next {
            Ok(phase) => self.persistence.backup.phase = phase,
            Err(reason) => self.end_backup(Err(reason)),
        }
    }

    /// The child `pid` has put a snapshot of `bytes` at `path`, an absolute one. When a backup waits
    /// for it, the file is opened here and now, before another save may replace it; a link then
    /// finds that file or a newer one.
    pub fn snapshot_is_placed(&mut self, pid: i32, path: &Path, bytes: u64) {
        let BackupPhase::Saving { pid: wanted, forked_ms } = self.persistence.backup.phase else { return };
        if pid != wanted {
            return;
        }
        match self.copy_snapshot(path, bytes, forked_ms) {
            Ok(phase) => self.persistence.backup.phase = phase,
            Err(reason) => self.end_backup(Err(reason)),
        }
    }

    fn copy_snapshot(&mut self, path: &Path, bytes: u64, forked_ms: i64) -> Result<BackupPhase, String> {
        let request = self.persistence.backup.request.clone().ok_or("nobody knows what was asked for")?;
        let file = self.persistence.storage.open_read(path).map_err(|fault| fault.to_string())?;
        let found = file.len().map_err(|fault| fault.to_string())?;
        if found != bytes {
            return Err(format!("{} has {found} bytes, the child wrote {bytes}", path.display()));
        }
        self.spawn_backup(&request, Source::File { file, path: path.to_path_buf() }, forked_ms)
    }

    fn end_backup(&mut self, outcome: Result<Manifest, String>) {
        let now_s = self.now_ms() / 1000;
        let last = self.persistence.backup.end(outcome, now_s);
        let ms = last.duration.as_millis();
        match &last.error {
            None => log::info!("Backup {} finished: {} bytes in {ms} ms", last.name, last.bytes),
            Some(reason) => log::warn!("Backup {} failed: {reason}", last.name),
        }
    }

    /// BACKUP CANCEL. Says whether there was one; its end follows.
    pub fn cancel_backup(&mut self) -> bool {
        match self.persistence.backup.phase {
            BackupPhase::Idle => return false,
            BackupPhase::Copying(_) => self.persistence.backup.progress.cancel(),
            BackupPhase::WaitingForChild => self.end_backup(Err("it was cancelled".to_owned())),
            BackupPhase::Saving { pid, .. } => {
                let is_ours = |kind| kind == ChildKind::Snapshot;
                let child = self.persistence.child.as_ref();
                if child.is_some_and(|child| child.pid == pid && is_ours(child.kind)) {
                    self.cancel_background_save();
                }
                self.end_backup(Err("it was cancelled".to_owned()));
            }
        }
        true
    }

    /// Bytes done and bytes in all, as far as they are known.
    pub fn backup_progress(&self) -> (u64, u64) {
        let progress = &self.persistence.backup.progress;
        (progress.done_bytes.load(Ordering::Acquire), progress.total_bytes.load(Ordering::Acquire))
    }
}
