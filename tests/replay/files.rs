//! Which files are there at the start, and what is made of them: never an empty data set by surprise,
//! never the only good copy overwritten, nothing changed by a refused start.

use super::{FILE, digest, everything, put, refusal, run, set, start, start_on};
use std::path::Path;
use std::sync::Arc;
use tine::server::Server;
use tine::sys::io::{
    Fault, FaultEffect, FaultPlan, FaultyStorage, MemoryStorage, Operation, PowerCut, Storage,
};

const AOF: &str = "/appendonly.aof";
const RDB: &str = "/dump.rdb";
const FOLDER: &str = "/appendonlydir";
const MANIFEST: &str =
    "file appendonly.aof.1.base.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";

/// A snapshot with one key.
fn snapshot(key: &str, value: &str) -> Vec<u8> {
    let disk = MemoryStorage::new();
    let mut server = start(&disk).expect("an empty disk");
    run(&mut server, &["SET", key, value]);
    assert_eq!(run(&mut server, &["SAVE"]), "+OK\r\n");
    disk.read_whole(Path::new(RDB), 1 << 20).expect("it was saved")
}

fn get(server: &mut Server, key: &str) -> Option<String> {
    super::get(server, key)
}

fn assert_refused_unchanged(disk: &MemoryStorage, words: &str) {
    let before = everything(disk);
    let text = refusal(disk);
    assert!(text.contains(words), "{words}: {text}");
    assert_eq!(everything(disk), before, "{words}: a refused start changes nothing");
}

#[test]
fn the_log_counts_even_when_the_snapshot_is_newer() {
    let disk = MemoryStorage::new();
    put(&disk, AOF, set("key", "log").as_bytes());
    put(&disk, RDB, &snapshot("key", "snapshot"));
    let mut server = start(&disk).expect("both are whole");
    assert_eq!(get(&mut server, "key"), Some("log".to_owned()));
}

#[test]
fn an_empty_log_or_one_torn_in_its_first_command_tells_nothing() {
    for content in ["", "*3\r\n$3\r\nSET\r\n$3", "\0\0\0\0\0\0\0\0"] {
        let disk = MemoryStorage::new();
        put(&disk, AOF, content.as_bytes());
        put(&disk, RDB, &snapshot("key", "snapshot"));
        let mut server = start(&disk).expect("the snapshot is loaded");
        assert_eq!(get(&mut server, "key"), Some("snapshot".to_owned()), "{content:?}");
        run(&mut server, &["SET", "new", "1"]);
        drop(server);
        let mut again = start(&disk).expect("the log stands alone");
        assert_eq!(
            (get(&mut again, "key"), get(&mut again, "new")),
            (Some("snapshot".into()), Some("1".into()))
        );
    }
}

/// The rewrite of an empty data set in the form of commands is not an empty file.
#[test]
fn a_log_that_says_empty_is_not_taken_for_none() {
    let disk = MemoryStorage::new();
    let commands = |config: &mut tine::server::config::Config| config.aof_use_rdb_preamble = false;
    let server = start_on(Arc::new(disk.clone()), commands).expect("an empty disk");
    let options = server.aof_base_options(AOF.into(), tine::persist::rdb::save::Walk::Tables);
    let mut link = tine::persist::child::ChildLink::disconnected();
    let path = Path::new(AOF);
    tine::persist::aof::base::write(Arc::new(disk.clone()), &server.keyspace, &mut link, &options, path)
        .expect("memory");
    drop(server);
    put(&disk, RDB, &snapshot("key", "long deleted"));
    let mut server = start(&disk).expect("the log is whole");
    assert_eq!(get(&mut server, "key"), None);
}

#[test]
fn a_log_of_which_nothing_can_be_used_is_refused() {
    let disk = MemoryStorage::new();
    put(&disk, AOF, &vec![0; 100_000]);
    assert_refused_unchanged(&disk, "nothing of the file can be used");
    put(&disk, RDB, &snapshot("key", "snapshot"));
    assert_refused_unchanged(&disk, "offset 0");
}

