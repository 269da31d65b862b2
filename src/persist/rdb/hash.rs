//! Hashes in an RDB.
//!
//! | number | layout |
//! | --- | --- |
//! | 4 | count, then field and value each |
//! | 9, 13, 16 | a string: zipmap, ziplist, listpack |
//! | 24 | earliest expiry (Unix ms, 8 bytes), count, then expiry, field, value each; the expiry is a length: 0 for none, else its distance from the earliest plus 1 |
//! | 25 | earliest expiry, then a string: listpack of field, value, expiry (0 for none), by expiry |
//! | 22, 23 | as 24 and 25 without the earliest expiry; expiry times are absolute |
//! | 26 | not in files: what Valkey writes under 22. Count, then field, value, expiry (8 bytes, -1 for none) |
//!
//! 22 to 25 are Redis 7.4's. Source of the layouts: the files of redis/librdb (MIT) and of other
//! projects with what they are known to hold.

use crate::ds::element::Element;
use crate::ds::listpack::{Listpack, TooLarge};
use crate::ds::ziplist::Ziplist;
use crate::ds::zipmap::Zipmap;
use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string::{self};
use crate::persist::rdb::values::TYPE_HASH_VALKEY;
use crate::persist::rdb::writer::Writer;
use crate::sys::io::IoResult;
use crate::value::hash::{FieldExpiry, HashField, SetOutcome};
use crate::value::{HashRef, HashValue, TypeLimits};
use std::collections::HashSet;

const PLAIN: u8 = 4;
const ZIPMAP: u8 = 9;
const ZIPLIST: u8 = 13;
const LISTPACK: u8 = 16;
const EXPIRY_TABLE_EARLY: u8 = 22;
const EXPIRY_LISTPACK_EARLY: u8 = 23;
const EXPIRY_TABLE: u8 = 24;
const EXPIRY_LISTPACK: u8 = 25;

/// First version with listpacks.
const LISTPACK_VERSION_MIN: u8 = 10;
/// Fields a table is sized for before they are seen: a count in a damaged file is any number.
const RESERVED_FIELDS_MAX: u64 = 1 << 16;

const BAD_LISTPACK: RdbErrorKind = RdbErrorKind::Corrupt("Hash listpack integrity check failed.");
const BAD_ZIPLIST: RdbErrorKind = RdbErrorKind::Corrupt("Hash ziplist integrity check failed.");
const BAD_ZIPMAP: RdbErrorKind = RdbErrorKind::Corrupt("Zipmap integrity check failed.");
const DUPLICATE_PACKED: RdbErrorKind = RdbErrorKind::Corrupt("Hash listpack with dup elements");
const DUPLICATE: RdbErrorKind = RdbErrorKind::Corrupt("Duplicate hash fields detected");

/// Whether a field has an expiry, which only versions from 12 on can hold.
pub fn has_expiry(hash: HashRef<'_>) -> bool {
    hash.may_expire() && hash.earliest_expiry_ms().is_some()
}

/// The number under which a hash is written.
pub fn type_of(hash: HashRef<'_>, version: u8) -> u8 {
    match hash {
        HashRef::PackedExpiry(_) if has_expiry(hash) => EXPIRY_LISTPACK,
        HashRef::Big(_) if has_expiry(hash) => EXPIRY_TABLE,
        HashRef::Packed(_) if version >= LISTPACK_VERSION_MIN => LISTPACK,
        _ => PLAIN,
    }
}

/// Writes a hash, without its type number.
pub fn put(writer: &mut Writer<'_>, hash: HashRef<'_>, version: u8) -> IoResult<()> {
    match (type_of(hash, version), hash) {
        (LISTPACK, HashRef::Packed(listpack)) => string::put_bytes(writer, listpack.as_bytes()),
        (EXPIRY_LISTPACK, _) => put_expiry_listpack(writer, hash),
        (EXPIRY_TABLE, _) => put_expiry_table(writer, hash),
        _ => put_plain(writer, hash),
    }
}

fn put_plain(writer: &mut Writer<'_>, hash: HashRef<'_>) -> IoResult<()> {
    writer.put_len(hash.len() as u64);
    for field in hash.fields() {
        put_element(writer, field.name)?;
        put_element(writer, field.value)?;
        writer.end_record()?;
    }
    Ok(())
}

fn put_element(writer: &mut Writer<'_>, element: Element<'_>) -> IoResult<()> {
    match element {
        Element::Int(value) => string::put_integer(writer, value),
        Element::Bytes(bytes) => string::put_bytes(writer, bytes),
    }
}

/// The earliest expiry exactly: what the others are counted from.
fn earliest_ms(hash: HashRef<'_>) -> i64 {
    hash.fields().filter_map(|field| field.expiry_ms).min().unwrap_or(0)
}

