//! The set type against the standard library's sets.

use super::{Algebra, SetLimits, SetRef, SetValue, combine, combine_into};
use crate::base::hash::HashSeed;
use crate::base::rng::Rng;
use crate::ds::element::Element;
use crate::value::limits::PackedLimits;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

const LIMITS: SetLimits = SetLimits {
    seed: HashSeed([5; 16]),
    packed: PackedLimits { entries: 8, value_bytes: 12 },
    intset_entries: 16,
};

type Model = BTreeSet<Vec<u8>>;

fn listed(set: SetRef<'_>) -> Vec<Vec<u8>> {
    set.iter().map(|member| member.to_vec()).collect()
}

fn model_of(set: SetRef<'_>) -> Model {
    let members = listed(set);
    let model: Model = members.iter().cloned().collect();
    assert_eq!(members.len(), model.len(), "no member stands twice");
    assert_eq!(set.len(), model.len());
    model
}

fn set_of(members: &Model) -> SetValue {
    let mut set = SetValue::new();
    for member in members {
        assert!(set.add(member, &LIMITS));
    }
    set
}

fn rank(set: &SetValue) -> u8 {
    match set {
        SetValue::Integers(_) => 0,
        SetValue::Packed(_) => 1,
        SetValue::Big(_) => 2,
    }
}

fn check(set: &SetValue) {
    match set {
        SetValue::Packed(listpack) => {
            listpack.check_invariants().expect("a listpack as Redis has it");
            assert!(listpack.len() <= LIMITS.packed.entries);
            assert!(listpack.iter().all(|member| member.text_len() <= LIMITS.packed.value_bytes));
        }
        SetValue::Integers(intset) => {
            intset.check_invariants().expect("an intset as Redis has it");
            assert!(intset.len() <= LIMITS.intset_entries);
        }
        SetValue::Big(table) => table.check_invariants(),
    }
}

/// Integers and texts of a small world, so that edits meet; some too long for a listpack.
fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (-12i64..12).prop_map(|value| value.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|value| (value >> (value & 63)).to_string().into_bytes()),
        4 => "[ab]{1,3}".prop_map(String::into_bytes),
        1 => "[ab]{12,14}".prop_map(String::into_bytes),
    ]
}

fn members(most: usize) -> impl Strategy<Value = Model> {
    vec(member(), 0..most).prop_map(|members| members.into_iter().collect())
}

