//! Adding to and removing from a set, with the conversions that follow.
//!
//! The rules are those of Redis 7.2 (`t_set.c`): an intset takes a text by becoming a listpack, if
//! all its members fit one, else by becoming big; a listpack or an intset that outgrows its limit
//! becomes big; nothing ever becomes small again.

use super::batch::Batch;
use super::{SetLimits, SetRef, SetValue, find, with_text};
use crate::ds::element::{Element, parse_integer};
use crate::ds::intset::Intset;
use crate::ds::listpack::Listpack;
use crate::ds::member_table::MemberTable;
use crate::sys::data_alloc::DataBox;

/// A listpack is not made to grow beyond this, bytes; as in Redis.
const LISTPACK_SAFE_BYTES: usize = 1 << 30;
/// A listpack entry takes this much beside its text at most, bytes.
const ENTRY_OVERHEAD_BYTES: usize = 10;

impl SetValue {
    /// An empty set for `hint` members (an upper bound), the first of which is `first`.
    pub fn for_members(first: &[u8], hint: usize, limits: &SetLimits) -> Self {
        if hint <= limits.intset_entries && parse_integer(first).is_some() {
            SetValue::Integers(Intset::new())
        } else if hint <= limits.packed.entries {
            SetValue::Packed(Listpack::new())
        } else {
            SetValue::big(hint, limits)
        }
    }

    /// An empty big set with room for `capacity` members.
    pub(super) fn big(capacity: usize, limits: &SetLimits) -> Self {
        let mut table = MemberTable::new(limits.seed);
        table.reserve(capacity);
        SetValue::Big(DataBox::new(table))
    }

    /// Makes a set big at once when `hint` more members would make it so.
    pub fn prepare_for(&mut self, hint: usize, limits: &SetLimits) {
        let too_many = match self {
            SetValue::Packed(_) => hint > limits.packed.entries,
            SetValue::Integers(_) => hint > limits.intset_entries,
            SetValue::Big(_) => false,
        };
        if too_many {
            self.make_big(hint, limits);
        }
    }

    /// Adds a member; whether it was new.
    #[inline]
    pub fn add(&mut self, member: &[u8], limits: &SetLimits) -> bool {
        match self {
            SetValue::Big(table) => table.insert(member),
            SetValue::Packed(listpack) => {
                !find(listpack.view(), member) && self.add_to_packed(member, limits)
            }
            SetValue::Integers(_) => match parse_integer(member) {
                Some(value) => self.add_integer(value, limits),
                None => self.add_text_to_integers(member, limits),
            },
        }
    }

    /// As [`SetValue::add`], for a member out of another set.
    pub fn add_element(&mut self, member: Element<'_>, limits: &SetLimits) -> bool {
        match (&self, member) {
            (SetValue::Integers(_), Element::Int(value)) => self.add_integer(value, limits),
            _ => with_text(member, |text| self.add(text, limits)),
        }
    }

