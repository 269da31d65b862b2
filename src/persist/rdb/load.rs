//! Loading: events into a keyspace, in steps, so that the caller can serve clients in between.
//!
//! ```text
//!  while !loader.step(&mut keyspace, budget)? { pump events }   then   loader.finish()
//! ```
//! What is loaded before an error stays in the keyspace; the caller decides what becomes of it
//! (at a start: the end of the process).

use crate::base::bytes::repr;
use crate::keyspace::{Keyspace, NewValue};
use crate::persist::key_delay::KeyDelay;
use crate::persist::rdb::batch::{BATCH_KEYS, Scratch};
use crate::persist::rdb::error::{RdbError, RdbErrorKind};
use crate::persist::rdb::input::{FileInput, Input};
use crate::persist::rdb::parse::{Attributes, Event, Parser};
use crate::persist::rdb::scan::Scanner;
use crate::persist::rdb::{skip, values};
use crate::sys::io::{Storage, StorageFile};
use crate::value::TypeLimits;
use std::path::Path;
use std::time::{Duration, Instant};

/// Fewest bytes of a key in a file: type, empty key, empty value. Bounds what RESIZEDB may claim.
const KEY_MIN_BYTES: u64 = 3;
/// Keys for which a table is sized ahead when the length of the source is not known.
const RESERVE_UNSEEN_MAX: u64 = 1 << 22;
/// Longest value that is held until it is whole, bytes: as long as one command of a stream may be.
const RECORD_BYTES_MAX: u64 = u32::MAX as u64;
const TOO_LONG_TO_HOLD: &str =
    "a value of more than 4 GiB can't be loaded from a socket (repl-diskless-load disabled loads it)";
/// With `key-load-delay` a step ends after this time, whatever its budget.
const DELAYED_STEP: Duration = Duration::from_millis(50);

/// How to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Unix ms: what has expired by now.
    pub now_ms: i64,
    /// Leave out keys whose time has passed (a primary that loads a snapshot, not an AOF's base).
    pub drop_expired: bool,
    /// Tell which keys were left out, by [`Loader::take_expired`].
    pub note_expired: bool,
    /// Compare the checksum.
    pub checksum: bool,
    /// `key-load-delay`: microseconds a key, -n: 1 microsecond each n keys.
    pub key_delay: i32,
    /// A key that is there is replaced instead of being an error.
    pub allow_duplicates: bool,
    /// When collections change their encoding; `None`: the built-in limits.
    pub limits: Option<TypeLimits>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            now_ms: 0,
            drop_expired: false,
            note_expired: false,
            checksum: true,
            key_delay: 0,
            allow_duplicates: false,
            limits: None,
        }
    }
}

/// A step ends when it has noted so many expired keys, so that they do not gather.
const EXPIRED_NOTED_MAX: usize = 4096;

/// How far a load has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub loaded_bytes: u64,
    pub total_bytes: u64,
    pub keys: u64,
}

/// What was loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    pub version: u32,
    pub keys_loaded: u64,
    pub keys_expired: u64,
    /// Databases and names of such keys (`note_expired`) that [`Loader::take_expired`] has not given.
    pub expired: Vec<(usize, Vec<u8>)>,
    /// Collections without elements, which were left out.
    pub keys_empty: u64,
    /// Length of the RDB, bytes: where the commands of an AOF with an RDB base begin.
    pub bytes: u64,
    /// Function libraries, to be kept as they are.
    pub functions: Vec<Vec<u8>>,
    /// Fields about the file, in order.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl LoadReport {
    /// A field about the file.
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_slice())
    }
}

/// Fields kept of one file at most; a file could hold millions.
const FIELDS_MAX: usize = 64;

/// A load under way.
pub struct Loader {
    parser: Parser,
    scratch: Scratch,
    options: LoadOptions,
    report: LoadReport,
    db: usize,
    delay: KeyDelay,
    done: bool,
    /// The source does not wait: what of it is whole.
    scanner: Option<Scanner>,
}

