//! The big sorted set: a packed, counted B+ tree in the order of (score, member), and an
//! index from members to leaves.
//!
//! ```text
//!             root   | bound, child, count | ... 63 |                     inner: 1,528 bytes
//!                     /                    \
//!        | bound, child, count | ... |     | ... |
//!         /            \
//!  | scores | tags | members |  | scores | tags | members |  ...           leaves: up to 2 KiB
//!         ^                            ^
//!         +--- leaves: id -> address --+
//!                      ^
//!  table of (leaf id, 40 bits of the member's hash)                       8-byte handles
//! ```
//!
//! Trade-off, in numbers (17-byte members): 29 bytes in a leaf that is 90 to 95 % full, 1 for
//! inner nodes, 14.3 in the table: 46 bytes a member, where a skip list with a dictionary
//! takes 108. Leaves know members only by position, so a split or merge writes the handles
//! of the members that move anew: about one handle for each random insert, prefetched in
//! batches. A rank is a sum of counts on each level, O(log n); members up to 128 bytes lie in
//! the leaf, longer ones in blocks of their own.
//!
//! Scores are never NaN; -0.0 and 0.0 are equal in the order, as in Redis.
//!
//! Files: `leaf` (the block), `inner`, `tree` (descents, splits, merges), `index` (members),
//! `bounds` (ends of ranges), `iter`, `check` (invariants).

mod bounds;
mod check;
mod index;
mod inner;
mod iter;
mod leaf;
#[cfg(test)]
mod tests;
mod tree;

use std::cmp::Ordering;
use std::fmt;

use self::index::Index;
use self::inner::{Child, Inner};
use self::leaf::{Entry, JUMBO_BYTES_MAX, LEAF_BYTES_MAX, LeafPtr, capacity_for};
use self::tree::{At, Bound, Tree, order};
use crate::base::hash::HashSeed;
use crate::ds::table::TableStats;
use crate::sys::data_alloc::{Cursor, Mover, usable_size};

pub use self::bounds::{MemberBound, ScoreBound};
pub use self::index::Hash;
pub use self::iter::Iter;

/// A leaf with fewer bytes is merged with a neighbour when both fit into `MERGED_BYTES_MAX`.
const MERGE_BELOW_BYTES: usize = LEAF_BYTES_MAX / 4;
const MERGED_BYTES_MAX: usize = LEAF_BYTES_MAX * 3 / 4;

/// First block of a set or of a leaf that elements are appended to, bytes.
const FIRST_LEAF_BYTES: usize = 256;

/// Handles written anew in one batch: enough to keep a core's line-fill buffers busy.
const MOVED_BATCH: usize = 32;

const _: () = assert!(LEAF_BYTES_MAX >= 8 * leaf::INLINE_BYTES_MAX, "a leaf has elements to split");

/// A score that is no number was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANumber;

/// What [`SortedSet::upsert`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Nothing: the caller decided so.
    None,
    /// The member is there now, with this score.
    Added(f64),
    /// The member had the first score and has the second (they may be equal).
    Updated(f64, f64),
}

/// Members with a score each, in the order of score and member.
pub struct SortedSet {
    tree: Tree,
    index: Index,
    seed: HashSeed,
    /// Blocks of leaves, bytes.
    leaf_bytes: usize,
    /// Blocks of long members, bytes.
    long_bytes: usize,
}

impl SortedSet {
    /// An empty set whose index hashes with `seed`.
    pub const fn new(seed: HashSeed) -> Self {
        SortedSet { tree: Tree::new(), index: Index::new(), seed, leaf_bytes: 0, long_bytes: 0 }
    }

    /// Makes room in the index of an empty set, so that adding `len` members re-hashes nothing.
    pub fn reserve(&mut self, len: usize) {
        self.index.reserve(len);
    }

    /// Members.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the data region, without `self`.
    pub fn memory_bytes(&self) -> usize {
        let inner_bytes = self.tree.inner_count * usable_size(size_of::<Inner>());
        self.index.memory_bytes() + self.leaf_bytes + self.long_bytes + inner_bytes
    }

    /// Figures of the table behind the member index.
    pub fn table_stats(&self) -> TableStats {
        self.index.table_stats()
    }

    /// The hash of a member, for the calls that take one.
    #[inline]
    pub fn hash(&self, member: &[u8]) -> Hash {
        Hash::of(&self.seed, member)
    }

