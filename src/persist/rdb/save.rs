//! Saving: header, data, footer; to any sink, or durably to a file.
//!
//! In a child the data is walked in address order and given back piece by piece; in the parent
//! table by table, with the next entries' cache lines requested ahead.
#![allow(unsafe_code)]

use crate::keyspace::EntryView;
use crate::keyspace::Keyspace;
use crate::keyspace::db::Db;
use crate::keyspace::walk::Stop;
use crate::persist::child::ChildLink;
use crate::persist::key_delay::KeyDelay;
use crate::persist::rdb::check::CheckLine;
use crate::persist::rdb::writer::{ByteSink, Writer};
use crate::persist::rdb::{check, opcode, string, values};
use crate::sys::data_alloc;
use crate::sys::durable::DurableFile;
use crate::sys::io::{IoFault, IoResult, Operation, Storage, parent_dir};
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Bytes between two syncs while a file is written (`rdb-save-incremental-fsync`).
const SYNC_INTERVAL_BYTES: u64 = 4 << 20;
/// Entries requested ahead in a table walk: hides a memory access of 100 ns behind 32 keys.
const PREFETCH_ENTRIES: usize = 32;
/// First version with expiry times of hash fields.
pub const FIELD_EXPIRY_VERSION_MIN: u8 = 12;
/// First version with function libraries.
const FUNCTIONS_VERSION_MIN: u8 = 10;

/// What is recorded of each key's use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessRecord {
    #[default]
    None,
    /// Idle seconds (an LRU policy).
    Idle,
    /// LFU counter.
    Frequency,
}

/// In which order entries are visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Walk {
    #[default]
    Tables,
    /// By address, giving memory back: only in a forked child.
    Memory,
}

/// How to save.
#[derive(Clone, Debug)]
pub struct SaveOptions {
    /// 9 to 12.
    pub version: u8,
    /// `rdbcompression`, `rdbchecksum`.
    pub compress: bool,
    pub checksum: bool,
    pub access: AccessRecord,
    pub walk: Walk,
    /// The RDB is the first part of an AOF.
    pub aof_base: bool,
    /// What the field `redis-ver` says.
    pub redis_version: &'static str,
    /// The field `ctime`, Unix seconds.
    pub unix_s: i64,
    /// `rdb-key-save-delay`: microseconds a key; -n: 1 microsecond each n keys.
    pub key_delay: i32,
    pub incremental_sync: bool,
    /// `rdb-verify`: read the file back before it takes its place.
    pub verify: bool,
    /// Header and functions only (a replica that asked for no data).
    pub no_data: bool,
    /// Function libraries, as they came.
    pub functions: Vec<Vec<u8>>,
    /// Further fields (replication id and offset).
    pub extra_fields: Vec<(&'static str, String)>,
}

impl Default for SaveOptions {
    fn default() -> Self {
        SaveOptions {
            version: 10,
            compress: true,
            checksum: true,
            access: AccessRecord::None,
            walk: Walk::Tables,
            aof_base: false,
            redis_version: "7.2.4",
            unix_s: 0,
            key_delay: 0,
            incremental_sync: true,
            verify: false,
            no_data: false,
            functions: Vec::new(),
            extra_fields: Vec::new(),
        }
    }
}

/// Writes a whole RDB into `sink`. Returns its length, bytes.
///
/// # Errors
/// The sink's.
pub fn save_to(
    sink: &mut dyn ByteSink,
    keyspace: &Keyspace,
    options: &SaveOptions,
    link: &mut ChildLink,
) -> IoResult<u64> {
    let mut writer = Writer::reporting(sink, options.compress, options.checksum, link);
    put_header(&mut writer, options)?;
    let mut saver = Saver { writer, keyspace, options, db: None, delay: KeyDelay::new(options.key_delay) };
    match options.walk {
        _ if options.no_data => {}
        Walk::Memory if keyspace.can_walk_memory() => saver.put_by_address()?,
        Walk::Memory | Walk::Tables => saver.put_tables()?,
    }
    let len = saver.writer.finish()?;
    link.set_bytes_written(len);
    Ok(len)
}

/// Saves durably: `temp` is written and synced, then takes the place of `path`. An error leaves
/// the old file untouched and no temporary one. Returns the length, bytes.
///
/// # Errors
/// What failed, as a line for the log.
pub fn save_file(
    storage: &Arc<dyn Storage>,
    path: &Path,
    temp: &Path,
    keyspace: &Keyspace,
    options: &SaveOptions,
    link: &mut ChildLink,
) -> Result<u64, String> {
    let text = |failure: &dyn Display| format!("Write error saving DB on disk: {failure}");
    let mut file = DurableFile::create(Arc::clone(storage), path, temp).map_err(|fault| {
        format!("Failed opening the temp RDB file {} for saving: {fault}", temp.display())
    })?;
    if options.incremental_sync {
        file.pace_sync(SYNC_INTERVAL_BYTES, false);
    }
    let len = save_to(&mut file, keyspace, options, link).map_err(|fault| text(&fault))?;
    if !options.verify {
        return file.commit().map_err(|fault| text(&fault));
    }
    file.finish_unrenamed().map_err(|fault| {
        let _ = storage.remove(temp);
        text(&fault)
    })?;
    verify_and_rename(storage, path, temp, link).inspect_err(|_| {
        let _ = storage.remove(temp);
    })?;
    Ok(len)
}

/// Reads the temporary file back from the disk, not from the cache, and puts it in place.
fn verify_and_rename(
    storage: &Arc<dyn Storage>,
    path: &Path,
    temp: &Path,
    link: &mut ChildLink,
) -> Result<(), String> {
    let file = storage.open_read(temp).map_err(|fault| fault.to_string())?;
    // A hint; without it the check reads the cache, which still finds what we wrote wrongly.
    let _ = file.advise_dontneed(0, 0);
    check::check_file(file, &mut Heartbeat(link))
        .map_err(|failure| format!("The new RDB file is damaged: {failure}"))?;
    storage.rename(temp, path).map_err(|fault| fault.to_string())?;
    storage.sync_dir(parent_dir(path)).map_err(|fault| fault.to_string())
}

/// Shows that a child that reads its file back is alive.
struct Heartbeat<'a>(&'a mut ChildLink);

