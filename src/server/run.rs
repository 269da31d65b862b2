//! Identity and phase of this process: run id, start time, loading, pauses, shutdown.

use crate::base::clock::Clock;
use crate::base::rng;
use crate::server::config::ShutdownOnSignal;

/// Version of Redis whose behaviour is the reference; clients choose features by it.
pub const REDIS_VERSION: &str = "7.2.4";
/// Our own version.
pub const TINE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Hex digits of run ids.
const ID_DIGITS: usize = 40;

/// What CLIENT PAUSE holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseKind {
    Writes,
    All,
}

/// CLIENT PAUSE in force.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    pub kind: PauseKind,
    /// Unix ms.
    pub end_ms: i64,
}

/// Progress of loading a data set (INFO persistence, `loading_*`).
#[derive(Clone, Debug, Default)]
pub struct LoadingState {
    /// Unix seconds.
    pub start_s: i64,
    pub total_bytes: u64,
    pub loaded_bytes: u64,
    /// The data set fills beside an older state of itself, which clients read meanwhile.
    pub asynchronous: bool,
}

/// What DEBUG has switched, for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct DebugSettings {
    /// Checksums of RDB files and RESTORE payloads are not looked at.
    pub skip_checksums: bool,
    /// Wait before each write of the AOF, microseconds.
    pub aof_flush_sleep_us: u64,
    /// From this size on a list element has a node of its own; 0: the built-in threshold.
    pub packed_threshold_bytes: u64,
    /// Reply buffers of idle clients are not given back.
    pub keep_reply_buffers: bool,
    /// Scripts may run commands marked NOSCRIPT.
    pub allow_everything_in_scripts: bool,
}

/// How to go: SHUTDOWN's options, or those of a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownRequest {
    /// Save even without save points.
    pub save: bool,
    /// Never save.
    pub nosave: bool,
    /// Do not wait for replicas.
    pub now: bool,
    /// Go even if saving fails.
    pub force: bool,
}

impl From<ShutdownOnSignal> for ShutdownRequest {
    fn from(options: ShutdownOnSignal) -> Self {
        let ShutdownOnSignal { save, nosave, now, force } = options;
        ShutdownRequest { save, nosave, now, force }
    }
}

/// A shutdown that waits until replicas have everything, or until the AOF has been written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingShutdown {
    pub request: ShutdownRequest,
    /// When it goes on whatever they have, monotonic ms.
    pub deadline_ms: u64,
    /// It waits for the rewrite of an AOF that is not whole.
    pub heals_aof: bool,
}

/// A way out that has been decided; the loop ends at its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
}

/// State of the process.
pub struct RunState {
    /// 40 hex digits, new at each start.
    pub run_id: String,
    pub pid: u32,
    /// Unix ms.
    pub started_ms: i64,
    /// Monotonic ms.
    pub started_monotonic_ms: u64,
    pub executable: String,
    /// Ports and sockets listened on now, for INFO and the process title.
    pub listening: Vec<String>,
    pub loading: Option<LoadingState>,
    pub pause: Option<Pause>,
    /// FAILOVER holds writes back.
    pub failover_holds_writes: bool,
    pub exit: Option<Exit>,
    /// A signal asked for the end; cron carries it out.
    pub shutdown_asked: Option<ShutdownRequest>,
    /// Writes wait meanwhile.
    pub pending_shutdown: Option<PendingShutdown>,
    /// `DEBUG SET-ACTIVE-EXPIRE`.
    pub active_expire: bool,
    /// `DEBUG PAUSE-CRON`.
    pub cron_paused: bool,
    /// Cron rounds since the start.
    pub cron_rounds: u64,
    /// When the next cron round is due, monotonic microseconds.
    pub next_cron_us: u64,
    /// What is left of this round's time for expiry, microseconds; 0: nothing is due.
    pub expire_left_us: u64,
    /// Work between two turns left something to be sent: the next turn must not wait.
    pub turn_again: bool,
    /// Rounds a second in force now (dynamic-hz).
    pub hz: u32,
    pub debug: DebugSettings,
    /// Slot of the client that cron looks at next.
    pub client_cursor: u32,
    /// LRU clock of the last cron round, for INFO.
    pub lru_clock: u32,
}

impl RunState {
    /// A process that has just started.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(clock: &Clock) -> std::io::Result<Self> {
        Ok(RunState {
            run_id: rng::hex_id_from_os(ID_DIGITS)?,
            pid: std::process::id(),
            started_ms: clock.cached_ms(),
            started_monotonic_ms: clock.monotonic_ms(),
            executable: String::new(),
            listening: Vec::new(),
            loading: None,
            pause: None,
            failover_holds_writes: false,
            exit: None,
            shutdown_asked: None,
            pending_shutdown: None,
            active_expire: true,
            cron_paused: false,
            cron_rounds: 0,
            next_cron_us: 0,
            expire_left_us: 0,
            turn_again: false,
            hz: 10,
            debug: DebugSettings::default(),
            client_cursor: 0,
            lru_clock: 0,
        })
    }

    /// The pause in force at `now_ms`, if any.
    #[inline]
    pub fn pause_at(&self, now_ms: i64) -> Option<PauseKind> {
        let own = self.pause.filter(|pause| now_ms < pause.end_ms).map(|pause| pause.kind);
        let held = self.failover_holds_writes || self.pending_shutdown.is_some();
        own.or_else(|| held.then_some(PauseKind::Writes))
    }

    /// Whether clients are to be told LOADING: not while they can read an older state.
    #[inline]
    pub fn is_blocking_load(&self) -> bool {
        self.loading.as_ref().is_some_and(|loading| !loading.asynchronous)
    }
}
