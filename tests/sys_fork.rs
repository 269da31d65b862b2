//! What needs a process of its own: forks under load, signals, crash reports, titles, daemons.
//!
//! `harness = false`: Rust's test runner has threads, and a fork belongs where the program
//! knows them all. Each check is a function; `main` runs them in order, those that must find a
//! single thread first. A check that fails panics, which ends the program with a code.

use std::hint::black_box;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tine::sys::crash::{self, AfterPanic};
use tine::sys::daemon::{daemonize, write_pidfile};
use tine::sys::fork::{
    CHILD_PANIC_EXIT_CODE, ChildExit, ChildOutcome, ForkOptions, ForkedChild, fork_child, kill,
    wait_blocking, wait_nohang,
};
use tine::sys::fork_check::{CopyOnWrite, check_copy_on_write, check_mapping};
use tine::sys::limits::disable_core_files;
use tine::sys::log_sink::{self, LogSink, LogTarget};
use tine::sys::notify::Supervisor;
use tine::sys::proc::ProcFs;
use tine::sys::signals::{SignalOptions, Signals};
use tine::sys::title::ProcessTitle;

/// The server's allocator: its atfork handlers are under test here too.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A child not gone after this long counts as hung.
const HUNG: Duration = Duration::from_secs(10);
/// Forks while threads log and allocate; `TINE_FORKS=10000` is the long run.
const FORKS: i32 = 300;
/// Threads that log and allocate.
const BUSY_THREADS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let log_path = folder.path().join("log");
    let sink = log_sink::install().expect("no logger yet");
    let target = LogTarget { file: Some(log_path.clone()), syslog: None };
    sink.set_target(target).expect("the folder is writable");
    crash::set_output_fd(sink.fd());

    titles_are_shown();
    daemons_detach(folder.path());
    copy_on_write_is_sound_here();
    exits_are_told_apart();
    panics_in_children_are_one_line(&log_path);
    insisting_ends_the_process(&log_path);
    signals_stay_with_their_process();
    children_can_be_tied_to_their_parent();
    upstart_is_told_by_a_stop();
    crashes_are_reported(folder.path());
    forks_under_load_never_hang(sink, &log_path);
    println!("sys_fork: all checks passed");
}

fn start(child: impl FnOnce() -> i32) -> ForkedChild {
    fork_child(ForkOptions::default(), child).expect("fork")
}

/// Reaps with a deadline: a hang is a failure, not a stuck build.
fn reap(child: ForkedChild) -> ChildExit {
    let deadline = Instant::now() + HUNG;
    loop {
        if let Some(exit) = wait_nohang(child.pid).expect("our child") {
            return exit;
        }
        if Instant::now() > deadline {
            let _ = kill(child.pid, libc::SIGKILL);
            panic!("child {} hung", child.pid);
        }
        thread::sleep(Duration::from_micros(200));
    }
}

fn read_text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("the file is there")).into_owned()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + HUNG;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn shown_title() -> String {
    let bytes = std::fs::read("/proc/self/cmdline").expect("Linux");
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}

fn titles_are_shown() {
    let path_before = std::env::var_os("PATH");
    let mut title = ProcessTitle::init().expect("one thread, a real /proc");
    assert!(ProcessTitle::init().is_none(), "only one owner");
    let long = format!("tine {}", "x".repeat(title.capacity().min(300) - 5));
    title.set(&long);
    assert_eq!(shown_title(), long);
    title.set("tine *:6379");
    assert_eq!(shown_title(), "tine *:6379");
    let child = start(|| {
        title.set("tine-rdb-bgsave");
        i32::from(shown_title() != "tine-rdb-bgsave")
    });
    assert_eq!(reap(child).outcome, ChildOutcome::Exited(0));
    assert_eq!(shown_title(), "tine *:6379", "the child wrote its own copy");
    title.set(&"y".repeat(1 << 20));
    assert!(shown_title().starts_with("yyyy"), "cut, not refused");
    title.set("tine");
    assert_eq!(std::env::var_os("PATH"), path_before, "the environment has moved, not changed");
    assert!(std::env::args().count() >= 1);
}

