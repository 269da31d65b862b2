//! Emptying sparse slabs, so that whole blocks become free: the allocator's part of active
//! defragmentation. The owners of objects move them (`mover`); here is decided which.
//!
//! ```text
//!  block   | 3 % | 0 % | 9 % |    the emptiest blocks: barred (no new slab), all slabs leaving
//!  block   | 97 % | 12 % | 88 % | 95 % |    kept: the fullest slabs of each bin that can hold
//!                    leaving                 all its objects stay, the others leave
//! ```
//! A leaving slab is in no set: it gives out no slot, takes freed ones back, and dissolves when
//! it is empty, as every slab does. So each object moves once, and never into another such slab.

use super::{BIN_COUNT, BlockState, CLASSES, Heap, HeapState, KINDS, Kind, LEAVING, NO_SLAB, NonNull};
use super::{UNITS_PER_BLOCK, kind_of_bin};

/// Of the objects of a bin, the part (1 / n) that there is room for beside those there are.
const SPARE_SHARE: usize = 256;
/// Of the units of slabs of more than one, the part (1 / n) that stays free between them.
const GAP_SHARE: usize = 16;

/// A slab as the plan sees it.
#[derive(Clone, Copy)]
struct Load {
    head: u32,
    live: u16,
    bin: u16,
    /// Its block is to be emptied.
    barred: bool,
}

/// Slabs of a bin that hold `live` objects with some room to spare.
fn slabs_needed(bin: usize, live: usize) -> usize {
    let slots = CLASSES[bin / KINDS].slots as usize;
    (live + live / SPARE_SHARE).div_ceil(slots)
}

impl HeapState {
    /// All slabs with how many objects live in them.
    fn loads(&self) -> Vec<Load> {
        let mut loads = Vec::new();
        for block in (0..self.pool.len()).filter(|block| self.pool.state(*block) == BlockState::Active) {
            let mut unit = block * UNITS_PER_BLOCK;
            while unit < (block + 1) * UNITS_PER_BLOCK {
                let record = self.slabs.at(unit);
                if record.units > 0 {
                    let live = record.slots - record.free;
                    loads.push(Load { head: unit as u32, live, bin: record.bin, barred: false });
                }
                unit += usize::from(record.units).max(1);
            }
        }
        loads
    }

    /// Bars the emptiest blocks of a kind, as many as its objects can do without.
    fn bar_blocks(&mut self, kind: Kind, loads: &[Load], needed: &[usize; BIN_COUNT]) {
        let units_of = |bin: usize| needed[bin] * CLASSES[bin / KINDS].units as usize;
        let bins = || (0..BIN_COUNT).filter(|bin| bin % KINDS == kind.bit());
        let units: usize = bins().map(units_of).sum();
        let wide: usize = bins().filter(|bin| CLASSES[bin / KINDS].units > 1).map(units_of).sum();
        let blocks_needed = (units + wide / GAP_SHARE).div_ceil(UNITS_PER_BLOCK);
        let mut live_bytes = vec![0usize; self.pool.len()];
        for load in loads {
            let bytes = usize::from(load.live) * CLASSES[load.bin as usize / KINDS].bytes as usize;
            live_bytes[load.head as usize / UNITS_PER_BLOCK] += bytes;
        }
        let mut blocks: Vec<usize> =
            (0..self.pool.len()).filter(|block| self.pool.kind(*block) == Some(kind)).collect();
        blocks.sort_by_key(|block| (live_bytes[*block], usize::MAX - *block));
        for block in &blocks[..blocks.len().saturating_sub(blocks_needed)] {
            self.pool.set_barred(*block, true);
        }
    }

    fn leave(&mut self, head: usize) {
        let record = self.slabs.at_mut(head);
        record.head_distance = LEAVING;
        let bin = record.bin as usize;
        if self.partial.contains(bin, head) {
            self.partial.remove(bin, head);
        }
    }
}

impl Heap {
    /// See `begin_evacuation` in the allocator's `mod.rs`; no evacuation is under way.
    pub fn begin_evacuation(&mut self, everything: bool) -> usize {
        (0..BIN_COUNT).for_each(|bin| self.retire_current(bin));
        let Some(state) = self.state.as_mut() else { return 0 };
        let mut loads = state.loads();
        let mut needed = [0usize; BIN_COUNT];
        for load in &loads {
            needed[load.bin as usize] += usize::from(load.live);
        }
        for (bin, objects) in needed.iter_mut().enumerate() {
            *objects = if everything { 0 } else { slabs_needed(bin, *objects) };
        }
        if !everything {
            for kind in [Kind::Entry, Kind::Value, Kind::Bytes] {
                state.bar_blocks(kind, &loads, &needed);
            }
        }
        for load in &mut loads {
            load.barred = state.pool.is_barred(load.head as usize / UNITS_PER_BLOCK);
        }
        loads.sort_by_key(|load| (load.bin, load.barred, u16::MAX - load.live, load.head));
        let (mut bytes, mut rank, mut bin) = (0, 0, None);
        for load in &loads {
            rank = if bin == Some(load.bin) { rank + 1 } else { 0 };
            bin = Some(load.bin);
            let is_current = self.bins[load.bin as usize].current == load.head;
            if !is_current && (load.barred || rank >= needed[load.bin as usize]) {
                state.leave(load.head as usize);
                bytes += usize::from(load.live) * CLASSES[load.bin as usize / KINDS].bytes as usize;
            }
        }
        bytes
    }

    /// Gives the cached word of a bin back to its slab, which is then as any other. An empty slab
    /// stays the bin's current one.
    fn retire_current(&mut self, index: usize) {
        let Some(state) = self.state.as_mut() else { return };
        let bin = &mut self.bins[index];
        if bin.current == NO_SLAB {
            return;
        }
        let head = bin.current as usize;
        let record = state.slabs.at_mut(head);
        let free = record.free + bin.word.count_ones() as u16;
        if free == record.slots {
            return;
        }
        if bin.word != 0 {
            state.bitmaps.at_mut(head)[bin.word_index as usize] |= bin.word;
            record.summary |= 1 << bin.word_index;
        }
        record.free = free;
        (bin.word, bin.current) = (0, NO_SLAB);
        if free > 0 {
            state.partial.insert(index, head);
        }
    }

    /// Lets the slabs that are not yet empty serve again. O(committed units).
    pub fn end_evacuation(&mut self) {
        let Some(state) = self.state.as_mut() else { return };
        for block in 0..state.pool.len() {
            state.pool.set_barred(block, false);
        }
        for unit in 0..state.slabs.len() {
            let record = state.slabs.at_mut(unit);
            if record.units > 0 && record.is_leaving() {
                record.head_distance = 0;
                let (bin, free) = (record.bin as usize, record.free);
                if free > 0 {
                    state.partial.insert(bin, unit);
                }
            }
        }
    }

    /// The kind of the slab object at `ptr` if its slab is to be emptied.
    #[inline]
    pub fn kind_if_leaving(&self, ptr: NonNull<u8>) -> Option<Kind> {
        let state = self.state.as_ref()?;
        let record = state.slabs.at(Self::head_of(state, ptr));
        record.is_leaving().then(|| kind_of_bin(record.bin))
    }
}
