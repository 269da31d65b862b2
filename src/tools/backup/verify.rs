//! `tine-backup verify`: lengths, checksums, and every byte read as a server would read it.

use crate::persist::backup::job::{Progress, check_files};
use crate::persist::backup::manifest::{BackupKind, Manifest};
use crate::persist::rdb::check::{CheckLine, check_file};
use crate::sys::io::{OsStorage, Storage};
use crate::tools::backup::arguments::Options;
use crate::tools::backup::show::{self, ProgressLine};
use crate::tools::backup::store::{self, Stored, manifest_of};
use crate::tools::backup::{Failure, Outcome};
use crate::tools::check_aof;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Checks the named backups, or the newest. All are checked, the first damage is the result.
///
/// # Errors
/// [`Failure::Damaged`] names each.
pub fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let mut chosen = Vec::new();
    if options.names.is_empty() {
        let newest = store::read_all(&options.dir)?.into_iter().next();
        let none = || Failure::Failed(format!("there is no backup in {}", options.dir.display()));
        chosen.push(newest.ok_or_else(none)?);
    }
    for name in &options.names {
        chosen.push(store::find(&options.dir, Some(name))?);
    }
    let mut damaged = Vec::new();
    for stored in &mut chosen {
        let start = Instant::now();
        match verify(stored) {
            Ok(()) => writeln!(out, "{}: ok, {}", stored.name, show::seconds(start.elapsed()))?,
            Err(failure) => {
                writeln!(out, "{}: DAMAGED: {}", stored.name, failure.text())?;
                damaged.push(stored.name.clone());
            }
        }
    }
    if damaged.is_empty() {
        Ok(())
    } else {
        Err(Failure::Damaged(format!("damaged: {}", damaged.join(", "))))
    }
}

/// Checks one backup and leaves a mark in it.
///
/// # Errors
/// [`Failure::Damaged`], with the reason.
pub fn verify(stored: &mut Stored) -> Outcome {
    let mut line = ProgressLine::new();
    line.show(&format!("checking {}", stored.name));
    let outcome = examine(stored);
    line.clear();
    let damage = outcome.as_ref().err().map(|failure| failure.text().to_owned());
    store::mark_verified(stored, damage, show::now_ms() / 1000);
    outcome
}

fn examine(stored: &Stored) -> Outcome {
    let manifest = manifest_of(stored)?;
    if manifest.name != stored.name {
        return Err(Failure::Damaged(format!("it holds the manifest of {}", manifest.name)));
    }
    check_files(&OsStorage, &stored.path, manifest, &Progress::default()).map_err(Failure::Damaged)?;
    for file in &manifest.files {
        let path = stored.path.join(&file.name);
        read_through(manifest, &path)
            .map_err(|reason| Failure::Damaged(format!("{} cannot be loaded: {reason}", path.display())))?;
    }
    Ok(())
}

/// Reads the file with the code of the check tools.
fn read_through(manifest: &Manifest, path: &Path) -> Result<(), String> {
    match manifest.kind {
        BackupKind::Snapshot => {
            let file = OsStorage.open_read(path).map_err(|fault| fault.to_string())?;
            let report = check_file(file, &mut |_: CheckLine| {}).map_err(|failure| failure.to_string())?;
            match manifest.keys {
                Some(keys) if keys != report.keys => {
                    Err(format!("it has {} keys, the manifest says {keys}", report.keys))
                }
                _ => Ok(()),
            }
        }
        BackupKind::Log => {
            let mut text = Vec::new();
            let status = check_aof::run(&[path.into()], &mut std::io::empty(), &mut text);
            let text = String::from_utf8_lossy(&text).into_owned();
            // Where there is no such line (a damaged preamble), the last lines say it.
            let place = text.lines().find_map(|line| line.strip_prefix("[info] First bad byte "));
            let reason = place.or_else(|| text.lines().rev().take(3).last()).unwrap_or_default();
            if status == 0 { Ok(()) } else { Err(reason.to_owned()) }
        }
    }
}
