//! BACKUP and tine-backup with real servers and files: backups under load, the restore drill, kills.
//!
//! The retention rule has its tests in src/tools/backup/retention.rs, faults of the disk in
//! src/persist/backup/tests.rs, crash states in tests/crash_states.rs.

mod common;

use common::{Client, Reply, Server, new_folder, wait_until};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tine::persist::backup::job::read_manifest;
use tine::persist::backup::manifest::{BackupFile, BackupKind, Manifest};
use tine::sys::io::{OsStorage, Storage};

const DEADLINE: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;
const START_MS: i64 = 1_700_000_000_000;

fn tool(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_tine-backup");
    Command::new(program).args(arguments).env_remove("REDISCLI_AUTH").output().expect("the tool was built")
}

/// Runs the tool, which must end with this status; returns its output.
#[track_caller]
fn tool_ends(status: i32, arguments: &[&str]) -> String {
    let output = tool(arguments);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
    text
}

fn backups_in(dir: &Path) -> Vec<String> {
    let names = OsStorage.list_dir(dir).unwrap_or_default();
    let names = names.into_iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("backup-")).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn info(client: &mut Client, field: &str) -> String {
    let all = client.call(&["INFO", "persistence"]).text();
    let line = all.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned));
    line.unwrap_or_else(|| panic!("INFO has {field}"))
}

/// Starts a backup and waits for its end. Returns its name.
#[track_caller]
fn backup(client: &mut Client, words: &[&str]) -> String {
    let name = client.call(&[&["BACKUP", "TO"], words].concat());
    assert!(!name.is_error(), "{name:?}");
    wait_until("the end of the backup", DEADLINE, || info(client, "backup_in_progress") == "0");
    assert_eq!(info(client, "backup_last_error"), "");
    assert_eq!(info(client, "backup_last_name"), name.text());
    name.text()
}

/// Loads a backup with a server of its own: the list `log` must be 1, 2, 3 ... Returns its length.
#[track_caller]
fn length_in(dir: &Path, name: &str) -> i64 {
    let folder = new_folder();
    tool_ends(0, &["restore", name, "--dir", text(dir), "--to", text(folder.path())]);
    let log = folder.path().join("appendonly.aof").exists();
    let server = Server::start(
        common::Program::Tine,
        folder,
        &["appendonly yes", if log { "aof-load-truncated no" } else { "" }],
    );
    let mut client = server.client();
    let length = client.call(&["LLEN", "log"]).int();
    // In pieces: the client reads a reply from its beginning for each block that arrives.
    for start in (0..length).step_by(1000) {
        let part = client.call(&["LRANGE", "log", &start.to_string(), &(start + 999).to_string()]);
        for (number, item) in (start + 1..).zip(part.items()) {
            assert_eq!(item.text(), number.to_string(), "{name}: a hole");
        }
    }
    length
}

/// Appends 1, 2, 3 ... to a list; `acknowledged` is the last number whose reply came.
fn write_until(stop: &AtomicBool, acknowledged: &AtomicI64, port: u16) {
    let mut client = Client::connect(port);
    while !stop.load(Ordering::SeqCst) {
        let next = acknowledged.load(Ordering::SeqCst) + 1;
        let burst: Vec<Vec<String>> = (next..next + 8)
            .map(|number| vec!["RPUSH".to_owned(), "log".to_owned(), number.to_string()])
            .collect();
        let last = client.pipeline(&burst).last().map_or(0, Reply::int);
        acknowledged.store(last, Ordering::SeqCst);
    }
}

