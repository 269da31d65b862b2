//! MONITOR: every command that runs, as a line to each client that asked for it.
//!
//! A monitor's output is bounded as a subscriber's is (`client-output-buffer-limit pubsub`): one
//! that does not read is cut off. Commands of administrators and secrets are not shown.

use crate::base::bytes::push_repr;
use crate::resp::Args;
use crate::server::client::{ClientRef, ReplyMode};
use crate::server::slowlog::redacted;
use crate::server::spec::{Found, flag};
use crate::server::{Caller, Server};

impl Server {
    /// Begins to show commands to a client.
    pub fn add_monitor(&mut self, reference: ClientRef) {
        if let Some(client) = self.clients.get_mut(reference)
            && !client.monitor
        {
            client.monitor = true;
            self.monitors.push(reference);
        }
    }

    /// Shows no more commands to a client.
    pub fn remove_monitor(&mut self, reference: ClientRef) {
        if let Some(client) = self.clients.get_mut(reference)
            && std::mem::take(&mut client.monitor)
        {
            self.monitors.retain(|other| *other != reference);
        }
    }

    /// Shows a command that `client` has run in `db`. O(monitors + bytes of the arguments).
    pub fn feed_monitors(
        &mut self,
        client: ClientRef,
        caller: Caller,
        db: usize,
        found: Found,
        args: Args<'_>,
    ) {
        // A command that had to wait was shown when it came.
        let again = caller == Caller::Unblocked || caller.is_replicated();
        if self.monitors.is_empty()
            || again
            || found.spec.has(flag::SKIP_MONITOR | flag::ADMIN)
            || self.run.loading.is_some()
        {
            return;
        }
        let Some(state) = self.clients.get(client) else { return };
        let now_us = self.clock.now_us();
        let source = match caller {
            Caller::Script => "lua".to_owned(),
            _ if state.unix_socket => format!("unix:{}", String::from_utf8_lossy(&self.config.unixsocket.0)),
            _ => state.address.clone(),
        };
        let mut line =
            format!("+{}.{:06} [{db} {source}]", now_us / 1_000_000, now_us % 1_000_000).into_bytes();
        for argument in redacted(found, args) {
            line.push(b' ');
            push_repr(argument, &mut line);
        }
        line.extend_from_slice(b"\r\n");
        for monitor in self.monitors.clone() {
            if self.clients.get(monitor).is_some_and(|state| state.reply_mode != ReplyMode::Off) {
                self.send_to(monitor, &line);
            }
        }
    }
}
