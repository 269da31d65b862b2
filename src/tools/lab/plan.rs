//! `tine-lab run`: all cells one after the other, a line for each, then the report.
//!
//! ```text
//!  [#########...............]  4/18  redis-server 256mb: saving  2 m 10 s left
//! ```

use crate::base::calendar::compact_utc;
use crate::base::clock::unix_ms_now;
use crate::base::timestamp::rfc3339;
use crate::sys::affinity::pin_current_thread;
use crate::sys::signals::{SignalOptions, Signals};
use crate::tools::lab::arguments::{RunOptions, typed};
use crate::tools::lab::builtin::find;
use crate::tools::lab::chart::scale::Unit;
use crate::tools::lab::experiment::{AXES, Cell, Experiment, Schedule, parse};
use crate::tools::lab::figures::{EXTRA, FORK_PAUSE, FORK_PER_GIB, LATENCY, SECONDS};
use crate::tools::lab::machine::facts;
use crate::tools::lab::measure::{Bench, Trouble};
use crate::tools::lab::process::{Processors, is_installed};
use crate::tools::lab::report;
use crate::tools::lab::results::{Measured, Results};
use crate::tools::lab::statistics::Spread;
use crate::tools::progress::{ProgressLine, bar};
use rustix::termios::tcgetwinsize;
use std::fs;
use std::io::{IsTerminal, stderr, stdout};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What filling and saving take on a common machine, bytes a second; only the estimate depends on it.
const FILL_BYTES_PER_S: f64 = 60e6;
const SAVE_BYTES_PER_S: f64 = 200e6;
/// Starting and ending a server.
const AROUND_S: f64 = 2.0;
/// Columns where the terminal does not tell.
const COLUMNS: usize = 80;
/// How much of the whole must be done before its speed says how long the rest takes.
const KNOWN_SHARE: f64 = 0.05;
/// Further lines of a summary begin here.
const INDENT: &str = "        ";

/// # Errors
/// The experiment cannot be read, nothing could be measured, the report cannot be written, or Ctrl-C.
pub fn run(options: &RunOptions) -> Result<(), String> {
    let (text, experiment) = read(options)?;
    let out = options.out.clone().unwrap_or_else(|| PathBuf::from(format!("tine-lab-{}", date())));
    fs::create_dir_all(&out).map_err(|e| format!("mkdir({}): {e}", out.display()))?;
    let work = options.work.clone().unwrap_or_else(std::env::temp_dir);
    let mut signals = Signals::install(SignalOptions::default()).map_err(|e| format!("signals: {e}"))?;
    let mut results = blank(&experiment, text, options);
    let cells = match experiment.cells.len() {
        1 => "1 cell".to_owned(),
        count => format!("{count} cells"),
    };
    println!("{}: {cells}, about {}", experiment.title, duration(estimate(&experiment)));
    let begun = Instant::now();
    let mut plan = Plan { experiment: &experiment, work: &work, signals: &mut signals, begun };
    let outcome = plan.measure_all(&mut results.cells);
    results.seconds = begun.elapsed().as_secs();
    let is_empty = results.cells.iter().all(|measured| measured.runs.is_empty());
    if is_empty {
        outcome?;
        return Err("nothing could be measured".to_owned());
    }
    write(&results, &out)?;
    println!("{}", out.join("report.html").display());
    outcome
}

/// The experiment with what the command line says above it, and its text.
fn read(options: &RunOptions) -> Result<(String, Experiment), String> {
    let changes_axes = options.overrides.iter().any(|(name, _)| AXES.iter().any(|(axis, _)| axis == name));
    let name = options.experiment.as_deref().unwrap_or(if changes_axes { "" } else { "default" });
    let text = match find(name) {
        Some(builtin) => builtin.text.to_owned(),
        None if name.is_empty() => String::new(),
        None => fs::read_to_string(name)
            .map_err(|e| format!("{name}: {e} (and there is no such built-in experiment)"))?,
    };
    let place = if name.is_empty() { String::new() } else { format!("{name}: ") };
    let experiment =
        parse(&text, &options.overrides, &is_installed).map_err(|problem| format!("{place}{problem}"))?;
    let given =
        options.overrides.iter().map(|(name, value)| format!("# on the command line: {name} = {value}\n"));
    Ok((given.collect::<String>() + &text, experiment))
}

fn date() -> String {
    compact_utc(unix_ms_now()).split('.').next().unwrap_or_default().to_owned()
}

