//! When two replies count as equal.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::Reply;
use crate::explained;

/// True if the reference is older than 7.2: it has fewer encodings.
static OLD_REFERENCE: AtomicBool = AtomicBool::new(false);

/// Says that the reference is older than 7.2.
pub fn reference_is_old(old: bool) {
    OLD_REFERENCE.store(old, Ordering::Relaxed);
}

/// True if the reference is older than 7.2.
pub fn is_reference_old() -> bool {
    OLD_REFERENCE.load(Ordering::Relaxed)
}

/// What Redis promises of a reply, and so how it is compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// Byte by byte.
    Exact,
    /// The same members in any order.
    Unordered,
    /// A flat array (or map) of pairs in any order.
    Pairs,
    /// Numbers by their value: 7.2 prints the shortest form, 7.0 seventeen digits.
    Float,
    /// Both at once.
    FloatUnordered,
    /// A cursor that must be 0, and members (pairs if so) in any order.
    Scan { pairs: bool },
    /// An integer that may differ by this much: times to live.
    Close(i64),
    /// Descriptions of streams: times and the inner structure do not count.
    StreamInfo,
    /// Idle times do not count.
    Pending,
    /// 7.0 has fewer encodings.
    Encoding,
    /// A random pick: the same shape, and members of what the named command reads.
    Pick(&'static str),
    /// As `Pick`, and the key is made equal afterwards.
    Pop(&'static str),
    /// The same shape, and the key is made equal afterwards: identifiers made from the clock.
    Repair,
    /// Sorted by strcoll, which ends at a zero byte: what follows may stand in any order.
    Collated,
    /// Byte by byte, unless the key is a set: those have no order.
    UnlessSet,
    /// By value, and run only on a key whose members have one score: else their order means nothing.
    Lexical,
    /// Not compared: the reference may not know the directive.
    Ignore,
    /// The reply of EXEC: a check for each command inside.
    Each(Vec<Check>),
}

impl Check {
    /// True if the step must run alone: it reads or repairs around the command.
    pub fn is_alone(&self) -> bool {
        matches!(self, Check::Pick(_) | Check::Pop(_) | Check::Repair | Check::UnlessSet | Check::Lexical)
    }
}

/// True if the replies are equal as far as the check asks.
pub fn agree(check: &Check, reference: &Reply, ours: &Reply) -> bool {
    if reference == ours || *check == Check::Ignore {
        return true;
    }
    if let (Reply::Error(left), Reply::Error(right)) = (reference, ours)
        && equal_as_c_strings(left, right)
    {
        return true;
    }
    if reference.is_error() || ours.is_error() {
        return explained::reason(reference, ours, is_reference_old()).is_some();
    }
    match check {
        Check::Close(distance) => match (reference, ours) {
            (Reply::Int(left), Reply::Int(right)) => {
                *left > 0 && *right > 0 && left.abs_diff(*right) <= distance.unsigned_abs()
            }
            _ => false,
        },
        Check::Pick(_) | Check::Pop(_) | Check::Repair => shape(reference) == shape(ours),
        Check::Each(checks) => match (reference, ours) {
            (Reply::Array(left), Reply::Array(right)) => {
                left.len() == right.len()
                    && checks.len() == left.len()
                    && checks.iter().zip(left.iter().zip(right)).all(|(check, (l, r))| agree(check, l, r))
            }
            _ => false,
        },
        Check::Encoding => same_encoding(reference, ours),
        _ => normal(check, reference) == normal(check, ours),
    }
}

/// True if the reference's text ends a word where ours goes on behind a zero byte: Redis prints C strings.
fn equal_as_c_strings(reference: &str, ours: &str) -> bool {
    ours.split_once('\0').is_some_and(|(head, _)| reference.starts_with(head))
}

/// Encodings that may differ, with the reason. 7.0 has no `listpack` for lists and sets, and the key comparison
/// (`dataset.rs`) is stricter with strings and hashes.
fn same_encoding(reference: &Reply, ours: &Reply) -> bool {
    let (Reply::Bulk(left), Reply::Bulk(right)) = (reference, ours) else {
        return false;
    };
    match (left.as_slice(), right.as_slice()) {
        // 7.2 makes a skiplist of a range whose length it does not know, however few members it has.
        (b"skiplist", b"listpack") => true,
        // Results of set operations: whether a limit was passed on the way depends on the hash order.
        (b"hashtable", b"listpack") | (b"listpack", b"hashtable") => true,
        // Reading a HyperLogLog that came from a file makes it raw in Redis.
        (b"raw", b"embstr") => true,
        // Whether a list that shrinks becomes a listpack depends on how it was cut into nodes.
        (b"listpack", b"quicklist") => true,
        // 7.0: no listpacks for lists, sets begin as intsets, sorted sets are converted member by member.
        (b"quicklist", b"listpack") | (b"intset", _) | (b"listpack", b"skiplist") => is_reference_old(),
        _ => false,
    }
}

/// The reply with what the check leaves open taken away.
fn normal(check: &Check, reply: &Reply) -> Reply {
    match check {
        Check::Unordered => sorted(reply),
        Check::Pairs => paired(reply),
        Check::Float | Check::Lexical => floats(reply),
        Check::Collated => cut_at_zero(reply),
        Check::FloatUnordered => sorted(&floats(reply)),
        Check::Scan { pairs } => scanned(reply, *pairs),
        Check::StreamInfo => timeless(reply),
        Check::Pending => idle_free(reply),
        _ => reply.clone(),
    }
}

fn sort(mut items: Vec<Reply>) -> Vec<Reply> {
    items.sort_by_cached_key(|item| format!("{item:?}"));
    items
}

fn sorted(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(items) => Reply::Array(sort(items.clone())),
        Reply::Set(items) => Reply::Set(sort(items.clone())),
        other => other.clone(),
    }
}

