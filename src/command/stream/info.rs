//! XINFO.

use crate::command::stream::{no_group_of_key, reply_entries, reply_entry, reply_id};
use crate::command::{arg, help};
use crate::resp::{Args, Reply};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group as CommandGroup, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::StreamValue;
use crate::value::stream::group::NEVER_ACTIVE;
use crate::value::stream::{Consumer, ENTRIES_READ_UNKNOWN, Group, Stream, StreamId};

const ROW: CommandSpec = CommandSpec {
    flags: flag::READONLY,
    categories: category::STREAM,
    keys: &[KeySpec::one(2, key_flag::RO | key_flag::ACCESS)],
    group: CommandGroup::Stream,
    since: "5.0.0",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "xinfo",
    arity: -2,
    group: CommandGroup::Stream,
    since: "5.0.0",
    complexity: "That of the subcommand.",
    summary: "Commands that describe streams, groups and consumers.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::DEFAULT
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "consumers",
        arity: 4,
        summary: "Describes the consumers of a group.",
        tips: &["nondeterministic_output"],
        handler: consumers,
        ..ROW
    },
    CommandSpec {
        name: "groups",
        arity: 3,
        summary: "Describes the groups of a stream.",
        handler: groups,
        ..ROW
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        keys: &[],
        summary: "Explains the subcommands.",
        handler: help,
        ..ROW
    },
    CommandSpec { name: "stream", arity: -3, summary: "Describes a stream.", handler: stream, ..ROW },
];

/// Entries and pending entries that FULL shows without COUNT.
const FULL_COUNT: usize = 10;
/// Blocks up to which the nodes of Redis's radix tree are counted; above, two a block are said.
const NODES_COUNTED_BLOCKS_MAX: usize = 1 << 14;

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    help::write(
        ctx.out,
        "XINFO",
        &[
            "CONSUMERS <key> <groupname>",
            "    Show consumers of <groupname>.",
            "GROUPS <key>",
            "    Show the stream consumer groups.",
            "STREAM <key> [FULL [COUNT <count>]",
            "    Show information about the stream.",
        ],
    );
    Ok(())
}

fn consumers(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (now_ms, key, name) = (ctx.now_ms(), args.at(2), args.at(3));
    let stream = ctx.server.read_as::<StreamValue>(ctx.db, key)?.ok_or(error::NO_SUCH_KEY)?;
    let group = stream.stream().group(name).ok_or_else(|| no_group_of_key(key, name))?;
    ctx.out.array(group.consumer_count());
    for consumer in group.consumers() {
        let inactive_ms = match consumer.active_ms {
            NEVER_ACTIVE => NEVER_ACTIVE,
            active_ms => now_ms.wrapping_sub(active_ms),
        };
        ctx.out.map(4);
        ctx.out.bulk_str("name");
        ctx.out.bulk(consumer.name());
        field(ctx.out, "pending", consumer.pending().len() as i64);
        field(ctx.out, "idle", now_ms.wrapping_sub(consumer.seen_ms).max(0));
        field(ctx.out, "inactive", inactive_ms);
    }
    Ok(())
}

fn groups(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let stream = ctx.server.read_as::<StreamValue>(ctx.db, args.at(2))?.ok_or(error::NO_SUCH_KEY)?.stream();
    ctx.out.array(stream.group_count());
    for (name, group) in stream.groups() {
        ctx.out.map(6);
        ctx.out.bulk_str("name");
        ctx.out.bulk(name);
        field(ctx.out, "consumers", group.consumer_count() as i64);
        field(ctx.out, "pending", group.pending().len() as i64);
        reply_progress(ctx.out, stream, group);
    }
    Ok(())
}

fn field(out: &mut Reply, name: &str, value: i64) {
    out.bulk_str(name);
    out.integer(value);
}

/// How far a group has come: three fields.
fn reply_progress(out: &mut Reply, stream: &Stream, group: &Group) {
    out.bulk_str("last-delivered-id");
    reply_id(out, group.last_id);
    out.bulk_str("entries-read");
    match group.entries_read {
        ENTRIES_READ_UNKNOWN => out.null(),
        read => out.integer(read),
    }
    out.bulk_str("lag");
    match stream.lag(group) {
        Some(lag) => out.integer(lag),
        None => out.null(),
    }
}

/// `FULL [COUNT n]`: how much to show; `None` without FULL.
fn parse_full(args: Args<'_>) -> Result<Option<usize>, ReplyError> {
    let wrong = || error::wrong_subcommand_syntax(args.at(1), "xinfo");
    if args.len() == 3 {
        return Ok(None);
    }
    if !matches!(args.len(), 4 | 6) || !arg::is(args.at(3), "full") {
        return Err(wrong());
    }
    match args.get(4) {
        None => Ok(Some(FULL_COUNT)),
        Some(word) if arg::is(word, "count") => {
            Ok(Some(usize::try_from(arg::integer(args.at(5))?).unwrap_or(FULL_COUNT)))
        }
        Some(_) => Err(wrong()),
    }
}

