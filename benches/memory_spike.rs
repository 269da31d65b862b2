//! Which allocator for the data region? Compares Tine's own slabs, a jemalloc arena whose
//! extent hooks hand out a 2 MiB-aligned range, a plain jemalloc arena, and glibc.
//!
//! ```text
//! cargo bench --bench memory_spike              all candidates, rounds in shuffled order: median (lowest-highest)
//! cargo bench --bench memory_spike -- ROUNDS    another number of rounds (default 7)
//! ```
//!
//! Each run is a process of its own (the program starts itself), so that resident memory
//! and page tables of one do not show in another. Figures are in docs/memory.md.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tikv_jemalloc_sys::{MALLOCX_ARENA, MALLOCX_TCACHE, dallocx, extent_hooks_t, mallctl, mallocx};
use tine::sys::data_alloc;

const ENTRIES: usize = 1_000_000;
const ENTRY_BYTES: usize = 56;
const TABLE_BLOCK_BYTES: usize = 16 << 10;
const TABLE_BLOCKS: usize = 700;
const PAIRS: usize = 10_000_000;
const REPLACEMENTS: usize = 3_000_000;
const FILL_BYTES: usize = 1 << 30;
const RANDOM_WRITES: usize = 20_000;
const FORKS: usize = 5;
const DEFAULT_ROUNDS: usize = 7;
const HUGE_BYTES: usize = 2 << 20;

unsafe extern "C" {
    // The plain names are jemalloc's in this program.
    fn __libc_malloc(size: usize) -> *mut libc::c_void;
    fn __libc_free(ptr: *mut libc::c_void);
}

/// An allocator under test. `flags` tells threads apart (jemalloc's caches).
#[derive(Clone, Copy)]
enum Candidate {
    Tine,
    Jemalloc { flags: i32 },
    Glibc,
}

impl Candidate {
    #[inline(always)]
    fn alloc(self, size: usize) -> *mut u8 {
        match self {
            Candidate::Tine => data_alloc::alloc(data_alloc::Kind::Entry, size).as_ptr(),
            // SAFETY: size is not zero.
            Candidate::Jemalloc { flags } => unsafe { mallocx(size, flags).cast() },
            // SAFETY: plain malloc.
            Candidate::Glibc => unsafe { __libc_malloc(size).cast() },
        }
    }

    #[inline(always)]
    fn free(self, ptr: *mut u8, size: usize) {
        match self {
            Candidate::Tine => {
                let ptr = NonNull::new(ptr).expect("objects are not null");
                // SAFETY: allocated by `alloc` with this size.
                unsafe { data_alloc::free(ptr, size) };
            }
            // SAFETY: allocated by `alloc`.
            Candidate::Jemalloc { flags } => unsafe { dallocx(ptr.cast(), flags) },
            // SAFETY: allocated by `alloc`.
            Candidate::Glibc => unsafe { __libc_free(ptr.cast()) },
        }
    }

    /// The same allocator for use on another thread.
    fn for_other_thread(self, arena: u32) -> Self {
        match self {
            Candidate::Jemalloc { .. } => Candidate::Jemalloc { flags: jemalloc_flags(arena) },
            other => other,
        }
    }
}

// ---- jemalloc arena on a range of our own -------------------------------------------------

static RANGE_START: AtomicUsize = AtomicUsize::new(0);
static RANGE_USED: AtomicUsize = AtomicUsize::new(0);
const RANGE_BYTES: usize = 16 << 30;

unsafe extern "C" fn hook_alloc(
    _: *mut extent_hooks_t,
    new_addr: *mut libc::c_void,
    size: libc::size_t,
    align: libc::size_t,
    zero: *mut bool,
    commit: *mut bool,
    _arena: libc::c_uint,
) -> *mut libc::c_void {
    if !new_addr.is_null() {
        return ptr::null_mut();
    }
    let offset = RANGE_USED.load(Ordering::Relaxed).next_multiple_of(align);
    RANGE_USED.store(offset + size, Ordering::Relaxed);
    assert!(offset + size <= RANGE_BYTES, "range used up");
    // SAFETY: jemalloc passes valid flags; fresh range memory is zero and committed.
    unsafe {
        *zero = true;
        *commit = true;
    }
    ptr::with_exposed_provenance_mut(RANGE_START.load(Ordering::Relaxed) + offset)
}

unsafe extern "C" fn hook_split(
    _: *mut extent_hooks_t,
    _: *mut libc::c_void,
    _: libc::size_t,
    _: libc::size_t,
    _: libc::size_t,
    _: bool,
    _: libc::c_uint,
) -> bool {
    false
}

