//! MIGRATE: keys move to another server.
//!
//! ```text
//!  DUMP each key ─► AUTH, SELECT, RESTORE ... ─► a reply for each ─► DEL of those that got +OK
//! ```
//! A key is removed here only after the other server has said that it has it. Whatever goes wrong
//! before, the key stays; at worst it is then in both places. What was removed is propagated as one
//! DEL. The requests are sent as they are made, so that memory holds one value's dump, not all.

use crate::command::arg;
use crate::persist::rdb::dump;
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::key_extraction::KeyAt;
use crate::server::migrate::MigrateTarget;
use crate::server::spec::{BeginSearch, FindKeys, Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use std::io::{self, ErrorKind};
use std::time::Duration;

const KEY_FLAGS: u32 = key_flag::RW | key_flag::ACCESS | key_flag::DELETE;

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "migrate",
    arity: -6,
    flags: flag::WRITE,
    categories: category::KEYSPACE | category::DANGEROUS,
    keys: &[
        KeySpec::one(3, KEY_FLAGS),
        KeySpec {
            begin: BeginSearch::Keyword("KEYS", -2),
            find: FindKeys::Range { last: -1, step: 1, limit: 0 },
            flags: KEY_FLAGS | key_flag::INCOMPLETE,
        },
    ],
    own_keys: Some(own_keys),
    group: Group::Generic,
    since: "2.6.0",
    complexity: "O(N) for values of N bytes, here, on the way and at the target.",
    summary: "Moves keys to another server.",
    tips: &["nondeterministic_output"],
    handler: migrate,
    ..CommandSpec::DEFAULT
}];

/// The key that stands third, or those behind KEYS: then the third must be empty, and if it is not,
/// the request is refused anyway. What logs in at the other side is no word of ours.
fn own_keys(args: Args<'_>) -> Vec<KeyAt> {
    let mut index = 6;
    let mut keys = 3..4;
    while let Some(word) = args.get(index) {
        if arg::is(word, "keys") {
            keys = if args.at(3).is_empty() { index + 1..args.len() } else { 0..0 };
            break;
        }
        index += match word {
            word if arg::is(word, "auth") => 2,
            word if arg::is(word, "auth2") => 3,
            _ => 1,
        };
    }
    keys.map(|index| KeyAt { index, flags: KEY_FLAGS }).collect()
}

/// Time-out when none, or none that makes sense, is given.
const DEFAULT_TIMEOUT_MS: u64 = 1000;
/// Requests gathered before they are sent.
const SEND_BYTES: usize = 64 << 10;

/// What is asked for.
struct Request<'a> {
    host: &'a [u8],
    port: &'a [u8],
    db: i64,
    timeout: Duration,
    copy: bool,
    replace: bool,
    /// Arguments of AUTH: none, a password, or a user and a password.
    auth: Vec<&'a [u8]>,
    keys: Vec<&'a [u8]>,
}

impl<'a> Request<'a> {
    fn parse(args: Args<'a>) -> Result<Request<'a>, ReplyError> {
        let mut request = Request {
            host: args.at(1),
            port: args.at(2),
            db: 0,
            timeout: Duration::ZERO,
            copy: false,
            replace: false,
            auth: Vec::new(),
            keys: vec![args.at(3)],
        };
        let mut rest = args.tail(6);
        while let Some(word) = rest.get(0) {
            let more = rest.len() - 1;
            let taken = match word {
                word if arg::is(word, "copy") => {
                    request.copy = true;
                    0
                }
                word if arg::is(word, "replace") => {
                    request.replace = true;
                    0
                }
                word if arg::is(word, "auth") && more >= 1 => 1,
                word if arg::is(word, "auth2") && more >= 2 => 2,
                word if arg::is(word, "keys") => {
                    request.keys = keys_option(args, rest)?;
                    break;
                }
                _ => return Err(error::SYNTAX),
            };
            if taken > 0 {
                request.auth = (1..=taken).map(|index| rest.at(index)).collect();
            }
            rest = rest.tail(1 + taken);
        }
        let timeout_ms = arg::integer(args.at(5))?;
        request.db = arg::integer(args.at(4))?;
        let timeout_ms = u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0).unwrap_or(DEFAULT_TIMEOUT_MS);
        request.timeout = Duration::from_millis(timeout_ms.min(TIMEOUT_MAX_MS));
        Ok(request)
    }
}

/// Longer time-outs are cut: clocks overflow above.
const TIMEOUT_MAX_MS: u64 = 1 << 40;

fn keys_option<'a>(args: Args<'a>, rest: Args<'a>) -> Result<Vec<&'a [u8]>, ReplyError> {
    if !args.at(3).is_empty() {
        return Err(ReplyError::err(
            "When using MIGRATE KEYS option, the key argument must be set to the empty string",
        ));
    }
    Ok(rest.tail(1).iter().collect())
}

/// How far a transfer has come.
#[derive(Default)]
struct Progress<'a> {
    /// Replies to RESTORE read.
    answered: usize,
    /// Keys that the target has and this server no longer.
    removed: Vec<&'a [u8]>,
    /// The first error that the target answered.
    refusal: Option<Vec<u8>>,
}

/// What happened to the connection.
struct Broken {
    verb: &'static str,
    error: io::Error,
}

