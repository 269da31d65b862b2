//! Unions, intersections and differences of sorted sets and sets.
//!
//! A set counts as a sorted set with all scores 1. The order of the inputs and of the sums is
//! that of Redis 7.2, so that sums of fractions agree to the last bit.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map;

use super::ZsetRef;
use crate::ds::element::Element;
use crate::value::SetRef;

/// What is done with the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Union,
    Intersection,
    /// What is in the first input only, with its scores.
    Difference,
}

/// How the scores of one member are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            // Opposite infinities sum to 0 by convention.
            Aggregate::Sum => number(left + right),
            Aggregate::Min => {
                if right < left {
                    right
                } else {
                    left
                }
            }
            Aggregate::Max => {
                if right > left {
                    right
                } else {
                    left
                }
            }
        }
    }
}

/// A product or sum that is no number counts as 0.
fn number(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

/// Where members come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    Missing,
    Zset(ZsetRef<'a>),
    Set(SetRef<'a>),
}

/// One input with its weight.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub source: Source<'a>,
    pub weight: f64,
}

/// A member of the result with its score.
pub type Entry<'a> = (f64, Cow<'a, [u8]>);

impl<'a> Source<'a> {
    fn len(&self) -> usize {
        match self {
            Source::Missing => 0,
            Source::Zset(zset) => zset.len(),
            Source::Set(set) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Missing => None,
            Source::Zset(zset) => zset.score(member),
            Source::Set(set) => set.contains(member).then_some(1.0),
        }
    }

    /// Calls `visit` with all members until it says no.
    fn each(&self, mut visit: impl FnMut(f64, Cow<'a, [u8]>) -> bool) {
        match self {
            Source::Missing => {}
            Source::Zset(zset) => {
                zset.iter().all(|(score, member)| visit(score, text(member)));
            }
            Source::Set(set) => {
                set.iter().all(|member| visit(1.0, text(member)));
            }
        }
    }
}

fn text(member: Element<'_>) -> Cow<'_, [u8]> {
    match member {
        Element::Bytes(bytes) => Cow::Borrowed(bytes),
        Element::Int(_) => Cow::Owned(member.to_vec()),
    }
}

/// The result in ascending order. O(members of all inputs, times the inputs for an
/// intersection or difference, and the sorting of the result).
pub fn combine<'a>(operation: Operation, inputs: &[Input<'a>], aggregate: Aggregate) -> Vec<Entry<'a>> {
    let mut inputs = inputs.to_vec();
    if operation != Operation::Difference {
        inputs.sort_by_key(|input| input.source.len());
    }
    let mut result = match operation {
        Operation::Union => union(&inputs, aggregate),
        Operation::Intersection => intersection(&inputs, aggregate),
        Operation::Difference => difference(&inputs),
    };
    result.sort_by(|left, right| {
        let by_score = left.0.partial_cmp(&right.0).expect("NaN was turned into 0");
        by_score.then_with(|| left.1.cmp(&right.1))
    });
    result
}

fn union<'a>(inputs: &[Input<'a>], aggregate: Aggregate) -> Vec<Entry<'a>> {
    let largest = inputs.last().map_or(0, |input| input.source.len());
    let mut scores: HashMap<Cow<'a, [u8]>, f64> = HashMap::with_capacity(largest);
    for input in inputs {
        input.source.each(|score, member| {
            let score = number(input.weight * score);
            match scores.entry(member) {
                hash_map::Entry::Vacant(place) => {
                    place.insert(score);
                }
                hash_map::Entry::Occupied(mut place) => {
                    *place.get_mut() = aggregate.apply(*place.get(), score);
                }
            }
            true
        });
    }
    scores.into_iter().map(|(member, score)| (score, member)).collect()
}

/// Calls `visit` with the members of all inputs, smallest input first, until it says no.
fn each_common<'a>(
    inputs: &[Input<'a>],
    aggregate: Aggregate,
    mut visit: impl FnMut(f64, Cow<'a, [u8]>) -> bool,
) {
    let Some((first, others)) = inputs.split_first() else {
        return;
    };
    first.source.each(|score, member| {
        let mut sum = number(first.weight * score);
        for other in others {
            match other.source.score(&member) {
                Some(score) => sum = aggregate.apply(sum, other.weight * score),
                None => return true,
            }
        }
        visit(sum, member)
    });
}

fn intersection<'a>(inputs: &[Input<'a>], aggregate: Aggregate) -> Vec<Entry<'a>> {
    let mut result = Vec::new();
    each_common(inputs, aggregate, |score, member| {
        result.push((score, member));
        true
    });
    result
}

/// How many members all inputs have, counted up to `limit` (0: no limit).
pub fn intersection_len(inputs: &[Input<'_>], limit: usize) -> usize {
    let mut inputs = inputs.to_vec();
    inputs.sort_by_key(|input| input.source.len());
    let mut count = 0;
    each_common(&inputs, Aggregate::Sum, |_, _| {
        count += 1;
        count != limit
    });
    count
}

fn difference<'a>(inputs: &[Input<'a>]) -> Vec<Entry<'a>> {
    let Some((first, others)) = inputs.split_first() else {
        return Vec::new();
    };
    let mut result = Vec::new();
    first.source.each(|score, member| {
        if others.iter().all(|other| other.source.score(&member).is_none()) {
            result.push((score, member));
        }
        true
    });
    result
}
