//! Walks over an ordered map, up and down. Owns nothing; a walk keeps the slices of one leaf and
//! seeks the next one from the root when they are used up.

use super::{Leaf, OrderedMap, search};
use std::borrow::Borrow;
use std::iter::FusedIterator;

/// The entries from some key on, in order.
pub struct Forward<'a, K, V> {
    map: &'a OrderedMap<K, V>,
    leaf: Option<Leaf<K, V>>,
    at: usize,
}

/// The entries from some key down, in falling order.
pub struct Backward<'a, K, V> {
    map: &'a OrderedMap<K, V>,
    leaf: Option<Leaf<K, V>>,
    /// Entries of the leaf that are still to come.
    left: usize,
}

impl<'a, K, V> Forward<'a, K, V> {
    pub(super) fn from_start(map: &'a OrderedMap<K, V>) -> Self {
        let leaf = map.root.map(|root| map.edge_leaf(root, map.height, |_| 0));
        Self { map, leaf, at: 0 }
    }
}

impl<'a, K: Ord + Clone, V> Forward<'a, K, V> {
    pub(super) fn from_key<Q: Ord + ?Sized>(map: &'a OrderedMap<K, V>, key: &Q) -> Self
    where
        K: Borrow<Q>,
    {
        let leaf = map.leaf_for(key);
        let at = leaf.map_or(0, |leaf| search(leaf.keys(), key).unwrap_or_else(|at| at));
        Self { map, leaf, at }
    }
}

impl<'a, K: Ord + Clone, V> Iterator for Forward<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let mut leaf = self.leaf?;
        if self.at == leaf.len() {
            self.leaf = leaf.keys::<'a>().last().and_then(|last| self.map.leaf_beside(last, 1));
            self.at = 0;
            leaf = self.leaf?;
        }
        let entry = (leaf.keys().get(self.at)?, leaf.values().get(self.at)?);
        self.at += 1;
        Some(entry)
    }
}

impl<K: Ord + Clone, V> FusedIterator for Forward<'_, K, V> {}

impl<'a, K, V> Backward<'a, K, V> {
    pub(super) fn from_end(map: &'a OrderedMap<K, V>) -> Self {
        let leaf = map.root.map(|root| map.edge_leaf(root, map.height, |len| len - 1));
        Self { map, leaf, left: leaf.map_or(0, Leaf::len) }
    }
}

impl<'a, K: Ord + Clone, V> Backward<'a, K, V> {
    pub(super) fn from_key<Q: Ord + ?Sized>(map: &'a OrderedMap<K, V>, key: &Q) -> Self
    where
        K: Borrow<Q>,
    {
        let leaf = map.leaf_for(key);
        let left = leaf.map_or(0, |leaf| match search(leaf.keys(), key) {
            Ok(at) => at + 1,
            Err(at) => at,
        });
        Self { map, leaf, left }
    }
}

impl<'a, K: Ord + Clone, V> Iterator for Backward<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let mut leaf = self.leaf?;
        if self.left == 0 {
            self.leaf = leaf.keys::<'a>().first().and_then(|first| self.map.leaf_beside(first, -1));
            leaf = self.leaf?;
            self.left = leaf.len();
        }
        self.left -= 1;
        Some((leaf.keys().get(self.left)?, leaf.values().get(self.left)?))
    }
}

impl<K: Ord + Clone, V> FusedIterator for Backward<'_, K, V> {}
