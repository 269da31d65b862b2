//! XRANGE and XREVRANGE.

use crate::command::arg;
use crate::command::stream::{end_id, reply_entries, start_id};
use crate::resp::Args;
use crate::server::error::{self, CommandResult};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::StreamValue;

const READ: CommandSpec = CommandSpec {
    arity: -4,
    flags: flag::READONLY,
    categories: category::STREAM,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N) where N is the number of entries given, O(1) for a fixed COUNT.",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xrange",
        summary: "Gives the entries of a stream between two ids.",
        handler: xrange,
        ..READ
    },
    CommandSpec {
        name: "xrevrange",
        summary: "Gives the entries of a stream between two ids, the last one first.",
        handler: xrevrange,
        ..READ
    },
];

fn xrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    range(ctx, args, false)
}

fn xrevrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    range(ctx, args, true)
}

fn range(ctx: &mut Ctx<'_>, args: Args<'_>, reverse: bool) -> CommandResult {
    let (first, last) = if reverse { (args.at(3), args.at(2)) } else { (args.at(2), args.at(3)) };
    let (start, end) = (start_id(first)?, end_id(last)?);
    let mut most = None;
    for at in (4..args.len()).step_by(2) {
        let count = args.get(at + 1).filter(|_| arg::is(args.at(at), "count")).ok_or(error::SYNTAX)?;
        most = Some(usize::try_from(arg::integer(count)?).unwrap_or(0));
    }
    let Some(stream) = ctx.server.read_as::<StreamValue>(ctx.db, args.at(1))? else {
        ctx.out.array(0);
        return Ok(());
    };
    let log = stream.stream().log();
    match most {
        Some(0) => ctx.out.null_array(),
        _ if reverse => reply_entries(ctx.out, log.range_back(start, end), most.unwrap_or(0)),
        _ => reply_entries(ctx.out, log.range(start, end), most.unwrap_or(0)),
    }
    Ok(())
}
