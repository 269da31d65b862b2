//! Set commands against an in-process server: replies, errors, events, propagation, encodings.

mod common;

use common::{InProcess, Reply};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use std::collections::BTreeSet;
use tine::base::crc64::Crc64;
use tine::ds::intset::Intset;
use tine::ds::listpack::Listpack;
use tine::server::config::{Config, ProtectedAction};

/// The texts of an array or set reply, sorted.
#[track_caller]
fn sorted(t: &mut InProcess, command: &str) -> Vec<String> {
    let words = common::split(command);
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut members: Vec<String> = t.run(&words).items().iter().map(Reply::text).collect();
    members.sort();
    members
}

#[test]
fn members_come_and_go() {
    let mut t = InProcess::new();
    t.script(
        r#"
        SADD s a b c a => :3
        SADD s a => :0
        SCARD s => :3
        SISMEMBER s a => :1
        SISMEMBER s x => :0
        SMISMEMBER s a x c => *3 :1 :0 :1
        SMEMBERS s => *3 $1 a $1 b $1 c
        SREM s b x => :1
        SREM s a c a => :2
        EXISTS s => :0
        SREM s a => :0
        SCARD s => :0
        SMISMEMBER s a b => *2 :0 :0
        SMEMBERS s => *0
        SADD n 3 1 2 => :3
        SMEMBERS n => *3 $1 1 $1 2 $1 3
        SADD s => -ERR wrong number of arguments for 'sadd' command
        SET str v => +OK
        SADD str a => -WRONGTYPE Operation against a key holding the wrong kind of value
        SREM str a => -WRONGTYPE Operation against a key holding the wrong kind of value
        SCARD str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SMISMEMBER str a => -WRONGTYPE Operation against a key holding the wrong kind of value
        SPOP str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SSCAN str 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
        GET n => -WRONGTYPE Operation against a key holding the wrong kind of value
        TYPE n => +set
        "#,
    );
}

#[test]
fn encodings_follow_the_directives() {
    let mut t = InProcess::with(&[("set-max-listpack-entries", "4"), ("set-max-intset-entries", "6")]);
    t.script(
        r#"
        SADD i 1 2 3 => :3
        OBJECT ENCODING i => $6 intset
        SADD i 4 5 6 7 => :4
        OBJECT ENCODING i => $9 hashtable
        SADD p 1 2 3 => :3
        SADD p x => :1
        OBJECT ENCODING p => $8 listpack
        SMEMBERS p => *4 $1 1 $1 2 $1 3 $1 x
        SADD p y => :1
        OBJECT ENCODING p => $9 hashtable
        SREM p 1 2 3 x => :4
        OBJECT ENCODING p => $9 hashtable
        SADD many 1 2 3 4 5 6 7 => :7
        OBJECT ENCODING many => $9 hashtable
        SADD same 1 1 1 1 1 1 1 => :1
        OBJECT ENCODING same => $9 hashtable
        SADD q a => :1
        SADD q a a a a a => :0
        OBJECT ENCODING q => $9 hashtable
        COPY p copy => :1
        OBJECT ENCODING copy => $9 hashtable
        SMEMBERS copy => *1 $1 y
        "#,
    );
    let long = "x".repeat(65);
    t.call("SADD l short");
    t.call(&format!("SADD l {long}"));
    assert_eq!(t.call("OBJECT ENCODING l"), "$9 hashtable");
}

#[test]
fn moves() {
    let mut t = InProcess::new();
    t.script(
        r#"
        SADD a 1 2 3
        SADD b 3 x
        SET str v
        SMOVE a b 2 => :1
        SMEMBERS a => *2 $1 1 $1 3
        SMOVE a b 9 => :0
        SMOVE a b 3 => :1
        SCARD b => :3
        SMOVE a a 1 => :1
        SMOVE a a 5 => :0
        SMOVE none str 1 => :0
        SMOVE a str 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        SMOVE str a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        SMOVE a new 1 => :1
        EXISTS a => :0
        SMEMBERS new => *1 $1 1
        OBJECT ENCODING new => $6 intset
        "#,
    );
}

