//! What is in an RDB file: keys by type and prefix, the largest keys, when keys expire.
//!
//! One pass, in bounded memory: the number of prefixes and of remembered keys is limited, so a file
//! larger than the machine's memory is no problem. Sizes are those in the file: compressed strings
//! count as they are stored.

use crate::persist::rdb::check::FoundKey;
use crate::persist::rdb::values;
use serde_json::{Value as Json, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io::{self, Write};

/// Prefixes told apart; keys of further ones are counted together.
const PREFIXES_MAX: usize = 4096;
/// Longest prefix that is kept, bytes.
const PREFIX_BYTES_MAX: usize = 64;
/// Prefixes shown.
const PREFIXES_SHOWN: usize = 20;
/// Keys whose prefixes found no room, and keys without a separator.
const OTHER: &str = "(other)";
const NO_PREFIX: &str = "(no prefix)";

const HOUR_MS: i64 = 3_600_000;
/// Upper ends of the classes of the time left, ms.
const TIMES_LEFT: [(&str, i64); 5] = [
    ("already expired", 0),
    ("within an hour", HOUR_MS),
    ("within a day", 24 * HOUR_MS),
    ("within a week", 7 * 24 * HOUR_MS),
    ("within 30 days", 30 * 24 * HOUR_MS),
];
const LATER: &str = "later";
const NEVER: &str = "never";

/// How to count.
#[derive(Clone, Copy, Debug)]
pub struct StatsOptions {
    /// Ends a key's prefix.
    pub separator: u8,
    /// Keys in the lists of the largest.
    pub top: usize,
    /// Unix ms.
    pub now_ms: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    keys: u64,
    elements: u64,
    bytes: u64,
    largest_bytes: u64,
}

impl Count {
    fn add(&mut self, found: &FoundKey<'_>) {
        self.keys += 1;
        // What is counted of a string are its bytes: it is one element itself.
        let is_string = found.type_number == values::TYPE_STRING;
        self.elements += if is_string { 1 } else { found.elements.unwrap_or(0) };
        self.bytes += found.bytes;
        self.largest_bytes = self.largest_bytes.max(found.bytes);
    }

    fn json(&self) -> Json {
        let Count { keys, elements, bytes, largest_bytes } = self;
        json!({ "keys": keys, "elements": elements, "bytes": bytes, "largest_bytes": largest_bytes })
    }
}

/// A remembered key; ordered by size, ties by name so that a run can be repeated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Large {
    size: u64,
    key: Vec<u8>,
    db: u64,
    type_name: &'static str,
}

/// The largest keys by one measure.
#[derive(Debug, Default)]
struct Largest(BinaryHeap<Reverse<Large>>);

impl Largest {
    fn add(&mut self, size: u64, found: &FoundKey<'_>, limit: usize) {
        let smallest = self.0.peek().map_or(0, |Reverse(large)| large.size);
        if self.0.len() >= limit && size <= smallest {
            return;
        }
        let type_name = family_of(found.type_number);
        self.0.push(Reverse(Large { size, key: found.key.to_vec(), db: found.db, type_name }));
        if self.0.len() > limit {
            self.0.pop();
        }
    }

    fn descending(&self) -> Vec<&Large> {
        let mut all: Vec<&Large> = self.0.iter().map(|Reverse(large)| large).collect();
        all.sort_by(|left, right| right.size.cmp(&left.size).then_with(|| left.key.cmp(&right.key)));
        all
    }
}

/// The figures of a file.
#[derive(Debug)]
pub struct Stats {
    options: StatsOptions,
    types: BTreeMap<&'static str, Count>,
    encodings: BTreeMap<&'static str, u64>,
    databases: BTreeMap<u64, u64>,
    prefixes: HashMap<Vec<u8>, Count>,
    times_left: BTreeMap<&'static str, u64>,
    by_bytes: Largest,
    by_elements: Largest,
    total: Count,
}

impl Stats {
    pub fn new(options: StatsOptions) -> Stats {
        Stats {
            options,
            types: BTreeMap::new(),
            encodings: BTreeMap::new(),
            databases: BTreeMap::new(),
            prefixes: HashMap::new(),
            times_left: BTreeMap::new(),
            by_bytes: Largest::default(),
            by_elements: Largest::default(),
            total: Count::default(),
        }
    }