unsafe extern "C" fn hook_merge(
    _: *mut extent_hooks_t,
    _: *mut libc::c_void,
    _: libc::size_t,
    _: *mut libc::c_void,
    _: libc::size_t,
    _: bool,
    _: libc::c_uint,
) -> bool {
    false
}

unsafe extern "C" fn hook_refuse_dalloc(
    _: *mut extent_hooks_t,
    _: *mut libc::c_void,
    _: libc::size_t,
    _: bool,
    _: libc::c_uint,
) -> bool {
    true
}

unsafe extern "C" fn hook_refuse_range(
    _: *mut extent_hooks_t,
    _: *mut libc::c_void,
    _: libc::size_t,
    _: libc::size_t,
    _: libc::size_t,
    _: libc::c_uint,
) -> bool {
    true
}

fn hooks() -> *mut extent_hooks_t {
    Box::leak(Box::new(extent_hooks_t {
        alloc: Some(hook_alloc),
        dalloc: Some(hook_refuse_dalloc),
        destroy: None,
        commit: Some(hook_refuse_range),
        decommit: Some(hook_refuse_range),
        purge_lazy: Some(hook_refuse_range),
        purge_forced: Some(hook_refuse_range),
        split: Some(hook_split),
        merge: Some(hook_merge),
    }))
}

fn control<T>(name: &std::ffi::CStr, mut value: T, mut input: Option<*mut extent_hooks_t>) -> T {
    let mut length = size_of::<T>();
    let (new, new_length) = match input.as_mut() {
        Some(hooks) => (ptr::from_mut(hooks).cast(), size_of::<*mut extent_hooks_t>()),
        None => (ptr::null_mut(), 0),
    };
    // SAFETY: buffers and lengths belong together; the name ends in zero.
    let result =
        unsafe { mallctl(name.as_ptr(), ptr::from_mut(&mut value).cast(), &mut length, new, new_length) };
    assert_eq!(result, 0, "mallctl {name:?}");
    value
}

fn jemalloc_flags(arena: u32) -> i32 {
    let cache = control(c"tcache.create", 0u32, None);
    MALLOCX_ARENA(arena as usize) | MALLOCX_TCACHE(cache as usize)
}

fn map_range(huge: bool) {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let bytes = RANGE_BYTES + HUGE_BYTES;
    // SAFETY: a new mapping.
    let raw = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
    assert_ne!(raw, libc::MAP_FAILED);
    let start = raw.expose_provenance().next_multiple_of(HUGE_BYTES);
    RANGE_START.store(start, Ordering::Relaxed);
    let advice = if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
    // SAFETY: our own mapping.
    unsafe { libc::madvise(ptr::with_exposed_provenance_mut(start), RANGE_BYTES, advice) };
}

/// Rebuilds all huge pages; milliseconds, or nothing where it does not apply.
fn collapse_all(candidate: Candidate) -> Option<f64> {
    let begin = CpuClock::now();
    match candidate {
        Candidate::Tine => {
            for block in 0..data_alloc::block_count() {
                data_alloc::collapse_blocks(block, 1).ok();
            }
        }
        Candidate::Jemalloc { .. } if RANGE_START.load(Ordering::Relaxed) != 0 => {
            let start = RANGE_START.load(Ordering::Relaxed);
            for offset in (0..RANGE_USED.load(Ordering::Relaxed)).step_by(HUGE_BYTES) {
                let address = ptr::with_exposed_provenance_mut(start + offset);
                // SAFETY: our own mapping; 25 is MADV_COLLAPSE.
                unsafe { libc::madvise(address, HUGE_BYTES, 25) };
            }
        }
        _ => return None,
    }
    Some(begin.elapsed_ns() / 1e6)
}

/// Processor time of this thread: on a shared machine the wall clock measures the others.
struct CpuClock {
    start_ns: f64,
}

impl CpuClock {
    fn now() -> Self {
        CpuClock { start_ns: Self::read_ns() }
    }

    fn read_ns() -> f64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes one timespec.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    }

    fn elapsed_ns(&self) -> f64 {
        Self::read_ns() - self.start_ns
    }
}

// ---- measurements ------------------------------------------------------------------------

fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("procfs is mounted");
    let pages = statm.split(' ').nth(1).and_then(|field| field.parse::<usize>().ok());
    pages.expect("statm has a second field") * 4096
}

