//! `client-output-buffer-limit`: a client that does not read is closed before it takes the memory.
//!
//! Looked at after each command of a client, with each message pushed to one, after each write that
//! could not send everything, and about once a second (a soft limit also passes without traffic).
//! What is compared is what lies behind the first reply buffer (`omem` of CLIENT LIST), as in Redis.
//! A client over its limit gets nothing more, not even what lies ready.

use crate::resp::Reply;
use crate::server::client::{Client, ClientKind};
use crate::server::config::OutputBufferLimit;
use crate::server::output::FIRST_REPLY_BUFFER_BYTES;
use crate::server::{Action, ClientRef, Server};

impl Server {
    /// The limit of the client's class. What serves no connection has none.
    fn output_limit(&self, client: &Client) -> OutputBufferLimit {
        let limits = &self.config.client_output_buffer_limit;
        match client.kind {
            ClientKind::Fake => OutputBufferLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 },
            ClientKind::Replica if !client.monitor => OutputBufferLimit {
                // A replica may always lag by the backlog, whose memory it shares.
                hard_bytes: match limits.replica.hard_bytes {
                    0 => 0,
                    hard_bytes => hard_bytes.max(self.config.repl_backlog_size as u64),
                },
                ..limits.replica
            },
            _ if client.subscriptions() > 0 || client.monitor => limits.pubsub,
            _ => limits.normal,
        }
    }

    /// A reply of this client that has come to this length (of its whole output) will never be
    /// sent: a command may stop there.
    pub fn reply_bytes_max(&self, reference: ClientRef) -> usize {
        let Some(client) = self.clients.get(reference) else { return usize::MAX };
        match self.output_limit(client).hard_bytes as usize {
            0 => usize::MAX,
            hard_bytes => client.output.sent_bytes().saturating_add(hard_bytes.max(FIRST_REPLY_BUFFER_BYTES)),
        }
    }

    /// Closes a client whose output has passed its limit. Returns whether it is (or was) so.
    pub fn enforce_output_limit(&mut self, reference: ClientRef) -> bool {
        let Some(client) = self.clients.get(reference) else { return false };
        let stream_bytes = self.unsent_stream_bytes(client) as usize;
        self.enforce_on(reference, client.output.queued_bytes() + stream_bytes)
    }

    /// As [`Server::enforce_output_limit`] for a client whose command is running: its output is `out`,
    /// more than the first reply buffer, and is emptied when it is too much.
    #[cold]
    pub fn enforce_reply_limit(&mut self, reference: ClientRef, out: &mut Reply) {
        let Some(client) = self.clients.get(reference) else { return };
        let pending_bytes = out.len().saturating_sub(client.output.sent_bytes());
        // As in Redis, a reply that does not fit into the first buffer counts whole.
        if self.enforce_on(reference, pending_bytes) {
            out.buffer = Vec::new();
        }
    }

    fn enforce_on(&mut self, reference: ClientRef, bytes: usize) -> bool {
        let now_ms = self.clock.monotonic_ms();
        let Some(client) = self.clients.get(reference) else { return false };
        if client.close_now {
            return true;
        }
        let limit = self.output_limit(client);
        let Some(client) = self.clients.get_mut(reference) else { return false };
        if !is_exceeded(limit, bytes as u64, now_ms, &mut client.output.soft_limit_since_ms) {
            return false;
        }
        log::warn!(
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            self.client_line(reference)
        );
        self.stats.output_buffer_limit_disconnections += 1;
        self.close_soon(reference);
        true
    }

    /// Closes a client at the end of the turn. Nothing more is run for it or sent to it.
    pub fn close_soon(&mut self, reference: ClientRef) {
        let Some(client) = self.clients.get_mut(reference) else { return };
        client.close_now = true;
        client.output.reset();
        self.actions.push(Action::Close(reference));
    }
}

/// Whether so many bytes break the limit; `since_ms` remembers when the soft one began to.
fn is_exceeded(limit: OutputBufferLimit, bytes: u64, now_ms: u64, since_ms: &mut Option<u64>) -> bool {
    let hard = limit.hard_bytes > 0 && bytes >= limit.hard_bytes;
    if limit.soft_bytes == 0 || bytes < limit.soft_bytes {
        *since_ms = None;
        return hard;
    }
    let elapsed_ms = now_ms.saturating_sub(*since_ms.get_or_insert(now_ms));
    hard || elapsed_ms > limit.soft_seconds * 1000
}

#[cfg(test)]
mod tests {
    use super::is_exceeded;
    use crate::server::config::OutputBufferLimit;

    #[test]
    fn the_soft_limit_counts_unbroken_time() {
        let limit = OutputBufferLimit { hard_bytes: 100, soft_bytes: 50, soft_seconds: 2 };
        let mut since_ms = None;
        let mut look = |bytes, now_ms| is_exceeded(limit, bytes, now_ms, &mut since_ms);
        assert!(look(100, 0) && !look(0, 0));
        assert!(!look(60, 1000) && !look(60, 3000));
        assert!(!look(49, 3500), "below it for a moment");
        assert!(!look(60, 4000) && !look(60, 6000));
        assert!(look(60, 6001));
    }

    #[test]
    fn no_limit_is_never_exceeded() {
        let limit = OutputBufferLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 };
        assert!(!is_exceeded(limit, u64::MAX, 1, &mut None));
    }
}
