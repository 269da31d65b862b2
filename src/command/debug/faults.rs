//! DEBUG DISK-FAULT: the next system calls on data files stall or fail, as a bad disk would make them.
//!
//! ```text
//!  DEBUG DISK-FAULT fdatasync stall:2000            the next fdatasync takes 2 s longer
//!  DEBUG DISK-FAULT write fail:ENOSPC 3 appendonly  the next three writes to such a path fail
//!  DEBUG DISK-FAULT clear
//! ```
//! For measurements and for trying out what monitoring sees. Files of the AOF and of snapshots only.

use crate::base::numbers::parse_i64;
use crate::resp::Args;
use crate::server::Ctx;
use crate::server::error::{CommandResult, ReplyError};
use crate::sys::io::{FaultEffect, Operation};
use std::time::Duration;

/// Longest stall, milliseconds: ten minutes.
const STALL_MAX_MS: i64 = 600_000;

/// Names of the calls; those of [`Operation::name`], with one for each kind of open.
const CALLS: &[(&str, Operation)] = &[
    ("write", Operation::Write),
    ("fdatasync", Operation::SyncData),
    ("fsync", Operation::SyncAll),
    ("fsync-directory", Operation::SyncDir),
    ("rename", Operation::Rename),
    ("open-read", Operation::OpenRead),
    ("open-create", Operation::Create),
    ("open-append", Operation::OpenAppend),
    ("unlink", Operation::Remove),
    ("truncate", Operation::Truncate),
    ("read", Operation::Read),
    ("stat", Operation::Metadata),
];

/// Names of what disks answer; any other by number.
const ERRORS: &[(&str, i32)] = &[
    ("ENOSPC", libc::ENOSPC),
    ("EIO", libc::EIO),
    ("EROFS", libc::EROFS),
    ("EACCES", libc::EACCES),
    ("EDQUOT", libc::EDQUOT),
];

/// `DISK-FAULT <call> stall:<ms>|fail:<errno>|lie [times [part of the path]]`, `DISK-FAULT clear`.
pub(super) fn disk_fault(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let plan = &ctx.server.persistence.faults;
    let call = String::from_utf8_lossy(args.at(2)).to_ascii_lowercase();
    if call == "clear" {
        plan.clear();
        ctx.out.ok();
        return Ok(());
    }
    let operation = CALLS.iter().find(|(name, _)| *name == call).map(|(_, operation)| *operation);
    let operation = operation.ok_or_else(|| ReplyError::err("unknown system call"))?;
    let effect = args.get(3).and_then(effect_of);
    let effect = effect.ok_or_else(|| ReplyError::err("effect must be stall:<ms>, fail:<errno> or lie"))?;
    let times = args.get(4).map_or(Some(1), parse_i64).filter(|times| *times > 0);
    let times = times.ok_or_else(|| ReplyError::err("times must be a positive number"))?;
    let path = args.get(5).map(|path| String::from_utf8_lossy(path).into_owned()).unwrap_or_default();
    plan.add_next(operation, &path, times as u64, effect);
    ctx.out.ok();
    Ok(())
}

fn effect_of(text: &[u8]) -> Option<FaultEffect> {
    let text = std::str::from_utf8(text).ok()?;
    match text.split_once(':') {
        None if text.eq_ignore_ascii_case("lie") => Some(FaultEffect::Lie),
        Some(("stall", ms)) => {
            let ms = parse_i64(ms.as_bytes()).filter(|ms| (0..=STALL_MAX_MS).contains(ms))?;
            Some(FaultEffect::Stall(Duration::from_millis(ms as u64)))
        }
        Some(("fail", name)) => {
            let named = ERRORS.iter().find(|(known, _)| *known == name).map(|(_, errno)| *errno);
            let number = || parse_i64(name.as_bytes()).and_then(|number| i32::try_from(number).ok());
            named.or_else(number).filter(|errno| *errno > 0).map(FaultEffect::Fail)
        }
        _ => None,
    }
}
