//! The command line of the load program.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::tools::load::keys::Skew;
use crate::tools::load::mix::{Prepare, Weighted};
use crate::tools::load::scenario;

/// Text of `--help`.
pub const HELP: &str = "\
load: open-loop load for any RESP server; latency is measured from the intended send time

  where      --host H (127.0.0.1)  --port P (6379)  --unix PATH  --setup 'COMMAND' (on each connection; repeatable)
  how much   --rate N (10000 requests/s)  --duration T (10s)  --warmup T (1s)  --connections N (50)
             --pipeline N (1: requests that are due together, in one write)
             --outstanding-max N (1000000: give up when so many replies are missing)
  keys       --keys N (100000)  --fill (SET every key first)
             --skew uniform|zipf[:S]|gaussian[:D]|sequential (uniform; S = 0.99, D = 0.05 of the keys)
  commands   --write-share W (0.1: SET with share W, GET otherwise)
             --mix set=1,get=9,incr=2 (instead)  --template 'WEIGHT=HSET {key} f {value}' (added; repeatable)
             {key} a key, {counter} a key for numbers, {value} random bytes, {new} a key never used; other
             words as they are
             --prepare 'COUNT=COMMAND' (before the run, COUNT times; x:{index} gives x:0, x:1 ...; repeatable)
             --value-size BYTES (64)  --seed N (1)
  events     --at T:COMMAND (5s:BGSAVE, once, after the warm-up; repeatable)
  scenario   --scenario expire|delete|grow|evict (sets the options above for 50,000 GET/s while 1 M keys expire,
             while a set of 5 M is deleted, while the table grows from 8 M keys, while writes evict;
             options behind it change it)
  server     --pid P (CPU per request from /proc/P/stat)
  output     --timeline FILE.csv|FILE.json  --bucket T (100ms)  --json (the figures as one JSON object)

Times take us, ms, s, m. Exit status 1 when the server fails, closes a connection or falls behind without end.
";

/// Longest run: the time line counts microseconds in 32 bits.
const DURATION_MAX: Duration = Duration::from_secs(4000);
/// Most connections; each has buffers of its own.
const CONNECTIONS_MAX: usize = 20_000;
/// Largest value.
const VALUE_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Highest rate a single thread could be asked for.
const RATE_MAX: u64 = 10_000_000;
/// Most requests in one write.
const PIPELINE_MAX: usize = 10_000;
/// Share of writes without --write-share or --mix.
const WRITE_SHARE_DEFAULT: f64 = 0.1;
/// Skew of --skew zipf, as in the YCSB workloads.
const ZIPF_DEFAULT: f64 = 0.99;
/// Standard deviation of --skew gaussian, as a share of all keys.
const GAUSSIAN_DEFAULT: f64 = 0.05;

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// A command to fire once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// After the end of the warm-up.
    pub at: Duration,
    pub command: String,
}

/// Everything that the command line says.
#[derive(Debug, Clone)]
pub struct Options {
    pub target: Target,
    pub setup: Vec<String>,
    /// Requests per second over all connections.
    pub rate: u64,
    pub duration: Duration,
    pub warmup: Duration,
    pub connections: usize,
    pub pipeline: usize,
    pub outstanding_max: usize,
    pub keys: u64,
    pub skew: Skew,
    pub fill: bool,
    pub prepare: Vec<Prepare>,
    pub mix: Vec<Weighted>,
    pub value_bytes: usize,
    pub seed: u64,
    pub events: Vec<Timed>,
    pub pid: Option<u32>,
    pub timeline: Option<PathBuf>,
    pub bucket: Duration,
    pub json: bool,
    /// Keeps the samples (8 bytes each) for a caller that is part of this program.
    pub keep_samples: bool,
    /// Set by another thread: the schedule ends now.
    pub stop: Option<Arc<AtomicBool>>,
}

/// What the command line asks for.
pub enum Request {
    Run(Box<Options>),
    Help,
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// The defaults of the command line; without a mix.
    pub fn new() -> Options {
        Options {
            target: Target::Tcp("127.0.0.1".to_owned(), 6379),
            setup: Vec::new(),
            rate: 10_000,
            duration: Duration::from_secs(10),
            warmup: Duration::from_secs(1),
            connections: 50,
            pipeline: 1,
            outstanding_max: 1_000_000,
            keys: 100_000,
            skew: Skew::Uniform,
            fill: false,
            prepare: Vec::new(),
            mix: Vec::new(),
            value_bytes: 64,
            seed: 1,
            events: Vec::new(),
            pid: None,
            timeline: None,
            bucket: Duration::from_millis(100),
            json: false,
            keep_samples: false,
            stop: None,
        }
    }

    /// Everything within its bounds.
    ///
    /// # Errors
    /// What is not.
    pub fn check(self) -> Result<Options, String> {
        let bounds = [
            ("--rate", self.rate, 1, RATE_MAX),
            ("--connections", self.connections as u64, 1, CONNECTIONS_MAX as u64),
            ("--pipeline", self.pipeline as u64, 1, PIPELINE_MAX as u64),
            ("--keys", self.keys, 1, u64::from(u32::MAX)),
            ("--value-size", self.value_bytes as u64, 0, VALUE_BYTES_MAX as u64),
            ("--outstanding-max", self.outstanding_max as u64, 1, u64::from(u32::MAX)),
        ];
        for (name, value, low, high) in bounds {
            if value < low || value > high {
                return Err(format!("{name} must be from {low} to {high}, not {value}"));
            }
        }
        if self.duration.is_zero() || self.warmup + self.duration > DURATION_MAX {
            return Err(format!("--duration and --warmup: more than 0, at most {DURATION_MAX:?} together"));
        }
        if self.bucket < Duration::from_millis(1) {
            return Err("--bucket must be at least 1ms".to_owned());
        }
        if self.events.iter().any(|event| event.at > self.duration) {
            return Err("--at lies behind the end of the run".to_owned());
        }
        Ok(self)
    }
}

