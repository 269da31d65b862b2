//! WAIT and WAITAOF: wait until replicas, or logs, have what this connection wrote.

use crate::base::numbers::parse_i64;
use crate::blocking::acks;
use crate::command::arg;
use crate::persist::aof::AofState;
use crate::resp::Args;
use crate::server::client::{AwaitedAcks, AwaitedLog, Blocked, BlockedOn};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx};

const ROW: CommandSpec = CommandSpec {
    group: Group::Generic,
    categories: category::CONNECTION,
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "wait",
        arity: 3,
        since: "3.0.0",
        summary: "Waits until replicas have what this connection wrote.",
        handler: wait,
        ..ROW
    },
    CommandSpec {
        name: "waitaof",
        arity: 4,
        flags: flag::NOSCRIPT,
        since: "7.2.0",
        summary: "Waits until logs have what this connection wrote, synced.",
        handler: wait_for_logs,
        ..ROW
    },
];

/// `WAIT replicas timeout`.
fn wait(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if !ctx.server.replication.is_primary() {
        return Err(ReplyError::err(
            "WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
             configured to be writable (which is not the default) writes to replicas are just local and are not \
             propagated.",
        ));
    }
    let replicas = parse_i64(args.at(1)).ok_or(error::NOT_INTEGER)?;
    let timeout_ms = parse_timeout(ctx, args.at(2))?;
    let awaited = AwaitedAcks {
        offset: ctx.client().write_offset,
        replicas: usize::try_from(replicas).unwrap_or(0),
        log: None,
    };
    wait_for(ctx, args, awaited, timeout_ms)
}

/// `WAITAOF local replicas timeout`.
fn wait_for_logs(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let local = arg::integer_in(args.at(1), 0, 1)?;
    let replicas = arg::positive(args.at(2))?;
    let timeout_ms = parse_timeout(ctx, args.at(3))?;
    if !ctx.server.replication.is_primary() {
        return Err(ReplyError::err(
            "WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local \
             and are not propagated.",
        ));
    }
    if local == 1 && ctx.server.persistence.aof.state == AofState::Off {
        return Err(acks::NO_LOG);
    }
    let client = ctx.client();
    let awaited = AwaitedAcks {
        offset: client.write_offset,
        replicas: usize::try_from(replicas).unwrap_or(0),
        log: Some(AwaitedLog { offset: client.log_offset, wanted: local == 1 }),
    };
    wait_for(ctx, args, awaited, timeout_ms)
}

fn wait_for(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    awaited: AwaitedAcks,
    timeout_ms: Option<u64>,
) -> CommandResult {
    let reached = acks::count(ctx.server, awaited);
    if reached.is_enough(awaited) || !ctx.caller.may_block() {
        reached.reply(awaited, ctx.out);
        return Ok(());
    }
    let deadline_ms = timeout_ms.map(|timeout_ms| ctx.server.clock.deadline_ms(timeout_ms));
    let on = BlockedOn::Acks(awaited);
    ctx.server.block_client(ctx.client, Blocked { on, args: args.to_owned(), deadline_ms, order: 0 });
    ctx.server.replication.acks_wanted = true;
    Ok(())
}

/// Milliseconds; `None`: for ever.
fn parse_timeout(ctx: &Ctx<'_>, text: &[u8]) -> Result<Option<u64>, ReplyError> {
    let timeout_ms = parse_i64(text).ok_or(error::TIMEOUT_NOT_INTEGER)?;
    if timeout_ms < 0 {
        return Err(error::TIMEOUT_NEGATIVE);
    }
    // The clock of the deadline is behind the one of the date.
    ctx.now_ms().checked_add(timeout_ms).ok_or(error::TIMEOUT_OUT_OF_RANGE)?;
    Ok((timeout_ms > 0).then_some(timeout_ms as u64))
}
