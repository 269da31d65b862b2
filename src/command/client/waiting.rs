//! CLIENT PAUSE, UNPAUSE, UNBLOCK.

use crate::base::numbers::parse_i64;
use crate::blocking::{self, UnblockReason};
use crate::resp::Args;
use crate::server::Ctx;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::run::PauseKind;

pub(super) fn pause(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let kind = match args.get(3) {
        None => PauseKind::All,
        Some(_) if args.len() > 4 => {
            return Err(error::wrong_subcommand_syntax(args.at(1), "client"));
        }
        Some(word) if word.eq_ignore_ascii_case(b"all") => PauseKind::All,
        Some(word) if word.eq_ignore_ascii_case(b"write") => PauseKind::Writes,
        Some(_) => return Err(ReplyError::err("CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let duration_ms = parse_i64(args.at(2)).ok_or(error::TIMEOUT_NOT_INTEGER)?;
    if duration_ms < 0 {
        return Err(error::TIMEOUT_NEGATIVE);
    }
    let end_ms = ctx.now_ms().checked_add(duration_ms).ok_or(error::TIMEOUT_OUT_OF_RANGE)?;
    ctx.server.pause_clients(kind, end_ms);
    ctx.out.ok();
    Ok(())
}

pub(super) fn unpause(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.server.unpause_clients();
    ctx.out.ok();
    Ok(())
}

pub(super) fn unblock(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let reason = match args.get(3) {
        _ if args.len() > 4 => return Err(error::wrong_subcommand_syntax(args.at(1), "client")),
        None => UnblockReason::TimedOut,
        Some(word) if word.eq_ignore_ascii_case(b"timeout") => UnblockReason::TimedOut,
        Some(word) if word.eq_ignore_ascii_case(b"error") => UnblockReason::Error,
        Some(_) => return Err(ReplyError::err("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let id = parse_i64(args.at(2)).ok_or(error::NOT_INTEGER)?;
    let target = u64::try_from(id).ok().and_then(|id| ctx.server.clients.by_id(id));
    let unblocked = target.is_some_and(|client| blocking::unblock(ctx.server, client, reason));
    ctx.out.integer(unblocked as i64);
    Ok(())
}
