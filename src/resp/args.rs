//! The arguments of one request.
//!
//! ```text
//!  Args<'a> { buffer ──► ...*2\r\n$3\r\nGET\r\n$3\r\nfoo\r\n...
//!             spans  ──► [ (8,11) , (17,20) ] }
//! ```
//! The buffer is the client's query buffer (nothing is copied or allocated per request) or,
//! for requests that outlive it (blocked, scripts), an [`OwnedArgs`].

use std::ops::Index;

/// Byte range of one argument in its buffer. A query buffer is bounded far below 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

/// Borrowed arguments; `args[0]` is the command name as the client wrote it.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buffer: &'a [u8],
    spans: &'a [Span],
    /// These are all arguments of a request, and `buffer` may hold it as it was received.
    whole: bool,
}

impl<'a> Args<'a> {
    /// All arguments of a request, in the order in which they stand in `buffer`.
    pub fn new(buffer: &'a [u8], spans: &'a [Span]) -> Self {
        debug_assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "arguments in order");
        Args { buffer, spans, whole: true }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| self.slice(*span))
    }

    /// The argument at `index`, with the buffer's lifetime rather than that of `self`.
    ///
    /// # Panics
    /// When `index` is out of range: the caller has checked the arity.
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.slice(self.spans[index])
    }

    #[inline]
    fn slice(&self, span: Span) -> &'a [u8] {
        &self.buffer[span.start as usize..span.end as usize]
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + use<'a> {
        let buffer = self.buffer;
        self.spans.iter().map(move |span| &buffer[span.start as usize..span.end as usize])
    }

    /// The arguments from `index` on (empty when there are fewer).
    pub fn tail(&self, index: usize) -> Args<'a> {
        Args { buffer: self.buffer, spans: &self.spans[index.min(self.spans.len())..], whole: false }
    }

    /// The arguments from `start` up to `end` (fewer when there are fewer).
    pub fn between(&self, start: usize, end: usize) -> Args<'a> {
        let end = end.min(self.spans.len());
        Args { buffer: self.buffer, spans: &self.spans[start.min(end)..end], whole: false }
    }

    pub fn to_owned(&self) -> OwnedArgs {
        let mut owned = OwnedArgs {
            buffer: Vec::with_capacity(self.total_bytes()),
            spans: Vec::with_capacity(self.spans.len()),
        };
        self.iter().for_each(|argument| owned.push(argument));
        owned
    }

    pub(super) fn spans(&self) -> &'a [Span] {
        self.spans
    }

    /// The request as it was received, when that is its canonical encoding: what encoding these
    /// arguments again would give. `None` when they do not stand in a buffer like that.
    ///
    /// The parser has checked every header, so lengths without leading zeros and gaps of the
    /// right size are all there is to look at.
    pub fn canonical_request(&self) -> Option<&'a [u8]> {
        let (first, last) = (self.spans.first()?, self.spans.last()?);
        let header = |span: &Span| 3 + decimal_digits(span.end - span.start);
        let gaps_fit = self
            .spans
            .windows(2)
            .all(|pair| pair[1].start.checked_sub(pair[0].end) == Some(2 + header(&pair[1])));
        if !self.whole || !gaps_fit {
            return None;
        }
        let before = 3 + decimal_digits(self.spans.len() as u32) + header(first);
        let start = first.start.checked_sub(before)? as usize;
        let request = self.buffer.get(start..last.end as usize + 2)?;
        let count = decimal_digits(self.spans.len() as u32) as usize;
        let is_head = request[0] == b'*' && &request[1 + count..4 + count] == b"\r\n$";
        is_head.then_some(request)
    }

    /// The piece of the buffer that holds a whole request, and where it begins: [`Args::canonical_request`],
    /// if there is one, lies in it. `None` for arguments of which each is to be copied. O(1).
    pub(super) fn received(&self) -> Option<(u32, &'a [u8])> {
        let (first, last) = (self.spans.first()?, self.spans.last()?);
        if !self.whole {
            return None;
        }
        let head = 3 + decimal_digits(self.spans.len() as u32) + 3 + decimal_digits(first.end - first.start);
        let start = first.start.saturating_sub(head);
        let end = self.buffer.len().min(last.end as usize + 2);
        Some((start, self.buffer.get(start as usize..end)?))
    }

    /// Bytes of all arguments together.
    pub fn total_bytes(&self) -> usize {
        self.spans.iter().map(|span| (span.end - span.start) as usize).sum()
    }

    /// At least [`Args::total_bytes`], for the price of two loads: what lies between counts too.
    #[inline]
    pub fn extent_bytes(&self) -> usize {
        let (Some(first), Some(last)) = (self.spans.first(), self.spans.last()) else { return 0 };
        last.end.saturating_sub(first.start) as usize
    }
}

