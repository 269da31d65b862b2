//! Floor 7: running a command. Admission checks, the call, what follows it.
//!
//! ```text
//!  execute ── admission (ordered checks) ──► queue in MULTI, or
//!                                            call ── handler ── after-effects
//! ```
//! Dispatch is given the command table and imports no command. It is re-entrant: EXEC, scripts,
//! replay and unblocked clients call [`call`] with a reply sink of their own; what it changes in
//! `server.call` it puts back.

mod admission;
mod look_ahead;

pub use look_ahead::{Ahead, look_ahead};

use crate::dispatch::admission::Rejection;
use crate::keyspace::Touch;
use crate::resp::{Args, Reply};
use crate::server::client::{Blocked, BlockedOn, Queued, ReplyMode};
use crate::server::error::{self, ReplyError};
use crate::server::output::FIRST_REPLY_BUFFER_BYTES;
use crate::server::spec::{Found, flag};
use crate::server::{Caller, ClientKind, ClientRef, Ctx, Server};
use crate::sys::watchdog;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The client waits; its further requests must not be run.
    Blocked,
    /// The connection is to be closed after what is in its output has been sent.
    Close,
}

/// Runs one request of a connected client, from look-up to reply.
///
/// `found` is what the command table says of `args[0]`; the caller has looked it up ahead.
pub fn execute(
    server: &mut Server,
    client: ClientRef,
    args: Args<'_>,
    found: Option<Found>,
    out: &mut Reply,
) -> Outcome {
    if found.is_none() && is_http(args) {
        return refuse_http(server, client);
    }
    let previous = server.call.client.replace(client);
    let admitted = admission::admit(server, client, found, args);
    if server.tracking.is_active() {
        server.limit_tracking_table();
    }
    let reply_start = push_before_reply(server, out);
    let outcome = match admitted {
        Ok(admission::Admitted::Run(found)) => run_admitted(server, client, Caller::Client, found, args, out),
        Ok(admission::Admitted::Queue(found)) => {
            queue(server, client, found, args);
            out.raw(b"+QUEUED\r\n");
            Outcome::Done
        }
        Ok(admission::Admitted::Postpone) => postpone(server, client, args),
        Ok(admission::Admitted::Evicted) => Outcome::Close,
        Err(rejection) => {
            reject(server, client, rejection, args, out);
            Outcome::Done
        }
    };
    finish_request(server, client, found, out, reply_start);
    server.call.client = previous;
    outcome
}

fn run_admitted(
    server: &mut Server,
    client: ClientRef,
    caller: Caller,
    found: Found,
    args: Args<'_>,
    out: &mut Reply,
) -> Outcome {
    if let Some(state) = server.clients.get_mut(client) {
        state.last_command = Some(found.id);
    }
    watchdog::note_command(found.id, client.id);
    call(server, client, caller, found, args, out);
    watchdog::note_no_command();
    match server.clients.get(client) {
        Some(state) if state.is_blocked() => Outcome::Blocked,
        Some(state) if state.close_after_reply || state.close_now => Outcome::Close,
        Some(_) => Outcome::Done,
        None => Outcome::Close,
    }
}

/// Keeps a request until CLIENT PAUSE ends; it is then admitted anew.
fn postpone(server: &mut Server, client: ClientRef, args: Args<'_>) -> Outcome {
    let blocked = Blocked { on: BlockedOn::Pause, args: args.to_owned(), deadline_ms: None, order: 0 };
    server.blocked.rerun = None;
    server.block_client(client, blocked);
    Outcome::Blocked
}

/// A web browser made to send HTTP here (cross-protocol scripting): such a client is cut off.
fn is_http(args: Args<'_>) -> bool {
    [&b"post"[..], b"host:"].iter().any(|word| args[0].eq_ignore_ascii_case(word))
}

#[cold]
fn refuse_http(server: &mut Server, client: ClientRef) -> Outcome {
    log::warn!(
        "Possible SECURITY ATTACK detected: a client sends POST or Host: lines, as a browser would that is used to \
         reach this server. Connection from {} aborted.",
        server.clients.get(client).map_or("", |state| &state.address)
    );
    server.close_soon(client);
    Outcome::Close
}

/// Runs a client's kept command again (a key it waits for is ready). The client is not blocked
/// any more when this begins; it may block again.
pub fn execute_unblocked(server: &mut Server, client: ClientRef, args: Args<'_>, out: &mut Reply) -> Outcome {
    let Some(found) = resolve(server, args) else { return Outcome::Done };
    let previous = server.call.client.replace(client);
    let admitted = admission::admit(server, client, Some(found), args);
    let reply_start = push_before_reply(server, out);
    let outcome = match admitted {
        Ok(admission::Admitted::Postpone) => postpone(server, client, args),
        Ok(admission::Admitted::Evicted) => Outcome::Close,
        Err(rejection) => {
            reject(server, client, rejection, args, out);
            Outcome::Done
        }
        Ok(_) => run_admitted(server, client, Caller::Unblocked, found, args, out),
    };
    finish_request(server, client, Some(found), out, reply_start);
    server.call.client = previous;
    outcome
}

