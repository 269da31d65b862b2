//! The commands that rebuild a list.

use crate::persist::aof::base::push_command;
use crate::value::ListRef;

/// Appends the commands for one key.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], list: ListRef<'_>) {
    match list {
        ListRef::Packed(listpack) => {
            for element in listpack.iter() {
                push_command(out, &[b"RPUSH", key, &element.to_vec()]);
            }
        }
    }
}
