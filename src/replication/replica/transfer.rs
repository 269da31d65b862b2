//! Receiving a data set: into a file, whose checksum is computed on the way, or not at all, when the
//! parser reads the socket itself.
//!
//! ```text
//!  $<length>\r\n<bytes>            the length is known
//!  $EOF:<40 bytes>\r\n<bytes><the same 40 bytes>     it is not (a diskless primary)
//! ```
//! Behind a known length the stream follows at once: what was read of it waits in `Link::incoming`.
//! An RDB ends in the checksum of what stands before it, and its structure is followed as it comes, so a
//! file is known whole, undamaged and of known types before the old data are dropped for it.

use crate::base::crc64::Crc64;
use crate::persist::aof;
use crate::persist::rdb::parse::MAGIC_BYTES;
use crate::persist::rdb::scan::Scanner;
use crate::replication::replica::{handshake, load, now_ms};
use crate::server::Server;
use crate::server::config::ReplDisklessLoad;
use crate::server::replication::link::{
    EOF_MARK_BYTES, Footer, LinkState, Transfer, TransferEnd, TransferFile,
};
use crate::sys::io::IoFault;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Bytes after which write-back of the file is started, so that the sync at the end is short.
const WRITE_BACK_BYTES: u64 = 8 << 20;
/// Longest line that may announce a data set, bytes.
const HEADER_BYTES_MAX: usize = 1024;

/// After the answer to PSYNC: a data set will come.
pub(super) fn begin(server: &mut Server) {
    server.link.state = LinkState::Transfer;
    server.link.last_heard_ms = now_ms(server);
    server.link.transfer = Some(Box::new(Transfer {
        end: TransferEnd::Unknown,
        received_bytes: 0,
        file: None,
        started: Instant::now(),
    }));
}

/// Whether the data set goes straight to the parser.
fn skips_file(server: &Server) -> bool {
    match server.config.repl_diskless_load {
        ReplDisklessLoad::Swapdb => true,
        ReplDisklessLoad::OnEmptyDb => server.keyspace.total_keys() == 0,
        _ => false,
    }
}

/// Bytes of the transfer.
pub(super) fn receive(server: &mut Server, bytes: &[u8]) {
    let Some(transfer) = &server.link.transfer else { return };
    if transfer.end != TransferEnd::Unknown {
        return match transfer.file {
            Some(_) => store(server, bytes),
            None => {
                server.link.incoming.extend_from_slice(bytes);
                hand_to_parser(server);
            }
        };
    }
    server.link.incoming.extend_from_slice(bytes);
    while let Some(end) = memchr::memchr(b'\n', &server.link.incoming) {
        let line: Vec<u8> = server.link.incoming.drain(..=end).collect();
        let line = line.trim_ascii_end();
        // A line end alone keeps the link alive while the primary prepares the data set.
        if line.is_empty() {
            continue;
        }
        return take_header(server, line);
    }
    if server.link.incoming.len() > HEADER_BYTES_MAX {
        refuse_header(server, b"");
    }
}

fn refuse_header(server: &mut Server, line: &[u8]) {
    log::warn!(
        "Bad protocol from MASTER, the first byte is not '$' (we received '{}'), are you sure the host and port are \
         right?",
        String::from_utf8_lossy(line)
    );
    handshake::cancel(server, true);
}

/// The line that announces the data set, or says why there is none.
fn take_header(server: &mut Server, line: &[u8]) {
    if let Some(text) = line.strip_prefix(b"-") {
        log::warn!("MASTER aborted replication with an error: {}", String::from_utf8_lossy(text));
        handshake::cancel(server, true);
        return;
    }
    let end = match line.strip_prefix(b"$").map(parse_end) {
        Some(Some(end)) => end,
        _ => return refuse_header(server, line),
    };
    let to_parser = skips_file(server);
    let to = if to_parser { "to parser" } else { "to disk" };
    match &end {
        TransferEnd::Length(length) => {
            log::info!("MASTER <-> REPLICA sync: receiving {length} bytes from master {to}");
        }
        _ => log::info!("MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF {to}"),
    }
    let Some(transfer) = &mut server.link.transfer else { return };
    transfer.end = end;
    if to_parser {
        return hand_to_parser(server);
    }
    let rest = take_data(server);
    match create_file(server) {
        Ok(file) => {
            if let Some(transfer) = &mut server.link.transfer {
                transfer.file = Some(file);
            }
            store(server, &rest);
        }
        Err(fault) => {
            log::warn!("Opening the temp file needed for MASTER <-> REPLICA synchronization: {fault}");
            handshake::give_up(server);
        }
    }
}

