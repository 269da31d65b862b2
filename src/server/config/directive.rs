//! A directive as data ([`ConfigRow`]) and the bridge from a field's type to its words
//! ([`Directive`]).
//!
//! ```text
//!   words of a line ──assign──> field of Config ──show────> CONFIG GET
//!   or of CONFIG SET   (kind:                    ──rewrite─> lines of CONFIG REWRITE
//!                      bounds, names)
//! ```
//! A row owns no value: it points at a field of [`Config`] through plain functions, made by the
//! table in `rows.rs`. To add a type of field: implement [`Directive`] for it here.

use super::enums::Named;
use super::error::ValueError;
use super::rows::Config;
use super::text::{format_memory, parse_integer, parse_memory, parse_octal, quote, quote_if_needed};
use super::values::{
    BindAddresses, ClientOutputBufferLimits, ConfigText, LatencyPercentiles, MAX_SAVE_POINTS, MemoryLimit,
    NotifyFlags, OomScoreAdjValues, OutputBufferLimit, ReplicaOf, SavePoint, SavePoints, ShutdownOnSignal,
    parse_memory_limit, parse_replica_of,
};

/// What a directive takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// yes or no. With a text, only `no` is possible and the text says why.
    YesNo { never: Option<&'static str> },
    /// A decimal integer within bounds.
    Integer { min: i128, max: i128 },
    /// Bytes with a unit, within bounds.
    Memory { min: i128, max: i128 },
    /// Bytes with a unit up to `max`, or a percentage up to 100.
    MemoryOrPercent { max: i128 },
    /// An octal number (a file mode) within bounds.
    Octal { min: i128, max: i128 },
    /// One of the names of an enumeration.
    Enumeration(&'static [&'static str]),
    /// One text.
    Text {
        /// A rule beyond "any text".
        check: fn(&[u8]) -> Result<(), &'static str>,
        /// Empty means "not set": such a line is dropped from a rewritten file.
        empty_is_unset: bool,
        /// Bytes of any value, zero included (passwords).
        binary: bool,
    },
    /// A format of its own; see the field's type.
    Special,
}

/// Marks of a row, added with `|`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks(pub u16);

impl Marks {
    /// Takes effect today; without it the directive is accepted, not yet active.
    pub const ACTIVE: u16 = 1;
    /// Read at the start only; CONFIG SET refuses.
    pub const START_ONLY: u16 = 1 << 1;
    /// Shown by CONFIG GET only under its full name.
    pub const HIDDEN: u16 = 1 << 2;
    /// CONFIG SET needs `enable-protected-configs`.
    pub const PROTECTED: u16 = 1 << 3;
    /// The value is kept out of logs, SLOWLOG and MONITOR.
    pub const SENSITIVE: u16 = 1 << 4;
    /// CONFIG SET is refused while loading.
    pub const DENY_LOADING: u16 = 1 << 5;
    /// Printed in a crash report.
    pub const DEBUG: u16 = 1 << 6;
    /// Applied again even when set to what it was (files that may have changed).
    pub const VOLATILE: u16 = 1 << 7;
    /// Takes any number of words; one word with blanks is split.
    pub const WORDS: u16 = 1 << 8;
}

/// Where an assignment comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// CONFIG SET: the new value replaces the old.
    Command,
    /// A file or the command line; `repeated` when the same load had the directive before.
    File { repeated: bool },
}

/// What CONFIG REWRITE does about a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewriteLines {
    /// Drop every line of it.
    Remove,
    /// Write these: text after the name, and whether it is written even where no line was.
    Write(Vec<(Vec<u8>, bool)>),
}

/// A type that a field of [`Config`] can have.
pub(super) trait Directive: PartialEq {
    /// Takes the value from words; leaves the old one on error.
    fn assign(&mut self, words: &[Vec<u8>], row: &ConfigRow, origin: Origin) -> Result<(), ValueError>;
    /// The value as CONFIG GET shows it.
    fn show(&self, row: &ConfigRow) -> Vec<u8>;
    /// The value as a file has it; one line, needed where the value is not the default.
    fn rewrite(&self, default: &Self, row: &ConfigRow) -> RewriteLines {
        RewriteLines::Write(vec![(self.show(row), self != default)])
    }
}