/// Parses the arguments (without the program's name).
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut options = Options::new();
    let mut write_share = None;
    let mut parser = Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|e| e.to_string())? {
        let Arg::Long(name) = arg else {
            return Err(arg.unexpected().to_string());
        };
        let name = name.to_owned();
        match name.as_str() {
            "help" => return Ok(Request::Help),
            // What cargo adds for every bench program.
            "bench" => {}
            "fill" => options.fill = true,
            "json" => options.json = true,
            _ => {
                let value = parser.value().and_then(|v| v.string()).map_err(|e| e.to_string())?;
                if name == "write-share" {
                    write_share = Some(share(&value)?);
                } else {
                    set(&mut options, &name, &value)?;
                }
            }
        }
    }
    if options.mix.is_empty() || write_share.is_some() {
        options.mix.extend(Weighted::set_and_get(write_share.unwrap_or(WRITE_SHARE_DEFAULT)));
    }
    options.check().map(|options| Request::Run(Box::new(options)))
}

/// Applies one option that has a value.
pub fn set(options: &mut Options, name: &str, value: &str) -> Result<(), String> {
    match name {
        "host" => {
            let Target::Tcp(host, _) = &mut options.target else {
                return Err("--host after --unix".to_owned());
            };
            *host = value.to_owned();
        }
        "port" => {
            let Target::Tcp(_, port) = &mut options.target else {
                return Err("--port after --unix".to_owned());
            };
            *port = number(name, value)?;
        }
        "unix" => options.target = Target::Unix(value.into()),
        "setup" => options.setup.push(value.to_owned()),
        "rate" => options.rate = number(name, value)?,
        "duration" => options.duration = time(value)?,
        "warmup" => options.warmup = time(value)?,
        "connections" => options.connections = number(name, value)?,
        "pipeline" => options.pipeline = number(name, value)?,
        "outstanding-max" => options.outstanding_max = number(name, value)?,
        "keys" => options.keys = number(name, value)?,
        "skew" => options.skew = skew(value)?,
        "prepare" => options.prepare.push(Weighted::parse_prepare(value)?),
        "scenario" => return scenario::apply(options, value),
        "mix" => options.mix.extend(Weighted::parse_mix(value)?),
        "template" => options.mix.push(Weighted::parse_template(value)?),
        "value-size" => options.value_bytes = number(name, value)?,
        "seed" => options.seed = number(name, value)?,
        "at" => options.events.push(timed(value)?),
        "pid" => options.pid = Some(number(name, value)?),
        "timeline" => options.timeline = Some(value.into()),
        "bucket" => options.bucket = time(value)?,
        _ => return Err(format!("unknown option --{name}")),
    }
    Ok(())
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("--{name}: {value:?} is no number in range"))
}

fn share(value: &str) -> Result<f64, String> {
    let share: f64 = number("write-share", value)?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("--write-share must be from 0 to 1".to_owned()) }
}

/// A time with its unit: `250us`, `10ms`, `5s`, `1.5m`; without a unit, seconds.
///
/// # Errors
/// It is none.
pub fn time(value: &str) -> Result<Duration, String> {
    let split = value.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(value.len());
    let (digits, unit) = value.split_at(split);
    let factor = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{value:?}: the unit must be us, ms, s or m")),
    };
    let count: f64 = digits.parse().map_err(|_| format!("{value:?} is no time"))?;
    Duration::try_from_secs_f64(count * factor).map_err(|_| format!("{value:?} is no time"))
}

/// The name of a skew with its parameter.
///
/// # Errors
/// It is unknown, or the parameter is out of range.
pub fn skew(value: &str) -> Result<Skew, String> {
    let (name, parameter) = value.split_once(':').unwrap_or((value, ""));
    match (name, parameter) {
        ("uniform", "") => Ok(Skew::Uniform),
        ("sequential", "") => Ok(Skew::Sequential),
        ("zipf", "") => Ok(Skew::Zipf(ZIPF_DEFAULT)),
        ("zipf", exponent) => match exponent.parse::<f64>() {
            Ok(exponent) if exponent > 0.0 && exponent <= 10.0 => Ok(Skew::Zipf(exponent)),
            _ => Err("--skew zipf:S takes S above 0, at most 10".to_owned()),
        },
        ("gaussian", "") => Ok(Skew::Gaussian(GAUSSIAN_DEFAULT)),
        ("gaussian", deviation) => match deviation.parse::<f64>() {
            Ok(deviation) if deviation > 0.0 && deviation <= 1.0 => Ok(Skew::Gaussian(deviation)),
            _ => Err("--skew gaussian:D takes D above 0, at most 1".to_owned()),
        },
        _ => Err(format!("--skew {value:?}: uniform, zipf[:S], gaussian[:D] or sequential")),
    }
}

fn timed(value: &str) -> Result<Timed, String> {
    let (at, command) = value.split_once(':').ok_or("--at takes TIME:COMMAND")?;
    if command.trim().is_empty() {
        return Err("--at takes TIME:COMMAND".to_owned());
    }
    Ok(Timed { at: time(at)?, command: command.to_owned() })
}
