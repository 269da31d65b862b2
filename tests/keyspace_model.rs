//! The keyspace against a naive model (a sorted map per database): random programs of single-key operations,
//! renames, moves, flushes, swaps, expiry; then SCAN's guarantee, active expiry in time, and memory that
//! comes back to the last byte.

mod common;
#[path = "keyspace_model/defrag.rs"]
mod defrag;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use tine::base::hash::HashSeed;
use tine::base::rng::Rng;
use tine::ds::table::ResizePolicy;
use tine::keyspace::db::string_of;
use tine::keyspace::{Effect, Effects, EntryView, ExpiryChange, Keyspace, NewValue, StringEdit, Touch};
use tine::sys::data_alloc;
use tine::value::string::Digits;

const DATABASES: usize = 3;
/// Keys of a program: few, so that operations meet.
const KEYS: u8 = 24;
const START_MS: i64 = 1_000_000;
/// Enough for any cycle of these tests, µs.
const BUDGET_US: u64 = 10_000_000;
/// Around the places where a value moves: empty, embstr's limit, the longest embedded, its own block.
const LENGTHS: [usize; 11] = [0, 1, 32, 44, 45, 167, 168, 169, 170, 4096, 70_000];

// The memory of the data region is one per process: tests that look at it take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Encoded,
    Modified,
    Int(i64),
    OwnedCopy,
}

#[derive(Debug, Clone)]
enum Op {
    Set { db: usize, key: u8, length: usize, fill: u8, form: Form, expiry: ExpiryChange },
    Overwrite { db: usize, key: u8, length: usize, fill: u8 },
    SetExpiry { db: usize, key: u8, at: Option<i64> },
    Remove { db: usize, key: u8, lazily: bool },
    Rename { db: usize, from: u8, to: u8 },
    Move { from: usize, to: usize, key: u8 },
    Append { db: usize, key: u8, length: usize, fill: u8 },
    GrowAndPoke { db: usize, key: u8, length: usize, fill: u8 },
    Find { db: usize, key: u8 },
    Tick { step_ms: i64 },
    ExpireCycle,
    Flush { db: usize, lazily: bool },
    Swap { first: usize, second: usize },
    Policy(ResizePolicy),
    Random { db: usize },
    Scan { db: usize },
}

fn db() -> impl Strategy<Value = usize> {
    0..DATABASES
}

fn key() -> impl Strategy<Value = u8> {
    0..KEYS
}

fn length() -> impl Strategy<Value = usize> {
    (0..LENGTHS.len()).prop_map(|index| LENGTHS[index])
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        Just(Form::Encoded),
        Just(Form::Modified),
        Just(Form::OwnedCopy),
        any::<i64>().prop_map(Form::Int),
    ]
}

