//! The member index: from a member to the leaf that holds it.
//!
//! ```text
//! handle   | leaf 24 bits | hash: its top 32 bits | its low 8 bits |      in a Table<u64>
//! leaves   id -> address of the leaf, and the ids that are free
//! ```
//!
//! The handle holds all hash bits that the table asks for, so that growth of the table
//! touches no leaf. A member's leaf is found without its score; its place there by the tag.
//! The bits between are cut off every hash (`Hash`), so that all agree: 40 bits are enough
//! for 65,536 segments of the table (45 M members); beyond, chains get longer slowly.

use super::leaf::LeafPtr;
use crate::base::hash::HashSeed;
use crate::ds::table::{ResizePolicy, Resolver, Table, TableStats, collection_resize_policy, prefetch};
use crate::sys::data_alloc::{DataVec, Mover, Relocate};

/// Leaves that can be numbered.
const LEAVES_MAX: usize = 1 << 24;
const HASH_BITS: u32 = 40;
const HASH_MASK: u64 = 0xFFFF_FFFF_0000_00FF;

/// What is kept of a member's hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hash(u64);

impl Hash {
    pub(super) fn of(seed: &HashSeed, member: &[u8]) -> Self {
        Hash(seed.hash(member) & HASH_MASK)
    }

    /// The byte by which leaves find members.
    #[inline(always)]
    pub(super) fn tag(self) -> u8 {
        self.0 as u8
    }

    #[inline(always)]
    fn packed(self) -> u64 {
        (self.0 >> 32) << 8 | self.0 & 0xFF
    }

    #[inline(always)]
    fn of_handle(handle: u64) -> Self {
        Hash((handle >> 8) << 32 | handle & 0xFF)
    }
}

#[inline(always)]
fn handle(leaf: u32, hash: Hash) -> u64 {
    u64::from(leaf) << HASH_BITS | hash.packed()
}

#[inline(always)]
fn leaf_of(handle: u64) -> u32 {
    (handle >> HASH_BITS) as u32
}

/// The address of a leaf by its id; a free id has none.
type LeafSlot = Option<LeafPtr>;

/// The member index.
pub(super) struct Index {
    table: Table<u64>,
    leaves: DataVec<LeafSlot>,
    free_ids: DataVec<u32>,
    leaves_max: usize,
}

/// Answers the table's questions from the handles alone.
struct Handles<'a>(&'a Index);

/// The table's policy without a look at the leaves.
struct HashBits;

impl Resolver<u64> for HashBits {
    #[inline(always)]
    fn hash(&self, handle: u64) -> u64 {
        Hash::of_handle(handle).0
    }

    #[inline(always)]
    fn resize_policy(&self) -> ResizePolicy {
        collection_resize_policy()
    }
}

impl Resolver<u64> for Handles<'_> {
    #[inline(always)]
    fn hash(&self, handle: u64) -> u64 {
        Hash::of_handle(handle).0
    }

    #[inline(always)]
    fn prefetch(&self, handle: u64) {
        if let Some(Some(leaf)) = self.0.leaves.get(leaf_of(handle) as usize) {
            prefetch(leaf.node().as_ptr());
        }
    }
}

impl Index {
    pub const fn new() -> Self {
        Index {
            table: Table::new(),
            leaves: DataVec::new(),
            free_ids: DataVec::new(),
            leaves_max: LEAVES_MAX,
        }
    }

    /// For tests of what happens when no more leaves can be numbered.
    #[cfg(test)]
    pub fn set_leaves_max(&mut self, leaves_max: usize) {
        self.leaves_max = leaves_max;
    }

    /// Makes room for `len` members in an empty index.
    pub fn reserve(&mut self, len: usize) {
        self.table.reserve(len);
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of the data region, without leaves.
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.leaves.allocated_bytes() + self.free_ids.allocated_bytes()
    }

    /// Figures of the table.
    pub fn table_stats(&self) -> TableStats {
        self.table.stats()
    }

    /// Whether one more leaf can be numbered.
    pub fn has_id(&self) -> bool {
        !self.free_ids.is_empty() || self.leaves.len() < self.leaves_max
    }

