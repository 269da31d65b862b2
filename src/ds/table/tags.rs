//! Finds a one-byte tag among the last 16 bytes of a bucket.
//!
//! SSE2 (always present on x86-64) compares 16 bytes in two instructions; the portable
//! twin works on two 64-bit words. A test holds them equal.
#![allow(unsafe_code)]

/// Bit `i` of the result is set when `bytes[i] == tag`.
#[inline(always)]
pub(in crate::ds) fn match_tag(bytes: &[u8; 16], tag: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    return match_tag_sse2(bytes, tag);
    #[cfg(not(target_arch = "x86_64"))]
    return match_tag_portable(bytes, tag);
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn match_tag_sse2(bytes: &[u8; 16], tag: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: SSE2 is part of the x86-64 baseline and 16 bytes are readable at `bytes`.
    unsafe {
        let loaded = _mm_loadu_si128(bytes.as_ptr().cast());
        let equal = _mm_cmpeq_epi8(loaded, _mm_set1_epi8(tag as i8));
        _mm_movemask_epi8(equal) as u32
    }
}

/// The same without vector instructions.
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
fn match_tag_portable(bytes: &[u8; 16], tag: u8) -> u32 {
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| u64::from_le_bytes(half.try_into().expect("a half has 8 bytes"));
    match_word(word(low), tag) | match_word(word(high), tag) << 8
}

#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
fn match_word(word: u64, tag: u8) -> u32 {
    const LOW_SEVEN: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    /// Moves bit 0 of byte `i` to bit `56 + i`.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let difference = word ^ (u64::from(tag) * 0x0101_0101_0101_0101);
    // 0x80 in exactly the zero bytes: no borrow can cross a byte in this form.
    let zero_bytes = !(((difference & LOW_SEVEN) + LOW_SEVEN) | difference | LOW_SEVEN);
    ((zero_bytes >> 7).wrapping_mul(GATHER) >> 56) as u32
}

#[cfg(test)]
mod tests {
    use super::{match_tag, match_tag_portable};

    #[test]
    fn vector_and_portable_agree() {
        let mut rng = fastrand::Rng::with_seed(7);
        for round in 0..20_000 {
            let mut bytes = [0u8; 16];
            // A small alphabet so that several bytes match, with neighbours off by one.
            bytes.fill_with(|| if round % 2 == 0 { rng.u8(..) } else { rng.u8(126..131) });
            let tag = bytes[rng.usize(..16)];
            let naive = bytes.iter().enumerate().fold(0, |mask, (i, &b)| mask | u32::from(b == tag) << i);
            assert_eq!(match_tag(&bytes, tag), naive);
            assert_eq!(match_tag_portable(&bytes, tag), naive);
        }
    }
}
