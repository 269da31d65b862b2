//! Where an RDB is read from: a file in blocks of 1 MiB, or bytes in memory.
//!
//! ```text
//!  block:  | consumed ........ | ready ............ | free |
//!          ^ summed up to here ^ position           ^ end
//! ```
//! What is taken is a slice of the block: a value is copied once, into its entry. The checksum is
//! computed over consumed stretches when the block is refilled, not over single strings.

use crate::base::crc64::Crc64;
use crate::persist::rdb::error::RdbErrorKind;
use crate::sys::io::StorageFile;
use std::io;

/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// Room that is made before more is read ahead, bytes.
const AHEAD_BYTES_MIN: usize = 64 << 10;

/// Room made at once, for a length that the source claims or to read ahead; more follows as bytes come.
const GROWTH_BYTES_MAX: usize = 64 << 20;

/// A source of bytes that are consumed in order.
pub trait Input {
    /// The next `count` bytes.
    ///
    /// # Errors
    /// The source ends before, or cannot be read.
    fn take(&mut self, count: usize) -> Result<&[u8], RdbErrorKind>;

    /// Bytes consumed so far.
    fn offset(&self) -> u64;

    #[inline]
    fn take_u8(&mut self) -> Result<u8, RdbErrorKind> {
        Ok(self.take(1)?[0])
    }

    #[inline]
    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], RdbErrorKind> {
        Ok(self.take(N)?.try_into().expect("take gives as many bytes as asked for"))
    }
}

/// Bytes in memory.
pub struct SliceInput<'a> {
    rest: &'a [u8],
    consumed: u64,
}

impl<'a> SliceInput<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        SliceInput { rest: bytes, consumed: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// As [`Input::take`]; the slice lives as long as the bytes do.
    #[inline]
    pub fn take_slice(&mut self, count: usize) -> Result<&'a [u8], RdbErrorKind> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(RdbErrorKind::UnexpectedEof)?;
        self.rest = rest;
        self.consumed += count as u64;
        Ok(taken)
    }
}

impl Input for SliceInput<'_> {
    #[inline]
    fn take(&mut self, count: usize) -> Result<&[u8], RdbErrorKind> {
        self.take_slice(count)
    }

    fn offset(&self) -> u64 {
        self.consumed
    }
}

/// A file, read in blocks.
pub struct FileInput {
    file: Box<dyn StorageFile>,
    block: Vec<u8>,
    position: usize,
    end: usize,
    /// Where the checksum stands.
    summed: usize,
    /// File offset of the block's first byte.
    block_offset: u64,
    file_bytes: u64,
    crc: u64,
    /// Reading ahead has come to the end of the source.
    has_ended: bool,
}

impl FileInput {
    /// Reads from the file's present position, taken as offset 0 of the RDB.
    ///
    /// # Errors
    /// The length of the file cannot be told.
    pub fn new(file: Box<dyn StorageFile>) -> Result<Self, RdbErrorKind> {
        let file_bytes = file.len().map_err(RdbErrorKind::Io)?;
        Ok(FileInput {
            file,
            block: vec![0; BLOCK_BYTES],
            position: 0,
            end: 0,
            summed: 0,
            block_offset: 0,
            file_bytes,
            crc: 0,
            has_ended: false,
        })
    }

    /// Length of the file when it was opened.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The checksum of everything consumed.
    pub fn checksum(&mut self) -> u64 {
        self.sum_consumed();
        self.crc
    }

    /// What is ready to be looked at without reading: a fast path parses it and then consumes.
    #[inline]
    pub fn ready(&self) -> &[u8] {
        &self.block[self.position..self.end]
    }

