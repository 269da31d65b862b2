//! tine-lab: measures what forks cost and what is copied after them, draws it, and watches running servers.
//!
//! | file | what |
//! | --- | --- |
//! | `arguments` | the command line |
//! | `experiment`, `builtin` | what is tried: the file, its lists, the cells they make |
//! | `process` | a server of its own: start, end, processors |
//! | `measure`, `sampler` | one cell: fill, load (`tools::load`), saves; /proc meanwhile |
//! | `statistics`, `results` | medians, percentiles; records, JSON, CSV |
//! | `figures`, `chart` | which charts a chapter has; the drawing |
//! | `report`, `machine` | the HTML page; facts of the machine |
//! | `plan` | all cells one after the other, with a progress bar |
//! | `watch` | the live view |

mod arguments;
mod builtin;
mod chart;
mod experiment;
mod figures;
mod machine;
mod measure;
mod plan;
mod process;
mod report;
mod results;
mod sampler;
mod statistics;
mod watch;

use crate::server::run::TINE_VERSION;
use crate::tools::lab::arguments::{HELP, Task, parse};
use crate::tools::lab::builtin::{BUILTINS, find};
use crate::tools::lab::results::Results;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

/// Exit status of a command line that cannot be used.
const USAGE: i32 = 2;

/// Runs the tool on the process's arguments; returns the exit status.
pub fn run() -> i32 {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = match parse(&arguments) {
        Err(problem) => {
            eprintln!("tine-lab: {problem}\nTry: tine-lab --help");
            return USAGE;
        }
        Ok(Task::Help) => say(HELP),
        Ok(Task::Version) => say(&format!("tine-lab {TINE_VERSION}\n")),
        Ok(Task::List(name)) => list(name.as_deref()),
        Ok(Task::Report(folder)) => redraw(&folder),
        Ok(Task::Run(options)) => plan::run(&options),
        Ok(Task::Watch(options)) => watch::run(&options),
    };
    match outcome {
        Ok(()) => 0,
        Err(problem) => {
            eprintln!("tine-lab: {problem}");
            1
        }
    }
}

fn say(text: &str) -> Result<(), String> {
    io::stdout().write_all(text.as_bytes()).map_err(|e| e.to_string())
}

fn list(name: Option<&str>) -> Result<(), String> {
    match name {
        Some(name) => say(find(name).ok_or_else(|| format!("there is no experiment {name:?}"))?.text),
        None => {
            say(&BUILTINS.iter().fold(String::new(), |out, b| out + &format!("{:<10}{}\n", b.name, b.about)))
        }
    }
}

/// `tine-lab report`: from `results.json` once more.
fn redraw(folder: &Path) -> Result<(), String> {
    let path = folder.join("results.json");
    let fail = |problem: String| format!("{}: {problem}", path.display());
    let bytes = std::fs::read(&path).map_err(|e| fail(e.to_string()))?;
    let value = serde_json::from_slice(&bytes).map_err(|e| fail(e.to_string()))?;
    let results = Results::from_json(&value).map_err(fail)?;
    report::write(&results, folder)?;
    say(&format!("{}\n", folder.join("report.html").display()))
}
