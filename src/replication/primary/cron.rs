//! What a primary does by the clock: signs of life, late replicas, a backlog that nobody needs.

use super::save::{push, start_due};
use crate::persist::aof;
use crate::server::replication::{ID_DIGITS, ReplicaPhase};
use crate::server::{ClientRef, Server};

/// Each round; most of it once a second.
pub fn cron(server: &mut Server) {
    start_due(server);
    let now_ms = server.clock.monotonic_ms();
    if now_ms < server.replication.next_cron_ms {
        return;
    }
    server.replication.next_cron_ms = now_ms + 1000;
    ping(server);
    show_life(server);
    drop_late(server, now_ms);
    free_unused_backlog(server);
    remove_file_for_sync(server);
    server.count_good_replicas();
}

/// PING in the stream, so that replicas notice a link that is dead without a word. Not while writes are
/// held back for a failover, which waits for equal offsets.
fn ping(server: &mut Server) {
    let seconds = server.replication.cron_seconds;
    server.replication.cron_seconds += 1;
    let due = seconds.is_multiple_of(u64::from(server.config.repl_ping_replica_period));
    if due && !server.replication.replicas.is_empty() && !server.replication.is_quiet {
        server.feed_replicas(&[b"PING"]);
    }
}

/// An empty line for those who wait for a snapshot: it means nothing and shows that we are there.
/// Those who are being sent one would take it for a part of that.
fn show_life(server: &mut Server) {
    let waits = |phase: ReplicaPhase| matches!(phase, ReplicaPhase::WaitSave | ReplicaPhase::WaitSaveEnd);
    for client in select(server, waits) {
        push(server, client, b"\n");
    }
}

fn select(server: &Server, wanted: impl Fn(ReplicaPhase) -> bool) -> Vec<ClientRef> {
    let found = server.replica_states().filter(|(_, state)| wanted(state.phase));
    found.map(|(client, _)| client.reference).collect()
}

/// Closes replicas that acknowledge nothing, or take nothing of a snapshot that others wait for too.
fn drop_late(server: &mut Server, now_ms: u64) {
    let timeout_ms = u64::from(server.config.repl_timeout) * 1000;
    let mut late = Vec::new();
    for (client, state) in server.replica_states() {
        let since_ms = match state.phase {
            ReplicaPhase::Online if !state.old_protocol => Some((state.acked_ms, "streaming sync")),
            ReplicaPhase::Relayed => state.relay_stuck_since_ms.map(|since_ms| (since_ms, "full sync")),
            _ => None,
        };
        if let Some((_, what)) = since_ms.filter(|(since, _)| now_ms.saturating_sub(*since) > timeout_ms) {
            late.push((client.reference, what));
        }
    }
    for (client, what) in late {
        log::warn!("Disconnecting timedout replica ({what}): {}", server.replica_name(client));
        server.close_soon(client);
    }
}

/// Without replicas for `repl-backlog-ttl` the stream is given up, and with it the history: what is
/// written from then on is counted nowhere.
fn free_unused_backlog(server: &mut Server) {
    let ttl_s = server.config.repl_backlog_ttl;
    let state = &server.replication;
    if ttl_s == 0 || !state.takes_commands() || !state.replicas.is_empty() {
        return;
    }
    let idle_s = server.now_ms() / 1000 - state.no_replicas_since_s;
    if idle_s <= i64::try_from(ttl_s).unwrap_or(i64::MAX) {
        return;
    }
    let id = server.rng.hex_id(ID_DIGITS);
    server.flush_stream();
    server.replication.begin_history(id);
    server.replication.free_backlog();
    server.refresh_stream_wanted();
    log::info!("Replication backlog freed after {ttl_s} seconds without connected replicas.");
}

/// `rdb-del-sync-files`: a server that is to keep nothing on disk keeps no file that was made to be sent.
fn remove_file_for_sync(server: &mut Server) {
    if !server.config.rdb_del_sync_files {
        server.replication.file_for_sync = false;
        return;
    }
    let persists = !server.config.save.0.is_empty() || server.config.appendonly;
    if persists || !server.replication.file_for_sync {
        return;
    }
    let needed = |phase: ReplicaPhase| {
        matches!(phase, ReplicaPhase::WaitSave | ReplicaPhase::WaitSaveEnd | ReplicaPhase::SendFile)
    };
    if !select(server, needed).is_empty() {
        return;
    }
    server.replication.file_for_sync = false;
    log::info!("Removing the RDB file used to feed replicas in a persistence-less instance");
    if let Err(fault) = aof::remove_elsewhere(&*server.persistence.storage, &server.snapshot_path())
        && !fault.is_not_found()
    {
        log::warn!("Can't remove the RDB file: {fault}");
    }
}
