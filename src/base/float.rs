//! Doubles as text, byte for byte as Redis writes them.
//!
//! | function | used for | 0.1 | 1e21 |
//! | --- | --- | --- | --- |
//! | [`format_f64_reply`] | replies, scores in listpacks, RDB 7.2 | `0.1` | `1e+21` |
//! | [`format_f64_17g`] | what 7.0 and older write | `0.10000000000000001` | `1e+21` |
//! | [`format_f64_human_17`] | coordinates | `0.10000000000000001` | `1000000000000000000000` |
//! | [`format_f64_fixed`] | distances (4 digits) | `0.1000` | - |
//!
//! The first is Grisu2 from Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately
//! with Integers" (PLDI 2010), with the digit layout of the fpconv library that Redis 7.2 uses
//! (Boost licence; read for its behaviour, written anew). Grisu2 always gives digits that read
//! back as the same number, but in about 0.3 % of cases not the fewest: a shortest-digits printer
//! (ryu, std) would differ there, so its rounding steps are kept exactly.

use crate::base::long_double::LongDouble;
use crate::base::numbers::{digits10, push_i64, push_u64};
use std::io::{Cursor, Write as _};

/// Bits of a double's fraction that are stored.
const FRACTION_BITS: u32 = 52;
/// The leading bit of a normal number's significand, which is not stored.
const HIDDEN_BIT: u64 = 1 << FRACTION_BITS;
/// Stored exponent of 1.0 when the significand is read as an integer.
const EXPONENT_BIAS: i32 = 1023 + FRACTION_BITS as i32;
/// Integers up to this magnitude (2^62) are printed by the integer printer, as in Redis
/// (`LLONG_MAX / 2` as a double).
const MAX_INTEGER_TEXT: f64 = 4_611_686_018_427_387_904.0;
/// Grisu2 gives at most 17 digits; fpconv's buffer has room for 18.
const MAX_DIGITS: usize = 18;

/// Appends `value` as Redis 7.2 replies with it (`d2string`).
///
/// `inf`, `-inf`, `nan`, `0`, `-0`; whole numbers up to 2^62 as integers; else Grisu2.
pub fn format_f64_reply(value: f64, out: &mut Vec<u8>) {
    if push_not_finite(value, out) {
        return;
    }
    if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    } else if let Some(integer) = as_integer(value) {
        push_i64(integer, out);
    } else {
        push_grisu2(value, out);
    }
}

/// Appends `value` in Grisu2 digits even where it is whole (`fpconv_dtoa`): 2^62 is `4611686018427387904`
/// in a reply and `4.611686018427388e+18` here. What DEBUG DIGEST hashes of scores.
pub fn format_f64_digits(value: f64, out: &mut Vec<u8>) {
    if push_not_finite(value, out) {
        return;
    }
    if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    } else {
        push_grisu2(value, out);
    }
}

/// `value` as an integer, if it is whole and at most 2^62 in magnitude (`double2ll`).
#[inline]
pub fn as_integer(value: f64) -> Option<i64> {
    if !(-MAX_INTEGER_TEXT..=MAX_INTEGER_TEXT).contains(&value) {
        return None;
    }
    let integer = value as i64;
    (integer as f64 == value).then_some(integer)
}

fn push_not_finite(value: f64, out: &mut Vec<u8>) -> bool {
    if value.is_finite() {
        return false;
    }
    let text: &[u8] = match value {
        f64::INFINITY => b"inf",
        f64::NEG_INFINITY => b"-inf",
        _ => b"nan",
    };
    out.extend_from_slice(text);
    true
}

/// A number `fraction * 2^exponent` without sign ("do-it-yourself floating point" in the paper).
#[derive(Clone, Copy)]
struct Unpacked {
    fraction: u64,
    exponent: i32,
}

