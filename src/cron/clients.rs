//! A share of the clients each round, so that every client is looked at about once a second and
//! ten thousand of them do not stop the server.

use crate::server::{Action, ClientKind, ClientRef, Server};

/// Clients looked at per round, at least.
const CLIENTS_PER_ROUND_MIN: usize = 5;

/// Looks at the next clients in the order of their slots.
pub(super) fn look_at_some(server: &mut Server) {
    let slots = server.clients.slots();
    let share = slots.div_ceil(server.run.hz.max(1) as usize);
    for _ in 0..share.max(CLIENTS_PER_ROUND_MIN).min(slots) {
        let slot = server.run.client_cursor as usize % slots;
        server.run.client_cursor = (slot + 1) as u32;
        if let Some(client) = server.clients.at_slot(slot as u32) {
            look_at(server, client);
        }
    }
}

fn look_at(server: &mut Server, reference: ClientRef) {
    let timeout_ms = u64::from(server.config.timeout) * 1000;
    let now_ms = server.clock.monotonic_ms();
    server.enforce_output_limit(reference);
    server.account_client(reference);
    let Some(client) = server.clients.get_mut(reference) else { return };
    if !server.run.debug.keep_reply_buffers {
        client.output.give_back();
    }
    let idle_ms = now_ms.saturating_sub(client.last_interaction_ms);
    let may_time_out = client.kind == ClientKind::Normal
        && !client.is_blocked()
        && client.subscriptions() == 0
        && !client.monitor;
    if timeout_ms > 0 && may_time_out && idle_ms > timeout_ms {
        log::debug!("Closing idle client");
        server.actions.push(Action::Close(reference));
    }
}
