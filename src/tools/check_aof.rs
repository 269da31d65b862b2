//! The check tool for append-only files: says how far a file is good, and cuts what is not.
//!
//! Messages are those of Redis 7.2's tool, since people and tests read them. What `--fix` and
//! `--truncate-to-timestamp` cut off is kept beside the file.

use crate::persist::aof::manifest::Manifest;
use crate::persist::aof::reader::{Annotation, BlockReader, Item, next_item};
use crate::persist::rdb::check::{CheckLine, check_file};
use crate::replay::cut;
use crate::resp::Span;
use crate::sys::io::{OsStorage, Storage, parent_dir};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest manifest that is read, bytes.
const MANIFEST_MAX_BYTES: u64 = 1 << 20;

const USAGE: &str =
    "Usage: redis-check-aof [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>";

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Check,
    Fix,
    TruncateTo(i64),
}

/// How a file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Valid,
    Empty,
    Truncated,
    TruncatedTo(i64),
}

/// The end of a run that found something wrong; the message has been printed.
#[derive(Debug)]
struct Failed;

/// Where a scan of a file's commands ended.
struct Scan {
    /// End of the last whole command outside of a transaction.
    good_bytes: u64,
    /// Lines up to there, as Redis's tool counts them.
    lines: u64,
    problem: Option<String>,
    /// Where the first note later than the wanted time begins.
    later_at: Option<u64>,
}

/// Runs the program with the process's own arguments, input and output; returns the exit status.
pub fn main() -> i32 {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    run(&arguments, &mut std::io::stdin().lock(), &mut std::io::stdout().lock())
}

/// Runs the tool: texts to `out`, the answer to a question from `input`. Returns the exit status.
pub fn run(arguments: &[String], input: &mut dyn BufRead, out: &mut dyn Write) -> i32 {
    let Some((task, path)) = parse(arguments) else {
        say(out, USAGE);
        return 1;
    };
    let mut check = Check { task, input, out, storage: OsStorage };
    match check.run(Path::new(path)) {
        Ok(()) => 0,
        Err(Failed) => 1,
    }
}

fn parse(arguments: &[String]) -> Option<(Task, &str)> {
    match arguments {
        [path] if !path.starts_with("--") => Some((Task::Check, path)),
        [option, path] if option == "--fix" => Some((Task::Fix, path)),
        [option, time, path] if option == "--truncate-to-timestamp" => {
            Some((Task::TruncateTo(time.parse().ok()?), path))
        }
        _ => None,
    }
}

fn say(out: &mut dyn Write, text: &str) {
    // Nobody reads on the other end: then nobody misses it.
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

struct Check<'a> {
    task: Task,
    input: &'a mut dyn BufRead,
    out: &'a mut dyn Write,
    storage: OsStorage,
}

