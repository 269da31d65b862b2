//! OBJECT: what is known of a key besides its value.

use crate::command::help;
use crate::keyspace::EntryView;
use crate::resp::Args;
use crate::server::config::{MaxmemoryPolicy, MemoryLimit};
use crate::server::error::{CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::ValueRef;
use crate::value::string::StrRef;

const ROW: CommandSpec = CommandSpec {
    arity: 3,
    flags: flag::READONLY,
    categories: category::KEYSPACE,
    keys: &[KeySpec::one(2, key_flag::RO)],
    group: Group::Generic,
    since: "2.2.3",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "object",
    arity: -2,
    group: Group::Generic,
    since: "2.2.3",
    complexity: "That of the subcommand.",
    summary: "Commands that look into how a key is kept.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::DEFAULT
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "encoding",
        tips: &["nondeterministic_output"],
        summary: "Names the encoding of a key's value.",
        handler: encoding,
        ..ROW
    },
    CommandSpec {
        name: "freq",
        tips: &["nondeterministic_output"],
        since: "4.0.0",
        summary: "Gives the logarithmic counter of a key's use (LFU policies).",
        handler: freq,
        ..ROW
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        keys: &[],
        since: "6.2.0",
        summary: "Explains the subcommands.",
        handler: help,
        ..ROW
    },
    CommandSpec {
        name: "idletime",
        tips: &["nondeterministic_output"],
        summary: "Gives the seconds since a key was used (LRU policies).",
        handler: idletime,
        ..ROW
    },
    CommandSpec {
        name: "refcount",
        tips: &["nondeterministic_output"],
        summary: "Gives the number of references to a key's value.",
        handler: refcount,
        ..ROW
    },
];

/// Looks the key up without leaving a trace on it; answers null when it is missing.
fn view<'a>(ctx: &'a mut Ctx<'_>, args: Args<'_>) -> Option<EntryView<'a>> {
    let found = ctx.server.peek(ctx.db, args.at(2));
    if found.is_none() {
        ctx.out.null();
    }
    found
}

fn encoding(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if let Some(name) = view(ctx, args).map(|view| view.value().encoding()) {
        ctx.out.bulk_str(name);
    }
    Ok(())
}

/// What Redis calls the count of the integers that all keys share.
const SHARED_REFERENCES: i64 = i32::MAX as i64;
/// Integers below this are shared in Redis.
const SHARED_INTEGERS: i64 = 10_000;

fn refcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    // Keys of one shared integer could not have use clocks of their own.
    let shares = ctx.server.config.maxmemory == MemoryLimit::default()
        || !tracks_use(ctx.server.config.maxmemory_policy);
    if let Some(value) = view(ctx, args).map(|view| view.value()) {
        let shared = matches!(value, ValueRef::String(StrRef::Int(0..SHARED_INTEGERS)));
        ctx.out.integer(if shared && shares { SHARED_REFERENCES } else { 1 });
    }
    Ok(())
}

/// Whether a policy chooses keys by their use.
fn tracks_use(policy: MaxmemoryPolicy) -> bool {
    use MaxmemoryPolicy::{AllkeysLfu, AllkeysLru, VolatileLfu, VolatileLru};
    matches!(policy, AllkeysLru | AllkeysLfu | VolatileLru | VolatileLfu)
}

fn idletime(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Some(bits) = view(ctx, args).map(|view| view.access()) else { return Ok(()) };
    if ctx.server.keyspace.access.lfu {
        return Err(ReplyError::fixed(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    ctx.out.integer(ctx.server.keyspace.access.idle_s(bits) as i64);
    Ok(())
}

fn freq(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Some(bits) = view(ctx, args).map(|view| view.access()) else { return Ok(()) };
    if !ctx.server.keyspace.access.lfu {
        return Err(ReplyError::fixed(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    ctx.out.integer(ctx.server.keyspace.access.lfu_counter(bits) as i64);
    Ok(())
}

fn help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    const LINES: &[&str] = &[
        "ENCODING <key>",
        "    Name the encoding in which the value of <key> is kept.",
        "FREQ <key>",
        "    Give the access counter of <key>, which grows with the logarithm of its use",
        "    (LFU policies only).",
        "IDLETIME <key>",
        "    Give the seconds since <key> was last used (not with LFU policies).",
        "REFCOUNT <key>",
        "    Give the number of references to the value of <key>.",
    ];
    help::write(ctx.out, "OBJECT", LINES);
    Ok(())
}
