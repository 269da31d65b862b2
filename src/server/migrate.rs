//! MIGRATE's connections to other servers, kept for a few seconds.
//!
//! ```text
//!  take(host, port) ─► cached, if nothing has come in on it since ─► send, read_line ... ─► put_back
//!                   └► or connected                                                   └► dropped: closed
//! ```
//! The main thread waits here, as Redis's does, but never longer than the command's time-out for one
//! step: a connection, 64 KiB sent, a line of reply. A connection that failed is never put back, so
//! no reply is ever taken for that of a later request.

use memchr::memchr;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Connections kept at most, as Redis: more targets at a time are not migrated to.
const CACHED_MAX: usize = 64;
/// How long one is kept unused, ms, as Redis.
const IDLE_MAX_MS: i64 = 10_000;
/// What the time-out holds for when sending.
const CHUNK_BYTES: usize = 64 << 10;
/// Longest reply line: `+OK` or an error. Anything longer is not a Redis.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The connections that are not in use.
#[derive(Debug, Default)]
pub struct MigrateSockets {
    idle: Vec<MigrateTarget>,
}

/// A connection to another server.
#[derive(Debug)]
pub struct MigrateTarget {
    host: Vec<u8>,
    port: Vec<u8>,
    stream: TcpStream,
    /// Received, not yet taken.
    input: Vec<u8>,
    timeout: Duration,
    last_use_ms: i64,
    /// The database it has selected, if that is known.
    pub db: Option<i64>,
}

impl MigrateSockets {
    pub fn len(&self) -> usize {
        self.idle.len()
    }

    pub fn is_empty(&self) -> bool {
        self.idle.is_empty()
    }

    /// A connection: a kept one if it is still good, else a new one.
    ///
    /// # Errors
    /// What kept the last of the host's addresses from being connected to.
    pub fn take(&mut self, host: &[u8], port: &[u8], timeout: Duration) -> io::Result<MigrateTarget> {
        let kept = self.idle.iter().position(|target| target.host == host && target.port == port);
        if let Some(mut target) = kept.map(|index| self.idle.swap_remove(index))
            && target.is_quiet()
        {
            target.timeout = timeout;
            return Ok(target);
        }
        MigrateTarget::connect(host, port, timeout)
    }

    /// Keeps a connection on which every reply has been read. When there are too many, the one
    /// unused for longest goes.
    pub fn put_back(&mut self, mut target: MigrateTarget, now_ms: i64) {
        target.last_use_ms = now_ms;
        self.idle.push(target);
        if self.idle.len() > CACHED_MAX {
            let oldest = self.idle.iter().enumerate().min_by_key(|(_, target)| target.last_use_ms);
            if let Some(index) = oldest.map(|(index, _)| index) {
                self.idle.swap_remove(index);
            }
        }
    }

    /// Closes those that were not used for ten seconds. O(connections).
    pub fn close_idle(&mut self, now_ms: i64) {
        self.idle.retain(|target| now_ms - target.last_use_ms <= IDLE_MAX_MS);
    }
}

impl MigrateTarget {
    fn connect(host: &[u8], port: &[u8], timeout: Duration) -> io::Result<MigrateTarget> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| io::Error::from(ErrorKind::InvalidInput));
        let number = text(port)?.trim().parse::<u16>().map_err(|_| ErrorKind::InvalidInput)?;
        let mut failure = io::Error::from(ErrorKind::NotFound);
        for address in (text(host)?, number).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(MigrateTarget {
                        host: host.to_vec(),
                        port: port.to_vec(),
                        stream,
                        input: Vec::new(),
                        timeout,
                        last_use_ms: 0,
                        db: None,
                    });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Whether nothing has come in since the last reply: neither bytes nor the other side's end.
    fn is_quiet(&self) -> bool {
        let nothing_there = |stream: &TcpStream| -> io::Result<bool> {
            stream.set_nonblocking(true)?;
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            Ok(peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
        };
        self.input.is_empty() && nothing_there(&self.stream).unwrap_or(false)
    }

    /// Sends all of `bytes`; each 64 KiB within the time-out.
    ///
    /// # Errors
    /// `TimedOut`, or what happened to the connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let deadline = Instant::now() + self.timeout;
            let mut rest = chunk;
            while !rest.is_empty() {
                self.stream.set_write_timeout(Some(left_until(deadline)?))?;
                match self.stream.write(rest) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(sent) => rest = &rest[sent..],
                    Err(error) => forgive(error)?,
                }
            }
        }
        Ok(())
    }

    /// The next line of the reply without its end, within the time-out.
    ///
    /// # Errors
    /// `TimedOut`, or what happened to the connection; `InvalidData` for a line without end.
    pub fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + self.timeout;
        loop {
            if let Some(end) = memchr(b'\n', &self.input) {
                let mut line: Vec<u8> = self.input.drain(..=end).collect();
                line.truncate(line.trim_ascii_end().len());
                return Ok(line);
            }
            if self.input.len() > LINE_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            self.stream.set_read_timeout(Some(left_until(deadline)?))?;
            let mut block = [0; 4096];
            match self.stream.read(&mut block) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&block[..count]),
                Err(error) => forgive(error)?,
            }
        }
    }
}

