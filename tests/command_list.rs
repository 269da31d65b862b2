//! List commands against an in-process server: replies, errors, encodings, events, waiting clients,
//! propagation, files; and against a vector.

mod common;

use common::{InProcess, Reply};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use tine::server::config::ProtectedAction;

/// A server with these directives that allows DEBUG.
fn server_with(directives: &[(&str, &str)]) -> InProcess {
    let mut t = InProcess::with(directives);
    t.server.config.enable_debug_command = ProtectedAction::Yes;
    t
}

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn pushes_and_pops() {
    let mut t = InProcess::new();
    t.script(
        r#"
        LPUSHX l a => :0
        RPUSHX l a => :0
        EXISTS l => :0
        LPUSH l a b => :2
        RPUSH l c 12 => :4
        LPUSHX l x => :5
        RPUSHX l y z => :7
        LLEN l => :7
        LRANGE l 0 -1 => *7 $1 x $1 b $1 a $1 c $2 12 $1 y $1 z
        LPOP l => $1 x
        RPOP l => $1 z
        LPOP l 0 => *0
        LPOP l 2 => *2 $1 b $1 a
        RPOP l 100 => *3 $1 y $2 12 $1 c
        EXISTS l => :0
        LPOP l => $-1
        LPOP l 1 => *-1
        RPOP l 0 => *-1
        LPOP l -1 => -ERR value is out of range, must be positive
        LPOP l x => -ERR value is out of range, must be positive
        LPOP l 1 2 => -ERR wrong number of arguments for 'lpop' command
        RPOP l 1 2 => -ERR wrong number of arguments for 'rpop' command
        LPUSH l => -ERR wrong number of arguments for 'lpush' command
        "#,
    );
    t.call("SET s v");
    for command in [
        "LPUSH s a",
        "RPUSHX s a",
        "LPOP s",
        "RPOP s 1",
        "LLEN s",
        "LRANGE s 0 1",
        "LINDEX s 0",
        "LSET s 0 a",
        "LINSERT s BEFORE a b",
        "LREM s 0 a",
        "LTRIM s 0 1",
        "LPOS s a",
        "RPOPLPUSH s l",
        "LMOVE s l LEFT LEFT",
        "LMPOP 1 s LEFT",
        "BLPOP s 0",
        "BLMOVE s l LEFT LEFT 0",
        "BLMPOP 0 1 s LEFT",
    ] {
        assert_eq!(t.call(command), WRONG_TYPE, "{command}");
    }
    let main = t.main;
    t.resp3(main);
    assert_eq!((t.call("LPOP none"), t.call("LPOP none 1")), ("_".into(), "_".into()));
}

#[test]
fn reading() {
    let mut t = InProcess::new();
    t.script(
        r#"
        LRANGE none 0 -1 => *0
        LINDEX none x => $-1
        LPOS none x => $-1
        LPOS none x COUNT 0 => *0
        RPUSH l a b c 1 2 3 c c
        LRANGE l 1 2 => *2 $1 b $1 c
        LRANGE l -2 100 => *2 $1 c $1 c
        LRANGE l 5 1 => *0
        LRANGE l x 1 => -ERR value is not an integer or out of range
        LINDEX l 0 => $1 a
        LINDEX l -1 => $1 c
        LINDEX l 3 => $1 1
        LINDEX l 8 => $-1
        LINDEX l -9 => $-1
        LINDEX l x => -ERR value is not an integer or out of range
        LPOS l c => :2
        LPOS l 3 => :5
        LPOS l 03 => $-1
        LPOS l c RANK 2 => :6
        LPOS l c RANK -1 => :7
        LPOS l c RANK -4 => $-1
        LPOS l c COUNT 0 => *3 :2 :6 :7
        LPOS l c COUNT 2 RANK -1 => *2 :7 :6
        LPOS l c COUNT 1 RANK 2 => *1 :6
        LPOS l c MAXLEN 2 => $-1
        LPOS l c MAXLEN 3 COUNT 0 => *1 :2
        LPOS l c RANK 0 => -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
        LPOS l c RANK -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        LPOS l c COUNT -1 => -ERR COUNT can't be negative
        LPOS l c COUNT x => -ERR COUNT can't be negative
        LPOS l c MAXLEN -1 => -ERR MAXLEN can't be negative
        LPOS l c COUNT => -ERR syntax error
        LPOS l c BAD 1 => -ERR syntax error
        "#,
    );
}

