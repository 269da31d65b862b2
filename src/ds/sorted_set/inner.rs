//! Inner nodes: for each child a lower bound of its scores, its address, its elements.
//!
//! ```text
//! | parent | len, level | scores f64 x 63 | children x 63 | counts u64 x 63 |   1,528 bytes
//! ```
//!
//! The score of a child is *some* bound: not above the child's first score, not below the
//! last of the child before it. So removals change nothing here but counts, and where a
//! score ties, the first member of the child decides (which costs a look at that leaf).
//! The score of the first child is never read. Counts make a rank one sum a level.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::leaf::LeafPtr;
use crate::sys::data_alloc::{DataBox, Mover};

/// Children of an inner node: 63 fill a block of 1,536 bytes.
pub(super) const FANOUT: usize = 63;

/// A node with fewer children is merged with a neighbour when both fill at most
/// `MERGED_MAX`, far from the next split.
pub(super) const MERGE_BELOW: usize = FANOUT / 4;
pub(super) const MERGED_MAX: usize = FANOUT * 3 / 4;

/// An inner node. Level 1 has leaves below it.
#[repr(C)]
pub(super) struct Inner {
    pub parent: Option<InnerPtr>,
    len: u16,
    pub level: u8,
    scores: [f64; FANOUT],
    children: [NonNull<u8>; FANOUT],
    counts: [u64; FANOUT],
}

/// A child with what its parent knows about it.
#[derive(Clone, Copy)]
pub(super) struct Child {
    /// A bound between the child before and this one, see the module.
    pub score: f64,
    pub node: NonNull<u8>,
    /// Elements below.
    pub count: u64,
}

/// A pointer to a live inner node; the rules of [`LeafPtr`] hold for it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InnerPtr(NonNull<Inner>);

impl InnerPtr {
    /// An inner node without children.
    pub fn alloc(level: u8, parent: Option<InnerPtr>) -> Self {
        let inner = Inner {
            parent,
            len: 0,
            level,
            scores: [0.0; FANOUT],
            children: [NonNull::dangling(); FANOUT],
            counts: [0; FANOUT],
        };
        InnerPtr(DataBox::new(inner).into_raw())
    }

    /// Frees the node; the children stay.
    pub fn free(self) {
        // SAFETY: made by `alloc`; the caller drops its copies.
        drop(unsafe { DataBox::from_raw(self.0) });
    }

    /// Moves the node out of a slab that is to be emptied and tells its children.
    /// The caller replaces its parent's reference.
    pub fn relocate(self, mover: &mut Mover) -> Option<InnerPtr> {
        // SAFETY: made by `alloc`, so of a box's size; the set is borrowed exclusively.
        let moved = unsafe { mover.relocate(self.node(), size_of::<Inner>()) }?;
        let moved = InnerPtr(moved.cast());
        (0..moved.get().len()).for_each(|index| moved.adopt(index));
        Some(moved)
    }

    /// Puts `moved` in the place of the child `node`.
    pub fn replace_node(self, node: NonNull<u8>, moved: NonNull<u8>) {
        let inner = self.get_mut();
        let len = inner.len();
        let place = inner.children[..len].iter_mut().find(|child| **child == node);
        *place.expect("a node is a child of its parent") = moved;
    }

    /// # Safety
    /// `node` came from an inner node that is live.
    #[inline(always)]
    pub unsafe fn from_node(node: NonNull<u8>) -> Self {
        InnerPtr(node.cast())
    }

    #[inline(always)]
    pub fn node(self) -> NonNull<u8> {
        self.0.cast()
    }

    /// The node.
    #[inline(always)]
    pub fn get<'a>(self) -> &'a Inner {
        // SAFETY: live, see the type.
        unsafe { self.0.as_ref() }
    }

    /// The node, to be changed.
    #[inline(always)]
    pub fn get_mut<'a>(self) -> &'a mut Inner {
        let mut node = self.0;
        // SAFETY: live; no other reference is held over a change.
        unsafe { node.as_mut() }
    }

    /// Puts a child at `index` and tells it its parent. There is room.
    pub fn insert_child(self, index: usize, child: Child) {
        let inner = self.get_mut();
        let len = inner.len();
        assert!(len < FANOUT && index <= len, "the caller splits a full node");
        inner.scores.copy_within(index..len, index + 1);
        inner.children.copy_within(index..len, index + 1);
        inner.counts.copy_within(index..len, index + 1);
        inner.scores[index] = child.score;
        inner.children[index] = child.node;
        inner.counts[index] = child.count;
        inner.len += 1;
        self.adopt(index);
    }

    /// Tells the child at `index` that this is its parent.
    fn adopt(self, index: usize) {
        let inner = self.get();
        // SAFETY: children of level 1 are live leaves, of others live inner nodes.
        unsafe {
            match inner.level {
                1 => LeafPtr::from_node(inner.children[index]).set_parent(Some(self)),
                _ => InnerPtr::from_node(inner.children[index]).get_mut().parent = Some(self),
            }
        }
    }

    /// Takes the child at `index` out.
    pub fn remove_child(self, index: usize) {
        let inner = self.get_mut();
        let len = inner.len();
        inner.scores.copy_within(index + 1..len, index);
        inner.children.copy_within(index + 1..len, index);
        inner.counts.copy_within(index + 1..len, index);
        inner.len -= 1;
    }

    /// Puts another node in the place of the child at `index`.
    pub fn replace_child(self, index: usize, node: NonNull<u8>) {
        self.get_mut().children[index] = node;
        self.adopt(index);
    }

    /// Moves the children from `from` on to the end of `target`. They fit.
    pub fn move_children(self, from: usize, target: InnerPtr) {
        for index in from..self.get().len() {
            target.insert_child(target.get().len(), self.get().child(index));
        }
        self.get_mut().len = from as u16;
    }

    /// The index of a child that has an element with this score.
    pub fn index_of(self, node: NonNull<u8>, score: f64) -> usize {
        let inner = self.get();
        // Behind the last child that may begin at or below the score; ties lie before.
        let after = 1 + inner.scores[1..inner.len()].partition_point(|&bound| bound <= score);
        let found = inner.children[..after].iter().rposition(|&child| child == node);
        found.expect("a node is a child of its parent")
    }
}

impl Inner {
    #[inline(always)]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline(always)]
    pub fn node(&self, index: usize) -> NonNull<u8> {
        self.children[..self.len()][index]
    }

    /// The bound of the child at `index`, which is not the first.
    #[inline(always)]
    pub fn score(&self, index: usize) -> f64 {
        self.scores[index]
    }

    pub fn set_score(&mut self, index: usize, score: f64) {
        self.scores[index] = score;
    }

    pub fn child(&self, index: usize) -> Child {
        Child { score: self.scores[index], node: self.node(index), count: self.counts[index] }
    }

    /// Elements below each child.
    #[inline(always)]
    pub fn counts(&self) -> &[u64] {
        &self.counts[..self.len()]
    }

    #[inline(always)]
    pub fn counts_mut(&mut self) -> &mut [u64] {
        let len = self.len();
        &mut self.counts[..len]
    }

    /// Elements below this node.
    pub fn total(&self) -> u64 {
        self.counts().iter().sum()
    }
}
