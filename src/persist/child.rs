//! What a forked child does besides its job: name itself, report progress, end with a code.
//!
//! The child takes no lock of ours and touches no socket, no queue, no epoll set. It reports by
//! fixed-size records over a non-blocking pipe; a record that does not fit is dropped, the next
//! one carries the same figures. The last record of a job that failed is followed by the reason.
//!
//! Copied bytes are measured in the child (its private dirty pages; right after the fork it has none):
//! reading them walks page tables, so a measurement is made only when 249 times the processor time of the
//! last has passed (0.4 % of the child's time; the last one, at the end, comes on top), or five seconds;
//! one second where `fork-cow-limit` depends on it.

use crate::keyspace::Keyspace;
use crate::persist::fork::ChildKind;
use crate::sys::affinity;
use crate::sys::info::thread_busy_time;
use crate::sys::log_sink::LogSink;
use crate::sys::oom;
use crate::sys::proc::ProcFs;
use crate::sys::title::ProcessTitle;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Shortest time between two records.
const RECORD_INTERVAL: Duration = Duration::from_millis(50);
/// Shortest time between two measurements of copied memory.
const MEASURE_INTERVAL: Duration = Duration::from_millis(100);
/// Longest time between two measurements, whatever they cost: people watch them.
const MEASURE_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// The same where a limit on what is copied is to be kept: it grows quickly.
const LIMITED_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// A measurement's share of the time: one part in this many.
const MEASURE_DUTY: u32 = 249;
/// Calls of [`ChildLink::advance`] between two looks at the clock, as a mask.
const CLOCK_MASK: u64 = 255;

/// Longest reason that a failed child tells its parent, bytes: a line with two paths. Together with
/// a record it stays below PIPE_BUF, so that both are written at once.
pub(super) const REASON_MAX_BYTES: usize = 2048;

/// Exit code of a child whose job failed; the reason is in the log.
pub const FAILED_EXIT_CODE: i32 = 1;

/// What a child needs from the process it is forked from. Filled by boot.
#[derive(Debug, Default)]
pub struct ChildSetup {
    /// The installed log sink: the child's lines get its pid and the role `C`.
    pub log: Option<&'static LogSink>,
    /// The title area, also used by the parent.
    pub title: Option<ProcessTitle>,
    /// `oom-score-adj-values` of children, when `oom-score-adj` is on.
    pub oom_score: Option<i32>,
    /// Tests: forks are refused with this errno, as a machine without memory would.
    pub refuse_forks: Option<nix::errno::Errno>,
    /// `fork-cow-limit` is set: what is copied is measured often.
    pub is_limited: bool,
    /// `bgsave_cpulist` or `aof_rewrite_cpulist`, empty: no pinning.
    pub snapshot_processors: Vec<usize>,
    pub rewrite_processors: Vec<usize>,
}

/// Progress as the parent knows it.
#[derive(Clone, Debug, Default)]
pub struct ChildProgress {
    pub keys_done: u64,
    pub keys_total: u64,
    /// Bytes written to the child's file.
    pub bytes_written: u64,
    /// Bytes copied on write: now, and at most so far.
    pub cow_bytes: u64,
    pub cow_peak_bytes: u64,
    /// When `cow_bytes` was last measured.
    pub cow_measured: Option<Instant>,
    /// What these measurements have cost the child, microseconds.
    pub measure_us: u64,
    /// When the last record came: the child's heartbeat.
    pub heard: Option<Instant>,
}

impl ChildProgress {
    /// `current_fork_perc`.
    pub fn percent(&self) -> f64 {
        if self.keys_total == 0 { 0.0 } else { self.keys_done as f64 * 100.0 / self.keys_total as f64 }
    }

    pub(super) fn take(&mut self, record: &Record, now: Instant) {
        self.keys_done = record.keys_done;
        self.bytes_written = record.bytes_written;
        if record.measurements > 0 {
            self.cow_bytes = record.cow_bytes;
            self.cow_peak_bytes = self.cow_peak_bytes.max(record.cow_peak_bytes);
            self.cow_measured = Some(now);
        }
        self.measure_us = record.measure_us;
        self.heard = Some(now);
    }
}

