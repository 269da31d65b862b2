//! The set type.
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | packed | a listpack of its own, one thin pointer in the entry | `listpack` |
//! | integers | an intset of its own, likewise | `intset` |
//! | big | a box with a member table | `hashtable` |
//!
//! A set of integers is an intset, any other small one a listpack; what outgrows [`SetLimits`]
//! becomes big and stays so, as in Redis 7.2. `edit` adds, removes and converts; `sample` draws
//! random members; `batch` looks many members up at once; `algebra` makes unions, intersections
//! and differences.

mod algebra;
mod batch;
mod edit;
mod iter;
mod sample;
#[cfg(test)]
mod tests;

use crate::base::hash::HashSeed;
use crate::ds::element::Element;
use crate::ds::intset::{Intset, IntsetView};
use crate::ds::listpack::{Listpack, ListpackView};
use crate::ds::member_table::MemberTable;
use crate::ds::table::TableStats;
use crate::sys::data_alloc::DataBox;
use crate::value::counted::counted;
use crate::value::limits::{PackedLimits, TypeLimits};

pub use algebra::{Algebra, combine, combine_into};
pub use iter::SetIter;

/// Most integers in an intset, whatever the directive says; as in Redis.
const INTSET_ENTRIES_MAX: usize = 1 << 30;

/// When a set leaves its small encodings.
#[derive(Clone, Copy, Debug)]
pub struct SetLimits {
    /// Keys the hashes inside big sets.
    pub seed: HashSeed,
    /// `set-max-listpack-entries`, `set-max-listpack-value`.
    pub packed: PackedLimits,
    /// `set-max-intset-entries`.
    pub intset_entries: usize,
}

impl SetLimits {
    fn intset_max(&self) -> usize {
        self.intset_entries.min(INTSET_ENTRIES_MAX)
    }
}

impl From<&TypeLimits> for SetLimits {
    fn from(limits: &TypeLimits) -> Self {
        SetLimits { seed: limits.seed, packed: limits.set, intset_entries: limits.intset_entries }
    }
}

/// An owned set. The order of the variants is that of `value/parts.rs`.
#[derive(Debug)]
pub enum SetValue {
    Packed(Listpack),
    Integers(Intset),
    Big(DataBox<MemberTable>),
}

/// A set seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum SetRef<'a> {
    Packed(ListpackView<'a>),
    Integers(IntsetView<'a>),
    Big(&'a MemberTable),
}

counted!(SetValue, SetRef);

impl SetValue {
    /// An empty set, in the encoding that grows into any other.
    pub fn new() -> Self {
        SetValue::Integers(Intset::new())
    }

    pub fn as_ref(&self) -> SetRef<'_> {
        match self {
            SetValue::Packed(listpack) => SetRef::Packed(listpack.view()),
            SetValue::Integers(intset) => SetRef::Integers(intset.view()),
            SetValue::Big(table) => SetRef::Big(table),
        }
    }

    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        match self {
            SetValue::Packed(_) | SetValue::Integers(_) => 1,
            SetValue::Big(table) => table.len(),
        }
    }
}

impl<'a> SetRef<'a> {
    /// Members.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            SetRef::Packed(listpack) => listpack.len(),
            SetRef::Integers(intset) => intset.len(),
            SetRef::Big(table) => table.len(),
        }
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            SetRef::Packed(_) => "listpack",
            SetRef::Integers(_) => "intset",
            SetRef::Big(_) => "hashtable",
        }
    }

    /// A deep copy in the same encoding.
    pub fn to_value(&self) -> SetValue {
        match self {
            SetRef::Packed(listpack) => SetValue::Packed(Listpack::copy_of(*listpack)),
            SetRef::Integers(intset) => SetValue::Integers(Intset::copy_of(*intset)),
            SetRef::Big(table) => SetValue::Big(DataBox::new(MemberTable::clone(table))),
        }
    }

    /// Bytes of the data region, by size class.
    pub fn memory_bytes(&self) -> usize {
        match self {
            SetRef::Packed(listpack) => listpack.memory_bytes(),
            SetRef::Integers(intset) => intset.memory_bytes(),
            SetRef::Big(table) => size_of::<MemberTable>() + table.memory_bytes(),
        }
    }

    /// Whether a member is in the set. O(n) when packed, O(log n) in an intset, else O(1).
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            SetRef::Big(table) => table.contains(member),
            _ => self.contains_element(Element::Bytes(member)),
        }
    }

    /// As [`SetRef::contains`], for a member out of another set.
    pub fn contains_element(&self, member: Element<'_>) -> bool {
        match self {
            SetRef::Packed(listpack) => with_text(member, |text| find(*listpack, text)),
            SetRef::Integers(intset) => member.as_integer().is_some_and(|value| intset.contains(value)),
            SetRef::Big(table) => with_text(member, |text| table.contains(text)),
        }
    }

    /// All members: integers ascending, a listpack in its order, a big set in hash order.
    pub fn iter(&self) -> SetIter<'a> {
        SetIter::new(*self)
    }

    /// One step of SSCAN: visits members, returns the next cursor, 0 at the end. A small set is
    /// visited whole.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Element<'_>)) -> u64 {
        match self {
            SetRef::Big(table) => table.scan(cursor, |member| visit(Element::Bytes(member))),
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    /// Figures of the hash table behind a big set.
    pub fn table_stats(&self) -> Option<TableStats> {
        match self {
            SetRef::Big(table) => Some(table.stats()),
            _ => None,
        }
    }
}

fn find(listpack: ListpackView<'_>, member: &[u8]) -> bool {
    listpack.first().is_some_and(|first| listpack.find(first, member, 0).is_some())
}

/// Calls `use_text` with a member as a client sees it, without a copy.
#[inline]
pub fn with_text<R>(member: Element<'_>, use_text: impl FnOnce(&[u8]) -> R) -> R {
    match member {
        Element::Bytes(bytes) => use_text(bytes),
        Element::Int(value) => use_text(itoa::Buffer::new().format(value).as_bytes()),
    }
}
