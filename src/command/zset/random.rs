//! ZRANDMEMBER.

use std::collections::HashSet;

use crate::command::arg;
use crate::command::batch::{close_if_too_long, drawn_bytes_max};
use crate::command::zset::{READ_ROW, begin_members, put_element, put_entry};
use crate::resp::{Args, Reply};
use crate::server::error::{self, CommandResult};
use crate::server::{CommandSpec, Ctx};
use crate::value::{ZsetRef, ZsetValue};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "zrandmember",
    arity: -2,
    since: "6.2.0",
    complexity: "O(N), N being the number of members given.",
    summary: "Gives random members of a sorted set.",
    tips: &["nondeterministic_output"],
    handler: zrandmember,
    ..READ_ROW
}];

/// When more than one in so many members is wanted, all ranks are shuffled instead of drawn.
const SHUFFLE_SHARE: usize = 3;

fn zrandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let Some(count) = args.get(2) else {
        return one_member(ctx, args.at(1));
    };
    let count = arg::integer_in(count, -i64::MAX, i64::MAX)?;
    if args.len() > 4 || args.get(3).is_some_and(|word| !arg::is(word, "withscores")) {
        return Err(error::SYNTAX);
    }
    let with_scores = args.len() == 4;
    if with_scores && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(error::OUT_OF_RANGE);
    }
    many_members(ctx, args.at(1), count, with_scores)
}

fn one_member(ctx: &mut Ctx<'_>, key: &[u8]) -> CommandResult {
    let random = ctx.server.rng.next_u64();
    let Some(zset) = ctx.server.read_as::<ZsetValue>(ctx.db, key)? else {
        ctx.out.null();
        return Ok(());
    };
    // A remainder of 64 random bits is off by less than the size in 2^64.
    let rank = (random % zset.len().max(1) as u64) as usize;
    match zset.range(rank, rank + 1, false).next() {
        Some((_, member)) => put_element(ctx.out, member),
        None => ctx.out.null(),
    }
    Ok(())
}

fn many_members(ctx: &mut Ctx<'_>, key: &[u8], count: i64, with_scores: bool) -> CommandResult {
    let mut generator = fastrand::Rng::with_seed(ctx.server.rng.next_u64());
    let max_bytes = drawn_bytes_max(ctx);
    let zset = ctx.server.read_as::<ZsetValue>(ctx.db, key)?;
    let Some(zset) = zset.filter(|_| count != 0) else {
        ctx.out.array(0);
        return Ok(());
    };
    let (len, wanted) = (zset.len(), count.unsigned_abs() as usize);
    if count > 0 && wanted >= len {
        begin_members(ctx.out, len, with_scores);
        for (score, member) in zset.range(0, len, true) {
            put_entry(ctx.out, score, member, with_scores);
        }
        return Ok(());
    }
    begin_members(ctx.out, wanted, with_scores);
    if count < 0 {
        for _ in 0..wanted {
            put_ranked(ctx.out, zset, generator.usize(..len), with_scores);
            if ctx.out.len() >= max_bytes {
                break;
            }
        }
        close_if_too_long(ctx);
    } else {
        for rank in distinct_ranks(len, wanted, &mut generator) {
            put_ranked(ctx.out, zset, rank, with_scores);
        }
    }
    Ok(())
}

/// Writes the member at a rank.
fn put_ranked(out: &mut Reply, zset: ZsetRef<'_>, rank: usize, with_scores: bool) {
    if let Some((score, member)) = zset.range(rank, rank + 1, false).next() {
        put_entry(out, score, member, with_scores);
    }
}

/// `wanted` different numbers below `len`, in random order.
fn distinct_ranks(len: usize, wanted: usize, generator: &mut fastrand::Rng) -> Vec<usize> {
    if wanted * SHUFFLE_SHARE > len {
        let mut ranks: Vec<usize> = (0..len).collect();
        for place in 0..wanted {
            ranks.swap(place, generator.usize(place..len));
        }
        ranks.truncate(wanted);
        return ranks;
    }
    let (mut ranks, mut seen) = (Vec::with_capacity(wanted), HashSet::with_capacity(wanted));
    while ranks.len() < wanted {
        let rank = generator.usize(..len);
        if seen.insert(rank) {
            ranks.push(rank);
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::distinct_ranks;
    use std::collections::HashSet;

    #[test]
    fn ranks_differ_and_all_come_up() {
        let mut generator = fastrand::Rng::with_seed(1);
        for (len, wanted) in [(10, 9), (10, 4), (10, 3), (1000, 20), (2, 1)] {
            let mut all = HashSet::new();
            for _ in 0..400 {
                let ranks = distinct_ranks(len, wanted, &mut generator);
                let distinct: HashSet<_> = ranks.iter().copied().collect();
                assert_eq!((ranks.len(), distinct.len()), (wanted, wanted));
                all.extend(distinct);
            }
            assert!(all.len() == len && all.iter().all(|rank| *rank < len));
        }
    }
}
