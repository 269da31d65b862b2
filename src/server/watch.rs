//! WATCH: which clients watch which keys.

use crate::server::client::{ClientRef, WatchedKey};
use std::collections::HashMap;

/// Watchers by key. Empty nearly always, so the check in the write path is one comparison.
#[derive(Debug, Default)]
pub struct Watches {
    by_key: HashMap<WatchedKey, Vec<ClientRef>>,
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

    pub fn add(&mut self, watched: WatchedKey, client: ClientRef) {
        self.by_key.entry(watched).or_default().push(client);
    }

    pub fn remove(&mut self, watched: &WatchedKey, client: ClientRef) {
        if let Some(clients) = self.by_key.get_mut(watched) {
            clients.retain(|other| *other != client);
            if clients.is_empty() {
                self.by_key.remove(watched);
            }
        }
    }

    /// Who watches this key.
    pub fn watchers(&self, db: usize, key: &[u8]) -> &[ClientRef] {
        // A borrowed look-up would need an own key type; this path runs only while somebody watches.
        self.by_key.get(&WatchedKey { db, key: key.into() }).map_or(&[], Vec::as_slice)
    }

    /// All watched keys of a database.
    pub fn of_db(&self, db: usize) -> impl Iterator<Item = (&WatchedKey, &[ClientRef])> {
        self.by_key.iter().filter(move |(watched, _)| watched.db == db).map(|(key, clients)| (key, clients.as_slice()))
    }
}
