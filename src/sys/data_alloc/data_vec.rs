//! `DataVec<T>`: a growable array of plain values in the data region: table directories,
//! node arrays, pointer lists.
//!
//! ```text
//! [ ptr | len u32 | capacity u32 ]  ->  [ T | T | T | ... capacity ]
//! ```
//!
//! Trade-off: 16 bytes where it is held (a `Vec` takes 24), at most 2^32 - 1 elements.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

use super::{ALIGN_BYTES, Kind, Mover, Relocate, alloc, free, realloc, usable_size};

/// A growable array in the data region.
pub struct DataVec<T: Copy> {
    ptr: NonNull<T>,
    len: u32,
    capacity: u32,
}

// SAFETY: it owns its elements alone, so it may go where they may.
unsafe impl<T: Copy + Send> Send for DataVec<T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Sync> Sync for DataVec<T> {}

impl<T: Copy> Relocate for DataVec<T> {
    fn relocate(&mut self, mover: &mut Mover) {
        if self.capacity == 0 {
            return;
        }
        // SAFETY: our own block, block_bytes is a size of its class, and we are borrowed mutably.
        if let Some(moved) = unsafe { mover.relocate(self.ptr.cast(), self.block_bytes()) } {
            self.ptr = moved.cast();
        }
    }
}

impl<T: Copy> DataVec<T> {
    const FITS: () = assert!(
        align_of::<T>() <= ALIGN_BYTES && size_of::<T>() > 0,
        "the data region aligns to 8 bytes and stores no empty types"
    );

    /// An empty array without memory.
    pub const fn new() -> Self {
        const { Self::FITS };
        DataVec { ptr: NonNull::dangling(), len: 0, capacity: 0 }
    }

    /// An empty array with room for at least `capacity` elements.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut vec = DataVec::new();
        vec.reserve_exact(capacity);
        vec
    }

    /// A copy of `source`.
    pub fn from_slice(source: &[T]) -> Self {
        let mut vec = DataVec::with_capacity(source.len());
        vec.extend_from_slice(source);
        vec
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True without elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Elements that fit without growing.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Bytes of the data region this array occupies.
    pub fn allocated_bytes(&self) -> usize {
        match self.capacity() {
            0 => 0,
            capacity => usable_size(capacity * size_of::<T>()),
        }
    }

    /// Makes room for `additional` more elements, doubling.
    /// Panics above 2^32 - 1 elements.
    pub fn reserve(&mut self, additional: usize) {
        let wanted = self.len().saturating_add(additional);
        if wanted > self.capacity() {
            self.set_capacity(wanted.max(self.capacity() * 2));
        }
    }

    /// Makes room for `additional` more elements, as little as the size class allows.
    /// Panics above 2^32 - 1 elements.
    pub fn reserve_exact(&mut self, additional: usize) {
        let wanted = self.len().saturating_add(additional);
        if wanted > self.capacity() {
            self.set_capacity(wanted);
        }
    }

    /// Gives slack back if the size class gets smaller by it.
    pub fn shrink_to_fit(&mut self) {
        if self.is_empty() {
            *self = DataVec::new();
        } else if usable_size(self.len() * size_of::<T>()) < self.allocated_bytes() {
            self.set_capacity(self.len());
        }
    }

    fn set_capacity(&mut self, capacity: usize) {
        assert!(capacity <= u32::MAX as usize, "a data array is limited to 2^32 - 1 elements");
        let size = usable_size(capacity * size_of::<T>());
        self.ptr = if self.capacity == 0 {
            alloc(Kind::Value, size).cast()
        } else {
            // SAFETY: our own block, and block_bytes is a size of its class.
            unsafe { realloc(self.ptr.cast(), self.block_bytes(), size) }.cast()
        };
        // Use the slack of the class unless a smaller class would hold as many elements:
        // block_bytes must name the class of the block.
        let filled = (size / size_of::<T>()).min(u32::MAX as usize);
        let same_class = usable_size(filled * size_of::<T>()) == size;
        self.capacity = if same_class { filled } else { capacity } as u32;
    }

    /// A size of the class of our block.
    fn block_bytes(&self) -> usize {
        self.capacity() * size_of::<T>()
    }

    /// Appends one element.
    pub fn push(&mut self, value: T) {
        self.extend_from_slice(&[value]);
    }

    /// Takes the last element off.
    pub fn pop(&mut self) -> Option<T> {
        let last = *self.as_slice().last()?;
        self.len -= 1;
        Some(last)
    }

    /// Appends copies of `source`.
    pub fn extend_from_slice(&mut self, source: &[T]) {
        self.reserve(source.len());
        // SAFETY: room was made; source is not our block, which is borrowed mutably.
        unsafe {
            ptr::copy_nonoverlapping(source.as_ptr(), self.ptr.as_ptr().add(self.len()), source.len());
        }
        self.len += source.len() as u32;
    }

    /// Inserts `value` at `index`. Panics beyond the end. O(tail).
    pub fn insert(&mut self, index: usize, value: T) {
        let len = self.len();
        assert!(index <= len, "insert outside the array");
        self.reserve(1);
        // SAFETY: room for one more was made; the tail stays within the capacity.
        unsafe {
            let place = self.ptr.as_ptr().add(index);
            ptr::copy(place, place.add(1), len - index);
            place.write(value);
        }
        self.len += 1;
    }

    /// Takes the element at `index` out. Panics beyond the end. O(tail).
    pub fn remove(&mut self, index: usize) -> T {
        let value = self.as_slice()[index];
        self.as_mut_slice().copy_within(index + 1.., index);
        self.len -= 1;
        value
    }

    /// Shortens to `len` elements; nothing if already shorter.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.len = len as u32;
        }
    }

    /// Sets the length, filling with copies of `fill`.
    pub fn resize(&mut self, new_len: usize, fill: T) {
        self.reserve_exact(new_len.saturating_sub(self.len()));
        while self.len() < new_len {
            // SAFETY: below the capacity reserved above.
            unsafe { self.ptr.as_ptr().add(self.len()).write(fill) };
            self.len += 1;
        }
        self.truncate(new_len);
    }

    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: the first len elements are initialised.
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len()) }
    }

    /// The elements, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the first len elements are initialised, and we are borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len()) }
    }
}

impl<T: Copy> Drop for DataVec<T> {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: our own block, with a size of its class, dead from here on.
            unsafe { free(self.ptr.cast(), self.block_bytes()) };
        }
    }
}

impl<T: Copy> Default for DataVec<T> {
    fn default() -> Self {
        DataVec::new()
    }
}

impl<T: Copy> Clone for DataVec<T> {
    fn clone(&self) -> Self {
        DataVec::from_slice(self)
    }
}

impl<T: Copy> Deref for DataVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Copy> DerefMut for DataVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.as_mut_slice()
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for DataVec<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(formatter)
    }
}
