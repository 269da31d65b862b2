//! The sorted set against a naive model.

use std::cmp::Ordering;
use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use super::leaf::INLINE_BYTES_MAX;
use super::tree::order;
use super::{Change, MemberBound, NotANumber, ScoreBound, SortedSet};
use crate::base::hash::HashSeed;

const SEED: HashSeed = HashSeed([7; 16]);

/// An emptied set may keep the last segment of its table, bytes.
const EMPTY_BYTES_MAX: usize = 128;

/// Scores by member; sorted when asked.
#[derive(Default)]
struct Model(HashMap<Vec<u8>, f64>);

impl Model {
    fn insert(&mut self, score: f64, member: &[u8]) -> Option<f64> {
        let before = self.0.get(member).copied();
        // As in Redis, an equal score is left alone, so the sign of a zero stays.
        if before != Some(score) {
            self.0.insert(member.to_vec(), score);
        }
        before
    }

    fn sorted(&self) -> Vec<(f64, &[u8])> {
        let mut all: Vec<_> = self.0.iter().map(|(member, &score)| (score, member.as_slice())).collect();
        all.sort_by(|&left, &right| order(left, right));
        all
    }
}

fn assert_equal(set: &SortedSet, model: &Model) {
    set.check_invariants();
    let sorted = model.sorted();
    let own: Vec<_> = set.iter().collect();
    assert_eq!(own, sorted);
    let signs = |all: &[(f64, &[u8])]| all.iter().map(|(score, _)| score.to_bits()).collect::<Vec<_>>();
    assert_eq!(signs(&own), signs(&sorted));
    for (rank, (score, member)) in sorted.iter().enumerate() {
        assert_eq!(set.rank(member), Some((rank, *score)));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(f64, Vec<u8>),
    Remove(Vec<u8>),
    Pop(bool),
    RemoveRange(usize, usize),
    Range(usize, usize, bool),
    CountScore(f64, bool),
}

fn scores() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-8i32..8).prop_map(f64::from),
        2 => any::<f64>().prop_filter("NaN has a test of its own", |score| !score.is_nan()),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
    ]
}

fn members() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u32..400).prop_map(|number| format!("m{number}").into_bytes()),
        2 => (0u32..20).prop_map(|number| vec![b'x'; number as usize * 16]),
        1 => Just(Vec::new()),
        1 => vec(any::<u8>(), 0..3),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (scores(), members()).prop_map(|(score, member)| Step::Insert(score, member)),
        4 => members().prop_map(Step::Remove),
        1 => any::<bool>().prop_map(Step::Pop),
        1 => (0usize..300, 0usize..40).prop_map(|(start, len)| Step::RemoveRange(start, start + len)),
        1 => (0usize..300, 0usize..300, any::<bool>())
            .prop_map(|(start, len, reverse)| Step::Range(start, start + len, reverse)),
        1 => (scores(), any::<bool>()).prop_map(|(score, after)| Step::CountScore(score, after)),
    ]
}

fn pop_model(model: &mut Model, last: bool) -> Option<(f64, Vec<u8>)> {
    let sorted = model.sorted();
    let (score, member) = if last { *sorted.last()? } else { *sorted.first()? };
    let member = member.to_vec();
    model.0.remove(&member);
    Some((score, member))
}

fn remove_range_model(model: &mut Model, start: usize, end: usize) {
    let doomed: Vec<_> = model.sorted().into_iter().take(end).skip(start).map(|(_, m)| m.to_vec()).collect();
    for member in doomed {
        model.0.remove(&member);
    }
}

fn run(set: &mut SortedSet, model: &mut Model, step: &Step) {
    match step {
        Step::Insert(score, member) => {
            assert_eq!(set.insert(*score, member), Ok(model.insert(*score, member)));
        }
        Step::Remove(member) => assert_eq!(set.remove(member), model.0.remove(member)),
        Step::Pop(last) => {
            let popped = set.pop(*last, |score, member| (score, member.to_vec()));
            assert_eq!(popped, pop_model(model, *last));
        }
        Step::RemoveRange(start, end) => {
            set.remove_range(*start, *end);
            remove_range_model(model, *start, *end);
        }
        Step::Range(start, end, reverse) => {
            let mut expected: Vec<_> = model.sorted().into_iter().take(*end).skip(*start).collect();
            if *reverse {
                expected.reverse();
            }
            assert_eq!(set.range(*start, *end, *reverse).collect::<Vec<_>>(), expected);
        }
        Step::CountScore(score, after) => {
            let lies_before = |own: f64| own < *score || (*after && own == *score);
            let expected = model.0.values().filter(|&&own| lies_before(own)).count();
            assert_eq!(set.count_before_score(ScoreBound { score: *score, after: *after }), expected);
        }
    }
    assert_eq!(set.len(), model.0.len());
}

