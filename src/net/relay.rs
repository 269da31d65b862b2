//! Passing a child's snapshot on to replicas: from its pipe to their sockets.
//!
//! The next chunk is read when every member has got the last one. At most [`TURN_CHUNKS_MAX`] chunks a
//! turn, so that clients are served meanwhile.

use crate::net::connection::Connection;
use crate::net::feed::count_output;
use crate::net::{Net, TOKEN_RELAY};
use crate::persist::fork::{ChildKind, ChildProcess};
use crate::replication::primary;
use crate::server::replication::ReplicaPhase;
use crate::server::replication::relay::Relay;
use crate::server::{ClientRef, Server};
use crate::sys;
use mio::Interest;
use mio::unix::SourceFd;
use std::io::{self, Write};
use std::os::fd::AsRawFd;

/// Chunks passed on in one turn.
const TURN_CHUNKS_MAX: usize = 4;

impl Net {
    /// Goes on with the transfer, if there is one.
    pub(super) fn pump_relay(&mut self, server: &mut Server) {
        let Some(mut relay) = server.replication.relay.take() else { return };
        if !relay.watched {
            self.watch(&mut relay);
        }
        self.pass_on(server, &mut relay);
        let ended = has_ended(&relay);
        if ended {
            // It may have been taken out by the kernel with the pipe's other end.
            let _ = self.poll.registry().deregister(&mut SourceFd(&relay.pipe.as_raw_fd()));
        }
        server.replication.relay = Some(relay);
        if ended {
            primary::relay_ended(server);
            self.more_to_feed = true;
        }
    }

    fn watch(&self, relay: &mut Relay) {
        let number = relay.pipe.as_raw_fd();
        let watched = self.poll.registry().register(&mut SourceFd(&number), TOKEN_RELAY, Interest::READABLE);
        if let Err(failure) = watched {
            log::warn!("epoll cannot watch the pipe of a snapshot: {failure}");
        }
        relay.watched = true;
    }

    fn pass_on(&mut self, server: &mut Server, relay: &mut Relay) {
        for _ in 0..TURN_CHUNKS_MAX {
            if !self.write_chunk(server, relay) {
                return;
            }
            if relay.at_end {
                return;
            }
            relay.filled = 0;
            match nix::unistd::read(&relay.pipe, &mut relay.chunk) {
                Ok(0) => {
                    relay.at_end = true;
                    let members = relay.members.len();
                    log::info!("Diskless rdb transfer, done reading from pipe, {members} replicas still up.");
                    return;
                }
                Ok(count) => {
                    relay.filled = count;
                    for member in &relay.members {
                        if let Some(replica) = server.replica_state_mut(*member) {
                            replica.relayed = 0;
                        }
                    }
                }
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return,
                Err(errno) => {
                    log::warn!("Diskless rdb transfer, read error sending DB to replicas: {errno}");
                    relay.members.iter().for_each(|member| server.close_soon(*member));
                    return;
                }
            }
        }
        self.more_to_feed = true;
    }

    /// Writes what members have not got of the chunk. True when all of them have all of it.
    fn write_chunk(&mut self, server: &mut Server, relay: &mut Relay) -> bool {
        let before = relay.members.len();
        relay.members.retain(|member| is_there(server, *member));
        if relay.members.is_empty() {
            if before > 0 {
                log::warn!("Diskless rdb transfer, last replica dropped, killing fork child.");
            }
            // Nobody else's child: ours may have ended before its last bytes were to be read.
            let is_ours =
                |child: &&mut ChildProcess| child.kind == ChildKind::Replication && !child.is_cancelled();
            if let Some(child) = server.persistence.child.as_mut().filter(is_ours) {
                child.cancel();
            }
            return false;
        }
        let mut all = true;
        for member in relay.members.clone() {
            let Some(Some(connection)) = self.connections.get_mut(member.slot as usize) else { continue };
            match write_rest(server, connection, &relay.chunk[..relay.filled]) {
                Ok(done) => all &= done,
                Err(failure) => {
                    let reason = sys::net::reason_of(&failure);
                    log::warn!("Diskless rdb transfer, write error sending DB to replica: {reason}");
                    server.close_soon(member);
                }
            }
        }
        all
    }
}

/// Whether nothing is left to do: the child has ended, and everybody who is still there has everything,
/// or the rest is of no use.
fn has_ended(relay: &Relay) -> bool {
    match relay.child_succeeded {
        None => false,
        Some(false) => true,
        Some(true) => relay.members.is_empty() || relay.at_end && relay.filled == 0,
    }
}

fn is_there(server: &Server, member: ClientRef) -> bool {
    let phase = server.clients.get(member).filter(|client| !client.close_now);
    phase.is_some_and(|client| client.replica_phase() == Some(ReplicaPhase::Relayed))
}

/// Whether a member has all of the chunk now.
fn write_rest(server: &mut Server, connection: &mut Connection, chunk: &[u8]) -> io::Result<bool> {
    let now_ms = server.clock.monotonic_ms();
    loop {
        let Some(client) = server.clients.get_mut(connection.client) else { return Ok(true) };
        if !client.output.is_empty() {
            // The answer to PSYNC comes first.
            return Ok(false);
        }
        let Some(replica) = client.replica.as_deref_mut() else { return Ok(true) };
        if replica.relayed >= chunk.len() {
            replica.relay_stuck_since_ms = None;
            return Ok(true);
        }
        if replica.socket_full {
            return Ok(false);
        }
        match connection.stream.write(&chunk[replica.relayed..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                replica.relayed += count;
                replica.relay_stuck_since_ms = None;
                count_output(server, count);
            }
            Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => {
                replica.socket_full = true;
                replica.relay_stuck_since_ms.get_or_insert(now_ms);
                return Ok(false);
            }
            Err(failure) if failure.kind() == io::ErrorKind::Interrupted => {}
            Err(failure) => return Err(failure),
        }
    }
}
