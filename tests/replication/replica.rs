//! This server as a replica of the distribution's redis-server.

use crate::common::{Client, Reply, Server, wait_for, wait_until};
use crate::proxy::Proxy;
use crate::{DEBUG, digest, follow, info, wait_equal};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

/// Keys of all types, some with an expiry.
fn fill(client: &mut Client) {
    for number in 0..200 {
        let name = |kind: &str| format!("{kind}:{number}");
        let text = "x".repeat(number * 7);
        client.call(&["SET", &name("string"), &text]);
        client.call(&["SET", &name("volatile"), "v", "PX", "3600000"]);
        client.call(&["RPUSH", &name("list"), "a", "b", &text]);
        client.call(&["SADD", &name("set"), "1", "2", &text]);
        client.call(&["HSET", &name("hash"), "f", "v", "g", &text]);
        client.call(&["ZADD", &name("zset"), "1", "a", "2.5", &text]);
        client.call(&["XADD", &name("stream"), "1-1", "f", &text]);
    }
    client.ok(&["SELECT", "3"]);
    client.ok(&["SET", "elsewhere", "1"]);
    client.ok(&["SELECT", "0"]);
}

#[test]
fn all_ways_of_loading_give_equal_data() {
    let Some(primary) = Server::redis(&[DEBUG, "repl-diskless-sync-delay 0"]) else { return };
    let mut client = primary.client();
    fill(&mut client);
    for sent in ["no", "yes"] {
        client.ok(&["CONFIG", "SET", "repl-diskless-sync", sent]);
        for loaded in ["disabled", "on-empty-db", "swapdb"] {
            let replica = Server::tine(&[DEBUG, &format!("repl-diskless-load {loaded}")]);
            let mut own = replica.client();
            if loaded != "on-empty-db" {
                own.ok(&["SET", "old", "1"]);
            }
            follow(&mut own, primary.port());
            client.call(&["INCR", "counter"]);
            wait_equal(&mut client, &mut own);
        }
    }
}

#[test]
fn a_link_that_breaks_goes_on_where_it_was() {
    let Some(primary) = Server::redis(&[DEBUG, "repl-diskless-sync-delay 0"]) else { return };
    let (mut client, replica) = (primary.client(), Server::tine(&[DEBUG]));
    let mut own = replica.client();
    follow(&mut own, primary.port());
    for round in 1..=3 {
        client.call(&["CLIENT", "KILL", "TYPE", "slave"]);
        client.pipeline(&[
            vec!["MULTI"],
            vec!["INCR", "a"],
            vec!["SELECT", "2"],
            vec!["INCR", "b"],
            vec!["EXEC"],
        ]);
        wait_equal(&mut client, &mut own);
        assert_eq!(info(&mut client, "sync_partial_ok"), round.to_string());
    }
    own.call(&["CLIENT", "KILL", "TYPE", "master"]);
    wait_until("the link", DEADLINE, || info(&mut own, "master_link_status") == "up");
    assert_eq!(
        (info(&mut client, "sync_partial_ok"), info(&mut client, "sync_full")),
        ("4".into(), "1".into())
    );
}

#[test]
fn a_transaction_that_is_cut_comes_again_whole() {
    let Some(primary) = Server::redis(&[DEBUG, "repl-diskless-sync-delay 0"]) else { return };
    let proxy = Proxy::to(primary.port());
    let (mut client, replica) = (primary.client(), Server::tine(&[DEBUG]));
    let mut own = replica.client();
    follow(&mut own, proxy.port());
    client.ok(&["SET", "before", "1"]);
    wait_equal(&mut client, &mut own);
    let seed = u64::from(std::process::id());
    eprintln!("seed {seed}");
    for round in 0..20u64 {
        // Somewhere inside the transaction.
        proxy.cut_after((20 + (seed + round * 37) % 300) as i64);
        let mut commands = vec![vec!["MULTI"]];
        commands.extend((0..10).map(|_| vec!["INCR", "counter"]));
        commands.push(vec!["EXEC"]);
        client.pipeline(&commands);
        let seen = own.call(&["GET", "counter"]);
        let seen: u64 = if seen.is_null() { 0 } else { seen.text().parse().expect("a number") };
        assert_eq!(seen % 10, 0, "half of a transaction shows");
        wait_equal(&mut client, &mut own);
    }
    assert_eq!(info(&mut client, "sync_full"), "1");
}

