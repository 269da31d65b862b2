//! The replication stream in memory: one list of blocks for the backlog and for all replicas.
//!
//! ```text
//!  positions   base                 start of history                      end
//!               |  block 0  |  block 1  |  block 2  |  block 3 .. room |
//!                                ^ cursor of a slow replica      ^ cursor of a quick one
//! ```
//! A *position* counts the bytes of the stream before it; Redis's offsets number the bytes from 1, so
//! the byte with offset n stands at position n - 1. Blocks have one size, so the block of a position is
//! found by a division. A replica owns no memory, only a cursor: a block goes when it lies before the
//! newest `repl-backlog-size` bytes and before the cursor of every replica.

use crate::sys::stream_block::StreamBlock;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// Size of a block: a sixteenth of the backlog, between these, bytes. Trimming is by whole blocks, so
/// a block more than the backlog is held; the smallest still makes few system calls.
const BLOCK_BYTES_MIN: usize = 16 << 10;
const BLOCK_BYTES_MAX: usize = 256 << 10;
const BLOCKS_PER_BACKLOG: usize = 16;
/// Given back in one step, bytes and blocks, so that a replica that was far behind and goes stops nobody.
const TRIM_BYTES_MAX: usize = 64 << 20;
const TRIM_BLOCKS_MAX: usize = 512;
/// Places in the list of blocks that are kept whatever it holds.
const INDEX_MIN: usize = 32;
/// Empty blocks kept for reuse: a steady stream then maps nothing.
const SPARE_BLOCKS_MAX: usize = 1;

/// The newest bytes of the stream.
#[derive(Debug)]
pub struct Backlog {
    blocks: VecDeque<StreamBlock>,
    spare: Vec<StreamBlock>,
    block_bytes: usize,
    /// Position of the first byte of the first block.
    base: u64,
    end: u64,
}

impl Backlog {
    /// An empty backlog that begins at position `start`, for one of `size` bytes.
    pub fn new(start: u64, size: usize) -> Self {
        let wanted = (size / BLOCKS_PER_BACKLOG).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        Backlog {
            blocks: VecDeque::new(),
            spare: Vec::new(),
            block_bytes: wanted.next_power_of_two().min(BLOCK_BYTES_MAX),
            base: start,
            end: start,
        }
    }

    /// Position of the oldest byte that is still there.
    pub fn start(&self) -> u64 {
        self.base
    }

    /// Position behind the newest byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that are there (`repl_backlog_histlen`).
    pub fn history_bytes(&self) -> u64 {
        self.end - self.base
    }

    /// Whether somebody who has everything before `position` can go on from here.
    pub fn reaches(&self, position: u64) -> bool {
        (self.base..=self.end).contains(&position)
    }

    /// Bytes of memory it takes.
    pub fn memory_bytes(&self) -> usize {
        let index = self.blocks.capacity() * size_of::<StreamBlock>();
        (self.blocks.len() + self.spare.len()) * self.block_bytes + index
    }

