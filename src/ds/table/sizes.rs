//! When segments grow and shrink, in numbers.

/// Buckets a segment may have: with the header line, block sizes of 2, 3, 4, 6, 8, 12 ..
/// 128 lines, which are size classes of the usual allocators.
pub(super) const BUCKET_COUNTS: [usize; 13] = [1, 2, 3, 5, 7, 11, 15, 23, 31, 47, 63, 95, 127];

/// Buckets of a full-grown segment, which splits into two of the same size. 8 KiB; blocks
/// of 16 KiB make every pause twice as long and save no memory.
pub(super) const MAX_BUCKETS: usize = 127;

/// Bounds of the fill at which full-grown segments split. Each has a threshold of its own,
/// drawn evenly between these from its prefix. The upper bound is twice the lower: then
/// the number of segments grows in proportion to the entries (at T * 2^x entries a
/// segment, a share 2^x - 1 has split), and the average fill is the lower bound at any
/// size of the table instead of swinging by a factor of two.
///
/// Measured, 8-byte handles, 0.8 to 2 M keys: 80..160 gives 14.1 to 14.5 bytes a key. Growth
/// in steps of 1.3 to 1.5 around a fill of 1.0 gives 13.2 to 13.9, but re-hashes every key
/// two to three times instead of once: inserts take 145 to 165 ns instead of 80.
const SPLIT_PERCENT_LOW: u32 = 80;
const SPLIT_PERCENT_HIGH: u32 = 2 * SPLIT_PERCENT_LOW;

/// Fill at which smaller segments grow.
const GROW_PERCENT: u32 = 100;

/// Fill below which a segment merges with its buddy or becomes smaller. Well below half
/// of the least that a split leaves, so that no removal undoes what an insert just did.
const SHRINK_PERCENT: usize = 30;

/// Fill that merging and shrinking leave at most: well below any growth threshold.
const SHRUNK_PERCENT: usize = 65;

const _: () = assert!(SHRINK_PERCENT * 2 < SHRUNK_PERCENT);
const _: () = assert!(SHRINK_PERCENT * 2 < SPLIT_PERCENT_LOW as usize);
const _: () = assert!(SHRUNK_PERCENT < SPLIT_PERCENT_LOW as usize);
const _: () = assert!(BUCKET_COUNTS[BUCKET_COUNTS.len() - 1] == MAX_BUCKETS);

/// While growth is only avoided it still happens at this fill of a segment's own slots: a
/// split then re-hashes about 2,700 entries, some 90 us.
pub(super) const AVOID_PERCENT: usize = 300;

/// Entries at which a segment grows.
pub(super) fn grow_threshold(bucket_count: usize, slots: usize, prefix: u64, depth: u32) -> u32 {
    let full_grown = bucket_count == MAX_BUCKETS;
    let percent = if full_grown { split_percent(prefix, depth) } else { GROW_PERCENT };
    (bucket_count * slots) as u32 * percent / 100
}

/// The split threshold of a segment, from a mix of its place in the table.
fn split_percent(prefix: u64, depth: u32) -> u32 {
    /// 2^64 over the golden ratio: an odd constant that spreads every input bit.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (prefix ^ u64::from(depth)).wrapping_mul(MIX);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(MIX) >> 32;
    let spread = u64::from(SPLIT_PERCENT_HIGH - SPLIT_PERCENT_LOW);
    SPLIT_PERCENT_LOW + ((mixed * (spread + 1)) >> 32) as u32
}

/// Entries below which a segment asks for shrinking. One of a single bucket can only
/// merge, and not even that when it is the whole table.
pub(super) fn shrink_threshold(bucket_count: usize, slots: usize, depth: u32) -> u32 {
    if (bucket_count, depth) == (1, 0) {
        return 0;
    }
    (bucket_count * slots * SHRINK_PERCENT / 100) as u32
}

/// Smallest segment that holds `len` entries without asking for growth at once.
pub(super) fn buckets_to_grow(len: usize, slots: usize, prefix: u64, depth: u32) -> Option<usize> {
    let fits = |&count: &usize| grow_threshold(count, slots, prefix, depth) as usize > len;
    BUCKET_COUNTS.into_iter().find(fits)
}

/// Smallest segment that holds `len` entries with room to spare.
pub(super) fn buckets_to_shrink(len: usize, slots: usize) -> Option<usize> {
    BUCKET_COUNTS.into_iter().find(|count| count * slots * SHRUNK_PERCENT >= len * 100)
}
