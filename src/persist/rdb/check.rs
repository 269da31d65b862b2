//! Checking a file without loading it: every type is read over, the checksum compared.

use crate::base::clock::unix_ms_now;
use crate::base::hash::HashSeed;
use crate::keyspace::NewValue;
use crate::persist::rdb::error::{RdbError, RdbErrorKind, Step};
use crate::persist::rdb::input::{FileInput, Input};
use crate::persist::rdb::parse::{ChecksumState, Event, Parser};
use crate::persist::rdb::{skip, values};
use crate::sys::io::StorageFile;
use crate::value::{StrRef, TypeLimits};
use std::fmt;

/// Figures of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    pub keys: u64,
    pub expires: u64,
    /// Keys whose time has passed.
    pub already_expired: u64,
    /// Hashes with fields that have a time to live: these may go away with their last field.
    pub expiring_hashes: u64,
    /// When the file was made, as it says, Unix seconds.
    pub created_s: Option<i64>,
    /// Length of the RDB, bytes; what follows is not part of it.
    pub bytes: u64,
}

/// A key and its value, as found in the file.
#[derive(Debug)]
pub struct FoundKey<'a> {
    pub db: u64,
    pub key: &'a [u8],
    pub type_number: u8,
    /// Where the value ends in the file.
    pub offset: u64,
    /// Length of the value in the file, bytes (as compressed as it is there).
    pub bytes: u64,
    /// Elements, fields, members, entries; the length of a string. `None`: a module's value.
    pub elements: Option<u64>,
    /// Unix ms.
    pub expiry_ms: Option<i64>,
}

/// What a check tells while it reads.
pub trait Observer {
    /// Something that check-rdb prints.
    fn line(&mut self, line: CheckLine);

    /// Whether values are to be read, packed structures with all their elements, and not only read
    /// over: finds what a right checksum hides. [`Observer::key`] is called then.
    fn wants_values(&self) -> bool {
        false
    }

    fn key(&mut self, _found: &FoundKey<'_>) {}

    /// How far the check is; called after each key.
    fn position(&mut self, _offset: u64) {}
}

impl<F: FnMut(CheckLine)> Observer for F {
    fn line(&mut self, line: CheckLine) {
        self(line);
    }
}

/// Something worth a line, with the offset behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckLine {
    pub offset: u64,
    pub text: String,
}

/// A damaged file: why, and what was read before.
#[derive(Debug)]
pub struct CheckFailure {
    pub error: Box<RdbError>,
    pub report: CheckReport,
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(out)
    }
}

/// Reads a whole file, whatever its size in memory of a block and the largest value.
///
/// # Errors
/// The first damage.
pub fn check_file(
    file: Box<dyn StorageFile>,
    observer: &mut dyn Observer,
) -> Result<CheckReport, CheckFailure> {
    let mut report = CheckReport::default();
    let start = |kind| RdbError { kind, offset: 0, step: Step::Start, key: None, type_number: None };
    let parser = FileInput::new(file).map_err(start).and_then(|input| Parser::new(input, true));
    match parser.and_then(|mut parser| check_all(&mut parser, &mut report, observer)) {
        Ok(()) => Ok(report),
        Err(error) => Err(CheckFailure { error: Box::new(error), report }),
    }
}

fn check_all(
    parser: &mut Parser,
    report: &mut CheckReport,
    observer: &mut dyn Observer,
) -> Result<(), RdbError> {
    let mut db = 0;
    let now_ms = unix_ms_now();
    loop {
        let event = parser.next_event()?;
        let text = match event {
            Event::Key(number, attributes) => {
                report.keys += 1;
                report.expiring_hashes += u64::from(values::has_field_expiry(number));
                check_value(parser, number, db, attributes.expiry_ms, observer)
                    .map_err(|kind| parser.error(kind))?;
                observer.position(parser.input.offset());
                report.expires += u64::from(attributes.expiry_ms.is_some());
                report.already_expired +=
                    u64::from(attributes.expiry_ms.is_some_and(|expiry| expiry < now_ms));
                None
            }
            Event::SelectDb(number) => {
                db = number;
                Some(format!("Selecting DB ID {number}"))
            }
            Event::Aux => {
                let value = String::from_utf8_lossy(&parser.value);
                if parser.key == b"ctime" {
                    report.created_s = value.parse().ok();
                }
                Some(format!("AUX FIELD {} = '{value}'", String::from_utf8_lossy(&parser.key)))
            }
            Event::ModuleAux(id) => Some(format!("MODULE AUX for: {}", skip::module_name(id))),
            Event::Resize { .. } | Event::Function => None,
            Event::End => {
                report.bytes = parser.input.offset();
                match parser.checksum {
                    ChecksumState::Right => Some("Checksum OK".to_owned()),
                    ChecksumState::Disabled => {
                        Some("RDB file was saved with checksum disabled: no check performed.".to_owned())
                    }
                    ChecksumState::NotLooked => None,
                }
            }
        };
        if let Some(text) = text {
            observer.line(CheckLine { offset: parser.input.offset(), text });
        }
        if event == Event::End {
            return Ok(());
        }
    }
}

/// Reads over a value, or reads it when the observer wants to know what it is.
fn check_value(
    parser: &mut Parser,
    number: u8,
    db: u64,
    expiry_ms: Option<i64>,
    observer: &mut dyn Observer,
) -> Result<(), RdbErrorKind> {
    let start = parser.input.offset();
    let elements = match observer.wants_values() && number != values::TYPE_MODULE {
        true => Some(elements_of(parser, number)?),
        false => skip::skip_value(number, &mut parser.input, &mut parser.scratch).map(|()| None)?,
    };
    if observer.wants_values() {
        let offset = parser.input.offset();
        let (key, bytes) = (parser.key.as_slice(), offset - start);
        observer.key(&FoundKey { db, key, type_number: number, offset, bytes, elements, expiry_ms });
    }
    Ok(())
}

fn elements_of(parser: &mut Parser, number: u8) -> Result<u64, RdbErrorKind> {
    // Nothing is looked up in the values, so what keys their hashes is of no importance.
    let limits = TypeLimits::new(HashSeed([0; 16]));
    match values::read_value(number, &mut parser.input, &mut parser.scratch, &limits) {
        Ok(NewValue::Encoded(bytes) | NewValue::Bytes { bytes, .. }) => Ok(bytes.len() as u64),
        Ok(NewValue::Int(value)) => Ok(StrRef::Int(value).len() as u64),
        Ok(NewValue::Owned(value)) => Ok(value.as_ref().elements() as u64),
        Err(RdbErrorKind::EmptyKey) => Ok(0),
        Err(kind) => Err(kind),
    }
}

/// Whether the failure means that the file is no RDB at all.
pub fn is_foreign(failure: &CheckFailure) -> bool {
    matches!(failure.error.kind, RdbErrorKind::WrongSignature)
}
