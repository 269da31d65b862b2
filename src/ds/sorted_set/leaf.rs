//! A leaf: one block with the scores, tags and members of some dozens of neighbours.
//!
//! ```text
//! | header | scores f64, ascending | offsets u16 | tags u8 | ... free ... | members       |
//! 0        24                      (in steps of 8, of 16)                 heap   capacity
//!
//! member   | length u8, 0..=128 | bytes |        or  | 0xFF | address of DataBytes (8) |
//! ```
//!
//! The arrays are in order and close up behind each other; members are not, a new one is put
//! before the last one. What removed members leave is counted (`dead`) and goes when the
//! leaf is rebuilt, which is also how it grows and shrinks: blocks follow the size classes
//! of the allocator, so that a leaf is 90 to 95 % full whatever the order of insertion.
//!
//! In numbers: a 17-byte member takes 8 + 2 + 1 + 1 + 17 = 29 bytes. A score is found by
//! binary search in one array, a member by its tag, 16 at a time.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::inner::InnerPtr;
use crate::ds::table::match_tag;
use crate::sys::data_alloc::{DataBytes, Kind, Mover, Relocate, alloc, free, usable_size};

/// Longest member inside a leaf, bytes. Longer ones would leave too few to a leaf.
pub(super) const INLINE_BYTES_MAX: usize = 128;

/// A leaf that needs more is split, bytes. 1 KiB costs more headers and splits, 4 KiB
/// longer moves in each insert.
pub(super) const LEAF_BYTES_MAX: usize = 2048;

/// Largest block when no more leaves can be numbered, bytes: offsets are 16 bits.
pub(super) const JUMBO_BYTES_MAX: usize = 32 * 1024;

const HEADER_BYTES: usize = size_of::<Header>();
/// Length byte of a member that lies in a block of its own.
const LONG: u8 = 0xFF;
const LONG_ENTRY_BYTES: usize = 1 + size_of::<usize>();
const ENTRY_BYTES_MAX: usize = 1 + INLINE_BYTES_MAX;

#[repr(C)]
struct Header {
    parent: Option<InnerPtr>,
    id: u32,
    capacity: u16,
    count: u16,
    /// Where the members begin.
    heap: u16,
    /// Bytes of removed members behind `heap`.
    dead: u16,
}

