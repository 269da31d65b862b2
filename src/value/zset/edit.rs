//! Changes of a sorted set, and its conversions.

use std::ops::Range;

use super::{Change, Damage, NotANumber, ZsetIter, ZsetLimits, ZsetRef, ZsetValue, packed};
use crate::ds::element::Element;
use crate::ds::listpack::Listpack;
use crate::ds::sorted_set::SortedSet;
use crate::sys::data_alloc::DataBox;
use crate::value::set::with_text;

/// Room in the index is made for at most this many members before they are seen: a count in a
/// file is only a claim.
const RESERVED_MEMBERS_MAX: usize = 1 << 20;

impl ZsetValue {
    /// An empty set for `len` members, the first `first_bytes` long: in the encoding that it
    /// would get to in the end, as far as that is known.
    pub fn with_hint(len: usize, first_bytes: usize, limits: &ZsetLimits) -> Self {
        if len <= limits.packed.entries && first_bytes <= limits.packed.value_bytes {
            return ZsetValue::new();
        }
        let mut set = SortedSet::new(limits.seed);
        set.reserve(len.min(RESERVED_MEMBERS_MAX));
        ZsetValue::Big(DataBox::new(set))
    }

    /// Becomes big at once when `added` members alone would make it so.
    pub fn expect(&mut self, added: usize, limits: &ZsetLimits) {
        if added > limits.packed.entries {
            self.become_big(limits);
        }
    }

    /// Finds a member once and lets `decide` choose its score from the present one (`None`: it
    /// is not there); a decision of `None` changes nothing.
    ///
    /// # Errors
    /// Those of `decide`, and `NotANumber` for a decision of NaN; nothing was changed.
    #[inline]
    pub fn upsert<E: From<NotANumber>>(
        &mut self,
        member: &[u8],
        limits: &ZsetLimits,
        decide: impl FnOnce(Option<f64>) -> Result<Option<f64>, E>,
    ) -> Result<Change, E> {
        match self {
            ZsetValue::Big(set) => {
                let hash = set.hash(member);
                set.upsert(hash, member, decide)
            }
            ZsetValue::Packed(_) => self.upsert_packed(member, limits, decide),
        }
    }

    fn upsert_packed<E: From<NotANumber>>(
        &mut self,
        member: &[u8],
        limits: &ZsetLimits,
        decide: impl FnOnce(Option<f64>) -> Result<Option<f64>, E>,
    ) -> Result<Change, E> {
        let ZsetValue::Packed(listpack) = self else { unreachable!("asked for a packed set only") };
        let found = packed::find(listpack.view(), member);
        let Some(score) = decide(found.map(|(_, score)| score))? else {
            return Ok(Change::None);
        };
        if score.is_nan() {
            return Err(E::from(NotANumber));
        }
        let Some((position, before)) = found else {
            self.add(score, member, limits);
            return Ok(Change::Added(score));
        };
        if score != before {
            packed::remove(listpack, position);
            packed::insert(listpack, score, member);
        }
        Ok(Change::Updated(before, score))
    }

    /// Adds a member that is not in this packed set.
    fn add(&mut self, score: f64, member: &[u8], limits: &ZsetLimits) {
        if let ZsetValue::Packed(listpack) = self
            && listpack.len() / 2 < limits.packed.entries
            && member.len() <= limits.packed.value_bytes
            && listpack.byte_len() + member.len() <= packed::PACKED_BYTES_MAX
        {
            return packed::insert(listpack, score, member);
        }
        self.become_big(limits);
        let ZsetValue::Big(set) = self else { unreachable!("it was just made big") };
        set.insert(score, member).expect("the score was checked");
    }

    /// Sets a member's score; `Some` is the score that it had before.
    ///
    /// # Errors
    /// `NotANumber`: the score is NaN, nothing was changed.
    pub fn insert(
        &mut self,
        score: f64,
        member: &[u8],
        limits: &ZsetLimits,
    ) -> Result<Option<f64>, NotANumber> {
        let change = self.upsert(member, limits, |_| Ok::<_, NotANumber>(Some(score)))?;
        Ok(if let Change::Updated(before, _) = change { Some(before) } else { None })
    }

