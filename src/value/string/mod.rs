//! The string type: integers, short strings inside the entry, long strings in a block of their own.
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | integer | the entry's value word | `int` |
//! | embedded | the entry's block, up to [`EMBEDDED_MAX_BYTES`] | `embstr` up to 44 bytes, else `raw` |
//! | [`DataBytes`] | own block, one thin pointer | `raw` |
//!
//! `OBJECT ENCODING` answers what Redis 7.2 would: 44 bytes is its limit for `embstr`.

use crate::base::numbers;
use crate::sys::data_alloc::{self, DataBytes};

/// Longest string Redis calls `embstr`.
pub const EMBSTR_MAX_BYTES: usize = 44;
/// Longest value kept inside an entry's block. With a 16-byte key the block is then 192 bytes:
/// longer ones gain less from one block than overwriting loses to copying (decision 11).
pub const EMBEDDED_MAX_BYTES: usize = 168;

/// Length and capacity in front of a long string's bytes.
const BLOCK_HEADER_BYTES: usize = 8;

/// A string value as found in its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrRef<'a> {
    Int(i64),
    /// `raw`: the value has been modified in place, so Redis would show `raw` whatever its length.
    Short {
        bytes: &'a [u8],
        raw: bool,
    },
    Large(&'a [u8]),
}

/// Room for the decimal digits of an `i64`.
pub type Digits = itoa::Buffer;

impl<'a> StrRef<'a> {
    /// The bytes; an integer's digits are written into `digits`.
    #[inline]
    pub fn bytes<'b>(&self, digits: &'b mut Digits) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            StrRef::Int(value) => digits.format(*value).as_bytes(),
            StrRef::Short { bytes, .. } | StrRef::Large(bytes) => bytes,
        }
    }

    /// Length in bytes (`STRLEN`). O(1).
    pub fn len(&self) -> usize {
        match self {
            StrRef::Int(value) => numbers::sdigits10(*value),
            StrRef::Short { bytes, .. } | StrRef::Large(bytes) => bytes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integer this string denotes by Redis's strict rules, if it does.
    pub fn to_i64(&self) -> Option<i64> {
        match self {
            StrRef::Int(value) => Some(*value),
            StrRef::Short { bytes, .. } | StrRef::Large(bytes) => numbers::parse_i64(bytes),
        }
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            StrRef::Int(_) => "int",
            StrRef::Short { bytes, raw: false } if bytes.len() <= EMBSTR_MAX_BYTES => "embstr",
            _ => "raw",
        }
    }

    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes(&mut Digits::new()).to_vec()
    }

    /// Bytes of the data region behind the entry.
    pub fn out_of_line_bytes(&self) -> usize {
        match self {
            StrRef::Large(bytes) => data_alloc::usable_size(bytes.len() + BLOCK_HEADER_BYTES),
            _ => 0,
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> StringValue {
        match self {
            StrRef::Int(value) => StringValue::Int(*value),
            StrRef::Short { bytes, .. } | StrRef::Large(bytes) => {
                StringValue::Bytes(DataBytes::from_slice(bytes))
            }
        }
    }
}

/// An owned string value.
#[derive(Debug, PartialEq, Eq)]
pub enum StringValue {
    Int(i64),
    Bytes(DataBytes),
}

impl StringValue {
    /// Encodes `bytes` as `SET` does: as an integer when its digits are canonical.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match integer_encoding(bytes) {
            Some(value) => StringValue::Int(value),
            None => StringValue::Bytes(DataBytes::from_slice(bytes)),
        }
    }

    pub fn as_ref(&self) -> StrRef<'_> {
        match self {
            StringValue::Int(value) => StrRef::Int(*value),
            StringValue::Bytes(bytes) => StrRef::Large(bytes.as_slice()),
        }
    }
}

/// The integer that `SET` would store for `bytes`: at most 20 digits, canonical decimal.
#[inline]
pub fn integer_encoding(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 20 || bytes.is_empty() || bytes[0] > b'9' {
        return None;
    }
    numbers::parse_i64(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Digits, StrRef, StringValue, integer_encoding};

    #[test]
    fn integers_are_recognised_as_redis_does() {
        assert_eq!(integer_encoding(b"12"), Some(12));
        assert_eq!(integer_encoding(b"-9223372036854775808"), Some(i64::MIN));
        for text in [&b"012"[..], b"+1", b"", b"-0", b"9223372036854775808", b"1 ", b"abc"] {
            assert_eq!(integer_encoding(text), None, "{text:?}");
        }
    }

    #[test]
    fn lengths_and_encodings() {
        assert_eq!(StrRef::Int(-120).len(), 4);
        assert_eq!(StrRef::Int(i64::MIN).bytes(&mut Digits::new()), b"-9223372036854775808");
        assert_eq!(StrRef::Short { bytes: &[b'a'; 44], raw: false }.encoding(), "embstr");
        assert_eq!(StrRef::Short { bytes: &[b'a'; 45], raw: false }.encoding(), "raw");
        assert_eq!(StrRef::Short { bytes: b"a", raw: true }.encoding(), "raw");
        assert_eq!(StringValue::from_bytes(b"77"), StringValue::Int(77));
    }
}