    /// An id for a new leaf; [`Index::set_leaf`] follows. `has_id` must hold.
    pub fn take_id(&mut self) -> u32 {
        self.free_ids.pop().unwrap_or_else(|| {
            self.leaves.push(None);
            (self.leaves.len() - 1) as u32
        })
    }

    /// Notes where the leaf lies.
    pub fn set_leaf(&mut self, leaf: LeafPtr) {
        self.leaves[leaf.id() as usize] = Some(leaf);
    }

    /// Takes an id back.
    pub fn free_id(&mut self, id: u32) {
        self.leaves[id as usize] = None;
        self.free_ids.push(id);
        if self.free_ids.len() == self.leaves.len() {
            self.leaves = DataVec::new();
            self.free_ids = DataVec::new();
        }
    }

    #[inline(always)]
    fn leaf(&self, handle: u64) -> LeafPtr {
        self.leaves[leaf_of(handle) as usize].expect("handles name live leaves")
    }

    /// The leaf and the place of a member.
    #[inline]
    pub fn find(&self, hash: Hash, member: &[u8]) -> Option<(LeafPtr, usize)> {
        let mut found = None;
        self.table.find(hash.0, |handle| {
            if Hash::of_handle(handle) != hash {
                return false;
            }
            let leaf = self.leaf(handle);
            found = leaf.find(member, hash.tag()).map(|index| (leaf, index));
            found.is_some()
        });
        found
    }

    /// Adds a member that is in leaf `id` and not in the index.
    pub fn insert(&mut self, hash: Hash, id: u32) {
        self.table.insert(hash.0, handle(id, hash), &HashBits);
    }

    /// Takes out a member that is in leaf `id`. Members of one leaf with the same 40 bits
    /// have the same handle; which of them goes makes no difference.
    pub fn remove(&mut self, hash: Hash, id: u32) {
        let wanted = handle(id, hash);
        let removed = self.table.remove(hash.0, |handle| handle == wanted, &HashBits);
        assert!(removed.is_some(), "every member of a leaf is in the index");
    }

    /// Says that members are now in another leaf.
    pub fn moved(&mut self, hashes: &[Hash], from: u32, to: u32) {
        for hash in hashes {
            self.table.prefetch_bucket(hash.0);
        }
        for &hash in hashes {
            let old = handle(from, hash);
            let place = self.table.find_mut(hash.0, |handle| handle == old);
            *place.expect("every member of a leaf is in the index") = handle(to, hash);
        }
    }

    /// The leaf with this number or the next one that there is; `None` behind the last.
    pub fn leaf_from(&self, id: usize) -> Option<LeafPtr> {
        self.leaves.get(id..)?.iter().copied().flatten().next()
    }

    /// Moves the lists of leaves, once a walk.
    pub fn relocate_lists(&mut self, mover: &mut Mover) {
        self.leaves.relocate(mover);
        self.free_ids.relocate(mover);
    }

    /// One step of defragmentation of the table; see [`Table::relocate`].
    pub fn relocate_bucket(&mut self, position: u64, mover: &mut Mover) -> u64 {
        self.table.relocate(position, mover, &HashBits, |_, _| None)
    }

    /// Forgets all members and leaves; calls `pause` now and then.
    pub fn clear_pausing(&mut self, pause: &mut dyn FnMut()) {
        self.table.drain_pausing(|_| {}, pause);
        self.leaves = DataVec::new();
        self.free_ids = DataVec::new();
    }

    /// First stage of a batched look-up.
    #[inline]
    pub fn prefetch_bucket(&self, hash: Hash) {
        self.table.prefetch_bucket(hash.0);
    }

    /// Second stage: the leaf's first line.
    #[inline]
    pub fn prefetch_leaf(&self, hash: Hash) {
        self.table.prefetch_matches(hash.0, &Handles(self));
    }

    /// A step of SCAN: visits the leaf and the hash of each member of one bucket.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(LeafPtr, Hash)) -> u64 {
        self.table.scan(cursor, |handle| visit(self.leaf(handle), Hash::of_handle(handle)))
    }
}
