//! tine-check-aof: says how far an append-only file is good, and cuts what is not.
//!
//! | file | what |
//! | --- | --- |
//! | `mod` | the command line, and the order of things |
//! | `scan` | one pass over the commands of a file |
//! | `diagnose` | what Redis's tool says of damaged bytes |
//! | `excerpt` | what people see of the file |
//!
//! Messages and exit statuses are those of Redis 7.2's tool, since people and tests read them; what
//! it does not say (the bytes at the damage, the last good command, times) stands between them. What
//! `--fix` and `--truncate-to-timestamp` cut off is kept beside the file.

mod diagnose;
mod excerpt;
mod scan;

use crate::base::clock::unix_ms_now;
use crate::base::timestamp::{parse_unix_s, rfc3339};
use crate::persist::aof::manifest::Manifest;
use crate::persist::aof::reader::BlockReader;
use crate::persist::backup::BackupFault;
use crate::persist::rdb::check::{CheckLine, Observer, check_file};
use crate::persist::rdb::error::RdbErrorKind;
use crate::replay::cut;
use crate::sys::io::{OsStorage, Storage, StorageFile, parent_dir};
use crate::tools::check_aof::scan::{Problem, Scan, scan};
use crate::tools::check_rdb;
use crate::tools::progress::Progress;
use crate::tools::version_line;
use serde_json::{Value as Json, json};
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

/// Longest manifest that is read, bytes.
const MANIFEST_MAX_BYTES: u64 = 1 << 20;

const USAGE: &str = "Usage: tine-check-aof [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>\n\
                     See tine-check-aof --help";

const HELP: &str = "\
Usage: tine-check-aof [options] <file.aof|file.manifest|folder>

Reads an append-only file, or all parts of a Redis 7 folder, and says how far
it is good: commands, transactions, an RDB at the beginning, time stamps and
checksum lines.

  --fix             cut the (last) file where it stops being good; asks before
  --truncate-to-timestamp <time>
                    cut it behind a time: Unix seconds, or 2026-11-21T18:00:00Z
                    (needs a file written with aof-timestamp-enabled yes)
  --yes             do not ask
  --json            one JSON object instead of text; with --fix it needs --yes
  -h, --help        this text
  -v, --version     the version

Nothing is destroyed: what is cut off is kept beside the file, in
<file>.cut-<unix time>-<offset>. Stop the server before you cut its file.

Exit status: 0 the file is good (or is good now), 1 not so.";

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Check,
    Fix,
    TruncateTo(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    task: Task,
    path: PathBuf,
    json: bool,
    yes: bool,
}

enum Command {
    Check(Options),
    Help,
    Version,
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
enum Failed {
    /// The file is not good.
    Bad,
    /// The file cannot be read, so nobody knows.
    Unreadable,
}

/// One file of the log.
struct Part<'a> {
    path: &'a Path,
    /// As messages name it: of a manifest's parts the name alone.
    name: &'a str,
    kind: &'static str,
    /// Only the last file of a log may be cut.
    last: bool,
    size: u64,
}

/// Runs the program with the process's own arguments, input and output; returns the exit status.
pub fn main() -> i32 {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    run(&arguments, &mut std::io::stdin().lock(), &mut std::io::stdout().lock())
}

/// Runs the tool: texts to `out`, the answer to a question from `input`. Returns the exit status.
pub fn run(arguments: &[OsString], input: &mut dyn BufRead, out: &mut dyn Write) -> i32 {
    let options = match parse(arguments) {
        Ok(Command::Check(options)) => options,
        Ok(Command::Help) => return say(out, HELP),
        Ok(Command::Version) => return say(out, &version_line("tine-check-aof")),
        Err(reason) => {
            say(out, &format!("{reason}{USAGE}"));
            return 1;
        }
    };
    let mut check = Check::new(&options, input, out);
    let outcome = check.run(&options.path);
    if options.json {
        check.print_json(outcome.is_ok());
    }
    i32::from(outcome.is_err())
}

