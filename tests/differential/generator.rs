//! Turns templates into steps, the same ones for the same seed.

use fastrand::Rng;

use crate::compare::Check;
use crate::families::{FAMILIES, Version};
use crate::template::{Node, Times, parse};
use crate::values::{self, choose, percent};

/// Keys of each type.
const KEYS_PER_TYPE: u32 = 4;
/// Databases that are used.
pub const DATABASES: u32 = 3;
/// Commands of one transaction at most.
const TRANSACTION_MAX: usize = 6;
/// Types whose keys a name may stand for.
const TYPES: [&str; 11] =
    ["string", "bits", "list", "hash", "set", "zset", "lex", "stream", "hll", "geo", "numbers"];

/// One thing to do on both sides.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Command {
        args: Vec<Vec<u8>>,
        check: Check,
    },
    /// DUMP on both sides, each payload restored on both sides.
    Transfer {
        source: Vec<u8>,
        targets: [Vec<u8>; 2],
    },
    /// A second client waits for keys while this one runs commands.
    Blocked {
        wait: Vec<Vec<u8>>,
        wake: Vec<Vec<Vec<u8>>>,
        check: Check,
    },
    /// A command on both sides that leaves the data as it is: DEBUG RELOAD.
    Reload(&'static str),
    /// Everything compared.
    Dataset,
}

/// A parsed row.
struct Source {
    nodes: Vec<Node>,
    check: Check,
    /// Its words may be changed at random: nothing waits, nothing expires soon, no answer gets huge.
    mutable: bool,
    /// It may stand in a transaction.
    queues: bool,
    waits: bool,
}

pub struct Generator {
    random: Rng,
    families: Vec<(u32, Vec<(u32, Source)>)>,
    /// Types that exist in this run.
    types: Vec<&'static str>,
    expiries: u64,
    counted: usize,
    version: Version,
}

impl Generator {
    /// A generator of the named families (empty: all) for a reference of this version.
    pub fn new(seed: u64, names: &[String], version: Version) -> Generator {
        let wanted = |name: &str| {
            names.is_empty() || ["key", "config"].contains(&name) || names.iter().any(|n| n == name)
        };
        let types = TYPES.into_iter().filter(|name| wanted(family_of(name))).collect();
        let mut families = Vec::new();
        for family in FAMILIES.iter().filter(|family| wanted(family.name)) {
            let rows = family.rows.iter().filter(|row| row.since <= version);
            let sources = rows.map(|row| (row.weight, source(row.text, &row.check))).collect();
            families.push((family.weight, sources));
        }
        Generator { random: Rng::with_seed(seed), families, types, expiries: 0, counted: 1, version }
    }

    /// The next step or, for a transaction, steps.
    pub fn next(&mut self, steps: &mut Vec<Step>) {
        match self.random.u32(0..1000) {
            0..20 => self.transaction(steps),
            20..28 => {
                let source = self.any_key();
                let targets = [self.any_key(), self.any_key()];
                if targets[0] != targets[1] {
                    steps.push(Step::Transfer { source, targets });
                }
            }
            28 => self.blocked(steps),
            29 => steps.push(Step::Reload("DEBUG RELOAD")),
            _ => {
                let (args, check) = self.command(|_| true);
                self.name_consumer(&args, steps);
                steps.push(Step::Command { args, check });
            }
        }
    }

    /// When a command that claims or reads nothing makes its consumer is not the same in 7.0 and 7.2: it is
    /// made before. Returns the number of steps added; in a transaction their replies stand among the others.
    fn name_consumer(&mut self, args: &[Vec<u8>], steps: &mut Vec<Step>) -> usize {
        let is = |name: &str| args[0].eq_ignore_ascii_case(name.as_bytes());
        if self.version >= (7, 2) || args.len() < 5 {
            return 0;
        }
        let (keys, group): (&[Vec<u8>], &[Vec<u8>]) = if is("XCLAIM") || is("XAUTOCLAIM") {
            (&args[1..2], &args[2..4])
        } else if is("XREADGROUP") {
            let streams = args.iter().position(|arg| arg == b"STREAMS").map_or(args.len(), |at| at + 1);
            (&args[streams..], &args[2..4])
        } else {
            return 0;
        };
        for key in keys {
            let words = [
                b"XGROUP".to_vec(),
                b"CREATECONSUMER".to_vec(),
                key.clone(),
                group[0].clone(),
                group[1].clone(),
            ];
            steps.push(Step::Command { args: words.to_vec(), check: Check::Exact });
        }
        keys.len()
    }

