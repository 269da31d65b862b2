//! Runs steps on both servers and says where they first differ.

use std::time::{Duration, Instant};

use crate::common::Reply;
use crate::compare::{Check, agree, is_reference_old, shape, wrong_pick};
use crate::dataset::{self, show};
use crate::generator::Step;
use crate::sides::{Broken, Pair};

/// How long a waiting client may take to show up as blocked.
const BLOCKED_DEADLINE: Duration = Duration::from_millis(40);

/// A difference, and where it was seen.
#[derive(Debug)]
pub struct Difference {
    /// Index of the step.
    pub step: usize,
    /// What kind it is: shrinking keeps it.
    pub signature: String,
    pub text: String,
}

/// The settings of one run of steps.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    pub resp3: bool,
    /// Keyspace events are compared too.
    pub events: bool,
    /// Commands of one write at most.
    pub batch_max: usize,
}

/// Directives that steps change, with the values that a run begins with.
const DIRECTIVES: [(&str, &str); 15] = [
    ("hash-max-listpack-entries", "128"),
    ("hash-max-listpack-value", "64"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
    ("set-max-listpack-entries", "128"),
    ("set-max-listpack-value", "64"),
    ("set-max-intset-entries", "512"),
    ("list-max-listpack-size", "-2"),
    ("list-compress-depth", "0"),
    ("stream-node-max-bytes", "4096"),
    ("stream-node-max-entries", "100"),
    ("hll-sparse-max-bytes", "3000"),
    ("rdbcompression", "yes"),
    ("proto-max-bulk-len", "1048576"),
    ("notify-keyspace-events", ""),
];

/// Empties both servers and puts the directives back.
fn reset(pair: &mut Pair, mode: Mode) -> Result<(), Broken> {
    pair.both(&["RESET"])?;
    pair.both(&["FLUSHALL"])?;
    for (name, value) in DIRECTIVES {
        let value = if name == "notify-keyspace-events" && mode.events { "EA" } else { value };
        pair.both(&["CONFIG", "SET", name, value])?;
    }
    if !is_reference_old() {
        // With older types a packed set is not packed any more when it comes back.
        pair.both(&["CONFIG", "SET", "rdb-version", "11"])?;
    }
    pair.both(&["HELLO", if mode.resp3 { "3" } else { "2" }])?;
    pair.events()?;
    Ok(())
}

/// Runs the steps on empty servers, up to the first difference.
pub fn run(pair: &mut Pair, steps: &[Step], mode: Mode) -> Option<Difference> {
    match try_run(pair, steps, mode) {
        Ok(found) => found,
        Err((step, broken)) => {
            let text = format!("{} broke: {}", broken.side, broken.problem);
            let ended = if broken.problem.contains("ended") { "ended" } else { "stuck" };
            pair.restart();
            Some(Difference { step, signature: format!("{} {ended}", broken.side), text })
        }
    }
}

fn try_run(pair: &mut Pair, steps: &[Step], mode: Mode) -> Result<Option<Difference>, (usize, Broken)> {
    reset(pair, mode).map_err(|broken| (0, broken))?;
    let mut at = 0;
    while at < steps.len() {
        let together = steps[at..].iter().take(mode.batch_max).take_while(|step| batches(step)).count();
        let count = together.max(1);
        let found = if together > 0 {
            run_batch(pair, &steps[at..at + count])
        } else {
            run_alone(pair, &steps[at]).map(|found| found.map(|text| (0, text)))
        };
        let found = found.map_err(|broken| (at + count - 1, broken))?;
        if let Some((offset, text)) = found {
            let step = at + offset;
            let signature = format!("{} {}", signature(&steps[step]), kinds(&text));
            return Ok(Some(Difference { step, signature, text }));
        }
        if mode.events {
            let found = events_differ(pair).map_err(|broken| (at + count - 1, broken))?;
            if let Some(text) = found {
                return Ok(Some(Difference { step: at + count - 1, signature: "events".to_owned(), text }));
            }
        }
        at += count;
    }
    Ok(None)
}

fn batches(step: &Step) -> bool {
    matches!(step, Step::Command { check, .. } if !check.is_alone())
}

/// What a difference at this step is called.
fn signature(step: &Step) -> String {
    match step {
        Step::Command { args, .. } => String::from_utf8_lossy(&args[0]).to_uppercase(),
        Step::Blocked { wait, .. } => format!("blocked {}", String::from_utf8_lossy(&wait[0]).to_uppercase()),
        Step::Transfer { .. } => "transfer".to_owned(),
        Step::Reload(command) => (*command).to_owned(),
        Step::Dataset => "dataset".to_owned(),
    }
}

/// The first words of a difference: shrinking keeps what was expected and what came.
fn kinds(text: &str) -> String {
    let of_line = |line: &str| {
        let words = line.trim().trim_start_matches("expected ").trim_start_matches("got ");
        words.chars().filter(|c| !c.is_ascii_digit()).take(24).collect::<String>()
    };
    let starts = |line: &&str| line.starts_with("expected ") || line.trim().starts_with("got ");
    text.lines().filter(starts).map(of_line).collect::<Vec<_>>().join(" / ")
}

type Found = Result<Option<String>, Broken>;

fn run_batch(pair: &mut Pair, steps: &[Step]) -> Result<Option<(usize, String)>, Broken> {
    let mut batch: Vec<&[Vec<u8>]> = Vec::new();
    let mut checks = Vec::new();
    for step in steps {
        if let Step::Command { args, check } = step {
            batch.push(args);
            checks.push(check);
        }
    }
    let replies = pair.batch(&batch)?;
    for (index, (left, right)) in replies.iter().enumerate() {
        if !agree(checks[index], left, right) {
            return Ok(Some((index, against(left, right))));
        }
    }
    Ok(None)
}

fn against(left: &Reply, right: &Reply) -> String {
    format!("expected {}\n     got {}", show(left), show(right))
}

fn run_alone(pair: &mut Pair, step: &Step) -> Found {
    match step {
        Step::Command { args, check } => run_random(pair, args, check),
        Step::Transfer { source, targets } => transfer(pair, source, targets),
        Step::Blocked { wait, wake, check } => blocked(pair, wait, wake, check),
        Step::Reload(command) => {
            let words: Vec<&str> = command.split(' ').collect();
            let (left, right) = pair.look(&words)?;
            Ok((left != right).then(|| against(&left, &right)))
        }
        Step::Dataset => dataset::difference(pair),
    }
}

/// True if the order that the command shows is one that Redis promises.
fn has_order(pair: &mut Pair, key: &[u8], check: &Check) -> Result<bool, Broken> {
    if *check == Check::UnlessSet {
        let (kind, _) = pair.both(&[b"TYPE".as_slice(), key])?;
        return Ok(kind != Reply::Simple("set".to_owned()));
    }
    let (members, _) = pair.both(&[b"ZRANGE".as_slice(), key, b"0", b"-1", b"WITHSCORES"])?;
    let mut scores = match &members {
        Reply::Array(items) if matches!(items.first(), Some(Reply::Array(_))) => {
            items.iter().map(|pair| pair.items()[1].clone()).collect::<Vec<Reply>>()
        }
        Reply::Array(items) => items.chunks(2).map(|pair| pair[1].clone()).collect(),
        _ => return Ok(true),
    };
    scores.dedup();
    Ok(scores.len() < 2)
}

/// A command with a random result: checked against what the key held, then made equal.
fn run_random(pair: &mut Pair, args: &[Vec<u8>], check: &Check) -> Found {
    if matches!(check, Check::UnlessSet | Check::Lexical) {
        // ZRANGESTORE names its source second.
        let key = if args[0] == b"ZRANGESTORE" { args.get(2) } else { args.get(1) };
        if !has_order(pair, key.map_or(b"".as_slice(), Vec::as_slice), check)? {
            return Ok(None);
        }
    }
    let members = match check {
        Check::Pick(read) | Check::Pop(read) => {
            let mut words: Vec<Vec<u8>> = read.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            if words[0] != b"KEYS" {
                words.insert(1, args.get(1).cloned().unwrap_or_default());
            }
            Some(pair.both(&words)?)
        }
        _ => None,
    };
    let (left, right) = pair.both(args)?;
    if !agree(check, &left, &right) {
        return Ok(Some(against(&left, &right)));
    }
    if let Some((_, members)) = members.filter(|_| !right.is_error()) {
        let negative = args.get(2).is_some_and(|count| count.starts_with(b"-"));
        let distinct = !negative && args.len() < 4;
        if let Some(problem) = wrong_pick(&members, &right, distinct) {
            return Ok(Some(format!("{problem}\n  had {}\n  got {}", show(&members), show(&right))));
        }
    }
    if matches!(check, Check::Pop(_) | Check::Repair) && !left.is_error() {
        return repair(pair, &args[1]);
    }
    Ok(None)
}

/// Gives our key the reference's value: the payload is restored on both sides, so that both convert it.
fn repair(pair: &mut Pair, key: &[u8]) -> Found {
    let (left, right) = pair.both(&[b"DUMP".as_slice(), key])?;
    if left.is_null() || right.is_null() {
        return Ok(
            (left.is_null() != right.is_null()).then(|| format!("after it, DUMP {}", against(&left, &right)))
        );
    }
    let Reply::Bulk(payload) = &left else { return Ok(Some(format!("DUMP {}", against(&left, &right)))) };
    restore(pair, key, payload)
}

/// RESTORE of a payload over a key that keeps its expiry, on both sides.
fn restore(pair: &mut Pair, key: &[u8], payload: &[u8]) -> Found {
    let (expiry, _) = pair.both(&[b"PEXPIRETIME".as_slice(), key])?;
    let expiry = match expiry {
        Reply::Int(at) if at > 0 => at.to_string(),
        _ => "0".to_owned(),
    };
    let (left, right) =
        pair.both(&[b"RESTORE".as_slice(), key, expiry.as_bytes(), payload, b"REPLACE", b"ABSTTL"])?;
    let wrong = left != right || left.is_error();
    Ok(wrong
        .then(|| format!("RESTORE of {}: {}", show(&Reply::Bulk(payload.to_vec())), against(&left, &right))))
}

fn transfer(pair: &mut Pair, source: &[u8], targets: &[Vec<u8>; 2]) -> Found {
    let (left, right) = pair.both(&[b"DUMP".as_slice(), source])?;
    let (Reply::Bulk(theirs), Reply::Bulk(ours)) = (&left, &right) else {
        return Ok((left != right).then(|| against(&left, &right)));
    };
    for (target, payload) in targets.iter().zip([theirs, ours]) {
        // The version stands before the checksum. Another 7.2 in our place writes 11, which 7.0 refuses.
        if is_reference_old() && payload.len() > 10 && payload[payload.len() - 10] > 10 {
            continue;
        }
        if let Some(problem) = restore(pair, target, payload)? {
            return Ok(Some(problem));
        }
    }
    Ok(None)
}

fn blocked(pair: &mut Pair, wait: &[Vec<u8>], wake: &[Vec<Vec<u8>>], check: &Check) -> Found {
    pair.wait(wait)?;
    let start = Instant::now();
    let blocked = |reply: &Reply| reply.text().contains("\nblocked_clients:1");
    loop {
        let (left, right) = pair.look(&["INFO", "clients"])?;
        if (blocked(&left) && blocked(&right)) || start.elapsed() > BLOCKED_DEADLINE {
            break;
        }
        if !blocked(&left) && !blocked(&right) && start.elapsed() > BLOCKED_DEADLINE / 20 {
            break;
        }
    }
    let batch: Vec<&[Vec<u8>]> = wake.iter().map(Vec::as_slice).collect();
    pair.batch(&batch)?;
    let (left, right) = pair.waited()?;
    let late = start.elapsed() > BLOCKED_DEADLINE;
    let differs = !agree(check, &left, &right);
    // On a machine that stood still one side may have timed out before it was woken: no verdict then.
    if differs && late && shape(&left) != shape(&right) {
        return Ok(Some(format!("(late) {}", against(&left, &right))));
    }
    Ok(differs.then(|| against(&left, &right)))
}

fn events_differ(pair: &mut Pair) -> Found {
    let (left, right) = pair.events()?;
    if left == right {
        return Ok(None);
    }
    let name = |event: Option<&Reply>| event.map_or("nothing".to_owned(), show);
    let at = (0..left.len().max(right.len())).find(|&at| left.get(at) != right.get(at)).unwrap_or(0);
    Ok(Some(format!(
        "keyspace event {at} of the batch: expected {}, got {}",
        name(left.get(at)),
        name(right.get(at))
    )))
}
