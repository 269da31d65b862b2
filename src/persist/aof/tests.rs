//! Append, sync and rewrite against storages that fail, lie and lose power.
//!
//! A batch is `b<n>;`, so the right content of the file is always the batches in order, whatever
//! went wrong on the way.

use super::{Aof, AofSettings, FaultKind, SwitchOutcome, SyncPolicy};
use crate::sys::io::{
    Fault, FaultEffect, FaultPlan, FaultyStorage, MemoryStorage, Operation, PowerCut, Storage,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOG: &str = "/appendonly.aof";
const TEMP: &str = "/temp-rewriteaof-bg-1.aof";
const DEADLINE: Duration = Duration::from_secs(20);

struct Bench {
    aof: Aof,
    storage: Arc<FaultyStorage<MemoryStorage>>,
    plan: FaultPlan,
    batches: u32,
}

impl Bench {
    fn new(policy: SyncPolicy) -> Bench {
        let plan = FaultPlan::new();
        let storage = Arc::new(FaultyStorage::new(MemoryStorage::new(), plan.clone()));
        let mut aof = Aof::new(Arc::clone(&storage) as Arc<dyn Storage>);
        aof.set_path(PathBuf::from(LOG));
        aof.apply(AofSettings { policy, ..AofSettings::default() });
        aof.open().expect("the memory takes a file");
        Bench { aof, storage, plan, batches: 0 }
    }

    fn append(&mut self) {
        let mut bytes = batch(self.batches);
        self.batches += 1;
        self.aof.append(&mut bytes, 0);
        self.aof.flush();
    }

    fn settle(&mut self) {
        wait_until("release", || self.aof.pending_offset().is_none() && self.aof.unwritten_bytes() == 0);
    }

    fn expected(&self) -> Vec<u8> {
        (0..self.batches).flat_map(batch).collect()
    }

    fn content(&self) -> Vec<u8> {
        content_of(self.storage.inner())
    }

    fn limits(&mut self, memory_bytes: u64, spill_bytes: u64) {
        self.aof.apply(AofSettings {
            policy: SyncPolicy::EverySecond,
            buffer_limit_bytes: memory_bytes,
            spill_limit_bytes: spill_bytes,
            ..AofSettings::default()
        });
    }

    /// A rewrite that must succeed, and what is to be in the file afterwards.
    #[track_caller]
    fn rewrite_well(&mut self) {
        let outcome = self.rewrite(3);
        assert!(matches!(outcome, Some(SwitchOutcome::Done { .. })), "{outcome:?}");
        self.append();
        self.settle();
        assert_eq!(self.aof.refusal(), None, "healed");
        assert!(self.aof.fault().is_none() && !self.aof.needs_rewrite() && self.aof.last_write_ok());
        assert_eq!(self.content(), self.expected());
    }

    /// Names in the folder.
    fn names(&self) -> Vec<String> {
        let names = self.storage.inner().list_dir(Path::new("/")).expect("the memory lists");
        names.into_iter().map(|name| name.into_string().expect("ASCII")).collect()
    }

    fn look(&mut self) {
        wait_until("a look", || {
            self.aof.look_at_file();
            self.plan.calls(Operation::Metadata) > 0
        });
    }

    /// A rewrite: the child's part, then the switch. `None` when even the child's part failed.
    fn rewrite(&mut self, during: u32) -> Option<SwitchOutcome> {
        let base = self.expected();
        self.aof.begin_rewrite().expect("threads start");
        for _ in 0..during {
            self.append();
        }
        let written = self.storage.create(Path::new(TEMP)).and_then(|mut file| {
            file.write_all(&base)?;
            file.sync_data()
        });
        if written.is_err() {
            self.aof.abort_rewrite();
            return None;
        }
        self.aof.switch_to(PathBuf::from(TEMP), base.len() as u64);
        self.append();
        let mut outcome = None;
        wait_until("the switch", || {
            outcome = outcome.take().or_else(|| self.aof.take_switch_outcome());
            outcome.is_some()
        });
        outcome
    }
}

fn batch(number: u32) -> Vec<u8> {
    format!("b{number};").into_bytes()
}

fn content_of(storage: &dyn Storage) -> Vec<u8> {
    storage.read_whole(Path::new(LOG), 1 << 30).unwrap_or_default()
}

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_inline_write_releases_at_once() {
    let mut bench = Bench::new(SyncPolicy::No);
    for _ in 0..100 {
        bench.append();
        assert_eq!(bench.aof.pending_offset(), None);
    }
    assert_eq!(bench.content(), bench.expected());
    assert_eq!(bench.aof.current_size(), bench.expected().len() as u64);
}

#[test]
fn always_releases_only_what_a_power_cut_leaves() {
    let mut bench = Bench::new(SyncPolicy::Always);
    for round in 0..200 {
        bench.append();
        if round % 7 == 0 {
            bench.settle();
        }
        let released = bench.aof.released();
        let cut = bench.storage.inner().after_power_cut(PowerCut::LoseUnsynced);
        assert!(content_of(&cut).len() as u64 >= released, "released bytes are on the disk");
    }
    bench.settle();
    assert_eq!(bench.content(), bench.expected());
}

#[test]
fn every_second_loses_no_more_than_a_second_to_a_power_cut() {
    const SLACK: Duration = Duration::from_millis(500);
    let mut bench = Bench::new(SyncPolicy::EverySecond);
    let start = Instant::now();
    let mut written = Vec::new();
    while start.elapsed() < Duration::from_millis(3200) {
        bench.append();
        written.push((Instant::now(), bench.expected().len()));
        std::thread::sleep(Duration::from_millis(20));
        let now = Instant::now();
        let durable = content_of(&bench.storage.inner().after_power_cut(PowerCut::LoseUnsynced)).len();
        let old =
            written.iter().filter(|(time, _)| now.duration_since(*time) > Duration::from_secs(1) + SLACK);
        assert!(old.map(|(_, len)| *len).max().unwrap_or(0) <= durable, "older than a second and lost");
    }
    assert_eq!(bench.content(), bench.expected());
}

#[test]
fn failed_and_torn_writes_are_tried_again_and_leave_no_trace() {
    let effects = [
        FaultEffect::Fail(libc::ENOSPC),
        FaultEffect::Torn { bytes: 2, errno: libc::ENOSPC },
        FaultEffect::Short(1),
    ];
    for effect in effects {
        for nth in 1..6 {
            let mut bench = Bench::new(SyncPolicy::EverySecond);
            bench.plan.add(Fault { times: 2, ..Fault::nth(Operation::Write, nth, effect) });
            let mut refused = false;
            for _ in 0..8 {
                bench.append();
                refused |= bench.aof.refusal().is_some();
                assert_eq!(bench.aof.pending_offset().filter(|_| bench.aof.refusal().is_some()), None);
            }
            bench.settle();
            assert_eq!(bench.content(), bench.expected(), "{effect:?} at write {nth}");
            assert_eq!(refused, !matches!(effect, FaultEffect::Short(_)), "{effect:?} at write {nth}");
            assert_eq!(bench.aof.refusal(), None, "healed");
        }
    }
}

#[test]
fn a_torn_write_that_cannot_be_cut_back_is_continued() {
    let mut bench = Bench::new(SyncPolicy::No);
    bench.plan.add(Fault::nth(Operation::Write, 2, FaultEffect::Torn { bytes: 1, errno: libc::EIO }));
    bench.plan.add(Fault::nth(Operation::Truncate, 1, FaultEffect::Fail(libc::EIO)));
    for _ in 0..5 {
        bench.append();
    }
    bench.settle();
    assert_eq!(bench.content(), bench.expected());
}

#[test]
fn a_failed_sync_is_never_trusted_and_heals_by_a_rewrite() {
    let mut bench = Bench::new(SyncPolicy::EverySecond);
    bench.plan.add(Fault::nth(Operation::SyncData, 1, FaultEffect::Fail(libc::EIO)));
    bench.append();
    wait_until("the failed sync", || bench.aof.refusal().is_some());
    // The next sync succeeds, which proves nothing.
    std::thread::sleep(Duration::from_millis(1200));
    assert!(bench.aof.refusal().is_some() && bench.aof.needs_rewrite());
    let outcome = bench.rewrite(3);
    assert!(matches!(outcome, Some(SwitchOutcome::Done { .. })), "{outcome:?}");
    bench.settle();
    assert_eq!(bench.aof.refusal(), None);
    assert_eq!(bench.content(), bench.expected());
}

#[test]
fn always_ends_the_process_instead_of_lying() {
    for operation in [Operation::Write, Operation::SyncData] {
        let mut bench = Bench::new(SyncPolicy::Always);
        bench.append();
        bench.settle();
        let before = bench.aof.released();
        bench.plan.add(Fault::always(operation, FaultEffect::Fail(libc::EIO)));
        bench.append();
        wait_until("the end", || bench.aof.fatal().is_some());
        assert_eq!(bench.aof.released(), before, "nothing is released after {operation:?} failed");
    }
}

#[test]
fn a_stalled_sync_delays_no_reply() {
    let mut bench = Bench::new(SyncPolicy::EverySecond);
    bench.plan.add(Fault::nth(Operation::SyncData, 1, FaultEffect::Stall(Duration::from_millis(1500))));
    bench.append();
    wait_until("the sync", || bench.plan.calls(Operation::SyncData) > 0);
    let start = Instant::now();
    bench.append();
    bench.settle();
    assert!(start.elapsed() < Duration::from_millis(1000), "{:?}", start.elapsed());
    wait_until("the late sync", || bench.aof.delayed_fsyncs() == 1);
}

#[test]
fn a_rewrite_keeps_every_batch() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySecond, SyncPolicy::No] {
        let mut bench = Bench::new(policy);
        for _ in 0..10 {
            bench.append();
        }
        let outcome = bench.rewrite(20);
        assert!(matches!(outcome, Some(SwitchOutcome::Done { .. })), "{outcome:?}");
        for _ in 0..10 {
            bench.append();
        }
        bench.settle();
        assert_eq!(bench.content(), bench.expected(), "{policy:?}");
        assert!(!bench.storage.exists(Path::new(TEMP)).expect("stat"));
    }
}

