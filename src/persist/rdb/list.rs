//! Lists in an RDB.

use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string;
use crate::persist::rdb::writer::Writer;
use crate::sys::io::IoResult;
use crate::value::{ListRef, ListValue, TypeLimits};

const TYPE_WRITTEN: u8 = 1;

/// The number under which a list is written.
pub fn type_of(_: ListRef<'_>, _version: u8) -> u8 {
    TYPE_WRITTEN
}

/// Writes a list, without its type number.
pub fn put(writer: &mut Writer<'_>, list: ListRef<'_>, _version: u8) -> IoResult<()> {
    match list {
        ListRef::Packed(listpack) => {
            writer.put_len(listpack.len() as u64);
            for element in listpack.iter() {
                string::put_bytes(writer, &element.to_vec())?;
            }
            Ok(())
        }
    }
}

/// Reads a list stored under `number`.
///
/// # Errors
/// What is wrong with it.
pub fn read<I: Input>(
    number: u8,
    _input: &mut I,
    _scratch: &mut Vec<u8>,
    _limits: &TypeLimits,
) -> Result<ListValue, RdbErrorKind> {
    Err(RdbErrorKind::TypeNotSupported(number))
}
