//! The socket to our primary: connecting, reading, writing. What the bytes mean is decided in
//! `crate::replication::replica`.
//!
//! The server wishes for a socket by number (`Link::socket`); each turn the one that is held is
//! compared with the wish. So a link given up in the middle of anything is closed here, later.

use crate::blocking;
use crate::net::lookup::resolve_by_system;
use crate::net::{Net, TOKEN_LINK};
use crate::replication::replica;
use crate::server::Server;
use crate::server::replication::link::LinkState;
use crate::sys;
use mio::Interest;
use mio::event::Event;
use mio::net::TcpStream;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

/// Bytes read at once: a data set comes in this size.
const READ_BYTES: usize = 256 << 10;
/// Reads in one turn, so that clients are served meanwhile.
const READS_PER_TURN: usize = 8;

/// The socket that is held.
pub(super) struct LinkSocket {
    number: u64,
    stream: TcpStream,
    connected: bool,
    readable: bool,
    writable: bool,
    buffer: Vec<u8>,
}

impl Net {
    /// Whether the link has something to do that no event will announce.
    pub(super) fn link_is_busy(&self, server: &Server) -> bool {
        let held = self.link.as_ref();
        let follows = held.map(|link| link.number) == server.link.socket;
        let waits = held.is_none() && self.lookup.is_waiting();
        if !follows && !waits || replica::has_work(server) {
            return true;
        }
        held.is_some_and(|link| link.readable) && !replica::holds_reading(server)
    }

    /// An event of the socket.
    pub(super) fn take_link_event(&mut self, server: &mut Server, event: &Event) {
        let Some(link) = &mut self.link else { return };
        link.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        link.writable |= event.is_writable();
        if server.link.socket == Some(link.number) {
            server.link.peer_closed |= event.is_read_closed();
        }
    }

    /// The link's part of a turn.
    pub(super) fn serve_link(&mut self, server: &mut Server) {
        self.follow_wish(server);
        // Before the stream: bytes of it may have come with the end of the data set.
        replica::step(server);
        if self.link.is_some() {
            self.notice_lost_client(server);
            self.finish_connecting(server);
            self.read_link(server);
            self.apply_stream(server);
        }
        self.follow_wish(server);
        self.write_link(server);
    }

    /// Opens and closes as the server wishes.
    fn follow_wish(&mut self, server: &mut Server) {
        if self.link.as_ref().map(|link| link.number) == server.link.socket {
            return;
        }
        self.close_link();
        let Some(number) = server.link.socket else { return };
        let opened = match self.find_primary(server, number) {
            None => return,
            Some(target) => target.and_then(|target| self.open_link(server, number, target)),
        };
        match opened {
            Ok(link) => self.link = Some(link),
            Err(failure) => {
                let reason = sys::net::reason_of(&failure);
                log::warn!("Unable to connect to MASTER: {reason}");
                replica::connect_failed(server, &reason);
                server.link.drop_socket();
            }
        }
    }

    fn close_link(&mut self) {
        if let Some(mut link) = self.link.take() {
            // It may have been closed by the kernel already; then there is nothing to take out.
            let _ = self.poll.registry().deregister(&mut link.stream);
            // A child may hold the socket too: this ends the connection for both.
            let _ = link.stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// The address that the try `number` connects to; `None`: its name is being looked up.
    fn find_primary(&mut self, server: &Server, number: u64) -> Option<io::Result<SocketAddr>> {
        let Some(primary) = &server.config.replicaof else {
            return Some(Err(io::ErrorKind::NotFound.into()));
        };
        let waker = self.waker();
        // A loop that cannot be woken looks again with the next round of cron.
        let wake = move || waker.wake().unwrap_or(());
        self.lookup.address(number, &primary.host.to_text(), primary.port, resolve_by_system, wake)
    }

    fn open_link(&mut self, server: &mut Server, number: u64, target: SocketAddr) -> io::Result<LinkSocket> {
        let source: Option<IpAddr> = server.config.bind_source_addr.to_text().parse().ok();
        let stream = sys::net::connect_tcp(target, source)?;
        // Latency and the end of a dead peer; the link works without.
        let _ = sys::net::set_nodelay(&stream, true);
        let _ = sys::net::set_keepalive(&stream, server.config.tcp_keepalive);
        server.link.handle = stream.as_fd().try_clone_to_owned().ok();
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, TOKEN_LINK, Interest::READABLE | Interest::WRITABLE)?;
        Ok(LinkSocket {
            number,
            stream,
            connected: false,
            readable: false,
            writable: false,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// CLIENT KILL has taken the primary's client away.
    fn notice_lost_client(&mut self, server: &mut Server) {
        if server
            .link
            .client
            .is_some_and(|client| server.clients.get(client).is_none_or(|state| state.close_now))
        {
            replica::primary_lost(server);
        }
    }

    fn finish_connecting(&mut self, server: &mut Server) {
        let Some(link) =
            self.link.as_mut().filter(|link| !link.connected && (link.writable || link.readable))
        else {
            return;
        };
        match link.stream.take_error() {
            Ok(None) => {
                link.connected = true;
                replica::connected(server);
            }
            Ok(Some(failure)) | Err(failure) => {
                replica::connect_failed(server, &sys::net::reason_of(&failure));
            }
        }
    }

    fn is_wanted(&self, server: &Server) -> bool {
        self.link.as_ref().is_some_and(|link| server.link.socket == Some(link.number))
    }

    fn read_link(&mut self, server: &mut Server) {
        for _ in 0..READS_PER_TURN {
            if !self.is_wanted(server) || replica::holds_reading(server) {
                return;
            }
            let Some(link) = self.link.as_mut().filter(|link| link.connected && link.readable) else {
                return;
            };
            match link.stream.read(&mut link.buffer) {
                Ok(0) => {
                    link.readable = false;
                    replica::disconnected(server, "connection lost");
                    return;
                }
                Ok(count) => {
                    server.stats.net_input_bytes += count as u64;
                    replica::receive(server, &link.buffer[..count]);
                    if server.link.state == LinkState::Connected {
                        // Clients wait while commands run.
                        return;
                    }
                }
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => {
                    link.readable = false;
                    return;
                }
                Err(failure) if failure.kind() == io::ErrorKind::Interrupted => {}
                Err(failure) => {
                    link.readable = false;
                    replica::disconnected(server, &sys::net::reason_of(&failure));
                    return;
                }
            }
        }
    }

    /// Runs the primary's commands; clients that wait for what they make are served in between.
    fn apply_stream(&mut self, server: &mut Server) {
        loop {
            let more = replica::apply_some(server);
            if server.blocked.has_ready() {
                blocking::serve_ready(server);
            }
            if !more {
                break;
            }
        }
        if server.replication.own_ack_wanted {
            replica::send_ack(server);
        }
    }

    fn write_link(&mut self, server: &mut Server) {
        if server.link.outgoing.is_empty() || !self.is_wanted(server) {
            return;
        }
        let Some(link) = self.link.as_mut().filter(|link| link.connected) else { return };
        loop {
            if server.link.outgoing.is_empty() {
                return;
            }
            match link.stream.write(&server.link.outgoing) {
                Ok(count) => {
                    server.link.outgoing.drain(..count);
                    server.stats.net_output_bytes += count as u64;
                    server.replication.counts.output_bytes += count as u64;
                }
                Err(failure) if failure.kind() == io::ErrorKind::Interrupted => {}
                // The rest goes when there is room, or with the next turn. A broken link shows in reading.
                Err(_) => return,
            }
        }
    }
}
