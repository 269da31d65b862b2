//! How large a quicklist node may grow. Owns the reading of `list-max-listpack-size`.

/// The size classes of a negative fill, -1 to -5, bytes.
const SIZE_CLASSES_BYTES: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// The most bytes of a node whose fill counts elements, so that large ones do not pile up.
const COUNTED_NODE_MAX_BYTES: usize = 8192;
/// What an entry is assumed to cost beyond its text when asking whether it fits, bytes.
const ENTRY_OVERHEAD_BYTES: usize = 8;
/// Element size from which it gets a node of its own, unless set otherwise, bytes.
pub const DEFAULT_PACKED_THRESHOLD_BYTES: u32 = 1 << 30;
/// The highest threshold that may be set: a listpack ends at 4 GiB, less room for its overhead.
const MAX_PACKED_THRESHOLD_BYTES: u64 = (1 << 32) - (1 << 20);

/// The settings of a list, taken when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    fill: i16,
    compress_depth: u16,
    packed_threshold_bytes: u32,
}

impl Options {
    /// Settings from the configuration: `list-max-listpack-size` (-5 to -1 a size class, 0 and up
    /// a count) and `list-compress-depth`; values outside are brought inside.
    pub fn new(fill: i64, compress_depth: i64) -> Self {
        Self {
            fill: fill.clamp(-5, i64::from(i16::MAX)) as i16,
            compress_depth: compress_depth.clamp(0, i64::from(u16::MAX)) as u16,
            packed_threshold_bytes: DEFAULT_PACKED_THRESHOLD_BYTES,
        }
    }

    /// The same with another size from which an element gets a node of its own; 0 restores the
    /// default. `None` for a threshold near or above 4 GiB.
    pub fn with_packed_threshold(self, bytes: u64) -> Option<Self> {
        if bytes > MAX_PACKED_THRESHOLD_BYTES {
            return None;
        }
        let packed_threshold_bytes = match u32::try_from(bytes).ok()? {
            0 => DEFAULT_PACKED_THRESHOLD_BYTES,
            bytes => bytes,
        };
        Some(Self { packed_threshold_bytes, ..self })
    }

    /// Takes over the threshold of `other`.
    #[inline]
    pub(super) fn set_packed_threshold_of(&mut self, other: Self) {
        self.packed_threshold_bytes = other.packed_threshold_bytes;
    }

    /// `list-max-listpack-size` as used.
    pub fn fill(&self) -> i16 {
        self.fill
    }

    /// Number of nodes kept uncompressed at either end; 0 compresses none at all.
    pub fn compress_depth(&self) -> usize {
        usize::from(self.compress_depth)
    }

    /// Whether a listpack of `bytes` and `count` elements is too large for one node. Also the rule
    /// by which a list leaves its single listpack and becomes a quicklist.
    pub fn exceeds(&self, bytes: usize, count: usize) -> bool {
        match usize::try_from(self.fill) {
            Ok(fill) => bytes > COUNTED_NODE_MAX_BYTES || count > fill.max(1),
            Err(_) => {
                let class = usize::from(self.fill.unsigned_abs()) - 1;
                bytes > SIZE_CLASSES_BYTES[class]
            }
        }
    }

    /// Whether a list of one node of `bytes` and `count` elements may be a listpack of its own;
    /// one that was larger only below half of the limits, lest it change back and forth.
    pub fn allows_single(&self, bytes: usize, count: usize, was_larger: bool) -> bool {
        let share = if was_larger { 2 } else { 1 };
        match usize::try_from(self.fill) {
            Ok(fill) => count <= fill.max(1) / share,
            Err(_) => bytes <= SIZE_CLASSES_BYTES[usize::from(self.fill.unsigned_abs()) - 1] / share,
        }
    }

    /// Whether an element of `text_len` bytes gets a node of its own.
    pub(super) fn is_large(&self, text_len: usize) -> bool {
        text_len >= self.packed_threshold_bytes as usize
    }

    /// Whether a node of `bytes` and `count` elements takes one more of `text_len` bytes.
    pub(super) fn has_room(&self, bytes: usize, count: usize, text_len: usize) -> bool {
        !self.is_large(text_len)
            && !self.exceeds(bytes.saturating_add(text_len + ENTRY_OVERHEAD_BYTES), count + 1)
    }
}

impl Default for Options {
    /// The defaults of Redis: 8 KiB nodes, no compression.
    fn default() -> Self {
        Self::new(-2, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn size_classes_and_counts() {
        for (fill, limit) in [(-1, 4096), (-2, 8192), (-3, 16_384), (-4, 32_768), (-5, 65_536)] {
            let options = Options::new(fill, 0);
            assert!(!options.exceeds(limit, 1_000_000) && options.exceeds(limit + 1, 1));
        }
        assert_eq!(Options::new(-9, -1), Options::new(-5, 0));
        assert_eq!(Options::new(1 << 40, 1 << 40).fill(), i16::MAX);
        let counted = Options::new(3, 0);
        assert!(!counted.exceeds(8192, 3) && counted.exceeds(10, 4) && counted.exceeds(8193, 1));
        assert!(!Options::new(0, 0).exceeds(10, 1) && Options::new(0, 0).exceeds(10, 2));
    }

    #[test]
    fn packed_threshold_has_a_limit_and_a_default() {
        let options = Options::default();
        assert_eq!(options.with_packed_threshold(0), Some(options));
        assert!(options.with_packed_threshold((1 << 32) - (1 << 20)).is_some());
        assert_eq!(options.with_packed_threshold((1 << 32) - (1 << 20) + 1), None);
        let low = options.with_packed_threshold(5).expect("allowed");
        assert!(low.is_large(5) && !low.is_large(4));
    }
}