/// The command or subcommand that `args` name.
pub fn resolve(server: &Server, args: Args<'_>) -> Option<Found> {
    let found = server.commands.find(args.get(0)?)?;
    if found.spec.subcommands.is_empty() {
        return Some(found);
    }
    server.commands.find_subcommand(found, args.get(1)?)
}

/// Counts a kept command that ends without having been run again, with its error when it is given one.
pub fn count_unserved(server: &mut Server, args: Args<'_>, error: Option<&ReplyError>) {
    let Some(found) = resolve(server, args) else { return };
    let track = server.config.latency_tracking;
    let stats = &mut server.stats.commands[found.id as usize];
    stats.count(0, track);
    if let Some(error) = error {
        stats.failed += 1;
        server.stats.count_error(error.code());
    }
    server.stats.commands_processed += 1;
}

/// Messages about what making room has done stand before the reply: the command may make what they
/// name anew. Returns where the reply begins.
#[inline]
fn push_before_reply(server: &mut Server, out: &mut Reply) -> usize {
    if !server.call.deferred_pushes.is_empty() {
        out.buffer.append(&mut server.call.deferred_pushes);
    }
    out.len()
}

/// CLIENT REPLY, and messages that were waiting for the reply to be complete.
#[inline]
fn finish_request(
    server: &mut Server,
    client: ClientRef,
    found: Option<Found>,
    out: &mut Reply,
    start: usize,
) {
    if !server.replication.replicas.is_empty()
        && out.len() > start
        && is_replica(server, client)
        && found.is_none_or(|found| !found.spec.name.ends_with("sync"))
    {
        refuse_reply_to_replica(server, client, found, out, start);
    }
    if server.tracking.is_active() && !found.is_some_and(|found| found.spec.has(flag::KEEPS_CACHING)) {
        server.end_caching(client);
    }
    if let Some(state) = server.clients.get_mut(client)
        && state.reply_mode != ReplyMode::On
    {
        out.buffer.truncate(start);
        state.reply_mode = match state.reply_mode {
            ReplyMode::SkipNext => ReplyMode::Skip,
            ReplyMode::Skip => ReplyMode::On,
            other => other,
        };
    }
    if !server.call.deferred_pushes.is_empty() {
        out.buffer.append(&mut server.call.deferred_pushes);
    }
    server.account_client(client);
}

/// Its output is the stream: an answer in it would be taken for a command.
#[inline]
fn is_replica(server: &Server, client: ClientRef) -> bool {
    server.clients.get(client).is_some_and(|client| client.kind == ClientKind::Replica)
}

#[cold]
fn refuse_reply_to_replica(
    server: &mut Server,
    client: ClientRef,
    found: Option<Found>,
    out: &mut Reply,
    start: usize,
) {
    let command = found.map_or_else(|| "NULL".to_owned(), |found| last_name(server, client, found));
    if out.buffer.get(start) == Some(&b'-') {
        log::warn!(
            "== CRITICAL == This master is sending an error to its replica: '{}' after processing the command              '{command}'",
            String::from_utf8_lossy(&out.buffer[start..]).trim_start_matches('-').trim_end()
        );
    }
    out.buffer.truncate(start);
    log::warn!(
        "Replica generated a reply to command '{command}', disconnecting it: {}",
        server.client_line(client)
    );
    server.close_soon(client);
}

/// The full name of the command that ran, its subcommand included.
fn last_name(server: &Server, client: ClientRef, found: Found) -> String {
    let id = server.clients.get(client).and_then(|state| state.last_command).unwrap_or(found.id);
    server.commands.all()[id as usize].full_name()
}

fn reject(server: &mut Server, client: ClientRef, rejection: Rejection, args: Args<'_>, out: &mut Reply) {
    let Rejection { found, mut error, denial } = rejection;
    if let Some(found) = found {
        server.stats.commands[found.id as usize].rejected += 1;
        if let Some(state) = server.clients.get_mut(client) {
            state.last_command = Some(found.id);
        }
    }
    if let (Some(found), Some(denial)) = (found, denial) {
        let context = server.denial_context(client);
        server.note_denial(client, denial, context, found, args);
    }
    if let Some(found) = found.filter(|found| found.spec.has(flag::RUNS_QUEUE)) {
        server.discard_transaction(client);
        error = error::exec_abort(&error);
        // Monitors have seen the MULTI; so they see that the transaction is over.
        let db = server.clients.get(client).map_or(0, |state| state.db);
        server.feed_monitors(client, Caller::Client, db, found, args);
    } else if let Some(transaction) =
        server.clients.get_mut(client).and_then(|state| state.transaction.as_mut())
    {
        transaction.aborted = true;
    }
    server.stats.count_error(error.code());
    out.error(error.as_bytes());
}

