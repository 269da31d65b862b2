//! DEBUG subcommands that switch something; what reads them is in `server::run::DebugSettings`.

use crate::base::numbers::{parse_i64, parse_memory_bytes};
use crate::resp::Args;
use crate::server::Ctx;
use crate::server::error::{self, CommandResult, ReplyError};

/// As C's `atoi`: what is no number is 0.
fn number(args: Args<'_>) -> i64 {
    parse_i64(args.at(2)).unwrap_or(0)
}

pub(super) fn active_expire(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.server.run.active_expire = number(args) != 0;
    ctx.out.ok();
    Ok(())
}

pub(super) fn pause_cron(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.server.run.cron_paused = number(args) != 0;
    ctx.out.ok();
    Ok(())
}

pub(super) fn skip_checksum(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.server.run.debug.skip_checksums = number(args) != 0;
    ctx.out.ok();
    Ok(())
}

pub(super) fn aof_flush_sleep(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.server.run.debug.aof_flush_sleep_us = number(args).max(0) as u64;
    ctx.out.ok();
    Ok(())
}

pub(super) fn disable_deny_scripts(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.server.run.debug.allow_everything_in_scripts = number(args) != 0;
    ctx.out.ok();
    Ok(())
}

/// 0 brings the built-in threshold back.
pub(super) fn packed_threshold(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    const MAX_BYTES: u64 = (1 << 32) - (1 << 20);
    let bytes = parse_memory_bytes(args.at(2)).filter(|bytes| *bytes <= MAX_BYTES);
    let refused = ReplyError::err("argument must be a memory value bigger than 1 and smaller than 4gb");
    ctx.server.run.debug.packed_threshold_bytes = bytes.ok_or(refused)?;
    ctx.out.ok();
    Ok(())
}

/// Reply buffers have no fixed size here: only whether idle clients give theirs back can be switched.
pub(super) fn reply_buffer(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let value = args.at(3).to_ascii_lowercase();
    match args.at(2).to_ascii_lowercase().as_slice() {
        b"peak-reset-time" if matches!(value.as_slice(), b"never" | b"reset") => {}
        b"peak-reset-time" => {
            parse_i64(&value).ok_or(error::NOT_INTEGER)?;
        }
        b"resizing" => {
            let on = parse_i64(&value).ok_or(error::NOT_INTEGER)?;
            ctx.server.run.debug.keep_reply_buffers = on == 0;
        }
        _ => return Err(super::unknown(b"replybuffer")),
    }
    ctx.out.ok();
    Ok(())
}
