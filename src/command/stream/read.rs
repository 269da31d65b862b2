//! XREAD and XREADGROUP.
//!
//! ```text
//!  options ─► for each key: stream, group, from where ─► what is there, written at once
//!                                                     └► nothing: wait for the keys, or null
//! ```
//! A client that waits keeps its command with `$` replaced by the id it stood for.

use crate::blocking;
use crate::command::arg;
use crate::command::stream::{
    Claimed, count_change, no_group, propagate_claim, propagate_group_id, reply_entries, reply_entry,
    reply_id, strict_id,
};
use crate::resp::{Args, OwnedArgs, Reply};
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{BeginSearch, FindKeys, Group as CommandGroup, KeySpec, category, flag, key_flag};
use crate::server::{Caller, CommandSpec, Ctx};
use crate::value::StreamValue;
use crate::value::stream::{ConsumerNumber, Group, Log, Pending, StreamId};

const fn keys_from(index: i32) -> KeySpec {
    KeySpec {
        begin: BeginSearch::Keyword("STREAMS", index),
        find: FindKeys::Range { last: -1, step: 1, limit: 2 },
        flags: key_flag::RO | key_flag::ACCESS,
    }
}

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xread",
        arity: -4,
        flags: flag::READONLY | flag::BLOCKING,
        categories: category::STREAM,
        keys: &[keys_from(1)],
        group: CommandGroup::Stream,
        since: "5.0.0",
        complexity: "O(N) where N is the number of entries given.",
        summary: "Gives the entries of streams behind given ids; may wait for them.",
        handler: xread,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xreadgroup",
        arity: -7,
        flags: flag::WRITE | flag::BLOCKING,
        categories: category::STREAM,
        keys: &[keys_from(4)],
        group: CommandGroup::Stream,
        since: "5.0.0",
        complexity: "O(N) where N is the number of entries given.",
        summary: "Gives a group's consumer entries that nobody in the group has got yet, or those pending for it.",
        handler: xreadgroup,
        ..CommandSpec::DEFAULT
    },
];

const GROUP_IN_XREAD: ReplyError =
    ReplyError::fixed("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
const NOACK_IN_XREAD: ReplyError =
    ReplyError::fixed("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
const GROUP_MISSING: ReplyError = ReplyError::fixed("ERR Missing GROUP option for XREADGROUP");
const DOLLAR_IN_GROUP: ReplyError = ReplyError::fixed(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
     specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
);
const NEW_IN_XREAD: ReplyError = ReplyError::fixed(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);

/// The options in front of the keys.
struct Request<'a> {
    args: Args<'a>,
    /// XREADGROUP: group and consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    /// The most entries of each stream, 0: all.
    count: usize,
    /// Milliseconds to wait, 0: for ever.
    block_ms: Option<u64>,
    keys_at: usize,
    streams: usize,
}

impl<'a> Request<'a> {
    fn parse(ctx: &Ctx<'_>, args: Args<'a>, in_group: bool) -> Result<Self, ReplyError> {
        let mut request =
            Request { args, group: None, no_ack: false, count: 0, block_ms: None, keys_at: 0, streams: 0 };
        let mut at = 1;
        while at < args.len() && request.keys_at == 0 {
            at = request.parse_option(ctx, at, in_group)?;
        }
        if request.keys_at == 0 {
            return Err(error::SYNTAX);
        }
        if in_group && request.group.is_none() {
            return Err(GROUP_MISSING);
        }
        Ok(request)
    }

    /// Reads the option at `at`; returns where the next one stands.
    fn parse_option(&mut self, ctx: &Ctx<'_>, at: usize, in_group: bool) -> Result<usize, ReplyError> {
        let args = self.args;
        let (word, more) = (args.at(at), args.len() - 1 - at);
        if arg::is(word, "block") && more > 0 {
            if ctx.caller == Caller::Script {
                let text = [args.at(0), b" command is not allowed with BLOCK option from scripts"].concat();
                return Err(ReplyError::err(text));
            }
            self.block_ms = Some(timeout_ms(args.at(at + 1))?);
            Ok(at + 2)
        } else if arg::is(word, "count") && more > 0 {
            self.count = usize::try_from(arg::integer(args.at(at + 1))?).unwrap_or(0);
            Ok(at + 2)
        } else if arg::is(word, "streams") && more > 0 {
            self.keys_at = at + 1;
            self.streams = more / 2;
            if more.is_multiple_of(2) { Ok(at + 1) } else { Err(unbalanced(ctx, in_group)) }
        } else if arg::is(word, "group") && more > 1 {
            self.group = Some((args.at(at + 1), args.at(at + 2)));
            if in_group { Ok(at + 3) } else { Err(GROUP_IN_XREAD) }
        } else if arg::is(word, "noack") {
            self.no_ack = true;
            if in_group { Ok(at + 1) } else { Err(NOACK_IN_XREAD) }
        } else {
            Err(error::SYNTAX)
        }
    }

    fn key(&self, index: usize) -> &'a [u8] {
        self.args.at(self.keys_at + index)
    }

    fn id_text(&self, index: usize) -> &'a [u8] {
        self.args.at(self.keys_at + self.streams + index)
    }
}

