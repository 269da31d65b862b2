//! Reading lists: LLEN, LRANGE, LINDEX, LPOS.

use crate::command::arg;
use crate::command::list::{ROW, clamp_range, from_head, put_element, write_range};
use crate::resp::{Args, Reply};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::list::{Direction, Needle};
use crate::value::{ListRef, ListValue};

const READ_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)];

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "llen",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RO)],
        summary: "Gives the number of elements of a list.",
        handler: llen,
        ..ROW
    },
    CommandSpec {
        name: "lrange",
        arity: 4,
        flags: flag::READONLY,
        keys: READ_KEY,
        complexity: "O(S+N) where S is the distance of the range from the nearer end and N its length.",
        summary: "Gives the elements of a range of a list.",
        handler: lrange,
        ..ROW
    },
    CommandSpec {
        name: "lindex",
        arity: 3,
        flags: flag::READONLY,
        keys: READ_KEY,
        complexity: "O(N) where N is the distance from the nearer end; O(1) for the first and the last element.",
        summary: "Gives the element at an index of a list.",
        handler: lindex,
        ..ROW
    },
    CommandSpec {
        name: "lpos",
        arity: -3,
        flags: flag::READONLY,
        keys: READ_KEY,
        since: "6.0.6",
        complexity: "O(N) where N is the number of elements looked at.",
        summary: "Gives the indexes at which a list holds an element.",
        handler: lpos,
        ..ROW
    },
];

fn llen(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let list = ctx.server.read_as::<ListValue>(ctx.db, args.at(1))?;
    ctx.out.integer(list.map_or(0, |list| list.len() as i64));
    Ok(())
}

fn lrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (start, stop) = (arg::integer(args.at(2))?, arg::integer(args.at(3))?);
    match ctx.server.read_as::<ListValue>(ctx.db, args.at(1))? {
        Some(list) => {
            write_range(ctx.out, list, clamp_range(start, stop, list.len()), Direction::Forward);
        }
        None => ctx.out.array(0),
    }
    Ok(())
}

fn lindex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Some(list) = ctx.server.read_as::<ListValue>(ctx.db, args.at(1))? else {
        ctx.out.null();
        return Ok(());
    };
    let index = arg::integer(args.at(2))?;
    match from_head(index, list.len()).and_then(|index| list.get(index)) {
        Some(picked) => put_element(ctx.out, picked.as_element()),
        None => ctx.out.null(),
    }
    Ok(())
}

/// The options of LPOS.
#[derive(Clone, Copy, Debug)]
struct PositionOptions {
    /// The match to begin with, from 1, counted in this direction.
    rank: u64,
    direction: Direction,
    /// Matches wanted, 0 for all; a single one, not in an array, when not given.
    count: Option<usize>,
    /// Elements looked at, at most.
    scanned_max: usize,
}

fn parse_position_options(args: Args<'_>) -> Result<PositionOptions, ReplyError> {
    let (mut rank, mut count, mut scanned_max) = (1i64, None, 0);
    let mut at = 3;
    while at < args.len() {
        let value = args.get(at + 1).ok_or(error::SYNTAX)?;
        match args.at(at) {
            word if arg::is(word, "rank") => rank = parse_rank(value)?,
            word if arg::is(word, "count") => count = Some(not_negative(value, "COUNT can't be negative")?),
            word if arg::is(word, "maxlen") => scanned_max = not_negative(value, "MAXLEN can't be negative")?,
            _ => return Err(error::SYNTAX),
        }
        at += 2;
    }
    let direction = if rank < 0 { Direction::Backward } else { Direction::Forward };
    let scanned_max = if scanned_max == 0 { usize::MAX } else { scanned_max };
    Ok(PositionOptions { rank: rank.unsigned_abs(), direction, count, scanned_max })
}

fn parse_rank(text: &[u8]) -> Result<i64, ReplyError> {
    match arg::integer_in(text, -i64::MAX, i64::MAX)? {
        0 => Err(ReplyError::fixed(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to \
             start from the end of the list",
        )),
        rank => Ok(rank),
    }
}

fn not_negative(text: &[u8], refusal: &'static str) -> Result<usize, ReplyError> {
    let value = arg::integer_or(text, ReplyError::err(refusal))?;
    usize::try_from(value).map_err(|_| ReplyError::err(refusal))
}

fn lpos(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = parse_position_options(args)?;
    match ctx.server.read_as::<ListValue>(ctx.db, args.at(1))? {
        Some(list) => write_positions(ctx.out, list, &Needle::new(args.at(2)), options),
        None if options.count.is_some() => ctx.out.array(0),
        None => ctx.out.null(),
    }
    Ok(())
}

fn write_positions(out: &mut Reply, list: ListRef<'_>, needle: &Needle<'_>, options: PositionOptions) {
    let len = list.len();
    let wanted = match options.count {
        None => 1,
        Some(0) => usize::MAX,
        Some(count) => count,
    };
    let mark = options.count.map(|_| out.begin_deferred());
    let (mut scanned, mut matches, mut written) = (0, 0, 0);
    let first = if options.direction == Direction::Forward { 0 } else { len - 1 };
    list.visit(first, options.scanned_max, options.direction, |element| {
        if needle.matches(element) {
            matches += 1;
            if matches >= options.rank {
                let index = if options.direction == Direction::Forward { scanned } else { len - scanned - 1 };
                out.integer(index as i64);
                written += 1;
            }
        }
        scanned += 1;
        written < wanted
    });
    match mark {
        Some(mark) => out.end_deferred_array(mark, written),
        None if written == 0 => out.null(),
        None => {}
    }
}
