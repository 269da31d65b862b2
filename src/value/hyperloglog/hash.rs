//! The hash of an element and what of it counts.
//!
//! MurmurHash64A (Austin Appleby, public domain) with Redis's seed, little endian everywhere.

use super::{REGISTERS, RUN_BITS};

const SEED: u64 = 0xadc8_3b19;
const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// What one element says: a register and the value it must at least have, 1 to 51.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub index: u16,
    pub value: u8,
}

/// The pattern of an element: the low 14 bits of its hash name the register, the number of zero
/// bits above them, plus one, is the value.
pub fn pattern_of(element: &[u8]) -> Pattern {
    let hash = murmur_hash_64a(element);
    let index = (hash & (REGISTERS as u64 - 1)) as u16;
    // The bit set behind the last one ends a run of zeros that would not end.
    let rest = hash >> REGISTERS.trailing_zeros() | 1 << RUN_BITS;
    Pattern { index, value: rest.trailing_zeros() as u8 + 1 }
}

fn murmur_hash_64a(bytes: &[u8]) -> u64 {
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> SHIFT
}
