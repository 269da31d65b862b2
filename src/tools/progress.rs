//! The progress bar of the tools, and a line that is written over: on standard error, on a terminal only.
//!
//! ```text
//!  [##########..............]  42.3%  1.2 of 2.9 GiB  512 MiB/s  3 s left
//! ```
//! It takes 76 columns at most, so that it stays one line on a terminal of 80.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Time between two drawings.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Nothing is shown of work that ends sooner.
const QUIET_TIME: Duration = Duration::from_millis(300);
/// Bytes of progress between two looks at the clock.
const LOOK_BYTES: u64 = 1 << 20;
/// Characters inside the brackets.
const BAR_CHARS: u64 = 24;

/// A bar that is drawn while work goes on; gone when it is dropped.
#[derive(Debug)]
pub struct Progress {
    total_bytes: u64,
    start: Instant,
    drawn: Option<Instant>,
    looked_at: u64,
    is_shown: bool,
}

impl Progress {
    /// A bar for `total_bytes` of work; silent unless standard error is a terminal.
    pub fn new(total_bytes: u64) -> Progress {
        Progress {
            total_bytes,
            start: Instant::now(),
            drawn: None,
            looked_at: 0,
            is_shown: stderr().is_terminal(),
        }
    }

    /// Notes how far the work is. A comparison, but each megabyte.
    #[inline]
    pub fn at(&mut self, offset: u64) {
        if offset >= self.looked_at + LOOK_BYTES {
            self.look(offset);
        }
    }

    #[cold]
    fn look(&mut self, offset: u64) {
        self.looked_at = offset;
        let elapsed = self.start.elapsed();
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= DRAW_INTERVAL);
        if self.is_shown && is_due && elapsed >= QUIET_TIME {
            self.drawn = Some(Instant::now());
            // A terminal that is gone needs no bar.
            let _ = write!(stderr(), "\r{}\x1b[K", line(offset, self.total_bytes, elapsed));
        }
    }

    /// Removes the bar, before other output.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A line on standard error that is written over; nothing where that is no terminal.
pub struct ProgressLine {
    shown: String,
    wanted: bool,
}

impl ProgressLine {
    pub fn new() -> ProgressLine {
        ProgressLine { shown: String::new(), wanted: std::io::stderr().is_terminal() }
    }

    pub fn show(&mut self, text: &str) {
        if self.wanted && self.shown != text {
            self.shown = text.to_owned();
            eprint!("\r{text}\x1b[K");
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if !std::mem::take(&mut self.shown).is_empty() {
            eprint!("\r\x1b[K");
        }
    }
}

/// A bar of [`BAR_CHARS`] for a share from 0 to 1.
pub fn bar(share: f64) -> String {
    let filled = (share.clamp(0.0, 1.0) * BAR_CHARS as f64) as usize;
    "#".repeat(filled) + &".".repeat(BAR_CHARS as usize - filled)
}

fn line(offset: u64, total_bytes: u64, elapsed: Duration) -> String {
    let share = if total_bytes == 0 { 1.0 } else { (offset as f64 / total_bytes as f64).min(1.0) };
    let bar = bar(share);
    let rate = offset as f64 / elapsed.as_secs_f64().max(1e-9);
    let left_s = total_bytes.saturating_sub(offset) as f64 / rate.max(1.0);
    let (unit, name) = unit_of(total_bytes);
    format!(
        "[{bar}] {:5.1}%  {:.1} of {:.1} {name}  {:.0} MiB/s  {left_s:.0} s left",
        share * 100.0,
        offset as f64 / unit,
        total_bytes as f64 / unit,
        rate / (1u64 << 20) as f64
    )
}

fn unit_of(bytes: u64) -> (f64, &'static str) {
    match bytes {
        0..1_048_576 => (1024.0, "KiB"),
        1_048_576..1_073_741_824 => (1_048_576.0, "MiB"),
        1_073_741_824..1_099_511_627_776 => (1_073_741_824.0, "GiB"),
        _ => (1_099_511_627_776.0, "TiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::line;
    use std::time::Duration;

    #[test]
    fn the_line_fits_a_terminal_of_80_columns() {
        let text = line(1 << 30, 3 << 30, Duration::from_secs(2));
        assert_eq!(text, "[########................]  33.3%  1.0 of 3.0 GiB  512 MiB/s  4 s left");
        for (offset, total, seconds) in [(0, 0, 1), (5, 1, 1), (9 << 40, 10 << 40, 10_000)] {
            let text = line(offset, total, Duration::from_secs(seconds));
            assert!(text.len() < 80, "{text}");
        }
    }
}
