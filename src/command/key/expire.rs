//! Expiry: EXPIRE and its kin, TTL and its kin, PERSIST.
//!
//! A log gets absolute times (PEXPIREAT) only, and a deletion where the time has passed already.

use crate::command::arg;
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::string::Digits;

const SET: CommandSpec = CommandSpec {
    arity: -3,
    flags: flag::WRITE | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
    group: Group::Generic,
    ..CommandSpec::DEFAULT
};

const ASK: CommandSpec = CommandSpec {
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Generic,
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec { name: "expire", summary: "Sets a key's time to live in seconds.", handler: expire, ..SET },
    CommandSpec {
        name: "pexpire",
        since: "2.6.0",
        summary: "Sets a key's time to live in milliseconds.",
        handler: pexpire,
        ..SET
    },
    CommandSpec {
        name: "expireat",
        since: "1.2.0",
        summary: "Sets the time at which a key expires, in Unix seconds.",
        handler: expireat,
        ..SET
    },
    CommandSpec {
        name: "pexpireat",
        since: "2.6.0",
        summary: "Sets the time at which a key expires, in Unix milliseconds.",
        handler: pexpireat,
        ..SET
    },
    CommandSpec {
        name: "persist",
        arity: 2,
        since: "2.2.0",
        summary: "Drops a key's expiry.",
        handler: persist_command,
        ..SET
    },
    CommandSpec {
        name: "ttl",
        tips: &["nondeterministic_output"],
        summary: "Gives a key's time to live in seconds.",
        handler: ttl,
        ..ASK
    },
    CommandSpec {
        name: "pttl",
        tips: &["nondeterministic_output"],
        since: "2.6.0",
        summary: "Gives a key's time to live in milliseconds.",
        handler: pttl,
        ..ASK
    },
    CommandSpec {
        name: "expiretime",
        since: "7.0.0",
        summary: "Gives the time at which a key expires, in Unix seconds.",
        handler: expiretime,
        ..ASK
    },
    CommandSpec {
        name: "pexpiretime",
        since: "7.0.0",
        summary: "Gives the time at which a key expires, in Unix milliseconds.",
        handler: pexpiretime,
        ..ASK
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Millis,
}

fn expire(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    change_expiry(ctx, args, now_ms, Unit::Seconds)
}

fn pexpire(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    change_expiry(ctx, args, now_ms, Unit::Millis)
}

fn expireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    change_expiry(ctx, args, 0, Unit::Seconds)
}

fn pexpireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    change_expiry(ctx, args, 0, Unit::Millis)
}

/// When a new expiry counts: options of EXPIRE.
#[derive(Clone, Copy, Default)]
struct Conditions {
    /// `NX`
    if_none: bool,
    /// `XX`
    if_any: bool,
    /// `GT`
    if_later: bool,
    /// `LT`
    if_earlier: bool,
}

