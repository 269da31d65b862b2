//! HOTKEYS: which keys are used most. A command of our own; see [`crate::server::hot_keys`].

use crate::base::numbers::parse_i64;
use crate::command::help;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::hot_keys::{CAPACITY_DEFAULT, CAPACITY_MAX};
use crate::server::spec::{Group, Handler, flag};
use crate::server::{CommandSpec, Ctx};

/// Keys shown by GET unless COUNT says otherwise.
const COUNT_DEFAULT: usize = 16;
/// Greatest sampling step: one use in a million.
const STEP_MAX: i64 = 1_000_000;

const ADMIN: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

const fn row(name: &'static str, arity: i32, summary: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec { flags: ADMIN, since: "7.2.0", ..CommandSpec::server_row(name, arity, summary, handler) }
}

const SUBCOMMANDS: &[CommandSpec] = &[
    row("start", -2, "Begins to count which keys are used, or begins anew.", start),
    row("stop", 2, "Stops counting; the counts stay readable.", stop),
    CommandSpec {
        complexity: "O(N), N: keys shown",
        tips: &["nondeterministic_output"],
        ..row("get", -2, "The keys used most, the hottest first.", get)
    },
    CommandSpec {
        tips: &["nondeterministic_output"],
        ..row("status", 2, "Whether and how keys are counted.", status)
    },
    CommandSpec { flags: flag::LOADING | flag::STALE, ..row("help", 2, "The subcommands.", show_help) },
];

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "hotkeys",
    arity: -2,
    group: Group::Server,
    since: "7.2.0",
    complexity: "that of the subcommand",
    summary: "Which keys are used most, by a sketch of fixed size.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::DEFAULT
}];

/// The value of an option, from 1 to `max`.
fn positive(args: Args<'_>, at: usize, max: i64) -> Result<i64, ReplyError> {
    let number = parse_i64(args.get(at).ok_or(error::SYNTAX)?).ok_or(error::NOT_INTEGER)?;
    if (1..=max).contains(&number) {
        return Ok(number);
    }
    let option = String::from_utf8_lossy(args.at(at - 1)).to_uppercase();
    Err(ReplyError::err(format!("{option} must be between 1 and {max}")))
}

fn start(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (mut capacity, mut step) = (CAPACITY_DEFAULT, 1);
    for at in (2..args.len()).step_by(2) {
        match args.at(at).to_ascii_lowercase().as_slice() {
            b"keys" => capacity = positive(args, at + 1, CAPACITY_MAX as i64)? as usize,
            b"sample" => step = positive(args, at + 1, STEP_MAX)? as u64,
            _ => return Err(error::SYNTAX),
        }
    }
    let now_ms = ctx.now_ms();
    ctx.server.hot_keys.start(capacity, step, now_ms);
    ctx.out.ok();
    Ok(())
}

fn stop(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.server.hot_keys.stop();
    ctx.out.ok();
    Ok(())
}

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let count = match args.get(2) {
        None => COUNT_DEFAULT,
        Some(word) if word.eq_ignore_ascii_case(b"count") && args.len() == 4 => {
            positive(args, 3, CAPACITY_MAX as i64)? as usize
        }
        Some(_) => return Err(error::SYNTAX),
    };
    let hottest = ctx.server.hot_keys.hottest(count);
    ctx.out.array(hottest.len());
    for line in hottest {
        ctx.out.map(4);
        ctx.out.bulk(b"key");
        ctx.out.bulk(&line.key);
        let numbers =
            [("db", u64::from(line.db)), ("uses", line.uses), ("at-most-too-high-by", line.too_high)];
        for (name, number) in numbers {
            ctx.out.bulk_str(name);
            ctx.out.integer(number as i64);
        }
    }
    Ok(())
}

fn status(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let hot_keys = &ctx.server.hot_keys;
    let numbers = [
        ("counting", i64::from(hot_keys.is_on())),
        ("keys", hot_keys.capacity() as i64),
        ("sample", hot_keys.step() as i64),
        ("uses", hot_keys.uses() as i64),
        ("uses-of-oversized-keys", hot_keys.oversized() as i64),
        ("started-unix-ms", hot_keys.started_ms()),
    ];
    ctx.out.map(numbers.len());
    for (name, number) in numbers {
        ctx.out.bulk_str(name);
        ctx.out.integer(number);
    }
    Ok(())
}

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    const LINES: &[&str] = &[
        "START [KEYS <count>] [SAMPLE <n>]",
        "    Begin to count which keys are used: <count> counters (1024 unless given), of every <n>-th use.",
        "STOP",
        "    Stop counting. The counts stay readable.",
        "GET [COUNT <count>]",
        "    The keys used most (16 unless given): name, database, uses, and by how much that may be too high.",
        "STATUS",
        "    Whether and how keys are counted.",
    ];
    help::write(ctx.out, "HOTKEYS", LINES);
    Ok(())
}
