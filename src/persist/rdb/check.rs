//! Checking a file without loading it: every type is read over, the checksum compared.

use crate::persist::rdb::error::{RdbError, RdbErrorKind, Step};
use crate::persist::rdb::input::{FileInput, Input};
use crate::persist::rdb::parse::{ChecksumState, Event, Parser};
use crate::persist::rdb::skip;
use crate::sys::io::StorageFile;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Figures of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    pub keys: u64,
    pub expires: u64,
    /// Keys whose time has passed.
    pub already_expired: u64,
    /// Length of the RDB, bytes; what follows is not part of it.
    pub bytes: u64,
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

/// Reads a whole file; `line` is told what check-rdb prints.
///
/// # Errors
/// The first damage.
pub fn check_file(
    file: Box<dyn StorageFile>,
    line: &mut dyn FnMut(CheckLine),
) -> Result<CheckReport, CheckFailure> {
    let mut report = CheckReport::default();
    let start = |kind| RdbError { kind, offset: 0, step: Step::Start, key: None, type_number: None };
    let parser = FileInput::new(file).map_err(start).and_then(|input| Parser::new(input, true));
    match parser.and_then(|mut parser| check_all(&mut parser, &mut report, line)) {
        Ok(()) => Ok(report),
        Err(error) => Err(CheckFailure { error: Box::new(error), report }),
    }
}

fn check_all(
    parser: &mut Parser,
    report: &mut CheckReport,
    line: &mut dyn FnMut(CheckLine),
) -> Result<(), RdbError> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64);
    loop {
        let event = parser.next_event()?;
        let text = match event {
            Event::Key(number, attributes) => {
                report.keys += 1;
                let skipped = skip::skip_value(number, &mut parser.input, &mut parser.scratch);
                skipped.map_err(|kind| parser.error(kind))?;
                report.expires += u64::from(attributes.expiry_ms.is_some());
                report.already_expired +=
                    u64::from(attributes.expiry_ms.is_some_and(|expiry| expiry < now_ms));
                None
            }
            Event::SelectDb(db) => Some(format!("Selecting DB ID {db}")),
            Event::Aux => Some(format!(
                "AUX FIELD {} = '{}'",
                String::from_utf8_lossy(&parser.key),
                String::from_utf8_lossy(&parser.value)
            )),
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
            line(CheckLine { offset: parser.input.offset(), text });
        }
        if event == Event::End {
            return Ok(());
        }
    }
}

/// Whether the failure means that the file is no RDB at all.
pub fn is_foreign(failure: &CheckFailure) -> bool {
    matches!(failure.error.kind, RdbErrorKind::WrongSignature)
}
