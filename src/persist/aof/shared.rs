//! What the main thread, the writer and the syncer share: one queue, one file, progress in atomics.
//!
//! ```text
//!  main ──batches, orders──► Queue ──► writer ──write──► LogFile ◄──fdatasync── syncer
//!    └──────── inline write while the writer is idle and no sync runs ────┘
//!  main ◄── written, synced, problems (atomics) + waker ── both
//! ```
//! Main is the only producer of batches. `idle` is true while the queue is empty and the writer
//! waits; then nobody but main touches the file, and main may write without a hand-over.
//! Lock order: `queue` before `file`; the writer holds neither while it waits for the disk, except
//! `file` during its own write.

use crate::persist::aof::file_watch::Intrusion;
use crate::persist::aof::log_file::{AppendFailure, LogFile};
use crate::persist::aof::rewrite_buffer::{BufferLimits, BufferSizes};
use crate::persist::aof::switch::RoundEnd;
use crate::sys::io::{FileId, IoFault, Storage, StorageFile};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// Batches are joined in the queue up to this size, bytes: one write for many turns.
const JOIN_MAX_BYTES: usize = 1 << 20;

/// When the file is synced (`appendfsync`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// Each batch, before its replies leave.
    Always = 0,
    /// Once a second.
    #[default]
    EverySecond = 1,
    /// When the kernel likes.
    No = 2,
}

impl SyncPolicy {
    fn from_code(code: u8) -> SyncPolicy {
        match code {
            0 => SyncPolicy::Always,
            1 => SyncPolicy::EverySecond,
            _ => SyncPolicy::No,
        }
    }
}

/// Order to put a new base in place.
#[derive(Debug)]
pub(super) struct SwitchOrder {
    /// A file that may be replaced: what is in it has a second name.
    pub kept: Option<FileId>,
    /// What the child wrote, and how much of it, bytes.
    pub temp: PathBuf,
    pub bytes: u64,
    pub target: PathBuf,
    /// Whether the new file is to be appended to from then on (the AOF is on).
    pub keep_open: bool,
}

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Bytes to append; `end` is the stream's offset behind them.
    Batch { bytes: Vec<u8>, end: u64 },
    /// From here on batches go to the rewrite buffer too.
    RewriteBegin { limits: BufferLimits, spill_path: PathBuf },
    /// The rewrite has failed: forget the buffer.
    RewriteAbort,
    /// The child is done.
    Switch(SwitchOrder),
    /// A helper has appended a part of the buffer to the new file and synced it.
    RoundDone(Box<RoundEnd>),
    /// Sync what has been written.
    Sync,
    /// Hand out the file as it is between two batches, for a copy.
    Capture(SyncSender<CaptureOutcome>),
    /// Look whether the file is still the one that has the name.
    Look,
}

/// What kind of thing is wrong with the AOF (`aof_last_error_kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A write fails; it is tried again each second.
    Write,
    /// A sync has failed: the file is never trusted again.
    Sync,
    /// Somebody has changed, replaced or removed the file.
    File,
    /// The file lacks changes that could not be written.
    Gap,
    /// The disk is behind.
    Slow,
}

impl FaultKind {
    /// As INFO shows it.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Write => "write",
            FaultKind::Sync => "sync",
            FaultKind::File => "file",
            FaultKind::Gap => "gap",
            FaultKind::Slow => "slow",
        }
    }
}

/// Why writes are refused.
#[derive(Clone, Debug)]
pub struct AofFault {
    pub kind: FaultKind,
    /// Cause, path and errno.
    pub text: String,
    pub since: Instant,
}

/// An AOF at the end of a batch: a handle that survives renames, and the length that counts.
#[derive(Debug)]
pub struct Captured {
    pub file: Box<dyn StorageFile>,
    /// Bytes; what follows them was appended later.
    pub bytes: u64,
}

/// The file, or why there is none that is whole.
pub type CaptureOutcome = Result<Captured, String>;