#[test]
fn changes_inside() {
    let mut t = InProcess::new();
    t.script(
        r#"
        LSET none 0 a => -ERR no such key
        LINSERT none BEFORE a b => :0
        LINSERT none BESIDE a b => -ERR syntax error
        LREM none 0 a => :0
        LTRIM none 0 1 => +OK
        RPUSH l a b c b d
        LSET l 1 B => +OK
        LSET l -1 D => +OK
        LSET l 5 x => -ERR index out of range
        LSET l x x => -ERR value is not an integer or out of range
        LINSERT l before c 1 => :6
        LINSERT l AFTER c 2 => :7
        LINSERT l AFTER none 2 => :-1
        LRANGE l 0 -1 => *7 $1 a $1 B $1 1 $1 c $1 2 $1 b $1 D
        RPUSH l a 1 a
        LREM l -1 a => :1
        LREM l 1 a => :1
        LREM l 0 1 => :2
        LREM l x 1 => -ERR value is not an integer or out of range
        LRANGE l 0 -1 => *6 $1 B $1 c $1 2 $1 b $1 D $1 a
        LTRIM l 1 -2 => +OK
        LRANGE l 0 -1 => *4 $1 c $1 2 $1 b $1 D
        LTRIM l 3 1 => +OK
        EXISTS l => :0
        "#,
    );
}

#[test]
fn moves() {
    let mut t = InProcess::new();
    t.script(
        r#"
        RPUSH a 1 2 3
        RPOPLPUSH a b => $1 3
        LMOVE a b LEFT RIGHT => $1 1
        LRANGE b 0 -1 => *2 $1 3 $1 1
        LMOVE a a LEFT LEFT => $1 2
        LRANGE a 0 -1 => *1 $1 2
        LMOVE a b RIGHT LEFT => $1 2
        EXISTS a => :0
        LMOVE a b LEFT LEFT => $-1
        RPOPLPUSH a b => $-1
        LMOVE b b LEFT MIDDLE => -ERR syntax error
        SET s v
        RPUSH a x
        RPOPLPUSH a s => -WRONGTYPE Operation against a key holding the wrong kind of value
        LRANGE a 0 -1 => *1 $1 x
        BLMOVE a b LEFT LEFT x => -ERR timeout is not a float or out of range
        BLMOVE a b LEFT LEFT -1 => -ERR timeout is negative
        BRPOPLPUSH a b 0 => $1 x
        LMPOP 0 a LEFT => -ERR numkeys should be greater than 0
        LMPOP x a LEFT => -ERR numkeys should be greater than 0
        LMPOP 9223372036854775807 a LEFT => -ERR syntax error
        LMPOP 2 a LEFT => -ERR syntax error
        LMPOP 1 b MIDDLE => -ERR syntax error
        LMPOP 1 b LEFT COUNT 0 => -ERR count should be greater than 0
        LMPOP 1 b LEFT COUNT => -ERR syntax error
        LMPOP 1 b LEFT COUNT 1 COUNT 2 => -ERR syntax error
        LMPOP 2 none b LEFT => *2 $1 b *1 $1 x
        LMPOP 2 none b RIGHT COUNT 2 => *2 $1 b *2 $1 1 $1 3
        BLMPOP 0 1 b LEFT COUNT 9 => *2 $1 b *1 $1 2
        LMPOP 1 b LEFT => *-1
        "#,
    );
}

