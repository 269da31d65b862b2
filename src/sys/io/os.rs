//! [`OsStorage`]: real files. One system call a method, interruptions retried, no state.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{FileId, FileMetadata, IoFault, IoResult, Operation, PathKind, Storage, StorageFile};

/// The operating system's files. New files get mode 0666 less the umask, as `fopen` gives.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsStorage;

#[derive(Debug)]
struct OsFile {
    file: File,
    path: PathBuf,
}

/// Runs a system call again while it is interrupted by a signal.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn open(options: &OpenOptions, operation: Operation, path: &Path) -> IoResult<Box<dyn StorageFile>> {
    match retry(|| options.open(path)) {
        Ok(file) => Ok(Box::new(OsFile { file, path: path.to_path_buf() })),
        Err(source) => Err(IoFault::new(operation, path, source)),
    }
}

fn describe(metadata: &fs::Metadata) -> FileMetadata {
    FileMetadata {
        len: metadata.len(),
        // Linux always has a modification time; the epoch stands for "unknown" elsewhere.
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        is_dir: metadata.is_dir(),
        id: FileId { device: metadata.dev(), inode: metadata.ino() },
    }
}

impl Storage for OsStorage {
    fn open_read(&self, path: &Path) -> IoResult<Box<dyn StorageFile>> {
        open(OpenOptions::new().read(true), Operation::OpenRead, path)
    }

    fn create(&self, path: &Path) -> IoResult<Box<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        open(&options, Operation::Create, path)
    }

    fn open_append(&self, path: &Path) -> IoResult<Box<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        open(&options, Operation::OpenAppend, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> IoResult<()> {
        fs::rename(from, to).map_err(|source| IoFault::renaming(from, to, source))
    }

    fn remove(&self, path: &Path) -> IoResult<()> {
        fs::remove_file(path).map_err(|source| IoFault::new(Operation::Remove, path, source))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> IoResult<()> {
        fs::hard_link(from, to).map_err(|source| IoFault::between(Operation::Link, from, to, source))
    }

    fn remove_dir(&self, path: &Path) -> IoResult<()> {
        fs::remove_dir(path).map_err(|source| IoFault::new(Operation::RemoveDir, path, source))
    }

    fn create_dir(&self, path: &Path) -> IoResult<()> {
        fs::create_dir(path).map_err(|source| IoFault::new(Operation::CreateDir, path, source))
    }

    fn list_dir(&self, path: &Path) -> IoResult<Vec<OsString>> {
        let fault = |source| IoFault::new(Operation::ListDir, path, source);
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(fault)? {
            names.push(entry.map_err(fault)?.file_name());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> IoResult<()> {
        let fault = |source| IoFault::new(Operation::SyncDir, path, source);
        let directory = retry(|| File::open(path)).map_err(fault)?;
        match retry(|| directory.sync_all()) {
            // Some file systems cannot sync a directory and say EINVAL: nothing more can be done.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            other => other.map_err(fault),
        }
    }

    fn metadata(&self, path: &Path) -> IoResult<FileMetadata> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(describe(&metadata)),
            Err(source) => Err(IoFault::new(Operation::Metadata, path, source)),
        }
    }

    fn kind(&self, path: &Path) -> IoResult<PathKind> {
        match fs::symlink_metadata(path).map(|found| found.file_type()) {
            Ok(kind) if kind.is_file() => Ok(PathKind::File),
            Ok(kind) if kind.is_dir() => Ok(PathKind::Folder),
            Ok(_) => Ok(PathKind::Other),
            Err(source) => Err(IoFault::new(Operation::Metadata, path, source)),
        }
    }

    fn truncate(&self, path: &Path, len: u64) -> IoResult<()> {
        let fault = |source| IoFault::new(Operation::Truncate, path, source);
        let file = retry(|| OpenOptions::new().write(true).open(path)).map_err(fault)?;
        retry(|| file.set_len(len)).map_err(fault)
    }
}

impl OsStorage {
    /// Renames a file to a name that must be free: `EEXIST` otherwise, and nothing has changed then.
    ///
    /// # Errors
    /// The system's.
    pub fn rename_new(&self, from: &Path, to: &Path) -> IoResult<()> {
        match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => Ok(()),
            // File systems that do not know the flag know a second name, which must be free too.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                self.hard_link(from, to)?;
                self.remove(from)
            }
            Err(errno) => Err(IoFault::renaming(from, to, errno.into())),
        }
    }
}

impl OsFile {
    fn fault(&self, operation: Operation, source: io::Error) -> IoFault {
        IoFault::new(operation, &self.path, source)
    }
}

