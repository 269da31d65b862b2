//! One bucket: a cache line of handles, tags and presence bits, and the chain behind it.
//!
//! ```text
//! 8-byte handles   | slot 0 | slot 1 | ... | slot 5 | slot 6 or link | 7 tags | meta |
//!                  0        8                       48               56       63
//! 4-byte handles   | slot 0 | ... | slot 9 | slots 10, 11 or link | 12 tags | - | meta |
//!                  0                       40                     48        60  62
//! ```
//!
//! meta: one presence bit a slot; the top bit of the last byte says *chained*: the link
//! place holds the address of the next bucket. A full bucket gives up its last slot only
//! when it must, so a bucket holds 7 (12) handles alone and 6 (10) with a link.
//!
//! A chain is always canonical: every bucket but the last is full, and the last one holds
//! more than would fit in the link place of the one before. So the number of entries
//! alone decides the length of a chain.
#![allow(unsafe_code)]

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::memory::{LINE_BYTES, Ledger, prefetch};
use super::tags::match_tag;
use crate::sys::data_alloc::Mover;

mod sealed {
    /// Keeps [`super::Handle`] to the two widths whose bucket layout is proven here.
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// What the table stores for an entry: an address (8 bytes) or an index (4 bytes).
pub trait Handle: sealed::Sealed + Copy + Eq + Hash + Debug + Default + Send + 'static {
    /// Handles in a bucket without a link.
    const SLOTS: usize;
    /// Slots that a link takes.
    const LINK_SLOTS: usize = 8 / size_of::<Self>();
    /// Where the presence bits start in the last two bytes.
    const META_SHIFT: u32;
}

impl Handle for u64 {
    const SLOTS: usize = 7;
    const META_SHIFT: u32 = 8;
}

impl Handle for u32 {
    const SLOTS: usize = 12;
    const META_SHIFT: u32 = 0;
}

const TAG_WINDOW_OFFSET: usize = LINE_BYTES - 16;
const META_OFFSET: usize = LINE_BYTES - 2;
const CHAINED: u16 = 1 << 15;

/// A pointer to a bucket of a live table.
///
/// The methods are safe to call because a value is only made (`BucketPtr::new`) for a
/// line of a live segment or a linked overflow bucket, and dropped before that memory is
/// freed: the table hands none out, and its exclusive borrow covers every change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BucketPtr<H> {
    line: NonNull<u8>,
    handles: PhantomData<H>,
}

impl<H> Clone for BucketPtr<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for BucketPtr<H> {}

/// The place of one handle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<H> {
    pub bucket: BucketPtr<H>,
    pub index: usize,
}

impl<H: Handle> Slot<H> {
    /// Address of the handle.
    #[inline(always)]
    pub fn address(self) -> NonNull<H> {
        debug_assert!(self.index < H::SLOTS);
        // SAFETY: slots lie inside the line, whose start is aligned to 64.
        unsafe { self.bucket.line.cast::<H>().add(self.index) }
    }

    #[inline(always)]
    pub fn handle(self) -> H {
        // SAFETY: the line is live (see `BucketPtr`) and any bits are a valid handle.
        unsafe { self.address().read() }
    }
}

impl<H: Handle> BucketPtr<H> {
    const TAGS_OFFSET: usize = H::SLOTS * size_of::<H>();
    const LINK_OFFSET: usize = (H::SLOTS - H::LINK_SLOTS) * size_of::<H>();
    const ALL_PRESENT: u32 = (1 << H::SLOTS) - 1;
    /// Slots left when the link place is taken.
    const CHAINED_SLOTS: u32 = (1 << (H::SLOTS - H::LINK_SLOTS)) - 1;
    const LAYOUT_FITS: () = {
        assert!(Self::TAGS_OFFSET >= TAG_WINDOW_OFFSET);
        assert!(Self::TAGS_OFFSET + H::SLOTS + (16 - H::META_SHIFT as usize) / 8 <= LINE_BYTES);
        assert!(Self::LINK_OFFSET.is_multiple_of(8));
        assert!(H::META_SHIFT as usize + H::SLOTS < 16);
    };

