//! The manifest of Redis 7's folder form (`appendonlydir/<name>.manifest`), as far as reading goes.
//!
//! One line per file: `file <name> seq <n> type <b|h|i> [startoffset n endoffset n]`, names quoted
//! when they need it; `#` begins a comment. Exactly one base, increments in rising order; history
//! files are ignored. Error texts are those of Redis 7.2 (facts only).

use crate::base::words;

/// Longest line, bytes, line end included.
const LINE_MAX_BYTES: usize = 1024;

/// The files to load, in order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Manifest {
    pub base: Option<String>,
    pub increments: Vec<String>,
}

/// What is wrong, and in which line (from 1; 0: the file as a whole).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    pub line: usize,
    pub text: &'static str,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`], with Redis's text.
    pub fn parse(content: &[u8]) -> Result<Manifest, ManifestError> {
        let mut manifest = Manifest::default();
        let mut sequence = 0;
        if content.is_empty() {
            return Err(ManifestError { line: 0, text: "Found an empty AOF manifest" });
        }
        for (index, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let fail = |text| ManifestError { line: index + 1, text };
            if line.len() > LINE_MAX_BYTES || (!line.ends_with(b"\n") && line.len() >= LINE_MAX_BYTES) {
                return Err(fail("The AOF manifest file contains too long line"));
            }
            if line.starts_with(b"#") {
                continue;
            }
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            manifest.take_line(line.strip_suffix(b"\r").unwrap_or(line), &mut sequence).map_err(fail)?;
        }
        Ok(manifest)
    }

    fn take_line(&mut self, line: &[u8], sequence: &mut u64) -> Result<(), &'static str> {
        const FORMAT: &str = "Invalid AOF manifest file format";
        let words = words::split(line).ok_or(FORMAT)?;
        if words.len() < 6 || words.len() % 2 != 0 {
            return Err(FORMAT);
        }
        let value = |name: &[u8]| {
            words.chunks(2).find(|pair| pair[0].eq_ignore_ascii_case(name)).map(|pair| &pair[1])
        };
        let name = value(b"file").and_then(|name| String::from_utf8(name.clone()).ok()).ok_or(FORMAT)?;
        if name.contains('/') || name.is_empty() {
            return Err("File can't be a path, just a filename");
        }
        let number = value(b"seq").and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        let number = number.filter(|number| *number > 0).ok_or(FORMAT)?;
        match value(b"type").map(Vec::as_slice) {
            Some(b"b") if self.base.is_some() => Err("Found duplicate base file information"),
            Some(b"b") => {
                self.base = Some(name);
                Ok(())
            }
            Some(b"h") => Ok(()),
            Some(b"i") if number <= *sequence => Err("Found a non-monotonic sequence number"),
            Some(b"i") => {
                *sequence = number;
                self.increments.push(name);
                Ok(())
            }
            _ => Err("Unknown AOF file type"),
        }
    }

    /// Base and increments in the order of loading.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.base.iter().chain(&self.increments).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::Manifest;

    fn failure(text: &str) -> &'static str {
        Manifest::parse(text.as_bytes()).expect_err("it is wrong").text
    }

    #[test]
    fn a_manifest_of_redis_is_read() {
        let text = "# note\nfile a.1.base.rdb seq 1 type b\nfile old seq 1 type h\nfile \"a 1\" seq 1 type i\nfile a.2 seq 2 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).expect("it is right");
        let files: Vec<&str> = manifest.files().collect();
        assert_eq!(files, ["a.1.base.rdb", "a 1", "a.2"]);
    }

    #[test]
    fn wrong_manifests_are_refused_with_the_reason() {
        assert_eq!(failure(""), "Found an empty AOF manifest");
        assert_eq!(failure("file a seq 1\n"), "Invalid AOF manifest file format");
        assert_eq!(failure("\n"), "Invalid AOF manifest file format");
        assert_eq!(failure("file ../a seq 1 type b\n"), "File can't be a path, just a filename");
        assert_eq!(
            failure("file a seq 1 type b\nfile b seq 2 type b\n"),
            "Found duplicate base file information"
        );
        assert_eq!(
            failure("file a seq 2 type i\nfile b seq 1 type i\n"),
            "Found a non-monotonic sequence number"
        );
        assert_eq!(failure("file a seq 1 type x\n"), "Unknown AOF file type");
        assert_eq!(
            failure(&format!("file {} seq 1 type b\n", "x".repeat(2000))),
            "The AOF manifest file contains too long line"
        );
    }
}
