//! INFO: the sections and fields of Redis 7.2, in its order.
//!
//! A section is a function that writes lines. A field whose feature does not exist here has its
//! neutral value, since monitoring programs read it. To add a field: one line in its section.

mod commands;
mod data;
mod fork;
mod load;
mod machine;
mod replication;

use crate::resp::Args;
use crate::server::error::CommandResult;
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx, Server};
use std::fmt::{Display, Write};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "info",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    arity: -1,
    flags: flag::LOADING | flag::STALE,
    categories: category::DANGEROUS,
    group: Group::Server,
    summary: "Shows figures about the server, by section.",
    handler: info,
    ..CommandSpec::DEFAULT
}];

/// The text being made.
pub(super) struct InfoText {
    text: String,
}

impl InfoText {
    fn heading(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\r\n");
        }
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# {title}\r\n");
    }

    /// One line `name:value`.
    pub fn field(&mut self, name: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    /// Lines whose value is 0: features that are not there.
    pub fn zeros(&mut self, names: &[&str]) {
        for name in names {
            self.field(name, 0);
        }
    }

    /// A count and, under `name_human`, the same with a unit.
    pub fn bytes(&mut self, name: &str, bytes: usize) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human_bytes(bytes as u64));
    }

    /// With two decimals.
    pub fn ratio(&mut self, name: &str, value: f64) {
        self.field(name, format_args!("{value:.2}"));
    }
}

/// A section: names that ask for it, heading, whether a plain INFO shows it, its writer.
struct Section {
    names: &'static [&'static str],
    heading: &'static str,
    by_default: bool,
    write: fn(&Server, &mut InfoText),
}

const fn section(
    names: &'static [&'static str],
    heading: &'static str,
    by_default: bool,
    write: fn(&Server, &mut InfoText),
) -> Section {
    Section { names, heading, by_default, write }
}

const SECTIONS: &[Section] = &[
    section(&["server"], "Server", true, machine::server),
    section(&["clients"], "Clients", true, load::clients),
    section(&["memory"], "Memory", true, machine::memory),
    section(&["persistence"], "Persistence", true, data::persistence),
    section(&["stats"], "Stats", true, load::stats),
    section(&["replication"], "Replication", true, replication::replication),
    section(&["cpu"], "CPU", true, machine::cpu),
    section(&["module_list", "modules"], "Modules", true, no_fields),
    section(&["commandstats"], "Commandstats", false, commands::calls),
    section(&["errorstats"], "Errorstats", true, commands::errors),
    section(&["latencystats"], "Latencystats", false, commands::latencies),
    section(&["cluster"], "Cluster", true, data::cluster),
    section(&["keyspace"], "Keyspace", true, data::keyspace),
    section(&["fork"], "Fork", true, fork::fork),
    section(&[HIDDEN], "Debug", false, load::debug),
];

/// The section that not even `everything` shows.
const HIDDEN: &str = "debug";

fn no_fields(_: &Server, _: &mut InfoText) {}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let names: Vec<&[u8]> = args.tail(1).iter().collect();
    let text = info_text(ctx.server, &names);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The text of INFO for these section names; none: the default ones. O(sections asked for).
pub fn info_text(server: &Server, names: &[&[u8]]) -> String {
    let mut info = InfoText { text: String::new() };
    for section in SECTIONS {
        if is_wanted(section, names) {
            info.heading(section.heading);
            (section.write)(server, &mut info);
        }
    }
    info.text
}

fn is_wanted(section: &Section, names: &[&[u8]]) -> bool {
    if names.is_empty() {
        return section.by_default;
    }
    names.iter().any(|name| match name.to_ascii_lowercase().as_slice() {
        b"default" => section.by_default,
        b"all" | b"everything" => !section.names.contains(&HIDDEN),
        name => section.names.iter().any(|own| own.as_bytes() == name),
    })
}

/// As Redis prints it: `512B`, `1.50K`, `2.00M`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

/// `yes` as INFO writes it.
pub(super) fn flag_of(yes: bool) -> u8 {
    yes as u8
}

#[cfg(test)]
mod tests {
    use super::human_bytes;

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in
            [(0, "0B"), (1023, "1023B"), (1536, "1.50K"), (5 << 20, "5.00M"), (1 << 40, "1.00T")]
        {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
