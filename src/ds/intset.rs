//! Intset: a sorted set of integers in one block of bytes.
//!
//! Owns the bytes, exactly as Redis 7.2 lays them out (it writes them in an RDB as they are):
//!
//! ```text
//!   | width u32 LE (2, 4 or 8) | length u32 LE | integer | integer | ... |
//!   0                          4               8   strictly ascending, `width` bytes each, LE
//! ```
//!
//! The width is that of the widest integer ever added; removing never narrows it.
//!
//! Trade-off: 2, 4 or 8 bytes a member and nothing else; a search is O(log n), an edit moves the
//! bytes after it and an integer that needs a wider width rewrites all. Meant for some hundreds of
//! members (`set-max-intset-entries`, 512).
#![allow(unsafe_code)]

use crate::ds::bytes::DataBytes;
use crate::ds::corrupt::Corrupt;
use crate::sys::data_alloc::{self, Mover, Relocate};
use std::fmt;
use std::ptr::NonNull;

/// Bytes before the first integer.
pub const HEADER_BYTES: usize = 8;
/// Length and capacity in front of the bytes (`sys::data_alloc::DataBytes`).
const BLOCK_HEADER_BYTES: usize = 8;
/// The most members the length field can describe.
const MAX_MEMBERS: usize = u32::MAX as usize;

/// Bytes of one integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Width {
    fn of(value: i64) -> Self {
        if i16::try_from(value).is_ok() {
            Self::Two
        } else if i32::try_from(value).is_ok() {
            Self::Four
        } else {
            Self::Eight
        }
    }

    fn bytes(self) -> usize {
        self as usize
    }

    fn read(self, bytes: &[u8], index: usize) -> Option<i64> {
        let rest = bytes.get(HEADER_BYTES + index.checked_mul(self.bytes())?..)?;
        Some(match self {
            Self::Two => i64::from(i16::from_le_bytes(*rest.first_chunk()?)),
            Self::Four => i64::from(i32::from_le_bytes(*rest.first_chunk()?)),
            Self::Eight => i64::from_le_bytes(*rest.first_chunk()?),
        })
    }

    /// Writes the low bytes of `value`, which fits the width.
    fn write(self, window: &mut [u8], value: i64) {
        window.copy_from_slice(&value.to_le_bytes()[..self.bytes()]);
    }
}

/// A sorted set of integers.
#[derive(Clone, PartialEq, Eq)]
pub struct Intset {
    bytes: DataBytes,
}

/// A reader of an intset's bytes.
#[derive(Clone, Copy)]
pub struct IntsetView<'a> {
    bytes: &'a [u8],
    width: Width,
}

impl fmt::Debug for IntsetView<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

impl<'a> IntsetView<'a> {
    /// Validates serialised bytes wholly; an empty set is refused, as Redis does. O(n).
    ///
    /// # Errors
    /// The reason why the bytes are not an intset.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let width = Intset::validate(bytes)?;
        Ok(Self { bytes, width })
    }

    /// Over bytes of an [`Intset`].
    #[inline]
    fn over(bytes: &'a [u8]) -> Self {
        let width = match bytes[0] {
            2 => Width::Two,
            4 => Width::Four,
            _ => Width::Eight,
        };
        Self { bytes, width }
    }

    /// The serialised form.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the data region that an intset of this size occupies without slack.
    pub fn memory_bytes(&self) -> usize {
        data_alloc::usable_size(self.bytes.len() + BLOCK_HEADER_BYTES)
    }

    /// Number of members; O(1).
    #[inline]
    pub fn len(&self) -> usize {
        (self.bytes.len() - HEADER_BYTES) / self.width.bytes()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member at `index` in ascending order; O(1).
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        self.width.read(self.bytes, index)
    }

    /// Whether `value` is a member; O(log n).
    pub fn contains(&self, value: i64) -> bool {
        self.find(value).is_ok()
    }

    /// The index of `value`, or the index where it would be inserted; O(log n).
    ///
    /// # Errors
    /// The insertion index when `value` is not a member.
    pub fn find(&self, value: i64) -> Result<usize, usize> {
        let members = self.bytes.get(HEADER_BYTES..).unwrap_or(&[]);
        // One search for each width: the compiler then knows the step, and no step has branches.
        match self.width {
            Width::Two => search(members, value, |member| i64::from(i16::from_le_bytes(member))),
            Width::Four => search(members, value, |member| i64::from(i32::from_le_bytes(member))),
            Width::Eight => search(members, value, i64::from_le_bytes),
        }
    }

    /// The smallest member.
    pub fn first(&self) -> Option<i64> {
        self.get(0)
    }

    /// The greatest member.
    pub fn last(&self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    /// A random member; `random` gives a number below its argument. O(1).
    pub fn random(&self, random: impl FnOnce(usize) -> usize) -> Option<i64> {
        if self.is_empty() { None } else { self.get(random(self.len())) }
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + use<'a> {
        let view = *self;
        (0..self.len()).map(move |index| view.at(index))
    }

    #[inline]
    fn at(&self, index: usize) -> i64 {
        self.get(index).expect("callers stay below len()")
    }
}

