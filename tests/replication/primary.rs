//! This server as the primary of the distribution's redis-server.

use crate::common::{Client, Reply, Server, redis_cli, wait_until};
use crate::{DEBUG, child_of, follow, info, wait_equal};
use nix::sys::signal::Signal;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);
const AT_ONCE: &str = "repl-diskless-sync-delay 0";

fn fill(client: &mut Client) {
    let text = "y".repeat(900);
    for number in 0..300 {
        let name = |kind: &str| format!("{kind}:{number}");
        client.call(&["SET", &name("string"), &text[..number * 3]]);
        client.call(&["RPUSH", &name("list"), "a", "b", &text]);
        client.call(&["ZADD", &name("zset"), "1", "a", "2.5", "b"]);
        client.call(&["HSET", &name("hash"), "f", "v", "g", &text]);
        client.call(&["SET", &name("volatile"), "v", "PX", "3600000"]);
    }
}

/// A server that others follow, with data.
fn primary(directives: &[&str]) -> (Server, Client) {
    let mut all = vec![DEBUG, AT_ONCE];
    all.extend_from_slice(directives);
    let server = Server::tine(&all);
    let mut client = server.client();
    fill(&mut client);
    (server, client)
}

#[test]
fn both_ways_of_sending_give_equal_data() {
    let (server, mut client) = primary(&[]);
    for diskless in ["no", "yes"] {
        client.ok(&["CONFIG", "SET", "repl-diskless-sync", diskless]);
        for load in ["disabled", "swapdb"] {
            let Some(replica) = Server::redis(&[DEBUG, &format!("repl-diskless-load {load}")]) else {
                return;
            };
            let mut own = replica.client();
            follow(&mut own, server.port());
            client.pipeline(&[
                vec!["MULTI"],
                vec!["INCR", "a"],
                vec!["SELECT", "4"],
                vec!["INCR", "b"],
                vec!["EXEC"],
            ]);
            client.ok(&["SELECT", "0"]);
            wait_equal(&mut client, &mut own);
        }
    }
}

#[test]
fn replicas_that_were_cut_off_go_on_where_they_were() {
    let (server, mut client) = primary(&[]);
    let Some(first) = Server::redis(&[DEBUG]) else { return };
    let Some(second) = Server::redis(&[DEBUG]) else { return };
    let (mut one, mut two) = (first.client(), second.client());
    follow(&mut one, server.port());
    follow(&mut two, server.port());
    let full = info(&mut client, "sync_full");
    for _ in 0..3 {
        client.call(&["CLIENT", "KILL", "TYPE", "replica"]);
        client.call(&["INCR", "counter"]);
        wait_equal(&mut client, &mut one);
        wait_equal(&mut client, &mut two);
    }
    assert_eq!(info(&mut client, "sync_full"), full);
    assert_eq!(info(&mut client, "sync_partial_ok"), "6");
    assert_eq!(client.call(&["WAIT", "2", "5000"]), Reply::Int(2));
}

#[test]
fn a_slow_replica_is_dropped_and_the_others_are_not() {
    let (server, mut client) =
        primary(&["client-output-buffer-limit replica 8mb 0 0", "repl-backlog-size 16kb"]);
    let Some(stuck) = Server::redis(&[DEBUG]) else { return };
    let Some(quick) = Server::redis(&[DEBUG]) else { return };
    let (mut one, mut two) = (stuck.client(), quick.client());
    follow(&mut one, server.port());
    follow(&mut two, server.port());
    stuck.signal(Signal::SIGSTOP);
    let value = "z".repeat(200_000);
    wait_until("the end of the slow replica", DEADLINE, || {
        client.call(&["SET", "big", &value]);
        info(&mut client, "connected_slaves") == "1"
    });
    wait_equal(&mut client, &mut two);
    assert_eq!(info(&mut client, "client_output_buffer_limit_disconnections"), "1");
    wait_until("what was kept for it to be given back", DEADLINE, || {
        let held: u64 = info(&mut client, "mem_total_replication_buffers").parse().expect("a number");
        held < 1 << 20
    });
    stuck.signal(Signal::SIGCONT);
    wait_equal(&mut client, &mut one);
}

