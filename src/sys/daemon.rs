//! Going to the background, and the process id file.
#![allow(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Detaches from the terminal: one fork (the parent leaves with code 0), a new session, the
/// three standard streams on /dev/null. Call it first thing, before any thread is started:
/// threads do not survive the fork, so with more than one it refuses (`Other`).
///
/// The process id changes: refresh what remembers it (the log sink).
pub fn daemonize() -> io::Result<()> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other("threads are running already"));
    }
    // SAFETY: the process has one thread (checked above), so the child is a full copy of it; the
    // parent leaves by _exit without running anything twice.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        _ => super::fork::exit_now(0),
    }
    nix::unistd::setsid()?;
    redirect_standard_streams()
}

fn redirect_standard_streams() -> io::Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Writes this process's id and a line end. Not durable: it is worth nothing after a restart.
pub fn write_pidfile(path: &Path) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// Removes the file; one that is gone already is fine.
pub fn remove_pidfile(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{daemonize, remove_pidfile, write_pidfile};

    #[test]
    fn pidfiles_come_and_go() {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let path = folder.path().join("tine.pid");
        std::fs::write(&path, "99999999 stale").expect("write");
        write_pidfile(&path).expect("write");
        let text = std::fs::read_to_string(&path).expect("read");
        assert_eq!(text, format!("{}\n", std::process::id()));
        remove_pidfile(&path).expect("remove");
        remove_pidfile(&path).expect("gone is fine");
        assert!(write_pidfile(&folder.path().join("no/folder")).is_err());
    }

    #[test]
    fn threads_forbid_the_background() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || receiver.recv());
        assert!(daemonize().is_err(), "the test program has threads");
        drop(sender);
        let _ = other.join();
    }
}
