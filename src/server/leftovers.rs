//! Files of processes that are gone: temporary ones are removed, an AOF that nobody has read is
//! kept under another name when a new one takes its own.

use crate::persist::aof::AofState;
use crate::persist::schedule;
use crate::server::Server;
use crate::sys::durable::free_name;
use crate::sys::io::{IoResult, Storage, parent_dir};
use std::path::{Path, PathBuf};

/// In the names of logs that were there and had not been loaded.
const UNREAD: &str = "unread";

impl Server {
    /// Removes temporary files of ours whose process is gone; at the start, before anything is
    /// written. A file whose process id has been given to somebody else stays until the next start.
    pub fn remove_leftovers(&self) {
        let folder = self.data_path(Path::new("."));
        let names = match self.persistence.storage.list_dir(&folder) {
            Ok(names) => names,
            Err(fault) => {
                log::warn!("Can't look for left-over temporary files: {fault}");
                return;
            }
        };
        for name in names {
            let Some(pid) = name.to_str().and_then(schedule::pid_of_temp_name) else { continue };
            // Our own id: a process of an earlier life of this container had it.
            if pid != std::process::id() && Path::new("/proc").join(pid.to_string()).exists() {
                continue;
            }
            let path = self.data_path(Path::new(&name));
            // The process id of another container means nothing here; the lock of its file does.
            if self.persistence.storage.open_read(&path).is_ok_and(|file| !file.try_lock().unwrap_or(false)) {
                continue;
            }
            match self.persistence.storage.remove(&path) {
                Ok(()) => log::info!("Removed {}, left over by a process that is gone", path.display()),
                Err(fault) => log::warn!("Can't remove a left-over temporary file: {fault}"),
            }
        }
    }

    /// Before a rewrite replaces the AOF: a file of that name which this process has neither read nor
    /// written holds data that are not in memory, so it is given a second name. It keeps the first
    /// one until the new file takes that over: no crash finds less than there was.
    ///
    /// # Errors
    /// A text: the file is there and cannot be kept.
    pub fn keep_unread_aof(&mut self, path: &Path) -> Result<(), String> {
        let storage = self.persistence.aof.storage();
        let found = match storage.metadata(path) {
            Err(fault) if fault.is_not_found() => return Ok(()),
            found => found.map_err(|fault| fault.to_string())?,
        };
        if found.is_dir {
            return Err(format!("{} is a directory", path.display()));
        }
        if found.len == 0 || self.persistence.aof.has_known(found) {
            return Ok(());
        }
        let kept =
            free_name(&*storage, path, UNREAD, self.now_ms() / 1000).map_err(|fault| fault.to_string())?;
        self.link_or_rename(&*storage, path, &kept)
            .map_err(|fault| format!("Can't keep the unread append only file: {fault}"))?;
        self.persistence.aof.note_known(found);
        log::warn!(
            "{} was there and had not been loaded ({} bytes): it is kept as {}",
            path.display(),
            found.len,
            kept.display()
        );
        Ok(())
    }

    /// Some file systems have no links. Renaming leaves no file at `path` until the rewrite has
    /// ended, so it is done only while there is no log of our own.
    fn link_or_rename(&self, storage: &dyn Storage, path: &Path, kept: &Path) -> IoResult<()> {
        let linked = storage.hard_link(path, kept);
        if linked.is_err() && self.persistence.aof.state == AofState::On {
            return linked;
        }
        linked.or_else(|_| storage.rename(path, kept))?;
        storage.sync_dir(parent_dir(path))
    }

    /// At a start with `appendonly yes` and without an AOF: the newest file that was kept as unread,
    /// when there is one.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn unread_aof(&self) -> IoResult<Option<PathBuf>> {
        let path = self.aof_path();
        let mut prefix = path.file_name().unwrap_or_default().to_owned();
        prefix.push(format!(".{UNREAD}-"));
        let names = self.persistence.aof.storage().list_dir(parent_dir(&path))?;
        let mut kept =
            names.into_iter().filter(|name| name.as_encoded_bytes().starts_with(prefix.as_encoded_bytes()));
        Ok(kept.next_back().map(|name| path.with_file_name(name)))
    }
}
