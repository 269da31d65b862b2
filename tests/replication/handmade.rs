//! A primary made by hand inside the test: it sends what no real one would, or in pieces that no real
//! one promises.

use crate::common::{Client, Program, Reply, Server, encode_command, new_folder, wait_until};
use crate::{DEADLINE, DEBUG, follow, info, wait_equal};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Offset that it announces.
const OFFSET: usize = 1000;
/// Right as far as one sees without loading it: the same key twice, and a checksum that was switched off.
const BROKEN: &[u8] = b"REDIS0011\0\x01k\x01v\0\x01k\x01v\xff\0\0\0\0\0\0\0\0";
/// A code that no version knows.
const UNKNOWN: &[u8] = b"REDIS0011\xee\xee\xee\xee\xff\0\0\0\0\0\0\0\0";
/// Data of a module.
const MODULE: &[u8] = b"REDIS0011\xf7\x81\0\0\0\0\0\0\0\0\x02\x02\0\xff\0\0\0\0\0\0\0\0";

/// What it was asked, and what it will say to each PSYNC; connections beyond find no answer.
#[derive(Default)]
struct Script {
    asked: Vec<String>,
    answers: VecDeque<Vec<u8>>,
    /// The newest connection on which an answer was given.
    stream: Option<TcpStream>,
}

struct Handmade {
    port: u16,
    script: Arc<Mutex<Script>>,
}

impl Handmade {
    fn new(answers: Vec<Vec<u8>>) -> Handmade {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let script = Script { answers: answers.into(), ..Script::default() };
        let script = Arc::new(Mutex::new(script));
        let shared = Arc::clone(&script);
        thread::spawn(move || {
            while let Ok((replica, _)) = listener.accept() {
                let script = Arc::clone(&shared);
                thread::spawn(move || serve(replica, &script));
            }
        });
        Handmade { port, script }
    }

    fn asked(&self) -> Vec<String> {
        self.script.lock().expect("no thread panics").asked.clone()
    }

    /// Sends more after the newest answer.
    fn send(&self, bytes: &[u8]) {
        let mut script = self.script.lock().expect("no thread panics");
        let stream = script.stream.as_mut().expect("an answer was given");
        stream.write_all(bytes).expect("the replica listens");
    }

    fn adopt(&self, client: &mut Client) {
        client.ok(&["REPLICAOF", "127.0.0.1", &self.port.to_string()]);
    }
}

/// One connection: simple answers up to PSYNC, then what the script says.
fn serve(replica: TcpStream, script: &Mutex<Script>) {
    let mut writer = replica.try_clone().expect("a socket");
    let mut reader = BufReader::new(replica);
    while let Some(words) = read_command(&mut reader) {
        let reply = match words.first().map(String::as_str) {
            Some("PING") => b"+PONG\r\n".to_vec(),
            Some("PSYNC") => {
                let mut script = script.lock().expect("no thread panics");
                script.asked.push(words.join(" "));
                script.stream = writer.try_clone().ok();
                match script.answers.pop_front() {
                    Some(answer) => answer,
                    None => return,
                }
            }
            Some("REPLCONF") if words.iter().any(|word| word == "ACK") => continue,
            _ => b"+OK\r\n".to_vec(),
        };
        if writer.write_all(&reply).is_err() {
            return;
        }
    }
}

fn read_command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut number = |start: char| loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        // A line end alone is a sign of life.
        if let Some(digits) = line.trim_end().strip_prefix(start) {
            let count: usize = digits.parse().ok()?;
            if start == '*' {
                return Some((count, String::new()));
            }
            let mut bytes = vec![0; count + 2];
            reader.read_exact(&mut bytes).ok()?;
            bytes.truncate(count);
            return Some((count, String::from_utf8_lossy(&bytes).into_owned()));
        }
    };
    let (count, _) = number('*')?;
    (0..count).map(|_| number('$').map(|(_, text)| text)).collect()
}

/// An RDB with the key `new`.
fn good_file() -> Vec<u8> {
    let server = Server::tine(&[]);
    server.client().ok(&["SET", "new", "1"]);
    server.client().ok(&["SAVE"]);
    std::fs::read(server.dir().join("dump.rdb")).expect("saved")
}