fn daemons_detach(folder: &Path) {
    let path = folder.join("pid");
    let child = start(|| match daemonize().and_then(|()| write_pidfile(&path)) {
        Ok(()) => 0,
        Err(_) => 1,
    });
    assert_eq!(reap(child).outcome, ChildOutcome::Exited(0));
    until("the daemon writes its pid", || path.exists() && read_text(&path).ends_with('\n'));
    let pid: i32 = read_text(&path).trim().parse().expect("a number");
    assert_ne!(pid, child.pid, "the daemon is the child's child");
}

/// The check of the start, and what it says of memory that is shared on purpose.
fn copy_on_write_is_sound_here() {
    let CopyOnWrite::Broken(reason) = check_mapping(libc::MAP_SHARED, false) else { panic!("it is shared") };
    assert!(reason.contains("sees what its parent writes"), "{reason}");
    assert_eq!(check_mapping(libc::MAP_PRIVATE, true), CopyOnWrite::Sound);
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        assert_eq!(check_copy_on_write(), CopyOnWrite::Sound);
        fastest = fastest.min(begun.elapsed());
    }
    println!("sys_fork: the check of the start takes {} us", fastest.as_micros());
}

fn exits_are_told_apart() {
    let child = start(|| {
        black_box(vec![1u8; 8 << 20]);
        thread::sleep(Duration::from_millis(20));
        7
    });
    assert_eq!(wait_nohang(child.pid), Ok(None), "still asleep");
    let exit = wait_blocking(child.pid).expect("our child");
    assert_eq!((exit.pid, exit.outcome), (child.pid, ChildOutcome::Exited(7)));
    assert!(exit.max_rss_bytes > 1 << 20 && exit.minor_faults > 0);
    assert_eq!(wait_nohang(child.pid), Err(Errno::ECHILD), "reaped once");
    assert_eq!(wait_nohang(-1), Err(Errno::ECHILD));
    assert_eq!(kill(0, libc::SIGTERM), Err(Errno::EINVAL));
    let child = start(sleep_for_ever);
    kill(child.pid, libc::SIGKILL).expect("our child");
    assert_eq!(reap(child).outcome, ChildOutcome::Signaled(libc::SIGKILL));
}

fn sleep_for_ever() -> i32 {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn panics_in_children_are_one_line(log_path: &Path) {
    let child = start(|| panic!("broken invariant {}", black_box(42)));
    assert_eq!(reap(child).outcome, ChildOutcome::Exited(CHILD_PANIC_EXIT_CODE));
    let log = read_text(log_path);
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("broken invariant 42")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].starts_with(&format!("child {} panicked at tests/", child.pid)), "{log}");
}

fn signals_stay_with_their_process() {
    let mut signals = Signals::install(SignalOptions::default()).expect("install");
    for signal in [libc::SIGTERM, libc::SIGUSR1, libc::SIGINT] {
        let child = start(sleep_for_ever);
        kill(child.pid, signal).expect("our child");
        assert_eq!(reap(child).outcome, ChildOutcome::Signaled(signal), "default action");
    }
    for signal in [libc::SIGHUP, libc::SIGPIPE] {
        let child = start(move || signal_hook::low_level::raise(signal).map_or(1, |()| 0));
        assert_eq!(reap(child).outcome, ChildOutcome::Exited(0), "ignored");
    }
    let mut events = signals.take();
    until("SIGCHLD arrives", || {
        let more = signals.take();
        events.child += more.child;
        events.terminate += more.terminate + more.interrupt + more.user1 + more.hangup;
        events.child > 0
    });
    assert_eq!(events.terminate, 0, "the child's signals are not the parent's");
}

/// Before the parent's own handlers: signal-hook's table would tell the child that SIGINT is
/// hooked already, although the fork has reset it.
fn insisting_ends_the_process(log_path: &Path) {
    let child = start(|| {
        let options = SignalOptions { second_interrupt_exits: true, remove_on_exit: None };
        let _signals = Signals::install(options).expect("install");
        for _ in 0..2 {
            signal_hook::low_level::raise(libc::SIGINT).expect("raise");
        }
        0
    });
    assert_eq!(reap(child).outcome, ChildOutcome::Exited(1));
    assert!(read_text(log_path).contains("You insist... exiting now."));
}