/// What of the data set has come; what is behind its end stays.
fn take_data(server: &mut Server) -> Vec<u8> {
    let mut data = std::mem::take(&mut server.link.incoming);
    if let Some(Transfer { end: TransferEnd::Length(length), .. }) = server.link.transfer.as_deref()
        && data.len() as u64 > *length
    {
        server.link.incoming = data.split_off(*length as usize);
    }
    data
}

/// The parser takes the socket over when it need not wait for the header.
fn hand_to_parser(server: &mut Server) {
    let too_short = matches!(
        server.link.transfer.as_deref(),
        Some(Transfer { end: TransferEnd::Length(length), .. }) if *length < MAGIC_BYTES as u64
    );
    if too_short {
        refuse(server, "it ends too early");
    } else if server.link.incoming.len() >= MAGIC_BYTES {
        let begun = take_data(server);
        load::begin_from_socket(server, begun);
    }
}

/// What stands behind the `$`.
fn parse_end(text: &[u8]) -> Option<TransferEnd> {
    if let Some(mark) = text.strip_prefix(b"EOF:") {
        return mark.get(..EOF_MARK_BYTES)?.try_into().ok().map(TransferEnd::Mark);
    }
    std::str::from_utf8(text).ok()?.parse().ok().map(TransferEnd::Length)
}

fn create_file(server: &mut Server) -> Result<TransferFile, IoFault> {
    // Two within a second are two files: the thread that syncs the first may not be done.
    server.link.files += 1;
    let (second, count) = (server.now_ms() / 1000, server.link.files % 1000);
    let name = format!("temp-{second}{count:03}.{}.rdb", std::process::id());
    // The working directory may change (CONFIG SET dir) before it is whole.
    let path = server.data_path(Path::new(&name));
    let path = std::path::absolute(&path).unwrap_or(path);
    let file = server.persistence.storage.create(&path)?;
    let scanner = Scanner::new(server.keyspace.databases());
    Ok(TransferFile {
        file,
        path,
        footer: Footer::default(),
        scanner,
        unfit: None,
        held: Vec::new(),
        synced_bytes: 0,
    })
}

/// Bytes of the data set, for the file.
fn store(server: &mut Server, bytes: &[u8]) {
    let Some(mut transfer) = server.link.transfer.take() else { return };
    let stored = transfer.store(bytes);
    let unfit = transfer.file.as_mut().and_then(|target| target.unfit.take());
    server.link.transfer = Some(transfer);
    if let Some(reason) = unfit {
        return refuse(server, &reason);
    }
    match stored {
        Ok(Stored { ended: false, .. }) => {}
        Ok(Stored { taken, .. }) => {
            server.link.incoming.extend_from_slice(&bytes[taken..]);
            finish(server);
        }
        Err(fault) => {
            log::warn!(
                "Write error or short write writing to the DB dump file needed for MASTER <-> REPLICA \
                 synchronization: {fault}"
            );
            // The disk will hardly be better at once: cron tries again.
            handshake::give_up(server);
        }
    }
}

/// What became of bytes that arrived.
struct Stored {
    /// How many belong to the data set; the others are the stream's.
    taken: usize,
    /// The data set is whole.
    ended: bool,
}

impl Transfer {
    /// Writes what has come of the data set.
    fn store(&mut self, bytes: &[u8]) -> Result<Stored, IoFault> {
        let Some(target) = &mut self.file else { return Ok(Stored { taken: 0, ended: false }) };
        let left = match &self.end {
            TransferEnd::Length(length) => length.saturating_sub(self.received_bytes),
            _ => u64::MAX,
        };
        let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.received_bytes += taken as u64;
        let ended = match &self.end {
            TransferEnd::Length(length) => {
                target.write(&bytes[..taken])?;
                self.received_bytes >= *length
            }
            TransferEnd::Mark(mark) => target.write_before_mark(bytes, mark)?,
            TransferEnd::Unknown => false,
        };
        target.write_back(ended)?;
        Ok(Stored { taken, ended })
    }
}

