//! The keys that are used most, counted by a sketch of fixed size (HOTKEYS).
//!
//! Space-Saving (Metwally, Agrawal and El Abbadi, 2005): a table of `capacity` counters. A key that
//! has none takes over the smallest one and inherits its count, which is then the most by which the
//! key is counted too high. So no key used more often than `uses / capacity` is missing, and a
//! count is never too low by more than the sampling makes it.
//!
//! ```text
//!  use ─► every n-th ─► index: (db, key) ─► slot ─► count + 1
//!                                 none  ─► the slot with the smallest count changes its key
//! ```
//! Off by default: then a command pays one branch, shared with MONITOR and client-side caching. On,
//! a sampled use costs about 0.5 us and any other 0.1; 1,024 counters of keys of 30 bytes take 0.2 MB.

use crate::resp::Args;
use crate::server::Server;
use crate::server::key_extraction::keys_of;
use crate::server::spec::Found;
use std::collections::{BTreeSet, HashMap};

/// Counters unless HOTKEYS START says otherwise.
pub const CAPACITY_DEFAULT: usize = 1024;
/// Most counters: a reply and a memory that an operator can still want.
pub const CAPACITY_MAX: usize = 65_536;
/// Longest key that is counted, bytes; the names of longer ones would be the sketch's size.
pub const KEY_BYTES_MAX: usize = 1024;

type DbKey = (u32, Box<[u8]>);

#[derive(Clone, Debug)]
struct Counter {
    key: DbKey,
    count: u64,
    /// The count inherited from the key before.
    too_high: u64,
}

/// One line of the report, in uses (samples times the sampling step).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotKey {
    pub db: u32,
    pub key: Box<[u8]>,
    pub uses: u64,
    /// The most by which `uses` may be too high.
    pub too_high: u64,
}

/// The sketch.
#[derive(Debug, Default)]
pub struct HotKeys {
    on: bool,
    capacity: usize,
    /// Each n-th use of a key is counted.
    step: u64,
    until_next: u64,
    index: HashMap<DbKey, u32>,
    counters: Vec<Counter>,
    by_count: BTreeSet<(u64, u32)>,
    /// Uses seen, counted or not.
    uses: u64,
    /// Uses of keys longer than [`KEY_BYTES_MAX`].
    oversized: u64,
    /// Unix ms.
    started_ms: i64,
}

impl HotKeys {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Begins anew.
    pub fn start(&mut self, capacity: usize, step: u64, now_ms: i64) {
        *self =
            HotKeys { on: true, capacity, step, until_next: step, started_ms: now_ms, ..HotKeys::default() };
    }

    /// Stops counting; the counts can still be read.
    pub fn stop(&mut self) {
        self.on = false;
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn step(&self) -> u64 {
        self.step
    }

    /// Uses seen since the start.
    pub fn uses(&self) -> u64 {
        self.uses
    }

    pub fn oversized(&self) -> u64 {
        self.oversized
    }

    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Takes note of one use of a key. O(log capacity) when it is sampled.
    pub fn note(&mut self, db: u32, key: &[u8]) {
        self.uses += 1;
        self.until_next -= 1;
        if self.until_next > 0 {
            return;
        }
        self.until_next = self.step;
        if key.len() > KEY_BYTES_MAX {
            self.oversized += 1;
            return;
        }
        let key = (db, Box::from(key));
        let slot = match self.index.get(&key) {
            Some(slot) => *slot,
            None => self.take_slot(key),
        };
        let counter = &mut self.counters[slot as usize];
        self.by_count.remove(&(counter.count, slot));
        counter.count += 1;
        self.by_count.insert((counter.count, slot));
    }

    /// A slot for a new key: a free one, or that of the key used least.
    fn take_slot(&mut self, key: DbKey) -> u32 {
        let slot = self.counters.len() as u32;
        if self.counters.len() < self.capacity {
            self.counters.push(Counter { key: key.clone(), count: 0, too_high: 0 });
            self.index.insert(key, slot);
            return slot;
        }
        let (least, slot) = *self.by_count.first().expect("the sketch has at least one counter");
        let counter = &mut self.counters[slot as usize];
        self.index.remove(&counter.key);
        *counter = Counter { key: key.clone(), count: least, too_high: least };
        self.index.insert(key, slot);
        slot
    }

    /// The keys used most, the hottest first.
    pub fn hottest(&self, count: usize) -> Vec<HotKey> {
        let slots = self.by_count.iter().rev().take(count);
        let line = |slot: &(u64, u32)| {
            let counter = &self.counters[slot.1 as usize];
            HotKey {
                db: counter.key.0,
                key: counter.key.1.clone(),
                uses: counter.count * self.step,
                too_high: counter.too_high * self.step,
            }
        };
        slots.map(line).collect()
    }
}

impl Server {
    /// Counts the keys of a command.
    pub(super) fn note_hot_keys(&mut self, db: usize, found: Found, args: Args<'_>) {
        for key in keys_of(found.spec, args).unwrap_or_default() {
            self.hot_keys.note(db as u32, args.at(key.index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HotKeys, KEY_BYTES_MAX};
    use crate::base::rng::Rng;

    fn names(hot: &HotKeys, count: usize) -> Vec<String> {
        let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        hot.hottest(count).iter().map(|line| text(&line.key)).collect()
    }

    #[test]
    fn counts_are_exact_while_all_keys_fit() {
        let mut hot = HotKeys::default();
        hot.start(3, 1, 0);
        for key in [&b"a"[..], b"b", b"a", b"c", b"a", b"b"] {
            hot.note(0, key);
        }
        assert_eq!(names(&hot, 2), ["a", "b"]);
        assert_eq!(
            hot.hottest(3).iter().map(|line| (line.uses, line.too_high)).collect::<Vec<_>>(),
            [(3, 0), (2, 0), (1, 0)]
        );
        hot.note(1, b"a");
        assert_eq!(hot.hottest(9).len(), 3, "a key of another database is another key");
    }

    #[test]
    fn hot_keys_are_found_among_many_and_bounds_hold() {
        let (mut hot, mut rng) = (HotKeys::default(), Rng::with_seed(7));
        hot.start(64, 1, 0);
        let mut truth = [0_u64; 4];
        for _ in 0..100_000 {
            // A third of all uses goes to four keys.
            if rng.below(3) == 0 {
                let index = rng.below(4);
                truth[index] += 1;
                hot.note(0, format!("hot{index}").as_bytes());
            } else {
                hot.note(0, format!("cold{}", rng.below(50_000)).as_bytes());
            }
        }
        let mut found = names(&hot, 4);
        found.sort();
        assert_eq!(found, ["hot0", "hot1", "hot2", "hot3"]);
        for line in hot.hottest(4) {
            let index = usize::from(line.key[3] - b'0');
            assert!(line.uses >= truth[index] && line.uses - line.too_high <= truth[index], "{line:?}");
        }
        assert_eq!((hot.counters.len(), hot.index.len(), hot.by_count.len()), (64, 64, 64));
    }

    #[test]
    fn every_nth_use_and_no_oversized_name() {
        let mut hot = HotKeys::default();
        hot.start(4, 10, 0);
        for _ in 0..100 {
            hot.note(0, b"k");
        }
        assert_eq!((hot.hottest(1)[0].uses, hot.uses()), (100, 100));
        for _ in 0..10 {
            hot.note(0, &[b'x'; KEY_BYTES_MAX + 1]);
        }
        assert_eq!((hot.hottest(9).len(), hot.oversized()), (1, 1));
    }
}
