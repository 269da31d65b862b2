//! The allocator of everything outside the data region, counted.
//!
//! jemalloc (feature `jemalloc`, the default) or the system's. [`Counting`] wraps it and keeps the
//! bytes given out, by size class where the allocator tells, in counters striped over threads so
//! that two threads seldom write one cache line. `used_memory` sums them: O(stripes).
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

#[cfg(not(feature = "jemalloc"))]
use std::alloc::System as Inner;
#[cfg(feature = "jemalloc")]
use tikv_jemallocator::Jemalloc as Inner;

/// Counters; a thread uses the one of its number modulo this.
const STRIPES: usize = 16;

#[repr(align(64))]
struct Stripe(AtomicIsize);

static ALLOCATED: [Stripe; STRIPES] = [const { Stripe(AtomicIsize::new(0)) }; STRIPES];
static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The global allocator: the inner one, counted.
pub struct Counting;

#[inline]
fn add(bytes: isize) {
    let stripe = STRIPE.try_with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT_THREAD.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        stripe.get()
    });
    // A thread that is ending has lost its cell; any stripe will do.
    ALLOCATED[stripe.unwrap_or(0)].0.fetch_add(bytes, Ordering::Relaxed);
}

/// Bytes given out and not freed.
pub fn allocated_bytes() -> usize {
    ALLOCATED.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum::<isize>().max(0) as usize
}

/// The allocator's name as INFO's `mem_allocator` shows it.
pub const fn name() -> &'static str {
    if cfg!(feature = "jemalloc") { "jemalloc-5.3.1" } else { "libc" }
}

/// What the allocator says of itself, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorStats {
    /// Given out.
    pub allocated_bytes: usize,
    /// In pages that hold something.
    pub active_bytes: usize,
    /// Resident, bookkeeping included.
    pub resident_bytes: usize,
}

/// jemalloc's statistics, refreshed: about 10 us. The system's allocator tells only the first.
pub fn stats() -> AllocatorStats {
    #[cfg(feature = "jemalloc")]
    if tikv_jemalloc_ctl::epoch::advance().is_ok() {
        let read = |value: tikv_jemalloc_ctl::Result<usize>| value.unwrap_or(0);
        return AllocatorStats {
            allocated_bytes: read(tikv_jemalloc_ctl::stats::allocated::read()),
            active_bytes: read(tikv_jemalloc_ctl::stats::active::read()),
            resident_bytes: read(tikv_jemalloc_ctl::stats::resident::read()),
        };
    }
    let allocated_bytes = allocated_bytes();
    AllocatorStats { allocated_bytes, active_bytes: allocated_bytes, resident_bytes: allocated_bytes }
}

/// The allocator's report in its own words (MEMORY MALLOC-STATS).
pub fn report() -> Vec<u8> {
    #[cfg(feature = "jemalloc")]
    {
        let mut text = Vec::new();
        // A vector takes everything.
        let _ = tikv_jemalloc_ctl::stats_print::stats_print(
            &mut text,
            tikv_jemalloc_ctl::stats_print::Options::default(),
        );
        text
    }
    #[cfg(not(feature = "jemalloc"))]
    b"Stats not supported for the current allocator".to_vec()
}

/// Gives free pages back to the system (MEMORY PURGE). False where that cannot be asked for.
pub fn purge() -> bool {
    // 4096 means all arenas.
    control_action(b"arena.4096.purge")
}

/// Gives back free pages whose time has come (10 s after they became free, spread over that time). jemalloc
/// does it as memory is asked for and freed; an idle server would keep for ever what a burst of clients
/// left behind. False where that cannot be asked for. Some 10 us for each MiB.
pub fn decay() -> bool {
    control_action(b"arena.4096.decay")
}

/// Carries out one of jemalloc's entries that take and give nothing.
pub fn control_action(name: &[u8]) -> bool {
    #[cfg(feature = "jemalloc")]
    {
        let Ok(name) = std::ffi::CString::new(name) else { return false };
        // SAFETY: the name ends in a zero byte; null pointers with zero sizes are how jemalloc
        // is told that nothing is read or written.
        let code = unsafe {
            tikv_jemalloc_sys::mallctl(
                name.as_ptr(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                0,
            )
        };
        code == 0
    }
    #[cfg(not(feature = "jemalloc"))]
    {
        let _ = name;
        false
    }
}

/// Reads a setting or figure of jemalloc by name (DEBUG MALLCTL); `None`: unknown, or no number.
pub fn control_number(name: &[u8]) -> Option<u64> {
    #[cfg(feature = "jemalloc")]
    {
        let name = std::ffi::CString::new(name).ok()?;
        for size in [8usize, 4, 1] {
            let (mut value, mut value_size) = (0u64, size);
            // SAFETY: `value` has room for 8 bytes and `value_size` says at most that; jemalloc
            // refuses (EINVAL) when its own type has another size. Nothing is written to it.
            let code = unsafe {
                tikv_jemalloc_sys::mallctl(
                    name.as_ptr(),
                    (&raw mut value).cast(),
                    &raw mut value_size,
                    std::ptr::null_mut(),
                    0,
                )
            };
            if code == 0 {
                return Some(value);
            }
        }
        None
    }
    #[cfg(not(feature = "jemalloc"))]
    {
        let _ = name;
        None
    }
}

// SAFETY: every call is passed on unchanged to an allocator that fulfils the contract; counting
// touches atomics and a const-initialised thread-local cell, and never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is passed on.
        let block = unsafe { Inner.alloc(layout) };
        if !block.is_null() {
            add(layout.size() as isize);
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is passed on.
        let block = unsafe { Inner.alloc_zeroed(layout) };
        if !block.is_null() {
            add(layout.size() as isize);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: the caller's contract is passed on.
        unsafe { Inner.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's contract is passed on.
        let moved = unsafe { Inner.realloc(block, layout, new_size) };
        if !moved.is_null() {
            add(new_size as isize - layout.size() as isize);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::{decay, purge};

    #[test]
    fn free_pages_can_be_given_back() {
        // Misspelt names would be refused.
        assert_eq!((decay(), purge()), (cfg!(feature = "jemalloc"), cfg!(feature = "jemalloc")));
    }
}
