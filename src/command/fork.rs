//! FORK: what each fork has cost. A command of Tine's own; see [`crate::cow`].

use crate::base::numbers::parse_i64;
use crate::command::{arg, help};
use crate::cow::doctor::{self, Patient};
use crate::cow::record::{Figure, Figures, ForkRecord};
use crate::cow::timeline::{FIELD_NAMES, Timeline};
use crate::resp::{Args, Reply};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, Handler, flag};
use crate::server::{CommandSpec, Ctx, Server};
use crate::sys::info;
use crate::sys::proc::ProcFs;
use serde_json::{Map, Value, json};

const ADMIN: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

const fn row(name: &'static str, arity: i32, summary: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec {
        name,
        arity,
        flags: ADMIN,
        group: Group::Server,
        since: "7.2.4",
        tips: &["nondeterministic_output"],
        summary,
        handler,
        ..CommandSpec::DEFAULT
    }
}

const SUBCOMMANDS: &[CommandSpec] = &[
    row("doctor", 2, "Says in words what the last fork cost, why, and what to change.", doctor),
    CommandSpec {
        complexity: "O(N) where N is the number of forks shown.",
        ..row("history", -2, "Shows the last forks, the latest first.", history)
    },
    row("latest", -2, "Shows the last fork, or the one whose child lives.", latest),
    row("timeline", -3, "Shows the samples of one fork.", timeline),
    CommandSpec { tips: &[], ..row("reset", 2, "Forgets the forks whose children have ended.", reset) },
    CommandSpec {
        flags: flag::LOADING | flag::STALE,
        tips: &[],
        ..row("help", 2, "Describes the subcommands.", help_command)
    },
];

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "fork",
    arity: -2,
    group: Group::Server,
    since: "7.2.4",
    complexity: "Depends on subcommand.",
    summary: "Shows what forks cost.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::DEFAULT
}];

/// Whether the last of the arguments from `first` on is the word JSON, and the others.
fn split_json(args: Args<'_>, first: usize) -> (bool, Vec<&[u8]>) {
    let mut words: Vec<&[u8]> = args.tail(first).iter().collect();
    let as_json = words.last().is_some_and(|word| arg::is(word, "json"));
    if as_json {
        words.pop();
    }
    (as_json, words)
}

fn latest(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (as_json, rest) = split_json(args, 2);
    if !rest.is_empty() {
        return Err(error::SYNTAX);
    }
    let record = ctx.server.observer.latest();
    match (as_json, record) {
        (true, record) => put_json(ctx.out, &record.map_or(Value::Null, to_json)),
        (false, Some(record)) => put_figures(ctx.out, &record.figures()),
        (false, None) => ctx.out.null(),
    }
    Ok(())
}

fn history(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (as_json, rest) = split_json(args, 2);
    let count = match rest.as_slice() {
        [] => usize::MAX,
        [count] => match parse_i64(count).ok_or(error::NOT_INTEGER)? {
            count if count < 0 => return Err(ReplyError::err("count must not be negative")),
            count => count as usize,
        },
        _ => return Err(error::SYNTAX),
    };
    let shown: Vec<&ForkRecord> = ctx.server.observer.records().iter().rev().take(count).collect();
    if as_json {
        put_json(ctx.out, &shown.into_iter().map(to_json).collect());
        return Ok(());
    }
    ctx.out.array(shown.len());
    for record in shown {
        put_figures(ctx.out, &record.figures());
    }
    Ok(())
}

fn timeline(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (as_json, rest) = split_json(args, 2);
    let [id] = rest.as_slice() else { return Err(error::SYNTAX) };
    let id = parse_i64(id).ok_or(error::NOT_INTEGER)?;
    let record = u64::try_from(id).ok().and_then(|id| ctx.server.observer.find(id));
    let record = record.ok_or_else(|| ReplyError::err("no such fork"))?;
    if as_json {
        let samples = record.timeline.samples();
        put_json(ctx.out, &json!({ "id": record.id, "fields": FIELD_NAMES, "samples": samples }));
    } else {
        put_timeline(ctx.out, record.id, &record.timeline);
    }
    Ok(())
}

fn put_timeline(out: &mut Reply, id: u64, timeline: &Timeline) {
    out.map(3);
    out.bulk_str("id");
    out.integer(id as i64);
    out.bulk_str("fields");
    out.array(FIELD_NAMES.len());
    FIELD_NAMES.iter().for_each(|name| out.bulk_str(name));
    out.bulk_str("samples");
    out.array(timeline.samples().len());
    for sample in timeline.samples() {
        out.array(sample.len());
        sample.iter().for_each(|figure| out.integer(*figure));
    }
}

fn put_figures(out: &mut Reply, figures: &Figures) {
    out.map(figures.len());
    for (name, figure) in figures {
        out.bulk_str(name);
        match figure {
            Figure::Count(count) => out.integer(*count),
            Figure::Unknown => out.integer(-1),
            Figure::Ratio(ratio) => out.double(*ratio),
            Figure::Text(text) => out.bulk_str(text),
        }
    }
}

fn to_json(record: &ForkRecord) -> Value {
    let member = |(name, figure): (&str, Figure)| {
        let value = match figure {
            Figure::Count(count) => json!(count),
            Figure::Unknown => Value::Null,
            Figure::Ratio(ratio) => json!(ratio),
            Figure::Text(text) => json!(text),
        };
        (name.to_owned(), value)
    };
    Value::Object(record.figures().into_iter().map(member).collect::<Map<_, _>>())
}

fn put_json(out: &mut Reply, value: &Value) {
    out.bulk_str(&value.to_string());
}

fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let text = opinion(ctx.server, &ProcFs::system());
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// What the doctor says of this server on a machine.
fn opinion(server: &Server, proc: &ProcFs) -> String {
    let rss_bytes = info::current_rss_bytes();
    doctor::examine(&Patient {
        records: server.observer.records(),
        page_size: server.persistence.pages.size(),
        memory_left: server.observer.memory_left(),
        expected_bytes: server.observer.expected_bytes(rss_bytes),
        rss_bytes,
        cow_limit_bytes: server.config.fork_cow_limit.bytes,
        overcommit: proc.overcommit_memory().ok(),
        huge_page_mode: proc.huge_pages_enabled().ok(),
        compresses: server.config.rdbcompression,
    })
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let forgotten = ctx.server.observer.reset();
    ctx.out.integer(forgotten as i64);
    Ok(())
}

fn help_command(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    help::write(
        ctx.out,
        "FORK",
        &[
            "DOCTOR",
            "    Say in words what the last fork cost, why, and what to change.",
            "HISTORY [<count>] [JSON]",
            "    Show the last forks, the latest first.",
            "LATEST [JSON]",
            "    Show the last fork, or the one whose child lives.",
            "TIMELINE <id> [JSON]",
            "    Show the samples of one fork: ten a second or fewer, from two seconds before it on.",
            "RESET",
            "    Forget the forks whose children have ended.",
        ],
    );
    Ok(())
}
