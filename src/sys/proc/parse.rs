//! The formats of /proc, from proc(5): text in, figures out; no file is touched here.

/// Sums over a process's mappings (`/proc/PID/smaps_rollup`), bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryRollup {
    /// Resident, shared pages included.
    pub rss: u64,
    /// Resident, each shared page divided by its users.
    pub pss: u64,
    /// Mapped by others too and unchanged.
    pub shared_clean: u64,
    /// Mapped by others too and changed: what a fork still shares.
    pub shared_dirty: u64,
    /// Ours alone and unchanged.
    pub private_clean: u64,
    /// Ours alone and changed: what copy-on-write has copied.
    pub private_dirty: u64,
    /// Not backed by a file.
    pub anonymous: u64,
    /// Of these, in huge pages.
    pub anon_huge_pages: u64,
    /// Given to swap.
    pub swap: u64,
}

impl MemoryRollup {
    pub(super) fn parse(text: &str) -> Self {
        let mut rollup = Self::default();
        for (name, bytes) in kib_rows(text) {
            match name {
                "Rss" => rollup.rss = bytes,
                "Pss" => rollup.pss = bytes,
                "Shared_Clean" => rollup.shared_clean = bytes,
                "Shared_Dirty" => rollup.shared_dirty = bytes,
                "Private_Clean" => rollup.private_clean = bytes,
                "Private_Dirty" => rollup.private_dirty = bytes,
                "Anonymous" => rollup.anonymous = bytes,
                "AnonHugePages" => rollup.anon_huge_pages = bytes,
                "Swap" => rollup.swap = bytes,
                _ => {}
            }
        }
        rollup
    }
}

/// From `/proc/PID/status`; sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Address space.
    pub virtual_size: u64,
    /// Resident now.
    pub rss: u64,
    /// Resident at most so far.
    pub peak_rss: u64,
    /// Page tables: what a fork copies.
    pub page_tables: u64,
    /// Given to swap.
    pub swap: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessStatus {
    pub(super) fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for (name, bytes) in kib_rows(text) {
            match name {
                "VmSize" => status.virtual_size = bytes,
                "VmRSS" => status.rss = bytes,
                "VmHWM" => status.peak_rss = bytes,
                "VmPTE" => status.page_tables = bytes,
                "VmSwap" => status.swap = bytes,
                _ => {}
            }
        }
        let threads = text.lines().find_map(|line| line.strip_prefix("Threads:"));
        status.threads = threads.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
        status
    }
}

/// From `/proc/meminfo`, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineMemory {
    /// All of it.
    pub total: u64,
    /// Unused.
    pub free: u64,
    /// What programs could still get without swapping.
    pub available: u64,
    /// Page cache.
    pub cached: u64,
    /// Waiting to be written to disk.
    pub dirty: u64,
    /// Being written to disk.
    pub writeback: u64,
    /// Swap space.
    pub swap_total: u64,
    /// Swap space not used.
    pub swap_free: u64,
    /// Anonymous memory in huge pages.
    pub anon_huge_pages: u64,
    /// Promised to programs.
    pub committed: u64,
    /// Most that may be promised (with overcommit_memory 2).
    pub commit_limit: u64,
}

impl MachineMemory {
    pub(super) fn parse(text: &str) -> Self {
        let mut memory = Self::default();
        for (name, bytes) in kib_rows(text) {
            match name {
                "MemTotal" => memory.total = bytes,
                "MemFree" => memory.free = bytes,
                "MemAvailable" => memory.available = bytes,
                "Cached" => memory.cached = bytes,
                "Dirty" => memory.dirty = bytes,
                "Writeback" => memory.writeback = bytes,
                "SwapTotal" => memory.swap_total = bytes,
                "SwapFree" => memory.swap_free = bytes,
                "AnonHugePages" => memory.anon_huge_pages = bytes,
                "Committed_AS" => memory.committed = bytes,
                "CommitLimit" => memory.commit_limit = bytes,
                _ => {}
            }
        }
        memory
    }
}

/// Rows of the form `Name:   123 kB`, as (name, bytes).
fn kib_rows(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some((name, kib.saturating_mul(1024)))
    })
}

/// From `/proc/PID/stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessStat {
    /// Name of the program (up to 15 bytes).
    pub name: String,
    /// `R`, `S`, `D`, `T`, `Z` ...
    pub state: char,
    /// Parent's process id.
    pub parent_pid: i32,
    /// Page faults served without a disk.
    pub minor_faults: u64,
    /// Page faults that read a disk.
    pub major_faults: u64,
    /// User time, clock ticks.
    pub user_ticks: u64,
    /// Kernel time, clock ticks.
    pub system_ticks: u64,
    /// Threads.
    pub threads: u64,
    /// Start, clock ticks after boot.
    pub start_ticks: u64,
    /// Address space, bytes.
    pub virtual_size: u64,
    /// Resident, pages.
    pub rss_pages: u64,
    /// Where the arguments begin; 0 when the reader may not know.
    pub arg_start: u64,
    /// Where they end.
    pub arg_end: u64,
    /// Where the environment begins.
    pub env_start: u64,
    /// Where it ends.
    pub env_end: u64,
}

impl ProcessStat {
    /// The name stands in parentheses and may itself hold spaces and parentheses, so fields
    /// are counted from the last closing one; field numbers are those of proc(5).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.rsplit_once(')')?;
        let name = before.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let count = |number| field(number).and_then(|text| text.parse().ok()).unwrap_or(0);
        Some(Self {
            name,
            state: field(3)?.chars().next()?,
            parent_pid: field(4)?.parse().ok()?,
            minor_faults: count(10),
            major_faults: count(12),
            user_ticks: count(14),
            system_ticks: count(15),
            threads: count(20),
            start_ticks: count(22),
            virtual_size: count(23),
            rss_pages: count(24),
            arg_start: count(48),
            arg_end: count(49),
            env_start: count(50),
            env_end: count(51),
        })
    }
}

/// Version of a kernel; ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 of 6.8.0.
    pub major: u32,
    /// 8 of 6.8.0.
    pub minor: u32,
    /// 0 of 6.8.0.
    pub patch: u32,
}

impl KernelVersion {
    /// Reads `6.8.0-45-generic`, `5.10-rc1`, `4.19.0+`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let not_version = |letter: char| !letter.is_ascii_digit() && letter != '.';
        let digits = text.trim().split(not_version).next()?;
        let mut parts = digits.split('.').map(str::parse::<u32>);
        let major = parts.next()?.ok()?;
        let minor = parts.next()?.ok()?;
        let patch = parts.next().and_then(Result::ok).unwrap_or(0);
        Some(Self { major, minor, patch })
    }
}

/// The word in brackets of `always [madvise] never`.
pub(super) fn chosen_word(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(word, _)| word)
}

/// The path of a controller's group in `/proc/PID/cgroup`; `""` is the version-2 hierarchy.
/// Rows are `number:controllers:path`, and the path may hold colons.
pub(super) fn cgroup_path<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

/// The number in a row of the form `name 123`.
pub(super) fn count_of(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Values from here on mean "no limit": version 1 shows the largest number of whole pages.
const NO_LIMIT_BYTES: u64 = 1 << 60;

pub(super) fn memory_limit(text: &str) -> Option<u64> {
    // Version 2 says `max`, which is no number.
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT_BYTES)
}
