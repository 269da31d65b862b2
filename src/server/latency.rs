//! The latency monitor: what took longer than `latency-monitor-threshold`, by event.
//!
//! An event keeps the last [`SAMPLES`] seconds in which something happened, the worst of each
//! second. Events are names in the program, so their number is small and fixed.

use crate::server::Server;
use std::collections::{BTreeMap, VecDeque};

/// Samples kept of an event (as Redis).
const SAMPLES: usize = 160;

/// The worst of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Unix seconds.
    pub time_s: i64,
    pub latency_ms: u64,
}

/// One event's samples, oldest first.
#[derive(Debug, Default)]
pub struct Series {
    pub samples: VecDeque<Sample>,
    /// Worst since the start or the last reset.
    pub max_ms: u64,
}

impl Series {
    fn add(&mut self, time_s: i64, latency_ms: u64) {
        self.max_ms = self.max_ms.max(latency_ms);
        if let Some(last) = self.samples.back_mut()
            && last.time_s == time_s
        {
            last.latency_ms = last.latency_ms.max(latency_ms);
            return;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { time_s, latency_ms });
    }

    /// Count, mean, smallest, largest, mean deviation, ms.
    pub fn summary(&self) -> (usize, u64, u64, u64, u64) {
        let count = self.samples.len();
        if count == 0 {
            return (0, 0, 0, 0, 0);
        }
        let all = || self.samples.iter().map(|sample| sample.latency_ms);
        let mean = all().sum::<u64>() / count as u64;
        let deviation = all().map(|latency| latency.abs_diff(mean)).sum::<u64>() / count as u64;
        (count, mean, all().min().unwrap_or(0), all().max().unwrap_or(0), deviation)
    }
}

/// All events.
#[derive(Debug, Default)]
pub struct LatencyMonitor {
    pub events: BTreeMap<&'static str, Series>,
}

impl LatencyMonitor {
    /// Notes a latency whatever the threshold.
    pub fn add(&mut self, event: &'static str, time_s: i64, latency_ms: u64) {
        self.events.entry(event).or_default().add(time_s, latency_ms);
    }

    /// Forgets one event; says whether it was there.
    pub fn forget(&mut self, event: &str) -> bool {
        self.events.remove(event).is_some()
    }
}

impl Server {
    /// Notes how long `event` took when that is as much as `latency-monitor-threshold`.
    pub fn note_latency(&mut self, event: &'static str, latency_ms: u64) {
        let threshold_ms = self.config.latency_monitor_threshold;
        if threshold_ms > 0 && latency_ms >= threshold_ms {
            self.latency.add(event, self.call.now_ms / 1000, latency_ms);
        }
    }

    /// Notes how long the fork just made has stopped the server, and begins to observe its child.
    pub fn note_fork(&mut self) {
        self.observe_fork();
        self.note_latency("fork", self.persistence.forks.latest_us / 1000);
    }
}

#[cfg(test)]
mod tests {
    use super::{LatencyMonitor, SAMPLES, Series};

    #[test]
    fn one_sample_a_second_the_worst() {
        let mut series = Series::default();
        for (time_s, latency_ms) in [(1, 5), (1, 9), (1, 7), (2, 1)] {
            series.add(time_s, latency_ms);
        }
        assert_eq!(
            series.samples.iter().map(|s| (s.time_s, s.latency_ms)).collect::<Vec<_>>(),
            [(1, 9), (2, 1)]
        );
        assert_eq!(series.max_ms, 9);
        assert_eq!(series.summary(), (2, 5, 1, 9, 4));
    }

    #[test]
    fn the_ring_is_bounded() {
        let mut monitor = LatencyMonitor::default();
        for second in 0..SAMPLES as i64 + 10 {
            monitor.add("command", second, 1);
        }
        assert_eq!(monitor.events["command"].samples.len(), SAMPLES);
        assert!(monitor.forget("command") && !monitor.forget("command"));
    }
}
