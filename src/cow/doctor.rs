//! FORK DOCTOR: what the last fork cost, why, and what to change, in plain words.
//!
//! A pure function of what was recorded and of the machine's settings: each sentence rests on a
//! figure, and advice is given only where a figure asks for it. To add a finding: a function that
//! returns a [`Finding`] or nothing, and its line in [`examine`].

use crate::cow::record::{ForkRecord, ForkState, Killer, kind_name};
use crate::persist::data_pages::{HEADROOM_MIN_BYTES, PageSize, RebuildEnd};
use crate::persist::fork::ChildKind;
use crate::sys::proc::{HugePageMode, MemoryLeft};
use std::collections::VecDeque;

const MB: f64 = 1_048_576.0;
/// Below this much memory the pages of the program itself decide, bytes.
const WORTH_BYTES: u64 = 256 << 20;
/// A fork of data in huge pages is short; beyond this something is amiss, microseconds a GiB.
const SLOW_US_PER_GIB: u64 = 4_000;
/// Time that others had in the middle of a fork and that is worth a word, microseconds.
const WORTH_WAITING_US: u64 = 1_000;
/// Share of the memory in huge pages from which on a fork is as short as it gets, percent.
const GOOD_SHARE_PERCENT: u64 = 80;
/// Writes from which on an average means something.
const WORTH_WRITES: u64 = 1_000;
/// Extra memory a write that is worth a word, bytes.
const MUCH_PER_WRITE_BYTES: u64 = 2_048;
/// Slow replies worth a word, microseconds.
const SLOW_REPLY_US: u64 = 2_000;

/// What the doctor looks at.
#[derive(Debug)]
pub struct Patient<'a> {
    /// Latest last.
    pub records: &'a VecDeque<ForkRecord>,
    pub page_size: &'a PageSize,
    pub memory_left: Option<MemoryLeft>,
    pub expected_bytes: u64,
    pub rss_bytes: u64,
    /// `fork-cow-limit`, 0: none.
    pub cow_limit_bytes: u64,
    /// `vm.overcommit_memory`.
    pub overcommit: Option<u8>,
    pub huge_page_mode: Option<HugePageMode>,
    pub compresses: bool,
}

/// What is wrong, why, and what to do about it.
struct Finding {
    what: String,
    advice: String,
}

/// The whole text, lines end with `\n`.
pub fn examine(patient: &Patient<'_>) -> String {
    let Some(last) = patient.records.back() else { return before_the_first(patient) };
    let mut text = costs(last);
    let findings = [killed(last, patient), memory(last, patient), pages(last, patient), interrupted(last)];
    let findings = findings.into_iter().chain([copying(last, patient), replies(last), overcommit(patient)]);
    let findings: Vec<Finding> = findings.flatten().collect();
    text.push_str(&numbered(&findings));
    if findings.is_empty() {
        text.push_str(if last.is_running() {
            "\nThe child still writes; nothing is wrong so far.\n"
        } else {
            "\nNothing is wrong, and there is nothing to change.\n"
        });
    }
    text
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / MB)
}

fn milliseconds(us: u64) -> String {
    format!("{:.2} ms", us as f64 / 1000.0)
}

fn before_the_first(patient: &Patient<'_>) -> String {
    let (pages, guess_ms) = match patient.page_size {
        PageSize::Huge(_) => ("2 MB", 1.5),
        PageSize::Base(_) => ("4 kB", 25.0),
    };
    let gib = patient.rss_bytes as f64 / f64::from(1 << 30);
    let text = format!(
        "There is no fork to speak of yet. {} are resident and the data lies in pages of {pages}, so that a fork \
         should stop the server for about {:.1} ms.\n",
        megabytes(patient.rss_bytes),
        0.6 + gib * guess_ms
    );
    let small = if let PageSize::Base(reason) = patient.page_size { Some(reason) } else { None };
    let small =
        small.map(|reason| Finding { what: format!("{reason}."), advice: page_advice(reason, patient) });
    let findings = [first_memory(patient), small, overcommit(patient)];
    text + &numbered(&findings.into_iter().flatten().collect::<Vec<_>>())
}

fn numbered(findings: &[Finding]) -> String {
    let numbers = findings.iter().enumerate();
    numbers.fold(String::new(), |text, (number, Finding { what, advice })| {
        text + &format!("\n{}. {what}\n   What to do: {advice}\n", number + 1)
    })
}

