//! SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP: strings as arrays of bits.
//!
//! Bit 0 is the highest bit of byte 0. Counting and combining work on words of eight bytes.

use crate::base::numbers;
use crate::command::arg;
use crate::command::string::edit;
use crate::command::string::read::bytes_of;
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::sys::data_alloc::DataBytes;
use crate::value::string::{Digits, EMBEDDED_MAX_BYTES, StrRef};
use crate::value::{StringValue, Value};

const READ: CommandSpec = CommandSpec {
    flags: flag::READONLY,
    categories: category::BITMAP,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Bitmap,
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "setbit",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
        since: "2.2.0",
        summary: "Sets or clears one bit of a string and gives its old value.",
        handler: setbit,
        ..READ
    },
    CommandSpec {
        name: "getbit",
        arity: 3,
        flags: flag::READONLY | flag::FAST,
        since: "2.2.0",
        summary: "Gives one bit of a string.",
        handler: getbit,
        ..READ
    },
    CommandSpec {
        name: "bitcount",
        arity: -2,
        since: "2.6.0",
        complexity: "O(N) where N is the number of bytes looked at.",
        summary: "Counts the bits that are set in a string or a part of it.",
        handler: bitcount,
        ..READ
    },
    CommandSpec {
        name: "bitpos",
        arity: -3,
        since: "2.8.7",
        complexity: "O(N) where N is the number of bytes looked at.",
        summary: "Finds the first bit that is set, or that is clear, in a string.",
        handler: bitpos,
        ..READ
    },
    CommandSpec {
        name: "bitop",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[
            KeySpec::one(2, key_flag::OW | key_flag::UPDATE),
            KeySpec::rest(3, key_flag::RO | key_flag::ACCESS),
        ],
        since: "2.6.0",
        complexity: "O(N) where N is the number of bytes of all strings.",
        summary: "Combines strings bit by bit and stores the result.",
        handler: bitop,
        ..READ
    },
];

/// A bit's offset: within what a string may hold.
pub fn bit_offset(ctx: &Ctx<'_>, text: &[u8]) -> Result<u64, ReplyError> {
    let offset =
        numbers::parse_i64(text).and_then(|offset| u64::try_from(offset).ok()).ok_or(error::BIT_OFFSET)?;
    let limit = if ctx.caller.is_replicated() { usize::MAX } else { ctx.server.config.proto_max_bulk_len };
    if offset >> 3 >= limit.min(DataBytes::MAX_BYTES) as u64 { Err(error::BIT_OFFSET) } else { Ok(offset) }
}

pub(super) fn bit_of(bytes: &[u8], offset: u64) -> bool {
    bytes.get((offset >> 3) as usize).is_some_and(|byte| byte >> (7 - (offset & 7)) & 1 == 1)
}

fn setbit(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, key) = (ctx.db, args.at(1));
    let offset = bit_offset(ctx, args.at(2))?;
    let on = match arg::integer_or(args.at(3), error::BIT_VALUE)? {
        0 => false,
        1 => true,
        _ => return Err(error::BIT_VALUE),
    };
    let byte = (offset >> 3) as usize;
    let mut digits = Digits::new();
    let string = ctx.server.find_string(db, key)?.unwrap_or(StrRef::Short { bytes: b"", raw: true });
    let is_raw = string.encoding() == "raw";
    let bytes = string.bytes(&mut digits);
    let (len, old) = (bytes.len(), bit_of(bytes, offset));
    let changes = byte >= len || old != on;
    // Redis makes the string `raw` even if its bits stay as they are.
    if changes || !is_raw {
        let mask = 0x80 >> (offset & 7);
        edit::edit_string(ctx.server, db, key, len.max(byte + 1), |mut string| {
            string.grow(byte + 1);
            let target = &mut string.bytes_mut()[byte];
            *target = if on { *target | mask } else { *target & !mask };
        });
    }
    if changes {
        ctx.server.key_changed(db, key);
        ctx.server.notify(NotifyFlags::STRING, "setbit", db, key);
    }
    ctx.out.integer(old as i64);
    Ok(())
}

fn getbit(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let offset = bit_offset(ctx, args.at(2))?;
    let string = ctx.server.read_string(ctx.db, args.at(1))?;
    let bit = string.is_some_and(|string| bit_of(string.bytes(&mut Digits::new()), offset));
    ctx.out.integer(bit as i64);
    Ok(())
}

/// A part of a string in bits: the first and the last one, both included.
type BitRange = (u64, u64);

