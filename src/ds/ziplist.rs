//! Ziplist: the packed sequence of Redis before 7.0, read only, for old RDB files.
//!
//! Owns nothing; reads bytes of the form
//!
//! ```text
//!   | total u32 LE | tail offset u32 LE | count u16 LE | entry | entry | ... | 0xFF |
//!   0              4                    8              10
//!
//!   entry: | length of the previous entry | encoding | data |
//!           one byte below 254, or 254 and u32 LE
//!
//!   00llllll                string below 64 bytes
//!   01llllll llllllll       string below 16384 bytes, length big-endian
//!   10______ <u32 BE>       longer string
//!   11000000 / 11010000 / 11100000   integer of 2 / 4 / 8 bytes LE
//!   11110000 / 11111110              integer of 3 / 1 bytes LE
//!   1111vvvv                integer v - 1, v from 1 to 13
//! ```
//!
//! A count of 65535 means "walk to learn it".
//!
//! Trade-off: validated wholly up front, O(n), so that the walk (forward only, all a loader needs)
//! cannot fail half way.

use crate::ds::corrupt::Corrupt;
use crate::ds::element::Element;

const HEADER_BYTES: usize = 10;
const END: u8 = 0xFF;
/// Announces a previous length of four bytes.
const BIG_PREVIOUS: u8 = 254;

/// A validated reader.
#[derive(Clone, Copy, Debug)]
pub struct Ziplist<'a> {
    bytes: &'a [u8],
}

/// One decoded entry.
struct Entry<'a> {
    previous_len: usize,
    element: Element<'a>,
    next: usize,
}

impl<'a> Ziplist<'a> {
    /// Reads serialised bytes, wholly validated. O(n).
    ///
    /// # Errors
    /// The reason why the bytes are not a ziplist.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let field = |at: usize| bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field));
        let (Some(total), Some(tail)) = (field(0), field(4)) else {
            return Err(Corrupt("ziplist shorter than its header"));
        };
        if bytes.len() <= HEADER_BYTES {
            return Err(Corrupt("ziplist shorter than its header"));
        }
        if total as usize != bytes.len() {
            return Err(Corrupt("ziplist header disagrees with its size"));
        }
        if bytes.last() != Some(&END) {
            return Err(Corrupt("ziplist without end byte"));
        }
        if tail as usize >= bytes.len() {
            return Err(Corrupt("ziplist tail reaches outside"));
        }
        let list = Self { bytes };
        list.validate_entries(tail as usize)?;
        Ok(list)
    }

    fn validate_entries(&self, tail: usize) -> Result<(), Corrupt> {
        let end = self.bytes.len() - 1;
        let (mut at, mut last, mut count) = (HEADER_BYTES, None, 0usize);
        while at != end {
            let Some(entry) = decode(self.bytes, at) else {
                return Err(Corrupt("ziplist entry unknown or cut off"));
            };
            if entry.previous_len != last.map_or(0, |last| at - last) {
                return Err(Corrupt("ziplist entry with a wrong previous length"));
            }
            last = Some(at);
            at = entry.next;
            count += 1;
        }
        if last.is_some_and(|last| last != tail) {
            return Err(Corrupt("ziplist tail is not its last entry"));
        }
        let known = u16::from_le_bytes([self.bytes[8], self.bytes[9]]);
        if known != u16::MAX && usize::from(known) != count {
            return Err(Corrupt("ziplist count disagrees with its entries"));
        }
        Ok(())
    }

    /// The elements in order.
    pub fn iter(&self) -> Iter<'a> {
        Iter { bytes: self.bytes, at: HEADER_BYTES }
    }
}

/// The elements of a ziplist.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let entry = decode(self.bytes, self.at)?;
        self.at = entry.next;
        Some(entry.element)
    }
}

/// The entry at `at`, or `None` at the end, for an unknown encoding and where it reaches outside.
fn decode(bytes: &[u8], at: usize) -> Option<Entry<'_>> {
    let (previous_len, at) = match *bytes.get(at)? {
        END => return None,
        BIG_PREVIOUS => {
            let field = bytes.get(at + 1..)?.first_chunk::<4>()?;
            (u32::from_le_bytes(*field) as usize, at + 5)
        }
        small => (usize::from(small), at + 1),
    };
    let tag = *bytes.get(at)?;
    let (element, next) =
        if tag < 0xC0 { decode_string(bytes, at, tag)? } else { decode_integer(bytes, at, tag)? };
    // The end byte at least must follow.
    (next < bytes.len()).then_some(Entry { previous_len, element, next })
}

fn decode_string(bytes: &[u8], at: usize, tag: u8) -> Option<(Element<'_>, usize)> {
    let (len, start) = match tag >> 6 {
        0 => (usize::from(tag), at + 1),
        1 => (usize::from(tag & 0x3F) << 8 | usize::from(*bytes.get(at + 1)?), at + 2),
        _ => {
            let field = bytes.get(at + 1..)?.first_chunk::<4>()?;
            (u32::from_be_bytes(*field) as usize, at + 5)
        }
    };
    let end = start + len;
    Some((Element::Bytes(bytes.get(start..end)?), end))
}

fn decode_integer(bytes: &[u8], at: usize, tag: u8) -> Option<(Element<'_>, usize)> {
    let width = match tag {
        0xC0 => 2,
        0xD0 => 4,
        0xE0 => 8,
        0xF0 => 3,
        0xFE => 1,
        0xF1..=0xFD => return Some((Element::Int(i64::from(tag & 0x0F) - 1), at + 1)),
        _ => return None,
    };
    let data = bytes.get(at + 1..at + 1 + width)?;
    let mut wide = [0; 8];
    wide[8 - width..].copy_from_slice(data);
    let value = i64::from_le_bytes(wide) >> (64 - 8 * width);
    Some((Element::Int(value), at + 1 + width))
}

