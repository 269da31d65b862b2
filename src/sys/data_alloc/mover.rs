//! Moving objects out of slabs that are to be emptied: the owner's side of active
//! defragmentation.
//!
//! ```text
//!  owner: "is this object in a leaving slab?" --no--> kept
//!                                             --yes-> copied to another slot, old one freed;
//!                                                     the owner stores the new address
//! ```
//! Whoever calls this owns the object alone (`&mut`), so nobody holds an address into it. Each
//! structure offers `relocate(cursor, mover)`: one short step, and where to go on. A cursor says
//! roughly where a walk is; the structure may change between two steps, then some objects are
//! seen twice or not at all, which costs nothing but that they stay.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::HEAP;

/// Counts what a walk over objects did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mover {
    /// Objects that were moved.
    pub moved: u64,
    /// Objects that stayed.
    pub kept: u64,
    /// Bytes of the objects that were moved: what a step has cost.
    pub moved_bytes: u64,
}

/// Where a walk over a structure's objects goes on; the structure gives the numbers their meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub stage: u64,
    pub position: u64,
}

impl Cursor {
    /// The cursor behind a step that ended at `position`, 0 meaning that this stage is done.
    pub fn after(self, position: u64) -> Cursor {
        match position {
            0 => Cursor { stage: self.stage + 1, position: 0 },
            position => Cursor { position, ..self },
        }
    }
}

/// What owns at most one object of the data region (and nothing behind it that is to move too).
pub trait Relocate {
    /// Moves the object if it lies in a slab that is to be emptied.
    fn relocate(&mut self, mover: &mut Mover);
}

impl Relocate for () {
    fn relocate(&mut self, _mover: &mut Mover) {}
}

impl Mover {
    /// The new address of an object if it had to move, with its first `size` bytes.
    ///
    /// # Safety
    /// `ptr` is a live object of `size` bytes (or another size of its class) that the caller owns
    /// alone; after success only the result is valid.
    #[inline]
    pub unsafe fn relocate(&mut self, ptr: NonNull<u8>, size: usize) -> Option<NonNull<u8>> {
        // SAFETY: the same contract.
        let moved = unsafe { HEAP.relocate(ptr, size) };
        match moved {
            Some(_) => {
                self.moved += 1;
                self.moved_bytes += size as u64;
            }
            None => self.kept += 1,
        }
        moved
    }
}
