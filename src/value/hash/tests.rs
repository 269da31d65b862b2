//! Hashes of all encodings against a naive model.

use super::{ALWAYS, FieldExpiry, HashRef, HashValue, SetOutcome};
use crate::base::hash::HashSeed;
use crate::value::PackedLimits;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

const SEED: HashSeed = HashSeed([5; 16]);
const LIMITS: PackedLimits = PackedLimits { entries: 24, value_bytes: 20 };

#[derive(Clone, Debug)]
enum Step {
    Set(Vec<u8>, Vec<u8>, FieldExpiry),
    SetMany(Vec<(Vec<u8>, Vec<u8>)>),
    Remove(Vec<u8>),
    Expire(Vec<u8>, Option<i64>),
    TakeDue(i64, usize),
    Copy,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0u8..40).prop_map(|number| format!("{number}").into_bytes()),
        1 => Just(Vec::new()),
        1 => (0u8..3).prop_map(|number| vec![b'x'; 20 + usize::from(number)]),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        4 => vec(any::<u8>(), 0..20),
        1 => (19usize..24).prop_map(|len| vec![b'v'; len]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let expiry = prop_oneof![
        5 => Just(FieldExpiry::Clear),
        1 => Just(FieldExpiry::Keep),
        1 => (1i64..100).prop_map(FieldExpiry::At),
    ];
    prop_oneof![
        6 => (name(), value(), expiry).prop_map(|(name, value, expiry)| Step::Set(name, value, expiry)),
        1 => vec((name(), value()), 0..70).prop_map(Step::SetMany),
        3 => name().prop_map(Step::Remove),
        2 => (name(), proptest::option::of(1i64..100)).prop_map(|(name, at)| Step::Expire(name, at)),
        1 => (0i64..100, 0usize..9).prop_map(|(now, max)| Step::TakeDue(now, max)),
        1 => Just(Step::Copy),
    ]
}

fn set(model: &mut Model, name: &[u8], value: &[u8], expiry: FieldExpiry) -> bool {
    let old = model.get(name).map(|(_, old)| *old);
    model.insert(name.to_vec(), (value.to_vec(), expiry.after(old.flatten())));
    old.is_none()
}

fn take_due(hash: &mut HashValue, model: &mut Model, now: i64, max: usize) {
    let all = model.values().filter(|(_, expiry)| expiry.is_some_and(|at| at < now)).count();
    assert!(all == 0 || hash.as_ref().may_have_expired(now));
    let mut names = Vec::new();
    let taken = hash.take_due(now, max, |name| names.push(name.to_vec()));
    assert_eq!((taken, taken), (all.min(max), names.len()));
    for name in names {
        let (_, expiry) = model.remove(&name).expect("it was there");
        assert!(expiry.is_some_and(|at| at < now));
    }
}

fn apply(hash: &mut HashValue, model: &mut Model, step: &Step) {
    match step {
        Step::Set(name, value, expiry) => {
            let outcome = hash.set(name, value, *expiry, LIMITS, SEED);
            assert_eq!(outcome == SetOutcome::Added, set(model, name, value, *expiry));
        }
        Step::SetMany(pairs) => {
            let slices = || pairs.iter().map(|(name, value)| (&name[..], &value[..]));
            hash.prepare(pairs.len(), slices().flat_map(|(name, value)| [name, value]), LIMITS, SEED);
            let added = hash.set_many(slices(), FieldExpiry::Clear, LIMITS, SEED);
            let expected =
                slices().filter(|(name, value)| set(model, name, value, FieldExpiry::Clear)).count();
            assert_eq!(added, expected);
        }
        Step::Remove(name) => assert_eq!(hash.remove(name), model.remove(name).is_some()),
        Step::Expire(name, at) => {
            let expected = model.get_mut(name).map(|(_, old)| std::mem::replace(old, *at));
            assert_eq!(hash.set_expiry(name, *at), expected);
        }
        Step::TakeDue(now, max) => take_due(hash, model, *now, *max),
        Step::Copy => *hash = hash.as_ref().to_value(),
    }
}

fn contents(hash: HashRef<'_>, now_ms: i64) -> Model {
    hash.live_fields(now_ms)
        .map(|field| (field.name.to_vec(), (field.value.to_vec(), field.expiry_ms)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn behaves_as_a_map(steps in vec(step(), 0..120)) {
        let (mut hash, mut model) = (HashValue::new(), Model::new());
        for step in &steps {
            apply(&mut hash, &mut model, step);
            prop_assert_eq!(hash.as_ref().len(), model.len());
        }
        hash.check_invariants();
        let view = hash.as_ref();
        prop_assert_eq!(contents(view, ALWAYS), model.clone());
        let alive: Model = model.clone().into_iter()
            .filter(|(_, (_, expiry))| expiry.is_none_or(|at| at >= 50)).collect();
        prop_assert_eq!(contents(view, 50), alive.clone());
        prop_assert_eq!(view.live_len(50), alive.len());
        for (name, (value, _)) in &model {
            let expected = alive.contains_key(name).then(|| value.clone());
            prop_assert_eq!(view.get(name, 50).map(|value| value.to_vec()), expected);
        }
        let mut got = Vec::new();
        let asked = model.keys().map(Vec::as_slice).chain([&b"missing"[..]]);
        view.get_many(asked, ALWAYS, |value| got.push(value.map(|value| value.to_vec())));
        let expected: Vec<_> = model.values().map(|(value, _)| Some(value.clone())).chain([None]).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn random_fields_are_fields(count in 0usize..80, fields in 0usize..80, due in 0usize..3, seed: u64) {
        let mut hash = HashValue::new();
        for number in 0..fields {
            let expiry = if number < due { FieldExpiry::At(1) } else { FieldExpiry::Clear };
            hash.set(number.to_string().as_bytes(), b"v", expiry, LIMITS, SEED);
        }
        let (alive, mut rng) = (fields.saturating_sub(due), fastrand::Rng::with_seed(seed));
        let view = hash.as_ref();
        let distinct = view.random_distinct(count, 50, &mut rng);
        let mut names: Vec<Vec<u8>> = distinct.iter().map(|field| field.name.to_vec()).collect();
        prop_assert_eq!(names.len(), count.min(alive));
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), distinct.len());
        let mut repeated = 0;
        view.random_repeated(count, 50, &mut rng, |field| {
            assert!(view.get(&field.name.to_vec(), 50).is_some());
            repeated += 1;
            true
        });
        prop_assert_eq!(repeated, if alive == 0 { 0 } else { count });
        prop_assert_eq!(view.random_field(50, &mut rng).is_some(), alive > 0);
    }
}

#[test]
fn conversions_follow_the_limits() {
    let encoding = |fields: usize, value_len: usize, expiry: FieldExpiry| {
        let mut hash = HashValue::new();
        for number in 0..fields {
            hash.set(number.to_string().as_bytes(), &vec![b'v'; value_len], expiry, LIMITS, SEED);
        }
        hash.as_ref().encoding()
    };
    assert_eq!(encoding(24, 20, FieldExpiry::Clear), "listpack");
    assert_eq!(encoding(25, 1, FieldExpiry::Clear), "hashtable");
    assert_eq!(encoding(1, 21, FieldExpiry::Clear), "hashtable");
    assert_eq!(encoding(24, 20, FieldExpiry::At(5)), "listpackex");
    assert_eq!(encoding(25, 20, FieldExpiry::At(5)), "hashtable");
}
