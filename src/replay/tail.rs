//! What to do with the end of a log that is no whole command (decision 5).
//!
//! What a crash leaves behind (a short command, zeros, an open transaction) is cut off, other
//! damage refuses the start unless the configuration allows so many bytes and nothing readable
//! follows. Cut bytes are kept in `<name>.cut-<unix time>-<offset>`, durable before the cut.

use crate::persist::aof::reader::{BlockReader, Tail, command_follows, judge_tail};
use crate::server::Server;
use crate::sys::io::{IoResult, Storage, parent_dir};
use std::path::{Path, PathBuf};

/// A longer tail that is not a plain short one is not looked through, bytes: the judgement reads it
/// into memory.
const JUDGED_MAX_BYTES: u64 = 256 << 20;
/// A repair that leaves nothing of a file is made only up to this size, bytes: the first moments of a
/// new file. A longer one has lost a data set, and to start empty would hide that.
const EMPTYING_CUT_MAX_BYTES: u64 = 64 << 10;
/// Copied at a time into the side file, bytes.
const COPY_BYTES: usize = 256 * 1024;

/// Directives about tails.
#[derive(Clone, Copy, Debug)]
pub struct TailOptions {
    /// `aof-load-truncated`.
    pub truncated_ok: bool,
    /// `aof-load-corrupt-tail-max-size`, bytes.
    pub damage_max_bytes: u64,
}

/// `Bad file format ...`, with the place.
pub(super) fn bad_format(name: &str, offset: u64, detail: &str) -> String {
    format!(
        "Bad file format reading the append only file {name}: make a backup of your AOF file, then use \
         ./redis-check-aof --fix <filename> ({detail} at offset {offset}; aof-load-corrupt-tail-max-size would cut a \
         damaged tail of at most so many bytes)"
    )
}

fn unexpected_end(name: &str, offset: u64) -> String {
    format!(
        "Unexpected end of file reading the append only file {name}. You can: 1) Make a backup of your AOF file, then \
         use ./redis-check-aof --fix <filename>. 2) Alternatively you can set the 'aof-load-truncated' configuration \
         option to yes and restart the server. (the last whole command ends at offset {offset})"
    )
}

/// Cuts the tail the reader stands at, or refuses. `open_since`: where an open transaction begins.
///
/// # Errors
/// The line for the log.
pub(super) fn treat(
    server: &Server,
    path: &Path,
    mut reader: BlockReader,
    open_since: Option<u64>,
    options: Option<TailOptions>,
) -> Result<(), String> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let storage = server.persistence.aof.storage();
    let fail =
        |fault: crate::sys::io::IoFault| format!("Error repairing the append only file {name}: {fault}");
    let size = storage.metadata(path).map_err(fail)?.len;
    let (damage_at, kind) = judge(&mut reader, size).map_err(fail)?;
    let cut_at = open_since.unwrap_or(damage_at);
    let kind = if reader.bytes().is_empty() { Tail::OpenTransaction } else { kind };
    let options = options.unwrap_or(TailOptions { truncated_ok: false, damage_max_bytes: 0 });
    if kind == Tail::Damaged {
        let small = size - cut_at <= options.damage_max_bytes;
        let is_command = |name: &[u8]| server.commands.find(name).is_some();
        if !options.truncated_ok || !small || command_follows(reader.bytes(), is_command) {
            return Err(bad_format(&name, damage_at, "damage"));
        }
    } else if !options.truncated_ok {
        return Err(unexpected_end(&name, cut_at));
    }
    if cut_at == 0 && size > EMPTYING_CUT_MAX_BYTES {
        return Err(bad_format(&name, 0, "nothing of the file can be used: damage"));
    }
    let now_s = server.now_ms() / 1000;
    let kept = cut(&*storage, path, cut_at, now_s).map_err(fail)?;
    log::warn!(
        "!!! Warning: short read while loading the AOF file {name}!!! It was truncated at offset {cut_at} ({}, {} bytes \
         kept in {}). AOF loaded anyway because aof-load-truncated is enabled",
        describe(kind),
        size - cut_at,
        kept.display()
    );
    Ok(())
}

/// For a log that must stay as it is: what a crash has left at its end is not executed, that is all.
///
/// # Errors
/// The line for the log: the tail is damaged otherwise, or this file is not the last one.
pub(super) fn pass_over(
    server: &Server,
    path: &Path,
    mut reader: BlockReader,
    open_since: Option<u64>,
    tail_ok: bool,
) -> Result<(), String> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let fail = |fault: crate::sys::io::IoFault| format!("Error reading the append only file {name}: {fault}");
    let size = server.persistence.aof.storage().metadata(path).map_err(fail)?.len;
    let (damage_at, kind) = judge(&mut reader, size).map_err(fail)?;
    let kind = if reader.bytes().is_empty() { Tail::OpenTransaction } else { kind };
    if kind == Tail::Damaged {
        return Err(bad_format(&name, damage_at, "damage"));
    }
    let end = open_since.unwrap_or(damage_at);
    if !tail_ok {
        return Err(unexpected_end(&name, end));
    }
    log::warn!("The last {} bytes of {name} are passed over ({})", size - end, describe(kind));
    Ok(())
}

fn judge(reader: &mut BlockReader, size: u64) -> IoResult<(u64, Tail)> {
    let damage_at = reader.offset();
    if size.saturating_sub(damage_at) > JUDGED_MAX_BYTES && !reader.at_end() {
        return Ok((damage_at, Tail::Damaged));
    }
    while reader.fill()? {}
    Ok((damage_at, judge_tail(reader.bytes())))
}

fn describe(kind: Tail) -> &'static str {
    match kind {
        Tail::Short => "a command that is not complete",
        Tail::Zeros => "zeros",
        Tail::OpenTransaction => "a transaction without its EXEC: Revert incomplete MULTI/EXEC transaction",
        Tail::Damaged => "damage",
    }
}

/// Cuts the file at `offset`; what is cut off is kept beside it. Everything is durable in between,
/// so that no power cut loses the bytes. Returns the side file.
pub fn cut(storage: &dyn Storage, path: &Path, offset: u64, now_s: i64) -> IoResult<PathBuf> {
    let mut side_name = path.as_os_str().to_owned();
    side_name.push(format!(".cut-{now_s}-{offset}"));
    let side_path = PathBuf::from(side_name);
    let source = storage.open_read(path)?;
    let mut side = storage.create(&side_path)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut position = offset;
    loop {
        match source.read_at(&mut buffer, position)? {
            0 => break,
            count => {
                side.write_all(&buffer[..count])?;
                position += count as u64;
            }
        }
    }
    side.sync_data()?;
    storage.sync_dir(parent_dir(path))?;
    storage.truncate(path, offset)?;
    storage.open_append(path)?.sync_data()?;
    Ok(side_path)
}
