//! Rules of single text directives beyond "any text". Each gives the reason that Redis 7.2 gives.

use crate::base::timestamp::parse_unix_s;

/// Longest announced host name, in bytes (RFC 1035 allows 255).
const MAX_HOST_BYTES: usize = 255;

/// Variables that `proc-title-template` knows.
const TITLE_VARIABLES: [&[u8]; 7] =
    [b"title", b"listen-addr", b"server-mode", b"config-file", b"port", b"tls-port", b"unixsocket"];

pub(super) fn any(_: &[u8]) -> Result<(), &'static str> {
    Ok(())
}

fn is_base_name(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'/' | b'\\'))
}

pub(super) fn rdb_file_name(text: &[u8]) -> Result<(), &'static str> {
    if is_base_name(text) { Ok(()) } else { Err("dbfilename can't be a path, just a filename") }
}

/// A point in time, or nothing.
pub(super) fn timestamp(text: &[u8]) -> Result<(), &'static str> {
    let is_time = std::str::from_utf8(text).is_ok_and(|text| parse_unix_s(text).is_some());
    match text.is_empty() || is_time {
        true => Ok(()),
        false => Err("argument must be Unix seconds or a date such as 2026-11-21T18:00:00Z"),
    }
}

pub(super) fn aof_file_name(text: &[u8]) -> Result<(), &'static str> {
    match text {
        b"" => Err("appendfilename can't be empty"),
        name if is_base_name(name) => Ok(()),
        _ => Err("appendfilename can't be a path, just a filename"),
    }
}

pub(super) fn aof_directory_name(text: &[u8]) -> Result<(), &'static str> {
    match text {
        b"" => Err("appenddirname can't be empty"),
        name if is_base_name(name) => Ok(()),
        _ => Err("appenddirname can't be a path, just a dirname"),
    }
}

pub(super) fn host_name(text: &[u8]) -> Result<(), &'static str> {
    if text.len() > MAX_HOST_BYTES {
        return Err("Hostnames must be less than 256 characters");
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if text.iter().all(allowed) {
        return Ok(());
    }
    Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
}

pub(super) fn node_name(text: &[u8]) -> Result<(), &'static str> {
    let refused = |byte: &u8| b"!#$%&()*+:;<>?@[]^{|}~".contains(byte);
    if text.iter().any(refused) {
        Err("Announced human node name contained invalid character")
    } else {
        Ok(())
    }
}

/// Known variables in braces, `{{` for a brace, and not blank.
pub(super) fn title_template(text: &[u8]) -> Result<(), &'static str> {
    const INVALID: &str = "template format is invalid or contains unknown variables";
    let mut rest = text;
    let mut shows_something = false;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'{' {
            shows_something |= first != b' ';
            continue;
        }
        shows_something = true;
        if rest.first() == Some(&b'{') {
            rest = &rest[1..];
            continue;
        }
        let end = rest.iter().position(|&byte| byte == b'}').ok_or(INVALID)?;
        if !TITLE_VARIABLES.contains(&&rest[..end]) {
            return Err(INVALID);
        }
        rest = &rest[end + 1..];
    }
    if shows_something { Ok(()) } else { Err(INVALID) }
}

#[cfg(test)]
mod tests {
    use super::{aof_file_name, host_name, node_name, rdb_file_name, title_template};

    #[test]
    fn rules_of_texts() {
        assert!(rdb_file_name(b"dump.rdb").is_ok());
        assert!(rdb_file_name(b"../dump.rdb").is_err());
        assert_eq!(aof_file_name(b""), Err("appendfilename can't be empty"));
        assert!(host_name(b"node-1.example.org").is_ok());
        assert!(host_name(b"node_1").is_err());
        assert!(host_name(&[b'a'; 256]).is_err());
        assert!(node_name(b"my node").is_ok());
        assert!(node_name(b"a{b").is_err());
    }

    #[test]
    fn title_templates() {
        for good in ["{title} {listen-addr} {server-mode}", "{{x", "--my--title", "{port}"] {
            assert!(title_template(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", "  ", "{", "{title", "{unknown}", "a {Title}"] {
            assert!(title_template(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
