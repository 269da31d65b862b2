//! Mutated DUMP payloads of every type and encoding, with a right checksum: RESTORE refuses them or makes a
//! value that every command of its type can work with. Nothing panics, hangs or takes memory without bound.
//!
//! `TINE_FUZZ_SECONDS` is the time (default 4), `TINE_FUZZ_SEED` repeats a run.

mod common;
#[path = "common/mutate.rs"]
mod mutate;

use std::collections::BTreeMap;

use common::{InProcess, Reply, split};
use mutate::{Budget, Mutator};
use tine::base::crc64::Crc64;
use tine::sys::data_alloc;

/// A mutant of a payload of some KiB may take this much at most, bytes: LZF can blow a string up, a
/// wrong length may not.
const MEMORY_MAX_BYTES: usize = 64 << 20;
/// Version and checksum at the end of a payload, bytes.
const FOOTER_BYTES: usize = 10;
/// Types that must come up.
const TYPES_MIN: usize = 4;
/// Rounds with one server; its memory is looked at in between.
const ROUNDS_PER_SERVER: u64 = 2000;

/// Commands that make values of all types and encodings, with small and large elements.
const BUILD: &[&str] = &[
    "SET string:raw aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "SET string:int 12345",
    "SETBIT string:bits 3000 1",
    "PFADD string:hll a b c d e",
    "RPUSH list:small a 1 -5 300 70000 5000000000 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "RPUSH list:one x",
    "HSET hash:small f v n 1 long ccccccccccccccccccccccccccccccccccccccccccccccc neg -70000",
    "SADD set:int 1 2 3 -4 500",
    "SADD set:wide 1 70000 5000000000",
    "SADD set:small a b c 1 2 \"\"",
    "ZADD zset:small 1 a 2.5 b -inf c inf d 3 1",
    "GEOADD zset:geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "XADD stream:small 1-1 a 1 b 2",
    "XADD stream:small 1-2 a 3 b 4",
    "XADD stream:small 5-0 other field x y z w",
    "XDEL stream:small 1-2",
    "XGROUP CREATE stream:small g 0",
    "XGROUP CREATE stream:small h $",
    "XREADGROUP GROUP g c COUNT 1 STREAMS stream:small >",
    "XREADGROUP GROUP g d COUNT 1 STREAMS stream:small >",
    "XADD stream:empty 1-1 a 1",
    "XTRIM stream:empty MAXLEN 0",
];

