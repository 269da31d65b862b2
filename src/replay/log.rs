//! Replaying one log file.
//!
//! ```text
//!  block reader ─► up to BATCH_MAX requests ─► hash keys, prefetch ─► run each ─► next
//!               ─► tail: what is not a whole command at the end is judged and cut, or refused
//! ```
//! A transaction is collected and run at its EXEC, so that an open one leaves no trace.

use crate::base::numbers::parse_i64;
use crate::dispatch::{self, Ahead};
use crate::keyspace::ExpireRule;
use crate::persist::aof::reader::{Annotation, BlockReader, Item, next_item};
use crate::persist::key_delay::KeyDelay;
use crate::replay::tail::{self, TailOptions};
use crate::replay::{LoadEnd, Pump};
use crate::resp::{Args, ArgsQueue, Reply, Span};
use crate::server::spec::Found;
use crate::server::{ClientKind, ClientRef, KeyHint, Server};
use std::path::Path;

/// Requests parsed ahead and prefetched together.
const BATCH_MAX: usize = 32;
/// Commands between two looks at the clients, as in Redis: they take less than a millisecond.
const COMMANDS_PER_LOOK: usize = 1024;

/// One parsed request.
struct Request {
    first_span: usize,
    last_span: usize,
    /// Where it begins in the file.
    offset: u64,
}

/// A transaction whose EXEC has not come.
struct OpenTransaction {
    /// Where its MULTI begins.
    offset: u64,
    queue: ArgsQueue<Option<Found>>,
}

/// A point in time up to which a log is executed, and what was seen of its times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeLimit {
    /// Unix seconds: what a later time stamp begins is left out.
    pub until_s: i64,
    /// The first time stamp found.
    pub first_s: Option<i64>,
    /// Where the first later one stands; nothing behind it was executed.
    pub stopped_at: Option<u64>,
}

/// The fake client and what it is in the middle of.
struct Session<'a> {
    client: ClientRef,
    name: &'a str,
    limit: Option<&'a mut TimeLimit>,
    transaction: Option<OpenTransaction>,
    out: Reply,
    delay: KeyDelay,
}

/// Why the parse of a batch stopped.
enum Stop {
    /// The batch is full, or a note or nothing stands next.
    Full,
    /// More bytes are needed.
    Starved,
    Damaged,
}

struct Batch {
    requests: Vec<Request>,
    /// What is known of each.
    ahead: Vec<Ahead>,
    spans: Vec<Span>,
    /// Bytes of everything parsed.
    bytes: usize,
    stop: Stop,
}

/// Replays the file from `offset` on. `repair` is `None` for files whose tail must be whole.
///
/// # Errors
/// The line for the log, Redis's text where it has one.
pub fn replay_file(
    server: &mut Server,
    path: &Path,
    offset: u64,
    repair: Option<TailOptions>,
    pump: &mut Pump<'_>,
) -> Result<LoadEnd, String> {
    match execute(server, path, offset, None, pump)? {
        Executed::Whole => Ok(LoadEnd::Complete),
        Executed::Interrupted => Ok(LoadEnd::Interrupted),
        Executed::Tail { reader, open_since } => {
            tail::treat(server, path, reader, open_since, repair)?;
            Ok(LoadEnd::Complete)
        }
    }
}

/// Replays the file from `offset` on, up to a point in time, and changes nothing in it: a tail that a
/// crash leaves behind is passed over where `tail_ok`, any other refused.
///
/// # Errors
/// As [`replay_file`].
pub fn replay_read_only(
    server: &mut Server,
    path: &Path,
    offset: u64,
    limit: Option<&mut TimeLimit>,
    tail_ok: bool,
    pump: &mut Pump<'_>,
) -> Result<LoadEnd, String> {
    match execute(server, path, offset, limit, pump)? {
        Executed::Whole => Ok(LoadEnd::Complete),
        Executed::Interrupted => Ok(LoadEnd::Interrupted),
        Executed::Tail { reader, open_since } => {
            tail::pass_over(server, path, reader, open_since, tail_ok)?;
            Ok(LoadEnd::Complete)
        }
    }
}

/// How the execution of a file went.
enum Executed {
    Whole,
    Interrupted,
    /// The reader stands at what is no whole command; `open_since`: where an open transaction begins.
    Tail {
        reader: BlockReader,
        open_since: Option<u64>,
    },
}

fn execute(
    server: &mut Server,
    path: &Path,
    offset: u64,
    limit: Option<&mut TimeLimit>,
    pump: &mut Pump<'_>,
) -> Result<Executed, String> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let storage = server.persistence.aof.storage();
    let file = storage.open_read(path).map_err(|fault| {
        format!("Fatal error: can't open the append log file {name} for reading: {fault}")
    })?;
    let now_ms = server.clock.monotonic_ms();
    let client = server.clients.add(ClientKind::Fake, now_ms);
    let saved_rule = std::mem::replace(&mut server.keyspace.expire_rule, ExpireRule::Ignore);
    let saved_replaying = std::mem::replace(&mut server.call.replaying, true);
    let delay = KeyDelay::new(server.config.key_load_delay);
    let mut session = Session { client, name: &name, limit, transaction: None, out: Reply::default(), delay };
    let mut reader = BlockReader::new(file, offset);
    let replayed = run(server, &mut session, &mut reader, pump);
    server.call.replaying = saved_replaying;
    server.keyspace.expire_rule = saved_rule;
    server.remove_client(client);
    match replayed? {
        Ended::Interrupted => Ok(Executed::Interrupted),
        Ended::Whole if session.transaction.is_none() => Ok(Executed::Whole),
        _ => {
            let open_since = session.transaction.map(|transaction| transaction.offset);
            Ok(Executed::Tail { reader, open_since })
        }
    }
}

