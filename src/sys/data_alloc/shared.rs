//! The heap behind its lock: the operations that any thread may call.
//!
//! Owns the order "slab work under the lock, system calls outside it". A test makes a
//! `SharedHeap` of its own; the program has exactly one, in `mod.rs`.
#![allow(unsafe_code)]

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Kind;
use super::blocks::{BlockState, default_reserve_blocks};
use super::heap::{AfterFree, Bitmap, Heap, SlabFigures};
use super::large::{LargeEntry, LargeObjects, mapped_bytes};
use super::lock::{HeapGuard, HeapLock};
use super::region::{Advice, advise, map_own, remap_own, unmap_own};
use super::size_class::{BLOCK_BYTES, CLASSES, MAX_SLAB_OBJECT_BYTES, UNITS_PER_BLOCK, class_of};

/// What the lock protects.
pub struct Shelves {
    /// Objects in slabs.
    pub slabs: Heap,
    /// Objects in mappings of their own.
    pub large: LargeObjects,
}

/// A heap that any thread may use.
pub struct SharedHeap {
    shelves: HeapLock<Shelves>,
    /// Class bytes of live objects. Changed only under the lock, so by plain load and store.
    live_bytes: AtomicUsize,
    huge_pages: AtomicBool,
    /// Slabs are being emptied: objects may have to move.
    evacuating: AtomicBool,
}

/// Byte figures of the data heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataHeapStats {
    /// Class bytes of live objects, large ones included: `used_memory`'s data part.
    pub live_bytes: usize,
    /// Bytes of slabs, used or not; minus the slabs' live bytes this is inner waste.
    pub slab_bytes: usize,
    /// Bytes of blocks that may be resident (with slabs, or empty and retained).
    pub committed_bytes: usize,
    /// Bytes of mappings of large objects.
    pub mapped_large_bytes: usize,
    /// Large objects.
    pub large_objects: usize,
    /// Blocks holding slabs.
    pub blocks: usize,
    /// Empty blocks kept resident.
    pub retained_blocks: usize,
    /// Address space reserved, in bytes.
    pub reserved_bytes: usize,
    /// Whether huge pages are asked for.
    pub huge_pages: bool,
}

impl Default for SharedHeap {
    fn default() -> Self {
        SharedHeap::new()
    }
}

impl SharedHeap {
    /// A heap that reserves address space at its first allocation.
    pub const fn new() -> Self {
        SharedHeap {
            shelves: HeapLock::new(Shelves { slabs: Heap::new(), large: LargeObjects::new() }),
            live_bytes: AtomicUsize::new(0),
            huge_pages: AtomicBool::new(false),
            evacuating: AtomicBool::new(false),
        }
    }

    #[inline]
    fn count(&self, _locked: &HeapGuard<'_, Shelves>, grown: usize, shrunk: usize) {
        let before = self.live_bytes.load(Ordering::Relaxed);
        self.live_bytes.store(before.wrapping_add(grown).wrapping_sub(shrunk), Ordering::Relaxed);
    }

    /// Reserves address space for at most `blocks` blocks now.
    ///
    /// # Errors
    /// The kernel's refusal.
    #[cfg(test)]
    pub fn prepare(&self, blocks: usize) -> io::Result<()> {
        self.shelves.lock().slabs.prepare(blocks)
    }

    /// Where the reserved range begins; `None` before the first allocation.
    pub fn range_start(&self) -> Option<NonNull<u8>> {
        self.lock().slabs.range_start()
    }