    /// First stage of a batched look-up: starts loading the index's line for `hash`.
    #[inline]
    pub fn prefetch_index(&self, hash: Hash) {
        self.index.prefetch_bucket(hash);
    }

    /// Second stage: starts loading the leaf.
    #[inline]
    pub fn prefetch_leaf(&self, hash: Hash) {
        self.index.prefetch_leaf(hash);
    }

    /// The score of a member. About four cache misses.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.score_hashed(self.hash(member), member)
    }

    /// As [`SortedSet::score`], with the hash known.
    #[inline]
    pub fn score_hashed(&self, hash: Hash, member: &[u8]) -> Option<f64> {
        let (leaf, index) = self.index.find(hash, member)?;
        Some(leaf.scores()[index])
    }

    /// How many elements lie before a member, and its score. O(log n).
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let (leaf, index) = self.index.find(self.hash(member), member)?;
        Some((self.tree.rank_of(leaf, index) as usize, leaf.scores()[index]))
    }

    /// How many elements lie before a place between scores. O(log n).
    pub fn count_before_score(&self, bound: ScoreBound) -> usize {
        self.count_before(&bound)
    }

    /// How many elements lie before a place between members, all scores being equal. O(log n).
    pub fn count_before_member(&self, bound: MemberBound<'_>) -> usize {
        self.count_before(&bound)
    }

    fn count_before(&self, bound: &impl Bound) -> usize {
        self.tree.seek(bound).map_or(0, |place| place.rank as usize)
    }

    /// The elements with ranks from `start` up to `end`, both cut to what exists; from the
    /// last to the first when `reverse`. O(log n), then O(1) an element.
    pub fn range(&self, start: usize, end: usize, reverse: bool) -> Iter<'_> {
        let end = end.min(self.len());
        let len = end.saturating_sub(start);
        let first = if reverse { end.saturating_sub(1) } else { start };
        Iter::new(&self.tree, first, len, reverse)
    }

    /// All elements in ascending order.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0, self.len(), false)
    }

    /// A step of SCAN: visits some elements and returns the cursor for the next step, 0 at the
    /// end. Keeps SCAN's guarantee over all changes.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(f64, &[u8])) -> u64 {
        self.index.scan(cursor, |leaf, hash| {
            for index in leaf.tagged(hash.tag()) {
                let member = leaf.member(index);
                if self.hash(member) == hash {
                    visit(leaf.scores()[index], member);
                }
            }
        })
    }

    /// Sets a member's score; `Some` is the score that it had before.
    ///
    /// # Errors
    /// `NotANumber`: the score is NaN, nothing was changed.
    pub fn insert(&mut self, score: f64, member: &[u8]) -> Result<Option<f64>, NotANumber> {
        let change = self.upsert(self.hash(member), member, |_| Ok::<_, NotANumber>(Some(score)))?;
        Ok(if let Change::Updated(before, _) = change { Some(before) } else { None })
    }

    /// Finds a member once and lets `decide` choose its score from the present one (`None`:
    /// it is not there); a decision of `None` changes nothing. O(log n).
    ///
    /// # Errors
    /// Those of `decide`, and `NotANumber` for a decision of NaN; nothing was changed.
    pub fn upsert<E: From<NotANumber>>(
        &mut self,
        hash: Hash,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Result<Option<f64>, E>,
    ) -> Result<Change, E> {
        let found = self.index.find(hash, member);
        let before = found.map(|(leaf, index)| leaf.scores()[index]);
        let Some(score) = decide(before)? else {
            return Ok(Change::None);
        };
        if score.is_nan() {
            return Err(E::from(NotANumber));
        }
        match found {
            None => self.add(hash, score, member),
            Some((leaf, index)) => self.change_score(hash, leaf, index, score),
        }
        Ok(before.map_or(Change::Added(score), |before| Change::Updated(before, score)))
    }

    fn add(&mut self, hash: Hash, score: f64, member: &[u8]) {
        let entry = Entry::new(member);
        self.long_bytes += entry.long_bytes();
        let id = self.place(hash, score, &entry);
        self.index.insert(hash, id);
    }

    fn change_score(&mut self, hash: Hash, leaf: LeafPtr, index: usize, score: f64) {
        let old_score = leaf.scores()[index];
        if old_score == score {
            return;
        }
        if stays_in_order(leaf, index, score) {
            return leaf.set_score(index, score);
        }
        let (entry, old_id) = (leaf.entry(index), leaf.id());
        self.take(leaf, index);
        let id = self.place(hash, score, &entry);
        if id != old_id {
            self.index.moved(&[hash], old_id, id);
        }
    }

    /// Takes a member out and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        self.remove_hashed(self.hash(member), member)
    }

    /// As [`SortedSet::remove`], with the hash known. O(log n).
    pub fn remove_hashed(&mut self, hash: Hash, member: &[u8]) -> Option<f64> {
        let (leaf, index) = self.index.find(hash, member)?;
        let score = leaf.scores()[index];
        self.remove_at(hash, leaf, index);
        Some(score)
    }

    fn remove_at(&mut self, hash: Hash, leaf: LeafPtr, index: usize) {
        self.index.remove(hash, leaf.id());
        let entry = leaf.entry(index);
        self.take(leaf, index);
        self.long_bytes -= entry.long_bytes();
        entry.discard();
    }

    /// Takes the first (or last) element out, after `visit` has seen it; `None` when empty.
    pub fn pop<R>(&mut self, last: bool, visit: impl FnOnce(f64, &[u8]) -> R) -> Option<R> {
        let leaf = self.tree.edge(last)?;
        let index = if last { leaf.count() - 1 } else { 0 };
        let member = leaf.member(index);
        let result = visit(leaf.scores()[index], member);
        self.remove_at(self.hash(member), leaf, index);
        Some(result)
    }

    /// Takes the elements with ranks from `start` up to `end` out. O(log n) an element.
    pub fn remove_range(&mut self, start: usize, end: usize) {
        for _ in start..end.min(self.len()) {
            let place = self.tree.select(start as u64).expect("the range was cut to the set");
            let hash = self.hash(place.leaf.member(place.index));
            self.remove_at(hash, place.leaf, place.index);
        }
    }

    /// Puts an entry that is nowhere in the tree to where it belongs; returns the leaf's id.
    fn place(&mut self, hash: Hash, score: f64, entry: &Entry) -> u32 {
        let at = At(score, entry.member());
        let passed = |inner: inner::InnerPtr, child: usize| inner.get_mut().counts_mut()[child] += 1;
        let Some((mut leaf, mut index)) = self.tree.descend(&at, passed) else {
            return self.place_first(hash, score, entry);
        };
        if !leaf.fits(entry.len()) {
            (leaf, index) = self.make_room(leaf, index, score, entry.len());
        }
        leaf.insert(index, score, hash.tag(), entry);
        leaf.id()
    }

    fn place_first(&mut self, hash: Hash, score: f64, entry: &Entry) -> u32 {
        let leaf = self.alloc_leaf(FIRST_LEAF_BYTES);
        self.tree.set_only_leaf(leaf);
        leaf.insert(0, score, hash.tag(), entry);
        leaf.id()
    }

    fn alloc_leaf(&mut self, capacity: usize) -> LeafPtr {
        let leaf = LeafPtr::alloc(capacity, self.index.take_id());
        self.leaf_bytes += capacity;
        self.index.set_leaf(leaf);
        leaf
    }

    /// Makes room for an entry of `len` bytes at `index` of a leaf; its count is already
    /// in the nodes above. Returns the leaf and the place that the entry now belongs to.
    #[cold]
    fn make_room(&mut self, leaf: LeafPtr, index: usize, score: f64, len: usize) -> (LeafPtr, usize) {
        let needed = leaf.bytes_with(len);
        if needed <= LEAF_BYTES_MAX {
            return (self.rebuild(leaf, needed, score), index);
        }
        if !self.index.has_id() && needed <= JUMBO_BYTES_MAX {
            return (self.rebuild(leaf, needed, score), index);
        }
        if index == leaf.count() && self.tree.edge(true) == Some(leaf) {
            return (self.append_leaf(leaf, score), 0);
        }
        if index == 0 && self.tree.edge(false) == Some(leaf) {
            return (self.prepend_leaf(leaf), 0);
        }
        self.split(leaf, index, len)
    }

    /// Moves a leaf into a block that fits `needed` bytes.
    fn rebuild(&mut self, leaf: LeafPtr, needed: usize, score: f64) -> LeafPtr {
        let rebuilt = leaf.copy_range(0, leaf.count(), capacity_for(needed));
        self.replace(leaf, rebuilt, score);
        rebuilt
    }

    /// Puts `new` (with the same id) in the place of `old` and frees the block of `old`.
    fn replace(&mut self, old: LeafPtr, new: LeafPtr, score: f64) {
        let score = old.scores().first().copied().unwrap_or(score);
        self.leaf_bytes += new.capacity();
        self.leaf_bytes -= old.capacity();
        self.tree.replace_leaf(old, new, score);
        self.index.set_leaf(new);
        old.free();
    }

    /// A new last leaf, for an entry with this score; the old one stays full.
    fn append_leaf(&mut self, leaf: LeafPtr, score: f64) -> LeafPtr {
        let right = self.alloc_leaf(FIRST_LEAF_BYTES);
        let child = Child { score, node: right.node(), count: 1 };
        self.tree.insert_after(leaf.node(), 0, leaf.scores()[0], leaf.count() as u64, child);
        right
    }

    /// A new first leaf, for an entry before all others; the old one stays full.
    fn prepend_leaf(&mut self, leaf: LeafPtr) -> LeafPtr {
        let score = leaf.scores()[0];
        let left = self.alloc_leaf(FIRST_LEAF_BYTES);
        left.set_parent(leaf.parent());
        // The new one takes the place of the old one, which comes in behind it.
        self.tree.replace_leaf(leaf, left, score);
        let child = Child { score, node: leaf.node(), count: leaf.count() as u64 };
        self.tree.insert_after(left.node(), 0, score, 1, child);
        left
    }

    /// Splits a full leaf for an entry of `len` bytes at `index`.
    fn split(&mut self, leaf: LeafPtr, index: usize, len: usize) -> (LeafPtr, usize) {
        let (count, at) = (leaf.count(), leaf.middle());
        let to_left = index <= at;
        let extra = |here: bool| if here { len } else { 0 };
        let left = leaf.copy_range(0, at, capacity_for(leaf.bytes_of(0, at, extra(to_left))));
        let right = self.alloc_leaf(capacity_for(leaf.bytes_of(at, count, extra(!to_left))));
        right.append_range(leaf, at, count);
        self.replace(leaf, left, 0.0);
        self.rewrite_handles(right, 0, right.count(), left.id());
        let (left_count, right_count) =
            (left.count() + usize::from(to_left), right.count() + usize::from(!to_left));
        let child = Child { score: right.scores()[0], node: right.node(), count: right_count as u64 };
        self.tree.insert_after(left.node(), 0, left.scores()[0], left_count as u64, child);
        if to_left { (left, index) } else { (right, index - at) }
    }

    /// Tells the index that elements `from..to` of `leaf` came from the leaf numbered `old_id`.
    fn rewrite_handles(&mut self, leaf: LeafPtr, from: usize, to: usize, old_id: u32) {
        let mut hashes = [Hash::default(); MOVED_BATCH];
        for start in (from..to).step_by(MOVED_BATCH) {
            let batch = &mut hashes[..MOVED_BATCH.min(to - start)];
            for (place, hash) in batch.iter_mut().enumerate() {
                *hash = Hash::of(&self.seed, leaf.member(start + place));
            }
            self.index.moved(batch, old_id, leaf.id());
        }
    }

    /// Takes the element at `index` of a leaf out of the tree, not out of the index; a long
    /// member's block stays. Frees, merges or shrinks the leaf.
    fn take(&mut self, leaf: LeafPtr, index: usize) {
        let score = leaf.scores()[index];
        self.tree.climb(leaf, |inner, child| inner.get_mut().counts_mut()[child] -= 1);
        leaf.remove(index);
        if leaf.count() == 0 {
            return self.free_leaf(leaf, score);
        }
        let live = leaf.live_bytes();
        if live < MERGE_BELOW_BYTES && self.merge(leaf, live) {
            return;
        }
        if live * 2 < leaf.capacity() && leaf.capacity() > FIRST_LEAF_BYTES {
            self.rebuild(leaf, live, score);
        }
    }

    /// Empties the set and calls `pause` now and then.
    pub fn clear_pausing(&mut self, pause: &mut dyn FnMut()) {
        self.tree.free_all(pause);
        self.index.clear_pausing(pause);
        (self.leaf_bytes, self.long_bytes) = (0, 0);
    }

    /// One step of defragmentation: a leaf by its number, then a bucket of the index. `None`: done.
    pub fn relocate(&mut self, cursor: Cursor, mover: &mut Mover) -> Option<Cursor> {
        if cursor.stage > 0 {
            let next = self.index.relocate_bucket(cursor.position, mover);
            return (next != 0).then(|| cursor.after(next));
        }
        if cursor.position == 0 {
            self.index.relocate_lists(mover);
        }
        let Some(leaf) = self.index.leaf_from(cursor.position as usize) else {
            return Some(cursor.after(0));
        };
        let next = u64::from(leaf.id()) + 1;
        if let Some(moved) = self.tree.relocate(leaf, mover) {
            self.index.set_leaf(moved);
        }
        Some(cursor.after(next))
    }

    fn free_leaf(&mut self, leaf: LeafPtr, score: f64) {
        match leaf.parent() {
            Some(parent) => self.tree.remove_child(parent, parent.index_of(leaf.node(), score), score),
            None => self.tree = Tree::new(),
        }
        self.leaf_bytes -= leaf.capacity();
        self.index.free_id(leaf.id());
        leaf.free();
    }

    /// Merges a sparse leaf with a neighbour under the same parent if both fit. Not the first
    /// and the last one: they shrink when elements are popped, and would be merged again
    /// and again.
    fn merge(&mut self, leaf: LeafPtr, live: usize) -> bool {
        let Some(parent) = leaf.parent() else {
            return false;
        };
        if self.tree.edge(true) == Some(leaf) || self.tree.edge(false) == Some(leaf) {
            return false;
        }
        let own = parent.index_of(leaf.node(), leaf.scores()[0]);
        let fits = |left: &usize| {
            let other = if *left == own { own + 1 } else { *left };
            other < parent.get().len()
                && live + self.tree.leaf_below(parent, other).live_bytes() <= MERGED_BYTES_MAX
        };
        let Some(left) = [Some(own), own.checked_sub(1)].into_iter().flatten().find(fits) else {
            return false;
        };
        let pair = [self.tree.leaf_below(parent, left), self.tree.leaf_below(parent, left + 1)];
        self.merge_pair(parent, left, pair);
        true
    }

    /// Merges two neighbours under `parent`; the one with more elements keeps its id.
    fn merge_pair(&mut self, parent: inner::InnerPtr, left_index: usize, [left, right]: [LeafPtr; 2]) {
        let (left_count, right_count) = (left.count(), right.count());
        let count = left_count + right_count;
        let score = left.scores()[0];
        let capacity = capacity_for(left.live_bytes() + right.live_bytes());
        let kept = if left_count >= right_count { left } else { right };
        let merged = LeafPtr::alloc(capacity, kept.id());
        merged.append_range(left, 0, left_count);
        merged.append_range(right, 0, right_count);
        self.leaf_bytes += capacity;
        self.leaf_bytes -= left.capacity() + right.capacity();
        self.index.set_leaf(merged);
        if kept == left {
            self.rewrite_handles(merged, left_count, count, right.id());
            self.index.free_id(right.id());
        } else {
            self.rewrite_handles(merged, 0, left_count, left.id());
            self.index.free_id(left.id());
        }
        parent.replace_child(left_index, merged.node());
        parent.get_mut().counts_mut()[left_index] = count as u64;
        left.free();
        right.free();
        self.tree.remove_child(parent, left_index + 1, score);
    }
}

/// Whether the element at `index` may have this score without leaving its place. At the ends
/// of the leaf only away from the neighbour leaf, which is not looked at.
fn stays_in_order(leaf: LeafPtr, index: usize, score: f64) -> bool {
    let (scores, member) = (leaf.scores(), leaf.member(index));
    let element = |at: usize| (scores[at], leaf.member(at));
    let above_lower = match index.checked_sub(1) {
        Some(before) => order(element(before), (score, member)) == Ordering::Less,
        None => score > scores[index],
    };
    let below_upper = if index + 1 < leaf.count() {
        order((score, member), element(index + 1)) == Ordering::Less
    } else {
        score < scores[index]
    };
    above_lower && below_upper
}

impl Clone for SortedSet {
    /// A copy with full leaves. O(n).
    fn clone(&self) -> Self {
        let mut copy = SortedSet::new(self.seed);
        copy.reserve(self.len());
        for (score, member) in self.iter() {
            copy.add(copy.hash(member), score, member);
        }
        copy
    }
}

impl fmt::Debug for SortedSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SortedSet({} members)", self.len())
    }
}

impl Drop for SortedSet {
    fn drop(&mut self) {
        self.tree.free_all(&mut || {});
    }
}
