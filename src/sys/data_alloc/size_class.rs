//! Size classes of the data region: which block size serves a request, and how many
//! slab units a slab of that class spans.
//!
//! ```text
//! request   1..256 bytes     256 B .. 1 MiB              above 1 MiB
//! class     every 8 bytes    8 steps per doubling        own mapping, whole 4 KiB pages
//!           (16, 24 .. 256)  (288, 320 .. 512, 576 ..)
//! slab      1 unit (64 KiB)  1..=32 units, tail < 1/32
//! ```
//!
//! Trade-off: 127 classes. A request wastes at most 7 bytes up to 256, at most 1/8 above
//! (on average 4.6 %); the tail of a slab wastes below 3.2 % (`MAX_TAIL_SHARE`), most
//! classes below 1 %. Finer steps would make neighbouring sizes share fewer slabs.

/// Bytes of a slab unit: the granularity of slab records and of slabs themselves.
pub const UNIT_BYTES: usize = 64 << 10;
/// Bytes of a block: one huge page on x86-64 and on arm64 with 4 KiB pages.
pub const BLOCK_BYTES: usize = 2 << 20;
/// Units per block; a `u32` mask holds one bit for each.
pub const UNITS_PER_BLOCK: usize = BLOCK_BYTES / UNIT_BYTES;
/// Every block handed out is aligned to this many bytes.
pub const ALIGN_BYTES: usize = 8;
/// A cache line. A class whose bytes are a multiple of it hands out line-aligned slots,
/// since slabs start at units and slots lie one behind the other.
pub const LINE_BYTES: usize = 64;
/// Smallest class in bytes: 64 KiB / 16 gives 4096 slots, one bitmap of 64 words.
pub const MIN_CLASS_BYTES: usize = 16;
/// Largest size served by slabs. Above it an object is its own mapping, so that growing it
/// moves page tables instead of bytes. Lower would mean more mappings than the kernel's
/// default limit of 65,530 (`vm.max_map_count`) covers on a machine of 64 GiB.
pub const MAX_SLAB_OBJECT_BYTES: usize = 1 << 20;
/// Slots in the slab with the most of them.
pub const MAX_SLOTS: usize = UNIT_BYTES / MIN_CLASS_BYTES;
/// Number of classes.
pub const CLASS_COUNT: usize = FINE_CLASSES + STEPS_PER_DOUBLING * COARSE_DOUBLINGS;

/// Up to here classes are 8 bytes apart.
const FINE_LIMIT_BYTES: usize = 256;
const FINE_CLASSES: usize = FINE_LIMIT_BYTES / 8 - 1;
const STEPS_PER_DOUBLING: usize = 8;
/// 256 B to 1 MiB.
const COARSE_DOUBLINGS: usize = 12;
/// The unused tail of a slab is below its size divided by this.
const MAX_TAIL_SHARE: usize = 32;
/// Width of the fixed-point reciprocal in `slot_of`.
const RECIPROCAL_BITS: u32 = 32;

const _: () = assert!(UNITS_PER_BLOCK == 32, "a block's units are a u32 mask");
const _: () = assert!(MAX_SLOTS == 64 * 64, "a slab's bitmap is 64 words with one summary word");
const _: () = assert!(FINE_LIMIT_BYTES << COARSE_DOUBLINGS == MAX_SLAB_OBJECT_BYTES);

/// What the heap knows about a class.
#[derive(Clone, Copy, Debug)]
pub struct ClassInfo {
    /// Bytes of each slot.
    pub bytes: u32,
    /// ceil(2^32 / bytes): a multiplication instead of a division.
    reciprocal: u32,
    /// Slots of a slab.
    pub slots: u16,
    /// Units a slab spans.
    pub units: u8,
}

/// The table of all classes, by class index.
pub static CLASSES: [ClassInfo; CLASS_COUNT] = build_classes();

impl ClassInfo {
    /// Index of the slot that starts `offset` bytes into its slab.
    ///
    /// Exact for multiples of `bytes`: slot * (2^32 + e) >> 32 = slot while slot * e < 2^32,
    /// where e < bytes and slot * bytes < 2 MiB.
    #[inline]
    pub fn slot_of(&self, offset: usize) -> usize {
        debug_assert_eq!(offset % self.bytes as usize, 0, "pointer not at the start of a slot");
        ((offset as u64 * u64::from(self.reciprocal)) >> RECIPROCAL_BITS) as usize
    }
}

