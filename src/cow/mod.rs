//! Floor 5, beside `persist`: the observer. What each fork costs, seen from both sides, as it happens.
//!
//! ```text
//!  persist::fork ─ ForkEvent ─►┐
//!  the child ──── its reports ─►│ Observer::sample, ten times a second ─► ForkRecord, its Timeline
//!  server ─────── Counters ────►│                                          │  (the last 64)
//!  net ────────── turns ───────►│ delays                                   ▼
//!  fork-observer ─ readings ───►┘                                 FORK, INFO, the log, `doctor`
//! ```
//! Knows `persist` and `sys`, nobody above: the server hands its counters in. Each figure is a cheap one
//! (a system call or a small file of /proc) or is read by somebody else (the child, a thread), and
//! a sample is taken only when 99 times the processor time of the last has passed, or a second: about 1 % of
//! main's time at most. Without a child nearby the files are read once a second, so that an idle server
//! sleeps.
//!
//! | module | what |
//! | --- | --- |
//! | `record`, `timeline` | what is known of a fork, under its names |
//! | `delays` | how long clients wait, before, beside and after a child |
//! | `rollup` | the thread that reads the parent's private and huge pages |
//! | `doctor` | the same in plain words, with advice |

pub mod delays;
pub mod doctor;
pub mod record;
pub mod rollup;
mod sight;
#[cfg(test)]
mod tests;
pub mod timeline;

use crate::cow::delays::{DelayRecorder, Delays, WINDOW};
use crate::cow::record::{ForkRecord, ForkState, kind_name};
use crate::cow::rollup::RollupWatch;
use crate::cow::sight::{Sight, Watched};
use crate::cow::timeline::Sample;
use crate::persist::Persistence;
use crate::persist::data_pages::{PageSize, RebuildFigures};
use crate::persist::fork::{ChildKind, ChildResult, FORK_EVENTS_MAX, ForkEvent};
use crate::sys::info::thread_busy_time;
use crate::sys::proc::{MemoryLeft, ProcFs, ProcessStatus};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A sample's share of main's time: one part in this many.
const DUTY: u32 = 99;
/// Longest time between two samples, whatever they cost.
const SAMPLE_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Samples kept from before a fork: two seconds.
const SAMPLES_BEFORE: usize = 20;
/// How often /proc is read while no child lives.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Forks whose extra memory says what the next one may need.
const EXPECTED_FROM: usize = 8;

/// What only the server counts; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub commands: u64,
    /// Calls of write commands.
    pub writes: u64,
    /// Bytes received from clients.
    pub input_bytes: u64,
}

/// See the header.
#[derive(Debug)]
pub struct Observer {
    /// Fed with each turn of the loop.
    pub delays: DelayRecorder,
    proc: ProcFs,
    readings: RollupWatch,
    /// Latest last.
    records: VecDeque<ForkRecord>,
    /// The fork whose record is still being written.
    watched: Option<Watched>,
    /// The record that waits for the end of a rebuild, and the rebuilds before.
    rebuild: Option<(u64, u64)>,
    before: VecDeque<(Instant, Sample)>,
    /// What /proc said when it was `looked` at.
    status: ProcessStatus,
    memory_left: Option<MemoryLeft>,
    looked: Option<Instant>,
    /// The cost of the last sample forbids another one until then.
    next_sample: Option<Instant>,
}

impl Default for Observer {
    fn default() -> Self {
        Observer::new(ProcFs::system())
    }
}

impl Observer {
    pub fn new(proc: ProcFs) -> Self {
        Observer {
            delays: DelayRecorder::default(),
            readings: RollupWatch::new(proc.clone()),
            proc,
            records: VecDeque::new(),
            watched: None,
            rebuild: None,
            before: VecDeque::new(),
            status: ProcessStatus::default(),
            memory_left: None,
            looked: None,
            next_sample: None,
        }
    }

    /// Forks, latest last.
    pub fn records(&self) -> &VecDeque<ForkRecord> {
        &self.records
    }

    pub fn latest(&self) -> Option<&ForkRecord> {
        self.records.back()
    }

    pub fn find(&self, id: u64) -> Option<&ForkRecord> {
        self.records.iter().find(|record| record.id == id)
    }

    /// Memory that could still be had; at most a second old while the server is not stuck.
    pub fn memory_left(&self) -> Option<MemoryLeft> {
        self.memory_left
    }

    /// Memory that the next fork may need, by what the last ones needed; without any, half of what
    /// is resident, which is what random writes to half of the pages would copy.
    pub fn expected_bytes(&self, rss_bytes: u64) -> u64 {
        let ended = self.records.iter().rev().filter(|record| record.state == ForkState::Done);
        let most = ended.take(EXPECTED_FROM).map(|record| record.extra_peak_bytes).max();
        most.map_or(rss_bytes / 2, |most| (most + most / 2).max(rss_bytes / 50))
    }

