//! XADD, XTRIM, XDEL, XLEN, XSETID: the log itself.

use crate::command::arg;
use crate::command::stream::{INVALID_ID, reply_id, signal_waiting, strict_id};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::StreamValue;
use crate::value::stream::{AppendError, BlockLimits, IdChoice, Log, StreamId, Trim, TrimTo};

const WRITE: CommandSpec = CommandSpec {
    flags: flag::WRITE | flag::FAST,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Stream,
    since: "5.0.0",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xadd",
        arity: -5,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        complexity: "O(1) for the entry, O(N) where N is the number of entries trimmed.",
        summary: "Appends an entry to a stream; makes the stream if it is missing.",
        tips: &["nondeterministic_output"],
        handler: xadd,
        ..WRITE
    },
    CommandSpec {
        name: "xtrim",
        arity: -4,
        flags: flag::WRITE,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
        complexity: "O(N) where N is the number of entries trimmed.",
        summary: "Deletes entries from the beginning of a stream.",
        tips: &["nondeterministic_output"],
        handler: xtrim,
        ..WRITE
    },
    CommandSpec {
        name: "xdel",
        arity: -3,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
        complexity: "O(1) for each entry.",
        summary: "Deletes entries of a stream and gives how many were there.",
        handler: xdel,
        ..WRITE
    },
    CommandSpec {
        name: "xlen",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RO)],
        summary: "Gives the number of entries of a stream.",
        handler: xlen,
        ..WRITE
    },
    CommandSpec {
        name: "xsetid",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        summary: "Sets the last id and the counters of a stream; for replication and the AOF.",
        handler: xsetid,
        ..WRITE
    },
];

