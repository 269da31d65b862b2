//! The check tools as programs: their words beside those of Redis's tools, conversions that real servers
//! load, and the restore of a log to a point in time.

mod common;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{Client, Program, Reply, Server, corpus, new_folder, require_tool};
use tempfile::TempDir;

const CHECK_AOF: &str = env!("CARGO_BIN_EXE_tine-check-aof");
const CHECK_RDB: &str = env!("CARGO_BIN_EXE_tine-check-rdb");
const SERVER: &str = env!("CARGO_BIN_EXE_tine-server");

/// Damaged logs that both tools look at.
const DAMAGES: u64 = 60;
/// Corpus files that must have been converted and compared with a real server, at least.
const COMPARED_MIN: usize = 60;

fn run<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>, answer: &str) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("start {program}: {e}"));
    let mut input = child.stdin.take().expect("it is piped");
    // A tool that asks nothing may have ended.
    let _ = input.write_all(answer.as_bytes());
    drop(input);
    child.wait_with_output().unwrap_or_else(|e| panic!("wait for {program}: {e}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {}", text(output)))
}

fn command(words: &[&str]) -> String {
    let arguments: Vec<String> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{}", words.len(), arguments.concat())
}

fn file(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("the folder is writable");
    path
}

/// A small log of every kind of item.
fn log() -> String {
    [
        "#TS:1700000000\r\n".to_owned(),
        command(&["SELECT", "0"]),
        command(&["SET", "a", "1"]),
        command(&["MULTI"]),
        command(&["RPUSH", "list", "x", "y"]),
        command(&["EXEC"]),
        "#TS:1700000100\r\n".to_owned(),
        command(&["SET", "b", "some value"]),
    ]
    .concat()
}

/// A reproducible damage: a cut, a changed, missing or additional byte.
fn damaged(log: &str, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bytes = log.as_bytes().to_vec();
    let at = rng.usize(..bytes.len());
    match rng.u8(..5) {
        0 | 1 => bytes.truncate(at),
        2 => bytes[at] ^= 1 << rng.u8(..7),
        3 => drop(bytes.remove(at)),
        _ => bytes.insert(at, rng.u8(..)),
    }
    bytes
}

#[test]
fn a_damaged_log_is_described_as_by_redis_check_aof() {
    if !require_tool("redis-check-aof") {
        return;
    }
    let folder = new_folder();
    let mut compared = 0;
    for seed in 0..DAMAGES {
        let path = file(&folder, "a.aof", &damaged(&log(), seed));
        let theirs = run("redis-check-aof", [&path], "");
        let ours = run(CHECK_AOF, [&path], "");
        let (their_text, our_text) = (text(&theirs), text(&ours));
        // What Redis's tool takes for right (a # line without an end) or shows from beyond its buffer.
        if our_text.contains("line that begins with #") || our_text.contains("in the middle of a line") {
            continue;
        }
        assert_eq!(code(&ours), code(&theirs), "seed {seed}: {our_text}\n{their_text}");
        let mut lines = our_text.lines();
        let all_there = their_text.lines().all(|line| lines.any(|own| own == line));
        assert!(all_there || our_text.contains("Not a command"), "seed {seed}: {our_text}\n{their_text}");
        compared += 1;
    }
    assert!(compared > DAMAGES * 2 / 3, "{compared}");
}

#[test]
fn a_fix_asks_keeps_what_it_cuts_and_leaves_a_good_file() {
    let folder = new_folder();
    let whole = log();
    let path = file(&folder, "a.aof", format!("{whole}*3\r\n$3\r\nSE").as_bytes());
    let refused = run(CHECK_AOF, [OsStr::new("--fix"), path.as_os_str()], "n\n");
    assert_eq!((code(&refused), text(&refused).contains("Aborting...")), (1, true), "{}", text(&refused));
    let fixed = run(CHECK_AOF, [OsStr::new("--fix"), path.as_os_str()], "y\n");
    assert_eq!(code(&fixed), 0, "{}", text(&fixed));
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), whole);
    let kept = std::fs::read_dir(folder.path()).expect("it is there").flatten();
    let kept: Vec<PathBuf> =
        kept.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains(".cut-")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::read(&kept[0]).expect("it is there"), b"*3\r\n$3\r\nSE");
    let good = json(&run(CHECK_AOF, [OsStr::new("--json"), path.as_os_str()], ""));
    assert_eq!(good["ok"], true, "{good}");
    let part = &good["files"][0];
    assert_eq!((&part["commands"], &part["transactions"]), (&6.into(), &1.into()), "{good}");
    assert_eq!(part["last_timestamp"], 1_700_000_100, "{good}");
}

