//! The process title that `ps` shows, written over the memory where the kernel put the
//! arguments and the environment.
//!
//! ```text
//!   arg_start        arg_end = env_start                      env_end
//!   | argv[0]\0argv[1]\0 | PATH=...\0HOME=...\0 ................. |
//!   | title.........................\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0 |   last byte stays 0
//! ```
//!
//! Why this is sound: (1) the addresses come from /proc/self/stat, so they are the kernel's
//! own idea of the area, a part of the stack mapping that stays for ever. (2) The environment
//! is moved to the heap first (each variable set to its own value makes libc allocate a new
//! string); the part behind the arguments is used only if no `environ` pointer leads there any
//! more. (3) `std::env::args` still reads the area: it finds other text, but always a
//! terminator, since the last byte is never written. Therefore take the arguments before.
//! (4) Nothing else reads or writes it, and `&mut self` orders our own writes. (5) The one step
//! that threads could disturb, moving the environment, is refused when there are any.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::proc::{ProcFs, ProcessStat};

/// Longest title area used, bytes: more than any command line shows.
const AREA_MAX_BYTES: usize = 64 * 1024;

/// Set once somebody owns the area.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The area that holds the title. One per process.
#[derive(Debug)]
pub struct ProcessTitle {
    area: Range<usize>,
}

impl ProcessTitle {
    /// Finds the area and moves the environment out of it. `None` where the kernel does not
    /// tell (no /proc), when threads are running already, and at a second call; titles are then
    /// not shown. Call it first thing in `main`, after collecting the arguments.
    pub fn init() -> Option<Self> {
        if threads_running()? != 1 || TAKEN.swap(true, Ordering::Relaxed) {
            return None;
        }
        let stat = ProcFs::system().stat().ok()?;
        let (arg_start, arg_end) = (address(stat.arg_start)?, address(stat.arg_end)?);
        let (env_start, env_end) = (address(stat.env_start)?, address(stat.env_end)?);
        if arg_end <= arg_start || env_end < arg_end || !lies_in_stack(&stat)? {
            return None;
        }
        // SAFETY: this is the only thread (checked above), so nobody can start another.
        unsafe { move_environment() };
        let env_is_free =
            env_start == arg_end && env_end > env_start && !environment_leads_into(&(arg_start..env_end));
        let end = if env_is_free { env_end } else { arg_end };
        Some(Self { area: arg_start..end.min(arg_start + AREA_MAX_BYTES) })
    }

    /// Longest title that fits, bytes.
    pub fn capacity(&self) -> usize {
        self.area.len() - 1
    }

    /// Shows a title; what does not fit is cut. No allocation, no lock: a forked child may
    /// call it, and changes only its own copy.
    pub fn set(&mut self, title: &str) {
        let base = self.area.start as *mut u8;
        let used = title.len().min(self.capacity());
        for (offset, byte) in title.bytes().take(used).enumerate() {
            // SAFETY: offset < capacity < area length; the area is ours (module header).
            unsafe { base.add(offset).write_volatile(byte) };
        }
        for offset in used..self.area.len() {
            // SAFETY: offset < area length; the area is ours (module header).
            unsafe { base.add(offset).write_volatile(0) };
        }
    }
}

fn threads_running() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

fn address(value: u64) -> Option<usize> {
    usize::try_from(value).ok().filter(|value| *value != 0)
}

// SAFETY: the declaration is that of libc's <unistd.h>.
unsafe extern "C" {
    /// libc's array of environment strings, ended by a null pointer.
    static environ: *const *const libc::c_char;
}

/// Whether arguments and environment lie in the main thread's stack mapping, which is writable
/// and never unmapped. A program that moved them (PR_SET_MM) or a sandbox that invents numbers
/// is left alone.
fn lies_in_stack(stat: &ProcessStat) -> Option<bool> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let stack = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (low, high) = stack.split_whitespace().next()?.split_once('-')?;
    let low = u64::from_str_radix(low, 16).ok()?;
    let high = u64::from_str_radix(high, 16).ok()?;
    Some(stat.arg_start >= low && stat.env_end <= high)
}

/// Sets each variable to its own value, which makes libc keep it in memory of its own.
///
/// # Safety
///
/// No other thread may run.
unsafe fn move_environment() {
    let variables: Vec<_> = std::env::vars_os().collect();
    for (name, value) in variables {
        // SAFETY: no other thread reads or writes the environment, by the caller's promise;
        // names come from the environment itself, so they hold no `=` and no zero byte.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Whether a string of the environment still lies in the area (one without `=` is not moved).
fn environment_leads_into(area: &Range<usize>) -> bool {
    // SAFETY: `environ` is null or an array ended by a null pointer; nobody changes it
    // meanwhile (called from `init` only).
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            if area.contains(&(*entry as usize)) {
                return true;
            }
            entry = entry.add(1);
        }
    }
    false
}

/// Names the calling thread, as `top -H` shows it; cut to 15 bytes.
pub fn set_thread_name(name: &str) {
    let mut bytes = [0u8; 16];
    let used = name.len().min(15);
    bytes[..used].copy_from_slice(&name.as_bytes()[..used]);
    // SAFETY: the pointer leads to 16 bytes with a terminator, as PR_SET_NAME asks.
    unsafe { libc::prctl(libc::PR_SET_NAME, bytes.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::{ProcessTitle, set_thread_name};

    #[test]
    fn threads_forbid_a_title() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || receiver.recv());
        assert!(ProcessTitle::init().is_none(), "the test program has threads");
        drop(sender);
        let _ = other.join();
    }

    #[test]
    fn threads_have_names() {
        let name = std::thread::spawn(|| {
            set_thread_name("a-very-long-thread-name");
            std::fs::read_to_string("/proc/thread-self/comm").expect("read")
        });
        assert_eq!(name.join().expect("no panic"), "a-very-long-thr\n");
    }
}
