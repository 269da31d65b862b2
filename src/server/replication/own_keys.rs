//! Keys with an expiry that clients of a writable replica have made. The primary knows nothing of them
//! and will not say when they go, so the replica removes them itself.

use crate::keyspace::{ExpireRule, Touch};
use crate::resp::Args;
use crate::server::Server;
use crate::server::key_extraction::keys_of;
use crate::server::spec::Found;
use std::collections::BTreeSet;
use std::ops::Bound;

/// Keys remembered at most: what is beyond stays hidden until the primary's data set comes.
const OWN_KEYS_MAX: usize = 1 << 20;
/// Keys looked at in a cron round.
const KEYS_PER_ROUND: usize = 200;

/// Database and name.
type OwnKey = (usize, Box<[u8]>);

/// Such keys, in the order in which rounds of cron look at them.
#[derive(Debug, Default)]
pub struct OwnKeys {
    keys: BTreeSet<OwnKey>,
    /// The last one that was looked at; `None`: the next round begins at the first.
    cursor: Option<OwnKey>,
}

impl OwnKeys {
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn clear(&mut self) {
        *self = OwnKeys::default();
    }

    /// The next keys to look at: each has its turn, however many there are. O(log n + keys).
    fn next_round(&mut self) -> Vec<OwnKey> {
        let from = self.cursor.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let round: Vec<OwnKey> =
            self.keys.range((from, Bound::Unbounded)).take(KEYS_PER_ROUND).cloned().collect();
        self.cursor = round.last().filter(|_| round.len() == KEYS_PER_ROUND).cloned();
        round
    }
}

impl Server {
    /// A client's command has changed something here although this is a replica.
    #[cold]
    pub fn note_own_keys(&mut self, db: usize, found: Found, args: Args<'_>) {
        let Ok(keys) = keys_of(found.spec, args) else { return };
        for at in keys {
            let Some(key) = args.get(at.index) else { continue };
            let hash = self.keyspace.hash(key);
            let view = self.keyspace.db(db).find(hash, key);
            let own = &mut self.link.own_keys.keys;
            if view.is_some_and(|view| view.expiry_ms().is_some()) {
                if own.len() < OWN_KEYS_MAX {
                    own.insert((db, key.into()));
                }
            } else {
                own.remove(&(db, key.into()));
            }
        }
    }

    /// Removes such keys whose time has passed; for cron.
    pub fn expire_own_keys(&mut self) {
        if self.link.own_keys.is_empty() || self.keyspace.expire_rule != ExpireRule::Hide {
            return;
        }
        let now_ms = self.now_ms();
        let mut due = self.link.own_keys.next_round();
        due.retain(|key| self.is_over(key));
        self.keyspace.expire_rule = ExpireRule::Remove;
        for (db, key) in due {
            let hash = self.keyspace.hash(&key);
            self.keyspace.find(db, hash, &key, now_ms, Touch::No, &mut self.effects);
            self.link.own_keys.keys.remove(&(db, key));
        }
        self.apply_expire_rule();
        self.drain_effects();
    }

    /// Whether there is nothing more to wait for.
    fn is_over(&self, (db, key): &OwnKey) -> bool {
        let view = self.keyspace.db(*db).find(self.keyspace.hash(key), key);
        view.is_none_or(|view| view.expiry_ms().is_none_or(|expiry_ms| expiry_ms < self.now_ms()))
    }
}

#[cfg(test)]
mod tests {
    use super::{KEYS_PER_ROUND, OwnKeys};
    use std::collections::BTreeSet;

    #[test]
    fn every_key_has_its_turn() {
        let mut own = OwnKeys::default();
        let count = 2 * KEYS_PER_ROUND + 7;
        own.keys.extend((0..count).map(|number| (number % 3, number.to_string().into_bytes().into())));
        for _ in 0..2 {
            let seen: BTreeSet<_> = (0..3).flat_map(|_| own.next_round()).collect();
            assert_eq!(seen, own.keys);
        }
    }
}
