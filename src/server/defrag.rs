//! Active defragmentation: when it runs, and for how long.
//!
//! ```text
//!  once a second: wasted share and bytes of the data region's blocks above the thresholds?
//!     yes ─► plan: the allocator names slabs to be emptied ─► walk over all keys, in slices
//!             ^                                                      │ end
//!             └──── at once, while it helps and there is more ◄──────┘
//! ```
//! A walk over a million keys takes a tenth of a second. So that whoever looks now and then sees it,
//! it counts as running up to the decision that follows the last walk.
//! The share of the processor grows with the wasted share, from `active-defrag-cycle-min` to `-max`.
//! Slices are short and come after a turn's replies have left. While a child lives nothing moves:
//! every move would copy two of its pages.

use crate::keyspace::{DefragScan, KeyCounts};
use crate::server::Server;
use crate::sys::data_alloc::{self, BLOCK_BYTES, Mover};

/// Longest time of it in one turn of the loop, microseconds: a request waits for no more than that.
const SLICE_US: u64 = 250;
/// Steps between two looks at the clock: a step takes about a microsecond, some up to fifty.
const STEPS_PER_LOOK: usize = 8;
/// Bytes moved between two looks, so that steps over long values are looked at one by one.
const BYTES_PER_LOOK: u64 = 128 << 10;
/// How often fragmentation is looked at, microseconds.
const DECISION_PERIOD_US: u64 = 1_000_000;
/// A walk that lowers the wasted share by less, percent, was in vain.
const GAIN_MIN_PERCENT: u64 = 2;
/// After a walk in vain it has got worse when wasted bytes grew by this part (1 / n).
const WORSE_SHARE: u64 = 8;
/// The next walk after one in vain comes so much later, microseconds, or when it got worse.
const IN_VAIN_PAUSE_US: u64 = 60_000_000;

/// State of it.
#[derive(Default)]
pub struct Defrag {
    scan: Option<DefragScan>,
    /// Share of the processor that it may take now, percent; 0: it does not run.
    pub percent: u64,
    /// What is left of this round's time, microseconds.
    left_us: u64,
    /// Since when it runs, monotonic microseconds.
    since_us: u64,
    next_decision_us: u64,
    /// When a load begins the next round.
    next_loading_round_us: u64,
    /// Wasted share when the present walk began, percent.
    began_percent: u64,
    /// The last walk was in vain: bytes wasted after it, and until when that counts.
    in_vain: Option<(u64, u64)>,
}

/// Bytes of blocks that hold no object, and their share of the objects' bytes, percent.
fn wasted() -> (u64, u64) {
    let stats = data_alloc::stats();
    let live = stats.live_bytes.saturating_sub(stats.mapped_large_bytes) as u64;
    let bytes = ((stats.blocks * BLOCK_BYTES) as u64).saturating_sub(live);
    (bytes, bytes * 100 / live.max(1))
}

impl Server {
    /// Whether a slice is due as soon as replies have left.
    pub fn is_defrag_due(&self) -> bool {
        self.defrag.left_us > 0
    }

    /// Microseconds since it began to run; 0 when it does not.
    pub fn defrag_running_us(&self) -> u64 {
        if self.defrag.percent == 0 {
            return 0;
        }
        self.clock.now_monotonic_us().saturating_sub(self.defrag.since_us)
    }

    /// Once a round of cron: decides, and gives this round its time.
    pub fn defrag_round(&mut self) {
        self.defrag.left_us = 0;
        if !self.config.activedefrag {
            self.defrag.in_vain = None;
            return self.stop_defrag();
        }
        if self.persistence.child_kind().is_some() {
            return;
        }
        let now_us = self.clock.now_monotonic_us();
        if now_us >= self.defrag.next_decision_us {
            self.defrag.next_decision_us = now_us + DECISION_PERIOD_US;
            self.decide_defrag(now_us);
        }
        self.defrag.left_us = 10_000 * self.defrag.percent / u64::from(self.run.hz.max(1));
    }

    fn decide_defrag(&mut self, now_us: u64) {
        let (bytes, percent) = wasted();
        let is_walking = self.defrag.scan.is_some();
        if self.is_defrag_wanted(bytes, percent, now_us) {
            match is_walking {
                // Never less than at first: it ends sooner.
                true => self.defrag.percent = self.defrag.percent.max(self.defrag_share(percent)),
                false => self.begin_defrag_walk(bytes, percent, now_us),
            }
        }
        if self.defrag.scan.is_none() {
            self.stop_defrag();
        }
    }

    /// Whether enough is wasted, and the last walk was not in vain.
    fn is_defrag_wanted(&self, bytes: u64, percent: u64, now_us: u64) -> bool {
        let in_vain = self
            .defrag
            .in_vain
            .is_some_and(|(wasted, until_us)| bytes < wasted + wasted / WORSE_SHARE && now_us < until_us);
        let lower = u64::from(self.config.active_defrag_threshold_lower);
        percent >= lower && bytes > self.config.active_defrag_ignore_bytes as u64 && !in_vain
    }

