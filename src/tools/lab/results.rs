//! What was measured: the plain records, as JSON (`results.json`, from which the report is drawn) and as CSV.

use crate::tools::lab::experiment::{Cell, Chapter};
use crate::tools::lab::sampler::Sample;
use crate::tools::lab::statistics::Latency;
use crate::tools::load::record::Bucket;
use serde_json::{Map, Value, json};

/// Version of `results.json`.
const FORMAT: u64 = 1;

/// One save of one run. Times are milliseconds from the zero of the run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Save {
    /// The command was sent.
    pub start_ms: i64,
    /// Its reply came: the fork is over.
    pub reply_ms: i64,
    /// The server knows that the child is done.
    pub end_ms: i64,
    pub fork_us: u64,
    /// Of the server, just before the fork.
    pub rss_bytes: u64,
    pub page_tables_bytes: u64,
    pub huge_before_bytes: u64,
    pub huge_after_bytes: u64,
    /// Of the server while the child lived.
    pub minor_faults: u64,
    /// Write commands that were due while the child lived.
    pub writes: u64,
    /// Most that the child had for itself.
    pub child_private_bytes: u64,
    /// Most that the server grew.
    pub growth_bytes: u64,
    /// Most of both at one time.
    pub extra_bytes: u64,
    pub before: Latency,
    pub during: Latency,
    pub after: Latency,
    /// What Tine itself says of the fork; null from other servers.
    pub record: Value,
}

/// One server's life.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    pub version: String,
    pub command_line: String,
    pub keys: u64,
    pub fill_ms: u64,
    pub requests: u64,
    pub errors: u64,
    pub first_error: Option<String>,
    /// How late the load program itself was.
    pub lateness_p99_us: f64,
    pub lateness_p999_us: f64,
    pub saves: Vec<Save>,
    pub latency: Vec<Bucket>,
    pub memory: Vec<Sample>,
}

/// A cell with its runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub cell: Cell,
    pub runs: Vec<Run>,
    /// Why there is no run, or fewer than asked for.
    pub failure: Option<String>,
}

/// Everything of one `tine-lab run`.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    pub title: String,
    pub about: String,
    /// RFC 3339.
    pub made: String,
    /// Command line that repeats it.
    pub command: String,
    /// The experiment's text.
    pub experiment: String,
    /// Facts of the machine: name and value.
    pub machine: Vec<(String, String)>,
    pub chapters: Vec<Chapter>,
    pub cells: Vec<Measured>,
    /// How long it took.
    pub seconds: u64,
}

impl Save {
    /// Fork pause in ms for each GiB of the server.
    pub fn fork_ms_per_gib(&self) -> f64 {
        self.fork_us as f64 / 1000.0 / (self.rss_bytes.max(1) as f64 / (1u64 << 30) as f64)
    }

    /// Extra memory for each write; `None` where nothing was written.
    pub fn extra_per_write_bytes(&self) -> Option<f64> {
        (self.writes > 0).then(|| self.extra_bytes as f64 / self.writes as f64)
    }

    pub fn seconds(&self) -> f64 {
        (self.end_ms - self.start_ms) as f64 / 1000.0
    }

