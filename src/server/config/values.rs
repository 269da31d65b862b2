//! The types of configuration fields that have a structure of their own: what they hold, how they
//! are read from words and how they are shown. Numbers, names and plain texts are in `directive.rs`.

use super::error::ValueError;
use super::text::{parse_integer, parse_lenient_integer, parse_memory};
use std::fmt;
use std::path::Path;

/// Most `save` points of one server. Each is looked at on every tick; nobody needs more.
pub const MAX_SAVE_POINTS: usize = 1024;
/// Most addresses of `bind`, as in Redis.
pub const MAX_BIND_ADDRESSES: usize = 16;
/// Most percentiles that INFO latencystats shows a command.
pub const MAX_PERCENTILES: usize = 64;
/// Bounds of each of the `oom-score-adj-values`.
const OOM_SCORE_ADJ_RANGE: std::ops::RangeInclusive<i64> = -2000..=2000;

/// A text of any bytes (a path, a password, a template).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ConfigText(pub Vec<u8>);

impl ConfigText {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a path of the file system.
    pub fn as_path(&self) -> &Path {
        Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&self.0))
    }

    /// For messages; bytes that are not UTF-8 are replaced.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&[u8]> for ConfigText {
    fn from(bytes: &[u8]) -> Self {
        ConfigText(bytes.to_vec())
    }
}

impl From<&str> for ConfigText {
    fn from(text: &str) -> Self {
        ConfigText(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for ConfigText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.to_text())
    }
}

/// An amount of memory, given as bytes or as a share of a whole that is known outside.
///
/// `bytes` is what to compare with. With a percentage it is 0 until [`MemoryLimit::resolve`] is
/// called with the whole (RAM or cgroup limit, `maxmemory`), by whoever applies the directive.
#[derive(Debug, Clone, Copy, Eq, Default)]
pub struct MemoryLimit {
    /// The limit in bytes; 0 means none.
    pub bytes: u64,
    /// The share asked for, 1 to 100; 0 when bytes were given.
    pub percent: u8,
}

impl MemoryLimit {
    /// A limit of so many bytes.
    pub fn from_bytes(bytes: u64) -> Self {
        MemoryLimit { bytes, percent: 0 }
    }

    /// Computes `bytes` from the share of `whole_bytes`; nothing to do when bytes were given.
    pub fn resolve(&mut self, whole_bytes: u64) {
        if self.percent != 0 {
            let share = u128::from(whole_bytes) * u128::from(self.percent) / 100;
            self.bytes = u64::try_from(share).unwrap_or(u64::MAX);
        }
    }
}

impl PartialEq for MemoryLimit {
    /// Equal when the same was asked for; what a share resolves to does not count.
    fn eq(&self, other: &Self) -> bool {
        self.percent == other.percent && (self.percent != 0 || self.bytes == other.bytes)
    }
}

/// Save when `changes` writes happened and `seconds` went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// Age of the oldest unsaved change, in seconds; at least 1.
    pub seconds: u64,
    /// Number of changes; 0 saves even without one.
    pub changes: u64,
}

/// All `save` points; any of them starts a save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavePoints(pub Vec<SavePoint>);

impl Default for SavePoints {
    fn default() -> Self {
        let point = |(seconds, changes)| SavePoint { seconds, changes };
        SavePoints([(3600, 1), (300, 100), (60, 10000)].map(point).to_vec())
    }
}

impl SavePoints {
    /// Reads `seconds changes` pairs; one empty word means none.
    pub(super) fn parse(arguments: &[Vec<u8>]) -> Result<Self, ValueError> {
        const INVALID: ValueError = ValueError::Rule("Invalid save parameters");
        if matches!(arguments, [only] if only.is_empty()) {
            return Ok(SavePoints(Vec::new()));
        }
        let (pairs, []) = arguments.as_chunks::<2>() else {
            return Err(INVALID);
        };
        if pairs.len() > MAX_SAVE_POINTS {
            return Err(INVALID);
        }
        let number = |word: &[u8], least: i64| match parse_lenient_integer(word) {
            Some(value) if (least..=i64::from(i32::MAX)).contains(&value) => Ok(value.unsigned_abs()),
            _ => Err(INVALID),
        };
        let point = |[seconds, changes]: &[Vec<u8>; 2]| {
            Ok(SavePoint { seconds: number(seconds, 1)?, changes: number(changes, 0)? })
        };
        pairs.iter().map(point).collect::<Result<_, _>>().map(SavePoints)
    }

    pub(super) fn show(&self) -> String {
        join(self.0.iter().map(|point| format!("{} {}", point.seconds, point.changes)))
    }
}

