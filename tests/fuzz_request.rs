//! Mutated requests: the parser alone, then a running server. Whatever arrives, the server answers or closes
//! the connection; it never dies, never stops serving others and never answers what is no reply.
//!
//! `TINE_FUZZ_SECONDS` is the time of each part (default 4), `TINE_FUZZ_SEED` repeats a run.

mod common;
#[path = "common/mutate.rs"]
mod mutate;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use common::{Decoder, Reply, Server, encode_command};
use mutate::{Budget, Mutator};
use tine::resp::request::{Limits, Parsed, RequestParser, split_inline};

/// Connections of the socket part that are open at a time.
const CONNECTIONS: usize = 8;
/// How long a connection may stay silent after its end was sent; a hang is a failure.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Commands whose mutants are worth trying. None of them ends or blocks the server when intact.
fn commands() -> Vec<Vec<Vec<u8>>> {
    let lines: &[&str] = &[
        "PING",
        "PING hello",
        "ECHO x",
        "SET key value",
        "SET key value PX 100 NX GET",
        "GET key",
        "GETRANGE key 0 -1",
        "SETRANGE key 5 abc",
        "APPEND key more",
        "INCR counter",
        "INCRBYFLOAT counter 1.5",
        "MSET a 1 b 2 c 3",
        "MGET a b c",
        "DEL a b",
        "EXPIRE b 100",
        "PEXPIREAT c 99999999999999",
        "TTL b",
        "OBJECT ENCODING key",
        "SETBIT bits 77 1",
        "BITCOUNT bits 0 -1 BIT",
        "BITFIELD bits SET u8 0 200 GET i5 3",
        "LCS a b IDX",
        "SCAN 0 MATCH * COUNT 10",
        "KEYS *",
        "RANDOMKEY",
        "TYPE key",
        "RENAME key other",
        "COPY other key REPLACE",
        "DUMP key",
        "MULTI",
        "EXEC",
        "DISCARD",
        "WATCH key",
        "UNWATCH",
        "SUBSCRIBE ch",
        "PSUBSCRIBE c*",
        "UNSUBSCRIBE",
        "PUBLISH ch message",
        "HELLO 3",
        "HELLO 2",
        "RESET",
        "CLIENT INFO",
        "CLIENT LIST",
        "CLIENT SETNAME n",
        "CLIENT REPLY ON",
        "COMMAND COUNT",
        "COMMAND DOCS get",
        "CONFIG GET max*",
        "INFO server",
        "SELECT 1",
        "SWAPDB 0 1",
        "MOVE key 1",
        "FLUSHDB ASYNC",
        "DBSIZE",
        "TIME",
        "MEMORY USAGE key",
        "SLOWLOG GET",
        "RESTORE r 0 abc",
    ];
    lines.iter().map(|line| line.split(' ').map(|word| word.as_bytes().to_vec()).collect()).collect()
}

/// A valid pipeline, arrays and inline lines mixed.
fn pipeline(mutator: &mut Mutator, commands: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + mutator.below(12) {
        let mut command = commands[mutator.below(commands.len())].clone();
        if mutator.below(4) == 0 {
            let index = mutator.below(command.len());
            mutator.mutate(&mut command[index]);
        }
        match mutator.below(6) {
            0 => {
                bytes.extend_from_slice(&command.join(&b' '));
                bytes.extend_from_slice(b"\r\n");
            }
            _ => bytes.extend_from_slice(&encode_command(&command)),
        }
    }
    bytes
}

/// A mutant may not be what ends or stops the server on purpose.
fn is_harmless(bytes: &[u8]) -> bool {
    let upper = bytes.to_ascii_uppercase();
    let has = |word: &[u8]| upper.windows(word.len()).any(|window| window == word);
    ![&b"SHUTDOWN"[..], b"DEBUG", b"CLIENT PAUSE", b"PAUSE", b"CONFIG SET", b"KILL"]
        .iter()
        .any(|word| has(word))
}

#[test]
fn the_parser_takes_mutants_in_any_pieces() {
    let commands = commands();
    let mut budget = Budget::start("request parser");
    let mut mutator = budget.mutator();
    while budget.goes_on() {
        let mut bytes = pipeline(&mut mutator, &commands);
        mutator.mutate(&mut bytes);
        let whole = parse_all(&bytes, &[bytes.len()]);
        let mut cuts: Vec<usize> = (0..mutator.below(6)).map(|_| mutator.below(bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        assert_eq!(
            parse_all(&bytes, &cuts),
            whole,
            "pieces {cuts:?} of {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

/// What the parser makes of bytes that arrive up to each of `cuts` in turn: requests, then an error or nothing.
fn parse_all(bytes: &[u8], cuts: &[usize]) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    const LIMITS: Limits = Limits { bulk_max_bytes: 512 << 20, authenticated: true };
    let (mut parser, mut spans, mut requests) = (RequestParser::default(), Vec::new(), Vec::new());
    for &cut in cuts {
        let buffer = &bytes[..cut];
        loop {
            if parser.next_is_inline(buffer) {
                match parser.take_inline_line(buffer) {
                    Ok(line) => match split_inline(line) {
                        Ok(words) => requests.push(words),
                        Err(error) => return (requests, Some(error.text())),
                    },
                    Err(Parsed::Error(error)) => return (requests, Some(error.text())),
                    Err(_) => break,
                }
                continue;
            }
            match parser.parse(buffer, &mut spans, LIMITS) {
                Parsed::Incomplete => break,
                Parsed::Empty => {}
                Parsed::Error(error) => return (requests, Some(error.text())),
                Parsed::Request => {
                    let word = |span: &tine::resp::args::Span| {
                        buffer[span.start as usize..span.end as usize].to_vec()
                    };
                    requests.push(spans.iter().map(word).collect());
                    spans.clear();
                }
            }
        }
        assert!(parser.position() <= cut, "it stands on bytes that are not there");
    }
    (requests, None)
}

#[test]
fn a_server_survives_mutated_pipelines() {
    let commands = commands();
    let mut server = Server::tine(&["proto-max-bulk-len 4mb"]);
    let mut budget = Budget::start("request socket");
    let mut mutator = budget.mutator();
    while budget.goes_on() {
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut bytes = pipeline(&mut mutator, &commands);
            for _ in 0..mutator.below(4) {
                mutator.mutate(&mut bytes);
            }
            if is_harmless(&bytes) {
                open.push((send(&server, &mut mutator, &bytes), bytes));
            }
        }
        for (stream, bytes) in open {
            check_answer(stream, &bytes);
        }
        assert!(server.is_running(), "the server died:\n{}", server.log());
        assert_eq!(server.client().call(&["PING"]), Reply::Simple("PONG".to_owned()));
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Sends in pieces and half-closes, so that the end of the answers can be seen.
fn send(server: &Server, mutator: &mut Mutator, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("the server listens");
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("a time-out above zero");
    let cut = mutator.below(bytes.len() + 1);
    // The server may have closed on the first piece already.
    let _ = stream.write_all(&bytes[..cut]);
    let _ = stream.write_all(&bytes[cut..]);
    let _ = stream.shutdown(Shutdown::Write);
    stream
}

/// Everything until the server closes must be well-formed replies; at the end of its input it does close.
fn check_answer(mut stream: TcpStream, bytes: &[u8]) {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // Closed by the server while input was still on its way: what came before still counts.
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
        Err(e) => panic!("{e}: no end of the answers to {:?}", String::from_utf8_lossy(bytes)),
    }
    let mut decoder = Decoder::default();
    decoder.push(&answer);
    while decoder.take().is_some() {}
}
