//! The hash table under the keyspace, big hashes and sets, and sorted-set member indexes.
//!
//! It stores *handles* (8-byte addresses or 4-byte indexes) of entries that the caller
//! owns, and knows entries only through 64-bit keyed hashes and a [`Resolver`].
//!
//! ```text
//!  hash   | directory bits | 16 bits: bucket | ...            | 8 bits: tag |
//!
//!  top -> directory -> segment [header | bucket | bucket | ... up to 127]
//!                   -> segment                |
//!                   -> (directory -> ...)     +-> overflow bucket -> ...
//! ```
//!
//! Extendible hashing in hash order: segments, and buckets in them, lie in the order of
//! the hashes they hold. So a position in hash order is a SCAN cursor that no growth or
//! shrinking invalidates, and growth is local: one segment (at most 8 KiB) is rebuilt or
//! split at a time.
//!
//! Trade-off, in numbers (8-byte handles, 7 to a 64-byte bucket): segments split at fills
//! that are spread evenly over 0.8 to 1.6 slots, each at its own. So the average fill stays
//! at 0.8 and the table at 14.1 to 14.5 bytes a key for any number of keys, with one re-hash
//! a key over its growth. 15 % of the keys lie in an overflow bucket, a second cache line.
//! A look-up touches the directory and the bucket, not the segment's header.
//!
//! Files: `memory` (blocks), `tags` (byte search), `bucket` (line and chain), `segment`,
//! `node` (references, directories), `sizes` (thresholds), `resize`, `scan` (cursor,
//! iterator, samples), `relocate` (defragmentation), `expiry` (volatile entries), `stats` (figures, invariants).
#![allow(unsafe_code)]

mod bucket;
mod expiry;
mod memory;
mod node;
mod relocate;
mod resize;
mod scan;
mod segment;
mod sizes;
mod stats;
mod tags;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, Ordering};

use self::bucket::{BucketPtr, Slot};
use self::memory::Ledger;
use self::node::{Directory, NodeRef};
use self::segment::{SegmentPtr, bucket_index};

pub use self::bucket::Handle;
pub use self::expiry::DueVisit;
pub use self::memory::prefetch;
pub use self::scan::{CURSOR_BITS, Iter};
pub use self::stats::TableStats;
pub(in crate::ds) use self::tags::match_tag;

/// Whether segments may be rebuilt now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ResizePolicy {
    /// Grow and shrink as the thresholds say.
    #[default]
    Allow,
    /// A child process shares the pages: no shrinking, growth only of segments with three
    /// times the entries that they have slots for.
    Avoid,
    /// Never; chains take what comes. Growth made up for later takes longer than the
    /// bounds of this module say, by the factor of the overfill.
    Forbid,
}

/// The policy for the tables inside collections. They are many, know no server and are reached
/// one at a time, so the fact that a child lives is told to all of them here.
static COLLECTION_POLICY: AtomicU8 = AtomicU8::new(0);

/// Sets the policy of the tables inside collections.
pub fn set_collection_resize_policy(policy: ResizePolicy) {
    COLLECTION_POLICY.store(policy as u8, Ordering::Relaxed);
}

/// What a collection's [`Resolver::resize_policy`] answers.
#[inline(always)]
pub fn collection_resize_policy() -> ResizePolicy {
    match COLLECTION_POLICY.load(Ordering::Relaxed) {
        0 => ResizePolicy::Allow,
        1 => ResizePolicy::Avoid,
        _ => ResizePolicy::Forbid,
    }
}

/// What the table asks its caller about an entry.
///
/// The table calls `prefetch` well before `hash` and `expiry_ms` of the same handle, so
/// that the entries of a segment are loaded side by side when it is rebuilt. A caller
/// that keeps "has an expiry" in spare bits of its handles answers `expiry_ms` for most
/// entries without touching them.
pub trait Resolver<H> {
    /// The hash that the entry was inserted with.
    fn hash(&self, handle: H) -> u64;

    /// Unix time at which the entry expires, `None` for an entry that does not.
    #[inline(always)]
    fn expiry_ms(&self, _handle: H) -> Option<u64> {
        None
    }

