//! `tine-backup list`: a table of the backups, the newest first.

use crate::base::clock::unix_ms_now;
use crate::tools::backup::Outcome;
use crate::tools::backup::arguments::Options;
use crate::tools::backup::retention::{Candidate, decide};
use crate::tools::backup::show;
use crate::tools::backup::store::{self, Stored};
use std::io::Write;

/// Names without their prefix, so that a line fits 80 columns; `restore` takes them so.
const TITLES: [&str; 8] = ["BACKUP (UTC)", "AGE", "KIND", "SIZE", "KEYS", "KEPT AS", "CHECKED", "OFF SITE"];
/// Columns that are aligned to the right: figures.
const RIGHT: [bool; 8] = [false, true, false, true, true, false, false, false];

/// # Errors
/// The folder cannot be read.
pub fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let all = store::read_all(&options.dir)?;
    let candidates: Vec<Candidate> = all.iter().map(Stored::candidate).collect();
    let fates = decide(&candidates, options.policy);
    let now_ms = unix_ms_now();
    let mut rows: Vec<[String; 8]> = vec![TITLES.map(str::to_owned)];
    rows.extend(all.iter().zip(&fates).map(|(stored, fate)| row(stored, fate.name(), now_ms)));
    let widths: Vec<usize> =
        (0..TITLES.len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).zip(RIGHT).map(|((cell, width), right)| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())?;
    }
    for stored in all.iter().filter(|stored| !stored.is_good()) {
        writeln!(out, "{}: {}", stored.name, stored.damage().unwrap_or_default())?;
    }
    summary(&all, &options.dir, out)
}

fn summary(all: &[Stored], dir: &std::path::Path, out: &mut dyn Write) -> Outcome {
    let bytes: u64 = all.iter().filter_map(|stored| stored.manifest.as_ref().ok()).map(|m| m.bytes()).sum();
    let mut line = format!("backups: {}, {}", all.len(), show::bytes(bytes));
    let unfinished = store::incomplete(dir);
    if unfinished > 0 {
        line.push_str(&format!(", {unfinished} not finished (being taken, or to be removed by prune)"));
    }
    Ok(writeln!(out, "{line}")?)
}

fn row(stored: &Stored, class: &str, now_ms: i64) -> [String; 8] {
    let manifest = stored.manifest.as_ref().ok();
    let or_question = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
    let checked = match &stored.verified {
        _ if stored.is_unreadable() => "NOT READ".to_owned(),
        _ if !stored.is_good() => "DAMAGED".to_owned(),
        None => "never".to_owned(),
        Some(verified) => show::age(now_ms - verified.unix_s * 1000),
    };
    let offsite = stored.offsite_s.map(|unix_s| show::age(now_ms - unix_s * 1000));
    [
        store::short_name(&stored.name).to_owned(),
        show::age(now_ms - stored.unix_ms),
        or_question(manifest.map(|manifest| manifest.kind.name().to_owned())),
        or_question(manifest.map(|manifest| show::bytes(manifest.bytes()))),
        or_question(manifest.and_then(|manifest| manifest.keys).map(|keys| keys.to_string())),
        class.to_owned(),
        checked,
        offsite.unwrap_or_else(|| "-".to_owned()),
    ]
}
