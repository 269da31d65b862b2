//! redis-cli's modes: each reads the server in a way of its own.

use super::DEADLINE;
use crate::common::{Server, redis_cli, require_tool, wait_for};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A server with some keys of each kind; one of them is read often.
fn filled() -> Server {
    let server = Server::tine(&["maxmemory-policy allkeys-lfu", "enable-debug-command yes"]);
    let mut client = server.client();
    client.ok(&["DEBUG", "POPULATE", "300", "k", "100"]);
    client.call(&["RPUSH", "list", "a", "b", "c"]);
    client.call(&["HSET", "hash", "f", "v"]);
    client.call(&["SADD", "set", "m", "n"]);
    client.call(&["ZADD", "zset", "1", "m"]);
    client.call(&["XADD", "stream", "*", "f", "v"]);
    for _ in 0..2000 {
        client.call(&["GET", "k:7"]);
    }
    server
}

/// What a mode that ends by itself prints; `None` where redis-cli is missing.
#[track_caller]
fn printed(server: &Server, args: &[&str]) -> Option<String> {
    let output = redis_cli(server.port(), args)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[test]
fn modes_that_walk_the_keys() {
    let server = filled();
    for (mode, wanted) in [
        (
            "--bigkeys",
            [
                "Sampled 305 keys",
                "1 lists with 3 items",
                "300 strings with 30000 bytes",
                "1 zsets with 1 members",
            ],
        ),
        ("--memkeys", ["Sampled 305 keys", "1 lists with", "300 strings with", "1 streams with"]),
        ("--hotkeys", ["Sampled 305 keys", "hot key found with counter", "keyname: \"k:7\"", "summary"]),
    ] {
        let Some(text) = printed(&server, &[mode]) else { return };
        wanted.iter().for_each(|part| assert!(text.contains(part), "{mode}, {part}: {text}"));
    }
    let Some(text) = printed(&server, &["--scan", "--pattern", "k:1?"]) else { return };
    let mut keys: Vec<&str> = text.lines().collect();
    keys.sort_unstable();
    assert_eq!(keys.len(), 10, "{keys:?}");
}

#[test]
fn modes_that_measure() {
    let server = filled();
    let Some(text) = printed(&server, &["--latency", "--raw", "-i", "1"]) else { return };
    let figures: Vec<f64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    assert!(figures.len() == 4 && figures[3] > 10.0, "{text}");
    let Some(text) = printed(&server, &["--intrinsic-latency", "1"]) else { return };
    assert!(text.contains("total runs"), "{text}");
}

/// The lines of a mode that goes on until it is ended.
#[test]
fn the_running_statistics() {
    if !require_tool("redis-cli") {
        return;
    }
    let server = filled();
    let mut cli = Command::new("redis-cli")
        .args(["-p", &server.port().to_string(), "--stat", "-i", "0.01"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli can be run");
    let lines = BufReader::new(cli.stdout.take().expect("it has an output")).lines();
    let start = Instant::now();
    let data = lines.map_while(Result::ok).find(|line| line.starts_with("305 "));
    cli.kill().and_then(|()| cli.wait()).expect("it can be ended");
    let data = data.unwrap_or_else(|| panic!("no line within {:?}", start.elapsed()));
    let columns: Vec<&str> = data.split_whitespace().collect();
    assert!(columns.len() >= 7 && columns[1].ends_with(['K', 'M']) && columns[2] == "1", "{data}");
}

#[test]
fn mass_insertion() {
    if !require_tool("redis-cli") {
        return;
    }
    let server = Server::tine(&[]);
    let mut cli = Command::new("redis-cli")
        .args(["-p", &server.port().to_string(), "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("redis-cli can be run");
    let mut input = cli.stdin.take().expect("it has an input");
    for number in 0..20_000 {
        let value = format!("value:{number}");
        write!(input, "*3\r\n$3\r\nSET\r\n$5\r\n{number:05}\r\n${}\r\n{value}\r\n", value.len())
            .expect("written");
    }
    input.write_all(b"LPUSH 00000 x\r\n").expect("written");
    drop(input);
    let output = cli.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("errors: 1, replies: 20001"), "{text}");
    assert_eq!(server.client().call(&["DBSIZE"]).int(), 20_000);
}

/// The syntax comes from COMMAND DOCS; a server of ours alone shows commands that redis-cli does not know.
#[test]
fn help_and_formats() {
    let server = filled();
    let Some(text) = printed(&server, &["help", "hexpire"]) else { return };
    let syntax = "key seconds [NX|XX|GT|LT] FIELDS numfields field [field ...]";
    assert!(text.contains(syntax), "{text}");
    let Some(text) = printed(&server, &["help", "set"]) else { return };
    assert!(text.contains("key value [NX|XX] [GET] [EX seconds|PX milliseconds|"), "{text}");
    let Some(text) = printed(&server, &["-3", "--json", "HGETALL", "hash"]) else { return };
    assert_eq!(text.trim(), "{\"f\":\"v\"}");
    let Some(text) = printed(&server, &["--csv", "LRANGE", "list", "0", "-1"]) else { return };
    assert_eq!(text.trim(), "\"a\",\"b\",\"c\"");
    let Some(text) = printed(&server, &["-r", "3", "-i", "0.01", "INCR", "n"]) else { return };
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["1", "2", "3"]);
    wait_for("its connections to be closed", DEADLINE, || {
        (server.client().call(&["CLIENT", "LIST"]).text().lines().count() == 1).then_some(())
    });
}
