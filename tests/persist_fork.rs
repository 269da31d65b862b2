//! The fork door and snapshots by a child, in a program of its own (no other threads but ours).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tine::base::hash::HashSeed;
use tine::keyspace::{ExpiryChange, Keyspace, NewValue};
use tine::persist::Persistence;
use tine::persist::child::ChildLink;
use tine::persist::fork::{ChildEnd, ChildKind, ChildResult, ForkError};
use tine::persist::rdb::save::Walk;
use tine::persist::rdb::{LoadOptions, SaveOptions, load_file, save_file};
use tine::sys::io::{OsStorage, Storage};
use tine::value::ValueRef;

/// A child that takes longer hangs.
const HUNG: Duration = Duration::from_secs(20);

fn main() {
    results_are_told();
    one_child_at_a_time();
    a_child_saves_what_was_there_at_the_fork();
    more_tables_than_tags_are_saved_too();
    println!("persist_fork: all checks passed");
}

fn keyspace() -> Keyspace {
    Keyspace::new(2, HashSeed::from_os().expect("random numbers")).expect("a thread")
}

fn fill(keyspace: &mut Keyspace, db: usize, keys: usize) {
    for number in 0..keys {
        let key = format!("key:{number}");
        let hash = keyspace.hash(key.as_bytes());
        let value = NewValue::Encoded(key.as_bytes());
        keyspace.set(db, hash, key.as_bytes(), value, ExpiryChange::Clear);
    }
}

