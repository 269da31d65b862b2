//! Taking over the folder in which Redis 7 keeps its append-only files.
//!
//! ```text
//!  replay base + increments ─► write and sync temp ─► marker into the folder ─► rename temp ─► folder aside
//!                                                                             ▲              ▲
//!                         a crash here: the folder is taken over once more ───┘              │
//!                         a crash here: both forms; the marker says that ours is the newer ──┘
//! ```
//! The marker (`tine-taken-over`) holds the length of our file and a checksum of the manifest with the
//! lengths of the files it names: when both still agree, nothing was written since, and the folder is
//! set aside. In every other case two forms are refused, since nobody can know which is newer.

use crate::base::crc64::Crc64;
use crate::persist::aof::manifest::Manifest;
use crate::replay::restore::aside_name;
use crate::replay::start::{existing, load_parts, write_base};
use crate::replay::{LoadEnd, Pump};
use crate::server::Server;
use crate::sys::durable;
use crate::sys::durable::free_name;
use crate::sys::io::{FileMetadata, IoFault, IoResult, Storage, parent_dir};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest manifest, bytes: thousands of files, where Redis writes a handful.
const MANIFEST_MAX_BYTES: u64 = 1 << 20;
/// Longest marker, bytes: two short lines.
const MARKER_MAX_BYTES: u64 = 4096;
const MARKER: &str = "tine-taken-over";
const MARKER_TEMP: &str = "tine-taken-over.temp";

/// What our own file was made from a folder for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// All of it was taken over.
    TakenOver,
    /// It was restored to this time, Unix seconds.
    Restored(i64),
}

/// The folder form of an AOF.
pub(super) struct Folder {
    path: PathBuf,
    manifest: PathBuf,
    found: FileMetadata,
}

impl Folder {
    /// The folder with a manifest in it, when there is one.
    ///
    /// # Errors
    /// It cannot be looked at; or it holds append-only files, no manifest tells their order, and
    /// there is no other file (`alone`) to start from.
    pub fn find(server: &Server, alone: bool) -> Result<Option<Folder>, String> {
        let path = server.data_path(server.config.appenddirname.as_path());
        let name = server.config.appendfilename.to_text();
        let manifest = path.join(format!("{name}.manifest"));
        let storage = server.persistence.aof.storage();
        if let Some(found) = existing(&*storage, &manifest)? {
            return Ok(Some(Folder { path, manifest, found }));
        }
        let Some(part) = part_without_manifest(&*storage, &path, &name)? else { return Ok(None) };
        let text = format!(
            "{} holds append only files ({part}) but no {name}.manifest, so their order is not known",
            path.display()
        );
        if alone {
            return Err(format!("{text}. Bring the manifest back, or move the folder away, and start again"));
        }
        log::warn!("{text}; they are left alone");
        Ok(None)
    }

    /// Loads the files, writes a file of our own and sets the folder aside.
    ///
    /// # Errors
    /// The line for the log.
    pub fn take_over(&self, server: &mut Server, pump: &mut Pump<'_>) -> Result<LoadEnd, String> {
        let storage = server.persistence.aof.storage();
        let files = self.files(&*storage)?;
        let end = load_parts(server, &files, pump)?;
        if end == LoadEnd::Interrupted {
            return Ok(end);
        }
        let marked = self.fingerprint(&*storage)?;
        write_base(server, |storage, bytes| self.mark(&storage, bytes, marked, Made::TakenOver))?;
        self.set_aside(server, Made::TakenOver)?;
        Ok(end)
    }

    /// Notes in the folder, durably, that a file of `bytes` was made from it.
    ///
    /// # Errors
    /// The storage's.
    pub fn mark(&self, storage: &Arc<dyn Storage>, bytes: u64, fingerprint: u64, made: Made) -> IoResult<()> {
        let content = marker_text(bytes, fingerprint, made);
        let (marker, temp) = (self.path.join(MARKER), self.path.join(MARKER_TEMP));
        durable::replace(Arc::clone(storage), &marker, &temp, content.as_bytes())
    }

