//! Numbers as text, by Redis's rules: integers, doubles, yes/no, memory sizes.
//!
//! The integer parsers accept exactly the texts that printing a number gives back: no sign `+`, no
//! leading zero, no `-0`, no space. That is what lets a string be stored as an integer and read
//! back unchanged. The rules are those of `string2ll`, `string2ull`, `string2d` and `memtoull`
//! in Redis 7.2's util.c.

use rustc_apfloat::ieee::Double;
use rustc_apfloat::{Float, Round};

/// Digits of the longest `u64`.
const MAX_U64_DIGITS: usize = 20;
/// Digits that always fit a `u64`, whatever they are: 10^19 - 1 is below 2^64.
const SAFE_U64_DIGITS: usize = 19;
/// Longest hexadecimal float read, in bytes, equal to Redis's buffer for long doubles. It bounds
/// how far digits can shift the exponent, so that clamping the exponent below is exact.
const MAX_HEX_FLOAT_BYTES: usize = 5 * 1024 - 1;
/// Binary exponents are cut to this magnitude: with [`MAX_HEX_FLOAT_BYTES`] digits (4 bits each) any
/// larger one over- or underflows all the same.
const MAX_HEX_EXPONENT: i64 = 100_000;

/// Reads a signed 64-bit integer, strictly (`string2ll`).
///
/// Accepts `0`, or an optional `-` and digits that do not begin with `0`; everything else and what
/// does not fit is `None`. Eight digits a step.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.len() > SAFE_U64_DIGITS {
        return None;
    }
    let magnitude = canonical_digits(digits)?;
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Reads an unsigned 64-bit integer, strictly: `0`, or digits that do not begin with `0`.
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text == b"0" { Some(0) } else { canonical_digits(text) }
}

