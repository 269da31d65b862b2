//! The one door to `fork()`: snapshots, log rewrites and replication all go through [`fork_job`].
//!
//! ```text
//!  parent                                   child
//!  take the data heap's lock
//!  fork ──────────────────────────────────► job(&keyspace, link) ── Ok: exit 0, Err: exit 1
//!  tables avoid resizing, access bits freeze     │ records: keys done, copied bytes, result
//!  poll: read records, reap        ◄─────── non-blocking pipe
//! ```
//! At most one child lives at any time. It ends well only by exit code 0 *and* a final record
//! that says so; SIGUSR1 cancels it (as in Redis, no error), any other signal is a failure.
//!
//! [`ForkLog`] keeps plain records of the last forks; observers read them, nobody is called.

use crate::ds::table::ResizePolicy;
use crate::keyspace::Keyspace;
use crate::persist::child::{self, ChildLink, ChildProgress, ChildSetup, REASON_MAX_BYTES, Record};
use crate::sys::data_alloc;
use crate::sys::fork::{self, ChildExit, ChildOutcome, ForkOptions};
use crate::sys::info::{self, UsageOf, resource_usage};
use crate::sys::proc::ProcFs;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Forks kept in the log, records: a day of hourly saves and a bit more.
pub const FORK_EVENTS_MAX: usize = 64;
/// How long a command waits for the end of a child that it cancels: most are gone by then, and main
/// stops for no more than at the end of a rewrite.
const CANCEL_MOMENT: Duration = Duration::from_millis(5);
/// How long a cancelled child may take to end by itself before it is killed: it has no handler, so
/// it takes this long only when it is stopped or waits for a disk.
const CANCEL_PATIENCE: Duration = Duration::from_millis(200);
/// How long the main thread waits for the end of a killed child. Beyond it, the child hangs in the
/// kernel, and cron reaps it when the kernel lets go of it.
const KILL_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks at a child that is ending.
const REAP_PAUSE: Duration = Duration::from_micros(500);
/// Signal that cancels a child without an error: the one Redis uses.
pub const CANCEL_SIGNAL: i32 = libc::SIGUSR1;

/// What a child works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    /// An RDB file.
    Snapshot,
    /// A new base for the AOF.
    AofRewrite,
    /// An RDB for replicas.
    Replication,
}

impl ChildKind {
    /// Whether it writes an RDB, to a file or to replicas.
    pub const fn writes_snapshot(self) -> bool {
        !matches!(self, ChildKind::AofRewrite)
    }

    /// The name in log lines (`RDB`, `AOF rewrite`).
    pub const fn name(self) -> &'static str {
        match self {
            ChildKind::Snapshot => "RDB",
            ChildKind::AofRewrite => "AOF rewrite",
            ChildKind::Replication => "replication",
        }
    }

    /// The process title of the child, as `ps` shows it.
    pub const fn title(self) -> &'static str {
        match self {
            ChildKind::Snapshot => "tine-rdb-bgsave",
            ChildKind::AofRewrite => "tine-aof-rewrite",
            ChildKind::Replication => "tine-rdb-to-replicas",
        }
    }
}

/// Why no child was started.
#[derive(Debug)]
pub enum ForkError {
    /// Another child lives.
    ChildActive(ChildKind),
    /// The pipe or the fork itself failed.
    System(Errno),
}

impl fmt::Display for ForkError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForkError::ChildActive(kind) => write!(out, "another child process ({}) is active", kind.name()),
            ForkError::System(errno) => {
                // The words of the C library, which others look for.
                let cause = std::io::Error::from_raw_os_error(*errno as i32);
                write!(out, "fork: {cause}{}", fork_advice(*errno))
            }
        }
    }
}