/// Each call in turn fails during a rewrite under `always`; whatever happens, a power cut finds
/// every batch that was released.
#[test]
fn a_rewrite_survives_a_fault_at_every_call() {
    let mut ends = [0; 2];
    for step in 1..40 {
        let mut bench = Bench::new(SyncPolicy::EverySecond);
        for _ in 0..5 {
            bench.append();
        }
        bench.settle();
        let nth = bench.plan.total_calls() + step;
        let fault =
            Fault { operation: None, ..Fault::nth(Operation::Write, nth, FaultEffect::Fail(libc::EIO)) };
        bench.plan.add(fault);
        let outcome = bench.rewrite(4);
        bench.plan.clear();
        ends[usize::from(matches!(outcome, Some(SwitchOutcome::Done { .. })))] += 1;
        if bench.aof.needs_rewrite() {
            let healed = bench.rewrite(2);
            assert!(matches!(healed, Some(SwitchOutcome::Done { .. })), "step {step}: {healed:?}");
        }
        bench.append();
        bench.settle();
        assert_eq!(bench.content(), bench.expected(), "step {step}, {outcome:?}");
        bench.aof.flush_and_sync(DEADLINE).expect("the disk is well again");
        let cut = bench.storage.inner().after_power_cut(PowerCut::LoseUnsynced);
        assert_eq!(content_of(&cut), bench.expected(), "step {step}, {outcome:?}");
    }
    assert!(ends[0] > 3 && ends[1] > 3, "both ends were seen: {ends:?}");
}