    /// # Safety
    /// `line` is an initialised 64-byte line, aligned to 64, used as a bucket of handles
    /// `H`, that outlives every use of the result.
    #[inline(always)]
    pub unsafe fn new(line: NonNull<u8>) -> Self {
        const { Self::LAYOUT_FITS };
        BucketPtr { line, handles: PhantomData }
    }

    /// Asks for this line to be loaded.
    #[inline(always)]
    pub fn prefetch(self) {
        prefetch(self.line.as_ptr());
    }

    #[inline(always)]
    fn meta(self) -> u16 {
        // SAFETY: the last two bytes of the live line, at an even address.
        u16::from_le(unsafe { self.line.add(META_OFFSET).cast::<u16>().read() })
    }

    #[inline(always)]
    fn set_meta(self, meta: u16) {
        // SAFETY: as in `meta`; changes happen under the table's exclusive borrow.
        unsafe { self.line.add(META_OFFSET).cast::<u16>().write(meta.to_le()) }
    }

    /// One bit for each slot that holds a handle.
    #[inline(always)]
    pub fn present(self) -> u32 {
        u32::from(self.meta() >> H::META_SHIFT) & Self::ALL_PRESENT
    }

    #[inline(always)]
    pub fn is_chained(self) -> bool {
        self.meta() & CHAINED != 0
    }

    /// The bucket behind this one.
    #[inline(always)]
    pub fn next(self) -> Option<Self> {
        if !self.is_chained() {
            return None;
        }
        // SAFETY: the chained bit is set only with a live overflow bucket in the link
        // place, which is aligned to 8.
        Some(unsafe { Self::new(self.line.add(Self::LINK_OFFSET).cast::<NonNull<u8>>().read()) })
    }

    /// Moves the bucket behind this one out of a slab that is to be emptied.
    pub fn relocate_next(self, mover: &mut Mover) {
        let Some(next) = self.next() else { return };
        // SAFETY: an overflow bucket is one line that only this link names; the table is borrowed
        // exclusively.
        unsafe {
            if let Some(line) = mover.relocate(next.line, LINE_BYTES) {
                self.line.add(Self::LINK_OFFSET).cast::<NonNull<u8>>().write(line);
            }
        }
    }

    /// Slots whose tag is `tag`, as a mask.
    #[inline(always)]
    pub fn matches(self, tag: u8) -> u32 {
        // SAFETY: the last 16 bytes of the live line; no write overlaps this borrow.
        let window = unsafe { self.line.add(TAG_WINDOW_OFFSET).cast::<[u8; 16]>().as_ref() };
        match_tag(window, tag) >> (Self::TAGS_OFFSET - TAG_WINDOW_OFFSET) & self.present()
    }

    pub fn tag(self, index: usize) -> u8 {
        debug_assert!(index < H::SLOTS);
        // SAFETY: one of the tag bytes of the live line.
        unsafe { self.line.add(Self::TAGS_OFFSET + index).read() }
    }

    /// Handles in this bucket alone.
    pub fn count(self) -> usize {
        self.present().count_ones() as usize
    }

    /// Slots a handle may be put in now, as a mask.
    #[inline(always)]
    fn free_slots(self) -> u32 {
        let usable = if self.is_chained() { Self::CHAINED_SLOTS } else { Self::ALL_PRESENT };
        usable & !self.present()
    }

    #[inline(always)]
    fn put(self, index: usize, tag: u8, handle: H) {
        debug_assert!(self.present() & 1 << index == 0);
        // SAFETY: slot and tag byte lie in the live line, under the exclusive borrow.
        unsafe {
            Slot { bucket: self, index }.address().write(handle);
            self.line.add(Self::TAGS_OFFSET + index).write(tag);
        }
        self.set_meta(self.meta() | 1 << (index as u32 + H::META_SHIFT));
    }

    /// Empties a slot and gives what it held.
    fn take(self, index: usize) -> (u8, H) {
        debug_assert!(self.present() & 1 << index != 0);
        self.set_meta(self.meta() & !(1 << (index as u32 + H::META_SHIFT)));
        (self.tag(index), Slot { bucket: self, index }.handle())
    }

    fn link(self, next: Self) {
        debug_assert!(!self.is_chained() && self.present() & !Self::CHAINED_SLOTS == 0);
        // SAFETY: the link place is inside the live line and its slots are empty.
        unsafe { self.line.add(Self::LINK_OFFSET).cast::<NonNull<u8>>().write(next.line) };
        self.set_meta(self.meta() | CHAINED);
    }

