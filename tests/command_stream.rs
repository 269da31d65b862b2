//! Stream commands against an in-process server: replies, errors, waiting, propagation, files.

mod common;

use common::{InProcess, Reply, START_MS, Server, wait_until};
use std::time::Duration;
use tine::base::crc64::Crc64;
use tine::server::ClientRef;

#[test]
fn entries_are_added_with_given_and_made_ids() {
    let mut t = InProcess::new();
    t.script(
        "
        XADD s * a 1 => $15 1700000000000-0
        XADD s * a 2 => $15 1700000000000-1
        XADD s 1700000000000-* a 3 => $15 1700000000000-2
        XADD s 1700000000005 a 4 => $15 1700000000005-0
        XADD s 1700000000001-* a 5 => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s 1-1 a 5 => -ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s x a 5 => -ERR Invalid stream ID specified as stream command argument
        XADD s - a 5 => -ERR Invalid stream ID specified as stream command argument
        XADD s * a => -ERR wrong number of arguments for 'xadd' command
        XADD s * a 1 b => -ERR wrong number of arguments for 'xadd' command
        XADD fresh 0-0 a 1 => -ERR The ID specified in XADD must be greater than 0-0
        XADD fresh NOMKSTREAM * a 1 => $-1
        EXISTS fresh => :0
        XADD fresh 0-* a 1 => $3 0-1
        XLEN s => :4
        XLEN missing => :0
        SET string 1
        XADD string * a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        XADD last 18446744073709551615-18446744073709551615 a 1 => $41 18446744073709551615-18446744073709551615
        XADD last * a 1 => -ERR The stream has exhausted the last possible ID, unable to add more items
        TYPE s => +stream
        OBJECT ENCODING s => $6 stream
        ",
    );
}

