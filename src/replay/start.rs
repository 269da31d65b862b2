//! Which files to load at the start, and what to make of them.

use crate::persist::aof::base;
use crate::persist::aof::manifest::Manifest;
use crate::persist::child::ChildLink;
use crate::persist::rdb::save::Walk;
use crate::replay::log::replay_file;
use crate::replay::snapshot::{load_preamble, load_snapshot};
use crate::replay::tail::TailOptions;
use crate::replay::{LoadEnd, Pump};
use crate::server::Server;
use crate::server::run::LoadingState;
use crate::sys::io::{FileMetadata, IoFault, Storage, parent_dir};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Longest manifest, bytes: thousands of files, where Redis writes a handful.
const MANIFEST_MAX_BYTES: u64 = 1 << 20;

/// Loads the data set as the configuration says and opens the AOF. To be called once, before the
/// server is ready; `pump` lets clients be answered meanwhile.
///
/// # Errors
/// The line for the log: the start must be given up.
pub fn load_at_start(server: &mut Server, pump: &mut Pump<'_>) -> Result<LoadEnd, String> {
    if !server.config.appendonly {
        return load_snapshot(server, pump).map(|(end, _)| end);
    }
    let (file, folder) = (server.aof_path(), folder_path(server));
    let storage = server.persistence.aof.storage();
    let single = existing(&*storage, &file)?;
    let manifest = folder.join(format!("{}.manifest", server.config.appendfilename.to_text()));
    let parts = existing(&*storage, &manifest)?;
    let end = match (single, parts) {
        (Some(single), Some(parts)) => return Err(both_forms(&file, single, &manifest, parts)),
        (None, Some(_)) => take_over(server, &folder, &manifest, pump)?,
        (Some(single), None) if single.len > 0 => load_single(server, &file, single.len, pump)?,
        _ => begin_from_rdb(server, pump)?,
    };
    if end == LoadEnd::Complete {
        server.open_aof()?;
    }
    Ok(end)
}

/// Empties the data set and loads it from the AOF again (DEBUG LOADAOF).
///
/// # Errors
/// The line for the log.
pub fn reload_aof(server: &mut Server, pump: &mut Pump<'_>) -> Result<(), String> {
    server.sync_aof()?;
    for db in 0..server.keyspace.databases() {
        server.touch_all_watched(db, None);
        server.keyspace.flush(db, false);
    }
    let file = server.aof_path();
    let Some(found) = existing(&*server.persistence.aof.storage(), &file)? else {
        return Err(format!("The append log file {} doesn't exist", file.display()));
    };
    load_single(server, &file, found.len, pump).map(|_| ())
}

fn folder_path(server: &Server) -> PathBuf {
    server.data_path(server.config.appenddirname.as_path())
}

fn existing(storage: &dyn Storage, path: &Path) -> Result<Option<FileMetadata>, String> {
    match storage.metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(fault) if fault.is_not_found() => Ok(None),
        Err(fault) => Err(format!("Can't look for the append only file: {fault}")),
    }
}