    /// Starts loading what `hash` and `expiry_ms` read.
    #[inline(always)]
    fn prefetch(&self, _handle: H) {}

    /// The policy for this call.
    #[inline(always)]
    fn resize_policy(&self) -> ResizePolicy {
        ResizePolicy::Allow
    }
}

/// A hash table of handles. An empty one owns no memory; a small one is a single segment
/// (128 bytes for up to 7 entries of 8-byte handles).
///
/// The table does not own the entries: dropping or clearing it forgets the handles, use
/// [`Table::drain`] to free what they stand for.
#[derive(Debug)]
pub struct Table<H: Handle> {
    top: NodeRef,
    len: usize,
    volatile_len: usize,
    ledger: Ledger,
    handles: PhantomData<H>,
}

// SAFETY: the table owns its blocks alone, nothing in them is bound to a thread, and a
// handle is plain data (`Handle: Send`).
unsafe impl<H: Handle> Send for Table<H> {}

impl<H: Handle> Default for Table<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Handle> Drop for Table<H> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<H: Handle> Table<H> {
    /// An empty table.
    pub const fn new() -> Self {
        Table { top: NodeRef::NONE, len: 0, volatile_len: 0, ledger: Ledger::EMPTY, handles: PhantomData }
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all blocks that the table owns, as requested from the allocator; without
    /// the `Table` itself and the entries.
    pub fn memory_bytes(&self) -> usize {
        self.ledger.bytes
    }

    /// The reference to the segment of `hash` and the hash bits below its prefix, shifted
    /// to the top. `None` in a table without memory.
    #[inline(always)]
    fn leaf(&self, hash: u64) -> Option<(NodeRef, u64)> {
        let (mut node, mut rest) = (self.top, hash);
        if node.is_none() {
            return None;
        }
        while node.is_directory() {
            // SAFETY: a reference reached from `top` is live while the table is borrowed.
            let child = unsafe { Directory::from_node(node) }.child(rest);
            rest <<= child.local_depth();
            node = child;
        }
        Some((node, rest))
    }

    #[inline(always)]
    fn segment(&self, hash: u64) -> Option<SegmentPtr<H>> {
        let (node, _) = self.leaf(hash)?;
        // SAFETY: a leaf of this table is a live segment with handles `H`.
        Some(unsafe { SegmentPtr::from_node(node) })
    }

    /// The first bucket of a chain, without a look at the segment's header.
    #[inline(always)]
    fn bucket(&self, hash: u64) -> Option<BucketPtr<H>> {
        let (node, rest) = self.leaf(hash)?;
        // SAFETY: as in `segment`.
        let segment = unsafe { SegmentPtr::from_node(node) };
        Some(segment.bucket(bucket_index(rest, node.size())))
    }

    #[inline(always)]
    fn find_slot(&self, hash: u64, equal: impl FnMut(H) -> bool) -> Option<Slot<H>> {
        self.bucket(hash)?.find(hash as u8, equal)
    }

    /// The entry with this hash for which `equal` holds. About two cache misses: the
    /// bucket, and the entry that `equal` reads.
    #[inline]
    pub fn find(&self, hash: u64, equal: impl FnMut(H) -> bool) -> Option<H> {
        self.find_slot(hash, equal).map(Slot::handle)
    }

    /// Like [`Table::find`], with the place of the handle: an entry that moved is put back
    /// under the same hash by writing there. Its expiry must be the same, or
    /// [`Table::expiry_changed`] be told.
    #[inline]
    pub fn find_mut(&mut self, hash: u64, equal: impl FnMut(H) -> bool) -> Option<&mut H> {
        let slot = self.find_slot(hash, equal)?;
        // SAFETY: the slot lies in a live line, and the exclusive borrow of the table
        // keeps everything else away from it while the result lives.
        Some(unsafe { slot.address().as_mut() })
    }

    /// Adds an entry that the caller knows to be absent. Grows the segment of `hash` when
    /// it is full and the policy lets it: about 1,400 entries are re-hashed at most.
    #[inline]
    pub fn insert(&mut self, hash: u64, handle: H, resolver: &impl Resolver<H>) {
        let mut segment = match self.segment(hash) {
            Some(segment) => segment,
            None => self.first_segment(),
        };
        if segment.header().len >= segment.header().grow_at {
            segment = self.grow(hash, segment, resolver);
        }
        segment.append(hash, handle, &mut self.ledger);
        self.len += 1;
        if let Some(expiry_ms) = resolver.expiry_ms(handle) {
            segment.note_volatile(expiry_ms);
            self.volatile_len += 1;
        }
    }

    /// Takes out the entry with this hash for which `equal` holds. The resolver is asked
    /// for its expiry, so it must still be alive. May shrink the segment of `hash`.
    #[inline]
    pub fn remove(
        &mut self,
        hash: u64,
        equal: impl FnMut(H) -> bool,
        resolver: &impl Resolver<H>,
    ) -> Option<H> {
        let bucket = self.bucket(hash)?;
        let slot = bucket.find(hash as u8, equal)?;
        let handle = slot.handle();
        let mut segment = self.segment(hash).expect("the entry was just found in it");
        bucket.remove(slot, &mut self.ledger);
        self.len -= 1;
        segment.header_mut().len -= 1;
        if resolver.expiry_ms(handle).is_some() {
            segment.forget_volatile();
            self.volatile_len -= 1;
        }
        if segment.header().len < segment.header().shrink_at {
            self.shrink(segment, resolver);
        }
        Some(handle)
    }

    #[cold]
    fn first_segment(&mut self) -> SegmentPtr<H> {
        let segment = SegmentPtr::alloc(1, 0, 0, &mut self.ledger);
        self.top = segment.node(0);
        segment
    }

    /// First stage of a batched look-up: starts loading the bucket of `hash`.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if let Some(bucket) = self.bucket(hash) {
            bucket.prefetch();
        }
    }

    /// Second stage: starts loading the entries that [`Table::find`] would look at, and
    /// the next bucket of the chain when none in the first one has the tag.
    #[inline]
    pub fn prefetch_matches(&self, hash: u64, resolver: &impl Resolver<H>) {
        let Some(bucket) = self.bucket(hash) else {
            return;
        };
        let mut mask = bucket.matches(hash as u8);
        if mask == 0
            && let Some(next) = bucket.next()
        {
            next.prefetch();
        }
        while mask != 0 {
            let slot = Slot { bucket, index: mask.trailing_zeros() as usize };
            resolver.prefetch(slot.handle());
            mask &= mask - 1;
        }
    }

    /// Forgets all handles and frees all memory.
    pub fn clear(&mut self) {
        self.drain(|_| {});
    }

    /// Calls `visit` with every handle and leaves the table empty, without memory.
    pub fn drain(&mut self, visit: impl FnMut(H)) {
        self.drain_pausing(visit, &mut || {});
    }

    /// [`Table::drain`] that calls `pause` after each segment.
    pub fn drain_pausing(&mut self, mut visit: impl FnMut(H), pause: &mut dyn FnMut()) {
        // Emptied first: should `visit` panic, memory leaks but nothing is seen twice.
        let top = std::mem::replace(&mut self.top, NodeRef::NONE);
        let mut ledger = std::mem::take(&mut self.ledger);
        (self.len, self.volatile_len) = (0, 0);
        free_tree(top, &mut visit, &mut ledger, pause);
        debug_assert_eq!(ledger, Ledger::EMPTY);
    }
}

/// Frees a node and all below it. Recursion stops after `MAX_LEVELS` directories.
fn free_tree<H: Handle>(
    node: NodeRef,
    visit: &mut impl FnMut(H),
    ledger: &mut Ledger,
    pause: &mut dyn FnMut(),
) {
    if node.is_none() {
        return;
    }
    if !node.is_directory() {
        // SAFETY: the caller took this live segment out of its table.
        let segment = unsafe { SegmentPtr::<H>::from_node(node) };
        segment.for_each(|slot| visit(slot.handle()));
        segment.free(ledger);
        return pause();
    }
    // SAFETY: likewise for a live directory.
    let directory = unsafe { Directory::from_node(node) };
    let mut index = 0;
    while index < directory.len() {
        let child = directory.get(index);
        free_tree(child, visit, ledger, pause);
        index += 1 << (directory.bits - child.local_depth());
    }
    directory.free(ledger);
}
