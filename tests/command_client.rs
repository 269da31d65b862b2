//! The CLIENT family, as far as it can be seen without sockets.

mod common;

use common::InProcess;
use tine::server::Action;

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
        ("CLIENT KILL ID 1 ADDR", "syntax error"),
    ] {
        assert_eq!(test.call(line), format!("-ERR {error}"), "{line}");
    }
    assert_eq!(test.call("CLIENT KILL SKIPME no"), ":1");
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
fn tracking_is_off() {
    let mut test = InProcess::new();
    assert_eq!(test.call("CLIENT TRACKINGINFO"), "*6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0");
    assert_eq!(test.call("CLIENT GETREDIR"), ":-1");
    assert_eq!(test.call("CLIENT TRACKING off"), "+OK");
    assert!(test.call("CLIENT TRACKING on").starts_with("-ERR "));
    assert!(test.call("CLIENT CACHING yes").starts_with("-ERR CLIENT CACHING can be called only when"));
}
