//! The writing side: bytes gather in a block; a full block is summed and handed to the sink.
//!
//! One block is 256 KiB: the checksum runs at 14 GB/s on blocks, at 1 to 3 on single strings, and
//! the sink sees few, large writes. A string longer than [`DIRECT_BYTES`] is not copied.

use crate::base::crc64::Crc64;
use crate::base::lzf::Compressor;
use crate::persist::child::ChildLink;
use crate::sys::durable::DurableFile;
use crate::sys::io::IoResult;

/// A block is handed on when it is this full, bytes.
const BLOCK_BYTES: usize = 256 * 1024;
/// Room behind a block for what one call adds before it looks, bytes.
const BLOCK_SLACK_BYTES: usize = 64 * 1024;
/// Longer strings go to the sink without a copy.
const DIRECT_BYTES: usize = 32 * 1024;
/// Such strings go in parts of this size, so that progress shows between them, bytes.
const DIRECT_STEP_BYTES: usize = 1 << 20;

/// Lengths with special meaning in their first byte.
pub(super) const LEN_14_BIT: u8 = 0x40;
pub(super) const LEN_32_BIT: u8 = 0x80;
pub(super) const LEN_64_BIT: u8 = 0x81;
pub(super) const LEN_ENCODED: u8 = 0xc0;

/// Takes blocks: a file, a pipe to replicas, a vector.
pub trait ByteSink {
    /// Takes all of `bytes`.
    ///
    /// # Errors
    /// The sink's; what was taken before is spoilt.
    fn write_block(&mut self, bytes: &[u8]) -> IoResult<()>;
}

impl ByteSink for DurableFile {
    fn write_block(&mut self, bytes: &[u8]) -> IoResult<()> {
        self.append(bytes)
    }
}

impl ByteSink for Vec<u8> {
    fn write_block(&mut self, bytes: &[u8]) -> IoResult<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Writes RDB primitives.
pub struct Writer<'a> {
    sink: &'a mut dyn ByteSink,
    /// Told of each block.
    link: Option<&'a mut ChildLink>,
    block: Vec<u8>,
    crc: u64,
    checksum: bool,
    /// Bytes handed to the sink.
    handed_on: u64,
    pub(super) compressor: Option<Compressor>,
    /// Where a compressed string is made before its length is known.
    pub(super) scratch: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// A writer in front of `sink`. Without `checksum` the file ends in eight zeros.
    pub fn new(sink: &'a mut dyn ByteSink, compress: bool, checksum: bool) -> Self {
        Writer {
            sink,
            link: None,
            block: Vec::with_capacity(BLOCK_BYTES + BLOCK_SLACK_BYTES),
            crc: 0,
            checksum,
            handed_on: 0,
            compressor: compress.then(Compressor::new),
            scratch: Vec::new(),
        }
    }

    /// As [`Writer::new`], and `link` hears of each block, so that a child that saves one big key is
    /// not taken for a hung one.
    pub fn reporting(
        sink: &'a mut dyn ByteSink,
        compress: bool,
        checksum: bool,
        link: &'a mut ChildLink,
    ) -> Self {
        Writer { link: Some(link), ..Writer::new(sink, compress, checksum) }
    }

    /// Who hears of progress, if anybody does.
    #[inline]
    pub fn link(&mut self) -> Option<&mut ChildLink> {
        self.link.as_deref_mut()
    }

    fn report(&mut self) {
        if let Some(link) = &mut self.link {
            link.set_bytes_written(self.handed_on);
            link.report_if_due();
        }
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.handed_on + self.block.len() as u64
    }

    #[inline]
    pub fn put_u8(&mut self, byte: u8) {
        self.block.push(byte);
    }

    /// Bytes as they are.
    #[inline]
    pub fn put_raw(&mut self, bytes: &[u8]) -> IoResult<()> {
        if bytes.len() > DIRECT_BYTES {
            return self.put_direct(bytes);
        }
        self.block.extend_from_slice(bytes);
        Ok(())
    }

    #[cold]
    fn put_direct(&mut self, bytes: &[u8]) -> IoResult<()> {
        self.hand_on()?;
        for part in bytes.chunks(DIRECT_STEP_BYTES) {
            if self.checksum {
                self.crc = Crc64::update(self.crc, part);
            }
            self.handed_on += part.len() as u64;
            self.sink.write_block(part)?;
            self.report();
        }
        Ok(())
    }

