//! Expiry without a second index: each segment counts its volatile entries and keeps a
//! lower bound of their expiry times, so that active expiry looks only at segments with
//! something due, and eviction of volatile entries skips segments without any.
//!
//! The bound falls with every expiry noted and rises in two ways: a rebuild computes it
//! anew, and a visit that passes all buckets of a segment in order sets it to the least
//! expiry it saw (or that was noted meanwhile). An interrupted visit changes nothing.

use super::bucket::Handle;
use super::segment::SegmentPtr;
use super::{Resolver, Table};

/// Segments that one call of [`Table::visit_due`] skips at most: about 10 us.
const SKIPPED_SEGMENTS: usize = 256;

/// Times that [`Table::sample_volatile`] repeats the bounded walk of `sample`, which
/// covers about one segment: 64 rounds look at some thousand buckets.
const SAMPLE_ROUNDS: usize = 64;

/// What a call of [`Table::visit_due`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueVisit {
    /// Where to go on; 0 when the end of the table was reached.
    pub next_position: u64,
    /// Entries found due.
    pub due: usize,
    /// Whether entries were looked at (else segments were only skipped).
    pub visited_bucket: bool,
}

impl<H: Handle> Table<H> {
    /// Entries with an expiry.
    pub fn volatile_len(&self) -> usize {
        self.volatile_len
    }

    /// Tells that the entry with this hash, which had no expiry, now expires at
    /// `expiry_ms`. (Inserting and removing entries keeps count by itself.)
    pub fn note_volatile(&mut self, hash: u64, expiry_ms: u64) {
        self.expiry_changed(hash, None, Some(expiry_ms));
    }

    /// Tells that the entry with this hash lost its expiry.
    pub fn forget_volatile(&mut self, hash: u64) {
        self.expiry_changed(hash, Some(0), None);
    }

    /// Tells that the expiry of the entry with this hash changed.
    pub fn expiry_changed(&mut self, hash: u64, before: Option<u64>, after: Option<u64>) {
        let Some(mut segment) = self.segment(hash) else {
            debug_assert!(false, "no entry has this hash");
            return;
        };
        match (before, after) {
            (None, None) => {}
            (None, Some(expiry_ms)) => {
                segment.note_volatile(expiry_ms);
                self.volatile_len += 1;
            }
            (Some(_), Some(expiry_ms)) => segment.lower_expiry(expiry_ms),
            (Some(_), None) => {
                segment.forget_volatile();
                self.volatile_len -= 1;
            }
        }
    }

    /// One step of active expiry: from `position` on, skips segments in which nothing is
    /// due at `now_ms` (up to 256), then looks at one bucket and calls `due` with each
    /// entry whose time has come. Start with position 0, go on with `next_position`.
    ///
    /// `due` returns whether the caller will remove the entry before its next step; an
    /// entry that stays keeps its segment due.
    pub fn visit_due(
        &mut self,
        now_ms: u64,
        position: u64,
        resolver: &impl Resolver<H>,
        due: impl FnMut(H) -> bool,
    ) -> DueVisit {
        let mut visit = DueVisit { next_position: position, due: 0, visited_bucket: false };
        for _ in 0..SKIPPED_SEGMENTS {
            let Some(segment) = self.segment(visit.next_position) else {
                visit.next_position = 0;
                return visit;
            };
            if segment.header().earliest_expiry_ms <= now_ms {
                let index = segment.index_of(visit.next_position);
                visit.due = visit_bucket(segment, index, now_ms, resolver, due);
                visit.next_position = segment.bucket_start(index + 1);
                visit.visited_bucket = true;
                return visit;
            }
            visit.next_position = segment.end();
            if visit.next_position == 0 {
                break;
            }
        }
        visit
    }

    /// A lower bound of all expiry times: `u64::MAX` with no volatile entry. Walks all
    /// segments; for a look now and then.
    pub fn earliest_expiry_ms(&self) -> u64 {
        let mut earliest_ms = u64::MAX;
        let mut next = self.segment(0);
        while let Some(segment) = next {
            earliest_ms = earliest_ms.min(segment.header().earliest_expiry_ms);
            next = self.segment_after(segment);
        }
        earliest_ms
    }

    /// [`Table::sample`] of volatile entries only: segments without any are skipped.
    pub fn sample_volatile(
        &self,
        count: usize,
        rng: &mut fastrand::Rng,
        resolver: &impl Resolver<H>,
        mut visit: impl FnMut(H),
    ) -> usize {
        let mut found = 0;
        for _ in 0..SAMPLE_ROUNDS {
            if found >= count.min(self.volatile_len) {
                break;
            }
            found += self.sample_where(
                count - found,
                rng,
                resolver,
                |segment| segment.header().volatile_count > 0,
                |handle| resolver.expiry_ms(handle).is_some(),
                &mut visit,
            );
        }
        found
    }
}

/// Looks at one chain and keeps the segment's account of the visit.
fn visit_bucket<H: Handle>(
    mut segment: SegmentPtr<H>,
    index: usize,
    now_ms: u64,
    resolver: &impl Resolver<H>,
    mut due: impl FnMut(H) -> bool,
) -> usize {
    let chain = segment.bucket(index);
    chain.for_each(|slot| resolver.prefetch(slot.handle()));
    let (mut found, mut staying_ms) = (0, u64::MAX);
    chain.for_each(|slot| {
        let Some(expiry_ms) = resolver.expiry_ms(slot.handle()) else {
            return;
        };
        let is_due = expiry_ms <= now_ms;
        found += usize::from(is_due);
        if !(is_due && due(slot.handle())) {
            staying_ms = staying_ms.min(expiry_ms);
        }
    });
    let header = segment.header_mut();
    if index == 0 {
        (header.visit_next, header.visit_earliest_ms) = (0, u64::MAX);
    }
    header.visit_earliest_ms = header.visit_earliest_ms.min(staying_ms);
    if usize::from(header.visit_next) == index {
        header.visit_next += 1;
    }
    if usize::from(header.visit_next) == usize::from(header.bucket_count) {
        header.earliest_expiry_ms = header.visit_earliest_ms;
    }
    found
}
