//! The command table's row, and the table.
//!
//! Rows stand beside their handlers (`command/*`); `boot` collects them. COMMAND, ACL, key
//! extraction and help are answered from the row; special treatment is a flag here, never a name
//! compared elsewhere. To add a command: a handler, its row in the family's `ROWS`.

use crate::resp::Args;
use crate::server::acl::COMMANDS_MAX;
use crate::server::ctx::Ctx;
use crate::server::error::CommandResult;
use crate::server::key_extraction::KeyAt;

/// Runs a command: writes its reply, or returns the error to send.
pub type Handler = fn(&mut Ctx<'_>, Args<'_>) -> CommandResult;

/// Command flags, as COMMAND INFO shows them.
pub mod flag {
    pub const WRITE: u32 = 1 << 0;
    pub const READONLY: u32 = 1 << 1;
    /// Refused when memory is short.
    pub const DENYOOM: u32 = 1 << 2;
    pub const ADMIN: u32 = 1 << 3;
    pub const PUBSUB: u32 = 1 << 4;
    pub const NOSCRIPT: u32 = 1 << 5;
    pub const BLOCKING: u32 = 1 << 6;
    /// Allowed while a data set is loaded.
    pub const LOADING: u32 = 1 << 7;
    /// Allowed on a replica whose link is down.
    pub const STALE: u32 = 1 << 8;
    pub const SKIP_MONITOR: u32 = 1 << 9;
    pub const SKIP_SLOWLOG: u32 = 1 << 10;
    pub const ASKING: u32 = 1 << 11;
    pub const FAST: u32 = 1 << 12;
    /// Allowed before AUTH.
    pub const NO_AUTH: u32 = 1 << 13;
    pub const MAY_REPLICATE: u32 = 1 << 14;
    pub const NO_ASYNC_LOADING: u32 = 1 << 15;
    pub const NO_MULTI: u32 = 1 << 16;
    /// Allowed while a script or a long command runs.
    pub const ALLOW_BUSY: u32 = 1 << 17;
    pub const MOVABLEKEYS: u32 = 1 << 18;
    /// Runs at once inside MULTI instead of being queued.
    pub const TRANSACTION_CONTROL: u32 = 1 << 19;
    /// Needs `enable-debug-command`.
    pub const PROTECTED_DEBUG: u32 = 1 << 20;
    pub const TOUCHES_ARBITRARY_KEYS: u32 = 1 << 21;
    /// Allowed for a RESP2 client in subscribe mode.
    pub const SUBSCRIBE_MODE: u32 = 1 << 22;
    /// Answers MISCONF as writes do, so that a monitor sees it (PING).
    pub const REPORTS_DISK: u32 = 1 << 23;
    /// Runs what MULTI has queued: checked as all of it together (EXEC).
    pub const RUNS_QUEUE: u32 = 1 << 24;
    /// CLIENT CACHING still holds for the command behind this one (CLIENT).
    pub const KEEPS_CACHING: u32 = 1 << 26;

    /// Names in COMMAND INFO's order. Flags that are ours alone have none, nor have those that Redis
    /// keeps to itself.
    pub const NAMES: &[(u32, &str)] = &[
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENYOOM, "denyoom"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NOSCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (SKIP_MONITOR, "skip_monitor"),
        (SKIP_SLOWLOG, "skip_slowlog"),
        (ASKING, "asking"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (NO_ASYNC_LOADING, "no_async_loading"),
        (NO_MULTI, "no_multi"),
        (ALLOW_BUSY, "allow_busy"),
        (MOVABLEKEYS, "movablekeys"),
    ];
}

/// ACL categories a row names besides those that follow from its flags.
pub mod category {
    pub const KEYSPACE: u32 = 1 << 0;
    pub const READ: u32 = 1 << 1;
    pub const WRITE: u32 = 1 << 2;
    pub const SET: u32 = 1 << 3;
    pub const SORTEDSET: u32 = 1 << 4;
    pub const LIST: u32 = 1 << 5;
    pub const HASH: u32 = 1 << 6;
    pub const STRING: u32 = 1 << 7;
    pub const BITMAP: u32 = 1 << 8;
    pub const HYPERLOGLOG: u32 = 1 << 9;
    pub const GEO: u32 = 1 << 10;
    pub const STREAM: u32 = 1 << 11;
    pub const PUBSUB: u32 = 1 << 12;
    pub const ADMIN: u32 = 1 << 13;
    pub const FAST: u32 = 1 << 14;
    pub const SLOW: u32 = 1 << 15;
    pub const BLOCKING: u32 = 1 << 16;
    pub const DANGEROUS: u32 = 1 << 17;
    pub const CONNECTION: u32 = 1 << 18;
    pub const TRANSACTION: u32 = 1 << 19;
    pub const SCRIPTING: u32 = 1 << 20;

