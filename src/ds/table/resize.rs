//! Growth and shrinking, one segment at a time.
//!
//! ```text
//! full:    grow in place (1, 2, 3, 5 .. 95, 127 buckets), then split 127 -> 127 + 127
//! sparse:  merge with the buddy when both fit into one, else shrink in place
//! ```
//!
//! Thresholds lie far apart (full 0.8 or more, sparse 0.3, at most 0.65 after shrinking), so
//! a rebuild is paid for by a number of inserts or removals in proportion to the segment.
//! Each call does one rebuild (two when a split leaves one half almost empty).
#![allow(unsafe_code)]

use super::bucket::Handle;
use super::memory::Ledger;
use super::node::{Directory, MAX_DEPTH, MAX_DIRECTORY_BITS, MAX_LEVELS, NodeRef};
use super::segment::SegmentPtr;
use super::sizes::{AVOID_PERCENT, MAX_BUCKETS, buckets_to_grow, buckets_to_shrink};
use super::{ResizePolicy, Resolver, Table};

/// Handles whose entries are being loaded while a segment is poured into others. Enough
/// to keep all line-fill buffers of a core busy (10 to 24).
const LOADS_IN_FLIGHT: usize = 32;

/// Below this many directory places none is refused.
const FREE_DIRECTORY_PLACES: usize = 64;

/// Entries that must stand behind each directory place (8 bytes): hashes that agree in
/// many leading bits (a broken hash function) must not blow up the directory.
const ENTRIES_PER_DIRECTORY_PLACE: usize = 64;

/// An emptied table of at most this many buckets (8 full-grown segments) is freed at once.
const FREED_AT_ONCE_BUCKETS: usize = 8 * MAX_BUCKETS;

/// Entries a full-grown segment is expected to take when a table is sized in advance.
const RESERVED_FILL_PERCENT: usize = 65;

/// A directory on the way to a segment.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub directory: Directory,
    /// Bits of its own directory that it consumes.
    pub local_depth: u32,
    /// Hash bits left when entering it.
    pub rest: u64,
}

/// The way from the top to a segment.
pub(super) struct Path {
    pub steps: [Option<Step>; MAX_LEVELS],
    pub levels: usize,
    /// Bits that the segment consumes of the last directory.
    pub leaf_depth: u32,
}

impl Path {
    fn last(&self) -> Option<Step> {
        self.levels.checked_sub(1).and_then(|level| self.steps[level])
    }
}

impl<H: Handle> Table<H> {
    pub(super) fn path(&self, hash: u64) -> Path {
        let mut path = Path { steps: [None; MAX_LEVELS], levels: 0, leaf_depth: 0 };
        let (mut node, mut rest) = (self.top, hash);
        while node.is_directory() {
            // SAFETY: reached from `top`, so live.
            let directory = unsafe { Directory::from_node(node) };
            path.steps[path.levels] = Some(Step { directory, local_depth: node.local_depth(), rest });
            path.levels += 1;
            node = directory.child(rest);
            rest <<= node.local_depth();
        }
        path.leaf_depth = node.local_depth();
        path
    }

    /// Replaces what hangs at `level` of the path (0: the top itself).
    pub(super) fn set_node(&mut self, path: &Path, level: usize, node: NodeRef) {
        match level.checked_sub(1).and_then(|above| path.steps[above]) {
            Some(step) => step.directory.set_span(step.rest, node),
            None => self.top = node,
        }
    }

    /// Puts the two halves of a segment in its place.
    fn attach_halves(&mut self, hash: u64, halves: [SegmentPtr<H>; 2]) {
        let path = self.path(hash);
        let leaf_depth = path.leaf_depth;
        let step = match path.last() {
            Some(step) if leaf_depth < step.directory.bits => step,
            Some(step) if leaf_depth < MAX_DIRECTORY_BITS => {
                let directory = step.directory.doubled(&mut self.ledger);
                self.set_node(&path, path.levels - 1, directory.node(step.local_depth));
                Step { directory, ..step }
            }
            _ => {
                let directory = Directory::alloc(1, &mut self.ledger);
                directory.set_span(0, halves[0].node(1));
                directory.set_span(1 << 63, halves[1].node(1));
                self.set_node(&path, path.levels, directory.node(leaf_depth));
                return;
            }
        };
        let bit = 1 << (63 - leaf_depth);
        step.directory.set_span(step.rest & !bit, halves[0].node(leaf_depth + 1));
        step.directory.set_span(step.rest | bit, halves[1].node(leaf_depth + 1));
    }

    /// Puts one segment in the place of two buddies.
    fn attach_merged(&mut self, hash: u64, merged: SegmentPtr<H>) {
        let path = self.path(hash);
        let step = path.last().expect("two buddies hang in a directory");
        if path.leaf_depth == 1 {
            // They were all that the directory had.
            self.set_node(&path, path.levels - 1, merged.node(step.local_depth));
            return step.directory.free(&mut self.ledger);
        }
        step.directory.set_span(step.rest, merged.node(path.leaf_depth - 1));
        if path.leaf_depth == step.directory.bits
            && let Some(half) = step.directory.halved(&mut self.ledger)
        {
            self.set_node(&path, path.levels - 1, half.node(step.local_depth));
        }
    }

