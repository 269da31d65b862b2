//! Lazy free: big garbage is dropped by its own thread.
//!
//! ```text
//!  main ──► bounded channel (QUEUE_MAX) ──► thread "lazyfree": drop, count
//! ```
//! The thread rests after each short burst. Where it shares a processor with `main`, the kernel would
//! else let it run for milliseconds before `main` gets its turn back.
//!
//! When the queue is full the caller frees the garbage itself: slower, never unbounded. The thread
//! holds no lock of ours between items; the allocator's lock is taken by the forking thread.

use crate::keyspace::db::Db;
use crate::value::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Items waiting at most.
const QUEUE_MAX: usize = 64 * 1024;
/// Values that take fewer frees than this are freed at once.
pub const LAZY_EFFORT_MIN: usize = 64;
/// Values that take so many frees go to the thread whatever the caller wants: about 0.5 ms here.
pub const HUGE_EFFORT_MIN: usize = 16 * 1024;
/// A string's block from this size on is worth sending away: unmapping it takes long.
pub const LAZY_BYTES_MIN: usize = 1 << 20;

/// Nodes of a list or stream by which its size is told.
const NODES_COUNTED_MAX: usize = 256;

/// How long the thread works without a rest: what a request may have to wait for it.
const BURST: Duration = Duration::from_micros(100);
/// How long it rests, at least: the kernel adds some 50 us.
const REST: Duration = Duration::from_micros(50);

/// Something to drop elsewhere.
pub enum Garbage {
    /// A value and the bytes it gives back.
    Value(Value, usize),
    Db(Box<Db>),
}

impl Garbage {
    /// A value; what it gives back is counted here, for lists and streams by some of their nodes: the
    /// figure serves eviction only, and a walk over all of them would stop the server. O(1).
    pub fn of_value(value: Value) -> Self {
        let bytes = value.as_ref().out_of_line_bytes_by(NODES_COUNTED_MAX);
        Garbage::Value(value, bytes)
    }

    /// Bytes that will be free; those of a whole database are not known without a walk.
    fn bytes(&self) -> usize {
        match self {
            Garbage::Value(_, bytes) => *bytes,
            Garbage::Db(_) => 0,
        }
    }

    /// Frees it in bursts.
    fn drop_slowly(self) {
        let mut start = Instant::now();
        let mut pause = || {
            if start.elapsed() >= BURST {
                thread::sleep(REST);
                start = Instant::now();
            }
        };
        match self {
            Garbage::Value(value, _) => value.drop_pausing(&mut pause),
            Garbage::Db(db) => db.drop_pausing(&mut pause),
        }
    }

    /// Keys or values inside, for `lazyfree_pending_objects`.
    fn objects(&self) -> u64 {
        match self {
            Garbage::Value(..) => 1,
            Garbage::Db(db) => db.len() as u64,
        }
    }
}

#[derive(Default)]
struct Counters {
    pending: AtomicU64,
    pending_bytes: AtomicUsize,
    freed: AtomicU64,
}

impl Counters {
    fn sent(&self, objects: u64, bytes: usize) {
        self.pending.fetch_add(objects, Ordering::Relaxed);
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn dropped(&self, objects: u64, bytes: usize) {
        self.freed.fetch_add(objects, Ordering::Relaxed);
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.pending.fetch_sub(objects, Ordering::Release);
    }
}

/// The sending side; the thread ends when this is dropped.
pub struct LazyFree {
    queue: SyncSender<Garbage>,
    counters: Arc<Counters>,
    freed_base: u64,
}

impl LazyFree {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start() -> std::io::Result<Self> {
        let (queue, receiver) = sync_channel::<Garbage>(QUEUE_MAX);
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        thread::Builder::new().name("lazyfree".into()).spawn(move || {
            for garbage in receiver {
                let (objects, bytes) = (garbage.objects(), garbage.bytes());
                garbage.drop_slowly();
                shared.dropped(objects, bytes);
            }
        })?;
        Ok(LazyFree { queue, counters, freed_base: 0 })
    }

    /// Hands garbage over, or drops it here when the queue is full.
    pub fn send(&self, garbage: Garbage) {
        let (objects, bytes) = (garbage.objects(), garbage.bytes());
        self.counters.sent(objects, bytes);
        if let Err(TrySendError::Full(garbage) | TrySendError::Disconnected(garbage)) =
            self.queue.try_send(garbage)
        {
            drop(garbage);
            self.counters.dropped(objects, bytes);
        }
    }

    /// Objects not freed yet (`lazyfree_pending_objects`).
    pub fn pending(&self) -> u64 {
        self.counters.pending.load(Ordering::Acquire)
    }

    /// Bytes of values not freed yet. While one is being freed all of it still counts.
    pub fn pending_bytes(&self) -> usize {
        self.counters.pending_bytes.load(Ordering::Relaxed)
    }

    /// Objects freed since the last reset (`lazyfreed_objects`).
    pub fn freed(&self) -> u64 {
        self.counters.freed.load(Ordering::Relaxed) - self.freed_base
    }

    /// `CONFIG RESETSTAT`.
    pub fn reset_statistics(&mut self) {
        self.freed_base = self.counters.freed.load(Ordering::Relaxed);
    }
}
