//! A data set that has been received takes the place of the old one.
//!
//! ```text
//!  file:   verified ─► old data dropped ─► loaded in steps ─► synced, then named as the snapshot
//!  socket: on-empty-db: loaded in place      swapdb: loaded beside, then exchanged
//! ```
//! A step a turn, so that clients are answered meanwhile: with LOADING, or, while databases fill
//! beside old data of the same history, with those. The snapshot's name is given after the load, when
//! a thread has synced the file: nobody waits for the disk.

use crate::keyspace::{Db, Keyspace};
use crate::persist::aof::{self, AofState};
use crate::persist::fork::ChildKind;
use crate::persist::rdb::{LoadOptions, LoadReport, Loader, RdbError};
use crate::replication::replica::{handshake, now_ms, stream, transfer};
use crate::server::Server;
use crate::server::config::ReplDisklessLoad;
use crate::server::replication::ID_DIGITS;
use crate::server::replication::link::{
    EOF_MARK_BYTES, FilePlacing, Load, LoadSource, TransferEnd, TransferFile,
};
use crate::server::run::LoadingState;
use crate::sys;
use crate::sys::io::{SocketFile, parent_dir};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A line end is sent to the primary so often while it must wait, ms.
const SIGN_OF_LIFE_MS: u64 = 1000;
/// Longest wait for the disk when the log is closed before a load: it will be written anew.
const LOG_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes taken from a socket in one step at most.
const SOCKET_STEP_BYTES: u64 = 2 << 20;

impl Load {
    /// Whether the next step needs no event.
    pub fn reads_file(&self) -> bool {
        matches!(self.source, LoadSource::File(_))
    }
}

/// A data set stands in a file: whole, an RDB that can be loaded, and with the right checksum.
pub(super) fn begin_from_file(server: &mut Server, target: TransferFile) {
    if refuses_empty(server, || target.scanner.keys() == 0) {
        transfer::remove(server, &target.path);
        return refuse(server);
    }
    let opened = Loader::open(&*server.persistence.storage, &target.path, options(server));
    let loader = match opened {
        Ok(Some(loader)) => loader,
        Ok(None) => return fail_to_open(server, &target.path, "the file is gone"),
        Err(failure) => return fail_to_open(server, &target.path, &failure.to_string()),
    };
    quiesce(server);
    attach(server);
    log::info!("MASTER <-> REPLICA sync: Flushing old data");
    let lazily = server.config.replica_lazy_flush;
    server.flush_all(lazily);
    let total_bytes = loader.progress().total_bytes;
    begin(server, loader, LoadSource::File(target), None, total_bytes);
}

fn fail_to_open(server: &mut Server, path: &Path, reason: &str) {
    log::warn!("The data set received from MASTER can't be read, the old data are kept: {reason}");
    transfer::remove(server, path);
    handshake::give_up(server);
}

/// The data set comes through the socket. `read`: its first bytes, taken already.
pub(super) fn begin_from_socket(server: &mut Server, read: Vec<u8>) {
    let Some(transfer) = server.link.transfer.take() else { return };
    let (limit, mark) = match transfer.end {
        TransferEnd::Length(length) => (Some(length), None),
        TransferEnd::Mark(mark) => (None, Some(mark)),
        TransferEnd::Unknown => (None, None),
    };
    let handle = server.link.handle.as_ref().map(|handle| handle.try_clone());
    let Some(Ok(handle)) = handle else {
        log::warn!("The socket of the link to MASTER can't be shared with the parser");
        return handshake::give_up(server);
    };
    let file = SocketFile::new(handle, read, limit);
    let databases = server.keyspace.databases();
    let loader = match Loader::of_arriving(Box::new(file), options(server), databases) {
        Ok(loader) => loader,
        Err(failure) => {
            log::warn!("Failed trying to load the MASTER synchronization DB from socket: {failure}");
            return handshake::give_up_for_longer(server);
        }
    };
    quiesce(server);
    let beside =
        (server.config.repl_diskless_load == ReplDisklessLoad::Swapdb).then(|| server.keyspace.fresh_dbs());
    if beside.is_none() {
        attach(server);
        log::info!("MASTER <-> REPLICA sync: Flushing old data");
        server.flush_all(server.config.replica_lazy_flush);
    }
    begin(server, loader, LoadSource::Socket(mark), beside, limit.unwrap_or(0));
}

