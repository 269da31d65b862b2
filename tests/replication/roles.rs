//! Servers of this kind among themselves: chains, promotion, restarts, FAILOVER, and the recipes that
//! operators use.

use crate::common::{Client, Program, Reply, Server, new_folder, wait_until};
use crate::proxy::Proxy;
use crate::{DEADLINE, DEBUG, digest, follow, info, wait_equal};

const QUICK: &str = "repl-diskless-sync-delay 0";

fn server() -> Server {
    Server::tine(&[DEBUG, QUICK])
}

#[test]
fn a_chain_passes_the_stream_on_and_survives_a_promotion() {
    let (first, second, third) = (server(), server(), server());
    let (mut one, mut two, mut three) = (first.client(), second.client(), third.client());
    one.ok(&["SET", "a", "1"]);
    follow(&mut two, first.port());
    follow(&mut three, second.port());
    one.call(&["INCR", "a"]);
    wait_equal(&mut one, &mut two);
    wait_equal(&mut one, &mut three);
    assert_eq!(info(&mut one, "master_replid"), info(&mut three, "master_replid"));
    // The second is promoted, the third goes on by the second id, the first becomes its replica.
    two.ok(&["REPLICAOF", "NO", "ONE"]);
    two.call(&["INCR", "a"]);
    wait_equal(&mut two, &mut three);
    assert_eq!(info(&mut two, "sync_partial_ok"), "1");
    follow(&mut one, second.port());
    wait_equal(&mut two, &mut one);
    assert_eq!(info(&mut two, "sync_full"), "1");
    assert_eq!(info(&mut two, "sync_partial_ok"), "2");
}

#[test]
fn a_replica_that_restarts_goes_on_where_its_snapshot_was() {
    let (primary, mut replica) = (server(), server());
    let (mut client, mut own) = (primary.client(), replica.client());
    follow(&mut own, primary.port());
    client.ok(&["SELECT", "5"]);
    client.ok(&["SET", "a", "1"]);
    client.ok(&["SELECT", "0"]);
    wait_equal(&mut client, &mut own);
    own.ok(&["SAVE"]);
    let line = format!("replicaof 127.0.0.1 {}", primary.port());
    replica.set_directives(&[DEBUG, QUICK, &line]);
    replica.stop();
    client.ok(&["SELECT", "5"]);
    client.call(&["INCR", "a"]);
    replica.restart();
    let mut own = replica.client();
    wait_equal(&mut client, &mut own);
    assert_eq!(info(&mut client, "sync_full"), "1");
    assert_eq!(info(&mut client, "sync_partial_ok"), "1");
}

/// The place stands beside the AOF after a clean end; a crash leaves none.
#[test]
fn a_restart_from_the_log_goes_on_where_it_was() {
    let lines = [DEBUG, QUICK, "appendonly yes"];
    let (mut primary, mut replica) = (Server::tine(&lines), Server::tine(&lines));
    let (mut client, mut own) = (primary.client(), replica.client());
    let follows = format!("replicaof 127.0.0.1 {}", primary.port());
    let following = [&lines[..], &[follows.as_str()]].concat();
    follow(&mut own, primary.port());
    client.ok(&["SELECT", "5"]);
    client.ok(&["SET", "a", "1"]);
    wait_equal(&mut client, &mut own);
    // The log is written anew after the data set has come.
    wait_until("the log", DEADLINE, || replica.log().contains("AOF enabled successfully"));
    replica.set_directives(&following);
    replica.stop();
    client.call(&["INCR", "a"]);
    replica.start_again();
    let mut own = replica.client();
    wait_equal(&mut client, &mut own);
    let counts = |client: &mut Client| (info(client, "sync_full"), info(client, "sync_partial_ok"));
    assert_eq!(counts(&mut client), ("1".into(), "1".into()), "the replica");
    primary.stop();
    primary.start_again();
    let mut client = primary.client();
    wait_equal(&mut client, &mut own);
    assert_eq!(counts(&mut client), ("0".into(), "1".into()), "the primary");
    client.ok(&["SELECT", "5"]);
    client.call(&["INCR", "a"]);
    wait_equal(&mut client, &mut own);
    replica.kill();
    replica.start_again();
    let mut own = replica.client();
    wait_equal(&mut client, &mut own);
    assert_eq!(counts(&mut client), ("1".into(), "1".into()), "a replica that crashed");
    own.ok(&["SELECT", "5"]);
    assert_eq!(own.call(&["GET", "a"]), Reply::bulk("3"));
}

/// What the disk did not take is missing in the log, so it ends at no place that is known.
#[test]
fn a_forced_end_without_the_disk_notes_no_place() {
    let lines = [DEBUG, QUICK, "appendonly yes"];
    let (mut primary, replica) = (Server::tine(&lines), Server::tine(&lines));
    let (mut client, mut own) = (primary.client(), replica.client());
    follow(&mut own, primary.port());
    client.ok(&["SET", "a", "1"]);
    wait_equal(&mut client, &mut own);
    client.ok(&["DEBUG", "DISK-FAULT", "fdatasync", "fail:EIO", "1", "appendonly.aof"]);
    client.call(&["INCR", "a"]);
    client.send(&["SHUTDOWN", "NOW", "NOSAVE", "FORCE"]);
    assert!(primary.wait_exit(DEADLINE).success());
    assert!(primary.log().contains("Exit anyway"), "{}", primary.log());
    assert!(!primary.dir().join("appendonly.aof.place").exists(), "it names an offset of a log that failed");
}

