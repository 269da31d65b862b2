//! BITFIELD and BITFIELD_RO: integers of any width at any bit of a string.
//!
//! Fields are read and written bit by bit (64 at most); sums are made in 128 bits, where nothing
//! overflows, and then brought back into the field's range as OVERFLOW says.

use crate::base::numbers;
use crate::command::arg;
use crate::command::string::bits;
use crate::command::string::edit::edit_string;
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::string::Digits;

const ROW: CommandSpec = CommandSpec {
    arity: -2,
    categories: category::BITMAP,
    group: Group::Bitmap,
    complexity: "O(1) for each operation.",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "bitfield",
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(
            1,
            key_flag::RW | key_flag::ACCESS | key_flag::UPDATE | key_flag::VARIABLE_FLAGS,
        )],
        key_flags: Some(bitfield_key_flags),
        since: "3.2.0",
        summary: "Reads, writes and adds to integers at bits of a string.",
        handler: bitfield,
        ..ROW
    },
    CommandSpec {
        name: "bitfield_ro",
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
        since: "6.0.0",
        summary: "Reads integers at bits of a string.",
        handler: bitfield_ro,
        ..ROW
    },
];

/// Reads alone leave the key as it is; what cannot be understood counts as a write.
fn bitfield_key_flags(args: Args<'_>) -> u32 {
    let mut at = 2;
    while let Some(word) = args.get(at) {
        match word.to_ascii_lowercase().as_slice() {
            b"get" if at + 2 < args.len() => at += 3,
            b"overflow" if at + 1 < args.len() => at += 2,
            _ => return key_flag::RW | key_flag::ACCESS | key_flag::UPDATE,
        }
    }
    key_flag::RO | key_flag::ACCESS
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// Where a field lies and how it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Field {
    signed: bool,
    /// 1 to 64, 63 when unsigned.
    width: u32,
    /// First bit.
    offset: u64,
}

#[derive(Clone, Copy)]
struct Operation {
    action: Action,
    field: Field,
    overflow: Overflow,
}

