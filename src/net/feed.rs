//! Sending to replicas: the snapshot file, then the stream straight from its shared blocks.
//!
//! ```text
//!  output (handshake) ──► snapshot file by sendfile ──► stream: one vectored write over many blocks
//! ```
//! Nothing is copied into a replica's own output. One replica gets at most [`TURN_BYTES_MAX`] a turn, so
//! that a file of gigabytes stops nobody; what is left is gone on with in the next turn, at once if the
//! socket takes more.

use crate::net::Net;
use crate::net::connection::{Connection, Stream};
use crate::replication::primary;
use crate::server::replication::ReplicaPhase;
use crate::server::replication::replicas::FileTransfer;
use crate::server::{ClientRef, Server};
use crate::sys;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;

/// Sent to one replica in one turn, bytes.
const TURN_BYTES_MAX: u64 = 4 << 20;
/// Blocks in one write.
const SLICES_MAX: usize = 64;
/// Read of a file that has no descriptor (storage of tests), bytes.
const COPY_BYTES: usize = 64 << 10;

/// How an attempt to send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// All there is, for now.
    All,
    /// The turn's share; the socket would take more.
    Share,
    /// The socket is full.
    Full,
}

impl Net {
    /// In the middle of a long turn: what it has propagated goes out, as far as the AOF allows.
    pub(super) fn feed_within_turn(&mut self, server: &mut Server) {
        if server.should_feed_within_turn() {
            server.flush_stream();
            server.persistence.flush_aof();
            self.feed_replicas(server);
        }
    }

    /// Sends each replica what it may have.
    pub(super) fn feed_replicas(&mut self, server: &mut Server) {
        if server.replication.replicas.is_empty() {
            return;
        }
        let released = server.persistence.released_aof_offset();
        let end = server.replication.gates.sendable_end(released);
        for index in 0..server.replication.replicas.len() {
            let Some(client) = server.replication.replicas.get(index).copied() else { break };
            self.feed(server, client, end);
            server.enforce_output_limit(client);
        }
    }

    fn feed(&mut self, server: &mut Server, client: ClientRef, end: u64) {
        let Some(Some(connection)) = self.connections.get_mut(client.slot as usize) else { return };
        let Some(state) = server.clients.get(client) else { return };
        let Some(replica) = state.replica.as_deref() else { return };
        if connection.client != client || state.close_now || !state.output.is_empty() || replica.socket_full {
            return;
        }
        let phase = replica.phase;
        let sent = match phase {
            ReplicaPhase::SendFile => send_file(server, connection),
            ReplicaPhase::Online if replica.is_fed() => send_stream(server, connection, end),
            _ => return,
        };
        match sent {
            Err(failure) => {
                if phase == ReplicaPhase::SendFile {
                    let reason = sys::net::reason_of(&failure);
                    log::warn!("Write error sending DB to replica: {reason}");
                }
                server.close_soon(client);
            }
            Ok(Sent::All) if phase == ReplicaPhase::SendFile => {
                primary::file_sent(server, client);
                self.more_to_feed = true;
            }
            Ok(Sent::All) => {}
            Ok(Sent::Share) => self.more_to_feed = true,
            Ok(Sent::Full) => {
                if let Some(replica) = server.replica_state_mut(client) {
                    replica.socket_full = true;
                }
            }
        }
    }

    /// The socket of a replica can take more.
    pub(super) fn replica_is_writable(&mut self, server: &mut Server, client: ClientRef) {
        if let Some(replica) = server.replica_state_mut(client) {
            replica.socket_full = false;
        }
    }
}

fn send_stream(server: &mut Server, connection: &mut Connection, end: u64) -> io::Result<Sent> {
    let client = connection.client;
    let mut share = TURN_BYTES_MAX;
    loop {
        let Some(backlog) = &server.replication.backlog else { return Ok(Sent::All) };
        let Some(state) = server.clients.get_mut(client) else { return Ok(Sent::All) };
        let Some(cursor) = state.replica.as_deref_mut().and_then(|replica| replica.cursor.as_mut()) else {
            return Ok(Sent::All);
        };
        if *cursor >= end {
            return Ok(Sent::All);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = backlog.slices(*cursor, end.min(*cursor + share), &mut slices);
        if filled == 0 {
            return Err(io::Error::other("the stream that it needs is gone"));
        }
        match connection.stream.write_vectored(&slices[..filled]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                *cursor += count as u64;
                state.bytes_out += count as u64;
                share = share.saturating_sub(count as u64);
                count_output(server, count);
            }
            Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::Full),
            Err(failure) if failure.kind() == io::ErrorKind::Interrupted => {}
            Err(failure) => return Err(failure),
        }
        if share == 0 {
            return Ok(Sent::Share);
        }
    }
}

fn send_file(server: &mut Server, connection: &mut Connection) -> io::Result<Sent> {
    let mut share = TURN_BYTES_MAX;
    let mut copy = Vec::new();
    loop {
        let Some(replica) = server.replica_state_mut(connection.client) else { return Ok(Sent::All) };
        let Some(transfer) = &mut replica.transfer else { return Ok(Sent::All) };
        if transfer.sent >= transfer.len {
            return Ok(Sent::All);
        }
        if share == 0 {
            return Ok(Sent::Share);
        }
        match write_file(transfer, share, &mut connection.stream, &mut copy) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "premature EOF of the file")),
            Ok(count) => {
                transfer.sent += count as u64;
                share = share.saturating_sub(count as u64);
                count_output(server, count);
            }
            Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => return Ok(Sent::Full),
            Err(failure) if failure.kind() == io::ErrorKind::Interrupted => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// Sends a piece of the file, at most `bytes_max`. Returns its length.
fn write_file(
    transfer: &FileTransfer,
    bytes_max: u64,
    stream: &mut Stream,
    copy: &mut Vec<u8>,
) -> io::Result<usize> {
    let bytes = (transfer.len - transfer.sent).min(bytes_max) as usize;
    if let Some(file) = transfer.file.descriptor() {
        return sys::net::send_file(&stream.as_fd(), &file, transfer.sent, bytes);
    }
    copy.resize(COPY_BYTES.min(bytes), 0);
    let count = transfer.file.read_at(copy, transfer.sent)?;
    if count == 0 { Ok(0) } else { stream.write(&copy[..count]) }
}

pub(super) fn count_output(server: &mut Server, count: usize) {
    server.stats.net_output_bytes += count as u64;
    server.stats.writes_processed += 1;
    server.replication.counts.output_bytes += count as u64;
}
