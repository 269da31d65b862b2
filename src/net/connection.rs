//! One connection: reading, cutting requests out of the bytes, running them in batches, writing.
//!
//! ```text
//!  socket ──read──► query buffer
//!            parse up to BATCH_MAX requests ─► hash first keys, prefetch ─► execute each
//!            what is left over ──► the connection's own buffer
//!  client.output ──one write per turn──► socket
//! ```
//! A request costs no allocation. Parsing ahead has no effect but on limits, so it is one request
//! at a time before AUTH; when a request blocks its client, the parser goes back to the next one.

use crate::blocking;
use crate::dispatch::{self, Outcome};
use crate::keyspace::Db;
use crate::net::query_buffer::QueryBuffer;
use crate::resp::request::{self, Limits, Parsed, RequestParser};
use crate::resp::{Args, OwnedArgs, Reply, Span};
use crate::server::spec::Found;
use crate::server::{ClientRef, KeyHint, Server};
use mio::net::{TcpStream, UnixStream};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// Requests parsed ahead and prefetched together.
const BATCH_MAX: usize = 32;

/// A stream socket of either family.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }

    /// Ends the connection for both sides even while a forked child still holds the descriptor.
    pub fn shutdown(&self) {
        // The peer may have gone already; there is nobody to tell.
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Both),
        };
    }

    pub fn source(&mut self) -> &mut dyn mio::event::Source {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(buffer),
            Stream::Unix(stream) => stream.write(buffer),
        }
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(buffers),
            Stream::Unix(stream) => stream.write_vectored(buffers),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A socket with what has been received and not run.
pub struct Connection {
    pub stream: Stream,
    pub client: ClientRef,
    parser: RequestParser,
    /// Arguments of a request that is not complete, relative to `query`.
    spans: Vec<Span>,
    /// Received bytes that belong to requests not run yet.
    query: QueryBuffer,
    /// The connection is in the loop's list of readable ones.
    pub in_ready_list: bool,
    /// The kernel may have more to read.
    pub readable: bool,
    /// The peer has closed its side: the end of the stream is still to be read.
    pub peer_closed: bool,
}

/// Why reading stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// All there is has been read, for now.
    Drained,
    /// There may be more: read again in the next turn.
    More,
    /// The peer has closed, or the connection must be closed at once.
    Closed,
}

/// One parsed request of a batch.
struct Request {
    first_span: usize,
    last_span: usize,
    /// Where the next request begins.
    end: usize,
    inline: Option<OwnedArgs>,
    found: Option<Found>,
    hint: KeyHint,
}

/// Lists shared by all connections.
pub struct Scratch {
    spans: Vec<Span>,
    requests: Vec<Request>,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch { spans: Vec::new(), requests: Vec::with_capacity(BATCH_MAX) }
    }
}

impl Connection {
    pub fn new(stream: Stream, client: ClientRef) -> Self {
        Connection {
            stream,
            client,
            parser: RequestParser::default(),
            spans: Vec::new(),
            query: QueryBuffer::default(),
            in_ready_list: false,
            readable: false,
            peer_closed: false,
        }
    }

    /// Whether requests may be waiting in the buffer (after the client was unblocked).
    pub fn has_buffered(&self) -> bool {
        !self.query.is_empty()
    }

    /// Reads once and runs what is complete.
    pub fn receive(&mut self, server: &mut Server, scratch: &mut Scratch) -> Received {
        let room = self.query.room();
        let room_bytes = room.len();
        let received = match self.stream.read(room) {
            Ok(0) => Received::Closed,
            Ok(count) => {
                self.query.received(count);
                self.count_input(server, count);
                self.run_filled(server, scratch, count == room_bytes);
                if count == room_bytes { Received::More } else { Received::Drained }
            }
            Err(failure) => {
                // Nothing new; but after a wait, requests may stand in the buffer complete.
                self.run_buffered(server, scratch);
                classify(&failure)
            }
        };
        self.check_size(server, received)
    }

    /// Runs complete requests that are in the buffer.
    pub fn run_buffered(&mut self, server: &mut Server, scratch: &mut Scratch) {
        if !self.query.is_empty() {
            self.run_filled(server, scratch, false);
        }
    }

