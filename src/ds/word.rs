//! Owners that fit one word: what a keyspace entry can hold in place of a value.
//!
//! ```text
//!  entry block: [ header: type, encoding | word ] ─► listpack, intset, or a boxed structure
//! ```
//! So a small collection costs its entry and one block, with nothing between.
#![allow(unsafe_code)]

use crate::ds::intset::{Intset, IntsetView};
use crate::ds::listpack::{Listpack, ListpackView};
use crate::sys::data_alloc::DataBox;
use std::ptr::NonNull;

/// An owner of a block of the data region through one thin, 8-byte aligned pointer.
///
/// # Safety
/// `into_raw` gives ownership up without changing the value; `from_raw` of the same pointer takes
/// it back; `view_of_raw` reads what the pointer owns and changes nothing.
pub unsafe trait OneWord: Sized {
    /// A shared look at the value.
    type View<'a>: Copy
    where
        Self: 'a;

    fn into_raw(self) -> NonNull<u8>;

    /// # Safety
    /// `raw` came from [`OneWord::into_raw`] of this type, once.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// # Safety
    /// `raw` came from [`OneWord::into_raw`] of this type; nobody changes or frees it during `'a`.
    unsafe fn view_of_raw<'a>(raw: NonNull<u8>) -> Self::View<'a>
    where
        Self: 'a;

    fn view(&self) -> Self::View<'_>;
}

// SAFETY: the listpack's own functions, with the same contracts.
unsafe impl OneWord for Listpack {
    type View<'a> = ListpackView<'a>;

    fn into_raw(self) -> NonNull<u8> {
        Listpack::into_raw(self)
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: the same contract.
        unsafe { Listpack::from_raw(raw) }
    }

    #[inline]
    unsafe fn view_of_raw<'a>(raw: NonNull<u8>) -> ListpackView<'a> {
        // SAFETY: the same contract.
        unsafe { Listpack::view_of_raw(raw) }
    }

    #[inline]
    fn view(&self) -> ListpackView<'_> {
        Listpack::view(self)
    }
}

// SAFETY: the intset's own functions, with the same contracts.
unsafe impl OneWord for Intset {
    type View<'a> = IntsetView<'a>;

    fn into_raw(self) -> NonNull<u8> {
        Intset::into_raw(self)
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: the same contract.
        unsafe { Intset::from_raw(raw) }
    }

    #[inline]
    unsafe fn view_of_raw<'a>(raw: NonNull<u8>) -> IntsetView<'a> {
        // SAFETY: the same contract.
        unsafe { Intset::view_of_raw(raw) }
    }

    #[inline]
    fn view(&self) -> IntsetView<'_> {
        Intset::view(self)
    }
}

// SAFETY: a box's pointer is its value's address; the box's functions have the same contracts.
unsafe impl<T> OneWord for DataBox<T> {
    type View<'a>
        = &'a T
    where
        T: 'a;

    fn into_raw(self) -> NonNull<u8> {
        DataBox::into_raw(self).cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: the same contract.
        unsafe { DataBox::from_raw(raw.cast()) }
    }

    #[inline]
    unsafe fn view_of_raw<'a>(raw: NonNull<u8>) -> &'a T
    where
        T: 'a,
    {
        // SAFETY: the box's address is that of a live T, unchanged during 'a (caller).
        unsafe { raw.cast::<T>().as_ref() }
    }

    #[inline]
    fn view(&self) -> &T {
        self
    }
}
