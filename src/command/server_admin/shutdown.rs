//! The way out: SHUTDOWN and the signals.
//!
//! ```text
//!  asked ─► children ended ─► log written ─► snapshot (when there are save points, or SAVE)
//!        ─► run.exit is set; the loop ends after this turn
//! ```
//! What cannot be saved keeps the server alive, unless FORCE; then the other steps are still taken.
//! A data set that is still being loaded is never saved: it would replace the whole one by a part.

use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::run::{Exit, ShutdownRequest};
use crate::server::{Ctx, Server};

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`. No reply when it succeeds: the connection ends.
pub(super) fn shutdown(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut request = ShutdownRequest::default();
    let mut abort = false;
    for word in args.tail(1).iter() {
        match word.to_ascii_lowercase().as_slice() {
            b"nosave" => request.nosave = true,
            b"save" => request.save = true,
            b"now" => request.now = true,
            b"force" => request.force = true,
            b"abort" => abort = true,
            _ => return Err(error::SYNTAX),
        }
    }
    let conflicting = request.save && request.nosave;
    if conflicting || (abort && request != ShutdownRequest::default()) {
        return Err(error::SYNTAX);
    }
    if abort {
        ctx.server.run.shutdown_asked.take().ok_or(ReplyError::err("No shutdown in progress."))?;
        log::info!("Shutdown manually aborted");
        ctx.out.ok();
        return Ok(());
    }
    prepare_shutdown(ctx.server, request)
}

/// Makes everything safe and decides the exit.
///
/// # Errors
/// When something could not be saved; the server goes on.
pub fn prepare_shutdown(server: &mut Server, request: ShutdownRequest) -> Result<(), ReplyError> {
    log::warn!("User requested shutdown...");
    for step in [leave_aof, end_snapshot_child, save_last_snapshot] {
        let Err(reason) = step(server, request) else { continue };
        if !request.force {
            log::warn!("{reason}, can't exit.");
            log::warn!("Errors trying to shut down the server. Check the logs for more information.");
            return Err(ReplyError::err("Errors trying to SHUTDOWN. Check logs."));
        }
        log::warn!("{reason}. Exit anyway.");
    }
    server.run.exit = Some(Exit { code: 0 });
    Ok(())
}

fn leave_aof(server: &mut Server, request: ShutdownRequest) -> Result<(), String> {
    server.leave_aof(request.force)
}

fn end_snapshot_child(server: &mut Server, _: ShutdownRequest) -> Result<(), String> {
    if server.end_background_save() {
        log::warn!("There is a child saving an .rdb. Killing it!");
    }
    Ok(())
}

fn save_last_snapshot(server: &mut Server, request: ShutdownRequest) -> Result<(), String> {
    let asked = request.save || (!request.nosave && !server.config.save.0.is_empty());
    if !asked || server.run.loading.is_some() {
        return Ok(());
    }
    log::info!("Saving the final RDB snapshot before exiting.");
    // The reason is in the log already.
    server.save_now().map_err(|_| "Error trying to save the DB".to_owned())
}
