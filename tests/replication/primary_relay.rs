//! A snapshot passed on from a child's pipe, in the time between the child's end and the last byte's.

use crate::common::{Client, Server, wait_until};
use crate::{DEBUG, child_of, follow, info, wait_equal};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);
/// More than a pipe and the sockets' buffers hold: the child cannot end before somebody has read.
const VALUE_BYTES: usize = 1 << 20;
const VALUES: usize = 10;
const ENDED: &str = "Background RDB transfer terminated with success";

/// A primary, and a replica that has taken so much of the snapshot that the child has ended, and no more.
fn draining() -> (Server, Client, SlowReplica) {
    let directives = [
        DEBUG,
        "repl-diskless-sync yes",
        "repl-diskless-sync-delay 0",
        "rdbcompression no",
        "save ''",
        "unixsocket socket",
    ];
    let server = Server::tine(&directives);
    let mut client = server.client();
    let value = "y".repeat(VALUE_BYTES);
    for number in 0..VALUES {
        client.ok(&["SET", &format!("key:{number}"), &value]);
    }
    let mut replica = SlowReplica::of(&server.dir().join("socket"));
    let mut child = 0;
    wait_until("the child", DEADLINE, || {
        child = child_of(server.pid());
        child != 0
    });
    while is_at_work(child) {
        replica.read_some(128 << 10);
        thread::sleep(Duration::from_millis(4));
    }
    wait_until("its end to be noticed", DEADLINE, || server.log().contains(ENDED));
    assert!(info(&mut client, "slave0").contains("state=wait_bgsave"), "nothing is left to be passed on");
    (server, client, replica)
}

fn is_at_work(process: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A replica by hand, which reads when it is told to. By a Unix socket: its buffer is small and does not grow.
struct SlowReplica {
    stream: UnixStream,
    received: Vec<u8>,
}

impl SlowReplica {
    fn of(path: &Path) -> SlowReplica {
        let mut stream = UnixStream::connect(path).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        stream.write_all(b"REPLCONF capa eof capa psync2\r\n").expect("sent");
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).expect("the primary answers");
        stream.write_all(b"PSYNC ? -1\r\n").expect("sent");
        SlowReplica { stream, received: Vec::new() }
    }

    /// Reads at most so many bytes.
    fn read_some(&mut self, bytes: usize) {
        let start = self.received.len();
        self.received.resize(start + bytes, 0);
        let count = self.stream.read(&mut self.received[start..]).expect("the primary sends");
        assert!(count > 0, "the primary has closed the connection");
        self.received.truncate(start + count);
    }

    /// Reads to the mark that ends the snapshot, and returns what stands between the marks.
    fn snapshot(&mut self) -> &[u8] {
        const BEGIN: &[u8] = b"$EOF:";
        const MARK_BYTES: usize = 40;
        let found = self.received.windows(BEGIN.len()).position(|window| window == BEGIN);
        let start = found.expect("it has been announced") + BEGIN.len();
        let mark = self.received[start..start + MARK_BYTES].to_vec();
        while !self.received.ends_with(&mark) {
            self.read_some(1 << 20);
        }
        &self.received[start + MARK_BYTES + 2..self.received.len() - MARK_BYTES]
    }
}

#[test]
fn nothing_gets_between_the_bytes_that_are_relayed() {
    let (server, mut client, mut replica) = draining();
    // Another snapshot, and more than a round of signs of life.
    client.call(&["BGSAVE"]);
    server.wait_for_save();
    thread::sleep(Duration::from_millis(1500));
    assert!(info(&mut client, "slave0").contains("state=wait_bgsave"), "it was all passed on");
    let snapshot = replica.snapshot();
    let values = snapshot.iter().filter(|byte| **byte == b'y').count();
    assert!(values >= VALUES * VALUE_BYTES, "{values} bytes of the values");
    let strange = snapshot.windows(2).position(|pair| pair == b"y\n" || pair == b"y$");
    assert_eq!(strange, None, "something stands within a value");
}

#[test]
fn replicas_that_go_after_the_childs_end_leave_nothing_behind() {
    let (server, mut client, replica) = draining();
    drop(replica);
    wait_until("the end of the replica", DEADLINE, || info(&mut client, "connected_slaves") == "0");
    client.call(&["BGSAVE"]);
    server.wait_for_save();
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok");
    assert!(!server.log().contains("Background saving cancelled"), "the save was not the relay's to end");
    let next = Server::tine(&[DEBUG]);
    let mut own = next.client();
    follow(&mut own, server.port());
    wait_equal(&mut client, &mut own);
}