    pub const NAMES: &[(u32, &str)] = &[
        (KEYSPACE, "keyspace"),
        (READ, "read"),
        (WRITE, "write"),
        (SET, "set"),
        (SORTEDSET, "sortedset"),
        (LIST, "list"),
        (HASH, "hash"),
        (STRING, "string"),
        (BITMAP, "bitmap"),
        (HYPERLOGLOG, "hyperloglog"),
        (GEO, "geo"),
        (STREAM, "stream"),
        (PUBSUB, "pubsub"),
        (ADMIN, "admin"),
        (FAST, "fast"),
        (SLOW, "slow"),
        (BLOCKING, "blocking"),
        (DANGEROUS, "dangerous"),
        (CONNECTION, "connection"),
        (TRANSACTION, "transaction"),
        (SCRIPTING, "scripting"),
    ];

    /// The category of this name, in any case.
    pub fn by_name(name: &[u8]) -> Option<u32> {
        let found = NAMES.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
        found.map(|(category, _)| *category)
    }
}

/// What a command does with the keys of one key spec (COMMAND's `key-specs` flags).
pub mod key_flag {
    pub const RO: u32 = 1 << 0;
    pub const RW: u32 = 1 << 1;
    pub const OW: u32 = 1 << 2;
    pub const RM: u32 = 1 << 3;
    pub const ACCESS: u32 = 1 << 4;
    pub const UPDATE: u32 = 1 << 5;
    pub const INSERT: u32 = 1 << 6;
    pub const DELETE: u32 = 1 << 7;
    pub const NOT_KEY: u32 = 1 << 8;
    pub const INCOMPLETE: u32 = 1 << 9;
    pub const VARIABLE_FLAGS: u32 = 1 << 10;

    pub const NAMES: &[(u32, &str)] = &[
        (RO, "RO"),
        (RW, "RW"),
        (OW, "OW"),
        (RM, "RM"),
        (ACCESS, "access"),
        (UPDATE, "update"),
        (INSERT, "insert"),
        (DELETE, "delete"),
        (NOT_KEY, "not_key"),
        (INCOMPLETE, "incomplete"),
        (VARIABLE_FLAGS, "variable_flags"),
    ];
}

/// Where the search for keys begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginSearch {
    Index(usize),
    /// After this word, looked for from the index on (from the end when negative).
    Keyword(&'static str, i32),
    Unknown,
}

/// How keys are found from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindKeys {
    /// Up to `last` (relative; negative: from the end), every `step`; `limit` as in COMMAND DOCS.
    Range {
        last: i32,
        step: i32,
        limit: i32,
    },
    /// A count stands at `count_index`, keys begin at `first`, every `step` (all relative).
    Count {
        count_index: usize,
        first: usize,
        step: usize,
    },
    Unknown,
}

/// One group of key arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    pub begin: BeginSearch,
    pub find: FindKeys,
    pub flags: u32,
}

impl KeySpec {
    /// One key at `index`.
    pub const fn one(index: usize, flags: u32) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from `index` to the end.
    pub const fn rest(index: usize, flags: u32) -> KeySpec {
        KeySpec::range(index, -1, 1, flags)
    }

    /// Keys that follow their number, which stands at `index`.
    pub const fn counted(index: usize, flags: u32) -> KeySpec {
        let find = FindKeys::Count { count_index: 0, first: 1, step: 1 };
        KeySpec { begin: BeginSearch::Index(index), find, flags }
    }

    pub const fn range(index: usize, last: i32, step: i32, flags: u32) -> KeySpec {
        KeySpec { begin: BeginSearch::Index(index), find: FindKeys::Range { last, step, limit: 0 }, flags }
    }
}

/// Which arguments name channels that are listened to or published to (ACL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelArguments {
    None,
    /// The first one.
    First,
    All,
    /// All, and they are patterns.
    AllPatterns,
}

/// The group under which COMMAND DOCS lists a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    PubSub,
    Transactions,
    Connection,
    Server,
    Scripting,
    HyperLogLog,
    Cluster,
    Geo,
    Stream,
    Bitmap,
}

