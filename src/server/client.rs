//! A client as commands see it, and the table of all clients.
//!
//! The socket and the query buffer belong to `net`; here is what a command may ask or change.
//! A [`ClientRef`] names a client by slot and id: when the client has gone, the slot may have a
//! new one, so a look-up compares the id. Ids are never reused.

use crate::resp::{ArgsQueue, OwnedArgs, Protocol};
use crate::server::acl::UserId;
use crate::server::blocked::DbKey;
use crate::server::client_memory::Account;
use crate::server::output::Output;
use crate::server::replication::ReplicaState;
use crate::server::tracking::ClientTracking;
use crate::value::ValueType;
use std::collections::HashMap;
use std::collections::HashSet;

/// Names a client; stays valid as a name after the client has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientRef {
    pub slot: u32,
    pub id: u64,
}

/// What a client is to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    Normal,
    /// Has no connection: replays the AOF, runs scripts.
    Fake,
    Replica,
    /// The link to our primary.
    Primary,
}

/// `CLIENT REPLY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// `CLIENT REPLY SKIP` has just been given: the next command's reply will be dropped.
    SkipNext,
    /// The reply of the command that runs now is dropped.
    Skip,
}

/// What WAIT and WAITAOF wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwaitedAcks {
    /// Offset of the stream that replicas must have.
    pub offset: u64,
    pub replicas: usize,
    /// WAITAOF: synced logs count, and our own must be synced up to this offset if it is asked for.
    pub log: Option<AwaitedLog>,
}

/// Our own log's part of WAITAOF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwaitedLog {
    pub offset: u64,
    pub wanted: bool,
}

/// What a blocked client waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockedOn {
    /// One of these keys of this database becomes ready; the command is then run again.
    Keys {
        db: usize,
        keys: Vec<Box<[u8]>>,
        /// Only a key of this type is ready; one of another type lets the client wait on.
        wanted: ValueType,
        /// A key that goes or becomes another type is ready too (XREADGROUP).
        also_when_gone: bool,
    },
    /// `CLIENT PAUSE` ends.
    Pause,
    /// Replicas, or our own log, have what this client wrote.
    Acks(AwaitedAcks),
    /// The child that writes a snapshot or a rewrite ends, or a shutdown is over.
    Shutdown,
}

/// A blocked client's state: its command is kept, owned, and run again when it may succeed.
#[derive(Clone, Debug)]
pub struct Blocked {
    pub on: BlockedOn,
    pub args: OwnedArgs,
    /// Monotonic time at which the command answers its time-out reply, ms; `None`: never.
    pub deadline_ms: Option<u64>,
    /// Place among all who wait: given by [`crate::server::Server::block_client`].
    pub order: u64,
}

/// What is known of a queued command of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Queued {
    pub command_id: u16,
    /// The hash of its first key, when it was computed.
    pub hash: Option<u64>,
}

/// State between MULTI and EXEC.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    pub queue: ArgsQueue<Queued>,
    /// A command was refused while queueing: EXEC must fail.
    pub aborted: bool,
    /// Union of the queued commands' flags.
    pub flags: u32,
    /// Flags that at least one queued command lacks.
    pub missing_flags: u32,
}

/// A key watched by `WATCH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchedKey {
    pub db: usize,
    pub key: Box<[u8]>,
}

