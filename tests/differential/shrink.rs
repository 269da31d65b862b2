//! Makes a failing list of steps short: parts are left out as long as the same difference stays.

use std::time::{Duration, Instant};

use crate::generator::Step;
use crate::run::{Difference, Mode, run};
use crate::sides::Pair;

/// Shrinking ends here; what is left is long but true.
const TIME_MAX: Duration = Duration::from_secs(40);

/// The shortest list found, and its difference.
pub fn shrink(pair: &mut Pair, steps: &[Step], found: Difference, mode: Mode) -> (Vec<Step>, Difference) {
    let start = Instant::now();
    let mut kept: Vec<Step> = steps[..=found.step].to_vec();
    let mut found = found;
    let mut size = kept.len() / 2;
    while size > 0 && start.elapsed() < TIME_MAX {
        let mut at = 0;
        let mut smaller = false;
        while at < kept.len() && start.elapsed() < TIME_MAX {
            let end = (at + size).min(kept.len());
            let mut fewer = kept.clone();
            fewer.drain(at..end);
            match run(pair, &fewer, mode) {
                Some(again) if again.signature == found.signature => {
                    fewer.truncate(again.step + 1);
                    smaller = true;
                    kept = fewer;
                    found = again;
                }
                _ => at = end,
            }
        }
        size = if smaller && size == 1 { 1 } else { size / 2 };
    }
    (kept, found)
}
