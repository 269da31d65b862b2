//! The `#` lines of an AOF: time stamps and checksums.
//!
//! ```text
//!  #TS:<unix seconds>\r\n                 what follows was written at or after this time (Redis 7.0)
//!  #CS:<bytes>:<16 hex digits>\r\n        CRC-64 of the next <bytes> bytes (our own)
//! ```
//! Both stand between commands, never inside a transaction, since a batch holds whole units. The
//! checksum stands before what it covers, so that a damaged batch is found before it is executed.

use crate::base::crc64::Crc64;
use crate::persist::aof::AofSettings;
use std::io::Write;

/// Longest annotation line, bytes, line end included (as in Redis).
pub const ANNOTATION_MAX_BYTES: usize = 1024;

/// What has been annotated so far.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    last_stamp_s: i64,
}

impl Annotations {
    /// Appends `stream` to `batch` with the lines that the settings ask for.
    pub fn add(&mut self, batch: &mut Vec<u8>, stream: &[u8], settings: &AofSettings, unix_s: i64) {
        if settings.timestamps && unix_s > self.last_stamp_s {
            self.last_stamp_s = unix_s;
            write!(batch, "#TS:{unix_s}\r\n").expect("a vector takes all");
        }
        if settings.checksums {
            write!(batch, "#CS:{}:{:016x}\r\n", stream.len(), Crc64::update(0, stream))
                .expect("a vector takes all");
        }
        batch.extend_from_slice(stream);
    }
}

/// An annotation line as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotation {
    /// Unix seconds.
    Stamp(i64),
    /// CRC-64 of the next so many bytes.
    Checksum { bytes: u64, crc: u64 },
    /// A comment, or a line of a later version.
    Other,
}

/// Reads a line that begins with `#`, without its line end.
pub fn parse(line: &[u8]) -> Annotation {
    parse_stamp(line).or_else(|| parse_checksum(line)).unwrap_or(Annotation::Other)
}

fn parse_stamp(line: &[u8]) -> Option<Annotation> {
    let digits = std::str::from_utf8(line.strip_prefix(b"#TS:")?).ok()?;
    digits.parse().ok().map(Annotation::Stamp)
}

fn parse_checksum(line: &[u8]) -> Option<Annotation> {
    let text = std::str::from_utf8(line.strip_prefix(b"#CS:")?).ok()?;
    let (bytes, crc) = text.split_once(':')?;
    Some(Annotation::Checksum { bytes: bytes.parse().ok()?, crc: u64::from_str_radix(crc, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use super::{Annotation, Annotations, parse};
    use crate::base::crc64::Crc64;
    use crate::persist::aof::AofSettings;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let settings = AofSettings { timestamps: true, checksums: true, ..AofSettings::default() };
        let mut batch = Vec::new();
        Annotations::default().add(&mut batch, b"*1\r\n$4\r\nPING\r\n", &settings, 77);
        let text = String::from_utf8(batch).expect("the batch is text");
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(parse(lines[0].as_bytes()), Annotation::Stamp(77));
        let crc = Crc64::update(0, b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(parse(lines[1].as_bytes()), Annotation::Checksum { bytes: 14, crc });
        assert_eq!(lines[2], "*1");
        assert_eq!(parse(b"# a note"), Annotation::Other);
        assert_eq!(parse(b"#CS:x:1"), Annotation::Other);
    }
}
