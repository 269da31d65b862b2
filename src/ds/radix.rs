//! Radix tree: an ordered map from byte strings, for the entries of a stream and its groups.
//!
//! Owns keys and values. Order is that of the bytes, so an id written big-endian sorts by number.
//!
//! ```text
//!                 "" (root)
//!                  | 00 00 01 8f 2c 11       edges carry runs of bytes, stored once
//!          .-------o-------.
//!          | a0 .. 00      | b7 .. 00        children sorted by their first byte,
//!        value           value               no two with the same one
//! ```
//!
//! A node other than the root holds a value or has two children or more, so there are fewer than
//! twice as many nodes as keys.
//!
//! Trade-off: keys of any length, common prefixes stored once, a look-up in O(key length); a key
//! costs about one node (56 bytes with a value of 24) and the bytes it does not share. For keys of
//! a fixed 16 bytes `std`'s `BTreeMap<u128, V>` is tighter, and its seeks measured 2.5 times
//! (10,000 keys) to 5 times (a million) faster: take this one where keys vary in length.
//!
//! Depth, and with it recursion, is bounded by `MAX_KEY_BYTES`.

use crate::ds::corrupt::Corrupt;
use std::cmp::Ordering;
use std::fmt;

/// The longest key, bytes: bounds the depth of the tree, which an attacker who may name keys
/// ("a", "aa", "aaa", ...) would otherwise choose.
pub const MAX_KEY_BYTES: usize = 1024;

/// A key longer than `MAX_KEY_BYTES` was refused; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTooLong;

impl fmt::Display for KeyTooLong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("radix tree key too long")
    }
}

impl std::error::Error for KeyTooLong {}

#[derive(Clone)]
struct Node<V> {
    /// The first byte of the run, here so that a search among siblings follows no pointers.
    first: u8,
    /// The bytes between the parent and this node; empty only in the root.
    run: Box<[u8]>,
    value: Option<V>,
    /// Sorted by the first byte of their runs.
    children: Vec<Node<V>>,
}

impl<V> Node<V> {
    fn with_run(run: &[u8], value: Option<V>, children: Vec<Self>) -> Self {
        Self { first: run.first().copied().unwrap_or(0), run: run.into(), value, children }
    }

    /// The child whose run starts with `byte`, or where it would be.
    fn child(&self, byte: u8) -> Result<usize, usize> {
        // Ids are mostly added at the end: look there first.
        match self.children.last() {
            Some(last) if last.first > byte => {}
            Some(last) if last.first == byte => return Ok(self.children.len() - 1),
            _ => return Err(self.children.len()),
        }
        self.children.binary_search_by_key(&byte, |child| child.first)
    }

    fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        let Some(&byte) = key.first() else {
            return self.value.replace(value);
        };
        match self.child(byte) {
            Err(at) => {
                self.children.insert(at, Self::with_run(key, Some(value), Vec::new()));
                None
            }
            Ok(at) => {
                let child = &mut self.children[at];
                let shared = shared_len(&child.run, key);
                if shared < child.run.len() {
                    child.split(shared);
                }
                child.insert(&key[shared..], value)
            }
        }
    }

    /// Cuts the run after `at` bytes: what follows becomes the only child.
    fn split(&mut self, at: usize) {
        let children = std::mem::take(&mut self.children);
        let tail = Self::with_run(&self.run[at..], self.value.take(), children);
        self.run = self.run[..at].into();
        self.children.push(tail);
    }

    fn remove(&mut self, key: &[u8]) -> Option<V> {
        let Some(&byte) = key.first() else {
            return self.value.take();
        };
        let at = self.child(byte).ok()?;
        let child = &mut self.children[at];
        let removed = child.remove(key.strip_prefix(&*child.run)?)?;
        if child.value.is_none() {
            match child.children.len() {
                0 => drop(self.children.remove(at)),
                1 => child.join_only_child(),
                _ => {}
            }
        }
        Some(removed)
    }

    /// Undoes `split`.
    fn join_only_child(&mut self) {
        if let Some(only) = self.children.pop() {
            self.run = [&*self.run, &*only.run].concat().into();
            self.value = only.value;
            self.children = only.children;
        }
    }

    fn check(&self, is_root: bool) -> Result<usize, Corrupt> {
        if self.first != self.run.first().copied().unwrap_or(0) {
            return Err(Corrupt("radix node with a wrong first byte"));
        }
        if is_root != self.run.is_empty() {
            return Err(Corrupt("radix node with a wrong run"));
        }
        if !is_root && self.value.is_none() && self.children.len() < 2 {
            return Err(Corrupt("radix node without use"));
        }
        let pairs = self.children.iter().zip(self.children.iter().skip(1));
        if pairs.into_iter().any(|(a, b)| a.first >= b.first) {
            return Err(Corrupt("radix children out of order"));
        }
        let mut count = usize::from(self.value.is_some());
        for child in &self.children {
            count += child.check(false)?;
        }
        Ok(count)
    }
}

