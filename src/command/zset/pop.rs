//! ZPOPMIN, ZPOPMAX, ZMPOP and their blocking forms.
//!
//! What goes to the log is always a ZPOPMIN or ZPOPMAX of one key with the number of members that
//! were there to pop.

use crate::blocking::{parse_deadline, wait_for_keys};
use crate::command::arg;
use crate::command::zset::{members_removed, put_element};
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::{ValueType, ZsetValue};

const KEY_FLAGS: u32 = key_flag::RW | key_flag::ACCESS | key_flag::DELETE;

const ROW: CommandSpec = CommandSpec {
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, KEY_FLAGS)],
    group: Group::SortedSet,
    since: "5.0.0",
    complexity: "O(log(N)*M), N being the size of the sorted set and M the number of members popped.",
    ..CommandSpec::DEFAULT
};

const BLOCKING_ROW: CommandSpec = CommandSpec {
    arity: -3,
    flags: flag::WRITE | flag::FAST | flag::BLOCKING,
    keys: &[KeySpec::range(1, -2, 1, KEY_FLAGS)],
    complexity: "O(log(N)), N being the size of the sorted set.",
    ..ROW
};

const MANY_ROW: CommandSpec = CommandSpec {
    since: "7.0.0",
    complexity: "O(K) + O(M*log(N)), K being the number of keys, N the size of the sorted set and M the number of members popped.",
    ..ROW
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zpopmin",
        summary: "Takes the members with the lowest scores out.",
        handler: zpopmin,
        ..ROW
    },
    CommandSpec {
        name: "zpopmax",
        summary: "Takes the members with the highest scores out.",
        handler: zpopmax,
        ..ROW
    },
    CommandSpec {
        name: "bzpopmin",
        summary: "Takes the member with the lowest score out of one of several sorted sets; waits for one.",
        handler: bzpopmin,
        ..BLOCKING_ROW
    },
    CommandSpec {
        name: "bzpopmax",
        summary: "Takes the member with the highest score out of one of several sorted sets; waits for one.",
        handler: bzpopmax,
        ..BLOCKING_ROW
    },
    CommandSpec {
        name: "zmpop",
        arity: -4,
        flags: flag::WRITE | flag::MOVABLEKEYS,
        keys: &[KeySpec::counted(1, KEY_FLAGS)],
        summary: "Takes members out of the first of several sorted sets that has some.",
        handler: zmpop,
        ..MANY_ROW
    },
    CommandSpec {
        name: "bzmpop",
        arity: -5,
        flags: flag::WRITE | flag::BLOCKING | flag::MOVABLEKEYS,
        keys: &[KeySpec::counted(2, KEY_FLAGS)],
        summary: "Takes members out of the first of several sorted sets that has some; waits for one.",
        handler: bzmpop,
        ..MANY_ROW
    },
];

const NUMKEYS: ReplyError = ReplyError::fixed("ERR numkeys should be greater than 0");
const COUNT: ReplyError = ReplyError::fixed("ERR count should be greater than 0");

/// How popped members are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Member, score, member, score ...
    Flat,
    /// A list of pairs.
    Pairs,
    /// The key, member, score.
    KeyFlat,
    /// The key and a list of pairs.
    KeyPairs,
}

fn zpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    pop_one_key(ctx, args, false)
}

fn zpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    pop_one_key(ctx, args, true)
}

fn pop_one_key(ctx: &mut Ctx<'_>, args: Args<'_>, last: bool) -> CommandResult {
    if args.len() > 3 {
        return Err(error::SYNTAX);
    }
    let count = args.get(2).map(arg::positive).transpose()?;
    let shape = if ctx.out.is_resp3() && count.is_some() { Shape::Pairs } else { Shape::Flat };
    if pop(ctx, args.at(1), last, count.unwrap_or(1) as usize, shape)?.is_none() {
        ctx.out.array(0);
    }
    Ok(())
}

