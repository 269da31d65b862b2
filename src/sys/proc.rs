//! Readers of /proc, /sys and cgroups: memory figures, kernel settings.
//!
//! The roots are parameters, so that tests read recorded trees. Each call reads one small
//! file, bounded by [`FILE_MAX_BYTES`]; nothing is cached. Absent fields read as 0 (an older
//! kernel), an absent file is an error. Cost: 5 to 20 us a file, except `smaps_rollup`, which walks
//! the page tables of the process (about 1 ms for each GiB mapped): not from the hot path.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

mod holders;
mod parse;
#[cfg(test)]
mod tests;

pub use holders::Holder;
pub use parse::{KernelVersion, MachineMemory, MemoryRollup, ProcessStat, ProcessStatus};

/// No file read here is longer, bytes. (A cgroup list of a deep hierarchy is the longest.)
const FILE_MAX_BYTES: u64 = 256 * 1024;
/// Most are read at once, bytes.
const FILE_USUAL_BYTES: usize = 4096;

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

/// What this process could still get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryLeft {
    pub bytes: u64,
    /// The control group's limit is nearer than the end of the machine's memory.
    pub is_group: bool,
}

/// The files of a memory control group: limit, use, and the row of `memory.stat` with the part of the
/// use that the kernel gives back when asked.
struct GroupFiles {
    limit: &'static str,
    usage: &'static str,
    reclaimable: &'static str,
}

const UNIFIED: GroupFiles =
    GroupFiles { limit: "memory.max", usage: "memory.current", reclaimable: "inactive_file" };
const LEGACY: GroupFiles = GroupFiles {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};

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

    /// The same of another process.
    pub fn status_of(&self, pid: i32) -> io::Result<ProcessStatus> {
        Ok(ProcessStatus::parse(&self.read_proc(format!("{pid}/status"))?))
    }

    /// Children of a process, whichever of its threads forked them.
    pub fn children_of(&self, pid: i32) -> io::Result<Vec<i32>> {
        let mut children = Vec::new();
        for task in std::fs::read_dir(self.proc_root.join(format!("{pid}/task")))? {
            // A thread that has ended meanwhile has no children.
            let text = read_text(&task?.path().join("children")).unwrap_or_default();
            children.extend(text.split_ascii_whitespace().filter_map(|number| number.parse::<i32>().ok()));
        }
        Ok(children)
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
        self.least_of_groups(limit_of)
    }

    /// Memory that the machine, or a control group with a limit, has left for this process. Cost:
    /// about 50 us, and 20 more for each group with a limit.
    pub fn memory_left(&self) -> io::Result<MemoryLeft> {
        let machine = self.meminfo()?.available;
        let group = self.least_of_groups(left_of).filter(|left| *left < machine);
        Ok(MemoryLeft { bytes: group.unwrap_or(machine), is_group: group.is_some() })
    }

    /// Processes that the kernel has killed for want of memory since boot; 0 before Linux 4.13.
    pub fn oom_kills(&self) -> io::Result<u64> {
        Ok(parse::count_of(&self.read_proc("vmstat")?, "oom_kill").unwrap_or(0))
    }

    /// The least figure of this process's memory groups and their ancestors.
    fn least_of_groups(&self, figure: impl Fn(&Path, &GroupFiles) -> Option<u64>) -> Option<u64> {
        let groups = self.read_proc("self/cgroup").ok()?;
        let root = self.sys_root.join("fs/cgroup");
        let hierarchies = [
            (parse::cgroup_path(&groups, ""), root.clone(), UNIFIED),
            (parse::cgroup_path(&groups, "memory"), root.join("memory"), LEGACY),
        ];
        let found = hierarchies.into_iter().filter_map(|(path, root, files)| {
            group_and_ancestors(&root, path?).into_iter().filter_map(|group| figure(&group, &files)).min()
        });
        found.min()
    }
}

/// A group's folder, those of its ancestors, and the root of the hierarchy.
fn group_and_ancestors(root: &Path, group: &str) -> Vec<PathBuf> {
    let relative = Path::new(group.trim_start_matches('/'));
    // A path with `..` (seen from another name space) would leave the hierarchy.
    let stays_inside = relative.components().all(|part| part.as_os_str() != "..");
    let groups = relative.ancestors().filter(|_| stays_inside).map(|group| root.join(group));
    groups.chain([root.to_path_buf()]).collect()
}

fn limit_of(group: &Path, files: &GroupFiles) -> Option<u64> {
    parse::memory_limit(&read_text(&group.join(files.limit)).ok()?)
}

/// What a group with a limit has left: page cache that nobody uses does not count as used.
fn left_of(group: &Path, files: &GroupFiles) -> Option<u64> {
    let limit = limit_of(group, files)?;
    let usage: u64 = parse_number(&read_text(&group.join(files.usage)).ok()?).ok()?;
    let statistics = read_text(&group.join("memory.stat")).unwrap_or_default();
    let reclaimable = parse::count_of(&statistics, files.reclaimable).unwrap_or(0);
    Some(limit.saturating_sub(usage.saturating_sub(reclaimable)))
}

fn unreadable() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

fn parse_number<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.trim().parse().map_err(|_| unreadable())
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(FILE_USUAL_BYTES);
    File::open(path)?.take(FILE_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
