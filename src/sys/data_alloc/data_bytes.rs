//! `DataBytes`: a growable byte string in the data region behind one thin pointer; what
//! long strings and listpacks are made of.
//!
//! ```text
//! ptr -> [ len u32 | capacity u32 | bytes ... capacity ]     empty: a shared constant header
//! ```
//!
//! Trade-off: 8 bytes of header in the block and 8 bytes where it is held, against 24 for
//! pointer, length and capacity side by side; a length costs a cache line that the bytes
//! need anyway. The capacity always fills the size class, so growth within it is free.
#![allow(unsafe_code)]

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::{self, NonNull};
use std::slice;

use super::{Kind, Mover, Relocate, alloc, free, realloc, usable_size};

#[repr(C)]
struct Header {
    len: u32,
    capacity: u32,
}

const HEADER_BYTES: usize = size_of::<Header>();
/// Growth doubles up to here and adds as much above: large objects grow by page tables.
const MAX_PREALLOCATION_BYTES: usize = 1 << 20;

/// What an empty string points at; never written (its capacity is zero).
static EMPTY: Header = Header { len: 0, capacity: 0 };

/// A growable byte string in the data region.
pub struct DataBytes {
    ptr: NonNull<Header>,
}

// SAFETY: it owns its bytes alone; the shared empty header is never written.
unsafe impl Send for DataBytes {}
// SAFETY: as above.
unsafe impl Sync for DataBytes {}

impl DataBytes {
    /// Longest possible string: 4 GiB less one page, so that sizes fit the header. Limits on
    /// input (`proto-max-bulk-len`) must stay below it.
    pub const MAX_BYTES: usize = u32::MAX as usize - 4095;

    /// An empty string without memory.
    pub fn new() -> Self {
        DataBytes { ptr: NonNull::from(&EMPTY) }
    }

