//! The big hash: fields in blocks of their own under one hash table.
//!
//! Owns the blocks and the table over them.
//!
//! ```text
//!  FieldTable [ Table<u64> | seed | bytes of the blocks ]
//!                  |
//!                  +-> word: address of a block | 1 where the field expires
//!                                |
//!                                +-> [ expiry? | lengths | field | value ]   (`block`)
//! ```
//!
//! Trade-off, in numbers: a field of 16 bytes with a value of 32 takes a block of 56 bytes and
//! 14.3 of table, about 71 (Redis: two strings and an entry, 102). A new value is copied over the
//! old one while its size class stays, else the block moves. Fields that expire pay 8 bytes each;
//! when they are due is kept by the table's segments (`ds::table::expiry`), which cost nothing
//! where no field expires.
//!
//! Order is that of the keyed hashes: SCAN's cursor is a position in it and outlives growth.
#![allow(unsafe_code)]

mod block;
#[cfg(test)]
mod tests;

use crate::base::hash::HashSeed;
use crate::ds::table::{self, ResizePolicy, Resolver, Table, TableStats, prefetch};
use crate::sys::data_alloc::Mover;
use block::Block;

pub use block::Field;

/// What a write does to a field's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldExpiry {
    Keep,
    Clear,
    /// Unix ms.
    At(i64),
}

impl FieldExpiry {
    /// The expiry after a write to a field that had `old`.
    #[inline]
    pub fn after(self, old: Option<i64>) -> Option<i64> {
        match self {
            FieldExpiry::Keep => old,
            FieldExpiry::Clear => None,
            FieldExpiry::At(at_ms) => Some(at_ms),
        }
    }
}

/// A hash of many or long fields.
pub struct FieldTable {
    table: Table<u64>,
    seed: HashSeed,
    /// Bytes of the allocator's classes that the blocks occupy.
    block_bytes: usize,
}

/// Answers the table's questions about its words.
struct Fields {
    seed: HashSeed,
}

/// The block behind a word of a live table.
#[inline(always)]
fn block(word: u64) -> Block {
    // SAFETY: only words of blocks that the table owns are put into it, they are freed after they
    // were taken out, and this module hands no word out.
    unsafe { Block::of_word(word) }
}

#[inline(always)]
fn name_is(word: u64, name: &[u8]) -> bool {
    // SAFETY: the block lives while the table holds its word, and nothing changes it here.
    unsafe { block(word).name() == name }
}

/// The table's clock starts at 0; an expiry before that has passed at any time.
#[inline(always)]
fn table_time(expiry_ms: i64) -> u64 {
    expiry_ms.max(0) as u64
}

impl Resolver<u64> for Fields {
    #[inline(always)]
    fn hash(&self, word: u64) -> u64 {
        // SAFETY: as in `name_is`.
        self.seed.hash(unsafe { block(word).name() })
    }

    #[inline(always)]
    fn expiry_ms(&self, word: u64) -> Option<u64> {
        // SAFETY: as in `name_is`.
        unsafe { block(word).expiry_ms() }.map(table_time)
    }

    #[inline(always)]
    fn prefetch(&self, word: u64) {
        prefetch(block(word).address());
    }

    #[inline(always)]
    fn resize_policy(&self) -> ResizePolicy {
        table::collection_resize_policy()
    }
}

impl FieldTable {
    /// An empty table whose order follows from `seed`.
    pub fn new(seed: HashSeed) -> Self {
        FieldTable { table: Table::new(), seed, block_bytes: 0 }
    }

    /// Sizes the table for `len` fields.
    pub fn reserve(&mut self, len: usize) {
        self.table.reserve(len);
    }

    /// Fields, those whose time has passed included.
    #[inline]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Fields with an expiry.
    #[inline]
    pub fn volatile_len(&self) -> usize {
        self.table.volatile_len()
    }