impl Loader {
    /// Opens a file and reads its header. `Ok(None)`: there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or is no RDB of a known version.
    pub fn open(
        storage: &dyn Storage,
        path: &Path,
        options: LoadOptions,
    ) -> Result<Option<Loader>, RdbError> {
        let file = match storage.open_read(path) {
            Ok(file) => file,
            Err(fault) if fault.is_not_found() => return Ok(None),
            Err(fault) => return Err(start_error(RdbErrorKind::Io(fault))),
        };
        Loader::of_file(file, options).map(Some)
    }

    /// A load from the file's present position, which may be in front of other data.
    ///
    /// # Errors
    /// As [`Loader::open`].
    pub fn of_file(file: Box<dyn StorageFile>, options: LoadOptions) -> Result<Loader, RdbError> {
        let input = FileInput::new(file).map_err(start_error)?;
        let parser = Parser::new(input, options.checksum)?;
        let report = LoadReport { version: parser.version, ..LoadReport::default() };
        let delay = KeyDelay::new(options.key_delay);
        let scratch = Scratch::default();
        Ok(Loader { parser, scratch, options, report, db: 0, delay, done: false, scanner: None })
    }

    /// A load from a source that gives what it has and never waits; its header must be there. Records
    /// are loaded when they are whole.
    ///
    /// # Errors
    /// As [`Loader::open`].
    pub fn of_arriving(
        source: Box<dyn StorageFile>,
        options: LoadOptions,
        databases: usize,
    ) -> Result<Loader, RdbError> {
        let mut loader = Loader::of_file(source, options)?;
        let mut scanner = Scanner::behind_header(loader.parser.version, databases);
        scanner.feed(loader.parser.input.ready()).map_err(|kind| loader.parser.error(kind))?;
        loader.scanner = Some(scanner);
        Ok(loader)
    }

    /// How far the load is.
    pub fn progress(&self) -> Progress {
        Progress {
            loaded_bytes: self.parser.input.offset(),
            total_bytes: self.parser.input.file_bytes(),
            keys: self.report.keys_loaded + self.report.keys_expired,
        }
    }

