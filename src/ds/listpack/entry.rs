//! One listpack entry: how an element becomes bytes and bytes an element.
//!
//! Owns the encodings. Format as documented by the listpack specification (antirez) and as written
//! by Redis 7.2:
//!
//! ```text
//!   | encoding | data ............ | backlen |
//!
//!   0vvvvvvv                      integer 0..=127
//!   10llllll  <l bytes>           string below 64 bytes
//!   110vvvvv vvvvvvvv             integer -4096..=4095
//!   1110llll llllllll <l bytes>   string below 4096 bytes
//!   11110000 <u32 LE l> <l bytes> longer string
//!   11110001 .. 11110100          integer of 2, 3, 4, 8 bytes LE
//!   11111111                      end of the listpack
//! ```
//!
//! `backlen` is the length of encoding and data in base 128, most significant digit first, the
//! continuation bit on every byte but the first: it is read backwards from the next entry.
//!
//! Trade-off: 2 bytes over the payload of a short string, 2 to 11 bytes for an integer.

use crate::ds::element::{Element, parse_integer};

/// The byte that ends a listpack.
pub(super) const END: u8 = 0xFF;
/// The most bytes before the data of an entry: a tag and eight bytes of integer.
const MAX_HEAD_BYTES: usize = 9;
/// The most bytes of a backlen.
const MAX_BACKLEN_BYTES: usize = 5;

const TAG_STRING_32: u8 = 0xF0;
const TAG_INT_16: u8 = 0xF1;
const TAG_INT_24: u8 = 0xF2;
const TAG_INT_32: u8 = 0xF3;
const TAG_INT_64: u8 = 0xF4;

/// An entry ready to be written: head (tag, length or integer) and body (string bytes).
pub(super) struct Encoded<'a> {
    head: [u8; MAX_HEAD_BYTES],
    head_len: usize,
    body: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// Chooses the encoding Redis would choose. Strings above `u32::MAX` bytes cannot be encoded;
    /// `entry_len` is then too large for any listpack, which the caller checks first.
    pub(super) fn new(element: Element<'a>) -> Self {
        match element {
            Element::Int(value) => Self::integer(value),
            Element::Bytes(bytes) => match parse_integer(bytes) {
                Some(value) => Self::integer(value),
                None => Self::string(bytes),
            },
        }
    }

    fn integer(value: i64) -> Self {
        let little = value.to_le_bytes();
        let wide = |tag: u8, width: usize| Self::from_parts(tag, &little[..width], &[]);
        match value {
            0..=127 => Self::from_parts(little[0], &[], &[]),
            -4096..=4095 => Self::from_parts(0xC0 | (little[1] & 0x1F), &little[..1], &[]),
            -32_768..=32_767 => wide(TAG_INT_16, 2),
            -8_388_608..=8_388_607 => wide(TAG_INT_24, 3),
            -2_147_483_648..=2_147_483_647 => wide(TAG_INT_32, 4),
            _ => wide(TAG_INT_64, 8),
        }
    }

    fn string(bytes: &'a [u8]) -> Self {
        let little = bytes.len().to_le_bytes();
        match bytes.len() {
            0..=63 => Self::from_parts(0x80 | little[0], &[], bytes),
            64..=4095 => Self::from_parts(0xE0 | little[1], &little[..1], bytes),
            _ => Self::from_parts(TAG_STRING_32, &little[..4], bytes),
        }
    }

    fn from_parts(tag: u8, rest: &[u8], body: &'a [u8]) -> Self {
        let mut head = [0; MAX_HEAD_BYTES];
        head[0] = tag;
        head[1..=rest.len()].copy_from_slice(rest);
        Self { head, head_len: 1 + rest.len(), body }
    }

    /// Bytes of the whole entry, backlen included.
    pub(super) fn entry_len(&self) -> usize {
        let inner = self.head_len + self.body.len();
        inner + backlen_size(inner)
    }

    /// Writes the entry into `window`, which has exactly `entry_len` bytes.
    pub(super) fn write_to(&self, window: &mut [u8]) {
        let inner = self.head_len + self.body.len();
        window[..self.head_len].copy_from_slice(&self.head[..self.head_len]);
        window[self.head_len..inner].copy_from_slice(self.body);
        let size = window.len() - inner;
        let mut rest = inner;
        for (index, byte) in window[inner..].iter_mut().enumerate().rev() {
            let more = if index == 0 { 0 } else { 0x80 };
            *byte = (rest & 0x7F) as u8 | more;
            rest >>= 7;
        }
        debug_assert_eq!(size, backlen_size(inner));
    }
}

