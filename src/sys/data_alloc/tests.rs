//! Tests of the data heap against naive models. Each makes a heap of its own, so that
//! counts are exact whatever other tests do.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::sync::{Arc, mpsc};
use std::thread;

use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

use super::blocks::{DATA_PER_PREFAULTED, RETAINED_BLOCKS};
use super::live_bytes::LiveBytes;
use super::shared::{SharedHeap, usable_size};
use super::size_class::{ALIGN_BYTES, BLOCK_BYTES, CLASSES, MAX_SLAB_OBJECT_BYTES, UNIT_BYTES};
use super::walk::Granularity;
use super::{DataBox, DataBytes, DataVec, Kind};

/// 512 MiB of address space, enough for every test here.
const TEST_BLOCKS: usize = 256;

fn test_heap() -> SharedHeap {
    let heap = SharedHeap::new();
    heap.prepare(TEST_BLOCKS).expect("address space for a test");
    heap
}

/// A live object of the model.
#[derive(Clone, Copy)]
struct Object {
    size: usize,
    kind: Kind,
    stamp: u8,
}

/// Fills the first and last bytes; large objects are not worth touching whole.
fn stamp(ptr: NonNull<u8>, object: Object) {
    for offset in probes(object.size) {
        // SAFETY: the offset is below the object's size.
        unsafe { ptr.add(offset).write(object.stamp ^ offset as u8) };
    }
}

fn assert_stamped(ptr: NonNull<u8>, object: Object, limit: usize) {
    for offset in probes(object.size).filter(|&offset| offset < limit) {
        // SAFETY: the offset is below the object's size.
        let found = unsafe { ptr.add(offset).read() };
        assert_eq!(found, object.stamp ^ offset as u8, "size {} offset {offset}", object.size);
    }
}

fn probes(size: usize) -> impl Iterator<Item = usize> {
    (0..size.min(64)).chain(size.saturating_sub(64).max(64)..size)
}

/// The naive model: what must be live, by address.
#[derive(Default)]
struct Model {
    live: BTreeMap<usize, (NonNull<u8>, Object)>,
    used_bytes: usize,
}

impl Model {
    fn add(&mut self, ptr: NonNull<u8>, object: Object) {
        let (start, bytes) = (ptr.addr().get(), usable_size(object.size));
        assert_eq!(start % ALIGN_BYTES, 0);
        if let Some((_, (before, other))) = self.live.range(..=start).next_back() {
            assert!(before.addr().get() + usable_size(other.size) <= start, "overlap below");
        }
        if let Some((&after, _)) = self.live.range(start..).next() {
            assert!(start + bytes <= after, "overlap above");
        }
        stamp(ptr, object);
        self.used_bytes += bytes;
        self.live.insert(start, (ptr, object));
    }

    fn remove(&mut self, pick: usize) -> Option<(NonNull<u8>, Object)> {
        let key = *self.live.keys().nth(pick % self.live.len().max(1))?;
        let (ptr, object) = self.live.remove(&key)?;
        self.used_bytes -= usable_size(object.size);
        assert_stamped(ptr, object, object.size);
        Some((ptr, object))
    }

    fn entries(&self) -> Vec<usize> {
        let entries = self.live.iter().filter(|(_, (_, object))| object.kind == Kind::Entry);
        entries.map(|(&start, _)| start).collect()
    }
}

/// All walked entries, sorted; checks that those in blocks came in address order.
fn walked(heap: &SharedHeap, granularity: Granularity) -> Vec<usize> {
    let (mut in_blocks, mut in_mappings) = (Vec::new(), Vec::new());
    heap.for_each_live_entry(granularity, |range, entries| {
        let start = range.start.addr().get();
        let found = if range.block.is_some() { &mut in_blocks } else { &mut in_mappings };
        for entry in entries {
            let address = entry.addr().get();
            assert!((start..start + range.bytes).contains(&address), "entry outside its range");
            found.push(address);
        }
    });
    assert!(in_blocks.is_sorted() && in_mappings.is_sorted(), "not in address order");
    in_blocks.append(&mut in_mappings);
    in_blocks.sort_unstable();
    in_blocks
}

