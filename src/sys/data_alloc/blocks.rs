//! The 2 MiB blocks of the data range: which units of each are free, which blocks hold
//! which kind, when an empty block goes back to the kernel.
//!
//! ```text
//! never committed -> returned -> active (one kind) -> retained (empty, resident)
//!                       ^  |                              |  ^
//!                       |  +----- in transit (madvise) ---|--+   prefault
//!                       +-------- in transit (madvise) <--+      above RETAINED_BLOCKS
//! ```
//!
//! Trade-off: a block belongs to one kind while it is active, so the snapshot child may
//! give a whole block of entries back; the price is at most one partly used block per kind.

use std::io;
use std::ptr::NonNull;

use super::address_set::{MAX_UNIVERSE, SetFamily};
use super::region::{DataRange, MetaArray, ZeroValid, physical_memory_bytes};
use super::size_class::{BLOCK_BYTES, UNIT_BYTES, UNITS_PER_BLOCK};
use super::{KINDS, Kind};

/// Empty blocks kept resident for the next growth (16 MiB): returning one and
/// touching it again makes the kernel zero 2 MiB.
pub const RETAINED_BLOCKS: usize = 8;
/// Blocks with data for each one fetched ahead: a small server stays small.
pub const DATA_PER_PREFAULTED: usize = 8;
/// Blocks committed by one call (32 MiB): keeps the number of `mprotect` calls low.
const COMMIT_STEP_BLOCKS: usize = 16;
/// Address space reserved for each byte of physical memory.
const RESERVE_PER_MEMORY: usize = 16;
/// Blocks looked at whose largest free run may or may not be long enough.
const UNSURE_PROBES: usize = 16;

/// Free-run lengths 1, 2-3, 4-7, 8-15, 16-31, 32: one set each per kind.
const RUN_BUCKETS: usize = 6;
const RETAINED_SET: usize = KINDS * RUN_BUCKETS;
const RETURNED_SET: usize = RETAINED_SET + 1;
const SET_COUNT: usize = RETURNED_SET + 1;

/// Life of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockState {
    /// Empty, without pages (the all-zero record).
    Returned = 0,
    /// Holds at least one slab.
    Active,
    /// Empty, kept resident.
    Retained,
    /// Empty, somebody is giving its pages back or fetching them.
    InTransit,
}

#[derive(Clone, Copy, Debug)]
struct BlockRecord {
    free_units: u32,
    state: BlockState,
    kind: u8,
    /// Set it is in, plus one; zero for none.
    set_plus_one: u8,
    /// No new slab may come here: it is being emptied.
    barred: bool,
}

// SAFETY: all zero is a Returned block in no set.
unsafe impl ZeroValid for BlockRecord {}

/// All blocks of a heap.
pub struct BlockPool {
    range: DataRange,
    records: MetaArray<BlockRecord>,
    sets: SetFamily,
    active: usize,
    retained: usize,
}

/// Address space worth reserving on this machine, in blocks.
pub fn default_reserve_blocks() -> usize {
    let wanted = physical_memory_bytes().saturating_mul(RESERVE_PER_MEMORY);
    (wanted / BLOCK_BYTES).min(MAX_UNIVERSE / UNITS_PER_BLOCK)
}

/// Lowest position of `length` adjacent ones in `mask`.
fn find_run(mask: u32, length: usize) -> Option<usize> {
    let mut starts = mask;
    let mut covered = 1;
    while covered < length {
        let step = covered.min(length - covered);
        starts &= starts >> step;
        covered += step;
    }
    (starts != 0).then(|| starts.trailing_zeros() as usize)
}

/// floor(log2) of the longest run of ones; `mask` is not zero.
fn run_bucket(mask: u32) -> usize {
    (0..RUN_BUCKETS).rev().find(|bucket| find_run(mask, 1 << bucket).is_some()).unwrap_or(0)
}

fn run_mask(first: usize, length: usize) -> u32 {
    (u32::MAX >> (UNITS_PER_BLOCK - length)) << first
}

