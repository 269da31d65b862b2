//! Which clients wait for which keys, and which keys have become ready.
//!
//! Only the tables; who is run again, and when, is decided by `crate::blocking`, which knows
//! dispatch. A client waits in the order of arrival at each of its keys.

use crate::server::client::ClientRef;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// A key of a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DbKey {
    pub db: usize,
    pub key: Box<[u8]>,
}

/// Tables of waiting clients.
#[derive(Debug, Default)]
pub struct BlockedClients {
    /// Waiting clients of each key, by their order.
    by_key: HashMap<DbKey, BTreeMap<u64, ClientRef>>,
    ready: Vec<DbKey>,
    /// Deadlines in order (monotonic ms, client slot, client id).
    deadlines: BTreeSet<(u64, u32, u64)>,
    last_order: u64,
    /// Place and deadline of the client whose command is being run again: kept if it blocks again.
    pub rerun: Option<(u64, Option<u64>)>,
    /// Clients blocked on anything (`blocked_clients`).
    pub count: usize,
    /// Clients whose command waits for the end of CLIENT PAUSE, in order.
    pub paused: VecDeque<ClientRef>,
    /// Clients that wait for acknowledgements (WAIT, WAITAOF), in order.
    pub on_acks: Vec<ClientRef>,
}

impl BlockedClients {
    /// Whether anybody waits for a key.
    #[inline]
    pub fn any_on_keys(&self) -> bool {
        !self.by_key.is_empty()
    }

    /// Keys waited for (`total_blocking_keys`).
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// The place of a client that begins to wait.
    pub fn next_order(&mut self) -> u64 {
        self.last_order += 1;
        self.last_order
    }

    pub fn wait(&mut self, key: DbKey, order: u64, client: ClientRef) {
        self.by_key.entry(key).or_default().insert(order, client);
    }

    pub fn stop_waiting(&mut self, key: &DbKey, order: u64) {
        if let Some(waiting) = self.by_key.get_mut(key) {
            waiting.remove(&order);
            if waiting.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    /// A key has got a value that somebody may wait for.
    pub fn key_ready(&mut self, db: usize, key: &[u8]) {
        let key = DbKey { db, key: key.into() };
        if self.by_key.contains_key(&key) && !self.ready.contains(&key) {
            self.ready.push(key);
        }
    }

    /// All waited-for keys of a database may have changed (SWAPDB).
    pub fn db_ready(&mut self, db: usize) {
        let keys: Vec<DbKey> = self.by_key.keys().filter(|key| key.db == db).cloned().collect();
        for key in keys {
            self.key_ready(key.db, &key.key);
        }
    }

    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub fn take_ready(&mut self) -> Vec<DbKey> {
        std::mem::take(&mut self.ready)
    }

    /// Who waits for this key, in order.
    pub fn waiting(&self, key: &DbKey) -> Vec<ClientRef> {
        self.by_key.get(key).map(|waiting| waiting.values().copied().collect()).unwrap_or_default()
    }

    pub fn add_deadline(&mut self, deadline_ms: u64, client: ClientRef) {
        self.deadlines.insert((deadline_ms, client.slot, client.id));
    }

    pub fn remove_deadline(&mut self, deadline_ms: u64, client: ClientRef) {
        self.deadlines.remove(&(deadline_ms, client.slot, client.id));
    }

    /// Clients with a time-out.
    pub fn deadlines(&self) -> usize {
        self.deadlines.len()
    }

    /// When the next time-out is due, monotonic ms.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.deadlines.first().map(|deadline| deadline.0)
    }

    /// Takes a client whose time-out has passed.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<ClientRef> {
        let first = *self.deadlines.first()?;
        if first.0 > now_ms {
            return None;
        }
        self.deadlines.remove(&first);
        Some(ClientRef { slot: first.1, id: first.2 })
    }
}
