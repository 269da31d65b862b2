//! The open-loop load program (`src/tools/load`) as a program of its own.
//!
//! ```text
//! cargo bench --bench load -- --help
//! ```
#![deny(unsafe_code)]

use std::process::ExitCode;

use tine::tools::load::{engine, options, record};

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
