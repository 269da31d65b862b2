//! ROLE, REPLICAOF, FAILOVER: what this server is, and making it something else.

use crate::base::numbers::parse_i64;
use crate::command::arg;
use crate::replication::replica;
use crate::resp::Args;
use crate::server::config::{ConfigText, PrimaryAddress};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::replication::ReplicaPhase;
use crate::server::replication::link::{FailoverState, LinkState};
use crate::server::replication::replicas::replica_ip;
use crate::server::spec::{Group, category, flag};
use crate::server::{ClientKind, CommandSpec, Ctx, Server};

const ROW: CommandSpec = CommandSpec { arity: 3, group: Group::Server, ..CommandSpec::DEFAULT };
const CHANGES_ROLE: u32 = flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT | flag::STALE;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "role",
        arity: 1,
        flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST,
        categories: category::ADMIN | category::DANGEROUS,
        since: "2.8.12",
        summary: "What this server is in replication.",
        handler: role,
        ..ROW
    },
    CommandSpec {
        name: "replicaof",
        flags: CHANGES_ROLE,
        since: "5.0.0",
        summary: "Makes this server a replica, or a primary again.",
        handler: replica_of,
        ..ROW
    },
    CommandSpec {
        name: "slaveof",
        flags: CHANGES_ROLE,
        summary: "The old name of REPLICAOF.",
        handler: replica_of,
        ..ROW
    },
    CommandSpec {
        name: "failover",
        arity: -1,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::STALE,
        since: "6.2.0",
        summary: "Hands the role of primary over to a replica that has everything.",
        handler: failover,
        ..ROW
    },
];

fn role(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let server = &mut *ctx.server;
    match &server.config.replicaof {
        None => {
            ctx.out.array(3);
            ctx.out.bulk(b"master");
            ctx.out.integer(server.stream_offset() as i64);
            let online: Vec<_> =
                server.replica_states().filter(|(_, state)| state.phase == ReplicaPhase::Online).collect();
            ctx.out.array(online.len());
            for (client, state) in online {
                ctx.out.array(3);
                ctx.out.bulk_str(&replica_ip(client, state));
                ctx.out.bulk_integer(i64::from(state.listening_port));
                ctx.out.bulk_integer(state.acked_offset as i64);
            }
        }
        Some(primary) => {
            ctx.out.array(5);
            ctx.out.bulk(b"slave");
            ctx.out.bulk(primary.host.as_bytes());
            ctx.out.integer(i64::from(primary.port));
            ctx.out.bulk_str(server.link.state.name());
            let connected = server.link.state == LinkState::Connected;
            ctx.out.integer(if connected { server.replication.offset as i64 } else { -1 });
        }
    }
    Ok(())
}

fn replica_of(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if ctx.server.config.cluster_enabled {
        return Err(ReplyError::err("REPLICAOF not allowed in cluster mode."));
    }
    if ctx.server.link.failover.state != FailoverState::None {
        return Err(ReplyError::err("REPLICAOF not allowed while failing over."));
    }
    if arg::is(args.at(1), "no") && arg::is(args.at(2), "one") {
        if !ctx.server.replication.is_primary() {
            replica::unset_primary(ctx.server);
            let client = ctx.server.client_line(ctx.client);
            log::info!("MASTER MODE enabled (user request from '{client}')");
        }
        ctx.out.ok();
        return Ok(());
    }
    if ctx.client().kind == ClientKind::Replica {
        return Err(ReplyError::err("Command is not valid when client is a replica."));
    }
    let primary = primary_of(args)?;
    if follows(ctx.server, &primary) {
        log::info!(
            "REPLICAOF would result into synchronization with the master we are already connected with. No operation \
             performed."
        );
        ctx.out.simple("OK Already connected to specified master");
        return Ok(());
    }
    let (host, port) = (primary.host.to_text().into_owned(), primary.port);
    replica::set_primary(ctx.server, primary);
    let client = ctx.server.client_line(ctx.client);
    log::info!("REPLICAOF {host}:{port} enabled (user request from '{client}')");
    ctx.out.ok();
    Ok(())
}

