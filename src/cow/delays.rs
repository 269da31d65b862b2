//! How long clients waited for replies, as far as the server can see it.
//!
//! What is measured: each command counts with the length of the turn of the event loop that served
//! it, from the moment the loop woke up to the moment its replies were handed to the kernel. When the
//! loop did not sleep before that turn, the request may have arrived at any time of the turn before,
//! so that turn's length counts as well: a fork of 20 ms delays everybody who came during it.
//! Not seen: the way through the network, and a process that gets no processor while it sleeps.
//!
//! ```text
//!  no child: [window 10 s][window now]   fork ─► before = both      child ends ─► during
//!                                        ─► the window counts on    10 s later ─► after
//! ```
//! Cost: two additions to histograms a turn (some 10 ns); 10 KiB each.

use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Longest delay told apart: a minute, microseconds.
const DELAY_MAX_US: u64 = 60_000_000;
/// A loop that slept for less than this was busy all the time, microseconds: it costs as much to
/// enter and leave epoll.
const NO_SLEEP_US: u64 = 20;
/// Length of a window: long enough for a 99.9th percentile at 1,000 commands a second.
pub const WINDOW: Duration = Duration::from_secs(10);

/// How delays are distributed, microseconds; 0 without commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    pub p50_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

impl Delays {
    fn of(histogram: &Histogram<u32>) -> Self {
        if histogram.is_empty() {
            return Delays::default();
        }
        Delays {
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        }
    }
}

fn empty() -> Histogram<u32> {
    Histogram::new_with_bounds(1, DELAY_MAX_US, 2)
        .expect("the bounds are constants that the histogram accepts")
}

/// Counts delays.
#[derive(Debug)]
pub struct DelayRecorder {
    turn_start_us: u64,
    turn_end_us: u64,
    /// Since the last sample of a time line.
    interval: Histogram<u32>,
    window: Histogram<u32>,
    /// The window before, while no child lives.
    previous: Histogram<u32>,
    window_began: Option<Instant>,
}

impl Default for DelayRecorder {
    fn default() -> Self {
        DelayRecorder {
            turn_start_us: 0,
            turn_end_us: 0,
            interval: empty(),
            window: empty(),
            previous: empty(),
            window_began: None,
        }
    }
}

impl DelayRecorder {
    /// Counts the commands of a turn of the loop. Times by any clock that only grows, microseconds.
    #[inline]
    pub fn note_turn(&mut self, start_us: u64, end_us: u64, commands: u64) {
        let was_busy = start_us.saturating_sub(self.turn_end_us) <= NO_SLEEP_US;
        let arrived_us = if was_busy { self.turn_start_us } else { start_us };
        (self.turn_start_us, self.turn_end_us) = (start_us, end_us);
        if commands > 0 {
            let delay_us = end_us.saturating_sub(arrived_us).clamp(1, DELAY_MAX_US);
            let commands = u32::try_from(commands).unwrap_or(u32::MAX);
            self.interval.saturating_record_n(delay_us, commands);
            self.window.saturating_record_n(delay_us, commands);
        }
    }

    /// Longest delay and 99th percentile since the last call, microseconds.
    pub fn take_interval(&mut self) -> (u64, u64) {
        let delays = Delays::of(&self.interval);
        if delays.max_us > 0 {
            self.interval.reset();
        }
        (delays.max_us, delays.p99_us)
    }

    /// While no child lives: begins a new window when this one is old.
    pub fn rotate(&mut self, now: Instant) {
        let began = *self.window_began.get_or_insert(now);
        if now.saturating_duration_since(began) >= WINDOW {
            std::mem::swap(&mut self.window, &mut self.previous);
            self.window.reset();
            self.window_began = Some(now);
        }
    }

    /// The delays of this window and of the one before, if there is one. A new window begins.
    pub fn take_window(&mut self, now: Instant) -> Delays {
        if self.previous.add(&self.window).is_err() {
            // Histograms of the same bounds can always be added.
            debug_assert!(false, "histograms differ");
        }
        let delays = Delays::of(&self.previous);
        self.previous.reset();
        self.window.reset();
        self.window_began = Some(now);
        delays
    }
}

#[cfg(test)]
mod tests {
    use super::{DelayRecorder, Delays, WINDOW};
    use std::time::Instant;

    #[test]
    fn a_request_waits_for_the_turn_before_when_the_loop_did_not_sleep() {
        let mut recorder = DelayRecorder::default();
        recorder.note_turn(1_000, 1_100, 0);
        recorder.note_turn(5_000, 5_050, 10);
        assert_eq!(recorder.take_interval(), (50, 50), "it slept before");
        recorder.note_turn(6_000, 26_000, 1);
        recorder.note_turn(26_001, 26_101, 99);
        let (max_us, p99_us) = recorder.take_interval();
        assert!((20_000..20_300).contains(&max_us), "{max_us}");
        assert!(p99_us >= 20_000, "{p99_us}");
        assert_eq!(recorder.take_interval(), (0, 0));
    }

    #[test]
    fn the_time_before_is_one_or_two_windows() {
        let (mut recorder, start) = (DelayRecorder::default(), Instant::now());
        recorder.rotate(start);
        recorder.note_turn(1_000, 9_000, 1);
        recorder.rotate(start + WINDOW);
        recorder.note_turn(20_000, 20_100, 1);
        assert!(recorder.take_window(start + WINDOW).max_us >= 8_000, "both windows");
        assert_eq!(recorder.take_window(start + WINDOW), Delays::default());
        recorder.note_turn(30_000, 39_000, 1);
        recorder.rotate(start + WINDOW * 2);
        recorder.rotate(start + WINDOW * 3);
        assert_eq!(recorder.take_window(start + WINDOW * 3), Delays::default(), "older than two windows");
    }
}
