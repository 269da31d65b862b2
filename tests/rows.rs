//! The rows of the requirements that snapshots, the append-only file and their tools must meet, one
//! test a row, each against the real program; and what happens to it when something fails.
//!
//! | file | rows |
//! | --- | --- |
//! | `rows.rs` | R1 to R5: snapshots |
//! | `rows/log.rs` | R6 to R10: the append-only file, loading, the repair tools |
//! | `rows/faults.rs` | children that die or hang, folders and files that go away, the way out |

mod common;
#[path = "rows/faults.rs"]
mod faults;
#[path = "rows/log.rs"]
mod log;

use common::{Client, Reply, Server, wait_until};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);
const IN_PROGRESS: &str = "ERR Background save already in progress";

fn set_some(client: &mut Client, keys: usize, value: &str) {
    for number in 0..keys {
        client.ok(&["SET", &format!("key:{number}"), value]);
    }
}

fn error(text: &str) -> Reply {
    Reply::Error(text.to_owned())
}

/// The process id of the last child that the log names.
fn last_child(server: &Server) -> i32 {
    let log = server.log();
    let line =
        log.lines().rev().find_map(|line| line.split_once("started by pid ")).expect("a child was started");
    line.1.trim().parse().expect("a process id")
}

/// Files of the folder whose name holds `word`.
fn files_with(server: &Server, word: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(server.dir()).expect("the folder is there").flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(word))).collect()
}

#[test]
fn r1_save_points_and_dirty_counter_decide_and_shutdown_saves() {
    let mut server = Server::tine(&["save 3600 1000 1 5"]);
    let mut client = server.client();
    client.call(&["GET", "nothing"]);
    client.call(&["DEL", "nothing"]);
    assert_eq!(server.info("rdb_changes_since_last_save"), "0", "reads and misses change nothing");
    set_some(&mut client, 10, "v");
    wait_until("the save point fires", DEADLINE, || server.info("rdb_saves") == "1");
    server.wait_for_save();
    let first_save = client.call(&["LASTSAVE"]).int();
    client.ok(&["SET", "late", "v"]);
    assert_eq!(server.info("rdb_changes_since_last_save"), "1");
    assert!(server.stop().success());
    server.restart();
    assert_eq!(server.client().call(&["DBSIZE"]), Reply::Int(11), "SIGTERM has saved");
    assert!(server.client().call(&["LASTSAVE"]).int() >= first_save);
    let mut client = server.client();
    client.ok(&["CONFIG", "SET", "save", ""]);
    client.ok(&["SET", "lost", "v"]);
    assert!(server.stop().success());
    server.restart();
    assert_eq!(server.client().call(&["DBSIZE"]), Reply::Int(11), "save \"\" turns it off");
}

#[test]
fn r1_the_shipped_configuration_has_its_three_points() {
    let shipped =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/redis.conf")).expect("it is there");
    let points: Vec<&str> = shipped.lines().filter(|line| line.starts_with("save ")).collect();
    assert_eq!(points, ["save 900 1", "save 300 10", "save 60 10000"]);
    let server = Server::tine(&["save 900 1", "save 300 10", "save 60 10000"]);
    let reply = server.client().call(&["CONFIG", "GET", "save"]);
    assert_eq!(reply.items()[1], Reply::bulk("900 1 300 10 60 10000"));
}

#[test]
fn r2_saves_and_rewrites_exclude_each_other_and_none_is_lost() {
    let server = Server::tine(&["appendonly yes", "save \"\"", "rdb-key-save-delay 20000"]);
    let mut client = server.client();
    set_some(&mut client, 40, "v");
    client.call(&["BGSAVE"]);
    assert_eq!(client.call(&["BGSAVE"]), error(IN_PROGRESS));
    assert_eq!(client.call(&["SAVE"]), error(IN_PROGRESS));
    let queued = client.call(&["BGREWRITEAOF"]).text();
    assert_eq!(queued, "Background append only file rewriting scheduled");
    assert_eq!(server.info("aof_rewrite_scheduled"), "1");
    server.wait_for_save();
    server.wait_for_rewrite();
    assert_eq!(server.info("aof_rewrites"), "1", "the queued rewrite came");
}

