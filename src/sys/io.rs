//! File I/O behind two small traits, so that a power cut or a full disk is a unit test.
//!
//! `persist` never names `std::fs`: it is given an `Arc<dyn Storage>` and works with
//! `Box<dyn StorageFile>` handles. Three implementations exist:
//!
//! ```text
//!   OsStorage           real files, one system call a method, no lock, no state
//!   MemoryStorage       a file system in memory that knows what is synced; gives the
//!                       file system "after a power cut"
//!   FaultyStorage<S>    wraps any of them; the n-th write, sync, rename ... fails with a
//!                       chosen errno, is torn, lies or stalls
//! ```
//!
//! `OsStorage` holds no lock and allocates only for paths and errors, so a forked child may
//! use it. The other two hold mutexes and are for tests.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice, SeekFrom};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

mod faulty;
mod memory;
mod os;
mod socket;
#[cfg(test)]
mod tests;

pub use faulty::{Fault, FaultEffect, FaultPlan, FaultyStorage};
pub use memory::{MemoryStorage, PowerCut};
pub use os::OsStorage;
pub use socket::SocketFile;

/// What was being done to a file: the word that an error shows and that a [`Fault`] picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Opening an existing file for reading.
    OpenRead,
    /// Creating a file, or emptying an existing one.
    Create,
    /// Opening for appending, created when missing.
    OpenAppend,
    /// Renaming a file or a directory.
    Rename,
    /// Unlinking a file.
    Remove,
    /// Giving a file a second name (hard link).
    Link,
    /// Removing an empty directory.
    RemoveDir,
    /// Sharing the blocks of another file (`FICLONERANGE`).
    Share,
    /// Making a directory.
    CreateDir,
    /// Reading the names in a directory.
    ListDir,
    /// `fsync` of a directory.
    SyncDir,
    /// `stat`, `fstat`.
    Metadata,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Moving the file position.
    Seek,
    /// Setting the length.
    Truncate,
    /// `fdatasync`.
    SyncData,
    /// `fsync`.
    SyncAll,
    /// `sync_file_range`: start of write-back, no promise.
    SyncRange,
    /// `posix_fadvise`.
    Advise,
    /// Duplicating a handle.
    Clone,
    /// Taking the lock of a file.
    Lock,
}

impl Operation {
    /// The name shown in messages: that of the system call, where there is one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenRead | Self::Create | Self::OpenAppend => "open",
            Self::Rename => "rename",
            Self::Remove => "unlink",
            Self::Link => "link",
            Self::RemoveDir => "rmdir",
            Self::Share => "ioctl FICLONERANGE",
            Self::CreateDir => "mkdir",
            Self::ListDir => "readdir",
            Self::SyncDir => "fsync directory",
            Self::Metadata => "stat",
            Self::Read => "read",
            Self::Write => "write",
            Self::Seek => "lseek",
            Self::Truncate => "truncate",
            Self::SyncData => "fdatasync",
            Self::SyncAll => "fsync",
            Self::SyncRange => "sync_file_range",
            Self::Advise => "posix_fadvise",
            Self::Clone => "dup",
            Self::Lock => "flock",
        }
    }
}

/// A failed file operation: what, on which path, why.
///
/// Shown as `rename(/a -> /b): No space left on device (os error 28)`.
#[derive(Debug)]
pub struct IoFault {
    /// What was tried.
    pub operation: Operation,
    /// The file, or the old name in a rename.
    pub path: PathBuf,
    /// The new name in a rename or a link.
    pub target: Option<PathBuf>,
    /// The operating system's reason.
    pub source: io::Error,
}

/// Result of every method here.
pub type IoResult<T> = Result<T, IoFault>;

