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
use crate::replay::start::{existing, load_parts, write_base};
use crate::replay::{LoadEnd, Pump};
use crate::server::Server;
use crate::server::leftovers::free_name;
use crate::sys::durable;
use crate::sys::io::{FileMetadata, IoFault, Storage, parent_dir};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest manifest, bytes: thousands of files, where Redis writes a handful.
const MANIFEST_MAX_BYTES: u64 = 1 << 20;
/// Longest marker, bytes: two short lines.
const MARKER_MAX_BYTES: u64 = 4096;
const MARKER: &str = "tine-taken-over";
const MARKER_TEMP: &str = "tine-taken-over.temp";

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
        write_base(server, |storage, bytes| {
            let content = marker_text(bytes, marked);
            let (marker, temp) = (self.path.join(MARKER), self.path.join(MARKER_TEMP));
            durable::replace(storage, &marker, &temp, content.as_bytes())
        })?;
        self.set_aside(server)?;
        Ok(end)
    }

    /// Whether `single`, our file, was made from exactly this folder, and the crash came before the
    /// folder was set aside.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn is_taken_over(&self, storage: &dyn Storage, single: FileMetadata) -> Result<bool, String> {
        let marker = self.path.join(MARKER);
        if existing(storage, &marker)?.is_none() {
            return Ok(false);
        }
        let found = storage.read_whole(&marker, MARKER_MAX_BYTES).map_err(|fault| fault.to_string())?;
        // A part that is gone since then says that somebody was here.
        let Ok(fingerprint) = self.fingerprint(storage) else { return Ok(false) };
        Ok(found == marker_text(single.len, fingerprint).as_bytes())
    }

    /// Renames the folder, durably.
    ///
    /// # Errors
    /// The line for the log; our own file is in place then, and the next start tries again.
    pub fn set_aside(&self, server: &Server) -> Result<(), String> {
        let storage = server.persistence.aof.storage();
        let fail =
            |fault: IoFault| format!("Can't set the folder of the former append only file aside: {fault}");
        let aside = free_name(&*storage, &self.path, "taken-over", server.now_ms() / 1000).map_err(fail)?;
        storage.rename(&self.path, &aside).map_err(fail)?;
        storage.sync_dir(parent_dir(&self.path)).map_err(fail)?;
        // It has done its work; Redis, to whom the folder may go back, ignores it.
        if let Err(fault) = storage.remove(&aside.join(MARKER)) {
            log::info!("A marker stays in the folder that was taken over: {fault}");
        }
        log::info!(
            "The append only files of {} were taken over; the folder is {} now",
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

    fn files(&self, storage: &dyn Storage) -> Result<Vec<PathBuf>, String> {
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
    fn fingerprint(&self, storage: &dyn Storage) -> Result<u64, String> {
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

fn marker_text(bytes: u64, fingerprint: u64) -> String {
    format!("bytes {bytes}\nfolder {fingerprint:016x}\n")
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