/// Binary search among members of `WIDTH` bytes.
#[inline]
fn search<const WIDTH: usize>(
    members: &[u8],
    value: i64,
    read: impl Fn([u8; WIDTH]) -> i64,
) -> Result<usize, usize> {
    let (members, _) = members.as_chunks::<WIDTH>();
    // Ids are mostly added in order: look at the end first.
    if members.last().is_none_or(|last| read(*last) < value) {
        return Err(members.len());
    }
    members.binary_search_by(|member| read(*member).cmp(&value))
}

impl Relocate for Intset {
    fn relocate(&mut self, mover: &mut Mover) {
        self.bytes.relocate(mover);
    }
}

impl Intset {
    /// An empty set.
    pub fn new() -> Self {
        Self { bytes: DataBytes::copy_of(&[Width::Two as u8, 0, 0, 0, 0, 0, 0, 0]) }
    }

    /// Copies serialised bytes, wholly validated; an empty set is refused, as Redis does. O(n).
    ///
    /// # Errors
    /// The reason why the bytes are not an intset.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Corrupt> {
        Self::validate(bytes)?;
        Ok(Self { bytes: DataBytes::copy_of(bytes) })
    }

    fn validate(bytes: &[u8]) -> Result<Width, Corrupt> {
        let field = |at: usize| bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field));
        let (Some(width), Some(length)) = (field(0), field(4)) else {
            return Err(Corrupt("intset shorter than its header"));
        };
        let width = match width {
            2 => Width::Two,
            4 => Width::Four,
            8 => Width::Eight,
            _ => return Err(Corrupt("intset of an unknown width")),
        };
        if (length as usize).checked_mul(width.bytes()) != Some(bytes.len() - HEADER_BYTES) {
            return Err(Corrupt("intset length disagrees with its size"));
        }
        let mut previous = width.read(bytes, 0).ok_or(Corrupt("intset is empty"))?;
        for index in 1..length as usize {
            let value = width.read(bytes, index).ok_or(Corrupt("intset cut off"))?;
            if value <= previous {
                return Err(Corrupt("intset out of order"));
            }
            previous = value;
        }
        Ok(width)
    }

    /// A reader of the same bytes.
    #[inline]
    pub fn view(&self) -> IntsetView<'_> {
        IntsetView::over(self.bytes.as_slice())
    }

    /// The serialised form.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Bytes held from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.memory_bytes()
    }

    /// A copy of what a reader shows.
    pub fn copy_of(other: IntsetView<'_>) -> Self {
        Self { bytes: DataBytes::copy_of(other.as_bytes()) }
    }

    /// Gives unused memory back.
    pub fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Gives up ownership for one thin pointer.
    pub fn into_raw(self) -> NonNull<u8> {
        self.bytes.into_raw()
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `raw` came from [`Self::into_raw`], once.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: the same contract.
        Self { bytes: unsafe { DataBytes::from_raw(raw) } }
    }

    /// A reader of the intset behind a thin pointer.
    ///
    /// # Safety
    /// `raw` came from [`Self::into_raw`]; nobody changes or frees it during `'a`.
    #[inline]
    pub unsafe fn view_of_raw<'a>(raw: NonNull<u8>) -> IntsetView<'a> {
        // SAFETY: the same contract.
        IntsetView::over(unsafe { DataBytes::slice_of_raw(raw) })
    }

    /// Number of members; O(1).
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member at `index` in ascending order; O(1).
    pub fn get(&self, index: usize) -> Option<i64> {
        self.view().get(index)
    }

    /// Whether `value` is a member; O(log n).
    pub fn contains(&self, value: i64) -> bool {
        self.view().contains(value)
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + '_ {
        self.view().iter()
    }

    /// Adds `value`; whether it was new. O(n). A full set (2^32 - 1 members) takes no more.
    pub fn add(&mut self, value: i64) -> bool {
        let view = self.view();
        let Err(index) = view.find(value) else {
            return false;
        };
        if view.len() >= MAX_MEMBERS {
            return false;
        }
        let mut width = view.width;
        if Width::of(value) > width {
            width = Width::of(value);
            self.widen(width);
        }
        let at = HEADER_BYTES + index * width.bytes();
        width.write(self.bytes.resize_window(at, 0, width.bytes()), value);
        self.write_length();
        true
    }

    /// Removes `value`; whether it was a member. O(n).
    pub fn remove(&mut self, value: i64) -> bool {
        let view = self.view();
        let Ok(index) = view.find(value) else {
            return false;
        };
        let width = view.width;
        let at = HEADER_BYTES + index * width.bytes();
        self.bytes.resize_window(at, width.bytes(), 0);
        self.bytes.shrink_if_sparse();
        self.write_length();
        true
    }

    /// Checks that the bytes are what Redis would accept (or empty).
    ///
    /// # Errors
    /// The broken invariant.
    pub fn check_invariants(&self) -> Result<(), Corrupt> {
        match Self::validate(self.as_bytes()) {
            Err(_) if self.is_empty() && self.bytes.as_slice()[4..] == [0; 4] => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Rewrites all members with a wider width, last first so that none is overwritten unread.
    fn widen(&mut self, width: Width) {
        let (old, len) = (self.view().width, self.len());
        let added = len * (width.bytes() - old.bytes());
        self.bytes.resize_window(self.bytes.len(), 0, added);
        let bytes = self.bytes.as_mut_slice();
        for index in (0..len).rev() {
            let value = old.read(bytes, index).expect("index is below the length");
            let at = HEADER_BYTES + index * width.bytes();
            width.write(&mut bytes[at..at + width.bytes()], value);
        }
        bytes[0] = width as u8;
    }

    fn write_length(&mut self) {
        let length = u32::try_from(self.len()).expect("add stops at MAX_MEMBERS");
        self.bytes.as_mut_slice()[4..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    }
}

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Intset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Intset;
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
    use std::collections::BTreeSet;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn intset_of(values: &[i64]) -> Intset {
        let mut set = Intset::new();
        for &value in values {
            assert!(set.add(value));
        }
        set
    }

    /// Bytes from DUMP of a real 7.0 server.
    #[test]
    fn bytes_are_those_of_the_real_server() {
        assert_eq!(hex(intset_of(&[1, -5, 300]).as_bytes()), "0200000003000000fbff01002c01");
        assert_eq!(hex(intset_of(&[1, 70_000, -3]).as_bytes()), "0400000003000000fdffffff0100000070110100");
        assert_eq!(
            hex(intset_of(&[1, 1 << 40, -(1 << 62), 5]).as_bytes()),
            "080000000400000000000000000000c0010000000000000005000000000000000000000000010000"
        );
        let mut narrow = intset_of(&[3, 70_000, 2]);
        assert!(narrow.remove(70_000));
        assert_eq!(hex(narrow.as_bytes()), "04000000020000000200000003000000");
    }

    #[test]
    fn refuses_what_redis_refuses() {
        let good = intset_of(&[1, 2, 300]).as_bytes().to_vec();
        assert!(Intset::from_bytes(&good).is_ok());
        assert!(Intset::from_bytes(Intset::new().as_bytes()).is_err());
        for (at, byte) in [(0, 3), (0, 4), (4, 2), (4, 4), (7, 0x80), (8, 2), (8, 3), (3, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(Intset::from_bytes(&bad).is_err(), "{at} {byte}");
        }
        for len in 0..good.len() {
            assert!(Intset::from_bytes(&good[..len]).is_err(), "{len}");
        }
    }

    fn value() -> impl Strategy<Value = i64> {
        (0u32..64, any::<i64>()).prop_map(|(shift, value)| value >> shift)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn edits_agree_with_a_tree(edits in vec((any::<bool>(), value()), 0..80), probes in vec(value(), 0..20)) {
            let mut set = Intset::new();
            let mut model = BTreeSet::new();
            for (add, value) in edits {
                // Half of the removals hit: take the greatest member not above.
                let target = model.range(..=value).next_back().copied().unwrap_or(value);
                if add {
                    prop_assert_eq!(set.add(value), model.insert(value));
                } else {
                    prop_assert_eq!(set.remove(target), model.remove(&target));
                }
                prop_assert_eq!(set.check_invariants(), Ok(()));
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!((set.view().first(), set.view().last()), (model.first().copied(), model.last().copied()));
            for probe in probes {
                let below = model.range(..probe).count();
                let expected = if model.contains(&probe) { Ok(below) } else { Err(below) };
                prop_assert_eq!(set.view().find(probe), expected);
            }
            prop_assert_eq!(set.view().random(|len| len - 1), set.view().last());
            if !set.is_empty() {
                prop_assert_eq!(Intset::from_bytes(set.as_bytes()), Ok(set));
            }
        }

        #[test]
        fn any_bytes_are_survived(
            width in proptest::sample::select(vec![2u32, 4, 8, 16]), extra in 0usize..3,
            body in vec(any::<u8>(), 0..64),
        ) {
            let length = body.len() / width as usize + extra;
            let mut bytes = [width.to_le_bytes(), (length as u32).to_le_bytes()].concat();
            bytes.extend(&body);
            if let Ok(set) = Intset::from_bytes(&bytes) {
                let sorted: BTreeSet<i64> = set.iter().collect();
                prop_assert_eq!(sorted.into_iter().collect::<Vec<_>>(), set.iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn mutated_intsets_are_survived() {
        let mut random = fastrand::Rng::with_seed(77);
        let (mut accepted, mut refused) = (0u32, 0u32);
        for _ in 0..20_000 {
            let shift = random.u32(0..64);
            let mut set = Intset::new();
            for _ in 0..random.usize(1..8) {
                set.add(random.i64(..) >> shift);
            }
            let mut bytes = set.as_bytes().to_vec();
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
            match Intset::from_bytes(&bytes) {
                Ok(mut set) => {
                    accepted += 1;
                    set.add(random.i64(..));
                    set.check_invariants().expect("stays valid");
                }
                Err(_) => refused += 1,
            }
        }
        assert!(accepted > 1_000 && refused > 1_000, "{accepted} accepted, {refused} refused");
    }
}
