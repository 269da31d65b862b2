//! Random numbers: a seedable generator for sampling, and bytes of the system for secrets.
//!
//! Sampling (RANDOMKEY, SPOP, eviction, active expiry) uses [`Rng`], which tests seed to get the same
//! run twice. It can be predicted from its output: secrets, seeds and ids come from [`fill_from_os`].

use crate::base::numbers::push_hex_byte;
use std::io;

/// Fills `bytes` from the system's random source (getrandom). Blocks only before the
/// system has started; fails where there is no source.
pub fn fill_from_os(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| io::Error::other(format!("no random bytes from the system: {error}")))
}

/// `length` random lower-case hexadecimal digits from the system, as run ids and replication ids (40) are.
pub fn hex_id_from_os(length: usize) -> io::Result<String> {
    let mut bytes = vec![0; length.div_ceil(2)];
    fill_from_os(&mut bytes)?;
    Ok(hex_text(&bytes, length))
}

fn hex_text(bytes: &[u8], length: usize) -> String {
    let mut text = Vec::with_capacity(2 * bytes.len());
    for byte in bytes {
        push_hex_byte(*byte, &mut text);
    }
    text.truncate(length);
    String::from_utf8(text).expect("hexadecimal digits are ASCII")
}

/// A fast generator with a seed (wyrand of the fastrand crate, 2^64 states). Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(fastrand::Rng);

impl Rng {
    /// The generator that always gives the same numbers for the same `seed`.
    pub fn with_seed(seed: u64) -> Rng {
        Rng(fastrand::Rng::with_seed(seed))
    }

    /// A generator seeded by the system.
    pub fn from_os() -> io::Result<Rng> {
        let mut seed = [0; 8];
        fill_from_os(&mut seed)?;
        Ok(Rng::with_seed(u64::from_le_bytes(seed)))
    }

    /// Any 64-bit number.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// The generator itself, for sampling in data structures.
    pub fn generator(&mut self) -> &mut fastrand::Rng {
        &mut self.0
    }

    /// A number below `bound`, all equally likely; 0 when `bound` is 0.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.0.usize(..bound) }
    }

    /// A number in `0.0..1.0`.
    #[inline]
    pub fn unit_f64(&mut self) -> f64 {
        self.0.f64()
    }

    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }

    /// `length` random lower-case hexadecimal digits: an id that is the same for the same seed.
    pub fn hex_id(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length.div_ceil(2)];
        self.0.fill(&mut bytes);
        hex_text(&bytes, length)
    }
}

#[cfg(test)]
mod tests {
    use super::{Rng, fill_from_os, hex_id_from_os};

    #[test]
    fn a_seed_repeats() {
        let (mut one, mut other) = (Rng::with_seed(7), Rng::with_seed(7));
        assert_eq!(one.next_u64(), other.next_u64());
        assert_eq!(one.hex_id(40), other.hex_id(40));
        assert_ne!(one.next_u64(), one.next_u64());
        assert_ne!(Rng::with_seed(8).next_u64(), Rng::with_seed(7).next_u64());
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all() {
        let mut rng = Rng::with_seed(1);
        let mut seen = [0u32; 5];
        for _ in 0..5000 {
            seen[rng.below(5)] += 1;
            assert!((0.0..1.0).contains(&rng.unit_f64()));
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn shuffling_keeps_the_items() {
        let mut items: Vec<u32> = (0..100).collect();
        Rng::with_seed(3).shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert!(items.iter().copied().eq(0..100));
    }

    #[test]
    fn ids_are_hexadecimal() {
        let id = hex_id_from_os(40).expect("Linux has random bytes");
        assert_eq!(id.len(), 40);
        assert!(id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        assert_ne!(id, hex_id_from_os(40).expect("Linux has random bytes"));
        assert_eq!(Rng::with_seed(1).hex_id(7).len(), 7);
        let mut bytes = [0u8; 32];
        fill_from_os(&mut bytes).expect("Linux has random bytes");
        assert_ne!(bytes, [0; 32]);
    }
}
