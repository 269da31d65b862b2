//! The AOF as the server drives it: each turn's stream, rewrites, switching it on and off.
//!
//! ```text
//!  request ─► start_rewrite: flush, marker, fork ─► child ─► rewrite_child_ended ─► writer switches
//!                                                        ─► aof_cron: outcome, next rewrite
//! ```
//! A rewrite is started by BGREWRITEAOF, by CONFIG SET appendonly yes, by growth, and to heal a file
//! that a failed write or sync has spoilt. Never inside EXEC or a script: there it is scheduled.

use crate::persist::aof::base::{self, BaseForm, BaseOptions};
use crate::persist::aof::rewrite::RewritePhase;
use crate::persist::aof::{self, AofSettings, AofState, Delay, SwitchOutcome, SyncPolicy};
use crate::persist::fork::{ChildEnd, ChildKind, ChildResult};
use crate::persist::rdb::save::Walk;
use crate::persist::rdb::{FIELD_EXPIRY_VERSION_MIN, SaveOptions};
use crate::server::Server;
use crate::server::config::AppendFsync;
use crate::server::error::ReplyError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long switching off, a reload or a shutdown waits for the disk.
pub const SYNC_PATIENCE: Duration = Duration::from_secs(60);

/// Microseconds of a second that main works from which on it writes the AOF itself.
const MAIN_BUSY_US: u64 = 850_000;

/// What became of a request for a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteStart {
    Started,
    Scheduled,
}

impl Server {
    /// Takes over the directives that the AOF follows: at the start, and after CONFIG SET.
    pub fn apply_aof_settings(&mut self) {
        let config = &self.config;
        let policy = match config.appendfsync {
            AppendFsync::Always => SyncPolicy::Always,
            AppendFsync::Everysec => SyncPolicy::EverySecond,
            AppendFsync::No => SyncPolicy::No,
        };
        let settings = AofSettings {
            policy,
            sync_paused: config.no_appendfsync_on_rewrite && self.persistence.child_kind().is_some(),
            buffer_limit_bytes: config.aof_rewrite_buffer_limit,
            spill_limit_bytes: config.aof_rewrite_buffer_spill_limit,
            sync_lag_max_ms: config.aof_max_sync_lag,
            timestamps: config.aof_timestamp_enabled,
            checksums: config.aof_checksum,
        };
        self.persistence.aof.apply(settings);
    }

    /// The path of the AOF, in the directory of the data files.
    pub fn aof_path(&self) -> PathBuf {
        self.data_path(self.config.appendfilename.as_path())
    }

    /// The path of a file or folder in the directory of the data files. The process works in that
    /// directory, so a relative `dir` has been entered already.
    pub fn data_path(&self, name: &Path) -> PathBuf {
        let dir = self.config.dir.as_path();
        if dir.is_absolute() { dir.join(name) } else { name.to_path_buf() }
    }

    /// Opens the AOF for appending (the data set has been loaded).
    ///
    /// # Errors
    /// A text for the log.
    pub fn open_aof(&mut self) -> Result<(), String> {
        let path = self.aof_path();
        // The file stays where it is when the working directory changes (CONFIG SET dir), and a look
        // at its name must not find another one.
        self.persistence.aof.set_path(std::path::absolute(&path).unwrap_or_else(|_| path.clone()));
        self.apply_aof_settings();
        let opened = self.persistence.aof.open();
        opened.map_err(|fault| format!("Can't open the append-only file {}: {fault}", path.display()))?;
        self.propagation.forget_selected_db();
        self.refresh_stream_wanted();
        Ok(())
    }

    /// BGREWRITEAOF. `may_fork` is false inside EXEC and scripts.
    ///
    /// # Errors
    /// The reply.
    pub fn request_rewrite(&mut self, may_fork: bool) -> Result<RewriteStart, ReplyError> {
        if self.persistence.aof.rewrite.in_progress() {
            return Err(ReplyError::err("Background append only file rewriting already in progress"));
        }
        if self.persistence.child_kind().is_some() || !may_fork {
            self.persistence.aof.rewrite.scheduled = true;
            return Ok(RewriteStart::Scheduled);
        }
        match self.start_rewrite() {
            Ok(()) => Ok(RewriteStart::Started),
            Err(reason) => {
                log::warn!("Can't start an AOF rewrite: {reason}");
                Err(ReplyError::err(
                    "Can't execute an AOF background rewriting. Please check the server logs for more information.",
                ))
            }
        }
    }

