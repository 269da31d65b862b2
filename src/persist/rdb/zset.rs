//! Sorted sets in an RDB.

use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string;
use crate::persist::rdb::writer::Writer;
use crate::sys::io::IoResult;
use crate::value::{TypeLimits, ZsetRef, ZsetValue};

const TYPE_WRITTEN: u8 = 17;

/// The number under which a sorted set is written.
pub fn type_of(_: ZsetRef<'_>, _version: u8) -> u8 {
    TYPE_WRITTEN
}

/// Writes a sorted set, without its type number.
pub fn put(writer: &mut Writer<'_>, zset: ZsetRef<'_>, _version: u8) -> IoResult<()> {
    match zset {
        ZsetRef::Packed(listpack) => string::put_bytes(writer, listpack.as_bytes()),
    }
}

/// Reads a sorted set stored under `number`.
///
/// # Errors
/// What is wrong with it.
pub fn read<I: Input>(
    number: u8,
    _input: &mut I,
    _scratch: &mut Vec<u8>,
    _limits: &TypeLimits,
) -> Result<ZsetValue, RdbErrorKind> {
    Err(RdbErrorKind::TypeNotSupported(number))
}
