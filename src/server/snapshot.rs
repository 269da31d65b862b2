//! Snapshots as the server drives them: SAVE, BGSAVE, save points, the end of a child.

use crate::base::bytes::repr;
use crate::persist::aof::AofState;
use crate::persist::child::ChildLink;
use crate::persist::fork::{ChildEnd, ChildKind, ChildResult};
use crate::persist::rdb::save::Walk;
use crate::persist::rdb::{self, AccessRecord, LoadOptions, LoadReport, SaveOptions};
use crate::persist::schedule::{self, SnapshotFailure};
use crate::server::Server;
use crate::server::config::{MaxmemoryPolicy, SanitizeDumpPayload};
use crate::server::replication::SaveTarget;
use crate::server::replication::save::HISTORY_FIELDS;
use crate::server::run::REDIS_VERSION;
use crate::sys::fork::ChildOutcome;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A field of our own in snapshots, which Redis ignores. It is there when the append-only file was
/// off: a log that is found beside such a file and is older has nothing that follows it.
pub const LOG_FIELD: &str = "tine-aof";
/// Its value.
pub const LOG_OFF: &str = "off";

impl Server {
    /// The snapshot's path.
    pub fn snapshot_path(&self) -> PathBuf {
        self.data_path(self.config.dbfilename.as_path())
    }

    fn temp_snapshot_path(&self, pid: u32) -> PathBuf {
        self.data_path(Path::new(&schedule::temp_name(pid)))
    }

    /// How the configuration wants files to be written.
    pub fn save_options(&self) -> SaveOptions {
        let version = self.snapshot_version();
        let config = &self.config;
        let has_log = self.persistence.aof.state == AofState::On;
        SaveOptions {
            version,
            compress: config.rdbcompression,
            checksum: config.rdbchecksum,
            access: access_record(config.maxmemory_policy),
            walk: Walk::Tables,
            aof_base: false,
            redis_version: REDIS_VERSION,
            unix_s: self.now_ms() / 1000,
            key_delay: config.rdb_key_save_delay,
            incremental_sync: config.rdb_save_incremental_fsync,
            verify: config.rdb_verify,
            no_data: false,
            functions: self.persistence.snapshot.functions.clone(),
            extra_fields: self.extra_fields(has_log),
        }
    }

    fn extra_fields(&self, has_log: bool) -> Vec<(&'static str, String)> {
        let mut fields = self.history_fields();
        if !has_log {
            fields.push((LOG_FIELD, LOG_OFF.to_owned()));
        }
        fields
    }