    /// Forks the child of a rewrite. The file and the stream meet at exactly this point.
    ///
    /// # Errors
    /// The reason for the log; nothing has changed but the count of failures.
    pub fn start_rewrite(&mut self) -> Result<(), String> {
        self.flush_stream();
        self.persistence.flush_aof();
        self.persistence.aof.look_at_file();
        let outcome = self.begin_rewrite();
        if let Err(reason) = &outcome {
            self.persistence.aof.abort_rewrite();
            self.persistence.aof.rewrite.note_failed_start(reason.clone());
        }
        self.refresh_stream_wanted();
        outcome
    }

    fn begin_rewrite(&mut self) -> Result<(), String> {
        // The working directory may change (CONFIG SET dir) before the new file is in place.
        let target = self.aof_path();
        let target = std::path::absolute(&target)
            .map_err(|failure| format!("{} cannot be found: {failure}", target.display()))?;
        self.keep_unread_aof(&target)?;
        self.persistence.aof.set_path(target.clone());
        self.fork_rewrite(target)
    }

    fn fork_rewrite(&mut self, target: PathBuf) -> Result<(), String> {
        self.persistence.aof.begin_rewrite().map_err(|fault| fault.to_string())?;
        self.propagation.forget_selected_db();
        let storage = self.persistence.aof.storage();
        let options = self.aof_base_options(target, Walk::Memory);
        self.before_fork();
        let child = self.persistence.fork(ChildKind::AofRewrite, &mut self.keyspace, |keyspace, link| {
            let temp = base::temp_path(&options.target, std::process::id() as i32);
            base::write(Arc::clone(&storage), keyspace, link, &options, &temp)
                .map(|_| ())
                .map_err(|fault| fault.to_string())
        });
        let child = child.map_err(|failure| failure.to_string())?;
        log::info!("Background append only file rewriting started by pid {}", child.pid);
        self.persistence.aof.rewrite.begin();
        self.note_fork();
        self.apply_aof_settings();
        Ok(())
    }

    /// How a new base is written. `walk` by memory gives pages back: only in a child.
    pub fn aof_base_options(&self, target: PathBuf, walk: Walk) -> BaseOptions {
        let unix_s = self.call.now_ms / 1000;
        let mut databases = 0..self.keyspace.databases();
        let fields_expire = databases.any(|index| self.keyspace.db(index).may_have_field_expiry());
        let plain = SaveOptions::default();
        let functions = self.persistence.snapshot.functions.clone();
        // Commands cannot say a library as long as there is no FUNCTION LOAD.
        let as_rdb = self.config.aof_use_rdb_preamble || !functions.is_empty();
        let save = SaveOptions {
            version: if fields_expire { FIELD_EXPIRY_VERSION_MIN } else { plain.version },
            compress: self.config.rdbcompression,
            checksum: self.config.rdbchecksum,
            walk,
            aof_base: true,
            unix_s,
            key_delay: self.config.rdb_key_save_delay,
            functions,
            ..plain
        };
        BaseOptions {
            form: if as_rdb { BaseForm::Rdb(Box::new(save)) } else { BaseForm::Commands },
            target,
            incremental_sync: self.config.aof_rewrite_incremental_fsync,
            stamp_s: self.config.aof_timestamp_enabled.then_some(unix_s),
            key_delay: self.config.rdb_key_save_delay,
        }
    }

    /// The child of a rewrite has been reaped; main has been busy with that since `start`.
    pub fn rewrite_child_ended(&mut self, end: &ChildEnd, start: Instant) {
        self.persistence.aof.rewrite.last_cow_bytes = end.progress.cow_peak_bytes;
        let temp = base::temp_path(self.persistence.aof.path(), end.pid);
        match &end.result {
            ChildResult::Done => {
                log::info!("Background AOF rewrite terminated with success");
                self.persistence.aof.rewrite.phase = RewritePhase::Switching;
                self.persistence.aof.switch_to(temp, end.progress.bytes_written);
            }
            ChildResult::Cancelled => self.drop_rewrite(temp, None),
            ChildResult::Failed(reason) => {
                log::warn!("Background AOF rewrite terminated with error: {reason}");
                self.drop_rewrite(temp, Some(reason.clone()));
            }
        }
        self.apply_aof_settings();
        self.persistence.aof.rewrite.child_end_us = start.elapsed().as_micros() as u64;
        self.observe_end();
    }

    fn drop_rewrite(&mut self, temp: PathBuf, failed: Option<String>) {
        self.persistence.aof.abort_rewrite();
        match failed {
            Some(reason) => self.persistence.aof.rewrite.failed(reason),
            None => self.persistence.aof.rewrite.cancel(),
        }
        if let Err(fault) = aof::remove_elsewhere(&*self.persistence.aof.storage(), &temp) {
            log::warn!("Error removing the temporary AOF file: {fault}");
        }
        self.refresh_stream_wanted();
    }

