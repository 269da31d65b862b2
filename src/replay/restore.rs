//! Executing a log without changing it, and the restore to a point in time at the start.
//!
//! ```text
//!  appendonly.aof  ─► executed up to T ─► kept under <name>.before-restore-<T>
//!                                      ─► a new appendonly.aof is written from memory
//! ```
//! The copy is durable before the new log takes the old one's name. A start that finds the copy, and
//! another log in its old place, knows that the restore was done before: the directive may stay in
//! the configuration, and a crash in between does no harm.
//!
//! The folder of Redis 7 cannot be replaced by a file in one step: as in a take-over, a marker in it
//! says that the new log was made from it, until it has its new name.

use crate::base::timestamp::{parse_unix_s, rfc3339};
use crate::replay::log::{TimeLimit, replay_read_only};
use crate::replay::newer_snapshot;
use crate::replay::snapshot::load_preamble;
use crate::replay::start::{existing, write_base};
use crate::replay::take_over::{Folder, Made};
use crate::replay::{LoadEnd, Pump};
use crate::server::Server;
use crate::server::run::LoadingState;
use crate::sys::durable::DurableFile;
use crate::sys::io::{IoFault, IoResult, Storage};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Copied or compared at a time, bytes.
const COPY_BYTES: usize = 256 * 1024;

/// Executes the files of a log one after the other (the first from `start` on, unless it begins with
/// an RDB), and changes nothing in them. With a limit, files behind the one that reaches it are left
/// out. The data set is not emptied before.
///
/// # Errors
/// The line for the log: a file is damaged, or ends in the middle of a command and is not the last.
pub fn load_read_only(
    server: &mut Server,
    files: &[PathBuf],
    start: u64,
    mut limit: Option<&mut TimeLimit>,
    pump: &mut Pump<'_>,
) -> Result<LoadEnd, String> {
    let storage = server.persistence.aof.storage();
    let mut total_bytes = 0;
    for file in files {
        total_bytes += storage.metadata(file).map_err(|fault| fault.to_string())?.len;
    }
    let (start_s, begun) = (server.now_ms() / 1000, Instant::now());
    let dirty = server.persistence.dirty;
    server.run.loading = Some(LoadingState { start_s, total_bytes, ..LoadingState::default() });
    let mut end = Ok(LoadEnd::Complete);
    for (index, file) in files.iter().enumerate() {
        let last = index + 1 == files.len();
        let from = if index == 0 { start } else { 0 };
        end = load_part(server, file, from, limit.as_deref_mut(), last, pump);
        let stopped = limit.as_ref().is_some_and(|limit| limit.stopped_at.is_some());
        if stopped || end != Ok(LoadEnd::Complete) {
            break;
        }
    }
    server.run.loading = None;
    server.persistence.dirty = dirty;
    if end == Ok(LoadEnd::Complete) {
        log::info!("DB loaded from append only file: {:.3} seconds", begun.elapsed().as_secs_f64());
    }
    end
}

fn load_part(
    server: &mut Server,
    file: &Path,
    start: u64,
    limit: Option<&mut TimeLimit>,
    tail_ok: bool,
    pump: &mut Pump<'_>,
) -> Result<LoadEnd, String> {
    let mut start = start;
    if start == 0
        && let Some(saved_s) = preamble_time(server, file)?
    {
        if let Some(limit) = limit.as_ref().filter(|limit| saved_s > limit.until_s) {
            return Err(format!(
                "Can't restore to {}: the log begins with the data set of {}. Use an older copy of it",
                rfc3339(limit.until_s),
                rfc3339(saved_s)
            ));
        }
        match load_preamble(server, file, pump)? {
            Some(end) => start = end,
            None => return Ok(LoadEnd::Interrupted),
        }
    }
    replay_read_only(server, file, start, limit, tail_ok, pump)
}

/// When the RDB at the beginning of a file was saved, Unix seconds (0: it does not say); `None`: there
/// is no RDB.
fn preamble_time(server: &Server, file: &Path) -> Result<Option<i64>, String> {
    let storage = server.persistence.aof.storage();
    let opened = storage.open_read(file).map_err(|fault| fault.to_string())?;
    let mut magic = [0; 5];
    let read = opened.read_at(&mut magic, 0).map_err(|fault| fault.to_string())?;
    if read < magic.len() || &magic != b"REDIS" {
        return Ok(None);
    }
    // What is damaged is told by the load itself.
    let ctime = newer_snapshot::field_of(opened, b"ctime");
    Ok(Some(ctime.and_then(|value| parse_unix_s(std::str::from_utf8(&value).ok()?)).unwrap_or(0)))
}

/// The log as it is found at a start.
struct Log {
    /// The file, or the folder of Redis 7.
    place: PathBuf,
    files: Vec<PathBuf>,
    /// Under which name it is kept.
    aside: PathBuf,
    folder: Option<Folder>,
}

/// Restores the data set to `until_s` and writes a new log. `None`: that was done before, so the log is
/// to be loaded as it is.
///
/// # Errors
/// The line for the log: nothing has been changed.
pub(super) fn restore_at_start(
    server: &mut Server,
    until_s: i64,
    pump: &mut Pump<'_>,
) -> Result<Option<LoadEnd>, String> {
    if !server.config.appendonly {
        return Err("aof-restore-to-timestamp needs appendonly yes".to_owned());
    }
    let storage = server.persistence.aof.storage();
    let Some(log) = find_log(server, &*storage, until_s)? else {
        return Ok(None);
    };
    log::info!("Restoring the data set of {} as it was at {}", log.place.display(), rfc3339(until_s));
    let mut limit = TimeLimit { until_s, ..TimeLimit::default() };
    let end = load_read_only(server, &log.files, 0, Some(&mut limit), pump)?;
    if end == LoadEnd::Interrupted {
        return Ok(Some(end));
    }
    refuse_untimed(&log, &limit, server.keyspace.total_keys() == 0)?;
    match limit.stopped_at {
        Some(offset) => {
            log::info!("The log was executed up to offset {offset} of the file that reaches that time")
        }
        None => log::info!("The log ends before that time: all of it was executed"),
    }
    keep_and_replace(server, &storage, &log, until_s)?;
    log::warn!(
        "The log as it was is kept in {}; a new one begins with what was restored. aof-restore-to-timestamp can be \
         removed from the configuration",
        log.aside.display()
    );
    Ok(Some(end))
}

