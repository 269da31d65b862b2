//! The file `MANIFEST` of a backup: what is in it, and checksums of everything, itself included.
//!
//! ```text
//!  tine-backup 2                                  format
//!  kind aof                                       or rdb
//!  name backup-20261121T153400.123Z
//!  unix-ms 1795275240123                          the moment whose data it holds
//!  tine-version 0.1.0
//!  run-id 9d0f...                                 of the server; - for a stopped one
//!  databases 16                                   - when not known
//!  keys 1200                                      - when not known
//!  expires 40                                     of these, with a time to live
//!  field-expires 3                                hashes with fields that have one; not in format 1
//!  file appendonly.aof 52340 00112233aabbccdd     name, bytes, CRC-64
//!  end 0123456789abcdef                           CRC-64 of all lines above
//! ```
//! CRC-64 is CRC-64/XZ, and not that of Redis's files: an RDB ends in its own checksum, so that over
//! any whole RDB Redis's CRC-64 is 0, as it is over zeros. Text, so that it can be read when nothing else works;
//! every line is required once, `file` at least once.

use crate::persist::backup::name_at;
use crc64fast::Digest;
use std::fmt::{self, Write};

/// The file's name.
pub const FILE_NAME: &str = "MANIFEST";
/// Longest manifest that is read, bytes: a handful of short lines.
pub const MAX_BYTES: u64 = 64 * 1024;
const FORMAT: &str = "tine-backup 2";
/// The one before it, which is still read: it lacks `field-expires`.
const FORMAT_1: &str = "tine-backup 1";

/// What a backup is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupKind {
    /// A copy of the append-only file.
    Log,
    /// An RDB file.
    Snapshot,
}

impl BackupKind {
    pub const fn name(self) -> &'static str {
        match self {
            BackupKind::Log => "aof",
            BackupKind::Snapshot => "rdb",
        }
    }

    fn from_name(name: &str) -> Option<BackupKind> {
        [BackupKind::Log, BackupKind::Snapshot].into_iter().find(|kind| kind.name() == name)
    }
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFile {
    /// Without a folder.
    pub name: String,
    pub bytes: u64,
    pub crc: u64,
}

/// See the module header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub kind: BackupKind,
    pub name: String,
    pub unix_ms: i64,
    pub tine_version: String,
    pub run_id: Option<String>,
    pub databases: Option<u64>,
    pub keys: Option<u64>,
    pub expires: Option<u64>,
    /// Hashes that may go away because their last field expires.
    pub field_expires: Option<u64>,
    pub files: Vec<BackupFile>,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// A checksum, or the end of the file, is not what it was.
    Damaged,
    /// A line that does not belong there.
    Line(usize),
    /// Written by a later version.
    Format(String),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManifestError::Damaged => write!(out, "the {FILE_NAME} is damaged: its checksum does not fit"),
            ManifestError::Line(line) => write!(out, "line {line} of the {FILE_NAME} is not as it must be"),
            ManifestError::Format(found) => write!(out, "the {FILE_NAME} has another format: {found:?}"),
        }
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut digest = Digest::new();
    digest.write(bytes);
    digest.sum64()
}

fn or_dash(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

impl Manifest {
    /// Of a backup that begins at `unix_ms`: no files yet, nothing known of the data.
    pub fn begun(kind: BackupKind, unix_ms: i64, tine_version: &str) -> Manifest {
        Manifest {
            kind,
            name: name_at(unix_ms),
            unix_ms,
            tine_version: tine_version.to_owned(),
            run_id: None,
            databases: None,
            keys: None,
            expires: None,
            field_expires: None,
            files: Vec::new(),
        }
    }

    /// Length of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The content of the file.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{FORMAT}\nkind {}\nname {}\nunix-ms {}\ntine-version {}\nrun-id {}\ndatabases {}\nkeys {}\nexpires {}\n\
             field-expires {}\n",
            self.kind.name(),
            self.name,
            self.unix_ms,
            self.tine_version,
            or_dash(self.run_id.as_ref()),
            or_dash(self.databases),
            or_dash(self.keys),
            or_dash(self.expires),
            or_dash(self.field_expires)
        );
        for file in &self.files {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "file {} {} {:016x}", file.name, file.bytes, file.crc);
        }
        let crc = checksum(text.as_bytes());
        let _ = writeln!(text, "end {crc:016x}");
        text
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// [`ManifestError`]. One flipped bit anywhere is found.
    pub fn parse(content: &[u8]) -> Result<Manifest, ManifestError> {
        let text = std::str::from_utf8(content).map_err(|_| ManifestError::Damaged)?;
        let body_bytes = text.rfind("end ").ok_or(ManifestError::Damaged)?;
        let (body, end) = text.split_at(body_bytes);
        if end != format!("end {:016x}\n", checksum(body.as_bytes())) {
            return Err(ManifestError::Damaged);
        }
        let mut lines = body.lines();
        let format = lines.next().unwrap_or_default();
        if format != FORMAT && format != FORMAT_1 {
            return Err(ManifestError::Format(format.to_owned()));
        }
        let mut lines = Lines { lines, number: 1 };
        let kind = lines.value("kind")?;
        let kind = BackupKind::from_name(kind).ok_or(ManifestError::Line(lines.number))?;
        let name = lines.value("name")?.to_owned();
        let unix_ms = lines.value("unix-ms")?;
        let unix_ms = unix_ms.parse().map_err(|_| ManifestError::Line(lines.number))?;
        let tine_version = lines.value("tine-version")?.to_owned();
        let run_id = Some(lines.value("run-id")?).filter(|id| *id != "-").map(str::to_owned);
        let (databases, keys, expires) =
            (lines.count("databases")?, lines.count("keys")?, lines.count("expires")?);
        let field_expires = if format == FORMAT { lines.count("field-expires")? } else { None };
        let files = lines.files()?;
        Ok(Manifest {
            kind,
            name,
            unix_ms,
            tine_version,
            run_id,
            databases,
            keys,
            expires,
            field_expires,
            files,
        })
    }
}

