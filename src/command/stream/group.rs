//! XGROUP and XACK.

use crate::command::stream::{any_id, count_change, no_group_of_key, signal_waiting, strict_id};
use crate::command::{arg, help};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group as CommandGroup, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::StreamValue;
use crate::value::stream::{ENTRIES_READ_UNKNOWN, Group, StreamId};

const ROW: CommandSpec = CommandSpec {
    flags: flag::WRITE,
    categories: category::STREAM,
    keys: &[KeySpec::one(2, key_flag::RW | key_flag::INSERT)],
    group: CommandGroup::Stream,
    since: "5.0.0",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xgroup",
        arity: -2,
        group: CommandGroup::Stream,
        since: "5.0.0",
        complexity: "That of the subcommand.",
        summary: "Commands that manage consumer groups.",
        subcommands: SUBCOMMANDS,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "xack",
        arity: -4,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
        complexity: "O(1) for each id.",
        summary: "Takes entries off a group's pending list and gives how many were there.",
        handler: xack,
        ..ROW
    },
];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "create",
        arity: -5,
        flags: flag::WRITE | flag::DENYOOM,
        summary: "Makes a consumer group.",
        handler: create,
        ..ROW
    },
    CommandSpec {
        name: "createconsumer",
        arity: 5,
        flags: flag::WRITE | flag::DENYOOM,
        since: "6.2.0",
        summary: "Makes a consumer in a group.",
        handler: create_consumer,
        ..ROW
    },
    CommandSpec {
        name: "delconsumer",
        arity: 5,
        keys: &[KeySpec::one(2, key_flag::RW | key_flag::DELETE)],
        summary: "Removes a consumer from a group, with what is pending for it.",
        handler: delete_consumer,
        ..ROW
    },
    CommandSpec {
        name: "destroy",
        arity: 4,
        keys: &[KeySpec::one(2, key_flag::RW | key_flag::DELETE)],
        complexity: "O(N) where N is the number of pending entries.",
        summary: "Removes a consumer group.",
        handler: destroy,
        ..ROW
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        keys: &[],
        summary: "Explains the subcommands.",
        handler: help,
        ..ROW
    },
    CommandSpec {
        name: "setid",
        arity: -5,
        keys: &[KeySpec::one(2, key_flag::RW | key_flag::UPDATE)],
        summary: "Sets the last id delivered to a group.",
        handler: set_id,
        ..ROW
    },
];

const KEY_REQUIRED: ReplyError = ReplyError::fixed(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
     MKSTREAM option to create an empty stream automatically.",
);
const ENTRIES_READ_NEGATIVE: ReplyError =
    ReplyError::fixed("ERR value for ENTRIESREAD must be positive or -1");
const BUSY_GROUP: ReplyError = ReplyError::fixed("BUSYGROUP Consumer Group name already exists");

/// The options of CREATE and SETID.
struct Options {
    make_stream: bool,
    entries_read: i64,
}

impl Options {
    fn parse(args: Args<'_>, creates: bool) -> Result<Self, ReplyError> {
        let mut options = Options { make_stream: false, entries_read: ENTRIES_READ_UNKNOWN };
        let mut at = 5;
        while at < args.len() {
            if creates && arg::is(args.at(at), "mkstream") {
                options.make_stream = true;
                at += 1;
            } else if arg::is(args.at(at), "entriesread") && at + 1 < args.len() {
                options.entries_read = arg::integer(args.at(at + 1))?;
                if options.entries_read < ENTRIES_READ_UNKNOWN {
                    return Err(ENTRIES_READ_NEGATIVE);
                }
                at += 2;
            } else {
                return Err(wrong_syntax(args));
            }
        }
        Ok(options)
    }
}

fn wrong_syntax(args: Args<'_>) -> ReplyError {
    error::wrong_subcommand_syntax(args.at(1), "xgroup")
}

fn create(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    /// CREATE key group id MKSTREAM ENTRIESREAD n.
    const ARGUMENTS_MAX: usize = 8;
    let options = Options::parse(args, true)?;
    let (db, key, name) = (ctx.db, args.at(2), args.at(3));
    let last_id = ctx.server.find_as::<StreamValue>(db, key)?.map(|stream| stream.stream().log().last_id());
    if last_id.is_none() && !options.make_stream {
        return Err(KEY_REQUIRED);
    }
    if args.len() > ARGUMENTS_MAX {
        return Err(wrong_syntax(args));
    }
    let id = match args.at(4) {
        b"$" => last_id.unwrap_or(StreamId::MIN),
        text => strict_id(text)?,
    };
    let mut stream = ctx.server.edit_or_create(db, key, StreamValue::new)?;
    let added = stream.add_group(name, Group::new(id, options.entries_read));
    drop(stream);
    if last_id.is_none() {
        ctx.server.touch_watchers(db, key);
    }
    if !added {
        return Err(BUSY_GROUP);
    }
    ctx.out.ok();
    count_change(ctx, 1);
    ctx.server.notify(NotifyFlags::STREAM, "xgroup-create", db, key);
    Ok(())
}