#[test]
fn algebra() {
    let mut t = InProcess::new();
    t.script(
        r#"
        SADD a 1 2 3 4
        SADD b 2 4 6
        SADD c 4 x
        SET str v
        SINTER a b => *2 $1 2 $1 4
        SINTER a b c => *1 $1 4
        SINTER a none => *0
        SINTER a str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SINTER none str => -WRONGTYPE Operation against a key holding the wrong kind of value
        SUNION a b => *5 $1 1 $1 2 $1 3 $1 4 $1 6
        SUNION c a => *5 $1 4 $1 x $1 1 $1 2 $1 3
        SUNION none => *0
        SDIFF a b => *2 $1 1 $1 3
        SDIFF a none => *4 $1 1 $1 2 $1 3 $1 4
        SDIFF none a => *0
        SDIFF a a => *0
        SINTERSTORE out a b => :2
        OBJECT ENCODING out => $6 intset
        SMEMBERS out => *2 $1 2 $1 4
        SUNIONSTORE out a c => :5
        OBJECT ENCODING out => $8 listpack
        SDIFFSTORE out a a => :0
        EXISTS out => :0
        SDIFFSTORE str a b => :2
        SMEMBERS str => *2 $1 1 $1 3
        SINTERCARD 2 a b => :2
        SINTERCARD 2 a b LIMIT 1 => :1
        SINTERCARD 2 a b LIMIT 0 => :2
        SINTERCARD 2 a b LIMIT -1 => -ERR LIMIT can't be negative
        SINTERCARD 2 a b LIMIT x => -ERR LIMIT can't be negative
        SINTERCARD 0 a => -ERR numkeys should be greater than 0
        SINTERCARD x a => -ERR numkeys should be greater than 0
        SINTERCARD 3 a b => -ERR Number of keys can't be greater than number of args
        SINTERCARD 1 a b => -ERR syntax error
        SINTERCARD 1 a LIMIT => -ERR syntax error
        SINTERCARD 1 none => :0
        "#,
    );
    let main = t.main;
    t.resp3(main);
    assert_eq!(t.call("SINTER a b"), "~2 $1 2 $1 4");
    assert_eq!(t.call("SUNION none"), "~0");
    assert_eq!(t.call("SMEMBERS c"), "~2 $1 4 $1 x");
}

#[test]
fn random_members() {
    let mut t = InProcess::new();
    t.script(
        r#"
        SRANDMEMBER none => $-1
        SRANDMEMBER none 3 => *0
        SPOP none => $-1
        SPOP none 3 => *0
        SADD one x
        SRANDMEMBER one => $1 x
        SRANDMEMBER one 5 => *1 $1 x
        SRANDMEMBER one -3 => *3 $1 x $1 x $1 x
        SRANDMEMBER one 0 => *0
        SRANDMEMBER one x => -ERR value is not an integer or out of range
        SRANDMEMBER one -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        SRANDMEMBER one 1 2 => -ERR syntax error
        SPOP one 0 => *0
        SPOP one -1 => -ERR value is out of range, must be positive
        SPOP one x => -ERR value is out of range, must be positive
        SPOP one 1 2 => -ERR syntax error
        SPOP one => $1 x
        EXISTS one => :0
        SADD s 1 2 3
        SPOP s 5 => *3 $1 1 $1 2 $1 3
        EXISTS s => :0
        "#,
    );
    t.call("SADD w a b c d e f");
    assert_eq!(sorted(&mut t, "SRANDMEMBER w 4").len(), 4);
    let popped: BTreeSet<String> = sorted(&mut t, "SPOP w 4").into_iter().collect();
    let left: BTreeSet<String> = sorted(&mut t, "SMEMBERS w").into_iter().collect();
    assert_eq!((popped.len(), left.len(), popped.is_disjoint(&left)), (4, 2, true));
}

