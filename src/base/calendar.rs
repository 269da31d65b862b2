//! Days since the epoch to dates: for log lines and the names of backups.

/// Year, month (0 = January) and day of a number of days since 1 January 1970, in the Gregorian
/// calendar. Counts in 400-year cycles of years that begin in March, so that leap days come last
/// (method: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn civil_date(days: i64) -> (i64, usize, i64) {
    let shifted = days + 719_468;
    let cycle = shifted.div_euclid(146_097);
    let day_of_cycle = shifted.rem_euclid(146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = year_of_cycle + cycle * 400 + i64::from(month < 2);
    (year, usize::try_from(month).unwrap_or(0), day)
}

/// A UTC time as `20261121T153400.123Z` (ISO 8601, basic form): sorts as text, needs no quoting.
pub fn compact_utc(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1000);
    let (year, month, day) = civil_date(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    format!(
        "{year:04}{:02}{day:02}T{:02}{:02}{:02}.{:03}Z",
        month + 1,
        second / 3600,
        second / 60 % 60,
        second % 60,
        unix_ms.rem_euclid(1000)
    )
}

#[cfg(test)]
mod tests {
    use super::{civil_date, compact_utc};

    #[test]
    fn dates_count_every_day_for_a_thousand_years() {
        let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let (mut year, mut month, mut day) = (1970, 0, 1);
        for days in 0..366_000 {
            assert_eq!(civil_date(days), (year, month, day));
            let february = if is_leap(year) { 29 } else { 28 };
            let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            day += 1;
            if day > lengths[month] {
                (day, month) = (1, month + 1);
            }
            if month == 12 {
                (month, year) = (0, year + 1);
            }
        }
    }

    #[test]
    fn compact_times_are_utc() {
        assert_eq!(compact_utc(1_700_000_000_007), "20231114T221320.007Z");
        assert_eq!(compact_utc(0), "19700101T000000.000Z");
    }
}
