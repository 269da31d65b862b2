//! Signals as events of the loop.
//!
//! ```text
//!   signal -> handler: count += 1, one byte into a socket pair -> mio wakes the loop
//!   loop   -> SignalEvents::take(): empties the socket, swaps the counts for zeros
//! ```
//!
//! The handler touches atomics and write(2), nothing else. The socket pair is shared with forked
//! children, which therefore reset all handlers before anything else (`sys::fork`) and never
//! read it. Nor can a child install its own `Signals`: signal-hook's table, copied by the fork,
//! says that the handlers are there, and does not know of the reset. SIGPIPE is ignored: a dead
//! peer shows as EPIPE.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use signal_hook::SigId;

use super::raw_write;

/// The signals that become events, in the order of the counters.
const WATCHED: [i32; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD, libc::SIGUSR1, libc::SIGUSR2];

/// Exit code after an insistent Ctrl-C, as in Redis.
const INSISTED_EXIT_CODE: i32 = 1;

/// What arrived since the last look: how often each signal was seen. The kernel merges equal
/// signals that are pending, so a count is a lower bound; 0 means "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalEvents {
    /// SIGTERM: shut down.
    pub terminate: u32,
    /// SIGINT: shut down; more than one means the user insists.
    pub interrupt: u32,
    /// SIGHUP: reopen the log.
    pub hangup: u32,
    /// SIGCHLD: a child ended; ends of several children may be one event.
    pub child: u32,
    /// SIGUSR1.
    pub user1: u32,
    /// SIGUSR2.
    pub user2: u32,
}

impl SignalEvents {
    /// Whether anything arrived.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Whether a shutdown was asked for.
    pub fn shutdown_requested(&self) -> bool {
        self.terminate > 0 || self.interrupt > 0
    }
}

#[derive(Debug, Default)]
struct Counters {
    pending: [AtomicU32; WATCHED.len()],
    /// SIGTERM and SIGINT since the start; never reset.
    shutdown_requests: AtomicU32,
    interrupts: AtomicU32,
}

/// How the handlers behave.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignalOptions {
    /// A second SIGINT ends the process at once, from the handler: the only way out when the
    /// loop itself hangs.
    pub second_interrupt_exits: bool,
    /// Removed then: the temporary file of a save in the foreground, relative to the working
    /// directory. The bytes live as long as the process, as the handler may run at any time.
    pub remove_on_exit: Option<&'static CStr>,
}

/// The installed handlers and the reading end of the pipe. Dropping it uninstalls them.
#[derive(Debug)]
pub struct Signals {
    reader: UnixStream,
    /// Open as long as a handler may write to it.
    _writer: Arc<UnixStream>,
    counters: Arc<Counters>,
    ids: Vec<SigId>,
}

