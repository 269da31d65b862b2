//! COMMAND, answered from the rows, and what must be true of all rows. `command_info/facts.txt` is what
//! Redis 7.2.4 answers, `command_info/facts.rs` compares.

mod common;
#[path = "command_info/facts.rs"]
mod facts;

use common::InProcess;
use tine::server::spec::flag;

#[test]
fn one_command() {
    let mut test = InProcess::new();
    assert_eq!(
        test.call("COMMAND INFO get"),
        "*1 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $5 flags *2 +RO +access $12 \
         begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys *4 $4 type $5 range $4 spec *6 $7 lastkey \
         :0 $7 keystep :1 $5 limit :0 *0"
    );
    assert_eq!(test.call("COMMAND INFO nope get|x config|get|x"), "*3 $-1 $-1 $-1");
    assert!(test.call("COMMAND INFO CONFIG|GET").contains("config|get"));
}

#[test]
fn all_commands() {
    let mut test = InProcess::new();
    let count = test.server.commands.top_level().count();
    assert_eq!(test.call("COMMAND COUNT"), format!(":{count}"));
    for line in ["COMMAND", "COMMAND INFO"] {
        assert!(test.call(line).starts_with(&format!("*{count} *10 ")));
    }
    assert!(test.call("COMMAND DOCS").starts_with(&format!("*{} ", count * 2)));
}

#[test]
fn documentation() {
    let mut test = InProcess::new();
    let docs = test.call("COMMAND DOCS echo nope");
    let end = "$10 complexity $4 O(1) $9 arguments *1 *6 $4 name $7 message $4 type $6 string $12 display_text $7 message";
    assert!(docs.starts_with("*2 $4 echo *10 $7 summary ") && docs.ends_with(end), "{docs}");
    assert!(test.call("COMMAND DOCS pubsub").contains("$11 subcommands *12 "));
}

#[test]
fn arguments_and_what_is_given_up() {
    let mut test = InProcess::new();
    let getset = test.call("COMMAND DOCS getset");
    for part in [
        "$9 doc_flags *1 +deprecated $16 deprecated_since $5 6.2.0 $11 replaced_by $16 `SET` with `GET` $9 arguments",
        "*8 $4 name $3 key $4 type $3 key $12 display_text $3 key $14 key_spec_index :0",
    ] {
        assert!(getset.contains(part), "{part}: {getset}");
    }
    let restore = test.call("COMMAND DOCS restore");
    let seconds = "*12 $4 name $7 seconds $4 type $7 integer $12 display_text $7 seconds $5 token $8 IDLETIME $5 since \
                   $5 5.0.0 $5 flags *1 +optional";
    assert!(restore.contains(seconds), "{restore}");
    assert!(test.call("COMMAND DOCS debug").contains("$9 doc_flags *1 +syscmd"));
    assert!(test.call("COMMAND INFO getex").contains("*8 $5 notes $"));
}

/// A list of commands has those that can be called, under the names of their rows, with their parts.
#[test]
fn lists_of_commands() {
    let mut test = InProcess::new();
    assert!(test.call("COMMAND LIST").contains("$10 config|get"));
    assert_eq!(test.call("COMMAND LIST FILTERBY PATTERN xa*"), "*3 $4 xadd $10 xautoclaim $4 xack");
    assert_eq!(test.call("COMMAND LIST FILTERBY ACLCAT nothing"), "*0");
    assert_eq!(test.call("COMMAND LIST FILTERBY MODULE m"), "*0");
    assert!(test.call("COMMAND LIST FILTERBY ACLCAT hyperloglog").starts_with("*5 "));
    assert!(test.server.commands.rename(b"xack", b"") && test.server.commands.rename(b"config", b""));
    let left = test.call("COMMAND LIST");
    assert!(!left.contains("xack") && !left.contains("config|get"), "{left}");
}

