//! All members in hash order, with members loaded ahead of their turn.
#![allow(unsafe_code)]

use super::member_of;
use crate::ds::table::{self, Table, prefetch};
use std::iter::FusedIterator;
use std::marker::PhantomData;

/// Members being loaded at a time: as many as a core has line-fill buffers, about.
const AHEAD: usize = 16;

/// Iterator over the members of a table.
///
/// ```text
///   handles of the table -> ring of 16 handles, prefetched -> members
/// ```
pub struct Iter<'a> {
    handles: table::Iter<'a, u64>,
    ring: [u64; AHEAD],
    /// Place of the oldest handle in the ring.
    next: usize,
    /// Handles in the ring.
    waiting: usize,
    left: usize,
    members: PhantomData<&'a [u8]>,
}

impl<'a> Iter<'a> {
    pub(super) fn new(table: &'a Table<u64>) -> Self {
        let mut iter = Iter {
            handles: table.iter(),
            ring: [0; AHEAD],
            next: 0,
            waiting: 0,
            left: table.len(),
            members: PhantomData,
        };
        for place in 0..AHEAD {
            iter.refill(place);
        }
        iter
    }

    /// Puts the next handle into a free place.
    #[inline]
    fn refill(&mut self, place: usize) {
        if let Some(handle) = self.handles.next() {
            prefetch(handle as *const u8);
            self.ring[place] = handle;
            self.waiting += 1;
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.waiting == 0 {
            return None;
        }
        let place = self.next;
        let handle = self.ring[place];
        self.next = (place + 1) % AHEAD;
        self.waiting -= 1;
        self.left -= 1;
        self.refill(place);
        // SAFETY: the handle came from the table, which is borrowed for `'a`.
        Some(unsafe { member_of(handle) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}
