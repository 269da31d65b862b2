//! `tine-backup take`: asks the server for a backup, or takes one of a stopped server's files.

use crate::base::clock::unix_ms_now;
use crate::persist::backup::job::{self, BackupOrder, Progress, Source, remove_folder};
use crate::persist::backup::manifest::{BackupKind, Manifest};
use crate::server::run::TINE_VERSION;
use crate::sys::io::{FileMetadata, OsStorage, Storage};
use crate::tools::backup::arguments::Options;
use crate::tools::backup::show;
use crate::tools::backup::store::{self, Stored, manifest_of};
use crate::tools::backup::{Failure, Outcome, hook, prune, verify};
use crate::tools::client::{Client, Reply};
use crate::tools::progress::ProgressLine;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two looks at the server.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long one reply may take: the server may be busy with another command.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// Environment variable with the password, as redis-cli reads it.
const PASSWORD_VARIABLE: &str = "REDISCLI_AUTH";
/// Longest password file, bytes.
const PASSWORD_MAX_BYTES: u64 = 64 * 1024;

/// # Errors
/// No backup was taken; the one taken is damaged; the hook failed.
pub fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let start = Instant::now();
    let name = match &options.offline {
        Some(folder) => take_offline(options, folder)?,
        None => take_online(options)?,
    };
    if OsStorage.metadata(&options.dir.join(&name)).is_err() {
        writeln!(out, "{name} was taken by the server; its folder cannot be seen from here")?;
        return Ok(());
    }
    let mut stored = store::find(&options.dir, Some(&name))?;
    report(&stored, start.elapsed(), out)?;
    if options.verify {
        verify::verify(&mut stored)?;
        writeln!(out, "verified")?;
    }
    let hooked = hook::run_if_due(options, &mut stored, out);
    if options.prune {
        prune::run(options, out)?;
    }
    hooked
}

fn report(stored: &Stored, elapsed: Duration, out: &mut dyn Write) -> Outcome {
    let manifest = manifest_of(stored)?;
    let keys = manifest.keys.map_or_else(String::new, |keys| format!("{keys} keys, "));
    let (kind, size) = (manifest.kind.name(), show::bytes(manifest.bytes()));
    Ok(writeln!(out, "{}: {kind}, {size}, {keys}{}", stored.name, show::seconds(elapsed))?)
}

fn failed(reason: impl std::fmt::Display) -> Failure {
    Failure::Failed(reason.to_string())
}

fn take_online(options: &Options) -> Result<String, Failure> {
    let mut client = connect(options)?;
    let dir = std::path::absolute(&options.dir).map_err(failed)?;
    let mut words: Vec<&[u8]> = vec![b"BACKUP", b"TO", dir.as_os_str().as_encoded_bytes()];
    match options.kind {
        Some(BackupKind::Log) => words.push(b"AOF"),
        Some(BackupKind::Snapshot) => words.push(b"RDB"),
        None => {}
    }
    if options.copy {
        words.push(b"COPY");
    }
    let name = client.ask(&words).map_err(failed)?.text();
    wait(&mut client, &name, options.timeout)?;
    Ok(name)
}

fn connect(options: &Options) -> Result<Client, Failure> {
    let (place, connected) = match &options.socket {
        Some(path) => (path.display().to_string(), Client::connect_unix(path, REPLY_TIMEOUT)),
        None => {
            let place = format!("{}:{}", options.host, options.port);
            (place, Client::connect_tcp(&options.host, options.port, REPLY_TIMEOUT))
        }
    };
    let mut client =
        connected.map_err(|failure| failed(format!("no server answers at {place}: {failure}")))?;
    if let Some(password) = password(options)? {
        let mut words: Vec<&[u8]> = vec![b"AUTH"];
        words.extend(options.user.as_ref().map(|user| user.as_bytes()));
        words.push(password.as_bytes());
        client.ask(&words).map_err(failed)?;
    }
    Ok(client)
}

fn password(options: &Options) -> Result<Option<String>, Failure> {
    let Some(path) = &options.password_file else { return Ok(std::env::var(PASSWORD_VARIABLE).ok()) };
    let content = OsStorage.read_whole(path, PASSWORD_MAX_BYTES).map_err(failed)?;
    let text = String::from_utf8(content).map_err(|_| failed("the password file holds no text"))?;
    Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
}