/// The lines behind the first, in their order.
struct Lines<'a> {
    lines: std::str::Lines<'a>,
    /// Of the line read last, from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    fn value(&mut self, name: &str) -> Result<&'a str, ManifestError> {
        self.number += 1;
        let line = self.lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.ok_or(ManifestError::Line(self.number))
    }

    fn count(&mut self, name: &str) -> Result<Option<u64>, ManifestError> {
        match self.value(name)? {
            "-" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| ManifestError::Line(self.number)),
        }
    }

    fn files(&mut self) -> Result<Vec<BackupFile>, ManifestError> {
        let mut files = Vec::new();
        for line in self.lines.by_ref() {
            self.number += 1;
            files.push(file_of(line).ok_or(ManifestError::Line(self.number))?);
        }
        if files.is_empty() { Err(ManifestError::Line(self.number + 1)) } else { Ok(files) }
    }
}

/// A file's line. A name with a folder in it could lead a restore astray.
fn file_of(line: &str) -> Option<BackupFile> {
    let mut words = line.strip_prefix("file ")?.split(' ');
    let (name, bytes, crc) = (words.next()?, words.next()?, words.next()?);
    if name.is_empty() || name.contains('/') || name.starts_with('.') || words.next().is_some() {
        return None;
    }
    let (bytes, crc) = (bytes.parse().ok()?, u64::from_str_radix(crc, 16).ok()?);
    Some(BackupFile { name: name.to_owned(), bytes, crc })
}

#[cfg(test)]
mod tests {
    use super::{BackupFile, BackupKind, Manifest, ManifestError, checksum};

    fn example() -> Manifest {
        Manifest {
            kind: BackupKind::Log,
            name: "backup-20231114T221320.000Z".to_owned(),
            unix_ms: 1_700_000_000_000,
            tine_version: "0.1.0".to_owned(),
            run_id: Some("ab".repeat(20)),
            databases: Some(16),
            keys: Some(1200),
            expires: None,
            field_expires: Some(3),
            files: vec![BackupFile { name: "appendonly.aof".to_owned(), bytes: 77, crc: 0x1234 }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let manifest = example();
        assert_eq!(Manifest::parse(manifest.to_text().as_bytes()), Ok(manifest));
        let bare =
            Manifest { run_id: None, databases: None, keys: None, kind: BackupKind::Snapshot, ..example() };
        assert_eq!(Manifest::parse(bare.to_text().as_bytes()), Ok(bare));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let text = example().to_text().into_bytes();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone();
                damaged[at] ^= 1 << bit;
                assert!(Manifest::parse(&damaged).is_err(), "byte {at}, bit {bit}");
            }
            assert!(Manifest::parse(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_and_other_formats_are_refused() {
        let signed = |body: &str| format!("{body}end {:016x}\n", checksum(body.as_bytes()));
        let text = example().to_text();
        let (body, _) = text.split_at(text.rfind("end ").expect("it has an end"));
        for name in ["../dump.rdb", "a/b", ".hidden", ""] {
            let other = signed(&body.replace("appendonly.aof", name));
            assert_eq!(Manifest::parse(other.as_bytes()), Err(ManifestError::Line(11)), "{name:?}");
        }
        let later = signed(&body.replace("tine-backup 2", "tine-backup 3"));
        assert_eq!(Manifest::parse(later.as_bytes()), Err(ManifestError::Format("tine-backup 3".to_owned())));
        let first = body.replace("tine-backup 2", "tine-backup 1").replace("field-expires 3\n", "");
        let read = Manifest::parse(signed(&first).as_bytes());
        assert_eq!(read, Ok(Manifest { field_expires: None, ..example() }));
        let lacking = signed(&body.replace("keys 1200\n", ""));
        assert_eq!(Manifest::parse(lacking.as_bytes()), Err(ManifestError::Line(8)));
    }
}