fn begin(server: &mut Server, loader: Loader, source: LoadSource, beside: Option<Vec<Db>>, total_bytes: u64) {
    log::info!("MASTER <-> REPLICA sync: Loading DB in memory");
    let same_history = server.link.announced.as_ref().is_some_and(|(id, _)| *id == server.replication.id);
    server.run.loading = Some(LoadingState {
        start_s: server.now_ms() / 1000,
        total_bytes,
        asynchronous: beside.is_some() && same_history,
        ..LoadingState::default()
    });
    let last_newline_ms = now_ms(server);
    server.link.load =
        Some(Box::new(Load { loader, source, beside, started: Instant::now(), last_newline_ms }));
}

fn options(server: &Server) -> LoadOptions {
    // The primary says itself which keys have expired.
    LoadOptions { drop_expired: false, ..server.load_options() }
}

/// Nothing may write a log or a snapshot of data that are about to go.
fn quiesce(server: &mut Server) {
    if server.persistence.aof.state != AofState::Off {
        server.turn_aof_off_within(LOG_PATIENCE);
        server.link.aof_stopped = true;
    }
    let Some(child) = server.persistence.child.as_mut() else { return };
    log::info!(
        "Replica is about to load the RDB file received from the master, but there is a pending RDB child running. \
         Killing process {} and removing its temp file to avoid any race",
        child.pid
    );
    match child.kind {
        ChildKind::Snapshot => {
            server.end_background_save();
        }
        _ => child.kill_for("a data set of the primary is about to be loaded".to_owned()),
    }
}

/// What this server had is no part of the new history: replicas of its own must begin anew too.
fn attach(server: &mut Server) {
    server.link.resumable = false;
    server.link.data_incomplete = true;
    // A snapshot made now must not tell a place in a history whose data it does not have.
    server.replication.stream_db = None;
    server.link.own_keys.clear();
    server.disconnect_replicas();
    server.replication.free_backlog();
}

/// Whether a data set without keys must not replace one with keys.
fn refuses_empty(server: &Server, is_empty: impl FnOnce() -> bool) -> bool {
    server.config.replica_refuse_empty_sync && server.keyspace.total_keys() > 0 && is_empty()
}

fn refuse(server: &mut Server) {
    log::warn!(
        "MASTER has a data set without a single key and this replica has {} keys: they are kept \
         (replica-refuse-empty-sync yes). To follow the empty primary, set the option to no or run FLUSHALL here after \
         REPLICAOF NO ONE",
        server.keyspace.total_keys()
    );
    handshake::give_up_for_longer(server);
}

/// One step of a load, once a turn.
pub fn step(server: &mut Server) {
    place_file(server);
    let Some(mut load) = server.link.load.take() else { return };
    let Some(budget) = budget_of(server, &load) else {
        server.link.load = Some(load);
        return;
    };
    keep_alive(server, &mut load);
    let stepped = step_with(server, &mut load, budget);
    server.refresh_time();
    if let (Some(loading), progress) = (&mut server.run.loading, load.loader.progress()) {
        loading.loaded_bytes = progress.loaded_bytes;
    }
    match stepped {
        Ok(false) => {
            server.link.last_heard_ms = now_ms(server);
            server.link.load = Some(load);
        }
        Ok(true) => complete(server, load),
        Err(failure) => {
            log::warn!("{failure}");
            let again = load.loader.has_lost_its_source(&failure);
            fail(server, *load, again);
        }
    }
}

/// Bytes that a step may take; `None`: the socket has nothing now.
pub(super) fn budget_of(server: &Server, load: &Load) -> Option<u64> {
    if load.reads_file() {
        return Some(server.config.loading_process_events_interval_bytes);
    }
    let has_come = || {
        let handle = server.link.handle.as_ref();
        handle.map_or(0, |handle| sys::net::readable_bytes(handle).unwrap_or(0)) > 0
    };
    let busy = server.link.peer_closed || load.loader.has_whole_records() || has_come();
    busy.then_some(SOCKET_STEP_BYTES)
}