/// Sets of integers alone, small sets, sets that are big: all encodings meet in the algebra.
fn mixed_set() -> impl Strategy<Value = Model> {
    prop_oneof![
        (-20i64..20, 0usize..15).prop_map(|(from, len)| {
            (from..from + len as i64).map(|value| value.to_string().into_bytes()).collect()
        }),
        members(8),
        members(80),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn edits_agree_with_a_tree(edits in vec((0u8..5, member()), 0..120)) {
        let mut model = Model::new();
        let mut set = SetValue::new();
        for (kind, member) in edits {
            let before = rank(&set);
            if kind < 3 {
                prop_assert_eq!(set.add(&member, &LIMITS), model.insert(member.clone()));
            } else {
                prop_assert_eq!(set.remove(&member), model.remove(&member));
            }
            check(&set);
            prop_assert!(rank(&set) >= before, "no encoding becomes smaller");
            prop_assert_eq!(set.as_ref().contains(&member), model.contains(&member));
        }
        prop_assert_eq!(&model_of(set.as_ref()), &model);
        let copy = set.as_ref().to_value();
        prop_assert_eq!(copy.as_ref().encoding(), set.as_ref().encoding());
        prop_assert_eq!(model_of(copy.as_ref()), model);
    }

    #[test]
    fn many_at_once_are_as_one_by_one(start in members(60), added in vec(member(), 1..100), removed in vec(member(), 1..100)) {
        let mut model = start.clone();
        let mut set = set_of(&start);
        let expected = added.iter().filter(|member| model.insert((*member).clone())).count();
        prop_assert_eq!(set.add_many(added.iter().map(Vec::as_slice), &LIMITS), expected);
        check(&set);
        let mut answers = Vec::new();
        set.as_ref().contains_each(removed.iter().map(Vec::as_slice), |found| answers.push(found));
        let expected: Vec<bool> = removed.iter().map(|member| model.contains(member)).collect();
        prop_assert_eq!(answers, expected);
        let expected = removed.iter().filter(|member| model.remove(*member)).count();
        prop_assert_eq!(set.remove_many(removed.iter().map(Vec::as_slice)), expected);
        prop_assert_eq!(model_of(set.as_ref()), model);
    }

    #[test]
    fn algebra_agrees_with_trees(models in vec(proptest::option::of(mixed_set()), 1..12)) {
        let values: Vec<Option<SetValue>> = models.iter().map(|model| model.as_ref().map(set_of)).collect();
        let sets: Vec<Option<SetRef<'_>>> =
            values.iter().map(|value| value.as_ref().map(SetValue::as_ref)).collect();
        let given = |index: usize| models[index].clone().unwrap_or_default();
        for algebra in [Algebra::Intersection, Algebra::Union, Algebra::Difference] {
            let expected: Model = (1..models.len()).fold(given(0), |all, index| match algebra {
                Algebra::Intersection => &all & &given(index),
                Algebra::Union => &all | &given(index),
                Algebra::Difference => &all - &given(index),
            });
            let mut shown = Vec::new();
            combine(algebra, &sets, &LIMITS, &mut |member| {
                shown.push(member.to_vec());
                ControlFlow::Continue(())
            });
            prop_assert_eq!(shown.len(), expected.len(), "{:?}", algebra);
            prop_assert_eq!(&shown.into_iter().collect::<Model>(), &expected, "{:?}", algebra);
            let stored = combine_into(algebra, &sets, &LIMITS);
            check(&stored);
            prop_assert_eq!(&model_of(stored.as_ref()), &expected, "{:?}", algebra);
        }
    }

    #[test]
    fn samples_are_members(model in mixed_set(), count in 0usize..100, seed in any::<u64>()) {
        let mut rng = Rng::with_seed(seed);
        let mut set = set_of(&model);
        let mut drawn = Vec::new();
        set.as_ref().sample(count, &mut rng, |member| drawn.push(member.to_vec()));
        prop_assert_eq!(drawn.len(), count.min(model.len()));
        let distinct: Model = drawn.iter().cloned().collect();
        prop_assert!(distinct.len() == drawn.len() && distinct.is_subset(&model));
        let mut repeated = 0;
        set.as_ref().sample_repeating(count as u64, &mut rng, |member| {
            repeated += usize::from(model.contains(&member.to_vec()));
            true
        });
        prop_assert_eq!(repeated, if model.is_empty() { 0 } else { count });
        if count < model.len() {
            let mut left = model.clone();
            set.pop_many(count, &mut rng, &LIMITS, |member| assert!(left.remove(&member.to_vec())));
            check(&set);
            prop_assert_eq!(left.len(), model.len() - count);
            prop_assert_eq!(&model_of(set.as_ref()), &left);
            let popped = set.pop(&mut rng, |member| member.to_vec()).expect("a member is left");
            prop_assert!(left.remove(&popped));
            prop_assert_eq!(model_of(set.as_ref()), left);
        }
    }
}

/// Members of the integers below `len`, in the encoding that `len` gives.
fn numbers(len: usize) -> SetValue {
    set_of(&(0..len).map(|value| value.to_string().into_bytes()).collect())
}

#[test]
fn every_member_is_drawn_equally_often() {
    let words: Model = (b'a'..b'a' + 8).map(|letter| vec![letter]).collect();
    for (value, count) in
        [(numbers(12), 3), (numbers(12), 8), (set_of(&words), 3), (numbers(40), 9), (numbers(40), 30)]
    {
        let set = value.as_ref();
        let mut rng = Rng::with_seed(11);
        let mut counts: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        const ROUNDS: u32 = 20_000;
        for _ in 0..ROUNDS {
            set.sample(count, &mut rng, |member| *counts.entry(member.to_vec()).or_default() += 1);
        }
        let share = count as f64 / set.len() as f64;
        let (expected, spread) =
            (f64::from(ROUNDS) * share, (f64::from(ROUNDS) * share * (1.0 - share)).sqrt());
        assert_eq!(counts.len(), set.len());
        for (member, drawn) in counts {
            let off = (f64::from(drawn) - expected).abs() / spread;
            assert!(off < 4.5, "{} of {}: {off} deviations", member.escape_ascii(), set.encoding());
        }
    }
}

#[test]
fn conversions_follow_the_limits() {
    assert_eq!(numbers(16).as_ref().encoding(), "intset");
    assert_eq!(numbers(17).as_ref().encoding(), "hashtable");
    let mut set = numbers(7);
    assert!(set.add(b"text", &LIMITS));
    assert_eq!(set.as_ref().encoding(), "listpack");
    assert!(set.add(b"a text of more than 12 bytes", &LIMITS));
    assert_eq!(set.as_ref().encoding(), "hashtable");
    let mut set = numbers(8);
    assert!(set.add(b"text", &LIMITS));
    assert_eq!(set.as_ref().encoding(), "hashtable");
    let encoding = |first: &[u8], hint| SetValue::for_members(first, hint, &LIMITS).as_ref().encoding();
    assert_eq!(encoding(b"1", 16), "intset");
    assert_eq!(encoding(b"1", 17), "hashtable");
    assert_eq!(encoding(b"a", 8), "listpack");
    assert_eq!(encoding(b"a", 9), "hashtable");
    let mut set = numbers(3);
    set.prepare_for(17, &LIMITS);
    assert_eq!((set.as_ref().encoding(), set.len()), ("hashtable", 3));
}

#[test]
fn a_long_integer_does_not_fit_a_listpack_of_short_members() {
    let limits = SetLimits { packed: PackedLimits { entries: 8, value_bytes: 4 }, ..LIMITS };
    let mut set = SetValue::new();
    assert!(set.add(b"-1234", &limits));
    assert!(set.add(b"a", &limits));
    assert_eq!(set.as_ref().encoding(), "hashtable");
}

#[test]
fn elements_of_both_kinds_are_the_same_member() {
    let mut set = numbers(3);
    assert!(!set.add_element(Element::Bytes(b"2"), &LIMITS));
    assert!(set.add_element(Element::Bytes(b"x"), &LIMITS));
    assert!(!set.add_element(Element::Int(2), &LIMITS));
    assert!(set.as_ref().contains_element(Element::Int(2)));
}
