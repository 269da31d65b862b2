//! Telling the supervisor (`supervised systemd|upstart|auto`) that the server is ready.
//!
//! systemd: one datagram of `KEY=value` lines to the socket named by `NOTIFY_SOCKET` (a path,
//! or `@name` in the abstract name space; sd_notify(3)). upstart: the process stops itself.
#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A supervisor that waits for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supervisor {
    /// systemd, with its socket's address.
    Systemd(OsString),
    /// upstart with `expect stop`.
    Upstart,
}

impl Supervisor {
    /// systemd, when the environment names its socket.
    pub fn systemd_from_environment() -> Option<Self> {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())?;
        Some(Self::Systemd(address))
    }

    /// upstart, when the environment says that it started us.
    pub fn upstart_from_environment() -> Option<Self> {
        std::env::var_os("UPSTART_JOB").map(|_| Self::Upstart)
    }

    /// Either of them.
    pub fn detect() -> Option<Self> {
        Self::upstart_from_environment().or_else(Self::systemd_from_environment)
    }

    /// `READY=1` with a status text; upstart: stops the process until it is continued.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        match self {
            Self::Systemd(_) => self.state(&format!("STATUS={status}\nREADY=1\n")),
            Self::Upstart => stop_self(),
        }
    }

    /// A message in sd_notify's form (`STATUS=...`, `STOPPING=1`); upstart: nothing.
    pub fn state(&self, message: &str) -> io::Result<()> {
        match self {
            Self::Systemd(address) => send(address, message.as_bytes()),
            Self::Upstart => Ok(()),
        }
    }
}

fn send(address: &OsStr, message: &[u8]) -> io::Result<()> {
    let target = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message, &target).map(|_| ())
}

fn stop_self() -> io::Result<()> {
    // SAFETY: raise takes an integer; SIGSTOP stops the process and changes nothing of ours.
    match unsafe { libc::raise(libc::SIGSTOP) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::Supervisor;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0u8; 128];
        let count = socket.recv(&mut buffer).expect("a datagram was sent before");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn systemd_hears_by_path() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let path = folder.path().join("notify");
        let daemon = UnixDatagram::bind(&path).expect("bind");
        let supervisor = Supervisor::Systemd(path.into_os_string());
        supervisor.ready("Ready to accept connections").expect("send");
        assert_eq!(received(&daemon), "STATUS=Ready to accept connections\nREADY=1\n");
        supervisor.state("STOPPING=1\n").expect("send");
        assert_eq!(received(&daemon), "STOPPING=1\n");
    }

    #[test]
    fn systemd_hears_by_abstract_name() {
        let name = format!("tine-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let daemon = UnixDatagram::bind_addr(&address).expect("bind");
        Supervisor::Systemd(OsString::from(format!("@{name}"))).ready("x").expect("send");
        assert!(received(&daemon).ends_with("READY=1\n"));
    }

    #[test]
    fn absent_or_odd_sockets_are_errors() {
        for address in ["/nonexistent/notify", "relative", "", "@no-such-name-of-ours"] {
            assert!(Supervisor::Systemd(OsString::from(address)).ready("x").is_err(), "{address}");
        }
        Supervisor::Upstart.state("STATUS=x").expect("upstart takes no messages");
    }
}
