//! Ends of ranges, by score and by member.

use super::tree::Bound;

/// A place between scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    /// The score.
    pub score: f64,
    /// Whether elements with just this score lie before the place.
    pub after: bool,
}

impl ScoreBound {
    /// Whether a score lies before the place.
    #[inline(always)]
    pub fn is_behind(&self, score: f64) -> bool {
        score < self.score || (self.after && score == self.score)
    }
}

impl Bound for ScoreBound {
    #[inline(always)]
    fn by_score(&self, score: f64) -> Option<bool> {
        Some(self.is_behind(score))
    }

    #[inline(always)]
    fn precedes(&self, score: f64, _member: &[u8]) -> bool {
        self.is_behind(score)
    }
}

/// A place between members; only of use in sets in which all scores are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberBound<'m> {
    /// Before all.
    First,
    /// Before this member.
    Before(&'m [u8]),
    /// Behind this member.
    After(&'m [u8]),
    /// Behind all.
    Last,
}

impl MemberBound<'_> {
    /// Whether a member lies before the place.
    pub fn is_behind(&self, member: &[u8]) -> bool {
        match *self {
            MemberBound::First => false,
            MemberBound::Before(own) => member < own,
            MemberBound::After(own) => member <= own,
            MemberBound::Last => true,
        }
    }
}

impl Bound for MemberBound<'_> {
    fn by_score(&self, _score: f64) -> Option<bool> {
        match self {
            MemberBound::First => Some(false),
            MemberBound::Last => Some(true),
            _ => None,
        }
    }

    fn precedes(&self, _score: f64, member: &[u8]) -> bool {
        self.is_behind(member)
    }
}
