//! `tine-backup restore`: puts a backup into a data directory, checked on its way.

use crate::base::clock::unix_ms_now;
use crate::persist::backup::job::{Progress, copy_file, read_manifest};
use crate::persist::backup::manifest::{BackupKind, Manifest};
use crate::sys::io::{IoFault, IoResult, OsStorage, Storage, parent_dir};
use crate::sys::proc::{Holder, ProcFs};
use crate::tools::backup::arguments::Options;
use crate::tools::backup::show;
use crate::tools::backup::store::{self, Stored, manifest_of};
use crate::tools::backup::{Failure, Outcome};
use crate::tools::progress::ProgressLine;
use std::io::Write;
use std::path::{Path, PathBuf};

/// # Errors
/// The folder is not empty, the backup is damaged, or the copy failed.
pub fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let stored = store::find(&options.dir, options.names.first().map(String::as_str))?;
    let Some(to) = &options.to else { return Err(Failure::Usage("restore needs --to".to_owned())) };
    let names = DataNames { log: &options.appendfilename, snapshot: &options.dbfilename };
    let asides = prepare(to, options.force, &[names.log, names.snapshot, &options.appenddirname])?;
    let mut line = ProgressLine::new();
    line.show(&format!("restoring {}", stored.name));
    let restored = restore(&stored, to, names, &asides);
    line.clear();
    let path = restored?;
    for Aside { live, kept } in &asides {
        writeln!(out, "{} was set aside as {}", live.display(), kept.display())?;
    }
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

/// A file or folder that a server would load, and the name under which it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    live: PathBuf,
    kept: PathBuf,
}

/// Makes the folder, or sees that it is empty; with `force` says what will be set aside. Nothing that
/// is there is changed.
fn prepare(to: &Path, force: bool, loaded: &[&str]) -> Result<Vec<Aside>, Failure> {
    if !OsStorage.exists(to).map_err(failed)? {
        OsStorage.create_dir(to).map_err(failed)?;
        OsStorage.sync_dir(parent_dir(to)).map_err(failed)?;
        return Ok(Vec::new());
    }
    refuse_live_server(to, loaded)?;
    if OsStorage.list_dir(to).map_err(failed)?.is_empty() {
        return Ok(Vec::new());
    }
    if !force {
        return Err(failed(format!(
            "{} is not empty; --force sets its data files aside (stop the server first)",
            to.display()
        )));
    }
    let now_s = unix_ms_now() / 1000;
    let mut asides = Vec::new();
    for name in loaded {
        let aside = Aside { live: to.join(name), kept: to.join(format!("{name}.before-restore-{now_s}")) };
        if is_there(&OsStorage, &aside.live).map_err(failed)? {
            if is_there(&OsStorage, &aside.kept).map_err(failed)? {
                return Err(failed(format!("{} exists: try again", aside.kept.display())));
            }
            asides.push(aside);
        }
    }
    Ok(asides)
}

/// A server that runs would go on with the files that were set aside, and lose what it writes.
fn refuse_live_server(to: &Path, loaded: &[&str]) -> Result<(), Failure> {
    let files: Vec<PathBuf> = loaded.iter().map(|name| to.join(name)).collect();
    match ProcFs::system().holder_of(to, &files) {
        Some(Holder { pid, name }) => Err(failed(format!(
            "{} is in use by {name} with process id {pid}: stop it first (--force does not help)",
            to.display()
        ))),
        None => Ok(()),
    }
}

/// Whether the name is taken, be it by a link that leads nowhere.
fn is_there(storage: &dyn Storage, path: &Path) -> IoResult<bool> {
    match storage.kind(path) {
        Ok(_) => Ok(true),
        Err(fault) if fault.is_not_found() => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Copies the data file under a temporary name, compares the checksum, and only then sets aside what
/// is in the way and puts the copy in place. Returns its path.
///
/// # Errors
/// [`Failure::Damaged`] when it is not what the manifest says; the folder is as it was then.
pub fn restore(
    stored: &Stored,
    to: &Path,
    names: DataNames<'_>,
    asides: &[Aside],
) -> Result<PathBuf, Failure> {
    let manifest = read_manifest(&OsStorage, &stored.path)?;
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
            put_in_place(&OsStorage, &temp, &target, asides).map_err(failed)
        }
        Ok(_) => Err(Failure::Damaged(format!("{} is damaged: its checksum does not fit", file.name))),
        Err(reason) => Err(failed(reason)),
    };
    if outcome.is_err() && OsStorage.exists(&temp).unwrap_or(false) {
        OsStorage.remove(&temp).map_err(failed)?;
    }
    outcome.map(|()| target)
}

