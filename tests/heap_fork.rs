//! Fork over the data heap: a child sees the data of the moment of the fork, walks it in
//! address order, gives back what it has read and may allocate; the parent writes, frees
//! and allocates meanwhile. A program of its own: `main` runs the cases one after the other.

use std::hash::{DefaultHasher, Hasher};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tine::sys::data_alloc::{
    BlockRange, Kind, alloc, check_invariants, for_each_live_entry_block, for_each_live_entry_slab, free,
    lock_for_fork, realloc, release_range, set_huge_pages, used_bytes,
};

const ENTRIES: usize = 60_000;
/// Time limit of a child in seconds: `SIGALRM` ends one that hangs.
const CHILD_LIMIT_SECONDS: u32 = 30;

/// An entry as the keyspace would have it: id, length, a value out of line, bytes.
#[repr(C)]
struct Head {
    id: u64,
    bytes: u64,
    value: *mut u64,
}

const HEAD_BYTES: usize = size_of::<Head>();

/// Size of entry `id`: mostly small, some of several units, one with its own mapping.
fn size_of_entry(id: usize) -> usize {
    match id {
        0 => 3 << 20,
        _ if id.is_multiple_of(1000) => HEAD_BYTES + 100_000 + id,
        _ => HEAD_BYTES + id % 200,
    }
}

fn make_entry(id: usize) -> NonNull<Head> {
    let bytes = size_of_entry(id);
    let entry = alloc(Kind::Entry, bytes).cast::<Head>();
    let value = alloc(Kind::Value, 8).cast::<u64>();
    // SAFETY: both blocks are new and large enough.
    unsafe {
        value.write(id as u64 * 3);
        entry.write(Head { id: id as u64, bytes: bytes as u64, value: value.as_ptr() });
        entry.add(1).cast::<u8>().write_bytes(id as u8, bytes - HEAD_BYTES);
    }
    entry
}

fn drop_entry(entry: NonNull<Head>) {
    // SAFETY: a live entry; its value and itself are freed once.
    unsafe {
        let head = entry.read();
        free(NonNull::new(head.value).expect("every entry has a value").cast(), 8);
        free(entry.cast(), head.bytes as usize);
    }
}

/// A hash of all that the entry owns; independent of where it lies.
fn digest(entry: NonNull<Head>) -> u64 {
    let mut hasher = DefaultHasher::new();
    // SAFETY: a live entry of the length its head says.
    unsafe {
        let head = entry.read();
        hasher.write_u64(head.id);
        hasher.write_u64(*head.value);
        let body = entry.add(1).cast::<u8>();
        let length = head.bytes as usize - HEAD_BYTES;
        hasher.write(std::slice::from_raw_parts(body.as_ptr(), length));
    }
    hasher.finish()
}

/// Digest of all entries that a walk finds; gives each range back if asked.
fn walk_digest(by_slab: bool, release: bool) -> (usize, u64) {
    let (mut count, mut sum) = (0, 0u64);
    let visit = |range: BlockRange, entries: &mut dyn Iterator<Item = NonNull<u8>>| {
        for entry in entries {
            count += 1;
            sum = sum.wrapping_add(digest(entry.cast()));
        }
        if release {
            // SAFETY: in the child, and nothing of this range is read again.
            unsafe { release_range(range) }.expect("own memory can be given back");
        }
    };
    if by_slab {
        for_each_live_entry_slab(visit)
    } else {
        for_each_live_entry_block(visit)
    }
    (count, sum)
}

/// Forks; the child's exit code is 0 if `check` says true.
fn fork_child(check: impl FnOnce() -> bool) -> i32 {
    let guard = lock_for_fork();
    // SAFETY: the heap is held still; the child only uses it and leaves by _exit.
    let child = unsafe { libc::fork() };
    drop(guard);
    assert!(child >= 0, "fork failed");
    if child == 0 {
        // SAFETY: sets a timer that ends the child if it hangs.
        unsafe { libc::alarm(CHILD_LIMIT_SECONDS) };
        let code = if check() { 0 } else { 1 };
        // SAFETY: ends the child without running the parent's destructors.
        unsafe { libc::_exit(code) };
    }
    child
}

