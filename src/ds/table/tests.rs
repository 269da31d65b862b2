//! The table against a naive model, for both handle widths.

use std::collections::{HashMap, HashSet};

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::{Handle, ResizePolicy, Resolver, Table};

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    expiry_ms: Option<u64>,
    alive: bool,
}

/// All entries ever made; a handle is an index plus `BASE`.
struct Entries {
    list: Vec<Entry>,
    policy: ResizePolicy,
}

const BASE: u32 = 1000;

trait TestHandle: Handle + From<u32> + Into<u64> {}
impl TestHandle for u32 {}
impl TestHandle for u64 {}

impl<H: TestHandle> Resolver<H> for Entries {
    fn hash(&self, handle: H) -> u64 {
        let entry = self.list[index_of(handle)];
        assert!(entry.alive, "a removed handle is never asked about");
        entry.hash
    }

    fn expiry_ms(&self, handle: H) -> Option<u64> {
        self.list[index_of(handle)].expiry_ms
    }

    fn resize_policy(&self) -> ResizePolicy {
        self.policy
    }
}

fn index_of<H: Into<u64>>(handle: H) -> usize {
    (handle.into() - u64::from(BASE)) as usize
}

/// How test hashes are made.
#[derive(Clone, Copy, Debug)]
enum Hashes {
    Uniform,
    /// A few thousand distinct values that share all but the low bits or all but the high.
    Clustered,
    /// Only eight values.
    Degenerate,
}

impl Hashes {
    fn draw(self, rng: &mut fastrand::Rng) -> u64 {
        match self {
            Hashes::Uniform => rng.u64(..),
            Hashes::Clustered if rng.bool() => 0xabcd_ef01_2345_0000 | rng.u64(..4096),
            Hashes::Clustered => rng.u64(..4096) << 52,
            Hashes::Degenerate => rng.u64(..8) << 61 | 5,
        }
    }
}

/// A table, the entries and the set of those that should be in it.
struct World<H: Handle> {
    table: Table<H>,
    entries: Entries,
    live: Vec<H>,
    rng: fastrand::Rng,
    hashes: Hashes,
}

impl<H: TestHandle> World<H> {
    fn new(seed: u64, hashes: Hashes) -> Self {
        World {
            table: Table::new(),
            entries: Entries { list: Vec::new(), policy: ResizePolicy::Allow },
            live: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            hashes,
        }
    }

    fn entry(&self, handle: H) -> Entry {
        self.entries.list[index_of(handle)]
    }

    fn make(&mut self, hash: u64, expiry_ms: Option<u64>) -> H {
        let handle = H::from(BASE + self.entries.list.len() as u32);
        self.entries.list.push(Entry { hash, expiry_ms, alive: true });
        handle
    }

    fn insert(&mut self) {
        let hash = self.hashes.draw(&mut self.rng);
        let expiry_ms = (self.rng.u8(..) < 40).then(|| self.rng.u64(1000..2000));
        let handle = self.make(hash, expiry_ms);
        self.table.insert(hash, handle, &self.entries);
        self.live.push(handle);
    }

    fn remove_handle(&mut self, handle: H) {
        let hash = self.entry(handle).hash;
        let removed = self.table.remove(hash, |other| other == handle, &self.entries);
        assert_eq!(removed, Some(handle));
        self.entries.list[index_of(handle)].alive = false;
        assert_eq!(self.table.find(hash, |other| other == handle), None);
    }

    fn remove(&mut self) {
        if !self.live.is_empty() {
            let handle = self.live.swap_remove(self.rng.usize(..self.live.len()));
            self.remove_handle(handle);
        }
    }

    fn replace(&mut self) {
        if self.live.is_empty() {
            return;
        }
        let place = self.rng.usize(..self.live.len());
        let old = self.live[place];
        let Entry { hash, expiry_ms, .. } = self.entry(old);
        let moved = self.make(hash, expiry_ms);
        let slot = self.table.find_mut(hash, |other| other == old).expect("it is in the table");
        *slot = moved;
        self.entries.list[index_of(old)].alive = false;
        self.live[place] = moved;
    }

