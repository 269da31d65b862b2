//! MIGRATE against a scripted other side: a key goes only when the other side has said that it has it.

mod common;

use common::{Decoder, InProcess, Reply};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

/// What the other side does on one connection: for each reply, wait for that many requests in all.
enum Step {
    /// Answers once this many requests have come in.
    Answer(usize, &'static str),
    /// Closes the connection.
    Close,
    /// Answers nothing until the client has gone.
    Hang,
}

/// The other side: one script a connection, in order. Its requests come out at the end.
struct Peer {
    port: u16,
    thread: JoinHandle<Vec<Vec<String>>>,
}

impl Peer {
    fn start(scripts: Vec<Vec<Step>>) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let thread = std::thread::spawn(move || {
            let play = |script| play(listener.accept().expect("the server connects").0, script);
            scripts.into_iter().map(play).collect()
        });
        Peer { port, thread }
    }

    fn requests(self) -> Vec<Vec<String>> {
        self.thread.join().expect("the other side does not panic")
    }
}

/// Plays a script on a connection; the requests that came in, their payloads left out.
fn play(mut stream: TcpStream, script: Vec<Step>) -> Vec<String> {
    let mut decoder = Decoder::default();
    let mut requests = Vec::new();
    let mut read = |stream: &mut TcpStream, requests: &mut Vec<String>| {
        let mut block = [0; 65536];
        let count = stream.read(&mut block).unwrap_or(0);
        decoder.push(&block[..count]);
        while let Some(request) = decoder.take() {
            let mut words: Vec<String> = request.items().iter().map(Reply::text).collect();
            if words[0] == "RESTORE" {
                words.remove(3);
            }
            requests.push(words.join(" "));
        }
        count > 0
    };
    for step in script {
        match step {
            Step::Answer(wanted, text) => {
                while requests.len() < wanted && read(&mut stream, &mut requests) {}
                stream.write_all(text.as_bytes()).expect("the server is there");
            }
            Step::Close => return requests,
            Step::Hang => while read(&mut stream, &mut requests) {},
        }
    }
    while read(&mut stream, &mut requests) {}
    requests
}

fn migrate(t: &mut InProcess, peer: &Peer, rest: &str) -> String {
    t.call(&format!("MIGRATE 127.0.0.1 {} {rest}", peer.port))
}

fn cached(t: &mut InProcess) -> usize {
    t.server.migrate.len()
}

#[test]
fn keys_move_and_the_connection_is_kept() {
    use Step::Answer;
    let mut t = InProcess::new();
    t.call("MSET a 1 b 2 c 3");
    t.call("PEXPIRE b 5000");
    t.record_propagation();
    let peer = Peer::start(vec![vec![
        Answer(2, "+OK\r\n+OK\r\n"),
        Answer(4, "+OK\r\n+OK\r\n"),
        Answer(7, "+OK\r\n+OK\r\n+OK\r\n"),
    ]]);
    assert_eq!(migrate(&mut t, &peer, "a 9 5000"), "+OK");
    assert_eq!(migrate(&mut t, &peer, "\"\" 9 5000 COPY REPLACE KEYS b none c"), "+OK");
    assert_eq!(t.call("EXISTS a b c"), ":2");
    assert_eq!(migrate(&mut t, &peer, "b 0 5000 AUTH2 me secret"), "+OK");
    assert_eq!(t.call("EXISTS a b c"), ":1");
    assert_eq!(t.propagated(), ["SELECT 0", "DEL a", "DEL b"]);
    assert_eq!(cached(&mut t), 1);
    drop(t);
    let expected = [
        "SELECT 9",
        "RESTORE a 0",
        "RESTORE b 5000 REPLACE",
        "RESTORE c 0 REPLACE",
        "AUTH me secret",
        "SELECT 0",
        "RESTORE b 5000",
    ];
    assert_eq!(peer.requests(), [expected]);
}

