//! The value types: their numbers in files, and which module saves and loads which.
//!
//! To add a type: a file here with `type_of`, `put` and `read`, its arms below.

use crate::keyspace::NewValue;
use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::save::FIELD_EXPIRY_VERSION_MIN;
use crate::persist::rdb::string::{self, Token};
use crate::persist::rdb::writer::Writer;
use crate::persist::rdb::{hash, list, set, stream, zset};
use crate::sys::io::IoResult;
use crate::value::{TypeLimits, Value, ValueRef};

/// Strings have this number in every version.
pub const TYPE_STRING: u8 = 0;
/// A module's value of before that.
const TYPE_MODULE_OLD: u8 = 6;
/// A module's value with marks that let it be read over.
pub const TYPE_MODULE: u8 = 7;
/// Highest type number known (hash with metadata of Redis 7.4 and Valkey's own).
pub const TYPE_MAX: u8 = 25;
/// The number inside this program of what Valkey's files hold under 22.
pub const TYPE_HASH_VALKEY: u8 = 26;
/// The first of the numbers of such hashes; all up to [`TYPE_HASH_VALKEY`] are some.
const TYPE_HASH_EXPIRY_MIN: u8 = 22;
/// Under which number Valkey writes it.
const VALKEY_HASH_IN_FILES: u8 = 22;
/// A number that was never given to a type.
const TYPE_UNUSED: u8 = 8;

/// Names of types as check-rdb prints them, by number.
const TYPE_NAMES: [&str; TYPE_HASH_VALKEY as usize + 1] = [
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
    "hash-valkey-expiry",
];

/// The name of a type number, `unknown` for none.
pub fn type_name(number: u8) -> &'static str {
    TYPE_NAMES.get(number as usize).copied().filter(|name| !name.is_empty()).unwrap_or("unknown")
}

/// Whether a type with this number exists in any version.
pub fn is_type(number: u8) -> bool {
    number <= TYPE_MAX && number != TYPE_UNUSED
}

/// Whether [`read_value`] reads values with this number.
pub fn is_loadable(number: u8) -> bool {
    number <= TYPE_HASH_VALKEY && !matches!(number, TYPE_MODULE_OLD | TYPE_MODULE | TYPE_UNUSED)
}

/// Whether values with this number are hashes whose fields may have a time to live.
pub fn has_field_expiry(number: u8) -> bool {
    matches!(number, TYPE_HASH_EXPIRY_MIN..=TYPE_HASH_VALKEY)
}

/// The number that `byte`, the type in a file, has inside this program.
#[inline]
pub fn number_of(byte: u8, is_valkey: bool) -> u8 {
    if is_valkey && byte == VALKEY_HASH_IN_FILES { TYPE_HASH_VALKEY } else { byte }
}

/// The number under which a value is written in an RDB of this version.
#[inline]
pub fn type_of(value: &ValueRef<'_>, version: u8) -> u8 {
    match value {
        ValueRef::String(_) => TYPE_STRING,
        ValueRef::List(list) => list::type_of(*list, version),
        ValueRef::Set(set) => set::type_of(*set, version),
        ValueRef::Zset(zset) => zset::type_of(*zset, version),
        ValueRef::Hash(hash) => hash::type_of(*hash, version),
        ValueRef::Stream(stream) => stream::type_of(*stream, version),
    }
}

/// The first version of files that can hold a value; 0 where any can, after a conversion.
pub fn version_min(value: &ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Hash(hash) if hash::has_expiry(*hash) => FIELD_EXPIRY_VERSION_MIN,
        _ => 0,
    }
}

/// Writes a value, without its type number, as [`type_of`] says.
#[inline]
pub fn put_value(writer: &mut Writer<'_>, value: &ValueRef<'_>, version: u8) -> IoResult<()> {
    match value {
        ValueRef::String(string) => string::put_value(writer, string),
        ValueRef::List(list) => list::put(writer, *list, version),
        ValueRef::Set(set) => set::put(writer, *set, version),
        ValueRef::Zset(zset) => zset::put(writer, *zset, version),
        ValueRef::Hash(hash) => hash::put(writer, *hash, version),
        ValueRef::Stream(stream) => stream::put(writer, *stream, version),
    }
}

/// Reads a value of type `number`. It may borrow the input's block, or `scratch`.
///
/// # Errors
/// What is wrong with it; [`RdbErrorKind::EmptyKey`] for a collection without elements.
#[inline]
pub fn read_value<'a, I: Input>(
    number: u8,
    input: &'a mut I,
    scratch: &'a mut Vec<u8>,
    limits: &TypeLimits,
) -> Result<NewValue<'a>, RdbErrorKind> {
    let owned = |value: Value| NewValue::Owned(value);
    match number {
        TYPE_STRING => string::read_token(input, scratch).map(new_value_of),
        1 | 10 | 14 | 18 => list::read(number, input, scratch, limits).map(Value::List).map(owned),
        2 | 11 | 20 => set::read(number, input, scratch, limits).map(Value::Set).map(owned),
        3 | 5 | 12 | 17 => zset::read(number, input, scratch, limits).map(Value::Zset).map(owned),
        4 | 9 | 13 | 16 | 22..=TYPE_HASH_VALKEY => {
            hash::read(number, input, scratch, limits).map(Value::Hash).map(owned)
        }
        15 | 19 | 21 => stream::read(number, input, scratch, limits).map(Value::Stream).map(owned),
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
