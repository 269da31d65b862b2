//! Quicklist: a long list as a sequence of small listpacks.
//!
//! Owns the nodes and decides where an element goes, by the rules of Redis 7.2, so that node sizes
//! in an RDB and in DEBUG OBJECT agree.
//!
//! ```text
//!   head                                                                   tail
//!   [listpack] [listpack] [lzf] [lzf] [plain: one huge element] [lzf] [listpack]
//!   '--- depth ---'                 compressed                        '- depth -'
//! ```
//!
//! A node takes elements until `Options` says it is full; the `compress_depth` nodes at either end
//! stay uncompressed, others are compressed when it saves anything (not at all for depth 0). An
//! element of `packed_threshold` bytes or more is a node of its own.
//!
//! Trade-off: 2 bytes an element and 24 a node of 8 KiB; pushes and pops are O(1) at both ends (at
//! the head by `listpack::gap`); an index costs what `directory` says and half a node's walk. Reading a compressed node decompresses into a copy and leaves the node as
//! it is (Redis decompresses in place and compresses again): no page is dirtied by a read.

mod directory;
mod iter;
mod limits;
mod node;
#[cfg(test)]
mod tests;

use crate::base::sampled::sampled_sum;
use crate::ds::corrupt::Corrupt;
use crate::ds::element::{Element, Picked};
use crate::ds::listpack::{EMPTY_BYTES, Listpack, ListpackView};
use crate::sys::data_alloc::{Cursor, Mover};
use directory::{Directory, Slot};
pub use iter::{Direction, Iter, NodeView, Stored, visit_listpack};
pub use limits::{DEFAULT_PACKED_THRESHOLD_BYTES, Options};
use node::Node;
pub use node::{Codec, Container, Side, remove_from_listpack};
use std::fmt;

/// The most nodes one insertion adds: the back half of a split and the element's own.
const MAX_NEW_NODES: usize = 2;

/// A list of strings and integers.
#[derive(Clone)]
pub struct Quicklist {
    nodes: Directory,
    options: Options,
    codec: &'static Codec,
}

impl Quicklist {
    /// An empty list.
    pub fn new(options: Options, codec: &'static Codec) -> Self {
        Self { nodes: Directory::default(), options, codec }
    }

    /// The settings.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Changes the settings for later edits; nodes stay as they are.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Takes over the threshold of a node of its own, which holds for all lists at once.
    #[inline]
    pub fn set_packed_threshold_of(&mut self, options: Options) {
        self.options.set_packed_threshold_of(options);
    }

    /// Number of elements; O(1).
    pub fn len(&self) -> usize {
        self.nodes.element_count()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of nodes; O(1).
    pub fn node_count(&self) -> usize {
        self.nodes.node_count()
    }

    /// Bytes held from the allocator, by the first `samples` nodes: exact where there are no more.
    /// O(samples + chunks of the directory).
    pub fn memory_bytes(&self, samples: usize) -> usize {
        let sizes = self.nodes.iter().map(Node::memory_bytes);
        sampled_sum(self.node_count(), samples, sizes) + self.nodes.memory_bytes()
    }

    /// Empties the list and calls `pause` now and then.
    pub fn clear_pausing(&mut self, pause: &mut dyn FnMut()) {
        self.nodes.clear_pausing(pause);
    }

    /// One step of defragmentation. `None`: done.
    pub fn relocate(&mut self, cursor: Cursor, mover: &mut Mover) -> Option<Cursor> {
        self.nodes.relocate(cursor, mover)
    }

    /// Prepends an element.
    pub fn push_front<'e>(&mut self, element: impl Into<Element<'e>>) {
        self.push(Side::Before, element.into());
    }

