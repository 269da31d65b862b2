//! Publish and subscribe: channels, patterns, shard channels.
//!
//! Confirmations are written into the reply at the place where the command stands, also inside
//! EXEC; messages to oneself follow the reply (`Server::send_to`). With `CLIENT REPLY OFF` replies
//! are dropped but confirmations and messages are not.

use super::help;
use crate::base::glob;
use crate::resp::{Args, Reply};
use crate::server::client::{Client, ReplyMode};
use crate::server::error::CommandResult;
use crate::server::pubsub::{self, Subscribers};
use crate::server::spec::{ChannelArguments, Group, KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};

const SUBSCRIBING: u32 = flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SUBSCRIBE_MODE;
const PUBLISHING: u32 = flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST | flag::MAY_REPLICATE;
const LOOKING: u32 = flag::PUBSUB | flag::LOADING | flag::STALE;
const SHARD_KEYS: &[KeySpec] = &[KeySpec::rest(1, key_flag::NOT_KEY)];

const ROW: CommandSpec = CommandSpec { group: Group::PubSub, since: "2.0.0", ..CommandSpec::DEFAULT };

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "subscribe",
        arity: -2,
        channels: ChannelArguments::All,
        flags: SUBSCRIBING,
        complexity: "O(N), N: channels",
        summary: "Listens to channels.",
        handler: |ctx, args| subscribe(ctx, args, Kind::Channel),
        ..ROW
    },
    CommandSpec {
        name: "psubscribe",
        arity: -2,
        channels: ChannelArguments::AllPatterns,
        flags: SUBSCRIBING,
        complexity: "O(N), N: patterns",
        summary: "Listens to all channels that match one of the patterns.",
        handler: |ctx, args| subscribe(ctx, args, Kind::Pattern),
        ..ROW
    },
    CommandSpec {
        name: "ssubscribe",
        arity: -2,
        channels: ChannelArguments::All,
        flags: SUBSCRIBING,
        since: "7.0.0",
        complexity: "O(N), N: shard channels",
        summary: "Listens to shard channels.",
        keys: SHARD_KEYS,
        handler: |ctx, args| subscribe(ctx, args, Kind::Shard),
        ..ROW
    },
    CommandSpec {
        name: "unsubscribe",
        arity: -1,
        flags: SUBSCRIBING,
        complexity: "O(N), N: channels",
        summary: "Stops listening to the given channels, or to all.",
        handler: |ctx, args| unsubscribe(ctx, args, Kind::Channel),
        ..ROW
    },
    CommandSpec {
        name: "punsubscribe",
        arity: -1,
        flags: SUBSCRIBING,
        complexity: "O(N), N: patterns",
        summary: "Stops listening to the given patterns, or to all.",
        handler: |ctx, args| unsubscribe(ctx, args, Kind::Pattern),
        ..ROW
    },
    CommandSpec {
        name: "sunsubscribe",
        arity: -1,
        flags: SUBSCRIBING,
        since: "7.0.0",
        complexity: "O(N), N: shard channels",
        summary: "Stops listening to the given shard channels, or to all.",
        keys: SHARD_KEYS,
        handler: |ctx, args| unsubscribe(ctx, args, Kind::Shard),
        ..ROW
    },
    CommandSpec {
        name: "publish",
        arity: 3,
        channels: ChannelArguments::First,
        flags: PUBLISHING,
        complexity: "O(N+M), N: subscribers of the channel, M: patterns of all clients",
        summary: "Sends a message to all who listen to a channel.",
        handler: publish,
        ..ROW
    },
    CommandSpec {
        name: "spublish",
        arity: 3,
        channels: ChannelArguments::First,
        flags: PUBLISHING,
        since: "7.0.0",
        complexity: "O(N), N: subscribers of the shard channel",
        summary: "Sends a message to all who listen to a shard channel.",
        keys: &[KeySpec::one(1, key_flag::NOT_KEY)],
        handler: publish_shard,
        ..ROW
    },
    CommandSpec {
        name: "pubsub",
        arity: -2,
        since: "2.8.0",
        complexity: "that of the subcommand",
        summary: "Shows who listens to what.",
        subcommands: PUBSUB,
        ..ROW
    },
];

