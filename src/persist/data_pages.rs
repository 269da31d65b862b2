//! The pages under the data: huge ones, so that a fork is short, rebuilt after each child.
//!
//! ```text
//!  start: probe ─► huge pages on          fork       child ends
//!  ──────────────────────────────────────┼── hold ──┼── rebuild ─────────────────────►
//!  page tables      1 entry per 2 MiB     │ writes   │ MADV_COLLAPSE block by block,
//!                                         │ split    │ paced: 1 entry per 2 MiB again
//! ```
//! A fork copies page tables: some 20 ms for each GiB in 4 KiB pages, about 1 ms in 2 MiB pages.
//! Writes beside a child split huge pages (and copy 4 KiB each, probed at the start), so the next
//! fork would be slow again. A helper thread puts the blocks together again when the child has
//! ended; it works on a bounded share of one core, never beside a child, and not when memory is
//! short. The same thread fetches a few empty blocks ahead while the data grows: zeroing 2 MiB
//! takes 0.1 to 0.2 ms that the main thread would have to wait for.
//!
//! Measurements: docs/memory.md.

use crate::sys::data_alloc;
use crate::sys::huge_pages::HugePageProbe;
use crate::sys::info::thread_busy_time;
use crate::sys::proc::ProcFs;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The thread rests this many times as long as it was at work on a processor: a fifth of one core. Time
/// in which it waited for a processor is no work, or a busy machine would hardly ever see a rebuild's end.
const REST_PER_WORK: u32 = 4;
/// Blocks given to the kernel at a time. Each call has every processor empty its lists of pages first,
/// which takes milliseconds on a busy machine; the kernel lets go of the memory map between two blocks,
/// so that a page fault of the main thread waits for one of them at most.
const RUN_BLOCKS: usize = 8;
/// Work below this was on blocks that were whole already, and is worth no rest.
const REST_FROM: Duration = Duration::from_micros(20);
/// Refusals in a row after which a rebuild gives up: memory is in pieces.
const REFUSALS_MAX: u32 = 32;
/// Blocks between two looks at the memory left.
const LOOK_AT_MEMORY_BLOCKS: usize = 64;
/// A rebuild needs 2 MiB at a time; below this much left it does not begin or go on, bytes.
pub const HEADROOM_MIN_BYTES: u64 = 128 << 20;

/// Whether the data lies in huge pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageSize {
    /// Pages of 4 KiB, and why.
    Base(String),
    /// Pages of 2 MiB, and what the probe said.
    Huge(String),
}

/// How a rebuild ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RebuildEnd {
    /// None has ended yet.
    #[default]
    Never,
    Complete,
    /// The next fork came first.
    Interrupted,
    MemoryShort,
    /// The kernel refused block after block: this errno.
    Refused(i32),
}

impl RebuildEnd {
    /// The word in INFO.
    pub fn name(self) -> &'static str {
        match self {
            RebuildEnd::Never => "none",
            RebuildEnd::Complete => "complete",
            RebuildEnd::Interrupted => "interrupted",
            RebuildEnd::MemoryShort => "memory-short",
            RebuildEnd::Refused(_) => "refused",
        }
    }
}

/// What the last rebuild did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RebuildFigures {
    /// Rebuilds so far.
    pub rebuilds: u64,
    pub running: bool,
    pub last_end: RebuildEnd,
    /// Blocks of 2 MiB that are huge pages now.
    pub blocks: u64,
    /// Blocks that the kernel refused.
    pub refused: u64,
    pub duration_us: u64,
    /// Processor time of the thread, microseconds.
    pub work_us: u64,
    /// Processor time for each block in the dearest call: a write into one may have waited as long.
    pub longest_us: u64,
}

#[derive(Debug, Default)]
struct Orders {
    rebuild: bool,
    prefault: bool,
    /// A child lives, or is about to.
    held: bool,
    stop: bool,
    figures: RebuildFigures,
}

#[derive(Debug, Default)]
struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        // A thread that panicked with the lock held has left plain data behind.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }
}

