//! Random words of commands, biased to the edges.

use fastrand::Rng;

/// Numbers and texts at which parsers of integers differ.
const INTEGER_EDGES: [&str; 22] = [
    "0",
    "-0",
    "+1",
    "01",
    "",
    " 1",
    "1 ",
    "abc",
    "1.5",
    "1e3",
    "-1",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "0x10",
    "nan",
];
/// The same for floats.
const FLOAT_EDGES: [&str; 26] = [
    "inf",
    "-inf",
    "+inf",
    "Infinity",
    "nan",
    "-nan",
    "0",
    "-0",
    "-0.0",
    "1e308",
    "-1.7976931348623157e308",
    "5e-324",
    "1e400",
    "1e-400",
    "",
    " 1",
    "1 ",
    "abc",
    "0x10",
    "1e17",
    "123456789.123456789",
    "9007199254740993",
    "3.0e3",
    ".5",
    "5.",
    "--1",
];

/// Probability in percent that a number is one of the edges.
const EDGE_PERCENT: u32 = 7;

pub fn percent(random: &mut Rng, chance: u32) -> bool {
    random.u32(0..100) < chance
}

pub fn choose<'a, T: ?Sized>(random: &mut Rng, items: &[&'a T]) -> &'a T {
    items[random.usize(..items.len())]
}

/// Any value of a string, list, hash.
pub fn value(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..100) {
        0..25 => random.i32(-20..120).to_string().into_bytes(),
        25..55 => word(random),
        55..60 => choose(random, &INTEGER_EDGES).as_bytes().to_vec(),
        60..64 => choose(random, &FLOAT_EDGES).as_bytes().to_vec(),
        64..68 => format!("{:.2}", random.f64() * 100.0).into_bytes(),
        68..74 => vec![b'x'; random.usize(63..67)],
        74..80 => binary(random, 24),
        80..83 => Vec::new(),
        83..88 => integer_of_any_width(random),
        88..90 => vec![b'y'; choose_length(random)],
        90..92 => binary(random, 700),
        _ => format!("v{}", random.u32(0..1000)).into_bytes(),
    }
}

/// Lengths around the borders of encodings.
fn choose_length(random: &mut Rng) -> usize {
    const LENGTHS: [usize; 14] = [1, 11, 12, 43, 44, 45, 127, 128, 253, 254, 255, 511, 4095, 4096];
    LENGTHS[random.usize(..LENGTHS.len())]
}

fn word(random: &mut Rng) -> Vec<u8> {
    const WORDS: [&str; 12] = ["a", "b", "c", "d", "e", "foo", "bar", "hello", "A", "zz", "a b", "aa"];
    choose(random, &WORDS).as_bytes().to_vec()
}

fn binary(random: &mut Rng, length_max: usize) -> Vec<u8> {
    (0..random.usize(0..=length_max)).map(|_| random.u8(..)).collect()
}

fn integer_of_any_width(random: &mut Rng) -> Vec<u8> {
    let shifted = random.i64(..) >> random.u32(0..63);
    shifted.to_string().into_bytes()
}

/// A member of a set or sorted set, a field of a hash: few enough that they meet again.
pub fn member(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..100) {
        0..40 => format!("m{}", random.u32(0..24)).into_bytes(),
        40..70 => random.i32(-4..30).to_string().into_bytes(),
        70..73 => vec![b'x'; random.usize(63..66)],
        73..76 => word(random),
        76..78 => Vec::new(),
        78..81 => vec![b'b', 0, 255, random.u8(0..3)],
        81..84 => (i64::from(random.i32(-3..3)) << random.u32(8..56)).to_string().into_bytes(),
        84..86 => choose(random, &INTEGER_EDGES).as_bytes().to_vec(),
        86..87 => vec![b'y'; choose_length(random)],
        _ => format!("member:{:04}", random.u32(0..300)).into_bytes(),
    }
}

/// A member that is an integer: sets of these stay packed.
pub fn integer_member(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..20) {
        0 => integer_of_any_width(random),
        1 => member(random),
        _ => random.i32(-20..700).to_string().into_bytes(),
    }
}

pub fn score(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..100) {
        0..45 => random.i32(-5..15).to_string().into_bytes(),
        45..60 => format!("{}.5", random.i32(-5..15)).into_bytes(),
        60..72 => format!("{:.2}", random.f64() * 20.0 - 5.0).into_bytes(),
        72..80 => (random.f64() * 1e6).to_string().into_bytes(),
        80..86 => (random.i64(..) >> random.u32(0..63)).to_string().into_bytes(),
        86..92 => format!("{}e{}", random.i32(-99..99), random.i32(-40..40)).into_bytes(),
        _ => choose(random, &FLOAT_EDGES).as_bytes().to_vec(),
    }
}

/// A border of a range by score.
pub fn score_border(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..10) {
        0 => b"-inf".to_vec(),
        1 => b"+inf".to_vec(),
        2..5 => [b"(".as_slice(), &score(random)].concat(),
        _ => score(random),
    }
}

