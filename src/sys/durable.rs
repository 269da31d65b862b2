//! Durable replace: the one helper that RDB, AOF rewrite, CONFIG REWRITE and ACL SAVE share.
//!
//! ```text
//!   create temp -> write ... -> flush -> fdatasync(temp) -> rename(temp, final) -> fsync(dir)
//!                                                           ^ readers see old or new, never half
//! ```
//!
//! A reader, and a machine that loses power at any point, finds either the whole old file or
//! the whole new one; after `commit` returned `Ok`, the new one. The temporary file must be in
//! the same directory as the final one (rename is atomic only inside a file system).
//! Owns: one open file and its buffer. A handle dropped without `commit` removes its file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::io::{IoFault, IoResult, Operation, Storage, StorageFile, parent_dir};

/// Buffer in front of the file, bytes: one write(2) per 64 KiB costs under 1 % of the copy.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// A file being written that will replace another one in a single step.
#[derive(Debug)]
pub struct DurableFile {
    storage: Arc<dyn Storage>,
    /// `None` once the file was committed, given away or removed.
    file: Option<Box<dyn StorageFile>>,
    final_path: PathBuf,
    temp_path: PathBuf,
    buffer: Vec<u8>,
    /// Bytes handed to the file so far.
    written: u64,
    pacing: Option<SyncPacing>,
}

/// Intervals whose write-back may be under way before the writer waits for the disk. While one is
/// written to the disk the next ones are made; with one at a time the writer would wait as long as it
/// works.
const INTERVALS_UNDER_WAY: u64 = 8;

#[derive(Debug)]
struct SyncPacing {
    interval_bytes: u64,
    /// Write-back has begun up to here.
    begun: u64,
    synced: u64,
    drop_cache: bool,
}

impl DurableFile {
    /// Creates (or empties) the temporary file.
    pub fn create(storage: Arc<dyn Storage>, final_path: &Path, temp_path: &Path) -> IoResult<Self> {
        let file = storage.create(temp_path)?;
        // Held while it is written: whoever tidies this folder sees that it is in use, even from
        // another process namespace, where our process id means nothing.
        // A lock that cannot be asked for is no reason to write nothing.
        if matches!(file.try_lock(), Ok(false)) {
            return Err(IoFault::from_errno(Operation::Create, temp_path, libc::EBUSY));
        }
        let file = Some(file);
        Ok(Self {
            storage,
            file,
            final_path: final_path.to_path_buf(),
            temp_path: temp_path.to_path_buf(),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written: 0,
            pacing: None,
        })
    }

    /// Begins to write back after each `interval_bytes` and syncs after eight, so that the last sync
    /// is short (`rdb-save-incremental-fsync`: 4 MiB); `drop_cache` also gives the synced pages back to the kernel.
    pub fn pace_sync(&mut self, interval_bytes: u64, drop_cache: bool) {
        let (begun, synced) = (self.written, self.written);
        self.pacing = Some(SyncPacing { interval_bytes: interval_bytes.max(1), begun, synced, drop_cache });
    }

    /// Bytes written, buffered ones included.
    pub fn bytes_written(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends bytes. After an error the file is spoilt: drop it.
    pub fn append(&mut self, bytes: &[u8]) -> IoResult<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush_buffer()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.write_through(bytes)
        } else {
            self.buffer.extend_from_slice(bytes);
            Ok(())
        }
    }

    /// Hands the buffer to the file; not durable by itself.
    pub fn flush_buffer(&mut self) -> IoResult<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.write_through(&buffer);
        buffer.clear();
        self.buffer = buffer;
        outcome
    }

    fn write_through(&mut self, bytes: &[u8]) -> IoResult<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        let Some(pacing) = &mut self.pacing else {
            return Ok(());
        };
        if self.written - pacing.begun >= pacing.interval_bytes {
            // A hint: a failure shows at the next sync.
            let _ = file.sync_range(pacing.begun, self.written - pacing.begun);
            pacing.begun = self.written;
        }
        if self.written - pacing.synced >= pacing.interval_bytes * INTERVALS_UNDER_WAY {
            file.sync_data()?;
            if pacing.drop_cache {
                // A hint: a file system that does not know it changes nothing for us.
                let _ = file.advise_dontneed(pacing.synced, self.written - pacing.synced);
            }
            pacing.synced = self.written;
        }
        Ok(())
    }

    /// Flushes and syncs the content under its temporary name. For writers that prepare a file
    /// whose rename somebody else does (AOF rewrite); the temporary file then stays.
    pub fn finish_unrenamed(mut self) -> IoResult<u64> {
        self.flush_and_sync()?;
        self.file = None;
        Ok(self.written)
    }

    /// Makes the new content durable, puts it in place and makes the name durable. Returns the
    /// length in bytes. An error before the rename leaves the old file untouched and removes the
    /// temporary one; an error of the last step (directory sync) means that the new file is in
    /// place but a power cut may bring the old one back.
    pub fn commit(mut self) -> IoResult<u64> {
        self.flush_and_sync()?;
        self.storage.rename(&self.temp_path, &self.final_path)?;
        self.file = None;
        self.storage.sync_dir(parent_dir(&self.final_path))?;
        Ok(self.written)
    }

    fn flush_and_sync(&mut self) -> IoResult<()> {
        self.flush_buffer()?;
        match &self.file {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }
    }

    /// Removes the temporary file and says whether that worked. (Dropping does the same in
    /// silence.)
    pub fn abort(mut self) -> IoResult<()> {
        self.file = None;
        self.storage.remove(&self.temp_path)
    }
}

