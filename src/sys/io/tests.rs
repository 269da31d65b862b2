//! One behaviour, three storages; then what only memory and faults can show.

use std::io::{IoSlice, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::{Strategy, any, prop, prop_oneof};
use proptest::{prop_assert_eq, proptest};

use super::{
    Fault, FaultEffect, FaultPlan, FaultyStorage, IoFault, MemoryStorage, Operation, OsStorage, PathKind,
    PowerCut, Storage, parent_dir,
};

fn each_storage(check: impl Fn(&dyn Storage, &Path)) {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    check(&OsStorage, folder.path());
    check(&MemoryStorage::new(), Path::new("/"));
    let other = tempfile::tempdir().expect("a temporary directory can be made");
    check(&FaultyStorage::new(OsStorage, FaultPlan::new()), other.path());
}

fn write_file(storage: &dyn Storage, path: &Path, content: &[u8]) {
    let mut file = storage.create(path).expect("create");
    file.write_all(content).expect("write");
    file.sync_data().expect("sync");
}

fn read_file(storage: &dyn Storage, path: &Path) -> Option<Vec<u8>> {
    storage.read_whole(path, 1 << 20).ok()
}

#[test]
fn links_and_folders_behave_alike() {
    each_storage(|storage, folder| {
        let (inside, path, twin) = (folder.join("inside"), folder.join("data"), folder.join("inside/twin"));
        storage.create_dir(&inside).expect("mkdir");
        write_file(storage, &path, b"hello");
        storage.hard_link(&path, &twin).expect("link");
        assert_eq!(storage.hard_link(&path, &twin).expect_err("it exists").errno(), Some(libc::EEXIST));
        assert!(storage.hard_link(&folder.join("none"), &path).expect_err("no source").is_not_found());
        storage.remove(&path).expect("remove");
        assert_eq!(read_file(storage, &twin), Some(b"hello".to_vec()), "the other name holds the content");
        let full = storage.remove_dir(&inside).expect_err("it is not empty");
        assert_eq!(full.errno(), Some(libc::ENOTEMPTY));
        let source = storage.open_read(&twin).expect("open");
        let mut target = storage.create(&path).expect("create");
        let shared = target.share_blocks_of(&*source, 0, 5).expect("either shared or not possible");
        let wanted: &[u8] = if shared { b"hello" } else { b"" };
        assert_eq!(read_file(storage, &path).as_deref(), Some(wanted));
        storage.remove(&twin).expect("remove");
        storage.remove_dir(&inside).expect("it is empty now");
        assert!(!storage.exists(&inside).expect("stat"));
    });
}

#[test]
fn files_behave_alike() {
    each_storage(|storage, folder| {
        let path = folder.join("data");
        assert!(!storage.exists(&path).expect("exists"));
        write_file(storage, &path, b"hello world");
        assert!(storage.exists(&path).expect("exists"));
        let mut file = storage.open_append(&path).expect("open");
        let written = file.write_vectored(&[IoSlice::new(b""), IoSlice::new(b"!!")]);
        assert_eq!(written.expect("write"), 2);
        assert_eq!(file.len().expect("len"), 13);
        assert_eq!(file.seek(SeekFrom::Start(6)).expect("seek"), 6);
        let mut buffer = [0u8; 5];
        assert_eq!(file.read(&mut buffer).expect("read"), 5);
        assert_eq!(&buffer, b"world");
        assert_eq!(file.read_at(&mut buffer, 11).expect("read"), 2);
        assert_eq!(file.read_at(&mut buffer, 99).expect("read"), 0);
        file.sync_range(0, 13).expect("hint");
        file.advise_dontneed(0, 0).expect("hint");
        let mut twin = file.try_clone().expect("clone");
        assert_eq!(twin.seek(SeekFrom::Current(0)).expect("seek"), 11, "positions are shared");
        twin.truncate(5).expect("truncate");
        assert_eq!(read_file(storage, &path), Some(b"hello".to_vec()));
        storage.truncate(&path, 7).expect("truncate");
        assert_eq!(read_file(storage, &path), Some(b"hello\0\0".to_vec()));
        let created = storage.create(&path).expect("create again empties");
        assert!(created.is_empty().expect("len"));
    });
}

#[test]
fn names_behave_alike() {
    each_storage(|storage, folder| {
        let inner = folder.join("inner");
        storage.create_dir(&inner).expect("mkdir");
        assert!(storage.metadata(&inner).expect("stat").is_dir);
        write_file(storage, &inner.join("b"), b"b");
        write_file(storage, &inner.join("a"), b"a");
        assert_eq!(storage.list_dir(&inner).expect("list"), ["a", "b"]);
        storage.rename(&inner.join("a"), &inner.join("b")).expect("rename replaces");
        assert_eq!(storage.list_dir(&inner).expect("list"), ["b"]);
        storage.rename(&inner, &folder.join("moved")).expect("rename of a directory");
        assert_eq!(read_file(storage, &folder.join("moved/b")), Some(b"a".to_vec()));
        assert!(!storage.exists(&inner).expect("exists"));
        storage.remove(&folder.join("moved/b")).expect("remove");
        assert!(storage.list_dir(&folder.join("moved")).expect("list").is_empty());
        storage.sync_dir(folder).expect("sync of a directory");
    });
}

#[test]
fn missing_files_fail_alike() {
    each_storage(|storage, folder| {
        let gone = folder.join("gone");
        let faults: Vec<IoFault> = [
            storage.open_read(&gone).err(),
            storage.remove(&gone).err(),
            storage.truncate(&gone, 0).err(),
            storage.rename(&gone, &folder.join("x")).err(),
            storage.create(&folder.join("no/dir")).err(),
            storage.list_dir(&gone).err(),
            storage.metadata(&gone).err(),
        ]
        .into_iter()
        .flatten()
        .collect();
        assert_eq!(faults.len(), 7, "each of them fails");
        assert!(faults.iter().all(IoFault::is_not_found), "{faults:?}");
        write_file(storage, &gone, &[7; 100]);
        let fault = storage.read_whole(&gone, 99).expect_err("above the limit");
        assert_eq!(fault.errno(), Some(libc::EFBIG));
        assert!(storage.read_whole(&gone, 100).is_ok());
    });
}

#[test]
fn faults_name_operation_and_paths() {
    let source = std::io::Error::from_raw_os_error(libc::ENOSPC);
    let fault = IoFault::renaming(Path::new("/a"), Path::new("/b"), source);
    assert_eq!(fault.to_string(), "rename(/a -> /b): No space left on device (os error 28)");
    let fault = IoFault::from_errno(Operation::SyncData, Path::new("x.aof"), libc::EIO);
    assert_eq!(fault.to_string(), "fdatasync(x.aof): Input/output error (os error 5)");
    let wrapped = std::io::Error::from(fault);
    assert!(wrapped.to_string().starts_with("fdatasync(x.aof)"));
}

#[test]
fn parents_of_bare_and_rooted_names() {
    for (path, parent) in [("dump.rdb", "."), ("/dump.rdb", "/"), ("a/b", "a"), ("/", "/")] {
        assert_eq!(parent_dir(Path::new(path)), Path::new(parent));
    }
}

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let storage = MemoryStorage::new();
    let path = Path::new("/log");
    let mut file = storage.open_append(path).expect("open");
    file.write_all(b"one").expect("write");
    file.sync_data().expect("sync");
    let cut = storage.after_power_cut(PowerCut::LoseUnsynced);
    assert_eq!(read_file(&cut, path), None, "the name was never synced");
    storage.sync_dir(Path::new("/")).expect("sync");
    file.write_all(b"two").expect("write");
    let cut = storage.after_power_cut(PowerCut::LoseUnsynced);
    assert_eq!(read_file(&cut, path), Some(b"one".to_vec()));
    let cut = storage.after_power_cut(PowerCut::KeepAll);
    assert_eq!(read_file(&cut, path), Some(b"onetwo".to_vec()));
    assert_eq!(read_file(&storage, path), Some(b"onetwo".to_vec()), "the original goes on");
}

