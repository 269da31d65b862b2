//! A segment: one block of up to 8 KiB with a header line and 1 to 127 buckets.
//!
//! ```text
//! | header: prefix, depth, len, thresholds, expiry | bucket 0 | bucket 1 | ... |
//! 0                                                64         128
//! ```
//!
//! A segment owns all hashes that begin with its `depth`-bit prefix. The 16 bits behind
//! the prefix, scaled by the number of buckets, choose the bucket: any bucket count works
//! (block sizes are those of a size-class allocator, so none is rounded up) and bucket
//! order is hash order. 16 bits over 127 buckets make the widest bucket 0.2 % wider than
//! the narrowest, and keep every bucket border a multiple of 2^16, which SCAN relies on.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::bucket::{BucketPtr, Handle, Slot};
use super::memory::{LINE_BYTES, Ledger};
use super::node::NodeRef;
use super::sizes::{grow_threshold, shrink_threshold};
use crate::sys::data_alloc::Mover;

/// Hash bits that choose a bucket.
const POSITION_BITS: u32 = 16;

/// No visit of the segment is under way.
const NO_VISIT: u16 = u16::MAX;

/// The first line of a segment.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Header {
    /// First hash that belongs here.
    pub prefix: u64,
    /// No entry here expires before this Unix time; `u64::MAX` with no volatile entry.
    pub earliest_expiry_ms: u64,
    /// Lower bound for the buckets that the present visit has passed.
    pub visit_earliest_ms: u64,
    /// Entries.
    pub len: u32,
    /// Entries with an expiry.
    pub volatile_count: u32,
    /// An insert that finds `len` here or above asks for growth.
    pub grow_at: u32,
    /// A removal that leaves `len` below asks for shrinking.
    pub shrink_at: u32,
    /// Bucket that the present visit comes to next, or `NO_VISIT`.
    pub visit_next: u16,
    /// Buckets behind the header, 1..=127.
    pub bucket_count: u8,
    /// Hash bits that are equal for all entries.
    pub depth: u8,
}

const _: () = assert!(size_of::<Header>() <= LINE_BYTES);

/// A pointer to a segment of a live table; the rules of [`BucketPtr`] hold for it too.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SegmentPtr<H> {
    block: NonNull<u8>,
    handles: PhantomData<H>,
}

impl<H> Clone for SegmentPtr<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for SegmentPtr<H> {}

/// The bucket that the bits `rest` (the hash without the segment's prefix, shifted to the
/// top) fall into.
#[inline(always)]
pub(super) fn bucket_index(rest: u64, bucket_count: usize) -> usize {
    ((rest >> (64 - POSITION_BITS)) as usize * bucket_count) >> POSITION_BITS
}

impl<H: Handle> SegmentPtr<H> {
    /// An empty segment for the hashes that share the top `depth` bits of `prefix`.
    pub fn alloc(bucket_count: usize, depth: u32, prefix: u64, ledger: &mut Ledger) -> Self {
        let block = ledger.alloc(bucket_count + 1);
        ledger.main_buckets += bucket_count;
        let header = Header {
            prefix,
            earliest_expiry_ms: u64::MAX,
            visit_earliest_ms: u64::MAX,
            len: 0,
            volatile_count: 0,
            grow_at: grow_threshold(bucket_count, H::SLOTS, prefix, depth),
            shrink_at: shrink_threshold(bucket_count, H::SLOTS, depth),
            visit_next: NO_VISIT,
            bucket_count: u8::try_from(bucket_count).expect("sizes stop at 127 buckets"),
            depth: depth as u8,
        };
        // SAFETY: the block's first line is free, aligned and large enough (asserted).
        unsafe { block.cast::<Header>().write(header) };
        SegmentPtr { block, handles: PhantomData }
    }

    /// # Safety
    /// `node` refers to a live segment of a table with handles `H`.
    #[inline(always)]
    pub unsafe fn from_node(node: NodeRef) -> Self {
        SegmentPtr { block: node.block(), handles: PhantomData }
    }

    /// The reference that a directory keeps; `local_depth` bits are consumed there.
    pub fn node(self, local_depth: u32) -> NodeRef {
        NodeRef::segment(self.block, self.bucket_count(), local_depth)
    }

    /// Moves the block out of a slab that is to be emptied; the caller replaces its references.
    pub fn relocate(self, mover: &mut Mover) -> Option<Self> {
        let bytes = (self.bucket_count() + 1) * LINE_BYTES;
        // SAFETY: allocated in `alloc` with this size; under the table's exclusive borrow.
        let block = unsafe { mover.relocate(self.block, bytes) }?;
        Some(SegmentPtr { block, handles: PhantomData })
    }