    /// Takes the lock for as long as the guard lives.
    pub fn lock(&self) -> HeapGuard<'_, Shelves> {
        self.shelves.lock()
    }

    /// `size` bytes, uninitialised or zero; `None` when memory is used up.
    #[inline]
    pub fn try_alloc(&self, kind: Kind, size: usize) -> Option<NonNull<u8>> {
        if size > MAX_SLAB_OBJECT_BYTES {
            return self.map_large(kind, size);
        }
        let class = class_of(size);
        let mut shelves = self.shelves.lock();
        let ptr = shelves.slabs.take(class, kind)?;
        self.count(&shelves, CLASSES[class].bytes as usize, 0);
        Some(ptr)
    }

    #[cold]
    fn map_large(&self, kind: Kind, size: usize) -> Option<NonNull<u8>> {
        let bytes = mapped_bytes(size)?;
        let start = map_own(bytes).ok()?;
        if bytes >= BLOCK_BYTES && self.huge_pages.load(Ordering::Relaxed) {
            // SAFETY: the mapping was just made and this advice keeps contents; if it is
            // refused the object simply has base pages.
            let _ = unsafe { advise(start.as_ptr(), bytes, Advice::HugePages) };
        }
        let mut shelves = self.shelves.lock();
        shelves.large.add(start, bytes, kind == Kind::Entry);
        self.count(&shelves, bytes, 0);
        Some(start)
    }

    /// Frees an object.
    ///
    /// # Safety
    /// `ptr` must come from this heap's `try_alloc` or `try_realloc` with `size` (or another
    /// size of the same class), and must not be used afterwards.
    #[inline]
    pub unsafe fn free(&self, ptr: NonNull<u8>, size: usize) {
        if size > MAX_SLAB_OBJECT_BYTES {
            // SAFETY: promised by the caller.
            return unsafe { self.unmap_large(ptr, size) };
        }
        let class = class_of(size);
        let after = {
            let mut shelves = self.shelves.lock();
            let after = shelves.slabs.release(ptr, class);
            self.count(&shelves, 0, CLASSES[class].bytes as usize);
            after
        };
        if after != AfterFree::Done {
            self.finish(after);
        }
    }

    /// # Safety
    /// As [`Self::free`], for a size above the slab limit.
    #[cold]
    unsafe fn unmap_large(&self, ptr: NonNull<u8>, size: usize) {
        let bytes = mapped_bytes(size).expect("an object of this size exists");
        {
            let mut shelves = self.shelves.lock();
            shelves.large.remove(ptr, bytes);
            self.count(&shelves, 0, bytes);
        }
        // SAFETY: the caller's object is a mapping of exactly these bytes and is dead.
        unsafe { unmap_own(ptr, bytes) };
    }

    /// The system call that a free left behind, outside the lock.
    #[cold]
    fn finish(&self, after: AfterFree) {
        let AfterFree::ReturnBlock(block) = after else {
            return;
        };
        let start = {
            let shelves = self.shelves.lock();
            shelves.slabs.pool().expect("a block was emptied, so blocks exist").start(block)
        };
        // SAFETY: the block is empty and marked as leaving: nobody hands out its memory until
        // finish_return. A refusal only means that the pages stay resident.
        let _ = unsafe { advise(start.as_ptr(), BLOCK_BYTES, Advice::GiveBack) };
        self.shelves.lock().slabs.finish_return(block);
    }

    /// Resizes an object, keeping its kind and the first `min(old_size, new_size)` bytes.
    /// In place while the size class stays; large objects move by page tables.
    /// `None`: memory is used up, the object is unchanged.
    ///
    /// # Safety
    /// As [`Self::free`] for `ptr` and `old_size`; after success only the result is valid.
    pub unsafe fn try_realloc(
        &self,
        ptr: NonNull<u8>,
        old_size: usize,
        new_size: usize,
    ) -> Option<NonNull<u8>> {
        let old_large = old_size > MAX_SLAB_OBJECT_BYTES;
        let new_large = new_size > MAX_SLAB_OBJECT_BYTES;
        if old_large && new_large {
            // SAFETY: promised by the caller.
            return unsafe { self.remap_large(ptr, old_size, new_size) };
        }
        if !old_large && !new_large && class_of(old_size) == class_of(new_size) {
            return Some(ptr);
        }
        let kind = self.kind_of(ptr, old_large);
        let target = self.try_alloc(kind, new_size)?;
        // SAFETY: both objects are live, distinct and at least this long.
        unsafe { ptr::copy_nonoverlapping(ptr.as_ptr(), target.as_ptr(), old_size.min(new_size)) };
        // SAFETY: promised by the caller.
        unsafe { self.free(ptr, old_size) };
        Some(target)
    }

    fn kind_of(&self, ptr: NonNull<u8>, is_large: bool) -> Kind {
        let shelves = self.shelves.lock();
        match is_large {
            true if shelves.large.is_entry(ptr) => Kind::Entry,
            true => Kind::Value,
            false => shelves.slabs.kind_of(ptr),
        }
    }

    /// # Safety
    /// As [`Self::try_realloc`], both sizes above the slab limit.
    #[cold]
    unsafe fn remap_large(&self, ptr: NonNull<u8>, old_size: usize, new_size: usize) -> Option<NonNull<u8>> {
        let old_bytes = mapped_bytes(old_size).expect("an object of this size exists");
        let new_bytes = mapped_bytes(new_size)?;
        if old_bytes == new_bytes {
            return Some(ptr);
        }
        // Off the register first: the kernel may reuse the old address at once.
        let is_entry = self.shelves.lock().large.remove(ptr, old_bytes);
        // SAFETY: the caller's object is a mapping of exactly old_bytes.
        let moved = unsafe { remap_own(ptr, old_bytes, new_bytes) }.ok();
        let (start, bytes) = moved.map_or((ptr, old_bytes), |start| (start, new_bytes));
        let mut shelves = self.shelves.lock();
        shelves.large.add(start, bytes, is_entry);
        self.count(&shelves, bytes, old_bytes);
        moved
    }

    /// See `begin_evacuation` in `mod.rs`.
    pub fn begin_evacuation(&self, everything: bool) -> usize {
        self.end_evacuation();
        self.trim();
        let bytes = self.shelves.lock().slabs.begin_evacuation(everything);
        self.evacuating.store(true, Ordering::Relaxed);
        bytes
    }

    /// See `end_evacuation` in `mod.rs`.
    pub fn end_evacuation(&self) {
        if self.evacuating.swap(false, Ordering::Relaxed) {
            self.shelves.lock().slabs.end_evacuation();
        }
    }

    /// Moves an object out of a slab that is to be emptied, keeping its first `size` bytes.
    /// `None`: it stays where it is.
    ///
    /// # Safety
    /// As [`Self::free`]; after success only the result is valid.
    pub unsafe fn relocate(&self, ptr: NonNull<u8>, size: usize) -> Option<NonNull<u8>> {
        if size > MAX_SLAB_OBJECT_BYTES || !self.evacuating.load(Ordering::Relaxed) {
            return None;
        }
        let class = class_of(size);
        let target = {
            let mut shelves = self.shelves.lock();
            let kind = shelves.slabs.kind_if_leaving(ptr)?;
            let target = shelves.slabs.take(class, kind)?;
            self.count(&shelves, CLASSES[class].bytes as usize, 0);
            target
        };
        // SAFETY: both objects are live, distinct and at least this long.
        unsafe { ptr::copy_nonoverlapping(ptr.as_ptr(), target.as_ptr(), size) };
        // SAFETY: promised by the caller.
        unsafe { self.free(ptr, size) };
        Some(target)
    }

    /// Class bytes of all live objects. O(1), one load.
    #[inline]
    pub fn used_bytes(&self) -> usize {
        self.live_bytes.load(Ordering::Relaxed)
    }

    /// All figures. O(1).
    pub fn stats(&self) -> DataHeapStats {
        let shelves = self.shelves.lock();
        let figures: SlabFigures = shelves.slabs.figures();
        let resident_blocks = figures.active_blocks + figures.retained_blocks;
        DataHeapStats {
            live_bytes: self.used_bytes(),
            slab_bytes: figures.slab_bytes,
            committed_bytes: resident_blocks * BLOCK_BYTES,
            mapped_large_bytes: shelves.large.mapped_bytes,
            large_objects: shelves.large.count,
            blocks: figures.active_blocks,
            retained_blocks: figures.retained_blocks,
            reserved_bytes: figures.reserved_blocks * BLOCK_BYTES,
            huge_pages: self.huge_pages.load(Ordering::Relaxed),
        }
    }

    /// Gives empty slabs that were kept for the next allocation back to their blocks.
    pub fn trim(&self) {
        loop {
            let Some(after) = self.shelves.lock().slabs.trim_one() else {
                return;
            };
            self.finish(after);
        }
    }

    /// Gives back the empty blocks that were kept resident for the next growth.
    pub fn release_spare(&self) {
        loop {
            let Some(after) = self.shelves.lock().slabs.begin_release() else {
                return;
            };
            self.finish(after);
        }
    }

    /// Asks for huge pages (or base pages) for the whole range, present and future.
    ///
    /// # Errors
    /// The kernel's: no address space, or no huge pages built in.
    pub fn set_huge_pages(&self, on: bool) -> io::Result<()> {
        let mut shelves = self.shelves.lock();
        shelves.slabs.prepare(default_reserve_blocks())?;
        let pool = shelves.slabs.pool().expect("prepared just above");
        pool.range().advise_pages(on)?;
        self.huge_pages.store(on, Ordering::Relaxed);
        Ok(())
    }

    /// Blocks ever committed: valid indices are below it.
    pub fn block_count(&self) -> usize {
        self.shelves.lock().slabs.pool().map_or(0, |pool| pool.len())
    }

    /// Start of block `index` if it holds slabs.
    pub fn active_block(&self, index: usize) -> Option<NonNull<u8>> {
        let shelves = self.shelves.lock();
        let pool = shelves.slabs.pool()?;
        (index < pool.len() && pool.state(index) == BlockState::Active).then(|| pool.start(index))
    }

    /// Blocks that hold slabs, from `index` on without a gap, at most `max`.
    fn active_run(&self, index: usize, max: usize) -> Option<(NonNull<u8>, usize)> {
        let shelves = self.shelves.lock();
        let pool = shelves.slabs.pool()?;
        let end = pool.len().min(index.saturating_add(max));
        let blocks = (index..end).take_while(|&block| pool.state(block) == BlockState::Active).count();
        (blocks > 0).then(|| (pool.start(index), blocks))
    }

    /// Rebuilds the blocks that hold something, from `index` on without a gap, as huge pages; returns how
    /// many these are. 0.2-0.3 ms each, without the lock: call it from a helper thread.
    ///
    /// # Errors
    /// The kernel's: `EINVAL` before Linux 6.1, `ENOMEM`, `EAGAIN`, `EBUSY`. Blocks before and after the
    /// refused one may have been rebuilt.
    pub fn collapse_blocks(&self, index: usize, max: usize) -> io::Result<usize> {
        let Some((start, blocks)) = self.active_run(index, max) else {
            return Ok(0);
        };
        // SAFETY: the blocks are committed for good and next to each other; collapsing keeps contents.
        unsafe { advise(start.as_ptr(), blocks * BLOCK_BYTES, Advice::Collapse)? };
        Ok(blocks)
    }

    /// Makes one more empty block resident, up to the retained reserve; false: nothing to do.
    pub fn prefault_one(&self) -> bool {
        let (block, start) = {
            let mut shelves = self.shelves.lock();
            let Some(block) = shelves.slabs.begin_prefault() else {
                return false;
            };
            let pool = shelves.slabs.pool().expect("it just named a block");
            (block, pool.start(block))
        };
        // SAFETY: the block is committed, empty and marked as in transit.
        let populated = unsafe { advise(start.as_ptr(), BLOCK_BYTES, Advice::Populate) }.is_ok();
        self.shelves.lock().slabs.finish_prefault(block, populated);
        populated
    }

    /// For the walk: kind and start of block `index`.
    pub(super) fn entry_block(&self, index: usize) -> Option<NonNull<u8>> {
        let shelves = self.shelves.lock();
        let pool = shelves.slabs.pool()?;
        (pool.kind(index) == Some(Kind::Entry)).then(|| pool.start(index))
    }

    /// For the child: first address and index of each block of byte strings with how many live in it.
    pub(super) fn blocks_of_bytes(&self) -> Vec<(usize, u32)> {
        let shelves = self.shelves.lock();
        let Some(pool) = shelves.slabs.pool() else { return Vec::new() };
        let blocks = (0..pool.len()).filter(|block| pool.kind(*block) == Some(Kind::Bytes));
        let live_in = |block: usize| {
            let (mut unit, mut live) = (block * UNITS_PER_BLOCK, 0);
            while unit < (block + 1) * UNITS_PER_BLOCK {
                let (units, objects) = shelves.slabs.live_objects_of(unit).unwrap_or((1, 0));
                (unit, live) = (unit + units, live + objects as u32);
            }
            live
        };
        blocks.map(|block| (block, live_in(block))).collect()
    }

    /// For the walk: see [`Heap::live_entries_of`].
    pub(super) fn live_entries_of(&self, unit: usize) -> Option<(usize, usize, Bitmap)> {
        self.shelves.lock().slabs.live_entries_of(unit)
    }

    /// For the walk: large entry number `index`.
    pub(super) fn large_entry(&self, index: usize) -> Option<LargeEntry> {
        self.shelves.lock().large.entry(index)
    }

    /// Checks all bookkeeping; panics on a contradiction. O(committed units).
    pub fn check_invariants(&self) {
        let shelves = self.shelves.lock();
        let live_bytes = shelves.slabs.check_invariants() + shelves.large.mapped_bytes;
        assert_eq!(live_bytes, self.used_bytes(), "used bytes miscounted");
    }
}

/// Bytes that an object of `size` really occupies (and is counted with). Two sizes with
/// the same result are interchangeable in `free` and need no move in `realloc`.
#[inline]
pub fn usable_size(size: usize) -> usize {
    if size <= MAX_SLAB_OBJECT_BYTES {
        return CLASSES[class_of(size)].bytes as usize;
    }
    mapped_bytes(size).unwrap_or(usize::MAX)
}
