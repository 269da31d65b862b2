//! What the child of a rewrite writes: the new base, as commands or with an RDB preamble.
//!
//! Only what is in memory counts, so deleted history leaves nothing behind. The child calls this
//! after the fork: it takes no lock of ours and touches nothing but its file.

mod hash;
mod list;
mod set;
mod stream;
mod zset;

use crate::keyspace::Keyspace;
use crate::persist::child::ChildLink;
use crate::persist::key_delay::KeyDelay;
use crate::persist::rdb::{SaveOptions, save_to};
use crate::sys::durable::DurableFile;
use crate::sys::io::{IoResult, Storage, parent_dir};
use crate::value::ValueRef;
use crate::value::string::Digits;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes between two syncs with `aof-rewrite-incremental-fsync`.
const SYNC_STEP_BYTES: u64 = 4 << 20;
/// Bytes collected before they are handed to the file.
const CHUNK_BYTES: usize = 32 * 1024;
/// What is appended at once of a key that is larger, bytes.
const PART_BYTES: usize = 1 << 20;
/// Elements of a collection that one command makes, so that a loader's requests stay small.
const ITEMS_PER_COMMAND: usize = 64;

/// What the base consists of.
#[derive(Clone, Debug)]
pub enum BaseForm {
    /// One command or more for each key, which any version of Redis reads.
    Commands,
    /// A snapshot (`aof-use-rdb-preamble`).
    Rdb(Box<SaveOptions>),
}

/// How the base is written.
#[derive(Clone, Debug)]
pub struct BaseOptions {
    pub form: BaseForm,
    /// The AOF; the temporary file stands in its folder.
    pub target: PathBuf,
    /// `aof-rewrite-incremental-fsync`.
    pub incremental_sync: bool,
    /// `aof-timestamp-enabled`: the base begins with the time of the fork, Unix seconds.
    pub stamp_s: Option<i64>,
    /// `rdb-key-save-delay`, which both forms follow.
    pub key_delay: i32,
}

/// The temporary file of the child `pid`.
pub fn temp_path(target: &Path, pid: i32) -> PathBuf {
    parent_dir(target).join(format!("temp-rewriteaof-bg-{pid}.aof"))
}

/// Writes the data set into `temp` and syncs it. Returns its length, bytes.
///
/// # Errors
/// The first failed operation; the file is removed then.
pub fn write(
    storage: Arc<dyn Storage>,
    keyspace: &Keyspace,
    link: &mut ChildLink,
    options: &BaseOptions,
    temp: &Path,
) -> IoResult<u64> {
    let mut file = DurableFile::create(storage, &options.target, temp)?;
    if options.incremental_sync {
        file.pace_sync(SYNC_STEP_BYTES, false);
    }
    match &options.form {
        BaseForm::Rdb(save) => {
            save_to(&mut file, keyspace, save, link)?;
        }
        BaseForm::Commands => write_commands(&mut file, keyspace, link, options)?,
    }
    let bytes = file.finish_unrenamed()?;
    link.set_bytes_written(bytes);
    Ok(bytes)
}

fn write_commands(
    file: &mut DurableFile,
    keyspace: &Keyspace,
    link: &mut ChildLink,
    options: &BaseOptions,
) -> IoResult<()> {
    let mut delay = KeyDelay::new(options.key_delay);
    let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
    if let Some(stamp_s) = options.stamp_s {
        chunk.extend_from_slice(format!("#TS:{stamp_s}\r\n").as_bytes());
    }
    if keyspace.total_keys() == 0 {
        // An empty file would read as "never written", and an old RDB file beside it would count.
        push_command(&mut chunk, &[b"SELECT", b"0"]);
    }
    for index in 0..keyspace.databases() {
        let db = keyspace.db(index);
        if db.is_empty() {
            continue;
        }
        push_command(&mut chunk, &[b"SELECT", itoa::Buffer::new().format(index).as_bytes()]);
        for view in db.iter() {
            push_key(&mut chunk, view.key(), &view.value(), view.expiry_ms());
            link.advance(1);
            if delay.is_set() {
                delay.after_key(link, file.bytes_written());
            }
            if chunk.len() >= CHUNK_BYTES {
                hand_on(file, &mut chunk, link)?;
            }
        }
    }
    hand_on(file, &mut chunk, link)
}

/// Appends what was collected, in parts, so that the child of one big key shows that it lives.
fn hand_on(file: &mut DurableFile, collected: &mut Vec<u8>, link: &mut ChildLink) -> IoResult<()> {
    for part in collected.chunks(PART_BYTES) {
        file.append(part)?;
        link.set_bytes_written(file.bytes_written());
        link.report_if_due();
    }
    collected.clear();
    Ok(())
}

/// Appends the commands that make one key.
pub fn push_key(out: &mut Vec<u8>, key: &[u8], value: &ValueRef<'_>, expiry_ms: Option<i64>) {
    match value {
        ValueRef::String(string) => push_command(out, &[b"SET", key, string.bytes(&mut Digits::new())]),
        ValueRef::List(value) => list::push(out, key, *value),
        ValueRef::Set(value) => set::push(out, key, *value),
        ValueRef::Zset(value) => zset::push(out, key, *value),
        ValueRef::Hash(value) => hash::push(out, key, *value),
        ValueRef::Stream(value) => stream::push(out, key, *value),
    }
    if let Some(expiry_ms) = expiry_ms {
        push_command(out, &[b"PEXPIREAT", key, itoa::Buffer::new().format(expiry_ms).as_bytes()]);
    }
}

/// Appends a command.
pub fn push_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    begin_command(out, args.len());
    args.iter().for_each(|argument| push_argument(out, argument));
}

/// Begins a command of `count` arguments, its name included.
fn begin_command(out: &mut Vec<u8>, count: usize) {
    push_count(out, b'*', count);
}

/// Adds the next argument of a command.
fn push_argument(out: &mut Vec<u8>, argument: &[u8]) {
    push_count(out, b'$', argument.len());
    out.extend_from_slice(argument);
    out.extend_from_slice(b"\r\n");
}

fn push_count(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}
