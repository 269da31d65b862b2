//! Walking live entries in address order: how the snapshot child finds the data, and how
//! it gives back what it has saved.
//!
//! ```text
//! block 0: slab slab .. | block 1 (values: skipped) | block 2: slab .. | large entries
//!   f(range, live ptrs)                                f(...)            f(...) each
//! ```
//!
//! Each slab's bitmap is copied under the lock and walked without it, so the caller may
//! allocate and free meanwhile; an object freed after the copy may still be yielded, so
//! whoever dereferences must be the only mutator (the child is). A copy is 512 bytes for
//! up to 4096 objects.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

use super::heap::{BITMAP_WORDS, Bitmap};
use super::region::{Advice, advise};
use super::shared::SharedHeap;
use super::size_class::{BLOCK_BYTES, UNIT_BYTES, UNITS_PER_BLOCK};

/// Byte that debug builds fill released ranges with: saving zeros twice would go unnoticed.
const POISON: u8 = 0xA5;

/// A piece of memory that holds entries only: after its last object was saved, a child
/// may give it back whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// First address.
    pub start: NonNull<u8>,
    /// Length in bytes.
    pub bytes: usize,
    /// Block index; `None` for a large entry with a mapping of its own.
    pub block: Option<usize>,
}

/// How finely to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// 2 MiB blocks: the unit that frees memory with huge pages.
    Block,
    /// Slabs, 64 KiB and up: enough with base pages.
    Slab,
}

/// Live entries of consecutive slab units.
struct LiveEntries<'a> {
    heap: &'a SharedHeap,
    next_unit: usize,
    end_unit: usize,
    bits: Bitmap,
    word: usize,
    slab_start: NonNull<u8>,
    slot_bytes: usize,
    block_start: NonNull<u8>,
}

impl<'a> LiveEntries<'a> {
    fn new(heap: &'a SharedHeap, block: usize, block_start: NonNull<u8>) -> Self {
        LiveEntries {
            heap,
            next_unit: block * UNITS_PER_BLOCK,
            end_unit: (block + 1) * UNITS_PER_BLOCK,
            bits: [0; BITMAP_WORDS],
            word: BITMAP_WORDS,
            slab_start: block_start,
            slot_bytes: 0,
            block_start,
        }
    }

    /// Loads the next slab of entries; its range, or `None` at the end.
    fn load_slab(&mut self) -> Option<BlockRange> {
        while self.next_unit < self.end_unit {
            let unit = self.next_unit;
            let Some((units, slot_bytes, bits)) = self.heap.live_entries_of(unit) else {
                self.next_unit += 1;
                continue;
            };
            self.next_unit += units;
            self.bits = bits;
            self.word = 0;
            self.slot_bytes = slot_bytes;
            // SAFETY: the unit lies in the block, so the address stays in the data range.
            self.slab_start = unsafe { self.block_start.add(unit % UNITS_PER_BLOCK * UNIT_BYTES) };
            return Some(BlockRange {
                start: self.slab_start,
                bytes: units * UNIT_BYTES,
                block: Some(unit / UNITS_PER_BLOCK),
            });
        }
        None
    }

    fn next_in_slab(&mut self) -> Option<NonNull<u8>> {
        while self.word < BITMAP_WORDS {
            let bits = self.bits[self.word];
            if bits != 0 {
                self.bits[self.word] = bits & (bits - 1);
                let slot = self.word * 64 + bits.trailing_zeros() as usize;
                // SAFETY: only bits of existing slots are set, so the address is in the slab.
                return Some(unsafe { self.slab_start.add(slot * self.slot_bytes) });
            }
            self.word += 1;
        }
        None
    }
}

impl Iterator for LiveEntries<'_> {
    type Item = NonNull<u8>;

    fn next(&mut self) -> Option<NonNull<u8>> {
        loop {
            if let Some(ptr) = self.next_in_slab() {
                return Some(ptr);
            }
            self.load_slab()?;
        }
    }
}

impl SharedHeap {
    /// Calls `visit` for each piece of memory with entries, in address order, then for each
    /// large entry. Takes no lock while `visit` runs and allocates nothing.
    pub fn for_each_live_entry(
        &self,
        granularity: Granularity,
        mut visit: impl FnMut(BlockRange, &mut dyn Iterator<Item = NonNull<u8>>),
    ) {
        for block in 0..self.block_count() {
            let Some(start) = self.entry_block(block) else {
                continue;
            };
            let mut entries = LiveEntries::new(self, block, start);
            if granularity == Granularity::Block {
                visit(BlockRange { start, bytes: BLOCK_BYTES, block: Some(block) }, &mut entries);
                continue;
            }
            while let Some(range) = entries.load_slab() {
                visit(range, &mut std::iter::from_fn(|| entries.next_in_slab()));
            }
        }
        let mut index = 0;
        while let Some(entry) = self.large_entry(index) {
            let range = BlockRange { start: entry.start, bytes: entry.bytes, block: None };
            visit(range, &mut std::iter::once(entry.start));
            index += 1;
        }
    }
}

/// Gives the memory of a walked range back to the kernel; in debug builds fills it with
/// poison instead, so that reading released data shows.
///
/// # Safety
/// Only in a forked child, for a range the walk reported, when nothing in it will be read
/// again: the contents are gone, while the bookkeeping still calls the objects live.
///
/// # Errors
/// The kernel's refusal; the range is then unchanged.
pub unsafe fn release_range(range: BlockRange) -> io::Result<()> {
    if cfg!(debug_assertions) {
        // SAFETY: the range is committed memory of this process and dead (caller).
        unsafe { range.start.write_bytes(POISON, range.bytes) };
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { advise(range.start.as_ptr(), range.bytes, Advice::GiveBack) }
}
