//! XCLAIM and XAUTOCLAIM: pending entries change their consumer.

use crate::command::arg;
use crate::command::stream::{
    Claimed, count_change, no_group, propagate_claim, propagate_group_id, reply_entry, reply_id, start_id,
    strict_id,
};
use crate::resp::{Args, Reply};
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group as CommandGroup, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::StreamValue;
use crate::value::stream::{ConsumerNumber, Group, Log, Pending, StreamId};

const ROW: CommandSpec = CommandSpec {
    arity: -6,
    flags: flag::WRITE | flag::FAST,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: CommandGroup::Stream,
    since: "5.0.0",
    tips: &["nondeterministic_output"],
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xclaim",
        complexity: "O(log N) for each id where N is the number of pending entries.",
        summary: "Gives pending entries of a group to another consumer.",
        handler: xclaim,
        ..ROW
    },
    CommandSpec {
        name: "xautoclaim",
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
        since: "6.2.0",
        complexity: "O(1) for a small COUNT.",
        summary: "Gives entries that have been pending for some time to another consumer.",
        handler: xautoclaim,
        ..ROW
    },
];

const IDLE_INVALID: ReplyError = ReplyError::fixed("ERR Invalid IDLE option argument for XCLAIM");
const TIME_INVALID: ReplyError = ReplyError::fixed("ERR Invalid TIME option argument for XCLAIM");
const RETRY_INVALID: ReplyError = ReplyError::fixed("ERR Invalid RETRYCOUNT option argument for XCLAIM");
const MIN_IDLE_INVALID: ReplyError = ReplyError::fixed("ERR Invalid min-idle-time argument for XCLAIM");
const MIN_IDLE_INVALID_AUTO: ReplyError =
    ReplyError::fixed("ERR Invalid min-idle-time argument for XAUTOCLAIM");
const COUNT_INVALID: ReplyError = ReplyError::fixed("ERR COUNT must be > 0");

/// Entries that XAUTOCLAIM claims without COUNT.
const AUTO_COUNT: u64 = 100;
/// Pending entries that XAUTOCLAIM looks at for each one it may claim.
const ATTEMPTS_FACTOR: u64 = 10;
/// Largest COUNT of XAUTOCLAIM: Redis keeps an id of 16 bytes for each.
const AUTO_COUNT_MAX: i64 = i64::MAX / 16;

/// What entries become when they are claimed.
struct Terms {
    min_idle_ms: i64,
    delivered_ms: i64,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
}

/// A claim under way.
struct Claim<'a> {
    log: &'a Log,
    group: &'a mut Group,
    consumer: ConsumerNumber,
    terms: &'a Terms,
    now_ms: i64,
    /// To be propagated, in order.
    changes: Vec<Claimed>,
}

/// What became of one id.
enum Outcome {
    Claimed,
    /// The entry is no longer in the stream: it is not pending any more.
    Gone,
    Untouched,
}

impl Claim<'_> {
    /// Claims one entry if the terms allow it, and writes it.
    fn claim(&mut self, out: &mut Reply, id: StreamId) -> Outcome {
        let before = self.group.pending().get(&id).copied();
        let Some(entry) = self.log.entry(id) else {
            let Some(before) = before else { return Outcome::Untouched };
            self.record(id, before);
            self.group.acknowledge(id);
            return Outcome::Gone;
        };
        let idle_long_enough = |before: Pending| {
            self.terms.min_idle_ms == 0
                || self.now_ms.wrapping_sub(before.delivered_ms) >= self.terms.min_idle_ms
        };
        let deliveries = match before {
            Some(before) if idle_long_enough(before) => before.deliveries,
            None if self.terms.force => 1,
            _ => return Outcome::Untouched,
        };
        let counted = deliveries.wrapping_add(u64::from(!self.terms.just_id));
        let deliveries = self.terms.deliveries.unwrap_or(counted);
        let pending = Pending { consumer: self.consumer, delivered_ms: self.terms.delivered_ms, deliveries };
        self.group.deliver(id, pending);
        if self.terms.just_id {
            reply_id(out, id)
        } else {
            reply_entry(out, &entry)
        }
        if let Some(consumer) = self.group.consumer_mut(self.consumer) {
            consumer.active_ms = self.now_ms;
        }
        self.record(id, pending);
        Outcome::Claimed
    }

    fn record(&mut self, id: StreamId, pending: Pending) {
        let other = pending.consumer != self.consumer;
        self.changes.push(Claimed {
            id,
            consumer: other.then(|| self.group.consumer_name(pending.consumer).to_vec()),
            delivered_ms: pending.delivered_ms,
            deliveries: pending.deliveries,
            last_id: self.group.last_id,
        });
    }
}