/// File offsets are signed in the kernel's interface.
fn signed_offset(value: u64) -> io::Result<i64> {
    i64::try_from(value).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn sync_file_range(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let (offset, len) = (signed_offset(offset)?, signed_offset(len)?);
    // SAFETY: plain integers; the descriptor is open as `file` is borrowed.
    let outcome =
        unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn advise_dontneed(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let (offset, len) = (signed_offset(offset)?, signed_offset(len)?);
    // SAFETY: plain integers; the descriptor is open as `file` is borrowed.
    let errno = unsafe { libc::posix_fadvise(file.as_raw_fd(), offset, len, libc::POSIX_FADV_DONTNEED) };
    // posix_fadvise returns the error number and leaves errno alone.
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

/// Shares a part of `source` with `target`. False where the file system cannot do that, or not
/// between these two files (ioctl_ficlonerange(2)).
fn share_blocks(source: BorrowedFd<'_>, target: &File, offset: u64, len: u64) -> io::Result<bool> {
    let range = libc::file_clone_range {
        src_fd: i64::from(source.as_raw_fd()),
        src_offset: offset,
        src_length: len,
        dest_offset: offset,
    };
    // SAFETY: both descriptors are open as they are borrowed; the kernel only reads `range`, which
    // lives until the call has returned.
    let outcome = unsafe { libc::ioctl(target.as_raw_fd(), libc::FICLONERANGE, &raw const range) };
    if outcome == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EXDEV | libc::EINVAL | libc::ENOTTY | libc::ENOSYS | libc::EPERM) => {
            Ok(false)
        }
        _ => Err(error),
    }
}

impl StorageFile for OsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        retry(|| (&self.file).write(bytes)).map_err(|source| self.fault(Operation::Write, source))
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> IoResult<usize> {
        retry(|| (&self.file).write_vectored(buffers)).map_err(|source| self.fault(Operation::Write, source))
    }

    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        let file = &self.file;
        retry(|| (&mut &*file).read(buffer)).map_err(|source| self.fault(Operation::Read, source))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> IoResult<usize> {
        retry(|| self.file.read_at(buffer, offset)).map_err(|source| self.fault(Operation::Read, source))
    }

    fn seek(&mut self, position: SeekFrom) -> IoResult<u64> {
        (&self.file).seek(position).map_err(|source| self.fault(Operation::Seek, source))
    }

    fn len(&self) -> IoResult<u64> {
        match self.file.metadata() {
            Ok(metadata) => Ok(metadata.len()),
            Err(source) => Err(self.fault(Operation::Metadata, source)),
        }
    }

    fn metadata(&self) -> IoResult<FileMetadata> {
        match self.file.metadata() {
            Ok(metadata) => Ok(describe(&metadata)),
            Err(source) => Err(self.fault(Operation::Metadata, source)),
        }
    }

    fn truncate(&mut self, len: u64) -> IoResult<()> {
        retry(|| self.file.set_len(len)).map_err(|source| self.fault(Operation::Truncate, source))
    }

    fn sync_data(&self) -> IoResult<()> {
        retry(|| self.file.sync_data()).map_err(|source| self.fault(Operation::SyncData, source))
    }

    fn sync_all(&self) -> IoResult<()> {
        retry(|| self.file.sync_all()).map_err(|source| self.fault(Operation::SyncAll, source))
    }

    fn sync_range(&self, offset: u64, len: u64) -> IoResult<()> {
        sync_file_range(&self.file, offset, len).map_err(|source| self.fault(Operation::SyncRange, source))
    }

    fn advise_dontneed(&self, offset: u64, len: u64) -> IoResult<()> {
        advise_dontneed(&self.file, offset, len).map_err(|source| self.fault(Operation::Advise, source))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn share_blocks_of(&mut self, source: &dyn StorageFile, offset: u64, len: u64) -> IoResult<bool> {
        let Some(descriptor) = source.descriptor() else { return Ok(false) };
        share_blocks(descriptor, &self.file, offset, len).map_err(|error| self.fault(Operation::Share, error))
    }

    fn try_lock(&self) -> IoResult<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => match error.raw_os_error() {
                Some(libc::ENOLCK | libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL) => Ok(true),
                _ => Err(self.fault(Operation::Lock, error)),
            },
        }
    }

    fn try_clone(&self) -> IoResult<Box<dyn StorageFile>> {
        match self.file.try_clone() {
            Ok(file) => Ok(Box::new(Self { file, path: self.path.clone() })),
            Err(source) => Err(self.fault(Operation::Clone, source)),
        }
    }
}
