//! What time brings on the replica's side, once a second.

use crate::replication::replica::{handshake, load, now_ms, role, stream};
use crate::server::Server;
use crate::server::replication::link::LinkState;

/// To be called once a second.
pub fn cron(server: &mut Server) {
    if server.link.aof_stopped {
        load::restart_aof(server);
    }
    if server.replication.is_primary() {
        return;
    }
    end_when_silent(server);
    if server.link.state == LinkState::Connect && now_ms(server) >= server.link.retry_not_before_ms {
        handshake::connect(server);
    }
    stream::send_ack(server);
}

/// A link on which nothing was heard for `repl-timeout` is dead.
fn end_when_silent(server: &mut Server) {
    let limit_ms = u64::from(server.config.repl_timeout) * 1000;
    let silent_ms = now_ms(server).saturating_sub(server.link.last_heard_ms);
    // A load from a file hears nothing, and needs nothing.
    let loads = server.link.load.as_ref().is_some_and(|load| load.reads_file());
    if silent_ms <= limit_ms || loads {
        return;
    }
    match server.link.state {
        LinkState::Connected => {
            log::warn!("MASTER timeout: no data nor PING received...");
            role::primary_lost(server);
        }
        LinkState::Transfer => {
            log::warn!(
                "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' \
                 parameter in redis.conf to a larger value."
            );
            load::abandon(server);
            handshake::cancel(server, true);
        }
        state if state == LinkState::Connecting || state.is_handshake() => {
            log::warn!("Timeout connecting to the MASTER...");
            handshake::cancel(server, true);
        }
        _ => {}
    }
}
