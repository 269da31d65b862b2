//! A seeded mutator of bytes, and the time that a fuzz test may take.
// Each test program uses a part of it.
#![allow(dead_code)]

use std::time::{Duration, Instant};

/// Seconds of a fuzz test unless `TINE_FUZZ_SECONDS` says otherwise.
const SECONDS_DEFAULT: u64 = 4;
/// Bytes and numbers at which parsers break.
const TOKENS: [&[u8]; 16] = [
    b"\r\n",
    b"*",
    b"$",
    b"-1",
    b"0",
    b"*0\r\n",
    b"$-1\r\n",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"\"",
    b"'",
    b"\\x",
    b"\0",
    b"\xff",
    b"4294967296",
    b"*1000000\r\n",
];

/// Changes bytes at random, the same way for the same seed.
pub struct Mutator {
    random: fastrand::Rng,
}

impl Mutator {
    pub fn with_seed(seed: u64) -> Mutator {
        Mutator { random: fastrand::Rng::with_seed(seed) }
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.random.usize(..bound) }
    }

    /// One change: a flipped bit, another byte, bytes cut out, doubled, put in, or the tail cut off.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let end = (at + 1 + self.below(16)).min(bytes.len());
        match self.below(8) {
            _ if bytes.is_empty() => bytes.push(self.random.u8(..)),
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.random.u8(..),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => bytes.truncate(at),
            5 => bytes[at] = bytes[at].wrapping_add(1),
            6 => {
                let from = self.below(bytes.len());
                let until = (from + 8).min(bytes.len());
                let to = at.min(bytes.len() - (until - from));
                bytes.copy_within(from..until, to);
            }
            _ => {
                let token = TOKENS[self.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
}

/// The time of one fuzz test, and its seed.
pub struct Budget {
    name: &'static str,
    end: Instant,
    seed: u64,
    rounds: u64,
}

impl Budget {
    /// Starts the clock and prints the seed.
    pub fn start(name: &'static str) -> Budget {
        let seconds = variable("TINE_FUZZ_SECONDS").unwrap_or(SECONDS_DEFAULT);
        let seed = variable("TINE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
        println!("{name}: TINE_FUZZ_SEED={seed}");
        Budget { name, end: Instant::now() + Duration::from_secs(seconds), seed, rounds: 0 }
    }

    pub fn mutator(&self) -> Mutator {
        Mutator::with_seed(self.seed)
    }

    /// Counts a round; false when the time is up (never before the first round).
    pub fn goes_on(&mut self) -> bool {
        let more = self.rounds == 0 || Instant::now() < self.end;
        if more {
            self.rounds += 1;
        } else {
            println!("{}: {} rounds", self.name, self.rounds);
        }
        more
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
