//! ACL: users and their rights.
//!
//! | file | holds |
//! | --- | --- |
//! | `users.rs` | SETUSER, GETUSER, DELUSER, USERS, LIST, WHOAMI |
//! | `rights.rs` | CAT, DRYRUN, GENPASS |
//! | `file.rs` | LOAD, SAVE |
//! | `log.rs` | LOG |
//!
//! What a right is and how it is checked: `server::acl`.

mod file;
mod log;
mod rights;
mod users;

pub use file::read_acl_file;

use super::help;
use crate::resp::Args;
use crate::server::error::CommandResult;
use crate::server::spec::{Group, flag};
use crate::server::{CommandSpec, Ctx};

const OPEN: u32 = flag::LOADING | flag::STALE;
const ALL: u32 = OPEN | flag::NOSCRIPT;
const ADMIN: u32 = ALL | flag::ADMIN;
/// Tips for proxies: each node has users of its own.
const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const ROW: CommandSpec = CommandSpec { group: Group::Server, since: "6.0.0", ..CommandSpec::DEFAULT };

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "acl",
    arity: -2,
    complexity: "that of the subcommand",
    summary: "Commands about users and their rights.",
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "cat",
        arity: -2,
        flags: ALL,
        complexity: "O(N), N: commands",
        summary: "The categories, or the commands of one.",
        handler: rights::categories,
        ..ROW
    },
    CommandSpec {
        name: "deluser",
        arity: -3,
        flags: ADMIN,
        complexity: "O(N), N: connections",
        tips: EVERYWHERE,
        summary: "Removes users and closes their connections.",
        handler: users::delete,
        ..ROW
    },
    CommandSpec {
        name: "dryrun",
        arity: -4,
        flags: ADMIN,
        since: "7.0.0",
        complexity: "O(N*M), N: keys and channels, M: patterns of the user",
        summary: "Tells whether a user may run a command, without running it.",
        handler: rights::dry_run,
        ..ROW
    },
    CommandSpec {
        name: "genpass",
        arity: -2,
        flags: ALL,
        summary: "A random password.",
        handler: rights::generate_password,
        ..ROW
    },
    CommandSpec {
        name: "getuser",
        arity: 3,
        flags: ADMIN,
        complexity: "O(N), N: rules of the user",
        summary: "The rules of a user.",
        handler: users::show,
        ..ROW
    },
    CommandSpec {
        name: "list",
        arity: 2,
        flags: ADMIN,
        complexity: "O(N), N: users",
        summary: "All users, as lines of the configuration.",
        handler: users::list,
        ..ROW
    },
    CommandSpec {
        name: "load",
        arity: 2,
        flags: ADMIN,
        complexity: "O(N), N: users",
        summary: "Takes the users of the ACL file in the place of all others.",
        handler: file::load,
        ..ROW
    },
    CommandSpec {
        name: "log",
        arity: -2,
        flags: ADMIN,
        complexity: "O(N), N: entries shown",
        summary: "What was refused to whom.",
        handler: log::show,
        ..ROW
    },
    CommandSpec {
        name: "save",
        arity: 2,
        flags: ADMIN,
        complexity: "O(N), N: users",
        tips: EVERYWHERE,
        summary: "Writes the users into the ACL file.",
        handler: file::save,
        ..ROW
    },
    CommandSpec {
        name: "setuser",
        arity: -3,
        flags: ADMIN,
        complexity: "O(N), N: rules",
        tips: EVERYWHERE,
        summary: "Makes a user or changes one.",
        handler: users::set,
        ..ROW
    },
    CommandSpec {
        name: "users",
        arity: 2,
        flags: ADMIN,
        complexity: "O(N), N: users",
        summary: "The names of all users.",
        handler: users::names,
        ..ROW
    },
    CommandSpec {
        name: "whoami",
        arity: 2,
        flags: ALL,
        summary: "The user of this connection.",
        handler: users::who_am_i,
        ..ROW
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: OPEN,
        summary: "Describes the subcommands.",
        handler: show_help,
        ..ROW
    },
];

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    const LINES: &[&str] = &[
        "CAT [<category>]",
        "    The categories of commands, or the commands of one category.",
        "DELUSER <username> [<username> ...]",
        "    Remove users. Their connections are closed.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Tell whether the user may run the command; it is not run.",
        "GETUSER <username>",
        "    The rules of a user.",
        "GENPASS [<bits>]",
        "    A random password of 256 bits, or of as many as asked for.",
        "LIST",
        "    All users, as lines of the configuration.",
        "LOAD",
        "    Take the users of the ACL file; all others go.",
        "LOG [<count> | RESET]",
        "    The newest refusals, or forget them all.",
        "SAVE",
        "    Write the users into the ACL file.",
        "SETUSER <username> <rule> [<rule> ...]",
        "    Make a user, or change one: all rules take effect, or none.",
        "USERS",
        "    The names of all users.",
        "WHOAMI",
        "    The user of this connection.",
    ];
    help::write(ctx.out, "ACL", LINES);
    Ok(())
}
