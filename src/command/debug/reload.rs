//! DEBUG RELOAD and LOADAOF: the data set goes through its file and back.

use crate::replay::{reload_aof, reload_snapshot};
use crate::resp::Args;
use crate::server::error::{CommandResult, ReplyError};
use crate::server::{Ctx, Server};

/// `RELOAD [MERGE] [NOFLUSH] [NOSAVE]`.
pub(super) fn reload(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (mut merge, mut flush, mut save) = (false, true, true);
    for option in args.tail(2).iter() {
        match option.to_ascii_lowercase().as_slice() {
            b"merge" => merge = true,
            b"noflush" => flush = false,
            b"nosave" => save = false,
            _ => {
                return Err(ReplyError::err(
                    "DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    if save {
        ctx.server.save_now().map_err(|_| ReplyError::coded("ERR"))?;
    }
    if flush {
        empty(ctx.server);
    }
    match reload_snapshot(ctx.server, merge) {
        Ok(true) => {
            log::info!("DB reloaded by DEBUG RELOAD");
            ctx.out.ok();
            Ok(())
        }
        outcome => {
            log::warn!(
                "DEBUG RELOAD failed: {}",
                outcome.err().unwrap_or_else(|| "there is no file".to_owned())
            );
            Err(ReplyError::err("Error trying to load the RDB dump, check server logs."))
        }
    }
}

/// Throws the data set away without a trace in the log: it comes back at once. Watched keys count
/// as touched, as they do in Redis.
fn empty(server: &mut Server) {
    server.invalidate_everything();
    for db in 0..server.keyspace.databases() {
        server.touch_all_watched(db, None);
        server.keyspace.flush(db, false);
    }
}

pub(super) fn load_aof(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    // Nobody is served meanwhile: the command itself holds the server.
    if let Err(reason) = reload_aof(ctx.server, &mut |server: &mut Server| server.defrag_while_loading()) {
        log::warn!("DEBUG LOADAOF failed: {reason}");
        return Err(ReplyError::err("Error trying to load the AOF files, check server logs."));
    }
    ctx.server.persistence.dirty = 0;
    log::info!("Append Only File loaded by DEBUG LOADAOF");
    ctx.out.ok();
    Ok(())
}
