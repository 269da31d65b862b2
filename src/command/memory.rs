//! MEMORY: how much keys and the server's parts take.

use crate::base::numbers::parse_i64;
use crate::command::help;
use crate::resp::Args;
use crate::server::error::{self, CommandResult};
use crate::server::spec::{Group, Handler, KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};
use crate::sys::{data_alloc, general_alloc};
use std::fmt::Write;

const fn row(name: &'static str, arity: i32, summary: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec { since: "4.0.0", ..CommandSpec::server_row(name, arity, summary, handler) }
}

const EACH_SHARD: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        tips: EACH_SHARD,
        ..row("doctor", 2, "Says in words what is wrong with the memory.", doctor)
    },
    CommandSpec {
        flags: flag::LOADING | flag::STALE,
        ..row("help", 2, "Describes the subcommands.", help_command)
    },
    CommandSpec {
        complexity: "Depends on how much memory is allocated, could be slow",
        tips: EACH_SHARD,
        ..row("malloc-stats", 2, "Shows the allocator's own report.", malloc_stats)
    },
    CommandSpec {
        complexity: "Depends on how much memory is allocated, could be slow",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        ..row("purge", 2, "Gives unused memory back to the system.", purge)
    },
    CommandSpec { tips: EACH_SHARD, ..row("stats", 2, "Shows where memory goes.", stats) },
    CommandSpec {
        flags: flag::READONLY,
        complexity: "O(N) where N is the number of samples.",
        keys: &[KeySpec::one(2, key_flag::RO)],
        ..row("usage", -3, "Estimates the memory that a key and its value take.", usage)
    },
];

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "memory",
    arity: -2,
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "Shows what takes memory.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::DEFAULT
}];

/// `MEMORY USAGE key [SAMPLES n]`. The entry's block is counted whole, values are exact for strings.
fn usage(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut at = 3;
    while at < args.len() {
        if !args.at(at).eq_ignore_ascii_case(b"samples") || at + 1 >= args.len() {
            return Err(error::SYNTAX);
        }
        let samples = parse_i64(args.at(at + 1)).ok_or(error::NOT_INTEGER)?;
        if samples < 0 {
            return Err(error::SYNTAX);
        }
        at += 2;
    }
    /// A slot of the hash table with its share of empty ones.
    const SLOT_BYTES: usize = 12;
    let (db, key) = (ctx.db, args.at(2));
    let hash = ctx.server.hash(key);
    match ctx.server.keyspace.db(db).find(hash, key) {
        Some(view) => ctx.out.integer((view.memory_bytes() + SLOT_BYTES) as i64),
        None => ctx.out.null(),
    }
    Ok(())
}

fn stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let report = ctx.server.memory_report();
    let memory = ctx.server.memory_sample();
    let allocator = memory.allocator;
    let out = &mut *ctx.out;
    let before: [(&str, usize); 10] = [
        ("peak.allocated", report.peak_bytes),
        ("total.allocated", report.total_bytes),
        ("startup.allocated", report.startup_bytes),
        ("replication.backlog", 0),
        ("clients.slaves", report.replicas_bytes),
        ("clients.normal", report.clients_bytes),
        ("cluster.links", 0),
        ("aof.buffer", report.aof_buffer_bytes),
        ("lua.caches", 0),
        ("functions.caches", 0),
    ];
    let rss_over = memory.rss_bytes as i64 - allocator.resident_bytes as i64;
    let after: [Figure; 17] = [
        ("overhead.total", Ok(report.overhead_bytes as i64)),
        ("keys.count", Ok(report.keys as i64)),
        ("keys.bytes-per-key", Ok(report.bytes_per_key() as i64)),
        ("dataset.bytes", Ok(report.dataset_bytes as i64)),
        ("dataset.percentage", Err(report.dataset_percent())),
        ("peak.percentage", Err(report.peak_percent())),
        ("allocator.allocated", Ok(allocator.allocated_bytes as i64)),
        ("allocator.active", Ok(allocator.active_bytes as i64)),
        ("allocator.resident", Ok(allocator.resident_bytes as i64)),
        ("allocator-fragmentation.ratio", Err(ratio(allocator.active_bytes, allocator.allocated_bytes))),
        (
            "allocator-fragmentation.bytes",
            Ok(allocator.active_bytes as i64 - allocator.allocated_bytes as i64),
        ),
        ("allocator-rss.ratio", Err(ratio(allocator.resident_bytes, allocator.active_bytes))),
        ("allocator-rss.bytes", Ok(allocator.resident_bytes as i64 - allocator.active_bytes as i64)),
        ("rss-overhead.ratio", Err(ratio(memory.rss_bytes, allocator.resident_bytes))),
        ("rss-overhead.bytes", Ok(rss_over)),
        ("fragmentation", Err(ratio(memory.rss_bytes, report.total_bytes))),
        ("fragmentation.bytes", Ok(memory.rss_bytes as i64 - report.total_bytes as i64)),
    ];
    out.map(before.len() + report.tables.len() + after.len());
    for (name, bytes) in before {
        out.bulk_str(name);
        out.integer(bytes as i64);
    }
    for (db, bytes) in &report.tables {
        out.bulk_str(&format!("db.{db}"));
        out.map(3);
        let parts = [("main", *bytes), ("expires", 0), ("slot-to-keys", 0)];
        for (part, bytes) in parts {
            out.bulk_str(&format!("overhead.hashtable.{part}"));
            out.integer(bytes as i64);
        }
    }
    for (name, figure) in after {
        out.bulk_str(name);
        match figure {
            Ok(count) => out.integer(count),
            Err(ratio) => out.double(ratio),
        }
    }
    Ok(())
}

