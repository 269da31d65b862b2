//! The way out: SHUTDOWN and the signals.
//!
//! ```text
//!  asked ─► children ended ─► log written ─► snapshot (when there are save points, or SAVE)
//!        ─► run.exit is set; the loop ends after this turn
//! ```
//! An AOF that somebody has moved away is written anew before. What cannot be saved keeps the server
//! alive, unless FORCE; then the other steps are still taken.
//! A data set that is still being loaded is never saved: it would replace the whole one by a part.
//! What a failed synchronization has left is saved only when SAVE asks for it.

use crate::blocking;
use crate::resp::Args;
use crate::server::client::{Blocked, BlockedOn};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::replication::ReplicaPhase;
use crate::server::run::{Exit, PendingShutdown, ShutdownRequest};
use crate::server::{Ctx, Server};

/// How long a shutdown waits for an AOF to be written anew, ms: as long as systemd waits for a service
/// to end, unless told otherwise.
const REWRITE_PATIENCE_MS: u64 = 90_000;

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
        abort_shutdown(ctx.server)?;
        ctx.out.ok();
        return Ok(());
    }
    if !request.now && !ctx.caller.may_block() {
        return Err(ReplyError::err("SHUTDOWN without NOW or ABORT isn't allowed for DENY BLOCKING client"));
    }
    prepare_shutdown(ctx.server, request)?;
    if ctx.server.run.exit.is_none() {
        let on = BlockedOn::Shutdown;
        let blocked = Blocked { on, args: args.to_owned(), deadline_ms: None, order: 0 };
        ctx.server.block_client(ctx.client, blocked);
    }
    Ok(())
}

fn abort_shutdown(server: &mut Server) -> Result<(), ReplyError> {
    let was_asked = server.run.shutdown_asked.take().is_some();
    if server.run.pending_shutdown.is_some() {
        cancel(server);
    } else if !was_asked {
        return Err(ReplyError::err("No shutdown in progress."));
    }
    log::info!("Shutdown manually aborted.");
    Ok(())
}

/// Begins a shutdown: at once when every replica has everything, else it waits for them
/// (`shutdown-timeout`), and [`go_on_with_shutdown`] ends it.
///
/// # Errors
/// When something could not be saved; the server goes on.
pub fn prepare_shutdown(server: &mut Server, request: ShutdownRequest) -> Result<(), ReplyError> {
    if server.run.pending_shutdown.is_some() {
        return Ok(());
    }
    log::warn!("User requested shutdown...");
    let patience_ms = u64::from(server.config.shutdown_timeout) * 1000;
    if !request.now && patience_ms > 0 && !replicas_are_level(server) {
        let deadline_ms = server.clock.monotonic_ms() + patience_ms;
        server.feed_replicas(&[b"REPLCONF", b"GETACK", b"*"]);
        server.run.pending_shutdown = Some(PendingShutdown { request, deadline_ms, heals_aof: false });
        server.apply_expire_rule();
        log::info!("Waiting for replicas before shutting down.");
        return Ok(());
    }
    finish(server, request)
}

/// For cron: ends a shutdown that waits, when replicas have everything or time is up.
pub fn go_on_with_shutdown(server: &mut Server) {
    let Some(pending) = server.run.pending_shutdown else { return };
    let now_ms = server.clock.monotonic_ms();
    let is_ready = match pending.heals_aof {
        true => !server.persistence.aof.needs_rewrite() && !server.persistence.aof.rewrite.in_progress(),
        false => replicas_are_level(server),
    };
    if now_ms >= pending.deadline_ms || is_ready {
        // What goes wrong is in the log, and the server goes on.
        let _ = finish(server, pending.request);
    }
}

/// Whether every replica has acknowledged everything that is in the stream, or will be.
fn replicas_are_level(server: &Server) -> bool {
    let offset = server.stream_offset();
    server.replica_states().all(|(_, state)| state.acked_offset == offset)
}

fn cancel(server: &mut Server) {
    server.run.pending_shutdown = None;
    server.apply_expire_rule();
    blocking::answer_shutdown_waiters(server, &NOT_DOWN);
}

const NOT_DOWN: ReplyError = ReplyError::fixed("ERR Errors trying to SHUTDOWN. Check logs.");

fn log_lagging_replicas(server: &Server) {
    let offset = server.stream_offset();
    let now_ms = server.clock.monotonic_ms();
    let (mut all, mut lagging) = (0, 0);
    for (client, state) in server.replica_states() {
        all += 1;
        if state.acked_offset == offset {
            continue;
        }
        lagging += 1;
        let online = state.phase == ReplicaPhase::Online;
        log::info!(
            "Lagging replica {} reported offset {} behind master, lag={}, state={}.",
            server.replica_name(client.reference),
            offset.saturating_sub(state.acked_offset),
            if online { now_ms.saturating_sub(state.acked_ms) / 1000 } else { 0 },
            state.phase.name()
        );
    }
    if all > 0 {
        log::info!("{} of {all} replicas are in sync when shutting down.", all - lagging);
    }
}

/// Makes everything safe and decides the exit.
fn finish(server: &mut Server, request: ShutdownRequest) -> Result<(), ReplyError> {
    log_lagging_replicas(server);
    let mut is_safe = true;
    for step in [leave_aof, end_snapshot_child, save_last_snapshot] {
        let Err(reason) = step(server, request) else { continue };
        if wait_for_rewrite(server, request) {
            log::warn!("{reason}. The server exits when it has been written anew.");
            return Ok(());
        }
        if !request.force {
            log::warn!("{reason}, can't exit.");
            log::warn!("Errors trying to shut down the server. Check the logs for more information.");
            cancel(server);
            return Err(NOT_DOWN);
        }
        log::warn!("{reason}. Exit anyway.");
        is_safe = false;
    }
    // An AOF that lacks something ends at no place that is known.
    if is_safe {
        server.note_aof_place();
    }
    server.run.exit = Some(Exit { code: 0 });
    Ok(())
}

/// Puts the shutdown off until an AOF that is not whole has been written anew (cron does that), once;
/// false when there is no reason to, or no leave to wait.
fn wait_for_rewrite(server: &mut Server, request: ShutdownRequest) -> bool {
    let has_waited = server.run.pending_shutdown.is_some_and(|pending| pending.heals_aof);
    if has_waited || request.force || request.now || !server.persistence.aof.needs_rewrite() {
        return false;
    }
    let deadline_ms = server.clock.monotonic_ms() + REWRITE_PATIENCE_MS;
    server.run.pending_shutdown = Some(PendingShutdown { request, deadline_ms, heals_aof: true });
    server.apply_expire_rule();
    true
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
    if server.link.data_incomplete && !request.save {
        log::warn!("A synchronization with MASTER has failed half way: the last snapshot is kept as it is.");
        return Ok(());
    }
    log::info!("Saving the final RDB snapshot before exiting.");
    // The reason is in the log already.
    server.save_now().map_err(|_| "Error trying to save the DB".to_owned())
}
