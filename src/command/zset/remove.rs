//! ZREM and ZREMRANGEBYRANK, -BYSCORE, -BYLEX.

use std::ops::Range;

use crate::command::arg;
use crate::command::zset::members_removed;
use crate::command::zset::range::{member_range, ranks_between, score_range};
use crate::resp::Args;
use crate::server::error::CommandResult;
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::{ZsetRef, ZsetValue};

const ROW: CommandSpec = CommandSpec {
    arity: 4,
    flags: flag::WRITE,
    categories: category::SORTEDSET,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::DELETE)],
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)+M), N being the size of the sorted set and M the number of members removed.",
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zrem",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        complexity: "O(M*log(N)), N being the size of the sorted set and M the number of members to remove.",
        summary: "Removes members; the key goes with the last one.",
        handler: zrem,
        ..ROW
    },
    CommandSpec {
        name: "zremrangebyrank",
        since: "2.0.0",
        summary: "Removes the members at some places.",
        handler: zremrangebyrank,
        ..ROW
    },
    CommandSpec {
        name: "zremrangebyscore",
        summary: "Removes the members with scores in a range.",
        handler: zremrangebyscore,
        ..ROW
    },
    CommandSpec {
        name: "zremrangebylex",
        since: "2.8.9",
        summary: "Removes the members in a range of strings.",
        handler: zremrangebylex,
        ..ROW
    },
];

fn zrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Some(mut zset) = ctx.server.edit::<ZsetValue>(ctx.db, args.at(1))? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let mut removed = 0;
    for member in args.tail(2).iter() {
        removed += usize::from(zset.remove(member));
        if zset.is_empty() {
            break;
        }
    }
    let emptied = zset.is_empty();
    drop(zset);
    if removed > 0 {
        members_removed(ctx, args.at(1), removed, emptied, "zrem");
    }
    ctx.out.integer(removed as i64);
    Ok(())
}

fn zremrangebyrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let (start, stop) = (arg::integer(args.at(2))?, arg::integer(args.at(3))?);
    let ranks = |zset: ZsetRef<'_>| ranks_between(start, stop, zset.len(), false);
    remove_ranks(ctx, args.at(1), ranks, "zremrangebyrank")
}

fn zremrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let range = score_range(args.at(2), args.at(3))?;
    remove_ranks(ctx, args.at(1), |zset| zset.score_ranks(&range), "zremrangebyscore")
}

fn zremrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let range = member_range(args.at(2), args.at(3))?;
    remove_ranks(ctx, args.at(1), |zset| zset.member_ranks(&range), "zremrangebylex")
}

fn remove_ranks(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    ranks: impl FnOnce(ZsetRef<'_>) -> Range<usize>,
    event: &str,
) -> CommandResult {
    let Some(mut zset) = ctx.server.edit::<ZsetValue>(ctx.db, key)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let ranks = ranks(zset.as_ref());
    let removed = ranks.len();
    zset.remove_range(ranks);
    let emptied = zset.is_empty();
    drop(zset);
    if removed > 0 {
        members_removed(ctx, key, removed, emptied, event);
    }
    ctx.out.integer(removed as i64);
    Ok(())
}