/// Output buffer limits of one class of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// Above this many bytes the client is closed at once; 0 = no limit.
    pub hard_bytes: u64,
    /// Above this many bytes for `soft_seconds` the client is closed; 0 = no limit.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: u64,
}

/// Output buffer limits of all classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientOutputBufferLimits {
    /// Ordinary clients, MONITOR included.
    pub normal: OutputBufferLimit,
    /// Replicas.
    pub replica: OutputBufferLimit,
    /// Clients in at least one channel or pattern.
    pub pubsub: OutputBufferLimit,
}

impl Default for ClientOutputBufferLimits {
    fn default() -> Self {
        let limit =
            |hard_bytes, soft_bytes, soft_seconds| OutputBufferLimit { hard_bytes, soft_bytes, soft_seconds };
        ClientOutputBufferLimits {
            normal: limit(0, 0, 0),
            replica: limit(256 << 20, 64 << 20, 60),
            pubsub: limit(32 << 20, 8 << 20, 60),
        }
    }
}

impl ClientOutputBufferLimits {
    /// The classes with their limits; the replica class goes by `replica_name`, since CONFIG GET
    /// says `slave` and a written file says `replica`.
    pub(super) fn classes(&self, replica_name: &'static str) -> [(&'static str, OutputBufferLimit); 3] {
        [("normal", self.normal), (replica_name, self.replica), ("pubsub", self.pubsub)]
    }

    /// Changes the classes named in `class hard soft seconds` quadruples, all or none.
    pub(super) fn update(&mut self, arguments: &[Vec<u8>]) -> Result<(), ValueError> {
        let (quadruples, []) = arguments.as_chunks::<4>() else {
            return Err(ValueError::Rule("Wrong number of arguments in buffer limit configuration."));
        };
        let mut updated = *self;
        for [class, hard, soft, seconds] in quadruples {
            let slot = match class.to_ascii_lowercase().as_slice() {
                b"normal" => &mut updated.normal,
                b"slave" | b"replica" => &mut updated.replica,
                b"pubsub" => &mut updated.pubsub,
                _ => {
                    return Err(ValueError::Rule(
                        "Invalid client class specified in buffer limit configuration.",
                    ));
                }
            };
            *slot = parse_output_buffer_limit(hard, soft, seconds).ok_or(ValueError::Rule(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ))?;
        }
        *self = updated;
        Ok(())
    }

    pub(super) fn show(&self) -> String {
        join(self.classes("slave").iter().map(|(class, limit)| {
            format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
        }))
    }
}

fn parse_output_buffer_limit(hard: &[u8], soft: &[u8], seconds: &[u8]) -> Option<OutputBufferLimit> {
    let soft_seconds = parse_lenient_integer(seconds).filter(|value| *value <= i64::from(i32::MAX))?;
    Some(OutputBufferLimit {
        hard_bytes: parse_memory(hard)?,
        soft_bytes: parse_memory(soft)?,
        soft_seconds: u64::try_from(soft_seconds).ok()?,
    })
}

/// What `/proc/self/oom_score_adj` is set to in each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OomScoreAdjValues {
    /// As a primary.
    pub primary: i32,
    /// As a replica.
    pub replica: i32,
    /// In a fork child.
    pub child: i32,
}

impl Default for OomScoreAdjValues {
    fn default() -> Self {
        OomScoreAdjValues { primary: 0, replica: 200, child: 800 }
    }
}

