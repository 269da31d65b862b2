//! Which files to load at the start, and what to make of them.

use crate::base::timestamp::parse_unix_s;
use crate::persist::aof::base;
use crate::persist::child::ChildLink;
use crate::persist::rdb::save::Walk;
use crate::replay::log::replay_file;
use crate::replay::newer_snapshot;
use crate::replay::restore::restore_at_start;
use crate::replay::snapshot::{load_preamble, load_snapshot};
use crate::replay::tail::TailOptions;
use crate::replay::take_over::Folder;
use crate::replay::{LoadEnd, Pump};
use crate::server::Server;
use crate::server::run::LoadingState;
use crate::sys::io::{FileMetadata, IoFault, IoResult, Storage, parent_dir};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Loads the data set as the configuration says and opens the AOF. To be called once, before the
/// server is ready; `pump` lets clients be answered meanwhile.
///
/// # Errors
/// The line for the log: the start must be given up.
pub fn load_at_start(server: &mut Server, pump: &mut Pump<'_>) -> Result<LoadEnd, String> {
    server.remove_leftovers();
    if let Some(until_s) = parse_unix_s(&server.config.aof_restore_to_timestamp.to_text())
        && let Some(end) = restore_at_start(server, until_s, pump)?
    {
        if end == LoadEnd::Complete {
            server.open_aof()?;
        }
        return Ok(end);
    }
    if !server.config.appendonly {
        let (end, found) = load_snapshot(server, pump)?;
        if !found {
            warn_of_unread_aof(server);
        }
        return Ok(end);
    }
    let file = server.aof_path();
    let storage = server.persistence.aof.storage();
    let single = existing(&*storage, &file)?;
    if single.is_some_and(|found| found.is_dir) {
        return Err(format!("The append only file {} is a directory", file.display()));
    }
    let full = single.filter(|found| found.len > 0);
    let end = match (single, Folder::find(server, full.is_none())?) {
        (Some(single), Some(folder)) => {
            let made = folder.made_into(&*storage, single)?;
            folder.set_aside(server, made.ok_or_else(|| folder.both_forms(&file, single))?)?;
            load_single_or_rdb(server, &file, single, pump)?
        }
        (None, Some(folder)) => {
            newer_snapshot::keep(server, folder.path(), folder.changed(&*storage)?)?;
            folder.take_over(server, pump)?
        }
        (_, None) => match full {
            Some(single) => load_single_or_rdb(server, &file, single, pump)?,
            None => begin_from_rdb(server, pump)?,
        },
    };
    if end == LoadEnd::Complete {
        server.open_aof()?;
    }
    Ok(end)
}

/// The AOF. When nothing of it but the torn first command was there, it tells nothing, and the RDB
/// file counts, as beside an empty AOF.
fn load_single_or_rdb(
    server: &mut Server,
    file: &Path,
    found: FileMetadata,
    pump: &mut Pump<'_>,
) -> Result<LoadEnd, String> {
    newer_snapshot::keep(server, file, found.modified)?;
    let end = load_single(server, file, found.len, pump)?;
    if end == LoadEnd::Complete {
        server.resume_from_aof_place();
    }
    let storage = server.persistence.aof.storage();
    let cut_to_nothing = existing(&*storage, file)?.is_some_and(|now| now.len == 0);
    if end == LoadEnd::Complete && cut_to_nothing { begin_from_rdb(server, pump) } else { Ok(end) }
}

/// `appendonly no`, no RDB file, but an AOF: the data set is empty by configuration.
fn warn_of_unread_aof(server: &Server) {
    let file = server.aof_path();
    let single = server.persistence.aof.storage().metadata(&file);
    if single.is_ok_and(|found| found.len > 0) || matches!(Folder::find(server, false), Ok(Some(_))) {
        log::warn!(
            "The data set is empty: there is no {}, and the append only file {} is not loaded, since appendonly is off",
            server.snapshot_path().display(),
            file.display()
        );
    }
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

/// The file's metadata, `None` when there is no such file.
pub(super) fn existing(storage: &dyn Storage, path: &Path) -> Result<Option<FileMetadata>, String> {
    match storage.metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(fault) if fault.is_not_found() => Ok(None),
        Err(fault) => Err(format!("Can't look for the append only file: {fault}")),
    }
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
    let is_missing = existing(&*server.persistence.aof.storage(), &server.aof_path())?.is_none();
    let (end, found) = load_snapshot(server, pump)?;
    if is_missing && end == LoadEnd::Complete {
        look_for_unread_aof(server, found)?;
    }
    if found && end == LoadEnd::Complete {
        log::info!("No append only file yet: a first one is written from the RDB file");
        write_base(server, |_, _| Ok(()))?;
    }
    Ok(end)
}

/// The AOF is missing, but one that nobody has read is kept beside its place: then the data set is
/// not empty, and a snapshot may not be all of it.
fn look_for_unread_aof(server: &Server, found_snapshot: bool) -> Result<(), String> {
    let unread = server.unread_aof().map_err(|fault| format!("Can't look for append only files: {fault}"))?;
    let Some(unread) = unread else { return Ok(()) };
    let text = format!(
        "There is no append only file {}, but {}, which was set aside without having been loaded",
        server.aof_path().display(),
        unread.display()
    );
    if found_snapshot {
        log::warn!("{text}: the data set is that of {}", server.snapshot_path().display());
        return Ok(());
    }
    Err(format!(
        "{text}. Give it its name back, or move it away to begin with an empty data set, and start again"
    ))
}

/// Loads the files one after the other; only the last one may have a tail to repair.
pub(super) fn load_parts(
    server: &mut Server,
    files: &[PathBuf],
    pump: &mut Pump<'_>,
) -> Result<LoadEnd, String> {
    let storage = server.persistence.aof.storage();
    let mut total_bytes = 0;
    for file in files {
        let found = existing(&*storage, file)?;
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
/// `before_rename` is given the length of the file when that is on disk and has not got its name.
pub(super) fn write_base(
    server: &mut Server,
    before_rename: impl FnOnce(Arc<dyn Storage>, u64) -> IoResult<()>,
) -> Result<(), String> {
    let target = server.aof_path();
    let storage = server.persistence.aof.storage();
    let temp = base::temp_path(&target, std::process::id() as i32);
    let options = server.aof_base_options(target.clone(), Walk::Tables);
    let mut link = ChildLink::disconnected();
    let fail = |fault: IoFault| format!("Can't write a new append only file: {fault}");
    let bytes =
        base::write(Arc::clone(&storage), &server.keyspace, &mut link, &options, &temp).map_err(fail)?;
    let named = before_rename(Arc::clone(&storage), bytes).and_then(|()| storage.rename(&temp, &target));
    if named.is_err() {
        // The first fault is the one to tell; a file that stays is removed at the next start.
        let _ = storage.remove(&temp);
    }
    named.and_then(|()| storage.sync_dir(parent_dir(&target))).map_err(fail)
}