    /// Counts one key. O(log top).
    pub fn add(&mut self, found: &FoundKey<'_>) {
        self.total.add(found);
        self.types.entry(family_of(found.type_number)).or_default().add(found);
        *self.encodings.entry(values::type_name(found.type_number)).or_default() += 1;
        *self.databases.entry(found.db).or_default() += 1;
        self.count_prefix(found);
        *self.times_left.entry(time_left(found.expiry_ms, self.options.now_ms)).or_default() += 1;
        self.by_bytes.add(found.bytes, found, self.options.top);
        if found.type_number != values::TYPE_STRING {
            self.by_elements.add(found.elements.unwrap_or(0), found, self.options.top);
        }
    }

    fn count_prefix(&mut self, found: &FoundKey<'_>) {
        let cut = found.key.iter().position(|byte| *byte == self.options.separator);
        let prefix = match cut {
            Some(cut) => &found.key[..cut.min(PREFIX_BYTES_MAX)],
            None => NO_PREFIX.as_bytes(),
        };
        if let Some(count) = self.prefixes.get_mut(prefix) {
            return count.add(found);
        }
        let name = if self.prefixes.len() < PREFIXES_MAX { prefix } else { OTHER.as_bytes() };
        self.prefixes.entry(name.to_vec()).or_default().add(found);
    }

    /// Prefixes, those with the most bytes first.
    fn sorted_prefixes(&self) -> Vec<(&[u8], &Count)> {
        let mut all: Vec<(&[u8], &Count)> =
            self.prefixes.iter().map(|(name, count)| (name.as_slice(), count)).collect();
        all.sort_by(|left, right| right.1.bytes.cmp(&left.1.bytes).then_with(|| left.0.cmp(right.0)));
        all
    }

    /// Writes tables for a terminal of 80 columns.
    ///
    /// # Errors
    /// `out`'s.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let separator = char::from(self.options.separator);
        let types = self.types.iter().map(|(name, count)| (name.to_string(), count));
        write_counts(out, "type", types, self.total.bytes)?;
        let prefixes = self.sorted_prefixes();
        let shown = prefixes.iter().take(PREFIXES_SHOWN).map(|(name, count)| (shown_key(name), *count));
        write_counts(out, &format!("prefix, up to '{separator}'"), shown, self.total.bytes)?;
        if prefixes.len() > PREFIXES_SHOWN {
            writeln!(out, "  and {} more prefixes", prefixes.len() - PREFIXES_SHOWN)?;
        }
        write_largest(out, "largest keys, bytes in the file", &self.by_bytes)?;
        write_largest(out, "largest keys, elements", &self.by_elements)?;
        writeln!(out, "\n{:<32} {:>14} {:>7}", "expiry", "keys", "share")?;
        for name in time_classes() {
            let keys = self.times_left.get(name).copied().unwrap_or(0);
            writeln!(out, "  {name:<30} {keys:>14} {:>6.1}%", percent(keys, self.total.keys))?;
        }
        Ok(())
    }

    /// Everything, for other programs.
    pub fn json(&self) -> Json {
        let large = |largest: &Largest| -> Json {
            let row = |large: &&Large| json!({ "db": large.db, "key": shown_key(&large.key), "type": large.type_name, "size": large.size });
            largest.descending().iter().map(row).collect()
        };
        let types: BTreeMap<&str, Json> =
            self.types.iter().map(|(name, count)| (*name, count.json())).collect();
        let prefixes: Vec<Json> = self
            .sorted_prefixes()
            .iter()
            .map(|(name, count)| json!({ "prefix": shown_key(name), "count": count.json() }))
            .collect();
        let databases: BTreeMap<String, u64> =
            self.databases.iter().map(|(db, keys)| (db.to_string(), *keys)).collect();
        json!({
            "total": self.total.json(),
            "types": types,
            "encodings": self.encodings,
            "databases": databases,
            "prefixes": prefixes,
            "largest_by_bytes": large(&self.by_bytes),
            "largest_by_elements": large(&self.by_elements),
            "expiry": self.times_left,
        })
    }
}

fn write_counts<'a>(
    out: &mut dyn Write,
    title: &str,
    rows: impl Iterator<Item = (String, &'a Count)>,
    total_bytes: u64,
) -> io::Result<()> {
    writeln!(out, "\n{title:<32} {:>12} {:>14} {:>12} {:>6}", "keys", "elements", "bytes", "share")?;
    for (name, count) in rows {
        let Count { keys, elements, bytes, .. } = count;
        let share = percent(*bytes, total_bytes);
        writeln!(out, "  {name:<30} {keys:>12} {elements:>14} {bytes:>12} {share:>5.1}%")?;
    }
    Ok(())
}

