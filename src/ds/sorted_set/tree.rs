//! The tree: descents, climbs, and how nodes split, merge and go.
//!
//! Nothing here knows scores from members beyond the order of the two.
#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::ptr::NonNull;

use super::inner::{Child, FANOUT, InnerPtr, MERGE_BELOW, MERGED_MAX};
use super::leaf::LeafPtr;
use crate::sys::data_alloc::Mover;

/// A place in the order: everything that it says yes to lies before it. Yes up to some
/// element, no from there on.
pub(super) trait Bound {
    /// Whether an element with this score lies before, where the score alone decides.
    fn by_score(&self, score: f64) -> Option<bool>;

    /// Whether an element lies before.
    fn precedes(&self, score: f64, member: &[u8]) -> bool;
}

/// Before the element with this score and member, or where it would be.
pub(super) struct At<'m>(pub f64, pub &'m [u8]);

impl Bound for At<'_> {
    #[inline(always)]
    fn by_score(&self, score: f64) -> Option<bool> {
        if score == self.0 { None } else { Some(score < self.0) }
    }

    #[inline(always)]
    fn precedes(&self, score: f64, member: &[u8]) -> bool {
        self.by_score(score).unwrap_or_else(|| member < self.1)
    }
}

/// Compares two elements as sorted sets order them. Scores are numbers.
pub(super) fn order(left: (f64, &[u8]), right: (f64, &[u8])) -> Ordering {
    left.0.partial_cmp(&right.0).expect("scores are numbers").then_with(|| left.1.cmp(right.1))
}

/// A place in the tree, with its number from the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub leaf: LeafPtr,
    /// Up to the leaf's count.
    pub index: usize,
    pub rank: u64,
}

/// The nodes. Does not free them by itself.
pub(super) struct Tree {
    root: Option<NonNull<u8>>,
    /// Levels of inner nodes above the leaves.
    height: u8,
    /// Inner nodes.
    pub inner_count: usize,
}

// SAFETY: the tree owns its nodes alone, they are not bound to a thread, and changes take an
// exclusive borrow.
unsafe impl Send for Tree {}
// SAFETY: as above; shared use only reads.
unsafe impl Sync for Tree {}

