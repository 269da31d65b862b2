//! `tine-backup restore`: puts a backup into a data directory, checked on its way.

use crate::persist::backup::job::{Progress, copy_file, read_manifest};
use crate::persist::backup::manifest::{BackupKind, Manifest};
use crate::sys::io::{OsStorage, Storage, parent_dir};
use crate::tools::backup::arguments::Options;
use crate::tools::backup::show::{self, ProgressLine};
use crate::tools::backup::store::{self, Stored, manifest_of};
use crate::tools::backup::{Failure, Outcome};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Names that a server would load from: they are set aside.
const FOLDER_OF_REDIS: &str = "appendonlydir";

/// # Errors
/// The folder is not empty, the backup is damaged, or the copy failed.
pub fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let stored = store::find(&options.dir, options.names.first().map(String::as_str))?;
    let Some(to) = &options.to else { return Err(Failure::Usage("restore needs --to".to_owned())) };
    let names = DataNames { log: &options.appendfilename, snapshot: &options.dbfilename };
    prepare(to, options.force, names, out)?;
    let mut line = ProgressLine::new();
    line.show(&format!("restoring {}", stored.name));
    let restored = restore(&stored, to, names);
    line.clear();
    let path = restored?;
    let manifest = manifest_of(&stored)?;
    writeln!(out, "{} was restored to {} ({})", stored.name, path.display(), show::bytes(manifest.bytes()))?;
    explain(manifest, to, names, out)
}

/// What a server calls its files.
#[derive(Clone, Copy, Debug)]
pub struct DataNames<'a> {
    pub log: &'a str,
    pub snapshot: &'a str,
}

fn failed(reason: impl std::fmt::Display) -> Failure {
    Failure::Failed(reason.to_string())
}

/// Makes the folder, or sees that it is empty; with `force` moves what is in the way.
fn prepare(to: &Path, force: bool, names: DataNames<'_>, out: &mut dyn Write) -> Outcome {
    if !OsStorage.exists(to).map_err(failed)? {
        OsStorage.create_dir(to).map_err(failed)?;
        return OsStorage.sync_dir(parent_dir(to)).map_err(failed);
    }
    let found = OsStorage.list_dir(to).map_err(failed)?;
    if found.is_empty() {
        return Ok(());
    }
    if !force {
        return Err(failed(format!(
            "{} is not empty; --force sets its data files aside (stop the server first)",
            to.display()
        )));
    }
    let now_s = show::now_ms() / 1000;
    for name in [names.log, names.snapshot, FOLDER_OF_REDIS] {
        let path = to.join(name);
        if OsStorage.exists(&path).map_err(failed)? {
            let aside = to.join(format!("{name}.before-restore-{now_s}"));
            OsStorage.rename(&path, &aside).map_err(failed)?;
            writeln!(out, "{} was set aside as {}", path.display(), aside.display())?;
        }
    }
    OsStorage.sync_dir(to).map_err(failed)
}

/// Copies the data file under a temporary name, compares the checksum, and puts it in place.
/// Returns its path.
///
/// # Errors
/// [`Failure::Damaged`] when it is not what the manifest says; nothing is in place then.
pub fn restore(stored: &Stored, to: &Path, names: DataNames<'_>) -> Result<PathBuf, Failure> {
    let manifest = read_manifest(&OsStorage, &stored.path).map_err(Failure::Damaged)?;
    let [file] = manifest.files.as_slice() else {
        return Err(Failure::Damaged("the manifest names more than one file".to_owned()));
    };
    let name = match manifest.kind {
        BackupKind::Log => names.log,
        BackupKind::Snapshot => names.snapshot,
    };
    let (temp, target) = (to.join(format!("temp-restore-{name}")), to.join(name));
    let copied = copy_file(&OsStorage, &stored.path.join(&file.name), &temp, &Progress::default());
    let outcome = match copied {
        Ok(found) if found == (file.bytes, file.crc) => {
            let placed = OsStorage.rename(&temp, &target).and_then(|()| OsStorage.sync_dir(to));
            placed.map_err(failed)
        }
        Ok(_) => Err(Failure::Damaged(format!("{} is damaged: its checksum does not fit", file.name))),
        Err(reason) => Err(failed(reason)),
    };
    if outcome.is_err() && OsStorage.exists(&temp).unwrap_or(false) {
        OsStorage.remove(&temp).map_err(failed)?;
    }
    outcome.map(|()| target)
}

fn explain(manifest: &Manifest, to: &Path, names: DataNames<'_>, out: &mut dyn Write) -> Outcome {
    let dir = std::path::absolute(to).unwrap_or_else(|_| to.to_path_buf());
    writeln!(out, "The server loads it with these lines in its configuration:")?;
    writeln!(out, "    dir {}", dir.display())?;
    if let Some(databases) = manifest.databases {
        writeln!(out, "    databases {databases}")?;
    }
    match manifest.kind {
        BackupKind::Log => {
            writeln!(out, "    appendonly yes")?;
            writeln!(out, "    appendfilename \"{}\"", names.log)?;
        }
        BackupKind::Snapshot => {
            writeln!(out, "    dbfilename {}", names.snapshot)?;
            writeln!(out, "appendonly may be yes or no: the first append only file is written from it.")?;
        }
    }
    Ok(())
}