fn huge_bytes() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("procfs is mounted");
    let line = rollup.lines().find(|line| line.starts_with("AnonHugePages"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.unwrap_or(0) << 10
}

fn report(name: &str, value: f64) {
    println!("{name}\t{value}");
}

fn wait_for(child: i32) {
    // SAFETY: our own child.
    unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
}

/// Median time of a fork whose child leaves at once, in ms.
fn fork_ms() -> f64 {
    let mut times: Vec<f64> = (0..FORKS).map(|_| one_fork_ms(|| ())).collect();
    times.sort_by(f64::total_cmp);
    times[FORKS / 2]
}

/// Forks, runs `meanwhile` in the parent while the child lives, returns the fork's ms.
fn one_fork_ms(meanwhile: impl FnOnce()) -> f64 {
    let mut ends = [0i32; 2];
    // SAFETY: two descriptors are written.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let begin = CpuClock::now();
    // SAFETY: the child only reads, closes and leaves.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut byte = 0u8;
        // SAFETY: the child waits for the parent to close its end.
        unsafe {
            libc::close(ends[1]);
            libc::read(ends[0], ptr::from_mut(&mut byte).cast(), 1);
            libc::_exit(0);
        }
    }
    let elapsed = begin.elapsed_ns() / 1e6;
    meanwhile();
    // SAFETY: our own descriptors.
    unsafe {
        libc::close(ends[0]);
        libc::close(ends[1]);
    }
    wait_for(child);
    elapsed
}

fn write_all(ptr: *mut u8, size: usize) {
    // SAFETY: a live object of this size.
    unsafe { ptr.write_bytes(1, size) };
}

fn measure(candidate: Candidate, arena: u32) {
    let mut random = fastrand::Rng::with_seed(7);
    let mut objects: Vec<(usize, u32)> = vec![(1, 1); FILL_BYTES / 400];
    objects.clear();
    report("fork bare, ms", fork_ms());
    small_objects(candidate, &mut objects, &mut random);
    let before = objects.iter().map(|object| object.1 as usize).sum::<usize>();
    let mut filled = before;
    while filled < FILL_BYTES {
        let size = random.usize(64..960);
        let ptr = candidate.alloc(size);
        write_all(ptr, size);
        objects.push((ptr.expose_provenance(), size as u32));
        filled += size;
    }
    forks(candidate, &objects, &mut random);
    let count = objects.len();
    random.shuffle(&mut objects);
    let nanoseconds = thread::spawn(move || {
        let candidate = candidate.for_other_thread(arena);
        let begin = CpuClock::now();
        for (address, size) in objects {
            candidate.free(ptr::with_exposed_provenance_mut(address), size as usize);
        }
        begin.elapsed_ns()
    });
    let elapsed = nanoseconds.join().expect("the freeing thread ends well");
    report("free by other thread, ns", elapsed / count as f64);
    report("RSS after freeing all, MiB", resident_bytes() as f64 / (1 << 20) as f64);
}

fn small_objects(candidate: Candidate, objects: &mut Vec<(usize, u32)>, random: &mut fastrand::Rng) {
    let base = resident_bytes();
    let begin = CpuClock::now();
    for _ in 0..ENTRIES {
        let ptr = candidate.alloc(ENTRY_BYTES);
        write_all(ptr, ENTRY_BYTES);
        objects.push((ptr.expose_provenance(), ENTRY_BYTES as u32));
    }
    report("fill 56 B, ns (with page faults)", begin.elapsed_ns() / ENTRIES as f64);
    report("RSS per 56 B entry", (resident_bytes() - base) as f64 / ENTRIES as f64);
    for _ in 0..TABLE_BLOCKS {
        let ptr = candidate.alloc(TABLE_BLOCK_BYTES);
        write_all(ptr, TABLE_BLOCK_BYTES);
        objects.push((ptr.expose_provenance(), TABLE_BLOCK_BYTES as u32));
    }
    report("RSS per entry with table", (resident_bytes() - base) as f64 / ENTRIES as f64);
    pairs(candidate);
    let begin = CpuClock::now();
    for _ in 0..REPLACEMENTS {
        let index = random.usize(0..ENTRIES);
        let (address, size) = objects[index];
        let new_size = random.usize(24..192);
        let ptr = candidate.alloc(new_size);
        write_all(ptr, 8);
        candidate.free(ptr::with_exposed_provenance_mut(address), size as usize);
        objects[index] = (ptr.expose_provenance(), new_size as u32);
    }
    report("random replace, ns", begin.elapsed_ns() / REPLACEMENTS as f64);
    let payload: usize = objects.iter().map(|object| object.1 as usize).sum();
    report("RSS over payload after replace", (resident_bytes() - base) as f64 / payload as f64);
}