    fn transaction(&mut self, steps: &mut Vec<Step>) {
        let mut checks = Vec::new();
        let word = |text: &str| vec![text.as_bytes().to_vec()];
        steps.push(Step::Command { args: word("MULTI"), check: Check::Exact });
        for _ in 0..self.random.usize(0..=TRANSACTION_MAX) {
            let (args, check) = self.command(|source| source.queues);
            let added = self.name_consumer(&args, steps);
            checks.extend(std::iter::repeat_n(Check::Ignore, added));
            checks.push(check);
            steps.push(Step::Command { args, check: Check::Exact });
        }
        let end = if percent(&mut self.random, 10) { "DISCARD" } else { "EXEC" };
        steps.push(Step::Command { args: word(end), check: Check::Each(checks) });
    }

    fn blocked(&mut self, steps: &mut Vec<Step>) {
        let has_waits = self.families.iter().any(|(_, rows)| rows.iter().any(|(_, source)| source.waits));
        if !has_waits {
            return;
        }
        let (mut wait, check) = self.command(|source| source.waits);
        for word in &mut wait {
            match word.as_slice() {
                b"0.01" => *word = b"0.06".to_vec(),
                b"10" => *word = b"60".to_vec(),
                _ => {}
            }
        }
        let keyed = |source: &Source| source.queues && !source.waits;
        self.name_consumer(&wait, steps);
        let wake: Vec<_> = (0..self.random.usize(1..5)).map(|_| self.command(keyed).0).collect();
        for args in &wake {
            self.name_consumer(args, steps);
        }
        steps.push(Step::Blocked { wait, wake, check });
    }

    /// A random command among those that `fits` takes.
    fn command(&mut self, fits: impl Fn(&Source) -> bool) -> (Vec<Vec<u8>>, Check) {
        let families = std::mem::take(&mut self.families);
        let source = loop {
            let rows = weighted(&mut self.random, &families);
            let source = weighted(&mut self.random, rows);
            if fits(source) {
                break source;
            }
        };
        let mut args = Vec::new();
        self.expand(&source.nodes, &mut args);
        if source.mutable && percent(&mut self.random, 4) {
            self.mutate(&mut args);
        }
        let check = source.check.clone();
        self.families = families;
        (args, check)
    }

    fn mutate(&mut self, args: &mut Vec<Vec<u8>>) {
        let at = self.random.usize(0..args.len());
        match self.random.u32(0..7) {
            0 if args.len() > 1 => drop(args.pop()),
            1 if at > 0 => drop(args.remove(at)),
            2 => args.insert(at, args[at].clone()),
            3 => args.push(values::value(&mut self.random)),
            4 if at > 0 => args[at] = values::integer_edge(&mut self.random),
            5 if at > 0 => args[at] = values::value(&mut self.random),
            _ => args[at].make_ascii_lowercase(),
        }
    }

    fn expand(&mut self, nodes: &[Node], args: &mut Vec<Vec<u8>>) {
        for node in nodes {
            match node {
                Node::Word(word) => args.push(self.word(word)),
                Node::Value(name) => self.value(name, args),
                Node::Choice(lines) => {
                    let index = self.random.usize(0..lines.len());
                    self.expand(&lines[index], args);
                }
                Node::Maybe(line) if self.random.bool() => self.expand(line, args),
                Node::Maybe(_) => {}
                Node::Counted { content, written } => self.counted(content, *written, args),
                Node::Repeat(node, times) => {
                    for _ in 0..self.times(*times) {
                        self.expand(std::slice::from_ref(node), args);
                    }
                }
            }
        }
    }