impl check::Observer for Heartbeat<'_> {
    fn line(&mut self, _line: CheckLine) {}

    fn position(&mut self, _offset: u64) {
        self.0.report_if_due();
    }
}

fn put_header(writer: &mut Writer<'_>, options: &SaveOptions) -> IoResult<()> {
    writer.put_raw(format!("REDIS{:04}", options.version).as_bytes())?;
    let mut put = |name: &str, value: &str| put_field(writer, name.as_bytes(), value.as_bytes());
    put("redis-ver", options.redis_version)?;
    put("redis-bits", "64")?;
    put("ctime", &options.unix_s.to_string())?;
    put("used-mem", &data_alloc::used_bytes().to_string())?;
    for (name, value) in &options.extra_fields {
        put(name, value)?;
    }
    put("aof-base", if options.aof_base { "1" } else { "0" })?;
    if options.version < FUNCTIONS_VERSION_MIN && !options.functions.is_empty() {
        log::warn!(
            "RDB version {} has no functions: {} libraries left out",
            options.version,
            options.functions.len()
        );
        return Ok(());
    }
    for code in &options.functions {
        writer.put_u8(opcode::FUNCTION2);
        string::put_bytes(writer, code)?;
    }
    Ok(())
}

/// Writes a field about the file.
///
/// # Errors
/// The sink's.
pub fn put_field(writer: &mut Writer<'_>, name: &[u8], value: &[u8]) -> IoResult<()> {
    writer.put_u8(opcode::AUX);
    string::put_bytes(writer, name)?;
    string::put_bytes(writer, value)
}

struct Saver<'a, 'w> {
    writer: Writer<'w>,
    keyspace: &'a Keyspace,
    options: &'a SaveOptions,
    /// Selected in the file.
    db: Option<usize>,
    delay: KeyDelay,
}

impl Saver<'_, '_> {
    fn put_tables(&mut self) -> IoResult<()> {
        let keyspace = self.keyspace;
        for index in (0..keyspace.databases()).filter(|index| !keyspace.db(*index).is_empty()) {
            self.begin_db(index);
            self.put_table(keyspace.db(index))?;
        }
        Ok(())
    }

