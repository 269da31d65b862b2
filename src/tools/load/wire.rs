//! A connection: a non-blocking socket, the output that could not leave yet, and a counter of replies.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::ToSocketAddrs;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use crate::tools::load::options::Target;

/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 64 * 1024;
/// Nesting of a reply; deeper is a broken server.
const DEPTH_MAX: usize = 32;

trait Socket: Read + Write + Source {}
impl Socket for TcpStream {}
impl Socket for UnixStream {}

/// One connection with its outstanding requests.
pub struct Connection {
    socket: Box<dyn Socket>,
    output: Vec<u8>,
    /// Bytes of `output` that have left.
    sent: usize,
    input: Vec<u8>,
    /// When each unanswered request was due, in nanoseconds of the run.
    due_ns: VecDeque<u64>,
}

/// A reply that arrived.
pub struct Answer {
    pub due_ns: u64,
    /// The text of an error reply.
    pub error: Option<String>,
}

impl Connection {
    /// Connects (blocking: before the run) and registers.
    pub fn open(target: &Target, registry: &Registry, token: Token) -> Result<Connection, String> {
        let fail = |e: std::io::Error| format!("connect to {target:?}: {e}");
        let mut socket: Box<dyn Socket> = match target {
            Target::Tcp(host, port) => {
                let address = (host.as_str(), *port).to_socket_addrs().map_err(fail)?.next();
                let address = address.ok_or_else(|| format!("{host} has no address"))?;
                let stream = std::net::TcpStream::connect(address).map_err(fail)?;
                stream.set_nodelay(true).map_err(fail)?;
                stream.set_nonblocking(true).map_err(fail)?;
                Box::new(TcpStream::from_std(stream))
            }
            Target::Unix(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path).map_err(fail)?;
                stream.set_nonblocking(true).map_err(fail)?;
                Box::new(UnixStream::from_std(stream))
            }
        };
        socket.register(registry, token, Interest::READABLE | Interest::WRITABLE).map_err(fail)?;
        Ok(Connection { socket, output: Vec::new(), sent: 0, input: Vec::new(), due_ns: VecDeque::new() })
    }

    /// The buffer for a new request that was due at `due_ns`; call [`Connection::flush`] after writing to it.
    pub fn request(&mut self, due_ns: u64) -> &mut Vec<u8> {
        self.due_ns.push_back(due_ns);
        &mut self.output
    }

    /// Requests without a reply.
    pub fn outstanding(&self) -> usize {
        self.due_ns.len()
    }

    /// Writes what the socket takes. The rest leaves when it is writable again.
    pub fn flush(&mut self) -> Result<(), String> {
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("write: {e}")),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads all there is and calls `answered` for each reply; pushes are passed over.
    pub fn receive(&mut self, mut answered: impl FnMut(Answer)) -> Result<(), String> {
        loop {
            let filled = self.input.len();
            self.input.resize(filled + READ_BYTES, 0);
            let outcome = self.socket.read(&mut self.input[filled..]);
            self.input.truncate(filled + outcome.as_ref().copied().unwrap_or(0));
            match outcome {
                Ok(0) => return Err("the server closed a connection".to_owned()),
                Ok(count) => {
                    self.take_replies(&mut answered)?;
                    if count < READ_BYTES {
                        // A short read empties an edge-triggered socket: the next byte wakes the poll.
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("read: {e}")),
            }
        }
    }

    fn take_replies(&mut self, answered: &mut impl FnMut(Answer)) -> Result<(), String> {
        let mut at = 0;
        while let Some(length) = reply_length(&self.input[at..], 0)? {
            let reply = &self.input[at..at + length];
            at += length;
            if reply[0] == b'>' {
                continue;
            }
            let due_ns = self.due_ns.pop_front().ok_or("a reply to no request")?;
            let error =
                matches!(reply[0], b'-' | b'!').then(|| String::from_utf8_lossy(reply).trim_end().to_owned());
            answered(Answer { due_ns, error });
        }
        self.input.drain(..at);
        Ok(())
    }
}

/// Bytes of the reply that starts the buffer, RESP2 or RESP3; `None` if it is not all there.
fn reply_length(bytes: &[u8], depth: usize) -> Result<Option<usize>, String> {
    let Some(line_end) = memchr::memchr(b'\n', bytes) else {
        return Ok(None);
    };
    let head = line_end + 1;
    let line = &bytes[1..line_end.saturating_sub(1).max(1)];
    let members = match bytes[0] {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => return Ok(Some(head)),
        b'$' | b'!' | b'=' => {
            let whole = count(line)?.map_or(head, |length| head + length + 2);
            return Ok((whole <= bytes.len()).then_some(whole));
        }
        b'*' | b'~' | b'>' => count(line)?.unwrap_or(0),
        b'%' => count(line)?.unwrap_or(0) * 2,
        // Attributes stand before the reply proper.
        b'|' => count(line)?.unwrap_or(0) * 2 + 1,
        other => return Err(format!("no RESP: type byte {:?}", char::from(other))),
    };
    if depth == DEPTH_MAX {
        return Err("a reply is nested too deeply".to_owned());
    }
    let mut at = head;
    for _ in 0..members {
        match reply_length(&bytes[at..], depth + 1)? {
            Some(length) => at += length,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// The number in the first line of a reply; `None` for -1 (null).
fn count(line: &[u8]) -> Result<Option<usize>, String> {
    let text = String::from_utf8_lossy(line);
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(count) if (0..=i64::from(u32::MAX)).contains(&count) => Ok(usize::try_from(count).ok()),
        _ => Err(format!("no RESP: length {text:?}")),
    }
}
