//! Floor 6: the one owner of everything, and the types that commands are written with.
//!
//! `main` owns one [`Server`] made of parts, each with its own module. Links between clients, keys
//! and channels are ids, never references. Effects on other clients are appended to their outputs
//! and sent by `net` at the end of the turn.
//!
//! | part | what |
//! | --- | --- |
//! | `config` | directives, CONFIG, redis.conf |
//! | `keyspace` | databases (floor 4) |
//! | `clients` | connected clients, their state and output |
//! | `persistence` | RDB, AOF, fork (floor 5) |
//! | `propagation` | the stream of effects on its way to the AOF and replicas |
//! | `replication` | role, history, the stream of replicas, their state |
//! | `acl` | users, their rights, what was refused to them |
//! | `pubsub`, `watches`, `blocked` | who waits for what |
//! | `tracking`, `monitors` | who is told of changed keys, of commands |
//! | `stats`, `commands` | counters; the command table |
//! | `observer` | what forks cost (floor 5) |
//! | `run` | identity and phase of this process |
//! | `call` | the command that runs now |

pub mod acl;
pub mod aof;
pub mod backup;
pub mod blocked;
pub mod client;
pub mod client_line;
pub mod client_memory;
pub mod command_docs;
pub mod config;
pub mod ctx;
pub mod defrag;
pub mod error;
pub mod eviction;
pub mod flush;
pub mod host;
pub mod hot_keys;
pub mod key_extraction;
pub mod keys;
pub mod latency;
pub mod leftovers;
pub mod machine;
pub mod memory;
pub mod migrate;
pub mod monitor;
pub mod notify;
mod observe;
pub mod observers;
pub mod output;
pub mod output_limits;
pub mod pause;
pub mod propagation;
pub mod pubsub;
mod reader_table;
pub mod recent;
pub mod replication;
pub mod run;
pub mod safety;
pub mod slowlog;
pub mod snapshot;
pub mod spec;
pub mod stats;
pub mod tracking;
pub mod watch;

pub use client::{Client, ClientKind, ClientRef, Clients};
pub use ctx::{Caller, Ctx};
pub use error::{CommandResult, ReplyError};
pub use spec::{CommandSpec, CommandTable, Found};

use crate::base::clock::Clock;
use crate::base::hash::HashSeed;
use crate::base::rng::{self, Rng};
use crate::cow::Observer;
use crate::keyspace::{Effects, Keyspace, Touch};
use crate::persist::Persistence;
use crate::server::acl::Acl;
use crate::server::blocked::BlockedClients;
use crate::server::client_memory::ClientMemory;
use crate::server::config::Config;
use crate::server::defrag::Defrag;
use crate::server::eviction::Eviction;
use crate::server::host::Host;
use crate::server::hot_keys::HotKeys;
use crate::server::latency::LatencyMonitor;
use crate::server::migrate::MigrateSockets;
use crate::server::propagation::Propagation;
use crate::server::pubsub::PubSub;
use crate::server::replication::link::Link;
use crate::server::replication::{Replication, Role};
use crate::server::run::RunState;
use crate::server::slowlog::CommandLogs;
use crate::server::stats::Stats;
use crate::server::tracking::Tracking;
use crate::server::watch::Watches;
use std::collections::HashSet;
use std::path::PathBuf;

/// The hash of a key computed before its command runs, recognised by the argument's address.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyHint {
    pub address: usize,
    pub len: usize,
    pub hash: u64,
}

impl KeyHint {
    /// For `key`, as it stands in the request, with its hash.
    #[inline]
    pub fn new(key: &[u8], hash: u64) -> Self {
        KeyHint { address: key.as_ptr() as usize, len: key.len(), hash }
    }

    /// Whether it is the hash of this very argument.
    #[inline]
    pub fn is_of(&self, key: &[u8]) -> bool {
        self.address == key.as_ptr() as usize && self.len == key.len()
    }
}

/// What is true of the command that runs now.
#[derive(Debug)]
pub struct CallState {
    /// Whose command runs.
    pub client: Option<ClientRef>,
    pub hint: KeyHint,
    /// Whether look-ups move access bits.
    pub touch: Touch,
    /// Unix time of the command, ms.
    pub now_ms: i64,
    /// A log is being replayed: nothing is propagated.
    pub replaying: bool,
    /// The command has said itself what is to be propagated.
    pub propagated: bool,
    /// Messages to the calling client that must follow its reply.
    pub deferred_pushes: Vec<u8>,
}

