//! Points in time as people write them: Unix seconds, or a date in the form of RFC 3339.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Characters of an offset from UTC: `+01:00`.
const OFFSET_BYTES: usize = 6;
const MINUTE_S: i64 = 60;

/// Reads `1700000000`, `2023-11-14T22:13:20Z`, `2023-11-14 23:13:20+01:00`. A date without an offset
/// is UTC; parts of a second are dropped. `None`: neither form, or before 1970.
pub fn parse_unix_s(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return (seconds >= 0).then_some(seconds);
    }
    let (date, offset_s) = split_offset(text)?;
    let time = humantime::parse_rfc3339_weak(date).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()?.checked_sub(offset_s).filter(|seconds| *seconds >= 0)
}

/// Takes an offset such as `-05:30` from the end; gives it in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    let Some(at) = text.len().checked_sub(OFFSET_BYTES).filter(|at| text.is_char_boundary(*at)) else {
        return Some((text, 0));
    };
    let (date, offset) = text.split_at(at);
    let sign = match offset.as_bytes()[0] {
        b'+' => 1,
        // A day such as 2023-11-14 has its hyphens elsewhere: only a time has an offset.
        b'-' if date.contains(':') => -1,
        _ => return Some((text, 0)),
    };
    let (hours, minutes) = offset[1..].split_once(':')?;
    let number = |digits: &str, end: i64| digits.parse::<i64>().ok().filter(|value| (0..end).contains(value));
    Some((date, sign * (number(hours, 24)? * 60 + number(minutes, 60)?) * MINUTE_S))
}

/// The date of a time, UTC: `2023-11-14T22:13:20Z`.
pub fn rfc3339(unix_s: i64) -> String {
    let time =
        u64::try_from(unix_s).ok().and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    time.map_or_else(|| unix_s.to_string(), show)
}

fn show(time: SystemTime) -> String {
    /// The first moment of the year 10000, where the form of the date ends.
    const END_S: u64 = 253_402_300_800;
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) if since.as_secs() < END_S => humantime::format_rfc3339_seconds(time).to_string(),
        Ok(since) => since.as_secs().to_string(),
        Err(_) => "before 1970".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_unix_s, rfc3339};

    #[test]
    fn seconds_and_dates_are_read() {
        for (text, unix_s) in [
            ("1700000000", 1_700_000_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14 22:13:20", 1_700_000_000),
            ("2023-11-14T22:13:20.999Z", 1_700_000_000),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000),
            ("2023-11-14T17:43:20-04:30", 1_700_000_000),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(parse_unix_s(text), Some(unix_s), "{text}");
        }
        for text in [
            "",
            "-1",
            "now",
            "2023-11-14",
            "2023-13-14T00:00:00Z",
            "2023-11-14T22:13:20+25:00",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert_eq!(parse_unix_s(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_shown() {
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(-5), "-5");
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }
}
