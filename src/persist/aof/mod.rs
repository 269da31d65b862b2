//! The append-only file: what the main thread knows of it.
//!
//! ```text
//!  commands ─► stream ─► batch (one per turn, offset = its end) ─► inline write, or queue ─► writer
//!  replies sealed with the offset ◄── released offset: written, or synced with `always`
//! ```
//! | file | what |
//! | --- | --- |
//! | `mod` | [`Aof`]: batches, offsets, policy, figures |
//! | `shared` | what the threads share |
//! | `writer`, `syncer` | the two threads |
//! | `log_file` | appending, cutting back a torn write |
//! | `file_watch` | noticing that somebody else was at the file |
//! | `rewrite` | state of rewrites, when one is due |
//! | `rewrite_buffer`, `switch` | changes during a rewrite; putting the new file in place |
//! | `base` | what a rewrite's child writes |
//! | `reader` | reading a log in blocks, judging its tail |
//! | `manifest`, `take_over` | Redis 7's folder form |
//!
//! Rules (decision 2): with `always` a reply leaves when its offset is synced; with `everysec` and
//! `no` when write(2) has returned. Main writes itself only when it has no time for the hand-over
//! and the disk is quiet ([`Aof::set_main_may_write`]). A write that the disk holds back for [`WRITE_LATE_US`] releases
//! replies anyway and says so; after a failed write or sync, writes are refused.

mod annotate;
pub mod base;
mod delays;
mod file_watch;
mod log_file;
pub mod manifest;
pub mod reader;
pub mod rewrite;
mod rewrite_buffer;
mod shared;
mod switch;
mod syncer;
#[cfg(test)]
mod tests;
mod writer;

pub use delays::Delay;
pub use log_file::{drop_elsewhere, remove_elsewhere};
pub use rewrite_buffer::spill_path;
pub use shared::{AofFault, CaptureOutcome, Captured, FaultKind, SwitchOutcome, SyncPolicy};

use crate::persist::aof::annotate::Annotations;
use crate::persist::aof::log_file::LogFile;
use crate::persist::aof::rewrite::RewriteState;
use crate::persist::aof::rewrite_buffer::BufferLimits;
use crate::persist::aof::shared::{Message, Shared, SwitchOrder, lock};
use crate::persist::aof::writer::Writer;
use crate::sys::io::{FileId, FileMetadata, IoResult, OsStorage, Storage};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A write(2) that has been blocked for so long holds no reply back any more, microseconds.
pub const WRITE_LATE_US: u64 = 100_000;
/// Unwritten bytes at which writes are refused: some seconds of a slow disk, small beside the data.
pub const QUEUE_REFUSE_BYTES: u64 = 64 << 20;
/// Unwritten bytes beyond which even what cannot be refused (expired keys) is dropped and the file
/// given up: a bound on memory.
const QUEUE_MAX_BYTES: u64 = 1 << 30;
/// Pause between two looks whether the file is still ours.
const LOOK_PAUSE: Duration = Duration::from_secs(10);
/// A write(2) of main that takes longer sends its writes to the writer for a while, microseconds.
const SLOW_WRITE_US: u64 = 10_000;
/// How long then, microseconds: slow disks are slow for more than one write.
const SLOW_WRITE_MEMORY_US: u64 = 60_000_000;
/// Batch buffers that have grown beyond this are given back, bytes.
const KEEP_BATCH_BYTES: usize = 1 << 20;

/// Whether there is an AOF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AofState {
    #[default]
    Off,
    On,
    /// Turned on at run time; the first rewrite makes the file.
    WaitRewrite,
}

/// The directives that the AOF follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AofSettings {
    pub policy: SyncPolicy,
    /// `no-appendfsync-on-rewrite`, and a child lives.
    pub sync_paused: bool,
    /// `aof-rewrite-buffer-limit`, 0: none.
    pub buffer_limit_bytes: u64,
    /// `aof-rewrite-buffer-spill-limit`, 0: no side file.
    pub spill_limit_bytes: u64,
    /// `aof-max-sync-lag`, 0: none.
    pub sync_lag_max_ms: u64,
    /// `aof-timestamp-enabled`.
    pub timestamps: bool,
    /// `aof-checksum`.
    pub checksums: bool,
}

