//! Sketches against a plain array of registers, and damaged ones.

use super::hash::{Pattern, pattern_of};
use super::sparse::{Run, runs};
use super::{
    DENSE_BYTES, Encoding, HEADER_BYTES, REGISTERS, Registers, Store, add, cache_count, cached_count, count,
    empty, encoding_of, make_dense, raise_to, registers,
};
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use std::ops::Range;

impl Store for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
    fn splice(&mut self, range: Range<usize>, source: &[u8]) {
        Vec::splice(self, range, source.iter().copied());
    }
}

fn values(sketch: &[u8]) -> Vec<u8> {
    let mut all = Registers::new();
    all.merge(sketch).expect("the sketch is whole");
    all.as_slice().to_vec()
}

/// One element as a step-by-step reading of the format takes it in: decode all, split, join, encode.
fn naive_sparse_add(sketch: &mut Vec<u8>, pattern: Pattern) {
    let mut list: Vec<Run> = runs(&sketch[HEADER_BYTES..]).collect();
    let (mut at, mut first) = (0, 0);
    while first + list[at].len <= usize::from(pattern.index) {
        first += list[at].len;
        at += 1;
    }
    let run = list[at];
    if run.value >= pattern.value {
        return;
    }
    let (before, behind) =
        (usize::from(pattern.index) - first, first + run.len - 1 - usize::from(pattern.index));
    let parts =
        [Run { len: before, ..run }, Run { value: pattern.value, len: 1 }, Run { len: behind, ..run }];
    list.splice(at..=at, parts.into_iter().filter(|run| run.len > 0));
    let mut at = at.saturating_sub(1);
    for _ in 0..5 {
        match list.get(at..at + 2) {
            Some([a, b]) if a.value > 0 && a.value == b.value && a.len + b.len <= 4 => {
                list[at].len += b.len;
                list.remove(at + 1);
            }
            _ => at += 1,
        }
    }
    sketch.truncate(HEADER_BYTES);
    for run in list {
        match (run.value, run.len - 1) {
            (0, len) if len < 64 => sketch.push(len as u8),
            (0, len) => sketch.extend([0x40 | (len >> 8) as u8, len as u8]),
            (value, len) => sketch.push(0x80 | (value - 1) << 2 | len as u8),
        }
    }
}

fn patterns() -> impl Strategy<Value = Vec<Pattern>> {
    // Few registers and values, so that runs meet and join; or all of them.
    let near = (100u16..160, 1u8..4).prop_map(|(index, value)| Pattern { index, value });
    let far = (0u16..REGISTERS as u16, 1u8..=32).prop_map(|(index, value)| Pattern { index, value });
    proptest::collection::vec(proptest::prop_oneof![near, far], 0..400)
}

