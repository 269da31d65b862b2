//! The reading side of a conversion.
//!
//! An RDB is read key by key: memory of a block and of the largest value, whatever the file's size. A
//! log has to be executed, so it needs the memory of a server that holds the data set.

use crate::base::clock::Clock;
use crate::base::rng::Rng;
use crate::command;
use crate::keyspace::Keyspace;
use crate::persist::rdb::error::{RdbError, RdbErrorKind, Step};
use crate::persist::rdb::input::{FileInput, Input};
use crate::persist::rdb::parse::{Attributes, Event, Parser};
use crate::persist::rdb::{skip, values};
use crate::replay::load_read_only;
use crate::server::config::Config;
use crate::server::{CommandTable, Server};
use crate::sys::io::{IoFault, IoResult, OsStorage, Storage, StorageFile};
use crate::tools::convert::digest::DataSetDigest;
use crate::tools::convert::losses::Kept;
use crate::tools::convert::sink::{Sink, with_value};
use crate::tools::progress::Progress;
use crate::value::TypeLimits;
use std::fmt;
use std::path::{Path, PathBuf};

/// Databases that a log may select: more than anybody configures, and each costs a few hundred bytes.
const DATABASES: u32 = 1024;

/// Why a conversion has stopped.
#[derive(Debug)]
pub enum Failure {
    /// The input is damaged.
    Rdb(Box<RdbError>),
    /// A file cannot be read or written.
    Io(IoFault),
    Text(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Rdb(error) => write!(out, "{error}"),
            Failure::Io(fault) => write!(out, "{fault}"),
            Failure::Text(text) => out.write_str(text),
        }
    }
}

impl From<RdbError> for Failure {
    fn from(error: RdbError) -> Self {
        Failure::Rdb(Box::new(error))
    }
}

impl From<IoFault> for Failure {
    fn from(fault: IoFault) -> Self {
        Failure::Io(fault)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Failure::Text(text)
    }
}

/// What an input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Rdb(PathBuf),
    /// A log: one file, or base and increments in their order.
    Log(Vec<PathBuf>),
}

fn open_parser(path: &Path) -> Result<Parser, Failure> {
    let file = OsStorage.open_read(path)?;
    let start = |kind| RdbError { kind, offset: 0, step: Step::Start, key: None, type_number: None };
    Ok(Parser::new(FileInput::new(file).map_err(start)?, true)?)
}

/// The version of an RDB, and whether it is Valkey's own numbering.
///
/// # Errors
/// It is none.
pub fn rdb_version(path: &Path) -> Result<u32, Failure> {
    open_parser(path).map(|parser| parser.version)
}

/// Bytes behind an RDB, when it is the first part of a log.
pub struct TailBytes(pub u64);

/// Reads an RDB into the sink, key by key. Gives what stands behind its end.
///
/// # Errors
/// The first damage, or the sink's.
pub fn feed_rdb(
    path: &Path,
    sink: &mut Sink<'_>,
    limits: &TypeLimits,
    drop_modules: bool,
) -> Result<TailBytes, Failure> {
    let mut parser = open_parser(path)?;
    let mut progress = Progress::new(parser.input.file_bytes());
    let mut db = 0;
    loop {
        match parser.next_event()? {
            Event::Key(number, attributes) => {
                feed_key(&mut parser, number, attributes, db, sink, limits, drop_modules)?;
                progress.at(parser.input.offset());
            }
            Event::SelectDb(number) => db = number,
            Event::Resize { keys, volatile } => sink.resize(db, keys, volatile),
            Event::Aux => sink.field(&parser.key, &parser.value)?,
            Event::Function => sink.library(&parser.value)?,
            Event::ModuleAux(_) if drop_modules => sink.losses.module_data += 1,
            Event::ModuleAux(id) => {
                return Err(parser.error(RdbErrorKind::Module(skip::module_name(id))).into());
            }
            Event::End => {
                return Ok(TailBytes(parser.input.file_bytes().saturating_sub(parser.input.offset())));
            }
        }
    }
}

