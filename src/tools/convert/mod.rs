//! `tine-check-rdb --convert`: RDB and AOF into one another, and into older versions.
//!
//! ```text
//!  RDB ─► key by key ──────────────┐
//!                                  ├─► sink ─► temporary file ─► sync ─► read back ─► rename
//!  AOF ─► executed into memory ────┘     └─► losses, digest ─────────────┘ compared
//! ```
//! | file | what |
//! | --- | --- |
//! | `source` | what is read |
//! | `sink` | the three forms that are written |
//! | `losses` | what a form has no place for |
//! | `digest` | what was written against what is read back: that of DEBUG DIGEST, and the details |

mod digest;
mod losses;
mod sink;
mod source;

pub use losses::Format;

use crate::base::clock::unix_ms_now;
use crate::base::hash::HashSeed;
use crate::persist::aof::manifest::Manifest;
use crate::persist::rdb::{FIELD_EXPIRY_VERSION_MIN, SaveOptions, VALKEY_VERSION};
use crate::server::Server;
use crate::sys::durable::DurableFile;
use crate::sys::io::{OsStorage, Storage, parent_dir};
use crate::tools::convert::sink::{Sink, Target, Written};
use crate::tools::convert::source::{Failure, Source, TailBytes};
use crate::value::TypeLimits;
use serde_json::{Value as Json, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest manifest, bytes.
const MANIFEST_MAX_BYTES: u64 = 1 << 20;
/// What is written when neither the command line nor the input asks for another version.
const DEFAULT_VERSION: u8 = 10;
/// Versions that can be written.
pub const VERSION_MIN: u8 = 9;
pub const VERSION_MAX: u8 = 12;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub input: PathBuf,
    pub output: PathBuf,
    /// `None`: `aof` for a name that ends so, else `rdb`.
    pub format: Option<Format>,
    /// `None`: the input's, as far as it can be written.
    pub version: Option<u8>,
    /// An existing output is replaced.
    pub force: bool,
    /// Nothing may be left out.
    pub lossless: bool,
    pub drop_modules: bool,
    /// The output is read back and compared.
    pub verify: bool,
}

/// What was done.
#[derive(Debug)]
pub struct Converted {
    target: Target,
    written: Written,
    bytes: u64,
    verified: bool,
}

/// Converts as planned. On failure there is no output, and an existing one is as it was.
///
/// # Errors
/// A line that says why.
pub fn convert(plan: &Plan) -> Result<Converted, String> {
    let text = |failure: Failure| format!("{}: {failure}", plan.input.display());
    refuse_existing(plan)?;
    match source_of(&plan.input).map_err(text)? {
        Source::Rdb(path) => match convert_rdb(plan, &path)? {
            Some(converted) => Ok(converted),
            // Commands stand behind it: it is the first part of a log.
            None => convert_log(plan, &[path]),
        },
        Source::Log(files) => convert_log(plan, &files),
    }
}

fn refuse_existing(plan: &Plan) -> Result<(), String> {
    match OsStorage.kind(&plan.output) {
        // A link that leads nowhere is there too.
        Ok(_) if !plan.force => Err(is_there(plan)),
        Err(fault) if !fault.is_not_found() => Err(fault.to_string()),
        _ => Ok(()),
    }
}

fn is_there(plan: &Plan) -> String {
    format!("{} is there already (--force replaces it)", plan.output.display())
}

fn source_of(path: &Path) -> Result<Source, Failure> {
    if OsStorage.metadata(path)?.is_dir {
        let names = OsStorage.list_dir(path)?;
        let mut manifests = names.iter().filter(|name| name.to_string_lossy().ends_with(".manifest"));
        return match (manifests.next(), manifests.next()) {
            (Some(name), None) => source_of_manifest(&path.join(name)),
            _ => Err(Failure::Text("a folder with one manifest is expected".to_owned())),
        };
    }
    let file = OsStorage.open_read(path)?;
    if source::begins_with(&*file, b"REDIS")? || source::begins_with(&*file, b"VALKEY")? {
        return Ok(Source::Rdb(path.to_path_buf()));
    }
    if source::begins_with(&*file, b"file ")? || path.extension().is_some_and(|end| end == "manifest") {
        return source_of_manifest(path);
    }
    if source::begins_with(&*file, b"*")? || source::begins_with(&*file, b"#")? {
        return Ok(Source::Log(vec![path.to_path_buf()]));
    }
    Err(Failure::Text("neither an RDB file nor an append-only file".to_owned()))
}

