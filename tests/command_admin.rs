//! CONFIG, INFO, MEMORY, SLOWLOG, LATENCY, DEBUG, TIME, SHUTDOWN in a server without sockets.

mod common;

use common::{InProcess, Reply};
use std::time::Instant;
use tine::command::info::info_text;
use tine::persist::fork::{ChildKind, ForkEvent};
use tine::server::config::{Config, ProtectedAction};
use tine::server::run::Exit;

/// A server whose DEBUG may be used.
fn with_debug() -> InProcess {
    InProcess::with_config(Config { enable_debug_command: ProtectedAction::Yes, ..Config::default() })
}

fn field(info: &str, name: &str) -> Option<String> {
    info.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned))
}

fn words(array: &Reply) -> String {
    array.items().iter().map(Reply::text).collect::<Vec<_>>().join(" ")
}

fn info(test: &InProcess, sections: &[&[u8]]) -> String {
    info_text(&test.server, sections)
}

#[test]
fn config_set_is_all_or_nothing() {
    let mut test = InProcess::new();
    assert_eq!(test.call("CONFIG SET hz 20 timeout 7"), "+OK");
    assert_eq!(test.call("CONFIG GET hz timeout"), "*4 $2 hz $2 20 $7 timeout $1 7");
    let refused = test.call("CONFIG SET hz 30 maxmemory-clients 200%");
    assert!(
        refused.contains("ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients')"),
        "{refused}"
    );
    assert_eq!(test.call("CONFIG GET hz"), "*2 $2 hz $2 20");
    assert!(test.call("CONFIG SET hz 1 timeout").contains("syntax error"));
    assert!(test.call("CONFIG SET nosuch 1").contains("Unknown option"));
    assert!(test.call("CONFIG SET daemonize yes").contains("immutable"));
}

#[test]
fn a_failed_effect_brings_the_old_values_back() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let mut test = InProcess::with(&[("bind", "127.0.0.1")]);
    let refused = test.call(&format!("CONFIG SET maxmemory-policy allkeys-lfu port {port}"));
    assert!(refused.contains("argument 'port') - Unable to listen on this port"), "{refused}");
    assert_eq!(test.call("CONFIG GET maxmemory-policy"), "*2 $16 maxmemory-policy $10 noeviction");
    assert!(!test.server.keyspace.access.lfu, "what had been applied is taken back");
}