#[test]
fn events_and_the_stream() {
    let mut t = InProcess::with(&[("notify-keyspace-events", "Es$g")]);
    let watcher = t.client();
    t.call_as(watcher, "PSUBSCRIBE __keyevent@0__:*");
    t.received(watcher);
    let events = |t: &mut InProcess, command: &str| -> String {
        t.call(command);
        let received = t.received(watcher);
        let names = received.split("__keyevent@0__:").skip(1).filter_map(|part| {
            let name = part.split(' ').next()?;
            (name != "*").then(|| name.to_owned())
        });
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(events(&mut t, "SADD s 1 2 3"), "sadd");
    assert_eq!(events(&mut t, "SADD s 1"), "");
    assert_eq!(events(&mut t, "SMOVE s d 1"), "srem sadd");
    assert_eq!(events(&mut t, "SMOVE d s 1"), "srem del sadd");
    assert_eq!(events(&mut t, "SREM s 1"), "srem");
    assert_eq!(events(&mut t, "SPOP s"), "spop");
    assert_eq!(events(&mut t, "SPOP s 1"), "spop del");
    t.call("SADD s 1 2");
    t.received(watcher);
    assert_eq!(events(&mut t, "SUNIONSTORE d s"), "sunionstore");
    assert_eq!(events(&mut t, "SINTERSTORE d s none"), "del");
    let before = t.dirty();
    t.call("SADD s 7 8 9 1");
    t.call("SREM s 7 8");
    t.call("SPOP s 5");
    assert_eq!(t.dirty() - before, 3 + 2 + 3);
    t.call("SADD s a");
    assert_eq!(t.logged("SPOP s"), ["SREM s a"]);
    t.call("SADD s a b");
    assert_eq!(t.logged("SPOP s 2"), ["DEL s"]);
    t.call("SADD s a b c");
    let rest = t.logged("SPOP s 2");
    assert!(rest.len() == 1 && rest[0].starts_with("SREM s ") && rest[0].len() == 10, "{rest:?}");
    assert_eq!(t.logged("SRANDMEMBER s 2"), Vec::<String>::new());
    assert_eq!(t.logged("SADD s z"), ["SADD s z"]);
    t.call("CONFIG SET lazyfree-lazy-server-del yes");
    assert_eq!(t.logged("SPOP s 9"), ["UNLINK s"]);
}

#[test]
fn a_scan_gives_every_member() {
    let mut t = InProcess::new();
    assert_eq!(t.call("SSCAN none 0"), "*2 $1 0 *0");
    assert_eq!(t.call("SSCAN none x"), "-ERR invalid cursor");
    assert_eq!(t.call("SSCAN none 0 WHAT"), "*2 $1 0 *0");
    for number in 0..1000 {
        t.call(&format!("SADD s member:{number}"));
    }
    assert_eq!(t.call("SSCAN s 0 WHAT"), "-ERR syntax error");
    let mut cursor = "0".to_owned();
    let mut seen = BTreeSet::new();
    loop {
        let reply = t.run(&[b"SSCAN", b"s", cursor.as_bytes(), b"MATCH", b"*5*", b"COUNT", b"50"]);
        cursor = reply.items()[0].text();
        seen.extend(reply.items()[1].items().iter().map(Reply::text));
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), (0..1000).filter(|number| number.to_string().contains('5')).count());
    t.call("SADD small 1 2 x");
    assert_eq!(t.call("SSCAN small 0 COUNT 1"), "*2 $1 0 *3 $1 1 $1 2 $1 x");
    assert_eq!(t.call("SSCAN small 5 MATCH [12]"), "*2 $1 0 *2 $1 1 $1 2");
}