/// Class that serves `size` bytes; `size` must be at most `MAX_SLAB_OBJECT_BYTES`.
#[inline]
pub const fn class_of(size: usize) -> usize {
    debug_assert!(size <= MAX_SLAB_OBJECT_BYTES);
    if size <= FINE_LIMIT_BYTES {
        return size.div_ceil(8).saturating_sub(2);
    }
    let last = size - 1;
    let doubling = last.ilog2() as usize;
    let step = (last >> (doubling - 3)) & (STEPS_PER_DOUBLING - 1);
    FINE_CLASSES + (doubling - FINE_LIMIT_BYTES.ilog2() as usize) * STEPS_PER_DOUBLING + step
}

const fn class_bytes(class: usize) -> usize {
    if class < FINE_CLASSES {
        return (class + 2) * 8;
    }
    let coarse = class - FINE_CLASSES;
    let base = FINE_LIMIT_BYTES << (coarse / STEPS_PER_DOUBLING);
    base + base / STEPS_PER_DOUBLING * (coarse % STEPS_PER_DOUBLING + 1)
}

/// Fewest units whose tail is small enough.
const fn slab_units(bytes: usize) -> usize {
    let mut units = bytes.div_ceil(UNIT_BYTES);
    while (units * UNIT_BYTES) % bytes * MAX_TAIL_SHARE >= units * UNIT_BYTES {
        units += 1;
    }
    assert!(units <= UNITS_PER_BLOCK, "no slab of this class fits a block");
    units
}

const fn build_classes() -> [ClassInfo; CLASS_COUNT] {
    let mut table = [ClassInfo { bytes: 0, reciprocal: 0, slots: 0, units: 0 }; CLASS_COUNT];
    let mut class = 0;
    while class < CLASS_COUNT {
        let bytes = class_bytes(class);
        let units = slab_units(bytes);
        table[class] = ClassInfo {
            bytes: bytes as u32,
            reciprocal: (1u64 << RECIPROCAL_BITS).div_ceil(bytes as u64) as u32,
            slots: (units * UNIT_BYTES / bytes) as u16,
            units: units as u8,
        };
        class += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{CLASS_COUNT, CLASSES, LINE_BYTES, MAX_SLAB_OBJECT_BYTES, UNIT_BYTES, class_of};

    #[test]
    fn class_is_the_smallest_that_fits() {
        for size in 0..=MAX_SLAB_OBJECT_BYTES {
            let class = class_of(size);
            assert!(CLASSES[class].bytes as usize >= size, "size {size}");
            assert!(class == 0 || (CLASSES[class - 1].bytes as usize) < size, "size {size}");
        }
        assert_eq!(class_of(MAX_SLAB_OBJECT_BYTES), CLASS_COUNT - 1);
    }

    #[test]
    fn waste_is_bounded() {
        for info in CLASSES {
            let slab = info.units as usize * UNIT_BYTES;
            let used = info.slots as usize * info.bytes as usize;
            assert!(used <= slab && (slab - used) * 32 < slab, "{info:?}");
            assert_eq!(info.bytes % 8, 0);
        }
        for size in 256..=MAX_SLAB_OBJECT_BYTES {
            let bytes = CLASSES[class_of(size)].bytes as usize;
            assert!((bytes - size) * 8 <= size, "size {size} in {bytes}");
        }
    }

    #[test]
    fn whole_lines_get_line_aligned_slots() {
        assert_eq!(UNIT_BYTES % LINE_BYTES, 0);
        for lines in 1..=MAX_SLAB_OBJECT_BYTES / LINE_BYTES {
            let bytes = CLASSES[class_of(lines * LINE_BYTES)].bytes as usize;
            assert_eq!(bytes % LINE_BYTES, 0, "{lines} lines");
            let is_table_block = lines.is_power_of_two() || lines % 3 == 0 && (lines / 3).is_power_of_two();
            assert!(!is_table_block || bytes == lines * LINE_BYTES, "{lines} lines are rounded up");
        }
    }

    #[test]
    fn every_slot_is_found_by_reciprocal() {
        for info in CLASSES {
            for slot in 0..info.slots as usize {
                assert_eq!(info.slot_of(slot * info.bytes as usize), slot, "{info:?}");
            }
        }
    }
}