impl Check<'_> {
    fn run(&mut self, path: &Path) -> Result<(), Failed> {
        if let Some(manifest) = self.manifest_of(path)? {
            return self.check_parts(path, &manifest);
        }
        say(self.out, "Start checking Old-Style AOF");
        let name = path.display().to_string();
        let verdict = self.check_file(path, &name, true)?;
        self.conclude(verdict, &name, "AOF");
        Ok(())
    }

    fn fail<T>(&mut self, text: &str) -> Result<T, Failed> {
        say(self.out, text);
        Err(Failed)
    }

    /// The manifest in the file, if it is one: a line of it begins with `file`.
    fn manifest_of(&mut self, path: &Path) -> Result<Option<Manifest>, Failed> {
        let Ok(content) = self.storage.read_whole(path, MANIFEST_MAX_BYTES) else {
            return match self.storage.metadata(path) {
                Ok(_) => Ok(None),
                Err(fault) => {
                    self.fail(&format!("Cannot open file {}: {}, aborting...", path.display(), fault.source))
                }
            };
        };
        if !content.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"file"))
            || content.starts_with(b"*")
        {
            return Ok(None);
        }
        match Manifest::parse(&content) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(failure) => self.fail(&format!("{} (line {} of the manifest)", failure.text, failure.line)),
        }
    }

    fn check_parts(&mut self, path: &Path, manifest: &Manifest) -> Result<(), Failed> {
        say(self.out, "Start checking Multi Part AOF");
        let folder = parent_dir(path);
        let total = manifest.files().count();
        for (index, name) in manifest.files().enumerate() {
            let part = folder.join(name);
            let is_base = manifest.base.as_deref() == Some(name) && index == 0;
            if is_base {
                let form = if self.begins_with_rdb(&part) { "RDB" } else { "RESP" };
                say(self.out, &format!("Start to check BASE AOF ({form} format)."));
            } else if index == usize::from(manifest.base.is_some()) {
                say(self.out, "Start to check INCR files.");
            }
            let verdict = self.check_file(&part, name, index + 1 == total)?;
            self.conclude(verdict, name, if is_base { "BASE AOF" } else { "INCR AOF" });
        }
        say(self.out, "All AOF files and manifest are valid");
        Ok(())
    }

    fn conclude(&mut self, verdict: Verdict, name: &str, kind: &str) {
        let text = match verdict {
            Verdict::Valid => format!("{kind} {name} is valid"),
            Verdict::Empty => format!("{kind} {name} is empty"),
            Verdict::Truncated => format!("Successfully truncated AOF {name}"),
            Verdict::TruncatedTo(time) => format!("Successfully truncated AOF {name} to timestamp {time}"),
        };
        say(self.out, &text);
    }

    fn begins_with_rdb(&self, path: &Path) -> bool {
        let mut magic = [0; 5];
        let read = self.storage.open_read(path).and_then(|file| file.read_at(&mut magic, 0));
        read.is_ok_and(|count| count == magic.len()) && &magic == b"REDIS"
    }

    /// Checks one file; cuts it when that was asked for and it is the last one.
    fn check_file(&mut self, path: &Path, name: &str, last: bool) -> Result<Verdict, Failed> {
        let opened = self.storage.open_read(path).and_then(|file| Ok((file.len()?, file)));
        let (size, file) = match opened {
            Ok(opened) => opened,
            Err(fault) => {
                return self.fail(&format!(
                    "Cannot open file {}: {}, aborting...",
                    path.display(),
                    fault.source
                ));
            }
        };
        if size == 0 {
            return Ok(Verdict::Empty);
        }
        let start = if self.begins_with_rdb(path) { self.check_preamble(path)? } else { 0 };
        let time = if let Task::TruncateTo(time) = self.task { Some(time) } else { None };
        let scan = match scan(&mut BlockReader::new(file, start), time) {
            Ok(scan) => scan,
            Err(fault) => {
                return self.fail(&format!("Failed to read from AOF {name}, aborting... ({fault})"));
            }
        };
        if let (Some(time), Some(offset)) = (time, scan.later_at) {
            return self.cut_at_time(path, name, offset, time, last);
        }
        self.judge(path, name, last, size, &scan)
    }

    fn check_preamble(&mut self, path: &Path) -> Result<u64, Failed> {
        let checked = self.storage.open_read(path).map_err(|fault| fault.to_string());
        let out = &mut *self.out;
        let checked = checked.and_then(|file| {
            check_file(file, &mut |line: CheckLine| {
                say(out, &format!("[offset {}] {}", line.offset, line.text))
            })
            .map_err(|failure| failure.to_string())
        });
        match checked {
            Ok(report) => {
                say(self.out, "RDB preamble is OK, proceeding with AOF tail...");
                Ok(report.bytes)
            }
            Err(reason) => {
                say(self.out, &reason);
                self.fail("RDB preamble of AOF file is not sane, aborting.")
            }
        }
    }

    fn judge(
        &mut self,
        path: &Path,
        name: &str,
        last: bool,
        size: u64,
        scan: &Scan,
    ) -> Result<Verdict, Failed> {
        if let Some(problem) = &scan.problem {
            say(self.out, problem);
        }
        let bad_bytes = size - scan.good_bytes;
        if let (0, Task::TruncateTo(time)) = (bad_bytes, self.task) {
            say(self.out, &format!("Truncate nothing in AOF {name} to timestamp {time}"));
            return Ok(Verdict::Valid);
        }
        say(
            self.out,
            &format!(
                "AOF analyzed: filename={name}, size={size}, ok_up_to={}, ok_up_to_line={}, diff={bad_bytes}",
                scan.good_bytes, scan.lines
            ),
        );
        if bad_bytes == 0 {
            return Ok(Verdict::Valid);
        }
        if self.task != Task::Fix {
            return self.fail(&format!("AOF {name} is not valid. Use the --fix option to try fixing it."));
        }
        if !last {
            return self.fail(&format!("Failed to truncate AOF {name} because it is not the last file"));
        }
        let good = scan.good_bytes;
        let question = format!(
            "This will shrink the AOF {name} from {size} bytes, with {bad_bytes} bytes, to {good} bytes\nContinue? [y/N]: "
        );
        let _ = write!(self.out, "{question}");
        let _ = self.out.flush();
        let mut answer = String::new();
        let answered = self.input.read_line(&mut answer).is_ok();
        if !answered || !answer.to_ascii_lowercase().starts_with('y') {
            return self.fail("Aborting...");
        }
        self.cut(path, name, good)?;
        Ok(Verdict::Truncated)
    }

    fn cut_at_time(
        &mut self,
        path: &Path,
        name: &str,
        offset: u64,
        time: i64,
        last: bool,
    ) -> Result<Verdict, Failed> {
        if offset == 0 {
            return self.fail(&format!("AOF {name} has nothing before timestamp {time}, aborting..."));
        }
        if !last {
            self.fail::<()>(&format!(
                "Failed to truncate AOF {name} to timestamp {time} to offset {offset} because it is not the last file."
            ))
            .ok();
            return self.fail(
                "If you insist, please delete all files after this file according to the manifest file and delete the \
                 corresponding records in manifest file manually. Then re-run redis-check-aof.",
            );
        }
        self.cut(path, name, offset)?;
        Ok(Verdict::TruncatedTo(time))
    }

    fn cut(&mut self, path: &Path, name: &str, offset: u64) -> Result<PathBuf, Failed> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        match cut(&self.storage, path, offset, now_s) {
            Ok(side) => {
                say(self.out, &format!("The bytes cut off are kept in {}", side.display()));
                Ok(side)
            }
            Err(fault) => self.fail(&format!("Failed to truncate AOF {name}: {fault}")),
        }
    }
}