/// Backups of a server that is written to while `disturb` rewrites or saves. Each must hold what was
/// acknowledged before it was asked for. Goes on until some have met a child at work.
fn backups_under_load(directives: &[&str], words: &[&[&str]], disturb: &str, flag: &str) {
    let server = Server::tine(directives);
    let dir = server.dir().join("backups");
    let mut client = server.client();
    let filler = "v".repeat(300);
    for block in 0..40 {
        let sets: Vec<Vec<String>> = (0..500)
            .map(|number| vec!["SET".to_owned(), format!("k{block}:{number}"), filler.clone()])
            .collect();
        client.pipeline(&sets);
    }
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let writer = {
        let (stop, acknowledged, port) = (Arc::clone(&stop), Arc::clone(&acknowledged), server.port());
        std::thread::spawn(move || write_until(&stop, &acknowledged, port))
    };
    let mut taken = Vec::new();
    let mut met = 0;
    let deadline = Instant::now() + DEADLINE;
    let mut round = 0;
    while round < words.len() * 3 || met == 0 {
        assert!(Instant::now() < deadline || met > 0, "no backup of {round} has met a child at work");
        let started = client.call(&[disturb]);
        assert!(!started.is_error() || started.text().contains("progress"), "{started:?}");
        // Other rounds meet the child later, or its end.
        let pause = Instant::now() + Duration::from_millis(7 * (round as u64 / words.len() as u64 % 3));
        while Instant::now() < pause {
            client.call(&["PING"]);
        }
        met += usize::from(info(&mut client, flag) == "1");
        let before = acknowledged.load(Ordering::SeqCst);
        let name = backup(&mut client, &[&[text(&dir)], words[round % words.len()]].concat());
        taken.push((name, before));
        wait_until("the end of the child", DEADLINE, || info(&mut client, flag) == "0");
        round += 1;
    }
    stop.store(true, Ordering::SeqCst);
    writer.join().expect("the writer ends");
    let names: Vec<&str> = taken.iter().map(|(name, _)| name.as_str()).collect();
    tool_ends(0, &[&["verify", "--dir", text(&dir)][..], &names].concat());
    for (name, before) in &taken {
        let found = length_in(&dir, name);
        assert!(found >= *before, "{name}: {before} were acknowledged before it, {found} are in it");
    }
    assert!(taken.last().expect("some were taken").1 > 100, "the writer wrote");
}

#[test]
fn r15_backups_of_the_log_during_rewrites_hold_what_was_acknowledged() {
    let words: [&[&str]; 2] = [&[], &["AOF", "COPY"]];
    let directives = ["appendonly yes", "appendfsync everysec", "auto-aof-rewrite-percentage 0"];
    backups_under_load(&directives, &words, "BGREWRITEAOF", "aof_rewrite_in_progress");
}

#[test]
fn r15_backups_by_snapshot_during_saves_hold_what_was_acknowledged() {
    let words: [&[&str]; 2] = [&["RDB"], &["RDB", "COPY"]];
    let directives = ["appendonly no", "rdb-key-save-delay -400"];
    backups_under_load(&directives, &words, "BGSAVE", "rdb_bgsave_in_progress");
}

/// A folder as `take` makes it, dated as told.
fn make_backup(dir: &Path, unix_ms: i64) -> String {
    let name = tine::persist::backup::name_at(unix_ms);
    let folder = dir.join(&name);
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    // CRC-64/XZ of nothing is 0.
    let files = vec![BackupFile { name: "appendonly.aof".to_owned(), bytes: 0, crc: 0 }];
    let manifest = Manifest {
        keys: Some(0),
        expires: Some(0),
        field_expires: Some(0),
        files,
        ..Manifest::begun(BackupKind::Log, unix_ms, "0.1.0")
    };
    std::fs::write(folder.join("appendonly.aof"), b"").expect("write");
    std::fs::write(folder.join("MANIFEST"), manifest.to_text()).expect("write");
    name
}

