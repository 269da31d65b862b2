//! Both ends of lists: pushes, pops, and pops that wait for an element.

use crate::blocking;
use crate::command::arg;
use crate::command::list::{
    ROW, changed, limits, pop_event, push_event, put_element, removed, side_of, write_range,
};
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::{Args, Reply};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::list::{Direction, Side};
use crate::value::{ListValue, ValueType};

const PUSH_KEY: &[KeySpec] = &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)];
const POPS: u32 = key_flag::RW | key_flag::ACCESS | key_flag::DELETE;

const PUSH: CommandSpec = CommandSpec {
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: PUSH_KEY,
    complexity: "O(1) for each element.",
    ..ROW
};

const POP: CommandSpec = CommandSpec {
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    keys: &[KeySpec::one(1, POPS)],
    complexity: "O(N) where N is the number of elements taken.",
    ..ROW
};

const BLOCKING_POP: CommandSpec = CommandSpec {
    arity: -3,
    flags: flag::WRITE | flag::BLOCKING,
    keys: &[KeySpec::range(1, -2, 1, POPS)],
    since: "2.0.0",
    complexity: "O(N) where N is the number of keys.",
    ..ROW
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec { name: "lpush", summary: "Adds elements to the head of a list.", handler: lpush, ..PUSH },
    CommandSpec { name: "rpush", summary: "Adds elements to the tail of a list.", handler: rpush, ..PUSH },
    CommandSpec {
        name: "lpushx",
        since: "2.2.0",
        summary: "Adds elements to the head of a list that exists.",
        handler: lpushx,
        ..PUSH
    },
    CommandSpec {
        name: "rpushx",
        since: "2.2.0",
        summary: "Adds elements to the tail of a list that exists.",
        handler: rpushx,
        ..PUSH
    },
    CommandSpec { name: "lpop", summary: "Takes the first elements of a list.", handler: lpop, ..POP },
    CommandSpec { name: "rpop", summary: "Takes the last elements of a list.", handler: rpop, ..POP },
    CommandSpec {
        name: "lmpop",
        arity: -4,
        flags: flag::WRITE | flag::MOVABLEKEYS,
        keys: &[KeySpec::counted(1, POPS)],
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of keys and M the number of elements taken.",
        summary: "Takes elements from the first list that is not empty.",
        handler: lmpop,
        ..ROW
    },
    CommandSpec {
        name: "blpop",
        summary: "Takes the first element of the first list that is not empty, waiting for one.",
        handler: blpop,
        ..BLOCKING_POP
    },
    CommandSpec {
        name: "brpop",
        summary: "Takes the last element of the first list that is not empty, waiting for one.",
        handler: brpop,
        ..BLOCKING_POP
    },
    CommandSpec {
        name: "blmpop",
        arity: -5,
        flags: flag::WRITE | flag::BLOCKING | flag::MOVABLEKEYS,
        keys: &[KeySpec::counted(2, POPS)],
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of keys and M the number of elements taken.",
        summary: "Takes elements from the first list that is not empty, waiting for one.",
        handler: blmpop,
        ..ROW
    },
];

fn lpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    push(ctx, args, Side::Before, false)
}

fn rpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    push(ctx, args, Side::After, false)
}

fn lpushx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    push(ctx, args, Side::Before, true)
}

fn rpushx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    push(ctx, args, Side::After, true)
}

#[inline]
fn push(ctx: &mut Ctx<'_>, args: Args<'_>, side: Side, existing_only: bool) -> CommandResult {
    let (db, key, elements) = (ctx.db, args.at(1), args.tail(2));
    let limits = limits(ctx.server);
    let bytes = elements.iter().map(<[u8]>::len).sum();
    let add = |list: &mut ListValue| {
        list.grow_for(bytes, elements.len(), limits);
        elements.iter().for_each(|element| list.push(side, element));
        list.len()
    };
    let found = ctx.server.edit::<ListValue>(db, key)?.map(|mut list| add(&mut list));
    let len = match found {
        Some(len) => len,
        None if existing_only => {
            ctx.out.integer(0);
            return Ok(());
        }
        None => {
            let mut list = ListValue::new();
            let len = add(&mut list);
            ctx.server.set_key(db, key, NewValue::Owned(list.into()), ExpiryChange::Clear);
            len
        }
    };
    ctx.out.integer(len as i64);
    changed(ctx, key, elements.len(), push_event(side));
    Ok(())
}

/// Takes one element after `before` was written; whether there was one.
#[inline]
fn pop_one(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    side: Side,
    before: impl FnOnce(&mut Reply),
) -> Result<bool, ReplyError> {
    let limits = limits(ctx.server);
    let Some(mut list) = ctx.server.edit::<ListValue>(ctx.db, key)? else { return Ok(false) };
    before(ctx.out);
    let out = &mut *ctx.out;
    list.pop_with(side, |element| put_element(out, element));
    list.shrink(limits);
    let emptied = list.is_empty();
    drop(list);
    removed(ctx, key, 1, pop_event(side), emptied);
    Ok(true)
}

