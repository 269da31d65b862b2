//! `tine-backup drill`: the rehearsal of a restore, from the backup to a server that answers.
//!
//! ```text
//!  restore to a temporary folder ─► tine-server on a Unix socket there ─► keys counted ─► stopped
//! ```
//! The server listens on no port, saves nothing and rewrites nothing; its folder is removed.

use crate::base::clock::unix_ms_now;
use crate::persist::backup::manifest::{BackupKind, Manifest};
use crate::tools::backup::arguments::Options;
use crate::tools::backup::restore::{DataNames, restore};
use crate::tools::backup::show;
use crate::tools::backup::store::{self, manifest_of};
use crate::tools::backup::{Failure, Outcome};
use crate::tools::client::Client;
use crate::tools::own_server;
use crate::tools::progress::ProgressLine;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time between two looks at the starting server.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long one reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Lines of the server's log that are shown when it does not start.
const LOG_LINES: usize = 8;
const NAMES: DataNames<'static> = DataNames { log: "appendonly.aof", snapshot: "dump.rdb" };
const LOG_NAME: &str = "server.log";
const SOCKET_NAME: &str = "drill.sock";
/// Longest path in a socket's address (unix(7): 108 bytes with the zero at the end).
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// # Errors
/// The backup cannot be restored or loaded, or holds other keys than it should.
pub fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let stored = store::find(&options.dir, options.names.first().map(String::as_str))?;
    let manifest = manifest_of(&stored)?.clone();
    let base = options.work.clone().unwrap_or_else(std::env::temp_dir);
    let folder = DrillFolder::make(&base)?;
    let mut line = ProgressLine::new();
    line.show(&format!("restoring {}", stored.name));
    let start = Instant::now();
    restore(&stored, &folder.path, NAMES, &[])?;
    let restored = start.elapsed();
    line.show("the server loads");
    let program = options.server.clone().unwrap_or_else(own_server);
    let mut server = DrillServer::start(&program, &folder.path, &manifest)?;
    let found = server.wait_ready(options.timeout);
    let loaded = start.elapsed() - restored;
    line.clear();
    let keys = count_keys(&mut found?)?;
    server.stop()?;
    writeln!(out, "{}: {}, {}", stored.name, manifest.kind.name(), show::bytes(manifest.bytes()))?;
    writeln!(out, "  restored in       {}", show::seconds(restored))?;
    writeln!(out, "  started, loaded   {}", show::seconds(loaded))?;
    writeln!(out, "  whole drill       {}", show::seconds(start.elapsed()))?;
    judge(&manifest, keys, out)
}

/// Keys with a time to live may have expired since, and hashes whose fields have one; all others must
/// be there.
fn judge(manifest: &Manifest, found: u64, out: &mut dyn Write) -> Outcome {
    let Some(keys) = manifest.keys else {
        return Ok(writeln!(out, "  keys              {found} (the manifest names no number)")?);
    };
    let (expires, fields) = (manifest.expires.unwrap_or(0), manifest.field_expires.unwrap_or(0));
    writeln!(out, "  keys              {found} of {keys}, {expires} of them with a time to live")?;
    if fields > 0 {
        writeln!(out, "                    {fields} hashes with fields that have one")?;
    }
    if (keys.saturating_sub(expires).saturating_sub(fields)..=keys).contains(&found) {
        return Ok(());
    }
    Err(Failure::Damaged(format!("{found} keys were found, the backup was taken of {keys}")))
}

fn failed(reason: impl std::fmt::Display) -> Failure {
    Failure::Failed(reason.to_string())
}

/// A folder of our own that goes away with the value.
struct DrillFolder {
    path: PathBuf,
}

impl DrillFolder {
    fn make(base: &Path) -> Result<DrillFolder, Failure> {
        let path = base.join(format!("tine-drill-{}-{}", std::process::id(), unix_ms_now()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|failure| failed(format!("mkdir({}): {failure}", path.display())))?;
        Ok(DrillFolder { path })
    }
}

impl Drop for DrillFolder {
    fn drop(&mut self) {
        if let Err(failure) = fs::remove_dir_all(&self.path) {
            eprintln!("tine-backup: {} cannot be removed: {failure}", self.path.display());
        }
    }
}

/// The server of the drill; killed when it is dropped.
struct DrillServer {
    child: Child,
    folder: PathBuf,
    /// The folder, open: the way to a socket whose path is longer than an address has room for.
    handle: File,
}

impl DrillServer {
    fn start(program: &Path, folder: &Path, manifest: &Manifest) -> Result<DrillServer, Failure> {
        let handle = File::open(folder).map_err(failed)?;
        let log = File::create(folder.join(LOG_NAME)).map_err(failed)?;
        let appendonly = if manifest.kind == BackupKind::Log { "yes" } else { "no" };
        let databases = manifest.databases.unwrap_or(16).to_string();
        let child = Command::new(program)
            .current_dir(folder)
            .args([
                "--port",
                "0",
                "--unixsocket",
                SOCKET_NAME,
                "--unixsocketperm",
                "700",
                "--daemonize",
                "no",
            ])
            .args(["--appendonly", appendonly, "--save", "", "--auto-aof-rewrite-percentage", "0"])
            .args(["--appendfilename", NAMES.log, "--dbfilename", NAMES.snapshot, "--databases", &databases])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(|failure| failed(format!("{} cannot be started: {failure}", program.display())))?;
        Ok(DrillServer { child, folder: folder.to_path_buf(), handle })
    }

    /// Connects to the socket, which the server knows by its name alone.
    fn connect(&self) -> io::Result<Client> {
        let path = self.folder.join(SOCKET_NAME);
        let path = match path.as_os_str().len() <= SOCKET_PATH_MAX_BYTES {
            true => path,
            false => PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_NAME}", self.handle.as_raw_fd())),
        };
        Client::connect_unix(&path, REPLY_TIMEOUT)
    }

    /// Waits until the data set is loaded.
    fn wait_ready(&mut self, patience: Duration) -> Result<Client, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().map_err(failed)? {
                return Err(Failure::Damaged(format!(
                    "the server did not start ({status}):\n{}",
                    self.log_end()
                )));
            }
            match self.connect() {
                Ok(mut client) => {
                    if client.ask(&[b"PING"]).is_ok() {
                        return Ok(client);
                    }
                }
                // Waiting does not make such a path better.
                Err(failure) if failure.kind() == io::ErrorKind::InvalidInput => return Err(failed(failure)),
                Err(_) => {}
            }
            if Instant::now() > deadline {
                return Err(failed(format!("the server did not load within {} s", patience.as_secs())));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn log_end(&self) -> String {
        let text = fs::read(self.folder.join(LOG_NAME)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn stop(&mut self) -> Outcome {
        let mut client = self.connect().map_err(failed)?;
        // No reply comes when it succeeds: the connection ends.
        let _ = client.call(&[b"SHUTDOWN", b"NOSAVE"]);
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline {
            if self.child.try_wait().map_err(failed)?.is_some() {
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Err(failed("the server of the drill did not end"))
    }
}

impl Drop for DrillServer {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum over `INFO keyspace`.
fn count_keys(client: &mut Client) -> Result<u64, Failure> {
    let info = client.ask(&[b"INFO", b"keyspace"]).map_err(failed)?.text();
    let counts = info.lines().filter(|line| line.starts_with("db")).filter_map(|line| {
        let (_, fields) = line.split_once("keys=")?;
        fields.split(',').next()?.parse::<u64>().ok()
    });
    Ok(counts.sum())
}
