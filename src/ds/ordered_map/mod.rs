//! Ordered map in the data region: a B+ tree from copyable or owned keys to values, for what a
//! stream keeps in order: its blocks and pending entries by id, groups and consumers by name.
//!
//! Owns keys and values.
//!
//! ```text
//!                  | 0-1 | 7-0 | 9-5 |            inner: lower bounds and children
//!                  /       |        \
//!   | 0-1 2-0 5-3 |  | 7-0 8-1 |  | 9-5 .. |      leaves: keys, and beside them values
//! ```
//!
//! The first bound of an inner node is not read: smaller keys go to its first child too. A leaf
//! starts with 4 entries and doubles up to 64. Keys that come in order fill the last leaf and then
//! start another, so leaves are full; else a full node is cut in two halves. A node that a removal
//! leaves below a quarter joins a neighbour if both fit into half a node.
//!
//! Trade-off against a radix tree: keys are stored whole (a pending entry of a group takes 40 bytes
//! instead of Redis's about 70), a seek is one binary search for each factor of 64; no key is
//! shared with its neighbours. No sibling links: an iterator seeks the next leaf from the root,
//! once in 64 entries.
#![allow(unsafe_code)]

mod iter;
mod node;
mod relocate;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::fmt;
use std::mem;

pub use iter::{Backward, Forward};
use node::{FIRST_ENTRIES, Link, NODE_ENTRIES_MAX, Node};

/// A node with fewer entries looks for a neighbour to join.
const SPARSE_ENTRIES: usize = NODE_ENTRIES_MAX / 4;
/// Two neighbours join if they have no more entries together: room for growth is left.
const JOINED_ENTRIES_MAX: usize = NODE_ENTRIES_MAX / 2;

type Inner<K> = Node<K, Link>;
type Leaf<K, V> = Node<K, V>;

/// An ordered map that owns its entries in the data region.
pub struct OrderedMap<K, V> {
    root: Option<Link>,
    /// Inner nodes above each leaf.
    height: u8,
    len: u64,
    /// Bytes of all nodes in the data region.
    node_bytes: usize,
    owns: std::marker::PhantomData<(K, V)>,
}

// SAFETY: it owns its nodes and their entries alone, so it may go where they may.
unsafe impl<K: Send, V: Send> Send for OrderedMap<K, V> {}
// SAFETY: shared access only reads.
unsafe impl<K: Sync, V: Sync> Sync for OrderedMap<K, V> {}

/// What an insertion below did to the node.
enum Inserted<K, V> {
    Replaced(V),
    Done,
    /// The node was cut: a neighbour to the right, with its lower bound.
    Split(K, Link),
}

impl<K, V> OrderedMap<K, V> {
    /// An empty map; no memory.
    pub const fn new() -> Self {
        Self { root: None, height: 0, len: 0, node_bytes: 0, owns: std::marker::PhantomData }
    }

    /// Number of entries. O(1).
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the nodes in the data region, without what keys and values own. O(1).
    pub fn allocated_bytes(&self) -> usize {
        self.node_bytes
    }

    /// Drops all entries and calls `pause` after each leaf.
    pub fn clear_pausing(&mut self, pause: &mut dyn FnMut()) {
        if let Some(root) = self.root.take() {
            drop_below::<K, V>(root, self.height, pause);
        }
        *self = Self::new();
    }

    /// All entries in order.
    pub fn iter(&self) -> Forward<'_, K, V> {
        Forward::from_start(self)
    }

    /// All entries from the last to the first.
    pub fn iter_back(&self) -> Backward<'_, K, V> {
        Backward::from_end(self)
    }

    /// The entry with the smallest key. O(log n).
    pub fn first(&self) -> Option<(&K, &V)> {
        let leaf = self.edge_leaf(self.root?, self.height, |_| 0);
        leaf.keys().first().zip(leaf.values().first())
    }

    /// The entry with the largest key. O(log n).
    pub fn last(&self) -> Option<(&K, &V)> {
        let leaf = self.edge_leaf(self.root?, self.height, |len| len - 1);
        leaf.keys().last().zip(leaf.values().last())
    }

    /// The first or last leaf below a node, as `choose` picks children.
    fn edge_leaf(&self, link: Link, height: u8, choose: fn(usize) -> usize) -> Leaf<K, V> {
        let mut link = link;
        for _ in 0..height {
            let inner = Inner::<K>::at(link);
            link = inner.values()[choose(inner.len())];
        }
        Leaf::at(link)
    }
}

