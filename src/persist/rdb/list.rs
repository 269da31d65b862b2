//! Lists in an RDB.
//!
//! | number | stored as |
//! | --- | --- |
//! | 1 | elements, one string each (version 9 and before are written so) |
//! | 10 | one ziplist |
//! | 14 | nodes, a ziplist each |
//! | 18 | nodes, a container number and a listpack or a single element each (from version 10) |

use crate::ds::element::Element;
use crate::ds::listpack::Listpack;
use crate::ds::ziplist::Ziplist;
use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string::{self, Token};
use crate::persist::rdb::writer::Writer;
use crate::sys::io::IoResult;
use crate::value::list::{Container, Direction, ListBuilder, Stored};
use crate::value::{ListRef, ListValue, TypeLimits};

const TYPE_ELEMENTS: u8 = 1;
const TYPE_ZIPLIST: u8 = 10;
const TYPE_ZIPLIST_NODES: u8 = 14;
const TYPE_NODES: u8 = 18;
/// The first RDB version with listpacks in it.
const LISTPACK_VERSION: u8 = 10;

/// The number under which a list is written.
pub fn type_of(_: ListRef<'_>, version: u8) -> u8 {
    if version >= LISTPACK_VERSION { TYPE_NODES } else { TYPE_ELEMENTS }
}

/// Writes a list, without its type number.
pub fn put(writer: &mut Writer<'_>, list: ListRef<'_>, version: u8) -> IoResult<()> {
    if version < LISTPACK_VERSION {
        return put_elements(writer, list);
    }
    let nodes = match list {
        ListRef::Packed(_) => 1,
        ListRef::Linked(list) => list.node_count(),
    };
    writer.put_len(nodes as u64);
    for node in list.nodes() {
        writer.put_len(node.container as u64);
        match node.stored {
            Stored::Raw(bytes) => string::put_bytes(writer, bytes)?,
            Stored::Compressed(bytes) => string::put_lzf(writer, bytes, node.raw_len)?,
        }
        writer.end_record()?;
    }
    Ok(())
}

fn put_elements(writer: &mut Writer<'_>, list: ListRef<'_>) -> IoResult<()> {
    writer.put_len(list.len() as u64);
    let mut outcome = Ok(());
    list.visit(0, usize::MAX, Direction::Forward, |element| {
        outcome = match element {
            Element::Int(value) => string::put_integer(writer, value),
            Element::Bytes(bytes) => string::put_bytes(writer, bytes),
        }
        .and_then(|()| writer.end_record());
        outcome.is_ok()
    });
    outcome
}

/// Reads a list stored under `number`.
///
/// # Errors
/// What is wrong with it.
pub fn read<I: Input>(
    number: u8,
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &TypeLimits,
) -> Result<ListValue, RdbErrorKind> {
    let mut builder = ListBuilder::new(limits.list());
    match number {
        TYPE_ELEMENTS => read_elements(&mut builder, input, scratch)?,
        TYPE_ZIPLIST => builder.append_packed(read_ziplist(input, scratch)?),
        TYPE_ZIPLIST_NODES => {
            for _ in 0..string::read_len(input)? {
                builder.append_packed(read_ziplist(input, scratch)?);
            }
        }
        TYPE_NODES => {
            for _ in 0..string::read_len(input)? {
                read_node(&mut builder, input, scratch)?;
            }
        }
        _ => return Err(RdbErrorKind::TypeNotSupported(number)),
    }
    builder.finish().ok_or(RdbErrorKind::EmptyKey)
}

fn read_elements<I: Input>(
    builder: &mut ListBuilder,
    input: &mut I,
    scratch: &mut Vec<u8>,
) -> Result<(), RdbErrorKind> {
    for _ in 0..string::read_len(input)? {
        match string::read_token(input, scratch)? {
            Token::Bytes(bytes) => builder.push(Element::Bytes(bytes)),
            Token::Int(value) => builder.push(Element::Int(value)),
        }
    }
    Ok(())
}