#[test]
fn r15_old_backups_are_pruned_by_the_hour_and_the_day() {
    let folder = new_folder();
    let dir = folder.path();
    let mut names: Vec<String> = (0..100).map(|hour| make_backup(dir, START_MS + hour * HOUR_MS)).collect();
    let dry = tool_ends(0, &["prune", "--dir", text(dir), "--dry-run"]);
    assert_eq!(backups_in(dir), names, "a dry run removes nothing");
    assert!(dry.contains(&format!("would remove {}\n", names[0])), "{dry}");
    let text_of = tool_ends(0, &["prune", "--dir", text(dir)]);
    // The hours lie on six days, of which three end before the last 48 hours begin.
    names.retain(|name| text_of.lines().all(|line| line != format!("removed {name}")));
    assert_eq!(backups_in(dir), names);
    assert_eq!(names.len(), 48 + 3, "{text_of}");
    assert!(tool_ends(0, &["prune", "--dir", text(dir)]).contains("removed 0 (0 B), 51 stay"));
    let table = tool_ends(0, &["list", "--dir", text(dir)]);
    assert!(table.lines().count() == 51 + 2 && table.contains("hour, day"), "{table}");
    tool_ends(0, &["prune", "--dir", text(dir), "--keep-hourly", "0", "--keep-daily", "0"]);
    assert_eq!(backups_in(dir), names[50..], "the last good one stays");
}

/// `prune` removes backups, and nothing that only looks like one.
#[test]
fn folders_of_other_people_are_never_pruned() {
    let (folder, elsewhere) = (new_folder(), new_folder());
    let dir = folder.path();
    let names: Vec<String> = (0..3).map(|day| make_backup(dir, START_MS + day * 24 * HOUR_MS)).collect();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(1000 * 86_400);
    let foreign = ["backup-photos", ".incomplete-upload", ".incomplete-backup-photos", "backup-20201231"];
    for name in foreign {
        let path = dir.join(name);
        std::fs::create_dir(&path).expect("mkdir");
        std::fs::write(path.join("p.jpg"), b"x").expect("write");
        for path in [path.join("p.jpg"), path] {
            std::fs::File::open(path).and_then(|file| file.set_modified(long_ago)).expect("our own file");
        }
    }
    // An old backup to which somebody has added a file, and a link to another place.
    std::fs::write(dir.join(&names[0]).join("notes.txt"), b"x").expect("write");
    let linked = make_backup(elsewhere.path(), START_MS - 1);
    std::os::unix::fs::symlink(elsewhere.path().join(&linked), dir.join(&linked)).expect("symlink");
    let prune = ["prune", "--dir", text(dir), "--keep-hourly", "1", "--keep-daily", "0"];
    let said = tool_ends(1, &prune);
    assert!(said.contains("notes.txt in it is no file of a backup"), "{said}");
    assert!(said.contains(&format!("{linked} is left alone: it is no folder")), "{said}");
    assert!(said.contains(&format!("removed {}\n", names[1])), "{said}");
    for path in foreign.map(|name| dir.join(name).join("p.jpg")) {
        assert!(path.exists(), "{}", path.display());
    }
    assert!(elsewhere.path().join(&linked).join("MANIFEST").exists());
    assert!(dir.join(&names[0]).join("MANIFEST").exists() && !dir.join(&names[1]).exists());
}

/// A disk that cannot be read, or a right that is missing, is no damage.
#[test]
fn what_cannot_be_read_is_neither_marked_nor_pruned() {
    let folder = new_folder();
    let dir = folder.path();
    let old = make_backup(dir, START_MS);
    make_backup(dir, START_MS + 100 * HOUR_MS);
    // A folder in the file's place cannot be read, by root neither (EISDIR).
    let manifest = dir.join(&old).join("MANIFEST");
    let content = std::fs::read(&manifest).expect("read");
    std::fs::remove_file(&manifest).and_then(|()| std::fs::create_dir(&manifest)).expect("mkdir");
    // Without a manifest a backup is as old as its folder.
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(20_000 * 86_400);
    let touched = std::fs::File::open(dir.join(&old)).and_then(|folder| folder.set_modified(long_ago));
    touched.expect("our own folder");
    let said = tool_ends(1, &["verify", &old, "--dir", text(dir)]);
    assert!(said.contains("NOT CHECKED") && !dir.join(&old).join("VERIFIED").exists(), "{said}");
    let prune = ["prune", "--dir", text(dir), "--keep-hourly", "1", "--keep-daily", "0"];
    assert!(tool_ends(1, &prune).contains("cannot be read"));
    assert!(tool_ends(0, &["list", "--dir", text(dir)]).contains("NOT READ"));
    std::fs::remove_dir(&manifest).and_then(|()| std::fs::write(&manifest, content)).expect("write");
    tool_ends(0, &["verify", &old, "--dir", text(dir)]);
    tool_ends(0, &prune);
    assert!(!dir.join(&old).exists());
}

