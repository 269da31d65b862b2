//! Floor 4: keys. Databases, look-ups that respect expiry, active expiry, lazy free.
//!
//! The keyspace knows no clients, no commands and no network. What it does on its own (a key
//! whose time has passed is removed by a look-up) it reports in the [`Effects`] its caller gave it.

pub mod access;
pub mod db;
mod defrag;
pub mod effects;
pub mod entry;
pub mod evict;
mod expire;
pub mod lazy;
pub mod tags;
pub mod walk;

pub use access::AccessPolicy;
pub use db::{Db, Edit, EntryWord, ExpiryChange, StringEdit};
pub use defrag::{DefragScan, KeyCounts};
pub use effects::{Effect, Effects};
pub use entry::{EntryView, NewValue};
pub use evict::{EvictionOrder, EvictionRule};
pub use expire::ExpireCycle;

use crate::base::hash::HashSeed;
use crate::ds::table::{ResizePolicy, set_collection_resize_policy};
use crate::keyspace::evict::EvictionPool;
use crate::keyspace::lazy::{Garbage, HUGE_EFFORT_MIN, LAZY_BYTES_MIN, LAZY_EFFORT_MIN, LazyFree};
use crate::keyspace::tags::TagPool;
use crate::value::{StrRef, Value, ValueRef};
use std::time::{Duration, Instant};

/// What a look-up does with a key whose time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireRule {
    /// Remove it and report it (a primary).
    Remove,
    /// Hide it and keep it until the primary says so (a replica, or while writes are paused).
    Hide,
    /// Take it as alive (while a data set is loaded or a primary's stream is applied).
    Ignore,
}

/// How a look-up counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The access bits move.
    Yes,
    /// They stay (`OBJECT`, `TTL`, `CLIENT NO-TOUCH`).
    No,
}

/// All databases.
pub struct Keyspace {
    dbs: Vec<Db>,
    seed: HashSeed,
    tags: TagPool,
    lazy: LazyFree,
    pub access: AccessPolicy,
    pub expire_rule: ExpireRule,
    /// Keys removed because their time had passed, since the last reset.
    pub expired_keys: u64,
    /// Whether removals of expired keys are timed (the latency monitor is on).
    pub measures_removals: bool,
    longest_removal: Duration,
    resize: ResizePolicy,
    cycle: ExpireCycle,
    pool: EvictionPool,
    /// Where table maintenance goes on; none when it is done.
    maintenance: Option<Maintenance>,
}

impl Keyspace {
    /// `databases` empty databases, keyed by `seed`.
    ///
    /// # Errors
    /// When the lazy-free thread cannot be started.
    pub fn new(databases: usize, seed: HashSeed) -> std::io::Result<Self> {
        let tags = TagPool::default();
        Ok(Keyspace {
            dbs: (0..databases).map(|_| Db::new(seed, tags.take(), ResizePolicy::Allow)).collect(),
            seed,
            tags,
            lazy: LazyFree::start()?,
            access: AccessPolicy::default(),
            expire_rule: ExpireRule::Remove,
            expired_keys: 0,
            measures_removals: false,
            longest_removal: Duration::ZERO,
            resize: ResizePolicy::Allow,
            cycle: ExpireCycle::default(),
            pool: EvictionPool::default(),
            maintenance: None,
        })
    }

    /// What keys the hashes of all tables.
    pub fn seed(&self) -> HashSeed {
        self.seed
    }

