//! What a conversion leaves out because the form it writes has no place for it: counted, and said.

use crate::value::ValueRef;
use serde_json::{Value as Json, json};

/// The form that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A snapshot.
    Rdb,
    /// An append-only file that begins with a snapshot (`aof-use-rdb-preamble yes`) and has no commands.
    Aof,
    /// An append-only file of commands alone.
    Commands,
}

impl Format {
    /// As `--format` names it.
    pub const NAMES: &'static [(&'static str, Format)] =
        &[("rdb", Format::Rdb), ("aof", Format::Aof), ("commands", Format::Commands)];
}

/// First version of RDB files with function libraries and with the counters of streams.
const COUNTERS_VERSION_MIN: u8 = 10;
/// First version with the time a stream's consumer was last given something.
const ACTIVE_VERSION_MIN: u8 = 11;

/// Which details a form keeps: what a file is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// A stream's entries added, entries read, largest deleted id.
    pub counters: bool,
    /// When a consumer was last seen, and last given something.
    pub seen: bool,
    pub active: bool,
    /// Idle time and access frequency of keys.
    pub access: bool,
    /// XCLAIM takes no delivery later than its own time; Unix ms.
    pub delivered_max_ms: i64,
}

impl Kept {
    /// What is kept by a form that is written at `now_ms`.
    pub fn by(format: Format, version: u8, now_ms: i64) -> Kept {
        let commands = format == Format::Commands;
        Kept {
            counters: commands || version >= COUNTERS_VERSION_MIN,
            seen: !commands,
            active: !commands && version >= ACTIVE_VERSION_MIN,
            access: !commands,
            delivered_max_ms: if commands { now_ms } else { i64::MAX },
        }
    }
}

/// What was left out so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Hash fields that no longer expire, and those that were left out since their time has passed.
    pub field_expiries: u64,
    pub expired_fields: u64,
    pub libraries: u64,
    pub stream_counters: u64,
    pub consumer_times: u64,
    pub access_records: u64,
    pub module_keys: u64,
    pub module_data: u64,
}

impl Losses {
    /// Counts what this form does not keep of a value (hash fields aside).
    pub fn count_value(&mut self, value: &ValueRef<'_>, format: Format, version: u8) {
        let ValueRef::Stream(stream) = value else { return };
        let commands = format == Format::Commands;
        self.stream_counters += u64::from(!commands && version < COUNTERS_VERSION_MIN);
        let groups = stream.stream().groups();
        let consumers = groups.flat_map(|(_, group)| group.consumers());
        // A reader of older versions takes the time it was seen for the time it was active.
        self.consumer_times += match commands {
            true => consumers.count() as u64,
            false if version < ACTIVE_VERSION_MIN => {
                consumers.filter(|consumer| consumer.active_ms != consumer.seen_ms).count() as u64
            }
            false => 0,
        };
    }

    /// Whether function libraries are kept.
    pub fn keeps_libraries(format: Format, version: u8) -> bool {
        format == Format::Commands || version >= COUNTERS_VERSION_MIN
    }

    fn rows(&self) -> [(u64, &'static str, &'static str); 8] {
        [
            (self.field_expiries, "field_expiries", "hash fields no longer expire"),
            (self.expired_fields, "expired_fields", "hash fields whose time had passed were left out"),
            (self.libraries, "function_libraries", "function libraries were left out"),
            (
                self.stream_counters,
                "stream_counters",
                "streams lost their counters (entries added, entries read, deleted ids)",
            ),
            (
                self.consumer_times,
                "consumer_times",
                "stream consumers lost the time they were last seen or active",
            ),
            (self.access_records, "access_records", "keys lost their idle time or access frequency"),
            (self.module_keys, "module_keys", "keys of modules were left out"),
            (self.module_data, "module_data", "parts of modules' own data were left out"),
        ]
    }

    /// Whether everything is kept.
    pub fn is_empty(&self) -> bool {
        *self == Losses::default()
    }

    /// One line for each thing that is not kept.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.rows()
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, _, text)| format!("{count} {text}"))
    }

    pub fn json(&self) -> Json {
        self.rows().into_iter().map(|(count, name, _)| (name.to_owned(), json!(count))).collect()
    }
}
