//! A small blocking client: commands out, replies in as they came on the wire, with time-outs throughout.
//!
//! Replies keep what a test may want to see: the three forms of null, the text of doubles, the order of
//! maps. Pushes that arrive before the reply of [`Client::call`] are kept for [`Client::next_push`].

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a reply may take unless a test says otherwise.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 64 * 1024;
/// Nesting of a reply; deeper is a broken server.
const DEPTH_MAX: usize = 64;

/// One reply, RESP2 or RESP3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    Array(Vec<Reply>),
    /// The text after `,`, since its form matters.
    Double(String),
    Bool(bool),
    BigNumber(String),
    BlobError(String),
    /// Format (`txt`, `mkd`) and text.
    Verbatim(String, Vec<u8>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    /// Attributes and the reply that they precede.
    Attributed(Vec<(Reply, Reply)>, Box<Reply>),
}

impl Reply {
    /// A bulk reply with this text.
    pub fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Reply::Null | Reply::NullBulk | Reply::NullArray)
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_) | Reply::BlobError(_))
    }

    /// The integer; panics on any other reply.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Reply::Int(value) => *value,
            other => panic!("expected an integer, got {other:?}"),
        }
    }

    /// Text of a simple, bulk, verbatim or error reply; panics on any other.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Reply::Simple(text) | Reply::Error(text) | Reply::BlobError(text) => text.clone(),
            Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// The members of an array, set or push; panics on any other reply.
    #[track_caller]
    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items,
            other => panic!("expected an array, got {other:?}"),
        }
    }
}

/// The bytes of one command as an array of bulks.
pub fn encode_command<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Why bytes are not (yet) a reply.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Incomplete,
    Malformed(String),
}

/// Cuts replies out of a stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes received and not yet taken.
    pub fn pending(&self) -> &[u8] {
        &self.buffer
    }

    /// The next whole reply, if there is one; panics on bytes that no server may send.
    #[track_caller]
    pub fn take(&mut self) -> Option<Reply> {
        let mut cursor = Cursor { bytes: &self.buffer, at: 0 };
        match cursor.reply(0) {
            Ok(reply) => {
                let taken = cursor.at;
                self.buffer.drain(..taken);
                Some(reply)
            }
            Err(Stop::Incomplete) => None,
            Err(Stop::Malformed(problem)) => panic!("malformed reply: {problem}"),
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn line(&mut self) -> Result<String, Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::Incomplete)?;
        self.at += end + 2;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn length(&mut self) -> Result<Option<usize>, Stop> {
        let line = self.line()?;
        match line.parse::<i64>() {
            Ok(-1) => Ok(None),
            Ok(length) if length >= 0 => Ok(usize::try_from(length).ok()),
            _ => Err(Stop::Malformed(format!("length {line:?}"))),
        }
    }

    fn blob(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Err(Stop::Incomplete);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(Stop::Malformed("a bulk without its line end".to_owned()));
        }
        self.at += length + 2;
        Ok(Some(rest[..length].to_vec()))
    }

    fn whole_blob(&mut self) -> Result<Vec<u8>, Stop> {
        self.blob()?.ok_or_else(|| Stop::Malformed("null where text is due".to_owned()))
    }

    fn items(&mut self, depth: usize) -> Result<Option<Vec<Reply>>, Stop> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        (0..length).map(|_| self.reply(depth + 1)).collect::<Result<_, _>>().map(Some)
    }

    fn whole_items(&mut self, depth: usize) -> Result<Vec<Reply>, Stop> {
        self.items(depth)?.ok_or_else(|| Stop::Malformed("null where items are due".to_owned()))
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Reply, Reply)>, Stop> {
        let length = self.length()?.ok_or_else(|| Stop::Malformed("a null map".to_owned()))?;
        (0..length).map(|_| Ok((self.reply(depth + 1)?, self.reply(depth + 1)?))).collect()
    }

    fn reply(&mut self, depth: usize) -> Result<Reply, Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop::Malformed("nested too deeply".to_owned()));
        }
        let kind = *self.bytes.get(self.at).ok_or(Stop::Incomplete)?;
        self.at += 1;
        Ok(match kind {
            b'+' => Reply::Simple(self.line()?),
            b'-' => Reply::Error(self.line()?),
            b':' => Reply::Int(parse_int(&self.line()?)?),
            b'$' => self.blob()?.map_or(Reply::NullBulk, Reply::Bulk),
            b'*' => self.items(depth)?.map_or(Reply::NullArray, Reply::Array),
            b'_' => self.line().map(|_| Reply::Null)?,
            b',' => Reply::Double(self.line()?),
            b'#' => Reply::Bool(self.line()? == "t"),
            b'(' => Reply::BigNumber(self.line()?),
            b'!' => Reply::BlobError(String::from_utf8_lossy(&self.whole_blob()?).into_owned()),
            b'=' => verbatim(&self.whole_blob()?)?,
            b'%' => Reply::Map(self.pairs(depth)?),
            b'~' => Reply::Set(self.whole_items(depth)?),
            b'>' => Reply::Push(self.whole_items(depth)?),
            b'|' => Reply::Attributed(self.pairs(depth)?, Box::new(self.reply(depth + 1)?)),
            other => return Err(Stop::Malformed(format!("type byte {:?}", char::from(other)))),
        })
    }
}

fn parse_int(line: &str) -> Result<i64, Stop> {
    line.parse().map_err(|_| Stop::Malformed(format!("integer {line:?}")))
}

