//! Hash commands against an in-process server: replies, errors, notifications, propagation.

mod common;

use common::{InProcess, Reply};
use tine::server::config::{Config, ProtectedAction};

/// A server that allows DEBUG.
fn with_debug() -> InProcess {
    let config = Config { enable_debug_command: ProtectedAction::Yes, ..Config::default() };
    let mut t = InProcess::with_config(config);
    t.configure(&[("save", "")]);
    t
}

#[test]
fn setting_and_getting() {
    let mut t = InProcess::new();
    t.script(
        r#"
        HSET h a 1 => :1
        HSET h a 2 b 3 => :1
        HSET h a => -ERR wrong number of arguments for 'hset' command
        HSET h a 1 b => -ERR wrong number of arguments for 'hset' command
        HMSET h a 1 b => -ERR wrong number of arguments for 'hmset' command
        HMSET h a x c "" => +OK
        HGET h a => $1 x
        HGET h c => $0 
        HGET h d => $-1
        HGET none d => $-1
        HMGET h a d b => *3 $1 x $-1 $1 3
        HMGET none a b => *2 $-1 $-1
        HLEN h => :3
        HLEN none => :0
        HSTRLEN h b => :1
        HSTRLEN h d => :0
        HEXISTS h a => :1
        HEXISTS h d => :0
        HGETALL h => *6 $1 a $1 x $1 b $1 3 $1 c $0 
        HKEYS h => *3 $1 a $1 b $1 c
        HVALS h => *3 $1 x $1 3 $0 
        HGETALL none => *0
        HSETNX h a 9 => :0
        HSETNX h d 9 => :1
        HSETNX new d 9 => :1
        HDEL h a zz b => :2
        HDEL h c d e => :2
        EXISTS h => :0
        HDEL h a => :0
        SET s 1 => +OK
        HSET s a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        HGET s a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HMGET s a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HDEL s a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HLEN s => -WRONGTYPE Operation against a key holding the wrong kind of value
        HSETNX s a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        TYPE new => +hash
        OBJECT ENCODING new => $8 listpack
        "#,
    );
}

#[test]
fn resp3_knows_maps() {
    let mut t = InProcess::new();
    t.resp3(t.main);
    t.script(
        r#"
        HSET h a 1 b 2 => :2
        HGETALL h => %2 $1 a $1 1 $1 b $1 2
        HGETALL none => %0
        HKEYS h => *2 $1 a $1 b
        HGET h zz => _
        HRANDFIELD h 5 WITHVALUES => *2 *2 $1 a $1 1 *2 $1 b $1 2
        "#,
    );
}

