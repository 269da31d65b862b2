//! The hash table alone, over handles that are their own hashes.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use nix::time::{ClockId, clock_gettime};
use tine::base::rng::Rng;
use tine::ds::table::{Resolver, Table};

const ENTRIES: usize = 1_000_000;
/// Entries added to a full-grown table per measurement.
const INSERTS: usize = 1_000;

/// A handle is its entry's hash.
struct SelfHashed;

impl Resolver<u64> for SelfHashed {
    fn hash(&self, handle: u64) -> u64 {
        handle
    }
}

fn handles(count: usize, seed: u64) -> Vec<u64> {
    let mut rng = Rng::with_seed(seed);
    // Words of entries are even and not null.
    (0..count).map(|_| (rng.next_u64() & !15) | 16).collect()
}

fn filled(handles: &[u64]) -> Table<u64> {
    let mut table = Table::new();
    handles.iter().for_each(|handle| table.insert(*handle, *handle, &SelfHashed));
    table
}

pub fn run(criterion: &mut Criterion) {
    let present = handles(ENTRIES, 1);
    let absent = handles(ENTRIES, 2);
    let table = filled(&present);
    let mut group = criterion.benchmark_group("table of 1 M entries");
    group.throughput(Throughput::Elements(1));
    for (name, wanted) in [("find, there", &present), ("find, not there", &absent)] {
        let mut next = wanted.iter().rev().cycle();
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let wanted = *next.next().expect("a cycle has no end");
                table.find(black_box(wanted), |handle| handle == wanted)
            });
        });
    }
    drop(table);
    group.throughput(Throughput::Elements(INSERTS as u64));
    let mut table = filled(&present);
    group.bench_function("insert 1000 and remove them", |bench| {
        bench.iter_batched(
            || (),
            |()| {
                for handle in &absent[..INSERTS] {
                    table.insert(*handle, *handle, &SelfHashed);
                }
                for handle in &absent[..INSERTS] {
                    table.remove(*handle, |found| found == *handle, &SelfHashed);
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    drop(table);
    longest_insert(criterion, &present);
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has this clock").into()
}

/// What one request may wait for: the longest insert while a table grows to a million entries.
/// Processor time, so that being put aside for another process does not count; page faults do. The clock
/// itself adds less than 1 us.
fn longest_insert(criterion: &mut Criterion, handles: &[u64]) {
    let mut group = criterion.benchmark_group("table growth");
    group.sample_size(10);
    group.bench_function("longest insert of 1 M", |bench| {
        bench.iter_custom(|iterations| {
            let mut sum = Duration::ZERO;
            for _ in 0..iterations {
                let mut table = Table::new();
                let mut longest = Duration::ZERO;
                for handle in handles {
                    let start = cpu_time();
                    table.insert(*handle, *handle, &SelfHashed);
                    longest = longest.max(cpu_time() - start);
                }
                sum += longest;
            }
            sum
        });
    });
    group.finish();
}
