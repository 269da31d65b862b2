//! The server as programs meet it: through the `redis` client crate, redis-cli and redis-benchmark.

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use common::{Server, encode_command, redis_benchmark, redis_cli, require_tool, wait_until};
use redis::{Client, Connection, PushKind, RedisResult, Value, cmd, pipe};

const PATIENCE: Duration = Duration::from_secs(20);

fn connect_with(server: &Server, parameters: &str) -> Connection {
    let url = format!("redis://127.0.0.1:{}/{parameters}", server.port());
    let client = Client::open(url).expect("the address is well-formed");
    let connection = client.get_connection().expect("the server accepts");
    connection.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
    connection
}

fn connect(server: &Server) -> Connection {
    connect_with(server, "")
}

/// Runs a command; panics on an error.
#[track_caller]
fn ask<T: redis::FromRedisValue>(connection: &mut Connection, words: &[&str]) -> T {
    try_ask(connection, words).unwrap_or_else(|e| panic!("{words:?}: {e}"))
}

fn try_ask<T: redis::FromRedisValue>(connection: &mut Connection, words: &[&str]) -> RedisResult<T> {
    let mut command = cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query(connection)
}

#[test]
fn pipelines_and_errors_between_replies() {
    let server = Server::tine(&[]);
    let mut connection = connect(&server);
    let mut pipeline = pipe();
    pipeline
        .cmd("SET")
        .arg("a")
        .arg(1)
        .ignore()
        .cmd("INCR")
        .arg("a")
        .cmd("GET")
        .arg("a")
        .cmd("GET")
        .arg("none");
    let replies: (i64, String, Option<String>) = pipeline.query(&mut connection).expect("all succeed");
    assert_eq!(replies, (2, "2".to_owned(), None));

    assert!(try_ask::<()>(&mut connection, &["INCR", "a", "b"]).is_err());
    assert!(try_ask::<()>(&mut connection, &["NOSUCH"]).is_err());
    assert_eq!(ask::<i64>(&mut connection, &["INCR", "a"]), 3, "the connection goes on");
}

#[test]
fn a_hundred_thousand_commands_in_one_pipeline() {
    const COUNT: usize = 100_000;
    let server = Server::tine(&[]);
    let mut connection = connect(&server);
    let mut pipeline = pipe();
    for number in 0..COUNT / 2 {
        pipeline.cmd("SET").arg(format!("key:{number}")).arg(number).ignore();
        pipeline.cmd("GET").arg(format!("key:{number}"));
    }
    let values: Vec<usize> = pipeline.query(&mut connection).expect("all succeed");
    assert_eq!(values, (0..COUNT / 2).collect::<Vec<_>>());
    assert_eq!(ask::<usize>(&mut connection, &["DBSIZE"]), COUNT / 2);
}

#[test]
fn binary_keys_and_values_of_every_size() {
    let server = Server::tine(&[]);
    for parameters in ["", "?protocol=resp3"] {
        let mut connection = connect_with(&server, parameters);
        for length in [0, 1, 44, 45, 168, 169, 16_383, 16_384, 40_000, 3 << 20] {
            let bytes: Vec<u8> = (0..length).map(|index| (index * 7 % 256) as u8).collect();
            let key: Vec<u8> = bytes.iter().take(600).map(|byte| !byte).collect();
            cmd("SET").arg(&key).arg(&bytes).exec(&mut connection).expect("any bytes are a value");
            let back: Vec<u8> = cmd("GET").arg(&key).query(&mut connection).expect("it is there");
            assert_eq!(back, bytes, "{length} bytes");
        }
    }
}

#[test]
fn watched_transactions_repeat_until_nobody_interferes() {
    let server = Server::tine(&[]);
    let (mut first, mut second) = (connect(&server), connect(&server));
    ask::<()>(&mut first, &["SET", "n", "10"]);
    let mut attempts = 0;
    let (result,): (i64,) = redis::transaction(&mut first, &["n"], |connection, pipeline| {
        attempts += 1;
        let old: i64 = cmd("GET").arg("n").query(connection)?;
        if attempts == 1 {
            ask::<()>(&mut second, &["SET", "n", "20"]);
        }
        pipeline.cmd("SET").arg("n").arg(old + 1).ignore().cmd("INCRBY").arg("n").arg(100).query(connection)
    })
    .expect("the second attempt succeeds");
    assert_eq!((attempts, result), (2, 121));
}

