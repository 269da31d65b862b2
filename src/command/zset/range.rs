//! ZRANGE and its older forms, and ZRANGESTORE.

use std::ops::Range;

use crate::base::numbers::parse_f64;
use crate::command::arg;
use crate::command::zset::{READ_ROW, begin_members, limits, put_entry, store_result};
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::set::with_text;
use crate::value::zset::{MemberBound, MemberRange, ScoreRange};
use crate::value::{ZsetRef, ZsetValue};

const COMPLEXITY: &str = "O(log(N)+M), N being the size of the sorted set and M the number of members given.";

const ROW: CommandSpec = CommandSpec { complexity: COMPLEXITY, since: "2.8.9", ..READ_ROW };

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zrange",
        since: "1.2.0",
        summary: "Gives members by place, by score or by string.",
        handler: zrange,
        ..ROW
    },
    CommandSpec {
        name: "zrevrange",
        since: "1.2.0",
        summary: "Gives members by place, the highest score first.",
        handler: zrevrange,
        ..ROW
    },
    CommandSpec {
        name: "zrangebyscore",
        since: "1.0.5",
        summary: "Gives the members with scores in a range.",
        handler: zrangebyscore,
        ..ROW
    },
    CommandSpec {
        name: "zrevrangebyscore",
        since: "2.2.0",
        summary: "Gives the members with scores in a range, the highest first.",
        handler: zrevrangebyscore,
        ..ROW
    },
    CommandSpec {
        name: "zrangebylex",
        summary: "Gives the members in a range of strings.",
        handler: zrangebylex,
        ..ROW
    },
    CommandSpec {
        name: "zrevrangebylex",
        summary: "Gives the members in a range of strings, the last first.",
        handler: zrevrangebylex,
        ..ROW
    },
    CommandSpec {
        name: "zrangestore",
        arity: -5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[
            KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
            KeySpec::one(2, key_flag::RO | key_flag::ACCESS),
        ],
        since: "6.2.0",
        summary: "Stores a range of members of a sorted set in another key.",
        handler: zrangestore,
        ..ROW
    },
];

const NOT_A_SCORE: ReplyError = ReplyError::fixed("ERR min or max is not a float");
const NOT_A_STRING: ReplyError = ReplyError::fixed("ERR min or max not valid string range item");
const LIMIT_BY_RANK: ReplyError = ReplyError::fixed(
    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
);
const SCORES_BY_LEX: ReplyError =
    ReplyError::fixed("ERR syntax error, WITHSCORES not supported in combination with BYLEX");

/// A range of scores as ZRANGEBYSCORE takes it: `1`, `(1`, `-inf`.
pub(super) fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, ReplyError> {
    let (Some((min, min_excluded)), Some((max, max_excluded))) = (score_bound(min), score_bound(max)) else {
        return Err(NOT_A_SCORE);
    };
    Ok(ScoreRange::new(min, min_excluded, max, max_excluded))
}

fn score_bound(text: &[u8]) -> Option<(f64, bool)> {
    match text {
        [b'(', rest @ ..] => Some((lenient_number(rest)?, true)),
        _ => Some((lenient_number(text)?, false)),
    }
}

/// A number as C's `strtod` reads it: nothing at all is 0, blanks may stand in front, what is too
/// large becomes infinite.
fn lenient_number(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let text = text.trim_ascii_start();
    let overflowing = || std::str::from_utf8(text).ok()?.parse().ok().filter(|value: &f64| !value.is_nan());
    parse_f64(text).or_else(overflowing)
}

/// A range of strings as ZRANGEBYLEX takes it: `[a`, `(a`, `-`, `+`.
pub(super) fn member_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<MemberRange<'a>, ReplyError> {
    let bound = |text: &'a [u8], before_own: u8| match text {
        b"-" => Ok(MemberBound::First),
        b"+" => Ok(MemberBound::Last),
        [kind @ (b'(' | b'['), rest @ ..] if *kind == before_own => Ok(MemberBound::Before(rest)),
        [b'(' | b'[', rest @ ..] => Ok(MemberBound::After(rest)),
        _ => Err(NOT_A_STRING),
    };
    Ok(MemberRange { start: bound(min, b'[')?, end: bound(max, b'(')? })
}