    /// Bytes of the data region: table and blocks, without the `FieldTable` itself. O(1).
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.block_bytes
    }

    /// The shape of the table; walks all of it.
    pub fn stats(&self) -> TableStats {
        self.table.stats()
    }

    /// The hash of a field's name in this table.
    #[inline]
    pub fn hash(&self, name: &[u8]) -> u64 {
        self.seed.hash(name)
    }

    /// First stage of a batch of look-ups: starts loading a bucket.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.table.prefetch_bucket(hash);
    }

    /// Second stage: starts loading the blocks that a look-up will compare.
    #[inline]
    pub fn prefetch_field(&self, hash: u64) {
        self.table.prefetch_matches(hash, &self.resolver());
    }

    #[inline(always)]
    fn resolver(&self) -> Fields {
        Fields { seed: self.seed }
    }

    /// Looks a field up, whose name has this hash. O(1).
    #[inline]
    pub fn get_hashed(&self, hash: u64, name: &[u8]) -> Option<Field<'_>> {
        let word = self.table.find(hash, |word| name_is(word, name))?;
        // SAFETY: the block lives and stays as it is while the table is borrowed.
        Some(unsafe { block(word).field() })
    }

    /// Looks a field up. O(1).
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        self.get_hashed(self.hash(name), name)
    }

    /// Adds or overwrites a field whose name has this hash; true: it was added. O(1), amortised.
    #[inline]
    pub fn set_hashed(&mut self, hash: u64, name: &[u8], value: &[u8], expiry: FieldExpiry) -> bool {
        let Some(place) = self.table.find_mut(hash, |word| name_is(word, name)) else {
            self.insert_new(hash, name, value, expiry.after(None));
            return true;
        };
        let old = block(*place);
        // SAFETY: the table owns the block alone, and its word is replaced at once. `value` is the
        // caller's: a view of this table cannot live while it is borrowed mutably.
        let (before, after) = unsafe {
            let before = old.expiry_ms();
            let after = expiry.after(before);
            let old_bytes = old.allocated_bytes();
            let new = old.overwrite(value, after);
            self.block_bytes = self.block_bytes - old_bytes + new.allocated_bytes();
            *place = new.word();
            (before, after)
        };
        if before != after {
            self.table.expiry_changed(hash, before.map(table_time), after.map(table_time));
        }
        false
    }

    /// Adds or overwrites a field; true: it was added. O(1), amortised.
    #[inline]
    pub fn set(&mut self, name: &[u8], value: &[u8], expiry: FieldExpiry) -> bool {
        self.set_hashed(self.hash(name), name, value, expiry)
    }

    fn insert_new(&mut self, hash: u64, name: &[u8], value: &[u8], expiry_ms: Option<i64>) {
        let fresh = Block::create(name, value, expiry_ms);
        // SAFETY: just made.
        self.block_bytes += unsafe { fresh.allocated_bytes() };
        let resolver = self.resolver();
        self.table.insert(hash, fresh.word(), &resolver);
    }

    /// Sets or drops the expiry of a field. Returns the old one; `None`: there is no such field.
    pub fn set_expiry(&mut self, name: &[u8], expiry_ms: Option<i64>) -> Option<Option<i64>> {
        let hash = self.hash(name);
        let place = self.table.find_mut(hash, |word| name_is(word, name))?;
        let old = block(*place);
        // SAFETY: the table owns the block alone, and its word is replaced at once.
        let before = unsafe {
            let before = old.expiry_ms();
            let old_bytes = old.allocated_bytes();
            let new = old.set_expiry(expiry_ms);
            self.block_bytes = self.block_bytes - old_bytes + new.allocated_bytes();
            *place = new.word();
            before
        };
        self.table.expiry_changed(hash, before.map(table_time), expiry_ms.map(table_time));
        Some(before)
    }

    /// Removes a field; false: there is none. O(1), amortised.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        self.remove_hashed(self.hash(name), name)
    }

    /// Removes a field whose name has this hash; false: there is none.
    pub fn remove_hashed(&mut self, hash: u64, name: &[u8]) -> bool {
        let resolver = self.resolver();
        let removed = self.table.remove(hash, |word| name_is(word, name), &resolver);
        removed.map(|word| self.free(word)).is_some()
    }

    /// Frees the block of a word that was taken out of the table.
    fn free(&mut self, word: u64) {
        // SAFETY: the table held the word once and no longer does.
        unsafe {
            self.block_bytes -= block(word).allocated_bytes();
            block(word).free();
        }
    }

    /// All fields, in hash order.
    pub fn iter(&self) -> FieldIter<'_> {
        FieldIter { words: self.table.iter(), ahead: [0; LOOK_AHEAD_FIELDS], next: 0, filled: 0 }
    }

    /// One step of HSCAN; see [`Table::scan`].
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Field<'_>)) -> u64 {
        // SAFETY: the blocks live and stay as they are while the table is borrowed.
        self.table.scan(cursor, |word| visit(unsafe { block(word).field() }))
    }

    /// A field chosen with equal chances; see [`Table::random`].
    pub fn random(&self, rng: &mut fastrand::Rng) -> Option<Field<'_>> {
        // SAFETY: as in `scan`.
        self.table.random(rng).map(|word| unsafe { block(word).field() })
    }

    /// A lower bound of all expiry times, Unix ms; `None` where no field expires. O(segments).
    pub fn earliest_expiry_ms(&self) -> Option<i64> {
        let earliest = self.table.earliest_expiry_ms();
        (self.volatile_len() > 0).then_some(i64::try_from(earliest).unwrap_or(i64::MAX))
    }

    /// Removes up to `max` fields whose time has passed (before `now_ms`) and calls `visit` with
    /// the name of each. Returns how many there were: fewer than `max` mean that none is left.
    pub fn take_due(&mut self, now_ms: i64, max: usize, mut visit: impl FnMut(&[u8])) -> usize {
        let (mut taken, mut position) = (0, 0);
        let resolver = self.resolver();
        // The table counts a time that is reached as due, a field expires after its time.
        let Some(now) = now_ms.checked_sub(1).and_then(|now_ms| u64::try_from(now_ms).ok()) else { return 0 };
        let mut due = [0u64; DUE_PER_STEP];
        while taken < max && self.volatile_len() > 0 {
            let mut found = 0;
            let room = DUE_PER_STEP.min(max - taken);
            let step = self.table.visit_due(now, position, &resolver, |word| {
                let takes = found < room;
                if takes {
                    due[found] = word;
                    found += 1;
                }
                takes
            });
            for &word in &due[..found] {
                // SAFETY: the word was just seen in the table and is removed once.
                let name = unsafe { block(word).name() };
                visit(name);
                let hash = self.seed.hash(name);
                self.table.remove(hash, |other| other == word, &resolver);
                self.free(word);
            }
            taken += found;
            if step.due > found {
                // The chain holds more than one step takes: the same bucket again.
                continue;
            }
            position = step.next_position;
            if position == 0 {
                break;
            }
        }
        taken
    }

    /// Empties the table and calls `pause` now and then.
    pub fn clear_pausing(&mut self, pause: &mut dyn FnMut()) {
        // SAFETY: each word comes once, and the table is empty before the first one does.
        self.table.drain_pausing(|word| unsafe { block(word).free() }, pause);
        self.block_bytes = 0;
    }

    /// One step of defragmentation: the bucket at `position` in hash order. Returns the next
    /// position, 0 at the end.
    pub fn relocate(&mut self, position: u64, mover: &mut Mover) -> u64 {
        let resolver = self.resolver();
        // SAFETY: the table owns its blocks alone, and the word it holds is replaced.
        self.table.relocate(position, mover, &resolver, |word, mover| unsafe {
            block(word).relocate(mover).map(Block::word)
        })
    }

    /// Checks what must always hold.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check_invariants(&self) {
        self.table.check_invariants(&self.resolver());
        // SAFETY: as in `scan`.
        let bytes: usize = self.table.iter().map(|word| unsafe { block(word).allocated_bytes() }).sum();
        assert_eq!(bytes, self.block_bytes, "bytes of the blocks");
    }
}

