//! The CLIENT family, as far as it can be seen without sockets.

mod common;

use common::InProcess;
use tine::server::{Action, ClientRef};

#[test]
fn names_and_library() {
    let mut test = InProcess::new();
    assert_eq!(test.call("CLIENT GETNAME"), "$-1");
    assert_eq!(test.call("CLIENT SETNAME me"), "+OK");
    assert_eq!(test.call("CLIENT GETNAME"), "$2 me");
    assert!(test.call("CLIENT SETNAME \"a b\"").starts_with("-ERR Client names cannot contain spaces"));
    assert_eq!(test.call("CLIENT SETINFO lib-name jedis"), "+OK");
    assert_eq!(test.call("CLIENT SETINFO LIB-VER 1.0"), "+OK");
    assert_eq!(test.call("CLIENT SETINFO color blue"), "-ERR Unrecognized option 'color'");
    assert_eq!(
        test.call("CLIENT SETINFO lib-ver \"a b\""),
        "-ERR lib-ver cannot contain spaces, newlines or special characters."
    );
    let info = test.call("CLIENT INFO");
    assert!(info.contains(" name=me ") && info.contains("lib-name=jedis lib-ver=1.0"), "{info}");
    assert_eq!(test.call("CLIENT SETNAME \"\""), "+OK");
    assert_eq!(test.call("CLIENT GETNAME"), "$-1");
}

#[test]
fn the_line_has_the_fields_of_redis_in_order() {
    let mut test = InProcess::new();
    let names = |text: &str| -> Vec<String> {
        text.split(' ').filter_map(|field| field.split_once('=')).map(|(name, _)| name.to_string()).collect()
    };
    assert_eq!(
        names(&test.call("CLIENT INFO")).join(" "),
        "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll \
         omem tot-mem events cmd user redir resp lib-name lib-ver"
    );
    test.resp3(test.main);
    assert!(test.call("CLIENT INFO").starts_with('='));
}

#[test]
fn flags_and_counts_of_the_line() {
    let mut test = InProcess::new();
    let other = test.client();
    test.call_as(other, "SELECT 3");
    test.call_as(other, "WATCH k");
    test.call_as(other, "MULTI");
    test.call_as(other, "PING");
    test.call("SELECT 3");
    test.call("SET k v");
    let line = test.call(&format!("CLIENT LIST ID {} 999", other.id));
    for field in
        [" flags=xd ", " db=3 ", " multi=1 ", " cmd=ping ", " resp=2 ", " user=default ", " redir=-1 "]
    {
        assert!(line.contains(field), "{field} in {line}");
    }
    test.call_as(other, "DISCARD");
    test.call_as(other, "SUBSCRIBE a b");
    test.call_as(other, "PSUBSCRIBE c*");
    let line = test.call("CLIENT LIST TYPE pubsub");
    assert!(line.contains(" flags=P ") && line.contains(" sub=2 psub=1 ssub=0 "), "{line}");
    assert_eq!(line.matches("id=").count(), 1);
    assert_eq!(test.call("CLIENT LIST TYPE master"), "$0");
    assert_eq!(test.call("CLIENT LIST TYPE x"), "-ERR Unknown client type 'x'");
    assert_eq!(test.call("CLIENT LIST ID x"), "-ERR Invalid client ID");
    assert_eq!(test.call("CLIENT LIST ID"), "-ERR syntax error");
}

#[test]
fn kill_by_filters() {
    let mut test = InProcess::new();
    let (first, second) = (test.client(), test.client());
    test.call_as(second, "SUBSCRIBE c");
    for (client, address) in [(first, "1.2.3.4:5"), (second, "1.2.3.4:6")] {
        test.server.clients.get_mut(client).expect("it is connected").address = address.into();
    }
    assert_eq!(test.call("CLIENT KILL 9.9.9.9:9"), "-ERR No such client");
    assert_eq!(test.call(&format!("CLIENT KILL ID {} TYPE pubsub", first.id)), ":0");
    assert_eq!(test.call("CLIENT KILL ADDR 1.2.3.4:5"), ":1");
    assert_eq!(test.server.actions, [Action::Close(first)]);
    assert_eq!(test.call("CLIENT KILL TYPE pubsub USER default SKIPME yes"), ":1");
    assert_eq!(test.call("PUBLISH c x"), ":0");
    assert!(test.server.clients.get(second).is_none());
    assert_eq!(test.call("CLIENT KILL SKIPME yes"), ":0");
    for (line, error) in [
        ("CLIENT KILL ID 0", "client-id should be greater than 0"),
        ("CLIENT KILL USER nobody", "No such user 'nobody'"),
        ("CLIENT KILL TYPE x", "Unknown client type 'x'"),
        ("CLIENT KILL SKIPME maybe", "syntax error"),
        ("CLIENT KILL MAXAGE x", "value is not an integer or out of range"),
        ("CLIENT KILL MAXAGE", "No such client"),
        ("CLIENT KILL ID 1 ADDR", "syntax error"),
    ] {
        assert_eq!(test.call(line), format!("-ERR {error}"), "{line}");
    }
    test.clock_ms(100_000);
    let now_ms = test.server.clock.monotonic_ms();
    for age_ms in [5999, 4999] {
        let client = test.client();
        test.server.clients.get_mut(client).expect("it is connected").created_ms = now_ms - age_ms;
    }
    assert_eq!(test.call("CLIENT KILL MAXAGE 6"), ":0");
    assert_eq!(test.call("CLIENT KILL MAXAGE 5"), ":1");
    assert_eq!(test.call("CLIENT KILL MAXAGE 50 SKIPME no"), ":1");
    assert!(test.server.clients.get(test.main).is_some_and(|client| client.close_after_reply));
}

