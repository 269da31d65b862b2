//! May this request run now? An ordered list of small checks; the first refusal is the answer.
//!
//! ```text
//!  known? arity? ─► may this client ask for it? ─► make room ─► may it run now? ─► run, queue, postpone
//!                   (login, MULTI, rights)         (memory)     (OOM, disk, loading ...)
//! ```
//! The order is Redis's (`processCommand`, behaviour only): what a client sees when two reasons
//! apply depends on it, and a request that its sender may not make costs nobody a key.

use crate::dispatch::unknown_command;
use crate::resp::Args;
use crate::server::acl::Denial;
use crate::server::error::{self, ReplyError};
use crate::server::replication::link::LinkState;
use crate::server::run::PauseKind;
use crate::server::spec::{Found, flag};
use crate::server::{Client, ClientKind, ClientRef, Server};

/// A request that may go on.
pub(super) enum Admitted {
    Run(Found),
    /// The client is in MULTI.
    Queue(Found),
    /// CLIENT PAUSE: run it when the pause ends.
    Postpone,
    /// The client itself had to go to make room.
    Evicted,
}

/// A request that may not, and which command it named.
pub(super) struct Rejection {
    pub found: Option<Found>,
    pub error: ReplyError,
    /// The user may not do this: to be logged.
    pub denial: Option<Denial>,
}

/// What a check answers.
struct Refusal {
    error: ReplyError,
    denial: Option<Denial>,
}

impl From<ReplyError> for Refusal {
    fn from(error: ReplyError) -> Self {
        Refusal { error, denial: None }
    }
}

struct Request<'a> {
    found: Found,
    args: Args<'a>,
    client: &'a Client,
    /// Flags of the command, and of everything queued when it is EXEC.
    flags: u32,
    /// Flags that the command lacks, or that something queued lacks.
    missing_flags: u32,
}

type Check = fn(&Server, &Request<'_>) -> Result<(), Refusal>;

/// May this client ask for it at all?
const CHECKS_OF_RIGHTS: &[Check] = &[check_protected, check_authenticated, check_multi, check_rights];

/// May it run now?
const CHECKS_OF_STATE: &[Check] = &[
    check_memory,
    check_disk,
    check_replicas,
    check_read_only,
    check_subscribe_mode,
    check_stale,
    check_loading,
    check_replica,
];

pub(super) fn admit(
    server: &mut Server,
    client: ClientRef,
    found: Option<Found>,
    args: Args<'_>,
) -> Result<Admitted, Rejection> {
    let found = find_exactly(server, found, args)?;
    let request = Request::new(server, client, found, args);
    request.pass(server, CHECKS_OF_RIGHTS)?;
    if !server.is_short_of_memory() {
        return request.admit_now(server);
    }
    if !make_room(server, client) {
        return Ok(Admitted::Evicted);
    }
    Request::new(server, client, found, args).admit_now(server)
}

/// Enforces the limits of memory before a command: of clients first, which spares keys. False when
/// this client itself had to go.
fn make_room(server: &mut Server, client: ClientRef) -> bool {
    server.evict_clients();
    server.make_room();
    let stays = server.clients.get(client).is_some();
    if !stays {
        // What was to be told to it must not reach the next client.
        server.call.deferred_pushes.clear();
    }
    stays
}

impl<'a> Request<'a> {
    #[inline]
    fn new(server: &'a Server, client: ClientRef, found: Found, args: Args<'a>) -> Request<'a> {
        let client = server.clients.get(client).expect("the sender of a request is in the table");
        let queue = client.transaction.as_ref().filter(|_| found.spec.has(flag::RUNS_QUEUE));
        let (queued_flags, queued_missing) = queue.map_or((0, 0), |queue| (queue.flags, queue.missing_flags));
        Request {
            found,
            args,
            client,
            flags: found.spec.flags | queued_flags & !flag::REPORTS_DISK,
            missing_flags: !found.spec.flags | queued_missing,
        }
    }

    #[inline]
    fn pass(&self, server: &Server, checks: &[Check]) -> Result<(), Rejection> {
        for check in checks {
            check(server, self).map_err(|refusal| {
                let Refusal { error, denial } = refusal;
                Rejection { found: Some(self.found), error, denial }
            })?;
        }
        Ok(())
    }

    /// What follows when there is room.
    #[inline]
    fn admit_now(&self, server: &Server) -> Result<Admitted, Rejection> {
        self.pass(server, CHECKS_OF_STATE)?;
        if is_paused(server, self) {
            return Ok(Admitted::Postpone);
        }
        if self.client.transaction.is_some() && !self.found.spec.has(flag::TRANSACTION_CONTROL) {
            return Ok(Admitted::Queue(self.found));
        }
        Ok(Admitted::Run(self.found))
    }
}

