//! The stream of the primary: its commands are run here, and its bytes are passed on as they are to
//! replicas of this server, with the same offsets.
//!
//! ```text
//!  incoming: | passed on .... | run, not passed on | not complete |
//!                             ^ passed              ^ position
//! ```
//! An offset counts when everything before it has been applied: a transaction as a whole at its EXEC.
//! What was received beyond is forgotten with the link and comes again.

use crate::dispatch::{self, Ahead};
use crate::keyspace::ExpireRule;
use crate::replication::replica::now_ms;
use crate::resp::request::{Limits, Parsed, RequestParser};
use crate::resp::{Args, ArgsQueue, Reply, Span};
use crate::server::client::ClientKind;
use crate::server::config::PropagationErrorBehavior;
use crate::server::propagation::push_command;
use crate::server::replication::link::LinkState;
use crate::server::spec::{Found, flag};
use crate::server::{Caller, ClientRef, KeyHint, Server};

/// Commands parsed ahead and prefetched together.
const BATCH_MAX: usize = 32;
/// Longest argument of a primary, bytes: its own `proto-max-bulk-len` was the check.
const BULK_BYTES_MAX: i64 = i64::MAX;
/// Used bytes at the head of the buffer from which on the rest is moved there.
const MOVE_BYTES_MIN: usize = 64 << 10;
/// Room that an empty buffer keeps, bytes: a read fills a quarter of it.
const ROOM_BYTES_MAX: usize = 1 << 20;
/// While CLIENT PAUSE holds commands back, so many bytes of the stream are still taken, so that INFO tells
/// how far behind this server is; more wait in the socket. They run in one turn when the pause is over, some
/// ten milliseconds of small commands.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Time between two warnings that the disk fails, ms.
const DISK_WARNING_MS: u64 = 10_000;
/// Bytes of a command that can be addressed.
const COMMAND_BYTES_MAX: usize = u32::MAX as usize;

/// One parsed command.
struct Request {
    first_span: usize,
    last_span: usize,
    /// Where it begins and ends in the buffer.
    start: usize,
    end: usize,
}

/// Commands of the stream in a buffer.
struct Run<'a> {
    client: ClientRef,
    bytes: &'a [u8],
    /// Where the next command begins.
    position: usize,
    /// Everything before is in the stream of our own.
    passed: usize,
    requests: Vec<Request>,
    /// What is known of each.
    ahead: Vec<Ahead>,
    spans: Vec<Span>,
    /// See [`crate::server::replication::link::Link::partial`].
    partial: Option<(RequestParser, Vec<Span>)>,
    out: Reply,
}

/// The stream begins or goes on: the primary is a client from now on.
pub(super) fn begin(server: &mut Server) {
    let now_ms = now_ms(server);
    let client = server.clients.add(ClientKind::Primary, now_ms);
    let db = server.replication.stream_db.unwrap_or(0);
    let primary = server.config.replicaof.as_ref();
    let address = primary.map_or(String::new(), |to| format!("{}:{}", to.host.to_text(), to.port));
    if let Some(state) = server.clients.get_mut(client) {
        state.db = db;
        state.authenticated = true;
        state.address = address;
    }
    server.link.client = Some(client);
    server.link.state = LinkState::Connected;
    server.link.down_since_s = None;
    server.link.last_heard_ms = now_ms;
    server.link.transaction = None;
    server.link.transaction_bytes.clear();
    let size = server.config.repl_backlog_size;
    server.replication.create_backlog(size);
    server.refresh_stream_wanted();
}

/// Bytes of the stream; [`apply_some`] uses them.
pub(super) fn receive(server: &mut Server, bytes: &[u8]) {
    let link = &mut server.link;
    if link.position == link.incoming.len() {
        link.incoming.clear();
        link.incoming.shrink_to(ROOM_BYTES_MAX);
        link.position = 0;
    } else if link.position >= MOVE_BYTES_MIN {
        link.incoming.drain(..link.position);
        link.position = 0;
    }
    if link.incoming.len() + bytes.len() > COMMAND_BYTES_MAX {
        log::warn!("A command of MASTER is longer than {COMMAND_BYTES_MAX} bytes and can't be applied here");
        return lose_place(server, "command too long");
    }
    link.incoming.extend_from_slice(bytes);
    let heard_ms = link.last_heard_ms;
    let query_bytes = server.link.incoming.len();
    let Some(state) = server.link.client.and_then(|client| server.clients.get_mut(client)) else { return };
    state.last_interaction_ms = heard_ms;
    state.bytes_in += bytes.len() as u64;
    state.query_bytes = query_bytes;
}

/// Ends the link at a place from which it can't go on: the same bytes would come again.
fn lose_place(server: &mut Server, reason: &str) {
    super::disconnected(server, reason);
    server.link.resumable = false;
}

