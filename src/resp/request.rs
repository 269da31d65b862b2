//! Request parsing, in place and resumable.
//!
//! A request is an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) or one inline line.
//! The parser never copies: it records [`Span`]s relative to the start of the query buffer. When a
//! request is not complete it keeps what it has, so that a large request that arrives in many
//! pieces is scanned once. Error texts are those of Redis 7.2 (`networking.c`, facts only).

use crate::base::words;
use crate::resp::args::Span;

/// Longest inline request, and longest `*`/`$` header line.
pub const INLINE_MAX_BYTES: usize = 64 * 1024;
/// Most arguments of one request.
pub const MULTIBULK_MAX: i64 = i32::MAX as i64;
/// Most arguments of a request before AUTH.
const UNAUTHENTICATED_MULTIBULK_MAX: i64 = 10;
/// Longest argument before AUTH.
const UNAUTHENTICATED_BULK_MAX: i64 = 16 * 1024;
/// Room made for the argument spans at once; a hostile length must not allocate by itself.
const SPANS_RESERVE_MAX: usize = 1024;

/// Bounds that depend on configuration and on the client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `proto-max-bulk-len`, bytes.
    pub bulk_max_bytes: i64,
    pub authenticated: bool,
}

/// What one call of [`RequestParser::parse`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// A whole request; its spans are in the vector given.
    Request,
    /// An empty request (`*0`, an empty line): nothing to run.
    Empty,
    /// The connection must be closed after this error has been sent.
    Error(ProtocolError),
}

/// Protocol errors, each with Redis's text (after `-ERR Protocol error: `).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    TooBigInline,
    TooBigMultibulkHeader,
    TooBigBulkHeader,
    InvalidMultibulkLength,
    InvalidBulkLength,
    UnauthenticatedMultibulkLength,
    UnauthenticatedBulkLength,
    ExpectedDollar(u8),
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text after `Protocol error: `.
    pub fn text(&self) -> String {
        match self {
            ProtocolError::TooBigInline => "too big inline request".into(),
            ProtocolError::TooBigMultibulkHeader => "too big mbulk count string".into(),
            ProtocolError::TooBigBulkHeader => "too big bulk count string".into(),
            ProtocolError::InvalidMultibulkLength => "invalid multibulk length".into(),
            ProtocolError::InvalidBulkLength => "invalid bulk length".into(),
            ProtocolError::UnauthenticatedMultibulkLength => "unauthenticated multibulk length".into(),
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length".into(),
            ProtocolError::ExpectedDollar(found) => {
                // A control byte in an error line would break the line.
                let shown = if (0x20..0x7f).contains(found) { *found as char } else { ' ' };
                format!("expected '$', got '{shown}'")
            }
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request".into(),
        }
    }
}

/// State of the request at the head of a query buffer.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Where parsing goes on, relative to the buffer's start.
    position: usize,
    /// Arguments still to come; 0: no multibulk request has begun.
    remaining: i64,
    /// Length of the bulk whose header has been read; `None`: a header comes next.
    bulk_length: Option<i64>,
    /// Inline arguments have escapes and quotes, so they are unescaped to the end of the buffer.
    scanned_without_newline: usize,
}

impl RequestParser {
    /// Where the next byte to parse stands. After [`Parsed::Request`] or [`Parsed::Empty`] the
    /// bytes before it belong to finished requests.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The caller has removed the first `count` bytes of the buffer.
    pub fn discard(&mut self, count: usize) {
        debug_assert!(count <= self.position);
        self.position -= count;
        self.scanned_without_newline = 0;
    }

    /// Whether a request has begun but is not complete.
    pub fn in_request(&self) -> bool {
        self.remaining > 0
    }

    /// Bytes that the bulk being received still lacks, its CRLF included (0 when unknown): the
    /// reader sizes its buffer by it.
    pub fn missing_bytes(&self, buffer_len: usize) -> usize {
        match self.bulk_length {
            Some(length) => (self.position + length as usize + 2).saturating_sub(buffer_len),
            None => 0,
        }
    }

    /// Parses one request from `buffer`, starting at [`Self::position`].
    ///
    /// `spans` collects the arguments; the caller keeps it between calls while the answer is
    /// [`Parsed::Incomplete`] and clears it before a new request. Inline requests may append
    /// unescaped bytes to `buffer` only through `inline`, a scratch buffer: see [`split_inline`].
    #[inline]
    pub fn parse(&mut self, buffer: &[u8], spans: &mut Vec<Span>, limits: Limits) -> Parsed {
        if self.remaining == 0 {
            match buffer.get(self.position) {
                None => return Parsed::Incomplete,
                Some(b'*') => match self.begin_multibulk(buffer, spans, limits) {
                    Ok(true) => {}
                    Ok(false) => return Parsed::Incomplete,
                    Err(parsed) => return parsed,
                },
                Some(_) => return Parsed::Error(ProtocolError::ExpectedDollar(b'*')),
            }
        }
        self.take_bulks(buffer, spans, limits)
    }

    /// Whether the next request is an inline one.
    #[inline]
    pub fn next_is_inline(&self, buffer: &[u8]) -> bool {
        self.remaining == 0 && buffer.get(self.position).is_some_and(|byte| *byte != b'*')
    }