/// The bytes of a node; an empty or integer string is none.
fn read_blob<'a, I: Input>(input: &'a mut I, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], RdbErrorKind> {
    match string::read_token(input, scratch)? {
        Token::Bytes(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(RdbErrorKind::Corrupt("Quicklist integrity check failed.")),
    }
}

fn read_ziplist<I: Input>(input: &mut I, scratch: &mut Vec<u8>) -> Result<Listpack, RdbErrorKind> {
    const BROKEN: RdbErrorKind = RdbErrorKind::Corrupt("Ziplist integrity check failed.");
    let blob = read_blob(input, scratch)?;
    let ziplist = Ziplist::from_bytes(blob).map_err(|_| BROKEN)?;
    let mut listpack = Listpack::with_capacity(blob.len());
    listpack.extend(ziplist.iter()).map_err(|_| BROKEN)?;
    listpack.shrink_to_fit();
    Ok(listpack)
}

/// Every entry is checked, whatever `sanitize-dump-payload` says: a list believes its counts, and
/// an answer with fewer elements than announced would put a client out of step.
fn read_node<I: Input>(
    builder: &mut ListBuilder,
    input: &mut I,
    scratch: &mut Vec<u8>,
) -> Result<(), RdbErrorKind> {
    let container = string::read_len(input)?;
    if container == Container::Plain as u64 {
        // A number in place of the bytes is a plain element too.
        match string::read_token(input, scratch)? {
            Token::Bytes([]) => return Err(RdbErrorKind::Corrupt("Quicklist integrity check failed.")),
            Token::Bytes(bytes) => builder.append_plain(bytes),
            Token::Int(value) => builder.append_plain(itoa::Buffer::new().format(value).as_bytes()),
        }
        return Ok(());
    }
    if container != Container::Packed as u64 {
        return Err(RdbErrorKind::Corrupt("Quicklist integrity check failed."));
    }
    let listpack = Listpack::from_bytes(read_blob(input, scratch)?, true)
        .map_err(|_| RdbErrorKind::Corrupt("Listpack integrity check failed."))?;
    builder.append_packed(listpack);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{put, read, type_of};
    use crate::base::hash::HashSeed;
    use crate::persist::rdb::error::RdbErrorKind;
    use crate::persist::rdb::input::SliceInput;
    use crate::persist::rdb::writer::Writer;
    use crate::value::list::{Direction, ListLimits, Side};
    use crate::value::{ListRef, ListValue, TypeLimits};
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    fn limits(fill: i32, depth: i32, threshold_bytes: u64, deep: bool) -> TypeLimits {
        let seed = HashSeed::from_os().expect("random numbers");
        TypeLimits {
            list_fill: fill,
            list_compress_depth: depth,
            list_packed_threshold_bytes: threshold_bytes,
            deep,
            ..TypeLimits::new(seed)
        }
    }

    fn list_of(texts: &[Vec<u8>], limits: ListLimits) -> ListValue {
        let mut list = ListValue::new();
        for text in texts {
            list.grow_for(text.len(), 1, limits);
            list.push(Side::After, text);
        }
        list
    }

    fn texts(list: ListRef<'_>) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        list.for_each(|element| all.push(element.to_vec()));
        all
    }

    fn written(list: ListRef<'_>, version: u8) -> (u8, Vec<u8>) {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, true, false);
        put(&mut writer, list, version).expect("a vector takes all");
        writer.finish_bare().expect("a vector takes all");
        (type_of(list, version), out)
    }

    fn read_back(number: u8, bytes: &[u8], limits: &TypeLimits) -> Result<ListValue, RdbErrorKind> {
        read(number, &mut SliceInput::new(bytes), &mut Vec::new(), limits)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn lists_come_back(
            model in vec(vec(any::<u8>(), 0..60), 1..60),
            fill in proptest::sample::select(vec![-2, -1, 1, 4, 30]),
            depth in 0i32..3,
            threshold in proptest::sample::select(vec![0u64, 10]),
            version in proptest::sample::select(vec![9u8, 10, 11]),
        ) {
            let limits = limits(fill, depth, threshold, true);
            let list = list_of(&model, limits.list());
            let (number, bytes) = written(list.as_ref(), version);
            let back = read_back(number, &bytes, &limits).expect("just written");
            prop_assert_eq!(texts(back.as_ref()), model);
            // Pushed one by one, a large element gets a node of its own even in a short list.
            prop_assert!(threshold > 0 || back.as_ref().encoding() == list.as_ref().encoding());
            prop_assert!(back.check_invariants().is_ok());
        }

        /// What is read from damaged bytes can be walked and saved, or is refused.
        #[test]
        fn damaged_lists_are_survived(
            model in vec(vec(any::<u8>(), 0..60), 1..30),
            fill in proptest::sample::select(vec![-2, 1, 4]),
            threshold in proptest::sample::select(vec![0u64, 10]),
            damage in vec((any::<u16>(), any::<u8>()), 1..4),
            number in proptest::sample::select(vec![1u8, 10, 14, 18]),
            own_number: bool,
            deep: bool,
        ) {
            let limits = limits(fill, 0, threshold, deep);
            let (own, mut bytes) = written(list_of(&model, limits.list()).as_ref(), 10);
            for (at, value) in damage {
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= value;
            }
            let number = if own_number { own } else { number };
            if let Ok(mut list) = read_back(number, &bytes, &limits) {
                let again = texts(list.as_ref());
                written(list.as_ref(), 10);
                prop_assert_eq!(again.len(), list.len());
                prop_assert!(list.check_invariants().is_ok());
                list.delete_range(0, 3);
                list.remove_matching(b"1", 2, Direction::Backward);
            }
        }
    }

    #[test]
    fn files_of_all_versions_are_read() {
        let limits = limits(-2, 0, 0, true);
        let blob_of = |bytes: &[u8]| [&[bytes.len() as u8][..], bytes].concat();
        // A ziplist of "ab" and 3: bytes, offset of the last entry, count, entries, end.
        let ziplist = b"\x11\0\0\0\x0e\0\0\0\x02\0\0\x02ab\x04\xf4\xff";
        let expected = vec![b"ab".to_vec(), b"3".to_vec()];
        let back = read_back(10, &blob_of(ziplist), &limits).expect("a ziplist");
        assert_eq!((texts(back.as_ref()), back.as_ref().encoding()), (expected.clone(), "listpack"));
        let nodes = [&[2u8][..], &blob_of(ziplist), &blob_of(ziplist)].concat();
        let back = read_back(14, &nodes, &limits).expect("nodes of ziplists");
        assert_eq!((back.len(), back.as_ref().encoding()), (4, "quicklist"));
        let elements = b"\x02\x02ab\xc0\x03";
        assert_eq!(texts(read_back(1, elements, &limits).expect("elements").as_ref()), expected);
        for (number, bytes) in
            [(1, &b"\0"[..]), (14, b"\0"), (18, b"\0"), (18, b"\x01\x02\x07\x07\0\0\0\0\0\xff")]
        {
            assert!(matches!(read_back(number, bytes, &limits), Err(RdbErrorKind::EmptyKey)), "{number}");
        }
        assert!(read_back(18, b"\x01\x03\x01a", &limits).is_err(), "an unknown container");
        assert!(read_back(18, b"\x01\x01\x00", &limits).is_err(), "an empty plain node");
        assert!(read_back(10, &blob_of(&ziplist[..16]), &limits).is_err(), "a ziplist cut short");
    }
}
