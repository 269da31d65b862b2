//! The line that describes a client, with the fields of Redis 7.2 in order: CLIENT LIST, CLIENT INFO,
//! and the entries of the ACL log.

use crate::resp::{Args, Protocol};
use crate::server::Server;
use crate::server::client::{Client, ClientKind, ClientRef};
use crate::server::output::FIRST_REPLY_BUFFER_BYTES;

impl Server {
    /// Adds the line of one client, without a line end; nothing when it has gone. `running` are the
    /// arguments of its command if it runs now: its `argv-mem`.
    pub fn describe_client(&self, reference: ClientRef, running: Option<Args<'_>>, text: &mut Vec<u8>) {
        let Some(client) = self.clients.get(reference) else { return };
        let mut field = |name: &str, value: &dyn AsRef<[u8]>| {
            if !text.is_empty() && text.last() != Some(&b'\n') {
                text.push(b' ');
            }
            text.extend_from_slice(name.as_bytes());
            text.push(b'=');
            text.extend_from_slice(value.as_ref());
        };
        let (id, descriptor) = (client.reference.id.to_string(), client.descriptor.to_string());
        field("id", &id);
        field("addr", &client.address);
        field("laddr", &client.local_address);
        field("fd", &descriptor);
        field("name", &client.name);
        self.describe_state(client, &mut field);
        let running_bytes = running.map_or(0, |args| args.total_bytes());
        let stream_bytes = self.unsent_stream_bytes(client) as usize;
        for (name, value) in memory_fields(client, running_bytes, stream_bytes) {
            field(name, &value.to_string());
        }
        field("events", if client.kind == ClientKind::Fake { &"" } else { &"r" });
        let command = client.last_command.map(|id| self.commands.all()[id as usize].full_name());
        field("cmd", &command.unwrap_or_else(|| "NULL".into()));
        field("user", &self.user_name(client));
        field(
            "redir",
            &client.tracking.as_ref().map_or("-1".into(), |tracking| tracking.redirect.to_string()),
        );
        field("resp", if client.protocol == Protocol::Resp3 { &"3" } else { &"2" });
        field("lib-name", &client.library_name);
        field("lib-ver", &client.library_version);
    }

    /// The line of a client that runs no command, as text for the log.
    pub fn client_line(&self, reference: ClientRef) -> String {
        let mut line = Vec::new();
        self.describe_client(reference, None, &mut line);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// From `age` to `multi`.
    fn describe_state(&self, client: &Client, mut field: impl FnMut(&str, &dyn AsRef<[u8]>)) {
        let now_ms = self.clock.monotonic_ms();
        let seconds_since = |then_ms: u64| now_ms.saturating_sub(then_ms) / 1000;
        field("age", &seconds_since(client.created_ms).to_string());
        field("idle", &seconds_since(client.last_interaction_ms).to_string());
        field("flags", &flags(client));
        field("db", &client.db.to_string());
        field("sub", &client.channels.len().to_string());
        field("psub", &client.patterns.len().to_string());
        field("ssub", &client.shard_channels.len().to_string());
        let queued = client.transaction.as_ref().map(|queued| queued.queue.len().to_string());
        field("multi", &queued.unwrap_or_else(|| "-1".into()));
    }
}

/// From `qbuf` to `tot-mem`, bytes (`oll`: blocks). `running_bytes`: arguments of its running command;
/// `stream_bytes`: what a replica still has to get.
fn memory_fields(client: &Client, running_bytes: usize, stream_bytes: usize) -> [(&'static str, usize); 10] {
    let queued = client.output.queued_bytes();
    let beyond = queued + stream_bytes;
    let reply_buffer = client.output.reply_buffer_bytes();
    [
        ("qbuf", client.query_bytes),
        ("qbuf-free", client.query_free_bytes),
        ("argv-mem", client.kept_argument_bytes() + running_bytes),
        ("multi-mem", client.multi_bytes()),
        ("rbs", reply_buffer),
        ("rbp", reply_buffer),
        ("obl", client.output.pending_bytes() - queued),
        ("oll", beyond.div_ceil(FIRST_REPLY_BUFFER_BYTES)),
        ("omem", beyond),
        ("tot-mem", client.memory_bytes() + running_bytes + stream_bytes),
    ]
}

/// One letter for each state; `N` for none.
fn flags(client: &Client) -> String {
    let replica = client.kind == ClientKind::Replica;
    let tracking = client.tracking.as_deref();
    let states = [
        ('O', client.monitor),
        ('S', replica && !client.monitor),
        ('M', client.kind == ClientKind::Primary),
        ('P', client.subscriptions() > 0),
        ('x', client.transaction.is_some()),
        ('b', client.is_blocked()),
        ('t', tracking.is_some()),
        ('R', tracking.is_some_and(|tracking| tracking.broken_redirect)),
        ('B', tracking.is_some_and(|tracking| tracking.broadcast)),
        ('d', client.watch_dirty),
        ('c', client.close_after_reply),
        ('A', client.close_now),
        ('U', client.unix_socket),
        ('e', client.no_evict),
        ('T', client.no_touch),
    ];
    let letters: String = states.iter().filter(|(_, on)| *on).map(|(letter, _)| *letter).collect();
    if letters.is_empty() { "N".into() } else { letters }
}