/// One message of the child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub keys_done: u64,
    pub bytes_written: u64,
    pub cow_bytes: u64,
    pub cow_peak_bytes: u64,
    pub measurements: u64,
    pub measure_us: u64,
    pub succeeded: bool,
    /// So many bytes of text follow: why the job failed.
    pub reason_bytes: u64,
}

impl Record {
    /// Below PIPE_BUF, so that a write is whole or not at all.
    pub const BYTES: usize = 64;

    fn words(&self) -> [u64; 8] {
        [
            self.keys_done,
            self.bytes_written,
            self.cow_bytes,
            self.cow_peak_bytes,
            self.measurements,
            self.measure_us,
            u64::from(self.succeeded),
            self.reason_bytes,
        ]
    }

    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (target, word) in bytes.chunks_exact_mut(8).zip(self.words()) {
            target.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |index: usize| {
            let at: [u8; 8] = bytes[index * 8..index * 8 + 8].try_into().expect("the slice has 8 bytes");
            u64::from_le_bytes(at)
        };
        Record {
            keys_done: word(0),
            bytes_written: word(1),
            cow_bytes: word(2),
            cow_peak_bytes: word(3),
            measurements: word(4),
            measure_us: word(5),
            succeeded: word(6) != 0,
            reason_bytes: word(7),
        }
    }
}

/// The child's end of the pipe and its figures.
#[derive(Debug)]
pub struct ChildLink {
    pipe: Option<OwnedFd>,
    record: Record,
    calls: u64,
    last_record: Instant,
    next_measure: Instant,
    measure_interval_max: Duration,
    proc: ProcFs,
}

impl ChildLink {
    pub(super) fn new(pipe: OwnedFd, is_limited: bool) -> Self {
        let measure_interval_max = if is_limited { LIMITED_INTERVAL_MAX } else { MEASURE_INTERVAL_MAX };
        ChildLink { pipe: Some(pipe), measure_interval_max, ..Self::disconnected() }
    }

    /// A link that reports to nobody: for saves in the foreground, and tests.
    pub fn disconnected() -> Self {
        let now = Instant::now();
        ChildLink {
            pipe: None,
            record: Record::default(),
            calls: 0,
            last_record: now,
            next_measure: now + MEASURE_INTERVAL,
            measure_interval_max: MEASURE_INTERVAL_MAX,
            proc: ProcFs::system(),
        }
    }

    /// Counts saved keys. A few nanoseconds but every 256th call, which reads the clock.
    #[inline]
    pub fn advance(&mut self, keys: u64) {
        self.record.keys_done += keys;
        self.calls += 1;
        if self.calls & CLOCK_MASK == 0 && self.pipe.is_some() {
            self.report_if_due();
        }
    }

    /// How much of the file has been written; shown by the next record.
    pub fn set_bytes_written(&mut self, bytes: u64) {
        self.record.bytes_written = bytes;
    }

    /// Sends a record when the last one is old enough: for each block of bytes, as keys may be few and
    /// big.
    pub fn report_if_due(&mut self) {
        if self.pipe.is_none() {
            return;
        }
        let now = Instant::now();
        if now < self.last_record + RECORD_INTERVAL {
            return;
        }
        if now >= self.next_measure {
            self.measure();
        }
        self.send();
    }

    fn send(&mut self) {
        self.last_record = Instant::now();
        if let Some(pipe) = &self.pipe {
            // A full pipe drops the record; EPIPE: the parent is gone, the job may still end well.
            let _ = nix::unistd::write(pipe, &self.record.to_bytes());
        }
    }

    fn measure(&mut self) {
        let start = thread_busy_time();
        let Ok(rollup) = self.proc.smaps_rollup() else { return };
        self.record.cow_bytes = rollup.private_dirty;
        self.record.cow_peak_bytes = self.record.cow_peak_bytes.max(self.record.cow_bytes);
        self.record.measurements += 1;
        let cost = thread_busy_time().saturating_sub(start);
        self.record.measure_us += cost.as_micros() as u64;
        self.next_measure = Instant::now() + measure_pause(cost, self.measure_interval_max);
    }

