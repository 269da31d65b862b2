//! The watchdog: says where the main thread is when its loop does not come round.
//!
//! ```text
//!  main: beat() each turn, note_command() each request        watchdog thread (only while it is on)
//!                                                             looks every eighth of the period
//!                                                             no beat for a whole period:
//!  handler: backtrace(3) into FRAMES  ◄───── SIGALRM ──────────  tgkill(main)
//!                                     ─────  COUNT   ─────────►  names of the frames, log
//! ```
//! The handler runs in the middle of whatever main does, so it takes addresses only; names need
//! memory and locks, which the thread has. (glibc before 2.35 takes a lock in backtrace(3) that a
//! main thread in the middle of unwinding would hold: a reason not to leave it on.) A stop is told
//! once, and once more when it ends. Off, it costs main two plain stores a request and one a turn.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fmt::Write;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Deepest stack shown.
const FRAMES_MAX: usize = 64;
/// How long main may take to answer the signal: it does not when the kernel holds it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// Looks of the thread in a period.
const LOOKS: u32 = 8;
/// Bits of [`RUNNING`] that hold the client's id; the others hold the command's number.
const CLIENT_BITS: u32 = 48;

/// Turns of the loop so far.
static BEATS: AtomicU64 = AtomicU64::new(0);
/// What runs: the command's number plus one, and the client's id. 0: no command.
static RUNNING: AtomicU64 = AtomicU64::new(0);
static FRAMES: [AtomicUsize; FRAMES_MAX] = [const { AtomicUsize::new(0) }; FRAMES_MAX];
/// Frames that the handler has stored; negative while it has not answered.
static COUNT: AtomicI32 = AtomicI32::new(-1);

/// The loop has come round. To be called by the main thread alone.
#[inline]
pub fn beat() {
    // One writer: a plain addition, not a locked one.
    BEATS.store(BEATS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The main thread begins a command.
#[inline]
pub fn note_command(command: u16, client_id: u64) {
    let client = client_id & ((1 << CLIENT_BITS) - 1);
    RUNNING.store((u64::from(command) + 1) << CLIENT_BITS | client, Ordering::Relaxed);
}

/// The command has ended.
#[inline]
pub fn note_no_command() {
    RUNNING.store(0, Ordering::Relaxed);
}

/// The thread; dropping this ends it.
pub struct Watchdog {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches the calling thread. `names`: of the commands, by their numbers.
    ///
    /// # Errors
    /// When the handler cannot be installed or no thread be started.
    pub fn start(period: Duration, names: Vec<String>) -> io::Result<Watchdog> {
        install_handler()?;
        // SAFETY: gettid takes nothing and cannot fail.
        let main = unsafe { libc::gettid() };
        let (stop, stopped) = sync_channel(1);
        let watch = Watch { period, names, main, beats: 0, since: Instant::now(), told: false };
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            let mut watch = watch;
            let pause = (watch.period / LOOKS).max(Duration::from_millis(1));
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                watch.look();
            }
        })?;
        Ok(Watchdog { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::warn!("The watchdog thread had panicked");
        }
    }
}

struct Watch {
    period: Duration,
    names: Vec<String>,
    main: libc::pid_t,
    /// The last count of turns seen, and since when.
    beats: u64,
    since: Instant,
    /// This stop is in the log.
    told: bool,
}

impl Watch {
    fn look(&mut self) {
        let beats = BEATS.load(Ordering::Relaxed);
        let stopped = self.since.elapsed();
        if beats != self.beats {
            if std::mem::take(&mut self.told) {
                log::warn!("The main thread goes on after about {} ms", stopped.as_millis());
            }
            (self.beats, self.since) = (beats, Instant::now());
        } else if stopped >= self.period && !std::mem::replace(&mut self.told, true) {
            self.tell(stopped);
        }
    }

    fn tell(&self, stopped: Duration) {
        let what = describe(RUNNING.load(Ordering::Relaxed), &self.names);
        let stack = match frames_of(self.main) {
            Some(frames) => named(&frames),
            None => {
                format!("it does not take a signal, so it waits in the kernel: {}\n", kernel_state(self.main))
            }
        };
        log::warn!("--- WATCHDOG TIMER EXPIRED ---");
        log::warn!("The main thread has not come round for {} ms; it {what}", stopped.as_millis());
        for line in stack.lines() {
            log::warn!("  {line}");
        }
        log::warn!("--------");
    }
}

