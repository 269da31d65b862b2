//! The work of a backup: get the file, copy it, check the copy, put the folder in place.
//!
//! Runs in a thread of the server, or in `tine-backup` for a stopped one. Everything is synced
//! before it gets its final name; after a failure, or when it is cancelled, the temporary folder is
//! removed. What a killed process leaves behind is removed by the next backup, an hour later. Its
//! writer locks the manifest (flock) from the beginning: checking a large file changes nothing in the
//! folder for hours, so age alone does not tell that nobody works there.

use crate::persist::aof::CaptureOutcome;
use crate::persist::backup::manifest::{self, BackupFile, BackupKind, Manifest, ManifestError};
use crate::persist::backup::{
    BackupFault, INCOMPLETE_PREFIX, LOG_NAME, OWN_FILES, SNAPSHOT_NAME, is_incomplete_name,
};
use crate::persist::rdb::check::{CheckLine, check_file};
use crate::sys::io::{IoFault, Operation, PathKind, Storage, StorageFile, parent_dir};
use crc64fast::Digest;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

/// Bytes copied between two looks at the clock and the order to stop: some milliseconds.
const STEP_BYTES: usize = 1 << 20;
/// Bytes written between two syncs: the disk is busy evenly, and the AOF's own syncs get through.
const SYNC_EVERY_BYTES: u64 = 32 << 20;
/// Bytes whose blocks are shared at a time: the file system holds the source meanwhile, and writes
/// back what of this part is not on disk yet, which the AOF's writer may have to wait for.
const SHARE_STEP_BYTES: u64 = 256 << 20;
/// Shared parts are multiples of this, bytes: the largest block of the file systems that can share.
const SHARE_ALIGN_BYTES: u64 = 64 << 10;
const _: () = assert!(SHARE_STEP_BYTES.is_multiple_of(SHARE_ALIGN_BYTES));
/// How long the AOF's writer may take to answer: it may be waiting for a full disk.
const CAPTURE_PATIENCE: Duration = Duration::from_secs(60);
/// A folder that nobody has written to for so long, and that is not locked, belongs to nobody.
pub const STALE_AFTER: Duration = Duration::from_secs(3600);

/// How far a backup is; written by its thread, read by everybody.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes copied and bytes checked so far.
    pub done_bytes: AtomicU64,
    /// Of so many; 0: not known yet.
    pub total_bytes: AtomicU64,
    checking: AtomicBool,
    cancelled: AtomicBool,
}

impl Progress {
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    pub fn is_checking(&self) -> bool {
        self.checking.load(Ordering::Acquire)
    }

    fn stop_if_cancelled(&self) -> Result<(), String> {
        if self.cancelled.load(Ordering::Acquire) { Err("it was cancelled".to_owned()) } else { Ok(()) }
    }

    fn step(&self, bytes: u64) -> Result<(), String> {
        self.done_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.stop_if_cancelled()
    }
}

/// Where the data come from.
#[derive(Debug)]
pub enum Source {
    /// The running server's log, as soon as its writer answers.
    Captured(Receiver<CaptureOutcome>),
    /// A file that nobody changes, open, and its name: a snapshot, or a stopped server's log.
    File { file: Box<dyn StorageFile>, path: PathBuf },
}

/// A backup to take.
#[derive(Debug)]
pub struct BackupOrder {
    pub storage: Arc<dyn Storage>,
    /// Folder of all backups; made when its parent exists.
    pub dir: PathBuf,
    pub source: Source,
    /// Make a copy even where a link or shared blocks would do.
    pub copy: bool,
    /// Everything but the files. `keys` of a snapshot are counted here.
    pub manifest: Manifest,
}

/// Takes a backup. O(length of the file), read twice, written at most once.
///
/// # Errors
/// The reason, with the path. Nothing with a backup's name is there then, but for one case: the
/// last sync failed, and a power cut may take a whole backup away again.
pub fn run(mut order: BackupOrder, progress: &Progress) -> Result<Manifest, String> {
    let storage = Arc::clone(&order.storage);
    prepare_dir(&*storage, &order.dir).map_err(text)?;
    remove_stale(&*storage, &order.dir);
    let name = order.manifest.name.clone();
    let temp = order.dir.join(format!("{INCOMPLETE_PREFIX}{name}"));
    let target = order.dir.join(&name);
    if storage.exists(&target).map_err(text)? {
        return Err(format!("{} exists", target.display()));
    }
    storage.create_dir(&temp).map_err(text)?;
    let claimed = claim(&*storage, &temp);
    let filled = claimed.as_ref().map_err(Clone::clone).and_then(|_| {
        fill(&mut order, &temp, progress)?;
        storage.sync_dir(&temp).and_then(|()| storage.rename(&temp, &target)).map_err(text)
    });
    if let Err(reason) = filled {
        if let Err(left) = remove_folder(&*storage, &temp) {
            log::warn!("Can't remove what a failed backup has left: {left}");
        }
        return Err(reason);
    }
    storage.sync_dir(&order.dir).map_err(text)?;
    Ok(order.manifest)
}