proptest! {
    #[test]
    fn sparse_sketches_are_built_as_the_format_says(patterns in patterns()) {
        let (mut fast, mut naive) = (empty().to_vec(), empty().to_vec());
        for pattern in patterns {
            add(&mut fast, pattern, 100_000).expect("the sketch is whole");
            naive_sparse_add(&mut naive, pattern);
            prop_assert_eq!(&fast[HEADER_BYTES..], &naive[HEADER_BYTES..]);
        }
    }

    #[test]
    fn both_encodings_hold_the_same(patterns in patterns(), max_bytes in 0usize..1000) {
        let mut model = vec![0u8; REGISTERS];
        let (mut sparse, mut dense) = (empty().to_vec(), empty().to_vec());
        prop_assert_eq!(make_dense(&mut dense), Ok(true));
        for pattern in &patterns {
            let register = &mut model[usize::from(pattern.index)];
            let changes = *register < pattern.value;
            *register = pattern.value.max(*register);
            prop_assert_eq!(add(&mut sparse, *pattern, max_bytes), Ok(changes));
            prop_assert_eq!(add(&mut dense, *pattern, max_bytes), Ok(changes));
        }
        prop_assert_eq!(&values(&sparse), &model);
        prop_assert_eq!(&values(&dense), &model);
        prop_assert_eq!(count(&sparse), count(&dense));
        let mut all = Registers::new();
        all.merge(&sparse).expect("whole");
        prop_assert_eq!(Ok(all.estimate()), count(&dense));
        prop_assert_eq!(&all.packed()[..], &dense[HEADER_BYTES..]);
        for (index, value) in model.iter().enumerate() {
            prop_assert_eq!(registers::get(&dense[HEADER_BYTES..], index as u16), *value);
        }
    }

    #[test]
    fn a_merge_gives_the_bytes_of_one_by_one(first in patterns(), second in patterns(), max_bytes in 200usize..3000) {
        let mut merged = empty().to_vec();
        for pattern in first {
            add(&mut merged, pattern, max_bytes).expect("whole");
        }
        let mut all = Registers::new();
        all.merge(&merged).expect("whole");
        let mut other = empty().to_vec();
        for pattern in second {
            add(&mut other, pattern, 100_000).expect("whole");
        }
        all.merge(&other).expect("whole");
        let mut slow = merged.clone();
        for pattern in all.patterns() {
            add(&mut slow, pattern, max_bytes).expect("whole");
        }
        super::make_stale(&mut slow);
        raise_to(&mut merged, &all, false, max_bytes).expect("whole");
        prop_assert_eq!(merged, slow);
    }

    #[test]
    fn damaged_bytes_are_taken_without_panic(body: Vec<u8>, dense in any::<bool>(), patterns in patterns()) {
        let mut sketch = empty()[..HEADER_BYTES].to_vec();
        sketch.extend(body);
        if dense {
            sketch.resize(DENSE_BYTES, 0xff);
            sketch[4] = 0;
        }
        let _ = count(&sketch);
        let _ = Registers::new().merge(&sketch);
        for pattern in patterns {
            let _ = add(&mut sketch, pattern, 3000);
        }
        let _ = make_dense(&mut sketch);
    }
}

#[test]
fn headers() {
    let mut sketch = empty().to_vec();
    assert_eq!(encoding_of(&sketch), Some(Encoding::Sparse));
    assert_eq!((cached_count(&sketch), count(&sketch)), (Some(0), Ok(0)));
    assert_eq!(add(&mut sketch, pattern_of(b"a"), 3000), Ok(true));
    assert_eq!((cached_count(&sketch), count(&sketch)), (None, Ok(1)));
    cache_count(&mut sketch, 1);
    assert_eq!(cached_count(&sketch), Some(1));
    sketch[4] = 0;
    assert_eq!(encoding_of(&sketch), None, "dense sketches have one length");
    sketch[4] = 2;
    assert_eq!(encoding_of(&sketch), None);
    assert_eq!(encoding_of(b"HYLL\x01"), None);
}

/// Hashes of the reference implementation, by what Redis 7.0.15 stored for these elements.
#[test]
fn elements_go_where_redis_puts_them() {
    let of = |element: &[u8]| {
        let pattern = pattern_of(element);
        (pattern.index, pattern.value)
    };
    assert_eq!([of(b""), of(b"a"), of(b"foo")], [(5938, 2), (12_711, 2), (7348, 5)]);
    assert_eq!([of(b"12345678"), of(b"123456789abcdef")], [(10_579, 3), (1977, 3)]);
}

#[test]
fn estimates_stay_within_their_error() {
    let mut sketch = empty().to_vec();
    for number in 0u64..200_000 {
        add(&mut sketch, pattern_of(&number.to_le_bytes()), 3000).expect("whole");
    }
    assert_eq!(encoding_of(&sketch), Some(Encoding::Dense));
    let estimate = count(&sketch).expect("whole") as f64;
    assert!((estimate - 200_000.0).abs() < 200_000.0 * 0.0081 * 4.0, "{estimate}");
}
