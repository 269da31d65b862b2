//! The limits at which values change their encoding, as the directives give them.

use crate::base::hash::HashSeed;

/// When a small collection leaves its listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedLimits {
    /// Elements (fields, members) at most.
    pub entries: usize,
    /// Length of an element at most, bytes.
    pub value_bytes: usize,
}

/// All limits, for readers that build values of any type.
#[derive(Clone, Copy, Debug)]
pub struct TypeLimits {
    /// Keys the hashes inside big collections.
    pub seed: HashSeed,
    /// `hash-max-listpack-entries`, `hash-max-listpack-value`.
    pub hash: PackedLimits,
    /// `set-max-listpack-entries`, `set-max-listpack-value`.
    pub set: PackedLimits,
    /// `set-max-intset-entries`.
    pub intset_entries: usize,
    /// `zset-max-listpack-entries`, `zset-max-listpack-value`.
    pub zset: PackedLimits,
    /// `list-max-listpack-size`: elements, or from -1 to -5 a size of 4 to 64 KiB.
    pub list_fill: i32,
    /// `list-compress-depth`: nodes at each end that stay uncompressed, 0 = never compress.
    pub list_compress_depth: i32,
    /// Length from which a list element gets a node of its own, bytes.
    pub list_packed_threshold_bytes: u64,
    /// `stream-node-max-bytes`, `stream-node-max-entries`; 0 = no limit.
    pub stream_node_bytes: usize,
    pub stream_node_entries: usize,
    /// Validate every element of packed values (`sanitize-dump-payload`).
    pub deep: bool,
}

impl TypeLimits {
    /// The built-in limits of Redis 7.2.
    pub fn new(seed: HashSeed) -> Self {
        TypeLimits {
            seed,
            hash: PackedLimits { entries: 512, value_bytes: 64 },
            set: PackedLimits { entries: 128, value_bytes: 64 },
            intset_entries: 512,
            zset: PackedLimits { entries: 128, value_bytes: 64 },
            list_fill: -2,
            list_compress_depth: 0,
            list_packed_threshold_bytes: 1 << 30,
            stream_node_bytes: 4096,
            stream_node_entries: 100,
            deep: true,
        }
    }
}
