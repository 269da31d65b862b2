//! What this kernel does with huge pages, found out by trying.
//!
//! Until Linux 5.8 the first write into a huge page after a fork copied all 2 MiB of it; since
//! then the mapping is split and 4 KiB are copied, so huge pages make the fork cheap and cost
//! nothing after it. Vendors patch kernels and sandboxes imitate them: a version number proves
//! nothing, a write does.

use crate::sys::data_alloc::{BLOCK_BYTES, ScratchBlock};
use crate::sys::fork::{ChildOutcome, ForkOptions, fork_child, wait_blocking};
use crate::sys::proc::ProcFs;
use std::fmt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Growth of the private memory up to which a write counts as having copied small pages, bytes:
/// one page, its page table, and what the measuring itself touches.
const SMALL_COPY_MAX_BYTES: u64 = 256 << 10;

/// Exit codes of the probe's child.
const COPIED_SMALL: i32 = 0;
const COPIED_WHOLE: i32 = 1;

/// The name under which the server program is nothing but the probe.
pub const PROBE_PROGRAM: &str = "tine-page-probe";
/// Exit codes of that program beside the two above.
const NOT_GIVEN: i32 = 2;
const UNTESTED: i32 = 3;

/// Outcome of [`probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HugePageProbe {
    /// A write after a fork copies one small page: huge pages are all gain.
    CopiesSmallPage,
    /// A write after a fork copies the whole huge page.
    CopiesHugePage,
    /// The kernel gave no huge page: switched off, or memory is in pieces.
    NotGiven,
    /// Something else failed.
    Untested(String),
}

impl fmt::Display for HugePageProbe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HugePageProbe::CopiesSmallPage => out.write_str("a write after a fork copies 4 kB"),
            HugePageProbe::CopiesHugePage => out.write_str("a write after a fork copies 2 MB on this kernel"),
            HugePageProbe::NotGiven => {
                out.write_str("the kernel gives none (/sys/kernel/mm/transparent_hugepage/enabled)")
            }
            HugePageProbe::Untested(reason) => write!(out, "could not be tried out: {reason}"),
        }
    }
}

/// Fills one block with huge pages, forks, lets the child write one byte and look at what that
/// copied. About 2 ms; forks, so call it before threads with locks and data are about.
pub fn probe(proc: &ProcFs) -> HugePageProbe {
    try_out(proc).unwrap_or_else(HugePageProbe::Untested)
}

/// As [`probe`], in a process of its own that shares no memory with this one: for a server with data, whose
/// page tables a fork would copy. Some milliseconds. Only for programs whose `main` knows [`PROBE_PROGRAM`].
pub fn probe_apart() -> HugePageProbe {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(PROBE_PROGRAM).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) => of_exit_code(status.code()),
        Err(failure) => HugePageProbe::Untested(format!("the probe cannot be started: {failure}")),
    }
}

/// The `main` of [`PROBE_PROGRAM`]: its exit code.
pub fn probe_program() -> i32 {
    match probe(&ProcFs::system()) {
        HugePageProbe::CopiesSmallPage => COPIED_SMALL,
        HugePageProbe::CopiesHugePage => COPIED_WHOLE,
        HugePageProbe::NotGiven => NOT_GIVEN,
        HugePageProbe::Untested(_) => UNTESTED,
    }
}

fn of_exit_code(code: Option<i32>) -> HugePageProbe {
    match code {
        Some(COPIED_SMALL) => HugePageProbe::CopiesSmallPage,
        Some(COPIED_WHOLE) => HugePageProbe::CopiesHugePage,
        Some(NOT_GIVEN) => HugePageProbe::NotGiven,
        _ => HugePageProbe::Untested("the probe failed".to_owned()),
    }
}

fn try_out(proc: &ProcFs) -> Result<HugePageProbe, String> {
    let show = |failure: std::io::Error| failure.to_string();
    let before = proc.smaps_rollup().map_err(show)?.anon_huge_pages;
    let block = ScratchBlock::populate().map_err(show)?;
    let after = proc.smaps_rollup().map_err(show)?.anon_huge_pages;
    if after < before + BLOCK_BYTES as u64 {
        return Ok(HugePageProbe::NotGiven);
    }
    let forked = fork_child(ForkOptions { die_with_parent: true }, || {
        let private_bytes = || proc.smaps_rollup().map(|rollup| rollup.private_dirty);
        let Ok(start) = private_bytes() else { return i32::MAX };
        block.write_page(1);
        match private_bytes() {
            Ok(end) if end.saturating_sub(start) <= SMALL_COPY_MAX_BYTES => COPIED_SMALL,
            Ok(_) => COPIED_WHOLE,
            Err(_) => i32::MAX,
        }
    });
    let forked = forked.map_err(|errno| errno.desc().to_owned())?;
    let exit = wait_blocking(forked.pid).map_err(|errno| errno.desc().to_owned())?;
    match exit.outcome {
        ChildOutcome::Exited(COPIED_SMALL) => Ok(HugePageProbe::CopiesSmallPage),
        ChildOutcome::Exited(COPIED_WHOLE) => Ok(HugePageProbe::CopiesHugePage),
        outcome => Err(format!("the child ended with {outcome:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{HugePageProbe, of_exit_code};

    // The probe itself forks: tests/persist_fork.rs.
    #[test]
    fn the_exit_code_of_the_program_is_the_outcome() {
        let outcomes = [
            HugePageProbe::CopiesSmallPage,
            HugePageProbe::CopiesHugePage,
            HugePageProbe::NotGiven,
            HugePageProbe::Untested("the probe failed".to_owned()),
        ];
        for (code, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(of_exit_code(Some(code as i32)), outcome);
        }
        assert!(matches!(of_exit_code(None), HugePageProbe::Untested(_)), "killed by a signal");
    }
}