    /// Finds a handle in the chain that starts here.
    #[inline(always)]
    pub fn find(self, tag: u8, mut equal: impl FnMut(H) -> bool) -> Option<Slot<H>> {
        let mut bucket = self;
        loop {
            let mut mask = bucket.matches(tag);
            while mask != 0 {
                let slot = Slot { bucket, index: mask.trailing_zeros() as usize };
                if equal(slot.handle()) {
                    return Some(slot);
                }
                mask &= mask - 1;
            }
            bucket = bucket.next()?;
        }
    }

    /// Calls `visit` with each slot of the chain.
    #[inline(always)]
    pub fn for_each(self, mut visit: impl FnMut(Slot<H>)) {
        let mut next = Some(self);
        while let Some(bucket) = next {
            let mut mask = bucket.present();
            while mask != 0 {
                visit(Slot { bucket, index: mask.trailing_zeros() as usize });
                mask &= mask - 1;
            }
            next = bucket.next();
        }
    }

    /// Buckets in the chain, and handles in it.
    pub fn chain_size(self) -> (usize, usize) {
        let (mut buckets, mut handles, mut next) = (0, 0, Some(self));
        while let Some(bucket) = next {
            buckets += 1;
            handles += bucket.count();
            next = bucket.next();
        }
        (buckets, handles)
    }

    /// Adds a handle at the end of the chain, which grows by a bucket when full.
    #[inline(always)]
    pub fn append(self, tag: u8, handle: H, ledger: &mut Ledger) {
        let mut last = self;
        while let Some(next) = last.next() {
            last = next;
        }
        let mut free = last.free_slots();
        if free == 0 {
            last = last.extend(ledger);
            free = last.free_slots();
        }
        last.put(free.trailing_zeros() as usize, tag, handle);
    }

    /// Links an overflow bucket behind this full one and moves what the link displaces.
    #[cold]
    fn extend(self, ledger: &mut Ledger) -> Self {
        ledger.overflow_buckets += 1;
        // SAFETY: a zeroed line is an empty bucket; it lives until `unlink_last` or
        // `free_overflow` take it out of the chain.
        let next = unsafe { Self::new(ledger.alloc(1)) };
        for offset in 0..H::LINK_SLOTS {
            let (tag, handle) = self.take(H::SLOTS - H::LINK_SLOTS + offset);
            next.put(offset, tag, handle);
        }
        self.link(next);
        next
    }

    /// Takes a handle out of the chain that starts here; the hole is filled from the last
    /// bucket, which is freed as soon as the chain is canonical without it.
    pub fn remove(self, slot: Slot<H>, ledger: &mut Ledger) {
        slot.bucket.take(slot.index);
        let Some(mut last) = self.next() else { return };
        let mut before = self;
        while let Some(next) = last.next() {
            before = last;
            last = next;
        }
        if slot.bucket != last {
            let (tag, handle) = last.take(last.present().trailing_zeros() as usize);
            slot.bucket.put(slot.index, tag, handle);
        }
        if last.count() <= H::LINK_SLOTS {
            before.unlink_last(last, ledger);
        }
    }

    /// Takes back the few handles of `last` into the link place and frees it.
    fn unlink_last(self, last: Self, ledger: &mut Ledger) {
        self.set_meta(self.meta() & !CHAINED);
        while last.present() != 0 {
            let (tag, handle) = last.take(last.present().trailing_zeros() as usize);
            let free = self.free_slots();
            debug_assert!(free != 0, "the link place has room for what is left");
            self.put(free.trailing_zeros() as usize, tag, handle);
        }
        last.free_line(ledger);
    }

    /// Frees every bucket behind this one; their handles are forgotten.
    pub fn free_overflow(self, ledger: &mut Ledger) {
        let mut next = self.next();
        self.set_meta(self.meta() & !CHAINED);
        while let Some(bucket) = next {
            next = bucket.next();
            bucket.free_line(ledger);
        }
    }

    fn free_line(self, ledger: &mut Ledger) {
        ledger.overflow_buckets -= 1;
        // SAFETY: an overflow bucket is one line of this ledger, and its link is gone.
        unsafe { ledger.free(self.line, 1) }
    }
}