    /// An empty string with room for at least `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes = DataBytes::new();
        bytes.reserve_exact(capacity);
        bytes
    }

    /// A copy of `source` in the smallest size class that fits.
    pub fn from_slice(source: &[u8]) -> Self {
        let mut bytes = DataBytes::with_capacity(source.len());
        bytes.extend_from_slice(source);
        bytes
    }

    fn header(&self) -> &Header {
        // SAFETY: points at a live header, our own or EMPTY.
        unsafe { self.ptr.as_ref() }
    }

    fn data(&self) -> *mut u8 {
        // SAFETY: the bytes follow the header; for EMPTY this is one past its end.
        unsafe { self.ptr.as_ptr().cast::<u8>().add(HEADER_BYTES) }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.header().len as usize
    }

    /// True if the length is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that fit without growing.
    pub fn capacity(&self) -> usize {
        self.header().capacity as usize
    }

    /// Bytes of the data region this string occupies, header included.
    pub fn allocated_bytes(&self) -> usize {
        match self.capacity() {
            0 => 0,
            capacity => usable_size(HEADER_BYTES + capacity),
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the first len bytes are initialised.
        unsafe { slice::from_raw_parts(self.data(), self.len()) }
    }

    /// The bytes, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the first len bytes are initialised, and we are borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.data(), self.len()) }
    }

    fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity());
        if self.capacity() > 0 {
            // SAFETY: a capacity above zero means a header of our own, not EMPTY.
            unsafe { (*self.ptr.as_ptr()).len = len as u32 };
        }
    }

    /// Makes room for `additional` more bytes, with slack for later growth.
    /// Panics above [`Self::MAX_BYTES`].
    pub fn reserve(&mut self, additional: usize) {
        let wanted = self.len().saturating_add(additional);
        if wanted > self.capacity() {
            let slack = wanted.min(MAX_PREALLOCATION_BYTES);
            self.set_capacity(wanted.saturating_add(slack).min(Self::MAX_BYTES.max(wanted)));
        }
    }

    /// Makes room for `additional` more bytes, as little as the size class allows.
    /// Panics above [`Self::MAX_BYTES`].
    pub fn reserve_exact(&mut self, additional: usize) {
        let wanted = self.len().saturating_add(additional);
        if wanted > self.capacity() {
            self.set_capacity(wanted);
        }
    }

    /// Gives slack back if the size class gets smaller by it.
    pub fn shrink_to_fit(&mut self) {
        if self.is_empty() {
            *self = DataBytes::new();
        } else if usable_size(HEADER_BYTES + self.len()) < self.allocated_bytes() {
            self.set_capacity(self.len());
        }
    }

    /// Moves to a block for at least `capacity` bytes, not below the length, not zero.
    fn set_capacity(&mut self, capacity: usize) {
        assert!(capacity <= Self::MAX_BYTES, "a byte string is limited to 4 GiB");
        let old_capacity = self.capacity();
        let size = usable_size(HEADER_BYTES + capacity);
        let block = if old_capacity == 0 {
            let block = alloc(Kind::Bytes, size).cast::<Header>();
            // SAFETY: freshly allocated, larger than a header, 8-byte aligned.
            unsafe { block.write(Header { len: 0, capacity: 0 }) };
            block
        } else {
            // SAFETY: our own block, allocated with a size of this class.
            unsafe { realloc(self.ptr.cast(), HEADER_BYTES + old_capacity, size) }.cast()
        };
        self.ptr = block;
        // SAFETY: the header is our own; MAX_BYTES plus rounding fits 32 bits.
        unsafe { (*block.as_ptr()).capacity = (size - HEADER_BYTES) as u32 };
    }

    /// Takes `source` instead of the contents if it needs a block of the same size; else nothing changes.
    pub fn replace_in_place(&mut self, source: &[u8]) -> bool {
        if self.capacity() == 0 || usable_size(HEADER_BYTES + source.len()) != self.allocated_bytes() {
            return false;
        }
        self.clear();
        self.extend_from_slice(source);
        true
    }

    /// Appends `source`.
    pub fn extend_from_slice(&mut self, source: &[u8]) {
        let len = self.len();
        self.reserve_or_fit(source.len());
        // SAFETY: room for source.len() more bytes was made; source is not our own block,
        // which is borrowed mutably.
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), self.data().add(len), source.len()) };
        self.set_len(len + source.len());
    }

    /// First growth is exact (most strings never grow), later growth has slack.
    fn reserve_or_fit(&mut self, additional: usize) {
        if self.capacity() == 0 { self.reserve_exact(additional) } else { self.reserve(additional) }
    }

    /// Appends one byte.
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Shortens to `len` bytes; nothing if already shorter. Keeps the capacity.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.set_len(len);
        }
    }

    /// Empties, keeping the capacity.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Sets the length, filling new bytes with `fill`.
    pub fn resize(&mut self, new_len: usize, fill: u8) {
        let len = self.len();
        if new_len > len {
            self.reserve_or_fit(new_len - len);
            // SAFETY: room for new_len bytes was made.
            unsafe { ptr::write_bytes(self.data().add(len), fill, new_len - len) };
        }
        self.set_len(new_len);
    }

    /// Replaces the bytes of `range` with `source`: one move of the tail. Panics if the range
    /// lies outside. O(tail + source).
    pub fn splice(&mut self, range: Range<usize>, source: &[u8]) {
        let len = self.len();
        assert!(range.start <= range.end && range.end <= len, "splice outside the string");
        let new_len = len - range.len() + source.len();
        if new_len > len {
            self.reserve_or_fit(new_len - len);
        }
        let tail = len - range.end;
        let data = self.data();
        // SAFETY: old and new tail lie within the capacity, which covers both lengths.
        unsafe { ptr::copy(data.add(range.end), data.add(range.start + source.len()), tail) };
        // SAFETY: the gap is as long as source, which cannot be our own block (`&mut self`).
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), data.add(range.start), source.len()) };
        self.set_len(new_len);
    }

    /// Replaces the `old_len` bytes at `at` by a window of `new_len` bytes, whose content is
    /// whatever stood there, and gives it to be filled. Panics if the old window lies outside.
    /// Does not round the capacity up: call [`Self::reserve`] or [`Self::reserve_exact`] before
    /// for another growth. O(tail).
    #[inline]
    pub fn resize_window(&mut self, at: usize, old_len: usize, new_len: usize) -> &mut [u8] {
        let len = self.len();
        let old_end = at + old_len;
        assert!(old_end <= len, "window outside the string");
        if new_len > old_len {
            self.reserve_exact(new_len - old_len);
        }
        let data = self.data();
        // SAFETY: old and new tail lie within the capacity, which covers both lengths.
        unsafe { ptr::copy(data.add(old_end), data.add(at + new_len), len - old_end) };
        if at + new_len > len {
            // SAFETY: the capacity covers the window; what was never written is zeroed here.
            unsafe { ptr::write_bytes(data.add(len), 0, at + new_len - len) };
        }
        self.set_len(len - old_len + new_len);
        &mut self.as_mut_slice()[at..at + new_len]
    }

    /// Gives slack above `capacity` back if the size class gets smaller by it.
    pub fn shrink_to(&mut self, capacity: usize) {
        let wanted = capacity.max(self.len());
        if wanted == 0 {
            *self = DataBytes::new();
        } else if wanted < self.capacity() && usable_size(HEADER_BYTES + wanted) < self.allocated_bytes() {
            self.set_capacity(wanted);
        }
    }

    /// Inserts `source` at `position`. Panics beyond the end.
    pub fn insert(&mut self, position: usize, source: &[u8]) {
        self.splice(position..position, source);
    }

    /// Removes the bytes of `range`. Panics if it lies outside.
    pub fn remove(&mut self, range: Range<usize>) {
        self.splice(range, &[]);
    }

    /// Gives up ownership for one thin pointer, 8-byte aligned.
    pub fn into_raw(self) -> NonNull<u8> {
        mem::ManuallyDrop::new(self).ptr.cast()
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `raw` must come from [`Self::into_raw`], once.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        DataBytes { ptr: raw.cast() }
    }

    /// The bytes behind a thin pointer, without taking ownership.
    ///
    /// # Safety
    /// `raw` must come from [`Self::into_raw`]; nobody changes or frees it during `'a`.
    pub unsafe fn slice_of_raw<'a>(raw: NonNull<u8>) -> &'a [u8] {
        // SAFETY: a live header (caller).
        let len = unsafe { raw.cast::<Header>().as_ref() }.len as usize;
        // SAFETY: len initialised bytes follow the header.
        unsafe { slice::from_raw_parts(raw.as_ptr().add(HEADER_BYTES), len) }
    }
}

impl Relocate for DataBytes {
    fn relocate(&mut self, mover: &mut Mover) {
        let capacity = self.capacity();
        if capacity == 0 {
            return;
        }
        // SAFETY: our own block, allocated with a size of this class, and we are borrowed mutably.
        if let Some(moved) = unsafe { mover.relocate(self.ptr.cast(), HEADER_BYTES + capacity) } {
            self.ptr = moved.cast();
        }
    }
}

impl Default for DataBytes {
    fn default() -> Self {
        DataBytes::new()
    }
}

impl Drop for DataBytes {
    fn drop(&mut self) {
        let capacity = self.capacity();
        if capacity > 0 {
            // SAFETY: our own block, allocated with a size of this class, dead from here on.
            unsafe { free(self.ptr.cast(), HEADER_BYTES + capacity) };
        }
    }
}

impl Clone for DataBytes {
    fn clone(&self) -> Self {
        DataBytes::from_slice(self)
    }
}

impl Deref for DataBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for DataBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

impl From<&[u8]> for DataBytes {
    fn from(source: &[u8]) -> Self {
        DataBytes::from_slice(source)
    }
}

impl PartialEq for DataBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for DataBytes {}

impl fmt::Debug for DataBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.escape_ascii())
    }
}
