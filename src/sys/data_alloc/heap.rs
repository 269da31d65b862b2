//! The slab heap proper: bins, slabs and their bitmaps. Single threaded; `SharedHeap`
//! puts the lock around it.
//!
//! ```text
//! bin (class, kind)    cached bitmap word --+      current slab
//! slab record (16 B)   summary: which of the 64 bitmap words have a free slot
//! slab bitmap (512 B)  bit set = slot free; bits in the bin's cached word are taken out
//! data (64 KiB..2 MiB) slots only: neither alloc nor free ever touches it
//! ```
//!
//! Trade-off: metadata outside the data costs 0.9 % of it (528 B per 64 KiB and the sets),
//! and frees touch two metadata lines; in return a freed page stays clean for
//! copy-on-write, and live objects are found in address order without any index.

mod evacuation;

use std::io;
use std::ptr::NonNull;

use super::address_set::SetFamily;
use super::blocks::{BlockPool, BlockState, default_reserve_blocks};
use super::poison;
use super::region::{MetaArray, ZeroValid};
use super::size_class::{
    BLOCK_BYTES, CLASS_COUNT, CLASSES, ClassInfo, MAX_SLOTS, UNIT_BYTES, UNITS_PER_BLOCK,
};
use super::{KINDS, Kind};

/// Words of a slab's bitmap.
pub const BITMAP_WORDS: usize = MAX_SLOTS / 64;
const BIN_COUNT: usize = CLASS_COUNT * KINDS;
/// `Bin::current` of a bin without a slab.
const NO_SLAB: u32 = u32::MAX;

const _: () = assert!(BIN_COUNT <= 1 << 16, "a bin number is two bytes");

/// A slab's free slots.
pub type Bitmap = [u64; BITMAP_WORDS];

/// Record of a slab unit. `units > 0` marks the head of a slab; its other units only hold
/// their distance to the head; free units are all zero.
#[derive(Clone, Copy, Debug)]
struct SlabRecord {
    summary: u64,
    free: u16,
    slots: u16,
    bin: u16,
    units: u8,
    /// Units to the head; in a head only [`LEAVING`] or nothing.
    head_distance: u8,
}

/// Mark of a slab whose objects are to move elsewhere: it gives out no slot (`evacuation`).
const LEAVING: u8 = 0x80;

impl SlabRecord {
    #[inline]
    fn distance(&self) -> usize {
        usize::from(self.head_distance & !LEAVING)
    }

    #[inline]
    fn is_leaving(&self) -> bool {
        self.head_distance & LEAVING != 0
    }
}

const FREE_UNIT: SlabRecord =
    SlabRecord { summary: 0, free: 0, slots: 0, bin: 0, units: 0, head_distance: 0 };

const _: () = assert!(size_of::<SlabRecord>() == 16, "four records a cache line");

// SAFETY: all zero is FREE_UNIT.
unsafe impl ZeroValid for SlabRecord {}

/// Where the next object of a class and kind comes from.
#[derive(Clone, Copy)]
struct Bin {
    /// Free slots taken out of word `word_index` of the current slab's bitmap.
    word: u64,
    /// Offset in the data range of the slot of bit 0.
    word_start: usize,
    current: u32,
    bytes: u32,
    word_index: u32,
}

/// The heap behind the lock.
pub struct Heap {
    bins: [Bin; BIN_COUNT],
    state: Option<HeapState>,
}

struct HeapState {
    pool: BlockPool,
    slabs: MetaArray<SlabRecord>,
    bitmaps: MetaArray<Bitmap>,
    /// Slabs with a free slot that are nobody's current one; one set per bin.
    partial: SetFamily,
    slab_units: usize,
}

/// What [`Heap::release`] leaves to be done.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFree {
    /// Nothing.
    Done,
    /// Give the pages of this block back without the lock, then call `finish_return`.
    ReturnBlock(usize),
}

/// Byte figures of the slab heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlabFigures {
    /// Bytes of slabs, live or not.
    pub slab_bytes: usize,
    /// Blocks holding slabs.
    pub active_blocks: usize,
    /// Empty blocks kept resident.
    pub retained_blocks: usize,
    /// Blocks ever committed.
    pub committed_blocks: usize,
    /// Blocks reserved.
    pub reserved_blocks: usize,
}