/// Whether commands of the primary must wait: CLIENT PAUSE promises data that stay as they are.
fn is_held(server: &Server) -> bool {
    server.link.state == LinkState::Connected && server.run.pause_at(server.now_ms()).is_some()
}

/// Whether the stream is to stay in the socket.
pub(super) fn holds_reading(server: &Server) -> bool {
    is_held(server) && server.link.unapplied_bytes() >= HELD_BYTES_MAX
}

/// Runs commands that are complete. True: more may be, after clients were served that wait for keys.
pub fn apply_some(server: &mut Server) -> bool {
    let waits = server.link.position == server.link.incoming.len() || is_held(server);
    let Some(client) = server.link.client.filter(|_| !waits) else { return false };
    let incoming = std::mem::take(&mut server.link.incoming);
    let mut run = Run {
        client,
        bytes: &incoming,
        position: server.link.position,
        passed: server.link.position,
        requests: Vec::with_capacity(BATCH_MAX),
        ahead: Vec::with_capacity(BATCH_MAX),
        spans: Vec::new(),
        partial: server.link.partial.take(),
        out: Reply::default(),
    };
    let rule = std::mem::replace(&mut server.keyspace.expire_rule, ExpireRule::Ignore);
    let caller = server.call.client.replace(client);
    let more = run.go(server);
    server.call.client = caller;
    server.call.hint = KeyHint::default();
    server.call.deferred_pushes.clear();
    server.keyspace.expire_rule = rule;
    let (position, partial) = (run.position, run.partial.take());
    // A link that was given up meanwhile has forgotten its bytes.
    if server.link.client == Some(client) {
        server.link.incoming = incoming;
        server.link.position = position;
        server.link.partial = partial;
        server.replication.stream_db = server.clients.get(client).map(|state| state.db);
    }
    more
}

#[inline]
fn args_of<'a>(request: &Request, bytes: &'a [u8], spans: &'a [Span]) -> Args<'a> {
    Args::new(bytes, &spans[request.first_span..request.last_span])
}

impl Run<'_> {
    /// Batch after batch. True when it stopped for clients that wait for keys.
    fn go(&mut self, server: &mut Server) -> bool {
        loop {
            let damaged = self.parse_batch();
            let db = server.clients.get(self.client).map_or(0, |state| state.db);
            let args = self.requests.iter().map(|request| args_of(request, self.bytes, &self.spans));
            dispatch::look_ahead(server, db, args, &mut self.ahead);
            for index in 0..self.requests.len() {
                self.run_one(server, index);
                if server.link.client != Some(self.client) {
                    self.count_applied(server, self.requests[index].end);
                    return false;
                }
            }
            self.pass_on(server, self.position);
            if let Some(reason) = damaged {
                log::warn!("Protocol error from primary: {reason}");
                server.link.position = self.position;
                lose_place(server, "protocol error");
                return false;
            }
            if self.requests.is_empty() {
                return false;
            }
            if server.blocked.has_ready() {
                return true;
            }
        }
    }

    /// Parses up to [`BATCH_MAX`] commands. Some: what stands next is no command.
    fn parse_batch(&mut self) -> Option<String> {
        self.requests.clear();
        self.spans.clear();
        let limits = Limits { bulk_max_bytes: BULK_BYTES_MAX, authenticated: true };
        while self.requests.len() < BATCH_MAX {
            let first_span = self.spans.len();
            let mut parser = self.begin_command();
            let rest = &self.bytes[self.position..];
            match parser.parse(rest, &mut self.spans, limits) {
                Parsed::Request => {}
                Parsed::Empty => {
                    self.position += parser.position();
                    continue;
                }
                Parsed::Incomplete => {
                    let spans = self.spans.split_off(first_span);
                    self.partial = parser.in_request().then_some((parser, spans));
                    return None;
                }
                Parsed::Error(failure) => return Some(failure.text()),
            }
            let start = self.position;
            self.position += parser.position();
            for span in &mut self.spans[first_span..] {
                span.start += start as u32;
                span.end += start as u32;
            }
            self.requests.push(Request {
                first_span,
                last_span: self.spans.len(),
                start,
                end: self.position,
            });
        }
        None
    }

    /// The parser of the next command: that of one whose beginning is parsed, or a fresh one.
    fn begin_command(&mut self) -> RequestParser {
        if let Some((parser, spans)) = self.partial.take() {
            self.spans.extend_from_slice(&spans);
            return parser;
        }
        // A line end alone is a sign of life.
        let rest = &self.bytes[self.position..];
        self.position += rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        RequestParser::default()
    }

    fn run_one(&mut self, server: &mut Server, index: usize) {
        let Ahead { found, hint } = self.ahead[index];
        let Request { start, end, .. } = self.requests[index];
        let args = args_of(&self.requests[index], self.bytes, &self.spans);
        let name = args.at(0);
        if name.eq_ignore_ascii_case(b"multi") {
            self.pass_on(server, start);
            server.link.transaction = Some(ArgsQueue::default());
        } else if name.eq_ignore_ascii_case(b"exec") {
            // Kept out of reach of a link that is given up meanwhile.
            let held = std::mem::take(&mut server.link.transaction_bytes);
            self.run_transaction(server);
            server.link.transaction_bytes = held;
            self.pass_on(server, end);
        } else if let Some(queue) = &mut server.link.transaction {
            queue.push(args, found);
        } else {
            server.call.hint = hint;
            run_command(server, self.client, found, args, &mut self.out);
        }
    }

    /// The commands between MULTI and EXEC, as one for the AOF too.
    fn run_transaction(&mut self, server: &mut Server) {
        let Some(queue) = server.link.transaction.take() else { return };
        server.propagation.begin_unit();
        for (args, found) in queue.iter() {
            server.call.hint = KeyHint::default();
            run_command(server, self.client, found, args, &mut self.out);
        }
        server.propagation.end_unit();
    }

    /// The link went away under a command: what has run must not come again.
    fn count_applied(&mut self, server: &mut Server, end: usize) {
        if !server.replication.is_primary() && server.link.load.is_none() {
            self.pass_on(server, end);
        }
    }

    /// Bytes up to `end` are applied: they count, and replicas of our own get them. Those of an open
    /// transaction wait for its end.
    fn pass_on(&mut self, server: &mut Server, end: usize) {
        let bytes = &self.bytes[self.passed..end];
        self.passed = end;
        if server.link.transaction.is_some() {
            server.link.transaction_bytes.extend_from_slice(bytes);
            return;
        }
        let held = std::mem::take(&mut server.link.transaction_bytes);
        if !held.is_empty() {
            server.replication.append_from_primary(&held);
        }
        if !bytes.is_empty() {
            server.replication.append_from_primary(bytes);
        }
    }
}

