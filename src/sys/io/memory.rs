//! [`MemoryStorage`]: a file system in memory that remembers what a power cut would leave.
//!
//! ```text
//!             now (page cache)                         after a power cut (disk)
//!   names     BTreeMap path -> node                    the same map, behind by `pending`:
//!                                                      the name changes not yet synced
//!   content   inode.now: Vec<u8>                       inode.durable: Vec<u8>
//! ```
//!
//! `sync_data` copies a file's content to the durable side; `sync_dir` applies the pending
//! name changes of that directory. The model is stricter than ext4 (where syncing a new file
//! usually saves its name as well): what passes here passes on any POSIX file system.
//! Trade-off: a sync costs a copy of the file, fine for tests of some MiB.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::{FileId, FileMetadata, IoFault, IoResult, Operation, Storage, StorageFile, parent_dir};

/// What the disk does with changes that were never synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerCut {
    /// Loses all of them.
    LoseUnsynced,
    /// Happens to have written all of them.
    KeepAll,
    /// Keeps a random part, chosen by the seed: a prefix of the name changes of each
    /// directory, and of each file any 4 KiB pages of a length between the synced and the
    /// current one; pages not written read as zeros.
    Random(u64),
}

/// Page of the simulated disk, bytes: content is kept or lost in this unit, as in Linux.
const PAGE_BYTES: usize = 4096;

type InodeId = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(InodeId),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Nanoseconds on the storage's own clock, which counts changes (see `tick`).
    modified_ns: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link { path: PathBuf, node: Node },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Debug, Default)]
struct State {
    names: Names,
    durable_names: Names,
    pending: Vec<NameChange>,
    inodes: BTreeMap<InodeId, Inode>,
    next_inode: InodeId,
    clock_ns: u64,
}

/// A file system in memory. Clones share it. `/` and `.` exist from the start.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct MemoryFile {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    inode: InodeId,
    position: Arc<AtomicU64>,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Read,
    Write,
    Append,
}

/// Drops `.` components, so that `./a` and `a` are one file.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

fn errno<T>(operation: Operation, path: &Path, number: i32) -> IoResult<T> {
    Err(IoFault::from_errno(operation, path, number))
}

/// A poisoned lock only says that a test thread panicked; the state itself stays whole,
/// since every method finishes its change before anything can panic.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NameChange {
    /// The directory whose sync makes the change durable.
    fn directory(&self) -> PathBuf {
        match self {
            Self::Link { path, .. } | Self::Unlink { path } => normal(parent_dir(path)),
            Self::Rename { to, .. } => normal(parent_dir(to)),
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link { path, node } => {
                names.insert(path.clone(), *node);
            }
            Self::Unlink { path } => {
                names.remove(path);
            }
            Self::Rename { from, to } => rename_in(names, from, to),
        }
    }
}

/// Moves `from` and, when it is a directory, everything below it.
fn rename_in(names: &mut Names, from: &Path, to: &Path) {
    let moved: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
    for path in moved {
        let Some(node) = names.remove(&path) else {
            continue;
        };
        let below = path.strip_prefix(from).unwrap_or(Path::new(""));
        let new_path = if below.as_os_str().is_empty() { to.to_path_buf() } else { to.join(below) };
        names.insert(new_path, node);
    }
}

