//! Facts about the machine and the process that INFO shows: kernel, page size, processor times.
#![allow(unsafe_code)]

use nix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Kernel name, release and machine, as in `redis_version`'s neighbour row `os`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsName {
    /// `Linux`.
    pub system: String,
    /// `6.8.0-45-generic`.
    pub release: String,
    /// `x86_64`.
    pub machine: String,
}

impl OsName {
    /// Asks uname(2). Fields are empty if it fails, which Linux does not do.
    pub fn read() -> Self {
        let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
        match nix::sys::utsname::uname() {
            Ok(name) => Self {
                system: text(name.sysname()),
                release: text(name.release()),
                machine: text(name.machine()),
            },
            Err(_) => Self { system: String::new(), release: String::new(), machine: String::new() },
        }
    }
}

/// `Linux 6.8.0-45-generic x86_64`.
impl std::fmt::Display for OsName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {} {}", self.system, self.release, self.machine)
    }
}

/// Whose processor time is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageOf {
    /// The whole process.
    Process,
    /// All children that ended and were reaped.
    Children,
    /// The calling thread.
    Thread,
}

/// What getrusage(2) tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceUsage {
    /// Time in user mode.
    pub user_time: Duration,
    /// Time in the kernel.
    pub system_time: Duration,
    /// Page faults served without a disk.
    pub minor_faults: u64,
    /// Page faults that read a disk.
    pub major_faults: u64,
    /// Largest resident set so far, bytes (0 for a thread of another process).
    pub max_rss_bytes: u64,
}

/// Processor time and page faults.
pub fn resource_usage(of: UsageOf) -> ResourceUsage {
    let who = match of {
        UsageOf::Process => libc::RUSAGE_SELF,
        UsageOf::Children => libc::RUSAGE_CHILDREN,
        UsageOf::Thread => libc::RUSAGE_THREAD,
    };
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for writes; all-zero bytes are a valid rusage, so it is
    // initialised even if the call failed.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let count = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
    ResourceUsage {
        user_time: duration_of(usage.ru_utime),
        system_time: duration_of(usage.ru_stime),
        minor_faults: count(usage.ru_minflt),
        major_faults: count(usage.ru_majflt),
        max_rss_bytes: count(usage.ru_maxrss) * 1024,
    }
}

/// Processor time of the calling thread, exact to the moment (getrusage's may be a tick old). A thread
/// that waits for a processor costs nobody anything.
pub fn thread_busy_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// A kernel time value; negative ones, which the kernel never gives, count as zero.
pub(super) fn duration_of(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let microseconds = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(microseconds)
}

/// Bytes in a page.
pub fn page_size_bytes() -> usize {
    positive_sysconf(libc::_SC_PAGESIZE).unwrap_or(4096)
}

/// Clock ticks a second, the unit of /proc/self/stat.
pub fn clock_ticks_per_second() -> usize {
    positive_sysconf(libc::_SC_CLK_TCK).unwrap_or(100)
}

/// Processors that are on line.
pub fn online_processors() -> usize {
    positive_sysconf(libc::_SC_NPROCESSORS_ONLN).unwrap_or(1)
}

/// Memory of the machine, bytes; 0 when unknown. Containers: see `proc::cgroup_memory_limit`.
pub fn total_memory_bytes() -> u64 {
    let pages = positive_sysconf(libc::_SC_PHYS_PAGES).unwrap_or(0);
    pages as u64 * page_size_bytes() as u64
}

fn positive_sysconf(name: libc::c_int) -> Option<usize> {
    // SAFETY: sysconf takes an integer; unknown names give -1.
    let value = unsafe { libc::sysconf(name) };
    usize::try_from(value).ok().filter(|value| *value > 0)
}

/// Resident set of this process, bytes; 0 when /proc is not there. About 5 us, nothing is allocated.
pub fn current_rss_bytes() -> u64 {
    // Seven numbers of at most 20 digits.
    let mut text = [0u8; 160];
    let count = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut text)).unwrap_or(0);
    let statm = std::str::from_utf8(&text[..count]).unwrap_or_default();
    rss_of_statm(statm).unwrap_or(0) * page_size_bytes() as u64
}

fn rss_of_statm(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{
        OsName, UsageOf, clock_ticks_per_second, current_rss_bytes, duration_of, online_processors,
        page_size_bytes, resource_usage, rss_of_statm, total_memory_bytes,
    };

    #[test]
    fn the_kernel_names_itself() {
        let name = OsName::read();
        assert_eq!(name.system, "Linux");
        assert_eq!(name.to_string(), format!("Linux {} {}", name.release, name.machine));
        assert!(name.release.starts_with(|first: char| first.is_ascii_digit()));
    }

    #[test]
    fn sizes_are_plausible() {
        assert!(page_size_bytes().is_power_of_two() && page_size_bytes() >= 4096);
        assert!(online_processors() >= 1 && clock_ticks_per_second() >= 100);
        let rss = current_rss_bytes();
        assert!(rss > 100_000 && rss < total_memory_bytes(), "{rss}");
        assert_eq!(rss_of_statm("1000 250 3 4 0 6 0\n"), Some(250));
        assert_eq!(rss_of_statm("garbage"), None);
    }

    #[test]
    fn burning_time_is_counted_to_process_and_thread() {
        let before = resource_usage(UsageOf::Thread);
        let start = Instant::now();
        let used = |now: super::ResourceUsage| {
            (now.user_time + now.system_time) - (before.user_time + before.system_time)
        };
        while used(resource_usage(UsageOf::Thread)) < Duration::from_millis(5) {
            assert!(start.elapsed() < Duration::from_secs(20), "the thread's time never moved");
        }
        let process = resource_usage(UsageOf::Process);
        assert!(process.user_time + process.system_time >= Duration::from_millis(5));
        assert!(process.max_rss_bytes > 0);
        let _ = resource_usage(UsageOf::Children);
    }

    #[test]
    fn kernel_times_convert() {
        let time = libc::timeval { tv_sec: 2, tv_usec: 5 };
        assert_eq!(duration_of(time), Duration::from_micros(2_000_005));
        assert_eq!(duration_of(libc::timeval { tv_sec: -1, tv_usec: -1 }), Duration::ZERO);
    }
}