    /// Makes room in the segment of `hash`, if policy and bounds allow it. Returns the
    /// segment that `hash` belongs to afterwards.
    #[cold]
    pub(super) fn grow(
        &mut self,
        hash: u64,
        segment: SegmentPtr<H>,
        resolver: &impl Resolver<H>,
    ) -> SegmentPtr<H> {
        let header = segment.header();
        let (len, depth, prefix) = (header.len as usize, segment.depth(), header.prefix);
        let allowed = match resolver.resize_policy() {
            ResizePolicy::Allow => true,
            ResizePolicy::Avoid => len * 100 >= segment.slots() * AVOID_PERCENT,
            ResizePolicy::Forbid => false,
        };
        if !allowed {
            return segment;
        }
        match buckets_to_grow(len, H::SLOTS, prefix, depth) {
            Some(buckets) => self.rebuild(segment, buckets, resolver),
            None if self.may_split(depth) => self.split(hash, segment, resolver),
            None if segment.bucket_count() < MAX_BUCKETS => self.rebuild(segment, MAX_BUCKETS, resolver),
            None => segment,
        }
    }

    fn may_split(&self, depth: u32) -> bool {
        let places = (1 << (depth + 1).min(usize::BITS - 1)) as usize;
        let affordable = (self.len / ENTRIES_PER_DIRECTORY_PLACE).max(FREE_DIRECTORY_PLACES);
        depth < MAX_DEPTH && places <= affordable
    }

    /// Gives a segment another number of buckets.
    fn rebuild(
        &mut self,
        segment: SegmentPtr<H>,
        buckets: usize,
        resolver: &impl Resolver<H>,
    ) -> SegmentPtr<H> {
        let (prefix, depth) = (segment.header().prefix, segment.depth());
        let rebuilt = SegmentPtr::alloc(buckets, depth, prefix, &mut self.ledger);
        self.pour(segment, [rebuilt; 2], resolver);
        let path = self.path(prefix);
        self.set_node(&path, path.levels, rebuilt.node(path.leaf_depth));
        segment.free(&mut self.ledger);
        rebuilt
    }

    fn split(&mut self, hash: u64, segment: SegmentPtr<H>, resolver: &impl Resolver<H>) -> SegmentPtr<H> {
        let (halves, depth) = (self.empty_halves(segment, MAX_BUCKETS), segment.depth());
        self.pour(segment, halves, resolver);
        self.attach_halves(segment.header().prefix, halves);
        segment.free(&mut self.ledger);
        // Hashes that are not spread evenly may have left one half almost empty.
        let sparse = |half: &SegmentPtr<H>| half.header().len < half.header().shrink_at;
        match halves.into_iter().find(sparse) {
            Some(half) => self.shrink(half, resolver),
            None => return halves[half_of(hash, depth)],
        }
        self.segment(hash).expect("a table that was split has segments")
    }

    /// Two empty segments for the halves of this one's hashes.
    fn empty_halves(&mut self, segment: SegmentPtr<H>, buckets: usize) -> [SegmentPtr<H>; 2] {
        let (prefix, depth) = (segment.header().prefix, segment.depth());
        [prefix, prefix | 1 << (63 - depth)]
            .map(|prefix| SegmentPtr::alloc(buckets, depth + 1, prefix, &mut self.ledger))
    }

    /// Makes a sparse segment smaller, if the policy allows it.
    #[cold]
    pub(super) fn shrink(&mut self, segment: SegmentPtr<H>, resolver: &impl Resolver<H>) {
        if resolver.resize_policy() != ResizePolicy::Allow {
            return;
        }
        if self.len == 0 && self.ledger.main_buckets <= FREED_AT_ONCE_BUCKETS {
            return self.clear();
        }
        let len = segment.header().len as usize;
        if let Some(buddy) = self.buddy(segment) {
            let both = len + buddy.header().len as usize;
            if let Some(buckets) = buckets_to_shrink(both, H::SLOTS) {
                return self.merge(segment, buddy, buckets, resolver);
            }
        }
        if let Some(buckets) = buckets_to_shrink(len, H::SLOTS)
            && buckets < segment.bucket_count()
        {
            self.rebuild(segment, buckets, resolver);
        }
    }

    /// The segment that differs from this one in the last bit of the prefix, if it is one
    /// segment and hangs in the same directory.
    fn buddy(&self, segment: SegmentPtr<H>) -> Option<SegmentPtr<H>> {
        let depth = segment.depth();
        let bit = 1u64 << 63 >> depth.checked_sub(1)?;
        let buddy = self.segment(segment.header().prefix ^ bit)?;
        (buddy.depth() == depth).then_some(buddy)
    }

