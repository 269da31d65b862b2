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
