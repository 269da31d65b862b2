//! The entries of a stream and its counters.
//!
//! Owns blocks (`block.rs`) in the order of their keys, and Redis's rules: when a new block
//! begins, how trimming counts, what is known about the number of entries before an id.

use crate::base::sampled::sampled_sum;
use crate::ds::listpack::{Listpack, Position, TooLarge};
use crate::ds::ordered_map::OrderedMap;
use crate::sys::data_alloc::Mover;
use crate::value::stream::StreamId;
use crate::value::stream::block::{self, Block, Entry};
use crate::value::stream::group::{ENTRIES_READ_UNKNOWN, Group};

/// The most bytes of all fields and values of one entry, and of a block, as in Redis: far below
/// what a listpack's header can say.
pub const ENTRY_BYTES_MAX: usize = 1 << 30;

/// When the last block is full (`stream-node-max-bytes`, `stream-node-max-entries`).
#[derive(Clone, Copy, Debug)]
pub struct BlockLimits {
    /// 0: no limit but [`ENTRY_BYTES_MAX`].
    pub bytes: usize,
    /// 0: no limit.
    pub entries: usize,
}

/// What XADD was told about the new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdChoice {
    /// `*`: from the clock.
    Auto {
        now_ms: u64,
    },
    /// `ms-*`: the next sequence number of this millisecond.
    AutoSequence {
        ms: u64,
    },
    Given(StreamId),
}

/// Why an entry was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The id is not above the last one.
    IdTooSmall,
    TooLarge,
}

/// Which entries to trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimTo {
    /// At most so many entries stay.
    MaxLen(u64),
    /// Entries below this id go.
    MinId(StreamId),
}

/// How to trim.
#[derive(Clone, Copy, Debug)]
pub struct Trim {
    pub to: TrimTo,
    /// Only whole blocks go.
    pub approximately: bool,
    /// The most entries that go; 0: no limit. A block that would exceed it stays.
    pub limit: u64,
}

/// Entries and counters of a stream.
#[derive(Clone, Debug, Default)]
pub struct Log {
    blocks: OrderedMap<StreamId, Listpack>,
    pub(super) length: u64,
    pub(super) last_id: StreamId,
    pub(super) first_id: StreamId,
    pub(super) max_deleted_id: StreamId,
    pub(super) entries_added: u64,
}

impl Log {
    /// Entries that are not deleted.
    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The id of the last entry ever added (or what XSETID said).
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The id of the first entry that is not deleted, `0-0` when there is none.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The largest id that XDEL deleted.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// Entries ever added.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// Drops all blocks and calls `pause` now and then; the counters stay.
    pub(super) fn clear_pausing(&mut self, pause: &mut dyn FnMut()) {
        self.blocks.clear_pausing(pause);
    }

    /// One step of defragmentation: the blocks of one leaf of their map; see there.
    pub(super) fn relocate(&mut self, position: u64, mover: &mut Mover) -> u64 {
        self.blocks.relocate(position, mover)
    }

    /// The blocks, by key.
    pub fn blocks(&self) -> &OrderedMap<StreamId, Listpack> {
        &self.blocks
    }

    /// Puts a block that was read from a file; `false` if its key is taken.
    pub(super) fn add_block(&mut self, key: StreamId, listpack: Listpack) -> bool {
        if self.blocks.contains(&key) {
            return false;
        }
        self.blocks.insert(key, listpack);
        true
    }

    /// Chooses the id of the next entry.
    ///
    /// # Errors
    /// `IdTooSmall`: it would not be above the last one.
    pub fn next_id(&self, choice: IdChoice) -> Result<StreamId, AppendError> {
        let last = self.last_id;
        let id = match choice {
            IdChoice::Auto { now_ms } if now_ms > last.ms => StreamId::new(now_ms, 0),
            IdChoice::Auto { .. } => last.next().ok_or(AppendError::IdTooSmall)?,
            IdChoice::AutoSequence { ms } if ms == last.ms => {
                StreamId::new(ms, last.seq.checked_add(1).ok_or(AppendError::IdTooSmall)?)
            }
            IdChoice::AutoSequence { ms } => StreamId::new(ms, 0),
            IdChoice::Given(id) => id,
        };
        if id > last { Ok(id) } else { Err(AppendError::IdTooSmall) }
    }

