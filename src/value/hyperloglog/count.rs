//! From registers to a count: the histogram of their values and Ertl's estimator.

use super::registers::{BLOCK, each_block};
use super::sparse::Run;
use super::{Corrupt, REGISTERS, RUN_BITS};

/// 1 / (2 ln 2).
const ALPHA_INFINITE: f64 = 0.721_347_520_444_481_7;
/// Counted apart and added up at the end: neighbours of one value would wait for each other's store.
const LANES: usize = 4;

/// How many registers have each value.
pub struct Histogram([u32; 64]);

type Lanes = [[u32; 64]; LANES];

fn count_block(lanes: &mut Lanes, block: &[u8; BLOCK]) {
    for word in block.as_chunks::<8>().0 {
        if u64::from_ne_bytes(*word) == 0 {
            lanes[0][0] += 8;
            continue;
        }
        for four in word.as_chunks::<LANES>().0 {
            for (lane, value) in lanes.iter_mut().zip(four) {
                lane[usize::from(value & 63)] += 1;
            }
        }
    }
}

impl Histogram {
    pub(super) fn of_packed(packed: &[u8]) -> Histogram {
        let mut lanes = [[0; 64]; LANES];
        each_block(packed, |block| count_block(&mut lanes, block));
        Histogram::sum(&lanes)
    }

    pub(super) fn of_registers(registers: &[u8; REGISTERS]) -> Histogram {
        let mut lanes = [[0; 64]; LANES];
        for block in registers.as_chunks::<BLOCK>().0 {
            count_block(&mut lanes, block);
        }
        Histogram::sum(&lanes)
    }

    fn sum(lanes: &Lanes) -> Histogram {
        Histogram(std::array::from_fn(|value| lanes.iter().map(|lane| lane[value]).sum()))
    }

    pub(super) fn of_runs(runs: impl Iterator<Item = Run>) -> Result<Histogram, Corrupt> {
        let mut histogram = Histogram([0; 64]);
        let mut total = 0;
        for Run { value, len } in runs {
            total += len;
            if total > REGISTERS {
                return Err(Corrupt);
            }
            histogram.0[usize::from(value)] += len as u32;
        }
        if total == REGISTERS { Ok(histogram) } else { Err(Corrupt) }
    }

    /// The estimate, rounded. Registers of a damaged sketch can make it infinite: then it is what
    /// the conversion of x86 gives, whose top bit also says that it must not be taken from a cache.
    pub fn estimate(&self) -> u64 {
        let total = REGISTERS as f64;
        let share = |value: u32| f64::from(self.0[value as usize]) / total;
        let mut sum = total * tau((total - f64::from(self.0[RUN_BITS as usize + 1])) / total);
        for value in (1..=RUN_BITS).rev() {
            sum = (sum + f64::from(self.0[value as usize])) * 0.5;
        }
        sum += total * sigma(share(0));
        let estimate = (ALPHA_INFINITE * total * total / sum).round();
        if estimate < i64::MAX as f64 { estimate as u64 } else { i64::MIN as u64 }
    }
}

/// x + x^2 + 2 x^4 + 4 x^8 + ...: the part of the registers that are zero.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// The part of the registers that are full.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}