#[derive(Clone, Debug)]
enum Step {
    Alloc { size: usize, is_entry: bool },
    Free { pick: usize },
    Realloc { pick: usize, size: usize },
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0..300usize,
        4 => 300..20_000usize,
        2 => 20_000..MAX_SLAB_OBJECT_BYTES + 1,
        1 => MAX_SLAB_OBJECT_BYTES + 1..3 << 20,
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (sizes(), any::<bool>()).prop_map(|(size, is_entry)| Step::Alloc { size, is_entry }),
        3 => any::<usize>().prop_map(|pick| Step::Free { pick }),
        2 => (any::<usize>(), sizes()).prop_map(|(pick, size)| Step::Realloc { pick, size }),
    ];
    prop::collection::vec(step, 1..300)
}

fn run_step(heap: &SharedHeap, model: &mut Model, step: Step, stamp: u8) {
    match step {
        Step::Alloc { size, is_entry } => {
            let kind = if is_entry { Kind::Entry } else { Kind::Value };
            let ptr = heap.try_alloc(kind, size).expect("memory for a test");
            model.add(ptr, Object { size, kind, stamp });
        }
        Step::Free { pick } => {
            if let Some((ptr, object)) = model.remove(pick) {
                // SAFETY: the object is live and leaves the model.
                unsafe { heap.free(ptr, object.size) };
            }
        }
        Step::Realloc { pick, size } => {
            if let Some((ptr, object)) = model.remove(pick) {
                // SAFETY: the object is live; the model keeps only the result.
                let moved = unsafe { heap.try_realloc(ptr, object.size, size) };
                let moved = moved.expect("memory for a test");
                assert_stamped(moved, object, size);
                model.add(moved, Object { size, ..object });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_the_model(steps in steps()) {
        let heap = test_heap();
        let mut model = Model::default();
        for (index, step) in steps.into_iter().enumerate() {
            run_step(&heap, &mut model, step, index as u8);
            assert_eq!(heap.used_bytes(), model.used_bytes);
        }
        heap.check_invariants();
        let entries = model.entries();
        assert_eq!(walked(&heap, Granularity::Block), entries);
        assert_eq!(walked(&heap, Granularity::Slab), entries);
        while let Some((ptr, object)) = model.remove(0) {
            // SAFETY: the object is live and leaves the model.
            unsafe { heap.free(ptr, object.size) };
        }
        heap.trim();
        heap.check_invariants();
        let stats = heap.stats();
        assert_eq!((stats.live_bytes, stats.slab_bytes, stats.large_objects), (0, 0, 0));
        assert!(stats.committed_bytes <= RETAINED_BLOCKS * BLOCK_BYTES);
    }

    #[test]
    fn bytes_agree_with_a_vec(
        edits in prop::collection::vec((any::<u16>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..90)), 0..40),
    ) {
        let mut bytes = DataBytes::new();
        let mut model: Vec<u8> = Vec::new();
        for (from, length, source) in edits {
            let start = from as usize % (model.len() + 1);
            let end = start + length as usize % (model.len() - start + 1);
            match from % 5 {
                0 => { bytes.extend_from_slice(&source); model.extend_from_slice(&source); }
                1 => { bytes.truncate(end); model.truncate(end); }
                2 => { bytes.shrink_to_fit(); bytes.resize(end + 3, 7); model.resize(end + 3, 7); }
                _ => { bytes.splice(start..end, &source); model.splice(start..end, source); }
            }
            assert_eq!(bytes.as_slice(), model.as_slice());
            assert!(bytes.capacity() >= bytes.len());
        }
        let raw = bytes.into_raw();
        // SAFETY: the pointer was just given up, and is read before it is taken back.
        assert_eq!(unsafe { DataBytes::slice_of_raw(raw) }, model.as_slice());
        // SAFETY: taken back once.
        assert_eq!(unsafe { DataBytes::from_raw(raw) }.as_slice(), model.as_slice());
    }

    #[test]
    fn array_agrees_with_a_vec(
        edits in prop::collection::vec((0..6u8, any::<u16>(), any::<[u64; 3]>()), 0..200),
    ) {
        let mut vec: DataVec<[u64; 3]> = DataVec::new();
        let mut model = Vec::new();
        for (act, place, value) in edits {
            let place = place as usize % (model.len() + 1);
            match act {
                0 | 1 => { vec.push(value); model.push(value); }
                2 => { vec.insert(place, value); model.insert(place, value); }
                3 if place < model.len() => assert_eq!(vec.remove(place), model.remove(place)),
                4 => assert_eq!(vec.pop(), model.pop()),
                _ => { vec.shrink_to_fit(); vec.resize(place + 2, value); model.resize(place + 2, value); }
            }
            assert_eq!(vec.as_slice(), model.as_slice());
        }
    }
}

#[test]
fn all_objects_of_every_class_are_distinct() {
    for info in CLASSES.iter() {
        let heap = test_heap();
        let mut model = Model::default();
        for index in 0..usize::from(info.slots) + 1 {
            let ptr = heap.try_alloc(Kind::Value, info.bytes as usize).expect("memory for a test");
            let size = info.bytes as usize;
            model.add(ptr, Object { size, kind: Kind::Value, stamp: index as u8 });
        }
        heap.check_invariants();
        assert_eq!(heap.stats().slab_bytes, 2 * usize::from(info.units) * UNIT_BYTES);
    }
}

#[test]
fn exhaustion_is_an_answer_and_not_a_crash() {
    let heap = SharedHeap::new();
    heap.prepare(32).expect("address space for a test");
    let mut taken = Vec::new();
    while let Some(ptr) = heap.try_alloc(Kind::Value, 1 << 20) {
        taken.push(ptr);
    }
    assert_eq!(taken.len(), 64);
    assert_eq!(heap.try_alloc(Kind::Entry, 16), None);
    heap.check_invariants();
    // SAFETY: the object is live and leaves the list.
    unsafe { heap.free(taken.pop().expect("64 objects"), 1 << 20) };
    assert!(heap.try_alloc(Kind::Value, 600 << 10).is_some());
    assert!(heap.try_alloc(Kind::Value, usize::MAX).is_none());
}

#[test]
fn emptied_blocks_go_back_and_low_ones_are_refilled() {
    let heap = test_heap();
    let count = 40 * BLOCK_BYTES / 1024;
    let objects: Vec<_> =
        (0..count).map(|_| heap.try_alloc(Kind::Value, 1024).expect("memory for a test")).collect();
    assert_eq!(heap.stats().blocks, 40);
    for ptr in &objects[count / 4..] {
        // SAFETY: live, freed once.
        unsafe { heap.free(*ptr, 1024) };
    }
    heap.trim();
    heap.check_invariants();
    let stats = heap.stats();
    assert_eq!((stats.blocks, stats.retained_blocks), (10, RETAINED_BLOCKS));
    let again = heap.try_alloc(Kind::Value, 1024).expect("memory for a test");
    assert!(again < objects[count / 2], "a high block was chosen over a low one");
}

#[test]
fn a_string_takes_what_needs_a_block_of_its_size_in_place() {
    let mut string = DataBytes::from_slice(&[1; 200]);
    let address = string.as_slice().as_ptr();
    let fitting = usable_size(200 + 8) - 8;
    assert!(string.replace_in_place(&vec![2; fitting]) && string.as_slice() == vec![2; fitting]);
    assert_eq!(string.as_slice().as_ptr(), address);
    for other in [0, 20, fitting + 1] {
        assert!(!string.replace_in_place(&vec![3; other]));
        assert_eq!(string.as_slice(), vec![2; fitting], "nothing has changed");
    }
    assert!(!DataBytes::new().replace_in_place(b"") && !DataBytes::new().replace_in_place(&[1; 200]));
}

#[test]
fn a_block_of_byte_strings_is_finished_with_its_last_one() {
    const SIZE: usize = 5000;
    let heap = test_heap();
    let place = |kind, size| heap.try_alloc(kind, size).expect("memory for a test");
    let mut strings: Vec<NonNull<u8>> = Vec::new();
    for number in 0..1500 {
        strings.push(place(Kind::Bytes, SIZE + number % 3));
        place(Kind::Value, SIZE);
    }
    // One that is freed does not count, one made after the count does not either.
    let freed = strings.swap_remove(7);
    // SAFETY: it came from this heap with this size, and is used nowhere else.
    unsafe { heap.free(freed, SIZE + 1) };
    let mut live = LiveBytes::count(&heap);
    assert_eq!(live.done(place(Kind::Value, 64)), None);
    assert_eq!(live.done(place(Kind::Entry, 64)), None);
    let blocks: BTreeSet<usize> = strings.iter().map(|ptr| ptr.addr().get() / BLOCK_BYTES).collect();
    let (last, others) = strings.split_last().expect("there are some");
    let finished: BTreeSet<usize> = others
        .iter()
        .filter_map(|ptr| live.done(*ptr))
        .map(|range| range.start.addr().get() / BLOCK_BYTES)
        .collect();
    assert_eq!(finished.len(), blocks.len() - 1, "all but the last one's");
    let range = live.done(*last).expect("the last one");
    assert_eq!(
        (range.start.addr().get() / BLOCK_BYTES, range.bytes),
        (last.addr().get() / BLOCK_BYTES, BLOCK_BYTES)
    );
    assert!(
        blocks
            .iter()
            .all(|block| finished.contains(block) || *block == range.start.addr().get() / BLOCK_BYTES)
    );
}

#[test]
fn prefaulted_blocks_are_the_next_ones_used() {
    assert!(!SharedHeap::new().prefault_one(), "a heap never used needs no reserve");
    let heap = test_heap();
    let objects_per_block = BLOCK_BYTES >> 20;
    heap.try_alloc(Kind::Value, 1 << 20).expect("memory for a test");
    assert!(!heap.prefault_one(), "little data needs no reserve");
    for _ in 1..DATA_PER_PREFAULTED * RETAINED_BLOCKS * objects_per_block {
        heap.try_alloc(Kind::Value, 1 << 20).expect("memory for a test");
    }
    let mut blocks = 0;
    while heap.prefault_one() {
        blocks += 1;
        heap.check_invariants();
    }
    if blocks == 0 {
        return; // Linux before 5.14 cannot populate.
    }
    assert_eq!((blocks, heap.stats().retained_blocks), (RETAINED_BLOCKS, RETAINED_BLOCKS));
    heap.try_alloc(Kind::Value, 1 << 20).expect("memory for a test");
    assert_eq!(heap.stats().retained_blocks, RETAINED_BLOCKS - 1);
    heap.check_invariants();
}

#[test]
#[should_panic(expected = "double free")]
fn double_free_is_caught() {
    let heap = test_heap();
    let ptr = heap.try_alloc(Kind::Value, 40).expect("memory for a test");
    for _ in 0..2 {
        // SAFETY: deliberately broken contract; the check stops before memory is touched.
        unsafe { heap.free(ptr, 40) };
    }
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "another size class")]
fn wrong_size_is_caught() {
    let heap = test_heap();
    let ptr = heap.try_alloc(Kind::Value, 40).expect("memory for a test");
    // SAFETY: deliberately broken contract; the check stops before memory is touched.
    unsafe { heap.free(ptr, 41) };
}

/// An object on its way to another thread.
struct Parcel {
    ptr: NonNull<u8>,
    size: usize,
    stamp: u8,
}

// SAFETY: the receiver is the only one to touch the object.
unsafe impl Send for Parcel {}

#[test]
fn threads_free_what_others_allocated() {
    const PARCELS: usize = 20_000;
    let heap = Arc::new(test_heap());
    let mut receivers = Vec::new();
    let mut threads = Vec::new();
    for seed in 0..2u64 {
        let (sender, receiver) = mpsc::sync_channel::<Parcel>(64);
        receivers.push(receiver);
        let heap = Arc::clone(&heap);
        threads.push(thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..PARCELS {
                let (size, stamp_byte) = (random.usize(1..3000), random.u8(..));
                let kind = if random.bool() { Kind::Entry } else { Kind::Value };
                let ptr = heap.try_alloc(kind, size).expect("memory for a test");
                stamp(ptr, Object { size, kind, stamp: stamp_byte });
                let parcel = Parcel { ptr, size, stamp: stamp_byte };
                sender.send(parcel).expect("the receiver takes all parcels");
            }
        }));
    }
    for receiver in receivers {
        let heap = Arc::clone(&heap);
        threads.push(thread::spawn(move || {
            for parcel in receiver {
                let Parcel { ptr, size, stamp } = parcel;
                assert_stamped(ptr, Object { size, kind: Kind::Value, stamp }, size);
                // SAFETY: the sender gave the object up.
                unsafe { heap.free(ptr, size) };
            }
        }));
    }
    // Walking meanwhile must neither hang nor leave the blocks.
    for _ in 0..20 {
        heap.for_each_live_entry(Granularity::Block, |range, entries| {
            let start = range.start.addr().get();
            for entry in entries {
                assert!((start..start + range.bytes).contains(&entry.addr().get()));
            }
        });
    }
    for thread in threads {
        thread.join().expect("no thread fails");
    }
    heap.check_invariants();
    assert_eq!(heap.used_bytes(), 0);
}