/// What an operator can do about a refused fork.
fn fork_advice(errno: Errno) -> &'static str {
    let overcommit = || ProcFs::system().overcommit_memory().unwrap_or(1);
    match errno {
        Errno::ENOMEM if overcommit() != 1 => {
            " (vm.overcommit_memory is not 1, so the kernel wants free memory for a second copy of everything: run \
             'sysctl vm.overcommit_memory=1' and put it into /etc/sysctl.conf)"
        }
        Errno::ENOMEM => " (the machine or the control group has no memory left for the page tables)",
        Errno::EAGAIN => {
            " (the limit of processes is reached: 'ulimit -u', or pids.max of the control group)"
        }
        _ => "",
    }
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildResult {
    /// Its job is done: exit code 0 and the final record.
    Done,
    /// It was cancelled by us.
    Cancelled,
    /// The reason, for the log.
    Failed(String),
}

/// A child that has been reaped.
#[derive(Debug)]
pub struct ChildEnd {
    pub kind: ChildKind,
    pub pid: i32,
    pub result: ChildResult,
    /// From fork to reaping.
    pub duration: Duration,
    pub progress: ChildProgress,
    /// What the kernel says of it; `None` when somebody else reaped it.
    pub exit: Option<ChildExit>,
    /// We have killed it.
    pub killed: bool,
}

/// A living child.
#[derive(Debug)]
pub struct ChildProcess {
    pub pid: i32,
    pub kind: ChildKind,
    pub started: Instant,
    /// Unix ms.
    pub started_ms: u64,
    /// How long the fork call stopped the parent, microseconds.
    pub fork_us: u64,
    /// Processor time of that call, microseconds.
    pub fork_cpu_us: u64,
    /// What its last records said.
    pub progress: ChildProgress,
    pipe: OwnedFd,
    /// When we have asked it to end.
    cancelled: Option<Instant>,
    killed: bool,
    succeeded: bool,
    /// Why the job failed, in the child's words.
    reason: Option<String>,
}

