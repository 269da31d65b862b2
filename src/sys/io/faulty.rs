//! [`FaultyStorage`]: wraps a storage and spoils chosen calls.
//!
//! A [`FaultPlan`] counts the calls of each [`Operation`] and holds a list of [`Fault`]s; the
//! test keeps a clone of the plan, adds faults while the code runs and reads the counts.
//! "Cut the power at every step" is: run once and read `plan.total_calls()`, then run again
//! with a fault at each number.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, SeekFrom};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{FileMetadata, IoFault, IoResult, Operation, PathKind, Storage, StorageFile};

/// What happens to a chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultEffect {
    /// Nothing is done; this errno is returned.
    Fail(i32),
    /// A write stores only this many bytes, then the errno is returned. Any other call: `Fail`.
    Torn {
        /// Bytes that reach the file.
        bytes: usize,
        /// The error returned.
        errno: i32,
    },
    /// A write stores and reports only this many bytes (at least one). Any other call: untouched.
    Short(usize),
    /// The call reports success and does nothing: a disk that lies about syncing.
    Lie,
    /// The call waits this long, then is done properly.
    Stall(Duration),
}

/// Which calls, and what happens to them.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The kind of call; `None` counts calls of every kind.
    pub operation: Option<Operation>,
    /// The first call that is hit, counted from 1 over the life of the plan.
    pub nth: u64,
    /// How many calls in a row are hit; `u64::MAX` for all later ones.
    pub times: u64,
    /// Only paths that contain this text (they are counted together with all others).
    pub path_contains: Option<String>,
    /// What happens.
    pub effect: FaultEffect,
}

impl Fault {
    /// The n-th call of a kind, once.
    pub fn nth(operation: Operation, nth: u64, effect: FaultEffect) -> Self {
        Self { operation: Some(operation), nth, times: 1, path_contains: None, effect }
    }

    /// Every call of a kind from now on.
    pub fn always(operation: Operation, effect: FaultEffect) -> Self {
        Self { times: u64::MAX, ..Self::nth(operation, 1, effect) }
    }

    /// The n-th call of any kind and all after it: the machine is gone.
    pub fn everything_from(nth: u64, errno: i32) -> Self {
        let effect = FaultEffect::Fail(errno);
        Self { operation: None, nth, times: u64::MAX, path_contains: None, effect }
    }

    fn hits(&self, operation: Operation, counts: &Counts, path: &Path) -> bool {
        let count = match self.operation {
            Some(wanted) if wanted != operation => return false,
            Some(wanted) => counts.of(wanted),
            None => counts.total,
        };
        let path_fits = match &self.path_contains {
            Some(text) => path.to_string_lossy().contains(text.as_str()),
            None => true,
        };
        path_fits && count >= self.nth && count - self.nth < self.times
    }
}

#[derive(Debug, Default)]
struct Counts {
    by_operation: HashMap<Operation, u64>,
    total: u64,
}

impl Counts {
    fn of(&self, operation: Operation) -> u64 {
        self.by_operation.get(&operation).copied().unwrap_or(0)
    }
}

/// A fault of the next calls that fit, counted by itself.
#[derive(Debug)]
struct NextFault {
    operation: Operation,
    path: String,
    left: u64,
    effect: FaultEffect,
}

impl PlanState {
    fn take_next(&mut self, operation: Operation, path: &Path) -> Option<FaultEffect> {
        let path = path.to_string_lossy();
        let fits = |fault: &NextFault| fault.operation == operation && path.contains(&fault.path);
        let index = self.next.iter().position(fits)?;
        let effect = self.next[index].effect;
        self.next[index].left -= 1;
        if self.next[index].left == 0 {
            self.next.remove(index);
        }
        Some(effect)
    }
}

/// Called before each call on the storage, from whatever thread makes it.
type Observer = dyn Fn(Operation) + Send + Sync;

#[derive(Default)]
struct PlanState {
    counts: Counts,
    faults: Vec<Fault>,
    next: Vec<NextFault>,
    observer: Option<Arc<Observer>>,
}

impl fmt::Debug for PlanState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let observed = self.observer.is_some();
        write!(out, "{:?}, {:?}, observed: {observed}", self.counts, self.faults)
    }
}

/// Counts and faults, shared between a test and the storage under it.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    state: Arc<Mutex<PlanState>>,
    /// Nothing was asked for yet: calls pass without a lock and are not counted.
    dormant: Arc<AtomicBool>,
}

impl FaultPlan {
    /// A plan without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A plan that costs one load of a flag for each call until a fault is added: for the storage
    /// of a server, where a child after a fork must find no lock taken.
    pub fn dormant() -> Self {
        Self { dormant: Arc::new(AtomicBool::new(true)), ..Self::default() }
    }

