//! Putting a rewritten file in place: rounds in a helper thread, then a short step of the writer.
//!
//! ```text
//!  child ended ─► round: changes ► new file, synced ─► left < 1 MiB ─────────────► last step
//!                   ▲        │ (10 s at most)          left does not shrink
//!                   └────────┘                           ├─ takes < 1 s ─────────► last step
//!                                                        └─ longer ──────────────► given up
//! ```
//! Rounds converge as long as the disk takes changes faster than they come. When three rounds in a
//! row do not leave less than before, more rounds would not help: the last step is taken anyhow if
//! the disk's measured speed says that it takes less than a second (replies wait for it), else the rewrite is given up with its reason, and tried again later.
//!
//! The last step lies between two batches: append the rest, fdatasync, rename, fsync of the
//! directory. Nothing here closes or removes a big file in the writer: that is done elsewhere,
//! since the kernel frees the blocks of a nameless file in the thread that closes it last.

use crate::persist::aof::delays::Delay;
use crate::persist::aof::file_watch;
use crate::persist::aof::log_file::{LogFile, drop_elsewhere, remove_elsewhere};
use crate::persist::aof::rewrite_buffer::Changes;
use crate::persist::aof::shared::{Message, Shared, SwitchOrder, SwitchOutcome, lock};
use crate::persist::aof::writer::Writer;
use crate::sys::io::{FileId, IoResult, parent_dir};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is left when the last step begins, bytes: some milliseconds of disk.
const FINAL_STEP_MAX_BYTES: u64 = 1 << 20;
/// Longest round; what it has not copied belongs to the next one.
const ROUND_TIME_MAX: Duration = Duration::from_secs(10);
/// Rounds in a row without progress after which no more are tried.
const STALLED_ROUNDS_MAX: u32 = 3;
/// Longest last step that is taken when rounds do not converge, microseconds, by the speed measured.
const FORCED_STEP_MAX_US: u64 = 1_000_000;
/// The most that such a step may append, bytes: what may wait unwritten before writes are refused.
const FORCED_STEP_MAX_BYTES: u64 = super::QUEUE_REFUSE_BYTES;

/// What to do after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Round,
    FinalStep,
    /// As `FinalStep`, though much is left: further rounds would not leave less.
    ForcedStep,
    GiveUp,
}

/// Judges whether rounds converge.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Convergence {
    /// The least that was left after a round; 0 before the first.
    least_bytes: u64,
    stalled_rounds: u32,
}

impl Convergence {
    /// `left_bytes` are to be copied; the last round copied `copied` bytes in `time_us` (both 0
    /// before the first).
    pub fn judge(&mut self, left_bytes: u64, copied: u64, time_us: u64) -> Next {
        if left_bytes < FINAL_STEP_MAX_BYTES {
            return Next::FinalStep;
        }
        if self.least_bytes == 0 || left_bytes < self.least_bytes - self.least_bytes / 8 {
            self.least_bytes = left_bytes;
            self.stalled_rounds = 0;
            return Next::Round;
        }
        self.stalled_rounds += 1;
        if self.stalled_rounds < STALLED_ROUNDS_MAX {
            return Next::Round;
        }
        let step_us = u128::from(left_bytes) * u128::from(time_us) / u128::from(copied.max(1));
        let bounded = step_us <= u128::from(FORCED_STEP_MAX_US) && left_bytes <= FORCED_STEP_MAX_BYTES;
        if bounded { Next::ForcedStep } else { Next::GiveUp }
    }
}

/// A switch under way.
#[derive(Debug)]
pub(super) struct Switching {
    order: SwitchOrder,
    convergence: Convergence,
    /// Tells the round that runs to stop.
    cancelled: Arc<AtomicBool>,
}

/// What a round has done.
#[derive(Debug)]
pub(super) struct RoundEnd {
    /// The rewrite that it belongs to.
    pub rewrite: u64,
    file: LogFile,
    rest: Changes,
    /// Bytes copied, or why not.
    result: IoResult<u64>,
    time_us: u64,
}

impl Writer {
    pub(super) fn begin_switch(&mut self, order: SwitchOrder) {
        if self.buffer.is_none() {
            let reason = self.buffer_failure.take();
            let reason = reason.unwrap_or_else(|| "the rewrite buffer is gone".to_owned());
            return self.fail_switch(&order, reason);
        }
        match self.open_base(&order) {
            Ok(file) => {
                let (convergence, cancelled) = (Convergence::default(), Arc::default());
                self.switch = Some(Switching { order, convergence, cancelled });
                self.next_step(file, 0, 0);
            }
            Err(reason) => self.fail_switch(&order, reason),
        }
    }

