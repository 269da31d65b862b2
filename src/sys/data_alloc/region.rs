//! Address ranges of the data heap: the reserved 2 MiB-aligned data range, lazily committed
//! metadata arrays beside it, and own mappings for very large objects. The only file that
//! makes memory system calls.
//!
//! ```text
//! data range   [ block 0 | block 1 | ... committed ... | PROT_NONE until needed        ]
//! metadata     [ element per slab unit / block, committed in step with the blocks  ... ]
//! ```
//!
//! Trade-off: reserving address space costs nothing but page-table roots; committing by
//! `mprotect` in order keeps each range at two kernel mappings, however large it grows,
//! and keeps the reserve out of the commit limit (`vm.overcommit_memory = 2`).
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use super::size_class::BLOCK_BYTES;

/// Page size assumed for rounding; every supported machine runs 4 KiB base pages, and on
/// larger ones the kernel rounds lengths itself.
pub const PAGE_BYTES: usize = 4096;
/// `MADV_COLLAPSE` (Linux 6.1), absent from older C headers.
const MADV_COLLAPSE: libc::c_int = 25;

/// Maps `bytes` of inaccessible address space, aligned to a block.
///
/// # Errors
/// The kernel's, e.g. `ENOMEM` when the address-space limit is lower.
pub fn reserve(bytes: usize) -> io::Result<NonNull<u8>> {
    let padded = bytes + BLOCK_BYTES;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing of ours.
    let raw = unsafe { libc::mmap(ptr::null_mut(), padded, libc::PROT_NONE, flags, -1, 0) };
    if raw == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = raw.cast::<u8>();
    let head = start.align_offset(BLOCK_BYTES);
    let tail = BLOCK_BYTES - head;
    // SAFETY: head < BLOCK_BYTES, so head + bytes + tail = padded stays in the new mapping.
    let (base, end) = unsafe { (start.add(head), start.add(head + bytes)) };
    // SAFETY: both pieces belong to the mapping just made and nobody uses them.
    unsafe { unmap_if_any(start, head) };
    // SAFETY: as above.
    unsafe { unmap_if_any(end, tail) };
    Ok(NonNull::new(base).expect("mmap never returns address zero without MAP_FIXED"))
}

/// # Safety
/// The range must be mapped, unused, and owned by the caller.
unsafe fn unmap_if_any(start: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: promised by the caller. Failure only leaves unused address space behind.
        let _ = unsafe { libc::munmap(start.cast(), bytes) };
    }
}

/// Makes reserved memory readable and writable (zero-filled on first touch).
///
/// # Safety
/// The range must lie in a reservation of [`reserve`] that the caller owns, page aligned.
///
/// # Errors
/// `ENOMEM` when the commit limit is reached.
pub unsafe fn commit(start: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: the range is a reservation of ours (caller), raising access harms no reader.
    let result = unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `MADV_POPULATE_WRITE` (Linux 5.14).
const MADV_POPULATE_WRITE: libc::c_int = 23;

/// What to tell the kernel about a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Drop the contents; the next touch reads zeros.
    GiveBack,
    /// Use huge pages where possible.
    HugePages,
    /// Use base pages only.
    BasePages,
    /// Rebuild one huge page now (copies up to 2 MiB, 0.2-0.3 ms).
    Collapse,
    /// Back with zeroed pages now instead of at the first touch.
    Populate,
}

/// Calls `madvise`.
///
/// # Safety
/// The caller owns the range; with [`Advice::GiveBack`] nobody needs its contents.
///
/// # Errors
/// The kernel's; `EINVAL` where the kernel does not know the advice.
pub unsafe fn advise(start: *mut u8, bytes: usize, advice: Advice) -> io::Result<()> {
    let code = match advice {
        Advice::GiveBack => libc::MADV_DONTNEED,
        Advice::HugePages => libc::MADV_HUGEPAGE,
        Advice::BasePages => libc::MADV_NOHUGEPAGE,
        Advice::Collapse => MADV_COLLAPSE,
        Advice::Populate => MADV_POPULATE_WRITE,
    };
    // SAFETY: the caller owns the range and, for GiveBack, its contents are dead.
    let result = unsafe { libc::madvise(start.cast(), bytes, code) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Maps `bytes` (whole pages) of zeroed memory of its own.
///
/// # Errors
/// `ENOMEM` at the limit of memory or of the number of mappings.
pub fn map_own(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing of ours.
    let raw = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
    if raw == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(raw.cast()).expect("mmap never returns address zero without MAP_FIXED"))
}

/// Grows or shrinks an own mapping by moving page tables, not bytes.
///
/// # Safety
/// `start` must be a mapping of [`map_own`] of exactly `old_bytes`; it is dead afterwards
/// unless returned.
///
/// # Errors
/// `ENOMEM`; the old mapping is then unchanged.
pub unsafe fn remap_own(start: NonNull<u8>, old_bytes: usize, new_bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: promised by the caller; the kernel picks a free place if it must move.
    let raw = unsafe { libc::mremap(start.as_ptr().cast(), old_bytes, new_bytes, libc::MREMAP_MAYMOVE) };
    if raw == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(raw.cast()).expect("mremap never returns address zero"))
}

