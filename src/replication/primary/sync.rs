//! PSYNC: whether a replica can go on with the stream, else its way to a snapshot. Its acknowledgements.

use crate::replication::replica;
use crate::server::error::{CommandResult, ReplyError};
use crate::server::replication::link::{FailoverState, LinkState};
use crate::server::replication::{ReplicaPhase, SaveTarget};
use crate::server::{Action, ClientRef, Server};

/// PSYNC with FAILOVER: the primary hands its role to this replica.
///
/// # Errors
/// This server is a primary, or has another history.
pub fn take_over(server: &mut Server, client: ClientRef, id: &[u8]) -> CommandResult {
    log::info!("Failover request received for replid {}.", String::from_utf8_lossy(id));
    if server.replication.is_primary() {
        return Err(ReplyError::err("PSYNC FAILOVER can't be sent to a master."));
    }
    if !id.eq_ignore_ascii_case(server.replication.id.as_bytes()) {
        return Err(ReplyError::err("PSYNC FAILOVER replid must match my replid."));
    }
    replica::unset_primary(server);
    log::info!("MASTER MODE enabled (failover request from '{}')", server.client_line(client));
    Ok(())
}

/// Whether this server can feed replicas now.
///
/// # Errors
/// The refusal.
pub fn check_can_serve(server: &Server) -> CommandResult {
    if server.link.failover.state != FailoverState::None {
        return Err(ReplyError::coded("NOMASTERLINK Can't SYNC while failing over"));
    }
    if !server.replication.is_primary() && server.link.state != LinkState::Connected {
        return Err(ReplyError::coded("NOMASTERLINK Can't SYNC while not connected with my master"));
    }
    Ok(())
}

/// The answer to a replica that can go on from `offset`, the first byte it lacks; it is online then.
/// `None`: it cannot, and the log says why.
pub fn try_partial(server: &mut Server, client: ClientRef, id: &[u8], offset: i64) -> Option<String> {
    let name = server.replica_name(client);
    let position = match find_position(server, &name, id, offset) {
        Ok(position) => position,
        Err(reason) => {
            log::info!("{reason}");
            return None;
        }
    };
    let knows_ids = server.clients.get(client)?.replica.as_ref().is_some_and(|state| state.knows_psync2);
    server.add_replica(client, ReplicaPhase::Online);
    server.replica_state_mut(client)?.cursor = Some(position);
    server.replication.counts.partial_ok += 1;
    server.count_good_replicas();
    log::info!(
        "Partial resynchronization request from {name} accepted. Sending {} bytes of backlog starting from offset {offset}.",
        server.replication.offset - position
    );
    let id = &server.replication.id;
    Some(if knows_ids { format!("+CONTINUE {id}\r\n") } else { "+CONTINUE\r\n".to_owned() })
}

/// Where in the stream a replica of this history and offset goes on.
fn find_position(server: &Server, name: &str, id: &[u8], offset: i64) -> Result<u64, String> {
    let state = &server.replication;
    let is_first = id.eq_ignore_ascii_case(state.id.as_bytes());
    let is_second = id.eq_ignore_ascii_case(state.second_id.as_bytes());
    let second_max = state.second_offset.map_or(-1, |offset| offset as i64);
    if !is_first && (!is_second || offset > second_max) {
        if id.starts_with(b"?") {
            return Err(format!("Full resync requested by replica {name}"));
        }
        if !is_second {
            return Err(format!(
                "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '{}', my \
                 replication IDs are '{}' and '{}')",
                String::from_utf8_lossy(id),
                state.id,
                state.second_id
            ));
        }
        return Err(format!(
            "Partial resynchronization not accepted: Requested offset for second ID was {offset}, but I can reply \
             up to {second_max}"
        ));
    }
    let position = u64::try_from(offset).ok().and_then(|offset| offset.checked_sub(1));
    let reached = |position: &u64| state.backlog.as_ref().is_some_and(|backlog| backlog.reaches(*position));
    position.filter(reached).ok_or_else(|| {
        if offset > state.offset as i64 {
            log::warn!(
                "Warning: replica {name} tried to PSYNC with an offset that is greater than the master replication offset."
            );
        }
        format!(
            "Unable to partial resync with replica {name} for lack of backlog (Replica request was: {offset})."
        )
    })
}

