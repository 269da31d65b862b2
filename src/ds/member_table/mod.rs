//! Member table: the distinct byte strings of a big set.
//!
//! Owns thin blocks in the data region, one for each member, and hash tables of their handles:
//!
//! ```text
//!   near: ds::table of 4 bytes a handle ─► [ length, varint 1..5 | bytes ]
//!   far:  ds::table of 8 bytes a handle ─► [ length, varint 1..5 | bytes ]
//! ```
//!
//! A near handle is the block's distance from the start of the data region in units of 8 bytes: it
//! reaches 32 GiB. Blocks beyond (and those of members above 1 MiB, which are mappings of their
//! own) have their address in the far table. Nearly always that one is empty and costs a look at
//! its length; no member ever changes tables, so nothing has to be moved when data outgrows 32 GiB.
//! A length below 128 takes one byte, each further seven bits one byte more, lowest bits first.
//!
//! Trade-off: a member of 17 bytes takes a block of 24 and 8.4 bytes of the table, 32.4 in all;
//! Redis 7.2 takes 45 (entry 16, string 24, table 8 or more). No length, hash or pointer is kept beside
//! the bytes, so growth hashes again: once a member over the table's life.
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
    CURSOR_BITS, Handle, ResizePolicy, Resolver, Table, TableStats, collection_resize_policy,
};
use crate::sys::data_alloc::{self, Cursor, Mover};
use block::MemberBlock;
pub use iter::Iter;
use std::fmt;

/// A cursor with this bit is one of the far table, which a scan comes to last.
const FAR_CURSOR: u64 = 1 << CURSOR_BITS;

/// A set of byte strings of any size.
pub struct MemberTable {
    near: Table<u32>,
    far: Table<u64>,
    seed: HashSeed,
    /// Bytes of all member blocks, by size class.
    block_bytes: usize,
}

// SAFETY: the table owns its blocks alone and nothing in them is bound to a thread; shared
// references only read.
unsafe impl Sync for MemberTable {}

/// What the tables ask about their handles.
#[derive(Clone, Copy)]
struct Members {
    seed: HashSeed,
}

impl Resolver<u32> for Members {
    #[inline(always)]
    fn hash(&self, handle: u32) -> u64 {
        // SAFETY: the table asks only about handles that it holds, whose blocks live.
        self.seed.hash(unsafe { near_member(handle) })
    }

    #[inline(always)]
    fn prefetch(&self, handle: u32) {
        // SAFETY: as above.
        unsafe { MemberBlock::from_near(handle) }.prefetch();
    }

    #[inline(always)]
    fn resize_policy(&self) -> ResizePolicy {
        collection_resize_policy()
    }
}

impl Resolver<u64> for Members {
    fn hash(&self, handle: u64) -> u64 {
        // SAFETY: the table asks only about handles that it holds, whose blocks live.
        self.seed.hash(unsafe { far_member(handle) })
    }

    fn resize_policy(&self) -> ResizePolicy {
        collection_resize_policy()
    }
}

/// The member behind a handle of a table that is borrowed for `'a`.
///
/// # Safety
/// The handle is in a near table that neither changes nor goes during `'a`.
#[inline(always)]
unsafe fn near_member<'a>(handle: u32) -> &'a [u8] {
    // SAFETY: handles in a table belong to live blocks, by the contract unchanged through `'a`.
    unsafe { MemberBlock::from_near(handle) }.bytes()
}

/// As [`near_member`] of a far table.
///
/// # Safety
/// The handle is in a far table that neither changes nor goes during `'a`.
unsafe fn far_member<'a>(handle: u64) -> &'a [u8] {
    // SAFETY: as in `near_member`.
    unsafe { MemberBlock::from_far(handle) }.bytes()
}