    fn begin_defrag_walk(&mut self, bytes: u64, percent: u64, now_us: u64) {
        let moving = data_alloc::begin_evacuation(false);
        if moving == 0 {
            // What is wasted lies between objects that are as close as they get.
            data_alloc::end_evacuation();
            self.defrag.in_vain = Some((bytes, now_us + IN_VAIN_PAUSE_US));
            return;
        }
        if self.defrag.percent == 0 {
            self.defrag.since_us = now_us;
        }
        self.defrag.percent = self.defrag.percent.max(self.defrag_share(percent));
        self.defrag.began_percent = percent;
        self.defrag.scan = Some(DefragScan::default());
        log::debug!(
            "Starting active defrag, frag={percent}%, frag_bytes={bytes}, to move={moving}, cpu={}%",
            self.defrag.percent
        );
    }

    /// The share of the processor for a wasted share, percent.
    fn defrag_share(&self, wasted_percent: u64) -> u64 {
        let config = &self.config;
        let (lower, upper) = (
            u64::from(config.active_defrag_threshold_lower),
            u64::from(config.active_defrag_threshold_upper),
        );
        let (min, max) =
            (u64::from(config.active_defrag_cycle_min), u64::from(config.active_defrag_cycle_max));
        if max <= min || wasted_percent <= lower {
            return min;
        }
        if wasted_percent >= upper {
            return max;
        }
        min + (max - min) * (wasted_percent - lower) / (upper - lower)
    }

    /// One slice of the round's time.
    pub fn defrag_slice(&mut self) {
        let left_us = std::mem::take(&mut self.defrag.left_us);
        if self.persistence.child_kind().is_some() {
            return;
        }
        let Some(mut scan) = self.defrag.scan.take() else { return };
        let slice_us = left_us.min(SLICE_US);
        let start_us = self.clock.now_monotonic_us();
        let fields_max = self.config.active_defrag_max_scan_fields;
        let mut mover = Mover::default();
        let (mut more, mut spent_us) = (true, 0);
        while more && spent_us < slice_us {
            let end_bytes = mover.moved_bytes + BYTES_PER_LOOK;
            for _ in 0..STEPS_PER_LOOK {
                more = more && self.keyspace.defrag_step(&mut scan, fields_max, &mut mover);
                if mover.moved_bytes >= end_bytes {
                    break;
                }
            }
            spent_us = self.clock.now_monotonic_us().saturating_sub(start_us);
            // By a clock that stands still a slice ends too.
            spent_us = if spent_us == 0 { slice_us } else { spent_us };
        }
        self.count_defrag(mover, std::mem::take(&mut scan.keys));
        self.note_latency("active-defrag-cycle", spent_us / 1000);
        if more {
            self.defrag.left_us = left_us.saturating_sub(spent_us);
            self.defrag.scan = Some(scan);
        } else {
            self.end_defrag_walk();
        }
    }

    /// While a data set is loaded cron does not run: a round when it is due, and a slice.
    pub fn defrag_while_loading(&mut self) {
        if !self.config.activedefrag {
            return;
        }
        let now_us = self.clock.now_monotonic_us();
        if now_us >= self.defrag.next_loading_round_us {
            self.defrag.next_loading_round_us = now_us + 1_000_000 / u64::from(self.run.hz.max(1));
            self.defrag_round();
        }
        self.defrag_slice();
    }

    fn count_defrag(&mut self, mover: Mover, keys: KeyCounts) {
        let stats = &mut self.stats;
        stats.defrag_hits += mover.moved;
        stats.defrag_misses += mover.kept;
        stats.defrag_key_hits += keys.moved;
        stats.defrag_key_misses += keys.kept;
    }

    fn end_defrag_walk(&mut self) {
        let before = self.defrag.began_percent;
        data_alloc::end_evacuation();
        data_alloc::release_unused();
        let (bytes, percent) = wasted();
        let now_us = self.clock.now_monotonic_us();
        let was_in_vain = percent + GAIN_MIN_PERCENT > before;
        self.defrag.in_vain = was_in_vain.then_some((bytes, now_us + IN_VAIN_PAUSE_US));
        log::debug!("Active defrag done, frag={percent}% (before: {before}%), frag_bytes={bytes}");
        if self.is_defrag_wanted(bytes, percent, now_us) {
            self.begin_defrag_walk(bytes, percent, now_us);
        }
    }

    /// Ends it wherever it is; nothing happens when it does not run.
    fn stop_defrag(&mut self) {
        if self.defrag.percent == 0 {
            return;
        }
        self.stats.defrag_us += self.defrag_running_us();
        data_alloc::end_evacuation();
        data_alloc::release_unused();
        self.defrag.scan = None;
        self.defrag.percent = 0;
    }
}
