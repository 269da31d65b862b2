//! Sets in an RDB.
//!
//! | type | what it holds | written |
//! | --- | --- | --- |
//! | 2 | a count, then each member as a string | big sets; small ones before version 11 |
//! | 11 | the blob of an intset | intsets |
//! | 20 | the blob of a listpack | small sets from version 11 (Redis 7.2) on |
//!
//! What a reader makes of them depends on this server's limits, as in Redis.

use crate::ds::element::Element;
use crate::ds::intset::Intset;
use crate::ds::listpack::{Listpack, ListpackView};
use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string::{self, Token};
use crate::persist::rdb::writer::Writer;
use crate::sys::io::IoResult;
use crate::value::set::{SetLimits, with_text};
use crate::value::{SetRef, SetValue, TypeLimits};
use std::collections::HashSet;

const TYPE_MEMBERS: u8 = 2;
const TYPE_INTSET: u8 = 11;
const TYPE_LISTPACK: u8 = 20;
/// The first version that knows listpacks of sets.
const VERSION_OF_LISTPACK: u8 = 11;
/// Room is made for at most this many members before they are seen: a length is only a claim.
const RESERVED_MEMBERS_MAX: u64 = 1 << 20;

/// The number under which a set is written.
pub fn type_of(set: SetRef<'_>, version: u8) -> u8 {
    match set {
        SetRef::Integers(_) => TYPE_INTSET,
        SetRef::Packed(_) if version >= VERSION_OF_LISTPACK => TYPE_LISTPACK,
        SetRef::Packed(_) | SetRef::Big(_) => TYPE_MEMBERS,
    }
}

/// Writes a set, without its type number.
pub fn put(writer: &mut Writer<'_>, set: SetRef<'_>, version: u8) -> IoResult<()> {
    match set {
        SetRef::Integers(intset) => string::put_bytes(writer, intset.as_bytes()),
        SetRef::Packed(listpack) if version >= VERSION_OF_LISTPACK => {
            string::put_bytes(writer, listpack.as_bytes())
        }
        SetRef::Packed(_) | SetRef::Big(_) => {
            writer.put_len(set.len() as u64);
            set.iter().try_for_each(|member| {
                match member {
                    Element::Int(value) => string::put_integer(writer, value),
                    Element::Bytes(bytes) => string::put_bytes(writer, bytes),
                }?;
                writer.end_record()
            })
        }
    }
}

/// Reads a set stored under `number`.
///
/// # Errors
/// What is wrong with it: damage, a member that stands twice, or no member at all.
pub fn read<I: Input>(
    number: u8,
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &TypeLimits,
) -> Result<SetValue, RdbErrorKind> {
    match number {
        TYPE_MEMBERS => read_members(input, scratch, &limits.into()),
        TYPE_INTSET => read_intset(input, scratch, &limits.into()),
        _ => read_listpack(input, scratch, limits),
    }
}

fn read_members<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &SetLimits,
) -> Result<SetValue, RdbErrorKind> {
    let count = string::read_len(input)?;
    if count == 0 {
        return Err(RdbErrorKind::EmptyKey);
    }
    let mut set = SetValue::new();
    set.prepare_for(count.min(RESERVED_MEMBERS_MAX) as usize, limits);
    for _ in 0..count {
        let member = match string::read_token(input, scratch)? {
            Token::Bytes(bytes) => Element::Bytes(bytes),
            Token::Int(value) => Element::Int(value),
        };
        if !set.add_element(member, limits) {
            return Err(RdbErrorKind::Corrupt("Duplicate set members detected"));
        }
    }
    set.shrink_to_fit();
    Ok(set)
}

const NO_BLOB: RdbErrorKind = RdbErrorKind::Corrupt("an integer where a blob is expected");

fn read_intset<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &SetLimits,
) -> Result<SetValue, RdbErrorKind> {
    let intset = Intset::from_bytes(string::read_blob(input, scratch, NO_BLOB)?)
        .map_err(|_| RdbErrorKind::Corrupt("Intset integrity check failed."))?;
    let mut set = SetValue::Integers(intset);
    set.fit_limits(limits);
    Ok(set)
}

fn read_listpack<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &TypeLimits,
) -> Result<SetValue, RdbErrorKind> {
    let blob = string::read_blob(input, scratch, NO_BLOB)?;
    let damaged = RdbErrorKind::Corrupt("Set listpack integrity check failed.");
    let Ok(listpack) = Listpack::from_bytes(blob, true) else {
        return Err(damaged);
    };
    if limits.deep && has_duplicates(listpack.view()) {
        return Err(damaged);
    }
    if listpack.is_empty() {
        return Err(RdbErrorKind::EmptyKey);
    }
    let mut set = SetValue::Packed(listpack);
    set.fit_limits(&limits.into());
    Ok(set)
}

fn has_duplicates(listpack: ListpackView<'_>) -> bool {
    let mut seen = HashSet::with_capacity(listpack.len());
    !listpack.iter().all(|member| with_text(member, |text| seen.insert(text.to_vec())))
}
