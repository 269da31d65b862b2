//! The block of one member: its length and its bytes, behind a thin pointer.
#![allow(unsafe_code)]

use crate::ds::table::prefetch;
use crate::sys::data_alloc::{self, ALIGN_BYTES, BLOCK_BYTES, Kind, Mover};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the data region begins: what near handles count from. 0 until somebody asks.
static RANGE_START: AtomicUsize = AtomicUsize::new(0);

#[inline(always)]
fn range_start() -> usize {
    match RANGE_START.load(Ordering::Relaxed) {
        0 => find_range_start(),
        start => start,
    }
}

/// The region never moves, so it does not matter who stores its start first.
#[cold]
fn find_range_start() -> usize {
    let start = data_alloc::range_start().expect("the block in question was allocated there before");
    RANGE_START.store(start.as_ptr() as usize, Ordering::Relaxed);
    start.as_ptr() as usize
}

/// Whether near handles reach all of the region that is in use, and what a move may add to it.
pub(super) fn is_all_near() -> bool {
    const NEAR_BLOCKS: usize = ALIGN_BYTES * (u32::MAX as usize + 1) / BLOCK_BYTES;
    /// The region grows by a few blocks at a time, from several threads: 128 MiB are far more.
    const MARGIN_BLOCKS: usize = 64;
    data_alloc::block_count() + MARGIN_BLOCKS <= NEAR_BLOCKS
}

/// Payload bits of one byte of a length.
const LENGTH_BITS: u32 = 7;
/// Set in a length's byte when another one follows.
const LENGTH_MORE: u8 = 1 << LENGTH_BITS;

/// Bytes that the length `len` takes.
#[inline]
fn length_bytes(len: usize) -> usize {
    if len < usize::from(LENGTH_MORE) {
        return 1;
    }
    (usize::BITS - len.leading_zeros()).div_ceil(LENGTH_BITS) as usize
}

/// Bytes of the block of a member with `len` bytes.
#[inline]
pub(super) fn size_of_block(len: usize) -> usize {
    length_bytes(len) + len
}

/// A pointer to a live member block.
///
/// Methods are safe to call because a value is made only for a fresh block, or from a handle
/// whose holder promises that the block lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemberBlock(NonNull<u8>);

impl MemberBlock {
    /// A new block with a copy of `member`.
    #[inline]
    pub fn new(member: &[u8]) -> Self {
        let block = data_alloc::alloc(Kind::Value, size_of_block(member.len()));
        let prefix = length_bytes(member.len());
        let mut rest = member.len();
        for at in 0..prefix {
            let more = if at + 1 < prefix { LENGTH_MORE } else { 0 };
            // SAFETY: `at` is below the prefix, which the block has room for.
            unsafe { block.add(at).write(rest as u8 & (LENGTH_MORE - 1) | more) };
            rest >>= LENGTH_BITS;
        }
        // SAFETY: the block was allocated for prefix and member; it is fresh, so they are apart.
        unsafe { block.add(prefix).copy_from_nonoverlapping(NonNull::from(member).cast(), member.len()) };
        MemberBlock(block)
    }

    /// The distance from the start of the data region in units of 8 bytes, if four bytes hold it.
    #[inline(always)]
    pub fn near_handle(self) -> Option<u32> {
        let distance = (self.0.as_ptr() as usize).wrapping_sub(range_start());
        u32::try_from(distance / ALIGN_BYTES).ok()
    }

    /// The address.
    #[inline(always)]
    pub fn far_handle(self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// # Safety
    /// `handle` is that of a block which lives as long as the result is used.
    #[inline(always)]
    pub unsafe fn from_near(handle: u32) -> Self {
        let address = range_start() + handle as usize * ALIGN_BYTES;
        // SAFETY: the sum is the address of a block, never null.
        MemberBlock(unsafe { NonNull::new_unchecked(address as *mut u8) })
    }

    /// # Safety
    /// As [`MemberBlock::from_near`].
    #[inline(always)]
    pub unsafe fn from_far(handle: u64) -> Self {
        // SAFETY: handles are addresses of blocks, never null.
        MemberBlock(unsafe { NonNull::new_unchecked(handle as *mut u8) })
    }

    /// Asks for the block's first line to be loaded.
    #[inline(always)]
    pub fn prefetch(self) {
        prefetch(self.0.as_ptr());
    }

    /// Length and the place where the bytes start.
    #[inline(always)]
    fn length(self) -> (usize, usize) {
        // SAFETY: a live block begins with its length.
        let first = unsafe { self.0.read() };
        if first < LENGTH_MORE {
            return (usize::from(first), 1);
        }
        self.long_length(first)
    }

    #[cold]
    fn long_length(self, first: u8) -> (usize, usize) {
        let mut len = usize::from(first & (LENGTH_MORE - 1));
        let mut at = 1;
        loop {
            // SAFETY: the byte before said that the length goes on here.
            let byte = unsafe { self.0.add(at).read() };
            len |= usize::from(byte & (LENGTH_MORE - 1)) << (LENGTH_BITS * at as u32);
            at += 1;
            if byte & LENGTH_MORE == 0 {
                return (len, at);
            }
        }
    }

    /// The member. The lifetime is the caller's: as long as the block lives.
    #[inline(always)]
    pub fn bytes<'a>(self) -> &'a [u8] {
        let (len, at) = self.length();
        // SAFETY: `len` initialised bytes follow the length in the live block; members never change.
        unsafe { slice::from_raw_parts(self.0.as_ptr().add(at), len) }
    }

    /// Bytes of the data region that the block occupies.
    #[inline]
    pub fn class_bytes(self) -> usize {
        let (len, at) = self.length();
        data_alloc::usable_size(at + len)
    }

    /// Moves the block out of a slab that is to be emptied.
    ///
    /// # Safety
    /// The caller owns the block alone and forgets it for the result.
    pub unsafe fn relocate(self, mover: &mut Mover) -> Option<Self> {
        let (len, at) = self.length();
        // SAFETY: allocated in `new` with this size; owned alone (contract).
        unsafe { mover.relocate(self.0, at + len) }.map(MemberBlock)
    }

    /// # Safety
    /// Nobody uses the block afterwards.
    #[inline]
    pub unsafe fn free(self) {
        let (len, at) = self.length();
        // SAFETY: allocated in `new` with this size; by the contract dead from here on.
        unsafe { data_alloc::free(self.0, at + len) }
    }
}

#[cfg(test)]
mod tests {
    use super::{MemberBlock, length_bytes, size_of_block};

    #[test]
    fn lengths_round_trip() {
        for len in [0, 1, 17, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152] {
            let member: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let block = MemberBlock::new(&member);
            assert_eq!(block.bytes(), member);
            assert!(block.class_bytes() >= size_of_block(len));
            // SAFETY: the block lives.
            assert_eq!(unsafe { MemberBlock::from_far(block.far_handle()) }, block);
            if let Some(near) = block.near_handle() {
                // SAFETY: the block lives.
                assert_eq!(unsafe { MemberBlock::from_near(near) }, block);
            }
            // SAFETY: this test is the only owner.
            unsafe { block.free() };
        }
        assert_eq!([127, 128, 16_384, u32::MAX as usize].map(length_bytes), [1, 2, 3, 5]);
    }
}