fn end_of(persistence: &mut Persistence, keyspace: &mut Keyspace) -> ChildEnd {
    let deadline = Instant::now() + HUNG;
    loop {
        if let Some(end) = persistence.poll_child(keyspace) {
            return end;
        }
        assert!(Instant::now() < deadline, "the child hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn results_are_told() {
    let (mut keyspace, mut persistence) = (keyspace(), Persistence::default());
    fill(&mut keyspace, 0, 1000);
    let started = persistence.fork(ChildKind::Snapshot, &mut keyspace, |keyspace, link| {
        assert_eq!(keyspace.total_keys(), 1000);
        link.advance(1000);
        link.set_bytes_written(77);
        Ok(())
    });
    assert!(started.expect("fork").pid > 0);
    assert!(keyspace.access.frozen);
    let end = end_of(&mut persistence, &mut keyspace);
    assert_eq!((end.kind, &end.result), (ChildKind::Snapshot, &ChildResult::Done));
    assert_eq!((end.progress.keys_done, end.progress.bytes_written), (1000, 77));
    assert!(!keyspace.access.frozen && persistence.child.is_none());

    let failing: [fn() -> Result<(), String>; 3] =
        [|| Err("on purpose".into()), || panic!("on purpose"), || std::process::abort()];
    for job in failing {
        persistence.fork(ChildKind::AofRewrite, &mut keyspace, move |_, _| job()).expect("fork");
        let end = end_of(&mut persistence, &mut keyspace);
        assert!(matches!(end.result, ChildResult::Failed(_)), "{:?}", end.result);
    }
    assert_eq!(persistence.forks.total, 4);
    assert!(persistence.forks.events.iter().all(|event| event.result.is_some() && event.rss_bytes > 0));
}

fn one_child_at_a_time() {
    let (mut keyspace, mut persistence) = (keyspace(), Persistence::default());
    let sleep = || loop {
        std::thread::sleep(Duration::from_secs(1));
    };
    persistence.fork(ChildKind::AofRewrite, &mut keyspace, move |_, _| sleep()).expect("fork");
    let second = persistence.fork(ChildKind::Snapshot, &mut keyspace, |_, _| Ok(()));
    assert!(matches!(second, Err(ForkError::ChildActive(ChildKind::AofRewrite))));
    let end = persistence.cancel_child(&mut keyspace).expect("there is a child");
    assert_eq!(end.result, ChildResult::Cancelled);
    persistence.fork(ChildKind::Snapshot, &mut keyspace, move |_, _| sleep()).expect("fork");
    persistence.child.as_mut().expect("it lives").kill();
    let end = end_of(&mut persistence, &mut keyspace);
    assert!(matches!(end.result, ChildResult::Failed(_)), "a kill that nobody asked for is a failure");
}

type Content = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

fn content_of(keyspace: &Keyspace) -> Content {
    let mut content = Content::new();
    for db in 0..keyspace.databases() {
        for view in keyspace.db(db).iter() {
            let ValueRef::String(string) = view.value() else { panic!("only strings are stored") };
            content.insert((db, view.key().to_vec()), (string.to_vec(), view.expiry_ms()));
        }
    }
    content
}

fn loaded(path: &Path, databases: usize) -> Content {
    let seed = HashSeed::from_os().expect("random numbers");
    let mut keyspace = Keyspace::new(databases, seed).expect("a thread");
    let report = load_file(&OsStorage, path, &mut keyspace, LoadOptions::default(), 1 << 20, &mut |_| {});
    assert!(report.expect("the file is whole").is_some(), "the file is there");
    content_of(&keyspace)
}

fn set(keyspace: &mut Keyspace, db: usize, key: &str, value: &[u8], expiry: ExpiryChange) {
    let hash = keyspace.hash(key.as_bytes());
    keyspace.set(db, hash, key.as_bytes(), NewValue::Encoded(value), expiry);
}

/// Starts a snapshot child and returns at once.
fn save_in_child(persistence: &mut Persistence, keyspace: &mut Keyspace, path: &Path) {
    let (target, temp) = (path.to_path_buf(), path.with_extension("temp"));
    let storage: Arc<dyn Storage> = Arc::new(OsStorage);
    let options = SaveOptions { walk: Walk::Memory, key_delay: -50, ..SaveOptions::default() };
    let started = persistence.fork(ChildKind::Snapshot, keyspace, |keyspace, link| {
        save_file(&storage, &target, &temp, keyspace, &options, link).map(|_| ())
    });
    started.expect("fork");
}

fn save_here(keyspace: &Keyspace, path: &Path) {
    let storage: Arc<dyn Storage> = Arc::new(OsStorage);
    let link = &mut ChildLink::disconnected();
    save_file(&storage, path, &path.with_extension("temp"), keyspace, &SaveOptions::default(), link)
        .expect("save");
}

/// The parent writes, deletes and flushes while the child walks memory; other tables' entries lie
/// between those of the data set, some of them being freed by another thread.
fn a_child_saves_what_was_there_at_the_fork() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let (by_child, by_parent) = (folder.path().join("child.rdb"), folder.path().join("parent.rdb"));
    let (mut keyspace, mut persistence) = (keyspace(), Persistence::default());
    for number in 0..30_000usize {
        let value = vec![b'a' + (number % 26) as u8; number % 400];
        let expiry = if number % 7 == 0 { ExpiryChange::At(4_000_000_000_000) } else { ExpiryChange::Clear };
        set(&mut keyspace, number % 2, &format!("key:{number}"), &value, expiry);
    }
    fill(&mut keyspace, 1, 100);
    save_here(&keyspace, &by_parent);
    let before = content_of(&keyspace);
    save_in_child(&mut persistence, &mut keyspace, &by_child);
    for number in 0..30_000usize {
        match number % 3 {
            0 => set(&mut keyspace, number % 2, &format!("key:{number}"), b"changed", ExpiryChange::Clear),
            1 => {
                let key = format!("key:{number}");
                let hash = keyspace.hash(key.as_bytes());
                keyspace.remove(number % 2, hash, key.as_bytes(), true);
            }
            _ => set(&mut keyspace, 0, &format!("new:{number}"), b"new", ExpiryChange::Clear),
        }
    }
    keyspace.flush(1, true);
    let end = end_of(&mut persistence, &mut keyspace);
    assert_eq!(end.result, ChildResult::Done);
    assert_eq!(end.progress.keys_done, before.len() as u64);
    assert_eq!(std::fs::metadata(&by_child).expect("in place").len(), end.progress.bytes_written);
    assert_eq!(loaded(&by_child, 2), before);
    assert_eq!(loaded(&by_parent, 2), before);
}

/// Tables without a tag of their own: the child walks tables.
fn more_tables_than_tags_are_saved_too() {
    const DATABASES: usize = 300;
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let path = folder.path().join("dump.rdb");
    let seed = HashSeed::from_os().expect("random numbers");
    let mut keyspace = Keyspace::new(DATABASES, seed).expect("a thread");
    let mut persistence = Persistence::default();
    for db in 0..DATABASES {
        fill(&mut keyspace, db, 20);
    }
    assert!(!keyspace.can_walk_memory());
    let before = content_of(&keyspace);
    save_in_child(&mut persistence, &mut keyspace, &path);
    assert_eq!(end_of(&mut persistence, &mut keyspace).result, ChildResult::Done);
    assert_eq!(loaded(&path, DATABASES), before);
}