/// Checks one file that is known to be a log, whatever its content looks like.
///
/// # Errors
/// Where it stops being good, or why it cannot be read.
pub fn check_single(path: &Path) -> Result<(), BackupFault> {
    let options = Options { task: Task::Check, path: path.to_path_buf(), json: false, yes: false };
    let (mut input, mut text) = (std::io::empty(), Vec::new());
    let outcome = Check::new(&options, &mut input, &mut text).check_file(path, "file", "AOF", true);
    let Err(failed) = outcome else { return Ok(()) };
    let text = String::from_utf8_lossy(&text);
    // Where there is no such line (a damaged preamble), the last lines say it.
    let place = text.lines().find_map(|line| line.strip_prefix("[info] First bad byte "));
    let reason = place.or_else(|| text.lines().rev().take(3).last()).unwrap_or_default().to_owned();
    Err(match failed {
        Failed::Bad => BackupFault::Damaged(reason),
        Failed::Unreadable => BackupFault::Unreadable(reason),
    })
}

/// # Errors
/// A line that says why, or nothing where the usage says it all.
fn parse(arguments: &[OsString]) -> Result<Command, String> {
    use lexopt::Arg::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    let mut options = Options { task: Task::Check, path: PathBuf::new(), json: false, yes: false };
    let text = |failure: lexopt::Error| format!("{failure}\n");
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('v') | Long("version") => return Ok(Command::Version),
            Long("json") => options.json = true,
            Long("yes") => options.yes = true,
            Long("fix") if options.task == Task::Check => options.task = Task::Fix,
            Long("truncate-to-timestamp") if options.task == Task::Check => {
                let value = parser.value().map_err(text)?;
                let time = value.to_str().and_then(parse_unix_s);
                options.task = Task::TruncateTo(time.ok_or("Invalid timestamp, aborting...\n")?);
            }
            Value(name) if options.path.as_os_str().is_empty() => options.path = name.into(),
            other => return Err(text(other.unexpected())),
        }
    }
    if options.path.as_os_str().is_empty() {
        return Err(String::new());
    }
    if options.json && options.task == Task::Fix && !options.yes {
        return Err("--json with --fix cannot ask: add --yes\n".to_owned());
    }
    Ok(Command::Check(options))
}

/// Prints a line; gives the exit status of a run that only had to print it.
fn say(out: &mut dyn Write, text: &str) -> i32 {
    // Nobody reads on the other end: then nobody misses it.
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
    0
}

struct Check<'a> {
    options: &'a Options,
    input: &'a mut dyn BufRead,
    out: &'a mut dyn Write,
    storage: OsStorage,
    /// With `--json`: what would have been printed.
    said: Vec<String>,
    /// What was found of each file.
    files: Vec<Json>,
    /// What is known of the age of what was read.
    dates: Dates,
}

/// What tells when the data that were read so far were written.
#[derive(Clone, Copy, Debug, Default)]
struct Dates {
    /// There was a time stamp.
    stamped: bool,
    /// There was an RDB that names its time.
    created: bool,
    /// There were commands.
    commands: bool,
}

impl Dates {
    /// Nothing says how old some of the data are.
    fn are_unknown(self) -> bool {
        !self.stamped && (self.commands || !self.created)
    }
}