/// How a switch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchOutcome {
    /// The new file is in place and durable.
    Done {
        /// Its length, bytes.
        size: u64,
        /// Which file it is.
        id: FileId,
        /// Bytes of the rewrite buffer that were appended to it.
        appended_bytes: u64,
        /// The last step between two batches, microseconds (of the writer, not of main).
        final_step_us: u64,
    },
    /// Why not; the old file goes on.
    Failed(String),
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub messages: VecDeque<Message>,
    /// The writer works on a message it has taken.
    pub busy: bool,
    pub stop: bool,
}

/// See the module header.
#[derive(Debug)]
pub(super) struct Shared {
    pub storage: Arc<dyn Storage>,
    started: Instant,
    queue: Mutex<Queue>,
    /// The queue has a message.
    pub wake_writer: Condvar,
    /// The queue has become empty.
    pub drained: Condvar,
    pub file: Mutex<Option<LogFile>>,
    pub syncer: super::syncer::SyncSlot,
    policy: AtomicU8,
    /// `no-appendfsync-on-rewrite` while a child lives.
    sync_paused: AtomicBool,
    idle: AtomicBool,
    pub written: AtomicU64,
    pub synced: AtomicU64,
    queued_bytes: AtomicU64,
    /// When the write(2) that the writer is in began, 0: it is in none. Time in the queue does not
    /// count: a writer without a processor, or busy with a switch, must not cost a promise.
    writing_since_us: AtomicU64,
    pub file_bytes: AtomicU64,
    /// Of the present rewrite buffer.
    pub buffer_sizes: Mutex<Arc<BufferSizes>>,
    /// The rewrite buffer cannot be kept while the child still writes.
    pub buffer_overflow: AtomicBool,
    pub overflow_reason: Mutex<Option<String>>,
    /// errno of the last write when it failed, 0 when it succeeded.
    write_errno: AtomicI32,
    /// errno of a failed sync of this file: it is never trusted again.
    sync_errno: AtomicI32,
    /// A batch is missing in this file: only a rewrite makes it whole again.
    abandoned: AtomicBool,
    /// Somebody else was at the file.
    intruded: AtomicBool,
    /// The first of the faults that last; its text for replies and INFO.
    fault: Mutex<Option<AofFault>>,
    pub outcome: Mutex<Option<SwitchOutcome>>,
    /// Of the writer thread.
    pub delays: super::delays::Delays,
    /// `always` cannot be kept: the process must end.
    fatal: OnceLock<String>,
    waker: OnceLock<Arc<mio::Waker>>,
}

impl Shared {
    pub fn new(storage: Arc<dyn Storage>) -> Shared {
        Shared {
            storage,
            started: Instant::now(),
            queue: Mutex::default(),
            wake_writer: Condvar::new(),
            drained: Condvar::new(),
            file: Mutex::default(),
            syncer: super::syncer::SyncSlot::default(),
            policy: AtomicU8::new(SyncPolicy::default() as u8),
            sync_paused: AtomicBool::new(false),
            idle: AtomicBool::new(true),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            queued_bytes: AtomicU64::new(0),
            writing_since_us: AtomicU64::new(0),
            file_bytes: AtomicU64::new(0),
            buffer_sizes: Mutex::default(),
            buffer_overflow: AtomicBool::new(false),
            overflow_reason: Mutex::default(),
            write_errno: AtomicI32::new(0),
            sync_errno: AtomicI32::new(0),
            abandoned: AtomicBool::new(false),
            intruded: AtomicBool::new(false),
            fault: Mutex::default(),
            outcome: Mutex::new(None),
            delays: super::delays::Delays::default(),
            fatal: OnceLock::new(),
            waker: OnceLock::new(),
        }
    }

