//! Measures `ds::table` with real, separately allocated entries, next to std's HashMap:
//! bytes of table a key, find, insert, remove, the longest insert (a split).
//!
//! `cargo bench --bench table [-- entries]`; no criterion: each figure is one pass over
//! all keys in random order, so that every access is as cold as in a server.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::black_box;

use tine::ds::table::{Resolver, Table, prefetch};

/// The server's allocator: bucket blocks and chains come from it.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An entry as the keyspace has it: 48 bytes, the key inside.
#[repr(C)]
struct Entry {
    header: u64,
    key: [u8; 16],
    value: [u8; 24],
}

struct Entries;

impl Resolver<u64> for Entries {
    #[inline(always)]
    fn hash(&self, handle: u64) -> u64 {
        hash_of(&entry(handle).key)
    }

    #[inline(always)]
    fn prefetch(&self, handle: u64) {
        prefetch(handle as usize as *const u8);
    }
}

fn entry(handle: u64) -> &'static Entry {
    // SAFETY: handles are the addresses of entries that live until the program ends.
    unsafe { &*(handle as usize as *const Entry) }
}

/// A multiply-fold hash of a 16-byte key, about as costly as the server's.
fn hash_of(key: &[u8; 16]) -> u64 {
    let (low, high) = key.split_at(8);
    let word = |half: &[u8]| u64::from_le_bytes(half.try_into().expect("8 bytes"));
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ (product >> 64) as u64
    };
    let mixed = fold(
        word(low) ^ 0xa076_1d64_78bd_642f,
        word(high) ^ 0xe703_7ed1_a0b4_28db,
    );
    fold(mixed ^ 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3)
}

/// Hands on what is already a hash.
#[derive(Default)]
struct Given(u64);

impl Hasher for Given {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

fn key(index: usize) -> [u8; 16] {
    format!("key:{index:012}")
        .as_bytes()
        .try_into()
        .expect("16 characters")
}

/// What the caller of the table has at hand when it inserts.
type Pair = (u64, u64);

/// Entries in one region with huge pages, as the data region has them; hash and address
/// of each, in random order.
fn make_entries(count: usize) -> Vec<Pair> {
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    // SAFETY: advice about pages that lie wholly inside the vector's own allocation.
    unsafe {
        let start = (entries.as_ptr() as usize).next_multiple_of(4096);
        let bytes = (count * size_of::<Entry>()).saturating_sub(8192) / 4096 * 4096;
        libc::madvise(start as *mut libc::c_void, bytes, libc::MADV_HUGEPAGE);
    }
    entries.extend((0..count).map(|index| Entry {
        header: 1,
        key: key(index),
        value: [7; 24],
    }));
    let pair = |entry: &'static Entry| (hash_of(&entry.key), std::ptr::from_ref(entry) as u64);
    let mut pairs: Vec<Pair> = entries.leak().iter().map(pair).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut pairs);
    pairs
}

/// Processor time of this thread: other programs on the machine do not count.
fn thread_time_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes to the given timespec only.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn report_ns(label: &str, count: usize, work: impl FnOnce()) {
    let start_ns = thread_time_ns();
    work();
    println!(
        "  {label:<20} {:7.1} ns",
        (thread_time_ns() - start_ns) as f64 / count as f64
    );
}

fn fill(table: &mut Table<u64>, pairs: &[Pair]) {
    for &(hash, handle) in pairs {
        table.insert(hash, handle, &Entries);
    }
}

fn count_found(table: &Table<u64>, keys: &[[u8; 16]]) -> usize {
    let find = |key: &&[u8; 16]| {
        table
            .find(hash_of(key), |other| entry(other).key == **key)
            .is_some()
    };
    keys.iter().filter(find).count()
}

/// Bytes a key while the table grows through the sizes that the memory target names, and
/// after half was deleted at random and filled again.
fn memory_figures(pairs: &[Pair]) {
    let mut table = Table::new();
    let (mut filled, mut sum, mut points) = (0, 0.0, 0.0);
    for size in [
        100, 1_000, 10_000, 100_000, 800_000, 1_000_000, 1_300_000, 1_600_000, 2_000_000,
    ] {
        fill(&mut table, &pairs[filled..size]);
        filled = size;
        let stats = table.stats();
        let bytes_per_key = table.memory_bytes() as f64 / size as f64;
        println!(
            "  {size:>8} keys: {bytes_per_key:.2} B/key, load {:.2}, {} segments, overflow {:.1} % of buckets, longest chain {}",
            stats.load(),
            stats.segments,
            stats.overflow_buckets as f64 * 100.0 / stats.buckets as f64,
            stats.max_chain,
        );
        if size >= 800_000 {
            (sum, points) = (sum + bytes_per_key, points + 1.0);
        }
    }
    println!("  average of 0.8 to 2.0 M: {:.2} B/key", sum / points);
    for &(hash, handle) in &pairs[..filled / 2] {
        table.remove(hash, |other| other == handle, &Entries);
    }
    println!(
        "  half deleted: {:.2} B/key",
        table.memory_bytes() as f64 / table.len() as f64
    );
    fill(&mut table, &pairs[..filled / 2]);
    println!(
        "  refilled: {:.2} B/key",
        table.memory_bytes() as f64 / table.len() as f64
    );
}

/// A 4-byte index whose hash is a mix of itself.
struct Indexes;

impl Resolver<u32> for Indexes {
    #[inline(always)]
    fn hash(&self, handle: u32) -> u64 {
        hash_of(
            &[handle.to_le_bytes(); 4]
                .concat()
                .try_into()
                .expect("16 bytes"),
        )
    }
}

