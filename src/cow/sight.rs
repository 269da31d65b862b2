//! One look at the process, and what it means for the record of a fork.

use crate::cow::Counters;
use crate::cow::record::{ForkRecord, Killer};
use crate::cow::rollup::Readings;
use crate::cow::timeline::Sample;
use crate::persist::Persistence;
use crate::persist::child::ChildProgress;
use crate::persist::fork::{ForkEnd, ForkEvent};
use crate::sys::fork::ChildOutcome;
use crate::sys::info::{UsageOf, resource_usage};
use crate::sys::proc::{MemoryLeft, ProcessStatus};
use std::time::Instant;

/// The fork whose record is being written, and where its counters began.
#[derive(Debug)]
pub(super) struct Watched {
    pub id: u64,
    pub started: Instant,
    /// When the end of the child was seen.
    pub ended: Option<Instant>,
    counters: Counters,
    minor_faults: u64,
    rss_bytes: u64,
    oom_kills: Option<u64>,
}

impl Watched {
    pub fn new(event: &ForkEvent, counters: Counters, oom_kills: Option<u64>) -> Self {
        Watched {
            id: event.id,
            started: event.started,
            ended: None,
            counters,
            minor_faults: event.minor_faults,
            rss_bytes: event.rss_bytes,
            oom_kills,
        }
    }

    fn growth_bytes(&self, rss_bytes: u64) -> i64 {
        rss_bytes as i64 - self.rss_bytes as i64
    }

    fn count(&self, record: &mut ForkRecord, counters: Counters, minor_faults: u64) {
        record.commands = counters.commands.saturating_sub(self.counters.commands);
        record.writes = counters.writes.saturating_sub(self.counters.writes);
        record.input_bytes = counters.input_bytes.saturating_sub(self.counters.input_bytes);
        record.minor_faults = minor_faults.saturating_sub(self.minor_faults);
    }

    /// The last figures of a child that was reaped.
    pub fn apply_end(
        &self,
        record: &mut ForkRecord,
        end: &ForkEnd,
        counters: Counters,
        oom_kills: Option<u64>,
    ) {
        self.count(record, counters, end.minor_faults);
        take_progress(record, &end.progress, Instant::now());
        take_growth(record, self.growth_bytes(end.rss_bytes));
        if let Some(exit) = end.exit {
            record.child_user_ms = exit.user_time.as_millis() as u64;
            record.child_system_ms = exit.system_time.as_millis() as u64;
        }
        let signal = end.exit.and_then(|exit| match exit.outcome {
            ChildOutcome::Signaled(signal) => Some(signal),
            ChildOutcome::Exited(_) => None,
        });
        let killed_for_memory =
            matches!((self.oom_kills, oom_kills), (Some(before), Some(after)) if after > before);
        record.killer = match signal {
            Some(_) if end.killed => Killer::Server,
            Some(libc::SIGKILL) if killed_for_memory => Killer::OutOfMemory(libc::SIGKILL),
            Some(signal) => Killer::Signal(signal),
            None => Killer::Nobody,
        };
    }
}

/// What a sample is made of.
#[derive(Debug)]
pub(super) struct Sight {
    rss_bytes: u64,
    page_tables_bytes: u64,
    minor_faults: u64,
    counters: Counters,
    left: Option<MemoryLeft>,
    /// The longest delay and the 99th percentile since the last sample.
    delays_us: (u64, u64),
    rewrite_buffer_bytes: u64,
    child: Option<ChildProgress>,
    readings: Readings,
    now: Instant,
}

impl Sight {
    pub fn new(
        status: &ProcessStatus,
        persistence: &Persistence,
        counters: Counters,
        left: Option<MemoryLeft>,
        delays_us: (u64, u64),
        now: Instant,
    ) -> Self {
        let aof = &persistence.aof;
        Sight {
            rss_bytes: status.rss,
            page_tables_bytes: status.page_tables,
            minor_faults: resource_usage(UsageOf::Process).minor_faults,
            counters,
            left,
            delays_us,
            rewrite_buffer_bytes: aof.rewrite_buffer_length() + aof.rewrite_buffer_spilled_bytes(),
            child: persistence.child.as_ref().map(|child| child.progress.clone()),
            readings: Readings::default(),
            now,
        }
    }

