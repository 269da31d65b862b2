//! One node of the ordered map: a block of the data region with sorted keys and, beside them,
//! values (a leaf) or the children that the keys are lower bounds of (an inner node).
//!
//! ```text
//! | len u16 | capacity u16 | - | key | key | .. capacity | value | value | .. capacity |
//! 0                            8                         keys_end
//! ```
//!
//! Owns the layout and the moves of entries within and between nodes; knows no tree. Keys stand
//! together, so that a search reads no values.
#![allow(unsafe_code)]

use crate::sys::data_alloc::{ALIGN_BYTES, Kind, Mover, alloc, free, usable_size};
use std::marker::PhantomData;
use std::mem::size_of;
use std::ptr::{self, NonNull};
use std::slice;

/// Entries of a full node. 64 ids are 16 lines of keys, six comparisons; an edit moves 1.5 KiB on
/// average in the group's pending list.
pub(super) const NODE_ENTRIES_MAX: usize = 64;
/// Entries of the first block of a leaf; it doubles from here on.
pub(super) const FIRST_ENTRIES: usize = 4;

const _: () = assert!(NODE_ENTRIES_MAX <= u16::MAX as usize && FIRST_ENTRIES <= NODE_ENTRIES_MAX);

#[repr(C)]
struct Header {
    len: u16,
    capacity: u16,
}

/// Bytes before the keys.
const HEADER_BYTES: usize = ALIGN_BYTES;

const _: () = assert!(size_of::<Header>() <= HEADER_BYTES);

/// Where a node is, whatever it holds: what an inner node keeps of its children.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link(NonNull<u8>);

/// A live node whose entries are `(K, T)`. A handle, not an owner: the map that owns the blocks
/// ties every borrow it hands out to a borrow of itself, and uses no handle after freeing its node.
pub(super) struct Node<K, T> {
    block: NonNull<u8>,
    entries: PhantomData<(K, T)>,
}

impl<K, T> Clone for Node<K, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, T> Copy for Node<K, T> {}

impl<K, T> Node<K, T> {
    const FITS: () = assert!(align_of::<K>() <= ALIGN_BYTES && align_of::<T>() <= ALIGN_BYTES);

    /// An empty node with room for `capacity` entries.
    pub fn alloc(capacity: usize) -> Self {
        const { Self::FITS };
        debug_assert!((1..=NODE_ENTRIES_MAX).contains(&capacity));
        let block = alloc(Kind::Value, Self::block_bytes(capacity));
        // SAFETY: freshly allocated, 8-byte aligned, larger than a header.
        unsafe { block.cast::<Header>().write(Header { len: 0, capacity: capacity as u16 }) };
        Self { block, entries: PhantomData }
    }

    /// The node at `link`, which must have been made with the same `K` and `T`: the map knows by
    /// the level whether it is a leaf.
    pub fn at(link: Link) -> Self {
        Self { block: link.0, entries: PhantomData }
    }

    pub fn link(self) -> Link {
        Link(self.block)
    }

    /// Gives the block back; the entries must have been moved out or dropped.
    pub fn free(self) {
        let bytes = Self::block_bytes(self.capacity());
        // SAFETY: allocated with this size in `alloc`; the caller drops its handles.
        unsafe { free(self.block, bytes) }
    }

    /// Drops the entries and gives the block back.
    pub fn drop_entries(self) {
        let (len, keys, values) = (self.len(), self.keys_start(), self.values_start());
        self.set_len(0);
        // SAFETY: `len` live keys, which nobody reaches any more.
        unsafe { ptr::slice_from_raw_parts_mut(keys, len).drop_in_place() };
        // SAFETY: `len` live values, which nobody reaches any more.
        unsafe { ptr::slice_from_raw_parts_mut(values, len).drop_in_place() };
        self.free();
    }

    /// Bytes of the data region that a node of this capacity takes.
    pub fn allocated_bytes(self) -> usize {
        usable_size(Self::block_bytes(self.capacity()))
    }

    pub fn len(self) -> usize {
        usize::from(self.header().len)
    }

    pub fn capacity(self) -> usize {
        usize::from(self.header().capacity)
    }

    pub fn is_full(self) -> bool {
        self.len() == self.capacity()
    }

    /// The keys; valid as long as the map is neither changed nor dropped.
    pub fn keys<'a>(self) -> &'a [K] {
        // SAFETY: the first `len` keys are initialised; for `'a` see the type.
        unsafe { slice::from_raw_parts(self.keys_start(), self.len()) }
    }

    /// The values beside the keys, likewise.
    pub fn values<'a>(self) -> &'a [T] {
        // SAFETY: the first `len` values are initialised; for `'a` see the type.
        unsafe { slice::from_raw_parts(self.values_start(), self.len()) }
    }

