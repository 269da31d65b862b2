//! APPEND and SETRANGE, and what every command needs that changes a string in place: the limit on
//! its length, and growing it without a second copy.

use crate::command::arg;
use crate::keyspace::db::StringEdit;
use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};
use crate::sys::data_alloc::DataBytes;
use crate::value::string::{Digits, EMBEDDED_MAX_BYTES, StrRef};
use crate::value::{StringValue, Value, ValueRef};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "append",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        categories: category::STRING,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
        group: Group::String,
        since: "2.0.0",
        complexity: "O(N) amortised, where N is the number of bytes added.",
        summary: "Adds bytes at the end of a string, which is made if it does not exist.",
        handler: append,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "setrange",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        categories: category::STRING,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
        group: Group::String,
        since: "2.2.0",
        complexity: "O(N) where N is the number of bytes written, zeros in between included.",
        summary: "Writes bytes into a string at an offset, filling up with zeros.",
        handler: setrange,
        ..CommandSpec::DEFAULT
    },
];

fn append(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, key, more) = (ctx.db, args.at(1), args.at(2));
    let total = match ctx.server.find_string(db, key)?.map(|string| string.len()) {
        Some(len) => {
            let total = checked_len(ctx, len, more.len())?;
            edit_string(ctx.server, db, key, total, |mut string| string.append(more));
            total
        }
        None => {
            ctx.server.set_key(db, key, NewValue::Encoded(more), ExpiryChange::Clear);
            more.len()
        }
    };
    ctx.server.key_changed(db, key);
    ctx.server.notify(NotifyFlags::STRING, "append", db, key);
    ctx.out.integer(total as i64);
    Ok(())
}

fn setrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, key, bytes) = (ctx.db, args.at(1), args.at(3));
    let offset = usize::try_from(arg::integer(args.at(2))?).map_err(|_| error::OFFSET_OUT_OF_RANGE)?;
    let old_len = ctx.server.find_string(db, key)?.map(|string| string.len());
    if bytes.is_empty() {
        ctx.out.integer(old_len.unwrap_or(0) as i64);
        return Ok(());
    }
    let end = checked_len(ctx, offset, bytes.len())?;
    edit_string(ctx.server, db, key, end.max(old_len.unwrap_or(0)), |mut string| {
        string.grow(end);
        string.bytes_mut()[offset..end].copy_from_slice(bytes);
    });
    ctx.server.key_changed(db, key);
    ctx.server.notify(NotifyFlags::STRING, "setrange", db, key);
    ctx.out.integer(end.max(old_len.unwrap_or(0)) as i64);
    Ok(())
}

/// The length of a string of `len` bytes with `more` behind it, if a string may be so long:
/// `proto-max-bulk-len`, which a log or a primary has already observed, and what a block can hold.
pub fn checked_len(ctx: &Ctx<'_>, len: usize, more: usize) -> Result<usize, ReplyError> {
    let limit = if ctx.caller.is_replicated() { usize::MAX } else { ctx.server.config.proto_max_bulk_len };
    let limit = limit.min(DataBytes::MAX_BYTES);
    len.checked_add(more).filter(|total| *total <= limit).ok_or(error::STRING_TOO_LONG)
}

/// Changes the string of a key, which holds a string or nothing, through `change`. A missing key
/// becomes an empty string first. `len_after`: how long the string will be at most.
///
/// A string that leaves its entry's block gets one of its own at once, with room for `len_after`.
pub fn edit_string<R>(
    server: &mut Server,
    db: usize,
    key: &[u8],
    len_after: usize,
    change: impl FnOnce(StringEdit<'_>) -> R,
) -> R {
    let hash = server.hash(key);
    let mut digits = Digits::new();
    let short = match server.keyspace.db(db).find(hash, key).map(|view| view.value()) {
        Some(ValueRef::String(StrRef::Large(_))) => None,
        Some(ValueRef::String(string)) => Some(string.bytes(&mut digits)),
        _ => Some(&b""[..]),
    };
    match short {
        Some(bytes) if len_after > EMBEDDED_MAX_BYTES => {
            let mut data = DataBytes::with_capacity(len_after);
            data.extend_from_slice(bytes);
            let result = change(StringEdit::Large(&mut data));
            replace(server, db, key, NewValue::Owned(Value::String(StringValue::Bytes(data))));
            result
        }
        Some(bytes) => {
            let mut data = bytes.to_vec();
            let result = change(StringEdit::Short(&mut data));
            replace(server, db, key, NewValue::Bytes { bytes: &data, raw: true });
            result
        }
        None => {
            let edited = server.keyspace.db_mut(db).modify_string(hash, key, change);
            edited.expect("the key was found above and holds a string")
        }
    }
}

/// Stores another value without touching the expiry; a key that is not there is added.
fn replace(server: &mut Server, db: usize, key: &[u8], value: NewValue<'_>) {
    server.set_key(db, key, value, ExpiryChange::Keep);
}
