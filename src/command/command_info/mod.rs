//! COMMAND: what commands there are, answered from the rows.
//!
//! | file | holds |
//! | --- | --- |
//! | `info.rs` | COMMAND, COMMAND INFO: how a row is shown |
//! | `docs.rs` | COMMAND DOCS |
//! | `keys.rs` | GETKEYS, GETKEYSANDFLAGS |
//! | `list.rs` | COUNT, LIST |

mod docs;
mod info;
mod keys;
mod list;

use super::help;
use crate::resp::{Args, Reply};
use crate::server::error::CommandResult;
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx, Found, Server};

const OPEN: u32 = flag::LOADING | flag::STALE;

const ROW: CommandSpec = CommandSpec {
    flags: OPEN,
    group: Group::Server,
    categories: category::CONNECTION,
    since: "2.8.13",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "command",
    arity: -1,
    complexity: "O(N), N: commands",
    tips: &["nondeterministic_output_order"],
    summary: "What commands there are.",
    handler: info::all,
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "count",
        arity: 2,
        summary: "How many commands there are.",
        handler: list::count,
        ..ROW
    },
    CommandSpec {
        name: "docs",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N), N: commands asked for",
        tips: &["nondeterministic_output_order"],
        summary: "What commands do, for people.",
        handler: docs::docs,
        ..ROW
    },
    CommandSpec {
        name: "getkeys",
        arity: -3,
        complexity: "O(N), N: arguments",
        summary: "The keys of a request.",
        handler: keys::get_keys,
        ..ROW
    },
    CommandSpec {
        name: "getkeysandflags",
        arity: -3,
        since: "7.0.0",
        complexity: "O(N), N: arguments",
        summary: "The keys of a request, and what it does with them.",
        handler: keys::get_keys_and_flags,
        ..ROW
    },
    CommandSpec {
        name: "info",
        arity: -2,
        complexity: "O(N), N: commands asked for",
        tips: &["nondeterministic_output_order"],
        summary: "Arity, flags and keys of commands, for clients.",
        handler: info::some,
        ..ROW
    },
    CommandSpec {
        name: "list",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N), N: commands",
        tips: &["nondeterministic_output_order"],
        summary: "The names of all commands, or of some.",
        handler: list::list,
        ..ROW
    },
    CommandSpec {
        name: "help",
        arity: 2,
        since: "5.0.0",
        summary: "The subcommands.",
        handler: show_help,
        ..ROW
    },
];

/// The command with this full name (`config|get`), in any case.
fn find_full_name(server: &Server, name: &[u8]) -> Option<Found> {
    let mut parts = name.split(|byte| *byte == b'|');
    let command = server.commands.find(parts.next()?)?;
    let found = match parts.next() {
        None => Some(command),
        Some(subcommand) => server.commands.find_subcommand(command, subcommand),
    };
    found.filter(|_| parts.next().is_none())
}

/// The subcommands of a command, in the order of their rows.
fn subcommands(server: &Server, parent: Found) -> Vec<Found> {
    let rows = parent.spec.subcommands.iter();
    rows.filter_map(|row| server.commands.find_subcommand(parent, row.name.as_bytes())).collect()
}

/// Writes a set of the names whose bits are set.
fn write_names(out: &mut Reply, bits: u32, names: &[(u32, &str)], prefix: &str) {
    let set: Vec<&str> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    out.set(set.len());
    for name in set {
        out.simple(&format!("{prefix}{name}"));
    }
}

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    const LINES: &[&str] = &[
        "(no subcommand)",
        "    Everything about all commands, for clients.",
        "COUNT",
        "    How many commands there are.",
        "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    The names of all commands, or of some.",
        "INFO [<command-name> ...]",
        "    Everything about these commands, for clients.",
        "DOCS [<command-name> ...]",
        "    What these commands do, for people.",
        "GETKEYS <full-command>",
        "    The keys of a request.",
        "GETKEYSANDFLAGS <full-command>",
        "    The keys of a request, and what it does with them.",
    ];
    help::write(ctx.out, "COMMAND", LINES);
    Ok(())
}