/// Reads an unsigned 64-bit integer as loosely as Redis does for stream ids (`string2ull`: the
/// strict parser first, then C's `strtoull`).
///
/// So spaces in front, one sign and leading zeros are accepted here, a negative number that
/// the strict parser knows is refused, and other negative texts (`-01`, `-18446744073709551615`)
/// wrap around, as C defines. For stream ids only.
pub fn parse_u64_lenient(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_i64(text) {
        return u64::try_from(value).ok();
    }
    let start = text.iter().position(|byte| !is_c_space(*byte))?;
    let (negative, digits) = match &text[start..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let significant = &digits[digits.iter().take_while(|byte| **byte == b'0').count()..];
    let magnitude = if significant.is_empty() { 0 } else { canonical_digits(significant)? };
    Some(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// The value of 1 to 20 digits of which the first is not `0`.
#[inline]
fn canonical_digits(digits: &[u8]) -> Option<u64> {
    if !matches!(digits.first(), Some(b'1'..=b'9')) || digits.len() > MAX_U64_DIGITS {
        return None;
    }
    let (safe, last) = digits.split_at(digits.len().min(SAFE_U64_DIGITS));
    let mut value = 0u64;
    let mut rest = safe;
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        value = value * 100_000_000 + eight_digits(*eight)?;
        rest = after;
    }
    for &byte in rest {
        value = value * 10 + u64::from(digit(byte)?);
    }
    match last {
        [] => Some(value),
        [byte, ..] => value.checked_mul(10)?.checked_add(u64::from(digit(*byte)?)),
    }
}

#[inline]
fn digit(byte: u8) -> Option<u8> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(value)
}

/// The value of eight digits, computed in one word: neighbours are joined to two, four, eight
/// digits by three multiplications.
#[inline]
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const HIGH_NIBBLES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    let word = u64::from_le_bytes(text);
    // Adding 6 carries ':'..'?' into the next high nibble, so only '0'..'9' pass both tests.
    let all_digits =
        word & HIGH_NIBBLES == ZEROS && word.wrapping_add(0x0606_0606_0606_0606) & HIGH_NIBBLES == ZEROS;
    if !all_digits {
        return None;
    }
    let pairs = (word & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(10 * 256 + 1) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(100 * 65_536 + 1) >> 16;
    Some((fours & 0x0000_ffff_0000_ffff).wrapping_mul(10_000 * (1 << 32) + 1) >> 32)
}

/// Appends `value` in decimal.
#[inline]
pub fn push_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `value` in decimal.
#[inline]
pub fn push_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `byte` as two lower-case hexadecimal digits.
#[inline]
pub fn push_hex_byte(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

/// How many decimal digits `value` has (1 for 0).
#[inline]
pub fn digits10(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// How many characters `value` takes in decimal, the minus sign included.
#[inline]
pub fn sdigits10(value: i64) -> usize {
    digits10(value.unsigned_abs()) + usize::from(value < 0)
}

/// Reads a double as `getDoubleFromObject` does (C's `strtod`, then Redis's refusals).
///
/// Accepted: decimal and hexadecimal floats with an optional sign (`3.0e3`, `.5`, `0x1.8p3`, `0x10`),
/// and `inf` or `infinity` in any case. Refused: empty text, a space in front, anything after
/// the number (a NUL byte too), NaN in every spelling, numbers too large for a double, and numbers so small
/// that they become zero. Denormals are accepted.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    if let Some(value) = parse_short_whole(text) {
        return Some(value);
    }
    let decimal: Option<f64> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let value = match decimal {
        // The common case: std takes the decimal texts that C takes.
        Some(value) if value.is_normal() => return Some(value),
        Some(value) => value,
        None => {
            let FloatText::Hexadecimal(rewritten) = classify_float(text)? else {
                return None;
            };
            let parsed = Double::from_str_r(&rewritten, Round::NearestTiesToEven).ok()?.value;
            f64::from_bits(u64::try_from(parsed.to_bits()).ok()?)
        }
    };
    // What C reports as ERANGE: infinite or zero, and not written so.
    let overflow = value.is_infinite() && !is_infinity_text(text);
    let underflow = value == 0.0 && !is_zero_text(text);
    let refused = value.is_nan() || overflow || underflow;
    (!refused).then_some(value)
}

/// Digits alone, few enough for a double to hold them exactly: most scores.
#[inline]
fn parse_short_whole(text: &[u8]) -> Option<f64> {
    /// 10^15 is below 2^53.
    const DIGITS_MAX: usize = 15;
    if text.is_empty() || text.len() > DIGITS_MAX {
        return None;
    }
    let mut number = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    Some(number as f64)
}

/// How a text that `strtod` would consume whole is written.
pub(crate) enum FloatText {
    /// `inf` or `infinity`, any case, any sign.
    Infinity,
    /// A decimal number that Rust's and APFloat's parsers take as it stands.
    Decimal,
    /// The same number as a hexadecimal float that always has an exponent, cut to a safe size.
    Hexadecimal(String),
}

/// Checks that all of `text` is one number in C's syntax (NaN excepted) and tells its kind.
pub(crate) fn classify_float(text: &[u8]) -> Option<FloatText> {
    let unsigned = without_sign(text);
    if is_infinity_text(text) {
        return Some(FloatText::Infinity);
    }
    if let [b'0', b'x' | b'X', rest @ ..] = unsigned {
        let negative = text.first() == Some(&b'-');
        return hexadecimal_float(negative, rest).map(FloatText::Hexadecimal);
    }
    let (mantissa, exponent) = split_exponent(unsigned, b"eE");
    let ok = is_mantissa(mantissa, u8::is_ascii_digit) && exponent.is_none_or(is_exponent);
    ok.then_some(FloatText::Decimal)
}

/// Whether every digit in front of the exponent is 0. Only for texts that `classify_float` took.
pub(crate) fn is_zero_text(text: &[u8]) -> bool {
    let unsigned = without_sign(text);
    let (mantissa, _) = match unsigned {
        [b'0', b'x' | b'X', rest @ ..] => split_exponent(rest, b"pP"),
        _ => split_exponent(unsigned, b"eE"),
    };
    mantissa.iter().all(|byte| matches!(byte, b'0' | b'.'))
}

/// Whether `text` spells infinity, with or without a sign.
pub(crate) fn is_infinity_text(text: &[u8]) -> bool {
    let unsigned = without_sign(text);
    unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity")
}

fn without_sign(text: &[u8]) -> &[u8] {
    match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    }
}