/// A name with a count, or (`Err`) with a ratio.
type Figure = (&'static str, Result<i64, f64>);

/// `part / whole`, 0 when there is nothing.
pub fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn malloc_stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.verbatim("txt", &general_alloc::report());
    Ok(())
}

fn purge(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    data_alloc::release_unused();
    if !general_alloc::purge() {
        log::debug!("The general allocator cannot be purged");
    }
    ctx.out.ok();
    Ok(())
}

fn doctor(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let text = diagnosis(ctx.server);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// What an operator should look at, with the limits Redis uses.
fn diagnosis(server: &Server) -> String {
    const EMPTY_BYTES: usize = 5 << 20;
    const BIG_CLIENT_BYTES: usize = 200 << 10;
    /// Blocks kept for growth are 16 MiB.
    const FREE_BYTES_MAX: usize = 32 << 20;
    let report = server.memory_report();
    if report.total_bytes < EMPTY_BYTES {
        return "There is too little data here to tell: ask again with more than 5 MB in use.\n".to_owned();
    }
    let memory = server.memory_sample();
    let allocator = memory.allocator;
    let clients = server.clients.connected.max(1);
    let findings = [
        (
            report.peak_bytes > report.total_bytes * 3 / 2,
            "Peak memory: more than 150 % of what is used now was used once.",
        ),
        (
            ratio(memory.rss_bytes, report.total_bytes) > 1.4,
            "High total RSS: the process is much larger than the data; MEMORY PURGE may help.",
        ),
        (
            ratio(allocator.active_bytes, allocator.allocated_bytes) > 1.1,
            "High allocator fragmentation: many slabs are only partly used; activedefrag yes moves the data together.",
        ),
        (
            ratio(allocator.resident_bytes, allocator.active_bytes) > 1.1
                && allocator.resident_bytes - allocator.active_bytes > FREE_BYTES_MAX,
            "High allocator RSS overhead: much of the memory held is free; MEMORY PURGE gives back whole blocks, activedefrag yes empties sparse ones.",
        ),
        (
            report.clients_bytes / clients > BIG_CLIENT_BYTES,
            "Big client buffers: look at CLIENT LIST for clients that do not read.",
        ),
    ];
    let mut text = String::new();
    for (_, finding) in findings.iter().filter(|(found, _)| *found) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, " * {finding}");
    }
    if text.is_empty() {
        return "The memory looks healthy.\n".to_owned();
    }
    format!("What stands out in the memory of this server:\n\n{text}")
}

fn help_command(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    help::write(
        ctx.out,
        "MEMORY",
        &[
            "DOCTOR",
            "    Say in words what is wrong with the memory.",
            "MALLOC-STATS",
            "    Show the allocator's own report.",
            "PURGE",
            "    Give unused memory back to the system.",
            "STATS",
            "    Show where memory goes.",
            "USAGE <key> [SAMPLES <count>]",
            "    Estimate the bytes of a key with its value; of nested values <count> are looked at",
            "    (5 unless given, 0 for all).",
        ],
    );
    Ok(())
}
