//! HGETEX, HGETDEL, HSETEX: read or write fields and their expiry in one step (Redis 8.0).
//!
//! ```text
//! HGETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST] FIELDS count field ...
//! HGETDEL key FIELDS count field ...
//! HSETEX key [FNX | FXX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] FIELDS count field value ...
//! ```
//! Source of the behaviour: the command pages of redis.io.

use crate::command::arg;
use crate::command::hash::expire::{EXPIRY_MAX_MS, expire_fields, persist_fields, report_deleted};
use crate::command::hash::write::{remove_fields, write_fields};
use crate::command::hash::{FieldList, changed, drop_due, field_time, note_expiry, put_element};
use crate::command::key::expire::is_past;
use crate::command::string::options::{ExpiryUnit, expiry_ms};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::HashValue;
use crate::value::hash::FieldExpiry;

const ROW: CommandSpec = CommandSpec {
    arity: -5,
    flags: flag::WRITE | flag::FAST,
    categories: category::HASH,
    group: Group::Hash,
    since: "8.0.0",
    complexity: "O(N) for N fields.",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hgetex",
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
        summary: "Gives fields of a hash and sets or drops their expiry.",
        handler: hgetex,
        ..ROW
    },
    CommandSpec {
        name: "hgetdel",
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
        summary: "Gives fields of a hash and removes them.",
        handler: hgetdel,
        ..ROW
    },
    CommandSpec {
        name: "hsetex",
        arity: -6,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
        summary: "Sets fields of a hash and their expiry, if wanted on a condition.",
        handler: hsetex,
        ..ROW
    },
];

const TWO_LIFETIMES_GET: ReplyError =
    ReplyError::fixed("ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified");
const TWO_LIFETIMES_SET: ReplyError =
    ReplyError::fixed("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
const TWO_CONDITIONS: ReplyError = ReplyError::fixed("ERR Only one of FXX or FNX arguments can be specified");

/// What becomes of the fields' expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    Default,
    /// PERSIST of HGETEX, KEEPTTL of HSETEX.
    Word,
    At(i64),
}

/// When HSETEX writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    /// `FNX`
    IfNoneExists,
    /// `FXX`
    IfAllExist,
}

/// The options in front of FIELDS.
struct Options {
    lifetime: Lifetime,
    condition: Condition,
    /// Where FIELDS should stand.
    end: usize,
}

/// Reads options up to FIELDS. `word` is the lifetime without a time that the command knows.
fn parse(ctx: &Ctx<'_>, args: Args<'_>, word: &str) -> Result<Options, ReplyError> {
    let sets = word == "keepttl";
    let twice = if sets { TWO_LIFETIMES_SET } else { TWO_LIFETIMES_GET };
    let mut options = Options { lifetime: Lifetime::Default, condition: Condition::Always, end: 2 };
    while let Some(option) = args.get(options.end).filter(|option| !arg::is(option, "fields")) {
        let mut taken = 1;
        if sets && (arg::is(option, "fnx") || arg::is(option, "fxx")) {
            if options.condition != Condition::Always {
                return Err(TWO_CONDITIONS);
            }
            let none = arg::is(option, "fnx");
            options.condition = if none { Condition::IfNoneExists } else { Condition::IfAllExist };
        } else {
            let lifetime = if arg::is(option, word) {
                Lifetime::Word
            } else {
                taken = 2;
                lifetime_of(ctx, option, args.get(options.end + 1))?
            };
            if options.lifetime != Lifetime::Default {
                return Err(twice);
            }
            options.lifetime = lifetime;
        }
        options.end += taken;
    }
    Ok(options)
}

fn lifetime_of(ctx: &Ctx<'_>, option: &[u8], value: Option<&[u8]>) -> Result<Lifetime, ReplyError> {
    let unknown = || {
        let mut text = b"unknown argument: ".to_vec();
        text.extend_from_slice(option);
        ReplyError::err(text)
    };
    let unit = ExpiryUnit::of_option(option).ok_or_else(unknown)?;
    let at_ms = expiry_ms(ctx, unit, value.ok_or(error::SYNTAX)?)?;
    if at_ms > EXPIRY_MAX_MS {
        return Err(error::invalid_expire(&ctx.command_name()));
    }
    Ok(Lifetime::At(at_ms))
}

/// Writes the values of the listed fields.
fn reply_values(ctx: &mut Ctx<'_>, key: &[u8], list: &FieldList<'_>) -> CommandResult {
    let now_ms = field_time(ctx.server);
    let out = &mut *ctx.out;
    let hash = ctx.server.read_as::<HashValue>(ctx.db, key)?;
    out.array(list.count());
    for name in list.names() {
        match hash.and_then(|hash| hash.get(name, now_ms)) {
            Some(value) => put_element(out, value),
            None => out.null(),
        }
    }
    Ok(())
}