    /// `full`: the last read took all the room there was.
    fn run_filled(&mut self, server: &mut Server, scratch: &mut Scratch, full: bool) {
        let mut query = std::mem::take(&mut self.query);
        let consumed = self.run_requests(server, scratch, query.filled());
        let missing = self.parser.missing_bytes(query.len() - consumed);
        query.consume(consumed, missing, full);
        self.query = query;
        self.note_query_size(server);
    }

    /// Gives room of the buffer back when the client has no use for it; called now and then.
    pub fn shrink(&mut self, server: &mut Server) {
        let now_ms = server.clock.monotonic_ms();
        let Some(client) = server.clients.get(self.client) else { return };
        let idle_s = now_ms.saturating_sub(client.last_interaction_ms) / 1000;
        self.query.shrink(idle_s, self.parser.missing_bytes(self.query.len()));
        self.note_query_size(server);
    }

    fn count_input(&mut self, server: &mut Server, count: usize) {
        server.stats.net_input_bytes += count as u64;
        server.stats.reads_processed += 1;
        let now_ms = server.clock.monotonic_ms();
        if let Some(client) = server.clients.get_mut(self.client) {
            client.last_interaction_ms = now_ms;
            client.bytes_in += count as u64;
            client.query_bytes = self.query.len();
            client.query_free_bytes = self.query.free_bytes();
        }
    }

    fn check_size(&self, server: &mut Server, received: Received) -> Received {
        if self.query.len() > server.config.client_query_buffer_limit {
            log::warn!("Closing client that reached max query buffer length: id={}", self.client.id);
            server.stats.query_buffer_limit_disconnections += 1;
            return Received::Closed;
        }
        received
    }

    fn note_query_size(&self, server: &mut Server) {
        if let Some(client) = server.clients.get_mut(self.client) {
            client.query_bytes = self.query.len();
            client.query_free_bytes = self.query.free_bytes();
            client.pending_args_bytes = self.spans.iter().map(|span| (span.end - span.start) as usize).sum();
        }
        server.account_client(self.client);
    }

    /// Runs the complete requests in `buffer`; returns how many bytes they took.
    fn run_requests(&mut self, server: &mut Server, scratch: &mut Scratch, buffer: &[u8]) -> usize {
        let Some(client) = server.clients.get_mut(self.client) else { return buffer.len() };
        if client.is_blocked() || client.close_after_reply {
            return if client.close_after_reply { buffer.len() } else { 0 };
        }
        let mut out = Reply { buffer: client.output.lend(), protocol: client.protocol };
        let consumed = self.run_batches(server, scratch, buffer, &mut out);
        if let Some(client) = server.clients.get_mut(self.client) {
            client.output.take_back(out.buffer);
            // Without output too (CLIENT REPLY OFF), a client that is to go must be looked at.
            if !client.output.is_empty() || client.close_after_reply {
                server.schedule_write(self.client);
            }
        }
        consumed
    }

    fn run_batches(
        &mut self,
        server: &mut Server,
        scratch: &mut Scratch,
        buffer: &[u8],
        out: &mut Reply,
    ) -> usize {
        let mut spans = std::mem::take(&mut scratch.spans);
        spans.clear();
        spans.append(&mut self.spans);
        let mut consumed = 0;
        loop {
            let failure = self.parse_batch(server, scratch, buffer, &mut spans);
            let parsed = scratch.requests.last().map(|request| request.end);
            let db = server.clients.get(self.client).map_or(0, |client| client.db);
            look_ahead(server, db, &mut scratch.requests, buffer, &spans);
            let stopped = self.execute_batch(server, &scratch.requests, buffer, &spans, out);
            let last_span = scratch.requests.last().map_or(0, |request| request.last_span);
            spans.drain(..last_span);
            if let Some(end) = stopped {
                self.parser = RequestParser::default();
                spans.clear();
                consumed = end;
                break;
            }
            consumed =
                parsed.unwrap_or(consumed).max(if spans.is_empty() { self.parser.position() } else { 0 });
            if let Some(failure) = failure {
                self.refuse(server, &failure, out);
                consumed = buffer.len();
                spans.clear();
                self.parser = RequestParser::default();
                break;
            }
            if parsed.is_none() {
                break;
            }
        }
        self.keep_partial(&mut spans, consumed);
        scratch.spans = spans;
        consumed
    }