fn both_forms(file: &Path, single: FileMetadata, manifest: &Path, parts: FileMetadata) -> String {
    let changed_s = |found: FileMetadata| unix_seconds(found.modified);
    format!(
        "There are two append only files and nobody but you can know which is newer: {} ({} bytes, changed at {}) and \
         {} ({} bytes, changed at {}). Move one of them away and start again",
        file.display(),
        single.len,
        changed_s(single),
        manifest.display(),
        parts.len,
        changed_s(parts)
    )
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Runs `load` with the loading state shown to clients; changes it makes do not count as changes.
fn while_loading(
    server: &mut Server,
    source: &str,
    total_bytes: u64,
    load: impl FnOnce(&mut Server) -> Result<LoadEnd, String>,
) -> Result<LoadEnd, String> {
    let start = Instant::now();
    let dirty = server.persistence.dirty;
    server.run.loading =
        Some(LoadingState { start_s: server.now_ms() / 1000, total_bytes, ..LoadingState::default() });
    let end = load(server);
    server.run.loading = None;
    server.persistence.dirty = dirty;
    if let Ok(LoadEnd::Complete) = end {
        log::info!("DB loaded from {source}: {:.3} seconds", start.elapsed().as_secs_f64());
    }
    end
}

fn load_single(server: &mut Server, file: &Path, bytes: u64, pump: &mut Pump<'_>) -> Result<LoadEnd, String> {
    let repair = tail_options(server);
    while_loading(server, "append only file", bytes, |server| load_part(server, file, Some(repair), pump))
}

fn tail_options(server: &Server) -> TailOptions {
    TailOptions {
        truncated_ok: server.config.aof_load_truncated,
        damage_max_bytes: server.config.aof_load_corrupt_tail_max_size,
    }
}

/// One file: an RDB preamble, when there is one, and the commands behind it.
fn load_part(
    server: &mut Server,
    file: &Path,
    repair: Option<TailOptions>,
    pump: &mut Pump<'_>,
) -> Result<LoadEnd, String> {
    let start = if begins_with_rdb(server, file)? { load_preamble(server, file, pump)? } else { Some(0) };
    let Some(start) = start else { return Ok(LoadEnd::Interrupted) };
    replay_file(server, file, start, repair, pump)
}

fn begins_with_rdb(server: &Server, file: &Path) -> Result<bool, String> {
    let mut magic = [0; 5];
    let opened = server.persistence.aof.storage().open_read(file);
    let read = opened.and_then(|file| file.read_at(&mut magic, 0)).map_err(|fault| fault.to_string())?;
    Ok(read == magic.len() && &magic == b"REDIS")
}

/// No AOF yet: the RDB file is the data set, and a first AOF is written from it.
fn begin_from_rdb(server: &mut Server, pump: &mut Pump<'_>) -> Result<LoadEnd, String> {
    let (end, found) = load_snapshot(server, pump)?;
    if found && end == LoadEnd::Complete {
        log::info!("No append only file yet: a first one is written from the RDB file");
        write_first(server)?;
    }
    Ok(end)
}

/// Loads Redis 7's folder, writes a file of our own and sets the folder aside.
fn take_over(
    server: &mut Server,
    folder: &Path,
    manifest: &Path,
    pump: &mut Pump<'_>,
) -> Result<LoadEnd, String> {
    let storage = server.persistence.aof.storage();
    let content = storage.read_whole(manifest, MANIFEST_MAX_BYTES).map_err(|fault| fault.to_string())?;
    let parts = Manifest::parse(&content).map_err(|failure| {
        format!("Invalid AOF manifest file {}, line {}: {}", manifest.display(), failure.line, failure.text)
    })?;
    let files: Vec<PathBuf> = parts.files().map(|name| folder.join(name)).collect();
    let end = load_parts(server, &*storage, &files, pump)?;
    if end == LoadEnd::Interrupted {
        return Ok(end);
    }
    write_first(server)?;
    let aside = free_name(&*storage, folder, server.now_ms() / 1000)?;
    let moved = storage.rename(folder, &aside).and_then(|()| storage.sync_dir(parent_dir(folder)));
    moved.map_err(|fault| format!("Can't set the folder of the former append only file aside: {fault}"))?;
    log::info!(
        "The append only files of {} were taken over; the folder is {} now",
        folder.display(),
        aside.display()
    );
    Ok(end)
}

/// A name beside the folder that nobody has.
fn free_name(storage: &dyn Storage, folder: &Path, now_s: i64) -> Result<PathBuf, String> {
    let mut number = now_s;
    loop {
        let mut name = folder.as_os_str().to_owned();
        name.push(format!(".taken-over-{number}"));
        let path = PathBuf::from(name);
        if existing(storage, &path)?.is_none() {
            return Ok(path);
        }
        number += 1;
    }
}

fn load_parts(
    server: &mut Server,
    storage: &dyn Storage,
    files: &[PathBuf],
    pump: &mut Pump<'_>,
) -> Result<LoadEnd, String> {
    let mut total_bytes = 0;
    for file in files {
        let found = existing(storage, file)?;
        total_bytes += found.ok_or_else(|| format!("The AOF file {} doesn't exist", file.display()))?.len;
    }
    let repair = tail_options(server);
    while_loading(server, "append only file", total_bytes, |server| {
        for (index, file) in files.iter().enumerate() {
            let last = index + 1 == files.len();
            if load_part(server, file, last.then_some(repair), pump)? == LoadEnd::Interrupted {
                return Ok(LoadEnd::Interrupted);
            }
        }
        Ok(LoadEnd::Complete)
    })
}

/// Writes the data set as a new AOF, in the foreground, and puts it in place durably.
fn write_first(server: &mut Server) -> Result<(), String> {
    let target = server.aof_path();
    let storage = server.persistence.aof.storage();
    let temp = base::temp_path(&target, std::process::id() as i32);
    let options = server.aof_base_options(target.clone(), Walk::Tables);
    let mut link = ChildLink::disconnected();
    let fail = |fault: IoFault| format!("Can't write the first append only file: {fault}");
    base::write(server.persistence.aof.storage(), &server.keyspace, &mut link, &options, &temp)
        .map_err(fail)?;
    storage.rename(&temp, &target).map_err(fail)?;
    storage.sync_dir(parent_dir(&target)).map_err(fail)
}