impl Field {
    fn parse(ctx: &Ctx<'_>, kind: &[u8], offset: &[u8]) -> Result<Field, ReplyError> {
        const INVALID: ReplyError = ReplyError::fixed(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let (signed, width) = match kind {
            [b'i', width @ ..] => (true, width),
            [b'u', width @ ..] => (false, width),
            _ => return Err(INVALID),
        };
        let widest = if signed { 64 } else { 63 };
        let width = numbers::parse_i64(width).filter(|width| (1..=widest).contains(width)).ok_or(INVALID)?;
        let offset = match offset {
            [b'#', number @ ..] => {
                let number = arg::integer_or(number, error::BIT_OFFSET)?;
                // As in Redis the product is not checked, only its result.
                let scaled = number.wrapping_mul(width);
                bits::bit_offset(ctx, Digits::new().format(scaled).as_bytes())?
            }
            _ => bits::bit_offset(ctx, offset)?,
        };
        Ok(Field { signed, width: width as u32, offset })
    }

    fn bytes_needed(&self) -> usize {
        ((self.offset + self.width as u64 - 1) >> 3) as usize + 1
    }

    /// The integer in the field; bits behind the string are zeros.
    fn read(&self, bytes: &[u8]) -> i128 {
        let ends = self.offset + self.width as u64;
        let raw = (self.offset..ends).fold(0u64, |value, bit| value << 1 | bits::bit_of(bytes, bit) as u64);
        self.reduce(raw as i128)
    }

    fn write(&self, bytes: &mut [u8], value: i128) {
        for index in 0..self.width as u64 {
            let bit = self.offset + index;
            let mask = 0x80 >> (bit & 7);
            let on = value >> (self.width as u64 - 1 - index) & 1 == 1;
            let byte = &mut bytes[(bit >> 3) as usize];
            *byte = if on { *byte | mask } else { *byte & !mask };
        }
    }

    fn range(&self) -> (i128, i128) {
        if self.signed {
            let half = 1i128 << (self.width - 1);
            (-half, half - 1)
        } else {
            (0, (1i128 << self.width) - 1)
        }
    }

    /// True if 64 bits do not hold how far the value is below the greatest of this signed field.
    fn is_far_below(&self, value: i64) -> bool {
        self.signed && self.width < 64 && self.range().1 - value as i128 > i64::MAX as i128
    }

    /// The low bits of `value` as the field reads them.
    fn reduce(&self, value: i128) -> i128 {
        let low = value & ((1i128 << self.width) - 1);
        if low > self.range().1 { low - (1i128 << self.width) } else { low }
    }

    /// Brings a value into the field's range; `None`: it does not fit and must not be stored.
    fn fit(&self, value: i128, overflow: Overflow) -> Option<i128> {
        let (min, max) = self.range();
        match overflow {
            _ if (min..=max).contains(&value) => Some(value),
            Overflow::Wrap => Some(self.reduce(value)),
            Overflow::Saturate => Some(value.clamp(min, max)),
            Overflow::Fail => None,
        }
    }
}

fn parse(ctx: &Ctx<'_>, args: Args<'_>) -> Result<Vec<Operation>, ReplyError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = args.tail(2);
    while let Some(word) = rest.get(0) {
        let taken = match (word, rest.len()) {
            (word, 2..) if arg::is(word, "overflow") => {
                overflow = parse_overflow(rest.at(1))?;
                2
            }
            (word, 3..) if arg::is(word, "get") => {
                let field = Field::parse(ctx, rest.at(1), rest.at(2))?;
                operations.push(Operation { action: Action::Get, field, overflow });
                3
            }
            (word, 4..) if arg::is(word, "set") || arg::is(word, "incrby") => {
                let field = Field::parse(ctx, rest.at(1), rest.at(2))?;
                let value = arg::integer(rest.at(3))?;
                let action = if arg::is(word, "set") { Action::Set(value) } else { Action::Add(value) };
                operations.push(Operation { action, field, overflow });
                4
            }
            _ => return Err(error::SYNTAX),
        };
        rest = rest.tail(taken);
    }
    Ok(operations)
}

fn parse_overflow(word: &[u8]) -> Result<Overflow, ReplyError> {
    match word {
        word if arg::is(word, "wrap") => Ok(Overflow::Wrap),
        word if arg::is(word, "sat") => Ok(Overflow::Saturate),
        word if arg::is(word, "fail") => Ok(Overflow::Fail),
        _ => Err(ReplyError::fixed("ERR Invalid OVERFLOW type specified")),
    }
}

impl Operation {
    /// Runs a writing operation. Returns its answer and whether the field changed; `None`: it failed.
    fn store(&self, bytes: &mut [u8]) -> Option<(i128, bool)> {
        let field = &self.field;
        let old = field.read(bytes);
        let (wanted, answers_old) = match self.action {
            Action::Get => return Some((old, false)),
            Action::Add(step) => (old + step as i128, false),
            // The distance to the limit overflows in Redis, and what is too small saturates as too big.
            Action::Set(value) if self.overflow == Overflow::Saturate && field.is_far_below(value) => {
                (field.range().1, true)
            }
            Action::Set(value) if field.signed => (value as i128, true),
            // A negative number is a huge one to an unsigned field.
            Action::Set(value) => (value as u64 as i128, true),
        };
        let new = field.fit(wanted, self.overflow)?;
        field.write(bytes, new);
        Some((if answers_old { old } else { new }, new != old))
    }
}

fn bitfield(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let operations = parse(ctx, args)?;
    let writes = || operations.iter().filter(|operation| operation.action != Action::Get);
    match writes().map(|operation| operation.field.bytes_needed()).max() {
        None => reply_reads(ctx, args.at(1), &operations),
        Some(bytes) => run_writes(ctx, args.at(1), &operations, bytes),
    }
}

