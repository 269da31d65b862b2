//! Expiry of fields: HEXPIRE and its kin, HTTL and its kin, HPERSIST; removal of what is due.
//!
//! ```text
//! HEXPIRE key seconds [NX | XX | GT | LT] FIELDS count field ...
//! HTTL key FIELDS count field ...
//! ```
//! A log gets absolute times (HPEXPIREAT) of the fields that changed, and HDEL for those whose new
//! time has passed already. Source of the behaviour: the command pages of redis.io.

use crate::command::arg;
use crate::command::hash::{FieldList, changed, drop_due, field_time, note_expiry, report_expired};
use crate::command::key::expire::is_past;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};
use crate::value::HashValue;

const SET: CommandSpec = CommandSpec {
    arity: -6,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Hash,
    since: "7.4.0",
    complexity: "O(N) for N fields.",
    ..CommandSpec::DEFAULT
};

const ASK: CommandSpec = CommandSpec {
    arity: -5,
    flags: flag::READONLY | flag::FAST,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    ..SET
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hexpire",
        summary: "Sets the time to live of fields of a hash in seconds.",
        handler: hexpire,
        ..SET
    },
    CommandSpec {
        name: "hpexpire",
        summary: "Sets the time to live of fields of a hash in milliseconds.",
        handler: hpexpire,
        ..SET
    },
    CommandSpec {
        name: "hexpireat",
        summary: "Sets the time at which fields of a hash expire, in Unix seconds.",
        handler: hexpireat,
        ..SET
    },
    CommandSpec {
        name: "hpexpireat",
        summary: "Sets the time at which fields of a hash expire, in Unix milliseconds.",
        handler: hpexpireat,
        ..SET
    },
    CommandSpec {
        name: "hpersist",
        arity: -5,
        flags: flag::WRITE | flag::FAST,
        summary: "Drops the expiry of fields of a hash.",
        handler: hpersist,
        ..SET
    },
    CommandSpec {
        name: "httl",
        summary: "Gives the time to live of fields of a hash in seconds.",
        handler: httl,
        ..ASK
    },
    CommandSpec {
        name: "hpttl",
        summary: "Gives the time to live of fields of a hash in milliseconds.",
        handler: hpttl,
        ..ASK
    },
    CommandSpec {
        name: "hexpiretime",
        summary: "Gives the time at which fields of a hash expire, in Unix seconds.",
        handler: hexpiretime,
        ..ASK
    },
    CommandSpec {
        name: "hpexpiretime",
        summary: "Gives the time at which fields of a hash expire, in Unix milliseconds.",
        handler: hpexpiretime,
        ..ASK
    },
];

/// Latest expiry of a field, Unix ms: what Redis 7.4 accepts (its index has 46 bits; year 4199).
pub(super) const EXPIRY_MAX_MS: i64 = (1 << 46) - 1;

/// Replies for one field.
mod reply {
    pub const NO_FIELD: i64 = -2;
    pub const NO_EXPIRY: i64 = -1;
    pub const REFUSED: i64 = 0;
    pub const DONE: i64 = 1;
    pub const DELETED: i64 = 2;
}

const NEGATIVE: ReplyError = ReplyError::fixed("ERR invalid expire time, must be >= 0");

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Millis,
}

/// When a new expiry counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    /// `NX`
    IfNone,
    /// `XX`
    IfAny,
    /// `GT`
    IfLater,
    /// `LT`
    IfEarlier,
}

impl Condition {
    fn parse(word: &[u8]) -> Option<Condition> {
        const WORDS: [(&str, Condition); 4] = [
            ("nx", Condition::IfNone),
            ("xx", Condition::IfAny),
            ("gt", Condition::IfLater),
            ("lt", Condition::IfEarlier),
        ];
        WORDS.into_iter().find(|(name, _)| arg::is(word, name)).map(|(_, condition)| condition)
    }

    /// Whether `at_ms` may replace `current`; a field without expiry counts as one that never ends.
    fn allows(self, current: Option<i64>, at_ms: i64) -> bool {
        match self {
            Condition::Always => true,
            Condition::IfNone => current.is_none(),
            Condition::IfAny => current.is_some(),
            Condition::IfLater => current.is_some_and(|current| at_ms > current),
            Condition::IfEarlier => current.is_none_or(|current| at_ms < current),
        }
    }
}