fn source_of_manifest(path: &Path) -> Result<Source, Failure> {
    let content = OsStorage.read_whole(path, MANIFEST_MAX_BYTES)?;
    let parts = Manifest::parse(&content)
        .map_err(|failure| Failure::Text(format!("{} (line {})", failure.text, failure.line)))?;
    let folder = parent_dir(path);
    Ok(Source::Log(parts.files().map(|name| folder.join(name)).collect()))
}

/// `None`: the file goes on behind the RDB, so it must be executed.
fn convert_rdb(plan: &Plan, path: &Path) -> Result<Option<Converted>, String> {
    let text = |failure: Failure| format!("{}: {failure}", path.display());
    let version = match source::rdb_version(path).map_err(text)? {
        VALKEY_VERSION => VERSION_MAX,
        version if version < u32::from(VERSION_MIN) => DEFAULT_VERSION,
        version => version as u8,
    };
    let target = target_of(plan, version);
    let limits = limits()?;
    let mut file = create(plan)?;
    let mut sink = Sink::new(&mut file, target, limits).map_err(|fault| fault.to_string())?;
    let TailBytes(tail) = source::feed_rdb(path, &mut sink, &limits, plan.drop_modules).map_err(text)?;
    if tail > 0 {
        return Ok(None);
    }
    let written = sink.finish().map_err(|fault| fault.to_string())?;
    put_in_place(plan, target, file, written).map(Some)
}

fn convert_log(plan: &Plan, files: &[PathBuf]) -> Result<Converted, String> {
    let text = |failure: Failure| failure.to_string();
    let server = source::execute(files, 0).map_err(text)?;
    let mut databases = 0..server.keyspace.databases();
    let expiring = databases.any(|index| server.keyspace.db(index).may_have_field_expiry());
    let target = target_of(plan, if expiring { FIELD_EXPIRY_VERSION_MIN } else { DEFAULT_VERSION });
    let mut file = create(plan)?;
    let written = write_server(&server, &mut file, target)?;
    // The read-back may need as much memory again.
    drop(server);
    put_in_place(plan, target, file, written)
}

fn write_server(server: &Server, file: &mut DurableFile, target: Target) -> Result<Written, String> {
    let text = |fault: crate::sys::io::IoFault| fault.to_string();
    let mut sink = Sink::new(file, target, limits()?).map_err(text)?;
    let created_s = (target.now_ms / 1000).to_string();
    let defaults = SaveOptions::default();
    for (name, value) in [("redis-ver", defaults.redis_version), ("redis-bits", "64"), ("ctime", &created_s)]
    {
        sink.field(name.as_bytes(), value.as_bytes()).map_err(text)?;
    }
    for code in &server.persistence.snapshot.functions {
        sink.library(code).map_err(text)?;
    }
    source::feed_keyspace(&server.keyspace, &mut sink).map_err(text)?;
    sink.finish().map_err(text)
}

fn limits() -> Result<TypeLimits, String> {
    HashSeed::from_os().map(TypeLimits::new).map_err(|failure| failure.to_string())
}

fn target_of(plan: &Plan, natural_version: u8) -> Target {
    let by_name =
        if plan.output.extension().is_some_and(|end| end == "aof") { Format::Aof } else { Format::Rdb };
    let format = plan.format.unwrap_or(by_name);
    let version =
        if format == Format::Commands { VERSION_MAX } else { plan.version.unwrap_or(natural_version) };
    let now_ms = unix_ms_now();
    Target { format, version, now_ms }
}

/// The temporary file lies beside the output, so that the rename is one step.
fn temp_path(output: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(output.file_name().unwrap_or_default());
    name.push(format!(".convert-{}", std::process::id()));
    parent_dir(output).join(name)
}

fn create(plan: &Plan) -> Result<DurableFile, String> {
    let storage: Arc<dyn Storage> = Arc::new(OsStorage);
    DurableFile::create(storage, &plan.output, &temp_path(&plan.output)).map_err(|fault| fault.to_string())
}