enum Ended {
    /// The file ends with a whole command.
    Whole,
    /// What the reader stands at is no whole command.
    Tail,
    Interrupted,
}

fn run(
    server: &mut Server,
    session: &mut Session<'_>,
    reader: &mut BlockReader,
    pump: &mut Pump<'_>,
) -> Result<Ended, String> {
    let mut batch = Batch {
        requests: Vec::with_capacity(BATCH_MAX),
        ahead: Vec::with_capacity(BATCH_MAX),
        spans: Vec::new(),
        bytes: 0,
        stop: Stop::Full,
    };
    let mut unseen = 0;
    loop {
        parse_batch(&mut batch, reader);
        let db = server.clients.get(session.client).map_or(0, |state| state.db);
        let args = batch.requests.iter().map(|request| args_of(request, reader.bytes(), &batch.spans));
        dispatch::look_ahead(server, db, args, &mut batch.ahead);
        run_batch(server, session, &batch, reader.bytes())?;
        reader.consume(batch.bytes);
        unseen += batch.requests.len();
        if unseen >= COMMANDS_PER_LOOK || unseen > 0 && session.delay.is_set() {
            unseen = 0;
            report_progress(server, reader.offset(), pump);
            if server.run.exit.is_some() {
                return Ok(Ended::Interrupted);
            }
        }
        match batch.stop {
            Stop::Damaged => return Ok(Ended::Tail),
            Stop::Full => match take_notes(reader, session)? {
                Notes::Taken => {}
                Notes::Damaged => return Ok(Ended::Tail),
                Notes::Later => return Ok(Ended::Whole),
            },
            Stop::Starved => {
                let more = reader.fill().map_err(|fault| unreadable(session.name, &fault.to_string()))?;
                report_progress(server, reader.offset(), pump);
                if server.run.exit.is_some() {
                    return Ok(Ended::Interrupted);
                }
                if !more {
                    return Ok(if reader.bytes().is_empty() { Ended::Whole } else { Ended::Tail });
                }
            }
        }
    }
}

fn unreadable(name: &str, reason: &str) -> String {
    format!("Unrecoverable error reading the append only file {name}: {reason}")
}

fn report_progress(server: &mut Server, offset: u64, pump: &mut Pump<'_>) {
    if let Some(loading) = &mut server.run.loading {
        loading.loaded_bytes = offset;
    }
    pump(server);
}

fn parse_batch(batch: &mut Batch, reader: &BlockReader) {
    batch.requests.clear();
    batch.spans.clear();
    batch.bytes = 0;
    batch.stop = Stop::Full;
    let bytes = reader.bytes();
    while batch.requests.len() < BATCH_MAX {
        let first_span = batch.spans.len();
        match next_item(&bytes[batch.bytes..], &mut batch.spans) {
            Item::Request(len) => {
                let shift = batch.bytes as u32;
                for span in &mut batch.spans[first_span..] {
                    span.start += shift;
                    span.end += shift;
                }
                batch.requests.push(Request {
                    first_span,
                    last_span: batch.spans.len(),
                    offset: reader.offset() + batch.bytes as u64,
                });
                batch.bytes += len;
            }
            Item::Nothing(len) => batch.bytes += len,
            Item::Note(..) => return,
            Item::Incomplete => {
                batch.stop = Stop::Starved;
                return;
            }
            Item::Damaged(_) => {
                batch.stop = Stop::Damaged;
                return;
            }
        }
    }
}

/// What the notes at the head say of what follows.
enum Notes {
    /// Nothing against it.
    Taken,
    /// By its checksum it is damaged, or not all there.
    Damaged,
    /// It was written after the time that is wanted.
    Later,
}

/// Takes the notes at the head. Nothing of a batch whose checksum is not right is executed, and the
/// line stays in front of the tail: were it kept and only the torn command cut, it would cover
/// whatever is appended next.
fn take_notes(reader: &mut BlockReader, session: &mut Session<'_>) -> Result<Notes, String> {
    let name = session.name;
    while let Item::Note(len, note) = next_item(reader.bytes(), &mut Vec::new()) {
        match note {
            Annotation::Checksum { bytes, crc } => {
                let found = reader.checksum_ahead(len, bytes);
                match found.map_err(|fault| unreadable(name, &fault.to_string()))? {
                    Some(found) if found == crc => {}
                    Some(_) => {
                        ::log::warn!(
                            "Wrong checksum in the append only file {name} at offset {}",
                            reader.offset()
                        );
                        return Ok(Notes::Damaged);
                    }
                    None => return Ok(Notes::Damaged),
                }
            }
            Annotation::Stamp(stamp_s) => {
                if let Some(limit) = &mut session.limit {
                    limit.first_s.get_or_insert(stamp_s);
                    if stamp_s > limit.until_s {
                        limit.stopped_at = Some(reader.offset());
                        return Ok(Notes::Later);
                    }
                }
            }
            Annotation::Other => {}
        }
        reader.consume(len);
    }
    Ok(Notes::Taken)
}

