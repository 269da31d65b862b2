//! Ways through the table: SCAN's cursor, the iterator, random entries.
#![allow(unsafe_code)]

use super::bucket::{BucketPtr, Handle, Slot};
use super::segment::SegmentPtr;
use super::{Resolver, Table};

/// A cursor is the top 48 bits of a position in hash order: every bucket starts at such a
/// position, and the cursor stays below 2^63 even with 14 more bits (a cluster slot).
pub const CURSOR_BITS: u32 = 48;

/// Tries of [`Table::random`]. The chance of a try is about 1 in 4, in a sparse table
/// (kept from shrinking) down to 1 in 50: 1,000 tries all fail less than once in 10^8 calls.
const RANDOM_TRIES: usize = 1000;

/// Buckets that [`Table::sample`] walks for each entry asked for, and at least.
const SAMPLE_BUCKETS_PER_ENTRY: usize = 4;
const SAMPLE_BUCKETS_MIN: usize = 64;

impl<H: Handle> Table<H> {
    /// One step of SCAN: visits all entries of one bucket and its chain and returns the
    /// cursor for the next step, 0 at the end. Start with 0.
    ///
    /// An entry that is in the table during a whole scan is visited at least once, however
    /// the table grows or shrinks in between: a cursor means "everything with a smaller
    /// hash was visited", and buckets lie in hash order. After shrinking entries may be
    /// visited twice. Any number is a valid cursor.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(H)) -> u64 {
        let position = cursor << (64 - CURSOR_BITS);
        let Some(segment) = self.segment(position) else {
            return 0;
        };
        if segment.header().len == 0 {
            return segment.end() >> (64 - CURSOR_BITS);
        }
        let index = segment.index_of(position);
        segment.bucket(index).for_each(|slot| visit(slot.handle()));
        segment.bucket_start(index + 1) >> (64 - CURSOR_BITS)
    }

    /// All handles in hash order.
    pub fn iter(&self) -> Iter<'_, H> {
        let segment = self.segment(0);
        let bucket = segment.map(|segment| segment.bucket(0));
        let present = bucket.map_or(0, BucketPtr::present);
        Iter { table: self, segment, index: 0, bucket, present }
    }

    /// The segment behind this one in hash order.
    pub(super) fn segment_after(&self, segment: SegmentPtr<H>) -> Option<SegmentPtr<H>> {
        match segment.end() {
            0 => None,
            position => self.segment(position),
        }
    }

    /// An entry chosen with equal chances; `None` only in an empty table.
    ///
    /// A random position picks a bucket with the chance of its segment's share of hash order
    /// and its own in the segment; it is accepted with a chance in proportion to its
    /// entries, divided by that share. What
    /// bias is left: a chain with more than mean + 4 sqrt(mean) + 4 entries (mean: entries
    /// a bucket) counts as if it had that many, fewer than 1 in 10,000 entries are in such.
    /// Takes about 4 tries, a cache miss each; about mean + 4 sqrt(mean) + 4 over mean.
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<H> {
        if self.len == 0 {
            return None;
        }
        let mean = self.len as f64 / self.ledger.main_buckets as f64;
        let crowd = (mean + 4.0 * mean.sqrt() + 4.0) / mean;
        let crowded_len = self.len as f64 * crowd;
        for _ in 0..RANDOM_TRIES {
            let position = rng.u64(..);
            let segment = self.segment(position)?;
            let (index, share) = even_bucket(segment, position);
            let bucket = segment.bucket(index);
            let (_, entries) = bucket.chain_size();
            let ceiling = crowded_len * share;
            // Below the number of entries with the chance wanted, and then evenly spread over
            // them, unless the chain is one of those that reach beyond the ceiling.
            let place = rng.f64() * ceiling;
            if place < entries as f64 {
                let crowded = entries as f64 > ceiling;
                return nth(bucket, if crowded { rng.usize(..entries) } else { place as usize });
            }
        }
        self.iter_from(rng.u64(..)).or_else(|| self.iter_from(0))
    }

    /// The first entry of the first occupied bucket from `position` on.
    fn iter_from(&self, position: u64) -> Option<H> {
        let mut segment = self.segment(position)?;
        let mut index = segment.index_of(position);
        loop {
            if segment.header().len > 0 {
                let mut buckets = (index..segment.bucket_count()).map(|i| segment.bucket(i));
                if let Some(bucket) = buckets.find(|bucket| bucket.present() != 0) {
                    return nth(bucket, 0);
                }
            }
            (segment, index) = (self.segment_after(segment)?, 0);
        }
    }

    /// Calls `visit` with all entries of the buckets from a random one on, until there were
    /// `count` or more, and returns how many there were. Whole buckets, so that each entry has the
    /// same chance wherever in its bucket it stands; the entries of a bucket are loaded side by
    /// side, so that seven cost little more than one. Good for eviction: neighbours share nothing
    /// but hash bits. Fewer than `count`, even none, come from a table so sparse that the bounded
    /// walk ends first.
    pub fn sample(
        &self,
        count: usize,
        rng: &mut fastrand::Rng,
        resolver: &impl Resolver<H>,
        visit: impl FnMut(H),
    ) -> usize {
        self.sample_where(count, rng, resolver, |_| true, |_| true, visit)
    }

    /// [`Table::sample`] from segments that `wanted` accepts, of entries that `keep` does.
    pub(super) fn sample_where(
        &self,
        count: usize,
        rng: &mut fastrand::Rng,
        resolver: &impl Resolver<H>,
        wanted: impl Fn(SegmentPtr<H>) -> bool,
        keep: impl Fn(H) -> bool,
        mut visit: impl FnMut(H),
    ) -> usize {
        let start = rng.u64(..);
        let Some(mut segment) = self.segment(start).filter(|_| count > 0) else {
            return 0;
        };
        let mut index = segment.index_of(start);
        let mut found = 0;
        let mut steps = (count * SAMPLE_BUCKETS_PER_ENTRY).max(SAMPLE_BUCKETS_MIN);
        while steps > 0 && found < count {
            steps -= 1;
            let skip = segment.header().len == 0 || !wanted(segment);
            if skip || index == segment.bucket_count() {
                let next = self.segment_after(segment).or_else(|| self.segment(0));
                (segment, index) = (next.expect("a table with a segment has a first one"), 0);
                continue;
            }
            let chain = segment.bucket(index);
            chain.for_each(|slot| resolver.prefetch(slot.handle()));
            chain.for_each(|slot| {
                if keep(slot.handle()) {
                    visit(slot.handle());
                    found += 1;
                }
            });
            index += 1;
        }
        found
    }
}