fn write_largest(out: &mut dyn Write, title: &str, largest: &Largest) -> io::Result<()> {
    let rows = largest.descending();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    for large in rows {
        let Large { size, db, type_name, .. } = large;
        writeln!(out, "  {size:>14}  db {db:<3} {type_name:<8} {}", shown_key(&large.key))?;
    }
    Ok(())
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// A key as text, with escapes for what a terminal should not get.
fn shown_key(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => key.escape_ascii().to_string(),
    }
}

/// The type that `TYPE` would name.
fn family_of(number: u8) -> &'static str {
    match number {
        0 => "string",
        1 | 10 | 14 | 18 => "list",
        2 | 11 | 20 => "set",
        3 | 5 | 12 | 17 => "zset",
        4 | 9 | 13 | 16 | 22..=25 => "hash",
        15 | 19 | 21 => "stream",
        6 | 7 => "module",
        _ => "unknown",
    }
}

fn time_left(expiry_ms: Option<i64>, now_ms: i64) -> &'static str {
    let Some(expiry_ms) = expiry_ms else { return NEVER };
    let left = expiry_ms.saturating_sub(now_ms);
    TIMES_LEFT.iter().find(|(_, end)| left <= *end).map_or(LATER, |(name, _)| name)
}

fn time_classes() -> impl Iterator<Item = &'static str> {
    TIMES_LEFT.iter().map(|(name, _)| *name).chain([LATER, NEVER])
}

#[cfg(test)]
mod tests {
    use super::{PREFIXES_MAX, Stats, StatsOptions};
    use crate::persist::rdb::check::FoundKey;

    fn stats_of(keys: &[(&str, u8, u64, u64, Option<i64>)]) -> Stats {
        let mut stats = Stats::new(StatsOptions { separator: b':', top: 2, now_ms: 1_000 });
        for (key, type_number, bytes, elements, expiry_ms) in keys {
            stats.add(&FoundKey {
                db: 0,
                key: key.as_bytes(),
                type_number: *type_number,
                offset: 0,
                bytes: *bytes,
                elements: Some(*elements),
                expiry_ms: *expiry_ms,
            });
        }
        stats
    }

    #[test]
    fn keys_are_counted_by_type_prefix_and_time() {
        let stats = stats_of(&[
            ("user:1", 4, 100, 3, None),
            ("user:2", 16, 50, 2, Some(500)),
            ("feed:1", 18, 400, 90, Some(1_000 + 7_200_000)),
            ("lonely", 0, 7, 6, None),
        ]);
        let json = stats.json();
        assert_eq!(json["types"]["hash"]["keys"], 2);
        assert_eq!(json["types"]["hash"]["bytes"], 150);
        assert_eq!(json["total"]["bytes"], 557);
        assert_eq!(json["total"]["elements"], 3 + 2 + 90 + 1);
        assert_eq!(json["prefixes"][0]["prefix"], "feed");
        assert_eq!(json["prefixes"][1]["count"]["keys"], 2);
        assert_eq!(json["prefixes"][2]["prefix"], "(no prefix)");
        assert_eq!(json["expiry"]["already expired"], 1);
        assert_eq!(json["expiry"]["within a day"], 1);
        assert_eq!(json["expiry"]["never"], 2);
        let largest: Vec<&str> =
            (0..2).filter_map(|at| json["largest_by_bytes"][at]["key"].as_str()).collect();
        assert_eq!(largest, ["feed:1", "user:1"]);
        assert_eq!(json["largest_by_bytes"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["largest_by_elements"][0]["size"], 90);
    }

    #[test]
    fn prefixes_are_bounded() {
        let names: Vec<String> = (0..PREFIXES_MAX + 10).map(|number| format!("p{number}:x")).collect();
        let keys: Vec<_> = names.iter().map(|name| (name.as_str(), 0, 1, 1, None)).collect();
        let stats = stats_of(&keys);
        assert_eq!(stats.prefixes.len(), PREFIXES_MAX + 1);
        assert_eq!(stats.prefixes[b"(other)".as_slice()].keys, 10);
    }

    #[test]
    fn text_is_aligned_and_harmless() {
        let mut text = Vec::new();
        stats_of(&[("a\u{1b}[31m:1", 0, 10, 9, None)]).write_text(&mut text).expect("a vector takes all");
        let text = String::from_utf8(text).expect("text");
        assert!(!text.contains('\u{1b}') && text.contains("\\x1b[31m"), "{text}");
        assert!(text.contains("100.0%"), "{text}");
    }
}
