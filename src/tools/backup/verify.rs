//! `tine-backup verify`: lengths, checksums, and every byte read as a server would read it.

use crate::base::clock::unix_ms_now;
use crate::persist::backup::BackupFault;
use crate::persist::backup::job::{Progress, check_files};
use crate::persist::backup::manifest::{BackupKind, Manifest};
use crate::persist::rdb::check::{CheckLine, check_file};
use crate::persist::rdb::error::RdbErrorKind;
use crate::sys::io::{OsStorage, Storage};
use crate::tools::backup::arguments::Options;
use crate::tools::backup::show;
use crate::tools::backup::store::{self, Stored, manifest_of};
use crate::tools::backup::{Failure, Outcome};
use crate::tools::check_aof;
use crate::tools::progress::ProgressLine;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Checks the named backups, or the newest. All are checked, the first damage is the result.
///
/// # Errors
/// [`Failure::Damaged`] names each that is; [`Failure::Failed`] those that could not be read.
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
    let (mut damaged, mut unread) = (Vec::new(), Vec::new());
    for stored in &mut chosen {
        let start = Instant::now();
        match verify(stored) {
            Ok(()) => writeln!(out, "{}: ok, {}", stored.name, show::seconds(start.elapsed()))?,
            Err(Failure::Damaged(reason)) => {
                writeln!(out, "{}: DAMAGED: {reason}", stored.name)?;
                damaged.push(stored.name.clone());
            }
            Err(failure) => {
                writeln!(out, "{}: NOT CHECKED: {}", stored.name, failure.text())?;
                unread.push(stored.name.clone());
            }
        }
    }
    if !damaged.is_empty() {
        Err(Failure::Damaged(format!("damaged: {}", damaged.join(", "))))
    } else if !unread.is_empty() {
        Err(Failure::Failed(format!("not checked: {}", unread.join(", "))))
    } else {
        Ok(())
    }
}

/// Checks one backup and leaves a mark in it; none when it could not be read, since it may be good.
///
/// # Errors
/// [`Failure::Damaged`] with the reason, [`Failure::Failed`] when it could not be read.
pub fn verify(stored: &mut Stored) -> Outcome {
    let mut line = ProgressLine::new();
    line.show(&format!("checking {}", stored.name));
    let outcome = examine(stored);
    line.clear();
    let now_s = unix_ms_now() / 1000;
    match &outcome {
        Ok(()) => store::mark_verified(stored, None, now_s),
        Err(Failure::Damaged(reason)) => store::mark_verified(stored, Some(reason.clone()), now_s),
        Err(_) => {}
    }
    outcome
}

fn examine(stored: &Stored) -> Outcome {
    let manifest = manifest_of(stored)?;
    if manifest.name != stored.name {
        return Err(Failure::Damaged(format!("it holds the manifest of {}", manifest.name)));
    }
    check_files(&OsStorage, &stored.path, manifest, &Progress::default())?;
    for file in &manifest.files {
        let path = stored.path.join(&file.name);
        read_through(manifest, &path).map_err(|fault| {
            let text = format!("{} cannot be loaded: {fault}", path.display());
            match fault {
                BackupFault::Damaged(_) => Failure::Damaged(text),
                BackupFault::Unreadable(_) => Failure::Failed(text),
            }
        })?;
    }
    Ok(())
}

/// Reads the file with the code of the check tools.
fn read_through(manifest: &Manifest, path: &Path) -> Result<(), BackupFault> {
    if manifest.kind == BackupKind::Log {
        return check_aof::check_single(path);
    }
    let file = OsStorage.open_read(path).map_err(|fault| BackupFault::Unreadable(fault.to_string()))?;
    let report = check_file(file, &mut |_: CheckLine| {}).map_err(|failure| match &failure.error.kind {
        RdbErrorKind::Io(_) => BackupFault::Unreadable(failure.to_string()),
        _ => BackupFault::Damaged(failure.to_string()),
    })?;
    match manifest.keys {
        Some(keys) if keys != report.keys => {
            let reason = format!("it has {} keys, the manifest says {keys}", report.keys);
            Err(BackupFault::Damaged(reason))
        }
        _ => Ok(()),
    }
}