    /// The hash of a key in every database.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.seed.hash(key)
    }

    #[inline]
    pub fn db(&self, index: usize) -> &Db {
        &self.dbs[index]
    }

    #[inline]
    pub fn db_mut(&mut self, index: usize) -> &mut Db {
        &mut self.dbs[index]
    }

    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// Keys in all databases.
    pub fn total_keys(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    pub fn lazy(&self) -> &LazyFree {
        &self.lazy
    }

    pub fn lazy_mut(&mut self) -> &mut LazyFree {
        &mut self.lazy
    }

    /// The index of the database whose table has this tag.
    pub fn db_of_tag(&self, tag: u8) -> Option<usize> {
        self.dbs.iter().position(|db| db.tag() == tag)
    }

    /// Looks a key up for reading or writing. An expired key is treated by the expire rule.
    #[inline]
    pub fn find(
        &mut self,
        db: usize,
        hash: u64,
        key: &[u8],
        now_ms: i64,
        touch: Touch,
        effects: &mut Effects,
    ) -> Option<EntryView<'_>> {
        let word = self.locate(db, hash, key, now_ms, touch, effects)?;
        Some(self.dbs[db].view_of(word))
    }

    /// As [`Keyspace::find`], giving the entry's word.
    #[inline]
    pub fn locate(
        &mut self,
        db: usize,
        hash: u64,
        key: &[u8],
        now_ms: i64,
        touch: Touch,
        effects: &mut Effects,
    ) -> Option<EntryWord> {
        let word = self.dbs[db].find_word(hash, key)?;
        let view = self.dbs[db].view_of(word);
        let (expiry, bits) = (view.expiry_ms(), view.access());
        if let Some(expiry) = expiry
            && now_ms > expiry
            && self.hide_expired(db, hash, key, effects)
        {
            return None;
        }
        if touch == Touch::Yes
            && let Some(bits) = self.access.touched(bits)
        {
            self.dbs[db].set_access_of(word, bits);
        }
        Some(word)
    }

    /// Treats a key whose time has passed; true when it is to be seen as missing.
    #[cold]
    fn hide_expired(&mut self, db: usize, hash: u64, key: &[u8], effects: &mut Effects) -> bool {
        match self.expire_rule {
            ExpireRule::Ignore => false,
            ExpireRule::Hide => true,
            ExpireRule::Remove => {
                self.expire(db, hash, key, effects);
                true
            }
        }
    }

    /// Removes an expired key and reports it.
    fn expire(&mut self, db: usize, hash: u64, key: &[u8], effects: &mut Effects) {
        let start = self.measures_removals.then(Instant::now);
        if let Some(value) = self.dbs[db].remove(hash, key) {
            self.expired_keys += 1;
            effects.push(Effect::Expired { db, key: key.into() });
            self.free(value, true);
        }
        if let Some(start) = start {
            self.longest_removal = self.longest_removal.max(start.elapsed());
        }
    }

    /// The longest removal of an expired key since the last call, as far as they were timed.
    pub fn take_longest_removal(&mut self) -> Duration {
        std::mem::take(&mut self.longest_removal)
    }

    /// Whether a key is there and alive, with no side effect at all.
    pub fn exists_quietly(&self, db: usize, hash: u64, key: &[u8], now_ms: i64) -> bool {
        self.dbs[db]
            .find(hash, key)
            .is_some_and(|view| view.expiry_ms().is_none_or(|expiry| now_ms <= expiry))
    }

    /// Adds or overwrites a key and frees what it held, whatever the time is (loads).
    /// Returns whether the key was there.
    pub fn set(
        &mut self,
        db: usize,
        hash: u64,
        key: &[u8],
        value: NewValue<'_>,
        expiry: ExpiryChange,
    ) -> bool {
        self.set_at(db, hash, key, value, expiry, i64::MIN, &mut Effects::default())
    }

    /// As [`Keyspace::set`] at `now_ms`: a key whose time has passed is reported as
    /// expired and counts as missing. Returns whether the key was there.
    #[inline]
    #[allow(
        clippy::too_many_arguments,
        reason = "a key's place, its new state, the time and where to report"
    )]
    pub fn set_at(
        &mut self,
        db: usize,
        hash: u64,
        key: &[u8],
        value: NewValue<'_>,
        expiry: ExpiryChange,
        now_ms: i64,
        effects: &mut Effects,
    ) -> bool {
        let access =
            if self.access.lfu { self.access_of_overwrite(db, hash, key) } else { self.access.fresh() };
        let before = self.dbs[db].set(hash, key, value, expiry, access, self.access.spares_overwritten());
        if before.dropped.is_some() {
            self.free(before.dropped, true);
        }
        if before.expiry_ms.is_some_and(|expiry_ms| now_ms > expiry_ms)
            && self.expire_rule == ExpireRule::Remove
        {
            self.expired_keys += 1;
            effects.push(Effect::Expired { db, key: key.into() });
            return false;
        }
        before.existed
    }

    /// Adds a key that is not there, without an expiry. Its word is good until the next change.
    pub fn add(&mut self, db: usize, hash: u64, key: &[u8], value: NewValue<'_>) -> EntryWord {
        let access = self.access.fresh();
        self.dbs[db].insert(hash, key, value, None, access)
    }

    /// An overwritten key keeps its frequency and counts one access more.
    fn access_of_overwrite(&mut self, db: usize, hash: u64, key: &[u8]) -> u32 {
        match self.dbs[db].find(hash, key).map(|view| view.access()) {
            Some(bits) => self.access.written(bits),
            None => self.access.fresh(),
        }
    }

    /// Removes a key; `lazily` sends big values to the lazy-free thread. Returns whether it was there.
    pub fn remove(&mut self, db: usize, hash: u64, key: &[u8], lazily: bool) -> bool {
        let Some(value) = self.dbs[db].remove(hash, key) else { return false };
        self.free(value, lazily);
        true
    }

    /// Drops a value, or sends it away when that takes long and the caller allows it. A value that
    /// would stop the server for longer than a request may wait goes to the thread in any case.
    pub fn free(&self, value: Option<Value>, lazily: bool) {
        let Some(value) = value else { return };
        if lazily && is_big(&value) || value.free_effort() >= HUGE_EFFORT_MIN {
            self.lazy.send(Garbage::of_value(value));
        }
    }

    /// Empties one database. With `lazily` the old table is freed by the lazy-free thread.
    /// Returns how many keys went.
    pub fn flush(&mut self, db: usize, lazily: bool) -> usize {
        let fresh = self.fresh_db();
        let old = std::mem::replace(&mut self.dbs[db], fresh);
        let count = old.len();
        if lazily && count > 0 {
            self.lazy.send(Garbage::Db(Box::new(old)));
        }
        count
    }

    /// An empty database that keeps the current resize policy.
    fn fresh_db(&self) -> Db {
        Db::new(self.seed, self.tags.take(), self.resize)
    }

    /// Exchanges the contents of two databases. O(1).
    pub fn swap(&mut self, first: usize, second: usize) {
        self.dbs.swap(first, second);
    }

    /// Empty databases, as many as there are: to be filled beside them.
    pub fn fresh_dbs(&self) -> Vec<Db> {
        (0..self.dbs.len()).map(|_| self.fresh_db()).collect()
    }

    /// Exchanges all databases with others made by [`Keyspace::fresh_dbs`]. O(1).
    pub fn exchange(&mut self, dbs: &mut Vec<Db>) {
        debug_assert_eq!(dbs.len(), self.dbs.len());
        std::mem::swap(&mut self.dbs, dbs);
    }

    /// Frees databases that are not in use any more, in the lazy-free thread.
    pub fn discard(&mut self, dbs: Vec<Db>) {
        for db in dbs {
            if !db.is_empty() {
                self.lazy.send(Garbage::Db(Box::new(db)));
            }
        }
    }

    /// Sets how tables may change their size; `Avoid` while a child lives.
    pub fn set_resize_policy(&mut self, policy: ResizePolicy) {
        if policy == ResizePolicy::Allow && self.resize != policy {
            self.maintenance = Some(Maintenance::default());
        }
        self.resize = policy;
        set_collection_resize_policy(policy);
        for db in &mut self.dbs {
            db.set_resize_policy(policy);
        }
    }

    /// Makes room for `keys` keys in an empty database. Should fewer come, maintenance gives the rest back.
    pub fn reserve(&mut self, db: usize, keys: usize) {
        self.dbs[db].reserve(keys);
        self.maintenance = Some(Maintenance::default());
    }

    /// One step of table maintenance (`activerehashing`): after a child, under which no table could be
    /// resized, and after a load, tables are looked through until there is nothing left to mend, so that
    /// they catch up even when nobody writes to them. At most one segment is rebuilt. Returns whether
    /// there is more to look at.
    pub fn maintain(&mut self) -> bool {
        let Some(mut at) = self.maintenance else { return false };
        self.maintenance = match self.dbs.get_mut(at.db) {
            Some(db) => {
                let (table, resolver) = db.table_and_resolver();
                let (position, rebuilt) = table.maintain(at.position, resolver);
                at.position = position;
                at.db += usize::from(position == 0);
                at.rebuilt |= rebuilt;
                Some(at)
            }
            // One look splits a segment once: the halves may still be too full.
            None => at.rebuilt.then(Maintenance::default),
        };
        self.maintenance.is_some()
    }

    /// Active expiry: removes keys whose time has passed until none is left that is due, or until
    /// `budget_us` have been spent. Returns whether the time ran out.
    pub fn active_expire(&mut self, now_ms: i64, budget_us: u64, effects: &mut Effects) -> bool {
        if self.expire_rule != ExpireRule::Remove {
            return false;
        }
        let mut cycle = std::mem::take(&mut self.cycle);
        let timed_out = cycle.run(self, now_ms, budget_us, effects);
        self.cycle = cycle;
        timed_out
    }
}