fn paired(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(items) => {
            Reply::Array(sort(items.chunks(2).map(|pair| Reply::Array(pair.to_vec())).collect()))
        }
        Reply::Map(pairs) => {
            let pair = |(left, right): &(Reply, Reply)| Reply::Array(vec![left.clone(), right.clone()]);
            Reply::Set(sort(pairs.iter().map(pair).collect()))
        }
        other => other.clone(),
    }
}

fn scanned(reply: &Reply, pairs: bool) -> Reply {
    match reply {
        Reply::Array(items) if items.len() == 2 => {
            let members = if pairs { paired(&floats(&items[1])) } else { sorted(&items[1]) };
            Reply::Array(vec![items[0].clone(), members])
        }
        other => other.clone(),
    }
}

/// Every leaf that is a number in its shortest form, at any depth.
fn floats(reply: &Reply) -> Reply {
    match reply {
        Reply::Bulk(bytes) => match number(bytes) {
            Some(value) => Reply::Bulk(format!("{value:?}").into_bytes()),
            None => reply.clone(),
        },
        Reply::Double(text) => match number(text.as_bytes()) {
            Some(value) => Reply::Double(format!("{value:?}")),
            None => reply.clone(),
        },
        other => map_children(other, &floats),
    }
}

fn number(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let digits = text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| b"+-.eE0123456789".contains(&byte));
    // 7.2 keeps the sign of a zero in a big set only; which of them are big can differ after loading.
    digits.then(|| text.parse::<f64>().ok()).flatten().map(|value| value + 0.0)
}

fn cut_at_zero(reply: &Reply) -> Reply {
    match reply {
        Reply::Bulk(bytes) => Reply::Bulk(bytes.iter().copied().take_while(|&byte| byte != 0).collect()),
        other => map_children(other, &cut_at_zero),
    }
}

fn map_children(reply: &Reply, change: &dyn Fn(&Reply) -> Reply) -> Reply {
    let all = |items: &[Reply]| items.iter().map(change).collect::<Vec<Reply>>();
    match reply {
        Reply::Array(items) => Reply::Array(all(items)),
        Reply::Set(items) => Reply::Set(all(items)),
        Reply::Push(items) => Reply::Push(all(items)),
        Reply::Map(pairs) => {
            Reply::Map(pairs.iter().map(|(left, right)| (change(left), change(right))).collect())
        }
        other => other.clone(),
    }
}

