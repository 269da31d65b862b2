//! A snapshot that is newer than the log which a start loads.
//!
//! The log counts when it is on. But after weeks of `appendonly no` the log is old and the snapshot
//! the only good copy, which the next save would overwrite. Snapshots that were made while there was
//! no log say so in a field of their own; such a one is given a second name before it can be lost.

use crate::persist::rdb::input::FileInput;
use crate::persist::rdb::parse::{Event, Parser};
use crate::replay::restore::copy;
use crate::server::Server;
use crate::server::snapshot::{LOG_FIELD, LOG_OFF};
use crate::sys::io::{IoFault, Storage, StorageFile, parent_dir};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Looks at the snapshot beside a log that was last changed at `log_changed`. Keeps it as
/// `<name>.newer-than-aof-<its time>` when nothing in the log can have followed it.
///
/// # Errors
/// The line for the log: it should be kept and cannot be.
pub(super) fn keep(server: &Server, log: &Path, log_changed: SystemTime) -> Result<(), String> {
    let path = server.snapshot_path();
    let storage = &server.persistence.storage;
    let Ok(found) = storage.metadata(&path) else { return Ok(()) };
    let Ok(newer) = found.modified.duration_since(log_changed) else { return Ok(()) };
    if newer.is_zero() {
        return Ok(());
    }
    if !made_without_log(&**storage, &path) {
        if newer.as_secs() > 0 {
            log::info!(
                "{} was changed {} seconds after {}; the append only file is loaded, since appendonly is on",
                path.display(),
                newer.as_secs(),
                log.display()
            );
        }
        return Ok(());
    }
    let kept = kept_name(&path, found.modified);
    let fail = |fault: IoFault| {
        format!(
            "{} is newer than {} and was made while the append only file was off, so it may be the only copy of its \
             data. It would be kept under another name, but: {fault}",
            path.display(),
            log.display()
        )
    };
    if !storage.exists(&kept).map_err(fail)? {
        storage
            .hard_link(&path, &kept)
            .and_then(|()| storage.sync_dir(parent_dir(&kept)))
            .or_else(|_| copy(storage, &path, &kept))
            .map_err(fail)?;
    }
    log::warn!(
        "{} is loaded, since appendonly is on, BUT {} IS NEWER ({} seconds) and was made while the append only file \
         was off: what was written meanwhile is only there. It is kept as {}. To use it, stop the server, move the \
         append only file away, give the snapshot its name back and start again",
        log.display(),
        path.display(),
        newer.as_secs(),
        kept.display()
    );
    Ok(())
}

fn kept_name(path: &Path, modified: SystemTime) -> PathBuf {
    let seconds = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".newer-than-aof-{seconds}"));
    PathBuf::from(name)
}

fn made_without_log(storage: &dyn Storage, path: &Path) -> bool {
    let Ok(file) = storage.open_read(path) else { return false };
    field_of(file, LOG_FIELD.as_bytes()).is_some_and(|value| value == LOG_OFF.as_bytes())
}

/// A field about an RDB; `None` also for what is no RDB or is damaged, which a load tells.
pub(super) fn field_of(file: Box<dyn StorageFile>, name: &[u8]) -> Option<Vec<u8>> {
    let mut parser = Parser::new(FileInput::new(file).ok()?, false).ok()?;
    while let Ok(Event::Aux) = parser.next_event() {
        if parser.key == name {
            return Some(parser.value.to_vec());
        }
    }
    None
}