/// Makes a client a replica that waits for a snapshot.
pub fn begin_full(server: &mut Server, client: ClientRef) {
    server.replication.counts.full += 1;
    if server.config.repl_disable_tcp_nodelay {
        server.actions.push(Action::AllowDelay(client));
    }
    server.add_replica(client, ReplicaPhase::WaitSave);
    if server.replication.backlog.is_none() {
        begin_stream(server);
    }
    match server.replication.save.map(|save| save.target) {
        Some(SaveTarget::Disk) => attach(server, client),
        Some(SaveTarget::Sockets) => {
            log::info!("Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC");
        }
        None => await_save(server, client),
    }
}

/// The first replica: there is a stream from now on, and a new history, since nobody knows the old one.
fn begin_stream(server: &mut Server) {
    if server.replication.is_primary() {
        let id = server.rng.hex_id(crate::server::replication::ID_DIGITS);
        server.replication.begin_history(id);
    }
    server.flush_stream();
    server.replication.create_backlog(server.config.repl_backlog_size);
    server.propagation.forget_selected_db();
    server.refresh_stream_wanted();
    log::info!(
        "Replication backlog created, my new replication IDs are '{}' and '{}'",
        server.replication.id,
        server.replication.second_id
    );
}

/// A snapshot is being written: its data and the stream since its fork make a whole, if that is still there.
fn attach(server: &mut Server, client: ClientRef) {
    let Some(save) = server.replication.save else { return };
    let reaches = server.replication.backlog.as_ref().is_some_and(|backlog| backlog.reaches(save.offset));
    let is_whole = server.replica_state_mut(client).is_some_and(|state| !state.filter.is_any());
    let is_ending = server.persistence.child.as_ref().is_none_or(|child| child.is_cancelled());
    if reaches && is_whole && !is_ending {
        super::save::set_up_full(server, client, ReplicaPhase::WaitSaveEnd, save.offset);
        log::info!("Waiting for end of BGSAVE for SYNC");
    } else {
        log::info!("Can't attach the replica to the current BGSAVE. Waiting for next BGSAVE for SYNC");
    }
}

fn await_save(server: &mut Server, client: ClientRef) {
    let knows_eof = server.replica_state_mut(client).is_some_and(|state| state.knows_eof);
    if server.config.repl_diskless_sync && knows_eof && server.config.repl_diskless_sync_delay > 0 {
        log::info!("Delay next BGSAVE for diskless SYNC");
        return;
    }
    if server.persistence.child_kind().is_some() {
        log::info!(
            "No BGSAVE in progress, but another BG operation is active. BGSAVE for replication delayed"
        );
        return;
    }
    server.replication.save_wanted = true;
}

/// REPLCONF ACK: how far a replica is.
pub fn note_ack(server: &mut Server, client: ClientRef, offset: u64, log_offset: Option<u64>) {
    let now_ms = server.clock.monotonic_ms();
    let filled = server.replication.relay.as_ref().map(|relay| relay.filled);
    let Some(state) = server.replica_state_mut(client) else { return };
    state.acked_offset = state.acked_offset.max(offset);
    state.log_acked_offset = state.log_acked_offset.max(log_offset.unwrap_or(0));
    state.acked_ms = now_ms;
    match state.phase {
        ReplicaPhase::Online => state.held_until_ack = false,
        // It has loaded everything before we know that the child has ended, or see the end of the pipe.
        ReplicaPhase::Relayed => state.acked_early |= filled.is_some_and(|filled| state.relayed >= filled),
        _ => {}
    }
    server.replication.acks_changed = true;
}