    /// Keeps the arguments of an incomplete request, now relative to the buffer's new start.
    fn keep_partial(&mut self, spans: &mut Vec<Span>, consumed: usize) {
        self.parser.discard(consumed.min(self.parser.position()));
        let shift = consumed as u32;
        self.spans
            .extend(spans.drain(..).map(|span| Span { start: span.start - shift, end: span.end - shift }));
    }

    /// Parses requests until the batch is full or the bytes end; a protocol error ends it.
    fn parse_batch(
        &mut self,
        server: &Server,
        scratch: &mut Scratch,
        buffer: &[u8],
        spans: &mut Vec<Span>,
    ) -> Option<request::ProtocolError> {
        scratch.requests.clear();
        let state = server.clients.get(self.client);
        let authenticated = state.is_some_and(|state| !server.must_authenticate(state));
        let limits = Limits { bulk_max_bytes: server.config.proto_max_bulk_len as i64, authenticated };
        let batch_max = if authenticated { BATCH_MAX } else { 1 };
        let mut first_span = 0;
        while scratch.requests.len() < batch_max {
            let mut inline = None;
            let parsed = if self.parser.next_is_inline(buffer) {
                self.parse_inline(buffer, &mut inline)
            } else {
                self.parser.parse(buffer, spans, limits)
            };
            match parsed {
                Parsed::Incomplete => return None,
                Parsed::Empty => continue,
                Parsed::Error(failure) => return Some(failure),
                Parsed::Request => {}
            }
            let end = self.parser.position();
            let request = Request {
                first_span,
                last_span: spans.len(),
                end,
                inline,
                found: None,
                hint: KeyHint::default(),
            };
            first_span = spans.len();
            scratch.requests.push(request);
        }
        None
    }

    fn parse_inline(&mut self, buffer: &[u8], inline: &mut Option<OwnedArgs>) -> Parsed {
        let line = match self.parser.take_inline_line(buffer) {
            Ok(line) => line,
            Err(parsed) => return parsed,
        };
        let words = match request::split_inline(line) {
            Ok(words) => words,
            Err(failure) => return Parsed::Error(failure),
        };
        if words.is_empty() {
            return Parsed::Empty;
        }
        *inline = Some(words.iter().map(Vec::as_slice).collect());
        Parsed::Request
    }

    /// Runs the batch. `Some(end)`: it stopped behind the request that ends there.
    fn execute_batch(
        &mut self,
        server: &mut Server,
        requests: &[Request],
        buffer: &[u8],
        spans: &[Span],
        out: &mut Reply,
    ) -> Option<usize> {
        for request in requests {
            server.call.hint = request.hint;
            let args = args_of(request, buffer, spans);
            let outcome = dispatch::execute(server, self.client, args, request.found, out);
            // Another key may come to stand at the same address later.
            server.call.hint = KeyHint::default();
            if server.blocked.has_ready() {
                blocking::serve_ready(server);
                // What those commands had to tell this client stands before its next reply.
                if let Some(client) = server.clients.get_mut(self.client) {
                    out.buffer.append(&mut client.output.buffer);
                }
            }
            match outcome {
                // SHUTDOWN: what stands behind it in the pipeline would be answered and lost.
                Outcome::Done if server.run.exit.is_some() => return Some(buffer.len()),
                Outcome::Done => {}
                Outcome::Blocked => return Some(request.end),
                Outcome::Close => return Some(buffer.len()),
            }
        }
        None
    }

    /// Answers a protocol error; the connection closes behind it.
    fn refuse(&mut self, server: &mut Server, failure: &request::ProtocolError, out: &mut Reply) {
        let text = format!("ERR Protocol error: {}", failure.text());
        log::debug!("Protocol error ({}) from client id={}", failure.text(), self.client.id);
        out.error(text.as_bytes());
        server.stats.count_error(b"ERR");
        if let Some(client) = server.clients.get_mut(self.client) {
            client.close_after_reply = true;
        }
    }

