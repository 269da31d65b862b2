//! What the stream carries besides changes, and what becomes of it when a side changes or waits.

use crate::common::{Client, Reply, Server, wait_until};
use crate::{DEADLINE, DEBUG, follow, info, wait_equal};
use nix::sys::signal::Signal;

const QUICK: &str = "repl-diskless-sync-delay 0";

fn server(directives: &[&str]) -> Server {
    let mut all = vec![DEBUG, QUICK];
    all.extend_from_slice(directives);
    Server::tine(&all)
}

/// Waits for what a primary has saved about its replica: then SIGTERM asks it for nothing more.
fn wait_acknowledged(client: &mut Client) {
    wait_until("the acknowledgement", DEADLINE, || {
        let offset = info(client, "master_repl_offset");
        info(client, "slave0").contains(&format!("offset={offset},"))
    });
}

/// Subscribers of a replica hear what is published at its primary; the AOF has no use for it.
fn hears_of_its_primary(replica: &Server) {
    let primary = server(&["appendonly yes"]);
    let (mut client, mut own) = (primary.client(), replica.client());
    follow(&mut own, primary.port());
    let mut listener = replica.client();
    listener.call(&["SUBSCRIBE", "news"]);
    client.pipeline(&[
        vec!["PUBLISH", "news", "alone"],
        vec!["MULTI"],
        vec!["SET", "a", "1"],
        vec!["PUBLISH", "news", "in a transaction"],
        vec!["EXEC"],
    ]);
    for wanted in ["alone", "in a transaction"] {
        assert_eq!(listener.read().items()[2], Reply::bulk(wanted));
    }
    wait_equal(&mut client, &mut own);
    let log = std::fs::read(primary.dir().join("appendonly.aof")).expect("the AOF is there");
    let log = String::from_utf8_lossy(&log).to_lowercase();
    assert!(log.contains("set") && !log.contains("publish"), "{log}");
    assert_eq!(client.call(&["WAITAOF", "1", "0", "5000"]).items()[0], Reply::Int(1));
}

#[test]
fn messages_reach_subscribers_of_replicas() {
    hears_of_its_primary(&server(&[]));
    if let Some(replica) = Server::redis(&[DEBUG]) {
        hears_of_its_primary(&replica);
    }
}

/// CLIENT PAUSE promises data that stay as they are; the stream goes on coming.
#[test]
fn a_paused_replica_takes_the_stream_and_applies_it_later() {
    let (primary, replica) = (server(&[]), server(&[]));
    let (mut client, mut own) = (primary.client(), replica.client());
    follow(&mut own, primary.port());
    client.ok(&["SET", "a", "1"]);
    wait_equal(&mut client, &mut own);
    let applied = info(&mut own, "slave_repl_offset");
    own.ok(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    client.ok(&["SET", "a", "2"]);
    wait_until("the stream", DEADLINE, || {
        info(&mut own, "slave_read_repl_offset") == info(&mut client, "master_repl_offset")
    });
    assert_eq!(info(&mut own, "slave_repl_offset"), applied);
    assert_eq!(own.call(&["GET", "a"]), Reply::bulk("1"));
    // A message is part of the stream too.
    let mut other = primary.client();
    other.call(&["PUBLISH", "news", "alone"]);
    assert_eq!(other.call(&["WAIT", "1", "50"]), Reply::Int(0));
    own.ok(&["CLIENT", "UNPAUSE"]);
    assert_eq!(other.call(&["WAIT", "1", "5000"]), Reply::Int(1));
    wait_equal(&mut client, &mut own);
    assert_eq!(own.call(&["GET", "a"]), Reply::bulk("2"));
}

#[test]
fn a_change_of_role_is_a_failure_of_who_waits() {
    let (first, second) = (server(&[]), server(&[]));
    let mut waiting = second.client();
    waiting.send(&["BLPOP", "list", "0"]);
    let mut own = second.client();
    wait_until("the client to wait", DEADLINE, || info(&mut own, "blocked_clients") == "1");
    follow(&mut own, first.port());
    let text = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
    assert_eq!(waiting.read(), Reply::Error(text.into()));
    assert!(waiting.read_to_close().is_empty());
    let counts = info(&mut own, "cmdstat_blpop");
    assert!(
        counts.starts_with("calls=1,") && counts.ends_with("rejected_calls=0,failed_calls=1"),
        "{counts}"
    );
    assert_eq!(info(&mut own, "errorstat_UNBLOCKED"), "count=1");
}

/// The replica still has keys that expired while its primary was down: the stream tells it.
#[test]
fn keys_that_expired_meanwhile_are_deleted_by_the_stream() {
    let (mut primary, replica) = (server(&["save \"3600 1\""]), server(&[]));
    let (mut client, mut own) = (primary.client(), replica.client());
    follow(&mut own, primary.port());
    client.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    for number in 0..100 {
        client.ok(&["SELECT", if number % 2 == 0 { "0" } else { "9" }]);
        client.ok(&["SET", &format!("key:{number}"), "v", "PX", "1"]);
    }
    client.ok(&["SET", "stays", "v"]);
    wait_equal(&mut client, &mut own);
    wait_acknowledged(&mut client);
    let offset: u64 = info(&mut client, "master_repl_offset").parse().expect("a number");
    primary.stop();
    primary.start_again();
    let mut client = primary.client();
    wait_equal(&mut client, &mut own);
    let number = |client: &mut Client, name: &str| info(client, name).parse::<u64>().expect("a number");
    assert_eq!(number(&mut client, "rdb_last_load_keys_expired"), 100);
    let deleted_bytes = number(&mut client, "repl_backlog_histlen");
    assert!(deleted_bytes > 100 * 20, "{deleted_bytes}");
    assert_eq!(number(&mut client, "master_repl_offset"), offset + deleted_bytes);
    assert_eq!((number(&mut client, "sync_partial_ok"), number(&mut client, "sync_full")), (1, 0));
    assert_eq!(own.call(&["DBSIZE"]), Reply::Int(0));
    own.ok(&["SELECT", "9"]);
    assert_eq!(own.call(&["DBSIZE"]), Reply::Int(1), "the key without an expiry");
}

/// What was kept for it goes in steps, and is no replica's any more.
#[test]
fn a_replica_that_goes_leaves_no_memory_of_replicas() {
    let (primary, replica) = (server(&["repl-backlog-size 16kb"]), server(&[]));
    let mut client = primary.client();
    follow(&mut replica.client(), primary.port());
    replica.signal(Signal::SIGSTOP);
    let value = "z".repeat(1 << 20);
    (0..24).for_each(|_| client.ok(&["SET", "big", &value]));
    let of_replicas =
        |client: &mut Client| info(client, "mem_clients_slaves").parse::<u64>().expect("a number");
    let before = of_replicas(&mut client);
    client.call(&["CLIENT", "KILL", "TYPE", "replica"]);
    let after = of_replicas(&mut client);
    replica.signal(Signal::SIGCONT);
    assert!(before > 10 << 20, "{before}");
    assert_eq!(after, 0);
}
