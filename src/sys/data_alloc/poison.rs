//! Tells AddressSanitizer which slots of the slabs hold live objects, so that it sees the data
//! region as it sees malloc's: a read of a freed or never allocated slot is reported where it
//! happens. Owns the two calls; built only by `make asan` (`--cfg tine_asan`), else empty.
//!
//! ```text
//! a new slab           all its units poisoned
//! an allocated slot    open, up to the class's bytes
//! a freed slot         poisoned until it is handed out again
//! ```
//!
//! What it does not see: an overflow from one live slot into the next live one (slots have no
//! red zones, which would change the classes), and a slot that was handed out again at once.

use std::ptr::NonNull;

#[cfg(tine_asan)]
// SAFETY: declared as in sanitizer/asan_interface.h; the sanitizer's runtime defines both.
unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const core::ffi::c_void, bytes: usize);
    fn __asan_unpoison_memory_region(start: *const core::ffi::c_void, bytes: usize);
}

/// Nothing may touch these bytes until [`open`] names them.
#[inline]
pub fn close(start: NonNull<u8>, bytes: usize) {
    #[cfg(tine_asan)]
    // SAFETY: marks shadow memory only; the range lies in the reserved data range.
    unsafe {
        __asan_poison_memory_region(start.as_ptr().cast(), bytes);
    };
    #[cfg(not(tine_asan))]
    let _ = (start, bytes);
}

/// These bytes belong to a live object.
#[inline]
pub fn open(start: NonNull<u8>, bytes: usize) {
    #[cfg(tine_asan)]
    // SAFETY: marks shadow memory only; the range lies in the reserved data range.
    unsafe {
        __asan_unpoison_memory_region(start.as_ptr().cast(), bytes);
    };
    #[cfg(not(tine_asan))]
    let _ = (start, bytes);
}

#[cfg(all(test, tine_asan))]
mod tests {
    use super::super::{Kind, alloc, free};

    // SAFETY: declared as in sanitizer/asan_interface.h.
    unsafe extern "C" {
        fn __asan_address_is_poisoned(address: *const core::ffi::c_void) -> i32;
    }

    #[test]
    fn a_freed_slot_is_closed() {
        // A size that no other test uses: nobody takes the slot in between.
        const BYTES: usize = 777_777;
        let object = alloc(Kind::Value, BYTES);
        // SAFETY: only looks at shadow memory.
        let is_closed = || unsafe { __asan_address_is_poisoned(object.as_ptr().cast()) } != 0;
        assert!(!is_closed());
        // SAFETY: allocated above with this size, not used afterwards.
        unsafe { free(object, BYTES) };
        assert!(is_closed());
    }
}
