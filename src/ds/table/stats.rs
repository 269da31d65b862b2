//! Figures for DEBUG HTSTATS and MEMORY, and the table's invariants.
#![allow(unsafe_code)]

use super::bucket::{BucketPtr, Handle};
use super::memory::{LINE_BYTES, Ledger};
use super::node::{Directory, NodeRef};
use super::segment::SegmentPtr;
use super::{Resolver, Table};

/// Longest chain with a place of its own in the histogram.
pub const CHAIN_HISTOGRAM: usize = 8;

/// The shape of a table at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Entries.
    pub entries: usize,
    /// Entries with an expiry.
    pub volatile_entries: usize,
    /// Segments.
    pub segments: usize,
    /// Buckets in segments.
    pub buckets: usize,
    /// Buckets chained behind full ones.
    pub overflow_buckets: usize,
    /// Entries that would fit into the buckets in segments.
    pub slots: usize,
    /// Places of all directories.
    pub directory_places: usize,
    /// Most hash bits that a segment's prefix has.
    pub max_depth: u32,
    /// Buckets of the longest chain.
    pub max_chain: usize,
    /// Chains by length: `[0]` empty, `[i]` of i buckets, the last one of as many or more.
    pub chains: [usize; CHAIN_HISTOGRAM + 1],
    /// Bytes of all blocks.
    pub memory_bytes: usize,
}

impl TableStats {
    /// Entries a slot: above 1.0 only with chains.
    pub fn load(&self) -> f64 {
        self.entries as f64 / self.slots.max(1) as f64
    }

    fn count_chain<H: Handle>(&mut self, chain: BucketPtr<H>) {
        let (buckets, entries) = chain.chain_size();
        let length = if entries == 0 { 0 } else { buckets };
        self.max_chain = self.max_chain.max(length);
        self.chains[length.min(CHAIN_HISTOGRAM)] += 1;
    }
}

impl<H: Handle> Table<H> {
    /// Walks all buckets: time in proportion to the table.
    pub fn stats(&self) -> TableStats {
        let mut stats = TableStats {
            entries: self.len,
            volatile_entries: self.volatile_len,
            buckets: self.ledger.main_buckets,
            overflow_buckets: self.ledger.overflow_buckets,
            slots: self.ledger.main_buckets * H::SLOTS,
            memory_bytes: self.ledger.bytes,
            ..TableStats::default()
        };
        self.directories(self.top, &mut |directory| stats.directory_places += directory.len());
        let mut next = self.segment(0);
        while let Some(segment) = next {
            stats.segments += 1;
            stats.max_depth = stats.max_depth.max(segment.depth());
            (0..segment.bucket_count()).for_each(|i| stats.count_chain(segment.bucket(i)));
            next = self.segment_after(segment);
        }
        stats
    }

    fn directories(&self, node: NodeRef, visit: &mut impl FnMut(Directory)) {
        if node.is_none() || !node.is_directory() {
            return;
        }
        // SAFETY: reached from `top`, so live.
        let directory = unsafe { Directory::from_node(node) };
        visit(directory);
        let mut index = 0;
        while index < directory.len() {
            let child = directory.get(index);
            self.directories(child, visit);
            index += 1 << (directory.bits - child.local_depth());
        }
    }

    /// Checks everything that must always hold: directory spans, prefixes, the place and
    /// tag of every handle, canonical chains, thresholds, counters, expiry bounds.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check_invariants(&self, resolver: &impl Resolver<H>) {
        let mut total = Totals::default();
        if !self.top.is_none() {
            assert_eq!(self.top.local_depth(), 0);
            check_node::<H>(self.top, 0, 0, resolver, &mut total);
        }
        assert_eq!(total.entries, self.len, "entries");
        assert_eq!(total.volatile, self.volatile_len, "volatile entries");
        assert_eq!(total.ledger, self.ledger, "memory");
    }
}

#[derive(Default)]
struct Totals {
    entries: usize,
    volatile: usize,
    ledger: Ledger,
}

fn check_node<H: Handle>(
    node: NodeRef,
    prefix: u64,
    depth: u32,
    resolver: &impl Resolver<H>,
    total: &mut Totals,
) {
    if !node.is_directory() {
        // SAFETY: reached from the top of a borrowed table, so live.
        let segment = unsafe { SegmentPtr::<H>::from_node(node) };
        assert_eq!((segment.header().prefix, segment.depth()), (prefix, depth), "prefix");
        assert_eq!(segment.bucket_count(), node.size(), "bucket count");
        return check_segment(segment, resolver, total);
    }
    // SAFETY: likewise.
    let directory = unsafe { Directory::from_node(node) };
    let lines = (directory.len() * size_of::<NodeRef>()).div_ceil(LINE_BYTES);
    total.ledger.bytes += lines * LINE_BYTES;
    let (mut index, mut deepest) = (0, 0);
    while index < directory.len() {
        let child = directory.get(index);
        let local_depth = child.local_depth();
        assert!((1..=directory.bits).contains(&local_depth), "local depth");
        let span = 1usize << (directory.bits - local_depth);
        assert!(index.is_multiple_of(span), "span starts at its own multiple");
        assert!((index..index + span).all(|place| directory.get(place) == child), "span");
        let child_prefix = prefix | (index as u64) << (64 - directory.bits - depth);
        check_node::<H>(child, child_prefix, depth + local_depth, resolver, total);
        deepest = deepest.max(local_depth);
        index += span;
    }
    assert_eq!(deepest, directory.bits, "no directory is larger than its children need");
}

fn check_segment<H: Handle>(segment: SegmentPtr<H>, resolver: &impl Resolver<H>, total: &mut Totals) {
    let header = segment.header();
    let (mut entries, mut volatile) = (0, 0);
    for index in 0..segment.bucket_count() {
        check_chain(segment.bucket(index), total);
        segment.bucket(index).for_each(|slot| {
            let handle = slot.handle();
            let hash = resolver.hash(handle);
            assert_eq!(segment.index_of(hash), index, "bucket of a handle");
            assert_eq!(slot.bucket.tag(slot.index), hash as u8, "tag of a handle");
            let in_range =
                hash.wrapping_sub(header.prefix) <= segment.end().wrapping_sub(header.prefix).wrapping_sub(1);
            assert!(in_range, "segment of a handle");
            assert!(hash >= segment.bucket_start(index), "start of the bucket");
            entries += 1;
            if let Some(expiry_ms) = resolver.expiry_ms(handle) {
                volatile += 1;
                assert!(header.earliest_expiry_ms <= expiry_ms, "bound of the expiry times");
            }
        });
    }
    assert_eq!((entries, volatile), (header.len, header.volatile_count), "counts of a segment");
    assert!(volatile > 0 || header.earliest_expiry_ms == u64::MAX, "bound without volatile entry");
    total.entries += entries as usize;
    total.volatile += volatile as usize;
    total.ledger.main_buckets += segment.bucket_count();
    total.ledger.bytes += (segment.bucket_count() + 1) * LINE_BYTES;
}

fn check_chain<H: Handle>(first: BucketPtr<H>, total: &mut Totals) {
    let mut bucket = first;
    while let Some(next) = bucket.next() {
        assert_eq!(bucket.count(), H::SLOTS - H::LINK_SLOTS, "a bucket with a link is full");
        assert!(next.count() > H::LINK_SLOTS, "a chained bucket is needed");
        total.ledger.overflow_buckets += 1;
        total.ledger.bytes += LINE_BYTES;
        bucket = next;
    }
}
