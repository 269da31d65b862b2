//! Facts of the machine that a reader needs to judge the figures.

use crate::sys::info::{online_processors, page_size_bytes, total_memory_bytes};
use crate::sys::proc::ProcFs;
use crate::tools::lab::chart::scale::Unit;
use std::fs;

/// Settings of the kernel that change what a fork costs.
const SETTINGS: [(&str, &str); 9] = [
    ("huge pages: enabled", "/sys/kernel/mm/transparent_hugepage/enabled"),
    ("huge pages: defrag", "/sys/kernel/mm/transparent_hugepage/defrag"),
    ("khugepaged: pages_to_scan", "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan"),
    (
        "khugepaged: scan_sleep_millisecs",
        "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs",
    ),
    ("khugepaged: max_ptes_none", "/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none"),
    ("vm.overcommit_memory", "/proc/sys/vm/overcommit_memory"),
    ("vm.swappiness", "/proc/sys/vm/swappiness"),
    ("clock source", "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ("control group: memory.max", "/sys/fs/cgroup/memory.max"),
];

/// Names and values; what the machine does not tell is left out.
pub fn facts() -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let mut facts = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        facts.extend(value.filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value)));
    };
    add("kernel", read("/proc/sys/kernel/osrelease").map(|release| format!("Linux {release}")));
    add("processors", Some(processors(&read("/proc/cpuinfo").unwrap_or_default())));
    add("memory", Some(Unit::Bytes.text(total_memory_bytes() as f64)));
    let available = ProcFs::system().meminfo().ok().map(|memory| Unit::Bytes.text(memory.available as f64));
    add("memory available before", available);
    add("page size", Some(Unit::Bytes.text(page_size_bytes() as f64)));
    for (name, path) in SETTINGS {
        add(name, read(path));
    }
    facts
}

/// `2 x Some Processor 3000`.
fn processors(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("processors", |(_, model)| model.trim());
    format!("{} x {model}", online_processors())
}

#[cfg(test)]
mod tests {
    use super::{facts, processors};

    #[test]
    fn the_machine_has_a_kernel_and_memory() {
        let facts = facts();
        for name in ["kernel", "memory", "page size"] {
            assert!(
                facts.iter().any(|(known, value)| known == name && !value.is_empty()),
                "{name}: {facts:?}"
            );
        }
        assert!(processors("model name\t: Alpha 1\nmodel name\t: Alpha 1\n").ends_with(" x Alpha 1"));
    }
}