fn hexpire(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    change(ctx, args, now_ms, Unit::Seconds)
}

fn hpexpire(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    change(ctx, args, now_ms, Unit::Millis)
}

fn hexpireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    change(ctx, args, 0, Unit::Seconds)
}

fn hpexpireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    change(ctx, args, 0, Unit::Millis)
}

/// The Unix time in ms that an argument counted from `base_ms` means.
fn time_of(ctx: &Ctx<'_>, text: &[u8], base_ms: i64, unit: Unit) -> Result<i64, ReplyError> {
    let value = arg::integer(text)?;
    if value < 0 {
        return Err(NEGATIVE);
    }
    let scaled = if unit == Unit::Seconds { value.checked_mul(1000) } else { Some(value) };
    let at_ms = scaled.and_then(|value| value.checked_add(base_ms)).filter(|at_ms| *at_ms <= EXPIRY_MAX_MS);
    at_ms.ok_or_else(|| error::invalid_expire(&ctx.command_name()))
}

fn change(ctx: &mut Ctx<'_>, args: Args<'_>, base_ms: i64, unit: Unit) -> CommandResult {
    let at_ms = time_of(ctx, args.at(2), base_ms, unit)?;
    let condition = Condition::parse(args.at(3));
    let list = FieldList::parse(args, if condition.is_some() { 4 } else { 3 }, 1)?;
    let key = args.at(1);
    drop_due(ctx, key, list.names())?;
    let outcomes = expire_fields(ctx, key, &list, |current| {
        condition.unwrap_or(Condition::Always).allows(current, at_ms).then_some(at_ms)
    })?;
    ctx.out.array(outcomes.len());
    outcomes.iter().for_each(|outcome| ctx.out.integer(*outcome));
    Ok(())
}

/// Gives each field of the list the expiry that `decide` answers for its present one (`None`:
/// none, so it stays), removes those whose time has passed, reports and logs all of it. Returns a
/// code for each field.
pub(super) fn expire_fields(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    list: &FieldList<'_>,
    decide: impl Fn(Option<i64>) -> Option<i64>,
) -> Result<Vec<i64>, ReplyError> {
    let mut outcomes = Vec::with_capacity(list.count());
    let (mut set, mut deleted): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    let mut at_ms = 0;
    let judged_ms = if is_past(ctx, 0) { ctx.now_ms() } else { i64::MIN };
    let Some(mut hash) = ctx.server.edit::<HashValue>(ctx.db, key)? else {
        return Ok(vec![reply::NO_FIELD; list.count()]);
    };
    for name in list.names() {
        let found = hash.as_ref().find(name).map(|field| field.expiry_ms);
        outcomes.push(match found.map(&decide) {
            None => reply::NO_FIELD,
            Some(None) => reply::REFUSED,
            Some(Some(wanted_ms)) if wanted_ms <= judged_ms => {
                hash.remove(name);
                deleted.push(name);
                reply::DELETED
            }
            Some(Some(wanted_ms)) => {
                hash.set_expiry(name, Some(wanted_ms));
                at_ms = wanted_ms;
                set.push(name);
                reply::DONE
            }
        });
    }
    let emptied = hash.as_ref().is_empty();
    drop(hash);
    if !set.is_empty() {
        note_expiry(ctx.server, ctx.db, key, at_ms);
        changed(ctx.server, ctx.db, key, set.len(), "hexpire");
        log_expiry(ctx, key, at_ms, &set);
    }
    report_deleted(ctx, key, &deleted, emptied);
    Ok(outcomes)
}

/// Reports and logs fields that a command has removed.
pub(super) fn report_deleted(ctx: &mut Ctx<'_>, key: &[u8], names: &[&[u8]], emptied: bool) {
    if names.is_empty() {
        return;
    }
    changed(ctx.server, ctx.db, key, names.len(), "hdel");
    let mut words: Vec<&[u8]> = vec![b"HDEL", key];
    words.extend_from_slice(names);
    ctx.propagate_instead(&words);
    if emptied {
        ctx.server.remove_emptied(ctx.db, key);
    }
}