#[test]
fn encodings_follow_the_limits() {
    let mut t = server_with(&[("list-max-listpack-size", "3")]);
    t.script(
        r#"
        RPUSH l a b c
        OBJECT ENCODING l => $8 listpack
        RPUSH l d
        OBJECT ENCODING l => $9 quicklist
        LPOP l 2
        OBJECT ENCODING l => $9 quicklist
        LPOP l
        OBJECT ENCODING l => $8 listpack
        RPUSH m a b c
        LINSERT m AFTER none x => :-1
        OBJECT ENCODING m => $9 quicklist
        CONFIG SET list-max-listpack-size -1
        RPUSH n a
        DEBUG LISTPACK n => +Listpack structure printed on stdout
        DEBUG QUICKLIST n => -ERR Not a quicklist encoded object.
        "#,
    );
    let large = vec![b'x'; 4100];
    t.run(&[b"LSET", b"n", b"0", &large]);
    assert_eq!(t.call("OBJECT ENCODING n"), "$9 quicklist");
    assert_eq!(t.call("LSET n 0 small"), "+OK");
    assert_eq!(t.call("OBJECT ENCODING n"), "$8 listpack");
    t.call("CONFIG SET list-max-listpack-size 2");
    t.call("RPUSH q 1 2 3 4 5");
    let shown = t.call("DEBUG OBJECT q");
    assert!(
        shown.contains(" encoding:quicklist ") && shown.contains(" ql_nodes:3 ql_avg_node:1.67"),
        "{shown}"
    );
    assert!(shown.ends_with(" ql_listpack_max:2 ql_compressed:0 ql_uncompressed_size:31"), "{shown}");
}

#[test]
fn large_elements_get_nodes_of_their_own() {
    let mut t = server_with(&[("list-max-listpack-size", "2")]);
    t.script(
        r#"
        DEBUG QUICKLIST-PACKED-THRESHOLD 5b => +OK
        RPUSH l 1 2 longer 4
        LRANGE l 0 -1 => *4 $1 1 $1 2 $6 longer $1 4
        LINSERT l BEFORE longer another => :5
        LSET l 0 replaced => +OK
        LRANGE l 0 -1 => *5 $8 replaced $1 2 $7 another $6 longer $1 4
        LREM l -1 longer => :1
        RPOP l 2 => *2 $1 4 $7 another
        "#,
    );
}

#[test]
fn events_and_dirt() {
    let mut t = InProcess::with(&[("notify-keyspace-events", "KEA")]);
    let listener = t.client();
    let pattern: Box<[u8]> = (*b"__keyevent@0__:*").into();
    tine::server::pubsub::subscribe(&mut t.server.pubsub.patterns, &pattern, listener);
    for (command, events) in [
        ("LPUSH l 1 2 3 4", &["lpush l"][..]),
        ("RPUSHX none 1", &[]),
        ("LINSERT l AFTER 2 9", &["linsert l"]),
        ("LSET l 0 7", &["lset l"]),
        ("LREM l 0 9", &["lrem l"]),
        ("LREM l 0 9", &[]),
        ("LMOVE l m LEFT RIGHT", &["rpush m", "lpop l"]),
        ("RPOPLPUSH l l", &["lpush l", "rpop l"]),
        ("LTRIM l 0 1", &["ltrim l"]),
        ("LMPOP 1 l RIGHT COUNT 9", &["rpop l", "del l"]),
        ("LPOP m", &["lpop m", "del m"]),
    ] {
        t.call(command);
        assert_eq!(events_in(&t.received(listener)), events, "{command}");
    }
}

/// `lpush l` of each message on `__keyevent@0__:lpush`.
fn events_in(text: &str) -> Vec<String> {
    let parts = text.split("__keyevent@0__:").skip(1).filter(|part| !part.starts_with('*'));
    let event = |part: &str| {
        let words: Vec<&str> = part.split(' ').collect();
        format!("{} {}", words[0], words.get(2).unwrap_or(&"?"))
    };
    parts.map(event).collect()
}