#[test]
fn a_random_cut_may_leave_a_zero_tail_or_an_empty_renamed_file() {
    let storage = MemoryStorage::new();
    storage.create(Path::new("/old")).expect("create");
    storage.sync_dir(Path::new("/")).expect("sync");
    let mut file = storage.create(Path::new("/new")).expect("create");
    file.write_all(&[7; 8192]).expect("write");
    storage.rename(Path::new("/new"), Path::new("/old")).expect("rename before sync");
    let outcomes: Vec<Option<Vec<u8>>> = (0..200)
        .map(|seed| storage.after_power_cut(PowerCut::Random(seed)))
        .map(|cut| read_file(&cut, Path::new("/old")))
        .collect();
    assert!(outcomes.contains(&Some(Vec::new())), "the rename was lost");
    let zero_tail = |content: &Vec<u8>| content.first() == Some(&7) && content.last() == Some(&0);
    assert!(outcomes.iter().flatten().any(zero_tail));
}

#[derive(Clone, Debug)]
enum Step {
    Write(u8, Vec<u8>),
    Sync(u8),
    Rename(u8, u8),
    Remove(u8),
    SyncDir,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0u8..4;
    let step = prop_oneof![
        (name(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(n, b)| Step::Write(n, b)),
        name().prop_map(Step::Sync),
        (name(), name()).prop_map(|(a, b)| Step::Rename(a, b)),
        name().prop_map(Step::Remove),
        (0..1).prop_map(|_| Step::SyncDir),
    ];
    prop::collection::vec(step, 0..40)
}

fn run_step(storage: &dyn Storage, folder: &Path, step: &Step) -> bool {
    let path = |name: &u8| folder.join(format!("f{name}"));
    match step {
        Step::Write(name, bytes) => {
            storage.open_append(&path(name)).and_then(|mut file| file.write_all(bytes)).is_ok()
        }
        Step::Sync(name) => storage.open_read(&path(name)).and_then(|f| f.sync_all()).is_ok(),
        Step::Rename(from, to) => storage.rename(&path(from), &path(to)).is_ok(),
        Step::Remove(name) => storage.remove(&path(name)).is_ok(),
        Step::SyncDir => storage.sync_dir(folder).is_ok(),
    }
}

fn contents(storage: &dyn Storage, folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let names = storage.list_dir(folder).expect("list");
    let content = |name: &PathBuf| read_file(storage, &folder.join(name)).expect("read");
    names.into_iter().map(PathBuf::from).map(|name| (name.clone(), content(&name))).collect()
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn memory_agrees_with_the_operating_system(steps in steps()) {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let memory = MemoryStorage::new();
        for step in &steps {
            let real = run_step(&OsStorage, folder.path(), step);
            prop_assert_eq!(real, run_step(&memory, Path::new("/"), step));
        }
        prop_assert_eq!(contents(&OsStorage, folder.path()), contents(&memory, Path::new("/")));
        let kept = memory.after_power_cut(PowerCut::KeepAll);
        prop_assert_eq!(contents(&kept, Path::new("/")), contents(&memory, Path::new("/")));
    }
}

#[test]
fn the_chosen_call_fails_once() {
    let plan = FaultPlan::new();
    let storage = FaultyStorage::new(MemoryStorage::new(), plan.clone());
    plan.add(Fault::nth(Operation::Write, 2, FaultEffect::Torn { bytes: 2, errno: libc::ENOSPC }));
    plan.add(Fault::nth(Operation::Write, 4, FaultEffect::Short(1)));
    plan.add(Fault::nth(Operation::Rename, 1, FaultEffect::Fail(libc::EACCES)));
    let mut file = storage.create(Path::new("/f")).expect("create");
    file.write_all(b"abc").expect("first");
    let fault = file.write_all(b"def").expect_err("second is torn");
    assert_eq!(fault.errno(), Some(libc::ENOSPC));
    assert_eq!(file.write(b"xyz").expect("third"), 3);
    assert_eq!(file.write(b"uvw").expect("fourth is short"), 1);
    let fault = storage.rename(Path::new("/f"), Path::new("/g")).expect_err("refused");
    assert_eq!(fault.to_string(), "rename(/f -> /g): Permission denied (os error 13)");
    storage.rename(Path::new("/f"), Path::new("/g")).expect("once only");
    assert_eq!(read_file(&storage, Path::new("/g")), Some(b"abcdexyzu".to_vec()));
    assert_eq!(plan.calls(Operation::Write), 4);
}

#[test]
fn a_lying_sync_syncs_nothing_and_a_stall_waits() {
    let plan = FaultPlan::new();
    let storage = FaultyStorage::new(MemoryStorage::new(), plan.clone());
    let file_path = Path::new("/f");
    let mut file = storage.create(file_path).expect("create");
    storage.sync_dir(Path::new("/")).expect("sync");
    file.write_all(b"abc").expect("write");
    plan.add(Fault { times: 2, ..Fault::nth(Operation::SyncData, 1, FaultEffect::Lie) });
    file.sync_data().expect("lie");
    file.sync_data().expect("lie");
    let durable = || read_file(&storage.inner().after_power_cut(PowerCut::LoseUnsynced), file_path);
    assert_eq!(durable(), Some(Vec::new()));
    plan.add(Fault::nth(Operation::SyncData, 3, FaultEffect::Stall(Duration::from_millis(30))));
    let start = Instant::now();
    file.sync_data().expect("late but true");
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(durable(), Some(b"abc".to_vec()));
}

#[test]
fn faults_can_be_limited_to_a_path_and_last() {
    let plan = FaultPlan::new();
    let storage = FaultyStorage::new(MemoryStorage::new(), plan.clone());
    let fault = Fault::always(Operation::Create, FaultEffect::Fail(libc::EROFS));
    plan.add(Fault { path_contains: Some("temp".into()), ..fault });
    assert!(storage.create(Path::new("/temp-1")).is_err());
    assert!(storage.create(Path::new("/temp-2")).is_err());
    assert!(storage.create(Path::new("/final")).is_ok());
    plan.clear();
    assert!(storage.create(Path::new("/temp-3")).is_ok());
    plan.add(Fault::everything_from(plan.total_calls() + 1, libc::EIO));
    assert!(storage.metadata(Path::new("/final")).is_err());
    assert!(storage.sync_dir(Path::new("/")).is_err());
}

#[test]
fn handles_move_to_other_threads() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut file = storage.create(Path::new("/f")).expect("create");
    let syncer = file.try_clone().expect("clone");
    let writer = std::thread::spawn(move || file.write_all(b"from a thread"));
    writer.join().expect("the writer does not panic").expect("write");
    std::thread::spawn(move || syncer.sync_data()).join().expect("no panic").expect("sync");
    assert_eq!(read_file(&*storage, Path::new("/f")), Some(b"from a thread".to_vec()));
}

