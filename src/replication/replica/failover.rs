//! FAILOVER: writes are held back until a replica has everything, then this server follows that
//! replica and asks it, with PSYNC, to take over.
//!
//! ```text
//!  None ─FAILOVER─► WaitForSync ─a replica has it all─► InProgress ─PSYNC accepted─► None, a replica
//!                        └─time-out, ABORT─► None               └─refused, ABORT─► a primary again
//! ```

use crate::replication::replica::role;
use crate::server::Server;
use crate::server::config::PrimaryAddress;
use crate::server::replication::ReplicaPhase;
use crate::server::replication::link::{Failover, FailoverState};
use crate::server::replication::replicas::replica_ip;

/// Begins: writes wait from now on.
pub fn begin(server: &mut Server, target: Option<(String, u16)>, deadline_ms: Option<i64>, force: bool) {
    match &target {
        Some((host, port)) => log::info!("FAILOVER requested to {host}:{port}."),
        None => log::info!("FAILOVER requested to any replica."),
    }
    server.link.failover = Failover { state: FailoverState::WaitForSync, target, deadline_ms, force };
    server.replication.is_quiet = true;
    server.hold_writes_for_failover();
}

/// Ends it, whatever the end was: writes go on.
pub(super) fn clear(server: &mut Server) {
    server.link.failover = Failover::default();
    server.replication.is_quiet = false;
    server.release_writes_of_failover();
}

/// Ends it in failure.
pub fn abort(server: &mut Server, reason: &str) {
    let failover = &server.link.failover;
    if failover.state == FailoverState::None {
        return;
    }
    match &failover.target {
        Some((host, port)) => log::info!("FAILOVER to {host}:{port} aborted: {reason}"),
        None => log::info!("FAILOVER to any replica aborted: {reason}"),
    }
    let follows = failover.state == FailoverState::InProgress;
    // The role may only change when nothing is in progress.
    server.link.failover.state = FailoverState::None;
    if follows {
        role::unset_primary(server);
    }
    clear(server);
}

/// Ten times a second: is a replica ready, or is the time over?
pub fn watch(server: &mut Server) {
    if server.link.failover.state != FailoverState::WaitForSync {
        return;
    }
    let overdue = server.link.failover.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= server.now_ms());
    if overdue {
        match server.link.failover.target.clone().filter(|_| server.link.failover.force) {
            Some((host, port)) => {
                log::info!("FAILOVER to {host}:{port} time out exceeded, failing over.");
                follow(server, host, port);
            }
            None => abort(server, "Replica never caught up before timeout"),
        }
        return;
    }
    if let Some((host, port)) = synced_target(server) {
        log::info!("Failover target {host}:{port} is synced, failing over.");
        follow(server, host, port);
    }
}

/// A replica, the named one if one was named, that has acknowledged everything.
fn synced_target(server: &Server) -> Option<(String, u16)> {
    let wanted = server.link.failover.target.as_ref();
    let offset = server.stream_offset();
    server
        .replica_states()
        .filter(|(_, state)| state.phase == ReplicaPhase::Online && state.acked_offset == offset)
        .map(|(client, state)| (replica_ip(client, state), state.listening_port))
        .find(|(host, port)| wanted.is_none_or(|(name, at)| name.eq_ignore_ascii_case(host) && at == port))
}

fn follow(server: &mut Server, host: String, port: u16) {
    server.link.failover.state = FailoverState::InProgress;
    server.link.failover.target = Some((host.clone(), port));
    role::set_primary(server, PrimaryAddress { host: host.as_str().into(), port });
}
