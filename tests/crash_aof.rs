//! The kill loop: a server that is killed at random moments, rewrites included, keeps every write
//! that it acknowledged. (Power cuts are a matter of the storage model in `persist::aof`.)

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Client, Reply, Server};

/// Kills of one policy; `TINE_CRASH_KILLS=n` takes n (`make crash`).
const KILLS: u64 = 25;
/// A killed client's reads end by this.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests sent together.
const PIPELINE: u64 = 16;

/// Sends ascending numbers until the connection breaks; returns how many were acknowledged, and the
/// number behind the last one sent.
fn write_until_killed(port: u16, key: String, first: u64, stop: &AtomicBool) -> (u64, u64) {
    let mut acknowledged = 0;
    let mut next = first;
    // The kill may come before the connection.
    let Ok(mut client) = Client::try_connect(port) else { return (0, first) };
    client.set_timeout(CLIENT_TIMEOUT);
    while !stop.load(Ordering::Relaxed) {
        let values: Vec<String> = (next..next + PIPELINE).map(|number| number.to_string()).collect();
        next += PIPELINE;
        for value in &values {
            if !matches!(client.try_call(&["SET", &key, value]), Ok(Reply::Simple(_))) {
                return (acknowledged, next);
            }
            acknowledged += 1;
        }
    }
    (acknowledged, next)
}

/// What the last server has said.
fn since_start(log: &str) -> &str {
    &log[log.rfind("is starting").unwrap_or(0)..]
}

/// What the server has said around the kill.
fn last_lines(log: &str) -> String {
    const LINES: usize = 60;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn kill_loop(policy: &str) {
    let directive = format!("appendfsync {policy}");
    let mut server = Server::tine(&["appendonly yes", &directive, "auto-aof-rewrite-min-size 20kb"]);
    let mut next = [1u64; 3];
    let mut random = fastrand::Rng::with_seed(7);
    let kills = std::env::var("TINE_CRASH_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    // What the last restart has found: a round that acknowledges nothing must not lose it.
    let mut durable = [0u64; 3];
    let (mut acknowledged_writes, mut late_rounds) = (0, 0);
    for round in 0..kills {
        let stop = AtomicBool::new(false);
        let port = server.port();
        let results: Vec<(u64, u64)> = thread::scope(|scope| {
            let writers: Vec<_> = (0..next.len())
                .map(|index| {
                    let (first, stop) = (next[index], &stop);
                    scope.spawn(move || write_until_killed(port, format!("counter:{index}"), first, stop))
                })
                .collect();
            thread::sleep(Duration::from_millis(random.u64(20..250)));
            if round % 3 == 0 {
                server.client().call(&["BGREWRITEAOF"]);
                thread::sleep(Duration::from_millis(random.u64(0..20)));
            }
            server.kill();
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().expect("a writer does not panic")).collect()
        });
        let log = server.log();
        server.restart();
        let mut client = server.client();
        for (index, (acknowledged, sent)) in results.into_iter().enumerate() {
            let found = match client.call(&["GET", &format!("counter:{index}")]) {
                Reply::Bulk(text) => {
                    String::from_utf8_lossy(&text).parse::<u64>().expect("a number was written")
                }
                _ => 0,
            };
            // A write(2) that was blocked for 100 ms: the one case that the contract names, and the
            // log has it before the first reply that did not wait.
            let late = policy == "everysec" && since_start(&log).contains("replies no longer wait for it");
            late_rounds += u64::from(late && index == 0);
            let last_acknowledged = if acknowledged > 0 { next[index] + acknowledged - 1 } else { 0 };
            let least = if late { durable[index] } else { durable[index].max(last_acknowledged) };
            assert!(
                (least..sent).contains(&found),
                "{policy}, round {round}: {least} was promised, {found} is there ({sent} sent)\n{}",
                last_lines(&log)
            );
            acknowledged_writes += acknowledged;
            durable[index] = found;
            next[index] = sent;
        }
    }
    println!(
        "{policy}: {kills} kills, {acknowledged_writes} acknowledged writes, 0 lost, {late_rounds} rounds with late writes"
    );
}

#[test]
fn always_loses_nothing_that_was_acknowledged() {
    kill_loop("always");
}

#[test]
fn everysec_loses_nothing_to_a_kill() {
    kill_loop("everysec");
}