    /// A few times a second: ends of switches, overflow of the buffer, rewrites that are due.
    pub fn aof_cron(&mut self) {
        if let Some(reason) = self.persistence.aof.take_overflow()
            && self.persistence.aof.rewrite.phase == RewritePhase::Child
            && let Some(child) =
                self.persistence.child.as_mut().filter(|child| child.kind == ChildKind::AofRewrite)
        {
            child.kill_for(reason);
        }
        self.note_aof_delays();
        let busy_us = self.stats.rate_busy_us.per_second();
        let child_writes = self.persistence.child_kind().is_some();
        self.persistence.aof.set_main_may_write(busy_us > MAIN_BUSY_US && !child_writes);
        self.persistence.aof.look_if_due();
        self.persistence.aof.report_lateness();
        self.finish_switch();
        self.start_due_rewrite();
    }

    /// Hands the waits of the writer thread to the latency monitor.
    fn note_aof_delays(&mut self) {
        let child_writes = self.persistence.child_kind().is_some();
        for delay in Delay::ALL {
            let waited_ms = self.persistence.aof.take_delay_us(delay) / 1000;
            let event = match delay {
                Delay::SyncAlways => "aof-fsync-always",
                Delay::Look => "aof-fstat",
                Delay::Rename => "aof-rename",
                Delay::WriteBesideSync => "aof-write-pending-fsync",
                Delay::Write if child_writes => "aof-write-active-child",
                Delay::Write => "aof-write-alone",
            };
            self.note_latency(event, waited_ms);
            if matches!(delay, Delay::Write | Delay::WriteBesideSync) {
                self.note_latency("aof-write", waited_ms);
            }
        }
    }

    /// Notes the end of a switch, when there was one.
    pub fn finish_switch(&mut self) {
        let start = Instant::now();
        let was_waiting = self.persistence.aof.state == AofState::WaitRewrite;
        let Some(outcome) = self.persistence.aof.take_switch_outcome() else { return };
        let aof = &mut self.persistence.aof;
        match outcome {
            SwitchOutcome::Done { appended_bytes, final_step_us, .. } => {
                aof.rewrite.switch_us.add(final_step_us);
                aof.rewrite.succeeded();
                log::info!(
                    "Background AOF rewrite finished successfully ({appended_bytes} bytes of changes appended, last \
                     step {final_step_us} us)"
                );
                if was_waiting {
                    log::info!("AOF enabled successfully");
                }
            }
            SwitchOutcome::Failed(reason) => {
                log::warn!("Error putting the rewritten AOF in place: {reason}");
                aof.rewrite.failed(reason);
            }
        }
        self.refresh_stream_wanted();
        let rewrite = &mut self.persistence.aof.rewrite;
        rewrite.final_step_us.add(rewrite.child_end_us.max(start.elapsed().as_micros() as u64));
    }

    fn start_due_rewrite(&mut self) {
        if self.persistence.child_kind().is_some() || self.persistence.aof.rewrite.in_progress() {
            return;
        }
        let reason = match self.rewrite_due() {
            Some(reason) => reason,
            None => return,
        };
        if let Some(text) = reason {
            log::info!("{text}");
        }
        if let Err(reason) = self.start_rewrite() {
            log::warn!("Can't start an AOF rewrite: {reason}");
        }
    }

    /// Whether a rewrite is due, and what to log about that.
    fn rewrite_due(&self) -> Option<Option<String>> {
        let aof = &self.persistence.aof;
        if self.run.loading.is_some() {
            return None;
        }
        if aof.rewrite.scheduled {
            return Some(None);
        }
        let wanted = aof.state == AofState::WaitRewrite || aof.needs_rewrite();
        if if wanted { aof.rewrite.is_healing_held_back() } else { aof.rewrite.is_held_back() } {
            return None;
        }
        if wanted {
            return Some(Some("Starting an AOF rewrite: the file is missing or not whole".to_owned()));
        }
        if aof.state != AofState::On {
            return None;
        }
        let (percentage, size_min) =
            (self.config.auto_aof_rewrite_percentage, self.config.auto_aof_rewrite_min_size);
        let growth = aof.rewrite.growth_due(aof.current_size(), percentage, size_min)?;
        Some(Some(format!("Starting automatic rewriting of AOF on {growth}% growth")))
    }

