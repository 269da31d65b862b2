//! Client-side caching: which client may hold which key, and who is told that a key changed.
//!
//! ```text
//!  default  a read ─► keys: name ─► ids of readers        a change ─► one message to each, name forgotten
//!  BCAST    a change ─► prefixes: prefix ─► changed names  end of turn ─► one message a prefix and client
//! ```
//! A client that goes is not looked for in the table: its id finds nobody later. The table holds
//! `tracking-table-max-keys` names; beyond that names are forgotten, and their readers told so, a
//! few at a time ([`Server::limit_tracking_table`]). With the last tracking client the table goes.

use crate::resp::{Args, Protocol, Reply};
use crate::server::Server;
use crate::server::client::ClientRef;
use crate::server::key_extraction::{keys_of, only_key};
use crate::server::reader_table::ReaderTable;
use crate::server::spec::{Found, flag};
use std::collections::{BTreeMap, BTreeSet};

/// The channel on which a RESP2 client in subscribe mode gets another's invalidations.
const CHANNEL: &[u8] = b"__redis__:invalidate";
/// Names forgotten in one look at a table above its limit; that many more in each look in a row
/// that does not suffice (as Redis), so that the table does not outgrow the effort.
const FORGET_STEP: usize = 100;
/// Shards of an emptied table freed in a cron round: 16,000 names at the default limit, about 1 ms.
const SHARDS_FREED: usize = 16;

/// What one client asked for with `CLIENT TRACKING on`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTracking {
    /// Id of the client that gets the messages; 0: this one.
    pub redirect: u64,
    pub broadcast: bool,
    pub opt_in: bool,
    pub opt_out: bool,
    pub no_loop: bool,
    /// `CLIENT CACHING` was given for the next command.
    pub caching: bool,
    /// The client named by `redirect` has gone.
    pub broken_redirect: bool,
    /// Prefixes of broadcast mode.
    pub prefixes: BTreeSet<Box<[u8]>>,
}

/// One prefix of broadcast mode.
#[derive(Debug, Default)]
struct Broadcast {
    clients: BTreeSet<u64>,
    /// Names changed in this turn, with the client that changed each last.
    changed: BTreeMap<Box<[u8]>, Option<u64>>,
}

/// The tables.
#[derive(Debug, Default)]
pub struct Tracking {
    /// Clients with tracking on (`tracking_clients`).
    pub clients: usize,
    readers: ReaderTable,
    prefixes: BTreeMap<Box<[u8]>, Broadcast>,
    /// Some prefix has changed names.
    broadcast_due: bool,
    /// Looks in a row that found the table above its limit and left it there.
    looks_above_limit: usize,
}

impl Tracking {
    /// Whether any client tracks: the one branch for everybody else.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.clients > 0
    }

    /// Names in the table (`tracking_total_keys`).
    pub fn keys(&self) -> usize {
        self.readers.names()
    }

    /// Pairs of key and client (`tracking_total_items`).
    pub fn items(&self) -> usize {
        self.readers.items()
    }

    /// `tracking_total_prefixes`.
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// Frees some of the memory of a table that was emptied.
    pub fn free_some(&mut self) {
        self.readers.free_some(SHARDS_FREED);
    }

    /// Notes a change for every prefix that the name begins with.
    fn note_for_broadcast(&mut self, key: &[u8], by: Option<u64>) {
        for (prefix, broadcast) in &mut self.prefixes {
            if key.starts_with(prefix) {
                broadcast.changed.insert(key.into(), by);
                self.broadcast_due = true;
            }
        }
    }

    fn leave_prefix(&mut self, prefix: &[u8], id: u64) {
        if let Some(broadcast) = self.prefixes.get_mut(prefix) {
            broadcast.clients.remove(&id);
            if broadcast.clients.is_empty() {
                self.prefixes.remove(prefix);
            }
        }
    }
}