/// Runs one command. What the primary did can be done here; if not, the two have come apart.
fn run_command(
    server: &mut Server,
    client: ClientRef,
    found: Option<Found>,
    args: Args<'_>,
    out: &mut Reply,
) {
    match found.filter(|found| found.spec.arity_fits(args.len())) {
        Some(found) => {
            if found.spec.has(flag::WRITE) {
                mind_the_disk(server);
            }
            make_room(server);
            dispatch::call(server, client, Caller::Primary, found, args, out);
        }
        None => out.error(dispatch::unknown_command(args).as_bytes()),
    }
    if out.buffer.first() == Some(&b'-') {
        report_error(server, args, out);
    }
    out.buffer.clear();
}

/// What the primary wrote would be here and not on this server's disk, while its primary may count on that
/// (WAITAOF): the process ends, unless `replica-ignore-disk-write-errors` says that it goes on.
#[inline]
fn mind_the_disk(server: &mut Server) {
    if let Some(reason) = server.disk_fault() {
        report_disk(server, &reason);
    }
}

#[cold]
fn report_disk(server: &mut Server, reason: &str) {
    if !server.config.replica_ignore_disk_write_errors {
        panic!("Replica was unable to write command to disk: {reason} (replica-ignore-disk-write-errors no)");
    }
    let now_ms = now_ms(server);
    if now_ms >= server.link.disk_warning_due_ms {
        server.link.disk_warning_due_ms = now_ms + DISK_WARNING_MS;
        log::warn!("Replica is applying a command even though it is unable to write to disk: {reason}");
    }
}

/// `replica-ignore-maxmemory no`: this server keeps its own limit.
fn make_room(server: &mut Server) {
    if !server.config.replica_ignore_maxmemory {
        server.make_room();
    }
}

#[cold]
fn report_error(server: &mut Server, args: Args<'_>, out: &Reply) {
    let text = out.buffer.strip_prefix(b"-").unwrap_or(&out.buffer).trim_ascii_end();
    server.stats.unexpected_error_replies += 1;
    log::warn!(
        "== CRITICAL == This replica is sending an error to its master: '{}' after processing the command '{}'",
        String::from_utf8_lossy(text),
        String::from_utf8_lossy(args.at(0))
    );
    if server.config.propagation_error_behavior != PropagationErrorBehavior::Ignore {
        panic!(
            "This server must not go on with data that differ from its primary's (propagation-error-behavior)"
        );
    }
}

/// Tells the primary how far this server is, and its log.
pub fn send_ack(server: &mut Server) {
    if server.link.state != LinkState::Connected || server.link.without_offsets {
        return;
    }
    server.replication.own_ack_wanted = false;
    let offset = server.replication.offset.to_string();
    let synced = server.synced_stream_offset().map(|offset| offset.to_string());
    let out = &mut server.link.outgoing;
    match &synced {
        Some(synced) => {
            push_command(out, &[b"REPLCONF", b"ACK", offset.as_bytes(), b"FACK", synced.as_bytes()]);
        }
        None => push_command(out, &[b"REPLCONF", b"ACK", offset.as_bytes()]),
    }
}