#[test]
fn json_names_the_place_of_the_damage() {
    let folder = new_folder();
    let whole = log();
    let path = file(&folder, "a.aof", whole.replace("$4\r\nlist", "$5\r\nlist").as_bytes());
    let output = run(CHECK_AOF, [OsStr::new("--json"), path.as_os_str()], "");
    let found = json(&output);
    let multi = whole.find("*1\r\n$5\r\nMULTI").expect("it is there") as u64;
    assert_eq!((code(&output), &found["files"][0]["good_bytes"]), (1, &multi.into()), "{found}");
    assert!(found["files"][0]["problem"]["offset"].as_u64() > Some(multi), "{found}");
    let asked = run(CHECK_AOF, [OsStr::new("--json"), OsStr::new("--fix"), path.as_os_str()], "y\n");
    assert_eq!(code(&asked), 1, "it cannot ask: {}", text(&asked));
    let fixed =
        run(CHECK_AOF, [OsStr::new("--json"), "--fix".as_ref(), "--yes".as_ref(), path.as_os_str()], "");
    assert_eq!(json(&fixed)["files"][0]["cut_at"], multi, "{}", text(&fixed));
}

#[test]
fn only_the_last_part_of_a_folder_is_cut() {
    let folder = new_folder();
    file(&folder, "base", command(&["SET", "a", "1"]).as_bytes());
    file(&folder, "incr1", b"*1\r\n$4\r\nPI");
    file(&folder, "incr2", command(&["SET", "b", "2"]).as_bytes());
    let manifest = "file base seq 1 type b\nfile incr1 seq 1 type i\nfile incr2 seq 2 type i\n";
    let manifest = file(&folder, "a.manifest", manifest.as_bytes());
    let output = run(CHECK_AOF, [OsStr::new("--fix"), folder.path().as_os_str()], "y\n");
    assert!(
        text(&output).contains("Failed to truncate AOF incr1 because it is not the last file"),
        "{}",
        text(&output)
    );
    file(&folder, "incr1", b"");
    let output = run(CHECK_AOF, [&manifest], "");
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert!(text(&output).contains("INCR AOF incr1 is empty"), "{}", text(&output));
    assert!(text(&output).ends_with("All AOF files and manifest are valid\n"), "{}", text(&output));
}

#[test]
fn a_log_is_cut_at_a_date() {
    let folder = new_folder();
    let path = file(&folder, "a.aof", log().as_bytes());
    let date = "2023-11-14T22:14:00Z"; // 40 seconds behind the first time stamp
    let output = run(CHECK_AOF, [OsStr::new("--truncate-to-timestamp"), date.as_ref(), path.as_os_str()], "");
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert!(text(&output).contains("to timestamp 1700000040"), "{}", text(&output));
    let left = std::fs::read_to_string(&path).expect("it is there");
    assert!(left.ends_with("EXEC\r\n") && log().starts_with(&left), "{left}");
    let bad = run(CHECK_AOF, [OsStr::new("--truncate-to-timestamp"), "soon".as_ref(), path.as_os_str()], "");
    assert!(code(&bad) == 1 && text(&bad).starts_with("Invalid timestamp, aborting..."), "{}", text(&bad));
}

/// The server writes checksums; the tool and the server find one flipped bit, Redis skips the lines.
#[test]
fn a_flipped_bit_under_a_checksum_is_found() {
    let directives =
        ["appendonly yes", "aof-checksum yes", "aof-timestamp-enabled yes", "appendfsync always"];
    let mut ours = Server::tine(&directives);
    for number in 0..20 {
        ours.client().ok(&["SET", &format!("key{number}"), "value"]);
    }
    ours.stop();
    let path = ours.dir().join("appendonly.aof");
    let good = std::fs::read(&path).expect("it was written");
    let checked = json(&run(CHECK_AOF, [OsStr::new("--json"), path.as_os_str()], ""));
    assert_eq!((&checked["ok"], &checked["files"][0]["checksums"]), (&true.into(), &20.into()), "{checked}");
    if let Some(redis) = Program::redis() {
        let folder = new_folder();
        std::fs::copy(&path, folder.path().join("appendonly.aof")).expect("the folder is writable");
        let theirs = Server::start(redis, folder, &["appendonly yes"]);
        assert_eq!(theirs.client().call(&["DBSIZE"]), Reply::Int(20));
    }
    let place = good.windows(5).position(|bytes| bytes == b"key11").expect("it is there") + 4;
    let mut flipped = good.clone();
    flipped[place] ^= 8;
    std::fs::write(&path, &flipped).expect("the folder is writable");
    let line = good[..place].windows(4).rposition(|bytes| bytes == b"#CS:").expect("it is covered") as u64;
    let checked = json(&run(CHECK_AOF, [OsStr::new("--json"), path.as_os_str()], ""));
    assert_eq!(checked["files"][0]["problem"]["offset"], line, "{checked}");
    assert!(checked["messages"].to_string().contains("Wrong checksum of the"), "{checked}");
    let failure = ours.try_restart().expect_err("the log is damaged");
    assert!(failure.log.contains(&format!("damage at offset {line};")), "{}", failure.log);
}