    fn numbers(&self) -> [(&'static str, u64); 10] {
        [
            ("fork_us", self.fork_us),
            ("rss_bytes", self.rss_bytes),
            ("page_tables_bytes", self.page_tables_bytes),
            ("huge_before_bytes", self.huge_before_bytes),
            ("huge_after_bytes", self.huge_after_bytes),
            ("minor_faults", self.minor_faults),
            ("writes", self.writes),
            ("child_private_bytes", self.child_private_bytes),
            ("growth_bytes", self.growth_bytes),
            ("extra_bytes", self.extra_bytes),
        ]
    }

    fn to_json(&self) -> Value {
        let mut object = json!({
            "start_ms": self.start_ms, "reply_ms": self.reply_ms, "end_ms": self.end_ms,
            "before": self.before.to_json(), "during": self.during.to_json(), "after": self.after.to_json(),
            "record": self.record,
        });
        self.numbers().into_iter().for_each(|(name, value)| object[name] = json!(value));
        object
    }

    fn from_json(value: &Value) -> Save {
        let number = |name: &str| value[name].as_u64().unwrap_or(0);
        let time = |name: &str| value[name].as_i64().unwrap_or(0);
        Save {
            start_ms: time("start_ms"),
            reply_ms: time("reply_ms"),
            end_ms: time("end_ms"),
            fork_us: number("fork_us"),
            rss_bytes: number("rss_bytes"),
            page_tables_bytes: number("page_tables_bytes"),
            huge_before_bytes: number("huge_before_bytes"),
            huge_after_bytes: number("huge_after_bytes"),
            minor_faults: number("minor_faults"),
            writes: number("writes"),
            child_private_bytes: number("child_private_bytes"),
            growth_bytes: number("growth_bytes"),
            extra_bytes: number("extra_bytes"),
            before: Latency::from_json(&value["before"]),
            during: Latency::from_json(&value["during"]),
            after: Latency::from_json(&value["after"]),
            record: value["record"].clone(),
        }
    }
}

impl Run {
    fn to_json(&self) -> Value {
        let bucket = |b: &Bucket| json!([b.start_ms, b.count, b.p50_us, b.p99_us, b.max_us]);
        let sample = |s: &Sample| {
            json!([s.at_ms, s.rss_bytes, s.page_tables_bytes, s.minor_faults, s.child, s.child_private_bytes])
        };
        json!({
            "version": self.version, "command_line": self.command_line, "keys": self.keys, "fill_ms": self.fill_ms,
            "requests": self.requests, "errors": self.errors, "first_error": self.first_error,
            "lateness_p99_us": self.lateness_p99_us, "lateness_p999_us": self.lateness_p999_us,
            "saves": self.saves.iter().map(Save::to_json).collect::<Vec<_>>(),
            "latency_fields": ["start_ms", "count", "p50_us", "p99_us", "max_us"],
            "latency": self.latency.iter().map(bucket).collect::<Vec<_>>(),
            "memory_fields":
                ["at_ms", "rss_bytes", "page_tables_bytes", "minor_faults", "child", "child_private_bytes"],
            "memory": self.memory.iter().map(sample).collect::<Vec<_>>(),
        })
    }

    fn from_json(value: &Value) -> Run {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let bucket = |v: &Value| Bucket {
            start_ms: number(&v[0]),
            count: number(&v[1]) as usize,
            p50_us: number(&v[2]) as u32,
            p99_us: number(&v[3]) as u32,
            max_us: number(&v[4]) as u32,
        };
        let sample = |v: &Value| Sample {
            at_ms: v[0].as_i64().unwrap_or(0),
            rss_bytes: number(&v[1]),
            page_tables_bytes: number(&v[2]),
            minor_faults: number(&v[3]),
            child: v[4].as_i64().unwrap_or(0) as i32,
            child_private_bytes: number(&v[5]),
        };
        Run {
            version: text(&value["version"]),
            command_line: text(&value["command_line"]),
            keys: number(&value["keys"]),
            fill_ms: number(&value["fill_ms"]),
            requests: number(&value["requests"]),
            errors: number(&value["errors"]),
            first_error: value["first_error"].as_str().map(str::to_owned),
            lateness_p99_us: value["lateness_p99_us"].as_f64().unwrap_or(0.0),
            lateness_p999_us: value["lateness_p999_us"].as_f64().unwrap_or(0.0),
            saves: list(&value["saves"]).iter().map(Save::from_json).collect(),
            latency: list(&value["latency"]).iter().map(bucket).collect(),
            memory: list(&value["memory"]).iter().map(sample).collect(),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Measured {
    /// All saves of all runs.
    pub fn saves(&self) -> impl Iterator<Item = &Save> {
        self.runs.iter().flat_map(|run| run.saves.iter())
    }

    fn to_json(&self) -> Value {
        let settings: Map<String, Value> =
            self.cell.settings.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let runs: Vec<Value> = self.runs.iter().map(Run::to_json).collect();
        json!({"settings": settings, "failure": self.failure, "runs": runs})
    }

    fn from_json(value: &Value) -> Result<Measured, String> {
        let settings = value["settings"].as_object().ok_or("a cell has no settings")?;
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, v)| (name.clone(), text(v))).collect();
        let runs = list(&value["runs"]).iter().map(Run::from_json).collect();
        let failure = value["failure"].as_str().map(str::to_owned);
        Ok(Measured { cell: Cell::new(&settings)?, runs, failure })
    }
}

impl Results {
    /// The whole as JSON.
    pub fn to_json(&self) -> Value {
        let chapter = |c: &Chapter| json!({"title": c.title, "about": c.about, "cells": c.cells});
        json!({
            "format": FORMAT, "title": self.title, "about": self.about, "made": self.made, "seconds": self.seconds,
            "command": self.command, "experiment": self.experiment,
            "machine": self.machine,
            "chapters": self.chapters.iter().map(chapter).collect::<Vec<_>>(),
            "cells": self.cells.iter().map(Measured::to_json).collect::<Vec<_>>(),
        })
    }

