//! Which arguments of a request are keys: found from the row's key specs.
//!
//! COMMAND GETKEYS answers from here, as do checks that must know a request's keys before it runs.
//! The search follows `getKeysUsingKeySpecs` of Redis 7.2 (behaviour only).

use crate::base::numbers::parse_i64;
use crate::resp::Args;
use crate::server::spec::{BeginSearch, CommandSpec, FindKeys, KeySpec, flag, key_flag};

/// One key argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAt {
    pub index: usize,
    /// [`key_flag`]s of its spec.
    pub flags: u32,
}

/// The arguments do not have the shape that the command's key specs describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidArguments;

/// Whether the command may have keys at all.
pub fn has_keys(spec: &CommandSpec) -> bool {
    spec.keys.iter().any(|keys| keys.flags & key_flag::NOT_KEY == 0)
}

/// The keys of a request, in the order of the specs. Arguments that only look like keys (shard
/// channels) are left out. O(arguments).
///
/// A spec that cannot be followed further (`unknown`, `incomplete`) ends the search: the row's own
/// function says then what the keys are; without one they are what was found before.
///
/// # Errors
/// When a count or an end of keys does not fit the arguments.
pub fn keys_of(spec: &CommandSpec, args: Args<'_>) -> Result<Vec<KeyAt>, InvalidArguments> {
    let mut found = Vec::new();
    for keys in spec.keys.iter().filter(|keys| keys.flags & key_flag::NOT_KEY == 0) {
        if is_left_empty(spec, keys, args) {
            continue;
        }
        let first = match first_argument(keys, args) {
            Begin::At(first) => first,
            Begin::Missing => continue,
            Begin::Unknown => {
                return Ok(spec.own_keys.map_or(found, |own_keys| own_keys(args)));
            }
        };
        let variable = spec.key_flags.filter(|_| keys.flags & key_flag::VARIABLE_FLAGS != 0);
        let flags = variable.map_or(keys.flags, |flags_of| flags_of(args));
        add_range(&KeySpec { flags, ..*keys }, args, first, &mut found)?;
        if keys.flags & key_flag::INCOMPLETE != 0 {
            return Ok(spec.own_keys.map_or(found, |own_keys| own_keys(args)));
        }
    }
    Ok(found)
}

/// The key of a command that has one key, always at the same place: what [`keys_of`] finds then, without
/// a list. `None` for all other commands, and when the argument is missing.
#[inline]
pub fn only_key<'a>(spec: &CommandSpec, args: Args<'a>) -> Option<&'a [u8]> {
    let [KeySpec { begin: BeginSearch::Index(index), find: FindKeys::Range { last: 0, .. }, flags, .. }] =
        spec.keys
    else {
        return None;
    };
    if flags & (key_flag::NOT_KEY | key_flag::INCOMPLETE) != 0 {
        return None;
    }
    args.get(*index)
}

/// Whether the key's place is empty because a list behind a keyword takes it (MIGRATE ... KEYS).
fn is_left_empty(spec: &CommandSpec, keys: &KeySpec, args: Args<'_>) -> bool {
    let BeginSearch::Index(index) = keys.begin else { return false };
    let is_list = |other: &KeySpec| {
        matches!(other.begin, BeginSearch::Keyword(..))
            && other.flags & key_flag::INCOMPLETE != 0
            && matches!(first_argument(other, args), Begin::At(_))
    };
    args.get(index).is_some_and(<[u8]>::is_empty) && spec.keys.iter().any(is_list)
}

enum Begin {
    At(usize),
    /// An optional keyword is not there.
    Missing,
    Unknown,
}

fn first_argument(keys: &KeySpec, args: Args<'_>) -> Begin {
    match keys.begin {
        BeginSearch::Index(index) => Begin::At(index),
        BeginSearch::Unknown => Begin::Unknown,
        BeginSearch::Keyword(word, start) => {
            let is_word = |index: &usize| args[*index].eq_ignore_ascii_case(word.as_bytes());
            let found = if start > 0 {
                (start as usize..args.len().saturating_sub(1)).find(is_word)
            } else {
                let from = args.len().saturating_sub(start.unsigned_abs() as usize);
                (2..=from.min(args.len().saturating_sub(1))).rev().find(is_word)
            };
            found.map_or(Begin::Missing, |index| Begin::At(index + 1))
        }
    }
}

