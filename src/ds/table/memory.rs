//! Where the table's memory comes from, and its ledger.
//!
//! Everything the table owns (segments, directories, overflow buckets) is a run of
//! 64-byte *lines* in the data region, aligned to 64 bytes so that a bucket is one cache
//! line. The sizes in use are size classes of the region: no block is rounded up.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::sys::data_alloc::{self, Kind};

/// Size and alignment of a bucket, a segment header, and the unit of every block.
pub(super) const LINE_BYTES: usize = data_alloc::LINE_BYTES;

/// Largest block the table ever asks for: keeps growth free of large allocations.
pub(super) const MAX_BLOCK_BYTES: usize = 64 * 1024;

/// What one table holds, kept by the allocation calls themselves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ledger {
    /// Bytes of all blocks, as requested.
    pub bytes: usize,
    /// Buckets inside segments.
    pub main_buckets: usize,
    /// Buckets chained behind full ones.
    pub overflow_buckets: usize,
}

impl Ledger {
    /// Nothing allocated.
    pub const EMPTY: Ledger = Ledger { bytes: 0, main_buckets: 0, overflow_buckets: 0 };

    /// Gives a zeroed block of `lines` lines, one of the sizes of `sizes::BUCKET_COUNTS`
    /// with a header, or a power of two.
    pub fn alloc(&mut self, lines: usize) -> NonNull<u8> {
        debug_assert!(lines > 0 && lines * LINE_BYTES <= MAX_BLOCK_BYTES);
        self.bytes += lines * LINE_BYTES;
        let block = data_alloc::alloc_lines(Kind::Value, lines);
        // SAFETY: the block is new and this long; slots of the region keep what the last
        // object left in them.
        unsafe { block.write_bytes(0, lines * LINE_BYTES) };
        block
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `block` came from [`Ledger::alloc`] of this ledger with the same `lines` and
    /// nothing uses it afterwards.
    pub unsafe fn free(&mut self, block: NonNull<u8>, lines: usize) {
        self.bytes -= lines * LINE_BYTES;
        // SAFETY: the caller's promise is the callee's.
        unsafe { data_alloc::free(block, lines * LINE_BYTES) }
    }
}

/// Asks the processor to load the cache line at `address`; a hint that never faults.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no architectural effect, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
