//! The sink under the `log` crate: Redis's line format, one write(2) a line, no lock.
//!
//! ```text
//!   12345:M 21 Nov 2026 09:26:01.123 * Ready to accept connections
//!   pid role day        time         level: . debug  - verbose  * notice  # warning
//! ```
//!
//! Role: `M` primary, `S` replica, `C` child, `X` sentinel. A line is formatted into a buffer
//! on the stack and written once, so lines of several threads and of a forked child never mix
//! and a child never waits for a lock (measured elsewhere: std's locked output hung 8 of 10
//! children under load, this way 0 of 2 000).
//!
//! Owns: the log's descriptor, whose *number* never changes: reopening duplicates the new file
//! over it, so a writer never sees it closed. Local time comes from an offset that the parent
//! refreshes ([`LogSink::refresh_timezone`], from cron); localtime_r locks and is not for children.
//!
//! Syslog goes as datagrams to `/dev/log` instead of through libc's `syslog`, which locks.
#![allow(unsafe_code)]

use crate::base::calendar::civil_date;
use std::fmt::{self, Write};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::raw_write::{self, LineBuffer};

#[cfg(test)]
mod tests;

/// Longest line, bytes, prefix and line end included: one page, and PIPE_BUF, so that a line
/// is atomic in a pipe too. Redis cuts at 1 024.
pub const LINE_MAX_BYTES: usize = 4096;

/// Records with this target are written without prefix, whatever they say (the logo).
pub const RAW_TARGET: &str = "raw";

/// Redis's levels, each with all above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything. (Compiled out of release builds where `log` is told so.)
    Debug,
    /// Details of connections and the like.
    Verbose,
    /// What an operator wants to know.
    Notice,
    /// What an operator must know.
    Warning,
    /// Nothing at all.
    Nothing,
}

impl LogLevel {
    /// Names in the configuration, weakest first.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("debug", Self::Debug),
        ("verbose", Self::Verbose),
        ("notice", Self::Notice),
        ("warning", Self::Warning),
        ("nothing", Self::Nothing),
    ];

    const fn filter(self) -> log::LevelFilter {
        match self {
            Self::Debug => log::LevelFilter::Trace,
            Self::Verbose => log::LevelFilter::Debug,
            Self::Notice => log::LevelFilter::Info,
            Self::Warning => log::LevelFilter::Warn,
            Self::Nothing => log::LevelFilter::Off,
        }
    }
}

/// Who writes the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogRole {
    /// `M`.
    Primary = b'M',
    /// `S`.
    Replica = b'S',
    /// `C`: a forked child.
    Child = b'C',
    /// `X`.
    Sentinel = b'X',
}

/// Where lines go; chosen once.
#[derive(Clone, Debug, Default)]
pub struct LogTarget {
    /// The file; `None` is standard output.
    pub file: Option<PathBuf>,
    /// Also to syslog.
    pub syslog: Option<SyslogOptions>,
}

/// How to name ourselves to syslog.
#[derive(Clone, Debug)]
pub struct SyslogOptions {
    /// `syslog-ident`.
    pub ident: String,
    /// Facility code, `LOG_USER` or `LOG_LOCAL0..7` of libc (already shifted).
    pub facility: i32,
    /// The datagram socket: `/dev/log`.
    pub socket_path: PathBuf,
}

#[derive(Debug)]
struct Syslog {
    socket: UnixDatagram,
    ident: String,
    facility: i32,
}

/// The sink. One per process, made by [`install`].
#[derive(Debug)]
pub struct LogSink {
    fd: AtomicI32,
    pid: AtomicU32,
    role: AtomicU8,
    timezone_offset_s: AtomicI32,
    path: OnceLock<PathBuf>,
    syslog: OnceLock<Syslog>,
}

/// Makes the sink the process's logger, writing to standard output at level notice until
/// [`LogSink::set_target`] says where. A second call returns an error.
pub fn install() -> Result<&'static LogSink, log::SetLoggerError> {
    let sink: &'static LogSink = Box::leak(Box::new(LogSink::new()));
    log::set_logger(sink)?;
    sink.set_level(LogLevel::Notice);
    Ok(sink)
}

/// Writes a line without prefix through the installed logger.
pub fn log_raw(text: fmt::Arguments<'_>) {
    log::warn!(target: RAW_TARGET, "{text}");
}

impl LogSink {
    fn new() -> Self {
        let sink = Self {
            fd: AtomicI32::new(libc::STDOUT_FILENO),
            pid: AtomicU32::new(std::process::id()),
            role: AtomicU8::new(LogRole::Primary as u8),
            timezone_offset_s: AtomicI32::new(0),
            path: OnceLock::new(),
            syslog: OnceLock::new(),
        };
        sink.refresh_timezone();
        sink
    }

