//! What was measured, and how it is shown.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::tools::load::options::Options;

/// Longest latency told apart; a longer one counts as this.
const LATENCY_NS_MAX: u64 = 120 * 1_000_000_000;
/// Significant digits of the histogram.
const DIGITS: u8 = 3;
/// Below this a percentile is too shaky to be claimed.
const SAMPLES_TO_CLAIM: u64 = 100_000;
/// A sender whose lateness exceeds this part (1 / n) of the latency, both at p99, spoils the figure.
const LATENESS_DIVISOR_MIN: u64 = 10;
/// Samples kept for a time line (8 bytes each).
const TIMELINE_SAMPLES_MAX: u128 = 100_000_000;
/// The percentiles shown.
const PERCENTILES: [(&str, f64); 6] =
    [("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99)];
/// Ticks a second in /proc/PID/stat: USER_HZ, fixed by the kernel's interface on every common machine.
const TICKS_PER_SECOND: u64 = 100;

/// The samples of the measured part of a run.
pub struct Recorder {
    pub latency_ns: Histogram<u64>,
    /// The same less the time in which the sender itself was kept from its processor.
    pub awake_ns: Histogram<u64>,
    pub lateness_ns: Histogram<u64>,
    pub sent: u64,
    pub errors: u64,
    pub first_error: Option<String>,
    /// Due time and latency (sender awake) in microseconds, when a time line was asked for.
    pub samples: Option<Vec<(u32, u32)>>,
}

/// A timed command that was sent.
pub struct Fired {
    /// Which of the options' events.
    pub index: usize,
    pub sent_ns: u64,
    /// Latency, and the text if the reply was an error.
    pub answer: Option<(u64, Option<String>)>,
}

/// Everything the report needs.
pub struct Outcome {
    pub recorder: Recorder,
    /// The end of the warm-up: the zero of the samples.
    pub measured_from: Instant,
    pub unanswered: usize,
    pub fired: Vec<Fired>,
    pub cpu: Option<Cpu>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("the bounds are valid constants")
}

fn microseconds(ns: u64) -> u32 {
    u32::try_from(ns / 1000).unwrap_or(u32::MAX)
}

impl Recorder {
    pub fn new(options: &Options) -> Result<Recorder, String> {
        let expected = u128::from(options.rate) * options.duration.as_millis() / 1000;
        if (options.timeline.is_some() || options.keep_samples) && expected > TIMELINE_SAMPLES_MAX {
            return Err(format!(
                "a time line of {expected} samples is too long (at most {TIMELINE_SAMPLES_MAX})"
            ));
        }
        let samples = (options.timeline.is_some() || options.keep_samples).then(Vec::new);
        let (latency_ns, awake_ns, lateness_ns) = (histogram(), histogram(), histogram());
        Ok(Recorder { latency_ns, awake_ns, lateness_ns, sent: 0, errors: 0, first_error: None, samples })
    }

    /// A batch of requests left `late_ns` after it was due.
    pub fn sent(&mut self, requests: usize, late_ns: u64) {
        self.sent += requests as u64;
        self.lateness_ns.saturating_record(late_ns);
    }

    /// A reply came; `due_ns` counts from the end of the warm-up. For `stalled_ns` of its latency the sender
    /// could neither send the request nor read the reply.
    pub fn answered(&mut self, due_ns: u64, latency_ns: u64, stalled_ns: u64, error: Option<String>) {
        let awake_ns = latency_ns.saturating_sub(stalled_ns);
        self.latency_ns.saturating_record(latency_ns);
        self.awake_ns.saturating_record(awake_ns);
        if let Some(samples) = &mut self.samples {
            samples.push((microseconds(due_ns), microseconds(awake_ns)));
        }
        if error.is_some() {
            self.errors += 1;
            self.first_error = self.first_error.take().or(error);
        }
    }

    /// Replies recorded.
    pub fn answers(&self) -> u64 {
        self.latency_ns.len()
    }
}

/// CPU time of a process, all threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    pub user_us: u64,
    pub system_us: u64,
}

impl Cpu {
    /// Reads `/proc/PID/stat` (10 ms steps; its children are not in it).
    pub fn read(pid: u32) -> Result<Cpu, String> {
        let path = format!("/proc/{pid}/stat");
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        Cpu::parse(&text).ok_or_else(|| format!("{path}: not understood"))
    }

    /// Fields 14 and 15 of proc(5), counted behind the name, which may hold anything.
    pub fn parse(text: &str) -> Option<Cpu> {
        let (_, fields) = text.rsplit_once(") ")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut next_us = || Some(fields.next()?.parse::<u64>().ok()? * 1_000_000 / TICKS_PER_SECOND);
        Some(Cpu { user_us: next_us()?, system_us: next_us()? })
    }

    pub fn since(&self, start: &Cpu) -> Cpu {
        Cpu { user_us: self.user_us - start.user_us, system_us: self.system_us - start.system_us }
    }
}

/// Prints the figures and writes the time line.
pub fn report(options: &Options, outcome: &Outcome) -> Result<(), String> {
    print!("{}", if options.json { json(options, outcome) } else { text(options, outcome) });
    match (&options.timeline, &outcome.recorder.samples) {
        (Some(path), Some(samples)) => write_timeline(path, options, outcome, samples),
        _ => Ok(()),
    }
}

fn percentile_rows(histogram: &Histogram<u64>) -> Vec<(&'static str, f64)> {
    let at = |percentile: f64| histogram.value_at_percentile(percentile) as f64 / 1000.0;
    let mut rows: Vec<(&str, f64)> = PERCENTILES.iter().map(|(name, p)| (*name, at(*p))).collect();
    rows.push(("max", histogram.max() as f64 / 1000.0));
    rows
}

fn text(options: &Options, outcome: &Outcome) -> String {
    let recorder = &outcome.recorder;
    let row = |histogram: &Histogram<u64>| {
        percentile_rows(histogram)
            .iter()
            .fold(String::new(), |line, (name, us)| line + &format!("  {name} {us:.1}"))
    };
    let mut out = format!(
        "{} requests/s due on {} connections, pipeline {}, for {:?} after {:?} of warm-up\n",
        options.rate, options.connections, options.pipeline, options.duration, options.warmup
    );
    let Outcome { unanswered, .. } = outcome;
    out += &format!("samples {}  errors {}  unanswered {unanswered}\n", recorder.answers(), recorder.errors);
    out += &format!("latency us         {}\n", row(&recorder.latency_ns));
    out += &format!("  sender awake     {}\n", row(&recorder.awake_ns));
    out += &format!("sender lateness us {}\n", row(&recorder.lateness_ns));
    if let Some(cpu) = outcome.cpu {
        let per_request = |us: u64| us as f64 / recorder.sent.max(1) as f64;
        let (user, system) = (per_request(cpu.user_us), per_request(cpu.system_us));
        out += &format!("server cpu us/request {:.3} (user {user:.3}, system {system:.3})\n", user + system);
    }
    for fired in &outcome.fired {
        out += &event_line(options, fired);
        out.push('\n');
    }
    if let Some(error) = &recorder.first_error {
        out += &format!("first error: {error}\n");
    }
    let p99 = |histogram: &Histogram<u64>| histogram.value_at_percentile(99.0);
    if p99(&recorder.lateness_ns) > p99(&recorder.latency_ns) / LATENESS_DIVISOR_MIN {
        out +=
            "note: the sender itself was late, so these latencies are partly its own; give it a free core\n";
    }
    if recorder.answers() < SAMPLES_TO_CLAIM {
        out += &format!("note: fewer than {SAMPLES_TO_CLAIM} samples, too few for a figure to be claimed\n");
    }
    out
}

fn event_line(options: &Options, fired: &Fired) -> String {
    let event = &options.events[fired.index];
    let outcome = match &fired.answer {
        None => "no answer".to_owned(),
        Some((ns, None)) => format!("answered in {:.1} us", *ns as f64 / 1000.0),
        Some((ns, Some(error))) => format!("refused in {:.1} us: {error}", *ns as f64 / 1000.0),
    };
    format!("event at {:.3} s: {}: {outcome}", event.at.as_secs_f64(), event.command)
}

/// A JSON string.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("writing to memory cannot fail")
            }
            c => out.push(c),
        }
    }
    out + "\""
}

