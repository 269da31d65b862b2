//! Listening sockets: several TCP addresses, optional ones, a unix socket.

use crate::net::{Net, TOKEN_LISTENERS};
use crate::server::Server;
use crate::sys;
use mio::{Interest, Token};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// A bound socket.
pub(super) struct Listener {
    pub socket: ListenSocket,
    /// What INFO and the process title show.
    pub name: String,
}

pub(super) enum ListenSocket {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener, PathBuf),
}

/// An address that could not be bound.
#[derive(Debug)]
pub struct ListenError(String);

impl fmt::Display for ListenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Net {
    /// Binds everything the configuration names, in place of what was bound before. When an
    /// address fails, nothing changes.
    ///
    /// # Errors
    /// The address and the system's reason.
    pub fn listen(&mut self, server: &mut Server) -> Result<(), ListenError> {
        let config = &server.config;
        let mut fresh = Vec::new();
        // The old sockets must go first: the new ones may have the same port.
        let old = std::mem::take(&mut self.listeners);
        let keep_unix = old.into_iter().find(|listener| matches!(listener.socket, ListenSocket::Unix(..)));
        if config.port != 0 {
            listen_tcp(server, &mut fresh)?;
        }
        match keep_unix {
            Some(listener) => fresh.push(listener),
            None if !config.unixsocket.is_empty() => fresh.push(listen_unix(server)?),
            None => {}
        }
        for (index, listener) in fresh.iter_mut().enumerate() {
            self.register(index, listener)?;
        }
        server.run.listening = fresh.iter().map(|listener| listener.name.clone()).collect();
        self.listeners = fresh;
        Ok(())
    }

    fn register(&self, index: usize, listener: &mut Listener) -> Result<(), ListenError> {
        let token = Token(TOKEN_LISTENERS + index);
        let source: &mut dyn mio::event::Source = match &mut listener.socket {
            ListenSocket::Tcp(socket) => socket,
            ListenSocket::Unix(socket, _) => socket,
        };
        // A unix listener that was kept is registered already, perhaps under another token.
        let registry = self.poll.registry();
        registry
            .register(source, token, Interest::READABLE)
            .or_else(|_| registry.reregister(source, token, Interest::READABLE))
            .map_err(|failure| ListenError(format!("epoll cannot watch {}: {failure}", listener.name)))
    }

    /// Removes the unix socket's file (at the exit).
    pub fn remove_socket_file(&self) {
        for listener in &self.listeners {
            if let ListenSocket::Unix(_, path) = &listener.socket
                && let Err(failure) = std::fs::remove_file(path)
            {
                log::warn!("Could not remove the unix socket {}: {failure}", path.display());
            }
        }
    }
}

fn listen_tcp(server: &Server, fresh: &mut Vec<Listener>) -> Result<(), ListenError> {
    let port = server.config.port;
    let mut bound = 0;
    for address in server.config.bind.iter() {
        let host = String::from_utf8_lossy(address.host);
        let ip = parse_bind(&host);
        let result = match ip {
            Some(ip) => sys::net::listen_tcp(ip, port, server.config.tcp_backlog),
            None => Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not an IP address")),
        };
        match result {
            Ok(socket) => {
                bound += 1;
                let name = format!("{host}:{port}");
                fresh.push(Listener {
                    socket: ListenSocket::Tcp(mio::net::TcpListener::from_std(socket)),
                    name,
                });
            }
            Err(failure) if address.optional && is_unavailable(&failure) => {
                log::info!("Not listening to IPv6 or an optional address: {host}: {failure}");
            }
            Err(failure) => {
                log::warn!("Could not create server TCP listening socket {host}:{port}: {failure}");
                return Err(ListenError(format!("Failed listening on port {port} (tcp), aborting.")));
            }
        }
    }
    if bound == 0 && server.config.bind.iter().next().is_some() {
        return Err(ListenError(format!("Failed listening on port {port} (tcp), aborting.")));
    }
    Ok(())
}

/// The address is not there on this machine: what a leading `-` allows.
fn is_unavailable(failure: &std::io::Error) -> bool {
    matches!(
        failure.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ENOPROTOOPT)
    ) || failure.kind() == std::io::ErrorKind::InvalidInput
}

/// `*` is every IPv4 address, `::*` every IPv6 one, `localhost` the loopback.
fn parse_bind(address: &str) -> Option<IpAddr> {
    match address {
        "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "::*" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        other => other.parse().ok(),
    }
}

fn listen_unix(server: &Server) -> Result<Listener, ListenError> {
    let path = PathBuf::from(String::from_utf8_lossy(server.config.unixsocket.as_bytes()).into_owned());
    let socket = sys::net::listen_unix(&path, server.config.unixsocketperm, server.config.tcp_backlog)
        .map_err(|failure| {
            ListenError(format!("Failed opening Unix socket: bind: {}: {failure}", path.display()))
        })?;
    let name = path.display().to_string();
    Ok(Listener { socket: ListenSocket::Unix(mio::net::UnixListener::from_std(socket), path), name })
}