    /// Frees the block and its overflow buckets; the handles are forgotten.
    pub fn free(self, ledger: &mut Ledger) {
        let bucket_count = self.bucket_count();
        for index in 0..bucket_count {
            self.bucket(index).free_overflow(ledger);
        }
        ledger.main_buckets -= bucket_count;
        // SAFETY: allocated in `alloc` with this size; the caller drops its references.
        unsafe { ledger.free(self.block, bucket_count + 1) }
    }

    #[inline(always)]
    pub fn header(&self) -> &Header {
        // SAFETY: a live segment starts with its header; writes need `header_mut`, and no
        // result of either outlives a statement of this module's callers.
        unsafe { self.block.cast::<Header>().as_ref() }
    }

    #[inline(always)]
    pub fn header_mut(&mut self) -> &mut Header {
        // SAFETY: as in `header`; called under the table's exclusive borrow only.
        unsafe { self.block.cast::<Header>().as_mut() }
    }

    pub fn bucket_count(self) -> usize {
        usize::from(self.header().bucket_count)
    }

    pub fn depth(self) -> u32 {
        u32::from(self.header().depth)
    }

    pub fn slots(self) -> usize {
        self.bucket_count() * H::SLOTS
    }

    /// Bucket `index`, which the caller knows to be below the bucket count.
    #[inline(always)]
    pub fn bucket(self, index: usize) -> BucketPtr<H> {
        // SAFETY: buckets follow the header; every caller's index is below the count that
        // the header or the directory's reference gives.
        unsafe { BucketPtr::new(self.block.add((index + 1) * LINE_BYTES)) }
    }

    /// Index of the bucket of `hash`.
    pub fn index_of(self, hash: u64) -> usize {
        bucket_index(hash << self.depth(), self.bucket_count())
    }

    /// First hash of bucket `index`; for the bucket count itself the first hash behind
    /// the segment, 0 when that is the end of all hashes.
    pub fn bucket_start(self, index: usize) -> u64 {
        let units = (index << POSITION_BITS).div_ceil(self.bucket_count()) as u64;
        // `units` may be 2^16: with depth 0 the shift then drops it, which is the wrap to 0.
        let offset = u128::from(units) << (64 - POSITION_BITS - self.depth());
        self.header().prefix.wrapping_add(offset as u64)
    }

    /// First hash behind the segment, 0 at the end of all hashes.
    pub fn end(self) -> u64 {
        self.bucket_start(self.bucket_count())
    }

    /// Adds a handle without asking for growth.
    #[inline(always)]
    pub fn append(mut self, hash: u64, handle: H, ledger: &mut Ledger) {
        self.bucket(self.index_of(hash)).append(hash as u8, handle, ledger);
        self.header_mut().len += 1;
    }

    /// Calls `visit` with every slot, in bucket order. Overflow buckets are asked for in
    /// advance: each would be a cache miss of its own.
    #[inline(always)]
    pub fn for_each(self, mut visit: impl FnMut(Slot<H>)) {
        const AHEAD: usize = 8;
        let count = self.bucket_count();
        for index in 0..count {
            if index + AHEAD < count
                && let Some(next) = self.bucket(index + AHEAD).next()
            {
                next.prefetch();
            }
            // A closure of its own is inlined here, `&mut visit` is not: 4 % of a split.
            #[allow(clippy::redundant_closure)]
            self.bucket(index).for_each(|slot| visit(slot));
        }
    }

    /// Counts an entry that expires at `expiry_ms`.
    #[inline(always)]
    pub fn note_volatile(&mut self, expiry_ms: u64) {
        self.header_mut().volatile_count += 1;
        self.lower_expiry(expiry_ms);
    }

    /// Keeps the bound below an expiry that came up.
    #[inline(always)]
    pub fn lower_expiry(&mut self, expiry_ms: u64) {
        let header = self.header_mut();
        header.earliest_expiry_ms = header.earliest_expiry_ms.min(expiry_ms);
        header.visit_earliest_ms = header.visit_earliest_ms.min(expiry_ms);
    }

    /// Counts one volatile entry less.
    #[inline(always)]
    pub fn forget_volatile(&mut self) {
        let header = self.header_mut();
        debug_assert!(header.volatile_count > 0);
        header.volatile_count -= 1;
        if header.volatile_count == 0 {
            header.earliest_expiry_ms = u64::MAX;
            header.visit_earliest_ms = u64::MAX;
        }
    }
}
