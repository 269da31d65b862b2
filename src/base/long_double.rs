//! 80-bit extended numbers, the `long double` of C on x86, for INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Redis keeps the sum of these commands in a long double and prints it with `%.17Lf`, so equal answers
//! need the same 64-bit significand: with doubles, `3.0e3 + 0.1` would print other digits. The
//! arithmetic is rustc_apfloat's, exact in every bit; printing is done here.
//!
//! ```text
//!   79   78........64   63.........................0
//!  sign  exponent (15)  significand with explicit 1     value = significand * 2^(exponent - 16445)
//! ```
//!
//! On other processors Redis uses what its compiler calls long double; here it is 80 bits everywhere.
//! Cost: parse, add and print together about 0.45 us (measured on a busy machine), and no C.

use crate::base::numbers::{FloatText, classify_float, is_zero_text, push_u64};
use rustc_apfloat::ieee::{Double, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert, Round};
use std::fmt;

/// Longest text read or printed, in bytes without the closing NUL of C (`MAX_LONG_DOUBLE_CHARS` - 1).
pub const MAX_LONG_DOUBLE_CHARS: usize = 5 * 1024 - 1;
/// Digits printed after the point.
const DECIMALS: usize = 17;
/// What the stored exponent of a number is above the power of two of its significand's last bit.
const EXPONENT_BIAS: i32 = 16_383 + 63;
/// Numbers whose last bit is below 2^-122 are below 2^-58, so less than half of 10^-17: they print as 0.
const MAX_FRACTION_BITS: u32 = 122;
/// Digits that fit 64 bits whatever they are.
const MAX_SHORT_DIGITS: u32 = 19;
/// The printer of large numbers works in base 10^9.
const CHUNK: u64 = 1_000_000_000;

/// One x87 extended precision number.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct LongDouble(X87DoubleExtended);

impl fmt::Debug for LongDouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.push_human(&mut text);
        formatter.write_str(&String::from_utf8_lossy(&text))
    }
}

impl LongDouble {
    /// Positive zero.
    pub const ZERO: LongDouble = LongDouble(X87DoubleExtended::ZERO);

    /// Reads a number as `string2ld` does: C's `strtold` over the whole text, then Redis's refusals.
    ///
    /// The rules are those of [`parse_f64`](crate::base::numbers::parse_f64) with the range of this
    /// type, and texts of 5120 bytes or more are refused.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() > MAX_LONG_DOUBLE_CHARS {
            return None;
        }
        if let Some(value) = parse_short_decimal(text) {
            return Some(value);
        }
        let (normal, radix_text);
        match classify_float(text)? {
            FloatText::Infinity => return Some(LongDouble::infinity(text.first() == Some(&b'-'))),
            FloatText::Decimal => radix_text = std::str::from_utf8(text).ok()?,
            FloatText::Hexadecimal(rewritten) => {
                normal = rewritten;
                radix_text = &normal;
            }
        }
        let value = X87DoubleExtended::from_str_r(radix_text, Round::NearestTiesToEven).ok()?.value;
        if value.is_infinite() || value.is_nan() || (value.is_zero() && !is_zero_text(text)) {
            return None;
        }
        Some(LongDouble(value))
    }

    fn infinity(negative: bool) -> LongDouble {
        let value = X87DoubleExtended::INFINITY;
        LongDouble(if negative { -value } else { value })
    }

    /// The same number; a double always fits.
    pub fn from_f64(value: f64) -> LongDouble {
        let double = Double::from_bits(u128::from(value.to_bits()));
        let mut loses_info = false;
        LongDouble(double.convert(&mut loses_info).value)
    }

    /// The same number; 64 bits of significand hold every `i64`.
    pub fn from_i64(value: i64) -> LongDouble {
        LongDouble(X87DoubleExtended::from_i128(i128::from(value)).value)
    }

    /// The 80 bits: sign, exponent, significand. For tests and dumps.
    pub fn to_bits(self) -> u128 {
        self.0.to_bits()
    }

    /// The number of these 80 bits.
    pub fn from_bits(bits: u128) -> LongDouble {
        LongDouble(X87DoubleExtended::from_bits(bits & ((1 << 80) - 1)))
    }

    /// Whether this is no number (`inf + -inf`).
    pub fn is_nan(self) -> bool {
        self.0.is_nan()
    }

    /// Whether this is positive or negative infinity.
    pub fn is_infinite(self) -> bool {
        self.0.is_infinite()
    }

    /// Appends the text of `ld2string` in its human mode: `%.17Lf` rounded to even, trailing zeros and
    /// a last point cut, `0` instead of `-0`; `inf`, `-inf`, `nan`. At most 4,933 + 19 bytes.
    pub fn push_human(self, out: &mut Vec<u8>) {
        if self.is_nan() {
            out.extend_from_slice(b"nan");
            return;
        }
        let start = out.len();
        if self.0.is_negative() {
            out.push(b'-');
        }
        if self.is_infinite() {
            out.extend_from_slice(b"inf");
            return;
        }
        let bits = self.to_bits();
        let significand = bits as u64;
        // A stored exponent of 0 (denormal) means the same power as 1.
        let stored = ((bits >> 64) as i32 & 0x7fff).max(1);
        let power = stored - EXPONENT_BIAS;
        if power >= 0 {
            push_large(significand, power.unsigned_abs(), out);
        } else {
            push_fraction(significand, power.unsigned_abs(), out);
        }
        if out[start..] == *b"-0" {
            out.remove(start);
        }
    }
}

