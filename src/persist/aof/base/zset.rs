//! The commands that rebuild a sorted set.

use crate::base::float::format_f64_17g;
use crate::persist::aof::base::{ITEMS_PER_COMMAND, begin_command, push_argument};
use crate::value::ZsetRef;
use crate::value::set::with_text;

/// Appends the commands for one key. Scores have the 17 digits that bring every double back.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], zset: ZsetRef<'_>) {
    let mut left = zset.len();
    let mut score_text = Vec::with_capacity(32);
    for (number, (score, member)) in zset.iter().enumerate() {
        if number % ITEMS_PER_COMMAND == 0 {
            begin_command(out, 2 + 2 * left.min(ITEMS_PER_COMMAND));
            push_argument(out, b"ZADD");
            push_argument(out, key);
            left = left.saturating_sub(ITEMS_PER_COMMAND);
        }
        score_text.clear();
        format_f64_17g(score, &mut score_text);
        push_argument(out, &score_text);
        with_text(member, |text| push_argument(out, text));
    }
}
