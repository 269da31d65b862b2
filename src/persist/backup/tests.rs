//! Backups on disks that fail, stop and forget.

use super::job::{
    BackupOrder, Progress, STALE_AFTER, Source, check_files, copy, read_manifest, remove_stale, run,
};
use super::manifest::{self, BackupKind, Manifest};
use super::{
    BackupFault, INCOMPLETE_PREFIX, LOG_NAME, NAME_PREFIX, SNAPSHOT_NAME, is_incomplete_name, is_name,
    name_at,
};
use crate::persist::aof::Captured;
use crate::sys::io::{
    Fault, FaultEffect, FaultPlan, FaultyStorage, MemoryStorage, Operation, OsStorage, PowerCut, Storage,
};
use std::fs::{File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

const DIR: &str = "/backups";
const RDB: &[u8] = b"REDIS0003\xfe\x00\x00\x04k:aa\x01v\xff";
const UNIX_MS: i64 = 1_700_000_000_000;

fn log_content() -> Vec<u8> {
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n".repeat(40)
}

fn disk() -> MemoryStorage {
    let disk = MemoryStorage::new();
    for (name, content) in [("/live.aof", log_content()), ("/dump.rdb", RDB.to_vec())] {
        let mut file = disk.create(Path::new(name)).expect("create");
        file.write_all(&content).expect("write");
        file.sync_data().expect("sync");
    }
    disk.sync_dir(Path::new("/")).expect("sync");
    disk
}

fn manifest(kind: BackupKind) -> Manifest {
    Manifest {
        databases: Some(16),
        keys: Some(1),
        expires: Some(0),
        field_expires: Some(0),
        ..Manifest::begun(kind, UNIX_MS, "0.1.0")
    }
}

/// Takes a backup of the log up to `bytes`, or of the snapshot.
fn take(storage: Arc<dyn Storage>, kind: BackupKind, bytes: usize, copy: bool) -> Result<Manifest, String> {
    let source = match kind {
        BackupKind::Log => {
            let file = storage.open_read(Path::new("/live.aof")).map_err(|fault| fault.to_string())?;
            let (reply, answer) = std::sync::mpsc::sync_channel(1);
            reply.try_send(Ok(Captured { file, bytes: bytes as u64 })).expect("there is room for one");
            Source::Captured(answer)
        }
        BackupKind::Snapshot => {
            let path = PathBuf::from("/dump.rdb");
            let file = storage.open_read(&path).map_err(|fault| fault.to_string())?;
            Source::File { file, path }
        }
    };
    let order = BackupOrder { storage, dir: DIR.into(), source, copy, manifest: manifest(kind) };
    run(order, &Progress::default())
}

fn names(disk: &MemoryStorage) -> Vec<String> {
    let names = disk.list_dir(Path::new(DIR)).unwrap_or_default();
    names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Everything that has a backup's name is whole. Returns how many there are.
fn all_are_whole(disk: &MemoryStorage, place: &str) -> usize {
    let backups: Vec<String> = names(disk).into_iter().filter(|name| name.starts_with(NAME_PREFIX)).collect();
    for name in &backups {
        let folder = Path::new(DIR).join(name);
        let manifest = read_manifest(disk, &folder).unwrap_or_else(|reason| panic!("{place}: {reason}"));
        let checked = check_files(disk, &folder, &manifest, &Progress::default());
        assert_eq!(checked, Ok(()), "{place}");
    }
    backups.len()
}

#[test]
fn a_log_is_copied_up_to_its_captured_end() {
    let disk = disk();
    let manifest = take(Arc::new(disk.clone()), BackupKind::Log, 54, false).expect("the disk is well");
    assert_eq!((manifest.bytes(), manifest.files[0].name.as_str()), (54, LOG_NAME));
    let path = Path::new(DIR).join(&manifest.name).join(LOG_NAME);
    assert_eq!(disk.read_whole(&path, 1 << 20).expect("it is there"), log_content()[..54]);
    let again = take(Arc::new(disk.clone()), BackupKind::Log, 54, false);
    assert!(again.expect_err("the name is taken").ends_with("exists"));
    let beyond = take(Arc::new(self::disk()), BackupKind::Log, 1 << 20, false);
    assert!(beyond.expect_err("the file is shorter").contains("read(/live.aof)"));
}

#[test]
fn a_snapshot_is_linked_or_copied_and_its_keys_are_counted() {
    for copy in [false, true] {
        let disk = disk();
        let manifest = take(Arc::new(disk.clone()), BackupKind::Snapshot, 0, copy).expect("the disk is well");
        assert_eq!((manifest.keys, manifest.bytes()), (Some(1), RDB.len() as u64));
        assert_ne!(manifest.files[0].crc, 0, "a checksum that says something");
        // A link shares what is written in place, which a server never does; a copy does not.
        let mut live = disk.open_append(Path::new("/dump.rdb")).expect("open");
        live.write_all(b"x").expect("write");
        let path = Path::new(DIR).join(&manifest.name).join(SNAPSHOT_NAME);
        let bytes = disk.metadata(&path).expect("it is there").len;
        assert_eq!(bytes == RDB.len() as u64, copy);
    }
}

#[test]
fn a_damaged_snapshot_is_no_backup() {
    let disk = disk();
    let mut file = disk.create(Path::new("/dump.rdb")).expect("create");
    file.write_all(&RDB[..15]).expect("write");
    let outcome = take(Arc::new(disk.clone()), BackupKind::Snapshot, 0, false);
    assert!(outcome.expect_err("it is cut").contains("the snapshot is damaged"));
    assert_eq!(names(&disk), [""; 0]);
}

#[test]
fn a_fault_at_any_call_leaves_nothing_that_looks_whole() {
    for kind in [BackupKind::Log, BackupKind::Snapshot] {
        let plan = FaultPlan::new();
        take(Arc::new(FaultyStorage::new(disk(), plan.clone())), kind, 1000, true).expect("no fault yet");
        let calls = plan.total_calls();
        assert!(calls > 12, "{calls} calls");
        for nth in 1..=calls {
            for machine_is_gone in [false, true] {
                let plan = FaultPlan::new();
                let fault = Fault::everything_from(nth, libc::ENOSPC);
                plan.add(if machine_is_gone { fault } else { Fault { times: 1, ..fault } });
                let disk = disk();
                let outcome = take(Arc::new(FaultyStorage::new(disk.clone(), plan)), kind, 1000, true);
                let place = format!("{kind:?}, call {nth} of {calls}, {outcome:?}");
                let whole = all_are_whole(&disk, &place);
                // The last call is the sync of the folder: the backup is in place, the sync is not.
                assert!(outcome.is_ok() == (whole == 1) || nth == calls, "{place}");
                let left = names(&disk).iter().filter(|name| name.starts_with(INCOMPLETE_PREFIX)).count();
                assert!(left == 0 || machine_is_gone, "{place}: what it wrote is removed");
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_call_leaves_a_whole_backup_or_none() {
    for kind in [BackupKind::Log, BackupKind::Snapshot] {
        for copy in [false, true] {
            let disk = disk();
            let plan = FaultPlan::new();
            let states: Arc<std::sync::Mutex<Vec<MemoryStorage>>> = Arc::default();
            let (watched, seen) = (disk.clone(), Arc::clone(&states));
            plan.observe(move |_| {
                let mut states = seen.lock().expect("no observer panics");
                let seed = states.len() as u64;
                let cuts = [PowerCut::LoseUnsynced, PowerCut::KeepAll];
                let random = (0..6).map(|number| PowerCut::Random(seed << 8 | number));
                states.extend(cuts.into_iter().chain(random).map(|cut| watched.after_power_cut(cut)));
            });
            take(Arc::new(FaultyStorage::new(disk.clone(), plan)), kind, 1000, copy).expect("no fault");
            for state in states.lock().expect("no observer panics").iter() {
                all_are_whole(state, "after a power cut");
            }
            let after = disk.after_power_cut(PowerCut::LoseUnsynced);
            assert_eq!(all_are_whole(&after, "at the end"), 1, "what was reported is durable");
        }
    }
}

/// The test above must be able to fail: a disk that lies is found out.
#[test]
fn a_disk_that_lies_about_syncing_breaks_the_promise() {
    let disk = disk();
    let plan = FaultPlan::new();
    plan.add(Fault::always(Operation::SyncData, FaultEffect::Lie));
    let manifest = take(Arc::new(FaultyStorage::new(disk.clone(), plan)), BackupKind::Log, 1000, true);
    let folder = Path::new(DIR).join(manifest.expect("nobody noticed").name);
    let after = disk.after_power_cut(PowerCut::LoseUnsynced);
    assert!(read_manifest(&after, &folder).is_err());
}

#[test]
fn writes_that_do_not_arrive_are_noticed_before_the_rename() {
    let disk = disk();
    let plan = FaultPlan::new();
    plan.add(Fault::nth(Operation::Write, 1, FaultEffect::Lie));
    let outcome = take(Arc::new(FaultyStorage::new(disk.clone(), plan)), BackupKind::Log, 1000, true);
    assert!(outcome.is_err());
    assert_eq!(names(&disk), [""; 0]);
}

#[test]
fn each_flipped_byte_is_found() {
    let disk = disk();
    let manifest = take(Arc::new(disk.clone()), BackupKind::Log, 500, false).expect("the disk is well");
    let folder = Path::new(DIR).join(&manifest.name);
    let path = folder.join(LOG_NAME);
    let content = disk.read_whole(&path, 1 << 20).expect("it is there");
    let check = |content: &[u8]| {
        disk.create(&path).and_then(|mut file| file.write_all(content)).expect("write");
        check_files(&disk, &folder, &manifest, &Progress::default())
    };
    for at in 0..content.len() {
        let mut damaged = content.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(check(&damaged).is_err(), "byte {at}");
    }
    assert!(check(&content[..499]).is_err() && check(&vec![0; 500]).is_err());
    assert_eq!(check(&content), Ok(()));
}

#[test]
fn a_cancelled_backup_is_removed() {
    let disk = disk();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let path = PathBuf::from("/dump.rdb");
    let file = storage.open_read(&path).expect("open");
    let source = Source::File { file, path };
    let manifest = manifest(BackupKind::Snapshot);
    let order = BackupOrder { storage, dir: DIR.into(), source, copy: true, manifest };
    let progress = Progress::default();
    progress.cancel();
    assert_eq!(run(order, &progress), Err("it was cancelled".to_owned()));
    assert_eq!(names(&disk), [""; 0]);
    assert!(progress.done_bytes.load(Ordering::Acquire) > 0);
}

#[test]
fn only_abandoned_folders_are_removed() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let old_time = SystemTime::now() - STALE_AFTER * 2;
    let elsewhere = tempfile::tempdir().expect("a temporary directory can be made");
    let make = |name: &str, file: &str, old: bool| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).expect("mkdir");
        std::fs::write(path.join(file), b"x").expect("write");
        if old {
            let times = FileTimes::new().set_modified(old_time);
            for path in [path.join(file), path] {
                File::open(path).and_then(|file| file.set_times(times)).expect("our own file");
            }
        }
    };
    let name = |number: i64| format!("{INCOMPLETE_PREFIX}{}", name_at(UNIX_MS + number));
    make(&name(0), LOG_NAME, true);
    make(&name(1), LOG_NAME, false);
    make(&name(2), "photo.jpg", true);
    make(&name(3), manifest::FILE_NAME, true);
    make(".incomplete-upload", LOG_NAME, true);
    make(&name_at(UNIX_MS), LOG_NAME, true);
    // A link: what it leads to is not ours, however old it is.
    let target = elsewhere.path().join("precious");
    std::fs::create_dir(&target).expect("mkdir");
    std::fs::write(target.join(LOG_NAME), b"x").expect("write");
    for path in [target.join(LOG_NAME), target.clone()] {
        let times = FileTimes::new().set_modified(old_time);
        File::open(path).and_then(|file| file.set_times(times)).expect("our own file");
    }
    std::os::unix::fs::symlink(&target, folder.path().join(name(4))).expect("symlink");
    // One whose writer lives: it reads a large file back for hours.
    let claimed = folder.path().join(name(3)).join(manifest::FILE_NAME);
    let claimed = OsStorage.open_read(&claimed).expect("open");
    assert!(claimed.try_lock().expect("a file can be locked"));
    assert_eq!(remove_stale(&OsStorage, folder.path()), 1);
    let left = || OsStorage.list_dir(folder.path()).expect("list");
    let rest = [name(1), name(2), name(3), name(4), ".incomplete-upload".to_owned(), name_at(UNIX_MS)];
    assert_eq!(left(), rest.map(std::ffi::OsString::from));
    assert!(target.join(LOG_NAME).exists());
    drop(claimed);
    // A process that another test starts at this moment holds all files for an instant.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while remove_stale(&OsStorage, folder.path()) == 0 {
        assert!(std::time::Instant::now() < deadline, "nobody holds it any more");
    }
    assert!(!left().contains(&name(3).into()));
}

#[test]
fn a_backup_holds_its_folder_while_it_is_written() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let (live, dir) = (folder.path().join("live.aof"), folder.path().join("backups"));
    std::fs::write(&live, log_content()).expect("write");
    let (reply, answer) = std::sync::mpsc::sync_channel(1);
    let storage: Arc<dyn Storage> = Arc::new(OsStorage);
    let source = Source::Captured(answer);
    let order =
        BackupOrder { storage, dir: dir.clone(), source, copy: true, manifest: manifest(BackupKind::Log) };
    let writer = std::thread::spawn(move || run(order, &Progress::default()));
    let temp = dir.join(format!("{INCOMPLETE_PREFIX}{}", name_at(UNIX_MS)));
    let claim = temp.join(manifest::FILE_NAME);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // It waits for the server's file, and is locked: it may become as old as it wants. The kernel is
    // asked: trying to lock it from here could be first, and would fail the backup.
    let is_locked = || {
        let Ok(inode) = std::fs::metadata(&claim).map(|found| found.ino()) else { return false };
        let locks = std::fs::read_to_string("/proc/locks").expect("Linux has it");
        locks.lines().any(|line| line.contains("FLOCK") && line.contains(&format!(":{inode} ")))
    };
    while !is_locked() {
        assert!(std::time::Instant::now() < deadline && !writer.is_finished());
        std::thread::yield_now();
    }
    let old = FileTimes::new().set_modified(SystemTime::now() - STALE_AFTER * 2);
    for path in [&claim, &temp] {
        File::open(path).and_then(|file| file.set_times(old)).expect("our own file");
    }
    assert_eq!(remove_stale(&OsStorage, &dir), 0);
    let file = OsStorage.open_read(&live).expect("open");
    let bytes = file.len().expect("stat");
    reply.send(Ok(Captured { file, bytes })).expect("the writer waits");
    let taken = writer.join().expect("no panic").expect("the disk is well");
    let whole = read_manifest(&OsStorage, &dir.join(taken.name)).expect("it is whole");
    assert_eq!(whole.bytes(), bytes);
}

#[test]
fn only_our_own_names_are_backups() {
    let good = name_at(UNIX_MS);
    assert!(is_name(&good) && is_incomplete_name(&format!("{INCOMPLETE_PREFIX}{good}")));
    let others = ["backup-", "backup-photos", "backup-20231114", "backup-20231114T221320.000Z.old"];
    for bad in others.into_iter().chain(["backup-20231114T221320.0x0Z", "20231114T221320.000Z", ""]) {
        assert!(!is_name(bad) && !is_incomplete_name(&format!("{INCOMPLETE_PREFIX}{bad}")), "{bad}");
    }
    assert!(!is_incomplete_name(&good));
}

#[test]
fn what_cannot_be_read_is_not_called_damaged() {
    let disk = disk();
    let taken = take(Arc::new(disk.clone()), BackupKind::Log, 500, false).expect("the disk is well");
    let folder = Path::new(DIR).join(&taken.name);
    for operation in [Operation::OpenRead, Operation::Read] {
        let plan = FaultPlan::new();
        plan.add(Fault::always(operation, FaultEffect::Fail(libc::EIO)));
        let sick = FaultyStorage::new(disk.clone(), plan);
        let checked = check_files(&sick, &folder, &taken, &Progress::default());
        assert!(matches!(checked, Err(BackupFault::Unreadable(_))), "{checked:?}");
        let read = read_manifest(&sick, &folder);
        assert!(matches!(read, Err(BackupFault::Unreadable(_))), "{read:?}");
    }
    disk.remove(&folder.join(LOG_NAME)).expect("remove");
    let checked = check_files(&disk, &folder, &taken, &Progress::default());
    assert!(matches!(checked, Err(BackupFault::Damaged(_))), "{checked:?}");
    disk.remove(&folder.join(manifest::FILE_NAME)).expect("remove");
    assert!(matches!(read_manifest(&disk, &folder), Err(BackupFault::Damaged(_))));
}

/// Where the file system shares blocks, only what does not fill one is written.
#[test]
fn a_copy_goes_on_behind_what_is_shared() {
    let disk = MemoryStorage::new();
    let content: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    disk.create(Path::new("/source")).and_then(|mut file| file.write_all(&content)).expect("memory");
    let source = disk.open_read(Path::new("/source")).expect("it is there");
    let bytes = content.len() as u64;
    let mut sums = Vec::new();
    for shared in [0, 65_536, 1 << 20, (1 << 20) + 65_536, bytes] {
        let path = Path::new("/target");
        let mut target = disk.create(path).expect("memory");
        target.write_all(&content[..shared as usize]).expect("memory");
        sums.push(copy(&*source, &mut *target, shared..bytes, &Progress::default()).expect("it is whole"));
        assert!(disk.read_whole(path, 1 << 30).expect("it is there") == content, "{shared}");
    }
    sums.dedup();
    assert_eq!(sums.len(), 1, "the checksum is that of the whole");
}