#[cfg(test)]
mod tests {
    use super::{BIG_PREVIOUS, Ziplist};
    use crate::ds::element::Element;
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

    #[derive(Clone, Debug)]
    enum Item {
        Int(i64),
        Text(Vec<u8>),
    }

    impl Item {
        fn as_element(&self) -> Element<'_> {
            match self {
                Self::Int(value) => Element::Int(*value),
                Self::Text(text) => Element::Bytes(text),
            }
        }
    }

    fn encode(item: &Item) -> Vec<u8> {
        match item {
            Item::Int(value @ 0..=12) => vec![0xF1 + *value as u8],
            Item::Int(value) => {
                let (tag, width) = match value {
                    -128..=127 => (0xFE, 1),
                    -32_768..=32_767 => (0xC0, 2),
                    -8_388_608..=8_388_607 => (0xF0, 3),
                    -2_147_483_648..=2_147_483_647 => (0xD0, 4),
                    _ => (0xE0, 8),
                };
                [&[tag], &value.to_le_bytes()[..width]].concat()
            }
            Item::Text(text) => {
                let len = text.len() as u32;
                let head = match len {
                    0..=63 => vec![len as u8],
                    64..=16_383 => vec![0x40 | (len >> 8) as u8, len as u8],
                    _ => [&[0x80], &len.to_be_bytes()[..]].concat(),
                };
                [head, text.clone()].concat()
            }
        }
    }

    /// A naive writer.
    fn write(items: &[Item]) -> Vec<u8> {
        let mut out = vec![0; 10];
        let (mut previous, mut tail) = (0usize, 10usize);
        for item in items {
            tail = out.len();
            if previous < usize::from(BIG_PREVIOUS) {
                out.push(previous as u8);
            } else {
                out.push(BIG_PREVIOUS);
                out.extend((previous as u32).to_le_bytes());
            }
            out.extend(encode(item));
            previous = out.len() - tail;
        }
        out.push(0xFF);
        let total = out.len() as u32;
        out[..4].copy_from_slice(&total.to_le_bytes());
        out[4..8].copy_from_slice(&(tail as u32).to_le_bytes());
        out[8..10].copy_from_slice(&(items.len() as u16).to_le_bytes());
        out
    }

    /// The example of the format's description: the elements "2" and "5".
    #[test]
    fn documented_example_is_read() {
        let bytes = b"\x0f\0\0\0\x0c\0\0\0\x02\0\x00\xf3\x02\xf6\xff";
        let elements: Vec<_> = Ziplist::from_bytes(bytes).expect("valid").iter().collect();
        assert_eq!(elements, [Element::Int(2), Element::Int(5)]);
        for at in [0, 4, 8, 10, 12, 14] {
            let mut bad = bytes.to_vec();
            bad[at] ^= 1;
            assert!(Ziplist::from_bytes(&bad).is_err(), "{at}");
        }
        for len in 0..bytes.len() {
            let mut bad = bytes[..len].to_vec();
            assert!(Ziplist::from_bytes(&bad).is_err(), "{len}");
            if len > 4 {
                bad[0] = len as u8;
                bad[len - 1] = 0xFF;
                assert!(Ziplist::from_bytes(&bad).is_err(), "{len} with end");
            }
        }
    }

    fn item() -> impl Strategy<Value = Item> {
        prop_oneof![
            4 => (0u32..64, any::<i64>()).prop_map(|(shift, value)| Item::Int(value >> shift)),
            4 => vec(any::<u8>(), 0..90).prop_map(Item::Text),
            2 => (200usize..300).prop_map(|len| Item::Text(vec![b'm'; len])),
            1 => (16_300usize..16_500).prop_map(|len| Item::Text(vec![b'l'; len])),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(items in vec(item(), 0..12)) {
            let bytes = write(&items);
            let list = Ziplist::from_bytes(&bytes).expect("valid");
            let expected: Vec<_> = items.iter().map(Item::as_element).collect();
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), expected);
        }

        #[test]
        fn any_entries_are_survived(body in vec(any::<u8>(), 0..40), tail in 0u32..60, count in 0u16..5) {
            let total = body.len() as u32 + 11;
            let head = [&total.to_le_bytes()[..], &tail.to_le_bytes(), &count.to_le_bytes()].concat();
            let bytes = [&head, &body[..], &[0xFF]].concat();
            if let Ok(list) = Ziplist::from_bytes(&bytes) {
                prop_assert_eq!(list.iter().count(), usize::from(count));
            }
        }
    }

    #[test]
    fn mutated_ziplists_are_survived() {
        let mut random = fastrand::Rng::with_seed(9);
        let (mut accepted, mut refused) = (0u32, 0u32);
        for _ in 0..20_000 {
            let items: Vec<_> = (0..random.usize(0..5))
                .map(|_| match random.bool() {
                    true => Item::Int(random.i64(..) >> random.u32(0..64)),
                    false => Item::Text(vec![b't'; random.usize(0..70)]),
                })
                .collect();
            let mut bytes = write(&items);
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            match Ziplist::from_bytes(&bytes) {
                Ok(list) => {
                    accepted += 1;
                    assert_eq!(list.iter().count(), items.len());
                }
                Err(_) => refused += 1,
            }
        }
        assert!(accepted > 1_000 && refused > 1_000, "{accepted} accepted, {refused} refused");
    }
}