/// Takes a field's value from words.
type AssignFunction = fn(&mut Config, &[Vec<u8>], &ConfigRow, Origin) -> Result<(), ValueError>;

/// One directive.
pub struct ConfigRow {
    /// Its name.
    pub name: &'static str,
    /// Its older name, understood and shown too.
    pub alias: Option<&'static str>,
    /// What it takes.
    pub kind: Kind,
    /// When it may change and how it is treated.
    pub marks: Marks,
    pub(super) show: fn(&Config, &ConfigRow) -> Vec<u8>,
    pub(super) assign: AssignFunction,
    pub(super) rewrite: fn(&Config, &Config, &ConfigRow) -> RewriteLines,
}

impl ConfigRow {
    /// The value as CONFIG GET shows it.
    pub fn get(&self, config: &Config) -> Vec<u8> {
        (self.show)(config, self)
    }

    /// The built-in value as CONFIG GET shows it.
    pub fn default_value(&self) -> Vec<u8> {
        self.get(&Config::default())
    }

    /// Sets the field from words; the field keeps its value on error.
    pub fn set(&self, config: &mut Config, words: &[Vec<u8>], origin: Origin) -> Result<(), ValueError> {
        if !self.has(Marks::WORDS) && words.len() != 1 {
            return Err(ValueError::WrongArgumentCount);
        }
        (self.assign)(config, words, self, origin)
    }

    /// Whether it has all of the marks `Marks::A | Marks::B`.
    pub const fn has(&self, marks: u16) -> bool {
        self.marks.0 & marks == marks
    }

    /// Whether setting it has an effect today.
    pub const fn is_active(&self) -> bool {
        self.has(Marks::ACTIVE)
    }

    /// Says in the log that a value other than the built-in one has no effect, where that is so.
    pub fn log_if_inactive(&self, config: &Config) {
        if self.is_active() || self.has(Marks::HIDDEN) || self.get(config) == self.default_value() {
            return;
        }
        match self.name {
            "tls-port" => log::warn!("tls-port is set, but Tine has no TLS: nothing listens on that port"),
            name => log::info!("Directive '{name}' is accepted, but has no effect in this version"),
        }
    }
}

impl std::fmt::Debug for ConfigRow {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ConfigRow({})", self.name)
    }
}

/// The only word of a single-word directive ([`ConfigRow::set`] has counted them).
fn only(words: &[Vec<u8>]) -> Result<&[u8], ValueError> {
    match words {
        [word] => Ok(word),
        _ => Err(ValueError::WrongArgumentCount),
    }
}

impl Directive for bool {
    fn assign(&mut self, words: &[Vec<u8>], row: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        let word = only(words)?;
        let yes = word.eq_ignore_ascii_case(b"yes");
        if !yes && !word.eq_ignore_ascii_case(b"no") {
            return Err(ValueError::NotYesNo);
        }
        if let (true, Kind::YesNo { never: Some(reason) }) = (yes, row.kind) {
            return Err(ValueError::Rule(reason));
        }
        *self = yes;
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        if *self { b"yes".to_vec() } else { b"no".to_vec() }
    }
}

/// Reads a number as the row's kind says, bounds included.
fn parse_number(word: &[u8], kind: Kind) -> Result<i128, ValueError> {
    let (value, min, max) = match kind {
        Kind::Memory { min, max } => {
            (parse_memory(word).map(i128::from).ok_or(ValueError::NotMemory)?, min, max)
        }
        Kind::Octal { min, max } => {
            let value = parse_octal(word).map(i128::from).ok_or(ValueError::NotOctal)?;
            if !(min..=max).contains(&value) {
                return Err(ValueError::OutOfOctalRange { min, max });
            }
            (value, min, max)
        }
        Kind::Integer { min, max } => {
            (parse_integer(word).map(i128::from).ok_or(ValueError::NotInteger)?, min, max)
        }
        _ => return Err(ValueError::NotInteger),
    };
    if (min..=max).contains(&value) { Ok(value) } else { Err(ValueError::OutOfRange { min, max }) }
}