/// What commands leave for `net` and `cron` to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Listen as the configuration says now (CONFIG SET port, bind).
    Listen,
    /// Close this client at the end of the turn.
    Close(ClientRef),
    /// Its packets may wait to become fuller (`repl-disable-tcp-nodelay`).
    AllowDelay(ClientRef),
}

/// Everything.
pub struct Server {
    pub config: Config,
    /// The file CONFIG REWRITE writes, absolute.
    pub config_file: Option<PathBuf>,
    pub clock: Clock,
    pub rng: Rng,
    pub keyspace: Keyspace,
    pub effects: Effects,
    pub clients: Clients,
    pub acl: Acl,
    pub client_memory: ClientMemory,
    pub persistence: Persistence,
    /// What each fork costs.
    pub observer: Observer,
    pub propagation: Propagation,
    pub replication: Replication,
    /// To our own primary.
    pub link: Link,
    pub pubsub: PubSub,
    pub watches: Watches,
    /// Client-side caching.
    pub tracking: Tracking,
    /// Clients that MONITOR.
    pub monitors: Vec<ClientRef>,
    pub hot_keys: HotKeys,
    pub blocked: BlockedClients,
    pub stats: Stats,
    pub commands: CommandTable,
    pub run: RunState,
    /// The process: title, log, service manager.
    pub host: Host,
    pub command_logs: CommandLogs,
    pub latency: LatencyMonitor,
    /// `used_memory` when the server was ready and empty.
    pub memory_at_start_bytes: usize,
    pub defrag: Defrag,
    pub eviction: Eviction,
    /// Connections of MIGRATE.
    pub migrate: MigrateSockets,
    pub call: CallState,
    pub actions: Vec<Action>,
    /// Clients with output to send at the end of the turn.
    pub pending_writes: Vec<ClientRef>,
    /// Clients that were unblocked: requests may wait in their buffers.
    pub resumed: Vec<ClientRef>,
}

impl Server {
    /// A server with an empty data set, not listening.
    ///
    /// # Errors
    /// When a helper thread cannot be started.
    pub fn new(config: Config, clock: Clock, rng: Rng, commands: CommandTable) -> std::io::Result<Self> {
        let keyspace = Keyspace::new(config.databases as usize, HashSeed::from_os()?)?;
        let stats = Stats::new(commands.all().len());
        let run = RunState::new(&clock)?;
        let replication = Replication::new(rng::hex_id_from_os(replication::ID_DIGITS)?);
        let acl = Acl::new(&commands, &config);
        let mut server = Server {
            config,
            config_file: None,
            keyspace,
            effects: Effects::default(),
            clients: Clients::default(),
            acl,
            client_memory: ClientMemory::default(),
            persistence: Persistence::default(),
            observer: Observer::default(),
            propagation: Propagation::default(),
            replication,
            link: Link::default(),
            pubsub: PubSub::default(),
            watches: Watches::default(),
            tracking: Tracking::default(),
            monitors: Vec::new(),
            hot_keys: HotKeys::default(),
            blocked: BlockedClients::default(),
            stats,
            commands,
            run,
            host: Host::default(),
            command_logs: CommandLogs::default(),
            latency: LatencyMonitor::default(),
            memory_at_start_bytes: 0,
            defrag: Defrag::default(),
            eviction: Eviction::default(),
            migrate: MigrateSockets::default(),
            call: CallState {
                client: None,
                hint: KeyHint::default(),
                touch: Touch::Yes,
                now_ms: 0,
                replaying: false,
                propagated: false,
                deferred_pushes: Vec::new(),
            },
            actions: Vec::new(),
            pending_writes: Vec::new(),
            resumed: Vec::new(),
            clock,
            rng,
        };
        server.refresh_time();
        if server.config.replicaof.is_some() {
            server.replication.role = Role::Replica;
            server.apply_expire_rule();
        }
        // As in Redis: the start counts as a save, so that save points count from there.
        server.persistence.snapshot.last_save_s = server.now_ms() / 1000;
        Ok(server)
    }

