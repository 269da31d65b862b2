//! Snapshots for replicas: when one begins, who gets it, what becomes of them when it ends.

use crate::server::replication::replicas::{FileTransfer, SnapshotFilter};
use crate::server::replication::save::SaveEnd;
use crate::server::replication::{ReplicaPhase, SaveTarget, SyncSave};
use crate::server::{ClientRef, Server};
use std::path::Path;

/// Starts a snapshot if replicas wait for one, no child lives, and nobody else is to be waited for.
pub fn start_due(server: &mut Server) {
    if server.persistence.child_kind().is_some() || server.replication.relay.is_some() {
        return;
    }
    let Some((first, members)) = waiting(server) else { return };
    let now_ms = server.clock.monotonic_ms();
    let (mut all_know_eof, mut longest_ms) = (true, 0);
    for member in &members {
        let Some(state) = server.replica_state_mut(*member) else { continue };
        all_know_eof &= state.knows_eof;
        longest_ms = longest_ms.max(now_ms.saturating_sub(state.asked_ms));
    }
    let config = &server.config;
    let is_diskless = (config.repl_diskless_sync || first.is_any()) && all_know_eof;
    let members_max = config.repl_diskless_sync_max_replicas as usize;
    let delay_ms = u64::from(config.repl_diskless_sync_delay) * 1000;
    let enough = members_max > 0 && members.len() >= members_max;
    if config.repl_diskless_sync && !enough && longest_ms < delay_ms {
        return;
    }
    start(server, first, members, is_diskless);
}

/// Replicas that wait for a snapshot of the same kind as the first of them does.
fn waiting(server: &Server) -> Option<(SnapshotFilter, Vec<ClientRef>)> {
    let mut waiting = server.replica_states().filter(|(_, state)| state.phase == ReplicaPhase::WaitSave);
    let (client, state) = waiting.next()?;
    let filter = state.filter;
    let mut members = vec![client.reference];
    members.extend(waiting.filter(|(_, state)| state.filter == filter).map(|(client, _)| client.reference));
    Some((filter, members))
}

fn start(server: &mut Server, filter: SnapshotFilter, members: Vec<ClientRef>, is_diskless: bool) {
    let target = if is_diskless { "replicas sockets" } else { "disk" };
    log::info!("Starting BGSAVE for SYNC with target: {target}");
    let started = if is_diskless {
        server.start_socket_save(filter, members.clone())
    } else {
        server.start_background_save()
    };
    match (started, &mut server.replication.save) {
        (Ok(()), Some(save)) => {
            save.for_replicas = true;
            let offset = save.offset;
            server.replication.file_for_sync |= !is_diskless;
            let phase = if is_diskless { ReplicaPhase::Relayed } else { ReplicaPhase::WaitSaveEnd };
            members.into_iter().for_each(|member| set_up_full(server, member, phase, offset));
        }
        (Ok(()), None) => {}
        (Err(reason), _) => {
            log::warn!("BGSAVE for replication failed: {reason}");
            refuse_waiting(server);
        }
    }
}

/// A file that was begun for replicas which have all gone, on a server without save points, is of no use
/// to anybody.
pub(super) fn end_useless(server: &mut Server) {
    let is_ours = |save: &SyncSave| save.for_replicas && save.target == SaveTarget::Disk;
    if !server.replication.save.as_ref().is_some_and(is_ours) || !server.config.save.0.is_empty() {
        return;
    }
    let waits = server.replica_states().any(|(_, state)| state.phase == ReplicaPhase::WaitSaveEnd);
    if !waits && server.cancel_background_save() {
        log::info!("Killing the child that saves for replicas: none of them is left");
    }
}

/// No snapshot can be made: whoever waits is told so and goes.
fn refuse_waiting(server: &mut Server) {
    for client in server.replication.replicas.clone() {
        let Some(state) = server.replica_state_mut(client) else { continue };
        if state.phase != ReplicaPhase::WaitSave {
            continue;
        }
        state.phase = ReplicaPhase::Handshake;
        server.forget_replica(client);
        push(server, client, b"-ERR BGSAVE failed, replication can't continue\r\n");
        if let Some(client) = server.clients.get_mut(client) {
            client.close_after_reply = true;
        }
    }
}

