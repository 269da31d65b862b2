//! RENAME, RENAMENX, COPY, MOVE: keys that get another name or database.

use crate::command::arg;
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};
use crate::value::string::StrRef;
use crate::value::{Value, ValueRef};

const ROW: CommandSpec = CommandSpec {
    arity: 3,
    flags: flag::WRITE,
    categories: category::KEYSPACE,
    group: Group::Generic,
    ..CommandSpec::DEFAULT
};

const RENAMED: KeySpec = KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE);

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "rename",
        keys: &[RENAMED, KeySpec::one(2, key_flag::OW | key_flag::UPDATE)],
        summary: "Gives a key another name, over whatever had it.",
        handler: rename,
        ..ROW
    },
    CommandSpec {
        name: "renamenx",
        flags: flag::WRITE | flag::FAST,
        keys: &[RENAMED, KeySpec::one(2, key_flag::OW | key_flag::INSERT)],
        summary: "Gives a key another name if that is free.",
        handler: renamenx,
        ..ROW
    },
    CommandSpec {
        name: "copy",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[
            KeySpec::one(1, key_flag::RO | key_flag::ACCESS),
            KeySpec::one(2, key_flag::OW | key_flag::UPDATE),
        ],
        since: "6.2.0",
        complexity: "O(N) for a collection of N elements, O(1) for a string.",
        summary: "Copies a key's value to another key.",
        handler: copy,
        ..ROW
    },
    CommandSpec {
        name: "move",
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::UPDATE)],
        summary: "Moves a key to another database.",
        handler: move_key,
        ..ROW
    },
];

/// A key of a database.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place<'a> {
    db: usize,
    key: &'a [u8],
}

fn rename(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    rename_over(ctx, args, true)?;
    ctx.out.ok();
    Ok(())
}

fn renamenx(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let renamed = rename_over(ctx, args, false)?;
    ctx.out.integer(renamed as i64);
    Ok(())
}

/// Returns whether the key has got its new name.
fn rename_over(ctx: &mut Ctx<'_>, args: Args<'_>, replace: bool) -> Result<bool, ReplyError> {
    let (from, to) = (Place { db: ctx.db, key: args.at(1) }, Place { db: ctx.db, key: args.at(2) });
    let server = &mut *ctx.server;
    if !server.exists(from.db, from.key) {
        return Err(error::NO_SUCH_KEY);
    }
    if from.key == to.key {
        return Ok(false);
    }
    if server.exists(to.db, to.key) {
        if !replace {
            return Ok(false);
        }
        let lazily = server.config.lazyfree_lazy_server_del;
        server.remove_key(to.db, to.key, lazily);
    }
    transfer(server, from, to);
    server.notify(NotifyFlags::GENERIC, "rename_from", from.db, from.key);
    server.notify(NotifyFlags::GENERIC, "rename_to", to.db, to.key);
    Ok(true)
}

/// Takes the entry of a key that is there to a place that is free: nothing is copied but a short
/// string and the key. Watchers and waiting clients of both places are told, one change is counted.
fn transfer(server: &mut Server, from: Place<'_>, to: Place<'_>) {
    let (from_hash, to_hash) = (server.hash(from.key), server.hash(to.key));
    let entry = server.keyspace.db_mut(from.db).take(from_hash, from.key);
    let entry = entry.expect("the caller has just looked the key up");
    server.keyspace.db_mut(to.db).put(to_hash, to.key, entry);
    server.key_added(to.db, to.key);
    if server.blocked.any_on_keys() {
        server.blocked.key_ready(from.db, from.key);
    }
    server.touch_watchers(from.db, from.key);
    server.key_changed(to.db, to.key);
}

fn move_key(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let to_db = arg::database(ctx.server, args.at(2))?;
    let (from, to) = (Place { db: ctx.db, key: args.at(1) }, Place { db: to_db, key: args.at(1) });
    if from.db == to.db {
        return Err(error::SAME_OBJECT);
    }
    let server = &mut *ctx.server;
    let possible = server.exists(from.db, from.key) && !server.exists(to.db, to.key);
    if possible {
        transfer(server, from, to);
        server.notify(NotifyFlags::GENERIC, "move_from", from.db, from.key);
        server.notify(NotifyFlags::GENERIC, "move_to", to.db, to.key);
    }
    ctx.out.integer(possible as i64);
    Ok(())
}

fn copy(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (to_db, replace) = copy_options(ctx, args.tail(3))?;
    let (from, to) = (Place { db: ctx.db, key: args.at(1) }, Place { db: to_db, key: args.at(2) });
    if from == to {
        return Err(error::SAME_OBJECT);
    }
    let copied = copy_over(ctx.server, from, to, replace);
    ctx.out.integer(copied as i64);
    Ok(())
}

/// The target database, and whether an existing key is replaced.
fn copy_options(ctx: &Ctx<'_>, options: Args<'_>) -> Result<(usize, bool), ReplyError> {
    let (mut db, mut replace) = (ctx.db, false);
    let mut words = options.iter();
    while let Some(word) = words.next() {
        if arg::is(word, "replace") {
            replace = true;
        } else if arg::is(word, "db") {
            db = arg::database(ctx.server, words.next().ok_or(error::SYNTAX)?)?;
        } else {
            return Err(error::SYNTAX);
        }
    }
    Ok((db, replace))
}

fn copy_over(server: &mut Server, from: Place<'_>, to: Place<'_>, replace: bool) -> bool {
    if server.read(from.db, from.key).is_none() {
        return false;
    }
    let occupied = server.exists(to.db, to.key);
    if occupied && !replace {
        return false;
    }
    let Some(view) = server.find(from.db, from.key) else { return false };
    let expiry = view.expiry_ms().map_or(ExpiryChange::Clear, ExpiryChange::At);
    let copied = Copied::of(view.value());
    if occupied {
        let lazily = server.config.lazyfree_lazy_server_del;
        server.remove_key(to.db, to.key, lazily);
    }
    copied.store(server, to, expiry);
    server.key_changed(to.db, to.key);
    server.notify(NotifyFlags::GENERIC, "copy_to", to.db, to.key);
    true
}

/// A value's copy on its way: short strings stay inside their entry and keep their encoding.
enum Copied {
    Short { bytes: Vec<u8>, raw: bool },
    Owned(Value),
}

impl Copied {
    fn of(value: ValueRef<'_>) -> Copied {
        match value {
            ValueRef::String(StrRef::Short { bytes, raw }) => Copied::Short { bytes: bytes.to_vec(), raw },
            other => Copied::Owned(other.to_value()),
        }
    }

    fn store(self, server: &mut Server, to: Place<'_>, expiry: ExpiryChange) {
        match self {
            Copied::Short { bytes, raw } => {
                server.set_key(to.db, to.key, NewValue::Bytes { bytes: &bytes, raw }, expiry)
            }
            Copied::Owned(value) => server.set_key(to.db, to.key, NewValue::Owned(value), expiry),
        };
    }
}
