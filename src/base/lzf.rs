//! LZF compression of strings in RDB files: the same bytes as Redis's liblzf, all in safe Rust.
//!
//! The format (Marc Lehmann's liblzf): a control byte, then literals or a reference backwards.
//!
//! ```text
//!  000LLLLL                      L+1 literal bytes follow                  (1..32)
//!  LLLooooo oooooooo             copy L+2 bytes from o+1 bytes back        (L 1..6:  3..8 bytes)
//!  111ooooo LLLLLLLL oooooooo    copy L+9 bytes from o+1 bytes back        (9..264 bytes)
//! ```
//!
//! Any encoder's output is valid, but equal bytes make DUMP payloads and files comparable with real Redis,
//! so the C code's choices are kept (liblzf 3.6 as configured in Redis: HLOG 16, VERY_FAST): its hash, that
//! position 0 is never a target, that only the last two positions of a match enter the table, and
//! that a match may end two bytes behind its own limit when the limit is above 16.
//!
//! One table of 2^16 positions (256 KiB) is kept between calls. Instead of clearing it (which would cost more
//! than compressing a small value) positions are numbered on from call to call, so that what an
//! earlier call left is below the present base. C leaves its table uninitialised; its output does not depend on it.

/// log2 of the table's slots.
const TABLE_BITS: u32 = 16;
const TABLE_SLOTS: usize = 1 << TABLE_BITS;
/// Most literals behind one control byte.
const MAX_LITERALS: usize = 1 << 5;
/// Farthest reference, in bytes back minus one.
const MAX_OFFSET: usize = 1 << 13;
/// Longest reference, in bytes.
const MAX_REFERENCE: usize = (1 << 8) + (1 << 3);
/// Matches are compared by bytes up to this length, then by words of 8.
const SHORT_MATCH: usize = 16;
/// No stream gives more than this many bytes for each of its own: 264 from three.
const MAX_EXPANSION: usize = MAX_REFERENCE / 3;
/// Largest input compressed, in bytes: positions are 32-bit. Larger ones are stored raw.
const MAX_INPUT_BYTES: usize = u32::MAX as usize;

/// A compressor with its table. About 1 ns a byte on JSON text, 1.4 times the C code.
pub struct Compressor {
    /// Number of the latest position with this hash; an entry counts when it is above `base`.
    table: Box<[u32; TABLE_SLOTS]>,
    /// Number of the present input's first byte. Position 0 is no target, so `> base` tests both.
    base: u32,
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor::new()
    }
}

impl Compressor {
    /// Allocates the table (256 KiB).
    pub fn new() -> Compressor {
        let table = vec![0; TABLE_SLOTS].into_boxed_slice();
        let table = table.try_into().expect("the vector was made with that many slots");
        Compressor { table, base: 0 }
    }

    /// Appends `input` compressed to `out` and gives true, if that takes at most `limit` bytes; else
    /// appends nothing and gives false. (Redis passes `input.len() - 4`; the C code is a little
    /// pessimistic near the limit, and so is this.)
    pub fn compress(&mut self, input: &[u8], out: &mut Vec<u8>, limit: usize) -> bool {
        if input.is_empty() || limit == 0 || input.len() > MAX_INPUT_BYTES {
            return false;
        }
        let length = input.len() as u32;
        if self.base.checked_add(length).is_none() {
            self.table.fill(0);
            self.base = 0;
        }
        let start = out.len();
        // No output is longer than all literals: a control byte for each 32, and one open run.
        let room = limit.min(input.len() + input.len() / MAX_LITERALS + 2);
        out.resize(start + room, 0);
        let search = Search { table: &mut self.table, base: self.base, input };
        let written = search.compress_into(&mut out[start..], limit);
        self.base += length;
        out.truncate(start + written.unwrap_or(0));
        written.is_some()
    }
}

/// One input on its way, with the table it is looked up in.
struct Search<'a> {
    table: &'a mut [u32; TABLE_SLOTS],
    base: u32,
    input: &'a [u8],
}