#[test]
fn replies_off_and_skipped() {
    let mut test = InProcess::new();
    assert_eq!(test.call("CLIENT REPLY SKIP"), "");
    assert_eq!(test.call("PING"), "");
    assert_eq!(test.call("PING"), "+PONG");
    assert_eq!(test.call("CLIENT REPLY OFF"), "");
    assert_eq!(test.call("PING"), "");
    assert_eq!(test.call("CLIENT REPLY SKIP"), "");
    assert_eq!(test.call("PING"), "");
    assert_eq!(test.call("CLIENT REPLY ON"), "+OK");
    assert_eq!(test.call("CLIENT REPLY x"), "-ERR syntax error");
    assert_eq!(test.call("PING"), "+PONG");
}

#[test]
fn no_touch_leaves_the_access_time() {
    let mut test = InProcess::new();
    test.call("SET k v");
    test.clock_ms(60_000);
    assert_eq!(test.call("CLIENT NO-TOUCH on"), "+OK");
    test.call("GET k");
    assert_eq!(test.call("OBJECT IDLETIME k"), ":60");
    assert_eq!(test.call("CLIENT NO-TOUCH off"), "+OK");
    test.call("GET k");
    assert_eq!(test.call("OBJECT IDLETIME k"), ":0");
    assert_eq!(test.call("CLIENT NO-EVICT maybe"), "-ERR syntax error");
}

#[test]
fn keys_do_not_expire_in_a_pause() {
    let mut test = InProcess::new();
    test.call("SET k v PX 10");
    test.call("CLIENT PAUSE 1000 WRITE");
    test.clock_ms(20);
    assert_eq!(test.call("GET k"), "$-1");
    assert_eq!(test.call("DBSIZE"), ":1");
    test.call("CLIENT UNPAUSE");
    assert_eq!(test.call("GET k"), "$-1");
    assert_eq!(test.call("DBSIZE"), ":0");
}

#[test]
fn tracking_options() {
    let mut test = InProcess::new();
    test.transcript(
        r#"CLIENT TRACKINGINFO => *6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0
        CLIENT GETREDIR => :-1
        CLIENT TRACKING off => +OK
        CLIENT TRACKING maybe => -ERR syntax error
        CLIENT TRACKING on REDIRECT => -ERR syntax error
        CLIENT TRACKING on REDIRECT x => -ERR value is not an integer or out of range
        CLIENT TRACKING on REDIRECT 99 => -ERR The client ID you want redirect to does not exist
        CLIENT TRACKING on REDIRECT 1 REDIRECT 1 => -ERR A client can only redirect to a single other client
        CLIENT TRACKING on PREFIX a => -ERR PREFIX option requires BCAST mode to be enabled
        CLIENT TRACKING on BCAST OPTIN => -ERR OPTIN and OPTOUT are not compatible with BCAST
        CLIENT TRACKING on OPTOUT OPTIN => -ERR You can't specify both OPTIN mode and OPTOUT mode
        CLIENT TRACKING on BCAST PREFIX a PREFIX a => -ERR Prefix 'a' overlaps with another provided prefix 'a'. Prefixes for a single client must not overlap.
        CLIENT TRACKING on BCAST PREFIX x PREFIX ab PREFIX a => -ERR Prefix 'ab' overlaps with another provided prefix 'a'. Prefixes for a single client must not overlap.
        CLIENT CACHING yes => -ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled
        CLIENT TRACKING on OPTIN NOLOOP => +OK
        CLIENT TRACKING on BCAST => -ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.
        CLIENT TRACKING on OPTOUT => -ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.
        CLIENT CACHING no => -ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.
        CLIENT CACHING maybe => -ERR syntax error
        CLIENT CACHING yes => +OK
        CLIENT TRACKINGINFO => *6 $5 flags *4 $2 on $5 optin $11 caching-yes $6 noloop $8 redirect :0 $8 prefixes *0
        PING => +PONG
        CLIENT TRACKINGINFO => *6 $5 flags *3 $2 on $5 optin $6 noloop $8 redirect :0 $8 prefixes *0
        CLIENT GETREDIR => :0
        CLIENT TRACKING off => +OK
        CLIENT TRACKING on BCAST PREFIX b PREFIX a => +OK
        CLIENT TRACKING on BCAST PREFIX bb => -ERR Prefix 'bb' overlaps with an existing prefix 'b'. Prefixes for a single client must not overlap.
        CLIENT TRACKING on BCAST PREFIX c => +OK
        CLIENT TRACKINGINFO => *6 $5 flags *2 $2 on $5 bcast $8 redirect :0 $8 prefixes *3 $1 a $1 b $1 c
        RESET => +RESET
        CLIENT TRACKINGINFO => *6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0"#,
    );
    assert_eq!((test.server.tracking.clients, test.server.tracking.prefixes()), (0, 0));
}

