//! DEBUG: what tests ask of a server. Guarded by `enable-debug-command`.
//!
//! One row in the command table; subcommands are looked up here, with the count of arguments
//! each takes, so that an unknown one gets the error Redis gives.

mod digest;
mod faults;
mod protocol;
mod reload;
mod settings;
mod tables;

use crate::base::numbers::{parse_f64, parse_i64};
use crate::command::config::rewrite_file;
use crate::command::help;
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::replication::ID_DIGITS;
use crate::server::spec::{Group, flag};
use crate::server::{CommandSpec, Ctx};
use crate::sys::general_alloc;
use nix::sys::signal::{Signal, raise};
use std::time::Duration;

/// Longest DEBUG SLEEP, seconds: a day.
const SLEEP_MAX_S: f64 = 86_400.0;

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "debug",
    arity: -2,
    flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::PROTECTED_DEBUG,
    group: Group::Server,
    complexity: "Depends on subcommand.",
    summary: "For tests of the server.",
    handler: debugCommand,
    ..CommandSpec::DEFAULT
}];

type Handler = fn(&mut Ctx<'_>, Args<'_>) -> CommandResult;

/// Name, fewest and most arguments after it, handler.
const SUBCOMMANDS: &[(&str, usize, usize, Handler)] = &[
    ("help", 0, 0, help_command),
    ("sleep", 1, 1, sleep),
    ("digest", 0, 0, digest::of_everything),
    ("digest-value", 0, usize::MAX, digest::of_keys),
    ("object", 1, 1, tables::object),
    ("sdslen", 1, 1, tables::string_lengths),
    ("listpack", 1, 1, tables::packed),
    ("quicklist", 1, 2, tables::packed),
    ("htstats", 1, 2, tables::of_database),
    ("htstats-key", 1, 2, tables::of_key),
    ("reload", 0, 3, reload::reload),
    ("loadaof", 0, 1, reload::load_aof),
    ("populate", 1, 3, populate),
    ("log", 1, 1, log_message),
    ("error", 1, 1, error_reply),
    ("protocol", 1, 1, protocol::protocol),
    ("set-active-expire", 1, 1, settings::active_expire),
    ("set-skip-checksum-validation", 1, 1, settings::skip_checksum),
    ("aof-flush-sleep", 1, 1, settings::aof_flush_sleep),
    ("disk-fault", 1, 4, faults::disk_fault),
    ("pause-cron", 1, 1, settings::pause_cron),
    ("quicklist-packed-threshold", 1, 1, settings::packed_threshold),
    ("set-disable-deny-scripts", 1, 1, settings::disable_deny_scripts),
    ("replybuffer", 2, 2, settings::reply_buffer),
    ("config-rewrite-force-all", 0, 0, rewrite_everything),
    ("change-repl-id", 0, 0, change_replication_id),
    ("replicate", 1, usize::MAX, replicate),
    ("mallctl", 1, 2, mallctl),
    ("mallctl-str", 1, 2, mallctl_text),
    ("stringmatch-len", 2, 2, match_pattern),
    ("structsize", 0, 0, struct_sizes),
    ("segfault", 0, 0, segfault),
    ("panic", 0, 0, panic_now),
    ("assert", 0, 0, assert_now),
];

/// The name is what Redis's tests look for in the stack trace of a crash.
#[allow(non_snake_case, reason = "the name in the crash report is looked for by tests")]
fn debugCommand(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let name = args.at(1).to_ascii_lowercase();
    let given = args.len() - 2;
    let found = SUBCOMMANDS
        .iter()
        .find(|(own, least, most, _)| own.as_bytes() == name && (*least..=*most).contains(&given));
    match found {
        Some((_, _, _, handler)) => handler(ctx, args),
        None => Err(unknown(args.at(1))),
    }
}

fn unknown(given: &[u8]) -> ReplyError {
    let shown = String::from_utf8_lossy(&given[..given.len().min(128)]).into_owned();
    ReplyError::err(format!("unknown subcommand or wrong number of arguments for '{shown}'. Try DEBUG HELP."))
}

fn sleep(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let seconds = parse_f64(args.at(2)).unwrap_or(0.0).clamp(0.0, SLEEP_MAX_S);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    ctx.out.ok();
    Ok(())
}

