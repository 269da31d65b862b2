//! Defragmentation: the nodes of the map and what its entries own, one leaf a step.
//!
//! A position is the way from the root to a leaf, six bits a level: the number of the child at each
//! inner node. An inner node moves when the way below it is all zeros. Where the tree has changed
//! since, a number may be too large: then the walk goes on with the next child further up.

use super::node::{Link, NODE_ENTRIES_MAX, Node};
use super::{Inner, OrderedMap};
use crate::sys::data_alloc::{Mover, Relocate};

/// Bits of a position for each level.
const LEVEL_BITS: u32 = NODE_ENTRIES_MAX.trailing_zeros();
/// Levels that a position has room for: 64^6 entries and more.
const LEVELS_MAX: u8 = 6;

const _: () = assert!(NODE_ENTRIES_MAX.is_power_of_two());

impl<K: Relocate, V: Relocate> OrderedMap<K, V> {
    /// Bits that a position takes at most.
    pub const POSITION_BITS: u32 = LEVEL_BITS * LEVELS_MAX as u32;

    /// One step: the leaf at `position`, and the inner nodes that begin there. Returns the next
    /// position, 0 at the end. Start with 0.
    pub fn relocate(&mut self, position: u64, mover: &mut Mover) -> u64 {
        let Some(mut root) = self.root else { return 0 };
        if self.height > LEVELS_MAX {
            return 0;
        }
        let next = relocate_below::<K, V>(&mut root, self.height, position, mover);
        self.root = Some(root);
        if next >> (LEVEL_BITS * u32::from(self.height)) == 0 { next } else { 0 }
    }

    /// The value of entry number `index` in order. O(leaves).
    pub fn nth_mut(&mut self, index: usize) -> Option<&mut V> {
        let mut left = index;
        nth_below::<K, V>(self.root?, self.height, &mut left)
    }
}

/// Moves the node at `link` if it begins at `position` and goes on below it.
fn relocate_below<K: Relocate, V: Relocate>(
    link: &mut Link,
    height: u8,
    position: u64,
    mover: &mut Mover,
) -> u64 {
    if height == 0 {
        relocate_leaf::<K, V>(link, mover);
        return position + 1;
    }
    // The number of the child stands above those of the levels below.
    let below_bits = LEVEL_BITS * (u32::from(height) - 1);
    let here_bits = below_bits + LEVEL_BITS;
    let here = position & ((1 << here_bits) - 1);
    let mut inner = Inner::<K>::at(*link);
    if here == 0 {
        if let Some(moved) = inner.relocate(mover) {
            *link = moved.link();
            inner = moved;
        }
        (0..inner.len()).for_each(|at| inner.entry_mut(at).0.relocate(mover));
    }
    let child = (here >> below_bits) as usize;
    if child >= inner.len() {
        return (position | ((1 << here_bits) - 1)) + 1;
    }
    relocate_below::<K, V>(inner.value_mut(child), height - 1, position, mover)
}

fn relocate_leaf<K: Relocate, V: Relocate>(link: &mut Link, mover: &mut Mover) {
    let mut leaf = Node::<K, V>::at(*link);
    if let Some(moved) = leaf.relocate(mover) {
        *link = moved.link();
        leaf = moved;
    }
    for at in 0..leaf.len() {
        let (key, value) = leaf.entry_mut(at);
        key.relocate(mover);
        value.relocate(mover);
    }
}

fn nth_below<'a, K, V>(link: Link, height: u8, left: &mut usize) -> Option<&'a mut V> {
    if height == 0 {
        let leaf = Node::<K, V>::at(link);
        if *left < leaf.len() {
            return Some(leaf.value_mut(*left));
        }
        *left -= leaf.len();
        return None;
    }
    let inner = Inner::<K>::at(link);
    inner.values().iter().find_map(|&child| nth_below::<K, V>(child, height - 1, left))
}