impl IoFault {
    /// A fault on one path.
    pub fn new(operation: Operation, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_path_buf(), target: None, source }
    }

    /// A fault of a rename.
    pub fn renaming(from: &Path, to: &Path, source: io::Error) -> Self {
        Self::between(Operation::Rename, from, to, source)
    }

    /// A fault of an operation with two paths.
    pub fn between(operation: Operation, from: &Path, to: &Path, source: io::Error) -> Self {
        Self { operation, path: from.to_path_buf(), target: Some(to.to_path_buf()), source }
    }

    /// A fault made from an errno value.
    pub fn from_errno(operation: Operation, path: &Path, errno: i32) -> Self {
        Self::new(operation, path, io::Error::from_raw_os_error(errno))
    }

    /// The errno value, when the operating system gave one.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Whether the file was simply not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

impl fmt::Display for IoFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}({}", self.operation.name(), self.path.display())?;
        if let Some(target) = &self.target {
            write!(out, " -> {}", target.display())?;
        }
        write!(out, "): {}", self.source)
    }
}

impl std::error::Error for IoFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Keeps kind and text; the errno itself stays reachable by downcasting to [`IoFault`].
impl From<IoFault> for io::Error {
    fn from(fault: IoFault) -> Self {
        io::Error::new(fault.source.kind(), fault)
    }
}

/// Which file it is, whatever its name: the device and the inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
}

/// What `stat` tells, as far as `persist` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMetadata {
    /// Length in bytes.
    pub len: u64,
    /// Time of the last change of content.
    pub modified: SystemTime,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// The same for two names of one file, and after a rename.
    pub id: FileId,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A plain file.
    File,
    /// A directory.
    Folder,
    /// A symbolic link, wherever it leads, a socket, a device.
    Other,
}

/// A place that holds files: real, in memory, or faulty.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Opens an existing file for reading.
    fn open_read(&self, path: &Path) -> IoResult<Box<dyn StorageFile>>;
    /// Creates the file, or empties it when it exists; readable and writable.
    fn create(&self, path: &Path) -> IoResult<Box<dyn StorageFile>>;
    /// Opens for reading and appending; created when missing. Each write goes to the end.
    fn open_append(&self, path: &Path) -> IoResult<Box<dyn StorageFile>>;
    /// Renames a file or directory, replacing a file at `to`. Atomic; durable only after
    /// [`Storage::sync_dir`] of the directory.
    fn rename(&self, from: &Path, to: &Path) -> IoResult<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> IoResult<()>;
    /// Gives a file a second name; fails when `to` exists, and across file systems (`EXDEV`).
    fn hard_link(&self, from: &Path, to: &Path) -> IoResult<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> IoResult<()>;
    /// Makes one directory; its parent must exist.
    fn create_dir(&self, path: &Path) -> IoResult<()>;
    /// Names in a directory, sorted, without `.` and `..`.
    fn list_dir(&self, path: &Path) -> IoResult<Vec<OsString>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> IoResult<()>;
    /// Length, time and kind.
    fn metadata(&self, path: &Path) -> IoResult<FileMetadata>;
    /// Sets the length of a file: cut, or extended by zeros.
    fn truncate(&self, path: &Path, len: u64) -> IoResult<()>;

    /// What the path itself names: links are not followed, so that nothing outside is touched.
    fn kind(&self, path: &Path) -> IoResult<PathKind> {
        self.metadata(path).map(|found| if found.is_dir { PathKind::Folder } else { PathKind::File })
    }

    /// Whether the path exists. An error other than "not found" is returned, not swallowed:
    /// a server that mistakes EACCES for "no file" starts empty.
    fn exists(&self, path: &Path) -> IoResult<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_not_found() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// The whole file, refused with `EFBIG` above `limit_bytes`: for configuration, ACL and
    /// the like, never for data files.
    fn read_whole(&self, path: &Path, limit_bytes: u64) -> IoResult<Vec<u8>> {
        let mut file = self.open_read(path)?;
        let mut content = Vec::new();
        let mut chunk = [0u8; READ_CHUNK_BYTES];
        loop {
            let count = file.read(&mut chunk)?;
            if count == 0 {
                return Ok(content);
            }
            content.extend_from_slice(&chunk[..count]);
            if content.len() as u64 > limit_bytes {
                return Err(IoFault::from_errno(Operation::Read, path, libc::EFBIG));
            }
        }
    }
}

