//! The link of a replica to its primary: what is known of it between two turns of the loop.
//!
//! ```text
//!  Connect ─► Connecting ─► handshake (PING, AUTH, port, ip, capa, PSYNC) ─► Transfer ─► Connected
//!     ^                                                     └─ +CONTINUE ────────────────────^
//!     └──────────────── a fault, a time-out, the primary has closed ──────────────────────────┘
//! ```
//! Only state: `crate::replication::replica` moves it, `net` holds the socket. Which socket `net` is
//! to hold is a wish with a number ([`Link::socket`]): a new number is a new connection, none closes
//! the old one. So nobody has to call down or up when a link is given up in the middle of something.
//!
//! Whether this server is a replica at all is `config.replicaof`, which CONFIG REWRITE writes too.

use crate::keyspace::Db;
use crate::persist::rdb::scan::Scanner;
use crate::persist::rdb::{LoadReport, Loader};
use crate::resp::request::RequestParser;
use crate::resp::{ArgsQueue, Span};
use crate::server::replication::ID_DIGITS;
use crate::server::replication::own_keys::OwnKeys;
use crate::server::replication::place::Place;
use crate::server::spec::Found;
use crate::server::{ClientRef, Server};
use crate::sys::io::{IoResult, StorageFile};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Instant;

/// Length of the mark that ends a transfer of unknown length, bytes.
pub const EOF_MARK_BYTES: usize = 40;

/// Where the link stands. The order is that of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LinkState {
    /// This server is a primary.
    #[default]
    None,
    /// To be connected.
    Connect,
    Connecting,
    AwaitPing,
    AwaitAuth,
    AwaitPort,
    AwaitAddress,
    AwaitCapabilities,
    AwaitPsync,
    /// The data set arrives, or is loaded.
    Transfer,
    Connected,
}

impl LinkState {
    /// Between the connection and the answer to PSYNC.
    pub fn is_handshake(self) -> bool {
        (LinkState::AwaitPing..=LinkState::AwaitPsync).contains(&self)
    }

    /// As ROLE shows it.
    pub fn name(self) -> &'static str {
        match self {
            LinkState::None => "none",
            LinkState::Connect => "connect",
            LinkState::Connecting => "connecting",
            LinkState::Transfer => "sync",
            LinkState::Connected => "connected",
            _ => "handshake",
        }
    }
}

/// How a transfer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferEnd {
    /// The line that tells it has not come.
    Unknown,
    /// After so many bytes.
    Length(u64),
    /// With this mark.
    Mark([u8; EOF_MARK_BYTES]),
}

/// The checksum of a file that arrives, whose last eight bytes are the checksum it should have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Footer {
    /// Bytes of the file so far.
    pub total: u64,
    pub crc: u64,
    /// The last bytes so far, not in `crc` yet.
    pub last: [u8; 8],
    pub last_bytes: usize,
}

/// A file that is being received.
#[derive(Debug)]
pub struct TransferFile {
    pub file: Box<dyn StorageFile>,
    pub path: PathBuf,
    pub footer: Footer,
    /// Follows what is written: whether it can be loaded.
    pub scanner: Scanner,
    /// Why it cannot.
    pub unfit: Option<String>,
    /// Bytes at the end that may be the mark and are not written yet.
    pub held: Vec<u8>,
    /// Up to where write-back has been started.
    pub synced_bytes: u64,
}

/// A transfer under way.
#[derive(Debug)]
pub struct Transfer {
    pub end: TransferEnd,
    /// Bytes of the data set received, the mark included.
    pub received_bytes: u64,
    /// `None`: straight to the parser.
    pub file: Option<TransferFile>,
    pub started: Instant,
}

/// Where the data set being loaded comes from.
#[derive(Debug)]
pub enum LoadSource {
    /// A file that has been received whole.
    File(TransferFile),
    /// The socket; the mark that must follow.
    Socket(Option<[u8; EOF_MARK_BYTES]>),
}

/// A load under way.
pub struct Load {
    pub loader: Loader,
    pub source: LoadSource,
    /// Databases that fill beside those in use (`repl-diskless-load swapdb`).
    pub beside: Option<Vec<Db>>,
    pub started: Instant,
    pub last_newline_ms: u64,
}

/// A received file on its way to be the snapshot: synced by a thread, then renamed.
#[derive(Debug)]
pub struct FilePlacing {
    pub thread: JoinHandle<IoResult<()>>,
    pub path: PathBuf,
    /// Count of snapshots that came about when it was loaded: a later one is newer.
    pub successes: u64,
}

/// A FAILOVER in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FailoverState {
    #[default]
    None,
    /// Writes are held back; a replica must catch up.
    WaitForSync,
    /// This server follows the target and has asked it to take over.
    InProgress,
}

/// What FAILOVER was told.
#[derive(Clone, Debug, Default)]
pub struct Failover {
    pub state: FailoverState,
    pub target: Option<(String, u16)>,
    /// Unix ms.
    pub deadline_ms: Option<i64>,
    pub force: bool,
}

impl Failover {
    /// As INFO shows it.
    pub fn name(&self) -> &'static str {
        match self.state {
            FailoverState::None => "no-failover",
            FailoverState::WaitForSync => "waiting-for-sync",
            FailoverState::InProgress => "failover-in-progress",
        }
    }
}

