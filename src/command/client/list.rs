//! CLIENT ID, INFO, LIST; the line that describes a client, with the fields of Redis 7.2 in order.

use super::ClientType;
use crate::base::numbers::parse_i64;
use crate::resp::{Args, Protocol};
use crate::server::client::{Client, ClientKind, ClientRef};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::{Ctx, Server};

/// Size of Redis's first, fixed reply buffer, bytes: what `obl` counts; the rest is `oll`, `omem`.
const FIRST_REPLY_BUFFER_BYTES: usize = 16 * 1024;

pub(super) fn id(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.integer(ctx.client.id as i64);
    Ok(())
}

pub(super) fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut text = Vec::new();
    add_line(ctx, args, ctx.client, &mut text);
    ctx.out.verbatim("txt", &text);
    Ok(())
}

pub(super) fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let option = args.get(2).unwrap_or_default();
    let wanted = if args.len() == 4 && option.eq_ignore_ascii_case(b"type") {
        of_type(ctx.server, Some(ClientType::parse(args.at(3))?))
    } else if args.len() > 3 && option.eq_ignore_ascii_case(b"id") {
        with_ids(ctx.server, args.tail(3))?
    } else if args.len() == 2 {
        of_type(ctx.server, None)
    } else {
        return Err(error::SYNTAX);
    };
    let mut text = Vec::new();
    for client in wanted {
        add_line(ctx, args, client, &mut text);
    }
    ctx.out.verbatim("txt", &text);
    Ok(())
}

fn of_type(server: &Server, kind: Option<ClientType>) -> Vec<ClientRef> {
    let fits = |reference: &ClientRef| {
        let client = server.clients.get(*reference).filter(|client| client.kind != ClientKind::Fake);
        client.is_some_and(|client| kind.is_none_or(|kind| ClientType::of(client) == kind))
    };
    server.clients.references().into_iter().filter(fits).collect()
}

fn with_ids(server: &Server, ids: Args<'_>) -> Result<Vec<ClientRef>, ReplyError> {
    let mut wanted = Vec::new();
    for id in ids.iter() {
        let id = parse_i64(id).ok_or_else(|| ReplyError::err("Invalid client ID"))?;
        wanted.extend(u64::try_from(id).ok().and_then(|id| server.clients.by_id(id)));
    }
    Ok(wanted)
}

/// Adds the line of one client. `args` are those of the command that runs: the caller's `argv-mem`.
fn add_line(ctx: &Ctx<'_>, args: Args<'_>, reference: ClientRef, text: &mut Vec<u8>) {
    let Some(client) = ctx.server.clients.get(reference) else { return };
    let now_ms = ctx.server.clock.monotonic_us() / 1000;
    let seconds_since = |then_ms: u64| now_ms.saturating_sub(then_ms) / 1000;
    let mut field = |name: &str, value: &dyn AsRef<[u8]>| {
        if !text.is_empty() && text.last() != Some(&b'\n') {
            text.push(b' ');
        }
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_ref());
    };
    field("id", &client.reference.id.to_string());
    field("addr", &client.address);
    field("laddr", &client.local_address);
    field("fd", &client.descriptor.to_string());
    field("name", &client.name);
    field("age", &seconds_since(client.created_ms).to_string());
    field("idle", &seconds_since(client.last_interaction_ms).to_string());
    field("flags", &flags(client));
    field("db", &client.db.to_string());
    field("sub", &client.channels.len().to_string());
    field("psub", &client.patterns.len().to_string());
    field("ssub", &client.shard_channels.len().to_string());
    field("multi", &client.transaction.as_ref().map_or("-1".into(), |queued| queued.queue.len().to_string()));
    let argument_bytes =
        if reference == ctx.client { args.total_bytes() } else { kept_argument_bytes(client) };
    for (name, value) in memory_fields(client, argument_bytes) {
        field(name, &value.to_string());
    }
    field("events", if client.kind == ClientKind::Fake { &"" } else { &"r" });
    let command = client.last_command.map(|id| ctx.server.commands.all()[id as usize].full_name());
    field("cmd", &command.unwrap_or_else(|| "NULL".into()));
    field("user", &"default");
    field("redir", &"-1");
    field("resp", if client.protocol == Protocol::Resp3 { &"3" } else { &"2" });
    field("lib-name", &client.library_name);
    field("lib-ver", &client.library_version);
    text.push(b'\n');
}

fn kept_argument_bytes(client: &Client) -> usize {
    client.pending_args_bytes
        + client.blocked.as_ref().map_or(0, |blocked| blocked.args.as_args().total_bytes())
}

/// From `qbuf` to `tot-mem`, bytes (`oll`: blocks).
fn memory_fields(client: &Client, argument_bytes: usize) -> [(&'static str, usize); 10] {
    let pending = client.output.pending_bytes();
    let beyond = pending.saturating_sub(FIRST_REPLY_BUFFER_BYTES);
    let reply_buffer = client.output.memory_bytes().max(FIRST_REPLY_BUFFER_BYTES);
    let query = client.query_bytes + client.query_free_bytes;
    let total = size_of::<Client>() + query + argument_bytes + client.multi_bytes + reply_buffer + beyond;
    [
        ("qbuf", client.query_bytes),
        ("qbuf-free", client.query_free_bytes),
        ("argv-mem", argument_bytes),
        ("multi-mem", client.multi_bytes),
        ("rbs", reply_buffer),
        ("rbp", reply_buffer),
        ("obl", pending - beyond),
        ("oll", beyond.div_ceil(FIRST_REPLY_BUFFER_BYTES)),
        ("omem", beyond),
        ("tot-mem", total),
    ]
}

/// One letter for each state; `N` for none.
fn flags(client: &Client) -> String {
    let replica = client.kind == ClientKind::Replica;
    let states = [
        ('O', replica && client.monitor),
        ('S', replica && !client.monitor),
        ('M', client.kind == ClientKind::Primary),
        ('P', client.subscriptions() > 0),
        ('x', client.transaction.is_some()),
        ('b', client.is_blocked()),
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
