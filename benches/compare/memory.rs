//! Resident bytes per key, at several sizes (a table that doubles is at its worst between them) and after
//! half of the keys were deleted at random and replaced.

use std::time::Duration;

use crate::Outcome;
use crate::load::{self, Fill};
use crate::options::Options;
use crate::report::{Better, Report, Samples};
use crate::server::{Folder, Processors, Server};

const SIZES: [u64; 5] = [800_000, 1_000_000, 1_300_000, 1_600_000, 2_000_000];
const ROWS: [(&str, Fill); 3] = [
    ("memory: 16-byte key, 32-byte value", Fill::Text),
    ("memory: the same with a TTL", Fill::TextWithTtl),
    ("memory: the same with an integer value", Fill::Integer),
];
/// For a table that is still growing, and for memory to go back.
const SETTLE: Duration = Duration::from_millis(700);

/// Bytes per key of one server.
struct Bytes {
    /// The worst of the sizes.
    worst: f64,
    refilled: f64,
}

/// All rows of this file. One round: memory hardly varies.
///
/// # Errors
/// Never at present: what a server refuses becomes a note of the report.
pub fn run(options: &Options, on: Processors, report: &mut Report) -> Outcome<()> {
    for (name, kind) in ROWS {
        if !options.wants(name) {
            continue;
        }
        let (mut worst, mut refilled) = (Samples::default(), Samples::default());
        for (which, program) in [&options.tine, &options.redis].into_iter().enumerate() {
            match measure(options, on, program, kind) {
                Ok(bytes) => {
                    worst.push(which, bytes.worst);
                    refilled.push(which, bytes.refilled);
                }
                Err(problem) => report.problem(name, program, &problem),
            }
        }
        report.row(&format!("{name}, bytes/key (worst size)"), &worst, Better::Less);
        report.row(&format!("{name}, half replaced"), &refilled, Better::Less);
    }
    Ok(())
}

fn measure(options: &Options, on: Processors, program: &str, kind: Fill) -> Outcome<Bytes> {
    let folder = Folder::new()?;
    let server = Server::start(program, &folder, &[], on)?;
    let empty = server.resident_bytes()?;
    let (mut from, mut worst) = (0, 0.0f64);
    for size in SIZES.map(|size| options.scaled(size)) {
        load::fill(&server, "key:", from..size, kind)?;
        from = size;
        worst = worst.max(bytes_per_key(&server, empty, size)?);
    }
    let chosen = || (0..from).filter(|number| load::scramble(*number).is_multiple_of(2));
    load::delete(&server, "key:", chosen())?;
    load::fill(&server, "new:", chosen(), kind)?;
    Ok(Bytes { worst, refilled: bytes_per_key(&server, empty, from)? })
}

fn bytes_per_key(server: &Server, empty: f64, keys: u64) -> Outcome<f64> {
    std::thread::sleep(SETTLE);
    let found = server.call(&["DBSIZE"])?;
    if found != format!(":{keys}") {
        return Err(format!("DBSIZE is {found}, not {keys}"));
    }
    Ok((server.resident_bytes()? - empty) / keys as f64)
}
