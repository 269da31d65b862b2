//! The writing side of a conversion: keys in, one of the three forms out.

use crate::keyspace::NewValue;
use crate::persist::aof::base::{push_command, push_key};
use crate::persist::rdb::parse::Attributes;
use crate::persist::rdb::save::put_field;
use crate::persist::rdb::writer::Writer;
use crate::persist::rdb::{opcode, string, values};
use crate::sys::durable::DurableFile;
use crate::sys::io::IoResult;
use crate::tools::convert::digest::DataSetDigest;
use crate::tools::convert::losses::{Format, Kept, Losses};
use crate::value::hash::FieldExpiry;
use crate::value::zset::ZsetLimits;
use crate::value::{HashRef, HashValue, StrRef, TypeLimits, ValueRef, ZsetValue};

/// Commands collected before they are handed to the file, bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// What says that a snapshot is the first part of an AOF; written anew.
const AOF_BASE_FIELD: &[u8] = b"aof-base";
/// Type number of a sorted set that is written as it lies in memory (since RDB 10).
const PACKED_ZSET: u8 = 17;
/// Fields of a replication stream: what is converted is not at that point of it any more.
const REPLICATION_FIELDS: &[u8] = b"repl-";

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub format: Format,
    /// Of the RDB, 9 to 12; 12 for commands, which can hold all.
    pub version: u8,
    /// Unix ms.
    pub now_ms: i64,
}

impl Target {
    /// The details of keys that the file keeps.
    pub fn kept(self) -> Kept {
        Kept::by(self.format, self.version, self.now_ms)
    }
}

enum Output<'f> {
    Rdb(Writer<'f>),
    Commands { file: &'f mut DurableFile, chunk: Vec<u8> },
}

/// Takes what is read, in the order of an RDB.
pub struct Sink<'f> {
    output: Output<'f>,
    target: Target,
    limits: TypeLimits,
    /// Selected in the output.
    db: Option<u64>,
    pub losses: Losses,
    pub digest: DataSetDigest,
    pub libraries: u64,
    /// Bytes of the commands that load them, at the beginning of the file.
    pub library_bytes: u64,
    /// Hashes with fields that expire: as commands they need Redis 7.4.
    pub expiring_hashes: u64,
}

impl<'f> Sink<'f> {
    /// Begins the output.
    ///
    /// # Errors
    /// The file's.
    pub fn new(file: &'f mut DurableFile, target: Target, limits: TypeLimits) -> IoResult<Sink<'f>> {
        let output = match target.format {
            Format::Commands => Output::Commands { file, chunk: Vec::with_capacity(2 * CHUNK_BYTES) },
            Format::Rdb | Format::Aof => {
                let mut writer = Writer::new(file, true, true);
                writer.put_raw(format!("REDIS{:04}", target.version).as_bytes())?;
                put_field(
                    &mut writer,
                    AOF_BASE_FIELD,
                    if target.format == Format::Aof { b"1" } else { b"0" },
                )?;
                Output::Rdb(writer)
            }
        };
        Ok(Sink {
            output,
            target,
            limits,
            db: None,
            losses: Losses::default(),
            digest: DataSetDigest::new(target.kept()),
            libraries: 0,
            library_bytes: 0,
            expiring_hashes: 0,
        })
    }

    /// A field about the file.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> IoResult<()> {
        match &mut self.output {
            Output::Rdb(writer) if name != AOF_BASE_FIELD && !name.starts_with(REPLICATION_FIELDS) => {
                put_field(writer, name, value)
            }
            _ => Ok(()),
        }
    }

    /// A function library.
    pub fn library(&mut self, code: &[u8]) -> IoResult<()> {
        if !Losses::keeps_libraries(self.target.format, self.target.version) {
            self.losses.libraries += 1;
            return Ok(());
        }
        self.libraries += 1;
        match &mut self.output {
            Output::Rdb(writer) => {
                writer.put_u8(opcode::FUNCTION2);
                string::put_bytes(writer, code)
            }
            Output::Commands { chunk, .. } => {
                push_command(chunk, &[b"FUNCTION", b"LOAD", code]);
                self.library_bytes = chunk.len() as u64;
                Ok(())
            }
        }
    }

    /// How many keys the selected database will have.
    pub fn resize(&mut self, db: u64, keys: u64, volatile: u64) {
        self.select(db);
        if let Output::Rdb(writer) = &mut self.output {
            writer.put_u8(opcode::RESIZEDB);
            writer.put_len(keys);
            writer.put_len(volatile);
        }
    }

    fn select(&mut self, db: u64) {
        if self.db.replace(db) == Some(db) {
            return;
        }
        match &mut self.output {
            Output::Rdb(writer) => {
                writer.put_u8(opcode::SELECTDB);
                writer.put_len(db);
            }
            Output::Commands { chunk, .. } => {
                push_command(chunk, &[b"SELECT", itoa::Buffer::new().format(db).as_bytes()]);
            }
        }
    }

    /// A key as it was read from a file.
    pub fn new_value(
        &mut self,
        db: u64,
        key: &[u8],
        value: &NewValue<'_>,
        attributes: Attributes,
    ) -> IoResult<()> {
        with_value(value, |value| self.key(db, key, value, attributes))
    }