impl Conditions {
    fn parse(words: Args<'_>) -> Result<Conditions, ReplyError> {
        let mut conditions = Conditions::default();
        for word in words.iter() {
            let condition = match word {
                word if arg::is(word, "nx") => &mut conditions.if_none,
                word if arg::is(word, "xx") => &mut conditions.if_any,
                word if arg::is(word, "gt") => &mut conditions.if_later,
                word if arg::is(word, "lt") => &mut conditions.if_earlier,
                _ => return Err(ReplyError::err([b"Unsupported option ", word].concat())),
            };
            *condition = true;
        }
        if conditions.if_none && (conditions.if_any || conditions.if_later || conditions.if_earlier) {
            return Err(ReplyError::fixed(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.if_later && conditions.if_earlier {
            return Err(ReplyError::fixed("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// A key without expiry counts as one that expires at the end of time.
    fn allow(self, current: Option<i64>, wanted: i64) -> bool {
        let refused = self.if_none && current.is_some()
            || self.if_any && current.is_none()
            || self.if_later && current.is_none_or(|current| wanted <= current)
            || self.if_earlier && current.is_some_and(|current| wanted >= current);
        !refused
    }
}

fn change_expiry(ctx: &mut Ctx<'_>, args: Args<'_>, base_ms: i64, unit: Unit) -> CommandResult {
    let conditions = Conditions::parse(args.tail(3))?;
    let given = arg::integer(args.at(2))?;
    let scaled = if unit == Unit::Seconds { given.checked_mul(1000) } else { Some(given) };
    let at = scaled
        .and_then(|scaled| scaled.checked_add(base_ms))
        .ok_or_else(|| error::invalid_expire(&ctx.command_name()))?;
    let key = args.at(1);
    let current = ctx.server.find(ctx.db, key).map(|view| view.expiry_ms());
    if !current.is_some_and(|current| conditions.allow(current, at)) {
        ctx.out.integer(0);
        return Ok(());
    }
    if is_past(ctx, at) {
        delete_past(ctx, key);
    } else {
        set_expiry(ctx, key, at);
        if unit == Unit::Seconds || base_ms != 0 {
            propagate_absolute(ctx, args, at);
        }
    }
    ctx.out.integer(1);
    Ok(())
}

fn propagate_absolute(ctx: &mut Ctx<'_>, args: Args<'_>, at: i64) {
    let mut digits = Digits::new();
    let mut words: Vec<&[u8]> = vec![b"PEXPIREAT", args.at(1), digits.format(at).as_bytes()];
    words.extend(args.tail(3).iter());
    ctx.propagate_instead(&words);
}

/// Whether a key with this expiry is to be deleted at once. A log or a primary says so itself.
pub fn is_past(ctx: &Ctx<'_>, at: i64) -> bool {
    at <= ctx.now_ms() && !ctx.caller.is_replicated() && ctx.server.run.loading.is_none()
}

/// Deletes a key whose new expiry lies in the past.
pub fn delete_past(ctx: &mut Ctx<'_>, key: &[u8]) {
    let lazily = ctx.server.config.lazyfree_lazy_expire;
    ctx.server.remove_key(ctx.db, key, lazily);
    ctx.propagate_instead(&[if lazily { b"UNLINK" } else { b"DEL" }, key]);
    ctx.server.key_changed(ctx.db, key);
    ctx.server.notify(NotifyFlags::GENERIC, "del", ctx.db, key);
}

/// Gives a key that is there an expiry, Unix ms.
pub fn set_expiry(ctx: &mut Ctx<'_>, key: &[u8], at: i64) {
    let (server, db) = (&mut *ctx.server, ctx.db);
    let hash = server.hash(key);
    server.keyspace.db_mut(db).set_expiry(hash, key, Some(at));
    server.key_changed(db, key);
    server.notify(NotifyFlags::GENERIC, "expire", db, key);
}

/// Drops a key's expiry. Returns whether it had one.
pub fn persist(ctx: &mut Ctx<'_>, key: &[u8]) -> bool {
    let (server, db) = (&mut *ctx.server, ctx.db);
    if server.find(db, key).is_none_or(|view| view.expiry_ms().is_none()) {
        return false;
    }
    let hash = server.hash(key);
    server.keyspace.db_mut(db).set_expiry(hash, key, None);
    server.key_changed(db, key);
    server.notify(NotifyFlags::GENERIC, "persist", db, key);
    true
}

fn persist_command(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let persisted = persist(ctx, args.at(1));
    ctx.out.integer(persisted as i64);
    Ok(())
}

fn ttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    reply_expiry(ctx, args, now_ms, Unit::Seconds)
}

fn pttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    reply_expiry(ctx, args, now_ms, Unit::Millis)
}

fn expiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_expiry(ctx, args, 0, Unit::Seconds)
}

fn pexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply_expiry(ctx, args, 0, Unit::Millis)
}

/// -2: no such key; -1: no expiry; else the time since `base_ms`, seconds rounded to the nearest.
fn reply_expiry(ctx: &mut Ctx<'_>, args: Args<'_>, base_ms: i64, unit: Unit) -> CommandResult {
    let value = match ctx.server.read_untouched(ctx.db, args.at(1)).map(|view| view.expiry_ms()) {
        None => -2,
        Some(None) => -1,
        Some(Some(expiry_ms)) => {
            let left_ms = expiry_ms.saturating_sub(base_ms).max(0);
            if unit == Unit::Millis { left_ms } else { ((left_ms as u64 + 500) / 1000) as i64 }
        }
    };
    ctx.out.integer(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Conditions;
    use crate::resp::OwnedArgs;

    fn conditions(words: &[&str]) -> Option<Conditions> {
        let args: OwnedArgs = words.iter().map(|word| word.as_bytes()).collect();
        Conditions::parse(args.as_args()).ok()
    }

    #[test]
    fn conditions_on_the_old_expiry() {
        let allow = |words: &[&str], current, wanted| {
            conditions(words).expect("these go together").allow(current, wanted)
        };
        assert!(allow(&[], None, 5) && allow(&[], Some(9), 5));
        assert!(allow(&["nx"], None, 5) && !allow(&["NX"], Some(1), 5));
        assert!(allow(&["xx"], Some(1), 5) && !allow(&["xx"], None, 5));
        assert!(allow(&["gt"], Some(4), 5) && !allow(&["gt"], Some(5), 5) && !allow(&["gt"], None, 5));
        assert!(allow(&["lt"], Some(6), 5) && !allow(&["lt"], Some(5), 5) && allow(&["lt"], None, 5));
        assert!(!allow(&["xx", "lt"], None, 5));
        assert!(conditions(&["nx", "gt"]).is_none() && conditions(&["gt", "lt"]).is_none());
        assert!(conditions(&["what"]).is_none());
    }
}
