//! Publish and subscribe in both protocols.

mod common;

use common::InProcess;

#[test]
fn subscribe_publish_unsubscribe() {
    let mut test = InProcess::new();
    let listener = test.client();
    assert_eq!(
        test.call_as(listener, "SUBSCRIBE a b a"),
        "*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2 *3 $9 subscribe $1 a :2"
    );
    assert_eq!(test.call_as(listener, "PSUBSCRIBE a*"), "*3 $10 psubscribe $2 a* :3");
    assert_eq!(test.call("PUBLISH a hello"), ":2");
    assert_eq!(test.received(listener), "*3 $7 message $1 a $5 hello *4 $8 pmessage $2 a* $1 a $5 hello");
    assert_eq!(test.call("PUBLISH c hello"), ":0");
    assert_eq!(test.call_as(listener, "UNSUBSCRIBE a"), "*3 $11 unsubscribe $1 a :2");
    assert_eq!(test.call_as(listener, "UNSUBSCRIBE"), "*3 $11 unsubscribe $1 b :1");
    assert_eq!(test.call_as(listener, "UNSUBSCRIBE"), "*3 $11 unsubscribe $-1 :1");
    assert_eq!(
        test.call_as(listener, "PUNSUBSCRIBE x a*"),
        "*3 $12 punsubscribe $1 x :1 *3 $12 punsubscribe $2 a* :0"
    );
    assert!(test.server.pubsub.is_empty());
}

#[test]
fn shard_channels_are_apart() {
    let mut test = InProcess::new();
    let listener = test.client();
    test.call_as(listener, "SUBSCRIBE c");
    assert_eq!(test.call_as(listener, "SSUBSCRIBE c"), "*3 $10 ssubscribe $1 c :1");
    assert_eq!(test.call("SPUBLISH c x"), ":1");
    assert_eq!(test.received(listener), "*3 $8 smessage $1 c $1 x");
    assert_eq!(test.call("PUBSUB SHARDNUMSUB c d"), "*4 $1 c :1 $1 d :0");
    assert_eq!(test.call("PUBSUB SHARDCHANNELS"), "*1 $1 c");
    assert_eq!(test.call_as(listener, "SUNSUBSCRIBE"), "*3 $12 sunsubscribe $1 c :0");
    assert_eq!(test.call("PUBSUB SHARDCHANNELS *"), "*0");
}

#[test]
fn looking_at_channels() {
    let mut test = InProcess::new();
    let listener = test.client();
    test.call_as(listener, "SUBSCRIBE one");
    test.call_as(listener, "PSUBSCRIBE o* p*");
    assert_eq!(test.call("PUBSUB CHANNELS"), "*1 $3 one");
    assert_eq!(test.call("PUBSUB CHANNELS t*"), "*0");
    assert_eq!(test.call("PUBSUB NUMSUB one two"), "*4 $3 one :1 $3 two :0");
    assert_eq!(test.call("PUBSUB NUMSUB"), "*0");
    assert_eq!(test.call("PUBSUB NUMPAT"), ":2");
    assert!(test.call("PUBSUB HELP").starts_with("*13 +PUBSUB <subcommand>"));
    assert_eq!(
        test.call("PUBSUB CHANNELS a b"),
        "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP."
    );
}

#[test]
fn a_resp2_listener_may_do_little_else() {
    let mut test = InProcess::new();
    test.call("SUBSCRIBE c");
    assert_eq!(
        test.call("GET k"),
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context"
    );
    test.call("UNSUBSCRIBE");
    assert_eq!(test.call("GET k"), "$-1");
}

#[test]
fn ones_own_message_follows_the_reply() {
    let mut test = InProcess::new();
    test.resp3(test.main);
    assert_eq!(test.call("SUBSCRIBE foo"), ">3 $9 subscribe $3 foo :1");
    assert_eq!(test.call("PUBLISH foo bar"), ":1 >3 $7 message $3 foo $3 bar");
    test.call("MULTI");
    test.call("PING abc");
    test.call("PUBLISH foo bar");
    test.call("PING def");
    assert_eq!(test.call("EXEC"), "*3 $3 abc :1 $3 def >3 $7 message $3 foo $3 bar");
}

#[test]
fn confirmations_stand_inside_exec() {
    let mut test = InProcess::new();
    test.resp3(test.main);
    test.call("SUBSCRIBE foo bar");
    test.call("MULTI");
    test.call("UNSUBSCRIBE bar");
    test.call("PING x");
    assert_eq!(test.call("EXEC"), "*2 >3 $11 unsubscribe $3 bar :1 $1 x");
}

#[test]
fn messages_arrive_although_replies_are_off() {
    let mut test = InProcess::new();
    let listener = test.client();
    test.call_as(listener, "CLIENT REPLY OFF");
    assert_eq!(test.call_as(listener, "SUBSCRIBE c"), "*3 $9 subscribe $1 c :1");
    assert_eq!(test.call_as(listener, "PING"), "");
    test.call("PUBLISH c x");
    assert_eq!(test.received(listener), "*3 $7 message $1 c $1 x");
}
