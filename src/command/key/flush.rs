//! FLUSHDB, FLUSHALL, SWAPDB: whole databases.

use crate::command::arg;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx};

const ROW: CommandSpec = CommandSpec {
    arity: -1,
    flags: flag::WRITE,
    categories: category::KEYSPACE | category::DANGEROUS,
    group: Group::Server,
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "flushdb",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        complexity: "O(N) where N is the number of keys in the database.",
        summary: "Deletes all keys of the database.",
        handler: flushdb,
        ..ROW
    },
    CommandSpec {
        name: "flushall",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        complexity: "O(N) where N is the number of keys in all databases.",
        summary: "Deletes all keys of all databases.",
        handler: flushall,
        ..ROW
    },
    CommandSpec {
        name: "swapdb",
        arity: 3,
        flags: flag::WRITE | flag::FAST,
        since: "4.0.0",
        complexity: "O(N) where N is the number of clients that watch or wait for keys of these databases.",
        summary: "Exchanges the contents of two databases.",
        handler: swapdb,
        ..ROW
    },
];

/// Whether the freeing may happen in the background: SYNC, ASYNC, or the configuration's choice.
fn is_lazy(ctx: &Ctx<'_>, args: Args<'_>) -> Result<bool, ReplyError> {
    match (args.len(), args.get(1)) {
        (1, _) => Ok(ctx.server.config.lazyfree_lazy_user_flush),
        (2, Some(word)) if arg::is(word, "sync") => Ok(false),
        (2, Some(word)) if arg::is(word, "async") => Ok(true),
        _ => Err(error::SYNTAX),
    }
}

fn flushdb(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let lazily = is_lazy(ctx, args)?;
    ctx.server.persistence.dirty += ctx.server.flush_db(ctx.db, lazily) as u64;
    finish(ctx, args);
    Ok(())
}

fn flushall(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let lazily = is_lazy(ctx, args)?;
    ctx.server.persistence.dirty += ctx.server.flush_all(lazily) as u64;
    ctx.server.data_set_flushed();
    finish(ctx, args);
    Ok(())
}

/// A flush is logged even when there was nothing to delete.
fn finish(ctx: &mut Ctx<'_>, args: Args<'_>) {
    ctx.propagate_args_instead(args);
    ctx.out.ok();
}

fn swapdb(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let index = |text, failure| match arg::integer_in(text, i32::MIN as i64, i32::MAX as i64) {
        Ok(index) => Ok(index),
        Err(_) => Err(ReplyError::fixed(failure)),
    };
    let first = index(args.at(1), "ERR invalid first DB index")?;
    let second = index(args.at(2), "ERR invalid second DB index")?;
    let databases = ctx.server.keyspace.databases();
    let in_range = |index: i64| usize::try_from(index).ok().filter(|index| *index < databases);
    let (Some(first), Some(second)) = (in_range(first), in_range(second)) else {
        return Err(error::DB_OUT_OF_RANGE);
    };
    ctx.server.swap_dbs(first, second);
    ctx.server.persistence.dirty += 1;
    ctx.out.ok();
    Ok(())
}