const _: () = assert!(HEADER_BYTES == 24 && align_of::<Header>() == 8);
const _: () = assert!(JUMBO_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(INLINE_BYTES_MAX < LONG as usize);

/// A member as a leaf stores it, on its way into or between leaves. Not dropped by itself:
/// a long one belongs to the leaf that it is put into.
pub(super) struct Entry {
    bytes: [u8; ENTRY_BYTES_MAX],
    len: u8,
}

impl Entry {
    /// A copy of `member`.
    pub fn new(member: &[u8]) -> Self {
        let mut bytes = [0; ENTRY_BYTES_MAX];
        if member.len() <= INLINE_BYTES_MAX {
            bytes[0] = member.len() as u8;
            bytes[1..=member.len()].copy_from_slice(member);
            return Entry { bytes, len: 1 + member.len() as u8 };
        }
        bytes[0] = LONG;
        let address = DataBytes::from_slice(member).into_raw().as_ptr().expose_provenance();
        bytes[1..LONG_ENTRY_BYTES].copy_from_slice(&address.to_ne_bytes());
        Entry { bytes, len: LONG_ENTRY_BYTES as u8 }
    }

    fn stored(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Bytes that it takes in a leaf, without score, offset and tag.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub fn member(&self) -> &[u8] {
        // SAFETY: `bytes` holds a whole stored member, whose block (if long) is live.
        unsafe { stored_member(self.bytes.as_ptr()) }
    }

    /// Bytes of the block of a long member.
    pub fn long_bytes(&self) -> usize {
        if self.bytes[0] == LONG { usable_size(size_of::<u64>() + self.member().len()) } else { 0 }
    }

    /// Frees the block of a long member that no leaf holds any more.
    pub fn discard(self) {
        free_stored(self.stored());
    }
}

/// The member stored at `at`.
///
/// # Safety
/// A whole stored member begins at `at`; it and a long member's block outlive `'a`.
#[inline(always)]
unsafe fn stored_member<'a>(at: *const u8) -> &'a [u8] {
    // SAFETY: at least the length byte is there (caller).
    let len = unsafe { at.read() };
    if len == LONG {
        // SAFETY: an address of `into_raw` follows, of a live block (caller).
        return unsafe { DataBytes::slice_of_raw(long_block(at)) };
    }
    // SAFETY: `len` bytes follow (caller).
    unsafe { std::slice::from_raw_parts(at.add(1), usize::from(len)) }
}

/// # Safety
/// A stored long member begins at `at`.
unsafe fn long_block(at: *const u8) -> NonNull<u8> {
    // SAFETY: 8 bytes of address follow the length byte (caller), at any alignment.
    let address = unsafe { at.add(1).cast::<usize>().read_unaligned() };
    NonNull::new(std::ptr::with_exposed_provenance_mut(address)).expect("into_raw gives no null")
}

fn free_stored(stored: &[u8]) {
    if stored[0] == LONG {
        // SAFETY: a stored long member of which the caller gives up the only copy.
        drop(unsafe { DataBytes::from_raw(long_block(stored.as_ptr())) });
    }
}

/// A pointer to a live leaf.
///
/// The methods are safe to call because a value is only made for a live block and the tree
/// drops its copies before it frees the block; its borrow covers every result and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeafPtr(NonNull<u8>);

// SAFETY: a leaf is plain bytes and blocks of the data region, which any thread may use and
// free; who may do so follows from the borrow of the tree that owns it.
unsafe impl Send for LeafPtr {}
// SAFETY: as above; shared use only reads.
unsafe impl Sync for LeafPtr {}

#[inline(always)]
fn offsets_at(count: usize) -> usize {
    HEADER_BYTES + 8 * count.next_multiple_of(8)
}

#[inline(always)]
fn tags_at(count: usize) -> usize {
    HEADER_BYTES + 10 * count.next_multiple_of(8)
}

/// Bytes of header and arrays.
#[inline(always)]
fn arrays_end(count: usize) -> usize {
    tags_at(count) + count.next_multiple_of(16)
}

/// The block size for a leaf with `live` bytes: some room to grow, then the whole class.
pub(super) fn capacity_for(live: usize) -> usize {
    /// 1/16 of 1 to 2 KiB with the rounding of the class is room for 6 members or so.
    const ROOM_SHARE: usize = 16;
    /// Smaller leaves are the only ones of their set, or about to grow.
    const SMALL_BYTES: usize = 1024;
    let room = if live < SMALL_BYTES { live / 4 } else { live / ROOM_SHARE };
    let limit = LEAF_BYTES_MAX.max(live);
    usable_size((live + room).min(limit)).min(JUMBO_BYTES_MAX)
}

impl LeafPtr {
    /// An empty leaf in a block of `capacity` bytes.
    pub fn alloc(capacity: usize, id: u32) -> Self {
        debug_assert!(capacity > arrays_end(1) && capacity <= JUMBO_BYTES_MAX);
        let leaf = LeafPtr(alloc(Kind::Value, capacity));
        let size = capacity as u16;
        let header = Header { parent: None, id, capacity: size, count: 0, heap: size, dead: 0 };
        // SAFETY: a fresh block, larger than a header, aligned to 8.
        unsafe { leaf.0.cast::<Header>().write(header) };
        leaf
    }

    /// Frees the block; long members stay.
    pub fn free(self) {
        let capacity = self.capacity();
        // SAFETY: allocated in `alloc` with this size; the caller drops its copies.
        unsafe { free(self.0, capacity) }
    }

    /// Moves the block out of a slab that is to be emptied, after the blocks of its long members.
    /// The caller replaces all references to the leaf.
    pub fn relocate(self, mover: &mut Mover) -> Option<Self> {
        for index in 0..self.count() {
            let at = self.at(usize::from(self.offsets()[index]));
            // SAFETY: a stored member begins there; of a long one the leaf owns the block alone and
            // gets its new address.
            unsafe {
                if at.read() == LONG {
                    let mut long = DataBytes::from_raw(long_block(at));
                    long.relocate(mover);
                    let address = long.into_raw().as_ptr().expose_provenance();
                    at.add(1).cast::<usize>().write_unaligned(address);
                }
            }
        }
        // SAFETY: allocated in `alloc` with this size, under the set's exclusive borrow.
        unsafe { mover.relocate(self.0, self.capacity()) }.map(LeafPtr)
    }

    /// Frees the block and all long members.
    pub fn free_all(self) {
        for index in 0..self.count() {
            free_stored(self.stored(index));
        }
        self.free();
    }

    /// A leaf again from what [`LeafPtr::node`] gave.
    ///
    /// # Safety
    /// `node` came from a leaf that is live.
    #[inline(always)]
    pub unsafe fn from_node(node: NonNull<u8>) -> Self {
        LeafPtr(node)
    }

    /// The address, for inner nodes and the list of leaves.
    #[inline(always)]
    pub fn node(self) -> NonNull<u8> {
        self.0
    }

    #[inline(always)]
    fn header<'a>(self) -> &'a Header {
        // SAFETY: the header of a live block, see the type.
        unsafe { self.0.cast().as_ref() }
    }

    #[inline(always)]
    fn header_mut<'a>(self) -> &'a mut Header {
        // SAFETY: as in `header`; no result of it is held over a change.
        unsafe { self.0.cast().as_mut() }
    }

    #[inline(always)]
    fn at(self, offset: usize) -> *mut u8 {
        debug_assert!(offset <= self.capacity());
        // SAFETY: inside the block or one past its end.
        unsafe { self.0.as_ptr().add(offset) }
    }

    pub fn parent(self) -> Option<InnerPtr> {
        self.header().parent
    }

    pub fn set_parent(self, parent: Option<InnerPtr>) {
        self.header_mut().parent = parent;
    }

    #[inline(always)]
    pub fn id(self) -> u32 {
        self.header().id
    }

    #[inline(always)]
    pub fn count(self) -> usize {
        usize::from(self.header().count)
    }

    #[inline(always)]
    pub fn capacity(self) -> usize {
        usize::from(self.header().capacity)
    }

    /// The scores, ascending.
    #[inline(always)]
    pub fn scores<'a>(self) -> &'a [f64] {
        // SAFETY: `count` initialised, aligned scores follow the header.
        unsafe { std::slice::from_raw_parts(self.at(HEADER_BYTES).cast(), self.count()) }
    }

    pub fn set_score(self, index: usize, score: f64) {
        assert!(index < self.count(), "the element exists");
        // SAFETY: one of the scores.
        unsafe { self.at(HEADER_BYTES).cast::<f64>().add(index).write(score) }
    }

    #[inline(always)]
    fn offsets<'a>(self) -> &'a mut [u16] {
        let count = self.count();
        // SAFETY: `count` initialised offsets at an even place; not held over a change.
        unsafe { std::slice::from_raw_parts_mut(self.at(offsets_at(count)).cast(), count) }
    }

    /// The member at `index`.
    #[inline(always)]
    pub fn member<'a>(self, index: usize) -> &'a [u8] {
        let offset = self.offsets()[index];
        // SAFETY: offsets point at whole stored members, which live as long as the leaf.
        unsafe { stored_member(self.at(usize::from(offset))) }
    }

    /// The member at `index` as it is stored.
    fn stored<'a>(self, index: usize) -> &'a [u8] {
        let at = self.at(usize::from(self.offsets()[index]));
        // SAFETY: a stored member begins there with its length byte.
        let len = unsafe { at.read() };
        let len = if len == LONG { LONG_ENTRY_BYTES } else { 1 + usize::from(len) };
        // SAFETY: a whole stored member lies there.
        unsafe { std::slice::from_raw_parts(at, len) }
    }

    /// A copy of the member at `index` as it is stored.
    pub fn entry(self, index: usize) -> Entry {
        let stored = self.stored(index);
        let mut bytes = [0; ENTRY_BYTES_MAX];
        bytes[..stored.len()].copy_from_slice(stored);
        Entry { bytes, len: stored.len() as u8 }
    }

    #[inline(always)]
    fn tag_chunk<'a>(self, chunk: usize) -> &'a [u8; 16] {
        debug_assert!(16 * chunk < self.count());
        // SAFETY: tags fill whole steps of 16 initialised bytes.
        unsafe { &*self.at(tags_at(self.count()) + 16 * chunk).cast() }
    }

    #[inline(always)]
    pub fn tag(self, index: usize) -> u8 {
        self.tag_chunk(index / 16)[index % 16]
    }

    /// The indexes of all members with this tag.
    #[inline(always)]
    pub fn tagged(self, tag: u8) -> impl Iterator<Item = usize> {
        let count = self.count();
        (0..count.div_ceil(16)).flat_map(move |chunk| {
            let valid = u32::MAX >> (32 - (count - 16 * chunk).min(16));
            Bits(match_tag(self.tag_chunk(chunk), tag) & valid).map(move |bit| 16 * chunk + bit)
        })
    }

    /// The index of `member`, whose tag is `tag`.
    #[inline(always)]
    pub fn find(self, member: &[u8], tag: u8) -> Option<usize> {
        self.tagged(tag).find(|&index| self.member(index) == member)
    }

    /// Bytes of header, arrays and members.
    pub fn live_bytes(self) -> usize {
        arrays_end(self.count()) + self.heap_bytes()
    }

    /// Bytes of the members that are there.
    fn heap_bytes(self) -> usize {
        let header = self.header();
        usize::from(header.capacity - header.heap - header.dead)
    }

    /// Bytes of all with one more entry of `len` bytes.
    pub fn bytes_with(self, len: usize) -> usize {
        arrays_end(self.count() + 1) + self.heap_bytes() + len
    }

    /// Whether an entry of `len` bytes fits without rebuilding.
    #[inline(always)]
    pub fn fits(self, len: usize) -> bool {
        arrays_end(self.count() + 1) + len <= usize::from(self.header().heap)
    }

    /// Puts an entry at `index`. O(bytes of the arrays).
    pub fn insert(self, index: usize, score: f64, tag: u8, entry: &Entry) {
        assert!(index <= self.count() && self.fits(entry.len()), "room was made");
        let offset = self.push_stored(entry.stored());
        self.open(index, score, offset, tag);
    }

    /// Puts a stored member before the others and returns its offset.
    fn push_stored(self, stored: &[u8]) -> u16 {
        let header = self.header_mut();
        header.heap -= stored.len() as u16;
        let at = self.at(usize::from(header.heap));
        // SAFETY: the free space ends at the old `heap` and is large enough (caller).
        unsafe { std::ptr::copy_nonoverlapping(stored.as_ptr(), at, stored.len()) };
        header.heap
    }

    /// Makes a place in the three arrays and fills it.
    fn open(self, index: usize, score: f64, offset: u16, tag: u8) {
        let old = self.count();
        let new = old + 1;
        let (old_tags, new_tags) = (tags_at(old), tags_at(new));
        let (old_offsets, new_offsets) = (offsets_at(old), offsets_at(new));
        // From the top down, so that nothing is overwritten before it moved.
        self.shift(old_tags + index, new_tags + index + 1, old - index);
        if old_tags != new_tags {
            self.shift(old_tags, new_tags, index);
            // SAFETY: from behind the last tag to the end of the arrays, inside the free space.
            unsafe { self.at(new_tags + new).write_bytes(0, new.next_multiple_of(16) - new) };
        }
        self.shift(old_offsets + 2 * index, new_offsets + 2 * index + 2, 2 * (old - index));
        if old_tags != new_tags {
            self.shift(old_offsets, new_offsets, 2 * index);
        }
        self.shift(HEADER_BYTES + 8 * index, HEADER_BYTES + 8 * index + 8, 8 * (old - index));
        self.header_mut().count = new as u16;
        // SAFETY: the place in each array that was opened.
        unsafe {
            self.at(HEADER_BYTES).cast::<f64>().add(index).write(score);
            self.at(new_offsets).cast::<u16>().add(index).write(offset);
            self.at(new_tags + index).write(tag);
        }
    }

    /// Moves `len` bytes.
    #[inline(always)]
    fn shift(self, from: usize, to: usize, len: usize) {
        debug_assert!(from.max(to) + len <= self.capacity());
        // SAFETY: both ranges lie inside the block.
        unsafe { std::ptr::copy(self.at(from), self.at(to), len) }
    }

    /// Takes the element at `index` out; a long member's block stays. O(bytes of the arrays).
    pub fn remove(self, index: usize) {
        let old = self.count();
        assert!(index < old, "the element exists");
        let len = self.stored(index).len() as u16;
        let header = self.header_mut();
        if self.offsets()[index] == header.heap {
            header.heap += len;
        } else {
            header.dead += len;
        }
        let new = old - 1;
        let (old_tags, new_tags) = (tags_at(old), tags_at(new));
        let (old_offsets, new_offsets) = (offsets_at(old), offsets_at(new));
        let tail = new - index;
        self.shift(HEADER_BYTES + 8 * (index + 1), HEADER_BYTES + 8 * index, 8 * tail);
        if old_tags != new_tags {
            self.shift(old_offsets, new_offsets, 2 * index);
        }
        self.shift(old_offsets + 2 * (index + 1), new_offsets + 2 * index, 2 * tail);
        if old_tags != new_tags {
            self.shift(old_tags, new_tags, index);
        }
        self.shift(old_tags + index + 1, new_tags + index, tail);
        header.count = new as u16;
    }

    /// A copy of the elements from `from` up to `to` in a block of its own, closely packed,
    /// with the same id and parent. Long members are then shared: one of the two must go.
    pub fn copy_range(self, from: usize, to: usize, capacity: usize) -> LeafPtr {
        let copy = LeafPtr::alloc(capacity, self.id());
        copy.set_parent(self.parent());
        copy.append_range(self, from, to);
        copy
    }

    /// Appends copies of the elements `from` up to `to` of another leaf. They fit.
    pub fn append_range(self, source: LeafPtr, from: usize, to: usize) {
        let (old, added) = (self.count(), to - from);
        let new = old + added;
        assert!(arrays_end(new) <= usize::from(self.header().heap), "room was made");
        self.spread(old, new);
        self.header_mut().count = new as u16;
        // SAFETY: places `old..new` of each array are inside the block and not read before
        // this, and the source has elements `from..to`.
        unsafe {
            let scores = self.at(HEADER_BYTES).cast::<f64>().add(old);
            std::ptr::copy_nonoverlapping(source.scores()[from..to].as_ptr(), scores, added);
            let tags = source.at(tags_at(source.count()) + from);
            std::ptr::copy_nonoverlapping(tags, self.at(tags_at(new) + old), added);
        }
        self.append_members(source, from, to, old);
    }

    /// Moves offsets and tags to where they belong with `new` elements; the rest is zero.
    fn spread(self, old: usize, new: usize) {
        self.shift(tags_at(old), tags_at(new), old);
        // SAFETY: from the last tag to the end of the arrays, inside the free space.
        unsafe { self.at(tags_at(new) + old).write_bytes(0, new.next_multiple_of(16) - old) };
        self.shift(offsets_at(old), offsets_at(new), 2 * old);
        // SAFETY: from the last offset to the tags.
        unsafe { self.at(offsets_at(new) + 2 * old).write_bytes(0, 2 * (new.next_multiple_of(8) - old)) };
    }

    fn append_members(self, source: LeafPtr, from: usize, to: usize, place: usize) {
        let whole = to - from == source.count() && source.header().dead == 0;
        if whole {
            // All members in one move; only the distance of the offsets changes.
            let start = usize::from(source.header().heap);
            let len = source.capacity() - start;
            // SAFETY: from the first member to the end of the source's block.
            let members = unsafe { std::slice::from_raw_parts(source.at(start), len) };
            assert!(arrays_end(self.count()) + len <= usize::from(self.header().heap), "room was made");
            let distance = self.push_stored(members).wrapping_sub(start as u16);
            for (own, other) in self.offsets()[place..].iter_mut().zip(source.offsets().iter()) {
                *own = other.wrapping_add(distance);
            }
            return;
        }
        for index in from..to {
            let stored = source.stored(index);
            assert!(
                arrays_end(self.count()) + stored.len() <= usize::from(self.header().heap),
                "room was made"
            );
            self.offsets()[place + index - from] = self.push_stored(stored);
        }
    }

    /// Where to split so that both sides hold about the same number of bytes, and the bytes
    /// that the left side then needs. At least one element stays on each side.
    pub fn middle(self) -> usize {
        let half = self.heap_bytes() / 2 + 6 * self.count();
        let mut sum = 0;
        for index in 0..self.count() {
            sum += self.stored(index).len() + 12;
            if sum >= half {
                return (index + 1).clamp(1, self.count() - 1);
            }
        }
        self.count() / 2
    }

    /// Bytes that the elements from `from` up to `to` need in a leaf of their own, with room
    /// for one more entry of `extra` bytes.
    pub fn bytes_of(self, from: usize, to: usize, extra: usize) -> usize {
        let members: usize = (from..to).map(|index| self.stored(index).len()).sum();
        arrays_end(to - from + 1) + members + extra
    }

    /// Checks one leaf alone; panics on a contradiction.
    pub fn check_invariants(self) {
        let (header, count) = (self.header(), self.count());
        assert!(arrays_end(count) <= usize::from(header.heap), "arrays run into members");
        assert!(header.heap <= header.capacity);
        let members: usize = (0..count).map(|index| self.stored(index).len()).sum();
        assert_eq!(members, self.heap_bytes(), "live and dead bytes");
        for index in 0..count {
            let end = usize::from(self.offsets()[index]) + self.stored(index).len();
            assert!(self.offsets()[index] >= header.heap && end <= self.capacity());
            assert!(!self.scores()[index].is_nan());
        }
    }
}

/// The set bits of a word, from the lowest.
struct Bits(u32);

impl Iterator for Bits {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros();
        self.0 &= self.0.checked_sub(1)?;
        Some(bit as usize)
    }
}
