//! SORT and SORT_RO against an in-process server.

mod common;

use common::InProcess;
use tine::keyspace::ExpireRule;

#[test]
fn numbers_and_texts() {
    let mut t = InProcess::new();
    t.script(
        r#"
        RPUSH l 3 1 10 2
        SORT l => *4 $1 1 $1 2 $1 3 $2 10
        SORT l DESC => *4 $2 10 $1 3 $1 2 $1 1
        SORT l ALPHA => *4 $1 1 $2 10 $1 2 $1 3
        SORT l ALPHA DESC ASC => *4 $1 1 $2 10 $1 2 $1 3
        SORT l LIMIT 1 2 => *2 $1 2 $1 3
        SORT l LIMIT 3 9 => *1 $2 10
        SORT l LIMIT -1 1 => *1 $1 1
        SORT l LIMIT 4 1 => *0
        SORT l LIMIT 0 0 => *0
        SORT l LIMIT 1 -1 => *3 $1 2 $1 3 $2 10
        SORT l LIMIT x 1 => -ERR value is not an integer or out of range
        SORT l LIMIT 1 => -ERR syntax error
        SORT l WHAT => -ERR syntax error
        SORT none => *0
        RPUSH f 1.5 -inf 1e2 .5
        SORT f => *4 $4 -inf $2 .5 $3 1.5 $3 1e2
        RPUSH f x
        SORT f => -ERR One or more scores can't be converted into double
        SORT f ALPHA => *5 $4 -inf $2 .5 $3 1.5 $3 1e2 $1 x
        SET str v
        SORT str => -WRONGTYPE Operation against a key holding the wrong kind of value
        HSET h a b
        SORT_RO h => -WRONGTYPE Operation against a key holding the wrong kind of value
        SORT_RO l STORE d => -ERR syntax error
        SORT_RO l => *4 $1 1 $1 2 $1 3 $2 10
        "#,
    );
}

#[test]
fn patterns() {
    let mut t = InProcess::new();
    t.script(
        r#"
        RPUSH l a b c
        MSET w_a 3 w_b 1 w_c 2 o_a x o_b y
        HSET h_a n 1 m A
        HSET h_b n 3
        HSET h_c n 2 m C
        SORT l BY w_* => *3 $1 b $1 c $1 a
        SORT l BY w_* DESC LIMIT 0 2 => *2 $1 a $1 c
        SORT l BY h_*->n => *3 $1 a $1 c $1 b
        SORT l BY h_*->none => *3 $1 a $1 b $1 c
        SORT l BY none_* DESC => *3 $1 c $1 b $1 a
        SORT l BY o_* ALPHA => *3 $1 c $1 a $1 b
        SORT l BY o_* => -ERR One or more scores can't be converted into double
        SORT l BY w_* GET # GET o_* GET h_*->m => *9 $1 b $1 y $-1 $1 c $-1 $1 C $1 a $1 x $1 A
        SORT l BY nosort GET const => *3 $-1 $-1 $-1
        SORT l BY nosort DESC => *3 $1 c $1 b $1 a
        SORT l BY nosort DESC LIMIT 1 1 => *1 $1 b
        SORT l BY nosort LIMIT 1 5 => *2 $1 b $1 c
        SORT l BY nosort LIMIT 9 5 => *0
        SORT l BY w_*->n ALPHA => *3 $1 a $1 b $1 c
        SORT l BY nosort GET h_* => *3 $-1 $-1 $-1
        "#,
    );
    let main = t.main;
    t.resp3(main);
    assert_eq!(t.call("SORT l BY w_* LIMIT 0 1 GET o_* GET h_*->m"), "*2 $1 y _");
}