impl Group {
    pub const fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::HyperLogLog => "hyperloglog",
            Group::Cluster => "cluster",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
        }
    }
}

/// One command or subcommand.
#[derive(Clone, Copy)]
pub struct CommandSpec {
    /// Lower case; a subcommand has its own name only (`get` of `config`).
    pub name: &'static str,
    /// Exact count of arguments, name included; negative: at least that many. For a subcommand
    /// the parent's name counts too.
    pub arity: i32,
    pub flags: u32,
    /// Categories beyond those that follow from the flags.
    pub categories: u32,
    pub keys: &'static [KeySpec],
    /// What the keys of a request are used for, where that depends on the arguments
    /// ([`key_flag::VARIABLE_FLAGS`]).
    pub key_flags: Option<fn(Args<'_>) -> u32>,
    /// All keys, where a spec is reached that cannot say it (SORT's STORE, MIGRATE's KEYS).
    pub own_keys: Option<fn(Args<'_>) -> Vec<KeyAt>>,
    pub channels: ChannelArguments,
    /// Where the argument stands that names an element of the collection at the first key; 0 for
    /// none. Requests that come together look such elements up side by side.
    pub element: usize,
    pub group: Group,
    pub since: &'static str,
    pub complexity: &'static str,
    pub summary: &'static str,
    /// Hints for clients and proxies (COMMAND INFO's tips).
    pub tips: &'static [&'static str],
    pub handler: Handler,
    pub subcommands: &'static [CommandSpec],
}

impl CommandSpec {
    /// What a row leaves out.
    pub const DEFAULT: CommandSpec = CommandSpec {
        name: "",
        arity: 1,
        flags: 0,
        categories: 0,
        keys: &[],
        key_flags: None,
        own_keys: None,
        channels: ChannelArguments::None,
        element: 0,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "",
        tips: &[],
        handler: no_handler,
        subcommands: &[],
    };

    /// The beginning of a row of the group `server`: what each of them names.
    pub const fn server_row(
        name: &'static str,
        arity: i32,
        summary: &'static str,
        handler: Handler,
    ) -> CommandSpec {
        CommandSpec { name, arity, summary, handler, group: Group::Server, ..CommandSpec::DEFAULT }
    }

    #[inline]
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    pub fn arity_fits(&self, count: usize) -> bool {
        let count = count as i64;
        if self.arity >= 0 { count == self.arity as i64 } else { count >= -(self.arity as i64) }
    }

    /// All categories: the row's and those that follow from its flags, as in Redis.
    pub fn all_categories(&self) -> u32 {
        let mut all = self.categories;
        let implied = [
            (flag::WRITE, category::WRITE),
            (flag::READONLY, if self.categories & category::SCRIPTING == 0 { category::READ } else { 0 }),
            (flag::ADMIN, category::ADMIN | category::DANGEROUS),
            (flag::PUBSUB, category::PUBSUB),
            (flag::FAST, category::FAST),
            (flag::BLOCKING, category::BLOCKING),
        ];
        for (bit, categories) in implied {
            if self.has(bit) {
                all |= categories;
            }
        }
        if all & category::FAST == 0 {
            all |= category::SLOW;
        }
        all
    }
}

fn no_handler(_: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    Err(crate::server::error::SYNTAX)
}

/// A command found: its row, its number for statistics, its parent when it is a subcommand.
#[derive(Clone, Copy)]
pub struct Found {
    pub spec: &'static CommandSpec,
    pub id: u16,
    pub parent: Option<&'static CommandSpec>,
}

impl Found {
    /// `config|get`, or `get`.
    pub fn full_name(&self) -> String {
        match self.parent {
            Some(parent) => format!("{}|{}", parent.name, self.spec.name),
            None => self.spec.name.to_string(),
        }
    }

    /// The first key of a request of this command, when it stands at a fixed place.
    #[inline]
    pub fn first_key<'a>(&self, args: Args<'a>) -> Option<&'a [u8]> {
        match self.spec.keys.first()?.begin {
            BeginSearch::Index(index) => args.get(index),
            _ => None,
        }
    }
}

/// Longest command name; longer ones cannot match.
const NAME_MAX: usize = 24;

type FoldedName = [u64; 3];

struct Slot {
    name: FoldedName,
    id: u16,
}

/// All commands, found by their folded names in an open-addressing table built at boot.
pub struct CommandTable {
    slots: Box<[Option<Slot>]>,
    mask: usize,
    found: Vec<Found>,
    /// Names as given to `rename-command` take the place of the row's.
    names: Vec<String>,
    /// First id of each command's subcommands, 0 when it has none.
    first_child: Vec<u16>,
    has_renamed: bool,
}

