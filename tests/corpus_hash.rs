//! Hashes in recorded files: every encoding, with and without expiry of fields.

mod common;

use common::corpus;
use tine::base::hash::HashSeed;
use tine::keyspace::Keyspace;
use tine::persist::rdb::{LoadOptions, load_file};
use tine::sys::io::OsStorage;
use tine::value::{HashRef, ValueRef};

/// What a file holds under a key: fields, values and expiry times, sorted by field.
fn fields_of(file: &str, key: &[u8]) -> Option<(&'static str, Vec<(String, String, Option<i64>)>)> {
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