    /// Takes a member out; whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            ZsetValue::Packed(listpack) => {
                let found = packed::find(listpack.view(), member);
                found.inspect(|(position, _)| packed::remove(listpack, *position)).is_some()
            }
            ZsetValue::Big(set) => set.remove(member).is_some(),
        }
    }

    /// Takes the first (or last) member out after `visit` has seen it; `None` when empty.
    pub fn pop<R>(&mut self, last: bool, visit: impl FnOnce(f64, Element<'_>) -> R) -> Option<R> {
        match self {
            ZsetValue::Packed(listpack) => {
                let view = listpack.view();
                let position = if last { view.last().and_then(|at| view.previous(at)) } else { view.first() };
                let (member, score, _) = packed::pair(view, position?)?;
                let result = visit(score, member);
                packed::remove(listpack, position?);
                Some(result)
            }
            ZsetValue::Big(set) => set.pop(last, |score, member| visit(score, Element::Bytes(member))),
        }
    }

    /// Takes the members with these ranks out.
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        match self {
            ZsetValue::Packed(listpack) => {
                listpack.delete_range(2 * ranks.start as i64, 2 * ranks.len());
            }
            ZsetValue::Big(set) => set.remove_range(ranks.start, ranks.end),
        }
    }

    fn become_big(&mut self, limits: &ZsetLimits) {
        if let ZsetValue::Packed(listpack) = self {
            let mut set = SortedSet::new(limits.seed);
            for (score, member) in ZsetRef::Packed(listpack.view()).iter() {
                // Only a listpack that was not checked deeply can hold a member twice.
                with_text(member, |text| set.insert(score, text)).expect("scores in a listpack are numbers");
            }
            *self = ZsetValue::Big(DataBox::new(set));
        }
    }

    /// A set of members that all differ, in the encoding that a STORE command leaves.
    pub fn from_sorted<'m>(
        entries: impl ExactSizeIterator<Item = (f64, &'m [u8])> + Clone,
        limits: &ZsetLimits,
    ) -> Self {
        let longest = entries.clone().map(|(_, member)| member.len()).max().unwrap_or(0);
        let mut result = ZsetValue::with_hint(entries.len(), longest, limits);
        for (score, member) in entries {
            // A score that is no number cannot come out of scores that are.
            let _ = result.insert(score, member, limits);
        }
        result
    }

    /// As [`ZsetValue::from_sorted`], in any order; of a member that is there twice the last
    /// score counts.
    pub fn from_unsorted(mut entries: Vec<(f64, &[u8])>, limits: &ZsetLimits) -> Self {
        entries.sort_by(|left, right| left.0.total_cmp(&right.0).then_with(|| left.1.cmp(right.1)));
        Self::from_sorted(entries.iter().copied(), limits)
    }

    /// A big set of these members, whatever the limits.
    pub fn big_from(entries: ZsetIter<'_>, limits: &ZsetLimits) -> Self {
        let mut set = SortedSet::new(limits.seed);
        set.reserve(entries.len());
        for (score, member) in entries {
            with_text(member, |text| set.insert(score, text)).expect("scores in a set are numbers");
        }
        ZsetValue::Big(DataBox::new(set))
    }

    /// A small set from the bytes of a file; big when there are more members than the limits say.
    ///
    /// # Errors
    /// `Damage`: they are no listpack of pairs, or, `deep`, a member is there twice.
    pub fn from_packed(bytes: &[u8], deep: bool, limits: &ZsetLimits) -> Result<Self, Damage> {
        let listpack = Listpack::from_bytes(bytes, deep).map_err(|_| Damage)?;
        packed::check(listpack.view(), deep)?;
        let mut result = ZsetValue::Packed(listpack);
        if result.len() > limits.packed.entries {
            result.become_big(limits);
        }
        Ok(result)
    }
}