impl Unpacked {
    fn of(value: f64) -> Unpacked {
        let bits = value.to_bits();
        let fraction = bits & (HIDDEN_BIT - 1);
        match ((bits >> FRACTION_BITS) & 0x7ff) as i32 {
            0 => Unpacked { fraction, exponent: 1 - EXPONENT_BIAS },
            stored => Unpacked { fraction: fraction | HIDDEN_BIT, exponent: stored - EXPONENT_BIAS },
        }
    }

    /// The same number with the top bit of the fraction set.
    fn normalized(self) -> Unpacked {
        let shift = self.fraction.leading_zeros();
        Unpacked { fraction: self.fraction << shift, exponent: self.exponent - shift as i32 }
    }

    /// The upper 64 bits of the product, rounded half up.
    fn times(self, other: Unpacked) -> Unpacked {
        let product = u128::from(self.fraction) * u128::from(other.fraction) + (1 << 63);
        Unpacked { fraction: (product >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }

    /// The middles between this number and its neighbours, at one exponent: (lower, upper).
    fn boundaries(self) -> (Unpacked, Unpacked) {
        let upper = Unpacked { fraction: self.fraction * 2 + 1, exponent: self.exponent - 1 }.normalized();
        // Below a power of two the neighbour is twice as near.
        let shift = if self.fraction == HIDDEN_BIT { 2 } else { 1 };
        let lower = (self.fraction << shift) - 1;
        let fraction = lower << (self.exponent - shift - upper.exponent);
        (Unpacked { fraction, exponent: upper.exponent }, upper)
    }
}

/// The cached power of ten 10^k that brings `exponent` into -60..=-32 when multiplied, and k.
///
/// Two cached powers can be in range, and they can give different digits; the search therefore begins
/// where fpconv begins.
fn cached_power(exponent: i32) -> (Unpacked, i32) {
    const LOG10_OF_2: f64 = 0.301_029_995_663_981_14;
    let guess = (f64::from(-(exponent + CACHED_POWERS.len() as i32)) * LOG10_OF_2) as i32;
    let mut index = ((guess - FIRST_POWER) / POWER_STEP) as usize;
    loop {
        let (fraction, power_exponent) = CACHED_POWERS[index];
        let power = Unpacked { fraction, exponent: i32::from(power_exponent) };
        match exponent + power.exponent + 64 {
            ..-60 => index += 1,
            -60..=-32 => return (power, FIRST_POWER + index as i32 * POWER_STEP),
            _ => index -= 1,
        }
    }
}

/// Decimal digits and the power of ten of the last one.
struct Decimal {
    digits: [u8; MAX_DIGITS],
    count: usize,
    exponent: i32,
}

impl Decimal {
    /// Appends a digit; zeros in front are dropped.
    fn push(&mut self, digit: u64) {
        if digit != 0 || self.count > 0 {
            self.digits[self.count] = b'0' + digit as u8;
            self.count += 1;
        }
    }

    /// Lowers the last digit while that brings the text nearer to the number: `rest` is what lies between
    /// the digits and the upper boundary, `wanted` what lies between the number and that boundary,
    /// `unit` one step of the last digit.
    fn round_towards(&mut self, wanted: u64, delta: u64, mut rest: u64, unit: u64) {
        let Some(last) = self.count.checked_sub(1) else {
            return;
        };
        while rest < wanted
            && delta - rest >= unit
            && (rest + unit < wanted || wanted - rest > rest + unit - wanted)
        {
            self.digits[last] -= 1;
            rest += unit;
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.digits[..self.count]
    }
}

/// Digits of a positive finite `value` that lie within its boundaries.
fn grisu2(value: f64) -> Decimal {
    let number = Unpacked::of(value);
    let (lower, upper) = number.boundaries();
    let (power, power_exponent) = cached_power(upper.exponent);
    let scaled = number.normalized().times(power);
    let upper = upper.times(power);
    // One unit in from each side pays for the rounding of the products.
    let low_fraction = lower.times(power).fraction + 1;
    let high = Unpacked { fraction: upper.fraction - 1, exponent: upper.exponent };
    generate_digits(scaled.fraction, high, low_fraction, -power_exponent)
}

/// Digit generation of the paper: from the upper boundary down until the rest lies within the interval.
fn generate_digits(number: u64, upper: Unpacked, lower: u64, exponent: i32) -> Decimal {
    let mut decimal = Decimal { digits: [0; MAX_DIGITS], count: 0, exponent };
    let wanted = upper.fraction - number;
    let mut delta = upper.fraction - lower;
    // -60 <= upper.exponent <= -32, so the integral part has at most 32 bits.
    let shift = upper.exponent.unsigned_abs();
    let one = 1u64 << shift;
    let mut integral = upper.fraction >> shift;
    let mut fractional = upper.fraction & (one - 1);

    let mut divisor = 1_000_000_000u64;
    for left in (0..10).rev() {
        decimal.push(integral / divisor);
        integral %= divisor;
        let rest = (integral << shift) + fractional;
        if rest <= delta {
            decimal.exponent += left;
            decimal.round_towards(wanted, delta, rest, divisor << shift);
            return decimal;
        }
        divisor /= 10;
    }

    let mut scale = 1u64;
    loop {
        fractional *= 10;
        delta *= 10;
        scale *= 10;
        decimal.exponent -= 1;
        decimal.push(fractional >> shift);
        fractional &= one - 1;
        if fractional < delta {
            decimal.round_towards(wanted.wrapping_mul(scale), delta, fractional, one);
            return decimal;
        }
    }
}

/// Appends a finite `value` other than 0 in Grisu2 digits and fpconv's layout.
fn push_grisu2(value: f64, out: &mut Vec<u8>) {
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let decimal = grisu2(value.abs());
    let digits = decimal.as_slice();
    let count = digits.len() as i32;
    let power = decimal.exponent;
    // Power of ten of the first digit.
    let leading = power + count - 1;
    if power >= 0 && leading.abs() < count + 7 {
        out.extend_from_slice(digits);
        push_zeros(power as usize, out);
    } else if power < 0 && (power > -7 || leading.abs() < 4) {
        push_with_point(digits, power, out);
    } else {
        push_scientific(digits, leading, value.is_sign_negative(), out);
    }
}

fn push_zeros(count: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + count, b'0');
}

/// Appends `digits * 10^power` (power below 0) without an exponent.
fn push_with_point(digits: &[u8], power: i32, out: &mut Vec<u8>) {
    let decimals = power.unsigned_abs() as usize;
    if let Some(whole) = digits.len().checked_sub(decimals).filter(|whole| *whole > 0) {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    } else {
        out.extend_from_slice(b"0.");
        push_zeros(decimals - digits.len(), out);
        out.extend_from_slice(digits);
    }
}

/// Appends `d.ddde±x` with as many exponent digits as needed. The cut to 18 characters is fpconv's; 17
/// digits never reach it.
fn push_scientific(digits: &[u8], leading: i32, negative: bool, out: &mut Vec<u8>) {
    let kept = digits.len().min(18 - usize::from(negative));
    out.push(digits[0]);
    if kept > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..kept]);
    }
    out.extend_from_slice(if leading < 0 { b"e-" } else { b"e+" });
    push_u64(u64::from(leading.unsigned_abs()), out);
}

