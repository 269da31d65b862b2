//! The same random commands to the distribution's redis-server and to ours: replies, keyspace events and data
//! must be equal.
//!
//! ```text
//!  seed ─► generator ─► steps of an epoch ─► batches to both ─► replies, events, data compared
//!                                                └─ a difference ─► shrunk to the shortest list of steps
//! ```
//! `make test` runs a fixed number of commands. Longer runs, and runs that show what the program can see:
//!
//! ```text
//! cargo test --test differential -- --seed 7 --commands 1000000 --families list,hash
//!     --epoch 12            only this epoch of the seed
//!     --reference PATH      another reference (redis-server on the PATH)
//!     --ours PATH           another server in our place; --self-check is the reference itself
//!     --failures 20         go on after differences, up to this many
//! ```
//! Redis 7.0 differs from 7.2 in places: `differential/explained.rs` has them with their reasons.

mod common;
#[path = "differential/compare.rs"]
mod compare;
#[path = "differential/dataset.rs"]
mod dataset;
#[path = "differential/explained.rs"]
mod explained;
#[path = "differential/families.rs"]
mod families;
#[path = "differential/generator.rs"]
mod generator;
#[path = "differential/run.rs"]
mod run;
#[path = "differential/shrink.rs"]
mod shrink;
#[path = "differential/sides.rs"]
mod sides;
#[path = "differential/template.rs"]
mod template;
#[path = "differential/values.rs"]
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use common::{Program, skip};
use compare::{Check, agree};
use generator::{Generator, Step};
use run::{Difference, Mode};
use sides::Pair;

/// Commands of the run in `make test`.
const COMMANDS_DEFAULT: u64 = 20_000;
/// Families of the run in `make test`.
const FAMILIES_DEFAULT: &str = "all";
/// Seed of the run in `make test`: fixed, so that it tells of changes and not of luck.
const SEED_DEFAULT: u64 = 1;
/// Steps of an epoch, each on empty servers.
const EPOCH_STEPS: usize = 1000;
/// Steps between two comparisons of all data.
const DATASET_STEPS: usize = 250;
/// Epochs of a pair of servers: their AOF grows.
const EPOCHS_PER_PAIR: u64 = 60;

struct Options {
    seed: u64,
    commands: u64,
    epoch: Option<u64>,
    families: Vec<String>,
    reference: Option<Program>,
    ours: Program,
    failures_max: usize,
}

impl Options {
    fn from_args() -> Options {
        let mut options = Options {
            seed: SEED_DEFAULT,
            commands: COMMANDS_DEFAULT,
            epoch: None,
            families: names(FAMILIES_DEFAULT),
            reference: Program::redis(),
            ours: Program::Tine,
            failures_max: 1,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
            match arg.as_str() {
                "--seed" => options.seed = number(&value()),
                "--commands" => options.commands = number(&value()),
                "--epoch" => options.epoch = Some(number(&value())),
                "--families" => options.families = names(&value()),
                "--reference" => options.reference = Some(Program::Other(PathBuf::from(value()))),
                "--failures" => options.failures_max = number(&value()) as usize,
                "--ours" => options.ours = Program::Other(PathBuf::from(value())),
                "--self-check" => options.ours = options.reference.clone().unwrap_or(Program::Tine),
                // Words of the test runner.
                _ => {}
            }
        }
        options
    }
}