/// Pops up to `count` members and answers them; how many. `None` when the key is not there.
fn pop(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    last: bool,
    count: usize,
    shape: Shape,
) -> Result<Option<usize>, ReplyError> {
    let Some(mut zset) = ctx.server.edit::<ZsetValue>(ctx.db, key)? else {
        return Ok(None);
    };
    let count = count.min(zset.len());
    if count == 0 {
        ctx.out.array(0);
        return Ok(Some(0));
    }
    let out = &mut *ctx.out;
    match shape {
        Shape::Flat => out.array(2 * count),
        Shape::Pairs => out.array(count),
        Shape::KeyFlat => {
            out.array(2 * count + 1);
            out.bulk(key);
        }
        Shape::KeyPairs => {
            out.array(2);
            out.bulk(key);
            out.array(count);
        }
    }
    for _ in 0..count {
        zset.pop(last, |score, member| {
            if matches!(shape, Shape::Pairs | Shape::KeyPairs) {
                out.array(2);
            }
            put_element(out, member);
            out.double(score);
        });
    }
    let emptied = zset.is_empty();
    drop(zset);
    members_removed(ctx, key, count, emptied, if last { "zpopmax" } else { "zpopmin" });
    Ok(Some(count))
}

/// Pops from the first key that is there; whether there was one.
fn pop_first<'a>(
    ctx: &mut Ctx<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
    last: bool,
    count: Option<usize>,
    shape: Shape,
) -> Result<bool, ReplyError> {
    for key in keys {
        let Some(popped) = pop(ctx, key, last, count.unwrap_or(1), shape)? else {
            continue;
        };
        let name: &[u8] = if last { b"ZPOPMAX" } else { b"ZPOPMIN" };
        match count {
            None => ctx.propagate_instead(&[name, key]),
            Some(_) => {
                let mut digits = itoa::Buffer::new();
                ctx.propagate_instead(&[name, key, digits.format(popped).as_bytes()]);
            }
        }
        return Ok(true);
    }
    Ok(false)
}

fn bzpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    pop_or_wait(ctx, args, false)
}

fn bzpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    pop_or_wait(ctx, args, true)
}

fn pop_or_wait(ctx: &mut Ctx<'_>, args: Args<'_>, last: bool) -> CommandResult {
    let deadline_ms = parse_deadline(ctx.server, args.at(args.len() - 1))?;
    let keys = || args.iter().skip(1).take(args.len() - 2);
    if !pop_first(ctx, keys(), last, None, Shape::KeyFlat)? {
        wait_for_keys(ctx, args, keys(), ValueType::Zset, deadline_ms);
    }
    Ok(())
}

/// What ZMPOP and BZMPOP are given behind the time-out.
struct Request<'a> {
    keys: Args<'a>,
    key_count: usize,
    last: bool,
    count: usize,
}

impl<'a> Request<'a> {
    /// `args` begins with the number of keys.
    fn parse(args: Args<'a>) -> Result<Self, ReplyError> {
        let key_count = arg::integer_or(args.at(0), NUMKEYS)?;
        let key_count = usize::try_from(key_count).ok().filter(|count| *count > 0).ok_or(NUMKEYS)?;
        let side_at = key_count.checked_add(1).filter(|at| *at < args.len()).ok_or(error::SYNTAX)?;
        let last = match args.at(side_at) {
            word if arg::is(word, "min") => false,
            word if arg::is(word, "max") => true,
            _ => return Err(error::SYNTAX),
        };
        let options = args.tail(side_at + 1);
        let count = match options.len() {
            0 => 1,
            _ if !arg::is(options.at(0), "count") || options.len() == 1 => return Err(error::SYNTAX),
            _ => arg::integer_or(options.at(1), COUNT)?,
        };
        let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(COUNT)?;
        if options.len() > 2 {
            return Err(error::SYNTAX);
        }
        Ok(Request { keys: args.tail(1), key_count, last, count })
    }

    fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.keys.iter().take(self.key_count)
    }
}

fn zmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse(args.tail(1))?;
    if !pop_first(ctx, request.keys(), request.last, Some(request.count), Shape::KeyPairs)? {
        ctx.out.null_array();
    }
    Ok(())
}

fn bzmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse(args.tail(2))?;
    let deadline_ms = parse_deadline(ctx.server, args.at(1))?;
    if !pop_first(ctx, request.keys(), request.last, Some(request.count), Shape::KeyPairs)? {
        wait_for_keys(ctx, args, request.keys(), ValueType::Zset, deadline_ms);
    }
    Ok(())
}