/// Appends `value` as C's `%.17g` prints it, with `inf`, `-inf` and `nan` (as in 7.0 and older).
pub fn format_f64_17g(value: f64, out: &mut Vec<u8>) {
    /// Significant digits of `%.17g`.
    const DIGITS: usize = 17;
    if push_not_finite(value, out) {
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    // 17 digits, a point, `e` and up to four characters of exponent: "d.dddddddddddddddde-308".
    let mut cursor = Cursor::new([0u8; 32]);
    write!(cursor, "{:.16e}", value.abs())
        .expect("a double in 17 digits is at most 24 bytes, the buffer has 32");
    let length = cursor.position() as usize;
    let buffer = cursor.into_inner();
    let text = &buffer[..length];
    let mark = text.iter().position(|byte| *byte == b'e').expect("the e format always writes an e");
    let exponent = read_exponent(&text[mark + 1..]);
    let mut digits = [0u8; DIGITS];
    digits[0] = text[0];
    digits[1..].copy_from_slice(&text[2..mark]);
    let count = digits.iter().rposition(|byte| *byte != b'0').map_or(1, |last| last + 1);
    push_general(&digits[..count], exponent, out);
}

fn read_exponent(text: &[u8]) -> i32 {
    let magnitude = |digits: &[u8]| digits.iter().fold(0, |value, byte| value * 10 + i32::from(byte & 15));
    match text {
        [b'-', digits @ ..] => -magnitude(digits),
        digits => magnitude(digits),
    }
}

/// Lays out digits without trailing zeros as `%g` with precision 17 does.
fn push_general(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    let count = digits.len() as i32;
    if !(-4..17).contains(&exponent) {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:02}", exponent.unsigned_abs()).expect("writing to a vector cannot fail");
    } else if exponent + 1 >= count {
        out.extend_from_slice(digits);
        push_zeros((exponent + 1 - count) as usize, out);
    } else {
        push_with_point(digits, exponent + 1 - count, out);
    }
}

