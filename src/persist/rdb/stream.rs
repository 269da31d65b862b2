//! Streams in an RDB.
//!
//! ```text
//! blocks:  n, n * { key (16 bytes as a string), listpack (as a string) }
//! numbers: length, last id               since 19: first id, largest deleted id, entries added
//! groups:  n, n * { name, last id        since 19: entries read
//!            pending:   n, n * { id (16 bytes), delivered (8 bytes LE), deliveries }
//!            consumers: n, n * { name, seen (8 bytes LE)      since 21: active (8 bytes LE)
//!                                pending: n, n * { id (16 bytes) } } }
//! ```
//! Type 15 is what Redis 5 and 6 read, 19 what 7.0 reads, 21 what 7.2 reads. Source: `rdb.c` of
//! Redis 7.2.

use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::string::{self, read_len};
use crate::persist::rdb::writer::Writer;
use crate::sys::io::IoResult;
use crate::value::stream::{Consumer, Counters, Group, Stream, StreamId};
use crate::value::{StreamRef, StreamValue, TypeLimits};

const TYPE_FIRST: u8 = 15;
/// With first id, largest deleted id, entries added and read.
const TYPE_COUNTERS: u8 = 19;
/// With the time a consumer was last given something.
const TYPE_ACTIVE: u8 = 21;

const ID_BYTES: usize = 16;

/// The number under which a stream is written.
pub fn type_of(_: StreamRef<'_>, version: u8) -> u8 {
    match version {
        0..=9 => TYPE_FIRST,
        10 => TYPE_COUNTERS,
        _ => TYPE_ACTIVE,
    }
}

/// Writes a stream, without its type number.
pub fn put(writer: &mut Writer<'_>, stream: StreamRef<'_>, version: u8) -> IoResult<()> {
    let number = type_of(stream, version);
    let stream = stream.stream();
    let log = stream.log();
    writer.put_len(log.blocks().len() as u64);
    for (key, listpack) in log.blocks().iter() {
        string::put_bytes(writer, &key.to_bytes())?;
        string::put_bytes(writer, listpack.as_bytes())?;
        writer.end_record()?;
    }
    writer.put_len(log.len());
    put_id(writer, log.last_id());
    if number >= TYPE_COUNTERS {
        put_id(writer, log.first_id());
        put_id(writer, log.max_deleted_id());
        writer.put_len(log.entries_added());
    }
    writer.put_len(stream.group_count() as u64);
    for (name, group) in stream.groups() {
        string::put_bytes(writer, name)?;
        put_group(writer, group, number)?;
    }
    Ok(())
}

fn put_id(writer: &mut Writer<'_>, id: StreamId) {
    writer.put_len(id.ms);
    writer.put_len(id.seq);
}

fn put_group(writer: &mut Writer<'_>, group: &Group, number: u8) -> IoResult<()> {
    put_id(writer, group.last_id);
    if number >= TYPE_COUNTERS {
        writer.put_len(group.entries_read.cast_unsigned());
    }
    writer.put_len(group.pending().len() as u64);
    for (id, pending) in group.pending().iter() {
        writer.put_raw(&id.to_bytes())?;
        writer.put_raw(&pending.delivered_ms.to_le_bytes())?;
        writer.put_len(pending.deliveries);
        writer.end_record()?;
    }
    writer.put_len(group.consumer_count() as u64);
    group.consumers().try_for_each(|consumer| put_consumer(writer, consumer, number))
}

fn put_consumer(writer: &mut Writer<'_>, consumer: &Consumer, number: u8) -> IoResult<()> {
    string::put_bytes(writer, consumer.name())?;
    writer.put_raw(&consumer.seen_ms.to_le_bytes())?;
    if number >= TYPE_ACTIVE {
        writer.put_raw(&consumer.active_ms.to_le_bytes())?;
    }
    writer.put_len(consumer.pending().len() as u64);
    for (id, ()) in consumer.pending().iter() {
        writer.put_raw(&id.to_bytes())?;
        writer.end_record()?;
    }
    Ok(())
}