fn bin_of(class: usize, kind: Kind) -> usize {
    class * KINDS + kind.bit()
}

fn class_of_bin(bin: u16) -> &'static ClassInfo {
    &CLASSES[bin as usize / KINDS]
}

fn kind_of_bin(bin: u16) -> Kind {
    Kind::from_bit((bin as usize % KINDS) as u8)
}

const fn empty_bins() -> [Bin; BIN_COUNT] {
    let blank = Bin { word: 0, word_start: 0, current: NO_SLAB, bytes: 0, word_index: 0 };
    let mut bins = [blank; BIN_COUNT];
    let mut index = 0;
    while index < BIN_COUNT {
        bins[index].bytes = CLASSES[index / KINDS].bytes;
        index += 1;
    }
    bins
}

impl HeapState {
    fn reserve(blocks: usize) -> io::Result<Self> {
        let pool = BlockPool::reserve(blocks)?;
        let units = pool.range().blocks() * UNITS_PER_BLOCK;
        Ok(HeapState {
            pool,
            slabs: MetaArray::reserve(units)?,
            bitmaps: MetaArray::reserve(units)?,
            partial: SetFamily::reserve(BIN_COUNT, units)?,
            slab_units: 0,
        })
    }

    /// Commits more blocks and their metadata; false at the end of the reservation.
    fn grow(&mut self) -> io::Result<bool> {
        let units = self.pool.units_after_commit();
        self.slabs.grow_to(units)?;
        self.bitmaps.grow_to(units)?;
        self.partial.grow_to(units)?;
        self.pool.commit_more()
    }

    /// A new slab for `bin`, all slots free, in no set.
    fn create_slab(&mut self, bin: usize) -> Option<usize> {
        let info = &CLASSES[bin / KINDS];
        let kind = Kind::from_bit((bin % KINDS) as u8);
        let units = info.units as usize;
        let head = loop {
            if let Some(head) = self.pool.take_units(kind, units) {
                break head;
            }
            if !self.grow().ok()? {
                return None;
            }
        };
        self.slab_units += units;
        poison::close(self.pool.range().at(head * UNIT_BYTES), units * UNIT_BYTES);
        let slots = info.slots as usize;
        let words = slots.div_ceil(64);
        let bitmap = self.bitmaps.at_mut(head);
        bitmap[..words].fill(u64::MAX);
        if !slots.is_multiple_of(64) {
            bitmap[words - 1] = (1 << (slots % 64)) - 1;
        }
        *self.slabs.at_mut(head) = SlabRecord {
            summary: u64::MAX >> (64 - words),
            free: info.slots,
            slots: info.slots,
            bin: bin as u16,
            units: info.units,
            head_distance: 0,
        };
        for distance in 1..units {
            self.slabs.at_mut(head + distance).head_distance = distance as u8;
        }
        Some(head)
    }

    /// Dissolves an all-free slab that is in no set.
    fn dissolve_slab(&mut self, head: usize) -> AfterFree {
        let record = *self.slabs.at(head);
        debug_assert!(record.units > 0 && !self.partial.contains(record.bin as usize, head));
        self.bitmaps.at_mut(head)[..(record.slots as usize).div_ceil(64)].fill(0);
        let units = record.units as usize;
        for unit in head..head + units {
            *self.slabs.at_mut(unit) = FREE_UNIT;
        }
        self.slab_units -= units;
        match self.pool.give_units(head, units) {
            Some(block) => AfterFree::ReturnBlock(block),
            None => AfterFree::Done,
        }
    }
}

impl Heap {
    /// A heap that reserves its range at the first allocation.
    pub const fn new() -> Self {
        Heap { bins: empty_bins(), state: None }
    }

    /// Reserves the range now, at most `blocks` blocks; nothing if already done.
    ///
    /// # Errors
    /// The kernel's refusal of address space.
    pub fn prepare(&mut self, blocks: usize) -> io::Result<()> {
        if self.state.is_none() {
            self.state = Some(HeapState::reserve(blocks)?);
        }
        Ok(())
    }