    /// The last record, sent even when the pipe is full at the moment.
    fn finish(&mut self, result: &Result<(), String>) {
        const TRIES: u32 = 1000;
        self.measure();
        self.record.succeeded = result.is_ok();
        let reason = result.as_ref().err().map_or("", |reason| first_bytes(reason));
        self.record.reason_bytes = reason.len() as u64;
        let mut bytes = self.record.to_bytes().to_vec();
        bytes.extend_from_slice(reason.as_bytes());
        let Some(pipe) = &self.pipe else { return };
        for _ in 0..TRIES {
            match nix::unistd::write(pipe, &bytes) {
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                _ => return,
            }
        }
    }
}

/// How long after a measurement the next one may be made.
fn measure_pause(cost: Duration, longest: Duration) -> Duration {
    (cost * MEASURE_DUTY).clamp(MEASURE_INTERVAL, longest)
}

/// As much of a reason as is told to the parent.
fn first_bytes(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_MAX_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

/// The child's main: set itself up, do the job, report, give the exit code.
pub(super) fn run(
    kind: ChildKind,
    keyspace: &Keyspace,
    setup: &mut ChildSetup,
    pipe: OwnedFd,
    keys: u64,
    job: impl FnOnce(&Keyspace, &mut ChildLink) -> Result<(), String>,
) -> i32 {
    if let Some(sink) = setup.log {
        sink.set_role_child();
    }
    if let Some(title) = &mut setup.title {
        title.set(kind.title());
    }
    if let Some(score) = setup.oom_score {
        // Without the privilege the child keeps its parent's score, which is no reason to give up.
        let _ = oom::write_score_adj(Path::new("/proc"), score);
    }
    let processors = match kind {
        ChildKind::AofRewrite => &setup.rewrite_processors,
        ChildKind::Snapshot | ChildKind::Replication => &setup.snapshot_processors,
    };
    if !processors.is_empty() && affinity::pin_current_thread(processors).is_err() {
        log::warn!("Cannot pin the {} child to its processors", kind.name());
    }
    let mut link = ChildLink::new(pipe, setup.is_limited);
    let result = job(keyspace, &mut link);
    link.finish(&result);
    log_copied(kind, &link.record, keys);
    match result {
        Ok(()) => 0,
        Err(reason) => {
            log::error!("{} child failed: {reason}", kind.name());
            FAILED_EXIT_CODE
        }
    }
}

fn log_copied(kind: ChildKind, record: &Record, keys: u64) {
    const MIB: u64 = 1 << 20;
    log::info!(
        "Fork CoW for {}: current {} MB, peak {} MB, {} of {} keys",
        kind.name(),
        record.cow_bytes / MIB,
        record.cow_peak_bytes / MIB,
        record.keys_done,
        keys
    );
}

#[cfg(test)]
mod tests {
    use super::{ChildProgress, LIMITED_INTERVAL_MAX, MEASURE_INTERVAL_MAX, Record, measure_pause};
    use std::time::{Duration, Instant};

    #[test]
    fn a_dear_measurement_does_not_silence_the_next() {
        for (cost_ms, free_ms, limited_ms) in
            [(0, 100, 100), (2, 498, 498), (10, 2490, 1000), (80, 5000, 1000)]
        {
            let cost = Duration::from_millis(cost_ms);
            assert_eq!(measure_pause(cost, MEASURE_INTERVAL_MAX), Duration::from_millis(free_ms));
            assert_eq!(measure_pause(cost, LIMITED_INTERVAL_MAX), Duration::from_millis(limited_ms));
        }
    }

    #[test]
    fn records_survive_the_pipe() {
        let record = Record {
            keys_done: 7,
            bytes_written: 1 << 40,
            cow_bytes: 4096,
            cow_peak_bytes: 8192,
            measurements: 2,
            measure_us: 31,
            succeeded: true,
            reason_bytes: 5,
        };
        assert_eq!(Record::from_bytes(&record.to_bytes()), record);
        let mut progress = ChildProgress { keys_total: 14, ..ChildProgress::default() };
        progress.take(&record, Instant::now());
        assert_eq!(progress.percent(), 50.0);
        assert_eq!((progress.cow_bytes, progress.cow_peak_bytes, progress.measure_us), (4096, 8192, 31));
    }
}