#[test]
fn numbers_in_fields() {
    let mut t = InProcess::new();
    t.script(
        r#"
        HINCRBY h n 5 => :5
        HINCRBY h n -7 => :-2
        HINCRBY h n x => -ERR value is not an integer or out of range
        HSET h t text big 9223372036854775807
        HINCRBY h t 1 => -ERR hash value is not an integer
        HINCRBY h big 1 => -ERR increment or decrement would overflow
        HINCRBYFLOAT h f 1.5 => $3 1.5
        HINCRBYFLOAT h f 1.25 => $4 2.75
        HINCRBYFLOAT h n 0.5 => $4 -1.5
        HINCRBYFLOAT h f x => -ERR value is not a valid float
        HINCRBYFLOAT h t 1 => -ERR hash value is not a float
        HINCRBYFLOAT h f inf => -ERR value is NaN or Infinity
        HINCRBYFLOAT none f inf => -ERR value is NaN or Infinity
        EXISTS none => :0
        SET s 1
        HINCRBY s n 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        HINCRBYFLOAT s n 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
    assert_eq!(t.logged("HINCRBYFLOAT h f 1"), ["HSET h f 3.75"]);
    assert_eq!(t.logged("HINCRBY h n2 1"), ["HINCRBY h n2 1"]);
}

#[test]
fn walks() {
    let mut t = with_debug();
    t.script(
        r#"
        HSET h a 1 b 2 => :2
        HSCAN h 0 => *2 $1 0 *4 $1 a $1 1 $1 b $1 2
        HSCAN h 0 MATCH b => *2 $1 0 *2 $1 b $1 2
        HSCAN h 0 NOVALUES => *2 $1 0 *2 $1 a $1 b
        HSCAN h 0 COUNT 1 NOVALUES MATCH a => *2 $1 0 *1 $1 a
        HSCAN h x => -ERR invalid cursor
        HSCAN h 0 COUNT 0 => -ERR syntax error
        HSCAN h 0 TYPE hash => -ERR syntax error
        HSCAN h 0 COUNT => -ERR syntax error
        HSCAN none 0 WHAT => *2 $1 0 *0
        HRANDFIELD none => $-1
        HRANDFIELD none 3 => *0
        HRANDFIELD h 0 => *0
        HRANDFIELD h 3 => *2 $1 a $1 b
        HRANDFIELD h 3 WITHVALUES => *4 $1 a $1 1 $1 b $1 2
        HRANDFIELD h x => -ERR value is not an integer or out of range
        HRANDFIELD h 1 WHAT => -ERR syntax error
        HRANDFIELD h 1 WITHVALUES x => -ERR syntax error
        HRANDFIELD h -9223372036854770000 WITHVALUES => -ERR value is out of range
        "#,
    );
    assert_eq!(t.run(&[b"HRANDFIELD", b"h", b"-7", b"WITHVALUES"]).items().len(), 14);
    t.call("CONFIG SET hash-max-listpack-entries 10");
    for number in 0..500 {
        t.call(&format!("HSET big f{number} {number}"));
    }
    assert_eq!(t.call("OBJECT ENCODING big"), "$9 hashtable");
    let (mut cursor, mut seen) = (String::from("0"), std::collections::BTreeSet::new());
    loop {
        let reply = t.run(&[b"HSCAN", b"big", cursor.as_bytes(), b"COUNT", b"20"]);
        let (next, fields) = (reply.items()[0].text(), reply.items()[1].items());
        seen.extend(fields.iter().step_by(2).map(|name| name.text()));
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 500);
    let picked = t.run(&[b"HRANDFIELD", b"big", b"100"]);
    let names: std::collections::BTreeSet<String> = picked.items().iter().map(|name| name.text()).collect();
    assert_eq!(names.len(), 100);
    assert!(names.is_subset(&seen));
    assert!(t.call("DEBUG HTSTATS-KEY big").contains("number of elements: 500"));
    t.script("SET a 1\nSET b 1");
    assert!(t.call("DEBUG HTSTATS 0").contains("growth: by segments; as one array, table size: 4"));
}

#[test]
fn events_and_changes() {
    let mut t = InProcess::with(&[("notify-keyspace-events", "Eghn")]);
    let watcher = t.client();
    t.call_as(watcher, "PSUBSCRIBE *");
    t.received(watcher);
    let mut events = |line: &str| {
        let before = t.dirty();
        t.call(line);
        let received = t.received(watcher);
        let names: Vec<String> = received
            .split("__keyevent@0__:")
            .skip(1)
            .map(|rest| rest.split(' ').next().unwrap_or("").to_owned())
            .collect();
        (names.join(","), t.dirty() - before)
    };
    assert_eq!(events("HSET h a 1 b 2 c 3"), ("new,hset".into(), 3));
    assert_eq!(events("HSETNX h a 1"), (String::new(), 0));
    assert_eq!(events("HSETNX h d 1"), ("hset".into(), 1));
    assert_eq!(events("HINCRBY h d 1"), ("hincrby".into(), 1));
    assert_eq!(events("HINCRBYFLOAT h d 1"), ("hincrbyfloat".into(), 1));
    assert_eq!(events("HDEL h a b z"), ("hdel".into(), 2));
    assert_eq!(events("HDEL h z"), (String::new(), 0));
    assert_eq!(events("HDEL h c d"), ("hdel,del".into(), 2));
}

#[test]
fn dump_and_restore_keep_every_encoding() {
    let mut t = with_debug();
    t.configure(&[("hash-max-listpack-entries", "4")]);
    t.call("HSET small a 1 b text");
    t.call("HSET big a 1 b 2 c 3 d 4 e 5");
    for key in ["small", "big"] {
        let Reply::Bulk(bytes) = t.run(&[b"DUMP", key.as_bytes()]) else { panic!("the key is there") };
        let copy = format!("copy-{key}");
        t.run(&[b"RESTORE", copy.as_bytes(), b"0", &bytes]);
        let digests = t.run(&[b"DEBUG", b"DIGEST-VALUE", key.as_bytes(), copy.as_bytes()]);
        assert_eq!(digests.items()[0].text(), digests.items()[1].text(), "{key}");
        let encodings = [key, &copy].map(|key| t.call(&format!("OBJECT ENCODING {key}")));
        assert_eq!(encodings[0], encodings[1]);
    }
    t.call("COPY big big2");
    assert_eq!(t.call("HGET big2 e"), "$1 5");
}

#[test]
fn fields_expire() {
    let mut t = with_debug();
    t.script(
        r#"
        HEXPIRE none 10 FIELDS 2 a b => *2 :-2 :-2
        HTTL none FIELDS 1 a => *1 :-2
        HPERSIST none FIELDS 1 a => *1 :-2
        HSET h a 1 b 2 c 3 => :3
        HEXPIRE h 10 FIELDS 3 a b zz => *3 :1 :1 :-2
        OBJECT ENCODING h => $10 listpackex
        HTTL h FIELDS 4 a b c zz => *4 :10 :10 :-1 :-2
        HPTTL h FIELDS 1 a => *1 :10000
        HEXPIRETIME h FIELDS 1 a => *1 :1700000010
        HPEXPIRETIME h FIELDS 1 a => *1 :1700000010000
        HEXPIRE h 20 NX FIELDS 2 a c => *2 :0 :1
        HEXPIRE h 30 XX FIELDS 2 a c => *2 :1 :1
        HEXPIRE h 5 GT FIELDS 1 a => *1 :0
        HEXPIRE h 40 GT FIELDS 1 a => *1 :1
        HEXPIRE h 50 LT FIELDS 1 a => *1 :0
        HEXPIRE h 35 LT FIELDS 1 a => *1 :1
        HTTL h FIELDS 3 a b c => *3 :35 :10 :30
        HPERSIST h FIELDS 3 a a zz => *3 :1 :-1 :-2
        HGETALL h => *6 $1 a $1 1 $1 b $1 2 $1 c $1 3
        HINCRBY h b 5 => :7
        HTTL h FIELDS 1 b => *1 :10
        HSET h b 8 => :0
        HTTL h FIELDS 1 b => *1 :-1
        HEXPIREAT h 1 FIELDS 1 b => *1 :2
        HEXISTS h b => :0
        HEXPIRE h 0 FIELDS 2 a c => *2 :2 :2
        EXISTS h => :0
        HSET h a 1 => :1
        HEXPIRE h -1 FIELDS 1 a => -ERR invalid expire time, must be >= 0
        HEXPIRE h x FIELDS 1 a => -ERR value is not an integer or out of range
        HEXPIRE h 9223372036854775 FIELDS 1 a => -ERR invalid expire time in 'hexpire' command
        HEXPIRE h 1 FIELDS 0 a => -ERR Parameter `numFields` should be greater than 0
        HEXPIRE h 1 FIELDS 2 a => -ERR The `numfields` parameter must match the number of arguments
        HEXPIRE h 1 NX GT FIELDS 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position
        HEXPIRE h 1 WHAT 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position
        SET s 1
        HEXPIRE s 1 FIELDS 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HTTL s FIELDS 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

/// Packed and big hashes; before the fields are removed they are not seen, and then they go.
#[test]
fn fields_that_have_expired_are_not_seen() {
    for entries in ["512", "1"] {
        let mut t = InProcess::with(&[("hash-max-listpack-entries", entries)]);
        t.script(
            r#"
            HSET h a 1 b 2 c 3 => :3
            HPEXPIRE h 100 FIELDS 2 a b => *2 :1 :1
            "#,
        );
        t.clock_ms(101);
        t.script(
            r#"
            HGET h a => $-1
            HMGET h a c => *2 $-1 $1 3
            HGETALL h => *2 $1 c $1 3
            HKEYS h => *1 $1 c
            HEXISTS h b => :0
            HSTRLEN h b => :0
            HSCAN h 0 => *2 $1 0 *2 $1 c $1 3
            HRANDFIELD h => $1 c
            HRANDFIELD h 5 => *1 $1 c
            HTTL h FIELDS 2 a c => *2 :-2 :-1
            "#,
        );
        assert_eq!(t.logged("HINCRBY h a 1"), ["MULTI", "HDEL h a", "HINCRBY h a 1", "EXEC"]);
        assert_eq!(t.call("HGET h a"), "$1 1");
        assert_eq!(t.logged("HDEL h b"), ["HDEL h b"]);
        t.call("HPEXPIRE h 100 FIELDS 2 a c");
        t.clock_ms(101);
        t.record_propagation();
        tine::cron::run_due(&mut t.server);
        let mut removed = t.propagated();
        removed.retain(|command| command != "SELECT 0");
        assert!(removed == ["HDEL h a c"] || removed == ["HDEL h c a"], "{removed:?}");
        assert_eq!(t.call("EXISTS h"), ":0");
    }
}

#[test]
fn expiry_is_logged_as_absolute_time() {
    let mut t = InProcess::new();
    t.call("HSET h a 1 b 2 c 3 d 4");
    let at = "1700000010000";
    assert_eq!(t.logged("HEXPIRE h 10 FIELDS 2 a zz"), [format!("HPEXPIREAT h {at} FIELDS 1 a")]);
    assert_eq!(t.logged("HEXPIRE h 10 NX FIELDS 1 a"), [""; 0]);
    assert_eq!(t.logged("HEXPIRE h 0 FIELDS 1 b"), ["HDEL h b"]);
    assert_eq!(
        t.logged("HINCRBYFLOAT h a 1"),
        ["MULTI".to_owned(), "HSET h a 2".into(), format!("HPEXPIREAT h {at} FIELDS 1 a"), "EXEC".into()]
    );
    assert_eq!(t.logged("HGETEX h EX 10 FIELDS 1 c"), [format!("HPEXPIREAT h {at} FIELDS 1 c")]);
    assert_eq!(t.logged("HGETEX h PERSIST FIELDS 1 c"), ["HPERSIST h FIELDS 1 c"]);
    assert_eq!(t.logged("HGETEX h FIELDS 1 c"), [""; 0]);
    assert_eq!(t.logged("HGETDEL h FIELDS 2 c zz"), ["HDEL h c zz"]);
    assert_eq!(t.logged("HSETEX h FNX EX 10 FIELDS 1 e 5"), [format!("HSETEX h PXAT {at} FIELDS 1 e 5")]);
    assert_eq!(t.logged("HSETEX h KEEPTTL FIELDS 1 e 6"), ["HSETEX h KEEPTTL FIELDS 1 e 6"]);
    assert_eq!(t.logged("HSETEX h FNX FIELDS 1 e 7"), [""; 0]);
    assert_eq!(t.logged("HSETEX h PXAT 1 FIELDS 2 e 7 new 1"), ["HDEL h e"]);
}

#[test]
fn reading_and_writing_with_expiry() {
    let mut t = InProcess::new();
    t.script(
        r#"
        HGETEX none FIELDS 2 a b => *2 $-1 $-1
        HGETDEL none FIELDS 1 a => *1 $-1
        HSETEX h FXX FIELDS 1 a 1 => :0
        EXISTS h => :0
        HSETEX h EX 10 FIELDS 2 a 1 b 2 => :1
        HTTL h FIELDS 2 a b => *2 :10 :10
        HSETEX h FNX FIELDS 2 a 9 c 9 => :0
        HSETEX h FXX KEEPTTL FIELDS 1 a 3 => :1
        HGETEX h FIELDS 2 a zz => *2 $1 3 $-1
        HTTL h FIELDS 2 a b => *2 :10 :10
        HSETEX h FIELDS 1 b 4 => :1
        HTTL h FIELDS 2 a b => *2 :10 :-1
        HGETEX h PERSIST FIELDS 1 a => *1 $1 3
        HTTL h FIELDS 1 a => *1 :-1
        HGETEX h PX 5000 FIELDS 1 a => *1 $1 3
        HPTTL h FIELDS 1 a => *1 :5000
        HGETEX h EX 1 PX 1 FIELDS 1 a => -ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified
        HSETEX h EX 1 KEEPTTL FIELDS 1 a 1 => -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
        HSETEX h FXX FNX FIELDS 1 a 1 => -ERR Only one of FXX or FNX arguments can be specified
        HSETEX h EX 0 FIELDS 1 a 1 => -ERR invalid expire time in 'hsetex' command
        HSETEX h FIELDS 2 a 1 => -ERR The `numfields` parameter must match the number of arguments
        HGETEX h WHAT FIELDS 1 a => -ERR unknown argument: WHAT
        HGETDEL h FIELDS 2 a b => *2 $1 3 $1 4
        EXISTS h => :0
        SET s 1
        HGETDEL s FIELDS 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HGETEX s FIELDS 1 a => -WRONGTYPE Operation against a key holding the wrong kind of value
        HSETEX s FIELDS 1 a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn expiry_follows_the_key_and_the_dump() {
    let mut t = with_debug();
    t.configure(&[("hash-max-listpack-entries", "3")]);
    for (key, fields) in [("small", "a 1 b 2"), ("big", "a 1 b 2 c 3 d 4")] {
        t.call(&format!("HSET {key} {fields}"));
        t.call(&format!("HPEXPIRE {key} 5000 FIELDS 1 b"));
        let Reply::Bulk(payload) = t.run(&[b"DUMP", key.as_bytes()]) else { panic!("the key is there") };
        assert_eq!(payload[payload.len() - 10], 12, "version 12 in the footer");
        t.run(&[b"RESTORE", b"restored", b"0", &payload]);
        t.call(&format!("COPY {key} copied"));
        t.call(&format!("RENAME {key} renamed"));
        for other in ["restored", "copied", "renamed"] {
            assert_eq!(t.call(&format!("HPTTL {other} FIELDS 2 a b")), "*2 :-1 :5000", "{key} {other}");
        }
        t.clock_ms(5001);
        tine::cron::run_due(&mut t.server);
        for other in ["restored", "copied", "renamed"] {
            assert_eq!(t.call(&format!("HLEN {other}")), if key == "small" { ":1" } else { ":3" }, "{other}");
        }
        t.call("DEL restored copied renamed");
    }
}

#[test]
fn snapshots_with_field_expiry_have_a_version_that_holds_it() {
    let mut t = InProcess::new();
    t.call("HSET h a 1 b 2");
    assert_eq!(t.server.snapshot_version(), 10);
    t.call("HEXPIRE h 10 FIELDS 1 a");
    assert_eq!(t.server.snapshot_version(), 12);
    t.call("HPERSIST h FIELDS 1 a");
    assert_eq!(t.server.snapshot_version(), 10);
}