    /// Appends an element.
    pub fn push_back<'e>(&mut self, element: impl Into<Element<'e>>) {
        self.push(Side::After, element.into());
    }

    /// Removes and returns the first element.
    pub fn pop_front(&mut self) -> Option<Picked<'static>> {
        self.pop_with(Side::Before, |element| element.to_picked())
    }

    /// Removes and returns the last element.
    pub fn pop_back(&mut self) -> Option<Picked<'static>> {
        self.pop_with(Side::After, |element| element.to_picked())
    }

    /// Shows the first or last element to `take` and removes it.
    #[inline]
    pub fn pop_with<R>(&mut self, side: Side, take: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let slot = if side == Side::Before { self.nodes.first() } else { self.nodes.last() }?;
        let codec = self.codec;
        let taken = self.nodes.edit(slot, |node| (node.pop_with(side, codec, take), node.count()));
        let (taken, left) = taken?;
        if left == 0 {
            self.nodes.remove(slot);
            self.settle_ends();
        }
        taken
    }

    /// The element at `index`.
    pub fn get(&self, index: usize) -> Option<Picked<'_>> {
        let (slot, offset) = self.nodes.locate(index)?;
        self.nodes.get(slot)?.get(offset, self.codec)
    }

    /// The elements from `index` on, in `direction`.
    pub fn iter_from(&self, index: usize, direction: Direction) -> Iter<'_> {
        Iter::new(self, index, direction)
    }

    /// All elements from head to tail.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0, Direction::Forward)
    }

    /// All nodes from head to tail, as they lie in memory.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeView<'_>> {
        self.nodes.iter().map(NodeView::new)
    }

    /// Appends a listpack as a node, however large; an empty one is dropped.
    pub fn append_packed(&mut self, listpack: Listpack) {
        let node = Node::packed(listpack);
        if node.count() > 0 {
            self.nodes.push_back(node);
            self.settle_ends();
        }
    }

    /// Appends an element as a node of its own.
    pub fn append_plain(&mut self, bytes: &[u8]) {
        self.nodes.push_back(Node::plain(bytes));
        self.settle_ends();
    }

    /// The listpack, when the list is a single packed node: the case in which a shrunk list may
    /// become a plain listpack again.
    pub fn single_listpack(&self) -> Option<ListpackView<'_>> {
        if self.node_count() != 1 {
            return None;
        }
        self.nodes.get(self.nodes.first()?)?.listpack()
    }

    /// Takes the listpack out of a list that is a single packed node, which leaves it empty.
    pub fn take_single_listpack(&mut self) -> Option<Listpack> {
        self.single_listpack()?;
        let (node, _) = self.nodes.remove(self.nodes.first()?)?;
        node.into_listpack()
    }

    /// Inserts before or after the element at `index`; whether there is one.
    pub fn insert<'e>(&mut self, index: usize, side: Side, element: impl Into<Element<'e>>) -> bool {
        let Some((slot, offset)) = self.nodes.locate(index) else {
            return false;
        };
        let place = match side {
            Side::Before => offset,
            Side::After => offset + 1,
        };
        self.insert_at(slot, place, side, element.into());
        true
    }

    /// Replaces the element at `index`; whether there is one.
    pub fn replace<'e>(&mut self, index: usize, element: impl Into<Element<'e>>) -> bool {
        let element = element.into();
        let Some((slot, offset)) = self.nodes.locate(index) else {
            return false;
        };
        if self.replace_in_node(slot, offset, element) {
            self.settle(slot);
        } else {
            self.insert_at(slot, offset + 1, Side::After, element);
            self.delete_range(index, 1);
        }
        true
    }

    /// Removes up to `count` elements from `index` on; returns how many. Whole nodes go without
    /// being looked into.
    pub fn delete_range(&mut self, index: usize, count: usize) -> usize {
        let end = index.saturating_add(count).min(self.len());
        let total = end.saturating_sub(index);
        let mut left = total;
        while left > 0 {
            // From the end of the range, unless it starts at the head: a range that touches an end
            // of the list, as in LTRIM, then finds each node at once.
            let at = if index == 0 { 0 } else { index + left - 1 };
            let Some((slot, offset)) = self.nodes.locate(at) else {
                break;
            };
            let Some(node_count) = self.nodes.get(slot).map(Node::count) else {
                break;
            };
            let (start, taken) = if index == 0 {
                (0, left.min(node_count))
            } else {
                let taken = left.min(offset + 1);
                (offset + 1 - taken, taken)
            };
            self.delete_in_node(slot, start, taken);
            left -= taken;
        }
        if total > 0 {
            self.settle_ends();
        }
        total
    }

    /// Removes up to `limit` elements that read as `needle`, from one end on; returns how many.
    /// O(n), one pass.
    pub fn remove_matching(&mut self, needle: &[u8], limit: usize, direction: Direction) -> usize {
        let codec = self.codec;
        let (mut cursor, from) = match direction {
            Direction::Forward => (self.nodes.first(), Side::Before),
            Direction::Backward => (self.nodes.last(), Side::After),
        };
        let mut removed = 0;
        while let Some(slot) = cursor.filter(|_| removed < limit) {
            let change = |node: &mut Node| {
                let gone = node.remove_matching(needle, limit - removed, from, codec);
                (gone, node.count())
            };
            let Some((gone, left)) = self.nodes.edit(slot, change) else {
                break;
            };
            removed += gone;
            cursor = match (left, direction) {
                (0, _) => self.remove_and_step(slot, direction),
                (_, Direction::Forward) => self.nodes.next(slot),
                (_, Direction::Backward) => self.nodes.previous(slot),
            };
            if gone > 0 && left > 0 {
                self.settle(slot);
            }
        }
        if removed > 0 {
            self.settle_ends();
        }
        removed
    }

    /// Checks order, counts, the bytes of every node and which nodes are compressed.
    ///
    /// # Errors
    /// The broken invariant.
    pub fn check_invariants(&self) -> Result<(), Corrupt> {
        self.nodes.check_invariants()?;
        let (depth, count) = (self.options.compress_depth(), self.node_count());
        for (index, node) in self.nodes.iter().enumerate() {
            node.check_invariants(self.codec)?;
            let inside = depth > 0 && index >= depth && index + depth < count;
            if node.is_compressed() && !inside {
                return Err(Corrupt("quicklist node near an end is compressed"));
            }
            let mut again = node.clone();
            again.compress(self.codec);
            if inside && again.is_compressed() != node.is_compressed() {
                return Err(Corrupt("quicklist node inside is not compressed"));
            }
        }
        Ok(())
    }

    fn push(&mut self, side: Side, element: Element<'_>) {
        let end = if side == Side::Before { self.nodes.first() } else { self.nodes.last() };
        let text_len = element.text_len();
        if let Some(slot) = end {
            if self.has_room(slot, text_len) && self.push_in_node(slot, side, element) {
                return;
            }
            self.nodes.edit(slot, Node::shrink_to_fit);
        }
        let node = Node::of(element, self.options.is_large(text_len));
        match side {
            Side::Before => self.nodes.push_front(node),
            Side::After => self.nodes.push_back(node),
        }
        self.settle_ends();
    }

    /// Inserts at `place` (0 to the count) of the node at `slot`, or as near as there is room.
    fn insert_at(&mut self, slot: Slot, place: usize, side: Side, element: Element<'_>) {
        let text_len = element.text_len();
        let codec = self.codec;
        if self.has_room(slot, text_len) {
            let inserted = self.nodes.edit(slot, |node| node.insert(place, element, codec));
            if inserted == Some(Ok(())) {
                self.settle(slot);
                return;
            }
        }
        let count = self.nodes.get(slot).map_or(0, Node::count);
        let (at_edge, neighbour) = match side {
            Side::Before => (place == 0, self.nodes.previous(slot)),
            Side::After => (place == count, self.nodes.next(slot)),
        };
        if !at_edge {
            self.insert_by_split(slot, place, side, element);
            return;
        }
        let opposite = if side == Side::Before { Side::After } else { Side::Before };
        if let Some(neighbour) = neighbour.filter(|&neighbour| self.has_room(neighbour, text_len))
            && self.push_in_node(neighbour, opposite, element)
        {
            self.settle(neighbour);
            return;
        }
        self.insert_node(slot, side, Node::of(element, self.options.is_large(text_len)));
    }

    /// Splits the node at `slot` before `place` and puts the element between the halves: into the
    /// one that holds its reference if it has room, else into a node of its own.
    fn insert_by_split(&mut self, slot: Slot, place: usize, side: Side, element: Element<'_>) {
        let codec = self.codec;
        let Some(Some(tail)) = self.nodes.edit(slot, |node| node.split_off(place, codec)) else {
            return;
        };
        let tail_slot = self.nodes.insert_after(slot, tail);
        // Before the reference means at the end of the front half, as in Redis.
        let (half, end) = match side {
            Side::Before => (self.nodes.previous(tail_slot), Side::After),
            Side::After => (Some(tail_slot), Side::Before),
        };
        let text_len = element.text_len();
        let fits = half.filter(|&half| self.has_room(half, text_len));
        if fits.is_some_and(|half| self.push_in_node(half, end, element)) {
            let tail_slot = self.merge_halves(tail_slot);
            self.settle_around(tail_slot);
        } else {
            let node = Node::of(element, self.options.is_large(text_len));
            let new = self.nodes.insert_before(tail_slot, node);
            self.settle_around(new);
        }
        self.settle_ends();
    }

    /// Joins the halves of a split node with their outer neighbours where these have room;
    /// returns where the back half then is.
    fn merge_halves(&mut self, tail_slot: Slot) -> Slot {
        let tail_slot = self.merge_with_next(tail_slot);
        let front = self.nodes.previous(tail_slot);
        let Some(outer) = front.and_then(|front| self.nodes.previous(front)) else {
            return tail_slot;
        };
        let before = self.node_count();
        let outer = self.merge_with_next(outer);
        let front = if self.node_count() < before { Some(outer) } else { front };
        front.and_then(|front| self.nodes.next(front)).unwrap_or(tail_slot)
    }

    fn insert_node(&mut self, slot: Slot, side: Side, node: Node) {
        let new = match side {
            Side::Before => self.nodes.insert_before(slot, node),
            Side::After => self.nodes.insert_after(slot, node),
        };
        self.settle(new);
        self.settle_ends();
    }

    /// Whether the element could be replaced without another node.
    fn replace_in_node(&mut self, slot: Slot, offset: usize, element: Element<'_>) -> bool {
        let codec = self.codec;
        let large = self.options.is_large(element.text_len());
        let change = |node: &mut Node| match (node.is_plain(), large) {
            (true, true) => {
                *node = Node::plain(&element.to_vec());
                true
            }
            (false, false) => node.replace(offset, element, codec).is_ok(),
            _ => false,
        };
        self.nodes.edit(slot, change).unwrap_or(false)
    }

    /// Removes `count` elements from `offset` on, which the node has.
    fn delete_in_node(&mut self, slot: Slot, offset: usize, count: usize) {
        let codec = self.codec;
        let whole = self.nodes.get(slot).is_some_and(|node| node.count() == count);
        if whole {
            self.nodes.remove(slot);
        } else {
            self.nodes.edit(slot, |node| node.delete_range(offset, count, codec));
            self.settle(slot);
        }
    }

    /// Removes an emptied node; returns the one to go on with.
    fn remove_and_step(&mut self, slot: Slot, direction: Direction) -> Option<Slot> {
        let (_, following) = self.nodes.remove(slot)?;
        match (direction, following) {
            (Direction::Forward, following) => following,
            (Direction::Backward, Some(following)) => self.nodes.previous(following),
            (Direction::Backward, None) => self.nodes.last(),
        }
    }

    fn has_room(&self, slot: Slot, text_len: usize) -> bool {
        self.nodes.get(slot).is_some_and(|node| {
            !node.is_plain() && self.options.has_room(node.raw_len(), node.count(), text_len)
        })
    }

    fn push_in_node(&mut self, slot: Slot, side: Side, element: Element<'_>) -> bool {
        let codec = self.codec;
        self.nodes.edit(slot, |node| node.push(side, element, codec)) == Some(Ok(()))
    }

    /// Joins the node at `slot` and the next when one node may hold both; returns where the node
    /// at `slot` then is.
    fn merge_with_next(&mut self, slot: Slot) -> Slot {
        let Some(next) = self.nodes.next(slot) else {
            return slot;
        };
        if !self.may_merge(slot, next) {
            return slot;
        }
        let Some((right, following)) = self.nodes.remove(next) else {
            return slot;
        };
        // Removing may have joined chunks: find the left node again from what follows.
        let left = following.map_or_else(|| self.nodes.last(), |at| self.nodes.previous(at));
        let left = left.unwrap_or(slot);
        let codec = self.codec;
        if self.nodes.edit(left, |node| node.append(&right, codec)) != Some(Ok(())) {
            let right = self.nodes.insert_after(left, right);
            return self.nodes.previous(right).unwrap_or(left);
        }
        self.settle(left);
        left
    }

    fn may_merge(&self, left: Slot, right: Slot) -> bool {
        let (Some(left), Some(right)) = (self.nodes.get(left), self.nodes.get(right)) else {
            return false;
        };
        let bytes = (left.raw_len() + right.raw_len()).saturating_sub(EMPTY_BYTES);
        !left.is_plain() && !right.is_plain() && !self.options.exceeds(bytes, left.count() + right.count())
    }

    /// Compresses or decompresses the node at `slot` according to its place.
    fn settle(&mut self, slot: Slot) {
        let depth = self.options.compress_depth();
        if depth == 0 {
            return;
        }
        let (inside, codec) = (self.nodes.is_inside(slot, depth), self.codec);
        self.nodes.edit(slot, |node| match inside {
            true => node.compress(codec),
            false => node.decompress(codec),
        });
    }

    /// `settle` for a node and its two neighbours.
    fn settle_around(&mut self, slot: Slot) {
        let neighbours = [self.nodes.previous(slot), Some(slot), self.nodes.next(slot)];
        neighbours.into_iter().flatten().for_each(|slot| self.settle(slot));
    }

    /// Settles the nodes within the depth at both ends and those an insertion pushed beyond it:
    /// only there does the state of a node change when nodes come or go. O(depth).
    fn settle_ends(&mut self) {
        let depth = self.options.compress_depth();
        if depth == 0 {
            return;
        }
        for steps in 0..(depth + MAX_NEW_NODES).min(self.node_count()) {
            let ends = [self.nodes.nth_from_front(steps), self.nodes.nth_from_back(steps)];
            ends.into_iter().flatten().for_each(|slot| self.settle(slot));
        }
    }
}

impl fmt::Debug for Quicklist {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.nodes()).finish()
    }
}
