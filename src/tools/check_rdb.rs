//! tine-check-rdb: reads an RDB file and says whether it is whole, in redis-check-rdb's words, and
//! on request what is in it.
//!
//! Exit status 0: the file looks right; 1: it does not, or the arguments do not.

use crate::base::clock::unix_ms_now;
use crate::persist::rdb::check::{CheckFailure, CheckLine, CheckReport, FoundKey, Observer, check_file};
use crate::persist::rdb::values;
use crate::sys::io::{OsStorage, Storage};
use crate::tools::convert::{self, Format, Plan};
use crate::tools::progress::Progress;
use crate::tools::rdb_stats::{Stats, StatsOptions};
use crate::tools::version_line;
use serde_json::{Value as Json, json};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const HELP: &str = "\
Usage: tine-check-rdb [options] <rdb-file-name>
       tine-check-rdb --convert <output> [options] <input>

Reads a whole RDB file of any version and says whether it is intact; if not,
where the damage is.

  --stats           what is in it: keys by type and prefix, largest keys, expiry
  --separator <c>   the character that ends a key's prefix (default ':')
  --top <n>         how many of the largest keys to list (default 10, <= 10000)
  --json            one JSON object instead of text
  -h, --help        this text
  -v, --version     the version

With --convert the input (an RDB, an append-only file, a Redis 7 folder or its
manifest) is written in another form. What that form cannot hold is counted and
said.

  --format <form>   rdb, aof (begins with an RDB, as servers write it), commands
                    (default: aof when the output's name ends so, else rdb)
  --to-version <n>  9 (Redis 5, 6), 10 (7.0), 11 (7.2), 12 (7.4)
                    (default: the input's, 10 where that cannot be written)
  --lossless        write nothing if something would be lost
  --drop-modules    leave out data of modules instead of refusing the file
  --no-verify       do not read the output back to compare its digest
  --force           replace an output that is there

An RDB is converted key by key, in the memory of its largest value. An append-
only file is executed: that takes the memory of a server with its data. So does
reading back an output of --format commands.

Exit status: 0 the file looks right (the output was written), 1 not so.";

/// Most keys that `--top` may ask for: they are kept in memory.
const TOP_MAX: usize = 10_000;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Task {
    path: PathBuf,
    stats: bool,
    json: bool,
    separator: u8,
    top: usize,
}

enum Command {
    Check(Task),
    Convert { plan: Plan, json: bool },
    Help,
    Version,
}

/// Runs the tool on the process's arguments.
pub fn run() -> i32 {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut out = io::stdout().lock();
    let done = match parse(&arguments) {
        Ok(Command::Check(task)) => check(&task, &mut out),
        Ok(Command::Convert { plan, json }) => run_conversion(&plan, json, &mut out),
        Ok(Command::Help) => writeln!(out, "{HELP}").map(|()| 0),
        Ok(Command::Version) => writeln!(out, "{}", version_line("tine-check-rdb")).map(|()| 0),
        Err(reason) => {
            eprintln!("{reason}\nUsage: tine-check-rdb [options] <rdb-file-name>   (see --help)");
            return 1;
        }
    };
    // Nobody reads our output any more: that is no success.
    done.unwrap_or(1)
}

/// What the command line says of a conversion.
#[derive(Default)]
struct ConvertOptions {
    output: Option<PathBuf>,
    format: Option<Format>,
    version: Option<u8>,
    force: bool,
    lossless: bool,
    drop_modules: bool,
    no_verify: bool,
}

impl ConvertOptions {
    /// Takes an option of conversions; false: it is none.
    fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<bool, String> {
        let mut value = || parser.value().map_err(|failure| failure.to_string());
        match name {
            "convert" => self.output = Some(value()?.into()),
            "format" => {
                let word = value()?;
                let found = Format::NAMES.iter().find(|(name, _)| word == *name);
                self.format = Some(found.ok_or("--format takes rdb, aof or commands")?.1);
            }
            "to-version" => {
                let number = value()?.to_str().and_then(|text| text.parse().ok());
                let number =
                    number.filter(|number| (convert::VERSION_MIN..=convert::VERSION_MAX).contains(number));
                self.version = Some(number.ok_or("--to-version takes a number from 9 to 12")?);
            }
            "force" => self.force = true,
            "lossless" => self.lossless = true,
            "drop-modules" => self.drop_modules = true,
            "no-verify" => self.no_verify = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The conversion, if one is asked for.
    fn plan(self, input: PathBuf) -> Result<Option<Plan>, String> {
        let Some(output) = self.output else {
            let stray = self.format.is_some() || self.version.is_some() || self.force || self.lossless;
            return match stray || self.drop_modules || self.no_verify {
                true => Err("--format, --to-version and the like go with --convert".to_owned()),
                false => Ok(None),
            };
        };
        if self.format == Some(Format::Commands) && self.version.is_some() {
            return Err("--to-version is for forms with an RDB, not for commands".to_owned());
        }
        Ok(Some(Plan {
            input,
            output,
            format: self.format,
            version: self.version,
            force: self.force,
            lossless: self.lossless,
            drop_modules: self.drop_modules,
            verify: !self.no_verify,
        }))
    }
}

fn parse(arguments: &[OsString]) -> Result<Command, String> {
    use lexopt::Arg::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    let mut task = Task { path: PathBuf::new(), stats: false, json: false, separator: b':', top: 10 };
    let mut conversion = ConvertOptions::default();
    let text = |failure: lexopt::Error| failure.to_string();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('v') | Long("version") => return Ok(Command::Version),
            Long("stats") => task.stats = true,
            Long("json") => task.json = true,
            Long("separator") => {
                let value = parser.value().map_err(text)?;
                let [byte] = value.as_encoded_bytes() else {
                    return Err("--separator takes one character".to_owned());
                };
                task.separator = *byte;
            }
            Long("top") => {
                let value = parser.value().map_err(text)?;
                let top = value.to_str().and_then(|text| text.parse().ok()).filter(|top| *top <= TOP_MAX);
                task.top = top.ok_or_else(|| format!("--top takes a number up to {TOP_MAX}"))?;
            }
            Value(name) if task.path.as_os_str().is_empty() => task.path = name.into(),
            Long(name) => {
                let name = name.to_owned();
                if !conversion.take(&name, &mut parser)? {
                    return Err(format!("invalid option '--{name}'"));
                }
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    if task.path.as_os_str().is_empty() {
        return Err("no file is named".to_owned());
    }
    match conversion.plan(task.path.clone())? {
        Some(_) if task.stats => Err("--stats and --convert exclude each other".to_owned()),
        Some(plan) => Ok(Command::Convert { plan, json: task.json }),
        None => Ok(Command::Check(task)),
    }
}

/// Converts and says what was done. Returns the exit status.
///
/// # Errors
/// `out`'s.
fn run_conversion(plan: &Plan, json: bool, out: &mut dyn Write) -> io::Result<i32> {
    // What the loader warns of goes to standard error; a second call (tests) changes nothing.
    let _ = env_logger::Builder::new()
        .filter_level(log::LevelFilter::Warn)
        .format(|line, record| writeln!(line, "{}", record.args()))
        .try_init();
    match convert::convert(plan) {
        Ok(done) if json => print_json(out, &done.json(plan)).map(|()| 0),
        Ok(done) => done.lines(plan).iter().try_for_each(|line| writeln!(out, "{line}")).map(|()| 0),
        Err(reason) if json => {
            print_json(out, &json!({ "ok": false, "error": { "reason": reason } })).map(|()| 1)
        }
        Err(reason) => writeln!(out, "Cannot convert: {reason}").map(|()| 1),
    }
}

/// Collects what a check tells: prints it, counts keys, shows progress on a terminal.
struct Teller<'a> {
    out: &'a mut dyn Write,
    /// The first failure to print.
    written: io::Result<()>,
    quiet: bool,
    stats: Option<Stats>,
    progress: Progress,
}

impl Observer for Teller<'_> {
    fn line(&mut self, line: CheckLine) {
        if self.written.is_ok() && !self.quiet {
            self.written = writeln!(self.out, "[offset {}] {}", line.offset, line.text);
        }
    }

    fn wants_values(&self) -> bool {
        true
    }

    fn key(&mut self, found: &FoundKey<'_>) {
        if let Some(stats) = &mut self.stats {
            stats.add(found);
        }
    }

    fn position(&mut self, offset: u64) {
        self.progress.at(offset);
    }
}

/// Checks one file, writing what is found. Returns the exit status.
///
/// # Errors
/// `out`'s.
fn check(task: &Task, out: &mut dyn Write) -> io::Result<i32> {
    if !task.json {
        writeln!(out, "[offset 0] Checking RDB file {}", task.path.display())?;
    }
    let file = match OsStorage.open_read(&task.path) {
        Ok(file) => file,
        Err(fault) if task.json => {
            return print_json(out, &json!({ "ok": false, "error": { "reason": fault.to_string() } }))
                .map(|()| 1);
        }
        Err(fault) => {
            writeln!(out, "Cannot open file {}: {}", task.path.display(), fault.source)?;
            return Ok(1);
        }
    };
    let total_bytes = file.len().unwrap_or(0);
    let mut teller = Teller {
        out,
        written: Ok(()),
        quiet: task.json,
        stats: task.stats.then(|| Stats::new(stats_options(task))),
        progress: Progress::new(total_bytes),
    };
    let outcome = check_file(file, &mut teller);
    let Teller { out, written, stats, mut progress, .. } = teller;
    progress.clear();
    written?;
    let code = i32::from(outcome.is_err());
    match task.json {
        true => print_json(out, &json_of(&task.path, &outcome, stats.as_ref()))?,
        false => print_text(out, &outcome, stats.as_ref())?,
    }
    Ok(code)
}

fn stats_options(task: &Task) -> StatsOptions {
    let now_ms = unix_ms_now();
    StatsOptions { separator: task.separator, top: task.top, now_ms }
}

fn print_text(
    out: &mut dyn Write,
    outcome: &Result<CheckReport, CheckFailure>,
    stats: Option<&Stats>,
) -> io::Result<()> {
    print_outcome(out, outcome)?;
    stats.map_or(Ok(()), |stats| stats.write_text(out))
}

/// The last lines of a check, as Redis's tool writes them.
///
/// # Errors
/// `out`'s.
pub(super) fn print_outcome(
    out: &mut dyn Write,
    outcome: &Result<CheckReport, CheckFailure>,
) -> io::Result<()> {
    match outcome {
        Ok(report) => {
            writeln!(out, "[offset {}] \\o/ RDB looks OK! \\o/", report.bytes)?;
            figures(report, out)
        }
        Err(failure) => explain(failure, out),
    }
}

fn print_json(out: &mut dyn Write, json: &Json) -> io::Result<()> {
    writeln!(out, "{json:#}")
}

fn json_of(path: &Path, outcome: &Result<CheckReport, CheckFailure>, stats: Option<&Stats>) -> Json {
    let (report, error) = match outcome {
        Ok(report) => (report, Json::Null),
        Err(failure) => (&failure.report, json_of_error(failure)),
    };
    json!({
        "file": path.to_string_lossy(),
        "ok": outcome.is_ok(),
        "error": error,
        "bytes": report.bytes,
        "keys": report.keys,
        "expires": report.expires,
        "already_expired": report.already_expired,
        "stats": stats.map(Stats::json),
    })
}

/// The damage, for other programs.
pub(super) fn json_of_error(failure: &CheckFailure) -> Json {
    let error = &failure.error;
    json!({
        "offset": error.offset,
        "reason": error.kind.to_string(),
        "while": error.step.name(),
        "key": error.key.as_ref().map(|key| String::from_utf8_lossy(key)),
        "type": error.type_number.map(values::type_name),
    })
}

fn figures(report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "[info] {} keys read", report.keys)?;
    writeln!(out, "[info] {} expires", report.expires)?;
    writeln!(out, "[info] {} already expired", report.already_expired)
}

fn explain(failure: &CheckFailure, out: &mut dyn Write) -> io::Result<()> {
    let error = &failure.error;
    writeln!(out, "--- RDB ERROR DETECTED ---")?;
    writeln!(out, "[offset {}] {}", error.offset, error.kind)?;
    writeln!(out, "[additional info] While doing: {}", error.step.name())?;
    if let Some(key) = &error.key {
        writeln!(out, "[additional info] Reading key '{}'", String::from_utf8_lossy(key))?;
    }
    if let Some(number) = error.type_number {
        writeln!(out, "[additional info] Reading type {number} ({})", values::type_name(number))?;
    }
    figures(&failure.report, out)
}

#[cfg(test)]
mod tests {
    use super::{Command, check, parse};
    use std::ffi::OsString;

    const GOOD: &[u8] = b"REDIS0003\xfe\x00\x00\x04k:aa\x01v\xff";

    fn output_of(bytes: &[u8], options: &[&str]) -> (i32, String) {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let path = folder.path().join("dump.rdb");
        std::fs::write(&path, bytes).expect("write");
        let mut arguments: Vec<OsString> = options.iter().map(OsString::from).collect();
        arguments.push(path.into_os_string());
        let Ok(Command::Check(task)) = parse(&arguments) else { panic!("{options:?} can be parsed") };
        let mut out = Vec::new();
        let code = check(&task, &mut out).expect("a vector takes all");
        (code, String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn whole_and_damaged_files_are_told_apart() {
        let (code, text) = output_of(GOOD, &[]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("Selecting DB ID 0") && text.contains("[info] 1 keys read"), "{text}");
        assert!(text.contains("\\o/ RDB looks OK! \\o/"), "{text}");
        let (code, text) = output_of(b"REDIS0003\xfe\x00\x00\x01k\x05v\xff", &[]);
        assert_eq!(code, 1);
        assert!(text.contains("--- RDB ERROR DETECTED ---") && text.contains("Reading key 'k'"), "{text}");
        let (code, text) = output_of(b"hello", &[]);
        assert_eq!(code, 1, "{text}");
    }

    #[test]
    fn figures_come_as_text_and_as_json() {
        let (code, text) = output_of(GOOD, &["--stats"]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("prefix, up to ':'") && text.contains("k:aa"), "{text}");
        let (code, text) = output_of(GOOD, &["--stats", "--json", "--separator", "a", "--top", "1"]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("nothing but JSON is printed");
        assert_eq!((code, &json["ok"]), (0, &serde_json::Value::Bool(true)), "{text}");
        assert_eq!(json["stats"]["prefixes"][0]["prefix"], "k:");
        assert_eq!(json["stats"]["types"]["string"]["elements"], 1);
        let (code, text) = output_of(b"REDIS0003\xfe\x00\x00\x01k\x05v\xff", &["--json"]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("nothing but JSON is printed");
        assert_eq!((code, &json["error"]["key"]), (1, &serde_json::Value::from("k")), "{text}");
    }

    #[test]
    fn bad_arguments_are_refused() {
        for bad in [&["--top", "x", "f"][..], &["--separator", "ab", "f"], &[], &["f", "g"], &["--fast", "f"]]
        {
            let arguments: Vec<OsString> = bad.iter().map(OsString::from).collect();
            assert!(parse(&arguments).is_err(), "{bad:?}");
        }
    }
}