fn put_expiry_table(writer: &mut Writer<'_>, hash: HashRef<'_>) -> IoResult<()> {
    let earliest_ms = earliest_ms(hash);
    writer.put_raw(&earliest_ms.to_le_bytes())?;
    writer.put_len(hash.len() as u64);
    for field in hash.fields() {
        let distance = field.expiry_ms.map_or(0, |at_ms| at_ms.abs_diff(earliest_ms) + 1);
        writer.put_len(distance);
        put_element(writer, field.name)?;
        put_element(writer, field.value)?;
        writer.end_record()?;
    }
    Ok(())
}

/// Redis keeps the triples in the order of their expiry, those without one last, and relies on it.
fn put_expiry_listpack(writer: &mut Writer<'_>, hash: HashRef<'_>) -> IoResult<()> {
    let mut fields: Vec<HashField<'_>> = hash.fields().collect();
    fields.sort_by_key(|field| field.expiry_ms.unwrap_or(i64::MAX));
    let mut triples = Listpack::new();
    for field in &fields {
        let expiry = Element::Int(field.expiry_ms.unwrap_or(0));
        triples.extend([field.name, field.value, expiry]).expect("as large as the hash's own listpack");
    }
    writer.put_raw(&earliest_ms(hash).to_le_bytes())?;
    string::put_bytes(writer, triples.as_bytes())
}

/// Reads a hash stored under `number`.
///
/// # Errors
/// What is wrong with it.
pub fn read<I: Input>(
    number: u8,
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &TypeLimits,
) -> Result<HashValue, RdbErrorKind> {
    match number {
        PLAIN => read_plain(input, scratch, limits),
        ZIPMAP => read_zipmap(string::read_blob(input, scratch, NO_BLOB)?, limits),
        ZIPLIST => read_ziplist(string::read_blob(input, scratch, NO_BLOB)?, limits),
        LISTPACK => read_listpack(string::read_blob(input, scratch, NO_BLOB)?, limits, false),
        EXPIRY_TABLE_EARLY => read_expiry_table(input, scratch, limits, None),
        EXPIRY_TABLE => {
            let earliest_ms = i64::from_le_bytes(input.take_array()?);
            read_expiry_table(input, scratch, limits, Some(earliest_ms))
        }
        EXPIRY_LISTPACK_EARLY => read_listpack(string::read_blob(input, scratch, NO_BLOB)?, limits, true),
        EXPIRY_LISTPACK => {
            // Where the first expiry stands can be seen in the listpack as well.
            input.take(size_of::<i64>())?;
            read_listpack(string::read_blob(input, scratch, NO_BLOB)?, limits, true)
        }
        TYPE_HASH_VALKEY => read_valkey(input, scratch, limits),
        _ => Err(RdbErrorKind::UnknownType(number)),
    }
}

const NO_BLOB: RdbErrorKind = RdbErrorKind::Corrupt("an integer in the place of a packed hash");

/// A hash being read field by field.
struct Reader<'l> {
    hash: HashValue,
    limits: &'l TypeLimits,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl<'l> Reader<'l> {
    /// # Errors
    /// A count of zero.
    fn new(count: u64, limits: &'l TypeLimits) -> Result<Self, RdbErrorKind> {
        if count == 0 {
            return Err(RdbErrorKind::EmptyKey);
        }
        let hash = if count > limits.hash.entries as u64 {
            HashValue::big(limits.seed, count.min(RESERVED_FIELDS_MAX) as usize)
        } else {
            HashValue::new()
        };
        Ok(Reader { hash, limits, name: Vec::new(), value: Vec::new() })
    }

    fn read_strings<I: Input>(&mut self, input: &mut I, scratch: &mut Vec<u8>) -> Result<(), RdbErrorKind> {
        string::read_bytes(input, scratch, &mut self.name)?;
        string::read_bytes(input, scratch, &mut self.value)
    }

    fn add(&mut self, expiry_ms: Option<i64>) -> Result<(), RdbErrorKind> {
        let expiry = expiry_ms.map_or(FieldExpiry::Clear, FieldExpiry::At);
        match self.hash.set(&self.name, &self.value, expiry, self.limits.hash, self.limits.seed) {
            SetOutcome::Added => Ok(()),
            SetOutcome::Replaced => Err(DUPLICATE),
        }
    }
}

fn read_plain<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &TypeLimits,
) -> Result<HashValue, RdbErrorKind> {
    let count = string::read_len(input)?;
    let mut reader = Reader::new(count, limits)?;
    for _ in 0..count {
        reader.read_strings(input, scratch)?;
        reader.add(None)?;
    }
    Ok(reader.hash)
}

