//! Walks over a run of elements, from either end.

use std::marker::PhantomData;

use super::SortedSet;
use super::leaf::LeafPtr;
use super::tree::Tree;
use crate::ds::table::prefetch;

/// A run of elements as `(score, member)`, ascending or descending.
pub struct Iter<'a> {
    tree: &'a Tree,
    leaf: Option<LeafPtr>,
    /// Of the next element, when there is one.
    index: usize,
    remaining: usize,
    reverse: bool,
    set: PhantomData<&'a SortedSet>,
}

impl<'a> Iter<'a> {
    /// `len` elements from the one with rank `rank` on, upwards or downwards. They exist.
    pub(super) fn new(tree: &'a Tree, rank: usize, len: usize, reverse: bool) -> Self {
        let place = if len == 0 { None } else { tree.select(rank as u64) };
        let (leaf, index) = place.map_or((None, 0), |place| (Some(place.leaf), place.index));
        Iter { tree, leaf, index, remaining: len, reverse, set: PhantomData }
    }

    /// Goes on to the neighbouring leaf.
    #[cold]
    fn turn(&mut self, leaf: LeafPtr) {
        let next = self.tree.neighbour(leaf, !self.reverse).expect("elements are left");
        self.index = if self.reverse { next.count() - 1 } else { 0 };
        self.leaf = Some(next);
        // The members at the end of the block come first after a split or a rebuild; all
        // lines are needed in the end.
        for line in (0..next.capacity()).step_by(64) {
            prefetch(next.node().as_ptr().wrapping_add(line));
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (f64, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let leaf = self.leaf.filter(|_| self.remaining > 0)?;
        let element = (leaf.scores()[self.index], leaf.member(self.index));
        self.remaining -= 1;
        let last = if self.reverse { 0 } else { leaf.count() - 1 };
        if self.index != last {
            self.index = if self.reverse { self.index - 1 } else { self.index + 1 };
        } else if self.remaining > 0 {
            self.turn(leaf);
        }
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Iter<'_> {}
