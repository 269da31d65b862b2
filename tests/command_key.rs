//! Commands on keys of any type against an in-process server: replies, expiry, events, propagation.

mod common;

use common::{InProcess, START_MS};

#[test]
fn del_exists_type_touch() {
    let mut t = InProcess::new();
    t.script(
        "
        MSET a 1 b 2 c 3 => +OK
        EXISTS a b x a => :3
        DEL a x => :1
        UNLINK b b => :1
        TOUCH a b c => :1
        TYPE c => +string
        TYPE a => +none
        DBSIZE => :1
        DEL => -ERR wrong number of arguments for 'del' command
        ",
    );
    let many: Vec<String> = (0..100).map(|number| format!("key{number}")).collect();
    t.call(&format!("MSET {} v", many.join(" v ")));
    assert_eq!(t.call(&format!("EXISTS {} none", many.join(" "))), ":100");
    assert_eq!(t.call(&format!("DEL {} none", many.join(" "))), ":100");
    assert_eq!(t.call("DBSIZE"), ":1");
}

#[test]
fn deleting_is_logged_counted_and_announced() {
    let mut t = InProcess::with(&[("notify-keyspace-events", "KEA")]);
    t.call("MSET a 1 b 2");
    let dirty = t.dirty();
    t.record_propagation();
    t.call("DEL a b c");
    assert_eq!(t.dirty(), dirty + 2);
    assert_eq!(t.propagated(), ["SELECT 0", "DEL a b c"]);
    t.call("DEL a");
    assert_eq!(t.propagated(), [""; 0]);
}

#[test]
fn expire_and_ttl() {
    let mut t = InProcess::new();
    t.script(
        "
        EXPIRE a 10 => :0
        TTL a => :-2
        SET a 1
        TTL a => :-1
        PTTL a => :-1
        EXPIRETIME a => :-1
        EXPIRE a 10 => :1
        TTL a => :10
        PTTL a => :10000
        PEXPIRETIME a => :1700000010000
        EXPIRETIME a => :1700000010
        EXPIRE a 20 NX => :0
        EXPIRE a 5 GT => :0
        EXPIRE a 20 GT => :1
        EXPIRE a 30 LT => :0
        EXPIRE a 15 XX LT => :1
        PERSIST a => :1
        PERSIST a => :0
        EXPIRE a 15 XX => :0
        EXPIRE a 15 GT => :0
        EXPIRE a 15 LT => :1
        EXPIRE a 1 NX XX => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE a 1 LT GT => -ERR GT and LT options at the same time are not compatible
        EXPIRE a 1 AB => -ERR Unsupported option AB
        EXPIRE a x => -ERR value is not an integer or out of range
        EXPIRE a 9223372036854775807 => -ERR invalid expire time in 'expire' command
        EXPIRE a -9223372036854775808 => -ERR invalid expire time in 'expire' command
        PEXPIRE a 9223372036854775807 => -ERR invalid expire time in 'pexpire' command
        EXPIREAT a 9223372036854775 => :1
        PEXPIREAT a 9223372036854775807 => :1
        PEXPIREAT a 1700000001500 => :1
        TTL a => :2
        PEXPIREAT a 1700000001499 => :1
        TTL a => :1
        EXPIRE a -1 => :1
        EXISTS a => :0
        ",
    );
}

#[test]
fn keys_expire_by_the_clock() {
    let mut t = InProcess::with(&[("notify-keyspace-events", "KEA")]);
    let listener = t.client();
    t.call_as(listener, "SET other 1");
    t.call("SET a 1 PX 100");
    t.clock_ms(100);
    assert_eq!(t.call("GET a"), "$1 1", "a key lives through its last millisecond");
    t.record_propagation();
    t.clock_ms(1);
    assert_eq!(t.call("GET a"), "$-1");
    assert_eq!(t.propagated(), ["SELECT 0", "DEL a"]);
    assert_eq!(t.server.keyspace.expired_keys, 1);
}

#[test]
fn an_expired_keys_removal_comes_before_what_the_command_does() {
    let mut t = InProcess::new();
    for (command, logged) in [
        ("SET a 2", vec!["SET a 2"]),
        ("SETEX a 1 2", vec!["SET a 2 PXAT 1700000001011"]),
        ("INCR a", vec!["INCR a"]),
        ("SET a 2 KEEPTTL", vec!["SET a 2 KEEPTTL"]),
        ("INCRBYFLOAT a 1", vec!["SET a 1 KEEPTTL"]),
        ("MSET a 2", vec!["MSET a 2"]),
        ("APPEND a x", vec!["APPEND a x"]),
        ("DEL a", vec![]),
        ("EXPIRE a 10", vec![]),
    ] {
        let mut fresh = InProcess::new();
        fresh.call("SET a 1 PX 10");
        fresh.clock_ms(11);
        fresh.record_propagation();
        fresh.call(command);
        let mut expected = vec![];
        if logged.is_empty() {
            expected.extend(["SELECT 0", "DEL a"]);
        } else {
            expected.extend(["MULTI", "SELECT 0", "DEL a"]);
            expected.extend(logged);
            expected.push("EXEC");
        }
        assert_eq!(fresh.propagated(), expected, "{command}");
        t = fresh;
    }
    assert_eq!(t.server.keyspace.expired_keys, 1);
}

