//! The observer and the doctor on made-up machines: a folder that looks like /proc.

use crate::cow::delays::WINDOW;
use crate::cow::doctor::{Patient, examine};
use crate::cow::record::{Figure, ForkRecord, ForkState, Killer};
use crate::cow::{Counters, Observer};
use crate::persist::Persistence;
use crate::persist::child::ChildProgress;
use crate::persist::data_pages::{PageSize, RebuildEnd, RebuildFigures};
use crate::persist::fork::{ChildKind, ChildResult, ForkEnd, ForkEvent};
use crate::sys::fork::{ChildExit, ChildOutcome};
use crate::sys::proc::ProcFs;
use std::time::{Duration, Instant};

const MB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A machine, a server on it, and the time.
struct Bench {
    folder: tempfile::TempDir,
    observer: Observer,
    persistence: Persistence,
    counters: Counters,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let proc = ProcFs::at(&folder.path().join("proc"), &folder.path().join("sys"));
        let bench = Bench {
            folder,
            observer: Observer::new(proc),
            persistence: Persistence::default(),
            counters: Counters::default(),
            now: Instant::now(),
        };
        bench.available(8 * GIB);
        bench.write("proc/vmstat", "pgfault 7\noom_kill 3\n");
        bench.write("proc/self/status", "VmRSS: 1048576 kB\nVmPTE: 2100 kB\n");
        bench.huge(GIB);
        bench
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("files are below")).expect("mkdir");
        std::fs::write(path, text).expect("write");
    }

    fn available(&self, bytes: u64) {
        self.write("proc/meminfo", &format!("MemTotal: 16777216 kB\nMemAvailable: {} kB\n", bytes >> 10));
    }

    fn huge(&self, bytes: u64) {
        let text = format!("Private_Dirty: 40 kB\nAnonHugePages: {} kB\n", bytes >> 10);
        self.write("proc/self/smaps_rollup", &text);
    }

    fn sample(&mut self) {
        // More than 99 times the cost of the last sample.
        self.now += Duration::from_secs(1);
        self.observer.sample(&self.persistence, self.counters, self.now);
    }

    fn fork(&mut self, fork_us: u64) {
        let forks = &mut self.persistence.forks;
        forks.total += 1;
        forks.events.push_back(ForkEvent {
            id: forks.total,
            started_ms: 1,
            started: self.now,
            kind: ChildKind::Snapshot,
            pid: 4711,
            fork_us,
            fork_cpu_us: fork_us,
            rss_bytes: GIB,
            minor_faults: 0,
            keys_total: 100,
            cow_peak_bytes: 0,
            duration_ms: 0,
            result: None,
            end: None,
        });
        self.observer.began(&self.persistence, self.counters, self.now);
    }

    /// Waits until the thread has read the pages of this child.
    fn wait_for_reading(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.sample();
            if self.latest().huge_before_bytes.is_some() {
                return;
            }
            assert!(Instant::now() < deadline, "nothing was read");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(&mut self, result: ChildResult, outcome: ChildOutcome, killed: bool) {
        let progress = ChildProgress {
            keys_done: 100,
            keys_total: 100,
            cow_bytes: 2 * MB,
            cow_peak_bytes: 4 * MB,
            cow_measured: Some(self.now),
            ..ChildProgress::default()
        };
        let exit = ChildExit {
            pid: 4711,
            outcome,
            max_rss_bytes: 0,
            user_time: Duration::from_millis(700),
            system_time: Duration::from_millis(200),
            minor_faults: 0,
            major_faults: 0,
        };
        let event = self.persistence.forks.events.back_mut().expect("a fork was made");
        event.result = Some(result);
        event.duration_ms = 1000;
        event.end = Some(ForkEnd {
            progress,
            exit: Some(exit),
            killed,
            minor_faults: 3000,
            rss_bytes: GIB + MB,
            rebuilds: 0,
        });
        self.sample();
    }

    fn done(&mut self) {
        self.end(ChildResult::Done, ChildOutcome::Exited(0), false);
    }

    fn latest(&mut self) -> &mut ForkRecord {
        self.observer.records.back_mut().expect("a fork was made")
    }

    fn opinion(&self) -> String {
        self.opinion_with(&PageSize::Huge("a write after a fork copies 4 kB".to_owned()), 0)
    }

    fn opinion_with(&self, page_size: &PageSize, cow_limit_bytes: u64) -> String {
        self.opinion_on(page_size, cow_limit_bytes, 1)
    }

    fn opinion_on(&self, page_size: &PageSize, cow_limit_bytes: u64, overcommit: u8) -> String {
        examine(&Patient {
            records: self.observer.records(),
            page_size,
            memory_left: self.observer.memory_left(),
            expected_bytes: self.observer.expected_bytes(GIB),
            rss_bytes: GIB,
            cow_limit_bytes,
            overcommit: Some(overcommit),
            huge_page_mode: None,
            compresses: true,
        })
    }
}

