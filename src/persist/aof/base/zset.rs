//! The commands that rebuild a sorted set.

use crate::persist::aof::base::push_command;
use crate::value::ZsetRef;

/// Appends the commands for one key.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], zset: ZsetRef<'_>) {
    match zset {
        ZsetRef::Packed(listpack) => {
            for element in listpack.iter() {
                push_command(out, &[b"ZADD", key, &element.to_vec()]);
            }
        }
    }
}
