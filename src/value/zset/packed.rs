//! A small sorted set in a listpack.
//!
//! ```text
//! | member | score | member | score | ...      ascending by score, then member
//! ```
//! A score is an integer where it is whole (up to 2^62), else the text that replies show. As in
//! Redis 7.2 the sign of a zero is lost here.

use std::cmp::Ordering;
use std::collections::HashSet;

use crate::base::float::{as_integer, format_f64_reply};
use crate::base::numbers::parse_f64;
use crate::ds::element::Element;
use crate::ds::listpack::{Listpack, ListpackView, Position};
use crate::value::set::with_text;

/// Why a listpack is no sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage;

/// A listpack with room for one more member stays below this, bytes (as in Redis).
pub(super) const PACKED_BYTES_MAX: usize = 1 << 30;

const IN_BOUNDS: &str = "a packed set stays near 1 GiB, a listpack takes 4";

/// The score that an element stands for; what is no number counts as 0.
pub(super) fn score_of(element: Element<'_>) -> f64 {
    match element {
        Element::Int(value) => value as f64,
        Element::Bytes(text) => parse_f64(text).unwrap_or(0.0),
    }
}

/// Member and score of the pair at `position`, and the position of the score.
pub(super) fn pair(view: ListpackView<'_>, position: Position) -> Option<(Element<'_>, f64, Position)> {
    let score_at = view.next(position)?;
    Some((view.element(position)?, score_of(view.element(score_at)?), score_at))
}

/// The position and the score of a member. O(n).
pub(super) fn find(view: ListpackView<'_>, member: &[u8]) -> Option<(Position, f64)> {
    let position = view.find(view.first()?, member, 1)?;
    pair(view, position).map(|(_, score, _)| (position, score))
}

/// How many members lie before this one, and its score. O(n).
pub(super) fn rank(view: ListpackView<'_>, member: &[u8]) -> Option<(usize, f64)> {
    let (wanted, score) = find(view, member)?;
    let before = view.positions().take_while(|position| *position < wanted).count();
    Some((before / 2, score))
}

/// Compares a stored element with a score and a member.
fn order(stored: (Element<'_>, f64), score: f64, member: &[u8]) -> Ordering {
    let by_score = stored.1.partial_cmp(&score).unwrap_or(Ordering::Equal);
    by_score.then_with(|| with_text(stored.0, |text| text.cmp(member)))
}

/// Puts a member that is not there to where it belongs. O(n), O(1) to find the end.
pub(super) fn insert(listpack: &mut Listpack, score: f64, member: &[u8]) {
    match place(listpack.view(), score, member) {
        None => {
            listpack.push_back(member).expect(IN_BOUNDS);
            with_score(score, |element| listpack.push_back(element).expect(IN_BOUNDS));
        }
        Some(position) => {
            listpack.insert_before(position, member).expect(IN_BOUNDS);
            with_score(score, |element| {
                listpack.insert_after(position, element).expect(IN_BOUNDS);
            });
        }
    }
}

/// The first pair that comes behind the new one; `None`: the new one is the last.
fn place(view: ListpackView<'_>, score: f64, member: &[u8]) -> Option<Position> {
    let last = view.last().and_then(|score_at| view.previous(score_at))?;
    let (element, last_score, _) = pair(view, last)?;
    if order((element, last_score), score, member) == Ordering::Less {
        return None;
    }
    let mut at = view.first();
    while let Some(position) = at {
        let (element, own, score_at) = pair(view, position)?;
        if order((element, own), score, member) == Ordering::Greater {
            return Some(position);
        }
        at = view.next(score_at);
    }
    None
}

/// Calls `use_element` with the element that a score is stored as.
fn with_score(score: f64, use_element: impl FnOnce(Element<'_>)) {
    if let Some(whole) = as_integer(score) {
        return use_element(Element::Int(whole));
    }
    let mut text = Vec::with_capacity(32);
    format_f64_reply(score, &mut text);
    use_element(Element::Bytes(&text));
}

/// Removes the pair at `position`.
pub(super) fn remove(listpack: &mut Listpack, position: Position) {
    listpack.delete_run(position, 2);
}

/// Checks that a listpack from a file holds pairs, and, `deep`, that no member is there twice.
///
/// # Errors
/// `Damage`: it does not.
pub(super) fn check(view: ListpackView<'_>, deep: bool) -> Result<(), Damage> {
    if !view.len().is_multiple_of(2) {
        return Err(Damage);
    }
    if !deep {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(view.len() / 2);
    let fresh = view.iter().step_by(2).all(|member| with_text(member, |text| seen.insert(text.to_vec())));
    if fresh { Ok(()) } else { Err(Damage) }
}
