//! One pass over the commands of a log: how far it is good, and what is wrong behind that.
//!
//! The file is read in blocks; nothing is kept but figures, whatever the file's size. Only the
//! bytes around the damage are read once more, for the message.

use crate::persist::aof::reader::{ANNOTATION_MAX_BYTES, Annotation, BlockReader, Item, next_item};
use crate::resp::Span;
use crate::sys::io::IoResult;
use crate::tools::check_aof::diagnose::{Diagnosis, diagnose};

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The first byte that is not right.
    pub offset: u64,
    /// The line as Redis's tool prints it.
    pub message: String,
    /// The same for people and programs.
    pub reason: String,
}

/// Where a scan has ended, and what was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// End of the last whole command outside of a transaction.
    pub good_bytes: u64,
    /// Lines read, as Redis's tool counts them: those of a command that stops in the middle too.
    pub lines: u64,
    pub commands: u64,
    pub transactions: u64,
    /// Checksum lines that were right.
    pub checksums: u64,
    /// The first and the last time stamp, Unix seconds.
    pub stamps: Option<(i64, i64)>,
    /// Where the last good command begins.
    pub last_command: Option<u64>,
    pub problem: Option<Problem>,
    /// Where the first note later than the wanted time begins.
    pub later_at: Option<u64>,
}

/// The state of a scan.
struct Scanner<'a> {
    reader: &'a mut BlockReader,
    /// What the file is called in messages: the path, and the name.
    path: &'a str,
    name: &'a str,
    until_s: Option<i64>,
    scan: Scan,
    in_transaction: bool,
    /// The last command, good or not.
    command_at: Option<u64>,
    /// Where Redis's tool began its last read: its messages name that place.
    read_at: u64,
}

/// Reads the file from where the reader stands. `progress` is told the offset after each block.
///
/// # Errors
/// The file cannot be read.
pub fn scan(
    reader: &mut BlockReader,
    (path, name): (&str, &str),
    until_s: Option<i64>,
    progress: &mut dyn FnMut(u64),
) -> IoResult<Scan> {
    let start = reader.offset();
    let scan = Scan { good_bytes: start, lines: 1, ..Scan::default() };
    let mut scanner = Scanner {
        reader,
        path,
        name,
        until_s,
        scan,
        in_transaction: false,
        command_at: None,
        read_at: start,
    };
    scanner.run(progress)?;
    Ok(scanner.scan)
}

/// How a step went.
enum Step {
    /// So many bytes are done.
    Done(usize),
    Stop,
}