/// Changes a group that must be there.
fn with_group<R>(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    change: impl FnOnce(&mut Group, StreamId) -> Result<R, ReplyError>,
) -> Result<R, ReplyError> {
    let (key, name) = (args.at(2), args.at(3));
    let mut stream = ctx.server.edit::<StreamValue>(ctx.db, key)?.ok_or(KEY_REQUIRED)?;
    let last_id = stream.log().last_id();
    let group = stream.group_mut(name).ok_or_else(|| no_group_of_key(key, name))?;
    change(group, last_id)
}

fn set_id(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let options = Options::parse(args, false)?;
    with_group(ctx, args, |group, last_id| {
        if args.len() != 5 && args.len() != 7 {
            return Err(wrong_syntax(args));
        }
        group.last_id = match args.at(4) {
            b"$" => last_id,
            text => any_id(text, 0)?,
        };
        group.entries_read = options.entries_read;
        Ok(())
    })?;
    ctx.out.ok();
    count_change(ctx, 1);
    ctx.server.notify(NotifyFlags::STREAM, "xgroup-setid", ctx.db, args.at(2));
    Ok(())
}

fn destroy(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, key) = (ctx.db, args.at(2));
    let mut stream = ctx.server.edit::<StreamValue>(db, key)?.ok_or(KEY_REQUIRED)?;
    let removed = stream.remove_group(args.at(3));
    drop(stream);
    ctx.out.integer(removed.into());
    if removed {
        count_change(ctx, 1);
        ctx.server.notify(NotifyFlags::STREAM, "xgroup-destroy", db, key);
        // Readers that wait in the group get an error.
        signal_waiting(ctx, key);
    }
    Ok(())
}

fn create_consumer(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let now_ms = ctx.now_ms();
    let created = with_group(ctx, args, |group, _| Ok(group.create_consumer(args.at(4), now_ms).is_some()))?;
    if created {
        count_change(ctx, 1);
        ctx.server.notify(NotifyFlags::STREAM, "xgroup-createconsumer", ctx.db, args.at(2));
    }
    ctx.out.integer(created.into());
    Ok(())
}

fn delete_consumer(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let pending = with_group(ctx, args, |group, _| Ok(group.delete_consumer(args.at(4))))?;
    if pending.is_some() {
        count_change(ctx, 1);
        ctx.server.notify(NotifyFlags::STREAM, "xgroup-delconsumer", ctx.db, args.at(2));
    }
    ctx.out.integer(pending.unwrap_or(0) as i64);
    Ok(())
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    help::write(
        ctx.out,
        "XGROUP",
        &[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Create a new consumer group. Options are:",
            "    * MKSTREAM",
            "      Create the empty stream if it does not exist.",
            "    * ENTRIESREAD entries_read",
            "      Set the group's entries_read counter (internal use).",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Create a new consumer in the specified group.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Remove the specified consumer.",
            "DESTROY <key> <groupname>",
            "    Remove the specified group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Set the current group ID and entries_read counter.",
        ],
    );
    Ok(())
}

fn xack(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (db, key, name) = (ctx.db, args.at(1), args.at(2));
    let stream = ctx.server.read_as::<StreamValue>(db, key)?;
    if stream.is_none_or(|stream| stream.stream().group(name).is_none()) {
        ctx.out.integer(0);
        return Ok(());
    }
    // All ids are read before anything is done.
    let ids: Vec<StreamId> = args.iter().skip(3).map(strict_id).collect::<Result<_, _>>()?;
    let mut stream = ctx.server.edit::<StreamValue>(db, key)?;
    let group = stream.as_mut().and_then(|stream| stream.group_mut(name));
    let acknowledged = group.map_or(0, |group| ids.iter().filter(|id| group.acknowledge(**id)).count());
    drop(stream);
    count_change(ctx, acknowledged);
    ctx.out.integer(acknowledged as i64);
    Ok(())
}