    /// A key. What its fields lose is counted before; a hash that loses all of them is left out.
    pub fn key(&mut self, db: u64, key: &[u8], value: &ValueRef<'_>, attributes: Attributes) -> IoResult<()> {
        self.losses.count_value(value, self.target.format, self.target.version);
        if let ValueRef::Hash(hash) = value
            && values::version_min(value) > 0
        {
            if self.target.version < values::version_min(value) {
                let plain = self.without_expiry(*hash);
                return match plain.as_ref().is_empty() {
                    true => Ok(()),
                    false => self.put(db, key, &ValueRef::Hash(plain.as_ref()), attributes),
                };
            }
            self.expiring_hashes += 1;
        }
        self.put(db, key, value, attributes)
    }

    /// The hash with fields that stay, for a version that knows no expiry of fields.
    fn without_expiry(&mut self, hash: HashRef<'_>) -> HashValue {
        let mut plain = HashValue::new();
        for field in hash.fields() {
            if field.expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.target.now_ms) {
                self.losses.expired_fields += 1;
                continue;
            }
            self.losses.field_expiries += u64::from(field.expiry_ms.is_some());
            let (name, value) = (field.name.to_vec(), field.value.to_vec());
            plain.set(&name, &value, FieldExpiry::Clear, self.limits.hash, self.limits.seed);
        }
        plain
    }

    fn put(&mut self, db: u64, key: &[u8], value: &ValueRef<'_>, attributes: Attributes) -> IoResult<()> {
        self.select(db);
        match self.as_readers_find(value) {
            Some(read) => self.digest.add(db, key, &ValueRef::Zset(read.as_ref()), attributes),
            None => self.digest.add(db, key, value, attributes),
        }
        match &mut self.output {
            Output::Rdb(writer) => put_record(writer, key, value, attributes, self.target.version),
            Output::Commands { file, chunk } => {
                self.losses.access_records +=
                    u64::from(attributes.idle_s.is_some() || attributes.frequency.is_some());
                push_key(chunk, key, value, attributes.expiry_ms);
                if chunk.len() < CHUNK_BYTES {
                    return Ok(());
                }
                file.append(chunk)?;
                chunk.clear();
                // One huge key must not hold its memory to the end.
                chunk.shrink_to(2 * CHUNK_BYTES);
                Ok(())
            }
        }
    }

    /// A sorted set as a reader of this form makes it, where that differs. These forms hold members and
    /// scores one by one, and a small set that is built so keeps a score of -0 as 0, here as in Redis.
    fn as_readers_find(&self, value: &ValueRef<'_>) -> Option<ZsetValue> {
        let ValueRef::Zset(zset) = value else { return None };
        let is_packed_whole = self.target.format != Format::Commands
            && values::type_of(value, self.target.version) == PACKED_ZSET;
        if is_packed_whole || !zset.iter().any(|(score, _)| score == 0.0 && score.is_sign_negative()) {
            return None;
        }
        let limits = ZsetLimits::from(&self.limits);
        let mut read = ZsetValue::with_hint(zset.len(), 0, &limits);
        let mut text = Vec::new();
        for (score, member) in zset.range(0, zset.len(), true) {
            text.clear();
            member.append_to(&mut text);
            // A set has no score that is not a number.
            let _ = read.insert(score, &text, &limits);
        }
        Some(read)
    }

    /// Ends the output.
    pub fn finish(self) -> IoResult<Written> {
        let Sink { output, losses, digest, libraries, library_bytes, expiring_hashes, .. } = self;
        match output {
            Output::Rdb(writer) => {
                writer.finish()?;
            }
            Output::Commands { file, chunk } => file.append(&chunk)?,
        }
        Ok(Written { losses, digest, libraries, library_bytes, expiring_hashes })
    }
}

/// Calls `see` with a value that was read from a file.
pub fn with_value<R>(value: &NewValue<'_>, see: impl FnOnce(&ValueRef<'_>) -> R) -> R {
    match value {
        NewValue::Encoded(bytes) | NewValue::Bytes { bytes, .. } => {
            see(&ValueRef::String(StrRef::Large(bytes)))
        }
        NewValue::Int(number) => see(&ValueRef::String(StrRef::Int(*number))),
        NewValue::Owned(value) => see(&value.as_ref()),
    }
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    pub losses: Losses,
    pub digest: DataSetDigest,
    pub libraries: u64,
    /// Bytes of the commands that load them, at the beginning of the file.
    pub library_bytes: u64,
    pub expiring_hashes: u64,
}

fn put_record(
    writer: &mut Writer<'_>,
    key: &[u8],
    value: &ValueRef<'_>,
    attributes: Attributes,
    version: u8,
) -> IoResult<()> {
    if let Some(expiry_ms) = attributes.expiry_ms {
        writer.put_u8(opcode::EXPIRETIME_MS);
        writer.put_raw(&expiry_ms.to_le_bytes())?;
    }
    if let Some(idle_s) = attributes.idle_s {
        writer.put_u8(opcode::IDLE);
        writer.put_len(idle_s);
    }
    if let Some(frequency) = attributes.frequency {
        writer.put_u8(opcode::FREQ);
        writer.put_u8(frequency);
    }
    writer.put_u8(values::type_of(value, version));
    string::put_bytes(writer, key)?;
    values::put_value(writer, value, version)?;
    writer.end_record()
}