impl State {
    fn is_dir(&self, path: &Path) -> bool {
        path.as_os_str().is_empty()
            || path == Path::new("/")
            || self.names.get(path) == Some(&Node::Directory)
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    /// Each change of content is one microsecond later than the one before: modification
    /// times are ordered and the same in every run.
    fn tick(&mut self) -> u64 {
        self.clock_ns += 1_000;
        self.clock_ns
    }

    fn inode(&mut self, id: InodeId) -> &mut Inode {
        self.inodes.entry(id).or_default()
    }

    fn new_file(&mut self, path: &Path, operation: Operation) -> IoResult<InodeId> {
        if !self.is_dir(&normal(parent_dir(path))) {
            return errno(operation, path, libc::ENOENT);
        }
        self.next_inode += 1;
        let id = self.next_inode;
        let modified_ns = self.tick();
        self.inodes.insert(id, Inode { modified_ns, ..Inode::default() });
        self.change(NameChange::Link { path: path.to_path_buf(), node: Node::File(id) });
        Ok(id)
    }

    fn find(&self, operation: Operation, path: &Path) -> IoResult<InodeId> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(*id),
            None if !self.is_dir(path) => errno(operation, path, libc::ENOENT),
            _ => errno(operation, path, libc::EISDIR),
        }
    }

    fn find_or_create(&mut self, operation: Operation, path: &Path) -> IoResult<InodeId> {
        match self.find(operation, path) {
            Err(fault) if fault.is_not_found() => self.new_file(path, operation),
            other => other,
        }
    }

    fn describe(&mut self, id: InodeId) -> FileMetadata {
        let inode = self.inode(id);
        let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(inode.modified_ns);
        FileMetadata {
            len: inode.now.len() as u64,
            modified,
            is_dir: false,
            id: FileId { device: 0, inode: id },
        }
    }

    fn set_len(&mut self, id: InodeId, len: u64) -> Result<(), i32> {
        let len = usize::try_from(len).map_err(|_| libc::EFBIG)?;
        let modified_ns = self.tick();
        let inode = self.inode(id);
        inode.now.resize(len, 0);
        inode.modified_ns = modified_ns;
        Ok(())
    }
}

impl MemoryStorage {
    /// An empty file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a machine finds after losing power now. The original goes on unharmed, so one
    /// run can be cut at every step.
    pub fn after_power_cut(&self, cut: PowerCut) -> Self {
        let state = lock(&self.state);
        let mut random = match cut {
            PowerCut::Random(seed) => fastrand::Rng::with_seed(seed),
            _ => fastrand::Rng::with_seed(0),
        };
        let names = surviving_names(&state, cut, &mut random);
        let mut inodes = BTreeMap::new();
        for node in names.values() {
            if let Node::File(id) = node {
                let old = state.inodes.get(id).cloned().unwrap_or_default();
                let content = surviving_content(&old, cut, &mut random);
                let inode = Inode { now: content.clone(), durable: content, modified_ns: old.modified_ns };
                inodes.insert(*id, inode);
            }
        }
        let survivor = State {
            durable_names: names.clone(),
            names,
            pending: Vec::new(),
            inodes,
            next_inode: state.next_inode,
            clock_ns: state.clock_ns,
        };
        Self { state: Arc::new(Mutex::new(survivor)) }
    }

    fn file(&self, path: PathBuf, inode: InodeId, mode: Mode) -> Box<dyn StorageFile> {
        let position = Arc::new(AtomicU64::new(0));
        Box::new(MemoryFile { state: Arc::clone(&self.state), path, inode, position, mode })
    }
}

fn surviving_names(state: &State, cut: PowerCut, random: &mut fastrand::Rng) -> Names {
    let mut names = state.durable_names.clone();
    match cut {
        PowerCut::LoseUnsynced => {}
        PowerCut::KeepAll => names = state.names.clone(),
        PowerCut::Random(_) => {
            // Changes of one directory are ordered; those of different ones are not.
            let mut stopped: Vec<PathBuf> = Vec::new();
            for change in &state.pending {
                let directory = change.directory();
                if stopped.contains(&directory) {
                    continue;
                }
                if random.bool() {
                    change.apply(&mut names);
                } else {
                    stopped.push(directory);
                }
            }
        }
    }
    names
}

fn surviving_content(inode: &Inode, cut: PowerCut, random: &mut fastrand::Rng) -> Vec<u8> {
    match cut {
        PowerCut::LoseUnsynced => inode.durable.clone(),
        PowerCut::KeepAll => inode.now.clone(),
        PowerCut::Random(_) if inode.now == inode.durable => inode.durable.clone(),
        PowerCut::Random(_) => {
            let shorter = inode.now.len().min(inode.durable.len());
            let longer = inode.now.len().max(inode.durable.len());
            let len = random.usize(shorter..=longer);
            let mut content = inode.durable.clone();
            content.resize(len, 0);
            for start in (0..len).step_by(PAGE_BYTES) {
                let end = (start + PAGE_BYTES).min(len).min(inode.now.len());
                if start < end && random.bool() {
                    content[start..end].copy_from_slice(&inode.now[start..end]);
                }
            }
            content
        }
    }
}

