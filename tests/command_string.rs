//! String commands against an in-process server: replies, errors, notifications, propagation.

mod common;

use common::{InProcess, Reply};
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

#[test]
fn get_and_set() {
    let mut t = InProcess::new();
    t.script(
        r#"
        GET k => $-1
        SET k "a b" => +OK
        GET k => $3 a b
        SET k => -ERR wrong number of arguments for 'set' command
        SET k 1 NX => $-1
        SET n 1 XX => $-1
        SET n 1 NX => +OK
        SET n 2 XX => +OK
        SET n 3 NX XX => -ERR syntax error
        SET n 3 EX 5 PX 5 => -ERR syntax error
        SET n 3 EX => -ERR syntax error
        SET n 3 EX 0 => -ERR invalid expire time in 'set' command
        SET n 3 EX -5 => -ERR invalid expire time in 'set' command
        SET n 3 EX x => -ERR value is not an integer or out of range
        SET n 3 EX 9223372036854775807 => -ERR invalid expire time in 'set' command
        SET n 3 PX 9223372036854775807 => -ERR invalid expire time in 'set' command
        SET n 3 EX 10 => +OK
        SET n 4 KEEPTTL => +OK
        TTL n => :10
        SET n 5 => +OK
        TTL n => :-1
        SET n 6 PXAT 1700000005000 => +OK
        PTTL n => :5000
        SET n 7 EXAT 1700000005 => +OK
        PTTL n => :5000
        SET n 8 EXAT 5 => +OK
        EXISTS n => :0
        "#,
    );
    assert_eq!(t.run(&[b"GET", b"k"]), Reply::bulk("a b"));
    let main = t.main;
    t.resp3(main);
    assert_eq!(t.call("GET none"), "_");
    assert_eq!(t.call("SET k 1 NX"), "_");
    assert_eq!(t.call("GET k"), "$3 a b");
}

#[test]
fn set_with_get() {
    let mut t = InProcess::new();
    t.script(
        "
        SET k 1 GET => $-1
        SET k 2 GET => $1 1
        SET k 3 NX GET => $1 2
        GET k => $1 2
        SET n 3 XX GET => $-1
        EXISTS n => :0
        SET k 3 XX GET => $1 2
        SET k 4 GET EX 10 => $1 3
        TTL k => :10
        SET k 5 GET KEEPTTL => $1 4
        TTL k => :10
        ",
    );
}

#[test]
fn what_set_leaves_in_the_log() {
    let mut t = InProcess::new();
    for (command, expected) in [
        ("SET k v", "SET k v"),
        ("set k v KEEPTTL", "set k v KEEPTTL"),
        ("SET k v GET keepttl get", "SET k v keepttl"),
        ("SET k v EX 10", "SET k v PXAT 1700000010000"),
        ("SET k v XX PX 10 GET", "SET k v PXAT 1700000000010"),
        ("SET k v EXAT 1700000009", "SET k v PXAT 1700000009000"),
        ("SET k v PXAT 1700000009001 XX", "SET k v PXAT 1700000009001 XX"),
        ("SETEX k 3 v", "SET k v PXAT 1700000003000"),
        ("PSETEX k 3 v", "SET k v PXAT 1700000000003"),
        ("SETNX other v", "SETNX other v"),
        ("GETSET k v", "SET k v"),
        ("GETEX k EX 5", "PEXPIREAT k 1700000005000"),
        ("GETEX k PERSIST", "PERSIST k"),
        ("GETEX k EXAT 5", "DEL k"),
        ("GETDEL other", "DEL other"),
        ("INCR n", "INCR n"),
        ("INCRBYFLOAT n 1.5", "SET n 2.5 KEEPTTL"),
        ("APPEND n x", "APPEND n x"),
        ("SETRANGE n 5 x", "SETRANGE n 5 x"),
        ("MSET a 1 b 2", "MSET a 1 b 2"),
        ("SETBIT n 1 1", "SETBIT n 1 1"),
    ] {
        assert_eq!(t.logged(command), [expected], "{command}");
    }
    let silent = "GET a|SET a 1 NX|SETNX a 1|MSETNX a 1 z 2|GETEX a|GETEX a PERSIST|GETDEL none|SETRANGE n 0 \"\"|\
                  SETBIT n 1 1|GETEX none EX 5|APPEND|INCR n|STRLEN a|SET q 1 XX";
    for command in silent.split('|') {
        let dirty = t.dirty();
        assert_eq!(t.logged(command), [""; 0], "{command}");
        assert_eq!(t.dirty(), dirty, "{command}");
    }
}