    /// A word of the template; what follows `$` inside of it is put in.
    fn word(&mut self, word: &str) -> Vec<u8> {
        match word.split_once('$') {
            Some((head, _)) => format!("{head}{}", self.random.u32(0..12)).into_bytes(),
            None => word.as_bytes().to_vec(),
        }
    }

    fn counted(&mut self, content: &[Node], written: bool, args: &mut Vec<Vec<u8>>) {
        let mut inner = Vec::new();
        self.expand(content, &mut inner);
        self.counted = inner.len();
        if written {
            let off = if percent(&mut self.random, 3) { self.random.i64(-2..3) } else { 0 };
            args.push((inner.len() as i64 + off).to_string().into_bytes());
        }
        args.append(&mut inner);
    }

    fn times(&mut self, times: Times) -> usize {
        match times {
            Times::Some => self.random.usize(1..5),
            Times::Any => self.random.usize(0..4),
            Times::Many => match self.random.u32(0..6) {
                0..3 => self.random.usize(10..40),
                3 => self.random.usize(60..70),
                4 => self.random.usize(125..135),
                _ => self.random.usize(508..518),
            },
        }
    }

    fn key(&mut self, kind: &str) -> Vec<u8> {
        match self.random.u32(0..100) {
            0..5 => self.any_key(),
            5..7 => b"missing".to_vec(),
            7 if kind == "string" => Vec::new(),
            _ => format!("{kind}:{}", self.random.u32(0..KEYS_PER_TYPE)).into_bytes(),
        }
    }

    fn any_key(&mut self) -> Vec<u8> {
        let kind = choose(&mut self.random, &self.types);
        format!("{kind}:{}", self.random.u32(0..KEYS_PER_TYPE)).into_bytes()
    }

    /// A time to live in seconds that no other key has, so that comparing them has one answer.
    fn far(&mut self) -> u64 {
        self.expiries += 1;
        1_000_000 + self.expiries * 100
    }

    fn value(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        let random = &mut self.random;
        let word = match name {
            "value" => values::value(random),
            "member" => values::member(random),
            "intmember" => values::integer_member(random),
            "score" => values::score(random),
            "zborder" => values::score_border(random),
            "lexborder" => values::lex_border(random),
            "index" => values::index(random),
            // No edges: Redis cuts an index of LSET to 32 bits and sets another element.
            "lindex" => random.i32(-12..12).to_string().into_bytes(),
            "count" => values::count(random),
            // Redis allocates room for as many at once, and refuses where we do not.
            "few" => random.i32(-1..9).to_string().into_bytes(),
            "pickcount" => values::pick_count(random),
            "delta" => values::float_delta(random),
            "offset" => values::integer(random, 0, 300),
            "bit" => values::integer(random, 0, 700),
            "id" => values::stream_id(random),
            "addid" if percent(random, 15) => format!("{}-*", random.u32(0..40)).into_bytes(),
            "addid" if percent(random, 60) => {
                format!("{}-{}", random.u32(10..60), random.u32(0..9)).into_bytes()
            }
            "addid" => values::stream_id(random),
            "idborder" => values::id_border(random),
            "readid" => values::read_id(random),
            "group" => format!("g{}", random.u32(0..3)).into_bytes(),
            "consumer" => format!("c{}", random.u32(0..3)).into_bytes(),
            "pattern" => values::pattern(random),
            "keypattern" => choose(random, &["*", "*:1", "s*", "[a-l]*:?", "list:*", "nothing", "*e*"])
                .as_bytes()
                .to_vec(),
            "getpattern" => choose(random, &["w:*", "o:*->f", "nokey*", "#", "o:*->", "w:1", "*", "o:*->g"])
                .as_bytes()
                .to_vec(),
            "longitude" => values::longitude(random),
            "latitude" => values::latitude(random),
            "radius" => values::radius(random),
            "place" => format!("p{}", random.u32(0..30)).into_bytes(),
            "db" => match random.u32(0..40) {
                0 => values::integer_edge(random),
                number => (number % DATABASES).to_string().into_bytes(),
            },
            "field" => self.bit_field(),
            "bitplace" => {
                [choose(random, &["", "", "#"]).as_bytes(), &values::integer(random, 0, 100)].concat()
            }
            "restorettl" => choose(random, &["0", "-1", "abc", "100000000"]).as_bytes().to_vec(),
            "badttl" => choose(
                random,
                &[
                    "0",
                    "-1",
                    "abc",
                    "",
                    "9223372036854775807",
                    "-9223372036854775808",
                    "1.5",
                    "9223372036854775",
                ],
            )
            .as_bytes()
            .to_vec(),
            _ => return self.dependent_value(name, args),
        };
        args.push(word);
    }

