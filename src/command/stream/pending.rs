//! XPENDING.

use crate::command::arg;
use crate::command::stream::{end_id, no_group, reply_id, start_id};
use crate::resp::{Args, Reply};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group as CommandGroup, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::StreamValue;
use crate::value::stream::{Group, Pending, StreamId};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "xpending",
    arity: -3,
    flags: flag::READONLY,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: CommandGroup::Stream,
    since: "5.0.0",
    complexity: "O(N) where N is the number of entries looked at; the summary: of consumers.",
    summary: "Tells what was delivered in a group and is not acknowledged.",
    tips: &["nondeterministic_output"],
    handler: xpending,
    ..CommandSpec::DEFAULT
}];

/// Which pending entries are asked for.
struct Range<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Range<'a> {
    /// Reads `[IDLE ms] start end count [consumer]`; `None`: only a summary is wanted.
    fn parse(args: Args<'a>) -> Result<Option<Self>, ReplyError> {
        match args.len() {
            3 => return Ok(None),
            6..=9 => {}
            _ => return Err(error::SYNTAX),
        }
        let mut at = 3;
        let mut min_idle_ms = 0;
        if arg::is(args.at(3), "idle") {
            min_idle_ms = arg::integer(args.at(4))?;
            if args.len() < 8 {
                return Err(error::SYNTAX);
            }
            at = 5;
        }
        let count = usize::try_from(arg::integer(args.at(at + 2))?).unwrap_or(0);
        let (start, end) = (start_id(args.at(at))?, end_id(args.at(at + 1))?);
        Ok(Some(Range { min_idle_ms, start, end, count, consumer: args.get(at + 3) }))
    }
}

fn xpending(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let range = Range::parse(args)?;
    let (now_ms, key, name) = (ctx.now_ms(), args.at(1), args.at(2));
    let stream = ctx.server.read_as::<StreamValue>(ctx.db, key)?;
    let group = stream.and_then(|stream| stream.stream().group(name));
    let group = group.ok_or_else(|| no_group(key, name, ""))?;
    match range {
        Some(range) => reply_range(ctx.out, group, &range, now_ms),
        None => reply_summary(ctx.out, group),
    }
    Ok(())
}

/// How many are pending, the first and the last one, and how many for each consumer.
fn reply_summary(out: &mut Reply, group: &Group) {
    let pending = group.pending();
    out.array(4);
    out.integer(pending.len() as i64);
    let (Some((first, _)), Some((last, _))) = (pending.first(), pending.last()) else {
        out.null();
        out.null();
        out.null_array();
        return;
    };
    reply_id(out, *first);
    reply_id(out, *last);
    let mark = out.begin_deferred();
    let mut consumers = 0;
    for consumer in group.consumers().filter(|consumer| !consumer.pending().is_empty()) {
        out.array(2);
        out.bulk(consumer.name());
        out.bulk_integer(consumer.pending().len() as i64);
        consumers += 1;
    }
    out.end_deferred_array(mark, consumers);
}

fn reply_range(out: &mut Reply, group: &Group, range: &Range<'_>, now_ms: i64) {
    let mark = out.begin_deferred();
    let mut given = 0;
    let mut reply = |id: StreamId, pending: &Pending| {
        let idle_ms = now_ms.wrapping_sub(pending.delivered_ms);
        if given < range.count && (range.min_idle_ms == 0 || idle_ms >= range.min_idle_ms) {
            out.array(4);
            reply_id(out, id);
            out.bulk(group.consumer_name(pending.consumer));
            out.integer(idle_ms.max(0));
            out.integer(pending.deliveries.cast_signed());
            given += 1;
        }
        given < range.count
    };
    match range.consumer {
        _ if range.count == 0 => {}
        Some(name) => {
            let consumer = group.find_consumer(name).and_then(|number| group.consumer(number));
            let ids = consumer.into_iter().flat_map(|consumer| consumer.pending().iter_from(&range.start));
            let mut ids = ids.map(|(id, ())| *id).take_while(|id| *id <= range.end);
            while ids
                .next()
                .is_some_and(|id| group.pending().get(&id).is_none_or(|pending| reply(id, pending)))
            {
            }
        }
        None => {
            let mut ids = group.pending().iter_from(&range.start).take_while(|(id, _)| **id <= range.end);
            while ids.next().is_some_and(|(id, pending)| reply(*id, pending)) {}
        }
    }
    out.end_deferred_array(mark, given);
}