fn narrow_memory_figures() {
    let mut table = Table::new();
    for size in [1_000, 10_000, 100_000, 1_000_000] {
        (table.len() as u32..size).for_each(|h| table.insert(Indexes.hash(h), h, &Indexes));
        let bytes_per_key = table.memory_bytes() as f64 / f64::from(size);
        println!("  {size:>8} keys, 4-byte handles: {bytes_per_key:.2} B/key");
    }
}

fn speed_figures(pairs: &[Pair], lookups: &[[u8; 16]], missing: &[[u8; 16]]) {
    let count = pairs.len();
    let mut table = Table::new();
    report_ns("insert, growing", count, || fill(&mut table, pairs));
    report_ns("find, present", count, || {
        assert_eq!(count_found(&table, lookups), count)
    });
    report_ns("find, absent", count, || {
        assert_eq!(count_found(&table, missing), 0)
    });
    report_ns("find, batches of 16", count, || {
        find_in_batches(&table, lookups)
    });
    walk_figures(&table);
    report_ns("remove, shrinking", count, || {
        for key in lookups {
            table.remove(hash_of(key), |handle| entry(handle).key == *key, &Entries);
        }
    });
    assert!(table.is_empty());
    table.reserve(count);
    report_ns("insert, reserved", count, || fill(&mut table, pairs));
}

fn walk_figures(table: &Table<u64>) {
    const DRAWS: usize = 100_000;
    let mut rng = fastrand::Rng::with_seed(3);
    report_ns("iterate", table.len(), || {
        assert_eq!(black_box(table.iter()).count(), table.len())
    });
    report_ns("random", DRAWS, || {
        (0..DRAWS).for_each(|_| assert!(table.random(&mut rng).is_some()));
    });
    report_ns("sample of 5", DRAWS, || {
        for _ in 0..DRAWS {
            table.sample(5, &mut rng, &Entries, |handle| {
                black_box(handle);
            });
        }
    });
}

fn find_in_batches(table: &Table<u64>, lookups: &[[u8; 16]]) {
    for batch in lookups.chunks(16) {
        let mut hashes = [0; 16];
        for (hash, key) in hashes.iter_mut().zip(batch) {
            *hash = hash_of(key);
            table.prefetch_bucket(*hash);
        }
        for &hash in &hashes[..batch.len()] {
            table.prefetch_matches(hash, &Entries);
        }
        for (&hash, key) in hashes.iter().zip(batch) {
            assert!(
                table
                    .find(hash, |handle| entry(handle).key == *key)
                    .is_some()
            );
        }
    }
}

/// The longest inserts, each of which holds a growth step of a segment with cold entries.
/// The same insert does the same work in each round: the least of five rounds is its time
/// without interrupts and page faults.
fn pause_figures(pairs: &[Pair]) {
    let mut pauses_ns: Vec<u64> = vec![u64::MAX; pairs.len()];
    for round in 1..=5 {
        let mut table = Table::new();
        let mut longest_ns = 0;
        for (&(hash, handle), pause_ns) in pairs.iter().zip(&mut pauses_ns) {
            let start_ns = thread_time_ns();
            table.insert(hash, handle, &Entries);
            let took_ns = thread_time_ns() - start_ns;
            *pause_ns = took_ns.min(*pause_ns);
            longest_ns = took_ns.max(longest_ns);
        }
        println!("  round {round}: longest {} us", longest_ns / 1000);
    }
    pauses_ns.sort_unstable_by(|a, b| b.cmp(a));
    let us = |rank: usize| pauses_ns[rank] as f64 / 1000.0;
    println!(
        "  least of the rounds: longest {:.0} us, 2nd {:.0}, 10th {:.0}, 100th {:.0}, 1000th {:.0} us",
        us(0),
        us(1),
        us(9),
        us(99),
        us(999)
    );
}

fn std_figures(pairs: &[Pair], lookups: &[[u8; 16]]) {
    let count = pairs.len();
    let mut map: HashMap<u64, u64, BuildHasherDefault<Given>> = HashMap::default();
    report_ns("insert", count, || {
        for &(hash, handle) in pairs {
            map.insert(hash, handle);
        }
    });
    report_ns("find", count, || {
        for key in lookups {
            let handle = map.get(&hash_of(key)).copied();
            assert!(handle.is_some_and(|handle| entry(handle).key == *key));
        }
    });
    // 16 bytes and a control byte for each of a power of two of places, 7/8 of them usable.
    let places = (map.capacity() * 8 / 7).next_power_of_two();
    println!("  {:.1} B/key", (places * 17) as f64 / count as f64);
    report_ns("remove", count, || {
        for key in lookups {
            map.remove(&hash_of(key));
        }
    });
}

fn main() {
    let count = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(1_000_000);
    let all_pairs = make_entries(count.max(2_000_000));
    println!("memory");
    memory_figures(&all_pairs);
    narrow_memory_figures();
    let pairs = &all_pairs[..count];
    let mut rng = fastrand::Rng::with_seed(2);
    let mut lookups: Vec<[u8; 16]> = pairs.iter().map(|&(_, handle)| entry(handle).key).collect();
    rng.shuffle(&mut lookups);
    let absent = |_| key(900_000_000 + rng.usize(..90_000_000));
    let missing: Vec<[u8; 16]> = (0..count).map(absent).collect();
    println!("table, {count} keys");
    speed_figures(pairs, &lookups, &missing);
    println!("pauses of insert");
    pause_figures(pairs);
    println!("std HashMap (hash and address in the slot)");
    std_figures(pairs, &lookups);
    let first = entry(pairs[0].1);
    assert_eq!(first.header + u64::from(first.value[0]), 8);
}
