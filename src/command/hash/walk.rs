//! HSCAN and HRANDFIELD.

use crate::command::arg;
use crate::command::batch::{close_if_too_long, drawn_bytes_max};
use crate::command::hash::{field_time, put_element};
use crate::command::key::scan::{ScanOptions, parse_cursor};
use crate::resp::{Args, OwnedArgs, Reply};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::HashValue;
use crate::value::hash::HashField;

const ROW: CommandSpec = CommandSpec {
    flags: flag::READONLY,
    categories: category::HASH,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    group: Group::Hash,
    tips: &["nondeterministic_output"],
    ..CommandSpec::DEFAULT
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hscan",
        arity: -3,
        since: "2.8.0",
        complexity: "O(1) for a call, O(N) for a whole walk over N fields.",
        summary: "Walks over the fields of a hash in small steps.",
        handler: hscan,
        ..ROW
    },
    CommandSpec {
        name: "hrandfield",
        arity: -2,
        since: "6.2.0",
        complexity: "O(N) for N fields.",
        summary: "Gives fields of a hash at random.",
        handler: hrandfield,
        ..ROW
    },
];

/// Takes NOVALUES (Redis 7.4) out of the options behind the cursor; the others come in pairs.
fn take_no_values(options: Args<'_>) -> (OwnedArgs, bool) {
    let (mut rest, mut no_values) = (OwnedArgs::default(), false);
    let mut words = options.iter();
    while let Some(word) = words.next() {
        if arg::is(word, "novalues") {
            no_values = true;
            continue;
        }
        rest.push(word);
        words.next().into_iter().for_each(|value| rest.push(value));
    }
    (rest, no_values)
}

fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut cursor = parse_cursor(args.at(2))?;
    let now_ms = field_time(ctx.server);
    let (out, empty) = (&mut *ctx.out, b"0");
    let Some(hash) = ctx.server.read_as::<HashValue>(ctx.db, args.at(1))? else {
        out.array(2);
        out.bulk(empty);
        out.array(0);
        return Ok(());
    };
    let (words, no_values) = take_no_values(args.tail(3));
    let options = ScanOptions::parse(words.as_args(), false)?;
    let mut found = Reply::new(out.protocol);
    let (mut seen, mut sent, mut name) = (0, 0, Vec::new());
    for _ in 0..=options.buckets_max() {
        cursor = hash.scan(cursor, now_ms, |field| {
            seen += 1;
            name.clear();
            field.name.append_to(&mut name);
            if !options.matches(&name) {
                return;
            }
            found.bulk(&name);
            sent += 1;
            if !no_values {
                put_element(&mut found, field.value);
                sent += 1;
            }
        });
        if cursor == 0 || seen >= options.count {
            break;
        }
    }
    out.array(2);
    out.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    out.array(sent);
    out.raw(&found.buffer);
    Ok(())
}

/// What is asked for: how many fields, whether they may repeat, whether with their values.
struct Wanted {
    count: usize,
    repeat: bool,
    values: bool,
}

fn parse_wanted(args: Args<'_>) -> Result<Wanted, ReplyError> {
    let count = arg::integer_in(args.at(2), -i64::MAX, i64::MAX)?;
    let values = match (args.len(), args.get(3)) {
        (3, _) => false,
        (4, Some(word)) if arg::is(word, "withvalues") => true,
        _ => return Err(error::SYNTAX),
    };
    // Twice as many elements must still be countable.
    if values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(error::OUT_OF_RANGE);
    }
    Ok(Wanted { count: count.unsigned_abs() as usize, repeat: count < 0, values })
}

fn hrandfield(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 {
        let wanted = parse_wanted(args)?;
        return random_fields(ctx, args.at(1), &wanted);
    }
    let now_ms = field_time(ctx.server);
    let mut rng = fastrand::Rng::with_seed(ctx.server.rng.next_u64());
    let hash = ctx.server.read_as::<HashValue>(ctx.db, args.at(1))?;
    match hash.and_then(|hash| hash.random_field(now_ms, &mut rng)) {
        Some(field) => put_element(ctx.out, field.name),
        None => ctx.out.null(),
    }
    Ok(())
}

fn random_fields(ctx: &mut Ctx<'_>, key: &[u8], wanted: &Wanted) -> CommandResult {
    let now_ms = field_time(ctx.server);
    let mut rng = fastrand::Rng::with_seed(ctx.server.rng.next_u64());
    let max_bytes = drawn_bytes_max(ctx);
    let out = &mut *ctx.out;
    let Some(hash) = ctx.server.read_as::<HashValue>(ctx.db, key)?.filter(|_| wanted.count > 0) else {
        out.array(0);
        return Ok(());
    };
    if !wanted.repeat {
        let fields = hash.random_distinct(wanted.count, now_ms, &mut rng);
        begin(out, fields.len(), wanted.values);
        fields.iter().for_each(|field| put_field(out, field, wanted.values));
        return Ok(());
    }
    let mark = out.len();
    begin(out, wanted.count, wanted.values);
    let mut sent = 0;
    hash.random_repeated(wanted.count, now_ms, &mut rng, |field| {
        put_field(out, &field, wanted.values);
        sent += 1;
        out.len() < max_bytes
    });
    if sent == 0 {
        // All fields have expired, whose removal is still to come.
        out.buffer.truncate(mark);
        out.array(0);
    }
    close_if_too_long(ctx);
    Ok(())
}

/// RESP3 nests pairs, RESP2 has them flat.
fn begin(out: &mut Reply, count: usize, values: bool) {
    let flat = values && !out.is_resp3();
    out.array(if flat { 2 * count } else { count });
}

fn put_field(out: &mut Reply, field: &HashField<'_>, values: bool) {
    if values && out.is_resp3() {
        out.array(2);
    }
    put_element(out, field.name);
    if values {
        put_element(out, field.value);
    }
}
