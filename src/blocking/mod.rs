//! Floor 8: running blocked clients' commands again.
//!
//! A blocked client keeps its command, owned. When one of its keys becomes ready the command is
//! run again by dispatch; if it still cannot be served it blocks again, so this module knows no
//! type. Clients are served in the order in which they began to wait at the key.

pub mod acks;

use crate::base::long_double::LongDouble;
use crate::base::numbers::parse_f64;
use crate::dispatch::{self, Outcome};
use crate::resp::{Args, Reply};
use crate::server::blocked::DbKey;
use crate::server::client::{Blocked, BlockedOn, ReplyMode};
use crate::server::error::{self, ReplyError};
use crate::server::{Client, ClientRef, Ctx, KeyHint, Server};
use crate::value::ValueType;

/// Rounds of ready keys served after one command: a served client may make other keys ready
/// (BLMOVE chains). Each round serves clients that then leave the tables, so this ends; the bound
/// guards against a command that blocks and signals itself.
const ROUNDS_MAX: usize = 10_000;

/// Reads a blocking command's time-out: seconds, with a fraction. `None`: wait for ever.
///
/// # Errors
/// The texts of Redis for what is not a number, negative or too long.
pub fn parse_deadline(server: &Server, argument: &[u8]) -> Result<Option<u64>, ReplyError> {
    let seconds = parse_f64(argument).or_else(|| beyond_f64(argument));
    let seconds = seconds.filter(|seconds| !seconds.is_nan()).ok_or(error::TIMEOUT_NOT_FLOAT)?;
    let duration_ms = (seconds * 1000.0).ceil();
    // Beyond this neither the sum with the Unix time nor the conversion is exact.
    const DURATION_MAX_MS: f64 = i64::MAX as f64 / 2.0;
    if duration_ms > DURATION_MAX_MS {
        return Err(error::TIMEOUT_OUT_OF_RANGE);
    }
    if duration_ms < 0.0 {
        return Err(error::TIMEOUT_NEGATIVE);
    }
    Ok((duration_ms > 0.0).then(|| server.clock.deadline_ms(duration_ms as u64)))
}

/// A number that only Redis's longer floats hold is too great, or negative.
fn beyond_f64(argument: &[u8]) -> Option<f64> {
    LongDouble::parse(argument)?;
    Some(if argument.starts_with(b"-") { f64::NEG_INFINITY } else { f64::INFINITY })
}

/// Lets the caller wait until one of `keys` holds a value of type `wanted`; its command is then
/// run again. A command that may not wait (in EXEC, in a script) answers its time-out reply now.
pub fn wait_for_keys<'a>(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
    wanted: ValueType,
    deadline_ms: Option<u64>,
) {
    wait_for(ctx, args, keys, wanted, deadline_ms, false);
}

/// As [`wait_for_keys`] for streams. With `also_when_gone` the command is run again too when a key
/// is deleted or becomes something else: the group that it reads in is gone then.
pub fn wait_for_streams<'a>(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
    deadline_ms: Option<u64>,
    also_when_gone: bool,
) {
    wait_for(ctx, args, keys, ValueType::Stream, deadline_ms, also_when_gone);
}

fn wait_for<'a>(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
    wanted: ValueType,
    deadline_ms: Option<u64>,
    also_when_gone: bool,
) {
    if !ctx.caller.may_block() {
        ctx.out.null_array();
        return;
    }
    let mut waited: Vec<Box<[u8]>> = Vec::new();
    for key in keys {
        if !waited.iter().any(|other| other.as_ref() == key) {
            waited.push(key.into());
        }
    }
    let on = BlockedOn::Keys { db: ctx.db, keys: waited, wanted, also_when_gone };
    ctx.server.block_client(ctx.client, Blocked { on, args: args.to_owned(), deadline_ms, order: 0 });
}

/// Serves clients whose keys became ready. Called after each command of a client.
pub fn serve_ready(server: &mut Server) {
    // The command before may have taken long: what is ready may have expired meanwhile.
    server.refresh_time();
    for _ in 0..ROUNDS_MAX {
        if !server.blocked.has_ready() {
            return;
        }
        // The transaction or script that made the keys ready may have taken long; its own time stood
        // still, and a key may have expired since.
        server.refresh_time();
        for key in server.blocked.take_ready() {
            serve_key(server, &key);
        }
    }
}