    /// Appends an entry. O(its size), amortised.
    ///
    /// # Errors
    /// The id must be above the last one, and the entry not too large; nothing is changed then.
    pub fn append<'f, P>(
        &mut self,
        choice: IdChoice,
        pairs: P,
        limits: BlockLimits,
    ) -> Result<StreamId, AppendError>
    where
        P: ExactSizeIterator<Item = (&'f [u8], &'f [u8])> + Clone,
    {
        let id = self.next_id(choice)?;
        let bytes: usize = pairs.clone().map(|(field, value)| field.len() + value.len()).sum();
        if bytes > ENTRY_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        if self.needs_block(bytes, limits) {
            if let Some((_, full)) = self.blocks.last_mut() {
                full.shrink_to_fit();
            }
            let block = block::begin(pairs.clone().map(|(field, _)| field)).map_err(too_large)?;
            self.blocks.insert(id, block);
        }
        let (key, listpack) = self.blocks.last_mut().expect("there is a block, or one was just made");
        block::append(listpack, *key, id, pairs).map_err(too_large)?;
        self.length += 1;
        self.entries_added = self.entries_added.wrapping_add(1);
        self.last_id = id;
        if self.length == 1 {
            self.first_id = id;
        }
        Ok(id)
    }

    /// Whether an entry of so many bytes begins a block.
    fn needs_block(&self, bytes: usize, limits: BlockLimits) -> bool {
        let Some((key, listpack)) = self.blocks.last() else { return true };
        let limit = if limits.bytes == 0 { ENTRY_BYTES_MAX } else { limits.bytes.min(ENTRY_BYTES_MAX) };
        listpack.byte_len() + bytes >= limit
            || (limits.entries > 0 && Block::new(*key, listpack.view()).total() >= limits.entries as u64)
    }

    /// Entries from `start` to `end`, both included, without deleted ones.
    pub fn range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let first = self.blocks.floor(&start).map_or(start, |(key, _)| *key);
        let blocks = self.blocks.iter_from(&first);
        blocks
            .flat_map(|(key, listpack)| Block::new(*key, listpack.view()).entries())
            .filter(move |entry| entry.id >= start && !entry.is_deleted())
            .take_while(move |entry| entry.id <= end)
    }

    /// As [`Self::range`], from `end` to `start`.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let blocks = self.blocks.iter_back_from(&end);
        blocks
            .flat_map(|(key, listpack)| Block::new(*key, listpack.view()).entries_back())
            .filter(move |entry| entry.id <= end && !entry.is_deleted())
            .take_while(move |entry| entry.id >= start)
    }

    /// The entry with this id, if it is there and not deleted.
    pub fn entry(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// The id of the last entry that is not deleted.
    pub fn last_live_id(&self) -> Option<StreamId> {
        self.range_back(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id)
    }

    /// The id of the first entry, deleted ones included; the largest id when there is none.
    pub fn first_stored_id(&self) -> StreamId {
        let first = self.blocks.first();
        let entry = first.and_then(|(key, listpack)| Block::new(*key, listpack.view()).entries().next());
        entry.map_or(StreamId::MAX, |entry| entry.id)
    }

    /// Deletes one entry; returns whether it was there. The caller looks after the first id and
    /// the largest deleted one ([`Self::note_deleted`]).
    fn delete_one(&mut self, id: StreamId) -> bool {
        let Some((key, listpack)) = self.blocks.floor(&id) else { return false };
        let key = *key;
        let block = Block::new(key, listpack.view());
        let Some(mark) =
            block.entries().find(|entry| entry.id == id && !entry.is_deleted()).map(|entry| entry.mark())
        else {
            return false;
        };
        if self.mark_deleted(key, &[mark]) <= 0 {
            self.blocks.remove(&key);
        }
        self.length = self.length.saturating_sub(1);
        true
    }

    /// Marks entries of a block and gives how many are left in it.
    fn mark_deleted(&mut self, key: StreamId, marks: &[(Position, i64)]) -> i64 {
        // A counter that grows by a few bytes cannot exceed a listpack that entries still fit in;
        // a hostile one that is full to the last byte counts as empty.
        self.blocks.get_mut(&key).and_then(|block| block::mark_deleted(block, marks).ok()).unwrap_or(0)
    }

    /// Deletes entries by id (XDEL); returns how many were there.
    pub fn delete(&mut self, ids: &[StreamId]) -> usize {
        let mut deleted = 0;
        let mut first_gone = false;
        for &id in ids {
            if self.delete_one(id) {
                first_gone |= id == self.first_id;
                self.max_deleted_id = self.max_deleted_id.max(id);
                deleted += 1;
            }
        }
        if self.length == 0 {
            if deleted > 0 {
                self.first_id = StreamId::MIN;
            }
        } else if first_gone {
            self.find_first_id();
        }
        deleted
    }

    /// Looks for the first entry that is not deleted.
    pub(super) fn find_first_id(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id);
        self.first_id = first.unwrap_or(StreamId::MAX);
    }

    /// Trims from the beginning; returns how many entries went. Whole blocks cost O(log n) each.
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        let mut deleted = 0;
        while let Some((key, listpack)) = self.blocks.first() {
            if matches!(trim.to, TrimTo::MaxLen(most) if self.length <= most) {
                break;
            }
            let key = *key;
            let block = Block::new(key, listpack.view());
            let live = block.live();
            if trim.limit > 0 && deleted + live > trim.limit {
                break;
            }
            if self.goes_whole(&block, trim.to) {
                self.blocks.remove(&key);
                self.length = self.length.saturating_sub(live);
                deleted += live;
                continue;
            }
            if !trim.approximately {
                deleted += self.trim_within(key, trim.to);
            }
            break;
        }
        if self.length == 0 {
            self.first_id = StreamId::MIN;
        } else if deleted > 0 {
            self.find_first_id();
        }
        deleted
    }

    fn goes_whole(&self, block: &Block<'_>, to: TrimTo) -> bool {
        match to {
            TrimTo::MaxLen(most) => self.length.saturating_sub(block.live()) >= most,
            TrimTo::MinId(id) => block.entries_back().next().is_none_or(|last| last.id < id),
        }
    }

    /// Marks the first entries of the first block. As in Redis the block stays even if no entry is
    /// left in it, which happens when its last ones had been deleted before.
    fn trim_within(&mut self, key: StreamId, to: TrimTo) -> u64 {
        let Some(listpack) = self.blocks.get(&key) else { return 0 };
        let mut marks = Vec::new();
        for entry in Block::new(key, listpack.view()).entries() {
            let enough = match to {
                TrimTo::MaxLen(most) => self.length.saturating_sub(marks.len() as u64) <= most,
                TrimTo::MinId(id) => entry.id >= id,
            };
            if enough {
                break;
            }
            if !entry.is_deleted() {
                marks.push(entry.mark());
            }
        }
        if !marks.is_empty() {
            self.mark_deleted(key, &marks);
        }
        self.length = self.length.saturating_sub(marks.len() as u64);
        marks.len() as u64
    }

    /// Whether XDEL took an entry from `start` on. Only the largest deleted id is known, so this
    /// may say no wrongly only before `start`.
    pub fn has_deleted_from(&self, start: StreamId) -> bool {
        self.length > 0
            && self.max_deleted_id != StreamId::MIN
            && self.first_id <= self.max_deleted_id
            && start <= self.max_deleted_id
    }

    /// How many entries were ever added up to `id`, where the counters tell; `None` within the
    /// stream, for ids to come, and when XDEL has made holes.
    pub fn entries_up_to(&self, id: StreamId) -> Option<i64> {
        let added = self.entries_added.cast_signed();
        if added == 0 {
            return Some(0);
        }
        if id == self.last_id || (self.length == 0 && id <= self.last_id) {
            return Some(added);
        }
        if id > self.last_id {
            return None;
        }
        let gapless = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        let before = added.wrapping_sub(self.length.cast_signed());
        if gapless && id < self.first_id {
            return Some(before);
        }
        (gapless && id == self.first_id).then(|| before.wrapping_add(1))
    }

    /// A group reads on to the entry `id`: its last id and its count of entries read follow.
    pub fn note_read(&self, group: &mut Group, id: StreamId) {
        if id <= group.last_id {
            return;
        }
        if group.entries_read != ENTRIES_READ_UNKNOWN && !self.has_deleted_from(id) {
            group.entries_read = group.entries_read.wrapping_add(1);
        } else if self.entries_added != 0 {
            group.entries_read = self.entries_up_to(id).unwrap_or(ENTRIES_READ_UNKNOWN);
        }
        group.last_id = id;
    }

    /// Bytes of the data region that the blocks occupy, by the first `samples` of them: exact where
    /// there are no more. O(samples).
    pub fn memory_bytes(&self, samples: usize) -> usize {
        let sizes = self.blocks.iter().map(|(_, listpack)| listpack.memory_bytes());
        self.blocks.allocated_bytes() + sampled_sum(self.blocks.len(), samples, sizes)
    }
}

fn too_large(_: TooLarge) -> AppendError {
    AppendError::TooLarge
}
