//! ZUNION, ZINTER, ZDIFF, their STORE forms, and ZINTERCARD. Sets count as sorted sets with all
//! scores 1.

use crate::base::numbers::parse_f64;
use crate::command::arg;
use crate::command::zset::{READ_ROW, begin_members, limits, put_entry, store_result};
use crate::ds::element::Element;
use crate::resp::Args;
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{KeySpec, flag, key_flag};
use crate::server::{CommandSpec, Ctx, Server};
use crate::value::zset::{Aggregate, Input, Operation, Source, combine, intersection_len};
use crate::value::{ValueRef, ValueType, ZsetValue};

const ROW: CommandSpec = CommandSpec {
    arity: -3,
    flags: flag::READONLY | flag::MOVABLEKEYS,
    keys: &[KeySpec::counted(1, key_flag::RO | key_flag::ACCESS)],
    since: "6.2.0",
    ..READ_ROW
};

const STORE_ROW: CommandSpec = CommandSpec {
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::MOVABLEKEYS,
    keys: &[
        KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
        KeySpec::counted(2, key_flag::RO | key_flag::ACCESS),
    ],
    since: "2.0.0",
    ..ROW
};

const UNION_COMPLEXITY: &str =
    "O(N)+O(M*log(M)), N being the sum of the inputs' sizes and M the size of the result.";
const INTER_COMPLEXITY: &str = "O(N*K)+O(M*log(M)), N being the size of the smallest input, K the number of inputs and M the size of the result.";
const DIFF_COMPLEXITY: &str = "O(N*K)+O(M*log(M)), N being the size of the first input, K the number of inputs and M the size of the result.";

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zunion",
        complexity: UNION_COMPLEXITY,
        summary: "Gives the members of any of several sorted sets.",
        handler: zunion,
        ..ROW
    },
    CommandSpec {
        name: "zinter",
        complexity: INTER_COMPLEXITY,
        summary: "Gives the members that several sorted sets have in common.",
        handler: zinter,
        ..ROW
    },
    CommandSpec {
        name: "zdiff",
        complexity: DIFF_COMPLEXITY,
        summary: "Gives the members of the first sorted set that no other one has.",
        handler: zdiff,
        ..ROW
    },
    CommandSpec {
        name: "zintercard",
        since: "7.0.0",
        complexity: "O(N*K), N being the size of the smallest input and K the number of inputs.",
        summary: "Counts the members that several sorted sets have in common.",
        handler: zintercard,
        ..ROW
    },
    CommandSpec {
        name: "zunionstore",
        complexity: UNION_COMPLEXITY,
        summary: "Stores the members of any of several sorted sets.",
        handler: zunionstore,
        ..STORE_ROW
    },
    CommandSpec {
        name: "zinterstore",
        complexity: INTER_COMPLEXITY,
        summary: "Stores the members that several sorted sets have in common.",
        handler: zinterstore,
        ..STORE_ROW
    },
    CommandSpec {
        name: "zdiffstore",
        since: "6.2.0",
        complexity: DIFF_COMPLEXITY,
        summary: "Stores the members of the first sorted set that no other one has.",
        handler: zdiffstore,
        ..STORE_ROW
    },
];

const WEIGHT: ReplyError = ReplyError::fixed("ERR weight value is not a float");
const LIMIT: ReplyError = ReplyError::fixed("ERR LIMIT can't be negative");

/// What the form of a command allows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Reply,
    Store,
    Count,
}

/// A request, read.
struct Request<'a> {
    keys: Vec<&'a [u8]>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