    /// Consumes bytes seen in [`FileInput::ready`].
    #[inline]
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.position);
        self.position += count;
    }

    /// Reads what the source has now, at most `bytes_max` bytes. Empty: a source that does not wait has
    /// nothing yet.
    ///
    /// # Errors
    /// The source has ended, or cannot be read.
    pub fn read_ahead(&mut self, bytes_max: usize) -> Result<&[u8], RdbErrorKind> {
        if self.position == self.end || self.position >= BLOCK_BYTES {
            self.move_to_front();
        }
        if self.block.len() - self.end < AHEAD_BYTES_MIN {
            self.block.resize(ahead_bytes(self.end), 0);
        }
        let start = self.end;
        let room = start..self.block.len().min(start.saturating_add(bytes_max));
        let count = match self.file.read(&mut self.block[room]) {
            Ok(0) => {
                self.has_ended = true;
                return Err(RdbErrorKind::UnexpectedEof);
            }
            Ok(count) => count,
            Err(fault) if fault.source.kind() == io::ErrorKind::WouldBlock => 0,
            Err(fault) => return Err(RdbErrorKind::Io(fault)),
        };
        self.end += count;
        Ok(&self.block[start..self.end])
    }

    /// Whether the source that was read ahead gave less than it had announced: nothing is wrong with what came.
    pub fn has_broken_off(&self) -> bool {
        self.has_ended && self.block_offset + (self.end as u64) < self.file_bytes
    }

    /// What is ready stands at the block's start afterwards.
    fn move_to_front(&mut self) {
        self.sum_consumed();
        self.block.copy_within(self.position..self.end, 0);
        self.block_offset += self.position as u64;
        self.end -= self.position;
        (self.position, self.summed) = (0, 0);
        if self.block.len() > BLOCK_BYTES && self.end <= BLOCK_BYTES / 2 {
            self.block.truncate(BLOCK_BYTES);
            self.block.shrink_to_fit();
        }
    }

    fn sum_consumed(&mut self) {
        self.crc = Crc64::update(self.crc, &self.block[self.summed..self.position]);
        self.summed = self.position;
    }

    /// Makes at least `count` bytes ready.
    #[cold]
    fn fill(&mut self, count: usize) -> Result<(), RdbErrorKind> {
        let ready = self.end - self.position;
        let unread = self.file_bytes.saturating_sub(self.block_offset + self.end as u64);
        // A length that the file cannot hold is refused before memory is asked for.
        if (count - ready) as u64 > unread {
            return Err(RdbErrorKind::UnexpectedEof);
        }
        self.sum_consumed();
        self.block.copy_within(self.position..self.end, 0);
        self.block_offset += self.position as u64;
        (self.position, self.summed, self.end) = (0, 0, ready);
        if self.block.len() < count {
            self.block.resize(count.min(self.end + GROWTH_BYTES_MAX).max(self.block.len()), 0);
        } else if self.block.len() > BLOCK_BYTES && count.max(ready) <= BLOCK_BYTES {
            self.block.truncate(BLOCK_BYTES);
            self.block.shrink_to_fit();
        }
        while self.end < count {
            if self.end == self.block.len() {
                self.block.resize(count.min(2 * self.end), 0);
            }
            let read = self.file.read(&mut self.block[self.end..]).map_err(RdbErrorKind::Io)?;
            if read == 0 {
                return Err(RdbErrorKind::UnexpectedEof);
            }
            self.end += read;
        }
        Ok(())
    }
}

/// Length of a block with `filled` bytes that has to hold more: what grows is set to zero at once.
fn ahead_bytes(filled: usize) -> usize {
    (2 * filled).min(filled + GROWTH_BYTES_MAX).max(BLOCK_BYTES)
}

impl Input for FileInput {
    #[inline]
    fn take(&mut self, count: usize) -> Result<&[u8], RdbErrorKind> {
        if self.end - self.position < count {
            self.fill(count)?;
        }
        let start = self.position;
        self.position += count;
        Ok(&self.block[start..self.position])
    }

    fn offset(&self) -> u64 {
        self.block_offset + self.position as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{AHEAD_BYTES_MIN, BLOCK_BYTES, GROWTH_BYTES_MAX, ahead_bytes};

    #[test]
    fn a_block_grows_twofold_while_it_is_small_and_evenly_then() {
        assert_eq!(ahead_bytes(0), BLOCK_BYTES);
        assert_eq!(ahead_bytes(3 << 20), 6 << 20);
        assert_eq!(ahead_bytes(3 << 30), (3 << 30) + GROWTH_BYTES_MAX);
        assert!(ahead_bytes(BLOCK_BYTES - AHEAD_BYTES_MIN + 1) >= BLOCK_BYTES + AHEAD_BYTES_MIN);
    }
}
