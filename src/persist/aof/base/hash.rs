//! The commands that rebuild a hash: HMSET of up to 64 fields, HPEXPIREAT for those that expire.

use crate::ds::element::Element;
use crate::persist::aof::base::push_command;
use crate::value::HashRef;
use crate::value::hash::{Fields, HashField};

/// Fields a command, as in Redis: bounds what a loader must hold at once.
const FIELDS_PER_COMMAND: usize = 64;

/// Appends the commands for one key.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], hash: HashRef<'_>) {
    let mut fields = hash.fields();
    let mut left = hash.len();
    while left > 0 {
        let count = left.min(FIELDS_PER_COMMAND);
        push_fields(out, key, &mut fields, count);
        left -= count;
    }
    if hash.may_expire() {
        hash.fields().for_each(|field| push_expiry(out, key, &field));
    }
}

fn push_fields(out: &mut Vec<u8>, key: &[u8], fields: &mut Fields<'_>, count: usize) {
    push_header(out, b'*', 2 + 2 * count);
    push_bulk(out, b"HMSET");
    push_bulk(out, key);
    for field in fields.take(count) {
        push_element(out, field.name);
        push_element(out, field.value);
    }
}

fn push_expiry(out: &mut Vec<u8>, key: &[u8], field: &HashField<'_>) {
    let Some(expiry_ms) = field.expiry_ms else { return };
    let mut digits = itoa::Buffer::new();
    let at = digits.format(expiry_ms).as_bytes();
    push_command(out, &[b"HPEXPIREAT", key, at, b"FIELDS", b"1", &field.name.to_vec()]);
}

fn push_header(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn push_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    push_header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn push_element(out: &mut Vec<u8>, element: Element<'_>) {
    match element {
        Element::Int(value) => push_bulk(out, itoa::Buffer::new().format(value).as_bytes()),
        Element::Bytes(bytes) => push_bulk(out, bytes),
    }
}
