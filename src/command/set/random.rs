//! SPOP and SRANDMEMBER: members that chance names.
//!
//! What SPOP removed is known only afterwards, so the stream gets SREM with those members (of at
//! most 1024 each), or DEL when the whole set went. They are read back from the reply.

use super::read::reply_all;
use super::{READ, WRITE, limits, put_element};
use crate::command::arg;
use crate::command::batch::{close_if_too_long, drawn_bytes_max};
use crate::ds::element::Element;
use crate::resp::{Args, Reply};
use crate::server::config::NotifyFlags;
use crate::server::error::{self, CommandResult};
use crate::server::spec::{KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};
use crate::value::SetValue;
use std::ops::Range;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "spop",
        arity: -2,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::ACCESS | key_flag::DELETE)],
        complexity: "O(N) where N is the number of members taken.",
        summary: "Takes random members out of a set; an empty one is deleted.",
        tips: &["nondeterministic_output"],
        handler: spop,
        ..WRITE
    },
    CommandSpec {
        name: "srandmember",
        arity: -2,
        flags: flag::READONLY,
        complexity: "O(N) where N is the absolute value of the count.",
        summary: "Gives random members of a set.",
        tips: &["nondeterministic_output"],
        handler: srandmember,
        ..READ
    },
];

/// Members in one SREM of the stream.
const MEMBERS_PER_SREM: usize = 1024;

fn spop(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    match args.len() {
        2 => spop_one(ctx, args.at(1)),
        3 => spop_many(ctx, args),
        _ => Err(error::SYNTAX),
    }
}

fn spop_one(ctx: &mut Ctx<'_>, key: &[u8]) -> CommandResult {
    // The guard borrows the server, its generator included.
    let mut rng = ctx.server.rng.clone();
    let (db, server, out) = (ctx.db, &mut *ctx.server, &mut *ctx.out);
    let Some(mut set) = server.edit::<SetValue>(db, key)? else {
        out.null();
        return Ok(());
    };
    let popped = set.pop(&mut rng, |member| reply_and_locate(out, member));
    let emptied = set.is_empty();
    drop(set);
    server.rng = rng;
    let popped = popped.expect("a set in the keyspace has a member");
    server.notify(NotifyFlags::SET, "spop", db, key);
    server.propagate_instead(db, &[b"SREM", key, &out.buffer[popped]]);
    if emptied {
        server.remove_emptied(db, key);
    }
    server.key_changed(db, key);
    Ok(())
}

/// Answers with a member and says where in the reply it stands.
#[inline]
fn reply_and_locate(out: &mut Reply, member: Element<'_>) -> Range<usize> {
    put_element(out, member);
    let end = out.len() - 2;
    end - member.text_len()..end
}

fn spop_many(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let count = arg::integer_or(args.at(2), error::MUST_BE_POSITIVE)?;
    let count = usize::try_from(count).map_err(|_| error::MUST_BE_POSITIVE)?;
    let key = args.at(1);
    let Some(set) = ctx.server.find_as::<SetValue>(ctx.db, key)? else {
        ctx.out.set(0);
        return Ok(());
    };
    let len = set.len();
    if count == 0 {
        ctx.out.set(0);
        return Ok(());
    }
    ctx.server.notify(NotifyFlags::SET, "spop", ctx.db, key);
    if count >= len {
        return spop_all(ctx, key);
    }
    let popped = pop_and_reply(ctx, key, count)?;
    propagate_popped(ctx.server, ctx.db, key, &ctx.out.buffer, &popped);
    ctx.server.key_changed_by(ctx.db, key, count);
    Ok(())
}

/// The whole set goes.
fn spop_all(ctx: &mut Ctx<'_>, key: &[u8]) -> CommandResult {
    let (db, server) = (ctx.db, &mut *ctx.server);
    let mut len = 0;
    if let Some(set) = server.find_as::<SetValue>(db, key)? {
        len = set.len();
        reply_all(ctx.out, set);
    }
    server.remove_emptied(db, key);
    let verb: &[u8] = if server.config.lazyfree_lazy_server_del { b"UNLINK" } else { b"DEL" };
    server.propagate_instead(db, &[verb, key]);
    server.key_changed_by(db, key, len);
    Ok(())
}

/// Pops `count` members, fewer than there are. Where they stand in the reply is kept only if the
/// stream is wanted.
fn pop_and_reply(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    count: usize,
) -> Result<Vec<Range<usize>>, error::ReplyError> {
    let limits = limits(ctx.server);
    let wanted = ctx.server.propagation.wanted;
    let mut rng = ctx.server.rng.clone();
    let out = &mut *ctx.out;
    let mut popped = Vec::new();
    out.set(count);
    if let Some(mut set) = ctx.server.edit::<SetValue>(ctx.db, key)? {
        set.pop_many(count, &mut rng, &limits, |member| {
            let place = reply_and_locate(out, member);
            if wanted {
                popped.push(place);
            }
        });
    }
    ctx.server.rng = rng;
    Ok(popped)
}

fn propagate_popped(server: &mut Server, db: usize, key: &[u8], reply: &[u8], popped: &[Range<usize>]) {
    server.call.propagated = true;
    for members in popped.chunks(MEMBERS_PER_SREM) {
        let mut command: Vec<&[u8]> = vec![b"SREM", key];
        command.extend(members.iter().map(|place| &reply[place.clone()]));
        server.propagate_instead(db, &command);
    }
}

fn srandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    match args.len() {
        2 => srandmember_one(ctx, args.at(1)),
        3 => srandmember_many(ctx, args),
        _ => Err(error::SYNTAX),
    }
}

fn srandmember_one(ctx: &mut Ctx<'_>, key: &[u8]) -> CommandResult {
    let mut rng = ctx.server.rng.clone();
    match ctx.server.read_as::<SetValue>(ctx.db, key)?.and_then(|set| set.random(&mut rng)) {
        Some(member) => put_element(ctx.out, member),
        None => ctx.out.null(),
    }
    ctx.server.rng = rng;
    Ok(())
}

/// A negative count asks for that many draws, in which members may repeat.
fn srandmember_many(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let count = arg::integer_in(args.at(2), -i64::MAX, i64::MAX)?;
    let mut rng = ctx.server.rng.clone();
    let max_bytes = drawn_bytes_max(ctx);
    let out = &mut *ctx.out;
    let set = ctx.server.read_as::<SetValue>(ctx.db, args.at(1))?;
    match set.filter(|_| count != 0) {
        None => out.array(0),
        Some(set) if count < 0 => {
            out.array(count.unsigned_abs() as usize);
            set.sample_repeating(count.unsigned_abs(), &mut rng, |member| {
                put_element(out, member);
                out.len() < max_bytes
            });
            close_if_too_long(ctx);
        }
        Some(set) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            out.array(count.min(set.len()));
            set.sample(count, &mut rng, |member| put_element(out, member));
        }
    }
    ctx.server.rng = rng;
    Ok(())
}
