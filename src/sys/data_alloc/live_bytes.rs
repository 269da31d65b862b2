//! Which blocks of byte strings a snapshot child can give back: those of which it has saved everything.
//!
//! ```text
//!  at the start:  block 7: 9,000 live | block 8: 8,700 live | ...     (counted from the bitmaps)
//!  saved one in 7: 8,999 ... 1, 0 ─► block 7 may go
//! ```
//! Keys are saved in the order of their entries, and values that were made with their keys lie in about the
//! same order, so blocks are finished one after the other. After much change each block waits for a
//! late key: then the memory stays until the end, as it would without this. Byte strings inside of big
//! collections are never reported, so their blocks stay as well.

use std::ptr::NonNull;

use super::shared::SharedHeap;
use super::size_class::BLOCK_BYTES;
use super::walk::BlockRange;

/// Byte strings that are still needed, by block.
#[derive(Debug)]
pub struct LiveBytes {
    start: Option<NonNull<u8>>,
    /// By block; 0: nothing, or nothing that is counted.
    needed: Vec<u32>,
}

impl LiveBytes {
    pub(super) fn count(heap: &SharedHeap) -> Self {
        let blocks = heap.blocks_of_bytes();
        let mut needed = vec![0; blocks.last().map_or(0, |(block, _)| block + 1)];
        for (block, live) in blocks {
            needed[block] = live;
        }
        LiveBytes { start: heap.range_start(), needed }
    }

    /// The byte string that begins at `object` is not needed any more; each one is told once. `Some`: no
    /// other in its block is. O(1). Pointers that are no counted byte strings change nothing.
    #[inline]
    pub fn done(&mut self, object: NonNull<u8>) -> Option<BlockRange> {
        let start = self.start?;
        let offset = object.addr().get().checked_sub(start.addr().get())?;
        let block = offset / BLOCK_BYTES;
        let needed = self.needed.get_mut(block).filter(|needed| **needed > 0)?;
        *needed -= 1;
        let address = start.addr().checked_add(block * BLOCK_BYTES)?;
        (*needed == 0).then(|| BlockRange {
            start: start.with_addr(address),
            bytes: BLOCK_BYTES,
            block: Some(block),
        })
    }
}
