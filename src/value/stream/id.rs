//! Ids of stream entries: Unix milliseconds and a sequence number, in that order.
//!
//! Owns their order, arithmetic and text (`1526919030474-55`); what texts mean in a command's
//! arguments (`$`, `>`, an open range) is for the command to say.

use crate::base::numbers::{parse_u64_lenient, push_u64};
use crate::sys::data_alloc::{Mover, Relocate};
use std::fmt;

/// The longest text of an id, bytes: two numbers of 20 digits and the hyphen.
pub const ID_TEXT_BYTES_MAX: usize = 41;
/// The longest argument that is looked at, bytes (Redis copies it into a buffer of 128).
const ARGUMENT_BYTES_MAX: usize = 127;

/// An entry's id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Unix time, ms.
    pub ms: u64,
    pub seq: u64,
}

/// The text of an id.
pub struct IdText {
    bytes: [u8; ID_TEXT_BYTES_MAX],
    len: u8,
}

impl Relocate for StreamId {
    fn relocate(&mut self, _mover: &mut Mover) {}
}

impl StreamId {
    /// `0-0`: before every entry.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The last id there can be.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The id after this one; `None` after the last.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The id before this one; `None` before the first.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// Reads `ms-seq` or `ms`, which then has the sequence number `missing_seq`.
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<Self> {
        let (ms, seq) = split(text)?;
        let seq = seq.map_or(Some(missing_seq), parse_u64_lenient)?;
        Some(Self { ms: parse_u64_lenient(ms)?, seq })
    }

    /// Reads what XADD takes: as [`Self::parse`], or `ms-*`, for which the sequence number is to
    /// be chosen (`None`).
    pub fn parse_open(text: &[u8]) -> Option<(u64, Option<u64>)> {
        let (ms, seq) = split(text)?;
        let seq = match seq {
            None => Some(0),
            Some(b"*") => None,
            Some(seq) => Some(parse_u64_lenient(seq)?),
        };
        Some((parse_u64_lenient(ms)?, seq))
    }

    /// The 16 bytes of an RDB: both numbers big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// Undoes [`Self::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let wide = u128::from_be_bytes(bytes);
        Self { ms: (wide >> 64) as u64, seq: wide as u64 }
    }

    /// The text, in a buffer of its own.
    pub fn text(self) -> IdText {
        let mut text = IdText { bytes: [0; ID_TEXT_BYTES_MAX], len: 0 };
        text.push(itoa::Buffer::new().format(self.ms).as_bytes());
        text.push(b"-");
        text.push(itoa::Buffer::new().format(self.seq).as_bytes());
        text
    }

    /// Appends the text.
    pub fn append_to(self, out: &mut Vec<u8>) {
        push_u64(self.ms, out);
        out.push(b'-');
        push_u64(self.seq, out);
    }
}

/// Cuts at the first hyphen.
fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.len() > ARGUMENT_BYTES_MAX {
        return None;
    }
    Some(match text.iter().position(|byte| *byte == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    })
}

impl fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.ms, self.seq)
    }
}

impl IdText {
    fn push(&mut self, part: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + part.len()].copy_from_slice(part);
        self.len += part.len() as u8;
    }
}

impl AsRef<[u8]> for IdText {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::StreamId;

    #[test]
    fn texts_are_read_and_written() {
        let id = StreamId::new(1_526_919_030_474, 55);
        assert_eq!(StreamId::parse(b"1526919030474-55", 0), Some(id));
        assert_eq!(id.text().as_ref(), b"1526919030474-55");
        assert_eq!(StreamId::MAX.text().as_ref(), StreamId::MAX.to_string().as_bytes());
        assert_eq!(StreamId::parse(b"7", 9), Some(StreamId::new(7, 9)));
        for bad in ["", "-", "+", "a", "1-", "1-a", "1-1-1", "1-*", "18446744073709551616"] {
            assert_eq!(StreamId::parse(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(StreamId::parse(&[b'1'; 200], 0), None);
        assert_eq!(StreamId::parse_open(b"5-*"), Some((5, None)));
        assert_eq!(StreamId::parse_open(b"5"), Some((5, Some(0))));
        assert_eq!(StreamId::parse_open(b"5-3"), Some((5, Some(3))));
        assert_eq!(StreamId::parse_open(b"*-3"), None);
    }

    #[test]
    fn neighbours_carry() {
        assert_eq!(StreamId::new(1, u64::MAX).next(), Some(StreamId::new(2, 0)));
        assert_eq!(StreamId::new(2, 0).previous(), Some(StreamId::new(1, u64::MAX)));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        let id = StreamId::new(3, 4);
        assert_eq!(id.next().and_then(StreamId::previous), Some(id));
        assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
        assert_eq!(id.to_bytes()[7..9], [3, 0]);
    }
}
