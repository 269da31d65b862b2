//! `tine-lab run`: all cells one after the other, a line for each, then the report.
//!
//! ```text
//!  [#########...............]  cell 4 of 18  redis-server 256mb: saving  2 m 10 s left
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
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What filling and saving take on a common machine, bytes a second; only the estimate depends on it.
const FILL_BYTES_PER_S: f64 = 60e6;
const SAVE_BYTES_PER_S: f64 = 200e6;
/// Starting and ending a server.
const AROUND_S: f64 = 2.0;
/// Columns of the progress line.
const COLUMNS: usize = 79;

/// # Errors
/// The experiment cannot be read, nothing could be measured, the report cannot be written, or Ctrl-C.
pub fn run(options: &RunOptions) -> Result<(), String> {
    let (text, experiment) = read(options)?;
    let out = options.out.clone().unwrap_or_else(|| PathBuf::from(format!("tine-lab-{}", date())));
    fs::create_dir_all(&out).map_err(|e| format!("mkdir({}): {e}", out.display()))?;
    let work = options.work.clone().unwrap_or_else(std::env::temp_dir);
    let mut signals = Signals::install(SignalOptions::default()).map_err(|e| format!("signals: {e}"))?;
    let mut results = blank(&experiment, text, options);
    println!(
        "{}: {} cells, about {}",
        experiment.title,
        experiment.cells.len(),
        duration(estimate(&experiment))
    );
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
    let experiment =
        parse(&text, &options.overrides, &is_installed).map_err(|problem| format!("{name}: {problem}"))?;
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
        let mut done = 0.0;
        for (index, measured) in cells.iter_mut().enumerate() {
            let name = measured.cell.words();
            let mut line = ProgressLine::new();
            let (begun, estimate) = (self.begun, estimates[index]);
            let mut progress = |what: &str, share: f64| {
                let share = (done + share * estimate) / total;
                let text = progress_text(
                    share,
                    begun.elapsed(),
                    &format!("cell {} of {count}  {name}: {what}", index + 1),
                );
                line.show(&text);
            };
            let outcome = self.measure(measured, &processors, &mut progress);
            line.clear();
            done += estimate;
            match outcome {
                Ok(()) => println!("{:>3}/{count}  {name}: {}", index + 1, summary(measured)),
                Err(Trouble::Interrupted) => return Err("interrupted; the servers were ended".to_owned()),
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
            let mut bench =
                Bench { schedule, work: self.work, processors, signals: self.signals, progress: &mut part };
            measured.runs.push(bench.run(&measured.cell)?);
        }
        Ok(())
    }
}

fn progress_text(share: f64, elapsed: Duration, what: &str) -> String {
    let left = elapsed.as_secs_f64() * (1.0 - share) / share.max(0.001);
    let left = if share < 0.005 {
        String::new()
    } else {
        format!("  {} left", duration(Duration::from_secs_f64(left)))
    };
    let text = format!("[{}]  {what}{left}", bar(share));
    text.chars().take(COLUMNS).collect()
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
    use super::{COLUMNS, cell_estimate, duration, progress_text};
    use crate::tools::lab::builtin::find;
    use crate::tools::lab::experiment::parse;
    use std::time::Duration;

    #[test]
    fn the_line_fits_a_terminal() {
        for (share, seconds) in [(0.0, 0), (0.3, 60), (1.0, 99_999)] {
            let line = progress_text(share, Duration::from_secs(seconds), &"x".repeat(90));
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
        assert!(progress_text(0.5, Duration::from_secs(60), "a").ends_with("a  1 m 00 s left"));
        assert_eq!(duration(Duration::from_secs(7265)), "2 h 01 m");
    }

    #[test]
    fn the_default_takes_about_five_minutes() {
        let read = parse(find("default").expect("it is there").text, &[], &|_| true).expect("good");
        let seconds: f64 = read.cells.iter().map(|cell| cell_estimate(cell, &read.schedule)).sum();
        assert!((200.0..400.0).contains(&seconds), "{seconds}");
    }
}