const PUBSUB: &[CommandSpec] = &[
    CommandSpec {
        name: "channels",
        arity: -2,
        flags: LOOKING,
        since: "2.8.0",
        complexity: "O(N), N: channels with listeners",
        summary: "The channels with listeners, all or those that match a pattern.",
        handler: |ctx, args| channels(ctx, args, |server| &server.pubsub.channels),
        ..ROW
    },
    CommandSpec {
        name: "numsub",
        arity: -2,
        flags: LOOKING,
        since: "2.8.0",
        complexity: "O(N), N: channels asked for",
        summary: "How many listen to each of the channels.",
        handler: |ctx, args| listeners(ctx, args, |server| &server.pubsub.channels),
        ..ROW
    },
    CommandSpec {
        name: "numpat",
        arity: 2,
        flags: LOOKING,
        since: "2.8.0",
        summary: "How many different patterns are listened to.",
        handler: patterns,
        ..ROW
    },
    CommandSpec {
        name: "shardchannels",
        arity: -2,
        flags: LOOKING,
        since: "7.0.0",
        complexity: "O(N), N: shard channels with listeners",
        summary: "The shard channels with listeners.",
        handler: |ctx, args| channels(ctx, args, |server| &server.pubsub.shard_channels),
        ..ROW
    },
    CommandSpec {
        name: "shardnumsub",
        arity: -2,
        flags: LOOKING,
        since: "7.0.0",
        complexity: "O(N), N: shard channels asked for",
        summary: "How many listen to each of the shard channels.",
        handler: |ctx, args| listeners(ctx, args, |server| &server.pubsub.shard_channels),
        ..ROW
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        since: "6.2.0",
        summary: "The subcommands.",
        handler: show_help,
        ..ROW
    },
];

/// The three things one can listen to, each with a table of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Channel,
    Pattern,
    Shard,
}

impl Kind {
    fn table(self, server: &mut Server) -> &mut Subscribers {
        match self {
            Kind::Channel => &mut server.pubsub.channels,
            Kind::Pattern => &mut server.pubsub.patterns,
            Kind::Shard => &mut server.pubsub.shard_channels,
        }
    }

    fn names(self, client: &mut Client) -> &mut std::collections::HashSet<Box<[u8]>> {
        match self {
            Kind::Channel => &mut client.channels,
            Kind::Pattern => &mut client.patterns,
            Kind::Shard => &mut client.shard_channels,
        }
    }

    /// The count that confirmations carry: shard channels are counted apart.
    fn count(self, client: &Client) -> usize {
        match self {
            Kind::Channel | Kind::Pattern => client.channels.len() + client.patterns.len(),
            Kind::Shard => client.shard_channels.len(),
        }
    }

    fn subscribed(self) -> &'static [u8] {
        match self {
            Kind::Channel => b"subscribe",
            Kind::Pattern => b"psubscribe",
            Kind::Shard => b"ssubscribe",
        }
    }

    fn unsubscribed(self) -> &'static [u8] {
        match self {
            Kind::Channel => b"unsubscribe",
            Kind::Pattern => b"punsubscribe",
            Kind::Shard => b"sunsubscribe",
        }
    }
}

fn subscribe(ctx: &mut Ctx<'_>, args: Args<'_>, kind: Kind) -> CommandResult {
    let reference = ctx.client;
    for name in args.tail(1).iter() {
        if kind.names(ctx.client_mut()).insert(name.into()) {
            pubsub::subscribe(kind.table(ctx.server), name, reference);
        }
        confirm(ctx, kind, kind.subscribed(), Some(name));
    }
    Ok(())
}

