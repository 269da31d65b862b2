//! The growable byte vector in which the packed structures keep their bytes.
//!
//! Owns the growth rule; the bytes lie in the data region, behind one thin pointer
//! (`sys::data_alloc::DataBytes`). The packed structures use nothing but what this type offers.
//!
//! ```text
//!   | used bytes ........................ | slack, at most a quarter |
//!   0                                     len                        capacity
//! ```
//!
//! Trade-off: `Vec` doubles, which wastes up to half of a small collection; exact growth copies on
//! each push. Here the block, header included, rises through eight steps for each doubling up to
//! 512 bytes, four above, all of them size classes of the allocator: at most 12 % or 25 % slack,
//! a copy each 1.12x or 1.25x.
#![allow(unsafe_code)]

use crate::sys::data_alloc::{self, ALIGN_BYTES, Mover, Relocate};
use std::ptr::NonNull;

/// Length and capacity, which stand in the block before the bytes (`sys::data_alloc::DataBytes`).
const BLOCK_HEADER_BYTES: usize = 8;
/// Blocks up to this size grow in finer steps: small collections are many, and short to copy.
const FINE_BLOCK_BYTES: usize = 512;
/// Smallest capacity given to a vector that holds anything, bytes.
const MIN_CAPACITY_BYTES: usize = 16;

/// A growable vector of bytes of the data set: one thin pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataBytes(data_alloc::DataBytes);

impl Relocate for DataBytes {
    fn relocate(&mut self, mover: &mut Mover) {
        self.0.relocate(mover);
    }
}

impl DataBytes {
    /// An empty vector; allocates nothing.
    pub fn new() -> Self {
        Self(data_alloc::DataBytes::new())
    }

    /// An empty vector with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(data_alloc::DataBytes::with_capacity(capacity))
    }

    /// A copy of `bytes`, without slack.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(data_alloc::DataBytes::from_slice(bytes))
    }

    /// The bytes in use.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The bytes in use, to be changed in place.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }

    /// Number of bytes in use.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no byte is in use.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that fit without growing.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Bytes of the data region in use, with the header, by size class.
    pub fn memory_bytes(&self) -> usize {
        self.0.allocated_bytes()
    }

    /// Appends `bytes`; amortised O(bytes).
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.grow_for(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// Cuts to `len` bytes; no effect on a shorter vector.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Replaces the `old_len` bytes at `at` by a window of `new_len` bytes of unspecified content
    /// and returns it to be filled. Moves the tail once: O(tail).
    ///
    /// # Panics
    /// If `at + old_len` exceeds the length: the caller computes both from its own layout.
    #[inline]
    pub fn resize_window(&mut self, at: usize, old_len: usize, new_len: usize) -> &mut [u8] {
        self.grow_for(new_len.saturating_sub(old_len));
        self.0.resize_window(at, old_len, new_len)
    }

    /// Gives the slack back to the allocator.
    pub fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Gives the slack back when more than half of the capacity is unused.
    #[inline]
    pub fn shrink_if_sparse(&mut self) {
        if self.0.len() < self.0.capacity() / 2 {
            self.0.shrink_to(step_capacity(self.0.len()));
        }
    }

    /// Gives up ownership for one thin pointer.
    pub fn into_raw(self) -> NonNull<u8> {
        self.0.into_raw()
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `raw` came from [`Self::into_raw`], once.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: the same contract.
        Self(unsafe { data_alloc::DataBytes::from_raw(raw) })
    }

    /// The bytes behind a thin pointer.
    ///
    /// # Safety
    /// `raw` came from [`Self::into_raw`]; nobody changes or frees it during `'a`.
    #[inline]
    pub unsafe fn slice_of_raw<'a>(raw: NonNull<u8>) -> &'a [u8] {
        // SAFETY: the same contract.
        unsafe { data_alloc::DataBytes::slice_of_raw(raw) }
    }

    #[inline]
    fn grow_for(&mut self, added: usize) {
        let len = self.0.len();
        if self.0.capacity() - len < added {
            self.0.reserve_exact(step_capacity(len.saturating_add(added)) - len);
        }
    }
}

impl From<&[u8]> for DataBytes {
    fn from(bytes: &[u8]) -> Self {
        Self::copy_of(bytes)
    }
}

/// The smallest capacity step that holds `len` bytes.
fn step_capacity(len: usize) -> usize {
    if len <= MIN_CAPACITY_BYTES {
        return MIN_CAPACITY_BYTES;
    }
    let block = len.saturating_add(BLOCK_HEADER_BYTES);
    let steps_log2 = if block <= FINE_BLOCK_BYTES { 3 } else { 2 };
    let step = (1usize << ((block - 1).ilog2() - steps_log2)).max(ALIGN_BYTES);
    block.div_ceil(step).saturating_mul(step) - BLOCK_HEADER_BYTES
}

#[cfg(test)]
mod tests {
    use super::{ALIGN_BYTES, BLOCK_HEADER_BYTES, DataBytes, FINE_BLOCK_BYTES, step_capacity};
    use crate::sys::data_alloc::usable_size;
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn capacity_rises_in_steps_of_the_allocator() {
        let steps: Vec<usize> =
            [1, 16, 17, 24, 25, 120, 121, 505, 1017].iter().map(|&len| step_capacity(len)).collect();
        assert_eq!(steps, [16, 16, 24, 24, 32, 120, 136, 632, 1272]);
        for len in 16..10_000 {
            let (capacity, fine) = (step_capacity(len), len <= FINE_BLOCK_BYTES - BLOCK_HEADER_BYTES);
            let slack = if fine { len / 8 } else { len / 4 };
            assert!(capacity >= len && capacity <= len + slack + ALIGN_BYTES, "{len} -> {capacity}");
            let block = capacity + BLOCK_HEADER_BYTES;
            assert_eq!(usable_size(block), block, "{len}: the whole class is used");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn window_agrees_with_vec_splice(
            start in proptest::collection::vec(any::<u8>(), 0..80),
            edits in proptest::collection::vec(
                (any::<u16>(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..20),
        ) {
            let mut model = start.clone();
            let mut bytes = DataBytes::copy_of(&start);
            for (at, old_len, new) in edits {
                let at = usize::from(at) % (model.len() + 1);
                let old_len = usize::from(old_len) % (model.len() - at + 1);
                bytes.resize_window(at, old_len, new.len()).copy_from_slice(&new);
                model.splice(at..at + old_len, new);
                prop_assert_eq!(bytes.as_slice(), model.as_slice());
                bytes.shrink_if_sparse();
                prop_assert!(bytes.capacity() >= bytes.len());
            }
        }
    }
}