/// Forks and runs `job` in the child. The keyspace is set to spare shared pages until
/// [`ChildProcess::poll`] has reaped the child.
///
/// # Errors
/// The pipe's or the fork's error; nothing has changed then.
pub fn fork_job(
    kind: ChildKind,
    keyspace: &mut Keyspace,
    setup: &mut ChildSetup,
    job: impl FnOnce(&Keyspace, &mut ChildLink) -> Result<(), String>,
) -> Result<ChildProcess, ForkError> {
    if let Some(errno) = setup.refuse_forks {
        return Err(ForkError::System(errno));
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let (reader, writer) = nix::unistd::pipe2(flags).map_err(ForkError::System)?;
    let keys = keyspace.total_keys() as u64;
    let started = Instant::now();
    let guard = data_alloc::lock_for_fork();
    let mut held = Some(guard);
    // A child that outlived its server would put an old snapshot over one of the next server's.
    let options = ForkOptions { die_with_parent: true };
    let forked = fork::fork_child(options, || {
        // The child's own copy of the guard: without this its first allocation would wait for ever.
        drop(held.take());
        child::run(kind, keyspace, setup, writer, keys, job)
    });
    drop(held);
    let forked = forked.map_err(ForkError::System)?;
    keyspace.set_resize_policy(ResizePolicy::Avoid);
    keyspace.access.frozen = true;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(ChildProcess {
        pid: forked.pid,
        kind,
        started,
        started_ms: since_epoch.as_millis() as u64,
        fork_us: forked.fork_us,
        fork_cpu_us: forked.fork_cpu_us,
        progress: ChildProgress { keys_total: keys, ..ChildProgress::default() },
        pipe: reader,
        cancelled: None,
        killed: false,
        succeeded: false,
        reason: None,
    })
}

impl ChildProcess {
    /// Reads the child's records and reaps it if it has ended; the keyspace then goes back to
    /// normal. Never waits.
    pub fn poll(&mut self, keyspace: &mut Keyspace) -> Option<ChildEnd> {
        self.read_records();
        let exit = match fork::wait_nohang(self.pid) {
            Ok(None) => {
                self.kill_if_disobedient();
                return None;
            }
            Ok(Some(exit)) => Some(exit),
            Err(_) => None,
        };
        Some(self.finish(keyspace, exit))
    }

    fn kill_if_disobedient(&mut self) {
        if !self.killed && self.cancelled.is_some_and(|since| since.elapsed() > CANCEL_PATIENCE) {
            self.kill();
        }
    }

    /// Asks the child to end (SIGUSR1) without this counting as a failure; one that does not is
    /// killed by [`ChildProcess::poll`]. Whatever it still does counts as cancelled.
    pub fn cancel(&mut self) {
        self.cancelled.get_or_insert_with(Instant::now);
        // ESRCH: it has ended by itself and is about to be reaped.
        let _ = fork::kill(self.pid, CANCEL_SIGNAL);
    }

    /// Kills the child at once; counts as a failure.
    pub fn kill(&mut self) {
        self.killed = true;
        // ESRCH: it has ended by itself and is about to be reaped.
        let _ = fork::kill(self.pid, libc::SIGKILL);
    }

    /// As [`ChildProcess::kill`]; `reason` becomes that of the failure.
    pub fn kill_for(&mut self, reason: String) {
        self.reason = Some(reason);
        self.kill();
    }

    /// Whether it has been killed and is about to end.
    pub fn is_killed(&self) -> bool {
        self.killed
    }

    /// Whether it has been asked to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// Cancels the child and waits at most [`CANCEL_MOMENT`] for its end.
    pub fn cancel_briefly(&mut self, keyspace: &mut Keyspace) -> Option<ChildEnd> {
        self.cancel();
        self.wait_for_end(keyspace, CANCEL_MOMENT)
    }

    /// Cancels the child and waits for its end, which takes milliseconds. One that does not obey
    /// (stopped, stuck in a system call) is killed. `None`: it hangs in the kernel even so and is
    /// left to [`ChildProcess::poll`]; it counts as cancelled.
    pub fn cancel_and_wait(&mut self, keyspace: &mut Keyspace) -> Option<ChildEnd> {
        self.cancel();
        self.wait_for_end(keyspace, CANCEL_PATIENCE).or_else(|| {
            self.kill();
            self.wait_for_end(keyspace, KILL_PATIENCE)
        })
    }

    fn wait_for_end(&mut self, keyspace: &mut Keyspace, patience: Duration) -> Option<ChildEnd> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(end) = self.poll(keyspace) {
                return Some(end);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(REAP_PAUSE);
        }
    }

    fn finish(&mut self, keyspace: &mut Keyspace, exit: Option<ChildExit>) -> ChildEnd {
        // Records written between the last look and the end.
        self.read_records();
        keyspace.set_resize_policy(ResizePolicy::Allow);
        keyspace.access.frozen = false;
        ChildEnd {
            kind: self.kind,
            pid: self.pid,
            result: self.judge(exit),
            duration: self.started.elapsed(),
            progress: self.progress.clone(),
            exit,
            killed: self.killed,
        }
    }

    fn judge(&self, exit: Option<ChildExit>) -> ChildResult {
        match exit.map(|exit| exit.outcome) {
            _ if self.cancelled.is_some() => ChildResult::Cancelled,
            Some(ChildOutcome::Exited(0)) if self.succeeded => ChildResult::Done,
            Some(ChildOutcome::Exited(0)) => ChildResult::Failed("it ended without its final report".into()),
            Some(ChildOutcome::Signaled(CANCEL_SIGNAL)) => ChildResult::Cancelled,
            Some(ChildOutcome::Exited(code)) => {
                ChildResult::Failed(self.reason.clone().unwrap_or_else(|| format!("exit code {code}")))
            }
            Some(ChildOutcome::Signaled(signal)) => {
                let killed_for = self.reason.clone().filter(|_| self.killed);
                ChildResult::Failed(killed_for.unwrap_or_else(|| format!("terminated by signal {signal}")))
            }
            None => ChildResult::Failed("it was reaped by somebody else".into()),
        }
    }

    fn read_records(&mut self) {
        let mut bytes = [0u8; Record::BYTES];
        // Writes of a record are atomic (below PIPE_BUF), so reads of that length never split one.
        while let Ok(Record::BYTES) = nix::unistd::read(&self.pipe, &mut bytes) {
            let record = Record::from_bytes(&bytes);
            self.succeeded |= record.succeeded;
            self.progress.take(&record, Instant::now());
            self.read_reason(record.reason_bytes as usize);
        }
    }

    /// Reads the text that was written together with a record.
    fn read_reason(&mut self, bytes: usize) {
        let mut text = [0u8; REASON_MAX_BYTES];
        let Some(text) = text.get_mut(..bytes).filter(|text| !text.is_empty()) else { return };
        if let Ok(count) = nix::unistd::read(&self.pipe, text) {
            self.reason = Some(String::from_utf8_lossy(&text[..count]).into_owned());
        }
    }
}

