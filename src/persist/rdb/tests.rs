//! Whole files: round trips, damage, faulty disks.

use crate::base::hash::HashSeed;
use crate::base::rng::Rng;
use crate::keyspace::{Keyspace, NewValue};
use crate::persist::child::ChildLink;
use crate::persist::rdb::check::check_file;
use crate::persist::rdb::scan::Scanner;
use crate::persist::rdb::{
    AccessRecord, LoadOptions, LoadReport, Loader, RdbError, RdbErrorKind, SaveOptions, load_file, save_file,
    save_to,
};
use crate::sys::io::{
    Fault, FaultEffect, FaultPlan, FaultyStorage, MemoryStorage, Operation, SocketFile, Storage,
};
use crate::value::ValueRef;
use proptest::prelude::{any, prop, proptest};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

const FINAL: &str = "/dump.rdb";
const TEMP: &str = "/temp-1.rdb";

type Content = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

fn keyspace() -> Keyspace {
    Keyspace::new(16, HashSeed::from_os().expect("random numbers")).expect("a thread")
}

fn fill(content: &Content) -> Keyspace {
    let mut keyspace = keyspace();
    for ((db, key), (value, expiry)) in content {
        let hash = keyspace.hash(key);
        keyspace.db_mut(*db).insert(hash, key, NewValue::Encoded(value), *expiry, 0);
    }
    keyspace
}

fn content_of(keyspace: &Keyspace) -> Content {
    let mut content = Content::new();
    for db in 0..keyspace.databases() {
        for view in keyspace.db(db).iter() {
            let ValueRef::String(string) = view.value() else { panic!("only strings are stored") };
            content.insert((db, view.key().to_vec()), (string.to_vec(), view.expiry_ms()));
        }
    }
    content
}

fn file_of(keyspace: &Keyspace, options: &SaveOptions) -> Vec<u8> {
    let mut file = Vec::new();
    let len =
        save_to(&mut file, keyspace, options, &mut ChildLink::disconnected()).expect("a vector takes all");
    assert_eq!(len, file.len() as u64);
    file
}

fn load(bytes: &[u8], keyspace: &mut Keyspace, options: LoadOptions) -> Result<LoadReport, RdbError> {
    let storage = MemoryStorage::new();
    storage.create(Path::new(FINAL)).and_then(|mut file| file.write_all(bytes)).expect("memory");
    let report = load_file(&storage, Path::new(FINAL), keyspace, options, 1000, &mut |_| {})?;
    Ok(report.expect("the file is there"))
}

fn sample(keys: usize) -> Content {
    let mut content = Content::new();
    for number in 0..keys {
        let value = match number % 5 {
            0 => number.to_string(),
            1 => "abc".repeat(number % 300),
            2 => format!("{number:064}"),
            3 => format!("-{}", number * 1_000_003),
            _ => String::new(),
        };
        let expiry = (number % 3 == 0).then_some(4_000_000_000_000 + number as i64);
        content.insert((number % 16, format!("key:{number}").into_bytes()), (value.into_bytes(), expiry));
    }
    content.insert((3, vec![b'k'; 3000]), (vec![0xff; 3_000_000], None));
    content.insert((3, b"123".to_vec()), (b"x".to_vec(), None));
    content
}

#[test]
fn all_forms_come_back_in_all_databases() {
    let content = sample(5000);
    let saved = fill(&content);
    for (version, compress, checksum) in [(9, false, true), (10, true, true), (11, true, false)] {
        let options = SaveOptions { version, compress, checksum, ..SaveOptions::default() };
        let bytes = file_of(&saved, &options);
        let mut loaded = keyspace();
        let report = load(&bytes, &mut loaded, LoadOptions::default()).expect("just written");
        assert_eq!(content_of(&loaded), content);
        assert_eq!((report.version, report.keys_loaded), (u32::from(version), content.len() as u64));
        assert_eq!(report.bytes, bytes.len() as u64);
        assert_eq!(report.field(b"redis-bits"), Some(&b"64"[..]));
    }
}

#[test]
fn expired_keys_are_dropped_by_a_primary_only() {
    let mut content = Content::new();
    for number in 0..100 {
        content.insert((0, vec![b'k', number]), (b"v".to_vec(), Some(1000 + i64::from(number))));
    }
    let bytes = file_of(&fill(&content), &SaveOptions::default());
    for (drop_expired, kept) in [(true, 50), (false, 100)] {
        let mut loaded = keyspace();
        let options = LoadOptions { now_ms: 1050, drop_expired, ..LoadOptions::default() };
        let report = load(&bytes, &mut loaded, options).expect("just written");
        assert_eq!((report.keys_loaded, loaded.total_keys()), (kept, kept as usize));
        assert_eq!(report.keys_expired, 100 - kept);
    }
}

