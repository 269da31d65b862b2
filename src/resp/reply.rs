//! Reply writing, RESP2 and RESP3, straight into the client's output buffer.
//!
//! Every method appends one element. Aggregates are written as a header followed by that many
//! elements; when the count is not known before, [`Reply::begin_deferred`] leaves a mark and
//! [`Reply::end_deferred_array`] puts the header in afterwards (one memmove of what follows).

use crate::base::float;

/// Protocol version spoken on a connection (`HELLO 2` or `HELLO 3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Room for what stands around a bulk string: `$`, up to ten digits, two line ends.
const BULK_FRAME_BYTES: usize = 16;

/// Mark of an aggregate whose length is not known yet.
#[derive(Debug)]
#[must_use]
pub struct Deferred(usize);

/// An output buffer with the protocol it is written in.
#[derive(Debug, Default)]
pub struct Reply {
    pub buffer: Vec<u8>,
    pub protocol: Protocol,
}

impl Reply {
    pub fn new(protocol: Protocol) -> Self {
        Reply { buffer: Vec::new(), protocol }
    }

    #[inline]
    pub fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// `+OK\r\n`.
    #[inline]
    pub fn ok(&mut self) {
        self.buffer.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; `text` has no line breaks.
    pub fn simple(&mut self, text: &str) {
        self.buffer.push(b'+');
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.extend_from_slice(b"\r\n");
    }

    /// An error line: `text` begins with its code (`ERR ...`). Line breaks inside become blanks.
    pub fn error(&mut self, text: &[u8]) {
        self.buffer.push(b'-');
        self.buffer.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        self.buffer.extend_from_slice(b"\r\n");
    }

    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.buffer.reserve(bytes.len() + BULK_FRAME_BYTES);
        self.header(b'$', bytes.len() as i64);
        self.buffer.extend_from_slice(bytes);
        self.buffer.extend_from_slice(b"\r\n");
    }

