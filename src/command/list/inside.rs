//! Changing lists inside: LSET, LINSERT, LREM, LTRIM.

use crate::command::arg;
use crate::command::list::{ROW, changed, clamp_range, from_head, limits, removed};
use crate::resp::Args;
use crate::server::error::{self, CommandResult};
use crate::server::spec::{KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::ListValue;
use crate::value::list::{Direction, Needle, Side};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "lset",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
        complexity: "O(N) where N is the distance from the nearer end; O(1) for the first and the last element.",
        summary: "Replaces the element at an index of a list.",
        handler: lset,
        ..ROW
    },
    CommandSpec {
        name: "linsert",
        arity: 5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
        since: "2.2.0",
        complexity: "O(N) where N is the number of elements before the one looked for.",
        summary: "Inserts an element before or after another one of a list.",
        handler: linsert,
        ..ROW
    },
    CommandSpec {
        name: "lrem",
        arity: 4,
        flags: flag::WRITE,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
        complexity: "O(N+M) where N is the length of the list and M the number of elements removed.",
        summary: "Removes equal elements from a list.",
        handler: lrem,
        ..ROW
    },
    CommandSpec {
        name: "ltrim",
        arity: 4,
        flags: flag::WRITE,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
        complexity: "O(N) where N is the number of elements removed.",
        summary: "Removes the elements outside of a range of a list.",
        handler: ltrim,
        ..ROW
    },
];

fn lset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (key, element) = (args.at(1), args.at(3));
    let limits = limits(ctx.server);
    let mut list = ctx.server.edit::<ListValue>(ctx.db, key)?.ok_or(error::NO_SUCH_KEY)?;
    let index = arg::integer(args.at(2))?;
    list.grow_for(element.len(), 1, limits);
    let index = from_head(index, list.len()).ok_or(error::INDEX_OUT_OF_RANGE)?;
    if !list.replace(index, element) {
        return Err(error::INDEX_OUT_OF_RANGE);
    }
    list.shrink(limits);
    drop(list);
    ctx.out.ok();
    changed(ctx, key, 1, "lset");
    Ok(())
}

fn linsert(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (key, pivot, element) = (args.at(1), args.at(3), args.at(4));
    let side = match args.at(2) {
        word if arg::is(word, "before") => Side::Before,
        word if arg::is(word, "after") => Side::After,
        _ => return Err(error::SYNTAX),
    };
    let limits = limits(ctx.server);
    let Some(mut list) = ctx.server.edit::<ListValue>(ctx.db, key)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    // Before the search, as in Redis: a list may change its encoding for an element that then
    // is not inserted.
    list.grow_for(element.len(), 1, limits);
    let Some(index) = list.as_ref().find(&Needle::new(pivot)) else {
        ctx.out.integer(-1);
        return Ok(());
    };
    list.insert(index, side, element);
    ctx.out.integer(list.len() as i64);
    drop(list);
    changed(ctx, key, 1, "linsert");
    Ok(())
}

fn lrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (key, needle) = (args.at(1), args.at(3));
    let count = arg::integer(args.at(2))?;
    let limits = limits(ctx.server);
    let Some(mut list) = ctx.server.edit::<ListValue>(ctx.db, key)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let direction = if count < 0 { Direction::Backward } else { Direction::Forward };
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let gone = list.remove_matching(needle, most, direction);
    list.shrink(limits);
    let emptied = list.is_empty();
    drop(list);
    if gone > 0 {
        removed(ctx, key, gone, "lrem", emptied);
    }
    ctx.out.integer(gone as i64);
    Ok(())
}

fn ltrim(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let key = args.at(1);
    let (start, stop) = (arg::integer(args.at(2))?, arg::integer(args.at(3))?);
    let limits = limits(ctx.server);
    let Some(mut list) = ctx.server.edit::<ListValue>(ctx.db, key)? else {
        ctx.out.ok();
        return Ok(());
    };
    let len = list.len();
    let kept = clamp_range(start, stop, len);
    let gone = list.delete_range(kept.end, len) + list.delete_range(0, kept.start);
    list.shrink(limits);
    let emptied = list.is_empty();
    drop(list);
    removed(ctx, key, gone, "ltrim", emptied);
    ctx.out.ok();
    Ok(())
}