fn verbatim(blob: &[u8]) -> Result<Reply, Stop> {
    match blob.split_at_checked(4) {
        Some((head, text)) if head[3] == b':' => {
            Ok(Reply::Verbatim(String::from_utf8_lossy(&head[..3]).into_owned(), text.to_vec()))
        }
        _ => Err(Stop::Malformed("verbatim text without its format".to_owned())),
    }
}

trait Stream: Read + Write {
    fn limit_read(&self, timeout: Duration);
}

impl Stream for TcpStream {
    fn limit_read(&self, timeout: Duration) {
        self.set_read_timeout(Some(timeout)).expect("the time-out is not zero");
    }
}

impl Stream for UnixStream {
    fn limit_read(&self, timeout: Duration) {
        self.set_read_timeout(Some(timeout)).expect("the time-out is not zero");
    }
}

/// A connection to a server.
pub struct Client {
    stream: Box<dyn Stream>,
    decoder: Decoder,
    pushes: VecDeque<Reply>,
    timeout: Duration,
}

impl Client {
    /// Connects to a port of the loopback address; panics if nobody listens.
    #[track_caller]
    pub fn connect(port: u16) -> Client {
        Client::try_connect(port).unwrap_or_else(|e| panic!("connect to port {port}: {e}"))
    }

    /// Connects to a port of the loopback address.
    pub fn try_connect(port: u16) -> std::io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(Client::over(Box::new(stream)))
    }

    /// Connects to a Unix socket; panics if nobody listens.
    #[track_caller]
    pub fn connect_unix(path: &Path) -> Client {
        let stream =
            UnixStream::connect(path).unwrap_or_else(|e| panic!("connect to {}: {e}", path.display()));
        Client::over(Box::new(stream))
    }

    fn over(stream: Box<dyn Stream>) -> Client {
        stream.limit_read(REPLY_TIMEOUT);
        Client { stream, decoder: Decoder::default(), pushes: VecDeque::new(), timeout: REPLY_TIMEOUT }
    }

    /// Sets how long a reply may take.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
        self.stream.limit_read(timeout);
    }

    /// Sends a command and waits for its reply; panics when the connection breaks or time runs out.
    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        let name = args.first().map(|arg| String::from_utf8_lossy(arg.as_ref()).into_owned());
        self.try_call(args).unwrap_or_else(|e| panic!("{name:?}: {e}"))
    }

    /// Sends a command and waits for its reply.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> std::io::Result<Reply> {
        self.stream.write_all(&encode_command(args))?;
        self.reply()
    }

    /// Sends a command whose reply must be `+OK`.
    #[track_caller]
    pub fn ok<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        let reply = self.call(args);
        assert_eq!(reply, Reply::Simple("OK".to_owned()));
    }

    /// Sends all commands in one write, then waits for all replies.
    #[track_caller]
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Vec<Reply> {
        let bytes: Vec<u8> = commands.iter().flat_map(|args| encode_command(args)).collect();
        self.send_raw(&bytes);
        commands.iter().map(|_| self.read()).collect()
    }

    /// Sends a command and does not wait.
    #[track_caller]
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.send_raw(&encode_command(args));
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes the bytes");
    }

    /// Sends an inline command and waits for its reply.
    #[track_caller]
    pub fn inline(&mut self, line: &str) -> Reply {
        self.send_raw(format!("{line}\r\n").as_bytes());
        self.read()
    }

    /// Sends bytes as they are; a broken connection is an error.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply that is no push; a broken connection or time that ran out is an error.
    pub fn try_read(&mut self) -> std::io::Result<Reply> {
        self.reply()
    }

    /// The next reply that is no push; panics when the connection breaks or time runs out.
    #[track_caller]
    pub fn read(&mut self) -> Reply {
        self.reply().unwrap_or_else(|e| panic!("no reply: {e}"))
    }

    fn reply(&mut self) -> std::io::Result<Reply> {
        loop {
            match self.next()? {
                push @ Reply::Push(_) => self.pushes.push_back(push),
                reply => return Ok(reply),
            }
        }
    }

    /// The next push, one already received or one that arrives in time; `None` if none does.
    /// Panics if a reply arrives instead.
    #[track_caller]
    pub fn next_push(&mut self, timeout: Duration) -> Option<Reply> {
        if let Some(push) = self.pushes.pop_front() {
            return Some(push);
        }
        self.stream.limit_read(timeout);
        let next = self.next();
        self.stream.limit_read(self.timeout);
        match next {
            Ok(push @ Reply::Push(_)) => Some(push),
            Ok(other) => panic!("expected a push, got {other:?}"),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(e) => panic!("no push: {e}"),
        }
    }

    /// True if nothing arrives within `timeout`: no reply, no push, no end of the stream.
    pub fn is_silent(&mut self, timeout: Duration) -> bool {
        self.stream.limit_read(timeout);
        let silent = self.decoder.pending().is_empty() && self.fill().is_err_and(|e| is_timeout(&e));
        self.stream.limit_read(self.timeout);
        silent
    }

    /// Reads to the end of the stream: the bytes before the server closed. Panics if it does not close.
    #[track_caller]
    pub fn read_to_close(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(e) if is_timeout(&e) => panic!("the server does not close the connection"),
                Err(_) => return std::mem::take(&mut self.decoder.buffer),
            }
        }
    }

    fn next(&mut self) -> std::io::Result<Reply> {
        loop {
            if let Some(reply) = self.decoder.take() {
                return Ok(reply);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> std::io::Result<()> {
        let mut bytes = vec![0; READ_BYTES];
        let count = self.stream.read(&mut bytes)?;
        if count == 0 {
            return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        self.decoder.push(&bytes[..count]);
        Ok(())
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
