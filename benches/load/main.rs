//! The load program: sends requests at a fixed rate to any RESP server and measures each latency from the
//! moment the request was *due*, so that a stalled server cannot hide its stall by slowing the sender down.
//!
//! ```text
//! cargo bench --bench load -- --help
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | `options.rs` | the command line |
//! | `keys.rs` | which key comes next: uniform, zipf, sequential |
//! | `mix.rs` | which command comes next, and its bytes |
//! | `wire.rs` | connections: non-blocking sockets, output that could not leave yet, replies counted |
//! | `engine.rs` | the schedule: one thread, open loop, warm-up, commands fired at a time |
//! | `record.rs` | histogram, time line, CPU of the server, the report |
//!
//! The program spins between sends and so takes one core of its own; give the server another one. It reports
//! its own lateness: a figure is only worth something when that is far below the latency it claims.
#![deny(unsafe_code)]

mod engine;
mod keys;
mod mix;
mod options;
mod record;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os().skip(1)) {
        Ok(options::Request::Run(options)) => *options,
        Ok(options::Request::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("load: {problem} (--help lists the options)");
            return ExitCode::from(2);
        }
    };
    match engine::run(&options).and_then(|outcome| record::report(&options, &outcome)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("load: {problem}");
            ExitCode::FAILURE
        }
    }
}