/// A step ends when it has noted many, so that they do not gather; none is forgotten.
#[test]
fn expired_keys_are_told_in_steps() {
    const KEYS: usize = 20_000;
    let mut content = Content::new();
    for number in 0..KEYS {
        content.insert((number % 3, format!("key:{number}").into_bytes()), (b"v".to_vec(), Some(1000)));
    }
    let storage = MemoryStorage::new();
    let bytes = file_of(&fill(&content), &SaveOptions::default());
    storage.create(Path::new(FINAL)).and_then(|mut file| file.write_all(&bytes)).expect("memory");
    let options =
        LoadOptions { now_ms: 1050, drop_expired: true, note_expired: true, ..LoadOptions::default() };
    let opened = Loader::open(&storage, Path::new(FINAL), options).expect("just written");
    let (mut loader, mut loaded) = (opened.expect("the file is there"), keyspace());
    let mut told = Content::new();
    while !loader.step(&mut loaded, u64::MAX).expect("just written") {
        let expired = loader.take_expired();
        assert!(expired.len() < KEYS / 4, "{}", expired.len());
        told.extend(expired.into_iter().map(|key| (key, (b"v".to_vec(), Some(1000)))));
    }
    told.extend(loader.take_expired().into_iter().map(|key| (key, (b"v".to_vec(), Some(1000)))));
    assert_eq!(told, content);
}

#[test]
fn access_bits_are_kept_when_the_policy_asks() {
    let mut saved = fill(&sample(50));
    saved.access.now_s = 1_000_000;
    let options = SaveOptions { access: AccessRecord::Idle, ..SaveOptions::default() };
    let idle = file_of(&saved, &options);
    let mut loaded = keyspace();
    loaded.access.now_s = 1_000_500;
    load(&idle, &mut loaded, LoadOptions::default()).expect("just written");
    let found = loaded.db(3).iter().next().expect("keys are there").access();
    assert_eq!(loaded.access.idle_s(found), 1_000_000 & 0xff_ffff);
    let options = SaveOptions { access: AccessRecord::Frequency, ..SaveOptions::default() };
    load(&file_of(&saved, &options), &mut keyspace(), LoadOptions::default()).expect("just written");
}

#[test]
fn functions_are_kept_as_they_are() {
    let functions = vec![b"#!lua name=one".to_vec(), vec![b'x'; 5000]];
    let with = |version| SaveOptions { version, functions: functions.clone(), ..SaveOptions::default() };
    let report = load(&file_of(&keyspace(), &with(10)), &mut keyspace(), LoadOptions::default());
    assert_eq!(report.expect("just written").functions, functions);
    let report = load(&file_of(&keyspace(), &with(9)), &mut keyspace(), LoadOptions::default());
    assert!(report.expect("just written").functions.is_empty(), "version 9 has none");
}

#[test]
fn headers_and_ends_are_checked() {
    let good = file_of(&fill(&sample(10)), &SaveOptions::default());
    let with_magic = |magic: &[u8; 9]| [magic, &good[9..]].concat();
    for magic in [b"REDIS0001", b"REDIS0004"] {
        load(&with_magic(magic), &mut keyspace(), LoadOptions::default())
            .expect("old files have no checksum");
    }
    for magic in [b"REDIS0000", b"REDIS0013", b"REDIS00x1", b"VALKEY081", b"REDISabcd", b"MEMCACHED"] {
        let failure = load(&with_magic(magic), &mut keyspace(), LoadOptions::default()).expect_err("unknown");
        let kind = &failure.kind;
        assert!(
            matches!(kind, RdbErrorKind::UnsupportedVersion(_) | RdbErrorKind::WrongSignature),
            "{kind:?}"
        );
    }
    let mut twisted = good.clone();
    let last = twisted.len() - 1;
    twisted[last] ^= 1;
    let failure = load(&twisted, &mut keyspace(), LoadOptions::default()).expect_err("the sum differs");
    assert!(matches!(failure.kind, RdbErrorKind::Checksum { .. }));
    let options = LoadOptions { checksum: false, ..LoadOptions::default() };
    load(&twisted, &mut keyspace(), options).expect("nobody looks at the sum");
    for cut in [0, 5, 9, 20, good.len() / 2, good.len() - 1] {
        let failure = load(&good[..cut], &mut keyspace(), LoadOptions::default()).expect_err("it is cut");
        assert!(matches!(failure.kind, RdbErrorKind::UnexpectedEof), "cut at {cut}: {failure}");
        assert!(failure.to_string().contains("Internal error in RDB reading offset "));
    }
}