/// Names of families; `all` is none in particular.
fn names(list: &str) -> Vec<String> {
    list.split(',').filter(|name| *name != "all").map(str::to_owned).collect()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// The steps of one epoch: the same for the same seed.
fn steps_of(seed: u64, epoch: u64, families: &[String], version: families::Version) -> (Vec<Step>, Mode) {
    let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(epoch);
    let mut generator = Generator::new(seed, families, version);
    let mut steps = Vec::new();
    let mut compared = 0;
    while steps.len() < EPOCH_STEPS {
        generator.next(&mut steps);
        if steps.len() - compared > DATASET_STEPS {
            steps.push(Step::Dataset);
            compared = steps.len();
        }
    }
    steps.push(Step::Dataset);
    steps.push(Step::Reload("DEBUG RELOAD"));
    steps.push(Step::Dataset);
    let mode =
        Mode { resp3: epoch % 2 == 1, events: epoch % 3 == 2, batch_max: [1, 7, 50][epoch as usize / 2 % 3] };
    (steps, mode)
}

fn directives() -> Vec<String> {
    ["enable-debug-command yes", "loglevel warning", "save \"\""].map(str::to_owned).to_vec()
}

fn describe(step: &Step) -> String {
    let words = |args: &[Vec<u8>]| {
        let quoted = |arg: &Vec<u8>| {
            let plain =
                !arg.is_empty() && arg.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
            if plain {
                String::from_utf8_lossy(arg).into_owned()
            } else {
                format!("\"{}\"", arg.escape_ascii())
            }
        };
        let mut text = args.iter().map(quoted).collect::<Vec<String>>().join(" ");
        if text.len() > 1200 {
            text.truncate(1200);
            text.push_str(" ...");
        }
        text
    };
    match step {
        Step::Command { args, .. } => words(args),
        Step::Transfer { source, targets } => {
            format!("(transfer {} to {})", words(std::slice::from_ref(source)), words(targets))
        }
        Step::Blocked { wait, wake, .. } => {
            let wake: Vec<String> = wake.iter().map(|args| words(args)).collect();
            format!("(second client) {}\n  (first client) {}", words(wait), wake.join("\n  (first client) "))
        }
        Step::Reload(command) => (*command).to_owned(),
        Step::Dataset => "(compare all data)".to_owned(),
    }
}

fn report(seed: u64, epoch: u64, step: usize, mode: Mode, steps: &[Step], found: &Difference) {
    println!("=== DIFFERENCE [{}] seed {seed} epoch {epoch} step {step} {mode:?}", found.signature);
    for step in steps {
        println!("  {}", describe(step));
    }
    println!("{}\n", found.text);
}

/// A deliberately wrong reply must be seen: a comparison that cannot fail proves nothing.
fn check_that_it_can_fail(pair: &mut Pair, version: families::Version) {
    let (steps, mode) = steps_of(1, 0, &["string".to_owned()], version);
    let wrong = |args: &[&str]| Step::Command {
        args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        check: Check::Exact,
    };
    let mut spoiled: Vec<Step> = steps.into_iter().take(20).collect();
    spoiled.retain(|step| matches!(step, Step::Command { .. }));
    // The process id differs between any two servers, so this key does as well.
    let pid = pair.ours.server.pid().to_string();
    pair.ours.call(&["CONFIG", "SET", "maxclients", "5000"]).expect("the server runs");
    spoiled.push(wrong(&["CONFIG", "GET", "maxclients"]));
    let found =
        run::run(pair, &spoiled, mode).unwrap_or_else(|| panic!("a wrong reply was not seen ({pid})"));
    assert!(found.signature.starts_with("CONFIG") && found.step == spoiled.len() - 1, "{found:?}");
    pair.ours.call(&["CONFIG", "SET", "maxclients", "10000"]).expect("the server runs");
    pair.ours.look(&["SET", "only-ours", "1"]).expect("the server runs");
    let seen = dataset::difference(pair).expect("both servers run");
    assert!(seen.is_some(), "a key on one side only was not seen");
    let error = common::Reply::Error("ERR a".to_owned());
    assert!(!agree(&Check::Unordered, &error, &common::Reply::Error("ERR b".to_owned())));
}

fn main() {
    let options = Options::from_args();
    let Some(reference) = options.reference.clone() else {
        skip("redis-server is not installed: nothing to compare with");
        return;
    };
    let ours = options.ours.clone();
    let started = Instant::now();
    let mut pair = Pair::start(reference.clone(), ours.clone(), &directives());
    let version = pair.reference.version();
    compare::reference_is_old(version < (7, 2));
    println!("differential: --seed {} --commands {}, reference {version:?}", options.seed, options.commands);
    check_that_it_can_fail(&mut pair, version);
    let (mut commands, mut epoch, mut failures) = (0u64, options.epoch.unwrap_or(0), 0);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    while commands < options.commands && failures < options.failures_max {
        let (steps, mode) = steps_of(options.seed, epoch, &options.families, version);
        if let Some(found) = run::run(&mut pair, &steps, mode) {
            failures += 1;
            let step = found.step;
            let count = kinds.entry(found.signature.clone()).or_default();
            *count += 1;
            let (short, found) = shrink::shrink(&mut pair, &steps, found, mode);
            report(options.seed, epoch, step, mode, &short, &found);
        }
        commands += steps.len() as u64;
        epoch += 1;
        if options.epoch.is_some() {
            break;
        }
        if epoch % EPOCHS_PER_PAIR == 0 {
            drop(pair);
            pair = Pair::start(reference.clone(), ours.clone(), &directives());
            println!("{commands} commands, {failures} differences, {:.0} s", started.elapsed().as_secs_f64());
        }
    }
    println!(
        "differential: {commands} steps, {failures} differences {kinds:?}, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    // Not a panic: that would print the logs of both servers.
    drop(pair);
    std::process::exit(i32::from(failures > 0));
}
