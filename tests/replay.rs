//! Loading the AOF in process: every cut of a small file, damage, transactions, notes, take-over.
//!
//! `replay/tails.rs` cuts and corrupts small files at every byte, `replay/files.rs` starts on every
//! combination of files.

#[path = "replay/files.rs"]
mod files;
#[path = "replay/tails.rs"]
mod tails;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tine::base::clock::Clock;
use tine::base::rng::Rng;
use tine::command;
use tine::dispatch;
use tine::persist::aof::Aof;
use tine::replay::{LoadEnd, load_at_start};
use tine::resp::{OwnedArgs, Reply};
use tine::server::config::{Config, ProtectedAction};
use tine::server::{ClientKind, CommandTable, Server};
use tine::sys::io::{MemoryStorage, Storage};

const FILE: &str = "appendonly.aof";

fn server_in(folder: &Path, change: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config {
        appendonly: true,
        dir: folder.to_str().expect("the path is text").into(),
        ..Config::default()
    };
    change(&mut config);
    let commands = CommandTable::new(command::FAMILIES);
    Server::new(config, Clock::manual(1_700_000_000_000), Rng::with_seed(1), commands).expect("threads start")
}

fn load(folder: &Path) -> Result<Server, String> {
    load_with(folder, |_| {})
}

fn load_with(folder: &Path, change: impl FnOnce(&mut Config)) -> Result<Server, String> {
    let mut server = server_in(folder, change);
    let end = load_at_start(&mut server, &mut |_| {})?;
    assert_eq!(end, LoadEnd::Complete);
    assert!(server.run.loading.is_none() && server.persistence.dirty == 0);
    Ok(server)
}

/// Starts a server on a disk in memory, in its folder `/`.
fn start_on(storage: Arc<dyn Storage>, change: impl FnOnce(&mut Config)) -> Result<Server, String> {
    let mut server = server_in(Path::new("/"), change);
    server.config.enable_debug_command = ProtectedAction::Yes;
    server.persistence.storage = Arc::clone(&storage);
    server.persistence.aof = Aof::new(storage);
    match load_at_start(&mut server, &mut |_| {})? {
        LoadEnd::Complete => Ok(server),
        LoadEnd::Interrupted => Err("nobody interrupts".to_owned()),
    }
}

/// Starts as most servers do.
fn start(disk: &MemoryStorage) -> Result<Server, String> {
    start_on(Arc::new(disk.clone()), |_| {})
}

fn refusal(disk: &MemoryStorage) -> String {
    match start(disk) {
        Ok(_) => panic!("it started"),
        Err(text) => text,
    }
}

/// A file, durable.
fn put(disk: &MemoryStorage, path: &str, content: &[u8]) {
    let path = Path::new(path);
    let mut file = disk.create(path).expect("memory");
    file.write_all(content).expect("memory");
    file.sync_data().expect("memory");
    disk.sync_dir(path.parent().expect("a path below the root")).expect("memory");
}

/// All files and their bytes.
fn everything(disk: &MemoryStorage) -> Vec<(PathBuf, Vec<u8>)> {
    let mut folders = vec![PathBuf::from("/")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for name in disk.list_dir(&folder).expect("memory") {
            let path = folder.join(name);
            if disk.metadata(&path).expect("memory").is_dir {
                folders.push(path);
            } else {
                files.push((path.clone(), disk.read_whole(&path, 1 << 30).expect("memory")));
            }
        }
    }
    files
}

fn digest(server: &mut Server) -> String {
    let digest = run(server, &["DEBUG", "DIGEST"]);
    assert_eq!(digest.trim_end().len(), 41, "{digest}");
    digest
}

/// Runs a command as a client's and gives its effects to the AOF.
fn run(server: &mut Server, words: &[&str]) -> String {
    run_all(server, &[words])
}