    /// Unix ms as the running command sees it.
    #[inline]
    pub fn now_ms(&self) -> i64 {
        self.call.now_ms
    }

    /// Reads the clock: once per turn and after anything long.
    pub fn refresh_time(&mut self) {
        self.clock.refresh();
        self.call.now_ms = self.clock.cached_ms();
        self.keyspace.access.now_s = (self.call.now_ms / 1000) as u64;
    }

    /// Takes a client out of every table that names it and hands it out. `net` closes the socket.
    pub fn remove_client(&mut self, reference: ClientRef) -> Option<Box<Client>> {
        self.unblock_bookkeeping(reference);
        self.unwatch_all(reference);
        self.unsubscribe_all(reference);
        self.disable_tracking(reference);
        self.remove_monitor(reference);
        self.forget_replica(reference);
        self.close_account(reference);
        self.clients.remove(reference)
    }

    /// Takes a client out of all channels and patterns without telling it.
    pub fn unsubscribe_all(&mut self, reference: ClientRef) {
        let Some(client) = self.clients.get_mut(reference) else { return };
        for channel in std::mem::take(&mut client.channels) {
            pubsub::unsubscribe(&mut self.pubsub.channels, &channel, reference);
        }
        for pattern in std::mem::take(&mut client.patterns) {
            pubsub::unsubscribe(&mut self.pubsub.patterns, &pattern, reference);
        }
        for channel in std::mem::take(&mut client.shard_channels) {
            pubsub::unsubscribe(&mut self.pubsub.shard_channels, &channel, reference);
        }
    }

    /// Takes a blocked client out of the waiting tables and hands out its state.
    pub fn unblock_bookkeeping(&mut self, reference: ClientRef) -> Option<Box<client::Blocked>> {
        let blocked = self.clients.get_mut(reference)?.blocked.take()?;
        self.blocked.count -= 1;
        if let Some(deadline_ms) = blocked.deadline_ms {
            self.blocked.remove_deadline(deadline_ms, reference);
        }
        match &blocked.on {
            client::BlockedOn::Keys { db, keys, .. } => {
                for key in keys {
                    self.blocked.stop_waiting(&blocked::DbKey { db: *db, key: key.clone() }, blocked.order);
                }
            }
            client::BlockedOn::Pause => self.blocked.paused.retain(|other| *other != reference),
            client::BlockedOn::Acks(_) => self.blocked.on_acks.retain(|other| *other != reference),
            client::BlockedOn::Shutdown => {}
        }
        Some(blocked)
    }

    /// Keys that somebody waits for to be deleted too (`total_blocking_keys_on_nokey`). O(clients).
    pub fn keys_waited_to_go(&self) -> usize {
        let mut keys = HashSet::new();
        for client in self.clients.iter() {
            let on = client.blocked.as_ref().map(|blocked| &blocked.on);
            if let Some(client::BlockedOn::Keys { db, keys: own, also_when_gone: true, .. }) = on {
                keys.extend(own.iter().map(|key| (*db, key.as_ref())));
            }
        }
        keys.len()
    }

    /// Blocks a client; its command is kept and run again when what it waits for happens.
    ///
    /// A command that is being run again keeps its place in the queue and its deadline.
    pub fn block_client(&mut self, reference: ClientRef, mut blocked: client::Blocked) {
        match self.blocked.rerun.take() {
            Some((order, deadline_ms)) => (blocked.order, blocked.deadline_ms) = (order, deadline_ms),
            None => blocked.order = self.blocked.next_order(),
        }
        let Some(client) = self.clients.get_mut(reference) else { return };
        debug_assert!(client.blocked.is_none(), "a blocked client runs no command");
        self.blocked.count += 1;
        if let Some(deadline_ms) = blocked.deadline_ms {
            self.blocked.add_deadline(deadline_ms, reference);
        }
        match &blocked.on {
            client::BlockedOn::Keys { db, keys, .. } => {
                for key in keys {
                    self.blocked.wait(blocked::DbKey { db: *db, key: key.clone() }, blocked.order, reference);
                }
            }
            client::BlockedOn::Pause => self.blocked.paused.push_back(reference),
            client::BlockedOn::Acks(_) => self.blocked.on_acks.push(reference),
            client::BlockedOn::Shutdown => {}
        }
        client.blocked = Some(Box::new(blocked));
    }
}