/// Allocating and freeing at once, and in batches.
fn pairs(candidate: Candidate) {
    let begin = CpuClock::now();
    for _ in 0..PAIRS {
        candidate.free(black_box(candidate.alloc(black_box(ENTRY_BYTES))), ENTRY_BYTES);
    }
    report("hot alloc + free, ns", begin.elapsed_ns() / PAIRS as f64);
    let begin = CpuClock::now();
    let mut batch = [ptr::null_mut(); 1000];
    for _ in 0..PAIRS / 1000 / 4 {
        batch.iter_mut().for_each(|slot| *slot = candidate.alloc(ENTRY_BYTES));
        batch.iter().for_each(|slot| candidate.free(*slot, ENTRY_BYTES));
    }
    report("alloc 1000, free 1000, ns a pair", begin.elapsed_ns() * 4.0 / PAIRS as f64);
}

fn forks(candidate: Candidate, objects: &[(usize, u32)], random: &mut fastrand::Rng) {
    report("resident before forks, MiB", resident_bytes() as f64 / (1 << 20) as f64);
    report("huge before forks, MiB", huge_bytes() as f64 / (1 << 20) as f64);
    report("fork 1 GiB, ms", fork_ms());
    let mut per_write = 0.0;
    one_fork_ms(|| {
        let begin = CpuClock::now();
        for _ in 0..RANDOM_WRITES {
            let (address, _) = objects[random.usize(0..objects.len())];
            // SAFETY: a live object.
            unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(2) };
        }
        per_write = begin.elapsed_ns() / 1e3 / RANDOM_WRITES as f64;
    });
    report("write while a child lives, us", per_write);
    report("huge after writes, MiB", huge_bytes() as f64 / (1 << 20) as f64);
    report("fork after writes, ms", fork_ms());
    if let Some(milliseconds) = collapse_all(candidate) {
        report("collapse all, ms", milliseconds);
        report("huge after collapse, MiB", huge_bytes() as f64 / (1 << 20) as f64);
        report("fork after collapse, ms", fork_ms());
    }
}

const RUNS: [(&str, bool); 7] = [
    ("tine", false),
    ("jemalloc-hooks", false),
    ("jemalloc-arena", false),
    ("glibc", false),
    ("tine", true),
    ("jemalloc-hooks", true),
    ("glibc", true),
];

fn run_one(name: &str, huge: bool) {
    match name {
        "tine" => {
            data_alloc::set_huge_pages(huge).expect("huge pages can be switched");
            measure(Candidate::Tine, 0);
        }
        "glibc" => measure(Candidate::Glibc, 0),
        _ => {
            let with_hooks = name == "jemalloc-hooks";
            if with_hooks {
                map_range(huge);
            }
            let arena = control(c"arenas.create", 0u32, with_hooks.then(hooks));
            measure(Candidate::Jemalloc { flags: jemalloc_flags(arena) }, arena);
        }
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [name, pages] = arguments.as_slice() {
        return run_one(name, pages == "huge");
    }
    let rounds = arguments.first().and_then(|word| word.parse().ok()).unwrap_or(DEFAULT_ROUNDS);
    let mut table: BTreeMap<String, BTreeMap<usize, Vec<f64>>> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..rounds {
        // In another order each round: huge pages are dearer after a run that left small ones.
        let mut columns: Vec<usize> = (0..RUNS.len()).collect();
        random.shuffle(&mut columns);
        for column in columns {
            let (name, huge) = RUNS[column];
            let output = Command::new(env::current_exe().expect("a program knows its path"))
                .args([name, if huge { "huge" } else { "base" }])
                .env("GLIBC_TUNABLES", if huge { "glibc.malloc.hugetlb=1" } else { "" })
                .output()
                .expect("the program can start itself");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                let Some((row, value)) = line.split_once('\t') else {
                    continue;
                };
                if !order.iter().any(|known| known == row) {
                    order.push(row.to_owned());
                }
                let cells = table.entry(row.to_owned()).or_default();
                cells.entry(column).or_default().push(value.parse().expect("a number"));
            }
        }
    }
    print_table(&order, &mut table);
}

fn print_table(order: &[String], table: &mut BTreeMap<String, BTreeMap<usize, Vec<f64>>>) {
    let heads = RUNS.map(|(name, huge)| format!("{name} {}", if huge { "2M" } else { "4K" }));
    println!("| | {} |\n|---|{}", heads.join(" | "), "---|".repeat(RUNS.len()));
    for row in order {
        let cells = table.get_mut(row).expect("each row was filled");
        let medians = (0..RUNS.len()).map(|column| match cells.get_mut(&column) {
            Some(values) => {
                values.sort_by(f64::total_cmp);
                let (low, high) = (values[0], values[values.len() - 1]);
                format!("{:.3} ({low:.3}-{high:.3})", values[values.len() / 2])
            }
            None => "-".to_owned(),
        });
        println!("| {row} | {} |", medians.collect::<Vec<_>>().join(" | "));
    }
}
