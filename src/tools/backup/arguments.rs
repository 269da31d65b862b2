//! The command line of tine-backup: a subcommand, and options of which each belongs to some.

use crate::persist::backup::manifest::BackupKind;
use crate::tools::backup::retention::Policy;
use lexopt::Arg::{Long, Short, Value};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const HELP: &str = "\
Usage: tine-backup <command> --dir <folder> [options]

Takes, checks, lists, prunes and restores backups of a Tine server.

Commands:
  take               take a backup; the server does the work and serves on
  list               show the backups in the folder
  verify [<name>...] check checksums and read all data; the newest unless named
  prune              remove the backups that the retention rule does not keep
  restore [<name>]   put a backup into a data folder; the newest unless named
  drill [<name>]     restore to a temporary folder, start a server, count keys
  offsite            run --hook for the newest good backup

Every command:
  --dir <folder>     the folder of all backups; for take, as the server sees it

take:
  --host <name>, --port <n>    the server (127.0.0.1, 6379)
  --socket <path>              its Unix socket instead
  --user <name>                its user; the password is in REDISCLI_AUTH, or
  --password-file <path>       in the first line of this file
  --kind aof|rdb               copy the append only file, or take a snapshot
                               (default: aof while it is on)
  --copy                       share no blocks with the files of the server
  --offline <data folder>      copy the files of a server that is stopped
  --appendfilename <name>, --dbfilename <name>, --appenddirname <name>
                               their names there
  --no-verify                  do not check the backup after it was taken
  --timeout <seconds>          how long to wait for the server (3600)
  --hook <command>             run by sh after a good backup, see below
  --hook-when daily|always     daily (default): until it succeeds once a day
  --prune                      prune afterwards, with the options of prune

prune:
  --keep-hourly <n>  keep the newest good backup of the last n hours each (48)
  --keep-daily <n>   and of the last n days each, UTC (31)
  --dry-run          only show what would be removed
  Only hours and days that have a good backup count, so nothing is removed
  because time passes. The newest good backup always stays.

restore:
  --to <data folder> where to; it must be empty
  --force            set files that are in the way aside, under other names,
                     once the backup has been copied and is whole
  --appendfilename <name>, --dbfilename <name>, --appenddirname <name>
                     as the server will call them

drill:
  --work <folder>    where to restore to (default: the temporary folder)
  --server <path>    the tine-server to start (default: beside this program)
  --timeout <seconds>          how long it may load (3600)

A hook finds in its environment: TINE_BACKUP_PATH, TINE_BACKUP_DIR,
TINE_BACKUP_NAME, TINE_BACKUP_KIND, TINE_BACKUP_BYTES, TINE_BACKUP_UNIX_MS.

Exit status: 0 done, 1 not done, 2 wrong usage, 3 a backup is damaged or lacks
keys, 4 the hook failed (the backup is good and stays).";

/// The subcommands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Take,
    List,
    Verify,
    Prune,
    Restore,
    Drill,
    Offsite,
}

const TASKS: &[(&str, Task)] = &[
    ("take", Task::Take),
    ("list", Task::List),
    ("verify", Task::Verify),
    ("prune", Task::Prune),
    ("restore", Task::Restore),
    ("drill", Task::Drill),
    ("offsite", Task::Offsite),
];

/// Which subcommands know an option. `--dir` belongs to all.
const BELONGS: &[(&str, &[Task])] = &[
    ("host", &[Task::Take]),
    ("port", &[Task::Take]),
    ("socket", &[Task::Take]),
    ("user", &[Task::Take]),
    ("password-file", &[Task::Take]),
    ("kind", &[Task::Take]),
    ("copy", &[Task::Take]),
    ("offline", &[Task::Take]),
    ("no-verify", &[Task::Take]),
    ("prune", &[Task::Take]),
    ("appendfilename", &[Task::Take, Task::Restore]),
    ("dbfilename", &[Task::Take, Task::Restore]),
    ("appenddirname", &[Task::Take, Task::Restore]),
    ("timeout", &[Task::Take, Task::Drill]),
    ("hook", &[Task::Take, Task::Offsite]),
    ("hook-when", &[Task::Take, Task::Offsite]),
    ("keep-hourly", &[Task::Prune, Task::Take, Task::List]),
    ("keep-daily", &[Task::Prune, Task::Take, Task::List]),
    ("dry-run", &[Task::Prune]),
    ("to", &[Task::Restore]),
    ("force", &[Task::Restore]),
    ("work", &[Task::Drill]),
    ("server", &[Task::Drill]),
];

