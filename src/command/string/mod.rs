//! Strings: GET, SET and their kin.

use crate::keyspace::{ExpiryChange, NewValue};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::CommandResult;
use crate::server::spec::{Group, KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::string::Digits;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
        group: Group::String,
        handler: get,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "set",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key_flag::OW | key_flag::UPDATE)],
        group: Group::String,
        handler: set,
        ..CommandSpec::DEFAULT
    },
];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    match ctx.server.read_string(ctx.db, args.at(1))? {
        Some(string) => ctx.out.bulk(string.bytes(&mut Digits::new())),
        None => ctx.out.null(),
    }
    Ok(())
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    ctx.server.set_key(ctx.db, args.at(1), NewValue::Encoded(args.at(2)), ExpiryChange::Clear);
    ctx.server.key_changed(ctx.db, args.at(1));
    ctx.server.notify(NotifyFlags::STRING, "set", ctx.db, args.at(1));
    ctx.out.ok();
    Ok(())
}