#[test]
fn damaged_and_wrong_files_are_refused() {
    let disk = MemoryStorage::new();
    let mut preamble = snapshot("key", "value");
    let place = preamble.len() - 12;
    preamble[place] ^= 1;
    put(&disk, AOF, &preamble);
    put(&disk, RDB, &snapshot("key", "older"));
    assert_refused_unchanged(&disk, "Terminating server after rdb file reading failure.");
    let disk = MemoryStorage::new();
    disk.create_dir(Path::new(AOF)).expect("memory");
    put(&disk, RDB, &snapshot("key", "older"));
    assert_refused_unchanged(&disk, "is a directory");
    let disk = MemoryStorage::new();
    put(&disk, RDB, b"");
    assert_refused_unchanged(&disk, "Terminating server");
}

/// A file that cannot be read, or not even looked at, is not a missing one.
#[test]
fn files_that_cannot_be_read_are_refused() {
    let cases = [
        (Operation::OpenRead, "appendonly.aof"),
        (Operation::Metadata, "appendonly.aof"),
        (Operation::Read, "appendonly.aof"),
        (Operation::OpenRead, "dump.rdb"),
        (Operation::Read, "dump.rdb"),
        (Operation::Metadata, "appendonlydir"),
    ];
    for (operation, name) in cases {
        let disk = MemoryStorage::new();
        if name == "appendonly.aof" {
            put(&disk, AOF, set("key", "log").as_bytes());
        }
        put(&disk, RDB, &snapshot("key", "snapshot"));
        let before = everything(&disk);
        let plan = FaultPlan::new();
        let fault = Fault::always(operation, FaultEffect::Fail(libc::EACCES));
        plan.add(Fault { path_contains: Some(name.to_owned()), ..fault });
        let started = start_on(Arc::new(FaultyStorage::new(disk.clone(), plan)), |_| {});
        assert!(started.is_err(), "{operation:?} of {name}: started as if it were not there");
        assert_eq!(everything(&disk), before, "{operation:?} of {name}");
    }
}

fn folder_of_redis(disk: &MemoryStorage, manifest: Option<&str>, files: &[(&str, &str)]) {
    disk.create_dir(Path::new(FOLDER)).expect("memory");
    disk.sync_dir(Path::new("/")).expect("memory");
    if let Some(manifest) = manifest {
        put(disk, &format!("{FOLDER}/appendonly.aof.manifest"), manifest.as_bytes());
    }
    for (name, content) in files {
        put(disk, &format!("{FOLDER}/appendonly.aof.{name}"), content.as_bytes());
    }
}

#[test]
fn a_folder_that_lacks_something_is_refused() {
    let (base, increment) = (set("a", "1"), set("b", "2"));
    for missing in ["1.base.aof", "1.incr.aof", "manifest"] {
        let disk = MemoryStorage::new();
        put(&disk, RDB, &snapshot("key", "older"));
        let files = [("1.base.aof", base.as_str()), ("1.incr.aof", increment.as_str())];
        let there: Vec<_> = files.into_iter().filter(|(name, _)| *name != missing).collect();
        folder_of_redis(&disk, (missing != "manifest").then_some(MANIFEST), &there);
        assert_refused_unchanged(&disk, missing);
    }
}

fn taken_over(mut server: Server, place: &str) {
    assert_eq!(get(&mut server, "a"), Some("1".to_owned()), "{place}");
    assert_eq!(get(&mut server, "b"), Some("2".to_owned()), "{place}");
}

fn folder_to_take_over() -> MemoryStorage {
    let disk = MemoryStorage::new();
    folder_of_redis(&disk, Some(MANIFEST), &[("1.base.aof", &set("a", "1")), ("1.incr.aof", &set("b", "2"))]);
    disk
}