fn hgetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = parse(ctx, args, "persist")?;
    let list = FieldList::parse(args, options.end, 1)?;
    let key = args.at(1);
    reply_values(ctx, key, &list)?;
    if options.lifetime == Lifetime::Default {
        return Ok(());
    }
    drop_due(ctx, key, list.names())?;
    match options.lifetime {
        Lifetime::At(at_ms) => {
            expire_fields(ctx, key, &list, |_| Some(at_ms))?;
        }
        _ => {
            let (_, persisted) = persist_fields(ctx, key, &list)?;
            if persisted > 0 {
                log_persist(ctx, key, &list);
            }
        }
    }
    Ok(())
}

/// The values that were asked for mean nothing to a log.
fn log_persist(ctx: &mut Ctx<'_>, key: &[u8], list: &FieldList<'_>) {
    let mut digits = itoa::Buffer::new();
    let count = digits.format(list.count()).as_bytes();
    let mut words: Vec<&[u8]> = vec![b"HPERSIST", key, b"FIELDS", count];
    words.extend(list.names());
    ctx.propagate_instead(&words);
}

fn hgetdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let list = FieldList::parse(args, 2, 1)?;
    let key = args.at(1);
    reply_values(ctx, key, &list)?;
    if remove_fields(ctx, key, list.args())? > 0 {
        let mut words: Vec<&[u8]> = vec![b"HDEL", key];
        words.extend(list.names());
        ctx.propagate_instead(&words);
    }
    Ok(())
}

fn hsetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = parse(ctx, args, "keepttl")?;
    let list = FieldList::parse(args, options.end, 2)?;
    let key = args.at(1);
    if !allows(ctx, key, &list, options.condition)? {
        ctx.out.integer(0);
        return Ok(());
    }
    ctx.out.integer(1);
    let expiry = match options.lifetime {
        Lifetime::Default => FieldExpiry::Clear,
        Lifetime::Word => FieldExpiry::Keep,
        Lifetime::At(at_ms) if is_past(ctx, at_ms) => return delete_fields(ctx, key, &list),
        Lifetime::At(at_ms) => FieldExpiry::At(at_ms),
    };
    write_fields(ctx, key, list.args(), expiry)?;
    changed(ctx.server, ctx.db, key, list.count(), "hset");
    if let FieldExpiry::At(at_ms) = expiry {
        note_expiry(ctx.server, ctx.db, key, at_ms);
        ctx.server.notify(NotifyFlags::HASH, "hexpire", ctx.db, key);
    }
    log_set(ctx, args, &options, expiry);
    Ok(())
}

/// Whether the condition holds for the fields that are there and alive.
fn allows(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    list: &FieldList<'_>,
    condition: Condition,
) -> Result<bool, ReplyError> {
    let now_ms = field_time(ctx.server);
    let hash = ctx.server.find_as::<HashValue>(ctx.db, key)?;
    let mut exists = list.names().map(|name| hash.is_some_and(|hash| hash.get(name, now_ms).is_some()));
    Ok(match condition {
        Condition::Always => true,
        Condition::IfNoneExists => !exists.any(|found| found),
        Condition::IfAllExist => exists.all(|found| found),
    })
}

/// The new expiry has passed: what the fields replace goes, nothing comes.
fn delete_fields(ctx: &mut Ctx<'_>, key: &[u8], list: &FieldList<'_>) -> CommandResult {
    drop_due(ctx, key, list.names())?;
    let Some(mut hash) = ctx.server.edit::<HashValue>(ctx.db, key)? else { return Ok(()) };
    let deleted: Vec<&[u8]> = list.names().filter(|name| hash.remove(name)).collect();
    let emptied = hash.as_ref().is_empty();
    drop(hash);
    report_deleted(ctx, key, &deleted, emptied);
    Ok(())
}

/// Conditions have been decided, and times become those of the clock.
fn log_set(ctx: &mut Ctx<'_>, args: Args<'_>, options: &Options, expiry: FieldExpiry) {
    let mut digits = itoa::Buffer::new();
    let mut words: Vec<&[u8]> = vec![b"HSETEX", args.at(1)];
    match expiry {
        FieldExpiry::Clear => {}
        FieldExpiry::Keep => words.push(b"KEEPTTL"),
        FieldExpiry::At(at_ms) => words.extend([b"PXAT", digits.format(at_ms).as_bytes()]),
    }
    words.extend(args.tail(options.end).iter());
    ctx.propagate_instead(&words);
}
