//! Strings: lengths, integers in 1, 2 or 4 bytes, LZF, raw bytes. Keys are written the same way.

use crate::base::lzf;
use crate::base::numbers;
use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::writer::{LEN_14_BIT, LEN_32_BIT, LEN_64_BIT, LEN_ENCODED, Writer};
use crate::sys::io::IoResult;
use crate::value::StrRef;

/// Encodings behind a first byte with the two top bits set.
const ENCODED_I8: u8 = 0;
const ENCODED_I16: u8 = 1;
const ENCODED_I32: u8 = 2;
pub(super) const ENCODED_LZF: u8 = 3;
/// Strings up to this length are looked at as integers: `-2147483648` has 11 characters.
const INTEGER_MAX_BYTES: usize = 11;
/// Shorter strings are not worth compressing, as in Redis.
const COMPRESS_MIN_BYTES: usize = 21;
/// What compression must save at least, bytes.
const COMPRESS_GAIN_BYTES: usize = 4;

/// Writes a string value.
#[inline]
pub fn put_value(writer: &mut Writer<'_>, string: &StrRef<'_>) -> IoResult<()> {
    match string {
        StrRef::Int(value) => put_integer(writer, *value),
        StrRef::Short { bytes, .. } | StrRef::Large(bytes) => put_bytes(writer, bytes),
    }
}

/// Writes an integer: encoded if it fits 32 bits, else as its digits.
pub fn put_integer(writer: &mut Writer<'_>, value: i64) -> IoResult<()> {
    if try_put_encoded(writer, value) {
        return Ok(());
    }
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value).as_bytes();
    writer.put_len(digits.len() as u64);
    writer.put_raw(digits)
}

/// Writes bytes in the shortest form that Redis would choose.
#[inline]
pub fn put_bytes(writer: &mut Writer<'_>, bytes: &[u8]) -> IoResult<()> {
    if bytes.len() <= INTEGER_MAX_BYTES
        && let Some(first) = bytes.first()
        && (first.is_ascii_digit() || *first == b'-')
        && let Some(value) = numbers::parse_i64(bytes)
        && try_put_encoded(writer, value)
    {
        return Ok(());
    }
    if bytes.len() >= COMPRESS_MIN_BYTES && put_compressed(writer, bytes)? {
        return Ok(());
    }
    writer.put_len(bytes.len() as u64);
    writer.put_raw(bytes)
}

fn try_put_encoded(writer: &mut Writer<'_>, value: i64) -> bool {
    if let Ok(byte) = i8::try_from(value) {
        writer.put_u8(LEN_ENCODED | ENCODED_I8);
        writer.put_u8(byte as u8);
    } else if let Ok(word) = i16::try_from(value) {
        writer.put_u8(LEN_ENCODED | ENCODED_I16);
        word.to_le_bytes().iter().for_each(|byte| writer.put_u8(*byte));
    } else if let Ok(word) = i32::try_from(value) {
        writer.put_u8(LEN_ENCODED | ENCODED_I32);
        word.to_le_bytes().iter().for_each(|byte| writer.put_u8(*byte));
    } else {
        return false;
    }
    true
}

/// Writes the compressed form if compression is on and pays. Gives whether it did.
fn put_compressed(writer: &mut Writer<'_>, bytes: &[u8]) -> IoResult<bool> {
    let Some(compressor) = &mut writer.compressor else { return Ok(false) };
    let mut scratch = std::mem::take(&mut writer.scratch);
    scratch.clear();
    let pays = compressor.compress(bytes, &mut scratch, bytes.len() - COMPRESS_GAIN_BYTES);
    let mut outcome = Ok(());
    if pays {
        writer.put_u8(LEN_ENCODED | ENCODED_LZF);
        writer.put_len(scratch.len() as u64);
        writer.put_len(bytes.len() as u64);
        outcome = writer.put_raw(&scratch);
    }
    writer.scratch = scratch;
    outcome.map(|()| pays)
}