/// The machine goes down before each call of a take-over: the next start finds everything and
/// finishes what was begun.
#[test]
fn a_take_over_survives_a_crash_at_every_step() {
    for preamble in [true, false] {
        let change = |config: &mut tine::server::config::Config| config.aof_use_rdb_preamble = preamble;
        let plan = FaultPlan::new();
        let whole = FaultyStorage::new(folder_to_take_over(), plan.clone());
        taken_over(start_on(Arc::new(whole), change).expect("nothing fails"), "whole");
        let calls = plan.total_calls();
        assert!(calls > 20, "{calls}");
        for call in 1..=calls {
            let (disk, plan) = (folder_to_take_over(), FaultPlan::new());
            plan.add(Fault::everything_from(call, libc::EIO));
            drop(start_on(Arc::new(FaultyStorage::new(disk.clone(), plan)), change));
            for cut in [PowerCut::KeepAll, PowerCut::LoseUnsynced, PowerCut::Random(call)] {
                let place = format!("preamble {preamble}, call {call} of {calls}, {cut:?}");
                let found = disk.after_power_cut(cut);
                let server = start_on(Arc::new(found.clone()), change);
                taken_over(server.unwrap_or_else(|text| panic!("{place}: {text}")), &place);
                assert!(!found.exists(Path::new(FOLDER)).expect("memory"), "{place}: the folder is aside");
                taken_over(start(&found).unwrap_or_else(|text| panic!("{place}: {text}")), &place);
            }
        }
    }
}

#[test]
fn two_forms_are_refused_when_the_folder_has_changed_since() {
    let (disk, plan) = (folder_to_take_over(), FaultPlan::new());
    // The marker, our file, the folder: the third rename.
    plan.add(Fault::nth(Operation::Rename, 3, FaultEffect::Fail(libc::EIO)));
    let failed = start_on(Arc::new(FaultyStorage::new(disk.clone(), plan)), |_| {});
    let text = failed.err().expect("the folder stays");
    assert!(text.contains("Can't set the folder of the former append only file aside: rename("), "{text}");
    assert!(disk.exists(Path::new("/").join(FILE).as_path()).expect("memory"));
    let changed = disk.after_power_cut(PowerCut::KeepAll);
    let increment = format!("{}{}", set("b", "2"), set("c", "3"));
    put(&changed, &format!("{FOLDER}/appendonly.aof.1.incr.aof"), increment.as_bytes());
    assert_refused_unchanged(&changed, "There are two append only files");
    let mut server = start(&disk).expect("nothing has changed");
    let state = digest(&mut server);
    taken_over(server, "nothing has changed");
    assert_eq!(digest(&mut start(&disk).expect("our own file")), state);
}

const UNTIL: &str = "1700000015";

fn restoring(config: &mut tine::server::config::Config) {
    config.aof_restore_to_timestamp = UNTIL.into();
}

/// `a` and `b` are older than the time to go back to, `c` is not.
fn timed() -> (String, String) {
    let at = |second: u32, key: &str, value: &str| format!("#TS:17000000{second}\r\n{}", set(key, value));
    (at(10, "a", "1"), at(11, "b", "2") + &at(20, "c", "3"))
}

fn disk_to_restore(as_folder: bool) -> MemoryStorage {
    let disk = MemoryStorage::new();
    let (base, increment) = timed();
    match as_folder {
        true => folder_of_redis(&disk, Some(MANIFEST), &[("1.base.aof", &base), ("1.incr.aof", &increment)]),
        false => put(&disk, AOF, (base + &increment).as_bytes()),
    }
    disk
}

fn restored(mut server: Server, place: &str) {
    assert_eq!(get(&mut server, "c"), None, "{place}");
    taken_over(server, place);
}

