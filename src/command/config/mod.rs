//! CONFIG: GET, SET, REWRITE, RESETSTAT.
//!
//! SET is all or nothing: values are checked first, then put into effect one by one
//! (`apply.rs`); when one effect fails, the old configuration comes back and is applied again.

mod apply;
mod rewrite;

pub use apply::apply_at_start;
pub use rewrite::rewrite_file;

use crate::command::help;
use crate::resp::Args;
use crate::server::config::{ConfigSetError, RefuseReason, SetContext};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::replication::SyncCounts;
use crate::server::spec::{Group, flag};
use crate::server::{CommandSpec, Ctx};

const ADMIN: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        arity: -3,
        flags: ADMIN,
        group: Group::Server,
        since: "2.0.0",
        complexity: "O(N) when N is the number of configuration parameters provided",
        summary: "Shows the values of the directives that match any of the patterns.",
        handler: get,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "set",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: -4,
        flags: ADMIN,
        group: Group::Server,
        since: "2.0.0",
        complexity: "O(N) when N is the number of configuration parameters provided",
        summary: "Changes directives while the server runs, all of them or none.",
        handler: set,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "rewrite",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: 2,
        flags: ADMIN,
        group: Group::Server,
        since: "2.8.0",
        summary: "Writes the current values into the configuration file.",
        handler: rewrite_command,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "resetstat",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: 2,
        flags: ADMIN,
        group: Group::Server,
        since: "2.0.0",
        summary: "Sets the server's counters back to zero.",
        handler: resetstat,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        group: Group::Server,
        since: "5.0.0",
        summary: "Describes the subcommands.",
        handler: help_command,
        ..CommandSpec::DEFAULT
    },
];

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "config",
    arity: -2,
    group: Group::Server,
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    summary: "Shows and changes the configuration.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::DEFAULT
}];

fn help_command(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    help::write(
        ctx.out,
        "CONFIG",
        &[
            "GET <pattern> [<pattern> ...]",
            "    Show directives that match the patterns, with their values.",
            "SET <directive> <value> [<directive> <value> ...]",
            "    Change directives: all of them, or none when one is refused.",
            "RESETSTAT",
            "    Set the counters that INFO shows back to zero.",
            "REWRITE",
            "    Write the current values into the configuration file.",
        ],
    );
    Ok(())
}

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let patterns: Vec<&[u8]> = args.tail(2).iter().collect();
    let found = ctx.server.config.get_matching(&patterns);
    ctx.out.map(found.len());
    for (name, value) in found {
        ctx.out.bulk(&name);
        ctx.out.bulk(&value);
    }
    Ok(())
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let words: Vec<&[u8]> = args.tail(2).iter().collect();
    if !words.len().is_multiple_of(2) {
        return Err(error::SYNTAX);
    }
    let pairs: Vec<(&[u8], &[u8])> = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let context =
        SetContext { loading: ctx.server.run.loading.is_some(), client_is_local: ctx.client().local_peer };
    let before = ctx.server.config.clone();
    let changed = ctx.server.config.set_many(&pairs, context).map_err(refusal)?;
    apply::apply_all(ctx.server, &before, &changed).map_err(|(row, reason)| {
        let shown = pairs.iter().find(|(name, _)| names_row(name, row)).map_or(row.as_bytes(), |pair| pair.0);
        refusal(ConfigSetError::Refused { name: shown.to_vec(), reason: RefuseReason::Apply(reason) })
    })?;
    for row in changed {
        row.log_if_inactive(&ctx.server.config);
    }
    ctx.out.ok();
    Ok(())
}

/// Whether what a client wrote means this directive.
fn names_row(written: &[u8], row: &str) -> bool {
    crate::server::config::find_row(written).is_some_and(|found| found.row.name == row)
}

fn refusal(failure: ConfigSetError) -> ReplyError {
    match failure {
        ConfigSetError::Loading => error::LOADING,
        other => ReplyError::err(other.to_string()),
    }
}

fn rewrite_command(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    rewrite_file(ctx.server, false)?;
    ctx.out.ok();
    Ok(())
}

fn resetstat(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.server.stats.reset();
    ctx.server.replication.counts = SyncCounts::default();
    ctx.server.keyspace.lazy_mut().reset_statistics();
    ctx.server.keyspace.expired_keys = 0;
    ctx.out.ok();
    Ok(())
}
