//! The raw fork wrapper: one function forks, one function reaps.
//!
//! ```text
//!   parent                                    child
//!   block all signals of this thread
//!   fork ------------------------------------> reset every caught signal to its default
//!   restore the mask, take the time            unblock all signals
//!                                              own panic hook (one write(2), no std stdio)
//!                                              run the closure under catch_unwind
//!                                              _exit(code)
//! ```
//!
//! Signals are blocked over the fork because the child shares the parent's self-pipe: a signal
//! that reached the child before its handlers are reset would wake the parent's loop and be
//! lost for the child.
//!
//! Contract for the closure (the rest of the program keeps it, this module cannot check it):
//! no lock that another thread may have held at the fork, so no `print!`, `eprint!`, no queue,
//! no epoll set, no signal pipe. Allocation is allowed: glibc and jemalloc repair their locks
//! by atfork handlers. Breaking the contract hangs the child; it cannot corrupt the parent.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::info::thread_busy_time;
use super::raw_write;

/// Exit code of a child whose closure panicked: what Rust's own runtime uses.
pub const CHILD_PANIC_EXIT_CODE: i32 = 101;

/// Highest signal number of Linux (`SIGRTMAX`).
const SIGNAL_MAX: c_int = 64;

/// What differs from child to child.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForkOptions {
    /// Kill the child when the *thread* that forked ends (`PR_SET_PDEATHSIG`): fork from the
    /// main thread. Off: the child outlives a killed parent and must notice by itself.
    pub die_with_parent: bool,
}

/// A child that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkedChild {
    /// Process id.
    pub pid: i32,
    /// How long the fork call stopped the caller, microseconds.
    pub fork_us: u64,
    /// Processor time of the call, microseconds: the rest of `fork_us` others had the processor.
    pub fork_cpu_us: u64,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildOutcome {
    /// It called `_exit` with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

/// How a child ended and what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildExit {
    /// Process id.
    pub pid: i32,
    /// Code or signal.
    pub outcome: ChildOutcome,
    /// Largest resident set, bytes (shared pages included).
    pub max_rss_bytes: u64,
    /// Processor time in user mode.
    pub user_time: Duration,
    /// Processor time in the kernel: where copy-on-write faults of the child show.
    pub system_time: Duration,
    /// Page faults served without reading a disk.
    pub minor_faults: u64,
    /// Page faults that read a disk.
    pub major_faults: u64,
}

/// All signals blocked for the calling thread while this lives.
struct SignalsBlocked {
    old: libc::sigset_t,
}

impl SignalsBlocked {
    fn new() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut old = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset initialises `all`; pthread_sigmask with valid pointers and a valid
        // `how` cannot fail and initialises `old`.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
            Self { old: old.assume_init() }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `old` is the initialised mask taken in `new`; a null pointer is allowed for
        // the unwanted previous mask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.old, std::ptr::null_mut()) };
    }
}

/// Forks; the child runs `child` and leaves with the returned exit code.
///
/// Nothing of the caller's stack is unwound in the child: it ends by `_exit`, so no destructor
/// and no atexit handler of the parent runs twice. Errors: `EAGAIN` (process limit), `ENOMEM`
/// (overcommit refused), as fork(2) gives them.
pub fn fork_child(options: ForkOptions, child: impl FnOnce() -> i32) -> Result<ForkedChild, Errno> {
    let parent_pid = std::process::id();
    let blocked = SignalsBlocked::new();
    let (start, start_cpu) = (Instant::now(), thread_busy_time());
    // SAFETY: the child has one thread, a copy of this one, and runs only `child_main`, which
    // never returns. Memory is a private copy; locks of other threads may be held for ever in
    // it, which the contract in the header excludes and which can hang but not corrupt.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child_main(options, parent_pid, child);
    }
    let failure = Errno::last();
    let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let fork_us = microseconds(start.elapsed());
    let fork_cpu_us = microseconds(thread_busy_time().saturating_sub(start_cpu));
    drop(blocked);
    if pid < 0 { Err(failure) } else { Ok(ForkedChild { pid, fork_us, fork_cpu_us }) }
}

fn child_main(options: ForkOptions, parent_pid: u32, child: impl FnOnce() -> i32) -> ! {
    reset_signals();
    if options.die_with_parent && !tie_to_parent(parent_pid) {
        exit_now(0);
    }
    std::panic::set_hook(Box::new(write_panic));
    let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(CHILD_PANIC_EXIT_CODE);
    exit_now(code)
}