fn text(fault: IoFault) -> String {
    fault.to_string()
}

/// Locks a new folder by its manifest, which is empty until everything else is written.
fn claim(storage: &dyn Storage, folder: &Path) -> Result<Box<dyn StorageFile>, String> {
    let file = storage.create(&folder.join(manifest::FILE_NAME)).map_err(text)?;
    match file.try_lock().map_err(text)? {
        true => Ok(file),
        false => Err(format!("{} is being written by somebody else", folder.display())),
    }
}

/// Makes the folder of all backups when it is missing.
fn prepare_dir(storage: &dyn Storage, dir: &Path) -> Result<(), IoFault> {
    match storage.metadata(dir) {
        Ok(found) if found.is_dir => Ok(()),
        Ok(_) => Err(IoFault::from_errno(Operation::CreateDir, dir, libc::ENOTDIR)),
        Err(fault) if fault.is_not_found() => {
            storage.create_dir(dir)?;
            storage.sync_dir(parent_dir(dir))
        }
        Err(fault) => Err(fault),
    }
}

/// Removes folders that were never finished and that nobody writes to any more. Returns how many.
/// Only what has exactly such a name and holds only our files is touched.
pub fn remove_stale(storage: &dyn Storage, dir: &Path) -> usize {
    let Ok(names) = storage.list_dir(dir) else { return 0 };
    let mut removed = 0;
    for name in names.iter().filter_map(|name| name.to_str()).filter(|name| is_incomplete_name(name)) {
        let path = dir.join(name);
        match remove_if_stale(storage, &path) {
            Ok(false) => {}
            Ok(true) => {
                removed += 1;
                log::info!("Removed {}, a backup that was never finished", path.display());
            }
            Err(reason) => log::warn!("Can't remove a backup that was never finished: {reason}"),
        }
    }
    removed
}

fn remove_if_stale(storage: &dyn Storage, folder: &Path) -> Result<bool, String> {
    if !is_stale(storage, folder) {
        return Ok(false);
    }
    let manifest = folder.join(manifest::FILE_NAME);
    // Kept to the end of the removal, so that of two removers one does it.
    let _claim = match storage.kind(&manifest) {
        Ok(PathKind::File) => {
            let file = storage.open_append(&manifest).map_err(text)?;
            if !file.try_lock().map_err(text)? {
                return Ok(false);
            }
            Some(file)
        }
        Ok(_) => None,
        Err(fault) if fault.is_not_found() => None,
        Err(fault) => return Err(text(fault)),
    };
    remove_folder(storage, folder).map(|()| true)
}

fn is_stale(storage: &dyn Storage, folder: &Path) -> bool {
    let files = storage.list_dir(folder).unwrap_or_default();
    let paths = files.iter().map(|name| folder.join(name)).chain([folder.to_path_buf()]);
    let changed = paths.filter_map(|path| storage.metadata(&path).ok()).map(|found| found.modified).max();
    let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
    age.is_some_and(|age| age > STALE_AFTER)
}

/// Sees that a folder is one and holds nothing but plain files of a backup.
///
/// # Errors
/// What else is there, or the storage's fault.
pub fn check_own(storage: &dyn Storage, folder: &Path) -> Result<(), String> {
    if storage.kind(folder).map_err(text)? != PathKind::Folder {
        return Err(format!("{} is left alone: it is no folder", folder.display()));
    }
    for name in storage.list_dir(folder).map_err(text)? {
        let own = name.to_str().is_some_and(|name| OWN_FILES.contains(&name));
        if !own || storage.kind(&folder.join(&name)).map_err(text)? != PathKind::File {
            let name = name.to_string_lossy();
            return Err(format!("{} is left alone: {name} in it is no file of a backup", folder.display()));
        }
    }
    Ok(())
}

/// Removes the folder of a backup. The manifest goes first: without it nothing looks like a backup.
/// Nothing is touched unless [`check_own`] allows all of it.
///
/// # Errors
/// As [`check_own`], or the storage's fault.
pub fn remove_folder(storage: &dyn Storage, folder: &Path) -> Result<(), String> {
    check_own(storage, folder)?;
    let mut names = storage.list_dir(folder).map_err(text)?;
    names.sort_by_key(|name| name != manifest::FILE_NAME);
    for name in names {
        match storage.remove(&folder.join(name)) {
            // Somebody else removes the same folder.
            Err(fault) if !fault.is_not_found() => return Err(text(fault)),
            _ => {}
        }
    }
    storage.remove_dir(folder).map_err(text)
}