impl<'a> Check<'a> {
    fn new(options: &'a Options, input: &'a mut dyn BufRead, out: &'a mut dyn Write) -> Check<'a> {
        let dates = Dates::default();
        Check { options, input, out, storage: OsStorage, said: Vec::new(), files: Vec::new(), dates }
    }

    fn run(&mut self, path: &Path) -> Result<(), Failed> {
        let path = self.manifest_in(path)?;
        let path = path.as_path();
        if let Some(manifest) = self.manifest_of(path)? {
            return self.check_parts(path, &manifest);
        }
        self.say("Start checking Old-Style AOF");
        let name = path.display().to_string();
        let verdict = self.check_file(path, &name, "AOF", true)?;
        self.conclude(verdict, &name, "AOF");
        Ok(())
    }

    fn say(&mut self, text: &str) {
        if self.options.json {
            self.said.push(text.to_owned());
        } else {
            say(self.out, text);
        }
    }

    fn fail<T>(&mut self, text: &str) -> Result<T, Failed> {
        self.say(text);
        Err(Failed::Bad)
    }

    fn cannot_open<T>(&mut self, path: &Path, fault: &crate::sys::io::IoFault) -> Result<T, Failed> {
        self.say(&format!("Cannot open file {}: {}, aborting...", path.display(), fault.source));
        Err(Failed::Unreadable)
    }

    /// The manifest of a folder; any other path as it is.
    fn manifest_in(&mut self, path: &Path) -> Result<PathBuf, Failed> {
        match self.storage.metadata(path) {
            Ok(found) if found.is_dir => {}
            Ok(_) => return Ok(path.to_path_buf()),
            Err(fault) => return self.cannot_open(path, &fault),
        }
        let names = match self.storage.list_dir(path) {
            Ok(names) => names,
            Err(fault) => return self.cannot_open(path, &fault),
        };
        let mut manifests = names.iter().filter(|name| name.to_string_lossy().ends_with(".manifest"));
        match (manifests.next(), manifests.next()) {
            (Some(name), None) => Ok(path.join(name)),
            (None, _) => self.fail(&format!("The folder {} holds no manifest", path.display())),
            _ => self.fail(&format!("The folder {} holds several manifests: name one", path.display())),
        }
    }

    /// The manifest in the file, if it is one: its first line that is no comment begins with `file`.
    /// An argument in a log may begin so too.
    fn manifest_of(&mut self, path: &Path) -> Result<Option<Manifest>, Failed> {
        let Ok(content) = self.storage.read_whole(path, MANIFEST_MAX_BYTES) else { return Ok(None) };
        let is_log =
            [&b"*"[..], b"REDIS", b"VALKEY", b"#TS:", b"#CS:"].iter().any(|head| content.starts_with(head));
        let mut lines = content.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"));
        if is_log || !lines.next().is_some_and(|line| line.starts_with(b"file")) {
            return Ok(None);
        }
        match Manifest::parse(&content) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(failure) => self.fail(&format!("{} (line {} of the manifest)", failure.text, failure.line)),
        }
    }

    fn check_parts(&mut self, path: &Path, manifest: &Manifest) -> Result<(), Failed> {
        self.say("Start checking Multi Part AOF");
        let folder = parent_dir(path);
        let total = manifest.files().count();
        for (index, name) in manifest.files().enumerate() {
            let part = folder.join(name);
            let is_base = manifest.base.as_deref() == Some(name) && index == 0;
            let kind = if is_base { "BASE AOF" } else { "INCR AOF" };
            if is_base {
                let form = if self.begins_with_rdb(&part) { "RDB" } else { "RESP" };
                self.say(&format!("Start to check BASE AOF ({form} format)."));
            } else if index == usize::from(manifest.base.is_some()) {
                self.say("Start to check INCR files.");
            }
            let verdict = self.check_file(&part, name, kind, index + 1 == total)?;
            self.conclude(verdict, name, kind);
        }
        self.say("All AOF files and manifest are valid");
        Ok(())
    }

    fn conclude(&mut self, verdict: Verdict, name: &str, kind: &str) {
        let text = match verdict {
            Verdict::Valid => format!("{kind} {name} is valid"),
            Verdict::Empty => format!("{kind} {name} is empty"),
            Verdict::Truncated => format!("Successfully truncated AOF {name}"),
            Verdict::TruncatedTo(time) => format!("Successfully truncated AOF {name} to timestamp {time}"),
        };
        self.say(&text);
    }

    fn begins_with_rdb(&self, path: &Path) -> bool {
        let mut magic = [0; 5];
        let read = self.storage.open_read(path).and_then(|file| file.read_at(&mut magic, 0));
        read.is_ok_and(|count| count == magic.len()) && &magic == b"REDIS"
    }