/// Appends `value` as `%.17f` without trailing zeros, and `0` instead of `-0`: what Redis does
/// with coordinates (GEOPOS), which it widens to long double first.
pub fn format_f64_human_17(value: f64, out: &mut Vec<u8>) {
    LongDouble::from_f64(value).push_human(out);
}

/// Appends `value` with exactly `decimals` (1 to 17) digits after the point, as GEODIST and
/// GEOSEARCH write distances (`fixedpoint_d2string`, 4 digits).
///
/// Returns false and appends nothing when `decimals` is out of range, or when the scaled number is not
/// finite or above 2^63 (C's result is undefined there).
/// Halves are rounded to even, after one multiplication in double precision, as in Redis.
pub fn format_f64_fixed(value: f64, decimals: u32, out: &mut Vec<u8>) -> bool {
    if !(1..=17).contains(&decimals) {
        return false;
    }
    let scale = 10u64.pow(decimals);
    let scaled = (value * scale as f64).round_ties_even();
    if scaled.is_nan() || scaled.abs() >= i64::MAX as f64 {
        return false;
    }
    let integer = scaled as i64;
    if integer < 0 {
        out.push(b'-');
    }
    let magnitude = integer.unsigned_abs();
    push_u64(magnitude / scale, out);
    out.push(b'.');
    let fraction = magnitude % scale;
    push_zeros(decimals as usize - digits10(fraction).min(decimals as usize), out);
    push_u64(fraction, out);
    true
}

/// Power of ten of the first entry of [`CACHED_POWERS`].
const FIRST_POWER: i32 = -348;
/// Distance of the powers of neighbouring entries.
const POWER_STEP: i32 = 8;