#[test]
fn a_full_rewrite_buffer_gives_the_rewrite_up() {
    let mut bench = Bench::new(SyncPolicy::No);
    bench.aof.apply(AofSettings { policy: SyncPolicy::No, buffer_limit_bytes: 20, ..AofSettings::default() });
    bench.append();
    bench.aof.begin_rewrite().expect("threads start");
    for _ in 0..20 {
        bench.append();
    }
    bench.settle();
    let mut reason = None;
    wait_until("overflow", || {
        reason = bench.aof.take_overflow();
        reason.is_some()
    });
    assert!(reason.expect("there is one").contains("aof-rewrite-buffer-limit (20 bytes"));
    bench.aof.abort_rewrite();
    bench.append();
    bench.settle();
    assert_eq!(bench.content(), bench.expected());
}

#[test]
fn closing_syncs_and_opening_goes_on() {
    let mut bench = Bench::new(SyncPolicy::No);
    bench.append();
    bench.aof.close(DEADLINE).expect("the memory syncs");
    let cut = bench.storage.inner().after_power_cut(PowerCut::LoseUnsynced);
    assert_eq!(content_of(&cut), bench.expected());
    bench.aof.open().expect("it is there");
    bench.append();
    bench.settle();
    assert_eq!(bench.content(), bench.expected());
}

