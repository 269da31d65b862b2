//! The command line of `tine-lab`.

use crate::tools::lab::experiment::AXES;
use crate::tools::load::options::time;
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Text of `--help`.
pub const HELP: &str = "\
Usage: tine-lab run [NAME|FILE] [options]   measures, draws a report
       tine-lab watch [options]             a running server, live
       tine-lab report <folder>             draws the report of results.json anew
       tine-lab list [NAME]                 built-in experiments; the text of one

What a fork costs, and what is copied afterwards: starts servers of its own,
fills them, saves under a load of a fixed rate, and draws what it saw. Any
server with Redis's commands can be measured beside Tine.

run: without NAME or FILE, the built-in experiment \"default\" (five minutes)
  --server <s>,...   tine, a path, a name on the PATH, or name=/path; a ? at
                     the end: left out where it is not installed
  --size <n>,...     data: keys and values (256mb)
  --value-size <n>   (200)          --write-rate <n>,... writes/s (20000)
  --read-share <x>   (0)            share of reads among all requests
  --skew <k>,...     uniform, zipf[:S], gaussian[:D], sequential
  --save <k>,...     rdb, rewrite, hybrid
  --page-size <p>    default, kernel, 4k, 2m
  --set <n>=<v>,...  a directive: tine.fork-cow-limit=0,1mb
  --saves <n>        in a row on one server (3)
  --repeat <n>       fresh servers for each setting (1)
  --before <t>, --pause <t>, --limit <t>
                     load before the first save, between two, longest save
  --out <folder>     of the report (tine-lab-<date>)
  --work <folder>    of the servers' files (the system's temporary folder)
Lists are separated by commas: each value is tried with each of the others.
These stand above what the file says.

watch:
  --host <h>, --port <n>   (127.0.0.1, 6379)      --unix <path>
  --user <name>, --pass <word>   the password also from REDISCLI_AUTH
  --interval <t>     between two looks (500ms)
  --count <n>        ends after so many looks
On a terminal it fills the screen, q quits; elsewhere: a line each second.

  -h, --help         this text
  -v, --version      the version

Exit status: 0 done, 1 it failed, 2 the command line cannot be used.
";

/// Shortest and longest time between two looks of `watch`.
const INTERVAL_MIN: Duration = Duration::from_millis(50);
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// What `run` was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// A built-in name or a file.
    pub experiment: Option<String>,
    /// Settings that stand above the file's.
    pub overrides: Vec<(String, String)>,
    pub out: Option<PathBuf>,
    pub work: Option<PathBuf>,
    /// The words, to be repeated.
    pub words: Vec<String>,
}

/// What `watch` was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    pub host: String,
    pub port: u16,
    pub unix: Option<PathBuf>,
    pub user: Option<String>,
    pub pass: Option<String>,
    pub interval: Option<Duration>,
    pub count: Option<u64>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    Help,
    Version,
    Run(RunOptions),
    Watch(WatchOptions),
    Report(PathBuf),
    List(Option<String>),
}

/// Parses the arguments, without the program's name.
///
/// # Errors
/// What cannot be used.
pub fn parse(arguments: &[OsString]) -> Result<Task, String> {
    let mut parser = Parser::from_args(arguments.iter().cloned());
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some(first) = next(&mut parser)? else { return Ok(Task::Help) };
    match first {
        Arg::Short('h') | Arg::Long("help") => Ok(Task::Help),
        Arg::Short('v') | Arg::Long("version") => Ok(Task::Version),
        Arg::Value(word) => match word.to_string_lossy().as_ref() {
            "run" => run(&mut parser, words),
            "watch" => watch(&mut parser),
            "report" => Ok(one_word(&mut parser)?.map_or(Task::Help, |folder| Task::Report(folder.into()))),
            "list" => Ok(Task::List(one_word(&mut parser)?)),
            other => Err(format!("{other:?} is none of run, watch, report, list")),
        },
        other => Err(other.unexpected().to_string()),
    }
}

fn next(parser: &mut Parser) -> Result<Option<Arg<'_>>, String> {
    parser.next().map_err(|e| e.to_string())
}

fn value(parser: &mut Parser) -> Result<String, String> {
    parser.value().and_then(ValueExt::string).map_err(|e| e.to_string())
}