impl Signals {
    /// Installs the handlers and ignores SIGPIPE.
    pub fn install(options: SignalOptions) -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        ignore(libc::SIGPIPE);
        let mut signals = Self {
            reader,
            _writer: Arc::new(writer),
            counters: Arc::new(Counters::default()),
            ids: Vec::with_capacity(WATCHED.len()),
        };
        for index in 0..WATCHED.len() {
            let id = signals.register(index, options)?;
            signals.ids.push(id);
        }
        Ok(signals)
    }

    fn register(&self, index: usize, options: SignalOptions) -> io::Result<SigId> {
        let (signal, counters) = (WATCHED[index], Arc::clone(&self.counters));
        let writer = Arc::clone(&self._writer);
        let handler = move || {
            counters.note(index, signal, options);
            // A full socket already wakes the loop; the byte is dropped (EAGAIN).
            raw_write::write_all(writer.as_raw_fd(), b"s");
        };
        // SAFETY: the handler is async-signal-safe: atomics, write(2) and, for an insistent
        // Ctrl-C, unlink(2) and _exit. It neither allocates nor locks nor panics.
        unsafe { signal_hook::low_level::register(signal, handler) }
    }

    /// What arrived since the last call. Empties the pipe first, so that a signal which comes
    /// in between is seen now or wakes the loop again; none is lost.
    pub fn take(&mut self) -> SignalEvents {
        let mut scratch = [0u8; 256];
        // Edge-triggered polling: read until the socket says "empty" (or fails).
        loop {
            match (&self.reader).read(&mut scratch) {
                Ok(count) if count > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let take = |index: usize| self.counters.pending[index].swap(0, Ordering::Relaxed);
        SignalEvents {
            terminate: take(0),
            interrupt: take(1),
            hangup: take(2),
            child: take(3),
            user1: take(4),
            user2: take(5),
        }
    }

    /// What SIGINT asked for has been dealt with: the next one is a first one again.
    pub fn forget_interrupts(&self) {
        self.counters.interrupts.store(0, Ordering::Relaxed);
    }

    /// SIGTERM and SIGINT since the start: 2 or more means the user asks again.
    pub fn shutdown_requests(&self) -> u32 {
        self.counters.shutdown_requests.load(Ordering::Relaxed)
    }
}

impl Counters {
    fn note(&self, index: usize, signal: i32, options: SignalOptions) {
        self.pending[index].fetch_add(1, Ordering::Relaxed);
        if signal == libc::SIGTERM || signal == libc::SIGINT {
            self.shutdown_requests.fetch_add(1, Ordering::Relaxed);
        }
        if signal == libc::SIGINT
            && self.interrupts.fetch_add(1, Ordering::Relaxed) > 0
            && options.second_interrupt_exits
        {
            raw_write::write_all(super::crash::output_fd(), b"You insist... exiting now.\n");
            if let Some(path) = options.remove_on_exit {
                // SAFETY: a string that ends in a zero byte and is never freed; unlink(2) is
                // async-signal-safe.
                unsafe { libc::unlink(path.as_ptr()) };
            }
            super::fork::exit_now(INSISTED_EXIT_CODE);
        }
    }
}

/// For `mio::unix::SourceFd`.
impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.reader.as_raw_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// Ignores a signal from now on (inherited by children).
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is a valid disposition; a wrong number gives an error and no effect.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::time::{Duration, Instant};

    use super::{SignalEvents, SignalOptions, Signals};

    fn collect(signals: &mut Signals, done: impl Fn(&SignalEvents) -> bool) -> SignalEvents {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut sum = SignalEvents::default();
        while !done(&sum) {
            assert!(Instant::now() < deadline, "signals never arrived: {sum:?}");
            let events = signals.take();
            sum.terminate += events.terminate;
            sum.interrupt += events.interrupt;
            sum.hangup += events.hangup;
            sum.user1 += events.user1;
            sum.user2 += events.user2;
        }
        sum
    }

    /// One test for all, since handlers belong to the whole test process.
    #[test]
    fn signals_become_events_and_wake_a_poll() {
        let mut signals = Signals::install(SignalOptions::default()).expect("install");
        let mut poll = mio::Poll::new().expect("poll");
        let fd = signals.as_raw_fd();
        let mut source = mio::unix::SourceFd(&fd);
        poll.registry().register(&mut source, mio::Token(1), mio::Interest::READABLE).expect("register");
        for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGTERM, libc::SIGINT, libc::SIGINT] {
            signal_hook::low_level::raise(signal).expect("raise");
        }
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(10))).expect("poll");
        assert_eq!(events.iter().count(), 1);
        let sum = collect(&mut signals, |sum| sum.interrupt >= 2 && sum.terminate >= 1);
        assert_eq!((sum.hangup, sum.user1, sum.user2), (1, 1, 0));
        assert!(sum.any() && sum.shutdown_requested());
        assert_eq!(signals.shutdown_requests(), 3);
        let again = signals.take();
        assert!(!again.shutdown_requested(), "taken means taken: {again:?}");
    }
}