/// The main thread's side.
#[derive(Debug)]
pub struct DataPages {
    /// What the kernel does with huge pages, once that was tried out.
    pub probe: Option<HugePageProbe>,
    /// The program can be started again as the probe: a server that has data does that instead of forking.
    pub probes_apart: bool,
    size: PageSize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Blocks with data at the last look of [`DataPages::fetch_ahead`].
    blocks_seen: usize,
}

impl Default for DataPages {
    fn default() -> Self {
        DataPages {
            probe: None,
            probes_apart: false,
            size: PageSize::Base("not set up".to_owned()),
            shared: Arc::default(),
            thread: None,
            blocks_seen: 0,
        }
    }
}

impl DataPages {
    pub fn size(&self) -> &PageSize {
        &self.size
    }

    /// Puts the data, present and future, into pages of this size. Data that lies in base pages
    /// is rebuilt by the thread.
    ///
    /// # Errors
    /// The kernel's refusal, or no thread.
    pub fn set_size(&mut self, size: PageSize) -> io::Result<()> {
        let huge = matches!(size, PageSize::Huge(_));
        if huge || matches!(self.size, PageSize::Huge(_)) {
            data_alloc::set_huge_pages(huge)?;
        }
        self.start_thread()?;
        self.size = size;
        if huge && data_alloc::block_count() > 0 {
            // Not beside a child: `held` stays what it is.
            self.shared.change(|orders| orders.rebuild = true);
        }
        Ok(())
    }

    fn start_thread(&mut self) -> io::Result<()> {
        if self.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let builder = thread::Builder::new().name("data-pages".into());
            self.thread = Some(builder.spawn(move || run(&shared, &ProcFs::system()))?);
        }
        Ok(())
    }

    /// A fork is next: a rebuild that runs ends with its current call. Nobody waits for that: up to
    /// [`RUN_BLOCKS`] blocks may still be put together, and so copied, beside the new child.
    pub fn hold(&self) {
        if self.thread.is_some() {
            self.shared.change(|orders| orders.held = true);
        }
    }

    /// No child lives: what its time has split is put together again.
    pub fn release(&self) {
        if self.thread.is_some() {
            let huge = matches!(self.size, PageSize::Huge(_));
            self.shared.change(|orders| {
                orders.held = false;
                orders.rebuild |= huge;
            });
        }
    }

    /// Some times a second: has empty blocks fetched while the data grows. O(1).
    pub fn fetch_ahead(&mut self) {
        let blocks = data_alloc::stats().blocks;
        if self.thread.is_some() && blocks > self.blocks_seen {
            self.shared.change(|orders| orders.prefault = true);
        }
        self.blocks_seen = blocks;
    }

    pub fn figures(&self) -> RebuildFigures {
        self.shared.lock().figures
    }
}

impl Drop for DataPages {
    fn drop(&mut self) {
        self.shared.change(|orders| orders.stop = true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::warn!("The thread for the data's pages had panicked");
        }
    }
}

enum Task {
    Rebuild,
    Prefault,
}

/// The thread.
fn run(shared: &Shared, proc: &ProcFs) {
    while let Some(task) = next_task(shared) {
        match task {
            Task::Rebuild => rebuild(shared, proc),
            Task::Prefault => while data_alloc::prefault_one() {},
        }
    }
}

fn next_task(shared: &Shared) -> Option<Task> {
    let mut orders = shared.lock();
    loop {
        if orders.stop {
            return None;
        }
        if std::mem::take(&mut orders.prefault) {
            return Some(Task::Prefault);
        }
        if orders.rebuild && !orders.held {
            orders.rebuild = false;
            orders.figures.running = true;
            return Some(Task::Rebuild);
        }
        orders = shared.changed.wait(orders).unwrap_or_else(PoisonError::into_inner);
    }
}

fn rebuild(shared: &Shared, proc: &ProcFs) {
    let start = Instant::now();
    let mut figures = RebuildFigures::default();
    figures.last_end = rebuild_blocks(shared, proc, &mut figures);
    figures.duration_us = start.elapsed().as_micros() as u64;
    log::info!(
        "Rebuilt the data's huge pages ({}): {} blocks, {} refused, in {} ms, {} ms of work, at most {} us a block",
        figures.last_end.name(),
        figures.blocks,
        figures.refused,
        figures.duration_us / 1000,
        figures.work_us / 1000,
        figures.longest_us
    );
    let mut orders = shared.lock();
    figures.rebuilds = orders.figures.rebuilds + 1;
    orders.figures = figures;
}