/// Puts the checked copy in place. The old file of that name gets its second name before, all others
/// are moved after it: at no moment does a server find nothing to load.
///
/// # Errors
/// The reason. What was set aside has been moved back, unless only the last sync failed.
fn put_in_place(storage: &dyn Storage, temp: &Path, target: &Path, asides: &[Aside]) -> Result<(), String> {
    let own = asides.iter().find(|aside| aside.live == target);
    let others: Vec<&Aside> = asides.iter().filter(|aside| aside.live != target).collect();
    let linked = match own {
        Some(own) => keep(storage, own).map_err(|fault| fault.to_string())?,
        None => false,
    };
    if let Err(fault) = storage.rename(temp, target) {
        let undone = match own {
            Some(own) if linked => storage.remove(&own.kept),
            Some(own) => storage.rename(&own.kept, &own.live),
            None => Ok(()),
        };
        return Err(with_undone(fault, undone));
    }
    let mut moved = Vec::new();
    let swapped = storage.sync_dir(parent_dir(target)).and_then(|()| {
        others.iter().try_for_each(|aside| {
            storage.rename(&aside.live, &aside.kept)?;
            moved.push(*aside);
            Ok(())
        })
    });
    if let Err(fault) = swapped {
        let mut undone = moved.iter().rev().try_for_each(|aside| storage.rename(&aside.kept, &aside.live));
        undone = undone.and_then(|()| match own {
            Some(own) => storage.rename(&own.kept, target),
            None => storage.remove(target),
        });
        return Err(with_undone(fault, undone));
    }
    storage.sync_dir(parent_dir(target)).map_err(|fault| fault.to_string())
}

/// Gives a file its second name, or moves it where it cannot have two. Says whether it has two.
fn keep(storage: &dyn Storage, aside: &Aside) -> IoResult<bool> {
    match storage.hard_link(&aside.live, &aside.kept) {
        Ok(()) => Ok(true),
        Err(_) => storage.rename(&aside.live, &aside.kept).map(|()| false),
    }
}

fn with_undone(fault: IoFault, undone: IoResult<()>) -> String {
    match undone {
        Ok(()) => format!("{fault}; the old files are in place"),
        Err(second) => format!("{fault}; the old files are not all in place: {second}"),
    }
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

#[cfg(test)]
mod tests {
    use super::{Aside, put_in_place};
    use crate::sys::io::{Fault, FaultPlan, FaultyStorage, MemoryStorage, Storage};
    use std::path::Path;

    const OLD: [(&str, &str); 3] = [("/d/a.aof", "old log"), ("/d/dump.rdb", "old"), ("/d/x", "other")];

    fn disk() -> MemoryStorage {
        let disk = MemoryStorage::new();
        disk.create_dir(Path::new("/d")).expect("mkdir");
        for (name, content) in OLD.into_iter().chain([("/d/temp", "restored")]) {
            let mut file = disk.create(Path::new(name)).expect("create");
            file.write_all(content.as_bytes()).expect("write");
        }
        disk
    }

    fn content(disk: &MemoryStorage, name: &str) -> Option<String> {
        let content = disk.read_whole(Path::new(name), 100).ok()?;
        Some(String::from_utf8(content).expect("it is text"))
    }

    fn asides(live: &[&str]) -> Vec<Aside> {
        live.iter().map(|name| Aside { live: name.into(), kept: format!("{name}.kept").into() }).collect()
    }

    #[test]
    fn a_fault_at_any_step_of_the_exchange_brings_the_old_files_back() {
        for target in ["/d/a.aof", "/d/new.aof"] {
            let all = asides(&["/d/a.aof", "/d/dump.rdb"]);
            let plan = FaultPlan::new();
            let faulty = FaultyStorage::new(disk(), plan.clone());
            put_in_place(&faulty, Path::new("/d/temp"), Path::new(target), &all).expect("no fault yet");
            let calls = plan.total_calls();
            assert!(calls > 3, "{calls} calls");
            for step in 1..=calls {
                let (disk, plan) = (disk(), FaultPlan::new());
                plan.add(Fault { times: 1, ..Fault::everything_from(step, libc::EIO) });
                let faulty = FaultyStorage::new(disk.clone(), plan);
                let outcome = put_in_place(&faulty, Path::new("/d/temp"), Path::new(target), &all);
                // A link that cannot be made is replaced; the last call is the sync.
                if outcome.is_ok() || step == calls {
                    assert_eq!(content(&disk, target).as_deref(), Some("restored"), "step {step}");
                    assert_eq!(content(&disk, "/d/a.aof.kept").as_deref(), Some("old log"));
                    assert_eq!(content(&disk, "/d/dump.rdb.kept").as_deref(), Some("old"));
                    assert_eq!(content(&disk, "/d/dump.rdb"), None);
                } else {
                    for (name, old) in OLD {
                        assert_eq!(content(&disk, name).as_deref(), Some(old), "{target}, step {step}");
                    }
                    let names = disk.list_dir(Path::new("/d")).expect("list");
                    assert!(names.iter().all(|name| !name.to_string_lossy().ends_with("kept")), "{names:?}");
                }
            }
        }
    }
}