/// With `earliest_ms` expiry times are distances from it, else absolute.
fn read_expiry_table<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &TypeLimits,
    earliest_ms: Option<i64>,
) -> Result<HashValue, RdbErrorKind> {
    const BAD_EXPIRY: RdbErrorKind = RdbErrorKind::Corrupt("Hash field with an impossible expiry");
    let count = string::read_len(input)?;
    let mut reader = Reader::new(count, limits)?;
    for _ in 0..count {
        let stored = i64::try_from(string::read_len(input)?).map_err(|_| BAD_EXPIRY)?;
        let expiry_ms = match (stored, earliest_ms) {
            (0, _) => None,
            (at_ms, None) => Some(at_ms),
            (distance, Some(earliest_ms)) => Some(earliest_ms.checked_add(distance - 1).ok_or(BAD_EXPIRY)?),
        };
        reader.read_strings(input, scratch)?;
        reader.add(expiry_ms)?;
    }
    Ok(reader.hash)
}

fn read_valkey<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &TypeLimits,
) -> Result<HashValue, RdbErrorKind> {
    let count = string::read_len(input)?;
    let mut reader = Reader::new(count, limits)?;
    for _ in 0..count {
        reader.read_strings(input, scratch)?;
        let at_ms = i64::from_le_bytes(input.take_array()?);
        reader.add((at_ms >= 0).then_some(at_ms))?;
    }
    Ok(reader.hash)
}

/// A listpack is taken as it is, its entries checked: readers believe its count. Duplicates are looked
/// for only when the caller wants it.
fn read_listpack(bytes: &[u8], limits: &TypeLimits, with_expiry: bool) -> Result<HashValue, RdbErrorKind> {
    let listpack = Listpack::from_bytes(bytes, true).map_err(|_| BAD_LISTPACK)?;
    let stride = if with_expiry { 3 } else { 2 };
    if !listpack.len().is_multiple_of(stride) {
        return Err(BAD_LISTPACK);
    }
    let mut hash = HashValue::from_listpack(listpack, with_expiry);
    if hash.as_ref().is_empty() {
        return Err(RdbErrorKind::EmptyKey);
    }
    if limits.deep {
        let mut seen = HashSet::new();
        if !hash.as_ref().fields().all(|field| seen.insert(field.name.to_vec())) {
            return Err(DUPLICATE_PACKED);
        }
    }
    if hash.fit(limits.hash, limits.seed) { Ok(hash) } else { Err(DUPLICATE_PACKED) }
}

fn read_ziplist(bytes: &[u8], limits: &TypeLimits) -> Result<HashValue, RdbErrorKind> {
    let ziplist = Ziplist::from_bytes(bytes).map_err(|_| BAD_ZIPLIST)?;
    let mut elements = ziplist.iter();
    let mut pairs = Vec::new();
    while let Some(name) = elements.next() {
        pairs.push((name, elements.next().ok_or(BAD_ZIPLIST)?));
    }
    from_pairs(&pairs, limits)?.ok_or(BAD_ZIPLIST)
}

fn read_zipmap(bytes: &[u8], limits: &TypeLimits) -> Result<HashValue, RdbErrorKind> {
    let zipmap = Zipmap::from_bytes(bytes).map_err(|_| BAD_ZIPMAP)?;
    let pairs: Vec<_> =
        zipmap.iter().map(|(name, value)| (Element::from(name), Element::from(value))).collect();
    let longest = pairs.iter().flat_map(|(name, value)| [name.text_len(), value.text_len()]).max();
    let mut limits = *limits;
    if longest > Some(limits.hash.value_bytes) {
        limits.hash.entries = 0;
    }
    let duplicates = RdbErrorKind::Corrupt("Hash zipmap with dup elements, or big length (0)");
    from_pairs(&pairs, &limits)?.ok_or(duplicates)
}

/// A packed hash of these pairs, or a table where they are too many; `None`: a name comes twice.
fn from_pairs(
    pairs: &[(Element<'_>, Element<'_>)],
    limits: &TypeLimits,
) -> Result<Option<HashValue>, RdbErrorKind> {
    if pairs.is_empty() {
        return Err(RdbErrorKind::EmptyKey);
    }
    let too_large = |_: TooLarge| RdbErrorKind::Corrupt("Hash above 4 GiB in one packed value");
    let mut seen = HashSet::with_capacity(pairs.len());
    let mut listpack = Listpack::new();
    for (name, value) in pairs {
        if !seen.insert(name.to_vec()) {
            return Ok(None);
        }
        listpack.extend([*name, *value]).map_err(too_large)?;
    }
    listpack.shrink_to_fit();
    let mut hash = HashValue::from_listpack(listpack, false);
    Ok(hash.fit(limits.hash, limits.seed).then_some(hash))
}