/// Syncs the new file, reads it back, gives it its name.
fn put_in_place(
    plan: &Plan,
    target: Target,
    file: DurableFile,
    written: Written,
) -> Result<Converted, String> {
    if plan.lossless && !written.losses.is_empty() {
        let lost: Vec<String> = written.losses.lines().collect();
        return Err(format!("nothing was written, since something would be lost: {}", lost.join(", ")));
    }
    let temp = temp_path(&plan.output);
    let bytes = file.finish_unrenamed().map_err(|fault| fault.to_string())?;
    let named = match plan.verify {
        true => verify(&temp, target, &written),
        false => Ok(()),
    };
    let named = named.and_then(|()| give_name(plan, &temp));
    if named.is_err() {
        // The reason is told; a left-over file would only add to it.
        let _ = OsStorage.remove(&temp);
    }
    named.map(|()| Converted { target, written, bytes, verified: plan.verify })
}

/// Gives the file its name. Unless that may be replaced, it is taken in the same step in which it is
/// found to be free.
fn give_name(plan: &Plan, temp: &Path) -> Result<(), String> {
    let named = match plan.force {
        true => OsStorage.rename(temp, &plan.output),
        false => OsStorage.rename_new(temp, &plan.output),
    };
    named.and_then(|()| OsStorage.sync_dir(parent_dir(&plan.output))).map_err(|fault| match fault.errno() {
        Some(libc::EEXIST) if !plan.force => is_there(plan),
        _ => fault.to_string(),
    })
}

/// Reads the new file back and compares its digest.
fn verify(temp: &Path, target: Target, written: &Written) -> Result<(), String> {
    let text = |failure: Failure| format!("the file that was written cannot be read back: {failure}");
    let found = match target.format {
        Format::Rdb | Format::Aof => {
            let (digest, libraries) = source::digest_rdb(temp, &limits()?, target.kept()).map_err(text)?;
            digest == written.digest && libraries == written.libraries
        }
        Format::Commands => {
            let server = source::execute(&[temp.to_path_buf()], written.library_bytes).map_err(text)?;
            source::digest_keyspace(&server.keyspace, target.kept()) == written.digest
        }
    };
    match found {
        true => Ok(()),
        false => Err("the file that was written does not hold what was read; it was removed".to_owned()),
    }
}

impl Converted {
    fn form(&self) -> String {
        match self.target.format {
            Format::Rdb => format!("RDB version {}", self.target.version),
            Format::Aof => format!("append-only file with a preamble of RDB version {}", self.target.version),
            Format::Commands => "append-only file of commands".to_owned(),
        }
    }

    /// Lines for people.
    pub fn lines(&self, plan: &Plan) -> Vec<String> {
        let Written { losses, digest, libraries, expiring_hashes, .. } = &self.written;
        let mut lines = vec![
            format!("Converted {} to {}", plan.input.display(), plan.output.display()),
            format!("[info] {}, {} bytes", self.form(), self.bytes),
            format!(
                "[info] {} keys in {} databases, {libraries} function libraries",
                digest.keys(),
                digest.databases()
            ),
        ];
        if self.target.format == Format::Commands && *expiring_hashes > 0 {
            lines.push(format!(
                "[info] {expiring_hashes} hashes with fields that expire: needs Redis 7.4 or newer"
            ));
        }
        lines.extend(losses.lines().map(|line| format!("[lost] {line}")));
        if losses.is_empty() {
            lines.push("[info] nothing was lost".to_owned());
        }
        lines.push(match self.verified {
            true => format!("[info] read back, digest {}", digest.total().hex()),
            false => format!("[info] not read back, digest {}", digest.total().hex()),
        });
        lines
    }

    /// The same for programs.
    pub fn json(&self, plan: &Plan) -> Json {
        json!({
            "ok": true,
            "input": plan.input.to_string_lossy(),
            "output": plan.output.to_string_lossy(),
            "form": self.form(),
            "bytes": self.bytes,
            "keys": self.written.digest.keys(),
            "databases": self.written.digest.databases(),
            "function_libraries": self.written.libraries,
            "lost": self.written.losses.json(),
            "digest": self.written.digest.total().hex(),
            "verified": self.verified,
        })
    }
}