/// Writes all files of the backup into `folder`, each synced.
fn fill(order: &mut BackupOrder, folder: &Path, progress: &Progress) -> Result<(), String> {
    let kind = order.manifest.kind;
    let name = if kind == BackupKind::Log { LOG_NAME } else { SNAPSHOT_NAME };
    let path = folder.join(name);
    let (bytes, crc) = place(order, &path, progress)?;
    if kind == BackupKind::Snapshot {
        let file = order.storage.open_read(&path).map_err(text)?;
        let report = check_file(file, &mut |_: CheckLine| {})
            .map_err(|failure| format!("the snapshot is damaged: {failure}"))?;
        (order.manifest.keys, order.manifest.expires) = (Some(report.keys), Some(report.expires));
        order.manifest.field_expires = Some(report.expiring_hashes);
    }
    progress.stop_if_cancelled()?;
    order.manifest.files = vec![BackupFile { name: name.to_owned(), bytes, crc }];
    let content = order.manifest.to_text();
    write_synced(&*order.storage, &folder.join(manifest::FILE_NAME), content.as_bytes()).map_err(text)
}

/// Writes a small file and syncs it; its name is durable when the folder has been synced.
fn write_synced(storage: &dyn Storage, path: &Path, content: &[u8]) -> Result<(), IoFault> {
    let mut file = storage.create(path)?;
    file.write_all(content)?;
    file.sync_data()
}

/// Gives `path` the source's content. Returns its length and checksum, as read back.
fn place(order: &mut BackupOrder, path: &Path, progress: &Progress) -> Result<(u64, u64), String> {
    let storage = &*order.storage;
    match &mut order.source {
        Source::Captured(answer) => {
            let captured = answer
                .recv_timeout(CAPTURE_PATIENCE)
                .map_err(|_| "the writer of the append only file does not answer".to_owned())??;
            copy_checked(storage, &*captured.file, captured.bytes, path, order.copy, progress)
        }
        Source::File { file, path: origin } => {
            let linked = !order.copy && order.manifest.kind == BackupKind::Snapshot;
            if linked && storage.hard_link(origin, path).is_ok() {
                return check_linked(storage, path, progress);
            }
            let bytes = file.len().map_err(text)?;
            copy_checked(storage, &**file, bytes, path, order.copy, progress)
        }
    }
}

/// Copies a whole file to a new one and checks the copy. Returns length and checksum.
///
/// # Errors
/// The reason, with the path.
pub fn copy_file(
    storage: &dyn Storage,
    from: &Path,
    to: &Path,
    progress: &Progress,
) -> Result<(u64, u64), String> {
    let file = storage.open_read(from).map_err(text)?;
    let bytes = file.len().map_err(text)?;
    copy_checked(storage, &*file, bytes, to, false, progress)
}

fn check_linked(storage: &dyn Storage, path: &Path, progress: &Progress) -> Result<(u64, u64), String> {
    let file = storage.open_read(path).map_err(text)?;
    let bytes = file.len().map_err(text)?;
    progress.total_bytes.store(bytes, Ordering::Release);
    file.sync_data().map_err(text)?;
    progress.checking.store(true, Ordering::Release);
    Ok((bytes, checksum(&*file, bytes, progress)?))
}

/// Copies the first `bytes` of `source`, syncs the copy, reads it back from the disk and compares.
fn copy_checked(
    storage: &dyn Storage,
    source: &dyn StorageFile,
    bytes: u64,
    path: &Path,
    plain: bool,
    progress: &Progress,
) -> Result<(u64, u64), String> {
    progress.total_bytes.store(2 * bytes, Ordering::Release);
    let mut target = storage.create(path).map_err(text)?;
    let shared = if plain { 0 } else { share(source, &mut *target, bytes, progress)? };
    let written = copy(source, &mut *target, shared..bytes, progress)?;
    target.sync_data().map_err(text)?;
    progress.checking.store(true, Ordering::Release);
    // A hint: where it is not taken, the check reads the cache.
    let _ = target.advise_dontneed(0, bytes);
    let found = checksum(&*target, bytes, progress)?;
    if found != written || target.len().map_err(text)? != bytes {
        return Err(format!("{} is not what was written: the disk has changed it", path.display()));
    }
    Ok((bytes, found))
}

