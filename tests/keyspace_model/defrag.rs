//! Active defragmentation against a twin: two servers get the same random commands of all types, in one of them
//! everything moves between the commands, some steps at a time. Replies and digests must be equal.

use crate::common::InProcess;
use crate::turn;
use tine::base::rng::Rng;
use tine::keyspace::DefragScan;
use tine::sys::data_alloc::{self, Mover};

const COMMANDS: usize = 6_000;
/// Keys of each type: few, so that values grow big.
const KEYS: usize = 3;
/// Names of elements, and ids of stream entries.
const ELEMENTS: usize = 400;
/// Values with more elements are walked in steps.
const FIELDS_MAX: usize = 20;
/// Encodings change early, so that big structures are many; nodes of lists and streams are small.
const SMALL: &[(&str, &str)] = &[
    ("hash-max-listpack-entries", "8"),
    ("set-max-listpack-entries", "8"),
    ("set-max-intset-entries", "16"),
    ("zset-max-listpack-entries", "8"),
    ("list-max-listpack-size", "4"),
    ("stream-node-max-entries", "3"),
    ("list-compress-depth", "1"),
];

/// Bytes around the limits of embedded, packed, single-slab and large blocks.
fn text(rng: &mut Rng) -> String {
    const LENGTHS: [usize; 10] = [1, 8, 20, 44, 60, 130, 170, 300, 2_000, 20_000];
    let length = LENGTHS[rng.below(LENGTHS.len()).min(rng.below(12))];
    let letter = char::from(b'a' + rng.below(26) as u8);
    std::iter::repeat_n(letter, length).collect()
}

fn command(rng: &mut Rng, serial: usize) -> Vec<String> {
    const TEMPLATES: &[&str] = &[
        "SET s%k %t",
        "SET s%k %n",
        "APPEND s%k %t",
        "SETRANGE s%k %n x",
        "SET v%k %t PX 100000000",
        "PERSIST v%k",
        "RPUSH l%k %t %n %t",
        "LPUSH l%k %n %t",
        "LINSERT l%k BEFORE %n %t",
        "LSET l%k 3 %t",
        "LTRIM l%k 0 300",
        "LPOP l%k 2",
        "LREM l%k 1 %n",
        "HSET h%k f%n %t f%n %n",
        "HSET h%k f%n %t",
        "HDEL h%k f%n f%n f%n",
        "HPEXPIRE h%k 100000000 FIELDS 1 f%n",
        "HINCRBY c%k f%n 1",
        "SADD i%k %n %n",
        "SREM i%k %n",
        "SADD m%k %t%n %n%t",
        "SADD m%k %n %n",
        "SREM m%k %n",
        "SINTERSTORE d%k m0 m1",
        "ZADD z%k %n %t%n",
        "ZADD z%k %n e%n %n e%n",
        "ZREM z%k e%n",
        "ZINCRBY z%k %n e%n",
        "ZREMRANGEBYRANK z%k 0 2",
        "ZUNIONSTORE y%k 2 z0 z1",
        "XADD x%k %s-1 f%n %t",
        "XADD x%k %s-1 f %n g %t",
        "XTRIM x%k MAXLEN 200",
        "XGROUP CREATE x%k g%k 0 MKSTREAM",
        "XREADGROUP GROUP g%k c%n COUNT 5 STREAMS x%k >",
        "XACK x%k g%k %s-1",
        "XGROUP DELCONSUMER x%k g%k c%n",
        "RENAME h%k h%k",
        "COPY z%k y%k REPLACE",
        "MOVE l%k 1",
        "DEL d%k",
        "UNLINK y%k",
        "EXPIRE m%k 100000",
    ];
    let key = rng.below(KEYS).to_string();
    let mut words = Vec::new();
    for word in TEMPLATES[rng.below(TEMPLATES.len())].split(' ') {
        let mut word = word.replace("%k", &key).replace("%s", &serial.to_string());
        while word.contains("%t") {
            word = word.replacen("%t", &text(rng), 1);
        }
        while word.contains("%n") {
            word = word.replacen("%n", &rng.below(ELEMENTS).to_string(), 1);
        }
        words.push(word);
    }
    words
}

/// Some steps of a walk that begins anew, with everything to move, when the last one has ended.
fn move_some(moving: &mut InProcess, scan: &mut Option<DefragScan>, steps: usize, mover: &mut Mover) {
    for _ in 0..steps {
        let at = scan.get_or_insert_with(|| {
            data_alloc::begin_evacuation(true);
            DefragScan::default()
        });
        if !moving.server.keyspace.defrag_step(at, FIELDS_MAX, mover) {
            *scan = None;
            data_alloc::check_invariants();
        }
    }
}

#[test]
fn data_that_moves_between_commands_is_the_same_data() {
    let _turn = turn();
    let mut rng = Rng::with_seed(25);
    let (mut still, mut moving) = (InProcess::with(SMALL), InProcess::with(SMALL));
    let (mut scan, mut mover, mut walks) = (None, Mover::default(), 0);
    for serial in 1..=COMMANDS {
        let words = command(&mut rng, serial);
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let replies = [&mut still, &mut moving].map(|server| server.raw(server.main, &words).0);
        assert_eq!(replies[0], replies[1], "command {serial}: {:?}", words[0]);
        let steps = rng.below(40);
        move_some(&mut moving, &mut scan, steps, &mut mover);
        walks += usize::from(scan.is_none());
        if serial % 300 == 0 {
            assert_eq!(still.call("DEBUG DIGEST"), moving.call("DEBUG DIGEST"), "after command {serial}");
        }
    }
    data_alloc::end_evacuation();
    data_alloc::check_invariants();
    assert!(mover.moved > 100_000 && walks > 20, "{mover:?} in {walks} walks");
    for server in [&mut still, &mut moving] {
        server.call("FLUSHALL");
    }
}

#[test]
fn blocks_become_free() {
    let _turn = turn();
    let mut test = InProcess::new();
    let held = |data: &data_alloc::DataHeapStats| data.blocks;
    for number in 0..120_000 {
        test.run(&[b"SET", format!("key:{number}").as_bytes(), &[b'v'; 100]]);
    }
    for number in (0..120_000).filter(|number| number % 5 > 0) {
        test.run(&[b"DEL", format!("key:{number}").as_bytes()]);
    }
    let before = data_alloc::stats();
    let (mut scan, mut mover) = (DefragScan::default(), Mover::default());
    assert!(data_alloc::begin_evacuation(false) > 0);
    while test.server.keyspace.defrag_step(&mut scan, FIELDS_MAX, &mut mover) {}
    data_alloc::end_evacuation();
    data_alloc::trim();
    data_alloc::check_invariants();
    let after = data_alloc::stats();
    assert_eq!(before.live_bytes, after.live_bytes);
    assert!(held(&after) * 2 < held(&before), "{before:?} {after:?}");
    // Entries moved once at most, and so did the lines of the table.
    assert!(mover.moved < 24_000 + 24_000 / 5, "{mover:?}");
    assert_eq!(test.call("GET key:5"), format!("$100 {}", "v".repeat(100)));
}
