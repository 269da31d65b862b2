//! Files of processes that are gone: temporary ones are removed, an AOF that nobody has read is set
//! aside before a new one takes its name.

use crate::persist::schedule;
use crate::server::Server;
use crate::sys::io::{IoResult, Storage, parent_dir};
use std::path::{Path, PathBuf};

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
            match self.persistence.storage.remove(&path) {
                Ok(()) => log::info!("Removed {}, left over by a process that is gone", path.display()),
                Err(fault) => log::warn!("Can't remove a left-over temporary file: {fault}"),
            }
        }
    }

    /// Before the AOF is switched on at run time: a file of that name which this process has neither
    /// read nor written holds data that are not in memory, so it is renamed and not overwritten.
    ///
    /// # Errors
    /// A text: the file is there and cannot be renamed.
    pub fn set_unread_aof_aside(&mut self) -> Result<(), String> {
        let path = self.aof_path();
        if self.persistence.aof.has_known(&path) {
            return Ok(());
        }
        let storage = self.persistence.aof.storage();
        let found = match storage.metadata(&path) {
            Err(fault) if fault.is_not_found() => return Ok(()),
            found => found.map_err(|fault| fault.to_string())?,
        };
        if found.len == 0 && !found.is_dir {
            return Ok(());
        }
        let aside =
            free_name(&*storage, &path, "unread", self.now_ms() / 1000).map_err(|fault| fault.to_string())?;
        let moved = storage.rename(&path, &aside).and_then(|()| storage.sync_dir(parent_dir(&path)));
        moved.map_err(|fault| format!("Can't set the unread append only file aside: {fault}"))?;
        log::warn!(
            "{} was there and had not been loaded ({} bytes): it is {} now",
            path.display(),
            found.len,
            aside.display()
        );
        Ok(())
    }
}

/// `<path>.<word>-<unix time>`, or a later time when somebody has that name.
///
/// # Errors
/// The names cannot be looked at.
pub fn free_name(storage: &dyn Storage, path: &Path, word: &str, now_s: i64) -> IoResult<PathBuf> {
    let mut number = now_s;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{word}-{number}"));
        let free = PathBuf::from(name);
        if !storage.exists(&free)? {
            return Ok(free);
        }
        number += 1;
    }
}