#[test]
fn config_rewrite_needs_a_file_and_replaces_it() {
    let mut test = InProcess::new();
    assert!(test.call("CONFIG REWRITE").contains("running without a config file"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("redis.conf");
    std::fs::write(&path, "# kept\nhz 10\n").expect("written");
    test.server.config_file = Some(path.clone());
    assert_eq!(test.call("CONFIG SET hz 50 timeout 3"), "+OK");
    assert_eq!(test.call("CONFIG REWRITE"), "+OK");
    let text = std::fs::read_to_string(&path).expect("there");
    assert!(text.starts_with("# kept\nhz 50\n") && text.contains("timeout 3"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1, "no temporary file stays");
}

#[test]
fn info_has_its_sections_in_order() {
    let mut test = InProcess::new();
    test.call("SET k v EX 100");
    test.call("GET k");
    let all = info(&test, &[b"everything"]);
    let headings: Vec<&str> = all.split("\r\n").filter_map(|line| line.strip_prefix("# ")).collect();
    let wanted = [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Modules",
        "Commandstats",
        "Errorstats",
        "Latencystats",
        "Cluster",
        "Keyspace",
        "Fork",
    ];
    assert_eq!(headings, wanted);
    assert_eq!(field(&all, "redis_version").as_deref(), Some("7.2.4"));
    assert_eq!(field(&all, "server_name").as_deref(), Some("tine"));
    assert!(field(&all, "db0").expect("a database").starts_with("keys=1,expires=1,avg_ttl="));
    assert!(field(&all, "cmdstat_get").expect("was called").starts_with("calls=1,usec="));
    let default = info(&test, &[]);
    assert!(!default.contains("# Commandstats") && default.contains("# Errorstats"));
    assert_eq!(info(&test, &[b"CPU", b"keyspace"]).matches("# ").count(), 2);
    assert_eq!(info(&test, &[b"nosuch"]), "");
}

#[test]
fn errors_and_rejected_calls_are_counted() {
    let mut test = InProcess::new();
    test.call("GET");
    test.call("NOSUCH");
    test.call("CONFIG SET nosuch 1");
    let text = info(&test, &[b"all"]);
    assert_eq!(field(&text, "errorstat_ERR").as_deref(), Some("count=3"));
    assert!(field(&text, "cmdstat_get").expect("rejected").ends_with("rejected_calls=1,failed_calls=0"));
    assert!(field(&text, "cmdstat_config|set").expect("failed").ends_with("rejected_calls=0,failed_calls=1"));
    assert_eq!(test.call("CONFIG RESETSTAT"), "+OK");
    assert_eq!(field(&info(&test, &[b"all"]), "errorstat_ERR"), None);
}

#[test]
fn memory_grows_with_data() {
    let mut test = with_debug();
    let before: u64 =
        field(&info(&test, &[b"memory"]), "used_memory").expect("there").parse().expect("a number");
    test.call("DEBUG POPULATE 1000 key 1000");
    let after: u64 =
        field(&info(&test, &[b"memory"]), "used_memory").expect("there").parse().expect("a number");
    assert!(after > before + 1_000_000, "{before} {after}");
    let usage: u64 = test.run(&[b"memory", b"usage", b"key:1"]).int() as u64;
    assert!((1000..1200).contains(&usage), "{usage}");
    assert!(test.run(&[b"memory", b"usage", b"nosuch"]).is_null());
    assert!(test.call("MEMORY USAGE k SAMPLES -1").contains("syntax error"));
    assert!(!test.run(&[b"memory", b"stats"]).is_error());
    assert_eq!(test.call("MEMORY PURGE"), "+OK");
}

#[test]
fn slow_commands_are_logged_without_secrets() {
    let mut test = InProcess::with(&[("slowlog-log-slower-than", "0")]);
    test.call("CONFIG SET masterauth abc hz 20");
    test.call("SET k v");
    let entries = test.run(&[b"slowlog", b"get", b"2"]);
    let shown: Vec<String> = entries.items().iter().map(|entry| words(&entry.items()[3])).collect();
    assert_eq!(shown, ["SET k v", "CONFIG SET masterauth (redacted) hz 20"]);
    assert!(test.run(&[b"slowlog", b"len"]).int() >= 3);
    assert_eq!(test.call("CONFIG SET slowlog-log-slower-than -1"), "+OK");
    assert_eq!(test.call("SLOWLOG RESET"), "+OK");
    assert_eq!(test.run(&[b"slowlog", b"len"]).int(), 0);
    assert!(test.call("SLOWLOG GET -2").contains("count should be greater than or equal to -1"));
}

#[test]
fn latency_events_and_histograms() {
    let mut test = InProcess::with(&[("latency-monitor-threshold", "5")]);
    test.server.note_latency("fork", 4);
    test.server.note_latency("fork", 9);
    assert_eq!(test.run(&[b"latency", b"latest"]).items().len(), 1);
    assert_eq!(test.run(&[b"latency", b"history", b"fork"]).items()[0].items()[1].int(), 9);
    assert!(test.run(&[b"latency", b"history", b"nosuch"]).items().is_empty());
    assert!(test.call("LATENCY GRAPH fork").contains("fork - high 9 ms, low 9 ms"));
    assert_eq!(test.run(&[b"latency", b"reset", b"fork"]).int(), 1);
    test.call("SET k v");
    let histogram = test.run(&[b"latency", b"histogram", b"set", b"nosuch"]);
    assert_eq!(histogram.items().len(), 2, "{histogram:?}");
}

#[test]
fn digests_are_those_of_redis() {
    let mut test = with_debug();
    assert_eq!(test.call("DEBUG DIGEST"), format!("+{}", "0".repeat(40)));
    // Recorded from redis-server 7.0.15.
    test.call("SET a 12");
    assert_eq!(test.call("DEBUG DIGEST"), "+c444d09515238c5a136080c3fb8d9d78edd9aa21");
    test.call("SET b x");
    assert_eq!(test.call("DEBUG DIGEST"), "+bba20d18d09a2e0ef224f464419da63504bcf1e5");
    test.call("SET b hello EX 1000");
    let values = test.run(&[b"debug", b"digest-value", b"a", b"b", b"none"]);
    let shown: Vec<String> = values.items().iter().map(Reply::text).collect();
    let wanted = [
        "655ac46b180ad2f61a3cee25f0b1780fa2ec879a",
        "d037c4eb8a8b36b602fbced4000daeab0714c1e3",
        "0000000000000000000000000000000000000000",
    ];
    assert_eq!(shown, wanted);
}

#[test]
fn debug_refuses_what_it_does_not_know() {
    let mut test = with_debug();
    assert!(
        test.call("DEBUG NOSUCH").contains("unknown subcommand or wrong number of arguments for 'NOSUCH'")
    );
    assert!(test.call("DEBUG SLEEP").contains("unknown subcommand or wrong number of arguments"));
    assert!(test.call("DEBUG ERROR MYCODE").contains("MYCODE"));
    assert_eq!(test.call("DEBUG SET-ACTIVE-EXPIRE 0"), "+OK");
    assert!(!test.server.run.active_expire);
    assert_eq!(test.call("DEBUG POPULATE 3 p 5"), "+OK");
    assert_eq!(test.run(&[b"get", b"p:2"]).text(), "value");
    assert_eq!(test.server.persistence.dirty, 0, "POPULATE is no change to be saved");
}

#[test]
fn shutdown_decides_the_exit() {
    let mut test = InProcess::new();
    for line in ["SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW", "SHUTDOWN SOON"] {
        assert!(test.call(line).contains("syntax error"), "{line}");
    }
    assert!(test.call("SHUTDOWN ABORT").contains("No shutdown in progress"));
    assert_eq!(test.server.run.exit, None);
    let (bytes, _) = test.raw(test.main, &[b"SHUTDOWN", b"NOSAVE"]);
    assert!(bytes.is_empty(), "the connection just ends");
    assert_eq!(test.server.run.exit, Some(Exit { code: 0 }));
}

#[test]
fn time_is_seconds_and_microseconds() {
    let mut test = InProcess::new();
    let time = test.run(&[b"time"]);
    assert_eq!(time.items()[0].text(), (test.now_ms() / 1000).to_string());
    assert!(test.call("LOLWUT").contains("Redis ver. 7.2.4"));
}

#[test]
fn every_help_can_be_read() {
    let mut test = with_debug();
    for command in ["CONFIG", "DEBUG", "LATENCY", "MEMORY", "SLOWLOG"] {
        let help = test.call(&format!("{command} HELP"));
        assert!(help.contains("Print this help."), "{help}");
    }
}

#[test]
fn large_requests_and_replies_are_logged() {
    let mut test = InProcess::with(&[
        ("commandlog-request-larger-than", "1000"),
        ("commandlog-reply-larger-than", "2000"),
        ("commandlog-large-reply-max-len", "1"),
    ]);
    let value = "v".repeat(1991);
    test.call(&format!("SET k {value}"));
    test.call("GET k");
    test.call("MULTI");
    test.call("GET k");
    test.call("EXEC");
    test.call("PING");
    assert_eq!(test.call("COMMANDLOG LEN large-request"), ":1");
    assert_eq!(test.call("COMMANDLOG LEN large-reply"), ":1");
    let requests = test.call("COMMANDLOG GET -1 Large-Request");
    // SET, k and the value.
    assert!(requests.starts_with("*1 *6 :0 :1700000000 :1995 *3 $3 SET $1 k $149 vvv"), "{requests}");
    let replies = test.call("COMMANDLOG GET 5 large-reply");
    assert!(replies.starts_with("*1 *6 :1 :1700000000 :2000 *2 $3 GET $1 k "), "{replies}");
    assert_eq!(test.call("COMMANDLOG RESET large-reply"), "+OK");
    assert_eq!(test.call("COMMANDLOG LEN large-reply"), ":0");
    let unknown = "-ERR type should be one of the following: slow, large-request, large-reply";
    assert_eq!(test.call("COMMANDLOG LEN x"), unknown);
    assert_eq!(test.call("COMMANDLOG GET x slow"), "-ERR count should be greater than or equal to -1");
}

#[test]
fn a_slow_fork_is_an_event() {
    let mut test = InProcess::with(&[("latency-monitor-threshold", "5")]);
    for latest_us in [4_999, 5_000] {
        test.server.persistence.forks.latest_us = latest_us;
        test.server.note_fork();
    }
    assert_eq!(test.call("LATENCY LATEST"), "*1 *4 $4 fork :1700000000 :5 :5");
}

/// A fork as the log of forks shows it, without a child.
fn note_fork(test: &mut InProcess) {
    let forks = &mut test.server.persistence.forks;
    forks.total += 1;
    forks.events.push_back(ForkEvent {
        id: forks.total,
        started_ms: 1_700_000_000_000,
        started: Instant::now(),
        kind: ChildKind::Snapshot,
        pid: 77,
        fork_us: 1500,
        fork_cpu_us: 1200,
        rss_bytes: 1 << 30,
        minor_faults: 0,
        keys_total: 3,
        cow_peak_bytes: 0,
        duration_ms: 0,
        result: None,
        end: None,
    });
    test.server.note_fork();
}

#[test]
fn forks_are_shown_in_both_protocols_and_as_json() {
    let mut test = InProcess::new();
    assert_eq!((test.call("FORK LATEST"), test.call("FORK HISTORY")), ("$-1".to_owned(), "*0".to_owned()));
    assert_eq!(test.call("FORK LATEST JSON"), "$4 null");
    assert!(info(&test, &[b"fork"]).contains("fork_history_length:0\r\nfork_latest_state:none\r\n"));
    note_fork(&mut test);
    test.call("SET k v");
    test.server.observe();
    let flat = test.run(&[b"fork", b"latest"]);
    let names: Vec<String> = flat.items().iter().step_by(2).map(Reply::text).collect();
    let json = test.run(&[b"FORK", b"LATEST", b"JSON"]).text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json.as_object().expect("an object").len(), names.len(), "the same figures");
    assert!(names.iter().all(|name| json.get(name).is_some()), "{names:?}");
    assert_eq!(
        (&json["id"], &json["fork_us_per_gib"], &json["writes"]),
        (&1.into(), &1500.into(), &1.into())
    );
    assert_eq!((&json["kind"], &json["state"]), (&"rdb".into(), &"running".into()));
    let info = info(&test, &[b"fork"]);
    for name in &names {
        assert!(info.contains(&format!("\r\nfork_latest_{name}:")), "{name}");
    }
    let client = test.client();
    test.resp3(client);
    assert!(matches!(test.run_as(client, &[b"FORK", b"LATEST"]), Reply::Map(_)));
    assert_eq!(test.run(&[b"FORK", b"HISTORY", b"5"]).items().len(), 1);
    assert_eq!(test.call("FORK HISTORY 0 JSON"), "$2 []");
}

#[test]
fn the_time_line_has_as_many_figures_as_names() {
    let mut test = InProcess::new();
    note_fork(&mut test);
    test.server.observe();
    let line = test.run(&[b"FORK", b"TIMELINE", b"1"]);
    let parts = line.items();
    assert_eq!(
        (parts[0].text(), parts[2].text(), parts[4].text()),
        ("id".into(), "fields".into(), "samples".into())
    );
    let samples = parts[5].items();
    assert!(
        !samples.is_empty() && samples.iter().all(|sample| sample.items().len() == parts[3].items().len())
    );
    let json = test.run(&[b"FORK", b"TIMELINE", b"1", b"JSON"]).text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["samples"].as_array().map(Vec::len), Some(samples.len()));
    for (wrong, error) in [
        ("FORK TIMELINE 2", "-ERR no such fork"),
        ("FORK TIMELINE x", "-ERR value is not an integer or out of range"),
        ("FORK TIMELINE JSON", "-ERR syntax error"),
        ("FORK LATEST x", "-ERR syntax error"),
        ("FORK HISTORY -1", "-ERR count must not be negative"),
    ] {
        assert_eq!(test.call(wrong), error);
    }
    let text = test.run(&[b"FORK", b"DOCTOR"]).text();
    assert!(text.starts_with("Fork 1 (rdb, running) stopped the server for 1.50 ms"), "{text}");
    assert_eq!(test.call("FORK RESET"), ":0", "the child lives");
    assert!(test.call("FORK HELP").contains("TIMELINE <id> [JSON]"));
    assert_eq!(test.call("ACL DRYRUN default FORK LATEST"), "+OK");
}