    fn change_expiry(&mut self) {
        if self.live.is_empty() {
            return;
        }
        let handle = self.live[self.rng.usize(..self.live.len())];
        let before = self.entry(handle);
        let after = self.rng.bool().then(|| self.rng.u64(1000..2000));
        self.entries.list[index_of(handle)].expiry_ms = after;
        self.table.expiry_changed(before.hash, before.expiry_ms, after);
    }

    fn step(&mut self, insert_share: u8) {
        match self.rng.u8(..) {
            roll if roll < 20 => self.change_expiry(),
            roll if roll < 30 => self.replace(),
            _ if self.rng.u8(..) < insert_share => self.insert(),
            _ => self.remove(),
        }
    }

    fn check(&mut self) {
        self.table.check_invariants(&self.entries);
        assert_eq!(self.table.len(), self.live.len());
        let listed: Vec<H> = self.table.iter().collect();
        assert_eq!(listed.len(), self.live.len());
        let listed: HashSet<H> = listed.into_iter().collect();
        assert!(self.live.iter().all(|handle| listed.contains(handle)));
        for &handle in &self.live {
            let hash = self.entry(handle).hash;
            assert_eq!(self.table.find(hash, |other| other == handle), Some(handle));
            self.table.prefetch_bucket(hash);
            self.table.prefetch_matches(hash, &self.entries);
        }
        let volatile = self.live.iter().filter(|&&h| self.entry(h).expiry_ms.is_some()).count();
        assert_eq!(self.table.volatile_len(), volatile);
    }

    fn fill_to(&mut self, len: usize) {
        while self.live.len() < len {
            self.insert();
        }
        while self.live.len() > len {
            self.remove();
        }
    }
}

const POLICIES: [ResizePolicy; 3] = [ResizePolicy::Allow, ResizePolicy::Avoid, ResizePolicy::Forbid];
const KINDS: [Hashes; 3] = [Hashes::Uniform, Hashes::Clustered, Hashes::Degenerate];

