//! The writer thread: appends batches, feeds the rewrite buffer, switches to a new file.
//!
//! ```text
//!  RewriteBegin          child ended: Switch         buffer < 1 MiB
//!  ────┼──────────────────────┼──────────────────────────┼───────────────────────────►
//!      │ batch ► old file     │ helper: buffer ► new,    │ rest ► new, fdatasync(new),
//!      │       ► buffer       │ fdatasync(new), in rounds│ rename, fsync(dir), go on with new
//! ```
//! Batches go on to the old file and the buffer while the helper works. The last step lies between
//! two batches: nothing is released from the new file before the directory is synced, and nothing
//! that was released is missing in it. The old file is closed by a thread of its own, since freeing
//! the blocks of a big file takes long.

use crate::persist::aof::log_file::LogFile;
use crate::persist::aof::shared::{
    CaptureOutcome, Captured, Message, Shared, SwitchOrder, SwitchOutcome, SyncPolicy, lock,
};
use crate::sys::io::{IoFault, IoResult, parent_dir};
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// What is left of the rewrite buffer when the last step begins, bytes: some milliseconds of disk.
const FINAL_STEP_MAX_BYTES: u64 = 1 << 20;
/// Pause before a failed write is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });

/// Batches since the fork.
#[derive(Debug)]
struct RewriteBuffer {
    batches: Vec<Vec<u8>>,
    bytes: u64,
    limit_bytes: u64,
    /// Bytes moved to the new file so far.
    appended_bytes: u64,
}

/// State of the thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    buffer: Option<RewriteBuffer>,
    switch: Option<SwitchOrder>,
}

impl Writer {
    pub fn new(shared: Arc<Shared>) -> Writer {
        Writer { shared, buffer: None, switch: None }
    }