#[test]
fn the_tool_takes_checks_restores_and_rehearses() {
    let server = Server::tine(&["appendonly yes", "requirepass secret", "databases 20"]);
    let mut client = server.client();
    client.ok(&["AUTH", "secret"]);
    for number in 0..50 {
        client.ok(&["SET", &format!("k{number}"), "v"]);
    }
    client.ok(&["SELECT", "19"]);
    client.ok(&["SET", "far", "away", "EX", "1000"]);
    let (dir, password) = (server.dir().join("backups"), server.dir().join("password"));
    std::fs::write(&password, "secret\n").expect("write");
    let (dir, port) = (text(&dir), server.port().to_string());
    let take = ["take", "--dir", dir, "--port", &port];
    assert!(tool_ends(1, &take).contains("NOAUTH"));
    let take = [&take[..], &["--password-file", text(&password)]].concat();
    let said = tool_ends(0, &take);
    assert!(said.contains("aof") && said.contains("51 keys") && said.contains("verified"), "{said}");
    let prune = ["--kind", "rdb", "--prune", "--keep-hourly", "1", "--keep-daily", "0"];
    tool_ends(0, &[&take[..], &prune].concat());
    assert_eq!(backups_in(Path::new(dir)).len(), 1, "the newer one stays");
    tool_ends(0, &take);
    for name in backups_in(Path::new(dir)) {
        let drill = tool_ends(0, &["drill", &name, "--dir", dir, "--work", text(server.dir())]);
        assert!(drill.contains("51 of 51, 1 of them with a time to live"), "{drill}");
    }
    // Longer than the address of a socket may be.
    let deep = server.dir().join("w".repeat(120));
    std::fs::create_dir(&deep).expect("mkdir");
    tool_ends(0, &["drill", "--dir", dir, "--work", text(&deep), "--timeout", "60"]);
    let left = OsStorage.list_dir(server.dir()).expect("list");
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("drill")), "{left:?}");
    // The folder of a server that runs is left alone.
    let live = tool_ends(1, &["restore", "--dir", dir, "--to", text(server.dir()), "--force"]);
    assert!(live.contains(&format!("process id {}", server.pid())), "{live}");
    // A folder with data is left alone, unless told otherwise.
    let to = new_folder();
    std::fs::write(to.path().join("appendonly.aof"), b"precious").expect("write");
    let restore = ["restore", "--dir", dir, "--to", text(to.path())];
    assert!(tool_ends(1, &restore).contains("is not empty"));
    std::fs::create_dir(to.path().join("redis-aof")).expect("mkdir");
    let said = tool_ends(0, &[&restore[..], &["--force", "--appenddirname", "redis-aof"]].concat());
    assert!(said.contains("appendonly yes") && said.contains("databases 20"), "{said}");
    assert!(!to.path().join("redis-aof").exists() && said.contains("was set aside as"), "{said}");
    let aside = OsStorage.list_dir(to.path()).expect("list");
    let aside = aside.iter().find(|name| name.to_string_lossy().contains("before-restore"));
    let aside = to.path().join(aside.expect("the old file was set aside"));
    assert_eq!(std::fs::read(aside).expect("read"), b"precious");
}