fn add_range(
    keys: &KeySpec,
    args: Args<'_>,
    first: usize,
    found: &mut Vec<KeyAt>,
) -> Result<(), InvalidArguments> {
    let count = args.len() as i64;
    let first = first as i64;
    let (first, last, step) = match keys.find {
        FindKeys::Unknown => return Ok(()),
        FindKeys::Range { last, step, .. } if last >= 0 => (first, first + last as i64, step as i64),
        FindKeys::Range { last, step, limit } if limit <= 1 => (first, count + last as i64, step as i64),
        FindKeys::Range { last, step, limit } => {
            (first, first + (count - first) / limit as i64 + last as i64, step as i64)
        }
        FindKeys::Count { count_index, first: offset, step } => {
            let stated = args.get(first as usize + count_index).and_then(parse_i64);
            let keys = stated.filter(|keys| *keys >= 0).ok_or(InvalidArguments)?;
            let first = first + offset as i64;
            (first, first.saturating_add(keys).saturating_sub(1), step as i64)
        }
    };
    if last >= count || last < first || first >= count {
        return Err(InvalidArguments);
    }
    let mut index = first;
    while index <= last {
        found.push(KeyAt { index: index as usize, flags: keys.flags });
        index += step.max(1);
    }
    Ok(())
}

/// The one range that clients before key specs know (COMMAND INFO's first key, last key, step):
/// `None` when there is none. A last key below zero counts from the end.
pub fn legacy_range(spec: &CommandSpec) -> Option<(i64, i64, i64)> {
    if let [KeySpec { begin: BeginSearch::Index(first), find: FindKeys::Range { last, step, .. }, .. }] =
        spec.keys
    {
        return Some((*first as i64, absolute(*first, *last), *step as i64));
    }
    let mut range: Option<(i64, i64)> = None;
    for keys in spec.keys {
        let KeySpec { begin: BeginSearch::Index(first), find: FindKeys::Range { last, step: 1, .. }, .. } =
            keys
        else {
            continue;
        };
        let last = absolute(*first, *last);
        range = match range {
            None => Some((*first as i64, last)),
            Some((begin, before)) if before == *first as i64 - 1 => Some((begin, last)),
            other => other,
        };
    }
    range.map(|(first, last)| (first, last, 1))
}

fn absolute(first: usize, last: i32) -> i64 {
    if last >= 0 { first as i64 + last as i64 } else { last as i64 }
}

/// Whether [`legacy_range`] does not tell all keys: COMMAND INFO shows `movablekeys` then.
pub fn has_movable_keys(spec: &CommandSpec) -> bool {
    if spec.has(flag::MOVABLEKEYS) || spec.keys.iter().any(|keys| keys.flags & key_flag::INCOMPLETE != 0) {
        return true;
    }
    let plain = |keys: &KeySpec| matches!((keys.begin, keys.find), (BeginSearch::Index(_), FindKeys::Range { step, .. }) if step == 1 || spec.keys.len() == 1);
    let last_of = |keys: &KeySpec| match (keys.begin, keys.find) {
        (BeginSearch::Index(first), FindKeys::Range { last, .. }) => absolute(first, last),
        _ => 0,
    };
    let follows =
        |pair: &[KeySpec]| pair[1].begin == BeginSearch::Index((last_of(&pair[0]) + 1).max(0) as usize);
    !spec.keys.iter().all(plain) || !spec.keys.windows(2).all(follows)
}

#[cfg(test)]
mod tests {
    use super::{InvalidArguments, has_movable_keys, keys_of, legacy_range, only_key};
    use crate::resp::OwnedArgs;
    use crate::server::spec::{BeginSearch, CommandSpec, FindKeys, KeySpec, key_flag};

    /// Rows live for ever, so these do too.
    fn spec(keys: &[KeySpec]) -> CommandSpec {
        CommandSpec { name: "x", arity: -1, keys: keys.to_vec().leak(), ..CommandSpec::DEFAULT }
    }

    fn found(keys: &[KeySpec], line: &str) -> Result<Vec<usize>, InvalidArguments> {
        let args: OwnedArgs = line.split(' ').map(str::as_bytes).collect();
        let keys = keys_of(&spec(keys), args.as_args())?;
        Ok(keys.iter().map(|key| key.index).collect())
    }