/// The consumer with this name, seen now; made if it is missing. Tells whether it was made.
fn see_consumer(group: &mut Group, name: &[u8], now_ms: i64) -> Option<(ConsumerNumber, bool)> {
    let existing = group.find_consumer(name);
    let consumer = existing.or_else(|| group.create_consumer(name, now_ms))?;
    group.consumer_mut(consumer)?.seen_ms = now_ms;
    Some((consumer, existing.is_none()))
}

/// Counts, announces and propagates what was claimed.
fn report(ctx: &mut Ctx<'_>, args: Args<'_>, created_consumer: bool, changes: &[Claimed]) {
    let (key, group, consumer) = (args.at(1), args.at(2), args.at(3));
    if created_consumer {
        count_change(ctx, 1);
        ctx.server.notify(NotifyFlags::STREAM, "xgroup-createconsumer", ctx.db, key);
    }
    count_change(ctx, changes.len());
    for change in changes {
        propagate_claim(ctx, key, group, consumer, change);
    }
}

/// Checks that the group is there, counting the look-up.
fn need_group(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (key, group) = (args.at(1), args.at(2));
    let stream = ctx.server.read_as::<StreamValue>(ctx.db, key)?;
    match stream.and_then(|stream| stream.stream().group(group)) {
        Some(_) => Ok(()),
        None => Err(no_group(key, group, "")),
    }
}

/// The arguments of XCLAIM.
struct ClaimRequest {
    ids: Vec<StreamId>,
    terms: Terms,
    last_id: StreamId,
}

impl ClaimRequest {
    fn parse(args: Args<'_>, now_ms: i64) -> Result<Self, ReplyError> {
        let min_idle_ms = arg::integer_or(args.at(4), MIN_IDLE_INVALID)?.max(0);
        let ids: Vec<StreamId> = args.iter().skip(5).map_while(|text| strict_id(text).ok()).collect();
        let terms =
            Terms { min_idle_ms, delivered_ms: now_ms, deliveries: None, force: false, just_id: false };
        let mut request = ClaimRequest { ids, terms, last_id: StreamId::MIN };
        let mut at = 5 + request.ids.len();
        while at < args.len() {
            at = request.parse_option(args, at, now_ms)?;
        }
        // A time to come is taken for a mistake of the client's clock.
        if !(0..=now_ms).contains(&request.terms.delivered_ms) {
            request.terms.delivered_ms = now_ms;
        }
        Ok(request)
    }

    fn parse_option(&mut self, args: Args<'_>, at: usize, now_ms: i64) -> Result<usize, ReplyError> {
        let word = args.at(at);
        if arg::is(word, "force") {
            self.terms.force = true;
            return Ok(at + 1);
        }
        if arg::is(word, "justid") {
            self.terms.just_id = true;
            return Ok(at + 1);
        }
        let value = args.get(at + 1);
        match (word, value) {
            (word, Some(value)) if arg::is(word, "idle") => {
                self.terms.delivered_ms = now_ms.wrapping_sub(arg::integer_or(value, IDLE_INVALID)?);
            }
            (word, Some(value)) if arg::is(word, "time") => {
                self.terms.delivered_ms = arg::integer_or(value, TIME_INVALID)?;
            }
            (word, Some(value)) if arg::is(word, "retrycount") => {
                self.terms.deliveries = u64::try_from(arg::integer_or(value, RETRY_INVALID)?).ok();
            }
            (word, Some(value)) if arg::is(word, "lastid") => self.last_id = strict_id(value)?,
            _ => return Err(ReplyError::err([b"Unrecognized XCLAIM option '", word, b"'"].concat())),
        }
        Ok(at + 2)
    }
}