/// What an invalidation message names.
#[derive(Clone, Copy)]
enum Invalid<'a> {
    Key(&'a [u8]),
    /// An array of keys as it stands in the protocol.
    Keys(&'a [u8]),
    Everything,
}

impl Server {
    /// `CLIENT TRACKING on`: replaces the client's options, keeps its prefixes and adds `wanted`'s.
    /// In broadcast mode no prefix at all means every key.
    pub fn enable_tracking(&mut self, reference: ClientRef, mut wanted: ClientTracking) {
        let Some(client) = self.clients.get_mut(reference) else { return };
        if wanted.broadcast && wanted.prefixes.is_empty() {
            wanted.prefixes.insert(Box::default());
        }
        for prefix in &wanted.prefixes {
            self.tracking.prefixes.entry(prefix.clone()).or_default().clients.insert(reference.id);
        }
        match client.tracking.take() {
            Some(before) => {
                wanted.caching = before.caching;
                wanted.prefixes.extend(before.prefixes);
            }
            None => self.tracking.clients += 1,
        }
        client.tracking = Some(Box::new(wanted));
    }

    /// `CLIENT TRACKING off`, and what a client's end does.
    pub fn disable_tracking(&mut self, reference: ClientRef) {
        let Some(client) = self.clients.get_mut(reference) else { return };
        let Some(tracking) = client.tracking.take() else { return };
        for prefix in &tracking.prefixes {
            self.tracking.leave_prefix(prefix, reference.id);
        }
        self.tracking.clients -= 1;
        if self.tracking.clients == 0 {
            self.tracking.readers.clear();
        }
    }

    /// The caller has read the keys of a command: if it tracks, it is told when they change.
    pub(super) fn remember_read_keys(&mut self, found: Found, args: Args<'_>) {
        if !found.spec.has(flag::READONLY) || found.spec.has(flag::PUBSUB) {
            return;
        }
        let Some(caller) = self.call.client else { return };
        let tracking = self.clients.get(caller).and_then(|client| client.tracking.as_ref());
        let Some(tracking) = tracking.filter(|tracking| !tracking.broadcast) else { return };
        if (tracking.opt_in && !tracking.caching) || (tracking.opt_out && tracking.caching) {
            return;
        }
        if let Some(name) = only_key(found.spec, args) {
            let hash = self.hash(name);
            return self.tracking.readers.remember(hash, name, caller.id);
        }
        for key in keys_of(found.spec, args).unwrap_or_default() {
            let name = args.at(key.index);
            let hash = self.hash(name);
            self.tracking.readers.remember(hash, name, caller.id);
        }
    }

    /// A key changed or went; `by` is who changed it, none when its time or the memory did.
    #[cold]
    pub(super) fn invalidate_key(&mut self, key: &[u8], by: Option<ClientRef>) {
        self.tracking.note_for_broadcast(key, by.map(|client| client.id));
        let hash = self.hash(key);
        let ids = self.tracking.readers.forget(hash, key);
        self.tell_readers(key, ids);
    }

    /// Tells everyone who read a key and was forgotten: they read it again if they want to know.
    fn tell_readers(&mut self, key: &[u8], ids: Vec<u64>) {
        for id in ids {
            let Some(reader) = self.clients.by_id(id) else { continue };
            let Some(tracking) = self.clients.get(reader).and_then(|client| client.tracking.as_ref()) else {
                continue;
            };
            let own_change = tracking.no_loop && self.call.client == Some(reader);
            if !tracking.broadcast && !own_change {
                self.send_invalidation(reader, Invalid::Key(key));
            }
        }
    }

    /// A database was emptied: one message to each client instead of one for each key.
    pub fn invalidate_everything(&mut self) {
        if !self.tracking.is_active() {
            return;
        }
        self.tracking.readers.clear();
        for reference in self.clients.references() {
            if self.clients.get(reference).is_some_and(|client| client.tracking.is_some()) {
                self.send_invalidation(reference, Invalid::Everything);
            }
        }
    }

    /// Forgets names while there are more than `tracking-table-max-keys`; a bounded number of them.
    pub fn limit_tracking_table(&mut self) {
        let keys_max = self.config.tracking_table_max_keys;
        if keys_max == 0 || self.tracking.keys() <= keys_max {
            self.tracking.looks_above_limit = 0;
            return;
        }
        for _ in 0..FORGET_STEP * (self.tracking.looks_above_limit + 1) {
            let Some((name, ids)) = self.tracking.readers.take_any() else { return };
            self.tell_readers(&name, ids);
            if self.tracking.keys() <= keys_max {
                self.tracking.looks_above_limit = 0;
                return;
            }
        }
        self.tracking.looks_above_limit += 1;
    }

    /// Sends what broadcast mode has gathered; called at the end of a turn.
    pub fn broadcast_invalidations(&mut self) {
        if std::mem::take(&mut self.tracking.broadcast_due) {
            self.send_broadcasts();
        }
    }

    #[cold]
    fn send_broadcasts(&mut self) {
        let mut due = Vec::new();
        for broadcast in self.tracking.prefixes.values_mut().filter(|prefix| !prefix.changed.is_empty()) {
            let clients: Vec<ClientRef> =
                broadcast.clients.iter().filter_map(|id| self.clients.by_id(*id)).collect();
            due.push((std::mem::take(&mut broadcast.changed), clients));
        }
        for (changed, clients) in due {
            let for_all = encode_keys(changed.keys());
            for client in clients {
                let tracking = self.clients.get(client).and_then(|state| state.tracking.as_ref());
                if tracking.is_some_and(|tracking| tracking.no_loop) {
                    let others = changed.iter().filter(|(_, by)| **by != Some(client.id));
                    let names: Vec<_> = others.map(|(name, _)| name).collect();
                    if !names.is_empty() {
                        self.send_invalidation(client, Invalid::Keys(&encode_keys(names.into_iter())));
                    }
                } else {
                    self.send_invalidation(client, Invalid::Keys(&for_all));
                }
            }
        }
    }

    /// Sends one message for a tracking client, to it or to whom it named.
    fn send_invalidation(&mut self, reader: ClientRef, invalid: Invalid<'_>) {
        let Some(state) = self.clients.get(reader) else { return };
        let redirect = state.tracking.as_ref().map_or(0, |tracking| tracking.redirect);
        let (reader_protocol, mut target) = (state.protocol, reader);
        if redirect != 0 {
            match self.clients.by_id(redirect) {
                Some(other) => target = other,
                None => return self.report_broken_redirect(reader, redirect),
            }
        }
        let Some(state) = self.clients.get(target) else { return };
        let mut out = Reply::new(state.protocol);
        if state.protocol == Protocol::Resp3 {
            out.push(2);
            out.bulk(b"invalidate");
        } else if target != reader && state.subscriptions() > 0 {
            out.array(3);
            out.bulk(b"message");
            out.bulk(CHANNEL);
        } else {
            // RESP2 has no message that could stand between replies.
            return;
        }
        match invalid {
            Invalid::Key(key) => {
                out.array(1);
                out.bulk(key);
            }
            Invalid::Keys(encoded) => out.raw(encoded),
            // In the protocol of the client that reads, whoever gets it (as Redis).
            Invalid::Everything => {
                out.protocol = reader_protocol;
                out.null();
            }
        }
        self.send_to(target, &out.buffer);
    }

    fn report_broken_redirect(&mut self, reader: ClientRef, redirect: u64) {
        let Some(state) = self.clients.get_mut(reader) else { return };
        if let Some(tracking) = &mut state.tracking {
            tracking.broken_redirect = true;
        }
        if state.protocol == Protocol::Resp3 {
            let mut out = Reply::new(Protocol::Resp3);
            out.push(2);
            out.bulk(b"tracking-redir-broken");
            out.integer(redirect as i64);
            self.send_to(reader, &out.buffer);
        }
    }

    /// A command of this client is over: CLIENT CACHING holds for one command or one transaction.
    pub fn end_caching(&mut self, reference: ClientRef) {
        let Some(client) = self.clients.get_mut(reference) else { return };
        if let Some(tracking) = client.tracking.as_mut().filter(|_| client.transaction.is_none()) {
            tracking.caching = false;
        }
    }
}

/// Names as an array of the protocol, which is the same in RESP2 and RESP3.
fn encode_keys<'a>(names: impl ExactSizeIterator<Item = &'a Box<[u8]>>) -> Vec<u8> {
    let mut out = Reply::default();
    out.array(names.len());
    for name in names {
        out.bulk(name);
    }
    out.buffer
}