    /// The blocks, if anything was ever allocated.
    pub fn pool(&self) -> Option<&BlockPool> {
        self.state.as_ref().map(|state| &state.pool)
    }

    /// A free slot of `class`; `None` when memory or address space is used up.
    #[inline]
    pub fn take(&mut self, class: usize, kind: Kind) -> Option<NonNull<u8>> {
        let index = bin_of(class, kind);
        if self.bins[index].word == 0 {
            self.refill(index)?;
        }
        let bin = &mut self.bins[index];
        let slot = bin.word.trailing_zeros() as usize;
        bin.word &= bin.word - 1;
        let state = self.state.as_ref()?;
        let object = state.pool.range().at(bin.word_start + slot * bin.bytes as usize);
        poison::open(object, bin.bytes as usize);
        Some(object)
    }

    /// Gives the bin a bitmap word with at least one free slot.
    #[cold]
    fn refill(&mut self, index: usize) -> Option<()> {
        if self.state.is_none() {
            self.prepare(default_reserve_blocks()).ok()?;
        }
        let state = self.state.as_mut()?;
        let bin = &mut self.bins[index];
        if bin.current == NO_SLAB || state.slabs.at(bin.current as usize).summary == 0 {
            // The old one is full: the next free of one of its slots files it again.
            bin.current = NO_SLAB;
            bin.current = match state.partial.lowest(index) {
                Some(head) => {
                    state.partial.remove(index, head);
                    head as u32
                }
                None => state.create_slab(index)? as u32,
            };
        }
        let head = bin.current as usize;
        let record = state.slabs.at_mut(head);
        let word_index = record.summary.trailing_zeros() as usize;
        record.summary &= record.summary - 1;
        let word = std::mem::take(&mut state.bitmaps.at_mut(head)[word_index]);
        record.free -= word.count_ones() as u16;
        bin.word = word;
        bin.word_index = word_index as u32;
        bin.word_start = head * UNIT_BYTES + word_index * 64 * bin.bytes as usize;
        Some(())
    }

    /// Head unit of the slab that holds `ptr`; panics for a pointer outside every slab.
    #[inline]
    fn head_of(state: &HeapState, ptr: NonNull<u8>) -> usize {
        let unit = state.pool.range().offset_of(ptr) / UNIT_BYTES;
        unit - state.slabs.at(unit).distance()
    }

    /// Kind of the slab object at `ptr`.
    pub fn kind_of(&self, ptr: NonNull<u8>) -> Kind {
        let state = self.state.as_ref().expect("a pointer of this heap exists, so it was set up");
        let record = state.slabs.at(Self::head_of(state, ptr));
        kind_of_bin(record.bin)
    }

    /// Takes the slot at `ptr` back; `class` is the caller's belief, checked.
    /// Panics on a pointer that is not a live object, so a double free cannot spread.
    #[inline]
    pub fn release(&mut self, ptr: NonNull<u8>, class: usize) -> AfterFree {
        let state = self.state.as_mut().expect("a pointer of this heap exists, so it was set up");
        let head = Self::head_of(state, ptr);
        let record = state.slabs.at_mut(head);
        assert!(record.units > 0, "freed pointer lies in no slab");
        debug_assert_eq!(record.bin as usize / KINDS, class, "freed with another size class");
        let index = record.bin as usize;
        let info = class_of_bin(record.bin);
        let slot = info.slot_of(state.pool.range().offset_of(ptr) - head * UNIT_BYTES);
        let (word_index, bit) = (slot / 64, 1u64 << (slot % 64));
        let bin = &mut self.bins[index];
        poison::close(ptr, bin.bytes as usize);
        let is_current = bin.current as usize == head;
        if is_current && bin.word_index as usize == word_index {
            assert!(bin.word & bit == 0, "double free");
            bin.word |= bit;
        } else {
            let word = &mut state.bitmaps.at_mut(head)[word_index];
            assert!(*word & bit == 0, "double free");
            *word |= bit;
            record.summary |= 1 << word_index;
            record.free += 1;
        }
        if is_current {
            if record.units > 1 { self.retire_if_empty(index) } else { AfterFree::Done }
        } else if record.free == 1 || record.free == record.slots {
            Self::refile(state, head)
        } else {
            AfterFree::Done
        }
    }