fn convert(options: &[&str], input: &Path, output: &Path) -> Output {
    let mut args: Vec<&OsStr> = vec![OsStr::new("--json"), OsStr::new("--convert"), output.as_os_str()];
    args.extend(options.iter().map(OsStr::new));
    args.push(input.as_os_str());
    run(CHECK_RDB, args, "")
}

fn digest(client: &mut Client) -> String {
    client.call(&["DEBUG", "DIGEST"]).text()
}

/// What a real server makes of a file that it loads in place of its data.
fn digest_of_rdb(server: &Server, path: &Path) -> String {
    std::fs::copy(path, server.dir().join("dump.rdb")).expect("the folder is writable");
    let mut client = server.client();
    let reply = client.call(&["DEBUG", "RELOAD", "NOSAVE"]);
    assert_eq!(reply, Reply::Simple("OK".to_owned()), "{}: {}", path.display(), server.log());
    digest(&mut client)
}

/// What a real server makes of commands that are sent to it.
fn digest_of_commands(server: &Server, path: &Path) -> String {
    let mut client = server.client();
    client.ok(&["FLUSHALL"]);
    client.ok(&["FUNCTION", "FLUSH"]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("the server runs");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out can be set");
    stream.write_all(&std::fs::read(path).expect("it was written")).expect("the server reads");
    stream.write_all(command(&["ECHO", "the end of it"]).as_bytes()).expect("the server reads");
    let mut replies = Vec::new();
    let mut block = [0; 4096];
    while !replies.ends_with(b"the end of it\r\n") {
        let count = stream.read(&mut block).expect("the server answers");
        assert!(count > 0, "{}", path.display());
        replies.extend_from_slice(&block[..count]);
    }
    let errors: Vec<&[u8]> =
        replies.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"-")).collect();
    assert!(errors.is_empty(), "{}: {}", path.display(), String::from_utf8_lossy(errors[0]));
    digest(&mut client)
}

/// Every recorded snapshot, converted for Redis 7.0 and 6.2 and into commands, holds the same there.
#[test]
fn converted_files_hold_the_same_in_redis() {
    let Some(corpus) = corpus() else { return };
    let Some(redis) = Server::redis(&["enable-debug-command yes"]) else { return };
    // 7.2 has another format of scores, in its digest too.
    let info = redis.client().call(&["INFO", "server"]).text();
    let is_old = ["redis_version:6.", "redis_version:7.0."].iter().any(|version| info.contains(version));
    let folder = new_folder();
    let mut compared = 0;
    for file in corpus.files.iter().filter(|file| file.kind == "rdb") {
        let checked = json(&run(
            CHECK_RDB,
            ["--json", "--stats"].map(OsStr::new).into_iter().chain([file.path.as_os_str()]),
            "",
        ));
        let has_scores = checked["stats"]["encodings"].to_string().contains("zset");
        if checked["ok"] == false {
            let output = convert(&["--force"], &file.path, &folder.path().join("bad"));
            assert_eq!(code(&output), 1, "{}: {}", file.name, text(&output));
            continue;
        }
        for (name, options) in [
            ("v10.rdb", ["--to-version", "10"]),
            ("v9.rdb", ["--to-version", "9"]),
            ("c", ["--format", "commands"]),
        ] {
            let path = folder.path().join(name);
            let done = convert(&[&options[..], &["--force"]].concat(), &file.path, &path);
            if text(&done).contains("module") && code(&done) == 1 {
                break;
            }
            assert_eq!(code(&done), 0, "{} to {name}: {}", file.name, text(&done));
            let done = json(&done);
            // A primary drops what has expired, and 7.0 knows no commands for the expiry of fields.
            if checked["already_expired"] != 0
                || (name == "c" && file.rdb_version.ends_with("12"))
                || file.name.contains("hfe")
                || (is_old && has_scores)
            {
                continue;
            }
            let theirs =
                if name == "c" { digest_of_commands(&redis, &path) } else { digest_of_rdb(&redis, &path) };
            assert_eq!(done["digest"], theirs.as_str(), "{} to {name}: {done}", file.name);
            compared += 1;
        }
    }
    assert!(compared >= COMPARED_MIN, "{compared}");
}

