//! Values to pixels, and where the ticks are.

/// What a value is: its text, and the steps that look round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Microseconds,
    Milliseconds,
    Seconds,
    /// Requests a second.
    PerSecond,
    Number,
}

/// Widest a scale is stretched when all values are 0.
const EMPTY_HIGH: f64 = 1.0;

impl Unit {
    /// The value as text, with about three digits: `1.5 GiB`, `12 ms`, `20 k/s`.
    pub fn text(self, value: f64) -> String {
        if !value.is_finite() {
            return "?".to_owned();
        }
        match self {
            Unit::Bytes => scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"]),
            Unit::Microseconds => scaled(value, 1000.0, &["µs", "ms", "s"]),
            Unit::Milliseconds => scaled(value * 1000.0, 1000.0, &["µs", "ms", "s"]),
            Unit::Seconds if value >= 1.0 => format!("{} s", digits(value)),
            Unit::Seconds => scaled(value * 1e6, 1000.0, &["µs", "ms", "s"]),
            Unit::PerSecond => format!("{}/s", scaled(value, 1000.0, &["", "k", "M"]).replace(' ', "")),
            Unit::Number => scaled(value, 1000.0, &["", "k", "M", "G"]).replace(' ', ""),
        }
    }
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let (mut value, mut unit) = (value, 0);
    while value.abs() >= base * 0.9995 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    format!("{} {}", digits(value), units[unit]).trim_end().to_owned()
}

fn digits(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.095 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A range of values on a range of pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    from_px: f64,
    to_px: f64,
    is_log: bool,
}

impl Scale {
    /// From 0 to a round number above `high`.
    pub fn linear(high: f64, unit: Unit, ticks: usize, from_px: f64, to_px: f64) -> Scale {
        let high = if high > 0.0 && high.is_finite() { high } else { EMPTY_HIGH };
        let step = step(high, unit, ticks);
        Scale { low: 0.0, high: (high / step).ceil() * step, from_px, to_px, is_log: false }
    }

    /// Exactly from `low` to `high`.
    pub fn exact(low: f64, high: f64, from_px: f64, to_px: f64) -> Scale {
        let high = if high > low { high } else { low + EMPTY_HIGH };
        Scale { low, high, from_px, to_px, is_log: false }
    }

    /// Logarithmic, over whole decades around both; both above 0.
    pub fn log(low: f64, high: f64, from_px: f64, to_px: f64) -> Scale {
        let low = 10f64.powf(low.max(1e-9).log10().floor());
        let high = 10f64.powf(high.max(low * 1.001).log10().ceil());
        Scale { low, high: high.max(low * 10.0), from_px, to_px, is_log: true }
    }

    /// The same values on other pixels.
    pub fn onto(self, from_px: f64, to_px: f64) -> Scale {
        Scale { from_px, to_px, ..self }
    }

    /// The same values so many pixels further on.
    pub fn moved(self, pixels: f64) -> Scale {
        self.onto(self.from_px + pixels, self.to_px + pixels)
    }

    /// The pixel of a value; values beyond the ends are put at the ends.
    pub fn px(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self.from_px + share * (self.to_px - self.from_px)
    }

    /// Round values, about as many as wanted: the decades of a logarithmic scale.
    pub fn ticks(&self, unit: Unit, wanted: usize) -> Vec<f64> {
        if self.is_log {
            let decades = (self.high / self.low).log10().round() as i32;
            return (0..=decades).map(|n| self.low * 10f64.powi(n)).collect();
        }
        let step = step(self.high - self.low, unit, wanted);
        let first = (self.low / step).ceil();
        let last = (self.high / step * (1.0 + 1e-9)).floor();
        (0..=(last - first).max(0.0) as usize).map(|n| (first + n as f64) * step).collect()
    }
}

/// A round step that cuts the range into at most so many parts.
fn step(range: f64, unit: Unit, parts: usize) -> f64 {
    let least = range / parts.max(1) as f64;
    let (base, rounds): (f64, &[f64]) = match unit {
        Unit::Bytes => (1024.0, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0]),
        _ => (10.0, &[1.0, 2.0, 5.0, 10.0]),
    };
    let power = base.powf((least.ln() / base.ln()).floor());
    let round = rounds.iter().find(|round| power * **round >= least * (1.0 - 1e-9));
    power * round.copied().unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::{Scale, Unit};

    #[test]
    fn texts_are_short() {
        let texts = [
            (Unit::Bytes, 0.0, "0"),
            (Unit::Bytes, 1536.0, "1.5 KiB"),
            (Unit::Bytes, 256.0 * 1_048_576.0, "256 MiB"),
            (Unit::Bytes, 1_073_741_823.0, "1 GiB"),
            (Unit::Microseconds, 950.0, "950 µs"),
            (Unit::Milliseconds, 0.94, "940 µs"),
            (Unit::Milliseconds, 12.34, "12.3 ms"),
            (Unit::Seconds, 2.0, "2 s"),
            (Unit::PerSecond, 20_000.0, "20k/s"),
            (Unit::Number, 1_250_000.0, "1.25M"),
        ];
        for (unit, value, text) in texts {
            assert_eq!(unit.text(value), text);
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        let scale = Scale::linear(37.0, Unit::Milliseconds, 5, 200.0, 0.0);
        assert_eq!(scale.ticks(Unit::Milliseconds, 5), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!((scale.px(0.0), scale.px(40.0), scale.px(20.0)), (200.0, 0.0, 100.0));
        let bytes = Scale::linear(300e6, Unit::Bytes, 5, 0.0, 100.0).ticks(Unit::Bytes, 5);
        assert_eq!(bytes[1], 64.0 * 1_048_576.0);
        for high in [1e-6, 0.3, 1.0, 7.7, 123.0, 9.9e11] {
            for unit in [Unit::Bytes, Unit::Number] {
                let scale = Scale::linear(high, unit, 5, 0.0, 1.0);
                let ticks = scale.ticks(unit, 5);
                assert!((2..=7).contains(&ticks.len()) && scale.px(high) <= 1.0, "{high} {ticks:?}");
            }
        }
    }

    #[test]
    fn logarithmic_scales_cover_whole_decades_and_nothing_leaves_them() {
        let scale = Scale::log(30.0, 45_000.0, 100.0, 0.0);
        assert_eq!(scale.ticks(Unit::Microseconds, 5), [10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
        assert_eq!(
            (scale.px(0.0), scale.px(10.0), scale.px(1000.0), scale.px(1e9)),
            (100.0, 100.0, 50.0, 0.0)
        );
        let empty = Scale::linear(0.0, Unit::Number, 4, 0.0, 10.0);
        assert!(empty.px(f64::NAN).is_finite() && empty.px(0.0) == 0.0);
        assert!(Scale::exact(5.0, 5.0, 0.0, 10.0).px(5.0).is_finite());
    }
}