impl OomScoreAdjValues {
    pub(super) fn parse(arguments: &[Vec<u8>]) -> Result<Self, ValueError> {
        const INVALID: ValueError =
            ValueError::Rule("Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
        let [primary, replica, child] = arguments else {
            return Err(ValueError::WrongArgumentCount);
        };
        let score = |word: &[u8]| {
            let value = parse_lenient_integer(word).filter(|value| OOM_SCORE_ADJ_RANGE.contains(value));
            value.and_then(|value| i32::try_from(value).ok()).ok_or(INVALID)
        };
        Ok(OomScoreAdjValues { primary: score(primary)?, replica: score(replica)?, child: score(child)? })
    }

    pub(super) fn show(&self) -> String {
        format!("{} {} {}", self.primary, self.replica, self.child)
    }
}

/// The classes of keyspace events that are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotifyFlags(pub u16);

impl NotifyFlags {
    /// `K`: publish on `__keyspace@<db>__`.
    pub const KEYSPACE: NotifyFlags = NotifyFlags(1);
    /// `E`: publish on `__keyevent@<db>__`.
    pub const KEYEVENT: NotifyFlags = NotifyFlags(1 << 1);
    /// `g`: commands of no type (DEL, EXPIRE, RENAME).
    pub const GENERIC: NotifyFlags = NotifyFlags(1 << 2);
    /// `$`: strings.
    pub const STRING: NotifyFlags = NotifyFlags(1 << 3);
    /// `l`: lists.
    pub const LIST: NotifyFlags = NotifyFlags(1 << 4);
    /// `s`: sets.
    pub const SET: NotifyFlags = NotifyFlags(1 << 5);
    /// `h`: hashes.
    pub const HASH: NotifyFlags = NotifyFlags(1 << 6);
    /// `z`: sorted sets.
    pub const ZSET: NotifyFlags = NotifyFlags(1 << 7);
    /// `x`: a key expired.
    pub const EXPIRED: NotifyFlags = NotifyFlags(1 << 8);
    /// `e`: a key was evicted.
    pub const EVICTED: NotifyFlags = NotifyFlags(1 << 9);
    /// `t`: streams.
    pub const STREAM: NotifyFlags = NotifyFlags(1 << 10);
    /// `m`: a key was looked up and not found; not part of `A`.
    pub const KEY_MISS: NotifyFlags = NotifyFlags(1 << 11);
    /// `d`: types of modules.
    pub const MODULE: NotifyFlags = NotifyFlags(1 << 13);
    /// `n`: a key came into being; not part of `A`.
    pub const NEW: NotifyFlags = NotifyFlags(1 << 14);
    /// `A`: all classes but key miss and new key.
    pub const ALL: NotifyFlags = NotifyFlags(0b10_0111_1111_1100);

    /// Letters in the order they are shown.
    const LETTERS: [(u8, NotifyFlags); 14] = [
        (b'g', NotifyFlags::GENERIC),
        (b'$', NotifyFlags::STRING),
        (b'l', NotifyFlags::LIST),
        (b's', NotifyFlags::SET),
        (b'h', NotifyFlags::HASH),
        (b'z', NotifyFlags::ZSET),
        (b'x', NotifyFlags::EXPIRED),
        (b'e', NotifyFlags::EVICTED),
        (b't', NotifyFlags::STREAM),
        (b'd', NotifyFlags::MODULE),
        (b'n', NotifyFlags::NEW),
        (b'K', NotifyFlags::KEYSPACE),
        (b'E', NotifyFlags::KEYEVENT),
        (b'm', NotifyFlags::KEY_MISS),
    ];

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: NotifyFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    pub(super) fn parse(letters: &[u8]) -> Result<Self, ValueError> {
        let mut flags = 0;
        for &letter in letters {
            let known = NotifyFlags::LETTERS.iter().find(|(known, _)| *known == letter);
            flags |= match known {
                Some((_, flag)) => flag.0,
                None if letter == b'A' => NotifyFlags::ALL.0,
                None => {
                    return Err(ValueError::Rule("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."));
                }
            };
        }
        Ok(NotifyFlags(flags))
    }

    pub(super) fn show(self) -> String {
        let all = self.contains(NotifyFlags::ALL);
        let shown = NotifyFlags::LETTERS
            .iter()
            .filter(|(_, flag)| self.contains(*flag) && !(all && NotifyFlags::ALL.contains(*flag)));
        let letters = shown.map(|(letter, _)| char::from(*letter));
        all.then_some('A').into_iter().chain(letters).collect()
    }
}

/// One address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindAddress<'a> {
    /// Host name or address; `*` is all of IPv4, `::*` all of IPv6.
    pub host: &'a [u8],
    /// Written with a leading `-`: not having that address is no error.
    pub optional: bool,
}

/// The addresses to listen on, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindAddresses(pub Vec<ConfigText>);

impl Default for BindAddresses {
    fn default() -> Self {
        BindAddresses(vec!["*".into(), "-::*".into()])
    }
}

impl BindAddresses {
    /// The addresses with their mark taken off.
    pub fn iter(&self) -> impl Iterator<Item = BindAddress<'_>> {
        self.0.iter().map(|text| match text.as_bytes() {
            [b'-', host @ ..] => BindAddress { host, optional: true },
            host => BindAddress { host, optional: false },
        })
    }

    pub(super) fn parse(arguments: &[Vec<u8>]) -> Result<Self, ValueError> {
        if arguments.len() > MAX_BIND_ADDRESSES {
            return Err(ValueError::Rule("Too many bind addresses specified."));
        }
        if matches!(arguments, [only] if only.is_empty()) {
            return Ok(BindAddresses(Vec::new()));
        }
        if arguments.iter().any(|word| word.contains(&0)) {
            return Err(ValueError::NulByte);
        }
        Ok(BindAddresses(arguments.iter().cloned().map(ConfigText).collect()))
    }

    pub(super) fn show(&self) -> Vec<u8> {
        self.0.iter().map(ConfigText::as_bytes).collect::<Vec<_>>().join(&b' ')
    }
}

