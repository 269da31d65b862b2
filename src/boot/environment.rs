//! What about the machine an operator should know: logged at the start where it hurts, and told in
//! full by `--check-system`.

use crate::server::config::Config;
use crate::server::machine::RESERVED_DESCRIPTORS;
use crate::sys::info::total_memory_bytes;
use crate::sys::limits;
use crate::sys::net;
use crate::sys::proc::{HugePageMode, ProcFs};
use std::io::Write;

const MIB: u64 = 1 << 20;

/// How one thing stands.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Good(String),
    /// Worth knowing, not a fault.
    Note(String),
    /// What is wrong, and how to set it right.
    Bad {
        problem: String,
        remedy: &'static str,
    },
    /// The machine does not tell.
    Unknown,
}

type Check = fn(&Config, &ProcFs) -> Verdict;

/// What is looked at. The log names a fault only where `is_logged`: the others have lines of their own.
struct Row {
    name: &'static str,
    check: Check,
    is_logged: bool,
}

const ROWS: &[Row] = &[
    Row { name: "listen backlog", check: backlog, is_logged: true },
    Row { name: "memory overcommit", check: overcommit, is_logged: true },
    Row { name: "transparent huge pages", check: huge_pages, is_logged: true },
    Row { name: "memory limit", check: memory_limit, is_logged: false },
    Row { name: "open files", check: open_files, is_logged: false },
];

/// Settings of the kernel that hurt a forking server.
pub fn warn_about_kernel(config: &Config) {
    let proc = ProcFs::system();
    for row in ROWS.iter().filter(|row| row.is_logged) {
        if let Verdict::Bad { problem, remedy } = (row.check)(config, &proc) {
            log::warn!("WARNING {problem} To fix this: {remedy}");
        }
    }
}

/// `--check-system`: one line for each thing looked at, and what to set where it is wrong. The exit
/// status is 1 when something is.
pub fn check_system(config: &Config) -> i32 {
    let (text, faults) = report(config, &ProcFs::system());
    // Whoever closed the pipe has read enough; the status tells the rest.
    let _ = std::io::stdout().write_all(text.as_bytes());
    i32::from(faults > 0)
}

fn report(config: &Config, proc: &ProcFs) -> (String, usize) {
    let mut text = String::new();
    let mut faults = 0;
    for row in ROWS {
        let told = match (row.check)(config, proc) {
            Verdict::Good(figure) => format!("ok    {}: {figure}\n", row.name),
            Verdict::Note(figure) => format!("note  {}: {figure}\n", row.name),
            Verdict::Unknown => format!("?     {}: this machine does not tell\n", row.name),
            Verdict::Bad { problem, remedy } => {
                faults += 1;
                format!("BAD   {}: {problem}\n      To fix this: {remedy}\n", row.name)
            }
        };
        text.push_str(&told);
    }
    text.push_str(&match faults {
        0 => "Nothing stands in the way of a forking server.\n".to_owned(),
        1 => "1 thing should be set right.\n".to_owned(),
        faults => format!("{faults} things should be set right.\n"),
    });
    (text, faults)
}

fn backlog(config: &Config, proc: &ProcFs) -> Verdict {
    match net::backlog_shortfall(proc, config.tcp_backlog) {
        None => Verdict::Good(format!("tcp-backlog {} is granted", config.tcp_backlog)),
        Some(granted) => Verdict::Bad {
            problem: format!(
                "The TCP backlog setting of {} cannot be enforced because /proc/sys/net/core/somaxconn is set to the \
                 lower value of {granted}.",
                config.tcp_backlog
            ),
            remedy: "run 'sysctl net.core.somaxconn=4096' and add 'net.core.somaxconn = 4096' to /etc/sysctl.conf.",
        },
    }
}

fn overcommit(_: &Config, proc: &ProcFs) -> Verdict {
    const REMEDY: &str =
        "run 'sysctl vm.overcommit_memory=1' and add 'vm.overcommit_memory = 1' to /etc/sysctl.conf.";
    match proc.overcommit_memory() {
        Ok(1) => Verdict::Good("vm.overcommit_memory is 1".to_owned()),
        Ok(mode) => Verdict::Bad {
            problem: format!(
                "Memory overcommit must be enabled (vm.overcommit_memory is {mode})! Without it, a background save may \
                 fail when memory is short, since fork() reserves as much as the server uses."
            ),
            remedy: REMEDY,
        },
        Err(_) => Verdict::Unknown,
    }
}

