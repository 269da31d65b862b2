//! Lazy free: big garbage is dropped by its own thread.
//!
//! ```text
//!  main ──► bounded channel (QUEUE_MAX) ──► thread "lazyfree": drop, count
//! ```
//! When the queue is full the caller frees the garbage itself: slower, never unbounded. The thread
//! holds no lock of ours between items; the allocator's lock is taken by the forking thread.

use crate::keyspace::db::Db;
use crate::value::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

/// Items waiting at most.
const QUEUE_MAX: usize = 64 * 1024;
/// Values that take fewer frees than this are freed at once.
pub const LAZY_EFFORT_MIN: usize = 64;
/// A string's block from this size on is worth sending away: unmapping it takes long.
pub const LAZY_BYTES_MIN: usize = 1 << 20;

/// Something to drop elsewhere.
pub enum Garbage {
    Value(Value),
    Db(Box<Db>),
}

impl Garbage {
    /// Keys or values inside, for `lazyfree_pending_objects`.
    fn objects(&self) -> u64 {
        match self {
            Garbage::Value(_) => 1,
            Garbage::Db(db) => db.len() as u64,
        }
    }
}

#[derive(Default)]
struct Counters {
    pending: AtomicU64,
    freed: AtomicU64,
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
                let objects = garbage.objects();
                drop(garbage);
                shared.freed.fetch_add(objects, Ordering::Relaxed);
                shared.pending.fetch_sub(objects, Ordering::Release);
            }
        })?;
        Ok(LazyFree { queue, counters, freed_base: 0 })
    }

    /// Hands garbage over, or drops it here when the queue is full.
    pub fn send(&self, garbage: Garbage) {
        let objects = garbage.objects();
        self.counters.pending.fetch_add(objects, Ordering::Relaxed);
        if let Err(TrySendError::Full(garbage) | TrySendError::Disconnected(garbage)) =
            self.queue.try_send(garbage)
        {
            drop(garbage);
            self.counters.freed.fetch_add(objects, Ordering::Relaxed);
            self.counters.pending.fetch_sub(objects, Ordering::Release);
        }
    }

    /// Objects not freed yet (`lazyfree_pending_objects`).
    pub fn pending(&self) -> u64 {
        self.counters.pending.load(Ordering::Acquire)
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
