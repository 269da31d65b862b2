//! State of replication: which history this server has, its stream, its replicas.
//!
//! ```text
//!  commands ─► propagation.stream ─┐ (primary)
//!  bytes of our own primary ───────┴─► Replication::append ─► Backlog ─► net writes from its blocks
//! ```
//! | file | what |
//! | --- | --- |
//! | `backlog` | the newest bytes of the stream, shared by all replicas |
//! | `feed` | a turn's commands on their way into it, and when they may leave |
//! | `link` | the link to our own primary |
//! | `own_keys` | what clients of a writable replica have made |
//! | `place` | where in a history the AOF ends, over a restart |
//! | `replicas` | what is known of each replica, how far it is |
//! | `save`, `relay` | snapshots for replicas: the child, and its bytes on their way |
//!
//! State only: who decides about syncs is `crate::replication`, who writes to sockets is `net`.
//! An offset is Redis's: the number of bytes of the history, so that of its last byte.

pub mod backlog;
pub mod feed;
pub mod link;
pub mod own_keys;
pub mod place;
pub mod relay;
pub mod replicas;
pub mod save;

pub use backlog::Backlog;
pub use feed::Gates;
pub use relay::Relay;
pub use replicas::{ReplicaPhase, ReplicaState};
pub use save::SaveEnd;

use crate::server::ClientRef;
use crate::sys::stream_block;

/// Digits of a replication id.
pub const ID_DIGITS: usize = 40;

/// What this server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Primary,
    /// REPLICAOF names another server; the link to it may be down.
    Replica,
}

/// How a snapshot reaches replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveTarget {
    /// The snapshot file, sent when it is whole.
    Disk,
    /// A pipe whose bytes are passed on as they come.
    Sockets,
}

/// The child whose snapshot replicas wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncSave {
    pub target: SaveTarget,
    /// Offset of the history at the fork.
    pub offset: u64,
    /// It was begun for replicas, not by a save point or BGSAVE.
    pub for_replicas: bool,
}

/// Counts since the start or CONFIG RESETSTAT (INFO stats).
#[derive(Clone, Copy, Debug, Default)]
pub struct SyncCounts {
    pub full: u64,
    pub partial_ok: u64,
    pub partial_refused: u64,
    /// Bytes of replication traffic, `total_net_repl_*`.
    pub input_bytes: u64,
    pub output_bytes: u64,
}

/// Everything about replication.
#[derive(Debug)]
pub struct Replication {
    pub role: Role,
    /// `master_replid`: names the history of this data set.
    pub id: String,
    /// `master_replid2`: the history that this one continues, known up to `second_offset`.
    pub second_id: String,
    /// `second_repl_offset`: the first offset that is not part of it; `None`: there is none.
    pub second_offset: Option<u64>,
    /// `master_repl_offset`.
    pub offset: u64,
    pub backlog: Option<Backlog>,
    pub gates: Gates,
    /// Which parts of the stream our own AOF has not synced.
    pub unsynced: Gates,
    /// Replicas in the order in which they came; their state is in their clients.
    pub replicas: Vec<ClientRef>,
    /// Since when there has been none, Unix seconds.
    pub no_replicas_since_s: i64,
    /// Online replicas that are not late (`min-replicas-max-lag`); counted by cron.
    pub good_replicas: usize,
    /// The child that writes a snapshot good for replicas.
    pub save: Option<SyncSave>,
    /// How that child ended, until the replicas have been told.
    pub save_ended: Option<SaveEnd>,
    /// Replicas may wait for a snapshot that can begin now.
    pub save_wanted: bool,
    /// The snapshot that is being passed on.
    pub relay: Option<Relay>,
    /// The snapshot file was made for replicas (`rdb-del-sync-files`).
    pub file_for_sync: bool,
    /// When the next second's work is due, monotonic ms, and how many seconds had theirs.
    pub next_cron_ms: u64,
    pub cron_seconds: u64,
    /// Nothing of our own goes into the stream: a failover waits for equal offsets.
    pub is_quiet: bool,
    /// Our primary asked how far we are (REPLCONF GETACK).
    pub own_ack_wanted: bool,
    /// As a replica: the database that our primary's stream has selected.
    pub stream_db: Option<usize>,
    /// Somebody waits for acknowledgements: ask for them at the end of the turn.
    pub acks_wanted: bool,
    /// Acknowledgements have come: look who waits.
    pub acks_changed: bool,
    /// The stream was lost for want of memory: every replica must go.
    pub stream_lost: bool,
    pub counts: SyncCounts,
}

