//! Does fork() of this kernel keep parent and child apart? Asked once, at the start.
//!
//! ```text
//!   no access | one page | no access      a mapping of its own, so that /proc tells of it alone
//!  parent: writes OLD, frees it lazily, writes OLD again, forks ─► child: is the page dirty? (arm64)
//!          writes NEW, says so by a pipe ───────────────────────►        still OLD? writes its own
//!          still NEW?  ◄──────────────────────────────── exit code ──────┘
//! ```
//! The lazy free is the recipe for a fault of arm64 kernels before 5.10 (a page written again after
//! `MADV_FREE` lost its dirty mark in the fork, and its content with it). Takes about a millisecond.
#![allow(unsafe_code)]

use super::fork::{self, ChildOutcome, ForkOptions};
use super::proc::ProcFs;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::ffi::c_int;
use std::io;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// A child that is not back by then tells nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks at the child.
const POLL_PAUSE: Duration = Duration::from_micros(100);
const OLD: u8 = 0x5A;
const NEW: u8 = 0xC3;
const OF_CHILD: u8 = 0x99;

const CHILD_SEES_PARENT: i32 = 2;
const PAGE_NOT_DIRTY: i32 = 3;
const CANNOT_TELL: i32 = 4;

/// What the check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyOnWrite {
    /// Parent and child each keep their own.
    Sound,
    /// They do not: a snapshot would hold wrong data under a valid checksum.
    Broken(&'static str),
    /// The check could not be made; the reason.
    Untested(String),
}

/// Forks once and looks. To be called while no other child lives. About 1 ms.
pub fn check_copy_on_write() -> CopyOnWrite {
    check_mapping(libc::MAP_PRIVATE, cfg!(target_arch = "aarch64"))
}

/// The same with a kind of mapping (`MAP_PRIVATE`; `MAP_SHARED` shows what "broken" looks like), and
/// with the look at the dirty page or without it.
pub fn check_mapping(sharing: c_int, look_at_dirty: bool) -> CopyOnWrite {
    try_check(sharing, look_at_dirty).unwrap_or_else(|errno| CopyOnWrite::Untested(errno.desc().to_owned()))
}

fn try_check(sharing: c_int, look_at_dirty: bool) -> Result<CopyOnWrite, Errno> {
    let mut page = Page::map(sharing)?;
    page.fill(OLD);
    page.free_lazily();
    page.fill(OLD);
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let options = ForkOptions { die_with_parent: true };
    let child = fork::fork_child(options, || {
        if look_at_dirty && let Some(code) = page.dirt_code() {
            return code;
        }
        match nix::unistd::read(&reader, &mut [0]) {
            Ok(1) if page.holds(OLD) => {
                page.fill(OF_CHILD);
                0
            }
            Ok(1) => CHILD_SEES_PARENT,
            _ => CANNOT_TELL,
        }
    })?;
    page.fill(NEW);
    // A child that has ended already says why by its code.
    let _ = nix::unistd::write(&writer, b"w");
    let outcome = reap(child.pid)?;
    Ok(match outcome {
        ChildOutcome::Exited(0) if page.holds(NEW) => CopyOnWrite::Sound,
        ChildOutcome::Exited(0) => CopyOnWrite::Broken("the parent sees what a forked child has written"),
        ChildOutcome::Exited(CHILD_SEES_PARENT) => {
            CopyOnWrite::Broken("a forked child sees what its parent writes")
        }
        ChildOutcome::Exited(PAGE_NOT_DIRTY) => {
            CopyOnWrite::Broken("a page that is written again after MADV_FREE is not dirty after a fork")
        }
        other => CopyOnWrite::Untested(format!("the forked child ended with {other:?}")),
    })
}

fn reap(pid: i32) -> Result<ChildOutcome, Errno> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(exit) = fork::wait_nohang(pid)? {
            return Ok(exit.outcome);
        }
        if Instant::now() > deadline {
            fork::kill(pid, libc::SIGKILL)?;
            fork::wait_blocking(pid)?;
            return Err(Errno::ETIMEDOUT);
        }
        std::thread::sleep(POLL_PAUSE);
    }
}