    /// Reads the line of an inline request: its bytes without the line end, or what `parse` says.
    pub fn take_inline_line<'a>(&mut self, buffer: &'a [u8]) -> Result<&'a [u8], Parsed> {
        let from = self.position + self.scanned_without_newline;
        let Some(offset) = memchr::memchr(b'\n', &buffer[from..]) else {
            if buffer.len() - self.position > INLINE_MAX_BYTES {
                return Err(Parsed::Error(ProtocolError::TooBigInline));
            }
            self.scanned_without_newline = buffer.len() - self.position;
            return Err(Parsed::Incomplete);
        };
        let end = from + offset;
        let mut line = &buffer[self.position..end];
        if line.len() > INLINE_MAX_BYTES {
            return Err(Parsed::Error(ProtocolError::TooBigInline));
        }
        if line.last() == Some(&b'\r') {
            line = &line[..line.len() - 1];
        }
        self.position = end + 1;
        self.scanned_without_newline = 0;
        Ok(line)
    }

    fn begin_multibulk(
        &mut self,
        buffer: &[u8],
        spans: &mut Vec<Span>,
        limits: Limits,
    ) -> Result<bool, Parsed> {
        let (count, next) = match header(buffer, self.position + 1) {
            Header::Number(count, next) => (count, next),
            Header::Incomplete => {
                if buffer.len() - self.position > INLINE_MAX_BYTES {
                    return Err(Parsed::Error(ProtocolError::TooBigMultibulkHeader));
                }
                return Ok(false);
            }
            Header::Bad => return Err(Parsed::Error(ProtocolError::InvalidMultibulkLength)),
        };
        if count > MULTIBULK_MAX {
            return Err(Parsed::Error(ProtocolError::InvalidMultibulkLength));
        }
        if count > UNAUTHENTICATED_MULTIBULK_MAX && !limits.authenticated {
            return Err(Parsed::Error(ProtocolError::UnauthenticatedMultibulkLength));
        }
        self.position = next;
        if count <= 0 {
            return Err(Parsed::Empty);
        }
        self.remaining = count;
        self.bulk_length = None;
        spans.reserve((count as usize).min(SPANS_RESERVE_MAX));
        Ok(true)
    }

    #[inline]
    fn take_bulks(&mut self, buffer: &[u8], spans: &mut Vec<Span>, limits: Limits) -> Parsed {
        while self.remaining > 0 {
            let length = match self.bulk_length {
                Some(length) => length,
                None => match self.bulk_header(buffer, limits) {
                    Ok(length) => length,
                    Err(parsed) => return parsed,
                },
            };
            let end = self.position + length as usize;
            if buffer.len() < end + 2 {
                self.bulk_length = Some(length);
                return Parsed::Incomplete;
            }
            spans.push(Span { start: self.position as u32, end: end as u32 });
            self.position = end + 2;
            self.bulk_length = None;
            self.remaining -= 1;
        }
        Parsed::Request
    }

    #[inline]
    fn bulk_header(&mut self, buffer: &[u8], limits: Limits) -> Result<i64, Parsed> {
        let Some(first) = buffer.get(self.position) else { return Err(Parsed::Incomplete) };
        let parsed = header(buffer, self.position + 1);
        if matches!(parsed, Header::Incomplete) {
            if buffer.len() - self.position > INLINE_MAX_BYTES {
                return Err(Parsed::Error(ProtocolError::TooBigBulkHeader));
            }
            return Err(Parsed::Incomplete);
        }
        if *first != b'$' {
            return Err(Parsed::Error(ProtocolError::ExpectedDollar(*first)));
        }
        let Header::Number(length, next) = parsed else {
            return Err(Parsed::Error(ProtocolError::InvalidBulkLength));
        };
        if length < 0 || length > limits.bulk_max_bytes || length > u32::MAX as i64 / 2 {
            return Err(Parsed::Error(ProtocolError::InvalidBulkLength));
        }
        if length > UNAUTHENTICATED_BULK_MAX && !limits.authenticated {
            return Err(Parsed::Error(ProtocolError::UnauthenticatedBulkLength));
        }
        self.position = next;
        Ok(length)
    }
}

enum Header {
    /// The number, and where the byte after its CRLF stands.
    Number(i64, usize),
    Incomplete,
    Bad,
}

/// Parses `<digits>\r\n` at `start`: up to 19 digits, an optional minus sign.
#[inline]
fn header(buffer: &[u8], start: usize) -> Header {
    // Fast path: one or two digits, the shape of nearly every header.
    if let Some(&[a, b, c, d]) = buffer.get(start..start + 4).and_then(|slice| slice.first_chunk::<4>()) {
        let first = a.wrapping_sub(b'0');
        if first < 10 {
            if b == b'\r' && c == b'\n' {
                return Header::Number(first as i64, start + 3);
            }
            let second = b.wrapping_sub(b'0');
            if second < 10 && c == b'\r' && d == b'\n' && first != 0 {
                return Header::Number((first * 10 + second) as i64, start + 4);
            }
        }
    }
    header_slow(buffer, start)
}

fn header_slow(buffer: &[u8], start: usize) -> Header {
    let Some(rest) = buffer.get(start..) else { return Header::Incomplete };
    let window = &rest[..rest.len().min(INLINE_MAX_BYTES)];
    let Some(length) = memchr::memchr(b'\r', window) else { return Header::Incomplete };
    if start + length + 1 >= buffer.len() {
        return Header::Incomplete;
    }
    match crate::base::numbers::parse_i64(&rest[..length]) {
        Some(number) => Header::Number(number, start + length + 2),
        None => Header::Bad,
    }
}

/// Splits an inline request into arguments, as `redis-cli` users know them.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`] when a quote stays open or is followed by a non-blank.
pub fn split_inline(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    words::split(line).ok_or(ProtocolError::UnbalancedQuotes)
}

#[cfg(test)]
mod tests;