    /// A length, in one to nine bytes.
    #[inline]
    pub fn put_len(&mut self, len: u64) {
        if len < 1 << 6 {
            self.block.push(len as u8);
        } else if len < 1 << 14 {
            self.block.extend_from_slice(&[LEN_14_BIT | (len >> 8) as u8, len as u8]);
        } else if let Ok(len) = u32::try_from(len) {
            self.block.push(LEN_32_BIT);
            self.block.extend_from_slice(&len.to_be_bytes());
        } else {
            self.block.push(LEN_64_BIT);
            self.block.extend_from_slice(&len.to_be_bytes());
        }
    }

    /// Ends a record: a full block is handed on.
    #[inline]
    pub fn end_record(&mut self) -> IoResult<()> {
        if self.block.len() < BLOCK_BYTES { Ok(()) } else { self.hand_on() }
    }

    fn hand_on(&mut self) -> IoResult<()> {
        if self.checksum {
            self.crc = Crc64::update(self.crc, &self.block);
        }
        self.handed_on += self.block.len() as u64;
        let outcome = self.sink.write_block(&self.block);
        self.block.clear();
        self.report();
        outcome
    }

    /// EOF, checksum, the rest of the block. Returns the length of the whole.
    pub fn finish(mut self) -> IoResult<u64> {
        self.put_u8(super::opcode::EOF);
        self.hand_on()?;
        let sum = if self.checksum { self.crc } else { 0 };
        self.sink.write_block(&sum.to_le_bytes())?;
        Ok(self.handed_on + 8)
    }

    /// The rest of the block, without a footer (DUMP makes its own).
    pub fn finish_bare(mut self) -> IoResult<()> {
        self.hand_on()
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteSink, DIRECT_STEP_BYTES, Writer};
    use crate::base::crc64::Crc64;
    use crate::persist::child::ChildLink;
    use crate::sys::io::IoResult;
    use std::io::Read;
    use std::time::Duration;

    /// Takes its time for each block.
    struct SlowSink;

    impl ByteSink for SlowSink {
        fn write_block(&mut self, _bytes: &[u8]) -> IoResult<()> {
            std::thread::sleep(Duration::from_millis(60));
            Ok(())
        }
    }

    #[test]
    fn progress_shows_inside_of_one_long_string() {
        let (reader, pipe) = nix::unistd::pipe().expect("a pipe");
        let (mut sink, mut link) = (SlowSink, ChildLink::new(pipe, false));
        let mut writer = Writer::reporting(&mut sink, false, true, &mut link);
        writer.put_raw(&vec![7; 3 * DIRECT_STEP_BYTES]).expect("the sink takes all");
        drop(writer);
        drop(link);
        let mut told = Vec::new();
        std::fs::File::from(reader).read_to_end(&mut told).expect("the other end is closed");
        // The first hand-on is of an empty block; a record has 64 bytes, its second word the bytes.
        let written: Vec<_> = told.chunks(64).map(|record| record[8..16].to_vec()).collect();
        assert_eq!(written.len(), 4);
        assert_eq!(written[3], (3u64 << 20).to_le_bytes());
    }

    #[test]
    fn lengths_take_as_few_bytes_as_redis_takes() {
        for (len, bytes) in [
            (63u64, vec![63]),
            (64, vec![0x40, 64]),
            (16383, vec![0x7f, 0xff]),
            (16384, vec![0x80, 0, 0, 0x40, 0]),
            (u64::from(u32::MAX), vec![0x80, 0xff, 0xff, 0xff, 0xff]),
            (1 << 32, vec![0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out, false, false);
            writer.put_len(len);
            writer.finish_bare().expect("a vector takes all");
            assert_eq!(out, bytes, "{len}");
        }
    }

    #[test]
    fn the_checksum_covers_blocks_and_direct_writes() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, false, true);
        let long = vec![7u8; 100_000];
        for _ in 0..20 {
            writer.put_u8(1);
            writer.put_raw(&long).expect("a vector takes all");
            writer.put_raw(b"short").expect("a vector takes all");
            writer.end_record().expect("a vector takes all");
        }
        assert_eq!(writer.bytes_written(), 20 * 100_006);
        let len = writer.finish().expect("a vector takes all");
        assert_eq!(len, out.len() as u64);
        let (body, sum) = out.split_at(out.len() - 8);
        assert_eq!(Crc64::update(0, body).to_le_bytes(), sum);
    }
}