impl Write for DurableFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.flush_buffer()?)
    }
}

impl Drop for DurableFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nobody is left to tell; a stale temporary file harms nothing but space.
            let _ = self.storage.remove(&self.temp_path);
        }
    }
}

/// Replaces a file by `content` in one durable step (configuration, ACL file).
pub fn replace(
    storage: Arc<dyn Storage>,
    final_path: &Path,
    temp_path: &Path,
    content: &[u8],
) -> IoResult<()> {
    let mut file = DurableFile::create(storage, final_path, temp_path)?;
    file.append(content)?;
    file.commit().map(|_| ())
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::sync::Arc;

    use super::{BUFFER_BYTES, DurableFile, replace};
    use crate::sys::io::{
        Fault, FaultEffect, FaultPlan, FaultyStorage, MemoryStorage, Operation, OsStorage, PowerCut, Storage,
    };

    const FINAL: &str = "/dump.rdb";
    const TEMP: &str = "/temp-1.rdb";

    fn content(storage: &dyn Storage) -> Option<Vec<u8>> {
        storage.read_whole(Path::new(FINAL), 1 << 24).ok()
    }

    fn save(storage: &Arc<dyn Storage>, content: &[u8]) -> bool {
        replace(Arc::clone(storage), Path::new(FINAL), Path::new(TEMP), content).is_ok()
    }

    #[test]
    fn commit_replaces_real_files() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let (path, temp) = (folder.path().join("f"), folder.path().join("t"));
        let storage: Arc<dyn Storage> = Arc::new(OsStorage);
        replace(Arc::clone(&storage), &path, &temp, b"old").expect("first");
        let mut file = DurableFile::create(Arc::clone(&storage), &path, &temp).expect("create");
        file.pace_sync(100_000, true);
        let mut expected = Vec::new();
        for number in 0..60_000u32 {
            write!(file, "{number},").expect("write");
            write!(expected, "{number},").expect("a vector takes all");
        }
        file.write_all(&vec![9; 2 * BUFFER_BYTES]).expect("large writes pass the buffer");
        expected.extend(vec![9; 2 * BUFFER_BYTES]);
        assert_eq!(storage.read_whole(&path, 100).expect("old"), b"old");
        assert_eq!(file.bytes_written(), expected.len() as u64);
        assert_eq!(file.commit().expect("commit"), expected.len() as u64);
        assert_eq!(storage.read_whole(&path, 1 << 24).expect("new"), expected);
        assert!(!storage.exists(&temp).expect("stat"));
    }

    #[test]
    fn drop_and_abort_remove_the_temporary_file() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let create = || DurableFile::create(Arc::clone(&storage), Path::new(FINAL), Path::new(TEMP));
        let mut file = create().expect("create");
        file.append(b"half").expect("append");
        drop(file);
        assert!(!storage.exists(Path::new(TEMP)).expect("stat"));
        create().expect("create").abort().expect("abort");
        assert!(!storage.exists(Path::new(TEMP)).expect("stat"));
        let mut kept = create().expect("create");
        kept.append(b"12345").expect("append");
        assert_eq!(kept.finish_unrenamed().expect("finish"), 5);
        assert!(storage.exists(Path::new(TEMP)).expect("stat"));
    }

    /// Every call in turn fails, and power goes at that moment: the disk holds the whole old
    /// file or the whole new one, and the new one whenever success was reported.
    #[test]
    fn power_cut_at_every_step_leaves_old_or_new() {
        let (old, new) = (vec![b'o'; 10_000], vec![b'n'; 200_000]);
        for step in 1..100 {
            let plan = FaultPlan::new();
            let faulty = Arc::new(FaultyStorage::new(MemoryStorage::new(), plan.clone()));
            let storage: Arc<dyn Storage> = Arc::clone(&faulty) as Arc<dyn Storage>;
            assert!(save(&storage, &old));
            plan.add(Fault::everything_from(plan.total_calls() + step, libc::EIO));
            let saved = save(&storage, &new);
            for seed in 0..20 {
                let cut = faulty.inner().after_power_cut(PowerCut::Random(seed));
                let found = content(&cut).expect("a file is always there");
                assert!(found == new || (!saved && found == old), "step {step}, seed {seed}");
            }
            if saved {
                assert!(step > 4, "create, write, sync, rename, sync_dir were tried");
                return;
            }
        }
        panic!("the save never succeeded");
    }

    #[test]
    fn a_full_disk_keeps_the_old_file_and_leaves_no_temporary_one() {
        for operation in [Operation::Write, Operation::SyncData, Operation::Rename] {
            let plan = FaultPlan::new();
            let storage: Arc<dyn Storage> = Arc::new(FaultyStorage::new(MemoryStorage::new(), plan.clone()));
            assert!(save(&storage, b"old"));
            plan.add(Fault::always(operation, FaultEffect::Fail(libc::ENOSPC)));
            assert!(!save(&storage, b"new"), "{operation:?}");
            assert_eq!(content(&*storage), Some(b"old".to_vec()));
            assert!(!storage.exists(Path::new(TEMP)).expect("stat"));
        }
    }
}