impl Search<'_> {
    fn compress_into(mut self, out: &mut [u8], limit: usize) -> Option<usize> {
        let input = self.input;
        let mut output = Output { bytes: out, next: 1, literals: 0, limit };
        // Matches need three bytes.
        let end = input.len().saturating_sub(2);
        let mut at = 0;
        while at < end {
            match self.find_match(at) {
                Some((offset, length)) => {
                    output.reference(offset, length)?;
                    at += length;
                    if at >= end {
                        break;
                    }
                    self.enter(key_at(input, at - 2), at - 2);
                    self.enter(key_at(input, at - 1), at - 1);
                }
                None => {
                    output.literal(input[at])?;
                    at += 1;
                }
            }
        }
        output.finish(&input[at..])
    }

    /// Puts position `at`, whose three bytes are `key`, into the table and gives what its slot held.
    #[inline]
    fn enter(&mut self, key: u32, at: usize) -> u32 {
        // The sum fits: compress() saw to that.
        std::mem::replace(&mut self.table[slot_of(key)], self.base + at as u32)
    }

    /// Enters `at` and looks for an earlier equal stretch: (bytes back minus one, length).
    #[inline]
    fn find_match(&mut self, at: usize) -> Option<(usize, usize)> {
        let key = key_at(self.input, at);
        let entry = self.enter(key, at);
        if entry <= self.base {
            return None;
        }
        let target = (entry - self.base) as usize;
        let offset = at - target - 1;
        if offset >= MAX_OFFSET || key_at(self.input, target) != key {
            return None;
        }
        Some((offset, match_length(self.input, target, at)))
    }
}

/// The three bytes at `at` (they must be there) as a number, first byte on top.
#[inline]
fn key_at(input: &[u8], at: usize) -> u32 {
    let bytes = &input[at..at + 3];
    u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2])
}

#[inline]
fn slot_of(key: u32) -> usize {
    let hash = (key >> (24 - TABLE_BITS)).wrapping_sub(key.wrapping_mul(5));
    (hash & (TABLE_SLOTS as u32 - 1)) as usize
}

/// How many bytes are equal at `target` and `at`, of which three are known to be.
///
/// The limit is two bytes below what is left and at most 264. The C loop compares 16 bytes at once
/// without looking when the limit is above 16, and then one more; so 17 and 18 act like 19.
#[inline]
fn match_length(input: &[u8], target: usize, at: usize) -> usize {
    let limit = (input.len() - at - 2).min(MAX_REFERENCE);
    let limit = if limit > 16 { limit.max(19) } else { limit.max(3) };
    let (earlier, present) = (&input[target..target + limit], &input[at..at + limit]);
    let mut length = 3;
    // Most matches are short: bytes first, then words.
    while length < limit.min(SHORT_MATCH) {
        if earlier[length] != present[length] {
            return length;
        }
        length += 1;
    }
    while let (Some(left), Some(right)) =
        (earlier[length..].first_chunk::<8>(), present[length..].first_chunk::<8>())
    {
        let difference = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if difference != 0 {
            return length + difference.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    while length < limit && earlier[length] == present[length] {
        length += 1;
    }
    length
}

/// The output with an open run of literals: its control byte lies in front of them.
struct Output<'a> {
    bytes: &'a mut [u8],
    /// Where the next byte goes.
    next: usize,
    /// Literals in the open run.
    literals: usize,
    /// The caller's limit, which the C code's conditions compare with. `bytes` may be shorter, but never
    /// shorter than what all literals take.
    limit: usize,
}

impl Output<'_> {
    /// Appends a literal, or gives `None` when the output is full.
    #[inline]
    fn literal(&mut self, byte: u8) -> Option<()> {
        if self.next >= self.limit {
            return None;
        }
        self.push_literal(byte);
        Some(())
    }

    #[inline]
    fn push_literal(&mut self, byte: u8) {
        self.bytes[self.next] = byte;
        self.next += 1;
        self.literals += 1;
        if self.literals == MAX_LITERALS {
            self.close_run();
            self.next += 1;
        }
    }

    /// Writes the control byte of the open run; an empty run gives its place back.
    #[inline]
    fn close_run(&mut self) {
        if self.literals == 0 {
            self.next -= 1;
        } else {
            self.bytes[self.next - self.literals - 1] = (self.literals - 1) as u8;
            self.literals = 0;
        }
    }

    /// Appends a reference and opens a run, or gives `None` when there is no room for the
    /// longest reference and one more byte.
    #[inline]
    fn reference(&mut self, offset: usize, length: usize) -> Option<()> {
        if self.next - usize::from(self.literals == 0) + 4 >= self.limit {
            return None;
        }
        self.close_run();
        let code = length - 2;
        let high = (offset >> 8) as u8;
        if code < 7 {
            self.bytes[self.next] = (code as u8) << 5 | high;
            self.bytes[self.next + 1] = offset as u8;
            self.next += 2;
        } else {
            let long = [7 << 5 | high, (code - 7) as u8, offset as u8];
            self.bytes[self.next..self.next + 3].copy_from_slice(&long);
            self.next += 3;
        }
        self.next += 1;
        Some(())
    }

    /// Appends the last bytes (at most two) and closes; gives the length of the output.
    fn finish(mut self, rest: &[u8]) -> Option<usize> {
        if self.next + 3 > self.limit {
            return None;
        }
        for &byte in rest {
            self.push_literal(byte);
        }
        self.close_run();
        Some(self.next)
    }
}

