//! Walking a quicklist: elements from any index either way, and nodes for the RDB writer. Owns, of
//! a compressed node, one decompressed copy at a time; the list itself is not touched, so a walk
//! dirties no page.

use super::Quicklist;
use super::directory::Slot;
use super::node::{Container, Node};
use crate::ds::element::Element;
use crate::ds::listpack::{ListpackView, Position};
use std::borrow::Cow;

/// Which way a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From head to tail.
    Forward,
    /// From tail to head.
    Backward,
}

/// The place inside the current node.
#[derive(Clone, Copy)]
enum Place {
    /// The only element of a plain node.
    Whole,
    Entry(Position),
}

/// A walk over elements. Not an `Iterator`: an element may live in the walk itself, so it must be
/// done with before the next one is asked for.
pub struct Iter<'a> {
    list: &'a Quicklist,
    /// The node after the current one.
    pending: Option<Slot>,
    raw: Cow<'a, [u8]>,
    place: Option<Place>,
    direction: Direction,
}

impl<'a> Iter<'a> {
    pub(super) fn new(list: &'a Quicklist, index: usize, direction: Direction) -> Self {
        let raw = Cow::Borrowed(&[][..]);
        let mut iter = Self { list, pending: None, raw, place: None, direction };
        if let Some((slot, offset)) = list.nodes.locate(index) {
            iter.enter(slot, Some(offset));
        }
        iter
    }

    /// The next element, or `None` at the end.
    pub fn next_element(&mut self) -> Option<Element<'_>> {
        while self.place.is_none() {
            let slot = self.pending?;
            self.enter(slot, None);
        }
        let view = ListpackView::over(&self.raw);
        match self.place? {
            Place::Whole => {
                self.place = None;
                Some(Element::Bytes(&self.raw))
            }
            Place::Entry(position) => {
                let next = match self.direction {
                    Direction::Forward => view.next(position),
                    Direction::Backward => view.previous(position),
                };
                self.place = next.map(Place::Entry);
                view.element(position)
            }
        }
    }

    /// Goes to the node at `slot`: to the element at `offset`, or to its first in this direction.
    fn enter(&mut self, slot: Slot, offset: Option<usize>) {
        let nodes = &self.list.nodes;
        self.pending = match self.direction {
            Direction::Forward => nodes.next(slot),
            Direction::Backward => nodes.previous(slot),
        };
        let Some(node) = nodes.get(slot) else { return };
        self.raw = node.raw(self.list.codec);
        if node.is_plain() {
            self.place = Some(Place::Whole);
            return;
        }
        let view = ListpackView::over(&self.raw);
        let position = match (offset, self.direction) {
            (Some(offset), _) => view.seek(offset as i64),
            (None, Direction::Forward) => view.first(),
            (None, Direction::Backward) => view.last(),
        };
        self.place = position.map(Place::Entry);
    }
}

impl Quicklist {
    /// Shows up to `count` elements from `index` on, in `direction`, until `visit` gives false.
    /// Faster than [`Iter`]: node by node, without a state between two elements.
    #[inline]
    pub fn visit(
        &self,
        index: usize,
        count: usize,
        direction: Direction,
        mut visit: impl FnMut(Element<'_>) -> bool,
    ) {
        let Some((slot, offset)) = self.nodes.locate(index) else { return };
        let (mut next, mut offset, mut left) = (Some(slot), Some(offset), count);
        while let Some(slot) = next.filter(|_| left > 0) {
            let Some(node) = self.nodes.get(slot) else { return };
            next = match direction {
                Direction::Forward => self.nodes.next(slot),
                Direction::Backward => self.nodes.previous(slot),
            };
            let raw = node.raw(self.codec);
            // It belongs to the first node, of whatever kind.
            let entered_at = offset.take();
            if node.is_plain() {
                left -= 1;
                if !visit(Element::Bytes(&raw)) {
                    return;
                }
                continue;
            }
            let view = ListpackView::over(&raw);
            let start = match (entered_at, direction) {
                (Some(offset), _) => view.seek(offset as i64),
                (None, Direction::Forward) => view.first(),
                (None, Direction::Backward) => view.last(),
            };
            match visit_listpack(view, start, left, direction, &mut visit) {
                Some(shown) => left -= shown,
                None => return,
            }
        }
    }
}

/// Shows up to `count` elements of a listpack from `start` on; how many there were, or `None` when
/// `visit` gave false.
#[inline]
pub fn visit_listpack(
    view: ListpackView<'_>,
    start: Option<Position>,
    count: usize,
    direction: Direction,
    mut visit: impl FnMut(Element<'_>) -> bool,
) -> Option<usize> {
    let (mut at, mut shown) = (start, 0);
    while let Some(position) = at.filter(|_| shown < count) {
        let Some((element, next)) = view.element_and_next(position) else { break };
        shown += 1;
        if !visit(element) {
            return None;
        }
        at = match direction {
            Direction::Forward => next,
            Direction::Backward => view.previous(position),
        };
    }
    Some(shown)
}

/// A node as it lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    /// Plain or packed.
    pub container: Container,
    /// Number of elements.
    pub count: usize,
    /// Length before compression, bytes.
    pub raw_len: usize,
    /// The bytes.
    pub stored: Stored<'a>,
}

/// The bytes of a node.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// A listpack, or a plain element.
    Raw(&'a [u8]),
    /// The codec's form of it; an RDB takes it as an LZF string without compressing again.
    Compressed(&'a [u8]),
}

impl<'a> NodeView<'a> {
    /// A listpack as if it were a node.
    pub fn of_listpack(listpack: ListpackView<'a>) -> Self {
        let raw = listpack.as_bytes();
        Self {
            container: Container::Packed,
            count: listpack.len(),
            raw_len: raw.len(),
            stored: Stored::Raw(raw),
        }
    }

    pub(super) fn new(node: &'a Node) -> Self {
        let bytes = node.stored();
        Self {
            container: node.container(),
            count: node.count(),
            raw_len: node.raw_len(),
            stored: match node.is_compressed() {
                true => Stored::Compressed(bytes),
                false => Stored::Raw(bytes),
            },
        }
    }
}