#[test]
fn a_snapshot_that_fails_is_made_again() {
    let (server, mut client) = primary(&["rdb-key-save-delay 2000"]);
    for diskless in ["no", "yes"] {
        client.ok(&["CONFIG", "SET", "repl-diskless-sync", diskless]);
        client.ok(&["CONFIG", "SET", "rdb-key-save-delay", "2000"]);
        let Some(replica) = Server::redis(&[DEBUG]) else { return };
        let mut own = replica.client();
        own.call(&["REPLICAOF", "127.0.0.1", &server.port().to_string()]);
        let mut child = 0;
        wait_until("the child", DEADLINE, || {
            child = child_of(server.pid());
            child != 0 && info(&mut client, "connected_slaves") == "1"
        });
        let pid = nix::unistd::Pid::from_raw(child);
        nix::sys::signal::kill(pid, Signal::SIGKILL).expect("the child can be killed");
        wait_until("the failure", DEADLINE, || {
            server.log().contains("SYNC failed. BGSAVE child returned an error")
        });
        client.ok(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        wait_until("the next snapshot", DEADLINE, || info(&mut own, "master_link_status") == "up");
        wait_equal(&mut client, &mut own);
    }
}

#[test]
fn writes_want_replicas_when_they_are_asked_for() {
    let (server, mut client) = primary(&[]);
    client.ok(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let refused = client.call(&["SET", "a", "1"]);
    assert_eq!(refused, Reply::Error("NOREPLICAS Not enough good replicas to write.".into()));
    let Some(replica) = Server::redis(&[DEBUG, "appendonly yes"]) else { return };
    follow(&mut replica.client(), server.port());
    client.ok(&["SET", "a", "2"]);
    assert_eq!(client.call(&["WAIT", "1", "5000"]), Reply::Int(1));
    assert_eq!(client.call(&["WAIT", "2", "50"]), Reply::Int(1), "the time is up");
}

#[test]
fn a_replica_is_never_answered() {
    let (server, mut client) = primary(&[]);
    let mut replica = server.client();
    replica.send(&["SYNC"]);
    replica.send(&["PING"]);
    assert!(!String::from_utf8_lossy(&replica.read_to_close()).contains("PONG"));
    assert!(server.log().contains("Replica generated a reply to command 'ping'"));
    assert_eq!(client.call(&["PING"]).text(), "PONG");
}

#[test]
fn redis_cli_fetches_a_snapshot() {
    let (server, mut client) = primary(&[]);
    for diskless in ["no", "yes"] {
        client.ok(&["CONFIG", "SET", "repl-diskless-sync", diskless]);
        let path = server.dir().join("fetched.rdb");
        let Some(output) = redis_cli(server.port(), &["--rdb", &path.display().to_string()]) else { return };
        assert!(output.status.success(), "{output:?}");
        let bytes = std::fs::read(&path).expect("it has been written");
        assert!(bytes.starts_with(b"REDIS0010") && bytes.len() > 20_000, "{} bytes", bytes.len());
    }
    wait_until("the end of the connection", DEADLINE, || info(&mut client, "connected_slaves") == "0");
}

#[test]
fn a_foreground_save_knows_its_place_in_history() {
    let (server, mut client) = primary(&["repl-ping-replica-period 3600"]);
    let Some(replica) = Server::redis(&[DEBUG]) else { return };
    follow(&mut replica.client(), server.port());
    client.pipeline(&[vec!["SET", "a", "1"], vec!["SAVE"]]);
    let offset: i64 = info(&mut client, "master_repl_offset").parse().expect("a number");
    let bytes = std::fs::read(server.dir().join("dump.rdb")).expect("it has been saved");
    assert_eq!(offset_in(&bytes), offset);
}

/// The field `repl-offset` of a snapshot, a number in one of the short forms.
fn offset_in(snapshot: &[u8]) -> i64 {
    const NAME: &[u8] = b"repl-offset";
    let start = snapshot.windows(NAME.len()).position(|window| window == NAME).expect("the field is there");
    match &snapshot[start + NAME.len()..] {
        [0xc0, byte, ..] => i64::from(*byte as i8),
        [0xc1, low, high, ..] => i64::from(i16::from_le_bytes([*low, *high])),
        [0xc2, a, b, c, d, ..] => i64::from(i32::from_le_bytes([*a, *b, *c, *d])),
        other => panic!("no short number: {:?}", &other[..other.len().min(8)]),
    }
}

#[test]
fn a_failover_that_cannot_be_met_changes_no_role() {
    let (server, mut client) = primary(&[]);
    let replica = Server::tine(&[DEBUG]);
    let mut own = replica.client();
    follow(&mut own, server.port());
    let id = info(&mut client, "master_replid");
    let refused = own.call(&["PSYNC", &id, "nothing", "FAILOVER"]);
    assert_eq!(refused, Reply::Error("ERR value is not an integer or out of range".into()));
    assert_eq!(info(&mut own, "role"), "slave");
}

#[test]
fn a_shutdown_that_waits_removes_no_expired_keys() {
    let (server, mut client) = primary(&["shutdown-timeout 20"]);
    let mut replica = server.client();
    // It never acknowledges anything.
    replica.send(&["SYNC"]);
    wait_until("the replica", DEADLINE, || info(&mut client, "connected_slaves") == "1");
    client.ok(&["SET", "short", "1", "PX", "300"]);
    let keys = client.call(&["DBSIZE"]);
    let mut admin = server.client();
    admin.send(&["SHUTDOWN", "NOSAVE"]);
    wait_until("the shutdown", DEADLINE, || {
        server.log().contains("Waiting for replicas before shutting down.")
    });
    wait_until("the key's end", DEADLINE, || client.call(&["GET", "short"]).is_null());
    assert_eq!(client.call(&["DBSIZE"]), keys);
    client.ok(&["SHUTDOWN", "ABORT"]);
    wait_until("its removal", DEADLINE, || client.call(&["DBSIZE"]) != keys);
}