    /// What for `single`, our file, was made from exactly this folder, when it was, and the crash
    /// came before the folder was set aside.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn made_into(&self, storage: &dyn Storage, single: FileMetadata) -> Result<Option<Made>, String> {
        let marker = self.path.join(MARKER);
        if existing(storage, &marker)?.is_none() {
            return Ok(None);
        }
        let found = storage.read_whole(&marker, MARKER_MAX_BYTES).map_err(|fault| fault.to_string())?;
        // A part that is gone since then says that somebody was here.
        let Ok(fingerprint) = self.fingerprint(storage) else { return Ok(None) };
        let found = String::from_utf8_lossy(&found);
        let restored = found.lines().find_map(|line| line.strip_prefix("restored ")?.parse().ok());
        let made = restored.map_or(Made::TakenOver, Made::Restored);
        Ok((found == marker_text(single.len, fingerprint, made)).then_some(made))
    }

    /// The latest change of the manifest and the files that it names.
    ///
    /// # Errors
    /// The line for the log: one of them cannot be read.
    pub fn changed(&self, storage: &dyn Storage) -> Result<SystemTime, String> {
        let mut changed = self.found.modified;
        for file in self.files(storage)? {
            let found = existing(storage, &file)?;
            changed = changed.max(found.map_or(changed, |found| found.modified));
        }
        Ok(changed)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the folder, durably.
    ///
    /// # Errors
    /// The line for the log; our own file is in place then, and the next start tries again.
    pub fn set_aside(&self, server: &Server, made: Made) -> Result<(), String> {
        let storage = server.persistence.aof.storage();
        let fail =
            |fault: IoFault| format!("Can't set the folder of the former append only file aside: {fault}");
        let aside = match made {
            Made::TakenOver => free_name(&*storage, &self.path, "taken-over", server.now_ms() / 1000),
            Made::Restored(until_s) => Ok(aside_name(&self.path, until_s)),
        };
        let aside = aside.map_err(fail)?;
        storage.rename(&self.path, &aside).map_err(fail)?;
        storage.sync_dir(parent_dir(&self.path)).map_err(fail)?;
        // It has done its work; Redis, to whom the folder may go back, ignores it.
        if let Err(fault) = storage.remove(&aside.join(MARKER)) {
            log::info!("A marker stays in the folder that was taken over: {fault}");
        }
        log::info!(
            "A new append only file was made from those of {}; the folder is {} now",
            self.path.display(),
            aside.display()
        );
        Ok(())
    }

    /// Why nothing is loaded when both forms are there.
    pub fn both_forms(&self, file: &Path, single: FileMetadata) -> String {
        format!(
            "There are two append only files and nobody but you can know which is newer: {} ({} bytes, changed at {}) \
             and {} ({} bytes, changed at {}). Move one of them away and start again",
            file.display(),
            single.len,
            unix_seconds(single.modified),
            self.manifest.display(),
            self.found.len,
            unix_seconds(self.found.modified)
        )
    }

    fn content(&self, storage: &dyn Storage) -> Result<Vec<u8>, String> {
        storage.read_whole(&self.manifest, MANIFEST_MAX_BYTES).map_err(|fault| fault.to_string())
    }

    /// The files that the manifest names, in their order.
    ///
    /// # Errors
    /// The line for the log.
    pub fn files(&self, storage: &dyn Storage) -> Result<Vec<PathBuf>, String> {
        let content = self.content(storage)?;
        let parts = Manifest::parse(&content).map_err(|failure| {
            format!(
                "Invalid AOF manifest file {}, line {}: {}",
                self.manifest.display(),
                failure.line,
                failure.text
            )
        })?;
        Ok(parts.files().map(|name| self.path.join(name)).collect())
    }

    /// A checksum of the manifest and of the lengths of its files.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn fingerprint(&self, storage: &dyn Storage) -> Result<u64, String> {
        let mut crc = Crc64::update(0, &self.content(storage)?);
        for file in self.files(storage)? {
            let found = storage.metadata(&file).map_err(|fault| fault.to_string())?;
            crc = Crc64::update(crc, &found.len.to_le_bytes());
        }
        Ok(crc)
    }
}

/// A file in the folder that looks like a part of the AOF `name`.
fn part_without_manifest(storage: &dyn Storage, folder: &Path, name: &str) -> Result<Option<String>, String> {
    match existing(storage, folder)? {
        Some(found) if found.is_dir => {}
        _ => return Ok(None),
    }
    let names =
        storage.list_dir(folder).map_err(|fault| format!("Can't look for append only files: {fault}"))?;
    let mut names = names.into_iter().map(|name| name.to_string_lossy().into_owned());
    Ok(names.find(|part| part.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))))
}

fn marker_text(bytes: u64, fingerprint: u64, made: Made) -> String {
    let text = format!("bytes {bytes}\nfolder {fingerprint:016x}\n");
    match made {
        Made::TakenOver => text,
        Made::Restored(until_s) => format!("{text}restored {until_s}\n"),
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