#[test]
fn pops_are_logged_as_their_effects() {
    let mut t = InProcess::new();
    t.call("RPUSH l 1 2 3 4 5 6 7 8 9");
    assert_eq!(t.logged("LPOP none"), [""; 0]);
    assert_eq!(t.logged("LPOP l"), ["LPOP l"]);
    assert_eq!(t.logged("BLPOP none l 0"), ["LPOP l"]);
    assert_eq!(t.logged("BRPOP l 0"), ["RPOP l"]);
    assert_eq!(t.logged("LMPOP 2 none l RIGHT COUNT 2"), ["RPOP l 2"]);
    assert_eq!(t.logged("BLMPOP 0 1 l LEFT"), ["LPOP l 1"]);
    assert_eq!(t.logged("BRPOPLPUSH l m 0"), ["RPOPLPUSH l m"]);
    assert_eq!(t.logged("BLMOVE l m LEFT RIGHT 0"), ["LMOVE l m LEFT RIGHT"]);
    assert_eq!(t.logged("BLMPOP 0 1 l LEFT COUNT 100"), ["LPOP l 1"]);
}

#[test]
fn waiting_clients_are_served_in_order() {
    let mut t = InProcess::new();
    let (first, second, third) = (t.client(), t.client(), t.client());
    t.call_as(first, "BLPOP a b 0");
    t.call_as(second, "BRPOP a 0");
    t.call_as(third, "BLMPOP 0 2 b a LEFT COUNT 5");
    t.record_propagation();
    assert_eq!(t.call("RPUSH a 1 2 3 4"), ":4");
    assert_eq!(t.received(first), "*2 $1 a $1 1");
    assert_eq!(t.received(second), "*2 $1 a $1 4");
    assert_eq!(t.received(third), "*2 $1 a *2 $1 2 $1 3");
    assert_eq!(t.call("EXISTS a"), ":0");
    let mut stream = t.propagated();
    stream.retain(|command| command != "SELECT 0");
    assert_eq!(stream, ["RPUSH a 1 2 3 4", "LPOP a", "RPOP a", "LPOP a 2"]);
}

#[test]
fn moves_chain_through_waiting_clients() {
    let mut t = InProcess::new();
    let (first, second) = (t.client(), t.client());
    t.call_as(first, "BLMOVE a b LEFT RIGHT 0");
    t.call_as(second, "BRPOPLPUSH b c 0");
    t.call("RPUSH a x");
    assert_eq!(t.received(first), "$1 x");
    assert_eq!(t.received(second), "$1 x");
    t.script("EXISTS a b => :0\nLRANGE c 0 -1 => *1 $1 x");
    t.call("SET d string");
    t.call_as(first, "BLMOVE a d LEFT LEFT 0");
    t.call_as(second, "BLPOP a 0");
    t.call("RPUSH a y");
    assert_eq!(t.received(first), WRONG_TYPE);
    assert_eq!(t.received(second), "*2 $1 a $1 y");
}

#[test]
fn waiting_ends_in_time_and_not_in_transactions() {
    let mut t = InProcess::new();
    let waiting = t.client();
    t.call_as(waiting, "BLPOP a 0.1");
    t.clock_ms(50);
    assert_eq!(t.received(waiting), "");
    t.clock_ms(60);
    assert_eq!(t.received(waiting), "*-1");
    t.script(
        r#"
        MULTI
        BLPOP a 0 => +QUEUED
        BLMOVE a b LEFT LEFT 0 => +QUEUED
        BLMPOP 0 1 a LEFT => +QUEUED
        EXEC => *3 *-1 $-1 *-1
        "#,
    );
    // A string at the key wakes nobody; a list that is gone again at the end neither.
    t.call_as(waiting, "BLPOP a 0");
    t.script("SET a x\nDEL a\nMULTI\nRPUSH a 1\nDEL a\nEXEC => *2 :1 :1");
    assert_eq!(t.received(waiting), "");
    t.script("RPUSH other z\nRENAME other a => +OK");
    assert_eq!(t.received(waiting), "*2 $1 a $1 z");
}