    /// Opens the file and connects to syslog. A target once set stays; a second call changes
    /// nothing. An absent syslog daemon is an error here and silence later.
    pub fn set_target(&self, target: LogTarget) -> io::Result<()> {
        if let Some(path) = target.file {
            let fd = open_log(&path)?.into_raw_fd();
            if self.path.set(path).is_ok() {
                self.fd.store(fd, Ordering::Release);
            }
        }
        if let Some(options) = target.syslog {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&options.socket_path)?;
            // A full socket drops the line: logging never blocks the server.
            socket.set_nonblocking(true)?;
            let SyslogOptions { ident, facility, .. } = options;
            let _ = self.syslog.set(Syslog { socket, ident, facility });
        }
        Ok(())
    }

    /// The descriptor that lines go to; the same for the life of the process once the target
    /// is set. For the crash report.
    pub fn fd(&self) -> RawFd {
        self.fd.load(Ordering::Acquire)
    }

    /// The weakest level that is written, from now on.
    pub fn set_level(&self, level: LogLevel) {
        log::set_max_level(level.filter());
    }

    /// The role shown in each line.
    pub fn set_role(&self, role: LogRole) {
        self.role.store(role as u8, Ordering::Relaxed);
    }

    /// First thing in a forked child: role `C`, own process id.
    pub fn set_role_child(&self) {
        self.refresh_pid();
        self.set_role(LogRole::Child);
    }

    /// After daemonizing: the process id has changed.
    pub fn refresh_pid(&self) {
        self.pid.store(std::process::id(), Ordering::Relaxed);
    }

    /// Takes the current offset of local time (summer time changes it). From cron, in the
    /// parent only.
    pub fn refresh_timezone(&self) {
        self.timezone_offset_s.store(local_offset_s(SystemTime::now()), Ordering::Relaxed);
    }

    /// Opens the file again (SIGHUP, or after rotation). On an error the old one stays in use.
    /// Without a file: nothing.
    pub fn reopen(&self) -> io::Result<()> {
        let Some(path) = self.path.get() else {
            return Ok(());
        };
        let file = open_log(path)?;
        // SAFETY: dup3 takes integers. The target number is ours (opened in `set_target`, never
        // closed), and is replaced atomically, so concurrent writers see the old or the new file.
        match unsafe { libc::dup3(file.as_raw_fd(), self.fd(), libc::O_CLOEXEC) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Reopens when the path no longer leads to the open file (moved or removed by a rotation
    /// program). Two stat calls; from cron once a second. Returns whether it reopened.
    pub fn check_moved(&self) -> io::Result<bool> {
        let Some(path) = self.path.get() else {
            return Ok(false);
        };
        let open_file = nix::sys::stat::fstat(borrowed(self))?;
        let moved = match std::fs::metadata(path) {
            Ok(there) => (there.dev(), there.ino()) != (open_file.st_dev, open_file.st_ino),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        if moved {
            self.reopen()?;
        }
        Ok(moved)
    }

    fn write_record(&self, record: &log::Record<'_>) {
        let mut line = LineBuffer::<LINE_MAX_BYTES>::new();
        let raw = record.target() == RAW_TARGET;
        if !raw {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let stamp = Stamp {
                pid: self.pid.load(Ordering::Relaxed),
                role: char::from(self.role.load(Ordering::Relaxed)),
                unix_time: now,
                offset_s: self.timezone_offset_s.load(Ordering::Relaxed),
                level: level_char(record.level()),
            };
            // The buffer never fails; it cuts.
            let _ = write!(line, "{stamp} ");
        }
        let prefix_bytes = line.as_bytes().len();
        let _ = write!(line, "{}", record.args());
        if let Some(syslog) = self.syslog.get().filter(|_| !raw) {
            syslog.send(record.level(), self.pid.load(Ordering::Relaxed), &line.as_bytes()[prefix_bytes..]);
        }
        line.end_line();
        raw_write::write_all(self.fd(), line.as_bytes());
    }
}

fn borrowed(sink: &LogSink) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: the number is standard output or the log file opened in `set_target`; neither is
    // ever closed while the sink lives (`reopen` replaces it in one step).
    unsafe { std::os::fd::BorrowedFd::borrow_raw(sink.fd()) }
}

impl log::Log for LogSink {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.write_record(record);
        }
    }

    fn flush(&self) {}
}

impl Syslog {
    fn send(&self, level: log::Level, pid: u32, message: &[u8]) {
        let severity = match level {
            log::Level::Error | log::Level::Warn => libc::LOG_WARNING,
            log::Level::Info => libc::LOG_NOTICE,
            log::Level::Debug => libc::LOG_INFO,
            log::Level::Trace => libc::LOG_DEBUG,
        };
        let mut datagram = LineBuffer::<LINE_MAX_BYTES>::new();
        // The buffer never fails; it cuts.
        let _ = write!(datagram, "<{}>{}[{pid}]: ", severity | self.facility, self.ident);
        let _ = datagram.write_str(&String::from_utf8_lossy(message));
        // A daemon that is away or slow must not stop the server.
        let _ = self.socket.send(datagram.as_bytes());
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

const fn level_char(level: log::Level) -> char {
    match level {
        log::Level::Error | log::Level::Warn => '#',
        log::Level::Info => '*',
        log::Level::Debug => '-',
        log::Level::Trace => '.',
    }
}

/// Seconds that local time is ahead of UTC at a moment. Takes libc's time zone lock.
fn local_offset_s(moment: SystemTime) -> i32 {
    let since_epoch = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = libc::time_t::try_from(since_epoch.as_secs()).unwrap_or(0);
    let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; on failure (null) `parts` keeps its zeros,
    // which are a valid `tm` (integers and a pointer that is not read here).
    let parts = unsafe {
        libc::localtime_r(&raw const seconds, parts.as_mut_ptr());
        parts.assume_init()
    };
    i32::try_from(parts.tm_gmtoff).unwrap_or(0)
}

/// The prefix of a line.
struct Stamp {
    pid: u32,
    role: char,
    unix_time: Duration,
    offset_s: i32,
    level: char,
}

impl fmt::Display for Stamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let local_s = self.unix_time.as_secs().cast_signed() + i64::from(self.offset_s);
        let (year, month, day) = civil_date(local_s.div_euclid(86_400));
        let second = local_s.rem_euclid(86_400);
        write!(
            out,
            "{}:{} {day:02} {} {year} {:02}:{:02}:{:02}.{:03} {}",
            self.pid,
            self.role,
            MONTHS[month],
            second / 3600,
            second / 60 % 60,
            second % 60,
            self.unix_time.subsec_millis(),
            self.level
        )
    }
}
