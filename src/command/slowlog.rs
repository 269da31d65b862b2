//! SLOWLOG: reading and clearing the log of slow commands.

use crate::base::numbers::parse_i64;
use crate::command::help;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, flag};
use crate::server::{CommandSpec, Ctx};

/// Entries shown when no count is given.
const DEFAULT_COUNT: usize = 10;
const ADMIN: u32 = flag::ADMIN | flag::LOADING | flag::STALE;

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        arity: -2,
        flags: ADMIN,
        group: Group::Server,
        since: "2.2.12",
        complexity: "O(N) where N is the number of entries returned",
        summary: "Shows the newest entries of the slow log.",
        handler: get,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "len",
        arity: 2,
        flags: ADMIN,
        group: Group::Server,
        since: "2.2.12",
        summary: "Counts the entries of the slow log.",
        handler: len,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "reset",
        arity: 2,
        flags: ADMIN,
        group: Group::Server,
        since: "2.2.12",
        complexity: "O(N) where N is the number of entries in the slowlog",
        summary: "Empties the slow log.",
        handler: reset,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        group: Group::Server,
        since: "6.2.0",
        summary: "Describes the subcommands.",
        handler: help_command,
        ..CommandSpec::DEFAULT
    },
];

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "slowlog",
    arity: -2,
    group: Group::Server,
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    summary: "Shows and clears the slow log.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::DEFAULT
}];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let count = match args.get(2) {
        None => DEFAULT_COUNT,
        Some(_) if args.len() > 3 => return Err(error::wrong_arity("slowlog|get")),
        Some(text) => match parse_i64(text).ok_or(error::NOT_INTEGER)? {
            -1 => usize::MAX,
            count => usize::try_from(count)
                .map_err(|_| ReplyError::err("count should be greater than or equal to -1"))?,
        },
    };
    let entries: Vec<_> = ctx.server.slowlog.iter().take(count).collect();
    ctx.out.array(entries.len());
    for entry in entries {
        ctx.out.array(6);
        ctx.out.integer(entry.id as i64);
        ctx.out.integer(entry.time_s);
        ctx.out.integer(entry.duration_us as i64);
        ctx.out.array(entry.arguments.len());
        for argument in &entry.arguments {
            ctx.out.bulk(argument);
        }
        ctx.out.bulk(entry.address.as_bytes());
        ctx.out.bulk(&entry.client_name);
    }
    Ok(())
}

fn len(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.integer(ctx.server.slowlog.len() as i64);
    Ok(())
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.server.slowlog.clear();
    ctx.out.ok();
    Ok(())
}

fn help_command(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    help::write(
        ctx.out,
        "SLOWLOG",
        &[
            "GET [<count>]",
            "    Show the newest <count> entries (10 unless given, -1 for all). An entry is",
            "    id, time (Unix seconds), duration (microseconds), arguments, client address, client name.",
            "LEN",
            "    Count the entries.",
            "RESET",
            "    Empty the log.",
        ],
    );
    Ok(())
}
