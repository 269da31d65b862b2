//! ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZCOUNT, ZLEXCOUNT, ZSCAN.

use crate::base::float::format_f64_17g;
use crate::command::arg;
use crate::command::key::scan::{ScanOptions, parse_cursor};
use crate::command::zset::range::{member_range, score_range};
use crate::command::zset::{LOOK_AHEAD_MEMBERS, LOOK_AHEAD_MIN, READ_ROW, put_element};
use crate::resp::{Args, Reply};
use crate::server::error::{self, CommandResult};
use crate::server::spec::{KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::set::with_text;
use crate::value::{ZsetRef, ZsetValue};

const ROW: CommandSpec = CommandSpec { flags: flag::READONLY | flag::FAST, since: "2.0.0", ..READ_ROW };

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zcard",
        arity: 2,
        keys: &[KeySpec::one(1, key_flag::RO)],
        since: "1.2.0",
        summary: "Gives the number of members of a sorted set.",
        handler: zcard,
        ..ROW
    },
    CommandSpec {
        name: "zscore",
        arity: 3,
        since: "1.2.0",
        summary: "Gives the score of a member.",
        handler: zscore,
        ..ROW
    },
    CommandSpec {
        name: "zmscore",
        arity: -3,
        since: "6.2.0",
        complexity: "O(N), N being the number of members asked for.",
        summary: "Gives the scores of several members.",
        handler: zmscore,
        ..ROW
    },
    CommandSpec {
        name: "zrank",
        arity: -3,
        complexity: "O(log(N))",
        summary: "Gives the place of a member, counted from the lowest score.",
        handler: zrank,
        ..ROW
    },
    CommandSpec {
        name: "zrevrank",
        arity: -3,
        complexity: "O(log(N))",
        summary: "Gives the place of a member, counted from the highest score.",
        handler: zrevrank,
        ..ROW
    },
    CommandSpec {
        name: "zcount",
        arity: 4,
        complexity: "O(log(N)), N being the size of the sorted set.",
        summary: "Counts the members with scores in a range.",
        handler: zcount,
        ..ROW
    },
    CommandSpec {
        name: "zlexcount",
        arity: 4,
        since: "2.8.9",
        complexity: "O(log(N)), N being the size of the sorted set.",
        summary: "Counts the members in a range of strings.",
        handler: zlexcount,
        ..ROW
    },
    CommandSpec {
        name: "zscan",
        arity: -3,
        flags: flag::READONLY,
        since: "2.8.0",
        complexity: "O(1) for a call, O(N) for a whole walk over N members.",
        summary: "Walks over members and scores of a sorted set in small steps.",
        tips: &["nondeterministic_output"],
        handler: zscan,
        ..ROW
    },
];

fn zcard(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let zset = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(1))?;
    ctx.out.integer(zset.map_or(0, |zset| zset.len()) as i64);
    Ok(())
}

fn put_score(out: &mut Reply, score: Option<f64>) {
    match score {
        Some(score) => out.double(score),
        None => out.null(),
    }
}

fn zscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let zset = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(1))?;
    put_score(ctx.out, zset.and_then(|zset| zset.score(args.at(2))));
    Ok(())
}

fn zmscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let zset = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(1))?;
    let members = args.tail(2);
    ctx.out.array(members.len());
    for start in (0..members.len()).step_by(LOOK_AHEAD_MEMBERS) {
        let batch = start..members.len().min(start + LOOK_AHEAD_MEMBERS);
        if let Some(zset) = zset.filter(|_| batch.len() >= LOOK_AHEAD_MIN) {
            zset.prefetch(batch.clone().map(|index| members.at(index)));
        }
        for index in batch {
            put_score(ctx.out, zset.and_then(|zset| zset.score(members.at(index))));
        }
    }
    Ok(())
}

fn zrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    rank(ctx, args, false)
}

fn zrevrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    rank(ctx, args, true)
}

fn rank(ctx: &mut Ctx<'_>, args: Args<'_>, reverse: bool) -> CommandResult {
    if args.len() > 4 {
        return Err(error::wrong_arity(&ctx.command_name()));
    }
    let with_score = args.len() == 4;
    if with_score && !arg::is(args.at(3), "withscore") {
        return Err(error::SYNTAX);
    }
    let zset = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(1))?;
    let found = zset.and_then(|zset| zset.rank(args.at(2)).map(|(rank, score)| (zset.len(), rank, score)));
    let Some((len, rank, score)) = found else {
        if with_score {
            ctx.out.null_array();
        } else {
            ctx.out.null();
        }
        return Ok(());
    };
    if with_score {
        ctx.out.array(2);
    }
    ctx.out.integer(if reverse { len - 1 - rank } else { rank } as i64);
    if with_score {
        ctx.out.double(score);
    }
    Ok(())
}

fn zcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let range = score_range(args.at(2), args.at(3))?;
    let zset = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(1))?;
    ctx.out.integer(zset.map_or(0, |zset| zset.score_ranks(&range).len()) as i64);
    Ok(())
}

fn zlexcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let range = member_range(args.at(2), args.at(3))?;
    let zset = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(1))?;
    ctx.out.integer(zset.map_or(0, |zset| zset.member_ranks(&range).len()) as i64);
    Ok(())
}

fn zscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let cursor = parse_cursor(args.at(2))?;
    // A missing key is answered before the options are read, as in Redis.
    let Some(zset) = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(1))? else {
        ctx.out.array(2);
        ctx.out.bulk(b"0");
        ctx.out.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args.tail(3), false)?;
    let mut entries = Reply::new(ctx.out.protocol);
    let (next, count) = match zset {
        ZsetRef::Packed(_) => (0, scan_packed(zset, &options, &mut entries)),
        ZsetRef::Big(_) => scan_big(zset, cursor, &options, &mut entries),
    };
    ctx.out.array(2);
    ctx.out.bulk(itoa::Buffer::new().format(next).as_bytes());
    ctx.out.array(count);
    ctx.out.raw(&entries.buffer);
    Ok(())
}

/// All of a small set, with scores as they are stored.
fn scan_packed(zset: ZsetRef<'_>, options: &ScanOptions<'_>, out: &mut Reply) -> usize {
    let ZsetRef::Packed(listpack) = zset else { return 0 };
    let mut count = 0;
    let mut elements = listpack.iter();
    while let (Some(member), Some(score)) = (elements.next(), elements.next()) {
        if with_text(member, |text| options.matches(text)) {
            put_element(out, member);
            put_element(out, score);
            count += 2;
        }
    }
    count
}

/// Some of a big set; scores have 17 digits here, as in Redis.
fn scan_big(zset: ZsetRef<'_>, cursor: u64, options: &ScanOptions<'_>, out: &mut Reply) -> (u64, usize) {
    let (mut next, mut seen, mut count) = (cursor, 0, 0);
    let mut score_text = Vec::new();
    for _ in 0..=options.buckets_max() {
        let step = zset.scan(next, |score, member| {
            seen += 1;
            if options.matches(member) {
                score_text.clear();
                format_f64_17g(score, &mut score_text);
                out.bulk(member);
                out.bulk(&score_text);
                count += 2;
            }
        });
        next = step.unwrap_or(0);
        if next == 0 || seen >= options.count {
            break;
        }
    }
    (next, count)
}