    /// Adds a fault. The first one that fits a call decides.
    pub fn add(&self, fault: Fault) {
        self.lock().faults.push(fault);
        self.dormant.store(false, Ordering::Release);
    }

    /// The next `times` calls of a kind on paths that contain `path` have this effect.
    pub fn add_next(&self, operation: Operation, path: &str, times: u64, effect: FaultEffect) {
        self.lock().next.push(NextFault { operation, path: path.to_owned(), left: times.max(1), effect });
        self.dormant.store(false, Ordering::Release);
    }

    /// Has `observer` called before each call: a test looks at the storage as it is then.
    pub fn observe(&self, observer: impl Fn(Operation) + Send + Sync + 'static) {
        self.lock().observer = Some(Arc::new(observer));
    }

    /// Removes all faults; counts stay.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.next.clear();
    }

    /// Calls of one kind so far.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.lock().counts.of(operation)
    }

    /// Calls of all kinds so far.
    pub fn total_calls(&self) -> u64 {
        self.lock().counts.total
    }

    /// Every change leaves the state whole, so a poisoned lock is still usable.
    fn lock(&self) -> MutexGuard<'_, PlanState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, operation: Operation, path: &Path) -> Option<FaultEffect> {
        if self.dormant.load(Ordering::Acquire) {
            return None;
        }
        let observer = self.lock().observer.clone();
        if let Some(observer) = observer {
            observer(operation);
        }
        let mut state = self.lock();
        state.counts.total += 1;
        *state.counts.by_operation.entry(operation).or_insert(0) += 1;
        if let Some(effect) = state.take_next(operation, path) {
            return Some(effect);
        }
        let PlanState { counts, faults, .. } = &*state;
        let hit = faults.iter().find(|fault| fault.hits(operation, counts, path));
        hit.map(|fault| fault.effect)
    }

    /// Decides a call that is not a write. `Ok(false)`: pretend it was done.
    fn admit(&self, operation: Operation, path: &Path) -> IoResult<bool> {
        match self.count(operation, path) {
            Some(FaultEffect::Fail(errno) | FaultEffect::Torn { errno, .. }) => {
                Err(IoFault::from_errno(operation, path, errno))
            }
            Some(FaultEffect::Lie) => Ok(false),
            Some(FaultEffect::Stall(duration)) => {
                std::thread::sleep(duration);
                Ok(true)
            }
            Some(FaultEffect::Short(_)) | None => Ok(true),
        }
    }

    /// Decides a call whose result cannot be pretended: a lie is an `EIO`.
    fn admit_real(&self, operation: Operation, path: &Path) -> IoResult<()> {
        match self.admit(operation, path)? {
            true => Ok(()),
            false => Err(IoFault::from_errno(operation, path, libc::EIO)),
        }
    }
}

/// A storage whose calls fail by plan.
#[derive(Clone, Debug)]
pub struct FaultyStorage<S> {
    inner: S,
    plan: FaultPlan,
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn StorageFile>,
    plan: FaultPlan,
}

impl<S: Storage> FaultyStorage<S> {
    /// Wraps a storage under a plan.
    pub fn new(inner: S, plan: FaultPlan) -> Self {
        Self { inner, plan }
    }

    /// The storage below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The plan.
    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    fn wrap(&self, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(FaultyFile { inner, plan: self.plan.clone() })
    }
}

impl<S: Storage> Storage for FaultyStorage<S> {
    fn open_read(&self, path: &Path) -> IoResult<Box<dyn StorageFile>> {
        self.plan.admit_real(Operation::OpenRead, path)?;
        Ok(self.wrap(self.inner.open_read(path)?))
    }

    fn create(&self, path: &Path) -> IoResult<Box<dyn StorageFile>> {
        self.plan.admit_real(Operation::Create, path)?;
        Ok(self.wrap(self.inner.create(path)?))
    }

