//! The canonical dump of a data set, as the files `expected/*.jsonl` of the corpus have it: one line of JSON a
//! key, taken through commands, so that it shows what clients see.

use sha2::{Digest, Sha256};

use crate::common::Reply;

/// A value longer than this many characters is replaced by its SHA-256.
const VALUE_CHARS_MAX: usize = 8000;

/// How a data set is asked.
pub type Ask<'a> = dyn FnMut(&[&[u8]]) -> Reply + 'a;

/// What the recorded dumps of a server know of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamForm {
    /// 6.2 has no counters of entries and no greatest deleted id.
    pub counters: bool,
}

/// The lines of all keys in databases 0 to `databases` - 1, sorted.
pub fn lines(ask: &mut Ask<'_>, databases: usize, form: StreamForm) -> Vec<String> {
    let mut lines = Vec::new();
    for db in 0..databases {
        assert!(!ask(&[b"SELECT", db.to_string().as_bytes()]).is_error(), "database {db} is there");
        for key in ask(&[b"KEYS", b"*"]).items() {
            lines.push(line(ask, db, bytes(key), form));
        }
    }
    lines.sort();
    lines
}

fn line(ask: &mut Ask<'_>, db: usize, key: &[u8], form: StreamForm) -> String {
    let kind = ask(&[b"TYPE", key]).text();
    let expiry = match ask(&[b"PEXPIRETIME", key]).int() {
        -1 => "null".to_owned(),
        at => at.to_string(),
    };
    let value = match kind.as_str() {
        "string" => text(bytes(&ask(&[b"GET", key]))),
        "list" => texts(ask(&[b"LRANGE", key, b"0", b"-1"]).items()),
        "set" => sorted(ask(&[b"SMEMBERS", key]).items().iter().map(|member| text(bytes(member))).collect()),
        "hash" => sorted(ask(&[b"HGETALL", key]).items().chunks(2).map(texts).collect()),
        "zset" => {
            array(ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]).items().chunks(2).map(scored).collect())
        }
        "stream" => stream(ask, key, form),
        other => panic!("a key of type {other}"),
    };
    let value = match value.chars().count() {
        chars if chars > VALUE_CHARS_MAX => {
            format!("\"value_sha256\":\"{}\",\"value_chars\":{chars}", hex(&Sha256::digest(value.as_bytes())))
        }
        _ => format!("\"value\":{value}"),
    };
    format!("{{\"db\":{db},\"key\":{},\"type\":\"{kind}\",\"expire_ms\":{expiry},{value}}}", text(key))
}

#[track_caller]
fn bytes(reply: &Reply) -> &[u8] {
    match reply {
        Reply::Bulk(bytes) => bytes,
        other => panic!("expected text, got {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes as a string of hex digits.
fn text(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(bytes))
}

/// Bytes that are readable as they are: ids, names of fields.
fn plain(reply: &Reply) -> String {
    format!("\"{}\"", reply.text())
}

fn array(items: Vec<String>) -> String {
    format!("[{}]", items.join(","))
}

fn texts(items: &[Reply]) -> String {
    array(items.iter().map(|item| text(bytes(item))).collect())
}

fn sorted(mut items: Vec<String>) -> String {
    items.sort();
    array(items)
}

fn scored(pair: &[Reply]) -> String {
    let score: f64 = pair[1].text().parse().expect("a score is a number");
    array(vec![text(bytes(&pair[0])), format!("\"{}\"", seventeen_digits(score))])
}

/// A number as `%.17g` prints it, which is how 7.0 and older print scores.
pub fn seventeen_digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        let sign = if value.is_sign_negative() { "-" } else { "" };
        return format!("{sign}{}", if value == 0.0 { "0" } else { "inf" });
    }
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("the form has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    let trim = |text: &str| -> String {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if (-4..17).contains(&exponent) {
        return trim(&format!("{value:.*}", usize::try_from(16 - exponent).expect("at most 16")));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
}

/// A field of XINFO's flat map.
fn field<'a>(map: &'a [Reply], names: &[&str]) -> Option<&'a Reply> {
    let named = |pair: &&[Reply]| names.iter().any(|name| pair[0] == Reply::bulk(name));
    map.chunks(2).find(named).map(|pair| &pair[1])
}

