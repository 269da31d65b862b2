//! Sockets with the options that mio and std do not offer: own backlog, keep-alive times,
//! IPv6 alone, non-blocking connect.
//!
//! All sockets are close-on-exec and non-blocking, ready for `mio::net::*::from_std`.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect, setsockopt, socket, sockopt,
};

use super::proc::ProcFs;

/// A listening TCP socket: SO_REUSEADDR, and for IPv6 addresses only IPv6 (so that `::` and
/// `0.0.0.0` can both be bound). `backlog` is cut by the kernel at `somaxconn`. Port 0 lets the
/// kernel choose.
pub fn listen_tcp(address: IpAddr, port: u16, backlog: u32) -> io::Result<TcpListener> {
    let fd = stream_socket(family_of(address))?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, port)))?;
    listen(&fd, backlog)?;
    Ok(TcpListener::from(fd))
}

/// A listening Unix socket at `path`; a file left there by an earlier run is removed first.
/// `mode` sets the permissions (0: leave what the umask gives).
pub fn listen_unix(path: &Path, mode: u32, backlog: u32) -> io::Result<UnixListener> {
    let address = UnixAddr::new(path)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let fd = stream_socket(AddressFamily::Unix)?;
    bind(fd.as_raw_fd(), &address)?;
    if mode != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    listen(&fd, backlog)?;
    Ok(UnixListener::from(fd))
}

fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(family, SockType::Stream, flags, None)?)
}

/// nix's type refuses backlogs above 4 095; the kernel cuts by itself.
fn listen(fd: &OwnedFd, backlog: u32) -> io::Result<()> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    // SAFETY: listen takes integers; the descriptor is open while `fd` is borrowed.
    match unsafe { libc::listen(fd.as_raw_fd(), backlog) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Starts a connection and does not wait: writable means finished, then ask
/// `TcpStream::take_error`. `source` is the local address to use (`bind-source-addr`).
pub fn connect_tcp(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let fd = stream_socket(family_of(target.ip()))?;
    if let Some(source) = source {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    }
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(target)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(fd)),
        Err(errno) => Err(errno.into()),
    }
}

/// Probes a silent peer after `interval_s` seconds, then three times at a third of it, so that
/// a dead one is found after twice the interval, as in Redis. 0 switches probing off.
pub fn set_keepalive(socket: &impl AsFd, interval_s: u32) -> io::Result<()> {
    setsockopt(socket, sockopt::KeepAlive, &(interval_s > 0))?;
    if interval_s > 0 {
        setsockopt(socket, sockopt::TcpKeepIdle, &interval_s)?;
        setsockopt(socket, sockopt::TcpKeepInterval, &(interval_s / 3).max(1))?;
        setsockopt(socket, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?;
    }
    Ok(())
}

/// Unanswered probes before a connection counts as dead.
const KEEPALIVE_PROBES: u32 = 3;

/// Sends up to `bytes` of a file from `offset` on without copying them through here. Returns how many
/// the socket took; 0: the file ends there.
///
/// # Errors
/// `WouldBlock` when the socket is full.
pub fn send_file(socket: &impl AsFd, file: &impl AsFd, offset: u64, bytes: usize) -> io::Result<usize> {
    let mut position = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let (to, from) = (socket.as_fd().as_raw_fd(), file.as_fd().as_raw_fd());
    // SAFETY: both descriptors are open while they are borrowed, and the kernel writes only to `position`.
    let sent = unsafe { libc::sendfile(to, from, &mut position, bytes) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Why something on a socket failed, in words only as Redis logs it: "Connection refused".
pub fn reason_of(failure: &io::Error) -> String {
    failure
        .raw_os_error()
        .map_or_else(|| failure.to_string(), |errno| Errno::from_raw(errno).desc().to_owned())
}

/// Small packets leave at once (`repl-disable-tcp-nodelay no`).
pub fn set_nodelay(socket: &impl AsFd, on: bool) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::TcpNoDelay, &on)?)
}

/// Bytes that can be read from a socket now.
pub fn readable_bytes(socket: &impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, to `count`, which outlives the call; the descriptor is open
    // while `socket` is borrowed.
    match unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::FIONREAD, &mut count) } {
        0 => Ok(count.max(0) as usize),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Marks packets for the firewall and routing (`socket-mark-id`); needs a privilege.
pub fn set_mark(socket: &impl AsFd, mark: u32) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::Mark, &mark)?)
}

/// An address as CLIENT LIST shows it: `127.0.0.1:6379`, `[::1]:6379`.
pub fn display_address(address: SocketAddr) -> String {
    address.to_string()
}

