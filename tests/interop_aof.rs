//! The AOF between the distribution's redis-server and ours, both ways, every write kept.

mod common;

use std::time::Duration;

use common::{Program, Reply, Server, skip, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

fn fill(server: &Server, prefix: &str) {
    let mut client = server.client();
    for number in 0..200 {
        let (key, value) = (format!("{prefix}{number}"), format!("value {number}"));
        assert_eq!(client.call(&["SET", &key, &value]), Reply::Simple("OK".to_owned()));
    }
    client.call(&["SET", &format!("{prefix}ttl"), "x", "PX", "100000000"]);
    client.call(&["APPEND", &format!("{prefix}0"), "more"]);
}

#[track_caller]
fn check(server: &Server, prefix: &str) {
    let mut client = server.client();
    for number in 1..200 {
        let value = client.call(&["GET", &format!("{prefix}{number}")]);
        assert_eq!(value, Reply::bulk(&format!("value {number}")), "{prefix}{number}");
    }
    assert_eq!(client.call(&["GET", &format!("{prefix}0")]), Reply::bulk("value 0more"));
    assert!(client.call(&["PTTL", &format!("{prefix}ttl")]).int() > 90_000_000);
}

fn rewrite(server: &Server) {
    let mut client = server.client();
    let reply = client.call(&["BGREWRITEAOF"]).text();
    assert!(reply.contains("started") || reply.contains("scheduled"), "{reply}");
    wait_until("the rewrite", PATIENCE, || {
        let info = client.call(&["INFO", "persistence"]).text();
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
    });
}

/// Redis 7.0 -> Tine -> Redis 7.0 -> Tine: each goes on where the other stopped.
fn there_and_back(directives: &[&str]) {
    let Some(redis) = Program::redis() else { return skip("redis-server is not installed") };
    let Some(mut server) = Server::redis(directives) else { return };
    fill(&server, "redis:");
    rewrite(&server);
    fill(&server, "redis2:");
    server.stop();
    server.set_program(Program::Tine);
    server.restart();
    for prefix in ["redis:", "redis2:"] {
        check(&server, prefix);
    }
    fill(&server, "tine:");
    rewrite(&server);
    fill(&server, "tine2:");
    server.stop();
    server.set_program(redis);
    server.restart();
    for prefix in ["redis:", "redis2:", "tine:", "tine2:"] {
        check(&server, prefix);
    }
    fill(&server, "back:");
    server.stop();
    server.set_program(Program::Tine);
    server.restart();
    for prefix in ["redis:", "redis2:", "tine:", "tine2:", "back:"] {
        check(&server, prefix);
    }
}

#[test]
fn with_a_preamble() {
    there_and_back(&["appendonly yes"]);
}

#[test]
fn with_plain_commands() {
    there_and_back(&["appendonly yes", "aof-use-rdb-preamble no"]);
}