const TWO_STRATEGIES: ReplyError =
    ReplyError::fixed("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
const MAXLEN_NEGATIVE: ReplyError = ReplyError::fixed("ERR The MAXLEN argument must be >= 0.");
const LIMIT_NEGATIVE: ReplyError = ReplyError::fixed("ERR The LIMIT argument must be >= 0.");
const LIMIT_ALONE: ReplyError =
    ReplyError::fixed("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
const TRIM_WITHOUT: ReplyError =
    ReplyError::fixed("ERR syntax error, XTRIM must be called with a trimming strategy");
const LIMIT_EXACT: ReplyError =
    ReplyError::fixed("ERR syntax error, LIMIT cannot be used without the special ~ option");
const ID_ZERO: ReplyError = ReplyError::fixed("ERR The ID specified in XADD must be greater than 0-0");
const ID_TOO_SMALL: ReplyError =
    ReplyError::fixed("ERR The ID specified in XADD is equal or smaller than the target stream top item");
const EXHAUSTED: ReplyError =
    ReplyError::fixed("ERR The stream has exhausted the last possible ID, unable to add more items");
const ENTRY_TOO_LARGE: ReplyError = ReplyError::fixed("ERR Elements are too large to be stored");

/// Blocks that a trim with `~` and without LIMIT looks at.
const APPROXIMATE_BLOCKS: i64 = 100;
/// Bounds of the limit that follows from it.
const APPROXIMATE_LIMIT_DEFAULT: i64 = 10_000;
const APPROXIMATE_LIMIT_MAX: i64 = 1_000_000;

/// The options of XADD and XTRIM.
#[derive(Default)]
struct Options {
    /// XADD: where the id stands, or would stand.
    id_at: usize,
    /// XADD: `None` for `*`, else milliseconds and the sequence number if it was given.
    id: Option<(u64, Option<u64>)>,
    no_make: bool,
    to: Option<TrimTo>,
    /// Where the count or id to trim to stands.
    to_at: usize,
    approximately: bool,
    limit: Option<i64>,
}

impl Options {
    fn parse(ctx: &Ctx<'_>, args: Args<'_>, adds: bool) -> Result<Self, ReplyError> {
        let mut options = Options::default();
        let mut at = 2;
        while at < args.len() {
            let (word, more) = (args.at(at), args.len() - 1 - at);
            if adds && word == b"*" {
                break;
            } else if arg::is(word, "maxlen") && more > 0 {
                at = options.parse_target(args, at, false)?;
            } else if arg::is(word, "minid") && more > 0 {
                at = options.parse_target(args, at, true)?;
            } else if arg::is(word, "limit") && more > 0 {
                at += 1;
                let limit = arg::integer(args.at(at))?;
                options.limit = Some(if limit < 0 { return Err(LIMIT_NEGATIVE) } else { limit });
            } else if adds && arg::is(word, "nomkstream") {
                options.no_make = true;
            } else if adds {
                options.id = Some(StreamId::parse_open(word).ok_or(INVALID_ID)?);
                break;
            } else {
                return Err(error::SYNTAX);
            }
            at += 1;
        }
        options.id_at = at;
        options.check(ctx, adds)?;
        Ok(options)
    }

    /// Reads `MAXLEN [~|=] n` or `MINID [~|=] id`; returns where it ends.
    fn parse_target(&mut self, args: Args<'_>, at: usize, by_id: bool) -> Result<usize, ReplyError> {
        if self.to.is_some() {
            return Err(TWO_STRATEGIES);
        }
        let mut at = at + 1;
        let sign = args.at(at);
        if at + 1 < args.len() && matches!(sign, b"~" | b"=") {
            self.approximately = sign == b"~";
            at += 1;
        }
        self.to_at = at;
        self.to = Some(if by_id {
            TrimTo::MinId(strict_id(args.at(at))?)
        } else {
            let most = arg::integer(args.at(at))?;
            TrimTo::MaxLen(u64::try_from(most).map_err(|_| MAXLEN_NEGATIVE)?)
        });
        Ok(at)
    }

    fn check(&mut self, ctx: &Ctx<'_>, adds: bool) -> Result<(), ReplyError> {
        if self.to.is_none() && self.limit.is_some_and(|limit| limit != 0) {
            return Err(LIMIT_ALONE);
        }
        if self.to.is_none() && !adds {
            return Err(TRIM_WITHOUT);
        }
        if ctx.caller.is_replicated() {
            // The log says exactly what is to be trimmed.
            self.limit = None;
        } else if self.limit.is_some() && !self.approximately {
            return Err(LIMIT_EXACT);
        } else if self.approximately && self.limit.is_none() {
            let entries = i64::try_from(ctx.server.config.stream_node_max_entries).unwrap_or(i64::MAX);
            self.limit = Some(match entries.saturating_mul(APPROXIMATE_BLOCKS) {
                0 => APPROXIMATE_LIMIT_DEFAULT,
                limit => limit.min(APPROXIMATE_LIMIT_MAX),
            });
        }
        Ok(())
    }

    fn trim(&self) -> Option<Trim> {
        let limit = self.limit.unwrap_or(0).unsigned_abs();
        self.to.map(|to| Trim { to, approximately: self.approximately, limit })
    }

    /// What a trim with `~` did, as an argument of a trim that is exact.
    fn exact_target(&self, log: &Log) -> Option<Vec<u8>> {
        let to = self.to.filter(|_| self.approximately)?;
        Some(match to {
            TrimTo::MaxLen(_) => log.len().to_string().into_bytes(),
            TrimTo::MinId(_) => log.first_stored_id().to_string().into_bytes(),
        })
    }
}

/// What XADD did.
struct Added {
    id: StreamId,
    trimmed: u64,
    exact_target: Option<Vec<u8>>,
}

fn xadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = Options::parse(ctx, args, true)?;
    let fields_at = options.id_at + 1;
    if args.len() < fields_at + 2 || !(args.len() - fields_at).is_multiple_of(2) {
        return Err(error::wrong_arity(&ctx.command_name()));
    }
    if options.id == Some((0, Some(0))) {
        return Err(ID_ZERO);
    }
    let (db, key) = (ctx.db, args.at(1));
    let Some(added) = add_entry(ctx, args, &options)? else {
        ctx.out.null();
        return Ok(());
    };
    reply_id(ctx.out, added.id);
    ctx.server.key_changed(db, key);
    ctx.server.notify(NotifyFlags::STREAM, "xadd", db, key);
    if added.trimmed > 0 {
        ctx.server.notify(NotifyFlags::STREAM, "xtrim", db, key);
    }
    let id_is_given = matches!(options.id, Some((_, Some(_))));
    if !id_is_given || added.exact_target.is_some() {
        propagate_exactly(ctx, args, &options, Some(added.id), added.exact_target.as_deref());
    }
    signal_waiting(ctx, key);
    Ok(())
}

/// Appends and trims; `None`: the stream is missing and not to be made.
fn add_entry(ctx: &mut Ctx<'_>, args: Args<'_>, options: &Options) -> Result<Option<Added>, ReplyError> {
    let (db, key) = (ctx.db, args.at(1));
    let config = &ctx.server.config;
    let limits = BlockLimits { bytes: config.stream_node_max_bytes, entries: config.stream_node_max_entries };
    let choice = match options.id {
        None => IdChoice::Auto { now_ms: ctx.now_ms().unsigned_abs() },
        Some((ms, None)) => IdChoice::AutoSequence { ms },
        Some((ms, Some(seq))) => IdChoice::Given(StreamId { ms, seq }),
    };
    let mut stream = if options.no_make {
        match ctx.server.edit::<StreamValue>(db, key)? {
            Some(stream) => stream,
            None => return Ok(None),
        }
    } else {
        ctx.server.edit_or_create(db, key, StreamValue::new)?
    };
    if stream.log().last_id() == StreamId::MAX {
        return Err(EXHAUSTED);
    }
    let fields = args.tail(options.id_at + 1);
    let pairs = (0..fields.len() / 2).map(|pair| (fields.at(2 * pair), fields.at(2 * pair + 1)));
    let id = stream.log_mut().append(choice, pairs, limits).map_err(|failure| match failure {
        AppendError::IdTooSmall => ID_TOO_SMALL,
        AppendError::TooLarge => ENTRY_TOO_LARGE,
    })?;
    let trimmed = options.trim().map_or(0, |trim| stream.log_mut().trim(&trim));
    Ok(Some(Added { id, trimmed, exact_target: options.exact_target(stream.log()) }))
}

/// The command goes to the log with the id that was made and what `~` came to.
fn propagate_exactly(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    options: &Options,
    id: Option<StreamId>,
    target: Option<&[u8]>,
) {
    if !ctx.server.propagation.wanted {
        return ctx.propagate_nothing();
    }
    let mut parts: Vec<&[u8]> = args.iter().collect();
    let text = id.map(StreamId::text);
    if let Some(text) = &text {
        parts[options.id_at] = text.as_ref();
    }
    if let Some(target) = target {
        parts[options.to_at - 1] = b"=";
        parts[options.to_at] = target;
    }
    ctx.propagate_instead(&parts);
}

fn xtrim(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = Options::parse(ctx, args, false)?;
    let (db, key) = (ctx.db, args.at(1));
    let mut trimmed = 0;
    let mut exact_target = None;
    if let Some(mut stream) = ctx.server.edit::<StreamValue>(db, key)? {
        trimmed = options.trim().map_or(0, |trim| stream.log_mut().trim(&trim));
        exact_target = options.exact_target(stream.log());
    }
    if trimmed > 0 {
        ctx.server.notify(NotifyFlags::STREAM, "xtrim", db, key);
        if exact_target.is_some() {
            propagate_exactly(ctx, args, &options, None, exact_target.as_deref());
        }
        ctx.server.touch_watchers(db, key);
        ctx.server.persistence.dirty += trimmed;
    }
    ctx.out.integer(trimmed.cast_signed());
    Ok(())
}

fn xdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, key) = (ctx.db, args.at(1));
    let Some(mut stream) = ctx.server.edit::<StreamValue>(db, key)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let ids: Vec<StreamId> = args.iter().skip(2).map(strict_id).collect::<Result<_, _>>()?;
    let deleted = stream.log_mut().delete(&ids);
    drop(stream);
    if deleted > 0 {
        ctx.server.touch_watchers(db, key);
        ctx.server.notify(NotifyFlags::STREAM, "xdel", db, key);
        ctx.server.persistence.dirty += deleted as u64;
    }
    ctx.out.integer(deleted as i64);
    Ok(())
}