/// Shares as much of the first `bytes` as the file system can. Returns the length of that part.
fn share(
    source: &dyn StorageFile,
    target: &mut dyn StorageFile,
    bytes: u64,
    progress: &Progress,
) -> Result<u64, String> {
    let end = bytes - bytes % SHARE_ALIGN_BYTES;
    let mut done = 0;
    while done < end {
        progress.stop_if_cancelled()?;
        let count = (end - done).min(SHARE_STEP_BYTES);
        if !target.share_blocks_of(source, done, count).map_err(text)? {
            break;
        }
        done += count;
    }
    Ok(done)
}

/// Copies `range` through memory; what comes before it is in the target already. Returns the
/// checksum of the source up to the range's end.
pub(super) fn copy(
    source: &dyn StorageFile,
    target: &mut dyn StorageFile,
    range: Range<u64>,
    progress: &Progress,
) -> Result<u64, String> {
    target.seek(SeekFrom::Start(range.start)).map_err(text)?;
    let (mut unsynced_bytes, mut present_bytes) = (0, range.start);
    read_all(source, range.end, progress, |block| {
        let skipped = present_bytes.min(block.len() as u64);
        present_bytes -= skipped;
        let block = &block[skipped as usize..];
        target.write_all(block)?;
        unsynced_bytes += block.len() as u64;
        if unsynced_bytes < SYNC_EVERY_BYTES {
            return Ok(());
        }
        unsynced_bytes = 0;
        target.sync_data()
    })
}

fn checksum(file: &dyn StorageFile, bytes: u64, progress: &Progress) -> Result<u64, String> {
    read_all(file, bytes, progress, |_| Ok(()))
}

/// Hands the first `bytes` of a file to `take`, block by block. Returns their checksum.
fn read_all(
    file: &dyn StorageFile,
    bytes: u64,
    progress: &Progress,
    mut take: impl FnMut(&[u8]) -> Result<(), IoFault>,
) -> Result<u64, String> {
    let mut block = vec![0; STEP_BYTES];
    let (mut offset, mut digest) = (0, Digest::new());
    while offset < bytes {
        let wanted = (bytes - offset).min(STEP_BYTES as u64) as usize;
        let count = file.read_at(&mut block[..wanted], offset).map_err(text)?;
        if count == 0 {
            let short = IoFault::new(Operation::Read, file.path(), io::ErrorKind::UnexpectedEof.into());
            return Err(short.to_string());
        }
        digest.write(&block[..count]);
        take(&block[..count]).map_err(text)?;
        offset += count as u64;
        progress.step(count as u64)?;
    }
    Ok(digest.sum64())
}

/// Checks the files of a backup against its manifest: lengths and checksums.
///
/// # Errors
/// The first file that is not what it was, or that cannot be read.
pub fn check_files(
    storage: &dyn Storage,
    folder: &Path,
    manifest: &Manifest,
    progress: &Progress,
) -> Result<(), BackupFault> {
    for wanted in &manifest.files {
        let path = folder.join(&wanted.name);
        let file = storage.open_read(&path).map_err(fault_of)?;
        let found = file.len().map_err(fault_of)?;
        if found != wanted.bytes {
            let reason = format!("{} has {found} bytes, it had {}", path.display(), wanted.bytes);
            return Err(BackupFault::Damaged(reason));
        }
        let crc = checksum(&*file, found, progress).map_err(BackupFault::Unreadable)?;
        if crc != wanted.crc {
            return Err(BackupFault::Damaged(format!(
                "{} is damaged: its checksum is {crc:016x}, it was {:016x}",
                path.display(),
                wanted.crc
            )));
        }
    }
    Ok(())
}

/// A file that is missing from a backup, or too long, is damage; any other fault may pass.
fn fault_of(fault: IoFault) -> BackupFault {
    match fault.is_not_found() || fault.errno() == Some(libc::EFBIG) {
        true => BackupFault::Damaged(text(fault)),
        false => BackupFault::Unreadable(text(fault)),
    }
}

/// The manifest of the backup in `folder`.
///
/// # Errors
/// It cannot be read, is damaged, or was written by a later version.
pub fn read_manifest(storage: &dyn Storage, folder: &Path) -> Result<Manifest, BackupFault> {
    let path = folder.join(manifest::FILE_NAME);
    let content = storage.read_whole(&path, manifest::MAX_BYTES).map_err(fault_of)?;
    Manifest::parse(&content).map_err(|error| {
        let reason = format!("{}: {error}", folder.display());
        match error {
            ManifestError::Format(_) => BackupFault::Unreadable(reason),
            ManifestError::Damaged | ManifestError::Line(_) => BackupFault::Damaged(reason),
        }
    })
}