impl Default for AofSettings {
    fn default() -> Self {
        AofSettings {
            policy: SyncPolicy::EverySecond,
            sync_paused: false,
            buffer_limit_bytes: 0,
            spill_limit_bytes: 0,
            sync_lag_max_ms: 0,
            timestamps: false,
            checksums: false,
        }
    }
}

/// The main thread's side.
#[derive(Debug)]
pub struct Aof {
    pub state: AofState,
    pub rewrite: RewriteState,
    settings: AofSettings,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// The file's name, absolute or relative to the working directory.
    path: PathBuf,
    /// The file that this process has opened, put in place or given a second name last.
    known: Option<FileId>,
    /// Its length when it was closed or given a second name, bytes.
    known_bytes: u64,
    batch: Vec<u8>,
    /// Offset of the stream behind `batch`. Counts from the start of the process.
    appended: u64,
    annotations: Annotations,
    /// From the marker at the fork until the switch has ended: every batch passes the writer.
    buffering: bool,
    /// The late write has been logged.
    late_logged: bool,
    /// The last look at the file.
    looked: Option<Instant>,
    /// See [`Aof::set_main_may_write`].
    main_may_write: bool,
    /// After a slow write(2) main leaves writing to the writer until then.
    slow_until_us: u64,
}

impl Default for Aof {
    fn default() -> Self {
        Aof::new(Arc::new(OsStorage))
    }
}

impl Aof {
    /// An AOF that is off. Threads start with the first file.
    pub fn new(storage: Arc<dyn Storage>) -> Aof {
        Aof {
            state: AofState::Off,
            rewrite: RewriteState::default(),
            settings: AofSettings::default(),
            shared: Arc::new(Shared::new(storage)),
            threads: Vec::new(),
            path: PathBuf::from("appendonly.aof"),
            known: None,
            known_bytes: 0,
            batch: Vec::new(),
            appended: 0,
            annotations: Annotations::default(),
            buffering: false,
            late_logged: false,
            looked: None,
            main_may_write: true,
            slow_until_us: 0,
        }
    }

