//! The stream type: an append-only log of entries with consumer groups.
//!
//! Owns the pair of log and groups, and the counters that tie them (entries read, lag).
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | log | a boxed [`Stream`], one thin pointer in the entry | `stream` |
//!
//! ```text
//!  entry ─► Stream { log: key ─► listpack of up to 100 entries, ..., groups: name ─► Group }
//! ```
//! An entry of one 32-byte value takes about 45 bytes; see `block` for the layout, `group` for
//! what is pending.

pub mod block;
pub mod group;
pub mod id;
pub mod log;
#[cfg(test)]
mod tests;

use crate::ds::corrupt::Corrupt;
use crate::ds::listpack::Listpack;
use crate::ds::ordered_map::OrderedMap;
use crate::sys::data_alloc::{Cursor, DataBox, Mover};
use std::ops::{Deref, DerefMut};

pub use block::{Block, Entry};
pub use group::{Consumer, ConsumerNumber, ENTRIES_READ_UNKNOWN, Group, Name, Pending};
pub use id::StreamId;
pub use log::{AppendError, BlockLimits, IdChoice, Log, Trim, TrimTo};

/// Log and groups.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    log: Log,
    groups: OrderedMap<Name, DataBox<Group>>,
}

/// The numbers a file keeps beside the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    pub length: u64,
    pub last_id: StreamId,
    pub first_id: StreamId,
    pub max_deleted_id: StreamId,
    pub entries_added: u64,
}

/// An owned stream. The order of the variants is that of `value/parts.rs`.
#[derive(Debug)]
pub enum StreamValue {
    Log(DataBox<Stream>),
}

/// A stream seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum StreamRef<'a> {
    Log(&'a Stream),
}

