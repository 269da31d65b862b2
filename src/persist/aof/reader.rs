//! Reading a log: big blocks, one request after the other, and a judgement of the tail.
//!
//! ```text
//!  file:   |..executed..|####### window #######|........not read yet........|
//!                       start_offset           start_offset + window.len()
//! ```
//! The window holds whole requests at its head and is moved on by [`BlockReader::consume`]. A block
//! is as long as the window at least, so a huge request is scanned a logarithmic number of times.

use crate::base::crc64::Crc64;
use crate::persist::aof::annotate;
use crate::resp::Span;
use crate::resp::request::{Limits, Parsed, RequestParser};
use crate::sys::io::{IoResult, StorageFile};

/// Least bytes of one read.
const BLOCK_BYTES: usize = 1 << 20;
/// Longest argument accepted, bytes: what Redis takes (512 MiB), whatever the configuration says now.
const BULK_MAX_BYTES: i64 = 512 << 20;

/// Longest count of arguments: the digits of a 64-bit number and its sign.
const COUNT_MAX_BYTES: usize = 20;

pub use crate::persist::aof::annotate::{ANNOTATION_MAX_BYTES, Annotation};

/// Reads a file in blocks.
#[derive(Debug)]
pub struct BlockReader {
    file: Box<dyn StorageFile>,
    window: Vec<u8>,
    /// Consumed bytes at the head of `window`.
    head: usize,
    /// File offset of `window[0]`.
    window_offset: u64,
    at_end: bool,
}

impl BlockReader {
    /// Reads from `offset` on.
    pub fn new(file: Box<dyn StorageFile>, offset: u64) -> BlockReader {
        BlockReader { file, window: Vec::new(), head: 0, window_offset: offset, at_end: false }
    }

    /// The bytes read and not consumed.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.window[self.head..]
    }

    /// File offset of the first byte of [`BlockReader::bytes`].
    pub fn offset(&self) -> u64 {
        self.window_offset + self.head as u64
    }

    /// Whether the file has nothing behind the window.
    pub fn at_end(&self) -> bool {
        self.at_end
    }

    /// Removes bytes from the head.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.bytes().len());
        self.head += count;
    }

    /// Reads one more block; false at the end of the file.
    pub fn fill(&mut self) -> IoResult<bool> {
        self.window.drain(..self.head);
        self.window_offset += self.head as u64;
        self.head = 0;
        let start = self.window.len();
        let room = BLOCK_BYTES.max(start);
        self.window.resize(start + room, 0);
        let mut filled = 0;
        while filled < room {
            let offset = self.window_offset + (start + filled) as u64;
            match self.file.read_at(&mut self.window[start + filled..], offset)? {
                0 => {
                    self.at_end = true;
                    break;
                }
                count => filled += count,
            }
        }
        self.window.truncate(start + filled);
        Ok(filled > 0)
    }
}

impl BlockReader {
    /// CRC-64 of the `count` bytes that begin `skip` bytes behind the head; `None` when the file ends
    /// before. The window stays as it is: a length that is wrong costs time, never memory.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn checksum_ahead(&self, skip: usize, count: u64) -> IoResult<Option<u64>> {
        let ready = self.bytes().get(skip..).unwrap_or(&[]);
        if let Some(covered) = usize::try_from(count).ok().and_then(|count| ready.get(..count)) {
            return Ok(Some(Crc64::update(0, covered)));
        }
        let mut position = self.offset() + skip as u64;
        let end = position.saturating_add(count);
        if end > self.file.len()? {
            return Ok(None);
        }
        let (mut crc, mut block) = (0, vec![0; BLOCK_BYTES]);
        while position < end {
            let wanted = (end - position).min(BLOCK_BYTES as u64) as usize;
            match self.file.read_at(&mut block[..wanted], position)? {
                0 => return Ok(None),
                found => {
                    crc = Crc64::update(crc, &block[..found]);
                    position += found as u64;
                }
            }
        }
        Ok(Some(crc))
    }
}

/// What stands at the head of some bytes of a log.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A request of so many bytes; its arguments are in the vector given.
    Request(usize),
    /// A line that begins with `#`, of so many bytes.
    Note(usize, Annotation),
    /// An empty request (`*0`) of so many bytes.
    Nothing(usize),
    /// The bytes end before the item does.
    Incomplete,
    /// No log continues like this; the byte where it shows.
    Damaged(usize),
}

/// Reads the item at the head of `bytes`. Arguments are relative to `bytes` and are appended.
pub fn next_item(bytes: &[u8], spans: &mut Vec<Span>) -> Item {
    match bytes.first() {
        None => Item::Incomplete,
        Some(b'#') => next_note(bytes),
        Some(b'*') => next_request(bytes, spans),
        Some(_) => Item::Damaged(0),
    }
}