#[test]
fn only_keys_that_arrived_are_removed() {
    let mut t = InProcess::new();
    t.call("MSET a 1 b 2 c 3");
    t.record_propagation();
    let peer = Peer::start(vec![vec![Step::Answer(
        4,
        "+OK\r\n+OK\r\n-BUSYKEY Target key name already exists.\r\n+OK\r\n",
    )]]);
    assert_eq!(
        migrate(&mut t, &peer, "\"\" 9 5000 KEYS a b c"),
        "-ERR Target instance replied with error: BUSYKEY Target key name already exists."
    );
    assert_eq!(t.call("MGET a b c"), "*3 $-1 $1 2 $-1");
    assert_eq!(t.propagated(), ["SELECT 0", "DEL a c"]);
    assert_eq!(cached(&mut t), 1);
    t.clock_ms(20_000);
    let now_ms = t.now_ms();
    t.server.migrate.close_idle(now_ms);
    assert_eq!(cached(&mut t), 0);
    peer.requests();
}

#[test]
fn a_refused_select_keeps_all_keys() {
    let mut t = InProcess::new();
    t.call("MSET a 1 b 2");
    let peer = Peer::start(vec![vec![Step::Answer(3, "-ERR DB index is out of range\r\n+OK\r\n+OK\r\n")]]);
    assert_eq!(
        migrate(&mut t, &peer, "\"\" 99 5000 KEYS a b"),
        "-ERR Target instance replied with error: ERR DB index is out of range"
    );
    assert_eq!(t.call("EXISTS a b"), ":2");
    drop(t);
    peer.requests();
}

#[test]
fn a_lost_connection_in_the_middle_keeps_the_rest() {
    let mut t = InProcess::new();
    t.call("MSET a 1 b 2");
    t.record_propagation();
    let peer = Peer::start(vec![vec![Step::Answer(3, "+OK\r\n+OK\r\n"), Step::Close]]);
    assert_eq!(
        migrate(&mut t, &peer, "\"\" 9 5000 KEYS a b"),
        "-IOERR error or timeout reading to target instance"
    );
    assert_eq!(t.call("EXISTS a b"), ":1");
    assert_eq!(t.propagated(), ["SELECT 0", "DEL a"]);
    assert_eq!(cached(&mut t), 0);
    peer.requests();
}

#[test]
fn one_retry_and_none_after_a_time_out() {
    let mut t = InProcess::new();
    t.call("SET a 1");
    let peer = Peer::start(vec![vec![Step::Close], vec![Step::Answer(2, "+OK\r\n+OK\r\n")]]);
    assert_eq!(migrate(&mut t, &peer, "a 9 5000"), "+OK");
    drop(std::mem::take(&mut t.server.migrate));
    peer.requests();

    t.call("SET a 1");
    let peer = Peer::start(vec![vec![Step::Hang]]);
    assert_eq!(migrate(&mut t, &peer, "a 9 50"), "-IOERR error or timeout reading to target instance");
    assert_eq!(t.call("GET a"), "$1 1");
    assert_eq!(peer.requests(), [["SELECT 9", "RESTORE a 0"]]);
}

#[test]
fn arguments() {
    let mut t = InProcess::new();
    for (command, reply) in [
        ("MIGRATE h 1 a 9 5000", "+NOKEY"),
        ("MIGRATE h 1 \"\" 9 5000 KEYS a b", "+NOKEY"),
        (
            "MIGRATE h 1 x 9 5000 KEYS a b",
            "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        ),
        ("MIGRATE h 1 a 9 5000 NONE", "-ERR syntax error"),
        ("MIGRATE h 1 a 9 5000 AUTH", "-ERR syntax error"),
        ("MIGRATE h 1 a 9 5000 AUTH2 user", "-ERR syntax error"),
        ("MIGRATE h 1 a x 5000", "-ERR value is not an integer or out of range"),
        ("MIGRATE h 1 a 9 x", "-ERR value is not an integer or out of range"),
        ("MIGRATE h 1 a 9", "-ERR wrong number of arguments for 'migrate' command"),
        ("SET a 1", "+OK"),
        ("MIGRATE 127.0.0.1 none a 9 50", "-IOERR error or timeout connecting to the client"),
        ("EXISTS a", ":1"),
    ] {
        assert_eq!(t.call(command), reply, "{command}");
    }
}