#[test]
fn getex_getdel_getset() {
    let mut t = InProcess::new();
    t.script(
        "
        GETEX k => $-1
        GETEX k EX 0 => $-1
        SET k v
        GETEX k EX 0 => -ERR invalid expire time in 'getex' command
        GETEX k EX 10 => $1 v
        TTL k => :10
        GETEX k => $1 v
        TTL k => :10
        GETEX k PERSIST => $1 v
        TTL k => :-1
        GETEX k PERSIST EX 1 => -ERR syntax error
        GETEX k KEEPTTL => -ERR syntax error
        GETEX k PXAT 1700000000000 => $1 v
        EXISTS k => :0
        GETDEL k => $-1
        SET k v
        GETDEL k => $1 v
        GETDEL k => $-1
        GETSET k 1 => $-1
        EXPIRE k 100
        GETSET k 2 => $1 1
        TTL k => :-1
        SETEX k 0 v => -ERR invalid expire time in 'setex' command
        PSETEX k -1 v => -ERR invalid expire time in 'psetex' command
        PSETEX k 1500 v => +OK
        PTTL k => :1500
        TTL k => :2
        ",
    );
}

#[test]
fn many_keys() {
    let mut t = InProcess::new();
    t.script(
        "
        MSET a 1 b => -ERR wrong number of arguments for 'mset' command
        MSETNX a 1 b => -ERR wrong number of arguments for 'msetnx' command
        MSET a 1 b 2 a 3 => +OK
        MGET a b c => *3 $1 3 $1 2 $-1
        MSETNX c 1 a 1 => :0
        EXISTS c => :0
        MSETNX c 1 d 2 c 3 => :1
        MGET c d => *2 $1 3 $1 2
        ",
    );
    let keys: Vec<String> = (0..77).map(|number| format!("many:{number}")).collect();
    let pairs: Vec<String> = keys.iter().map(|key| format!("{key} v{key}")).collect();
    assert_eq!(t.call(&format!("MSET {}", pairs.join(" "))), "+OK");
    let values = t.call(&format!("MGET {}", keys.join(" ")));
    assert_eq!(values.matches("vmany:").count(), 77);
    assert!(values.ends_with("vmany:76"));
}

#[test]
fn counters() {
    let mut t = InProcess::new();
    t.script(
        r#"
        INCR n => :1
        INCRBY n 17179869184 => :17179869185
        DECRBY n 5 => :17179869180
        DECR n => :17179869179
        OBJECT ENCODING n => $3 int
        SET n 9223372036854775807
        INCR n => -ERR increment or decrement would overflow
        DECRBY n -1 => -ERR increment or decrement would overflow
        DECRBY n -9223372036854775808 => -ERR decrement would overflow
        SET n -9223372036854775808
        DECR n => -ERR increment or decrement would overflow
        INCRBY n x => -ERR value is not an integer or out of range
        SET n "  11"
        INCR n => -ERR value is not an integer or out of range
        SET n " "
        INCR n => -ERR value is not an integer or out of range
        SET n 5 EX 100
        INCR n => :6
        TTL n => :100
        APPEND n 1 => :2
        OBJECT ENCODING n => $3 raw
        INCR n => :62
        OBJECT ENCODING n => $3 int
        SET f 3
        INCRBYFLOAT f 1.1 => $3 4.1
        INCRBYFLOAT f -1.1 => $1 3
        INCRBYFLOAT f 1e1 => $2 13
        INCRBYFLOAT f x => -ERR value is not a valid float
        INCRBYFLOAT f +inf => -ERR increment would produce NaN or Infinity
        INCRBYFLOAT g 0.00000000000000001 => $19 0.00000000000000001
        OBJECT ENCODING f => $6 embstr
        INCR f => :14
        SET f "1 "
        INCRBYFLOAT f 1 => -ERR value is not a valid float
        "#,
    );
}

