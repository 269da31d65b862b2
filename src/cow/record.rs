//! What is known of one fork, and its figures under the names that FORK, its JSON and INFO share.
//!
//! To add a figure: a field, and a line in one of the functions below [`ForkRecord::figures`].

use crate::cow::delays::Delays;
use crate::cow::timeline::Timeline;
use crate::persist::data_pages::{RebuildEnd, RebuildFigures};
use crate::persist::fork::ChildKind;

const GIB: u128 = 1 << 30;

/// How the child fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForkState {
    #[default]
    Running,
    Done,
    Cancelled,
    /// Why, for people.
    Failed(String),
}

impl ForkState {
    pub fn name(&self) -> &'static str {
        match self {
            ForkState::Running => "running",
            ForkState::Done => "done",
            ForkState::Cancelled => "cancelled",
            ForkState::Failed(_) => "failed",
        }
    }
}

/// Why a child was killed, as far as that can be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Killer {
    #[default]
    Nobody,
    /// `fork-cow-limit` or `fork-child-timeout`: the reason says which.
    Server,
    /// This signal came from outside; the kernel's count of processes killed for memory has risen
    /// meanwhile.
    OutOfMemory(i32),
    /// This signal came from outside.
    Signal(i32),
}

/// A figure, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    Count(i64),
    /// Not measured: null in JSON, -1 elsewhere.
    Unknown,
    Ratio(f64),
    Text(String),
}

