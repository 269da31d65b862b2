//! Keys with an expiry that clients of a writable replica have made. The primary knows nothing of them
//! and will not say when they go, so the replica removes them itself.

use crate::keyspace::{ExpireRule, Touch};
use crate::resp::Args;
use crate::server::Server;
use crate::server::key_extraction::keys_of;
use crate::server::spec::Found;
use std::collections::HashSet;

/// Keys remembered at most: what is beyond stays hidden until the primary's data set comes.
const OWN_KEYS_MAX: usize = 1 << 20;
/// Keys looked at in a cron round.
const KEYS_PER_ROUND: usize = 200;

/// Database and name.
pub type OwnKeys = HashSet<(usize, Box<[u8]>)>;

impl Server {
    /// A client's command has changed something here although this is a replica.
    #[cold]
    pub fn note_own_keys(&mut self, db: usize, found: Found, args: Args<'_>) {
        let Ok(keys) = keys_of(found.spec, args) else { return };
        for at in keys {
            let Some(key) = args.get(at.index) else { continue };
            let hash = self.keyspace.hash(key);
            let view = self.keyspace.db(db).find(hash, key);
            let own = &mut self.link.own_keys;
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
        let due: Vec<(usize, Box<[u8]>)> =
            self.link.own_keys.iter().take(KEYS_PER_ROUND).filter(|key| self.is_over(key)).cloned().collect();
        self.keyspace.expire_rule = ExpireRule::Remove;
        for (db, key) in due {
            let hash = self.keyspace.hash(&key);
            self.keyspace.find(db, hash, &key, now_ms, Touch::No, &mut self.effects);
            self.link.own_keys.remove(&(db, key));
        }
        self.apply_expire_rule();
        self.drain_effects();
    }

    /// Whether there is nothing more to wait for.
    fn is_over(&self, (db, key): &(usize, Box<[u8]>)) -> bool {
        let view = self.keyspace.db(*db).find(self.keyspace.hash(key), key);
        view.is_none_or(|view| view.expiry_ms().is_none_or(|expiry_ms| expiry_ms < self.now_ms()))
    }
}
