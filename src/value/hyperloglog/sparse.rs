//! The sparse form: runs of equal registers.
//!
//! ```text
//!  00llllll            zero    1 to 64 registers that are 0           (l + 1)
//!  01llllll llllllll   zeros   1 to 16,384 registers that are 0       (l + 1, high bits first)
//!  1vvvvvll            value   1 to 4 registers of the value 1 to 32  (v + 1, l + 1)
//! ```
//! Raising a register splits the run that covers it into at most three, and then joins value runs
//! around it. Which runs are joined is part of the format in so far as equal histories must give
//! equal bytes (DEBUG DIGEST of a primary and its replica), so it follows Redis step by step.
//! Finding the run is what takes time: eight runs of one byte are summed up in a word.

use super::hash::Pattern;
use super::registers;
use super::{Corrupt, HEADER_BYTES, Store, make_dense, make_stale};

const ZEROS_BIT: u8 = 0x40;
const VALUE_BIT: u8 = 0x80;
const ZERO_LEN_MAX: usize = 64;
const VALUE_MAX: u8 = 32;
const VALUE_LEN_MAX: usize = 4;
/// Runs looked at, from the one before the change on, for two that can be joined.
const JOIN_RUNS_MAX: usize = 5;

/// 16,384 registers that are zero.
pub(super) const ALL_ZERO: [u8; 2] = [ZEROS_BIT | 0x3f, 0xff];

/// Registers of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// 0 to 32.
    pub value: u8,
    /// 1 to 16,384.
    pub len: usize,
}

fn is_value(byte: u8) -> bool {
    byte & VALUE_BIT != 0
}

fn is_zeros(byte: u8) -> bool {
    byte & (VALUE_BIT | ZEROS_BIT) == ZEROS_BIT
}

/// The run at `at` and the bytes it takes. A second byte that is missing counts as zero.
#[inline]
fn decode(body: &[u8], at: usize) -> (Run, usize) {
    let byte = body[at];
    if is_value(byte) {
        (Run { value: (byte >> 2 & 0x1f) + 1, len: usize::from(byte & 3) + 1 }, 1)
    } else if is_zeros(byte) {
        let low = body.get(at + 1).copied().unwrap_or(0);
        (Run { value: 0, len: (usize::from(byte & 0x3f) << 8 | usize::from(low)) + 1 }, 2)
    } else {
        (Run { value: 0, len: usize::from(byte) + 1 }, 1)
    }
}

/// The runs of a sparse sketch's body.
pub fn runs(body: &[u8]) -> impl Iterator<Item = Run> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        (at < body.len()).then(|| {
            let (run, bytes) = decode(body, at);
            at += bytes;
            run
        })
    })
}

/// The runs in words: `z:3` for zeros in one byte, `Z:3` for zeros in two, `v:2,1` for a value and its
/// run (PFDEBUG DECODE).
pub fn describe(body: &[u8]) -> String {
    let (mut words, mut at) = (Vec::new(), 0);
    while at < body.len() {
        let (Run { value, len }, bytes) = decode(body, at);
        words.push(match (value, bytes) {
            (0, 1) => format!("z:{len}"),
            (0, _) => format!("Z:{len}"),
            (value, _) => format!("v:{value},{len}"),
        });
        at += bytes;
    }
    words.join(" ")
}

/// A few runs in the making.
#[derive(Default)]
struct Encoded {
    bytes: [u8; 5],
    len: usize,
}

