//! SET and the commands that store, replace or take whole strings.

use crate::command::key::expire;
use crate::command::string::options::{Condition, ExpiryUnit, Lifetime, SetOptions, expiry_ms, parse_getex};
use crate::command::string::read;
use crate::command::{arg, batch};
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::string::Digits;

const OVERWRITTEN: u32 = key_flag::OW | key_flag::UPDATE;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "set",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        categories: category::STRING,
        keys: &[KeySpec::one(
            1,
            key_flag::RW | key_flag::ACCESS | key_flag::UPDATE | key_flag::VARIABLE_FLAGS,
        )],
        key_flags: Some(set_key_flags),
        group: Group::String,
        summary: "Stores a string under a key, whatever the key held before.",
        handler: set,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "setnx",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        categories: category::STRING,
        keys: &[KeySpec::one(1, key_flag::OW | key_flag::INSERT)],
        group: Group::String,
        summary: "Stores a string under a key that does not exist yet.",
        handler: setnx,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "setex",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        categories: category::STRING,
        keys: &[KeySpec::one(1, OVERWRITTEN)],
        group: Group::String,
        since: "2.0.0",
        summary: "Stores a string with a time to live in seconds.",
        handler: setex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "psetex",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        categories: category::STRING,
        keys: &[KeySpec::one(1, OVERWRITTEN)],
        group: Group::String,
        since: "2.6.0",
        summary: "Stores a string with a time to live in milliseconds.",
        handler: psetex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getset",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        categories: category::STRING,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
        group: Group::String,
        summary: "Stores a string and gives the one it replaces.",
        handler: getset,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getdel",
        arity: 2,
        flags: flag::WRITE | flag::FAST,
        categories: category::STRING,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
        group: Group::String,
        since: "6.2.0",
        summary: "Gives a string and deletes its key.",
        handler: getdel,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getex",
        arity: -2,
        flags: flag::WRITE | flag::FAST,
        categories: category::STRING,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
        group: Group::String,
        since: "6.2.0",
        summary: "Gives a string and sets or drops its key's expiry.",
        handler: getex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "mset",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        categories: category::STRING,
        keys: &[KeySpec::range(1, -1, 2, OVERWRITTEN)],
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys.",
        summary: "Stores several strings in one step.",
        handler: mset,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "msetnx",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        categories: category::STRING,
        keys: &[KeySpec::range(1, -1, 2, key_flag::OW | key_flag::INSERT)],
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys.",
        summary: "Stores several strings in one step if none of the keys exists.",
        handler: msetnx,
        ..CommandSpec::DEFAULT
    },
];

/// With GET the old value is read too.
fn set_key_flags(args: Args<'_>) -> u32 {
    if args.tail(3).iter().any(|option| option.eq_ignore_ascii_case(b"get")) {
        key_flag::RW | key_flag::ACCESS | key_flag::UPDATE
    } else {
        key_flag::OW | key_flag::UPDATE
    }
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() == 3 {
        store(ctx, args.at(1), args.at(2), ExpiryChange::Clear);
        ctx.out.ok();
        return Ok(());
    }
    let options = SetOptions::parse(args.tail(3))?;
    let (key, value) = (args.at(1), args.at(2));
    let expiry = match options.lifetime {
        Lifetime::Expire(unit, text) => ExpiryChange::At(expiry_ms(ctx, unit, text)?),
        Lifetime::Keep => ExpiryChange::Keep,
        _ => ExpiryChange::Clear,
    };
    if options.get {
        read::get(ctx, args)?;
    }
    if is_refused(ctx, key, &options) {
        if !options.get {
            ctx.out.null();
        }
        return Ok(());
    }
    store(ctx, key, value, expiry);
    if !options.get {
        ctx.out.ok();
    }
    propagate_set(ctx, args, &options, expiry);
    Ok(())
}

/// Whether NX or XX forbids to set the key. Looks the key up if its state matters.
fn is_refused(ctx: &mut Ctx<'_>, key: &[u8], options: &SetOptions<'_>) -> bool {
    let mut exists = || ctx.server.exists(ctx.db, key);
    match options.condition {
        Some(Condition::IfMissing) => exists(),
        Some(Condition::IfPresent) => !exists(),
        None => {
            // An expired key's expiry must not be kept.
            if options.lifetime == Lifetime::Keep {
                exists();
            }
            false
        }
    }
}