fn json_events(options: &Options, outcome: &Outcome) -> String {
    let event = |fired: &Fired| {
        let planned = &options.events[fired.index];
        let (latency, error) = match &fired.answer {
            None => ("null".to_owned(), "null".to_owned()),
            Some((ns, error)) => (
                format!("{:.1}", *ns as f64 / 1000.0),
                error.as_ref().map_or("null".to_owned(), |text| quote(text)),
            ),
        };
        let (at_s, command) = (planned.at.as_secs_f64(), quote(&planned.command));
        format!("{{\"at_s\":{at_s:.3},\"command\":{command},\"latency_us\":{latency},\"error\":{error}}}")
    };
    outcome.fired.iter().map(event).collect::<Vec<_>>().join(",")
}

fn json(options: &Options, outcome: &Outcome) -> String {
    let recorder = &outcome.recorder;
    let object = |histogram: &Histogram<u64>| {
        let fields = percentile_rows(histogram).into_iter().map(|(name, us)| format!("\"{name}\":{us:.1}"));
        fields.collect::<Vec<_>>().join(",")
    };
    let cpu = outcome.cpu.map_or("null".to_owned(), |cpu| {
        format!("{{\"user_us\":{},\"system_us\":{}}}", cpu.user_us, cpu.system_us)
    });
    format!(
        "{{\"rate\":{},\"connections\":{},\"pipeline\":{},\"duration_s\":{},\"sent\":{},\"samples\":{},\
         \"errors\":{},\"unanswered\":{},\"latency_us\":{{{}}},\
         \"awake_us\":{{{}}},\"lateness_us\":{{{}}},\"server_cpu\":{cpu},\
         \"events\":[{}]}}\n",
        options.rate,
        options.connections,
        options.pipeline,
        options.duration.as_secs_f64(),
        recorder.sent,
        recorder.answers(),
        recorder.errors,
        outcome.unanswered,
        object(&recorder.latency_ns),
        object(&recorder.awake_ns),
        object(&recorder.lateness_ns),
        json_events(options, outcome),
    )
}