#[test]
fn agrees_with_the_model() {
    let mut runner = TestRunner::new(Config { cases: 60, ..Config::default() });
    let result = runner.run(&vec(steps(), 1..900), |steps| {
        let (mut set, mut model) = (SortedSet::new(SEED), Model::default());
        for step in &steps {
            run(&mut set, &mut model, step);
        }
        assert_equal(&set, &model);
        Ok(())
    });
    result.expect("the set does what the model does");
}

/// Adds `count` members in an order, checks, and gives the set back.
fn filled(count: u32, score: impl Fn(u32) -> f64) -> (SortedSet, Model) {
    let (mut set, mut model) = (SortedSet::new(SEED), Model::default());
    for number in 0..count {
        let member = format!("member:{number:010}");
        assert_eq!(set.insert(score(number), member.as_bytes()), Ok(None));
        model.insert(score(number), member.as_bytes());
    }
    assert_equal(&set, &model);
    (set, model)
}

fn bytes_per_member(set: &SortedSet) -> f64 {
    set.memory_bytes() as f64 / set.len() as f64
}

#[test]
fn ascending_descending_and_random_orders_pack_well() {
    type Score = fn(u32) -> f64;
    let orders: [(&str, Score); 4] = [
        ("ascending", f64::from),
        ("descending", |number| -f64::from(number)),
        ("random", |number| f64::from(number * 7919 % 1_000_003)),
        ("equal", |_| 1.0),
    ];
    for (name, order) in orders {
        let (set, _) = filled(30_000, order);
        let bytes = bytes_per_member(&set);
        println!("{name}: {bytes} bytes a member");
        assert!(bytes < 50.0, "{name}: {bytes} bytes a member");
    }
}

#[test]
fn random_removals_give_memory_back() {
    let (mut set, mut model) = filled(30_000, |number| f64::from(number * 7919 % 1_000_003));
    let mut rng = fastrand::Rng::with_seed(3);
    let mut members: Vec<Vec<u8>> = model.0.keys().cloned().collect();
    members.sort();
    rng.shuffle(&mut members);
    for (removed, member) in members.iter().enumerate() {
        assert!(set.remove(member).is_some());
        model.0.remove(member);
        if removed % 6_000 == 5_999 {
            assert_equal(&set, &model);
            let bytes = bytes_per_member(&set);
            assert!(set.is_empty() || bytes < 90.0, "{bytes} bytes a member, {} left", set.len());
        }
    }
    assert!(set.memory_bytes() <= EMPTY_BYTES_MAX);
}

#[test]
fn score_changes_move_members() {
    let (mut set, mut model) = filled(5_000, f64::from);
    let mut rng = fastrand::Rng::with_seed(5);
    for round in 0..20_000 {
        let member = format!("member:{:010}", rng.u32(..5_000));
        let score = f64::from(rng.u32(..if round % 2 == 0 { 5_000 } else { 5 }));
        assert_eq!(set.insert(score, member.as_bytes()), Ok(model.insert(score, member.as_bytes())));
    }
    assert_equal(&set, &model);
}

#[test]
fn pops_from_both_ends_empty_it() {
    for last in [false, true] {
        let (mut set, _) = filled(9_000, |number| f64::from(number * 31 % 7_001));
        let mut expected: Vec<_> = set.iter().map(|(score, member)| (score, member.to_vec())).collect();
        while let Some(popped) = set.pop(last, |score, member| (score, member.to_vec())) {
            let wanted = if last { expected.pop().expect("as many") } else { expected.remove(0) };
            assert_eq!(popped, wanted);
            if set.len() % 1_500 == 0 {
                set.check_invariants();
            }
        }
        assert!(expected.is_empty());
        assert!(set.memory_bytes() <= EMPTY_BYTES_MAX);
    }
}

#[test]
fn bounds_between_members() {
    let (set, model) = filled(3_000, |_| 0.0);
    let sorted = model.sorted();
    for text in ["", "member", "member:0000000000", "member:0000001500", "member:00000015000", "zzz"] {
        let bound = text.as_bytes();
        let before = sorted.iter().filter(|(_, member)| *member < bound).count();
        let after = sorted.iter().filter(|(_, member)| *member <= bound).count();
        assert_eq!(set.count_before_member(MemberBound::Before(bound)), before);
        assert_eq!(set.count_before_member(MemberBound::After(bound)), after);
    }
    assert_eq!(set.count_before_member(MemberBound::First), 0);
    assert_eq!(set.count_before_member(MemberBound::Last), 3_000);
}