fn log_expiry(ctx: &mut Ctx<'_>, key: &[u8], at_ms: i64, names: &[&[u8]]) {
    let (mut at, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let count = count.format(names.len()).as_bytes();
    let mut words: Vec<&[u8]> = vec![b"HPEXPIREAT", key, at.format(at_ms).as_bytes(), b"FIELDS", count];
    words.extend_from_slice(names);
    ctx.propagate_instead(&words);
}

fn hpersist(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let list = FieldList::parse(args, 2, 1)?;
    drop_due(ctx, args.at(1), list.names())?;
    let (outcomes, _) = persist_fields(ctx, args.at(1), &list)?;
    ctx.out.array(outcomes.len());
    outcomes.iter().for_each(|outcome| ctx.out.integer(*outcome));
    Ok(())
}

/// Drops the expiry of fields and reports it. Returns a code for each field, and how many had one.
pub(super) fn persist_fields(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    list: &FieldList<'_>,
) -> Result<(Vec<i64>, usize), ReplyError> {
    let Some(mut hash) = ctx.server.edit::<HashValue>(ctx.db, key)? else {
        return Ok((vec![reply::NO_FIELD; list.count()], 0));
    };
    let outcomes: Vec<i64> = list
        .names()
        .map(|name| match hash.set_expiry(name, None) {
            None => reply::NO_FIELD,
            Some(None) => reply::NO_EXPIRY,
            Some(Some(_)) => reply::DONE,
        })
        .collect();
    drop(hash);
    let persisted = outcomes.iter().filter(|outcome| **outcome == reply::DONE).count();
    if persisted > 0 {
        changed(ctx.server, ctx.db, key, persisted, "hpersist");
    }
    Ok((outcomes, persisted))
}

fn httl(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    tell(ctx, args, now_ms, Unit::Seconds)
}

fn hpttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    tell(ctx, args, now_ms, Unit::Millis)
}

fn hexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    tell(ctx, args, 0, Unit::Seconds)
}

fn hpexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    tell(ctx, args, 0, Unit::Millis)
}

/// The time since `base_ms` at which each field ends; seconds are rounded up.
fn tell(ctx: &mut Ctx<'_>, args: Args<'_>, base_ms: i64, unit: Unit) -> CommandResult {
    let list = FieldList::parse(args, 2, 1)?;
    let now_ms = field_time(ctx.server);
    let out = &mut *ctx.out;
    let hash = ctx.server.read_as::<HashValue>(ctx.db, args.at(1))?;
    out.array(list.count());
    for name in list.names() {
        let field = hash.and_then(|hash| hash.find(name));
        out.integer(match field.map(|field| field.expiry_ms) {
            None => reply::NO_FIELD,
            Some(None) => reply::NO_EXPIRY,
            Some(Some(at_ms)) if now_ms > at_ms => reply::NO_FIELD,
            Some(Some(at_ms)) => {
                let left_ms = at_ms.saturating_sub(base_ms).max(0);
                if unit == Unit::Seconds { left_ms.saturating_add(999) / 1000 } else { left_ms }
            }
        });
    }
    Ok(())
}

/// Removes up to `max` fields of a hash whose time has passed; for cron. Returns how many.
pub fn expire_due(server: &mut Server, db: usize, key: &[u8], max: usize) -> usize {
    let now_ms = server.now_ms();
    let mut names: Vec<Vec<u8>> = Vec::new();
    // Another type, or no such key: the note in the index was old.
    let Ok(Some(mut hash)) = server.edit::<HashValue>(db, key) else { return 0 };
    let taken = hash.take_due(now_ms, max, |name| names.push(name.to_vec()));
    let (emptied, next_ms) = (hash.as_ref().is_empty(), hash.as_ref().earliest_expiry_ms());
    drop(hash);
    if let Some(next_ms) = next_ms {
        note_expiry(server, db, key, next_ms);
    }
    if taken > 0 {
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        report_expired(server, db, key, &names, emptied);
    }
    taken
}
