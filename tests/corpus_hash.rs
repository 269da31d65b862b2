//! Hashes in recorded files: every encoding, with and without expiry of fields.

mod common;

use common::corpus;
use tine::base::hash::HashSeed;
use tine::keyspace::{Keyspace, NewValue};
use tine::persist::child::ChildLink;
use tine::persist::rdb::dump::{payload_of, restore};
use tine::persist::rdb::{LoadOptions, SaveOptions, load_file, save_to};
use tine::sys::io::OsStorage;
use tine::value::hash::FieldExpiry;
use tine::value::{HashRef, HashValue, PackedLimits, TypeLimits, Value, ValueRef};

/// Field, value, expiry.
type Field = (String, String, Option<i64>);

/// What a file holds under a key: fields, values and expiry times, sorted by field.
fn fields_of(file: &str, key: &[u8]) -> Option<(&'static str, Vec<Field>)> {
    let corpus = corpus()?;
    let found = corpus.files.iter().find(|entry| entry.name == file).expect("the corpus has the file");
    let mut keyspace = Keyspace::new(16, HashSeed([1; 16])).expect("a thread starts");
    load_file(&OsStorage, &found.path, &mut keyspace, LoadOptions::default(), 1 << 20, &mut |_| {})
        .expect("the file is good")
        .expect("the file is there");
    let hash = keyspace.hash(key);
    let view = keyspace.db(0).find(hash, key).expect("the key is in the file");
    let ValueRef::Hash(hash) = view.value() else { panic!("the key holds a hash") };
    assert_eq!(
        hash.may_expire() && hash.earliest_expiry_ms().is_some(),
        keyspace.db(0).may_have_field_expiry()
    );
    Some((hash.encoding(), sorted(hash)))
}

fn sorted(hash: HashRef<'_>) -> Vec<(String, String, Option<i64>)> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let mut fields: Vec<_> = hash
        .fields()
        .map(|field| (text(field.name.to_vec()), text(field.value.to_vec()), field.expiry_ms))
        .collect();
    fields.sort();
    fields
}

#[test]
fn forms_of_early_7_4() {
    let field = |number: u8, at_ms: Option<i64>| (format!("field{number}"), format!("value{number}"), at_ms);
    let Some((encoding, fields)) = fields_of("librdb-hash_with_expire_v12.rdb", b"myhash") else { return };
    assert_eq!(encoding, "listpackex");
    let expected = [field(1, Some(0x3fff_ffff_e4a7)), field(2, Some(0x3fff_ffff_e24f)), field(3, None)];
    assert_eq!(fields, expected);
    let (encoding, packed) = fields_of("librdb-hash_lp_with_hexpire_v12.rdb", b"myhash").expect("as before");
    assert_eq!((encoding, packed.len()), ("listpackex", 3));
    assert_eq!(packed.iter().filter(|field| field.2.is_none()).count(), 1);
}

#[test]
fn forms_of_7_4_and_8() {
    let Some((encoding, fields)) = fields_of("replicator-dump-ttlhash.rdb", b"ttlhash") else { return };
    assert_eq!(encoding, "listpackex");
    let at = |ms| Some(ms);
    assert_eq!(
        fields,
        [
            ("f1".into(), "v1".into(), at(0x0197_4f4f_95b4)),
            ("f2".into(), "v2".into(), at(0x0197_5545_896a)),
            ("f3".into(), "v3".into(), None),
        ]
    );
}

#[test]
fn the_form_of_valkey() {
    let Some((_, fields)) = fields_of("hdt-valkey_hash2_with_hfe.rdb", b"hash2-hfe") else { return };
    let field = |number: u8, at_ms| (format!("F{number}"), format!("V{number}"), at_ms);
    let expected = [field(1, Some(2_715_785_640_000)), field(2, Some(2_400_425_640_000)), field(3, None)];
    assert_eq!(fields, expected);
}

#[test]
fn old_forms() {
    for (file, key, expected) in [
        ("redis-hash-zipmap.rdb", &b"hash"[..], 2),
        ("redis-hash-ziplist.rdb", b"hash", 2),
        ("rdbtools-zipmap_that_doesnt_compress.rdb", b"zimap_doesnt_compress", 2),
    ] {
        let Some((encoding, fields)) = fields_of(file, key) else { return };
        assert_eq!((encoding, fields.len()), ("listpack", expected), "{file}");
    }
}