#[test]
fn dumps_are_restored() {
    let mut t = InProcess::with_config(Config {
        enable_debug_command: ProtectedAction::Yes,
        set_max_listpack_entries: 4,
        ..Config::default()
    });
    t.call("SADD i 1 2 300000");
    t.call("SADD p 1 b c");
    t.call("SADD h 1 b c d e 77777777777");
    for key in ["i", "p", "h"] {
        let Reply::Bulk(payload) = t.run(&[b"DUMP", key.as_bytes()]) else {
            panic!("DUMP gives a payload");
        };
        assert_eq!(t.run(&[b"RESTORE", b"copy", b"0", &payload, b"REPLACE"]), Reply::Simple("OK".into()));
        assert_eq!(sorted(&mut t, "SMEMBERS copy"), sorted(&mut t, &format!("SMEMBERS {key}")));
        let digests = t.run(&[b"DEBUG", b"DIGEST-VALUE", b"copy", key.as_bytes()]);
        assert_eq!(digests.items()[0], digests.items()[1]);
        let stats = t.call(&format!("DEBUG HTSTATS-KEY {key}"));
        assert_eq!(stats.starts_with("-ERR"), key != "h", "{stats}");
        assert_eq!(t.call("OBJECT ENCODING copy"), t.call(&format!("OBJECT ENCODING {key}")));
    }
}

#[derive(Clone, Debug)]
struct Step {
    command: u8,
    key: u8,
    other: u8,
    members: Vec<u8>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Random commands on three keys, with a tree for each as the model.
    #[test]
    fn commands_agree_with_trees(
        steps in proptest::collection::vec(
            (0u8..7, 0u8..3, 0u8..3, proptest::collection::vec(any::<u8>(), 1..12))
                .prop_map(|(command, key, other, members)| Step { command, key, other, members }),
            1..80,
        ),
    ) {
        let mut t = InProcess::with(&[("set-max-listpack-entries", "10"), ("set-max-intset-entries", "20")]);
        let mut model: [BTreeSet<String>; 3] = Default::default();
        for step in steps {
            let (key, other) = (step.key as usize, step.other as usize);
            let names: Vec<String> = step.members.iter().map(|member| name_of(*member)).collect();
            let line = names.join(" ");
            match step.command {
                0 | 1 => {
                    let added = names.iter().filter(|name| model[key].insert((*name).clone())).count();
                    prop_assert_eq!(t.call(&format!("SADD k{key} {line}")), format!(":{added}"));
                }
                2 => {
                    let removed = names.iter().filter(|name| model[key].remove(*name)).count();
                    prop_assert_eq!(t.call(&format!("SREM k{key} {line}")), format!(":{removed}"));
                }
                3 => {
                    for name in sorted(&mut t, &format!("SPOP k{key} {}", names.len())) {
                        prop_assert!(model[key].remove(&name));
                    }
                }
                4 => model[other] = store(&mut t, "SUNIONSTORE", other, key, &(&model[key] | &model[other])),
                5 => model[other] = store(&mut t, "SDIFFSTORE", other, key, &(&model[key] - &model[other])),
                _ => model[other] = store(&mut t, "SINTERSTORE", other, key, &(&model[key] & &model[other])),
            }
            prop_assert_eq!(t.call(&format!("SCARD k{key}")), format!(":{}", model[key].len()));
        }
        for (key, members) in model.iter().enumerate() {
            prop_assert_eq!(&sorted(&mut t, &format!("SMEMBERS k{key}")).into_iter().collect::<BTreeSet<_>>(), members);
        }
    }
}

/// Numbers and words, so that all encodings occur.
fn name_of(member: u8) -> String {
    if member < 200 { (member % 40).to_string() } else { format!("word{}", member % 16) }
}

/// Stores `key OP other` in `other` and checks the count.
fn store(
    t: &mut InProcess,
    verb: &str,
    other: usize,
    key: usize,
    expected: &BTreeSet<String>,
) -> BTreeSet<String> {
    assert_eq!(t.call(&format!("{verb} k{other} k{key} k{other}")), format!(":{}", expected.len()));
    expected.clone()
}

