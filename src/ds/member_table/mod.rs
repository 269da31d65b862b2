//! Member table: the distinct byte strings of a big set.
//!
//! Owns a hash table of thin blocks in the data region, one for each member:
//!
//! ```text
//!   table (ds::table) -> handle -> [ length, varint 1..5 | bytes ]
//! ```
//!
//! The handle is the block's address. A length below 128 takes one byte, each further seven bits
//! one byte more, lowest bits first.
//!
//! Trade-off: a member of 17 bytes takes a block of 24 and 14.2 bytes of the table, 38 in all;
//! Redis 7.2 takes 45 (entry 16, string 24, table 8 or more). No length, hash or pointer is kept
//! beside the bytes, so growth hashes again: once a member over the table's life.
//!
//! Hashes are those of one secret seed. Two tables with the same seed share the hash of a member,
//! so an intersection computes it once, however many sets there are.
#![allow(unsafe_code)]

mod block;
mod iter;
#[cfg(test)]
mod tests;

use crate::base::hash::HashSeed;
use crate::ds::table::{
    Handle, ResizePolicy, Resolver, Table, TableStats, collection_resize_policy, prefetch,
};
use crate::sys::data_alloc;
use block::MemberBlock;
pub use iter::Iter;
use std::fmt;

/// A set of byte strings of any size.
pub struct MemberTable {
    table: Table<u64>,
    seed: HashSeed,
    /// Bytes of all member blocks, by size class.
    block_bytes: usize,
}

// SAFETY: the table owns its blocks alone and nothing in them is bound to a thread; shared
// references only read.
unsafe impl Sync for MemberTable {}

/// What the table asks about its handles.
#[derive(Clone, Copy)]
struct Members {
    seed: HashSeed,
}

impl Resolver<u64> for Members {
    #[inline(always)]
    fn hash(&self, handle: u64) -> u64 {
        // SAFETY: the table asks only about handles that it holds, whose blocks live.
        let block = unsafe { MemberBlock::from_handle(handle) };
        self.seed.hash(block.bytes())
    }

    #[inline(always)]
    fn prefetch(&self, handle: u64) {
        prefetch(handle as *const u8);
    }

    #[inline(always)]
    fn resize_policy(&self) -> ResizePolicy {
        collection_resize_policy()
    }
}

/// The member behind a handle of a table that is borrowed for `'a`.
///
/// # Safety
/// The handle is in a table that neither changes nor goes during `'a`.
#[inline(always)]
unsafe fn member_of<'a>(handle: u64) -> &'a [u8] {
    // SAFETY: handles in a table belong to live blocks, by the contract unchanged through `'a`.
    unsafe { MemberBlock::from_handle(handle) }.bytes()
}

impl MemberTable {
    /// An empty table whose hashes are those of `seed`; allocates nothing.
    pub const fn new(seed: HashSeed) -> Self {
        MemberTable { table: Table::new(), seed, block_bytes: 0 }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The seed of this table's hashes.
    pub fn seed(&self) -> HashSeed {
        self.seed
    }

    /// Bytes of the data region held for members and table, by size class; O(1).
    pub fn memory_bytes(&self) -> usize {
        self.block_bytes + self.table.memory_bytes()
    }

    /// Figures of the table for DEBUG HTSTATS-KEY; O(n).
    pub fn stats(&self) -> TableStats {
        self.table.stats()
    }

    /// Makes an empty table ready for `len` members, so that filling it rebuilds nothing.
    pub fn reserve(&mut self, len: usize) {
        if self.is_empty() {
            self.table.reserve(len);
        }
    }

    /// The hash of a member, for the functions that take one.
    #[inline]
    pub fn hash(&self, member: &[u8]) -> u64 {
        self.seed.hash(member)
    }

    /// First stage of a look-up ahead: starts loading the bucket of a hash.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.table.prefetch_bucket(hash);
    }

    /// Second stage: starts loading the members that the look-up will compare.
    #[inline]
    pub fn prefetch_members(&self, hash: u64) {
        self.table.prefetch_matches(hash, &Members { seed: self.seed });
    }