#[test]
fn a_rewrite_buffer_beyond_its_limit_goes_on_in_a_side_file() {
    for policy in [SyncPolicy::Always, SyncPolicy::EverySecond] {
        let mut bench = Bench::new(policy);
        bench.limits(60, 1 << 20);
        bench.append();
        bench.aof.begin_rewrite().expect("threads start");
        for _ in 0..200 {
            bench.append();
        }
        bench.settle();
        wait_until("the side file", || bench.aof.rewrite_buffer_spilled_bytes() > 0);
        assert!(bench.aof.rewrite_buffer_length() <= 60);
        assert_eq!(bench.names(), ["appendonly.aof"], "the side file has no name");
        bench.aof.abort_rewrite();
        bench.settle();
        wait_until("the end", || bench.aof.rewrite_buffer_spilled_bytes() == 0);
        let outcome = bench.rewrite(300);
        let Some(SwitchOutcome::Done { appended_bytes, .. }) = outcome else { panic!("{outcome:?}") };
        // The batch behind the order to switch may come before the last step or after it.
        let during: usize = (201..501).map(|number| batch(number).len()).sum();
        assert!(appended_bytes as usize >= during, "{appended_bytes} of {during}");
        bench.append();
        bench.settle();
        assert_eq!(bench.content(), bench.expected(), "{policy:?}");
        assert_eq!((bench.aof.rewrite_buffer_length(), bench.aof.rewrite_buffer_spilled_bytes()), (0, 0));
        assert_eq!(bench.names(), ["appendonly.aof"]);
    }
}

#[test]
fn a_side_file_that_fails_ends_the_rewrite_and_not_the_log() {
    let faults = [
        (Operation::Create, FaultEffect::Fail(libc::EROFS)),
        (Operation::Remove, FaultEffect::Fail(libc::EACCES)),
        (Operation::Write, FaultEffect::Torn { bytes: 2, errno: libc::ENOSPC }),
        (Operation::Read, FaultEffect::Fail(libc::EIO)),
    ];
    for (operation, effect) in faults {
        let mut bench = Bench::new(SyncPolicy::EverySecond);
        bench.limits(10, 1 << 20);
        bench.append();
        bench.plan.add_next(operation, "temp-rewriteaof-buffer", 1, effect);
        let outcome = bench.rewrite(40);
        let Some(SwitchOutcome::Failed(reason)) = outcome else { panic!("{operation:?}: {outcome:?}") };
        assert!(reason.contains("temp-rewriteaof-buffer") && reason.contains("os error"), "{reason}");
        bench.append();
        bench.settle();
        assert_eq!(bench.aof.refusal(), None, "the log is well");
        assert_eq!(bench.content(), bench.expected());
        bench.plan.clear();
        bench.rewrite_well();
    }
}

#[test]
fn both_limits_of_the_rewrite_buffer_give_the_rewrite_up() {
    let mut bench = Bench::new(SyncPolicy::EverySecond);
    bench.limits(20, 20);
    let outcome = bench.rewrite(40);
    let Some(SwitchOutcome::Failed(reason)) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("aof-rewrite-buffer-spill-limit (20 bytes"), "{reason}");
    bench.limits(20, 1 << 20);
    bench.rewrite_well();
}