fn scan(reader: &mut BlockReader, until_s: Option<i64>) -> crate::sys::io::IoResult<Scan> {
    let mut scan = Scan { good_bytes: reader.offset(), lines: 1, problem: None, later_at: None };
    let mut in_transaction = false;
    let mut lines = 1;
    let mut spans: Vec<Span> = Vec::new();
    loop {
        spans.clear();
        let len = match next_item(reader.bytes(), &mut spans) {
            Item::Incomplete if reader.fill()? => continue,
            Item::Incomplete if reader.bytes().is_empty() => {
                if in_transaction {
                    scan.problem = Some(place(reader.offset(), "Reached EOF before reading EXEC for MULTI"));
                }
                break;
            }
            Item::Incomplete => {
                scan.problem = Some(place(reader.offset(), "The file ends in the middle of a command"));
                break;
            }
            Item::Damaged(at) => {
                let byte = reader.bytes().get(at).copied().unwrap_or(0);
                let text = format!("Expected a command, got byte 0x{byte:02x}: AOF format error");
                scan.problem = Some(place(reader.offset() + at as u64, &text));
                break;
            }
            Item::Note(len, note) => {
                if let (Annotation::Stamp(stamp), Some(until)) = (note, until_s)
                    && stamp > until
                {
                    scan.later_at = Some(reader.offset());
                    return Ok(scan);
                }
                len
            }
            Item::Nothing(len) => len,
            Item::Request(len) => {
                lines += 1 + 2 * spans.len() as u64;
                let name = &reader.bytes()[spans[0].start as usize..spans[0].end as usize];
                let (opens, closes) =
                    (name.eq_ignore_ascii_case(b"multi"), name.eq_ignore_ascii_case(b"exec"));
                if (opens && in_transaction) || (closes && !in_transaction) {
                    let text = if opens { "Unexpected MULTI in AOF" } else { "Unexpected EXEC in AOF" };
                    scan.problem = Some(place(reader.offset(), text));
                    break;
                }
                in_transaction = (in_transaction || opens) && !closes;
                len
            }
        };
        reader.consume(len);
        if !in_transaction {
            (scan.good_bytes, scan.lines) = (reader.offset(), lines);
        }
    }
    Ok(scan)
}