/// Stack buffer of [`Storage::read_whole`], bytes: eight pages, small enough for any thread.
const READ_CHUNK_BYTES: usize = 32 * 1024;

/// An open file. One handle is used by one thread at a time; [`StorageFile::try_clone`]
/// gives a second one, so that a thread may sync what another writes.
pub trait StorageFile: Send + fmt::Debug {
    /// The path under which it was opened (not followed by renames).
    fn path(&self) -> &Path;
    /// Writes at the position (or at the end, in append mode). May be short, never 0 for a
    /// non-empty buffer. Interruptions are retried.
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize>;
    /// Reads at the position; 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize>;
    /// Reads at an offset without moving the position; 0 is the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> IoResult<usize>;
    /// Moves the position, returns it.
    fn seek(&mut self, position: SeekFrom) -> IoResult<u64>;
    /// Length in bytes.
    fn len(&self) -> IoResult<u64>;
    /// `fstat`: what is known of the open file, whatever its names are now.
    fn metadata(&self) -> IoResult<FileMetadata>;
    /// Sets the length; the position stays.
    fn truncate(&mut self, len: u64) -> IoResult<()>;
    /// `fdatasync`: content and length are durable after it. After an error the state of
    /// what was written is unknown, and a later success does not cure it.
    fn sync_data(&self) -> IoResult<()>;
    /// `fsync`.
    fn sync_all(&self) -> IoResult<()>;
    /// Starts write-back of a range without waiting for it. A hint: no durability.
    fn sync_range(&self, offset: u64, len: u64) -> IoResult<()>;
    /// Tells the kernel that the cached pages of a range are not needed. A hint.
    fn advise_dontneed(&self, offset: u64, len: u64) -> IoResult<()>;
    /// A second handle to the same open file (shared position).
    fn try_clone(&self) -> IoResult<Box<dyn StorageFile>>;

    /// Takes the file's lock (`flock`) and keeps it while this handle or a clone of it is open, also
    /// in a child that was forked meanwhile. `false`: somebody else has it. Where the file system
    /// knows no locks the answer is `true`: the lock is never the only sign of a living owner.
    fn try_lock(&self) -> IoResult<bool> {
        Ok(true)
    }

    /// The descriptor below, for calls that the kernel does on two files; `None` in memory.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Makes `len` bytes at `offset` those of `source` at the same place without copying them, where
    /// the file system can share blocks (btrfs, XFS); both numbers are multiples of its block.
    /// `false`: it cannot, and nothing has changed.
    fn share_blocks_of(&mut self, _source: &dyn StorageFile, _offset: u64, _len: u64) -> IoResult<bool> {
        Ok(false)
    }

    /// Gathers several buffers into one write. May be short.
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> IoResult<usize> {
        match buffers.iter().find(|buffer| !buffer.is_empty()) {
            Some(first) => self.write(first),
            None => Ok(0),
        }
    }

    /// Whether the file has no content.
    fn is_empty(&self) -> IoResult<bool> {
        Ok(self.len()? == 0)
    }

    /// Writes everything. On an error an unknown prefix has been written.
    fn write_all(&mut self, bytes: &[u8]) -> IoResult<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.write(rest)?;
            if count == 0 {
                let source = io::Error::from(io::ErrorKind::WriteZero);
                return Err(IoFault::new(Operation::Write, self.path(), source));
            }
            rest = &rest[count..];
        }
        Ok(())
    }
}

/// The directory that holds `path`: what must be synced after a rename. `.` for a bare name.
pub fn parent_dir(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ if path.has_root() => Path::new("/"),
        _ => Path::new("."),
    }
}
