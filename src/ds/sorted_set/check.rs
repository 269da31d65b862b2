//! The invariants of a sorted set, checked. O(n log n).

use std::cmp::Ordering;

use super::SortedSet;
use super::inner::{FANOUT, InnerPtr};
use super::leaf::LeafPtr;
use super::tree::order;

impl SortedSet {
    /// Panics on a contradiction between nodes, counts, bounds, order and index.
    pub fn check_invariants(&self) {
        let (mut leaf_bytes, mut long_bytes, mut elements, mut inner_count) = (0, 0, 0, 0);
        self.tree.for_each_level(
            &mut |leaf: LeafPtr| {
                leaf.check_invariants();
                assert!(leaf.count() > 0, "no leaf is empty");
                leaf_bytes += leaf.capacity();
                elements += leaf.count();
                for index in 0..leaf.count() {
                    let hash = self.hash(leaf.member(index));
                    assert_eq!(leaf.tag(index), hash.tag());
                    assert_eq!(self.index.find(hash, leaf.member(index)), Some((leaf, index)));
                    long_bytes += leaf.entry(index).long_bytes();
                }
            },
            &mut |inner: InnerPtr| {
                inner_count += 1;
                self.check_inner(inner);
            },
        );
        assert_eq!((leaf_bytes, long_bytes), (self.leaf_bytes, self.long_bytes));
        assert_eq!((elements, inner_count), (self.len(), self.tree.inner_count));
        self.check_order();
    }

    fn check_inner(&self, inner: InnerPtr) {
        let node = inner.get();
        assert!((1..=FANOUT).contains(&node.len()));
        assert!(node.parent.is_some() || node.len() > 1, "a root has two children");
        for index in 0..node.len() {
            let (count, first, last) = self.tree.span(inner, index);
            assert_eq!(node.counts()[index], count);
            assert!(index == 0 || node.score(index) <= first, "a bound is not above its child");
            assert!(index + 1 == node.len() || node.score(index + 1) >= last, "nor below the one before");
        }
    }

    fn check_order(&self) {
        let mut before: Option<(f64, &[u8])> = None;
        let mut walked = 0;
        for element in self.iter() {
            if let Some(before) = before {
                assert_eq!(order(before, element), Ordering::Less);
            }
            before = Some(element);
            walked += 1;
        }
        assert_eq!(walked, self.len());
    }
}
