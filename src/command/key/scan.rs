//! KEYS and SCAN, and what the other SCANs share: cursors and options.

use crate::base::glob::{self, Case};
use crate::command::arg;
use crate::resp::{Args, Reply};
use crate::server::error::{self, CommandResult, ReplyError};
use crate::server::spec::{Group, category, flag};
use crate::server::{CommandSpec, Ctx};
use crate::value::ValueType;

const ROW: CommandSpec =
    CommandSpec { arity: -2, categories: category::KEYSPACE, group: Group::Generic, ..CommandSpec::DEFAULT };

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "keys",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        arity: 2,
        flags: flag::READONLY,
        categories: category::KEYSPACE | category::DANGEROUS,
        complexity: "O(N) where N is the number of keys in the database.",
        summary: "Gives the names of all keys that match a pattern.",
        handler: keys,
        ..ROW
    },
    CommandSpec {
        name: "scan",
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        flags: flag::READONLY | flag::TOUCHES_ARBITRARY_KEYS,
        since: "2.8.0",
        complexity: "O(1) for a call, O(N) for a whole walk over N keys.",
        summary: "Walks over the names of all keys in small steps.",
        handler: scan,
        ..ROW
    },
];

/// Elements a step looks at unless COUNT says otherwise.
const DEFAULT_COUNT: usize = 10;
/// Buckets a step visits for each element asked for: bounds the time in a sparse table.
const BUCKETS_PER_ELEMENT: usize = 10;

/// Reads a cursor as C's `strtoul` does, but refuses blanks in front and anything behind.
pub fn parse_cursor(text: &[u8]) -> Result<u64, ReplyError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() && !text.is_empty() {
        return Err(error::INVALID_CURSOR);
    }
    let mut value = 0u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(error::INVALID_CURSOR);
        }
        let next = value.checked_mul(10).and_then(|value| value.checked_add((digit - b'0') as u64));
        value = next.ok_or(error::INVALID_CURSOR)?;
    }
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// Options of SCAN, HSCAN, SSCAN and ZSCAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOptions<'a> {
    /// Elements to look at, about; at least 1.
    pub count: usize,
    /// `None`: every element matches.
    pub pattern: Option<&'a [u8]>,
    /// `TYPE` was given; an unknown type matches nothing.
    pub wanted_type: Option<Option<ValueType>>,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options behind the cursor. `TYPE` belongs to SCAN only.
    pub fn parse(options: Args<'a>, with_type: bool) -> Result<Self, ReplyError> {
        let mut parsed = ScanOptions { count: DEFAULT_COUNT, pattern: None, wanted_type: None };
        let mut words = options.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or(error::SYNTAX)?;
            if arg::is(word, "count") {
                let count = arg::integer(value)?;
                parsed.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(error::SYNTAX)?;
            } else if arg::is(word, "match") {
                // The glob `*` does not match the empty name; as a filter it passes everything.
                parsed.pattern = (value != b"*").then_some(value);
            } else if with_type && arg::is(word, "type") {
                parsed.wanted_type = Some(ValueType::from_name(value));
            } else {
                return Err(error::SYNTAX);
            }
        }
        Ok(parsed)
    }

    /// Whether an element's name passes MATCH.
    #[inline]
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, Case::Sensitive))
    }

    /// Whether a key of this type passes TYPE.
    fn has_type(&self, kind: ValueType) -> bool {
        self.wanted_type.is_none_or(|wanted| wanted == Some(kind))
    }

    /// Buckets that one step may visit.
    pub fn buckets_max(&self) -> usize {
        self.count.saturating_mul(BUCKETS_PER_ELEMENT)
    }
}