fn feed_key(
    parser: &mut Parser,
    number: u8,
    attributes: Attributes,
    db: u64,
    sink: &mut Sink<'_>,
    limits: &TypeLimits,
    drop_modules: bool,
) -> Result<(), Failure> {
    if drop_modules && number == values::TYPE_MODULE {
        let skipped = skip::skip_value(number, &mut parser.input, &mut parser.scratch);
        skipped.map_err(|kind| parser.error(kind))?;
        sink.losses.module_keys += 1;
        return Ok(());
    }
    let kind = match values::read_value(number, &mut parser.input, &mut parser.scratch, limits) {
        Ok(value) => return Ok(sink.new_value(db, &parser.key, &value, attributes)?),
        // No server keeps a collection without elements.
        Err(RdbErrorKind::EmptyKey) => return Ok(()),
        Err(kind) => kind,
    };
    Err(parser.error(kind).into())
}

/// The digest of an RDB and the libraries in it; its checksum is compared as well.
///
/// # Errors
/// The first damage.
pub fn digest_rdb(path: &Path, limits: &TypeLimits, kept: Kept) -> Result<(DataSetDigest, u64), Failure> {
    let mut parser = open_parser(path)?;
    let mut progress = Progress::new(parser.input.file_bytes());
    let (mut digest, mut libraries, mut db) = (DataSetDigest::new(kept), 0, 0);
    loop {
        match parser.next_event()? {
            Event::Key(number, attributes) => {
                let read = values::read_value(number, &mut parser.input, &mut parser.scratch, limits)
                    .map(|value| with_value(&value, |value| digest.add(db, &parser.key, value, attributes)));
                read.map_err(|kind| parser.error(kind))?;
                progress.at(parser.input.offset());
            }
            Event::SelectDb(number) => db = number,
            Event::Function => libraries += 1,
            Event::End => return Ok((digest, libraries)),
            Event::Resize { .. } | Event::Aux | Event::ModuleAux(_) => {}
        }
    }
}

/// A server that has executed the log, from `start` of its first file on, and does nothing else.
///
/// # Errors
/// The log is damaged.
pub fn execute(files: &[PathBuf], start: u64) -> Result<Server, Failure> {
    let text = |failure: std::io::Error| failure.to_string();
    let config = Config { databases: DATABASES, appendonly: false, ..Config::default() };
    let commands = CommandTable::new(command::FAMILIES);
    let mut server =
        Server::new(config, Clock::system(), Rng::from_os().map_err(text)?, commands).map_err(text)?;
    let total_bytes =
        files.iter().filter_map(|file| OsStorage.metadata(file).ok()).map(|found| found.len).sum();
    let mut progress = Progress::new(total_bytes);
    load_read_only(&mut server, files, start, None, &mut |server| {
        progress.at(server.run.loading.as_ref().map_or(0, |loading| loading.loaded_bytes));
    })?;
    Ok(server)
}

/// Puts a data set into the sink.
///
/// # Errors
/// The sink's.
pub fn feed_keyspace(keyspace: &Keyspace, sink: &mut Sink<'_>) -> IoResult<()> {
    for index in 0..keyspace.databases() {
        let db = keyspace.db(index);
        if db.is_empty() {
            continue;
        }
        let number = index as u64;
        sink.resize(number, db.len() as u64, db.volatile_len() as u64);
        for view in db.iter() {
            let attributes = Attributes { expiry_ms: view.expiry_ms(), ..Attributes::default() };
            sink.key(number, view.key(), &view.value(), attributes)?;
        }
    }
    Ok(())
}

/// The digest of a data set in memory.
pub fn digest_keyspace(keyspace: &Keyspace, kept: Kept) -> DataSetDigest {
    let mut digest = DataSetDigest::new(kept);
    for index in 0..keyspace.databases() {
        for view in keyspace.db(index).iter() {
            let attributes = Attributes { expiry_ms: view.expiry_ms(), ..Attributes::default() };
            digest.add(index as u64, view.key(), &view.value(), attributes);
        }
    }
    digest
}

/// The first bytes of a file.
///
/// # Errors
/// It cannot be read.
pub fn begins_with(file: &dyn StorageFile, magic: &[u8]) -> IoResult<bool> {
    let mut head = vec![0; magic.len()];
    Ok(file.read_at(&mut head, 0)? == magic.len() && head == magic)
}
