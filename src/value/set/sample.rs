//! Random members: SPOP and SRANDMEMBER.
//!
//! Two ways to draw `count` of `len` members without repetition:
//!
//! - a walk over all, taking each with the chance (still wanted) / (still to come), which is Knuth's
//!   algorithm S (The Art of Computer Programming, 3.4.2): every subset is equally likely, nothing
//!   is kept;
//! - single draws, those seen before thrown away: for few out of many.

use super::{SetLimits, SetRef, SetValue};
use crate::base::rng::Rng;
use crate::ds::element::Element;
use crate::ds::intset::Intset;
use crate::ds::listpack::Listpack;
use std::collections::HashSet;
use std::mem;

/// A walk draws at least one of this many members; fewer are drawn singly.
const WALK_SHARE: usize = 3;
/// Members are popped by a walk over an intset or listpack when at least one of this many goes.
const SMALL_WALK_SHARE: usize = 8;
/// A big set of which this many times more members go than stay is built anew from those that
/// stay; as in Redis.
const MOVE_SHARE: usize = 5;

/// Algorithm S: told of one member after the other, says which to take.
struct Selection {
    wanted: usize,
    left: usize,
}

impl Selection {
    fn new(wanted: usize, len: usize) -> Self {
        Selection { wanted: wanted.min(len), left: len }
    }

    /// Whether the next member is taken.
    fn takes(&mut self, rng: &mut Rng) -> bool {
        let taken = self.wanted > 0 && rng.below(self.left) < self.wanted;
        self.left = self.left.saturating_sub(1);
        self.wanted -= usize::from(taken);
        taken
    }
}

impl<'a> SetRef<'a> {
    /// A member, all equally likely; `None` only for an empty set.
    pub fn random(&self, rng: &mut Rng) -> Option<Element<'a>> {
        match self {
            SetRef::Packed(listpack) => listpack.get(rng.below(listpack.len()) as i64),
            SetRef::Integers(intset) => intset.get(rng.below(intset.len())).map(Element::Int),
            SetRef::Big(table) => table.random(rng.generator()).map(Element::Bytes),
        }
    }

    /// `count` different members, every such subset equally likely; all when there are no more.
    pub fn sample(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Element<'a>)) {
        let len = self.len();
        let is_packed = matches!(self, SetRef::Packed(_));
        if count >= len {
            return self.iter().for_each(visit);
        }
        if !is_packed && count.saturating_mul(WALK_SHARE) <= len {
            return self.sample_singly(count, rng, visit);
        }
        let mut selection = Selection::new(count, len);
        for member in self.iter() {
            if selection.takes(rng) {
                visit(member);
            }
            if selection.wanted == 0 {
                break;
            }
        }
    }

    /// As [`SetRef::sample`] for few members of many.
    fn sample_singly(&self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Element<'a>)) {
        let mut seen = HashSet::with_capacity(count);
        while seen.len() < count {
            let Some(member) = self.random(rng) else { return };
            // An integer is itself, a member of a table is where it lies.
            let identity = match member {
                Element::Int(value) => value as u64,
                Element::Bytes(bytes) => bytes.as_ptr() as u64,
            };
            if seen.insert(identity) {
                visit(member);
            }
        }
    }

    /// `count` draws, each of any member. Stops early when `visit` says false.
    pub fn sample_repeating(&self, count: u64, rng: &mut Rng, mut visit: impl FnMut(Element<'a>) -> bool) {
        let packed: Vec<Element<'a>> = match self {
            // Each look-up would be a walk.
            SetRef::Packed(listpack) if count > 1 => listpack.iter().collect(),
            _ => Vec::new(),
        };
        for _ in 0..count {
            let drawn = match packed.get(rng.below(packed.len())) {
                Some(member) => Some(*member),
                None => self.random(rng),
            };
            if !drawn.is_some_and(&mut visit) {
                return;
            }
        }
    }
}

impl SetValue {
    /// Removes a random member after showing it to `visit`; `None` when the set is empty.
    pub fn pop<R>(&mut self, rng: &mut Rng, visit: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        match self {
            SetValue::Big(table) => table.pop_random(rng.generator(), |member| visit(Element::Bytes(member))),
            SetValue::Packed(listpack) => {
                let view = listpack.view();
                let position = view.seek(rng.below(view.len()) as i64)?;
                let result = visit(view.element(position)?);
                listpack.delete(position);
                Some(result)
            }
            SetValue::Integers(intset) => {
                let value = intset.view().get(rng.below(intset.len()))?;
                intset.remove(value);
                Some(visit(Element::Int(value)))
            }
        }
    }

    /// Removes `count` random members, fewer than there are, after showing each to `visit`.
    pub fn pop_many(
        &mut self,
        count: usize,
        rng: &mut Rng,
        limits: &SetLimits,
        mut visit: impl FnMut(Element<'_>),
    ) {
        let len = self.len();
        let walks = match self {
            SetValue::Big(_) => (len - count).saturating_mul(MOVE_SHARE) <= count,
            _ => count.saturating_mul(SMALL_WALK_SHARE) >= len,
        };
        if walks {
            return self.pop_by_walk(count, rng, limits, visit);
        }
        for _ in 0..count {
            self.pop(rng, &mut visit);
        }
    }

    /// Builds the set anew from the members that stay.
    fn pop_by_walk(
        &mut self,
        count: usize,
        rng: &mut Rng,
        limits: &SetLimits,
        mut visit: impl FnMut(Element<'_>),
    ) {
        let empty = match self {
            SetValue::Integers(_) => SetValue::Integers(Intset::new()),
            SetValue::Packed(_) | SetValue::Big(_) => SetValue::Packed(Listpack::new()),
        };
        let before = mem::replace(self, empty);
        let mut selection = Selection::new(count, before.len());
        for member in before.as_ref().iter() {
            if selection.takes(rng) {
                visit(member);
            } else {
                self.add_element(member, limits);
            }
        }
        self.shrink_to_fit();
    }
}