impl std::ops::Add for LongDouble {
    type Output = LongDouble;

    /// The sum, rounded to nearest even as the processor does.
    fn add(self, other: LongDouble) -> LongDouble {
        LongDouble(self.0.add_r(other.0, Round::NearestTiesToEven).value)
    }
}

/// Reads `123`, `-1.25` and the like with at most 19 digits, the usual arguments, by one division.
///
/// Digits and power of ten are exact in 64 bits, so the one rounding of the division is the right one;
/// several times faster than the general parser. `None`: not of this form, not necessarily wrong.
fn parse_short_decimal(text: &[u8]) -> Option<LongDouble> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let (mut value, mut digits, mut decimals) = (0u64, 0u32, None);
    for &byte in unsigned {
        match byte {
            b'0'..=b'9' if digits < MAX_SHORT_DIGITS => {
                value = value * 10 + u64::from(byte - b'0');
                digits += 1;
                decimals = decimals.map(|count: u32| count + 1);
            }
            b'.' if decimals.is_none() => decimals = Some(0),
            _ => return None,
        }
    }
    if digits == 0 {
        return None;
    }
    let scale = 10u64.pow(decimals.unwrap_or(0));
    let mut quotient = X87DoubleExtended::from_u128(u128::from(value)).value;
    if scale > 1 {
        quotient = (quotient / X87DoubleExtended::from_u128(u128::from(scale)).value).value;
    }
    Some(LongDouble(if negative { -quotient } else { quotient }))
}

/// Appends `significand * 2^-bits` (bits above 0) with up to 17 decimals.
fn push_fraction(significand: u64, bits: u32, out: &mut Vec<u8>) {
    if bits > MAX_FRACTION_BITS {
        out.push(b'0');
        return;
    }
    let mut whole = if bits < 64 { significand >> bits } else { 0 };
    // Below 2^122, so ten times it fits 128 bits.
    let mut rest = u128::from(significand) & ((1u128 << bits) - 1);
    let mut decimals = 0u64;
    for _ in 0..DECIMALS {
        rest *= 10;
        decimals = decimals * 10 + (rest >> bits) as u64;
        rest &= (1u128 << bits) - 1;
    }
    let half = 1u128 << (bits - 1);
    if rest > half || (rest == half && decimals % 2 == 1) {
        decimals += 1;
    }
    if decimals == 10u64.pow(DECIMALS as u32) {
        decimals = 0;
        // No overflow: with at least one fraction bit the whole part is below 2^63.
        whole += 1;
    }
    push_u64(whole, out);
    push_decimals(decimals, out);
}

/// Appends a point and the 17 digits of `decimals` without trailing zeros; nothing for 0.
fn push_decimals(mut decimals: u64, out: &mut Vec<u8>) {
    if decimals == 0 {
        return;
    }
    let mut digits = [b'0'; DECIMALS];
    for digit in digits.iter_mut().rev() {
        *digit += (decimals % 10) as u8;
        decimals /= 10;
    }
    let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    out.push(b'.');
    out.extend_from_slice(&digits[..kept]);
}

/// Appends `significand * 2^power`, a whole number of up to 4,933 digits.
///
/// The number is kept in base 10^9, least first, and doubled up to 29 bits at a time: O(digits * power),
/// long only at the far end of the range, which 80-bit numbers reach and scores do not.
fn push_large(significand: u64, power: u32, out: &mut Vec<u8>) {
    if power == 0 || significand == 0 {
        push_u64(significand, out);
        return;
    }
    let mut chunks: Vec<u32> = Vec::new();
    let mut carry = significand;
    push_carry(&mut chunks, &mut carry);
    let mut left = power;
    while left > 0 {
        let step = left.min(29);
        for chunk in &mut chunks {
            let product = (u64::from(*chunk) << step) + carry;
            *chunk = (product % CHUNK) as u32;
            carry = product / CHUNK;
        }
        push_carry(&mut chunks, &mut carry);
        left -= step;
    }
    let Some((first, rest)) = chunks.split_last() else {
        return;
    };
    push_u64(u64::from(*first), out);
    for chunk in rest.iter().rev() {
        let mut digits = [b'0'; 9];
        let mut value = *chunk;
        for digit in digits.iter_mut().rev() {
            *digit += (value % 10) as u8;
            value /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

/// Appends what `carry` holds as further chunks and clears it.
fn push_carry(chunks: &mut Vec<u32>, carry: &mut u64) {
    while *carry > 0 {
        chunks.push((*carry % CHUNK) as u32);
        *carry /= CHUNK;
    }
}

#[cfg(test)]
mod tests;