/// A border of a range by member.
pub fn lex_border(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..20) {
        0..4 => b"-".to_vec(),
        4..8 => b"+".to_vec(),
        8..13 => [b"[".as_slice(), &member(random)].concat(),
        13..18 => [b"(".as_slice(), &member(random)].concat(),
        18 => member(random),
        _ => choose(random, &["", "[", "(", "+a", "-a", "++"]).as_bytes().to_vec(),
    }
}

/// A position in a list or a rank, negative ones too.
pub fn index(random: &mut Rng) -> Vec<u8> {
    integer(random, -12, 12)
}

pub fn count(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..12) {
        0 => integer(random, -3, 1),
        1 => random.u32(0..600).to_string().into_bytes(),
        _ => integer(random, 1, 8),
    }
}

/// An integer between two bounds, or an edge.
pub fn integer(random: &mut Rng, from: i64, to: i64) -> Vec<u8> {
    if percent(random, EDGE_PERCENT) {
        integer_edge(random)
    } else {
        random.i64(from..=to).to_string().into_bytes()
    }
}

pub fn integer_edge(random: &mut Rng) -> Vec<u8> {
    choose(random, &INTEGER_EDGES).as_bytes().to_vec()
}

pub fn float_edge(random: &mut Rng) -> Vec<u8> {
    choose(random, &FLOAT_EDGES).as_bytes().to_vec()
}

/// How many members a random pick asks for: never so many that the answer gets long.
pub fn pick_count(random: &mut Rng) -> Vec<u8> {
    const EDGES: [&str; 7] =
        ["0", "", "abc", "9223372036854775808", "-9223372036854775808", "4611686018427387904", "1.5"];
    match random.u32(0..12) {
        0 => choose(random, &EDGES).as_bytes().to_vec(),
        1 => random.i32(-700..700).to_string().into_bytes(),
        _ => random.i32(-20..20).to_string().into_bytes(),
    }
}

pub fn float_delta(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..10) {
        0 => float_edge(random),
        1 => integer_edge(random),
        2..5 => random.i32(-50..50).to_string().into_bytes(),
        5 => format!("{}e{}", random.i32(-9..9), random.i32(-20..20)).into_bytes(),
        _ => format!("{:.3}", random.f64() * 10.0 - 5.0).into_bytes(),
    }
}

pub fn longitude(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..30) {
        0 => choose(random, &["181", "-180.1", "180", "-180", "abc", "nan", "inf"]).as_bytes().to_vec(),
        1..6 => choose(random, &["13.361389", "15.087269", "-122.4", "2.3522", "139.69"]).as_bytes().to_vec(),
        _ => format!("{:.5}", random.f64() * 40.0 - 10.0).into_bytes(),
    }
}

pub fn latitude(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..30) {
        0 => {
            choose(random, &["86", "-85.06", "85.05112878", "-85.05112878", "abc", "nan"]).as_bytes().to_vec()
        }
        1..6 => choose(random, &["38.115556", "37.502669", "37.77", "48.8566", "35.68"]).as_bytes().to_vec(),
        _ => format!("{:.5}", random.f64() * 40.0 + 20.0).into_bytes(),
    }
}

pub fn radius(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..20) {
        0 => choose(random, &["0", "-1", "abc", "1e30", "inf", "nan", "20000000"]).as_bytes().to_vec(),
        _ => format!("{:.1}", random.f64() * 3000.0).into_bytes(),
    }
}

/// An identifier of a stream entry, for ranges and look-ups.
pub fn stream_id(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..24) {
        0 => b"0".to_vec(),
        1 => b"0-0".to_vec(),
        2 => random.u32(0..40).to_string().into_bytes(),
        3 => choose(
            random,
            &[
                "abc",
                "",
                "1-1-1",
                "-1-1",
                "18446744073709551615-18446744073709551615",
                "18446744073709551616-0",
                "1-",
                "-5",
                "5-*",
                "1-x",
            ],
        )
        .as_bytes()
        .to_vec(),
        _ => plain_id(random),
    }
}

pub fn plain_id(random: &mut Rng) -> Vec<u8> {
    format!("{}-{}", random.u32(0..40), random.u32(0..4)).into_bytes()
}

/// A border of a range of entries.
pub fn id_border(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..12) {
        0..2 => b"-".to_vec(),
        2..4 => b"+".to_vec(),
        4 | 5 => [b"(".as_slice(), &stream_id(random)].concat(),
        _ => stream_id(random),
    }
}

/// What XREAD reads after.
pub fn read_id(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..10) {
        0 => b"$".to_vec(),
        1 => b">".to_vec(),
        _ => stream_id(random),
    }
}

/// What XREADGROUP reads after.
pub fn group_read_id(random: &mut Rng) -> Vec<u8> {
    match random.u32(0..20) {
        0..14 => b">".to_vec(),
        14 => b"$".to_vec(),
        _ => stream_id(random),
    }
}

pub fn pattern(random: &mut Rng) -> Vec<u8> {
    const PATTERNS: [&str; 14] =
        ["*", "m*", "?1", "[a-m]*", "*1*", "", "set:*", "m[^1]", "[0-9]*", "\\m1", "*:*", "h*llo", "[", "m1"];
    choose(random, &PATTERNS).as_bytes().to_vec()
}