/// One page with a forbidden page on either side.
struct Page {
    base: NonNull<u8>,
    bytes: usize,
}

impl Page {
    fn map(sharing: c_int) -> Result<Page, Errno> {
        // SAFETY: takes and returns integers.
        let bytes =
            usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(|_| Errno::EINVAL)?;
        let flags = sharing | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place of the kernel's choice; nothing existing is touched.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), 3 * bytes, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let page = Page { base: NonNull::new(base.cast()).ok_or(Errno::ENOMEM)?, bytes };
        // SAFETY: the middle page of the mapping just made.
        let outcome =
            unsafe { libc::mprotect(page.start().cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) };
        if outcome == 0 { Ok(page) } else { Err(Errno::last()) }
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: the mapping is three pages long.
        unsafe { self.base.as_ptr().add(self.bytes) }
    }

    fn fill(&mut self, value: u8) {
        // SAFETY: the page is writable and nobody holds a reference into it.
        unsafe { std::ptr::write_bytes(self.start(), value, self.bytes) };
        std::hint::black_box(self.start());
    }

    fn holds(&self, value: u8) -> bool {
        let start = std::hint::black_box(self.start());
        // SAFETY: within the page, which is readable; volatile, since the other process may be able
        // to change it, which is the question.
        (0..self.bytes).all(|at| unsafe { start.add(at).read_volatile() } == value)
    }

    fn free_lazily(&mut self) {
        // SAFETY: our own page, which is filled again before it is read. EINVAL: a kernel or a kind
        // of mapping without lazy freeing, which then cannot have the fault.
        unsafe { libc::madvise(self.start().cast(), self.bytes, libc::MADV_FREE) };
    }

    /// In the child: the exit code when the page is not dirty, or that cannot be told.
    fn dirt_code(&self) -> Option<i32> {
        match ProcFs::system().dirty_bytes_at(self.start() as usize) {
            Ok(0) => Some(PAGE_NOT_DIRTY),
            Ok(_) => None,
            Err(_) => Some(CANNOT_TELL),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping of `map`, unmapped once.
        unsafe { libc::munmap(self.base.as_ptr().cast(), 3 * self.bytes) };
    }
}

impl ProcFs {
    /// Dirty bytes of the mapping that holds `address`: shared ones, or private ones once the other
    /// process has its own copy. Reads `smaps`, which lists every
    /// mapping: for the first moments of a process.
    fn dirty_bytes_at(&self, address: usize) -> io::Result<u64> {
        dirty_bytes(&self.smaps()?, address).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn dirty_bytes(smaps: &str, address: usize) -> Option<u64> {
    let holds = |line: &str| {
        let (from, rest) = line.split_once('-')?;
        let (to, _) = rest.split_once(' ')?;
        let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
        range.contains(&address).then_some(())
    };
    let mut lines = smaps.lines().skip_while(|line| holds(line).is_none());
    let mut bytes_of = |name: &str| {
        let text = lines.find_map(|line| line.strip_prefix(name))?;
        text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    };
    // In the order in which the kernel writes them.
    Some(bytes_of("Shared_Dirty:")? + bytes_of("Private_Dirty:")?)
}

#[cfg(test)]
mod tests {
    use super::dirty_bytes;

    // The checks that fork are in tests/sys_fork.rs: no fork among the threads of a test runner.
    #[test]
    fn the_mapping_that_holds_the_page_is_found() {
        let smaps = "1000-2000 rw-p 0 00:00 0\nShared_Dirty:          0 kB\nPrivate_Dirty: 0 kB\n\
                     2000-3000 rw-p 0 00:00 0\nShared_Dirty:          4 kB\nPrivate_Dirty: 8 kB\n";
        assert_eq!(dirty_bytes(smaps, 0x1fff), Some(0));
        assert_eq!(dirty_bytes(smaps, 0x2000), Some(12_288));
        assert_eq!(dirty_bytes(smaps, 0x3000), None);
        assert_eq!(dirty_bytes("", 0), None);
    }
}
