//! DEL, UNLINK, EXISTS, TOUCH, TYPE, RANDOMKEY, DBSIZE.

use crate::command::batch;
use crate::keyspace::{ExpireRule, Touch};
use crate::resp::Args;
use crate::server::config::NotifyFlags;
use crate::server::error::CommandResult;
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};

const READ: CommandSpec = CommandSpec {
    flags: flag::READONLY | flag::FAST,
    categories: category::KEYSPACE,
    group: Group::Generic,
    ..CommandSpec::DEFAULT
};

const DELETE: CommandSpec = CommandSpec {
    arity: -2,
    categories: category::KEYSPACE,
    keys: &[KeySpec::rest(1, key_flag::RM | key_flag::DELETE)],
    group: Group::Generic,
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "del",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        flags: flag::WRITE,
        complexity: "O(N) where N is the number of keys, and O(M) for each collection of M elements.",
        summary: "Deletes keys.",
        handler: del,
        ..DELETE
    },
    CommandSpec {
        name: "unlink",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        flags: flag::WRITE | flag::FAST,
        since: "4.0.0",
        complexity: "O(1) for each key; what a key held is freed by another thread.",
        summary: "Deletes keys and frees their values in the background.",
        handler: unlink,
        ..DELETE
    },
    CommandSpec {
        name: "exists",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        arity: -2,
        keys: &[KeySpec::rest(1, key_flag::RO)],
        complexity: "O(N) where N is the number of keys.",
        summary: "Counts which of the keys exist.",
        handler: exists,
        ..READ
    },
    CommandSpec {
        name: "touch",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        arity: -2,
        keys: &[KeySpec::rest(1, key_flag::RO)],
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys.",
        summary: "Counts which of the keys exist, and marks them as used now.",
        handler: touch,
        ..READ
    },
    CommandSpec {
        name: "type",
        arity: 2,
        keys: &[KeySpec::one(1, key_flag::RO)],
        summary: "Names the type of a key's value.",
        handler: type_of,
        ..READ
    },
    CommandSpec {
        name: "randomkey",
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        flags: flag::READONLY | flag::TOUCHES_ARBITRARY_KEYS,
        summary: "Gives the name of a random key.",
        handler: randomkey,
        ..READ
    },
    CommandSpec {
        name: "dbsize",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        group: Group::Server,
        summary: "Gives the number of keys in the database.",
        handler: dbsize,
        ..READ
    },
];

fn del(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let lazily = ctx.server.config.lazyfree_lazy_user_del;
    delete(ctx, args, lazily)
}

fn unlink(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    delete(ctx, args, true)
}

fn delete(ctx: &mut Ctx<'_>, args: Args<'_>, lazily: bool) -> CommandResult {
    let db = ctx.db;
    let mut count = 0;
    batch::each_key(ctx.server, db, args.tail(1), 1, |server, _, key| {
        count += delete_key(server, db, key, lazily) as i64;
    });
    ctx.out.integer(count);
    Ok(())
}

/// Deletes a living key as DEL does, with all that follows. Returns whether it was there; a key
/// whose time had passed was not.
pub fn delete_key(server: &mut Server, db: usize, key: &[u8], lazily: bool) -> bool {
    if server.keyspace.db(db).volatile_len() > 0 && !server.exists(db, key) {
        return false;
    }
    if !server.remove_key(db, key, lazily) {
        return false;
    }
    server.key_changed(db, key);
    server.notify(NotifyFlags::GENERIC, "del", db, key);
    true
}

fn exists(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let db = ctx.db;
    let mut count = 0;
    batch::each_key(ctx.server, db, args.tail(1), 1, |server, _, key| {
        count += server.read_untouched(db, key).is_some() as i64;
    });
    ctx.out.integer(count);
    Ok(())
}

fn touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    // Even for a client that has asked not to touch: this is what the command is for.
    ctx.server.call.touch = Touch::Yes;
    let db = ctx.db;
    let mut count = 0;
    batch::each_key(ctx.server, db, args.tail(1), 1, |server, _, key| {
        count += server.read(db, key).is_some() as i64;
    });
    ctx.out.integer(count);
    Ok(())
}

fn type_of(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let found = ctx.server.read_untouched(ctx.db, args.at(1));
    ctx.out.simple(found.map_or("none", |view| view.value_type().name()));
    Ok(())
}

/// Tries to find a living key where expired ones may not be removed.
const RANDOM_TRIES: usize = 100;

fn randomkey(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    let db = ctx.db;
    let mut tries = 0;
    ctx.server.propagation.stay_plain();
    loop {
        let server = &mut *ctx.server;
        let Some(view) = server.keyspace.db(db).random(&mut server.rng) else {
            ctx.out.null();
            return Ok(());
        };
        let expired = view.expiry_ms().is_some_and(|expiry_ms| server.call.now_ms > expiry_ms);
        tries += 1;
        // Each round removes a key, so this ends, except where keys are only hidden.
        if !expired || (tries > RANDOM_TRIES && server.keyspace.expire_rule != ExpireRule::Remove) {
            ctx.out.bulk(view.key());
            return Ok(());
        }
        let key = view.key().to_vec();
        if ctx.server.exists(db, &key) {
            ctx.out.bulk(&key);
            return Ok(());
        }
    }
}

fn dbsize(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    ctx.out.integer(ctx.server.keyspace.db(ctx.db).len() as i64);
    Ok(())
}
