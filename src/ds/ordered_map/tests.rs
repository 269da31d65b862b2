//! Ordered map against `BTreeMap`, and its inner rules.

use super::{Inner, JOINED_ENTRIES_MAX, Leaf, Link, NODE_ENTRIES_MAX, OrderedMap};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use std::collections::BTreeMap;

/// Checks order, bounds, fill and the counters; returns the number of nodes.
fn check_invariants<K: Ord + Clone + std::fmt::Debug, V>(map: &OrderedMap<K, V>) -> usize {
    struct Seen {
        entries: usize,
        bytes: usize,
        nodes: usize,
    }
    fn below<K: Ord + Clone + std::fmt::Debug, V>(
        link: Link,
        height: u8,
        low: Option<&K>,
        high: Option<&K>,
        seen: &mut Seen,
    ) {
        seen.nodes += 1;
        if height == 0 {
            let leaf = Leaf::<K, V>::at(link);
            let keys = leaf.keys();
            assert!(!keys.is_empty() && keys.len() <= leaf.capacity());
            assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
            assert!(
                low.is_none_or(|low| *low <= keys[0]) && high.is_none_or(|high| keys[keys.len() - 1] < *high)
            );
            seen.entries += keys.len();
            seen.bytes += leaf.allocated_bytes();
            return;
        }
        let inner = Inner::<K>::at(link);
        assert!(inner.len() > 0 && inner.capacity() <= NODE_ENTRIES_MAX);
        assert!(inner.keys()[1..].windows(2).all(|pair| pair[0] < pair[1]));
        seen.bytes += inner.allocated_bytes();
        for (at, &child) in inner.values().iter().enumerate() {
            let low = if at == 0 { low } else { Some(&inner.keys()[at]) };
            let high = inner.keys().get(at + 1).or(high);
            below::<K, V>(child, height - 1, low, high, seen);
        }
    }
    let mut seen = Seen { entries: 0, bytes: 0, nodes: 0 };
    if let Some(root) = map.root {
        below::<K, V>(root, map.height, None, None, &mut seen);
    }
    assert_eq!((seen.entries, seen.bytes), (map.len(), map.allocated_bytes()));
    seen.nodes
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u32),
    /// Keys in order from the last one on.
    Append(u8),
    Remove(u16),
    /// The smallest keys.
    Trim(u8),
    /// Everything from a key on, so many.
    Clear(u16, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<u16>(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => any::<u8>().prop_map(Step::Append),
        3 => any::<u16>().prop_map(Step::Remove),
        1 => any::<u8>().prop_map(Step::Trim),
        2 => (any::<u16>(), any::<u8>()).prop_map(|(key, count)| Step::Clear(key, count)),
    ];
    vec(step, 0..200)
}

