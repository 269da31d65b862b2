//! Mutated data files: the RDB loader in process, then a server that starts on a damaged RDB or AOF. A file is
//! loaded or refused with a reason; nothing panics, hangs, or takes memory that the file cannot need.
//!
//! `TINE_FUZZ_SECONDS` is the time of each part (default 4), `TINE_FUZZ_SEED` repeats a run.

mod common;
#[path = "common/mutate.rs"]
mod mutate;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Program, Server, encode_command};
use mutate::Budget;
use tine::base::hash::HashSeed;
use tine::keyspace::db::string_of;
use tine::keyspace::{ExpiryChange, Keyspace, NewValue};
use tine::persist::child::ChildLink;
use tine::persist::rdb::check::check_file;
use tine::persist::rdb::{LoadOptions, RdbError, SaveOptions, load_file, save_to};
use tine::sys::data_alloc;
use tine::sys::io::{MemoryStorage, Storage};
use tine::value::string::Digits;

const DATABASES: usize = 16;
const FILE: &str = "/dump.rdb";
/// A mutant of a file of some KiB may make the loader keep this much at most, bytes: LZF can blow a
/// string up, a wrong length may not.
const MEMORY_MAX_BYTES: usize = 64 << 20;

type Content = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

fn empty() -> Keyspace {
    let seed = HashSeed::from_os().expect("the system has randomness");
    Keyspace::new(DATABASES, seed).expect("the lazy-free thread starts")
}

fn content(keyspace: &Keyspace) -> Content {
    let mut content = Content::new();
    for db in 0..keyspace.databases() {
        for view in keyspace.db(db).iter() {
            let string = string_of(view).expect("only strings exist yet");
            let bytes = string.bytes(&mut Digits::new()).to_vec();
            content.insert((db, view.key().to_vec()), (bytes, view.expiry_ms()));
        }
    }
    content
}

/// A valid file with every kind of string.
fn valid_rdb() -> Vec<u8> {
    let mut keyspace = empty();
    for number in 0..60usize {
        let key = vec![b'a' + (number % 26) as u8; 1 + number * number % 400];
        let value = match number % 5 {
            0 => number.to_string().into_bytes(),
            1 => (number * 1_000_003).to_string().into_bytes(),
            2 => b"ab".repeat(number),
            3 => (0..number * 9).map(|index| (index * 31 % 251) as u8).collect(),
            _ => Vec::new(),
        };
        let expiry = if number % 4 == 0 { ExpiryChange::At(1 << 41) } else { ExpiryChange::Clear };
        keyspace.set(number % 3, keyspace.hash(&key), &key, NewValue::Encoded(&value), expiry);
    }
    save(&keyspace)
}

fn save(keyspace: &Keyspace) -> Vec<u8> {
    let mut file = Vec::new();
    save_to(&mut file, keyspace, &SaveOptions::default(), &mut ChildLink::disconnected())
        .expect("a vector takes everything");
    file
}

fn load(bytes: &[u8], keyspace: &mut Keyspace, checksum: bool) -> Result<(), RdbError> {
    let storage = MemoryStorage::new();
    storage
        .create(Path::new(FILE))
        .and_then(|mut file| file.write_all(bytes))
        .expect("memory takes everything");
    let options = LoadOptions { checksum, ..LoadOptions::default() };
    let loaded = load_file(&storage, Path::new(FILE), keyspace, options, 512, &mut |_| {})?;
    assert!(loaded.is_some(), "the file is there");
    // The tool must come to an end on the same file.
    let _ = check_file(storage.open_read(Path::new(FILE)).expect("the file is there"), &mut |_| {});
    Ok(())
}

