//! The layer law: which room a file belongs to, which rooms it names, and whether it may.

use crate::rules::Finding;
use crate::scan::{Source, closing};

/// The rooms from the ground up. To add a room, add its row here (and to ARCHITECTURE.md).
pub const FLOORS: &[(&str, u32)] = &[
    ("base", 1),
    ("sys", 1),
    ("ds", 2),
    ("resp", 2),
    ("value", 3),
    ("keyspace", 4),
    ("persist", 5),
    ("cow", 5),
    ("server", 6),
    ("dispatch", 7),
    ("replay", 8),
    ("replication", 8),
    ("blocking", 8),
    ("script", 8),
    ("command", 9),
    ("net", 10),
    ("cron", 10),
    ("boot", 11),
    ("main", 11),
    ("tools", 11),
    ("bin", 11),
    // The crate root only declares modules.
    ("lib", 12),
];

/// Neighbours on one floor of which the first may use the second.
pub const NEIGHBOURS: &[(&str, &str)] = &[
    ("sys", "base"),
    ("cow", "persist"),
    ("net", "cron"),
    ("bin", "boot"),
    ("bin", "tools"),
    ("main", "boot"),
    ("tools", "boot"),
];

/// The name of the crate as programs under src/bin write it.
const CRATE_NAME: &str = "tine";

fn floor(room: &str) -> Option<u32> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// The module path of a file under src/: `src/value/zset.rs` is `[value, zset]`, `src/lib.rs` is `[]`.
pub fn module_path(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// The room of a file under src/.
pub fn room(path: &str) -> String {
    module_path(path).first().cloned().unwrap_or_else(|| "lib".to_owned())
}

/// True if a file of `from` may name `to`.
pub fn may_use(from: &str, to: &str) -> bool {
    let (Some(from_floor), Some(to_floor)) = (floor(from), floor(to)) else {
        return false;
    };
    from == to || to_floor < from_floor || NEIGHBOURS.contains(&(from, to))
}

/// Findings of one file: rooms that it names and may not, and ways around the law.
pub fn check(source: &Source) -> Vec<Finding> {
    let own = room(&source.path);
    if floor(&own).is_none() {
        return vec![Finding::new(&source.path, 0, format!("room `{own}` is not in the floor table"))];
    }
    let mut findings = Vec::new();
    for (line, named) in named_rooms(source) {
        let problem = match named {
            Named::Room(to) if floor(&to).is_none() => {
                format!("`crate::{to}` is no room: what lies at the crate root has no floor")
            }
            Named::Room(to) if !may_use(&own, &to) => format!("`{own}` must not use `{to}` (layer order)"),
            Named::Room(_) => continue,
            Named::RootAlias => "gives the crate root another name".to_owned(),
        };
        findings.push(Finding::new(&source.path, line, problem));
    }
    findings
}

/// What a path that reaches the crate root names there.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    Room(String),
    /// `crate as other`: would hide every later path from this check.
    RootAlias,
}

/// Every path of the file that starts at the crate root or climbs to it, with its line (zero-based).
pub fn named_rooms(source: &Source) -> Vec<(usize, Named)> {
    let mut walk = Walk { source, found: Vec::new() };
    let file_module = module_path(&source.path);
    // Inline modules that are open: the token that closes each, and its name.
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut index = 0;
    while index < source.tokens.len() {
        open.retain(|(end, _)| index <= *end);
        if source.text(index) == "mod" && source.text(index + 2) == "{" {
            open.push((closing(&source.tokens, index + 2), source.text(index + 1).to_owned()));
        }
        let starts_path = index == 0 || source.text(index - 1) != "::" || source.text(index - 1) == "$";
        let program = source.path.starts_with("src/bin/");
        let here = || -> Vec<String> {
            let inline = open.iter().map(|(_, name)| name.clone());
            file_module.iter().cloned().chain(inline).collect()
        };
        index = match source.text(index) {
            "crate" if starts_path => walk.path(index, Vec::new()),
            "super" | "self" if starts_path => walk.path(index, here()),
            CRATE_NAME if program && starts_path && source.text(index + 1) == "::" => {
                walk.path(index, Vec::new())
            }
            _ => index + 1,
        };
    }
    walk.found
}

struct Walk<'a> {
    source: &'a Source,
    found: Vec<(usize, Named)>,
}

impl Walk<'_> {
    /// Follows the path whose first word is at `index`, seen from module `here`; returns the index behind it.
    fn path(&mut self, mut index: usize, mut here: Vec<String>) -> usize {
        let start = index;
        loop {
            match self.source.text(index) {
                "super" => {
                    here.pop();
                }
                "crate" => here.clear(),
                "self" => {}
                word if index == start && word == CRATE_NAME => here.clear(),
                _ => return self.leave(index, &here),
            }
            if self.source.text(index + 1) != "::" {
                return self.root_alone(index, &here);
            }
            index += 2;
        }
    }

    /// The path goes on downwards from `here` with the token at `index`.
    fn leave(&mut self, index: usize, here: &[String]) -> usize {
        if self.source.text(index) == "{" {
            return self.group(index, here);
        }
        let line = self.source.tokens.get(index).map_or(0, |token| token.line);
        let is_macro = self.source.text(index + 1) == "!";
        if let Some(own) = here.first() {
            self.found.push((line, Named::Room(own.clone())));
        } else if !is_macro && self.source.text(index) != "*" {
            self.found.push((line, Named::Room(self.source.text(index).to_owned())));
        }
        index + 1
    }

    /// A braced group: each member continues the path.
    fn group(&mut self, open: usize, here: &[String]) -> usize {
        let end = closing(&self.source.tokens, open);
        let mut index = open + 1;
        while index < end {
            index = self.path(index, here.to_vec());
            // Skip the rest of this member, nested groups included, up to the next comma.
            while index < end && self.source.text(index) != "," {
                index = match self.source.text(index) {
                    "{" => closing(&self.source.tokens, index) + 1,
                    _ => index + 1,
                };
            }
            index += 1;
        }
        end + 1
    }

    /// `crate`, `self` or `super` with nothing behind it.
    fn root_alone(&mut self, index: usize, here: &[String]) -> usize {
        if here.is_empty() && self.source.text(index + 1) == "as" {
            self.found.push((self.source.tokens[index].line, Named::RootAlias));
        }
        index + 1
    }
}
