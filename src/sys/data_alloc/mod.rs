//! The allocator of the data region: everything that `ds`, `value` and `keyspace` store
//! lives here, and nothing else. Owns the program's one data heap.
//!
//! ```text
//! reserved, 2 MiB aligned:  [ entry block | value block | value block | entry block | ... ]
//! a block (2 MiB)           [ slab | slab | slab of 3 units     | free | ...              ]
//! a slab (64 KiB and up)    [ slot | slot | slot | ...   one size class, one kind         ]
//! beside the data           slab records, free bitmaps, sets of slabs and blocks with room
//! above 1 MiB               a mapping of its own for each object
//! ```
//!
//! What it is for: a fork copies page tables, and a write after it copies pages. So data
//! sits in whole blocks that can be huge pages; metadata that changes with every call lies
//! elsewhere; entries have blocks of their own that the snapshot child walks by bitmap and
//! gives back; slabs fill from the lowest address, so that blocks empty out.
//!
//! Trade-off (docs/memory.md has the numbers): one lock for all threads, because one thread
//! does nearly all the work; 0.9 % of metadata; sizes rounded up to their class.
//!
//! The one `static` that is neither atomic nor table: an allocator is process-wide by nature.
#![allow(unsafe_code)]

mod address_set;
mod blocks;
mod data_box;
mod data_bytes;
mod data_vec;
mod heap;
mod large;
mod live_bytes;
mod lock;
mod mover;
mod poison;
mod region;
mod shared;
mod size_class;
#[cfg(test)]
mod tests;
mod walk;

use std::io;
use std::process;
use std::ptr::NonNull;

use lock::HeapGuard;
use shared::{SharedHeap, Shelves};
use walk::Granularity;

pub use data_box::DataBox;
pub use data_bytes::DataBytes;
pub use data_vec::DataVec;
pub use live_bytes::LiveBytes;
pub use mover::{Cursor, Mover, Relocate};
pub use region::ScratchBlock;
pub use shared::{DataHeapStats, usable_size};
pub use size_class::{ALIGN_BYTES, BLOCK_BYTES, LINE_BYTES, MAX_SLAB_OBJECT_BYTES, UNIT_BYTES};
pub use walk::{BlockRange, release_range};

static HEAP: SharedHeap = SharedHeap::new();

/// What an object is, which decides the blocks it may lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keyspace entry: one key, found by the snapshot child's walk.
    Entry,
    /// Anything else: big collections, table segments.
    Value,
    /// A byte string: a long string value or a packed collection. Blocks of them are given back by
    /// the snapshot child when it has saved the last one in it.
    Bytes,
}

/// How many kinds there are.
const KINDS: usize = 3;

impl Kind {
    #[inline]
    const fn bit(self) -> usize {
        match self {
            Kind::Entry => 0,
            Kind::Value => 1,
            Kind::Bytes => 2,
        }
    }

    #[inline]
    const fn from_bit(bit: u8) -> Self {
        match bit {
            0 => Kind::Entry,
            1 => Kind::Value,
            _ => Kind::Bytes,
        }
    }
}

/// `size` bytes with unspecified contents, 8-byte aligned. About 5 ns hot; ends the process
/// with a message when memory is used up.
#[inline]
pub fn alloc(kind: Kind, size: usize) -> NonNull<u8> {
    match HEAP.try_alloc(kind, size) {
        Some(ptr) => ptr,
        None => exhausted(size),
    }
}

/// `lines` cache lines, aligned to one, with unspecified contents; freed as that many
/// bytes. Costs no memory for the alignment: every class that serves whole lines is a
/// multiple of a line, and slots follow each other from an aligned start.
#[inline]
pub fn alloc_lines(kind: Kind, lines: usize) -> NonNull<u8> {
    debug_assert!(lines > 0 && lines * LINE_BYTES <= MAX_SLAB_OBJECT_BYTES);
    alloc(kind, lines * LINE_BYTES)
}

/// As [`alloc`], but `None` when memory is used up.
#[inline]
pub fn try_alloc(kind: Kind, size: usize) -> Option<NonNull<u8>> {
    HEAP.try_alloc(kind, size)
}

/// Frees an object. Any thread may free what another allocated. About 5 ns hot.
/// Panics on a pointer that is no live object.
///
/// # Safety
/// `ptr` must come from [`alloc`] or [`realloc`] with `size`, or a size with the same
/// [`usable_size`], and must not be used afterwards.
#[inline]
pub unsafe fn free(ptr: NonNull<u8>, size: usize) {
    // SAFETY: the same contract.
    unsafe { HEAP.free(ptr, size) }
}

/// Resizes an object of either kind: in place while [`usable_size`] stays, by moving page
/// tables above [`MAX_SLAB_OBJECT_BYTES`], by copying else. Ends the process with a message
/// when memory is used up.
///
/// # Safety
/// As [`free`] for `ptr` and `old_size`; afterwards only the result is valid.
#[inline]
pub unsafe fn realloc(ptr: NonNull<u8>, old_size: usize, new_size: usize) -> NonNull<u8> {
    // SAFETY: the same contract.
    match unsafe { HEAP.try_realloc(ptr, old_size, new_size) } {
        Some(moved) => moved,
        None => exhausted(new_size),
    }
}