/// Writes a string that is compressed already, `raw_len` bytes before.
pub(super) fn put_lzf(writer: &mut Writer<'_>, compressed: &[u8], raw_len: usize) -> IoResult<()> {
    writer.put_u8(LEN_ENCODED | ENCODED_LZF);
    writer.put_len(compressed.len() as u64);
    writer.put_len(raw_len as u64);
    writer.put_raw(compressed)
}

/// A length or an encoding, as a first byte says.
pub enum Prefix {
    Len(u64),
    Encoded(u8),
}

/// Reads a first byte and the length behind it.
#[inline]
pub fn read_prefix<I: Input>(input: &mut I) -> Result<Prefix, RdbErrorKind> {
    let first = input.take_u8()?;
    if first & LEN_ENCODED == 0 {
        return Ok(Prefix::Len(u64::from(first)));
    }
    match first {
        LEN_32_BIT => Ok(Prefix::Len(u64::from(u32::from_be_bytes(input.take_array()?)))),
        LEN_64_BIT => Ok(Prefix::Len(u64::from_be_bytes(input.take_array()?))),
        _ if first & LEN_ENCODED == LEN_14_BIT => {
            let second = input.take_u8()?;
            Ok(Prefix::Len(u64::from(first & 0x3f) << 8 | u64::from(second)))
        }
        _ if first & LEN_ENCODED == LEN_ENCODED => Ok(Prefix::Encoded(first & 0x3f)),
        _ => Err(RdbErrorKind::Corrupt("unknown length encoding")),
    }
}

/// Reads a plain length.
pub fn read_len<I: Input>(input: &mut I) -> Result<u64, RdbErrorKind> {
    match read_prefix(input)? {
        Prefix::Len(len) => Ok(len),
        Prefix::Encoded(_) => Err(RdbErrorKind::Corrupt("a string encoding where a length is expected")),
    }
}

/// A string as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    Bytes(&'a [u8]),
    Int(i64),
}

/// Reads a string. `scratch` holds it when it was compressed.
#[inline]
pub fn read_token<'a, I: Input>(
    input: &'a mut I,
    scratch: &'a mut Vec<u8>,
) -> Result<Token<'a>, RdbErrorKind> {
    match read_prefix(input)? {
        Prefix::Len(len) => input.take(to_usize(len)?).map(Token::Bytes),
        Prefix::Encoded(ENCODED_LZF) => {
            let compressed_len = to_usize(read_len(input)?)?;
            let len = to_usize(read_len(input)?)?;
            let compressed = input.take(compressed_len)?;
            lzf::decompress_into(compressed, len, scratch)
                .map_err(|_| RdbErrorKind::Corrupt("Invalid LZF compressed string"))?;
            Ok(Token::Bytes(scratch))
        }
        Prefix::Encoded(encoding) => match read_encoded_int(encoding, input)? {
            Some(value) => Ok(Token::Int(value)),
            None => Err(RdbErrorKind::Corrupt("Unknown RDB string encoding type")),
        },
    }
}

/// The integer behind an encoding byte; `None` when the encoding is no integer.
#[inline]
pub(super) fn read_encoded_int<I: Input>(encoding: u8, input: &mut I) -> Result<Option<i64>, RdbErrorKind> {
    Ok(match encoding {
        ENCODED_I8 => Some(i64::from(input.take_u8()? as i8)),
        ENCODED_I16 => Some(i64::from(i16::from_le_bytes(input.take_array()?))),
        ENCODED_I32 => Some(i64::from(i32::from_le_bytes(input.take_array()?))),
        _ => None,
    })
}

/// Bytes of the integer behind an encoding byte; `None` when the encoding is no integer.
pub(super) fn encoded_int_bytes(encoding: u8) -> Option<u64> {
    match encoding {
        ENCODED_I8 => Some(1),
        ENCODED_I16 => Some(2),
        ENCODED_I32 => Some(4),
        _ => None,
    }
}