fn stream(ask: &mut Ask<'_>, key: &[u8], form: StreamForm) -> String {
    let info = ask(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]);
    let info = info.items();
    let known = |name: &str| field(info, &[name]).unwrap_or_else(|| panic!("XINFO has {name}"));
    let entries = ask(&[b"XRANGE", key, b"-", b"+"]);
    let entry = |entry: &Reply| array(vec![plain(&entry.items()[0]), texts(entry.items()[1].items())]);
    let mut parts = vec![
        format!("\"entries\":{}", array(entries.items().iter().map(entry).collect())),
        format!("\"last_id\":{}", plain(known("last-generated-id"))),
    ];
    if form.counters {
        parts.push(format!("\"max_deleted_id\":{}", plain(known("max-deleted-entry-id"))));
        parts.push(format!("\"entries_added\":{}", known("entries-added").int()));
        parts.push(format!("\"first_id\":{}", plain(known("recorded-first-entry-id"))));
    }
    let groups = known("groups").items().iter().map(|group| stream_group(group.items(), form));
    parts.push(format!("\"groups\":{}", array(groups.collect())));
    format!("{{{}}}", parts.join(","))
}

fn stream_group(group: &[Reply], form: StreamForm) -> String {
    let known = |name: &str| field(group, &[name]).unwrap_or_else(|| panic!("a group has {name}"));
    let mut parts = vec![
        format!("\"name\":{}", text(bytes(known("name")))),
        format!("\"last_id\":{}", plain(known("last-delivered-id"))),
    ];
    let read = known("entries-read");
    let read = if read.is_null() || !form.counters { "null".to_owned() } else { read.int().to_string() };
    parts.push(format!("\"entries_read\":{read}"));
    parts.push(format!("\"pel\":{}", pending(field(group, &["pel", "pending"]))));
    let consumers = known("consumers").items().iter().map(|consumer| stream_consumer(consumer.items()));
    parts.push(format!("\"consumers\":{}", array(consumers.collect())));
    format!("{{{}}}", parts.join(","))
}

fn stream_consumer(consumer: &[Reply]) -> String {
    let known = |name: &str| field(consumer, &[name]).unwrap_or_else(|| panic!("a consumer has {name}"));
    format!(
        "{{\"name\":{},\"seen_ms\":{},\"pel\":{}}}",
        text(bytes(known("name"))),
        known("seen-time").int(),
        pending(field(consumer, &["pel", "pending"]))
    )
}

/// Pending entries: id, consumer where there is one, delivery time, number of deliveries.
fn pending(entries: Option<&Reply>) -> String {
    let entries = entries.expect("there is a list of pending entries").items();
    let entry = |entry: &Reply| {
        let fields = entry.items().iter().enumerate();
        let one = |(at, field): (usize, &Reply)| match field {
            Reply::Int(number) => number.to_string(),
            id if at == 0 => plain(id),
            name => text(bytes(name)),
        };
        array(fields.map(one).collect())
    };
    array(entries.iter().map(entry).collect())
}

/// A line without times of consumers, which an AOF does not hold.
pub fn without_times(line: &str) -> String {
    /// Digits of a Unix time in ms since 2001.
    const TIME_DIGITS: usize = 13;
    let mut out = String::new();
    let mut quoted = false;
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == TIME_DIGITS && !quoted && !out.ends_with("\"expire_ms\":") {
            out.push('0');
            rest = &rest[digits..];
            continue;
        }
        let len = digits.max(first.len_utf8());
        quoted ^= first == '"';
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    out
}