    /// Why a fork now could run out of memory, if it could.
    pub fn shortage(&self, rss_bytes: u64) -> Option<String> {
        const MB: u64 = 1 << 20;
        let (left, wanted) = (self.memory_left?, self.expected_bytes(rss_bytes));
        let of = if left.is_group { "control group" } else { "machine" };
        (left.bytes < wanted).then(|| {
            format!(
                "the {of} has {} MB left, and a child may need {} MB (FORK DOCTOR says more)",
                left.bytes / MB,
                wanted / MB
            )
        })
    }

    /// Forgets forks that have ended. Says how many.
    pub fn reset(&mut self) -> usize {
        let count = self.records.len();
        self.records.retain(ForkRecord::is_running);
        if self.records.is_empty() {
            (self.watched, self.rebuild) = (None, None);
        }
        count - self.records.len()
    }

    /// A child was just forked.
    pub fn began(&mut self, persistence: &Persistence, counters: Counters, now: Instant) {
        // The time after a child that ended a moment ago is the time before this one.
        let before = self.close_watched(persistence, counters, now);
        let Some(event) = persistence.forks.events.back() else { return };
        if self.records.len() == FORK_EVENTS_MAX {
            self.records.pop_front();
        }
        // A fork leaves the tables of the parent as they are.
        self.status = self.proc.status().unwrap_or_default();
        let mut record = self.new_record(event, persistence);
        record.before = before.unwrap_or_else(|| self.delays.take_window(now));
        self.records.push_back(record);
        self.watched = Some(Watched::new(event, counters, self.proc.oom_kills().ok()));
        if let Err(failure) = self.readings.begin() {
            log::warn!("Can't start the thread that observes forks: {failure}");
        }
    }

    fn new_record(&mut self, event: &ForkEvent, persistence: &Persistence) -> ForkRecord {
        let mut record = ForkRecord::new(event.id, event.kind, event.pid);
        record.started_ms = event.started_ms;
        record.huge_pages = matches!(persistence.pages.size(), PageSize::Huge(_));
        record.fork_us = event.fork_us;
        record.fork_cpu_us = event.fork_cpu_us;
        record.rss_bytes = event.rss_bytes;
        record.keys_total = event.keys_total;
        record.page_tables_before_bytes = page_tables_of(&self.status);
        record.headroom_before_bytes = self.memory_left.map(|left| left.bytes);
        record.headroom_min_bytes = record.headroom_before_bytes;
        record.headroom_is_group = self.memory_left.is_some_and(|left| left.is_group);
        record.headroom_wanted_bytes = self.expected_bytes(event.rss_bytes);
        for (taken, mut sample) in self.before.drain(..) {
            let ms = event.started.saturating_duration_since(taken).as_millis();
            sample[0] = -i64::try_from(ms).unwrap_or(i64::MAX);
            record.timeline.push(sample);
        }
        record
    }

    /// Takes a sample when it is time: to be called ten times a second. 100 to 200 us beside a child and once
    /// a second, else 5.
    pub fn sample(&mut self, persistence: &Persistence, counters: Counters, now: Instant) {
        if self.next_sample.is_some_and(|next| now < next) {
            return;
        }
        let start = thread_busy_time();
        let sight = self.look(persistence, counters, now);
        self.note_end(persistence, counters, now);
        let Some(watched) = &self.watched else {
            self.remember(&sight, now);
            self.delays.rotate(now);
            self.follow_rebuild(persistence);
            return self.pay(start, now);
        };
        let is_over = watched.ended.is_some_and(|ended| now.saturating_duration_since(ended) >= WINDOW);
        if let Some(record) = self.records.iter_mut().rev().find(|record| record.id == watched.id) {
            if watched.ended.is_none() {
                sight.apply(record, watched);
            } else if record.kind == ChildKind::AofRewrite && !persistence.aof.rewrite.in_progress() {
                record.final_step_us.get_or_insert(persistence.aof.rewrite.final_step_us.last());
            }
            record.timeline.push(sight.sample(watched));
        }
        self.follow_rebuild(persistence);
        if is_over {
            self.close_watched(persistence, counters, now);
        }
        self.pay(start, now);
    }

    /// Counts the processor time of a sample, and when the next may be taken.
    fn pay(&mut self, start: Duration, now: Instant) {
        let cost = thread_busy_time().saturating_sub(start);
        self.next_sample = Some(now + (cost * DUTY).min(SAMPLE_INTERVAL_MAX));
        if self.watched.as_ref().is_some_and(|watched| watched.ended.is_none())
            && let Some(record) = self.records.back_mut()
        {
            record.observer_main_us += cost.as_micros() as u64;
        }
    }

