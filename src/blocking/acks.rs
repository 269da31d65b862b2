//! Who waits for acknowledgements (WAIT, WAITAOF), and their end.

use crate::dispatch;
use crate::persist::aof::AofState;
use crate::resp::Reply;
use crate::server::client::{AwaitedAcks, BlockedOn};
use crate::server::error::ReplyError;
use crate::server::{ClientRef, Server};

/// The answer when our own log is waited for and there is none.
pub const NO_LOG: ReplyError =
    ReplyError::fixed("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");

/// What has been reached of what a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    pub replicas: usize,
    /// Our own log has it.
    pub log: bool,
}

impl Reached {
    /// Whether nothing is left to wait for.
    pub fn is_enough(self, awaited: AwaitedAcks) -> bool {
        self.replicas >= awaited.replicas && (self.log || !awaited.log.is_some_and(|log| log.wanted))
    }

    /// WAIT answers a number, WAITAOF two.
    pub fn reply(self, awaited: AwaitedAcks, out: &mut Reply) {
        if awaited.log.is_some() {
            out.array(2);
            out.integer(i64::from(self.log));
        }
        out.integer(self.replicas as i64);
    }
}

/// What has been reached by now. O(replicas).
pub fn count(server: &Server, awaited: AwaitedAcks) -> Reached {
    let Some(log) = awaited.log else {
        return Reached { replicas: server.replicas_with(awaited.offset), log: false };
    };
    let aof = &server.persistence.aof;
    Reached {
        replicas: server.replicas_with_in_log(awaited.offset),
        log: aof.state == AofState::On && aof.synced_offset() >= log.offset,
    }
}

/// Answers clients whose wait is over. Once a turn; O(clients that wait × replicas).
pub fn serve(server: &mut Server) {
    server.replication.acks_changed = false;
    for client in server.blocked.on_acks.clone() {
        let Some(awaited) = awaited_by(server, client) else { continue };
        let log_is_off = server.persistence.aof.state == AofState::Off;
        if awaited.log.is_some_and(|log| log.wanted) && log_is_off {
            finish(server, client, |out| out.error(NO_LOG.as_bytes()));
            continue;
        }
        let reached = count(server, awaited);
        if reached.is_enough(awaited) {
            finish(server, client, |out| reached.reply(awaited, out));
        }
    }
}

/// The time of a client is up, or it is to go on whatever it has: it is told what has been reached.
/// Returns whether it waited.
pub(super) fn give_up(server: &mut Server, client: ClientRef) -> bool {
    let Some(awaited) = awaited_by(server, client) else { return false };
    let reached = count(server, awaited);
    finish(server, client, |out| reached.reply(awaited, out));
    true
}

/// What a client waits for, if it waits for acknowledgements.
pub(super) fn awaited_by(server: &Server, client: ClientRef) -> Option<AwaitedAcks> {
    match server.clients.get(client)?.blocked.as_ref()?.on {
        BlockedOn::Acks(awaited) => Some(awaited),
        _ => None,
    }
}

/// Ends a wait with an answer.
pub(super) fn finish(server: &mut Server, client: ClientRef, answer: impl FnOnce(&mut Reply)) {
    let Some(blocked) = server.unblock_bookkeeping(client) else { return };
    super::answer(server, client, answer);
    dispatch::count_unserved(server, blocked.args.as_args(), None);
    server.resumed.push(client);
}
