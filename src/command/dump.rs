//! DUMP and RESTORE: one value as bytes that another server understands.

use crate::command::arg;
use crate::keyspace::{ExpiryChange, NewValue};
use crate::persist::rdb::dump;
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "dump",
        tips: &["nondeterministic_output"],
        arity: 2,
        flags: flag::READONLY,
        categories: category::KEYSPACE,
        keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N) for a value of N bytes.",
        summary: "Gives a key's value in a form that RESTORE understands.",
        handler: dump_key,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "restore",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM,
        categories: category::KEYSPACE | category::DANGEROUS,
        keys: &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE)],
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N) for a value of N bytes.",
        summary: "Makes a key from what DUMP gave.",
        handler: restore,
        ..CommandSpec::DEFAULT
    },
];

fn dump_key(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (version, compress) = (ctx.server.config.rdb_version, ctx.server.config.rdbcompression);
    match ctx.server.read(ctx.db, &args[1]) {
        None => ctx.out.null(),
        Some(view) => ctx.out.bulk(&dump::payload_of(&view.value(), version, compress)),
    }
    Ok(())
}

/// What stands behind the payload.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

fn parse_options(args: Args<'_>) -> Result<Options, ReplyError> {
    let mut options = Options::default();
    let mut index = 4;
    while let Some(word) = args.get(index) {
        let next = args.get(index + 1);
        match (word, next) {
            (word, _) if arg::is(word, "replace") => options.replace = true,
            (word, _) if arg::is(word, "absttl") => options.absolute = true,
            (word, Some(number)) if arg::is(word, "idletime") && options.frequency.is_none() => {
                let idle_s = u64::try_from(arg::integer(number)?);
                let refused = || ReplyError::err("Invalid IDLETIME value, must be >= 0");
                options.idle_s = Some(idle_s.map_err(|_| refused())?);
                index += 1;
            }
            (word, Some(number)) if arg::is(word, "freq") && options.idle_s.is_none() => {
                let frequency = u8::try_from(arg::integer(number)?);
                let refused = || ReplyError::err("Invalid FREQ value, must be >= 0 and <= 255");
                options.frequency = Some(frequency.map_err(|_| refused())?);
                index += 1;
            }
            _ => return Err(error::SYNTAX),
        }
        index += 1;
    }
    Ok(options)
}

fn restore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = parse_options(args)?;
    let key = &args[1];
    if !options.replace && ctx.server.exists(ctx.db, key) {
        return Err(error::BUSY_KEY);
    }
    let ttl_ms = arg::integer(&args[2])?;
    if ttl_ms < 0 {
        return Err(error::INVALID_TTL);
    }
    let skips_sum = ctx.server.run.debug.skip_checksums;
    let body = if skips_sum { dump::unsummed(&args[3]) } else { dump::verified(&args[3]) };
    let body = body.ok_or(error::BAD_DUMP)?;
    let expiry_ms = match ttl_ms {
        0 => None,
        at if options.absolute => Some(at),
        ttl => Some(ttl.checked_add(ctx.now_ms()).ok_or(error::INVALID_TTL)?),
    };
    let late = expiry_ms.is_some_and(|expiry| expiry < ctx.now_ms()) && !ctx.caller.is_replicated();
    let limits = ctx.server.type_limits(true);
    dump::restore(body, &limits, |value| {
        if late { drop_late(ctx, key, options.replace) } else { put(ctx, key, value, expiry_ms, &options) }
    })
    .map_err(|reason| {
        log::warn!("RESTORE was given a value that is damaged: {reason}");
        error::BAD_DATA_FORMAT
    })?;
    if !late && expiry_ms.is_some() && !options.absolute {
        propagate_absolute(ctx, args, expiry_ms.unwrap_or(0));
    }
    ctx.out.simple("OK");
    Ok(())
}

/// The key's time has passed already: what it replaces goes, nothing comes.
fn drop_late(ctx: &mut Ctx<'_>, key: &[u8], replace: bool) {
    if replace && ctx.server.remove_key(ctx.db, key, false) {
        ctx.server.key_changed(ctx.db, key);
        ctx.server.notify(NotifyFlags::GENERIC, "del", ctx.db, key);
        let verb: &[u8] = if ctx.server.config.lazyfree_lazy_server_del { b"UNLINK" } else { b"DEL" };
        ctx.propagate_instead(&[verb, key]);
    }
}

fn put(ctx: &mut Ctx<'_>, key: &[u8], value: NewValue<'_>, expiry_ms: Option<i64>, options: &Options) {
    let expiry = expiry_ms.map_or(ExpiryChange::Clear, ExpiryChange::At);
    ctx.server.set_key(ctx.db, key, value, expiry);
    let access = &ctx.server.keyspace.access;
    let bits = match (access.lfu, options.frequency, options.idle_s) {
        (true, Some(frequency), _) => Some(access.bits_of_frequency(frequency)),
        (false, _, Some(idle_s)) => Some(access.bits_of_idle(idle_s)),
        _ => None,
    };
    if let Some(bits) = bits {
        let hash = ctx.server.hash(key);
        ctx.server.keyspace.db_mut(ctx.db).set_access(hash, key, bits);
    }
    ctx.server.key_changed(ctx.db, key);
    ctx.server.notify(NotifyFlags::GENERIC, "restore", ctx.db, key);
}

/// Logs and replicas get the time at which the key ends, not how long it has left.
fn propagate_absolute(ctx: &mut Ctx<'_>, args: Args<'_>, expiry_ms: i64) {
    let digits = expiry_ms.to_string();
    let mut words: Vec<&[u8]> = args.iter().collect();
    words[2] = digits.as_bytes();
    words.push(b"ABSTTL");
    ctx.propagate_instead(&words);
}
