//! INFO replication: role, replicas, history, backlog.

use super::{InfoText, flag_of};
use crate::server::Server;
use crate::server::replication::link::LinkState;
use crate::server::replication::replicas::replica_ip;
use crate::server::replication::{ReplicaPhase, ReplicaState};

pub(super) fn replication(server: &Server, info: &mut InfoText) {
    if server.replication.is_primary() {
        info.field("role", "master");
    } else {
        info.field("role", "slave");
        primary(server, info);
    }
    replicas(server, info);
    info.field("master_failover_state", server.link.failover.name());
    history(server, info);
}

/// The link to our own primary.
fn primary(server: &Server, info: &mut InfoText) {
    let (link, config) = (&server.link, &server.config);
    let connected = link.state == LinkState::Connected;
    let silent_s = server.clock.monotonic_ms().saturating_sub(link.last_heard_ms) / 1000;
    if let Some(primary) = &config.replicaof {
        info.field("master_host", primary.host.to_text());
        info.field("master_port", primary.port);
    }
    info.field("master_link_status", if connected { "up" } else { "down" });
    info.field("master_last_io_seconds_ago", if connected { silent_s as i64 } else { -1 });
    info.field("master_sync_in_progress", flag_of(link.state == LinkState::Transfer));
    let offset = if link.resumable || connected { server.replication.offset } else { 0 };
    info.field("slave_read_repl_offset", offset + link.unapplied_bytes() as u64);
    info.field("slave_repl_offset", offset);
    if link.state == LinkState::Transfer {
        transfer(server, silent_s, info);
    }
    if !connected {
        let down_s = link.down_since_s.map_or(-1, |since_s| server.now_ms() / 1000 - since_s);
        info.field("master_link_down_since_seconds", down_s);
    }
    info.field("slave_priority", config.replica_priority);
    info.field("slave_read_only", flag_of(config.replica_read_only));
    info.field("replica_announced", flag_of(config.replica_announced));
}

fn transfer(server: &Server, silent_s: u64, info: &mut InfoText) {
    let (total_bytes, received_bytes) = server.link.transfer_progress();
    info.field("master_sync_total_bytes", total_bytes);
    info.field("master_sync_read_bytes", received_bytes);
    info.field("master_sync_left_bytes", total_bytes as i64 - received_bytes as i64);
    let percent = if total_bytes == 0 { 0.0 } else { received_bytes as f64 * 100.0 / total_bytes as f64 };
    info.ratio("master_sync_perc", percent);
    info.field("master_sync_last_io_seconds_ago", silent_s);
}

/// Who is fed from here, on a primary as on a replica with replicas of its own.
fn replicas(server: &Server, info: &mut InfoText) {
    info.field("connected_slaves", server.replication.replicas.len());
    if server.config.min_replicas_to_write > 0 && server.config.min_replicas_max_lag > 0 {
        info.field("min_slaves_good_slaves", server.replication.good_replicas);
    }
    let now_ms = server.clock.monotonic_ms();
    for (index, (client, state)) in server.replica_states().enumerate() {
        info.field(
            &format!("slave{index}"),
            format_args!(
                "ip={},port={},state={},offset={},lag={}",
                replica_ip(client, state),
                state.listening_port,
                state.phase.name(),
                state.acked_offset,
                lag_s(state, now_ms)
            ),
        );
    }
}

/// Seconds since the last acknowledgement; 0 before it is online.
fn lag_s(state: &ReplicaState, now_ms: u64) -> u64 {
    match state.phase {
        ReplicaPhase::Online => now_ms.saturating_sub(state.acked_ms) / 1000,
        _ => 0,
    }
}

fn history(server: &Server, info: &mut InfoText) {
    let state = &server.replication;
    info.field("master_replid", &state.id);
    info.field("master_replid2", &state.second_id);
    info.field("master_repl_offset", state.offset);
    info.field("second_repl_offset", state.second_offset.map_or(-1, |offset| offset as i64));
    let backlog = state.backlog.as_ref();
    info.field("repl_backlog_active", flag_of(backlog.is_some()));
    info.field("repl_backlog_size", server.config.repl_backlog_size);
    info.field("repl_backlog_first_byte_offset", backlog.map_or(0, |backlog| backlog.start() + 1));
    info.field("repl_backlog_histlen", backlog.map_or(0, |backlog| backlog.history_bytes()));
}
