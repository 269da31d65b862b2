//! Objects above the largest size class: one mapping each, counted here. Grown and shrunk
//! by moving page tables, so appending to a 500 MiB string copies nothing.
//!
//! Owns the counters and the register of large *entries* (a key may be very long), which
//! the snapshot child must find; large values hang on their entries and need no register.
//! System calls run outside the heap's lock: unmapping 500 MiB takes tens of ms.

use std::ptr::NonNull;

use super::region::PAGE_BYTES;

/// A large entry: its mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeEntry {
    /// First address.
    pub start: NonNull<u8>,
    /// Length in bytes, whole pages.
    pub bytes: usize,
}

/// Register and counters of large objects.
#[derive(Debug, Default)]
pub struct LargeObjects {
    /// Bytes mapped.
    pub mapped_bytes: usize,
    /// Objects mapped.
    pub count: usize,
    /// Sorted by address.
    entries: Vec<LargeEntry>,
}

/// Bytes a large object of `size` occupies; `None` above the address space.
#[inline]
pub fn mapped_bytes(size: usize) -> Option<usize> {
    size.checked_next_multiple_of(PAGE_BYTES).filter(|&bytes| bytes <= isize::MAX as usize)
}

impl LargeObjects {
    /// No objects.
    pub const fn new() -> Self {
        LargeObjects { mapped_bytes: 0, count: 0, entries: Vec::new() }
    }

    /// Counts a new mapping; `is_entry` registers it for the walk. O(log n) + move.
    pub fn add(&mut self, start: NonNull<u8>, bytes: usize, is_entry: bool) {
        self.mapped_bytes += bytes;
        self.count += 1;
        if is_entry {
            let position = self.entries.partition_point(|entry| entry.start < start);
            self.entries.insert(position, LargeEntry { start, bytes });
        }
    }

    /// Forgets a mapping; true if it was an entry. O(log n) + move.
    pub fn remove(&mut self, start: NonNull<u8>, bytes: usize) -> bool {
        self.mapped_bytes -= bytes;
        self.count -= 1;
        let Ok(position) = self.entries.binary_search_by_key(&start, |entry| entry.start) else {
            return false;
        };
        debug_assert_eq!(self.entries[position].bytes, bytes, "large entry freed with wrong size");
        self.entries.remove(position);
        true
    }

    /// True if the mapping at `start` is an entry.
    pub fn is_entry(&self, start: NonNull<u8>) -> bool {
        self.entries.binary_search_by_key(&start, |entry| entry.start).is_ok()
    }

    /// Large entry number `index` in address order.
    pub fn entry(&self, index: usize) -> Option<LargeEntry> {
        self.entries.get(index).copied()
    }
}
