//! The sorted set type, packed and big, against a naive model.

use std::collections::HashMap;

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{Aggregate, Damage, Input, MemberBound, MemberRange, Operation, ScoreRange, Source};
use super::{ZsetLimits, ZsetValue, combine, intersection_len};
use crate::base::hash::HashSeed;
use crate::ds::listpack::Listpack;
use crate::value::limits::PackedLimits;

fn limits(entries: usize) -> ZsetLimits {
    ZsetLimits { seed: HashSeed([3; 16]), packed: PackedLimits { entries, value_bytes: 64 } }
}

fn members(zset: &ZsetValue) -> Vec<(f64, Vec<u8>)> {
    zset.as_ref().iter().map(|(score, member)| (score, member.to_vec())).collect()
}

fn zset(entries: &[(f64, &str)], limits: &ZsetLimits) -> ZsetValue {
    let entries = entries.iter().map(|(score, member)| (*score, member.as_bytes())).collect();
    ZsetValue::from_unsorted(entries, limits)
}

proptest! {
    #[test]
    fn both_encodings_do_what_a_model_does(
        steps in proptest::collection::vec((0u32..40, -5i32..5, any::<bool>()), 1..120),
        entries in 0usize..30,
    ) {
        let limits = limits(entries);
        let (mut zset, mut model) = (ZsetValue::new(), HashMap::new());
        for (number, score, removes) in steps {
            // Odd numbers are members that look like integers.
            let member = if number % 2 == 0 { format!("m{number}") } else { number.to_string() };
            let member = member.into_bytes();
            let score = f64::from(score) / 2.0;
            if removes {
                prop_assert_eq!(zset.remove(&member), model.remove(&member).is_some());
            } else {
                let before = zset.insert(score, &member, &limits);
                prop_assert_eq!(before, Ok(model.insert(member, score)));
            }
        }
        let mut sorted: Vec<(f64, Vec<u8>)> = model.iter().map(|(m, s)| (*s, m.clone())).collect();
        sorted.sort_by(|left, right| left.partial_cmp(right).expect("no NaN in the model"));
        prop_assert_eq!(members(&zset), sorted.clone());
        prop_assert!(zset.len() <= entries || zset.as_ref().encoding() == "skiplist");
        let range = ScoreRange::new(-1.0, true, 1.5, false);
        let ranks = zset.as_ref().score_ranks(&range);
        let inside = sorted.iter().filter(|(score, _)| *score > -1.0 && *score <= 1.5).count();
        prop_assert_eq!(ranks.len(), inside);
        for (rank, (score, member)) in sorted.iter().enumerate() {
            prop_assert_eq!(zset.as_ref().rank(member), Some((rank, *score)));
        }
        let reversed: Vec<_> = zset.as_ref().range(0, 7, true).map(|(_, m)| m.to_vec()).collect();
        let expected: Vec<_> = sorted.iter().take(7).rev().map(|(_, m)| m.clone()).collect();
        prop_assert_eq!(reversed, expected);
        zset.remove_range(ranks.clone());
        sorted.drain(ranks);
        prop_assert_eq!(members(&zset), sorted);
    }

    #[test]
    fn damaged_sets_are_read_or_refused(
        count in 0u32..12,
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        deep: bool,
    ) {
        let mut zset = ZsetValue::new();
        for number in 0..count {
            let member = format!("{}{number}", if number % 2 == 0 { "member " } else { "" });
            zset.insert(f64::from(number) / 2.0, member.as_bytes(), &limits(128)).expect("a number");
        }
        let super::ZsetRef::Packed(listpack) = zset.as_ref() else { panic!("it is small") };
        let mut bytes = listpack.as_bytes().to_vec();
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(mut zset) = ZsetValue::from_packed(&bytes, deep, &limits(128)) {
            let _ = (members(&zset), zset.as_ref().rank(b"member 2"), zset.len());
            let _ = zset.insert(1.5, b"fresh", &limits(128));
            let _ = zset.insert(0.5, b"member 4", &limits(0));
            zset.remove_range(0..1);
            let _ = zset.pop(true, |score, _| score);
        }
    }

    #[test]
    fn any_bytes_are_a_set_or_damage(bytes in proptest::collection::vec(any::<u8>(), 0..60), deep: bool) {
        // What is not refused can be read without a panic.
        if let Ok(mut zset) = ZsetValue::from_packed(&bytes, deep, &limits(2)) {
            let _ = members(&zset);
            let _ = zset.pop(true, |score, _| score);
            let _ = zset.remove(b"m");
        }
    }
}

#[test]
fn members_twice_and_odd_counts_are_damage() {
    let listpack = |elements: &[&str]| {
        let mut listpack = Listpack::new();
        for element in elements {
            listpack.push_back(element.as_bytes()).expect("small");
        }
        listpack
    };
    let read = |elements: &[&str], deep| {
        ZsetValue::from_packed(listpack(elements).as_bytes(), deep, &limits(8)).map(|zset| zset.len())
    };
    assert_eq!(read(&["a", "1", "b", "2"], true), Ok(2));
    assert_eq!(read(&["a", "1", "b"], false), Err(Damage));
    assert_eq!(read(&["a", "1", "a", "2"], true), Err(Damage));
    assert_eq!(read(&["a", "1", "a", "2"], false), Ok(2));
}

#[test]
fn ranges_of_members() {
    for entries in [2, 128] {
        let limits = limits(entries);
        let zset = zset(&[(0.0, "a"), (0.0, "b"), (0.0, "c"), (0.0, "d")], &limits);
        let ranks = |start, end| zset.as_ref().member_ranks(&MemberRange { start, end });
        assert_eq!(ranks(MemberBound::First, MemberBound::Last), 0..4);
        assert_eq!(ranks(MemberBound::After(b"a"), MemberBound::After(b"c")), 1..3);
        assert_eq!(ranks(MemberBound::Before(b"c"), MemberBound::Before(b"b")), 2..2);
        assert_eq!(ranks(MemberBound::Last, MemberBound::First), 4..4);
    }
}

#[test]
fn inputs_are_combined() {
    let limits = limits(128);
    let one = zset(&[(1.0, "a"), (f64::INFINITY, "b"), (3.0, "c")], &limits);
    let two = zset(&[(10.0, "a"), (f64::NEG_INFINITY, "b"), (4.0, "d")], &limits);
    let inputs = [
        Input { source: Source::Zset(one.as_ref()), weight: 2.0 },
        Input { source: Source::Zset(two.as_ref()), weight: 1.0 },
    ];
    let made = |operation, aggregate| {
        let result = combine(operation, &inputs, aggregate);
        result.iter().map(|(score, member)| format!("{}={score}", member.escape_ascii())).collect::<Vec<_>>()
    };
    assert_eq!(made(Operation::Union, Aggregate::Sum), ["b=0", "d=4", "c=6", "a=12"]);
    assert_eq!(made(Operation::Intersection, Aggregate::Max), ["a=10", "b=inf"]);
    assert_eq!(made(Operation::Difference, Aggregate::Sum), ["c=3"]);
    assert_eq!((intersection_len(&inputs, 0), intersection_len(&inputs, 1)), (2, 1));
    let with_missing = [inputs[0], Input { source: Source::Missing, weight: 1.0 }];
    assert_eq!(intersection_len(&with_missing, 0), 0);
}