/// As [`run`]: several commands of one client, one after the other.
fn run_all(server: &mut Server, commands: &[&[&str]]) -> String {
    let client = server.clients.add(ClientKind::Normal, 0);
    let mut out = Reply::default();
    for words in commands {
        let args = OwnedArgs::from_slices(words.iter().map(|word| word.as_bytes()));
        let found = server.commands.find(words[0].as_bytes());
        dispatch::execute(server, client, args.as_args(), found, &mut out);
    }
    dispatch::flush_propagation(server);
    server.persistence.flush_aof();
    server.remove_client(client);
    String::from_utf8_lossy(&out.buffer).into_owned()
}

fn get(server: &mut Server, key: &str) -> Option<String> {
    let reply = run(server, &["GET", key]);
    reply.strip_prefix('$')?.split_once("\r\n")?.1.strip_suffix("\r\n").map(str::to_owned)
}

fn set(key: &str, value: &str) -> String {
    format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len())
}

fn folder_with(content: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join(FILE), content).expect("the folder is writable");
    folder
}

fn side_files(folder: &Path) -> Vec<Vec<u8>> {
    let names = std::fs::read_dir(folder).expect("it is there").flatten();
    let cut = names.filter(|entry| entry.file_name().to_string_lossy().contains(".cut-"));
    cut.map(|entry| std::fs::read(entry.path()).expect("it is readable")).collect()
}

fn failure(folder: &Path) -> String {
    match load(folder) {
        Ok(_) => panic!("it loaded"),
        Err(text) => text,
    }
}

#[test]
fn every_cut_loads_whole_commands_and_keeps_the_rest_beside() {
    let parts = [
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n".to_owned(),
        set("a", "1"),
        format!("*1\r\n$5\r\nMULTI\r\n{}{}*1\r\n$4\r\nEXEC\r\n", set("b", "2"), set("c", "3")),
        set("d", "4"),
    ];
    let whole = parts.concat();
    let mut ends = vec![0];
    for part in &parts {
        ends.push(ends[ends.len() - 1] + part.len());
    }
    for cut in 1..=whole.len() {
        let folder = folder_with(&whole.as_bytes()[..cut]);
        let mut server = load(folder.path()).unwrap_or_else(|text| panic!("cut at {cut}: {text}"));
        let kept = *ends.iter().filter(|end| **end <= cut).max().expect("0 is one");
        let expected = |end: usize, value: &str| (kept >= ends[end]).then(|| value.to_owned());
        for (key, end, value) in [("a", 2, "1"), ("b", 3, "2"), ("c", 3, "3"), ("d", 4, "4")] {
            assert_eq!(get(&mut server, key), expected(end, value), "cut at {cut}, key {key}");
        }
        let beside = side_files(folder.path());
        let lost = &whole.as_bytes()[kept..cut];
        assert_eq!(beside, if lost.is_empty() { vec![] } else { vec![lost.to_vec()] }, "cut at {cut}");
        assert_eq!(run(&mut server, &["SET", "new", "5"]), "+OK\r\n");
        drop(server);
        let mut again =
            load(folder.path()).unwrap_or_else(|text| panic!("cut at {cut}, second start: {text}"));
        assert_eq!(get(&mut again, "new"), Some("5".to_owned()), "cut at {cut}");
        assert_eq!(get(&mut again, "a"), expected(2, "1"), "cut at {cut}");
    }
}

#[test]
fn zeros_at_the_end_are_cut() {
    for prefix in ["", "*3\r\n$3\r\nSE", "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$9\r\nxx"] {
        let mut content = format!("{}{prefix}", set("a", "1")).into_bytes();
        content.resize(content.len() + 8192, 0);
        let folder = folder_with(&content);
        let mut server = load(folder.path()).expect("zeros are repaired");
        assert_eq!(get(&mut server, "a"), Some("1".to_owned()));
        assert_eq!(side_files(folder.path())[0].len(), prefix.len() + 8192);
    }
}

