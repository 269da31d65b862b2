//! DEBUG OBJECT, HTSTATS: how values and tables are kept.

use crate::base::numbers::parse_i64;
use crate::ds::table::TableStats;
use crate::resp::Args;
use crate::server::Ctx;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::value::ValueRef;
use std::fmt::Write;

/// The fields that tests and tools cut out of Redis's line.
pub(super) fn object(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let hash = ctx.server.hash(args.at(2));
    let access = &ctx.server.keyspace.access;
    let view = ctx.server.keyspace.db(ctx.db).find(hash, args.at(2)).ok_or(error::NO_SUCH_KEY)?;
    let (encoding, bytes) = match view.value() {
        ValueRef::String(string) => (string.encoding(), string.len() + 1),
        other => (other.encoding(), other.out_of_line_bytes()),
    };
    let bits = view.access();
    let text = format!(
        "Value at:0x{hash:x} refcount:1 encoding:{encoding} serializedlength:{bytes} lru:{bits} lru_seconds_idle:{}{}",
        access.idle_s(bits),
        list_fields(view.value())
    );
    ctx.out.simple(&text);
    Ok(())
}

/// What the line says of a quicklist besides.
fn list_fields(value: ValueRef<'_>) -> String {
    let ValueRef::List(list) = value else { return String::new() };
    let Some((fill, compressed)) = list.node_settings() else { return String::new() };
    let nodes = list.nodes().count();
    format!(
        " ql_nodes:{nodes} ql_avg_node:{:.2} ql_listpack_max:{fill} ql_compressed:{} ql_uncompressed_size:{}",
        list.len() as f64 / nodes.max(1) as f64,
        u8::from(compressed),
        list.payload_bytes()
    )
}

/// LISTPACK and QUICKLIST: Redis prints the bytes; here they go to the log, when it is verbose.
pub(super) fn packed(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let wanted = args.at(1).to_ascii_lowercase();
    let hash = ctx.server.hash(args.at(2));
    let view = ctx.server.keyspace.db(ctx.db).find(hash, args.at(2)).ok_or(error::NO_SUCH_KEY)?;
    let value = view.value();
    if value.encoding().as_bytes() != wanted {
        let name = String::from_utf8_lossy(&wanted).into_owned();
        return Err(ReplyError::err(format!("Not a {name} encoded object.")));
    }
    log::debug!("{value:?}");
    let name = if wanted == b"listpack" { "Listpack" } else { "Quicklist" };
    ctx.out.simple(&format!("{name} structure printed on stdout"));
    Ok(())
}

pub(super) fn string_lengths(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let hash = ctx.server.hash(args.at(2));
    let view = ctx.server.keyspace.db(ctx.db).find(hash, args.at(2)).ok_or(error::NO_SUCH_KEY)?;
    let string = match view.value() {
        ValueRef::String(string) => string,
        _ => return Err(ReplyError::err("Not an sds encoded string.")),
    };
    let (key, bytes, whole) = (view.key().len(), string.len(), view.memory_bytes());
    let text = format!(
        "key_sds_len:{key}, key_sds_avail:0, key_zmalloc: {key}, val_sds_len:{bytes}, val_sds_avail:0, \
         val_zmalloc: {}",
        whole.saturating_sub(key)
    );
    ctx.out.simple(&text);
    Ok(())
}

pub(super) fn of_database(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let number = parse_i64(args.at(2)).ok_or(error::NOT_INTEGER)?;
    let databases = ctx.server.keyspace.databases();
    let index = usize::try_from(number)
        .ok()
        .filter(|index| *index < databases)
        .ok_or(ReplyError::err("Out of range database"))?;
    let stats = ctx.server.keyspace.db(index).table().stats();
    let growth = growth(&stats, ctx.server.persistence.child_kind().is_some());
    let text = format!("[Dictionary HT]\n{}{growth}[Expires HT]\n{}", describe(&stats), expiries(&stats));
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The table of a big value.
pub(super) fn of_key(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let hash = ctx.server.hash(args.at(2));
    let view = ctx.server.keyspace.db(ctx.db).find(hash, args.at(2)).ok_or(error::NO_SUCH_KEY)?;
    let Some(stats) = table_of(view.value()) else {
        const NO_TABLE: &str = "The value stored at the specified key is not represented using an hash table";
        return Err(ReplyError::err(NO_TABLE));
    };
    ctx.out.verbatim("txt", describe(&stats).as_bytes());
    Ok(())
}

/// The shape of the table in a value that has one.
fn table_of(value: ValueRef<'_>) -> Option<TableStats> {
    match value {
        ValueRef::Hash(hash) => hash.table_stats(),
        ValueRef::Set(set) => set.table_stats(),
        ValueRef::Zset(zset) => zset.table_stats(),
        _ => None,
    }
}

fn describe(stats: &TableStats) -> String {
    if stats.entries == 0 {
        return "No stats available for empty dictionaries\n".to_owned();
    }
    let mut text = format!(
        "Hash table 0 stats (main hash table):\n table size: {}\n number of elements: {}\n segments: {}\n buckets: {} \
         (overflow {})\n max chain length: {}\n load: {:.2}\n bytes: {}\n Chain length distribution:\n",
        stats.slots,
        stats.entries,
        stats.segments,
        stats.buckets,
        stats.overflow_buckets,
        stats.max_chain,
        stats.load(),
        stats.memory_bytes
    );
    for (length, count) in stats.chains.iter().enumerate().filter(|(_, count)| **count > 0) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "   {length}: {count}");
    }
    text
}

/// Whether segments grow. For comparison: Redis's table is one array, a power of two, that is brought
/// to fit its elements when no child lives.
fn growth(stats: &TableStats, child_lives: bool) -> String {
    match (stats.entries, child_lives) {
        (0, _) => String::new(),
        (_, true) => " growth: held back while a child lives\n".to_owned(),
        (entries, false) => {
            format!(" growth: by segments; as one array, table size: {}\n", entries.next_power_of_two())
        }
    }
}

/// Expiries stand in the entries; there is no second table.
fn expiries(stats: &TableStats) -> String {
    match stats.volatile_entries {
        0 => "No stats available for empty dictionaries\n".to_owned(),
        count => format!("Expiries are kept in the entries\n number of elements: {count}\n"),
    }
}
