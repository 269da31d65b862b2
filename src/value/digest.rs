//! The digest of a data set that DEBUG DIGEST shows: equal for equal data, whatever the order of keys.
//!
//! The algorithm is that of Redis 7.2 (`src/debug.c`), so digests of equal data sets are equal
//! across both servers. On 20 bytes that begin as zeros:
//!
//! ```text
//!   xor(data)  digest ^= SHA1(data)                         order does not matter
//!   mix(data)  digest ^= SHA1(data); digest = SHA1(digest)  order matters
//!   database   mix(number); for each key: xor(digest of [mix(key), mix(type), value, xor("!!expire!!")])
//! ```
//! Numbers are four bytes, big endian. What a value adds is decided by its type in
//! [`DataDigest::add_value`].

use crate::base::float::format_f64_digits;
use crate::value::set::with_text;
use crate::value::stream::StreamId;
use crate::value::string::Digits;
use crate::value::{HashRef, ListRef, SetRef, StreamRef, ValueRef, ZsetRef};
use sha1::{Digest as _, Sha1};

const BYTES: usize = 20;

/// A digest being made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct DataDigest([u8; BYTES]);

impl DataDigest {
    /// Adds something whose place does not matter.
    pub fn xor(&mut self, data: &[u8]) {
        for (own, other) in self.0.iter_mut().zip(Sha1::digest(data)) {
            *own ^= other;
        }
    }

    /// Adds something whose place matters.
    pub fn mix(&mut self, data: &[u8]) {
        self.xor(data);
        self.0 = Sha1::digest(self.0).into();
    }

    /// Adds a number whose place matters.
    pub fn mix_number(&mut self, number: u32) {
        self.mix(&number.to_be_bytes());
    }

    /// Adds the digest of something whose place does not matter, without summing it again.
    pub fn merge(&mut self, other: &DataDigest) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own ^= other;
        }
    }

    /// Adds a key of a data set.
    pub fn add_key(&mut self, key: &[u8], value: &ValueRef<'_>, expires: bool) {
        let mut digest = DataDigest::default();
        digest.mix(key);
        digest.add_value(value, expires);
        self.xor(&digest.0);
    }

    /// 40 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds a value and whether its key expires.
    pub fn add_value(&mut self, value: &ValueRef<'_>, expires: bool) {
        self.mix_number(type_number(value));
        match value {
            ValueRef::String(string) => self.mix(string.bytes(&mut Digits::new())),
            ValueRef::List(list) => add_list(self, *list),
            ValueRef::Set(set) => add_set(self, *set),
            ValueRef::Zset(zset) => add_zset(self, *zset),
            ValueRef::Hash(hash) => add_hash(self, *hash),
            ValueRef::Stream(stream) => add_stream(self, *stream),
        }
        if expires {
            self.xor(b"!!expire!!");
        }
    }
}

/// The number of a type in Redis.
fn type_number(value: &ValueRef<'_>) -> u32 {
    match value {
        ValueRef::String(_) => 0,
        ValueRef::List(_) => 1,
        ValueRef::Set(_) => 2,
        ValueRef::Zset(_) => 3,
        ValueRef::Hash(_) => 4,
        ValueRef::Stream(_) => 6,
    }
}

fn add_list(digest: &mut DataDigest, list: ListRef<'_>) {
    list.for_each(|element| with_text(element, |text| digest.mix(text)));
}

fn add_set(digest: &mut DataDigest, set: SetRef<'_>) {
    set.iter().for_each(|member| with_text(member, |text| digest.xor(text)));
}

fn add_zset(digest: &mut DataDigest, zset: ZsetRef<'_>) {
    let mut score_text = Vec::new();
    for (score, member) in zset.iter() {
        let mut pair = DataDigest::default();
        with_text(member, |text| pair.mix(text));
        score_text.clear();
        format_f64_digits(score, &mut score_text);
        pair.mix(&score_text);
        digest.xor(&pair.0);
    }
}

fn add_hash(digest: &mut DataDigest, hash: HashRef<'_>) {
    let (mut name, mut value) = (Vec::new(), Vec::new());
    for field in hash.fields() {
        let mut element = DataDigest::default();
        name.clear();
        value.clear();
        field.name.append_to(&mut name);
        field.value.append_to(&mut value);
        element.mix(&name);
        element.mix(&value);
        if field.expiry_ms.is_some() {
            element.xor(b"!!hexpire!!");
        }
        digest.xor(&element.0);
    }
}

fn add_stream(digest: &mut DataDigest, stream: StreamRef<'_>) {
    let mut text = Vec::new();
    for entry in stream.stream().log().range(StreamId::MIN, StreamId::MAX) {
        digest.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
        for (field, value) in entry.pairs() {
            for element in [field, value] {
                text.clear();
                element.append_to(&mut text);
                digest.mix(&text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DataDigest;

    #[test]
    fn order_counts_for_mix_only() {
        let digest = |steps: &[&dyn Fn(&mut DataDigest)]| {
            let mut digest = DataDigest::default();
            for step in steps {
                step(&mut digest);
            }
            digest
        };
        let (xor_a, xor_b) = (|d: &mut DataDigest| d.xor(b"a"), |d: &mut DataDigest| d.xor(b"b"));
        let (mix_a, mix_b) = (|d: &mut DataDigest| d.mix(b"a"), |d: &mut DataDigest| d.mix(b"b"));
        assert_eq!(digest(&[&xor_a, &xor_b]), digest(&[&xor_b, &xor_a]));
        assert_ne!(digest(&[&mix_a, &mix_b]), digest(&[&mix_b, &mix_a]));
        assert_eq!(digest(&[&xor_a, &xor_a]).hex(), "0".repeat(40));
    }
}