/// Fields of XINFO that tell the time or the inner structure, or that 7.0 does not have.
const TIMES: [&[u8]; 6] =
    [b"seen-time", b"active-time", b"idle", b"inactive", b"radix-tree-nodes", b"radix-tree-keys"];

/// Maps (flat or not) without the fields of [`TIMES`]; delivery times in lists of pending entries are 0.
fn timeless(reply: &Reply) -> Reply {
    match reply {
        Reply::Map(pairs) => {
            let flat: Vec<Reply> =
                pairs.iter().flat_map(|(left, right)| [left.clone(), right.clone()]).collect();
            timeless(&Reply::Array(flat))
        }
        Reply::Array(items)
            if items.iter().any(|item| matches!(item, Reply::Bulk(name) if name == b"pel-count")) =>
        {
            without_times(items, true)
        }
        Reply::Array(items) => without_times(items, false),
        other => other.clone(),
    }
}

fn without_times(items: &[Reply], has_pending: bool) -> Reply {
    let mut kept = Vec::new();
    let mut index = 0;
    while index < items.len() {
        match &items[index] {
            Reply::Bulk(name) if TIMES.contains(&name.as_slice()) => index += 1,
            Reply::Bulk(name) if has_pending && (name == b"pel" || name == b"pending") => {
                kept.push(Reply::bulk("pel"));
                kept.extend(items.get(index + 1).map(undelivered));
                index += 1;
            }
            other => kept.push(timeless(other)),
        }
        index += 1;
    }
    Reply::Array(kept)
}

/// Pending entries without the delivery time, which is the first number after the names.
fn undelivered(reply: &Reply) -> Reply {
    let entry = |entry: &Reply| match entry {
        Reply::Array(fields) => {
            let first = fields.iter().position(|field| matches!(field, Reply::Int(_)));
            let kept = fields.iter().enumerate().filter(|(at, _)| Some(*at) != first);
            Reply::Array(kept.map(|(_, field)| field.clone()).collect())
        }
        other => other.clone(),
    };
    map_children(reply, &entry)
}

/// XPENDING's long form without idle times.
fn idle_free(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(entries)
            if entries.iter().all(|entry| matches!(entry, Reply::Array(fields) if fields.len() == 4)) =>
        {
            undelivered(reply)
        }
        other => other.clone(),
    }
}

/// Kinds of replies and their numbers, without what stands in them.
pub fn shape(reply: &Reply) -> Reply {
    match reply {
        Reply::Bulk(_) => Reply::Bulk(Vec::new()),
        Reply::Double(_) => Reply::Double(String::new()),
        Reply::Int(_) => Reply::Int(0),
        other => map_children(other, &shape),
    }
}

/// All texts in a reply, scores in one form.
fn leaves(reply: &Reply, found: &mut Vec<Vec<u8>>) {
    match reply {
        Reply::Bulk(bytes) => found.push(bytes.clone()),
        Reply::Double(text) => found.push(text.clone().into_bytes()),
        Reply::Simple(text) => found.push(text.clone().into_bytes()),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            items.iter().for_each(|item| leaves(item, found));
        }
        Reply::Map(pairs) => pairs.iter().for_each(|(left, right)| {
            leaves(left, found);
            leaves(right, found);
        }),
        _ => {}
    }
}

/// Why a random pick cannot be right, if so: members that are not there, or the same one twice.
pub fn wrong_pick(members: &Reply, picked: &Reply, distinct: bool) -> Option<String> {
    let (mut all, mut chosen) = (Vec::new(), Vec::new());
    leaves(members, &mut all);
    leaves(picked, &mut chosen);
    // Our own server gave both, so scores have the same form.
    let all: BTreeSet<Vec<u8>> = all.into_iter().collect();
    if let Some(foreign) = chosen.iter().find(|member| !all.contains(*member)) {
        return Some(format!("picked {:?}, which is no member", String::from_utf8_lossy(foreign)));
    }
    let different: BTreeSet<&Vec<u8>> = chosen.iter().collect();
    (distinct && different.len() != chosen.len()).then(|| "picked the same member twice".to_owned())
}