impl CommandTable {
    /// Builds the table from the families' rows.
    ///
    /// # Panics
    /// When two rows have one name, a name is too long or there are too many: a mistake in the rows.
    pub fn new(families: &[&'static [CommandSpec]]) -> Self {
        let rows = || families.iter().flat_map(|family| family.iter());
        let size = (rows().count() * 4).next_power_of_two();
        let mut table = CommandTable {
            slots: (0..size).map(|_| None).collect(),
            mask: size - 1,
            found: Vec::new(),
            names: Vec::new(),
            first_child: Vec::new(),
            has_renamed: false,
        };
        for spec in rows() {
            let id = table.add(spec, None);
            table.insert_name(spec.name.as_bytes(), id);
        }
        let top_level = table.found.len();
        for id in 0..top_level {
            let parent = table.found[id].spec;
            for (index, spec) in parent.subcommands.iter().enumerate() {
                let child = table.add(spec, Some(parent));
                if index == 0 {
                    table.first_child[id] = child;
                }
            }
        }
        assert!(table.found.len() <= COMMANDS_MAX, "a selector of an ACL user has a bit for each command");
        table
    }

    fn add(&mut self, spec: &'static CommandSpec, parent: Option<&'static CommandSpec>) -> u16 {
        let id = self.found.len() as u16;
        self.found.push(Found { spec, id, parent });
        self.names.push(spec.name.to_string());
        self.first_child.push(0);
        id
    }

    fn insert_name(&mut self, name: &[u8], id: u16) {
        let folded = fold(name).expect("command names are at most 24 bytes");
        let mut index = slot_hash(&folded) & self.mask;
        while let Some(slot) = &self.slots[index] {
            assert!(slot.name != folded, "two rows named {}", String::from_utf8_lossy(name));
            index = (index + 1) & self.mask;
        }
        self.slots[index] = Some(Slot { name: folded, id });
    }

    /// `rename-command old new`; an empty new name disables the command. False when the old name
    /// is unknown or the new one taken.
    pub fn rename(&mut self, old: &[u8], new: &[u8]) -> bool {
        let Some(found) = self.find(old) else { return false };
        if !new.is_empty() && (new.len() > NAME_MAX || self.find(new).is_some()) {
            return false;
        }
        let mut kept: Vec<(Vec<u8>, u16)> = Vec::new();
        for slot in self.slots.iter_mut().filter_map(Option::take) {
            if slot.id != found.id {
                kept.push((unfold(&slot.name), slot.id));
            }
        }
        if !new.is_empty() {
            kept.push((new.to_vec(), found.id));
        }
        for (name, id) in kept {
            self.insert_name(&name, id);
        }
        self.has_renamed = true;
        true
    }

    /// The command or subcommand (`config|get`) of this name in the rows, whatever
    /// `rename-command` made of it: rules of users stay what they are. O(commands) after a renaming.
    pub fn find_original(&self, full_name: &[u8]) -> Option<Found> {
        let mut parts = full_name.split(|byte| *byte == b'|');
        let name = parts.next().unwrap_or_default();
        let is_it =
            |found: &&Found| found.parent.is_none() && found.spec.name.as_bytes().eq_ignore_ascii_case(name);
        let found = if self.has_renamed { self.found.iter().find(is_it).copied() } else { self.find(name) };
        match (found, parts.next(), parts.next()) {
            (found, None, _) => found,
            (Some(parent), Some(part), None) => self.find_subcommand(parent, part),
            _ => None,
        }
    }

    /// The subcommands of a command.
    pub fn children(&self, parent: Found) -> &[Found] {
        let first = self.first_child[parent.id as usize] as usize;
        &self.found[first..first + parent.spec.subcommands.len()]
    }

    /// The top-level command of this name, in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<Found> {
        let folded = fold(name)?;
        let mut index = slot_hash(&folded) & self.mask;
        while let Some(slot) = &self.slots[index] {
            if slot.name == folded {
                return Some(self.found[slot.id as usize]);
            }
            index = (index + 1) & self.mask;
        }
        None
    }

