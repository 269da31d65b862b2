//! Sorted sets in an RDB.
//!
//! | type | what it holds | written |
//! | --- | --- | --- |
//! | 3 | a count, then each member as a string and its score as text | never (before version 8) |
//! | 5 | a count, then each member as a string and its score as a double, little endian | big ones; small ones before version 10 |
//! | 12 | the blob of a ziplist of members and scores | never (before version 10) |
//! | 17 | the blob of a listpack of members and scores | small ones |
//!
//! Type 5 is written from the last member to the first, as Redis does: its loader inserts at the
//! front. What a reader makes of them depends on this server's limits, as in Redis.

use crate::base::numbers::parse_f64;
use crate::ds::element::Element;
use crate::ds::listpack::Listpack;
use crate::ds::ziplist::Ziplist;
use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string::{self};
use crate::persist::rdb::writer::Writer;
use crate::sys::io::IoResult;
use crate::value::zset::ZsetLimits;
use crate::value::{TypeLimits, ZsetRef, ZsetValue};

const TYPE_TEXT_SCORES: u8 = 3;
const TYPE_MEMBERS: u8 = 5;
const TYPE_ZIPLIST: u8 = 12;
const TYPE_LISTPACK: u8 = 17;
/// The first version that knows listpacks.
const VERSION_OF_LISTPACK: u8 = 10;

/// Lengths of a score's text that mean something else.
const SCORE_NAN: u8 = 253;
const SCORE_INFINITY: u8 = 254;
const SCORE_NEGATIVE_INFINITY: u8 = 255;

const NAN_SCORE: RdbErrorKind = RdbErrorKind::Corrupt("Zset with NAN score detected");
const DAMAGED_ZIPLIST: RdbErrorKind = RdbErrorKind::Corrupt("Zset ziplist integrity check failed.");
const DAMAGED_LISTPACK: RdbErrorKind = RdbErrorKind::Corrupt("Zset listpack integrity check failed.");

/// The number under which a sorted set is written.
pub fn type_of(zset: ZsetRef<'_>, version: u8) -> u8 {
    match zset {
        ZsetRef::Packed(_) if version >= VERSION_OF_LISTPACK => TYPE_LISTPACK,
        ZsetRef::Packed(_) | ZsetRef::Big(_) => TYPE_MEMBERS,
    }
}

/// Writes a sorted set, without its type number.
pub fn put(writer: &mut Writer<'_>, zset: ZsetRef<'_>, version: u8) -> IoResult<()> {
    match zset {
        ZsetRef::Packed(listpack) if version >= VERSION_OF_LISTPACK => {
            string::put_bytes(writer, listpack.as_bytes())
        }
        ZsetRef::Packed(_) | ZsetRef::Big(_) => put_members(writer, zset),
    }
}

fn put_members(writer: &mut Writer<'_>, zset: ZsetRef<'_>) -> IoResult<()> {
    let len = zset.len();
    writer.put_len(len as u64);
    for (score, member) in zset.range(0, len, true) {
        match member {
            Element::Int(value) => string::put_integer(writer, value)?,
            Element::Bytes(bytes) => string::put_bytes(writer, bytes)?,
        }
        writer.put_raw(&score.to_le_bytes())?;
        writer.end_record()?;
    }
    Ok(())
}

/// Reads a sorted set stored under `number`.
///
/// # Errors
/// What is wrong with it: damage, a score that is no number, a member that stands twice, or no
/// member at all.
pub fn read<I: Input>(
    number: u8,
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &TypeLimits,
) -> Result<ZsetValue, RdbErrorKind> {
    match number {
        TYPE_TEXT_SCORES => read_members(input, scratch, &limits.into(), read_text_score),
        TYPE_MEMBERS => read_members(input, scratch, &limits.into(), read_score),
        TYPE_ZIPLIST => read_ziplist(input, scratch, &limits.into()),
        TYPE_LISTPACK => read_listpack(input, scratch, limits),
        _ => Err(RdbErrorKind::TypeNotSupported(number)),
    }
}

fn read_score<I: Input>(input: &mut I) -> Result<f64, RdbErrorKind> {
    Ok(f64::from_le_bytes(input.take_array()?))
}

fn read_text_score<I: Input>(input: &mut I) -> Result<f64, RdbErrorKind> {
    match input.take_u8()? {
        SCORE_NAN => Ok(f64::NAN),
        SCORE_INFINITY => Ok(f64::INFINITY),
        SCORE_NEGATIVE_INFINITY => Ok(f64::NEG_INFINITY),
        len => {
            let text = input.take(usize::from(len))?;
            parse_f64(text).ok_or(RdbErrorKind::Corrupt("Zset with a score that is no number"))
        }
    }
}