/// Times from now become times of the clock, and GET has no meaning to a log.
fn propagate_set(ctx: &mut Ctx<'_>, args: Args<'_>, options: &SetOptions<'_>, expiry: ExpiryChange) {
    match (options.lifetime, expiry) {
        (Lifetime::Expire(ExpiryUnit::UnixMillis, _), _) => {}
        (_, ExpiryChange::At(at)) => propagate_with_expiry(ctx, args.at(1), args.at(2), at),
        _ if options.get => {
            let kept: Vec<&[u8]> = args
                .iter()
                .enumerate()
                .filter(|(index, word)| *index < 3 || !arg::is(word, "get"))
                .map(|(_, word)| word)
                .collect();
            ctx.propagate_instead(&kept);
        }
        _ => {}
    }
}

fn propagate_with_expiry(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], at: i64) {
    ctx.propagate_instead(&[b"SET", key, value, b"PXAT", Digits::new().format(at).as_bytes()]);
}

/// Stores a string, with the events that follow.
#[inline]
fn store(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], expiry: ExpiryChange) {
    let (server, db) = (&mut *ctx.server, ctx.db);
    server.set_key(db, key, NewValue::Encoded(value), expiry);
    server.key_changed(db, key);
    server.notify(NotifyFlags::STRING, "set", db, key);
    if let ExpiryChange::At(_) = expiry {
        server.notify(NotifyFlags::GENERIC, "expire", db, key);
    }
}

fn setnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let missing = !ctx.server.exists(ctx.db, args.at(1));
    if missing {
        store(ctx, args.at(1), args.at(2), ExpiryChange::Clear);
    }
    ctx.out.integer(missing as i64);
    Ok(())
}

fn setex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    set_with_expiry(ctx, args, ExpiryUnit::Seconds)
}

fn psetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    set_with_expiry(ctx, args, ExpiryUnit::Millis)
}

fn set_with_expiry(ctx: &mut Ctx<'_>, args: Args<'_>, unit: ExpiryUnit) -> CommandResult {
    let at = expiry_ms(ctx, unit, args.at(2))?;
    store(ctx, args.at(1), args.at(3), ExpiryChange::At(at));
    propagate_with_expiry(ctx, args.at(1), args.at(3), at);
    ctx.out.ok();
    Ok(())
}

fn getset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    read::get(ctx, args)?;
    store(ctx, args.at(1), args.at(2), ExpiryChange::Clear);
    ctx.propagate_instead(&[b"SET", args.at(1), args.at(2)]);
    Ok(())
}

fn getdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    read::get(ctx, args)?;
    if ctx.server.remove_key(ctx.db, args.at(1), false) {
        ctx.propagate_instead(&[b"DEL", args.at(1)]);
        ctx.server.key_changed(ctx.db, args.at(1));
        ctx.server.notify(NotifyFlags::GENERIC, "del", ctx.db, args.at(1));
    }
    Ok(())
}

fn getex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let lifetime = parse_getex(args.tail(2))?;
    let (db, key) = (ctx.db, args.at(1));
    let mut digits = Digits::new();
    // The expiry is judged between the look-up and the reply, so it is computed ahead.
    let at = match lifetime {
        Lifetime::Expire(unit, text) => Some(expiry_ms(ctx, unit, text).map(|at| (at, unit))),
        _ => None,
    };
    let Some(string) = ctx.server.read_string(db, key)? else {
        ctx.out.null();
        return Ok(());
    };
    let at = at.transpose()?;
    ctx.out.bulk(string.bytes(&mut digits));
    match (lifetime, at) {
        (_, Some((at, unit))) if unit.is_absolute() && expire::is_past(ctx, at) => {
            expire::delete_past(ctx, key)
        }
        (_, Some((at, _))) => {
            expire::set_expiry(ctx, key, at);
            ctx.propagate_instead(&[b"PEXPIREAT", key, Digits::new().format(at).as_bytes()]);
        }
        (Lifetime::Persist, None) if expire::persist(ctx, key) => ctx.propagate_instead(&[b"PERSIST", key]),
        _ => {}
    }
    Ok(())
}

fn mset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    set_pairs(ctx, args)?;
    ctx.out.ok();
    Ok(())
}

fn msetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    check_pairs(ctx, args)?;
    for key in args.tail(1).iter().step_by(2) {
        if ctx.server.exists(ctx.db, key) {
            ctx.out.integer(0);
            return Ok(());
        }
    }
    set_pairs(ctx, args)?;
    ctx.out.integer(1);
    Ok(())
}

fn check_pairs(ctx: &Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len().is_multiple_of(2) { Err(error::wrong_arity(&ctx.command_name())) } else { Ok(()) }
}

fn set_pairs(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    check_pairs(ctx, args)?;
    let (db, pairs) = (ctx.db, args.tail(1));
    batch::each_key(ctx.server, db, pairs, 2, |server, index, key| {
        server.set_key(db, key, NewValue::Encoded(pairs.at(index + 1)), ExpiryChange::Clear);
        server.key_changed(db, key);
        server.notify(NotifyFlags::STRING, "set", db, key);
    });
    Ok(())
}
