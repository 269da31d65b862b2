//! The sorted set type.
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | packed | a listpack of member, score, member, score ... in order, one thin pointer in the entry | `listpack` |
//! | big | a box with a packed B+ tree and its member index | `skiplist` |
//!
//! What outgrows [`ZsetLimits`] becomes big and stays so, as in Redis 7.2; results of STORE
//! commands and loaded sets start small again. `packed` is the listpack's side, `edit` changes
//! and converts, `range` finds runs of ranks, `combine` makes unions, intersections and
//! differences.
//!
//! For other types that are built on it (GEO): [`ZsetRef::score`], [`ZsetRef::score_ranks`] with
//! [`ZsetRef::range`] to walk a range of scores, [`ZsetValue::from_unsorted`] for a result to store.

mod combine;
mod edit;
mod iter;
mod packed;
mod range;
#[cfg(test)]
mod tests;

use crate::base::hash::HashSeed;
use crate::ds::listpack::{Listpack, ListpackView};
use crate::ds::sorted_set::SortedSet;
use crate::ds::table::TableStats;
use crate::sys::data_alloc::DataBox;
use crate::value::counted::counted;
use crate::value::limits::{PackedLimits, TypeLimits};

pub use crate::ds::sorted_set::{Change, MemberBound, NotANumber, ScoreBound};
pub use combine::{Aggregate, Entry, Input, Operation, Source, combine, intersection_len};
pub use iter::ZsetIter;
pub use packed::Damage;
pub use range::{MemberRange, ScoreRange};

/// When a sorted set leaves its listpack.
#[derive(Clone, Copy, Debug)]
pub struct ZsetLimits {
    /// Keys the hashes inside big sets.
    pub seed: HashSeed,
    /// `zset-max-listpack-entries`, `zset-max-listpack-value`.
    pub packed: PackedLimits,
}

impl From<&TypeLimits> for ZsetLimits {
    fn from(limits: &TypeLimits) -> Self {
        ZsetLimits { seed: limits.seed, packed: limits.zset }
    }
}

/// An owned sorted set. The order of the variants is that of `value/parts.rs`.
#[derive(Debug)]
pub enum ZsetValue {
    Packed(Listpack),
    Big(DataBox<SortedSet>),
}

/// A sorted set seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum ZsetRef<'a> {
    Packed(ListpackView<'a>),
    Big(&'a SortedSet),
}

counted!(ZsetValue, ZsetRef);

impl ZsetValue {
    /// An empty sorted set.
    pub fn new() -> Self {
        ZsetValue::Packed(Listpack::new())
    }

    pub fn as_ref(&self) -> ZsetRef<'_> {
        match self {
            ZsetValue::Packed(listpack) => ZsetRef::Packed(listpack.view()),
            ZsetValue::Big(set) => ZsetRef::Big(set),
        }
    }

    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        match self {
            ZsetValue::Packed(_) => 1,
            ZsetValue::Big(set) => set.len(),
        }
    }
}

impl<'a> ZsetRef<'a> {
    /// Members.
    pub fn len(&self) -> usize {
        match self {
            ZsetRef::Packed(listpack) => listpack.len() / 2,
            ZsetRef::Big(set) => set.len(),
        }
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            ZsetRef::Packed(_) => "listpack",
            ZsetRef::Big(_) => "skiplist",
        }
    }

    /// A deep copy in the same encoding.
    pub fn to_value(&self) -> ZsetValue {
        match self {
            ZsetRef::Packed(listpack) => ZsetValue::Packed(Listpack::copy_of(*listpack)),
            ZsetRef::Big(set) => ZsetValue::Big(DataBox::new(SortedSet::clone(set))),
        }
    }

    /// Bytes of the data region that it occupies.
    pub fn memory_bytes(&self) -> usize {
        match self {
            ZsetRef::Packed(listpack) => listpack.memory_bytes(),
            ZsetRef::Big(set) => size_of::<SortedSet>() + set.memory_bytes(),
        }
    }

    /// The score of a member. O(n) when packed, else O(1).
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            ZsetRef::Packed(listpack) => packed::find(*listpack, member).map(|(_, score)| score),
            ZsetRef::Big(set) => set.score(member),
        }
    }

    /// How many members lie before this one, and its score. O(n) when packed, else O(log n).
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            ZsetRef::Packed(listpack) => packed::rank(*listpack, member),
            ZsetRef::Big(set) => set.rank(member),
        }
    }

    /// The members with ranks from `start` up to `end`, cut to what exists; from the last to the
    /// first when `reverse`.
    pub fn range(&self, start: usize, end: usize, reverse: bool) -> ZsetIter<'a> {
        ZsetIter::new(*self, start, end, reverse)
    }

    /// All members with their scores, in ascending order.
    pub fn iter(&self) -> ZsetIter<'a> {
        self.range(0, self.len(), false)
    }

    /// One step of ZSCAN over a big set: visits members, returns the next cursor, 0 at the end.
    /// `None` for a small one, which is answered whole.
    pub fn scan(&self, cursor: u64, visit: impl FnMut(f64, &[u8])) -> Option<u64> {
        match self {
            ZsetRef::Packed(_) => None,
            ZsetRef::Big(set) => Some(set.scan(cursor, visit)),
        }
    }

    /// Figures of the hash table behind a big set.
    pub fn table_stats(&self) -> Option<TableStats> {
        match self {
            ZsetRef::Packed(_) => None,
            ZsetRef::Big(set) => Some(set.table_stats()),
        }
    }

    /// Starts loading what look-ups of these members will read: one round for the index, one
    /// for the leaves.
    pub fn prefetch<'m>(&self, members: impl Iterator<Item = &'m [u8]> + Clone) {
        if let ZsetRef::Big(set) = self {
            members.clone().for_each(|member| set.prefetch_index(set.hash(member)));
            members.for_each(|member| set.prefetch_leaf(set.hash(member)));
        }
    }
}