    /// What was loaded so far.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Database and name of each key that was left out since the last call (`note_expired`).
    pub fn take_expired(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.report.expired)
    }

    /// Bytes that have been read and not used.
    pub fn ready_bytes(&self) -> usize {
        self.parser.input.ready().len()
    }

    /// Of a source that does not wait: whether a step has something to do without more of it.
    pub fn has_whole_records(&self) -> bool {
        let whole = self.scanner.as_ref().map_or(0, Scanner::whole);
        !self.done && whole > self.parser.input.offset()
    }

    /// After an error: whether the source broke off or could not be read, so that another try may go better.
    pub fn has_lost_its_source(&self, failure: &RdbError) -> bool {
        matches!(failure.kind, RdbErrorKind::Io(_)) || self.parser.input.has_broken_off()
    }

    /// Whether everything up to the end has been loaded.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Reads what a source that does not wait has now, `bytes_max` at most. False: nothing.
    ///
    /// # Errors
    /// The source has ended or cannot be read; what came cannot be loaded.
    pub fn read_ahead(&mut self, bytes_max: usize) -> Result<bool, RdbError> {
        let read = self.parser.input.read_ahead(bytes_max);
        let outcome = read.and_then(|bytes| {
            let Some(scanner) = &mut self.scanner else { return Ok(!bytes.is_empty()) };
            scanner.feed(bytes)?;
            match scanner.open_bytes() <= RECORD_BYTES_MAX {
                true => Ok(!bytes.is_empty()),
                false => Err(RdbErrorKind::Corrupt(TOO_LONG_TO_HOLD)),
            }
        });
        outcome.map_err(|kind| self.parser.error(kind))
    }

    /// Bytes behind the end, which is to be reached first.
    ///
    /// # Errors
    /// The source ends before, or cannot be read.
    pub fn take_tail(&mut self, count: usize) -> Result<Vec<u8>, RdbError> {
        let taken = self.parser.input.take(count).map(<[u8]>::to_vec);
        taken.map_err(|kind| self.parser.error(kind))
    }

    /// Loads about `budget_bytes` more, of a source that does not wait only what is whole. True: the end
    /// was reached.
    ///
    /// # Errors
    /// The file is damaged or holds what cannot be loaded.
    pub fn step(&mut self, keyspace: &mut Keyspace, budget_bytes: u64) -> Result<bool, RdbError> {
        let until = self.parser.input.offset().saturating_add(budget_bytes.max(1));
        let until = self.scanner.as_ref().map_or(until, |scanner| scanner.whole().min(until));
        let start = Instant::now();
        while !self.done && self.goes_on(until) {
            if !self.delay.is_set() && self.parser.is_between_keys() {
                self.load_batches(keyspace, until)?;
                if !self.goes_on(until) {
                    break;
                }
            } else if self.options.key_delay != 0 && start.elapsed() >= DELAYED_STEP {
                break;
            }
            self.load_one(keyspace)?;
        }
        Ok(self.done)
    }

    /// Whether the step has not come to its end.
    fn goes_on(&self, until: u64) -> bool {
        self.parser.input.offset() < until && self.report.expired.len() < EXPIRED_NOTED_MAX
    }

    /// What was loaded, after the last step.
    pub fn finish(mut self) -> LoadReport {
        self.report.bytes = self.parser.input.offset();
        self.report
    }

    /// Plain strings, a batch at a time, up to something else.
    fn load_batches(&mut self, keyspace: &mut Keyspace, until: u64) -> Result<(), RdbError> {
        while self.goes_on(until) {
            let ready = self.parser.input.ready();
            let mut items = [None; BATCH_KEYS];
            let db = keyspace.db(self.db);
            let (count, consumed) = self.scratch.parse(ready, &mut items, |key| {
                let hash = keyspace.hash(key);
                db.prefetch_bucket(hash);
                hash
            });
            let mut outcome = Ok(());
            for (index, item) in items[..count].iter().flatten().enumerate() {
                let key = self.scratch.key(index, item);
                let value = values::new_value_of(self.scratch.value(index, item));
                let target = Target { db: self.db, hash: item.hash, key };
                outcome = store(keyspace, &self.options, &mut self.report, target, value, item.attributes);
                if outcome.is_err() {
                    break;
                }
            }
            self.parser.input.consume(consumed);
            outcome.map_err(|kind| self.parser.error(kind))?;
            if count < BATCH_KEYS {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One event, of any kind.
    fn load_one(&mut self, keyspace: &mut Keyspace) -> Result<(), RdbError> {
        let event = self.parser.next_event()?;
        let outcome = match event {
            Event::Key(number, attributes) => self.load_key(keyspace, number, attributes),
            Event::SelectDb(db) => self.select(keyspace, db),
            Event::Resize { keys, .. } => {
                self.reserve(keyspace, keys);
                Ok(())
            }
            Event::Aux => {
                self.take_field();
                Ok(())
            }
            Event::Function => {
                self.report.functions.push(self.parser.value.clone());
                Ok(())
            }
            Event::ModuleAux(id) => Err(RdbErrorKind::Module(skip::module_name(id))),
            Event::End => {
                self.done = true;
                Ok(())
            }
        };
        outcome.map_err(|kind| self.parser.error(kind))
    }

    fn load_key(
        &mut self,
        keyspace: &mut Keyspace,
        number: u8,
        attributes: Attributes,
    ) -> Result<(), RdbErrorKind> {
        let parser = &mut self.parser;
        let limits = self.options.limits.unwrap_or_else(|| TypeLimits::new(keyspace.seed()));
        let value = match values::read_value(number, &mut parser.input, &mut parser.scratch, &limits) {
            Err(RdbErrorKind::EmptyKey) => {
                self.report.keys_empty += 1;
                log::warn!("rdbLoadObject skipping empty key: {}", parser.key.escape_ascii());
                return Ok(());
            }
            outcome => outcome?,
        };
        let target = Target { db: self.db, hash: keyspace.hash(&parser.key), key: &parser.key };
        store(keyspace, &self.options, &mut self.report, target, value, attributes)?;
        if self.delay.is_set() {
            self.delay.pause();
        }
        Ok(())
    }

    fn select(&mut self, keyspace: &Keyspace, db: u64) -> Result<(), RdbErrorKind> {
        let configured = keyspace.databases();
        match usize::try_from(db) {
            Ok(index) if index < configured => {
                self.db = index;
                Ok(())
            }
            _ => Err(RdbErrorKind::TooManyDatabases { wanted: db, configured }),
        }
    }

    /// Sizes the table as the file says, as far as the file can be true.
    fn reserve(&mut self, keyspace: &mut Keyspace, keys: u64) {
        let input = &self.parser.input;
        let possible = match input.file_bytes() {
            u64::MAX => RESERVE_UNSEEN_MAX,
            bytes => bytes.saturating_sub(input.offset()) / KEY_MIN_BYTES,
        };
        keyspace.reserve(self.db, keys.min(possible) as usize);
    }

    fn take_field(&mut self) {
        let (name, value) = (&self.parser.key, &self.parser.value);
        log_field(name, value, self.options.now_ms);
        if self.report.fields.len() < FIELDS_MAX {
            self.report.fields.push((name.clone(), value.clone()));
        }
    }
}

/// Where a value goes.
struct Target<'a> {
    db: usize,
    hash: u64,
    key: &'a [u8],
}

/// Puts a loaded key into its database.
#[inline]
fn store(
    keyspace: &mut Keyspace,
    options: &LoadOptions,
    report: &mut LoadReport,
    target: Target<'_>,
    value: NewValue<'_>,
    attributes: Attributes,
) -> Result<(), RdbErrorKind> {
    if options.drop_expired && attributes.expiry_ms.is_some_and(|expiry| expiry < options.now_ms) {
        report.keys_expired += 1;
        if options.note_expired {
            report.expired.push((target.db, target.key.to_vec()));
        }
        return Ok(());
    }
    let access = access_bits(keyspace, &attributes);
    let Target { db, hash, key } = target;
    if keyspace.db(db).find_word(hash, key).is_some() {
        if !options.allow_duplicates {
            log::warn!("RDB has duplicated key '{}' in DB {db}", String::from_utf8_lossy(&repr(key)));
            return Err(RdbErrorKind::DuplicateKey { db });
        }
        keyspace.remove(db, hash, key, true);
    }
    keyspace.db_mut(db).insert(hash, key, value, attributes.expiry_ms, access);
    report.keys_loaded += 1;
    Ok(())
}

/// What is recorded of a key's use counts only under a policy of the same kind.
#[inline]
fn access_bits(keyspace: &Keyspace, attributes: &Attributes) -> u32 {
    let access = &keyspace.access;
    match (access.lfu, attributes.frequency, attributes.idle_s) {
        (true, Some(frequency), _) => access.bits_of_frequency(frequency),
        (false, _, Some(idle_s)) => access.bits_of_idle(idle_s),
        _ => access.fresh(),
    }
}

fn log_field(name: &[u8], value: &[u8], now_ms: i64) {
    let text = String::from_utf8_lossy(value);
    let number = || text.parse::<i64>().unwrap_or(0);
    match name {
        b"redis-ver" | b"valkey-ver" => log::info!("Loading RDB produced by version {text}"),
        b"ctime" => log::info!("RDB age {} seconds", (now_ms / 1000 - number()).max(0)),
        b"used-mem" => {
            log::info!("RDB memory usage when created {:.2} Mb", number() as f64 / (1 << 20) as f64)
        }
        b"aof-base" if number() != 0 => log::info!("RDB is base AOF"),
        b"aof-preamble" if number() != 0 => log::info!("RDB has an AOF tail"),
        _ if name.first() == Some(&b'%') => log::info!("RDB '{}': {text}", String::from_utf8_lossy(name)),
        _ => {}
    }
}

fn start_error(kind: RdbErrorKind) -> RdbError {
    let step = super::error::Step::Start;
    RdbError { kind, offset: 0, step, key: None, type_number: None }
}

/// Loads a whole file, telling `progress` every `interval_bytes`. `Ok(None)`: there is no file.
///
/// # Errors
/// As [`Loader::step`].
pub fn load_file(
    storage: &dyn Storage,
    path: &Path,
    keyspace: &mut Keyspace,
    options: LoadOptions,
    interval_bytes: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<LoadReport>, RdbError> {
    let Some(mut loader) = Loader::open(storage, path, options)? else { return Ok(None) };
    while !loader.step(keyspace, interval_bytes)? {
        progress(loader.progress());
    }
    Ok(Some(loader.finish()))
}