fn describe(running: u64, names: &[String]) -> String {
    let client = running & ((1 << CLIENT_BITS) - 1);
    match (running >> CLIENT_BITS).checked_sub(1) {
        None => "runs no client's command".to_owned(),
        Some(number) => {
            let name = names.get(number as usize).map_or("?", String::as_str);
            format!("runs '{name}' of client id={client}")
        }
    }
}

/// Has the thread take down its own stack. `None` when it does not answer.
fn frames_of(thread: libc::pid_t) -> Option<Vec<usize>> {
    COUNT.store(-1, Ordering::Release);
    let process = std::process::id() as libc::pid_t;
    // SAFETY: tgkill takes integers; SIGALRM has our handler.
    if unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGALRM) } != 0 {
        return None;
    }
    let deadline = Instant::now() + ANSWER_PATIENCE;
    loop {
        if let Ok(count) = usize::try_from(COUNT.load(Ordering::Acquire)) {
            return Some(FRAMES[..count].iter().map(|frame| frame.load(Ordering::Relaxed)).collect());
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

extern "C" fn on_look(_signal: c_int) {
    // SAFETY: the location is this thread's own; whoever was interrupted must find errno as it was.
    let errno = unsafe { *libc::__errno_location() };
    let mut frames = [std::ptr::null_mut::<c_void>(); FRAMES_MAX];
    // SAFETY: the array has as many entries as the length given.
    let count = unsafe { libc::backtrace(frames.as_mut_ptr(), FRAMES_MAX as c_int) };
    for (place, frame) in FRAMES.iter().zip(frames) {
        place.store(frame as usize, Ordering::Relaxed);
    }
    COUNT.store(count, Ordering::Release);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn install_handler() -> io::Result<()> {
    // The unwinder loads its library at the first use; do that now, not in the handler.
    let mut frames = [std::ptr::null_mut::<c_void>(); 1];
    // SAFETY: the array has one entry, the length given.
    unsafe { libc::backtrace(frames.as_mut_ptr(), 1) };
    // SAFETY: all-zero bytes are a valid sigaction (no flags, empty mask, default handler).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_look as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is initialised and names a handler of the plain form.
    match unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Each frame with its function, one a line; those of the handler itself are left out.
fn named(frames: &[usize]) -> String {
    let mut text = String::new();
    for (number, address) in frames.iter().enumerate() {
        // A return address stands behind the call; one back is inside of it.
        let inside = address.saturating_sub(1) as *mut c_void;
        let mut found = false;
        backtrace::resolve(inside, |symbol| {
            found = true;
            let name = symbol.name().map_or_else(|| "?".to_owned(), |name| format!("{name:#}"));
            // Writing to a string cannot fail.
            let _ = match (symbol.filename(), symbol.lineno()) {
                (Some(file), Some(line)) => writeln!(text, "{number:2}: {name} ({}:{line})", file.display()),
                _ => writeln!(text, "{number:2}: {name}"),
            };
        });
        if !found {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{number:2}: {address:#x}");
        }
    }
    text
}

/// What the kernel says of a thread that does not answer: its state, and where it waits.
fn kernel_state(thread: libc::pid_t) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/task/{thread}/{name}"));
    let status = read("status").unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or("state unknown");
    let place = read("wchan").unwrap_or_default();
    format!("{}, in '{place}'", state.trim())
}

#[cfg(test)]
mod tests {
    use super::{CLIENT_BITS, describe, frames_of, install_handler, kernel_state, named};

    #[test]
    fn what_runs_is_told() {
        let names = ["get".to_owned(), "config|set".to_owned()];
        assert_eq!(describe(0, &names), "runs no client's command");
        assert_eq!(describe(2 << CLIENT_BITS | 7, &names), "runs 'config|set' of client id=7");
        assert_eq!(describe(9 << CLIENT_BITS, &names), "runs '?' of client id=0");
    }

    #[test]
    fn a_thread_tells_its_own_stack() {
        install_handler().expect("a handler can be installed");
        // SAFETY: gettid takes nothing and cannot fail.
        let own = unsafe { libc::gettid() };
        let frames = std::thread::spawn(move || frames_of(own)).join().expect("it does not panic");
        let text = named(&frames.expect("this thread answers"));
        assert!(text.contains("watchdog"), "{text}");
        assert!(kernel_state(own).contains('('), "{}", kernel_state(own));
    }
}