impl MemberTable {
    /// An empty table whose hashes are those of `seed`; allocates nothing.
    pub const fn new(seed: HashSeed) -> Self {
        MemberTable { near: Table::new(), far: Table::new(), seed, block_bytes: 0 }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.near.len() + self.far.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The seed of this table's hashes.
    pub fn seed(&self) -> HashSeed {
        self.seed
    }

    /// Bytes of the data region held for members and table, by size class; O(1).
    pub fn memory_bytes(&self) -> usize {
        self.block_bytes + self.near.memory_bytes() + self.far.memory_bytes()
    }

    /// Figures of the near table for DEBUG HTSTATS-KEY; O(n).
    pub fn stats(&self) -> TableStats {
        self.near.stats()
    }

    /// Makes an empty table ready for `len` members, so that filling it rebuilds nothing.
    pub fn reserve(&mut self, len: usize) {
        if self.is_empty() {
            self.near.reserve(len);
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
        self.near.prefetch_bucket(hash);
    }

    /// Second stage: starts loading the members that the look-up will compare.
    #[inline]
    pub fn prefetch_members(&self, hash: u64) {
        self.near.prefetch_matches(hash, &self.members());
    }

    /// Whether `member` is in the table; two cache misses.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.contains_hashed(self.hash(member), member)
    }

    /// As [`MemberTable::contains`] with the member's hash.
    #[inline]
    pub fn contains_hashed(&self, hash: u64, member: &[u8]) -> bool {
        // SAFETY: the closure sees handles of the borrowed table only.
        let near = self.near.find(hash, |handle| unsafe { near_member(handle) } == member);
        near.is_some() || (!self.far.is_empty() && self.is_far(hash, member))
    }

    #[cold]
    fn is_far(&self, hash: u64, member: &[u8]) -> bool {
        // SAFETY: the closure sees handles of the borrowed table only.
        self.far.find(hash, |handle| unsafe { far_member(handle) } == member).is_some()
    }

    #[inline(always)]
    fn members(&self) -> Members {
        Members { seed: self.seed }
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
        let members = self.members();
        match block.near_handle() {
            Some(handle) => self.near.insert(hash, handle, &members),
            None => self.far.insert(hash, block.far_handle(), &members),
        }
    }

    /// Removes `member`; whether it was there. O(1), at times the rebuild of one segment.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        self.remove_hashed(self.hash(member), member)
    }

    /// As [`MemberTable::remove`] with the member's hash.
    pub fn remove_hashed(&mut self, hash: u64, member: &[u8]) -> bool {
        let members = self.members();
        // SAFETY: the closure sees handles of the borrowed table only.
        let equal = |handle| unsafe { near_member(handle) } == member;
        if let Some(handle) = self.near.remove(hash, equal, &members) {
            // SAFETY: the table gave the handle back, so this is the block's last owner.
            unsafe { self.free_block(MemberBlock::from_near(handle)) };
            return true;
        }
        !self.far.is_empty() && self.remove_far(hash, member)
    }

    #[cold]
    fn remove_far(&mut self, hash: u64, member: &[u8]) -> bool {
        let members = self.members();
        // SAFETY: the closure sees handles of the borrowed table only.
        let equal = |handle| unsafe { far_member(handle) } == member;
        let removed = self.far.remove(hash, equal, &members);
        if let Some(handle) = removed {
            // SAFETY: as in `remove_hashed`.
            unsafe { self.free_block(MemberBlock::from_far(handle)) };
        }
        removed.is_some()
    }

    /// A member chosen with equal chances; `None` only in an empty table.
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<&[u8]> {
        self.random_block(rng).map(MemberBlock::bytes)
    }

    /// The block of a random member: of either table, by their shares.
    fn random_block(&self, rng: &mut fastrand::Rng) -> Option<MemberBlock> {
        // SAFETY: the handles are in the tables, so their blocks live.
        unsafe {
            if !self.far.is_empty() && rng.usize(..self.len()) >= self.near.len() {
                return self.far.random(rng).map(|handle| MemberBlock::from_far(handle));
            }
            self.near.random(rng).map(|handle| MemberBlock::from_near(handle))
        }
    }

