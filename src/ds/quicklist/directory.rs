//! The order of the nodes of a quicklist.
//!
//! Owns the nodes, in chunks that know how many elements they hold:
//!
//! ```text
//!   chunks   [ 812 elements | 9201 | 40 ]         a queue, walked when an index is looked up
//!               |             |      |
//!   nodes    [n n n n n]  [n .. n]  [n]           deques of at most 128 nodes of 24 bytes
//! ```
//!
//! Two neighbouring chunks hold more than 64 nodes together, so there are at most N/32 + 1.
//!
//! Trade-off: Redis links the nodes, so an index costs a walk over all of them, one cache miss
//! each. Here it costs N/64 or so chunk counters and at most 128 node counters, both in
//! consecutive memory: for 125,000 nodes (1 GB of 8 KB listpacks) about 1,000 and 64 in the mean,
//! microseconds. Both ends stay O(1); a node in the middle moves at most 64 others (1.5 KiB). A tree
//! with counts would be O(log N), but costs more at the ends, where lists live.

use super::node::Node;
use crate::ds::corrupt::Corrupt;
use crate::ds::deque::DataDeque;
use crate::sys::data_alloc::{Cursor, Mover, Relocate};

/// The most nodes in a chunk; few in unit tests, so that these split and join chunks often.
const CHUNK_NODES: usize = if cfg!(test) { 8 } else { 128 };

/// Nodes that one step of defragmentation looks at: 64 KiB to copy with the usual 8 KiB a node.
const RELOCATED_NODES: usize = 8;

/// Where a node is. Every insertion or removal of a node makes all slots stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    chunk: usize,
    node: usize,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    nodes: DataDeque<Node>,
    elements: usize,
}

impl Chunk {
    fn insert(&mut self, at: usize, node: Node) {
        self.elements += node.count();
        self.nodes.insert(at, node);
    }

    fn is_full(&self) -> bool {
        self.nodes.len() >= CHUNK_NODES
    }
}

/// All nodes of a list in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    chunks: DataDeque<Chunk>,
    nodes: usize,
    elements: usize,
}

impl Directory {
    pub(super) fn node_count(&self) -> usize {
        self.nodes
    }

    pub(super) fn element_count(&self) -> usize {
        self.elements
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.chunks.iter().flat_map(|chunk| chunk.nodes.iter())
    }

    pub(super) fn first(&self) -> Option<Slot> {
        (self.nodes > 0).then_some(Slot { chunk: 0, node: 0 })
    }

    pub(super) fn last(&self) -> Option<Slot> {
        self.end_of_chunk(self.chunks.len().checked_sub(1)?)
    }

    pub(super) fn next(&self, slot: Slot) -> Option<Slot> {
        if slot.node + 1 < self.chunks.get(slot.chunk)?.nodes.len() {
            return Some(Slot { node: slot.node + 1, ..slot });
        }
        (slot.chunk + 1 < self.chunks.len()).then_some(Slot { chunk: slot.chunk + 1, node: 0 })
    }

