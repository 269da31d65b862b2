//! The commands that rebuild a stream: entries one by one, the counters, then each group with its
//! consumers and what is pending for them.
//!
//! An entry that was deleted may still be pending. XCLAIM takes only entries that are there, so it is
//! added as a placeholder in its place and taken away again when it has been claimed. (Redis loses
//! what is pending for it.) When a consumer was last seen is not rebuilt.

use crate::persist::aof::base::push_command;
use crate::value::StreamRef;
use crate::value::stream::{Consumer, Entry, Group, Stream, StreamId};

/// Ids in one XDEL.
const IDS_PER_COMMAND: usize = 64;

/// Appends the commands for one key.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], stream: StreamRef<'_>) {
    let stream = stream.stream();
    let gone = gone_but_pending(stream);
    push_entries(out, key, stream, &gone);
    if gone.is_empty() {
        push_counters(out, key, stream);
    }
    for (name, group) in stream.groups() {
        push_group(out, key, name, group);
    }
    if !gone.is_empty() {
        push_removal(out, key, stream, &gone);
        push_counters(out, key, stream);
    }
}

/// Ids that are pending in some group and no longer in the stream, in order.
fn gone_but_pending(stream: &Stream) -> Vec<StreamId> {
    let log = stream.log();
    let mut gone: Vec<StreamId> = Vec::new();
    for (_, group) in stream.groups() {
        let ids = group.pending().iter().map(|(id, _)| *id);
        gone.extend(ids.filter(|id| *id != StreamId::MIN && log.entry(*id).is_none()));
    }
    gone.sort_unstable();
    gone.dedup();
    gone
}

fn push_entries(out: &mut Vec<u8>, key: &[u8], stream: &Stream, gone: &[StreamId]) {
    if stream.log().is_empty() && gone.is_empty() {
        // The one way to make a stream without entries and without groups.
        push_command(out, &[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
        return;
    }
    let mut left = gone.iter().peekable();
    for entry in stream.log().range(StreamId::MIN, StreamId::MAX) {
        while let Some(id) = left.next_if(|id| **id < entry.id) {
            push_placeholder(out, key, *id);
        }
        push_entry(out, key, &entry);
    }
    left.for_each(|id| push_placeholder(out, key, *id));
}

fn push_placeholder(out: &mut Vec<u8>, key: &[u8], id: StreamId) {
    push_command(out, &[b"XADD", key, id.text().as_ref(), b"x", b"y"]);
}

fn push_entry(out: &mut Vec<u8>, key: &[u8], entry: &Entry<'_>) {
    // Fields and values one behind the other, and where each ends.
    let (mut texts, mut ends) = (Vec::new(), Vec::new());
    for (field, value) in entry.pairs() {
        for element in [field, value] {
            element.append_to(&mut texts);
            ends.push(texts.len());
        }
    }
    let id = entry.id.text();
    let mut args: Vec<&[u8]> = vec![b"XADD", key, id.as_ref()];
    let mut start = 0;
    for end in ends {
        args.push(&texts[start..end]);
        start = end;
    }
    push_command(out, &args);
}

/// Takes the placeholders away: those in front by a trim, which leaves no trace, as they went.
fn push_removal(out: &mut Vec<u8>, key: &[u8], stream: &Stream, gone: &[StreamId]) {
    let first = stream.log().range(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id);
    let Some(first) = first else {
        push_command(out, &[b"XTRIM", key, b"MAXLEN", b"0"]);
        return;
    };
    let (before, within) = gone.split_at(gone.partition_point(|id| *id < first));
    if !before.is_empty() {
        push_command(out, &[b"XTRIM", key, b"MINID", first.text().as_ref()]);
    }
    for ids in within.chunks(IDS_PER_COMMAND) {
        let texts: Vec<_> = ids.iter().map(|id| id.text()).collect();
        let mut args: Vec<&[u8]> = vec![b"XDEL", key];
        args.extend(texts.iter().map(AsRef::<[u8]>::as_ref));
        push_command(out, &args);
    }
}

fn push_counters(out: &mut Vec<u8>, key: &[u8], stream: &Stream) {
    let log = stream.log();
    let mut digits = itoa::Buffer::new();
    let (last, deleted) = (log.last_id().text(), log.max_deleted_id().text());
    let added = digits.format(log.entries_added()).as_bytes();
    push_command(
        out,
        &[b"XSETID", key, last.as_ref(), b"ENTRIESADDED", added, b"MAXDELETEDID", deleted.as_ref()],
    );
}

fn push_group(out: &mut Vec<u8>, key: &[u8], name: &[u8], group: &Group) {
    let last = group.last_id.text();
    let mut digits = itoa::Buffer::new();
    let read = digits.format(group.entries_read).as_bytes();
    push_command(out, &[b"XGROUP", b"CREATE", key, name, last.as_ref(), b"ENTRIESREAD", read]);
    for consumer in group.consumers() {
        if consumer.pending().is_empty() {
            push_command(out, &[b"XGROUP", b"CREATECONSUMER", key, name, consumer.name()]);
        }
        push_pending(out, key, name, group, consumer);
    }
}

fn push_pending(out: &mut Vec<u8>, key: &[u8], name: &[u8], group: &Group, consumer: &Consumer) {
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    for (id, ()) in consumer.pending().iter() {
        let Some(pending) = group.pending().get(id) else { continue };
        let text = id.text();
        push_command(
            out,
            &[
                b"XCLAIM",
                key,
                name,
                consumer.name(),
                b"0",
                text.as_ref(),
                b"TIME",
                time.format(pending.delivered_ms).as_bytes(),
                b"RETRYCOUNT",
                count.format(pending.deliveries).as_bytes(),
                b"JUSTID",
                b"FORCE",
            ],
        );
    }
}
