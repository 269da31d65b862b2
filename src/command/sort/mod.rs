//! SORT and SORT_RO.
//!
//! ```text
//!   key -> elements -> weights (BY) -> order, LIMIT -> values (GET) -> reply, or a list (STORE)
//! ```
//! The behaviour is that of Redis 7.2. Texts are compared by their bytes, as in the C locale. With
//! a LIMIT only the part of the order that is asked for is made.

mod options;
mod order;
mod pattern;

use self::options::{Allowed, Options};
use self::order::{Elements, numbers_of};
use self::pattern::resolve;
use crate::ds::element::Element;
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::ctx::Caller;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::key_extraction::KeyAt;
use crate::server::spec::{BeginSearch, FindKeys, Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};
use crate::value::list::ListBuilder;
use crate::value::set::with_text;
use crate::value::{TypeLimits, ValueRef};
use std::ops::Range;

const UNKNOWN: KeySpec =
    KeySpec { begin: BeginSearch::Unknown, find: FindKeys::Unknown, flags: key_flag::RO | key_flag::ACCESS };

const ROW: CommandSpec = CommandSpec {
    arity: -2,
    categories: category::SET | category::SORTEDSET | category::LIST | category::DANGEROUS,
    group: Group::Generic,
    complexity: "O(N+M*log(M)) where N is the number of elements and M of those returned.",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "sort",
        flags: flag::WRITE | flag::DENYOOM | flag::MOVABLEKEYS,
        keys: &[
            KeySpec::one(1, key_flag::RO | key_flag::ACCESS),
            UNKNOWN,
            KeySpec { flags: key_flag::OW | key_flag::UPDATE, ..UNKNOWN },
        ],
        own_keys: Some(own_keys),
        summary: "Sorts a list, a set or a sorted set, and may store the result.",
        handler: sort,
        ..ROW
    },
    CommandSpec {
        name: "sort_ro",
        flags: flag::READONLY | flag::MOVABLEKEYS,
        keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS), UNKNOWN],
        since: "7.0.0",
        summary: "Sorts a list, a set or a sorted set.",
        handler: sort_ro,
        ..ROW
    },
];

/// A weight, or an element, that should be a number is none.
const NO_NUMBER: ReplyError = ReplyError::fixed("ERR One or more scores can't be converted into double");

fn sort(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, true)
}

fn sort_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    run(ctx, args, false)
}

/// The key to sort and the one behind the last STORE.
fn own_keys(args: Args<'_>) -> Vec<KeyAt> {
    let mut found = None;
    let mut index = 2;
    while let Some(word) = args.get(index) {
        index += match word.to_ascii_lowercase().as_slice() {
            b"limit" => 3,
            b"get" | b"by" => 2,
            b"store" if index + 1 < args.len() => {
                found = Some(KeyAt { index: index + 1, flags: key_flag::OW | key_flag::UPDATE });
                1
            }
            _ => 1,
        };
    }
    let sorted = KeyAt { index: 1, flags: key_flag::RO | key_flag::ACCESS };
    std::iter::once(sorted).chain(found).collect()
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, may_store: bool) -> CommandResult {
    let (server, client, found) = (&*ctx.server, ctx.client, ctx.command);
    let read_every_key = || server.may_read_every_key(client, found, args);
    let may = Allowed { store: may_store, read_every_key: &read_every_key };
    let mut options = Options::parse(args.tail(2), may)?;
    let mut elements = load(ctx, args.at(1), &mut options)?;
    if !options.unsorted {
        weigh(ctx.server, ctx.db, &mut elements, &options)?;
    }
    let range = elements.range.clone();
    match options.store {
        Some(target) => store(ctx, target, &elements, range, &options),
        None => reply(ctx, &elements, range, &options),
    }
    Ok(())
}