#[test]
fn concurrent_watchers_lose_no_increment() {
    const THREADS: i64 = 4;
    const TIMES: i64 = 100;
    let server = Server::tine(&[]);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut connection = connect(&server);
                for _ in 0..TIMES {
                    let _: (String,) =
                        redis::transaction(&mut connection, &["sum"], |connection, pipeline| {
                            let old: Option<i64> = cmd("GET").arg("sum").query(connection)?;
                            pipeline.cmd("SET").arg("sum").arg(old.unwrap_or(0) + 1).query(connection)
                        })
                        .expect("it comes through in the end");
                }
            });
        }
    });
    assert_eq!(ask::<i64>(&mut connect(&server), &["GET", "sum"]), THREADS * TIMES);
}

#[test]
fn messages_reach_a_resp2_subscriber() {
    let server = Server::tine(&[]);
    let (mut subscriber, mut publisher) = (connect(&server), connect(&server));
    let mut subscription = subscriber.as_pubsub();
    subscription.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
    subscription.subscribe(&["news", "sport"]).expect("subscribed");
    subscription.psubscribe("ne*").expect("subscribed");
    assert_eq!(ask::<i64>(&mut publisher, &["PUBLISH", "news", "rain"]), 2);
    let mut got = BTreeSet::new();
    for _ in 0..2 {
        let message = subscription.get_message().expect("both arrive");
        assert_eq!(message.get_channel_name(), "news");
        assert_eq!(message.get_payload_bytes(), b"rain");
        got.insert(message.from_pattern());
    }
    assert_eq!(got, BTreeSet::from([false, true]));
    subscription.unsubscribe("news").expect("unsubscribed");
    subscription.punsubscribe("ne*").expect("unsubscribed");
    assert_eq!(ask::<i64>(&mut publisher, &["PUBLISH", "news", "sun"]), 0);
    assert_eq!(ask::<i64>(&mut publisher, &["PUBLISH", "sport", "goal"]), 1);
    assert_eq!(subscription.get_message().expect("it arrives").get_payload_bytes(), b"goal");
    drop(subscription);
    assert_eq!(ask::<String>(&mut subscriber, &["PING"]), "PONG", "an ordinary connection again");
}

#[test]
fn messages_reach_a_resp3_subscriber_between_replies() {
    let server = Server::tine(&[]);
    let mut subscriber = connect_with(&server, "?protocol=resp3");
    let mut publisher = connect(&server);
    let (sender, pushes) = channel();
    subscriber.set_push_sender(sender);
    subscriber.subscribe_resp3("news").expect("subscribed");
    ask::<i64>(&mut publisher, &["PUBLISH", "news", "rain"]);
    assert_eq!(ask::<String>(&mut subscriber, &["ECHO", "still a client"]), "still a client");
    let message =
        pushes.iter().find(|push| push.kind == PushKind::Message).expect("it came before the reply");
    let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    assert_eq!(message.data, [bulk("news"), bulk("rain")]);
}

#[test]
fn scan_iterates_over_everything_once_there() {
    const COUNT: usize = 3_000;
    let server = Server::tine(&[]);
    let mut connection = connect(&server);
    let mut pipeline = pipe();
    for number in 0..COUNT {
        pipeline.cmd("SET").arg(format!("scan:{number}")).arg(1).ignore();
    }
    pipeline.cmd("SET").arg("other").arg(1).ignore();
    pipeline.exec(&mut connection).expect("all succeed");
    let mut scan = cmd("SCAN");
    scan.cursor_arg(0).arg("MATCH").arg("scan:*").arg("COUNT").arg(50);
    let keys: RedisResult<BTreeSet<String>> = scan.iter(&mut connection).expect("it starts").collect();
    assert_eq!(keys.expect("it ends"), (0..COUNT).map(|number| format!("scan:{number}")).collect());
}

#[test]
fn keys_expire() {
    let server = Server::tine(&[]);
    let mut connection = connect(&server);
    ask::<()>(&mut connection, &["SET", "short", "v", "PX", "30"]);
    ask::<()>(&mut connection, &["SET", "long", "v", "EX", "1000"]);
    assert!((999..=1000).contains(&ask::<i64>(&mut connection, &["TTL", "long"])));
    wait_until("the short one to go", PATIENCE, || ask::<i64>(&mut connection, &["DBSIZE"]) == 1);
    assert_eq!(ask::<Option<String>>(&mut connection, &["GET", "short"]), None);
    assert_eq!(ask::<i64>(&mut connection, &["PERSIST", "long"]), 1);
    assert_eq!(ask::<i64>(&mut connection, &["TTL", "long"]), -1);
}

