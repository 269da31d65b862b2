//! Which backups to keep: a plain function over their times.
//!
//! ```text
//!  newest first:   15:00  14:00  13:20  13:00  12:00 ... yesterday 23:00  22:00 ... | the day before ...
//!  hours (48):       k      k      k      -      k            k             k    ...
//!  days (31):        k                                        k                           k
//! ```
//! The newest good backup of each of the last `hourly` hours, and of each of the last `daily` days
//! (UTC), is kept. Hours and days without a good backup do not count, and no clock is read: a server
//! that was off for a month, or a clock that jumps, costs no backup. The newest good one always stays.
//! A damaged backup takes nobody's place; it is removed when it is older than the newest good one by
//! `hourly` hours, and never while there is no good one.

/// Milliseconds of an hour and of a day.
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How many hours and days have a backup each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub hourly: usize,
    pub daily: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { hourly: 48, daily: 31 }
    }
}

/// What the rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub unix_ms: i64,
    /// Its manifest can be read, and no check has found it damaged.
    pub good: bool,
}

/// What becomes of a backup, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Keep {
        hourly: bool,
        daily: bool,
    },
    /// Kept only because it is the newest good one.
    Last,
    /// Damaged, and not yet to be removed.
    Damaged,
    Remove,
}

impl Fate {
    /// The age class as `list` shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Fate::Keep { hourly: true, daily: true } => "hour, day",
            Fate::Keep { hourly: true, daily: false } => "hour",
            Fate::Keep { .. } => "day",
            Fate::Last => "last",
            Fate::Damaged => "damaged",
            Fate::Remove => "to prune",
        }
    }
}

/// Decides for each candidate, in their order. O(n log n).
pub fn decide(candidates: &[Candidate], policy: Policy) -> Vec<Fate> {
    let mut fates = vec![Fate::Remove; candidates.len()];
    let mut good: Vec<usize> = (0..candidates.len()).filter(|&index| candidates[index].good).collect();
    good.sort_by_key(|&index| std::cmp::Reverse(candidates[index].unix_ms));
    let (mut hours, mut days) = (Slots::new(HOUR_MS, policy.hourly), Slots::new(DAY_MS, policy.daily));
    for &index in &good {
        let unix_ms = candidates[index].unix_ms;
        let (hourly, daily) = (hours.take(unix_ms), days.take(unix_ms));
        if hourly || daily {
            fates[index] = Fate::Keep { hourly, daily };
        }
    }
    let newest = good.first().map(|&index| candidates[index].unix_ms);
    if let Some(&index) = good.first().filter(|&&index| fates[index] == Fate::Remove) {
        fates[index] = Fate::Last;
    }
    let window_ms = HOUR_MS.saturating_mul(i64::try_from(policy.hourly).unwrap_or(i64::MAX));
    for (candidate, fate) in candidates.iter().zip(&mut fates) {
        let outlived = newest.is_some_and(|newest| newest.saturating_sub(candidate.unix_ms) >= window_ms);
        if !candidate.good && !outlived {
            *fate = Fate::Damaged;
        }
    }
    fates
}

/// Places for one backup of each hour (or day).
struct Slots {
    length_ms: i64,
    free: usize,
    last: Option<i64>,
}

impl Slots {
    fn new(length_ms: i64, free: usize) -> Slots {
        Slots { length_ms, free, last: None }
    }

    /// Whether the backup is the first of its hour that comes by, and there is a place.
    fn take(&mut self, unix_ms: i64) -> bool {
        let number = unix_ms.div_euclid(self.length_ms);
        if self.free == 0 || self.last == Some(number) {
            return false;
        }
        (self.free, self.last) = (self.free - 1, Some(number));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, DAY_MS, Fate, HOUR_MS, Policy, decide};
    use std::collections::BTreeSet;

    const START_MS: i64 = 1_700_000_000_000;

    fn good(unix_ms: i64) -> Candidate {
        Candidate { unix_ms, good: true }
    }

    fn prune(backups: &mut Vec<Candidate>, policy: Policy) {
        let mut fates = decide(backups, policy).into_iter();
        backups.retain(|_| fates.next() != Some(Fate::Remove));
    }

    /// Hourly backups over 5,000 hours, pruned after each: never more nor fewer than the rule says.
    #[test]
    fn a_year_of_hours_keeps_48_hours_and_31_days() {
        let policy = Policy::default();
        let mut backups = Vec::new();
        for hour in 0..5_000 {
            let now_ms = START_MS + hour * HOUR_MS;
            backups.push(good(now_ms));
            prune(&mut backups, policy);
            let kept: BTreeSet<i64> = backups.iter().map(|backup| backup.unix_ms).collect();
            for age in 0..48.min(hour + 1) {
                assert!(kept.contains(&(now_ms - age * HOUR_MS)), "hour {hour}, {age} hours ago");
            }
            let days: BTreeSet<i64> = kept.iter().map(|time| time.div_euclid(DAY_MS)).collect();
            let begun = now_ms.div_euclid(DAY_MS) - START_MS.div_euclid(DAY_MS) + 1;
            assert_eq!(days.len() as i64, begun.min(31), "hour {hour}");
            // 48 hours touch two or three days, whose last backups count in both.
            assert!(kept.len() <= 48 + 31 - 2, "hour {hour}: {}", kept.len());
        }
        assert!(backups.len() >= 48 + 28);
    }

    #[test]
    fn gaps_jumps_and_damage_never_cost_the_last_good_one() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let policy = Policy { hourly: random.usize(0..6), daily: random.usize(0..4) };
            let mut backups: Vec<Candidate> = Vec::new();
            let mut now_ms = START_MS;
            for _ in 0..120 {
                now_ms += match random.u32(..12) {
                    0 => -random.i64(0..40 * DAY_MS),
                    1 => random.i64(0..400 * DAY_MS),
                    _ => random.i64(0..3 * HOUR_MS),
                };
                backups.push(Candidate { unix_ms: now_ms, good: random.u32(..4) > 0 });
                let newest = backups.iter().filter(|backup| backup.good).map(|backup| backup.unix_ms).max();
                prune(&mut backups, policy);
                let after = backups.iter().filter(|backup| backup.good).map(|backup| backup.unix_ms);
                assert_eq!(after.clone().max(), newest, "seed {seed}");
                assert!(after.count() <= (policy.hourly + policy.daily).max(1), "seed {seed}");
                let again = decide(&backups, policy);
                assert!(!again.contains(&Fate::Remove), "seed {seed}: pruning twice is pruning once");
            }
        }
    }

    #[test]
    fn time_that_passes_without_backups_removes_nothing() {
        let backups: Vec<Candidate> = (0..48).map(|hour| good(START_MS - hour * HOUR_MS)).collect();
        assert!(!decide(&backups, Policy::default()).contains(&Fate::Remove));
        assert_eq!(decide(&[good(0)], Policy { hourly: 0, daily: 0 }), [Fate::Last]);
    }

    #[test]
    fn damaged_ones_take_no_place_and_go_when_they_are_old() {
        let bad = |unix_ms| Candidate { unix_ms, good: false };
        let policy = Policy { hourly: 2, daily: 0 };
        let all = [bad(START_MS), good(START_MS - 1), good(START_MS - HOUR_MS), bad(START_MS - 3 * HOUR_MS)];
        let keep = Fate::Keep { hourly: true, daily: false };
        assert_eq!(decide(&all, policy), [Fate::Damaged, keep, keep, Fate::Remove]);
        assert_eq!(decide(&[bad(0), bad(START_MS)], policy), [Fate::Damaged, Fate::Damaged]);
    }
}