/// When a hook is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookWhen {
    /// Until it has succeeded for one backup of the day.
    Daily,
    /// For each backup.
    Always,
}

/// Everything that can be said; what belongs to other subcommands has its default.
#[derive(Clone, Debug)]
pub struct Options {
    pub dir: PathBuf,
    pub names: Vec<String>,
    pub host: String,
    pub port: u16,
    pub socket: Option<PathBuf>,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub kind: Option<BackupKind>,
    pub copy: bool,
    pub offline: Option<PathBuf>,
    pub appendfilename: String,
    pub dbfilename: String,
    /// The folder of Redis 7's append-only file.
    pub appenddirname: String,
    pub verify: bool,
    pub timeout: Duration,
    pub hook: Option<OsString>,
    pub hook_when: HookWhen,
    pub prune: bool,
    pub policy: Policy,
    pub dry_run: bool,
    pub to: Option<PathBuf>,
    pub force: bool,
    pub work: Option<PathBuf>,
    pub server: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            dir: PathBuf::new(),
            names: Vec::new(),
            host: "127.0.0.1".to_owned(),
            port: 6379,
            socket: None,
            user: None,
            password_file: None,
            kind: None,
            copy: false,
            offline: None,
            appendfilename: "appendonly.aof".to_owned(),
            dbfilename: "dump.rdb".to_owned(),
            appenddirname: "appendonlydir".to_owned(),
            verify: true,
            timeout: Duration::from_secs(3600),
            hook: None,
            hook_when: HookWhen::Daily,
            prune: false,
            policy: Policy::default(),
            dry_run: false,
            to: None,
            force: false,
            work: None,
            server: None,
        }
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed {
    Run(Task, Box<Options>),
    Help(&'static str),
    Version,
}

/// Reads the command line.
///
/// # Errors
/// What is wrong with it.
pub fn parse(arguments: &[OsString]) -> Result<Parsed, String> {
    let text = |failure: lexopt::Error| failure.to_string();
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    let mut options = Options::default();
    let mut task = None;
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('h') | Long("help") => return Ok(Parsed::Help(HELP)),
            Short('v') | Long("version") => return Ok(Parsed::Version),
            Long(name) => {
                let name = name.to_owned();
                let task = task.ok_or_else(|| format!("--{name} stands before the command"))?;
                check_belongs(&name, task)?;
                set(&mut options, &name, &mut parser)?;
            }
            Value(word) if task.is_none() => task = Some(task_named(&word)?),
            Value(name) if takes_name(task, options.names.len()) => {
                options.names.push(name.to_string_lossy().into_owned());
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    let Some(task) = task else { return Err("no command is given".to_owned()) };
    check_complete(task, &options)?;
    Ok(Parsed::Run(task, Box::new(options)))
}

fn task_named(word: &OsString) -> Result<Task, String> {
    let found = TASKS.iter().find(|(name, _)| word == name);
    found.map(|(_, task)| *task).ok_or_else(|| format!("there is no command {}", word.to_string_lossy()))
}

fn takes_name(task: Option<Task>, names: usize) -> bool {
    match task {
        Some(Task::Verify) => true,
        Some(Task::Restore | Task::Drill) => names == 0,
        _ => false,
    }
}

fn check_belongs(name: &str, task: Task) -> Result<(), String> {
    if name == "dir" {
        return Ok(());
    }
    let row = BELONGS.iter().find(|(option, _)| *option == name);
    let tasks = row.ok_or_else(|| format!("there is no option --{name}"))?.1;
    if tasks.contains(&task) { Ok(()) } else { Err(format!("--{name} does not belong to this command")) }
}

fn set(options: &mut Options, name: &str, parser: &mut lexopt::Parser) -> Result<(), String> {
    match name {
        "copy" => options.copy = true,
        "no-verify" => options.verify = false,
        "prune" => options.prune = true,
        "dry-run" => options.dry_run = true,
        "force" => options.force = true,
        _ => {
            let value = parser.value().map_err(|failure| failure.to_string())?;
            return set_value(options, name, value);
        }
    }
    Ok(())
}

fn set_value(options: &mut Options, name: &str, value: OsString) -> Result<(), String> {
    let number = |value: &OsString| {
        let number = value.to_str().and_then(|digits| digits.parse::<u32>().ok());
        number.ok_or_else(|| format!("--{name} takes a number"))
    };
    let words = value.to_string_lossy().into_owned();
    match name {
        "dir" => options.dir = value.into(),
        "host" => options.host = words,
        "port" => options.port = words.parse().map_err(|_| "--port takes a port".to_owned())?,
        "socket" => options.socket = Some(value.into()),
        "user" => options.user = Some(words),
        "password-file" => options.password_file = Some(value.into()),
        "kind" => options.kind = Some(kind_named(&words)?),
        "offline" => options.offline = Some(value.into()),
        "appendfilename" => options.appendfilename = file_name(name, words)?,
        "dbfilename" => options.dbfilename = file_name(name, words)?,
        "appenddirname" => options.appenddirname = file_name(name, words)?,
        "timeout" => options.timeout = Duration::from_secs(u64::from(number(&value)?)),
        "hook" => options.hook = Some(value),
        "hook-when" => options.hook_when = hook_when_named(&words)?,
        "keep-hourly" => options.policy.hourly = number(&value)? as usize,
        "keep-daily" => options.policy.daily = number(&value)? as usize,
        "to" => options.to = Some(value.into()),
        "work" => options.work = Some(value.into()),
        "server" => options.server = Some(value.into()),
        _ => return Err(format!("there is no option --{name}")),
    }
    Ok(())
}

fn kind_named(word: &str) -> Result<BackupKind, String> {
    match word {
        "aof" => Ok(BackupKind::Log),
        "rdb" => Ok(BackupKind::Snapshot),
        _ => Err("--kind is aof or rdb".to_owned()),
    }
}

fn hook_when_named(word: &str) -> Result<HookWhen, String> {
    match word {
        "daily" => Ok(HookWhen::Daily),
        "always" => Ok(HookWhen::Always),
        _ => Err("--hook-when is daily or always".to_owned()),
    }
}

fn file_name(option: &str, name: String) -> Result<String, String> {
    if name.is_empty() || name.contains('/') {
        return Err(format!("--{option} takes a file name without a folder"));
    }
    Ok(name)
}

fn check_complete(task: Task, options: &Options) -> Result<(), String> {
    if options.dir.as_os_str().is_empty() {
        return Err("--dir is missing".to_owned());
    }
    match task {
        Task::Restore if options.to.is_none() => Err("restore needs --to".to_owned()),
        Task::Offsite if options.hook.is_none() => Err("offsite needs --hook".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{BELONGS, HELP, Parsed, TASKS, parse};
    use std::ffi::OsString;

    fn parsed(line: &str) -> Result<Parsed, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words)
    }

    #[test]
    fn options_belong_to_their_commands() {
        assert!(parsed("take --dir /b --port 21300 --prune --keep-hourly 3").is_ok());
        assert!(parsed("verify --dir /b one two").is_ok());
        for bad in [
            "",
            "take",
            "--dir /b take",
            "fly --dir /b",
            "list --dir /b --force",
            "list --dir /b name",
            "restore --dir /b",
            "restore --dir /b --to /d one two",
            "offsite --dir /b",
            "take --dir /b --port 70000",
            "take --dir /b --kind tar",
            "take --dir /b --dbfilename a/b",
            "restore --dir /b --to /d --appenddirname a/b",
            "prune --dir /b --keep-daily -1",
            "take --dir /b --sorted",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_help_names_every_command_and_option() {
        assert!(matches!(parsed("take --help"), Ok(Parsed::Help(_))));
        for (name, _) in TASKS {
            assert!(HELP.contains(&format!("\n  {name}")), "{name}");
        }
        for (option, _) in BELONGS {
            assert!(HELP.contains(&format!("--{option}")), "{option}");
        }
        assert!(HELP.lines().all(|line| line.len() < 80), "fits a terminal");
    }
}
