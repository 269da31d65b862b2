//! Unions, intersections and differences.
//!
//! Members stream through in batches of 32 (see `batch`): an intersection walks the smallest set
//! and drops what another one lacks; a difference walks the first and drops what another one has;
//! a union walks all and drops what a set before had. So nothing is built to answer a client,
//! with two exceptions: small inputs, whose result is made as Redis makes it, because the order of
//! its members shows; and differences and unions of so many sets that looking into each would
//! cost more than one temporary set.

use super::batch::Batch;
use super::{SetLimits, SetRef, SetValue};
use crate::ds::element::Element;
use crate::ds::listpack::Listpack;
use std::ops::ControlFlow;

/// Inputs of together at most this many members have their union or difference built, so that its
/// order is that of Redis: an intset's at its default limit.
const ORDERED_MEMBERS: usize = 512;
/// A union of more sets than this is built: each member would be looked for in all sets before.
const UNION_SETS_MAX: usize = 8;

/// Which members to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algebra {
    /// Those in all sets; none if a set is missing.
    Intersection,
    /// Those in any set.
    Union,
    /// Those of the first set that are in no other.
    Difference,
}

/// Told of each member of a result; may end the walk.
pub type Visit<'v> = dyn FnMut(Element<'_>) -> ControlFlow<()> + 'v;

/// Shows every member of the result to `visit` once, until it says break. A missing set is `None`.
pub fn combine(algebra: Algebra, sets: &[Option<SetRef<'_>>], limits: &SetLimits, visit: &mut Visit<'_>) {
    if algebra != Algebra::Intersection && shows_order(sets) {
        let mut result = SetValue::new();
        stream(algebra, sets, limits, &mut |batch| {
            batch.add_to(&mut result, limits);
            ControlFlow::Continue(())
        });
        let _ = result.as_ref().iter().try_for_each(visit);
        return;
    }
    stream(algebra, sets, limits, &mut |batch| batch.members().iter().copied().try_for_each(&mut *visit));
}

/// The result as a new set in the encoding that Redis would give it.
pub fn combine_into(algebra: Algebra, sets: &[Option<SetRef<'_>>], limits: &SetLimits) -> SetValue {
    let mut result = match algebra {
        Algebra::Intersection => start_of_intersection(sets),
        Algebra::Union => start_of_union(sets, limits),
        Algebra::Difference => SetValue::new(),
    };
    stream(algebra, sets, limits, &mut |batch| {
        batch.add_to(&mut result, limits);
        ControlFlow::Continue(())
    });
    if algebra == Algebra::Intersection {
        result.make_integers(limits);
    }
    result.shrink_to_fit();
    result
}

/// Whether Redis would answer in an order that clients may rely on: nothing in it is hashed.
fn shows_order(sets: &[Option<SetRef<'_>>]) -> bool {
    let present = sets.iter().flatten();
    present.clone().all(|set| !matches!(set, SetRef::Big(_)))
        && present.map(SetRef::len).sum::<usize>() <= ORDERED_MEMBERS
}

/// The smallest set's encoding, if it is a small one.
fn start_of_intersection(sets: &[Option<SetRef<'_>>]) -> SetValue {
    match sets.iter().flatten().min_by_key(|set| set.len()) {
        Some(SetRef::Integers(_)) => SetValue::new(),
        _ => SetValue::Packed(Listpack::new()),
    }
}

/// Big from the start if one of the sets alone would make it so.
fn start_of_union(sets: &[Option<SetRef<'_>>], limits: &SetLimits) -> SetValue {
    let largest = sets.iter().flatten().map(SetRef::len).max().unwrap_or(0);
    if largest > limits.intset_max() && largest > limits.packed.entries {
        return SetValue::big(largest, limits);
    }
    SetValue::new()
}

/// Told of the members of a result, some at a time.
type Take<'v, 'a> = dyn FnMut(&mut Batch<'a>) -> ControlFlow<()> + 'v;

fn stream<'a>(algebra: Algebra, sets: &[Option<SetRef<'a>>], limits: &SetLimits, take: &mut Take<'_, 'a>) {
    let mut present: Vec<SetRef<'a>> = sets.iter().copied().flatten().collect();
    match algebra {
        Algebra::Intersection if present.len() < sets.len() => {}
        Algebra::Intersection => {
            // Stable, as the order of equally large sets decides whose order shows.
            present.sort_by_key(SetRef::len);
            if let [smallest, others @ ..] = present.as_slice() {
                let _ = filter(*smallest, others, true, take);
            }
        }
        Algebra::Union => union(&present, limits, take),
        Algebra::Difference => {
            if let (Some(Some(first)), [_, others @ ..]) = (sets.first(), present.as_mut_slice()) {
                difference(*first, others, limits, take);
            }
        }
    }
}

/// The members of `walked` that are in all (or in none) of `others`.
fn filter<'a>(
    walked: SetRef<'a>,
    others: &[SetRef<'_>],
    wanted: bool,
    take: &mut Take<'_, 'a>,
) -> ControlFlow<()> {
    let mut batch = Batch::new();
    let mut members = walked.iter();
    while batch.refill(&mut members) {
        for other in others {
            batch.retain(*other, wanted);
            if batch.members().is_empty() {
                break;
            }
        }
        if !batch.members().is_empty() {
            take(&mut batch)?;
        }
    }
    ControlFlow::Continue(())
}

fn union<'a>(sets: &[SetRef<'a>], limits: &SetLimits, take: &mut Take<'_, 'a>) {
    if sets.len() <= UNION_SETS_MAX {
        for (index, set) in sets.iter().enumerate() {
            if filter(*set, &sets[..index], false, take).is_break() {
                return;
            }
        }
        return;
    }
    let mut seen = SetValue::big(0, limits);
    for set in sets {
        let unseen = filter_new(*set, &mut seen, limits, take);
        if unseen.is_break() {
            return;
        }
    }
}

/// The members of `walked` that are not in `seen`, which gets them.
fn filter_new<'a>(
    walked: SetRef<'a>,
    seen: &mut SetValue,
    limits: &SetLimits,
    take: &mut Take<'_, 'a>,
) -> ControlFlow<()> {
    let mut batch = Batch::new();
    let mut members = walked.iter();
    while batch.refill(&mut members) {
        batch.retain(seen.as_ref(), false);
        batch.add_to(seen, limits);
        if !batch.members().is_empty() {
            take(&mut batch)?;
        }
    }
    ControlFlow::Continue(())
}

/// Looks each member of `first` up in all others, or, where that is more work, in a set of all
/// that the others have.
fn difference<'a>(first: SetRef<'a>, others: &mut [SetRef<'_>], limits: &SetLimits, take: &mut Take<'_, 'a>) {
    let subtracted: usize = others.iter().map(SetRef::len).sum();
    let look_ups = first.len().saturating_mul(others.len() + 1) / 2;
    if others.len() <= 1 || look_ups <= first.len() + subtracted {
        // The largest has most of what is to be dropped.
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        let _ = filter(first, others, false, take);
        return;
    }
    let mut all = SetValue::big(subtracted, limits);
    let mut batch = Batch::new();
    for other in others {
        let mut members = other.iter();
        while batch.refill(&mut members) {
            batch.add_to(&mut all, limits);
        }
    }
    let _ = filter(first, &[all.as_ref()], false, take);
}
