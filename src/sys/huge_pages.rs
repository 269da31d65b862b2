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

/// Growth of the private memory up to which a write counts as having copied small pages, bytes:
/// one page, its page table, and what the measuring itself touches.
const SMALL_COPY_MAX_BYTES: u64 = 256 << 10;

/// Exit codes of the probe's child.
const COPIED_SMALL: i32 = 0;
const COPIED_WHOLE: i32 = 1;

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
/// copied. About 2 ms; forks, so call it before threads with locks are about.
pub fn probe(proc: &ProcFs) -> HugePageProbe {
    try_out(proc).unwrap_or_else(HugePageProbe::Untested)
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
