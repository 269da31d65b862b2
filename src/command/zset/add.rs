//! ZADD and ZINCRBY.

use crate::base::numbers::parse_f64;
use crate::command::arg;
use crate::command::zset::{LOOK_AHEAD_MEMBERS, LOOK_AHEAD_MIN, limits};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::ZsetValue;
use crate::value::zset::{Change, ZsetLimits};

const ROW: CommandSpec = CommandSpec {
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::SORTEDSET,
    group: Group::SortedSet,
    since: "1.2.0",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zadd",
        arity: -4,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
        complexity: "O(log(N)) for each member, N being the size of the sorted set.",
        summary: "Adds members to a sorted set, or changes their scores.",
        handler: zadd,
        ..ROW
    },
    CommandSpec {
        name: "zincrby",
        arity: 4,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
        complexity: "O(log(N)), N being the size of the sorted set.",
        summary: "Adds to the score of a member; a missing one counts as 0.",
        handler: zincrby,
        ..ROW
    },
];

const NX_AND_XX: ReplyError = ReplyError::fixed("ERR XX and NX options at the same time are not compatible");
const GT_LT_NX: ReplyError =
    ReplyError::fixed("ERR GT, LT, and/or NX options at the same time are not compatible");
const INCR_PAIRS: ReplyError = ReplyError::fixed("ERR INCR option supports a single increment-element pair");

/// Scores that are parsed without an allocation.
const SCORES_INLINE: usize = 16;

/// Options of ZADD.
#[derive(Clone, Copy, Default)]
struct Options {
    only_new: bool,
    only_present: bool,
    greater: bool,
    less: bool,
    count_changed: bool,
    increment: bool,
}

impl Options {
    /// Reads options up to the first score; gives where that stands.
    fn parse(args: Args<'_>, mut options: Options) -> (Options, usize) {
        let mut index = 2;
        while index < args.len() {
            let place = match args.at(index) {
                word if arg::is(word, "nx") => &mut options.only_new,
                word if arg::is(word, "xx") => &mut options.only_present,
                word if arg::is(word, "ch") => &mut options.count_changed,
                word if arg::is(word, "incr") => &mut options.increment,
                word if arg::is(word, "gt") => &mut options.greater,
                word if arg::is(word, "lt") => &mut options.less,
                _ => break,
            };
            *place = true;
            index += 1;
        }
        (options, index)
    }

    fn check(&self, pairs: usize) -> CommandResult {
        if self.only_new && self.only_present {
            return Err(NX_AND_XX);
        }
        if (self.greater && self.only_new) || (self.less && (self.only_new || self.greater)) {
            return Err(GT_LT_NX);
        }
        if self.increment && pairs > 1 {
            return Err(INCR_PAIRS);
        }
        Ok(())
    }

    /// The score that a member gets; `None` leaves it as it is.
    #[inline]
    fn decide(&self, given: f64, now: Option<f64>) -> Result<Option<f64>, ReplyError> {
        let Some(now) = now else {
            return Ok((!self.only_present).then_some(given));
        };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increment { now + given } else { given };
        if score.is_nan() {
            return Err(error::NAN_SCORE);
        }
        let stays = (self.less && score >= now) || (self.greater && score <= now);
        Ok((!stays).then_some(score))
    }
}

/// What became of the members.
#[derive(Clone, Copy, Default)]
struct Outcome {
    added: usize,
    updated: usize,
    /// The score of the last member that was not left alone.
    score: Option<f64>,
}

impl Outcome {
    fn count(&mut self, change: Change) {
        match change {
            Change::None => return,
            Change::Added(_) => self.added += 1,
            Change::Updated(before, after) => self.updated += usize::from(before != after),
        }
        self.score = match change {
            Change::Added(score) | Change::Updated(_, score) => Some(score),
            Change::None => None,
        };
    }
}

pub(crate) fn zadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    add(ctx, args, Options::default())
}

fn zincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    add(ctx, args, Options { increment: true, ..Options::default() })
}

fn add(ctx: &mut Ctx<'_>, args: Args<'_>, options: Options) -> CommandResult {
    let (options, first) = Options::parse(args, options);
    let pairs = args.tail(first);
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(error::SYNTAX);
    }
    let count = pairs.len() / 2;
    options.check(count)?;
    let (mut inline, mut many) = ([0.0; SCORES_INLINE], Vec::new());
    let scores = if count <= SCORES_INLINE {
        &mut inline[..count]
    } else {
        many.resize(count, 0.0);
        &mut many[..]
    };
    for (index, score) in scores.iter_mut().enumerate() {
        *score = parse_f64(pairs.at(2 * index)).ok_or(error::NOT_FLOAT)?;
    }
    let outcome = add_pairs(ctx, args.at(1), options, pairs, scores)?;
    report(ctx, args.at(1), options, outcome);
    Ok(())
}

fn add_pairs(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    options: Options,
    pairs: Args<'_>,
    scores: &[f64],
) -> Result<Outcome, ReplyError> {
    let limits = limits(ctx.server);
    let mut zset = if options.only_present {
        let Some(zset) = ctx.server.edit::<ZsetValue>(ctx.db, key)? else {
            return Ok(Outcome::default());
        };
        zset
    } else {
        let make = || ZsetValue::with_hint(scores.len(), pairs.at(1).len(), &limits);
        ctx.server.edit_or_create(ctx.db, key, make)?
    };
    zset.expect(scores.len(), &limits);
    let mut outcome = Outcome::default();
    for start in (0..scores.len()).step_by(LOOK_AHEAD_MEMBERS) {
        let end = scores.len().min(start + LOOK_AHEAD_MEMBERS);
        if end - start >= LOOK_AHEAD_MIN {
            zset.as_ref().prefetch((start..end).map(|index| pairs.at(2 * index + 1)));
        }
        for (index, score) in scores.iter().enumerate().take(end).skip(start) {
            outcome.count(add_one(&mut zset, &limits, options, *score, pairs.at(2 * index + 1))?);
        }
    }
    Ok(outcome)
}

#[inline]
fn add_one(
    zset: &mut ZsetValue,
    limits: &ZsetLimits,
    options: Options,
    score: f64,
    member: &[u8],
) -> Result<Change, ReplyError> {
    zset.upsert(member, limits, |now| options.decide(score, now))
}

fn report(ctx: &mut Ctx<'_>, key: &[u8], options: Options, outcome: Outcome) {
    let changed = outcome.added + outcome.updated;
    if !options.increment {
        ctx.out.integer(if options.count_changed { changed } else { outcome.added } as i64);
    } else if let Some(score) = outcome.score {
        ctx.out.double(score);
    } else {
        ctx.out.null();
    }
    if changed > 0 {
        let (server, db) = (&mut *ctx.server, ctx.db);
        server.key_changed_by(db, key, changed);
        server.notify(NotifyFlags::ZSET, if options.increment { "zincr" } else { "zadd" }, db, key);
    }
}