impl<K: Ord + Clone, V> OrderedMap<K, V> {
    /// The value of `key`. O(log n).
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (leaf, at) = self.find(key)?;
        leaf.values().get(at)
    }

    /// The value of `key`, to be changed. O(log n).
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (leaf, at) = self.find(key)?;
        Some(leaf.value_mut(at))
    }

    /// Whether there is an entry for `key`. O(log n).
    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_some()
    }

    /// The value of the largest key, to be changed. O(log n).
    pub fn last_mut(&mut self) -> Option<(&K, &mut V)> {
        let leaf = self.edge_leaf(self.root?, self.height, |len| len - 1);
        let at = leaf.len().checked_sub(1)?;
        Some((&leaf.keys()[at], leaf.value_mut(at)))
    }

    /// The entry with the largest key not above `key`. O(log n).
    pub fn floor<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.iter_back_from(key).next()
    }

    /// The entries from `key` on, in order. O(log n) to start.
    pub fn iter_from<Q: Ord + ?Sized>(&self, key: &Q) -> Forward<'_, K, V>
    where
        K: Borrow<Q>,
    {
        Forward::from_key(self, key)
    }

    /// The entries from `key` down, in falling order. O(log n) to start.
    pub fn iter_back_from<Q: Ord + ?Sized>(&self, key: &Q) -> Backward<'_, K, V>
    where
        K: Borrow<Q>,
    {
        Backward::from_key(self, key)
    }

    /// Adds an entry or replaces its value; returns the value replaced. O(log n), amortised O(1)
    /// node moves for keys in order.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let height = self.height;
        let Some(mut root) = self.root else {
            let leaf = self.alloc::<V>(FIRST_ENTRIES);
            leaf.insert(0, key, value);
            (self.root, self.len) = (Some(leaf.link()), 1);
            return None;
        };
        let inserted = self.insert_below(&mut root, height, true, key, value);
        self.root = Some(root);
        match inserted {
            Inserted::Replaced(old) => return Some(old),
            Inserted::Done => {}
            Inserted::Split(bound, right) => self.grow_root(root, bound, right),
        }
        self.len += 1;
        None
    }

    /// Takes the entry of `key` out. O(log n).
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let root = self.root?;
        let removed = self.remove_below(root, self.height, key)?;
        self.len -= 1;
        self.shrink_root();
        Some(removed)
    }

    /// The leaf with the entry of `key` and its index there.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(Leaf<K, V>, usize)>
    where
        K: Borrow<Q>,
    {
        let leaf = self.leaf_for(key)?;
        let at = search(leaf.keys(), key).ok()?;
        Some((leaf, at))
    }

    /// The leaf where `key` is or would be.
    fn leaf_for<Q: Ord + ?Sized>(&self, key: &Q) -> Option<Leaf<K, V>>
    where
        K: Borrow<Q>,
    {
        let mut link = self.root?;
        for _ in 0..self.height {
            let inner = Inner::<K>::at(link);
            link = inner.values()[child_for(inner, key)];
        }
        Some(Leaf::at(link))
    }

    /// The leaf before (`step` -1) or after (1) the one of `key`, if there is one.
    fn leaf_beside<Q: Ord + ?Sized>(&self, key: &Q, step: isize) -> Option<Leaf<K, V>>
    where
        K: Borrow<Q>,
    {
        let mut link = self.root?;
        let mut beside = None;
        for level in (0..self.height).rev() {
            let inner = Inner::<K>::at(link);
            let at = child_for(inner, key);
            link = inner.values()[at];
            let neighbour = at.checked_add_signed(step).and_then(|at| inner.values().get(at));
            beside = neighbour.map(|&neighbour| (neighbour, level)).or(beside);
        }
        let (neighbour, level) = beside?;
        let choose: fn(usize) -> usize = if step > 0 { |_| 0 } else { |len| len - 1 };
        Some(self.edge_leaf(neighbour, level, choose))
    }

    /// Inserts below the node at `link`, which may move. `rightmost`: no node of this level is
    /// further right.
    fn insert_below(
        &mut self,
        link: &mut Link,
        height: u8,
        rightmost: bool,
        key: K,
        value: V,
    ) -> Inserted<K, V> {
        if height == 0 {
            let leaf = Leaf::<K, V>::at(*link);
            return match search(leaf.keys(), &key) {
                Ok(at) => Inserted::Replaced(mem::replace(leaf.value_mut(at), value)),
                Err(at) => self.put(link, at, rightmost, key, value),
            };
        }
        let inner = Inner::<K>::at(*link);
        let at = child_for(inner, &key);
        let rightmost = rightmost && at + 1 == inner.len();
        match self.insert_below(inner.value_mut(at), height - 1, rightmost, key, value) {
            Inserted::Split(bound, right) => {
                // The values below are of another type: only a split or nothing comes back.
                match self.put::<Link>(link, at + 1, rightmost, bound, right) {
                    Inserted::Split(bound, right) => Inserted::Split(bound, right),
                    _ => Inserted::Done,
                }
            }
            other => other,
        }
    }

    /// Inserts into one node at `at`, growing or cutting it as needed.
    fn put<T>(&mut self, link: &mut Link, at: usize, rightmost: bool, key: K, value: T) -> Inserted<K, T> {
        let mut node = Node::<K, T>::at(*link);
        if !node.is_full() {
            node.insert(at, key, value);
            return Inserted::Done;
        }
        if node.capacity() < NODE_ENTRIES_MAX {
            node = self.regrow(node, (node.capacity() * 2).min(NODE_ENTRIES_MAX));
            *link = node.link();
            node.insert(at, key, value);
            return Inserted::Done;
        }
        if rightmost && at == NODE_ENTRIES_MAX {
            let right = self.alloc::<T>(FIRST_ENTRIES);
            right.insert(0, key.clone(), value);
            return Inserted::Split(key, right.link());
        }
        let right = self.alloc::<T>(NODE_ENTRIES_MAX);
        let cut = NODE_ENTRIES_MAX / 2;
        node.move_tail(cut, right);
        if at <= cut {
            node.insert(at, key, value)
        } else {
            right.insert(at - cut, key, value)
        }
        Inserted::Split(right.keys()[0].clone(), right.link())
    }

    fn grow_root(&mut self, left: Link, bound: K, right: Link) {
        let root = self.alloc::<Link>(FIRST_ENTRIES);
        // The first bound of an inner node is never read: any key will do.
        root.insert(0, bound.clone(), left);
        root.insert(1, bound, right);
        self.root = Some(root.link());
        self.height += 1;
    }

    fn remove_below<Q: Ord + ?Sized>(&mut self, link: Link, height: u8, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if height == 0 {
            let leaf = Leaf::<K, V>::at(link);
            let at = search(leaf.keys(), key).ok()?;
            return Some(leaf.remove(at).1);
        }
        let inner = Inner::<K>::at(link);
        let at = child_for(inner, key);
        let removed = self.remove_below(inner.values()[at], height - 1, key)?;
        if height == 1 {
            self.tidy::<V>(inner, at, false)
        } else {
            self.tidy::<Link>(inner, at, true)
        }
        Some(removed)
    }

    /// After a removal below child `at`: drops it if it is empty, joins it with a neighbour if
    /// both are sparse.
    fn tidy<T>(&mut self, inner: Inner<K>, at: usize, children_are_inner: bool) {
        let child = Node::<K, T>::at(inner.values()[at]);
        if child.len() == 0 {
            self.free(child);
            inner.remove(at);
            return;
        }
        if child.len() >= SPARSE_ENTRIES {
            return;
        }
        for left_at in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            if left_at + 1 >= inner.len() {
                continue;
            }
            let left = Node::<K, T>::at(inner.values()[left_at]);
            let right = Node::<K, T>::at(inner.values()[left_at + 1]);
            if left.len() + right.len() <= JOINED_ENTRIES_MAX {
                self.join(inner, left_at, left, right, children_are_inner);
                return;
            }
        }
    }

    fn join<T>(
        &mut self,
        inner: Inner<K>,
        left_at: usize,
        left: Node<K, T>,
        right: Node<K, T>,
        children_are_inner: bool,
    ) {
        let (bound, _) = inner.remove(left_at + 1);
        if children_are_inner {
            // It was not read as the first bound; in the middle it will be.
            right.replace_key(0, bound);
        }
        let mut left = left;
        if left.capacity() < left.len() + right.len() {
            left = self.regrow(left, NODE_ENTRIES_MAX);
            *inner.value_mut(left_at) = left.link();
        }
        self.node_bytes -= right.allocated_bytes();
        right.move_behind(left);
    }

    /// Takes off inner roots with one child and an empty leaf.
    fn shrink_root(&mut self) {
        while let Some(root) = self.root {
            if self.height == 0 {
                let leaf = Leaf::<K, V>::at(root);
                if leaf.len() == 0 {
                    self.free(leaf);
                    self.root = None;
                }
                return;
            }
            let inner = Inner::<K>::at(root);
            if inner.len() > 1 {
                return;
            }
            let (_, only) = inner.remove(0);
            self.free(inner);
            self.root = Some(only);
            self.height -= 1;
        }
    }

    fn alloc<T>(&mut self, capacity: usize) -> Node<K, T> {
        let node = Node::<K, T>::alloc(capacity);
        self.node_bytes += node.allocated_bytes();
        node
    }

    fn regrow<T>(&mut self, node: Node<K, T>, capacity: usize) -> Node<K, T> {
        self.node_bytes -= node.allocated_bytes();
        let node = node.with_capacity(capacity);
        self.node_bytes += node.allocated_bytes();
        node
    }

    fn free<T>(&mut self, node: Node<K, T>) {
        self.node_bytes -= node.allocated_bytes();
        node.free();
    }
}

