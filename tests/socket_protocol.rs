//! The protocol as a socket sees it: pieces, errors, ends.

mod common;

use common::{Client, Server, encode_command, wait_until};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(5);

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out can be set");
    stream
}

/// Sends bytes on a new connection and reads until the server closes it.
fn answer_and_close(server: &Server, bytes: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(bytes).expect("the server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn requests_in_pieces_and_in_lines() {
    let server = Server::tine(&[]);
    let mut client = server.client();
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nva\r\nl\r\n" {
        client.send_raw(&[*byte]);
    }
    assert_eq!(client.read().text(), "OK");
    assert_eq!(client.inline("GET k").text(), "va\r\nl");
    assert_eq!(client.inline("SET \"k \\x41\" 'it\\'s'").text(), "OK");
    assert_eq!(client.call(&["GET", "k A"]).text(), "it's");
    client.send_raw(b"*0\r\n*-1\r\n\r\nPING\r\n");
    assert_eq!(client.read().text(), "PONG");
}

#[test]
fn protocol_errors_close_the_connection() {
    let server = Server::tine(&[]);
    let cases: [(&[u8], &str); 8] = [
        (b"*20000000000\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$blabla\r\n", "invalid bulk length"),
        (b"*1\r\nfoo\r\n", "expected '$', got 'f'"),
        (b"set \"\"\"test-key\"\"\" test-value\r\n", "unbalanced quotes in request"),
    ];
    for (request, error) in cases {
        assert_eq!(answer_and_close(&server, request), format!("-ERR Protocol error: {error}\r\n"));
    }
    for (start, error) in [(&b""[..], "too big inline request"), (b"*1", "too big mbulk count string")] {
        let flood = [start, &[b'1'; 80 * 1024][..]].concat();
        assert_eq!(answer_and_close(&server, &flood), format!("-ERR Protocol error: {error}\r\n"));
    }
}

#[test]
fn what_stands_before_an_error_is_answered() {
    let server = Server::tine(&[]);
    let answer = answer_and_close(&server, b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\nx\r\nPING\r\n");
    assert_eq!(answer, "+PONG\r\n+PONG\r\n-ERR Protocol error: expected '$', got 'x'\r\n");
}

#[test]
fn little_may_be_sent_before_auth() {
    let server = Server::tine(&["requirepass secret"]);
    assert_eq!(
        answer_and_close(&server, b"*11\r\n"),
        "-ERR Protocol error: unauthenticated multibulk length\r\n"
    );
    assert_eq!(
        answer_and_close(&server, b"*2\r\n$20000\r\n"),
        "-ERR Protocol error: unauthenticated bulk length\r\n"
    );
    let mut client = server.client();
    let pipelined =
        [encode_command(&["AUTH", "secret"]), encode_command(&["SET", "k", &"x".repeat(20_000)])].concat();
    client.send_raw(&pipelined);
    assert_eq!((client.read().text(), client.read().text()), ("OK".into(), "OK".into()));
}

#[test]
fn quit_answers_and_drops_what_follows() {
    let server = Server::tine(&[]);
    assert_eq!(answer_and_close(&server, b"SET a 1\r\nQUIT\r\nSET a 2\r\n"), "+OK\r\n+OK\r\n");
    assert_eq!(server.client().call(&["GET", "a"]).text(), "1");
    assert_eq!(answer_and_close(&server, b"CLIENT REPLY OFF\r\nQUIT\r\n"), "");
}

#[test]
fn a_peer_that_sends_and_closes_is_answered_and_forgotten() {
    let server = Server::tine(&[]);
    let mut stream = connect(&server);
    stream.write_all(b"SET k v\r\nGET k\r\n").expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("it is connected");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server closes");
    assert_eq!(answer, b"+OK\r\n$1\r\nv\r\n");
}

#[test]
fn a_peer_that_is_held_back_and_closes_is_forgotten() {
    let server = Server::tine(&[]);
    let mut admin = server.client();
    admin.ok(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let mut stream = connect(&server);
    stream.write_all(b"SET k v\r\n").expect("the server reads");
    stream.shutdown(Shutdown::Both).expect("it is connected");
    wait_until("one client left", DEADLINE, || admin.call(&["CLIENT", "LIST"]).text().lines().count() == 1);
    admin.ok(&["CLIENT", "UNPAUSE"]);
    assert!(admin.call(&["GET", "k"]).is_null());
}

#[test]
fn requests_behind_one_that_waits_run_after_it() {
    let server = Server::tine(&[]);
    let (mut admin, mut client) = (server.client(), server.client());
    admin.ok(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    client.send_raw(b"SET k 1\r\nINCR k\r\nGET k\r\n");
    assert!(client.is_silent(Duration::from_millis(50)));
    admin.ok(&["CLIENT", "UNPAUSE"]);
    assert_eq!(client.read().text(), "OK");
    assert_eq!(client.read().int(), 2);
    assert_eq!(client.read().text(), "2");
}

#[test]
fn a_large_argument_in_many_pieces() {
    let server = Server::tine(&[]);
    let mut client = server.client();
    let value = "0123456789abcdef".repeat(512 * 1024);
    client.ok(&["SET", "k", &value]);
    assert_eq!(client.call(&["GET", "k"]).text(), value);
}

#[test]
fn a_long_pipeline_is_answered_in_order() {
    let server = Server::tine(&[]);
    let mut client = server.client();
    let commands: Vec<Vec<String>> =
        (0..20_000).map(|index| vec!["ECHO".into(), index.to_string()]).collect();
    let replies = client.pipeline(&commands);
    assert!(replies.iter().enumerate().all(|(index, reply)| reply.text() == index.to_string()));
}

#[test]
fn client_list_and_kill() {
    let server = Server::tine(&[]);
    let (mut admin, mut other) = (server.client(), server.client());
    other.ok(&["CLIENT", "SETNAME", "other"]);
    let list = admin.call(&["CLIENT", "LIST"]).text();
    let own = list.lines().find(|line| line.contains("cmd=client|list")).expect("the caller is listed");
    for field in [
        "addr=127.0.0.1:",
        " flags=N ",
        " db=0 ",
        " multi=-1 ",
        " qbuf=26 ",
        " argv-mem=10 ",
        " omem=0 ",
        " events=r ",
    ] {
        assert!(own.contains(field), "{field} in {own}");
    }
    let victim = list.lines().find(|line| line.contains("name=other")).expect("the other is listed");
    let id =
        victim.split(' ').next().and_then(|field| field.strip_prefix("id=")).expect("id is the first field");
    assert_eq!(admin.call(&["CLIENT", "KILL", "ID", id]).int(), 1);
    assert_eq!(other.read_to_close(), b"");
    assert_eq!(admin.call(&["CLIENT", "KILL", "ID", id]).int(), 0);
    let mut last = Client::connect(server.port());
    let own_id = last.call(&["CLIENT", "ID"]).int().to_string();
    assert_eq!(last.call(&["CLIENT", "KILL", "ID", &own_id, "SKIPME", "no"]).int(), 1);
    assert_eq!(last.read_to_close(), b"");
}
