//! Executing a log without changing it, and the restore to a point in time at the start.
//!
//! ```text
//!  appendonly.aof  ─► executed up to T ─► kept under <name>.before-restore-<T>
//!                                      ─► a new appendonly.aof is written from memory
//! ```
//! The copy is durable before the new log takes the old one's name. A start that finds the copy, and
//! another log in its old place, knows that the restore was done before: the directive may stay in
//! the configuration, and a crash in between does no harm.

use crate::base::timestamp::{parse_unix_s, rfc3339};
use crate::persist::aof::base;
use crate::persist::aof::manifest::Manifest;
use crate::persist::child::ChildLink;
use crate::persist::rdb::input::FileInput;
use crate::persist::rdb::parse::{Event, Parser};
use crate::persist::rdb::save::Walk;
use crate::replay::log::{TimeLimit, replay_read_only};
use crate::replay::snapshot::load_preamble;
use crate::replay::{LoadEnd, Pump};
use crate::server::Server;
use crate::server::run::LoadingState;
use crate::sys::durable::DurableFile;
use crate::sys::io::{IoFault, IoResult, Storage, parent_dir};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Longest manifest, bytes.
const MANIFEST_MAX_BYTES: u64 = 1 << 20;
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
    let Ok(mut parser) =
        FileInput::new(opened).map_err(|_| ()).and_then(|input| Parser::new(input, false).map_err(|_| ()))
    else {
        return Ok(Some(0));
    };
    while let Ok(Event::Aux) = parser.next_event() {
        if parser.key == b"ctime" {
            return Ok(Some(std::str::from_utf8(&parser.value).ok().and_then(parse_unix_s).unwrap_or(0)));
        }
    }
    Ok(Some(0))
}

/// The log as it is found at a start.
struct Log {
    /// The file, or the folder of Redis 7.
    place: PathBuf,
    files: Vec<PathBuf>,
    /// Under which name it is kept.
    aside: PathBuf,
    is_folder: bool,
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
    keep_and_replace(server, &storage, &log)?;
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
    let exists = |path: &Path| storage.exists(path).map_err(|fault| fault.to_string());
    let file = server.aof_path();
    let folder = server.data_path(server.config.appenddirname.as_path());
    let manifest = folder.join(format!("{}.manifest", server.config.appendfilename.to_text()));
    let is_single = exists(&file)?;
    if !is_single && exists(&manifest)? {
        let content = storage.read_whole(&manifest, MANIFEST_MAX_BYTES).map_err(|fault| fault.to_string())?;
        let parts = Manifest::parse(&content).map_err(|failure| {
            format!(
                "Invalid AOF manifest file {}, line {}: {}",
                manifest.display(),
                failure.line,
                failure.text
            )
        })?;
        let files = parts.files().map(|name| folder.join(name)).collect();
        let aside = aside_name(&folder, until_s);
        return Ok(Some(Log { place: folder, files, aside, is_folder: true }));
    }
    if !is_single {
        return Err(format!("Can't restore to {}: there is no {}", rfc3339(until_s), file.display()));
    }
    let kept = [aside_name(&file, until_s), aside_name(&folder, until_s)];
    let fault = |fault: IoFault| fault.to_string();
    for aside in &kept {
        if exists(aside)? && !(aside == &kept[0] && same_content(storage, &file, aside).map_err(fault)?) {
            log::warn!(
                "aof-restore-to-timestamp: {} is there, so that restore was done before. The log is loaded as it is",
                aside.display()
            );
            return Ok(None);
        }
    }
    let [aside, _] = kept;
    Ok(Some(Log { files: vec![file.clone()], place: file, aside, is_folder: false }))
}

fn aside_name(place: &Path, until_s: i64) -> PathBuf {
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

/// Keeps the old log under its new name, then lets the new one take its place.
fn keep_and_replace(server: &mut Server, storage: &Arc<dyn Storage>, log: &Log) -> Result<(), String> {
    let fail = |fault: IoFault| format!("Can't write the restored append only file: {fault}");
    let target = server.aof_path();
    let temp = base::temp_path(&target, std::process::id() as i32);
    let options = server.aof_base_options(target.clone(), Walk::Tables);
    let mut link = ChildLink::disconnected();
    base::write(Arc::clone(storage), &server.keyspace, &mut link, &options, &temp).map_err(fail)?;
    let kept = if log.is_folder { Ok(()) } else { copy(storage, &log.place, &log.aside) };
    let placed = kept
        .and_then(|()| storage.rename(&temp, &target))
        .and_then(|()| storage.sync_dir(parent_dir(&target)));
    if let Err(fault) = placed {
        // The failure itself is what counts.
        let _ = storage.remove(&temp);
        return Err(fail(fault));
    }
    if log.is_folder {
        let moved =
            storage.rename(&log.place, &log.aside).and_then(|()| storage.sync_dir(parent_dir(&log.place)));
        moved
            .map_err(|fault| format!("Can't set the folder of the former append only file aside: {fault}"))?;
    }
    Ok(())
}

fn copy(storage: &Arc<dyn Storage>, from: &Path, to: &Path) -> IoResult<()> {
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
