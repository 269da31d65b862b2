//! The writer thread: appends batches, feeds the rewrite buffer; `switch` is its other half.
//!
//! ```text
//!  RewriteBegin          child ended: Switch         buffer < 1 MiB
//!  ────┼──────────────────────┼──────────────────────────┼───────────────────────────►
//!      │ batch ► old file     │ helper: buffer ► new,    │ rest ► new, fdatasync(new),
//!      │       ► buffer       │ fdatasync(new), in rounds│ rename, fsync(dir), go on with new
//! ```
//! Batches go on to the old file and the buffer while the helper works. The last step lies between
//! two batches: nothing is released from the new file before the directory is synced, and nothing
//! that was released is missing in it.

use crate::persist::aof::delays::Delay;
use crate::persist::aof::file_watch;
use crate::persist::aof::log_file::drop_elsewhere;
use crate::persist::aof::rewrite_buffer::{BufferLimits, RewriteBuffer};
use crate::persist::aof::shared::{CaptureOutcome, Captured, Message, Shared, SyncPolicy, lock};
use crate::persist::aof::switch::Switching;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Pause before a failed write is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });

/// State of the thread.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) buffer: Option<RewriteBuffer>,
    /// Why there is no buffer any more.
    pub(super) buffer_failure: Option<String>,
    pub(super) switch: Option<Switching>,
    /// Number of the rewrite: what comes late from an earlier one is not taken for this one's.
    pub(super) rewrite: u64,
}

impl Writer {
    pub fn new(shared: Arc<Shared>) -> Writer {
        Writer { shared, buffer: None, buffer_failure: None, switch: None, rewrite: 0 }
    }

    /// Runs until the queue is stopped and empty.
    pub fn run(mut self) {
        while let Some(message) = self.shared.next_message() {
            match message {
                Message::Batch { bytes, end } => self.take_batch(bytes, end),
                Message::RewriteBegin { limits, spill_path } => self.begin_buffer(limits, spill_path),
                Message::RewriteAbort => {
                    self.give_up("it was stopped");
                    self.forget_buffer();
                }
                Message::Switch(order) => self.begin_switch(order),
                Message::RoundDone(end) => self.finish_round(*end),
                Message::Sync => self.sync(),
                Message::Capture(reply) => self.capture(&reply),
                Message::Look => self.look_at_file(),
            }
        }
    }

    fn take_batch(&mut self, bytes: Vec<u8>, end: u64) {
        if self.shared.fatal().is_some() {
            return;
        }
        let always = self.shared.policy_in_force() == SyncPolicy::Always;
        self.append(&bytes);
        if self.shared.fatal().is_some() {
            return;
        }
        self.shared.batch_done(bytes.len(), end);
        if always {
            let start = Instant::now();
            self.sync();
            self.shared.delays.note(Delay::SyncAlways, start);
        } else {
            self.shared.syncer.mark_unsynced(self.shared.now_us());
        }
        self.shared.wake_main();
        self.feed_buffer(bytes);
    }

    /// A failed `stat` says nothing about the file; the next look will.
    fn look_at_file(&self) {
        let slot = lock(&self.shared.file);
        let Some(file) = slot.as_ref() else { return };
        let start = Instant::now();
        let found = file_watch::look(&*self.shared.storage, file);
        self.shared.delays.note(Delay::Look, start);
        match found {
            Ok(found) => self.shared.note_intrusion(file, found),
            Err(fault) => log::debug!("Can't look at the AOF file: {fault}"),
        }
    }

    /// Appends to the file, if there is one; waits and tries again while the disk refuses.
    fn append(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !self.shared.is_abandoned() {
            let mut slot = lock(&self.shared.file);
            let Some(file) = slot.as_mut() else { return };
            let kind = if self.shared.syncer.is_running() { Delay::WriteBesideSync } else { Delay::Write };
            let start = Instant::now();
            self.shared.note_writing(true);
            let appended = file.append(rest);
            self.shared.note_writing(false);
            self.shared.delays.note(kind, start);
            let failure = match appended {
                Ok(()) => return self.shared.note_written(file),
                Err(failure) => failure,
            };
            drop(slot);
            rest = &rest[failure.kept..];
            self.shared.note_write_failure(&failure);
            if self.shared.fatal().is_some() || !self.wait_for_retry() {
                return;
            }
        }
    }

    /// Pauses before the next try. False when the file is given up: a rewrite makes a new one.
    fn wait_for_retry(&self) -> bool {
        let deadline = Instant::now() + RETRY_PAUSE;
        let mut queue = self.shared.lock_queue();
        loop {
            let rewrite = self.buffer.is_some()
                || queue.messages.iter().any(|message| matches!(message, Message::RewriteBegin { .. }));
            if rewrite || queue.stop {
                drop(queue);
                self.shared.abandon_file();
                return false;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let waited = self.shared.wake_writer.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Syncs what has been written, here and now.
    fn sync(&self) {
        let target = self.shared.written.load(Ordering::Acquire);
        let slot = lock(&self.shared.file);
        let Some(file) = slot.as_ref() else { return };
        let outcome = file.sync();
        drop(slot);
        match outcome {
            Ok(()) => {
                self.shared.synced.fetch_max(target, Ordering::AcqRel);
                self.shared.syncer.mark_synced();
            }
            Err(fault) => self.shared.note_sync_failure(&fault),
        }
        self.shared.wake_main();
    }

    /// Answers with the file as it is now. All batches before this message are in it, whole.
    fn capture(&self, reply: &SyncSender<CaptureOutcome>) {
        let slot = lock(&self.shared.file);
        let outcome = match slot.as_ref() {
            _ if self.shared.needs_rewrite() => {
                Err("the append only file is not whole, a rewrite is due".to_owned())
            }
            Some(file) => file
                .sync_handle()
                .map(|handle| Captured { file: handle, bytes: file.size() })
                .map_err(|fault| fault.to_string()),
            None => Err("no append only file is open".to_owned()),
        };
        drop(slot);
        // Whoever asked may have given up; there is room for one answer.
        let _ = reply.try_send(outcome);
    }

    fn begin_buffer(&mut self, limits: BufferLimits, spill_path: PathBuf) {
        self.forget_buffer();
        self.rewrite += 1;
        self.buffer_failure = None;
        self.shared.buffer_overflow.store(false, Ordering::Release);
        let buffer = RewriteBuffer::new(limits, spill_path);
        *lock(&self.shared.buffer_sizes) = Arc::clone(&buffer.sizes);
        self.buffer = Some(buffer);
    }

    /// Drops the buffer; a switch that needs it has been given up before.
    pub(super) fn forget_buffer(&mut self) {
        if let Some(buffer) = self.buffer.take()
            && buffer.changes.is_heavy()
        {
            drop_elsewhere(buffer);
        }
        *lock(&self.shared.buffer_sizes) = Arc::default();
    }

    fn feed_buffer(&mut self, bytes: Vec<u8>) {
        let Some(buffer) = &mut self.buffer else { return };
        let Err(reason) = buffer.push(&*self.shared.storage, bytes) else { return };
        log::warn!("The AOF rewrite is given up: {reason}");
        self.give_up(&reason);
        self.forget_buffer();
        *lock(&self.shared.overflow_reason) = Some(reason.clone());
        self.buffer_failure = Some(reason);
        self.shared.buffer_overflow.store(true, Ordering::Release);
        self.shared.wake_main();
    }
}