#[inline]
fn args_of<'a>(request: &Request, bytes: &'a [u8], spans: &'a [Span]) -> Args<'a> {
    Args::new(bytes, &spans[request.first_span..request.last_span])
}

fn run_batch(
    server: &mut Server,
    session: &mut Session<'_>,
    batch: &Batch,
    bytes: &[u8],
) -> Result<(), String> {
    for (request, known) in batch.requests.iter().zip(&batch.ahead) {
        let args = args_of(request, bytes, &batch.spans);
        server.call.hint = known.hint;
        run_request(server, session, request, known.found, args)?;
        if session.delay.is_set() {
            session.delay.pause();
        }
    }
    // Other bytes will come to stand at the address of the last.
    server.call.hint = KeyHint::default();
    Ok(())
}

fn run_request(
    server: &mut Server,
    session: &mut Session<'_>,
    request: &Request,
    found: Option<Found>,
    args: Args<'_>,
) -> Result<(), String> {
    let name = args.at(0);
    if name.eq_ignore_ascii_case(b"multi") {
        return begin_transaction(session, request.offset);
    }
    if name.eq_ignore_ascii_case(b"exec") {
        return end_transaction(server, session, request.offset);
    }
    if found.is_none() && !is_select(name) {
        return Err(unknown_command(session.name, name, request.offset));
    }
    // A handler relies on its arity; a damaged count of arguments shows here.
    if let Some(found) = found
        && !found.spec.arity_fits(args.len())
    {
        return Err(tail::bad_format(session.name, request.offset, "a wrong number of arguments"));
    }
    match &mut session.transaction {
        Some(transaction) => transaction.queue.push(args, found),
        None => apply(server, session, found, args, request.offset)?,
    }
    Ok(())
}

#[inline]
fn is_select(name: &[u8]) -> bool {
    name.len() == 6 && name.eq_ignore_ascii_case(b"select")
}

/// Runs one command; SELECT is the fake client's own state.
#[inline]
fn apply(
    server: &mut Server,
    session: &mut Session<'_>,
    found: Option<Found>,
    args: Args<'_>,
    offset: u64,
) -> Result<(), String> {
    if is_select(args.at(0)) {
        return select(server, session, args, offset);
    }
    if let Some(found) = found {
        dispatch::replay(server, session.client, found, args, &mut session.out);
        session.out.buffer.clear();
    }
    Ok(())
}

fn select(server: &mut Server, session: &Session<'_>, args: Args<'_>, offset: u64) -> Result<(), String> {
    let index = args.get(1).and_then(parse_i64).and_then(|index| usize::try_from(index).ok());
    let Some(index) = index.filter(|index| *index < server.keyspace.databases()) else {
        return Err(tail::bad_format(
            session.name,
            offset,
            "SELECT of a database that is not there (databases)",
        ));
    };
    if let Some(client) = server.clients.get_mut(session.client) {
        client.db = index;
    }
    Ok(())
}

fn begin_transaction(session: &mut Session<'_>, offset: u64) -> Result<(), String> {
    if session.transaction.is_some() {
        return Err(tail::bad_format(session.name, offset, "MULTI inside MULTI"));
    }
    session.transaction = Some(OpenTransaction { offset, queue: ArgsQueue::default() });
    Ok(())
}

fn end_transaction(server: &mut Server, session: &mut Session<'_>, offset: u64) -> Result<(), String> {
    let Some(transaction) = session.transaction.take() else {
        return Err(tail::bad_format(session.name, offset, "EXEC without MULTI"));
    };
    for (args, found) in transaction.queue.iter() {
        server.call.hint = KeyHint::default();
        apply(server, session, found, args, offset)?;
    }
    Ok(())
}

/// Commands of scripts and functions, which cannot be executed yet.
const SCRIPT_COMMANDS: [&[u8]; 5] = [b"eval", b"evalsha", b"fcall", b"function", b"script"];

fn unknown_command(file: &str, name: &[u8], offset: u64) -> String {
    let is_script = SCRIPT_COMMANDS.iter().any(|known| name.eq_ignore_ascii_case(known));
    let way_out = if is_script {
        ": scripts and functions cannot be executed yet. Let the server that wrote the file rewrite it (BGREWRITEAOF with \
         aof-use-rdb-preamble yes) or save a snapshot (BGSAVE), and use what that gives: it holds the data and no scripts"
    } else {
        ""
    };
    format!(
        "Unknown command '{}' reading the append only file {file} (offset {offset}){way_out}",
        String::from_utf8_lossy(name)
    )
}