/// Phases of (policy, share of inserts, steps), with a look at everything after each.
fn run_phases<H: TestHandle>(seed: u64, hashes: Hashes, phases: &[(usize, u8, usize)]) {
    let mut world = World::<H>::new(seed, hashes);
    for &(policy, insert_share, steps) in phases {
        world.entries.policy = POLICIES[policy];
        // Chains of equal hashes are walked for each step: keep those short.
        let steps = if matches!(hashes, Hashes::Degenerate) { steps / 8 } else { steps };
        for _ in 0..steps {
            world.step(insert_share);
        }
        world.check();
    }
    world.entries.policy = ResizePolicy::Allow;
    world.fill_to(0);
    // What was emptied while shrinking was not allowed waits for the background.
    let mut position = 0;
    for _ in 0..200 {
        position = world.table.maintain(position, &world.entries).0;
    }
    world.check();
    let left = world.table.memory_bytes();
    assert!(left <= 128, "an emptied table keeps {left} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 48 }))]

    #[test]
    fn model_agrees(
        seed in any::<u64>(),
        kind in 0usize..3,
        phases in prop::collection::vec((0usize..3, any::<u8>(), 0usize..4000), 1..8),
    ) {
        run_phases::<u64>(seed, KINDS[kind], &phases);
        run_phases::<u32>(seed, KINDS[kind], &phases);
    }

    /// SCAN's promise: what is there from begin to end is seen, whatever happens between.
    #[test]
    fn scan_sees_all_that_stays(
        seed in any::<u64>(),
        kind in 0usize..2,
        start_len in 0usize..6000,
        insert_share in any::<u8>(),
        steps_between in 0usize..60,
    ) {
        let mut world = World::<u64>::new(seed, KINDS[kind]);
        world.fill_to(start_len);
        let mut seen = HashSet::new();
        let mut gone: HashSet<u64> = HashSet::new();
        let staying: HashSet<u64> = world.live.iter().copied().collect();
        let mut cursor = 0;
        loop {
            cursor = world.table.scan(cursor, |handle| { seen.insert(handle); });
            assert!(cursor < 1 << 48);
            if cursor == 0 { break; }
            for _ in 0..steps_between {
                // No replacement here: the model knows entries by handle.
                let grow = world.rng.u8(..) < insert_share && world.live.len() < 12_000;
                if grow { world.insert() } else { world.remove() }
            }
            world.entries.policy = POLICIES[world.rng.usize(..3)];
        }
        gone.extend(staying.iter().filter(|&&h| !world.entry(h).alive));
        assert!(staying.iter().all(|handle| seen.contains(handle) || gone.contains(handle)));
    }
}

#[test]
fn growth_and_shrinking_over_many_segments() {
    let len = if cfg!(miri) { 3_000 } else { 150_000 };
    let mut world = World::<u64>::new(1, Hashes::Uniform);
    world.fill_to(len);
    world.check();
    let full = world.table.stats();
    assert!(cfg!(miri) || full.segments > 64 && full.directory_places >= full.segments);
    assert_eq!(full.chains.iter().sum::<usize>(), full.buckets);
    world.fill_to(len / 20);
    world.check();
    assert!(world.table.stats().segments <= full.segments / 8 + 1);
    assert!(world.table.memory_bytes() * 8 < full.memory_bytes);
    world.fill_to(len / 2);
    world.check();
    world.fill_to(0);
    assert!(world.table.memory_bytes() <= 1024);
}

#[test]
fn two_levels_of_directories() {
    // Equal in the top 13 bits: the first directory cannot double any further.
    let mut world = World::<u32>::new(3, Hashes::Uniform);
    let dense = if cfg!(miri) { 2_000 } else { 60_000 };
    // Enough other entries that the directory is worth its memory.
    let sparse = if cfg!(miri) { 2_000 } else { 1_200_000 };
    for index in 0..sparse + dense {
        let hash = world.rng.u64(..) >> if index < sparse { 0 } else { 10 };
        let handle = world.make(hash, None);
        world.table.insert(hash, handle, &world.entries);
        world.live.push(handle);
    }
    world.table.check_invariants(&world.entries);
    let stats = world.table.stats();
    assert!(cfg!(miri) || stats.max_depth > 13, "depth {}", stats.max_depth);
    for &handle in &world.live {
        let hash = world.entry(handle).hash;
        assert_eq!(world.table.find(hash, |other| other == handle), Some(handle));
    }
    world.fill_to(100);
    world.check();
    assert!(world.table.stats().max_depth < 8);
}

#[test]
fn clustered_hashes_do_not_blow_up_the_directory() {
    let mut world = World::<u64>::new(5, Hashes::Clustered);
    world.fill_to(if cfg!(miri) { 2_000 } else { 40_000 });
    world.check();
    let stats = world.table.stats();
    assert!(stats.directory_places <= world.live.len() / 32 + 256, "{stats:?}");
    assert!(stats.memory_bytes <= world.live.len() * 64, "{stats:?}");
}

#[test]
fn policies_hold_back_growth() {
    let mut world = World::<u64>::new(9, Hashes::Uniform);
    world.fill_to(2_000);
    let before = world.table.stats();
    world.entries.policy = ResizePolicy::Avoid;
    world.fill_to(2_600);
    assert_eq!(world.table.stats().buckets, before.buckets, "growth is avoided");
    world.fill_to(40_000);
    let grown = world.table.stats();
    assert!(grown.buckets > before.buckets, "but happens when chains are extreme");
    assert!(grown.load() > 1.0);
    world.fill_to(100);
    assert_eq!(world.table.stats().buckets, grown.buckets, "no shrinking");
    world.entries.policy = ResizePolicy::Forbid;
    world.fill_to(60_000);
    assert_eq!(world.table.stats().buckets, grown.buckets, "forbidden");
    world.check();

    world.entries.policy = ResizePolicy::Allow;
    let mut position = 0;
    for _ in 0..10_000 {
        position = world.table.maintain(position, &world.entries).0;
    }
    world.check();
    assert!(world.table.stats().load() < 1.2, "maintenance catches up");
}

#[test]
fn reserve_makes_room_at_once() {
    for len in [1, 7, 100, 5_000, 50_000] {
        let mut world = World::<u64>::new(2, Hashes::Uniform);
        world.table.reserve(len);
        let reserved = world.table.stats();
        world.table.check_invariants(&world.entries);
        world.fill_to(len);
        assert_eq!(world.table.stats().buckets, reserved.buckets, "{len} entries");
        world.check();
    }
}

#[test]
fn drain_gives_every_handle_once() {
    let mut world = World::<u32>::new(4, Hashes::Uniform);
    world.fill_to(30_000);
    let mut drained = Vec::new();
    world.table.drain(|handle| drained.push(handle));
    assert_eq!((world.table.len(), world.table.memory_bytes()), (0, 0));
    drained.sort_unstable();
    world.live.sort_unstable();
    assert_eq!(drained, world.live);
    world.live.clear();
    world.fill_to(10);
    world.check();
}

#[test]
fn an_empty_table_answers() {
    let mut world = World::<u64>::new(4, Hashes::Uniform);
    assert_eq!(world.table.memory_bytes(), 0);
    assert_eq!(world.table.find(1, |_| true), None);
    assert_eq!(world.table.remove(1, |_| true, &world.entries), None);
    assert_eq!(world.table.scan(77, |_| panic!("nothing to visit")), 0);
    assert_eq!(world.table.random(&mut world.rng), None);
    assert_eq!(world.table.sample(3, &mut world.rng, &world.entries, |_| {}), 0);
    assert_eq!(world.table.iter().count(), 0);
    assert_eq!(world.table.visit_due(5, 9, &world.entries, |_| true).next_position, 0);
    world.table.clear();
}

/// Chi-square of `draws` samples over `len` entries, in standard deviations from its mean.
fn chi_square_deviations(world: &mut World<u64>, draws_per_entry: usize) -> f64 {
    let len = world.live.len();
    let mut drawn: HashMap<u64, usize> = HashMap::new();
    for _ in 0..len * draws_per_entry {
        let handle = world.table.random(&mut world.rng).expect("not empty");
        *drawn.entry(handle).or_default() += 1;
    }
    let expected = draws_per_entry as f64;
    let square = |handle| {
        let count = drawn.get(handle).copied().unwrap_or(0) as f64;
        (count - expected) * (count - expected) / expected
    };
    let chi_square: f64 = world.live.iter().map(square).sum();
    let freedom = (len - 1).max(1) as f64;
    (chi_square - freedom) / (2.0 * freedom).sqrt()
}

#[test]
#[cfg_attr(miri, ignore)]
fn random_is_fair() {
    for (seed, len) in [(1, 5), (2, 60), (3, 1_000), (4, 6_000)] {
        let mut world = World::<u64>::new(seed, Hashes::Uniform);
        world.fill_to(len);
        let deviations = chi_square_deviations(&mut world, 50);
        assert!(deviations.abs() < 5.0, "{len} entries: {deviations}");
    }
    // Uneven segments: full ones, and sparse ones kept from shrinking.
    let mut world = World::<u64>::new(5, Hashes::Uniform);
    world.fill_to(8_000);
    world.entries.policy = ResizePolicy::Avoid;
    world.live.sort_unstable_by_key(|&h| world.entries.list[index_of(h)].hash);
    while world.live.len() > 2_000 {
        let handle = world.live.pop().expect("more than 2,000");
        world.remove_handle(handle);
    }
    let deviations = chi_square_deviations(&mut world, 50);
    assert!(deviations.abs() < 5.0, "uneven: {deviations}");
}

#[test]
fn random_and_sample_find_the_last_entry() {
    let mut world = World::<u64>::new(6, Hashes::Uniform);
    world.fill_to(if cfg!(miri) { 500 } else { 20_000 });
    world.entries.policy = ResizePolicy::Forbid;
    world.fill_to(1);
    assert_eq!(world.table.random(&mut world.rng), Some(world.live[0]));
}

#[test]
fn sample_gives_distinct_neighbours() {
    let mut world = World::<u64>::new(6, Hashes::Uniform);
    world.fill_to(5_000);
    for count in [1, 5, 16, 200] {
        let mut sampled = Vec::new();
        let found = world.table.sample(count, &mut world.rng, &world.entries, |handle| sampled.push(handle));
        assert_eq!(found, sampled.len());
        assert!((count..count + 30).contains(&found), "whole buckets: {found} for {count}");
        assert!(sampled.iter().all(|&handle| world.entry(handle).alive));
        assert_eq!(sampled.iter().collect::<HashSet<_>>().len(), found);
    }
    let mut volatile = Vec::new();
    world.table.sample_volatile(20, &mut world.rng, &world.entries, |h| volatile.push(h));
    assert!(volatile.len() >= 20);
    assert!(volatile.iter().all(|&handle| world.entry(handle).expiry_ms.is_some()));
}

/// No entry is left out for its place in the bucket: eviction would never find it.
#[test]
fn sampling_reaches_every_entry() {
    let mut world = World::<u64>::new(7, Hashes::Uniform);
    world.fill_to(2_000);
    let mut seen = HashSet::new();
    for _ in 0..if cfg!(miri) { 2_000 } else { 20_000 } {
        world.table.sample(1, &mut world.rng, &world.entries, |handle| {
            seen.insert(handle);
        });
    }
    assert_eq!(seen.len(), 2_000);
}

/// Active expiry with writes in between removes all that is due, exactly that, and leaves
/// bounds that skip what has nothing due.
#[test]
fn due_visits_find_everything_due() {
    for seed in 0..if cfg!(miri) { 1 } else { 8 } {
        let mut world = World::<u64>::new(seed, Hashes::Uniform);
        world.fill_to(if cfg!(miri) { 500 } else { 12_000 });
        for now_ms in [500, 1200, 1500, 3000] {
            // Two rounds: a segment that was rebuilt in the middle of the first is visited
            // again; entries added behind the position too.
            for round in 0..3 {
                run_due_round(&mut world, now_ms, round == 0);
            }
            let due = |&&h: &&u64| world.entry(h).expiry_ms.is_some_and(|ms| ms <= now_ms);
            assert_eq!(world.live.iter().filter(due).count(), 0);
            assert!(world.table.earliest_expiry_ms() > now_ms, "bounds are reset");
            world.check();
        }
        assert_eq!(world.table.volatile_len(), 0);
    }
}

fn run_due_round(world: &mut World<u64>, now_ms: u64, with_writes: bool) {
    let mut position = 0;
    loop {
        let mut found = Vec::new();
        let stays = with_writes && world.rng.u8(..) < 10;
        let visit = world.table.visit_due(now_ms, position, &world.entries, |handle| {
            found.push(handle);
            !stays
        });
        assert_eq!(visit.due, found.len());
        for handle in found {
            assert!(world.entry(handle).expiry_ms.is_some_and(|ms| ms <= now_ms));
            if !stays {
                world.live.retain(|&other| other != handle);
                world.remove_handle(handle);
            }
        }
        for _ in 0..if with_writes { 3 } else { 0 } {
            world.step(128);
        }
        if with_writes && world.rng.u8(..) < 4 {
            world.table.check_invariants(&world.entries);
        }
        position = visit.next_position;
        if position == 0 {
            return;
        }
    }
}

#[test]
fn segments_without_anything_due_are_skipped() {
    let mut world = World::<u64>::new(8, Hashes::Uniform);
    for _ in 0..30_000 {
        let hash = world.rng.u64(..);
        let handle = world.make(hash, None);
        world.table.insert(hash, handle, &world.entries);
        world.live.push(handle);
    }
    let handle = world.live[77];
    world.entries.list[index_of(handle)].expiry_ms = Some(1500);
    world.table.note_volatile(world.entry(handle).hash, 1500);
    let early = world.table.visit_due(1499, 0, &world.entries, |_| true);
    assert_eq!((early.visited_bucket, early.next_position), (false, 0));

    let (mut position, mut visited, mut due) = (0, 0, 0);
    loop {
        let visit = world.table.visit_due(1500, position, &world.entries, |_| false);
        visited += usize::from(visit.visited_bucket);
        due += visit.due;
        position = visit.next_position;
        if position == 0 {
            break;
        }
    }
    assert_eq!(due, 1);
    assert!(visited <= 127, "one segment at most, not {visited} buckets");
    world.entries.list[index_of(handle)].expiry_ms = None;
    world.table.forget_volatile(world.entry(handle).hash);
    assert_eq!(world.table.earliest_expiry_ms(), u64::MAX);
    world.check();
}