/// Reads `start`, `end` in bytes or bits as BITCOUNT and BITPOS understand them; `None` when the
/// range is empty. An end left out is the string's.
fn bit_range(len: usize, start: i64, end: Option<i64>, in_bits: bool) -> Option<BitRange> {
    let total = if in_bits { len as i64 * 8 } else { len as i64 };
    let from_end = |index: i64| if index < 0 { (total + index).max(0) } else { index };
    let (start, end) = (from_end(start), from_end(end.unwrap_or(total - 1)).min(total - 1));
    if total == 0 || start > end {
        return None;
    }
    let (start, end) = (start as u64, end as u64);
    Some(if in_bits { (start, end) } else { (start * 8, end * 8 + 7) })
}

fn is_in_bits(unit: &[u8]) -> Result<bool, ReplyError> {
    match unit {
        unit if arg::is(unit, "bit") => Ok(true),
        unit if arg::is(unit, "byte") => Ok(false),
        _ => Err(error::SYNTAX),
    }
}

fn bitcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut digits = Digits::new();
    // A missing key is 0 whatever else was asked: Redis looks the key up first.
    let Some(string) = ctx.server.read_string(ctx.db, args.at(1))? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let bytes = string.bytes(&mut digits);
    let range = match args.len() {
        2 => bit_range(bytes.len(), 0, None, false),
        4 | 5 => {
            let (start, end) = (arg::integer(args.at(2))?, arg::integer(args.at(3))?);
            if start < 0 && end < 0 && start > end {
                None
            } else {
                let in_bits = args.get(4).map_or(Ok(false), is_in_bits)?;
                bit_range(bytes.len(), start, Some(end), in_bits)
            }
        }
        _ => return Err(error::SYNTAX),
    };
    ctx.out.integer(range.map_or(0, |range| count_ones(bytes, range)) as i64);
    Ok(())
}

/// Set bits in a range.
fn count_ones(bytes: &[u8], (first, last): BitRange) -> u64 {
    let part = &bytes[(first >> 3) as usize..=(last >> 3) as usize];
    let (words, rest) = part.as_chunks::<8>();
    let whole: u64 = words.iter().map(|word| u64::from_ne_bytes(*word).count_ones() as u64).sum();
    let rest: u64 = rest.iter().map(|byte| byte.count_ones() as u64).sum();
    let before = part[0] & !(0xff >> (first & 7));
    let after = part[part.len() - 1] & !(0xffu8 << (7 - (last & 7)));
    whole + rest - before.count_ones() as u64 - after.count_ones() as u64
}

fn bitpos(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let bit = match arg::integer(args.at(2))? {
        0 => false,
        1 => true,
        _ => return Err(ReplyError::fixed("ERR The bit argument must be 1 or 0.")),
    };
    let mut digits = Digits::new();
    let Some(string) = ctx.server.read_string(ctx.db, args.at(1))? else {
        ctx.out.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    let bytes = string.bytes(&mut digits);
    if args.len() > 6 {
        return Err(error::SYNTAX);
    }
    let start = args.get(3).map_or(Ok(0), arg::integer)?;
    let in_bits = args.get(5).map_or(Ok(false), is_in_bits)?;
    let end = args.get(4).map(arg::integer).transpose()?;
    let found = match bit_range(bytes.len(), start, end, in_bits) {
        None => None,
        Some(range) => match find_bit(bytes, range, bit) {
            // Behind a string come zeros without end, unless an end was given.
            None if !bit && end.is_none() => Some(bytes.len() as u64 * 8),
            found => found,
        },
    };
    ctx.out.integer(found.map_or(-1, |position| position as i64));
    Ok(())
}

/// The first bit of this value in a range.
fn find_bit(bytes: &[u8], (first, last): BitRange, bit: bool) -> Option<u64> {
    let flip = if bit { 0 } else { 0xff };
    let start = (first >> 3) as usize;
    let part = &bytes[start..=(last >> 3) as usize];
    // Bits in front of the range are made to look wrong; those behind it are found too late.
    let head = (part[0] ^ flip) & (0xff >> (first & 7));
    let index = if head != 0 { 0 } else { 1 + first_unlike(&part[1..], flip)? };
    let byte = if index == 0 { head } else { part[index] ^ flip };
    let position = (start + index) as u64 * 8 + byte.leading_zeros() as u64;
    (position <= last).then_some(position)
}

/// The first byte that is not `skipped`, eight at a time.
fn first_unlike(bytes: &[u8], skipped: u8) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    let start = 8 * words.iter().take_while(|word| **word == [skipped; 8]).count();
    bytes[start..].iter().position(|byte| *byte != skipped).map(|index| start + index)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn of(word: &[u8]) -> Option<Operation> {
        const NAMES: [(&str, Operation); 4] = [
            ("and", Operation::And),
            ("or", Operation::Or),
            ("xor", Operation::Xor),
            ("not", Operation::Not),
        ];
        NAMES.into_iter().find(|(name, _)| arg::is(word, name)).map(|(_, operation)| operation)
    }
}

