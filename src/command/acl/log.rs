//! ACL LOG.

use crate::command::arg;
use crate::resp::{Args, Reply};
use crate::server::Ctx;
use crate::server::acl::LogEntry;
use crate::server::error::{self, CommandResult};

/// Entries shown when no number is asked for.
const SHOWN: i64 = 10;

pub(super) fn show(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(error::wrong_subcommand_syntax(args.at(1), "acl"));
    }
    if args.get(2).is_some_and(|word| word.eq_ignore_ascii_case(b"reset")) {
        ctx.server.acl.log.entries.clear();
        ctx.out.ok();
        return Ok(());
    }
    let count = args.get(2).map_or(Ok(SHOWN), arg::integer)?;
    let (now_ms, log) = (ctx.now_ms(), &ctx.server.acl.log.entries);
    let count = usize::try_from(count).unwrap_or(0).min(log.len());
    ctx.out.array(count);
    log.iter().take(count).for_each(|entry| show_entry(ctx.out, entry, now_ms));
    Ok(())
}

fn show_entry(out: &mut Reply, entry: &LogEntry, now_ms: i64) {
    out.map(10);
    out.bulk(b"count");
    out.integer(entry.count as i64);
    let texts: [(&str, &[u8]); 4] = [
        ("reason", entry.by.name().as_bytes()),
        ("context", entry.context.name().as_bytes()),
        ("object", &entry.object),
        ("username", &entry.user_name),
    ];
    for (name, text) in texts {
        out.bulk_str(name);
        out.bulk(text);
    }
    out.bulk(b"age-seconds");
    out.double((now_ms - entry.updated_ms) as f64 / 1000.0);
    out.bulk(b"client-info");
    out.bulk(&entry.client);
    let numbers = [
        ("entry-id", entry.id as i64),
        ("timestamp-created", entry.created_ms),
        ("timestamp-last-updated", entry.updated_ms),
    ];
    for (name, value) in numbers {
        out.bulk_str(name);
        out.integer(value);
    }
}