fn queue(server: &mut Server, client: ClientRef, found: Found, args: Args<'_>) {
    let Some(state) = server.clients.get_mut(client) else { return };
    state.last_command = Some(found.id);
    let doomed = state.watch_dirty;
    let Some(transaction) = state.transaction.as_mut() else { return };
    transaction.flags |= found.spec.flags;
    transaction.missing_flags |= !found.spec.flags;
    if transaction.aborted || doomed {
        // It will not run, so it need not take memory.
        return;
    }
    let hint = server.call.hint;
    let hash = found.first_key(args).filter(|key| hint.is_of(key)).map(|_| hint.hash);
    transaction.queue.push(args, Queued { command_id: found.id, hash });
}

/// Runs a command: handler, statistics, propagation. Admission is the caller's affair.
///
/// Returns whether the command answered without an error.
pub fn call(
    server: &mut Server,
    client: ClientRef,
    caller: Caller,
    found: Found,
    args: Args<'_>,
    out: &mut Reply,
) -> bool {
    let Some((db, no_touch)) = server.clients.get(client).map(|state| (state.db, state.no_touch)) else {
        return false;
    };
    let saved_touch =
        std::mem::replace(&mut server.call.touch, if no_touch { Touch::No } else { Touch::Yes });
    let saved_propagated = std::mem::replace(&mut server.call.propagated, false);
    let dirty_before = server.persistence.dirty;
    let stream_before = server.propagation.stream.len();
    server.propagation.begin_unit();
    let start = server.clock.ticks();
    let reply_start = out.len();

    let mut ctx = Ctx { server, client, db, out, caller, command: found };
    let result = (found.spec.handler)(&mut ctx, args);
    let db = ctx.db;

    let duration_ns = server.clock.elapsed_ns(start);
    if !server.effects.is_empty() {
        server.drain_effects();
    }
    if server.is_observed() {
        server.tell_of_call(client, caller, db, found, args);
    }
    let changed = server.persistence.dirty != dirty_before;
    let wants_stream =
        changed && server.propagation.wanted && !server.call.propagated && !server.call.replaying;
    if wants_stream && found.spec.has(flag::WRITE | flag::MAY_REPLICATE) {
        server.propagation.add(db, args);
    }
    server.propagation.end_unit();
    // A message changes no data and goes to the replicas all the same.
    let moved = changed || server.propagation.stream.len() != stream_before;
    if moved && !server.propagation.in_unit() {
        note_write(server, client);
    }
    if changed && !server.replication.is_primary() && !caller.is_replicated() {
        server.note_own_keys(db, found, args);
    }
    server.call.touch = saved_touch;
    server.call.propagated = saved_propagated;
    let reply_bytes = out.len().saturating_sub(reply_start);
    finish_call(server, client, found, args, duration_ns, reply_bytes);
    if let Err(failure) = &result {
        answer_error(server, found, failure, out);
    }
    if out.len() > FIRST_REPLY_BUFFER_BYTES {
        server.enforce_reply_limit(client, out);
    }
    result.is_ok()
}

/// What WAIT and WAITAOF of this client will wait for.
#[inline]
fn note_write(server: &mut Server, client: ClientRef) {
    let (offset, log_offset) = (server.stream_offset(), server.log_offset());
    if let Some(state) = server.clients.get_mut(client) {
        (state.write_offset, state.log_offset) = (offset, log_offset);
    }
}

/// Runs a command of a log that is being replayed: its handler and what the keyspace does under it.
/// No statistics, no propagation; errors are the log's affair, its reply is thrown away.
#[inline]
pub fn replay(server: &mut Server, client: ClientRef, found: Found, args: Args<'_>, out: &mut Reply) {
    let Some(db) = server.clients.get(client).map(|state| state.db) else { return };
    let mut ctx = Ctx { server, client, db, out, caller: Caller::Replay, command: found };
    // A command that failed when it was logged fails again and changes nothing.
    let _ = (found.spec.handler)(&mut ctx, args);
    if !server.effects.is_empty() {
        server.drain_effects();
    }
}

fn answer_error(server: &mut Server, found: Found, failure: &ReplyError, out: &mut Reply) {
    server.stats.commands[found.id as usize].failed += 1;
    server.stats.count_error(failure.code());
    out.error(failure.as_bytes());
}

/// Statistics after a command, its own and the server's; the slow log.
fn finish_call(
    server: &mut Server,
    client: ClientRef,
    found: Found,
    args: Args<'_>,
    duration_ns: u64,
    reply_bytes: usize,
) {
    let Some(state) = server.clients.get_mut(client) else { return };
    if state.is_blocked() || server.call.replaying {
        return;
    }
    state.commands += 1;
    let track = server.config.latency_tracking;
    server.stats.commands[found.id as usize].count(duration_ns, track);
    server.stats.commands_processed += 1;
    server.stats.event_loop_commands_ns += duration_ns;
    server.note_slow(client, found, args, duration_ns);
    server.note_sizes(client, found, args, reply_bytes);
}

/// Propagation made so far goes to the AOF and to replicas; called at the end of a turn and before a fork.
pub fn flush_propagation(server: &mut Server) {
    server.flush_stream();
}

/// The error for a missing command, as admission gives it.
pub fn unknown_command(args: Args<'_>) -> ReplyError {
    error::unknown_command(&args[0], args.tail(1).iter())
}