fn assert_child_succeeded(child: i32) {
    let mut status = 0;
    // SAFETY: our own child.
    let ended = unsafe { libc::waitpid(child, ptr::from_mut(&mut status), 0) };
    assert_eq!(ended, child);
    assert_eq!(status, 0, "the child saw other data, crashed or hung");
}

/// The parent's life while the child reads: overwrites, frees, allocates, grows.
fn change_everything(entries: &mut [NonNull<Head>], random: &mut fastrand::Rng) {
    for _ in 0..ENTRIES {
        let index = random.usize(..entries.len());
        // SAFETY: a live entry of ours.
        unsafe { *entries[index].as_ref().value ^= 0xFFFF };
        if random.u8(..4) == 0 {
            drop_entry(entries[index]);
            entries[index] = make_entry(random.usize(1..ENTRIES));
        }
    }
}

fn child_sees_the_moment_of_the_fork(by_slab: bool) {
    let mut random = fastrand::Rng::with_seed(42);
    let mut entries: Vec<_> = (0..ENTRIES).map(make_entry).collect();
    for _ in 0..ENTRIES / 2 {
        drop_entry(entries.swap_remove(random.usize(1..entries.len())));
    }
    let expected = entries.iter().fold(0u64, |sum, &entry| sum.wrapping_add(digest(entry)));
    let count = entries.len();
    assert_eq!(walk_digest(by_slab, false), (count, expected));
    let child = fork_child(|| {
        let first = walk_digest(by_slab, false) == (count, expected);
        let second = walk_digest(by_slab, true) == (count, expected);
        // What was released reads differently: zeros, or poison in debug builds.
        let mut gone = true;
        for_each_live_entry_block(|_, entries| {
            for entry in entries {
                // SAFETY: still mapped; only its contents are gone.
                let id = unsafe { entry.cast::<u64>().read() };
                gone &= id == if cfg!(debug_assertions) { 0xA5A5_A5A5_A5A5_A5A5 } else { 0 };
            }
        });
        let value = alloc(Kind::Value, 5000);
        // SAFETY: just allocated.
        unsafe { free(realloc(value, 5000, 9000), 9000) };
        check_invariants();
        first && second && gone
    });
    change_everything(&mut entries, &mut random);
    assert_child_succeeded(child);
    let after = entries.iter().fold(0u64, |sum, &entry| sum.wrapping_add(digest(entry)));
    assert_eq!(walk_digest(by_slab, false), (entries.len(), after));
    entries.into_iter().for_each(drop_entry);
    assert_eq!(used_bytes(), 0);
    check_invariants();
}

/// Forks again and again while other threads allocate: no child may find the lock taken.
fn forks_while_threads_allocate() {
    // `TINE_FORKS=10000` is the long run.
    let forks = std::env::var("TINE_FORKS").ok().and_then(|count| count.parse().ok()).unwrap_or(200);
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|seed| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                while !stop.load(Ordering::Relaxed) {
                    let size = random.usize(1..40_000);
                    let ptr = alloc(Kind::Value, size);
                    // SAFETY: just allocated, freed once.
                    unsafe { free(ptr, size) };
                }
            })
        })
        .collect();
    for _ in 0..forks {
        let child = fork_child(|| {
            let ptrs: Vec<_> = (1..500).map(|size| (alloc(Kind::Entry, size), size)).collect();
            // SAFETY: just allocated, freed once.
            ptrs.into_iter().for_each(|(ptr, size)| unsafe { free(ptr, size) });
            check_invariants();
            true
        });
        assert_child_succeeded(child);
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().expect("no thread fails"));
    assert_eq!(used_bytes(), 0);
    check_invariants();
}

fn main() {
    forks_while_threads_allocate();
    child_sees_the_moment_of_the_fork(false);
    child_sees_the_moment_of_the_fork(true);
    // Kernels without huge pages run the same case once more with base pages.
    let _ = set_huge_pages(true);
    child_sees_the_moment_of_the_fork(false);
    println!("heap_fork: 4 cases passed");
}