#[derive(Clone, Debug)]
enum Edit {
    Push(bool, Vec<Vec<u8>>),
    Pop(bool, Option<usize>),
    Set(i64, Vec<u8>),
    Insert(bool, Vec<u8>, Vec<u8>),
    Remove(i64, Vec<u8>),
    Trim(i64, i64),
    Move(bool, bool),
    Reload,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0u8..6).prop_map(|value| value.to_string().into_bytes()),
        2 => (0usize..40).prop_map(|len| vec![b'x'; len]),
        1 => vec(any::<u8>(), 0..12),
        1 => (100usize..3000).prop_map(|len| vec![b'y'; len]),
        1 => any::<i64>().prop_map(|value| value.to_string().into_bytes()),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = || -12i64..12;
    prop_oneof![
        6 => (any::<bool>(), vec(text(), 1..9)).prop_map(|(front, texts)| Edit::Push(front, texts)),
        2 => (any::<bool>(), proptest::option::of(0usize..9)).prop_map(|(front, count)| Edit::Pop(front, count)),
        2 => (index(), text()).prop_map(|(at, text)| Edit::Set(at, text)),
        3 => (any::<bool>(), text(), text()).prop_map(|(after, pivot, text)| Edit::Insert(after, pivot, text)),
        2 => (-3i64..4, text()).prop_map(|(count, text)| Edit::Remove(count, text)),
        1 => (index(), index()).prop_map(|(start, stop)| Edit::Trim(start, stop)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(from, to)| Edit::Move(from, to)),
        1 => Just(Edit::Reload),
    ]
}

type Model = Vec<Vec<u8>>;

/// Runs an edit on the server and on the model.
fn apply(t: &mut InProcess, model: &mut Model, edit: Edit) {
    match edit {
        Edit::Push(front, texts) => {
            let verb: &[u8] = if front { b"LPUSH" } else { b"RPUSH" };
            let mut request = vec![verb, b"l"];
            request.extend(texts.iter().map(Vec::as_slice));
            t.run(&request);
            texts.into_iter().for_each(|text| if front { model.insert(0, text) } else { model.push(text) });
        }
        Edit::Pop(front, count) => {
            let verb: &[u8] = if front { b"LPOP" } else { b"RPOP" };
            let digits = count.unwrap_or(1).to_string();
            t.run(&[verb, b"l", digits.as_bytes()]);
            let taken = count.unwrap_or(1).min(model.len());
            if front { drop(model.drain(..taken)) } else { model.truncate(model.len() - taken) }
        }
        Edit::Set(at, text) => {
            t.run(&[b"LSET", b"l", at.to_string().as_bytes(), &text]);
            let index = if at < 0 { at + model.len() as i64 } else { at };
            if let Some(old) = usize::try_from(index).ok().and_then(|index| model.get_mut(index)) {
                *old = text;
            }
        }
        Edit::Insert(after, pivot, text) => {
            let word: &[u8] = if after { b"AFTER" } else { b"BEFORE" };
            t.run(&[b"LINSERT", b"l", word, &pivot, &text]);
            if let Some(at) = model.iter().position(|own| *own == pivot) {
                model.insert(at + usize::from(after), text);
            }
        }
        Edit::Remove(count, text) => {
            t.run(&[b"LREM", b"l", count.to_string().as_bytes(), &text]);
            remove(model, count, &text);
        }
        Edit::Trim(start, stop) => {
            t.run(&[b"LTRIM", b"l", start.to_string().as_bytes(), stop.to_string().as_bytes()]);
            trim(model, start, stop);
        }
        Edit::Move(from_head, to_head) => {
            let word = |head: bool| -> &[u8] { if head { b"LEFT" } else { b"RIGHT" } };
            t.run(&[b"LMOVE", b"l", b"l", word(from_head), word(to_head)]);
            if !model.is_empty() {
                let moved = if from_head { model.remove(0) } else { model.remove(model.len() - 1) };
                model.insert(if to_head { 0 } else { model.len() }, moved);
            }
        }
        Edit::Reload => reload(t),
    }
}