/// The machine goes down before each call of a restore: the next start finishes it, and the former
/// log is kept in full.
#[test]
fn a_restore_survives_a_crash_at_every_step() {
    for as_folder in [false, true] {
        let plan = FaultPlan::new();
        let whole = FaultyStorage::new(disk_to_restore(as_folder), plan.clone());
        restored(start_on(Arc::new(whole), restoring).expect("nothing fails"), "whole");
        let calls = plan.total_calls();
        assert!(calls > 20, "{calls}");
        let kept = if as_folder {
            format!("{FOLDER}.before-restore-{UNTIL}/appendonly.aof.1.incr.aof")
        } else {
            format!("{AOF}.before-restore-{UNTIL}")
        };
        for call in 1..=calls {
            let (disk, plan) = (disk_to_restore(as_folder), FaultPlan::new());
            plan.add(Fault::everything_from(call, libc::EIO));
            drop(start_on(Arc::new(FaultyStorage::new(disk.clone(), plan)), restoring));
            for cut in [PowerCut::KeepAll, PowerCut::LoseUnsynced, PowerCut::Random(call)] {
                let place = format!("folder {as_folder}, call {call} of {calls}, {cut:?}");
                let found = disk.after_power_cut(cut);
                for _ in 0..2 {
                    let server = start_on(Arc::new(found.clone()), restoring);
                    restored(server.unwrap_or_else(|text| panic!("{place}: {text}")), &place);
                }
                let content = found.read_whole(Path::new(&kept), 1 << 20).expect("it is kept");
                assert!(String::from_utf8_lossy(&content).contains("$1\r\nc\r\n"), "{place}");
                restored(start(&found).unwrap_or_else(|text| panic!("{place}: {text}")), &place);
            }
        }
    }
}

#[test]
fn a_restore_of_two_forms_or_onto_a_kept_folder_is_refused() {
    let refused = |disk: &MemoryStorage, words: &str| {
        let before = everything(disk);
        let text = start_on(Arc::new(disk.clone()), restoring).err().expect("it must be refused");
        assert!(text.contains(words), "{words}: {text}");
        assert_eq!(everything(disk), before, "{words}");
    };
    let disk = disk_to_restore(true);
    disk.create_dir(Path::new(&format!("{FOLDER}.before-restore-{UNTIL}"))).expect("memory");
    refused(&disk, "would be kept as");
    let disk = disk_to_restore(true);
    put(&disk, AOF, timed().1.as_bytes());
    refused(&disk, "There are two append only files");
}

/// Weeks of `appendonly no`: the log is old, and the next save would overwrite the only good copy.
#[test]
fn a_newer_snapshot_made_without_a_log_is_kept() {
    let kept_in = |disk: &MemoryStorage| {
        let names = disk.list_dir(Path::new("/")).expect("memory");
        let kept = names.iter().find(|name| name.to_string_lossy().starts_with("dump.rdb.newer-than-aof-"));
        kept.map(|name| disk.read_whole(&Path::new("/").join(name), 1 << 20).expect("memory"))
    };
    for as_folder in [false, true] {
        let disk = disk_to_restore(as_folder);
        let off = |config: &mut tine::server::config::Config| config.appendonly = false;
        let mut server = start_on(Arc::new(disk.clone()), off).expect("no snapshot yet");
        run(&mut server, &["SET", "only", "here"]);
        assert_eq!(run(&mut server, &["SAVE"]), "+OK\r\n");
        drop(server);
        let newest = disk.read_whole(Path::new(RDB), 1 << 20).expect("it was saved");
        let mut server = start(&disk).expect("the log counts");
        assert_eq!((get(&mut server, "only"), get(&mut server, "a")), (None, Some("1".into())));
        assert_eq!(kept_in(&disk).as_ref(), Some(&newest), "folder {as_folder}");
        assert_eq!(run(&mut server, &["SAVE"]), "+OK\r\n");
        drop(server);
        assert_eq!(kept_in(&disk), Some(newest), "a save replaces the name, not the content");
        drop(start(&disk).expect("the log counts"));
    }
    // One that was saved beside the log holds nothing that the log lacks.
    let disk = MemoryStorage::new();
    put(&disk, AOF, set("a", "1").as_bytes());
    let mut server = start(&disk).expect("a log");
    assert_eq!(run(&mut server, &["SAVE"]), "+OK\r\n");
    drop(server);
    drop(start(&disk).expect("the log counts"));
    assert_eq!(kept_in(&disk), None);
}

#[test]
fn a_log_kept_as_unread_is_not_forgotten() {
    let disk = MemoryStorage::new();
    put(&disk, "/appendonly.aof.unread-1700000000", set("a", "1").as_bytes());
    assert_refused_unchanged(&disk, "/appendonly.aof.unread-1700000000, which was set aside");
    put(&disk, RDB, &snapshot("key", "value"));
    let mut server = start(&disk).expect("there is a snapshot");
    assert_eq!(get(&mut server, "key"), Some("value".to_owned()));
}
