//! The command line: `tine-server [file | -] [--directive value ...] [-]`.
//!
//! Options become lines of a configuration file that is read after the real one, so they obey the
//! same rules and win. Values may begin with `--` when they stand first after their directive.

use super::text::{quote, split_arguments};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

const NO_SENTINEL: &str = "Tine is no sentinel: run redis-sentinel of Redis, which watches over Tine servers as over its \
     own (docs/replication.md)";
const NO_MEMORY_TEST: &str = "Tine has no memory test: use memtester, or memtest86+ before the system starts";

/// What the command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAction {
    /// Run the server.
    Serve,
    /// Print the version and go.
    ShowVersion,
    /// Print the usage and go.
    ShowHelp,
    /// Say why this cannot be done, and go.
    Refuse(&'static str),
    /// Look at the machine, say what should be set, and go.
    CheckSystem,
}

/// The command line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// What to do.
    pub action: StartAction,
    /// The configuration file, as written.
    pub config_file: Option<PathBuf>,
    /// Whether standard input is read as a configuration file too (`-`).
    pub reads_stdin: bool,
    /// The options as the text of a configuration file; empty without any.
    pub options: Vec<u8>,
}

/// Takes apart the arguments after the program's name. Nothing is checked here: a wrong option is
/// found when its line is read.
pub fn parse_command_line(arguments: &[Vec<u8>]) -> CommandLine {
    let mut parsed = CommandLine {
        action: StartAction::Serve,
        config_file: None,
        reads_stdin: false,
        options: Vec::new(),
    };
    let Some(first) = arguments.first() else {
        return parsed;
    };
    if arguments.iter().any(|argument| argument == b"--sentinel") {
        parsed.action = StartAction::Refuse(NO_SENTINEL);
        return parsed;
    }
    match first.as_slice() {
        b"--test-memory" => parsed.action = StartAction::Refuse(NO_MEMORY_TEST),
        b"-v" | b"--version" => parsed.action = StartAction::ShowVersion,
        b"-h" | b"--help" => parsed.action = StartAction::ShowHelp,
        b"--check-system" => {
            parsed.action = StartAction::CheckSystem;
            take_file_and_options(&arguments[1..], &mut parsed);
        }
        _ => {}
    }
    if parsed.action != StartAction::Serve {
        return parsed;
    }
    take_file_and_options(arguments, &mut parsed);
    parsed
}

fn take_file_and_options(arguments: &[Vec<u8>], parsed: &mut CommandLine) {
    let file = arguments.first().filter(|first| !first.starts_with(b"-"));
    parsed.config_file = file.map(|name| PathBuf::from(OsString::from_vec(name.clone())));
    take_options(arguments, usize::from(file.is_some()), parsed);
}

/// Turns `arguments[from..]` into lines.
fn take_options(arguments: &[Vec<u8>], from: usize, parsed: &mut CommandLine) {
    let mut wants_value = false;
    for (at, argument) in arguments.iter().enumerate().skip(from) {
        let is_last = at + 1 == arguments.len();
        if argument == b"-" && (at == 0 || is_last) {
            parsed.reads_stdin = true;
        } else if let (false, Some(name)) = (wants_value, argument.strip_prefix(b"--")) {
            if !parsed.options.is_empty() {
                parsed.options.push(b'\n');
            }
            parsed.options.extend(name);
            parsed.options.push(b' ');
            wants_value = is_name_alone(argument);
            let next_is_option = arguments.get(at + 1).is_some_and(|next| next.starts_with(b"--"));
            if wants_value && argument.eq_ignore_ascii_case(b"--save") && (is_last || next_is_option) {
                // A list of save points that a script found empty.
                parsed.options.extend(b"\"\"");
                wants_value = false;
            }
        } else {
            parsed.options.extend(quote(argument));
            parsed.options.push(b' ');
            wants_value = false;
        }
    }
}

/// Whether the argument is `--name`, not `"--name value"`.
fn is_name_alone(argument: &[u8]) -> bool {
    split_arguments(argument).is_some_and(|words| words.len() == 1)
}

#[cfg(test)]
mod tests {
    use super::{CommandLine, StartAction, parse_command_line};

    fn parse(words: &[&str]) -> CommandLine {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        parse_command_line(&words)
    }

    fn options(words: &[&str]) -> String {
        let text = String::from_utf8(parse(words).options).expect("the test's words are ASCII");
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn options_become_lines() {
        let cases: &[(&[&str], &str)] = &[
            (&["--port", "1", "--loglevel", "debug"], "port \"1\"|loglevel \"debug\""),
            (&["--port 1", "--loglevel debug"], "port 1|loglevel debug"),
            (&["--port", "--loglevel", "verbose"], "port \"--loglevel\" \"verbose\""),
            (&["--port", "--bla", "--loglevel", "x"], "port \"--bla\"|loglevel \"x\""),
            (&["--save", "--port", "1"], "save \"\"|port \"1\""),
            (&["--port", "1", "--save"], "port \"1\"|save \"\""),
            (&["--save", "", "--port", "1"], "save \"\"|port \"1\""),
            (&["--proc-title-template", "--save", "--save", ""], "proc-title-template \"--save\"|save \"\""),
            (&["--shutdown-on-sigint", "nosave", "now"], "shutdown-on-sigint \"nosave\" \"now\""),
            (&["f.conf", "loglevel", "verbose", "--hz", "5"], "\"loglevel\" \"verbose\"|hz \"5\""),
            (&["--port"], "port"),
        ];
        for (words, wanted) in cases {
            assert_eq!(&options(words), wanted, "{words:?}");
        }
    }

    #[test]
    fn file_and_stdin() {
        let parsed = parse(&["/etc/redis.conf", "--port", "1", "-"]);
        assert_eq!(parsed.config_file.as_deref(), Some(std::path::Path::new("/etc/redis.conf")));
        assert!(parsed.reads_stdin);
        assert!(parse(&["-", "--port", "1"]).reads_stdin);
        assert_eq!(parse(&["-"]).config_file, None);
        assert!(!parse(&["a.conf", "--logfile", "-", "--port", "1"]).reads_stdin);
        assert_eq!(parse(&[]).options, b"");
        let check = parse(&["--check-system", "a.conf", "--port", "1"]);
        assert_eq!((check.action, check.options.as_slice()), (StartAction::CheckSystem, &b"port \"1\" "[..]));
        assert!(check.config_file.is_some());
        assert_eq!(parse(&["--help"]).action, StartAction::ShowHelp);
        assert_eq!(parse(&["-v"]).action, StartAction::ShowVersion);
        for refused in [&["--test-memory", "100"][..], &["a.conf", "--sentinel"]] {
            assert!(matches!(parse(refused).action, StartAction::Refuse(_)), "{refused:?}");
        }
    }
}
