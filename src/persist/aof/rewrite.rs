//! State of AOF rewrites: what runs, how the last one ended, when the next one is due.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// Failures in a row after which automatic rewrites are held back.
const FAILURES_FREE: u32 = 3;
/// First pause after so many failures; doubled with each further one (as Redis 7).
const PAUSE_FIRST: Duration = Duration::from_secs(60);
/// Longest pause between automatic tries.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Where a rewrite stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RewritePhase {
    #[default]
    Idle,
    /// The child writes.
    Child,
    /// The child is done, the writer appends the buffer and switches.
    Switching,
}

/// See the module header. Times in seconds as INFO shows them; -1: never.
#[derive(Debug)]
pub struct RewriteState {
    pub phase: RewritePhase,
    /// A rewrite starts as soon as no child lives (`aof_rewrite_scheduled`).
    pub scheduled: bool,
    started: Option<Instant>,
    /// `aof_last_rewrite_time_sec`.
    pub last_duration_s: i64,
    /// `aof_last_bgrewrite_status`.
    pub last_ok: bool,
    /// `aof_rewrites`: started so far.
    pub count: u64,
    /// `aof_rewrites_consecutive_failures`.
    pub failures: u32,
    next_automatic: Option<Instant>,
    /// `aof_last_cow_size`.
    pub last_cow_bytes: u64,
    /// `aof_base_size`: length of the file after the last rewrite or at the start.
    pub base_bytes: u64,
    /// `aof_rewrite_last_error`: why the last one failed, and when.
    pub last_error: Option<(String, Instant)>,
    /// How long main was busy with the end of the last child, microseconds.
    pub child_end_us: u64,
    /// `aof_rewrite_final_step_us`: how long the main thread stopped at the end of a rewrite.
    pub final_step_us: StepHistory,
    /// `aof_rewrite_switch_us`: the writer's last step: rest, fdatasync, rename, fsync.
    pub switch_us: StepHistory,
    last_failure: Option<Instant>,
}

/// Rewrites of which the times of their steps are kept.
const HISTORY_LEN: usize = 16;

/// Times of the last rewrites, the latest first, microseconds.
#[derive(Debug, Default)]
pub struct StepHistory {
    times_us: VecDeque<u64>,
}

impl StepHistory {
    pub fn add(&mut self, time_us: u64) {
        self.times_us.truncate(HISTORY_LEN - 1);
        self.times_us.push_front(time_us);
    }

    /// Of the last rewrite; 0 before the first.
    pub fn last(&self) -> u64 {
        self.times_us.front().copied().unwrap_or(0)
    }
}

/// As INFO shows it: `1200,900`.
impl fmt::Display for StepHistory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, time_us) in self.times_us.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{time_us}")?;
        }
        Ok(())
    }
}

impl Default for RewriteState {
    fn default() -> Self {
        RewriteState {
            phase: RewritePhase::Idle,
            scheduled: false,
            started: None,
            last_duration_s: -1,
            last_ok: true,
            count: 0,
            failures: 0,
            next_automatic: None,
            last_cow_bytes: 0,
            base_bytes: 0,
            last_error: None,
            child_end_us: 0,
            final_step_us: StepHistory::default(),
            switch_us: StepHistory::default(),
            last_failure: None,
        }
    }
}

impl RewriteState {
    /// `aof_rewrite_in_progress`: from the fork until the new file is in place.
    pub fn in_progress(&self) -> bool {
        self.phase != RewritePhase::Idle
    }

    /// `aof_current_rewrite_time_sec`.
    pub fn current_duration_s(&self) -> i64 {
        self.started.filter(|_| self.in_progress()).map_or(-1, |start| start.elapsed().as_secs() as i64)
    }

    /// A child was forked.
    pub fn begin(&mut self) {
        self.phase = RewritePhase::Child;
        self.scheduled = false;
        self.started = Some(Instant::now());
        self.count += 1;
    }

    /// The new file is in place.
    pub fn succeeded(&mut self) {
        self.end();
        (self.last_ok, self.last_error, self.last_failure) = (true, None, None);
        (self.failures, self.next_automatic) = (0, None);
    }

    /// The rewrite has ended without a new file.
    pub fn failed(&mut self, reason: String) {
        self.end();
        self.note_failed_start(reason);
    }

    fn end(&mut self) {
        self.phase = RewritePhase::Idle;
        self.last_duration_s = self.started.take().map_or(-1, |start| start.elapsed().as_secs() as i64);
    }

    /// The rewrite was cancelled: neither a success nor a failure.
    pub fn cancel(&mut self) {
        self.phase = RewritePhase::Idle;
        self.started = None;
    }

    /// A try that could not even start counts like one that failed.
    pub fn note_failed_start(&mut self, reason: String) {
        let now = Instant::now();
        self.last_ok = false;
        self.last_error = Some((reason, now));
        self.last_failure = Some(now);
        self.failures += 1;
        if self.failures >= FAILURES_FREE {
            let doublings = (self.failures - FAILURES_FREE).min(16);
            let pause = (PAUSE_FIRST * (1 << doublings)).min(PAUSE_MAX);
            self.next_automatic = Some(now + pause);
            log::warn!(
                "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {} minutes",
                pause.as_secs() / 60
            );
        }
    }

    /// Whether automatic tries are held back after failures.
    pub fn is_held_back(&self) -> bool {
        self.next_automatic.is_some_and(|time| Instant::now() < time)
    }

    /// The same for a rewrite without which writes are refused: a minute is the longest pause.
    pub fn is_healing_held_back(&self) -> bool {
        self.is_held_back() && self.last_failure.is_some_and(|time| time.elapsed() < PAUSE_FIRST)
    }

    /// Growth since the last rewrite in percent, when that makes one due.
    pub fn growth_due(&self, current_bytes: u64, percentage: u32, size_min_bytes: u64) -> Option<u64> {
        if percentage == 0 || current_bytes <= size_min_bytes {
            return None;
        }
        let base = self.base_bytes.max(1);
        let growth = (current_bytes as u128 * 100 / base as u128).saturating_sub(100) as u64;
        (growth >= u64::from(percentage)).then_some(growth)
    }
}

#[cfg(test)]
mod tests {
    use super::{RewriteState, StepHistory};

    #[test]
    fn growth_counts_from_the_last_rewrite() {
        let state = RewriteState { base_bytes: 1000, ..RewriteState::default() };
        assert_eq!(state.growth_due(1999, 100, 10), None);
        assert_eq!(state.growth_due(2000, 100, 10), Some(100));
        assert_eq!(state.growth_due(2000, 100, 2000), None, "too small");
        assert_eq!(state.growth_due(1 << 40, 0, 10), None, "switched off");
    }

    #[test]
    fn failures_hold_automatic_rewrites_back() {
        let mut state = RewriteState::default();
        for _ in 0..3 {
            assert!(!state.is_held_back());
            state.begin();
            state.failed("on purpose".to_owned());
        }
        assert!(state.is_held_back() && state.is_healing_held_back() && !state.last_ok);
        state.begin();
        state.succeeded();
        assert!(!state.is_held_back() && state.last_ok && state.last_error.is_none());
    }

    #[test]
    fn a_history_shows_the_latest_first_and_is_bounded() {
        let mut history = StepHistory::default();
        assert_eq!((history.last(), history.to_string().as_str()), (0, ""));
        for time_us in 0..40 {
            history.add(time_us);
        }
        assert_eq!(history.last(), 39);
        assert!(history.to_string().starts_with("39,38,37,") && history.to_string().ends_with(",24"));
    }
}