fn place(offset: u64, text: &str) -> String {
    format!("0x{offset:16x}: {text}")
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::path::{Path, PathBuf};

    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";

    fn tool(arguments: &[&str], answer: &str) -> (i32, String) {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let mut out = Vec::new();
        let status = run(&arguments, &mut answer.as_bytes(), &mut out);
        (status, String::from_utf8(out).expect("the tool prints text"))
    }

    fn file(folder: &Path, content: &str) -> PathBuf {
        let path = folder.join("a.aof");
        std::fs::write(&path, content).expect("the folder is writable");
        path
    }

    #[test]
    fn a_good_file_is_valid_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = file(folder.path(), SET);
        let name = path.to_str().expect("the path is text");
        let (status, text) = tool(&[name], "");
        assert_eq!((status, text.contains("is valid")), (0, true), "{text}");
        std::fs::write(&path, format!("{SET}{}", &SET[..12])).expect("the folder is writable");
        let (status, text) = tool(&[name], "");
        assert_eq!((status, text.contains("is not valid")), (1, true), "{text}");
        assert!(text.contains(&format!("ok_up_to={}, ok_up_to_line=8, diff=12", SET.len())), "{text}");
    }

    #[test]
    fn a_fix_asks_cuts_and_keeps_the_bytes() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = file(folder.path(), &format!("{SET}*1\r\n$5\r\nMULTI\r\n{SET}"));
        let name = path.to_str().expect("the path is text");
        let (status, text) = tool(&["--fix", name], "n\n");
        assert_eq!((status, text.contains("Aborting...")), (1, true), "{text}");
        let (status, text) = tool(&["--fix", name], "y\n");
        assert_eq!((status, text.contains("Successfully truncated AOF")), (0, true), "{text}");
        assert_eq!(std::fs::read(&path).expect("it is there"), SET.as_bytes());
        let beside = std::fs::read_dir(folder.path()).expect("it is there").flatten();
        let kept = beside.filter(|entry| entry.file_name().to_string_lossy().contains(".cut-")).count();
        assert_eq!(kept, 1);
    }

    #[test]
    fn a_file_is_cut_at_a_time() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = file(folder.path(), &format!("#TS:10\r\n{SET}#TS:20\r\n{SET}"));
        let name = path.to_str().expect("the path is text");
        let (status, text) = tool(&["--truncate-to-timestamp", "5", name], "");
        assert_eq!((status, text.contains("nothing before timestamp 5")), (1, true), "{text}");
        let (status, text) = tool(&["--truncate-to-timestamp", "15", name], "");
        assert_eq!((status, text.contains("to timestamp 15")), (0, true), "{text}");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), format!("#TS:10\r\n{SET}"));
        let (status, text) = tool(&["--truncate-to-timestamp", "15", name], "");
        assert_eq!((status, text.contains("Truncate nothing in AOF")), (0, true), "{text}");
    }

    #[test]
    fn the_parts_of_a_manifest_are_checked() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        file(folder.path(), SET);
        let manifest = folder.path().join("m.manifest");
        std::fs::write(&manifest, "file a.aof seq 1 type b\nfile b.aof seq 1 type i\n").expect("writable");
        std::fs::write(folder.path().join("b.aof"), SET).expect("the folder is writable");
        let (status, text) = tool(&[manifest.to_str().expect("the path is text")], "");
        assert_eq!(status, 0, "{text}");
        assert!(
            text.contains("BASE AOF a.aof is valid") && text.contains("INCR AOF b.aof is valid"),
            "{text}"
        );
        assert!(text.contains("All AOF files and manifest are valid"), "{text}");
    }
}