    pub(super) fn previous(&self, slot: Slot) -> Option<Slot> {
        match slot.node.checked_sub(1) {
            Some(node) => Some(Slot { node, ..slot }),
            None => self.end_of_chunk(slot.chunk.checked_sub(1)?),
        }
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Node> {
        self.chunks.get(slot.chunk)?.nodes.get(slot.node)
    }

    /// Runs `change` on a node and keeps the counts right.
    pub(super) fn edit<R>(&mut self, slot: Slot, change: impl FnOnce(&mut Node) -> R) -> Option<R> {
        let chunk = self.chunks.get_mut(slot.chunk)?;
        let node = chunk.nodes.get_mut(slot.node)?;
        let before = node.count();
        let result = change(node);
        let after = node.count();
        chunk.elements = chunk.elements - before + after;
        self.elements = self.elements - before + after;
        Some(result)
    }

    /// The node that holds the element at `index`, and its offset there. Walks from the nearer
    /// end: O(nodes / 64 + 128).
    pub(super) fn locate(&self, index: usize) -> Option<(Slot, usize)> {
        if index >= self.elements {
            return None;
        }
        if index < self.elements / 2 { self.locate_forward(index) } else { self.locate_back(index) }
    }

    fn locate_forward(&self, index: usize) -> Option<(Slot, usize)> {
        let mut left = index;
        for (chunk_index, chunk) in self.chunks.iter().enumerate() {
            if left >= chunk.elements {
                left -= chunk.elements;
                continue;
            }
            for (node_index, node) in chunk.nodes.iter().enumerate() {
                if left < node.count() {
                    return Some((Slot { chunk: chunk_index, node: node_index }, left));
                }
                left -= node.count();
            }
        }
        None
    }

    fn locate_back(&self, index: usize) -> Option<(Slot, usize)> {
        // How many elements from the end on: 1 is the last.
        let mut left = self.elements - index;
        for (chunk_index, chunk) in self.chunks.iter().enumerate().rev() {
            if left > chunk.elements {
                left -= chunk.elements;
                continue;
            }
            for (node_index, node) in chunk.nodes.iter().enumerate().rev() {
                if left <= node.count() {
                    let slot = Slot { chunk: chunk_index, node: node_index };
                    return Some((slot, node.count() - left));
                }
                left -= node.count();
            }
        }
        None
    }

    /// The node `steps` after the first.
    pub(super) fn nth_from_front(&self, steps: usize) -> Option<Slot> {
        let mut left = steps;
        for (index, chunk) in self.chunks.iter().enumerate() {
            if left < chunk.nodes.len() {
                return Some(Slot { chunk: index, node: left });
            }
            left -= chunk.nodes.len();
        }
        None
    }

    /// The node `steps` before the last.
    pub(super) fn nth_from_back(&self, steps: usize) -> Option<Slot> {
        let mut left = steps;
        for (index, chunk) in self.chunks.iter().enumerate().rev() {
            if let Some(node) = chunk.nodes.len().checked_sub(left + 1) {
                return Some(Slot { chunk: index, node });
            }
            left -= chunk.nodes.len();
        }
        None
    }

    /// Whether at least `depth` nodes are on either side of the slot. O(depth).
    pub(super) fn is_inside(&self, slot: Slot, depth: usize) -> bool {
        let outside = |start: usize, lengths: &mut dyn Iterator<Item = usize>| {
            let mut nodes = start;
            while nodes < depth {
                let Some(more) = lengths.next() else {
                    return true;
                };
                nodes += more;
            }
            false
        };
        let Some(chunk) = self.chunks.get(slot.chunk) else {
            return false;
        };
        let after = chunk.nodes.len().saturating_sub(slot.node + 1);
        let length = |chunk: &Chunk| chunk.nodes.len();
        !outside(slot.node, &mut self.chunks.range(0..slot.chunk).rev().map(length))
            && !outside(after, &mut self.chunks.range(slot.chunk + 1..usize::MAX).map(length))
    }

    pub(super) fn push_back(&mut self, node: Node) {
        let end = self.chunks.len();
        let chunk = end.saturating_sub(1);
        let at = self.chunks.back().map_or(0, |last| last.nodes.len());
        self.insert_in(chunk, at, node);
    }

    pub(super) fn push_front(&mut self, node: Node) {
        self.insert_in(0, 0, node);
    }

    /// Inserts before the node at `slot`; returns the new node's slot.
    pub(super) fn insert_before(&mut self, slot: Slot, node: Node) -> Slot {
        self.insert_in(slot.chunk, slot.node, node)
    }

    /// Inserts after the node at `slot`; returns the new node's slot.
    pub(super) fn insert_after(&mut self, slot: Slot, node: Node) -> Slot {
        self.insert_in(slot.chunk, slot.node + 1, node)
    }

    fn insert_in(&mut self, chunk: usize, at: usize, node: Node) -> Slot {
        self.nodes += 1;
        self.elements += node.count();
        let slot = self.make_room(chunk, at);
        if let Some(chunk) = self.chunks.get_mut(slot.chunk) {
            chunk.insert(slot.node, node);
        }
        slot
    }

    /// Finds or makes a chunk with room for a node at place `at` of `chunk`. At a chunk's edge the
    /// neighbour or a new chunk takes it, so that pushes at an end leave full chunks behind.
    fn make_room(&mut self, chunk: usize, at: usize) -> Slot {
        let Some(current) = self.chunks.get_mut(chunk) else {
            self.chunks.push_back(Chunk::default());
            return Slot { chunk: self.chunks.len() - 1, node: 0 };
        };
        let len = current.nodes.len();
        if !current.is_full() {
            return Slot { chunk, node: at.min(len) };
        }
        if at >= len {
            if self.chunks.get(chunk + 1).is_none_or(Chunk::is_full) {
                self.chunks.insert(chunk + 1, Chunk::default());
            }
            return Slot { chunk: chunk + 1, node: 0 };
        }
        if at == 0 {
            return self.make_room_before(chunk);
        }
        self.halve(chunk);
        let half = CHUNK_NODES / 2;
        if at <= half { Slot { chunk, node: at } } else { Slot { chunk: chunk + 1, node: at - half } }
    }

    fn make_room_before(&mut self, chunk: usize) -> Slot {
        let before = chunk.checked_sub(1).and_then(|before| self.chunks.get(before));
        match before.filter(|before| !before.is_full()) {
            Some(before) => Slot { chunk: chunk - 1, node: before.nodes.len() },
            None => {
                self.chunks.insert(chunk, Chunk::default());
                Slot { chunk, node: 0 }
            }
        }
    }

    fn halve(&mut self, chunk: usize) {
        if let Some(current) = self.chunks.get_mut(chunk) {
            let nodes = current.nodes.split_off(CHUNK_NODES / 2);
            let elements = nodes.iter().map(Node::count).sum();
            current.elements -= elements;
            self.chunks.insert(chunk + 1, Chunk { nodes, elements });
        }
    }

    /// Removes a node; also returns the slot of the node that followed it.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<(Node, Option<Slot>)> {
        let chunk = self.chunks.get_mut(slot.chunk)?;
        let node = chunk.nodes.remove(slot.node)?;
        chunk.elements -= node.count();
        self.nodes -= 1;
        self.elements -= node.count();
        let emptied = chunk.nodes.is_empty();
        let at_end = slot.node >= chunk.nodes.len();
        let mut following = if at_end { Slot { chunk: slot.chunk + 1, node: 0 } } else { slot };
        if emptied {
            self.chunks.remove(slot.chunk);
            following.chunk = slot.chunk;
        } else {
            following = self.merge_next(slot.chunk, following);
            if let Some(before) = slot.chunk.checked_sub(1) {
                following = self.merge_next(before, following);
            }
        }
        let following = (following.chunk < self.chunks.len()).then_some(following);
        Some((node, following))
    }

