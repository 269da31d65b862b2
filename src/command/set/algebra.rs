//! SINTER, SINTERCARD, SUNION, SDIFF and the forms that store: see `value::set::algebra` for how.

use super::{READ, WRITE, limits, put_element};
use crate::command::{arg, batch};
use crate::keyspace::{Db, EntryWord, ExpiryChange, NewValue};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{BeginSearch, FindKeys, KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};
use crate::value::set::{Algebra, SetRef, combine, combine_into};
use crate::value::{Collection, SetValue};
use std::ops::ControlFlow;

const SOURCES: &[KeySpec] = &[KeySpec::rest(1, key_flag::RO | key_flag::ACCESS)];
const UNORDERED: &[&str] = &["nondeterministic_output_order"];
const WORST_CASE: &str = "O(N*M) at worst, where N is the size of the smallest set and M the number of sets.";
const ALL_MEMBERS: &str = "O(N) where N is the number of members of all sets.";
const STORE: CommandSpec = CommandSpec { arity: -3, flags: flag::WRITE | flag::DENYOOM, ..WRITE };
/// The destination of a union or difference is overwritten whatever it held.
const OVERWRITING: &[KeySpec] =
    &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE), KeySpec::rest(2, key_flag::RO | key_flag::ACCESS)];

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "sinter",
        arity: -2,
        keys: SOURCES,
        complexity: WORST_CASE,
        summary: "Gives the members that all sets have.",
        tips: UNORDERED,
        handler: sinter,
        ..READ
    },
    CommandSpec {
        name: "sintercard",
        arity: -3,
        flags: flag::READONLY | flag::MOVABLEKEYS,
        keys: &[KeySpec {
            begin: BeginSearch::Index(1),
            find: FindKeys::Count { count_index: 0, first: 1, step: 1 },
            flags: key_flag::RO | key_flag::ACCESS,
        }],
        since: "7.0.0",
        complexity: WORST_CASE,
        summary: "Counts the members that all sets have.",
        handler: sintercard,
        ..READ
    },
    CommandSpec {
        name: "sinterstore",
        keys: &[
            KeySpec::one(1, key_flag::RW | key_flag::UPDATE),
            KeySpec::rest(2, key_flag::RO | key_flag::ACCESS),
        ],
        complexity: WORST_CASE,
        summary: "Stores the members that all sets have.",
        handler: sinterstore,
        ..STORE
    },
    CommandSpec {
        name: "sunion",
        arity: -2,
        keys: SOURCES,
        complexity: ALL_MEMBERS,
        summary: "Gives the members that any of the sets has.",
        tips: UNORDERED,
        handler: sunion,
        ..READ
    },
    CommandSpec {
        name: "sunionstore",
        keys: OVERWRITING,
        complexity: ALL_MEMBERS,
        summary: "Stores the members that any of the sets has.",
        handler: sunionstore,
        ..STORE
    },
    CommandSpec {
        name: "sdiff",
        arity: -2,
        keys: SOURCES,
        complexity: ALL_MEMBERS,
        summary: "Gives the members of the first set that no other has.",
        tips: UNORDERED,
        handler: sdiff,
        ..READ
    },
    CommandSpec {
        name: "sdiffstore",
        keys: OVERWRITING,
        complexity: ALL_MEMBERS,
        summary: "Stores the members of the first set that no other has.",
        handler: sdiffstore,
        ..STORE
    },
];

/// Words of the sets with these keys, `None` for missing ones; a value of another type is
/// an error. Words stay good while nothing is written.
fn look_up(server: &mut Server, db: usize, keys: Args<'_>) -> Result<Vec<Option<EntryWord>>, ReplyError> {
    let mut words = Vec::with_capacity(keys.len());
    let mut outcome = Ok(());
    batch::each_key(server, db, keys, 1, |server, _, key| {
        if outcome.is_err() {
            return;
        }
        let word = server.read_word(db, key);
        if word.is_some_and(|word| set_at(server.keyspace.db(db), word).is_none()) {
            outcome = Err(error::WRONG_TYPE);
        }
        words.push(word);
    });
    outcome?;
    server.renew_words(db, keys, &mut words);
    Ok(words)
}

fn set_at(db: &Db, word: EntryWord) -> Option<SetRef<'_>> {
    SetValue::of_ref(db.view_of(word).value())
}