fn migrate(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse(args)?;
    let mut keys = request.keys.clone();
    keys.retain(|key| ctx.server.read(ctx.db, key).is_some());
    if keys.is_empty() {
        ctx.out.simple("NOKEY");
        return Ok(());
    }
    let mut may_retry = true;
    loop {
        let mut progress = Progress::default();
        let ended = attempt(ctx, &request, &keys, &mut progress)?;
        if !progress.removed.is_empty() {
            let words: Vec<&[u8]> = [&b"DEL"[..]].into_iter().chain(progress.removed).collect();
            ctx.propagate_instead(&words);
        }
        match (progress.refusal, ended) {
            (Some(text), _) => {
                let text = text.strip_prefix(b"-").unwrap_or(&text);
                return Err(ReplyError::err([b"Target instance replied with error: ", text].concat()));
            }
            (None, Ok(())) => {
                ctx.out.ok();
                return Ok(());
            }
            // A kept connection has often been closed by the other side meanwhile.
            (None, Err(broken)) if may_retry && progress.answered == 0 && !timed_out(&broken.error) => {
                may_retry = false;
            }
            (None, Err(broken)) => {
                let text = format!("IOERR error or timeout {} to target instance", broken.verb);
                return Err(ReplyError::coded(text));
            }
        }
    }
}

fn timed_out(error: &io::Error) -> bool {
    error.kind() == ErrorKind::TimedOut
}

/// One transfer over one connection, which is kept if all replies were read.
fn attempt<'a>(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    keys: &[&'a [u8]],
    progress: &mut Progress<'a>,
) -> Result<Result<(), Broken>, ReplyError> {
    let target = ctx.server.migrate.take(request.host, request.port, request.timeout);
    let mut target =
        target.map_err(|_| ReplyError::fixed("IOERR error or timeout connecting to the client"))?;
    let ended = transfer(ctx, request, keys, &mut target, progress);
    if ended.is_ok() {
        target.db = progress.refusal.is_none().then_some(request.db);
        let now_ms = ctx.now_ms();
        ctx.server.migrate.put_back(target, now_ms);
    }
    Ok(ended)
}

fn transfer<'a>(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    keys: &[&'a [u8]],
    target: &mut MigrateTarget,
    progress: &mut Progress<'a>,
) -> Result<(), Broken> {
    let selects = target.db != Some(request.db);
    let writing = |error| Broken { verb: "writing", error };
    let reading = |error| Broken { verb: "reading", error };
    let sent = send_all(ctx, request, keys, target, selects).map_err(writing)?;
    let mut refused_before = None;
    for _ in 0..usize::from(!request.auth.is_empty()) + usize::from(selects) {
        let line = target.read_line().map_err(reading)?;
        if line.starts_with(b"-") && refused_before.is_none() {
            refused_before = Some(line);
        }
    }
    for key in sent {
        let line = target.read_line().map_err(reading)?;
        progress.answered += 1;
        // After a refused AUTH or SELECT a RESTORE that succeeds went to another place than asked for.
        let refusal = refused_before.clone().or_else(|| (!line.starts_with(b"+")).then_some(line));
        match refusal {
            Some(text) => drop(progress.refusal.get_or_insert(text)),
            None if request.copy => {}
            None => {
                remove(ctx, key);
                progress.removed.push(key);
            }
        }
    }
    Ok(())
}

/// The target has the key: it goes.
fn remove(ctx: &mut Ctx<'_>, key: &[u8]) {
    if ctx.server.remove_key(ctx.db, key, false) {
        ctx.server.key_changed(ctx.db, key);
        ctx.server.notify(NotifyFlags::GENERIC, "del", ctx.db, key);
    }
}

/// Sends all requests. Returns the keys sent: those that still live.
fn send_all<'a>(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    keys: &[&'a [u8]],
    target: &mut MigrateTarget,
    selects: bool,
) -> io::Result<Vec<&'a [u8]>> {
    let mut buffer = Vec::new();
    if !request.auth.is_empty() {
        let words: Vec<&[u8]> = [&b"AUTH"[..]].into_iter().chain(request.auth.iter().copied()).collect();
        push_request(&mut buffer, &words);
    }
    if selects {
        push_request(&mut buffer, &[b"SELECT", request.db.to_string().as_bytes()]);
    }
    let mut sent = Vec::with_capacity(keys.len());
    for key in keys {
        if push_restore(ctx, request, key, &mut buffer) {
            sent.push(*key);
        }
        if buffer.len() >= SEND_BYTES {
            target.send(&buffer)?;
            buffer.clear();
        }
    }
    target.send(&buffer)?;
    Ok(sent)
}

/// Adds the RESTORE of a key; false when it has gone meanwhile.
fn push_restore(ctx: &mut Ctx<'_>, request: &Request<'_>, key: &[u8], buffer: &mut Vec<u8>) -> bool {
    let (version, compress) = (ctx.server.config.rdb_version, ctx.server.config.rdbcompression);
    let now_ms = ctx.now_ms();
    let Some(view) = ctx.server.find(ctx.db, key) else { return false };
    let ttl_ms = match view.expiry_ms() {
        // 0 would mean that it never expires.
        Some(expiry_ms) => (expiry_ms - now_ms).max(1),
        None => 0,
    };
    let payload = dump::payload_of(&view.value(), version, compress);
    let digits = ttl_ms.to_string();
    let words: [&[u8]; 5] = [b"RESTORE", key, digits.as_bytes(), &payload, b"REPLACE"];
    push_request(buffer, &words[..if request.replace { 5 } else { 4 }]);
    true
}

fn push_request(buffer: &mut Vec<u8>, words: &[&[u8]]) {
    buffer.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        buffer.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        buffer.extend_from_slice(word);
        buffer.extend_from_slice(b"\r\n");
    }
}