/// A keyspace with packed and big hashes; with expiry of fields when `expiry`.
fn made(expiry: bool) -> Keyspace {
    let seed = HashSeed([9; 16]);
    let mut keyspace = Keyspace::new(1, seed).expect("a thread starts");
    let limits = PackedLimits { entries: 16, value_bytes: 64 };
    for (key, fields) in [(&b"one"[..], 1i64), (b"packed", 16), (b"big", 500)] {
        let mut hash = HashValue::new();
        for number in 0..fields {
            let name = format!("field:{number}");
            let value =
                if number % 2 == 0 { number.to_string() } else { "text ".repeat(number as usize % 30) };
            let value = if fields == 500 { value } else { number.to_string() };
            let at = if expiry && number % 3 == 0 {
                FieldExpiry::At(5_000_000_000_000 - number)
            } else {
                FieldExpiry::Clear
            };
            hash.set(name.as_bytes(), value.as_bytes(), at, limits, seed);
        }
        let hashed = keyspace.hash(key);
        keyspace.db_mut(0).insert(hashed, key, NewValue::Owned(Value::Hash(hash)), None, 0);
    }
    keyspace
}

#[test]
fn every_version_holds_what_it_can() {
    for (version, expiry) in [(9, false), (10, false), (11, false), (12, false), (12, true)] {
        let keyspace = made(expiry);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dump.rdb");
        let mut bytes = Vec::new();
        let options = SaveOptions { version, ..SaveOptions::default() };
        save_to(&mut bytes, &keyspace, &options, &mut ChildLink::disconnected()).expect("a vector takes all");
        std::fs::write(&path, &bytes).expect("the file is written");
        let mut limits = TypeLimits::new(HashSeed([1; 16]));
        limits.hash = PackedLimits { entries: 16, value_bytes: 64 };
        let mut back = Keyspace::new(1, HashSeed([1; 16])).expect("a thread starts");
        let options = LoadOptions { limits: Some(limits), ..LoadOptions::default() };
        load_file(&OsStorage, &path, &mut back, options, 1 << 20, &mut |_| {}).expect("just written");
        for view in keyspace.db(0).iter() {
            let found = back.db(0).find(back.hash(view.key()), view.key()).expect("the key was saved");
            let (ValueRef::Hash(hash), ValueRef::Hash(loaded)) = (view.value(), found.value()) else {
                panic!("both are hashes")
            };
            assert_eq!(sorted(loaded), sorted(hash), "version {version}");
            assert_eq!(loaded.encoding(), hash.encoding(), "version {version}");
        }
        assert_eq!(back.db(0).may_have_field_expiry(), expiry);
    }
}

/// Any damage is refused or gives a hash whose fields can be walked; never a panic.
#[test]
fn damaged_hashes_are_survived() {
    let mut random = fastrand::Rng::with_seed(11);
    let (mut accepted, mut refused) = (0u32, 0u32);
    let mut limits = TypeLimits::new(HashSeed([1; 16]));
    for version in [9u8, 12] {
        for expiry in [false, true] {
            let keyspace = made(expiry);
            for view in keyspace.db(0).iter() {
                let payload = payload_of(&view.value(), version, true);
                for round in 0..2000 {
                    let mut body = payload[..payload.len() - 10].to_vec();
                    for _ in 0..random.usize(1..4) {
                        let at = random.usize(..body.len());
                        body[at] = random.u8(..);
                    }
                    if random.u8(..) < 30 {
                        body.truncate(random.usize(..body.len()));
                    }
                    if body.first().is_none_or(|number| !matches!(number, 4 | 16 | 22..=25)) {
                        continue;
                    }
                    limits.deep = round % 2 == 0;
                    match restore(&body, &limits, walk) {
                        Ok(()) => accepted += 1,
                        Err(_) => refused += 1,
                    }
                }
            }
        }
    }
    assert!(accepted > 500 && refused > 500, "{accepted} accepted, {refused} refused");
}

/// Uses a loaded hash in every way that reads or changes it.
fn walk(value: NewValue<'_>) {
    let NewValue::Owned(Value::Hash(mut hash)) = value else { panic!("the number is that of a hash") };
    let names: Vec<Vec<u8>> = hash.as_ref().fields().map(|field| field.name.to_vec()).collect();
    let copy = hash.as_ref().to_value();
    let _ = copy.as_ref().random_distinct(3, 0, &mut fastrand::Rng::with_seed(1));
    let limits = PackedLimits { entries: 4, value_bytes: 8 };
    for name in names.iter().take(20) {
        hash.set_expiry(name, Some(50));
        hash.set(name, b"new", FieldExpiry::Keep, limits, HashSeed([2; 16]));
    }
    hash.take_due(100, 5, |_| {});
    for name in names.iter().skip(3).take(20) {
        hash.remove(name);
    }
}