fn scan(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let mut cursor = parse_cursor(args.at(1))?;
    let options = ScanOptions::parse(args.tail(2), true)?;
    let now_ms = ctx.now_ms();
    let server = &mut *ctx.server;
    let mut names = Reply::new(ctx.out.protocol);
    let mut expired: Vec<Box<[u8]>> = Vec::new();
    let (mut seen, mut sent) = (0, 0);
    let db = server.keyspace.db(ctx.db);
    for _ in 0..=options.buckets_max() {
        cursor = db.scan(cursor, |view| {
            seen += 1;
            if !options.matches(view.key()) {
                return;
            }
            if view.expiry_ms().is_some_and(|expiry_ms| now_ms > expiry_ms) {
                expired.push(view.key().into());
            } else if options.has_type(view.value_type()) {
                names.bulk(view.key());
                sent += 1;
            }
        });
        if cursor == 0 || seen >= options.count {
            break;
        }
    }
    server.propagation.stay_plain();
    // Looking an expired key up removes it, or finds that this is not our decision.
    for key in &expired {
        if server.find(ctx.db, key).is_some_and(|view| options.has_type(view.value_type())) {
            names.bulk(key);
            sent += 1;
        }
    }
    ctx.out.array(2);
    ctx.out.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    ctx.out.array(sent);
    ctx.out.raw(&names.buffer);
    Ok(())
}

fn keys(ctx: &mut Ctx<'_>, args: Args<'_>) -> CommandResult {
    let pattern = args.at(1);
    let now_ms = ctx.now_ms();
    let server = &*ctx.server;
    if glob::is_literal(pattern) {
        let found = server.keyspace.exists_quietly(ctx.db, server.keyspace.hash(pattern), pattern, now_ms);
        ctx.out.array(found as usize);
        if found {
            ctx.out.bulk(pattern);
        }
        return Ok(());
    }
    let every = pattern == b"*";
    let mark = ctx.out.begin_deferred();
    let mut count = 0;
    for view in server.keyspace.db(ctx.db).iter() {
        let key = view.key();
        let alive = view.expiry_ms().is_none_or(|expiry_ms| now_ms <= expiry_ms);
        if alive && (every || glob::matches(pattern, key, Case::Sensitive)) {
            ctx.out.bulk(key);
            count += 1;
        }
    }
    ctx.out.end_deferred_array(mark, count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ScanOptions, parse_cursor};
    use crate::resp::OwnedArgs;
    use crate::server::error;
    use crate::value::ValueType;

    #[test]
    fn cursors_as_strtoul_reads_them() {
        assert_eq!(parse_cursor(b"0"), Ok(0));
        assert_eq!(parse_cursor(b"0017"), Ok(17));
        assert_eq!(parse_cursor(b""), Ok(0));
        assert_eq!(parse_cursor(b"+5"), Ok(5));
        assert_eq!(parse_cursor(b"-1"), Ok(u64::MAX));
        assert_eq!(parse_cursor(b"18446744073709551615"), Ok(u64::MAX));
        for bad in [&b"18446744073709551616"[..], b" 1", b"1 ", b"x", b"-", b"1x", b"0x1"] {
            assert_eq!(parse_cursor(bad), Err(error::INVALID_CURSOR), "{bad:?}");
        }
    }

    /// Count, pattern and type.
    type Parsed = (usize, Option<Vec<u8>>, Option<Option<ValueType>>);

    fn options(words: &[&str], with_type: bool) -> Option<Parsed> {
        let args: OwnedArgs = words.iter().map(|word| word.as_bytes()).collect();
        let parsed = ScanOptions::parse(args.as_args(), with_type).ok()?;
        Some((parsed.count, parsed.pattern.map(<[u8]>::to_vec), parsed.wanted_type))
    }

    #[test]
    fn options_of_scan() {
        assert_eq!(options(&[], true), Some((10, None, None)));
        assert_eq!(options(&["MATCH", "*", "COUNT", "3"], true), Some((3, None, None)));
        assert_eq!(
            options(&["match", "a*", "type", "ZSET"], true),
            Some((10, Some(b"a*".to_vec()), Some(Some(ValueType::Zset))))
        );
        assert_eq!(options(&["type", "what"], true), Some((10, None, Some(None))));
        for bad in [&["count", "0"][..], &["count"], &["count", "x"], &["what", "1"]] {
            assert_eq!(options(bad, true), None, "{bad:?}");
        }
        assert_eq!(options(&["type", "set"], false), None);
    }
}