#[test]
fn a_name_in_use_is_not_taken() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a"), b"a").expect("write");
    std::fs::write(path("b"), b"b").expect("write");
    std::os::unix::fs::symlink(path("nowhere"), path("link")).expect("symlink");
    for taken in ["b", "link"] {
        let refused = OsStorage.rename_new(&path("a"), &path(taken)).expect_err("the name is in use");
        assert_eq!(refused.errno(), Some(libc::EEXIST));
    }
    OsStorage.rename_new(&path("a"), &path("c")).expect("the name is free");
    assert_eq!(OsStorage.list_dir(folder.path()).expect("list"), ["b", "c", "link"]);
    assert_eq!(OsStorage.kind(&path("link")).expect("lstat"), PathKind::Other);
    assert_eq!(OsStorage.kind(&path("c")).expect("lstat"), PathKind::File);
    assert_eq!(OsStorage.kind(folder.path()).expect("lstat"), PathKind::Folder);
}

#[test]
fn a_lock_is_kept_by_its_handle() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let path = folder.path().join("a");
    let first = OsStorage.create(&path).expect("create");
    let second = OsStorage.open_append(&path).expect("open");
    assert!(first.try_lock().expect("flock") && first.try_lock().expect("flock"));
    let clone = first.try_clone().expect("dup");
    drop(first);
    assert!(!second.try_lock().expect("flock"));
    drop(clone);
    // A process that another test starts at this moment holds all files for an instant.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !second.try_lock().expect("flock") {
        assert!(Instant::now() < deadline, "nobody holds it any more");
        std::thread::yield_now();
    }
}
