//! SAVE, BGSAVE, LASTSAVE.

use crate::command::arg;
use crate::persist::fork::ChildKind;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, category, flag};
use crate::server::{Caller, CommandSpec, Ctx};

const ROW: CommandSpec = CommandSpec {
    flags: flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT,
    group: Group::Server,
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "save",
        flags: ROW.flags | flag::NO_MULTI,
        complexity: "O(N) where N is the number of keys in all databases.",
        summary: "Saves the data set to disk while every client waits.",
        handler: save,
        ..ROW
    },
    CommandSpec {
        name: "bgsave",
        arity: -1,
        complexity: "O(1), the child's work aside.",
        summary: "Saves the data set to disk in a forked child.",
        handler: bgsave,
        ..ROW
    },
    CommandSpec {
        name: "lastsave",
        tips: &["nondeterministic_output"],
        flags: flag::LOADING | flag::STALE | flag::FAST,
        categories: category::ADMIN | category::DANGEROUS,
        summary: "Unix time of the last successful save.",
        handler: lastsave,
        ..ROW
    },
];

const IN_PROGRESS: &str = "Background save already in progress";

fn save(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if ctx.server.persistence.child_kind().is_some_and(ChildKind::writes_snapshot) {
        return Err(ReplyError::err(IN_PROGRESS));
    }
    ctx.server.save_now().map_err(|_| ReplyError::coded("ERR"))?;
    ctx.out.simple("OK");
    Ok(())
}

fn bgsave(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let schedule = match (args.len(), args.get(1)) {
        (1, _) => false,
        (2, Some(word)) if arg::is(word, "schedule") => true,
        (2, Some(word)) if arg::is(word, "cancel") => return cancel(ctx),
        _ => return Err(error::SYNTAX),
    };
    let active = ctx.server.persistence.child_kind();
    if active.is_some_and(ChildKind::writes_snapshot) {
        return Err(ReplyError::err(IN_PROGRESS));
    }
    let no_fork_here = ctx.caller != Caller::Client;
    if schedule && active.is_some() || no_fork_here {
        ctx.server.persistence.snapshot.scheduled = true;
        ctx.out.simple("Background saving scheduled");
        return Ok(());
    }
    if active.is_some() {
        return Err(ReplyError::err(
            "Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to \
             schedule a BGSAVE whenever possible.",
        ));
    }
    ctx.server.start_background_save().map_err(|_| ReplyError::coded("ERR"))?;
    ctx.out.simple("Background saving started");
    Ok(())
}

/// Ends a running save, or takes a scheduled one back.
fn cancel(ctx: &mut Ctx<'_>) -> CommandResult {
    if ctx.server.cancel_background_save() {
        ctx.out.simple("Background saving cancelled");
        return Ok(());
    }
    if std::mem::take(&mut ctx.server.persistence.snapshot.scheduled) {
        ctx.out.simple("Scheduled background saving cancelled");
        return Ok(());
    }
    Err(ReplyError::err("Background saving is currently not in progress or scheduled"))
}

fn lastsave(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.integer(ctx.server.persistence.snapshot.last_save_s);
    Ok(())
}