fn unbalanced(ctx: &Ctx<'_>, in_group: bool) -> ReplyError {
    let (name, symbol) = (ctx.command_name(), if in_group { '>' } else { '$' });
    ReplyError::err(format!(
        "Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be specified."
    ))
}

fn timeout_ms(text: &[u8]) -> Result<u64, ReplyError> {
    let timeout_ms = arg::integer_or(text, error::TIMEOUT_NOT_INTEGER)?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| error::TIMEOUT_NEGATIVE)?;
    // Added to the clock; Redis refuses what would not fit.
    const TIMEOUT_MAX_MS: u64 = i64::MAX as u64 - (1 << 43);
    if timeout_ms > TIMEOUT_MAX_MS { Err(error::TIMEOUT_OUT_OF_RANGE) } else { Ok(timeout_ms) }
}

/// From where a stream is read.
#[derive(Clone, Copy)]
enum From {
    /// Behind this id; in a group: what is pending for the consumer.
    Behind(StreamId),
    /// In a group: what nobody has got yet.
    New,
}

fn xread(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse(ctx, args, false)?;
    let mut from = Vec::with_capacity(request.streams);
    for index in 0..request.streams {
        let stream = ctx.server.read_as::<StreamValue>(ctx.db, request.key(index))?;
        from.push(match request.id_text(index) {
            b"$" => stream.map_or(StreamId::MIN, |stream| stream.stream().log().last_id()),
            b">" => return Err(NEW_IN_XREAD),
            text => strict_id(text)?,
        });
    }
    let mark = ctx.out.begin_deferred();
    let mut served = 0;
    for (index, id) in from.iter().enumerate() {
        let key = request.key(index);
        let Some(stream) = ctx.server.read_as::<StreamValue>(ctx.db, key)? else { continue };
        let log = stream.stream().log();
        let Some(start) = id.next().filter(|_| log.last_live_id().is_some_and(|last| last > *id)) else {
            continue;
        };
        begin_stream(ctx.out, key);
        reply_entries(ctx.out, log.range(start, StreamId::MAX), request.count);
        served += 1;
    }
    if served > 0 {
        ctx.out.end_deferred_map_of_pairs(mark, served);
        return Ok(());
    }
    let kept = |index: usize| Some(from[index]).filter(|_| request.id_text(index) == b"$");
    wait(ctx, &request, kept);
    Ok(())
}

/// A stream's part of the reply begins: a pair in RESP2, a map's entry in RESP3.
fn begin_stream(out: &mut Reply, key: &[u8]) {
    if !out.is_resp3() {
        out.array(2);
    }
    out.bulk(key);
}

/// Nothing was there: the client waits if it wants to. `replaced` gives the id to keep for `$`.
fn wait(ctx: &mut Ctx<'_>, request: &Request<'_>, replaced: impl Fn(usize) -> Option<StreamId>) {
    let Some(block_ms) = request.block_ms else {
        ctx.out.null_array();
        return;
    };
    let ids_at = request.keys_at + request.streams;
    let mut args: Vec<Vec<u8>> = request.args.iter().map(<[u8]>::to_vec).collect();
    for index in 0..request.streams {
        if let Some(id) = replaced(index) {
            args[ids_at + index] = id.to_string().into_bytes();
        }
    }
    let owned = OwnedArgs::from_slices(args.iter().map(Vec::as_slice));
    let now_ms = ctx.server.clock.monotonic_ms();
    let deadline_ms = (block_ms > 0).then(|| now_ms + block_ms);
    let keys = (0..request.streams).map(|index| request.key(index));
    let also_when_gone = request.group.is_some();
    blocking::wait_for_streams(ctx, owned.as_args(), keys, deadline_ms, also_when_gone);
}

fn xreadgroup(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    // What is to be propagated is said below.
    ctx.propagate_nothing();
    let request = Request::parse(ctx, args, true)?;
    let (group, consumer) = request.group.ok_or(GROUP_MISSING)?;
    let mut from = Vec::with_capacity(request.streams);
    for index in 0..request.streams {
        let key = request.key(index);
        let stream = ctx.server.read_as::<StreamValue>(ctx.db, key)?;
        if stream.is_none_or(|stream| stream.stream().group(group).is_none()) {
            return Err(no_group(key, group, " in XREADGROUP with GROUP option"));
        }
        from.push(match request.id_text(index) {
            b"$" => return Err(DOLLAR_IN_GROUP),
            b">" => From::New,
            text => match strict_id(text)? {
                StreamId::MAX => From::New,
                id => From::Behind(id),
            },
        });
    }
    let mark = ctx.out.begin_deferred();
    let mut served = 0;
    for (index, from) in from.into_iter().enumerate() {
        let key = request.key(index);
        let reading = read_in_group(ctx, &request, key, group, consumer, from)?;
        served += usize::from(reading.served);
        propagate_reading(ctx, key, group, consumer, request.no_ack, reading);
    }
    if served > 0 {
        ctx.out.end_deferred_map_of_pairs(mark, served);
    } else {
        wait(ctx, &request, |_| None);
    }
    Ok(())
}