/// Reads the elements to sort; of a list or sorted set that is not to be sorted only the range.
fn load(ctx: &mut Ctx<'_>, key: &[u8], options: &mut Options<'_>) -> Result<Elements, ReplyError> {
    let from_script = ctx.caller == Caller::Script;
    let value = ctx.server.read(ctx.db, key).map(|view| view.value());
    let mut elements = Elements::default();
    match value {
        None => {}
        Some(ValueRef::Set(set)) => {
            // The order of a set must not reach the stream: it is another one after a restart.
            let stored = options.store.is_some() || from_script;
            if stored && options.unsorted {
                options.sort_by_text();
            }
            set.iter().for_each(|member| with_text(member, |text| elements.push(text)));
            if stored {
                elements.sort_by_bytes();
            }
            elements.range = options.range(set.len());
        }
        Some(ValueRef::List(list)) => {
            let range = options.range(list.len());
            let (from, count) = wanted(options, &range, list.len());
            list.visit(from, count, options.direction(), |element| {
                with_text(element, |text| elements.push(text));
                true
            });
            elements.range = placed(options, range);
        }
        Some(ValueRef::Zset(zset)) => {
            let range = options.range(zset.len());
            let wanted = if options.unsorted { range.clone() } else { 0..zset.len() };
            let reverse = options.unsorted && options.descending;
            let wanted = if reverse { zset.len() - wanted.end..zset.len() - wanted.start } else { wanted };
            for (_, member) in zset.range(wanted.start, wanted.end, reverse) {
                with_text(member, |text| elements.push(text));
            }
            elements.range = placed(options, range);
        }
        Some(_) => return Err(error::WRONG_TYPE),
    }
    Ok(elements)
}

/// Where a walk over a list begins, and over how many elements it goes.
fn wanted(options: &Options<'_>, range: &Range<usize>, len: usize) -> (usize, usize) {
    match (options.unsorted, options.descending) {
        (true, _) if range.is_empty() => (0, 0),
        (true, true) => (len - range.start - 1, range.len()),
        (true, false) => (range.start, range.len()),
        (false, _) => (0, len),
    }
}

/// Where the range lies among the elements that were read.
fn placed(options: &Options<'_>, range: Range<usize>) -> Range<usize> {
    if options.unsorted { 0..range.len() } else { range }
}

/// Finds what each element is sorted by, and puts them in order.
fn weigh(
    server: &mut Server,
    db: usize,
    elements: &mut Elements,
    options: &Options<'_>,
) -> Result<(), ReplyError> {
    let Some(by) = options.by else {
        if !options.alpha {
            let numbers = numbers_of(elements.texts().map(Some)).ok_or(NO_NUMBER)?;
            elements.sort_by_numbers(&numbers, options.descending);
        } else {
            elements.sort_by_texts(None, options);
        }
        return Ok(());
    };
    let mut weights = Vec::with_capacity(elements.len());
    let texts: Vec<&[u8]> = elements.texts().collect();
    resolve(server, db, &[by], texts.into_iter(), |weight| weights.push(weight.map(<[u8]>::to_vec)));
    if options.alpha {
        elements.sort_by_texts(Some(&weights), options);
        return Ok(());
    }
    let numbers = numbers_of(weights.iter().map(Option::as_deref)).ok_or(NO_NUMBER)?;
    elements.sort_by_numbers(&numbers, options.descending);
    Ok(())
}

fn reply(ctx: &mut Ctx<'_>, elements: &Elements, range: Range<usize>, options: &Options<'_>) {
    let chosen = elements.in_order(range);
    if options.get.is_empty() {
        ctx.out.array(chosen.len());
        return chosen.for_each(|element| ctx.out.bulk(element));
    }
    ctx.out.array(chosen.len() * options.get.len());
    resolve(ctx.server, ctx.db, &options.get, chosen, |value| match value {
        Some(value) => ctx.out.bulk(value),
        None => ctx.out.null(),
    });
}

fn store(ctx: &mut Ctx<'_>, target: &[u8], elements: &Elements, range: Range<usize>, options: &Options<'_>) {
    let (db, server) = (ctx.db, &mut *ctx.server);
    let limits: TypeLimits = server.type_limits(false);
    let mut list = ListBuilder::new(limits.list());
    let chosen = elements.in_order(range);
    let count = chosen.len() * options.get.len().max(1);
    if options.get.is_empty() {
        chosen.for_each(|element| list.push(Element::Bytes(element)));
    } else {
        let mut push = |value: Option<&[u8]>| list.push(Element::Bytes(value.unwrap_or_default()));
        resolve(server, db, &options.get, chosen, &mut push);
    }
    match list.finish() {
        Some(list) => {
            server.set_key(db, target, NewValue::Owned(list.into()), ExpiryChange::Clear);
            server.key_changed_by(db, target, count);
            server.notify(NotifyFlags::LIST, "sortstore", db, target);
        }
        None if server.remove_key(db, target, server.config.lazyfree_lazy_server_del) => {
            server.key_changed(db, target);
            server.notify(NotifyFlags::GENERIC, "del", db, target);
        }
        None => {}
    }
    ctx.out.integer(count as i64);
}