#[test]
fn damage_is_refused_unless_it_is_small_and_last() {
    let garbage = format!("{}garbage\r\n", set("a", "1"));
    let folder = folder_with(garbage.as_bytes());
    let text = failure(folder.path());
    assert!(
        text.starts_with("Bad file format reading the append only file appendonly.aof: make a backup"),
        "{text}"
    );
    assert!(
        text.contains(&format!("offset {}", set("a", "1").len()))
            && text.contains("aof-load-corrupt-tail-max-size")
    );
    assert!(side_files(folder.path()).is_empty());
    let lenient = |config: &mut Config| config.aof_load_corrupt_tail_max_size = 100;
    let mut server = load_with(folder.path(), lenient).expect("nine bytes are allowed");
    assert_eq!(get(&mut server, "a"), Some("1".to_owned()));
    assert_eq!(side_files(folder.path()), vec![b"garbage\r\n".to_vec()]);

    let middle = folder_with(format!("{}garbage\r\n{}", set("a", "1"), set("b", "2")).as_bytes());
    assert!(load_with(middle.path(), lenient).is_err(), "a command follows the damage");
}

#[test]
fn texts_are_those_of_redis() {
    let unknown = folder_with(b"*1\r\n$5\r\nNOSUC\r\n");
    assert!(
        failure(unknown.path())
            .starts_with("Unknown command 'NOSUC' reading the append only file appendonly.aof")
    );
    let short = folder_with(&set("a", "1").as_bytes()[..20]);
    let refused = load_with(short.path(), |config| config.aof_load_truncated = false);
    let text = refused.err().expect("it must be whole");
    assert!(
        text.starts_with("Unexpected end of file reading the append only file appendonly.aof. You can: 1)"),
        "{text}"
    );
}

#[test]
fn notes_are_skipped_and_checksums_compared() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let annotated = |config: &mut Config| {
        config.aof_timestamp_enabled = true;
        config.aof_checksum = true;
    };
    let mut server = load_with(folder.path(), annotated).expect("nothing is there yet");
    for number in 0..20 {
        run(&mut server, &["SET", "key", &number.to_string()]);
    }
    drop(server);
    let path = folder.path().join(FILE);
    let content = std::fs::read(&path).expect("it was written");
    assert!(content.starts_with(b"#TS:1700000000\r\n#CS:"));
    let mut server = load(folder.path()).expect("it is as it was written");
    assert_eq!(get(&mut server, "key"), Some("19".to_owned()));
    drop(server);
    for place in content.windows(5).enumerate().filter(|(_, bytes)| bytes == b"$3\r\nk").map(|(at, _)| at + 4)
    {
        let mut damaged = content.clone();
        damaged[place] ^= 4;
        std::fs::write(&path, &damaged).expect("the folder is writable");
        let text = failure(folder.path());
        let line = content[..place].windows(4).rposition(|bytes| bytes == b"#CS:").expect("it is covered");
        assert!(text.contains(&format!("damage at offset {line};")), "byte {place}: {text}");
        assert_eq!(std::fs::read(&path).expect("it is there"), damaged, "a refused file is not changed");
    }
}

/// A checksum line must not stay in front of half a batch: it would cover what is appended next.
#[test]
fn a_batch_with_a_checksum_is_cut_as_a_whole() {
    let checksums = |config: &mut Config| config.aof_checksum = true;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut server = load_with(folder.path(), checksums).expect("nothing is there yet");
    run(&mut server, &["SET", "a", "1"]);
    // The file ends here while the database is not selected again: one batch of two commands.
    run(&mut server, &["MSET", "b", "2", "c", "3"]);
    drop(server);
    let whole = std::fs::read(folder.path().join(FILE)).expect("it was written");
    let second = whole.windows(4).rposition(|bytes| bytes == b"#CS:").expect("there are two lines");
    for cut in second..whole.len() {
        let folder = folder_with(&whole[..cut]);
        let mut server =
            load_with(folder.path(), checksums).unwrap_or_else(|text| panic!("cut at {cut}: {text}"));
        assert_eq!((get(&mut server, "a"), get(&mut server, "b")), (Some("1".to_owned()), None), "{cut}");
        run(&mut server, &["SET", "new", "5"]);
        drop(server);
        let mut again =
            load(folder.path()).unwrap_or_else(|text| panic!("cut at {cut}, second start: {text}"));
        assert_eq!(get(&mut again, "new"), Some("5".to_owned()), "cut at {cut}");
    }
}

