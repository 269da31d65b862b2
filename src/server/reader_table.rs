//! Which clients have read which keys: the table behind client-side caching.
//!
//! ```text
//!  hash of the name ─► one of 1,024 small hash tables ─► name ─► one reader, or a set of them
//! ```
//! One big table would stop the server while it grows (20 ms and more at a million names); a small
//! one of a thousand names grows in some 20 us. Names to be forgotten are taken from the tables in
//! turn, so each is as likely. A table that was emptied is freed a shard at a time.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};

/// Small tables: a thousand names each at the default limit of a million.
const SHARDS: usize = 1024;

type Shard = HashMap<Box<[u8]>, Readers>;

/// Who read a key. Nearly always one.
#[derive(Debug)]
enum Readers {
    One(u64),
    #[expect(clippy::box_collection, reason = "boxed, so that the common case takes 16 bytes")]
    Many(Box<BTreeSet<u64>>),
}

impl Readers {
    /// Returns whether the client is new here.
    fn add(&mut self, id: u64) -> bool {
        match self {
            Readers::One(other) if *other == id => false,
            Readers::One(other) => {
                *self = Readers::Many(Box::new(BTreeSet::from([*other, id])));
                true
            }
            Readers::Many(ids) => ids.insert(id),
        }
    }

    fn into_ids(self) -> Vec<u64> {
        match self {
            Readers::One(id) => vec![id],
            Readers::Many(ids) => ids.into_iter().collect(),
        }
    }
}

/// Names with the ids of their readers. Takes no memory before the first one.
#[derive(Debug, Default)]
pub(super) struct ReaderTable {
    shards: Vec<Shard>,
    names: usize,
    items: usize,
    next_shard: usize,
    /// Shards of an emptied table, to be freed a few at a time.
    doomed: Vec<Shard>,
}

impl ReaderTable {
    pub fn names(&self) -> usize {
        self.names
    }

    /// Pairs of name and reader.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Adds a reader of a name whose hash is `hash`.
    pub fn remember(&mut self, hash: u64, name: &[u8], id: u64) {
        if self.shards.is_empty() {
            let state = RandomState::new();
            self.shards.resize_with(SHARDS, || HashMap::with_hasher(state.clone()));
        }
        let shard = &mut self.shards[hash as usize % SHARDS];
        let is_new_item = match shard.get_mut(name) {
            Some(readers) => readers.add(id),
            None => {
                self.names += 1;
                shard.insert(name.into(), Readers::One(id)).is_none()
            }
        };
        self.items += usize::from(is_new_item);
    }

    /// Takes a name out, with who read it.
    pub fn forget(&mut self, hash: u64, name: &[u8]) -> Vec<u64> {
        let shard = self.shards.get_mut(hash as usize % SHARDS);
        let Some(readers) = shard.and_then(|shard| shard.remove(name)) else { return Vec::new() };
        self.taken(readers)
    }

    /// Takes out some name, from the shards in turn.
    pub fn take_any(&mut self) -> Option<(Box<[u8]>, Vec<u64>)> {
        if self.names == 0 {
            return None;
        }
        loop {
            self.next_shard = (self.next_shard + 1) % SHARDS;
            let shard = &mut self.shards[self.next_shard];
            let Some(name) = shard.keys().next().cloned() else { continue };
            let readers = shard.remove(&name)?;
            return Some((name, self.taken(readers)));
        }
    }

    fn taken(&mut self, readers: Readers) -> Vec<u64> {
        let ids = readers.into_ids();
        self.names -= 1;
        self.items -= ids.len();
        ids
    }

    /// Forgets everything; the memory goes with [`ReaderTable::free_some`].
    pub fn clear(&mut self) {
        self.doomed.append(&mut self.shards);
        (self.names, self.items) = (0, 0);
    }

    /// Frees at most `shards` shards of tables that were emptied.
    pub fn free_some(&mut self, shards: usize) {
        self.doomed.truncate(self.doomed.len().saturating_sub(shards));
    }
}

#[cfg(test)]
mod tests {
    use super::{ReaderTable, SHARDS};

    /// Spreads well enough for a test.
    fn hash(name: &[u8]) -> u64 {
        name.iter().fold(7, |hash, byte| hash * 31 + u64::from(*byte))
    }

    #[test]
    fn items_are_pairs_and_go_with_their_name() {
        let mut table = ReaderTable::default();
        assert_eq!(table.forget(hash(b"a"), b"a"), [0; 0]);
        for (name, id) in [(&b"a"[..], 1), (b"a", 1), (b"a", 2), (b"a", 2), (b"b", 1)] {
            table.remember(hash(name), name, id);
        }
        assert_eq!((table.names(), table.items()), (2, 3));
        assert_eq!(table.forget(hash(b"a"), b"a"), [1, 2]);
        assert_eq!(table.forget(hash(b"a"), b"a"), [0; 0]);
        assert_eq!((table.names(), table.items()), (1, 1));
    }

    #[test]
    fn every_name_is_taken_once() {
        let mut table = ReaderTable::default();
        let names: Vec<Vec<u8>> = (0..3000_u32).map(|number| number.to_string().into_bytes()).collect();
        for name in &names {
            table.remember(hash(name), name, 9);
        }
        let mut taken: Vec<Vec<u8>> = Vec::new();
        while let Some((name, ids)) = table.take_any() {
            assert_eq!(ids, [9]);
            taken.push(name.to_vec());
        }
        taken.sort_by_key(|name| (name.len(), name.clone()));
        assert_eq!(taken, names);
        assert_eq!((table.names(), table.items()), (0, 0));
    }

    #[test]
    fn an_emptied_table_is_freed_in_steps_and_used_again() {
        let mut table = ReaderTable::default();
        table.remember(1, b"old", 1);
        table.clear();
        table.remember(1, b"new", 1);
        assert_eq!((table.names(), table.doomed.len()), (1, SHARDS));
        table.free_some(SHARDS - 1);
        assert_eq!(table.doomed.len(), 1);
        table.free_some(5);
        assert_eq!((table.doomed.len(), table.forget(1, b"new")), (0, vec![1]));
    }
}
