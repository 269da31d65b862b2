//! The crash report: what is written when a fault signal or a panic ends the process.
//!
//! ```text
//!   === REDIS BUG REPORT START: Cut & paste starting from here ===
//!   tine 0.1.0 crashed by signal: 11, si_code: 1
//!   Accessing address: 0x0
//!   ------ REGISTERS ------          always written: needs nothing but write(2)
//!   ------ STACK TRACE ------        first bare addresses, then names: names may allocate or
//!                                    lock; an alarm of `REPORT_LIMIT_S` ends a report that hangs
//!   ------ INFO OUTPUT ------        the caller's text
//!   === REDIS BUG REPORT END. ...
//! ```
//!
//! The headings are those that monitoring and Redis's own tests look for. Runs on an alternate
//! stack (a stack overflow is one of the crashes). Owns: the handlers of SIGSEGV, SIGBUS,
//! SIGFPE, SIGILL, SIGABRT and, during a report, SIGALRM. At the end the signal is raised
//! again with its default action, so exit status and core file are the true ones.
#![allow(unsafe_code)]

use std::backtrace::Backtrace;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use super::raw_write::{self, write_line};

mod registers;

/// Signals that mean a broken invariant.
const FATAL_SIGNALS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// A report takes at most this long, seconds, unless told otherwise: resolving names reads the
/// debug information of the executable, about 0.2 s; the rest is for a slow disk.
pub const REPORT_LIMIT_DEFAULT_S: u32 = 10;

/// Alternate stack, bytes: resolving names needs about 60 KiB, the caller's text the rest.
const STACK_BYTES: usize = 512 * 1024;

/// Deepest stack trace written as addresses.
const FRAMES_MAX: usize = 100;

/// Writes more of the report (INFO, configuration) into the given writer. Runs in a signal
/// handler of a broken process: read only, no locks, expect anything.
pub type ReportSection = fn(&mut dyn fmt::Write);

static OUTPUT_FD: AtomicI32 = AtomicI32::new(libc::STDERR_FILENO);
/// The signal being reported; 0 when none. Also the guard against a crash in the report.
static REPORTING: AtomicI32 = AtomicI32::new(0);
/// The thread that writes the report.
static REPORTER: AtomicI32 = AtomicI32::new(0);
/// A `ReportSection`, or null.
static SECTION: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

static REPORT_LIMIT_S: AtomicU32 = AtomicU32::new(REPORT_LIMIT_DEFAULT_S);

/// Sets after how many seconds a report that hangs is ended.
pub fn set_report_limit_s(seconds: u32) {
    REPORT_LIMIT_S.store(seconds.max(1), Ordering::Relaxed);
}

/// Where reports go: the log's descriptor.
pub fn set_output_fd(fd: RawFd) {
    OUTPUT_FD.store(fd, Ordering::Relaxed);
}

/// Where reports go.
pub fn output_fd() -> RawFd {
    OUTPUT_FD.load(Ordering::Relaxed)
}

/// Sets the text at the end of the report.
pub fn set_section(section: ReportSection) {
    SECTION.store(section as *mut c_void, Ordering::Release);
}

fn section() -> Option<ReportSection> {
    let pointer = SECTION.load(Ordering::Acquire);
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the only non-null value ever stored is a `ReportSection` cast in `set_section`;
    // function and data pointers have one size on Linux.
    Some(unsafe { std::mem::transmute::<*mut c_void, ReportSection>(pointer) })
}

/// Installs the signal handlers for the process and the alternate stack for this thread.
pub fn install() -> io::Result<()> {
    install_for_thread()?;
    for signal in FATAL_SIGNALS {
        set_handler(signal, on_fatal_signal as *const () as usize)?;
    }
    // The unwinder loads its library at the first use; do that now, not in a handler.
    let mut frames = [std::ptr::null_mut::<c_void>(); 1];
    // SAFETY: the pointer is valid for one entry, the length given.
    unsafe { libc::backtrace(frames.as_mut_ptr(), 1) };
    Ok(())
}

