//! What can be wrong with a directive, in the words that Redis 7.2 uses.
//!
//! [`ValueError`] is a reason; [`ConfigSetError`] is the reply to a CONFIG SET (without the leading
//! `ERR `); the error of a file is in `file.rs`, since it also has a place.

use std::fmt;

/// Why one directive refused its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueError {
    /// Neither yes nor no.
    NotYesNo,
    /// Not a decimal integer of 64 bits.
    NotInteger,
    /// Not a number of bytes with a known unit.
    NotMemory,
    /// Neither a number of bytes nor a percentage.
    NotMemoryOrPercent,
    /// Not an octal number.
    NotOctal,
    /// A number outside `[min, max]`.
    OutOfRange { min: i128, max: i128 },
    /// As [`ValueError::OutOfRange`], the bounds written in octal.
    OutOfOctalRange { min: i128, max: i128 },
    /// A percentage above the bound.
    PercentTooHigh { max: u8 },
    /// None of the names of an enumeration.
    NotOneOf(&'static [&'static str]),
    /// Too few or too many words.
    WrongArgumentCount,
    /// A NUL byte where the operating system takes none.
    NulByte,
    /// Any other rule of a single directive.
    Rule(&'static str),
}

impl fmt::Display for ValueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueError::NotYesNo => out.write_str("argument must be 'yes' or 'no'"),
            ValueError::NotInteger => out.write_str("argument couldn't be parsed into an integer"),
            ValueError::NotMemory => out.write_str("argument must be a memory value"),
            ValueError::NotMemoryOrPercent => out.write_str("argument must be a memory or percent value"),
            ValueError::NotOctal => out.write_str("argument couldn't be parsed as an octal number"),
            ValueError::OutOfRange { min, max } => {
                write!(out, "argument must be between {min} and {max} inclusive")
            }
            ValueError::OutOfOctalRange { min, max } => {
                write!(out, "argument must be between {min:o} and {max:o} inclusive")
            }
            ValueError::PercentTooHigh { max } => {
                write!(out, "percentage argument must be less or equal to {max}")
            }
            ValueError::NotOneOf(names) => {
                write!(out, "argument(s) must be one of the following: {}", names.join(", "))
            }
            ValueError::WrongArgumentCount => out.write_str("wrong number of arguments"),
            ValueError::NulByte => out.write_str("argument can't contain a zero byte"),
            ValueError::Rule(text) => out.write_str(text),
        }
    }
}

/// Why a CONFIG SET changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigSetError {
    /// No such directive; the name as the client wrote it.
    UnknownOption(Vec<u8>),
    /// The directive can't change while the data set is being loaded; the reply is `-LOADING`.
    Loading,
    /// A directive refused; `name` is the one to show.
    Refused { name: Vec<u8>, reason: RefuseReason },
}

/// Why a known directive was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefuseReason {
    /// Read at the start only.
    Immutable,
    /// Guarded by `enable-protected-configs`.
    Protected,
    /// Named twice in one CONFIG SET.
    Duplicate,
    /// The value is no good.
    Value(ValueError),
    /// The value was good, putting it into effect failed (said by the apply function outside).
    Apply(String),
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefuseReason::Immutable => out.write_str("can't set immutable config"),
            RefuseReason::Protected => out.write_str("can't set protected config"),
            RefuseReason::Duplicate => out.write_str("duplicate parameter"),
            RefuseReason::Value(error) => error.fmt(out),
            RefuseReason::Apply(text) => out.write_str(text),
        }
    }
}

impl fmt::Display for ConfigSetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigSetError::UnknownOption(name) => write!(
                out,
                "Unknown option or number of arguments for CONFIG SET - '{}'",
                String::from_utf8_lossy(name)
            ),
            ConfigSetError::Loading => out.write_str("Redis is loading the dataset in memory"),
            ConfigSetError::Refused { name, reason } => write!(
                out,
                "CONFIG SET failed (possibly related to argument '{}') - {reason}",
                String::from_utf8_lossy(name)
            ),
        }
    }
}

impl std::error::Error for ValueError {}
impl std::error::Error for ConfigSetError {}