    /// Joins `chunk` and the one after it when together they are at most half a chunk; returns
    /// where the node at `watched` then is.
    fn merge_next(&mut self, chunk: usize, watched: Slot) -> Slot {
        let len_of = |at: usize| self.chunks.get(at).map(|chunk| chunk.nodes.len());
        let (Some(len), Some(next_len)) = (len_of(chunk), len_of(chunk + 1)) else {
            return watched;
        };
        if len + next_len > CHUNK_NODES / 2 {
            return watched;
        }
        if let (Some(next), Some(current)) = (self.chunks.remove(chunk + 1), self.chunks.get_mut(chunk)) {
            current.nodes.append(next.nodes);
            current.elements += next.elements;
        }
        match watched.chunk {
            at if at <= chunk => watched,
            at if at == chunk + 1 => Slot { chunk, node: len + watched.node },
            at => Slot { chunk: at - 1, node: watched.node },
        }
    }

    fn end_of_chunk(&self, chunk: usize) -> Option<Slot> {
        let node = self.chunks.get(chunk)?.nodes.len().checked_sub(1)?;
        Some(Slot { chunk, node })
    }

    /// Drops all nodes and calls `pause` after each chunk.
    pub(super) fn clear_pausing(&mut self, pause: &mut dyn FnMut()) {
        (self.nodes, self.elements) = (0, 0);
        while let Some(chunk) = self.chunks.remove(self.chunks.len().wrapping_sub(1)) {
            drop(chunk);
            pause();
        }
    }

    /// One step of defragmentation: some nodes of chunk number `stage`, from number `position` on,
    /// and the lists themselves where they begin. `None`: done.
    pub(super) fn relocate(&mut self, cursor: Cursor, mover: &mut Mover) -> Option<Cursor> {
        if cursor == Cursor::default() {
            self.chunks.relocate(mover);
        }
        let chunk = self.chunks.get_mut(cursor.stage as usize)?;
        if cursor.position == 0 {
            chunk.nodes.relocate(mover);
        }
        let first = cursor.position as usize;
        let end = chunk.nodes.len().min(first + RELOCATED_NODES);
        for at in first..end {
            if let Some(node) = chunk.nodes.get_mut(at) {
                node.relocate(mover);
            }
        }
        Some(cursor.after(if end < chunk.nodes.len() { end as u64 } else { 0 }))
    }

    /// Bytes held from the allocator for the directory itself.
    pub(super) fn memory_bytes(&self) -> usize {
        let nodes: usize = self.chunks.iter().map(|chunk| chunk.nodes.memory_bytes()).sum();
        self.chunks.memory_bytes() + nodes
    }