/// The list goes out as DUMP gives it and comes back by RESTORE.
fn reload(t: &mut InProcess) {
    if let Reply::Bulk(payload) = t.run(&[b"DUMP", b"l"]) {
        t.call("DEL l");
        assert_eq!(t.run(&[b"RESTORE", b"l", b"0", &payload]), Reply::Simple("OK".into()));
    }
}

fn remove(model: &mut Model, count: i64, text: &[u8]) {
    let mut hits: Vec<usize> = (0..model.len()).filter(|&at| model[at] == text).collect();
    if count < 0 {
        hits.reverse();
    }
    if count != 0 {
        hits.truncate(count.unsigned_abs() as usize);
    }
    hits.sort_unstable();
    hits.iter().rev().for_each(|&at| drop(model.remove(at)));
}

fn trim(model: &mut Model, start: i64, stop: i64) {
    let len = model.len() as i64;
    let bring = |index: i64| if index < 0 { index + len } else { index };
    let (start, stop) = (bring(start).max(0), bring(stop).min(len - 1));
    let keep = |at: usize| (start..=stop).contains(&(at as i64));
    *model = model.drain(..).enumerate().filter(|(at, _)| keep(*at)).map(|(_, text)| text).collect();
}

fn elements(t: &mut InProcess, start: &str, stop: &str) -> Model {
    match t.run(&[b"LRANGE", b"l", start.as_bytes(), stop.as_bytes()]) {
        Reply::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Reply::Bulk(bytes) => bytes,
                other => panic!("an element is a bulk string: {other:?}"),
            })
            .collect(),
        other => panic!("LRANGE answers an array: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn agrees_with_a_vector(
        fill in proptest::sample::select(vec!["-1", "1", "3", "8", "-2"]),
        depth in proptest::sample::select(vec!["0", "1", "2"]),
        threshold in proptest::sample::select(vec!["0", "20b", "1000b"]),
        edits in vec(edit(), 1..40),
    ) {
        let mut t = server_with(&[("list-max-listpack-size", fill), ("list-compress-depth", depth)]);
        t.call(&format!("DEBUG QUICKLIST-PACKED-THRESHOLD {threshold}"));
        let mut model = Model::new();
        for edit in edits {
            let shown = format!("{edit:?}");
            apply(&mut t, &mut model, edit);
            prop_assert_eq!(elements(&mut t, "0", "-1"), model.clone(), "after {}", shown);
            prop_assert_eq!(t.call("EXISTS l"), format!(":{}", u8::from(!model.is_empty())));
        }
        if let Some(middle) = model.get(model.len() / 2) {
            let at = (model.len() / 2).to_string();
            prop_assert_eq!(t.run(&[b"LINDEX", b"l", at.as_bytes()]), Reply::Bulk(middle.clone()));
            let first = model.iter().position(|own| own == middle).map_or(-1, |at| at as i64);
            prop_assert_eq!(t.run(&[b"LPOS", b"l", middle]), Reply::Int(first));
        }
    }
}

/// A walk from the tail that begins in a node of one large element enters the next at its end.
#[test]
fn rpop_of_many_crosses_from_a_plain_node() {
    let mut t = server_with(&[("list-max-listpack-size", "-1")]);
    assert_eq!(t.call("DEBUG QUICKLIST-PACKED-THRESHOLD 20b"), "+OK");
    let [first, middle, last] = [("y", 2500), ("y", 2043), ("x", 35)].map(|(byte, len)| byte.repeat(len));
    t.call(&format!("RPUSH l {first}"));
    t.call(&format!("RPUSH l small {middle} {last}"));
    let popped: Vec<String> = t.run(&[b"RPOP", b"l", b"4"]).items().iter().map(Reply::text).collect();
    assert_eq!(popped, [&last, &middle, "small", &first]);
}
