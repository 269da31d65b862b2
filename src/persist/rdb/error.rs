//! Why a file was refused, where in it, and what was being read.

use crate::sys::io::IoFault;
use std::fmt;

/// What is wrong.
#[derive(Debug)]
pub enum RdbErrorKind {
    /// The file cannot be read.
    Io(IoFault),
    /// It ends too early, or a length in it is impossible.
    UnexpectedEof,
    WrongSignature,
    UnsupportedVersion(String),
    /// A byte that is neither an opcode nor a type of any version.
    UnknownType(u8),
    /// A type that later versions of this program load.
    TypeNotSupported(u8),
    Corrupt(&'static str),
    /// A collection without elements.
    EmptyKey,
    /// Computed and stored checksum.
    Checksum {
        expected: u64,
        got: u64,
    },
    TooManyDatabases {
        wanted: u64,
        configured: usize,
    },
    DuplicateKey {
        db: usize,
    },
    /// Data of a module that is not here.
    Module(String),
    /// Function libraries in the format of a release candidate.
    OldFunctions,
}

impl fmt::Display for RdbErrorKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RdbErrorKind::Io(fault) => write!(out, "{fault}"),
            RdbErrorKind::UnexpectedEof => out.write_str("Unexpected EOF reading RDB file"),
            RdbErrorKind::WrongSignature => out.write_str("Wrong signature trying to load DB from file"),
            RdbErrorKind::UnsupportedVersion(version) => {
                write!(out, "Can't handle RDB format version {version}")
            }
            RdbErrorKind::UnknownType(number) => write!(out, "Unknown RDB encoding type {number}"),
            RdbErrorKind::TypeNotSupported(number) => {
                let name = super::values::type_name(*number);
                write!(out, "RDB type {number} ({name}) not supported yet")
            }
            RdbErrorKind::Corrupt(reason) => out.write_str(reason),
            RdbErrorKind::EmptyKey => out.write_str("a collection without elements"),
            RdbErrorKind::Checksum { .. } => out.write_str("RDB CRC error"),
            RdbErrorKind::TooManyDatabases { wanted, configured } => write!(
                out,
                "FATAL: Data file was created with a Redis server configured to handle more than {configured} \
                 databases (it has data in database {wanted})"
            ),
            RdbErrorKind::DuplicateKey { db } => write!(out, "RDB has duplicated key in DB {db}"),
            RdbErrorKind::Module(name) => {
                write!(
                    out,
                    "The RDB file contains module data I can't load: no matching module type '{name}'"
                )
            }
            RdbErrorKind::OldFunctions => out.write_str("Pre-release function format not supported."),
        }
    }
}

/// What was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Start,
    Type,
    Expire,
    Key,
    Value,
    Checksum,
    Len,
    Aux,
    ModuleAux,
    Functions,
}

impl Step {
    /// The name that check-rdb prints.
    pub const fn name(self) -> &'static str {
        match self {
            Step::Start => "start",
            Step::Type => "read-type",
            Step::Expire => "read-expire",
            Step::Key => "read-key",
            Step::Value => "read-object-value",
            Step::Checksum => "check-sum",
            Step::Len => "read-len",
            Step::Aux => "read-aux",
            Step::ModuleAux => "read-module-aux",
            Step::Functions => "read-functions",
        }
    }
}

/// A refusal with its place.
#[derive(Debug)]
pub struct RdbError {
    pub kind: RdbErrorKind,
    /// Bytes consumed when it was noticed.
    pub offset: u64,
    pub step: Step,
    /// The key being read, if its name was known.
    pub key: Option<Vec<u8>>,
    /// The type of the value being read.
    pub type_number: Option<u8>,
}

impl fmt::Display for RdbError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Internal error in RDB reading offset {}, at {} -> {}",
            self.offset,
            self.step.name(),
            self.kind
        )?;
        if let Some(key) = &self.key {
            let shown = crate::base::bytes::repr(&key[..key.len().min(KEY_SHOWN_MAX)]);
            write!(out, ", key {}", String::from_utf8_lossy(&shown))?;
        }
        Ok(())
    }
}

/// Bytes of a key that a message shows at most.
const KEY_SHOWN_MAX: usize = 128;

impl std::error::Error for RdbError {}