#[inline]
fn decimal_digits(number: u32) -> u32 {
    number.checked_ilog10().unwrap_or(0) + 1
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.slice(self.spans[index])
    }
}

/// Arguments with a buffer of their own.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OwnedArgs {
    buffer: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    pub fn from_slices<'a>(slices: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut owned = OwnedArgs::default();
        for slice in slices {
            owned.push(slice);
        }
        owned
    }

    /// Appends one argument.
    pub fn push(&mut self, argument: &[u8]) {
        let start = self.buffer.len();
        let end = start + argument.len();
        assert!(end <= u32::MAX as usize, "a request is bounded far below 4 GiB");
        self.buffer.extend_from_slice(argument);
        self.spans.push(Span { start: start as u32, end: end as u32 });
    }

    pub fn as_args(&self) -> Args<'_> {
        Args { buffer: &self.buffer, spans: &self.spans, whole: false }
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Heap bytes held, for client memory accounting.
    pub fn memory_bytes(&self) -> usize {
        self.buffer.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl<'a> FromIterator<&'a [u8]> for OwnedArgs {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(iter: I) -> Self {
        OwnedArgs::from_slices(iter.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, Span};
    use crate::resp::request::{Limits, Parsed, RequestParser};

    fn parse(bytes: &[u8]) -> Vec<Span> {
        let mut spans = Vec::new();
        let limits = Limits { bulk_max_bytes: 1 << 20, authenticated: true };
        assert_eq!(RequestParser::default().parse(bytes, &mut spans, limits), Parsed::Request);
        spans
    }

    #[test]
    fn a_canonical_request_is_found_as_received() {
        let long = [b"*2\r\n$3\r\nGET\r\n$11\r\n".as_slice(), b"*2\r\n$1\r\nx\r\n", b"\r\n"].concat();
        for request in
            [&b"*1\r\n$4\r\nPING\r\n"[..], b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$10\r\n0123456789\r\n", &long]
        {
            let spans = parse(request);
            let args = Args::new(request, &spans);
            assert_eq!(args.canonical_request(), Some(request));
            assert_eq!(args.tail(1).canonical_request(), None);
            assert_eq!(args.to_owned().as_args().canonical_request(), None);
        }
    }

    #[test]
    fn other_spellings_are_not_canonical() {
        let spans = [Span { start: 0, end: 3 }, Span { start: 4, end: 7 }];
        assert_eq!(Args::new(b"GET key", &spans).canonical_request(), None);
    }

    #[test]
    fn borrowed_and_owned_agree() {
        let spans = [Span { start: 0, end: 3 }, Span { start: 4, end: 7 }, Span { start: 7, end: 7 }];
        let args = Args::new(b"GET key", &spans);
        let owned = args.to_owned();
        let collected: Vec<&[u8]> = owned.as_args().iter().collect();
        assert_eq!(collected, vec![&b"GET"[..], b"key", b""]);
        assert_eq!(args.tail(1).len(), 2);
        assert_eq!(args.tail(9).len(), 0);
        assert_eq!(args.total_bytes(), 6);
        assert!(args.extent_bytes() >= 6);
        assert_eq!(args.get(3), None);
    }
}