fn read_members<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &ZsetLimits,
    score_of: impl Fn(&mut I) -> Result<f64, RdbErrorKind>,
) -> Result<ZsetValue, RdbErrorKind> {
    let count = string::to_usize(string::read_len(input)?)?;
    if count == 0 {
        return Err(RdbErrorKind::EmptyKey);
    }
    let mut zset = ZsetValue::with_hint(count, 0, limits);
    let mut member = Vec::new();
    for _ in 0..count {
        string::read_bytes(input, scratch, &mut member)?;
        let score = score_of(input)?;
        match zset.insert(score, &member, limits) {
            Ok(None) => {}
            Ok(Some(_)) => return Err(RdbErrorKind::Corrupt("RDB zset has duplicate fields")),
            Err(_) => return Err(NAN_SCORE),
        }
    }
    Ok(zset)
}

/// The ziplist form is always checked wholly: its bytes become a listpack's.
fn read_ziplist<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &ZsetLimits,
) -> Result<ZsetValue, RdbErrorKind> {
    let blob = string::read_blob(input, scratch, DAMAGED_ZIPLIST)?;
    let ziplist = Ziplist::from_bytes(blob).map_err(|_| DAMAGED_ZIPLIST)?;
    let mut listpack = Listpack::with_capacity(blob.len());
    listpack.extend(ziplist.iter()).map_err(|_| DAMAGED_ZIPLIST)?;
    let zset = ZsetValue::from_packed(listpack.as_bytes(), true, limits).map_err(|_| DAMAGED_ZIPLIST)?;
    not_empty(zset)
}

fn read_listpack<I: Input>(
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &TypeLimits,
) -> Result<ZsetValue, RdbErrorKind> {
    let blob = string::read_blob(input, scratch, DAMAGED_LISTPACK)?;
    let zset = ZsetValue::from_packed(blob, true, &limits.into()).map_err(|_| DAMAGED_LISTPACK)?;
    not_empty(zset)
}

fn not_empty(zset: ZsetValue) -> Result<ZsetValue, RdbErrorKind> {
    if zset.is_empty() { Err(RdbErrorKind::EmptyKey) } else { Ok(zset) }
}

#[cfg(test)]
mod tests {
    use super::{put, read, type_of};
    use crate::base::hash::HashSeed;
    use crate::persist::rdb::error::RdbErrorKind;
    use crate::persist::rdb::input::SliceInput;
    use crate::persist::rdb::writer::Writer;
    use crate::value::zset::ZsetLimits;
    use crate::value::{TypeLimits, ZsetValue};

    fn limits() -> TypeLimits {
        TypeLimits::new(HashSeed([5; 16]))
    }

    fn zset(count: u32, limits: &TypeLimits) -> ZsetValue {
        let limits = ZsetLimits::from(limits);
        let mut zset = ZsetValue::with_hint(count as usize, 0, &limits);
        for number in 0..count {
            let member = if number % 3 == 0 { number.to_string() } else { format!("member {number}") };
            zset.insert(f64::from(number) / 4.0 - 3.0, member.as_bytes(), &limits).expect("a number");
        }
        zset
    }

    fn entries(zset: &ZsetValue) -> Vec<(f64, Vec<u8>)> {
        zset.as_ref().iter().map(|(score, member)| (score, member.to_vec())).collect()
    }

    #[test]
    fn every_form_written_is_read() {
        let limits = limits();
        for (count, version, number) in [(5, 10, 17), (5, 9, 5), (300, 10, 5), (300, 9, 5)] {
            let zset = zset(count, &limits);
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes, true, false);
            put(&mut writer, zset.as_ref(), version).expect("memory takes all");
            writer.finish_bare().expect("memory takes all");
            assert_eq!(type_of(zset.as_ref(), version), number);
            let read = read(number, &mut SliceInput::new(&bytes), &mut Vec::new(), &limits).expect("whole");
            assert_eq!(entries(&read), entries(&zset));
            assert_eq!(read.as_ref().encoding(), zset.as_ref().encoding());
        }
    }

    #[test]
    fn text_scores_of_old_files() {
        let mut bytes = vec![4, 1, b'a', 3, b'1', b'.', b'5'];
        bytes.extend_from_slice(&[1, b'b', 254, 1, b'c', 255, 1, b'd', 2, b'-', b'0']);
        let zset = read(3, &mut SliceInput::new(&bytes), &mut Vec::new(), &limits()).expect("whole");
        let scores: Vec<_> = zset.as_ref().iter().map(|(score, _)| score).collect();
        assert_eq!(scores, [f64::NEG_INFINITY, 0.0, 1.5, f64::INFINITY]);
        let nan = read(3, &mut SliceInput::new(&[1, 1, b'a', 253]), &mut Vec::new(), &limits());
        assert!(matches!(nan, Err(RdbErrorKind::Corrupt("Zset with NAN score detected"))));
    }

    #[test]
    fn duplicates_and_nothing_are_refused() {
        let twice = [2, 1, b'a', 1, b'1', 1, b'a', 1, b'2'];
        let failure = read(3, &mut SliceInput::new(&twice), &mut Vec::new(), &limits());
        assert!(matches!(failure, Err(RdbErrorKind::Corrupt("RDB zset has duplicate fields"))));
        let nothing = read(5, &mut SliceInput::new(&[0]), &mut Vec::new(), &limits());
        assert!(matches!(nothing, Err(RdbErrorKind::EmptyKey)));
    }
}