/// What reads and changes a value of each type; `K` is the key.
const EXERCISE: &[(&str, &[&str])] = &[
    (
        "string",
        &[
            "GET K",
            "STRLEN K",
            "GETRANGE K 1 5",
            "BITCOUNT K",
            "PFCOUNT K",
            "PFADD K new",
            "APPEND K more",
            "SETRANGE K 3 x",
            "INCR K",
        ],
    ),
    (
        "list",
        &[
            "LLEN K",
            "LRANGE K 0 -1",
            "LINDEX K 1",
            "LINDEX K -1",
            "LPOS K a",
            "LPOS K 1 RANK -1 COUNT 0",
            "LPUSH K head",
            "RPUSH K tail",
            "LINSERT K BEFORE tail in",
            "LSET K 0 other",
            "LREM K 0 a",
            "LMOVE K other LEFT RIGHT",
            "SORT K ALPHA",
            "LPOP K",
            "RPOP K 2",
            "LTRIM K 1 2",
            "LPOP K 100",
        ],
    ),
    (
        "hash",
        &[
            "HLEN K",
            "HGETALL K",
            "HGET K f",
            "HMGET K f n nothing",
            "HRANDFIELD K 5 WITHVALUES",
            "HRANDFIELD K -5",
            "HSCAN K 0 COUNT 100",
            "HSTRLEN K long",
            "HSET K new value f w",
            "HINCRBY K n 5",
            "HINCRBYFLOAT K n 1.5",
            "HDEL K f",
            "HSET K wide dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
            "HGETALL K",
            "HDEL K n long neg new wide",
        ],
    ),
    (
        "set",
        &[
            "SCARD K",
            "SMEMBERS K",
            "SISMEMBER K 1",
            "SMISMEMBER K a 1 zz",
            "SRANDMEMBER K 5",
            "SRANDMEMBER K -5",
            "SSCAN K 0 COUNT 100",
            "SUNION K other",
            "SINTER K K",
            "SDIFFSTORE other K nothing",
            "SADD K 7 8",
            "SREM K 1 a",
            "SADD K word",
            "SPOP K",
            "SMOVE K other 2",
            "SPOP K 100",
        ],
    ),
    (
        "zset",
        &[
            "ZCARD K",
            "ZRANGE K 0 -1 WITHSCORES",
            "ZRANGE K -inf +inf BYSCORE",
            "ZRANGEBYLEX K - +",
            "ZRANK K a",
            "ZREVRANK K b",
            "ZSCORE K c",
            "ZCOUNT K 0 5",
            "ZRANDMEMBER K 5 WITHSCORES",
            "ZSCAN K 0 COUNT 100",
            "GEOPOS K Palermo a",
            "GEOSEARCH K FROMLONLAT 15 37 BYRADIUS 200 km",
            "ZUNIONSTORE other 2 K K",
            "ZADD K 5 new 1 a",
            "ZINCRBY K 2 b",
            "ZREM K c",
            "ZADD K 9 eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
            "ZRANGE K 0 -1 REV WITHSCORES",
            "ZPOPMIN K",
            "ZPOPMAX K 2",
            "ZREMRANGEBYRANK K 0 0",
            "ZREMRANGEBYSCORE K -inf 3",
            "ZPOPMIN K 100",
        ],
    ),
    (
        "stream",
        &[
            "XLEN K",
            "XRANGE K - +",
            "XREVRANGE K + - COUNT 3",
            "XREAD STREAMS K 0",
            "XINFO STREAM K FULL",
            "XINFO STREAM K",
            "XINFO GROUPS K",
            "XINFO CONSUMERS K g",
            "XPENDING K g",
            "XPENDING K g - + 10",
            "XREADGROUP GROUP g c STREAMS K >",
            "XREADGROUP GROUP g c STREAMS K 0",
            "XCLAIM K g e 0 1-1 5-0",
            "XAUTOCLAIM K g e 0 0",
            "XACK K g 1-1",
            "XADD K * f v",
            "XDEL K 1-1",
            "XTRIM K MAXLEN 1",
            "XGROUP SETID K g 0",
            "XGROUP DELCONSUMER K g c",
            "XGROUP DESTROY K g",
            "XADD K MAXLEN 1 * a b c d",
            "XTRIM K MAXLEN 0",
        ],
    ),
];

fn fresh(sanitize: &str) -> InProcess {
    InProcess::with(&[("sanitize-dump-payload", sanitize)])
}

/// Payloads without their footers: small values as they are, and the same with every limit so low that
/// the big encodings are used, and grown ones.
fn payloads() -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let low = [
        ("hash-max-listpack-entries", "1"),
        ("set-max-listpack-entries", "1"),
        ("set-max-intset-entries", "1"),
        ("zset-max-listpack-entries", "1"),
        ("list-max-listpack-size", "2"),
        ("stream-node-max-entries", "1"),
    ];
    for (name, directives) in [("packed", &[][..]), ("big", &low[..])] {
        let mut test = InProcess::with(directives);
        for line in BUILD {
            test.call(line);
        }
        if name == "big" {
            grow(&mut test);
        }
        for key in test.run(&[b"KEYS", b"*"]).items() {
            let Reply::Bulk(key) = key else { continue };
            if let Reply::Bulk(mut payload) = test.run(&[b"DUMP", key]) {
                payload.truncate(payload.len() - FOOTER_BYTES);
                found.insert(format!("{name} {}", String::from_utf8_lossy(key)), payload);
            }
        }
    }
    found
}

