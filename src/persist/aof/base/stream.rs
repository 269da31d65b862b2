//! The commands that rebuild a stream.

use crate::persist::aof::base::push_command;
use crate::value::StreamRef;

/// Appends the commands for one key.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], stream: StreamRef<'_>) {
    match stream {
        StreamRef::Packed(listpack) => {
            for element in listpack.iter() {
                push_command(out, &[b"XADD", key, &element.to_vec()]);
            }
        }
    }
}
