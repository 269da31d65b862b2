//! tine-backup: takes, checks, lists, prunes and restores backups, and rehearses the restore.
//!
//! | file | what |
//! | --- | --- |
//! | `arguments` | the command line |
//! | `store` | the folder of backups, and the marks in them |
//! | `take` | a new backup, by the server or from a stopped server's files |
//! | `verify`, `list`, `prune`, `restore`, `drill`, `hook` | the subcommands |
//! | `retention` | which backups to keep: a plain function |
//! | `show` | sizes, ages and times for people |
//!
//! Each failure has an exit status of its own kind, see [`Failure`].

mod arguments;
mod drill;
mod hook;
mod list;
mod prune;
mod restore;
pub mod retention;
mod show;
mod store;
mod take;
mod verify;

use crate::persist::backup::BackupFault;
use crate::server::run::TINE_VERSION;
use crate::tools::backup::arguments::{Parsed, Task, parse};
use std::ffi::OsString;
use std::io::{self, Write};

/// Why the program ends without success; the number is its exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 1: the task could not be done.
    Failed(String),
    /// 2: the command line cannot be used.
    Usage(String),
    /// 3: a backup is damaged, or does not hold what it should.
    Damaged(String),
    /// 4: the hook failed; the backup itself is good and stays.
    Hook(String),
}

impl Failure {
    fn status(&self) -> i32 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Damaged(_) => 3,
            Failure::Hook(_) => 4,
        }
    }

    fn text(&self) -> &str {
        let (Failure::Failed(text) | Failure::Usage(text) | Failure::Damaged(text) | Failure::Hook(text)) =
            self;
        text
    }
}

/// Nobody reads our output any more.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Failed(error.to_string())
    }
}

/// What cannot be read is not done; only what is known to be wrong is damage.
impl From<BackupFault> for Failure {
    fn from(fault: BackupFault) -> Self {
        match fault {
            BackupFault::Damaged(reason) => Failure::Damaged(reason),
            BackupFault::Unreadable(reason) => Failure::Failed(reason),
        }
    }
}

/// Result of a subcommand.
pub type Outcome = Result<(), Failure>;

/// Runs the tool on the process's arguments; returns the exit status.
pub fn run() -> i32 {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut out = io::stdout().lock();
    let outcome = match parse(&arguments) {
        Ok(Parsed::Help(text)) => writeln!(out, "{text}").map_err(Failure::from),
        Ok(Parsed::Version) => writeln!(out, "tine-backup {TINE_VERSION}").map_err(Failure::from),
        Ok(Parsed::Run(task, options)) => match task {
            Task::Take => take::run(&options, &mut out),
            Task::Verify => verify::run(&options, &mut out),
            Task::List => list::run(&options, &mut out),
            Task::Prune => prune::run(&options, &mut out),
            Task::Restore => restore::run(&options, &mut out),
            Task::Drill => drill::run(&options, &mut out),
            Task::Offsite => hook::run(&options, &mut out),
        },
        Err(reason) => Err(Failure::Usage(reason)),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("tine-backup: {}", failure.text());
            if let Failure::Usage(_) = failure {
                eprintln!("Try: tine-backup --help");
            }
            failure.status()
        }
    }
}
