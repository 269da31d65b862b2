//! Loading an RDB: the snapshot at the start, or the first part of an AOF.

use crate::persist::rdb::{LoadOptions, LoadReport, Loader, RdbError, RdbErrorKind};
use crate::replay::{LoadEnd, Pump};
use crate::server::Server;
use crate::server::run::LoadingState;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The last line of a start that a damaged file ends.
const GIVEN_UP: &str = "Terminating server after rdb file reading failure.";

/// Loads the snapshot if there is one; says whether there was.
///
/// # Errors
/// The last line for the log: the file is damaged. The others are in the log already.
pub fn load_snapshot(server: &mut Server, pump: &mut Pump<'_>) -> Result<(LoadEnd, bool), String> {
    // A replica's primary says itself which keys have expired.
    let drop_expired = server.replication.is_primary();
    let options = LoadOptions { drop_expired, note_expired: drop_expired, ..server.load_options() };
    let (end, report) = load_with(server, options, pump)?;
    if let Some(report) = report.as_ref().filter(|_| end == LoadEnd::Complete) {
        server.resume_history(report);
    }
    Ok((end, report.is_some()))
}

/// Loads the snapshot into the data set as it is (DEBUG RELOAD); `merge` lets it replace keys.
/// False when there is no file.
///
/// # Errors
/// The last line for the log.
pub fn reload_snapshot(server: &mut Server, merge: bool) -> Result<bool, String> {
    let options = LoadOptions { drop_expired: true, allow_duplicates: merge, ..server.load_options() };
    // Nobody is served meanwhile: the command itself holds the server.
    load_with(server, options, &mut |_| {}).map(|(_, found)| found.is_some())
}

fn load_with(
    server: &mut Server,
    options: LoadOptions,
    pump: &mut Pump<'_>,
) -> Result<(LoadEnd, Option<LoadReport>), String> {
    let path = server.snapshot_path();
    let start = Instant::now();
    let storage = Arc::clone(&server.persistence.storage);
    let opened = Loader::open(&*storage, &path, options).map_err(|failure| refuse(&path, &failure))?;
    let Some(loader) = opened else { return Ok((LoadEnd::Complete, None)) };
    server.run.loading = Some(LoadingState {
        start_s: server.now_ms() / 1000,
        total_bytes: loader.progress().total_bytes,
        ..LoadingState::default()
    });
    let loaded = run(server, loader, &path, pump);
    server.run.loading = None;
    let (end, report) = loaded?;
    if end == LoadEnd::Complete {
        server.note_loaded(&report);
        log::info!("DB loaded from disk: {:.3} seconds", start.elapsed().as_secs_f64());
    }
    Ok((end, Some(report)))
}

/// Loads the RDB at the beginning of an AOF (the data set is being loaded already). Returns the
/// offset behind it, `None` when the server is to exit.
///
/// # Errors
/// The last line for the log.
pub fn load_preamble(server: &mut Server, path: &Path, pump: &mut Pump<'_>) -> Result<Option<u64>, String> {
    let storage = Arc::clone(&server.persistence.storage);
    let opened =
        Loader::open(&*storage, path, server.load_options()).map_err(|failure| refuse(path, &failure))?;
    let Some(loader) = opened else { return Ok(Some(0)) };
    log::info!("Reading RDB preamble from AOF file...");
    let (end, report) = run(server, loader, path, pump)?;
    if end == LoadEnd::Interrupted {
        return Ok(None);
    }
    server.note_loaded(&report);
    log::info!("Reading the remaining AOF tail...");
    Ok(Some(report.bytes))
}

/// Steps to the end, with a look at the clients in between.
fn run(
    server: &mut Server,
    mut loader: Loader,
    path: &Path,
    pump: &mut Pump<'_>,
) -> Result<(LoadEnd, LoadReport), String> {
    loop {
        let budget = server.config.loading_process_events_interval_bytes;
        let done = loader.step(&mut server.keyspace, budget).map_err(|failure| refuse(path, &failure))?;
        let expired = loader.take_expired();
        server.stream_expired(loader.report(), &expired);
        let progress = loader.progress();
        if let Some(loading) = &mut server.run.loading {
            loading.loaded_bytes = progress.loaded_bytes;
        }
        if done {
            return Ok((LoadEnd::Complete, loader.finish()));
        }
        pump(server);
        if server.run.exit.is_some() {
            return Ok((LoadEnd::Interrupted, loader.finish()));
        }
    }
}

/// Says what is wrong with the file, and gives the last line.
fn refuse(path: &Path, failure: &RdbError) -> String {
    match &failure.kind {
        RdbErrorKind::Checksum { expected, got } => {
            log::warn!("Wrong RDB checksum expected: ({expected:x}) but got ({got:x}). Aborting now.");
        }
        RdbErrorKind::Corrupt(reason) => log::warn!("{reason}"),
        RdbErrorKind::UnexpectedEof => {
            log::warn!("Short read or OOM loading DB. Unrecoverable error, aborting now.");
        }
        RdbErrorKind::WrongSignature | RdbErrorKind::UnsupportedVersion(_) => {
            log::warn!("{}", failure.kind);
            log::warn!("Fatal error loading the DB, check server logs. Exiting.");
        }
        _ => {}
    }
    log::warn!("{failure} (file {})", path.display());
    GIVEN_UP.to_owned()
}
