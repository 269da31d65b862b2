//! The connection itself: PING, ECHO, SELECT, AUTH, HELLO, RESET, QUIT.

use crate::base::numbers::parse_i64;
use crate::resp::{Args, Protocol};
use crate::server::client::ReplyMode;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::run::REDIS_VERSION;
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx};

/// What all rows here share.
const ROW: CommandSpec =
    CommandSpec { group: Group::Connection, categories: category::CONNECTION, ..CommandSpec::DEFAULT };

/// Flags of the commands that a client may send before AUTH.
const OPEN: u32 =
    flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_AUTH | flag::ALLOW_BUSY;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "ping",
        arity: -1,
        flags: flag::FAST | flag::SUBSCRIBE_MODE | flag::REPORTS_DISK,
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        summary: "Answers PONG, or the given text: the connection is alive.",
        handler: ping,
        ..ROW
    },
    CommandSpec {
        name: "echo",
        arity: 2,
        flags: flag::LOADING | flag::STALE | flag::FAST,
        summary: "Answers its argument.",
        handler: echo,
        ..ROW
    },
    CommandSpec {
        name: "quit",
        arity: -1,
        flags: OPEN | flag::TRANSACTION_CONTROL | flag::SUBSCRIBE_MODE,
        summary: "Closes the connection after the reply.",
        handler: quit,
        ..ROW
    },
    CommandSpec {
        name: "select",
        arity: 2,
        flags: flag::LOADING | flag::STALE | flag::FAST,
        summary: "Chooses the database of this connection.",
        handler: select,
        ..ROW
    },
    CommandSpec {
        name: "auth",
        arity: -2,
        flags: OPEN,
        complexity: "O(N), N: passwords of the user",
        summary: "Proves who the client is.",
        handler: auth,
        ..ROW
    },
    CommandSpec {
        name: "hello",
        arity: -1,
        flags: OPEN,
        since: "6.0.0",
        summary: "Chooses the protocol version and introduces both sides to each other.",
        handler: hello,
        ..ROW
    },
    CommandSpec {
        name: "reset",
        arity: 1,
        flags: OPEN | flag::TRANSACTION_CONTROL | flag::SUBSCRIBE_MODE,
        since: "6.2.0",
        summary: "Puts the connection back into the state of a new one.",
        handler: reset,
        ..ROW
    },
];

fn ping(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 {
        return Err(error::wrong_arity(&ctx.command_name()));
    }
    if ctx.client().in_subscribe_mode() {
        ctx.out.array(2);
        ctx.out.bulk(b"pong");
        ctx.out.bulk(args.get(1).unwrap_or_default());
        return Ok(());
    }
    match args.get(1) {
        Some(text) => ctx.out.bulk(text),
        None => ctx.out.simple("PONG"),
    }
    Ok(())
}

fn echo(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.out.bulk(args.at(1));
    Ok(())
}

fn quit(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.client_mut().close_after_reply = true;
    ctx.out.ok();
    Ok(())
}

fn select(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let index = parse_i64(args.at(1)).ok_or(error::NOT_INTEGER)?;
    if i32::try_from(index).is_err() {
        return Err(error::out_of_int_range(i32::MIN as i64, i32::MAX as i64));
    }
    if index < 0 || index >= ctx.server.keyspace.databases() as i64 {
        return Err(error::DB_OUT_OF_RANGE);
    }
    ctx.select(index as usize);
    ctx.out.ok();
    Ok(())
}

fn auth(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    match args.len() {
        2 if ctx.server.acl.default_user().no_password => return Err(error::AUTH_NOT_CONFIGURED),
        2 => ctx.server.log_in(ctx.client, b"default", args.at(1), args)?,
        3 => ctx.server.log_in(ctx.client, args.at(1), args.at(2), args)?,
        _ => return Err(error::SYNTAX),
    }
    ctx.out.ok();
    Ok(())
}

/// What HELLO was asked for.
#[derive(Default)]
struct Introduction<'a> {
    protocol: Option<Protocol>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn parse_hello<'a>(args: Args<'a>) -> Result<Introduction<'a>, ReplyError> {
    let mut asked = Introduction::default();
    if let Some(version) = args.get(1) {
        let version = parse_i64(version).ok_or(error::PROTOCOL_VERSION)?;
        asked.protocol = Some(match version {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(error::NO_PROTO),
        });
    }
    let mut index = 2;
    while let Some(option) = args.get(index) {
        if option.eq_ignore_ascii_case(b"auth") && index + 2 < args.len() {
            asked.credentials = Some((args.at(index + 1), args.at(index + 2)));
            index += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && index + 1 < args.len() {
            let name = args.at(index + 1);
            if !is_printable(name) {
                return Err(error::CLIENT_NAME);
            }
            asked.name = Some(name);
            index += 2;
        } else {
            return Err(ReplyError::err([b"Syntax error in HELLO option '", option, b"'"].concat()));
        }
    }
    Ok(asked)
}

fn hello(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let asked = parse_hello(args)?;
    if let Some((user, password)) = asked.credentials {
        ctx.server.log_in(ctx.client, user, password, args)?;
    }
    if ctx.server.must_authenticate(ctx.client()) {
        return Err(error::HELLO_NO_AUTH);
    }
    if let Some(name) = asked.name {
        ctx.client_mut().name = name.to_vec();
    }
    if let Some(protocol) = asked.protocol {
        ctx.client_mut().protocol = protocol;
        ctx.out.protocol = protocol;
    }
    let version = if ctx.out.is_resp3() { 3 } else { 2 };
    let fields = [("server", "redis"), ("version", REDIS_VERSION)];
    ctx.out.map(7);
    for (name, value) in fields {
        ctx.out.bulk_str(name);
        ctx.out.bulk_str(value);
    }
    ctx.out.bulk_str("proto");
    ctx.out.integer(version);
    ctx.out.bulk_str("id");
    ctx.out.integer(ctx.client.id as i64);
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        ctx.out.bulk_str(name);
        ctx.out.bulk_str(value);
    }
    ctx.out.bulk_str("modules");
    ctx.out.array(0);
    Ok(())
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let client = ctx.client;
    ctx.server.reset_user(client);
    ctx.server.discard_transaction(client);
    ctx.server.unsubscribe_all(client);
    ctx.server.disable_tracking(client);
    ctx.server.remove_monitor(client);
    ctx.select(0);
    let state = ctx.client_mut();
    state.protocol = Protocol::Resp2;
    state.name.clear();
    state.reply_mode = ReplyMode::On;
    state.no_evict = false;
    state.no_touch = false;
    ctx.out.protocol = Protocol::Resp2;
    ctx.out.simple("RESET");
    Ok(())
}

/// Whether a client's name or library can be shown as one word: bytes from `!` to `~`.
pub(super) fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
