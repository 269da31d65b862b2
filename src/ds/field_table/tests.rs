//! The field table against a naive model, and at the edges of its length encoding.

use super::{Field, FieldExpiry, FieldTable};
use crate::base::hash::HashSeed;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

#[derive(Clone, Debug)]
enum Step {
    Set(u8, usize, FieldExpiry),
    Remove(u8),
    Expire(u8, Option<i64>),
    TakeDue(i64, usize),
    Copy,
}

fn expiry() -> impl Strategy<Value = FieldExpiry> {
    prop_oneof![
        4 => proptest::strategy::Just(FieldExpiry::Clear),
        1 => proptest::strategy::Just(FieldExpiry::Keep),
        2 => (-5i64..1000).prop_map(FieldExpiry::At),
    ]
}

fn value_len() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0usize..60, 2 => 245usize..260, 1 => 65_530usize..65_540]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<u8>(), value_len(), expiry()).prop_map(|(name, len, expiry)| Step::Set(name, len, expiry)),
        3 => any::<u8>().prop_map(Step::Remove),
        3 => (any::<u8>(), proptest::option::of(0i64..1000)).prop_map(|(name, at)| Step::Expire(name, at)),
        1 => (0i64..1000, 0usize..100).prop_map(|(now, max)| Step::TakeDue(now, max)),
        1 => proptest::strategy::Just(Step::Copy),
    ]
}

/// Names of different lengths, up to one that needs three bytes for its length.
fn name(number: u8) -> Vec<u8> {
    let mut name = vec![b'f'; if number.is_multiple_of(16) { 300 } else { usize::from(number % 20) }];
    name.push(number);
    name
}

fn set(model: &mut Model, name: Vec<u8>, value: Vec<u8>, expiry: FieldExpiry) -> bool {
    let old = model.get(&name).map(|(_, old)| *old);
    model.insert(name, (value, expiry.after(old.flatten())));
    old.is_none()
}

fn take_due(table: &mut FieldTable, model: &mut Model, now: i64, max: usize) {
    let is_due = |expiry: Option<i64>| expiry.is_some_and(|at| at < now);
    let all = model.values().filter(|(_, expiry)| is_due(*expiry)).count();
    let mut seen = Vec::new();
    let taken = table.take_due(now, max, |name| seen.push(name.to_vec()));
    assert_eq!(taken, all.min(max));
    assert_eq!(taken, seen.len());
    for name in seen {
        let (_, expiry) = model.remove(&name).expect("taken fields were there");
        assert!(is_due(expiry));
    }
}

fn apply(table: &mut FieldTable, model: &mut Model, number: usize, step: &Step) {
    match step {
        Step::Set(number_of_name, len, expiry) => {
            let (name, value) = (name(*number_of_name), vec![number as u8; *len]);
            assert_eq!(table.set(&name, &value, *expiry), set(model, name, value, *expiry));
        }
        Step::Remove(number) => {
            assert_eq!(table.remove(&name(*number)), model.remove(&name(*number)).is_some());
        }
        Step::Expire(number, at) => {
            let expected = model.get_mut(&name(*number)).map(|(_, old)| std::mem::replace(old, *at));
            assert_eq!(table.set_expiry(&name(*number), *at), expected);
        }
        Step::TakeDue(now, max) => take_due(table, model, *now, *max),
        Step::Copy => {
            let copy = table.clone();
            assert!(copy == *table);
            *table = copy;
        }
    }
}

fn contents(table: &FieldTable) -> Model {
    table.iter().map(|field| (field.name.to_vec(), (field.value.to_vec(), field.expiry_ms))).collect()
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]
    #[test]
    fn behaves_as_a_map(steps in vec(step(), 0..300)) {
        let mut table = FieldTable::new(HashSeed([7; 16]));
        let mut model = Model::new();
        for (number, step) in steps.iter().enumerate() {
            apply(&mut table, &mut model, number, step);
        }
        table.check_invariants();
        prop_assert_eq!(table.len(), model.len());
        prop_assert_eq!(contents(&table), model.clone());
        let volatile = model.values().filter(|(_, expiry)| expiry.is_some()).count();
        prop_assert_eq!(table.volatile_len(), volatile);
        let earliest = model.values().filter_map(|(_, expiry)| *expiry).min();
        prop_assert_eq!(table.earliest_expiry_ms().is_some(), earliest.is_some());
        prop_assert!(table.earliest_expiry_ms() <= earliest.map(|at| at.max(0)));
        for (name, (value, expiry_ms)) in &model {
            prop_assert_eq!(table.get(name), Some(Field { name, value, expiry_ms: *expiry_ms }));
        }
    }
}

#[test]
fn a_scan_sees_every_field_while_the_table_grows() {
    let mut table = FieldTable::new(HashSeed([1; 16]));
    for number in 0..2000u32 {
        table.set(&number.to_le_bytes(), b"value", FieldExpiry::Clear);
    }
    let (mut cursor, mut seen) = (0, std::collections::BTreeSet::new());
    loop {
        cursor = table.scan(cursor, |field| {
            seen.insert(field.name.to_vec());
        });
        let more = 2000 + seen.len() as u32;
        table.set(&more.to_le_bytes(), b"value", FieldExpiry::Clear);
        if cursor == 0 {
            break;
        }
    }
    assert!((0..2000u32).all(|number| seen.contains(&number.to_le_bytes()[..])));
    table.check_invariants();
}

#[test]
fn values_change_their_length_encoding_in_place_and_not() {
    let mut table = FieldTable::new(HashSeed([2; 16]));
    for name_len in [0usize, 1, 252, 253, 65_535, 65_536] {
        let name = vec![b'n'; name_len];
        for value_len in [0usize, 252, 253, 254, 251, 65_535, 65_536, 70_000, 65_500, 3] {
            let value = vec![value_len as u8; value_len];
            table.set(&name, &value, FieldExpiry::Keep);
            let expected = Field { name: &name, value: &value, expiry_ms: None };
            assert_eq!(table.get(&name), Some(expected));
        }
    }
    table.check_invariants();
    assert_eq!(table.len(), 6);
}

/// The figure of the module's head: 16-byte fields with 32-byte values, at most 85 bytes each.
#[test]
fn bytes_a_field() {
    let mut table = FieldTable::new(HashSeed([3; 16]));
    let count = 200_000usize;
    for number in 0..count {
        table.set(format!("field:{number:010}").as_bytes(), &[b'v'; 32], FieldExpiry::Clear);
    }
    let bytes = table.memory_bytes() as f64 / count as f64;
    assert!(bytes < 72.0, "{bytes} bytes a field");
    println!("{bytes} bytes a field, load {:.2}", table.stats().load());
}