fn children_can_be_tied_to_their_parent() {
    let (mut reader, mut writer) = std::io::pipe().expect("pipe");
    let middle = start(|| {
        let options = ForkOptions { die_with_parent: true };
        let grandchild = fork_child(options, || {
            writer.write_all(b"x").expect("the reader lives");
            sleep_for_ever()
        });
        // The grandchild must have arrived before its parent goes.
        let mut byte = [0u8];
        reader.read_exact(&mut byte).expect("the grandchild writes");
        i32::from(grandchild.is_err())
    });
    drop(writer);
    assert_eq!(reap(middle).outcome, ChildOutcome::Exited(0));
    let done = thread::spawn(move || reader.read_to_end(&mut Vec::new()).is_ok());
    until("the grandchild's end closes the pipe", || done.is_finished());
    assert!(done.join().expect("no panic"));
}

fn upstart_is_told_by_a_stop() {
    let child = start(|| Supervisor::Upstart.ready("x").map_or(1, |()| 0));
    let proc = ProcFs::system();
    until("the child stops", || proc.stat_of(child.pid).is_ok_and(|stat| stat.state == 'T'));
    kill(child.pid, libc::SIGCONT).expect("our child");
    assert_eq!(reap(child).outcome, ChildOutcome::Exited(0));
}

/// Runs `crash_now` in a child that reports into a file; returns the report and how it ended.
fn report_of(path: PathBuf, prepare: fn(), crash_now: fn()) -> (String, ChildOutcome) {
    let file = std::fs::File::create(&path).expect("the folder is writable");
    let child = start(move || {
        disable_core_files().expect("lowering is allowed");
        crash::set_output_fd(std::os::fd::AsRawFd::as_raw_fd(&file));
        crash::set_report_limit_s(2);
        crash::install().expect("memory for a stack");
        prepare();
        crash_now();
        0
    });
    let outcome = reap(child).outcome;
    (read_text(&path), outcome)
}

fn crashes_are_reported(folder: &Path) {
    let (report, outcome) = report_of(folder.join("segv"), add_section, write_to_guard_page);
    assert_eq!(outcome, ChildOutcome::Signaled(libc::SIGSEGV), "{report}");
    let parts = [
        "=== REDIS BUG REPORT START: Cut & paste starting from here ===",
        "crashed by signal: 11, si_code: 2",
        "Accessing address: 0x",
        "------ STACK TRACE ------",
        "write_to_guard_page",
        "------ INFO OUTPUT ------\n# Server\nuptime:1",
        "=== REDIS BUG REPORT END. Make sure to include from START to END. ===",
    ];
    assert_in_order(&report, &parts);

    let (report, outcome) = report_of(folder.join("abrt"), || {}, || std::process::abort());
    assert_eq!(outcome, ChildOutcome::Signaled(libc::SIGABRT), "{report}");
    assert_in_order(&report, &["crashed by signal: 6", "Killed by PID: ", "BUG REPORT END"]);

    let overflow = || {
        black_box(recurse(1));
    };
    let (report, outcome) = report_of(folder.join("deep"), || {}, overflow);
    assert_eq!(outcome, ChildOutcome::Signaled(libc::SIGSEGV), "{report}");
    assert_in_order(&report, &["crashed by signal: 11", "STACK TRACE", "BUG REPORT END"]);
    let two = || {
        let other = thread::spawn(write_to_guard_page);
        write_to_guard_page();
        let _ = other.join();
    };
    let (report, outcome) = report_of(folder.join("two"), || {}, two);
    assert_eq!(outcome, ChildOutcome::Signaled(libc::SIGSEGV), "{report}");
    assert!(!report.contains("Crashed again"), "the second thread waits: {report}");
    crashes_of_the_report_end_it(folder);
    panics_are_reported(folder);
}

