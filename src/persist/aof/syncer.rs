//! The thread that syncs once a second, so that a disk that is slow to sync delays no write.
//!
//! A sync begins when the oldest unsynced byte is [`SYNC_INTERVAL_US`] old; what is written while
//! it runs belongs to the next one. The thread has a handle of its own to the file; a switch to
//! another file replaces it.

use crate::persist::aof::shared::{Shared, SyncPolicy, lock};
use crate::sys::io::StorageFile;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Age of the oldest unsynced byte at which a sync begins, microseconds: a second, less what a
/// healthy disk needs, so that a power cut loses no more than a second.
const SYNC_INTERVAL_US: u64 = 900_000;
/// A sync that takes longer counts as delayed (`aof_delayed_fsync`), microseconds: the next one is due.
const DELAYED_US: u64 = 1_000_000;

/// A sync younger than this does not keep main from writing to the page cache itself, microseconds.
/// A healthy disk is done by then; a stalled one sends the writes to the writer thread from there on.
const YOUNG_SYNC_US: u64 = 20_000;

#[derive(Debug, Default)]
struct Slot {
    handle: Option<Box<dyn StorageFile>>,
    /// Counts replacements of the handle: a sync of an old file proves nothing about the new one.
    generation: u64,
    stop: bool,
}

/// The syncer's place in [`Shared`].
#[derive(Debug, Default)]
pub(super) struct SyncSlot {
    slot: Mutex<Slot>,
    changed: Condvar,
    /// When the oldest unsynced byte was written, 0: everything is synced.
    unsynced_since_us: AtomicU64,
    /// When the running sync began, 0: none runs.
    running_since_us: AtomicU64,
    pub delayed: AtomicU64,
}

impl SyncSlot {
    pub fn notify(&self) {
        let _slot = lock(&self.slot);
        self.changed.notify_all();
    }

    /// Gives the thread the handle of the file that is appended to now.
    pub fn replace_handle(&self, handle: Option<Box<dyn StorageFile>>) {
        let mut slot = lock(&self.slot);
        slot.handle = handle;
        slot.generation += 1;
        self.unsynced_since_us.store(0, Ordering::Release);
    }

    pub fn stop(&self) {
        lock(&self.slot).stop = true;
        self.changed.notify_all();
    }

    /// Something was written.
    #[inline]
    pub fn mark_unsynced(&self, now_us: u64) {
        // SeqCst here and in `sync_once`: of "written moves, mark is read" and "mark is cleared,
        // written is read" at least one side must see the other.
        if self.unsynced_since_us.load(Ordering::SeqCst) == 0 {
            self.unsynced_since_us.store(now_us, Ordering::SeqCst);
            self.notify();
        }
    }

    /// Takes what is unsynced as written now: the policy has just changed.
    pub fn restart_age(&self, now_us: u64) {
        if self.unsynced_since_us() != 0 {
            self.unsynced_since_us.store(now_us, Ordering::SeqCst);
        }
        self.notify();
    }

    /// Everything written is synced.
    pub fn mark_synced(&self) {
        self.unsynced_since_us.store(0, Ordering::Release);
    }

    pub fn is_running(&self) -> bool {
        self.running_since_us.load(Ordering::Acquire) != 0
    }

    /// Whether a sync runs for so long already that a write(2) beside it might have to wait.
    pub fn is_late(&self, now_us: u64) -> bool {
        let since_us = self.running_since_us.load(Ordering::Acquire);
        since_us != 0 && now_us.saturating_sub(since_us) > YOUNG_SYNC_US
    }

    pub fn unsynced_since_us(&self) -> u64 {
        self.unsynced_since_us.load(Ordering::Acquire)
    }
}

/// Runs until [`SyncSlot::stop`].
pub(super) fn run(shared: &Arc<Shared>) {
    while let Some((handle, generation)) = wait_until_due(shared) {
        sync_once(shared, handle, generation);
    }
}

/// Waits for a sync to be due; hands out the handle.
fn wait_until_due(shared: &Shared) -> Option<(Box<dyn StorageFile>, u64)> {
    let sync = &shared.syncer;
    let mut slot = lock(&sync.slot);
    loop {
        if slot.stop {
            return None;
        }
        let since_us = sync.unsynced_since_us();
        let wanted =
            since_us != 0 && shared.policy_in_force() == SyncPolicy::EverySecond && slot.handle.is_some();
        if !wanted {
            slot = sync.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let left_us = (since_us + SYNC_INTERVAL_US).saturating_sub(shared.now_us());
        if left_us == 0
            && let Some(handle) = slot.handle.take()
        {
            return Some((handle, slot.generation));
        }
        let waited = sync.changed.wait_timeout(slot, Duration::from_micros(left_us));
        slot = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn sync_once(shared: &Shared, handle: Box<dyn StorageFile>, generation: u64) {
    let sync = &shared.syncer;
    let start_us = shared.now_us();
    sync.running_since_us.store(start_us, Ordering::Release);
    // Read before the sync: what is written from now on may miss it.
    let target = shared.written.load(Ordering::Acquire);
    let outcome = handle.sync_data();
    sync.running_since_us.store(0, Ordering::Release);
    if shared.now_us() - start_us > DELAYED_US {
        sync.delayed.fetch_add(1, Ordering::Relaxed);
    }
    let mut slot = lock(&sync.slot);
    if slot.generation != generation {
        return;
    }
    slot.handle = Some(handle);
    match outcome {
        Ok(()) => {
            shared.synced.fetch_max(target, Ordering::AcqRel);
            sync.unsynced_since_us.store(0, Ordering::SeqCst);
            if shared.written.load(Ordering::SeqCst) > target {
                sync.unsynced_since_us.store(start_us, Ordering::SeqCst);
            }
        }
        Err(fault) => {
            sync.unsynced_since_us.store(start_us, Ordering::Release);
            drop(slot);
            shared.note_sync_failure(&fault);
        }
    }
}
