//! `maxmemory-clients`: the memory of all clients together, and who goes when it is too much.
//!
//! ```text
//!  buckets by memory:  < 32 KiB | < 64 KiB | ... | 4 GiB and more
//!                        [c, c]     [c]              [c]  ◄── the largest go first
//! ```
//! Each client is accounted anew when its memory may have changed: after a read, after a command,
//! after a push or a write. So the sum is known at any time, and the largest clients are found
//! without a walk. While the directive is off nothing is accounted.
//!
//! As in Redis a client with `CLIENT NO-EVICT` counts but does not go, and the limit is never below
//! [`LIMIT_BYTES_MIN`], so that an operator can still connect and put it right.

use crate::server::client::{Client, ClientKind};
use crate::server::{Action, ClientRef, Clients, Server};

/// The least limit that is enforced, bytes.
const LIMIT_BYTES_MIN: usize = 128 * 1024;
/// Clients below 2^15 bytes share the first bucket, those from 2^32 bytes on the last.
const BUCKET_MIN_LOG: u32 = 15;
const BUCKETS: usize = 19;

/// How a client is accounted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    bytes: usize,
    /// Its bucket and its place there; `None`: it may not be evicted.
    place: Option<(u8, u32)>,
}

/// The accounts of all clients.
#[derive(Debug, Default)]
pub struct ClientMemory {
    total_bytes: usize,
    buckets: [Vec<ClientRef>; BUCKETS],
    /// The limit was exceeded and nobody could go: it is in the log once.
    told: bool,
}

fn bucket_of(bytes: usize) -> usize {
    let log = usize::BITS - bytes.leading_zeros();
    (log.max(BUCKET_MIN_LOG) - BUCKET_MIN_LOG).min(BUCKETS as u32 - 1) as usize
}

/// Normal and pub/sub clients count; replicas, our primary and fake clients do not.
fn counts(client: &Client) -> bool {
    client.kind == ClientKind::Normal
}

impl ClientMemory {
    /// Takes a client's account out.
    fn forget(&mut self, clients: &mut Clients, account: Account) {
        self.total_bytes -= account.bytes;
        let Some((bucket, place)) = account.place else { return };
        let bucket = &mut self.buckets[bucket as usize];
        bucket.swap_remove(place as usize);
        let moved = bucket.get(place as usize).copied();
        if let Some(moved) = moved.and_then(|moved| clients.get_mut(moved))
            && let Some(known) = &mut moved.account.place
        {
            known.1 = place;
        }
    }

    fn largest(&self) -> Option<ClientRef> {
        self.buckets.iter().rev().find_map(|bucket| bucket.last().copied())
    }
}

impl Server {
    /// Whether clients are accounted.
    #[inline]
    pub fn limits_client_memory(&self) -> bool {
        self.config.maxmemory_clients.bytes != 0
    }

    /// Accounts what the client takes now, if clients are limited. O(1).
    #[inline]
    pub fn account_client(&mut self, reference: ClientRef) {
        if self.limits_client_memory() {
            self.account(reference);
        }
    }

    fn account(&mut self, reference: ClientRef) {
        let Some(client) = self.clients.get_mut(reference).filter(|client| counts(client)) else { return };
        let bytes = client.memory_bytes();
        let evictable = !client.no_evict && !client.close_now;
        let known = client.account;
        let bucket = bucket_of(bytes) as u8;
        if known.place.map(|(bucket, _)| bucket) == evictable.then_some(bucket) {
            client.account.bytes = bytes;
            self.client_memory.total_bytes = self.client_memory.total_bytes + bytes - known.bytes;
            return;
        }
        self.client_memory.forget(&mut self.clients, known);
        let place = evictable.then(|| {
            let list = &mut self.client_memory.buckets[bucket as usize];
            list.push(reference);
            (bucket, list.len() as u32 - 1)
        });
        self.client_memory.total_bytes += bytes;
        if let Some(client) = self.clients.get_mut(reference) {
            client.account = Account { bytes, place };
        }
    }

    /// A client goes: its account goes with it.
    pub(super) fn close_account(&mut self, reference: ClientRef) {
        let Some(client) = self.clients.get_mut(reference) else { return };
        let account = std::mem::take(&mut client.account);
        self.client_memory.forget(&mut self.clients, account);
    }

    /// The directive was changed: accounts begin or end. O(clients).
    pub fn client_memory_limit_changed(&mut self) {
        for reference in self.clients.references() {
            if self.limits_client_memory() {
                self.account(reference);
            } else {
                self.close_account(reference);
            }
        }
    }

    /// Disconnects the largest clients until the rest is below the limit. Called before each command
    /// and at the end of each turn; O(1) while the limit is kept.
    #[inline]
    pub fn evict_clients(&mut self) {
        if self.limits_client_memory() {
            self.evict_largest_clients();
        }
    }

    /// Whether all clients together take more than they may.
    #[inline]
    pub fn clients_exceed_limit(&self) -> bool {
        self.limits_client_memory() && self.client_memory.total_bytes >= self.client_limit_bytes()
    }

    fn client_limit_bytes(&self) -> usize {
        (self.config.maxmemory_clients.bytes as usize).max(LIMIT_BYTES_MIN)
    }

    fn evict_largest_clients(&mut self) {
        let limit_bytes = self.client_limit_bytes();
        while self.client_memory.total_bytes >= limit_bytes {
            let Some(largest) = self.client_memory.largest() else {
                if !std::mem::replace(&mut self.client_memory.told, true) {
                    log::warn!("Over client maxmemory after evicting all evictable clients");
                }
                return;
            };
            self.evict_client(largest);
        }
        self.client_memory.told = false;
    }

    /// Forgets a client at once, so that its memory is free before anything else happens; its socket is
    /// closed at the end of the turn.
    fn evict_client(&mut self, reference: ClientRef) {
        log::info!("Evicting client: {}", self.client_line(reference));
        self.stats.evicted_clients += 1;
        self.remove_client(reference);
        self.actions.push(Action::Close(reference));
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, bucket_of};

    #[test]
    fn buckets_are_powers_of_two() {
        assert_eq!((bucket_of(0), bucket_of((1 << 15) - 1)), (0, 0));
        assert_eq!((bucket_of(1 << 15), bucket_of(1 << 16)), (1, 2));
        assert_eq!(bucket_of(usize::MAX), BUCKETS - 1);
    }
}