    pub fn bulk_str(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// An integer as a bulk string.
    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(value).as_bytes());
    }

    /// The null of a missing value: `$-1` or `_`.
    #[inline]
    pub fn null(&mut self) {
        self.buffer.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// The null of a missing array: `*-1` or `_`.
    pub fn null_array(&mut self) {
        self.buffer.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    #[inline]
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count as i64);
    }

    /// A map of `pairs` key-value pairs; in RESP2 a flat array.
    pub fn map(&mut self, pairs: usize) {
        if self.is_resp3() {
            self.header(b'%', pairs as i64);
        } else {
            self.header(b'*', pairs as i64 * 2);
        }
    }

    /// A set; in RESP2 an array.
    pub fn set(&mut self, count: usize) {
        let kind = if self.is_resp3() { b'~' } else { b'*' };
        self.header(kind, count as i64);
    }

    /// An out-of-band push; in RESP2 an array.
    pub fn push(&mut self, count: usize) {
        let kind = if self.is_resp3() { b'>' } else { b'*' };
        self.header(kind, count as i64);
    }

    /// Attributes precede the reply they describe; RESP3 only (the caller checks).
    pub fn attribute(&mut self, pairs: usize) {
        self.header(b'|', pairs as i64);
    }

    /// `#t`/`#f`; in RESP2 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        if self.is_resp3() {
            self.buffer.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.integer(value as i64);
        }
    }

    /// A double with Redis 7.2's text: `,1.5`; in RESP2 a bulk string.
    pub fn double(&mut self, value: f64) {
        // Most scores are whole: their digits need no buffer on the side.
        if let Some(whole) = float::as_integer(value).filter(|whole| *whole != 0 || value.is_sign_positive())
        {
            return if self.is_resp3() { self.header(b',', whole) } else { self.bulk_integer(whole) };
        }
        let mut text = Vec::with_capacity(32);
        float::format_f64_reply(value, &mut text);
        if self.is_resp3() {
            self.buffer.push(b',');
            self.buffer.extend_from_slice(&text);
            self.buffer.extend_from_slice(b"\r\n");
        } else {
            self.bulk(&text);
        }
    }

    /// A big number; in RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        if self.is_resp3() {
            self.buffer.push(b'(');
            self.buffer.extend_from_slice(digits.as_bytes());
            self.buffer.extend_from_slice(b"\r\n");
        } else {
            self.bulk_str(digits);
        }
    }

    /// A text with a three-letter format (`txt`, `mkd`); in RESP2 a bulk string.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if self.is_resp3() {
            self.header(b'=', text.len() as i64 + 4);
            self.buffer.extend_from_slice(format.as_bytes());
            self.buffer.push(b':');
            self.buffer.extend_from_slice(text);
            self.buffer.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// Bytes that are already in protocol form.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Begins an aggregate whose length is given at its end.
    pub fn begin_deferred(&mut self) -> Deferred {
        Deferred(self.buffer.len())
    }

    pub fn end_deferred_array(&mut self, mark: Deferred, count: usize) {
        self.insert_header(mark, b'*', count);
    }

    pub fn end_deferred_map(&mut self, mark: Deferred, pairs: usize) {
        match self.protocol {
            Protocol::Resp3 => self.insert_header(mark, b'%', pairs),
            Protocol::Resp2 => self.insert_header(mark, b'*', pairs * 2),
        }
    }

    /// As [`Self::end_deferred_map`], where RESP2 has an array of pairs instead of a flat one.
    pub fn end_deferred_map_of_pairs(&mut self, mark: Deferred, pairs: usize) {
        self.insert_header(mark, if self.is_resp3() { b'%' } else { b'*' }, pairs);
    }

    pub fn end_deferred_set(&mut self, mark: Deferred, count: usize) {
        let kind = if self.is_resp3() { b'~' } else { b'*' };
        self.insert_header(mark, kind, count);
    }

    fn insert_header(&mut self, mark: Deferred, kind: u8, count: usize) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(count).as_bytes();
        let header = [&[kind], digits, b"\r\n"].concat();
        self.buffer.splice(mark.0..mark.0, header);
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        // Lengths and counts are mostly short: one check of the buffer, one store.
        let digit = |ten_to: i64| b'0' + (value / ten_to % 10) as u8;
        match value {
            0..10 => self.buffer.extend_from_slice(&[kind, digit(1), b'\r', b'\n']),
            10..100 => self.buffer.extend_from_slice(&[kind, digit(10), digit(1), b'\r', b'\n']),
            100..1000 => {
                self.buffer.extend_from_slice(&[kind, digit(100), digit(10), digit(1), b'\r', b'\n']);
            }
            _ => self.long_header(kind, value),
        }
    }

    fn long_header(&mut self, kind: u8, value: i64) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value).as_bytes();
        self.buffer.reserve(digits.len() + 3);
        self.buffer.push(kind);
        self.buffer.extend_from_slice(digits);
        self.buffer.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol, Reply};

    fn text(protocol: Protocol, write: impl FnOnce(&mut Reply)) -> String {
        let mut reply = Reply::new(protocol);
        write(&mut reply);
        String::from_utf8(reply.buffer).expect("replies here are ASCII")
    }

    #[test]
    fn elements_in_both_protocols() {
        let both = |write: fn(&mut Reply)| (text(Protocol::Resp2, write), text(Protocol::Resp3, write));
        assert_eq!(both(|r| r.null()), ("$-1\r\n".into(), "_\r\n".into()));
        assert_eq!(both(|r| r.null_array()), ("*-1\r\n".into(), "_\r\n".into()));
        assert_eq!(both(|r| r.map(2)), ("*4\r\n".into(), "%2\r\n".into()));
        assert_eq!(both(|r| r.boolean(true)), (":1\r\n".into(), "#t\r\n".into()));
        assert_eq!(both(|r| r.double(1.5)), ("$3\r\n1.5\r\n".into(), ",1.5\r\n".into()));
        assert_eq!(both(|r| r.verbatim("txt", b"hi")), ("$2\r\nhi\r\n".into(), "=6\r\ntxt:hi\r\n".into()));
        assert_eq!(both(|r| r.integer(-12)), (":-12\r\n".into(), ":-12\r\n".into()));
    }

    #[test]
    fn headers_of_every_length() {
        let edges = (1..=18).map(|power| 10i64.pow(power)).flat_map(|edge| [edge - 1, edge, edge + 1]);
        for value in edges.chain([0, -1, -10, -100, i64::MIN, i64::MAX]) {
            assert_eq!(text(Protocol::Resp2, |r| r.integer(value)), format!(":{value}\r\n"));
        }
        for len in [0, 9, 10, 99, 100, 999, 1000, 70_000] {
            let bytes = "x".repeat(len);
            assert_eq!(text(Protocol::Resp3, |r| r.bulk_str(&bytes)), format!("${len}\r\n{bytes}\r\n"));
        }
    }

    #[test]
    fn an_error_stays_on_its_line() {
        assert_eq!(text(Protocol::Resp2, |r| r.error(b"ERR a\r\nb")), "-ERR a  b\r\n");
    }

    #[test]
    fn a_deferred_header_lands_before_its_elements() {
        let written = text(Protocol::Resp2, |r| {
            r.integer(1);
            let mark = r.begin_deferred();
            r.integer(2);
            r.integer(3);
            r.end_deferred_array(mark, 2);
        });
        assert_eq!(written, ":1\r\n*2\r\n:2\r\n:3\r\n");
    }
}
