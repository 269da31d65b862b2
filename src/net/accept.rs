//! Taking new connections: limits, protected mode, socket options.

use crate::net::Net;
use crate::net::connection::{Connection, Stream};
use crate::net::listen::ListenSocket;
use crate::server::config::Config;
use crate::server::{ClientKind, Server};
use crate::sys;
use mio::{Interest, Token};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// Connections taken from one listener in one turn; the rest waits for the next.
const ACCEPTS_PER_TURN: usize = 1000;

const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Set up an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.\r\n";

/// Where a connection comes from.
struct Peer {
    address: String,
    local_address: String,
    unix: bool,
    is_local: bool,
}

impl Net {
    /// Takes what waits on a listener.
    pub(super) fn accept(&mut self, server: &mut Server, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(index) else { return };
            let accepted = match &listener.socket {
                ListenSocket::Tcp(socket) => socket.accept().map(|(stream, peer)| {
                    let local = stream.local_addr().ok();
                    (Stream::Tcp(stream), tcp_peer(peer, local))
                }),
                ListenSocket::Unix(socket, path) => socket.accept().map(|(stream, _)| {
                    let name = format!("{}:0", path.display());
                    (
                        Stream::Unix(stream),
                        Peer { address: name.clone(), local_address: name, unix: true, is_local: true },
                    )
                }),
            };
            match accepted {
                Ok((stream, peer)) => self.add_connection(server, stream, peer),
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => return,
                Err(failure) if failure.kind() == io::ErrorKind::Interrupted => {}
                Err(failure) => {
                    log::warn!("Accepting client connection: {failure}");
                    return;
                }
            }
        }
        // Edge-triggered: the rest would not be reported again, so ask for it.
        if let Some(listener) = self.listeners.get_mut(index) {
            let token = Token(super::TOKEN_LISTENERS + index);
            let source: &mut dyn mio::event::Source = match &mut listener.socket {
                ListenSocket::Tcp(socket) => socket,
                ListenSocket::Unix(socket, _) => socket,
            };
            if let Err(failure) = self.poll.registry().reregister(source, token, Interest::READABLE) {
                log::warn!("epoll cannot watch a listener: {failure}");
            }
        }
    }

    fn add_connection(&mut self, server: &mut Server, mut stream: Stream, peer: Peer) {
        if server.clients.connected >= connections_max(&server.config, peer.is_local) {
            refuse(&mut stream, b"-ERR max number of clients reached\r\n");
            server.stats.connections_rejected += 1;
            return;
        }
        if server.config.protected_mode && server.acl.default_user().no_password && !peer.is_local {
            refuse(&mut stream, PROTECTED);
            server.stats.connections_rejected += 1;
            return;
        }
        let descriptor = prepare(server, &stream);
        let client = server.clients.add(ClientKind::Normal, server.clock.monotonic_ms());
        server.reset_user(client);
        if let Some(state) = server.clients.get_mut(client) {
            state.address = peer.address;
            state.local_address = peer.local_address;
            state.unix_socket = peer.unix;
            state.local_peer = peer.is_local;
            state.descriptor = descriptor;
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(failure) =
            self.poll.registry().register(stream.source(), Token(client.slot as usize), interest)
        {
            log::warn!("epoll cannot watch a client: {failure}");
            server.remove_client(client);
            return;
        }
        let slot = client.slot as usize;
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        self.connections[slot] = Some(Connection::new(stream, client));
        server.stats.connections_received += 1;
        log::debug!("Accepted {}", server.clients.get(client).map_or("", |state| &state.address));
    }
}

/// Connections up to which one more is taken: some are kept for clients of this machine
/// (`maxclients-reserved`).
fn connections_max(config: &Config, is_local: bool) -> usize {
    let reserved = if is_local { 0 } else { config.maxclients_reserved };
    config.maxclients.saturating_sub(reserved) as usize
}

fn tcp_peer(peer: SocketAddr, local: Option<SocketAddr>) -> Peer {
    let show = |address: SocketAddr| sys::net::display_address(address);
    Peer {
        address: show(peer),
        local_address: local.map_or(String::new(), show),
        unix: false,
        is_local: peer.ip().to_canonical().is_loopback(),
    }
}

/// Socket options; failures cost speed or dead-peer detection, not correctness.
fn prepare(server: &Server, stream: &Stream) -> i32 {
    match stream {
        Stream::Tcp(tcp) => {
            if let Err(failure) = tcp.set_nodelay(true) {
                log::debug!("TCP_NODELAY: {failure}");
            }
            if server.config.tcp_keepalive > 0
                && let Err(failure) = sys::net::set_keepalive(tcp, server.config.tcp_keepalive)
            {
                log::debug!("SO_KEEPALIVE: {failure}");
            }
            tcp.as_raw_fd()
        }
        Stream::Unix(unix) => unix.as_raw_fd(),
    }
}

/// Says why and lets the connection go; the socket buffer of a new connection has room for it.
fn refuse(stream: &mut Stream, text: &[u8]) {
    let _ = match stream {
        Stream::Tcp(tcp) => tcp.write(text),
        Stream::Unix(unix) => unix.write(text),
    };
}

#[cfg(test)]
mod tests {
    use super::connections_max;
    use crate::server::config::Config;

    #[test]
    fn the_reserve_is_for_clients_of_this_machine() {
        let config = Config { maxclients: 10, maxclients_reserved: 3, ..Config::default() };
        assert_eq!((connections_max(&config, true), connections_max(&config, false)), (10, 7));
        let all = Config { maxclients: 10, maxclients_reserved: 99, ..Config::default() };
        assert_eq!((connections_max(&all, true), connections_max(&all, false)), (10, 0));
    }
}
