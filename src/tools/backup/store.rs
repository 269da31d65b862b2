//! The folder of backups as it is found, and the marks that are left in them.
//!
//! ```text
//!  backup-<time>/  MANIFEST, the data file
//!                  VERIFIED   "ok <unix s>" or "damaged <unix s> <reason>": the last check
//!                  OFFSITE    "ok <unix s>": the hook has succeeded
//! ```

use crate::persist::backup::job::read_manifest;
use crate::persist::backup::manifest::Manifest;
use crate::persist::backup::{
    BackupFault, NAME_PREFIX, OFFSITE_NAME, VERIFIED_NAME, is_incomplete_name, is_name,
};
use crate::sys::durable;
use crate::sys::io::{IoResult, OsStorage, Storage};
use crate::tools::backup::Failure;
use crate::tools::backup::retention::Candidate;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Longest mark, bytes: a word, a time, a reason.
const MARK_MAX_BYTES: u64 = 4096;

/// How the last check of a backup ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub unix_s: i64,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// A backup in the folder.
#[derive(Clone, Debug)]
pub struct Stored {
    pub name: String,
    pub path: PathBuf,
    /// From the manifest; without one, when the folder was changed.
    pub unix_ms: i64,
    pub manifest: Result<Manifest, BackupFault>,
    pub verified: Option<Verified>,
    pub offsite_s: Option<i64>,
}

impl Stored {
    /// Nothing is known to be wrong with it.
    pub fn is_good(&self) -> bool {
        self.damage().is_none()
    }

    /// What is known to be wrong with it.
    pub fn damage(&self) -> Option<&str> {
        match &self.manifest {
            Err(fault) => Some(fault.reason()),
            Ok(_) => self.verified.as_ref().and_then(|verified| verified.damage.as_deref()),
        }
    }

    /// It cannot be read now, so nobody knows whether it is good.
    pub fn is_unreadable(&self) -> bool {
        matches!(self.manifest, Err(BackupFault::Unreadable(_)))
    }

    /// What the retention rule looks at.
    pub fn candidate(&self) -> Candidate {
        Candidate { unix_ms: self.unix_ms, good: self.is_good() }
    }
}

/// All backups in the folder, the newest first.
///
/// # Errors
/// The folder cannot be read.
pub fn read_all(dir: &Path) -> Result<Vec<Stored>, Failure> {
    let names = OsStorage.list_dir(dir).map_err(|fault| Failure::Failed(fault.to_string()))?;
    let names = names.iter().filter_map(|name| name.to_str()).filter(|name| is_name(name));
    // What cannot be looked at may be one.
    let names = names.filter(|name| OsStorage.metadata(&dir.join(name)).map_or(true, |found| found.is_dir));
    let mut all: Vec<Stored> = names.map(|name| read_one(dir, name)).collect();
    all.sort_by(|a, b| (b.unix_ms, &b.name).cmp(&(a.unix_ms, &a.name)));
    Ok(all)
}

/// Folders that were never finished.
pub fn incomplete(dir: &Path) -> usize {
    let names = OsStorage.list_dir(dir).unwrap_or_default();
    names.iter().filter_map(|name| name.to_str()).filter(|name| is_incomplete_name(name)).count()
}

fn read_one(dir: &Path, name: &str) -> Stored {
    let path = dir.join(name);
    let manifest = read_manifest(&OsStorage, &path);
    let unix_ms = match &manifest {
        Ok(manifest) => manifest.unix_ms,
        Err(_) => OsStorage
            .metadata(&path)
            .ok()
            .and_then(|found| found.modified.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_millis() as i64),
    };
    let verified = read_mark(&path, VERIFIED_NAME)
        .map(|(ok, unix_s, reason)| Verified { unix_s, damage: (!ok).then_some(reason) });
    let offsite_s = read_mark(&path, OFFSITE_NAME).filter(|mark| mark.0).map(|mark| mark.1);
    Stored { name: name.to_owned(), path, unix_ms, manifest, verified, offsite_s }
}

/// A mark: whether it says ok, its time, the rest of its line.
fn read_mark(folder: &Path, name: &str) -> Option<(bool, i64, String)> {
    let content = OsStorage.read_whole(&folder.join(name), MARK_MAX_BYTES).ok()?;
    let line = String::from_utf8(content).ok()?;
    let mut words = line.trim_end().splitn(3, ' ');
    let (word, unix_s) = (words.next()?, words.next()?.parse().ok()?);
    Some((word == "ok", unix_s, words.next().unwrap_or_default().to_owned()))
}

fn write_mark(folder: &Path, name: &str, line: &str) -> IoResult<()> {
    let mut line: String = line.chars().take(MARK_MAX_BYTES as usize / 8).collect();
    line = line.replace('\n', " ");
    line.push('\n');
    let temp = folder.join(format!(".{name}.temp"));
    durable::replace(Arc::new(OsStorage), &folder.join(name), &temp, line.as_bytes())
}

/// Notes how a check ended. A backup on a read-only medium cannot be marked, which is no failure.
pub fn mark_verified(stored: &mut Stored, damage: Option<String>, unix_s: i64) {
    let line = match &damage {
        None => format!("ok {unix_s}"),
        Some(reason) => format!("damaged {unix_s} {reason}"),
    };
    if let Err(fault) = write_mark(&stored.path, VERIFIED_NAME, &line) {
        eprintln!("tine-backup: the result of the check cannot be noted: {fault}");
    }
    stored.verified = Some(Verified { unix_s, damage });
}

/// Notes that the hook has succeeded.
///
/// # Errors
/// The file system's.
pub fn mark_offsite(stored: &mut Stored, unix_s: i64) -> IoResult<()> {
    write_mark(&stored.path, OFFSITE_NAME, &format!("ok {unix_s}"))?;
    stored.offsite_s = Some(unix_s);
    Ok(())
}

/// A name without the prefix that all have.
pub fn short_name(name: &str) -> &str {
    name.strip_prefix(NAME_PREFIX).unwrap_or(name)
}

/// The backup of this name (the common prefix may be left out), or the newest good one.
///
/// # Errors
/// There is none.
pub fn find(dir: &Path, name: Option<&str>) -> Result<Stored, Failure> {
    let mut all = read_all(dir)?.into_iter();
    let found = match name {
        Some(name) => all.find(|stored| short_name(&stored.name) == short_name(name)),
        None => all.find(Stored::is_good),
    };
    found.ok_or_else(|| {
        let what = name.map_or_else(|| "good backup".to_owned(), |name| format!("backup {name}"));
        Failure::Failed(format!("there is no {what} in {}", dir.display()))
    })
}

/// The manifest of a backup, or what is wrong with it.
///
/// # Errors
/// [`Failure::Damaged`], or [`Failure::Failed`] when it cannot be read.
pub fn manifest_of(stored: &Stored) -> Result<&Manifest, Failure> {
    stored.manifest.as_ref().map_err(|fault| Failure::from(fault.clone()))
}