    fn open_append(&self, path: &Path) -> IoResult<Box<dyn StorageFile>> {
        self.plan.admit_real(Operation::OpenAppend, path)?;
        Ok(self.wrap(self.inner.open_append(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> IoResult<()> {
        match self.plan.admit(Operation::Rename, from) {
            Ok(true) => self.inner.rename(from, to),
            Ok(false) => Ok(()),
            Err(fault) => Err(IoFault { target: Some(to.to_path_buf()), ..fault }),
        }
    }

    fn remove(&self, path: &Path) -> IoResult<()> {
        if self.plan.admit(Operation::Remove, path)? { self.inner.remove(path) } else { Ok(()) }
    }

    fn hard_link(&self, from: &Path, to: &Path) -> IoResult<()> {
        match self.plan.admit(Operation::Link, from) {
            Ok(true) => self.inner.hard_link(from, to),
            Ok(false) => Ok(()),
            Err(fault) => Err(IoFault { target: Some(to.to_path_buf()), ..fault }),
        }
    }

    fn remove_dir(&self, path: &Path) -> IoResult<()> {
        if self.plan.admit(Operation::RemoveDir, path)? { self.inner.remove_dir(path) } else { Ok(()) }
    }

    fn create_dir(&self, path: &Path) -> IoResult<()> {
        if self.plan.admit(Operation::CreateDir, path)? { self.inner.create_dir(path) } else { Ok(()) }
    }

    fn list_dir(&self, path: &Path) -> IoResult<Vec<OsString>> {
        self.plan.admit_real(Operation::ListDir, path)?;
        self.inner.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> IoResult<()> {
        if self.plan.admit(Operation::SyncDir, path)? { self.inner.sync_dir(path) } else { Ok(()) }
    }

    fn metadata(&self, path: &Path) -> IoResult<FileMetadata> {
        self.plan.admit_real(Operation::Metadata, path)?;
        self.inner.metadata(path)
    }

    fn kind(&self, path: &Path) -> IoResult<PathKind> {
        self.plan.admit_real(Operation::Metadata, path)?;
        self.inner.kind(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> IoResult<()> {
        if self.plan.admit(Operation::Truncate, path)? { self.inner.truncate(path, len) } else { Ok(()) }
    }
}

impl FaultyFile {
    fn admit(&self, operation: Operation) -> IoResult<bool> {
        self.plan.admit(operation, self.inner.path())
    }

    fn admit_real(&self, operation: Operation) -> IoResult<()> {
        self.plan.admit_real(operation, self.inner.path())
    }

    fn write_torn(&mut self, bytes: &[u8], keep: usize, errno: i32) -> IoResult<usize> {
        self.inner.write_all(&bytes[..keep.min(bytes.len())])?;
        let source = io::Error::from_raw_os_error(errno);
        Err(IoFault::new(Operation::Write, self.inner.path(), source))
    }
}

impl StorageFile for FaultyFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        match self.plan.count(Operation::Write, self.inner.path()) {
            Some(FaultEffect::Fail(errno)) => self.write_torn(bytes, 0, errno),
            Some(FaultEffect::Torn { bytes: keep, errno }) => self.write_torn(bytes, keep, errno),
            Some(FaultEffect::Short(keep)) => self.inner.write(&bytes[..keep.max(1).min(bytes.len())]),
            Some(FaultEffect::Lie) => Ok(bytes.len()),
            Some(FaultEffect::Stall(duration)) => {
                std::thread::sleep(duration);
                self.inner.write(bytes)
            }
            None => self.inner.write(bytes),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        self.admit_real(Operation::Read)?;
        self.inner.read(buffer)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> IoResult<usize> {
        self.admit_real(Operation::Read)?;
        self.inner.read_at(buffer, offset)
    }

    fn seek(&mut self, position: SeekFrom) -> IoResult<u64> {
        self.admit_real(Operation::Seek)?;
        self.inner.seek(position)
    }

    fn len(&self) -> IoResult<u64> {
        self.admit_real(Operation::Metadata)?;
        self.inner.len()
    }

    fn metadata(&self) -> IoResult<FileMetadata> {
        self.admit_real(Operation::Metadata)?;
        self.inner.metadata()
    }

    fn truncate(&mut self, len: u64) -> IoResult<()> {
        if self.admit(Operation::Truncate)? { self.inner.truncate(len) } else { Ok(()) }
    }

    fn sync_data(&self) -> IoResult<()> {
        if self.admit(Operation::SyncData)? { self.inner.sync_data() } else { Ok(()) }
    }

    fn sync_all(&self) -> IoResult<()> {
        if self.admit(Operation::SyncAll)? { self.inner.sync_all() } else { Ok(()) }
    }

    fn sync_range(&self, offset: u64, len: u64) -> IoResult<()> {
        if self.admit(Operation::SyncRange)? { self.inner.sync_range(offset, len) } else { Ok(()) }
    }

    fn advise_dontneed(&self, offset: u64, len: u64) -> IoResult<()> {
        if self.admit(Operation::Advise)? { self.inner.advise_dontneed(offset, len) } else { Ok(()) }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }

    fn share_blocks_of(&mut self, source: &dyn StorageFile, offset: u64, len: u64) -> IoResult<bool> {
        if self.admit(Operation::Share)? { self.inner.share_blocks_of(source, offset, len) } else { Ok(true) }
    }

    fn try_lock(&self) -> IoResult<bool> {
        self.admit_real(Operation::Lock)?;
        self.inner.try_lock()
    }

    fn try_clone(&self) -> IoResult<Box<dyn StorageFile>> {
        self.admit_real(Operation::Clone)?;
        Ok(Box::new(Self { inner: self.inner.try_clone()?, plan: self.plan.clone() }))
    }
}