fn grow(test: &mut InProcess) {
    for number in 0..60 {
        test.call(&format!("RPUSH list:small item:{number} {number}"));
        test.call(&format!("HSET hash:small field:{number} {number}"));
        test.call(&format!("SADD set:small member:{number}"));
        test.call(&format!("ZADD zset:small {number}.5 member:{number}"));
        test.call(&format!("XADD stream:small {}-0 a {number}", number + 10));
    }
}

/// The payload with version 10 and its checksum.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut payload = body.to_vec();
    payload.extend_from_slice(&10u16.to_le_bytes());
    let sum = Crc64::update(0, &payload);
    payload.extend_from_slice(&sum.to_le_bytes());
    payload
}

/// Old encodings and types that nothing here writes: their numbers are put on other bodies.
fn change_type(mutator: &mut Mutator, body: &mut [u8]) {
    const TYPES: [u8; 20] = [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22];
    if mutator.below(12) == 0 {
        body[0] = TYPES[mutator.below(TYPES.len())];
    }
}

/// Runs everything that there is for the type on the restored value.
fn exercise(test: &mut InProcess, name: &str) {
    let kind = test.call("TYPE K");
    let kind = kind.trim_start_matches('+');
    let Some((_, lines)) = EXERCISE.iter().find(|(found, _)| *found == kind) else { return };
    // What was accepted can be described, saved and restored.
    for line in ["OBJECT ENCODING K", "MEMORY USAGE K", "DEBUG DIGEST-VALUE K", "COPY K copy REPLACE"] {
        test.call(line);
    }
    let Reply::Bulk(payload) = test.run(&[b"DUMP", b"K"]) else { panic!("{name}: no payload") };
    let again = test.run(&[b"RESTORE", b"again", b"0", &payload, b"REPLACE"]);
    assert_eq!(
        again,
        Reply::Simple("OK".to_owned()),
        "{name}: what was accepted is written as it can be read"
    );
    for line in *lines {
        let words = split(line);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        test.raw(test.main, &words);
    }
}

#[test]
fn restore_takes_mutants() {
    let payloads: Vec<(String, Vec<u8>)> = payloads().into_iter().collect();
    assert!(payloads.len() >= 15, "only {} payloads", payloads.len());
    let mut budget = Budget::start("restore");
    let mut mutator = budget.mutator();
    let (mut accepted, mut refused, mut rounds) = (BTreeMap::<String, u64>::new(), 0u64, 0u64);
    let mut test = fresh("yes");
    while budget.goes_on() {
        rounds += 1;
        if rounds.is_multiple_of(ROUNDS_PER_SERVER) {
            test = fresh(if (rounds / ROUNDS_PER_SERVER).is_multiple_of(2) { "yes" } else { "no" });
        }
        let (name, good) = &payloads[mutator.below(payloads.len())];
        let mut body = good.clone();
        for _ in 0..mutator.below(4) {
            mutator.mutate(&mut body);
        }
        if body.is_empty() {
            continue;
        }
        change_type(&mut mutator, &mut body);
        let reply = test.run(&[b"RESTORE", b"K", b"0", &sealed(&body), b"REPLACE"]);
        if reply.is_error() {
            refused += 1;
            assert!(body != *good, "{name}: a good payload is refused: {reply:?}");
        } else {
            *accepted.entry(test.call("TYPE K")).or_default() += 1;
            exercise(&mut test, name);
        }
        test.call("FLUSHALL");
        let used = data_alloc::used_bytes();
        assert!(used < MEMORY_MAX_BYTES, "{used} bytes after {name}");
    }
    println!("{accepted:?} accepted, {refused} refused");
    // A type that is never accepted is not tested.
    assert!(accepted.len() >= TYPES_MIN, "only {accepted:?}");
}