/// One span of the time line; latencies in microseconds, of the requests that were *due* in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub start_ms: u64,
    pub count: usize,
    pub p50_us: u32,
    pub p99_us: u32,
    pub max_us: u32,
}

/// Sorts samples (due, latency in microseconds) into buckets; empty ones are left out.
pub fn buckets(samples: &[(u32, u32)], bucket_us: u64) -> Vec<Bucket> {
    let bucket_of = |due_us: u32| u64::from(due_us) / bucket_us;
    let mut sorted: Vec<(u64, u32)> =
        samples.iter().map(|&(due, latency)| (bucket_of(due), latency)).collect();
    sorted.sort_unstable();
    let summary = |group: &[(u64, u32)]| {
        let at = |share: f64| group[((group.len() - 1) as f64 * share) as usize].1;
        let start_ms = group[0].0 * bucket_us / 1000;
        Bucket { start_ms, count: group.len(), p50_us: at(0.5), p99_us: at(0.99), max_us: at(1.0) }
    };
    sorted.chunk_by(|a, b| a.0 == b.0).map(summary).collect()
}

fn write_timeline(
    path: &Path,
    options: &Options,
    outcome: &Outcome,
    samples: &[(u32, u32)],
) -> Result<(), String> {
    let bucket_us = u64::try_from(options.bucket.as_micros()).expect("a bucket is far below 2^64 us");
    let rows = buckets(samples, bucket_us);
    let text = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => timeline_json(options, outcome, &rows),
        _ => timeline_csv(options, outcome, &rows),
    };
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn timeline_csv(options: &Options, outcome: &Outcome, rows: &[Bucket]) -> String {
    let mut out: String = outcome.fired.iter().map(|f| format!("# {}\n", event_line(options, f))).collect();
    out += "start_ms,count,p50_us,p99_us,max_us\n";
    for Bucket { start_ms, count, p50_us, p99_us, max_us } in rows {
        out += &format!("{start_ms},{count},{p50_us},{p99_us},{max_us}\n");
    }
    out
}

fn timeline_json(options: &Options, outcome: &Outcome, rows: &[Bucket]) -> String {
    let row = |b: &Bucket| format!("[{},{},{},{},{}]", b.start_ms, b.count, b.p50_us, b.p99_us, b.max_us);
    format!(
        "{{\"events\":[{}],\"columns\":[\"start_ms\",\"count\",\"p50_us\",\"p99_us\",\"max_us\"],\"rows\":[{}]}}\n",
        json_events(options, outcome),
        rows.iter().map(row).collect::<Vec<_>>().join(","),
    )
}