/// Unknown command, unknown subcommand, wrong arity.
#[inline]
fn find_exactly(server: &Server, found: Option<Found>, args: Args<'_>) -> Result<Found, Rejection> {
    let unknown = |error| Rejection { found: None, error, denial: None };
    let Some(mut found) = found else { return Err(unknown(unknown_command(args))) };
    if !found.spec.subcommands.is_empty() && args.len() > 1 {
        let parent = found;
        found = server
            .commands
            .find_subcommand(parent, &args[1])
            .ok_or_else(|| unknown(error::unknown_subcommand(&args[1], parent.spec.name)))?;
    }
    if !found.spec.arity_fits(args.len()) {
        let error = error::wrong_arity(&found.full_name());
        return Err(Rejection { found: Some(found), error, denial: None });
    }
    Ok(found)
}

fn check_protected(server: &Server, request: &Request<'_>) -> Result<(), Refusal> {
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
    )
    .into())
}

#[inline]
fn check_authenticated(server: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    let open = request.found.spec.has(flag::NO_AUTH) || !server.must_authenticate(request.client);
    if open { Ok(()) } else { Err(error::NO_AUTH.into()) }
}

/// What the client's user may not do. A user with all rights costs one test.
#[inline]
fn check_rights(server: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    let (client, found, args) = (request.client, request.found, request.args);
    server.check_rights(client, found, args).map_err(|denial| {
        let error = server.refusal_error(client, denial, found, args);
        Refusal { error, denial: Some(denial) }
    })
}

/// `maxmemory` is exceeded and nothing may be evicted: what takes memory is refused, and so is
/// whatever a transaction would queue.
#[inline]
fn check_memory(server: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    if !server.eviction.out_of_memory {
        return Ok(());
    }
    let queues = request.client.transaction.is_some() && !request.found.spec.has(flag::TRANSACTION_CONTROL);
    if queues || request.flags & flag::DENYOOM != 0 { Err(error::OOM.into()) } else { Ok(()) }
}

/// Writes are refused while they cannot be made safe (MISCONF).
#[inline]
fn check_disk(server: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    if request.flags & (flag::WRITE | flag::REPORTS_DISK) == 0 {
        return Ok(());
    }
    Ok(server.refuse_unsafe_write()?)
}

/// `min-replicas-to-write`: writes want so many replicas that are not late.
#[inline]
fn check_replicas(server: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    if request.flags & flag::WRITE == 0 || server.has_enough_replicas() {
        return Ok(());
    }
    Err(error::NO_REPLICAS.into())
}

#[inline]
fn check_subscribe_mode(_: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    if !request.client.in_subscribe_mode() || request.found.spec.has(flag::SUBSCRIBE_MODE) {
        return Ok(());
    }
    Err(ReplyError::err(format!(
        "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        request.found.full_name()
    ))
    .into())
}

/// While data fill beside an older state of theirs that state is read; what would disturb it waits.
#[inline]
fn check_loading(server: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    let denied = match &server.run.loading {
        None => false,
        Some(loading) if loading.asynchronous => request.flags & flag::NO_ASYNC_LOADING != 0,
        Some(_) => request.missing_flags & flag::LOADING != 0,
    };
    if denied { Err(error::LOADING.into()) } else { Ok(()) }
}

/// A replica takes writes from its primary only, unless it is told otherwise.
#[inline]
fn check_read_only(server: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    let refused = request.flags & flag::WRITE != 0
        && !server.replication.is_primary()
        && server.config.replica_read_only;
    if refused { Err(error::READ_ONLY.into()) } else { Ok(()) }
}

/// `replica-serve-stale-data no`: without its primary a replica shows no data.
#[inline]
fn check_stale(server: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    let refused = request.missing_flags & flag::STALE != 0
        && !server.config.replica_serve_stale_data
        && !server.replication.is_primary()
        && server.link.state != LinkState::Connected;
    if refused { Err(error::MASTER_DOWN.into()) } else { Ok(()) }
}

/// What takes part in replication, or is shown every command, does not use the keyspace: it would get
/// around CLIENT PAUSE.
#[inline]
fn check_replica(_: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    const USES_KEYS: u32 = flag::READONLY | flag::WRITE | flag::MAY_REPLICATE;
    if is_fed(request.client) && request.flags & USES_KEYS != 0 {
        return Err(ReplyError::err("Replica can't interact with the keyspace").into());
    }
    Ok(())
}

/// Replicas, and monitors, which Redis takes for a kind of replica.
#[inline]
fn is_fed(client: &Client) -> bool {
    client.kind == ClientKind::Replica || client.monitor
}

#[inline]
fn check_multi(_: &Server, request: &Request<'_>) -> Result<(), Refusal> {
    if request.client.transaction.is_some() && request.found.spec.has(flag::NO_MULTI) {
        return Err(error::NOT_ALLOWED_IN_MULTI.into());
    }
    Ok(())
}

/// Whether CLIENT PAUSE holds this request back. Replicas are never paused.
#[inline]
fn is_paused(server: &Server, request: &Request<'_>) -> bool {
    if is_fed(request.client) {
        return false;
    }
    match server.run.pause_at(server.call.now_ms) {
        None => false,
        Some(PauseKind::All) => true,
        Some(PauseKind::Writes) => request.flags & (flag::WRITE | flag::MAY_REPLICATE) != 0,
    }
}
