//! HyperLogLog commands against an in-process server: replies, errors, stored bytes, propagation.

mod common;

use common::{InProcess, Reply};

#[test]
fn counting_and_merging() {
    let mut t = InProcess::new();
    t.transcript(
        r#"
        PFCOUNT h => :0
        PFADD h => :1
        PFADD h => :0
        PFCOUNT h => :0
        PFADD h a b c => :1
        PFADD h a b c => :0
        PFADD h "" => :1
        PFCOUNT h => :4
        PFADD g c d e f => :1
        PFCOUNT h g nothing => :7
        PFMERGE all h g nothing => +OK
        PFCOUNT all => :7
        PFDEBUG ENCODING all => +sparse
        TYPE all => +string
        PFMERGE fresh => +OK
        PFCOUNT fresh => :0
        PFDEBUG TODENSE h => :1
        PFDEBUG TODENSE h => :0
        PFDEBUG ENCODING h => +dense
        STRLEN h => :12304
        PFCOUNT h => :4
        PFMERGE g h => +OK
        PFDEBUG ENCODING g => +dense
        PFCOUNT g => :7
        PFADD one foo => :1
        PFDEBUG DECODE one => $19 Z:7348 v:5,1 Z:9035
        PFADD two foo 12345678 a => :1
        PFDEBUG DECODE two => $45 Z:7348 v:5,1 Z:3230 v:3,1 Z:2131 v:2,1 Z:3672
        "#,
    );
}

#[test]
fn what_is_no_sketch_is_refused() {
    let mut t = InProcess::new();
    t.transcript(
        r#"
        SET s foo => +OK
        PFADD s a => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT s => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT nothing s => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFMERGE s nothing => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFDEBUG GETREG s => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFDEBUG GETREG nothing => -ERR The specified key does not exist
        PFADD h a b c => :1
        PFDEBUG NONE h => -ERR Unknown PFDEBUG subcommand 'NONE'
        PFDEBUG DECODE => -ERR wrong number of arguments for 'pfdebug' command
        APPEND h hello => :32
        PFCOUNT h => -INVALIDOBJ Corrupted HLL object detected
        PFCOUNT h h => -INVALIDOBJ Corrupted HLL object detected
        PFMERGE g h => -INVALIDOBJ Corrupted HLL object detected
        PFDEBUG GETREG h => -INVALIDOBJ Corrupted HLL object detected
        EXISTS g => :0
        PFADD d a => :1
        PFDEBUG TODENSE d => :1
        PFDEBUG DECODE d => -ERR HLL encoding is not sparse
        SETRANGE d 0 0123 => :12304
        PFCOUNT d => -WRONGTYPE Key is not a valid HyperLogLog string value.
        "#,
    );
}

#[test]
fn a_sketch_turns_dense_at_its_limit() {
    let mut t = InProcess::with(&[("hll-sparse-max-bytes", "30")]);
    t.transcript("PFADD h a b => :1\nPFDEBUG ENCODING h => +sparse");
    t.transcript("PFADD h c d e f => :1\nPFDEBUG ENCODING h => +dense\nPFCOUNT h => :6");
    t.configure(&[("hll-sparse-max-bytes", "3000")]);
    for round in 0..60 {
        let elements: Vec<String> = (0..100).map(|number| format!("{}", round * 100 + number)).collect();
        t.call(&format!("PFADD big {}", elements.join(" ")));
    }
    t.transcript("PFDEBUG ENCODING big => +dense\nPFMERGE copy big => +OK");
    assert_eq!(t.call("PFCOUNT copy"), t.call("PFCOUNT big"));
    assert_eq!(t.run(&[b"GET", b"copy"]), t.run(&[b"GET", b"big"]));
}

#[test]
fn the_count_is_kept_until_something_changes() {
    let mut t = InProcess::new();
    t.record_propagation();
    assert_eq!(t.call("PFADD h a b c"), ":1");
    assert_eq!(t.propagated(), ["SELECT 0", "PFADD h a b c"]);
    let dirty = t.dirty();
    assert_eq!(t.call("PFCOUNT h"), ":3");
    assert_eq!((t.dirty() - dirty, t.propagated()), (1, vec!["PFCOUNT h".to_owned()]));
    assert_eq!(t.call("PFCOUNT h"), ":3");
    assert_eq!(t.dirty() - dirty, 1, "a cached count changes nothing");
    let Reply::Bulk(bytes) = t.run(&[b"GET", b"h"]) else { panic!("a sketch is a string") };
    assert_eq!(bytes[8..16], [3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(t.call("PFADD h a"), ":0");
    assert_eq!(t.dirty() - dirty, 1);
    assert_eq!(t.call("PFADD h d e"), ":1");
    assert_eq!(t.dirty() - dirty, 3);
}

#[test]
fn the_self_test_passes() {
    assert_eq!(InProcess::new().call("PFSELFTEST"), "+OK");
}

/// Replies of Redis 7.2.4 to the same bytes.
#[test]
fn a_damaged_sketch_is_refused_or_read_as_in_redis() {
    // 16,384 zeros, and a value run behind the last register.
    let behind = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff\x80";
    // Zeros in two bytes that one would do for, and too few registers.
    let short = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x40\x21\x88";
    let mut t = InProcess::new();
    t.run(&[b"SET", b"behind", behind]);
    t.run(&[b"SET", b"short", short]);
    t.transcript(
        r#"
        PFADD good a => :1
        PFCOUNT behind => -INVALIDOBJ Corrupted HLL object detected
        PFCOUNT behind good => :1
        PFMERGE merged good behind => +OK
        PFCOUNT merged => :1
        PFDEBUG DECODE behind => $13 Z:16384 v:1,1
        PFDEBUG DECODE short => $10 Z:34 v:3,1
        PFCOUNT short => -INVALIDOBJ Corrupted HLL object detected
        PFCOUNT good short => -INVALIDOBJ Corrupted HLL object detected
        PFMERGE merged short => -INVALIDOBJ Corrupted HLL object detected
        PFADD short a b c => -INVALIDOBJ Corrupted HLL object detected
        PFDEBUG TODENSE short => -INVALIDOBJ Corrupted HLL object detected
        PFCOUNT merged => :1
        "#,
    );
}

#[test]
fn no_damage_of_a_sketch_panics() {
    let mut random = fastrand::Rng::with_seed(20);
    let mut t = InProcess::new();
    for round in 0..300 {
        t.call("FLUSHALL");
        for _ in 0..[0, 1, 3, 40][round % 4] {
            t.call(&format!("PFADD sketch {}", random.u32(..)));
        }
        let Reply::Bulk(mut bytes) = t.run(&[b"GET", b"sketch"]) else { continue };
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, random.u8(..)),
                _ => bytes[at] = random.u8(..),
            }
        }
        t.call("PFADD good a b");
        t.run(&[b"SET", b"sketch", &bytes]);
        for command in [
            "PFCOUNT sketch",
            "PFCOUNT good sketch",
            "PFMERGE merged good sketch",
            "PFDEBUG DECODE sketch",
            "PFADD sketch x y z",
            "PFMERGE sketch good",
            "PFDEBUG TODENSE sketch",
            "PFDEBUG GETREG sketch",
        ] {
            let reply = t.call(command);
            let is_fine = !reply.starts_with('-')
                || reply.starts_with("-INVALIDOBJ")
                || reply.starts_with("-WRONGTYPE")
                || reply == "-ERR HLL encoding is not sparse";
            assert!(is_fine, "{command}: {reply}, {}", bytes.escape_ascii());
        }
    }
}
