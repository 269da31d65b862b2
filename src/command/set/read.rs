//! SISMEMBER, SMISMEMBER, SCARD, SMEMBERS, SSCAN.

use super::{READ, put_element};
use crate::command::key::scan::{ScanOptions, parse_cursor};
use crate::resp::{Args, Reply};
use crate::server::error::CommandResult;
use crate::server::spec::{KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::SetValue;
use crate::value::set::{SetRef, with_text};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "sismember",
        element: 2,
        arity: 3,
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RO)],
        summary: "Says whether a member is in a set.",
        handler: sismember,
        ..READ
    },
    CommandSpec {
        name: "smismember",
        element: 2,
        arity: -3,
        flags: flag::READONLY | flag::FAST,
        since: "6.2.0",
        complexity: "O(N) where N is the number of members given.",
        summary: "Says of several members whether they are in a set.",
        handler: smismember,
        ..READ
    },
    CommandSpec {
        name: "scard",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RO)],
        summary: "Gives the number of members of a set.",
        handler: scard,
        ..READ
    },
    CommandSpec {
        name: "smembers",
        arity: 2,
        complexity: "O(N) where N is the number of members.",
        summary: "Gives all members of a set.",
        tips: &["nondeterministic_output_order"],
        handler: smembers,
        ..READ
    },
    CommandSpec {
        name: "sscan",
        arity: -3,
        since: "2.8.0",
        complexity: "O(1) for a call, O(N) for a whole walk over N members.",
        summary: "Walks over the members of a set in small steps.",
        tips: &["nondeterministic_output"],
        handler: sscan,
        ..READ
    },
];

fn sismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let set = ctx.server.read_as::<SetValue>(ctx.db, args.at(1))?;
    ctx.out.integer(i64::from(set.is_some_and(|set| set.contains(args.at(2)))));
    Ok(())
}

fn smismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let set = ctx.server.read_as::<SetValue>(ctx.db, args.at(1))?;
    let members = args.tail(2);
    ctx.out.array(members.len());
    match set {
        Some(set) => set.contains_each(members.iter(), |found| ctx.out.integer(i64::from(found))),
        None => members.iter().for_each(|_| ctx.out.integer(0)),
    }
    Ok(())
}

fn scard(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let set = ctx.server.read_as::<SetValue>(ctx.db, args.at(1))?;
    ctx.out.integer(set.map_or(0, |set| set.len() as i64));
    Ok(())
}

fn smembers(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    match ctx.server.read_as::<SetValue>(ctx.db, args.at(1))? {
        Some(set) => reply_all(ctx.out, set),
        None => ctx.out.set(0),
    }
    Ok(())
}

/// Answers with all members of a set.
pub(super) fn reply_all(out: &mut Reply, set: SetRef<'_>) {
    out.set(set.len());
    set.iter().for_each(|member| put_element(out, member));
}

fn sscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut cursor = parse_cursor(args.at(2))?;
    let Some(set) = ctx.server.read_as::<SetValue>(ctx.db, args.at(1))? else {
        ctx.out.array(2);
        ctx.out.bulk(b"0");
        ctx.out.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args.tail(3), false)?;
    let mut names = Reply::new(ctx.out.protocol);
    let (mut seen, mut sent) = (0, 0);
    for _ in 0..=options.buckets_max() {
        cursor = set.scan(cursor, |member| {
            seen += 1;
            with_text(member, |text| {
                if options.matches(text) {
                    names.bulk(text);
                    sent += 1;
                }
            });
        });
        if cursor == 0 || seen >= options.count {
            break;
        }
    }
    ctx.out.array(2);
    ctx.out.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    ctx.out.array(sent);
    ctx.out.raw(&names.buffer);
    Ok(())
}