fn blank(experiment: &Experiment, text: String, options: &RunOptions) -> Results {
    let measured = |cell: &Cell| Measured { cell: cell.clone(), runs: Vec::new(), failure: None };
    Results {
        title: experiment.title.clone(),
        about: experiment.about.clone(),
        made: rfc3339(unix_ms_now() / 1000),
        command: typed(&options.words),
        experiment: text,
        machine: facts(),
        chapters: experiment.chapters.clone(),
        cells: experiment.cells.iter().map(measured).collect(),
        seconds: 0,
    }
}

fn write(results: &Results, out: &Path) -> Result<(), String> {
    let put = |name: &str, text: &str| {
        let path = out.join(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    put("results.json", &results.to_json().to_string())?;
    put("experiment.lab", &results.experiment)?;
    report::write(results, out)
}

/// Seconds that a cell takes, about.
fn cell_estimate(cell: &Cell, schedule: &Schedule) -> f64 {
    let save = cell.size_bytes as f64 / SAVE_BYTES_PER_S + 0.2;
    let saves = f64::from(schedule.saves) * (save + schedule.pause.as_secs_f64());
    let once = AROUND_S + cell.size_bytes as f64 / FILL_BYTES_PER_S + schedule.before.as_secs_f64() + saves;
    once * f64::from(schedule.repeat)
}

fn estimate(experiment: &Experiment) -> Duration {
    let seconds = experiment.cells.iter().map(|cell| cell_estimate(cell, &experiment.schedule)).sum();
    Duration::from_secs_f64(seconds)
}

fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {:02} m", seconds / 3600, seconds / 60 % 60),
    }
}

struct Plan<'a> {
    experiment: &'a Experiment,
    work: &'a Path,
    signals: &'a mut Signals,
    begun: Instant,
}

impl Plan<'_> {
    /// Measures each cell; a failing one is noted and passed over.
    fn measure_all(&mut self, cells: &mut [Measured]) -> Result<(), String> {
        let processors = Processors::share();
        // Everything of ours runs beside the load; where that is not allowed, anywhere.
        let _ = pin_current_thread(&processors.load);
        let estimates: Vec<f64> =
            self.experiment.cells.iter().map(|cell| cell_estimate(cell, &self.experiment.schedule)).collect();
        let (total, count) = (estimates.iter().sum::<f64>(), cells.len());
        let (mut done, mut left) = (0.0, TimeLeft::new(self.begun, total));
        for (index, measured) in cells.iter_mut().enumerate() {
            let name = measured.cell.words();
            let mut line = ProgressLine::new();
            let (left, estimate) = (&mut left, estimates[index]);
            let mut progress = |what: &str, share: f64| {
                let share = (done + share * estimate) / total;
                let what = format!("{}/{count}  {name}: {what}", index + 1);
                line.show(&progress_text(share, left.at(share, Instant::now()), &what, columns(stderr())));
            };
            let outcome = self.measure(measured, &processors, &mut progress);
            line.clear();
            done += estimate;
            match outcome {
                Ok(()) => {
                    let text = format!("{:>3}/{count}  {name}: {}", index + 1, summary(measured));
                    println!("{}", wrapped(&text, columns(stdout())));
                }
                Err(Trouble::Interrupted) => {
                    measured.failure = Some("interrupted here".to_owned());
                    return Err("interrupted; the servers were ended".to_owned());
                }
                Err(Trouble::Failed(problem)) => {
                    println!("{:>3}/{count}  {name}: not measured: {problem}", index + 1);
                    measured.failure = Some(problem);
                }
            }
        }
        Ok(())
    }

    fn measure(
        &mut self,
        measured: &mut Measured,
        processors: &Processors,
        progress: &mut dyn FnMut(&str, f64),
    ) -> Result<(), Trouble> {
        let schedule = &self.experiment.schedule;
        for number in 0..schedule.repeat {
            let mut part = |what: &str, share: f64| {
                progress(what, (f64::from(number) + share) / f64::from(schedule.repeat))
            };
            let mut bench = Bench {
                schedule,
                work: self.work,
                processors,
                signals: self.signals,
                progress: &mut part,
                doing: ("", 0.0),
            };
            measured.runs.push(bench.run(&measured.cell)?);
        }
        Ok(())
    }
}

/// How long it will still take: what was estimated at first, then by what the part that is done took.
struct TimeLeft {
    begun: Instant,
    total_s: f64,
    /// The share that was done when that last changed, when that was, and what was left then.
    share: f64,
    changed: Instant,
    left_s: f64,
}

impl TimeLeft {
    fn new(begun: Instant, total_s: f64) -> TimeLeft {
        TimeLeft { begun, total_s, share: 0.0, changed: begun, left_s: total_s }
    }