/// Why a stream could not be decompressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LzfError {
    /// The stream ends within an element.
    Truncated,
    /// A reference points in front of the output.
    BadReference,
    /// The output is longer or shorter than the caller expects.
    WrongLength,
}

impl std::fmt::Display for LzfError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            LzfError::Truncated => "LZF stream ends early",
            LzfError::BadReference => "LZF reference points before the start of the data",
            LzfError::WrongLength => "LZF data does not have the announced length",
        })
    }
}

impl std::error::Error for LzfError {}

/// Decompresses `input`, which must give exactly `expected_len` bytes.
///
/// Never panics and never allocates more than 88 times the input, whatever `expected_len` claims.
/// Streams are refused when Redis refuses them (its check of the length included).
pub fn decompress(input: &[u8], expected_len: usize) -> Result<Vec<u8>, LzfError> {
    let mut out = Vec::new();
    decompress_into(input, expected_len, &mut out)?;
    Ok(out)
}

/// As [`decompress`], into a vector that is used again and again: its old content is overwritten.
/// After an error it holds garbage.
pub fn decompress_into(input: &[u8], expected_len: usize, out: &mut Vec<u8>) -> Result<(), LzfError> {
    if expected_len > input.len().saturating_mul(MAX_EXPANSION) {
        return Err(LzfError::WrongLength);
    }
    out.resize(expected_len, 0);
    let mut written = 0;
    let mut rest = input;
    while let Some((&control, after)) = rest.split_first() {
        rest = after;
        let length = if usize::from(control) < MAX_LITERALS {
            let count = usize::from(control) + 1;
            copy_literals(out, written, rest, count)?;
            rest = &rest[count..];
            count
        } else {
            let (length, offset) = take_reference(control, &mut rest)?;
            copy_reference(out, written, offset, length)?;
            length
        };
        written += length;
    }
    if written == expected_len { Ok(()) } else { Err(LzfError::WrongLength) }
}

/// Copies `count` literals. Where both sides have room a whole 32 bytes are moved, which is faster than
/// a copy of exact length; what is too much is overwritten later.
#[inline]
fn copy_literals(out: &mut [u8], written: usize, input: &[u8], count: usize) -> Result<(), LzfError> {
    let target = &mut out[written..];
    if count > target.len() {
        return Err(LzfError::WrongLength);
    }
    let source = input.get(..count).ok_or(LzfError::Truncated)?;
    match (target.first_chunk_mut::<MAX_LITERALS>(), input.first_chunk::<MAX_LITERALS>()) {
        (Some(whole_target), Some(whole_source)) => *whole_target = *whole_source,
        _ => target[..count].copy_from_slice(source),
    }
    Ok(())
}

/// Reads the rest of a reference: (length, bytes back).
#[inline]
fn take_reference(control: u8, rest: &mut &[u8]) -> Result<(usize, usize), LzfError> {
    let mut next = || {
        let (&byte, after) = rest.split_first().ok_or(LzfError::Truncated)?;
        *rest = after;
        Ok(usize::from(byte))
    };
    let mut length = usize::from(control >> 5) + 2;
    if length == 9 {
        length += next()?;
    }
    let offset = (usize::from(control & 31) << 8) + next()? + 1;
    Ok((length, offset))
}

/// Copies `length` bytes from `offset` bytes back; the stretches may overlap, which repeats.
#[inline]
fn copy_reference(out: &mut [u8], written: usize, offset: usize, length: usize) -> Result<(), LzfError> {
    if length > out.len() - written {
        return Err(LzfError::WrongLength);
    }
    let start = written.checked_sub(offset).ok_or(LzfError::BadReference)?;
    if offset >= length {
        let (earlier, target) = out.split_at_mut(written);
        let source = &earlier[start..];
        if let (16.., true, Some(chunk)) = (target.len(), length <= 16, source.first_chunk::<16>()) {
            target[..16].copy_from_slice(chunk);
        } else {
            target[..length].copy_from_slice(&source[..length]);
        }
    } else if offset == 1 {
        let byte = out[start];
        out[written..written + length].fill(byte);
    } else {
        for at in written..written + length {
            out[at] = out[at - offset];
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