/// Takes up to `count` elements after `before` was written, as an array. Gives how many; 0 for a
/// missing key, for which nothing is written.
fn pop_many(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    side: Side,
    count: usize,
    before: impl FnOnce(&mut Reply),
) -> Result<usize, ReplyError> {
    let limits = limits(ctx.server);
    let Some(mut list) = ctx.server.edit::<ListValue>(ctx.db, key)? else { return Ok(0) };
    before(ctx.out);
    let len = list.len();
    let taken = count.min(len);
    let (range, direction) = match side {
        Side::Before => (0..taken, Direction::Forward),
        Side::After => (len - taken..len, Direction::Backward),
    };
    write_range(ctx.out, list.as_ref(), range.clone(), direction);
    list.delete_range(range.start, taken);
    list.shrink(limits);
    drop(list);
    removed(ctx, key, taken, pop_event(side), taken == len);
    Ok(taken)
}

fn lpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    pop(ctx, args, Side::Before)
}

fn rpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    pop(ctx, args, Side::After)
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, side: Side) -> CommandResult {
    let key = args.at(1);
    if args.len() == 2 {
        if !pop_one(ctx, key, side, |_| ())? {
            ctx.out.null();
        }
        return Ok(());
    }
    if args.len() > 3 {
        return Err(error::wrong_arity(pop_event(side)));
    }
    let count = arg::integer_or(args.at(2), error::MUST_BE_POSITIVE)?;
    let count = usize::try_from(count).map_err(|_| error::MUST_BE_POSITIVE)?;
    if count == 0 {
        match ctx.server.find_as::<ListValue>(ctx.db, key)? {
            Some(_) => ctx.out.array(0),
            None => ctx.out.null_array(),
        }
    } else if pop_many(ctx, key, side, count, |_| ())? == 0 {
        ctx.out.null_array();
    }
    Ok(())
}

/// What LMPOP and BLMPOP take, and from where.
struct ManyPop<'a> {
    keys: Args<'a>,
    side: Side,
    count: usize,
}

/// Reads `numkeys key [key ...] LEFT|RIGHT [COUNT count]`.
fn parse_many_pop(args: Args<'_>) -> Result<ManyPop<'_>, ReplyError> {
    let positive = |text: &[u8], refusal: &'static str| {
        let value = arg::integer_or(text, ReplyError::err(refusal))?;
        usize::try_from(value).ok().filter(|value| *value > 0).ok_or_else(|| ReplyError::err(refusal))
    };
    let keys = positive(args.at(0), "numkeys should be greater than 0")?;
    let options = keys.saturating_add(1);
    let side = side_of(args.get(options).ok_or(error::SYNTAX)?)?;
    let count = match args.len() - options {
        1 => 1,
        3 if arg::is(args.at(options + 1), "count") => {
            positive(args.at(options + 2), "count should be greater than 0")?
        }
        // A bad count is told before what stands behind it.
        4.. if arg::is(args.at(options + 1), "count") => {
            positive(args.at(options + 2), "count should be greater than 0")?;
            return Err(error::SYNTAX);
        }
        _ => return Err(error::SYNTAX),
    };
    Ok(ManyPop { keys: args.between(1, options), side, count })
}

/// Takes from the first list that is not empty; whether there is one.
fn pop_from_any(ctx: &mut Ctx<'_>, wanted: &ManyPop<'_>) -> Result<bool, ReplyError> {
    for key in wanted.keys.iter() {
        let taken = pop_many(ctx, key, wanted.side, wanted.count, |out| {
            out.array(2);
            out.bulk(key);
        })?;
        if taken > 0 {
            let verb: &[u8] = if wanted.side == Side::Before { b"LPOP" } else { b"RPOP" };
            ctx.propagate_instead(&[verb, key, itoa::Buffer::new().format(taken).as_bytes()]);
            return Ok(true);
        }
    }
    Ok(false)
}

fn lmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let wanted = parse_many_pop(args.tail(1))?;
    if !pop_from_any(ctx, &wanted)? {
        ctx.out.null_array();
    }
    Ok(())
}

fn blmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let wanted = parse_many_pop(args.tail(2))?;
    let deadline_ms = blocking::parse_deadline(ctx.server, args.at(1))?;
    if !pop_from_any(ctx, &wanted)? {
        blocking::wait_for_keys(ctx, args, wanted.keys.iter(), ValueType::List, deadline_ms);
    }
    Ok(())
}

fn blpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    blocking_pop(ctx, args, Side::Before)
}

fn brpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    blocking_pop(ctx, args, Side::After)
}

fn blocking_pop(ctx: &mut Ctx<'_>, args: Args<'_>, side: Side) -> CommandResult {
    let last = args.len() - 1;
    let deadline_ms = blocking::parse_deadline(ctx.server, args.at(last))?;
    let keys = args.between(1, last);
    for key in keys.iter() {
        let popped = pop_one(ctx, key, side, |out| {
            out.array(2);
            out.bulk(key);
        })?;
        if popped {
            let verb: &[u8] = if side == Side::Before { b"LPOP" } else { b"RPOP" };
            ctx.propagate_instead(&[verb, key]);
            return Ok(());
        }
    }
    blocking::wait_for_keys(ctx, args, keys.iter(), ValueType::List, deadline_ms);
    Ok(())
}