/// Bytes of the backlen of an entry whose encoding and data take `inner` bytes. The limits are one
/// below the powers of 128, a quirk of Redis that byte compatibility keeps.
pub(super) fn backlen_size(inner: usize) -> usize {
    match inner {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => MAX_BACKLEN_BYTES,
    }
}

/// Lengths of head and body of the entry at `at`; `None` at the end, for an unknown tag and where
/// the bytes stop early.
fn measure(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let tag = *bytes.get(at)?;
    Some(match tag {
        0x00..=0x7F => (1, 0),
        0x80..=0xBF => (1, usize::from(tag & 0x3F)),
        0xC0..=0xDF => (2, 0),
        0xE0..=0xEF => (2, usize::from(tag & 0x0F) << 8 | usize::from(*bytes.get(at + 1)?)),
        TAG_STRING_32 => {
            let len = bytes.get(at + 1..at + 5)?.first_chunk::<4>()?;
            (5, u32::from_le_bytes(*len) as usize)
        }
        TAG_INT_16 => (3, 0),
        TAG_INT_24 => (4, 0),
        TAG_INT_32 => (5, 0),
        TAG_INT_64 => (9, 0),
        _ => return None,
    })
}

/// Where the entry after the one at `at` starts, or `None` at the end or at bytes that are not an
/// entry inside the listpack. O(1); never reads outside `bytes`.
pub(super) fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let (head, body) = measure(bytes, at)?;
    let inner = head + body;
    let next = at + inner + backlen_size(inner);
    (next < bytes.len()).then_some(next)
}

/// The element at `at`, or `None` as for `skip`.
pub(super) fn decode(bytes: &[u8], at: usize) -> Option<Element<'_>> {
    let (head, body) = measure(bytes, at)?;
    element_of(bytes.get(at..at + head + body)?, head)
}

/// `decode` and `skip` in one; the second value is below the length.
#[inline]
pub(super) fn decode_and_skip(bytes: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    // The short string, the most frequent of all, without the table of tags.
    if let Some(tag @ 0x80..=0xBF) = bytes.get(at) {
        let end = at + 1 + usize::from(tag & 0x3F);
        return (end + 1 < bytes.len()).then(|| (Element::Bytes(&bytes[at + 1..end]), end + 1));
    }
    let (head, body) = measure(bytes, at)?;
    let inner = head + body;
    let next = at + inner + backlen_size(inner);
    let entry = bytes.get(at..at + inner).filter(|_| next < bytes.len())?;
    Some((element_of(entry, head)?, next))
}

/// The element of an entry without its backlen, whose data begin after `head` bytes.
#[inline]
fn element_of(entry: &[u8], head: usize) -> Option<Element<'_>> {
    let (&tag, data) = entry.split_first()?;
    Some(match tag {
        0x00..=0x7F => Element::Int(i64::from(tag)),
        0xC0..=0xDF => {
            let unsigned = u16::from(tag & 0x1F) << 8 | u16::from(data[0]);
            // The sign is bit 12: shift it to bit 15 and back.
            Element::Int(i64::from((unsigned << 3).cast_signed() >> 3))
        }
        TAG_INT_16..=TAG_INT_64 => Element::Int(little_integer(data)),
        _ => Element::Bytes(&entry[head..]),
    })
}

/// Sign-extends up to eight little-endian bytes.
fn little_integer(data: &[u8]) -> i64 {
    let mut wide = [0; 8];
    wide[8 - data.len()..].copy_from_slice(data);
    i64::from_le_bytes(wide) >> (64 - 8 * data.len())
}

/// Reads the backlen that ends just before `end`, without leaving `bytes[floor..]`.
pub(super) fn read_backlen(bytes: &[u8], floor: usize, end: usize) -> Option<usize> {
    let mut value = 0usize;
    for digit in 0..MAX_BACKLEN_BYTES {
        let at = end.checked_sub(digit + 1).filter(|&at| at >= floor)?;
        let byte = *bytes.get(at)?;
        value |= usize::from(byte & 0x7F) << (7 * digit);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
