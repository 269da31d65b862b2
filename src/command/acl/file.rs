//! ACL LOAD and SAVE. A file is taken whole or not at all, and replaced whole or not at all.

use crate::resp::Args;
use crate::server::acl::{RuleContext, User, users_from_file};
use crate::server::error::{CommandResult, ReplyError};
use crate::server::{Ctx, Server};
use crate::sys::durable;
use crate::sys::io::{OsStorage, Storage};
use std::sync::Arc;

/// Largest ACL file, bytes: hundreds of thousands of users; a data file named by mistake stops here.
const FILE_BYTES_MAX: u64 = 64 << 20;

const NO_FILE: ReplyError = ReplyError::fixed(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store \
     users in the Redis configuration.",
);

pub(super) fn load(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if ctx.server.config.aclfile.is_empty() {
        return Err(NO_FILE);
    }
    let users = read_acl_file(ctx.server).map_err(ReplyError::err)?;
    ctx.server.replace_users(users);
    ctx.out.ok();
    Ok(())
}

/// The users in the file that `aclfile` names.
///
/// # Errors
/// Why it cannot be read, or all that is wrong in it, in one line.
pub fn read_acl_file(server: &Server) -> Result<Vec<User>, Vec<u8>> {
    let path = server.config.aclfile.as_path();
    let shown = server.config.aclfile.to_text();
    let content = OsStorage.read_whole(path, FILE_BYTES_MAX).map_err(|fault| {
        let reason = fault.errno().map_or("not a file", |number| nix::errno::Errno::from_raw(number).desc());
        format!("Error loading ACLs, opening file '{shown}': {reason}").into_bytes()
    })?;
    users_from_file(&content, &shown, &RuleContext::new(&server.commands, &server.config))
}

pub(super) fn save(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if ctx.server.config.aclfile.is_empty() {
        return Err(NO_FILE);
    }
    let path = ctx.server.config.aclfile.as_path();
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".tmp-{}-{}", std::process::id(), ctx.now_ms()));
    let content = ctx.server.acl.file_content();
    durable::replace(Arc::new(OsStorage), path, temporary.as_ref(), &content).map_err(|fault| {
        log::warn!("ACL SAVE: {fault}");
        ReplyError::err(
            "There was an error trying to save the ACLs. Please check the server logs for more information",
        )
    })?;
    ctx.out.ok();
    Ok(())
}
