//! Decision 10 at full size: 10 M keys, 10 k of them with a TTL; each is gone within one second of its time by
//! active expiry alone, and the cycles take less than 5 % of one processor. Part of `make soak`: needs about
//! 1 GiB and, with a pace of one simulated round per real round, nothing but processor time.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tine::base::hash::HashSeed;
use tine::base::rng::Rng;
use tine::keyspace::{Effect, Effects, ExpiryChange, Keyspace, NewValue};

const PLAIN: u64 = 10_000_000;
const VOLATILE: u64 = 10_000;
const START_MS: i64 = 1_000_000;
/// The keys expire within this time, ms.
const SPREAD_MS: usize = 60_000;
/// `hz 10`.
const ROUND_MS: i64 = 100;
/// 25 % of a round, µs.
const BUDGET_US: u64 = 25_000;
/// Of one processor; checks on every step of a debug build take their share.
const SHARE_MAX: f64 = if cfg!(debug_assertions) { 0.2 } else { 0.05 };

/// Processor time of this thread: what other programs of the machine take does not count.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has this clock").into()
}

fn set(keyspace: &mut Keyspace, key: &str, expiry: ExpiryChange) {
    let hash = keyspace.hash(key.as_bytes());
    keyspace.set(0, hash, key.as_bytes(), NewValue::Encoded(b"value"), expiry);
}

#[test]
fn ten_thousand_of_ten_million_keys_go_in_time() {
    let seed = HashSeed::from_os().expect("the system has randomness");
    let mut keyspace = Keyspace::new(1, seed).expect("the lazy-free thread starts");
    let mut rng = Rng::with_seed(3);
    let mut due = BTreeMap::new();
    for number in 0..PLAIN {
        set(&mut keyspace, &format!("plain:{number}"), ExpiryChange::Keep);
        if number.is_multiple_of(PLAIN / VOLATILE) {
            let (name, at) = (format!("ttl:{number}"), START_MS + 1 + rng.below(SPREAD_MS) as i64);
            set(&mut keyspace, &name, ExpiryChange::At(at));
            due.insert(name.into_bytes(), at);
        }
    }
    let (mut now_ms, mut latest_ms, mut busy_us) = (START_MS, 0, 0.0);
    while !due.is_empty() {
        now_ms += ROUND_MS;
        let mut effects = Effects::default();
        let start = cpu_time();
        keyspace.active_expire(now_ms, BUDGET_US, &mut effects);
        busy_us += (cpu_time() - start).as_secs_f64() * 1e6;
        for effect in effects.list {
            let Effect::Expired { key, .. } = effect else { panic!("nothing else may happen") };
            let at = due.remove(key.as_ref()).expect("each goes once");
            latest_ms = latest_ms.max(now_ms - at);
        }
        let left = due.values().min().copied().unwrap_or(i64::MAX);
        assert!(now_ms <= left.saturating_add(1000), "a key is {} ms late", now_ms - left);
    }
    let share = busy_us / ((now_ms - START_MS) as f64 * 1000.0);
    println!("latest {latest_ms} ms after its time; {:.2} % of one processor", share * 100.0);
    assert!(share < SHARE_MAX, "the cycles take {:.2} % of one processor", share * 100.0);
}
