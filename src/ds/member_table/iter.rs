//! All members in hash order, with members loaded ahead of their turn.
#![allow(unsafe_code)]

use super::block::MemberBlock;
use crate::ds::table::{self, Table};
use std::iter::FusedIterator;
use std::marker::PhantomData;

/// Members being loaded at a time: as many as a core has line-fill buffers, about.
const AHEAD: usize = 16;

/// Iterator over the members of a table.
///
/// ```text
///   handles of both tables -> ring of 16 blocks, prefetched -> members
/// ```
pub struct Iter<'a> {
    near: table::Iter<'a, u32>,
    far: table::Iter<'a, u64>,
    ring: [Option<MemberBlock>; AHEAD],
    /// Place of the oldest block in the ring.
    next: usize,
    left: usize,
    members: PhantomData<&'a [u8]>,
}

impl<'a> Iter<'a> {
    pub(super) fn new(near: &'a Table<u32>, far: &'a Table<u64>) -> Self {
        let mut iter = Iter {
            near: near.iter(),
            far: far.iter(),
            ring: [None; AHEAD],
            next: 0,
            left: near.len() + far.len(),
            members: PhantomData,
        };
        for place in 0..AHEAD {
            iter.ring[place] = iter.load_next();
        }
        iter
    }

    #[inline]
    fn load_next(&mut self) -> Option<MemberBlock> {
        let block = match self.near.next() {
            // SAFETY: the handle is in a table that is borrowed for `'a`, so its block lives.
            Some(handle) => unsafe { MemberBlock::from_near(handle) },
            // SAFETY: as above.
            None => unsafe { MemberBlock::from_far(self.far.next()?) },
        };
        block.prefetch();
        Some(block)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let block = self.ring[self.next]?;
        self.ring[self.next] = self.load_next();
        self.next = (self.next + 1) % AHEAD;
        self.left -= 1;
        Some(block.bytes())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}