    /// The value at `index`, to be changed; the map is borrowed mutably.
    pub fn value_mut<'a>(self, index: usize) -> &'a mut T {
        assert!(index < self.len(), "no such entry in the node");
        // SAFETY: an initialised value; for `'a` see the type.
        unsafe { &mut *self.values_start().add(index) }
    }

    /// Key and value at `index`, to be changed without changing the key's order; the map is borrowed
    /// mutably.
    pub fn entry_mut<'a>(self, index: usize) -> (&'a mut K, &'a mut T) {
        assert!(index < self.len(), "no such entry in the node");
        // SAFETY: an initialised key and value in places of their own; for `'a` see the type.
        unsafe { (&mut *self.keys_start().add(index), &mut *self.values_start().add(index)) }
    }

    /// Moves the block out of a slab that is to be emptied; the map replaces its link.
    pub fn relocate(self, mover: &mut Mover) -> Option<Self> {
        let bytes = Self::block_bytes(self.capacity());
        // SAFETY: allocated with this size in `alloc`, and the map is borrowed mutably.
        let block = unsafe { mover.relocate(self.block, bytes) }?;
        Some(Self { block, entries: PhantomData })
    }

    /// Puts `key` in the place of the key at `index` and returns the old one.
    pub fn replace_key(self, index: usize, key: K) -> K {
        assert!(index < self.len(), "no such entry in the node");
        // SAFETY: an initialised key, under the map's exclusive borrow.
        unsafe { ptr::replace(self.keys_start().add(index), key) }
    }

    /// Makes room at `index` and fills it. The node must not be full.
    pub fn insert(self, index: usize, key: K, value: T) {
        let len = self.len();
        assert!(index <= len && !self.is_full(), "insert outside the node");
        // SAFETY: one more entry fits; the gap of each array is written before `len` grows.
        unsafe {
            let keys = self.keys_start().add(index);
            ptr::copy(keys, keys.add(1), len - index);
            keys.write(key);
            let values = self.values_start().add(index);
            ptr::copy(values, values.add(1), len - index);
            values.write(value);
        }
        self.set_len(len + 1);
    }

    /// Takes the entry at `index` out.
    pub fn remove(self, index: usize) -> (K, T) {
        let len = self.len();
        assert!(index < len, "no such entry in the node");
        self.set_len(len - 1);
        // SAFETY: both are initialised and read once; the tail closes the gap.
        unsafe {
            let (keys, values) = (self.keys_start().add(index), self.values_start().add(index));
            let entry = (keys.read(), values.read());
            ptr::copy(keys.add(1), keys, len - index - 1);
            ptr::copy(values.add(1), values, len - index - 1);
            entry
        }
    }

    /// Moves all entries behind those of `left`, which must have room, and frees this block.
    pub fn move_behind(self, left: Self) {
        self.move_tail(0, left);
        self.free();
    }

    /// Moves the entries from `index` on behind those of `target`, which must have room.
    pub fn move_tail(self, index: usize, target: Self) {
        let (len, target_len) = (self.len(), target.len());
        let moved = len - index;
        assert!(target_len + moved <= target.capacity(), "the target node is too small");
        self.set_len(index);
        // SAFETY: different blocks; the entries are initialised here and fit there, and `len` is
        // cut before, grown after: each has one owner.
        unsafe {
            let keys = target.keys_start().add(target_len);
            ptr::copy_nonoverlapping(self.keys_start().add(index), keys, moved);
            let values = target.values_start().add(target_len);
            ptr::copy_nonoverlapping(self.values_start().add(index), values, moved);
        }
        target.set_len(target_len + moved);
    }

    /// The same entries in a block of another capacity, not below the length.
    pub fn with_capacity(self, capacity: usize) -> Self {
        let other = Self::alloc(capacity);
        self.move_behind(other);
        other
    }

    fn header(self) -> &'static Header {
        // SAFETY: a live block starts with its header; the reference is used at once.
        unsafe { self.block.cast::<Header>().as_ref() }
    }

    fn set_len(self, len: usize) {
        debug_assert!(len <= self.capacity());
        // SAFETY: a live block starts with its header, and the map is borrowed mutably.
        unsafe { (*self.block.cast::<Header>().as_ptr()).len = len as u16 };
    }

    fn keys_start(self) -> *mut K {
        // SAFETY: the keys follow the header inside the block.
        unsafe { self.block.as_ptr().add(HEADER_BYTES).cast() }
    }

    fn values_start(self) -> *mut T {
        // SAFETY: the values follow the room for `capacity` keys inside the block.
        unsafe { self.block.as_ptr().add(Self::keys_end(self.capacity())).cast() }
    }

    const fn keys_end(capacity: usize) -> usize {
        HEADER_BYTES + (capacity * size_of::<K>()).next_multiple_of(ALIGN_BYTES)
    }

    const fn block_bytes(capacity: usize) -> usize {
        Self::keys_end(capacity) + capacity * size_of::<T>()
    }
}