    /// Whether `member` is in the table; two cache misses.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.contains_hashed(self.hash(member), member)
    }

    /// As [`MemberTable::contains`] with the member's hash.
    #[inline]
    pub fn contains_hashed(&self, hash: u64, member: &[u8]) -> bool {
        // SAFETY: the closure sees handles of the borrowed table only.
        self.table.find(hash, |handle| unsafe { member_of(handle) } == member).is_some()
    }

    /// Adds `member`; whether it was new. O(1), at times the rebuild of one segment.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        self.insert_hashed(self.hash(member), member)
    }

    /// As [`MemberTable::insert`] with the member's hash.
    #[inline]
    pub fn insert_hashed(&mut self, hash: u64, member: &[u8]) -> bool {
        let absent = !self.contains_hashed(hash, member);
        if absent {
            self.insert_absent(hash, member);
        }
        absent
    }

    /// Adds a member that the caller knows to be absent.
    fn insert_absent(&mut self, hash: u64, member: &[u8]) {
        let block = MemberBlock::new(member);
        self.block_bytes += block.class_bytes();
        self.table.insert(hash, block.handle(), &Members { seed: self.seed });
    }

    /// Removes `member`; whether it was there. O(1), at times the rebuild of one segment.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        self.remove_hashed(self.hash(member), member)
    }

    /// As [`MemberTable::remove`] with the member's hash.
    pub fn remove_hashed(&mut self, hash: u64, member: &[u8]) -> bool {
        // SAFETY: the closure sees handles of the borrowed table only.
        let equal = |handle| unsafe { member_of(handle) } == member;
        match self.table.remove(hash, equal, &Members { seed: self.seed }) {
            Some(handle) => {
                self.free_block(handle);
                true
            }
            None => false,
        }
    }

    /// A member chosen with equal chances; `None` only in an empty table.
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<&[u8]> {
        // SAFETY: the handle is in the table, which stays borrowed.
        self.table.random(rng).map(|handle| unsafe { member_of(handle) })
    }

    /// Removes a member chosen with equal chances after showing it to `visit`. `None` when the
    /// table is empty.
    pub fn pop_random<R>(&mut self, rng: &mut fastrand::Rng, visit: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let handle = self.table.random(rng)?;
        // SAFETY: the handle is in the table; the member is freed below, after its last use.
        let member = unsafe { member_of(handle) };
        let result = visit(member);
        let hash = self.hash(member);
        let removed = self.table.remove(hash, |other| other == handle, &Members { seed: self.seed });
        debug_assert_eq!(removed, Some(handle));
        self.free_block(handle);
        Some(result)
    }

    /// One step of SSCAN: visits some members and returns the next cursor, 0 at the end; see
    /// [`Table::scan`] for what a whole walk promises.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8])) -> u64 {
        // SAFETY: the table hands out its own handles and stays borrowed.
        self.table.scan(cursor, |handle| visit(unsafe { member_of(handle) }))
    }

    /// All members in hash order; loads members ahead of their turn.
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(&self.table)
    }

    /// Frees the block of a handle that was just taken out of the table.
    fn free_block(&mut self, handle: u64) {
        // SAFETY: the table gave the handle back, so this is the block's last owner.
        let block = unsafe { MemberBlock::from_handle(handle) };
        self.block_bytes -= block.class_bytes();
        // SAFETY: as above.
        unsafe { block.free() }
    }

    /// Checks the table, and that the blocks' bytes add up and no member stands twice. O(n).
    ///
    /// # Panics
    /// When they do not.
    pub fn check_invariants(&self) {
        self.table.check_invariants(&Members { seed: self.seed });
        let mut bytes = 0;
        for handle in self.table.iter() {
            // SAFETY: the table hands out its own handles and stays borrowed.
            let block = unsafe { MemberBlock::from_handle(handle) };
            bytes += block.class_bytes();
            let member = block.bytes();
            // SAFETY: as above.
            let equal = |other| unsafe { member_of(other) } == member;
            assert_eq!(self.table.find(self.hash(member), equal), Some(handle), "a member stands twice");
        }
        assert_eq!(bytes, self.block_bytes, "bytes of all blocks");
    }
}

impl Clone for MemberTable {
    /// A copy of all members under the same seed. O(n).
    fn clone(&self) -> Self {
        let mut copy = MemberTable::new(self.seed);
        copy.reserve(self.len());
        for member in self.iter() {
            copy.insert_absent(copy.hash(member), member);
        }
        copy
    }
}

impl Drop for MemberTable {
    fn drop(&mut self) {
        // SAFETY: a drained handle is in no table any more: this is the block's last owner.
        self.table.drain(|handle| unsafe { MemberBlock::from_handle(handle).free() });
    }
}

impl PartialEq for MemberTable {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|member| other.contains(member))
    }
}

impl Eq for MemberTable {}

impl fmt::Debug for MemberTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter().map(<[u8]>::escape_ascii)).finish()
    }
}

/// Bytes of the data region that a member of `len` bytes takes beside its place in the table.
pub fn member_bytes(len: usize) -> usize {
    data_alloc::usable_size(block::size_of_block(len))
}

const _: () = assert!(<u64 as Handle>::SLOTS == 7, "the header's figures are for eight-byte handles");