impl<'a> Request<'a> {
    /// `args` begins with the number of keys. Types are checked between keys and options, as in
    /// Redis.
    fn read(ctx: &mut Ctx<'_>, args: Args<'a>, operation: Operation, form: Form) -> Result<Self, ReplyError> {
        let key_count = arg::integer(args.at(0))?;
        if key_count < 1 {
            let name = ctx.command_name();
            return Err(ReplyError::err(format!("at least 1 input key is needed for '{name}' command")));
        }
        let key_count = usize::try_from(key_count).ok().filter(|count| *count < args.len());
        let key_count = key_count.ok_or(error::SYNTAX)?;
        let keys: Vec<&[u8]> = args.iter().skip(1).take(key_count).collect();
        for key in &keys {
            check_type(ctx.server, ctx.db, key)?;
        }
        let weights = vec![1.0; key_count];
        let mut request = Request { keys, weights, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        request.read_options(args.tail(1 + key_count), operation, form)?;
        Ok(request)
    }

    fn read_options(&mut self, words: Args<'_>, operation: Operation, form: Form) -> CommandResult {
        let weighted = operation != Operation::Difference && form != Form::Count;
        let mut index = 0;
        while index < words.len() {
            let (word, left) = (words.at(index), words.len() - index);
            if weighted && left > self.keys.len() && arg::is(word, "weights") {
                for (place, weight) in self.weights.iter_mut().enumerate() {
                    *weight = parse_f64(words.at(index + 1 + place)).ok_or(WEIGHT)?;
                }
                index += self.keys.len();
            } else if weighted && left >= 2 && arg::is(word, "aggregate") {
                self.aggregate = aggregate_of(words.at(index + 1))?;
                index += 1;
            } else if form == Form::Reply && arg::is(word, "withscores") {
                self.with_scores = true;
            } else if form == Form::Count && left >= 2 && arg::is(word, "limit") {
                let limit = arg::integer_or(words.at(index + 1), LIMIT)?;
                self.limit = usize::try_from(limit).map_err(|_| LIMIT)?;
                index += 1;
            } else {
                return Err(error::SYNTAX);
            }
            index += 1;
        }
        Ok(())
    }

    /// The inputs as they now stand in the keyspace.
    fn inputs<'s>(&self, server: &'s Server, db: usize) -> Vec<Input<'s>> {
        let with_weight = |(key, weight): (&&[u8], &f64)| {
            let found = server.keyspace.db(db).find(server.keyspace.hash(key), key);
            let source = match found.map(|view| view.value()) {
                Some(ValueRef::Zset(zset)) => Source::Zset(zset),
                Some(ValueRef::Set(set)) => Source::Set(set),
                _ => Source::Missing,
            };
            Input { source, weight: *weight }
        };
        self.keys.iter().zip(&self.weights).map(with_weight).collect()
    }
}

/// Looks a key up, which counts and removes it if it has expired.
fn check_type(server: &mut Server, db: usize, key: &[u8]) -> CommandResult {
    match server.read(db, key).map(|view| view.value_type()) {
        None | Some(ValueType::Zset | ValueType::Set) => Ok(()),
        Some(_) => Err(error::WRONG_TYPE),
    }
}

fn aggregate_of(word: &[u8]) -> Result<Aggregate, ReplyError> {
    match word {
        _ if arg::is(word, "sum") => Ok(Aggregate::Sum),
        _ if arg::is(word, "min") => Ok(Aggregate::Min),
        _ if arg::is(word, "max") => Ok(Aggregate::Max),
        _ => Err(error::SYNTAX),
    }
}

fn zunion(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply(ctx, args, Operation::Union)
}

fn zinter(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply(ctx, args, Operation::Intersection)
}

fn zdiff(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    reply(ctx, args, Operation::Difference)
}

fn reply(ctx: &mut Ctx<'_>, args: Args<'_>, operation: Operation) -> CommandResult {
    let request = Request::read(ctx, args.tail(1), operation, Form::Reply)?;
    let result = combine(operation, &request.inputs(ctx.server, ctx.db), request.aggregate);
    begin_members(ctx.out, result.len(), request.with_scores);
    for (score, member) in &result {
        put_entry(ctx.out, *score, Element::Bytes(member), request.with_scores);
    }
    Ok(())
}

fn zintercard(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let request = Request::read(ctx, args.tail(1), Operation::Intersection, Form::Count)?;
    let count = intersection_len(&request.inputs(ctx.server, ctx.db), request.limit);
    ctx.out.integer(count as i64);
    Ok(())
}

fn zunionstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    store(ctx, args, Operation::Union, "zunionstore")
}

fn zinterstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    store(ctx, args, Operation::Intersection, "zinterstore")
}

fn zdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    store(ctx, args, Operation::Difference, "zdiffstore")
}

fn store(ctx: &mut Ctx<'_>, args: Args<'_>, operation: Operation, event: &str) -> CommandResult {
    let request = Request::read(ctx, args.tail(2), operation, Form::Store)?;
    let limits = limits(ctx.server);
    let result = combine(operation, &request.inputs(ctx.server, ctx.db), request.aggregate);
    let entries = result.iter().map(|(score, member)| (*score, member.as_ref()));
    let result = ZsetValue::from_sorted(entries, &limits);
    store_result(ctx, args.at(1), result, event);
    Ok(())
}
