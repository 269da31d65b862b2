//! From one list to another: LMOVE, RPOPLPUSH, and the forms that wait for an element.

use crate::blocking;
use crate::command::list::{ROW, changed, limits, pop_event, push_event, put_element, removed, side_of};
use crate::resp::Args;
use crate::server::error::{CommandResult, ReplyError};
use crate::server::spec::{KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::list::Side;
use crate::value::{ListValue, ValueType};

const KEYS: &[KeySpec] = &[
    KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE),
    KeySpec::one(2, key_flag::RW | key_flag::INSERT),
];

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "rpoplpush",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: KEYS,
        since: "1.2.0",
        summary: "Moves the last element of a list to the head of another.",
        handler: rpoplpush,
        ..ROW
    },
    CommandSpec {
        name: "lmove",
        arity: 5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: KEYS,
        since: "6.2.0",
        summary: "Moves an element from one end of a list to one of another.",
        handler: lmove,
        ..ROW
    },
    CommandSpec {
        name: "brpoplpush",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM | flag::BLOCKING,
        keys: KEYS,
        since: "2.2.0",
        summary: "Moves the last element of a list to the head of another, waiting for one.",
        handler: brpoplpush,
        ..ROW
    },
    CommandSpec {
        name: "blmove",
        arity: 6,
        flags: flag::WRITE | flag::DENYOOM | flag::BLOCKING,
        keys: KEYS,
        since: "6.2.0",
        summary: "Moves an element from one end of a list to one of another, waiting for one.",
        handler: blmove,
        ..ROW
    },
];

/// Moves an element and answers it; whether the source holds one.
fn move_element(ctx: &mut Ctx<'_>, args: Args<'_>, from: Side, to: Side) -> Result<bool, ReplyError> {
    let (db, source, target) = (ctx.db, args.at(1), args.at(2));
    let limits = limits(ctx.server);
    if ctx.server.find_as::<ListValue>(db, source)?.is_none() {
        return Ok(false);
    }
    // The target's type is checked before anything moves.
    ctx.server.find_as::<ListValue>(db, target)?;
    let popped = match ctx.server.edit::<ListValue>(db, source)? {
        Some(mut list) => list.pop_with(from, |element| element.to_picked()),
        None => None,
    };
    let Some(popped) = popped else { return Ok(false) };
    put_element(ctx.out, popped.as_element());
    let element = popped.into_vec();
    let mut list = ctx.server.edit_or_create(db, target, ListValue::new)?;
    list.grow_for(element.len(), 1, limits);
    list.push(to, &element);
    drop(list);
    changed(ctx, target, 0, push_event(to));
    let emptied = match ctx.server.edit::<ListValue>(db, source)? {
        Some(mut list) => {
            list.shrink(limits);
            list.is_empty()
        }
        None => false,
    };
    removed(ctx, source, 1, pop_event(from), emptied);
    Ok(true)
}

fn rpoplpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if !move_element(ctx, args, Side::After, Side::Before)? {
        ctx.out.null();
    }
    Ok(())
}

fn lmove(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (from, to) = (side_of(args.at(3))?, side_of(args.at(4))?);
    if !move_element(ctx, args, from, to)? {
        ctx.out.null();
    }
    Ok(())
}

fn brpoplpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let deadline_ms = blocking::parse_deadline(ctx.server, args.at(3))?;
    if move_element(ctx, args, Side::After, Side::Before)? {
        ctx.propagate_instead(&[b"RPOPLPUSH", args.at(1), args.at(2)]);
    } else {
        wait_for_source(ctx, args, deadline_ms);
    }
    Ok(())
}

fn blmove(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (from, to) = (side_of(args.at(3))?, side_of(args.at(4))?);
    let deadline_ms = blocking::parse_deadline(ctx.server, args.at(5))?;
    if move_element(ctx, args, from, to)? {
        ctx.propagate_instead(&[b"LMOVE", args.at(1), args.at(2), args.at(3), args.at(4)]);
    } else {
        wait_for_source(ctx, args, deadline_ms);
    }
    Ok(())
}

/// Where waiting is not allowed the answer is the null of a value, not of an array.
fn wait_for_source(ctx: &mut Ctx<'_>, args: Args<'_>, deadline_ms: Option<u64>) {
    if ctx.caller.may_block() {
        blocking::wait_for_keys(ctx, args, std::iter::once(args.at(1)), ValueType::List, deadline_ms);
    } else {
        ctx.out.null();
    }
}