/// What reading one stream in a group changed.
#[derive(Default)]
struct Reading {
    served: bool,
    created_consumer: bool,
    claimed: Vec<Claimed>,
    /// With NOACK: the group's new last id and its count of entries read.
    group_id: Option<(StreamId, i64)>,
}

fn read_in_group(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    key: &[u8],
    group_name: &[u8],
    consumer_name: &[u8],
    from: From,
) -> Result<Reading, ReplyError> {
    let (db, now_ms, record) = (ctx.db, ctx.now_ms(), ctx.server.propagation.wanted);
    let mut reading = Reading::default();
    let Some(mut stream) = ctx.server.edit::<StreamValue>(db, key)? else { return Ok(reading) };
    let Some((log, group)) = stream.log_and_group_mut(group_name) else { return Ok(reading) };
    let existing = group.find_consumer(consumer_name);
    let Some(consumer) = existing.or_else(|| group.create_consumer(consumer_name, now_ms)) else {
        return Ok(reading);
    };
    reading.created_consumer = existing.is_none();
    if let Some(consumer) = group.consumer_mut(consumer) {
        consumer.seen_ms = now_ms;
    }
    match from {
        From::Behind(id) => {
            reading.served = true;
            begin_stream(ctx.out, key);
            reply_history(ctx.out, log, group, consumer, id, request.count, now_ms);
        }
        From::New if log.last_live_id().is_some_and(|last| last > group.last_id) => {
            reading.served = true;
            begin_stream(ctx.out, key);
            let mut delivery = Delivery { log, group, consumer, now_ms, no_ack: request.no_ack, record };
            delivery.reply(ctx.out, request.count, &mut reading);
        }
        From::New => {}
    }
    Ok(reading)
}

/// Writes what is pending for a consumer behind `id`; it counts as delivered once more.
fn reply_history(
    out: &mut Reply,
    log: &Log,
    group: &mut Group,
    consumer: ConsumerNumber,
    id: StreamId,
    count: usize,
    now_ms: i64,
) {
    let most = if count == 0 { usize::MAX } else { count };
    let pending = id.next().and_then(|start| {
        let consumer = group.consumer(consumer)?;
        Some(consumer.pending().iter_from(&start).take(most).map(|(id, ())| *id).collect::<Vec<_>>())
    });
    let pending = pending.unwrap_or_default();
    out.array(pending.len());
    for id in pending {
        if let Some(entry) = log.entry(id) {
            reply_entry(out, &entry);
            group.redeliver(id, now_ms);
        } else {
            // It was deleted from the stream before it was acknowledged.
            out.array(2);
            reply_id(out, id);
            out.null_array();
        }
    }
}

/// Giving new entries to a consumer.
struct Delivery<'a> {
    log: &'a Log,
    group: &'a mut Group,
    consumer: ConsumerNumber,
    now_ms: i64,
    no_ack: bool,
    /// Somebody wants to know what was delivered.
    record: bool,
}

impl Delivery<'_> {
    fn reply(&mut self, out: &mut Reply, count: usize, reading: &mut Reading) {
        let mark = out.begin_deferred();
        let mut given = 0;
        let log = self.log;
        let most = if count == 0 { usize::MAX } else { count };
        let start = self.group.last_id.next().unwrap_or(StreamId::MAX);
        for entry in log.range(start, StreamId::MAX).take(most) {
            log.note_read(self.group, entry.id);
            reply_entry(out, &entry);
            given += 1;
            if !self.no_ack {
                self.deliver(entry.id, reading);
            }
        }
        out.end_deferred_array(mark, given);
        if self.no_ack && given > 0 {
            reading.group_id = Some((self.group.last_id, self.group.entries_read));
        }
    }

    fn deliver(&mut self, id: StreamId, reading: &mut Reading) {
        let pending = Pending { consumer: self.consumer, delivered_ms: self.now_ms, deliveries: 1 };
        self.group.deliver(id, pending);
        if let Some(consumer) = self.group.consumer_mut(self.consumer) {
            consumer.active_ms = self.now_ms;
        }
        if self.record {
            reading.claimed.push(Claimed {
                id,
                consumer: None,
                delivered_ms: self.now_ms,
                deliveries: 1,
                last_id: self.group.last_id,
            });
        }
    }
}

/// Counts, announces and propagates what reading in a group changed.
fn propagate_reading(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    no_ack: bool,
    reading: Reading,
) {
    if reading.created_consumer {
        count_change(ctx, 1);
        ctx.server.notify(NotifyFlags::STREAM, "xgroup-createconsumer", ctx.db, key);
        if no_ack {
            ctx.propagate_instead(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
        }
    }
    count_change(ctx, usize::from(reading.served));
    for claimed in &reading.claimed {
        propagate_claim(ctx, key, group, consumer, claimed);
    }
    if let Some((last_id, entries_read)) = reading.group_id {
        propagate_group_id(ctx, key, group, last_id, entries_read);
    }
}
