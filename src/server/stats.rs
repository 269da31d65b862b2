//! Counters that INFO shows, one struct; per-command figures by command number.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Largest number of distinct error codes counted (a client could invent codes through scripts).
const ERROR_CODES_MAX: usize = 128;
/// Highest latency that the per-command histograms tell apart: one second, in nanoseconds.
const LATENCY_MAX_NS: u64 = 1_000_000_000;
/// Samples kept for the `instantaneous_*` rates.
const RATE_SAMPLES: usize = 16;

/// What INFO commandstats and latencystats show of one command.
#[derive(Default)]
pub struct CommandStats {
    pub calls: u64,
    pub time_ns: u64,
    /// Refused before running.
    pub rejected: u64,
    /// Ran and answered an error.
    pub failed: u64,
    pub latency_ns: Option<Box<Histogram<u64>>>,
}

impl CommandStats {
    /// Counts one call.
    #[inline]
    pub fn count(&mut self, duration_ns: u64, track_latency: bool) {
        self.calls += 1;
        self.time_ns += duration_ns;
        if track_latency {
            let histogram = self.latency_ns.get_or_insert_with(|| {
                let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 2);
                Box::new(histogram.expect("the bounds are constants that the histogram accepts"))
            });
            histogram.saturating_record(duration_ns.max(1));
        }
    }
}

/// A rate over the last [`RATE_SAMPLES`] cron samples.
#[derive(Debug, Default, Clone)]
pub struct Rate {
    last_value: u64,
    last_ms: u64,
    samples: [u64; RATE_SAMPLES],
    next: usize,
}

impl Rate {
    /// Takes a sample of a growing counter.
    pub fn sample(&mut self, value: u64, now_ms: u64) {
        let elapsed = now_ms.saturating_sub(self.last_ms);
        if elapsed == 0 {
            return;
        }
        let change = value.saturating_sub(self.last_value);
        self.samples[self.next] = change * 1000 / elapsed;
        self.next = (self.next + 1) % RATE_SAMPLES;
        self.last_value = value;
        self.last_ms = now_ms;
    }

    /// Mean of the samples, per second.
    pub fn per_second(&self) -> u64 {
        self.samples.iter().sum::<u64>() / RATE_SAMPLES as u64
    }
}

/// All counters of the Stats section and their kin. `CONFIG RESETSTAT` puts back the default.
#[derive(Default)]
pub struct Stats {
    pub connections_received: u64,
    pub connections_rejected: u64,
    pub commands_processed: u64,
    pub net_input_bytes: u64,
    pub net_output_bytes: u64,
    pub keyspace_hits: u64,
    pub keyspace_misses: u64,
    pub evicted_keys: u64,
    pub evicted_clients: u64,
    /// Time during which memory exceeded `maxmemory`, without the present one.
    pub eviction_exceeded_us: u64,
    pub expire_cycle_timeouts: u64,
    pub expire_cycle_us: u64,
    /// What active defragmentation did: objects moved and left, keys likewise, time without the
    /// present run.
    pub defrag_hits: u64,
    pub defrag_misses: u64,
    pub defrag_key_hits: u64,
    pub defrag_key_misses: u64,
    pub defrag_us: u64,
    pub reads_processed: u64,
    pub writes_processed: u64,
    pub error_replies: u64,
    pub unexpected_error_replies: u64,
    pub dump_payload_sanitizations: u64,
    pub query_buffer_limit_disconnections: u64,
    pub output_buffer_limit_disconnections: u64,
    pub event_loop_cycles: u64,
    pub event_loop_us: u64,
    /// Nanoseconds spent in commands.
    pub event_loop_commands_ns: u64,
    /// Longest turn, and most commands of one.
    pub turn_max_us: u64,
    pub turn_commands_max: u64,
    /// Nanoseconds spent in cron, and in handing changes to the AOF.
    pub cron_ns: u64,
    pub aof_ns: u64,
    pub used_memory_peak: usize,
    pub errors: BTreeMap<Vec<u8>, u64>,
    pub commands: Vec<CommandStats>,
    pub rate_commands: Rate,
    pub rate_input: Rate,
    pub rate_output: Rate,
    /// Turns of the loop, and microseconds spent in them.
    pub rate_cycles: Rate,
    pub rate_busy_us: Rate,
}

impl Stats {
    pub fn new(commands: usize) -> Self {
        Stats { commands: (0..commands).map(|_| CommandStats::default()).collect(), ..Stats::default() }
    }

    /// Notes a turn of the loop: its length, and `commands_processed` when it began.
    pub fn note_turn(&mut self, duration_us: u64, commands_before: u64) {
        self.event_loop_us += duration_us;
        self.turn_max_us = self.turn_max_us.max(duration_us);
        let commands = self.commands_processed.saturating_sub(commands_before);
        self.turn_commands_max = self.turn_commands_max.max(commands);
    }

    /// Counts an error reply by its code.
    pub fn count_error(&mut self, code: &[u8]) {
        self.error_replies += 1;
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES_MAX {
            self.errors.insert(code.to_vec(), 1);
        }
    }

    /// `CONFIG RESETSTAT`: everything but the memory peak.
    pub fn reset(&mut self) {
        let (commands, peak) = (self.commands.len(), self.used_memory_peak);
        *self = Stats::new(commands);
        self.used_memory_peak = peak;
    }
}
