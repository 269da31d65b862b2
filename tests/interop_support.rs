//! The test support itself, tried on the real redis-server: a harness that lies makes every test lie.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use common::{
    Client, Corpus, Decoder, Reply, Server, corpus, encode_command, redis_benchmark, redis_cli, wait_until,
};

fn simple(text: &str) -> Reply {
    Reply::Simple(text.to_owned())
}

#[test]
fn decoder_reads_every_kind_of_reply_byte_by_byte() {
    let wire = concat!(
        "+OK\r\n",
        "-ERR no\r\n",
        ":-7\r\n",
        "$3\r\na\r\n\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "_\r\n",
        ",1.5e3\r\n",
        "#t\r\n",
        "(123456789012345678901\r\n",
        "!5\r\nERR x\r\n",
        "=5\r\ntxt:y\r\n",
        "*2\r\n:1\r\n*0\r\n",
        "%1\r\n+k\r\n:1\r\n",
        "~1\r\n:1\r\n",
        ">1\r\n+m\r\n",
        "|1\r\n+a\r\n:1\r\n:2\r\n",
    );
    let expected = [
        simple("OK"),
        Reply::Error("ERR no".to_owned()),
        Reply::Int(-7),
        Reply::bulk("a\r\n"),
        Reply::NullBulk,
        Reply::NullArray,
        Reply::Null,
        Reply::Double("1.5e3".to_owned()),
        Reply::Bool(true),
        Reply::BigNumber("123456789012345678901".to_owned()),
        Reply::BlobError("ERR x".to_owned()),
        Reply::Verbatim("txt".to_owned(), b"y".to_vec()),
        Reply::Array(vec![Reply::Int(1), Reply::Array(vec![])]),
        Reply::Map(vec![(simple("k"), Reply::Int(1))]),
        Reply::Set(vec![Reply::Int(1)]),
        Reply::Push(vec![simple("m")]),
        Reply::Attributed(vec![(simple("a"), Reply::Int(1))], Box::new(Reply::Int(2))),
    ];
    let mut decoder = Decoder::default();
    let mut replies = Vec::new();
    for byte in wire.bytes() {
        decoder.push(&[byte]);
        replies.extend(decoder.take());
    }
    assert_eq!(replies, expected);
    assert!(decoder.pending().is_empty());
}

#[test]
#[should_panic(expected = "malformed reply")]
fn decoder_refuses_what_no_server_may_send() {
    let mut decoder = Decoder::default();
    decoder.push(b"hello\r\n");
    decoder.take();
}

#[test]
fn commands_are_encoded_as_bulks() {
    assert_eq!(encode_command(&["GET", "a b"]), b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n");
}

#[test]
fn calls_pipelines_inline_and_errors() {
    let Some(server) = Server::redis(&[]) else { return };
    let mut client = server.client();
    client.ok(&["SET", "k", "v"]);
    assert_eq!(client.call(&[b"GET".as_slice(), b"k"]), Reply::bulk("v"));
    assert_eq!(client.call(&["GET", "none"]), Reply::NullBulk);
    assert_eq!(client.inline("INCRBY n 5").int(), 5);
    let replies = client.pipeline(&[vec!["INCR", "n"], vec!["NO-SUCH"], vec!["INCR", "n"]]);
    assert_eq!((replies[0].int(), replies[1].is_error(), replies[2].int()), (6, true, 7));
    client.send_raw(b"*1\r\n$4\r\nPI");
    assert!(client.is_silent(Duration::from_millis(50)));
    client.send_raw(b"NG\r\n");
    assert_eq!(client.read(), simple("PONG"));
    client.send_raw(b"*1\r\n!\r\n");
    assert!(client.read().text().contains("Protocol error"));
    assert_eq!(client.read_to_close(), b"");
}

#[test]
fn pushes_do_not_disturb_replies() {
    let Some(server) = Server::redis(&[]) else { return };
    let (mut subscriber, mut publisher) = (server.client(), server.client());
    assert!(matches!(subscriber.call(&["HELLO", "3"]), Reply::Map(_)));
    subscriber.send(&["SUBSCRIBE", "news"]);
    let confirmation = subscriber.next_push(Duration::from_secs(5)).expect("a confirmation");
    assert_eq!(confirmation.items()[2].int(), 1);
    assert_eq!(publisher.call(&["PUBLISH", "news", "hello"]).int(), 1);
    assert_eq!(subscriber.call(&["PING"]), simple("PONG"));
    let message = subscriber.next_push(Duration::from_secs(5)).expect("the message");
    assert_eq!(message.items()[2].text(), "hello");
    assert_eq!(subscriber.next_push(Duration::from_millis(30)), None);
}

#[test]
fn stop_saves_kill_does_not_and_restart_finds_the_folder() {
    let Some(mut server) = Server::redis(&["save 3600 1"]) else {
        return;
    };
    server.client().ok(&["SET", "kept", "1"]);
    assert!(server.stop().success());
    assert!(!server.is_running());
    server.restart();
    server.client().ok(&["SET", "lost", "1"]);
    assert_eq!(server.kill().signal(), Some(9));
    server.restart();
    let mut client = server.client();
    assert_eq!(client.call(&["EXISTS", "kept"]).int(), 1);
    assert_eq!(client.call(&["EXISTS", "lost"]).int(), 0);
}

#[test]
fn a_failed_start_is_reported_with_its_log() {
    let Some(mut server) = Server::redis(&[]) else {
        return;
    };
    server.stop();
    server.set_directives(&["no-such-directive 1"]);
    let failure = server.try_restart().expect_err("redis-server refuses the line");
    assert!(!failure.status.success());
    assert!(failure.log.contains("no-such-directive"), "{}", failure.log);
}

#[test]
fn dropping_a_server_ends_its_processes() {
    let Some(server) = Server::redis(&[]) else { return };
    let (pid, port) = (server.pid(), server.port());
    drop(server);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(Client::try_connect(port).is_err());
}

#[test]
fn tools_of_redis_run_against_a_server() {
    let Some(server) = Server::redis(&["unixsocket tine.sock"]) else {
        return;
    };
    let Some(output) = redis_cli(server.port(), &["SET", "k", "v"]) else {
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "OK\n");
    let Some(output) = redis_benchmark(server.port(), &["-n", "100", "-q", "-t", "get"]) else {
        return;
    };
    assert!(output.status.success());
    let socket = server.dir().join("tine.sock");
    wait_until("the socket", Duration::from_secs(5), || socket.exists());
    assert_eq!(Client::connect_unix(&socket).call(&["GET", "k"]), Reply::bulk("v"));
}

#[test]
fn corpus_files_are_where_the_manifest_says() {
    let Some(Corpus { files, .. }) = corpus() else {
        return;
    };
    assert!(files.len() > 100, "only {} files", files.len());
    for file in &files {
        assert!(file.path.is_file(), "{}", file.path.display());
        assert!(file.expected.as_ref().is_none_or(|path| path.is_file()), "{:?}", file.expected);
    }
}

#[test]
#[should_panic(expected = "in vain for the impossible")]
fn waiting_ends_at_its_deadline() {
    wait_until("the impossible", Duration::from_millis(20), || false);
}