#[test]
fn the_walker_may_free_what_it_visits() {
    let heap = test_heap();
    for _ in 0..10_000 {
        heap.try_alloc(Kind::Entry, 56).expect("memory for a test");
    }
    heap.for_each_live_entry(Granularity::Slab, |_, entries| {
        for entry in entries {
            // SAFETY: live, and yielded once.
            unsafe { heap.free(entry, 56) };
        }
    });
    assert_eq!(heap.used_bytes(), 0);
    heap.check_invariants();
}

#[test]
fn boxes_drop_their_value_once() {
    let shared = Arc::new(5);
    let boxed = DataBox::new(Arc::clone(&shared));
    let other = boxed.clone();
    assert_eq!(Arc::strong_count(&shared), 3);
    let raw = boxed.into_raw();
    // SAFETY: just given up.
    drop(unsafe { DataBox::from_raw(raw) });
    assert_eq!(*other.into_inner(), 5);
    assert_eq!(Arc::strong_count(&shared), 1);
}

#[test]
fn huge_pages_and_collapse_keep_contents() {
    let heap = test_heap();
    if heap.set_huge_pages(true).is_err() {
        return; // A kernel without huge pages: nothing to keep.
    }
    let objects: Vec<_> = (0..4000u32)
        .map(|index| {
            let ptr = heap.try_alloc(Kind::Value, 1000).expect("memory for a test");
            stamp(ptr, Object { size: 1000, kind: Kind::Value, stamp: index as u8 });
            ptr
        })
        .collect();
    let blocks = heap.block_count();
    assert_eq!(heap.collapse_blocks(blocks, 8).expect("nothing to ask the kernel for"), 0);
    for first in 0..blocks {
        let run = heap.collapse_blocks(first, 3);
        assert!(!run.is_ok_and(|run| run > 3.min(blocks - first)));
    }
    for (index, ptr) in objects.into_iter().enumerate() {
        assert_stamped(ptr, Object { size: 1000, kind: Kind::Value, stamp: index as u8 }, 1000);
    }
    assert!(heap.stats().huge_pages);
}
