//! Medians, spreads and percentiles of what was measured.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Longest latency told apart, microseconds.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Middle and ends of some values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    /// `None` where there is no value. The median of an even number is the mean of the middle two.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Spread { median, low, high })
    }
}

/// Latencies of a stretch of time, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    pub count: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl Latency {
    /// Of samples (due, latency; both microseconds) that were due from `from_us` until before `to_us`.
    pub fn between(samples: &[(u32, u32)], from_us: i64, to_us: i64) -> Latency {
        let mut histogram =
            Histogram::<u64>::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are valid constants");
        let inside = samples.iter().filter(|(due, _)| (from_us..to_us).contains(&i64::from(*due)));
        inside.for_each(|(_, latency)| histogram.saturating_record(u64::from(*latency)));
        let at = |percentile: f64| histogram.value_at_percentile(percentile) as f64;
        match histogram.len() {
            0 => Latency::default(),
            count => Latency {
                count,
                p50_us: at(50.0),
                p99_us: at(99.0),
                p999_us: at(99.9),
                max_us: histogram.max() as f64,
            },
        }
    }

    pub fn to_json(self) -> Value {
        json!([self.count, self.p50_us, self.p99_us, self.p999_us, self.max_us])
    }

    pub fn from_json(value: &Value) -> Latency {
        let at = |index: usize| value[index].as_f64().unwrap_or(0.0);
        Latency { count: at(0) as u64, p50_us: at(1), p99_us: at(2), p999_us: at(3), max_us: at(4) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Latency, Spread};

    #[test]
    fn the_middle_and_the_ends() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN]), None);
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, low: 1.0, high: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { median: 2.5, low: 1.0, high: 4.0 }));
    }

    #[test]
    fn latencies_count_where_they_were_due() {
        let samples: Vec<(u32, u32)> = (0..1000).map(|n| (n * 10, if n < 500 { 100 } else { n })).collect();
        let early = Latency::between(&samples, 0, 5000);
        assert_eq!((early.count, early.p50_us, early.max_us), (500, 100.0, 100.0));
        let late = Latency::between(&samples, 5000, 1_000_000);
        assert_eq!((late.count, late.max_us), (500, 999.0));
        assert!((late.p99_us - 994.0).abs() <= 1.0 && late.p999_us >= late.p99_us, "{late:?}");
        assert_eq!(Latency::between(&samples, -5, 0), Latency::default());
        assert_eq!(Latency::from_json(&late.to_json()), late);
    }
}
