//! May this request run now? An ordered list of small checks; the first refusal is the answer.
//!
//! The order is Redis's (`processCommand`, behaviour only): what a client sees when two reasons
//! apply depends on it.

use crate::dispatch::unknown_command;
use crate::resp::Args;
use crate::server::error::{self, ReplyError};
use crate::server::run::PauseKind;
use crate::server::spec::{Found, flag};
use crate::server::{Client, ClientRef, Server};

/// A request that may go on.
pub(super) enum Admitted {
    Run(Found),
    /// The client is in MULTI.
    Queue(Found),
    /// CLIENT PAUSE: run it when the pause ends.
    Postpone,
}

struct Request<'a> {
    found: Found,
    args: Args<'a>,
    client: &'a Client,
    /// Flags of the command, or of everything queued when it is EXEC.
    flags: u32,
}

type Check = fn(&Server, &Request<'_>) -> Result<(), ReplyError>;

const CHECKS: &[Check] = &[
    check_protected,
    check_authenticated,
    check_memory,
    check_disk,
    check_subscribe_mode,
    check_loading,
    check_multi,
];

pub(super) fn admit(
    server: &Server,
    client: ClientRef,
    found: Option<Found>,
    args: Args<'_>,
) -> Result<Admitted, ReplyError> {
    let found = find_and_count(server, found, args)?;
    let client = server.clients.get(client).expect("the sender of a request is in the table");
    let queued = client.transaction.as_ref().filter(|_| found.spec.has(flag::TRANSACTION_CONTROL));
    let flags = found.spec.flags | queued.map_or(0, |transaction| transaction.flags & !flag::LOADING & !flag::STALE);
    let request = Request { found, args, client, flags };
    for check in CHECKS {
        check(server, &request)?;
    }
    if is_paused(server, &request) {
        return Ok(Admitted::Postpone);
    }
    if client.transaction.is_some() && !found.spec.has(flag::TRANSACTION_CONTROL) {
        return Ok(Admitted::Queue(found));
    }
    Ok(Admitted::Run(found))
}

/// Unknown command, unknown subcommand, wrong arity.
#[inline]
fn find_and_count(server: &Server, found: Option<Found>, args: Args<'_>) -> Result<Found, ReplyError> {
    let Some(mut found) = found else { return Err(unknown_command(args)) };
    if !found.spec.subcommands.is_empty() && args.len() > 1 {
        let parent = found;
        found = server
            .commands
            .find_subcommand(parent, &args[1])
            .ok_or_else(|| error::unknown_subcommand(&args[1], parent.spec.name))?;
    }
    if !found.spec.arity_fits(args.len()) {
        return Err(error::wrong_arity(&found.full_name()));
    }
    Ok(found)
}

fn check_protected(server: &Server, request: &Request<'_>) -> Result<(), ReplyError> {
    if !request.found.spec.has(flag::PROTECTED_DEBUG) {
        return Ok(());
    }
    if server.config.enable_debug_command.allows(request.client.local_peer) {
        return Ok(());
    }
    Err(ReplyError::err(
        "DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
         local connection, otherwise you need to set this option in the configuration file, and then restart the \
         server.",
    ))
}

#[inline]
fn check_authenticated(server: &Server, request: &Request<'_>) -> Result<(), ReplyError> {
    let open = request.client.authenticated || server.config.requirepass.is_empty();
    if open || request.found.spec.has(flag::NO_AUTH) { Ok(()) } else { Err(error::NO_AUTH) }
}

/// Memory limits arrive with eviction (README lists `maxmemory` as not yet active).
#[inline]
fn check_memory(_: &Server, _: &Request<'_>) -> Result<(), ReplyError> {
    Ok(())
}

/// Writes are refused while they cannot be made safe (MISCONF).
#[inline]
fn check_disk(server: &Server, request: &Request<'_>) -> Result<(), ReplyError> {
    if request.flags & (flag::WRITE | flag::REPORTS_DISK) == 0 {
        return Ok(());
    }
    server.refuse_unsafe_write()
}

#[inline]
fn check_subscribe_mode(_: &Server, request: &Request<'_>) -> Result<(), ReplyError> {
    if !request.client.in_subscribe_mode() || request.found.spec.has(flag::SUBSCRIBE_MODE) {
        return Ok(());
    }
    Err(ReplyError::err(format!(
        "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        request.found.full_name()
    )))
}

#[inline]
fn check_loading(server: &Server, request: &Request<'_>) -> Result<(), ReplyError> {
    if server.run.loading.is_none() || request.found.spec.has(flag::LOADING) { Ok(()) } else { Err(error::LOADING) }
}

#[inline]
fn check_multi(_: &Server, request: &Request<'_>) -> Result<(), ReplyError> {
    if request.client.transaction.is_some() && request.found.spec.has(flag::NO_MULTI) {
        return Err(error::NOT_ALLOWED_IN_MULTI);
    }
    let _ = request.args;
    Ok(())
}

#[inline]
fn is_paused(server: &Server, request: &Request<'_>) -> bool {
    match server.run.pause_at(server.call.now_ms) {
        None => false,
        Some(PauseKind::All) => true,
        Some(PauseKind::Writes) => request.flags & (flag::WRITE | flag::MAY_REPLICATE) != 0,
    }
}
