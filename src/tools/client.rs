//! A small blocking RESP2 client: one request, one reply, time-outs throughout.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest bulk or number of elements that is accepted: STATUS and INFO are far below it.
const LENGTH_MAX: usize = 1 << 20;
/// Nesting that is accepted.
const DEPTH_MAX: usize = 4;

trait Stream: Read + Write {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// A reply, as far as a tool cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Text(String),
    Integer(i64),
    Error(String),
    Null,
    Array(Vec<Reply>),
}

impl Reply {
    /// Text or number as text; empty for anything else.
    pub fn text(&self) -> String {
        match self {
            Reply::Text(text) | Reply::Error(text) => text.clone(),
            Reply::Integer(value) => value.to_string(),
            _ => String::new(),
        }
    }
}

/// A connection.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
}

impl Client {
    /// # Errors
    /// The system's.
    pub fn connect_tcp(host: &str, port: u16, timeout: Duration) -> io::Result<Client> {
        let stream = TcpStream::connect((host, port))?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Client { stream: BufReader::new(Box::new(stream)) })
    }

    /// # Errors
    /// The system's.
    pub fn connect_unix(path: &Path, timeout: Duration) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Client { stream: BufReader::new(Box::new(stream)) })
    }

    /// Sends a command and waits for its reply; an error reply is a reply.
    ///
    /// # Errors
    /// The connection broke, or what came is no RESP.
    pub fn call(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request)?;
        self.read(0)
    }

    /// As [`Client::call`]; an error reply is an error.
    ///
    /// # Errors
    /// The text.
    pub fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, String> {
        match self.call(words) {
            Ok(Reply::Error(text)) => Err(text),
            Ok(reply) => Ok(reply),
            Err(failure) => Err(format!("the connection to the server broke: {failure}")),
        }
    }

    fn read(&mut self, depth: usize) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| broken("an empty line"))?;
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(rest.parse().map_err(|_| broken(&line))?),
            "$" | "*" if rest == "-1" => Reply::Null,
            "$" => Reply::Text(self.bulk(length(rest)?)?),
            "*" if depth < DEPTH_MAX => {
                let count = length(rest)?;
                Reply::Array((0..count).map(|_| self.read(depth + 1)).collect::<io::Result<_>>()?)
            }
            _ => return Err(broken(&line)),
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        (&mut self.stream).take(LENGTH_MAX as u64).read_until(b'\n', &mut bytes)?;
        match bytes.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
        }
    }

    fn bulk(&mut self, bytes: usize) -> io::Result<String> {
        let mut content = vec![0; bytes + 2];
        self.stream.read_exact(&mut content)?;
        content.truncate(bytes);
        Ok(String::from_utf8_lossy(&content).into_owned())
    }
}

fn length(digits: &str) -> io::Result<usize> {
    digits.parse().ok().filter(|length| *length <= LENGTH_MAX).ok_or_else(|| broken(digits))
}

fn broken(found: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("this is no reply of a server: {found:?}"))
}

#[cfg(test)]
mod tests {
    use super::{Client, Reply};
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    fn reply_to(bytes: &'static [u8]) -> Result<Reply, String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            let mut request = [0; 14];
            stream.read_exact(&mut request).expect("a request comes");
            assert_eq!(&request, b"*1\r\n$4\r\nPING\r\n");
            stream.write_all(bytes).expect("the client reads");
        });
        let mut client = Client::connect_tcp("127.0.0.1", port, Duration::from_secs(5)).expect("it listens");
        let reply = client.ask(&[b"PING"]);
        server.join().expect("the server ends");
        reply
    }

    #[test]
    fn replies_are_read_and_nonsense_is_refused() {
        assert_eq!(reply_to(b"+PONG\r\n"), Ok(Reply::Text("PONG".to_owned())));
        let nested = vec![Reply::Text("a\r\n".to_owned()), Reply::Integer(-3), Reply::Null];
        assert_eq!(reply_to(b"*3\r\n$3\r\na\r\n\r\n:-3\r\n$-1\r\n"), Ok(Reply::Array(nested)));
        assert_eq!(reply_to(b"-ERR no\r\n"), Err("ERR no".to_owned()));
        for bad in [&b"hello\r\n"[..], b"", b"$99999999999\r\n", b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"] {
            assert!(reply_to(bad).is_err(), "{bad:?}");
        }
    }
}
