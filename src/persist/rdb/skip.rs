//! Reading over values of any type: for check-rdb, which must know files that cannot be loaded yet.
//!
//! Nearly every value is a count of strings, or one string that holds a packed structure.

use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string::{read_len, skip as skip_string};
use crate::persist::rdb::values::TYPE_HASH_VALKEY;

/// Codes of the parts of a module's value.
mod module {
    pub const EOF: u64 = 0;
    pub const SINT: u64 = 1;
    pub const UINT: u64 = 2;
    pub const FLOAT: u64 = 3;
    pub const DOUBLE: u64 = 4;
    pub const STRING: u64 = 5;
}

/// Bytes of a stream id as stored in pending lists.
const RAW_STREAM_ID_BYTES: usize = 16;
/// Bytes of a hash field's expiry, Unix ms.
const EXPIRY_BYTES: usize = 8;
/// Lengths 253 to 255 of an old score mean not-a-number and the infinities; no digits follow.
const SCORE_SPECIAL_MIN: u8 = 253;

/// Reads over a value of type `number`.
///
/// # Errors
/// It is cut short or impossible.
pub fn skip_value<I: Input>(number: u8, input: &mut I, scratch: &mut Vec<u8>) -> Result<(), RdbErrorKind> {
    match number {
        0 | 9..=13 | 16 | 17 | 20 | 23 => skip_string(input, scratch),
        1 | 2 | 14 => skip_strings(input, scratch, 1),
        4 => skip_strings(input, scratch, 2),
        3 => skip_old_zset(input, scratch),
        5 => skip_pairs_with(input, scratch, |input, _| input.take(8).map(|_| ())),
        18 => skip_quicklist(input, scratch),
        7 => {
            read_len(input)?;
            skip_module_value(input, scratch)
        }
        15 => skip_stream(input, scratch, 1),
        19 => skip_stream(input, scratch, 2),
        21 => skip_stream(input, scratch, 3),
        22 => skip_expiry_hash(input, scratch),
        24 => {
            input.take(EXPIRY_BYTES)?;
            skip_expiry_hash(input, scratch)
        }
        25 => {
            input.take(EXPIRY_BYTES)?;
            skip_string(input, scratch)
        }
        TYPE_HASH_VALKEY => skip_pairs_with(input, scratch, |input, scratch| {
            skip_string(input, scratch)?;
            input.take(EXPIRY_BYTES).map(|_| ())
        }),
        _ if super::values::is_type(number) => Err(RdbErrorKind::TypeNotSupported(number)),
        _ => Err(RdbErrorKind::UnknownType(number)),
    }
}

fn skip_strings<I: Input>(input: &mut I, scratch: &mut Vec<u8>, each: u64) -> Result<(), RdbErrorKind> {
    let count = read_len(input)?;
    for _ in 0..count.saturating_mul(each) {
        skip_string(input, scratch)?;
    }
    Ok(())
}

/// A count, then a string and something else each.
fn skip_pairs_with<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    rest: impl Fn(&mut I, &mut Vec<u8>) -> Result<(), RdbErrorKind>,
) -> Result<(), RdbErrorKind> {
    for _ in 0..read_len(input)? {
        skip_string(input, scratch)?;
        rest(input, scratch)?;
    }
    Ok(())
}

/// A count, then an expiry as a length, field and value each.
fn skip_expiry_hash<I: Input>(input: &mut I, scratch: &mut Vec<u8>) -> Result<(), RdbErrorKind> {
    for _ in 0..read_len(input)? {
        read_len(input)?;
        skip_string(input, scratch)?;
        skip_string(input, scratch)?;
    }
    Ok(())
}

fn skip_old_zset<I: Input>(input: &mut I, scratch: &mut Vec<u8>) -> Result<(), RdbErrorKind> {
    skip_pairs_with(input, scratch, |input, _| {
        let len = input.take_u8()?;
        let digits = if len >= SCORE_SPECIAL_MIN { 0 } else { len };
        input.take(digits as usize).map(|_| ())
    })
}

fn skip_quicklist<I: Input>(input: &mut I, scratch: &mut Vec<u8>) -> Result<(), RdbErrorKind> {
    for _ in 0..read_len(input)? {
        if !(1..=2).contains(&read_len(input)?) {
            return Err(RdbErrorKind::Corrupt("Quicklist node has an unknown container"));
        }
        skip_string(input, scratch)?;
    }
    Ok(())
}

fn skip_lens<I: Input>(input: &mut I, count: usize) -> Result<(), RdbErrorKind> {
    (0..count).try_for_each(|_| read_len(input).map(|_| ()))
}

/// A stream in one of its three layouts.
fn skip_stream<I: Input>(input: &mut I, scratch: &mut Vec<u8>, layout: u8) -> Result<(), RdbErrorKind> {
    skip_strings(input, scratch, 2)?;
    // Length and last id; since layout 2 first id, largest deleted id, entries added.
    skip_lens(input, if layout >= 2 { 8 } else { 3 })?;
    for _ in 0..read_len(input)? {
        skip_string(input, scratch)?;
        skip_lens(input, if layout >= 2 { 3 } else { 2 })?;
        for _ in 0..read_len(input)? {
            input.take(RAW_STREAM_ID_BYTES + 8)?;
            read_len(input)?;
        }
        for _ in 0..read_len(input)? {
            skip_string(input, scratch)?;
            input.take(if layout >= 3 { 16 } else { 8 })?;
            for _ in 0..read_len(input)? {
                input.take(RAW_STREAM_ID_BYTES)?;
            }
        }
    }
    Ok(())
}

/// The parts of a module's value up to its end mark.
///
/// # Errors
/// An unknown part.
pub fn skip_module_value<I: Input>(input: &mut I, scratch: &mut Vec<u8>) -> Result<(), RdbErrorKind> {
    loop {
        match read_len(input)? {
            module::EOF => return Ok(()),
            module::SINT | module::UINT => skip_lens(input, 1)?,
            module::FLOAT => input.take(4).map(|_| ())?,
            module::DOUBLE => input.take(8).map(|_| ())?,
            module::STRING => skip_string(input, scratch)?,
            _ => return Err(RdbErrorKind::Corrupt("unknown part of a module value")),
        }
    }
}

/// The name of a module's type from its 64-bit id: nine characters of 6 bits, then the version.
pub fn module_name(id: u64) -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|index| CHARACTERS[(id >> (58 - 6 * index)) as usize & 63] as char).collect()
}