impl BlockPool {
    /// Reserves up to `blocks` blocks of address space.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn reserve(blocks: usize) -> io::Result<Self> {
        let range = DataRange::reserve_up_to(blocks)?;
        let blocks = range.blocks();
        let mut sets = SetFamily::reserve(SET_COUNT, blocks)?;
        sets.grow_to(blocks)?;
        let records = MetaArray::reserve(blocks)?;
        Ok(BlockPool { range, records, sets, active: 0, retained: 0 })
    }

    /// The address range.
    #[inline]
    pub fn range(&self) -> &DataRange {
        &self.range
    }

    /// Blocks committed so far; indices below it are valid.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Blocks with slabs, and empty blocks still resident.
    pub fn active_and_retained(&self) -> (usize, usize) {
        (self.active, self.retained)
    }

    /// State of block `index`.
    pub fn state(&self, index: usize) -> BlockState {
        self.records.at(index).state
    }

    /// Kind of the slabs in block `index`, if it has any.
    pub fn kind(&self, index: usize) -> Option<Kind> {
        let record = self.records.at(index);
        (record.state == BlockState::Active).then_some(Kind::from_bit(record.kind))
    }

    /// Mask of free units of block `index`.
    pub fn free_units(&self, index: usize) -> u32 {
        self.records.at(index).free_units
    }

    /// First address of block `index`.
    pub fn start(&self, index: usize) -> NonNull<u8> {
        self.range.at(index * BLOCK_BYTES)
    }

    /// Units that `commit_more` would make the total.
    pub fn units_after_commit(&self) -> usize {
        (self.len() + COMMIT_STEP_BLOCKS).min(self.range.blocks()) * UNITS_PER_BLOCK
    }

    /// Commits the next few blocks. `false`: the reservation is used up.
    ///
    /// # Errors
    /// The kernel's refusal to commit.
    pub fn commit_more(&mut self) -> io::Result<bool> {
        let first = self.len();
        let count = COMMIT_STEP_BLOCKS.min(self.range.blocks() - first);
        if count == 0 {
            return Ok(false);
        }
        self.range.commit_blocks(first, count)?;
        self.records.grow_to(first + count)?;
        for index in first..first + count {
            self.records.at_mut(index).free_units = u32::MAX;
            self.enter(index, BlockState::Returned);
        }
        Ok(true)
    }

    /// Takes `units` adjacent units of a block of `kind`, from the lowest block that
    /// has them. Returns the first unit's number. `None`: `commit_more` first.
    pub fn take_units(&mut self, kind: Kind, units: usize) -> Option<usize> {
        let index = self.block_with_room(kind, units).or_else(|| self.empty_block(kind))?;
        let record = self.records.at_mut(index);
        let first = find_run(record.free_units, units).expect("the chosen block has the run");
        record.free_units &= !run_mask(first, units);
        self.file_active(index);
        Some(index * UNITS_PER_BLOCK + first)
    }

    fn block_with_room(&self, kind: Kind, units: usize) -> Option<usize> {
        let base = kind.bit() * RUN_BUCKETS;
        let sure = units.next_power_of_two().ilog2() as usize;
        let mut best = (sure..RUN_BUCKETS).filter_map(|b| self.sets.lowest(base + b)).min();
        let unsure = units.ilog2() as usize;
        if unsure < sure {
            let mut next = self.sets.lowest(base + unsure);
            for _ in 0..UNSURE_PROBES {
                let Some(index) = next.filter(|&i| best.is_none_or(|b| i < b)) else {
                    break;
                };
                if find_run(self.records.at(index).free_units, units).is_some() {
                    best = Some(index);
                    break;
                }
                next = self.sets.lowest_from(base + unsure, index + 1);
            }
        }
        best
    }

    fn empty_block(&mut self, kind: Kind) -> Option<usize> {
        let retained = self.sets.lowest(RETAINED_SET);
        let index = retained.or_else(|| self.sets.lowest(RETURNED_SET))?;
        if retained.is_some() {
            self.retained -= 1;
        }
        self.active += 1;
        let record = self.records.at_mut(index);
        record.state = BlockState::Active;
        record.kind = kind.bit() as u8;
        Some(index)
    }

    /// Takes units back. `Some(block)`: that block is empty and surplus; the caller gives
    /// its pages back *without the heap's lock* and then calls [`Self::finish_return`].
    #[must_use]
    pub fn give_units(&mut self, first_unit: usize, units: usize) -> Option<usize> {
        let index = first_unit / UNITS_PER_BLOCK;
        let mask = run_mask(first_unit % UNITS_PER_BLOCK, units);
        let record = self.records.at_mut(index);
        debug_assert_eq!(record.free_units & mask, 0, "units given back twice");
        record.free_units |= mask;
        if record.free_units != u32::MAX {
            self.file_active(index);
            return None;
        }
        self.active -= 1;
        self.records.at_mut(index).barred = false;
        if self.retained < RETAINED_BLOCKS {
            self.retained += 1;
            self.enter(index, BlockState::Retained);
            return None;
        }
        self.enter(index, BlockState::InTransit);
        Some(index)
    }

    /// An empty block that is resident, to be given back as after [`Self::give_units`].
    pub fn begin_release(&mut self) -> Option<usize> {
        let index = self.sets.lowest(RETAINED_SET)?;
        self.retained -= 1;
        self.enter(index, BlockState::InTransit);
        Some(index)
    }

    /// The pages of `index`, named by [`Self::give_units`], are gone.
    pub fn finish_return(&mut self, index: usize) {
        debug_assert_eq!(self.state(index), BlockState::InTransit);
        self.enter(index, BlockState::Returned);
    }

    /// Whether more empty blocks should be resident, for this much data.
    pub fn wants_prefault(&self) -> bool {
        self.retained < RETAINED_BLOCKS.min(self.active / DATA_PER_PREFAULTED)
    }

    /// An empty block without pages, to be populated *without the heap's lock* and passed to
    /// [`Self::finish_prefault`]. `None`: none is left over.
    pub fn begin_prefault(&mut self) -> Option<usize> {
        let index = self.sets.lowest(RETURNED_SET)?;
        self.enter(index, BlockState::InTransit);
        Some(index)
    }

    /// Block `index` was populated, or could not be.
    pub fn finish_prefault(&mut self, index: usize, populated: bool) {
        debug_assert_eq!(self.state(index), BlockState::InTransit);
        self.retained += usize::from(populated);
        let state = if populated { BlockState::Retained } else { BlockState::Returned };
        self.enter(index, state);
    }

    /// Whether new slabs are kept out of the block.
    pub fn is_barred(&self, index: usize) -> bool {
        self.records.at(index).barred
    }

    /// Keeps new slabs out of an active block, or lets them in again.
    pub fn set_barred(&mut self, index: usize, barred: bool) {
        if self.state(index) == BlockState::Active {
            self.records.at_mut(index).barred = barred;
            self.file_active(index);
        }
    }

    fn enter(&mut self, index: usize, state: BlockState) {
        self.records.at_mut(index).state = state;
        match state {
            BlockState::Retained => self.move_to_set(index, Some(RETAINED_SET)),
            BlockState::Returned => self.move_to_set(index, Some(RETURNED_SET)),
            BlockState::InTransit | BlockState::Active => self.move_to_set(index, None),
        }
    }

    /// Puts an active block into the set of its longest free run.
    fn file_active(&mut self, index: usize) {
        let record = self.records.at(index);
        let set = (record.free_units != 0 && !record.barred)
            .then(|| record.kind as usize * RUN_BUCKETS + run_bucket(record.free_units));
        self.move_to_set(index, set);
    }

    fn move_to_set(&mut self, index: usize, set: Option<usize>) {
        let wanted = set.map_or(0, |s| s as u8 + 1);
        let current = self.records.at(index).set_plus_one;
        if current == wanted {
            return;
        }
        if current > 0 {
            self.sets.remove(current as usize - 1, index);
        }
        if let Some(set) = set {
            self.sets.insert(set, index);
        }
        self.records.at_mut(index).set_plus_one = wanted;
    }

    /// Checks records against sets and counters; panics on a contradiction. O(blocks).
    pub fn check_invariants(&self) {
        let (mut active, mut retained) = (0, 0);
        for index in 0..self.len() {
            let record = self.records.at(index);
            let expected = match record.state {
                BlockState::Active if record.free_units == 0 || record.barred => None,
                BlockState::Active => {
                    assert_ne!(record.free_units, u32::MAX, "active block {index} is empty");
                    Some(record.kind as usize * RUN_BUCKETS + run_bucket(record.free_units))
                }
                BlockState::Retained => Some(RETAINED_SET),
                BlockState::Returned => Some(RETURNED_SET),
                BlockState::InTransit => None,
            };
            for set in 0..SET_COUNT {
                assert_eq!(self.sets.contains(set, index), expected == Some(set), "block {index}");
            }
            active += usize::from(record.state == BlockState::Active);
            retained += usize::from(record.state == BlockState::Retained);
        }
        assert_eq!((active, retained), (self.active, self.retained));
    }
}

const _: () = assert!(UNIT_BYTES * UNITS_PER_BLOCK == BLOCK_BYTES);
const _: () = assert!(SET_COUNT < u8::MAX as usize, "a set number plus one fits a byte");

#[cfg(test)]
mod tests {
    use super::{find_run, run_bucket, run_mask};

    #[test]
    fn runs_are_found_as_by_hand() {
        for mask in [1u32, 0x8000_0000, u32::MAX, 0b1011_1011, 0xFFFF_0000, 0x7FFF_FFFF, 0x0F0F_0F0F] {
            for length in 1..=32 {
                let naive = (0..=32 - length)
                    .find(|&first| mask & run_mask(first, length) == run_mask(first, length));
                assert_eq!(find_run(mask, length), naive, "mask {mask:x} length {length}");
            }
            let longest = (1..=32).rev().find(|&l| find_run(mask, l).is_some()).unwrap_or(0);
            assert_eq!(run_bucket(mask), longest.ilog2() as usize, "mask {mask:x}");
        }
    }
}
