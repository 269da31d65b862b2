//! SYNC, PSYNC and REPLCONF: what a replica says to its primary.
//!
//! Parsing and refusals; what a synchronisation leads to is decided by `crate::replication::primary`.

use crate::base::numbers::parse_i64;
use crate::command::arg;
use crate::replication::primary;
use crate::resp::{Args, request};
use crate::server::error::{CommandResult, NOT_INTEGER, ReplyError};
use crate::server::replication::replicas::SnapshotFilter;
use crate::server::spec::{Group, flag};
use crate::server::{ClientKind, CommandSpec, Ctx};

/// Longest name or address of a replica, bytes (the room that Redis has for one).
const ADDRESS_MAX_BYTES: usize = 255;
const SYNC_FLAGS: u32 = flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NO_MULTI | flag::NOSCRIPT;

const ROW: CommandSpec = CommandSpec { group: Group::Server, ..CommandSpec::DEFAULT };

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "psync",
        arity: -3,
        flags: SYNC_FLAGS,
        since: "2.8.0",
        summary: "Begins or continues the stream to a replica.",
        handler: psync,
        ..ROW
    },
    CommandSpec {
        name: "sync",
        arity: 1,
        flags: SYNC_FLAGS,
        summary: "Begins the stream to a replica of the old kind.",
        handler: sync,
        ..ROW
    },
    CommandSpec {
        name: "replconf",
        arity: -1,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY,
        since: "3.0.0",
        summary: "What replicas and primaries tell each other.",
        handler: replconf,
        ..ROW
    },
];

/// `PSYNC id offset [FAILOVER]`.
fn psync(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if is_fed(ctx) {
        return Ok(());
    }
    check_request(ctx)?;
    let offset = parse_i64(args.at(2));
    if args.get(3).is_some_and(|word| arg::is(word, "failover")) {
        // A request that cannot be met must not change the role.
        offset.ok_or(NOT_INTEGER)?;
        primary::take_over(ctx.server, ctx.client, args.at(1))?;
    }
    primary::check_can_serve(ctx.server)?;
    let name = ctx.server.replica_name(ctx.client);
    log::info!("Replica {name} asks for synchronization");
    let Some(offset) = offset else {
        log::warn!("Replica {name} asks for synchronization but with a wrong offset");
        return Err(NOT_INTEGER);
    };
    if let Some(answer) = primary::try_partial(ctx.server, ctx.client, args.at(1), offset) {
        ctx.out.raw(answer.as_bytes());
        return Ok(());
    }
    // `?` asks for a full synchronisation on purpose: nothing was refused.
    ctx.server.replication.counts.partial_refused += u64::from(!args.at(1).starts_with(b"?"));
    primary::begin_full(ctx.server, ctx.client);
    Ok(())
}

fn sync(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if is_fed(ctx) {
        return Ok(());
    }
    check_request(ctx)?;
    primary::check_can_serve(ctx.server)?;
    log::info!("Replica {} asks for synchronization", ctx.server.replica_name(ctx.client));
    ctx.client_mut().replica_mut().old_protocol = true;
    primary::begin_full(ctx.server, ctx.client);
    Ok(())
}

/// A replica that asks again, or a monitor, is not answered.
fn is_fed(ctx: &Ctx<'_>) -> bool {
    ctx.client().kind == ClientKind::Replica || ctx.client().monitor
}

/// Whether this client can be made a replica.
fn check_request(ctx: &Ctx<'_>) -> CommandResult {
    let client = ctx.client();
    if ctx.out.len() > client.output.sent_bytes() || !client.output.is_empty() {
        return Err(ReplyError::err("SYNC and PSYNC are invalid with pending output"));
    }
    let state = client.replica.as_deref();
    if state.is_some_and(|state| state.filter.is_any() && !state.knows_eof) {
        return Err(ReplyError::err("Filtered replica requires EOF capability"));
    }
    Ok(())
}

/// `REPLCONF option value ...`.
fn replconf(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len().is_multiple_of(2) {
        return Err(crate::server::error::SYNTAX);
    }
    for index in (1..args.len()).step_by(2) {
        let (option, value) = (args.at(index), args.at(index + 1));
        match option.to_ascii_lowercase().as_slice() {
            // These two are never answered.
            b"ack" => {
                note_ack(ctx, args.tail(index + 1));
                return Ok(());
            }
            b"getack" => {
                ctx.server.replication.own_ack_wanted = true;
                return Ok(());
            }
            _ => note_fact(ctx, option, value)?,
        }
    }
    ctx.out.ok();
    Ok(())
}

fn note_fact(ctx: &mut Ctx<'_>, option: &[u8], value: &[u8]) -> CommandResult {
    match option.to_ascii_lowercase().as_slice() {
        b"listening-port" => {
            let port = arg::integer(value)?;
            ctx.client_mut().replica_mut().listening_port = u16::try_from(port).unwrap_or(0);
        }
        b"ip-address" if value.len() >= ADDRESS_MAX_BYTES => {
            return Err(ReplyError::err(format!(
                "REPLCONF ip-address provided by replica instance is too long: {} bytes",
                value.len()
            )));
        }
        b"ip-address" => ctx.client_mut().replica_mut().announced_ip = value.to_vec(),
        b"capa" => {
            let state = ctx.client_mut().replica_mut();
            state.knows_eof |= arg::is(value, "eof");
            state.knows_psync2 |= arg::is(value, "psync2");
        }
        b"rdb-only" => {
            let wanted = arg::integer_in(value, 0, 1)?;
            ctx.client_mut().replica_mut().snapshot_only = wanted == 1;
        }
        b"rdb-filter-only" => ctx.client_mut().replica_mut().filter = parse_filter(value)?,
        _ => {
            let mut text = b"Unrecognized REPLCONF option: ".to_vec();
            text.extend_from_slice(option);
            return Err(ReplyError::err(text));
        }
    }
    Ok(())
}

/// What the snapshot is to hold; nothing else will be in it.
fn parse_filter(value: &[u8]) -> Result<SnapshotFilter, ReplyError> {
    let Ok(words) = request::split_inline(value) else {
        return Err(ReplyError::err("Missing rdb-filter-only values"));
    };
    let mut filter = SnapshotFilter { no_data: true, no_functions: true };
    for word in words {
        if !arg::is(&word, "functions") {
            let mut text = b"Unsupported rdb-filter-only option: ".to_vec();
            text.extend_from_slice(&word);
            return Err(ReplyError::err(text));
        }
        filter.no_functions = false;
    }
    Ok(filter)
}

/// `REPLCONF ACK offset [FACK offset]`; `args` begin with the offset.
fn note_ack(ctx: &mut Ctx<'_>, args: Args<'_>) {
    if ctx.client().kind != ClientKind::Replica {
        return;
    }
    let number = |index: usize| args.get(index).and_then(parse_i64).map(|offset| offset.max(0) as u64);
    let Some(offset) = number(0) else { return };
    let log_offset = args.get(1).filter(|word| arg::is(word, "fack")).and_then(|_| number(2));
    primary::note_ack(ctx.server, ctx.client, offset, log_offset);
}