#[test]
fn r2_the_pause_after_each_key_holds_both_forms_of_a_rewrite() {
    const KEYS: u32 = 40;
    const PAUSE_US: u32 = 5000;
    for preamble in ["aof-use-rdb-preamble yes", "aof-use-rdb-preamble no"] {
        let delay = format!("rdb-key-save-delay {PAUSE_US}");
        let server = Server::tine(&["appendonly yes", "save \"\"", preamble, &delay]);
        let mut client = server.client();
        set_some(&mut client, KEYS as usize, "v");
        let start = Instant::now();
        assert!(client.call(&["BGREWRITEAOF"]).text().contains("rewriting started"));
        server.wait_for_rewrite();
        let least = Duration::from_micros(u64::from(KEYS * PAUSE_US));
        assert!(start.elapsed() >= least, "{preamble}: over after {:?}", start.elapsed());
    }
}

#[test]
fn r2_a_save_that_meets_a_rewrite_waits_for_it() {
    let server = Server::tine(&["appendonly yes", "save 3600 10000", "rdb-key-save-delay 50000"]);
    let mut client = server.client();
    set_some(&mut client, 40, "v");
    assert!(client.call(&["BGREWRITEAOF"]).text().contains("rewriting started"));
    let refused = client.call(&["BGSAVE"]).text();
    assert!(refused.starts_with("ERR Another child process is active (AOF?)"), "{refused}");
    // An automatic save is due meanwhile, and comes afterwards.
    client.ok(&["CONFIG", "SET", "save", "1 5"]);
    assert_eq!(client.call(&["BGSAVE", "SCHEDULE"]).text(), "Background saving scheduled");
    server.wait_for_rewrite();
    client.ok(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    wait_until("the waiting save", DEADLINE, || server.info("rdb_changes_since_last_save") == "0");
    assert_eq!(server.info("rdb_saves"), "1");
}

#[test]
fn r3_options_of_snapshots_are_followed() {
    let server = Server::tine(&["dbfilename other.rdb", "enable-protected-configs yes"]);
    let mut client = server.client();
    client.ok(&["SET", "key", &"abc".repeat(5000)]);
    client.ok(&["SAVE"]);
    let path = server.dir().join("other.rdb");
    let packed = std::fs::read(&path).expect("it has this name");
    assert!(packed.len() < 2000 && packed[packed.len() - 8..] != [0; 8], "LZF and a checksum");
    client.ok(&["CONFIG", "SET", "rdbcompression", "no"]);
    client.ok(&["SAVE"]);
    assert!(std::fs::metadata(&path).expect("it is there").len() > 15_000);
    let folder = server.dir().join("sub");
    std::fs::create_dir(&folder).expect("the folder is writable");
    client.ok(&["CONFIG", "SET", "dir", folder.to_str().expect("text")]);
    client.ok(&["SAVE"]);
    assert!(folder.join("other.rdb").exists());
    let plain = Server::tine(&["rdbchecksum no"]);
    plain.client().ok(&["SET", "key", "value"]);
    plain.client().ok(&["SAVE"]);
    let bytes = std::fs::read(plain.dir().join("dump.rdb")).expect("it is there");
    assert_eq!(bytes[bytes.len() - 8..], [0; 8], "no checksum is a zero");
}

#[test]
fn r4_a_snapshot_is_whole_checked_and_loaded_at_the_start() {
    let mut server = Server::tine(&["save \"\""]);
    let mut client = server.client();
    client.ok(&["SET", "key", "value"]);
    client.ok(&["SELECT", "9"]);
    client.ok(&["SET", "other", "value"]);
    client.ok(&["SAVE"]);
    server.kill();
    let path = server.dir().join("dump.rdb");
    let good = std::fs::read(&path).expect("read");
    assert!(good.starts_with(b"REDIS0010") && good[good.len() - 9] == 0xFF, "magic, version, end");
    let mut wrong_sum = good.clone();
    let last = wrong_sum.len() - 1;
    wrong_sum[last] ^= 1;
    for (bytes, line) in [
        (wrong_sum, "Wrong RDB checksum expected: ("),
        (good[..20].to_vec(), "Unexpected EOF"),
        (Vec::new(), "Unexpected EOF"),
    ] {
        std::fs::write(&path, &bytes).expect("write");
        let Err(failure) = server.try_restart() else { panic!("a damaged file was loaded") };
        assert_eq!(failure.status.code(), Some(1));
        for part in [
            line,
            "Internal error in RDB reading offset ",
            "Terminating server after rdb file reading failure.",
        ] {
            assert!(failure.log.contains(part), "{part}: {}", failure.log);
        }
        assert_eq!(std::fs::read(&path).expect("read"), bytes, "a refused file stays as it is");
    }
    std::fs::write(&path, good).expect("write");
    server.restart();
    let mut client = server.client();
    assert_eq!(client.call(&["GET", "key"]), Reply::bulk("value"));
    client.ok(&["SELECT", "9"]);
    assert_eq!(client.call(&["GET", "other"]), Reply::bulk("value"));
}

/// The child gives memory back while it saves: values in their entries, in blocks of byte strings, in
/// big collections, strewn by changes.
#[test]
fn r5_values_of_every_shape_are_saved_by_a_child_that_gives_memory_back() {
    let mut server = Server::tine(&["save \"\"", "enable-debug-command yes"]);
    let mut client = server.client();
    for round in 0..3 {
        for number in 0..1500_usize {
            let (key, long) = (format!("{}:{number}", number % 9), "v".repeat(number * 7 % 2000 + round));
            let (long, field) = (long.as_str(), format!("f{round}"));
            let command: Vec<&str> = match number % 9 {
                0 => vec!["SET", &key, long],
                1 => vec!["HSET", &key, &field, long, "b", "1"],
                2 => vec!["RPUSH", &key, long, "2", long],
                3 => vec!["SADD", &key, long, "m", &field],
                4 => vec!["ZADD", &key, "1", long, "2", &field],
                5 => vec!["XADD", &key, "*", "f", long],
                6 => vec!["SADD", &key, "1", "70000", "5000000000"],
                7 => vec!["APPEND", &key, long],
                _ if round == 1 => vec!["DEL", &key],
                _ => vec!["SET", &key, long],
            };
            client.call(&command);
        }
    }
    client.call(&["SET", "large", &"x".repeat(3 << 20)]);
    let digest = client.call(&["DEBUG", "DIGEST"]);
    client.call(&["BGSAVE"]);
    client.call(&["FLUSHDB", "ASYNC"]);
    server.wait_for_save();
    server.kill();
    server.restart();
    assert_eq!(server.client().call(&["DEBUG", "DIGEST"]), digest);
}

/// FORK LATEST and FORK TIMELINE of the save above, and its line in the log.
fn the_observer_has_seen_it(server: &Server, client: &mut Client) {
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
    let record = json(client.call(&["FORK", "LATEST", "JSON"]).text());
    let number = |name: &str| record[name].as_i64().unwrap_or_else(|| panic!("{name}: {record}"));
    assert_eq!((record["state"].as_str(), record["kind"].as_str()), (Some("done"), Some("rdb")), "{record}");
    assert_eq!((number("keys_total"), number("keys_done"), number("writes")), (2000, 2000, 2000), "{record}");
    assert!(
        number("fork_us") > 0 && number("minor_faults") > 0 && number("extra_peak_bytes") > 0,
        "{record}"
    );
    assert!(
        number("file_bytes") > 0 && number("headroom_min_bytes") > 0 && number("delay_during_max_us") > 0
    );
    let spent_us = number("observer_main_us") + number("observer_child_us");
    assert!(spent_us > 0 && spent_us < number("duration_ms") * 100, "a tenth of the time: {record}");
    let line = json(client.call(&["FORK", "TIMELINE", "1", "JSON"]).text());
    let samples = line["samples"].as_array().expect("samples");
    assert_eq!(samples.len() as i64, number("samples"));
    assert!(samples.iter().any(|sample| sample[0].as_i64() > Some(0)), "{line}");
    assert!(server.log().contains("Fork 1 (rdb, done): pause "), "{}", server.log());
}

#[test]
fn r5_the_child_saves_the_moment_of_the_fork_and_its_cost_is_shown() {
    let mut server = Server::tine(&["save \"\"", "rdb-key-save-delay 200"]);
    let mut client = server.client();
    let value = "x".repeat(3000);
    set_some(&mut client, 2000, &value);
    assert_eq!(server.info("rdb_changes_since_last_save"), "2000");
    client.call(&["BGSAVE"]);
    set_some(&mut client, 2000, "changed");
    wait_until("the progress of the child is seen", DEADLINE, || {
        server.info("current_save_keys_processed") != "0" || server.info("rdb_bgsave_in_progress") == "0"
    });
    server.wait_for_save();
    assert_eq!(server.info("rdb_changes_since_last_save"), "2000", "those after the fork");
    assert!(server.info("latest_fork_usec").parse::<u64>().expect("a number") > 0);
    assert!(
        server.info("rdb_last_cow_size").parse::<u64>().expect("a number") > 0,
        "2000 values were copied"
    );
    the_observer_has_seen_it(&server, &mut client);
    server.kill();
    server.restart();
    assert_eq!(server.client().call(&["GET", "key:1999"]), Reply::bulk(&value));
}