/// Before the first fork nobody knows what one needs.
fn first_memory(patient: &Patient<'_>) -> Option<Finding> {
    let left = patient.memory_left.filter(|left| left.bytes < patient.expected_bytes)?;
    let place = place_of(left.is_group);
    Some(Finding {
        what: format!(
            "Memory may not last: the {place} has {} left, and a child beside random writes could need {} (a guess: half \
             of what is resident).",
            megabytes(left.bytes),
            megabytes(patient.expected_bytes)
        ),
        advice: memory_advice(place, patient),
    })
}

fn place_of(is_group: bool) -> &'static str {
    if is_group { "control group" } else { "machine" }
}

fn memory_advice(place: &str, patient: &Patient<'_>) -> String {
    let limit = match patient.cow_limit_bytes {
        0 => "set fork-cow-limit so that a child ends before memory does",
        _ => "keep fork-cow-limit below what is left",
    };
    format!("Lower maxmemory or give the {place} more memory, save when fewer writes come, and {limit}.")
}

/// What the last fork cost: facts only.
fn costs(last: &ForkRecord) -> String {
    let mut text = format!(
        "Fork {} ({}, {}) stopped the server for {}; {} were resident",
        last.id,
        kind_name(last.kind),
        last.state.name(),
        milliseconds(last.fork_us),
        megabytes(last.rss_bytes),
    );
    // Of little memory the part that every fork costs is the most.
    text.push_str(&match last.rss_bytes {
        WORTH_BYTES.. => format!(", that is {} for each GiB.\n", milliseconds(last.fork_us_per_gib())),
        _ => ".\n".to_owned(),
    });
    let lived = if last.is_running() { "has lived for" } else { "lived for" };
    text.push_str(&format!(
        "Its child {lived} {:.2} s and wrote {} of {} keys. ",
        last.duration_ms as f64 / 1000.0,
        last.keys_done,
        last.keys_total
    ));
    text.push_str(&match last.writes {
        0 => format!("No write came meanwhile; {} of extra memory were in use.\n", megabytes(last.extra_peak_bytes)),
        writes => format!(
            "{writes} writes came meanwhile: at most {} were copied for them ({} bytes a write), and at most {} of \
             extra memory were in use at one time ({} bytes a write).\n",
            megabytes(last.copied_bytes()),
            last.copied_bytes() / writes,
            megabytes(last.extra_peak_bytes),
            last.extra_peak_bytes / writes
        ),
    });
    if last.during.max_us > 0 {
        text.push_str(&format!(
            "The server answered within {} at worst and {} in 999 of 1000 cases; before the fork it was {}.\n",
            milliseconds(last.during.max_us),
            milliseconds(last.during.p999_us),
            milliseconds(last.before.p999_us)
        ));
    }
    text
}

fn killed(last: &ForkRecord, patient: &Patient<'_>) -> Option<Finding> {
    let ForkState::Failed(reason) = &last.state else { return None };
    let least = last.headroom_min_bytes.map_or("an unknown amount".to_owned(), megabytes);
    let loss = loss_of(last.kind);
    let (what, advice) = match last.killer {
        Killer::OutOfMemory(_) => (
            format!(
                "The kernel killed the child because memory had run out: it counts one more process killed for that, \
                 and {least} was the least that could still be had while the child lived. {loss}"
            ),
            format!(
                "Leave at least {} free beside the data (a lower maxmemory, more memory), save when fewer writes come, \
                 or set fork-cow-limit: then the child ends before the kernel chooses whom to kill.",
                megabytes(patient.expected_bytes.max(last.extra_peak_bytes))
            ),
        ),
        Killer::Server if reason.contains("fork-cow-limit") => (
            format!("The server killed the child itself: {reason}. {loss}"),
            format!(
                "Raise fork-cow-limit (now {}) if there is more memory, or save when fewer writes come.",
                megabytes(patient.cow_limit_bytes)
            ),
        ),
        Killer::Server => (
            format!("The server killed the child itself: {reason}. {loss}"),
            "Look at the disk: a child that makes no progress waits for it. fork-child-timeout is the limit."
                .to_owned(),
        ),
        Killer::Signal(signal) => (
            format!(
                "The child was ended by signal {signal} from outside; this server did not send it, and the kernel does \
                 not count a process killed for want of memory. {loss}"
            ),
            "Find out who sends it: a supervisor, a script, the log of the kernel (dmesg).".to_owned(),
        ),
        Killer::Nobody => (
            format!("The child failed: {reason}. {loss}"),
            "Mend what the reason names; the next save tries again.".to_owned(),
        ),
    };
    Some(Finding { what, advice })
}

