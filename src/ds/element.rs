//! One element of a packed structure: an integer or a byte string.
//!
//! Owns the rule which strings are kept as integers, shared by listpack, intset, quicklist and
//! ziplist. The integer 12 and the string "12" are the same element for every client.

use std::borrow::Cow;

/// The longest decimal form of an `i64`: 19 digits and a sign, bytes.
pub const MAX_INTEGER_TEXT_BYTES: usize = 20;

/// An element, borrowed from the structure or given by the caller.
#[derive(Clone, Copy, Debug)]
pub enum Element<'a> {
    /// An integer.
    Int(i64),
    /// A byte string; on the way in it may look like an integer and is then stored as one.
    Bytes(&'a [u8]),
}

impl Element<'_> {
    /// The integer, when the element is one or is written exactly as one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Bytes(bytes) => parse_integer(bytes),
        }
    }

    /// Whether the element reads as `bytes` to a client.
    pub fn reads_as(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Int(value) => itoa::Buffer::new().format(*value).as_bytes() == bytes,
            Self::Bytes(own) => *own == bytes,
        }
    }

    /// Length as a client sees it, bytes.
    pub fn text_len(&self) -> usize {
        match self {
            Self::Int(value) => itoa::Buffer::new().format(*value).len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Appends the element as a client sees it.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(value) => {
                out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
            }
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// A copy of the element as a client sees it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text_len());
        self.append_to(&mut out);
        out
    }

    /// A copy that borrows nothing.
    pub fn to_picked(&self) -> Picked<'static> {
        match self {
            Self::Int(value) => Picked::Int(*value),
            Self::Bytes(bytes) => Picked::Bytes(Cow::Owned(bytes.to_vec())),
        }
    }
}

impl PartialEq for Element<'_> {
    /// Equal when a client cannot tell them apart.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => left == right,
            (left, Self::Bytes(bytes)) | (Self::Bytes(bytes), left) => left.reads_as(bytes),
        }
    }
}

impl Eq for Element<'_> {}

impl From<i64> for Element<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a [u8]> for Element<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const LEN: usize> From<&'a [u8; LEN]> for Element<'a> {
    fn from(bytes: &'a [u8; LEN]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Element<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// An element taken out of a structure: borrowed where possible, owned when it had to be
/// decompressed or was removed.
#[derive(Clone, Debug)]
pub enum Picked<'a> {
    /// An integer.
    Int(i64),
    /// A byte string.
    Bytes(Cow<'a, [u8]>),
}

impl Picked<'_> {
    /// The same element, borrowed.
    pub fn as_element(&self) -> Element<'_> {
        match self {
            Self::Int(value) => Element::Int(*value),
            Self::Bytes(bytes) => Element::Bytes(bytes),
        }
    }

    /// The element as a client sees it; copies nothing when the bytes are already owned.
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Int(_) => self.as_element().to_vec(),
            Self::Bytes(bytes) => bytes.into_owned(),
        }
    }
}

impl<'a> From<Element<'a>> for Picked<'a> {
    fn from(element: Element<'a>) -> Self {
        match element {
            Element::Int(value) => Self::Int(value),
            Element::Bytes(bytes) => Self::Bytes(Cow::Borrowed(bytes)),
        }
    }
}

/// The `i64` whose one canonical decimal form is exactly `text`: no plus sign, no leading zero, no
/// "-0", no blanks. This is what Redis stores as an integer (`lpStringToInt64`).
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    if text.len() > MAX_INTEGER_TEXT_BYTES {
        return None;
    }
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut magnitude = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

#[cfg(test)]
mod tests {
    use super::{Element, parse_integer};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn only_canonical_integers_are_integers() {
        for text in ["0", "-1", "1", "10", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(parse_integer(text.as_bytes()), text.parse().ok(), "{text}");
            assert!(parse_integer(text.as_bytes()).is_some());
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "+1",
            " 1",
            "1 ",
            "1x",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
            "0x1",
            "111111111111111111111",
            "-01",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn integer_and_its_text_are_equal() {
        assert_eq!(Element::Int(-12), Element::Bytes(b"-12"));
        assert_ne!(Element::Int(12), Element::Bytes(b"012"));
        assert_eq!(Element::Int(i64::MIN).text_len(), 20);
    }

    proptest! {
        #[test]
        fn round_trip(value in any::<i64>()) {
            prop_assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn text_that_parses_is_canonical(text in "[-+0-9 ]{0,21}") {
            let expected = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_integer(text.as_bytes()), expected);
        }
    }
}