fn shared_len(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(a, b)| a == b).count()
}

/// An ordered map from byte strings to `V`.
#[derive(Clone)]
pub struct Radix<V> {
    root: Node<V>,
    len: usize,
}

impl<V> Radix<V> {
    /// An empty map; allocates nothing.
    pub fn new() -> Self {
        Self { root: Node::with_run(&[], None, Vec::new()), len: 0 }
    }

    /// Number of keys; O(1).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the value of `key`; returns the old one. O(key length).
    ///
    /// # Errors
    /// `KeyTooLong`, see there.
    pub fn insert(&mut self, key: &[u8], value: V) -> Result<Option<V>, KeyTooLong> {
        if key.len() > MAX_KEY_BYTES {
            return Err(KeyTooLong);
        }
        let old = self.root.insert(key, value);
        self.len += usize::from(old.is_none());
        Ok(old)
    }

    /// Removes `key`; returns its value. O(key length).
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        let removed = self.root.remove(key)?;
        self.len -= 1;
        Some(removed)
    }

    /// The value of `key`; O(key length).
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let (mut node, mut rest) = (&self.root, key);
        while let Some(&byte) = rest.first() {
            node = &node.children[node.child(byte).ok()?];
            rest = rest.strip_prefix(&*node.run)?;
        }
        node.value.as_ref()
    }

    /// The value of `key`, to be changed; O(key length).
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let (mut node, mut rest) = (&mut self.root, key);
        while let Some(&byte) = rest.first() {
            let at = node.child(byte).ok()?;
            node = &mut node.children[at];
            rest = rest.strip_prefix(&*node.run)?;
        }
        node.value.as_mut()
    }

    /// The greatest key's value, to be changed: where a stream appends. O(key length).
    pub fn last_mut(&mut self) -> Option<&mut V> {
        let mut node = &mut self.root;
        while !node.children.is_empty() {
            node = node.children.last_mut()?;
        }
        node.value.as_mut()
    }

    /// All keys in ascending order.
    pub fn iter(&self) -> Cursor<'_, V> {
        self.seek_first()
    }

    /// A cursor on the smallest key.
    pub fn seek_first(&self) -> Cursor<'_, V> {
        let mut cursor = Cursor::on(&self.root);
        if self.root.value.is_none() {
            cursor.step_forward();
        }
        cursor
    }

    /// A cursor on the greatest key.
    pub fn seek_last(&self) -> Cursor<'_, V> {
        let mut cursor = Cursor::on(&self.root);
        cursor.descend_to_last();
        cursor.settle_backward();
        cursor
    }

    /// A cursor on the smallest key not below `key`; O(key length).
    pub fn seek_at_or_after(&self, key: &[u8]) -> Cursor<'_, V> {
        let mut cursor = Cursor::on(&self.root);
        match cursor.descend(key) {
            // At the key's node or a greater one: its subtree starts with itself.
            Landing::At | Landing::Above => cursor.settle_forward(),
            Landing::Below => {
                cursor.descend_to_last();
                cursor.step_forward();
            }
        }
        cursor
    }

    /// A cursor on the greatest key not above `key`; O(key length).
    pub fn seek_at_or_before(&self, key: &[u8]) -> Cursor<'_, V> {
        let mut cursor = Cursor::on(&self.root);
        match cursor.descend(key) {
            Landing::At => cursor.settle_backward(),
            Landing::Above => cursor.step_backward(),
            Landing::Below => {
                cursor.descend_to_last();
                cursor.settle_backward();
            }
        }
        cursor
    }

    /// Checks the shape of the tree and the number of keys. O(n).
    ///
    /// # Errors
    /// The broken invariant.
    pub fn check_invariants(&self) -> Result<(), Corrupt> {
        let count = self.root.check(true)?;
        if count == self.len { Ok(()) } else { Err(Corrupt("radix tree miscounted")) }
    }
}