#[test]
fn a_log_becomes_a_snapshot_and_back() {
    let folder = new_folder();
    let log = file(
        &folder,
        "a.aof",
        [log(), command(&["SELECT", "3"]), command(&["SADD", "s", "1", "x"])].concat().as_bytes(),
    );
    let (rdb, commands) = (folder.path().join("b.rdb"), folder.path().join("c.aof"));
    let first = json(&convert(&["--to-version", "9"], &log, &rdb));
    assert_eq!(
        (&first["keys"], &first["databases"], &first["verified"]),
        (&4.into(), &2.into(), &true.into()),
        "{first}"
    );
    let second = json(&convert(&["--format", "commands"], &rdb, &commands));
    assert_eq!(first["digest"], second["digest"], "{second}");
    let again = convert(&[], &commands, &rdb);
    assert!(code(&again) == 1 && text(&again).contains("--force"), "{}", text(&again));
    // A link that leads nowhere is a name in use as well.
    let link = folder.path().join("link.rdb");
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).expect("the folder is writable");
    let refused = convert(&[], &log, &link);
    assert!(code(&refused) == 1 && text(&refused).contains("--force"), "{}", text(&refused));
    assert!(std::fs::symlink_metadata(&link).expect("it stays").is_symlink());
    // As a preamble with commands behind it, and through the folder of Redis 7.
    let mixed = [std::fs::read(&rdb).expect("it is there"), command(&["DEL", "s"]).into_bytes()].concat();
    file(&folder, "base", &mixed);
    file(&folder, "incr", command(&["SET", "c", "3"]).as_bytes());
    file(&folder, "m.manifest", b"file base seq 1 type b\nfile incr seq 1 type i\n");
    let third = json(&convert(&[], folder.path(), &folder.path().join("d.aof")));
    assert_eq!((&third["keys"], &third["ok"]), (&5.into(), &true.into()), "{third}");
    assert!(third["form"].to_string().contains("preamble of RDB version 10"), "{third}");
}

#[test]
fn the_version_names_the_program_that_was_called() {
    let folder = new_folder();
    let link = folder.path().join("redis-check-rdb");
    std::os::unix::fs::symlink(CHECK_RDB, &link).expect("a link can be made");
    let tine = env!("CARGO_PKG_VERSION");
    let said = |program: &str| text(&run(program, ["--version"], ""));
    assert!(
        said(CHECK_AOF).starts_with(&format!("tine-check-aof {tine} (Redis 7.2.")),
        "{}",
        said(CHECK_AOF)
    );
    let linked = said(link.to_str().expect("text"));
    assert!(
        linked.starts_with("redis-check-rdb 7.2.") && linked.ends_with(&format!("(Tine {tine})\n")),
        "{linked}"
    );
}

#[test]
fn what_a_conversion_loses_is_said() {
    let mut server = Server::tine(&["rdb-version 12", "appendonly no"]);
    let mut client = server.client();
    client.call(&["HSET", "h", "f1", "1", "f2", "2", "f3", "3"]);
    client.call(&["HEXPIRE", "h", "10000", "FIELDS", "2", "f1", "f2"]);
    client.call(&["XADD", "x", "1-1", "a", "b"]);
    client.ok(&["SAVE"]);
    server.stop();
    let (dump, out) = (server.dir().join("dump.rdb"), server.dir().join("old.rdb"));
    let refused = convert(&["--to-version", "9", "--lossless"], &dump, &out);
    assert!(
        code(&refused) == 1 && text(&refused).contains("2 hash fields no longer expire"),
        "{}",
        text(&refused)
    );
    assert!(!out.exists(), "nothing is written");
    let done = json(&convert(&["--to-version", "9"], &dump, &out));
    assert_eq!(done["lost"]["field_expiries"], 2, "{done}");
    assert_eq!(done["lost"]["stream_counters"], 1, "{done}");
    let whole = json(&convert(&["--to-version", "12", "--lossless", "--force"], &dump, &out));
    assert_eq!(whole["ok"], true, "{whole}");
    let left: Vec<_> = std::fs::read_dir(server.dir())
        .expect("it is there")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".convert-")), "{left:?}");
}