    /// Reads what [`Results::to_json`] gave.
    ///
    /// # Errors
    /// It is something else, or of a later version.
    pub fn from_json(value: &Value) -> Result<Results, String> {
        if value["format"].as_u64() != Some(FORMAT) {
            return Err(format!("no results of tine-lab in format {FORMAT}"));
        }
        let cells = list(&value["cells"]).iter().map(Measured::from_json).collect::<Result<Vec<_>, _>>()?;
        let index = |v: &Value| v.as_u64().map(|n| n as usize).filter(|n| *n < cells.len());
        let chapter = |v: &Value| {
            let indexes = list(&v["cells"]).iter().map(index).collect::<Option<Vec<_>>>();
            let cells = indexes.ok_or("a chapter names a cell that is not there")?;
            Ok(Chapter { title: text(&v["title"]), about: text(&v["about"]), cells })
        };
        let chapters = list(&value["chapters"]).iter().map(chapter).collect::<Result<Vec<_>, String>>()?;
        Ok(Results {
            title: text(&value["title"]),
            about: text(&value["about"]),
            made: text(&value["made"]),
            command: text(&value["command"]),
            experiment: text(&value["experiment"]),
            machine: list(&value["machine"]).iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
            chapters,
            cells,
            seconds: value["seconds"].as_u64().unwrap_or(0),
        })
    }

    /// One row for each save.
    pub fn saves_csv(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.cells.iter().flat_map(|measured| &measured.cell.settings) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let figures = Save::default().numbers().map(|(name, _)| name).join(",");
        let mut out = format!("{},version,run,save,seconds,fork_ms_per_gib,{figures}", names.join(","));
        for span in ["before", "during", "after"] {
            out += &format!(",{span}_p50_us,{span}_p99_us,{span}_p999_us,{span}_max_us");
        }
        out.push('\n');
        for measured in &self.cells {
            let settings: Vec<String> = names.iter().map(|name| field(measured.cell.value(name))).collect();
            for (run_number, run) in measured.runs.iter().enumerate() {
                for (number, save) in run.saves.iter().enumerate() {
                    out += &format!(
                        "{},{},{},{}",
                        settings.join(","),
                        field(&run.version),
                        run_number + 1,
                        number + 1
                    );
                    out += &save_csv(save);
                }
            }
        }
        out
    }