/// Reports the end of memory on standard error and aborts. Neither logger nor allocator is
/// used: both may need the memory that is missing, and a forked child may be the caller.
#[cold]
fn exhausted(size: usize) -> ! {
    let mut line = [0u8; 160];
    let mut rest = &mut line[..];
    let used = HEAP.used_bytes();
    let written = io::Write::write_fmt(
        &mut rest,
        format_args!("# Out of memory allocating {size} bytes of data ({used} bytes in use). Aborting.\n"),
    );
    let left = rest.len();
    if written.is_ok() {
        let length = line.len() - left;
        // SAFETY: the buffer is ours; a failing write changes nothing about the abort.
        unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), length) };
    }
    process::abort()
}

/// Class bytes of all live data objects. O(1), exact.
pub fn used_bytes() -> usize {
    HEAP.used_bytes()
}

/// Where the reserved range begins: objects up to [`MAX_SLAB_OBJECT_BYTES`] lie behind it, from
/// the lowest address with room on. It never moves; `None` before the first allocation. For
/// structures that keep distances in place of addresses.
pub fn range_start() -> Option<NonNull<u8>> {
    HEAP.range_start()
}

/// All figures. O(1).
pub fn stats() -> DataHeapStats {
    HEAP.stats()
}

/// Gives empty slabs kept for the next allocation back; for idle moments. O(classes).
pub fn trim() {
    HEAP.trim();
}

/// Gives all unused memory back to the kernel: [`trim`], and the empty blocks that are kept resident
/// for the next growth (16 MiB at most).
pub fn release_unused() {
    HEAP.trim();
    HEAP.release_spare();
}

/// Asks the kernel for huge pages (or for base pages) for all data, present and future.
/// Call it before loading: only pages touched later become huge by themselves.
///
/// # Errors
/// The kernel's: huge pages not built in, or no address space.
pub fn set_huge_pages(on: bool) -> io::Result<()> {
    HEAP.set_huge_pages(on)
}

/// Chooses the slabs that are to be emptied so that blocks become free, and gives nothing out of
/// them until [`end_evacuation`]; [`Mover`] then moves what lies there. `everything`: all slabs
/// but those in use for new objects (tests). Returns the bytes of the objects to move.
/// O(committed units): 0.1 ms a GiB.
pub fn begin_evacuation(everything: bool) -> usize {
    HEAP.begin_evacuation(everything)
}

/// The slabs that were to be emptied serve again. Nothing happens when there are none.
pub fn end_evacuation() {
    HEAP.end_evacuation();
}

/// Number of blocks; valid indices for [`collapse_blocks`] and [`block_address`] are below.
pub fn block_count() -> usize {
    HEAP.block_count()
}

/// First address of block `index` if it holds objects (for readers of `/proc/self/pagemap`).
pub fn block_address(index: usize) -> Option<NonNull<u8>> {
    HEAP.active_block(index)
}

/// Rebuilds the blocks that hold something, from `index` on without a gap and at most `max`, as huge
/// pages (`MADV_COLLAPSE`, Linux 6.1); returns how many these are. Copies up to 2 MiB for each, 0.2-0.3 ms,
/// without the heap's lock; pace it from a helper thread, and never while a child lives.
///
/// # Errors
/// The kernel's: `EINVAL` where unknown, `ENOMEM`, `EAGAIN`, `EBUSY`. Blocks before and after the refused
/// one may have been rebuilt.
pub fn collapse_blocks(index: usize, max: usize) -> io::Result<usize> {
    HEAP.collapse_blocks(index, max)
}

/// Makes one more empty block resident (the kernel zeroes 2 MiB, without the
/// heap's lock), up to a reserve of 8 and of an eighth of the data: a helper thread calls it until `false` while data
/// grows, so that the main thread does not pay for first touches.
pub fn prefault_one() -> bool {
    HEAP.prefault_one()
}

/// Holds the heap still across `fork()`: no other thread is inside it, so both processes
/// go on with consistent memory. Drop the guard in parent *and* child; until then this
/// thread must not allocate or free data.
pub struct ForkGuard {
    _lock: HeapGuard<'static, Shelves>,
}

/// Takes the heap's lock for a fork. Waits as long as another thread's current call.
pub fn lock_for_fork() -> ForkGuard {
    ForkGuard { _lock: HEAP.lock() }
}

/// Walks all live entries in address order, block by block, large entries last. Every
/// reported range holds entries only, so a forked child may [`release_range`] it once
/// saved. `visit` may allocate and free; see `walk.rs` for what a concurrent writer means.
pub fn for_each_live_entry_block(visit: impl FnMut(BlockRange, &mut dyn Iterator<Item = NonNull<u8>>)) {
    HEAP.for_each_live_entry(Granularity::Block, visit);
}

/// Counts the live byte strings of each block, for a child that gives back blocks of them. O(blocks
/// and slabs of byte strings).
pub fn live_bytes() -> LiveBytes {
    LiveBytes::count(&HEAP)
}

/// As [`for_each_live_entry_block`] slab by slab (64 KiB to 2 MiB): with base pages, memory
/// can be given back earlier.
pub fn for_each_live_entry_slab(visit: impl FnMut(BlockRange, &mut dyn Iterator<Item = NonNull<u8>>)) {
    HEAP.for_each_live_entry(Granularity::Slab, visit);
}

/// Checks all bookkeeping of the heap; panics on a contradiction. O(committed units).
pub fn check_invariants() {
    HEAP.check_invariants();
}