/// The sets behind the words. One that is named again adds nothing to a union or intersection; the
/// first one named again leaves nothing of a difference, as if it were missing.
fn views<'a>(algebra: Algebra, db: &'a Db, words: &[Option<EntryWord>]) -> Vec<Option<SetRef<'a>>> {
    let mut words = words.to_vec();
    match algebra {
        Algebra::Difference => {
            if let [first, others @ ..] = words.as_mut_slice()
                && others.contains(first)
            {
                *first = None;
            }
        }
        Algebra::Intersection | Algebra::Union => {
            let mut seen = std::collections::HashSet::with_capacity(words.len());
            words.retain(|word| seen.insert(*word));
        }
    }
    words.iter().map(|word| word.and_then(|word| set_at(db, word))).collect()
}

fn sinter(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Algebra::Intersection)
}

fn sunion(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Algebra::Union)
}

fn sdiff(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Algebra::Difference)
}

fn answer(ctx: &mut Ctx<'_>, args: Args<'_>, algebra: Algebra) -> CommandResult {
    let words = look_up(ctx.server, ctx.db, args.tail(1))?;
    let limits = limits(ctx.server);
    let sets = views(algebra, ctx.server.keyspace.db(ctx.db), &words);
    let mark = ctx.out.begin_deferred();
    let mut count = 0;
    combine(algebra, &sets, &limits, &mut |member| {
        put_element(ctx.out, member);
        count += 1;
        ControlFlow::Continue(())
    });
    ctx.out.end_deferred_set(mark, count);
    Ok(())
}

fn sintercard(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    const NO_KEYS: ReplyError = ReplyError::fixed("ERR numkeys should be greater than 0");
    const TOO_MANY_KEYS: ReplyError =
        ReplyError::fixed("ERR Number of keys can't be greater than number of args");
    let keys = arg::integer_or(args.at(1), NO_KEYS)?;
    let keys = usize::try_from(keys).ok().filter(|keys| *keys > 0).ok_or(NO_KEYS)?;
    if keys > args.len() - 2 {
        return Err(TOO_MANY_KEYS);
    }
    let limit = card_limit(args.tail(2 + keys))?;
    let keys = args.between(2, 2 + keys);
    let words = look_up(ctx.server, ctx.db, keys)?;
    let limits = limits(ctx.server);
    let sets = views(Algebra::Intersection, ctx.server.keyspace.db(ctx.db), &words);
    let mut count = 0;
    combine(Algebra::Intersection, &sets, &limits, &mut |_| {
        count += 1;
        if count == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    ctx.out.integer(count);
    Ok(())
}

/// LIMIT of SINTERCARD; 0 is no limit.
fn card_limit(options: Args<'_>) -> Result<i64, ReplyError> {
    const NEGATIVE: ReplyError = ReplyError::fixed("ERR LIMIT can't be negative");
    let mut limit = 0;
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let value = words.next().filter(|_| arg::is(word, "limit")).ok_or(error::SYNTAX)?;
        limit = arg::integer_or(value, NEGATIVE)?;
        if limit < 0 {
            return Err(NEGATIVE);
        }
    }
    Ok(limit)
}

fn sinterstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    store(ctx, args, Algebra::Intersection, "sinterstore")
}

fn sunionstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    store(ctx, args, Algebra::Union, "sunionstore")
}

fn sdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    store(ctx, args, Algebra::Difference, "sdiffstore")
}

fn store(ctx: &mut Ctx<'_>, args: Args<'_>, algebra: Algebra, event: &str) -> CommandResult {
    let words = look_up(ctx.server, ctx.db, args.tail(2))?;
    let limits = limits(ctx.server);
    let sets = views(algebra, ctx.server.keyspace.db(ctx.db), &words);
    let result = combine_into(algebra, &sets, &limits);
    let (db, target, server) = (ctx.db, args.at(1), &mut *ctx.server);
    let len = result.len();
    if len > 0 {
        server.set_key(db, target, NewValue::Owned(result.into()), ExpiryChange::Clear);
        server.key_changed(db, target);
        server.notify(NotifyFlags::SET, event, db, target);
    } else if server.remove_key(db, target, server.config.lazyfree_lazy_server_del) {
        server.key_changed(db, target);
        server.notify(NotifyFlags::GENERIC, "del", db, target);
    }
    ctx.out.integer(len as i64);
    Ok(())
}
