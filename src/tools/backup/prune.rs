//! `tine-backup prune`: removes what the retention rule does not keep.
//!
//! Only folders with exactly the name of a backup and nothing but a backup's files are removed. What
//! cannot be read stays: a sick disk or a missing right must not cost a good backup.

use crate::persist::backup::INCOMPLETE_PREFIX;
use crate::persist::backup::job::{check_own, remove_folder, remove_stale};
use crate::sys::io::{OsStorage, Storage};
use crate::tools::backup::arguments::Options;
use crate::tools::backup::retention::{Candidate, Fate, decide};
use crate::tools::backup::show;
use crate::tools::backup::store::{self, Stored};
use crate::tools::backup::{Failure, Outcome};
use std::io::Write;

/// # Errors
/// The folder cannot be read, or a backup not removed; the others have been removed then.
pub fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let all = store::read_all(&options.dir)?;
    let candidates: Vec<Candidate> = all.iter().map(Stored::candidate).collect();
    let fates = decide(&candidates, options.policy);
    let verb = if options.dry_run { "would remove" } else { "removed" };
    let (mut bytes, mut removed, mut left) = (0, 0, Vec::new());
    for (stored, _) in all.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Remove) {
        match remove(stored, options) {
            Ok(()) => {
                removed += 1;
                bytes += stored.manifest.as_ref().map_or(0, |manifest| manifest.bytes());
                writeln!(out, "{verb} {}", stored.name)?;
            }
            Err(reason) => left.push(reason),
        }
    }
    if !options.dry_run {
        let stale = remove_stale(&OsStorage, &options.dir);
        if stale > 0 {
            writeln!(out, "removed {stale} that were never finished")?;
        }
    }
    writeln!(out, "{verb} {removed} ({}), {} stay", show::bytes(bytes), all.len() - removed)?;
    if left.is_empty() { Ok(()) } else { Err(Failure::Failed(left.join("\n"))) }
}

/// The name goes first, in one step: a removal that is interrupted leaves nothing that looks whole.
fn remove(stored: &Stored, options: &Options) -> Result<(), String> {
    if let (true, Some(reason)) = (stored.is_unreadable(), stored.damage()) {
        return Err(format!("{} is left alone, since it cannot be read: {reason}", stored.name));
    }
    check_own(&OsStorage, &stored.path)?;
    if options.dry_run {
        return Ok(());
    }
    let aside = options.dir.join(format!("{INCOMPLETE_PREFIX}{}", stored.name));
    OsStorage.rename(&stored.path, &aside).map_err(|fault| fault.to_string())?;
    remove_folder(&OsStorage, &aside)?;
    OsStorage.sync_dir(&options.dir).map_err(|fault| fault.to_string())
}