impl From<u64> for Figure {
    fn from(count: u64) -> Self {
        Figure::Count(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Figure {
    fn from(count: i64) -> Self {
        Figure::Count(count)
    }
}

impl From<Option<u64>> for Figure {
    fn from(count: Option<u64>) -> Self {
        count.map_or(Figure::Unknown, Figure::from)
    }
}

impl From<&str> for Figure {
    fn from(text: &str) -> Self {
        Figure::Text(text.to_owned())
    }
}

/// Names and figures, in order.
pub type Figures = Vec<(&'static str, Figure)>;

/// A fork. Bytes, microseconds or counts, as the names say.
#[derive(Clone, Debug)]
pub struct ForkRecord {
    /// Counts the forks of this process from 1.
    pub id: u64,
    pub kind: ChildKind,
    pub pid: i32,
    pub state: ForkState,
    pub killer: Killer,
    /// Unix ms.
    pub started_ms: u64,
    pub duration_ms: u64,
    /// The data asked for huge pages.
    pub huge_pages: bool,
    pub fork_us: u64,
    /// The part of it in which the fork was at work and not waiting for a processor.
    pub fork_cpu_us: u64,
    /// Resident set of the parent at the fork.
    pub rss_bytes: u64,
    pub page_tables_before_bytes: Option<u64>,
    pub page_tables_after_bytes: Option<u64>,
    pub huge_before_bytes: Option<u64>,
    pub huge_after_bytes: Option<u64>,
    pub keys_total: u64,
    pub keys_done: u64,
    /// Written by the child.
    pub file_bytes: u64,
    /// Commands, calls of write commands, bytes received and minor faults since the fork, until the
    /// child ended.
    pub commands: u64,
    pub writes: u64,
    pub input_bytes: u64,
    pub minor_faults: u64,
    /// Private memory of the child, by its own report: now, most, and for the mean.
    pub cow_bytes: u64,
    pub cow_peak_bytes: u64,
    pub cow_sum_bytes: u128,
    pub cow_samples: u64,
    pub cow_age_ms: Option<u64>,
    /// What the parent's resident set has grown by since the fork.
    pub growth_bytes: i64,
    pub growth_peak_bytes: i64,
    pub parent_private_bytes: Option<u64>,
    pub parent_age_ms: Option<u64>,
    pub extra_peak_bytes: u64,
    pub rewrite_buffer_peak_bytes: u64,
    pub final_step_us: Option<u64>,
    /// Memory that could still be had: at the fork, and least while the child lived.
    pub headroom_before_bytes: Option<u64>,
    pub headroom_min_bytes: Option<u64>,
    pub headroom_is_group: bool,
    /// What was expected to be needed.
    pub headroom_wanted_bytes: u64,
    pub child_user_ms: u64,
    pub child_system_ms: u64,
    /// What observing cost: main's time, the helper thread's, the child's.
    pub observer_main_us: u64,
    pub observer_thread_us: u64,
    pub observer_child_us: u64,
    pub before: Delays,
    pub during: Delays,
    pub after: Delays,
    /// Of the huge pages, after this child.
    pub rebuild: Option<RebuildFigures>,
    pub timeline: Timeline,
}

impl ForkRecord {
    /// A fork just made, of which nothing else is known yet.
    pub fn new(id: u64, kind: ChildKind, pid: i32) -> Self {
        ForkRecord {
            id,
            kind,
            pid,
            state: ForkState::Running,
            killer: Killer::Nobody,
            started_ms: 0,
            duration_ms: 0,
            huge_pages: false,
            fork_us: 0,
            fork_cpu_us: 0,
            rss_bytes: 0,
            page_tables_before_bytes: None,
            page_tables_after_bytes: None,
            huge_before_bytes: None,
            huge_after_bytes: None,
            keys_total: 0,
            keys_done: 0,
            file_bytes: 0,
            commands: 0,
            writes: 0,
            input_bytes: 0,
            minor_faults: 0,
            cow_bytes: 0,
            cow_peak_bytes: 0,
            cow_sum_bytes: 0,
            cow_samples: 0,
            cow_age_ms: None,
            growth_bytes: 0,
            growth_peak_bytes: 0,
            parent_private_bytes: None,
            parent_age_ms: None,
            extra_peak_bytes: 0,
            rewrite_buffer_peak_bytes: 0,
            final_step_us: None,
            headroom_before_bytes: None,
            headroom_min_bytes: None,
            headroom_is_group: false,
            headroom_wanted_bytes: 0,
            child_user_ms: 0,
            child_system_ms: 0,
            observer_main_us: 0,
            observer_thread_us: 0,
            observer_child_us: 0,
            before: Delays::default(),
            during: Delays::default(),
            after: Delays::default(),
            rebuild: None,
            timeline: Timeline::default(),
        }
    }

    pub fn is_running(&self) -> bool {
        self.state == ForkState::Running
    }

    /// Microseconds that the fork took for each GiB of the parent's resident set.
    pub fn fork_us_per_gib(&self) -> u64 {
        (u128::from(self.fork_us) * GIB / u128::from(self.rss_bytes.max(1))) as u64
    }

    /// Most that copy-on-write can have copied: each minor fault copies a page, or less.
    pub fn copied_bytes(&self) -> u64 {
        self.minor_faults * PAGE_BYTES
    }

    /// Mean of the child's private memory.
    pub fn cow_average_bytes(&self) -> u64 {
        (self.cow_sum_bytes / u128::from(self.cow_samples.max(1))) as u64
    }

    /// Memory in use because of the child, beyond what there was at the fork.
    pub fn extra_bytes(&self) -> u64 {
        self.cow_bytes.saturating_add_signed(self.growth_bytes.max(0))
    }

    /// The most of it for each write.
    pub fn extra_per_write(&self) -> Option<u64> {
        self.extra_peak_bytes.checked_div(self.writes)
    }

    /// Share of the parent's memory that lay in huge pages at the fork, percent.
    pub fn huge_share_percent(&self) -> Option<u64> {
        self.huge_before_bytes.map(|huge| huge * 100 / self.rss_bytes.max(1))
    }

    /// Everything under its name.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::with_capacity(80);
        self.add_identity(&mut figures);
        self.add_pause(&mut figures);
        self.add_work(&mut figures);
        self.add_copies(&mut figures);
        self.add_memory(&mut figures);
        self.add_costs(&mut figures);
        add_delays(&mut figures, &BEFORE, self.before);
        add_delays(&mut figures, &DURING, self.during);
        add_delays(&mut figures, &AFTER, self.after);
        self.add_rebuild(&mut figures);
        figures.push(("samples", (self.timeline.samples().len() as u64).into()));
        figures
    }

    fn add_identity(&self, figures: &mut Figures) {
        let reason = if let ForkState::Failed(reason) = &self.state { reason.as_str() } else { "" };
        figures.extend([
            ("id", self.id.into()),
            ("kind", kind_name(self.kind).into()),
            ("pid", Figure::Count(i64::from(self.pid))),
            ("state", self.state.name().into()),
            ("reason", reason.into()),
            ("started_ms", self.started_ms.into()),
            ("duration_ms", self.duration_ms.into()),
            ("page_size", if self.huge_pages { "2m" } else { "4k" }.into()),
        ]);
    }

    fn add_pause(&self, figures: &mut Figures) {
        figures.extend([
            ("fork_us", self.fork_us.into()),
            ("fork_cpu_us", self.fork_cpu_us.into()),
            ("fork_us_per_gib", self.fork_us_per_gib().into()),
            ("rss_bytes", self.rss_bytes.into()),
            ("page_tables_before_bytes", self.page_tables_before_bytes.into()),
            ("page_tables_after_bytes", self.page_tables_after_bytes.into()),
            ("huge_pages_before_bytes", self.huge_before_bytes.into()),
            ("huge_pages_after_bytes", self.huge_after_bytes.into()),
        ]);
    }

    fn add_work(&self, figures: &mut Figures) {
        let percent = self.keys_done as f64 * 100.0 / self.keys_total.max(1) as f64;
        figures.extend([
            ("keys_total", self.keys_total.into()),
            ("keys_done", self.keys_done.into()),
            ("keys_per_s", (self.keys_done * 1000).checked_div(self.duration_ms).into()),
            ("file_bytes", self.file_bytes.into()),
            ("progress_perc", Figure::Ratio(percent.min(100.0))),
        ]);
    }

    fn add_copies(&self, figures: &mut Figures) {
        let copied = self.copied_bytes();
        let per_input_byte = if self.input_bytes == 0 {
            Figure::Unknown
        } else {
            Figure::Ratio(copied as f64 / self.input_bytes as f64)
        };
        figures.extend([
            ("commands", self.commands.into()),
            ("writes", self.writes.into()),
            ("input_bytes", self.input_bytes.into()),
            ("minor_faults", self.minor_faults.into()),
            ("copied_bytes", copied.into()),
            ("copied_per_write", copied.checked_div(self.writes).into()),
            ("copied_per_input_byte", per_input_byte),
            ("cow_bytes", self.cow_bytes.into()),
            ("cow_peak_bytes", self.cow_peak_bytes.into()),
            ("cow_average_bytes", self.cow_average_bytes().into()),
            ("cow_age_ms", self.cow_age_ms.into()),
        ]);
    }

    fn add_memory(&self, figures: &mut Figures) {
        figures.extend([
            ("parent_growth_bytes", self.growth_bytes.into()),
            ("parent_growth_peak_bytes", self.growth_peak_bytes.into()),
            ("parent_private_bytes", self.parent_private_bytes.into()),
            ("parent_age_ms", self.parent_age_ms.into()),
            ("extra_bytes", self.extra_bytes().into()),
            ("extra_peak_bytes", self.extra_peak_bytes.into()),
            ("extra_per_write", self.extra_per_write().into()),
            ("rewrite_buffer_peak_bytes", self.rewrite_buffer_peak_bytes.into()),
            ("final_step_us", self.final_step_us.into()),
            ("headroom_before_bytes", self.headroom_before_bytes.into()),
            ("headroom_min_bytes", self.headroom_min_bytes.into()),
            ("headroom_of", if self.headroom_is_group { "cgroup" } else { "machine" }.into()),
            ("headroom_wanted_bytes", self.headroom_wanted_bytes.into()),
        ]);
    }

    fn add_costs(&self, figures: &mut Figures) {
        figures.extend([
            ("child_user_ms", self.child_user_ms.into()),
            ("child_system_ms", self.child_system_ms.into()),
            ("observer_main_us", self.observer_main_us.into()),
            ("observer_thread_us", self.observer_thread_us.into()),
            ("observer_child_us", self.observer_child_us.into()),
        ]);
    }

    fn add_rebuild(&self, figures: &mut Figures) {
        let rebuild = self.rebuild.unwrap_or_default();
        let name = if rebuild.running { "running" } else { rebuild.last_end.name() };
        figures.extend([
            ("rebuild", name.into()),
            ("rebuild_blocks", rebuild.blocks.into()),
            ("rebuild_refused", rebuild.refused.into()),
            ("rebuild_us", rebuild.duration_us.into()),
            ("rebuild_work_us", rebuild.work_us.into()),
            ("rebuild_longest_us", rebuild.longest_us.into()),
        ]);
    }

    /// How the rebuild of the huge pages after this child ended.
    pub fn rebuild_end(&self) -> RebuildEnd {
        self.rebuild.map_or(RebuildEnd::Never, |rebuild| rebuild.last_end)
    }
}

/// Bytes that a fault copies. Larger pages of other machines would only make this figure too small.
const PAGE_BYTES: u64 = 4096;

const BEFORE: [&str; 4] =
    ["delay_before_p50_us", "delay_before_p99_us", "delay_before_p999_us", "delay_before_max_us"];
const DURING: [&str; 4] =
    ["delay_during_p50_us", "delay_during_p99_us", "delay_during_p999_us", "delay_during_max_us"];
const AFTER: [&str; 4] =
    ["delay_after_p50_us", "delay_after_p99_us", "delay_after_p999_us", "delay_after_max_us"];

fn add_delays(figures: &mut Figures, names: &[&'static str; 4], delays: Delays) {
    let values = [delays.p50_us, delays.p99_us, delays.p999_us, delays.max_us];
    figures.extend(names.iter().zip(values).map(|(name, value)| (*name, value.into())));
}

/// The word for a kind of child.
pub fn kind_name(kind: ChildKind) -> &'static str {
    match kind {
        ChildKind::Snapshot => "rdb",
        ChildKind::AofRewrite => "aof-rewrite",
        ChildKind::Replication => "replication",
    }
}