/// Binary search; keys that come in order are found behind the last one at once.
fn search<K: Borrow<Q>, Q: Ord + ?Sized>(keys: &[K], key: &Q) -> Result<usize, usize> {
    match keys.last() {
        Some(last) if last.borrow() < key => Err(keys.len()),
        _ => keys.binary_search_by(|own| own.borrow().cmp(key)),
    }
}

/// Index of the child of `inner` below which `key` belongs.
fn child_for<K: Borrow<Q>, Q: Ord + ?Sized>(inner: Inner<K>, key: &Q) -> usize {
    match inner.keys().last() {
        Some(last) if last.borrow() <= key => inner.len() - 1,
        _ => inner.keys()[1..].partition_point(|bound| bound.borrow() <= key),
    }
}

/// Drops a node and all below it.
fn drop_below<K, V>(link: Link, height: u8, pause: &mut dyn FnMut()) {
    if height == 0 {
        Leaf::<K, V>::at(link).drop_entries();
        return pause();
    }
    let inner = Inner::<K>::at(link);
    for &child in inner.values() {
        drop_below::<K, V>(child, height - 1, pause);
    }
    inner.drop_entries();
}

impl<K, V> Drop for OrderedMap<K, V> {
    fn drop(&mut self) {
        if let Some(root) = self.root.take() {
            drop_below::<K, V>(root, self.height, &mut || {});
        }
    }
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone, V: Clone> Clone for OrderedMap<K, V> {
    fn clone(&self) -> Self {
        self.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K: Ord + Clone + fmt::Debug, V: fmt::Debug> fmt::Debug for OrderedMap<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}
