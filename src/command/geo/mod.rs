//! GEOADD, GEOPOS, GEODIST, GEOHASH, and the searches: places as members of sorted sets.

mod options;
mod search;

use crate::base::{float, numbers};
use crate::command::{arg, zset};
use crate::resp::{Args, OwnedArgs, Reply};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{BeginSearch, FindKeys, Group, KeySpec, category, flag, key_flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::ZsetValue;
use crate::value::geo::Position;

const READ_KEY: KeySpec = KeySpec::one(1, key_flag::RO | key_flag::ACCESS);

const ROW: CommandSpec = CommandSpec {
    flags: flag::READONLY,
    categories: category::GEO,
    keys: &[READ_KEY],
    group: Group::Geo,
    since: "3.2.0",
    ..CommandSpec::DEFAULT
};

const SEARCH: CommandSpec = CommandSpec {
    complexity: "O(N+log(M)) where N is the number of members in the cells around the shape and M is the \
                 number of members in the shape.",
    ..ROW
};

/// The key behind STORE or STOREDIST, looked for from an argument on.
const fn stored(word: &'static str, from: i32) -> KeySpec {
    KeySpec {
        begin: BeginSearch::Keyword(word, from),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        flags: key_flag::OW | key_flag::UPDATE,
    }
}

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "geoadd",
        arity: -5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)],
        complexity: "O(log(N)) for each place added, where N is the number of members.",
        summary: "Adds places, or moves them.",
        handler: geoadd,
        ..ROW
    },
    CommandSpec {
        name: "geopos",
        arity: -2,
        complexity: "O(1) for each member asked for.",
        summary: "Gives the longitudes and latitudes of members.",
        handler: geopos,
        ..ROW
    },
    CommandSpec {
        name: "geodist",
        arity: -4,
        summary: "Gives the distance between two members.",
        handler: geodist,
        ..ROW
    },
    CommandSpec {
        name: "geohash",
        arity: -2,
        complexity: "O(1) for each member asked for.",
        summary: "Gives the geohash texts of members.",
        handler: geohash,
        ..ROW
    },
    CommandSpec {
        name: "geosearch",
        arity: -7,
        since: "6.2.0",
        summary: "Gives the members in a circle or a box.",
        handler: search::geosearch,
        ..SEARCH
    },
    CommandSpec {
        name: "geosearchstore",
        arity: -8,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[
            KeySpec::one(1, key_flag::OW | key_flag::UPDATE),
            KeySpec::one(2, key_flag::RO | key_flag::ACCESS),
        ],
        since: "6.2.0",
        summary: "Stores the members in a circle or a box as a sorted set.",
        handler: search::geosearchstore,
        ..SEARCH
    },
    CommandSpec {
        name: "georadius",
        arity: -6,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[READ_KEY, stored("STORE", 6), stored("STOREDIST", 6)],
        summary: "Gives or stores the members in a circle around a place.",
        handler: search::georadius,
        ..SEARCH
    },
    CommandSpec {
        name: "georadius_ro",
        arity: -6,
        since: "3.2.10",
        summary: "Gives the members in a circle around a place.",
        handler: search::georadius_ro,
        ..SEARCH
    },
    CommandSpec {
        name: "georadiusbymember",
        arity: -5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[READ_KEY, stored("STORE", 5), stored("STOREDIST", 5)],
        summary: "Gives or stores the members in a circle around a member.",
        handler: search::georadiusbymember,
        ..SEARCH
    },
    CommandSpec {
        name: "georadiusbymember_ro",
        arity: -5,
        since: "3.2.10",
        summary: "Gives the members in a circle around a member.",
        handler: search::georadiusbymember_ro,
        ..SEARCH
    },
];

/// Digits behind the point of a distance.
const DISTANCE_DECIMALS: u32 = 4;

/// The metres of a unit.
fn unit_m(word: &[u8]) -> Result<f64, ReplyError> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let known = UNITS.into_iter().find(|(name, _)| arg::is(word, name));
    let unknown = || ReplyError::err("unsupported unit provided. please use M, KM, FT, MI");
    known.map(|(_, metres)| metres).ok_or_else(unknown)
}

/// A place from a longitude and a latitude.
fn position(longitude: &[u8], latitude: &[u8]) -> Result<Position, ReplyError> {
    let degrees = |text| numbers::parse_f64(text).ok_or(error::NOT_FLOAT);
    let position = Position { longitude: degrees(longitude)?, latitude: degrees(latitude)? };
    if position.is_valid() {
        return Ok(position);
    }
    let Position { longitude, latitude } = position;
    Err(ReplyError::err(format!("invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

fn reply_distance(out: &mut Reply, distance: f64) {
    let mut text = Vec::new();
    float::format_f64_fixed(distance, DISTANCE_DECIMALS, &mut text);
    out.bulk(&text);
}

fn reply_position(out: &mut Reply, position: Position) {
    out.array(2);
    for degrees in [position.longitude, position.latitude] {
        let mut text = Vec::new();
        float::format_f64_human_17(degrees, &mut text);
        if out.is_resp3() {
            out.raw(&[b",", &text[..], b"\r\n"].concat());
        } else {
            out.bulk(&text);
        }
    }
}

/// GEOADD is ZADD with scores made of places, and is propagated as that.
fn geoadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let is_option = |word: &&[u8]| ["nx", "xx", "ch"].iter().any(|option| arg::is(word, option));
    let options = args.tail(2).iter().take_while(is_option).count();
    let has = |option| args.tail(2).iter().take(options).any(|word| arg::is(word, option));
    let places = args.tail(2 + options);
    if !places.len().is_multiple_of(3) || has("nx") && has("xx") {
        return Err(error::SYNTAX);
    }
    let mut words: OwnedArgs =
        std::iter::once(&b"zadd"[..]).chain(args.iter().take(2 + options).skip(1)).collect();
    for index in (0..places.len()).step_by(3) {
        let score = position(places.at(index), places.at(index + 1))?.score();
        words.push(score.to_string().as_bytes());
        words.push(places.at(index + 2));
    }
    let before = ctx.server.persistence.dirty;
    zset::add::zadd(ctx, words.as_args())?;
    if ctx.server.persistence.dirty != before {
        ctx.propagate_args_instead(words.as_args());
    }
    Ok(())
}

/// Answers each member of a request with its place.
fn each_position(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    missing: fn(&mut Reply),
    found: fn(&mut Reply, Position),
) -> CommandResult {
    let zset = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(1))?;
    ctx.out.array(args.len() - 2);
    for member in args.tail(2).iter() {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => found(ctx.out, Position::of_score(score)),
            None => missing(ctx.out),
        }
    }
    Ok(())
}

fn geopos(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    each_position(ctx, args, Reply::null_array, reply_position)
}

fn geohash(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    each_position(ctx, args, Reply::null, |out, position| out.bulk(&position.geohash()))
}

fn geodist(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let metres = match args.len() {
        4 => 1.0,
        5 => unit_m(args.at(4))?,
        _ => return Err(error::SYNTAX),
    };
    let zset = ctx.server.read_as::<ZsetValue>(ctx.db, args.at(1))?;
    let place = |member| zset.and_then(|zset| zset.score(member)).map(Position::of_score);
    match (place(args.at(2)), place(args.at(3))) {
        (Some(from), Some(to)) => reply_distance(ctx.out, from.distance_m(to) / metres),
        _ => ctx.out.null(),
    }
    Ok(())
}
