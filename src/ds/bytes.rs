//! The growable byte vector in which the packed structures keep their bytes.
//!
//! Owns the growth rule, and is the one place to change when the bytes of values move to an
//! allocator of their own: the packed structures use nothing but what this type offers.
//!
//! ```text
//!   | used bytes ........................ | slack, at most a quarter |
//!   0                                     len                        capacity
//! ```
//!
//! Trade-off: `Vec` doubles, which wastes up to half of a small collection; exact growth copies on
//! each push. Here the capacity rises through four steps for each doubling (16, 20, 24, 28, 32,
//! 40, ...), the size classes of common allocators: at most 25 % slack, a copy each 1.25x.

/// Smallest capacity given to a vector that holds anything, bytes.
const MIN_CAPACITY_BYTES: usize = 16;

/// A growable vector of bytes of the data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataBytes(Vec<u8>);

impl DataBytes {
    /// An empty vector; allocates nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty vector with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// A copy of `bytes`, without slack.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The bytes in use.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes in use, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Number of bytes in use.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no byte is in use.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes held from the allocator.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
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
    pub fn resize_window(&mut self, at: usize, old_len: usize, new_len: usize) -> &mut [u8] {
        let len = self.0.len();
        let tail = at + old_len;
        assert!(tail <= len, "window {at}+{old_len} outside {len} bytes");
        if new_len > old_len {
            let added = new_len - old_len;
            self.grow_for(added);
            self.0.resize(len + added, 0);
            self.0.copy_within(tail..len, tail + added);
        } else if new_len < old_len {
            self.0.copy_within(tail..len, at + new_len);
            self.0.truncate(len - (old_len - new_len));
        }
        &mut self.0[at..at + new_len]
    }

    /// Gives the slack back to the allocator.
    pub fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Gives the slack back when more than half of the capacity is unused.
    pub fn shrink_if_sparse(&mut self) {
        if self.0.len() < self.0.capacity() / 2 {
            self.0.shrink_to(step_capacity(self.0.len()));
        }
    }

    /// The bytes as a plain vector.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    fn grow_for(&mut self, added: usize) {
        let len = self.0.len();
        if self.0.capacity() - len < added {
            let wanted = step_capacity(len.saturating_add(added));
            self.0.reserve_exact(wanted - len);
        }
    }
}

impl From<Vec<u8>> for DataBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// The smallest capacity step that holds `len` bytes: four steps for each doubling.
fn step_capacity(len: usize) -> usize {
    if len <= MIN_CAPACITY_BYTES {
        return MIN_CAPACITY_BYTES;
    }
    let step = 1usize << ((len - 1).ilog2() - 2);
    len.div_ceil(step).saturating_mul(step)
}

#[cfg(test)]
mod tests {
    use super::{DataBytes, step_capacity};
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn capacity_rises_in_quarter_steps() {
        let steps: Vec<usize> =
            [1, 16, 17, 20, 21, 25, 29, 33, 41].iter().map(|&len| step_capacity(len)).collect();
        assert_eq!(steps, [16, 16, 20, 20, 24, 28, 32, 40, 48]);
        for len in 16..10_000 {
            let capacity = step_capacity(len);
            assert!(capacity >= len && capacity * 4 <= len * 5 + 4, "{len} -> {capacity}");
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
            let mut bytes = DataBytes::from(start);
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