impl Replication {
    /// A primary with a new history.
    pub fn new(id: String) -> Self {
        Replication {
            role: Role::Primary,
            id,
            second_id: no_id(),
            second_offset: None,
            offset: 0,
            backlog: None,
            gates: Gates::default(),
            unsynced: Gates::default(),
            replicas: Vec::new(),
            no_replicas_since_s: 0,
            good_replicas: 0,
            save: None,
            save_ended: None,
            save_wanted: false,
            relay: None,
            file_for_sync: false,
            next_cron_ms: 0,
            cron_seconds: 0,
            is_quiet: false,
            own_ack_wanted: false,
            stream_db: None,
            acks_wanted: false,
            acks_changed: false,
            stream_lost: false,
            counts: SyncCounts::default(),
        }
    }

    #[inline]
    pub fn is_primary(&self) -> bool {
        self.role == Role::Primary
    }

    /// Whether what commands change here is to go into the stream: not on a replica, whose stream is
    /// its primary's.
    #[inline]
    pub fn takes_commands(&self) -> bool {
        self.is_primary() && self.backlog.is_some()
    }

    /// Adds bytes to the stream. Without a backlog nothing is kept and nothing counts, as in Redis;
    /// a replica, whose offset is its primary's, has a backlog as long as it has a link.
    pub fn append(&mut self, bytes: &[u8]) {
        let Some(backlog) = &mut self.backlog else { return };
        self.offset += bytes.len() as u64;
        if let Err(failure) = backlog.append(bytes) {
            log::error!("The replication stream is lost, replicas must begin anew: {failure}");
            self.backlog = None;
            self.stream_lost = true;
        }
    }

    /// As a replica: passes bytes of our primary on, as they are, to replicas of our own.
    pub fn append_from_primary(&mut self, bytes: &[u8]) {
        if self.backlog.is_none() {
            self.offset += bytes.len() as u64;
        }
        self.append(bytes);
    }

    /// Begins to keep the stream, from the present offset on. Nothing changes when it is kept already.
    pub fn create_backlog(&mut self, size: usize) {
        if self.backlog.is_none() {
            self.backlog = Some(Backlog::new(self.offset, size));
            self.gates = Gates::begun_at(self.offset);
            self.unsynced = Gates::begun_at(self.offset);
        }
    }

    /// Forgets the stream; replicas must have gone, or begin anew.
    pub fn free_backlog(&mut self) {
        self.backlog = None;
        self.gates = Gates::default();
    }

    /// A new history: nobody can continue from what was before.
    pub fn begin_history(&mut self, id: String) {
        debug_assert_eq!(id.len(), ID_DIGITS);
        self.id = id;
        self.second_id = no_id();
        self.second_offset = None;
    }

    /// Promotion: a new history that continues the present one. Who has the old one up to here can go on.
    pub fn continue_history(&mut self, id: String) {
        self.second_id = std::mem::replace(&mut self.id, id);
        self.second_offset = Some(self.offset + 1);
        log::info!(
            "Setting secondary replication ID to {}, valid up to offset: {}. New replication ID is {}",
            self.second_id,
            self.offset + 1,
            self.id
        );
    }

    /// Gives back what neither the backlog nor a replica needs any more.
    pub fn trim(&mut self, size: usize, slowest: Option<u64>) {
        if let Some(backlog) = &mut self.backlog {
            backlog.trim(size, slowest);
        }
    }

    /// Bytes of memory of the stream (`mem_total_replication_buffers`). O(1).
    pub fn buffer_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, Backlog::memory_bytes)
    }

    /// The part of it that is held only for replicas that lag behind the backlog: it does not count
    /// against `maxmemory`.
    pub fn bytes_beyond_backlog(&self, backlog_size: usize) -> usize {
        self.buffer_bytes().saturating_sub(backlog_size)
    }
}

/// What stands for no id.
fn no_id() -> String {
    "0".repeat(ID_DIGITS)
}

/// Bytes of the stream's blocks that no allocator counts.
pub fn mapped_bytes() -> usize {
    stream_block::mapped_bytes()
}

#[cfg(test)]
mod tests {
    use super::{ID_DIGITS, Replication};

    fn id(digit: &str) -> String {
        digit.repeat(ID_DIGITS)
    }

    #[test]
    fn offsets_count_only_with_a_backlog() {
        let mut state = Replication::new(id("a"));
        state.append(b"lost");
        assert_eq!(state.offset, 0);
        state.create_backlog(1 << 20);
        state.append(b"kept");
        assert_eq!((state.offset, state.backlog.as_ref().map(|backlog| backlog.end())), (4, Some(4)));
    }

    #[test]
    fn a_promotion_keeps_the_old_history() {
        let mut state = Replication::new(id("a"));
        state.create_backlog(1 << 20);
        state.append(b"12345");
        state.continue_history(id("b"));
        assert_eq!((state.id, state.second_id, state.second_offset), (id("b"), id("a"), Some(6)));
    }

    #[test]
    fn a_new_history_has_no_past() {
        let mut state = Replication::new(id("a"));
        state.continue_history(id("b"));
        state.begin_history(id("c"));
        assert_eq!((state.second_id, state.second_offset), (id("0"), None));
    }
}