fn huge_pages(_: &Config, proc: &ProcFs) -> Verdict {
    match proc.huge_pages_enabled() {
        Ok(HugePageMode::Always) => Verdict::Bad {
            problem: "Transparent Huge Pages are set to 'always': after a fork each first write copies 2 MB instead of \
                      4 kB."
                .to_owned(),
            remedy: "run 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled' as root, and add it to \
                     /etc/rc.local or a unit of the service manager.",
        },
        Ok(HugePageMode::Madvise) => Verdict::Good("madvise".to_owned()),
        Ok(HugePageMode::Never) => Verdict::Note("never: fork() will copy a page table of 4 kB pages".to_owned()),
        Err(_) => Verdict::Note("this kernel has none".to_owned()),
    }
}

/// A limit of the control group kills the process where the machine would have refused memory.
fn memory_limit(config: &Config, proc: &ProcFs) -> Verdict {
    let total_bytes = total_memory_bytes();
    let Some(limit_bytes) = proc.cgroup_memory_limit().filter(|limit| *limit < total_bytes) else {
        return Verdict::Good(format!("none below the machine's {} MiB", total_bytes / MIB));
    };
    let maxmemory_bytes = config.maxmemory.bytes;
    if maxmemory_bytes == 0 {
        return Verdict::Bad {
            problem: format!(
                "the control group allows {} MiB and maxmemory is not set: a data set that grows to it ends in a kill.",
                limit_bytes / MIB
            ),
            remedy: "set maxmemory in the configuration file, with room for what clients change during a save, or raise \
                     memory.max (MemoryMax= of the unit, --memory of the container).",
        };
    }
    if maxmemory_bytes >= limit_bytes {
        return Verdict::Bad {
            problem: format!(
                "maxmemory is {} MiB, the control group allows {} MiB: the kernel's limit comes first.",
                maxmemory_bytes / MIB,
                limit_bytes / MIB
            ),
            remedy: "lower maxmemory, or raise memory.max (MemoryMax= of the unit, --memory of the container).",
        };
    }
    Verdict::Note(format!(
        "the control group allows {} MiB, maxmemory {} MiB; what clients change during a save comes on top",
        limit_bytes / MIB,
        maxmemory_bytes / MIB
    ))
}

fn open_files(config: &Config, _: &ProcFs) -> Verdict {
    let wanted = u64::from(config.maxclients) + RESERVED_DESCRIPTORS;
    match limits::raise_open_files(wanted) {
        Ok(outcome) if outcome.is_enough() => {
            Verdict::Good(format!("{} for {} clients", outcome.now, config.maxclients))
        }
        Ok(outcome) => Verdict::Bad {
            problem: format!(
                "{} clients need {wanted} open files, the limit is {}: fewer clients will be taken.",
                config.maxclients, outcome.now
            ),
            remedy: "raise the limit ('ulimit -n', nofile in /etc/security/limits.conf, LimitNOFILE= of the unit), or \
                     lower maxclients.",
        },
        Err(_) => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, check_system, huge_pages, overcommit, report};
    use crate::server::config::Config;
    use crate::sys::proc::ProcFs;
    use std::fs;

    /// A machine with these settings.
    fn machine(folder: &std::path::Path, overcommit: &str, huge: &str, backlog: &str) -> ProcFs {
        let (proc, sys) = (folder.join("proc"), folder.join("sys"));
        let files = [
            (proc.join("sys/vm/overcommit_memory"), overcommit),
            (proc.join("sys/net/core/somaxconn"), backlog),
            (sys.join("kernel/mm/transparent_hugepage/enabled"), huge),
        ];
        for (path, text) in files {
            fs::create_dir_all(path.parent().expect("it is below the folder")).expect("folders can be made");
            fs::write(path, text).expect("files can be written");
        }
        ProcFs::at(&proc, &sys)
    }

    #[test]
    fn faults_are_counted_and_told_with_a_remedy() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = Config::default();
        let good = machine(folder.path(), "1\n", "always [madvise] never\n", "4096\n");
        let (text, before) = report(&config, &good);
        assert!(text.starts_with("ok    listen backlog: tcp-backlog 511 is granted\n"), "{text}");
        let bad = machine(folder.path(), "0\n", "[always] madvise never\n", "128\n");
        let (text, after) = report(&config, &bad);
        assert_eq!(after, before + 3, "{text}");
        for remedy in
            ["sysctl vm.overcommit_memory=1", "transparent_hugepage/enabled", "net.core.somaxconn=4096"]
        {
            assert!(text.contains(remedy), "{text}");
        }
    }

    #[test]
    fn what_a_machine_does_not_tell_is_no_fault() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let nothing = ProcFs::at(folder.path(), folder.path());
        assert_eq!(overcommit(&Config::default(), &nothing), Verdict::Unknown);
        assert!(matches!(huge_pages(&Config::default(), &nothing), Verdict::Note(_)));
        assert!(check_system(&Config::default()) <= 1);
    }
}