fn split_exponent<'a>(number: &'a [u8], marks: &[u8; 2]) -> (&'a [u8], Option<&'a [u8]>) {
    match number.iter().position(|byte| marks.contains(byte)) {
        Some(at) => (&number[..at], Some(&number[at + 1..])),
        None => (number, None),
    }
}

/// Digits with at most one dot among them, at least one digit.
fn is_mantissa(text: &[u8], is_digit: fn(&u8) -> bool) -> bool {
    let dots = text.iter().filter(|byte| **byte == b'.').count();
    dots <= 1 && text.len() > dots && text.iter().all(|byte| *byte == b'.' || is_digit(byte))
}

fn is_exponent(text: &[u8]) -> bool {
    let digits = without_sign(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Rewrites what follows `0x` with an exponent, which C lets out and APFloat wants.
fn hexadecimal_float(negative: bool, rest: &[u8]) -> Option<String> {
    let (mantissa, exponent) = split_exponent(rest, b"pP");
    if rest.len() > MAX_HEX_FLOAT_BYTES || !is_mantissa(mantissa, u8::is_ascii_hexdigit) {
        return None;
    }
    if !exponent.is_none_or(is_exponent) {
        return None;
    }
    let power = exponent.map_or(0, clamped_exponent);
    let sign = if negative { "-" } else { "" };
    let digits = std::str::from_utf8(mantissa).ok()?;
    Some(format!("{sign}0x{digits}p{power}"))
}

/// The value of a checked exponent, cut to ±[`MAX_HEX_EXPONENT`].
fn clamped_exponent(text: &[u8]) -> i64 {
    let magnitude = without_sign(text)
        .iter()
        .fold(0, |value: i64, byte| (value * 10 + i64::from(byte & 15)).min(MAX_HEX_EXPONENT));
    if text.first() == Some(&b'-') { -magnitude } else { magnitude }
}

/// C's `isspace` in the C locale.
fn is_c_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Reads `yes` or `no` in any case, as config directives write booleans.
pub fn parse_bool_yes_no(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"yes") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"no") {
        Some(false)
    } else {
        None
    }
}

