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
                read_node(&mut builder, input, scratch, limits.deep)?;
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

fn read_node<I: Input>(
    builder: &mut ListBuilder,
    input: &mut I,
    scratch: &mut Vec<u8>,
    deep: bool,
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
    let listpack = Listpack::from_bytes(read_blob(input, scratch)?, deep)
        .map_err(|_| RdbErrorKind::Corrupt("Listpack integrity check failed."))?;
    builder.append_packed(listpack);
    Ok(())
}
