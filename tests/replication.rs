//! Replication: this server and the distribution's redis-server in both roles, among its own kind,
//! under faults, and by Sentinel.

mod common;

#[path = "replication/engines.rs"]
mod engines;
#[path = "replication/handmade.rs"]
mod handmade;
#[path = "replication/primary.rs"]
mod primary;
#[path = "replication/primary_relay.rs"]
mod primary_relay;
#[path = "replication/proxy.rs"]
mod proxy;
#[path = "replication/random.rs"]
mod random;
#[path = "replication/replica.rs"]
mod replica;
#[path = "replication/roles.rs"]
mod roles;
#[path = "replication/sentinel.rs"]
mod sentinel;
#[path = "replication/stream.rs"]
mod stream;

use common::{Client, wait_until};
use std::time::Duration;

/// Longest wait for a synchronisation.
const DEADLINE: Duration = Duration::from_secs(30);
/// Lets tests compare data sets.
const DEBUG: &str = "enable-debug-command yes";

/// One field of INFO.
fn info(client: &mut Client, name: &str) -> String {
    let text = client.call(&["INFO", "everything"]).text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().to_owned()
}

/// Makes a server follow the primary on `port` and waits for the link.
#[track_caller]
fn follow(client: &mut Client, port: u16) {
    let reply = client.call(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
    assert!(!reply.is_error(), "{reply:?}");
    wait_until("the link to the primary", DEADLINE, || info(client, "master_link_status") == "up");
}

/// The first child of a process, 0 without one; one that has ended is there until it is reaped.
fn child_of(pid: i32) -> i32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn digest(client: &mut Client) -> String {
    client.call(&["DEBUG", "DIGEST"]).text()
}

/// Waits until both have the same data, and the same offset where they tell it.
#[track_caller]
fn wait_equal(primary: &mut Client, replica: &mut Client) {
    wait_until("equal data", DEADLINE, || {
        info(replica, "master_link_status") == "up"
            && info(primary, "master_repl_offset") == info(replica, "slave_repl_offset")
            && digest(primary) == digest(replica)
    });
}