    /// Lets the threads wake the loop.
    pub fn attach_waker(&mut self, waker: Arc<mio::Waker>) {
        self.shared.set_waker(waker);
    }

    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.shared.storage)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Whether this file was loaded or written by this process, whatever its name is by now. A file
    /// that is not open may have gone, and its number been given to another one: its length counts.
    pub fn has_known(&self, found: FileMetadata) -> bool {
        let as_it_was = self.state == AofState::On || found.len == self.known_bytes;
        self.known == Some(found.id) && as_it_was
    }

    /// Notes that the file may be replaced: what is in it is kept elsewhere.
    pub fn note_known(&mut self, found: FileMetadata) {
        (self.known, self.known_bytes) = (Some(found.id), found.len);
    }

    /// Takes new values of the directives; in force at once.
    pub fn apply(&mut self, settings: AofSettings) {
        self.settings = settings;
        let changed = self.shared.set_policy(settings.policy, settings.sync_paused);
        if changed && self.shared.policy_in_force() == SyncPolicy::Always && !self.threads.is_empty() {
            // Replies now wait for a sync of what was written under the old policy.
            self.shared.push(Message::Sync);
        }
    }

    /// Starts appending to the file, created when it is missing.
    ///
    /// # Errors
    /// The file cannot be opened, or a thread not started.
    pub fn open(&mut self) -> IoResult<()> {
        let storage = self.storage();
        let existed = storage.exists(&self.path)?;
        let file = LogFile::open(&*storage, &self.path)?;
        if !existed {
            storage.sync_dir(crate::sys::io::parent_dir(&self.path))?;
        }
        let handle = file.sync_handle()?;
        let id = storage.metadata(&self.path)?.id;
        self.start_threads(&*storage)?;
        self.shared.file_bytes.store(file.size(), Ordering::Release);
        self.rewrite.base_bytes = file.size();
        *lock(&self.shared.file) = Some(file);
        self.shared.syncer.replace_handle(Some(handle));
        self.shared.forgive();
        self.known = Some(id);
        self.state = AofState::On;
        Ok(())
    }

    fn start_threads(&mut self, _storage: &dyn Storage) -> IoResult<()> {
        if !self.threads.is_empty() {
            return Ok(());
        }
        let fault =
            |source| crate::sys::io::IoFault::new(crate::sys::io::Operation::OpenAppend, &self.path, source);
        let writer = Writer::new(Arc::clone(&self.shared));
        let syncing = Arc::clone(&self.shared);
        let spawn = |name: &str| std::thread::Builder::new().name(name.into());
        let threads = vec![
            spawn("aof-write").spawn(move || writer.run()).map_err(fault)?,
            spawn("aof-sync").spawn(move || syncer::run(&syncing)).map_err(fault)?,
        ];
        self.threads = threads;
        Ok(())
    }

    /// Whether changes are to be handed to [`Aof::append`].
    pub fn wants_stream(&self) -> bool {
        match self.state {
            AofState::On => true,
            AofState::WaitRewrite => self.buffering,
            AofState::Off => false,
        }
    }

    /// Adds what a turn has propagated and empties `stream`. `unix_s` is for time stamps.
    pub fn append(&mut self, stream: &mut Vec<u8>, unix_s: i64) {
        let start = self.batch.len();
        if self.settings.timestamps || self.settings.checksums {
            self.annotations.add(&mut self.batch, stream, &self.settings, unix_s);
            stream.clear();
        } else if self.batch.is_empty() {
            std::mem::swap(&mut self.batch, stream);
        } else {
            self.batch.append(stream);
        }
        self.appended += (self.batch.len() - start) as u64;
    }

    /// Offset behind everything that was appended.
    pub fn appended_offset(&self) -> u64 {
        self.appended
    }

    /// Offset up to which everything is synced.
    pub fn synced_offset(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    /// The offset that replies made now must wait for.
    #[inline]
    pub fn pending_offset(&self) -> Option<u64> {
        (self.state == AofState::On && self.appended > self.released()).then_some(self.appended)
    }

    /// Hands the batch to the disk: inline while that cannot block on anybody, else to the writer.
    #[inline]
    pub fn flush(&mut self) {
        if !self.late_logged && self.shared.write_runs_for_us() > WRITE_LATE_US {
            // Each turn flushes before it sends: the line is in the log before the first late reply.
            self.report_lateness();
        }
        if !self.batch.is_empty() {
            self.flush_batch();
        }
    }

    fn flush_batch(&mut self) {
        if self.state == AofState::Off {
            return self.batch.clear();
        }
        if self.shared.queued_bytes() > QUEUE_MAX_BYTES {
            self.shared.abandon_file();
            self.batch = Vec::new();
            return;
        }
        if self.may_write_inline() && self.write_inline() {
            self.recycle_batch();
            return;
        }
        self.shared.push_batch(&mut self.batch, self.appended);
    }

    /// Whether main may call write(2) itself. The writer's way costs some microseconds a turn, and a
    /// write(2) that the disk holds back blocks nobody. A main thread without time to spare does
    /// better with its own way, as long as nothing tells of a busy disk: no child writes, no sync is
    /// late, no write was slow.
    pub fn set_main_may_write(&mut self, may: bool) {
        self.main_may_write = may;
    }

    fn may_write_inline(&self) -> bool {
        self.state == AofState::On
            && self.main_may_write
            && !self.buffering
            && self.shared.policy_in_force() != SyncPolicy::Always
            && self.shared.is_idle()
            && self.disk_is_quiet(self.shared.now_us())
            && !self.shared.write_failed()
    }

    fn disk_is_quiet(&self, now_us: u64) -> bool {
        now_us >= self.slow_until_us && !self.shared.syncer.is_late(now_us)
    }

    /// Writes the batch from here; false when (a part of) it is still to be written.
    fn write_inline(&mut self) -> bool {
        let mut slot = lock(&self.shared.file);
        let Some(file) = slot.as_mut() else { return false };
        let start_us = self.shared.now_us();
        match file.append(&self.batch) {
            Ok(()) => {
                self.shared.file_bytes.store(file.size(), Ordering::Release);
                drop(slot);
                self.shared.written.store(self.appended, Ordering::SeqCst);
                let now_us = self.shared.now_us();
                if now_us - start_us > SLOW_WRITE_US {
                    self.slow_until_us = now_us + SLOW_WRITE_MEMORY_US;
                }
                self.shared.syncer.mark_unsynced(now_us);
                true
            }
            Err(failure) => {
                drop(slot);
                self.shared.note_write_failure(&failure);
                self.batch.drain(..failure.kept);
                false
            }
        }
    }

    fn recycle_batch(&mut self) {
        if self.batch.capacity() > KEEP_BATCH_BYTES {
            self.batch = Vec::new();
        } else {
            self.batch.clear();
        }
    }

    /// Replies that wait for an offset up to this one may leave.
    #[inline]
    pub fn released(&self) -> u64 {
        if self.state != AofState::On {
            return u64::MAX;
        }
        if self.shared.policy_in_force() == SyncPolicy::Always {
            return self.shared.synced.load(Ordering::Acquire);
        }
        let written = self.shared.written.load(Ordering::Acquire);
        if written >= self.appended || !self.write_is_late() { written } else { self.appended }
    }

    /// The disk holds a write back, or refuses it: replies do not wait for it.
    fn write_is_late(&self) -> bool {
        self.shared.write_failed() || self.shared.write_runs_for_us() > WRITE_LATE_US
    }

    /// Logs once that replies leave before their write; by the clock, and by a turn that finds it.
    pub fn report_lateness(&mut self) {
        let late = self.state == AofState::On && self.shared.write_runs_for_us() > WRITE_LATE_US;
        if late && !self.late_logged {
            log::warn!(
                "Writing to the AOF file is held back by the disk for more than {} ms: replies no longer wait for it \
                 ({} bytes are unwritten)",
                WRITE_LATE_US / 1000,
                self.unwritten_bytes()
            );
        }
        self.late_logged = late;
    }

    /// Why the process cannot go on, if so: with `always` a write or a sync has failed.
    pub fn fatal(&self) -> Option<&str> {
        self.shared.fatal()
    }

    /// Why writes must be refused now, if so.
    pub fn refusal(&self) -> Option<String> {
        self.failure().or_else(|| self.slowness().filter(|_| self.state == AofState::On))
    }

    /// What the disk has refused, if anything; one that is only slow has refused nothing.
    #[inline]
    pub fn failure(&self) -> Option<String> {
        (self.state == AofState::On && self.shared.has_problem()).then(|| self.problem_text())
    }

    fn problem_text(&self) -> String {
        self.shared.fault().map_or_else(|| "Input/output error".to_owned(), |fault| fault.text)
    }

    /// Why the disk is too far behind, if so.
    fn slowness(&self) -> Option<String> {
        let lag_ms = self.sync_lag_ms();
        if self.settings.sync_lag_max_ms > 0 && lag_ms > self.settings.sync_lag_max_ms {
            return Some(format!("the disk has not synced for {lag_ms} ms (aof-max-sync-lag)"));
        }
        let unwritten = self.shared.queued_bytes();
        (unwritten > QUEUE_REFUSE_BYTES)
            .then(|| format!("the disk is behind, {unwritten} bytes are unwritten"))
    }

    /// The longest wait of this kind of the writer since the last call, microseconds.
    pub fn take_delay_us(&self, delay: Delay) -> u64 {
        self.shared.delays.take(delay)
    }

    /// What is wrong now, for INFO; `None` when writes are taken.
    pub fn fault(&self) -> Option<AofFault> {
        if self.state != AofState::On {
            return None;
        }
        let slow = || {
            let text = self.slowness()?;
            let since = Instant::now().checked_sub(Duration::from_millis(self.sync_lag_ms()))?;
            Some(AofFault { kind: FaultKind::Slow, text, since })
        };
        self.shared.fault().or_else(slow)
    }

    /// Has the writer look, a few times a minute, whether the file is still the one with the name.
    pub fn look_if_due(&mut self) {
        if self.looked.is_none_or(|time| time.elapsed() >= LOOK_PAUSE) {
            self.look_at_file();
        }
    }

    /// Has the writer look whether the file is still the one with the name. Main does not write
    /// meanwhile, since the writer is not idle then.
    pub fn look_at_file(&mut self) {
        if self.state == AofState::On {
            self.looked = Some(Instant::now());
            self.shared.push(Message::Look);
        }
    }

    /// Whether only a rewrite into a new file heals what has failed.
    pub fn needs_rewrite(&self) -> bool {
        self.state == AofState::On && self.shared.needs_rewrite()
    }

    /// Writes and syncs everything appended so far, whatever the policy.
    ///
    /// # Errors
    /// A text: what failed, or that the disk did not answer within `patience`.
    pub fn flush_and_sync(&mut self, patience: Duration) -> Result<(), String> {
        self.flush();
        if self.threads.is_empty() {
            return Ok(());
        }
        self.shared.push(Message::Sync);
        self.wait_drained(patience)?;
        if self.shared.has_problem() { Err(self.problem_text()) } else { Ok(()) }
    }

    /// Asks for the file as it is behind everything flushed so far, for a copy. The answer comes
    /// from the writer; nothing here waits for it.
    pub fn capture(&self) -> Receiver<CaptureOutcome> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.shared.push(Message::Capture(reply));
        answer
    }

    fn wait_drained(&self, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        let mut queue = self.shared.lock_queue();
        while queue.busy || !queue.messages.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.shared.fatal().is_some() {
                return Err(self.shared.fatal().unwrap_or("the disk does not answer").to_owned());
            }
            let waited = self.shared.drained.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Stops appending: everything is written and synced, then the file is closed.
    ///
    /// # Errors
    /// As [`Aof::flush_and_sync`]; the AOF is off all the same.
    pub fn close(&mut self, patience: Duration) -> Result<(), String> {
        let outcome = if self.state == AofState::On { self.flush_and_sync(patience) } else { Ok(()) };
        self.state = AofState::Off;
        self.known_bytes = self.current_size();
        self.batch = Vec::new();
        // A writer that hangs in the disk holds the lock: then the file stays open until it ends.
        if let Ok(mut slot) = self.shared.file.try_lock() {
            *slot = None;
        }
        self.shared.syncer.replace_handle(None);
        self.shared.forgive();
        outcome
    }

    /// The child has been forked: everything before is in its memory, everything after goes to
    /// the buffer too. The caller has flushed and has made the stream begin with SELECT.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn begin_rewrite(&mut self) -> IoResult<()> {
        let storage = self.storage();
        self.start_threads(&*storage)?;
        lock(&self.shared.outcome).take();
        let limits = BufferLimits {
            memory_bytes: self.settings.buffer_limit_bytes,
            spill_bytes: self.settings.spill_limit_bytes,
        };
        let spill_path = spill_path(&self.path, std::process::id());
        self.shared.push(Message::RewriteBegin { limits, spill_path });
        self.buffering = true;
        Ok(())
    }

    /// The child has ended well: its file of `bytes` gets the buffer and takes the place of the old
    /// one.
    pub fn switch_to(&mut self, temp: PathBuf, bytes: u64) {
        let order = SwitchOrder {
            temp,
            bytes,
            target: self.path.clone(),
            keep_open: self.state != AofState::Off,
            kept: self.known,
        };
        self.shared.push(Message::Switch(order));
    }

    /// The rewrite has failed before the switch.
    pub fn abort_rewrite(&mut self) {
        if self.buffering {
            self.buffering = false;
            self.shared.push(Message::RewriteAbort);
        }
    }

    /// How the switch ended, once.
    pub fn take_switch_outcome(&mut self) -> Option<SwitchOutcome> {
        let outcome = lock(&self.shared.outcome).take()?;
        self.buffering = false;
        if let SwitchOutcome::Done { size, id, .. } = outcome {
            self.rewrite.base_bytes = size;
            self.known = Some(id);
            if self.state == AofState::WaitRewrite {
                self.state = AofState::On;
            }
        }
        Some(outcome)
    }

    /// Why the rewrite buffer could not be kept, once; the child is to be stopped.
    pub fn take_overflow(&mut self) -> Option<String> {
        if !self.buffering || !self.shared.buffer_overflow.swap(false, Ordering::AcqRel) {
            return None;
        }
        lock(&self.shared.overflow_reason).take()
    }

    /// `aof_current_size`.
    pub fn current_size(&self) -> u64 {
        self.shared.file_bytes.load(Ordering::Acquire)
    }

    /// `aof_buffer_length`: bytes of this turn, not handed to the disk yet.
    pub fn buffer_length(&self) -> usize {
        self.batch.len()
    }

    /// `aof_unwritten_bytes`: handed over, write(2) has not returned.
    pub fn unwritten_bytes(&self) -> u64 {
        self.shared.queued_bytes() + self.batch.len() as u64
    }

    /// `aof_rewrite_buffer_length`: the part in memory.
    pub fn rewrite_buffer_length(&self) -> u64 {
        lock(&self.shared.buffer_sizes).memory_bytes.load(Ordering::Acquire)
    }

    /// `aof_rewrite_buffer_spilled_bytes`: the part in a side file.
    pub fn rewrite_buffer_spilled_bytes(&self) -> u64 {
        lock(&self.shared.buffer_sizes).spilled_bytes.load(Ordering::Acquire)
    }

    /// `aof_pending_bio_fsync`: 1 while something written is not synced under `everysec`.
    pub fn pending_fsyncs(&self) -> u64 {
        let unsynced = self.shared.syncer.unsynced_since_us() != 0 && self.promises_sync();
        u64::from(self.shared.syncer.is_running() || unsynced)
    }

    /// `aof_delayed_fsync`: syncs that took longer than the interval.
    pub fn delayed_fsyncs(&self) -> u64 {
        self.shared.syncer.delayed.load(Ordering::Relaxed)
    }

    pub fn reset_delayed_fsyncs(&self) {
        self.shared.syncer.delayed.store(0, Ordering::Relaxed);
    }

    /// `aof_sync_lag_ms`: age of the oldest byte that the policy wants synced and is not.
    pub fn sync_lag_ms(&self) -> u64 {
        match self.shared.syncer.unsynced_since_us() {
            0 => 0,
            since_us if self.promises_sync() => self.shared.now_us().saturating_sub(since_us) / 1000,
            _ => 0,
        }
    }

    fn promises_sync(&self) -> bool {
        self.state == AofState::On && self.shared.policy_in_force() != SyncPolicy::No
    }

    /// `aof_last_write_status`: whether the last write and all syncs went well.
    pub fn last_write_ok(&self) -> bool {
        !self.shared.has_problem()
    }
}

impl Drop for Aof {
    fn drop(&mut self) {
        self.shared.lock_queue().stop = true;
        self.shared.wake_writer.notify_all();
        self.shared.syncer.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}
