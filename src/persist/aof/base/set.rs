//! The commands that rebuild a set.

use crate::persist::aof::base::push_command;
use crate::value::SetRef;

/// Appends the commands for one key.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], set: SetRef<'_>) {
    match set {
        SetRef::Packed(listpack) => {
            for element in listpack.iter() {
                push_command(out, &[b"SADD", key, &element.to_vec()]);
            }
        }
    }
}