fn unsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>, kind: Kind) -> CommandResult {
    let all: Vec<Box<[u8]>>;
    let names: Vec<&[u8]> = if args.len() > 1 {
        args.tail(1).iter().collect()
    } else {
        all = kind.names(ctx.client_mut()).iter().cloned().collect();
        all.iter().map(|name| name.as_ref()).collect()
    };
    let reference = ctx.client;
    for name in &names {
        if kind.names(ctx.client_mut()).remove(*name) {
            pubsub::unsubscribe(kind.table(ctx.server), name, reference);
        }
        confirm(ctx, kind, kind.unsubscribed(), Some(name));
    }
    if names.is_empty() {
        confirm(ctx, kind, kind.unsubscribed(), None);
    }
    Ok(())
}

/// One confirmation, at its place in the reply; behind it when replies are switched off.
fn confirm(ctx: &mut Ctx<'_>, kind: Kind, verb: &[u8], name: Option<&[u8]>) {
    let (count, mode) = (kind.count(ctx.client()), ctx.client().reply_mode);
    if mode == ReplyMode::On {
        write_confirmation(ctx.out, verb, name, count);
        return;
    }
    let mut out = Reply::new(ctx.out.protocol);
    write_confirmation(&mut out, verb, name, count);
    ctx.server.call.deferred_pushes.append(&mut out.buffer);
}

fn write_confirmation(out: &mut Reply, verb: &[u8], name: Option<&[u8]>, count: usize) {
    out.push(3);
    out.bulk(verb);
    match name {
        Some(name) => out.bulk(name),
        None => out.null(),
    }
    out.integer(count as i64);
}

fn publish(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let receivers = ctx.server.publish(args.at(1), args.at(2));
    ctx.server.propagate_to_replicas(ctx.db, args);
    ctx.out.integer(receivers as i64);
    Ok(())
}

fn publish_shard(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let receivers = ctx.server.publish_shard(args.at(1), args.at(2));
    ctx.server.propagate_to_replicas(ctx.db, args);
    ctx.out.integer(receivers as i64);
    Ok(())
}

fn channels(ctx: &mut Ctx<'_>, args: Args<'_>, table: fn(&Server) -> &Subscribers) -> CommandResult {
    if args.len() > 3 {
        return Err(crate::server::error::wrong_subcommand_syntax(args.at(1), "pubsub"));
    }
    let fits =
        |name: &[u8]| args.get(2).is_none_or(|pattern| glob::matches(pattern, name, glob::Case::Sensitive));
    let mark = ctx.out.begin_deferred();
    let mut count = 0;
    for name in table(ctx.server).keys().filter(|name| fits(name)) {
        ctx.out.bulk(name);
        count += 1;
    }
    ctx.out.end_deferred_array(mark, count);
    Ok(())
}

fn listeners(ctx: &mut Ctx<'_>, args: Args<'_>, table: fn(&Server) -> &Subscribers) -> CommandResult {
    let names = args.tail(2);
    ctx.out.array(names.len() * 2);
    for name in names.iter() {
        ctx.out.bulk(name);
        ctx.out.integer(table(ctx.server).get(name).map_or(0, Vec::len) as i64);
    }
    Ok(())
}

fn patterns(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.integer(ctx.server.pubsub.patterns.len() as i64);
    Ok(())
}

fn show_help(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    const LINES: &[&str] = &[
        "CHANNELS [<pattern>]",
        "    Channels that somebody listens to; with a pattern, those that match.",
        "NUMPAT",
        "    How many different patterns are listened to.",
        "NUMSUB [<channel> ...]",
        "    For each channel, how many listen to it (patterns not counted).",
        "SHARDCHANNELS [<pattern>]",
        "    As CHANNELS, for shard channels.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    As NUMSUB, for shard channels.",
    ];
    help::write(ctx.out, "PUBSUB", LINES);
    Ok(())
}