fn xclaim(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    need_group(ctx, args)?;
    let now_ms = ctx.now_ms();
    let request = ClaimRequest::parse(args, now_ms)?;
    ctx.propagate_nothing();
    let mut stream = ctx.server.edit::<StreamValue>(ctx.db, args.at(1))?;
    let parts = stream.as_mut().and_then(|stream| stream.log_and_group_mut(args.at(2)));
    let Some((log, group)) = parts else { return Err(no_group(args.at(1), args.at(2), "")) };
    let moved = request.last_id > group.last_id;
    group.last_id = group.last_id.max(request.last_id);
    let Some((consumer, created)) = see_consumer(group, args.at(3), now_ms) else { return Ok(()) };
    let mut claim = Claim { log, group, consumer, terms: &request.terms, now_ms, changes: Vec::new() };
    let mark = ctx.out.begin_deferred();
    let mut claimed = 0;
    for &id in &request.ids {
        claimed += usize::from(matches!(claim.claim(ctx.out, id), Outcome::Claimed));
    }
    ctx.out.end_deferred_array(mark, claimed);
    let (changes, last_id, entries_read) = (claim.changes, group.last_id, group.entries_read);
    drop(stream);
    report(ctx, args, created, &changes);
    if moved && changes.is_empty() {
        // Else the XCLAIMs carry it.
        propagate_group_id(ctx, args.at(1), args.at(2), last_id, entries_read);
        count_change(ctx, 1);
    }
    Ok(())
}

/// The options of XAUTOCLAIM.
struct AutoRequest {
    start: StreamId,
    count: u64,
    terms: Terms,
}

impl AutoRequest {
    fn parse(args: Args<'_>, now_ms: i64) -> Result<Self, ReplyError> {
        let min_idle_ms = arg::integer_or(args.at(4), MIN_IDLE_INVALID_AUTO)?.max(0);
        let start = start_id(args.at(5))?;
        let terms =
            Terms { min_idle_ms, delivered_ms: now_ms, deliveries: None, force: false, just_id: false };
        let mut request = AutoRequest { start, count: AUTO_COUNT, terms };
        let mut at = 6;
        while at < args.len() {
            if arg::is(args.at(at), "count") && at + 1 < args.len() {
                let count = arg::integer_or(args.at(at + 1), COUNT_INVALID)?;
                if !(1..=AUTO_COUNT_MAX).contains(&count) {
                    return Err(COUNT_INVALID);
                }
                request.count = count.unsigned_abs();
                at += 1;
            } else if arg::is(args.at(at), "justid") {
                request.terms.just_id = true;
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        Ok(request)
    }
}

fn xautoclaim(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    let request = AutoRequest::parse(args, now_ms)?;
    need_group(ctx, args)?;
    ctx.propagate_nothing();
    let mut stream = ctx.server.edit::<StreamValue>(ctx.db, args.at(1))?;
    let parts = stream.as_mut().and_then(|stream| stream.log_and_group_mut(args.at(2)));
    let Some((log, group)) = parts else { return Err(no_group(args.at(1), args.at(2), "")) };
    let Some((consumer, created)) = see_consumer(group, args.at(3), now_ms) else { return Ok(()) };
    let mut claim = Claim { log, group, consumer, terms: &request.terms, now_ms, changes: Vec::new() };
    let mut entries = Reply::new(ctx.out.protocol);
    let (mut claimed, mut gone) = (0, Vec::new());
    let (mut next, mut left) = (Some(request.start), request.count);
    for _ in 0..request.count * ATTEMPTS_FACTOR {
        let Some(id) = next.filter(|_| left > 0).and_then(|next| first_pending(claim.group, next)) else {
            break;
        };
        match claim.claim(&mut entries, id) {
            Outcome::Claimed => claimed += 1,
            Outcome::Gone => gone.push(id),
            Outcome::Untouched => left += 1,
        }
        left -= 1;
        next = id.next();
    }
    let changes = claim.changes;
    let cursor = next.and_then(|next| first_pending(group, next)).unwrap_or(StreamId::MIN);
    drop(stream);
    ctx.out.array(3);
    reply_id(ctx.out, cursor);
    ctx.out.array(claimed);
    ctx.out.raw(&entries.buffer);
    ctx.out.array(gone.len());
    gone.into_iter().for_each(|id| reply_id(ctx.out, id));
    report(ctx, args, created, &changes);
    Ok(())
}

/// The first pending id from `start` on.
fn first_pending(group: &Group, start: StreamId) -> Option<StreamId> {
    group.pending().iter_from(&start).next().map(|(id, _)| *id)
}
