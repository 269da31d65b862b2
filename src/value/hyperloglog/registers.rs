//! Registers: packed in 6 bits each as a dense sketch holds them, or a byte each to work with.
//!
//! ```text
//!  packed byte    0        1        2          eight registers are 48 bits: one word is spread
//!              11000000 22221111 33333322      by three steps of mask and shift (24, 12, 6 bits)
//! ```

use super::hash::Pattern;
use super::sparse::{Run, runs};
use super::{
    Corrupt, HEADER_BYTES, Histogram, PACKED_BYTES, REGISTER_BITS, REGISTER_MAX, REGISTERS, is_dense,
};

/// Registers unpacked at a time: a piece of the first-level cache.
pub(super) const BLOCK: usize = 128;
const PACKED_BLOCK: usize = BLOCK * REGISTER_BITS / 8;
const _: () = assert!(REGISTERS.is_multiple_of(BLOCK) && PACKED_BLOCK.is_multiple_of(6));

/// All registers, a byte each.
pub struct Registers([u8; REGISTERS]);

impl Default for Registers {
    fn default() -> Self {
        Registers::new()
    }
}

impl Registers {
    pub fn new() -> Registers {
        Registers([0; REGISTERS])
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Raises each register to that of a sketch. O(registers). After an error some are raised. A value
    /// run that goes beyond the last register ends the sketch, as in Redis; whether that is a fault
    /// depends on what came before it.
    pub fn merge(&mut self, sketch: &[u8]) -> Result<(), Corrupt> {
        let body = &sketch[HEADER_BYTES..];
        if is_dense(sketch) {
            self.merge_packed(body);
            return Ok(());
        }
        let mut index = 0;
        for Run { value, len } in runs(body) {
            let end = index + len;
            if value > 0 {
                let Some(covered) = self.0.get_mut(index..end) else { break };
                covered.iter_mut().for_each(|register| *register = value.max(*register));
            }
            index = end;
        }
        if index == REGISTERS { Ok(()) } else { Err(Corrupt) }
    }

    fn merge_packed(&mut self, packed: &[u8]) {
        let mut block = [0; BLOCK];
        for (packed, registers) in packed.chunks_exact(PACKED_BLOCK).zip(self.0.chunks_exact_mut(BLOCK)) {
            unpack(packed, &mut block);
            for (register, other) in registers.iter_mut().zip(&block) {
                *register = (*register).max(*other);
            }
        }
    }

    /// The registers that are not zero, in order.
    pub(super) fn patterns(&self) -> impl Iterator<Item = Pattern> + '_ {
        let set = self.0.iter().enumerate().filter(|(_, value)| **value != 0);
        set.map(|(index, value)| Pattern { index: index as u16, value: *value })
    }

    /// As a dense sketch holds them.
    pub(super) fn packed(&self) -> [u8; PACKED_BYTES] {
        let mut packed = [0; PACKED_BYTES];
        for (registers, packed) in self.0.as_chunks::<8>().0.iter().zip(packed.as_chunks_mut::<6>().0) {
            let word = u64::from_le_bytes(*registers);
            let word = (word & 0x003f_003f_003f_003f) | (word & 0x3f00_3f00_3f00_3f00) >> 2;
            let word = (word & 0x0000_0fff_0000_0fff) | (word & 0x0fff_0000_0fff_0000) >> 4;
            let word = (word & 0x00ff_ffff) | (word & 0x00ff_ffff_0000_0000) >> 8;
            packed.copy_from_slice(&word.to_le_bytes()[..6]);
        }
        packed
    }

    pub fn estimate(&self) -> u64 {
        Histogram::of_registers(&self.0).estimate()
    }
}

/// Spreads packed registers over bytes.
#[inline]
fn unpack(packed: &[u8], registers: &mut [u8; BLOCK]) {
    for (packed, registers) in packed.as_chunks::<6>().0.iter().zip(registers.as_chunks_mut::<8>().0) {
        let [a, b, c, d, e, f] = *packed;
        let word = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let word = (word & 0x00ff_ffff) | (word & 0xffff_ff00_0000) << 8;
        let word = (word & 0x0000_0fff_0000_0fff) | (word & 0x00ff_f000_00ff_f000) << 4;
        let word = (word & 0x003f_003f_003f_003f) | (word & 0x0fc0_0fc0_0fc0_0fc0) << 2;
        *registers = word.to_le_bytes();
    }
}

/// Calls `visit` for all packed registers, a block at a time.
pub(super) fn each_block(packed: &[u8], mut visit: impl FnMut(&[u8; BLOCK])) {
    let mut block = [0; BLOCK];
    for packed in packed.chunks_exact(PACKED_BLOCK) {
        unpack(packed, &mut block);
        visit(&block);
    }
}

/// The two bytes that a packed register touches, and its place in them. The last register's
/// second byte is its first again: it has no bits there.
fn place(index: u16) -> (usize, usize, u32) {
    let bit = usize::from(index) * REGISTER_BITS;
    let first = bit / 8;
    (first, (first + 1).min(PACKED_BYTES - 1), (bit % 8) as u32)
}

/// One packed register.
#[cfg(test)]
pub(super) fn get(packed: &[u8], index: u16) -> u8 {
    let (first, second, shift) = place(index);
    let pair = u16::from_le_bytes([packed[first], packed[second]]);
    (pair >> shift) as u8 & REGISTER_MAX
}

/// Raises a packed register to a value. Returns whether it was lower.
#[inline]
pub(super) fn raise(packed: &mut [u8], pattern: Pattern) -> bool {
    let (first, second, shift) = place(pattern.index);
    let pair = u16::from_le_bytes([packed[first], packed[second]]);
    if (pair >> shift) as u8 & REGISTER_MAX >= pattern.value {
        return false;
    }
    let mask = u16::from(REGISTER_MAX) << shift;
    let [low, high] = (pair & !mask | u16::from(pattern.value) << shift).to_le_bytes();
    packed[first] = low;
    if second != first {
        packed[second] = high;
    }
    true
}
