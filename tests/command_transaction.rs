//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

mod common;

use common::InProcess;

#[test]
fn queued_commands_run_at_exec() {
    let mut test = InProcess::new();
    assert_eq!(test.call("MULTI"), "+OK");
    assert_eq!(test.call("SET a 1"), "+QUEUED");
    assert_eq!(test.call("GET a"), "+QUEUED");
    let other = test.client();
    assert_eq!(test.call_as(other, "GET a"), "$-1");
    assert_eq!(test.call("EXEC"), "*2 +OK $1 1");
    assert_eq!(test.call("EXEC"), "-ERR EXEC without MULTI");
    assert_eq!(test.call("MULTI"), "+OK");
    assert_eq!(test.call("EXEC"), "*0");
}

#[test]
fn control_commands_in_the_wrong_place() {
    let mut test = InProcess::new();
    assert_eq!(test.call("DISCARD"), "-ERR DISCARD without MULTI");
    test.call("MULTI");
    assert_eq!(test.call("MULTI"), "-ERR MULTI calls can not be nested");
    assert_eq!(test.call("WATCH a"), "-ERR WATCH inside MULTI is not allowed");
    assert_eq!(test.call("UNWATCH"), "+QUEUED");
    assert_eq!(test.call("EXEC"), "*1 +OK");
}

#[test]
fn discard_forgets_the_queue() {
    let mut test = InProcess::new();
    test.call("MULTI");
    test.call("SET a 1");
    assert_eq!(test.call("DISCARD"), "+OK");
    assert_eq!(test.call("GET a"), "$-1");
    let state = test.server.clients.get(test.main).expect("it is connected");
    assert_eq!(state.multi_bytes(), 0);
}

#[test]
fn a_refused_command_aborts_the_transaction() {
    let mut test = InProcess::new();
    test.call("MULTI");
    test.call("SET a 1");
    assert_eq!(test.call("GET"), "-ERR wrong number of arguments for 'get' command");
    assert_eq!(test.call("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(test.call("GET a"), "$-1");
    test.call("MULTI");
    assert_eq!(
        test.call("EXEC now"),
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
    );
    assert_eq!(test.call("EXEC"), "-ERR EXEC without MULTI");
}

#[test]
fn a_changed_watched_key_stops_exec() {
    let mut test = InProcess::new();
    let other = test.client();
    test.call("SET k 1");
    assert_eq!(test.call("WATCH k k other"), "+OK");
    test.call_as(other, "SET k 2");
    test.call("MULTI");
    test.call("SET k 3");
    assert_eq!(test.call("EXEC"), "*-1");
    assert_eq!(test.call("GET k"), "$1 2");
    assert!(test.server.watches.is_empty());
    test.resp3(test.main);
    test.call("WATCH k");
    test.call_as(other, "SET k 4");
    test.call("MULTI");
    assert_eq!(test.call("EXEC"), "_");
}

#[test]
fn unwatch_discard_and_exec_forget_watched_keys() {
    let mut test = InProcess::new();
    let other = test.client();
    for forget in ["UNWATCH", "MULTI DISCARD", "MULTI EXEC", "RESET"] {
        test.call("WATCH k");
        for word in forget.split(' ') {
            test.call(word);
        }
        assert!(test.server.watches.is_empty(), "{forget}");
        test.call_as(other, "SET k x");
        test.call("MULTI");
        test.call("PING");
        assert_eq!(test.call("EXEC"), "*1 +PONG", "{forget}");
    }
}

#[test]
fn only_the_watched_database_counts() {
    let mut test = InProcess::new();
    let other = test.client();
    test.call("WATCH k");
    test.call_as(other, "SELECT 1");
    test.call_as(other, "SET k x");
    test.call("MULTI");
    assert_eq!(test.call("EXEC"), "*0");
}

/// Puts an expiry on a key without a command that does.
fn expire_at(test: &mut InProcess, key: &[u8], at_ms: i64) {
    let hash = test.server.keyspace.hash(key);
    assert!(test.server.keyspace.db_mut(0).set_expiry(hash, key, Some(at_ms)));
}

#[test]
fn a_watched_key_that_expires_stops_exec() {
    let mut test = InProcess::new();
    test.call("SET k 1");
    let now_ms = test.now_ms();
    expire_at(&mut test, b"k", now_ms + 10);
    test.call("WATCH k");
    test.clock_ms(20);
    test.call("MULTI");
    assert_eq!(test.call("EXEC"), "*-1");
}

#[test]
fn a_key_expired_before_watch_may_go() {
    let mut test = InProcess::new();
    let other = test.client();
    for removed in [false, true] {
        test.call("SET k 1");
        let now_ms = test.now_ms();
        expire_at(&mut test, b"k", now_ms + 10);
        test.clock_ms(20);
        test.call("WATCH k");
        if removed {
            assert_eq!(test.call_as(other, "GET k"), "$-1");
        }
        test.call("MULTI");
        assert_eq!(test.call("EXEC"), "*0", "removed: {removed}");
    }
    test.call("SET k 1");
    let now_ms = test.now_ms();
    expire_at(&mut test, b"k", now_ms + 10);
    test.clock_ms(20);
    test.call("WATCH k");
    test.call_as(other, "SET k new");
    test.call("MULTI");
    assert_eq!(test.call("EXEC"), "*-1");
}

#[test]
fn emptying_and_exchanging_databases_touches_watched_keys() {
    let mut test = InProcess::new();
    test.call("SET here x");
    let cases = [
        ("here", None, true),
        ("missing", None, false),
        ("here", Some(1), true),
        ("missing", Some(1), false),
    ];
    for (key, replaced_by, touched) in cases {
        test.call(&format!("WATCH {key}"));
        test.server.touch_all_watched(0, replaced_by);
        test.call("MULTI");
        assert_eq!(test.call("EXEC"), if touched { "*-1" } else { "*0" }, "{key} {replaced_by:?}");
    }
    test.call("SELECT 1");
    test.call("SET missing there");
    test.call("SELECT 0");
    test.call("WATCH missing");
    test.server.touch_all_watched(0, Some(1));
    test.call("MULTI");
    assert_eq!(test.call("EXEC"), "*-1");
}

#[test]
fn a_transaction_is_one_unit_of_propagation() {
    let mut test = InProcess::new();
    test.record_propagation();
    test.call("MULTI");
    test.call("SET a 1");
    test.call("GET a");
    test.call("SELECT 2");
    test.call("SET b 2");
    test.call("EXEC");
    assert_eq!(test.propagated(), ["MULTI", "SELECT 0", "SET a 1", "SELECT 2", "SET b 2", "EXEC"]);
    assert_eq!(test.call("GET b"), "$1 2");
}

#[test]
fn errors_of_queued_commands_stand_in_the_reply() {
    let mut test = InProcess::new();
    test.call("MULTI");
    test.call("SELECT 99");
    test.call("PING");
    assert_eq!(test.call("EXEC"), "*2 -ERR DB index is out of range +PONG");
}
