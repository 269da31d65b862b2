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