fn loss_of(kind: ChildKind) -> &'static str {
    match kind {
        ChildKind::Snapshot => "Nothing was saved; the snapshot before, if there is one, is as it was.",
        ChildKind::AofRewrite => "The log was not rewritten: it is whole, but goes on growing.",
        ChildKind::Replication => "The replicas got nothing and will ask again.",
    }
}

fn memory(last: &ForkRecord, patient: &Patient<'_>) -> Option<Finding> {
    if matches!(last.killer, Killer::OutOfMemory(_)) {
        return None; // Said already.
    }
    let before = last.headroom_before_bytes?;
    let least = last.headroom_min_bytes.unwrap_or(before);
    let stopped_rebuild = last.rebuild_end() == RebuildEnd::MemoryShort;
    if before >= last.headroom_wanted_bytes && least >= HEADROOM_MIN_BYTES && !stopped_rebuild {
        return None;
    }
    let place = place_of(last.headroom_is_group);
    let mut what = format!(
        "Memory is short: when the child was forked the {place} had {} left, {} at the least while it lived, and {} \
         were to be expected.",
        megabytes(before),
        megabytes(least),
        megabytes(last.headroom_wanted_bytes)
    );
    if stopped_rebuild {
        what.push_str(" The rebuild of huge pages stopped for it, so the next fork takes longer.");
    }
    Some(Finding { what, advice: memory_advice(place, patient) })
}

fn pages(last: &ForkRecord, patient: &Patient<'_>) -> Option<Finding> {
    if last.rss_bytes < WORTH_BYTES {
        return None;
    }
    if !last.huge_pages {
        return small_pages(last, patient);
    }
    let share = last.huge_share_percent()?;
    if share >= GOOD_SHARE_PERCENT || last.fork_us_per_gib() <= SLOW_US_PER_GIB {
        return (last.rebuild_end() != RebuildEnd::MemoryShort).then(|| refused_rebuild(last)).flatten();
    }
    let previous = patient.records.iter().rev().nth(1);
    let (why, advice) = split_pages(previous, last);
    let what = format!(
        "Only {share} % of the memory lay in pages of 2 MB at the fork, so it took longer than it must: {why}."
    );
    Some(Finding { what, advice })
}

/// The kernel gave the processor to others in the middle of the fork.
fn interrupted(last: &ForkRecord) -> Option<Finding> {
    let waited_us = last.fork_us.saturating_sub(last.fork_cpu_us);
    (waited_us >= WORTH_WAITING_US && waited_us > last.fork_cpu_us).then(|| Finding {
        what: format!(
            "Of the {} that the fork took it was at work for {}; the rest others had the processor.",
            milliseconds(last.fork_us),
            milliseconds(last.fork_cpu_us)
        ),
        advice: "Keep other programs off the server's processor: fewer of them, CPUAffinity= or a higher priority \
                 (Nice=-10) in its systemd unit."
            .to_owned(),
    })
}

fn small_pages(last: &ForkRecord, patient: &Patient<'_>) -> Option<Finding> {
    let PageSize::Base(reason) = patient.page_size else { return None };
    let entries = last.rss_bytes / 4096;
    Some(Finding {
        what: format!(
            "The data lies in pages of 4 kB ({reason}), so the fork had {entries} entries of page tables to copy: {} \
             for each GiB. In pages of 2 MB it is one to two milliseconds.",
            milliseconds(last.fork_us_per_gib())
        ),
        advice: page_advice(reason, patient),
    })
}

fn page_advice(reason: &str, patient: &Patient<'_>) -> String {
    if reason.starts_with("fork-huge-pages no") {
        return "CONFIG SET fork-huge-pages auto.".to_owned();
    }
    if patient.huge_page_mode == Some(HugePageMode::Never) {
        return "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, then CONFIG SET fork-huge-pages auto."
            .to_owned();
    }
    if reason.contains("copies 2 MB") {
        return "Run a kernel from Linux 5.8 on (6.1 for the rebuild after each child).".to_owned();
    }
    "CONFIG SET fork-huge-pages auto tries the kernel again; memory in pieces is joined by echo 1 > \
     /proc/sys/vm/compact_memory."
        .to_owned()
}

