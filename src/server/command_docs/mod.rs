//! What COMMAND DOCS and COMMAND INFO say of commands beside their rows.
//!
//! ```text
//!   arguments.txt ──► Documented: name -> text ──► notation::parse, when somebody asks
//! ```
//! The arguments of all 390 commands are one text of 17 KiB in a notation of its own: read when COMMAND
//! DOCS is asked for, so that it takes no memory of the process otherwise, and readable as it stands. It
//! lists every command of Redis 7.2, those that Tine lacks too: their names are known, which is what
//! ACL rules go by. To add a command: a line in `arguments.txt`; a test looks for it.

mod notation;

pub use notation::{Argument, Kind};

use std::collections::BTreeMap;

const TEXT: &str = include_str!("arguments.txt");

/// The arguments of all commands, by their full names (`config|get`).
pub struct Documented {
    lines: BTreeMap<&'static str, &'static str>,
}

impl Default for Documented {
    fn default() -> Self {
        Documented::new()
    }
}

impl Documented {
    /// Finds the commands in the text. O(its length), about 50 us.
    pub fn new() -> Documented {
        Documented { lines: entries().collect() }
    }

    /// The arguments of a command; none when it is not listed.
    pub fn arguments(&self, full_name: &str) -> Vec<Argument<'static>> {
        let text = self.lines.get(full_name).copied().unwrap_or_default();
        notation::parse(text).expect("a test reads the whole text")
    }
}

/// Name and arguments of each command.
fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut rest = TEXT;
    std::iter::from_fn(move || {
        loop {
            let line = rest.lines().next()?;
            if !line.is_empty() && !line.starts_with('#') {
                break;
            }
            rest = rest.get(line.len() + 1..)?;
        }
        let end = end_of_entry(rest);
        let (entry, after) = rest.split_at(end);
        rest = after;
        let name_end = entry.find(char::is_whitespace).unwrap_or(entry.len());
        Some((&entry[..name_end], entry[name_end..].trim()))
    })
}

/// Where the first line that is not indented begins, after the first one.
fn end_of_entry(text: &str) -> usize {
    let ends = text.match_indices('\n').map(|(index, _)| index + 1);
    ends.into_iter().find(|index| !text[*index..].starts_with(' ')).unwrap_or(text.len())
}

/// Whether Redis 7.2 or Tine has a command or subcommand of this name (`script|load`), in any case.
/// O(length of the text).
pub fn is_known(full_name: &[u8]) -> bool {
    entries().any(|(name, _)| name.as_bytes().eq_ignore_ascii_case(full_name))
}

/// Whether a command of Redis 7.2 or Tine has subcommands. O(length of the text).
pub fn has_subcommands(name: &[u8]) -> bool {
    entries().any(|(full_name, _)| {
        full_name.split_once('|').is_some_and(|(parent, _)| parent.as_bytes().eq_ignore_ascii_case(name))
    })
}

/// What is said of a command that should be used no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deprecation {
    pub since: &'static str,
    pub replaced_by: &'static str,
}

/// Command, since when, what to use.
const DEPRECATIONS: &[(&str, &str, &str)] = &[
    ("brpoplpush", "6.2.0", "`BLMOVE` with `RIGHT` and `LEFT`"),
    ("cluster|slaves", "5.0.0", "`CLUSTER REPLICAS`"),
    ("cluster|slots", "7.0.0", "`CLUSTER SHARDS`"),
    ("georadius", "6.2.0", "`GEOSEARCH` or `GEOSEARCHSTORE` with `BYRADIUS`"),
    ("georadius_ro", "6.2.0", "`GEOSEARCH` with `BYRADIUS`"),
    ("georadiusbymember", "6.2.0", "`GEOSEARCH` or `GEOSEARCHSTORE` with `FROMMEMBER` and `BYRADIUS`"),
    ("georadiusbymember_ro", "6.2.0", "`GEOSEARCH` with `FROMMEMBER` and `BYRADIUS`"),
    ("getset", "6.2.0", "`SET` with `GET`"),
    ("hmset", "4.0.0", "`HSET` with several fields"),
    ("psetex", "2.6.12", "`SET` with `PX`"),
    ("quit", "7.2.0", "closing the connection"),
    ("rpoplpush", "6.2.0", "`LMOVE` with `RIGHT` and `LEFT`"),
    ("setex", "2.6.12", "`SET` with `EX`"),
    ("setnx", "2.6.12", "`SET` with `NX`"),
    ("slaveof", "5.0.0", "`REPLICAOF`"),
    ("substr", "2.0.0", "`GETRANGE`"),
    ("zrangebylex", "6.2.0", "`ZRANGE` with `BYLEX`"),
    ("zrangebyscore", "6.2.0", "`ZRANGE` with `BYSCORE`"),
    ("zrevrange", "6.2.0", "`ZRANGE` with `REV`"),
    ("zrevrangebylex", "6.2.0", "`ZRANGE` with `REV` and `BYLEX`"),
    ("zrevrangebyscore", "6.2.0", "`ZRANGE` with `REV` and `BYSCORE`"),
];