/// The index of the first of `count` things that `precedes` says no to.
#[inline(always)]
fn partition(count: usize, precedes: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = (low + high) / 2;
        if precedes(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

impl Tree {
    pub const fn new() -> Self {
        Tree { root: None, height: 0, inner_count: 0 }
    }

    /// The leaf at a node of level 0.
    #[inline(always)]
    fn leaf(node: NonNull<u8>) -> LeafPtr {
        // SAFETY: descents count levels: this is reached where leaves are.
        unsafe { LeafPtr::from_node(node) }
    }

    #[inline(always)]
    fn inner(node: NonNull<u8>) -> InnerPtr {
        // SAFETY: descents count levels: this is reached above the leaves.
        unsafe { InnerPtr::from_node(node) }
    }

    /// Goes down from the root. `choose` gets each inner node and says which child.
    #[inline(always)]
    fn down(&self, mut choose: impl FnMut(InnerPtr) -> usize) -> Option<LeafPtr> {
        let mut node = self.root?;
        for _ in 0..self.height {
            let inner = Self::inner(node);
            node = inner.get().node(choose(inner));
        }
        Some(Self::leaf(node))
    }

    /// The first leaf below a node of this level.
    fn first_leaf_of(mut node: NonNull<u8>, level: u8) -> LeafPtr {
        for _ in 0..level {
            node = Self::inner(node).get().node(0);
        }
        Self::leaf(node)
    }

    /// The child of an inner node where the bound lies.
    #[inline(always)]
    fn choose(inner: InnerPtr, bound: &impl Bound) -> usize {
        let node = inner.get();
        // Bounds may be stale; where one ties, the element that is really the first decides.
        let first_precedes = |index| {
            let leaf = Self::first_leaf_of(node.node(index), node.level - 1);
            bound.precedes(leaf.scores()[0], leaf.member(0))
        };
        partition(node.len() - 1, |index| {
            bound.by_score(node.score(index + 1)).unwrap_or_else(|| first_precedes(index + 1))
        })
    }

    /// The leaf of the bound and the place in it. `passed` gets each inner node on the way
    /// and the child taken.
    #[inline(always)]
    pub fn descend(
        &self,
        bound: &impl Bound,
        mut passed: impl FnMut(InnerPtr, usize),
    ) -> Option<(LeafPtr, usize)> {
        let leaf = self.down(|inner| {
            let index = Self::choose(inner, bound);
            passed(inner, index);
            index
        })?;
        let scores = leaf.scores();
        let index = partition(leaf.count(), |index| {
            let score = scores[index];
            bound.by_score(score).unwrap_or_else(|| bound.precedes(score, leaf.member(index)))
        });
        Some((leaf, index))
    }

    /// The place of a bound.
    pub fn seek(&self, bound: &impl Bound) -> Option<Place> {
        let mut rank = 0;
        let passed = |inner: InnerPtr, index: usize| {
            rank += inner.get().counts()[..index].iter().sum::<u64>();
        };
        let (leaf, index) = self.descend(bound, passed)?;
        Some(Place { leaf, index, rank: rank + index as u64 })
    }

    /// The place of the element with this rank, which exists.
    pub fn select(&self, rank: u64) -> Option<Place> {
        let mut rest = rank;
        let leaf = self.down(|inner| {
            let counts = inner.get().counts();
            let mut index = 0;
            while index + 1 < counts.len() && rest >= counts[index] {
                rest -= counts[index];
                index += 1;
            }
            index
        })?;
        Some(Place { leaf, index: rest as usize, rank })
    }

    /// The rank of a place.
    pub fn rank_of(&self, leaf: LeafPtr, index: usize) -> u64 {
        let mut rank = index as u64;
        self.climb(leaf, |inner, child| rank += inner.get().counts()[..child].iter().sum::<u64>());
        rank
    }

    /// Calls `visit` with each inner node above a leaf and the child it comes from. The leaf
    /// has elements.
    #[inline(always)]
    pub fn climb(&self, leaf: LeafPtr, mut visit: impl FnMut(InnerPtr, usize)) {
        let score = leaf.scores()[0];
        let (mut node, mut above) = (leaf.node(), leaf.parent());
        while let Some(parent) = above {
            visit(parent, parent.index_of(node, score));
            (node, above) = (parent.node(), parent.get().parent);
        }
    }

    /// The leaf behind (or before) this one.
    pub fn neighbour(&self, leaf: LeafPtr, forward: bool) -> Option<LeafPtr> {
        let score = leaf.scores()[0];
        let (mut node, mut above) = (leaf.node(), leaf.parent());
        while let Some(parent) = above {
            let inner = parent.get();
            let index = parent.index_of(node, score);
            let wanted = if forward { index + 1 } else { index.wrapping_sub(1) };
            if wanted < inner.len() {
                return Some(Self::edge_leaf(inner.node(wanted), inner.level - 1, !forward));
            }
            (node, above) = (parent.node(), inner.parent);
        }
        None
    }

    /// The leaf that is the child at `index` of a node of level 1.
    pub fn leaf_below(&self, parent: InnerPtr, index: usize) -> LeafPtr {
        assert_eq!(parent.get().level, 1, "leaves hang below level 1");
        Self::leaf(parent.get().node(index))
    }

    /// The last (or first) leaf below a node of this level.
    fn edge_leaf(mut node: NonNull<u8>, level: u8, last: bool) -> LeafPtr {
        for _ in 0..level {
            let inner = Self::inner(node).get();
            node = inner.node(if last { inner.len() - 1 } else { 0 });
        }
        Self::leaf(node)
    }

    /// The last (or first) leaf.
    pub fn edge(&self, last: bool) -> Option<LeafPtr> {
        Some(Self::edge_leaf(self.root?, self.height, last))
    }

    /// Makes `leaf` the only node.
    pub fn set_only_leaf(&mut self, leaf: LeafPtr) {
        leaf.set_parent(None);
        (self.root, self.height) = (Some(leaf.node()), 0);
    }

    /// Puts `new` where `old` was. `score` is one of its scores.
    pub fn replace_leaf(&mut self, old: LeafPtr, new: LeafPtr, score: f64) {
        match old.parent() {
            Some(parent) => parent.replace_child(parent.index_of(old.node(), score), new.node()),
            None => self.set_only_leaf(new),
        }
    }

    /// Hangs a node of level `level` in behind `before`, which has an element with score
    /// `score`. `before_count`: what is now below `before`.
    pub fn insert_after(
        &mut self,
        before: NonNull<u8>,
        level: u8,
        score: f64,
        before_count: u64,
        child: Child,
    ) {
        let Some(parent) = self.parent_of(before, level) else {
            return self.grow_root(before, score, before_count, child);
        };
        let index = parent.index_of(before, score) + 1;
        parent.get_mut().counts_mut()[index - 1] = before_count;
        if parent.get().len() < FANOUT {
            return parent.insert_child(index, child);
        }
        let right = self.split_inner(parent, index, child);
        let entry = Child { score: right.get().score(0), node: right.node(), count: right.get().total() };
        self.insert_after(parent.node(), level + 1, score, parent.get().total(), entry);
    }

    fn parent_of(&self, node: NonNull<u8>, level: u8) -> Option<InnerPtr> {
        match level {
            0 => Self::leaf(node).parent(),
            _ => Self::inner(node).get().parent,
        }
    }

    fn grow_root(&mut self, left: NonNull<u8>, score: f64, left_count: u64, right: Child) {
        let root = InnerPtr::alloc(self.height + 1, None);
        self.inner_count += 1;
        root.insert_child(0, Child { score, node: left, count: left_count });
        root.insert_child(1, right);
        self.height += 1;
        self.root = Some(root.node());
    }

    /// Splits a full node while `child` comes in at `index`; returns the new right node. At
    /// the ends almost all stays on one side: appending and prepending leave full nodes.
    fn split_inner(&mut self, inner: InnerPtr, index: usize, child: Child) -> InnerPtr {
        let at = match index {
            FANOUT => FANOUT,
            1 => 1,
            _ => FANOUT / 2,
        };
        // The parent is set when it is hung in.
        let right = InnerPtr::alloc(inner.get().level, None);
        self.inner_count += 1;
        inner.move_children(at, right);
        if index > at || index == FANOUT {
            right.insert_child(index - at, child);
        } else {
            inner.insert_child(index, child);
        }
        right
    }

    /// Takes an emptied or merged node out of its parent, and parents that get empty or thin
    /// with it. `index` is its place in `parent`, `score` one score that was below.
    pub fn remove_child(&mut self, parent: InnerPtr, index: usize, score: f64) {
        parent.remove_child(index);
        let len = parent.get().len();
        if let Some(above) = parent.get().parent {
            if len < MERGE_BELOW {
                let own = above.index_of(parent.node(), score);
                if len == 0 {
                    self.free_inner(parent);
                    return self.remove_child(above, own, score);
                }
                self.merge_inner(above, own, score);
            }
        } else if len == 0 {
            self.free_inner(parent);
            (self.root, self.height) = (None, 0);
        } else {
            self.lower_root();
        }
    }

    pub fn free_inner(&mut self, inner: InnerPtr) {
        inner.free();
        self.inner_count -= 1;
    }

    /// Drops roots with a single child.
    fn lower_root(&mut self) {
        while self.height > 0
            && let Some(root) = self.root.map(Self::inner)
            && root.get().len() == 1
        {
            let child = root.get().node(0);
            self.free_inner(root);
            self.height -= 1;
            self.root = Some(child);
            match self.height {
                0 => Self::leaf(child).set_parent(None),
                _ => Self::inner(child).get_mut().parent = None,
            }
        }
    }

    /// Merges the thin child at `index` with a neighbour under the same parent, if both fit.
    fn merge_inner(&mut self, parent: InnerPtr, index: usize, score: f64) {
        let node = parent.get();
        let lens = |left: usize| {
            Self::inner(node.node(left)).get().len() + Self::inner(node.node(left + 1)).get().len()
        };
        let fits = |left: &usize| *left + 1 < node.len() && lens(*left) <= MERGED_MAX;
        let Some(left) = [Some(index), index.checked_sub(1)].into_iter().flatten().find(fits) else {
            return;
        };
        let (target, source) = (Self::inner(node.node(left)), Self::inner(node.node(left + 1)));
        // The first bound of a node may be stale; the one above it is not.
        source.get_mut().set_score(0, node.score(left + 1));
        source.move_children(0, target);
        parent.get_mut().counts_mut()[left] = target.get().total();
        self.free_inner(source);
        self.remove_child(parent, left + 1, score);
    }

    /// Moves a leaf out of a slab that is to be emptied, and the inner nodes above it of which it
    /// is the first leaf. Returns the leaf if it moved.
    pub fn relocate(&mut self, leaf: LeafPtr, mover: &mut Mover) -> Option<LeafPtr> {
        let mut above = leaf.parent();
        let moved = leaf.relocate(mover);
        if let Some(moved) = moved {
            self.replace_below(above, leaf.node(), moved.node());
        }
        let mut node = moved.unwrap_or(leaf).node();
        while let Some(parent) = above.filter(|parent| parent.get().node(0) == node) {
            let grand = parent.get().parent;
            node = parent.node();
            if let Some(moved) = parent.relocate(mover) {
                self.replace_below(grand, node, moved.node());
                node = moved.node();
            }
            above = grand;
        }
        moved
    }

    /// Puts `moved`, which knows its parent, in the place of a node.
    fn replace_below(&mut self, parent: Option<InnerPtr>, node: NonNull<u8>, moved: NonNull<u8>) {
        match parent {
            Some(parent) => parent.replace_node(node, moved),
            None => self.root = Some(moved),
        }
    }

    /// Visits all nodes, children before their parents, with their level.
    pub fn for_each_node(&self, mut visit: impl FnMut(NonNull<u8>, u8)) {
        if let Some(root) = self.root {
            Self::visit_below(root, self.height, &mut visit);
        }
    }

    fn visit_below(node: NonNull<u8>, level: u8, visit: &mut impl FnMut(NonNull<u8>, u8)) {
        if level > 0 {
            let inner = Self::inner(node);
            for index in 0..inner.get().len() {
                Self::visit_below(inner.get().node(index), level - 1, visit);
            }
        }
        visit(node, level);
    }

    /// Visits all leaves and all inner nodes.
    pub fn for_each_level(&self, leaf: &mut impl FnMut(LeafPtr), inner: &mut impl FnMut(InnerPtr)) {
        self.for_each_node(|node, level| match level {
            0 => leaf(Self::leaf(node)),
            _ => inner(Self::inner(node)),
        });
    }

    /// Elements, first and last score below the child at `index`; checks parents on the way.
    pub fn span(&self, parent: InnerPtr, index: usize) -> (u64, f64, f64) {
        let (node, level) = (parent.get().node(index), parent.get().level - 1);
        assert_eq!(self.parent_of(node, level), Some(parent), "a child knows its parent");
        let count =
            if level == 0 { Self::leaf(node).count() as u64 } else { Self::inner(node).get().total() };
        let (first, last) = (Self::edge_leaf(node, level, false), Self::edge_leaf(node, level, true));
        (count, first.scores()[0], last.scores()[last.count() - 1])
    }

    /// Frees all nodes and all long members.
    pub fn free_all(&mut self, pause: &mut dyn FnMut()) {
        self.for_each_node(|node, level| match level {
            0 => Self::leaf(node).free_all(),
            _ => {
                Self::inner(node).free();
                pause();
            }
        });
        *self = Tree::new();
    }
}