    fn put_table(&mut self, db: &Db) -> IoResult<()> {
        let mut words = db.words();
        let mut batch = [None; PREFETCH_ENTRIES];
        loop {
            let mut count = 0;
            for word in words.by_ref().take(PREFETCH_ENTRIES) {
                word.prefetch();
                batch[count] = Some(word);
                count += 1;
            }
            for word in batch[..count].iter().flatten() {
                self.put_entry(&db.view_of(*word))?;
            }
            self.tell_bytes(false);
            if count < PREFETCH_ENTRIES {
                return Ok(());
            }
        }
    }

    fn put_by_address(&mut self) -> IoResult<()> {
        let keyspace = self.keyspace;
        for index in (0..keyspace.databases()).filter(|index| !keyspace.db(*index).is_empty()) {
            self.begin_db(index);
        }
        let (mut outcome, mut visited) = (Ok(()), 0);
        // SAFETY: `Walk::Memory` is chosen only for a forked child (its documentation), and the
        // entries are not used again after they are saved: the child ends.
        unsafe {
            keyspace.walk_memory(true, |stop| {
                outcome = match stop {
                    Stop::Entry(db, view) => {
                        self.select(db);
                        visited += 1;
                        self.put_entry(&view)
                    }
                    Stop::PieceDone => {
                        self.tell_bytes(true);
                        Ok(())
                    }
                };
                outcome.is_ok()
            });
        }
        outcome.and_then(|()| check_visited(visited, keyspace.total_keys()))
    }

    fn tell_bytes(&mut self, report: bool) {
        let bytes = self.writer.bytes_written();
        if let Some(link) = self.writer.link() {
            link.set_bytes_written(bytes);
            if report {
                link.report_if_due();
            }
        }
    }

    /// SELECTDB and the sizes of a database.
    fn begin_db(&mut self, index: usize) {
        self.select(index);
        let db = self.keyspace.db(index);
        self.writer.put_u8(opcode::RESIZEDB);
        self.writer.put_len(db.len() as u64);
        self.writer.put_len(db.volatile_len() as u64);
    }

    #[inline]
    fn select(&mut self, index: usize) {
        if self.db != Some(index) {
            self.db = Some(index);
            self.writer.put_u8(opcode::SELECTDB);
            self.writer.put_len(index as u64);
        }
    }

    #[inline]
    fn put_entry(&mut self, view: &EntryView<'_>) -> IoResult<()> {
        let writer = &mut self.writer;
        if let Some(expiry_ms) = view.expiry_ms() {
            writer.put_u8(opcode::EXPIRETIME_MS);
            writer.put_raw(&expiry_ms.to_le_bytes())?;
        }
        match self.options.access {
            AccessRecord::None => {}
            AccessRecord::Idle => {
                writer.put_u8(opcode::IDLE);
                writer.put_len(self.keyspace.access.idle_s(view.access()));
            }
            AccessRecord::Frequency => {
                writer.put_u8(opcode::FREQ);
                writer.put_u8(self.keyspace.access.lfu_counter(view.access()) as u8);
            }
        }
        let value = view.value();
        writer.put_u8(values::type_of(&value, self.options.version));
        string::put_bytes(writer, view.key())?;
        values::put_value(writer, &value, self.options.version)?;
        writer.end_record()?;
        let bytes = writer.bytes_written();
        let Some(link) = writer.link() else { return Ok(()) };
        link.advance(1);
        if self.delay.is_set() {
            self.delay.after_key(link, bytes);
        }
        Ok(())
    }
}

/// A walk of memory that met more or fewer entries than the tables count makes no snapshot.
fn check_visited(visited: usize, total: usize) -> IoResult<()> {
    if visited == total {
        return Ok(());
    }
    let text = format!("the walk of memory met {visited} keys of {total}");
    Err(IoFault::new(Operation::Write, Path::new("snapshot"), io::Error::other(text)))
}

#[cfg(test)]
mod tests {
    use super::check_visited;

    #[test]
    fn a_short_walk_is_a_failure() {
        assert!(check_visited(7, 7).is_ok());
        let told = check_visited(6, 7).expect_err("a key is missing").to_string();
        assert!(told.contains("met 6 keys of 7"), "{told}");
        assert!(check_visited(8, 7).is_err());
    }
}
