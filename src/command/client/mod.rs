//! CLIENT: what a client may ask and change about itself and others.
//!
//! | file | holds |
//! | --- | --- |
//! | `list.rs` | ID, INFO, LIST |
//! | `kill.rs` | KILL |
//! | `settings.rs` | names, REPLY, NO-EVICT, NO-TOUCH |
//! | `tracking.rs` | TRACKING, CACHING, GETREDIR, TRACKINGINFO |
//! | `waiting.rs` | PAUSE, UNPAUSE, UNBLOCK |

mod kill;
mod list;
mod settings;
mod tracking;
mod waiting;

use super::help;
use crate::resp::Args;
use crate::server::client::{Client, ClientKind};
use crate::server::error::{CommandResult, ReplyError};
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx};

const OPEN: u32 = flag::LOADING | flag::STALE | flag::KEEPS_CACHING;
const OWN: u32 = OPEN | flag::NOSCRIPT;
const ADMIN: u32 = OWN | flag::ADMIN;

const ROW: CommandSpec =
    CommandSpec { group: Group::Connection, categories: category::CONNECTION, ..CommandSpec::DEFAULT };

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "client",
    arity: -2,
    flags: flag::KEEPS_CACHING,
    categories: 0,
    since: "2.4.0",
    complexity: "that of the subcommand",
    summary: "Commands about connections.",
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "id",
        arity: 2,
        flags: OWN,
        since: "5.0.0",
        summary: "The number of this connection.",
        handler: list::id,
        ..ROW
    },
    CommandSpec {
        name: "info",
        arity: 2,
        flags: OWN,
        since: "6.2.0",
        tips: &["nondeterministic_output"],
        summary: "Everything about this connection.",
        handler: list::info,
        ..ROW
    },
    CommandSpec {
        name: "list",
        arity: -2,
        flags: ADMIN,
        since: "2.4.0",
        complexity: "O(N), N: connections",
        tips: &["nondeterministic_output"],
        summary: "All connections, or some of them.",
        handler: list::list,
        ..ROW
    },
    CommandSpec {
        name: "kill",
        arity: -3,
        flags: ADMIN,
        since: "2.4.0",
        complexity: "O(N), N: connections",
        summary: "Closes connections.",
        handler: kill::kill,
        ..ROW
    },
    CommandSpec {
        name: "setname",
        arity: 3,
        flags: OWN,
        since: "2.6.9",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        summary: "Names this connection.",
        handler: settings::set_name,
        ..ROW
    },
    CommandSpec {
        name: "getname",
        arity: 2,
        flags: OWN,
        since: "2.6.9",
        summary: "The name of this connection.",
        handler: settings::get_name,
        ..ROW
    },
    CommandSpec {
        name: "setinfo",
        arity: 4,
        flags: OWN,
        since: "7.2.0",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        summary: "Tells the name or version of the client's library.",
        handler: settings::set_info,
        ..ROW
    },
    CommandSpec {
        name: "reply",
        arity: 3,
        flags: OWN,
        since: "3.2.0",
        summary: "Switches replies off and on.",
        handler: settings::reply,
        ..ROW
    },
    CommandSpec {
        name: "no-evict",
        arity: 3,
        flags: ADMIN,
        since: "7.0.0",
        summary: "Spares this connection when clients are closed to save memory.",
        handler: settings::no_evict,
        ..ROW
    },
    CommandSpec {
        name: "no-touch",
        arity: 3,
        flags: OWN,
        since: "7.2.0",
        summary: "Keeps this connection's commands from counting as accesses to keys.",
        handler: settings::no_touch,
        ..ROW
    },
    CommandSpec {
        name: "pause",
        arity: -3,
        flags: ADMIN,
        since: "3.0.0",
        summary: "Lets commands wait for some time.",
        handler: waiting::pause,
        ..ROW
    },
    CommandSpec {
        name: "unpause",
        arity: 2,
        flags: ADMIN,
        since: "6.2.0",
        complexity: "O(N), N: waiting clients",
        summary: "Ends CLIENT PAUSE.",
        handler: waiting::unpause,
        ..ROW
    },
    CommandSpec {
        name: "unblock",
        arity: -3,
        flags: ADMIN,
        since: "5.0.0",
        complexity: "O(log N), N: connections",
        summary: "Ends the wait of a blocked client.",
        handler: waiting::unblock,
        ..ROW
    },
    CommandSpec {
        name: "getredir",
        arity: 2,
        flags: OWN,
        since: "6.0.0",
        summary: "The client that gets this connection's invalidation messages.",
        handler: tracking::get_redirection,
        ..ROW
    },
    CommandSpec {
        name: "tracking",
        arity: -3,
        flags: OWN,
        since: "6.0.0",
        summary: "Switches server-assisted caching on or off.",
        handler: tracking::tracking,
        ..ROW
    },
    CommandSpec {
        name: "trackinginfo",
        arity: 2,
        flags: OWN,
        since: "6.2.0",
        summary: "The state of server-assisted caching for this connection.",
        handler: tracking::tracking_info,
        ..ROW
    },
    CommandSpec {
        name: "caching",
        arity: 3,
        flags: OWN,
        since: "6.0.0",
        summary: "Says whether the next command's keys are tracked.",
        handler: tracking::caching,
        ..ROW
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: OPEN,
        since: "5.0.0",
        summary: "The subcommands.",
        handler: show_help,
        ..ROW
    },
];