/// Rounds copy blocks and parts of side files while both kinds grow behind them.
#[test]
fn rounds_keep_the_order_of_memory_and_side_files() {
    let mut bench = Bench::new(SyncPolicy::EverySecond);
    bench.limits(1 << 20, 1 << 30);
    bench.aof.begin_rewrite().expect("threads start");
    let big = |bench: &mut Bench, sent: &mut Vec<u8>, count: usize| {
        for _ in 0..count {
            let number = sent.len();
            let mut bytes: Vec<u8> = (0..100_003usize).map(|at| (number + at) as u8 | 1).collect();
            sent.extend_from_slice(&bytes);
            bench.aof.append(&mut bytes, 0);
            bench.aof.flush();
        }
    };
    let mut sent = Vec::new();
    big(&mut bench, &mut sent, 60);
    bench.settle();
    bench.storage.create(Path::new(TEMP)).expect("the child writes an empty base");
    // Each sync of the new file takes a while, so that more comes during the rounds.
    let slow = FaultEffect::Stall(Duration::from_millis(20));
    bench.plan.add_next(Operation::SyncData, "bg-1", 6, slow);
    bench.aof.switch_to(PathBuf::from(TEMP), 0);
    for _ in 0..20 {
        big(&mut bench, &mut sent, 2);
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut outcome = None;
    wait_until("the switch", || {
        outcome = outcome.take().or_else(|| bench.aof.take_switch_outcome());
        outcome.is_some()
    });
    assert!(matches!(outcome, Some(SwitchOutcome::Done { .. })), "{outcome:?}");
    bench.settle();
    assert!(bench.content() == sent, "{} bytes of {}", bench.content().len(), sent.len());
    assert_eq!((bench.aof.rewrite_buffer_length(), bench.aof.rewrite_buffer_spilled_bytes()), (0, 0));
}

/// A round that is still under way when its rewrite is stopped does not disturb the next one.
#[test]
fn a_late_round_of_a_stopped_rewrite_is_not_taken_for_the_next_ones() {
    let mut bench = Bench::new(SyncPolicy::EverySecond);
    bench.aof.begin_rewrite().expect("threads start");
    let mut sent = vec![b'x'; 3 << 20];
    bench.aof.append(&mut sent.clone(), 0);
    bench.aof.flush();
    bench.settle();
    bench.storage.create(Path::new(TEMP)).expect("the memory takes a file");
    bench.plan.add_next(Operation::SyncData, "bg-1", 1, FaultEffect::Stall(Duration::from_millis(200)));
    bench.aof.switch_to(PathBuf::from(TEMP), 0);
    wait_until("the round", || bench.plan.calls(Operation::SyncData) > 0);
    bench.aof.abort_rewrite();
    wait_until("the end", || bench.aof.take_switch_outcome().is_some());
    bench.aof.begin_rewrite().expect("threads start");
    let mut base = bench.storage.create(Path::new(TEMP)).expect("the memory takes a file");
    base.write_all(&sent).expect("the memory is well");
    bench.aof.switch_to(PathBuf::from(TEMP), sent.len() as u64);
    wait_until("the switch", || bench.aof.take_switch_outcome().is_some());
    std::thread::sleep(Duration::from_millis(250));
    bench.append();
    bench.settle();
    sent.extend(bench.expected());
    assert!(bench.content() == sent);
}

#[test]
fn a_file_that_somebody_removed_replaced_or_changed_is_noticed_and_healed() {
    type Act = fn(&MemoryStorage);
    let log = Path::new(LOG);
    let acts: [(&str, Act); 4] = [
        ("was removed", |disk| disk.remove(Path::new(LOG)).expect("it is there")),
        ("was replaced by another file", |disk| {
            disk.create(Path::new("/other")).expect("free").write_all(b"foreign").expect("well");
            disk.rename(Path::new("/other"), Path::new(LOG)).expect("it is there");
        }),
        ("was truncated", |disk| disk.truncate(Path::new(LOG), 3).expect("it is there")),
        ("was appended to", |disk| {
            disk.open_append(Path::new(LOG)).expect("it is there").write_all(b"foreign").expect("well");
        }),
    ];
    for (what, act) in acts {
        let mut bench = Bench::new(SyncPolicy::EverySecond);
        for _ in 0..5 {
            bench.append();
        }
        bench.settle();
        bench.look();
        bench.settle();
        assert_eq!(bench.aof.refusal(), None, "nothing is wrong before");
        act(bench.storage.inner());
        wait_until(what, || {
            bench.aof.look_at_file();
            bench.aof.refusal().is_some()
        });
        let refusal = bench.aof.refusal().expect("seen above");
        assert!(refusal.contains(what) && refusal.contains(LOG), "{refusal}");
        assert_eq!(bench.aof.fault().map(|fault| fault.kind), Some(FaultKind::File));
        assert!(bench.aof.needs_rewrite());
        bench.rewrite_well();
        let kept = bench.names().iter().any(|name| name.starts_with("appendonly.aof.replaced-"));
        assert_eq!(kept, what.contains("replaced"), "what is not ours is kept: {:?}", bench.names());
        let cut = bench.storage.inner().after_power_cut(PowerCut::LoseUnsynced);
        assert!(cut.exists(log).expect("stat"));
    }
}

#[test]
fn a_file_that_was_moved_away_and_back_is_whole_again() {
    let mut bench = Bench::new(SyncPolicy::EverySecond);
    bench.append();
    bench.settle();
    let (log, away) = (Path::new(LOG), Path::new("/away"));
    bench.storage.inner().rename(log, away).expect("it is there");
    wait_until("the refusal", || {
        bench.aof.look_at_file();
        bench.aof.refusal().is_some()
    });
    bench.storage.inner().rename(away, log).expect("it is there");
    wait_until("the end of the refusal", || {
        bench.aof.look_at_file();
        bench.aof.refusal().is_none()
    });
    assert!(bench.aof.fault().is_none());
}

/// Cause, path and errno while it lasts; nothing when it is over.
#[test]
fn a_failing_disk_is_named_and_forgotten() {
    for errno in [libc::ENOSPC, libc::EIO] {
        let mut bench = Bench::new(SyncPolicy::EverySecond);
        bench.plan.add_next(Operation::Write, "appendonly", 2, FaultEffect::Fail(errno));
        bench.append();
        let fault = bench.aof.fault().expect("the write failed");
        assert_eq!(fault.kind, FaultKind::Write);
        let errno_text = format!("(os error {errno})");
        assert!(fault.text.starts_with("write(/appendonly.aof): ") && fault.text.ends_with(&errno_text));
        assert_eq!(bench.aof.refusal(), Some(fault.text));
        wait_until("the end of the fault", || bench.aof.fault().is_none());
        bench.settle();
        assert_eq!(bench.content(), bench.expected());
    }
}

/// Each step of putting the new file in place fails in its own way; the next rewrite succeeds.
#[test]
fn a_failed_switch_leaves_the_log_as_it_was_and_is_tried_again() {
    let faults = [
        (Operation::OpenAppend, "bg-1", libc::EACCES),
        (Operation::SyncData, "bg-1", libc::EIO),
        (Operation::Write, "bg-1", libc::ENOSPC),
        (Operation::Rename, "bg-1", libc::EROFS),
        (Operation::SyncDir, "/", libc::EIO),
    ];
    for (operation, path, errno) in faults {
        let mut bench = Bench::new(SyncPolicy::EverySecond);
        bench.append();
        bench.settle();
        let base = bench.expected();
        bench.aof.begin_rewrite().expect("threads start");
        bench.append();
        let mut file = bench.storage.create(Path::new(TEMP)).expect("well");
        file.write_all(&base).and_then(|()| file.sync_data()).expect("well");
        bench.plan.add_next(operation, path, 1, FaultEffect::Fail(errno));
        bench.aof.switch_to(PathBuf::from(TEMP), base.len() as u64);
        let mut outcome = None;
        wait_until("the switch", || {
            outcome = bench.aof.take_switch_outcome();
            outcome.is_some()
        });
        let Some(SwitchOutcome::Failed(reason)) = outcome else { panic!("{operation:?}: {outcome:?}") };
        assert!(reason.contains(&format!("(os error {errno})")), "{reason}");
        assert_eq!(bench.aof.refusal().is_some(), operation == Operation::SyncDir, "{reason}");
        assert_eq!(bench.names(), ["appendonly.aof"]);
        bench.rewrite_well();
    }
}