    fn dependent_value(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        let word = match name {
            "ttl" => self.far().to_string().into_bytes(),
            "ttlms" => (self.far() * 1000).to_string().into_bytes(),
            "at" => (4_102_444_800 + self.far()).to_string().into_bytes(),
            "atms" => ((4_102_444_800 + self.far()) * 1000).to_string().into_bytes(),
            "any" => self.any_key(),
            "sortable" => {
                let kind = choose(&mut self.random, &["list", "set", "zset", "numbers", "geo"]);
                self.key(kind)
            }
            "zorset" => {
                let kind = choose(&mut self.random, &["zset", "zset", "zset", "set", "geo"]);
                self.key(kind)
            }
            "weights" | "readids" | "groupids" => return self.as_many(name, args),
            kind if TYPES.contains(&kind) => self.key(kind),
            other => panic!("a template names ${other}, which nothing makes"),
        };
        args.push(word);
    }

    /// As many words as the counted part before had.
    fn as_many(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        let off = usize::from(percent(&mut self.random, 3));
        for _ in 0..self.counted + off {
            let random = &mut self.random;
            args.push(match name {
                "weights" if percent(random, 10) => values::float_edge(random),
                "weights" => random.i32(-3..5).to_string().into_bytes(),
                "readids" => values::read_id(random),
                _ => values::group_read_id(random),
            });
        }
    }

    fn bit_field(&mut self) -> Vec<u8> {
        match self.random.u32(0..20) {
            0 => choose(&mut self.random, &["u64", "i65", "u0", "x8", "i", "u-1", ""]).as_bytes().to_vec(),
            _ => format!("{}{}", choose(&mut self.random, &["i", "u"]), self.random.u32(1..64)).into_bytes(),
        }
    }
}

/// The family that makes keys of a type.
fn family_of(kind: &str) -> &str {
    match kind {
        "bits" => "bit",
        "numbers" => "sort",
        "lex" => "zset",
        other => other,
    }
}

fn weighted<'a, T>(random: &mut Rng, items: &'a [(u32, T)]) -> &'a T {
    let total: u32 = items.iter().map(|(weight, _)| weight).sum();
    let mut at = random.u32(0..total);
    for (weight, item) in items {
        if at < *weight {
            return item;
        }
        at -= weight;
    }
    unreachable!("the place is below the sum of the weights")
}

fn source(text: &'static str, check: &Check) -> Source {
    let names_first = text.trim_start_matches('(');
    let waits = ["BLPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOP", "BZMPOP"]
        .iter()
        .any(|name| names_first.starts_with(name))
        || text.contains("BLOCK");
    let expires = ["ttl", "$at", "EXPIRE", "SETEX"].iter().any(|part| text.contains(part));
    let alone = check.is_alone() || matches!(check, Check::Scan { .. });
    let fixed = ["ZRANK", "ZREVRANK", "SORT"].iter().any(|name| names_first.starts_with(name));
    let admin = [
        "CONFIG",
        "SELECT",
        "SWAPDB",
        "WATCH",
        "SCAN",
        "HSCAN",
        "SSCAN",
        "ZSCAN",
        "KEYS",
        "DUMP",
        "LSET",
        "XAUTOCLAIM",
    ]
    .iter()
    .any(|name| names_first.starts_with(name));
    Source {
        nodes: parse(text),
        check: check.clone(),
        mutable: !waits && !expires && !alone && !admin && !fixed,
        queues: !alone && !admin,
        // The row of wrong time-outs waits for nothing.
        waits: waits && !text.contains("abc"),
    }
}
