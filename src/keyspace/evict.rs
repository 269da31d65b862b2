//! Which key goes when memory is short: sampling, a pool of the best candidates, the removal.
//!
//! ```text
//!  random bucket ──► its entries (and the next buckets', until `samples`) ──► score each
//!                                                                               │
//!  pool, 16 candidates by score:  | 3 | 7 | 7 | 21 | 90 | ◄── the better ones ──┘
//!                                                    └────► goes, if its score still holds
//! ```
//! The scheme is Redis's: no list links every key, a few are compared, and what was seen before is
//! remembered, so that the choice comes near to the best of all. Two things differ. Whole buckets
//! are sampled (about seven entries, loaded side by side), so a choice compares more keys for the
//! same cache misses. And a candidate that was used since it entered the pool does not go: its
//! score is computed again when its turn comes.
//!
//! A candidate is known by the hash of its key, which costs no copy of the key. Should two keys
//! share 64 bits of hash, the other one may go: it was a candidate as good as any.

use crate::base::rng::Rng;
use crate::keyspace::Keyspace;
use crate::keyspace::access::AccessPolicy;
use crate::keyspace::db::Db;
use crate::keyspace::effects::{Effect, Effects};
use crate::keyspace::entry::EntryView;

/// Candidates kept between choices (as Redis).
const POOL_MAX: usize = 16;
/// Databases sampled for one choice at most, in turn: a choice takes a bounded time whatever
/// `databases` says. The default number of databases fits.
const DATABASES_PER_CHOICE: usize = 16;
/// Times that a choice samples anew when nothing it found could go.
const CHOICE_ROUNDS: usize = 16;

/// In which order keys go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionOrder {
    /// The one not used for the longest time.
    LeastRecent,
    /// The one used least often.
    LeastFrequent,
    /// The one that would expire first.
    SoonestExpiry,
    /// Any.
    Random,
}

/// `maxmemory-policy` and `maxmemory-samples`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionRule {
    pub order: EvictionOrder,
    /// Only keys with an expiry may go.
    pub volatile_only: bool,
    /// Keys compared for one choice, at least.
    pub samples: usize,
}

impl EvictionRule {
    /// The higher, the sooner it goes. `None`: it may not.
    fn score(&self, view: EntryView<'_>, access: &AccessPolicy) -> Option<u64> {
        let expiry_ms = view.expiry_ms();
        if self.volatile_only && expiry_ms.is_none() {
            return None;
        }
        Some(match self.order {
            EvictionOrder::LeastRecent => access.idle_s(view.access()),
            EvictionOrder::LeastFrequent => 255 - u64::from(access.lfu_counter(view.access())),
            EvictionOrder::SoonestExpiry => u64::MAX - expiry_ms.unwrap_or(i64::MAX).max(0) as u64,
            EvictionOrder::Random => 0,
        })
    }

    fn candidates_in(&self, db: &Db) -> usize {
        if self.volatile_only { db.volatile_len() } else { db.len() }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    score: u64,
    hash: u64,
    db: usize,
}

/// What was learnt from samples; see the module.
#[derive(Debug, Default)]
pub struct EvictionPool {
    /// Ascending by score; `len` are in use.
    candidates: [Candidate; POOL_MAX],
    len: usize,
    /// The rule that gave the scores.
    rule: Option<EvictionRule>,
    /// Database that is sampled first next time.
    next_db: usize,
}

impl EvictionPool {
    /// Scores of one rule say nothing under another.
    fn follow(&mut self, rule: EvictionRule) {
        if self.rule != Some(rule) {
            self.rule = Some(rule);
            self.len = 0;
        }
    }

    /// Takes a candidate in when it is better than the worst one or there is room. O(pool).
    fn offer(&mut self, candidate: Candidate) {
        let known = &self.candidates[..self.len];
        if known.iter().any(|other| other.hash == candidate.hash && other.db == candidate.db) {
            return;
        }
        let place = known.partition_point(|other| other.score < candidate.score);
        if self.len < POOL_MAX {
            self.candidates.copy_within(place..self.len, place + 1);
            self.candidates[place] = candidate;
            self.len += 1;
        } else if place > 0 {
            self.candidates.copy_within(1..place, 0);
            self.candidates[place - 1] = candidate;
        }
    }

    fn take_best(&mut self) -> Option<Candidate> {
        self.len = self.len.checked_sub(1)?;
        Some(self.candidates[self.len])
    }

    /// The databases to look into for the next choice, of `count`.
    fn turn(&mut self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.next_db % count.max(1);
        self.next_db = (first + DATABASES_PER_CHOICE) % count.max(1);
        (0..count.min(DATABASES_PER_CHOICE)).map(move |step| (first + step) % count)
    }

