//! The commands that rebuild a stream: entries one by one, the counters, then each group with its
//! consumers and what is pending for them.
//!
//! As in Redis, what is pending for an entry that was deleted is not rebuilt (XCLAIM takes only
//! entries that are there), nor when a consumer was last seen.

use crate::persist::aof::base::push_command;
use crate::value::StreamRef;
use crate::value::stream::{Consumer, Group, Stream, StreamId};

/// Appends the commands for one key.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], stream: StreamRef<'_>) {
    let stream = stream.stream();
    push_entries(out, key, stream);
    let log = stream.log();
    let mut digits = itoa::Buffer::new();
    let (last, deleted) = (log.last_id().text(), log.max_deleted_id().text());
    let added = digits.format(log.entries_added()).as_bytes();
    push_command(
        out,
        &[b"XSETID", key, last.as_ref(), b"ENTRIESADDED", added, b"MAXDELETEDID", deleted.as_ref()],
    );
    for (name, group) in stream.groups() {
        push_group(out, key, name, group);
    }
}

fn push_entries(out: &mut Vec<u8>, key: &[u8], stream: &Stream) {
    if stream.log().is_empty() {
        // The one way to make a stream without entries and without groups.
        push_command(out, &[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
        return;
    }
    // Fields and values one behind the other, and where each ends.
    let (mut texts, mut ends) = (Vec::new(), Vec::new());
    for entry in stream.log().range(StreamId::MIN, StreamId::MAX) {
        texts.clear();
        ends.clear();
        for (field, value) in entry.pairs() {
            for element in [field, value] {
                element.append_to(&mut texts);
                ends.push(texts.len());
            }
        }
        let id = entry.id.text();
        let mut args: Vec<&[u8]> = vec![b"XADD", key, id.as_ref()];
        let mut start = 0;
        for &end in &ends {
            args.push(&texts[start..end]);
            start = end;
        }
        push_command(out, &args);
    }
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