/// A client that tracks, in RESP3.
fn tracker(test: &mut InProcess, options: &str) -> ClientRef {
    let client = test.client();
    test.resp3(client);
    assert_eq!(test.call_as(client, &format!("CLIENT TRACKING on {options}")), "+OK");
    client
}

#[test]
fn readers_are_told_once() {
    let mut test = InProcess::new();
    let reader = tracker(&mut test, "");
    test.call_as(reader, "MGET a b");
    test.call_as(reader, "SET written 1");
    assert_eq!(test.server.tracking.items(), 2);
    test.call("MSET a 1 written 2 c 3");
    assert_eq!(test.received(reader), ">2 $10 invalidate *1 $1 a");
    test.call("SET a 2");
    assert_eq!(test.received(reader), "");
    // Its own change is told behind the reply, in a transaction behind EXEC's.
    test.call_as(reader, "GET a");
    assert_eq!(test.call_as(reader, "DEL a"), ":1 >2 $10 invalidate *1 $1 a");
    test.call_as(reader, "MULTI");
    test.call_as(reader, "INCR b");
    test.call_as(reader, "PING");
    assert_eq!(test.call_as(reader, "EXEC"), "*2 :1 +PONG >2 $10 invalidate *1 $1 b");
    test.call_as(reader, "GET a");
    test.call("FLUSHALL");
    assert_eq!(test.received(reader), ">2 $10 invalidate _");
    assert_eq!(test.server.tracking.keys(), 0);
    let info = test.call_as(reader, "CLIENT INFO");
    assert!(info.contains(" flags=t ") && info.contains(" redir=0 "), "{info}");
    test.server.remove_client(reader);
    assert!(!test.server.tracking.is_active());
}

#[test]
fn expired_keys_are_told_to_a_noloop_client_too() {
    let mut test = InProcess::new();
    let reader = tracker(&mut test, "BCAST NOLOOP");
    test.call_as(reader, "SET k v PX 10");
    test.call_as(reader, "SET own v");
    test.clock_ms(11);
    test.call_as(reader, "GET k");
    test.server.broadcast_invalidations();
    assert_eq!(test.received(reader), ">2 $10 invalidate *1 $1 k");
    test.call_as(reader, "SET own w");
    test.server.broadcast_invalidations();
    assert_eq!(test.received(reader), "");
    test.call("MSET own x other y");
    test.server.broadcast_invalidations();
    assert_eq!(test.received(reader), ">2 $10 invalidate *2 $5 other $3 own");
}

#[test]
fn prefixes_get_a_message_each() {
    let mut test = InProcess::new();
    let reader = tracker(&mut test, "BCAST PREFIX a: PREFIX b:");
    test.call("MSET a:1 x a:2 x b:1 x c:1 x");
    assert_eq!(test.received(reader), "", "not before the end of the turn");
    test.server.broadcast_invalidations();
    assert_eq!(test.received(reader), ">2 $10 invalidate *2 $3 a:1 $3 a:2 >2 $10 invalidate *1 $3 b:1");
    let info = test.call_as(reader, "CLIENT INFO");
    assert!(info.contains(" flags=tB "), "{info}");
}

