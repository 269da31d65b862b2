//! What is known of a replica: what it said of itself, where it is, what it has acknowledged.
//!
//! ```text
//!  Handshake ─PSYNC─► WaitSave ─fork─┬► WaitSaveEnd ─file whole─► SendFile ─sent─► Online
//!       │                            └► Relayed ─child ended, all passed on──────► Online
//!       └─PSYNC, stream still there──────────────────────────────────────────────► Online
//! ```
//! The state hangs on the client, so it goes with it. What REPLCONF says before PSYNC is noted on
//! whoever says it.

use crate::server::client::Client;
use crate::server::{ClientKind, ClientRef, Server};
use crate::sys::io::StorageFile;

/// How far the synchronisation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaPhase {
    /// REPLCONF only: not a replica yet.
    #[default]
    Handshake,
    /// Waits for a child that writes a snapshot for it.
    WaitSave,
    /// Such a child runs and writes a file.
    WaitSaveEnd,
    /// It is sent what such a child writes into a pipe, also after the child's end: nothing else may
    /// stand between these bytes.
    Relayed,
    /// The snapshot file is being sent.
    SendFile,
    /// The snapshot is sent; it wanted nothing else.
    SnapshotSent,
    /// It gets the stream.
    Online,
}

impl ReplicaPhase {
    /// As INFO shows it.
    pub const fn name(self) -> &'static str {
        match self {
            ReplicaPhase::Handshake => "none",
            ReplicaPhase::WaitSave | ReplicaPhase::WaitSaveEnd | ReplicaPhase::Relayed => "wait_bgsave",
            ReplicaPhase::SendFile => "send_bulk",
            ReplicaPhase::SnapshotSent => "rdb_transmitted",
            ReplicaPhase::Online => "online",
        }
    }
}

/// What a snapshot for it may leave out (`REPLCONF rdb-filter-only`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    pub no_data: bool,
    pub no_functions: bool,
}

impl SnapshotFilter {
    pub fn is_any(self) -> bool {
        self.no_data || self.no_functions
    }
}

/// A snapshot file on its way to a replica.
#[derive(Debug)]
pub struct FileTransfer {
    pub file: Box<dyn StorageFile>,
    pub len: u64,
    pub sent: u64,
}

/// One replica, or a client on its way to be one.
#[derive(Debug, Default)]
pub struct ReplicaState {
    pub phase: ReplicaPhase,
    /// REPLCONF listening-port, ip-address.
    pub listening_port: u16,
    pub announced_ip: Vec<u8>,
    /// REPLCONF capa eof, psync2.
    pub knows_eof: bool,
    pub knows_psync2: bool,
    /// REPLCONF rdb-only: it wants a snapshot and no stream.
    pub snapshot_only: bool,
    pub filter: SnapshotFilter,
    /// It came with SYNC: it acknowledges nothing and is not told of ids.
    pub old_protocol: bool,
    /// Position in the stream of the next byte to send; `None` while it gets none.
    pub cursor: Option<u64>,
    /// The stream waits for its first acknowledgement (a snapshot by socket has no length, so nothing
    /// must stand behind it).
    pub held_until_ack: bool,
    /// REPLCONF ACK, FACK.
    pub acked_offset: u64,
    pub log_acked_offset: u64,
    /// When it last acknowledged something, or came online; monotonic ms.
    pub acked_ms: u64,
    /// When it asked for a synchronisation, monotonic ms.
    pub asked_ms: u64,
    /// The socket takes nothing more until it is writable again.
    pub socket_full: bool,
    /// The file that it is sent.
    pub transfer: Option<FileTransfer>,
    /// Bytes it has got of the chunk that is being relayed, and since when it takes nothing, monotonic ms.
    pub relayed: usize,
    pub relay_stuck_since_ms: Option<u64>,
    /// It has acknowledged a relayed snapshot before the end of its child was noticed.
    pub acked_early: bool,
}

impl ReplicaState {
    /// Whether it is sent the stream now.
    pub fn is_fed(&self) -> bool {
        self.phase == ReplicaPhase::Online && !self.held_until_ack && self.cursor.is_some()
    }
}

impl Client {
    /// The state of a client that is, or says it will be, a replica.
    pub fn replica_mut(&mut self) -> &mut ReplicaState {
        self.replica.get_or_insert_default()
    }

    /// The phase of a replica; `None` for other clients.
    pub fn replica_phase(&self) -> Option<ReplicaPhase> {
        self.replica.as_ref().filter(|_| self.kind == ClientKind::Replica).map(|state| state.phase)
    }
}

impl Server {
    /// State of each replica, in the order in which they came.
    pub fn replica_states(&self) -> impl Iterator<Item = (&Client, &ReplicaState)> {
        self.replication.replicas.iter().filter_map(|reference| {
            let client = self.clients.get(*reference)?;
            Some((client, client.replica.as_deref()?))
        })
    }

    /// The state of one replica.
    pub fn replica_state_mut(&mut self, reference: ClientRef) -> Option<&mut ReplicaState> {
        self.clients.get_mut(reference)?.replica.as_deref_mut()
    }