#[test]
fn ranges() {
    let mut t = InProcess::new();
    t.script(
        r#"
        STRLEN s => :0
        APPEND s foo => :3
        APPEND s bar => :6
        GET s => $6 foobar
        STRLEN s => :6
        GETRANGE s 0 -1 => $6 foobar
        GETRANGE s -3 -1 => $3 bar
        SUBSTR s 1 2 => $2 oo
        GETRANGE s 5 3 => $0 
        GETRANGE none 0 -1 => $0 
        GETRANGE s a 1 => -ERR value is not an integer or out of range
        SETRANGE s 3 BAZQUX => :9
        GET s => $9 fooBAZQUX
        SETRANGE s 11 x => :12
        GETRANGE s 8 -1 => $4 X\0\0x
        SETRANGE s -1 x => -ERR offset is out of range
        SETRANGE s 0 "" => :12
        SETRANGE none 0 "" => :0
        EXISTS none => :0
        SETRANGE none 536870912 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE none 9223372036854775807 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE new 3 abc => :6
        STRLEN new => :6
        SET i 1234
        SETRANGE i 1 9 => :4
        GET i => $4 1934
        OBJECT ENCODING i => $3 raw
        APPEND i 5 => :5
        STRLEN i => :5
        "#
        .replace("\\0", "\0")
        .as_str(),
    );
}

#[test]
fn strings_grow_out_of_their_entry_and_keep_their_expiry() {
    let mut t = InProcess::new();
    t.call("SET s x EX 100");
    let mut expected = b"x".to_vec();
    for step in 0..60u8 {
        let more = vec![b'a' + step % 26; step as usize];
        t.run(&[b"APPEND", b"s", &more]);
        expected.extend_from_slice(&more);
        assert_eq!(t.run(&[b"GET", b"s"]), Reply::Bulk(expected.clone()));
    }
    assert_eq!(t.call("TTL s"), ":100");
    assert_eq!(t.call("SETRANGE s 100000 end"), ":100003");
    assert_eq!(t.call("GETRANGE s -5 -1"), "$5 \0\0end");
    assert_eq!(t.call("TTL s"), ":100");
    t.call("SET short abc");
    assert_eq!(t.call("SETBIT short 1000000 1"), ":0");
    assert_eq!(t.call("STRLEN short"), ":125001");
    assert_eq!(t.call("GETRANGE short 0 2"), "$3 abc");
}

#[test]
fn limits_follow_proto_max_bulk_len() {
    let mut t = InProcess::with(&[("proto-max-bulk-len", "1mb")]);
    t.script(
        "
        SETRANGE s 1048570 123456 => :1048576
        APPEND s x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE s 1048575 12 => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETBIT b 8388608 1 => -ERR bit offset is not an integer or out of range
        SETBIT b 8388607 1 => :0
        GETBIT b 8388608 => -ERR bit offset is not an integer or out of range
        ",
    );
}