#[test]
fn the_rdb_loader_takes_mutants() {
    let good = valid_rdb();
    let mut budget = Budget::start("rdb loader");
    let mut mutator = budget.mutator();
    let (mut loaded, mut refused) = (0u64, 0u64);
    while budget.goes_on() {
        let mut bytes = good.clone();
        (0..1 + mutator.below(3)).for_each(|_| mutator.mutate(&mut bytes));
        let mut keyspace = empty();
        let outcome = load(&bytes, &mut keyspace, false);
        assert!(
            data_alloc::used_bytes() < MEMORY_MAX_BYTES,
            "{} bytes for a small file",
            data_alloc::used_bytes()
        );
        for db in 0..DATABASES {
            let (table, resolver) = keyspace.db_mut(db).table_and_resolver();
            table.check_invariants(resolver);
        }
        match outcome {
            Ok(()) => {
                loaded += 1;
                let mut again = empty();
                load(&save(&keyspace), &mut again, true).expect("what was loaded can be saved and loaded");
                assert!(content(&again) == content(&keyspace), "what was loaded is saved as it is");
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty(), "a reason is given");
            }
        }
    }
    println!("{loaded} loaded, {refused} refused");
}

/// With its checksum a damaged file is never taken for a whole one.
#[test]
fn the_checksum_finds_every_flipped_bit() {
    let good = valid_rdb();
    let budget = Budget::start("rdb checksum");
    let mut mutator = budget.mutator();
    load(&good, &mut empty(), true).expect("the valid file loads");
    // Version digits and the checksum itself have rules of their own (zero means: none was made).
    let (from, until) = (9, good.len() - 8);
    for _ in 0..2000 {
        let mut bytes = good.clone();
        bytes[from + mutator.below(until - from)] ^= 1 << mutator.below(8);
        assert!(load(&bytes, &mut empty(), true).is_err());
    }
}

/// Commands as an AOF holds them.
fn valid_aof() -> Vec<u8> {
    let mut bytes = encode_command(&["SELECT", "0"]);
    for number in 0..50 {
        bytes.extend(encode_command(&["SET", &format!("key:{number}"), &"v".repeat(number * 7 % 90)]));
        bytes.extend(encode_command(&["APPEND", &format!("key:{}", number / 2), "more"]));
        if number % 10 == 0 {
            bytes.extend(encode_command(&["MULTI"]));
            bytes.extend(encode_command(&["INCR", "counter"]));
            bytes.extend(encode_command(&["PEXPIREAT", "counter", "99999999999999"]));
            bytes.extend(encode_command(&["EXEC"]));
        }
    }
    bytes
}

/// Starts a server on a damaged file: it serves, or it ends with status 1 and a reason.
fn start_on(name: &str, bytes: &[u8], directives: &[&str]) -> bool {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    std::fs::write(folder.path().join(name), bytes).expect("the temporary folder is writable");
    match Server::try_start(Program::Tine, folder, directives) {
        Ok(mut server) => {
            assert!(!server.client().call(&["DBSIZE"]).is_error());
            assert!(server.kill().code().is_none(), "it ran until it was killed");
            true
        }
        Err(failure) => {
            assert_eq!(failure.status.code(), Some(1), "{}: {}", failure.status, failure.log);
            assert!(!failure.log.contains("panicked"), "{}", failure.log);
            assert!(failure.log.lines().count() > 3, "a reason is logged: {}", failure.log);
            false
        }
    }
}

#[test]
fn a_server_starts_on_mutated_files_or_says_why_not() {
    let (rdb, aof) = (valid_rdb(), valid_aof());
    let mixed = [rdb.clone(), aof.clone()].concat();
    let with_aof = ["appendonly yes", "appendfilename appendonly.aof"];
    let mut budget = Budget::start("server start");
    let mut mutator = budget.mutator();
    assert!(
        start_on("dump.rdb", &rdb, &[]) && start_on("appendonly.aof", &aof, &with_aof),
        "valid files load"
    );
    let (mut served, mut ended) = (0u64, 0u64);
    while budget.goes_on() {
        let (name, good, directives): (&str, &[u8], &[&str]) = match mutator.below(3) {
            0 => ("dump.rdb", &rdb, &["rdbchecksum no"]),
            1 => ("appendonly.aof", &aof, &with_aof),
            _ => ("appendonly.aof", &mixed, &with_aof),
        };
        let mut bytes = good.to_vec();
        (0..1 + mutator.below(3)).for_each(|_| mutator.mutate(&mut bytes));
        if start_on(name, &bytes, directives) { served += 1 } else { ended += 1 }
    }
    println!("{served} served, {ended} ended");
}