/// A connected client, or a fake one.
#[derive(Debug)]
pub struct Client {
    pub reference: ClientRef,
    pub kind: ClientKind,
    pub db: usize,
    pub protocol: Protocol,
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    /// Whose rights it has; `None`: the server's own, which are all.
    pub user: Option<UserId>,
    /// Passed AUTH, or no password is asked for.
    pub authenticated: bool,
    pub transaction: Option<Box<Transaction>>,
    pub watched: Vec<WatchedKey>,
    /// A watched key was modified: EXEC must return null.
    pub watch_dirty: bool,
    pub blocked: Option<Box<Blocked>>,
    pub channels: HashSet<Box<[u8]>>,
    pub patterns: HashSet<Box<[u8]>>,
    pub shard_channels: HashSet<Box<[u8]>>,
    pub reply_mode: ReplyMode,
    /// `CLIENT NO-EVICT on`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH on`.
    pub no_touch: bool,
    /// `MONITOR`: it gets a line for each command; kept in step with `Server::monitors`.
    pub monitor: bool,
    /// `CLIENT TRACKING on`.
    pub tracking: Option<Box<ClientTracking>>,
    pub output: Output,
    /// What it is as a replica, or says that it will be.
    pub replica: Option<Box<ReplicaState>>,
    /// Offsets of the stream and of the AOF behind its last command (WAIT, WAITAOF).
    pub write_offset: u64,
    pub log_offset: u64,
    /// Close once the output has been sent.
    pub close_after_reply: bool,
    /// Close at the end of the turn, whatever is unsent.
    pub close_now: bool,
    /// `net` holds output that is to be written at the end of the turn.
    pub write_pending: bool,
    /// `ip:port`, or `path:0` for a unix socket.
    pub address: String,
    pub local_address: String,
    pub unix_socket: bool,
    /// The peer's address is a loopback address or a unix socket (protected mode).
    pub local_peer: bool,
    pub descriptor: i32,
    /// Monotonic ms.
    pub created_ms: u64,
    pub last_interaction_ms: u64,
    /// Number of the last command in the table.
    pub last_command: Option<u16>,
    /// Bytes of a request not complete yet, and room behind them.
    pub query_bytes: usize,
    pub query_free_bytes: usize,
    /// Bytes of the arguments of a request not complete yet.
    pub pending_args_bytes: usize,
    /// What `maxmemory-clients` knows of it.
    pub account: Account,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub commands: u64,
}

impl Client {
    /// A client with default state; `net` fills in the addresses.
    pub fn new(reference: ClientRef, kind: ClientKind, now_ms: u64) -> Self {
        Client {
            reference,
            kind,
            db: 0,
            protocol: Protocol::Resp2,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            user: (kind != ClientKind::Fake && kind != ClientKind::Primary).then_some(UserId::DEFAULT),
            authenticated: false,
            transaction: None,
            watched: Vec::new(),
            watch_dirty: false,
            blocked: None,
            channels: HashSet::new(),
            patterns: HashSet::new(),
            shard_channels: HashSet::new(),
            reply_mode: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            monitor: false,
            tracking: None,
            output: Output::default(),
            replica: None,
            write_offset: 0,
            log_offset: 0,
            close_after_reply: false,
            close_now: false,
            write_pending: false,
            address: String::new(),
            local_address: String::new(),
            unix_socket: false,
            local_peer: true,
            descriptor: -1,
            created_ms: now_ms,
            last_interaction_ms: now_ms,
            last_command: None,
            query_bytes: 0,
            query_free_bytes: 0,
            pending_args_bytes: 0,
            account: Account::default(),
            bytes_in: 0,
            bytes_out: 0,
            commands: 0,
        }
    }

    /// Channels, patterns and shard channels subscribed to.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// A RESP2 client with subscriptions may send only a few commands.
    #[inline]
    pub fn in_subscribe_mode(&self) -> bool {
        self.protocol == Protocol::Resp2 && self.subscriptions() > 0
    }

    /// Bytes of a request that is kept: one that is not complete, or that waits.
    pub fn kept_argument_bytes(&self) -> usize {
        let waiting = self.blocked.as_ref().map_or(0, |blocked| blocked.args.as_args().total_bytes());
        self.pending_args_bytes + waiting
    }

    /// Bytes of the queue of a transaction.
    pub fn multi_bytes(&self) -> usize {
        self.transaction.as_ref().map_or(0, |transaction| transaction.queue.memory_bytes())
    }

    /// Bytes this client takes: itself, its buffers, its queue, what it watches and is subscribed
    /// to or tracks (`tot-mem` of CLIENT LIST, without the arguments of a running command). O(1).
    pub fn memory_bytes(&self) -> usize {
        /// A watched key or a subscription, here and in the table that finds the client by it:
        /// two places in tables and a short name.
        const NOTED_NAME_BYTES: usize = 128;
        size_of::<Client>()
            + self.output.memory_bytes().max(self.output.reply_buffer_bytes())
            + self.query_bytes
            + self.query_free_bytes
            + self.kept_argument_bytes()
            + self.multi_bytes()
            + NOTED_NAME_BYTES * (self.watched.len() + self.subscriptions() + self.tracked_prefixes())
    }

