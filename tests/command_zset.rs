//! Sorted set commands against a server in process.

mod common;

use common::InProcess;

/// A server with limits of `entries` members for the packed encoding.
fn server(entries: &str) -> InProcess {
    InProcess::with(&[("zset-max-listpack-entries", entries)])
}

/// Runs the test for both encodings.
fn in_both(test: impl Fn(&mut InProcess)) {
    for (entries, encoding) in [("128", "$8 listpack"), ("0", "$8 skiplist")] {
        let mut server = server(entries);
        server.call("ZADD probe 1 a");
        assert_eq!(server.call("OBJECT ENCODING probe"), encoding);
        test(&mut server);
    }
}

/// `(line, reply)` pairs in order.
#[track_caller]
fn expect(server: &mut InProcess, lines: &[(&str, &str)]) {
    for (line, reply) in lines {
        assert_eq!(server.call(line), *reply, "{line}");
    }
}

#[test]
fn zadd_and_its_options() {
    in_both(|server| {
        expect(
            server,
            &[
                ("ZADD z 1 a 2 b", ":2"),
                ("ZADD z 1 a 3 b 4 c", ":1"),
                ("ZADD z CH 1 a 5 b 6 d", ":2"),
                ("ZADD z NX 9 a 7 e", ":1"),
                ("ZSCORE z a", "$1 1"),
                ("ZADD z XX 9 a 9 nobody", ":0"),
                ("ZSCORE z a", "$1 9"),
                ("ZADD z GT CH 8 a", ":0"),
                ("ZADD z LT CH 8.5 a", ":1"),
                ("ZADD z GT CH 3 fresh", ":1"),
                ("ZADD z INCR 1.25 a", "$4 9.75"),
                ("ZADD z NX INCR 1 a", "$-1"),
                ("ZADD z XX INCR 1 nobody", "$-1"),
                ("ZADD missing XX 1 a", ":0"),
                ("EXISTS missing", ":0"),
                ("ZINCRBY z -0.75 a", "$1 9"),
                ("ZINCRBY new 3 m", "$1 3"),
                ("ZADD z inf up", ":1"),
                ("ZINCRBY z -inf up", "-ERR resulting score is not a number (NaN)"),
                ("ZSCORE z up", "$3 inf"),
            ],
        );
    });
}

