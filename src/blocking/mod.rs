//! Floor 8: running blocked clients' commands again.
//!
//! A blocked client keeps its command, owned. When one of its keys becomes ready the command is
//! run again by dispatch; if it still cannot be served it blocks again, so this module knows no
//! type. Clients are served in the order in which they began to wait at the key.

use crate::dispatch::{self, Outcome};
use crate::resp::Reply;
use crate::server::blocked::DbKey;
use crate::server::client::{Blocked, BlockedOn};
use crate::server::{ClientRef, Server};

/// Rounds of ready keys served after one command: a served client may make other keys ready
/// (BLMOVE chains). Each round serves clients that then leave the tables, so this ends; the bound
/// guards against a command that blocks and signals itself.
const ROUNDS_MAX: usize = 10_000;

/// Serves clients whose keys became ready. Called after each command of a client.
pub fn serve_ready(server: &mut Server) {
    for _ in 0..ROUNDS_MAX {
        if !server.blocked.has_ready() {
            return;
        }
        for key in server.blocked.take_ready() {
            serve_key(server, &key);
        }
    }
}

fn serve_key(server: &mut Server, key: &DbKey) {
    for client in server.blocked.waiting(key) {
        run_again(server, client);
    }
}

/// Unblocks a client and runs its command; if it blocks again it is back at its old place.
fn run_again(server: &mut Server, client: ClientRef) {
    let Some(blocked) = server.unblock_bookkeeping(client) else { return };
    server.blocked.rerun = Some((blocked.order, blocked.deadline_ms));
    let outcome = run_kept(server, client, &blocked);
    server.blocked.rerun = None;
    if outcome != Outcome::Blocked {
        server.resumed.push(client);
    }
}

fn run_kept(server: &mut Server, client: ClientRef, blocked: &Blocked) -> Outcome {
    let Some(mut out) = take_output(server, client) else { return Outcome::Close };
    let outcome = dispatch::execute_unblocked(server, client, blocked.args.as_args(), &mut out);
    put_output(server, client, out);
    outcome
}

fn take_output(server: &mut Server, client: ClientRef) -> Option<Reply> {
    let state = server.clients.get_mut(client)?;
    Some(Reply { buffer: std::mem::take(&mut state.output.buffer), protocol: state.protocol })
}

fn put_output(server: &mut Server, client: ClientRef, out: Reply) {
    if let Some(state) = server.clients.get_mut(client) {
        let pushed = std::mem::replace(&mut state.output.buffer, out.buffer);
        state.output.buffer.extend_from_slice(&pushed);
    }
    server.schedule_write(client);
}

/// Answers clients whose time-out has passed: null, as their command would without blocking.
pub fn serve_timeouts(server: &mut Server) {
    let now_ms = server.clock.monotonic_us() / 1000;
    while let Some(client) = server.blocked.pop_due(now_ms) {
        unblock(server, client, UnblockReason::TimedOut);
    }
    resume_paused(server);
}

/// Why a client stops waiting without having been served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnblockReason {
    TimedOut,
    /// `CLIENT UNBLOCK id ERROR`.
    Error,
}

/// Ends a client's wait on keys with its time-out reply or an error. Returns whether it waited.
pub fn unblock(server: &mut Server, client: ClientRef, reason: UnblockReason) -> bool {
    let waits_on_keys =
        |state: &crate::server::Client| state.blocked.as_ref().is_some_and(|b| matches!(b.on, BlockedOn::Keys { .. }));
    if !server.clients.get(client).is_some_and(waits_on_keys) {
        return false;
    }
    server.unblock_bookkeeping(client);
    let Some(mut out) = take_output(server, client) else { return false };
    match reason {
        UnblockReason::TimedOut => out.null_array(),
        UnblockReason::Error => out.error(crate::server::error::UNBLOCKED.as_bytes()),
    }
    put_output(server, client, out);
    server.resumed.push(client);
    true
}

/// Runs the commands that CLIENT PAUSE held back, once it is over.
pub fn resume_paused(server: &mut Server) {
    if server.blocked.paused.is_empty() || server.run.pause_at(server.now_ms()).is_some() {
        return;
    }
    for client in std::mem::take(&mut server.blocked.paused) {
        let Some(blocked) = server.unblock_bookkeeping(client) else { continue };
        let Some(mut out) = take_output(server, client) else { continue };
        let args = blocked.args.as_args();
        let found = server.commands.find(&args[0]);
        let outcome = dispatch::execute(server, client, args, found, &mut out);
        put_output(server, client, out);
        if outcome != Outcome::Blocked {
            server.resumed.push(client);
        }
    }
    if server.blocked.has_ready() {
        serve_ready(server);
    }
}
