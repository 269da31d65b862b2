//! Notices that somebody else has removed, replaced or changed the AOF under the running server.
//!
//! ```text
//!  name ──stat──► device, inode ─┐
//!  open descriptor ──fstat──► device, inode, length ─┴─ same file? as long as what we wrote?
//! ```
//! What is appended to a file that has lost its name is gone with the process, so the file counts
//! as spoilt: writes are refused, and a rewrite makes a new one. A file that another put in our
//! place may be somebody's only copy of something: it is set aside under another name before.

use crate::base::clock::unix_ms_now;
use crate::persist::aof::log_file::LogFile;
use crate::sys::durable::free_name;
use crate::sys::io::{FileId, FileMetadata, IoResult, Storage};
use std::path::Path;

/// What has become of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intrusion {
    Removed,
    Replaced,
    Truncated,
    Grown,
}

impl Intrusion {
    /// For the log, the refusal and INFO.
    pub fn text(self, path: &Path) -> String {
        let what = match self {
            Intrusion::Removed => "was removed",
            Intrusion::Replaced => "was replaced by another file",
            Intrusion::Truncated => "was truncated",
            Intrusion::Grown => "was appended to",
        };
        format!("{} {what} by somebody else while the server has it open", path.display())
    }
}

/// Compares the file with its name and with what was written to it.
///
/// # Errors
/// A failed `stat`, which says nothing about the file.
pub(super) fn look(storage: &dyn Storage, file: &LogFile) -> IoResult<Option<Intrusion>> {
    if !file.is_watched() {
        return Ok(None);
    }
    let own = file.metadata()?;
    let found = match storage.metadata(file.path()) {
        Ok(named) if is_same(&named, &own) => match own.len.cmp(&file.size()) {
            std::cmp::Ordering::Less => Some(Intrusion::Truncated),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(Intrusion::Grown),
        },
        Ok(_) => Some(Intrusion::Replaced),
        Err(fault) if fault.is_not_found() => Some(Intrusion::Removed),
        Err(fault) => return Err(fault),
    };
    Ok(found)
}

/// Whether two answers of `stat` mean one file.
pub(super) fn is_same(one: &FileMetadata, other: &FileMetadata) -> bool {
    one.id == other.id
}

/// Gives what somebody has put in the place of `old`, if so, the name `<name>.replaced-<unix time>`;
/// unless it is `kept`, which has a second name since the rewrite began.
///
/// # Errors
/// That failed: better no rewrite than overwriting what is not ours.
pub(super) fn set_foreign_aside(
    storage: &dyn Storage,
    old: &LogFile,
    target: &Path,
    kept: Option<FileId>,
) -> IoResult<()> {
    if !old.is_watched() {
        return Ok(());
    }
    let foreign = match (storage.metadata(target), old.metadata()) {
        (Ok(named), Ok(own)) => !is_same(&named, &own) && Some(named.id) != kept,
        _ => false,
    };
    if !foreign {
        return Ok(());
    }
    let aside = free_name(storage, target, "replaced", unix_ms_now() / 1000)?;
    // A link keeps the name taken until ours replaces it; some file systems have none.
    if storage.hard_link(target, &aside).is_err() {
        storage.rename(target, &aside)?;
    }
    log::warn!("{} was not written by this server; it is kept as {}", target.display(), aside.display());
    Ok(())
}
