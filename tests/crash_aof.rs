//! The kill loop: a server that is killed at random moments, rewrites included, keeps every write
//! that it acknowledged. (Power cuts are a matter of the storage model in `persist::aof`.)

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::{Client, Reply, Server};

/// Kills of one policy.
const KILLS: u64 = 25;
/// A killed client's reads end by this.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests sent together.
const PIPELINE: u64 = 16;

/// Sends ascending numbers until the connection breaks; returns (acknowledged, sent).
fn write_until_killed(port: u16, key: String, first: u64, stop: &AtomicBool) -> (u64, u64) {
    let acknowledged = AtomicU64::new(first - 1);
    let mut next = first;
    // The kill may come before the connection.
    let Ok(mut client) = Client::try_connect(port) else { return (first - 1, first) };
    client.set_timeout(CLIENT_TIMEOUT);
    while !stop.load(Ordering::Relaxed) {
        let values: Vec<String> = (next..next + PIPELINE).map(|number| number.to_string()).collect();
        next += PIPELINE;
        for value in &values {
            if !matches!(client.try_call(&["SET", &key, value]), Ok(Reply::Simple(_))) {
                return (acknowledged.load(Ordering::Relaxed), next);
            }
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
    (acknowledged.load(Ordering::Relaxed), next)
}

fn kill_loop(policy: &str) {
    let directive = format!("appendfsync {policy}");
    let mut server = Server::tine(&["appendonly yes", &directive, "auto-aof-rewrite-min-size 20kb"]);
    let mut next = [1u64; 3];
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..KILLS {
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
        server.restart();
        let mut client = server.client();
        for (index, (acknowledged, sent)) in results.into_iter().enumerate() {
            let found = match client.call(&["GET", &format!("counter:{index}")]) {
                Reply::Bulk(text) => {
                    String::from_utf8_lossy(&text).parse::<u64>().expect("a number was written")
                }
                _ => 0,
            };
            assert!(
                (acknowledged..sent).contains(&found),
                "{policy}, round {round}: {acknowledged} was acknowledged, {found} is there ({sent} sent)"
            );
            next[index] = sent;
        }
    }
}

#[test]
fn always_loses_nothing_that_was_acknowledged() {
    kill_loop("always");
}

#[test]
fn everysec_loses_nothing_to_a_kill() {
    kill_loop("everysec");
}