/// Blocks loaded ahead of the iterator: hides a memory access of 100 ns behind eight fields.
const LOOK_AHEAD_FIELDS: usize = 8;

/// The fields of a table, in hash order.
pub struct FieldIter<'a> {
    words: table::Iter<'a, u64>,
    /// Words whose blocks are being loaded, those from `next` to `filled`.
    ahead: [u64; LOOK_AHEAD_FIELDS],
    next: usize,
    filled: usize,
}

impl FieldIter<'_> {
    #[inline]
    fn fill(&mut self) {
        (self.next, self.filled) = (0, 0);
        for word in self.words.by_ref().take(LOOK_AHEAD_FIELDS) {
            prefetch(block(word).address());
            self.ahead[self.filled] = word;
            self.filled += 1;
        }
    }
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        if self.next == self.filled {
            self.fill();
            if self.filled == 0 {
                return None;
            }
        }
        let word = self.ahead[self.next];
        self.next += 1;
        // SAFETY: the blocks live and stay as they are while the table is borrowed for `'a`.
        Some(unsafe { block(word).field() })
    }
}

/// Due fields of one bucket taken at a time; a chain is rarely longer.
const DUE_PER_STEP: usize = 32;

impl Drop for FieldTable {
    fn drop(&mut self) {
        self.clear_pausing(&mut || {});
    }
}

impl Clone for FieldTable {
    /// A deep copy in the same order.
    fn clone(&self) -> Self {
        let mut copy = FieldTable::new(self.seed);
        copy.reserve(self.len());
        for field in self.iter() {
            copy.insert_new(self.hash(field.name), field.name, field.value, field.expiry_ms);
        }
        copy
    }
}

impl PartialEq for FieldTable {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|field| other.get(field.name) == Some(field))
    }
}

impl Eq for FieldTable {}

impl std::fmt::Debug for FieldTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "FieldTable({} fields)", self.len())
    }
}