#[test]
fn scans_visit_what_stays() {
    let (mut set, _) = filled(4_000, f64::from);
    let mut seen = HashMap::new();
    let (mut cursor, mut turn) = (0, 0u32);
    loop {
        cursor = set.scan(cursor, |score, member| {
            seen.insert(member.to_vec(), score);
        });
        if cursor == 0 {
            break;
        }
        // Others come and go meanwhile.
        let other = format!("other:{turn}");
        set.insert(0.5, other.as_bytes()).expect("0.5 is a number");
        set.remove(format!("other:{}", turn / 2).as_bytes());
        turn += 1;
    }
    for number in 0..4_000 {
        let member = format!("member:{number:010}");
        assert_eq!(seen.get(member.as_bytes()), Some(&f64::from(number)));
    }
}

#[test]
fn not_a_number_is_refused() {
    let mut set = SortedSet::new(SEED);
    assert_eq!(set.insert(f64::NAN, b"a"), Err(NotANumber));
    assert_eq!(set.insert(1.0, b"a"), Ok(None));
    assert_eq!(set.insert(f64::NAN, b"a"), Err(NotANumber));
    assert_eq!(set.score(b"a"), Some(1.0));
}

#[test]
fn decisions_see_the_present_score() {
    let mut set = SortedSet::new(SEED);
    let hash = set.hash(b"a");
    let add = |by: f64| move |now: Option<f64>| Ok::<_, NotANumber>(Some(now.unwrap_or(0.0) + by));
    assert_eq!(set.upsert(hash, b"a", add(2.0)), Ok(Change::Added(2.0)));
    assert_eq!(set.upsert(hash, b"a", add(3.0)), Ok(Change::Updated(2.0, 5.0)));
    assert_eq!(set.upsert(hash, b"a", |_| Ok::<_, NotANumber>(None)), Ok(Change::None));
    assert_eq!(set.score(b"a"), Some(5.0));
}

#[test]
fn long_members_lie_outside_and_are_freed() {
    let (mut set, mut model) = (SortedSet::new(SEED), Model::default());
    for number in 0..600u32 {
        let len = INLINE_BYTES_MAX - 2 + (number % 5) as usize + (number % 7) as usize * 500;
        let mut member = number.to_string().into_bytes();
        member.resize(len, b'y');
        let score = f64::from(number % 13);
        assert_eq!(set.insert(score, &member), Ok(model.insert(score, &member)));
    }
    assert_equal(&set, &model);
    let members: Vec<_> = model.0.keys().cloned().collect();
    for member in members {
        assert_eq!(set.insert(-1.0, &member), Ok(model.insert(-1.0, &member)));
        if member.len() % 3 == 0 {
            assert_eq!(set.remove(&member), model.0.remove(&member));
        }
    }
    assert_equal(&set, &model);
    set.remove_range(0, set.len());
    assert!(set.memory_bytes() <= EMPTY_BYTES_MAX);
}

#[test]
fn leaves_grow_when_they_cannot_be_numbered() {
    let (mut set, mut model) = (SortedSet::new(SEED), Model::default());
    set.index.set_leaves_max(4);
    let mut rng = fastrand::Rng::with_seed(11);
    for number in 0..2_500u32 {
        let member = format!("member:{number:010}");
        let score = f64::from(rng.u32(..1_000));
        assert_eq!(set.insert(score, member.as_bytes()), Ok(model.insert(score, member.as_bytes())));
    }
    assert_equal(&set, &model);
    set.index.set_leaves_max(1 << 24);
    for number in 2_500..6_000u32 {
        let member = format!("member:{number:010}");
        set.insert(0.0, member.as_bytes()).expect("0.0 is a number");
        model.insert(0.0, member.as_bytes());
    }
    assert_equal(&set, &model);
}

#[test]
fn stale_bounds_do_not_hide_members() {
    // The first elements of leaves go, then elements that tie with their bounds come back.
    let mut rng = fastrand::Rng::with_seed(17);
    let (mut set, mut model) = (SortedSet::new(SEED), Model::default());
    for round in 0..30_000u32 {
        let score = f64::from(rng.u32(..40));
        let member = format!("{:03}", rng.u32(..900));
        if round % 3 == 0 {
            assert_eq!(set.remove(member.as_bytes()), model.0.remove(member.as_bytes()));
        } else {
            assert_eq!(set.insert(score, member.as_bytes()), Ok(model.insert(score, member.as_bytes())));
        }
        if round % 5_000 == 0 {
            assert_equal(&set, &model);
        }
    }
    assert_equal(&set, &model);
}

#[test]
fn order_is_by_score_then_member() {
    assert_eq!(order((1.0, b"b"), (2.0, b"a")), Ordering::Less);
    assert_eq!(order((0.0, b"b"), (-0.0, b"a")), Ordering::Greater);
    assert_eq!(order((1.0, b"a"), (1.0, b"a")), Ordering::Equal);
}