fn stream(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let stream = ctx.server.read_as::<StreamValue>(ctx.db, args.at(2))?.ok_or(error::NO_SUCH_KEY)?.stream();
    let full = parse_full(args)?;
    let (log, out) = (stream.log(), &mut *ctx.out);
    out.map(if full.is_some() { 9 } else { 10 });
    field(out, "length", log.len().cast_signed());
    field(out, "radix-tree-keys", log.blocks().len() as i64);
    field(out, "radix-tree-nodes", radix_tree_nodes(stream) as i64);
    out.bulk_str("last-generated-id");
    reply_id(out, log.last_id());
    out.bulk_str("max-deleted-entry-id");
    reply_id(out, log.max_deleted_id());
    field(out, "entries-added", log.entries_added().cast_signed());
    out.bulk_str("recorded-first-entry-id");
    reply_id(out, log.first_id());
    match full {
        Some(count) => reply_full(out, stream, count),
        None => reply_edges(out, stream),
    }
    Ok(())
}

fn reply_edges(out: &mut Reply, stream: &Stream) {
    let log = stream.log();
    field(out, "groups", stream.group_count() as i64);
    let first = log.range(StreamId::MIN, StreamId::MAX).next();
    let last = log.range_back(StreamId::MIN, StreamId::MAX).next();
    for (name, entry) in [("first-entry", first), ("last-entry", last)] {
        out.bulk_str(name);
        match entry {
            Some(entry) => reply_entry(out, &entry),
            None => out.null(),
        }
    }
}

fn reply_full(out: &mut Reply, stream: &Stream, count: usize) {
    let most = if count == 0 { usize::MAX } else { count };
    out.bulk_str("entries");
    reply_entries(out, stream.log().range(StreamId::MIN, StreamId::MAX), count);
    out.bulk_str("groups");
    out.array(stream.group_count());
    for (name, group) in stream.groups() {
        out.map(7);
        out.bulk_str("name");
        out.bulk(name);
        reply_progress(out, stream, group);
        field(out, "pel-count", group.pending().len() as i64);
        out.bulk_str("pending");
        out.array(group.pending().len().min(most));
        for (id, pending) in group.pending().iter().take(most) {
            out.array(4);
            reply_id(out, *id);
            out.bulk(group.consumer_name(pending.consumer));
            out.integer(pending.delivered_ms);
            out.integer(pending.deliveries.cast_signed());
        }
        out.bulk_str("consumers");
        out.array(group.consumer_count());
        for consumer in group.consumers() {
            reply_full_consumer(out, group, consumer, most);
        }
    }
}

fn reply_full_consumer(out: &mut Reply, group: &Group, consumer: &Consumer, most: usize) {
    out.map(5);
    out.bulk_str("name");
    out.bulk(consumer.name());
    field(out, "seen-time", consumer.seen_ms);
    field(out, "active-time", consumer.active_ms);
    field(out, "pel-count", consumer.pending().len() as i64);
    out.bulk_str("pending");
    out.array(consumer.pending().len().min(most));
    for (id, ()) in consumer.pending().iter().take(most) {
        let pending = group.pending().get(id);
        out.array(3);
        reply_id(out, *id);
        out.integer(pending.map_or(0, |pending| pending.delivered_ms));
        out.integer(pending.map_or(0, |pending| pending.deliveries.cast_signed()));
    }
}

/// The nodes that Redis's radix tree has for the keys of the blocks: a node for each run of bytes
/// without a branch, for each branch, for each key.
fn radix_tree_nodes(stream: &Stream) -> usize {
    fn below(keys: &[[u8; 16]], depth: usize) -> usize {
        let [first, .., last] = keys else { return usize::from(depth < 16) + 1 };
        let shared = first.iter().zip(last).take_while(|(first, last)| first == last).count();
        let children = keys.chunk_by(|left, right| left[shared] == right[shared]);
        usize::from(shared > depth) + 1 + children.map(|child| below(child, shared + 1)).sum::<usize>()
    }
    let blocks = stream.log().blocks();
    match blocks.len() {
        0 => 1,
        count if count > NODES_COUNTED_BLOCKS_MAX => 2 * count,
        _ => below(&blocks.iter().map(|(key, _)| key.to_bytes()).collect::<Vec<_>>(), 0),
    }
}
