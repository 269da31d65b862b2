//! Rows R6 to R10: the append-only file, loading, the repair tools.

use super::{DEADLINE, set_some, wait_until};
use crate::common::{Reply, Server};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn aof(server: &Server) -> std::path::PathBuf {
    server.dir().join("appendonly.aof")
}

fn tool(program: &str, arguments: &[&str], path: &Path) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).arg(path).stdin(Stdio::null());
    command.output().expect("the built program can be started")
}

#[test]
fn r6_every_policy_appends_and_survives_a_kill() {
    for policy in ["always", "everysec", "no"] {
        let directive = format!("appendfsync {policy}");
        let mut server = Server::tine(&["appendonly yes", &directive]);
        let mut client = server.client();
        set_some(&mut client, 50, "v");
        if policy != "no" {
            wait_until("everything is synced", DEADLINE, || server.info("aof_pending_bio_fsync") == "0");
        }
        server.kill();
        server.restart();
        assert_eq!(server.client().call(&["DBSIZE"]), Reply::Int(50), "{policy}");
    }
}

#[test]
fn r7_a_rewrite_leaves_no_history_and_keeps_what_comes_meanwhile() {
    let mut server = Server::tine(&["appendonly yes", "aof-use-rdb-preamble no"]);
    let mut client = server.client();
    for number in 0..200 {
        client.ok(&["SET", "deleted", &format!("history {number}")]);
        client.call(&["RPUSH", "list", &format!("element {number}")]);
    }
    client.call(&["DEL", "deleted"]);
    assert!(client.call(&["BGREWRITEAOF"]).text().contains("started"));
    set_some(&mut client, 100, "meanwhile");
    server.wait_for_rewrite();
    let content = std::fs::read(aof(&server)).expect("it is there");
    let text = String::from_utf8_lossy(&content);
    assert!(!text.contains("history"), "deleted history leaves nothing behind");
    assert_eq!(text.matches("RPUSH").count(), 4, "200 elements, 64 a command");
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(client.call(&["LLEN", "list"]), Reply::Int(200));
    assert_eq!(client.call(&["GET", "key:99"]), Reply::bulk("meanwhile"));
}

#[test]
fn r7_growth_starts_a_rewrite() {
    let server = Server::tine(&["appendonly yes", "auto-aof-rewrite-min-size 20kb"]);
    let mut client = server.client();
    let value = "x".repeat(500);
    for _ in 0..100 {
        client.ok(&["SET", "key", &value]);
    }
    wait_until("growth starts a rewrite", DEADLINE, || server.info("aof_rewrites") != "0");
    server.wait_for_rewrite();
    assert!(std::fs::metadata(aof(&server)).expect("it is there").len() < 20 << 10);
    assert!(server.log().contains("Starting automatic rewriting of AOF on"), "{}", server.log());
}

#[test]
fn r8_a_hybrid_file_is_a_snapshot_followed_by_commands() {
    let mut server = Server::tine(&["appendonly yes", "aof-use-rdb-preamble yes"]);
    let mut client = server.client();
    client.ok(&["SET", "before", "1"]);
    client.call(&["BGREWRITEAOF"]);
    server.wait_for_rewrite();
    client.ok(&["SET", "after", "2"]);
    let content = std::fs::read(aof(&server)).expect("it is there");
    assert!(content.starts_with(b"REDIS00"));
    assert!(String::from_utf8_lossy(&content).contains("\r\nafter\r\n"));
    server.kill();
    server.restart();
    let mut client = server.client();
    assert_eq!(client.call(&["MGET", "before", "after"]).items(), [Reply::bulk("1"), Reply::bulk("2")]);
    assert!(server.log().contains("Reading RDB preamble from AOF file..."), "{}", server.log());
}

#[test]
fn r9_the_log_is_preferred_and_a_torn_end_is_cut() {
    let mut server = Server::tine(&["appendonly yes"]);
    let mut client = server.client();
    client.ok(&["SET", "key", "in both"]);
    client.ok(&["SAVE"]);
    client.ok(&["SET", "key", "only in the log"]);
    server.kill();
    let mut content = std::fs::read(aof(&server)).expect("it is there");
    let whole = content.len();
    content.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$3\r\nke");
    std::fs::write(aof(&server), &content).expect("write");
    server.set_directives(&["appendonly yes", "aof-load-truncated no"]);
    let failure = server.try_restart().expect_err("it must be whole");
    assert!(failure.log.contains("Unexpected end of file reading the append only file"), "{}", failure.log);
    assert_eq!(std::fs::read(aof(&server)).expect("read"), content, "a refused file stays as it is");
    server.set_directives(&["appendonly yes"]);
    server.restart();
    assert_eq!(server.client().call(&["GET", "key"]), Reply::bulk("only in the log"));
    assert_eq!(std::fs::metadata(aof(&server)).expect("it is there").len(), whole as u64);
    assert!(server.log().contains(&format!("truncated at offset {whole}")), "{}", server.log());
}

#[test]
fn r10_the_tools_find_the_damage_and_repair_the_log() {
    let (check_aof, check_rdb) = (env!("CARGO_BIN_EXE_tine-check-aof"), env!("CARGO_BIN_EXE_tine-check-rdb"));
    let mut server = Server::tine(&["appendonly yes"]);
    let mut client = server.client();
    client.ok(&["SET", "good", "1"]);
    client.ok(&["SAVE"]);
    server.kill();
    let mut content = std::fs::read(aof(&server)).expect("it is there");
    let whole = content.len();
    content.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$xx\r\n*1\r\n$4\r\nPING\r\n");
    std::fs::write(aof(&server), &content).expect("write");
    assert!(server.try_restart().is_err(), "damage before a whole command is refused");
    assert!(!tool(check_aof, &[], &aof(&server)).status.success());
    let mut fix = Command::new(check_aof);
    fix.arg("--fix").arg(aof(&server)).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut running = fix.spawn().expect("the built program can be started");
    std::io::Write::write_all(&mut running.stdin.take().expect("piped"), b"y\n").expect("it reads");
    assert!(running.wait().expect("ours").success());
    assert_eq!(std::fs::metadata(aof(&server)).expect("it is there").len(), whole as u64);
    server.restart();
    assert_eq!(server.client().call(&["GET", "good"]), Reply::bulk("1"));
    let rdb = server.dir().join("dump.rdb");
    assert!(tool(check_rdb, &[], &rdb).status.success());
    let mut bytes = std::fs::read(&rdb).expect("it is there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&rdb, bytes).expect("write");
    let output = tool(check_rdb, &[], &rdb);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("RDB CRC error"), "{said}");
}