#[test]
fn opt_in_and_opt_out() {
    let mut test = InProcess::new();
    let (opt_in, opt_out) = (tracker(&mut test, "OPTIN"), tracker(&mut test, "OPTOUT"));
    for (client, word) in [(opt_in, "yes"), (opt_out, "no")] {
        test.call_as(client, "GET plain");
        test.call_as(client, &format!("CLIENT CACHING {word}"));
        test.call_as(client, "MULTI");
        test.call_as(client, "GET said");
        test.call_as(client, "EXEC");
        test.call_as(client, "GET after");
    }
    test.call("MSET plain 1 said 1 after 1");
    assert_eq!(test.received(opt_in), ">2 $10 invalidate *1 $4 said");
    assert_eq!(test.received(opt_out), ">2 $10 invalidate *1 $5 plain >2 $10 invalidate *1 $5 after");
}

#[test]
fn redirection_and_its_end() {
    let mut test = InProcess::new();
    let (listener, reader) = (test.client(), test.client());
    test.call_as(listener, "SUBSCRIBE __redis__:invalidate");
    test.call_as(reader, &format!("CLIENT TRACKING on REDIRECT {}", listener.id));
    test.call_as(reader, "GET k");
    test.call("SET k v");
    assert_eq!(test.received(listener), "*3 $7 message $20 __redis__:invalidate *1 $1 k");
    test.call("FLUSHDB");
    assert_eq!(test.received(listener), "*3 $7 message $20 __redis__:invalidate $-1");
    test.call_as(reader, "GET k");
    test.server.remove_client(listener);
    test.resp3(reader);
    test.call_as(reader, "CLIENT REPLY OFF");
    test.call("SET k w");
    assert_eq!(test.received(reader), format!(">2 $21 tracking-redir-broken :{}", listener.id));
    test.call_as(reader, "CLIENT REPLY ON");
    let info = test.call_as(reader, "CLIENT TRACKINGINFO");
    assert!(info.contains("broken_redirect"), "{info}");
    assert!(test.call_as(reader, "CLIENT INFO").contains(" flags=tR "));
}

#[test]
fn the_table_has_a_limit() {
    let mut test = InProcess::with(&[("tracking-table-max-keys", "2")]);
    let reader = tracker(&mut test, "");
    for key in 0..10 {
        test.call_as(reader, &format!("GET k{key}"));
    }
    // Told before the reply of the next command, whichever it is.
    let replied = test.call_as(reader, "PING");
    assert!(replied.starts_with(">2 $10 invalidate *1") && replied.ends_with("+PONG"), "{replied}");
    assert_eq!(test.server.tracking.keys(), 2);
    assert_eq!(test.call_as(reader, "PING"), "+PONG");
}

#[test]
fn monitors_see_what_runs() {
    let mut test = InProcess::new();
    let monitor = test.client();
    assert_eq!(test.call_as(monitor, "MONITOR"), "+OK");
    assert_eq!(test.call_as(monitor, "MONITOR"), "");
    test.call("SELECT 9");
    test.call("SET k \"a\\n\\x01\\\"\"");
    test.call("CONFIG GET port");
    test.call("AUTH secret");
    test.call("HELLO 2 AUTH default secret");
    test.call("GET");
    test.call("MULTI");
    test.call("PING");
    test.call("EXEC");
    let seen = test.received(monitor);
    let seen: Vec<&str> = seen.split('+').skip(1).map(|line| line.trim_end()).collect();
    let shown: Vec<&str> = seen.iter().map(|line| &line["1700000000.000000 ".len()..]).collect();
    assert_eq!(
        shown,
        [
            r#"[9 ] "SELECT" "9""#,
            r#"[9 ] "SET" "k" "a\n\x01\"""#,
            r#"[9 ] "AUTH" "(redacted)""#,
            r#"[9 ] "HELLO" "2" "AUTH" "(redacted)" "(redacted)""#,
            r#"[9 ] "MULTI""#,
            r#"[9 ] "PING""#,
            r#"[9 ] "EXEC""#,
        ]
    );
    assert!(seen[0].starts_with("1700000000.000000 "), "{}", seen[0]);
    assert_eq!(test.call_as(monitor, "GET k"), "-ERR Replica can't interact with the keyspace");
    assert!(test.call_as(monitor, "CLIENT LIST").contains(" flags=O "));
    assert_eq!(test.call_as(monitor, "RESET"), "+RESET");
    test.call("PING");
    assert_eq!(test.received(monitor), "");
    assert!(test.server.monitors.is_empty());
}