macro_rules! number_directives {
    ($($type:ty),*) => { $(
        impl Directive for $type {
            fn assign(&mut self, words: &[Vec<u8>], row: &ConfigRow, _: Origin) -> Result<(), ValueError> {
                let value = parse_number(only(words)?, row.kind)?;
                // A test sets every row to its bounds, so they are inside the type's.
                *self = <$type>::try_from(value).map_err(|_| ValueError::NotInteger)?;
                Ok(())
            }

            fn show(&self, row: &ConfigRow) -> Vec<u8> {
                match row.kind {
                    Kind::Octal { .. } => format!("{self:o}").into_bytes(),
                    _ => self.to_string().into_bytes(),
                }
            }

            fn rewrite(&self, default: &Self, row: &ConfigRow) -> RewriteLines {
                let text = match (row.kind, u64::try_from(*self)) {
                    (Kind::Memory { .. }, Ok(bytes)) => format_memory(bytes).into_bytes(),
                    _ => self.show(row),
                };
                RewriteLines::Write(vec![(text, self != default)])
            }
        }
    )* };
}

number_directives!(u8, u16, u32, i32, u64, i64, usize);

impl<E: Named> Directive for E {
    fn assign(&mut self, words: &[Vec<u8>], _: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        *self = E::from_name(only(words)?).ok_or(ValueError::NotOneOf(E::NAMES))?;
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        self.name().as_bytes().to_vec()
    }
}

impl Directive for ConfigText {
    fn assign(&mut self, words: &[Vec<u8>], row: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        let word = only(words)?;
        if let Kind::Text { check, binary, .. } = row.kind {
            if !binary && word.contains(&0) {
                return Err(ValueError::NulByte);
            }
            check(word).map_err(ValueError::Rule)?;
        }
        self.0 = word.to_vec();
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        self.0.clone()
    }

    fn rewrite(&self, default: &Self, row: &ConfigRow) -> RewriteLines {
        match row.kind {
            Kind::Text { empty_is_unset: true, .. } if self.is_empty() => RewriteLines::Remove,
            _ => RewriteLines::Write(vec![(quote(&self.0), self != default)]),
        }
    }
}

impl Directive for MemoryLimit {
    fn assign(&mut self, words: &[Vec<u8>], row: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        let limit = parse_memory_limit(only(words)?, 100)?;
        if let Kind::MemoryOrPercent { max } = row.kind
            && i128::from(limit.bytes) > max
        {
            return Err(ValueError::OutOfRange { min: 0, max });
        }
        *self = limit;
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        match self.percent {
            0 => self.bytes.to_string().into_bytes(),
            percent => format!("{percent}%").into_bytes(),
        }
    }

    fn rewrite(&self, default: &Self, row: &ConfigRow) -> RewriteLines {
        let text = if self.percent == 0 { format_memory(self.bytes).into_bytes() } else { self.show(row) };
        RewriteLines::Write(vec![(text, self != default)])
    }
}

impl Directive for SavePoints {
    fn assign(&mut self, words: &[Vec<u8>], _: &ConfigRow, origin: Origin) -> Result<(), ValueError> {
        let points = SavePoints::parse(words)?;
        // Lines of a file add up, an empty one starts afresh; the first drops the built-in points.
        let adds = origin == (Origin::File { repeated: true }) && !points.0.is_empty();
        if !adds {
            *self = points;
        } else if self.0.len() + points.0.len() <= MAX_SAVE_POINTS {
            self.0.extend(points.0);
        } else {
            return Err(ValueError::Rule("Invalid save parameters"));
        }
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        SavePoints::show(self).into_bytes()
    }

