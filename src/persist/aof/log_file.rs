//! The file that is appended to, and what a failed write leaves behind.
//!
//! A write that fails half-way is cut back, so that the file always ends with a whole batch; when
//! even that fails, the caller goes on behind what is there, so that no byte is written twice.

use crate::persist::aof::file_watch;
use crate::sys::io::{FileMetadata, IoFault, IoResult, Operation, Storage, StorageFile};
use std::io;
use std::path::{Path, PathBuf};

/// An open append-only file.
#[derive(Debug)]
pub(super) struct LogFile {
    file: Box<dyn StorageFile>,
    /// Length, bytes.
    size: u64,
    path: PathBuf,
    /// The name and the open file can be compared: not so where a file system makes numbers up.
    watched: bool,
}

/// A write that failed.
#[derive(Debug)]
pub(super) struct AppendFailure {
    pub fault: IoFault,
    /// Bytes of this batch that are in the file and could not be taken back.
    pub kept: usize,
}

impl LogFile {
    /// Opens the file at its end; creates it when it is missing.
    pub fn open(storage: &dyn Storage, path: &Path) -> IoResult<LogFile> {
        let file = storage.open_append(path)?;
        // Only tells others that it is in use (`leftovers`); whoever holds it already, we append.
        if let Err(fault) = file.try_lock() {
            log::debug!("The AOF file is not locked: {fault}");
        }
        let size = file.len()?;
        let mut log = LogFile { file, size, path: path.to_path_buf(), watched: false };
        log.moved_to(storage, path);
        Ok(log)
    }

    /// The file has this name now.
    pub fn moved_to(&mut self, storage: &dyn Storage, path: &Path) {
        self.path = path.to_path_buf();
        self.watched = match (storage.metadata(path), self.metadata()) {
            (Ok(named), Ok(own)) => file_watch::is_same(&named, &own),
            _ => false,
        };
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a look at the name tells something.
    pub fn is_watched(&self) -> bool {
        self.watched
    }

    /// What the open descriptor says.
    pub fn metadata(&self) -> IoResult<FileMetadata> {
        self.file.metadata()
    }

    /// Appends a batch whole, or cuts back what was written of it.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), AppendFailure> {
        let mut done = 0;
        while done < bytes.len() {
            match self.file.write(&bytes[done..]) {
                Ok(0) => {
                    let fault = IoFault::new(Operation::Write, &self.path, io::ErrorKind::WriteZero.into());
                    return Err(self.take_back(done, fault));
                }
                Ok(count) => done += count,
                Err(fault) => return Err(self.take_back(done, fault)),
            }
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// What a failed call has written is not known, so the length is asked.
    fn take_back(&mut self, done: usize, fault: IoFault) -> AppendFailure {
        let done = self.file.len().map_or(done, |len| len.saturating_sub(self.size) as usize);
        if done == 0 {
            return AppendFailure { fault, kept: 0 };
        }
        log::warn!("Short write while writing to the AOF file: {done} bytes were written ({fault})");
        match self.file.truncate(self.size) {
            Ok(()) => AppendFailure { fault, kept: 0 },
            Err(failure) => {
                log::warn!(
                    "Could not remove short write from the append-only file. The next write goes on behind it. {failure}"
                );
                self.size += done as u64;
                AppendFailure { fault, kept: done }
            }
        }
    }

    /// Makes everything written durable.
    pub fn sync(&self) -> IoResult<()> {
        self.file.sync_data()
    }

    /// A second handle, for the thread that syncs.
    pub fn sync_handle(&self) -> IoResult<Box<dyn StorageFile>> {
        self.file.try_clone()
    }

    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Drops something big in a thread of its own: the kernel frees the blocks of a file without a name
/// in the thread that closes it, and the allocator those of memory.
pub fn drop_elsewhere<T: Send + 'static>(thing: T) {
    let spawned = std::thread::Builder::new().name("aof-close".into()).spawn(move || drop(thing));
    if let Err(failure) = spawned {
        log::debug!("A file or buffer was freed by the thread that used it: {failure}");
    }
}

/// Removes a file if it is there, however big: the name goes now, the blocks in another thread.
///
/// # Errors
/// The name could not be removed.
pub fn remove_elsewhere(storage: &dyn Storage, path: &Path) -> IoResult<()> {
    // Without the open descriptor, unlink itself would free the blocks.
    let file = storage.open_read(path);
    match storage.remove(path) {
        Err(fault) if !fault.is_not_found() => return Err(fault),
        _ => {}
    }
    if let Ok(file) = file {
        drop_elsewhere(file);
    }
    Ok(())
}