#[test]
fn keys_of_requests() {
    let mut test = InProcess::new();
    assert_eq!(test.call("COMMAND GETKEYS get key"), "*1 $3 key");
    assert_eq!(test.call("COMMAND GETKEYS mset a 1 b 2"), "*2 $1 a $1 b");
    assert_eq!(test.call("COMMAND GETKEYS object encoding key"), "*1 $3 key");
    assert_eq!(test.call("COMMAND GETKEYSANDFLAGS mset a 1"), "*1 *2 $1 a *2 +OW +update");
    assert_eq!(test.call("COMMAND GETKEYSANDFLAGS set k v"), "*1 *2 $1 k *2 +OW +update");
    assert_eq!(test.call("COMMAND GETKEYSANDFLAGS set k v EX 5 GET"), "*1 *2 $1 k *3 +RW +access +update");
    assert_eq!(test.call("COMMAND GETKEYS migrate h 1 \"\" 0 9 KEYS a b"), "*2 $1 a $1 b");
    assert_eq!(test.call("COMMAND GETKEYS migrate h 1 k 0 9"), "*1 $1 k");
    assert_eq!(test.call("COMMAND GETKEYSANDFLAGS bitfield k GET u8 0"), "*1 *2 $1 k *2 +RO +access");
    assert_eq!(
        test.call("COMMAND GETKEYSANDFLAGS bitfield k SET u8 0 1"),
        "*1 *2 $1 k *3 +RW +access +update"
    );
    assert_eq!(test.call("COMMAND GETKEYS nope key"), "-ERR Invalid command specified");
    assert_eq!(test.call("COMMAND GETKEYS ping"), "-ERR The command has no key arguments");
    assert_eq!(test.call("COMMAND GETKEYS spublish a b"), "-ERR The command has no key arguments");
    assert_eq!(test.call("COMMAND GETKEYS get"), "-ERR Invalid number of arguments specified for command");
}

#[test]
fn names_by_filter() {
    let mut test = InProcess::new();
    assert_eq!(test.call("COMMAND LIST FILTERBY PATTERN gEt"), "*1 $3 get");
    assert!(test.call("COMMAND LIST FILTERBY PATTERN config*").contains("$10 config|get"));
    assert_eq!(test.call("COMMAND LIST FILTERBY ACLCAT nope"), "*0");
    assert!(test.call("COMMAND LIST FILTERBY ACLCAT transaction").contains("$4 exec"));
    assert_eq!(test.call("COMMAND LIST FILTERBY MODULE m"), "*0");
    for line in ["COMMAND LIST x", "COMMAND LIST FILTERBY x", "COMMAND LIST FILTERBY x y"] {
        assert_eq!(test.call(line), "-ERR syntax error");
    }
}

/// Every row can be shown and has what a reader needs.
#[test]
fn rows_are_complete() {
    let mut test = InProcess::new();
    for found in test.server.commands.all().to_vec() {
        let (spec, name) = (found.spec, found.full_name());
        assert!(!spec.summary.is_empty(), "{name} has no summary");
        assert!(!spec.complexity.is_empty(), "{name} has no complexity");
        assert!(spec.name.chars().all(|letter| !letter.is_ascii_uppercase()), "{name} is not lower case");
        assert!(spec.arity != 0 && !(spec.has(flag::WRITE) && spec.has(flag::READONLY)), "{name}");
        assert!(test.call(&format!("COMMAND DOCS {name}")).contains(&name));
    }
}

#[test]
fn hot_keys_are_counted_when_asked_for() {
    let mut test = InProcess::new();
    test.call("SET before 1");
    test.transcript(
        "HOTKEYS GET => *0
        HOTKEYS START KEYS 0 => -ERR KEYS must be between 1 and 65536
        HOTKEYS START SAMPLE => -ERR syntax error
        HOTKEYS START SAMPLE x => -ERR value is not an integer or out of range
        HOTKEYS START KEYS 8 SAMPLE 1 => +OK
        MSET a 1 b 2 => +OK
        GET a => $1 1
        SELECT 1 => +OK
        GET a => $-1
        PING => +PONG
        HOTKEYS GET COUNT 1 => *1 *8 $3 key $1 a $2 db :0 $4 uses :2 $19 at-most-too-high-by :0
        HOTKEYS STOP => +OK
        GET b => $-1
        HOTKEYS GET COUNT x => -ERR value is not an integer or out of range
        HOTKEYS GET 1 => -ERR syntax error",
    );
    assert!(test.call("HOTKEYS GET").starts_with("*3 "));
    assert!(
        test.call("HOTKEYS STATUS").starts_with("*12 $8 counting :0 $4 keys :8 $6 sample :1 $4 uses :4 ")
    );
}