fn xlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let stream = ctx.server.read_as::<StreamValue>(ctx.db, args.at(1))?;
    ctx.out.integer(stream.map_or(0, |stream| stream.len()) as i64);
    Ok(())
}

/// The options of XSETID.
#[derive(Default)]
struct NewNumbers {
    entries_added: Option<u64>,
    max_deleted_id: Option<StreamId>,
}

impl NewNumbers {
    fn parse(args: Args<'_>, id: StreamId) -> Result<Self, ReplyError> {
        const ADDED_NEGATIVE: ReplyError = ReplyError::fixed("ERR entries_added must be positive");
        const BELOW_GIVEN: ReplyError = ReplyError::fixed(
            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        );
        let mut numbers = NewNumbers::default();
        for at in (3..args.len()).step_by(2) {
            let value = args.get(at + 1).ok_or(error::SYNTAX)?;
            if arg::is(args.at(at), "entriesadded") {
                let added = u64::try_from(arg::integer(value)?).map_err(|_| ADDED_NEGATIVE)?;
                numbers.entries_added = Some(added);
            } else if arg::is(args.at(at), "maxdeletedid") {
                let deleted = strict_id(value)?;
                if id < deleted {
                    return Err(BELOW_GIVEN);
                }
                numbers.max_deleted_id = Some(deleted).filter(|deleted| *deleted != StreamId::MIN);
            } else {
                return Err(error::SYNTAX);
            }
        }
        Ok(numbers)
    }
}

fn xsetid(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    const BELOW_DELETED: ReplyError =
        ReplyError::fixed("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id");
    const BELOW_TOP: ReplyError =
        ReplyError::fixed("ERR The ID specified in XSETID is smaller than the target stream top item");
    const BELOW_LENGTH: ReplyError = ReplyError::fixed(
        "ERR The entries_added specified in XSETID is smaller than the target stream length",
    );
    let (db, key) = (ctx.db, args.at(1));
    let id = strict_id(args.at(2))?;
    let numbers = NewNumbers::parse(args, id)?;
    let mut stream = ctx.server.edit::<StreamValue>(db, key)?.ok_or(error::NO_SUCH_KEY)?;
    let log = stream.log();
    if id < log.max_deleted_id() {
        return Err(BELOW_DELETED);
    }
    if !log.is_empty() {
        if log.last_live_id().is_some_and(|last| id < last) {
            return Err(BELOW_TOP);
        }
        if numbers.entries_added.is_some_and(|added| log.len() > added) {
            return Err(BELOW_LENGTH);
        }
    }
    stream.set_id(id, numbers.entries_added, numbers.max_deleted_id);
    drop(stream);
    ctx.out.ok();
    ctx.server.persistence.dirty += 1;
    ctx.server.notify(NotifyFlags::STREAM, "xsetid", db, key);
    Ok(())
}