/// A full synchronization with what stands behind it, all in one piece.
fn full_sync(file: &[u8], stream: &[u8]) -> Vec<u8> {
    let head = format!("+FULLRESYNC {} {OFFSET}\r\n${}\r\n", "a".repeat(40), file.len());
    [head.as_bytes(), file, stream].concat()
}

#[test]
fn a_stream_right_behind_the_data_set_is_not_lost() {
    let file = good_file();
    let stream = [encode_command(&["SELECT", "0"]), encode_command(&["INCR", "behind"])].concat();
    for loaded in ["disabled", "on-empty-db", "swapdb"] {
        let primary = Handmade::new(vec![full_sync(&file, &stream)]);
        let replica = Server::tine(&[&format!("repl-diskless-load {loaded}")]);
        let mut own = replica.client();
        primary.adopt(&mut own);
        let end = (OFFSET + stream.len()).to_string();
        wait_until("the stream's end", DEADLINE, || info(&mut own, "slave_repl_offset") == end);
        assert_eq!(own.call(&["GET", "behind"]), Reply::bulk("1"), "{loaded}");
        assert_eq!(own.call(&["GET", "new"]), Reply::bulk("1"), "{loaded}");
    }
}

/// Memory is empty then, so what stands on the disk is all there is.
#[test]
fn a_load_that_breaks_leaves_the_old_files_alone() {
    for lines in [&[DEBUG, "appendonly yes", "save 1 1"][..], &[DEBUG, "appendonly no", "save 1 1"]] {
        let primary = Handmade::new(vec![full_sync(BROKEN, b"")]);
        let mut replica = Server::start(Program::Tine, new_folder(), lines);
        let mut own = replica.client();
        own.ok(&["SET", "old", "1"]);
        own.ok(&["SAVE"]);
        primary.adopt(&mut own);
        wait_until("the broken load", DEADLINE, || {
            replica.log().contains("Failed trying to load the MASTER")
        });
        // Cron comes by each second.
        thread::sleep(std::time::Duration::from_millis(2500));
        assert_eq!(own.call(&["DBSIZE"]), Reply::Int(0));
        replica.restart();
        assert_eq!(replica.client().call(&["GET", "old"]), Reply::bulk("1"), "{lines:?}");
    }
}

#[test]
fn a_load_that_breaks_ends_the_place_in_the_old_history() {
    // The first stream ends in what is no command, so that a second data set comes.
    let first = full_sync(&good_file(), b"!\r\n");
    let primary = Handmade::new(vec![first, full_sync(BROKEN, b"")]);
    let replica = Server::tine(&[DEBUG]);
    let mut own = replica.client();
    primary.adopt(&mut own);
    wait_until("the broken load", DEADLINE, || replica.log().contains("Failed trying to load the MASTER"));
    assert_eq!(primary.asked()[1], "PSYNC ? -1", "the damaged stream would come again");
    own.ok(&["SAVE"]);
    let saved = std::fs::read(replica.dir().join("dump.rdb")).expect("saved");
    assert!(!saved.windows(7).any(|bytes| bytes == b"repl-id"), "no keys, but a place in a history");
    let real = Server::tine(&[DEBUG, "repl-diskless-sync-delay 0"]);
    let mut client = real.client();
    client.ok(&["SET", "a", "1"]);
    follow(&mut own, real.port());
    wait_equal(&mut client, &mut own);
}

/// Blocks of a stream that end anywhere, and one command that is longer than many of them.
#[test]
fn a_long_command_in_pieces_is_applied_once() {
    let long = "x".repeat(3 << 20);
    let stream = [encode_command(&["APPEND", "long", &long]), encode_command(&["INCR", "behind"])].concat();
    let primary = Handmade::new(vec![full_sync(&good_file(), &stream)]);
    let replica = Server::tine(&[]);
    let mut own = replica.client();
    primary.adopt(&mut own);
    let end = (OFFSET + stream.len()).to_string();
    wait_until("the stream's end", DEADLINE, || info(&mut own, "slave_repl_offset") == end);
    assert_eq!(own.call(&["STRLEN", "long"]), Reply::Int(3 << 20));
    assert_eq!(own.call(&["GET", "behind"]), Reply::bulk("1"));
}