    /// Adds what the thread has read, when it belongs to the fork that is watched.
    pub fn with(mut self, readings: Readings, is_watched: bool) -> Self {
        if is_watched {
            self.readings = readings;
        }
        self
    }

    /// Brings the record of the living child up to date.
    pub fn apply(&self, record: &mut ForkRecord, watched: &Watched) {
        record.duration_ms = self.now.saturating_duration_since(watched.started).as_millis() as u64;
        watched.count(record, self.counters, self.minor_faults);
        if let Some(progress) = &self.child {
            take_progress(record, progress, self.now);
            if progress.cow_measured.is_some() {
                record.cow_sum_bytes += u128::from(progress.cow_bytes);
                record.cow_samples += 1;
            }
        }
        take_growth(record, watched.growth_bytes(self.rss_bytes));
        apply_readings(record, &self.readings, self.now);
        record.rewrite_buffer_peak_bytes = record.rewrite_buffer_peak_bytes.max(self.rewrite_buffer_bytes);
        if let Some(left) = self.left {
            let least = record.headroom_min_bytes.map_or(left.bytes, |least| least.min(left.bytes));
            record.headroom_min_bytes = Some(least);
        }
    }

    /// For the time line of the watched fork.
    pub fn sample(&self, watched: &Watched) -> Sample {
        let since = |now: u64, then: u64| known(now.saturating_sub(then));
        let progress = self.child.as_ref();
        let mut sample = self.sample_before();
        sample[0] = known(self.now.saturating_duration_since(watched.started).as_millis() as u64);
        sample[1] = since(self.counters.commands, watched.counters.commands);
        sample[2] = since(self.counters.writes, watched.counters.writes);
        sample[3] = since(self.counters.input_bytes, watched.counters.input_bytes);
        sample[4] = since(self.minor_faults, watched.minor_faults);
        if watched.ended.is_none() {
            sample[6] = self.readings.last.map_or(-1, |reading| known(reading.private_bytes));
            sample[7] = self.readings.last.map_or(-1, |reading| known(reading.huge_bytes));
            let measured = progress.filter(|progress| progress.cow_measured.is_some());
            sample[9] = measured.map_or(-1, |progress| known(progress.cow_bytes));
            sample[10] = progress.map_or(-1, |progress| known(progress.keys_done));
            sample[11] = progress.map_or(-1, |progress| known(progress.bytes_written));
        }
        sample
    }

    /// The same without a fork: nothing has been counted, nobody copies.
    pub fn sample_before(&self) -> Sample {
        [
            0,
            0,
            0,
            0,
            0,
            known(self.rss_bytes),
            -1,
            -1,
            known(self.page_tables_bytes),
            0,
            0,
            0,
            known(self.rewrite_buffer_bytes),
            self.left.map_or(-1, |left| known(left.bytes)),
            known(self.delays_us.0),
            known(self.delays_us.1),
        ]
    }
}

fn known(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

fn take_progress(record: &mut ForkRecord, progress: &ChildProgress, now: Instant) {
    record.keys_total = progress.keys_total;
    record.keys_done = progress.keys_done;
    record.file_bytes = progress.bytes_written;
    record.cow_bytes = progress.cow_bytes;
    record.cow_peak_bytes = progress.cow_peak_bytes;
    let age = progress.cow_measured.map(|measured| now.saturating_duration_since(measured));
    record.cow_age_ms = age.map(|age| age.as_millis() as u64);
    record.observer_child_us = progress.measure_us;
}

fn take_growth(record: &mut ForkRecord, growth_bytes: i64) {
    record.growth_bytes = growth_bytes;
    record.growth_peak_bytes = record.growth_peak_bytes.max(growth_bytes);
    record.extra_peak_bytes = record.extra_peak_bytes.max(record.extra_bytes()).max(record.cow_peak_bytes);
}

/// What the thread has read.
pub(super) fn apply_readings(record: &mut ForkRecord, readings: &Readings, now: Instant) {
    record.huge_before_bytes = readings.first.map(|reading| reading.huge_bytes);
    record.huge_after_bytes = readings.last.map(|reading| reading.huge_bytes);
    record.parent_private_bytes = readings.last.map(|reading| reading.private_bytes);
    let age = readings.last.map(|reading| now.saturating_duration_since(reading.taken));
    record.parent_age_ms = age.map(|age| age.as_millis() as u64);
    record.observer_thread_us = readings.busy.as_micros() as u64;
}
