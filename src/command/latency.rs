//! LATENCY: the monitor's events, and histograms of the commands' durations.

use crate::command::help;
use crate::resp::Args;
use crate::server::error::{CommandResult, ReplyError};
use crate::server::latency::Series;
use crate::server::spec::{Found, Group, Handler, flag};
use crate::server::stats::CommandStats;
use crate::server::{CommandSpec, Ctx, Server};
use std::fmt::Write;

const ADMIN: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

const fn row(name: &'static str, arity: i32, summary: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec { flags: ADMIN, since: "2.8.13", ..CommandSpec::server_row(name, arity, summary, handler) }
}

const EACH_NODE: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec { tips: EACH_NODE, ..row("doctor", 2, "Reads the monitor's events like a doctor.", doctor) },
    CommandSpec { tips: EACH_NODE, ..row("graph", 3, "Draws an event's samples.", graph) },
    CommandSpec {
        tips: EACH_NODE,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands with latency information being retrieved.",
        ..row("histogram", -2, "Shows how the durations of commands are distributed.", histogram)
    },
    CommandSpec { tips: EACH_NODE, ..row("history", 3, "Shows an event's samples.", history) },
    CommandSpec { tips: EACH_NODE, ..row("latest", 2, "Shows the last sample of every event.", latest) },
    CommandSpec {
        tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
        ..row("reset", -2, "Forgets events.", reset)
    },
    CommandSpec {
        flags: flag::LOADING | flag::STALE,
        ..row("help", 2, "Describes the subcommands.", help_command)
    },
];

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "latency",
    arity: -2,
    group: Group::Server,
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    summary: "Shows what took long.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::DEFAULT
}];

fn history(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Some(series) = find(ctx.server, args.at(2)) else {
        ctx.out.array(0);
        return Ok(());
    };
    ctx.out.array(series.samples.len());
    for sample in &series.samples {
        ctx.out.array(2);
        ctx.out.integer(sample.time_s);
        ctx.out.integer(sample.latency_ms as i64);
    }
    Ok(())
}

fn find<'a>(server: &'a Server, event: &[u8]) -> Option<&'a Series> {
    server.latency.events.iter().find(|(name, _)| name.as_bytes() == event).map(|(_, series)| series)
}

fn latest(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.array(ctx.server.latency.events.len());
    for (event, series) in &ctx.server.latency.events {
        let last = series.samples.back();
        ctx.out.array(4);
        ctx.out.bulk_str(event);
        ctx.out.integer(last.map_or(0, |sample| sample.time_s));
        ctx.out.integer(last.map_or(0, |sample| sample.latency_ms as i64));
        ctx.out.integer(series.max_ms as i64);
    }
    Ok(())
}

fn reset(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let monitor = &mut ctx.server.latency;
    let forgotten = if args.len() == 2 {
        let all = monitor.events.len();
        monitor.events.clear();
        all
    } else {
        args.tail(2).iter().filter(|event| monitor.forget(&String::from_utf8_lossy(event))).count()
    };
    ctx.out.integer(forgotten as i64);
    Ok(())
}

fn histogram(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let server = &*ctx.server;
    let mut chosen: Vec<Found> = Vec::new();
    if args.len() == 2 {
        chosen.extend_from_slice(server.commands.all());
    }
    for name in args.tail(2).iter() {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let matches = |found: &&Found| {
            found.full_name() == name || found.parent.is_some_and(|parent| parent.name == name)
        };
        chosen.extend(server.commands.all().iter().filter(matches));
    }
    let measured: Vec<(String, &CommandStats)> = chosen
        .iter()
        .map(|found| (found.full_name(), &server.stats.commands[found.id as usize]))
        .filter(|(_, stats)| stats.latency_ns.is_some())
        .collect();
    ctx.out.map(measured.len());
    for (name, stats) in measured {
        ctx.out.bulk_str(&name);
        let buckets = buckets_of(stats);
        ctx.out.map(2);
        ctx.out.bulk_str("calls");
        ctx.out.integer(stats.latency_ns.as_ref().map_or(0, |histogram| histogram.len() as i64));
        ctx.out.bulk_str("histogram_usec");
        ctx.out.map(buckets.len());
        for (limit_us, count) in buckets {
            ctx.out.integer(limit_us as i64);
            ctx.out.integer(count as i64);
        }
    }
    Ok(())
}

/// Upper limits that double from about 1 us, each with the calls up to it; steps without calls
/// are left out.
fn buckets_of(stats: &CommandStats) -> Vec<(u64, u64)> {
    const FIRST_NS: u64 = 1024;
    let Some(histogram) = &stats.latency_ns else { return Vec::new() };
    let mut total = 0;
    let mut buckets = Vec::new();
    for step in histogram.iter_log(FIRST_NS, 2.0) {
        if step.count_since_last_iteration() > 0 {
            total += step.count_since_last_iteration();
            buckets.push((histogram.highest_equivalent(step.value_iterated_to()) / 1000, total));
        }
    }
    buckets
}

/// Rows of `#` under each other, as high as the sample is against the largest.
fn graph(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    const HEIGHT: u64 = 4;
    let event = String::from_utf8_lossy(args.at(2)).into_owned();
    let Some(series) = find(ctx.server, args.at(2)) else {
        return Err(ReplyError::err(format!("No samples available for event '{event}'")));
    };
    let (_, _, low, high, _) = series.summary();
    let mut text = format!(
        "{event} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        series.max_ms,
        "-".repeat(80)
    );
    for level in (0..HEIGHT).rev() {
        for sample in &series.samples {
            let scaled = (sample.latency_ms - low) * (HEIGHT - 1) / (high - low).max(1);
            text.push(if scaled >= level { '#' } else { ' ' });
        }
        text.push('\n');
    }
    let now_s = ctx.server.now_ms() / 1000;
    if let (Some(first), Some(last)) = (series.samples.front(), series.samples.back()) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{} s ago ... {} s ago\n", now_s - first.time_s, now_s - last.time_s);
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let report = report(ctx.server);
    ctx.out.verbatim("txt", report.as_bytes());
    Ok(())
}

fn report(server: &Server) -> String {
    if server.config.latency_monitor_threshold == 0 {
        return "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> switches it on.\n".to_owned();
    }
    if server.latency.events.is_empty() {
        return "Nothing has taken longer than the threshold yet.\n".to_owned();
    }
    let mut text = "These events took longer than the threshold:\n\n".to_owned();
    for (number, (event, series)) in server.latency.events.iter().enumerate() {
        let (count, mean, low, high, deviation) = series.summary();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}. {event}: {count} samples, {mean} ms on average (mean deviation {deviation} ms, {low} to {high} ms), \
             the worst ever {} ms",
            number + 1,
            series.max_ms
        );
    }
    text.push_str(
        "\n- Slow commands are in SLOWLOG GET; forks and the disk are in INFO persistence and INFO stats.\n",
    );
    text
}

fn help_command(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    help::write(
        ctx.out,
        "LATENCY",
        &[
            "DOCTOR",
            "    Say in words what the monitor saw.",
            "GRAPH <event>",
            "    Draw the samples of an event.",
            "HISTORY <event>",
            "    Show the samples of an event: time and milliseconds.",
            "LATEST",
            "    Show the last sample of every event, and its worst.",
            "RESET [<event> ...]",
            "    Forget these events, or all.",
            "HISTOGRAM [COMMAND ...]",
            "    Show how the durations of these commands, or all, are distributed.",
        ],
    );
    Ok(())
}