/// Reads an amount of memory: digits and an optional unit, in bytes (`memtoull`).
///
/// Units, any case: `b`, `k` = 1000, `kb` = 1024, `m` = 10^6, `mb` = 2^20, `g` = 10^9, `gb` = 2^30.
/// Without digits the amount is 0, also for an empty text (`CONFIG SET maxmemory ""` is accepted). Stricter than
/// Redis in one case, where it silently takes another number than the one written: what exceeds
/// `u64::MAX` is refused.
pub fn parse_memory_bytes(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (amount, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let mut value = 0u64;
    for byte in amount {
        value = value.checked_mul(10)?.checked_add(u64::from(byte & 15))?;
    }
    value.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{
        digits10, parse_bool_yes_no, parse_f64, parse_i64, parse_memory_bytes, parse_u64, parse_u64_lenient,
        push_i64, push_u64, sdigits10,
    };
    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

    #[test]
    fn integers_are_strict() {
        for text in
            ["", "-", "+5", "01", "-0", "-01", " 5", "5 ", "5\0", "1e3", "0x1", "00", "--1", "5-", "1a345678"]
        {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_i64(b"0"), Some(0));
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        for text in
            ["9223372036854775808", "-9223372036854775809", "99999999999999999999", "-18446744073709551615"]
        {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"99999999999999999999"), None);
        assert_eq!(parse_u64(b"100000000000000000000"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn lenient_is_strtoull() {
        let cases: [(&str, Option<u64>); 14] = [
            ("0", Some(0)),
            ("007", Some(7)),
            ("+5", Some(5)),
            (" \t5", Some(5)),
            ("-5", None),
            ("-0", Some(0)),
            ("-18446744073709551615", Some(1)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("00018446744073709551615", Some(u64::MAX)),
            ("", None),
            ("  ", None),
            ("+", None),
            ("5 ", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_u64_lenient(text.as_bytes()), expected, "{text:?}");
        }
    }

    /// What the parsers must equal: parse with std, print, compare the texts.
    fn model_i64(text: &str) -> Option<i64> {
        text.parse::<i64>().ok().filter(|value| value.to_string() == text)
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(value in any::<i64>(), shift in 0u32..64) {
            let value = value >> shift;
            let mut text = Vec::new();
            push_i64(value, &mut text);
            prop_assert_eq!(parse_i64(&text), Some(value));
            prop_assert_eq!(sdigits10(value), text.len());
            let mut unsigned = Vec::new();
            push_u64(value as u64, &mut unsigned);
            prop_assert_eq!(parse_u64(&unsigned), Some(value as u64));
            prop_assert_eq!(digits10(value as u64), unsigned.len());
        }

        #[test]
        fn any_text_parses_as_std_and_back(text in "-?[0-9:/]{0,21}") {
            prop_assert_eq!(parse_i64(text.as_bytes()), model_i64(&text));
            let unsigned = text.parse::<u64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_u64(text.as_bytes()), unsigned);
        }

        #[test]
        fn doubles_survive_printing(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let expected = (!value.is_nan()).then_some(value);
            prop_assert_eq!(parse_f64(format!("{value:e}").as_bytes()), expected);
        }

        #[test]
        fn no_text_panics_in_parse_f64(text in prop_oneof![
            "[-+]?0?[xX]?[0-9a-fA-F.]{0,24}[eEpP]?[-+]?[0-9]{0,12}",
            Just(String::from("0x")),
            ".{0,12}".prop_map(|text| text),
        ]) {
            if let Some(value) = parse_f64(text.as_bytes()) {
                assert!(!value.is_nan());
            }
        }
    }

    #[test]
    fn doubles_accepted() {
        let cases = [
            ("3.0e3", 3000.0),
            ("0x10", 16.0),
            ("-0X1.8p3", -12.0),
            ("+0x.8", 0.5),
            ("0x1.", 1.0),
            ("0x0p99999999999999999999", 0.0),
            ("0x1p-1074", f64::from_bits(1)),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080000000000000000000001p0", 1.0 + f64::EPSILON),
            ("inf", f64::INFINITY),
            ("+inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("+5", 5.0),
            ("007", 7.0),
            ("0", 0.0),
            ("000000000042", 42.0),
            ("999999999999999", 999_999_999_999_999.0),
            ("9999999999999999", 1e16),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e+2", 100.0),
            ("0e999999999999", 0.0),
            ("5e-324", f64::from_bits(1)),
            ("1.7976931348623157e308", f64::MAX),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_f64(text.as_bytes()), Some(expected), "{text}");
        }
        assert!(parse_f64(b"-0").is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
    }

    #[test]
    fn doubles_refused() {
        let cases: [&[u8]; 30] = [
            b"",
            b" 1",
            b"1 ",
            b"\t1",
            b"1\0",
            b"nan",
            b"NaN",
            b"-nan",
            b"nan(1)",
            b"1e",
            b"1e+",
            b".",
            b"+",
            b"-",
            b"e5",
            b"1.2.3",
            b"0x",
            b"0x.",
            b"0xg",
            b"0x1p",
            b"0x1p+",
            b"1e400",
            b"-1e400",
            b"1e-400",
            b"0x1p1024",
            b"0x1p-1076",
            b"infin",
            b"inf ",
            b"1_0",
            b"\xff",
        ];
        for text in cases {
            assert_eq!(parse_f64(text), None, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn booleans_and_memory() {
        assert_eq!(parse_bool_yes_no(b"YES"), Some(true));
        assert_eq!(parse_bool_yes_no(b"no"), Some(false));
        assert_eq!(parse_bool_yes_no(b"1"), None);
        let cases: [(&str, Option<u64>); 15] = [
            ("0", Some(0)),
            ("100", Some(100)),
            ("7b", Some(7)),
            ("1k", Some(1000)),
            ("1kb", Some(1024)),
            ("1Kb", Some(1024)),
            ("2m", Some(2_000_000)),
            ("2MB", Some(2 << 20)),
            ("3g", Some(3_000_000_000)),
            ("1Gb", Some(1 << 30)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("17179869184gb", None),
            ("mb", Some(0)),
            ("-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_memory_bytes(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(parse_memory_bytes(b""), Some(0));
        assert_eq!(parse_memory_bytes(b"1tb"), None);
        assert_eq!(parse_memory_bytes(b"1 kb"), None);
    }
}