    /// Samples and picks the best candidate that is still what it was.
    fn choose(
        &mut self,
        dbs: &[Db],
        rule: EvictionRule,
        access: &AccessPolicy,
        rng: &mut Rng,
    ) -> Option<Candidate> {
        if !dbs.iter().any(|db| rule.candidates_in(db) > 0) {
            return None;
        }
        if rule.order == EvictionOrder::Random {
            return self.choose_any(dbs, rule, rng);
        }
        self.follow(rule);
        let rounds = CHOICE_ROUNDS + dbs.len().div_ceil(DATABASES_PER_CHOICE);
        for _ in 0..rounds {
            for index in self.turn(dbs.len()) {
                let db = &dbs[index];
                if rule.candidates_in(db) == 0 {
                    continue;
                }
                db.sample(rule.samples, rule.volatile_only, rng, |hash, view| {
                    if let Some(score) = rule.score(view, access) {
                        self.offer(Candidate { score, hash, db: index });
                    }
                });
            }
            while let Some(best) = self.take_best() {
                let now = dbs[best.db].find_by_hash(best.hash).and_then(|view| rule.score(view, access));
                if now.is_some_and(|score| score >= best.score) {
                    return Some(best);
                }
            }
        }
        None
    }

    /// A key by chance. Databases take turns, as in Redis.
    fn choose_any(&mut self, dbs: &[Db], rule: EvictionRule, rng: &mut Rng) -> Option<Candidate> {
        let first = (self.next_db + 1) % dbs.len();
        let mut order = (0..dbs.len()).map(|step| (first + step) % dbs.len());
        let index = order.find(|index| rule.candidates_in(&dbs[*index]) > 0)?;
        self.next_db = index;
        let db = &dbs[index];
        let hash = if rule.volatile_only { any_volatile(db, rng) } else { db.random_hash(rng) };
        hash.map(|hash| Candidate { score: 0, hash, db: index })
    }
}

/// The hash of one of the keys with an expiry that a sample finds, each with the same chance.
fn any_volatile(db: &Db, rng: &mut Rng) -> Option<u64> {
    let (mut seen, mut chosen) = (0, None);
    let mut picks = Rng::with_seed(rng.next_u64());
    db.sample(1, true, rng, |hash, _| {
        seen += 1;
        if picks.below(seen) == 0 {
            chosen = Some(hash);
        }
    });
    chosen
}

impl Keyspace {
    /// Removes one key by `rule` and reports it. False when no key may go. About 1 us; with few
    /// volatile keys among many others up to some 100 us. `lazily`: see [`Keyspace::remove`].
    pub fn evict_one(
        &mut self,
        rule: EvictionRule,
        lazily: bool,
        rng: &mut Rng,
        effects: &mut Effects,
    ) -> bool {
        let chosen = self.pool.choose(&self.dbs, rule, &self.access, rng);
        let Some(Candidate { hash, db, .. }) = chosen else { return false };
        let Some(key) = self.dbs[db].find_by_hash(hash).map(|view| Box::<[u8]>::from(view.key())) else {
            return false;
        };
        self.remove(db, hash, &key, lazily);
        effects.push(Effect::Evicted { db, key });
        true
    }

    /// Bytes that the lazy-free thread is going to free: counted as free already by whoever asks
    /// whether more must go.
    pub fn bytes_being_freed(&self) -> usize {
        self.lazy.pending_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, EvictionOrder, EvictionPool, EvictionRule, POOL_MAX};
    use crate::base::hash::HashSeed;
    use crate::base::rng::Rng;
    use crate::keyspace::{Effect, Effects, ExpiryChange, Keyspace, NewValue, Touch};

    const LRU: EvictionRule =
        EvictionRule { order: EvictionOrder::LeastRecent, volatile_only: false, samples: 5 };

    fn keyspace(databases: usize) -> Keyspace {
        Keyspace::new(databases, HashSeed::from_os().expect("the system has random numbers"))
            .expect("the lazy-free thread starts")
    }

    fn add(keyspace: &mut Keyspace, db: usize, key: &str, expiry_ms: Option<i64>) {
        let hash = keyspace.hash(key.as_bytes());
        let expiry = expiry_ms.map_or(ExpiryChange::Clear, ExpiryChange::At);
        keyspace.set(db, hash, key.as_bytes(), NewValue::Encoded(b"v"), expiry);
    }

    /// Evicts one key and tells its database and name.
    fn evict(keyspace: &mut Keyspace, rule: EvictionRule, rng: &mut Rng) -> Option<(usize, String)> {
        let mut effects = Effects::default();
        let evicted = keyspace.evict_one(rule, false, rng, &mut effects);
        let effect = effects.list.pop();
        assert_eq!(evicted, effect.is_some());
        let Effect::Evicted { db, key } = effect? else { panic!("only evictions are reported here") };
        Some((db, String::from_utf8(key.into()).expect("test keys are text")))
    }

    #[test]
    fn the_pool_keeps_the_best() {
        let mut pool = EvictionPool::default();
        for score in [5, 1, 9, 3, 7, 2, 8, 4, 6, 0] {
            (0..4).for_each(|db| pool.offer(Candidate { score, hash: score, db }));
        }
        assert_eq!(pool.len, POOL_MAX);
        let taken: Vec<u64> = std::iter::from_fn(|| pool.take_best()).map(|best| best.score).collect();
        assert_eq!(taken, [9, 9, 9, 9, 8, 8, 8, 8, 7, 7, 7, 7, 6, 6, 6, 6]);
    }