#[test]
fn a_log_with_scripts_is_refused_with_the_way_out() {
    let folder = common::new_folder();
    for words in [["EVAL", "return 1", "0"], ["function", "LOAD", "#!lua name=l"]] {
        let input =
            file(&folder, "scripts.aof", (command(&["SET", "key", "value"]) + &command(&words)).as_bytes());
        let output = folder.path().join("out.rdb");
        let refused = convert(&[], &input, &output);
        assert_eq!(code(&refused), 1);
        let said = text(&refused);
        for part in [&format!("Unknown command '{}'", words[0]), "(offset 33)", "BGREWRITEAOF", "BGSAVE"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!output.exists());
    }
}

fn timed_log() -> String {
    let mut log = "#TS:1700000000\r\n".to_owned() + &command(&["SELECT", "0"]);
    for (number, time) in [(1, 1_700_000_010), (2, 1_700_000_020), (3, 1_700_000_030)] {
        log += &format!("#TS:{time}\r\n{}", command(&["SET", &format!("key{number}"), "v"]));
    }
    log
}

#[test]
fn a_start_restores_to_a_point_in_time() {
    let folder = new_folder();
    file(&folder, "appendonly.aof", timed_log().as_bytes());
    let directives = ["appendonly yes", "aof-restore-to-timestamp 2023-11-14T22:13:45Z"];
    let mut server = Server::start(Program::Tine, folder, &directives);
    let count = |server: &Server| server.client().call(&["EXISTS", "key1", "key2", "key3"]);
    assert_eq!(count(&server), Reply::Int(2), "{}", server.log());
    let aside = server.dir().join("appendonly.aof.before-restore-1700000025");
    assert_eq!(std::fs::read_to_string(&aside).expect("it is kept"), timed_log());
    server.client().ok(&["SET", "key3", "new"]);
    // The directive is still there; the restore is not done twice.
    server.restart();
    assert_eq!(server.client().call(&["GET", "key3"]), Reply::bulk("new"), "{}", server.log());
    assert!(server.log().contains("that restore was done before"), "{}", server.log());
    // A crash between the copy and the new log: the old log is in place beside its copy.
    server.stop();
    std::fs::copy(&aside, server.dir().join("appendonly.aof")).expect("the folder is writable");
    server.restart();
    assert_eq!(count(&server), Reply::Int(2), "{}", server.log());
}

#[test]
fn a_folder_of_redis_7_is_restored_too() {
    let folder = new_folder();
    let parts = folder.path().join("appendonlydir");
    std::fs::create_dir(&parts).expect("the folder is writable");
    let write =
        |name: &str, content: &str| std::fs::write(parts.join(name), content).expect("it is writable");
    write("appendonly.aof.manifest", "file b seq 1 type b\nfile i1 seq 1 type i\nfile i2 seq 2 type i\n");
    write("b", &command(&["SET", "base", "v"]));
    write("i1", &timed_log());
    write("i2", &format!("#TS:1700000040\r\n{}", command(&["SET", "last", "v"])));
    let server =
        Server::start(Program::Tine, folder, &["appendonly yes", "aof-restore-to-timestamp 1700000010"]);
    let found = server.client().call(&["EXISTS", "base", "key1", "key2", "last"]);
    assert_eq!(found, Reply::Int(2), "{}", server.log());
    assert!(server.dir().join("appendonlydir.before-restore-1700000010/i2").exists());
    assert!(server.dir().join("appendonly.aof").exists());
}

#[test]
fn a_restore_that_cannot_be_done_changes_nothing() {
    let untimed = command(&["SET", "a", "1"]);
    for (content, time, reason) in [
        (timed_log().as_str(), "1600000000", "begins at 2023-11-14T22:13:20Z"),
        (untimed.as_str(), "1700000000", "has no time stamps"),
        (&(timed_log() + "+damage\r\n" + &untimed), "1700000040", "Bad file format"),
    ] {
        let folder = new_folder();
        let path = file(&folder, "appendonly.aof", content.as_bytes());
        let args = ["--port", "0", "--appendonly", "yes", "--aof-restore-to-timestamp", time, "--dir"];
        let output = run(SERVER, args.iter().map(OsStr::new).chain([folder.path().as_os_str()]), "");
        let log = text(&output);
        assert!(code(&output) == 1 && log.contains(reason), "{time}: {log}");
        assert_eq!(std::fs::read(&path).expect("it is there"), content.as_bytes());
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 1, "{time}");
    }
}