#[test]
fn sources_of_all_types() {
    let mut t = InProcess::new();
    t.script(
        r#"
        ZADD z 1 a 5 b 2 c 10 d 3 e
        SORT z ALPHA DESC => *5 $1 e $1 d $1 c $1 b $1 a
        SORT z BY nosort => *5 $1 a $1 c $1 e $1 b $1 d
        SORT z BY nosort DESC => *5 $1 d $1 b $1 e $1 c $1 a
        SORT z BY nosort DESC LIMIT 1 2 => *2 $1 b $1 e
        SORT z BY nosort LIMIT -10 100 => *5 $1 a $1 c $1 e $1 b $1 d
        SORT z BY nosort LIMIT 5 10 => *0
        SADD s 3 1 2
        SORT s DESC => *3 $1 3 $1 2 $1 1
        SADD texts c a b
        SORT texts BY nosort STORE d => :3
        LRANGE d 0 -1 => *3 $1 a $1 b $1 c
        "#,
    );
}

#[test]
fn results_are_stored() {
    let mut t = InProcess::new();
    t.script(
        r#"
        RPUSH l 3 1 2
        SORT l STORE d => :3
        LRANGE d 0 -1 => *3 $1 1 $1 2 $1 3
        OBJECT ENCODING d => $8 listpack
        SET w_1 x
        SORT l BY nosort GET w_* GET # STORE d => :6
        LRANGE d 0 -1 => *6 $0  $1 3 $1 x $1 1 $0  $1 2
        SORT none STORE d => :0
        EXISTS d => :0
        SORT l LIMIT 10 10 STORE d => :0
        EXISTS d => :0
        COMMAND GETKEYS SORT abc STORE def => *2 $3 abc $3 def
        COMMAND GETKEYS SORT abc STORE x STORE y STORE def => *2 $3 abc $3 def
        COMMAND GETKEYS SORT abc LIMIT STORE x GET STORE => *1 $3 abc
        COMMAND GETKEYS SORT_RO abc => *1 $3 abc
        "#,
    );
    let before = t.dirty();
    t.call("SORT l STORE d");
    assert_eq!(t.dirty() - before, 3);
    t.record_propagation();
    t.call("SORT l STORE d");
    assert_eq!(t.propagated(), ["SELECT 0", "SORT l STORE d"]);
    t.call("SORT l");
    assert!(t.propagated().is_empty());
}

#[test]
fn many_elements_by_key_and_field() {
    let mut t = InProcess::new();
    let weight = |number: usize| (number * 7919) % 5000;
    for number in 0..1000 {
        t.call(&format!("SADD s {number}"));
        t.call(&format!("SET w_{number} {}", weight(number)));
        t.call(&format!("HSET h_{number} weight {}", weight(number)));
    }
    let mut expected: Vec<usize> = (0..1000).collect();
    expected.sort_by_key(|number| weight(*number));
    for by in ["w_*", "h_*->weight"] {
        let reply = t.run(&[b"SORT", b"s", b"BY", by.as_bytes()]);
        let got: Vec<usize> =
            reply.items().iter().map(|item| item.text().parse().expect("a number")).collect();
        assert_eq!(got, expected, "{by}");
        let reply = t.run(&[b"SORT", b"s", b"BY", by.as_bytes(), b"LIMIT", b"5", b"10"]);
        let got: Vec<usize> =
            reply.items().iter().map(|item| item.text().parse().expect("a number")).collect();
        assert_eq!(got, expected[5..15], "{by}");
    }
}

/// A log says itself when fields went: a replayed SORT sees what the first one saw.
#[test]
fn a_replay_sees_fields_whatever_the_clock_says() {
    let mut test = InProcess::new();
    test.call("RPUSH l 1");
    test.call("HSET h1 w 5");
    test.call("HPEXPIRE h1 1000 FIELDS 1 w");
    assert_eq!(test.call("SORT l BY nosort GET h*->w"), "*1 $1 5");
    test.server.keyspace.expire_rule = ExpireRule::Ignore;
    test.clock_ms(2000);
    assert_eq!(test.call("SORT l BY nosort GET h*->w"), "*1 $1 5");
}