/// Why there were few huge pages, by what became of the rebuild before.
fn split_pages(previous: Option<&ForkRecord>, last: &ForkRecord) -> (String, String) {
    let end = previous.map_or(RebuildEnd::Never, ForkRecord::rebuild_end);
    match end {
        RebuildEnd::Interrupted => (
            format!("the rebuild after the fork before was interrupted by fork {}", last.id),
            "Leave more time between saves: the rebuild works on a fifth of one core, some two seconds a GiB.".to_owned(),
        ),
        RebuildEnd::MemoryShort => (
            "the rebuild after the fork before stopped for want of memory".to_owned(),
            "Lower maxmemory or give the server more memory.".to_owned(),
        ),
        RebuildEnd::Refused(errno) => (format!("the kernel refused to rebuild them ({})", cause(errno)), refusal_advice(errno)),
        RebuildEnd::Complete | RebuildEnd::Never => (
            "the rest are values above 1 MiB, memory outside of the data, or pages that were split since".to_owned(),
            "FORK TIMELINE shows huge_pages_bytes; a rebuild follows after this child.".to_owned(),
        ),
    }
}

fn refused_rebuild(last: &ForkRecord) -> Option<Finding> {
    let RebuildEnd::Refused(errno) = last.rebuild_end() else { return None };
    Some(Finding {
        what: format!(
            "After the child the kernel refused to put the huge pages together again ({}), so the next fork takes longer.",
            cause(errno)
        ),
        advice: refusal_advice(errno),
    })
}

fn cause(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

fn refusal_advice(errno: i32) -> String {
    match errno {
        libc::EINVAL => "MADV_COLLAPSE is there from Linux 6.1 on: run such a kernel.".to_owned(),
        _ => {
            "Memory is in pieces: echo 1 > /proc/sys/vm/compact_memory, or leave more of it free.".to_owned()
        }
    }
}

fn copying(last: &ForkRecord, patient: &Patient<'_>) -> Option<Finding> {
    let per_write = last.extra_per_write().filter(|_| last.writes >= WORTH_WRITES && !last.is_running())?;
    if per_write <= MUCH_PER_WRITE_BYTES {
        return None;
    }
    let busy_ms = last.child_user_ms + last.child_system_ms;
    let busy_percent = (busy_ms * 100).checked_div(last.duration_ms).unwrap_or(0).min(100);
    let advice = match busy_percent {
        0..60 => format!(
            "The child worked for {busy_percent} % of its time and waited for the disk or a processor otherwise: give \
             it a faster disk or a processor of its own."
        ),
        _ if patient.compresses => {
            format!(
                "The child worked for {busy_percent} % of its time: with rdbcompression no it is done sooner."
            )
        }
        _ => format!("The child worked for {busy_percent} % of its time: save when fewer writes come."),
    };
    Some(Finding {
        what: format!(
            "Each write beside the child cost {per_write} bytes of extra memory at the peak: writes to random keys \
             copy a page of 4096 bytes each, until the child has saved that page. The longer it lives, the more."
        ),
        advice,
    })
}

fn replies(last: &ForkRecord) -> Option<Finding> {
    let (before_us, during_us) = (last.before.p999_us, last.during.p999_us);
    if during_us < SLOW_REPLY_US || during_us < before_us.max(1) * 4 {
        return None;
    }
    let pause_share = last.fork_us * 100 / last.during.max_us.max(1);
    let is_short = last.headroom_min_bytes.is_some_and(|least| least < HEADROOM_MIN_BYTES);
    let (why, advice) = if pause_share >= 50 {
        ("mostly the fork itself", "Shorten the fork: see the page sizes above and INFO fork.")
    } else if is_short {
        (
            "not the fork itself: with so little memory left the kernel must free a page before it can copy one",
            "See above: memory comes first.",
        )
    } else {
        (
            "not the fork itself but what runs beside it: the child and the copying of pages want processors and memory \
             too",
            "Give the machine a processor more than the server needs, and look at delay_max_us in FORK TIMELINE.",
        )
    };
    Some(Finding {
        what: format!(
            "Beside the child one reply in a thousand took more than {}, before it {}: {why}.",
            milliseconds(during_us),
            milliseconds(before_us)
        ),
        advice: advice.to_owned(),
    })
}

fn overcommit(patient: &Patient<'_>) -> Option<Finding> {
    // The kernel guesses by the memory of the machine; a control group has no say in it.
    let is_tight = patient.memory_left.is_some_and(|left| !left.is_group && left.bytes <= patient.rss_bytes);
    let what = match patient.overcommit? {
        0 if is_tight => {
            "vm.overcommit_memory is 0 and less is free than the server uses: the kernel may refuse a fork although the \
             child would share nearly everything."
        }
        2 => {
            "vm.overcommit_memory is 2: the kernel sets memory aside for a whole second copy of the data at each fork, and \
             refuses a fork for which it cannot, although the child would share nearly everything."
        }
        _ => return None,
    };
    Some(Finding {
        what: what.to_owned(),
        advice: "sysctl vm.overcommit_memory=1, and a line in /etc/sysctl.conf.".to_owned(),
    })
}