/// Waits until the server says how the backup ended.
fn wait(client: &mut Client, name: &str, patience: Duration) -> Outcome {
    let deadline = Instant::now() + patience;
    let mut line = ProgressLine::new();
    loop {
        let status = status_of(&client.ask(&[b"BACKUP", b"STATUS"]).map_err(failed)?);
        let field = |key: &str| status.get(key).map(String::as_str).unwrap_or_default();
        if field("last-name") == name {
            line.clear();
            return match field("last-status") {
                "ok" => Ok(()),
                _ => Err(failed(format!("the server could not take the backup: {}", field("last-error")))),
            };
        }
        if field("name") != name {
            line.clear();
            return Err(failed("the server knows nothing of the backup any more: was it restarted?"));
        }
        if Instant::now() > deadline {
            line.clear();
            return Err(failed(format!("no end after {} s; the server goes on with it", patience.as_secs())));
        }
        let number = |key: &str| field(key).parse().unwrap_or(0u64);
        let percent = number("done-bytes") * 100 / number("total-bytes").max(1);
        line.show(&format!("{}: {} {percent} %", name, field("state")));
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Names and values of BACKUP STATUS.
fn status_of(reply: &Reply) -> HashMap<String, String> {
    let Reply::Array(items) = reply else { return HashMap::new() };
    items.chunks_exact(2).map(|pair| (pair[0].text(), pair[1].text())).collect()
}

/// The data file of a stopped server. Which of two is the data set cannot be seen from outside when
/// the snapshot is the newer one: both a server with a log and one without may have written it.
fn offline_file(options: &Options, folder: &Path) -> Result<(BackupKind, PathBuf, FileMetadata), Failure> {
    let log = offline_choice(options, BackupKind::Log, folder.join(&options.appendfilename))?;
    let snapshot = offline_choice(options, BackupKind::Snapshot, folder.join(&options.dbfilename))?;
    let manifest_folder = folder.join(&options.appenddirname);
    if options.kind != Some(BackupKind::Snapshot) && OsStorage.exists(&manifest_folder).map_err(failed)? {
        return Err(failed(format!(
            "{} is the append only file of a Redis 7: start Tine once to take it over, or choose --kind rdb",
            manifest_folder.display()
        )));
    }
    match (log, snapshot) {
        (Some(log), Some(snapshot)) if snapshot.2.modified > log.2.modified => Err(failed(format!(
            "{} is newer than {}: choose with --kind aof (the server has appendonly yes) or --kind rdb",
            snapshot.1.display(),
            log.1.display()
        ))),
        (Some(found), _) | (None, Some(found)) => Ok(found),
        (None, None) => Err(failed(format!("{} holds no data file of a server", folder.display()))),
    }
}

fn offline_choice(
    options: &Options,
    kind: BackupKind,
    path: PathBuf,
) -> Result<Option<(BackupKind, PathBuf, FileMetadata)>, Failure> {
    if options.kind.is_some_and(|wanted| wanted != kind) {
        return Ok(None);
    }
    match OsStorage.metadata(&path) {
        Ok(found) if found.len > 0 => Ok(Some((kind, path, found))),
        Err(fault) if !fault.is_not_found() => Err(failed(fault)),
        _ => Ok(None),
    }
}

fn take_offline(options: &Options, folder: &Path) -> Result<String, Failure> {
    let (kind, path, found) = offline_file(options, folder)?;
    let manifest = Manifest::begun(kind, unix_ms_now(), TINE_VERSION);
    let file = OsStorage.open_read(&path).map_err(failed)?;
    let source = Source::File { file, path: path.clone() };
    let order = BackupOrder {
        storage: Arc::new(OsStorage),
        dir: options.dir.clone(),
        source,
        copy: options.copy,
        manifest,
    };
    let taken = job::run(order, &Progress::default()).map_err(failed)?;
    // A snapshot is replaced as a whole; a log grows under a running server.
    if kind == BackupKind::Log && OsStorage.metadata(&path).ok() != Some(found) {
        remove_folder(&OsStorage, &options.dir.join(&taken.name)).map_err(failed)?;
        return Err(failed(format!("{} changed meanwhile: a server writes to it", path.display())));
    }
    Ok(taken.name)
}
