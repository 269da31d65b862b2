//! FUNCTION, for a server whose set of libraries is always empty: listing and flushing it.
//!
//! Scripting is not there yet; the subcommands that would load or run code do not exist.

use super::help;
use crate::resp::Args;
use crate::server::error::{CommandResult, ReplyError};
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx};

const ROW: CommandSpec = CommandSpec {
    flags: flag::NOSCRIPT,
    group: Group::Scripting,
    categories: category::SCRIPTING,
    since: "7.0.0",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "function",
    arity: -2,
    flags: 0,
    categories: 0,
    complexity: "that of the subcommand",
    summary: "Libraries of functions.",
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "flush",
        arity: -2,
        flags: flag::NOSCRIPT | flag::WRITE,
        complexity: "O(N), N: functions",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        summary: "Removes all libraries.",
        handler: flush,
        ..ROW
    },
    CommandSpec {
        name: "list",
        arity: -2,
        complexity: "O(N), N: functions",
        tips: &["nondeterministic_output_order"],
        summary: "The libraries.",
        handler: list,
        ..ROW
    },
    CommandSpec {
        name: "stats",
        arity: 2,
        flags: flag::NOSCRIPT | flag::ALLOW_BUSY,
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        summary: "What runs now, and how many libraries there are.",
        handler: stats,
        ..ROW
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        summary: "The subcommands.",
        handler: show_help,
        ..ROW
    },
];

fn flush(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let known = |word: &[u8]| word.eq_ignore_ascii_case(b"sync") || word.eq_ignore_ascii_case(b"async");
    if args.len() > 3 || args.get(2).is_some_and(|word| !known(word)) {
        return Err(ReplyError::err("FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    // There is nothing to remove, so nothing has changed.
    ctx.out.ok();
    Ok(())
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut options = args.tail(2).iter();
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"withcode") {
            continue;
        }
        if !option.eq_ignore_ascii_case(b"libraryname") {
            return Err(ReplyError::err([b"Unknown argument ", option].concat()));
        }
        if options.next().is_none() {
            return Err(ReplyError::err("library name argument was not given"));
        }
    }
    ctx.out.array(0);
    Ok(())
}

fn stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.map(2);
    ctx.out.bulk(b"running_script");
    ctx.out.null();
    ctx.out.bulk(b"engines");
    ctx.out.map(1);
    ctx.out.bulk(b"LUA");
    ctx.out.map(2);
    for count in [b"libraries_count".as_slice(), b"functions_count"] {
        ctx.out.bulk(count);
        ctx.out.integer(0);
    }
    Ok(())
}

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    const LINES: &[&str] = &[
        "FLUSH [ASYNC|SYNC]",
        "    Remove all libraries.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    The libraries; with a pattern, those whose names match.",
        "STATS",
        "    What runs now, and how many libraries each engine has.",
    ];
    help::write(ctx.out, "FUNCTION", LINES);
    Ok(())
}
