//! RDB in memory, without a disk; LZF.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput};
use tine::base::hash::HashSeed;
use tine::base::lzf::{Compressor, decompress};
use tine::keyspace::{ExpiryChange, Keyspace, NewValue};
use tine::persist::child::ChildLink;
use tine::persist::rdb::{LoadOptions, SaveOptions, load_file, save_to};
use tine::sys::io::{MemoryStorage, Storage};

const STRINGS: usize = 100_000;
const FILE: &str = "/dump.rdb";
/// A step of the loader, bytes.
const STEP_BYTES: u64 = 2 << 20;

pub fn run(criterion: &mut Criterion) {
    rdb(criterion);
    lzf(criterion);
}

fn empty() -> Keyspace {
    let seed = HashSeed::from_os().expect("the system has randomness");
    Keyspace::new(1, seed).expect("the lazy-free thread starts")
}

fn rdb(criterion: &mut Criterion) {
    let mut keyspace = empty();
    for number in 0..STRINGS {
        let key = format!("key:{number:012}").into_bytes();
        let value = format!("value-of-{number:023}").into_bytes();
        keyspace.set(0, keyspace.hash(&key), &key, NewValue::Encoded(&value), ExpiryChange::Keep);
    }
    let save = |keyspace: &Keyspace| {
        let mut file = Vec::new();
        save_to(&mut file, keyspace, &SaveOptions::default(), &mut ChildLink::disconnected())
            .expect("a vector takes everything");
        file
    };
    let file = save(&keyspace);
    let storage = MemoryStorage::new();
    storage
        .create(Path::new(FILE))
        .and_then(|mut out| out.write_all(&file))
        .expect("memory takes everything");

    let mut group = criterion.benchmark_group("rdb of 100 k strings");
    group.throughput(Throughput::Elements(STRINGS as u64));
    group.bench_function("encode", |bench| bench.iter(|| save(black_box(&keyspace)).len()));
    group.bench_function("decode", |bench| {
        bench.iter_batched(
            empty,
            |mut keyspace| {
                let options = LoadOptions::default();
                load_file(&storage, Path::new(FILE), &mut keyspace, options, STEP_BYTES, &mut |_| {})
                    .expect("the file is whole");
                assert_eq!(keyspace.total_keys(), STRINGS);
                keyspace
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn lzf(criterion: &mut Criterion) {
    let text: Vec<u8> = (0..2000)
        .flat_map(|number| format!("{{\"id\":{number},\"name\":\"user-{}\"}}", number * 7 % 501).into_bytes())
        .collect();
    let mut compressor = Compressor::new();
    let mut packed = Vec::new();
    assert!(compressor.compress(&text, &mut packed, text.len() - 4), "JSON lines compress");
    let mut group = criterion.benchmark_group("lzf of JSON");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("compress", |bench| {
        let mut out = Vec::with_capacity(text.len());
        bench.iter(|| {
            out.clear();
            compressor.compress(black_box(&text), &mut out, text.len() - 4)
        });
    });
    group.bench_function("decompress", |bench| {
        bench.iter(|| decompress(black_box(&packed), text.len()).map(|bytes| bytes.len()));
    });
    group.finish();
}