    /// Sends what may be sent. `Ok(true)`: everything is out. An error means that the peer is gone.
    pub fn send(&mut self, server: &mut Server, released: u64) -> io::Result<bool> {
        let Some(client) = server.clients.get_mut(self.client) else { return Ok(true) };
        loop {
            let bytes = client.output.sendable(released);
            if bytes.is_empty() {
                return Ok(client.output.is_empty());
            }
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    client.output.advance(count);
                    client.bytes_out += count as u64;
                    server.stats.net_output_bytes += count as u64;
                    server.stats.writes_processed += 1;
                }
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(failure) if failure.kind() == io::ErrorKind::Interrupted => {}
                Err(failure) => return Err(failure),
            }
        }
    }
}

fn classify(failure: &io::Error) -> Received {
    match failure.kind() {
        io::ErrorKind::WouldBlock => Received::Drained,
        io::ErrorKind::Interrupted => Received::More,
        _ => Received::Closed,
    }
}

#[inline]
fn args_of<'a>(request: &'a Request, buffer: &'a [u8], spans: &'a [Span]) -> Args<'a> {
    match &request.inline {
        Some(owned) => owned.as_args(),
        None => Args::new(buffer, &spans[request.first_span..request.last_span]),
    }
}

/// Finds the commands of a batch, hashes their first keys and starts loading what they will read.
#[inline]
fn look_ahead(server: &Server, db: usize, requests: &mut [Request], buffer: &[u8], spans: &[Span]) {
    let db = server.keyspace.db(db);
    let prefetch = requests.len() > 1;
    let mut last = LookedUp::default();
    for request in requests.iter_mut() {
        let (found, hint, is_new) = match &request.inline {
            None => last.look_up(server, Args::new(buffer, &spans[request.first_span..request.last_span])),
            Some(owned) => LookedUp::default().look_up(server, owned.as_args()),
        };
        request.found = found;
        request.hint = hint;
        if prefetch && is_new {
            db.prefetch_bucket(hint.hash);
        }
    }
    if prefetch {
        let mut last = None;
        for request in requests.iter().filter(|request| request.hint.len > 0) {
            if last.replace(request.hint.hash) != Some(request.hint.hash) {
                db.prefetch_entry(request.hint.hash);
            }
        }
        look_into_values(db, requests, buffer, spans);
    }
}

/// Starts loading the elements of collections that the requests name.
fn look_into_values(db: &Db, requests: &[Request], buffer: &[u8], spans: &[Span]) {
    let mut further = [None; BATCH_MAX];
    let mut count = 0;
    for request in requests.iter().filter(|request| request.hint.len > 0) {
        let position = request.found.map_or(0, |found| found.spec.element);
        if position == 0 {
            continue;
        }
        let args = args_of(request, buffer, spans);
        let (Some(key), Some(element)) =
            (request.found.and_then(|found| found.first_key(args)), args.get(position))
        else {
            continue;
        };
        let Some(value) = db.find(request.hint.hash, key).map(|view| view.value()) else { continue };
        if let Some(hash) = value.look_ahead(element)
            && count < BATCH_MAX
        {
            further[count] = Some((value, hash));
            count += 1;
        }
    }
    for (value, hash) in further[..count].iter().flatten() {
        value.look_further(*hash);
    }
}

/// What the request before had: pipelines often repeat a command, many a key too.
#[derive(Default)]
struct LookedUp<'a> {
    name: &'a [u8],
    found: Option<Found>,
    key: &'a [u8],
    hash: u64,
}

impl<'a> LookedUp<'a> {
    /// The request's command, its first key with the hash (empty hint: none), and whether the key
    /// differs from the last one.
    #[inline]
    fn look_up(&mut self, server: &Server, args: Args<'a>) -> (Option<Found>, KeyHint, bool) {
        let name = args.at(0);
        if self.found.is_none() || self.name != name {
            (self.name, self.found) = (name, server.commands.find(name));
        }
        let Some(key) = self.found.and_then(|found| found.first_key(args)) else {
            return (self.found, KeyHint::default(), false);
        };
        let is_new = self.key != key || key.is_empty();
        if is_new {
            (self.key, self.hash) = (key, server.keyspace.hash(key));
        }
        (self.found, KeyHint::new(key, self.hash), is_new)
    }
}