    /// Always written: without any `save` line the built-in points would come back.
    fn rewrite(&self, _: &Self, _: &ConfigRow) -> RewriteLines {
        if self.0.is_empty() {
            return RewriteLines::Write(vec![(b"\"\"".to_vec(), true)]);
        }
        let line = |point: &SavePoint| format!("{} {}", point.seconds, point.changes).into_bytes();
        RewriteLines::Write(self.0.iter().map(|point| (line(point), true)).collect())
    }
}

impl Directive for ClientOutputBufferLimits {
    fn assign(&mut self, words: &[Vec<u8>], _: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        self.update(words)
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        ClientOutputBufferLimits::show(self).into_bytes()
    }

    fn rewrite(&self, default: &Self, _: &ConfigRow) -> RewriteLines {
        let classes = self.classes("replica").into_iter().zip(default.classes("replica"));
        let line = |((class, limit), (_, built_in))| {
            let OutputBufferLimit { hard_bytes, soft_bytes, soft_seconds } = limit;
            let text =
                format!("{class} {} {} {soft_seconds}", format_memory(hard_bytes), format_memory(soft_bytes));
            (text.into_bytes(), limit != built_in)
        };
        RewriteLines::Write(classes.map(line).collect())
    }
}

impl Directive for OomScoreAdjValues {
    fn assign(&mut self, words: &[Vec<u8>], _: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        *self = OomScoreAdjValues::parse(words)?;
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        OomScoreAdjValues::show(self).into_bytes()
    }
}

impl Directive for NotifyFlags {
    fn assign(&mut self, words: &[Vec<u8>], _: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        *self = NotifyFlags::parse(only(words)?)?;
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        NotifyFlags::show(*self).into_bytes()
    }

    fn rewrite(&self, default: &Self, row: &ConfigRow) -> RewriteLines {
        RewriteLines::Write(vec![(quote(&Directive::show(self, row)), self != default)])
    }
}

impl Directive for BindAddresses {
    fn assign(&mut self, words: &[Vec<u8>], _: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        *self = BindAddresses::parse(words)?;
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        BindAddresses::show(self)
    }

    fn rewrite(&self, default: &Self, _: &ConfigRow) -> RewriteLines {
        if self == default {
            return RewriteLines::Remove;
        }
        let words: Vec<Vec<u8>> = self.0.iter().map(|host| quote_if_needed(host.as_bytes())).collect();
        let text = if words.is_empty() { b"\"\"".to_vec() } else { words.join(&b' ') };
        RewriteLines::Write(vec![(text, true)])
    }
}

impl Directive for ReplicaOf {
    fn assign(&mut self, words: &[Vec<u8>], _: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        *self = parse_replica_of(words)?;
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        self.as_ref().map_or_else(Vec::new, |primary| {
            [primary.host.as_bytes(), primary.port.to_string().as_bytes()].join(&b' ')
        })
    }

    fn rewrite(&self, _: &Self, _: &ConfigRow) -> RewriteLines {
        let Some(primary) = self else {
            return RewriteLines::Remove;
        };
        let host = quote_if_needed(primary.host.as_bytes());
        RewriteLines::Write(vec![([&host[..], primary.port.to_string().as_bytes()].join(&b' '), true)])
    }
}

impl Directive for LatencyPercentiles {
    fn assign(&mut self, words: &[Vec<u8>], _: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        *self = LatencyPercentiles::parse(words)?;
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        LatencyPercentiles::show(self).into_bytes()
    }

    fn rewrite(&self, default: &Self, row: &ConfigRow) -> RewriteLines {
        let text = if self.0.is_empty() { b"\"\"".to_vec() } else { Directive::show(self, row) };
        RewriteLines::Write(vec![(text, self != default)])
    }
}

impl Directive for ShutdownOnSignal {
    fn assign(&mut self, words: &[Vec<u8>], _: &ConfigRow, _: Origin) -> Result<(), ValueError> {
        *self = ShutdownOnSignal::parse(words)?;
        Ok(())
    }

    fn show(&self, _: &ConfigRow) -> Vec<u8> {
        ShutdownOnSignal::show(*self).into_bytes()
    }
}