    fn at(&mut self, share: f64, now: Instant) -> Duration {
        if share > self.share {
            let elapsed_s = now.saturating_duration_since(self.begun).as_secs_f64();
            let factor = if share < KNOWN_SHARE { self.total_s } else { elapsed_s / share };
            (self.share, self.changed, self.left_s) = (share, now, factor * (1.0 - share));
        }
        let since_s = now.saturating_duration_since(self.changed).as_secs_f64();
        Duration::from_secs_f64((self.left_s - since_s).max(0.0))
    }
}

/// What does not fit is taken out of the middle: how long it takes is what people look for.
fn progress_text(share: f64, left: Duration, what: &str, columns: usize) -> String {
    let (start, end) = (format!("[{}]  ", bar(share)), format!("  {} left", duration(left)));
    let room = columns.saturating_sub(1 + start.chars().count() + end.chars().count());
    let what: String = what.chars().take(room).collect();
    (start + &what + &end).chars().take(columns.saturating_sub(1)).collect()
}

/// Columns of a terminal; of anything else, as many as are needed.
fn columns(stream: impl IsTerminal + AsFd) -> usize {
    if !stream.is_terminal() {
        return usize::MAX;
    }
    tcgetwinsize(stream).map_or(COLUMNS, |size| if size.ws_col > 0 { size.ws_col.into() } else { COLUMNS })
}

/// Broken between words; further lines are indented.
fn wrapped(text: &str, columns: usize) -> String {
    let (mut out, mut used) = (String::new(), 0);
    for word in text.split_inclusive(' ') {
        let length = word.chars().count();
        if used > INDENT.len() && used + word.trim_end().chars().count() > columns {
            out.truncate(out.trim_end().len());
            out += "\n";
            out += INDENT;
            used = INDENT.len();
        }
        out += word;
        used += length;
    }
    out
}

/// The medians of a cell.
fn summary(measured: &Measured) -> String {
    let text = |quantity: &crate::tools::lab::figures::Quantity| {
        let spread = Spread::of(measured.saves().filter_map(quantity.of));
        spread.map_or("-".to_owned(), |spread| quantity.unit.text(spread.median))
    };
    let late = measured.runs.iter().map(|run| run.lateness_p999_us).fold(0.0, f64::max);
    format!(
        "fork {} ({}/GiB), save {}, extra {}, p99.9 {} (sender late {})",
        text(&FORK_PAUSE),
        text(&FORK_PER_GIB),
        text(&SECONDS),
        text(&EXTRA),
        text(&LATENCY),
        Unit::Microseconds.text(late)
    )
}

#[cfg(test)]
mod tests {
    use super::{TimeLeft, cell_estimate, duration, progress_text, wrapped};
    use crate::tools::lab::builtin::find;
    use crate::tools::lab::experiment::parse;
    use std::time::{Duration, Instant};

    #[test]
    fn the_line_fits_a_terminal() {
        for (seconds, columns) in [(0, 80), (60, 80), (99_999, 60), (5, 10)] {
            let line = progress_text(0.3, Duration::from_secs(seconds), &"x".repeat(90), columns);
            assert!(line.chars().count() < columns, "{line}");
            assert!(columns < 60 || line.ends_with(" left"), "{line}");
        }
        assert!(progress_text(0.5, Duration::from_secs(60), "a", 80).ends_with("a  1 m 00 s left"));
        assert_eq!(duration(Duration::from_secs(7265)), "2 h 01 m");
    }

    #[test]
    fn the_time_left_runs_down_and_follows_what_was_done() {
        let begun = Instant::now();
        let mut left = TimeLeft::new(begun, 300.0);
        let mut at = |share: f64, s: u64| left.at(share, begun + Duration::from_secs(s)).as_secs();
        assert_eq!((at(0.01, 0), at(0.01, 10)), (297, 287), "the estimate, while little is done");
        assert_eq!((at(0.5, 200), at(0.5, 230)), (200, 170), "as fast as so far");
        assert_eq!(at(0.5, 900), 0, "a step that takes longer than all of it");
    }

    #[test]
    fn a_summary_is_broken_between_words() {
        let text = "  1/18  tine 64mb: fork 1 ms, save 2 s";
        assert_eq!(wrapped(text, usize::MAX), text);
        assert_eq!(wrapped(text, 30), "  1/18  tine 64mb: fork 1 ms,\n        save 2 s");
        for columns in [1, 12, 20] {
            let words = wrapped(text, columns).split_whitespace().count();
            assert_eq!(words, text.split_whitespace().count(), "nothing is lost");
        }
    }

    #[test]
    fn the_default_takes_about_five_minutes() {
        let read = parse(find("default").expect("it is there").text, &[], &|_| true).expect("good");
        let seconds: f64 = read.cells.iter().map(|cell| cell_estimate(cell, &read.schedule)).sum();
        assert!((200.0..400.0).contains(&seconds), "{seconds}");
    }
}