/// Ends the process without running destructors, exit handlers or flushing std's buffers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Every caught signal back to its default, ignored ones stay ignored (SIGPIPE: a write to a
/// parent that is gone gives EPIPE), SIGHUP ignored (a terminal that closes must not end a
/// save); then nothing is blocked.
fn reset_signals() {
    for signal in 1..=SIGNAL_MAX {
        reset_signal(signal);
    }
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: SIG_IGN is a valid disposition; sigemptyset initialises `none` before the mask is
    // read from it; a null pointer is allowed for the previous mask.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

fn reset_signal(signal: c_int) {
    let mut current = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null new action only queries; on success `current` is initialised, on failure
    // (signals reserved by libc) it is not read.
    unsafe {
        if libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) != 0 {
            return;
        }
        let handler = current.assume_init().sa_sigaction;
        if handler != libc::SIG_DFL && handler != libc::SIG_IGN {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Asks the kernel for SIGKILL at the parent's end; false when the parent is gone already.
fn tie_to_parent(parent_pid: u32) -> bool {
    // SAFETY: prctl and getppid take integers only.
    let current_parent = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid()
    };
    // The parent may have died between fork and prctl; then init has adopted us.
    u32::try_from(current_parent) == Ok(parent_pid)
}

/// The text of a panic, when it is text.
pub(super) fn panic_text<'a>(info: &'a std::panic::PanicHookInfo<'_>) -> &'a str {
    info.payload_as_str().unwrap_or("(no text)")
}

/// std's own hook takes the lock of standard error, which another thread may have held.
fn write_panic(info: &std::panic::PanicHookInfo<'_>) {
    let fd = super::crash::output_fd();
    let (pid, text) = (std::process::id(), panic_text(info));
    match info.location() {
        Some(place) => {
            raw_write::write_line(fd, format_args!("child {pid} panicked at {place}: {text}"));
        }
        None => raw_write::write_line(fd, format_args!("child {pid} panicked: {text}")),
    }
}

/// Reaps the child if it has ended; `None` while it runs. `ECHILD`: it is not a child of ours
/// or was reaped before.
pub fn wait_nohang(pid: i32) -> Result<Option<ChildExit>, Errno> {
    wait(pid, libc::WNOHANG)
}

/// Waits until the child has ended.
pub fn wait_blocking(pid: i32) -> Result<ChildExit, Errno> {
    match wait(pid, 0)? {
        Some(exit) => Ok(exit),
        // Without WNOHANG the call returns a process or an error.
        None => Err(Errno::ECHILD),
    }
}

fn wait(pid: i32, flags: c_int) -> Result<Option<ChildExit>, Errno> {
    // 0 and negative numbers would reap children of whole groups.
    if pid <= 0 {
        return Err(Errno::ECHILD);
    }
    loop {
        let mut status: c_int = 0;
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: both pointers are valid for writes for the length of the call.
        let reaped = unsafe { libc::wait4(pid, &raw mut status, flags, usage.as_mut_ptr()) };
        if reaped == 0 {
            return Ok(None);
        }
        if reaped > 0 {
            // SAFETY: all-zero bytes are a valid rusage (integers only), wait4 filled it.
            let usage = unsafe { usage.assume_init() };
            return Ok(Some(describe_exit(reaped, status, &usage)));
        }
        match Errno::last() {
            Errno::EINTR => {}
            errno => return Err(errno),
        }
    }
}

fn describe_exit(pid: i32, status: c_int, usage: &libc::rusage) -> ChildExit {
    let outcome = if libc::WIFSIGNALED(status) {
        ChildOutcome::Signaled(libc::WTERMSIG(status))
    } else {
        ChildOutcome::Exited(libc::WEXITSTATUS(status))
    };
    let count = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
    ChildExit {
        pid,
        outcome,
        max_rss_bytes: count(usage.ru_maxrss) * 1024,
        user_time: super::info::duration_of(usage.ru_utime),
        system_time: super::info::duration_of(usage.ru_stime),
        minor_faults: count(usage.ru_minflt),
        major_faults: count(usage.ru_majflt),
    }
}

/// Sends a signal to one process. Refuses 0 and negative numbers, which mean groups.
pub fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    if pid <= 0 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: integers only; a wrong signal number gives EINVAL.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(Errno::last()),
    }
}
