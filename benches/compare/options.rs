//! The command line of the comparison.

use crate::Outcome;

pub const HELP: &str = "\
End-to-end comparison of Tine with redis-server.

  --rounds N     rounds of each row, the servers taking turns (default 3; claim a ratio from 7 on)
  --keys N       keys in the data set of the speed rows (default 1000000)
  --requests N   requests of a pipelined speed row (default 2000000; a tenth of it without pipelining)
  --strings N    strings of the save and load rows (default 2000000)
  --scale F      multiplies the three above and the key counts of the memory rows (0.01: a quick look)
  --only TEXT    only rows whose name contains TEXT
  --redis PATH   the other server (default redis-server)
  --tine PATH    the server of this project (default: the one just built)
";

/// What to measure, and with what.
#[derive(Debug, Clone)]
pub struct Options {
    pub rounds: usize,
    pub keys: u64,
    pub requests: u64,
    pub strings: u64,
    pub scale: f64,
    pub only: String,
    pub redis: String,
    pub tine: String,
}

#[derive(Debug)]
pub enum Request {
    Run(Options),
    Help,
}

impl Options {
    fn new() -> Options {
        Options {
            rounds: 3,
            keys: 1_000_000,
            requests: 2_000_000,
            strings: 2_000_000,
            scale: 1.0,
            only: String::new(),
            redis: "redis-server".to_owned(),
            tine: env!("CARGO_BIN_EXE_tine-server").to_owned(),
        }
    }

    pub fn scaled(&self, count: u64) -> u64 {
        ((count as f64 * self.scale) as u64).max(1)
    }

    pub fn wants(&self, row: &str) -> bool {
        row.contains(&self.only)
    }
}

/// Parses the arguments; `--bench`, which cargo adds, is passed over.
///
/// # Errors
/// An unknown option, a missing or a bad value.
pub fn parse(mut args: impl Iterator<Item = String>) -> Outcome<Request> {
    let mut options = Options::new();
    while let Some(name) = args.next() {
        match name.as_str() {
            "--bench" => continue,
            "--help" | "-h" => return Ok(Request::Help),
            _ => {}
        }
        let value =
            args.next().ok_or_else(|| format!("{name}: a value is missing or the option is unknown"))?;
        match name.as_str() {
            "--rounds" => options.rounds = number(&name, &value)?,
            "--keys" => options.keys = number(&name, &value)?,
            "--requests" => options.requests = number(&name, &value)?,
            "--strings" => options.strings = number(&name, &value)?,
            "--scale" => options.scale = number(&name, &value)?,
            "--only" => options.only = value,
            "--redis" => options.redis = value,
            "--tine" => options.tine = value,
            _ => return Err(format!("{name}: no such option")),
        }
    }
    if options.rounds == 0 {
        return Err("--rounds: at least 1".to_owned());
    }
    if !options.scale.is_finite() || options.scale <= 0.0 {
        return Err("--scale: a number above 0".to_owned());
    }
    for count in [&mut options.keys, &mut options.requests, &mut options.strings] {
        *count = ((*count as f64 * options.scale) as u64).max(1);
    }
    Ok(Request::Run(options))
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Outcome<T> {
    value.parse().map_err(|_| format!("{name}: {value} is no number that fits"))
}