#[test]
fn duplicates_and_missing_databases_are_refused() {
    let mut content = Content::new();
    content.insert((0, b"twice".to_vec()), (b"v".to_vec(), None));
    let bytes = file_of(&fill(&content), &SaveOptions::default());
    let mut loaded = fill(&content);
    let failure = load(&bytes, &mut loaded, LoadOptions::default()).expect_err("it is there");
    assert!(matches!(failure.kind, RdbErrorKind::DuplicateKey { db: 0 }));
    let options = LoadOptions { allow_duplicates: true, ..LoadOptions::default() };
    load(&bytes, &mut loaded, options).expect("replaced");
    let sixteen = file_of(&fill(&sample(16)), &SaveOptions::default());
    let mut two = Keyspace::new(2, HashSeed::from_os().expect("random numbers")).expect("a thread");
    let failure = load(&sixteen, &mut two, LoadOptions::default()).expect_err("only two");
    assert!(failure.to_string().contains("more than 2 databases"), "{failure}");
}

/// Seeded mutations of a valid file: no panic, no endless loop, no huge allocation.
#[test]
fn damaged_files_never_panic() {
    let good = file_of(&fill(&sample(300)), &SaveOptions::default());
    let good = &good[..good.len().min(20_000)];
    let mut rng = Rng::with_seed(42);
    for _ in 0..3000 {
        let mut bytes = good.to_vec();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(bytes.len());
            match rng.below(3) {
                0 => bytes[at] = rng.below(256) as u8,
                1 => bytes[at] ^= 1 << rng.below(8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let options = LoadOptions { checksum: false, ..LoadOptions::default() };
        let _ = load(&bytes, &mut keyspace(), options);
        let storage = MemoryStorage::new();
        storage.create(Path::new(FINAL)).and_then(|mut file| file.write_all(&bytes)).expect("memory");
        let _ = check_file(storage.open_read(Path::new(FINAL)).expect("just made"), &mut |_| {});
    }
}

/// Every call to the disk fails in turn: the old file stays, the temporary one goes.
#[test]
fn a_failing_disk_leaves_the_old_file() {
    let keyspace = fill(&sample(2000));
    for verify in [false, true] {
        let options = SaveOptions { verify, ..SaveOptions::default() };
        let mut succeeded = false;
        for step in 1..200 {
            let plan = FaultPlan::new();
            let storage: Arc<dyn Storage> = Arc::new(FaultyStorage::new(MemoryStorage::new(), plan.clone()));
            storage.create(Path::new(FINAL)).and_then(|mut file| file.write_all(b"old")).expect("memory");
            let hit = plan.total_calls() + step;
            plan.add(Fault { times: 1, ..Fault::everything_from(hit, libc::ENOSPC) });
            let link = &mut ChildLink::disconnected();
            let saved = save_file(&storage, Path::new(FINAL), Path::new(TEMP), &keyspace, &options, link);
            let was_hit = plan.total_calls() >= hit;
            plan.clear();
            let content = storage.read_whole(Path::new(FINAL), 1 << 30).expect("a file is always there");
            assert!(!storage.exists(Path::new(TEMP)).expect("stat"), "step {step}");
            match saved {
                Ok(len) => assert_eq!(content.len() as u64, len),
                // Only the last step, the directory's sync, fails with the new file in place.
                Err(reason) => {
                    assert!(content == b"old" || reason.contains("fsync directory"), "{step} {reason}")
                }
            }
            if !was_hit {
                succeeded = true;
                break;
            }
        }
        assert!(succeeded, "a save ends");
    }
}

proptest! {
    #[test]
    fn any_content_comes_back(
        entries in prop::collection::btree_map(
            (0usize..16, prop::collection::vec(any::<u8>(), 0..40)),
            (prop::collection::vec(any::<u8>(), 0..300), prop::option::of(1i64..i64::MAX)),
            0..60,
        ),
        compress: bool,
    ) {
        let options = SaveOptions { compress, ..SaveOptions::default() };
        let bytes = file_of(&fill(&entries), &options);
        let mut loaded = keyspace();
        load(&bytes, &mut loaded, LoadOptions::default()).expect("just written");
        assert_eq!(content_of(&loaded), entries);
    }
}

/// `rdb-verify`: synced, dropped from the cache, read back, and only then renamed.
#[test]
fn a_verified_file_is_read_back_from_the_disk_before_the_rename() {
    let (plan, calls) = (FaultPlan::new(), Arc::new(Mutex::new(Vec::new())));
    let storage: Arc<dyn Storage> = Arc::new(FaultyStorage::new(MemoryStorage::new(), plan.clone()));
    let noted = Arc::clone(&calls);
    plan.observe(move |operation| noted.lock().expect("no panic here").push(operation));
    let options = SaveOptions { verify: true, incremental_sync: false, ..SaveOptions::default() };
    let save = |keys: usize| {
        let (path, temp, link) = (Path::new(FINAL), Path::new(TEMP), &mut ChildLink::disconnected());
        save_file(&storage, path, temp, &fill(&sample(keys)), &options, link)
    };
    save(100).expect("the disk is sound");
    let seen = calls.lock().expect("no panic here").clone();
    let first = |wanted: Operation| seen.iter().position(|seen| *seen == wanted).expect("it was called");
    let order =
        [Operation::Write, Operation::SyncData, Operation::Advise, Operation::Read, Operation::Rename];
    assert!(order.windows(2).all(|pair| first(pair[0]) < first(pair[1])), "{seen:?}");
    let good = storage.read_whole(Path::new(FINAL), 1 << 20).expect("it is in place");
    // A disk that says "written" and has not: found out, the old file stays, no other one is left.
    plan.add(Fault::nth(Operation::Write, plan.calls(Operation::Write) + 2, FaultEffect::Lie));
    let reason = save(5000).expect_err("a part is missing");
    assert!(reason.contains("The new RDB file is damaged"), "{reason}");
    assert_eq!(storage.read_whole(Path::new(FINAL), 1 << 20).expect("it is there"), good);
    assert!(!storage.exists(Path::new(TEMP)).expect("memory"));
}

/// However a file is cut into pieces, it is followed to its end, and what is whole can be loaded then.
#[test]
fn a_file_is_followed_in_pieces_of_any_size() {
    let content = sample(300);
    let bytes = file_of(&fill(&content), &SaveOptions::default());
    for piece in [1, 2, 7, 31, 32, 33, 4096, bytes.len()] {
        let mut scanner = Scanner::new(16);
        for part in bytes.chunks(piece) {
            assert!(!scanner.has_ended(), "pieces of {piece}");
            scanner.feed(part).expect("just written");
        }
        assert!(scanner.has_ended(), "pieces of {piece}");
        assert_eq!((scanner.whole(), scanner.open_bytes()), (bytes.len() as u64, 0));
        assert_eq!(scanner.keys(), content.len() as u64);
    }
    let mut cut = Scanner::new(16);
    cut.feed(&bytes[..bytes.len() - 1]).expect("what came is right");
    assert!(!cut.has_ended() && cut.open_bytes() == 8, "{cut:?}");
}

#[test]
fn what_cannot_be_loaded_is_told_where_it_begins() {
    let scan = |body: &[u8]| Scanner::new(16).feed(&[b"REDIS0011", body].concat());
    assert!(matches!(scan(&[254, 16]), Err(RdbErrorKind::TooManyDatabases { wanted: 16, configured: 16 })));
    assert!(matches!(scan(&[7]), Err(RdbErrorKind::TypeNotSupported(7))));
    for byte in [8, 26, 99] {
        assert!(matches!(scan(&[byte]), Err(RdbErrorKind::UnknownType(found)) if found == byte));
    }
    assert!(matches!(scan(&[18, 1, b'k', 1, 3]), Err(RdbErrorKind::Corrupt(_))));
    assert!(matches!(scan(&[247, 0]), Err(RdbErrorKind::Module(_))));
    assert!(matches!(Scanner::new(16).feed(b"HTTP/1.1 400"), Err(RdbErrorKind::WrongSignature)));
}

/// A source that stops anywhere gives what is whole so far and is waited for by nobody.
#[test]
fn an_arriving_file_is_loaded_as_far_as_it_is_whole() {
    let content = sample(200);
    let bytes = file_of(&fill(&content), &SaveOptions::default());
    for piece in [9, 100, 65_536] {
        let (mut theirs, ours) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("set");
        let (begun, rest) = bytes.split_at(9);
        let source = SocketFile::new(ours.into(), begun.to_vec(), Some(bytes.len() as u64));
        let mut loader =
            Loader::of_arriving(Box::new(source), LoadOptions::default(), 16).expect("a right header");
        let mut target = keyspace();
        for part in rest.chunks(piece) {
            assert!(!loader.step(&mut target, u64::MAX).expect("right"), "the end has not come");
            theirs.write_all(part).expect("there is room");
            while loader.read_ahead(1 << 20).expect("right") && loader.ready_bytes() < part.len() {}
        }
        assert!(loader.step(&mut target, u64::MAX).expect("right"));
        assert_eq!(content_of(&target), content, "pieces of {piece}");
    }
}