#[test]
fn expiry_is_propagated_as_absolute_time() {
    let mut t = InProcess::new();
    t.call("SET a 1");
    t.record_propagation();
    t.call("EXPIRE a 10 NX");
    t.call("PEXPIRE a 10");
    t.call("EXPIREAT a 1700000020");
    t.call("PEXPIREAT a 1700000030000");
    t.call("PERSIST a");
    t.call("EXPIREAT a 5");
    assert_eq!(
        t.propagated(),
        [
            "SELECT 0",
            "PEXPIREAT a 1700000010000 NX",
            "PEXPIREAT a 1700000000010",
            "PEXPIREAT a 1700000020000",
            "PEXPIREAT a 1700000030000",
            "PERSIST a",
            "DEL a"
        ]
    );
    t.configure(&[("lazyfree-lazy-expire", "yes")]);
    t.call("SET a 1");
    t.propagated();
    t.call("PEXPIRE a -5");
    assert_eq!(t.propagated(), ["UNLINK a"]);
}

#[test]
fn rename() {
    let mut t = InProcess::new();
    t.script(
        "
        RENAME a b => -ERR no such key
        RENAME a a => -ERR no such key
        SET a 1 PX 5000
        RENAME a a => +OK
        RENAMENX a a => :0
        SET b 2
        RENAMENX a b => :0
        RENAME a b => +OK
        GET b => $1 1
        PTTL b => :5000
        EXISTS a => :0
        RENAMENX b a-name-that-is-much-longer-than-the-one-before => :1
        GET a-name-that-is-much-longer-than-the-one-before => $1 1
        PTTL a-name-that-is-much-longer-than-the-one-before => :5000
        DBSIZE => :1
        ",
    );
}

#[test]
fn copy_and_move() {
    let mut t = InProcess::new();
    t.script(
        "
        COPY a b => :0
        SET a 12345 PX 5000
        COPY a a => -ERR source and destination objects are the same
        COPY a b => :1
        GET b => $5 12345
        OBJECT ENCODING b => $3 int
        PTTL b => :5000
        SET a x
        COPY a b => :0
        COPY a b REPLACE => :1
        PTTL b => :-1
        GET b => $1 x
        OBJECT ENCODING b => $6 embstr
        APPEND a y
        COPY a c DB 1 => :1
        COPY a a DB 0 => -ERR source and destination objects are the same
        COPY a c DB 99 => -ERR DB index is out of range
        COPY a c DB x => -ERR value is not an integer or out of range
        COPY a c DB 9999999999 => -ERR value is out of range, value must between -2147483648 and 2147483647
        COPY a c WHAT => -ERR syntax error
        COPY a c DB => -ERR syntax error
        MOVE a 0 => -ERR source and destination objects are the same
        MOVE a 77 => -ERR DB index is out of range
        MOVE nothing 1 => :0
        MOVE a 1 => :1
        EXISTS a => :0
        SET a 2
        MOVE a 1 => :0
        SWAPDB 0 1 => +OK
        DBSIZE => :2
        GET a => $2 xy
        GET c => $2 xy
        OBJECT ENCODING c => $3 raw
        SWAPDB 0 x => -ERR invalid second DB index
        SWAPDB x 0 => -ERR invalid first DB index
        SWAPDB 0 99 => -ERR DB index is out of range
        SWAPDB 0 0 => +OK
        FLUSHDB WHAT => -ERR syntax error
        FLUSHDB ASYNC => +OK
        DBSIZE => :0
        SWAPDB 0 1
        DBSIZE => :2
        FLUSHALL => +OK
        DBSIZE => :0
        ",
    );
}

#[test]
fn flushes_are_logged_even_when_there_is_nothing() {
    let mut t = InProcess::new();
    t.record_propagation();
    t.call("FLUSHALL");
    t.call("FLUSHDB SYNC");
    assert_eq!(t.propagated(), ["SELECT 0", "FLUSHALL", "FLUSHDB SYNC"]);
    assert_eq!(t.dirty(), 0);
    t.call("MSET a 1 b 2");
    t.call("FLUSHALL");
    assert_eq!(t.dirty(), 4);
}