/// One fork, as data for whoever wants to look at it.
#[derive(Clone, Debug)]
pub struct ForkEvent {
    /// Counts from 1.
    pub id: u64,
    /// Unix ms.
    pub started_ms: u64,
    pub started: Instant,
    pub kind: ChildKind,
    pub pid: i32,
    pub fork_us: u64,
    pub fork_cpu_us: u64,
    /// Resident set of the parent at the fork, bytes.
    pub rss_bytes: u64,
    /// Minor faults of the parent so far, at the fork.
    pub minor_faults: u64,
    pub keys_total: u64,
    /// Most bytes copied on write so far.
    pub cow_peak_bytes: u64,
    pub duration_ms: u64,
    /// `None` while the child lives.
    pub result: Option<ChildResult>,
    pub end: Option<ForkEnd>,
}

/// What is known when a child has been reaped.
#[derive(Clone, Debug)]
pub struct ForkEnd {
    pub progress: ChildProgress,
    pub exit: Option<ChildExit>,
    /// We have killed it.
    pub killed: bool,
    /// Minor faults of the parent so far.
    pub minor_faults: u64,
    /// Resident set of the parent, bytes.
    pub rss_bytes: u64,
    /// Rebuilds of huge pages that had ended before.
    pub rebuilds: u64,
}

/// Counters and the last forks.
#[derive(Debug, Default)]
pub struct ForkLog {
    /// `total_forks`.
    pub total: u64,
    /// `latest_fork_usec`.
    pub latest_us: u64,
    /// Latest last.
    pub events: VecDeque<ForkEvent>,
}

impl ForkLog {
    /// Notes a child that was just started.
    pub fn started(&mut self, child: &ChildProcess) {
        self.total += 1;
        self.latest_us = child.fork_us;
        if self.events.len() == FORK_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(ForkEvent {
            id: self.total,
            started_ms: child.started_ms,
            started: child.started,
            kind: child.kind,
            pid: child.pid,
            fork_us: child.fork_us,
            fork_cpu_us: child.fork_cpu_us,
            rss_bytes: info::current_rss_bytes(),
            minor_faults: resource_usage(UsageOf::Process).minor_faults,
            keys_total: child.progress.keys_total,
            cow_peak_bytes: 0,
            duration_ms: 0,
            result: None,
            end: None,
        });
    }

    /// Notes the end of a child. `rebuilds`: those that had ended by then.
    pub fn ended(&mut self, end: &ChildEnd, rebuilds: u64) {
        let running =
            self.events.iter_mut().rev().find(|event| event.pid == end.pid && event.result.is_none());
        if let Some(event) = running {
            event.cow_peak_bytes = end.progress.cow_peak_bytes;
            event.duration_ms = end.duration.as_millis() as u64;
            event.result = Some(end.result.clone());
            event.end = Some(ForkEnd {
                progress: end.progress.clone(),
                exit: end.exit,
                killed: end.killed,
                minor_faults: resource_usage(UsageOf::Process).minor_faults,
                rss_bytes: info::current_rss_bytes(),
                rebuilds,
            });
        }
    }
}