/// Unmaps an own mapping. Where the kernel refuses (splitting a mapping at the limit of
/// `vm.max_map_count`) the memory is given back and only address space is lost.
///
/// # Safety
/// `start` must be a mapping of [`map_own`] of exactly `bytes`, unused from now on.
pub unsafe fn unmap_own(start: NonNull<u8>, bytes: usize) {
    // SAFETY: promised by the caller.
    if unsafe { libc::munmap(start.as_ptr().cast(), bytes) } != 0 {
        // SAFETY: the range is still mapped and its contents are dead.
        let _ = unsafe { advise(start.as_ptr(), bytes, Advice::GiveBack) };
    }
}

/// One block outside the heap, to try out what this kernel does with huge pages.
pub struct ScratchBlock {
    base: NonNull<u8>,
}

impl ScratchBlock {
    /// Maps a block and fills it with huge pages if the kernel gives any, with base pages else.
    ///
    /// # Errors
    /// The kernel's: no memory, or no huge pages built in.
    pub fn populate() -> io::Result<Self> {
        let block = ScratchBlock { base: reserve(BLOCK_BYTES)? };
        let start = block.base.as_ptr();
        // SAFETY: the block is ours and page aligned.
        unsafe { commit(start, BLOCK_BYTES)? };
        // SAFETY: the block is ours; this advice keeps contents.
        unsafe { advise(start, BLOCK_BYTES, Advice::HugePages)? };
        // Without this advice (before Linux 5.14) the writes below fetch the pages.
        // SAFETY: as above.
        let _ = unsafe { advise(start, BLOCK_BYTES, Advice::Populate) };
        for page in 0..BLOCK_BYTES / PAGE_BYTES {
            block.write_page(page);
        }
        Ok(block)
    }

    /// Writes one byte into page `page` of the block.
    pub fn write_page(&self, page: usize) {
        assert!(page < BLOCK_BYTES / PAGE_BYTES, "a block has 512 pages");
        // SAFETY: the page is inside our committed block and nobody else looks at it. Volatile:
        // the write is the point, its value is never read.
        unsafe { self.base.as_ptr().add(page * PAGE_BYTES).write_volatile(1) };
    }
}

impl Drop for ScratchBlock {
    fn drop(&mut self) {
        // SAFETY: the mapping belongs to this block alone.
        unsafe { unmap_if_any(self.base.as_ptr(), BLOCK_BYTES) };
    }
}

/// Bytes of physical memory; 4 GiB if the system does not say.
pub fn physical_memory_bytes() -> usize {
    // SAFETY: sysconf only reads.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    usize::try_from(pages).map_or(4 << 30, |count| count.saturating_mul(PAGE_BYTES))
}

/// Types for which zero-filled memory is a valid value.
///
/// # Safety
/// All-zero bytes must be a valid value, and the type must not need dropping.
pub unsafe trait ZeroValid: Copy {}
// SAFETY: integers.
unsafe impl ZeroValid for u64 {}
// SAFETY: integers.
unsafe impl<const N: usize> ZeroValid for [u64; N] {}

/// A metadata array in memory of its own, zero-filled, grown by committing pages.
/// Index checks are always on: a wild pointer given to `free` stops the program instead
/// of corrupting it.
pub struct MetaArray<T: ZeroValid> {
    base: NonNull<T>,
    len: usize,
    capacity: usize,
    owns: PhantomData<T>,
}

impl<T: ZeroValid> MetaArray<T> {
    /// An array that cannot grow, without memory.
    pub const fn empty() -> Self {
        MetaArray { base: NonNull::dangling(), len: 0, capacity: 0, owns: PhantomData }
    }

    /// Reserves room for `capacity` elements, none of them usable yet.
    ///
    /// # Errors
    /// The kernel's refusal to reserve.
    pub fn reserve(capacity: usize) -> io::Result<Self> {
        let base = reserve(Self::round_to_pages(capacity))?.cast();
        Ok(MetaArray { base, len: 0, capacity, owns: PhantomData })
    }