fn one_word(parser: &mut Parser) -> Result<Option<String>, String> {
    let mut word = None;
    while let Some(argument) = next(parser)? {
        match argument {
            Arg::Value(value) if word.is_none() => word = Some(value.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(word)
}

fn run(parser: &mut Parser, words: Vec<String>) -> Result<Task, String> {
    let mut options = RunOptions { words, ..RunOptions::default() };
    while let Some(argument) = next(parser)? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Task::Help),
            Arg::Value(word) if options.experiment.is_none() => {
                options.experiment = Some(word.to_string_lossy().into_owned());
            }
            Arg::Long(name) => {
                let name = name.to_owned();
                let value = value(parser)?;
                set_run(&mut options, &name, value)?;
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(Task::Run(options))
}

fn set_run(options: &mut RunOptions, name: &str, value: String) -> Result<(), String> {
    let is_schedule = ["saves", "repeat", "before", "pause", "limit", "title"].contains(&name);
    match name {
        "out" => options.out = Some(value.into()),
        "work" => options.work = Some(value.into()),
        "set" => {
            let (name, value) = value.split_once('=').ok_or("--set takes NAME=VALUE")?;
            options.overrides.push((name.to_owned(), value.to_owned()));
        }
        // Several may be given one by one.
        "server" | "servers" => match options.overrides.iter_mut().find(|(known, _)| known == "server") {
            Some((_, servers)) => *servers += &format!(", {value}"),
            None => options.overrides.push(("server".to_owned(), value)),
        },
        axis if is_schedule || AXES.iter().any(|(known, _)| *known == axis) => {
            options.overrides.push((axis.to_owned(), value));
        }
        other => return Err(format!("--{other} is no option of run")),
    }
    Ok(())
}

fn watch(parser: &mut Parser) -> Result<Task, String> {
    let mut options = WatchOptions {
        host: "127.0.0.1".to_owned(),
        port: 6379,
        unix: None,
        user: None,
        pass: std::env::var("REDISCLI_AUTH").ok(),
        interval: None,
        count: None,
    };
    while let Some(argument) = next(parser)? {
        let name = match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Task::Help),
            Arg::Short('p') => "port".to_owned(),
            Arg::Long(name) => name.to_owned(),
            other => return Err(other.unexpected().to_string()),
        };
        let value = value(parser)?;
        match name.as_str() {
            "host" => options.host = value,
            "port" => options.port = value.parse().map_err(|_| format!("{value:?} is no port"))?,
            "unix" => options.unix = Some(value.into()),
            "user" => options.user = Some(value),
            "pass" => options.pass = Some(value),
            "interval" => options.interval = Some(interval(&value)?),
            "count" => options.count = Some(value.parse().map_err(|_| format!("{value:?} is no number"))?),
            other => return Err(format!("--{other} is no option of watch")),
        }
    }
    Ok(Task::Watch(options))
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = time(text)?;
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        Ok(interval)
    } else {
        Err("--interval must be from 50ms to 60s".to_owned())
    }
}

/// The command line as it could be typed again.
pub fn typed(words: &[String]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:?%@+".contains(c);
    let quoted =
        words.iter().map(|word| match word.is_empty() || !word.chars().all(is_plain) || word.contains('?') {
            true => format!("'{}'", word.replace('\'', "'\\''")),
            false => word.clone(),
        });
    ["tine-lab".to_owned()].into_iter().chain(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{HELP, Task, parse, typed};
    use std::ffi::OsString;
    use std::path::PathBuf;
    use std::time::Duration;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn tasks_are_read() {
        let Ok(Task::Run(run)) =
            parse(&words("run quick --size 1mb,2mb --server tine --server x=/y --set tine.hz=10 --out o"))
        else {
            panic!("a run");
        };
        assert_eq!((run.experiment.as_deref(), run.out), (Some("quick"), Some(PathBuf::from("o"))));
        let given: Vec<String> =
            run.overrides.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(given, ["size=1mb,2mb", "server=tine, x=/y", "tine.hz=10"]);
        let Ok(Task::Watch(watch)) = parse(&words("watch -p 7 --interval 1s --count 3")) else {
            panic!("a watch")
        };
        assert_eq!((watch.port, watch.interval, watch.count), (7, Some(Duration::from_secs(1)), Some(3)));
        assert_eq!(parse(&words("list quick")), Ok(Task::List(Some("quick".to_owned()))));
        assert_eq!(parse(&words("report d")), Ok(Task::Report("d".into())));
        assert_eq!((parse(&words("")), parse(&words("run --help"))), (Ok(Task::Help), Ok(Task::Help)));
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "walk",
            "run a b",
            "run --colour red",
            "watch --interval 1us",
            "watch --port x",
            "run --set a",
            "-x",
            "list a b",
        ] {
            assert!(parse(&words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn a_command_line_can_be_typed_again() {
        let typed_words = ["run".to_owned(), "it's".to_owned(), "a?".to_owned()];
        assert_eq!(typed(&typed_words), "tine-lab run 'it'\\''s' 'a?'");
        assert!(HELP.lines().all(|line| line.chars().count() <= 82), "the help fits a terminal");
    }
}
