//! WATCH and the transaction's state: which clients watch which keys, and what marks them.
//!
//! A watched key whose time had passed already when WATCH was called counts as missing: that it
//! is removed later changes nothing for its watcher (Redis 7.2's `wk->expired`).

use crate::server::Server;
use crate::server::client::{ClientRef, Transaction, WatchedKey};
use std::collections::HashMap;

/// One client at one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watcher {
    pub client: ClientRef,
    /// The key was there but expired when the client began to watch it.
    pub expired: bool,
}

/// A transaction that is over lends its blocks to the next one, when it is no larger than this, bytes.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// Watchers by key. Empty nearly always, so the check in the write path is one comparison.
#[derive(Debug, Default)]
pub struct Watches {
    by_key: HashMap<WatchedKey, Vec<Watcher>>,
    /// What the last transaction had, empty.
    spare: Option<Box<Transaction>>,
}

impl Watches {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Keys watched (`watching` figures).
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    pub fn add(&mut self, watched: WatchedKey, watcher: Watcher) {
        self.by_key.entry(watched).or_default().push(watcher);
    }

    pub fn remove(&mut self, watched: &WatchedKey, client: ClientRef) {
        if let Some(watchers) = self.by_key.get_mut(watched) {
            watchers.retain(|other| other.client != client);
            if watchers.is_empty() {
                self.by_key.remove(watched);
            }
        }
    }

    /// Whether `client` watches this key as one that was expired already.
    fn is_expired_for(&self, watched: &WatchedKey, client: ClientRef) -> bool {
        let watchers = self.by_key.get(watched).into_iter().flatten();
        watchers.into_iter().any(|watcher| watcher.client == client && watcher.expired)
    }
}

/// What a database's flush or exchange does to one watched key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Untouched,
    Touched,
    /// Watchers see no change, but remember from now on whether the key is expired.
    Expired(bool),
}

impl Server {
    /// Begins to watch a key for a client; watching twice is watching once.
    pub fn watch(&mut self, reference: ClientRef, db: usize, key: &[u8]) {
        let expired = self.is_expired(db, key);
        let watched = WatchedKey { db, key: key.into() };
        let Some(client) = self.clients.get_mut(reference) else { return };
        if client.watched.contains(&watched) {
            return;
        }
        client.watched.push(watched.clone());
        self.watches.add(watched, Watcher { client: reference, expired });
    }

    /// Forgets the keys a client watches.
    pub fn unwatch_all(&mut self, reference: ClientRef) {
        let Some(client) = self.clients.get_mut(reference) else { return };
        client.watch_dirty = false;
        for watched in std::mem::take(&mut client.watched) {
            self.watches.remove(&watched, reference);
        }
    }

    /// What MULTI gives its client.
    pub fn empty_transaction(&mut self) -> Box<Transaction> {
        self.watches.spare.take().unwrap_or_default()
    }

    /// A transaction is over: the next one need not allocate.
    pub fn reuse_transaction(&mut self, mut transaction: Box<Transaction>) {
        if transaction.queue.memory_bytes() <= SPARE_BYTES_MAX {
            transaction.queue.clear();
            let queue = std::mem::take(&mut transaction.queue);
            *transaction = Transaction { queue, ..Transaction::default() };
            self.watches.spare = Some(transaction);
        }
    }

    /// Ends MULTI and forgets the watched keys; hands out what was queued.
    pub fn discard_transaction(&mut self, reference: ClientRef) -> Option<Box<Transaction>> {
        self.unwatch_all(reference);
        let client = self.clients.get_mut(reference)?;
        client.transaction.take()
    }

    /// Whether a key that was alive at WATCH time has expired since (it need not be removed yet).
    pub fn watched_key_expired(&self, reference: ClientRef) -> bool {
        let watched = self.clients.get(reference).map_or(&[][..], |client| &client.watched);
        watched.iter().any(|watched| {
            !self.watches.is_expired_for(watched, reference) && self.is_expired(watched.db, &watched.key)
        })
    }

    /// Marks the transactions that watch this key.
    #[cold]
    pub(super) fn mark_watchers(&mut self, db: usize, key: &[u8]) {
        let watched = WatchedKey { db, key: key.into() };
        let (gone, still_expired) = (!self.is_stored(db, key), self.is_expired(db, key));
        let Some(watchers) = self.watches.by_key.get_mut(&watched) else { return };
        for watcher in watchers {
            if watcher.expired && (gone || still_expired) {
                // A key that was missing already has been removed, or is missing still.
                watcher.expired = still_expired;
            } else if let Some(client) = self.clients.get_mut(watcher.client) {
                client.watch_dirty = true;
            }
        }
    }

    /// Marks who watches keys of a database that is about to be emptied (`replaced_by` is `None`)
    /// or exchanged with another. Call it before, for each of the two databases.
    pub fn touch_all_watched(&mut self, db: usize, replaced_by: Option<usize>) {
        let of_db = self.watches.by_key.keys().filter(|watched| watched.db == db);
        let watched: Vec<WatchedKey> = of_db.cloned().collect();
        for watched in watched {
            for index in 0..self.watches.by_key.get(&watched).map_or(0, Vec::len) {
                let watcher = self.watches.by_key[&watched][index];
                match self.fate(&watched, replaced_by, watcher.expired) {
                    Fate::Untouched => {}
                    Fate::Touched => {
                        if let Some(client) = self.clients.get_mut(watcher.client) {
                            client.watch_dirty = true;
                        }
                    }
                    Fate::Expired(expired) => {
                        if let Some(watchers) = self.watches.by_key.get_mut(&watched) {
                            watchers[index].expired = expired;
                        }
                    }
                }
            }
        }
    }

    fn fate(&self, watched: &WatchedKey, replaced_by: Option<usize>, was_expired: bool) -> Fate {
        let key = &watched.key;
        let here = self.is_stored(watched.db, key);
        let there = replaced_by.filter(|other| self.is_stored(*other, key));
        if !here && there.is_none() {
            return Fate::Untouched;
        }
        let there_expired = there.is_some_and(|other| self.is_expired(other, key));
        match (was_expired, there) {
            (true, None) => Fate::Expired(false),
            (true, Some(_)) if there_expired => Fate::Untouched,
            (false, Some(_)) if !here && there_expired => Fate::Expired(true),
            _ => Fate::Touched,
        }
    }

    /// Whether a key is in the table, expired or not.
    fn is_stored(&self, db: usize, key: &[u8]) -> bool {
        self.keyspace.db(db).find(self.keyspace.hash(key), key).is_some()
    }

    /// Whether a key is in the table although its time has passed.
    fn is_expired(&self, db: usize, key: &[u8]) -> bool {
        let hash = self.keyspace.hash(key);
        self.is_stored(db, key) && !self.keyspace.exists_quietly(db, hash, key, self.now_ms())
    }
}