    /// The subcommand of `parent` with this name, in any case.
    pub fn find_subcommand(&self, parent: Found, name: &[u8]) -> Option<Found> {
        let index = parent
            .spec
            .subcommands
            .iter()
            .position(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))?;
        Some(self.found[self.first_child[parent.id as usize] as usize + index])
    }

    /// All commands and subcommands, by id.
    pub fn all(&self) -> &[Found] {
        &self.found
    }

    /// Top-level commands that can be called.
    pub fn top_level(&self) -> impl Iterator<Item = Found> {
        let mut ids: Vec<u16> = self.slots.iter().flatten().map(|slot| slot.id).collect();
        ids.sort_unstable();
        ids.into_iter().map(|id| self.found[id as usize])
    }
}

/// Lower-cases a name into three words; `None` when it is too long to be a command.
#[inline]
fn fold(name: &[u8]) -> Option<FoldedName> {
    if name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    if name.len() <= 8 {
        return Some([fold_word(padded_word(name)), 0, 0]);
    }
    let (first, rest) = name.split_at(8);
    let (second, third) = rest.split_at(rest.len().min(8));
    Some([first, second, third].map(|part| fold_word(padded_word(part))))
}

/// At most eight bytes as a word, zero-padded: two overlapping reads instead of a copy.
#[inline]
fn padded_word(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let Some(whole) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*whole);
    }
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let shift = 8 * (len - 4);
        return u32::from_le_bytes(*low) as u64 | (u32::from_le_bytes(*high) as u64) << shift;
    }
    let byte = |index: usize| (bytes[index] as u64) << (8 * index);
    if len == 0 { 0 } else { byte(0) | byte(len / 2) | byte(len - 1) }
}

/// Lower-cases eight ASCII bytes at once; bytes above 127 stay.
#[inline]
fn fold_word(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low7 = word & (ONES * 0x7f);
    let from_a = low7 + ONES * (0x80 - b'A' as u64);
    let past_z = low7 + ONES * (0x80 - b'Z' as u64 - 1);
    let upper = (from_a & !past_z & !word) & (ONES * 0x80);
    word | (upper >> 2)
}

fn unfold(name: &FoldedName) -> Vec<u8> {
    name.iter().flat_map(|word| word.to_le_bytes()).take_while(|byte| *byte != 0).collect()
}

#[inline]
fn slot_hash(name: &FoldedName) -> usize {
    let mixed =
        (name[0] ^ name[1].rotate_left(23) ^ name[2].rotate_left(41)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::{CommandSpec, CommandTable, fold, padded_word};

    static ROWS: &[CommandSpec] = &[
        CommandSpec { name: "get", arity: 2, ..CommandSpec::DEFAULT },
        CommandSpec {
            name: "config",
            arity: -2,
            subcommands: &[
                CommandSpec { name: "get", arity: -3, ..CommandSpec::DEFAULT },
                CommandSpec { name: "set", arity: -4, ..CommandSpec::DEFAULT },
            ],
            ..CommandSpec::DEFAULT
        },
    ];

    #[test]
    fn names_are_found_in_any_case() {
        let table = CommandTable::new(&[ROWS]);
        assert_eq!(table.find(b"GeT").map(|found| found.spec.arity), Some(2));
        let config = table.find(b"CONFIG").expect("it is in the rows");
        assert_eq!(
            table.find_subcommand(config, b"SET").map(|found| found.full_name()),
            Some("config|set".into())
        );
        assert!(table.find(b"ge").is_none());
        assert!(table.find(&[b'x'; 40]).is_none());
        assert!(table.find(b"").is_none());
    }

    #[test]
    fn padding_gives_the_bytes_of_a_copy() {
        let bytes = b"abcdefgh";
        for len in 0..=8 {
            let mut copy = [0; 8];
            copy[..len].copy_from_slice(&bytes[..len]);
            assert_eq!(padded_word(&bytes[..len]), u64::from_le_bytes(copy), "{len}");
        }
    }

    #[test]
    fn folding_touches_letters_only() {
        assert_eq!(fold(b"A[`Z@{\xc1"), fold(b"a[`z@{\xc1"));
        assert_ne!(fold(b"["), fold(b"{"));
        assert_ne!(fold(b"\xc1"), fold(b"\xe1"));
    }

    #[test]
    fn renamed_and_disabled_commands() {
        let mut table = CommandTable::new(&[ROWS]);
        assert!(table.rename(b"get", b"fetch"));
        assert!(table.find(b"get").is_none() && table.find(b"FETCH").is_some());
        assert!(table.rename(b"config", b""));
        assert!(table.find(b"config").is_none());
        assert!(!table.rename(b"nothing", b"x"));
    }
}