    /// Appends to the stream.
    ///
    /// # Errors
    /// No memory for a block; the stream is then not whole and must be given up.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.blocks.back_mut().map_or(0, |block| block.append(bytes));
            bytes = &bytes[taken..];
            self.end += taken as u64;
            if !bytes.is_empty() {
                let block = match self.spare.pop() {
                    Some(block) => block,
                    None => StreamBlock::new(self.block_bytes)?,
                };
                self.blocks.push_back(block);
            }
        }
        Ok(())
    }

    /// Gives blocks back that lie before the newest `size` bytes and before `pinned`, the cursor of the
    /// slowest replica. At most [`TRIM_BYTES_MAX`] and [`TRIM_BLOCKS_MAX`] a call.
    pub fn trim(&mut self, size: usize, pinned: Option<u64>) {
        let keep_from = self.end.saturating_sub(size as u64).min(pinned.unwrap_or(u64::MAX));
        for _ in 0..(TRIM_BYTES_MAX / self.block_bytes).min(TRIM_BLOCKS_MAX) {
            if self.base + self.block_bytes as u64 > keep_from || self.blocks.len() < 2 {
                break;
            }
            let Some(mut block) = self.blocks.pop_front() else { return };
            self.base += self.block_bytes as u64;
            if self.spare.len() < SPARE_BLOCKS_MAX {
                block.clear();
                self.spare.push(block);
            }
        }
        if self.blocks.capacity() > INDEX_MIN.max(4 * self.blocks.len()) {
            self.blocks.shrink_to(2 * self.blocks.len());
        }
    }

    /// The bytes from position `from` up to `to`, as they lie, at most as many pieces as `slices` has.
    /// Returns how many were filled in.
    pub fn slices<'a>(&'a self, from: u64, to: u64, slices: &mut [IoSlice<'a>]) -> usize {
        let to = to.min(self.end);
        let mut position = from;
        let mut count = 0;
        while count < slices.len() && position < to && position >= self.base {
            let at = (position - self.base) as usize;
            let Some(block) = self.blocks.get(at / self.block_bytes) else { break };
            let start = at % self.block_bytes;
            let end = block.bytes().len().min(start + (to - position) as usize);
            let Some(piece) = block.bytes().get(start..end).filter(|piece| !piece.is_empty()) else { break };
            slices[count] = IoSlice::new(piece);
            count += 1;
            position += piece.len() as u64;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES_MIN, Backlog};
    use crate::base::rng::Rng;
    use std::io::IoSlice;

    fn read(backlog: &Backlog, from: u64, to: u64) -> Vec<u8> {
        let mut all = Vec::new();
        while from + (all.len() as u64) < to {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = backlog.slices(from + all.len() as u64, to, &mut slices);
            assert!(count > 0, "the bytes asked for are there");
            slices[..count].iter().for_each(|slice| all.extend_from_slice(slice));
        }
        all
    }

    /// Against a plain vector: whatever is appended and trimmed, every byte of the history can be read.
    #[test]
    fn the_history_is_what_was_appended() {
        let mut rng = Rng::with_seed(7);
        let (mut backlog, mut model) = (Backlog::new(1000, 200_000), vec![0u8; 1000]);
        for round in 0..400 {
            let bytes: Vec<u8> =
                (0..rng.below(3 * BLOCK_BYTES_MIN / 2)).map(|_| rng.below(256) as u8).collect();
            backlog.append(&bytes).expect("there is memory");
            model.extend_from_slice(&bytes);
            assert_eq!(backlog.end(), model.len() as u64);
            let pinned = (round % 3 == 0).then_some(backlog.start());
            backlog.trim(200_000, pinned);
            assert!(pinned.is_none_or(|position| backlog.reaches(position)));
            assert!(backlog.history_bytes() >= 200_000.min(backlog.end() - 1000));
            let from = backlog.start() + rng.below(backlog.history_bytes() as usize + 1) as u64;
            assert_eq!(read(&backlog, from, backlog.end()), &model[from as usize..]);
        }
        backlog.trim(200_000, None);
        assert!(backlog.history_bytes() < 200_000 + 2 * BLOCK_BYTES_MIN as u64);
        assert!(!backlog.reaches(backlog.end() + 1) && !backlog.reaches(backlog.start() - 1));
    }

    #[test]
    fn positions_outside_give_nothing() {
        let mut backlog = Backlog::new(10, 1);
        backlog.append(b"abc").expect("there is memory");
        let mut slices = [IoSlice::new(&[]); 1];
        assert_eq!(backlog.slices(9, 13, &mut slices), 0);
        assert_eq!(backlog.slices(13, 20, &mut slices), 0);
        assert_eq!(backlog.slices(11, 12, &mut slices), 1);
        assert_eq!(&*slices[0], b"b");
    }
}
