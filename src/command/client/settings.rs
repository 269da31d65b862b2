//! CLIENT SETNAME, GETNAME, SETINFO, REPLY, NO-EVICT, NO-TOUCH.

use crate::command::connection::is_printable;
use crate::resp::Args;
use crate::server::Ctx;
use crate::server::client::ReplyMode;
use crate::server::error::{self, CommandResult, ReplyError};

pub(super) fn set_name(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if !is_printable(args.at(2)) {
        return Err(error::CLIENT_NAME);
    }
    ctx.client_mut().name = args.at(2).to_vec();
    ctx.out.ok();
    Ok(())
}

pub(super) fn get_name(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let name = ctx.client().name.clone();
    if name.is_empty() {
        ctx.out.null()
    } else {
        ctx.out.bulk(&name)
    }
    Ok(())
}

pub(super) fn set_info(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (option, value) = (args.at(2), args.at(3));
    let client = ctx.client_mut();
    let field = match option.to_ascii_lowercase().as_slice() {
        b"lib-name" => &mut client.library_name,
        b"lib-ver" => &mut client.library_version,
        _ => return Err(ReplyError::err([b"Unrecognized option '", option, b"'"].concat())),
    };
    if !is_printable(value) {
        return Err(ReplyError::err(
            [option, b" cannot contain spaces, newlines or special characters."].concat(),
        ));
    }
    *field = value.to_vec();
    ctx.out.ok();
    Ok(())
}

pub(super) fn reply(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let client = ctx.client_mut();
    match args.at(2).to_ascii_lowercase().as_slice() {
        b"on" => {
            client.reply_mode = ReplyMode::On;
            ctx.out.ok();
        }
        b"off" => client.reply_mode = ReplyMode::Off,
        b"skip" if client.reply_mode == ReplyMode::Off => {}
        b"skip" => client.reply_mode = ReplyMode::SkipNext,
        _ => return Err(error::SYNTAX),
    }
    Ok(())
}

pub(super) fn on_or_off(word: &[u8]) -> Result<bool, ReplyError> {
    match word.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(error::SYNTAX),
    }
}

pub(super) fn no_evict(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.client_mut().no_evict = on_or_off(args.at(2))?;
    ctx.out.ok();
    Ok(())
}

pub(super) fn no_touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.client_mut().no_touch = on_or_off(args.at(2))?;
    ctx.out.ok();
    Ok(())
}