impl<V> Default for Radix<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: fmt::Debug> fmt::Debug for Radix<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = formatter.debug_map();
        let mut cursor = self.seek_first();
        while let Some((key, value)) = cursor.current() {
            map.entry(&key, value);
            cursor.step_forward();
        }
        map.finish()
    }
}

/// How the node a descent ended on compares with the key that was sought.
enum Landing {
    /// It is the key's own node.
    At,
    /// All keys of its subtree are above the sought one.
    Above,
    /// All keys of its subtree are below the sought one.
    Below,
}

/// A place in the map: on a key, or past either end, where it then stays.
pub struct Cursor<'a, V> {
    /// The nodes from the root down, each with its place among its parent's children.
    path: Vec<(&'a Node<V>, usize)>,
    /// The runs along the path.
    key: Vec<u8>,
}

impl<'a, V> Cursor<'a, V> {
    fn on(root: &'a Node<V>) -> Self {
        Self { path: vec![(root, 0)], key: Vec::new() }
    }

    /// The key and value the cursor is on; `None` past either end.
    pub fn current(&self) -> Option<(&[u8], &'a V)> {
        let (node, _) = self.path.last()?;
        node.value.as_ref().map(|value| (self.key.as_slice(), value))
    }

    /// Goes to the next greater key; amortised O(1).
    pub fn step_forward(&mut self) {
        loop {
            if !self.enter(0) && !self.leave_forward() {
                return;
            }
            if self.top().is_some_and(|node| node.value.is_some()) {
                return;
            }
        }
    }

    /// Goes to the next smaller key; amortised O(1).
    pub fn step_backward(&mut self) {
        loop {
            let Some(at) = self.leave() else { return };
            if let Some(before) = at.checked_sub(1)
                && self.top().is_some()
            {
                self.enter(before);
                self.descend_to_last();
            }
            if self.top().is_none_or(|node| node.value.is_some()) {
                return;
            }
        }
    }

    fn top(&self) -> Option<&'a Node<V>> {
        self.path.last().map(|(node, _)| *node)
    }

    /// Goes down to the child at `at` of the current node; whether there is one.
    fn enter(&mut self, at: usize) -> bool {
        let Some(child) = self.top().and_then(|node| node.children.get(at)) else {
            return false;
        };
        self.key.extend_from_slice(&child.run);
        self.path.push((child, at));
        true
    }

    /// Goes up; returns the place of the node left.
    fn leave(&mut self) -> Option<usize> {
        let (node, at) = self.path.pop()?;
        self.key.truncate(self.key.len() - node.run.len());
        Some(at)
    }

    /// Goes up until there is a next sibling and enters that; whether there was one.
    fn leave_forward(&mut self) -> bool {
        while let Some(at) = self.leave() {
            if self.enter(at + 1) {
                return true;
            }
        }
        false
    }

    fn descend_to_last(&mut self) {
        while let Some(last) = self.top().and_then(|node| node.children.len().checked_sub(1)) {
            self.enter(last);
        }
    }

    fn settle_forward(&mut self) {
        if self.top().is_some_and(|node| node.value.is_none()) {
            self.step_forward();
        }
    }

    fn settle_backward(&mut self) {
        if self.top().is_some_and(|node| node.value.is_none()) {
            self.step_backward();
        }
    }

    /// Follows `key` from the root as far as it goes.
    fn descend(&mut self, key: &[u8]) -> Landing {
        let mut rest = key;
        loop {
            let (Some(&byte), Some(node)) = (rest.first(), self.top()) else {
                return Landing::At;
            };
            let at = match node.child(byte) {
                Ok(at) => at,
                Err(0) if node.children.is_empty() => return Landing::Below,
                // Nothing but the node itself is below: it sorts before all its children.
                Err(0) => {
                    self.enter(0);
                    return Landing::Above;
                }
                Err(at) => {
                    self.enter(at - 1);
                    return Landing::Below;
                }
            };
            self.enter(at);
            let run = &*node.children[at].run;
            match rest.strip_prefix(run) {
                Some(after) => rest = after,
                None if run.cmp(rest) == Ordering::Less => return Landing::Below,
                None => return Landing::Above,
            }
        }
    }
}

