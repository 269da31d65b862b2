//! `DataBox<T>`: an owned value in the data region, like `Box`, so that higher floors need
//! no raw allocation. One word; costs what `alloc` and `free` cost.
#![allow(unsafe_code)]

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::{ALIGN_BYTES, Kind, Mover, Relocate, alloc, free, usable_size};

/// An owned `T` in the data region.
pub struct DataBox<T> {
    ptr: NonNull<T>,
}

// SAFETY: it owns its T alone, so it may go and be shared where T may.
unsafe impl<T: Send> Send for DataBox<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for DataBox<T> {}

impl<T> DataBox<T> {
    const FITS: () = assert!(align_of::<T>() <= ALIGN_BYTES, "the data region aligns to 8 bytes");

    /// Moves `value` into the data region. Aborts when memory is used up.
    pub fn new(value: T) -> Self {
        const { Self::FITS };
        let ptr = alloc(Kind::Value, size_of::<T>()).cast::<T>();
        // SAFETY: freshly allocated for a T, aligned (FITS).
        unsafe { ptr.write(value) };
        DataBox { ptr }
    }

    /// Moves the value out and frees its memory.
    pub fn into_inner(self) -> T {
        let ptr = mem::ManuallyDrop::new(self).ptr;
        // SAFETY: the value is read once; the box will not drop it.
        let value = unsafe { ptr.read() };
        // SAFETY: allocated in `new` with this size, dead from here on.
        unsafe { free(ptr.cast(), size_of::<T>()) };
        value
    }

    /// Gives up ownership; the pointer goes back through [`Self::from_raw`].
    pub fn into_raw(self) -> NonNull<T> {
        mem::ManuallyDrop::new(self).ptr
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `ptr` must come from [`Self::into_raw`], once.
    pub unsafe fn from_raw(ptr: NonNull<T>) -> Self {
        DataBox { ptr }
    }

    /// Bytes of the data region this box occupies (without what `T` owns).
    pub fn allocated_bytes(&self) -> usize {
        usable_size(size_of::<T>())
    }
}

impl<T> Relocate for DataBox<T> {
    /// Moves the value itself, not what it owns.
    fn relocate(&mut self, mover: &mut Mover) {
        // SAFETY: the box owns the object, allocated with this size, and is borrowed mutably.
        if let Some(moved) = unsafe { mover.relocate(self.ptr.cast(), size_of::<T>()) } {
            self.ptr = moved.cast();
        }
    }
}

impl<T> Deref for DataBox<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the box owns a live T.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T> DerefMut for DataBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the box owns a live T, borrowed mutably.
        unsafe { self.ptr.as_mut() }
    }
}

impl<T> Drop for DataBox<T> {
    fn drop(&mut self) {
        // SAFETY: the value is live and not used afterwards.
        unsafe { self.ptr.drop_in_place() };
        // SAFETY: allocated in `new` with this size, dead from here on.
        unsafe { free(self.ptr.cast(), size_of::<T>()) };
    }
}

impl<T: Clone> Clone for DataBox<T> {
    fn clone(&self) -> Self {
        DataBox::new(T::clone(self))
    }
}

impl<T: fmt::Debug> fmt::Debug for DataBox<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, formatter)
    }
}
