//! Byte helpers: readers that cannot run past the end, ASCII case, printable escapes.
//!
//! Everything here takes slices and never panics on their content. Case is ASCII only, as in
//! Redis, whose `strcasecmp` runs in the C locale: bytes from 128 up equal only themselves.

use crate::base::numbers::push_hex_byte;

/// Takes the first `N` bytes off `input`, or leaves it alone and gives `None` when it is shorter.
#[inline]
pub fn take_array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*head)
}

/// Takes the first `count` bytes off `input`, or leaves it alone and gives `None`.
#[inline]
pub fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(head)
}

/// Takes one byte off `input`.
#[inline]
pub fn take_u8(input: &mut &[u8]) -> Option<u8> {
    take_array::<1>(input).map(|[byte]| byte)
}

/// Makes the typed readers: `*_at` reads at an offset, `take_*` consumes from the front.
macro_rules! readers {
    ($($kind:ty, $size:literal, $at_le:ident, $at_be:ident, $take_le:ident, $take_be:ident;)*) => {$(
        #[doc = concat!("Little-endian `", stringify!($kind), "` at `offset`; `None` when it does not fit.")]
        #[inline]
        pub fn $at_le(bytes: &[u8], offset: usize) -> Option<$kind> {
            let array = bytes.get(offset..)?.first_chunk::<$size>()?;
            Some(<$kind>::from_le_bytes(*array))
        }
        #[doc = concat!("Big-endian `", stringify!($kind), "` at `offset`; `None` when it does not fit.")]
        #[inline]
        pub fn $at_be(bytes: &[u8], offset: usize) -> Option<$kind> {
            let array = bytes.get(offset..)?.first_chunk::<$size>()?;
            Some(<$kind>::from_be_bytes(*array))
        }
        #[doc = concat!("Takes a little-endian `", stringify!($kind), "` off the front.")]
        #[inline]
        pub fn $take_le(input: &mut &[u8]) -> Option<$kind> {
            take_array(input).map(<$kind>::from_le_bytes)
        }
        #[doc = concat!("Takes a big-endian `", stringify!($kind), "` off the front.")]
        #[inline]
        pub fn $take_be(input: &mut &[u8]) -> Option<$kind> {
            take_array(input).map(<$kind>::from_be_bytes)
        }
    )*};
}

readers! {
    u16, 2, u16_le_at, u16_be_at, take_u16_le, take_u16_be;
    u32, 4, u32_le_at, u32_be_at, take_u32_le, take_u32_be;
    u64, 8, u64_le_at, u64_be_at, take_u64_le, take_u64_be;
    i16, 2, i16_le_at, i16_be_at, take_i16_le, take_i16_be;
    i32, 4, i32_le_at, i32_be_at, take_i32_le, take_i32_be;
    i64, 8, i64_le_at, i64_be_at, take_i64_le, take_i64_be;
    f64, 8, f64_le_at, f64_be_at, take_f64_le, take_f64_be;
}

/// Whether two texts are equal when ASCII case is ignored (`strcasecmp` == 0).
#[inline]
pub fn eq_ignore_case(left: &[u8], right: &[u8]) -> bool {
    left.eq_ignore_ascii_case(right)
}

/// Whether `text` begins with `prefix`, ASCII case ignored.
#[inline]
pub fn starts_with_ignore_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// A copy of `text` with A-Z made a-z.
pub fn lowercase(text: &[u8]) -> Vec<u8> {
    text.to_ascii_lowercase()
}

/// Appends `text` in double quotes, with everything unprintable escaped, the way Redis prints
/// binary text in MONITOR, logs and DEBUG (`"a\"b\x00\n"`).
///
/// Escapes: `\\ \" \n \r \t \a \b`, and `\xHH` for what is not printable ASCII.
pub fn push_repr(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                out.extend_from_slice(b"\\x");
                push_hex_byte(byte, out);
            }
        }
    }
    out.push(b'"');
}

/// [`push_repr`] into a new vector.
pub fn repr(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_repr(text, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::{
        eq_ignore_case, f64_le_at, lowercase, repr, starts_with_ignore_case, take, take_i64_be, take_u8,
        take_u16_be, take_u32_le, u16_le_at, u32_be_at, u64_le_at,
    };

    #[test]
    fn readers_stop_at_the_end() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(u64_le_at(&bytes, 0), Some(0x0807_0605_0403_0201));
        assert_eq!(u64_le_at(&bytes, 1), None);
        assert_eq!(u32_be_at(&bytes, 4), Some(0x0506_0708));
        assert_eq!(u32_be_at(&bytes, 5), None);
        assert_eq!(u16_le_at(&bytes, 6), Some(0x0807));
        assert_eq!(u16_le_at(&bytes, usize::MAX), None);
        assert_eq!(f64_le_at(&1.5f64.to_le_bytes(), 0), Some(1.5));
    }

    #[test]
    fn taking_consumes_only_on_success() {
        let mut input: &[u8] = &[1, 2, 3, 4, 5, 6, 7];
        assert_eq!(take_u8(&mut input), Some(1));
        assert_eq!(take_u16_be(&mut input), Some(0x0203));
        assert_eq!(take_i64_be(&mut input), None);
        assert_eq!(input, &[4, 5, 6, 7]);
        assert_eq!(take(&mut input, 5), None);
        assert_eq!(take_u32_le(&mut input), Some(0x0706_0504));
        assert_eq!(take(&mut input, 0), Some(&[][..]));
        assert_eq!(take_u8(&mut input), None);
    }

    #[test]
    fn case_is_ascii_only() {
        assert!(eq_ignore_case(b"GeT", b"gEt"));
        assert!(!eq_ignore_case(b"get", b"gett"));
        assert!(!eq_ignore_case(b"\xc3", b"\xe3"));
        assert!(!eq_ignore_case(b"[", b"{"));
        assert_eq!(lowercase(b"AbC-Z\xc3["), b"abc-z\xc3[");
        assert!(starts_with_ignore_case(b"LIMIT 3", b"limit"));
        assert!(!starts_with_ignore_case(b"lim", b"limit"));
    }

    #[test]
    fn repr_escapes_like_redis() {
        assert_eq!(repr(b"a\\b\"c"), b"\"a\\\\b\\\"c\"");
        assert_eq!(repr(b"\n\r\t\x07\x08"), b"\"\\n\\r\\t\\a\\b\"");
        assert_eq!(repr(b"\x00\x1f ~\x7f\xff"), b"\"\\x00\\x1f ~\\x7f\\xff\"");
        assert_eq!(repr(b""), b"\"\"");
    }
}