    /// Prefixes of CLIENT TRACKING in BCAST mode.
    fn tracked_prefixes(&self) -> usize {
        self.tracking.as_ref().map_or(0, |tracking| tracking.prefixes.len())
    }

    /// Whether the client waits for this key.
    pub fn waits_for(&self, key: &DbKey) -> bool {
        let on = self.blocked.as_ref().map(|blocked| &blocked.on);
        matches!(on, Some(BlockedOn::Keys { db, keys, .. }) if *db == key.db && keys.contains(&key.key))
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }
}

/// All clients, in slots that are reused.
#[derive(Default)]
pub struct Clients {
    slots: Vec<Option<Box<Client>>>,
    free: Vec<u32>,
    by_id: HashMap<u64, u32>,
    next_id: u64,
    /// Clients of [`ClientKind::Normal`] connected now.
    pub connected: usize,
}

impl Clients {
    /// Adds a client in a free slot.
    pub fn add(&mut self, kind: ClientKind, now_ms: u64) -> ClientRef {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.next_id += 1;
        let reference = ClientRef { slot, id: self.next_id };
        self.slots[slot as usize] = Some(Box::new(Client::new(reference, kind, now_ms)));
        self.by_id.insert(reference.id, slot);
        if kind == ClientKind::Normal {
            self.connected += 1;
        }
        reference
    }

    /// Makes a client something else.
    pub fn set_kind(&mut self, reference: ClientRef, kind: ClientKind) {
        let Some(client) = self.get_mut(reference) else { return };
        let before = std::mem::replace(&mut client.kind, kind);
        self.connected -= usize::from(before == ClientKind::Normal);
        self.connected += usize::from(kind == ClientKind::Normal);
    }

    /// Removes a client and hands it out.
    pub fn remove(&mut self, reference: ClientRef) -> Option<Box<Client>> {
        self.get(reference)?;
        let client = self.slots[reference.slot as usize].take()?;
        self.free.push(reference.slot);
        self.by_id.remove(&reference.id);
        if client.kind == ClientKind::Normal {
            self.connected -= 1;
        }
        Some(client)
    }

    #[inline]
    pub fn get(&self, reference: ClientRef) -> Option<&Client> {
        self.slots
            .get(reference.slot as usize)?
            .as_deref()
            .filter(|client| client.reference.id == reference.id)
    }

    #[inline]
    pub fn get_mut(&mut self, reference: ClientRef) -> Option<&mut Client> {
        let slot = self.slots.get_mut(reference.slot as usize)?;
        slot.as_deref_mut().filter(|client| client.reference.id == reference.id)
    }

    /// Slots, used or free: where [`Clients::at_slot`] finds someone.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The client in a slot, whoever it is.
    pub fn at_slot(&self, slot: u32) -> Option<ClientRef> {
        self.slots.get(slot as usize)?.as_ref().map(|client| client.reference)
    }

    pub fn by_id(&self, id: u64) -> Option<ClientRef> {
        self.by_id.get(&id).map(|slot| ClientRef { slot: *slot, id })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter().filter_map(|slot| slot.as_deref())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.slots.iter_mut().filter_map(|slot| slot.as_deref_mut())
    }

    /// References of all clients in the order of their ids (as CLIENT LIST shows them).
    pub fn references(&self) -> Vec<ClientRef> {
        let mut all: Vec<ClientRef> = self.iter().map(|client| client.reference).collect();
        all.sort_unstable_by_key(|reference| reference.id);
        all
    }

    /// The id that the next client will get.
    pub fn next_id(&self) -> u64 {
        self.next_id + 1
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientKind, Clients};

    #[test]
    fn a_reference_does_not_find_the_slots_next_client() {
        let mut clients = Clients::default();
        let first = clients.add(ClientKind::Normal, 0);
        assert!(clients.remove(first).is_some());
        let second = clients.add(ClientKind::Normal, 0);
        assert_eq!(first.slot, second.slot);
        assert!(clients.get(first).is_none() && clients.remove(first).is_none());
        assert_eq!(clients.by_id(second.id), Some(second));
        assert_eq!(clients.connected, 1);
    }
}
