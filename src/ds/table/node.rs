//! References to segments and directories, and the directories.
//!
//! A directory of `bits` bits is an array of 2^bits references, indexed by the top bits
//! of what is left of the hash. A child of local depth `d` fills 2^(bits - d) neighbouring
//! places. When a child of full depth splits, its directory doubles; at 13 bits (64 KiB)
//! it does not: the child's place is taken by a directory of its own. So the most that
//! any split copies is 64 KiB, whatever the size of the table, and 26 bits (two levels)
//! address 2^26 segments, more than 40 G entries.
//!
//! ```text
//!  63          60 59      56 55        48 47                               0
//! | directory flag | local depth | buckets or bits | address (64-byte aligned) |
//! ```
#![allow(unsafe_code)]

use std::ptr::{NonNull, null_mut};

use super::memory::{LINE_BYTES, Ledger, MAX_BLOCK_BYTES};
use crate::sys::data_alloc::Mover;

/// Largest directory: 2^13 references of 8 bytes are 64 KiB.
pub(super) const MAX_DIRECTORY_BITS: u32 = 13;

/// Directories on the way to a segment.
pub(super) const MAX_LEVELS: usize = 2;

/// Deepest segment.
pub(super) const MAX_DEPTH: u32 = MAX_DIRECTORY_BITS * MAX_LEVELS as u32;

const _: () = assert!((size_of::<NodeRef>() << MAX_DIRECTORY_BITS) == MAX_BLOCK_BYTES);

const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: usize = (1 << ADDRESS_BITS) - 1;
const SIZE_SHIFT: u32 = ADDRESS_BITS;
const DEPTH_SHIFT: u32 = SIZE_SHIFT + 8;
const DIRECTORY_FLAG: usize = 1 << 63;

/// An 8-byte reference to a segment or a directory, or to nothing.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NodeRef(*mut u8);

impl NodeRef {
    /// Refers to nothing.
    pub const NONE: NodeRef = NodeRef(null_mut());

    fn pack(block: NonNull<u8>, size: usize, local_depth: u32, flag: usize) -> Self {
        debug_assert!(size < 256 && local_depth <= MAX_DIRECTORY_BITS);
        NodeRef(block.as_ptr().map_addr(|address| {
            assert!(address <= ADDRESS_MASK, "user addresses have at most 48 bits");
            address | size << SIZE_SHIFT | (local_depth as usize) << DEPTH_SHIFT | flag
        }))
    }

    pub fn segment(block: NonNull<u8>, bucket_count: usize, local_depth: u32) -> Self {
        Self::pack(block, bucket_count, local_depth, 0)
    }

    #[inline(always)]
    pub fn is_none(self) -> bool {
        self.0.is_null()
    }

    #[inline(always)]
    pub fn is_directory(self) -> bool {
        self.0.addr() & DIRECTORY_FLAG != 0
    }

    /// Bits of its directory that this child consumes.
    #[inline(always)]
    pub fn local_depth(self) -> u32 {
        (self.0.addr() >> DEPTH_SHIFT) as u32 & 15
    }

    /// Buckets of a segment, bits of a directory.
    #[inline(always)]
    pub fn size(self) -> usize {
        self.0.addr() >> SIZE_SHIFT & 255
    }

    /// The address without what is packed around it.
    #[inline(always)]
    pub fn block(self) -> NonNull<u8> {
        debug_assert!(!self.is_none());
        // SAFETY: only `NONE` is null, and no caller asks it.
        unsafe { NonNull::new_unchecked(self.0.map_addr(|address| address & ADDRESS_MASK)) }
    }
}

/// A pointer to a live directory; the rules of `BucketPtr` hold for it too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Directory {
    places: NonNull<NodeRef>,
    pub bits: u32,
}

impl Directory {
    /// A directory whose places all refer to nothing.
    pub fn alloc(bits: u32, ledger: &mut Ledger) -> Self {
        debug_assert!((1..=MAX_DIRECTORY_BITS).contains(&bits));
        Directory { places: ledger.alloc(Self::lines(bits)).cast(), bits }
    }

    fn lines(bits: u32) -> usize {
        (size_of::<NodeRef>() << bits).div_ceil(LINE_BYTES)
    }

    /// Takes the block back; the children stay.
    pub fn free(self, ledger: &mut Ledger) {
        // SAFETY: allocated in `alloc` with this size; the caller drops its references.
        unsafe { ledger.free(self.places.cast(), Self::lines(self.bits)) }
    }

    /// Moves the block out of a slab that is to be emptied; the caller replaces its reference.
    pub fn relocate(self, mover: &mut Mover) -> Option<Self> {
        // SAFETY: allocated in `alloc` with this size; under the table's exclusive borrow.
        let moved = unsafe { mover.relocate(self.places.cast(), Self::lines(self.bits) * LINE_BYTES) }?;
        Some(Directory { places: moved.cast(), bits: self.bits })
    }

    /// # Safety
    /// `node` refers to a live directory.
    #[inline(always)]
    pub unsafe fn from_node(node: NodeRef) -> Self {
        Directory { places: node.block().cast(), bits: node.size() as u32 }
    }

    pub fn node(self, local_depth: u32) -> NodeRef {
        NodeRef::pack(self.places.cast(), self.bits as usize, local_depth, DIRECTORY_FLAG)
    }

    pub fn len(self) -> usize {
        1 << self.bits
    }

    /// The child for what is left of a hash.
    #[inline(always)]
    pub fn child(self, rest: u64) -> NodeRef {
        self.get((rest >> (64 - self.bits)) as usize)
    }

    #[inline(always)]
    pub fn get(self, index: usize) -> NodeRef {
        debug_assert!(index < self.len());
        // SAFETY: `index` is below 2^bits, the length of the live array (zeroed: NONE).
        unsafe { self.places.add(index).read() }
    }

    fn set(self, index: usize, child: NodeRef) {
        debug_assert!(index < self.len());
        // SAFETY: as in `get`, under the table's exclusive borrow.
        unsafe { self.places.add(index).write(child) }
    }

    /// Puts `child` in all places that its local depth gives it around `rest`.
    pub fn set_span(self, rest: u64, child: NodeRef) {
        let span = 1usize << (self.bits - child.local_depth());
        let first = (rest >> (64 - self.bits)) as usize & !(span - 1);
        for index in first..first + span {
            self.set(index, child);
        }
    }

    /// A copy with one bit more, in place of this directory.
    pub fn doubled(self, ledger: &mut Ledger) -> Self {
        let double = Directory::alloc(self.bits + 1, ledger);
        for index in 0..self.len() {
            let child = self.get(index);
            double.set(2 * index, child);
            double.set(2 * index + 1, child);
        }
        self.free(ledger);
        double
    }

    /// A copy with one bit less, in place of this directory; `None` while a child needs
    /// all bits.
    pub fn halved(self, ledger: &mut Ledger) -> Option<Self> {
        if self.bits == 1 || (0..self.len()).any(|i| self.get(i).local_depth() == self.bits) {
            return None;
        }
        let half = Directory::alloc(self.bits - 1, ledger);
        for index in 0..half.len() {
            half.set(index, self.get(2 * index));
        }
        self.free(ledger);
        Some(half)
    }
}
