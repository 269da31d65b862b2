//! The fork door and snapshots by a child, in a program of its own (no other threads but ours).

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tine::base::clock::Clock;
use tine::base::hash::HashSeed;
use tine::base::rng::Rng;
use tine::command;
use tine::keyspace::{ExpiryChange, Keyspace, NewValue};
use tine::persist::Persistence;
use tine::persist::child::ChildLink;
use tine::persist::data_pages::PageSize;
use tine::persist::fork::{ChildEnd, ChildKind, ChildResult, ForkError};
use tine::persist::rdb::save::Walk;
use tine::persist::rdb::{LoadOptions, SaveOptions, load_file, save_file};
use tine::server::config::{Config, ForkHugePages, SavePoint, SavePoints};
use tine::server::{CommandTable, Server};
use tine::sys::huge_pages::{HugePageProbe, PROBE_PROGRAM};
use tine::sys::io::{
    Fault, FaultEffect, FaultPlan, FaultyStorage, MemoryStorage, Operation, OsStorage, Storage,
};
use tine::value::ValueRef;

/// A child that takes longer hangs.
const HUNG: Duration = Duration::from_secs(20);

fn main() {
    results_are_told();
    one_child_at_a_time();
    a_child_saves_what_was_there_at_the_fork();
    more_tables_than_tags_are_saved_too();
    a_database_of_a_high_number_is_saved();
    a_hung_child_is_cancelled_all_the_same();
    a_refused_fork_is_told_and_tried_again();
    faults_of_the_disk_reach_the_parent_and_heal();
    pages_follow_the_directive();
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
    let long = "ä".repeat(5000);
    for reason in ["on purpose", &long] {
        persistence.fork(ChildKind::Snapshot, &mut keyspace, |_, _| Err(reason.to_owned())).expect("fork");
        let ChildResult::Failed(told) = end_of(&mut persistence, &mut keyspace).result else {
            panic!("failed")
        };
        assert!(!told.is_empty() && reason.starts_with(&told), "the child's own words: {told}");
    }
    assert_eq!(persistence.forks.total, 6);
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
            0 if number % 2 == 0 => {
                // Of the same length: in place.
                let value = vec![b'!'; number % 400];
                set(&mut keyspace, number % 2, &format!("key:{number}"), &value, ExpiryChange::Keep);
            }
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

/// A table with a tag of its own under a number that sixteen bits do not hold.
fn a_database_of_a_high_number_is_saved() {
    const DATABASES: usize = 66_000;
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let path = folder.path().join("dump.rdb");
    let seed = HashSeed::from_os().expect("random numbers");
    let mut keyspace = Keyspace::new(DATABASES, seed).expect("a thread");
    let mut persistence = Persistence::default();
    fill(&mut keyspace, 0, 20);
    fill(&mut keyspace, 1, 20);
    keyspace.swap(0, DATABASES - 1);
    assert!(keyspace.can_walk_memory());
    let before = content_of(&keyspace);
    save_in_child(&mut persistence, &mut keyspace, &path);
    assert_eq!(end_of(&mut persistence, &mut keyspace).result, ChildResult::Done);
    assert_eq!(loaded(&path, DATABASES), before);
}

/// Stops a child and waits until it is: a signal that comes before would still end it.
fn stop(pid: i32) {
    tine::sys::fork::kill(pid, libc::SIGSTOP).expect("our child");
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("our child");
    let deadline = Instant::now() + HUNG;
    while !state().contains(") T ") {
        assert!(Instant::now() < deadline, "the child does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A stopped child does not see the signal that cancels it: it is killed, and still no failure.
fn a_hung_child_is_cancelled_all_the_same() {
    let (mut keyspace, mut persistence) = (keyspace(), Persistence::default());
    let sleep = || loop {
        std::thread::sleep(Duration::from_secs(1));
    };
    let child = persistence.fork(ChildKind::Snapshot, &mut keyspace, move |_, _| sleep()).expect("fork");
    stop(child.pid);
    assert!(persistence.ask_child_to_end(&mut keyspace).is_none(), "nobody waits for it");
    assert_eq!(end_of(&mut persistence, &mut keyspace).result, ChildResult::Cancelled, "killed by looking");
    let child = persistence.fork(ChildKind::Snapshot, &mut keyspace, move |_, _| sleep()).expect("fork");
    stop(child.pid);
    let end = persistence.cancel_child(&mut keyspace).expect("it has ended");
    assert_eq!(end.result, ChildResult::Cancelled);
    assert!(persistence.child.is_none() && !keyspace.access.frozen);
}

fn server(storage: Arc<dyn Storage>) -> Server {
    let save = SavePoints(vec![SavePoint { seconds: 1, changes: 1 }]);
    let config = Config { dir: "/".into(), save, ..Config::default() };
    let commands = CommandTable::new(command::FAMILIES);
    let clock = Clock::manual(1_700_000_000_000);
    let mut server = Server::new(config, clock, Rng::with_seed(1), commands).expect("threads start");
    server.persistence.storage = storage;
    fill(&mut server.keyspace, 0, 100);
    server.persistence.dirty = 100;
    server
}

/// Rounds of cron until the child has ended.
fn finish_save(server: &mut Server) {
    let deadline = Instant::now() + HUNG;
    while server.persistence.child.is_some() {
        if let Some(end) = server.persistence.poll_child(&mut server.keyspace) {
            server.snapshot_child_ended(&end);
        }
        assert!(Instant::now() < deadline, "the child hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Moves the clock and looks at the save points.
fn pass_seconds(server: &mut Server, seconds: i64) {
    let now_ms = server.now_ms() + seconds * 1000;
    server.clock.set_ms(now_ms);
    server.refresh_time();
    server.snapshot_cron();
}

fn last_reason(server: &Server) -> String {
    server.persistence.snapshot.last_fault.as_ref().map(|fault| fault.reason.clone()).unwrap_or_default()
}

fn a_refused_fork_is_told_and_tried_again() {
    let mut server = server(Arc::new(OsStorage));
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    server.config.dir = folder.path().to_str().expect("text").into();
    for (errno, words) in
        [(Errno::ENOMEM, "fork: Cannot allocate memory (os error 12) ("), (Errno::EAGAIN, "ulimit -u")]
    {
        server.persistence.child_setup.refuse_forks = Some(errno);
        let reason = server.start_background_save().expect_err("it is refused");
        assert!(reason.starts_with("Can't save in background: fork: ") && reason.contains(words), "{reason}");
        assert_eq!(last_reason(&server), reason);
        assert!(server.refuse_unsafe_write().is_err() && server.persistence.child.is_none());
    }
    let overcommits = std::fs::read_to_string("/proc/sys/vm/overcommit_memory").expect("Linux").trim() == "1";
    let advice = ForkError::System(Errno::ENOMEM).to_string();
    assert_eq!(advice.contains("vm.overcommit_memory"), !overcommits, "{advice}");
    server.persistence.child_setup.refuse_forks = None;
    pass_seconds(&mut server, 3);
    assert!(server.persistence.child.is_none(), "not at once");
    pass_seconds(&mut server, 4);
    assert!(server.persistence.child.is_some(), "the save is tried again");
    finish_save(&mut server);
    assert!(server.refuse_unsafe_write().is_ok() && last_reason(&server).is_empty());
    assert_eq!(server.persistence.dirty, 0);
}

/// The kernel is tried out for real; what it does with huge pages decides what `auto` does.
fn pages_follow_the_directive() {
    let mut server = server(Arc::new(OsStorage));
    let is_huge = |server: &Server| matches!(server.persistence.pages.size(), PageSize::Huge(_));
    server.set_page_size().expect("auto never fails");
    let probe = server.persistence.pages.probe.clone().expect("it was tried out");
    assert!(!matches!(probe, HugePageProbe::Untested(_)), "{probe}");
    assert_eq!(is_huge(&server), probe == HugePageProbe::CopiesSmallPage);
    let mut apart = Command::new(env!("CARGO_BIN_EXE_tine-server"));
    let status = apart.arg0(PROBE_PROGRAM).status().expect("the server was built");
    let small = status.code() == Some(0);
    assert_eq!(
        small,
        probe == HugePageProbe::CopiesSmallPage,
        "a process of its own finds the same: {status}"
    );
    let info = command::info::info_text(&server, &[b"fork"]);
    assert!(info.contains(&format!("fork_huge_pages_active:{}\r\n", u8::from(is_huge(&server)))), "{info}");
    assert!(info.contains(&format!("fork_huge_pages_reason:{probe}\r\n")), "{info}");
    server.config.fork_huge_pages = ForkHugePages::No;
    server.set_page_size().expect("4 kB pages are always there");
    assert!(!is_huge(&server));
}

fn faults_of_the_disk_reach_the_parent_and_heal() {
    let cases = [
        (Operation::Create, libc::EROFS, "open(/temp-"),
        (Operation::Create, libc::EACCES, "open(/temp-"),
        (Operation::Write, libc::ENOSPC, "write(/temp-"),
        (Operation::SyncData, libc::EIO, "fdatasync(/temp-"),
        (Operation::Rename, libc::EACCES, "rename(/temp-"),
        (Operation::SyncDir, libc::EIO, "fsync directory(/)"),
    ];
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    for (operation, errno, place) in cases {
        // The child's changes must be seen by the parent: real files.
        let plan = FaultPlan::new();
        let mut server = server(Arc::new(FaultyStorage::new(OsStorage, plan.clone())));
        server.config.dir = folder.path().to_str().expect("text").into();
        let place = place.replace('/', &format!("{}/", folder.path().display()));
        let place = place.trim_end_matches("/)");
        plan.add(Fault::always(operation, FaultEffect::Fail(errno)));
        server.start_background_save().expect("the fork is fine");
        finish_save(&mut server);
        let (reason, cause) = (last_reason(&server), std::io::Error::from_raw_os_error(errno).to_string());
        assert!(reason.contains(place) && reason.contains(&cause), "{reason}");
        assert!(server.refuse_unsafe_write().is_err() && server.persistence.dirty == 100);
        let saved = server.save_now().expect_err("SAVE meets the same");
        assert!(saved.contains(&cause), "{saved}");
        let left = std::fs::read_dir(folder.path()).expect("it is there").flatten();
        let temporary = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("temp-")).count();
        assert_eq!(temporary, 0, "{operation:?}");
        plan.clear();
        pass_seconds(&mut server, 7);
        finish_save(&mut server);
        assert!(server.refuse_unsafe_write().is_ok(), "{}", last_reason(&server));
        assert_eq!((server.persistence.dirty, last_reason(&server)), (0, String::new()));
    }
    a_save_in_the_foreground_never_harms_the_old_file();
}

/// SAVE with every call failing in turn: the file is the old one or the new one, whole.
fn a_save_in_the_foreground_never_harms_the_old_file() {
    let path = Path::new("/dump.rdb");
    for call in 1.. {
        let (disk, plan) = (MemoryStorage::new(), FaultPlan::new());
        let mut server = server(Arc::new(FaultyStorage::new(disk.clone(), plan.clone())));
        server.save_now().expect("nothing fails yet");
        let old = disk.read_whole(path, 1 << 20).expect("it is there");
        fill(&mut server.keyspace, 1, 50);
        let failing = plan.total_calls() + call;
        plan.add(Fault { times: 1, ..Fault::everything_from(failing, libc::EIO) });
        let outcome = server.save_now();
        let all_went_well = plan.total_calls() < failing;
        let found = disk.read_whole(path, 1 << 20).expect("it is there");
        assert!(outcome.is_ok() == last_reason(&server).is_empty());
        let content = {
            let mut keyspace = keyspace();
            load_file(&disk, path, &mut keyspace, LoadOptions::default(), 1 << 20, &mut |_| {})
                .expect("whole");
            keyspace.total_keys()
        };
        assert!(content == 150 || (outcome.is_err() && found == old), "call {call}");
        // A save goes on without a lock, so a failed call alone does not end it.
        if all_went_well {
            assert!(outcome.is_ok() && call > 5, "create, write, sync, rename and the directory were tried");
            return;
        }
    }
}