    /// A slab that is not current got its first free slot, or its last.
    #[cold]
    fn refile(state: &mut HeapState, head: usize) -> AfterFree {
        let record = *state.slabs.at(head);
        let bin = record.bin as usize;
        if record.free < record.slots {
            if !record.is_leaving() {
                state.partial.insert(bin, head);
            }
            return AfterFree::Done;
        }
        if record.slots > 1 && !record.is_leaving() {
            state.partial.remove(bin, head);
        }
        state.dissolve_slab(head)
    }

    /// Dissolves the bin's current slab if nothing lives in it.
    #[cold]
    fn retire_if_empty(&mut self, index: usize) -> AfterFree {
        let Some(state) = self.state.as_mut() else {
            return AfterFree::Done;
        };
        let bin = &mut self.bins[index];
        if bin.current == NO_SLAB {
            return AfterFree::Done;
        }
        let head = bin.current as usize;
        let record = state.slabs.at(head);
        if u32::from(record.free) + bin.word.count_ones() < u32::from(record.slots) {
            return AfterFree::Done;
        }
        bin.current = NO_SLAB;
        bin.word = 0;
        state.dissolve_slab(head)
    }

    /// Dissolves one empty current slab, if there is one; call until `None`.
    pub fn trim_one(&mut self) -> Option<AfterFree> {
        let state = self.state.as_ref()?;
        let empty = (0..BIN_COUNT).find(|&index| {
            let bin = &self.bins[index];
            bin.current != NO_SLAB && {
                let record = state.slabs.at(bin.current as usize);
                u32::from(record.free) + bin.word.count_ones() == u32::from(record.slots)
            }
        })?;
        Some(self.retire_if_empty(empty))
    }

    /// One empty block that is resident, to be given back.
    pub fn begin_release(&mut self) -> Option<AfterFree> {
        self.state.as_mut()?.pool.begin_release().map(AfterFree::ReturnBlock)
    }

    /// The pages of `block` are given back.
    pub fn finish_return(&mut self, block: usize) {
        if let Some(state) = self.state.as_mut() {
            state.pool.finish_return(block);
        }
    }

    /// A block to populate without the lock, if more empty blocks should be resident.
    /// Commits more blocks where none is left over.
    pub fn begin_prefault(&mut self) -> Option<usize> {
        let state = self.state.as_mut().filter(|state| state.pool.wants_prefault())?;
        state.pool.begin_prefault().or_else(|| {
            let grown = state.grow().ok()?;
            if grown { state.pool.begin_prefault() } else { None }
        })
    }

    /// The end of what `begin_prefault` began.
    pub fn finish_prefault(&mut self, block: usize, populated: bool) {
        if let Some(state) = self.state.as_mut() {
            state.pool.finish_prefault(block, populated);
        }
    }

    /// For the walk: if `unit` heads a slab of entries, its units, slot size, and a copy of
    /// its live bits.
    pub fn live_entries_of(&self, unit: usize) -> Option<(usize, usize, Bitmap)> {
        let state = self.state.as_ref()?;
        let record = state.slabs.at(unit);
        if record.units == 0 || kind_of_bin(record.bin) != Kind::Entry {
            return None;
        }
        let info = class_of_bin(record.bin);
        Some((record.units as usize, info.bytes as usize, self.live_bits(state, unit)))
    }

    /// If `unit` heads a slab: its units, and how many objects live in it.
    pub fn live_objects_of(&self, unit: usize) -> Option<(usize, usize)> {
        let state = self.state.as_ref()?;
        let units = state.slabs.at(unit).units as usize;
        let live = || self.live_bits(state, unit).iter().map(|word| word.count_ones() as usize).sum();
        (units > 0).then(|| (units, live()))
    }

