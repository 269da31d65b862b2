//! HyperLogLog: how many different elements were seen, in at most 12 KiB, within 0.81 %.
//!
//! A sketch is a string value. Its bytes are those of Redis, so that files and replicas agree:
//!
//! ```text
//!  | "HYLL" | encoding | 0 0 0 | cached count, 8 bytes LE, top bit = stale | registers ... |
//!  0        4          5       8                                           16
//!
//!  dense   16,384 registers of 6 bits, lowest bits first: 12,288 bytes, always
//!  sparse  runs of equal registers, 1 or 2 bytes each (`sparse`); 18 bytes when empty,
//!          turned dense above `hll-sparse-max-bytes` or for a value above 32
//! ```
//! An element's hash names a register (14 bits) and a run of zero bits (the other 50); a register
//! keeps the longest run. The estimate is Otmar Ertl's (arXiv:1702.01284), from the histogram of
//! the registers. Registers are unpacked eight at a time in one 64-bit word, so that a merge is a
//! byte-wise maximum over 16 KiB and the histogram counts bytes.

mod count;
mod hash;
mod registers;
mod sparse;
#[cfg(test)]
mod tests;

pub use count::Histogram;
pub use hash::{Pattern, pattern_of};
pub use registers::Registers;
pub use sparse::{Run, describe, runs};

use std::ops::Range;

const MAGIC: &[u8; 4] = b"HYLL";
pub const HEADER_BYTES: usize = 16;
/// log2 of the number of registers.
const INDEX_BITS: u32 = 14;
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash that count for the run of zeros.
const RUN_BITS: u32 = 64 - INDEX_BITS;
const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u8 = (1 << REGISTER_BITS) - 1;
const PACKED_BYTES: usize = REGISTERS * REGISTER_BITS / 8;
/// Size of every dense sketch.
pub const DENSE_BYTES: usize = HEADER_BYTES + PACKED_BYTES;
const ENCODING_AT: usize = 4;
const COUNT: Range<usize> = 8..HEADER_BYTES;
/// In the highest byte of the cached count.
const STALE_BIT: u8 = 0x80;

/// The most bytes by which one element makes a sparse sketch longer.
pub const GROWTH_MAX_BYTES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Dense = 0,
    Sparse = 1,
}

impl Encoding {
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        }
    }
}

/// The runs of a sparse sketch do not make up all registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// Bytes of a sketch that may change their number.
pub trait Store {
    fn bytes(&self) -> &[u8];
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Puts `source` in place of a range.
    fn splice(&mut self, range: Range<usize>, source: &[u8]);
}

/// An empty sketch, sparse, its cached count valid.
pub fn empty() -> [u8; HEADER_BYTES + 2] {
    let mut bytes = [0; HEADER_BYTES + 2];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[ENCODING_AT] = Encoding::Sparse as u8;
    bytes[HEADER_BYTES..].copy_from_slice(&sparse::ALL_ZERO);
    bytes
}

/// The encoding, if these bytes have a sketch's header and, when dense, its length. The runs of a
/// sparse one are checked by whoever reads them.
pub fn encoding_of(bytes: &[u8]) -> Option<Encoding> {
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return None;
    }
    match bytes[ENCODING_AT] {
        0 if bytes.len() == DENSE_BYTES => Some(Encoding::Dense),
        1 => Some(Encoding::Sparse),
        _ => None,
    }
}

fn is_dense(bytes: &[u8]) -> bool {
    bytes[ENCODING_AT] == Encoding::Dense as u8
}

/// Takes one element in. Returns whether a register changed; the cached count is then stale.
/// A sparse sketch that would grow above `sparse_max_bytes` turns dense. O(1) when dense, else
/// O(bytes), eight runs at a time.
pub fn add(store: &mut impl Store, pattern: Pattern, sparse_max_bytes: usize) -> Result<bool, Corrupt> {
    if is_dense(store.bytes()) {
        return Ok(registers::raise(&mut store.bytes_mut()[HEADER_BYTES..], pattern));
    }
    sparse::raise(store, &mut sparse::Cursor::default(), pattern, sparse_max_bytes)
}

/// Makes a sketch dense. Returns whether it was sparse. O(registers).
pub fn make_dense(store: &mut impl Store) -> Result<bool, Corrupt> {
    if is_dense(store.bytes()) {
        return Ok(false);
    }
    let mut all = Registers::new();
    all.merge(store.bytes())?;
    store_dense(store, &all);
    Ok(true)
}

fn store_dense(store: &mut impl Store, all: &Registers) {
    let old = store.bytes().len();
    store.splice(HEADER_BYTES..old, &all.packed());
    store.bytes_mut()[ENCODING_AT] = Encoding::Dense as u8;
}

/// Raises a sketch's registers to `all`, which holds at least what the sketch has (a merge that
/// began with it). Dense when `dense` says so or when sparse it would be too long. The cached count
/// becomes stale. O(registers).
pub fn raise_to(
    store: &mut impl Store,
    all: &Registers,
    dense: bool,
    sparse_max_bytes: usize,
) -> Result<(), Corrupt> {
    if dense || is_dense(store.bytes()) {
        store_dense(store, all);
    } else {
        let mut cursor = sparse::Cursor::default();
        for pattern in all.patterns() {
            sparse::raise(store, &mut cursor, pattern, sparse_max_bytes)?;
            if is_dense(store.bytes()) {
                store_dense(store, all);
                break;
            }
        }
    }
    make_stale(store.bytes_mut());
    Ok(())
}

/// The cached count, unless it is stale.
pub fn cached_count(bytes: &[u8]) -> Option<u64> {
    let count = u64::from_le_bytes(bytes[COUNT].try_into().expect("eight bytes of a header"));
    (count >> 56 & u64::from(STALE_BIT) == 0).then_some(count)
}

pub fn cache_count(bytes: &mut [u8], count: u64) {
    bytes[COUNT].copy_from_slice(&count.to_le_bytes());
}

pub fn make_stale(bytes: &mut [u8]) {
    bytes[COUNT.end - 1] |= STALE_BIT;
}

/// The estimate from the registers. O(registers), or O(bytes) when sparse.
pub fn count(bytes: &[u8]) -> Result<u64, Corrupt> {
    let body = &bytes[HEADER_BYTES..];
    let histogram =
        if is_dense(bytes) { Histogram::of_packed(body) } else { Histogram::of_runs(runs(body))? };
    Ok(histogram.estimate())
}
