//! ROLE, REPLICAOF.
//!
//! Becoming a replica is not there yet and is refused.

use crate::resp::Args;
use crate::server::error::{CommandResult, ReplyError};
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
