//! MODULE, for a server that loads none: the list is empty, and loading says why.

use super::help;
use crate::resp::Args;
use crate::server::error::{CommandResult, ReplyError};
use crate::server::spec::{Group, Handler, flag};
use crate::server::{CommandSpec, Ctx};

const fn row(name: &'static str, arity: i32, summary: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec {
        flags: flag::ADMIN | flag::NOSCRIPT,
        since: "4.0.0",
        ..CommandSpec::server_row(name, arity, summary, handler)
    }
}

const LOADS: u32 = flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT;

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        complexity: "O(N) where N is the number of loaded modules.",
        tips: &["nondeterministic_output_order"],
        ..row("list", 2, "The loaded modules: none.", list)
    },
    CommandSpec { flags: LOADS, ..row("load", -3, "Refused: there are no modules here.", refuse) },
    CommandSpec {
        flags: LOADS,
        since: "7.0.0",
        ..row("loadex", -3, "Refused: there are no modules here.", refuse)
    },
    CommandSpec { flags: LOADS, ..row("unload", 3, "Refused: there are no modules here.", refuse) },
    CommandSpec {
        flags: flag::LOADING | flag::STALE,
        since: "5.0.0",
        ..row("help", 2, "The subcommands.", show_help)
    },
];

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "module",
    arity: -2,
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "Modules, of which there are none.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::DEFAULT
}];

fn list(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.array(0);
    Ok(())
}

fn refuse(_: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    Err(ReplyError::err("modules are not supported by this version"))
}

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    const LINES: &[&str] = &["LIST", "    The loaded modules: always none."];
    help::write(ctx.out, "MODULE", LINES);
    Ok(())
}