#[test]
fn many_connections_share_a_counter() {
    const CONNECTIONS: usize = 200;
    let server = Server::tine(&[]);
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(|_| connect(&server)).collect();
    for round in 0..10 {
        for (index, connection) in connections.iter_mut().enumerate() {
            assert_eq!(ask::<usize>(connection, &["INCR", "n"]), round * CONNECTIONS + index + 1);
        }
    }
    drop(connections.split_off(1));
    wait_until("the closed ones to be forgotten", PATIENCE, || {
        ask::<String>(&mut connections[0], &["INFO", "clients"]).contains("connected_clients:1\r\n")
    });
}

/// `calls` of a command in INFO commandstats; 0 when it has not run.
fn calls(server: &Server, command: &str) -> u64 {
    let text: String = ask(&mut connect(server), &["INFO", "commandstats"]);
    let begin = format!("cmdstat_{command}:calls=");
    let line = text.lines().find_map(|line| line.strip_prefix(begin.as_str()));
    line.map_or(0, |rest| {
        rest.split(',').next().and_then(|count| count.parse().ok()).expect("calls is a number")
    })
}

#[test]
fn redis_cli_inserts_by_the_mass() {
    const COUNT: usize = 100_000;
    if !require_tool("redis-cli") {
        return;
    }
    let server = Server::tine(&[]);
    let mut input = Vec::new();
    for number in 0..COUNT {
        input.extend_from_slice(&encode_command(&[
            "SET",
            &format!("key:{number}"),
            &format!("value:{number}"),
        ]));
    }
    let mut child = Command::new("redis-cli")
        .args(["-p", &server.port().to_string(), "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli starts");
    child.stdin.take().expect("it is piped").write_all(&input).expect("redis-cli reads");
    let output = child.wait_with_output().expect("redis-cli ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(&format!("errors: 0, replies: {COUNT}")), "{text}");
    assert_eq!(ask::<usize>(&mut connect(&server), &["DBSIZE"]), COUNT);
    assert_eq!(calls(&server, "set"), COUNT as u64);
}

#[test]
fn redis_cli_speaks_resp3() {
    let server = Server::tine(&[]);
    let run = |args: &[&str]| {
        redis_cli(server.port(), args).map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let Some(hello) = run(&["-3", "HELLO"]) else { return };
    assert!(hello.contains("proto") && hello.contains('3'), "{hello}");
    assert_eq!(run(&["-3", "SET", "k", "v"]).as_deref(), Some("OK\n"));
    assert_eq!(run(&["GET", "k"]).as_deref(), Some("v\n"));
    let config = run(&["-3", "CONFIG", "GET", "maxclients"]).expect("it ran before");
    assert!(config.contains("maxclients"), "{config}");
}

#[test]
fn redis_benchmark_completes_in_every_mode() {
    const REQUESTS: u64 = 10_000;
    let modes: [&[&str]; 4] = [
        &["-t", "set,get,incr,mset,ping", "-n", "10000", "-q"],
        &["-t", "set,get,incr", "-n", "2000", "-c", "1", "-q"],
        &["-t", "set,get,incr,mset,ping", "-n", "10000", "-P", "64", "-q"],
        &["-t", "set,get", "-n", "10000", "--threads", "2", "-q"],
    ];
    let server = Server::tine(&[]);
    for mode in modes {
        let before = calls(&server, "set");
        let Some(output) = redis_benchmark(server.port(), mode) else { return };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("SET:") && text.contains("requests per second"),
            "{text}"
        );
        let wanted = if mode.contains(&"2000") { 2_000 } else { REQUESTS };
        // Full pipelines: it may send up to one round of each client more than asked.
        let made = calls(&server, "set") - before;
        assert!((wanted..=wanted + 50 * 64).contains(&made), "{mode:?}: {made} SETs for {wanted}");
    }
    assert!(calls(&server, "mset") >= 2 * REQUESTS, "mset was in two modes");
    assert!(calls(&server, "get") >= 3 * REQUESTS + 2_000 && calls(&server, "incr") >= 2 * REQUESTS + 2_000);
}
