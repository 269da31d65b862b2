//! A server process, pinned whole to one processor, and what the system says about it.
//!
//! The affinity is set on this process before the server is started and is inherited, so that no
//! thread of the server ever runs elsewhere.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::Outcome;

/// How long a server may load, and how long a reply may take.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Which processor does what.
#[derive(Debug, Clone, Copy)]
pub struct Processors {
    pub server: usize,
    pub load: usize,
}

/// The first two processors this process may use.
///
/// # Errors
/// When the system does not tell.
pub fn processors() -> Outcome<Processors> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(|e| format!("sched_getaffinity: {e}"))?;
    let mut usable = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false));
    let server = usable.next().ok_or("no usable processor")?;
    Ok(Processors { server, load: usable.next().unwrap_or(server) })
}

/// Moves this thread, and what it starts from now on, to one processor.
fn pin(processor: usize) -> Outcome<()> {
    let mut set = CpuSet::new();
    set.set(processor).map_err(|e| format!("processor {processor}: {e}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).map_err(|e| format!("sched_setaffinity: {e}"))
}

/// Whether a program is there: a path, or a name on the PATH.
pub fn is_installed(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A folder below the system's temporary one, removed with the value.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Outcome<Folder> {
        let unique = Instant::now();
        let name = format!("tine-compare-{}-{unique:?}", std::process::id());
        let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: what is left lies in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    /// Starts `program` in `folder` with `directives` (pairs of name and value) and waits until it serves.
    ///
    /// # Errors
    /// When it does not start or does not serve in time; with the end of its log.
    pub fn start(
        program: &str,
        folder: &Folder,
        directives: &[(&str, &str)],
        on: Processors,
    ) -> Outcome<Server> {
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no", "--save", ""]);
        command.args(["--dir", &folder.0.display().to_string(), "--logfile", "server.log"]);
        for (name, value) in directives {
            command.args([&format!("--{name}"), *value]);
        }
        command.current_dir(&folder.0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        pin(on.server)?;
        let spawned = command.spawn();
        pin(on.load)?;
        let child = spawned.map_err(|e| format!("{program}: {e}"))?;
        let mut server = Server { child, port };
        server.wait_ready(program, folder)?;
        Ok(server)
    }

    fn wait_ready(&mut self, program: &str, folder: &Folder) -> Outcome<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.child.try_wait().map_err(|e| e.to_string())?.is_some() {
                let log = std::fs::read_to_string(folder.0.join("server.log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(3).collect();
                return Err(format!("{program} ended at once: {}", last.join(" | ")));
            }
            if self.call(&["PING"]).is_ok_and(|reply| reply.starts_with("+PONG")) {
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Err(format!("{program} did not serve within {PATIENCE:?}"))
    }

    /// # Errors
    /// When nobody listens.
    pub fn connect(&self) -> Outcome<TcpStream> {
        let stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(|e| format!("connect: {e}"))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        Ok(stream)
    }

    /// One command on a connection of its own; the first line of its reply.
    ///
    /// # Errors
    /// When the connection breaks, or the reply is an error.
    pub fn call(&self, words: &[&str]) -> Outcome<String> {
        let mut stream = self.connect()?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
        let mut reply = Vec::new();
        let mut byte = [0; 1];
        while !reply.ends_with(b"\r\n") {
            stream.read_exact(&mut byte).map_err(|e| format!("{words:?}: {e}"))?;
            reply.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&reply).trim_end().to_owned();
        if line.starts_with('-') { Err(format!("{words:?}: {line}")) } else { Ok(line) }
    }

    /// Processor time used so far by all threads, user and system, µs. Resolution: a clock tick, mostly 10 ms.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu_us(&self) -> Outcome<f64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        let fields = text.rsplit_once(')').ok_or("stat without a name")?.1;
        let mut ticks =
            fields.split_ascii_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap_or(0.0));
        let used = ticks.next().unwrap_or(0.0) + ticks.next().unwrap_or(0.0);
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
        Ok(used / per_second * 1e6)
    }

    /// Resident memory, bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_bytes(&self) -> Outcome<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        let kib = line.split_ascii_whitespace().nth(1).and_then(|field| field.parse::<f64>().ok());
        Ok(kib.ok_or("VmRSS without a number")? * 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| format!("no free port: {e}"))?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}
