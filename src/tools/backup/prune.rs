//! `tine-backup prune`: removes what the retention rule does not keep.

use crate::persist::backup::INCOMPLETE_PREFIX;
use crate::persist::backup::job::{remove_folder, remove_stale};
use crate::sys::io::{IoResult, OsStorage, Storage};
use crate::tools::backup::arguments::Options;
use crate::tools::backup::retention::{Candidate, Fate, decide};
use crate::tools::backup::show;
use crate::tools::backup::store::{self, Stored};
use crate::tools::backup::{Failure, Outcome};
use std::io::Write;

/// # Errors
/// The folder cannot be read, or a backup not removed.
pub fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let all = store::read_all(&options.dir)?;
    let candidates: Vec<Candidate> = all.iter().map(Stored::candidate).collect();
    let fates = decide(&candidates, options.policy);
    let condemned: Vec<&Stored> =
        all.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Remove).map(|(stored, _)| stored).collect();
    let verb = if options.dry_run { "would remove" } else { "removed" };
    let mut bytes = 0;
    for stored in &condemned {
        if !options.dry_run {
            remove(stored, options).map_err(|fault| Failure::Failed(fault.to_string()))?;
        }
        bytes += stored.manifest.as_ref().map_or(0, |manifest| manifest.bytes());
        writeln!(out, "{verb} {}", stored.name)?;
    }
    if !options.dry_run {
        let stale = remove_stale(&OsStorage, &options.dir);
        if stale > 0 {
            writeln!(out, "removed {stale} that were never finished")?;
        }
    }
    let kept = all.len() - condemned.len();
    Ok(writeln!(out, "{verb} {} ({}), {kept} stay", condemned.len(), show::bytes(bytes))?)
}

/// The name goes first, in one step: a removal that is interrupted leaves nothing that looks whole.
fn remove(stored: &Stored, options: &Options) -> IoResult<()> {
    let aside = options.dir.join(format!("{INCOMPLETE_PREFIX}{}", stored.name));
    OsStorage.rename(&stored.path, &aside)?;
    remove_folder(&OsStorage, &aside)?;
    OsStorage.sync_dir(&options.dir)
}