fn bitop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let operation = Operation::of(args.at(1)).ok_or(error::SYNTAX)?;
    let (db, target, sources) = (ctx.db, args.at(2), args.tail(3));
    if operation == Operation::Not && sources.len() != 1 {
        return Err(ReplyError::fixed("ERR BITOP NOT must be called with a single source key."));
    }
    for key in sources.iter() {
        ctx.server.read_string(db, key)?;
    }
    let result = combine(ctx, operation, sources)?;
    let len = result.len();
    if len > 0 {
        let value = if len <= EMBEDDED_MAX_BYTES {
            NewValue::Bytes { bytes: result.as_slice(), raw: true }
        } else {
            NewValue::Owned(Value::String(StringValue::Bytes(result)))
        };
        ctx.server.set_key(db, target, value, ExpiryChange::Clear);
        ctx.server.key_changed(db, target);
        ctx.server.notify(NotifyFlags::STRING, "set", db, target);
    } else if ctx.server.remove_key(db, target, ctx.server.config.lazyfree_lazy_server_del) {
        ctx.server.key_changed(db, target);
        ctx.server.notify(NotifyFlags::GENERIC, "del", db, target);
    }
    ctx.out.integer(len as i64);
    Ok(())
}

/// The strings combined; shorter ones count as filled up with zeros.
fn combine(ctx: &Ctx<'_>, operation: Operation, sources: Args<'_>) -> Result<DataBytes, ReplyError> {
    let mut longest = 0;
    for key in sources.iter() {
        longest = longest.max(bytes_of(ctx, key, &mut Digits::new())?.map_or(0, <[u8]>::len));
    }
    let mut result = DataBytes::with_capacity(longest);
    for (index, key) in sources.iter().enumerate() {
        let mut digits = Digits::new();
        let bytes = bytes_of(ctx, key, &mut digits)?.unwrap_or(b"");
        if index == 0 {
            result.extend_from_slice(bytes);
            result.resize(longest, 0);
            continue;
        }
        let (common, rest) = result.as_mut_slice().split_at_mut(bytes.len());
        let pairs = common.iter_mut().zip(bytes);
        match operation {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                rest.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Operation::Xor | Operation::Not => pairs.for_each(|(byte, other)| *byte ^= other),
        }
    }
    if operation == Operation::Not {
        result.as_mut_slice().iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::{bit_of, bit_range, count_ones, find_bit};
    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

    fn string_and_range() -> impl Strategy<Value = (Vec<u8>, (u64, u64))> {
        proptest::collection::vec(proptest::sample::select(vec![0u8, 0xff, 0x10, 0xef]), 1..40).prop_flat_map(
            |bytes| {
                let last = bytes.len() as u64 * 8 - 1;
                (0..=last, 0..=last).prop_map(move |(a, b)| (bytes.clone(), (a.min(b), a.max(b))))
            },
        )
    }

    proptest! {
        #[test]
        fn counting_and_finding_agree_with_single_bits((bytes, range) in string_and_range(), bit in any::<bool>()) {
            let ones = (range.0..=range.1).filter(|offset| bit_of(&bytes, *offset)).count() as u64;
            prop_assert_eq!(count_ones(&bytes, range), ones);
            let first = (range.0..=range.1).find(|offset| bit_of(&bytes, *offset) == bit);
            prop_assert_eq!(find_bit(&bytes, range, bit), first);
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(bit_range(3, 0, None, false), Some((0, 23)));
        assert_eq!(bit_range(3, -1, Some(-1), false), Some((16, 23)));
        assert_eq!(bit_range(3, 5, Some(100), true), Some((5, 23)));
        assert_eq!(bit_range(3, 24, None, true), None);
        assert_eq!(bit_range(0, 0, None, false), None);
        assert_eq!(bit_range(3, 2, Some(1), false), None);
    }
}