fn bitfield_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let operations = parse(ctx, args)?;
    if operations.iter().any(|operation| operation.action != Action::Get) {
        return Err(ReplyError::fixed("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    reply_reads(ctx, args.at(1), &operations)
}

fn reply_reads(ctx: &mut Ctx<'_>, key: &[u8], operations: &[Operation]) -> CommandResult {
    let mut digits = Digits::new();
    let string = ctx.server.read_string(ctx.db, key)?;
    let bytes = string.map_or(&b""[..], |string| string.bytes(&mut digits));
    ctx.out.array(operations.len());
    for operation in operations {
        ctx.out.integer(operation.field.read(bytes) as i64);
    }
    Ok(())
}

/// Runs all operations in order on a string of at least `bytes` bytes.
fn run_writes(ctx: &mut Ctx<'_>, key: &[u8], operations: &[Operation], bytes: usize) -> CommandResult {
    let db = ctx.db;
    let len = ctx.server.find_string(db, key)?.map_or(0, |string| string.len());
    let grows = bytes > len;
    let mut changes = 0;
    let out = &mut *ctx.out;
    out.array(operations.len());
    edit_string(ctx.server, db, key, bytes.max(len), |mut string| {
        string.grow(bytes);
        for operation in operations {
            match operation.store(string.bytes_mut()) {
                None => out.null(),
                Some((answer, changed)) => {
                    out.integer(answer as i64);
                    changes += (operation.action != Action::Get && (grows || changed)) as u64;
                }
            }
        }
    });
    // Where every operation failed, Redis grows the string and tells nobody: log, replicas and memory
    // would hold different strings. Ours is a change; the event is Redis's.
    if changes > 0 || grows {
        ctx.server.key_changed(db, key);
        ctx.server.persistence.dirty += changes.saturating_sub(1);
    }
    if changes > 0 {
        ctx.server.notify(NotifyFlags::STRING, "setbit", db, key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Field, Overflow};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn what_was_written_is_read(signed in any::<bool>(), width in 1u32..=63, offset in 0u64..100, value in any::<i64>()) {
            let field = Field { signed, width, offset };
            let mut bytes = [0x5a; 24];
            let before: Vec<i128> = neighbours(&field).iter().map(|field| field.read(&bytes)).collect();
            let fitted = field.reduce(value as i128);
            field.write(&mut bytes, fitted);
            prop_assert_eq!(field.read(&bytes), fitted);
            let after: Vec<i128> = neighbours(&field).iter().map(|field| field.read(&bytes)).collect();
            prop_assert_eq!(before, after);
        }
    }

    /// The bits before and behind a field.
    fn neighbours(field: &Field) -> Vec<Field> {
        let behind = Field { signed: false, width: 1, offset: field.offset + field.width as u64 };
        let front = field.offset.checked_sub(1).map(|offset| Field { signed: false, width: 1, offset });
        front.into_iter().chain([behind]).collect()
    }

    #[test]
    fn overflow_rules() {
        let signed = Field { signed: true, width: 8, offset: 0 };
        let unsigned = Field { signed: false, width: 8, offset: 0 };
        assert_eq!(signed.fit(128, Overflow::Wrap), Some(-128));
        assert_eq!(signed.fit(-129, Overflow::Wrap), Some(127));
        assert_eq!(signed.fit(200, Overflow::Saturate), Some(127));
        assert_eq!(signed.fit(-200, Overflow::Saturate), Some(-128));
        assert_eq!(unsigned.fit(-1, Overflow::Wrap), Some(255));
        assert_eq!(unsigned.fit(-1, Overflow::Saturate), Some(0));
        assert_eq!(unsigned.fit(256, Overflow::Fail), None);
        let widest = Field { signed: true, width: 64, offset: 0 };
        assert_eq!(widest.fit(i64::MAX as i128 + 1, Overflow::Wrap), Some(i64::MIN as i128));
    }
}