#[test]
fn a_replica_is_read_only_and_keeps_expired_keys_hidden() {
    let Some(primary) = Server::redis(&[DEBUG, "repl-diskless-sync-delay 0"]) else { return };
    let (mut client, replica) = (primary.client(), Server::tine(&[DEBUG]));
    let mut own = replica.client();
    follow(&mut own, primary.port());
    assert!(own.call(&["SET", "x", "1"]).text().starts_with("READONLY"));
    client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    client.ok(&["SET", "short", "1", "PX", "50"]);
    wait_until("the key", DEADLINE, || own.call(&["DBSIZE"]) == Reply::Int(1));
    wait_until("its end", DEADLINE, || own.call(&["GET", "short"]).is_null());
    assert_eq!(own.call(&["DBSIZE"]), Reply::Int(1));
    assert!(client.call(&["GET", "short"]).is_null());
    wait_until("the primary's word", DEADLINE, || own.call(&["DBSIZE"]) == Reply::Int(0));
}

#[test]
fn an_empty_primary_does_not_wipe_a_full_replica() {
    let Some(primary) = Server::redis(&[DEBUG, "repl-diskless-sync-delay 0"]) else { return };
    for loaded in ["disabled", "swapdb"] {
        let replica =
            Server::tine(&[DEBUG, "replica-refuse-empty-sync yes", &format!("repl-diskless-load {loaded}")]);
        let (mut client, mut own) = (primary.client(), replica.client());
        client.ok(&["FLUSHALL"]);
        own.ok(&["SET", "precious", "1"]);
        own.ok(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
        wait_until("the refusal", DEADLINE, || replica.log().contains("replica-refuse-empty-sync"));
        assert_eq!(own.call(&["GET", "precious"]), Reply::bulk("1"));
        client.ok(&["SET", "a", "1"]);
        wait_equal(&mut client, &mut own);
    }
}

#[test]
fn faults_at_every_step_end_in_equal_data() {
    let Some(primary) = Server::redis(&[DEBUG, "repl-diskless-sync-delay 0", "repl-timeout 5"]) else {
        return;
    };
    let proxy = Proxy::to(primary.port());
    let mut client = primary.client();
    fill(&mut client);
    for loaded in ["disabled", "swapdb"] {
        let replica = Server::tine(&[DEBUG, "repl-timeout 2", &format!("repl-diskless-load {loaded}")]);
        let mut own = replica.client();
        own.ok(&["SET", "old", "1"]);
        // PONG, the answers to REPLCONF, FULLRESYNC, the header, the data set, its end.
        for bytes in [0, 3, 9, 14, 30, 75, 90, 110, 2_000, 100_000, 200_000] {
            proxy.close_after(bytes);
            own.ok(&["REPLICAOF", "127.0.0.1", &proxy.port().to_string()]);
            wait_until("the cut or the link", DEADLINE, || {
                let settled = info(&mut own, "loading") == "0";
                settled && (proxy.is_closed() || info(&mut own, "master_link_status") == "up")
            });
            // All of the old or all of the new, whatever came.
            // What passed before the cut may still be on its way into a load that will break.
            let has_old = wait_for("an answer", DEADLINE, || {
                let (old, digests) = (own.call(&["GET", "old"]), (digest(&mut own), digest(&mut client)));
                let is_loading = old.is_error() || digests.0.starts_with("LOADING");
                let has_old = old == Reply::bulk("1");
                assert!(is_loading || has_old || digests.0 == digests.1, "cut after {bytes} bytes");
                (!is_loading).then_some(has_old)
            });
            assert!(has_old || bytes > 110, "cut before the data set");
            proxy.close(false);
            follow(&mut own, proxy.port());
            wait_equal(&mut client, &mut own);
            own.ok(&["REPLICAOF", "NO", "ONE"]);
            own.ok(&["SET", "old", "1"]);
            client.ok(&["DEBUG", "CHANGE-REPL-ID"]);
        }
    }
}

#[test]
fn a_silent_link_is_found_and_a_slow_one_is_not_hurt() {
    let Some(primary) = Server::redis(&[DEBUG, "repl-diskless-sync-delay 0"]) else { return };
    let proxy = Proxy::to(primary.port());
    let (mut client, replica) = (primary.client(), Server::tine(&[DEBUG, "repl-timeout 1"]));
    let mut own = replica.client();
    client.ok(&["CONFIG", "SET", "repl-ping-replica-period", "1"]);
    proxy.slow(20);
    follow(&mut own, proxy.port());
    proxy.slow(0);
    proxy.one_way(true);
    wait_until("the time-out", DEADLINE, || replica.log().contains("MASTER timeout"));
    client.ok(&["SET", "a", "1"]);
    proxy.one_way(false);
    wait_equal(&mut client, &mut own);
    assert_eq!(digest(&mut client), digest(&mut own));
}

/// What the primary writes would not be on the replica's disk: it ends, or says so and goes on.
#[test]
fn a_replica_whose_disk_fails_ends_unless_told_to_go_on() {
    for ignores in ["no", "yes"] {
        let primary = Server::tine(&[DEBUG, "repl-diskless-sync-delay 0"]);
        let line = format!("replica-ignore-disk-write-errors {ignores}");
        let mut replica = Server::tine(&[DEBUG, "save 3600 1", "dbfilename other.rdb", &line]);
        std::fs::create_dir(replica.dir().join("other.rdb")).expect("the folder is writable");
        let (mut client, mut own) = (primary.client(), replica.client());
        follow(&mut own, primary.port());
        assert!(!own.call(&["BGSAVE"]).is_error());
        wait_until("the failure", DEADLINE, || info(&mut own, "rdb_last_bgsave_status") == "err");
        client.ok(&["SET", "a", "1"]);
        if ignores == "yes" {
            wait_equal(&mut client, &mut own);
            assert!(replica.log().contains("even though it is unable to write to disk"));
        } else {
            assert!(!replica.wait_exit(DEADLINE).success());
            let reason = "unable to write command to disk: the last background save failed: Write error";
            assert!(replica.log().contains(reason), "{}", replica.log());
        }
    }
}

/// A save that the server itself has ended says nothing about the disk.
#[test]
fn a_replica_that_ends_its_own_save_goes_on() {
    let primary = Server::tine(&[DEBUG, "repl-diskless-sync-delay 0"]);
    let replica = Server::tine(&[DEBUG, "save 3600 1", "fork-child-timeout 1"]);
    let (mut client, mut own) = (primary.client(), replica.client());
    follow(&mut own, primary.port());
    own.ok(&["DEBUG", "DISK-FAULT", "write", "stall:20000", "1", "temp-"]);
    assert!(!own.call(&["BGSAVE"]).is_error());
    wait_until("the end", DEADLINE, || info(&mut own, "rdb_last_bgsave_status") == "err");
    assert!(replica.log().contains("(fork-child-timeout)"), "{}", replica.log());
    client.ok(&["SET", "a", "1"]);
    wait_equal(&mut client, &mut own);
}

#[test]
fn a_primary_is_found_by_its_name() {
    let primary = Server::tine(&[DEBUG, "repl-diskless-sync-delay 0"]);
    let replica = Server::tine(&[DEBUG]);
    let mut own = replica.client();
    own.ok(&["REPLICAOF", "no.such.host.invalid", "1"]);
    wait_until("the failure", DEADLINE, || replica.log().contains("Unable to connect to MASTER"));
    own.ok(&["REPLICAOF", "localhost", &primary.port().to_string()]);
    wait_until("the link", DEADLINE, || info(&mut own, "master_link_status") == "up");
}
