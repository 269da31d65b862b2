//! What /proc says about a server and its child, over time, for any server.
//!
//! ```text
//!  every 50 ms   resident memory, page tables, minor faults of the server      cheap: counters of the kernel
//!  now and then  private pages of the child (smaps_rollup)                     the kernel walks the page tables:
//!                                                                              of its time, 1 part in 30
//! ```
//! Extra memory is what the child has for itself plus what the server has grown since the fork: a page that the
//! server writes is copied, the old one is then the child's alone.

use crate::sys::affinity::pin_current_thread;
use crate::sys::info::{page_size_bytes, thread_busy_time};
use crate::sys::proc::ProcFs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two samples.
const INTERVAL: Duration = Duration::from_millis(50);
/// A walk of page tables is followed by this many times its processor time without one.
const WALK_REST: u32 = 30;

/// One look at both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Since the zero of the measurement.
    pub at_ms: i64,
    pub rss_bytes: u64,
    pub page_tables_bytes: u64,
    pub minor_faults: u64,
    /// 0: none.
    pub child: i32,
    /// Pages that only the child has; last known.
    pub child_private_bytes: u64,
}

/// Milliseconds from `earlier` to `later`; negative where they are the other way round.
pub fn signed_ms(later: Instant, earlier: Instant) -> i64 {
    match later.checked_duration_since(earlier) {
        Some(ahead) => ahead.as_millis() as i64,
        None => -(earlier.duration_since(later).as_millis() as i64),
    }
}

/// The thread that looks.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    /// Looks at the server `pid`, from any of the `processors`; times count from `zero`.
    pub fn start(pid: i32, zero: Instant, processors: Vec<usize>) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            // Where that is not allowed, it runs beside the load.
            let _ = pin_current_thread(&processors);
            let mut look =
                Look { proc: ProcFs::system(), pid, zero, walk_at: zero, child: 0, private_bytes: 0 };
            let mut samples = Vec::new();
            while !seen.load(Ordering::Relaxed) {
                // A server that is gone is noticed by those who talk to it.
                samples.extend(look.sample());
                std::thread::sleep(INTERVAL);
            }
            samples
        });
        Sampler { stop, thread }
    }

    /// Ends it; all samples.
    pub fn finish(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

struct Look {
    proc: ProcFs,
    pid: i32,
    zero: Instant,
    /// When page tables may be walked again.
    walk_at: Instant,
    child: i32,
    private_bytes: u64,
}

impl Look {
    fn sample(&mut self) -> Option<Sample> {
        let stat = self.proc.stat_of(self.pid).ok()?;
        let status = self.proc.status_of(self.pid).ok()?;
        let child = self.proc.children_of(self.pid).ok()?.first().copied().unwrap_or(0);
        if child != self.child {
            (self.child, self.private_bytes) = (child, 0);
            self.walk_at = Instant::now();
        }
        if child != 0 && Instant::now() >= self.walk_at {
            let begun = thread_busy_time();
            if let Ok(rollup) = self.proc.smaps_rollup_of(child) {
                self.private_bytes = rollup.private_dirty + rollup.private_clean;
            }
            self.walk_at = Instant::now() + thread_busy_time().saturating_sub(begun) * WALK_REST;
        }
        Some(Sample {
            at_ms: signed_ms(Instant::now(), self.zero),
            rss_bytes: stat.rss_pages * page_size_bytes() as u64,
            page_tables_bytes: status.page_tables,
            minor_faults: stat.minor_faults,
            child,
            child_private_bytes: self.private_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Sampler;
    use std::process::Command;
    use std::time::{Duration, Instant};

    #[test]
    fn a_process_and_its_child_are_seen() {
        let mut shell = Command::new("sh").args(["-c", "sleep 30 & wait"]).spawn().expect("there is a shell");
        let sampler = Sampler::start(shell.id() as i32, Instant::now(), Vec::new());
        std::thread::sleep(Duration::from_millis(400));
        let samples = sampler.finish();
        let last = *samples.last().expect("it looked");
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(last.child), nix::sys::signal::Signal::SIGKILL);
        shell.kill().expect("it is ours");
        shell.wait().expect("it ended");
        assert!(last.child > 0 && last.child_private_bytes > 0 && last.rss_bytes > 0, "{last:?}");
    }
}
