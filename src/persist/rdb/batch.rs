//! Loading's fast way: as many plain string keys as the input's block holds, parsed and hashed
//! together, so that their buckets are on the way from memory before the first is stored.
//!
//! ```text
//!  block: [rec][rec][rec]...   parse 32 ─► hash, prefetch bucket ─► store 32 ─► consume
//! ```
//! Anything unusual (another opcode, another type, a record cut by the block's end, damage) ends a
//! batch before it; the slow way then reads it from the same place and says what is wrong.

use crate::base::lzf;
use crate::base::numbers;
use crate::persist::rdb::input::{Input, SliceInput};
use crate::persist::rdb::opcode;
use crate::persist::rdb::parse::Attributes;
use crate::persist::rdb::string::{self, Prefix, Token};
use crate::persist::rdb::values;

/// Keys of a batch: 32 misses of about 100 ns overlap; more would not fit the miss buffers.
pub const BATCH_KEYS: usize = 32;

/// Bytes of a record: in the block, or decompressed beside it.
#[derive(Clone, Copy)]
enum Bytes<'a> {
    Block(&'a [u8]),
    Scratch,
    Int(i64),
}

/// A parsed record.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    key: Bytes<'a>,
    value: Bytes<'a>,
    pub attributes: Attributes,
    pub hash: u64,
}

/// Buffers for decompressed keys and values, by place in the batch.
pub struct Scratch {
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch { keys: vec![Vec::new(); BATCH_KEYS], values: vec![Vec::new(); BATCH_KEYS] }
    }
}

impl Scratch {
    /// The key of item `index`.
    #[inline]
    pub fn key<'s>(&'s self, index: usize, item: &Item<'s>) -> &'s [u8] {
        match item.key {
            Bytes::Block(bytes) => bytes,
            _ => &self.keys[index],
        }
    }

    /// The value of item `index`.
    #[inline]
    pub fn value<'s>(&'s self, index: usize, item: &Item<'s>) -> Token<'s> {
        match item.value {
            Bytes::Block(bytes) => Token::Bytes(bytes),
            Bytes::Scratch => Token::Bytes(&self.values[index]),
            Bytes::Int(value) => Token::Int(value),
        }
    }

    /// Parses records from the start of `ready` into `items`. Gives how many, and their bytes.
    pub fn parse<'a>(
        &mut self,
        ready: &'a [u8],
        items: &mut [Option<Item<'a>>; BATCH_KEYS],
        mut hashed: impl FnMut(&[u8]) -> u64,
    ) -> (usize, usize) {
        let mut input = SliceInput::new(ready);
        let (mut count, mut consumed) = (0, 0);
        for (index, slot) in items.iter_mut().enumerate() {
            let Some(mut item) = self.parse_one(&mut input, index) else { break };
            item.hash = hashed(self.key_of(index, &item));
            *slot = Some(item);
            consumed = input.offset() as usize;
            count += 1;
        }
        (count, consumed)
    }

    fn key_of<'s>(&'s self, index: usize, item: &Item<'s>) -> &'s [u8] {
        match item.key {
            Bytes::Block(bytes) => bytes,
            _ => &self.keys[index],
        }
    }

    fn parse_one<'a>(&mut self, input: &mut SliceInput<'a>, index: usize) -> Option<Item<'a>> {
        let mut attributes = Attributes::default();
        let mut byte = input.take_u8().ok()?;
        if byte == opcode::EXPIRETIME_MS {
            attributes.expiry_ms = Some(i64::from_le_bytes(input.take_array().ok()?));
            byte = input.take_u8().ok()?;
        }
        if byte == opcode::IDLE {
            attributes.idle_s = Some(string::read_len(input).ok()?);
            byte = input.take_u8().ok()?;
        } else if byte == opcode::FREQ {
            attributes.frequency = Some(input.take_u8().ok()?);
            byte = input.take_u8().ok()?;
        }
        if byte != values::TYPE_STRING {
            return None;
        }
        let mut key = bytes(input, &mut self.keys[index])?;
        if let Bytes::Int(value) = key {
            self.keys[index].clear();
            numbers::push_i64(value, &mut self.keys[index]);
            key = Bytes::Scratch;
        }
        let value = bytes(input, &mut self.values[index])?;
        Some(Item { key, value, attributes, hash: 0 })
    }
}

/// A string from the block; `None` for whatever the slow way should look at.
#[inline]
fn bytes<'a>(input: &mut SliceInput<'a>, scratch: &mut Vec<u8>) -> Option<Bytes<'a>> {
    match string::read_prefix(input).ok()? {
        Prefix::Len(len) => input.take_slice(usize::try_from(len).ok()?).ok().map(Bytes::Block),
        Prefix::Encoded(string::ENCODED_LZF) => {
            let compressed_len = usize::try_from(string::read_len(input).ok()?).ok()?;
            let len = usize::try_from(string::read_len(input).ok()?).ok()?;
            let compressed = input.take_slice(compressed_len).ok()?;
            lzf::decompress_into(compressed, len, scratch).ok()?;
            Some(Bytes::Scratch)
        }
        Prefix::Encoded(encoding) => string::read_encoded_int(encoding, input).ok()?.map(Bytes::Int),
    }
}