#[test]
fn bits() {
    let mut t = InProcess::new();
    t.script(
        r#"
        SETBIT b 7 1 => :0
        SETBIT b 7 0 => :1
        SETBIT b 1 1 => :0
        GET b => $1 @
        GETBIT b 1 => :1
        GETBIT b 100 => :0
        SETBIT b 1 2 => -ERR bit is not an integer or out of range
        SETBIT b -1 1 => -ERR bit offset is not an integer or out of range
        SETBIT b 4294967296 1 => -ERR bit offset is not an integer or out of range
        SET n 1
        SETBIT n 6 1 => :0
        GET n => $1 3
        GETBIT n 6 => :1
        SET s foobar
        BITCOUNT s => :26
        BITCOUNT s 0 0 => :4
        BITCOUNT s 1 1 => :6
        BITCOUNT s 0 -5 => :10
        BITCOUNT s 5 30 BIT => :17
        BITCOUNT s -1 -5 => :0
        BITCOUNT s 1 => -ERR syntax error
        BITCOUNT s 1 2 WHAT => -ERR syntax error
        BITCOUNT none 1 2 3 4 => :0
        BITPOS none 0 => :0
        BITPOS none 1 => :-1
        SET p "\xff\xf0\x00"
        BITPOS p 0 => :12
        BITPOS p 1 => :0
        BITPOS p 1 2 => :-1
        BITPOS p 0 0 0 => :-1
        BITPOS p 0 0 -1 => :12
        BITPOS p 1 7 15 BIT => :7
        BITPOS p 2 => -ERR The bit argument must be 1 or 0.
        SET p "\xff\xff"
        BITPOS p 0 => :16
        BITPOS p 0 0 -1 => :-1
        BITPOS p 0 5 => :-1
        SET a abcdef
        SET c abc
        BITOP AND d a c => :6
        GET d => $6 abc000
        BITOP XOR d a a => :6
        BITOP OR d a none => :6
        GET d => $6 abcdef
        BITOP NOT d a c => -ERR BITOP NOT must be called with a single source key.
        BITOP WHAT d a => -ERR syntax error
        BITOP OR d none none2 => :0
        EXISTS d => :0
        BITOP NOT d c => :3
        BITOP NOT d d => :3
        GET d => $3 abc
        "#
        .replace("000", "\0\0\0")
        .as_str(),
    );
}

#[test]
fn bit_fields() {
    let mut t = InProcess::new();
    t.script(
        "
        BITFIELD b => *0
        BITFIELD b GET u8 0 => *1 :0
        EXISTS b => :0
        BITFIELD b SET u8 0 255 GET u4 0 => *2 :0 :15
        BITFIELD b INCRBY u8 0 1 => *1 :0
        BITFIELD b OVERFLOW SAT INCRBY i8 #1 127 INCRBY i8 #1 1 => *2 :127 :127
        BITFIELD b OVERFLOW fail INCRBY i8 8 1 SET i8 8 -129 => *2 $-1 $-1
        BITFIELD b SET i8 0 -100 => *1 :0
        BITFIELD b GET i8 0 GET u8 0 => *2 :-100 :156
        BITFIELD b SET u8 0 -1 => *1 :156
        BITFIELD b OVERFLOW SAT SET i64 64 9223372036854775807 INCRBY i64 64 1 => *2 :0 :9223372036854775807
        BITFIELD_RO b GET u8 0 => *1 :255
        BITFIELD_RO b SET u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand
        BITFIELD b GET u64 0 => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
        BITFIELD b GET u8 -1 => -ERR bit offset is not an integer or out of range
        BITFIELD b OVERFLOW what => -ERR Invalid OVERFLOW type specified
        BITFIELD b SET u8 0 => -ERR syntax error
        BITFIELD b SET u8 0 x => -ERR value is not an integer or out of range
        ",
    );
    let dirty = t.dirty();
    t.call("BITFIELD b SET u8 0 255");
    assert_eq!(t.dirty(), dirty, "nothing changed");
    t.call("BITFIELD b SET u8 0 1 SET u8 8 2 GET u8 0");
    assert_eq!(t.dirty(), dirty + 2);
}

/// Redis answers the same, but a log and a replica of its own never hear of the longer string.
#[test]
fn a_string_that_grew_is_logged_though_every_operation_failed() {
    let mut t = InProcess::new();
    t.call("WATCH b");
    let command = "BITFIELD b OVERFLOW FAIL SET u8 8 256 INCRBY u8 0 300";
    assert_eq!(t.logged(command), [command]);
    t.transcript("STRLEN b => :2\nEXISTS b => :1\nMULTI => +OK\nPING => +QUEUED\nEXEC => *-1");
    assert_eq!(t.logged(command), Vec::<String>::new(), "the second time nothing grows");
}