#[test]
fn a_snapshot_alone_becomes_a_first_aof() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut first = load(folder.path()).expect("nothing is there yet");
    run(&mut first, &["SET", "a", "1"]);
    // The base of an AOF is a snapshot: take one as dump.rdb.
    let options =
        first.aof_base_options(folder.path().join("dump.rdb"), tine::persist::rdb::save::Walk::Tables);
    let mut link = tine::persist::child::ChildLink::disconnected();
    let storage = first.persistence.aof.storage();
    tine::persist::aof::base::write(
        storage,
        &first.keyspace,
        &mut link,
        &options,
        &folder.path().join("dump.rdb"),
    )
    .expect("the folder is writable");
    drop(first);
    std::fs::remove_file(folder.path().join(FILE)).expect("it was written");
    let mut second = load(folder.path()).expect("the snapshot loads");
    assert_eq!(get(&mut second, "a"), Some("1".to_owned()));
    drop(second);
    std::fs::remove_file(folder.path().join("dump.rdb")).expect("it is there");
    let mut third = load(folder.path()).expect("the AOF stands alone");
    assert_eq!(get(&mut third, "a"), Some("1".to_owned()));
}

/// Libraries cannot be run yet, but they are somebody's: the first base of a log keeps them.
#[test]
fn function_libraries_survive_the_first_log() {
    for preamble in [true, false] {
        let disk = MemoryStorage::new();
        let change = |config: &mut Config| config.aof_use_rdb_preamble = preamble;
        let library = b"#!lua name=lib\nserver.register_function('f', function() return 1 end)".to_vec();
        let mut first = start(&disk).expect("an empty disk");
        first.persistence.snapshot.functions = vec![library.clone()];
        assert_eq!(run_all(&mut first, &[&["SET", "a", "1"], &["SAVE"]]), "+OK\r\n+OK\r\n");
        drop(first);
        disk.remove(&Path::new("/").join(FILE)).expect("it was opened");
        drop(start_on(Arc::new(disk.clone()), change).expect("the snapshot becomes a log"));
        disk.remove(Path::new("/dump.rdb")).expect("it was saved");
        let mut again = start_on(Arc::new(disk.clone()), change).expect("the log stands alone");
        assert_eq!(again.persistence.snapshot.functions, [library], "preamble {preamble}");
        assert_eq!(get(&mut again, "a"), Some("1".to_owned()));
    }
}

#[test]
fn a_folder_of_redis_7_is_taken_over_and_two_forms_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let parts = folder.path().join("appendonlydir");
    std::fs::create_dir(&parts).expect("the folder is writable");
    let manifest =
        "file appendonly.aof.1.base.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    let write = |name: &str, content: &str| {
        std::fs::write(parts.join(name), content).expect("the folder is writable")
    };
    write("appendonly.aof.manifest", manifest);
    write("appendonly.aof.1.base.aof", &set("a", "1"));
    write("appendonly.aof.1.incr.aof", &format!("{}{}", set("b", "2"), &set("c", "3")[..9]));
    let mut server = load(folder.path()).expect("it is taken over");
    assert_eq!((get(&mut server, "a"), get(&mut server, "b")), (Some("1".to_owned()), Some("2".to_owned())));
    assert!(!parts.exists(), "the folder is set aside");
    drop(server);
    let mut again = load(folder.path()).expect("our own file is there");
    assert_eq!(get(&mut again, "b"), Some("2".to_owned()));
    drop(again);
    std::fs::create_dir(&parts).expect("the folder is writable");
    write("appendonly.aof.manifest", manifest);
    let text = failure(folder.path());
    assert!(text.contains("two append only files") && text.contains("appendonly.aof.manifest"), "{text}");
}