/// By what members are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Member,
}

/// What the command's name says already.
#[derive(Clone, Copy, Default)]
struct Fixed {
    by: Option<By>,
    reverse: Option<bool>,
    store: bool,
}

/// The options of a range command.
struct Options {
    by: By,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    limit: i64,
}

impl Options {
    fn parse(words: Args<'_>, fixed: Fixed) -> Result<Options, ReplyError> {
        let (mut by, mut reverse) = (fixed.by, fixed.reverse);
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut index = 0;
        while index < words.len() {
            let word = words.at(index);
            if !fixed.store && arg::is(word, "withscores") {
                with_scores = true;
            } else if arg::is(word, "limit") && index + 2 < words.len() {
                offset = arg::integer(words.at(index + 1))?;
                limit = arg::integer(words.at(index + 2))?;
                index += 2;
            } else if fixed.reverse.is_none() && arg::is(word, "rev") && reverse.is_none() {
                reverse = Some(true);
            } else if by.is_none() && arg::is(word, "bylex") {
                by = Some(By::Member);
            } else if by.is_none() && arg::is(word, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(error::SYNTAX);
            }
            index += 1;
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        Options { by, reverse, with_scores, offset, limit }.checked()
    }

    fn checked(self) -> Result<Options, ReplyError> {
        if self.limit != -1 && self.by == By::Rank {
            return Err(LIMIT_BY_RANK);
        }
        if self.with_scores && self.by == By::Member {
            return Err(SCORES_BY_LEX);
        }
        Ok(self)
    }

    /// Cuts a run of ranks by LIMIT.
    fn cut(&self, ranks: Range<usize>) -> Range<usize> {
        let Ok(offset) = usize::try_from(self.offset) else {
            return 0..0;
        };
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if offset >= ranks.len() {
            return 0..0;
        }
        let len = (ranks.len() - offset).min(limit);
        if self.reverse {
            let end = ranks.end - offset;
            end - len..end
        } else {
            let start = ranks.start + offset;
            start..start + len
        }
    }
}

/// The range that was asked for.
enum Wanted<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(MemberRange<'a>),
}

impl<'a> Wanted<'a> {
    /// Reads the two ends, which stand the other way round in a reverse range of values.
    fn parse(first: &'a [u8], second: &'a [u8], options: &Options) -> Result<Self, ReplyError> {
        let (min, max) = if options.reverse { (second, first) } else { (first, second) };
        Ok(match options.by {
            By::Rank => Wanted::Ranks(arg::integer(first)?, arg::integer(second)?),
            By::Score => Wanted::Scores(score_range(min, max)?),
            By::Member => Wanted::Members(member_range(min, max)?),
        })
    }

    fn ranks(&self, zset: ZsetRef<'_>, options: &Options) -> Range<usize> {
        match self {
            Wanted::Ranks(start, stop) => ranks_between(*start, *stop, zset.len(), options.reverse),
            Wanted::Scores(range) => options.cut(zset.score_ranks(range)),
            Wanted::Members(range) => options.cut(zset.member_ranks(range)),
        }
    }
}

/// The ranks from `start` to `stop`, both included and negative from the end; counted from the
/// other side when `reverse`.
pub(super) fn ranks_between(start: i64, stop: i64, len: usize, reverse: bool) -> Range<usize> {
    let signed = len as i64;
    let from_end = |index: i64| if index < 0 { signed.saturating_add(index) } else { index };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(signed - 1));
    if start > stop {
        return 0..0;
    }
    let ranks = start as usize..stop as usize + 1;
    if reverse { len - ranks.end..len - ranks.start } else { ranks }
}