fn expiry() -> impl Strategy<Value = ExpiryChange> {
    prop_oneof![
        Just(ExpiryChange::Keep),
        Just(ExpiryChange::Clear),
        (0..400i64).prop_map(|ms| ExpiryChange::At(START_MS + ms)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let set = (db(), key(), length(), b'a'..=b'z', form(), expiry());
    let edit = || (db(), key(), length(), b'a'..=b'z');
    let policy =
        prop_oneof![Just(ResizePolicy::Allow), Just(ResizePolicy::Avoid), Just(ResizePolicy::Forbid)];
    prop_oneof![
        6 => set.prop_map(|(db, key, length, fill, form, expiry)| Op::Set { db, key, length, fill, form, expiry }),
        2 => edit().prop_map(|(db, key, length, fill)| Op::Overwrite { db, key, length, fill }),
        2 => edit().prop_map(|(db, key, length, fill)| Op::Append { db, key, length, fill }),
        2 => edit().prop_map(|(db, key, length, fill)| Op::GrowAndPoke { db, key, length, fill }),
        2 => (db(), key(), proptest::option::of(0..400i64))
            .prop_map(|(db, key, at)| Op::SetExpiry { db, key, at: at.map(|ms| START_MS + ms) }),
        3 => (db(), key(), any::<bool>()).prop_map(|(db, key, lazily)| Op::Remove { db, key, lazily }),
        2 => (db(), key(), key()).prop_map(|(db, from, to)| Op::Rename { db, from, to }),
        2 => (db(), db(), key()).prop_map(|(from, to, key)| Op::Move { from, to, key }),
        3 => (db(), key()).prop_map(|(db, key)| Op::Find { db, key }),
        2 => (1..60i64).prop_map(|step_ms| Op::Tick { step_ms }),
        1 => Just(Op::ExpireCycle),
        1 => (db(), any::<bool>()).prop_map(|(db, lazily)| Op::Flush { db, lazily }),
        1 => (db(), db()).prop_map(|(first, second)| Op::Swap { first, second }),
        1 => policy.prop_map(Op::Policy),
        1 => db().prop_map(|db| Op::Random { db }),
        1 => db().prop_map(|db| Op::Scan { db }),
    ]
}

/// The key's name: short ones, the widths around one length byte, and a very long one.
fn name(key: u8) -> Vec<u8> {
    let length = match key % 8 {
        0 => 255,
        1 => 256,
        2 => 300,
        3 => 5000,
        _ => 4,
    };
    let mut name = vec![b'k'; length];
    name[..3].copy_from_slice(format!("{key:03}").as_bytes());
    name
}

type Held = (Vec<u8>, Option<i64>);

/// The keyspace, the model, and the time.
struct Pair {
    real: Keyspace,
    model: Vec<BTreeMap<Vec<u8>, Held>>,
    now_ms: i64,
    rng: Rng,
}

fn bytes_of(view: EntryView<'_>) -> Vec<u8> {
    let string = string_of(view).expect("only strings are stored here");
    string.bytes(&mut Digits::new()).to_vec()
}

fn held(view: EntryView<'_>) -> Held {
    (bytes_of(view), view.expiry_ms())
}

impl Pair {
    fn new() -> Pair {
        let seed = HashSeed::from_os().expect("the system has randomness");
        let real = Keyspace::new(DATABASES, seed).expect("the lazy-free thread starts");
        Pair { real, model: vec![BTreeMap::new(); DATABASES], now_ms: START_MS, rng: Rng::with_seed(7) }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Set { db, key, length, fill, form, expiry } => {
                self.set(db, key, &vec![fill; length], form, expiry)
            }
            Op::Overwrite { db, key, length, fill } => self.overwrite(db, key, vec![fill; length]),
            Op::SetExpiry { db, key, at } => self.set_expiry(db, key, at),
            Op::Remove { db, key, lazily } => {
                let name = name(key);
                let was_there = self.real.remove(db, self.real.hash(&name), &name, lazily);
                assert_eq!(was_there, self.model[db].remove(&name).is_some());
            }
            Op::Rename { db, from, to } => self.rename(db, from, to),
            Op::Move { from, to, key } => self.move_to(from, to, key),
            Op::Append { db, key, length, fill } => self.append(db, key, &vec![fill; length]),
            Op::GrowAndPoke { db, key, length, fill } => self.grow_and_poke(db, key, length, fill),
            Op::Find { db, key } => self.find(db, key),
            Op::Tick { step_ms } => self.now_ms += step_ms,
            Op::ExpireCycle => self.expire_cycle(),
            Op::Flush { db, lazily } => {
                let count = self.real.flush(db, lazily);
                assert_eq!(count, std::mem::take(&mut self.model[db]).len());
            }
            Op::Swap { first, second } => {
                self.real.swap(first, second);
                self.model.swap(first, second);
            }
            Op::Policy(policy) => self.real.set_resize_policy(policy),
            Op::Random { db } => self.random(db),
            Op::Scan { db } => self.scan(db),
        }
    }

    fn set(&mut self, db: usize, key: u8, bytes: &[u8], form: Form, expiry: ExpiryChange) {
        let name = name(key);
        let hash = self.real.hash(&name);
        let value = match form {
            Form::Encoded => NewValue::Encoded(bytes),
            Form::Modified => NewValue::Bytes { bytes, raw: true },
            Form::Int(number) => NewValue::Int(number),
            Form::OwnedCopy => {
                NewValue::Owned(tine::value::Value::String(tine::value::StringValue::from_bytes(bytes)))
            }
        };
        let existed = self.real.set(db, hash, &name, value, expiry);
        let bytes = match form {
            Form::Int(number) => number.to_string().into_bytes(),
            _ => bytes.to_vec(),
        };
        let old = self.model[db].get(&name).cloned();
        assert_eq!(existed, old.is_some());
        let expiry = match expiry {
            ExpiryChange::Keep => old.and_then(|(_, expiry)| expiry),
            ExpiryChange::Clear => None,
            ExpiryChange::At(at) => Some(at),
        };
        self.model[db].insert(name, (bytes, expiry));
    }

    fn overwrite(&mut self, db: usize, key: u8, bytes: Vec<u8>) {
        let name = name(key);
        let hash = self.real.hash(&name);
        let done = self.real.db_mut(db).overwrite_value(hash, &name, NewValue::Encoded(&bytes));
        let entry = self.model[db].get_mut(&name);
        assert_eq!(done, entry.is_some());
        if let Some(entry) = entry {
            entry.0 = bytes;
        }
    }

    fn set_expiry(&mut self, db: usize, key: u8, at: Option<i64>) {
        let name = name(key);
        let hash = self.real.hash(&name);
        let done = self.real.db_mut(db).set_expiry(hash, &name, at);
        let entry = self.model[db].get_mut(&name);
        assert_eq!(done, entry.is_some());
        if let Some(entry) = entry {
            entry.1 = at;
        }
    }

    fn rename(&mut self, db: usize, from: u8, to: u8) {
        let (from, to) = (name(from), name(to));
        let (from_hash, to_hash) = (self.real.hash(&from), self.real.hash(&to));
        let Some(entry) = self.real.db_mut(db).take(from_hash, &from) else {
            assert!(!self.model[db].contains_key(&from));
            return;
        };
        let moved = self.model[db].remove(&from).expect("both have it or neither");
        assert_eq!(held(entry.view()), moved);
        self.real.remove(db, to_hash, &to, false);
        self.real.db_mut(db).put(to_hash, &to, entry);
        self.model[db].insert(to, moved);
    }

    /// A key goes to another database; one that is taken already drops the entry.
    fn move_to(&mut self, from: usize, to: usize, key: u8) {
        let name = name(key);
        let hash = self.real.hash(&name);
        let Some(entry) = self.real.db_mut(from).take(hash, &name) else { return };
        let moved = self.model[from].remove(&name).expect("both have it or neither");
        if self.real.db(to).find(hash, &name).is_none() {
            self.real.db_mut(to).put(hash, &name, entry);
            self.model[to].insert(name, moved);
        }
    }

    fn append(&mut self, db: usize, key: u8, more: &[u8]) {
        let name = name(key);
        let hash = self.real.hash(&name);
        let length = self.real.db_mut(db).modify_string(hash, &name, |mut string: StringEdit<'_>| {
            string.append(more);
            string.len()
        });
        let entry = self.model[db].get_mut(&name);
        assert_eq!(length.is_some(), entry.is_some());
        if let Some(entry) = entry {
            entry.0.extend_from_slice(more);
            assert_eq!(length, Some(entry.0.len()));
        }
    }

    fn grow_and_poke(&mut self, db: usize, key: u8, length: usize, fill: u8) {
        let name = name(key);
        let hash = self.real.hash(&name);
        self.real.db_mut(db).modify_string(hash, &name, |mut string: StringEdit<'_>| {
            string.grow(length);
            if let Some(last) = string.bytes_mut().last_mut() {
                *last = fill;
            }
        });
        if let Some((bytes, _)) = self.model[db].get_mut(&name) {
            let grown = bytes.len().max(length);
            bytes.resize(grown, 0);
            if let Some(last) = bytes.last_mut() {
                *last = fill;
            }
        }
    }

    fn find(&mut self, db: usize, key: u8) {
        let name = name(key);
        let (hash, now_ms) = (self.real.hash(&name), self.now_ms);
        let expired = self.model[db].get(&name).is_some_and(|(_, at)| at.is_some_and(|at| now_ms > at));
        let mut effects = Effects::default();
        assert_eq!(
            self.real.exists_quietly(db, hash, &name, now_ms),
            !expired && self.model[db].contains_key(&name)
        );
        if expired {
            self.model[db].remove(&name);
        }
        let found = self.real.find(db, hash, &name, now_ms, Touch::Yes, &mut effects).map(held);
        assert_eq!(found.as_ref(), self.model[db].get(&name));
        let told: Vec<Effect> =
            expired.then(|| Effect::Expired { db, key: name.into() }).into_iter().collect();
        assert_eq!(effects.list, told);
    }

    fn expire_cycle(&mut self) {
        let mut effects = Effects::default();
        // The first cycle may begin where the last one ended; one round more sees everything.
        for _ in 0..2 {
            assert!(!self.real.active_expire(self.now_ms, BUDGET_US, &mut effects));
        }
        let now_ms = self.now_ms;
        let mut told = BTreeSet::new();
        for effect in effects.list {
            let Effect::Expired { db, key } = effect else { panic!("nothing else may happen: {effect:?}") };
            assert!(told.insert((db, key.to_vec())), "told once");
        }
        let mut due = BTreeSet::new();
        for (db, keys) in self.model.iter_mut().enumerate() {
            keys.retain(|key, (_, at)| {
                let passed = at.is_some_and(|at| now_ms > at);
                passed.then(|| due.insert((db, key.clone())));
                !passed
            });
        }
        assert_eq!(told, due);
    }

    fn random(&mut self, db: usize) {
        let found = self.real.db(db).random(&mut self.rng).map(|view| (view.key().to_vec(), held(view)));
        match found {
            None => assert!(self.model[db].is_empty()),
            Some((key, held)) => assert_eq!(self.model[db].get(&key), Some(&held)),
        }
    }

    fn scan(&self, db: usize) {
        let mut seen = BTreeMap::new();
        let mut cursor = 0;
        loop {
            cursor = self.real.db(db).scan(cursor, |view| {
                seen.insert(view.key().to_vec(), held(view));
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, self.model[db]);
    }

    /// Everything at once: contents, counts, the table's own rules.
    fn check(&mut self) {
        for db in 0..DATABASES {
            let model = &self.model[db];
            let real: Vec<(Vec<u8>, Held)> =
                self.real.db(db).iter().map(|view| (view.key().to_vec(), held(view))).collect();
            assert_eq!(real.len(), model.len());
            assert_eq!(&real.into_iter().collect::<BTreeMap<_, _>>(), model);
            assert_eq!(self.real.db(db).len(), model.len());
            let times: Vec<i64> = model.values().filter_map(|(_, at)| *at).collect();
            assert_eq!(self.real.db(db).volatile_len(), times.len());
            if !times.is_empty() {
                let average = times.iter().sum::<i64>() / times.len() as i64 - self.now_ms;
                assert_eq!(self.real.db(db).average_ttl_ms(self.now_ms), average.max(0));
            }
            let tag = self.real.db(db).tag();
            assert!(self.real.db(db).iter().all(|view| view.table_tag() == tag));
            let (table, resolver) = self.real.db_mut(db).table_and_resolver();
            table.check_invariants(resolver);
        }
        assert_eq!(self.real.total_keys(), self.model.iter().map(BTreeMap::len).sum::<usize>());
    }

    /// Waits until the lazy-free thread has nothing left.
    fn settle(&self) {
        let start = Instant::now();
        while self.real.lazy().pending() > 0 {
            assert!(start.elapsed() < Duration::from_secs(10), "the lazy-free thread stands still");
            std::thread::yield_now();
        }
    }
}

#[test]
fn random_programs_agree_with_the_model_and_give_all_memory_back() {
    let _turn = turn();
    let before = data_alloc::used_bytes();
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let run = runner.run(&vec(op(), 1..250), |program| {
        let mut pair = Pair::new();
        for op in &program {
            pair.apply(op);
        }
        pair.check();
        pair.settle();
        drop(pair);
        assert_eq!(data_alloc::used_bytes(), before, "bytes that nobody gave back");
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_large_table_agrees_with_the_model_while_it_grows_and_shrinks() {
    const COUNT: u64 = 60_000;
    let _turn = turn();
    let before = data_alloc::used_bytes();
    let mut pair = Pair::new();
    let key = |number: u64| format!("key:{number}").into_bytes();
    for number in 0..COUNT {
        let (name, value) = (key(number), number.to_string().into_bytes());
        let expiry =
            if number % 3 == 0 { ExpiryChange::At(START_MS + number as i64) } else { ExpiryChange::Keep };
        pair.real.set(0, pair.real.hash(&name), &name, NewValue::Encoded(&value), expiry);
        pair.model[0].insert(name, (value, (number % 3 == 0).then_some(START_MS + number as i64)));
    }
    pair.check();
    pair.now_ms += COUNT as i64 / 2;
    pair.expire_cycle();
    pair.check();
    for number in (0..COUNT).filter(|number| number % 10 != 1) {
        let name = key(number);
        pair.real.remove(0, pair.real.hash(&name), &name, true);
        pair.model[0].remove(&name);
    }
    pair.check();
    pair.scan(0);
    assert_eq!(pair.real.flush(0, true), pair.model[0].len());
    pair.settle();
    drop(pair);
    assert_eq!(data_alloc::used_bytes(), before);
}

#[test]
fn scan_returns_every_key_that_stays_however_the_table_changes() {
    let _turn = turn();
    let mut rng = Rng::with_seed(11);
    for round in 0..12u64 {
        let mut pair = Pair::new();
        let stays = 200 << (round % 6);
        for number in 0..stays {
            put_plain(&mut pair.real, &format!("stays:{number}"));
        }
        let mut seen = BTreeSet::new();
        let (mut cursor, mut step) = (0, 0u64);
        loop {
            cursor = pair.real.db(0).scan(cursor, |view| {
                seen.insert(view.key().to_vec());
            });
            if cursor == 0 {
                break;
            }
            step += 1;
            change_between_scan_steps(&mut pair.real, &mut rng, round, step);
        }
        let missing =
            (0..stays).filter(|number| !seen.contains(format!("stays:{number}").as_bytes())).count();
        assert_eq!(missing, 0, "round {round}: of {stays} keys");
    }
}

/// Even rounds grow the table manyfold during the scan, odd ones grow and shrink it in turns.
fn change_between_scan_steps(real: &mut Keyspace, rng: &mut Rng, round: u64, step: u64) {
    const EXTRA_MAX: usize = 60_000;
    let batch = rng.below(200);
    if round.is_multiple_of(2) || step % 40 < 25 {
        if real.db(0).len() < EXTRA_MAX {
            (0..batch).for_each(|index| put_plain(real, &format!("extra:{step}:{index}")));
        }
        return;
    }
    let mut doomed: Vec<Vec<u8>> = Vec::new();
    doomed.extend(
        real.db(0).iter().map(|view| view.key().to_vec()).filter(|key| key.starts_with(b"extra")).take(2000),
    );
    for key in doomed {
        real.remove(0, real.hash(&key), &key, false);
    }
}

fn put_plain(real: &mut Keyspace, key: &str) {
    let hash = real.hash(key.as_bytes());
    real.set(0, hash, key.as_bytes(), NewValue::Encoded(b"v"), ExpiryChange::Keep);
}

/// Decision 10 scaled down: cycles of 25 % of 100 ms, ten a second, no look-up; the full size is in
/// `soak_expiry.rs`.
#[test]
fn active_expiry_alone_removes_each_key_within_a_second() {
    const PLAIN: u64 = 300_000;
    const VOLATILE: u64 = 3_000;
    const SPREAD_MS: u64 = 20_000;
    let _turn = turn();
    let mut pair = Pair::new();
    for number in 0..PLAIN {
        put_plain(&mut pair.real, &format!("plain:{number}"));
    }
    let mut rng = Rng::with_seed(5);
    let mut due = BTreeMap::new();
    for number in 0..VOLATILE {
        let name = format!("ttl:{number}").into_bytes();
        let at = START_MS + 1 + rng.below(SPREAD_MS as usize) as i64;
        pair.real.set(0, pair.real.hash(&name), &name, NewValue::Encoded(b"v"), ExpiryChange::At(at));
        due.insert(name, at);
    }
    let mut latest_ms = 0;
    while !due.is_empty() {
        pair.now_ms += 100;
        let mut effects = Effects::default();
        pair.real.active_expire(pair.now_ms, 25_000, &mut effects);
        for effect in effects.list {
            let Effect::Expired { key, .. } = effect else { panic!("nothing else may happen") };
            let at = due.remove(key.as_ref()).expect("each goes once");
            assert!(pair.now_ms > at, "not before its time");
            latest_ms = latest_ms.max(pair.now_ms - at);
        }
        let left = due.values().min().copied().unwrap_or(i64::MAX);
        assert!(pair.now_ms <= left.saturating_add(1000), "a key is {} ms late", pair.now_ms - left);
    }
    println!("{VOLATILE} of {PLAIN} keys: the latest went {latest_ms} ms after its time");
    assert_eq!(pair.real.db(0).len() as u64, PLAIN);
    assert_eq!(pair.real.expired_keys, VOLATILE);
}
