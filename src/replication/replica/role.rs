//! Becoming a replica and becoming a primary: REPLICAOF, a configured primary at the start, FAILOVER.

use crate::dispatch;
use crate::replication::replica::{handshake, load};
use crate::server::Server;
use crate::server::client::BlockedOn;
use crate::server::config::PrimaryAddress;
use crate::server::error;
use crate::server::replication::link::LinkState;
use crate::server::replication::{ID_DIGITS, Role};

/// Makes this server a replica of `primary`, or of another primary than before.
pub fn set_primary(server: &mut Server, primary: PrimaryAddress) {
    let was_primary = server.replication.is_primary();
    let ahead = server.flush_finished_units();
    drop_link(server);
    disconnect_blocked_clients(server);
    server.config.replicaof = Some(primary);
    server.replication.role = Role::Replica;
    handshake::cancel(server, false);
    if was_primary && !ahead {
        log::info!(
            "Before turning into a replica, using my own master parameters to synthesize a cached master: I may be \
             able to synchronize with the new master with just a partial transfer."
        );
        server.link.resumable = true;
        server.replication.stream_db = None;
    }
    server.apply_role();
    server.link.refusals = 0;
    server.link.retry_not_before_ms = 0;
    handshake::connect(server);
}

/// Makes this server a primary. What it has continues the history of its old primary.
pub fn unset_primary(server: &mut Server) {
    if server.replication.is_primary() {
        return;
    }
    server.flush_finished_units();
    server.config.replicaof = None;
    load::abandon(server);
    drop_link(server);
    handshake::cancel(server, false);
    server.link.drop_socket();
    server.link.state = LinkState::None;
    server.link.resumable = false;
    server.link.down_since_s = None;
    server.replication.role = Role::Primary;
    server.replication.stream_db = None;
    let id = server.rng.hex_id(ID_DIGITS);
    if std::mem::take(&mut server.link.data_incomplete) {
        // These data are no part of any history.
        server.replication.begin_history(id);
    } else {
        server.replication.continue_history(id);
    }
    server.disconnect_replicas();
    server.propagation.forget_selected_db();
    server.replication.no_replicas_since_s = server.now_ms() / 1000;
    server.apply_role();
    load::restart_aof(server);
}

/// The link that was up is lost: its place in the stream is kept, and it is tried again at once.
pub fn primary_lost(server: &mut Server) {
    if server.link.state != LinkState::Connected {
        return;
    }
    log::warn!("Connection with master lost.");
    log::info!("Caching the disconnected master state.");
    drop_link(server);
    server.link.down_since_s = Some(server.now_ms() / 1000);
    server.link.state = LinkState::Connect;
    handshake::reconnect(server);
}

/// Takes the primary's client away and closes the socket. Bytes not applied are forgotten: they come
/// again.
fn drop_link(server: &mut Server) {
    if let Some(client) = server.link.client.take() {
        server.remove_client(client);
        server.link.state = LinkState::Connect;
        server.link.resumable = !server.link.without_offsets;
        server.link.drop_socket();
    }
}

/// Clients that wait for keys would wait for ever: writes come from the primary now.
fn disconnect_blocked_clients(server: &mut Server) {
    for client in server.clients.references() {
        let waits = |on: &BlockedOn| !matches!(on, BlockedOn::Pause | BlockedOn::Shutdown);
        let blocked = server.clients.get(client).and_then(|state| state.blocked.as_ref());
        if !blocked.is_some_and(|blocked| waits(&blocked.on)) {
            continue;
        }
        let Some(blocked) = server.unblock_bookkeeping(client) else { continue };
        dispatch::count_unserved(server, blocked.args.as_args(), Some(&error::ROLE_CHANGED));
        if let Some(state) = server.clients.get_mut(client) {
            state.output.buffer.extend_from_slice(b"-");
            state.output.buffer.extend_from_slice(error::ROLE_CHANGED.as_bytes());
            state.output.buffer.extend_from_slice(b"\r\n");
            state.close_after_reply = true;
        }
        server.schedule_write(client);
    }
}

/// Follows the primary of the configuration, when there is one: the data set has been loaded, and the
/// snapshot has told from which place in the primary's stream to go on.
pub fn start(server: &mut Server) {
    if server.replication.is_primary() {
        return;
    }
    server.apply_role();
    server.link.state = LinkState::Connect;
    handshake::connect(server);
}