/// Commands for the server's own use and its tests.
const SYSTEM_COMMANDS: &[&str] = &["debug", "pfdebug", "pfselftest", "replconf", "restore-asking"];

/// Command, number of the key spec, why its flags are as they are.
const KEY_NOTES: &[(&str, usize, &str)] = &[
    ("bitfield", 0, "Reads and changes the key, as its operations say"),
    ("eval", 0, "Nothing is known of what a script does: the worst is assumed, RW and UPDATE"),
    ("eval_ro", 0, "Nothing is known of what a script reads: the worst is assumed, RO and ACCESS"),
    ("evalsha", 0, "Nothing is known of what a script does: the worst is assumed, RW and UPDATE"),
    ("evalsha_ro", 0, "Nothing is known of what a script reads: the worst is assumed, RO and ACCESS"),
    ("fcall", 0, "Nothing is known of what a function does: the worst is assumed, RW and UPDATE"),
    ("fcall_ro", 0, "Nothing is known of what a function reads: the worst is assumed, RO and ACCESS"),
    ("getex", 0, "RW and UPDATE, since the expiry is changed"),
    ("pfcount", 0, "RW, since the count is kept in the key, which replicas are told"),
    ("set", 0, "RW and ACCESS, since `GET` may be given"),
    ("sort", 1, "Keys of BY and GET: their names are made of what is sorted"),
    ("sort", 2, "The key of STORE, which may stand anywhere behind the first"),
    ("sort_ro", 1, "Keys of BY and GET: their names are made of what is sorted"),
    ("xadd", 0, "UPDATE, not INSERT, since the stream may be trimmed"),
];

/// Whether and for what this command should be given up.
pub fn deprecation(full_name: &str) -> Option<Deprecation> {
    let (_, since, replaced_by) = DEPRECATIONS.iter().find(|(name, ..)| *name == full_name)?;
    Some(Deprecation { since, replaced_by })
}

pub fn is_system_command(full_name: &str) -> bool {
    SYSTEM_COMMANDS.contains(&full_name)
}

/// The note on a key spec of a command.
pub fn key_note(full_name: &str, spec: usize) -> Option<&'static str> {
    let found = KEY_NOTES.iter().find(|(name, number, _)| *name == full_name && *number == spec)?;
    Some(found.2)
}

#[cfg(test)]
mod tests {
    use super::{DEPRECATIONS, KEY_NOTES, SYSTEM_COMMANDS, TEXT, entries, is_known, notation};
    use std::collections::BTreeSet;

    #[test]
    fn every_line_is_in_the_notation_and_no_command_twice() {
        let mut seen = BTreeSet::new();
        for (name, text) in entries() {
            assert!(notation::parse(text).is_some(), "{name}: {text}");
            assert!(seen.insert(name), "{name} stands twice");
        }
        let lines = TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', ' ']));
        assert_eq!(seen.len(), lines.count());
        assert!(seen.len() > 380);
    }

    #[test]
    fn names_of_commands_that_are_missing_are_known() {
        for name in ["eval", "SCRIPT|Load", "cluster|help", "get", "config|get"] {
            assert!(is_known(name.as_bytes()), "{name}");
        }
        for name in ["", "evil", "script|", "#", "eval script"] {
            assert!(!is_known(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_is_said_besides_is_of_known_commands() {
        let named = DEPRECATIONS.iter().map(|row| row.0).chain(SYSTEM_COMMANDS.iter().copied());
        for name in named.chain(KEY_NOTES.iter().map(|row| row.0)) {
            assert!(is_known(name.as_bytes()), "{name}");
        }
    }
}