/// What `TYPE` filters tell apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientType {
    Normal,
    Replica,
    PubSub,
    Primary,
}

impl ClientType {
    fn parse(name: &[u8]) -> Result<ClientType, ReplyError> {
        const NAMES: [(&str, ClientType); 5] = [
            ("normal", ClientType::Normal),
            ("slave", ClientType::Replica),
            ("replica", ClientType::Replica),
            ("pubsub", ClientType::PubSub),
            ("master", ClientType::Primary),
        ];
        let found = NAMES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        found
            .map(|(_, kind)| *kind)
            .ok_or_else(|| ReplyError::err([b"Unknown client type '", name, b"'"].concat()))
    }

    fn of(client: &Client) -> ClientType {
        match client.kind {
            ClientKind::Primary => ClientType::Primary,
            ClientKind::Replica => ClientType::Replica,
            _ if client.subscriptions() > 0 => ClientType::PubSub,
            _ => ClientType::Normal,
        }
    }
}

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    const LINES: &[&str] = &[
        "CACHING (YES|NO)",
        "    Track the keys of the next command, in OPTIN or OPTOUT mode.",
        "GETNAME",
        "    The name of this connection.",
        "GETREDIR",
        "    The client that gets the invalidation messages of this one.",
        "ID",
        "    The number of this connection.",
        "INFO",
        "    Everything about this connection.",
        "KILL <ip:port>",
        "    Close the connection from this address.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Close the connections that fit all of:",
        "    * ADDR (<ip:port>|<unixsocket>:0): the peer's address.",
        "    * LADDR (<ip:port>|<unixsocket>:0): the address connected to.",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB): the kind of client.",
        "    * USER <username>: who is logged in.",
        "    * ID <client-id>: the number.",
        "    * MAXAGE <seconds>: connected for at least so long.",
        "    * SKIPME (YES|NO): spare the connection that asks (default: yes).",
        "LIST [options ...]",
        "    All connections, one line each. Options:",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB): only this kind.",
        "    * ID <client-id> [<client-id> ...]: only these.",
        "NO-EVICT (ON|OFF)",
        "    Spare this connection when clients are closed to save memory.",
        "NO-TOUCH (ON|OFF)",
        "    Commands of this connection do not count as accesses to keys.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Let all commands, or those that write, wait for this many milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Switch replies on or off, or leave out the next one.",
        "SETINFO <option> <value>",
        "    Tell about the client's library. Options: LIB-NAME, LIB-VER.",
        "SETNAME <name>",
        "    Name this connection.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
        "    Switch server-assisted caching on or off.",
        "TRACKINGINFO",
        "    The state of server-assisted caching for this connection.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    End the wait of a blocked client, as if timed out or with an error.",
        "UNPAUSE",
        "    End CLIENT PAUSE.",
    ];
    help::write(ctx.out, "CLIENT", LINES);
    Ok(())
}
