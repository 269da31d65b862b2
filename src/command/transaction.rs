//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Queueing is done by dispatch; EXEC runs the queue through dispatch again, in one unit of
//! propagation, so that it reaches the AOF whole or not at all.

use crate::dispatch;
use crate::resp::Args;
use crate::server::acl::{Denial, DenialContext, DeniedBy};
use crate::server::client::Transaction;
use crate::server::error::{self, CommandResult};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{Caller, CommandSpec, Ctx, Found, KeyHint};

const CONTROL: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY;

const ROW: CommandSpec = CommandSpec {
    arity: 1,
    group: Group::Transactions,
    categories: category::TRANSACTION,
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "multi",
        flags: CONTROL | flag::TRANSACTION_CONTROL,
        since: "1.2.0",
        summary: "Begins a transaction: commands are queued until EXEC.",
        handler: multi,
        ..ROW
    },
    CommandSpec {
        name: "exec",
        flags: flag::NOSCRIPT
            | flag::LOADING
            | flag::STALE
            | flag::SKIP_SLOWLOG
            | flag::TRANSACTION_CONTROL
            | flag::RUNS_QUEUE,
        since: "1.2.0",
        complexity: "that of the queued commands",
        summary: "Runs the queued commands as one.",
        handler: exec,
        ..ROW
    },
    CommandSpec {
        name: "discard",
        flags: CONTROL | flag::TRANSACTION_CONTROL,
        since: "2.0.0",
        complexity: "O(N), N: queued commands",
        summary: "Forgets the queued commands.",
        handler: discard,
        ..ROW
    },
    CommandSpec {
        name: "watch",
        arity: -2,
        flags: CONTROL | flag::TRANSACTION_CONTROL,
        since: "2.2.0",
        complexity: "O(1) for every key",
        summary: "Makes the next EXEC fail if one of these keys is changed before it.",
        keys: &[KeySpec::rest(1, key_flag::RO)],
        handler: watch,
        ..ROW
    },
    CommandSpec {
        name: "unwatch",
        flags: CONTROL,
        since: "2.2.0",
        summary: "Forgets the watched keys.",
        handler: unwatch,
        ..ROW
    },
];

fn multi(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if ctx.client().transaction.is_some() {
        return Err(error::MULTI_NESTED);
    }
    let transaction = ctx.server.empty_transaction();
    ctx.client_mut().transaction = Some(transaction);
    ctx.out.ok();
    Ok(())
}

fn discard(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if ctx.client().transaction.is_none() {
        return Err(error::DISCARD_WITHOUT_MULTI);
    }
    let client = ctx.client;
    ctx.server.discard_transaction(client);
    ctx.out.ok();
    Ok(())
}

fn watch(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if ctx.client().transaction.is_some() {
        return Err(error::WATCH_IN_MULTI);
    }
    if !ctx.client().watch_dirty {
        let (client, db) = (ctx.client, ctx.db);
        for key in args.tail(1).iter() {
            ctx.server.watch(client, db, key);
        }
    }
    ctx.out.ok();
    Ok(())
}

fn unwatch(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let client = ctx.client;
    ctx.server.unwatch_all(client);
    ctx.out.ok();
    Ok(())
}

fn exec(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let client = ctx.client;
    let Some(transaction) = ctx.client().transaction.as_ref() else { return Err(error::EXEC_WITHOUT_MULTI) };
    let aborted = transaction.aborted;
    let touched = ctx.client().watch_dirty || ctx.server.watched_key_expired(client);
    let transaction = ctx.server.discard_transaction(client);
    if aborted {
        return Err(error::EXEC_ABORT);
    }
    match transaction {
        Some(transaction) if !touched => run_queue(ctx, transaction),
        _ => {
            ctx.out.null_array();
            Ok(())
        }
    }
}

/// The user has lost a right since the command was queued.
fn refuse_queued(ctx: &mut Ctx<'_>, denial: Denial, found: Found, args: Args<'_>) {
    let reason = match denial.by {
        DeniedBy::Command => "no permission to execute the command or subcommand",
        DeniedBy::Key => "no permission to touch the specified keys",
        DeniedBy::Channel => "no permission to access one of the channels used as arguments to the command",
        DeniedBy::Auth => "no permission",
    };
    ctx.server.note_denial(ctx.client, denial, DenialContext::Multi, found, args);
    let error = format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
         command is no longer allowed for the following reason: {reason}"
    );
    ctx.server.stats.count_error(b"NOPERM");
    ctx.out.error(error.as_bytes());
}

fn run_queue(ctx: &mut Ctx<'_>, transaction: Box<Transaction>) -> CommandResult {
    ctx.out.array(transaction.queue.len());
    for (args, queued) in transaction.queue.iter() {
        let found = ctx.server.commands.all()[queued.command_id as usize];
        let key = queued.hash.zip(found.first_key(args));
        ctx.server.call.hint = key.map_or_else(KeyHint::default, |(hash, key)| KeyHint::new(key, hash));
        match ctx.server.check_rights(ctx.client(), found, args) {
            Ok(()) => {
                dispatch::call(ctx.server, ctx.client, Caller::Exec, found, args, ctx.out);
            }
            Err(denial) => refuse_queued(ctx, denial, found, args),
        }
    }
    ctx.server.call.hint = KeyHint::default();
    ctx.server.reuse_transaction(transaction);
    // A queued SELECT has moved the client; the context follows.
    ctx.db = ctx.client().db;
    Ok(())
}