    /// Opens what the child wrote. Opening alone would make a missing file, and an empty one must
    /// never take the place of the log.
    fn open_base(&self, order: &SwitchOrder) -> Result<LogFile, String> {
        let storage = &*self.shared.storage;
        let found = storage.metadata(&order.temp).map_err(|fault| fault.to_string())?;
        if found.len != order.bytes {
            let path = order.temp.display();
            return Err(format!("{path} has {} bytes, the child wrote {}", found.len, order.bytes));
        }
        LogFile::open(storage, &order.temp).map_err(|fault| fault.to_string())
    }

    /// Appends what the buffer holds to the new file: little of it here, much of it in a helper.
    fn next_step(&mut self, file: LogFile, copied: u64, time_us: u64) {
        let (Some(buffer), Some(switch)) = (&mut self.buffer, &mut self.switch) else { return };
        let left_bytes = buffer.changes.bytes();
        match switch.convergence.judge(left_bytes, copied, time_us) {
            Next::Round => self.start_round(file),
            Next::FinalStep => self.final_step(file),
            Next::ForcedStep => {
                log::warn!(
                    "The rounds of the AOF rewrite do not converge: the last {left_bytes} bytes are appended in one step"
                );
                self.final_step(file);
            }
            Next::GiveUp => {
                drop_elsewhere(file);
                self.give_up(&format!(
                    "changes come as fast as the disk takes them: {left_bytes} bytes are left after a round of {} ms",
                    time_us / 1000
                ));
            }
        }
    }

    fn start_round(&mut self, mut file: LogFile) {
        let (Some(buffer), Some(switch)) = (&mut self.buffer, &self.switch) else { return };
        let mut rest = std::mem::take(&mut buffer.changes);
        log::info!(
            "Residual parent diff: {:.2} MB are appended to the rewritten AOF",
            rest.bytes() as f64 / 1048576.0
        );
        let (shared, sizes) = (Arc::clone(&self.shared), Arc::clone(&buffer.sizes));
        let cancelled = Arc::clone(&switch.cancelled);
        let rewrite = self.rewrite;
        let round = move || {
            let start = Instant::now();
            let result = rest.copy_round(&mut file, &sizes, ROUND_TIME_MAX, &cancelled);
            let time_us = start.elapsed().as_micros() as u64;
            shared.push(Message::RoundDone(Box::new(RoundEnd { rewrite, file, rest, result, time_us })));
        };
        if let Err(failure) = std::thread::Builder::new().name("aof-round".into()).spawn(round) {
            self.give_up(&format!("no thread for the rewrite buffer: {failure}"));
        }
    }

    pub(super) fn finish_round(&mut self, end: RoundEnd) {
        let RoundEnd { rewrite, file, rest, result, time_us } = end;
        let (Some(buffer), Some(_)) = (&mut self.buffer, &self.switch) else {
            return drop_elsewhere((file, rest));
        };
        if rewrite != self.rewrite {
            // Of a rewrite that was given up meanwhile.
            return drop_elsewhere((file, rest));
        }
        match result {
            Ok(copied) => {
                buffer.appended_bytes += copied;
                buffer.changes.put_back(rest);
                self.next_step(file, copied, time_us);
            }
            Err(fault) => {
                drop_elsewhere((file, rest));
                self.give_up(&fault.to_string());
            }
        }
    }

    /// The step between two batches.
    fn final_step(&mut self, mut file: LogFile) {
        let Some(Switching { order, .. }) = self.switch.take() else { return };
        let start = Instant::now();
        let id = match self.put_in_place(&mut file, &order) {
            Ok(id) => id,
            Err(fault) => {
                drop_elsewhere(file);
                return self.fail_switch(&order, fault.to_string());
            }
        };
        let directory = self.shared.storage.sync_dir(parent_dir(&order.target));
        let appended_bytes = self.buffer.as_ref().map_or(0, |buffer| buffer.appended_bytes);
        self.forget_buffer();
        let size = file.size();
        self.install(order.keep_open.then_some(file), &order.target);
        if let Err(fault) = &directory {
            // The name may go back to the old file at a power cut: nothing more is promised on it.
            self.shared.note_sync_failure(fault);
        }
        let final_step_us = start.elapsed().as_micros() as u64;
        let outcome = match directory {
            Ok(()) => SwitchOutcome::Done { size, id, appended_bytes, final_step_us },
            Err(fault) => SwitchOutcome::Failed(fault.to_string()),
        };
        self.report(outcome);
    }