/// A look through all tables, segment by segment.
#[derive(Clone, Copy, Debug, Default)]
struct Maintenance {
    db: usize,
    /// The next segment, in hash order.
    position: u64,
    /// Something was mended on this round.
    rebuilt: bool,
}

/// Whether freeing `value` takes long enough to be worth a trip to another thread.
fn is_big(value: &Value) -> bool {
    let bytes = match value.as_ref() {
        ValueRef::String(StrRef::Large(bytes)) => bytes.len(),
        _ => 0,
    };
    value.free_effort() >= LAZY_EFFORT_MIN || bytes >= LAZY_BYTES_MIN
}

#[cfg(test)]
mod tests {
    use super::{ExpiryChange, Keyspace, NewValue, ResizePolicy};
    use crate::base::hash::HashSeed;

    fn fill(keyspace: &mut Keyspace, keys: usize) {
        for number in 0..keys {
            let key = format!("key:{number}");
            let hash = keyspace.hash(key.as_bytes());
            keyspace.set(0, hash, key.as_bytes(), NewValue::Encoded(b"v"), ExpiryChange::Clear);
        }
    }

    fn maintain(keyspace: &mut Keyspace) -> usize {
        std::iter::from_fn(|| keyspace.maintain().then_some(())).count()
    }

    #[test]
    fn tables_are_looked_through_after_a_child_and_after_a_load() {
        let seed = HashSeed::from_os().expect("the system has random numbers");
        let mut keyspace = Keyspace::new(2, seed).expect("the lazy-free thread starts");
        assert!(!keyspace.maintain(), "nothing to do at the start");

        keyspace.reserve(0, 1_000_000);
        fill(&mut keyspace, 1000);
        let reserved_bytes = keyspace.db(0).table_memory_bytes();
        // One rebuild a step: many steps, and then rest.
        assert!(maintain(&mut keyspace) > 10);
        assert!(!keyspace.maintain());
        let kept_bytes = keyspace.db(0).table_memory_bytes();
        assert!(kept_bytes * 10 < reserved_bytes, "{kept_bytes} of {reserved_bytes}");

        keyspace.set_resize_policy(ResizePolicy::Avoid);
        fill(&mut keyspace, 50_000);
        assert!(!keyspace.maintain(), "not beside a child");
        let crowded_bytes = keyspace.db(0).table_memory_bytes();
        keyspace.set_resize_policy(ResizePolicy::Allow);
        assert!(maintain(&mut keyspace) > 1);
        assert!(keyspace.db(0).table_memory_bytes() > crowded_bytes);
        let load = keyspace.db(0).table().stats().load();
        assert!(load < 1.0, "no segment is left too full: {load}");
        keyspace.set_resize_policy(ResizePolicy::Allow);
        assert!(!keyspace.maintain(), "nothing has changed");
    }
}