    /// Checks one file; cuts it when that was asked for and it is the last one.
    fn check_file(
        &mut self,
        path: &Path,
        name: &str,
        kind: &'static str,
        last: bool,
    ) -> Result<Verdict, Failed> {
        let opened = self.storage.open_read(path).and_then(|file| Ok((file.len()?, file)));
        let (size, file) = match opened {
            Ok(opened) => opened,
            Err(fault) => return self.cannot_open(path, &fault),
        };
        let part = Part { path, name, kind, last, size };
        if size == 0 {
            self.files.push(json!({ "name": name, "kind": kind, "size": 0, "ok": true }));
            return Ok(Verdict::Empty);
        }
        let start = if self.begins_with_rdb(path) { self.check_preamble(&part)? } else { 0 };
        let time = if let Task::TruncateTo(time) = self.options.task { Some(time) } else { None };
        let scan = match self.scan(&part, file, start, time) {
            Ok(scan) => scan,
            Err(fault) => {
                self.say(&format!("Failed to read from AOF {name}, aborting... ({fault})"));
                return Err(Failed::Unreadable);
            }
        };
        self.note_file(&part, start, &scan);
        if let Some(time) = time {
            self.check_dates(&part, &scan, time)?;
        }
        if let (Some(time), Some(offset)) = (time, scan.later_at) {
            return self.cut_at_time(&part, offset, time);
        }
        self.judge(&part, &scan)
    }

    fn scan(
        &self,
        part: &Part<'_>,
        file: Box<dyn StorageFile>,
        start: u64,
        until_s: Option<i64>,
    ) -> crate::sys::io::IoResult<Scan> {
        let mut progress = Progress::new(part.size);
        let names = (&*part.path.to_string_lossy(), part.name);
        scan(&mut BlockReader::new(file, start), names, until_s, &mut |offset| progress.at(offset))
    }

    fn check_preamble(&mut self, part: &Part<'_>) -> Result<u64, Failed> {
        self.say(&format!("[offset 0] Checking RDB file {}", part.path.display()));
        let file = match self.storage.open_read(part.path) {
            Ok(file) => file,
            Err(fault) => return self.cannot_open(part.path, &fault),
        };
        let mut preamble = Preamble { lines: Vec::new(), progress: Progress::new(part.size) };
        let checked = check_file(file, &mut preamble);
        preamble.progress.clear();
        preamble.lines.iter().for_each(|line| self.say(line));
        let mut text = Vec::new();
        // A vector takes all.
        let _ = check_rdb::print_outcome(&mut text, &checked);
        self.say(String::from_utf8_lossy(&text).trim_end());
        match checked {
            Ok(report) => {
                self.say("RDB preamble is OK, proceeding with AOF tail...");
                self.check_created(part, report.created_s)?;
                Ok(report.bytes)
            }
            Err(failure) => {
                self.files.push(json!({
                    "name": part.name, "kind": part.kind, "size": part.size, "ok": false,
                    "problem": check_rdb::json_of_error(&failure),
                }));
                self.say("RDB preamble of AOF file is not sane, aborting.");
                Err(match failure.error.kind {
                    RdbErrorKind::Io(_) => Failed::Unreadable,
                    _ => Failed::Bad,
                })
            }
        }
    }

    fn judge(&mut self, part: &Part<'_>, scan: &Scan) -> Result<Verdict, Failed> {
        let Part { name, size, .. } = *part;
        if let Some(problem) = scan.problem.as_ref().filter(|problem| !problem.message.is_empty()) {
            self.say(&problem.message);
        }
        let (good, bad_bytes) = (scan.good_bytes, size - scan.good_bytes);
        if let (0, Task::TruncateTo(time)) = (bad_bytes, self.options.task) {
            self.say(&format!("Truncate nothing in AOF {name} to timestamp {time}"));
            return Ok(Verdict::Valid);
        }
        self.say(&format!(
            "AOF analyzed: filename={name}, size={size}, ok_up_to={good}, ok_up_to_line={}, diff={bad_bytes}",
            scan.lines
        ));
        self.say(&figures(scan));
        if bad_bytes == 0 {
            return Ok(Verdict::Valid);
        }
        if let Some(problem) = &scan.problem {
            self.explain(part, scan, problem);
        }
        if self.options.task != Task::Fix {
            return self.fail(&format!("AOF {name} is not valid. Use the --fix option to try fixing it."));
        }
        if !part.last {
            return self.fail(&format!("Failed to truncate AOF {name} because it is not the last file"));
        }
        self.say(&format!(
            "This will shrink the AOF {name} from {size} bytes, with {bad_bytes} bytes, to {good} bytes"
        ));
        if !self.options.yes && !self.ask() {
            return self.fail("Aborting...");
        }
        self.cut(part, good)?;
        Ok(Verdict::Truncated)
    }