/// The databases that fill beside stand in the place of the others for the step.
fn step_with(server: &mut Server, load: &mut Load, budget: u64) -> Result<bool, RdbError> {
    if let Some(dbs) = &mut load.beside {
        server.keyspace.exchange(dbs);
    }
    let stepped = match load.source {
        LoadSource::File(_) => load.loader.step(&mut server.keyspace, budget),
        LoadSource::Socket(mark) => step_from_socket(
            &mut load.loader,
            &mut server.keyspace,
            budget,
            mark.map_or(0, |mark| mark.len()),
        ),
    };
    if let Some(dbs) = &mut load.beside {
        server.keyspace.exchange(dbs);
    }
    stepped
}

/// Loads what has come and is whole, then takes what has come since: nothing is waited for, so that clients are
/// answered while a primary stalls in the middle of a value. True: everything is here, the mark too.
fn step_from_socket(
    loader: &mut Loader,
    keyspace: &mut Keyspace,
    budget: u64,
    mark_bytes: usize,
) -> Result<bool, RdbError> {
    let end = loader.progress().loaded_bytes.saturating_add(budget);
    let mut read = 0;
    loop {
        if !loader.is_done() {
            loader.step(keyspace, budget)?;
        }
        if loader.is_done() && loader.ready_bytes() >= mark_bytes {
            return Ok(true);
        }
        let is_late = loader.has_whole_records() || loader.progress().loaded_bytes >= end || read >= budget;
        if is_late {
            return Ok(false);
        }
        let before = loader.ready_bytes();
        if !loader.read_ahead(SOCKET_STEP_BYTES as usize)? {
            return Ok(false);
        }
        read += (loader.ready_bytes() - before) as u64;
    }
}

/// The primary must not take this replica for dead.
fn keep_alive(server: &mut Server, load: &mut Load) {
    let now_ms = now_ms(server);
    if now_ms.saturating_sub(load.last_newline_ms) >= SIGN_OF_LIFE_MS {
        load.last_newline_ms = now_ms;
        server.link.outgoing.push(b'\n');
    }
}

/// The load broke. What was loaded is dropped; old data that stand beside are kept. `again`: the next try
/// may go better and is made at once; else the primary would send the same.
fn fail(server: &mut Server, load: Load, again: bool) {
    let from = if load.reads_file() { "disk" } else { "socket" };
    log::warn!("Failed trying to load the MASTER synchronization DB from {from}, check server logs.");
    drop_load(server, load);
    if again {
        handshake::cancel(server, true);
    } else {
        handshake::give_up_for_longer(server);
    }
}

fn drop_load(server: &mut Server, load: Load) {
    server.run.loading = None;
    match load.beside {
        Some(dbs) => {
            server.keyspace.discard(dbs);
            log::info!("MASTER <-> REPLICA sync: Discarding temporary DB in background");
        }
        None => {
            server.flush_all(server.config.replica_lazy_flush);
        }
    }
    if let LoadSource::File(target) = load.source {
        transfer::remove(server, &target.path);
    }
}

/// Gives a load up: this server is to be a primary.
pub(super) fn abandon(server: &mut Server) {
    if let Some(load) = server.link.load.take() {
        drop_load(server, *load);
    }
}

/// Everything is loaded.
fn complete(server: &mut Server, mut load: Box<Load>) {
    if let LoadSource::Socket(Some(mark)) = &load.source
        && load.loader.take_tail(EOF_MARK_BYTES).ok().as_deref() != Some(&mark[..])
    {
        log::warn!("Replication stream EOF marker is broken");
        return fail(server, *load, false);
    }
    let Load { loader, source, beside, started, .. } = *load;
    let report = loader.finish();
    server.run.loading = None;
    if let Some(dbs) = beside {
        if refuses_empty(server, || report.keys_loaded == 0) {
            server.keyspace.discard(dbs);
            return refuse(server);
        }
        exchange_data(server, dbs);
    }
    server.note_loaded(&report);
    adopt(server, &report);
    server.link.data_incomplete = false;
    match source {
        LoadSource::File(target) => keep_file(server, target),
        // Nothing on disk has these data.
        LoadSource::Socket(_) => server.persistence.dirty += 1,
    }
    server.link.refusals = 0;
    stream::begin(server);
    log::info!("MASTER <-> REPLICA sync: Finished with success");
    log::debug!("The data set of MASTER was loaded in {:.3} seconds", started.elapsed().as_secs_f64());
    stream::send_ack(server);
    restart_aof(server);
}