fn next_note(bytes: &[u8]) -> Item {
    let window = &bytes[..bytes.len().min(ANNOTATION_MAX_BYTES)];
    match memchr::memchr(b'\n', window) {
        Some(end) => {
            let line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
            Item::Note(end + 1, annotate::parse(line))
        }
        None if bytes.len() < ANNOTATION_MAX_BYTES => Item::Incomplete,
        None => Item::Damaged(0),
    }
}

#[inline]
fn next_request(bytes: &[u8], spans: &mut Vec<Span>) -> Item {
    let first = spans.len();
    let mut parser = RequestParser::default();
    let limits = Limits { bulk_max_bytes: BULK_MAX_BYTES, authenticated: true };
    let parsed = parser.parse(bytes, spans, limits);
    // The parser trusts a client's line ends; a disk may have zeros there.
    if let Some(at) = torn_count(bytes) {
        return Item::Damaged(at);
    }
    for span in &spans[first..] {
        let (start, end) = (span.start as usize, span.end as usize);
        if bytes[start - 2..start] != *b"\r\n" {
            return Item::Damaged(start - 2);
        }
        match bytes.get(end..end + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Item::Damaged(end),
            None => break,
        }
    }
    match parsed {
        Parsed::Request => Item::Request(parser.position()),
        Parsed::Empty => Item::Nothing(parser.position()),
        Parsed::Error(_) => Item::Damaged(parser.position()),
        Parsed::Incomplete if torn_header(bytes, &parser) => Item::Damaged(parser.position()),
        Parsed::Incomplete => Item::Incomplete,
    }
}

/// Where the line end behind the count of arguments is not right.
#[inline]
fn torn_count(bytes: &[u8]) -> Option<usize> {
    let digits = bytes[1..].iter().take(COUNT_MAX_BYTES).take_while(|byte| !matches!(byte, b'\r' | b'\n'));
    let end = 1 + digits.count();
    bytes.get(end..end + 2).filter(|found| *found != b"\r\n").map(|_| end)
}

/// Whether an incomplete request stops at bytes that no header begins with.
fn torn_header(bytes: &[u8], parser: &RequestParser) -> bool {
    if parser.missing_bytes(bytes.len()) > 0 {
        // Inside an argument, where any byte may stand.
        return false;
    }
    let Some((first, rest)) = bytes.get(parser.position()..).and_then(<[u8]>::split_first) else {
        return false;
    };
    let number = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'-')).unwrap_or(rest.len());
    !matches!(first, b'*' | b'$') || !(rest[number..].is_empty() || rest[number..] == *b"\r")
}

/// What is wrong with the end of a log (decision 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The last command stops in the middle: a write that did not finish.
    Short,
    /// From some byte on there are only zeros: blocks that were allocated and never written.
    Zeros,
    /// A transaction begins and does not end.
    OpenTransaction,
    /// Anything else: not what a crash leaves behind.
    Damaged,
}

/// Judges `tail`, the bytes from the last good command to the end of the file. Behind a checksum
/// line these may be whole commands: the batch is good as a whole or not at all.
pub fn judge_tail(tail: &[u8]) -> Tail {
    match next_item(tail, &mut Vec::new()) {
        Item::Note(len, Annotation::Checksum { bytes, crc }) => judge_batch(&tail[len..], bytes, crc),
        _ => judge_commands(tail),
    }
}

/// Judges what follows a checksum line that is not right. A batch that was not written to its end is
/// the last thing in the file; anything else is damage.
fn judge_batch(batch: &[u8], bytes: u64, crc: u64) -> Tail {
    // Exactly what was summed is there: it is the length that is wrong, not the data.
    let is_all_there = batch.len() as u64 >= bytes;
    if !is_all_there && Crc64::update(0, batch) == crc {
        return Tail::Damaged;
    }
    let (mut rest, mut spans) = (batch, Vec::new());
    loop {
        spans.clear();
        match next_item(rest, &mut spans) {
            Item::Request(len) => rest = &rest[len..],
            _ if rest.is_empty() && !is_all_there => return Tail::Short,
            _ if rest.is_empty() => return Tail::Damaged,
            // The next batch has begun, so this one is not the last.
            Item::Note(..) => return Tail::Damaged,
            Item::Incomplete if is_all_there => return Tail::Damaged,
            _ => return judge_commands(rest),
        }
    }
}