#[test]
fn failover_hands_the_role_over_without_a_lost_write() {
    let (first, second) = (server(), server());
    let (mut one, mut two) = (first.client(), second.client());
    follow(&mut two, first.port());
    one.call(&["INCR", "a"]);
    wait_equal(&mut one, &mut two);
    assert!(two.call(&["FAILOVER"]).text().contains("not valid when server is a replica"));
    assert!(one.call(&["FAILOVER", "ABORT"]).text().contains("No failover in progress"));
    one.ok(&["FAILOVER", "TO", "127.0.0.1", &second.port().to_string(), "TIMEOUT", "10000"]);
    wait_until("the new primary", DEADLINE, || info(&mut two, "role") == "master");
    wait_until("the old one follows", DEADLINE, || info(&mut one, "master_link_status") == "up");
    assert_eq!(info(&mut one, "master_failover_state"), "no-failover");
    two.call(&["INCR", "a"]);
    wait_equal(&mut two, &mut one);
    assert_eq!(two.call(&["GET", "a"]), Reply::bulk("2"));
    assert_eq!(info(&mut two, "sync_full"), "0");
    two.ok(&["CONFIG", "RESETSTAT"]);
    assert_eq!(info(&mut two, "sync_partial_ok"), "0");
}

#[test]
fn a_replica_of_itself_and_a_circle_come_to_nothing() {
    let (first, second) = (server(), server());
    let (mut one, mut two) = (first.client(), second.client());
    one.ok(&["SET", "a", "1"]);
    one.ok(&["REPLICAOF", "127.0.0.1", &first.port().to_string()]);
    wait_until("the refusal", DEADLINE, || first.log().contains("NOMASTERLINK"));
    assert_eq!(one.call(&["GET", "a"]), Reply::bulk("1"));
    one.ok(&["REPLICAOF", "127.0.0.1", &second.port().to_string()]);
    two.ok(&["REPLICAOF", "127.0.0.1", &first.port().to_string()]);
    wait_until("the refusal", DEADLINE, || second.log().contains("NOMASTERLINK"));
    two.ok(&["REPLICAOF", "NO", "ONE"]);
    wait_equal(&mut two, &mut one);
}

/// The stream of the old role ends before the write, so a partial synchronization would keep it.
#[test]
fn a_write_in_the_transaction_that_changes_the_role_is_not_kept() {
    let (first, second) = (server(), server());
    let (mut one, mut two) = (first.client(), second.client());
    follow(&mut two, first.port());
    one.ok(&["SET", "a", "1"]);
    wait_equal(&mut one, &mut two);
    two.ok(&["REPLICAOF", "NO", "ONE"]);
    let port = second.port().to_string();
    one.pipeline(&[
        vec!["MULTI"],
        vec!["SET", "only:here", "1"],
        vec!["REPLICAOF", "127.0.0.1", &port],
        vec!["EXEC"],
    ]);
    wait_equal(&mut two, &mut one);
    assert_eq!(one.call(&["EXISTS", "only:here"]), Reply::Int(0));
}

#[test]
fn stale_data_are_served_or_not() {
    let (primary, replica) = (server(), server());
    let proxy = Proxy::to(primary.port());
    let (mut client, mut own) = (primary.client(), replica.client());
    client.ok(&["SET", "a", "1"]);
    follow(&mut own, proxy.port());
    proxy.close(true);
    wait_until("the loss", DEADLINE, || info(&mut own, "master_link_status") == "down");
    assert_eq!(own.call(&["GET", "a"]), Reply::bulk("1"));
    own.ok(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    assert!(own.call(&["GET", "a"]).text().starts_with("MASTERDOWN"));
    assert!(info(&mut own, "master_link_down_since_seconds").parse::<i64>().is_ok());
    proxy.close(false);
    wait_until("the link", DEADLINE, || info(&mut own, "master_link_status") == "up");
    assert_eq!(own.call(&["GET", "a"]), Reply::bulk("1"));
}

/// A unique token on the primary, seen on the replica, and nothing waits for its disk.
#[test]
fn the_recipe_that_waits_for_a_replica_works() {
    let primary = server();
    let replica = Server::tine(&[DEBUG, QUICK, "appendonly yes"]);
    let (mut client, mut own) = (primary.client(), replica.client());
    follow(&mut own, primary.port());
    client.call(&["ZADD", "sync:wait", "1", "token"]);
    wait_until("the token", DEADLINE, || own.call(&["ZSCORE", "sync:wait", "token"]) == Reply::bulk("1"));
    wait_until("the disk", DEADLINE, || info(&mut own, "aof_pending_bio_fsync") == "0");
    client.call(&["ZREM", "sync:wait", "token"]);
    assert_eq!(client.call(&["WAIT", "1", "10000"]), Reply::Int(1));
    assert_eq!(own.call(&["EXISTS", "sync:wait"]), Reply::Int(0));
}

/// SAVE on the replica, its file to a new machine, which becomes the primary that the replica follows.
#[test]
fn the_recipe_that_replaces_a_dead_primary_works() {
    let (mut primary, replica) = (server(), server());
    let (mut client, mut own) = (primary.client(), replica.client());
    follow(&mut own, primary.port());
    client
        .pipeline(&(0..1000).map(|n| vec!["SET".into(), format!("k{n}"), n.to_string()]).collect::<Vec<_>>());
    wait_equal(&mut client, &mut own);
    primary.kill();
    own.ok(&["SAVE"]);
    let folder = new_folder();
    std::fs::copy(replica.dir().join("dump.rdb"), folder.path().join("dump.rdb")).expect("copied");
    let fresh = Server::start(Program::Tine, folder, &[DEBUG, QUICK]);
    let mut new_client = fresh.client();
    assert_eq!(digest(&mut new_client), digest(&mut own));
    follow(&mut own, fresh.port());
    new_client.ok(&["SET", "after", "1"]);
    wait_equal(&mut new_client, &mut own);
}