    fn put_in_place(&mut self, file: &mut LogFile, order: &SwitchOrder) -> IoResult<FileId> {
        let before = file.size();
        if let Some(buffer) = &mut self.buffer {
            buffer.changes.copy_all(file, &buffer.sizes)?;
            buffer.appended_bytes += file.size() - before;
        }
        file.sync()?;
        if let Some(old) = lock(&self.shared.file).as_ref() {
            file_watch::set_foreign_aside(&*self.shared.storage, old, &order.target, order.kept)?;
        }
        let id = self.shared.storage.metadata(&order.temp)?.id;
        let start = Instant::now();
        self.shared.storage.rename(&order.temp, &order.target)?;
        self.shared.delays.note(Delay::Rename, start);
        Ok(id)
    }

    /// From here on `file` is the one that is appended to.
    fn install(&self, mut file: Option<LogFile>, path: &Path) {
        let handle = match file.as_ref().map(LogFile::sync_handle).transpose() {
            Ok(handle) => handle,
            Err(fault) => {
                self.shared.note_sync_failure(&fault);
                None
            }
        };
        if let Some(file) = &mut file {
            file.moved_to(&*self.shared.storage, path);
            self.shared.forgive();
            self.shared.file_bytes.store(file.size(), Ordering::Release);
        }
        let old = std::mem::replace(&mut *lock(&self.shared.file), file);
        self.shared.syncer.replace_handle(handle);
        self.shared.synced.fetch_max(self.shared.written.load(Ordering::Acquire), Ordering::AcqRel);
        drop_elsewhere(old);
    }

    pub(super) fn give_up(&mut self, reason: &str) {
        if let Some(Switching { order, cancelled, .. }) = self.switch.take() {
            cancelled.store(true, Ordering::Release);
            self.fail_switch(&order, reason.to_owned());
        }
    }

    fn fail_switch(&mut self, order: &SwitchOrder, reason: String) {
        self.forget_buffer();
        remove_if_there(&self.shared, order);
        self.report(SwitchOutcome::Failed(reason));
    }

    fn report(&self, outcome: SwitchOutcome) {
        *lock(&self.shared.outcome) = Some(outcome);
        self.shared.wake_main();
    }
}

fn remove_if_there(shared: &Shared, order: &SwitchOrder) {
    if let Err(fault) = remove_elsewhere(&*shared.storage, &order.temp) {
        log::warn!("Error removing the temporary AOF file: {fault}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Convergence, Next};

    const MIB: u64 = 1 << 20;

    #[test]
    fn rounds_that_leave_less_and_less_go_on_to_the_last_step() {
        let mut convergence = Convergence::default();
        let mut left = 4096 * MIB;
        let mut rounds = 0;
        while convergence.judge(left, left, 1000) == Next::Round {
            left = left / 8 * 7 - 1;
            rounds += 1;
        }
        assert!(left < MIB && rounds < 70, "{rounds} rounds, {left} bytes left");
    }

    #[test]
    fn rounds_without_progress_end_by_a_bounded_step_or_not_at_all() {
        let steps = |left: u64, copied: u64, time_us: u64| {
            let mut convergence = Convergence::default();
            let mut seen = vec![convergence.judge(left, 0, 0)];
            while seen.last() == Some(&Next::Round) {
                seen.push(convergence.judge(left, copied, time_us));
            }
            (seen.len(), *seen.last().expect("one at least"))
        };
        assert_eq!(steps(20 * MIB, 20 * MIB, 900_000), (4, Next::ForcedStep));
        assert_eq!(steps(20 * MIB, 20 * MIB, 1_100_000), (4, Next::GiveUp), "too slow");
        assert_eq!(steps(100 * MIB, 100 * MIB, 10_000), (4, Next::GiveUp), "too much");
        assert_eq!(steps(20 * MIB, 0, 10_000), (4, Next::GiveUp), "nothing was copied");
    }
}