/// The primary that this server copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryAddress {
    /// Host name or address.
    pub host: ConfigText,
    /// TCP port.
    pub port: u16,
}

/// `replicaof`: the primary, or none.
pub type ReplicaOf = Option<PrimaryAddress>;

/// Reads `host port`, or `no one`.
pub(super) fn parse_replica_of(arguments: &[Vec<u8>]) -> Result<ReplicaOf, ValueError> {
    let [host, port] = arguments else {
        return Err(ValueError::WrongArgumentCount);
    };
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(None);
    }
    let port = parse_lenient_integer(port).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or(ValueError::Rule("Invalid master port"))?;
    if host.contains(&0) {
        return Err(ValueError::NulByte);
    }
    Ok(Some(PrimaryAddress { host: ConfigText(host.clone()), port }))
}

/// The percentiles of command latency that INFO shows, each 0.0 to 100.0.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyPercentiles(pub Vec<f64>);

impl Default for LatencyPercentiles {
    fn default() -> Self {
        LatencyPercentiles(vec![50.0, 99.0, 99.9])
    }
}

impl LatencyPercentiles {
    pub(super) fn parse(arguments: &[Vec<u8>]) -> Result<Self, ValueError> {
        const INVALID: ValueError = ValueError::Rule("Invalid latency-tracking-info-percentiles parameters");
        if matches!(arguments, [only] if only.is_empty()) {
            return Ok(LatencyPercentiles(Vec::new()));
        }
        if arguments.len() > MAX_PERCENTILES {
            return Err(INVALID);
        }
        let percentile = |word: &Vec<u8>| {
            let text = std::str::from_utf8(word).map_err(|_| INVALID)?;
            let value: f64 = text.parse().map_err(|_| INVALID)?;
            match value {
                value if value.is_nan() => Err(INVALID),
                value if (0.0..=100.0).contains(&value) => Ok(value),
                _ => Err(ValueError::Rule(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
                )),
            }
        };
        arguments.iter().map(percentile).collect::<Result<_, _>>().map(LatencyPercentiles)
    }

    pub(super) fn show(&self) -> String {
        join(self.0.iter().map(|percentile| {
            let fixed = format!("{percentile:.6}");
            fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
        }))
    }
}

/// How SIGINT or SIGTERM ends the server; all off is `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShutdownOnSignal {
    /// Save even without save points.
    pub save: bool,
    /// Never save.
    pub nosave: bool,
    /// Do not wait for replicas.
    pub now: bool,
    /// Go even if saving fails.
    pub force: bool,
}

impl ShutdownOnSignal {
    pub(super) const NAMES: &'static [&'static str] = &["default", "save", "nosave", "now", "force"];

    pub(super) fn parse(arguments: &[Vec<u8>]) -> Result<Self, ValueError> {
        let mut flags = ShutdownOnSignal::default();
        if arguments.is_empty() {
            return Err(ValueError::NotOneOf(ShutdownOnSignal::NAMES));
        }
        for word in arguments {
            match word.to_ascii_lowercase().as_slice() {
                b"default" => {}
                b"save" => flags.save = true,
                b"nosave" => flags.nosave = true,
                b"now" => flags.now = true,
                b"force" => flags.force = true,
                _ => return Err(ValueError::NotOneOf(ShutdownOnSignal::NAMES)),
            }
        }
        if flags.save && flags.nosave {
            return Err(ValueError::Rule("shutdown options SAVE and NOSAVE can't be used simultaneously"));
        }
        Ok(flags)
    }

    pub(super) fn show(self) -> String {
        if self == ShutdownOnSignal::default() {
            return "default".to_owned();
        }
        let set = [(self.save, "save"), (self.nosave, "nosave"), (self.now, "now"), (self.force, "force")];
        join(set.iter().filter(|(on, _)| *on).map(|(_, name)| (*name).to_owned()))
    }
}

/// Reads a memory amount or `n%`; `max_percent` bounds the latter.
pub(super) fn parse_memory_limit(word: &[u8], max_percent: u8) -> Result<MemoryLimit, ValueError> {
    if let Some(bytes) = parse_memory(word) {
        return Ok(MemoryLimit::from_bytes(bytes));
    }
    let share = word.strip_suffix(b"%").and_then(parse_integer).filter(|share| *share >= 0);
    match share.map(u8::try_from) {
        None => Err(ValueError::NotMemoryOrPercent),
        Some(Ok(percent)) if percent <= max_percent => Ok(MemoryLimit { bytes: 0, percent }),
        Some(_) => Err(ValueError::PercentTooHigh { max: max_percent }),
    }
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}
