//! The value types: their numbers in files, and which module saves and loads which.
//!
//! To add a type: a file here with `put_value` and a reader, its arms below.

use crate::keyspace::NewValue;
use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string::{self, Token};
use crate::persist::rdb::writer::Writer;
use crate::sys::io::IoResult;
use crate::value::ValueRef;

/// Strings have this number in every version.
pub const TYPE_STRING: u8 = 0;
/// Highest type number known (hash with metadata of Redis 7.4 and Valkey's own).
pub const TYPE_MAX: u8 = 25;
/// A number that was never given to a type.
const TYPE_UNUSED: u8 = 8;

/// Names of types as check-rdb prints them, by number.
const TYPE_NAMES: [&str; TYPE_MAX as usize + 1] = [
    "string",
    "list-linked",
    "set-hashtable",
    "zset-v1",
    "hash-hashtable",
    "zset-v2",
    "module-pre-release",
    "module-value",
    "",
    "hash-zipmap",
    "list-ziplist",
    "set-intset",
    "zset-ziplist",
    "hash-ziplist",
    "quicklist",
    "stream",
    "hash-listpack",
    "zset-listpack",
    "quicklist-v2",
    "stream-v2",
    "set-listpack",
    "stream-v3",
    "hash-metadata-pre-release",
    "hash-listpack-ex-pre-release",
    "hash-metadata",
    "hash-listpack-ex",
];

/// The name of a type number, `unknown` for none.
pub fn type_name(number: u8) -> &'static str {
    TYPE_NAMES.get(number as usize).copied().filter(|name| !name.is_empty()).unwrap_or("unknown")
}

/// Whether a type with this number exists in any version.
pub fn is_type(number: u8) -> bool {
    number <= TYPE_MAX && number != TYPE_UNUSED
}

/// The number under which a value is written.
#[inline]
pub fn type_of(value: &ValueRef<'_>) -> u8 {
    match value {
        ValueRef::String(_) => TYPE_STRING,
    }
}

/// Writes a value, without its type number.
#[inline]
pub fn put_value(writer: &mut Writer<'_>, value: &ValueRef<'_>) -> IoResult<()> {
    match value {
        ValueRef::String(string) => string::put_value(writer, string),
    }
}

/// Reads a value of type `number`. It may borrow the input's block, or `scratch`.
///
/// # Errors
/// What is wrong with it; types not loaded yet are refused by number.
#[inline]
pub fn read_value<'a, I: Input>(
    number: u8,
    input: &'a mut I,
    scratch: &'a mut Vec<u8>,
) -> Result<NewValue<'a>, RdbErrorKind> {
    match number {
        TYPE_STRING => string::read_token(input, scratch).map(new_value_of),
        _ if is_type(number) => Err(RdbErrorKind::TypeNotSupported(number)),
        _ => Err(RdbErrorKind::UnknownType(number)),
    }
}

/// What to store for a string found in a file.
#[inline]
pub fn new_value_of(token: Token<'_>) -> NewValue<'_> {
    match token {
        Token::Bytes(bytes) => NewValue::Encoded(bytes),
        Token::Int(value) => NewValue::Int(value),
    }
}