    #[test]
    fn old_keys_go_and_a_key_used_since_it_became_a_candidate_stays() {
        // So many that there are old ones among them wherever the keys lie.
        let rule = EvictionRule { samples: 64, ..LRU };
        let (mut keyspace, mut rng) = (keyspace(1), Rng::with_seed(3));
        keyspace.access.now_s = 100;
        for number in 0..200 {
            add(&mut keyspace, 0, &format!("old{number}"), None);
        }
        keyspace.access.now_s = 200;
        for number in 0..200 {
            add(&mut keyspace, 0, &format!("fresh{number}"), None);
        }
        assert!(evict(&mut keyspace, rule, &mut rng).is_some_and(|(_, key)| key.starts_with("old")));
        // Everything in the pool is used now: nothing of it may go by its old score.
        let pooled = keyspace.pool.candidates[..keyspace.pool.len].to_vec();
        keyspace.access.now_s = 300;
        for candidate in &pooled {
            let key = keyspace.db(0).find_by_hash(candidate.hash).map(|view| view.key().to_vec());
            let key = key.expect("candidates are there");
            keyspace.find(0, candidate.hash, &key, 0, Touch::Yes, &mut Effects::default());
        }
        for _ in 0..100 {
            assert!(evict(&mut keyspace, rule, &mut rng).is_some());
        }
        let there = |candidate: &Candidate| keyspace.db(0).find_by_hash(candidate.hash).is_some();
        assert_eq!(pooled.iter().filter(|candidate| there(candidate)).count(), pooled.len());
    }

    #[test]
    fn only_volatile_keys_go_and_the_soonest_first() {
        let rule = EvictionRule { order: EvictionOrder::SoonestExpiry, volatile_only: true, samples: 64 };
        let (mut keyspace, mut rng) = (keyspace(3), Rng::with_seed(4));
        for number in 0..500 {
            add(&mut keyspace, 1, &format!("stays{number}"), None);
        }
        for number in 0..10 {
            add(&mut keyspace, 1, &format!("goes{number}"), Some(1_000_000 + number));
        }
        for number in 0..10 {
            assert_eq!(evict(&mut keyspace, rule, &mut rng), Some((1, format!("goes{number}"))));
        }
        assert_eq!(evict(&mut keyspace, rule, &mut rng), None);
        let random = EvictionRule { order: EvictionOrder::Random, ..rule };
        assert_eq!(evict(&mut keyspace, random, &mut rng), None);
        assert_eq!(keyspace.total_keys(), 500);
    }

    #[test]
    fn rarely_used_keys_go_first_by_frequency() {
        let rule = EvictionRule { order: EvictionOrder::LeastFrequent, volatile_only: false, samples: 10 };
        let (mut keyspace, mut rng) = (keyspace(1), Rng::with_seed(5));
        keyspace.access.lfu = true;
        for number in 0..300 {
            add(&mut keyspace, 0, &format!("{number}"), None);
            for _ in 0..if number < 150 { 300 } else { 0 } {
                let (key, mut effects) = (number.to_string(), Effects::default());
                let hash = keyspace.hash(key.as_bytes());
                keyspace.find(0, hash, key.as_bytes(), 0, Touch::Yes, &mut effects);
            }
        }
        for _ in 0..100 {
            let (_, key) = evict(&mut keyspace, rule, &mut rng).expect("keys are left");
            assert!(key.parse::<u32>().expect("keys are numbers") >= 150, "{key} was used often");
        }
    }

    #[test]
    fn chance_reaches_every_database_and_empties_all() {
        for volatile_only in [false, true] {
            let rule = EvictionRule { order: EvictionOrder::Random, volatile_only, samples: 5 };
            let (mut keyspace, mut rng) = (keyspace(40), Rng::with_seed(6));
            for number in 0..200 {
                add(&mut keyspace, number % 40, &format!("{number}"), Some(9_000_000));
            }
            let first: Vec<usize> =
                (0..40).map(|_| evict(&mut keyspace, rule, &mut rng).expect("keys are left").0).collect();
            assert!((0..40).all(|db| first.contains(&db)), "databases take turns: {first:?}");
            while evict(&mut keyspace, rule, &mut rng).is_some() {}
            assert_eq!(keyspace.total_keys(), 0);
        }
    }

    #[test]
    fn a_key_in_the_last_of_many_databases_is_found() {
        let (mut keyspace, mut rng) = (keyspace(500), Rng::with_seed(7));
        add(&mut keyspace, 499, "far", None);
        assert_eq!(evict(&mut keyspace, LRU, &mut rng), Some((499, "far".to_owned())));
        assert_eq!(evict(&mut keyspace, LRU, &mut rng), None);
    }
}
