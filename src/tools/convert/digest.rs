//! What a file holds, in two sums that do not depend on the order of keys.
//!
//! ```text
//!  digest    as DEBUG DIGEST shows it: comparable with other servers, but it knows only that a key
//!            expires, not when, and of a stream only the entries
//!  details   everything else: times of expiry, a stream's ids and groups, idle times
//! ```
//! Details that the written form has no place for are left out by [`Kept`]; the losses count them.

use crate::persist::rdb::parse::Attributes;
use crate::tools::convert::losses::Kept;
use crate::value::digest::DataDigest;
use crate::value::stream::{Consumer, Group, Pending, StreamId};
use crate::value::{HashRef, StreamRef, ValueRef};
use std::collections::BTreeMap;

/// The digest of a data set whose keys come in any order, databases too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSetDigest {
    kept: Kept,
    /// Of each database: its keys' digests, and how many they are.
    databases: BTreeMap<u64, (DataDigest, u64)>,
    details: DataDigest,
}

impl DataSetDigest {
    /// That of no keys.
    pub fn new(kept: Kept) -> DataSetDigest {
        DataSetDigest { kept, databases: BTreeMap::new(), details: DataDigest::default() }
    }

    /// Adds a key of a database.
    pub fn add(&mut self, db: u64, key: &[u8], value: &ValueRef<'_>, attributes: Attributes) {
        let (digest, keys) = self.databases.entry(db).or_default();
        digest.add_key(key, value, attributes.expiry_ms.is_some());
        *keys += 1;
        let mut details = DataDigest::default();
        details.mix(&db.to_be_bytes());
        details.mix(key);
        mix_number(&mut details, attributes.expiry_ms.unwrap_or(-1));
        if self.kept.access {
            details.mix(format!("{:?} {:?}", attributes.idle_s, attributes.frequency).as_bytes());
        }
        match value {
            ValueRef::Hash(hash) => add_fields(&mut details, *hash),
            ValueRef::Stream(stream) => add_stream(&mut details, *stream, &self.kept),
            _ => {}
        }
        self.details.merge(&details);
    }

    pub fn keys(&self) -> u64 {
        self.databases.values().map(|(_, keys)| keys).sum()
    }

    /// Databases that hold keys.
    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// The digest of everything, as DEBUG DIGEST shows it.
    pub fn total(&self) -> DataDigest {
        let mut total = DataDigest::default();
        for (db, (keys, _)) in &self.databases {
            // As Redis counts them: in 32 bits.
            total.mix_number(*db as u32);
            total.merge(keys);
        }
        total
    }
}

fn mix_number(digest: &mut DataDigest, number: i64) {
    digest.mix(&number.to_be_bytes());
}

fn mix_id(digest: &mut DataDigest, id: StreamId) {
    digest.mix(&id.to_bytes());
}

/// When fields expire, in any order.
fn add_fields(digest: &mut DataDigest, hash: HashRef<'_>) {
    let mut name = Vec::new();
    for field in hash.fields() {
        let Some(expiry_ms) = field.expiry_ms else { continue };
        name.clear();
        field.name.append_to(&mut name);
        let mut element = DataDigest::default();
        element.mix(&name);
        mix_number(&mut element, expiry_ms);
        digest.merge(&element);
    }
}

/// A stream's ids, counters and groups.
fn add_stream(digest: &mut DataDigest, stream: StreamRef<'_>, kept: &Kept) {
    let log = stream.stream().log();
    mix_id(digest, log.last_id());
    if kept.counters {
        mix_id(digest, log.max_deleted_id());
        digest.mix(&log.entries_added().to_be_bytes());
    }
    for (name, group) in stream.stream().groups() {
        let mut one = DataDigest::default();
        one.mix(name);
        add_group(&mut one, group, kept);
        digest.merge(&one);
    }
}

fn add_group(digest: &mut DataDigest, group: &Group, kept: &Kept) {
    mix_id(digest, group.last_id);
    if kept.counters {
        mix_number(digest, group.entries_read);
    }
    for consumer in group.consumers() {
        let mut one = DataDigest::default();
        add_consumer(&mut one, consumer, kept);
        digest.merge(&one);
    }
    for (id, pending) in group.pending().iter() {
        let Pending { consumer, delivered_ms, deliveries } = pending;
        mix_id(digest, *id);
        digest.mix(group.consumer_name(*consumer));
        mix_number(digest, (*delivered_ms).min(kept.delivered_max_ms));
        digest.mix(&deliveries.to_be_bytes());
    }
}