#[test]
fn longest_common_subsequence() {
    let mut t = InProcess::new();
    t.script(
        "
        MSET a ohmytext b mynewtext
        LCS a b => $6 mytext
        LCS a b LEN => :6
        LCS a b IDX => *4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN => *4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6
        LCS a none => $0 
        LCS a none IDX => *4 $7 matches *0 $3 len :0
        LCS a b IDX LEN => -ERR If you want both the length and indexes, please just use IDX.
        LCS a b MINMATCHLEN => -ERR syntax error
        LCS a b MINMATCHLEN x => -ERR value is not an integer or out of range
        ",
    );
    let main = t.main;
    t.resp3(main);
    assert_eq!(t.call("LCS a b IDX MINMATCHLEN 9"), "%2 $7 matches *0 $3 len :6");
    t.run(&[b"SETRANGE", b"a", b"20000", b"x"]);
    t.run(&[b"SETRANGE", b"b", b"20000", b"x"]);
    let failure = "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    assert_eq!(t.call("LCS a b"), failure);
}

#[test]
fn events() {
    let mut t = InProcess::with(&[("notify-keyspace-events", "KEA")]);
    let listener = t.client();
    let pattern: Box<[u8]> = (*b"__keyevent@0__:*").into();
    tine::server::pubsub::subscribe(&mut t.server.pubsub.patterns, &pattern, listener);
    let events = |t: &mut InProcess, command: &str| {
        t.call(command);
        let text = t.received(listener);
        let names = text.split("__keyevent@0__:").skip(1).filter(|part| !part.starts_with('*'));
        names.map(|part| part.split(' ').next().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    for (command, expected) in [
        ("SET k 1", vec!["set"]),
        ("SET k 1 EX 10", vec!["set", "expire"]),
        ("GETEX k PERSIST", vec!["persist"]),
        ("INCR k", vec!["incrby"]),
        ("DECRBY k 2", vec!["incrby"]),
        ("INCRBYFLOAT k 2", vec!["incrbyfloat"]),
        ("APPEND k 2", vec!["append"]),
        ("SETRANGE k 2 x", vec!["setrange"]),
        ("SETBIT k 2 0", vec!["setbit"]),
        ("MSET a 1 b 2", vec!["set", "set"]),
        ("EXPIRE a 10", vec!["expire"]),
        ("EXPIRE a -1", vec!["del"]),
        ("RENAME b c", vec!["rename_from", "rename_to"]),
        ("COPY c d", vec!["copy_to"]),
        ("MOVE d 1", vec!["move_from"]),
        ("GETDEL c", vec!["del"]),
        ("DEL k none", vec!["del"]),
    ] {
        assert_eq!(events(&mut t, command), expected, "{command}");
    }
    t.configure(&[("notify-keyspace-events", "KEAnm")]);
    assert_eq!(events(&mut t, "GET none"), ["keymiss"]);
    assert_eq!(events(&mut t, "SET none 1"), ["new", "set"]);
    assert_eq!(events(&mut t, "EXISTS void"), ["keymiss"]);
    t.call("PEXPIRE none 10");
    t.received(listener);
    t.clock_ms(11);
    assert_eq!(events(&mut t, "SET none 1"), ["expired", "new", "set"]);
}

/// Strings with expiry as plainly as they can be written.
#[derive(Default)]
struct Model {
    keys: std::collections::HashMap<u8, (Vec<u8>, Option<i64>)>,
    now_ms: i64,
}

#[derive(Clone, Debug)]
enum Op {
    Get,
    Set(Vec<u8>),
    SetExpiry(Vec<u8>, i64),
    SetKeep(Vec<u8>),
    SetIf(Vec<u8>, bool),
    Append(Vec<u8>),
    SetRange(usize, Vec<u8>),
    GetRange(i64, i64),
    IncrBy(i64),
    SetBit(usize, bool),
    Expire(i64),
    Persist,
    Ttl,
    Del,
    GetDel,
    Rename(u8),
    Copy(u8),
    Wait(i64),
}

impl Model {
    fn get(&mut self, key: u8) -> Option<&mut (Vec<u8>, Option<i64>)> {
        let now_ms = self.now_ms;
        self.keys.retain(|_, (_, expiry)| expiry.is_none_or(|expiry| now_ms <= expiry));
        self.keys.get_mut(&key)
    }

    fn value(&mut self, key: u8) -> Vec<u8> {
        self.get(key).map(|(value, _)| value.clone()).unwrap_or_default()
    }

    fn change(&mut self, key: u8, value: Vec<u8>) {
        let expiry = self.get(key).and_then(|(_, expiry)| *expiry);
        self.keys.insert(key, (value, expiry));
    }

    /// Runs an operation; gives what the command must answer.
    fn run(&mut self, key: u8, op: &Op) -> Reply {
        let ok = Reply::Simple("OK".to_owned());
        let there = self.get(key).is_some();
        let int = |value: usize| Reply::Int(value as i64);
        match op.clone() {
            Op::Get => self.get(key).map_or(Reply::NullBulk, |(value, _)| Reply::Bulk(value.clone())),
            Op::Set(value) => {
                self.keys.insert(key, (value, None));
                ok
            }
            Op::SetExpiry(value, ms) => {
                self.keys.insert(key, (value, Some(self.now_ms + ms)));
                ok
            }
            Op::SetKeep(value) => {
                self.change(key, value);
                ok
            }
            Op::SetIf(value, wanted) => {
                if there != wanted {
                    return Reply::NullBulk;
                }
                self.keys.insert(key, (value, None));
                ok
            }
            Op::Append(more) => {
                let value = [self.value(key), more].concat();
                self.change(key, value.clone());
                int(value.len())
            }
            Op::SetRange(offset, bytes) => {
                let mut value = self.value(key);
                if !bytes.is_empty() {
                    value.resize(value.len().max(offset + bytes.len()), 0);
                    value[offset..offset + bytes.len()].copy_from_slice(&bytes);
                    self.change(key, value.clone());
                }
                int(value.len())
            }
            Op::GetRange(start, end) => {
                let value = self.value(key);
                let len = value.len() as i64;
                if start < 0 && end < 0 && start > end {
                    return Reply::Bulk(Vec::new());
                }
                let from_end = |index: i64| if index < 0 { (len + index).max(0) } else { index };
                let kept = |index: i64| (from_end(start)..=from_end(end)).contains(&index);
                let bytes = value.iter().zip(0..).filter(|(_, index)| kept(*index)).map(|(byte, _)| *byte);
                Reply::Bulk(bytes.collect())
            }
            Op::IncrBy(step) => {
                let text = if there { self.value(key) } else { b"0".to_vec() };
                let number = String::from_utf8(text.clone()).ok().and_then(|text| text.parse::<i64>().ok());
                let Some(number) = number.filter(|number| number.to_string().into_bytes() == text) else {
                    return Reply::Error("ERR value is not an integer or out of range".to_owned());
                };
                let Some(sum) = number.checked_add(step) else {
                    return Reply::Error("ERR increment or decrement would overflow".to_owned());
                };
                self.change(key, sum.to_string().into_bytes());
                Reply::Int(sum)
            }
            Op::SetBit(offset, on) => {
                let mut value = self.value(key);
                value.resize(value.len().max(offset / 8 + 1), 0);
                let mask = 0x80 >> (offset % 8);
                let old = value[offset / 8] & mask != 0;
                value[offset / 8] = if on { value[offset / 8] | mask } else { value[offset / 8] & !mask };
                self.change(key, value);
                int(old as usize)
            }
            Op::Expire(ms) => {
                let at = self.now_ms + ms;
                if let Some(entry) = self.get(key) {
                    entry.1 = Some(at);
                    if ms <= 0 {
                        self.keys.remove(&key);
                    }
                }
                int(there as usize)
            }
            Op::Persist => int(self.get(key).and_then(|(_, expiry)| expiry.take()).is_some() as usize),
            Op::Ttl => {
                let now_ms = self.now_ms;
                Reply::Int(
                    self.get(key).map_or(-2, |(_, expiry)| expiry.map_or(-1, |expiry| expiry - now_ms)),
                )
            }
            Op::Del => int(self.keys.remove(&key).is_some() as usize),
            Op::GetDel => self.keys.remove(&key).map_or(Reply::NullBulk, |(value, _)| Reply::Bulk(value)),
            Op::Rename(to) => {
                if !there {
                    return Reply::Error("ERR no such key".to_owned());
                }
                let entry = self.keys.remove(&key).expect("it is there");
                self.keys.insert(to, entry);
                ok
            }
            Op::Copy(to) => {
                if !there || to == key || self.get(to).is_some() {
                    return if to == key { Reply::Error(SAME.to_owned()) } else { int(0) };
                }
                let entry = self.keys[&key].clone();
                self.keys.insert(to, entry);
                int(1)
            }
            Op::Wait(ms) => {
                self.now_ms += ms;
                int(0)
            }
        }
    }
}

const SAME: &str = "ERR source and destination objects are the same";

fn key_name(key: u8) -> Vec<u8> {
    // Short, long and wide keys.
    vec![b'k' + key; [1, 16, 40, 300][key as usize % 4]]
}

/// The command of an operation; `None` for what only the clock does.
fn command(key: u8, op: &Op) -> Option<Vec<Vec<u8>>> {
    let name = key_name(key);
    let number = |value: i64| value.to_string().into_bytes();
    let word = |text: &str| text.as_bytes().to_vec();
    Some(match op.clone() {
        Op::Get => vec![word("GET"), name],
        Op::Set(value) => vec![word("SET"), name, value],
        Op::SetExpiry(value, ms) => vec![word("SET"), name, value, word("PX"), number(ms)],
        Op::SetKeep(value) => vec![word("SET"), name, value, word("KEEPTTL")],
        Op::SetIf(value, wanted) => vec![word("SET"), name, value, word(if wanted { "XX" } else { "NX" })],
        Op::Append(more) => vec![word("APPEND"), name, more],
        Op::SetRange(offset, bytes) => vec![word("SETRANGE"), name, number(offset as i64), bytes],
        Op::GetRange(start, end) => vec![word("GETRANGE"), name, number(start), number(end)],
        Op::IncrBy(step) => vec![word("INCRBY"), name, number(step)],
        Op::SetBit(offset, on) => vec![word("SETBIT"), name, number(offset as i64), number(on as i64)],
        Op::Expire(ms) => vec![word("PEXPIRE"), name, number(ms)],
        Op::Persist => vec![word("PERSIST"), name],
        Op::Ttl => vec![word("PTTL"), name],
        Op::Del => vec![word("DEL"), name],
        Op::GetDel => vec![word("GETDEL"), name],
        Op::Rename(to) => vec![word("RENAME"), name, key_name(to)],
        Op::Copy(to) => vec![word("COPY"), name, key_name(to)],
        Op::Wait(_) => return None,
    })
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        (-20i64..20).prop_map(|number| number.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..60),
        (0usize..1000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::Get),
        any_value().prop_map(Op::Set),
        (any_value(), 1i64..50).prop_map(|(value, ms)| Op::SetExpiry(value, ms)),
        any_value().prop_map(Op::SetKeep),
        (any_value(), any::<bool>()).prop_map(|(value, wanted)| Op::SetIf(value, wanted)),
        any_value().prop_map(Op::Append),
        (0usize..300, any_value()).prop_map(|(offset, bytes)| Op::SetRange(offset, bytes)),
        (-20i64..20, -20i64..20).prop_map(|(start, end)| Op::GetRange(start, end)),
        prop_oneof![-5i64..5, any::<i64>()].prop_map(Op::IncrBy),
        (0usize..3000, any::<bool>()).prop_map(|(offset, on)| Op::SetBit(offset, on)),
        (-2i64..50).prop_map(Op::Expire),
        Just(Op::Persist),
        Just(Op::Ttl),
        Just(Op::Del),
        Just(Op::GetDel),
        (0u8..4).prop_map(Op::Rename),
        (0u8..4).prop_map(Op::Copy),
        (1i64..30).prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_agree_with_a_plain_model(ops in proptest::collection::vec((0u8..4, any_op()), 1..80)) {
        let mut t = InProcess::new();
        let mut model = Model { now_ms: t.now_ms(), ..Model::default() };
        for (key, op) in &ops {
            let expected = model.run(*key, op);
            match command(*key, op) {
                Some(words) => {
                    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                    prop_assert_eq!(t.run(&words), expected, "{:?}", op);
                }
                None => t.clock_ms(model.now_ms - t.now_ms()),
            }
        }
        // Expired keys that nobody looked at are still there.
        prop_assert!(t.server.keyspace.total_keys() >= model.keys.len());
    }
}
