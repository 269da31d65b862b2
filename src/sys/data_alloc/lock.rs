//! The heap's lock: one swap to take, one plain store to give back.
//!
//! A mutex that parks would need a second atomic swap on release. Holders work for some ns
//! (a refill or committing blocks: longer; never giving pages back), so waiting by
//! yielding is enough. Uncontended it costs about 1 ns a pair (docs/memory.md); contended
//! cost is not measured. A waiter that yielded long enough sleeps, in case the holder has a
//! lower real-time priority.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::hint;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Tries before the processor is given away.
const SPINS: u32 = 100;
/// Yields before sleeping.
const YIELDS: u32 = 200;
/// How long a patient waiter sleeps.
const SLEEP: Duration = Duration::from_micros(50);

/// A value behind the lock.
pub struct HeapLock<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through a guard, of which there is one at a time; the
// heap's raw pointers name memory of the process, bound to no thread.
unsafe impl<T> Sync for HeapLock<T> {}
// SAFETY: as above.
unsafe impl<T> Send for HeapLock<T> {}

impl<T> HeapLock<T> {
    /// An open lock around `value`.
    pub const fn new(value: T) -> Self {
        HeapLock { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock. Not re-entrant.
    #[inline]
    pub fn lock(&self) -> HeapGuard<'_, T> {
        if self.locked.swap(true, Ordering::Acquire) {
            self.wait();
        }
        HeapGuard { lock: self }
    }

    #[cold]
    fn wait(&self) {
        let mut tries = 0u32;
        loop {
            if !self.locked.load(Ordering::Relaxed) && !self.locked.swap(true, Ordering::Acquire) {
                return;
            }
            tries = tries.saturating_add(1);
            match tries {
                0..=SPINS => hint::spin_loop(),
                _ if tries <= SPINS + YIELDS => thread::yield_now(),
                _ => thread::sleep(SLEEP),
            }
        }
    }
}

/// Proof that the lock is held; opens it when dropped.
pub struct HeapGuard<'a, T> {
    lock: &'a HeapLock<T>,
}

impl<T> Deref for HeapGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists, so the lock is ours and nobody else has a reference.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for HeapGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in deref; `&mut self` makes it the only reference of this guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for HeapGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
    }
}