fn crashes_of_the_report_end_it(folder: &Path) {
    let again = || crash::set_section(|_| write_to_guard_page());
    let (report, outcome) = report_of(folder.join("again"), again, write_to_guard_page);
    assert_eq!(outcome, ChildOutcome::Signaled(libc::SIGSEGV), "{report}");
    assert_in_order(&report, &["crashed by signal", "Crashed again (signal 11)", "BUG REPORT END"]);

    let hang = || {
        crash::set_section(|_| {
            sleep_for_ever();
        });
    };
    let (report, outcome) = report_of(folder.join("hang"), hang, write_to_guard_page);
    assert_eq!(outcome, ChildOutcome::Signaled(libc::SIGSEGV), "{report}");
    assert_in_order(&report, &["crashed by signal", "took more than 2 s", "BUG REPORT END"]);
}

fn panics_are_reported(folder: &Path) {
    let hook = || crash::install_panic_hook(AfterPanic::Abort);
    let (report, outcome) = report_of(folder.join("panic"), hook, || panic!("left == right"));
    assert_eq!(outcome, ChildOutcome::Signaled(libc::SIGABRT), "{report}");
    let parts = ["BUG REPORT START", "=== ASSERTION FAILED ===", "==> tests/sys_fork.rs:"];
    assert_in_order(&report, &parts);
    assert_in_order(&report, &["'left == right' is not true", "STACK TRACE", "BUG REPORT END"]);
    assert!(!report.contains("crashed by signal"), "one report is enough");
}

fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            panic!("{part:?} is missing or out of order in:\n{text}");
        };
        rest = after;
    }
}

fn add_section() {
    crash::set_section(|out| {
        let _ = out.write_str("# Server\nuptime:1\n");
    });
}

#[inline(never)]
fn write_to_guard_page() {
    // SAFETY: a new mapping harms nobody; the write faults, which is the purpose.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        page.cast::<u8>().write_volatile(1);
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    if frame[0] == 0 { 0 } else { recurse(frame[1] + 1) + frame[2] }
}

fn busy_thread(stop: Arc<AtomicBool>, number: usize) -> JoinHandle<u64> {
    thread::spawn(move || {
        let mut lines = 0;
        while !stop.load(Ordering::Relaxed) {
            let block: Vec<Vec<u8>> = (1..40).map(|size| vec![1; size * 37]).collect();
            log::info!("busy {number} line {lines} {}", black_box(block).len());
            lines += 1;
            // Bounds the log at some MiB; the allocator and the log are still always busy.
            thread::sleep(Duration::from_micros(50));
        }
        lines
    })
}

/// Every child logs and allocates while the parent's threads do: none may wait for a lock that
/// was held at the fork.
fn forks_under_load_never_hang(sink: &'static LogSink, log_path: &Path) {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..BUSY_THREADS).map(|n| busy_thread(Arc::clone(&stop), n)).collect();
    let mut pauses_us = Vec::new();
    let forks = std::env::var("TINE_FORKS").ok().and_then(|count| count.parse().ok()).unwrap_or(FORKS);
    for number in 0..forks {
        let child = start(|| {
            sink.set_role_child();
            let blocks: Vec<String> = (0..50).map(|n| format!("block {n}").repeat(n)).collect();
            log::warn!("child {number} has {} blocks", blocks.len());
            number % 100
        });
        pauses_us.push(child.fork_us);
        assert_eq!(reap(child).outcome, ChildOutcome::Exited(number % 100));
    }
    stop.store(true, Ordering::Relaxed);
    let lines: u64 = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    pauses_us.sort_unstable();
    let (middle, worst) = (pauses_us[pauses_us.len() / 2], pauses_us[pauses_us.len() - 1]);
    println!("sys_fork: {forks} forks, {middle} us median, {worst} us worst, {lines} log lines");
    assert_log_is_whole(&read_text(log_path), lines, forks as usize);
}

/// No line is lost, torn or mixed with another.
fn assert_log_is_whole(log: &str, busy_lines: u64, forks: usize) {
    let ours = std::process::id();
    let of_parent = log.lines().filter(|line| line.starts_with(&format!("{ours}:M ")));
    let whole = of_parent.filter(|line| line.contains(" * busy ") && line.ends_with(" 39"));
    assert_eq!(whole.count() as u64, busy_lines);
    let of_children = log.lines().filter(|line| line.contains(":C ") && line.ends_with("50 blocks"));
    assert_eq!(of_children.count(), forks);
}