fn refuse_untimed(log: &Log, limit: &TimeLimit, is_empty: bool) -> Result<(), String> {
    let until = rfc3339(limit.until_s);
    match limit.first_s {
        None => Err(format!(
            "Can't restore to {until}: {} has no time stamps (aof-timestamp-enabled was off)",
            log.place.display()
        )),
        Some(first_s) if is_empty && limit.stopped_at == Some(0) => Err(format!(
            "Can't restore to {until}: {} begins at {}. Use an older copy of it",
            log.place.display(),
            rfc3339(first_s)
        )),
        Some(_) => Ok(()),
    }
}

fn find_log(server: &Server, storage: &dyn Storage, until_s: i64) -> Result<Option<Log>, String> {
    let file = server.aof_path();
    let single = existing(storage, &file)?;
    match (single, Folder::find(server, single.is_none())?) {
        (None, None) => Err(format!("Can't restore to {}: there is no {}", rfc3339(until_s), file.display())),
        (None, Some(folder)) => log_in_folder(storage, folder, until_s).map(Some),
        (Some(single), Some(folder)) => match folder.made_into(storage, single)? {
            // The crash came before the folder got its new name.
            Some(made @ Made::Restored(made_s)) if made_s == until_s => {
                folder.set_aside(server, made)?;
                Ok(None)
            }
            _ => Err(folder.both_forms(&file, single)),
        },
        (Some(_), None) => log_in_file(server, storage, file, until_s),
    }
}

fn log_in_folder(storage: &dyn Storage, folder: Folder, until_s: i64) -> Result<Log, String> {
    let (place, aside) = (folder.path().to_path_buf(), aside_name(folder.path(), until_s));
    if existing(storage, &aside)?.is_some() {
        return Err(format!(
            "Can't restore to {}: {} would be kept as {}, which is there. Move it away and start again",
            rfc3339(until_s),
            place.display(),
            aside.display()
        ));
    }
    Ok(Log { files: folder.files(storage)?, place, aside, folder: Some(folder) })
}

fn log_in_file(
    server: &Server,
    storage: &dyn Storage,
    file: PathBuf,
    until_s: i64,
) -> Result<Option<Log>, String> {
    let folder = server.data_path(server.config.appenddirname.as_path());
    let kept = [aside_name(&file, until_s), aside_name(&folder, until_s)];
    let fault = |fault: IoFault| fault.to_string();
    for aside in &kept {
        let is_there = existing(storage, aside)?.is_some();
        if is_there && !(aside == &kept[0] && same_content(storage, &file, aside).map_err(fault)?) {
            log::warn!(
                "aof-restore-to-timestamp: {} is there, so that restore was done before. The log is loaded as it is",
                aside.display()
            );
            return Ok(None);
        }
    }
    let [aside, _] = kept;
    Ok(Some(Log { files: vec![file.clone()], place: file, aside, folder: None }))
}

/// Under which name a log is kept that was restored to `until_s`.
pub(super) fn aside_name(place: &Path, until_s: i64) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(format!(".before-restore-{until_s}"));
    PathBuf::from(name)
}

fn same_content(storage: &dyn Storage, left: &Path, right: &Path) -> IoResult<bool> {
    let (left, right) = (storage.open_read(left)?, storage.open_read(right)?);
    let len = left.len()?;
    if len != right.len()? {
        return Ok(false);
    }
    let (mut one, mut other) = (vec![0; COPY_BYTES], vec![0; COPY_BYTES]);
    let mut offset = 0;
    while offset < len {
        let count = left.read_at(&mut one, offset)?;
        let count = count.min(right.read_at(&mut other, offset)?);
        if count == 0 || one[..count] != other[..count] {
            return Ok(false);
        }
        offset += count as u64;
    }
    Ok(true)
}

/// Keeps the old log under its new name, then lets the new one take its place; the folder gets its
/// new name behind that.
fn keep_and_replace(
    server: &mut Server,
    storage: &Arc<dyn Storage>,
    log: &Log,
    until_s: i64,
) -> Result<(), String> {
    let Some(folder) = &log.folder else {
        return write_base(server, |_, _| copy(storage, &log.place, &log.aside));
    };
    let made = Made::Restored(until_s);
    let marked = folder.fingerprint(&**storage)?;
    write_base(server, |_, bytes| folder.mark(storage, bytes, marked, made))?;
    folder.set_aside(server, made)
}

/// Copies a file durably.
pub(super) fn copy(storage: &Arc<dyn Storage>, from: &Path, to: &Path) -> IoResult<()> {
    let source = storage.open_read(from)?;
    let mut temp = to.as_os_str().to_owned();
    temp.push(".part");
    let mut file = DurableFile::create(Arc::clone(storage), to, Path::new(&temp))?;
    let (mut buffer, mut offset) = (vec![0; COPY_BYTES], 0);
    loop {
        match source.read_at(&mut buffer, offset)? {
            0 => return file.commit().map(|_| ()),
            count => {
                file.append(&buffer[..count])?;
                offset += count as u64;
            }
        }
    }
}
