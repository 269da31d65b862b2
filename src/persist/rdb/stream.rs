//! Streams in an RDB.

use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string;
use crate::persist::rdb::writer::Writer;
use crate::sys::io::IoResult;
use crate::value::{StreamRef, StreamValue, TypeLimits};

const TYPE_WRITTEN: u8 = 15;

/// The number under which a stream is written.
pub fn type_of(_: StreamRef<'_>, _version: u8) -> u8 {
    TYPE_WRITTEN
}

/// Writes a stream, without its type number.
pub fn put(writer: &mut Writer<'_>, stream: StreamRef<'_>, _version: u8) -> IoResult<()> {
    match stream {
        StreamRef::Packed(listpack) => {
            writer.put_len(listpack.len() as u64);
            for element in listpack.iter() {
                string::put_bytes(writer, &element.to_vec())?;
            }
            Ok(())
        }
    }
}

/// Reads a stream stored under `number`.
///
/// # Errors
/// What is wrong with it.
pub fn read<I: Input>(
    number: u8,
    _input: &mut I,
    _scratch: &mut Vec<u8>,
    _limits: &TypeLimits,
) -> Result<StreamValue, RdbErrorKind> {
    Err(RdbErrorKind::TypeNotSupported(number))
}
