//! One cell: a fresh server, filled, then saved several times under an open load.
//!
//! ```text
//!  fill | warm-up | before | save 1 ........ | pause | save 2 ...... | pause
//!                 0        ^ fork            ^ child done
//!                 |<------- requests are due at fixed times, whatever the server does ------->|
//! ```

use crate::sys::proc::ProcFs;
use crate::sys::signals::Signals;
use crate::tools::client::Client;
use crate::tools::lab::experiment::{Cell, SaveKind, Schedule};
use crate::tools::lab::process::{Folder, Processors, Server, info_field, version};
use crate::tools::lab::results::{Run, Save};
use crate::tools::lab::sampler::{Sample, Sampler, signed_ms};
use crate::tools::lab::statistics::Latency;
use crate::tools::load::engine;
use crate::tools::load::mix::Weighted;
use crate::tools::load::options::{Options, Target};
use crate::tools::load::record::{Outcome, buckets};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Connections of the load.
const CONNECTIONS: usize = 20;
/// Load before anything is measured.
const WARMUP: Duration = Duration::from_millis(500);
/// Time between two looks at a save.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Width of a point of the latency time line.
const BUCKET_US: u64 = 50_000;
/// Samples that a load may keep, and its longest time: bounds of the load program.
const SAMPLES_MAX: u64 = 99_000_000;
const LOAD_MAX: Duration = Duration::from_secs(3900);
/// Settling between filling and the load.
const SETTLE: Duration = Duration::from_millis(300);

/// What a measurement needs beside its cell.
pub struct Bench<'a> {
    pub schedule: &'a Schedule,
    /// Where the servers' folders are made.
    pub work: &'a Path,
    pub processors: &'a Processors,
    pub signals: &'a mut Signals,
    /// Told what is being done, and how much of the cell is done (0 to 1), some times a second.
    pub progress: &'a mut dyn FnMut(&str, f64),
    /// What it was told last.
    pub doing: (&'static str, f64),
}

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Somebody pressed Ctrl-C.
    Interrupted,
    /// This cell cannot be measured; others may.
    Failed(String),
}

impl From<String> for Trouble {
    fn from(problem: String) -> Trouble {
        Trouble::Failed(problem)
    }
}