fn zrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_range(ctx, args, Fixed::default())
}

fn zrevrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_range(ctx, args, Fixed { by: Some(By::Rank), reverse: Some(true), store: false })
}

fn zrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_range(ctx, args, Fixed { by: Some(By::Score), reverse: Some(false), store: false })
}

fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_range(ctx, args, Fixed { by: Some(By::Score), reverse: Some(true), store: false })
}

fn zrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_range(ctx, args, Fixed { by: Some(By::Member), reverse: Some(false), store: false })
}

fn zrevrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_range(ctx, args, Fixed { by: Some(By::Member), reverse: Some(true), store: false })
}

fn reply_range(ctx: &mut Ctx<'_>, args: Args<'_>, fixed: Fixed) -> CommandResult {
    let options = Options::parse(args.tail(4), fixed)?;
    let wanted = Wanted::parse(args.at(2), args.at(3), &options)?;
    let Some(zset) = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(1))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let ranks = wanted.ranks(zset, &options);
    begin_members(ctx.out, ranks.len(), options.with_scores);
    for (score, member) in zset.range(ranks.start, ranks.end, options.reverse) {
        put_entry(ctx.out, score, member, options.with_scores);
    }
    Ok(())
}

fn zrangestore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let fixed = Fixed { store: true, ..Fixed::default() };
    let options = Options::parse(args.tail(5), fixed)?;
    let wanted = Wanted::parse(args.at(3), args.at(4), &options)?;
    let limits = limits(ctx.server);
    let mut result = ZsetValue::new();
    if let Some(zset) = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(2))? {
        let ranks = wanted.ranks(zset, &options);
        result = ZsetValue::with_hint(ranks.len(), 0, &limits);
        for (score, member) in zset.range(ranks.start, ranks.end, false) {
            let _ = with_text(member, |text| result.insert(score, text, &limits));
        }
    }
    store_result(ctx, args.at(1), result, "zrangestore");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{member_range, ranks_between, score_range};
    use crate::value::zset::{MemberBound, ScoreBound};

    #[test]
    fn bounds_are_read_as_redis_does() {
        let bound = |score, after| ScoreBound { score, after };
        let range = score_range(b"(1.5", b"+inf").expect("valid");
        assert_eq!((range.start, range.end), (bound(1.5, true), bound(f64::INFINITY, true)));
        let range = score_range(b"", b"( 7").expect("valid");
        assert_eq!((range.start, range.end), (bound(0.0, false), bound(7.0, false)));
        assert_eq!(score_range(b"1e400", b"1").expect("valid").start, bound(f64::INFINITY, false));
        for bad in [&b"x"[..], b"nan", b"(nan", b"1 ", b"((1", b" "] {
            assert!(score_range(bad, b"1").is_err() && score_range(b"1", bad).is_err(), "{bad:?}");
        }
        let range = member_range(b"[a", b"(b").expect("valid");
        assert_eq!((range.start, range.end), (MemberBound::Before(b"a"), MemberBound::Before(b"b")));
        let range = member_range(b"(a", b"[b").expect("valid");
        assert_eq!((range.start, range.end), (MemberBound::After(b"a"), MemberBound::After(b"b")));
        let range = member_range(b"+", b"-").expect("valid");
        assert_eq!((range.start, range.end), (MemberBound::Last, MemberBound::First));
        for bad in [&b"a"[..], b"", b"-a", b"++"] {
            assert!(member_range(bad, b"+").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ranks_from_both_sides() {
        assert_eq!(ranks_between(0, -1, 5, false), 0..5);
        assert_eq!(ranks_between(1, 2, 5, true), 2..4);
        assert_eq!(ranks_between(-2, 100, 5, false), 3..5);
        for (start, stop) in [(5, 9), (3, 1), (0, -6), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
            assert_eq!(ranks_between(start, stop, 5, false), 0..0);
        }
        assert_eq!(ranks_between(i64::MIN, i64::MAX, 5, true), 0..5);
    }
}
