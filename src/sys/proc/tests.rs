//! Recorded texts, a made-up tree, and one look at the real machine.

use std::path::Path;

use proptest::proptest;

use super::parse::{cgroup_path, chosen_word};
use super::{HugePageMode, KernelVersion, MachineMemory, MemoryRollup, ProcFs, ProcessStat, ProcessStatus};

const STAT: &str = "1234 (a (b) c) S 1 1234 1234 0 -1 4194560 100 200 3 4 50 60 70 80 20 0 7 0 \
    999 4096000 500 18446744073709551615 1 2 3 4 5 0 0 16781312 1 0 0 0 17 1 0 0 0 0 0 10 20 30 \
    4000 4100 4100 4999 0\n";

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("files are below")).expect("mkdir");
        std::fs::write(path, content).expect("write");
    }
    folder
}

fn reader(folder: &tempfile::TempDir) -> ProcFs {
    ProcFs::at(&folder.path().join("proc"), &folder.path().join("sys"))
}

#[test]
fn servers_in_a_folder_and_writers_of_its_files_are_found() {
    let folder = tree(&[
        ("data/a.aof", "x"),
        ("other/a.aof", "x"),
        ("proc/7/comm", "sh\n"),
        ("proc/8/comm", "tail\n"),
        ("proc/8/fdinfo/3", "pos:\t0\nflags:\t0100000\n"),
        ("proc/9/comm", "tine-server\n"),
        ("proc/10/comm", "cat\n"),
        ("proc/10/fdinfo/1", "pos:\t0\nflags:\t0102001\n"),
    ]);
    let at = |path: &str| folder.path().join(path);
    let link = |to: &str, name: &str| {
        std::fs::create_dir_all(at(name).parent().expect("files are below")).expect("mkdir");
        std::os::unix::fs::symlink(at(to), at(name)).expect("a link can be made");
    };
    link("data", "proc/7/cwd");
    link("data/a.aof", "proc/8/fd/3");
    link("other", "proc/9/cwd");
    let holder =
        |name: &str| reader(&folder).holder_of(&at(name), &[at(name).join("a.aof")]).map(|found| found.pid);
    assert_eq!(holder("data"), None, "a shell that stands there and a reader do no harm");
    assert_eq!(holder("other"), Some(9));
    link("data/a.aof", "proc/10/fd/1");
    assert_eq!(holder("data"), Some(10));
}

#[test]
fn stat_survives_odd_names() {
    let stat = ProcessStat::parse(STAT).expect("a recorded row");
    assert_eq!((stat.name.as_str(), stat.state, stat.parent_pid), ("a (b) c", 'S', 1));
    assert_eq!((stat.minor_faults, stat.major_faults), (100, 3));
    assert_eq!((stat.user_ticks, stat.system_ticks, stat.threads), (50, 60, 7));
    assert_eq!((stat.start_ticks, stat.virtual_size, stat.rss_pages), (999, 4_096_000, 500));
    assert_eq!((stat.arg_start, stat.arg_end), (4000, 4100));
    assert_eq!((stat.env_start, stat.env_end), (4100, 4999));
    assert_eq!(ProcessStat::parse("12 (x"), None);
}

#[test]
fn rows_become_bytes() {
    let text = "55a-7ff ---p 00000000 00:00 0  [rollup]\nRss:  2048 kB\nPrivate_Dirty: 100 kB\n\
        AnonHugePages:      2 kB\nSwap: x kB\n";
    let rollup = MemoryRollup::parse(text);
    let expected = MemoryRollup {
        rss: 2048 * 1024,
        private_dirty: 100 * 1024,
        anon_huge_pages: 2048,
        ..MemoryRollup::default()
    };
    assert_eq!(rollup, expected);
    let status = ProcessStatus::parse("Name:\tx\nVmHWM:\t 8 kB\nVmPTE:\t 4 kB\nThreads:\t5\n");
    assert_eq!((status.peak_rss, status.page_tables, status.threads), (8192, 4096, 5));
    let memory = MachineMemory::parse("MemTotal: 16 kB\nMemAvailable: 8 kB\nHugePages_Total: 3\n");
    assert_eq!((memory.total, memory.available, memory.free), (16384, 8192, 0));
}

#[test]
fn versions_compare() {
    let parse = |text| KernelVersion::parse(text).expect("a version");
    assert_eq!(parse("6.8.0-45-generic\n"), KernelVersion { major: 6, minor: 8, patch: 0 });
    assert_eq!(parse("5.10-rc1"), KernelVersion { major: 5, minor: 10, patch: 0 });
    assert!(parse("5.8.1+") < parse("5.10.0") && parse("4.19.7") > parse("4.19.6"));
    assert_eq!(KernelVersion::parse("unknown"), None);
}