/// Puts databases that were loaded beside in the place of the old ones.
fn exchange_data(server: &mut Server, mut dbs: Vec<Db>) {
    attach(server);
    log::info!("MASTER <-> REPLICA sync: Swapping active DB with loaded DB");
    server.replace_all(&mut dbs);
    server.keyspace.discard(dbs);
    log::info!("MASTER <-> REPLICA sync: Discarding old DB in background");
}

/// Takes over the place in the primary's history.
fn adopt(server: &mut Server, report: &LoadReport) {
    let (id, offset) = match server.link.announced.take() {
        Some(place) => place,
        None => (server.rng.hex_id(ID_DIGITS), 0),
    };
    server.replication.begin_history(id);
    server.replication.offset = offset;
    let db = report.field(b"repl-stream-db").and_then(|db| std::str::from_utf8(db).ok()?.parse().ok());
    server.replication.stream_db = db.filter(|db| *db < server.keyspace.databases());
    server.replication.free_backlog();
}

/// The file becomes the snapshot, unless nobody wants one.
fn keep_file(server: &mut Server, target: TransferFile) {
    let persists = server.config.appendonly || !server.config.save.0.is_empty();
    if server.config.rdb_del_sync_files && !persists {
        log::info!("Removing the RDB file obtained from the master. This replica has persistence disabled");
        transfer::remove(server, &target.path);
        return;
    }
    let successes = server.persistence.snapshot.successes;
    let TransferFile { file, path, .. } = target;
    // One of before that still waits for the disk is out of date.
    if let Some(old) = server.link.placing.take() {
        transfer::remove(server, &old.path);
    }
    let synced = std::thread::Builder::new().name("sync-file".into()).spawn(move || file.sync_all());
    match synced {
        Ok(thread) => server.link.placing = Some(FilePlacing { thread, path, successes }),
        Err(failure) => {
            log::warn!("No thread for the sync of the snapshot that MASTER sent: {failure}");
            transfer::remove(server, &path);
        }
    }
}

/// Gives the file its name when it is on disk. A snapshot that was made since is newer and stays.
fn place_file(server: &mut Server) {
    if server.link.placing.as_ref().is_none_or(|placing| !placing.thread.is_finished()) {
        return;
    }
    let Some(FilePlacing { thread, path, successes }) = server.link.placing.take() else { return };
    let synced = thread.join().unwrap_or(Ok(()));
    if server.persistence.snapshot.successes != successes {
        return transfer::remove(server, &path);
    }
    let storage = Arc::clone(&server.persistence.storage);
    let target: PathBuf = server.snapshot_path();
    let target = std::path::absolute(&target).unwrap_or(target);
    // The blocks of the old one are freed elsewhere.
    let old = storage.open_read(&target);
    let placed = synced
        .and_then(|()| storage.rename(&path, &target))
        .and_then(|()| storage.sync_dir(parent_dir(&target)));
    if let Ok(old) = old {
        aof::drop_elsewhere(old);
    }
    if let Err(fault) = placed {
        log::warn!(
            "Failed trying to rename the temp DB into {} in MASTER <-> REPLICA synchronization: {fault}",
            target.display()
        );
        transfer::remove(server, &path);
    }
}

/// Opens the AOF again that was closed for the load: a rewrite makes it anew.
pub(super) fn restart_aof(server: &mut Server) {
    if !server.link.aof_stopped || server.run.loading.is_some() || server.link.data_incomplete {
        return;
    }
    if !server.config.appendonly {
        server.link.aof_stopped = false;
        return;
    }
    match server.turn_aof_on(true) {
        Ok(()) => server.link.aof_stopped = false,
        Err(reason) => log::warn!(
            "Failed enabling the AOF after successful master synchronization! Trying it again in one second. {reason}"
        ),
    }
}