impl Scanner<'_> {
    fn run(&mut self, progress: &mut dyn FnMut(u64)) -> IoResult<()> {
        let mut spans: Vec<Span> = Vec::new();
        loop {
            spans.clear();
            let step = match next_item(self.reader.bytes(), &mut spans) {
                Item::Incomplete => {
                    progress(self.reader.offset());
                    if self.reader.fill()? {
                        continue;
                    }
                    self.end();
                    Step::Stop
                }
                Item::Damaged(at) => {
                    self.fail(at);
                    Step::Stop
                }
                Item::Note(len, note) => self.note(len, note)?,
                Item::Nothing(len) => {
                    self.scan.lines += 1;
                    Step::Done(len)
                }
                Item::Request(len) => self.command(len, &spans),
            };
            let Step::Done(len) = step else { return Ok(()) };
            self.reader.consume(len);
            if !self.in_transaction {
                self.scan.good_bytes = self.reader.offset();
                self.scan.last_command = self.command_at;
            }
        }
    }

    fn note(&mut self, len: usize, note: Annotation) -> IoResult<Step> {
        let offset = self.reader.offset();
        self.read_at = offset;
        match note {
            Annotation::Stamp(stamp) => {
                if self.until_s.is_some_and(|until| stamp > until) {
                    self.scan.later_at = Some(offset);
                    return Ok(Step::Stop);
                }
                let first = self.scan.stamps.map_or(stamp, |(first, _)| first);
                self.scan.stamps = Some((first, stamp));
            }
            Annotation::Checksum { bytes, crc } => match self.reader.checksum_ahead(len, bytes)? {
                Some(found) if found == crc => self.scan.checksums += 1,
                found => {
                    self.fail_checksum(offset + len as u64, bytes, crc, found);
                    return Ok(Step::Stop);
                }
            },
            Annotation::Other => {}
        }
        Ok(Step::Done(len))
    }

    fn fail_checksum(&mut self, start: u64, bytes: u64, wanted: u64, found: Option<u64>) {
        let reason = match found {
            Some(found) => format!(
                "Wrong checksum of the {bytes} bytes from offset {start} on: {found:016x}, not {wanted:016x}"
            ),
            None => format!("The file ends before the {bytes} bytes that a checksum line stands for"),
        };
        self.problem(self.reader.offset(), reason.clone(), reason);
    }

    fn command(&mut self, len: usize, spans: &[Span]) -> Step {
        let bytes = self.reader.bytes();
        let name = &bytes[spans[0].start as usize..spans[0].end as usize];
        let (opens, closes) = (name.eq_ignore_ascii_case(b"multi"), name.eq_ignore_ascii_case(b"exec"));
        let offset = self.reader.offset();
        if (opens && self.in_transaction) || (closes && !self.in_transaction) {
            let word = if opens { "MULTI" } else { "EXEC" };
            let at = offset + u64::from(spans[0].start);
            // The arguments of such a command are not read any more.
            self.scan.lines += 3;
            self.problem(
                at,
                format!("Unexpected {word} in AOF {}", self.path),
                format!("{word} is not expected here"),
            );
            return Step::Stop;
        }
        self.scan.lines += 1 + 2 * spans.len() as u64;
        self.read_at = offset + u64::from(spans[spans.len() - 1].start);
        self.scan.commands += 1;
        self.scan.transactions += u64::from(closes);
        self.command_at = Some(offset);
        self.in_transaction = (self.in_transaction || opens) && !closes;
        Step::Done(len)
    }

    /// The end of the file, perhaps in the middle of something.
    fn end(&mut self) {
        if !self.reader.bytes().is_empty() {
            self.fail(0);
        }
        if self.in_transaction && self.scan.problem.is_none() {
            let text = "Reached EOF before reading EXEC for MULTI";
            self.problem(self.read_at, text.to_owned(), text.to_owned());
        }
    }

    /// What stands at the head is no command: says so in the words of Redis's tool.
    fn fail(&mut self, at: usize) {
        let (bytes, offset) = (self.reader.bytes(), self.reader.offset());
        match diagnose(bytes) {
            Diagnosis::Format if bytes.first() == Some(&b'#') => {
                let text = match bytes.len() < ANNOTATION_MAX_BYTES {
                    // Redis's tool lets this pass; what is appended next would belong to the line.
                    true => "The file ends in the middle of a line that begins with #".to_owned(),
                    false => format!("A line that begins with # is longer than {ANNOTATION_MAX_BYTES} bytes"),
                };
                self.problem(offset, text.clone(), text);
            }
            Diagnosis::Format => {
                let message = format!("AOF {} format error", self.name);
                let reason =
                    format!("Expected a command, got byte 0x{:02x}", bytes.first().copied().unwrap_or(0));
                self.scan.problem = Some(Problem { offset, message, reason });
            }
            Diagnosis::Silent { lines } => {
                self.scan.lines += lines;
                self.read_at = offset + bytes.len() as u64;
                if !self.in_transaction {
                    let reason = "The file ends in the middle of a command".to_owned();
                    let end = offset + bytes.len() as u64;
                    self.scan.problem = Some(Problem { offset: end, message: String::new(), reason });
                }
            }
            Diagnosis::Found { at, lines, message } => {
                self.scan.lines += lines;
                let ends_in_line = message.starts_with("Expected \\r") && !bytes[at..].contains(&b'\n');
                let reason = if ends_in_line { "The file ends in the middle of a line" } else { &message };
                let reason = reason.to_owned();
                self.problem(offset + at as u64, message, reason);
            }
            Diagnosis::Nothing => {
                let text = "Not a command that a server can have written".to_owned();
                self.problem(offset + at as u64, text.clone(), text);
            }
        }
    }

    fn problem(&mut self, offset: u64, message: String, reason: String) {
        self.scan.problem = Some(Problem { offset, message: format!("0x{offset:16x}: {message}"), reason });
    }
}