/// Reads a string into `out` (cleared before), integers as their digits.
pub fn read_bytes<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), RdbErrorKind> {
    out.clear();
    match read_token(input, scratch)? {
        Token::Bytes(bytes) => out.extend_from_slice(bytes),
        Token::Int(value) => numbers::push_i64(value, out),
    }
    Ok(())
}

/// Reads over a string; a compressed one is decompressed to check it.
pub fn skip<I: Input>(input: &mut I, scratch: &mut Vec<u8>) -> Result<(), RdbErrorKind> {
    read_token(input, scratch).map(|_| ())
}

/// The bytes of a packed structure: a string that is no integer. `damaged` says what it was for.
pub(super) fn read_blob<'a, I: Input>(
    input: &'a mut I,
    scratch: &'a mut Vec<u8>,
    damaged: RdbErrorKind,
) -> Result<&'a [u8], RdbErrorKind> {
    match read_token(input, scratch)? {
        Token::Bytes(bytes) => Ok(bytes),
        Token::Int(_) => Err(damaged),
    }
}

pub(super) fn to_usize(len: u64) -> Result<usize, RdbErrorKind> {
    usize::try_from(len).map_err(|_| RdbErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::{Token, put_bytes, put_integer, read_token};
    use crate::persist::rdb::input::SliceInput;
    use crate::persist::rdb::writer::Writer;
    use proptest::prelude::{any, proptest};

    fn written(compress: bool, put: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, compress, false);
        put(&mut writer);
        writer.finish_bare().expect("a vector takes all");
        out
    }

    fn bytes(compress: bool, text: &[u8]) -> Vec<u8> {
        written(compress, |writer| put_bytes(writer, text).expect("a vector takes all"))
    }

    #[test]
    fn forms_are_those_of_redis() {
        assert_eq!(bytes(true, b"12"), [0xc0, 12]);
        assert_eq!(bytes(true, b"-129"), [0xc1, 0x7f, 0xff]);
        assert_eq!(bytes(true, b"-2147483648"), [0xc2, 0, 0, 0, 0x80]);
        assert_eq!(bytes(true, b"2147483648"), b"\x0a2147483648");
        assert_eq!(bytes(true, b"012"), b"\x03012");
        assert_eq!(bytes(true, b""), [0]);
        assert_eq!(bytes(true, &[b'a'; 20])[0], 20, "20 bytes are not compressed");
        assert_eq!(bytes(true, &[b'a'; 100])[0], 0xc3);
        assert_eq!(bytes(false, &[b'a'; 100])[..2], [0x40, 100]);
        let digits = written(true, |writer| put_integer(writer, i64::MIN).expect("a vector takes all"));
        assert_eq!(digits[0], 20);
    }

    proptest! {
        #[test]
        fn every_string_comes_back(text: Vec<u8>, repeat in 1usize..50, compress: bool) {
            let text = text.repeat(repeat);
            let encoded = bytes(compress, &text);
            let mut input = SliceInput::new(&encoded);
            let mut scratch = Vec::new();
            let back = match read_token(&mut input, &mut scratch).expect("just written") {
                Token::Bytes(bytes) => bytes.to_vec(),
                Token::Int(value) => value.to_string().into_bytes(),
            };
            assert_eq!(back, text);
            assert!(input.is_empty());
        }

        #[test]
        fn every_integer_comes_back(value in any::<i64>(), shift in 0u32..64) {
            let value = value >> shift;
            let encoded = written(false, |writer| put_integer(writer, value).expect("a vector takes all"));
            let mut scratch = Vec::new();
            match read_token(&mut SliceInput::new(&encoded), &mut scratch).expect("just written") {
                Token::Bytes(bytes) => assert_eq!(bytes, value.to_string().as_bytes()),
                Token::Int(found) => assert_eq!(found, value),
            }
        }

        #[test]
        fn garbage_is_refused_without_panic(garbage: Vec<u8>) {
            let mut scratch = Vec::new();
            let _ = read_token(&mut SliceInput::new(&garbage), &mut scratch);
        }
    }
}