#[test]
fn damage_is_found_by_verify_restore_and_drill() {
    let server = Server::tine(&["appendonly yes"]);
    let mut client = server.client();
    client.ok(&["SET", "a", "1"]);
    let dir = server.dir().join("backups");
    let name = backup(&mut client, &[text(&dir)]);
    let folder = dir.join(&name);
    let (data, dir) = (folder.join("appendonly.aof"), text(&dir));
    let good = std::fs::read(&data).expect("read");
    tool_ends(0, &["verify", "--dir", dir]);
    let mut bad = good.clone();
    bad[good.len() - 3] ^= 1;
    std::fs::write(&data, &bad).expect("write");
    let to = new_folder();
    assert!(tool_ends(3, &["restore", "--dir", dir, "--to", text(to.path())]).contains("damaged"));
    assert_eq!(OsStorage.list_dir(to.path()).expect("list").len(), 0, "nothing is left in the folder");
    // What is in use is not touched for a backup that is damaged.
    std::fs::write(to.path().join("appendonly.aof"), b"precious").expect("write");
    tool_ends(3, &["restore", "--dir", dir, "--to", text(to.path()), "--force"]);
    assert_eq!(OsStorage.list_dir(to.path()).expect("list"), ["appendonly.aof"]);
    assert_eq!(std::fs::read(to.path().join("appendonly.aof")).expect("read"), b"precious");
    assert!(tool_ends(3, &["verify", "--dir", dir]).contains("DAMAGED"));
    assert!(tool_ends(1, &["drill", "--dir", dir]).contains("no good backup"));
    assert!(tool_ends(0, &["list", "--dir", dir]).contains("DAMAGED"));
    std::fs::write(&data, &good).expect("write");
    tool_ends(0, &["verify", &name["backup-".len()..], "--dir", dir]);
    // A backup that lacks keys: the drill counts.
    let manifest = read_manifest(&OsStorage, &folder).expect("it is whole");
    let more = Manifest { keys: Some(5), ..manifest.clone() };
    std::fs::write(folder.join("MANIFEST"), more.to_text()).expect("write");
    assert!(tool_ends(3, &["drill", "--dir", dir]).contains("1 keys were found"));
    // Four of them were hashes whose fields may have expired since.
    let fields = Manifest { keys: Some(5), field_expires: Some(4), ..manifest };
    std::fs::write(folder.join("MANIFEST"), fields.to_text()).expect("write");
    assert!(tool_ends(0, &["drill", "--dir", dir]).contains("4 hashes with fields"));
    std::fs::remove_file(folder.join("MANIFEST")).expect("remove");
    tool_ends(3, &["verify", "--dir", dir]);
}

#[test]
fn hooks_run_once_a_day_and_their_failure_is_told() {
    let source = new_folder();
    std::fs::write(source.path().join("appendonly.aof"), b"*1\r\n$4\r\nPING\r\n").expect("write");
    let folder = new_folder();
    let (dir, notes) = (folder.path().join("backups"), folder.path().join("notes"));
    let (dir, hook) = (text(&dir), format!("echo $TINE_BACKUP_NAME >> {}", notes.display()));
    let take = ["take", "--dir", dir, "--offline", text(source.path())];
    let said = tool_ends(4, &[&take[..], &["--hook", "exit 7"]].concat());
    assert!(said.contains("exit status: 7"), "{said}");
    assert_eq!(backups_in(Path::new(dir)).len(), 1, "the backup stays");
    for _ in 0..2 {
        tool_ends(0, &[&take[..], &["--hook", &hook]].concat());
    }
    let said = tool_ends(0, &["offsite", "--dir", dir, "--hook", &hook]);
    let day = |name: &String| name[..15].to_owned();
    let names = backups_in(Path::new(dir));
    let one_day = day(&names[0]) == day(&names[2]);
    let lines = || std::fs::read_to_string(&notes).expect("read").lines().count();
    assert!(lines() == 1 && said.contains("off site already") || !one_day, "{said}");
    tool_ends(0, &["offsite", "--dir", dir, "--hook", &hook, "--hook-when", "always"]);
    assert!(lines() >= 2);
    let table = tool_ends(0, &["list", "--dir", dir]);
    assert!(table.contains("OFF SITE") && table.contains(" s\n"), "{table}");
}

