//! INFO replication: role, replicas, history, backlog.

use super::{InfoText, flag_of};
use crate::server::Server;
use crate::server::replication::replicas::replica_ip;
use crate::server::replication::{ReplicaPhase, ReplicaState};

pub(super) fn replication(server: &Server, info: &mut InfoText) {
    info.field("role", "master");
    replicas(server, info);
    info.field("master_failover_state", "no-failover");
    history(server, info);
}

/// Who is fed from here, on a primary as on a replica with replicas of its own.
fn replicas(server: &Server, info: &mut InfoText) {
    info.field("connected_slaves", server.replication.replicas.len());
    if server.config.min_replicas_to_write > 0 && server.config.min_replicas_max_lag > 0 {
        info.field("min_slaves_good_slaves", server.replication.good_replicas);
    }
    let now_ms = server.clock.monotonic_us() / 1000;
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