/// A socket's time-out shows as `WouldBlock`: the deadline is looked at anew, as after a signal.
fn forgive(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}

fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

impl Drop for MigrateTarget {
    /// A forked child may hold the socket too: the other side learns of the end all the same.
    fn drop(&mut self) {
        // It fails when the other side was first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::{CACHED_MAX, MigrateSockets};
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(40);

    fn listener() -> (TcpListener, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        (listener, port.to_string().into_bytes())
    }

    #[test]
    fn lines_come_one_by_one_and_time_runs_out() {
        let (listener, port) = listener();
        let mut target = MigrateSockets::default().take(b"127.0.0.1", &port, SHORT).expect("it listens");
        let (mut peer, _) = listener.accept().expect("somebody has connected");
        peer.write_all(b"+OK\r\n-ERR no\r\n+ha").expect("sent");
        assert_eq!(target.read_line().expect("a line"), b"+OK");
        assert_eq!(target.read_line().expect("a line"), b"-ERR no");
        assert_eq!(target.read_line().expect_err("half a line").kind(), ErrorKind::TimedOut);
        target.send(b"hello").expect("there is room");
        let mut got = [0; 5];
        peer.read_exact(&mut got).expect("five bytes were sent");
        assert_eq!(&got, b"hello");
        drop(peer);
        assert_ne!(target.read_line().expect_err("the other side has gone").kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn sending_to_one_who_does_not_read_ends_in_time() {
        let (_listener, port) = listener();
        let mut target = MigrateSockets::default().take(b"localhost", &port, SHORT).expect("it listens");
        let failure = target.send(&vec![0; 64 << 20]).expect_err("nobody reads");
        assert_eq!(failure.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn only_quiet_connections_are_used_again() {
        let (listener, port) = listener();
        let mut sockets = MigrateSockets::default();
        let connect_anew = |sockets: &mut MigrateSockets, before: &dyn Fn(&mut TcpStream)| {
            let target = sockets.take(b"127.0.0.1", &port, LONG).expect("it listens");
            let local = target.stream.local_addr().expect("connected");
            let (mut peer, _) = listener.accept().expect("somebody has connected");
            sockets.put_back(target, 0);
            before(&mut peer);
            // Until the peer's bytes or its end are there, in vain when it did nothing.
            let _ = sockets.idle[0].stream.set_read_timeout(Some(SHORT));
            let _ = sockets.idle[0].stream.peek(&mut [0]);
            let again = sockets.take(b"127.0.0.1", &port, LONG).expect("it listens");
            let is_new = again.stream.local_addr().expect("connected") != local;
            if is_new {
                listener.accept().expect("somebody has connected");
            }
            is_new
        };
        assert!(!connect_anew(&mut sockets, &|_| ()));
        assert!(connect_anew(&mut sockets, &|peer| peer.write_all(b"+OK\r\n").expect("sent")));
        assert!(connect_anew(&mut sockets, &|peer| {
            peer.shutdown(std::net::Shutdown::Both).expect("connected")
        }));
    }

    #[test]
    fn few_are_kept_and_not_for_long() {
        let (listener, port) = listener();
        let mut sockets = MigrateSockets::default();
        let mut peers = Vec::new();
        let targets: Vec<_> = (0..CACHED_MAX + 2)
            .map(|_| {
                let target = sockets.take(b"127.0.0.1", &port, LONG).expect("it listens");
                peers.push(listener.accept().expect("somebody has connected"));
                target
            })
            .collect();
        for (now_ms, target) in targets.into_iter().enumerate() {
            sockets.put_back(target, now_ms as i64);
        }
        assert_eq!(sockets.len(), CACHED_MAX);
        assert!(sockets.idle.iter().all(|target| target.last_use_ms >= 2), "the oldest went");
        sockets.close_idle(10_002);
        assert_eq!(sockets.len(), CACHED_MAX);
        sockets.close_idle(20_000);
        assert!(sockets.is_empty());
    }

    #[test]
    fn bad_addresses_are_errors() {
        let mut sockets = MigrateSockets::default();
        for (host, port) in [(&b"127.0.0.1"[..], &b"x"[..]), (b"\xff", b"1"), (b"127.0.0.1", b"70000")] {
            assert!(sockets.take(host, port, SHORT).is_err());
        }
    }
}