#[test]
fn files_of_a_stopped_server_are_taken_only_when_it_is_clear_which() {
    let (source, folder) = (new_folder(), new_folder());
    let take = ["take", "--dir", text(folder.path()), "--offline", text(source.path())];
    assert!(tool_ends(1, &take).contains("holds no data file"));
    let server = Server::tine(&["appendonly yes"]);
    server.client().ok(&["SET", "a", "1"]);
    server.client().ok(&["SAVE"]);
    for name in ["appendonly.aof", "dump.rdb"] {
        std::fs::copy(server.dir().join(name), source.path().join(name)).expect("copy");
    }
    let newer = std::time::SystemTime::now() + Duration::from_secs(5);
    let touch = |name: &str| {
        let file = std::fs::File::options().append(true).open(source.path().join(name)).expect("open");
        file.set_modified(newer).expect("our own file");
    };
    touch("dump.rdb");
    assert!(tool_ends(1, &take).contains("choose with --kind"));
    let said = tool_ends(0, &[&take[..], &["--kind", "rdb"]].concat());
    assert!(said.contains("rdb") && said.contains("1 keys"), "{said}");
    touch("appendonly.aof");
    assert!(tool_ends(0, &take).contains("aof"));
    assert!(
        tool_ends(0, &["drill", "--dir", text(folder.path())]).contains("1 (the manifest names no number)")
    );
    std::fs::create_dir(source.path().join("appendonlydir")).expect("mkdir");
    assert!(tool_ends(1, &take).contains("Redis 7"));
}

#[test]
fn a_kill_during_a_backup_leaves_nothing_that_looks_whole() {
    let mut server = Server::tine(&["appendonly yes"]);
    let dir: PathBuf = server.dir().join("backups");
    let mut client = server.client();
    let filler = "v".repeat(20_000);
    for block in 0..20 {
        let sets: Vec<Vec<String>> = (0..100)
            .map(|number| vec!["SET".to_owned(), format!("k{block}:{number}"), filler.clone()])
            .collect();
        client.pipeline(&sets);
    }
    let (mut torn, mut round) = (0, 0);
    let deadline = Instant::now() + DEADLINE;
    while round < 8 || torn == 0 {
        assert!(Instant::now() < deadline || torn > 0, "no kill of {round} has met a backup at work");
        let mut client = server.client();
        client.call(&["BACKUP", "TO", text(&dir)]);
        let end = Instant::now() + Duration::from_millis(round % 8 * 12);
        while Instant::now() < end {
            client.call(&["PING"]);
        }
        server.kill();
        let all = OsStorage.list_dir(&dir).unwrap_or_default();
        torn += all.iter().filter(|name| name.to_string_lossy().starts_with(".incomplete-")).count();
        let whole = backups_in(&dir);
        if !whole.is_empty() {
            let names: Vec<&str> = whole.iter().map(String::as_str).collect();
            tool_ends(0, &[&["verify", "--dir", text(&dir)][..], &names].concat());
        }
        server.restart();
        round += 1;
    }
    assert_eq!(server.client().call(&["DBSIZE"]).int(), 2000);
}