#[test]
fn a_fork_is_recorded_from_both_sides() {
    let mut bench = Bench::new();
    for _ in 0..30 {
        bench.sample();
    }
    bench.observer.delays.note_turn(1_000, 1_200, 50);
    bench.fork(1_500);
    bench.wait_for_reading();
    bench.counters = Counters { commands: 5000, writes: 2000, input_bytes: 500_000 };
    bench.available(6 * GIB);
    bench.huge(16 * MB);
    bench.observer.delays.note_turn(50_000, 53_000, 100);
    bench.sample();
    bench.done();
    let record = bench.latest();
    assert_eq!((record.state.clone(), record.fork_us_per_gib()), (ForkState::Done, 1_500));
    assert_eq!((record.writes, record.commands, record.minor_faults), (2000, 5000, 3000));
    assert_eq!(record.copied_bytes() / record.writes, 6144);
    assert_eq!((record.cow_peak_bytes, record.growth_bytes), (4 * MB, MB as i64));
    assert_eq!(record.extra_per_write(), Some(4 * MB / 2000));
    assert_eq!((record.page_tables_before_bytes, record.huge_before_bytes), (Some(2100 << 10), Some(GIB)));
    assert_eq!((record.headroom_before_bytes, record.headroom_min_bytes), (Some(8 * GIB), Some(6 * GIB)));
    assert_eq!((record.before.max_us, record.during.max_us / 100), (200, 30));
    let times: Vec<i64> = record.timeline.samples().iter().map(|sample| sample[0]).collect();
    assert!(times[0] < 0 && *times.last().expect("samples") > 0, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    let figures = record.figures();
    let names: std::collections::BTreeSet<&str> = figures.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), figures.len(), "each name once");
    assert!(figures.contains(&("writes", Figure::Count(2000))));
}

#[test]
fn the_time_after_a_child_is_observed_too_and_the_history_is_bounded() {
    let mut bench = Bench::new();
    bench.fork(1_000);
    bench.done();
    bench.observer.delays.note_turn(1_000, 8_000, 5);
    bench.fork(1_000);
    assert_eq!(bench.latest().before.max_us / 100, 70, "after the one is before the other");
    bench.done();
    bench.observer.delays.note_turn(20_000, 27_000, 5);
    for _ in 0..=WINDOW.as_secs() + 1 {
        bench.sample();
    }
    assert_eq!(bench.latest().after.max_us / 100, 70);
    let samples = bench.latest().timeline.samples().len();
    bench.sample();
    assert_eq!(bench.latest().timeline.samples().len(), samples, "the time line is closed");
    for _ in 0..100 {
        bench.fork(1_000);
        bench.done();
    }
    assert_eq!(bench.observer.records().len(), 64);
    assert!(bench.observer.find(1).is_none() && bench.observer.find(102).is_some());
    bench.fork(1_000);
    assert_eq!(bench.observer.reset(), 63, "the living child's record stays");
    assert_eq!(bench.observer.latest().map(|record| record.id), Some(103));
}

#[test]
fn the_doctor_names_small_pages_and_what_to_change() {
    let mut bench = Bench::new();
    bench.fork(25_000);
    bench.done();
    for (reason, advice) in [
        ("fork-huge-pages no", "CONFIG SET fork-huge-pages auto."),
        ("a write after a fork copies 2 MB on this kernel", "Run a kernel from Linux 5.8 on"),
    ] {
        let text = bench.opinion_with(&PageSize::Base(reason.to_owned()), 0);
        assert!(text.contains("25.00 ms for each GiB"), "{text}");
        assert!(
            text.contains(&format!("pages of 4 kB ({reason}), so the fork had 262144 entries")),
            "{text}"
        );
        assert!(text.contains(advice), "{text}");
    }
}

#[test]
fn the_doctor_is_content_with_huge_pages_and_says_when_they_were_split() {
    let mut bench = Bench::new();
    for end in [RebuildEnd::Complete, RebuildEnd::Interrupted] {
        bench.huge(GIB);
        bench.fork(1_200);
        bench.latest().huge_pages = true;
        bench.wait_for_reading();
        bench.done();
        let text = bench.opinion();
        assert!(text.contains("Nothing is wrong, and there is nothing to change"), "{text}");
        bench.latest().rebuild = Some(RebuildFigures { last_end: end, ..RebuildFigures::default() });
    }
    bench.huge(GIB / 8);
    bench.fork(14_000);
    bench.latest().huge_pages = true;
    bench.wait_for_reading();
    bench.done();
    let text = bench.opinion();
    assert!(text.contains("Only 12 % of the memory lay in pages of 2 MB"), "{text}");
    assert!(
        text.contains("interrupted by fork 3") && text.contains("Leave more time between saves"),
        "{text}"
    );
    let refused = RebuildEnd::Refused(libc::EINVAL);
    bench.observer.records[1].rebuild =
        Some(RebuildFigures { last_end: refused, ..RebuildFigures::default() });
    assert!(bench.opinion().contains("Linux 6.1"), "{}", bench.opinion());
}

