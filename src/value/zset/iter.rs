//! Walks over members with their scores, whatever the encoding.

use super::{ZsetRef, packed};
use crate::ds::element::Element;
use crate::ds::listpack::{ListpackView, Position};
use crate::ds::sorted_set;

/// A run of members with their scores, ascending or descending.
pub struct ZsetIter<'a>(Walk<'a>);

enum Walk<'a> {
    Packed { view: ListpackView<'a>, at: Option<Position>, remaining: usize, reverse: bool },
    Big(sorted_set::Iter<'a>),
}

impl<'a> ZsetIter<'a> {
    pub(super) fn new(zset: ZsetRef<'a>, start: usize, end: usize, reverse: bool) -> Self {
        match zset {
            ZsetRef::Packed(view) => {
                let end = end.min(view.len() / 2);
                let remaining = end.saturating_sub(start);
                let first = if reverse { end.saturating_sub(1) } else { start };
                let at = if remaining > 0 { view.seek(2 * first as i64) } else { None };
                ZsetIter(Walk::Packed { view, at, remaining, reverse })
            }
            ZsetRef::Big(set) => ZsetIter(Walk::Big(set.range(start, end, reverse))),
        }
    }
}

impl<'a> Iterator for ZsetIter<'a> {
    type Item = (f64, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Walk::Big(iter) => iter.next().map(|(score, member)| (score, Element::Bytes(member))),
            Walk::Packed { view, at, remaining, reverse } => {
                let position = at.filter(|_| *remaining > 0)?;
                let (member, score, score_at) = packed::pair(*view, position)?;
                *remaining -= 1;
                *at = if *reverse {
                    view.previous(position).and_then(|before| view.previous(before))
                } else {
                    view.next(score_at)
                };
                Some((score, member))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let remaining = match &self.0 {
            Walk::Packed { remaining, .. } => *remaining,
            Walk::Big(iter) => iter.len(),
        };
        (remaining, Some(remaining))
    }
}

impl ExactSizeIterator for ZsetIter<'_> {}
