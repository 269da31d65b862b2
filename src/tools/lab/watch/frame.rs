//! A look and its history as lines of text.
//!
//! ```text
//!  tine 0.1.0  127.0.0.1:6379  pid 7  up 3 h                        q quits
//!
//!  requests/s   20.1k  ▂▃▅▇▇▇▆▇
//!  round trip   61 µs  ▁▁▁█▁▁▁▁
//!  memory       1.2 GiB resident, page tables 2.5 MiB
//!
//!  snapshot, running for 2 s
//!  progress     ██████████████░░░░░░░░░░  61 %
//!  copied       ███░░░░░░░░░░░░░░░░░░░░░  130 MiB now, 140 MiB peak, 11 % of resident
//! ```

use crate::base::calendar::compact_utc;
use crate::tools::lab::chart::scale::Unit;
use crate::tools::lab::watch::status::{Past, Status};
use std::collections::VecDeque;

/// Looks that are remembered: more than a terminal has columns.
const LOOKS_MAX: usize = 400;
/// Where values begin.
const LABEL_CHARS: usize = 13;
/// Columns of the values left of the small curves.
const VALUE_CHARS: usize = 10;
const BAR_CHARS_MAX: usize = 60;
/// Characters of a small curve, from low to high.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

const BOLD: &str = "1";
const DIM: &str = "2";
const WARM: &str = "33";
const COOL: &str = "36";
const BAD: &str = "31";

/// What earlier looks saw.
#[derive(Debug, Default)]
pub struct History {
    requests: VecDeque<f64>,
    ping_us: VecDeque<f64>,
    copied: VecDeque<f64>,
    /// Longest round trip since the start.
    ping_us_max: f64,
}

impl History {
    pub fn add(&mut self, status: &Status) {
        let note = |values: &mut VecDeque<f64>, value: f64| {
            values.push_back(value);
            if values.len() > LOOKS_MAX {
                values.pop_front();
            }
        };
        note(&mut self.requests, status.number("instantaneous_ops_per_sec"));
        note(&mut self.ping_us, status.ping_us as f64);
        note(&mut self.copied, status.copied().0);
        self.ping_us_max = self.ping_us_max.max(status.ping_us as f64);
    }
}

/// A line whose visible length is known.
#[derive(Default)]
struct Line {
    text: String,
    chars: usize,
    max: usize,
}

impl Line {
    fn new(max: usize) -> Line {
        Line { max, ..Line::default() }
    }

    /// Adds text in a colour; what does not fit is cut off.
    fn add(mut self, color: &str, text: &str) -> Line {
        let part: String = text.chars().filter(|c| !c.is_control()).take(self.max - self.chars).collect();
        self.chars += part.chars().count();
        match color {
            "" => self.text.push_str(&part),
            color => self.text += &format!("\x1b[{color}m{part}\x1b[0m"),
        }
        self
    }

    fn label(self, text: &str) -> Line {
        self.add("", " ").add(DIM, &format!("{text:<LABEL_CHARS$}"))
    }

    fn right(self, text: &str) -> Line {
        let gap = self.max.saturating_sub(self.chars + text.chars().count());
        if gap == 0 { self } else { self.add("", &" ".repeat(gap)).add(DIM, text) }
    }

    fn left_over(&self) -> usize {
        self.max - self.chars
    }
}

/// The whole screen for a size in columns and rows; never more lines, never longer ones.
pub fn frame(status: &Status, history: &History, (columns, rows): (usize, usize)) -> Vec<String> {
    // The last column stays free: some terminals break the line there.
    let max = columns.saturating_sub(1).max(1);
    let mut lines = vec![head(status, max), Line::new(max)];
    lines.extend(load_lines(status, history, max));
    lines.push(memory_line(status, max));
    lines.push(Line::new(max));
    lines.extend(child_lines(status, history, max));
    lines.push(Line::new(max));
    let room = rows.saturating_sub(lines.len() + 1);
    lines.extend(past_lines(status, max, room));
    lines.into_iter().take(rows.max(1)).map(|line| line.text).collect()
}