/// A bucket of the segment, all with equal chances (unlike those of hashes, which differ by
/// 0.2 %), by the bits of `position` that did not choose the segment; and the chance that a
/// random position leads to it.
#[inline]
fn even_bucket<H: Handle>(segment: SegmentPtr<H>, position: u64) -> (usize, f64) {
    let header = segment.header();
    let rest = (position << header.depth) >> 32;
    let index = (rest * u64::from(header.bucket_count)) >> 32;
    (index as usize, 1.0 / (u64::from(header.bucket_count) << header.depth) as f64)
}

/// Entry number `wanted` of a chain, in chain order.
fn nth<H: Handle>(bucket: BucketPtr<H>, wanted: usize) -> Option<H> {
    let (mut bucket, mut before) = (bucket, wanted as u32);
    loop {
        let mut present = bucket.present();
        let count = present.count_ones();
        if before < count {
            for _ in 0..before {
                present &= present - 1;
            }
            return Some(Slot { bucket, index: present.trailing_zeros() as usize }.handle());
        }
        before -= count;
        bucket = bucket.next()?;
    }
}

/// Iterator over all handles, in hash order.
#[derive(Debug)]
pub struct Iter<'a, H: Handle> {
    table: &'a Table<H>,
    segment: Option<SegmentPtr<H>>,
    index: usize,
    bucket: Option<BucketPtr<H>>,
    /// Slots of `bucket` still to come.
    present: u32,
}

impl<H: Handle> Iter<'_, H> {
    /// Goes to the next bucket: of the chain, of the segment, of the table.
    fn advance(&mut self) -> Option<()> {
        let segment = self.segment?;
        self.bucket = self.bucket.and_then(BucketPtr::next);
        if self.bucket.is_none() {
            self.index += 1;
            if self.index == segment.bucket_count() {
                self.index = 0;
                self.segment = self.table.segment_after(segment);
            }
            self.bucket = self.segment.map(|segment| segment.bucket(self.index));
        }
        self.present = self.bucket?.present();
        Some(())
    }
}

impl<H: Handle> Iterator for Iter<'_, H> {
    type Item = H;

    fn next(&mut self) -> Option<H> {
        while self.present == 0 {
            self.advance()?;
        }
        let index = self.present.trailing_zeros() as usize;
        self.present &= self.present - 1;
        Some(Slot { bucket: self.bucket?, index }.handle())
    }
}