/// A replica begins with the snapshot that was forked at `offset`, which reaches it as `phase` says; the
/// stream from there on is kept for it.
pub(super) fn set_up_full(server: &mut Server, client: ClientRef, phase: ReplicaPhase, offset: u64) {
    let Some(state) = server.replica_state_mut(client) else { return };
    state.phase = phase;
    state.cursor = (!state.snapshot_only).then_some(offset);
    if !state.old_protocol {
        let answer = format!("+FULLRESYNC {} {offset}\r\n", server.replication.id);
        push(server, client, answer.as_bytes());
    }
}

/// Bytes that stand before the snapshot or the stream.
pub(super) fn push(server: &mut Server, client: ClientRef, bytes: &[u8]) {
    let Some(state) = server.clients.get_mut(client) else { return };
    state.output.buffer.extend_from_slice(bytes);
    server.schedule_write(client);
}

/// The child has ended: replicas get the file, or are dropped.
pub(super) fn after_save(server: &mut Server) {
    let Some(SaveEnd { target, result }) = server.replication.save_ended.take() else { return };
    if target == SaveTarget::Sockets {
        if let Some(relay) = &mut server.replication.relay {
            relay.child_succeeded = Some(result.is_ok());
        }
        return;
    }
    let waiting: Vec<ClientRef> = server
        .replica_states()
        .filter(|(_, state)| state.phase == ReplicaPhase::WaitSaveEnd)
        .map(|(client, _)| client.reference)
        .collect();
    for client in waiting {
        match &result {
            Ok(Some(path)) => begin_file(server, client, path),
            _ => drop_failed(server, client),
        }
    }
    // Who could not be attached.
    server.replication.save_wanted = true;
}

fn drop_failed(server: &mut Server, client: ClientRef) {
    log::warn!("SYNC failed. BGSAVE child returned an error");
    server.close_soon(client);
}

fn begin_file(server: &mut Server, client: ClientRef, path: &Path) {
    let opened = server.persistence.storage.open_read(path).and_then(|file| {
        let len = file.len()?;
        Ok((file, len))
    });
    let (file, len) = match opened {
        Ok(opened) => opened,
        Err(fault) => {
            log::warn!("SYNC failed. Can't open/stat DB after BGSAVE: {fault}");
            server.close_soon(client);
            return;
        }
    };
    push(server, client, format!("${len}\r\n").as_bytes());
    if let Some(state) = server.replica_state_mut(client) {
        state.phase = ReplicaPhase::SendFile;
        state.transfer = Some(FileTransfer { file, len, sent: 0 });
    }
}

/// The whole file has been sent to this replica: the stream follows.
pub fn file_sent(server: &mut Server, client: ClientRef) {
    if let Some(state) = server.replica_state_mut(client) {
        state.transfer = None;
    }
    put_online(server, client);
}

/// Everything that the child wrote has been passed on, or it has failed.
pub fn relay_ended(server: &mut Server) {
    let Some(relay) = server.replication.relay.take() else { return };
    let succeeded = relay.child_succeeded == Some(true) && relay.at_end;
    for client in relay.members {
        if server.clients.get(client).is_none_or(|state| state.close_now) {
            continue;
        }
        if !succeeded {
            drop_failed(server, client);
            continue;
        }
        log::info!(
            "Streamed RDB transfer with replica {} succeeded (socket). Waiting for REPLCONF ACK from replica to enable \
             streaming",
            server.replica_name(client)
        );
        if let Some(state) = server.replica_state_mut(client) {
            // The snapshot ends with a mark and no length: nothing must stand behind it.
            state.held_until_ack = !state.acked_early;
        }
        put_online(server, client);
    }
    server.replication.save_wanted = true;
}

fn put_online(server: &mut Server, client: ClientRef) {
    let now_ms = server.clock.monotonic_ms();
    let name = server.replica_name(client);
    let Some(state) = server.replica_state_mut(client) else { return };
    if state.snapshot_only {
        state.phase = ReplicaPhase::SnapshotSent;
        log::info!("RDB transfer completed, rdb only replica ({name}) should be disconnected asap");
        server.close_soon(client);
        return;
    }
    state.phase = ReplicaPhase::Online;
    state.acked_ms = now_ms;
    server.count_good_replicas();
    log::info!("Synchronization with replica {name} succeeded");
}