/// `POPULATE count [prefix] [size]`: keys that exist stay as they are.
fn populate(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    /// Most keys of one call.
    const KEYS_MAX: i64 = 1 << 32;
    let count = positive(args.at(2))?;
    let prefix = args.get(3).unwrap_or(b"key");
    let size = args.get(4).map(positive).transpose()?.unwrap_or(0) as usize;
    if count > KEYS_MAX || size as u64 > ctx.server.config.proto_max_bulk_len as u64 {
        return Err(error::OUT_OF_RANGE);
    }
    let db = ctx.db;
    for number in 0..count {
        let key = [prefix, b":", number.to_string().as_bytes()].concat();
        if ctx.server.exists(db, &key) {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        let kept =
            if size > 0 { NewValue::Bytes { bytes: &value, raw: true } } else { NewValue::Encoded(&value) };
        ctx.server.set_key(db, &key, kept, ExpiryChange::Clear);
        ctx.server.touch_watchers(db, &key);
    }
    ctx.out.ok();
    Ok(())
}

fn positive(text: &[u8]) -> Result<i64, ReplyError> {
    let number = parse_i64(text).ok_or(error::NOT_INTEGER)?;
    if number < 0 { Err(error::MUST_BE_POSITIVE) } else { Ok(number) }
}

fn log_message(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    log::warn!("DEBUG LOG: {}", String::from_utf8_lossy(args.at(2)));
    ctx.out.ok();
    Ok(())
}

fn error_reply(_: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let text: Vec<u8> =
        args.at(2).iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
    Err(ReplyError::coded(text))
}

fn rewrite_everything(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    rewrite_file(ctx.server, true)?;
    ctx.out.ok();
    Ok(())
}

fn change_replication_id(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    log::info!("Changing replication IDs after receiving DEBUG change-repl-id");
    let id = ctx.server.rng.hex_id(ID_DIGITS);
    ctx.server.replication.begin_history(id);
    ctx.out.ok();
    Ok(())
}

/// Puts a command into the stream without running it here.
fn replicate(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.propagate_args_instead(args.tail(2));
    ctx.out.ok();
    Ok(())
}

/// Reads only; a value given is refused, since a wrong one can break the allocator.
fn mallctl(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(ReplyError::err("Operation not permitted"));
    }
    let value =
        general_alloc::control_number(args.at(2)).ok_or(ReplyError::err("No such file or directory"))?;
    ctx.out.integer(value as i64);
    Ok(())
}

/// Settings that are texts: the one tests use empties the thread's cache, which needs no value.
fn mallctl_text(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if !general_alloc::control_action(args.at(2)) {
        return Err(ReplyError::err("No such file or directory"));
    }
    ctx.out.ok();
    Ok(())
}

/// `STRINGMATCH-LEN length pattern`: how long a pattern takes on a text of so many `a`.
fn match_pattern(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    const TEXT_MAX_BYTES: i64 = 1 << 20;
    let length = positive(args.at(2))?.min(TEXT_MAX_BYTES) as usize;
    let text = vec![b'a'; length];
    ctx.out.integer(crate::server::config::glob_matches(args.at(3), &text, false) as i64);
    Ok(())
}

fn struct_sizes(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let client = size_of::<crate::server::Client>();
    let text = format!("bits:{} client:{client} handle:{} ", usize::BITS, size_of::<u64>());
    ctx.out.bulk_str(&text);
    Ok(())
}

/// The signal itself: the report and the exit status are those of a real fault.
fn segfault(_: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    match raise(Signal::SIGSEGV) {
        Ok(()) => Ok(()),
        Err(failure) => Err(ReplyError::err(failure.desc())),
    }
}

fn panic_now(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    panic!("DEBUG PANIC called at Unix time {}", ctx.now_ms() / 1000);
}

fn assert_now(_: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    assert!(args.is_empty(), "1 == 2");
    Ok(())
}

fn help_command(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    help::write(
        ctx.out,
        "DEBUG",
        &[
            "DISK-FAULT <call> <stall:<ms>|fail:<errno>|lie> [<times> [<path>]]",
            "    The next system calls of this kind on data files stall or fail; DISK-FAULT clear ends it.",
            "AOF-FLUSH-SLEEP <microsec>",
            "    Wait before each write of the AOF.",
            "ASSERT | PANIC | SEGFAULT",
            "    Crash in this way.",
            "CHANGE-REPL-ID",
            "    Take a new replication id.",
            "CONFIG-REWRITE-FORCE-ALL",
            "    CONFIG REWRITE that writes built-in values too.",
            "DIGEST | DIGEST-VALUE <key> [<key> ...]",
            "    Show a checksum of the data set, or of single values.",
            "ERROR <string> | LOG <message>",
            "    Reply with this error; write this to the log.",
            "HTSTATS <dbid> [full] | HTSTATS-KEY <key> [full]",
            "    Describe the hash table of a database or a value.",
            "LOADAOF | RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
            "    Empty the data set and load it again from its file.",
            "MALLCTL <key> | MALLCTL-STR <key> [VOID]",
            "    Read a figure of the allocator; carry out one of its actions.",
            "OBJECT <key> | SDSLEN <key>",
            "    Show how a value is kept.",
            "LISTPACK <key> | QUICKLIST <key> [0|1]",
            "    Write a packed value to the log, where it is verbose.",
            "PAUSE-CRON <0|1> | SET-ACTIVE-EXPIRE <0|1>",
            "    Stop and start periodic work; expiry in the background.",
            "POPULATE <count> [<prefix>] [<size>]",
            "    Add string keys.",
            "PROTOCOL <type>",
            "    Reply with a value of this protocol type.",
            "QUICKLIST-PACKED-THRESHOLD <size>",
            "    From this size on a list element has a node of its own.",
            "REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|ms> | REPLYBUFFER RESIZING <0|1>",
            "    Taken, without effect: reply buffers work differently here.",
            "SET-SKIP-CHECKSUM-VALIDATION <0|1> | SET-DISABLE-DENY-SCRIPTS <0|1>",
            "    Switch off these checks.",
            "SLEEP <seconds>",
            "    Block the server.",
        ],
    );
    Ok(())
}