    const STORE: KeySpec = KeySpec {
        begin: BeginSearch::Keyword("STORE", 2),
        find: FindKeys::Range { last: 0, step: 1, limit: 0 },
        flags: key_flag::OW,
    };
    const COUNTED: KeySpec = KeySpec {
        begin: BeginSearch::Index(2),
        find: FindKeys::Count { count_index: 0, first: 1, step: 1 },
        flags: key_flag::RO,
    };
    const STREAMS: KeySpec = KeySpec {
        begin: BeginSearch::Keyword("STREAMS", 1),
        find: FindKeys::Range { last: -1, step: 1, limit: 2 },
        flags: key_flag::RO,
    };
    const FROM_END: KeySpec = KeySpec {
        begin: BeginSearch::Keyword("KEYS", -2),
        find: FindKeys::Range { last: -1, step: 1, limit: 0 },
        flags: key_flag::RW,
    };

    #[test]
    fn ranges_steps_and_ends() {
        assert_eq!(found(&[KeySpec::one(1, 0)], "get a"), Ok(vec![1]));
        assert_eq!(found(&[KeySpec::rest(1, 0)], "del a b c"), Ok(vec![1, 2, 3]));
        assert_eq!(found(&[KeySpec::range(1, -1, 2, 0)], "mset a 1 b 2"), Ok(vec![1, 3]));
        assert_eq!(found(&[KeySpec::range(1, -2, 1, 0)], "blpop a b 0"), Ok(vec![1, 2]));
        assert_eq!(found(&[KeySpec::one(1, 0)], "get"), Err(InvalidArguments));
    }

    #[test]
    fn the_only_key_is_what_the_list_would_hold() {
        fn only(keys: &[KeySpec], line: &str) -> Option<Vec<u8>> {
            let args: OwnedArgs = line.split(' ').map(str::as_bytes).collect();
            only_key(&spec(keys), args.as_args()).map(<[u8]>::to_vec)
        }
        assert_eq!(only(&[KeySpec::one(1, 0)], "get a"), Some(b"a".to_vec()));
        assert_eq!(only(&[KeySpec::one(1, 0)], "get"), None);
        assert_eq!(only(&[KeySpec::rest(1, 0)], "mget a"), None);
        assert_eq!(only(&[KeySpec::one(1, 0), STORE], "sort a"), None);
        assert_eq!(only(&[KeySpec::one(1, key_flag::NOT_KEY)], "spublish a b"), None);
    }

    #[test]
    fn counts_and_keywords() {
        assert_eq!(found(&[KeySpec::one(1, 0), COUNTED], "zunionstore t 2 a b"), Ok(vec![1, 3, 4]));
        for line in ["zunionstore t 3 a b", "zunionstore t x a", "zunionstore t -1 a", "zunionstore t 0 a"] {
            assert_eq!(found(&[COUNTED], line), Err(InvalidArguments), "{line}");
        }
        assert_eq!(found(&[KeySpec::one(1, 0), STORE], "sort a store b"), Ok(vec![1, 3]));
        assert_eq!(found(&[KeySpec::one(1, 0), STORE], "sort a desc"), Ok(vec![1]));
        assert_eq!(found(&[STREAMS], "xread count 2 streams a b 0 0"), Ok(vec![4, 5]));
        assert_eq!(found(&[FROM_END], "migrate h 1  0 9 keys a b"), Ok(vec![7, 8]));
    }

    #[test]
    fn arguments_that_only_look_like_keys() {
        assert_eq!(found(&[KeySpec::rest(1, key_flag::NOT_KEY)], "ssubscribe a"), Ok(vec![]));
    }

    #[test]
    fn what_old_clients_are_told() {
        let of = |keys: &[KeySpec]| (legacy_range(&spec(keys)), has_movable_keys(&spec(keys)));
        const MSET: &[KeySpec] = &[KeySpec::range(1, -1, 2, 0)];
        const TWO: &[KeySpec] = &[KeySpec::one(1, 0), KeySpec::one(2, 0)];
        assert_eq!(of(&[]), (None, false));
        assert_eq!(of(MSET), (Some((1, -1, 2)), false));
        assert_eq!(of(TWO), (Some((1, 2, 1)), false));
        assert_eq!(of(&[KeySpec::one(1, 0), STORE]), (Some((1, 1, 1)), true));
        assert_eq!(of(&[COUNTED]), (None, true));
    }
}