impl Storage for MemoryStorage {
    fn open_read(&self, path: &Path) -> IoResult<Box<dyn StorageFile>> {
        let path = normal(path);
        let id = lock(&self.state).find(Operation::OpenRead, &path)?;
        Ok(self.file(path, id, Mode::Read))
    }

    fn create(&self, path: &Path) -> IoResult<Box<dyn StorageFile>> {
        let path = normal(path);
        let mut state = lock(&self.state);
        let id = state.find_or_create(Operation::Create, &path)?;
        state.inode(id).now.clear();
        drop(state);
        Ok(self.file(path, id, Mode::Write))
    }

    fn open_append(&self, path: &Path) -> IoResult<Box<dyn StorageFile>> {
        let path = normal(path);
        let id = lock(&self.state).find_or_create(Operation::OpenAppend, &path)?;
        Ok(self.file(path, id, Mode::Append))
    }

    fn rename(&self, from: &Path, to: &Path) -> IoResult<()> {
        let (from, to) = (normal(from), normal(to));
        let fault = |number| IoFault::renaming(&from, &to, io::Error::from_raw_os_error(number));
        let mut state = lock(&self.state);
        let Some(source) = state.names.get(&from).copied() else {
            return Err(fault(libc::ENOENT));
        };
        if !state.is_dir(&normal(parent_dir(&to))) {
            return Err(fault(libc::ENOENT));
        }
        match (source, state.names.get(&to).copied()) {
            (Node::File(_), Some(Node::Directory)) => return Err(fault(libc::EISDIR)),
            (Node::Directory, Some(_)) => return Err(fault(libc::EEXIST)),
            _ => {}
        }
        state.change(NameChange::Rename { from, to });
        Ok(())
    }

