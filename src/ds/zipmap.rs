//! Zipmap: the small hash of Redis before 2.6, read only, for old RDB files.
//!
//! Owns nothing; reads bytes of the form
//!
//! ```text
//!   | count u8 | len | field | len | free u8 | value | <free> bytes | ... | 0xFF |
//!
//!   len: one byte below 254, or 254 and u32 LE
//! ```
//!
//! A count of 254 means "walk to learn it".
//!
//! Trade-off: validated wholly up front, O(n), so that the walk cannot fail half way.

use crate::ds::corrupt::Corrupt;

/// Ends the map where a field would start.
const END: u8 = 0xFF;
/// Announces a length of four bytes; as a count, "unknown".
const BIG: u8 = 254;

/// A validated reader.
#[derive(Clone, Copy, Debug)]
pub struct Zipmap<'a> {
    bytes: &'a [u8],
}

impl<'a> Zipmap<'a> {
    /// Reads serialised bytes, wholly validated; an empty map is refused, as Redis does. O(n).
    ///
    /// # Errors
    /// The reason why the bytes are not a zipmap.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let (Some(&count), Some(&END)) = (bytes.first(), bytes.last()) else {
            return Err(Corrupt("zipmap without end byte"));
        };
        let mut pairs = Self { bytes }.iter();
        let walked = pairs.by_ref().count();
        if pairs.at + 1 != bytes.len() {
            return Err(Corrupt("zipmap entry reaches outside"));
        }
        if walked == 0 {
            return Err(Corrupt("zipmap is empty"));
        }
        if count != BIG && usize::from(count) != walked {
            return Err(Corrupt("zipmap count disagrees with its entries"));
        }
        Ok(Self { bytes })
    }

    /// The fields and values in order.
    pub fn iter(&self) -> Pairs<'a> {
        Pairs { bytes: self.bytes, at: 1 }
    }
}

/// The fields and values of a zipmap.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    bytes: &'a [u8],
    /// Where the next field starts; stays there at the end and at nonsense.
    at: usize,
}

impl<'a> Pairs<'a> {
    /// The length at `at` and where the bytes after it start.
    fn length(&self, at: usize) -> Option<(usize, usize)> {
        match *self.bytes.get(at)? {
            END => None,
            BIG => {
                let field = self.bytes.get(at + 1..)?.first_chunk::<4>()?;
                Some((u32::from_le_bytes(*field) as usize, at + 5))
            }
            len => Some((usize::from(len), at + 1)),
        }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (field_len, start) = self.length(self.at)?;
        let field = self.bytes.get(start..start + field_len)?;
        let (value_len, free_at) = self.length(start + field_len)?;
        let free = usize::from(*self.bytes.get(free_at)?);
        let start = free_at + 1;
        let value = self.bytes.get(start..start + value_len)?;
        let next = start + value_len + free;
        // The end byte at least must follow.
        if next >= self.bytes.len() {
            return None;
        }
        self.at = next;
        Some((field, value))
    }
}

#[cfg(test)]
mod tests {
    use super::{BIG, Zipmap};
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    /// A naive writer, with `free` bytes after each value.
    fn write(pairs: &[(Vec<u8>, Vec<u8>)], free: u8) -> Vec<u8> {
        let length = |out: &mut Vec<u8>, len: usize| match u8::try_from(len) {
            Ok(small) if small < BIG => out.push(small),
            _ => {
                out.push(BIG);
                out.extend((len as u32).to_le_bytes());
            }
        };
        let mut out = vec![pairs.len().min(usize::from(BIG)) as u8];
        for (field, value) in pairs {
            length(&mut out, field.len());
            out.extend(field);
            length(&mut out, value.len());
            out.push(free);
            out.extend(value);
            out.extend(vec![0xEE; usize::from(free)]);
        }
        out.push(0xFF);
        out
    }

    #[test]
    fn documented_example_is_read() {
        let bytes = b"\x02\x03foo\x03\x00bar\x05hello\x05\x00world\xff";
        let pairs: Vec<_> = Zipmap::from_bytes(bytes).expect("valid").iter().collect();
        assert_eq!(pairs, [(&b"foo"[..], &b"bar"[..]), (b"hello", b"world")]);
        for len in 0..bytes.len() {
            assert!(Zipmap::from_bytes(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Zipmap::from_bytes(b"\x00\xff").is_err());
        assert!(Zipmap::from_bytes(b"\x01\x03foo\x03\x00bar\x05hello\x05\x00world\xff").is_err());
    }

    proptest! {
        #[test]
        fn round_trip(
            pairs in vec((vec(any::<u8>(), 0..300), vec(any::<u8>(), 0..300)), 1..8), free in 0u8..5,
        ) {
            let bytes = write(&pairs, free);
            let read: Vec<_> = Zipmap::from_bytes(&bytes).expect("valid").iter()
                .map(|(field, value)| (field.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn any_bytes_are_survived(mut bytes in vec(proptest::sample::select(vec![0u8, 1, 2, 3, 253, 254, 255]), 0..40)) {
            bytes.push(0xFF);
            if let Ok(map) = Zipmap::from_bytes(&bytes) {
                prop_assert!(map.iter().count() > 0);
            }
        }
    }

    #[test]
    fn mutated_zipmaps_are_survived() {
        let mut random = fastrand::Rng::with_seed(5);
        let (mut accepted, mut refused) = (0u32, 0u32);
        for _ in 0..20_000 {
            let pairs: Vec<_> = (0..random.usize(1..5))
                .map(|_| (vec![b'f'; random.usize(0..9)], vec![b'v'; random.usize(0..9)]))
                .collect();
            let mut bytes = write(&pairs, random.u8(0..3));
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            match Zipmap::from_bytes(&bytes) {
                Ok(map) => {
                    accepted += 1;
                    let payload: usize = map.iter().map(|(field, value)| field.len() + value.len()).sum();
                    assert!(payload < bytes.len());
                }
                Err(_) => refused += 1,
            }
        }
        assert!(accepted > 1_000 && refused > 1_000, "{accepted} accepted, {refused} refused");
    }
}
