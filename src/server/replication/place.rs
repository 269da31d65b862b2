//! Which place of a history the AOF ends at: a small file beside it, written at a clean end and read at the
//! next start, so that a restart from the AOF goes on with a partial synchronization.
//!
//! ```text
//!  appendonly.aof.place:  <id> <offset> <db> <bytes of the AOF> <CRC-64 of its last 64 KiB, 16 hex digits>\n
//! ```
//! The log itself cannot tell: its commands are not the bytes of the stream, and a line of another kind would
//! keep Redis 6.2 from reading it. The place is believed when the AOF is, to the byte, the one that it was
//! written for; after a crash there is none, and a full synchronization follows.

use crate::base::crc64::Crc64;
use crate::persist::aof::AofState;
use crate::server::Server;
use crate::server::replication::ID_DIGITS;
use crate::sys::durable;
use crate::sys::io::{IoFault, IoResult, Storage};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest such file, bytes: an id and four numbers.
const FILE_BYTES_MAX: u64 = 256;
/// Bytes at the AOF's end whose checksum is compared.
const TAIL_BYTES: u64 = 64 << 10;

/// A place in a history: everything up to `offset` of `id` is in the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub id: String,
    pub offset: u64,
    /// The database that the stream has selected there.
    pub db: Option<usize>,
}

impl Server {
    /// At a clean end, when the AOF has everything and is synced: notes its place. Failing is no harm.
    pub fn note_aof_place(&mut self) {
        let incomplete = self.run.loading.is_some() || self.link.data_incomplete;
        if self.persistence.aof.state != AofState::On || incomplete {
            return;
        }
        let fields = self.history_fields();
        let [(_, db), (_, id), (_, offset)] = fields.as_slice() else { return };
        let log = self.persistence.aof.path().to_path_buf();
        let storage = self.persistence.aof.storage();
        let written = fingerprint(&*storage, &log).and_then(|print| {
            let text = format!("{id} {offset} {db} {print}\n");
            let (path, temp) = (place_path(&log), beside(&log, &format!("place-{}", self.run.pid)));
            durable::replace(Arc::clone(&storage), &path, &temp, text.as_bytes())
        });
        if let Err(fault) = written {
            log::warn!("The place of the AOF in the replication history can't be noted: {fault}");
        }
    }

    /// After the AOF has been loaded: goes on from the place that was noted for it, if it is still true.
    pub fn resume_from_aof_place(&mut self) {
        let log = self.aof_path();
        let storage = self.persistence.aof.storage();
        match read_place(&*storage, &log) {
            Ok(Some(place)) => {
                log::info!("The AOF ends at offset {} of the history {}", place.offset, place.id);
                self.resume_at(place);
            }
            Ok(None) => {}
            Err(fault) => {
                log::warn!("The place of the AOF in the replication history can't be read: {fault}")
            }
        }
    }
}

fn beside(log: &Path, ending: &str) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    PathBuf::from(name)
}

fn place_path(log: &Path) -> PathBuf {
    beside(log, "place")
}

/// Length and checksum of the end of a file, as the place names them.
fn fingerprint(storage: &dyn Storage, path: &Path) -> IoResult<String> {
    let file = storage.open_read(path)?;
    let bytes = file.len()?;
    let start = bytes.saturating_sub(TAIL_BYTES);
    let mut tail = vec![0; (bytes - start) as usize];
    let mut filled = 0;
    while filled < tail.len() {
        match file.read_at(&mut tail[filled..], start + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(format!("{bytes} {:016x}", Crc64::update(0, &tail)))
}

/// The place that was noted, if the file is the one it was noted for. It is used up.
fn read_place(storage: &dyn Storage, log: &Path) -> Result<Option<Place>, IoFault> {
    let path = place_path(log);
    if !storage.exists(&path)? {
        return Ok(None);
    }
    let text = storage.read_whole(&path, FILE_BYTES_MAX)?;
    storage.remove(&path)?;
    let text = String::from_utf8_lossy(&text);
    let Some((place, print)) = parse(text.trim_end()) else { return Ok(None) };
    Ok((fingerprint(storage, log)? == print).then_some(place))
}

fn parse(text: &str) -> Option<(Place, &str)> {
    let mut words = text.splitn(4, ' ');
    let id = words.next().filter(|id| id.len() == ID_DIGITS)?.to_owned();
    let (offset, db) = (words.next()?.parse().ok()?, words.next()?.parse().ok());
    Some((Place { id, offset, db }, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::{Place, fingerprint, place_path, read_place};
    use crate::sys::io::{MemoryStorage, Storage};
    use std::path::Path;

    fn write(storage: &MemoryStorage, path: &Path, text: &str) {
        storage.create(path).and_then(|mut file| file.write_all(text.as_bytes())).expect("memory");
    }

    #[test]
    fn a_place_is_believed_once_and_for_the_same_file_only() {
        let (storage, log) = (MemoryStorage::new(), Path::new("/appendonly.aof"));
        let id = "a".repeat(40);
        write(&storage, log, "*1\r\n$4\r\nPING\r\n");
        let note = |storage: &MemoryStorage| {
            let print = fingerprint(storage, log).expect("memory");
            write(storage, &place_path(log), &format!("{id} 77 3 {print}\n"));
        };
        note(&storage);
        let place = Place { id: id.clone(), offset: 77, db: Some(3) };
        assert_eq!(read_place(&storage, log).expect("memory"), Some(place));
        assert_eq!(read_place(&storage, log).expect("memory"), None, "it is used up");
        for changed in ["*1\r\n$4\r\nPONG\r\n", "*1\r\n$4\r\nPING\r\n*", ""] {
            note(&storage);
            write(&storage, log, changed);
            assert_eq!(read_place(&storage, log).expect("memory"), None, "{changed:?}");
            write(&storage, log, "*1\r\n$4\r\nPING\r\n");
        }
        write(&storage, &place_path(log), "no place at all");
        assert_eq!(read_place(&storage, log).expect("memory"), None);
    }
}