#[test]
fn settings_come_from_the_tree() {
    let folder = tree(&[
        ("proc/sys/vm/overcommit_memory", "1\n"),
        ("proc/sys/net/core/somaxconn", "4096\n"),
        ("proc/sys/kernel/osrelease", "6.1.0\n"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
        ("sys/kernel/mm/transparent_hugepage/defrag", "always defer [defer+madvise] never\n"),
        ("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n"),
        ("proc/77/stat", STAT),
        ("proc/77/smaps_rollup", "Pss: 3 kB\n"),
    ]);
    let proc = reader(&folder);
    assert_eq!(proc.overcommit_memory().expect("there"), 1);
    assert_eq!(proc.somaxconn().expect("there"), 4096);
    assert_eq!(proc.kernel_version().expect("there").major, 6);
    assert_eq!(proc.huge_pages_enabled().expect("there"), HugePageMode::Madvise);
    assert_eq!(proc.huge_pages_defrag().expect("there"), "defer+madvise");
    assert_eq!(proc.huge_page_size_bytes().expect("there"), 2 << 20);
    assert_eq!(proc.stat_of(77).expect("there").threads, 7);
    assert_eq!(proc.smaps_rollup_of(77).expect("there").pss, 3072);
    assert!(proc.meminfo().is_err(), "an absent file is an error");
}

#[test]
fn limits_of_version_2_count_ancestors() {
    let folder = tree(&[
        ("proc/self/cgroup", "0::/a/b:c\n"),
        ("sys/fs/cgroup/a/b:c/memory.max", "max\n"),
        ("sys/fs/cgroup/a/memory.max", "1000000\n"),
    ]);
    assert_eq!(reader(&folder).cgroup_memory_limit(), Some(1_000_000));
}

#[test]
fn limits_of_version_1_and_containers() {
    let folder = tree(&[
        ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "5000000\n"),
    ]);
    assert_eq!(reader(&folder).cgroup_memory_limit(), Some(5_000_000), "the root is asked");
    let folder = tree(&[
        ("proc/self/cgroup", "4:memory:/\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
    ]);
    assert_eq!(reader(&folder).cgroup_memory_limit(), None);
    let folder = tree(&[("proc/self/cgroup", "0::/../../x\n"), ("sys/x/memory.max", "1\n")]);
    assert_eq!(reader(&folder).cgroup_memory_limit(), None, "no way out of the hierarchy");
}

#[test]
fn words_and_groups() {
    assert_eq!(chosen_word("a [b] c"), Some("b"));
    assert_eq!(chosen_word("a [b"), None);
    assert_eq!(cgroup_path("1:name=systemd:/s\n0::/u\n", ""), Some("/u"));
    assert_eq!(cgroup_path("1:name=systemd:/s\n", "memory"), None);
}

#[test]
fn the_real_machine_answers() {
    let proc = ProcFs::system();
    let status = proc.status().expect("Linux");
    assert!(status.rss > 0 && status.peak_rss >= status.rss && status.page_tables > 0);
    let stat = proc.stat().expect("Linux");
    assert!(stat.threads >= 1 && stat.arg_end > stat.arg_start);
    let memory = proc.meminfo().expect("Linux");
    assert!(memory.total > memory.free && memory.available > 0);
    let rollup = proc.smaps_rollup().expect("Linux since 4.14");
    assert!(rollup.rss > 0 && rollup.private_dirty > 0);
    assert!(proc.kernel_version().expect("Linux").major >= 4);
    assert!(proc.exe_path().expect("Linux").is_absolute());
    assert!(proc.overcommit_memory().expect("Linux") <= 2);
    assert!(Path::new("/proc/self").exists());
    let _ = proc.cgroup_memory_limit();
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a-z0-9():. \n\\[\\]-]{0,80}") {
        let _ = ProcessStat::parse(&text);
        let _ = MemoryRollup::parse(&text);
        let _ = KernelVersion::parse(&text);
        let _ = cgroup_path(&text, "memory");
        let _ = chosen_word(&text);
    }
}

#[test]
fn memory_left_is_what_the_nearest_limit_leaves() {
    let machine = ("proc/meminfo", "MemAvailable: 4000 kB\n");
    let folder =
        tree(&[machine, ("proc/self/cgroup", "0::/\n"), ("proc/vmstat", "oom_kill_x 1\noom_kill 5\n")]);
    let left = reader(&folder).memory_left().expect("meminfo is there");
    assert_eq!((left.bytes, left.is_group), (4000 << 10, false));
    assert_eq!(reader(&folder).oom_kills().expect("vmstat is there"), 5);
    let folder = tree(&[
        machine,
        ("proc/self/cgroup", "0::/a/b\n"),
        ("sys/fs/cgroup/a/memory.max", "1000000\n"),
        ("sys/fs/cgroup/a/memory.current", "900000\n"),
        ("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 300000\n"),
    ]);
    let left = reader(&folder).memory_left().expect("meminfo is there");
    assert_eq!((left.bytes, left.is_group), (400_000, true), "cache that nobody uses can be had");
    let folder = tree(&[
        machine,
        ("proc/self/cgroup", "4:memory:/x\n"),
        ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2000\n"),
        ("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "3000\n"),
    ]);
    assert_eq!(reader(&folder).memory_left().expect("meminfo is there").bytes, 0);
}
