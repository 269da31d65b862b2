//! The commands that rebuild a set.

use crate::persist::aof::base::{ITEMS_PER_COMMAND, begin_command, push_argument};
use crate::value::SetRef;
use crate::value::set::with_text;

/// Appends the commands for one key: SADD of some members each.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], set: SetRef<'_>) {
    let mut left = set.len();
    for (index, member) in set.iter().enumerate() {
        if index % ITEMS_PER_COMMAND == 0 {
            begin_command(out, 2 + left.min(ITEMS_PER_COMMAND));
            push_argument(out, b"SADD");
            push_argument(out, key);
        }
        with_text(member, |text| push_argument(out, text));
        left -= 1;
    }
}
