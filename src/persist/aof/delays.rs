//! The longest waits of the writer thread since somebody asked: for the latency monitor.
//!
//! | event | what took so long |
//! | --- | --- |
//! | `aof-write` | write(2) of a batch; `-pending-fsync` while a sync ran beside it |
//! | `aof-fsync-always` | the sync of a batch with `appendfsync always` |
//! | `aof-fstat` | the look whether the file is still the one with the name |
//! | `aof-rename` | putting the rewritten file in the place of the old one |

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One kind of wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    Write,
    /// A write while a sync ran.
    WriteBesideSync,
    SyncAlways,
    Look,
    Rename,
}

impl Delay {
    pub const ALL: [Delay; 5] =
        [Delay::Write, Delay::WriteBesideSync, Delay::SyncAlways, Delay::Look, Delay::Rename];
}

/// The longest of each kind, microseconds.
#[derive(Debug, Default)]
pub(super) struct Delays {
    longest_us: [AtomicU64; Delay::ALL.len()],
}

impl Delays {
    /// Notes a wait that began at `start` and ends now.
    pub fn note(&self, delay: Delay, start: Instant) {
        let spent_us = start.elapsed().as_micros() as u64;
        self.longest_us[delay as usize].fetch_max(spent_us, Ordering::Relaxed);
    }

    /// The longest wait of this kind since the last call, microseconds.
    pub fn take(&self, delay: Delay) -> u64 {
        self.longest_us[delay as usize].swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Delay, Delays};
    use std::time::{Duration, Instant};

    #[test]
    fn the_longest_is_kept_until_it_is_taken() {
        let delays = Delays::default();
        let ago = |ms| Instant::now().checked_sub(Duration::from_millis(ms)).expect("the clock is later");
        delays.note(Delay::Look, ago(20));
        delays.note(Delay::Look, ago(3));
        assert!((20_000..1_000_000).contains(&delays.take(Delay::Look)));
        assert_eq!(delays.take(Delay::Look), 0);
        assert_eq!(delays.take(Delay::Write), 0);
    }
}