fn apply(step: &Step, map: &mut OrderedMap<u32, u32>, model: &mut BTreeMap<u32, u32>) {
    match *step {
        Step::Insert(key, value) => {
            assert_eq!(map.insert(key.into(), value), model.insert(key.into(), value));
        }
        Step::Append(count) => {
            for _ in 0..count {
                let key = model.last_key_value().map_or(0, |(key, _)| key + 1);
                assert_eq!(map.insert(key, key), model.insert(key, key));
            }
        }
        Step::Remove(near) => {
            let key = model.range(u32::from(near)..).next().map_or(u32::from(near), |(key, _)| *key);
            assert_eq!(map.remove(&key), model.remove(&key));
        }
        Step::Trim(count) => {
            for _ in 0..count {
                let first = map.first().map(|(key, _)| *key);
                let removed = first.and_then(|key| map.remove(&key));
                assert_eq!(first.zip(removed), model.pop_first());
            }
        }
        Step::Clear(from, count) => {
            let keys: Vec<u32> =
                model.range(u32::from(from)..).take(count.into()).map(|(key, _)| *key).collect();
            for key in keys {
                assert_eq!(map.remove(&key), model.remove(&key));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn agrees_with_btree_map(steps in steps(), probes in vec(any::<u16>(), 8)) {
        let mut map = OrderedMap::new();
        let mut model = BTreeMap::new();
        for step in &steps {
            apply(step, &mut map, &mut model);
            check_invariants(&map);
        }
        prop_assert_eq!(map.len(), model.len());
        prop_assert_eq!(map.is_empty(), model.is_empty());
        prop_assert_eq!(map.first(), model.first_key_value());
        prop_assert_eq!(map.last(), model.last_key_value());
        prop_assert_eq!(map.iter().collect::<Vec<_>>(), model.iter().collect::<Vec<_>>());
        prop_assert_eq!(map.iter_back().collect::<Vec<_>>(), model.iter().rev().collect::<Vec<_>>());
        for probe in probes.into_iter().map(u32::from) {
            prop_assert_eq!(map.get(&probe), model.get(&probe));
            prop_assert_eq!(map.contains(&probe), model.contains_key(&probe));
            prop_assert_eq!(map.floor(&probe), model.range(..=probe).next_back());
            let up: Vec<_> = map.iter_from(&probe).collect();
            prop_assert_eq!(up, model.range(probe..).collect::<Vec<_>>());
            let down: Vec<_> = map.iter_back_from(&probe).collect();
            prop_assert_eq!(down, model.range(..=probe).rev().collect::<Vec<_>>());
            if let (Some(value), Some(expected)) = (map.get_mut(&probe), model.get_mut(&probe)) {
                *value = 77;
                *expected = 77;
            }
        }
        let copy = map.clone();
        check_invariants(&copy);
        prop_assert_eq!(copy.iter().collect::<Vec<_>>(), model.iter().collect::<Vec<_>>());
    }
}

#[test]
fn keys_in_order_fill_their_leaves() {
    let map: OrderedMap<u32, ()> = (0..100_000).map(|key| (key, ())).collect();
    let leaves = 100_000usize.div_ceil(NODE_ENTRIES_MAX);
    let nodes = check_invariants(&map);
    assert!(nodes <= leaves + leaves / 32 + 3, "{nodes} nodes for {leaves} leaves");
    assert_eq!(map.iter_from(&99_990).count(), 10);
}

#[test]
fn falling_keys_leave_no_crumbs() {
    let mut map = OrderedMap::new();
    for key in (0..100_000u32).rev() {
        map.insert(key, ());
    }
    let nodes = check_invariants(&map);
    assert!(nodes <= 100_000 / (NODE_ENTRIES_MAX / 2) * 11 / 10, "{nodes} nodes");
}

#[test]
fn sparse_nodes_join() {
    let mut map: OrderedMap<u32, u64> = (0..100_000).map(|key| (key, 0)).collect();
    for key in (0..100_000).filter(|key| key % 16 != 0) {
        map.remove(&key);
    }
    let nodes = check_invariants(&map);
    // Two neighbours under one parent have more than JOINED_ENTRIES_MAX entries together.
    assert!(nodes <= 100_000 / 16 / (JOINED_ENTRIES_MAX / 2) * 5 / 4, "{nodes} nodes for {}", map.len());
    for key in (0..100_000).step_by(16) {
        assert_eq!(map.remove(&key), Some(0));
    }
    assert_eq!((map.len(), map.allocated_bytes(), map.height), (0, 0, 0));
    assert_eq!(map.iter().next(), None);
}

#[test]
fn owned_keys_and_values_live_once() {
    let mut map: OrderedMap<String, Vec<u8>> = OrderedMap::new();
    let mut model = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(0x0A_7E_57);
    for _ in 0..5_000 {
        let name = format!("consumer-{}", random.u16(..3_000));
        if random.u8(..3) == 0 {
            assert_eq!(map.remove(name.as_str()), model.remove(name.as_str()));
        } else {
            let value = vec![b'v'; random.usize(..100)];
            assert_eq!(map.insert(name.clone(), value.clone()), model.insert(name, value));
        }
    }
    check_invariants(&map);
    assert!(map.iter().eq(model.iter()));
}