    fn look(&mut self, persistence: &Persistence, counters: Counters, now: Instant) -> Sight {
        let is_due = |looked: Instant| now.saturating_duration_since(looked) >= IDLE_INTERVAL;
        if self.watched.is_some() || self.looked.is_none_or(is_due) {
            self.memory_left = self.proc.memory_left().ok();
            self.status = self.proc.status().unwrap_or_default();
            self.looked = Some(now);
        }
        Sight::new(&self.status, persistence, counters, self.memory_left, self.delays.take_interval(), now)
            .with(self.readings.readings(), self.watched.is_some())
    }

    /// Keeps the last two seconds without a child.
    fn remember(&mut self, sight: &Sight, now: Instant) {
        if self.before.len() == SAMPLES_BEFORE {
            self.before.pop_front();
        }
        self.before.push_back((now, sight.sample_before()));
    }

    /// Writes down the end of the child, if it has ended: to be called when a child was reaped.
    pub fn note_end(&mut self, persistence: &Persistence, counters: Counters, now: Instant) {
        let Some(watched) = self.watched.as_mut().filter(|watched| watched.ended.is_none()) else { return };
        let events = persistence.forks.events.iter().rev();
        let Some(event) = events.into_iter().find(|event| event.id == watched.id) else { return };
        let (Some(end), Some(result)) = (&event.end, &event.result) else { return };
        self.readings.end();
        watched.ended = Some(now);
        self.rebuild = Some((watched.id, end.rebuilds));
        let Some(record) = self.records.iter_mut().rev().find(|record| record.id == event.id) else { return };
        let oom_kills = self.proc.oom_kills().ok();
        watched.apply_end(record, end, counters, oom_kills);
        record.duration_ms = event.duration_ms;
        record.page_tables_after_bytes = page_tables_of(&self.status);
        sight::apply_readings(record, &self.readings.readings(), now);
        record.during = self.delays.take_window(now);
        record.state = match result {
            ChildResult::Done => ForkState::Done,
            ChildResult::Cancelled => ForkState::Cancelled,
            ChildResult::Failed(reason) => ForkState::Failed(reason.clone()),
        };
        log::info!("{}", line_of(record));
    }

    /// Nothing more is written to the record of the watched fork. Gives the delays after its child, if
    /// that has ended.
    fn close_watched(
        &mut self,
        persistence: &Persistence,
        counters: Counters,
        now: Instant,
    ) -> Option<Delays> {
        self.note_end(persistence, counters, now);
        let watched = self.watched.take().filter(|watched| watched.ended.is_some())?;
        let after = self.delays.take_window(now);
        if let Some(record) = self.records.iter_mut().rev().find(|record| record.id == watched.id) {
            record.after = after;
        }
        Some(after)
    }

    /// What has become of the rebuild of huge pages after the last child.
    fn follow_rebuild(&mut self, persistence: &Persistence) {
        let Some((id, rebuilds_before)) = self.rebuild else { return };
        let figures = persistence.pages.figures();
        let Some(record) = self.records.iter_mut().rev().find(|record| record.id == id) else { return };
        if figures.running {
            record.rebuild = Some(RebuildFigures { running: true, ..RebuildFigures::default() });
        } else if figures.rebuilds > rebuilds_before {
            record.rebuild = Some(figures);
            self.rebuild = None;
        }
    }
}

/// `None`: the kernel does not tell.
fn page_tables_of(status: &ProcessStatus) -> Option<u64> {
    Some(status.page_tables).filter(|bytes| *bytes > 0)
}

/// The line for the log.
fn line_of(record: &ForkRecord) -> String {
    const MB: f64 = 1_048_576.0;
    format!(
        "Fork {} ({}, {}): pause {:.2} ms ({:.2} ms per GiB, {:.2} ms at work), child {:.2} s, {} writes beside it, extra memory at most \
         {:.1} MB ({} bytes a write), replies at most {:.2} ms (p99.9 {:.2} ms, before {:.2} ms)",
        record.id,
        kind_name(record.kind),
        record.state.name(),
        record.fork_us as f64 / 1000.0,
        record.fork_us_per_gib() as f64 / 1000.0,
        record.fork_cpu_us as f64 / 1000.0,
        record.duration_ms as f64 / 1000.0,
        record.writes,
        record.extra_peak_bytes as f64 / MB,
        record.extra_per_write().unwrap_or(0),
        record.during.max_us as f64 / 1000.0,
        record.during.p999_us as f64 / 1000.0,
        record.before.p999_us as f64 / 1000.0,
    )
}