impl Encoded {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// Adds a run; nothing when its length is 0.
    fn push_run(&mut self, Run { value, len }: Run) {
        match len {
            0 => {}
            len if value > 0 => self.push(value_byte(value, len)),
            len if len <= ZERO_LEN_MAX => self.push(len as u8 - 1),
            len => {
                self.push(ZEROS_BIT | ((len - 1) >> 8) as u8);
                self.push((len - 1) as u8);
            }
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn value_byte(value: u8, len: usize) -> u8 {
    VALUE_BIT | (value - 1) << 2 | (len as u8 - 1)
}

/// A run's place. As a start for the next, higher register: the run before the one found last.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    /// From the body's begin.
    at: usize,
    /// First register of the run there.
    first: usize,
    /// Where the run before it is, if there is one.
    previous: Option<usize>,
}

/// The run that covers a register.
struct Place {
    cursor: Cursor,
    run: Run,
    bytes: usize,
    /// To begin the search for a higher register with.
    next_start: Cursor,
}

fn find(body: &[u8], start: Cursor, index: usize) -> Result<Place, Corrupt> {
    // When the start itself is found, joining may make it part of the run before it: begin anew.
    let mut next_start = Cursor::default();
    let mut cursor = start;
    while cursor.at < body.len() {
        let Cursor { at, first, .. } = cursor;
        if let Some(registers) = sum_of_eight(body, at)
            && first + registers <= index
        {
            let last_len = decode(body, at + 7).0.len;
            next_start = Cursor { at: at + 7, first: first + registers - last_len, previous: Some(at + 6) };
            cursor = Cursor { at: at + 8, first: first + registers, previous: Some(at + 7) };
            continue;
        }
        let (run, bytes) = decode(body, at);
        if index < first + run.len {
            return Ok(Place { cursor, run, bytes, next_start });
        }
        next_start = cursor;
        cursor = Cursor { at: at + bytes, first: first + run.len, previous: Some(at) };
    }
    Err(Corrupt)
}

/// The registers of the eight runs at `at`, if all are of one byte.
#[inline]
fn sum_of_eight(body: &[u8], at: usize) -> Option<usize> {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(*body.get(at..)?.first_chunk()?);
    if word << 1 & !word & HIGH != 0 {
        return None;
    }
    // Values keep two bits of length, zeros six.
    let values = (word & HIGH) >> 7;
    let lens = word & (0x3f3f_3f3f_3f3f_3f3f ^ (values * 0x3c));
    let pairs = (lens & 0x00ff_00ff_00ff_00ff) + (lens >> 8 & 0x00ff_00ff_00ff_00ff);
    Some((pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize + 8)
}

/// Raises a register. Returns whether it was lower. `cursor` is left for a higher register.
/// The sketch becomes dense when the value or its length asks for it.
pub(super) fn raise(
    store: &mut impl Store,
    cursor: &mut Cursor,
    pattern: Pattern,
    max_bytes: usize,
) -> Result<bool, Corrupt> {
    if pattern.value > VALUE_MAX {
        return raise_dense(store, pattern);
    }
    let index = usize::from(pattern.index);
    let place = find(&store.bytes()[HEADER_BYTES..], *cursor, index)?;
    *cursor = place.next_start;
    let Cursor { at, first, previous } = place.cursor;
    if place.run.value >= pattern.value {
        return Ok(false);
    }
    let mut encoded = Encoded::default();
    encoded.push_run(Run { len: index - first, ..place.run });
    encoded.push_run(Run { value: pattern.value, len: 1 });
    encoded.push_run(Run { len: first + place.run.len - index - 1, ..place.run });
    let old = store.bytes().len();
    let at = HEADER_BYTES + at;
    if at + place.bytes > old {
        return Err(Corrupt);
    }
    let new = old - place.bytes + encoded.len;
    if new > old && new > max_bytes {
        return raise_dense(store, pattern);
    }
    store.splice(at..at + place.bytes, encoded.as_slice());
    join(store, HEADER_BYTES + previous.unwrap_or(0));
    make_stale(store.bytes_mut());
    Ok(true)
}

fn raise_dense(store: &mut impl Store, pattern: Pattern) -> Result<bool, Corrupt> {
    make_dense(store)?;
    Ok(registers::raise(&mut store.bytes_mut()[HEADER_BYTES..], pattern))
}

/// Joins value runs that follow each other, from `at` on.
fn join(store: &mut impl Store, mut at: usize) {
    for _ in 0..JOIN_RUNS_MAX {
        let bytes = store.bytes();
        let Some(byte) = bytes.get(at).copied() else { return };
        if !is_value(byte) {
            at += 1 + is_zeros(byte) as usize;
            continue;
        }
        let next = bytes.get(at + 1).copied().filter(|next| is_value(*next) && (next ^ byte) & 0x7c == 0);
        let len = |byte: u8| usize::from(byte & 3) + 1;
        match next {
            Some(next) if len(byte) + len(next) <= VALUE_LEN_MAX => {
                let joined = (byte & !3) | (len(byte) + len(next) - 1) as u8;
                store.splice(at..at + 2, &[joined]);
            }
            _ => at += 1,
        }
    }
}