#[test]
fn ranges_in_both_directions() {
    let mut t = InProcess::new();
    for ms in 1..=4 {
        t.call(&format!("XADD s {ms}-1 f {ms}"));
    }
    t.script(
        "
        XRANGE s 2 3 => *2 *2 $3 2-1 *2 $1 f $1 2 *2 $3 3-1 *2 $1 f $1 3
        XRANGE s (2-1 + COUNT 1 => *1 *2 $3 3-1 *2 $1 f $1 3
        XREVRANGE s + - COUNT 1 => *1 *2 $3 4-1 *2 $1 f $1 4
        XREVRANGE s (4-1 (2-1 => *1 *2 $3 3-1 *2 $1 f $1 3
        XRANGE s + - => *0
        XRANGE s - + COUNT 0 => *-1
        XRANGE s - + COUNT -5 => *-1
        XRANGE s - + COUNT => -ERR syntax error
        XRANGE s - + NUMBER 1 => -ERR syntax error
        XRANGE s (- + => -ERR Invalid stream ID specified as stream command argument
        XRANGE s (18446744073709551615-18446744073709551615 + => -ERR invalid start ID for the interval
        XRANGE s - (0-0 => -ERR invalid end ID for the interval
        XRANGE missing - + => *0
        XDEL s 2-1 9-9 4-1 => :2
        XRANGE s - + => *2 *2 $3 1-1 *2 $1 f $1 1 *2 $3 3-1 *2 $1 f $1 3
        XREVRANGE s + - COUNT 1 => *1 *2 $3 3-1 *2 $1 f $1 3
        XDEL s 1-1 x => -ERR Invalid stream ID specified as stream command argument
        XDEL missing x => :0
        XLEN s => :2
        ",
    );
}

#[test]
fn trimming_keeps_what_it_must() {
    let mut t = InProcess::with(&[("stream-node-max-entries", "10")]);
    for ms in 1..=100 {
        t.call(&format!("XADD s {ms}-0 f {ms}"));
    }
    t.script(
        "
        XTRIM s MAXLEN ~ 85 => :10
        XTRIM s MAXLEN ~ 55 LIMIT 20 => :20
        XTRIM s MAXLEN = 65 => :5
        XTRIM s MINID 40 => :4
        XTRIM s MINID ~ 55-1 => :11
        XLEN s => :50
        XTRIM s MAXLEN 50 LIMIT 1 => -ERR syntax error, LIMIT cannot be used without the special ~ option
        XTRIM s MAXLEN -1 => -ERR The MAXLEN argument must be >= 0.
        XTRIM s MAXLEN ~ 5 LIMIT -1 => -ERR The LIMIT argument must be >= 0.
        XTRIM s LIMIT 5 => -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        XTRIM s LIMIT 5 5 => -ERR syntax error
        XTRIM s MAXLEN 5 MINID 5 => -ERR syntax error, MAXLEN and MINID options at the same time are not compatible
        XADD s LIMIT 5 * a 1 => -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        XADD s MAXLEN 3 200-0 f 1 => $5 200-0
        XRANGE s - + => *3 *2 $4 99-0 *2 $1 f $2 99 *2 $5 100-0 *2 $1 f $3 100 *2 $5 200-0 *2 $1 f $1 1
        XTRIM s MAXLEN 0 => :3
        XLEN s => :0
        EXISTS s => :1
        ",
    );
}

#[test]
fn trims_and_ids_are_propagated_exactly() {
    let mut t = InProcess::with(&[("stream-node-max-entries", "10")]);
    assert_eq!(t.logged("XADD s * a 1"), [format!("XADD s {START_MS}-0 a 1")]);
    assert_eq!(t.logged("XADD s 1800000000000-* a 1"), ["XADD s 1800000000000-0 a 1"]);
    assert_eq!(t.logged("XADD s 1800000000001-5 a 1"), ["XADD s 1800000000001-5 a 1"]);
    for ms in 2..=40 {
        t.call(&format!("XADD s 18000000000{ms:02}-0 a 1"));
    }
    assert_eq!(
        t.logged("XADD s MAXLEN ~ 25 1900000000000-* a 1"),
        ["XADD s MAXLEN = 33 1900000000000-0 a 1"]
    );
    assert_eq!(
        t.logged("XADD s MINID ~ 1800000000020 LIMIT 100 1900000000001-0 a 1"),
        ["XADD s MINID = 1800000000019-0 LIMIT 100 1900000000001-0 a 1"]
    );
    assert_eq!(t.logged("XTRIM s MAXLEN ~ 10"), ["XTRIM s MAXLEN = 14"]);
    assert_eq!(t.logged("XTRIM s MAXLEN ~ 10"), [""; 0]);
    assert_eq!(t.logged("XTRIM s MAXLEN 5"), ["XTRIM s MAXLEN 5"]);
    assert_eq!(t.logged("XDEL s 1-1"), [""; 0]);
}

#[test]
fn reading_without_a_group() {
    let mut t = InProcess::new();
    t.script(
        "
        XADD a 1-0 f 1
        XADD b 2-0 f 2
        XREAD STREAMS a b 0 0 => *2 *2 $1 a *1 *2 $3 1-0 *2 $1 f $1 1 *2 $1 b *1 *2 $3 2-0 *2 $1 f $1 2
        XREAD COUNT 1 STREAMS a b 1 0 => *1 *2 $1 b *1 *2 $3 2-0 *2 $1 f $1 2
        XREAD STREAMS a b $ $ => *-1
        XREAD STREAMS missing 0 => *-1
        XREAD STREAMS a => -ERR wrong number of arguments for 'xread' command
        XREAD STREAMS a b 0 => -ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.
        XREAD COUNT 1 a 0 => -ERR syntax error
        XREAD STREAMS a > => -ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.
        XREAD GROUP g c STREAMS a 0 => -ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
        XREAD NOACK STREAMS a 0 => -ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
        XREAD BLOCK x STREAMS a 0 => -ERR timeout is not an integer or out of range
        XREAD BLOCK -1 STREAMS a 0 => -ERR timeout is negative
        ",
    );
    let main = t.main;
    t.resp3(main);
    assert_eq!(t.call("XREAD STREAMS a 0"), "%1 $1 a *1 *2 $3 1-0 *2 $1 f $1 1");
    assert_eq!(t.call("XREAD STREAMS a $"), "_");
}

fn waiting(t: &mut InProcess, command: &str) -> ClientRef {
    let client = t.client();
    assert_eq!(t.call_as(client, command), "", "{command}");
    client
}

#[test]
fn readers_wait_for_what_is_added() {
    let mut t = InProcess::new();
    t.call("XADD s 1-0 f old");
    let client = waiting(&mut t, "XREAD BLOCK 0 STREAMS s other $ $");
    t.call("XDEL s 1-0");
    assert_eq!(t.received(client), "");
    t.call("XADD s 2-0 f new");
    assert_eq!(t.received(client), "*1 *2 $1 s *1 *2 $3 2-0 *2 $1 f $3 new");
    // The `$` of a stream that is not there is before its first entry.
    let client = waiting(&mut t, "XREAD BLOCK 100 COUNT 1 STREAMS fresh $");
    t.call("SET fresh 1");
    t.call("DEL fresh");
    assert_eq!(t.received(client), "");
    t.call("XADD fresh 1-0 f 1");
    assert_eq!(t.received(client), "*1 *2 $5 fresh *1 *2 $3 1-0 *2 $1 f $1 1");
    let client = waiting(&mut t, "XREAD BLOCK 100 STREAMS fresh $");
    t.clock_ms(99);
    assert_eq!(t.received(client), "");
    t.clock_ms(2);
    assert_eq!(t.received(client), "*-1");
}

#[test]
fn group_readers_wait_and_learn_that_their_group_is_gone() {
    let mut t = InProcess::new();
    t.call("XGROUP CREATE s g $ MKSTREAM");
    let first = waiting(&mut t, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
    let second = waiting(&mut t, "XREADGROUP GROUP g two BLOCK 0 STREAMS s >");
    t.call("XADD s 1-0 f 1");
    assert_eq!(t.received(first), "*1 *2 $1 s *1 *2 $3 1-0 *2 $1 f $1 1");
    assert_eq!(t.received(second), "");
    let no_group = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    t.call("XGROUP DESTROY s g");
    assert_eq!(t.received(second), no_group);
    for gone in ["DEL s", "RENAME s elsewhere", "FLUSHALL", "FLUSHDB ASYNC"] {
        t.call("XGROUP CREATE s g $ MKSTREAM");
        let client = waiting(&mut t, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
        t.call(gone);
        assert_eq!(t.received(client), no_group, "{gone}");
    }
    t.call("XGROUP CREATE s g $ MKSTREAM");
    let client = waiting(&mut t, "XREADGROUP GROUP g one BLOCK 0 STREAMS s >");
    t.call("SET s string");
    assert_eq!(t.received(client), "-WRONGTYPE Operation against a key holding the wrong kind of value");
}

#[test]
fn groups_deliver_once_and_remember() {
    let mut t = InProcess::new();
    t.script(
        "
        XGROUP CREATE s g 0 => -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XGROUP CREATE s g $ MKSTREAM => +OK
        XGROUP CREATE s g $ MKSTREAM => -BUSYGROUP Consumer Group name already exists
        XADD s 1-0 f 1
        XADD s 2-0 f 2
        XADD s 3-0 f 3
        XREADGROUP GROUP g c COUNT 2 STREAMS s > => *1 *2 $1 s *2 *2 $3 1-0 *2 $1 f $1 1 *2 $3 2-0 *2 $1 f $1 2
        XREADGROUP GROUP g d STREAMS s > => *1 *2 $1 s *1 *2 $3 3-0 *2 $1 f $1 3
        XREADGROUP GROUP g d STREAMS s > => *-1
        XREADGROUP GROUP g d STREAMS s 0 => *1 *2 $1 s *1 *2 $3 3-0 *2 $1 f $1 3
        XREADGROUP GROUP g e STREAMS s 0 => *1 *2 $1 s *0
        XDEL s 1-0 => :1
        XREADGROUP GROUP g c STREAMS s 0 => *1 *2 $1 s *2 *2 $3 1-0 *-1 *2 $3 2-0 *2 $1 f $1 2
        XPENDING s g => *4 :3 $3 1-0 $3 3-0 *2 *2 $1 c $1 2 *2 $1 d $1 1
        XPENDING s g - + 10 c => *2 *4 $3 1-0 $1 c :0 :1 *4 $3 2-0 $1 c :0 :2
        XPENDING s g - + 10 nobody => *0
        XPENDING s g IDLE 5 - + 10 => *0
        XPENDING s g (1-0 + 1 => *1 *4 $3 2-0 $1 c :0 :2
        XPENDING s g IDLE 5 - + => -ERR syntax error
        XPENDING s g - + => -ERR syntax error
        XPENDING s x => -NOGROUP No such key 's' or consumer group 'x'
        XACK s g 1-0 1-0 9-9 => :1
        XACK s x 1-0 => :0
        XACK s g bad => -ERR Invalid stream ID specified as stream command argument
        XGROUP DELCONSUMER s g c => :1
        XGROUP CREATECONSUMER s g c => :1
        XGROUP CREATECONSUMER s g c => :0
        XGROUP DELCONSUMER s x c => -NOGROUP No such consumer group 'x' for key name 's'
        XGROUP SETID s g 2-0 => +OK
        XREADGROUP GROUP g f NOACK STREAMS s > => *1 *2 $1 s *1 *2 $3 3-0 *2 $1 f $1 3
        XPENDING s g => *4 :1 $3 3-0 $3 3-0 *1 *2 $1 d $1 1
        XREADGROUP GROUP g f STREAMS s $ => -ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.
        XREADGROUP GROUP g f STREAMS missing > => -NOGROUP No such key 'missing' or consumer group 'g' in XREADGROUP with GROUP option
        XGROUP DESTROY s g => :1
        XGROUP DESTROY s g => :0
        ",
    );
}

#[test]
fn group_changes_are_propagated_as_claims() {
    let mut t = InProcess::new();
    let now = START_MS;
    t.call("XGROUP CREATE s g $ MKSTREAM");
    t.call("XADD s 1-0 f 1");
    t.call("XADD s 2-0 f 2");
    assert_eq!(
        t.logged("XREADGROUP GROUP g c STREAMS s >"),
        [
            "MULTI".to_string(),
            format!("XCLAIM s g c 0 1-0 TIME {now} RETRYCOUNT 1 FORCE JUSTID LASTID 1-0"),
            format!("XCLAIM s g c 0 2-0 TIME {now} RETRYCOUNT 1 FORCE JUSTID LASTID 2-0"),
            "EXEC".to_string(),
        ]
    );
    assert_eq!(t.logged("XREADGROUP GROUP g c STREAMS s 0"), [""; 0]);
    assert_eq!(
        t.logged("XCLAIM s g d 0 1-0 RETRYCOUNT 7 TIME 5"),
        ["XCLAIM s g d 0 1-0 TIME 5 RETRYCOUNT 7 FORCE JUSTID LASTID 2-0"]
    );
    t.call("XDEL s 2-0");
    assert_eq!(
        t.logged("XAUTOCLAIM s g d 0 - JUSTID"),
        [
            "MULTI".to_string(),
            format!("XCLAIM s g d 0 1-0 TIME {now} RETRYCOUNT 7 FORCE JUSTID LASTID 2-0"),
            format!("XCLAIM s g c 0 2-0 TIME {now} RETRYCOUNT 2 FORCE JUSTID LASTID 2-0"),
            "EXEC".to_string(),
        ]
    );
    assert_eq!(t.logged("XCLAIM s g d 0 9-9 LASTID 5-0"), ["XGROUP SETID s g 5-0 ENTRIESREAD 2"]);
    t.call("XADD s 6-0 f 6");
    assert_eq!(
        t.logged("XREADGROUP GROUP g fresh NOACK STREAMS s >"),
        ["MULTI", "XGROUP CREATECONSUMER s g fresh", "XGROUP SETID s g 6-0 ENTRIESREAD 3", "EXEC"]
    );
    assert_eq!(t.logged("XACK s g 1-0"), ["XACK s g 1-0"]);
}

#[test]
fn claims_take_what_is_idle() {
    let mut t = InProcess::new();
    t.script(
        "
        XGROUP CREATE s g 0 MKSTREAM
        XADD s 1-0 f 1
        XADD s 2-0 f 2
        XADD s 3-0 f 3
        XREADGROUP GROUP g c STREAMS s >
        XCLAIM s g d 10 1-0 => *0
        ",
    );
    t.clock_ms(20);
    t.script(
        "
        XCLAIM s g d 10 1-0 2-0 JUSTID => *2 $3 1-0 $3 2-0
        XCLAIM s g d 10 3-0 IDLE 5 RETRYCOUNT 4 => *1 *2 $3 3-0 *2 $1 f $1 3
        XPENDING s g - + 10 => *3 *4 $3 1-0 $1 d :0 :1 *4 $3 2-0 $1 d :0 :1 *4 $3 3-0 $1 d :5 :4
        XACK s g 1-0
        XCLAIM s g d 0 1-0 => *0
        XCLAIM s g d 0 1-0 FORCE => *1 *2 $3 1-0 *2 $1 f $1 1
        XPENDING s g - + 1 => *1 *4 $3 1-0 $1 d :0 :2
        XCLAIM s g d 0 7-7 FORCE => *0
        XDEL s 2-0 => :1
        XCLAIM s g d 0 2-0 => *0
        XPENDING s g => *4 :2 $3 1-0 $3 3-0 *1 *2 $1 d $1 2
        XCLAIM s g d x 1-0 => -ERR Invalid min-idle-time argument for XCLAIM
        XCLAIM s g d 0 1-0 IDLE x => -ERR Invalid IDLE option argument for XCLAIM
        XCLAIM s g d 0 1-0 OTHER => -ERR Unrecognized XCLAIM option 'OTHER'
        XCLAIM s x d 0 1-0 => -NOGROUP No such key 's' or consumer group 'x'
        XAUTOCLAIM s g e 0 - COUNT 1 => *3 $3 3-0 *1 *2 $3 1-0 *2 $1 f $1 1 *0
        XAUTOCLAIM s g e 0 3-0 COUNT 1 JUSTID => *3 $3 0-0 *1 $3 3-0 *0
        XDEL s 1-0 => :1
        XAUTOCLAIM s g e 0 - => *3 $3 0-0 *1 *2 $3 3-0 *2 $1 f $1 3 *1 $3 1-0
        XAUTOCLAIM s g e 10 - => *3 $3 0-0 *0 *0
        XAUTOCLAIM s g e 0 - COUNT 0 => -ERR COUNT must be > 0
        XAUTOCLAIM s g e 0 (18446744073709551615-18446744073709551615 => -ERR invalid start ID for the interval
        ",
    );
}

#[test]
fn descriptions_follow_the_counters() {
    let mut t = InProcess::new();
    t.script(
        "
        XADD s 1-0 f 1
        XADD s 2-0 f 2
        XADD s 3-0 f 3
        XGROUP CREATE s g 0 ENTRIESREAD 0
        XGROUP CREATE s h 2-0
        XREADGROUP GROUP g c COUNT 1 STREAMS s >
        XINFO GROUPS s => *2 *12 $4 name $1 g $9 consumers :1 $7 pending :1 $17 last-delivered-id $3 1-0 $12 entries-read :1 $3 lag :2 *12 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 2-0 $12 entries-read $-1 $3 lag $-1
        XINFO CONSUMERS s g => *1 *8 $4 name $1 c $7 pending :1 $4 idle :0 $8 inactive :0
        XINFO STREAM s => *20 $6 length :3 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 3-0 $20 max-deleted-entry-id $3 0-0 $13 entries-added :3 $23 recorded-first-entry-id $3 1-0 $6 groups :2 $11 first-entry *2 $3 1-0 *2 $1 f $1 1 $10 last-entry *2 $3 3-0 *2 $1 f $1 3
        XINFO STREAM s FULL COUNT 1 => *18 $6 length :3 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 3-0 $20 max-deleted-entry-id $3 0-0 $13 entries-added :3 $23 recorded-first-entry-id $3 1-0 $7 entries *1 *2 $3 1-0 *2 $1 f $1 1 $6 groups *2 *14 $4 name $1 g $17 last-delivered-id $3 1-0 $12 entries-read :1 $3 lag :2 $9 pel-count :1 $7 pending *1 *4 $3 1-0 $1 c :1700000000000 :1 $9 consumers *1 *10 $4 name $1 c $9 seen-time :1700000000000 $11 active-time :1700000000000 $9 pel-count :1 $7 pending *1 *3 $3 1-0 :1700000000000 :1 *14 $4 name $1 h $17 last-delivered-id $3 2-0 $12 entries-read $-1 $3 lag $-1 $9 pel-count :0 $7 pending *0 $9 consumers *0
        XINFO STREAM s HALF => -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
        XINFO STREAM missing => -ERR no such key
        XINFO CONSUMERS s x => -NOGROUP No such consumer group 'x' for key name 's'
        XSETID s 2-0 => -ERR The ID specified in XSETID is smaller than the target stream top item
        XSETID s 9-0 ENTRIESADDED 2 => -ERR The entries_added specified in XSETID is smaller than the target stream length
        XSETID s 9-0 ENTRIESADDED 9 MAXDELETEDID 10-0 => -ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
        XSETID s 9-0 ENTRIESADDED 9 MAXDELETEDID 8-0 => +OK
        XSETID s 7-0 => -ERR The ID specified in XSETID is smaller than current max_deleted_entry_id
        XSETID missing 1-0 => -ERR no such key
        XADD s * f 4 => $15 1700000000000-0
        ",
    );
}

#[test]
fn dumps_hold_everything() {
    let mut t = InProcess::with(&[("stream-node-max-entries", "3"), ("sanitize-dump-payload", "yes")]);
    for ms in 1..=10 {
        t.call(&format!("XADD s {ms}-0 f {ms} g text{ms}"));
    }
    t.script(
        "
        XADD s 11-0 other field
        XDEL s 3-0 11-0
        XGROUP CREATE s g 0 ENTRIESREAD 0
        XGROUP CREATE s empty 5-0
        XREADGROUP GROUP g c COUNT 4 STREAMS s >
        XREADGROUP GROUP g d COUNT 2 STREAMS s >
        XGROUP CREATECONSUMER s g idle
        ",
    );
    let full = t.call("XINFO STREAM s FULL COUNT 0");
    let digest = t.call("DEBUG DIGEST-VALUE s");
    let Reply::Bulk(dump) = t.run(&[b"DUMP", b"s"]) else { panic!("DUMP gives bytes") };
    t.call("DEL s");
    assert_eq!(t.run(&[b"RESTORE", b"s", b"0", &dump]), Reply::Simple("OK".into()));
    // Version 10 does not say when a consumer was active last: it takes the time it was seen.
    let restored = t.call("XINFO STREAM s FULL COUNT 0");
    assert_eq!(
        restored.replace("$11 active-time :1700000000000", ""),
        full.replace("$11 active-time :-1", "").replace("$11 active-time :1700000000000", "")
    );
    assert_eq!(t.call("DEBUG DIGEST-VALUE s"), digest);
    assert_eq!(t.call("COPY s copy"), ":1");
    assert_eq!(t.call("XINFO STREAM copy FULL COUNT 0"), restored);
    // Any changed byte is refused or survived; the checksum is made to fit.
    let mut random = fastrand::Rng::with_seed(0xD0_57_12);
    let mut accepted = 0;
    for _ in 0..3_000 {
        let mut bad = dump[..dump.len() - 8].to_vec();
        let at = random.usize(1..bad.len() - 2);
        bad[at] = random.u8(..);
        bad.extend_from_slice(&Crc64::update(0, &bad).to_le_bytes());
        let restored = t.run(&[b"RESTORE", b"bad", b"0", &bad, b"REPLACE"]);
        accepted += u32::from(!restored.is_error());
        t.call("XINFO STREAM bad FULL COUNT 0");
        t.call("XADD bad MAXLEN 3 * a 1");
        t.call("XREADGROUP GROUP g c STREAMS bad >");
        t.call("XAUTOCLAIM bad g x 0 -");
        t.call("DEL bad");
    }
    assert!((300..2_900).contains(&accepted), "{accepted} accepted");
}

#[test]
fn events_are_announced() {
    let mut t = InProcess::with(&[("notify-keyspace-events", "Et")]);
    let watcher = t.client();
    t.call_as(watcher, "PSUBSCRIBE *");
    let mut events = |command: &str| {
        t.call(command);
        let text = t.received(watcher);
        let names: Vec<String> = (text.split("__keyevent@0__:").skip(1))
            .map(|part| part.split(' ').next().unwrap_or("").to_string())
            .collect();
        names.join(" ")
    };
    assert_eq!(events("XGROUP CREATE s g 0 MKSTREAM"), "xgroup-create");
    assert_eq!(events("XADD s 1-0 a 1"), "xadd");
    assert_eq!(events("XADD s MAXLEN 1 2-0 a 1"), "xadd xtrim");
    assert_eq!(events("XREADGROUP GROUP g c STREAMS s >"), "xgroup-createconsumer");
    assert_eq!(events("XREADGROUP GROUP g c STREAMS s >"), "");
    assert_eq!(events("XCLAIM s g d 0 2-0"), "xgroup-createconsumer");
    assert_eq!(events("XAUTOCLAIM s g e 0 -"), "xgroup-createconsumer");
    assert_eq!(events("XGROUP CREATECONSUMER s g f"), "xgroup-createconsumer");
    assert_eq!(events("XGROUP DELCONSUMER s g f"), "xgroup-delconsumer");
    assert_eq!(events("XGROUP SETID s g 0"), "xgroup-setid");
    assert_eq!(events("XSETID s 5-0"), "xsetid");
    assert_eq!(events("XDEL s 2-0"), "xdel");
    assert_eq!(events("XGROUP DESTROY s g"), "xgroup-destroy");
}

/// A reply as words.
fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Int(value) => value.to_string(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        other => format!("{other:?}"),
    }
}

/// A rewritten AOF of commands rebuilds groups, counters and pending entries, also those whose
/// entry was trimmed or deleted.
#[test]
fn a_rewritten_log_rebuilds_everything() {
    let directives = ["appendonly yes", "aof-use-rdb-preamble no", "stream-node-max-entries 4"];
    let mut server = Server::tine(&directives);
    let mut client = server.client();
    let mut run = |line: &str| client.call(&line.split(' ').collect::<Vec<_>>());
    for ms in 1..=10 {
        run(&format!("XADD s {ms}-0 f {ms}"));
        run(&format!("XADD gone {ms}-0 f {ms}"));
    }
    for line in [
        "XGROUP CREATE s g 0 ENTRIESREAD 0",
        "XGROUP CREATE s idle $",
        "XGROUP CREATECONSUMER s idle nobody",
        "XREADGROUP GROUP g c COUNT 6 STREAMS s >",
        "XREADGROUP GROUP g d COUNT 3 STREAMS s >",
        "XDEL s 5-0",
        "XTRIM s MAXLEN 8",
        "XGROUP CREATE gone g 0",
        "XREADGROUP GROUP g c STREAMS gone >",
        "XTRIM gone MAXLEN 0",
        "XADD empty MAXLEN 0 7-7 a b",
        "XGROUP CREATE fresh g $ MKSTREAM",
    ] {
        assert!(!run(line).is_error(), "{line}");
    }
    let keys = ["s", "gone", "empty", "fresh"];
    // Times at which consumers were seen are not kept; blocks are filled anew.
    let state = |server: &Server| -> Vec<String> {
        let mut client = server.client();
        let mut texts = Vec::new();
        for key in keys {
            let Reply::Array(parts) = client.call(&["XINFO", "STREAM", key, "FULL", "COUNT", "0"]) else {
                panic!("{key} is there");
            };
            let pending = client.call(&["XPENDING", key, "g", "-", "+", "100"]);
            let pending = if pending.is_error() { Vec::new() } else { pending.items().to_vec() };
            let pending: Vec<String> =
                pending.iter().map(|entry| [0, 1, 3].map(|at| shown(&entry.items()[at])).join(" ")).collect();
            let groups = shown(&client.call(&["XINFO", "GROUPS", key]));
            let numbers: Vec<String> = parts[..2].iter().chain(&parts[6..16]).map(shown).collect();
            texts.push(format!("{key}: {} | {groups} | {}", numbers.join(" "), pending.join(", ")));
        }
        texts
    };
    let before = state(&server);
    assert!(before[1].contains(", 10-0 c 1") && before[0].contains(", 5-0 c 1"), "{before:?}");
    run("BGREWRITEAOF");
    wait_until("the rewrite", Duration::from_secs(30), || {
        let info = run("INFO persistence").text();
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
    });
    assert!(run("INFO persistence").text().contains("aof_last_bgrewrite_status:ok"));
    server.stop();
    server.restart();
    assert_eq!(state(&server), before);
}