fn rebuild_blocks(shared: &Shared, proc: &ProcFs, figures: &mut RebuildFigures) -> RebuildEnd {
    let (mut next, mut looked_at) = (0, 0);
    // After a refusal the blocks of its run are tried one by one.
    let mut singly_until = 0;
    let mut refused_in_a_row = 0;
    while next < data_alloc::block_count() {
        if next >= looked_at {
            if is_memory_short(proc) {
                return RebuildEnd::MemoryShort;
            }
            looked_at = next + LOOK_AT_MEMORY_BLOCKS;
        }
        if !may_go_on(shared) {
            return RebuildEnd::Interrupted;
        }
        let run = if next < singly_until { 1 } else { RUN_BLOCKS };
        let start = thread_busy_time();
        let outcome = data_alloc::collapse_blocks(next, run);
        let work = thread_busy_time().saturating_sub(start);
        let rebuilt = *outcome.as_ref().unwrap_or(&0);
        match outcome {
            Err(_) if run > 1 => singly_until = next + RUN_BLOCKS,
            Err(failure) => {
                figures.refused += 1;
                refused_in_a_row += 1;
                if refused_in_a_row >= REFUSALS_MAX {
                    return RebuildEnd::Refused(failure.raw_os_error().unwrap_or(libc::EIO));
                }
                next += 1;
            }
            // This one is empty.
            Ok(0) => next += 1,
            Ok(blocks) => (next, refused_in_a_row) = (next + blocks, 0),
        }
        figures.blocks += rebuilt as u64;
        figures.work_us += work.as_micros() as u64;
        figures.longest_us = figures.longest_us.max(work.as_micros() as u64 / rebuilt.max(1) as u64);
        if work > REST_FROM {
            thread::sleep(work * REST_PER_WORK);
        }
    }
    RebuildEnd::Complete
}

/// Without a figure nobody can say, and the kernel refuses by itself.
fn is_memory_short(proc: &ProcFs) -> bool {
    proc.memory_left().is_ok_and(|left| left.bytes < HEADROOM_MIN_BYTES)
}

/// Fetches blocks that are wanted meanwhile; false: a fork is next, or the end.
fn may_go_on(shared: &Shared) -> bool {
    let (prefault, stop) = {
        let mut orders = shared.lock();
        (std::mem::take(&mut orders.prefault), orders.stop || orders.held)
    };
    if prefault {
        while data_alloc::prefault_one() {}
    }
    !stop
}

#[cfg(test)]
mod tests {
    use super::{DataPages, PageSize, RebuildEnd};
    use crate::sys::data_alloc::DataBytes;
    use std::time::{Duration, Instant};

    fn wait_for_rebuilds(pages: &DataPages, rebuilds: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while pages.figures().rebuilds < rebuilds || pages.figures().running {
            assert!(Instant::now() < deadline, "no rebuild in time: {:?}", pages.figures());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_rebuild_waits_for_the_end_of_the_child() {
        let _object = DataBytes::with_capacity(1 << 16);
        let mut pages = DataPages::default();
        if pages.set_size(PageSize::Huge("a test".to_owned())).is_err() {
            return; // A kernel without huge pages.
        }
        wait_for_rebuilds(&pages, 1);
        pages.hold();
        let before = pages.figures().rebuilds;
        pages.shared.change(|orders| orders.rebuild = true);
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(pages.figures().rebuilds, before, "rebuilt beside a child");
        pages.release();
        wait_for_rebuilds(&pages, before + 1);
        let figures = pages.figures();
        assert_ne!(figures.last_end, RebuildEnd::Never);
        assert!(figures.blocks + figures.refused > 0 || figures.last_end != RebuildEnd::Complete);
        assert!(figures.work_us <= figures.duration_us);
        pages.set_size(PageSize::Base("the end of a test".to_owned())).expect("base pages are always there");
    }
}
