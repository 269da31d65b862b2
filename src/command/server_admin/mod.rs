//! TIME, SHUTDOWN, MONITOR, LOLWUT.

mod shutdown;

pub use shutdown::{go_on_with_shutdown, prepare_shutdown};

use crate::base::numbers::parse_i64;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::run::{REDIS_VERSION, TINE_VERSION};
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx};

/// Largest picture that LOLWUT draws, columns and rows: a reply of a few kilobytes.
const PICTURE_MAX: usize = 80;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "time",
        tips: &["nondeterministic_output"],
        arity: 1,
        flags: flag::LOADING | flag::STALE | flag::FAST,
        group: Group::Server,
        since: "2.6.0",
        summary: "Shows the server's time.",
        handler: time,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "shutdown",
        arity: -1,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::NO_MULTI | flag::ALLOW_BUSY,
        group: Group::Server,
        complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, \
                     otherwise O(1)",
        summary: "Saves the data set and ends the server.",
        handler: shutdown::shutdown,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "monitor",
        arity: 1,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE,
        group: Group::Server,
        summary: "Shows every command that runs, until the connection ends.",
        handler: monitor,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lolwut",
        arity: -1,
        flags: flag::READONLY | flag::FAST,
        categories: category::READ,
        group: Group::Server,
        since: "5.0.0",
        summary: "Draws something, and says which version this is.",
        handler: lolwut,
        ..CommandSpec::DEFAULT
    },
];

fn time(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let now_us = ctx.server.clock.now_us();
    ctx.out.array(2);
    ctx.out.bulk_integer(now_us / 1_000_000);
    ctx.out.bulk_integer(now_us % 1_000_000);
    Ok(())
}

fn monitor(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    if !ctx.caller.may_block() {
        return Err(ReplyError::err("MONITOR isn't allowed for DENY BLOCKING client"));
    }
    // As Redis: a monitor that asks again gets no reply.
    if !ctx.client().monitor {
        let client = ctx.client;
        ctx.server.add_monitor(client);
        ctx.out.ok();
    }
    Ok(())
}

/// `LOLWUT [VERSION n] [columns rows]`: a tine that branches, by chance.
fn lolwut(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut numbers = args.tail(1);
    if args.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"version")) {
        args.get(2).and_then(parse_i64).ok_or(error::NOT_INTEGER)?;
        numbers = args.tail(3.min(args.len()));
    }
    let size = |index: usize, default: usize| -> Result<usize, ReplyError> {
        let Some(text) = numbers.get(index) else { return Ok(default) };
        let number = parse_i64(text).ok_or(error::NOT_INTEGER)?;
        Ok(usize::try_from(number).unwrap_or(1).clamp(1, PICTURE_MAX))
    };
    let (columns, rows) = (size(0, 41)?, size(1, 8)?);
    let mut text = String::new();
    let mut positions = vec![columns / 2];
    for _ in 0..rows {
        let mut line = vec![' '; columns];
        for position in &mut positions {
            line[*position] = '|';
            *position = (*position + ctx.server.rng.below(3)).saturating_sub(1).min(columns - 1);
        }
        if ctx.server.rng.below(2) == 0 {
            positions.push(positions[ctx.server.rng.below(positions.len())]);
        }
        text.extend(line);
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text.push_str(&format!("\nRedis ver. {REDIS_VERSION} (Tine {TINE_VERSION})\n"));
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}