fn name_of(status: &Status) -> String {
    for (field, name) in [("tine_version", "tine"), ("valkey_version", "valkey"), ("redis_version", "redis")]
    {
        if !status.text(field).is_empty() {
            return format!("{name} {}", status.text(field));
        }
    }
    "server".to_owned()
}

fn head(status: &Status, max: usize) -> Line {
    let up = status.number("uptime_in_seconds");
    let about = format!("  {}  pid {}  up {}", status.where_, status.text("process_id"), span_of(up));
    Line::new(max).add(BOLD, &format!(" {}", name_of(status))).add("", &about).right("q quits ")
}

/// `5 s`, `3 m`, `2 h`, `4 d`.
fn span_of(seconds: f64) -> String {
    match seconds as u64 {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} m", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

fn load_lines(status: &Status, history: &History, max: usize) -> Vec<Line> {
    let row = |label: &str, value: String, values: &VecDeque<f64>, color: &str, end: String| {
        let line = Line::new(max).label(label).add(BOLD, &format!("{value:<VALUE_CHARS$}"));
        let width = line.left_over().saturating_sub(end.chars().count() + 2);
        line.add(color, &curve(values, width)).add(DIM, &format!("  {end}"))
    };
    let requests = status.number("instantaneous_ops_per_sec");
    let most = history.requests.iter().copied().fold(0.0, f64::max);
    let longest = format!("max {:>7}", Unit::Microseconds.text(history.ping_us_max));
    vec![
        row(
            "requests/s",
            Unit::Number.text(requests),
            &history.requests,
            COOL,
            format!("max {:>7}", Unit::Number.text(most)),
        ),
        row("round trip", Unit::Microseconds.text(status.ping_us as f64), &history.ping_us, COOL, longest),
    ]
}

fn memory_line(status: &Status, max: usize) -> Line {
    let resident = status.number("used_memory_rss");
    let mut text = format!("{} resident", Unit::Bytes.text(resident));
    if let Some(bytes) = status.page_tables_bytes {
        text += &format!(", page tables {}", Unit::Bytes.text(bytes as f64));
    }
    if let Some(bytes) = status
        .record
        .as_ref()
        .and_then(|record| record["huge_pages_after_bytes"].as_f64())
        .filter(|b| *b > 0.0)
    {
        text += &format!(", {:.0} % in huge pages", (100.0 * bytes / resident.max(1.0)).min(100.0));
    }
    Line::new(max).label("memory").add("", &text)
}

fn child_lines(status: &Status, history: &History, max: usize) -> Vec<Line> {
    let fork_us = status.number("latest_fork_usec");
    let per_gib = fork_us / 1000.0 / (status.number("used_memory_rss").max(1.0) / (1u64 << 30) as f64);
    let pause = format!("{}, {} per GiB", Unit::Microseconds.text(fork_us), Unit::Milliseconds.text(per_gib));
    let Some(kind) = status.child() else {
        let forks = status.number("total_forks");
        let mut lines = vec![
            Line::new(max).add(BOLD, " no child").add("", &format!("  {forks:.0} forks since the start")),
        ];
        if forks > 0.0 {
            lines.push(Line::new(max).label("last fork").add(WARM, &pause));
        }
        return lines;
    };
    let since = status.live("duration_ms").map_or_else(
        || {
            span_of(
                status
                    .number("rdb_current_bgsave_time_sec")
                    .max(status.number("aof_current_rewrite_time_sec"))
                    .max(0.0),
            )
        },
        |ms| Unit::Milliseconds.text(ms),
    );
    let mut lines = vec![
        Line::new(max).add(BOLD, &format!(" {kind}")).add("", &format!(", running for {since}")),
        progress_line(status, max),
        copied_line(status, max),
        Line::new(max).label("fork pause").add(WARM, &pause),
    ];
    let curve_line = Line::new(max).label("");
    let width = curve_line.left_over();
    lines.insert(3, curve_line.add(WARM, &curve(&history.copied, width)));
    if let Some(faults) = status.live("minor_faults") {
        let writes = status.live("writes").unwrap_or(0.0);
        let (faults, writes) = (Unit::Number.text(faults), Unit::Number.text(writes));
        lines.push(
            Line::new(max)
                .label("")
                .add("", &format!("{faults} page faults, {writes} writes since the fork")),
        );
    }
    lines
}

fn progress_line(status: &Status, max: usize) -> Line {
    let share = status.progress().unwrap_or(0.0);
    let line = Line::new(max).label("progress");
    let end = match status.live("keys_per_s") {
        Some(rate) if rate > 0.0 => format!("  {:.0} %, {} keys/s", share * 100.0, Unit::Number.text(rate)),
        _ => format!("  {:.0} %", share * 100.0),
    };
    let width = bar_chars(&line);
    line.add(COOL, &block_bar(share, width)).add("", &end)
}

fn copied_line(status: &Status, max: usize) -> Line {
    let (now, peak) = status.copied();
    let share = peak / status.number("used_memory_rss").max(1.0);
    let color = if share > 0.5 { BAD } else { WARM };
    let line = Line::new(max).label("copied");
    let width = bar_chars(&line);
    let text =
        format!("  {} now, {} peak, {:.0} %", Unit::Bytes.text(now), Unit::Bytes.text(peak), share * 100.0);
    line.add(color, &block_bar(share, width)).add("", &text)
}

/// Room for a bar beside its text.
fn bar_chars(line: &Line) -> usize {
    line.left_over().saturating_sub(36).min(BAR_CHARS_MAX)
}

fn block_bar(share: f64, width: usize) -> String {
    let filled = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    "█".repeat(filled) + &"░".repeat(width - filled)
}

/// The latest values as a curve from 0 to the highest of them.
fn curve(values: &VecDeque<f64>, width: usize) -> String {
    let shown = values.iter().skip(values.len().saturating_sub(width));
    let high = shown.clone().copied().fold(0.0, f64::max);
    let level = |value: &f64| match (value / high * 7.0).round() {
        level if level.is_finite() => LEVELS[(level as usize).min(7)],
        _ => LEVELS[0],
    };
    shown.map(level).collect()
}

fn past_lines(status: &Status, max: usize, room: usize) -> Vec<Line> {
    if status.past.is_empty() || room < 2 {
        return Vec::new();
    }
    let head = format!(
        " {:<10}{:<14}{:>10}{:>10}{:>9}{:>11}  {}",
        "at", "for", "pause", "per GiB", "took", "extra", "end"
    );
    let rows = status.past.iter().take(room - 1).map(|past| Line::new(max).add("", &past_row(past)));
    [Line::new(max).add(DIM, &head)].into_iter().chain(rows).collect()
}

fn past_row(past: &Past) -> String {
    let date = compact_utc(past.started_ms);
    let at = format!("{}:{}:{}", &date[9..11], &date[11..13], &date[13..15]);
    let per_gib = past.fork_us as f64 / 1000.0 / (past.rss_bytes.max(1) as f64 / (1u64 << 30) as f64);
    format!(
        " {at:<10}{:<14}{:>10}{:>10}{:>9}{:>11}  {}",
        past.kind,
        Unit::Microseconds.text(past.fork_us as f64),
        Unit::Milliseconds.text(per_gib),
        Unit::Milliseconds.text(past.duration_ms as f64),
        Unit::Bytes.text(past.extra_bytes as f64),
        past.state
    )
}

/// A look in one line, for files and pipes.
pub fn one_line(status: &Status) -> String {
    let requests = Unit::Number.text(status.number("instantaneous_ops_per_sec"));
    let resident = Unit::Bytes.text(status.number("used_memory_rss"));
    let date = compact_utc(status.at_ms);
    let mut line =
        format!("{date}  {requests} requests/s  round trip {} µs  resident {resident}", status.ping_us);
    match (status.child(), status.copied()) {
        (Some(kind), (now, peak)) => {
            let percent = status.progress().unwrap_or(0.0) * 100.0;
            let (now, peak) = (Unit::Bytes.text(now), Unit::Bytes.text(peak));
            line += &format!("  {kind} {percent:.0} %  copied {now}  peak {peak}");
        }
        (None, _) => line += "  no child",
    }
    line + &format!("  last fork {} µs", status.text("latest_fork_usec"))
}

#[cfg(test)]
mod tests {
    use super::{History, curve, frame, one_line};
    use crate::tools::lab::watch::status::{Past, Status};
    use std::collections::VecDeque;

    const RUNNING: &str = "redis_version:7.0.15\r\nprocess_id:77\r\nuptime_in_seconds:4000\r\nused_memory_rss:1073741824\r\n\
        instantaneous_ops_per_sec:20100\r\nrdb_bgsave_in_progress:1\r\ncurrent_save_keys_processed:61\r\n\
        current_save_keys_total:100\r\ncurrent_cow_size:136314880\r\ncurrent_cow_peak:146800640\r\nlatest_fork_usec:11200\r\n\
        total_forks:3\r\nrdb_current_bgsave_time_sec:2\r\n";

    /// Without colours.
    fn plain(lines: &[String]) -> Vec<String> {
        lines
            .iter()
            .map(|line| {
                line.split('\x1b')
                    .map(|part| {
                        part.split_once('m')
                            .filter(|(code, _)| code.starts_with('['))
                            .map_or(part, |(_, text)| text)
                    })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn a_running_save_fits_each_screen_and_says_what_matters() {
        let mut status = Status::from_info(RUNNING);
        let past = Past {
            kind: "snapshot".to_owned(),
            fork_us: 900,
            rss_bytes: 1 << 30,
            state: "ok".to_owned(),
            ..Past::default()
        };
        status.past = vec![past; 20];
        let mut history = History::default();
        (0..500).for_each(|_| history.add(&status));
        for size in [(80, 24), (120, 40), (40, 10), (1, 1), (300, 100)] {
            let lines = plain(&frame(&status, &history, size));
            assert!(lines.len() <= size.1, "{size:?}: {} lines", lines.len());
            assert!(lines.iter().all(|line| line.chars().count() < size.0.max(2)), "{size:?}: {lines:#?}");
        }
        let text = plain(&frame(&status, &history, (80, 24))).join("\n");
        for part in [
            "redis 7.0.15",
            "pid 77",
            "20.1k",
            "61 %",
            "130 MiB now, 140 MiB peak, 14 %",
            "11.2 ms",
            "900 µs",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn an_idle_server_and_an_odd_one_are_shown_as_well() {
        for info in
            ["redis_version:7\r\ntotal_forks:2\r\nlatest_fork_usec:5\r\n", "", "used_memory_rss:x\r\n"]
        {
            let status = Status::from_info(info);
            let text = plain(&frame(&status, &History::default(), (80, 24))).join("\n");
            assert!(text.contains("no child"), "{text}");
            assert!(one_line(&status).contains("no child"));
        }
        assert!(
            one_line(&Status::from_info(RUNNING)).contains("snapshot 61 %  copied 130 MiB  peak 140 MiB")
        );
    }

    #[test]
    fn a_curve_reaches_from_nothing_to_the_highest() {
        assert_eq!(curve(&VecDeque::from([9.0, 0.0, 1.0, 2.0]), 3), "▁▅█");
        assert_eq!(curve(&VecDeque::from([0.0, 0.0]), 9), "▁▁");
    }
}