    /// Runs until the queue is stopped and empty.
    pub fn run(mut self) {
        while let Some(message) = self.shared.next_message() {
            match message {
                Message::Batch { bytes, end } => self.take_batch(bytes, end),
                Message::RewriteBegin { limit_bytes } => self.begin_buffer(limit_bytes),
                Message::RewriteAbort => {
                    self.give_up("it was stopped");
                    self.forget_buffer();
                }
                Message::Switch(order) => self.begin_switch(order),
                Message::RoundDone { file, failure } => self.finish_round(file, failure),
                Message::Sync => self.sync(),
                Message::Capture(reply) => self.capture(&reply),
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
        self.feed_buffer(bytes);
        if always {
            self.sync();
        } else {
            self.shared.syncer.mark_unsynced(self.shared.now_us());
        }
        self.shared.wake_main();
    }

    /// Appends to the file, if there is one; waits and tries again while the disk refuses.
    fn append(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !self.shared.is_abandoned() {
            let mut slot = lock(&self.shared.file);
            let Some(file) = slot.as_mut() else { return };
            let failure = match file.append(rest) {
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

    fn begin_buffer(&mut self, limit_bytes: u64) {
        self.shared.buffer_overflow.store(false, Ordering::Release);
        self.buffer = Some(RewriteBuffer { batches: Vec::new(), bytes: 0, limit_bytes, appended_bytes: 0 });
        self.shared.buffer_bytes.store(0, Ordering::Release);
    }

    fn forget_buffer(&mut self) {
        self.buffer = None;
        self.switch = None;
        self.shared.buffer_bytes.store(0, Ordering::Release);
    }

    fn feed_buffer(&mut self, bytes: Vec<u8>) {
        let Some(buffer) = &mut self.buffer else { return };
        buffer.bytes += bytes.len() as u64;
        if buffer.limit_bytes > 0 && buffer.bytes > buffer.limit_bytes {
            log::warn!(
                "The AOF rewrite buffer exceeds aof-rewrite-buffer-limit ({} bytes): the rewrite is given up",
                buffer.limit_bytes
            );
            self.give_up("the rewrite buffer overflowed");
            self.forget_buffer();
            self.shared.buffer_overflow.store(true, Ordering::Release);
            return self.shared.wake_main();
        }
        buffer.batches.push(bytes);
        self.shared.buffer_bytes.store(buffer.bytes, Ordering::Release);
    }

    fn begin_switch(&mut self, order: SwitchOrder) {
        if self.buffer.is_none() {
            let reason = "the rewrite buffer is gone".to_owned();
            return self.fail_switch(order, reason);
        }
        match LogFile::open(&*self.shared.storage, &order.temp) {
            Ok(file) => {
                self.switch = Some(order);
                self.next_round(file);
            }
            Err(fault) => self.fail_switch(order, fault.to_string()),
        }
    }

    /// Appends what the buffer holds to the new file: little of it here, much of it in a helper.
    fn next_round(&mut self, file: LogFile) {
        let Some(buffer) = &mut self.buffer else { return self.give_up("the rewrite buffer overflowed") };
        let batches = std::mem::take(&mut buffer.batches);
        let bytes = std::mem::take(&mut buffer.bytes);
        buffer.appended_bytes += bytes;
        self.shared.buffer_bytes.store(0, Ordering::Release);
        if bytes < FINAL_STEP_MAX_BYTES {
            return self.final_step(file, &batches);
        }
        log::info!(
            "Residual parent diff: {:.2} MB are appended to the rewritten AOF",
            bytes as f64 / 1048576.0
        );
        let shared = Arc::clone(&self.shared);
        let round = move || append_round(&shared, file, &batches);
        if let Err(failure) = std::thread::Builder::new().name("aof-round".into()).spawn(round) {
            self.give_up(&format!("no thread for the rewrite buffer: {failure}"));
        }
    }

    fn finish_round(&mut self, file: LogFile, failure: Option<IoFault>) {
        if self.switch.is_none() {
            // Aborted meanwhile.
            return;
        }
        match failure {
            None => self.next_round(file),
            Some(fault) => self.give_up(&fault.to_string()),
        }
    }

    /// The step between two batches.
    fn final_step(&mut self, mut file: LogFile, batches: &[Vec<u8>]) {
        let Some(order) = self.switch.take() else { return };
        let start = Instant::now();
        if let Err(fault) = self.put_in_place(&mut file, batches, &order) {
            return self.fail_switch(order, fault.to_string());
        }
        let directory = self.shared.storage.sync_dir(parent_dir(&order.target));
        let appended_bytes = self.buffer.as_ref().map_or(0, |buffer| buffer.appended_bytes);
        self.forget_buffer();
        let size = file.size();
        self.install(order.keep_open.then_some(file));
        if let Err(fault) = &directory {
            // The name may go back to the old file at a power cut: nothing more is promised on it.
            self.shared.note_sync_failure(fault);
        }
        let final_step_us = start.elapsed().as_micros() as u64;
        let outcome = match directory {
            Ok(()) => SwitchOutcome::Done { size, appended_bytes, final_step_us },
            Err(fault) => SwitchOutcome::Failed(fault.to_string()),
        };
        self.report(outcome);
    }

    fn put_in_place(&self, file: &mut LogFile, batches: &[Vec<u8>], order: &SwitchOrder) -> IoResult<()> {
        for batch in batches {
            file.append(batch).map_err(|failure| failure.fault)?;
        }
        file.sync()?;
        self.shared.storage.rename(&order.temp, &order.target)
    }

    /// From here on `file` is the one that is appended to.
    fn install(&self, file: Option<LogFile>) {
        let handle = match file.as_ref().map(LogFile::sync_handle).transpose() {
            Ok(handle) => handle,
            Err(fault) => {
                self.shared.note_sync_failure(&fault);
                None
            }
        };
        if let Some(file) = &file {
            self.shared.forgive();
            self.shared.file_bytes.store(file.size(), Ordering::Release);
        }
        let old = std::mem::replace(&mut *lock(&self.shared.file), file);
        self.shared.syncer.replace_handle(handle);
        self.shared.synced.fetch_max(self.shared.written.load(Ordering::Acquire), Ordering::AcqRel);
        close_elsewhere(old);
    }

    fn give_up(&mut self, reason: &str) {
        if let Some(order) = self.switch.take() {
            self.fail_switch(order, reason.to_owned());
        }
    }

    fn fail_switch(&mut self, order: SwitchOrder, reason: String) {
        self.forget_buffer();
        remove_if_there(&self.shared, &order);
        self.report(SwitchOutcome::Failed(reason));
    }

    fn report(&self, outcome: SwitchOutcome) {
        *lock(&self.shared.outcome) = Some(outcome);
        self.shared.wake_main();
    }
}

fn remove_if_there(shared: &Shared, order: &SwitchOrder) {
    if let Err(fault) = shared.storage.remove(&order.temp)
        && !fault.is_not_found()
    {
        log::warn!("Error removing the temporary AOF file: {fault}");
    }
}

fn append_round(shared: &Shared, mut file: LogFile, batches: &[Vec<u8>]) {
    let mut failure = None;
    for batch in batches {
        if let Err(failed) = file.append(batch) {
            failure = Some(failed.fault);
            break;
        }
    }
    if failure.is_none() {
        failure = file.sync().err();
    }
    shared.push(Message::RoundDone { file, failure });
}

/// Closes a file whose name is gone: the kernel frees its blocks in the calling thread.
fn close_elsewhere(old: Option<LogFile>) {
    let Some(old) = old else { return };
    let spawned = std::thread::Builder::new().name("aof-close".into()).spawn(move || drop(old));
    if let Err(failure) = spawned {
        log::debug!("The old AOF file was closed by the writer: {failure}");
    }
}