    fn remove(&self, path: &Path) -> IoResult<()> {
        let path = normal(path);
        let mut state = lock(&self.state);
        state.find(Operation::Remove, &path)?;
        state.change(NameChange::Unlink { path });
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> IoResult<()> {
        let (from, to) = (normal(from), normal(to));
        let fault =
            |number| IoFault::between(Operation::Link, &from, &to, io::Error::from_raw_os_error(number));
        let mut state = lock(&self.state);
        let Some(Node::File(id)) = state.names.get(&from).copied() else {
            return Err(fault(libc::ENOENT));
        };
        if state.names.contains_key(&to) {
            return Err(fault(libc::EEXIST));
        }
        if !state.is_dir(&normal(parent_dir(&to))) {
            return Err(fault(libc::ENOENT));
        }
        state.change(NameChange::Link { path: to, node: Node::File(id) });
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> IoResult<()> {
        let path = normal(path);
        let mut state = lock(&self.state);
        if state.names.get(&path) != Some(&Node::Directory) {
            return errno(Operation::RemoveDir, &path, libc::ENOENT);
        }
        if state.names.keys().any(|name| name != &path && name.starts_with(&path)) {
            return errno(Operation::RemoveDir, &path, libc::ENOTEMPTY);
        }
        state.change(NameChange::Unlink { path });
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> IoResult<()> {
        let path = normal(path);
        let mut state = lock(&self.state);
        if state.names.contains_key(&path) || state.is_dir(&path) {
            return errno(Operation::CreateDir, &path, libc::EEXIST);
        }
        if !state.is_dir(&normal(parent_dir(&path))) {
            return errno(Operation::CreateDir, &path, libc::ENOENT);
        }
        state.change(NameChange::Link { path, node: Node::Directory });
        Ok(())
    }

    fn list_dir(&self, path: &Path) -> IoResult<Vec<OsString>> {
        let path = normal(path);
        let state = lock(&self.state);
        if !state.is_dir(&path) {
            return errno(Operation::ListDir, &path, libc::ENOENT);
        }
        let inside = |name: &&PathBuf| normal(parent_dir(name)) == path && name.file_name().is_some();
        let names = state.names.keys().filter(inside);
        Ok(names.filter_map(|name| name.file_name().map(OsString::from)).collect())
    }

    fn sync_dir(&self, path: &Path) -> IoResult<()> {
        let path = normal(path);
        let mut state = lock(&self.state);
        if !state.is_dir(&path) {
            return errno(Operation::SyncDir, &path, libc::ENOENT);
        }
        for change in std::mem::take(&mut state.pending) {
            if change.directory() == path {
                change.apply(&mut state.durable_names);
            } else {
                state.pending.push(change);
            }
        }
        Ok(())
    }

    fn metadata(&self, path: &Path) -> IoResult<FileMetadata> {
        let path = normal(path);
        let mut state = lock(&self.state);
        if state.is_dir(&path) {
            let id = FileId::default();
            return Ok(FileMetadata { len: 0, modified: SystemTime::UNIX_EPOCH, is_dir: true, id });
        }
        let number = state.find(Operation::Metadata, &path)?;
        Ok(state.describe(number))
    }

    fn truncate(&self, path: &Path, len: u64) -> IoResult<()> {
        let path = normal(path);
        let mut state = lock(&self.state);
        let id = state.find(Operation::Truncate, &path)?;
        state.set_len(id, len).or_else(|number| errno(Operation::Truncate, &path, number))
    }
}

impl MemoryFile {
    fn writable(&self, operation: Operation) -> IoResult<()> {
        if self.mode == Mode::Read { errno(operation, &self.path, libc::EBADF) } else { Ok(()) }
    }
}

impl StorageFile for MemoryFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        self.writable(Operation::Write)?;
        let mut state = lock(&self.state);
        let modified_ns = state.tick();
        let inode = state.inode(self.inode);
        let start = match self.mode {
            Mode::Append => inode.now.len(),
            _ => self.position.load(Ordering::Relaxed) as usize,
        };
        let end = start + bytes.len();
        if inode.now.len() < end {
            inode.now.resize(end, 0);
        }
        inode.now[start..end].copy_from_slice(bytes);
        inode.modified_ns = modified_ns;
        self.position.store(end as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        let count = self.read_at(buffer, self.position.load(Ordering::Relaxed))?;
        self.position.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> IoResult<usize> {
        let mut state = lock(&self.state);
        let content = &state.inode(self.inode).now;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let count = buffer.len().min(content.len() - start);
        buffer[..count].copy_from_slice(&content[start..start + count]);
        Ok(count)
    }

    fn seek(&mut self, position: SeekFrom) -> IoResult<u64> {
        let new_position = match position {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.len()?.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.load(Ordering::Relaxed).checked_add_signed(delta),
        };
        let Some(offset) = new_position else {
            return errno(Operation::Seek, &self.path, libc::EINVAL);
        };
        self.position.store(offset, Ordering::Relaxed);
        Ok(offset)
    }

    fn len(&self) -> IoResult<u64> {
        Ok(lock(&self.state).inode(self.inode).now.len() as u64)
    }

    fn metadata(&self) -> IoResult<FileMetadata> {
        Ok(lock(&self.state).describe(self.inode))
    }

    fn truncate(&mut self, len: u64) -> IoResult<()> {
        self.writable(Operation::Truncate)?;
        let outcome = lock(&self.state).set_len(self.inode, len);
        outcome.or_else(|number| errno(Operation::Truncate, &self.path, number))
    }

    fn sync_data(&self) -> IoResult<()> {
        let mut state = lock(&self.state);
        let inode = state.inode(self.inode);
        inode.durable = inode.now.clone();
        Ok(())
    }

    fn sync_all(&self) -> IoResult<()> {
        self.sync_data()
    }

    fn sync_range(&self, _offset: u64, _len: u64) -> IoResult<()> {
        Ok(())
    }

    fn advise_dontneed(&self, _offset: u64, _len: u64) -> IoResult<()> {
        Ok(())
    }

    fn try_clone(&self) -> IoResult<Box<dyn StorageFile>> {
        Ok(Box::new(Self {
            state: Arc::clone(&self.state),
            path: self.path.clone(),
            inode: self.inode,
            position: Arc::clone(&self.position),
            mode: self.mode,
        }))
    }
}