    /// How the configuration wants files to be read.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions {
            now_ms: self.now_ms(),
            drop_expired: false,
            note_expired: false,
            checksum: self.config.rdbchecksum && !self.run.debug.skip_checksums,
            key_delay: self.config.key_load_delay,
            allow_duplicates: false,
            limits: Some(self.type_limits(self.config.sanitize_dump_payload == SanitizeDumpPayload::Yes)),
        }
    }

    /// A snapshot has been loaded: what INFO and FUNCTION know of it.
    pub fn note_loaded(&mut self, report: &LoadReport) {
        let state = &mut self.persistence.snapshot;
        state.last_load_keys_expired = report.keys_expired;
        state.last_load_keys_loaded = report.keys_loaded;
        state.functions.clone_from(&report.functions);
        if !report.functions.is_empty() {
            let count = report.functions.len();
            let (libraries, are) = if count == 1 { ("library", "is") } else { ("libraries", "are") };
            log::warn!(
                "{count} function {libraries} of the snapshot {are} kept for the next one, and cannot be run: \
                 FUNCTION LIST and INFO do not count them"
            );
        }
        log::info!(
            "Done loading RDB, keys loaded: {}, keys expired: {}, empty keys skipped: {}.",
            report.keys_loaded,
            report.keys_expired,
            report.keys_empty
        );
    }

    /// The version of the next snapshot: `rdb-version`, unless a hash has fields that expire and the
    /// version knows no such thing. Then it is the first one that does, since a file that older
    /// servers read is worth less than one that holds the data. O(1) without such hashes.
    pub fn snapshot_version(&self) -> u8 {
        let version = self.config.rdb_version;
        let too_low = version < rdb::FIELD_EXPIRY_VERSION_MIN && self.hash_with_field_expiry().is_some();
        if too_low { rdb::FIELD_EXPIRY_VERSION_MIN } else { version }
    }

    /// Says once that the version is raised, and why.
    fn report_version(&mut self) {
        let (version, asked) = (self.snapshot_version(), self.config.rdb_version);
        let said = std::mem::replace(&mut self.persistence.snapshot.version_raised, version != asked);
        if said || version == asked {
            return;
        }
        let Some((db, key)) = self.hash_with_field_expiry() else { return };
        log::warn!(
            "Snapshots are written as RDB version {version} although rdb-version is {asked}: fields of the hash {} in DB \
             {db} have an expiry, which older versions cannot hold",
            String::from_utf8_lossy(&repr(key))
        );
    }

    fn hash_with_field_expiry(&self) -> Option<(usize, &[u8])> {
        (0..self.keyspace.databases())
            .find_map(|index| Some((index, self.keyspace.db(index).key_with_field_expiry()?)))
    }

    /// SAVE: writes the snapshot here and now; every client waits.
    ///
    /// # Errors
    /// The reason, which is in the log too.
    pub fn save_now(&mut self) -> Result<(), String> {
        let (path, temp) = (self.snapshot_path(), self.temp_snapshot_path(std::process::id()));
        self.report_version();
        let has_place = self.prepare_history_for_save();
        let mut options = self.save_options();
        options.extra_fields.retain(|(name, _)| has_place || !HISTORY_FIELDS.contains(name));
        let storage = Arc::clone(&self.persistence.storage);
        self.persistence.snapshot.saves += 1;
        let mut link = ChildLink::disconnected();
        let saved = rdb::save_file(&storage, &path, &temp, &self.keyspace, &options, &mut link);
        self.refresh_time();
        let now_s = self.now_ms() / 1000;
        match saved {
            Ok(_) => {
                log::info!("DB saved on disk");
                self.persistence.dirty = 0;
                self.persistence.snapshot.succeeded(now_s);
                Ok(())
            }
            Err(reason) => {
                log::warn!("{reason}");
                self.persistence.snapshot.note_fault(reason.clone(), now_s);
                Err(reason)
            }
        }
    }

    /// BGSAVE: forks a child that writes the snapshot.
    ///
    /// # Errors
    /// Another child lives, or the fork failed; the reason is in the log too.
    pub fn start_background_save(&mut self) -> Result<(), String> {
        self.report_version();
        self.prepare_history_for_save();
        // The working directory may change (CONFIG SET dir) before the child has ended.
        let path = self.snapshot_path();
        let path = std::path::absolute(&path).unwrap_or(path);
        let (storage, target) = (Arc::clone(&self.persistence.storage), path.clone());
        let options = SaveOptions { walk: Walk::Memory, ..self.save_options() };
        self.before_fork();
        let started = self.persistence.fork(ChildKind::Snapshot, &mut self.keyspace, |keyspace, link| {
            let temp = temp_beside(&target, std::process::id());
            rdb::save_file(&storage, &target, &temp, keyspace, &options, link)?;
            log::info!("DB saved on disk");
            Ok(())
        });
        let now_s = self.call.now_ms / 1000;
        match started {
            Ok(child) => {
                log::info!("Background saving started by pid {}", child.pid);
                let dirty = self.persistence.dirty;
                self.persistence.snapshot.began(path, dirty, now_s);
                self.note_save_for_replicas(SaveTarget::Disk);
                self.note_fork();
                Ok(())
            }
            Err(failure) => {
                let reason = format!("Can't save in background: {failure}");
                log::warn!("{reason}");
                self.persistence.snapshot.failed(SnapshotFailure::Child, reason.clone(), now_s);
                Err(reason)
            }
        }
    }

    /// The child of a snapshot has been reaped.
    pub fn snapshot_child_ended(&mut self, end: &ChildEnd) {
        self.observe_end();
        let running = self.persistence.snapshot.running.take();
        self.persistence.snapshot.last_cow_bytes = end.progress.cow_peak_bytes;
        self.persistence.snapshot.last_duration = Some(end.duration);
        if let Some(running) = running.as_ref().filter(|_| end.result != ChildResult::Done) {
            self.remove_temp_snapshot(&running.path, end.pid);
        }
        let now_s = self.now_ms() / 1000;
        let placed = running.as_ref().map(|running| running.path.clone());
        let result = match (&end.result, running) {
            (ChildResult::Done, Some(running)) => {
                let bytes = end.progress.bytes_written;
                let proven = self.proof_of(&running.path, bytes);
                proven.map(|()| {
                    self.persistence.dirty -= running.dirty_at_fork.min(self.persistence.dirty);
                    self.snapshot_is_placed(end.pid, &running.path, bytes);
                })
            }
            (ChildResult::Done, None) => Err("nobody knows what it saved".to_owned()),
            (ChildResult::Cancelled, _) => {
                self.note_save_ended(Err(()));
                log::info!("Background saving cancelled");
                return;
            }
            (ChildResult::Failed(reason), _) => Err(reason.clone()),
        };
        match result {
            Ok(()) => {
                log::info!("Background saving terminated with success");
                self.persistence.snapshot.succeeded(now_s);
                self.note_save_ended(Ok(placed));
            }
            Err(reason) => {
                log::warn!("Background saving error: {reason}");
                self.note_save_ended(Err(()));
                // The try was made when the child began; the retry delay runs from now.
                self.persistence.snapshot.failed(failure_of(end), reason, now_s);
            }
        }
    }

    /// That the file is in place with the child's length.
    fn proof_of(&self, path: &Path, bytes: u64) -> Result<(), String> {
        let found = self.persistence.storage.metadata(path).map_err(|fault| fault.to_string())?;
        if found.len == bytes {
            return Ok(());
        }
        Err(format!("{} has {} bytes, the child wrote {bytes}", path.display(), found.len))
    }

    /// A child that was killed cannot remove its file.
    fn remove_temp_snapshot(&mut self, target: &Path, pid: i32) {
        let temp = temp_beside(target, pid.unsigned_abs());
        let start = Instant::now();
        if let Err(fault) = self.persistence.storage.remove(&temp)
            && !fault.is_not_found()
        {
            log::warn!("Can't remove the temporary file of a failed save: {fault}");
        }
        self.note_latency("rdb-unlink-temp-file", start.elapsed().as_millis() as u64);
    }

    /// BGSAVE CANCEL, FLUSHALL: ends a snapshot child, which cron reaps when it does not end within
    /// moments. Its file cannot take its place any more. Says whether there was one.
    pub fn cancel_background_save(&mut self) -> bool {
        let child = self.persistence.child.as_ref();
        let Some(child) = child.filter(|child| child.kind == ChildKind::Snapshot && !child.is_cancelled())
        else {
            return false;
        };
        let pid = child.pid;
        match (self.persistence.ask_child_to_end(&mut self.keyspace), &self.persistence.snapshot.running) {
            (Some(end), _) => self.snapshot_child_ended(&end),
            // Without its file the child cannot rename it, whatever it still does.
            (None, Some(running)) => {
                let path = running.path.clone();
                self.remove_temp_snapshot(&path, pid);
            }
            (None, None) => {}
        }
        true
    }

    /// SHUTDOWN: as [`Server::cancel_background_save`], and waits for the end.
    pub fn end_background_save(&mut self) -> bool {
        if !self.persistence.child_kind().is_some_and(ChildKind::writes_snapshot) {
            return false;
        }
        match self.persistence.cancel_child(&mut self.keyspace) {
            Some(end) if end.kind == ChildKind::Replication => self.socket_save_ended(&end),
            Some(end) => self.snapshot_child_ended(&end),
            None => {}
        }
        true
    }

    /// Save points and scheduled saves; a child that hangs or copies too much. For cron.
    pub fn snapshot_cron(&mut self) {
        if self.run.loading.is_some() {
            return;
        }
        if self.persistence.child.is_some() {
            self.watch_child();
            return;
        }
        let now_s = self.now_ms() / 1000;
        let points = self.config.save.0.iter().map(|point| (point.seconds, point.changes));
        let due = self.persistence.snapshot.due(points, self.persistence.dirty, now_s);
        let due = due.filter(|_| !self.link.data_incomplete);
        if let Some((seconds, changes)) = due {
            log::info!("{changes} changes in {seconds} seconds. Saving...");
        }
        let scheduled = self.persistence.snapshot.scheduled && self.persistence.snapshot.may_try(now_s);
        if due.is_some() || scheduled {
            // The reason of a failure is in the log; the next try follows by itself.
            let _ = self.start_background_save();
        }
    }

    /// Kills a child without a sign of life for `fork-child-timeout`, or beyond `fork-cow-limit`.
    fn watch_child(&mut self) {
        // A child that is killed and still there hangs in the kernel: nothing more can be done.
        let Some(child) = self.persistence.child.as_mut().filter(|child| !child.is_killed()) else { return };
        // One that waits for slow replicas is silent; `repl-timeout` looks after those.
        let relays = child.kind == ChildKind::Replication;
        let timeout_s = if relays { 0 } else { self.config.fork_child_timeout };
        let limit = self.config.fork_cow_limit.bytes;
        let heard = child.progress.heard.unwrap_or(child.started);
        let silent = Instant::now().saturating_duration_since(heard);
        let reason = if timeout_s > 0 && silent > Duration::from_secs(u64::from(timeout_s)) {
            format!("no progress for {timeout_s} seconds (fork-child-timeout)")
        } else if limit > 0 && child.progress.cow_bytes > limit {
            format!("{} bytes copied on write, fork-cow-limit is {limit}", child.progress.cow_bytes)
        } else {
            return;
        };
        log::warn!("Killing the {} child {}: {reason}", child.kind.name(), child.pid);
        child.kill_for(reason);
    }
}

/// A child that ended by itself has failed at its file, or left one that is not what it wrote.
fn failure_of(end: &ChildEnd) -> SnapshotFailure {
    match end.exit.map(|exit| exit.outcome) {
        Some(ChildOutcome::Signaled(_)) => SnapshotFailure::Child,
        Some(ChildOutcome::Exited(_)) | None => SnapshotFailure::Disk,
    }
}

/// The temporary file of the child `pid`: in the folder of the file that it will replace.
fn temp_beside(target: &Path, pid: u32) -> PathBuf {
    target.with_file_name(schedule::temp_name(pid))
}

fn access_record(policy: MaxmemoryPolicy) -> AccessRecord {
    match policy {
        MaxmemoryPolicy::AllkeysLru | MaxmemoryPolicy::VolatileLru => AccessRecord::Idle,
        MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu => AccessRecord::Frequency,
        _ => AccessRecord::None,
    }
}