#[test]
fn keys_by_pattern() {
    let mut t = InProcess::new();
    t.call("MSET foo_a 1 foo_b 2 key_x 3 \"\" 4");
    t.call("SET foo_gone 1 PX 10");
    t.clock_ms(11);
    let sorted = |reply: common::Reply| {
        let mut names: Vec<String> = reply.items().iter().map(common::Reply::text).collect();
        names.sort();
        names
    };
    assert_eq!(sorted(t.run(&[b"KEYS", b"foo*"])), ["foo_a", "foo_b"]);
    assert_eq!(sorted(t.run(&[b"KEYS", b"*"])), ["", "foo_a", "foo_b", "key_x"]);
    assert_eq!(sorted(t.run(&[b"KEYS", b"key_x"])), ["key_x"]);
    assert_eq!(t.call("KEYS foo_gone"), "*0");
    assert_eq!(t.call("KEYS [^f]ey*"), "*1 $5 key_x");
    assert_eq!(t.call("DBSIZE"), ":5", "KEYS removes nothing");
}

/// A whole walk: every name as often as it came.
fn walk(t: &mut InProcess, options: &str) -> Vec<String> {
    let mut cursor = "0".to_owned();
    let mut names = Vec::new();
    for _ in 0..100_000 {
        let words = common::split(&format!("SCAN {cursor} {options}"));
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let reply = t.run(&words);
        cursor = reply.items()[0].text();
        names.extend(reply.items()[1].items().iter().map(common::Reply::text));
        if cursor == "0" {
            return names;
        }
    }
    panic!("the walk does not end");
}

#[test]
fn scan_walks_over_everything() {
    let mut t = InProcess::new();
    for number in 0..1000 {
        t.call(&format!("SET key:{number} v"));
    }
    for options in ["", "COUNT 5", "COUNT 100000", "MATCH *", "TYPE string", "TYPE STRING"] {
        let mut names = walk(&mut t, options);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 1000, "{options}");
    }
    assert_eq!(walk(&mut t, "MATCH key:1??").len(), 100);
    assert_eq!(walk(&mut t, "TYPE list").len(), 0);
    assert_eq!(walk(&mut t, "TYPE nothing").len(), 0);
    t.script(
        "
        SCAN x => -ERR invalid cursor
        SCAN 0 COUNT 0 => -ERR syntax error
        SCAN 0 COUNT x => -ERR value is not an integer or out of range
        SCAN 0 WHAT 1 => -ERR syntax error
        SCAN 0 COUNT => -ERR syntax error
        ",
    );
}

#[test]
fn scan_skips_and_removes_expired_keys() {
    let mut t = InProcess::new();
    for number in 0..50 {
        t.call(&format!("SET gone:{number} v PX 10"));
        t.call(&format!("SET kept:{number} v"));
    }
    t.clock_ms(11);
    t.record_propagation();
    let mut names = walk(&mut t, "");
    let logged = t.propagated();
    assert_eq!(logged.len(), 51, "SELECT and a DEL for each, not in a transaction");
    assert!(logged.iter().skip(1).all(|command| command.starts_with("DEL gone:")));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 50);
    assert!(names.iter().all(|name| name.starts_with("kept:")));
    assert_eq!(t.call("DBSIZE"), ":50");
}

#[test]
fn random_keys_are_alive() {
    let mut t = InProcess::new();
    assert_eq!(t.call("RANDOMKEY"), "$-1");
    for number in 0..20 {
        t.call(&format!("SET gone:{number} v PX 10"));
    }
    t.call("SET kept v");
    t.clock_ms(11);
    assert_eq!(t.call("RANDOMKEY"), "$4 kept");
    t.call("DEL kept");
    assert_eq!(t.call("RANDOMKEY"), "$-1");
    assert_eq!(t.call("DBSIZE"), ":0");
}

#[test]
fn object() {
    let mut t = InProcess::new();
    t.script(
        "
        OBJECT ENCODING a => $-1
        SET a 100
        OBJECT REFCOUNT a => :2147483647
        SET a 10000
        OBJECT REFCOUNT a => :1
        OBJECT IDLETIME a => :0
        OBJECT FREQ a => -ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
        OBJECT WHAT a => -ERR unknown subcommand 'WHAT'. Try OBJECT HELP.
        OBJECT ENCODING => -ERR wrong number of arguments for 'object|encoding' command
        ",
    );
    assert!(t.call("OBJECT HELP").starts_with("*12 +OBJECT <subcommand> [<arg>"));
    t.clock_ms(5000);
    assert_eq!(t.call("OBJECT IDLETIME a"), ":5");
    assert_eq!(t.call("TTL a"), ":-1");
    assert_eq!(t.call("OBJECT IDLETIME a"), ":5", "TTL is no use of a key");
    t.call("TOUCH a");
    assert_eq!(t.call("OBJECT IDLETIME a"), ":0");
    assert_eq!(t.now_ms(), START_MS + 5000);
}
