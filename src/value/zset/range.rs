//! Ranges of scores and of members, as runs of ranks.

use std::ops::Range;

use super::{MemberBound, ScoreBound, ZsetRef};
use crate::ds::element::Element;
use crate::value::set::with_text;

/// Scores between two places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub start: ScoreBound,
    pub end: ScoreBound,
}

impl ScoreRange {
    /// From `min` to `max`, each with or without its own.
    pub fn new(min: f64, min_excluded: bool, max: f64, max_excluded: bool) -> Self {
        ScoreRange {
            start: ScoreBound { score: min, after: min_excluded },
            end: ScoreBound { score: max, after: !max_excluded },
        }
    }
}

/// Members between two places; of use where all scores are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRange<'m> {
    pub start: MemberBound<'m>,
    pub end: MemberBound<'m>,
}

impl ZsetRef<'_> {
    /// The ranks of the members in a range of scores. O(n) when packed, else O(log n).
    pub fn score_ranks(&self, range: &ScoreRange) -> Range<usize> {
        let count = |bound: ScoreBound| match self {
            ZsetRef::Packed(_) => self.count_while(|score, _| bound.is_behind(score)),
            ZsetRef::Big(set) => set.count_before_score(bound),
        };
        ordered(count(range.start), count(range.end))
    }

    /// The ranks of the members in a range of members. O(n) when packed, else O(log n).
    pub fn member_ranks(&self, range: &MemberRange<'_>) -> Range<usize> {
        let count = |bound: MemberBound<'_>| match self {
            ZsetRef::Packed(_) => {
                self.count_while(|_, member| with_text(member, |text| bound.is_behind(text)))
            }
            ZsetRef::Big(set) => set.count_before_member(bound),
        };
        ordered(count(range.start), count(range.end))
    }

    fn count_while(&self, lies_before: impl Fn(f64, Element<'_>) -> bool) -> usize {
        self.iter().take_while(|(score, member)| lies_before(*score, *member)).count()
    }
}

fn ordered(start: usize, end: usize) -> Range<usize> {
    start..end.max(start)
}