impl<V> Clone for Cursor<'_, V> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), key: self.key.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, KeyTooLong, MAX_KEY_BYTES, Radix};
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
    use std::collections::BTreeMap;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => vec(0u8..3, 0..6),
            1 => vec(any::<u8>(), 0..4),
            2 => (0u128..600).prop_map(|id| (id * 97).to_be_bytes().to_vec()),
        ]
    }

    type Pair = (Vec<u8>, usize);

    fn owned(cursor: &Cursor<'_, usize>) -> Option<Pair> {
        cursor.current().map(|(key, value)| (key.to_vec(), *value))
    }

    fn forward(mut cursor: Cursor<'_, usize>) -> Vec<Pair> {
        let mut out = Vec::new();
        while let Some(pair) = owned(&cursor) {
            out.push(pair);
            cursor.step_forward();
        }
        cursor.step_forward();
        assert!(cursor.current().is_none());
        out
    }

    fn backward(mut cursor: Cursor<'_, usize>) -> Vec<Pair> {
        let mut out = Vec::new();
        while let Some(pair) = owned(&cursor) {
            out.push(pair);
            cursor.step_backward();
        }
        cursor.step_backward();
        assert!(cursor.current().is_none());
        out
    }

    fn pair((key, value): (&Vec<u8>, &usize)) -> Pair {
        (key.clone(), *value)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn agrees_with_a_tree_map(
            edits in vec((0u8..3, key()), 0..120), probes in vec(key(), 1..12),
        ) {
            let mut tree = Radix::new();
            let mut model = BTreeMap::new();
            for (value, (edit, key)) in edits.into_iter().enumerate() {
                if edit == 0 {
                    prop_assert_eq!(tree.remove(&key), model.remove(&key));
                } else {
                    prop_assert_eq!(tree.insert(&key, value), Ok(model.insert(key, value)));
                }
                prop_assert_eq!(tree.check_invariants(), Ok(()));
                prop_assert_eq!(tree.len(), model.len());
            }
            prop_assert_eq!(forward(tree.iter()), model.iter().map(pair).collect::<Vec<_>>());
            let reversed: Vec<Pair> = model.iter().rev().map(pair).collect();
            prop_assert_eq!(backward(tree.seek_last()), reversed);
            for probe in probes {
                let after: Vec<Pair> = model.range(probe.clone()..).map(pair).collect();
                prop_assert_eq!(forward(tree.seek_at_or_after(&probe)), after);
                let before: Vec<Pair> = model.range(..=probe.clone()).rev().map(pair).collect();
                prop_assert_eq!(backward(tree.seek_at_or_before(&probe)), before);
                prop_assert_eq!(tree.get(&probe), model.get(&probe));
                prop_assert_eq!(tree.get_mut(&probe), model.get_mut(&probe));
            }
            let last = model.values_mut().next_back();
            prop_assert_eq!(tree.last_mut(), last);
        }
    }

    #[test]
    fn direction_may_change_on_the_way() {
        let mut tree = Radix::new();
        for (value, key) in ["", "a", "ab", "abc", "b", "ba"].into_iter().enumerate() {
            assert_eq!(tree.insert(key.as_bytes(), value), Ok(None));
        }
        let mut cursor = tree.seek_at_or_after(b"abb");
        for (forward, expected) in [(true, 4), (false, 3), (false, 2), (true, 3), (true, 4)] {
            if forward {
                cursor.step_forward()
            } else {
                cursor.step_backward()
            }
            assert_eq!(owned(&cursor).map(|(_, value)| value), Some(expected));
        }
    }

    #[test]
    fn a_node_has_the_documented_size() {
        assert_eq!(size_of::<super::Node<crate::ds::listpack::Listpack>>(), 56);
    }

    #[test]
    fn the_deepest_tree_is_survived() {
        let mut tree = Radix::new();
        for len in 0..=MAX_KEY_BYTES {
            assert_eq!(tree.insert(&vec![b'a'; len], len), Ok(None));
        }
        assert_eq!(tree.insert(&vec![b'a'; MAX_KEY_BYTES + 1], 0), Err(KeyTooLong));
        tree.check_invariants().expect("valid");
        assert_eq!(tree.clone().remove(&vec![b'a'; MAX_KEY_BYTES]), Some(MAX_KEY_BYTES));
        assert_eq!(tree.len(), MAX_KEY_BYTES + 1);
    }
}
