//! Sizes, ages and times for people.

use std::time::Duration;

/// `3 m`, `5 h`, `12 d`; a time to come is `in 5 h`.
pub fn age(ms: i64) -> String {
    let seconds = ms.abs() / 1000;
    let text = match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    };
    if ms < 0 { format!("in {text}") } else { text }
}

/// `512 B`, `1.5 KiB`, `20.0 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `0.84 s`.
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{age, bytes};

    #[test]
    fn figures_for_people() {
        assert_eq!([age(59_000), age(60_000), age(-7_200_000)], ["59 s", "1 m", "in 2 h"]);
        assert_eq!([age(172_799_000), age(172_800_000)], ["47 h", "2 d"]);
        assert_eq!([bytes(1023), bytes(1536), bytes(3 << 40)], ["1023 B", "1.5 KiB", "3.0 TiB"]);
    }
}