    /// The bytes at the damage, and the last command before it.
    fn explain(&mut self, part: &Part<'_>, scan: &Scan, problem: &Problem) {
        self.say(&format!(
            "[info] First bad byte at offset {}, line {}: {}",
            problem.offset, scan.lines, problem.reason
        ));
        // The message stands without them too.
        let Ok(file) = self.storage.open_read(part.path) else { return };
        let rows = excerpt::around(&*file, problem.offset).unwrap_or_default();
        rows.iter().for_each(|row| self.say(row));
        let Some(offset) = scan.last_command else { return };
        if let Ok(text) = excerpt::command_at(&*file, offset) {
            self.say(&format!("[info] Last good command at offset {offset}: {text}"));
        }
    }

    fn ask(&mut self) -> bool {
        let _ = write!(self.out, "Continue? [y/N]: ");
        let _ = self.out.flush();
        let mut answer = String::new();
        self.input.read_line(&mut answer).is_ok() && answer.to_ascii_lowercase().starts_with('y')
    }

    /// Without a stamp nothing tells which commands are older than the wanted time.
    fn check_dates(&mut self, part: &Part<'_>, scan: &Scan, time: i64) -> Result<(), Failed> {
        self.dates.stamped |= scan.stamps.is_some();
        self.dates.commands |= scan.commands > 0;
        // A later stamp at the very beginning has a message of its own.
        if !part.last || scan.later_at == Some(0) || !self.dates.are_unknown() {
            return Ok(());
        }
        self.fail(&format!(
            "AOF {} has no time stamp up to timestamp {time}: nothing tells how old its commands are, aborting...",
            part.name
        ))
    }

    /// What an RDB at the beginning holds cannot be taken out of it.
    fn check_created(&mut self, part: &Part<'_>, created_s: Option<i64>) -> Result<(), Failed> {
        let Task::TruncateTo(time) = self.options.task else { return Ok(()) };
        self.dates.created |= created_s.is_some();
        match created_s.filter(|created_s| *created_s > time) {
            Some(created_s) => self.fail(&format!(
                "AOF {} begins with an RDB of timestamp {created_s}, it cannot be truncated to timestamp {time}, \
                 aborting...",
                part.name
            )),
            None => Ok(()),
        }
    }

    fn cut_at_time(&mut self, part: &Part<'_>, offset: u64, time: i64) -> Result<Verdict, Failed> {
        let name = part.name;
        if offset == 0 {
            return self.fail(&format!("AOF {name} has nothing before timestamp {time}, aborting..."));
        }
        if !part.last {
            self.say(&format!(
                "Failed to truncate AOF {name} to timestamp {time} to offset {offset} because it is not the last file."
            ));
            return self.fail(
                "If you insist, please delete all files after this file according to the manifest file and delete the \
                 corresponding records in manifest file manually. Then re-run redis-check-aof.",
            );
        }
        self.cut(part, offset)?;
        Ok(Verdict::TruncatedTo(time))
    }

    fn cut(&mut self, part: &Part<'_>, offset: u64) -> Result<(), Failed> {
        let now_s = unix_ms_now() / 1000;
        match cut(&self.storage, part.path, offset, now_s) {
            Ok(side) => {
                self.say(&format!("The {} bytes cut off are kept in {}", part.size - offset, side.display()));
                if let Some(Json::Object(file)) = self.files.last_mut() {
                    file.insert("cut_at".to_owned(), json!(offset));
                    file.insert("cut_bytes_in".to_owned(), json!(side.to_string_lossy()));
                }
                Ok(())
            }
            Err(fault) => self.fail(&format!("Failed to truncate AOF {}: {fault}", part.name)),
        }
    }

    fn note_file(&mut self, part: &Part<'_>, commands_at: u64, scan: &Scan) {
        let problem = scan.problem.as_ref().map(|problem| {
            let Problem { offset, reason, .. } = problem;
            json!({ "offset": offset, "line": scan.lines, "reason": reason, "last_good_command": scan.last_command })
        });
        self.files.push(json!({
            "name": part.name,
            "kind": part.kind,
            "size": part.size,
            "ok": problem.is_none(),
            "rdb_bytes": commands_at,
            "good_bytes": scan.good_bytes,
            "commands": scan.commands,
            "transactions": scan.transactions,
            "checksums": scan.checksums,
            "first_timestamp": scan.stamps.map(|(first, _)| first),
            "last_timestamp": scan.stamps.map(|(_, last)| last),
            "problem": problem,
        }));
    }