    /// One row for each point of the latency time lines.
    pub fn latency_csv(&self) -> String {
        let mut out = "cell,server,run,start_ms,count,p50_us,p99_us,max_us\n".to_owned();
        for (cell, measured) in self.cells.iter().enumerate() {
            for (run_number, run) in measured.runs.iter().enumerate() {
                for b in &run.latency {
                    let server = field(measured.cell.server_name());
                    out += &format!("{cell},{server},{},{},{},", run_number + 1, b.start_ms, b.count);
                    out += &format!("{},{},{}\n", b.p50_us, b.p99_us, b.max_us);
                }
            }
        }
        out
    }
}

fn save_csv(save: &Save) -> String {
    let mut row = format!(",{:.3},{:.3}", save.seconds(), save.fork_ms_per_gib());
    save.numbers().iter().for_each(|(_, value)| row += &format!(",{value}"));
    for span in [save.before, save.during, save.after] {
        row += &format!(",{:.0},{:.0},{:.0},{:.0}", span.p50_us, span.p99_us, span.p999_us, span.max_us);
    }
    row + "\n"
}

/// A field of CSV (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
pub mod tests {
    use super::{Measured, Results, Run, Save, field};
    use crate::tools::lab::experiment::parse;
    use crate::tools::lab::sampler::Sample;
    use crate::tools::lab::statistics::Latency;
    use crate::tools::load::record::Bucket;
    use serde_json::json;

    /// Results of an experiment that nobody made.
    pub fn example(experiment: &str) -> Results {
        let read = parse(experiment, &[], &|_| true).expect("a good text");
        let latency = Latency { count: 10, p50_us: 50.0, p99_us: 900.0, p999_us: 4000.0, max_us: 5000.0 };
        let save = |n: i64| Save {
            start_ms: 1000 + n * 2000,
            reply_ms: 1010 + n * 2000,
            end_ms: 2000 + n * 2000,
            fork_us: 9000,
            rss_bytes: 1 << 30,
            writes: 20_000,
            extra_bytes: 60 << 20,
            before: latency,
            during: latency,
            after: latency,
            record: json!(null),
            ..Save::default()
        };
        let bucket = |n: u64| Bucket { start_ms: n * 50, count: 9, p50_us: 40, p99_us: 800, max_us: 5000 };
        let sample = |n: i64| Sample {
            at_ms: n * 50,
            rss_bytes: 1 << 30,
            child_private_bytes: (n as u64) << 16,
            child: 7,
            ..Sample::default()
        };
        let run = Run {
            version: "tine 0".to_owned(),
            command_line: "tine-server --save ''".to_owned(),
            saves: (0..2).map(save).collect(),
            latency: (0..100).map(bucket).collect(),
            memory: (0..100).map(sample).collect(),
            ..Run::default()
        };
        let measured = |cell| Measured { cell, runs: vec![run.clone()], failure: None };
        Results {
            title: read.title,
            about: read.about,
            made: "2026-11-21T20:00:00Z".to_owned(),
            command: "tine-lab run".to_owned(),
            experiment: experiment.to_owned(),
            machine: vec![("kernel".to_owned(), "6.18".to_owned())],
            chapters: read.chapters,
            cells: read.cells.into_iter().map(measured).collect(),
            seconds: 61,
        }
    }

    #[test]
    fn results_survive_their_json() {
        let results = example(
            "servers = tine, x=/y/redis-server\n[a]\nsize = 1mb, 2mb\n[b]\nskew = zipf, uniform\ntine.hz = 10",
        );
        assert_eq!(Results::from_json(&results.to_json()), Ok(results.clone()));
        let mut other = results.to_json();
        other["chapters"][0]["cells"][0] = json!(99);
        assert!(Results::from_json(&other).is_err());
        assert!(Results::from_json(&json!({"format": 2})).is_err());
    }

    #[test]
    fn each_row_of_the_csv_has_the_columns_of_its_head() {
        let results = example("servers = tine, x=/y/redis-server\n[a]\nsize = 1mb, 2mb");
        for csv in [results.saves_csv(), results.latency_csv()] {
            let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
            assert!(columns.len() > 4 && columns.iter().all(|count| *count == columns[0]), "{columns:?}");
        }
        assert_eq!(field("a\"b,c"), "\"a\"\"b,c\"");
    }
}