#[test]
fn the_command_says_what_it_does_and_what_it_cannot() {
    let server = Server::tine(&["appendonly no", "rdb-key-save-delay 100000"]);
    let mut client = server.client();
    let dir = server.dir().join("backups");
    let dir = text(&dir);
    let fails = |client: &mut Client, words: &[&str], reason: &str| {
        let reply = client.call(words);
        assert!(reply.is_error() && reply.text().contains(reason), "{words:?}: {reply:?}");
    };
    fails(&mut client, &["BACKUP", "TO", dir, "AOF"], "no append only file that is on");
    fails(&mut client, &["BACKUP", "TO", dir, "AOF", "RDB"], "syntax error");
    fails(&mut client, &["BACKUP", "TO", ""], "Bad backup directory");
    fails(&mut client, &["BACKUP", "CANCEL"], "No backup is in progress");
    client.ok(&["MULTI"]);
    fails(&mut client, &["BACKUP", "TO", dir], "not allowed inside a transaction");
    fails(&mut client, &["EXEC"], "EXECABORT");
    for number in 0..200 {
        client.ok(&["SET", &format!("k{number}"), "v"]);
    }
    assert!(!client.call(&["BACKUP", "TO", dir]).is_error());
    assert_eq!(info(&mut client, "backup_state"), "saving");
    fails(&mut client, &["BACKUP", "TO", dir], "already in progress");
    client.ok(&["BACKUP", "CANCEL"]);
    assert_eq!(info(&mut client, "backup_last_error"), "it was cancelled");
    assert_eq!(info(&mut client, "backup_last_status"), "err");
    // One that waits for another child.
    assert!(!client.call(&["BGSAVE"]).is_error());
    assert!(!client.call(&["BACKUP", "TO", dir]).is_error());
    assert_eq!(info(&mut client, "backup_state"), "waiting");
    client.ok(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    client.call(&["BGSAVE", "CANCEL"]);
    wait_until("the end of the backup", DEADLINE, || info(&mut client, "backup_in_progress") == "0");
    assert_eq!(info(&mut client, "backup_last_status"), "ok");
    let status = client.call(&["BACKUP", "STATUS"]);
    let status: Vec<String> = status.items().chunks(2).map(|pair| format!("{:?}", pair[0])).collect();
    assert_eq!(status.len(), 9);
    // A folder that cannot be made: told with path and errno, and nothing else is harmed.
    let nowhere = format!("{dir}/no/such");
    client.call(&["BACKUP", "TO", &nowhere]);
    wait_until("the end of the backup", DEADLINE, || info(&mut client, "backup_in_progress") == "0");
    let error = info(&mut client, "backup_last_error");
    assert!(error.contains("mkdir(") && error.contains("os error 2"), "{error}");
    assert_eq!(backups_in(Path::new(dir)).len(), 1);
}

/// The name of the snapshot changes while the child writes it.
#[test]
fn a_backup_holds_the_file_that_its_child_wrote() {
    let server = Server::tine(&["enable-protected-configs yes", "dbfilename old.rdb"]);
    let dir = server.dir().join("backups");
    let mut client = server.client();
    client.ok(&["SET", "key", "value"]);
    client.ok(&["SAVE"]);
    client.ok(&["CONFIG", "SET", "dbfilename", "dump.rdb", "rdb-key-save-delay", "5000"]);
    for number in 0..40 {
        client.ok(&["SET", &number.to_string(), "value"]);
    }
    let name = client.call(&["BACKUP", "TO", text(&dir), "RDB"]).text();
    client.ok(&["CONFIG", "SET", "dbfilename", "old.rdb"]);
    wait_until("the end of the backup", DEADLINE, || info(&mut client, "backup_in_progress") == "0");
    assert_eq!(info(&mut client, "backup_last_error"), "");
    let manifest = read_manifest(&OsStorage, &dir.join(name)).expect("it was taken");
    assert_eq!(manifest.keys, Some(41));
    let forged = format!("{}/x\r\nbackup_last_status:ok", text(&dir));
    assert!(client.call(&["BACKUP", "TO", &forged]).is_error(), "INFO has one field a line");
}