    /// Microseconds since this was made, never 0 (0 stands for "none").
    pub fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64 + 1
    }

    pub fn set_waker(&self, waker: Arc<mio::Waker>) {
        // The loop is made once; a second one would be a test's, and keeps the first waker.
        let _ = self.waker.set(waker);
    }

    /// Wakes the main loop: replies may be released, or there is something to decide.
    pub fn wake_main(&self) {
        if let Some(waker) = self.waker.get()
            && let Err(failure) = waker.wake()
        {
            log::warn!("Cannot wake the event loop: {failure}");
        }
    }

    pub fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    pub fn push(&self, message: Message) {
        let mut queue = self.lock_queue();
        self.idle.store(false, Ordering::Release);
        queue.messages.push_back(message);
        drop(queue);
        self.wake_writer.notify_one();
    }

    /// Adds a batch, joined to the last one while that is small. Empties `bytes`.
    pub fn push_batch(&self, bytes: &mut Vec<u8>, end: u64) {
        let mut queue = self.lock_queue();
        self.idle.store(false, Ordering::Release);
        self.queued_bytes.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        match queue.messages.back_mut() {
            Some(Message::Batch { bytes: last, end: last_end })
                if last.len() + bytes.len() <= JOIN_MAX_BYTES =>
            {
                last.extend_from_slice(bytes);
                *last_end = end;
                bytes.clear();
            }
            _ => queue.messages.push_back(Message::Batch { bytes: std::mem::take(bytes), end }),
        }
        drop(queue);
        self.wake_writer.notify_one();
    }

    /// The next message; waits for it. `None`: the writer is to end.
    pub fn next_message(&self) -> Option<Message> {
        let mut queue = self.lock_queue();
        loop {
            if let Some(message) = queue.messages.pop_front() {
                queue.busy = true;
                return Some(message);
            }
            queue.busy = false;
            self.idle.store(true, Ordering::Release);
            self.drained.notify_all();
            if queue.stop {
                return None;
            }
            queue = self.wake_writer.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Bytes of a batch have left the queue for good.
    pub fn batch_done(&self, bytes: usize, end: u64) {
        self.queued_bytes.fetch_sub(bytes as u64, Ordering::AcqRel);
        self.written.store(end, Ordering::SeqCst);
    }

    /// Main may write by itself: nobody else is at the file.
    pub fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Acquire)
    }

    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes.load(Ordering::Acquire)
    }

    /// The writer enters write(2), or has come back.
    pub fn note_writing(&self, begins: bool) {
        let since_us = if begins { self.now_us() } else { 0 };
        self.writing_since_us.store(since_us, Ordering::Release);
    }

    /// How long the writer has been in the write(2) it is in, microseconds; 0: in none.
    pub fn write_runs_for_us(&self) -> u64 {
        match self.writing_since_us.load(Ordering::Acquire) {
            0 => 0,
            since_us => self.now_us().saturating_sub(since_us),
        }
    }

    pub fn policy(&self) -> SyncPolicy {
        SyncPolicy::from_code(self.policy.load(Ordering::Acquire))
    }

    /// Sets policy and pause. Returns whether that changed anything.
    pub fn set_policy(&self, policy: SyncPolicy, paused: bool) -> bool {
        let before = self.policy_in_force();
        self.policy.store(policy as u8, Ordering::Release);
        self.sync_paused.store(paused, Ordering::Release);
        if before == self.policy_in_force() {
            return false;
        }
        // The time without a promise does not count as a lag.
        self.syncer.restart_age(self.now_us());
        true
    }

    pub fn sync_paused(&self) -> bool {
        self.sync_paused.load(Ordering::Acquire)
    }

    /// The policy, with the pause of `no-appendfsync-on-rewrite` applied.
    pub fn policy_in_force(&self) -> SyncPolicy {
        if self.sync_paused() { SyncPolicy::No } else { self.policy() }
    }

    pub fn note_written(&self, file: &LogFile) {
        self.file_bytes.store(file.size(), Ordering::Release);
        if self.write_errno.load(Ordering::Acquire) != 0 {
            self.write_errno.store(0, Ordering::Release);
            self.heal(FaultKind::Write);
            log::warn!("AOF write error looks solved. The server can write again.");
        }
    }

    pub fn note_write_failure(&self, failure: &AppendFailure) {
        let errno = failure.fault.errno().unwrap_or(libc::EIO);
        if self.write_errno.swap(errno, Ordering::AcqRel) != errno {
            log::warn!("Error writing to the AOF file: {}", failure.fault);
            self.note_fault(FaultKind::Write, failure.fault.to_string());
        }
        if self.policy() == SyncPolicy::Always {
            self.set_fatal(format!(
                "Can't recover from AOF write error when the AOF fsync policy is 'always': {}. Exiting...",
                failure.fault
            ));
        }
        self.wake_main();
    }

    pub fn note_sync_failure(&self, fault: &IoFault) {
        let errno = fault.errno().unwrap_or(libc::EIO);
        if self.sync_errno.swap(errno, Ordering::AcqRel) == 0 {
            self.note_fault(FaultKind::Sync, fault.to_string());
            log::warn!(
                "AOF fsync error, this file is not trusted any more, a rewrite will replace it: {fault}"
            );
        }
        if self.policy() == SyncPolicy::Always {
            self.set_fatal(format!(
                "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {fault}. Exiting..."
            ));
        }
        self.wake_main();
    }

    /// The file lacks a batch from here on.
    pub fn abandon_file(&self) {
        if !self.abandoned.swap(true, Ordering::AcqRel) {
            let text = "the AOF file lacks changes that could not be written; a rewrite will replace it";
            self.note_fault(FaultKind::Gap, text.to_owned());
            log::warn!("Error writing to the AOF file: {text}");
        }
        self.wake_main();
    }

    /// What a look at the file has found.
    pub fn note_intrusion(&self, file: &LogFile, found: Option<Intrusion>) {
        let before = self.intruded.swap(found.is_some(), Ordering::AcqRel);
        match found {
            Some(intrusion) if !before => {
                let text = intrusion.text(file.path());
                log::warn!("{text}: writes are refused until a rewrite has made a new file");
                self.note_fault(FaultKind::File, text);
            }
            None if before => {
                log::warn!("{} is whole again", file.path().display());
                self.heal(FaultKind::File);
            }
            _ => return,
        }
        self.wake_main();
    }

    /// Remembers what is wrong. An older fault of another kind is kept: it came first and lasts.
    fn note_fault(&self, kind: FaultKind, text: String) {
        let mut fault = lock(&self.fault);
        if fault.as_ref().is_none_or(|known| known.kind == kind || known.kind == FaultKind::Write) {
            let since = fault.as_ref().filter(|known| known.kind == kind).map(|known| known.since);
            *fault = Some(AofFault { kind, text, since: since.unwrap_or_else(Instant::now) });
        }
    }

    fn heal(&self, kind: FaultKind) {
        let mut fault = lock(&self.fault);
        if fault.as_ref().is_some_and(|known| known.kind == kind) {
            *fault = None;
        }
    }

    /// What is wrong with the file, if something is.
    pub fn fault(&self) -> Option<AofFault> {
        if self.has_problem() { lock(&self.fault).clone() } else { None }
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Only a rewrite makes the file whole.
    pub fn needs_rewrite(&self) -> bool {
        self.is_abandoned()
            || self.sync_errno.load(Ordering::Acquire) != 0
            || self.intruded.load(Ordering::Acquire)
    }

    /// Whether something is wrong with the file.
    #[inline]
    pub fn has_problem(&self) -> bool {
        self.write_errno.load(Ordering::Acquire) != 0 || self.needs_rewrite()
    }

    pub fn write_failed(&self) -> bool {
        self.write_errno.load(Ordering::Acquire) != 0 || self.is_abandoned()
    }

    /// A new file is in place: old faults are over.
    pub fn forgive(&self) {
        self.write_errno.store(0, Ordering::Release);
        self.sync_errno.store(0, Ordering::Release);
        self.abandoned.store(false, Ordering::Release);
        self.intruded.store(false, Ordering::Release);
        *lock(&self.fault) = None;
    }

    pub fn set_fatal(&self, text: String) {
        // The first reason is the one to report.
        let _ = self.fatal.set(text);
        self.wake_main();
    }

    pub fn fatal(&self) -> Option<&str> {
        self.fatal.get().map(String::as_str)
    }
}

/// Locks; a thread that panicked with the lock held has left plain data behind.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