    pub(super) fn check_invariants(&self) -> Result<(), Corrupt> {
        let mut totals = (0, 0);
        for chunk in self.chunks.iter() {
            let elements: usize = chunk.nodes.iter().map(Node::count).sum();
            if chunk.nodes.is_empty() || chunk.nodes.len() > CHUNK_NODES {
                return Err(Corrupt("quicklist chunk empty or too long"));
            }
            if elements != chunk.elements {
                return Err(Corrupt("quicklist chunk miscounted"));
            }
            totals = (totals.0 + chunk.nodes.len(), totals.1 + elements);
        }
        if totals != (self.nodes, self.elements) {
            return Err(Corrupt("quicklist miscounted"));
        }
        let sparse = self.chunks.iter().zip(self.chunks.iter().skip(1));
        if sparse.into_iter().any(|(a, b)| a.nodes.len() + b.nodes.len() <= CHUNK_NODES / 2) {
            return Err(Corrupt("quicklist chunks should have been joined"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Directory, Slot};
    use crate::ds::quicklist::node::{Codec, Node};
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    /// A node of `1 + id % 3` elements that can be told apart by its first one.
    fn node(id: usize) -> Node {
        let mut listpack = crate::ds::listpack::Listpack::new();
        (0..=id % 3).for_each(|_| listpack.push_back(id as i64).expect("small"));
        Node::packed(listpack)
    }

    fn id_at(directory: &Directory, slot: Slot) -> Option<i64> {
        directory.get(slot)?.get(0, &Codec::NONE)?.as_element().as_integer()
    }

    /// The slot of the node number `rank`, by single steps from the front.
    fn slot_of(directory: &Directory, rank: usize) -> Option<Slot> {
        (0..rank).try_fold(directory.first()?, |slot, _| directory.next(slot))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn agrees_with_a_vector(edits in vec((0u8..8, any::<u16>()), 0..160)) {
            let mut directory = Directory::default();
            let mut model: Vec<i64> = Vec::new();
            for (id, (edit, at)) in edits.into_iter().enumerate() {
                let rank = usize::from(at) % model.len().max(1);
                match (edit, slot_of(&directory, rank)) {
                    (0, _) => {
                        directory.push_back(node(id));
                        model.push(id as i64);
                    }
                    (1, _) | (_, None) => {
                        directory.push_front(node(id));
                        model.insert(0, id as i64);
                    }
                    (2 | 3, Some(slot)) => {
                        let new = directory.insert_before(slot, node(id));
                        prop_assert_eq!(id_at(&directory, new), Some(id as i64));
                        model.insert(rank, id as i64);
                    }
                    (4 | 5, Some(slot)) => {
                        let new = directory.insert_after(slot, node(id));
                        prop_assert_eq!(id_at(&directory, new), Some(id as i64));
                        model.insert(rank + 1, id as i64);
                    }
                    (edit, Some(mut slot)) => {
                        // A run of removals goes on from the slot each one returns.
                        for _ in 0..if edit == 6 { 1 } else { 9 } {
                            let (removed, following) = directory.remove(slot).expect("there");
                            prop_assert_eq!(removed.count() as i64, 1 + model.remove(rank) % 3);
                            let next = following.and_then(|slot| id_at(&directory, slot));
                            prop_assert_eq!(next, model.get(rank).copied());
                            let Some(following) = following else { break };
                            slot = following;
                        }
                    }
                }
                prop_assert_eq!(directory.check_invariants(), Ok(()));
            }
            check_reads(&directory, &model)?;
        }
    }

    fn check_reads(directory: &Directory, model: &[i64]) -> Result<(), proptest::test_runner::TestCaseError> {
        let mut index = 0;
        for (rank, &id) in model.iter().enumerate() {
            let slot = directory.nth_from_front(rank).expect("there");
            prop_assert_eq!(id_at(directory, slot), Some(id));
            prop_assert_eq!(directory.nth_from_back(model.len() - 1 - rank), Some(slot));
            prop_assert_eq!(slot_of(directory, rank), Some(slot));
            let before = rank.checked_sub(1).and_then(|rank| directory.nth_from_front(rank));
            prop_assert_eq!(directory.previous(slot), before);
            for depth in 0..12 {
                let inside = rank >= depth && rank + depth < model.len();
                prop_assert_eq!(directory.is_inside(slot, depth), inside, "{} {}", rank, depth);
            }
            for offset in 0..=(id as usize % 3) {
                prop_assert_eq!(directory.locate(index), Some((slot, offset)));
                index += 1;
            }
        }
        prop_assert_eq!(directory.locate(index), None);
        prop_assert_eq!(directory.nth_from_front(model.len()), None);
        prop_assert_eq!(directory.nth_from_back(model.len()), None);
        Ok(())
    }
}