fn add_consumer(digest: &mut DataDigest, consumer: &Consumer, kept: &Kept) {
    digest.mix(consumer.name());
    if kept.seen {
        mix_number(digest, consumer.seen_ms);
    }
    if kept.active {
        mix_number(digest, consumer.active_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::DataSetDigest;
    use crate::persist::rdb::parse::Attributes;
    use crate::tools::convert::losses::{Format, Kept};
    use crate::tools::convert::source::{digest_keyspace, execute};
    use crate::value::stream::{Group, Stream, StreamId};
    use crate::value::{StrRef, StreamRef, ValueRef};

    /// Far enough in the future for all that expires.
    const LOG: &str = "SET k v\nPEXPIREAT k 9000000000001\nHSET h f v g w\nHPEXPIREAT h 9000000000002 FIELDS 1 f\n\
        XADD x 1-1 a b\nXADD x 2-1 c d\nXGROUP CREATE x group 1-1 ENTRIESREAD 1\n\
        XCLAIM x group ann 0 2-1 TIME 1700000000003 RETRYCOUNT 4 FORCE JUSTID\n\
        XGROUP CREATECONSUMER x group bob\nXSETID x 5-5 ENTRIESADDED 6 MAXDELETEDID 3-7\n";

    fn kept() -> Kept {
        Kept::by(Format::Commands, 12, 1_800_000_000_000)
    }

    fn digest_of(log: &str) -> DataSetDigest {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("a.aof");
        let mut content = Vec::new();
        for line in log.lines() {
            let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            crate::persist::aof::base::push_command(&mut content, &words);
        }
        std::fs::write(&path, content).expect("the folder is writable");
        let server = execute(&[path], 0).expect("the commands are good");
        digest_keyspace(&server.keyspace, kept())
    }

    #[test]
    fn each_detail_counts() {
        let good = digest_of(LOG);
        assert_eq!(good, digest_of(LOG));
        assert_eq!(good.keys(), 3);
        let others = [
            ("9000000000001", "9000000000009"),
            ("9000000000002", "9000000000009"),
            ("FIELDS 1 f", "FIELDS 1 g"),
            ("CREATE x group 1-1", "CREATE x group 1-2"),
            ("ENTRIESREAD 1", "ENTRIESREAD 2"),
            (" group", " other"),
            ("TIME 1700000000003", "TIME 1700000000009"),
            ("RETRYCOUNT 4", "RETRYCOUNT 9"),
            (" ann", " eve"),
            (" bob", " joe"),
            ("XSETID x 5-5", "XSETID x 5-9"),
            ("ENTRIESADDED 6", "ENTRIESADDED 9"),
            ("MAXDELETEDID 3-7", "MAXDELETEDID 3-9"),
        ];
        for (part, other) in others {
            let found = digest_of(&LOG.replace(part, other));
            assert_ne!(found, good, "{other}");
            assert!(part.starts_with("FIELDS") || found.total() == good.total(), "{other}");
        }
    }

    #[test]
    fn times_of_access_count_where_they_are_kept() {
        let value = ValueRef::String(StrRef::Large(b"v"));
        let digest = |attributes: Attributes, version: u8, format: Format| {
            let mut digest = DataSetDigest::new(Kept::by(format, version, 0));
            digest.add(0, b"k", &value, attributes);
            digest
        };
        let plain = Attributes::default();
        for other in [
            Attributes { idle_s: Some(5), ..plain },
            Attributes { idle_s: Some(6), ..plain },
            Attributes { frequency: Some(5), ..plain },
        ] {
            assert_ne!(digest(other, 10, Format::Rdb), digest(plain, 10, Format::Rdb));
            assert_eq!(digest(other, 12, Format::Commands), digest(plain, 12, Format::Commands));
        }
    }

    #[test]
    fn times_of_consumers_count_where_they_are_kept() {
        let digest = |seen_ms: i64, active_ms: i64, format: Format, version: u8| {
            let mut group = Group::new(StreamId::MIN, 0);
            let number = group.create_consumer(b"ann", seen_ms).expect("the name is free");
            group.consumer_mut(number).expect("it was made").active_ms = active_ms;
            let mut stream = Stream::default();
            assert!(stream.add_group(b"group", group));
            let mut digest = DataSetDigest::new(Kept::by(format, version, 0));
            digest.add(0, b"x", &ValueRef::Stream(StreamRef::Log(&stream)), Attributes::default());
            digest
        };
        for (format, version, seen, active) in [
            (Format::Rdb, 12, true, true),
            (Format::Rdb, 10, true, false),
            (Format::Commands, 12, false, false),
        ] {
            let first = digest(1, 2, format, version);
            assert_eq!(digest(9, 2, format, version) != first, seen, "{format:?} {version}");
            assert_eq!(digest(1, 9, format, version) != first, active, "{format:?} {version}");
        }
    }
}
