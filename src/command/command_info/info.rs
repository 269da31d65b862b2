//! COMMAND, COMMAND INFO: how a row is shown.

use super::{find_full_name, subcommands, write_names};
use crate::resp::{Args, Reply};
use crate::server::command_docs::key_note;
use crate::server::error::CommandResult;
use crate::server::key_extraction::{has_movable_keys, legacy_range};
use crate::server::spec::{BeginSearch, FindKeys, category, flag, key_flag};
use crate::server::{Ctx, Found, Server};

pub(super) fn all(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let commands: Vec<Found> = ctx.server.commands.top_level().collect();
    ctx.out.array(commands.len());
    for found in commands {
        write_info(ctx.server, found, ctx.out);
    }
    Ok(())
}

pub(super) fn some(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() == 2 {
        return all(ctx, args);
    }
    ctx.out.array(args.len() - 2);
    for name in args.tail(2).iter() {
        match find_full_name(ctx.server, name) {
            Some(found) => write_info(ctx.server, found, ctx.out),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn write_info(server: &Server, found: Found, out: &mut Reply) {
    let spec = found.spec;
    let (first, last, step) = legacy_range(spec).unwrap_or_default();
    let movable = if has_movable_keys(spec) { flag::MOVABLEKEYS } else { 0 };
    out.array(10);
    out.bulk_str(&found.full_name());
    out.integer(spec.arity as i64);
    write_names(out, spec.flags | movable, flag::NAMES, "");
    out.integer(first);
    out.integer(last);
    out.integer(step);
    write_names(out, spec.all_categories(), category::NAMES, "@");
    out.set(spec.tips.len());
    for tip in spec.tips {
        out.bulk_str(tip);
    }
    write_key_specs(&found, out);
    let children = subcommands(server, found);
    out.array(children.len());
    for child in children {
        write_info(server, child, out);
    }
}

fn write_key_specs(found: &Found, out: &mut Reply) {
    out.set(found.spec.keys.len());
    for (number, keys) in found.spec.keys.iter().enumerate() {
        let note = key_note(&found.full_name(), number);
        out.map(3 + note.is_some() as usize);
        if let Some(note) = note {
            out.bulk(b"notes");
            out.bulk_str(note);
        }
        out.bulk(b"flags");
        write_names(out, keys.flags, key_flag::NAMES, "");
        out.bulk(b"begin_search");
        match keys.begin {
            BeginSearch::Index(index) => write_step(out, "index", &[("index", index as i64)], None),
            BeginSearch::Keyword(word, from) => {
                write_step(out, "keyword", &[("startfrom", from as i64)], Some(("keyword", word)));
            }
            BeginSearch::Unknown => write_step(out, "unknown", &[], None),
        }
        out.bulk(b"find_keys");
        match keys.find {
            FindKeys::Range { last, step, limit } => {
                let numbers = [("lastkey", last as i64), ("keystep", step as i64), ("limit", limit as i64)];
                write_step(out, "range", &numbers, None);
            }
            FindKeys::Count { count_index, first, step } => {
                let numbers =
                    [("keynumidx", count_index as i64), ("firstkey", first as i64), ("keystep", step as i64)];
                write_step(out, "keynum", &numbers, None);
            }
            FindKeys::Unknown => write_step(out, "unknown", &[], None),
        }
    }
}

/// One of the two steps of a key spec: its type, and the numbers (and word) that it needs.
fn write_step(out: &mut Reply, kind: &str, numbers: &[(&str, i64)], word: Option<(&str, &str)>) {
    out.map(2);
    out.bulk(b"type");
    out.bulk_str(kind);
    out.bulk(b"spec");
    out.map(numbers.len() + word.is_some() as usize);
    if let Some((name, value)) = word {
        out.bulk_str(name);
        out.bulk_str(value);
    }
    for (name, value) in numbers {
        out.bulk_str(name);
        out.integer(*value);
    }
}