/// What listen(2) will grant when it is less than the wish: for the warning at the start.
pub fn backlog_shortfall(proc: &ProcFs, backlog: u32) -> Option<u32> {
    proc.somaxconn().ok().filter(|granted| *granted < backlog)
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind, Read, Write};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use nix::sys::socket::{getsockopt, sockopt};

    use super::{
        backlog_shortfall, connect_tcp, display_address, listen_tcp, listen_unix, reason_of, set_keepalive,
        set_nodelay,
    };
    use crate::sys::proc::ProcFs;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn accept(listener: &std::net::TcpListener) -> (std::net::TcpStream, SocketAddr) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match listener.accept() {
                Ok(accepted) => return accepted,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(Instant::now() < deadline, "nobody connects");
            std::thread::yield_now();
        }
    }

    #[test]
    fn tcp_connects_without_blocking() {
        let listener = listen_tcp(LOCAL, 0, 511).expect("listen");
        let target = listener.local_addr().expect("bound");
        let mut client = connect_tcp(target, Some(LOCAL)).expect("connect");
        let (mut server, peer) = accept(&listener);
        assert_eq!(peer, client.local_addr().expect("connected"));
        assert_eq!(display_address(target), format!("127.0.0.1:{}", target.port()));
        server.write_all(b"x").expect("write");
        client.set_nonblocking(false).expect("set");
        client.read_exact(&mut [0]).expect("read");
        assert!(client.take_error().expect("ask").is_none());
    }

    #[test]
    fn a_port_in_use_and_a_closed_one_are_errors() {
        let listener = listen_tcp(LOCAL, 0, 1).expect("listen");
        let target = listener.local_addr().expect("bound");
        let fault = listen_tcp(LOCAL, target.port(), 1).expect_err("in use");
        assert_eq!(fault.kind(), ErrorKind::AddrInUse);
        drop(listener);
        // Refusal may come at once or later; never a hang.
        if let Ok(client) = connect_tcp(target, None) {
            let _ = client.take_error();
        }
    }

    #[test]
    fn ipv6_leaves_the_port_to_ipv4() {
        let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        // A machine without IPv6 has nothing to show here.
        let Ok(six) = listen_tcp(any6, 0, 16) else {
            return;
        };
        let port = six.local_addr().expect("bound").port();
        assert!(getsockopt(&six, sockopt::Ipv6V6Only).expect("ask"));
        listen_tcp(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port, 16).expect("both families");
    }

    #[test]
    fn options_reach_the_socket() {
        let listener = listen_tcp(LOCAL, 0, 16).expect("listen");
        let client = connect_tcp(listener.local_addr().expect("bound"), None).expect("connect");
        set_nodelay(&client, true).expect("set");
        assert!(client.nodelay().expect("ask"));
        set_keepalive(&client, 300).expect("set");
        assert!(getsockopt(&client, sockopt::KeepAlive).expect("ask"));
        assert_eq!(getsockopt(&client, sockopt::TcpKeepIdle).expect("ask"), 300);
        assert_eq!(getsockopt(&client, sockopt::TcpKeepInterval).expect("ask"), 100);
        set_keepalive(&client, 0).expect("set");
        assert!(!getsockopt(&client, sockopt::KeepAlive).expect("ask"));
    }

    #[test]
    fn unix_sockets_replace_stale_files() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let path = folder.path().join("sock");
        std::fs::write(&path, "stale").expect("write");
        let listener = listen_unix(&path, 0o700, 16).expect("listen");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        UnixStream::connect(&path).expect("connect");
        listener.accept().expect("one is waiting");
        assert!(listen_unix(Path::new("/nonexistent/sock"), 0, 16).is_err());
        let long = folder.path().join("x".repeat(200));
        assert!(listen_unix(&long, 0, 16).is_err());
    }

    #[test]
    fn a_reason_has_no_number() {
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(reason_of(&refused), "Connection refused");
        assert_eq!(reason_of(&io::Error::other("no name")), "no name");
    }

    #[test]
    fn a_short_backlog_is_reported() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let core = folder.path().join("sys/net/core");
        std::fs::create_dir_all(&core).expect("mkdir");
        std::fs::write(core.join("somaxconn"), "128\n").expect("write");
        let proc = ProcFs::at(folder.path(), folder.path());
        assert_eq!(backlog_shortfall(&proc, 511), Some(128));
        assert_eq!(backlog_shortfall(&proc, 128), None);
    }
}