    fn print_json(&mut self, ok: bool) {
        let json = json!({
            "file": self.options.path.to_string_lossy(),
            "ok": ok,
            "files": self.files,
            "messages": self.said,
        });
        say(self.out, &format!("{json:#}"));
    }
}

/// Collects what is said of the RDB at the beginning of a file.
struct Preamble {
    lines: Vec<String>,
    progress: Progress,
}

impl Observer for Preamble {
    fn line(&mut self, line: CheckLine) {
        self.lines.push(format!("[offset {}] {}", line.offset, line.text));
    }

    fn wants_values(&self) -> bool {
        true
    }

    fn position(&mut self, offset: u64) {
        self.progress.at(offset);
    }
}

fn figures(scan: &Scan) -> String {
    let mut text = format!("[info] {} commands, {} transactions", scan.commands, scan.transactions);
    if scan.checksums > 0 {
        text.push_str(&format!(", {} checksums verified", scan.checksums));
    }
    if let Some((first, last)) = scan.stamps {
        text.push_str(&format!(", written from {} to {}", rfc3339(first), rfc3339(last)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::persist::backup::BackupFault;
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";

    fn tool(arguments: &[&str], answer: &str) -> (i32, String) {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
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
        assert!(text.contains(&format!("ok_up_to={}, ok_up_to_line=10, diff=12", SET.len())), "{text}");
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
    fn data_of_unknown_age_are_not_called_older_than_a_time() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let preamble = |created_s: &str| {
            let mut bytes = b"REDIS0010\xfa\x05ctime".to_vec();
            bytes.push(created_s.len() as u8);
            bytes.extend_from_slice(created_s.as_bytes());
            // No checksum.
            bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
            bytes
        };
        let path = folder.path().join("a.aof");
        let name = path.to_str().expect("the path is text");
        let ends = |content: &[u8], status: i32, says: &str| {
            std::fs::write(&path, content).expect("the folder is writable");
            let (found, text) = tool(&["--truncate-to-timestamp", "150", name], "");
            assert!(found == status && text.contains(says), "{found}: {text}");
        };
        let stamped = |second: u32| format!("#TS:{second}\r\n{SET}").into_bytes();
        ends(SET.as_bytes(), 1, "nothing tells how old");
        ends(&[SET.as_bytes(), &stamped(200)].concat(), 1, "nothing tells how old");
        ends(&[SET.as_bytes(), &stamped(100)].concat(), 0, "Truncate nothing");
        ends(&[preamble("200"), stamped(210)].concat(), 1, "begins with an RDB of timestamp 200");
        ends(&[preamble("200"), stamped(120)].concat(), 1, "begins with an RDB of timestamp 200");
        ends(&[preamble("100"), SET.into()].concat(), 1, "nothing tells how old");
        ends(&preamble("100"), 0, "Truncate nothing");
        ends(&[preamble("100"), stamped(120), stamped(200)].concat(), 0, "to timestamp 150");
        ends(&[preamble("100"), stamped(200)].concat(), 0, "to timestamp 150");
        assert_eq!(std::fs::read(&path).expect("read"), preamble("100"));
    }

    #[test]
    fn a_log_with_an_argument_that_begins_like_a_manifest_is_a_log() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let command = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$10\r\nx\nfile abc\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$8\r\nfile abc\r\n";
        for head in ["", "#TS:10\r\n", "#other\r\n"] {
            let path = file(folder.path(), &format!("{head}{command}"));
            let (status, text) = tool(&[path.to_str().expect("the path is text")], "");
            assert_eq!((status, text.contains("Old-Style")), (0, true), "{head:?}: {text}");
            assert_eq!(super::check_single(&path), Ok(()));
        }
        let path = file(folder.path(), "file a.aof seq 1 type b\n");
        assert!(matches!(super::check_single(&path), Err(BackupFault::Damaged(_))), "it is no log");
        std::fs::remove_file(&path).expect("remove");
        assert!(matches!(super::check_single(&path), Err(BackupFault::Unreadable(_))));
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