/// Reads a stream stored under `number`.
///
/// # Errors
/// What is wrong with it.
pub fn read<I: Input>(
    number: u8,
    input: &mut I,
    scratch: &mut Vec<u8>,
    limits: &TypeLimits,
) -> Result<StreamValue, RdbErrorKind> {
    let mut stream = Stream::default();
    let mut text = Vec::new();
    for _ in 0..read_len(input)? {
        string::read_bytes(input, scratch, &mut text)?;
        let key: [u8; ID_BYTES] = text
            .as_slice()
            .try_into()
            .map_err(|_| RdbErrorKind::Corrupt("Stream node key entry is not the size of a stream ID"))?;
        string::read_bytes(input, scratch, &mut text)?;
        stream.load_block(StreamId::from_bytes(key), &text, limits.deep).map_err(corrupt)?;
    }
    let (length, last_id) = (read_len(input)?, read_id(input)?);
    if number >= TYPE_COUNTERS {
        let (first_id, max_deleted_id) = (read_id(input)?, read_id(input)?);
        let entries_added = read_len(input)?;
        let counters = Counters { length, last_id, first_id, max_deleted_id, entries_added };
        stream.load_counters(counters).map_err(corrupt)?;
    } else {
        stream.load_length(length, last_id).map_err(corrupt)?;
    }
    for _ in 0..read_len(input)? {
        string::read_bytes(input, scratch, &mut text)?;
        let group = read_group(number, input, scratch, &stream)?;
        if !stream.add_group(&text, group) {
            return Err(RdbErrorKind::Corrupt("Duplicated consumer group name"));
        }
    }
    Ok(StreamValue::from(stream))
}

fn corrupt(reason: crate::ds::corrupt::Corrupt) -> RdbErrorKind {
    RdbErrorKind::Corrupt(reason.0)
}

fn read_id<I: Input>(input: &mut I) -> Result<StreamId, RdbErrorKind> {
    Ok(StreamId::new(read_len(input)?, read_len(input)?))
}

fn read_raw_id<I: Input>(input: &mut I) -> Result<StreamId, RdbErrorKind> {
    Ok(StreamId::from_bytes(input.take_array::<ID_BYTES>()?))
}

fn read_ms<I: Input>(input: &mut I) -> Result<i64, RdbErrorKind> {
    Ok(i64::from_le_bytes(input.take_array()?))
}

fn read_group<I: Input>(
    number: u8,
    input: &mut I,
    scratch: &mut Vec<u8>,
    stream: &Stream,
) -> Result<Group, RdbErrorKind> {
    let last_id = read_id(input)?;
    let entries_read = if number >= TYPE_COUNTERS {
        read_len(input)?.cast_signed()
    } else {
        stream.estimated_entries_read(last_id)
    };
    let mut group = Group::new(last_id, entries_read);
    for _ in 0..read_len(input)? {
        let (id, delivered_ms) = (read_raw_id(input)?, read_ms(input)?);
        group.load_pending(id, delivered_ms, read_len(input)?).map_err(corrupt)?;
    }
    let mut name = Vec::new();
    for _ in 0..read_len(input)? {
        string::read_bytes(input, scratch, &mut name)?;
        read_consumer(number, input, &mut group, &name)?;
    }
    group.finish_loading().map_err(corrupt)?;
    Ok(group)
}

fn read_consumer<I: Input>(
    number: u8,
    input: &mut I,
    group: &mut Group,
    name: &[u8],
) -> Result<(), RdbErrorKind> {
    let seen_ms = read_ms(input)?;
    // The best that is known of older files.
    let active_ms = if number >= TYPE_ACTIVE { read_ms(input)? } else { seen_ms };
    let created = group.create_consumer(name, seen_ms);
    let consumer = created.ok_or(RdbErrorKind::Corrupt("Duplicate stream consumer detected"))?;
    if let Some(consumer) = group.consumer_mut(consumer) {
        consumer.active_ms = active_ms;
    }
    for _ in 0..read_len(input)? {
        group.load_owner(read_raw_id(input)?, consumer).map_err(corrupt)?;
    }
    Ok(())
}
