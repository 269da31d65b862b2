//! The parent's private and huge pages, read by a thread of their own while a child lives.
//!
//! `smaps_rollup` walks the page tables: about a millisecond for each GiB in 4 KiB pages, too long for
//! the main thread. While it walks a mapping the kernel holds that process's map of memory for
//! reading, so a call that changes the map (more memory for the data, the next fork) waits for it.
//! Therefore: a share of 0.5 % of the time, none while no child lives (no fork can come then),
//! and no second one after one that took [`LONG`].
//!
//! The thread holds no lock at a fork but its own, which no child touches.

use crate::sys::info::thread_busy_time;
use crate::sys::proc::ProcFs;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Shortest time between two readings.
const INTERVAL: Duration = Duration::from_millis(100);
/// A reading's share of the time: one part in this many.
const DUTY: u32 = 199;
/// A reading that takes this long is the last one beside this child: main could be kept waiting.
pub const LONG: Duration = Duration::from_millis(5);

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Memory that the parent shares with nobody, bytes.
    pub private_bytes: u64,
    /// Memory in huge pages, bytes.
    pub huge_bytes: u64,
    pub taken: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// Counts the children watched; a reading belongs to one.
    watch: u64,
    watching: bool,
    stop: bool,
    first: Option<Reading>,
    last: Option<Reading>,
    busy: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked with the lock held has left plain data behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was read while a child lived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    pub first: Option<Reading>,
    pub last: Option<Reading>,
    /// Processor time spent reading.
    pub busy: Duration,
}

/// The main thread's side.
#[derive(Debug)]
pub struct RollupWatch {
    proc: ProcFs,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl RollupWatch {
    pub fn new(proc: ProcFs) -> Self {
        RollupWatch { proc, shared: Arc::default(), thread: None }
    }

    /// A child was forked: reads from now on. The first call starts the thread.
    ///
    /// # Errors
    /// No thread.
    pub fn begin(&mut self) -> io::Result<()> {
        {
            let mut state = self.shared.lock();
            *state = State { watch: state.watch + 1, watching: true, ..State::default() };
        }
        if self.thread.is_none() {
            let (shared, proc) = (Arc::clone(&self.shared), self.proc.clone());
            let builder = thread::Builder::new().name("fork-observer".into());
            self.thread = Some(builder.spawn(move || run(&shared, &proc))?);
        }
        self.shared.changed.notify_one();
        Ok(())
    }

    /// The child has ended: reads no more.
    pub fn end(&self) {
        self.shared.lock().watching = false;
    }

    pub fn readings(&self) -> Readings {
        let state = self.shared.lock();
        Readings { first: state.first, last: state.last, busy: state.busy }
    }
}

impl Drop for RollupWatch {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::warn!("The thread that observes forks had panicked");
        }
    }
}

/// The thread.
fn run(shared: &Shared, proc: &ProcFs) {
    while let Some(watch) = next_watch(shared) {
        let start = thread_busy_time();
        let rollup = proc.smaps_rollup();
        let cost = thread_busy_time().saturating_sub(start);
        let mut state = shared.lock();
        if state.watch != watch {
            continue;
        }
        state.busy += cost;
        match rollup {
            Ok(rollup) => {
                let reading = Reading {
                    private_bytes: rollup.private_dirty,
                    huge_bytes: rollup.anon_huge_pages,
                    taken: Instant::now(),
                };
                state.first.get_or_insert(reading);
                state.last = Some(reading);
            }
            Err(failure) => {
                log::debug!("The memory of this process cannot be read: {failure}");
                state.watching = false;
            }
        }
        if cost >= LONG {
            state.watching = false;
        }
        rest(shared, state, INTERVAL.max(cost * DUTY));
    }
}

/// Waits until a child is to be watched; `None`: the end.
fn next_watch(shared: &Shared) -> Option<u64> {
    let idle = |state: &mut State| !state.watching && !state.stop;
    let state = shared.changed.wait_while(shared.lock(), idle).unwrap_or_else(PoisonError::into_inner);
    (!state.stop).then_some(state.watch)
}

/// Sleeps for `time`; a new child ends it.
fn rest(shared: &Shared, state: MutexGuard<'_, State>, time: Duration) {
    let watch = state.watch;
    let same = |state: &mut State| state.watch == watch && !state.stop;
    drop(shared.changed.wait_timeout_while(state, time, same));
}

#[cfg(test)]
mod tests {
    use super::RollupWatch;
    use crate::sys::proc::ProcFs;
    use std::time::{Duration, Instant};

    #[test]
    fn readings_are_taken_while_a_child_lives() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (proc, sys) = (folder.path().join("proc"), folder.path().join("sys"));
        std::fs::create_dir_all(proc.join("self")).expect("a folder");
        let text = "Private_Dirty: 3 kB\nAnonHugePages: 4096 kB\n";
        std::fs::write(proc.join("self/smaps_rollup"), text).expect("a file");
        let mut watch = RollupWatch::new(ProcFs::at(&proc, &sys));
        assert!(watch.readings().last.is_none());
        watch.begin().expect("a thread");
        let deadline = Instant::now() + Duration::from_secs(10);
        let reading = loop {
            if let Some(reading) = watch.readings().last {
                break reading;
            }
            assert!(Instant::now() < deadline, "no reading");
            std::thread::sleep(Duration::from_millis(1));
        };
        assert_eq!((reading.private_bytes, reading.huge_bytes), (3 << 10, 4 << 20));
        watch.end();
        watch.begin().expect("a thread");
        assert!(watch.readings().busy < Duration::from_secs(5));
    }
}