    /// Removes a member chosen with equal chances after showing it to `visit`. `None` when the
    /// table is empty.
    pub fn pop_random<R>(&mut self, rng: &mut fastrand::Rng, visit: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let block = self.random_block(rng)?;
        let result = visit(block.bytes());
        let hash = self.hash(block.bytes());
        let members = self.members();
        let near = block.near_handle();
        let was_near = near.and_then(|near| self.near.remove(hash, |other| other == near, &members));
        if was_near.is_none() {
            let far = block.far_handle();
            self.far.remove(hash, |other| other == far, &members);
        }
        // SAFETY: the block was in one of the tables and is now in none.
        unsafe { self.free_block(block) };
        Some(result)
    }

    /// One step of SSCAN: visits some members and returns the next cursor, 0 at the end; see
    /// [`Table::scan`] for what a whole walk promises.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8])) -> u64 {
        if cursor & FAR_CURSOR == 0 {
            // SAFETY: the table hands out its own handles and stays borrowed.
            let next = self.near.scan(cursor, |handle| visit(unsafe { near_member(handle) }));
            return if next == 0 && !self.far.is_empty() { FAR_CURSOR } else { next };
        }
        // SAFETY: as above.
        match self.far.scan(cursor & !FAR_CURSOR, |handle| visit(unsafe { far_member(handle) })) {
            0 => 0,
            next => next | FAR_CURSOR,
        }
    }

    /// All members in hash order; loads members ahead of their turn.
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(&self.near, &self.far)
    }

    /// Empties the table and calls `pause` now and then.
    pub fn clear_pausing(&mut self, pause: &mut dyn FnMut()) {
        // SAFETY: a drained handle is in no table any more: this is the block's last owner.
        self.near.drain_pausing(|handle| unsafe { MemberBlock::from_near(handle).free() }, pause);
        // SAFETY: as above.
        self.far.drain_pausing(|handle| unsafe { MemberBlock::from_far(handle).free() }, pause);
        self.block_bytes = 0;
    }

    /// One step of defragmentation: a bucket of the near table, then of the far one. `None`: done.
    /// Beyond 32 GiB of data members stay, since a near one must not move out of reach.
    pub fn relocate(&mut self, cursor: Cursor, mover: &mut Mover) -> Option<Cursor> {
        let members = self.members();
        let stay = !block::is_all_near();
        match cursor.stage {
            0 => {
                let next = self.near.relocate(cursor.position, mover, &members, |handle, mover| {
                    if stay {
                        return None;
                    }
                    // SAFETY: the table owns its blocks alone, and the handle it holds is replaced.
                    let moved = unsafe { MemberBlock::from_near(handle).relocate(mover) }?;
                    Some(moved.near_handle().expect("the whole region is in reach"))
                });
                Some(cursor.after(next))
            }
            _ => {
                let next = self.far.relocate(cursor.position, mover, &members, |handle, mover| {
                    if stay {
                        return None;
                    }
                    // SAFETY: as above.
                    let moved = unsafe { MemberBlock::from_far(handle).relocate(mover) }?;
                    Some(moved.far_handle())
                });
                (next != 0).then(|| cursor.after(next))
            }
        }
    }

    /// # Safety
    /// The block was one of this table's and is in none of its tables any more.
    unsafe fn free_block(&mut self, block: MemberBlock) {
        self.block_bytes -= block.class_bytes();
        // SAFETY: by the contract this is the block's last owner.
        unsafe { block.free() }
    }

    /// Checks both tables, and that the blocks' bytes add up and no member stands twice. O(n).
    ///
    /// # Panics
    /// When they do not.
    pub fn check_invariants(&self) {
        self.near.check_invariants(&self.members());
        self.far.check_invariants(&self.members());
        let bytes: usize = self.iter().map(|member| member_bytes(member.len())).sum();
        assert_eq!(bytes, self.block_bytes, "bytes of all blocks");
        let distinct: std::collections::HashSet<&[u8]> = self.iter().collect();
        assert_eq!(distinct.len(), self.len(), "no member stands twice");
        assert!(self.iter().all(|member| self.contains(member)), "every member is found");
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
        self.clear_pausing(&mut || {});
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

const _: () = assert!(<u32 as Handle>::SLOTS == 12, "the header's figures are for twelve to a bucket");