    const fn round_to_pages(elements: usize) -> usize {
        (elements * size_of::<T>()).next_multiple_of(PAGE_BYTES)
    }

    /// Makes the first `len` elements usable; the new ones are zero.
    ///
    /// # Errors
    /// The kernel's refusal to commit.
    pub fn grow_to(&mut self, len: usize) -> io::Result<()> {
        assert!(len <= self.capacity, "metadata array over its reservation");
        if len <= self.len {
            return Ok(());
        }
        // SAFETY: the rounded length lies in the reservation, which was rounded likewise.
        unsafe { commit(self.base.as_ptr().cast(), Self::round_to_pages(len))? };
        self.len = len;
        Ok(())
    }

    /// Usable elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Element `index`; panics beyond the usable length.
    #[inline]
    pub fn at(&self, index: usize) -> &T {
        assert!(index < self.len, "metadata index outside the heap");
        // SAFETY: below len, so committed; zero or written by at_mut, both valid values.
        unsafe { &*self.base.as_ptr().add(index) }
    }

    /// Element `index`; panics beyond the usable length.
    #[inline]
    pub fn at_mut(&mut self, index: usize) -> &mut T {
        assert!(index < self.len, "metadata index outside the heap");
        // SAFETY: as in `at`; `&mut self` makes the access exclusive.
        unsafe { &mut *self.base.as_ptr().add(index) }
    }
}

impl<T: ZeroValid> Drop for MetaArray<T> {
    fn drop(&mut self) {
        // SAFETY: the reservation belongs to this array alone.
        unsafe { unmap_if_any(self.base.as_ptr().cast(), Self::round_to_pages(self.capacity)) };
    }
}

/// The data range. Dropping it unmaps it; the global heap never does.
pub struct DataRange {
    base: NonNull<u8>,
    blocks: usize,
}

impl DataRange {
    /// Reserves up to `blocks` blocks, halving on refusal down to `MIN_BLOCKS`.
    ///
    /// # Errors
    /// The kernel's, when even the smallest range is refused.
    pub fn reserve_up_to(blocks: usize) -> io::Result<Self> {
        /// 64 MiB: below this a server is of no use.
        const MIN_BLOCKS: usize = 32;
        let mut wanted = blocks;
        loop {
            match reserve(wanted * BLOCK_BYTES) {
                Ok(base) => {
                    return Ok(DataRange { base, blocks: wanted });
                }
                Err(error) if wanted <= MIN_BLOCKS => return Err(error),
                Err(_) => wanted = (wanted / 2).max(MIN_BLOCKS),
            }
        }
    }

    /// Blocks reserved.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Offset of `ptr` from the start of the range; wraps to a huge value for foreign pointers.
    #[inline]
    pub fn offset_of(&self, ptr: NonNull<u8>) -> usize {
        ptr.addr().get().wrapping_sub(self.base.addr().get())
    }

    /// Address at `offset`, which must lie in the range.
    #[inline]
    pub fn at(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset < self.blocks * BLOCK_BYTES);
        // SAFETY: the offset lies inside the reservation (callers derive it from checked indices).
        unsafe { self.base.add(offset) }
    }

    /// Makes blocks `first .. first + count` usable.
    ///
    /// # Errors
    /// The kernel's refusal to commit.
    pub fn commit_blocks(&self, first: usize, count: usize) -> io::Result<()> {
        assert!(first + count <= self.blocks, "commit outside the data range");
        // SAFETY: the asserted range is part of our reservation and block aligned.
        unsafe { commit(self.at(first * BLOCK_BYTES).as_ptr(), count * BLOCK_BYTES) }
    }

    /// Advice for the whole range, present and future blocks alike.
    ///
    /// # Errors
    /// The kernel's, e.g. where huge pages are not built in.
    pub fn advise_pages(&self, huge: bool) -> io::Result<()> {
        let advice = if huge { Advice::HugePages } else { Advice::BasePages };
        // SAFETY: the range is ours, and this advice keeps contents.
        unsafe { advise(self.base.as_ptr(), self.blocks * BLOCK_BYTES, advice) }
    }
}

impl Drop for DataRange {
    fn drop(&mut self) {
        // SAFETY: the reservation belongs to this range alone.
        unsafe { unmap_if_any(self.base.as_ptr(), self.blocks * BLOCK_BYTES) };
    }
}
