//! Hashs in an RDB.

use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string;
use crate::persist::rdb::writer::Writer;
use crate::sys::io::IoResult;
use crate::value::{HashRef, HashValue, TypeLimits};

const TYPE_WRITTEN: u8 = 16;

/// The number under which a hash is written.
pub fn type_of(_: HashRef<'_>, _version: u8) -> u8 {
    TYPE_WRITTEN
}

/// Writes a hash, without its type number.
pub fn put(writer: &mut Writer<'_>, hash: HashRef<'_>, _version: u8) -> IoResult<()> {
    match hash {
        HashRef::Packed(listpack) => string::put_bytes(writer, listpack.as_bytes()),
    }
}

/// Reads a hash stored under `number`.
///
/// # Errors
/// What is wrong with it.
pub fn read<I: Input>(
    number: u8,
    _input: &mut I,
    _scratch: &mut Vec<u8>,
    _limits: &TypeLimits,
) -> Result<HashValue, RdbErrorKind> {
    Err(RdbErrorKind::TypeNotSupported(number))
}
