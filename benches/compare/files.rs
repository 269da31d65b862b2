//! Seconds to SAVE, to load that RDB file, and to load an AOF of the same strings.
//!
//! A load counts from the start of the process until it answers PING without LOADING, so both servers pay for
//! their start, which is a few ms.

use std::time::Instant;

use crate::Outcome;
use crate::load::{self, Fill};
use crate::options::Options;
use crate::report::{Better, Report, Samples};
use crate::server::{Folder, Processors, Server};

const AOF: &[(&str, &str)] = &[
    ("appendonly", "yes"),
    ("appendfsync", "no"),
    ("aof-use-rdb-preamble", "no"),
    ("auto-aof-rewrite-percentage", "0"),
];

/// All rows of this file.
///
/// # Errors
/// Never at present: what a server refuses becomes a note of the report.
pub fn run(options: &Options, on: Processors, report: &mut Report) -> Outcome<()> {
    if options.wants("rdb") {
        rdb(options, on, report);
    }
    if options.wants("aof load") {
        aof(options, on, report);
    }
    Ok(())
}

fn rdb(options: &Options, on: Processors, report: &mut Report) {
    let (mut save, mut load) = (Samples::default(), Samples::default());
    for _ in 0..options.rounds {
        for (which, program) in [&options.tine, &options.redis].into_iter().enumerate() {
            match rdb_seconds(options, on, program) {
                Ok((save_s, load_s)) => {
                    save.push(which, save_s);
                    load.push(which, load_s);
                }
                Err(problem) => report.problem("rdb", program, &problem),
            }
        }
    }
    report.row(&format!("rdb SAVE of {} strings, s", options.strings), &save, Better::Less);
    report.row(&format!("rdb load of {} strings, s", options.strings), &load, Better::Less);
}

fn rdb_seconds(options: &Options, on: Processors, program: &str) -> Outcome<(f64, f64)> {
    let folder = Folder::new()?;
    let server = Server::start(program, &folder, &[], on)?;
    load::fill(&server, "key:", 0..options.strings, Fill::Text)?;
    let start = Instant::now();
    server.call(&["SAVE"])?;
    let save_s = start.elapsed().as_secs_f64();
    drop(server);
    Ok((save_s, load_seconds(options, on, program, &folder, &[])?))
}

fn aof(options: &Options, on: Processors, report: &mut Report) {
    let mut load = Samples::default();
    for _ in 0..options.rounds {
        for (which, program) in [&options.tine, &options.redis].into_iter().enumerate() {
            match aof_seconds(options, on, program) {
                Ok(seconds) => load.push(which, seconds),
                Err(problem) => report.problem("aof load", program, &problem),
            }
        }
    }
    report.row(&format!("aof load of {} strings, s", options.strings), &load, Better::Less);
}

fn aof_seconds(options: &Options, on: Processors, program: &str) -> Outcome<f64> {
    let folder = Folder::new()?;
    let server = Server::start(program, &folder, AOF, on)?;
    load::fill(&server, "key:", 0..options.strings, Fill::Text)?;
    // The replies have come, so the writes are in the page cache and outlive the process.
    drop(server);
    load_seconds(options, on, program, &folder, AOF)
}

/// Starts the server on the files of `folder` and checks that all keys came back.
fn load_seconds(
    options: &Options,
    on: Processors,
    program: &str,
    folder: &Folder,
    directives: &[(&str, &str)],
) -> Outcome<f64> {
    let start = Instant::now();
    let server = Server::start(program, folder, directives, on)?;
    let seconds = start.elapsed().as_secs_f64();
    let found = server.call(&["DBSIZE"])?;
    if found != format!(":{}", options.strings) {
        return Err(format!("DBSIZE after loading is {found}, not {}", options.strings));
    }
    Ok(seconds)
}