#[test]
fn the_doctor_sees_that_others_had_the_processor() {
    let mut bench = Bench::new();
    bench.fork(4_500);
    bench.wait_for_reading();
    bench.done();
    assert!(!bench.opinion().contains("others had the processor"), "{}", bench.opinion());
    bench.latest().fork_cpu_us = 1_200;
    let opinion = bench.opinion();
    assert!(opinion.contains("at work for 1.20 ms; the rest others had the processor"), "{opinion}");
    assert!(opinion.contains("CPUAffinity="), "{opinion}");
}

#[test]
fn the_doctor_sees_that_memory_is_short_in_a_control_group() {
    let mut bench = Bench::new();
    bench.write("proc/self/cgroup", "0::/small\n");
    bench.write("sys/fs/cgroup/small/memory.max", &(GIB + 300 * MB).to_string());
    bench.write("sys/fs/cgroup/small/memory.current", &(GIB + 250 * MB).to_string());
    bench.write("sys/fs/cgroup/small/memory.stat", &format!("anon 5\ninactive_file {}\n", 50 * MB));
    bench.sample();
    let shortage = bench.observer.shortage(GIB).expect("half of the memory is expected to be needed");
    assert!(
        shortage.contains("the control group has 100 MB left, and a child may need 512 MB"),
        "{shortage}"
    );
    let text = bench.opinion();
    assert!(text.contains("1. Memory may not last: the control group has 100.0 MB left"), "{text}");
    bench.fork(1_200);
    bench.latest().huge_pages = true;
    bench.write("sys/fs/cgroup/small/memory.current", &(GIB + 330 * MB).to_string());
    bench.sample();
    bench.done();
    let text = bench.opinion();
    assert!(text.contains("the control group had 100.0 MB left, 20.0 MB at the least"), "{text}");
    assert!(
        text.contains("set fork-cow-limit") && text.contains("give the control group more memory"),
        "{text}"
    );
    bench.latest().during.p999_us = 50_000;
    bench.latest().during.max_us = 50_000;
    assert!(bench.opinion().contains("must free a page before it can copy one"), "{}", bench.opinion());
    let end = RebuildEnd::MemoryShort;
    bench.latest().rebuild = Some(RebuildFigures { last_end: end, ..RebuildFigures::default() });
    assert!(bench.opinion().contains("The rebuild of huge pages stopped for it"), "{}", bench.opinion());
}

#[test]
fn the_doctor_tells_who_killed_the_child() {
    let killed = |reason: &str| ChildResult::Failed(reason.to_owned());
    let mut bench = Bench::new();
    bench.fork(1_000);
    bench.end(killed("terminated by signal 9"), ChildOutcome::Signaled(9), false);
    assert_eq!(bench.latest().killer, Killer::Signal(9));
    assert!(bench.opinion().contains("ended by signal 9 from outside"), "{}", bench.opinion());
    bench.fork(1_000);
    bench.write("proc/vmstat", "pgfault 7\noom_kill 4\n");
    bench.end(killed("terminated by signal 9"), ChildOutcome::Signaled(9), false);
    let text = bench.opinion();
    assert!(text.contains("The kernel killed the child because memory had run out"), "{text}");
    assert!(text.contains("the snapshot before, if there is one, is as it was"), "{text}");
    bench.fork(1_000);
    let reason = "9 bytes copied on write, fork-cow-limit is 8";
    bench.end(killed(reason), ChildOutcome::Signaled(9), true);
    let text = bench.opinion_with(&PageSize::Huge(String::new()), 8 * MB);
    assert!(text.contains(reason) && text.contains("Raise fork-cow-limit (now 8.0 MB)"), "{text}");
    bench.fork(1_000);
    bench.end(killed("no progress for 600 seconds (fork-child-timeout)"), ChildOutcome::Signaled(9), true);
    assert!(bench.opinion().contains("Look at the disk"), "{}", bench.opinion());
    bench.fork(1_000);
    bench.end(killed("write(/x): No space left on device"), ChildOutcome::Exited(1), false);
    assert!(bench.opinion().contains("The child failed: write(/x)"), "{}", bench.opinion());
}

#[test]
fn without_a_fork_the_doctor_guesses_and_says_so() {
    let bench = Bench::new();
    let text = bench.opinion_with(&PageSize::Base("fork-huge-pages no".to_owned()), 0);
    assert!(text.contains("no fork to speak of yet") && text.contains("fork-huge-pages auto"), "{text}");
}

#[test]
fn the_doctor_knows_what_the_kernel_promises() {
    let mut bench = Bench::new();
    let huge = PageSize::Huge(String::new());
    bench.sample();
    assert!(!bench.opinion_on(&huge, 0, 0).contains("overcommit"), "more is free than the server uses");
    assert!(bench.opinion_on(&huge, 0, 2).contains("sets memory aside for a whole second copy"));
    bench.available(GIB / 2);
    bench.sample();
    assert!(bench.opinion_on(&huge, 0, 0).contains("vm.overcommit_memory is 0 and less is free"));
    assert!(!bench.opinion_on(&huge, 0, 1).contains("overcommit"));
    bench.fork(1_000);
    assert!(bench.opinion().contains("Its child has lived for"), "{}", bench.opinion());
}
