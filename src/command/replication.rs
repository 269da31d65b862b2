//! What a primary without replicas answers: ROLE, REPLICAOF, WAIT.
//!
//! Replication itself is not there yet, so becoming a replica is refused and nobody is waited for.

use crate::base::numbers::parse_i64;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx};

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
        name: "wait",
        group: Group::Generic,
        categories: category::CONNECTION,
        since: "3.0.0",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        summary: "Waits until replicas have what this connection wrote.",
        handler: wait,
        ..ROW
    },
];

fn role(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.array(3);
    ctx.out.bulk(b"master");
    ctx.out.integer(0);
    ctx.out.array(0);
    Ok(())
}

fn replica_of(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.at(1).eq_ignore_ascii_case(b"no") && args.at(2).eq_ignore_ascii_case(b"one") {
        ctx.out.ok();
        return Ok(());
    }
    Err(ReplyError::err("replication is not supported by this version"))
}

fn wait(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    parse_i64(args.at(1)).ok_or(error::NOT_INTEGER)?;
    let timeout_ms = parse_i64(args.at(2)).ok_or(error::TIMEOUT_NOT_INTEGER)?;
    if timeout_ms < 0 {
        return Err(error::TIMEOUT_NEGATIVE);
    }
    ctx.out.integer(0);
    Ok(())
}