impl TransferFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), IoFault> {
        self.footer.add(bytes);
        if let Err(kind) = self.scanner.feed(bytes) {
            self.unfit = Some(format!("{kind}, near byte {}", self.footer.total));
        }
        self.file.write_all(bytes)
    }

    /// Keeps back what may be the mark. True when it was.
    fn write_before_mark(&mut self, bytes: &[u8], mark: &[u8]) -> Result<bool, IoFault> {
        let mut held = std::mem::take(&mut self.held);
        if bytes.len() >= EOF_MARK_BYTES {
            self.write(&held)?;
            let (body, tail) = bytes.split_at(bytes.len() - EOF_MARK_BYTES);
            self.write(body)?;
            held.clear();
            held.extend_from_slice(tail);
        } else {
            held.extend_from_slice(bytes);
            let surplus = held.len().saturating_sub(EOF_MARK_BYTES);
            self.write(&held[..surplus])?;
            held.drain(..surplus);
        }
        self.held = held;
        Ok(self.held == mark)
    }

    fn write_back(&mut self, ended: bool) -> Result<(), IoFault> {
        let written = self.footer.total;
        let due = written - self.synced_bytes;
        if due >= WRITE_BACK_BYTES || ended {
            self.file.sync_range(self.synced_bytes, due)?;
            self.synced_bytes = written;
        }
        Ok(())
    }
}

impl Footer {
    /// Adds bytes of the file.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        const LAST: usize = 8;
        self.total += bytes.len() as u64;
        let have = self.last_bytes;
        if bytes.len() >= LAST {
            self.crc = Crc64::update(self.crc, &self.last[..have]);
            let (body, tail) = bytes.split_at(bytes.len() - LAST);
            self.crc = Crc64::update(self.crc, body);
            self.last.copy_from_slice(tail);
            self.last_bytes = LAST;
            return;
        }
        let mut joined = [0; 2 * LAST];
        joined[..have].copy_from_slice(&self.last[..have]);
        joined[have..have + bytes.len()].copy_from_slice(bytes);
        let total = have + bytes.len();
        let body = total.saturating_sub(LAST);
        self.crc = Crc64::update(self.crc, &joined[..body]);
        self.last_bytes = total - body;
        self.last[..self.last_bytes].copy_from_slice(&joined[body..total]);
    }

    /// Whether the file ends in its checksum, or in none (it was switched off).
    pub(super) fn is_right(&self) -> bool {
        let stored = u64::from_le_bytes(self.last);
        self.last_bytes == self.last.len() && (stored == 0 || stored == self.crc)
    }
}

/// The file is whole.
fn finish(server: &mut Server) {
    let Some(transfer) = server.link.transfer.take() else { return };
    let Some(target) = transfer.file else { return };
    let wanted = server.config.rdbchecksum && !server.run.debug.skip_checksums;
    let damage = match (target.scanner.has_ended(), wanted && !target.footer.is_right()) {
        (false, _) => "it ends too early",
        (true, true) => "its checksum is wrong",
        (true, false) => return load::begin_from_file(server, target),
    };
    remove(server, &target.path);
    refuse(server, damage);
}

/// The data set is of no use here. The old data are kept.
fn refuse(server: &mut Server, reason: &str) {
    log::warn!("The data set received from MASTER can't be loaded, the old data are kept: {reason}");
    handshake::give_up_for_longer(server);
}

/// Removes a file that is of no use, without a stop for its blocks.
pub(super) fn remove(server: &Server, path: &Path) {
    if let Err(fault) = aof::remove_elsewhere(&*Arc::clone(&server.persistence.storage), path) {
        log::warn!("Can't remove the file of a broken synchronization: {fault}");
    }
}

/// Gives up what has been received.
pub(super) fn discard(server: &mut Server) {
    let Some(transfer) = server.link.transfer.take() else { return };
    if let Some(target) = transfer.file {
        remove(server, &target.path);
    }
}

#[cfg(test)]
mod tests {
    use super::{Footer, parse_end};
    use crate::base::crc64::Crc64;
    use crate::server::replication::link::TransferEnd;

    #[test]
    fn the_end_of_a_transfer_is_announced() {
        assert_eq!(parse_end(b"123"), Some(TransferEnd::Length(123)));
        assert_eq!(
            parse_end([&b"EOF:"[..], &[b'x'; 40]].concat().as_slice()),
            Some(TransferEnd::Mark([b'x'; 40]))
        );
        assert_eq!(parse_end(b"EOF:short"), None);
        assert_eq!(parse_end(b"-1"), None);
    }

    #[test]
    fn a_footer_is_found_however_the_bytes_are_cut() {
        let body: Vec<u8> = (0..1000u32).map(|number| (number * 7) as u8).collect();
        let file = [&body[..], &Crc64::update(0, &body).to_le_bytes()].concat();
        for step in [1, 3, 7, 8, 9, 100, 1008] {
            let mut footer = Footer::default();
            file.chunks(step).for_each(|chunk| footer.add(chunk));
            assert!(footer.is_right(), "cut into {step}");
            footer.add(b"x");
            assert!(!footer.is_right());
        }
    }
}
