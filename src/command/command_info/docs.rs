//! COMMAND DOCS: what people and clients that give hints read.

use super::{find_full_name, subcommands, write_names};
use crate::resp::{Args, Reply};
use crate::server::command_docs::{Argument, Documented, Kind, deprecation, is_system_command};
use crate::server::error::CommandResult;
use crate::server::{Ctx, Found, Server};

pub(super) fn docs(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let commands: Vec<Found> = if args.len() == 2 {
        ctx.server.commands.top_level().collect()
    } else {
        args.tail(2).iter().filter_map(|name| find_full_name(ctx.server, name)).collect()
    };
    let documented = Documented::new();
    ctx.out.map(commands.len());
    for found in commands {
        write_docs(ctx.server, &documented, found, ctx.out);
    }
    Ok(())
}

/// The command's name and the map of its documentation.
fn write_docs(server: &Server, documented: &Documented, found: Found, out: &mut Reply) {
    let (spec, full_name) = (found.spec, found.full_name());
    let deprecation = deprecation(&full_name);
    let flags = is_system_command(&full_name) as u32 | (deprecation.is_some() as u32) << 1;
    let arguments = documented.arguments(&full_name);
    let children = subcommands(server, found);
    let fields = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    let fields: Vec<_> = fields.into_iter().filter(|(_, text)| !text.is_empty()).collect();
    let parts = [flags != 0, !arguments.is_empty(), !children.is_empty()];
    let parts = parts.into_iter().filter(|there| *there).count() + 2 * deprecation.is_some() as usize;
    out.bulk_str(&full_name);
    out.map(fields.len() + parts);
    fields.into_iter().for_each(|(name, text)| write_text(out, name, text));
    if flags != 0 {
        out.bulk(b"doc_flags");
        write_names(out, flags, &[(1, "syscmd"), (2, "deprecated")], "");
    }
    if let Some(deprecation) = deprecation {
        write_text(out, "deprecated_since", deprecation.since);
        write_text(out, "replaced_by", deprecation.replaced_by);
    }
    if !arguments.is_empty() {
        out.bulk(b"arguments");
        write_arguments(&arguments, out);
    }
    if !children.is_empty() {
        out.bulk(b"subcommands");
        out.map(children.len());
        for child in children {
            write_docs(server, documented, child, out);
        }
    }
}

fn write_text(out: &mut Reply, name: &str, text: &str) {
    out.bulk_str(name);
    out.bulk_str(text);
}

fn write_arguments(arguments: &[Argument<'_>], out: &mut Reply) {
    out.array(arguments.len());
    arguments.iter().for_each(|argument| write_argument(argument, out));
}

fn write_argument(argument: &Argument<'_>, out: &mut Reply) {
    let is_group = matches!(argument.kind, Kind::OneOf | Kind::Block);
    let display = (!is_group).then(|| argument.display.unwrap_or(&argument.name));
    let flags =
        argument.optional as u32 | (argument.multiple as u32) << 1 | (argument.multiple_token as u32) << 2;
    let texts = [
        ("token", argument.token),
        ("since", argument.since),
        ("deprecated_since", argument.deprecated_since),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
    // The name, its type, and either how it is shown or what it is made of.
    let fields = 3 + texts.clone().count() + argument.key_spec.is_some() as usize + (flags != 0) as usize;
    out.map(fields);
    write_text(out, "name", &argument.name);
    write_text(out, "type", argument.kind.name());
    if let Some(display) = display {
        write_text(out, "display_text", display);
    }
    if let Some(spec) = argument.key_spec {
        out.bulk(b"key_spec_index");
        out.integer(spec as i64);
    }
    texts.for_each(|(name, text)| write_text(out, name, text));
    if flags != 0 {
        out.bulk(b"flags");
        write_names(out, flags, &[(1, "optional"), (2, "multiple"), (4, "multiple_token")], "");
    }
    if is_group {
        out.bulk(b"arguments");
        write_arguments(&argument.arguments, out);
    }
}