impl Stream {
    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// All groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, &**group))
    }

    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name).map(|group| &**group)
    }

    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.groups.get_mut(name).map(|group| &mut **group)
    }

    /// A group to be changed, beside the entries that it reads.
    pub fn log_and_group_mut(&mut self, name: &[u8]) -> Option<(&Log, &mut Group)> {
        let group = self.groups.get_mut(name)?;
        Some((&self.log, group))
    }

    /// Adds a group; `false` if the name is taken.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains(name) {
            return false;
        }
        self.groups.insert(Name::new(name), DataBox::new(group));
        true
    }

    /// Removes a group; returns whether it was there.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        self.groups.remove(name).is_some()
    }

    /// Entries that a group has yet to read; `None` where the counters cannot tell.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let added = self.log.entries_added().cast_signed();
        if added == 0 {
            return Some(0);
        }
        if group.entries_read != ENTRIES_READ_UNKNOWN && !self.log.has_deleted_from(group.last_id) {
            return Some(added.wrapping_sub(group.entries_read));
        }
        let read = self.log.entries_up_to(group.last_id)?;
        Some(added.wrapping_sub(read))
    }

    /// [`Group::entries_read`] of a group that has read up to `id`, where the counters tell.
    pub fn estimated_entries_read(&self, id: StreamId) -> i64 {
        self.log.entries_up_to(id).unwrap_or(ENTRIES_READ_UNKNOWN)
    }

    /// Sets the numbers that XSETID sets.
    pub fn set_id(
        &mut self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        self.log.last_id = last_id;
        self.log.entries_added = entries_added.unwrap_or(self.log.entries_added);
        self.log.max_deleted_id = max_deleted_id.unwrap_or(self.log.max_deleted_id);
    }

    /// Drops entries and pending lists of a stream that is going away; calls `pause` now and then.
    pub(crate) fn clear_pausing(&mut self, pause: &mut dyn FnMut()) {
        self.log.clear_pausing(pause);
        for number in 0..self.groups.len() {
            if let Some(group) = self.groups.nth_mut(number) {
                group.clear_pausing(pause);
            }
        }
    }

    /// One step of defragmentation. The stage: 0 the entries, 1 the list of groups; above, the
    /// group's number plus 1 in the upper half and its own stage in the lower. `None`: done.
    pub(crate) fn relocate(&mut self, cursor: Cursor, mover: &mut Mover) -> Option<Cursor> {
        const GROUP_BITS: u32 = 32;
        match cursor.stage {
            0 => Some(cursor.after(self.log.relocate(cursor.position, mover))),
            1 => match self.groups.relocate(cursor.position, mover) {
                0 => Some(Cursor { stage: 1 << GROUP_BITS, position: 0 }),
                next => Some(cursor.after(next)),
            },
            stage => {
                // 0 is a cursor left by another value that had this key: the walk is over.
                let number = stage >> GROUP_BITS;
                let group = self.groups.nth_mut((number as usize).checked_sub(1)?)?;
                let own = Cursor { stage: stage & ((1 << GROUP_BITS) - 1), ..cursor };
                Some(match group.relocate(own, mover) {
                    Some(next) => Cursor { stage: number << GROUP_BITS | next.stage, ..next },
                    None => Cursor { stage: (number + 1) << GROUP_BITS, position: 0 },
                })
            }
        }
    }

    /// Adds a block as a file holds it. Shallow or deep validation, see [`block::validate`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load_block(&mut self, key: StreamId, bytes: &[u8], deep: bool) -> Result<(), Corrupt> {
        block::validate(bytes, deep)?;
        let listpack = Listpack::from_bytes(bytes, false)?;
        if self.log.add_block(key, listpack) {
            Ok(())
        } else {
            Err(Corrupt("Listpack re-added with existing key"))
        }
    }

    /// Sets the counters of a file of the first kind, which has only these two: the others follow
    /// from the blocks.
    ///
    /// # Errors
    /// A length without blocks.
    pub fn load_length(&mut self, length: u64, last_id: StreamId) -> Result<(), Corrupt> {
        let zero = StreamId::MIN;
        self.load_counters(Counters {
            length,
            last_id,
            first_id: zero,
            max_deleted_id: zero,
            entries_added: length,
        })?;
        self.log.find_first_id();
        Ok(())
    }

    /// Sets the counters.
    ///
    /// # Errors
    /// A length without blocks.
    pub fn load_counters(&mut self, counters: Counters) -> Result<(), Corrupt> {
        if counters.length > 0 && self.log.blocks().is_empty() {
            return Err(Corrupt("Stream length inconsistent with rax entries"));
        }
        self.log.length = counters.length;
        self.log.last_id = counters.last_id;
        self.log.first_id = counters.first_id;
        self.log.max_deleted_id = counters.max_deleted_id;
        self.log.entries_added = counters.entries_added;
        Ok(())
    }

    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        let pending: usize =
            self.groups().map(|(_, group)| 1 + group.pending().len() / 32 + group.consumer_count()).sum();
        self.log.blocks().len() + pending
    }

    /// Bytes of the data region behind the box, by `samples` blocks, and as many consumers of each
    /// group: exact where there are no more. O(groups * samples).
    pub fn memory_bytes(&self, samples: usize) -> usize {
        let groups = |(name, group): (&Name, &DataBox<Group>)| {
            name.allocated_bytes() + group.allocated_bytes() + group.memory_bytes(samples)
        };
        self.log.memory_bytes(samples)
            + self.groups.allocated_bytes()
            + self.groups.iter().map(groups).sum::<usize>()
    }
}

impl StreamValue {
    /// An empty stream.
    pub fn new() -> Self {
        StreamValue::Log(DataBox::new(Stream::default()))
    }

    pub fn as_ref(&self) -> StreamRef<'_> {
        StreamRef::Log(self)
    }
}

impl Default for StreamValue {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Stream> for StreamValue {
    fn from(stream: Stream) -> Self {
        StreamValue::Log(DataBox::new(stream))
    }
}

impl Deref for StreamValue {
    type Target = Stream;
    fn deref(&self) -> &Stream {
        match self {
            StreamValue::Log(stream) => stream,
        }
    }
}

impl DerefMut for StreamValue {
    fn deref_mut(&mut self) -> &mut Stream {
        match self {
            StreamValue::Log(stream) => stream,
        }
    }
}

impl StreamValue {
    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        Stream::free_effort(self)
    }
}

impl<'a> StreamRef<'a> {
    /// The stream, for as long as the entry is not touched.
    pub fn stream(self) -> &'a Stream {
        match self {
            StreamRef::Log(stream) => stream,
        }
    }

    /// Entries that are not deleted.
    pub fn len(&self) -> usize {
        self.stream().log.len() as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            StreamRef::Log(_) => "stream",
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> StreamValue {
        StreamValue::from(self.stream().clone())
    }

    /// Bytes of the data region that it occupies; see [`Stream::memory_bytes`].
    pub fn memory_bytes(&self, samples: usize) -> usize {
        let own = crate::sys::data_alloc::usable_size(size_of::<Stream>());
        own + self.stream().memory_bytes(samples)
    }
}
