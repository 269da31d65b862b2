//! The commands that rebuild a hash.

use crate::persist::aof::base::push_command;
use crate::value::HashRef;

/// Appends the commands for one key.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], hash: HashRef<'_>) {
    match hash {
        HashRef::Packed(listpack) => {
            for element in listpack.iter() {
                push_command(out, &[b"HSET", key, &element.to_vec()]);
            }
        }
    }
}