    /// CONFIG SET appendonly yes. The first rewrite makes the file; until then nothing is promised.
    ///
    /// # Errors
    /// Why no rewrite can be started; the AOF stays off.
    pub fn turn_aof_on(&mut self, may_fork: bool) -> Result<(), String> {
        if self.persistence.aof.state != AofState::Off {
            return Ok(());
        }
        self.persistence.aof.set_path(self.aof_path());
        self.apply_aof_settings();
        self.persistence.aof.state = AofState::WaitRewrite;
        match self.persistence.child_kind() {
            Some(ChildKind::AofRewrite) => {
                log::info!(
                    "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and \
                     starting a rewrite now."
                );
                self.cancel_rewrite();
                if self.persistence.child_kind().is_some() {
                    // It ends in a moment; cron begins the next one then.
                    self.persistence.aof.rewrite.scheduled = true;
                    return Ok(());
                }
            }
            Some(_) => {
                log::info!(
                    "AOF was enabled but there is already another background operation. An AOF background was \
                     scheduled to start when possible."
                );
                self.persistence.aof.rewrite.scheduled = true;
                return Ok(());
            }
            None => {}
        }
        if !may_fork || self.persistence.aof.rewrite.in_progress() {
            log::info!(
                "AOF was enabled during a transaction. An AOF background was scheduled to start when possible."
            );
            self.persistence.aof.rewrite.scheduled = true;
            return Ok(());
        }
        self.start_rewrite().inspect_err(|_| {
            self.persistence.aof.state = AofState::Off;
        })
    }

    /// CONFIG SET appendonly no: what was appended is written and synced, then the file is closed.
    pub fn turn_aof_off(&mut self) {
        self.turn_aof_off_within(SYNC_PATIENCE);
    }

    /// As [`Server::turn_aof_off`], waiting for the disk for `patience` at most.
    pub fn turn_aof_off_within(&mut self, patience: Duration) {
        if self.persistence.aof.state == AofState::Off {
            return;
        }
        self.flush_stream();
        self.cancel_rewrite();
        // A switch that is under way is dropped, or has come to its end.
        self.persistence.aof.abort_rewrite();
        if let Err(reason) = self.persistence.aof.close(patience) {
            log::warn!("Error writing the last of the AOF: {reason}");
        }
        if self.persistence.aof.rewrite.in_progress() {
            let _ = self.persistence.aof.take_switch_outcome();
            self.persistence.aof.rewrite.cancel();
        }
        self.persistence.aof.rewrite.scheduled = false;
        self.refresh_stream_wanted();
        log::info!("AOF disabled");
    }

    /// Stops a rewrite whose child still writes; one that is being put in place goes on. A child that
    /// does not end within moments is reaped by cron.
    pub fn cancel_rewrite(&mut self) {
        let child = self.persistence.child.as_ref();
        let Some(child) = child.filter(|child| child.kind == ChildKind::AofRewrite && !child.is_cancelled())
        else {
            return;
        };
        log::info!("Killing running AOF rewrite child: {}", child.pid);
        if let Some(end) = self.persistence.ask_child_to_end(&mut self.keyspace) {
            self.rewrite_child_ended(&end, Instant::now());
        }
    }

    /// As [`Server::cancel_rewrite`], and waits for the end.
    fn end_rewrite(&mut self) {
        if self.persistence.child_kind() != Some(ChildKind::AofRewrite) {
            return;
        }
        if let Some(end) = self.persistence.cancel_child(&mut self.keyspace) {
            log::info!("Killing running AOF rewrite child: {}", end.pid);
            self.rewrite_child_ended(&end, Instant::now());
        }
    }

    /// Before the exit: stops a rewrite, writes and syncs what was appended.
    ///
    /// # Errors
    /// What is not safe yet; with `force` only a failed sync counts.
    pub fn leave_aof(&mut self, force: bool) -> Result<(), String> {
        if self.persistence.aof.state == AofState::WaitRewrite && !force {
            return Err("Writing initial AOF".to_owned());
        }
        self.end_rewrite();
        if self.persistence.aof.state != AofState::On {
            return Ok(());
        }
        log::info!("Calling fsync() on the AOF file.");
        // The last look may be seconds old: what lies in a file without a name ends with the process.
        self.flush_stream();
        self.persistence.aof.look_at_file();
        self.sync_aof()
    }

    /// Writes and syncs the AOF: before a shutdown and before DEBUG LOADAOF.
    ///
    /// # Errors
    /// What failed.
    pub fn sync_aof(&mut self) -> Result<(), String> {
        self.flush_stream();
        self.persistence.aof.flush_and_sync(SYNC_PATIENCE)
    }
}
