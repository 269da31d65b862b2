//! Readers of /proc, /sys and cgroups: memory figures, kernel settings.
//!
//! The roots are parameters, so that tests read recorded trees. Each call reads one small
//! file, bounded by [`FILE_MAX_BYTES`]; nothing is cached. Absent fields read as 0 (an older
//! kernel), an absent file is an error. Cost: 5 to 20 us a file, except `smaps_rollup`, which walks
//! the page tables of the process (about 1 ms for each GiB mapped): not from the hot path.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

mod parse;
#[cfg(test)]
mod tests;

pub use parse::{KernelVersion, MachineMemory, MemoryRollup, ProcessStat, ProcessStatus};

/// No file read here is longer, bytes. (A cgroup list of a deep hierarchy is the longest.)
const FILE_MAX_BYTES: u64 = 256 * 1024;

/// What a huge-page setting says (`/sys/kernel/mm/transparent_hugepage/enabled`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePageMode {
    /// Everywhere.
    Always,
    /// Where madvise asks.
    Madvise,
    /// Nowhere.
    Never,
}

/// The pseudo file systems of a machine, or a recorded copy of them.
#[derive(Clone, Debug)]
pub struct ProcFs {
    proc_root: PathBuf,
    sys_root: PathBuf,
}

impl ProcFs {
    /// `/proc` and `/sys`.
    pub fn system() -> Self {
        Self::at(Path::new("/proc"), Path::new("/sys"))
    }

    /// Other roots.
    pub fn at(proc_root: &Path, sys_root: &Path) -> Self {
        Self { proc_root: proc_root.to_path_buf(), sys_root: sys_root.to_path_buf() }
    }

    fn read_proc(&self, path: impl AsRef<Path>) -> io::Result<String> {
        read_text(&self.proc_root.join(path))
    }

    fn read_sys(&self, path: impl AsRef<Path>) -> io::Result<String> {
        read_text(&self.sys_root.join(path))
    }

    /// Sums over all mappings of this process: RSS, private dirty, huge pages.
    pub fn smaps_rollup(&self) -> io::Result<MemoryRollup> {
        Ok(MemoryRollup::parse(&self.read_proc("self/smaps_rollup")?))
    }

    /// The same of another process (a child; needs the same user).
    pub fn smaps_rollup_of(&self, pid: i32) -> io::Result<MemoryRollup> {
        Ok(MemoryRollup::parse(&self.read_proc(format!("{pid}/smaps_rollup"))?))
    }

    /// Every mapping of this process, as the kernel lists them.
    pub fn smaps(&self) -> io::Result<String> {
        self.read_proc("self/smaps")
    }

    /// Memory figures that are cheap: RSS, peak, page tables.
    pub fn status(&self) -> io::Result<ProcessStatus> {
        Ok(ProcessStatus::parse(&self.read_proc("self/status")?))
    }

    /// Faults, times, argument area.
    pub fn stat(&self) -> io::Result<ProcessStat> {
        ProcessStat::parse(&self.read_proc("self/stat")?).ok_or_else(unreadable)
    }

    /// The same of another process.
    pub fn stat_of(&self, pid: i32) -> io::Result<ProcessStat> {
        ProcessStat::parse(&self.read_proc(format!("{pid}/stat"))?).ok_or_else(unreadable)
    }

    /// Memory of the machine.
    pub fn meminfo(&self) -> io::Result<MachineMemory> {
        Ok(MachineMemory::parse(&self.read_proc("meminfo")?))
    }

    /// `vm.overcommit_memory`: 0 heuristic, 1 always, 2 never.
    pub fn overcommit_memory(&self) -> io::Result<u8> {
        parse_number(&self.read_proc("sys/vm/overcommit_memory")?)
    }

    /// `net.core.somaxconn`: the longest backlog that listen(2) grants.
    pub fn somaxconn(&self) -> io::Result<u32> {
        parse_number(&self.read_proc("sys/net/core/somaxconn")?)
    }

    /// Version of the running kernel.
    pub fn kernel_version(&self) -> io::Result<KernelVersion> {
        KernelVersion::parse(&self.read_proc("sys/kernel/osrelease")?).ok_or_else(unreadable)
    }

    /// When huge pages are given to memory.
    pub fn huge_pages_enabled(&self) -> io::Result<HugePageMode> {
        let text = self.read_sys("kernel/mm/transparent_hugepage/enabled")?;
        match parse::chosen_word(&text) {
            Some("always") => Ok(HugePageMode::Always),
            Some("madvise") => Ok(HugePageMode::Madvise),
            Some("never") => Ok(HugePageMode::Never),
            _ => Err(unreadable()),
        }
    }

    /// How hard a page fault tries to find a huge page: the chosen word (`always`, `defer`,
    /// `defer+madvise`, `madvise`, `never`).
    pub fn huge_pages_defrag(&self) -> io::Result<String> {
        let text = self.read_sys("kernel/mm/transparent_hugepage/defrag")?;
        parse::chosen_word(&text).map(str::to_owned).ok_or_else(unreadable)
    }

    /// Size of a huge page, bytes.
    pub fn huge_page_size_bytes(&self) -> io::Result<u64> {
        parse_number(&self.read_sys("kernel/mm/transparent_hugepage/hpage_pmd_size")?)
    }

    /// Path of the running program.
    pub fn exe_path(&self) -> io::Result<PathBuf> {
        std::fs::read_link(self.proc_root.join("self/exe"))
    }

    /// The smallest memory limit that holds for this process's control group, bytes; `None`
    /// without a limit. Version 2 first, then version 1; the group's ancestors count as well.
    /// In a container with its own name space the group's path may not exist: the root is asked.
    pub fn cgroup_memory_limit(&self) -> Option<u64> {
        let groups = self.read_proc("self/cgroup").ok()?;
        let unified = parse::cgroup_path(&groups, "");
        let memory = parse::cgroup_path(&groups, "memory");
        let root = self.sys_root.join("fs/cgroup");
        let unified = unified.and_then(|path| smallest_limit(&root, path, "memory.max"));
        let legacy =
            memory.and_then(|path| smallest_limit(&root.join("memory"), path, "memory.limit_in_bytes"));
        unified.into_iter().chain(legacy).min()
    }
}

/// The smallest limit from a group up to the root of its hierarchy.
fn smallest_limit(root: &Path, group: &str, file_name: &str) -> Option<u64> {
    let relative = Path::new(group.trim_start_matches('/'));
    // A path with `..` (seen from another name space) would leave the hierarchy.
    let stays_inside = relative.components().all(|part| part.as_os_str() != "..");
    let groups = relative.ancestors().filter(|_| stays_inside).map(|group| root.join(group));
    let limits = groups.chain([root.to_path_buf()]).filter_map(|group| {
        let text = read_text(&group.join(file_name)).ok()?;
        parse::memory_limit(&text)
    });
    limits.min()
}

fn unreadable() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

fn parse_number<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.trim().parse().map_err(|_| unreadable())
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
