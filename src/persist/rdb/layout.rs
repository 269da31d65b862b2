//! How values lie in a file, as tables: what reading over them needs to know.
//!
//! ```text
//!  hash:   count { text text }            zset:   count { text 8 bytes }
//!  stream: count { text text } n n n ... count { text n n n count { 24 bytes n } count { ... } }
//! ```
//! Two use it: `skip` pulls from a file, `scan` is pushed what comes from a primary. A walk holds only
//! where it is: a table and a count for each depth, four at most.

use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string::{self, Prefix, read_len, read_prefix};
use crate::persist::rdb::values::{TYPE_HASH_VALKEY, is_type};

/// One part of a stored value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// A string in any of its forms.
    Text,
    /// A length, or a number written as one.
    Number,
    /// So many bytes.
    Raw(u8),
    /// A length in one byte, then digits; the highest lengths stand for no digits.
    OldScore,
    /// How a list node is packed.
    Container,
    /// A count, then so many times these parts.
    Each(&'static [Part]),
    /// Typed parts of a module up to their end mark.
    ModuleParts,
}

use Part::{Container, Each, ModuleParts, Number, OldScore, Raw, Text};

/// Codes of the parts of a module's value.
mod module {
    pub const EOF: u64 = 0;
    pub const SINT: u64 = 1;
    pub const UINT: u64 = 2;
    pub const FLOAT: u64 = 3;
    pub const DOUBLE: u64 = 4;
    pub const STRING: u64 = 5;
}

/// Lengths 253 to 255 of an old score mean not-a-number and the infinities; no digits follow.
const SCORE_SPECIAL_MIN: u8 = 253;

const PENDING: Part = Each(&[Raw(24), Number]);
const OWNED: Part = Each(&[Raw(16)]);
const STREAM_BLOCKS: Part = Each(&[Text, Text]);
const EXPIRY_HASH: Part = Each(&[Number, Text, Text]);

// tidy: table
/// The parts of a value of type `number`.
///
/// # Errors
/// There is no such type, or its layout is not known.
pub(super) fn parts_of(number: u8) -> Result<&'static [Part], RdbErrorKind> {
    Ok(match number {
        0 | 9..=13 | 16 | 17 | 20 | 23 => &[Text],
        1 | 2 | 14 => &[Each(&[Text])],
        3 => &[Each(&[Text, OldScore])],
        4 => &[Each(&[Text, Text])],
        5 => &[Each(&[Text, Raw(8)])],
        7 => &[Number, ModuleParts],
        18 => &[Each(&[Container, Text])],
        // Blocks, length, last id, groups.
        15 => &[
            STREAM_BLOCKS,
            Number,
            Number,
            Number,
            Each(&[Text, Number, Number, PENDING, Each(&[Text, Raw(8), OWNED])]),
        ],
        // Since here first id, largest deleted id, entries added; entries read of each group.
        19 => &[
            STREAM_BLOCKS,
            Number,
            Number,
            Number,
            Number,
            Number,
            Number,
            Number,
            Number,
            Each(&[Text, Number, Number, Number, PENDING, Each(&[Text, Raw(8), OWNED])]),
        ],
        // Since here when a consumer was last given something.
        21 => &[
            STREAM_BLOCKS,
            Number,
            Number,
            Number,
            Number,
            Number,
            Number,
            Number,
            Number,
            Each(&[Text, Number, Number, Number, PENDING, Each(&[Text, Raw(16), OWNED])]),
        ],
        22 => &[EXPIRY_HASH],
        24 => &[Raw(8), EXPIRY_HASH],
        25 => &[Raw(8), Text],
        TYPE_HASH_VALKEY => &[Each(&[Text, Text, Raw(8)])],
        _ if is_type(number) => return Err(RdbErrorKind::TypeNotSupported(number)),
        _ => return Err(RdbErrorKind::UnknownType(number)),
    })
}

/// Parts that come, so many times.
#[derive(Clone, Copy, Debug)]
struct Level {
    parts: &'static [Part],
    next: usize,
    times_left: u64,
}

/// A walk over the parts of values.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    levels: Vec<Level>,
}

impl Walk {
    /// Goes over `parts` once, before what is under way.
    pub fn enter(&mut self, parts: &'static [Part]) {
        self.repeat(parts, 1);
    }

    fn repeat(&mut self, parts: &'static [Part], times: u64) {
        if times > 0 {
            self.levels.push(Level { parts, next: 0, times_left: times });
        }
    }

    /// The part to be read now; `None` at the end.
    #[inline]
    pub fn part(&self) -> Option<Part> {
        self.levels.last().map(|level| level.parts[level.next])
    }

    /// Reads the head of the present part, which is behind then. Gives how many bytes follow that need
    /// not be looked at. On an error nothing has changed but the input.
    ///
    /// # Errors
    /// The input ends before, or what stands there is impossible.
    #[inline]
    pub fn read_head<I: Input>(&mut self, input: &mut I) -> Result<u64, RdbErrorKind> {
        let Some(part) = self.part() else { return Ok(0) };
        let mut below: (&'static [Part], u64) = (&[], 0);
        let bytes = match part {
            Text => text_bytes(input)?,
            Number => read_len(input).map(|_| 0)?,
            Raw(count) => u64::from(count),
            OldScore => match input.take_u8()? {
                SCORE_SPECIAL_MIN.. => 0,
                len => u64::from(len),
            },
            Container if (1..=2).contains(&read_len(input)?) => 0,
            Container => return Err(RdbErrorKind::Corrupt("Quicklist node has an unknown container")),
            Each(parts) => {
                below = (parts, read_len(input)?);
                0
            }
            ModuleParts => match module_part(input)? {
                Some(bytes) => return Ok(bytes),
                None => 0,
            },
        };
        self.pass();
        self.repeat(below.0, below.1);
        Ok(bytes)
    }

    /// The present part is behind.
    #[inline]
    pub fn pass(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        level.next += 1;
        if level.next < level.parts.len() {
            return;
        }
        level.next = 0;
        level.times_left -= 1;
        if level.times_left == 0 {
            // The part that opened this level was passed when it was opened.
            self.levels.pop();
        }
    }
}

/// The bytes of a string behind what tells its form.
fn text_bytes<I: Input>(input: &mut I) -> Result<u64, RdbErrorKind> {
    match read_prefix(input)? {
        Prefix::Len(len) => Ok(len),
        Prefix::Encoded(string::ENCODED_LZF) => {
            let compressed_bytes = read_len(input)?;
            read_len(input)?;
            Ok(compressed_bytes)
        }
        Prefix::Encoded(encoding) => string::encoded_int_bytes(encoding)
            .ok_or(RdbErrorKind::Corrupt("Unknown RDB string encoding type")),
    }
}

/// The bytes of the next part of a module behind its code; `None` for the end mark.
fn module_part<I: Input>(input: &mut I) -> Result<Option<u64>, RdbErrorKind> {
    Ok(Some(match read_len(input)? {
        module::EOF => return Ok(None),
        module::SINT | module::UINT => read_len(input).map(|_| 0)?,
        module::FLOAT => 4,
        module::DOUBLE => 8,
        module::STRING => text_bytes(input)?,
        _ => return Err(RdbErrorKind::Corrupt("unknown part of a module value")),
    }))
}
