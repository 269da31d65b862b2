//! All data of both servers compared, key by key where the digests differ.

use crate::common::Reply;
use crate::compare::{Check, agree, is_reference_old};
use crate::generator::DATABASES;
use crate::sides::{Broken, Pair};

/// Expiry times may differ by this much, ms: the servers run a command one after the other.
const EXPIRY_DISTANCE_MS: i64 = 10_000;

/// What is asked of every key, and how the answers are compared.
const QUESTIONS: [(&str, Check); 4] = [
    ("TYPE", Check::Exact),
    ("PEXPIRETIME", Check::Close(EXPIRY_DISTANCE_MS)),
    ("OBJECT ENCODING", Check::Encoding),
    ("DEBUG DIGEST-VALUE", Check::Ignore),
];

/// The first difference of the data, if there is one.
pub fn difference(pair: &mut Pair) -> Result<Option<String>, Broken> {
    let mut digests = true;
    for db in 0..DATABASES {
        pair.look(&["SELECT", &db.to_string()])?;
        let (left, right) = pair.look(&["KEYS", "*"])?;
        if !agree(&Check::Unordered, &left, &right) {
            return Ok(Some(format!("db {db}: keys {} against {}", show(&left), show(&right))));
        }
        let keys: Vec<Vec<u8>> = left.items().iter().filter_map(bytes).collect();
        let asked = keys.iter().flat_map(|key| QUESTIONS.iter().map(|(words, _)| command(words, key, "")));
        let answers = pair.look_all(&asked.collect::<Vec<_>>())?;
        for (key, answers) in keys.iter().zip(answers.chunks(QUESTIONS.len())) {
            if let Some(problem) = key_difference(pair, key, answers, &mut digests)? {
                return Ok(Some(format!("db {db} key \"{}\": {problem}", key.escape_ascii())));
            }
        }
    }
    let (left, right) = pair.look(&["DEBUG", "DIGEST"])?;
    let differs = digests && left != right;
    Ok(differs.then(|| format!("equal keys, but DEBUG DIGEST {} against {}", show(&left), show(&right))))
}

fn bytes(reply: &Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Bulk(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

/// Words, a key and more words, as arguments.
fn command(words: &str, key: &[u8], rest: &str) -> Vec<Vec<u8>> {
    let split = |text: &str| -> Vec<Vec<u8>> {
        text.split(' ').filter(|word| !word.is_empty()).map(|word| word.as_bytes().to_vec()).collect()
    };
    [split(words), vec![key.to_vec()], split(rest)].concat()
}

fn key_difference(
    pair: &mut Pair,
    key: &[u8],
    answers: &[(Reply, Reply)],
    digests: &mut bool,
) -> Result<Option<String>, Broken> {
    for ((words, check), (left, right)) in QUESTIONS.iter().zip(answers) {
        if !agree(check, left, right) {
            return Ok(Some(format!("{words} {} against {}", show(left), show(right))));
        }
    }
    let kind = answers[0].0.text();
    let encodings = &answers[2];
    // 7.2 converts by the number of fields that a command brings, 7.0 field by field.
    if kind == "hash" && !is_reference_old() && encodings.0 != encodings.1 {
        return Ok(Some(format!("encoding {} against {}", show(&encodings.0), show(&encodings.1))));
    }
    if kind == "string" && encodings.0 != encodings.1 {
        let (value, _) = pair.look(&command("GET", key, ""))?;
        if !matches!(&value, Reply::Bulk(bytes) if bytes.starts_with(b"HYLL")) {
            return Ok(Some(format!("encoding {} against {}", show(&encodings.0), show(&encodings.1))));
        }
    }
    let (left, right) = &answers[3];
    if left == right && kind != "stream" {
        return Ok(None);
    }
    let (words, rest, check) = match kind.as_str() {
        "string" => ("GET", "", Check::Exact),
        "list" => ("LRANGE", "0 -1", Check::Exact),
        "hash" => ("HGETALL", "", Check::Pairs),
        "set" => ("SMEMBERS", "", Check::Unordered),
        "zset" => ("ZRANGE", "0 -1 WITHSCORES", Check::Float),
        _ => ("XINFO STREAM", "FULL COUNT 0", Check::StreamInfo),
    };
    let (theirs, ours) = pair.look(&command(words, key, rest))?;
    if !agree(&check, &theirs, &ours) {
        return Ok(Some(format!("{kind} {} against {}", show(&theirs), show(&ours))));
    }
    // 7.0 prints scores with seventeen digits, in the digest as well; the sign of a zero can differ.
    if left != right && kind == "zset" && (is_reference_old() || theirs != ours) {
        *digests = false;
        return Ok(None);
    }
    let problem =
        || format!("same {kind} content, other DIGEST-VALUE {} against {}", show(left), show(right));
    Ok((left != right).then(problem))
}

/// A reply in one line, cut where it gets long.
pub fn show(reply: &Reply) -> String {
    const LENGTH_MAX: usize = 1500;
    let mut text = String::new();
    write(reply, &mut text);
    if text.len() > LENGTH_MAX {
        let cut = (0..=LENGTH_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(cut);
        text.push_str("...");
    }
    text
}

fn write(reply: &Reply, text: &mut String) {
    match reply {
        Reply::Bulk(bytes) => text.push_str(&format!("\"{}\"", bytes.escape_ascii())),
        Reply::Int(value) => text.push_str(&value.to_string()),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            text.push(if matches!(reply, Reply::Array(_)) { '[' } else { '{' });
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { " " });
                write(item, text);
            }
            text.push(if matches!(reply, Reply::Array(_)) { ']' } else { '}' });
        }
        other => text.push_str(&format!("{other:?}")),
    }
}