/// A payload as DUMP gives it, for this body.
fn payload_of(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &11u16.to_le_bytes()].concat();
    payload.extend_from_slice(&Crc64::update(0, &payload).to_le_bytes());
    payload
}

/// Bodies of all three forms of a set: members, intset, listpack.
fn bodies() -> Vec<Vec<u8>> {
    let mut intset = Intset::new();
    let mut listpack = Listpack::new();
    let mut members = vec![2, 5];
    for value in [7, 300, -70_000] {
        intset.add(value);
        listpack.push_back(value).expect("it is small");
        members.extend_from_slice(&[0xc0, value as u8]);
    }
    for word in [&b"word"[..], b"another word"] {
        listpack.push_back(word).expect("it is small");
        members.push(word.len() as u8);
        members.extend_from_slice(word);
    }
    let blob = |number: u8, bytes: &[u8]| [&[number, bytes.len() as u8], bytes].concat();
    vec![members, blob(11, intset.as_bytes()), blob(20, listpack.as_bytes())]
}

#[test]
fn hostile_payloads_are_refused_or_whole_sets() {
    let mut t = InProcess::with(&[("sanitize-dump-payload", "yes")]);
    let restore =
        |t: &mut InProcess, body: &[u8]| t.run(&[b"RESTORE", b"k", b"0", &payload_of(body), b"REPLACE"]);
    for (body, len) in bodies().iter().zip([5, 3, 5]) {
        assert_eq!(restore(&mut t, body), Reply::Simple("OK".into()));
        assert_eq!(t.call("SCARD k"), format!(":{len}"));
    }
    // Empty sets, and members that stand twice.
    let twice = [&[20, 13, 13, 0, 0, 0, 2, 0][..], &[1, 1, 1, 1, 0xff]].concat();
    for bad in [&[2, 0][..], &[2, 2, 1, b'a', 1, b'a'], &[20, 7, 7, 0, 0, 0, 0, 0, 0xff], &twice] {
        assert!(restore(&mut t, bad).is_error(), "{bad:?}");
    }
    let mut random = fastrand::Rng::with_seed(5);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..6000 {
        let mut body = bodies().swap_remove(round % 3);
        for _ in 0..random.usize(1..3) {
            let at = random.usize(1..body.len());
            body[at] = if random.bool() { random.u8(..) } else { body[at] ^ 1 << random.u8(..8) };
        }
        t.call("DEL k");
        if restore(&mut t, &body).is_error() {
            refused += 1;
            continue;
        }
        accepted += 1;
        let members: BTreeSet<Vec<u8>> = t.run(&[b"SMEMBERS", b"k"]).items().iter().map(bytes_of).collect();
        assert_eq!(t.call("SCARD k"), format!(":{}", members.len()), "{body:?}");
        for member in &members {
            assert_eq!(t.run(&[b"SREM", b"k", member]), Reply::Int(1), "{body:?}");
        }
        assert_eq!(t.call("EXISTS k"), ":0");
    }
    assert!(accepted > 300 && refused > 300, "{accepted} accepted, {refused} refused");
}

fn bytes_of(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Bulk(bytes) => bytes.clone(),
        other => panic!("a member is a bulk, not {other:?}"),
    }
}

/// A look-up that removes an expired key must not spoil what the look-ups before it found.
#[test]
fn a_set_that_expires_on_the_way_is_missing() {
    let mut t = InProcess::new();
    t.script("SADD a 1 2 3 => :3\nSADD b 2 3 => :2\nPEXPIRE b 10 => :1");
    t.clock_ms(20);
    assert_eq!(sorted(&mut t, "SUNION a b a"), ["1", "2", "3"]);
    t.script("SADD b 2 3 => :2\nPEXPIRE b 10 => :1");
    t.clock_ms(20);
    t.script("SINTERCARD 2 a b => :0");
}