fn judge_commands(tail: &[u8]) -> Tail {
    let mut spans = Vec::new();
    if next_item(tail, &mut spans) == Item::Incomplete {
        return Tail::Short;
    }
    let content = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if content == tail.len() {
        return Tail::Damaged;
    }
    if content == 0 {
        return Tail::Zeros;
    }
    spans.clear();
    match next_item(&tail[..content], &mut spans) {
        Item::Incomplete => Tail::Zeros,
        _ => Tail::Damaged,
    }
}

/// Whether a whole command can be read somewhere behind the damage at the head of `tail`.
pub fn command_follows(tail: &[u8], is_command: impl Fn(&[u8]) -> bool) -> bool {
    let mut spans = Vec::new();
    memchr::memchr_iter(b'*', tail).filter(|position| *position > 0).any(|position| {
        spans.clear();
        let bytes = &tail[position..];
        matches!(next_item(bytes, &mut spans), Item::Request(_))
            && spans.first().is_some_and(|name| is_command(&bytes[name.start as usize..name.end as usize]))
    })
}

#[cfg(test)]
mod tests {
    use super::{Annotation, Item, Tail, command_follows, judge_tail, next_item};
    use crate::base::crc64::Crc64;

    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n";

    fn item(bytes: &[u8]) -> Item {
        next_item(bytes, &mut Vec::new())
    }

    #[test]
    fn items_are_told_apart() {
        assert_eq!(item(SET), Item::Request(SET.len()));
        assert_eq!(item(b"#TS:5\r\n*1"), Item::Note(7, Annotation::Stamp(5)));
        assert_eq!(item(b"*0\r\n"), Item::Nothing(4));
        assert_eq!(item(b"SET a b\r\n"), Item::Damaged(0), "inline commands are no log");
        assert!(matches!(item(b"*1\r\n$4\r\nPINGxx"), Item::Damaged(_)));
        assert!(matches!(item(b"*1\r\n:4\r\n"), Item::Damaged(_)));
        assert_eq!(item(b"*1\rx$4\r\nPING\r\n"), Item::Damaged(2));
        assert_eq!(item(b"*1\r\n$4\rxPING\r\n"), Item::Damaged(6));
    }

    #[test]
    fn every_cut_is_a_short_tail() {
        for cut in 1..SET.len() {
            assert_eq!(judge_tail(&SET[..cut]), Tail::Short, "{cut}");
        }
    }

    #[test]
    fn zeros_behind_every_cut_are_recognised() {
        for cut in 0..SET.len() {
            let mut tail = SET[..cut].to_vec();
            tail.resize(cut + 4096, 0);
            assert!(matches!(judge_tail(&tail), Tail::Zeros), "{cut}");
        }
    }

    #[test]
    fn a_batch_is_good_as_a_whole_or_cut_as_a_whole() {
        let stream = [SET, SET].concat();
        let line = format!("#CS:{}:{:016x}\r\n", stream.len(), Crc64::update(0, &stream)).into_bytes();
        let whole = [line.clone(), stream].concat();
        for cut in line.len()..whole.len() {
            assert_eq!(judge_tail(&whole[..cut]), Tail::Short, "cut at {cut}");
            let mut zeros = whole[..cut].to_vec();
            zeros.resize(whole.len() + 4096, 0);
            assert_eq!(judge_tail(&zeros), Tail::Zeros, "zeros from {cut} on");
        }
        for at in line.len()..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert_eq!(judge_tail(&flipped), Tail::Damaged, "a bit of byte {at}");
        }
        let longer = String::from_utf8(whole).expect("it is text").replacen("#CS:", "#CS:1", 1);
        assert_eq!(judge_tail(longer.as_bytes()), Tail::Damaged, "the data are right, the length is not");
        let another = format!("{longer}#TS:1\r\n");
        assert_eq!(judge_tail(another.as_bytes()), Tail::Damaged, "it is not the last batch");
    }

    #[test]
    fn other_damage_is_refused() {
        let mut flipped = SET.to_vec();
        flipped[0] = b'+';
        assert_eq!(judge_tail(&flipped), Tail::Damaged);
        let mut hole = SET.to_vec();
        hole[4..20].fill(0);
        assert_eq!(judge_tail(&hole), Tail::Damaged);
        let mut wrong_length = SET.to_vec();
        wrong_length[18] = b'0';
        assert_eq!(judge_tail(&wrong_length), Tail::Damaged);
    }

    #[test]
    fn a_command_behind_damage_is_found() {
        let mut tail = b"garbage*".to_vec();
        assert!(!command_follows(&tail, |_| true));
        tail.extend_from_slice(SET);
        assert!(command_follows(&tail, |name| name == b"SET"));
        assert!(!command_follows(&tail, |name| name == b"GET"));
    }
}