/// 10^(-348 + 8 i) as (64-bit fraction, binary exponent), correctly rounded. A test derives it.
#[rustfmt::skip]
const CACHED_POWERS: [(u64, i16); 87] = [
    (0xfa8f_d5a0_081c_0288, -1220), (0xbaae_e17f_a23e_bf76, -1193), (0x8b16_fb20_3055_ac76, -1166),
    (0xcf42_894a_5dce_35ea, -1140), (0x9a6b_b0aa_5565_3b2d, -1113), (0xe61a_cf03_3d1a_45df, -1087),
    (0xab70_fe17_c79a_c6ca, -1060), (0xff77_b1fc_bebc_dc4f, -1034), (0xbe56_91ef_416b_d60c, -1007),
    (0x8dd0_1fad_907f_fc3c, -980), (0xd351_5c28_3155_9a83, -954), (0x9d71_ac8f_ada6_c9b5, -927),
    (0xea9c_2277_23ee_8bcb, -901), (0xaecc_4991_4078_536d, -874), (0x823c_1279_5db6_ce57, -847),
    (0xc210_9436_4dfb_5637, -821), (0x9096_ea6f_3848_984f, -794), (0xd774_85cb_2582_3ac7, -768),
    (0xa086_cfcd_97bf_97f4, -741), (0xef34_0a98_172a_ace5, -715), (0xb238_67fb_2a35_b28e, -688),
    (0x84c8_d4df_d2c6_3f3b, -661), (0xc5dd_4427_1ad3_cdba, -635), (0x936b_9fce_bb25_c996, -608),
    (0xdbac_6c24_7d62_a584, -582), (0xa3ab_6658_0d5f_daf6, -555), (0xf3e2_f893_dec3_f126, -529),
    (0xb5b5_ada8_aaff_80b8, -502), (0x8762_5f05_6c7c_4a8b, -475), (0xc9bc_ff60_34c1_3053, -449),
    (0x964e_858c_91ba_2655, -422), (0xdff9_7724_7029_7ebd, -396), (0xa6df_bd9f_b8e5_b88f, -369),
    (0xf8a9_5fcf_8874_7d94, -343), (0xb944_7093_8fa8_9bcf, -316), (0x8a08_f0f8_bf0f_156b, -289),
    (0xcdb0_2555_6531_31b6, -263), (0x993f_e2c6_d07b_7fac, -236), (0xe45c_10c4_2a2b_3b06, -210),
    (0xaa24_2499_6973_92d3, -183), (0xfd87_b5f2_8300_ca0e, -157), (0xbce5_0864_9211_1aeb, -130),
    (0x8cbc_cc09_6f50_88cc, -103), (0xd1b7_1758_e219_652c, -77), (0x9c40_0000_0000_0000, -50),
    (0xe8d4_a510_0000_0000, -24), (0xad78_ebc5_ac62_0000, 3), (0x813f_3978_f894_0984, 30),
    (0xc097_ce7b_c907_15b3, 56), (0x8f7e_32ce_7bea_5c70, 83), (0xd5d2_38a4_abe9_8068, 109),
    (0x9f4f_2726_179a_2245, 136), (0xed63_a231_d4c4_fb27, 162), (0xb0de_6538_8cc8_ada8, 189),
    (0x83c7_088e_1aab_65db, 216), (0xc45d_1df9_4271_1d9a, 242), (0x924d_692c_a61b_e758, 269),
    (0xda01_ee64_1a70_8dea, 295), (0xa26d_a399_9aef_774a, 322), (0xf209_787b_b47d_6b85, 348),
    (0xb454_e4a1_79dd_1877, 375), (0x865b_8692_5b9b_c5c2, 402), (0xc835_53c5_c896_5d3d, 428),
    (0x952a_b45c_fa97_a0b3, 455), (0xde46_9fbd_99a0_5fe3, 481), (0xa59b_c234_db39_8c25, 508),
    (0xf6c6_9a72_a398_9f5c, 534), (0xb7dc_bf53_54e9_bece, 561), (0x88fc_f317_f222_41e2, 588),
    (0xcc20_ce9b_d35c_78a5, 614), (0x9816_5af3_7b21_53df, 641), (0xe2a0_b5dc_971f_303a, 667),
    (0xa8d9_d153_5ce3_b396, 694), (0xfb9b_7cd9_a4a7_443c, 720), (0xbb76_4c4c_a7a4_4410, 747),
    (0x8bab_8eef_b640_9c1a, 774), (0xd01f_ef10_a657_842c, 800), (0x9b10_a4e5_e991_3129, 827),
    (0xe710_9bfb_a19c_0c9d, 853), (0xac28_20d9_623b_f429, 880), (0x8044_4b5e_7aa7_cf85, 907),
    (0xbf21_e440_03ac_dd2d, 933), (0x8e67_9c2f_5e44_ff8f, 960), (0xd433_179d_9c8c_b841, 986),
    (0x9e19_db92_b4e3_1ba9, 1013), (0xeb96_bf6e_badf_77d9, 1039), (0xaf87_023b_9bf0_ee6b, 1066),
];

#[cfg(test)]
mod tests;