    /// Whether this client is in the list of replicas.
    pub fn is_replica_client(&self, reference: ClientRef) -> bool {
        self.replication.replicas.contains(&reference)
    }

    /// Makes a client a replica, in `phase`.
    pub fn add_replica(&mut self, reference: ClientRef, phase: ReplicaPhase) {
        let now_ms = self.clock.monotonic_ms();
        self.close_account(reference);
        self.clients.set_kind(reference, ClientKind::Replica);
        let Some(client) = self.clients.get_mut(reference) else { return };
        let state = client.replica_mut();
        state.phase = phase;
        (state.acked_ms, state.asked_ms) = (now_ms, now_ms);
        self.replication.replicas.push(reference);
    }

    /// Closes every replica at the end of the turn: what they have is no longer a part of our history.
    pub fn disconnect_replicas(&mut self) {
        for reference in self.replication.replicas.clone() {
            self.close_soon(reference);
        }
    }

    /// Takes a client out of the list of replicas; its connection is somebody else's affair.
    pub fn forget_replica(&mut self, reference: ClientRef) {
        if !self.replication.replicas.contains(&reference) {
            return;
        }
        log::info!("Connection with replica {} lost.", self.replica_name(reference));
        let replicas = &mut self.replication.replicas;
        replicas.retain(|other| *other != reference);
        if replicas.is_empty() {
            self.replication.no_replicas_since_s = self.call.now_ms / 1000;
        }
        self.count_good_replicas();
    }

    /// A replica as the log names it: `address:port` where it listens.
    pub fn replica_name(&self, reference: ClientRef) -> String {
        let Some(client) = self.clients.get(reference) else { return "client id #0".to_owned() };
        let Some(state) = client.replica.as_deref().filter(|state| state.listening_port != 0) else {
            let (ip, _) = split_address(&client.address);
            return format!("{ip}:<unknown-replica-port>");
        };
        format!("{}:{}", replica_ip(client, state), state.listening_port)
    }

    /// Counts replicas that are online and not late, if writes depend on it. O(replicas).
    pub fn count_good_replicas(&mut self) {
        let (wanted, lag_max_s) = (self.config.min_replicas_to_write, self.config.min_replicas_max_lag);
        if wanted == 0 || lag_max_s == 0 {
            return;
        }
        let now_ms = self.clock.monotonic_ms();
        let is_good = |state: &ReplicaState| {
            let lag_s = now_ms.saturating_sub(state.acked_ms) / 1000;
            state.phase == ReplicaPhase::Online && lag_s <= u64::from(lag_max_s)
        };
        self.replication.good_replicas = self.replica_states().filter(|(_, state)| is_good(state)).count();
    }

    /// Whether there are as many good replicas as `min-replicas-to-write` asks for.
    #[inline]
    pub fn has_enough_replicas(&self) -> bool {
        let (wanted, lag_max_s) = (self.config.min_replicas_to_write, self.config.min_replicas_max_lag);
        wanted == 0
            || lag_max_s == 0
            || !self.replication.is_primary()
            || self.replication.good_replicas >= wanted as usize
    }

    /// Online replicas that have acknowledged `offset`.
    pub fn replicas_with(&self, offset: u64) -> usize {
        self.count_online(|state| state.acked_offset >= offset)
    }

    /// Online replicas that have it in their AOF, synced.
    pub fn replicas_with_in_log(&self, offset: u64) -> usize {
        self.count_online(|state| state.log_acked_offset >= offset)
    }

    fn count_online(&self, counts: impl Fn(&ReplicaState) -> bool) -> usize {
        let online = |state: &ReplicaState| state.phase == ReplicaPhase::Online && counts(state);
        self.replica_states().filter(|(_, state)| online(state)).count()
    }

    /// The least cursor of all replicas.
    pub fn slowest_cursor(&self) -> Option<u64> {
        self.replica_states().filter_map(|(_, state)| state.cursor).min()
    }

    /// Bytes of the stream that a replica still has to get (`omem`); 0 for other clients.
    pub fn unsent_stream_bytes(&self, client: &Client) -> u64 {
        let cursor = client.replica.as_deref().and_then(|state| state.cursor);
        cursor.map_or(0, |cursor| self.replication.offset.saturating_sub(cursor))
    }
}

/// Where a replica is to be reached: what it announced, else where it came from.
pub fn replica_ip(client: &Client, state: &ReplicaState) -> String {
    if state.announced_ip.is_empty() {
        return split_address(&client.address).0.to_owned();
    }
    String::from_utf8_lossy(&state.announced_ip).into_owned()
}

/// Host and port of `host:port`, brackets of IPv6 taken away.
pub fn split_address(address: &str) -> (&str, &str) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

#[cfg(test)]
mod tests {
    use super::split_address;

    #[test]
    fn addresses_are_split_at_the_port() {
        assert_eq!(split_address("127.0.0.1:6379"), ("127.0.0.1", "6379"));
        assert_eq!(split_address("[::1]:80"), ("::1", "80"));
        assert_eq!(split_address("/tmp/socket:0"), ("/tmp/socket", "0"));
    }
}