    fn live_bits(&self, state: &HeapState, head: usize) -> Bitmap {
        let record = state.slabs.at(head);
        let bin = &self.bins[record.bin as usize];
        let mut bits = *state.bitmaps.at(head);
        if bin.current as usize == head {
            bits[bin.word_index as usize] |= bin.word;
        }
        let slots = record.slots as usize;
        for (index, word) in bits.iter_mut().enumerate() {
            let valid = slots.saturating_sub(index * 64).min(64);
            *word = if valid == 0 { 0 } else { !*word & (u64::MAX >> (64 - valid)) };
        }
        bits
    }

    /// Where the reserved range begins; `None` before the first allocation.
    pub fn range_start(&self) -> Option<NonNull<u8>> {
        self.state.as_ref().map(|state| state.pool.range().at(0))
    }

    /// Byte figures. O(1).
    pub fn figures(&self) -> SlabFigures {
        let Some(state) = self.state.as_ref() else {
            return SlabFigures::default();
        };
        let (active_blocks, retained_blocks) = state.pool.active_and_retained();
        SlabFigures {
            slab_bytes: state.slab_units * UNIT_BYTES,
            active_blocks,
            retained_blocks,
            committed_blocks: state.pool.len(),
            reserved_blocks: state.pool.range().blocks(),
        }
    }

    /// Checks every record against bitmaps, sets, blocks and counters; panics on a
    /// contradiction. Returns the class bytes of live objects. O(committed units).
    pub fn check_invariants(&self) -> usize {
        let Some(state) = self.state.as_ref() else {
            return 0;
        };
        state.pool.check_invariants();
        let (mut live_bytes, mut slab_units) = (0, 0);
        for block in 0..state.pool.len() {
            let mut unit = block * UNITS_PER_BLOCK;
            while unit < (block + 1) * UNITS_PER_BLOCK {
                let free_bit = state.pool.free_units(block) >> (unit % UNITS_PER_BLOCK) & 1;
                let record = state.slabs.at(unit);
                if record.units == 0 {
                    assert_eq!(free_bit, 1, "unit {unit} is neither free nor in a slab");
                    assert!(state.bitmaps.at(unit).iter().all(|&word| word == 0));
                    unit += 1;
                    continue;
                }
                live_bytes += self.check_slab(state, unit) * class_of_bin(record.bin).bytes as usize;
                slab_units += record.units as usize;
                unit += record.units as usize;
            }
            assert_eq!(unit, (block + 1) * UNITS_PER_BLOCK, "a slab crosses its block");
        }
        assert_eq!(slab_units, state.slab_units);
        live_bytes
    }

    /// Checks one slab; returns its live objects.
    fn check_slab(&self, state: &HeapState, head: usize) -> usize {
        let record = state.slabs.at(head);
        let block = head / UNITS_PER_BLOCK;
        assert_eq!(state.pool.state(block), BlockState::Active);
        assert_eq!(state.pool.kind(block), Some(kind_of_bin(record.bin)));
        for distance in 0..record.units as usize {
            let bit = (head + distance) % UNITS_PER_BLOCK;
            assert_eq!(state.pool.free_units(block) >> bit & 1, 0, "slab unit marked free");
            assert_eq!(state.slabs.at(head + distance).distance(), distance);
        }
        let bitmap = state.bitmaps.at(head);
        let free: u32 = bitmap.iter().map(|word| word.count_ones()).sum();
        assert_eq!(free, u32::from(record.free), "free count of slab {head}");
        for (index, word) in bitmap.iter().enumerate() {
            assert_eq!(record.summary >> index & 1 == 1, *word != 0, "summary of slab {head}");
        }
        let bin = &self.bins[record.bin as usize];
        let is_current = bin.current as usize == head;
        let filed = state.partial.contains(record.bin as usize, head);
        assert_eq!(
            filed,
            !is_current && record.free > 0 && !record.is_leaving(),
            "slab {head} filed wrongly"
        );
        assert!(is_current || record.free < record.slots, "empty slab {head} was kept");
        if is_current {
            assert_eq!(bitmap[bin.word_index as usize] & bin.word, 0, "a slot is free twice");
        }
        let live = self.live_bits(state, head).iter().map(|word| word.count_ones()).sum::<u32>();
        live as usize
    }
}

const _: () = assert!(BLOCK_BYTES / UNIT_BYTES <= u8::MAX as usize, "head distance is one byte");