fn primary_of(args: Args<'_>) -> Result<PrimaryAddress, ReplyError> {
    let port = parse_i64(args.at(2)).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| ReplyError::err("Invalid master port"))?;
    Ok(PrimaryAddress { host: ConfigText(args.at(1).to_vec()), port })
}

fn follows(server: &Server, primary: &PrimaryAddress) -> bool {
    server.config.replicaof.as_ref().is_some_and(|own| {
        own.port == primary.port && own.host.as_bytes().eq_ignore_ascii_case(primary.host.as_bytes())
    })
}

/// What FAILOVER was asked for.
#[derive(Default)]
struct Wish {
    timeout_ms: Option<i64>,
    target: Option<(String, i64)>,
    force: bool,
}

/// `FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT ms]`
fn failover(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if ctx.server.config.cluster_enabled {
        return Err(ReplyError::err(
            "FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.",
        ));
    }
    if args.len() == 2 && arg::is(args.at(1), "abort") {
        if ctx.server.link.failover.state == FailoverState::None {
            return Err(ReplyError::err("No failover in progress."));
        }
        replica::abort_failover(ctx.server, "Failover manually aborted");
        ctx.out.ok();
        return Ok(());
    }
    let wish = wish_of(args)?;
    check_failover(ctx.server, &wish)?;
    let deadline_ms = wish.timeout_ms.map(|timeout_ms| ctx.now_ms().saturating_add(timeout_ms));
    let target = wish.target.map(|(host, port)| (host, port as u16));
    replica::begin_failover(ctx.server, target, deadline_ms, wish.force);
    ctx.out.ok();
    Ok(())
}

fn wish_of(args: Args<'_>) -> Result<Wish, ReplyError> {
    let mut wish = Wish::default();
    let mut at = 1;
    while at < args.len() {
        let left = args.len() - at - 1;
        if arg::is(args.at(at), "timeout") && left >= 1 && wish.timeout_ms.is_none() {
            let timeout_ms = arg::integer(args.at(at + 1))?;
            if timeout_ms <= 0 {
                return Err(ReplyError::err("FAILOVER timeout must be greater than 0"));
            }
            wish.timeout_ms = Some(timeout_ms);
            at += 2;
        } else if arg::is(args.at(at), "to") && left >= 2 && wish.target.is_none() {
            let host = String::from_utf8_lossy(args.at(at + 1)).into_owned();
            wish.target = Some((host, arg::integer(args.at(at + 2))?));
            at += 3;
        } else if arg::is(args.at(at), "force") && !wish.force {
            wish.force = true;
            at += 1;
        } else {
            return Err(error::SYNTAX);
        }
    }
    Ok(wish)
}

fn check_failover(server: &Server, wish: &Wish) -> CommandResult {
    if server.link.failover.state != FailoverState::None {
        return Err(ReplyError::err("FAILOVER already in progress."));
    }
    if !server.replication.is_primary() {
        return Err(ReplyError::err("FAILOVER is not valid when server is a replica."));
    }
    if server.replication.replicas.is_empty() {
        return Err(ReplyError::err("FAILOVER requires connected replicas."));
    }
    if wish.force && (wish.timeout_ms.is_none() || wish.target.is_none()) {
        return Err(ReplyError::err(
            "FAILOVER with force option requires both a timeout and target HOST and IP.",
        ));
    }
    let Some((host, port)) = &wish.target else { return Ok(()) };
    let found = server.replica_states().find(|(client, state)| {
        replica_ip(client, state).eq_ignore_ascii_case(host) && i64::from(state.listening_port) == *port
    });
    match found {
        None => Err(ReplyError::err("FAILOVER target HOST and PORT is not a replica.")),
        Some((_, state)) if state.phase != ReplicaPhase::Online => {
            Err(ReplyError::err("FAILOVER target replica is not online."))
        }
        Some(_) => Ok(()),
    }
}
