//! SLOWLOG and COMMANDLOG: reading and clearing the logs of commands worth a look.

use crate::base::numbers::parse_i64;
use crate::command::help;
use crate::resp::{Args, Reply};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::slowlog::SlowLog;
use crate::server::spec::{Group, flag};
use crate::server::{CommandSpec, Ctx, Server};

/// Entries shown when no count is given.
const DEFAULT_COUNT: usize = 10;
const ADMIN: u32 = flag::ADMIN | flag::LOADING | flag::STALE;

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        tips: &["request_policy:all_nodes", "nondeterministic_output"],
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
        tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
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
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
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

/// COMMANDLOG, Valkey's name for the slow log and its two neighbours.
const LOG_ROW: CommandSpec =
    CommandSpec { flags: ADMIN, group: Group::Server, since: "7.2.0", ..CommandSpec::DEFAULT };

const LOG_SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        arity: 4,
        complexity: "O(N) where N is the number of entries returned",
        summary: "Shows the newest entries of a log.",
        handler: log_get,
        ..LOG_ROW
    },
    CommandSpec {
        name: "len",
        arity: 3,
        summary: "Counts the entries of a log.",
        handler: log_len,
        ..LOG_ROW
    },
    CommandSpec { name: "reset", arity: 3, summary: "Empties a log.", handler: log_reset, ..LOG_ROW },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        summary: "Describes the subcommands.",
        handler: log_help,
        ..LOG_ROW
    },
];

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "slowlog",
        arity: -2,
        group: Group::Server,
        since: "2.2.12",
        complexity: "Depends on subcommand.",
        summary: "Shows and clears the slow log.",
        subcommands: SUBCOMMANDS,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "commandlog",
        arity: -2,
        flags: 0,
        complexity: "Depends on subcommand.",
        summary: "Shows and clears the logs of slow commands, large requests and large replies.",
        subcommands: LOG_SUBCOMMANDS,
        ..LOG_ROW
    },
];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(error::wrong_subcommand_syntax(args.at(1), "slowlog"));
    }
    let count = args.get(2).map_or(Ok(DEFAULT_COUNT), parse_count)?;
    show(&ctx.server.command_logs.slow, count, ctx.out);
    Ok(())
}

/// A number of entries, -1 for all.
fn parse_count(text: &[u8]) -> Result<usize, ReplyError> {
    const REFUSAL: ReplyError = ReplyError::fixed("ERR count should be greater than or equal to -1");
    match parse_i64(text).ok_or(REFUSAL)? {
        -1 => Ok(usize::MAX),
        count => usize::try_from(count).map_err(|_| REFUSAL),
    }
}

/// The newest entries of a log.
fn show(log: &SlowLog, count: usize, out: &mut Reply) {
    let entries: Vec<_> = log.iter().take(count).collect();
    out.array(entries.len());
    for entry in entries {
        out.array(6);
        out.integer(entry.id as i64);
        out.integer(entry.time_s);
        out.integer(entry.figure as i64);
        out.array(entry.arguments.len());
        for argument in &entry.arguments {
            out.bulk(argument);
        }
        out.bulk(entry.address.as_bytes());
        out.bulk(&entry.client_name);
    }
}

fn len(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.integer(ctx.server.command_logs.slow.len() as i64);
    Ok(())
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.server.command_logs.slow.clear();
    ctx.out.ok();
    Ok(())
}

/// The log that the last argument of a COMMANDLOG subcommand names.
fn log_named<'a>(server: &'a mut Server, name: &[u8]) -> Result<&'a mut SlowLog, ReplyError> {
    let logs = &mut server.command_logs;
    match name.to_ascii_lowercase().as_slice() {
        b"slow" => Ok(&mut logs.slow),
        b"large-request" => Ok(&mut logs.large_requests),
        b"large-reply" => Ok(&mut logs.large_replies),
        _ => Err(ReplyError::err("type should be one of the following: slow, large-request, large-reply")),
    }
}

fn log_get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let count = parse_count(args.at(2))?;
    let log = log_named(ctx.server, args.at(3))?;
    show(log, count, ctx.out);
    Ok(())
}

fn log_len(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let count = log_named(ctx.server, args.at(2))?.len();
    ctx.out.integer(count as i64);
    Ok(())
}

fn log_reset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    log_named(ctx.server, args.at(2))?.clear();
    ctx.out.ok();
    Ok(())
}

fn log_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    help::write(
        ctx.out,
        "COMMANDLOG",
        &[
            "GET <count> <type>",
            "    Show the newest <count> entries (-1 for all) of the log <type>: slow (microseconds),",
            "    large-request or large-reply (bytes). An entry is as in SLOWLOG GET.",
            "LEN <type>",
            "    Count the entries of a log.",
            "RESET <type>",
            "    Empty a log.",
        ],
    );
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
