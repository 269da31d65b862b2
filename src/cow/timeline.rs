//! The time line of one fork: figures ten times a second or rarer, bounded.
//!
//! ```text
//!  at_ms   -2000 ........ 0 ............ end ............ end + 10 s
//!          before         fork, child    rebuild, clients after it
//! ```
//! A full time line drops every second sample and takes new ones half as often; the longest delay of a
//! dropped sample goes to the next one, so that no peak is lost.

/// Samples kept of a fork.
pub const SAMPLES_MAX: usize = 256;
/// Figures in a sample.
pub const FIELDS: usize = 16;
/// Their names, in order. The first four after `at_ms` count since the fork; -1 is "not known".
pub const FIELD_NAMES: [&str; FIELDS] = [
    "at_ms",
    "commands",
    "writes",
    "input_bytes",
    "minor_faults",
    "parent_rss_bytes",
    "parent_private_bytes",
    "huge_pages_bytes",
    "page_tables_bytes",
    "cow_bytes",
    "keys_done",
    "file_bytes",
    "rewrite_buffer_bytes",
    "headroom_bytes",
    "delay_max_us",
    "delay_p99_us",
];
const AT_MS: usize = 0;
const DELAY_MAX: usize = 14;
const DELAY_P99: usize = 15;

/// Figures in the order of [`FIELD_NAMES`].
pub type Sample = [i64; FIELDS];

/// See the header.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    samples: Vec<Sample>,
    /// Samples come no closer than this, ms.
    interval_ms: i64,
    /// Delays of samples that were not taken: maximum, 99th percentile.
    carried: (i64, i64),
}

impl Timeline {
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Adds a sample, later than all before it.
    pub fn push(&mut self, mut sample: Sample) {
        self.carry(&sample);
        let last_ms = self.samples.last().map(|last| last[AT_MS]);
        if last_ms.is_some_and(|last_ms| sample[AT_MS] < last_ms + self.interval_ms) {
            return;
        }
        (sample[DELAY_MAX], sample[DELAY_P99]) = std::mem::take(&mut self.carried);
        if self.samples.len() == SAMPLES_MAX {
            self.thin();
        }
        self.samples.push(sample);
    }

    fn carry(&mut self, sample: &Sample) {
        self.carried.0 = self.carried.0.max(sample[DELAY_MAX]);
        self.carried.1 = self.carried.1.max(sample[DELAY_P99]);
    }

    /// Keeps the second of each pair.
    fn thin(&mut self) {
        let kept = self.samples.chunks_exact(2).map(|pair| {
            let mut kept = pair[1];
            for field in [DELAY_MAX, DELAY_P99] {
                kept[field] = kept[field].max(pair[0][field]);
            }
            kept
        });
        self.samples = kept.collect();
        let span_ms = self.samples.last().map_or(0, |last| last[AT_MS] - self.samples[0][AT_MS]);
        // A tenth is left for a clock that is a little early.
        self.interval_ms = span_ms * 9 / (10 * self.samples.len().max(1) as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::{DELAY_MAX, FIELDS, SAMPLES_MAX, Timeline};

    #[test]
    fn a_full_time_line_thins_out_and_keeps_its_peaks() {
        let mut timeline = Timeline::default();
        for number in 0..20_000_i64 {
            let mut sample = [0; FIELDS];
            sample[0] = number * 100;
            sample[DELAY_MAX] = if number == 7777 { 99 } else { 1 };
            timeline.push(sample);
        }
        let samples = timeline.samples();
        assert!((SAMPLES_MAX / 4..=SAMPLES_MAX).contains(&samples.len()), "{}", samples.len());
        assert!(samples.windows(2).all(|pair| pair[0][0] < pair[1][0]));
        assert_eq!(samples.iter().filter(|sample| sample[DELAY_MAX] == 99).count(), 1);
        let gaps: Vec<i64> = samples.windows(2).map(|pair| pair[1][0] - pair[0][0]).collect();
        let (least, most) = (gaps.iter().min(), gaps.iter().max());
        assert!(most <= least.map(|least| least * 3).as_ref(), "{least:?} to {most:?}");
    }
}