    fn merge(
        &mut self,
        segment: SegmentPtr<H>,
        buddy: SegmentPtr<H>,
        buckets: usize,
        resolver: &impl Resolver<H>,
    ) {
        let prefix = segment.header().prefix & buddy.header().prefix;
        let merged = SegmentPtr::alloc(buckets, segment.depth() - 1, prefix, &mut self.ledger);
        for old in [segment, buddy] {
            self.pour(old, [merged; 2], resolver);
        }
        self.attach_merged(prefix, merged);
        segment.free(&mut self.ledger);
        buddy.free(&mut self.ledger);
    }

    /// Adds all handles of `source` to the targets, chosen by the first hash bit behind
    /// the source's prefix (equal targets: one takes all). Entries are loaded
    /// `LOADS_IN_FLIGHT` at a time; the volatile figures are made anew.
    fn pour(&mut self, source: SegmentPtr<H>, targets: [SegmentPtr<H>; 2], resolver: &impl Resolver<H>) {
        let mut pouring = Pouring { targets, depth: source.depth(), ledger: &mut self.ledger, resolver };
        let mut ring = [H::default(); LOADS_IN_FLIGHT];
        let mut seen = 0;
        source.for_each(|slot| {
            let handle = slot.handle();
            resolver.prefetch(handle);
            let oldest = std::mem::replace(&mut ring[seen % LOADS_IN_FLIGHT], handle);
            if seen >= LOADS_IN_FLIGHT {
                pouring.settle(oldest);
            }
            seen += 1;
        });
        for index in seen.saturating_sub(LOADS_IN_FLIGHT)..seen {
            pouring.settle(ring[index % LOADS_IN_FLIGHT]);
        }
    }

    /// Sizes an empty table for `len` entries, so that loading them re-hashes nothing.
    /// Does nothing in a table that has entries.
    pub fn reserve(&mut self, len: usize) {
        if self.len != 0 || len == 0 {
            return;
        }
        self.clear();
        let segment_len = MAX_BUCKETS * H::SLOTS * RESERVED_FILL_PERCENT / 100;
        let segments = len.div_ceil(segment_len).next_power_of_two();
        let depth = segments.trailing_zeros().min(MAX_DEPTH);
        let expected_len = len >> depth;
        let buckets = buckets_to_shrink(expected_len, H::SLOTS).unwrap_or(MAX_BUCKETS);
        let first = SegmentPtr::alloc(buckets, 0, 0, &mut self.ledger);
        self.top = first.node(0);
        let mut next = Some(first);
        while let Some(segment) = next {
            next = if segment.depth() < depth {
                Some(self.split_empty(segment, buckets))
            } else {
                Some(segment.end()).filter(|&end| end != 0).and_then(|end| self.segment(end))
            };
        }
    }

    fn split_empty(&mut self, segment: SegmentPtr<H>, buckets: usize) -> SegmentPtr<H> {
        let halves = self.empty_halves(segment, buckets);
        self.attach_halves(segment.header().prefix, halves);
        segment.free(&mut self.ledger);
        halves[0]
    }

    /// Background care, for times without writes after a period of `Avoid`: looks at up to
    /// `MAINTAINED_SEGMENTS` segments from the one at `position` on and rebuilds at most
    /// one that is too full or too sparse. Returns the next position, 0 after the last, and whether it
    /// rebuilt one, which then may still be too full: another look is due.
    pub fn maintain(&mut self, position: u64, resolver: &impl Resolver<H>) -> (u64, bool) {
        /// Headers looked at in a call, each a likely cache miss: about 10 us.
        const MAINTAINED_SEGMENTS: usize = 128;
        let mut position = position;
        for _ in 0..MAINTAINED_SEGMENTS {
            let Some(segment) = self.segment(position) else {
                return (0, false);
            };
            let (header, start) = (segment.header(), position);
            let (full, sparse) = (header.len >= header.grow_at, header.len < header.shrink_at);
            position = segment.end();
            if full {
                self.grow(segment.header().prefix, segment, resolver);
            } else if sparse {
                self.shrink(segment, resolver);
            }
            if full || sparse {
                // Policy and bounds may have refused.
                return (position, self.segment(start) != Some(segment));
            }
            if position == 0 {
                break;
            }
        }
        (position, false)
    }
}

/// The inner loop of a rebuild.
struct Pouring<'a, H, R> {
    targets: [SegmentPtr<H>; 2],
    depth: u32,
    ledger: &'a mut Ledger,
    resolver: &'a R,
}

impl<H: Handle, R: Resolver<H>> Pouring<'_, H, R> {
    #[inline(always)]
    fn settle(&mut self, handle: H) {
        let hash = self.resolver.hash(handle);
        let mut target = self.targets[half_of(hash, self.depth)];
        target.append(hash, handle, self.ledger);
        if let Some(expiry_ms) = self.resolver.expiry_ms(handle) {
            target.note_volatile(expiry_ms);
        }
    }
}

/// Which half of a segment of this depth a hash belongs to.
#[inline(always)]
fn half_of(hash: u64, depth: u32) -> usize {
    (hash >> (63 - depth) & 1) as usize
}
