//! Requests per second and CPU per request, with and without pipelining, and the price of the AOF.

use crate::Outcome;
use crate::load::{self, Fill, Speed};
use crate::options::Options;
use crate::report::{Better, Report, Samples};
use crate::server::{Folder, Processors, Server};

const TESTS: [&str; 3] = ["set", "get", "incr"];
const PIPELINES: [u64; 2] = [32, 1];
/// Without pipelining a request takes about ten times as long.
const UNPIPELINED_SHARE: u64 = 10;

/// All rows of this file.
///
/// # Errors
/// When a server cannot be started; what a server refuses becomes a note of the report.
pub fn run(options: &Options, on: Processors, report: &mut Report) -> Outcome<()> {
    for pipeline in PIPELINES {
        for test in TESTS {
            let name = format!("{test} -P {pipeline}");
            if options.wants(&name) {
                row(options, on, report, &name, test, pipeline);
            }
        }
    }
    if options.wants("appendfsync everysec") {
        everysec(options, on, report);
    }
    Ok(())
}

fn row(options: &Options, on: Processors, report: &mut Report, name: &str, test: &str, pipeline: u64) {
    let (mut rate, mut cpu) = (Samples::default(), Samples::default());
    for _ in 0..options.rounds {
        for (which, program) in [&options.tine, &options.redis].into_iter().enumerate() {
            match measure(options, on, program, &[], test, pipeline) {
                Ok(speed) => {
                    rate.push(which, speed.requests_per_s / 1e3);
                    cpu.push(which, speed.cpu_us_per_request);
                }
                Err(problem) => report.problem(name, program, &problem),
            }
        }
    }
    report.row(&format!("{name}: 1000 requests/s"), &rate, Better::More);
    report.row(&format!("{name}: server CPU, us/request"), &cpu, Better::Less);
}

/// One server, one data set, one run of redis-benchmark.
fn measure(
    options: &Options,
    on: Processors,
    program: &str,
    directives: &[(&str, &str)],
    test: &str,
    pipeline: u64,
) -> Outcome<Speed> {
    let folder = Folder::new()?;
    let server = Server::start(program, &folder, directives, on)?;
    let (prefix, kind) = if test == "incr" { ("counter:", Fill::Integer) } else { ("key:", Fill::Text) };
    load::fill(&server, prefix, 0..options.keys, kind)?;
    let requests = if pipeline == 1 { options.requests / UNPIPELINED_SHARE } else { options.requests };
    load::benchmark(&server, test, requests.max(1), pipeline, options.keys)
}

/// Throughput with an AOF over throughput without, for each server.
fn everysec(options: &Options, on: Processors, report: &mut Report) {
    let name = "appendfsync everysec";
    let none: &[(&str, &str)] = &[("appendonly", "no")];
    let aof: &[(&str, &str)] =
        &[("appendonly", "yes"), ("appendfsync", "everysec"), ("auto-aof-rewrite-percentage", "0")];
    let mut share = Samples::default();
    for _ in 0..options.rounds {
        for (which, program) in [&options.tine, &options.redis].into_iter().enumerate() {
            let rate = |directives| {
                measure(options, on, program, directives, "set", 32).map(|speed| speed.requests_per_s)
            };
            match rate(none).and_then(|none| Ok(rate(aof)? / none)) {
                Ok(kept) => share.push(which, kept),
                Err(problem) => report.problem(name, program, &problem),
            }
        }
    }
    report.row("set -P 32: throughput with everysec / without AOF", &share, Better::More);
}