    /// Adds many members, loading ahead; returns how many were new.
    pub fn add_many<'m>(
        &mut self,
        mut members: impl ExactSizeIterator<Item = &'m [u8]>,
        limits: &SetLimits,
    ) -> usize {
        if members.len() == 1 {
            return members.next().map_or(0, |member| usize::from(self.add(member, limits)));
        }
        let mut batch = Batch::new();
        let mut elements = members.map(Element::Bytes);
        let mut added = 0;
        while batch.refill(&mut elements) {
            added += batch.add_to(self, limits);
        }
        added
    }

    /// Removes a member; whether it was there.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            SetValue::Big(table) => table.remove(member),
            SetValue::Packed(listpack) => {
                let view = listpack.view();
                let found = view.first().and_then(|first| view.find(first, member, 0));
                if let Some(position) = found {
                    listpack.delete(position);
                }
                found.is_some()
            }
            SetValue::Integers(intset) => parse_integer(member).is_some_and(|value| intset.remove(value)),
        }
    }

    /// Removes many members, loading ahead, and stops when the set is empty; returns how many
    /// were there.
    pub fn remove_many<'m>(&mut self, mut members: impl ExactSizeIterator<Item = &'m [u8]>) -> usize {
        if members.len() == 1 {
            return members.next().map_or(0, |member| usize::from(self.remove(member)));
        }
        let mut batch = Batch::new();
        let mut elements = members.map(Element::Bytes);
        let mut removed = 0;
        while !self.is_empty() && batch.refill(&mut elements) {
            removed += batch.remove_from(self);
        }
        removed
    }

    /// Adds a member that the listpack does not have.
    fn add_to_packed(&mut self, member: &[u8], limits: &SetLimits) -> bool {
        if let SetValue::Packed(listpack) = self
            && member.len() <= limits.packed.value_bytes
            && listpack.len() < limits.packed.entries
            && listpack.byte_len() + member.len() < LISTPACK_SAFE_BYTES
            && listpack.push_back(member).is_ok()
        {
            return true;
        }
        let capacity = self.len() + 1;
        self.make_big(capacity, limits);
        self.add(member, limits)
    }

    fn add_integer(&mut self, value: i64, limits: &SetLimits) -> bool {
        let SetValue::Integers(intset) = self else {
            return self.add_element(Element::Int(value), limits);
        };
        if !intset.add(value) {
            return false;
        }
        let len = intset.len();
        if len > limits.intset_max() {
            self.make_big(len, limits);
        }
        true
    }

    /// Adds a text, which no intset can hold.
    fn add_text_to_integers(&mut self, member: &[u8], limits: &SetLimits) -> bool {
        if self.fits_packed_with(member, limits) {
            self.make_packed(member.len());
        } else {
            let capacity = self.len() + 1;
            self.make_big(capacity, limits);
        }
        let added = self.add(member, limits);
        if let SetValue::Packed(listpack) = self {
            listpack.shrink_to_fit();
        }
        added
    }

    /// Whether all integers and this text make a listpack within the limits.
    fn fits_packed_with(&self, member: &[u8], limits: &SetLimits) -> bool {
        let SetValue::Integers(intset) = self else {
            return false;
        };
        let view = intset.view();
        // The greatest and the smallest have the longest texts.
        let digits = |value: Option<i64>| value.map_or(0, |value| Element::Int(value).text_len());
        let longest = digits(view.first()).max(digits(view.last()));
        view.len() < limits.packed.entries
            && member.len().max(longest) <= limits.packed.value_bytes
            && view.len() * (longest + ENTRY_OVERHEAD_BYTES) + member.len() < LISTPACK_SAFE_BYTES
    }

    /// Turns an intset into a listpack with room for `extra` bytes more.
    fn make_packed(&mut self, extra: usize) {
        let SetValue::Integers(intset) = self else { return };
        let mut listpack = Listpack::with_capacity(intset.as_bytes().len() * 2 + extra);
        for value in intset.iter() {
            listpack.push_back(value).expect("the caller has checked the size");
        }
        *self = SetValue::Packed(listpack);
    }

    /// Turns any set into a big one with room for `capacity` members.
    pub(super) fn make_big(&mut self, capacity: usize, limits: &SetLimits) {
        if let SetValue::Big(_) = self {
            return;
        }
        let mut table = MemberTable::new(limits.seed);
        table.reserve(capacity.max(self.len()));
        for member in self.as_ref().iter() {
            with_text(member, |text| table.insert(text));
        }
        *self = SetValue::Big(DataBox::new(table));
    }

    /// Turns a set whose members are all integers into an intset if that is small enough.
    pub(super) fn make_integers(&mut self, limits: &SetLimits) {
        if matches!(self, SetValue::Integers(_)) || self.len() > limits.intset_max() {
            return;
        }
        let mut intset = Intset::new();
        for member in self.as_ref().iter() {
            match member.as_integer() {
                Some(value) => intset.add(value),
                None => return,
            };
        }
        *self = SetValue::Integers(intset);
    }

    /// Gives unused memory of a small encoding back.
    pub fn shrink_to_fit(&mut self) {
        match self {
            SetValue::Packed(listpack) => listpack.shrink_to_fit(),
            SetValue::Integers(intset) => intset.shrink_to_fit(),
            SetValue::Big(_) => {}
        }
    }

    /// Makes a set that was read from a file big if it is beyond the limits, which may have been
    /// others when it was written. Redis looks at the number of members only.
    pub fn fit_limits(&mut self, limits: &SetLimits) {
        let len = self.len();
        let most = match self.as_ref() {
            SetRef::Packed(_) => limits.packed.entries,
            SetRef::Integers(_) => limits.intset_entries,
            SetRef::Big(_) => usize::MAX,
        };
        if len > most {
            self.make_big(len, limits);
        }
    }
}