fn serve_key(server: &mut Server, key: &DbKey) {
    for client in server.blocked.waiting(key) {
        // What stands at the key is looked up for each: the one before may have taken it.
        if is_ready_for(server, key, client) {
            run_again(server, client);
        }
    }
}

fn is_ready_for(server: &Server, key: &DbKey, client: ClientRef) -> bool {
    let Some(state) = server.clients.get(client).filter(|state| state.waits_for(key)) else { return false };
    let Some(BlockedOn::Keys { wanted, also_when_gone, .. }) =
        state.blocked.as_ref().map(|blocked| &blocked.on)
    else {
        return false;
    };
    let hash = server.keyspace.hash(&key.key);
    let alive = server.keyspace.exists_quietly(key.db, hash, &key.key, server.now_ms());
    let found = server.keyspace.db(key.db).find(hash, &key.key).filter(|_| alive);
    *also_when_gone || found.is_some_and(|view| view.value_type() == *wanted)
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
    server.call.hint = KeyHint::default();
    let outcome = dispatch::execute_unblocked(server, client, blocked.args.as_args(), &mut out);
    put_output(server, client, out);
    outcome
}

fn take_output(server: &mut Server, client: ClientRef) -> Option<Reply> {
    let state = server.clients.get_mut(client)?;
    Some(Reply { buffer: state.output.lend(), protocol: state.protocol })
}

fn put_output(server: &mut Server, client: ClientRef, out: Reply) {
    if let Some(state) = server.clients.get_mut(client) {
        state.output.take_back(out.buffer);
    }
    server.schedule_write(client);
}

/// Answers clients whose time-out has passed: null, as their command would without blocking.
pub fn serve_timeouts(server: &mut Server) {
    let now_ms = server.clock.monotonic_ms();
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
    if acks::awaited_by(server, client).is_some() {
        return unblock_from_acks(server, client, reason);
    }
    let waits_on_keys = |state: &Client| {
        state.blocked.as_ref().is_some_and(|blocked| matches!(blocked.on, BlockedOn::Keys { .. }))
    };
    if !server.clients.get(client).is_some_and(waits_on_keys) {
        return false;
    }
    let Some(blocked) = server.unblock_bookkeeping(client) else { return false };
    answer(server, client, |out| match reason {
        UnblockReason::TimedOut => out.null_array(),
        UnblockReason::Error => out.error(error::UNBLOCKED.as_bytes()),
    });
    let failure = (reason == UnblockReason::Error).then_some(error::UNBLOCKED);
    dispatch::count_unserved(server, blocked.args.as_args(), failure.as_ref());
    server.resumed.push(client);
    true
}

/// Tells everybody who waits for the end of the server that it goes on.
pub fn answer_shutdown_waiters(server: &mut Server, failure: &ReplyError) {
    let waits =
        |state: &&Client| state.blocked.as_ref().is_some_and(|blocked| blocked.on == BlockedOn::Shutdown);
    let waiting: Vec<ClientRef> = server.clients.iter().filter(waits).map(|state| state.reference).collect();
    for client in waiting {
        if server.unblock_bookkeeping(client).is_some() {
            answer(server, client, |out| out.error(failure.as_bytes()));
            server.stats.count_error(failure.code());
            server.resumed.push(client);
        }
    }
}

fn unblock_from_acks(server: &mut Server, client: ClientRef, reason: UnblockReason) -> bool {
    match reason {
        UnblockReason::TimedOut => acks::give_up(server, client),
        UnblockReason::Error => {
            acks::finish(server, client, |out| out.error(error::UNBLOCKED.as_bytes()));
            true
        }
    }
}

/// Answers a client that waited, unless it wants no answers.
fn answer(server: &mut Server, client: ClientRef, write: impl FnOnce(&mut Reply)) {
    let Some(mut out) = take_output(server, client) else { return };
    if server.clients.get(client).is_some_and(|state| state.reply_mode == ReplyMode::On) {
        write(&mut out);
    }
    put_output(server, client, out);
}

/// Runs the commands that CLIENT PAUSE held back, once it is over.
pub fn resume_paused(server: &mut Server) {
    if !server.end_pause_when_due() || server.blocked.paused.is_empty() {
        return;
    }
    for client in std::mem::take(&mut server.blocked.paused) {
        let Some(blocked) = server.unblock_bookkeeping(client) else { continue };
        let Some(mut out) = take_output(server, client) else { continue };
        let args = blocked.args.as_args();
        server.call.hint = KeyHint::default();
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