/// Everything about the link.
#[derive(Default)]
pub struct Link {
    pub state: LinkState,
    /// Number of the socket that `net` is to hold.
    pub socket: Option<u64>,
    sockets: u64,
    /// A second handle of the socket, for a load that reads from it.
    pub handle: Option<OwnedFd>,
    /// The primary as a client, once the stream flows.
    pub client: Option<ClientRef>,
    /// Bytes received and not used.
    pub incoming: Vec<u8>,
    /// Where in `incoming` the next command begins.
    pub position: usize,
    /// What is parsed already of a command that begins at `position` and is not complete.
    pub partial: Option<(RequestParser, Vec<Span>)>,
    /// Bytes to send.
    pub outgoing: Vec<u8>,
    /// When something was heard of the primary, monotonic ms.
    pub last_heard_ms: u64,
    /// Unix seconds.
    pub down_since_s: Option<i64>,
    /// This server's id and offset are a place in a stream that a primary may continue.
    pub resumable: bool,
    /// Id and offset of the data set that the primary has announced.
    pub announced: Option<(String, u64)>,
    /// The primary knows no offsets (SYNC).
    pub without_offsets: bool,
    pub transfer: Option<Box<Transfer>>,
    pub load: Option<Box<Load>>,
    pub placing: Option<FilePlacing>,
    /// Files for data sets created so far.
    pub files: u64,
    /// The old data are gone and the new have not come whole: what this server has must not take the
    /// place of anything on disk.
    pub data_incomplete: bool,
    /// The primary has closed its side; the end of the stream is still to be read.
    pub peer_closed: bool,
    /// Commands between MULTI and EXEC of the stream, and their bytes.
    pub transaction: Option<ArgsQueue<Option<Found>>>,
    pub transaction_bytes: Vec<u8>,
    /// The AOF was closed for a full synchronization and must be opened again.
    pub aof_stopped: bool,
    /// No new try before this monotonic time, ms.
    pub retry_not_before_ms: u64,
    /// Data sets refused in a row.
    pub refusals: u32,
    /// The next warning that the disk fails is due then, monotonic ms.
    pub disk_warning_due_ms: u64,
    /// When the current try began, monotonic ms.
    pub tried_ms: u64,
    pub failover: Failover,
    pub own_keys: OwnKeys,
}

impl Server {
    /// A snapshot is loaded at the start. When it tells its place in a history, a replica goes on from
    /// there, and a primary has a new history that continues that one. Nothing happens the second time.
    pub fn resume_history(&mut self, report: &LoadReport) {
        let Some(place) = place_of(report) else { return };
        if self.replication.second_id == place.id {
            return;
        }
        self.resume_at(place);
    }

    /// The data are those of this place: a replica goes on from there, and a primary has a new history
    /// that continues that one.
    pub fn resume_at(&mut self, place: Place) {
        let Place { id, offset, db } = place;
        let size = self.config.repl_backlog_size;
        let state = &mut self.replication;
        state.free_backlog();
        state.offset = offset;
        if state.is_primary() {
            state.second_id = id;
            state.second_offset = Some(offset + 1);
            state.create_backlog(size);
            state.no_replicas_since_s = self.call.now_ms / 1000;
        } else {
            state.id = id;
            state.stream_db = db.filter(|db| *db < self.keyspace.databases());
            self.link.resumable = true;
        }
        self.refresh_stream_wanted();
    }

    /// Keys of a snapshot that is being loaded have expired. The replicas that go on from its place still
    /// have them, so the history begins with their deletion, as in Redis.
    pub fn stream_expired(&mut self, report: &LoadReport, expired: &[(usize, Vec<u8>)]) {
        if expired.is_empty() {
            return;
        }
        self.resume_history(report);
        let verb: &[u8] = if self.config.lazyfree_lazy_expire { b"UNLINK" } else { b"DEL" };
        for (db, key) in expired {
            self.propagate_aside(*db, &[verb, key]);
        }
        self.flush_stream();
    }
}

/// Id, offset and selected database at which a snapshot was made.
fn place_of(report: &LoadReport) -> Option<Place> {
    let text = |name: &[u8]| report.field(name).and_then(|value| std::str::from_utf8(value).ok());
    let id = text(b"repl-id").filter(|id| id.len() == ID_DIGITS)?;
    let offset = text(b"repl-offset")?.parse().ok()?;
    let db = text(b"repl-stream-db").and_then(|db| db.parse().ok());
    Some(Place { id: id.to_owned(), offset, db })
}

impl Link {
    /// Wishes for a new socket.
    pub fn wish_socket(&mut self) {
        self.drop_socket();
        self.sockets += 1;
        self.socket = Some(self.sockets);
    }

    /// Wishes for no socket, and forgets what belonged to the old one.
    pub fn drop_socket(&mut self) {
        self.socket = None;
        self.handle = None;
        self.incoming = Vec::new();
        self.position = 0;
        self.partial = None;
        self.outgoing.clear();
        self.transaction = None;
        self.transaction_bytes = Vec::new();
        self.peer_closed = false;
    }

    /// Bytes of the data set that comes, 0 when nobody knows, and how many have come.
    pub fn transfer_progress(&self) -> (u64, u64) {
        if let Some(load) = &self.load {
            let progress = load.loader.progress();
            let total_bytes = if progress.total_bytes == u64::MAX { 0 } else { progress.total_bytes };
            return (total_bytes, progress.loaded_bytes);
        }
        let Some(transfer) = &self.transfer else { return (0, 0) };
        let total_bytes = if let TransferEnd::Length(length) = transfer.end { length } else { 0 };
        (total_bytes, transfer.received_bytes)
    }

    /// Bytes of the stream received and not applied yet.
    pub fn unapplied_bytes(&self) -> usize {
        self.incoming.len() - self.position + self.transaction_bytes.len()
    }
}
