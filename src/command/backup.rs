//! BACKUP: starts, watches and cancels backups. A command of Tine's own.

use crate::command::{arg, help};
use crate::persist::backup::manifest::BackupKind;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const ROW: CommandSpec = CommandSpec {
    arity: 2,
    flags: flag::ADMIN | flag::NOSCRIPT,
    group: Group::Server,
    since: "7.2.4",
    ..CommandSpec::DEFAULT
};

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "to",
        arity: -3,
        flags: ROW.flags | flag::NO_MULTI | flag::NO_ASYNC_LOADING,
        complexity: "O(databases), the thread's work aside.",
        summary: "Starts a backup of the data set into a folder.",
        handler: to,
        ..ROW
    },
    CommandSpec {
        name: "status",
        flags: ROW.flags | flag::LOADING | flag::STALE,
        summary: "Tells how far a backup is and how the last one ended.",
        handler: status,
        ..ROW
    },
    CommandSpec { name: "cancel", summary: "Ends a backup that runs.", handler: cancel, ..ROW },
    CommandSpec {
        name: "help",
        flags: flag::LOADING | flag::STALE,
        summary: "Describes the subcommands.",
        handler: help_command,
        ..ROW
    },
];

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "backup",
    arity: -2,
    flags: 0,
    categories: category::ADMIN | category::DANGEROUS | category::SLOW,
    complexity: "Depends on subcommand.",
    summary: "Takes backups of the data set.",
    subcommands: SUBCOMMANDS,
    ..ROW
}];

/// `BACKUP TO <directory> [AOF | RDB] [COPY]`
fn to(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let directory = &args[2];
    if directory.is_empty() || directory.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        return Err(ReplyError::err("Bad backup directory"));
    }
    let (mut kind, mut copy) = (None, false);
    for word in args.tail(3).iter() {
        match word {
            _ if arg::is(word, "copy") => copy = true,
            _ if arg::is(word, "aof") && kind.is_none() => kind = Some(BackupKind::Log),
            _ if arg::is(word, "rdb") && kind.is_none() => kind = Some(BackupKind::Snapshot),
            _ => return Err(error::SYNTAX),
        }
    }
    let name = ctx.server.start_backup(Path::new(OsStr::from_bytes(directory)), kind, copy)?;
    ctx.out.bulk_str(&name);
    Ok(())
}

fn status(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let (done_bytes, total_bytes) = ctx.server.backup_progress();
    let state = &ctx.server.persistence.backup;
    let (running, last) = (state.request.as_ref(), state.last.as_ref());
    let out = &mut *ctx.out;
    out.map(9);
    let mut text = |name: &str, value: &str| {
        out.bulk_str(name);
        out.bulk_str(value);
    };
    text("state", state.phase_name());
    text("name", running.map_or("", |request| &request.name));
    text("last-name", last.map_or("", |last| &last.name));
    text("last-status", last.map_or("none", |last| if last.error.is_none() { "ok" } else { "err" }));
    text("last-error", last.and_then(|last| last.error.as_deref()).unwrap_or_default());
    let mut number = |name: &str, value: i64| {
        out.bulk_str(name);
        out.integer(value);
    };
    let running = state.in_progress();
    number("done-bytes", if running { done_bytes as i64 } else { 0 });
    number("total-bytes", if running { total_bytes as i64 } else { 0 });
    number("last-bytes", last.map_or(0, |last| last.bytes as i64));
    number("last-duration-ms", last.map_or(0, |last| last.duration.as_millis() as i64));
    Ok(())
}

fn cancel(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if !ctx.server.cancel_backup() {
        return Err(ReplyError::err("No backup is in progress"));
    }
    ctx.out.ok();
    Ok(())
}

fn help_command(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    help::write(
        ctx.out,
        "BACKUP",
        &[
            "TO <directory> [AOF|RDB] [COPY]",
            "    Start a backup into a new folder below <directory> and reply its name. AOF copies the",
            "    append only file (the default while it is on), RDB takes a fresh snapshot, COPY shares",
            "    no blocks with the files of the server.",
            "STATUS",
            "    Show how far the running backup is and how the last one ended.",
            "CANCEL",
            "    End the running backup and remove what it has written.",
        ],
    );
    Ok(())
}