impl Bench<'_> {
    fn check(&mut self) -> Result<(), Trouble> {
        if self.signals.shutdown_requests() > 0 { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    fn say(&mut self, what: &'static str, share: f64) {
        self.doing = (what, share);
        (self.progress)(what, share);
    }

    fn sleep(&mut self, time: Duration) -> Result<(), Trouble> {
        let until = Instant::now() + time;
        loop {
            self.check()?;
            // The time that is left runs down.
            (self.progress)(self.doing.0, self.doing.1);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }

    /// Measures a cell once.
    ///
    /// # Errors
    /// The server, the load or a save failed, or Ctrl-C. The server is gone then, too.
    pub fn run(&mut self, cell: &Cell) -> Result<Run, Trouble> {
        let folder = Folder::make(self.work, "server")?;
        self.say("starting", 0.0);
        let server = Server::start(cell, folder.path(), self.processors)?;
        let mut client = server.client()?;
        let mut run = Run {
            version: version(&mut client),
            command_line: server.command_line.clone(),
            ..Run::default()
        };
        run.fill_ms = self.fill(cell, &server)?;
        run.keys = cell.keys();
        self.sleep(SETTLE)?;
        let load = Load::start(cell, server.port)?;
        let zero = Instant::now() + if load.thread.is_some() { WARMUP } else { Duration::ZERO };
        let all = [&self.processors.server[..], &self.processors.load].concat();
        let sampler = Sampler::start(server.pid(), zero, all);
        let saves = self.saves(cell, &server, &mut client, &load);
        let is_interrupted = matches!(saves, Err(Trouble::Interrupted));
        if is_interrupted {
            // The load would wait for its last replies.
            drop(server);
        }
        let samples = sampler.finish();
        let outcome = load.finish();
        if is_interrupted {
            return Err(Trouble::Interrupted);
        }
        let origin = match &outcome {
            None => zero,
            Some(Ok(outcome)) => outcome.measured_from,
            Some(Err(problem)) => return Err(Trouble::Failed(format!("the load: {problem}"))),
        };
        let saves = saves?;
        let shift_ms = signed_ms(zero, origin);
        run.memory = samples.into_iter().map(|s| Sample { at_ms: s.at_ms + shift_ms, ..s }).collect();
        let latencies = take_latencies(&mut run, outcome);
        run.saves = saves.into_iter().map(|raw| raw.into_save(origin, &run.memory, cell)).collect();
        add_latencies(&mut run.saves, &latencies, self.schedule);
        Ok(run)
    }

    fn fill(&mut self, cell: &Cell, server: &Server) -> Result<u64, Trouble> {
        let options = load_options(cell, server.port)?;
        let begun = Instant::now();
        let (progress, signals) = (&mut *self.progress, &*self.signals);
        let outcome = engine::fill(&options, &mut |done| {
            progress("filling", 0.3 * done as f64 / options.keys as f64);
            signals.shutdown_requests() == 0
        });
        self.check()?;
        outcome?;
        Ok(begun.elapsed().as_millis() as u64)
    }

    /// All saves in a row, with what the server and the system say of each.
    fn saves(
        &mut self,
        cell: &Cell,
        server: &Server,
        client: &mut Client,
        load: &Load,
    ) -> Result<Vec<RawSave>, Trouble> {
        self.sleep(WARMUP)?;
        let mut saves = Vec::new();
        for number in 0..self.schedule.saves {
            let pause = if number == 0 { self.schedule.before } else { self.schedule.pause };
            let done = 0.3 + 0.7 * f64::from(number) / f64::from(self.schedule.saves);
            self.say("load", done);
            self.sleep(pause)?;
            self.say("saving", done);
            saves.push(self.save(cell, server, client, load)?);
        }
        self.sleep(self.schedule.pause)?;
        Ok(saves)
    }

    fn save(
        &mut self,
        cell: &Cell,
        server: &Server,
        client: &mut Client,
        load: &Load,
    ) -> Result<RawSave, Trouble> {
        let huge_bytes =
            |pid: i32| ProcFs::system().smaps_rollup_of(pid).map_or(0, |rollup| rollup.anon_huge_pages);
        let huge_before_bytes = huge_bytes(server.pid());
        let start = Instant::now();
        let (command, running, status, copied) = match cell.save {
            SaveKind::Rdb => {
                ("BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status", "rdb_last_cow_size")
            }
            SaveKind::Rewrite | SaveKind::Hybrid => {
                ("BGREWRITEAOF", "aof_rewrite_in_progress", "aof_last_bgrewrite_status", "aof_last_cow_size")
            }
        };
        client.ask(&[command.as_bytes()]).map_err(|problem| format!("{command}: {problem}"))?;
        let replied = Instant::now();
        let info = loop {
            self.sleep(POLL_INTERVAL)?;
            let info = client.ask(&[b"INFO", b"persistence"])?.text();
            if info_field(&info, running) == Some("0") {
                break info;
            }
            load.check()?;
            if start.elapsed() > self.schedule.limit {
                return Err(format!("{command} took longer than {} s", self.schedule.limit.as_secs()).into());
            }
        };
        let end = Instant::now();
        if info_field(&info, status) != Some("ok") {
            return Err(format!("{command} failed, says the server{}", server.last_words()).into());
        }
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
        let stats = client.ask(&[b"INFO", b"stats"])?.text();
        Ok(RawSave {
            start,
            replied,
            end,
            fork_us: number(info_field(&stats, "latest_fork_usec")),
            reported_bytes: number(info_field(&info, copied)),
            huge_before_bytes,
            huge_after_bytes: huge_bytes(server.pid()),
            record: fork_record(client),
        })
    }
}

/// Tine's own record of its latest fork; null from other servers.
fn fork_record(client: &mut Client) -> Value {
    let reply = client.ask(&[b"FORK", b"LATEST", b"JSON"]);
    reply.ok().and_then(|reply| serde_json::from_str(&reply.text()).ok()).unwrap_or(Value::Null)
}

fn load_options(cell: &Cell, port: u16) -> Result<Options, String> {
    let rate = cell.rate().max(1);
    let longest = Duration::from_secs(SAMPLES_MAX / rate).min(LOAD_MAX);
    let options = Options {
        target: Target::Tcp("127.0.0.1".to_owned(), port),
        rate,
        duration: longest,
        warmup: WARMUP,
        connections: CONNECTIONS,
        keys: cell.keys(),
        skew: cell.skew,
        mix: Weighted::set_and_get(1.0 - cell.read_share),
        value_bytes: usize::try_from(cell.value_bytes).map_err(|e| e.to_string())?,
        keep_samples: true,
        ..Options::default()
    };
    options.check()
}

/// The load, on a thread of its own. Without a rate there is none.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Outcome, String>>>,
}

impl Load {
    fn start(cell: &Cell, port: u16) -> Result<Load, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let options = Options { stop: Some(Arc::clone(&stop)), ..load_options(cell, port)? };
        let thread = (cell.write_rate > 0).then(|| std::thread::spawn(move || engine::run(&options)));
        Ok(Load { stop, thread })
    }

    fn check(&self) -> Result<(), Trouble> {
        match &self.thread {
            Some(thread) if thread.is_finished() => Err(Trouble::Failed(
                "the load ended early: the server cannot keep up with this rate".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Ends the schedule, waits for the replies under way.
    fn finish(self) -> Option<Result<Outcome, String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .map(|thread| thread.join().unwrap_or_else(|_| Err("the load program panicked".to_owned())))
    }
}

/// A save as it was seen, in the clock's own times.
struct RawSave {
    start: Instant,
    replied: Instant,
    end: Instant,
    fork_us: u64,
    reported_bytes: u64,
    huge_before_bytes: u64,
    huge_after_bytes: u64,
    record: Value,
}

impl RawSave {
    fn into_save(self, zero: Instant, memory: &[Sample], cell: &Cell) -> Save {
        let (start_ms, end_ms) = (signed_ms(self.start, zero), signed_ms(self.end, zero));
        let before = memory.iter().rev().find(|sample| sample.at_ms < start_ms).or(memory.first());
        let before = before.copied().unwrap_or_default();
        let inside = || memory.iter().filter(|sample| (start_ms..=end_ms).contains(&sample.at_ms));
        let growth = |sample: &Sample| sample.rss_bytes.saturating_sub(before.rss_bytes);
        let private =
            inside().map(|sample| sample.child_private_bytes).max().unwrap_or(0).max(self.reported_bytes);
        let growth_peak = inside().map(growth).max().unwrap_or(0);
        let sampled = inside().map(|sample| sample.child_private_bytes + growth(sample)).max().unwrap_or(0);
        let faults =
            memory.iter().rev().find(|sample| sample.at_ms <= end_ms + 60).map_or(0, |s| s.minor_faults);
        Save {
            start_ms,
            reply_ms: signed_ms(self.replied, zero),
            end_ms,
            fork_us: self.fork_us,
            rss_bytes: before.rss_bytes,
            page_tables_bytes: before.page_tables_bytes,
            huge_before_bytes: self.huge_before_bytes,
            huge_after_bytes: self.huge_after_bytes,
            minor_faults: faults.saturating_sub(before.minor_faults),
            writes: cell.write_rate * (end_ms - start_ms).max(0) as u64 / 1000,
            child_private_bytes: private,
            growth_bytes: growth_peak,
            extra_bytes: sampled.max(self.reported_bytes),
            record: self.record,
            ..Save::default()
        }
    }
}

/// Moves the load's figures into the run; its samples come back.
fn take_latencies(run: &mut Run, outcome: Option<Result<Outcome, String>>) -> Vec<(u32, u32)> {
    let Some(Ok(outcome)) = outcome else { return Vec::new() };
    let recorder = outcome.recorder;
    run.requests = recorder.sent;
    run.errors = recorder.errors;
    run.first_error = recorder.first_error.clone();
    run.lateness_p99_us = recorder.lateness_ns.value_at_percentile(99.0) as f64 / 1000.0;
    run.lateness_p999_us = recorder.lateness_ns.value_at_percentile(99.9) as f64 / 1000.0;
    let samples = recorder.samples.unwrap_or_default();
    run.latency = buckets(&samples, BUCKET_US);
    samples
}

/// Latencies before, during and after each save.
fn add_latencies(saves: &mut [Save], samples: &[(u32, u32)], schedule: &Schedule) {
    let pause_ms = schedule.pause.as_millis() as i64;
    let mut from_ms = 0;
    for save in saves {
        save.before = Latency::between(samples, from_ms * 1000, save.start_ms * 1000);
        save.during = Latency::between(samples, save.start_ms * 1000, save.end_ms * 1000);
        save.after = Latency::between(samples, save.end_ms * 1000, (save.end_ms + pause_ms) * 1000);
        from_ms = save.end_ms;
    }
}