/// Back to the default actions (`crash-log-enabled no`).
pub fn uninstall() {
    for signal in FATAL_SIGNALS {
        set_default(signal);
    }
}

/// Gives the calling thread an alternate stack that holds a whole report. Other threads have
/// the small one of Rust's runtime, enough for the first lines. The mapping lives for ever.
pub fn install_for_thread() -> io::Result<()> {
    // SAFETY: a new private mapping at an address the kernel chooses touches nothing of ours.
    // It is never unmapped, so the kernel may use it as long as the thread lives; its lowest
    // page is made inaccessible so that an overflow faults instead of running on.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let base = libc::mmap(std::ptr::null_mut(), STACK_BYTES, access, flags, -1, 0);
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        libc::mprotect(base, super::info::page_size_bytes(), libc::PROT_NONE);
        let stack = libc::stack_t { ss_sp: base, ss_flags: 0, ss_size: STACK_BYTES };
        match libc::sigaltstack(&raw const stack, std::ptr::null_mut()) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// `handler` is the address of a function of sigaction's three-argument form.
fn set_handler(signal: c_int, handler: usize) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid sigaction (no flags, empty mask, default handler).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    // NODEFER: a crash inside the report must reach the handler again to be ended there.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: `action` is initialised and names a function of the form that SA_SIGINFO asks for.
    match unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_default(signal: c_int) {
    // SAFETY: SIG_DFL is a valid disposition.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Ends the process by the signal itself.
fn die_by(signal: c_int) -> ! {
    set_default(signal);
    // SAFETY: raise and _exit take integers. The signal may be blocked in a caller's mask; then
    // _exit ends the process with the code a shell would show.
    unsafe {
        libc::raise(signal);
        libc::_exit(128 + signal)
    }
}

extern "C" fn on_fatal_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let fd = output_fd();
    if REPORTING.swap(signal, Ordering::Relaxed) != 0 {
        wait_for_other_reporter();
        write_line(fd, format_args!("Crashed again (signal {signal}) while writing this report"));
        write_end(fd);
        die_by(signal);
    }
    REPORTER.store(thread_id(), Ordering::Relaxed);
    write_start(fd);
    // SAFETY: the kernel passes a valid siginfo to a handler installed with SA_SIGINFO.
    let info = unsafe { &*info };
    let name = env!("CARGO_PKG_NAME");
    let version = env!("CARGO_PKG_VERSION");
    let code = info.si_code;
    write_line(fd, format_args!("{name} {version} crashed by signal: {signal}, si_code: {code}"));
    write_origin(fd, info);
    registers::write(fd, context);
    limit_report_time();
    write_stack(fd);
    write_section(fd);
    write_end(fd);
    die_by(signal);
}

fn thread_id() -> i32 {
    // SAFETY: gettid takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// Two threads often crash for one reason: the second lets the first finish its report, which
/// ends the process.
fn wait_for_other_reporter() {
    while REPORTER.load(Ordering::Relaxed) != thread_id() {
        // SAFETY: pause takes nothing; it returns after a signal handler ran.
        unsafe { libc::pause() };
    }
}

fn write_origin(fd: RawFd, info: &libc::siginfo_t) {
    // Positive codes come from the kernel: a fault. Others were sent by a process.
    if info.si_code > 0 {
        // SAFETY: for a fault the kernel has filled the address member.
        let address = unsafe { info.si_addr() };
        write_line(fd, format_args!("Accessing address: {address:p}"));
    } else {
        // SAFETY: for a sent signal the kernel has filled the sender members.
        let (pid, uid) = unsafe { (info.si_pid(), info.si_uid()) };
        write_line(fd, format_args!("Killed by PID: {pid}, UID: {uid}"));
    }
}

fn write_start(fd: RawFd) {
    let heading = "\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===";
    write_line(fd, format_args!("{heading}"));
}

fn write_end(fd: RawFd) {
    let ending = "\n=== REDIS BUG REPORT END. Make sure to include from START to END. ===\n";
    write_line(fd, format_args!("{ending}"));
}

/// From here on the report may use what a broken process may no longer have.
fn limit_report_time() {
    // Without the handler the alarm's default action still ends the process.
    let _ = set_handler(libc::SIGALRM, on_alarm as *const () as usize);
    let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the mask before it is used; alarm takes an integer.
    unsafe {
        libc::sigemptyset(mask.as_mut_ptr());
        libc::sigaddset(mask.as_mut_ptr(), libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, mask.as_ptr(), std::ptr::null_mut());
        libc::alarm(REPORT_LIMIT_S.load(Ordering::Relaxed));
    }
}

extern "C" fn on_alarm(_signal: c_int, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    let fd = output_fd();
    let limit_s = REPORT_LIMIT_S.load(Ordering::Relaxed);
    write_line(fd, format_args!("The report took more than {limit_s} s and ends here"));
    write_end(fd);
    match REPORTING.load(Ordering::Relaxed) {
        0 => die_by(libc::SIGABRT),
        signal => die_by(signal),
    }
}

fn write_stack(fd: RawFd) {
    write_line(fd, format_args!("\n------ STACK TRACE ------"));
    write_stack_addresses(fd);
    write_line(fd, format_args!("\nBy name:"));
    write_stack_names(fd);
}

/// Addresses and modules: no allocation, so it works when the heap is broken.
pub(super) fn write_stack_addresses(fd: RawFd) {
    let mut frames = [std::ptr::null_mut::<c_void>(); FRAMES_MAX];
    // SAFETY: the array has FRAMES_MAX entries; backtrace fills at most so many and returns how
    // many, which is the length given to backtrace_symbols_fd.
    unsafe {
        let count = libc::backtrace(frames.as_mut_ptr(), FRAMES_MAX as c_int);
        libc::backtrace_symbols_fd(frames.as_ptr(), count, fd);
    }
}

fn write_stack_names(fd: RawFd) {
    let mut writer = BufferedFd::new(fd);
    // A writer to a descriptor never fails.
    let _ = fmt::write(&mut writer, format_args!("{}\n", Backtrace::force_capture()));
    writer.flush();
}

fn write_section(fd: RawFd) {
    let Some(section) = section() else { return };
    write_line(fd, format_args!("\n------ INFO OUTPUT ------"));
    let mut writer = BufferedFd::new(fd);
    section(&mut writer);
    writer.flush();
}

/// Collects small pieces, since formatting gives a few bytes at a time.
struct BufferedFd {
    fd: RawFd,
    buffer: [u8; 4096],
    len: usize,
}

impl BufferedFd {
    const fn new(fd: RawFd) -> Self {
        Self { fd, buffer: [0; 4096], len: 0 }
    }

    fn flush(&mut self) {
        raw_write::write_all(self.fd, &self.buffer[..self.len]);
        self.len = 0;
    }
}

impl fmt::Write for BufferedFd {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.as_bytes().chunks(self.buffer.len()) {
            if self.len + piece.len() > self.buffer.len() {
                self.flush();
            }
            self.buffer[self.len..self.len + piece.len()].copy_from_slice(piece);
            self.len += piece.len();
        }
        Ok(())
    }
}

/// What follows the report of a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPanic {
    /// The process ends by SIGABRT, without a second report.
    Abort,
    /// The panic unwinds as usual: for threads whose end somebody handles.
    Unwind,
}

/// Replaces the panic hook by one that writes a report: std's own takes the lock of standard
/// error.
pub fn install_panic_hook(after: AfterPanic) {
    std::panic::set_hook(Box::new(move |info| {
        report_panic(info);
        if after == AfterPanic::Abort {
            die_by(libc::SIGABRT);
        }
    }));
}

fn report_panic(info: &std::panic::PanicHookInfo<'_>) {
    let fd = output_fd();
    write_start(fd);
    write_line(fd, format_args!("=== ASSERTION FAILED ==="));
    let text = super::fork::panic_text(info);
    match info.location() {
        Some(place) => {
            write_line(fd, format_args!("==> {}:{} '{text}' is not true", place.file(), place.line()));
        }
        None => write_line(fd, format_args!("==> '{text}' is not true")),
    }
    write_stack(fd);
    write_section(fd);
    write_end(fd);
}
