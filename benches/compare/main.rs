//! End-to-end comparison with the distribution's redis-server: `make bench`.
//!
//! ```text
//! cargo bench --bench compare -- --help
//! ```
//! Each server runs alone, whole (helper threads included) on one processor; the load comes from another one.
//! Rounds alternate between the servers, so that a machine that slows down slows both. Printed are minimum,
//! median and maximum of both and of the ratio of each round; nothing about time is asserted.
//!
//! | file | holds |
//! | --- | --- |
//! | `options.rs` | the command line |
//! | `server.rs` | a pinned server process: start, CPU time, resident memory, stop |
//! | `load.rs` | what drives it: redis-benchmark, and a pipelined filler of its own |
//! | `speed.rs` | requests/s and CPU per request; the price of the AOF |
//! | `memory.rs` | resident bytes per key |
//! | `files.rs` | SAVE, loading an RDB, loading an AOF |
//! | `report.rs` | the table |
#![deny(unsafe_code)]

mod files;
mod load;
mod memory;
mod options;
mod report;
mod server;
mod speed;

use std::process::ExitCode;

use options::{Options, Request};
use report::Report;

/// What may go wrong, as text for the reader.
type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Request::Run(options)) => options,
        Ok(Request::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("compare: {problem} (--help lists the options)");
            return ExitCode::from(2);
        }
    };
    for tool in [options.redis.as_str(), "redis-benchmark"] {
        if !server::is_installed(tool) {
            println!("compare: {tool} is not installed, so there is nothing to compare with.");
            println!("compare: on Debian and Ubuntu: apt install redis-server redis-tools");
            return ExitCode::SUCCESS;
        }
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("compare: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<()> {
    let processors = server::processors()?;
    println!("tine  {}\nother {}", options.tine, options.redis);
    println!("server (all its threads) on processor {}, load on {}", processors.server, processors.load);
    if processors.server == processors.load {
        println!(
            "WARNING: one processor only, so the load takes time from the server: throughput means little"
        );
    }
    println!(
        "{} rounds, alternating; columns: minimum / median / maximum; a ratio above 1: Tine is better",
        options.rounds
    );
    let mut report = Report::new(options);
    speed::run(options, processors, &mut report)?;
    memory::run(options, processors, &mut report)?;
    files::run(options, processors, &mut report)?;
    report.print_problems();
    Ok(())
}
