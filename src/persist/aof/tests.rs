//! Append, sync and rewrite against storages that fail, lie and lose power.
//!
//! A batch is `b<n>;`, so the right content of the file is always the batches in order, whatever
//! went wrong on the way.

use super::{Aof, AofSettings, SwitchOutcome, SyncPolicy};
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
        self.aof.switch_to(PathBuf::from(TEMP));
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
    wait_until("overflow", || bench.aof.take_overflow());
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