#[test]
fn zadd_refuses_what_redis_refuses() {
    let mut server = InProcess::new();
    server.call("SET string v");
    expect(
        &mut server,
        &[
            ("ZADD z 1", "-ERR wrong number of arguments for 'zadd' command"),
            ("ZADD z 1 a 2", "-ERR syntax error"),
            ("ZADD z NX XX 1 a", "-ERR XX and NX options at the same time are not compatible"),
            ("ZADD z NX GT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
            ("ZADD z LT GT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
            ("ZADD z INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair"),
            ("ZADD z 1 a x b", "-ERR value is not a valid float"),
            ("ZADD z nan a", "-ERR value is not a valid float"),
            ("EXISTS z", ":0"),
            ("ZADD string 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ],
    );
}

#[test]
fn removals_take_the_key_with_the_last_member() {
    in_both(|server| {
        expect(
            server,
            &[
                ("ZADD z 1 a 2 b 3 c 4 d 5 e", ":5"),
                ("ZREM z a nobody", ":1"),
                ("ZREMRANGEBYSCORE z (2 3", ":1"),
                ("ZREMRANGEBYRANK z -1 -1", ":1"),
                ("ZRANGE z 0 -1", "*2 $1 b $1 d"),
                ("ZREMRANGEBYLEX z [d +", ":1"),
                ("ZREM z b c", ":1"),
                ("EXISTS z", ":0"),
                ("ZREM z b", ":0"),
                ("ZREMRANGEBYSCORE z x 1", "-ERR min or max is not a float"),
                ("ZREMRANGEBYLEX z x [a", "-ERR min or max not valid string range item"),
                ("ZREMRANGEBYRANK z x 1", "-ERR value is not an integer or out of range"),
            ],
        );
    });
}

#[test]
fn scores_ranks_and_counts() {
    in_both(|server| {
        expect(
            server,
            &[
                ("ZADD z 1 a 2.5 b 3 c", ":3"),
                ("ZCARD z", ":3"),
                ("ZMSCORE z a nobody b", "*3 $1 1 $-1 $3 2.5"),
                ("ZRANK z c", ":2"),
                ("ZREVRANK z c WITHSCORE", "*2 :0 $1 3"),
                ("ZRANK z nobody", "$-1"),
                ("ZRANK z nobody WITHSCORE", "*-1"),
                ("ZRANK z a WITHSCORES", "-ERR syntax error"),
                ("ZCOUNT z (1 +inf", ":2"),
                ("ZCOUNT z 3 1", ":0"),
                ("ZLEXCOUNT z - +", ":3"),
                ("ZRANK nokey a WITHSCORE", "*-1"),
                ("ZSCORE nokey a", "$-1"),
                ("ZMSCORE nokey a", "*1 $-1"),
            ],
        );
    });
}

#[test]
fn ranges_of_all_kinds() {
    in_both(|server| {
        expect(
            server,
            &[
                ("ZADD z 1 a 2 b 3 c 4 d", ":4"),
                ("ZRANGE z 1 2 WITHSCORES", "*4 $1 b $1 2 $1 c $1 3"),
                ("ZRANGE z 0 1 REV", "*2 $1 d $1 c"),
                ("ZREVRANGE z -2 -1", "*2 $1 b $1 a"),
                ("ZRANGE z (1 3 BYSCORE", "*2 $1 b $1 c"),
                ("ZRANGE z 3 (1 BYSCORE REV LIMIT 1 5", "*1 $1 b"),
                ("ZRANGEBYSCORE z -inf +inf LIMIT 1 2", "*2 $1 b $1 c"),
                ("ZRANGEBYSCORE z -inf +inf LIMIT -1 2", "*0"),
                ("ZREVRANGEBYSCORE z +inf -inf LIMIT 0 1 WITHSCORES", "*2 $1 d $1 4"),
                ("ZRANGEBYSCORE z 5 1", "*0"),
                ("ZRANGE z 5 9", "*0"),
                ("ZRANGE nokey 0 -1", "*0"),
                (
                    "ZRANGE z 0 1 LIMIT 0 1",
                    "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
                ),
                (
                    "ZRANGE z - + BYLEX WITHSCORES",
                    "-ERR syntax error, WITHSCORES not supported in combination with BYLEX",
                ),
                ("ZRANGEBYSCORE z 1 2 REV", "-ERR syntax error"),
                ("ZADD lex 0 a 0 b 0 c 0 d", ":4"),
                ("ZRANGEBYLEX lex [b (d", "*2 $1 b $1 c"),
                ("ZREVRANGEBYLEX lex + (b LIMIT 0 1", "*1 $1 d"),
                ("ZRANGE lex (c - BYLEX REV", "*2 $1 b $1 a"),
                ("ZRANGESTORE to z 2 3 BYSCORE", ":2"),
                ("ZRANGE to 0 -1 WITHSCORES", "*4 $1 b $1 2 $1 c $1 3"),
                ("ZRANGESTORE z z 0 0", ":1"),
                ("ZRANGE z 0 -1", "*1 $1 a"),
                ("ZRANGESTORE to nokey 0 -1", ":0"),
                ("EXISTS to", ":0"),
            ],
        );
    });
}

#[test]
fn pops() {
    in_both(|server| {
        expect(
            server,
            &[
                ("ZADD z 1 a 2 b 3 c 4 d 5 e", ":5"),
                ("ZPOPMIN z", "*2 $1 a $1 1"),
                ("ZPOPMAX z 2", "*4 $1 e $1 5 $1 d $1 4"),
                ("ZPOPMIN z 0", "*0"),
                ("ZPOPMIN z -1", "-ERR value is out of range, must be positive"),
                ("ZMPOP 2 nokey z MIN COUNT 9", "*2 $1 z *2 *2 $1 b $1 2 *2 $1 c $1 3"),
                ("EXISTS z", ":0"),
                ("ZMPOP 1 z MAX", "*-1"),
                ("ZPOPMIN z", "*0"),
                ("ZMPOP 0 z MAX", "-ERR numkeys should be greater than 0"),
                ("ZMPOP 1 z MIN COUNT 0", "-ERR count should be greater than 0"),
                ("ZMPOP 2 z MIN", "-ERR syntax error"),
                ("BZPOPMIN z x", "-ERR timeout is not a float or out of range"),
            ],
        );
    });
}

#[test]
fn resp3_nests_and_has_doubles() {
    let mut server = InProcess::new();
    server.resp3(server.main);
    expect(
        &mut server,
        &[
            ("ZADD z 1 a 2.5 b", ":2"),
            ("ZSCORE z b", ",2.5"),
            ("ZRANGE z 0 -1 WITHSCORES", "*2 *2 $1 a ,1 *2 $1 b ,2.5"),
            ("ZUNION 1 z WITHSCORES", "*2 *2 $1 a ,1 *2 $1 b ,2.5"),
            ("ZPOPMIN z", "*2 $1 a ,1"),
            ("ZPOPMIN z 1", "*1 *2 $1 b ,2.5"),
            ("ZRANK z b WITHSCORE", "_"),
            ("ZADD inf inf a", ":1"),
            ("ZSCORE inf a", ",inf"),
        ],
    );
}

#[test]
fn combinations() {
    in_both(|server| {
        expect(
            server,
            &[
                ("ZADD one 1 a 2 b 3 c", ":3"),
                ("ZADD two 10 b 20 c 30 d", ":3"),
                ("SADD set a b", ":2"),
                ("ZUNION 2 one two", "*4 $1 a $1 b $1 c $1 d"),
                ("ZUNIONSTORE to 2 one two WEIGHTS 2 1 AGGREGATE MAX", ":4"),
                ("ZRANGE to 0 -1 WITHSCORES", "*8 $1 a $1 2 $1 b $2 10 $1 c $2 20 $1 d $2 30"),
                ("ZINTER 3 one two set WITHSCORES", "*2 $1 b $2 13"),
                ("ZINTERSTORE to 2 one set", ":2"),
                ("ZDIFF 2 one set WITHSCORES", "*2 $1 c $1 3"),
                ("ZDIFFSTORE to 2 one one", ":0"),
                ("EXISTS to", ":0"),
                ("ZINTERCARD 2 one two", ":2"),
                ("ZINTERCARD 2 one two LIMIT 1", ":1"),
                ("ZINTERCARD 2 one two LIMIT -1", "-ERR LIMIT can't be negative"),
                ("ZUNION 0 one", "-ERR at least 1 input key is needed for 'zunion' command"),
                ("ZUNIONSTORE to 3 one two", "-ERR syntax error"),
                ("ZUNION 1 one WEIGHTS x", "-ERR weight value is not a float"),
                ("ZDIFF 1 one WEIGHTS 1", "-ERR syntax error"),
                ("ZUNIONSTORE to 1 one WITHSCORES", "-ERR syntax error"),
            ],
        );
    });
}

#[test]
fn random_members() {
    in_both(|server| {
        server.call("ZADD z 1 a 2 b 3 c");
        assert_eq!(server.call("ZRANDMEMBER nokey"), "$-1");
        assert_eq!(server.call("ZRANDMEMBER nokey 3"), "*0");
        assert_eq!(server.call("ZRANDMEMBER z 0"), "*0");
        assert_eq!(server.call("ZRANDMEMBER z 9 WITHSCORES"), "*6 $1 c $1 3 $1 b $1 2 $1 a $1 1");
        assert!(server.call("ZRANDMEMBER z -7").starts_with("*7 "));
        let two = server.call("ZRANDMEMBER z 2");
        let words: Vec<&str> = two.split(' ').collect();
        assert!(words[0] == "*2" && words[2] != words[4], "{two}");
        assert_eq!(server.call("ZRANDMEMBER z x"), "-ERR value is not an integer or out of range");
        assert_eq!(server.call("ZRANDMEMBER z 1 WITHSCORE"), "-ERR syntax error");
    });
}

#[test]
fn scans() {
    let mut server = server("128");
    server.call("ZADD z 1 a 2.5 b");
    assert_eq!(server.call("ZSCAN z 0"), "*2 $1 0 *4 $1 a $1 1 $1 b $3 2.5");
    assert_eq!(server.call("ZSCAN z 0 MATCH b*"), "*2 $1 0 *2 $1 b $3 2.5");
    assert_eq!(server.call("ZSCAN nokey 0 COUNT x"), "*2 $1 0 *0");
    for number in 0..1000 {
        server.call(&format!("ZADD big {number} member:{number}"));
    }
    let (mut cursor, mut seen) = ("0".to_owned(), 0);
    loop {
        let reply = server.call(&format!("ZSCAN big {cursor} COUNT 50"));
        let words: Vec<&str> = reply.split(' ').collect();
        cursor = words[2].to_owned();
        seen += words.iter().filter(|word| word.starts_with("member:")).count();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen, 1000);
}

#[test]
fn encodings_follow_the_limits() {
    let mut server = InProcess::with(&[("zset-max-listpack-entries", "3"), ("zset-max-listpack-value", "5")]);
    expect(
        &mut server,
        &[
            ("ZADD z 1 a 2 b 3 c", ":3"),
            ("OBJECT ENCODING z", "$8 listpack"),
            ("ZADD z 4 d", ":1"),
            ("OBJECT ENCODING z", "$8 skiplist"),
            ("ZREM z a b c", ":3"),
            ("OBJECT ENCODING z", "$8 skiplist"),
            ("ZADD long 1 abcdef", ":1"),
            ("OBJECT ENCODING long", "$8 skiplist"),
            ("ZUNIONSTORE small 1 z", ":1"),
            ("OBJECT ENCODING small", "$8 listpack"),
            ("ZADD many 1 a 1 a 1 a 1 a", ":1"),
            ("OBJECT ENCODING many", "$8 skiplist"),
        ],
    );
}

#[test]
fn blocked_clients_are_served_in_order() {
    let mut server = InProcess::new();
    let (first, second) = (server.client(), server.client());
    server.record_propagation();
    assert_eq!(server.call_as(first, "BZPOPMAX nokey z 0"), "");
    assert_eq!(server.call_as(second, "BZMPOP 0 1 z MIN COUNT 5"), "");
    server.call("ZADD z 1 a 2 b 3 c");
    assert_eq!(server.received(first), "*3 $1 z $1 c $1 3");
    assert_eq!(server.received(second), "*2 $1 z *2 *2 $1 a $1 1 *2 $1 b $1 2");
    assert_eq!(server.call("EXISTS z"), ":0");
    let stream = server.propagated().join(" | ");
    assert!(stream.contains("ZPOPMAX z") && stream.contains("ZPOPMIN z 2"), "{stream}");
}

#[test]
fn changes_are_counted_as_redis_counts_them() {
    in_both(|server| {
        for (line, changes) in [
            ("ZADD z 1 a 2 b 3 c 4 d 5 e", 5),
            ("ZADD z 1 a 7 b", 1),
            ("ZINCRBY z 0 a", 0),
            ("ZREM z a nobody", 1),
            ("ZPOPMAX z 2", 2),
            ("ZUNIONSTORE to 1 z", 1),
            ("ZREMRANGEBYRANK z 0 -1", 2),
            ("ZRANGESTORE to nokey 0 -1", 1),
            ("ZDIFFSTORE to 1 nokey", 0),
        ] {
            let before = server.dirty();
            server.call(line);
            assert_eq!(server.dirty() - before, changes, "{line}");
        }
    });
}

#[test]
fn dumps_are_restored() {
    in_both(|server| {
        server.call("ZADD z -inf a 1.5 b 1e30 17 3 x");
        let common::Reply::Bulk(payload) = server.run(&[b"DUMP", b"z"]) else {
            panic!("DUMP answers a bulk string");
        };
        server.run(&[b"RESTORE", b"copy", b"0", &payload]);
        let all = "ZRANGE copy 0 -1 WITHSCORES";
        assert_eq!(server.call(all), "*8 $1 a $4 -inf $1 b $3 1.5 $1 x $1 3 $2 17 $5 1e+30");
        assert_eq!(server.call("OBJECT ENCODING copy"), server.call("OBJECT ENCODING z"));
    });
}

/// What Redis 7.2.4 answers: a listpack keeps a zero as an integer, without its sign; a big set keeps it.
#[test]
fn a_negative_zero_is_shown_as_in_redis() {
    for (entries, zero, negated) in [("128", "$1 0", "$2 -0"), ("0", "$2 -0", "$1 0")] {
        let mut server = server(entries);
        server.transcript(&format!(
            "ZADD z -0.0 a -0 b 0 c => :3
             ZSCORE z a => {zero}
             ZINCRBY z -0.0 a => {zero}
             ZINCRBY z 0 a => $1 0
             ZADD z CH -0.0 b => :0
             ZADD z -5 n => :1
             ZINCRBY z 5 n => $1 0
             ZUNION 1 z WEIGHTS -1 WITHSCORES => *8 $1 a {negated} $1 b {negated} $1 c $2 -0 $1 n $2 -0
             ZCOUNT z -0 0 => :4"
        ));
    }
    InProcess::new().transcript(
        r#"
        INCRBYFLOAT f -0.0 => $1 0
        SET f -0.0 => +OK
        INCRBYFLOAT f -0.0 => $1 0
        INCRBYFLOAT f -1e-400 => $1 0
        HINCRBYFLOAT h f -0.0 => $1 0
        HSET h g -0.0 => :1
        HINCRBYFLOAT h g -0.0 => $1 0
        GEOADD g -0.0 -0.0 zero -0.0000001 -0.0000001 nearly => :2
        GEOPOS g zero => *1 *2 $19 0.00000268220901489 $19 0.00000126736058093
        GEODIST g zero nearly => $6 0.6599
        GEOSEARCH g FROMLONLAT -0.0 -0.0 BYRADIUS 0 m => *0
        "#,
    );
}
