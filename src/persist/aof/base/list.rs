//! The commands that rebuild a list.

use crate::persist::aof::base::{ITEMS_PER_COMMAND, begin_command, push_argument};
use crate::value::ListRef;
use crate::value::set::with_text;

/// Appends the commands for one key: RPUSH of some elements each.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], list: ListRef<'_>) {
    let (mut left, mut room) = (list.len(), 0);
    list.for_each(|element| {
        if room == 0 {
            room = left.min(ITEMS_PER_COMMAND);
            begin_command(out, 2 + room);
            push_argument(out, b"RPUSH");
            push_argument(out, key);
        }
        with_text(element, |text| push_argument(out, text));
        room -= 1;
        left -= 1;
    });
}