/// The same would come again, so it is not asked for at once.
#[test]
fn a_load_that_breaks_is_tried_again_after_a_while() {
    for loaded in ["disabled", "on-empty-db", "swapdb"] {
        let primary = Handmade::new(vec![full_sync(BROKEN, b""), full_sync(&good_file(), b"")]);
        let replica = Server::tine(&[&format!("repl-diskless-load {loaded}")]);
        let mut own = replica.client();
        primary.adopt(&mut own);
        wait_until("the broken load", DEADLINE, || replica.log().contains("is in 1 seconds"));
        assert!(replica.log().contains("RDB has duplicated key"), "{loaded}: {}", replica.log());
        wait_until("the next try", DEADLINE, || info(&mut own, "master_link_status") == "up");
        assert_eq!(own.call(&["GET", "new"]), Reply::bulk("1"), "{loaded}");
    }
}

/// What cannot be loaded is found while it arrives: nothing is dropped for it, nor asked for in a circle.
#[test]
fn a_data_set_that_cannot_be_loaded_leaves_the_old_data_in_memory() {
    let cut = &good_file()[..40];
    for (file, reason) in [(UNKNOWN, "encoding type 238"), (MODULE, "module"), (cut, "ends too early")] {
        let good = full_sync(&good_file(), b"");
        let primary = Handmade::new(vec![full_sync(file, b""), good]);
        let replica = Server::tine(&[DEBUG]);
        let mut own = replica.client();
        own.ok(&["SET", "old", "1"]);
        primary.adopt(&mut own);
        wait_until("the refusal", DEADLINE, || replica.log().contains("the old data are kept"));
        assert_eq!(own.call(&["GET", "old"]), Reply::bulk("1"), "{reason}");
        assert!(replica.log().contains(reason), "{reason}: {}", replica.log());
        wait_until("the next try", DEADLINE, || info(&mut own, "master_link_status") == "up");
        assert_eq!(
            (own.call(&["EXISTS", "old"]), own.call(&["GET", "new"])),
            (Reply::Int(0), Reply::bulk("1"))
        );
    }
}

/// A primary that stalls in the middle of a big value: the replica waits for it and for nobody else.
#[test]
fn clients_are_answered_while_a_value_has_not_come_whole() {
    let source = Server::tine(&[]);
    let fields: Vec<String> =
        (0..20_000).flat_map(|n| [format!("field:{n}"), format!("value:{n}")]).collect();
    let mut command = vec!["HSET".to_owned(), "big".to_owned()];
    command.extend(fields);
    source.client().call(&command);
    source.client().ok(&["SAVE"]);
    let file = std::fs::read(source.dir().join("dump.rdb")).expect("saved");
    for (loaded, answer) in [("on-empty-db", "LOADING"), ("swapdb", "1")] {
        let whole = full_sync(&file, b"");
        let (begun, rest) = whole.split_at(whole.len() - file.len() / 2);
        let mut answers = vec![begun.to_vec()];
        if loaded == "swapdb" {
            // Old data of the same history; behind them what is no command, so that the next set comes.
            answers.insert(0, full_sync(&good_file(), b"!\r\n"));
        }
        let primary = Handmade::new(answers);
        let replica = Server::tine(&[&format!("repl-diskless-load {loaded}")]);
        let mut own = replica.client();
        primary.adopt(&mut own);
        wait_until("the load", DEADLINE, || info(&mut own, "master_sync_in_progress") == "1");
        wait_until("what has come", DEADLINE, || {
            own.set_timeout(std::time::Duration::from_secs(2));
            info(&mut own, "master_sync_read_bytes").parse::<usize>().is_ok_and(|bytes| bytes > 0)
        });
        for _ in 0..20 {
            let reply = own.call(&["GET", "new"]).text();
            assert!(reply.starts_with(answer), "{loaded}: {reply}");
            thread::sleep(std::time::Duration::from_millis(5));
        }
        let (middle, last) = rest.split_at(rest.len() / 2);
        primary.send(middle);
        assert!(!info(&mut own, "master_link_status").is_empty());
        primary.send(last);
        wait_until("the link", DEADLINE, || info(&mut own, "master_link_status") == "up");
        assert_eq!(own.call(&["HLEN", "big"]), Reply::Int(20_000), "{loaded}");
    }
}
