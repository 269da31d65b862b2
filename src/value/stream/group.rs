//! Consumer groups: who read what, and what is still to be acknowledged.
//!
//! ```text
//!  group ── last delivered id, entries read
//!    │
//!    ├─ pending:   id ─► { consumer number, delivered when, how often }      40 bytes each
//!    ├─ names:     name ─► consumer number
//!    └─ consumers: number ─► name, seen, active, pending: ids                16 bytes each
//! ```
//!
//! Owns the rule that both pending lists agree: an id is in the list of exactly the consumer that
//! the group's entry names.
//!
//! Trade-off: consumers are named by number in the group's list, so that its entries stay small
//! and hold no pointer; finding a consumer's name costs one more seek among the few consumers.

use crate::base::sampled::sampled_sum;
use crate::ds::corrupt::Corrupt;
use crate::ds::ordered_map::OrderedMap;
use crate::sys::data_alloc::{Cursor, DataBox, DataBytes, Mover, Relocate};
use crate::value::stream::StreamId;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;

/// [`Group::entries_read`] when it is not known.
pub const ENTRIES_READ_UNKNOWN: i64 = -1;
/// [`Consumer::active_ms`] of a consumer that was never given an entry.
pub const NEVER_ACTIVE: i64 = -1;

/// The name of a group or consumer.
#[derive(Clone, Debug)]
pub struct Name(DataBytes);

impl Name {
    pub fn new(bytes: &[u8]) -> Self {
        Self(DataBytes::from_slice(bytes))
    }

    /// Bytes of the data region that it occupies.
    pub fn allocated_bytes(&self) -> usize {
        self.0.allocated_bytes()
    }
}

impl Relocate for Name {
    fn relocate(&mut self, mover: &mut Mover) {
        self.0.relocate(mover);
    }
}

impl Deref for Name {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

/// Which consumer of its group: valid until the consumer is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsumerNumber(u32);

impl ConsumerNumber {
    /// No consumer: of a pending entry whose consumer is still to be read from a file.
    const NONE: Self = Self(u32::MAX);
}

impl Relocate for ConsumerNumber {
    fn relocate(&mut self, _mover: &mut Mover) {}
}

impl Relocate for Pending {
    fn relocate(&mut self, _mover: &mut Mover) {}
}

/// An entry that was delivered and not yet acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub consumer: ConsumerNumber,
    /// Of the last delivery, Unix ms.
    pub delivered_ms: i64,
    pub deliveries: u64,
}

/// A reader of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Name,
    /// The last time it tried to read or claim, Unix ms.
    pub seen_ms: i64,
    /// The last time it was given an entry, Unix ms, or [`NEVER_ACTIVE`].
    pub active_ms: i64,
    pending: OrderedMap<StreamId, ()>,
}

/// The stage of defragmentation from which on consumers follow.
const CONSUMER_STAGES: u64 = 3;

/// A consumer group.
#[derive(Clone, Debug)]
pub struct Group {
    /// The last id delivered.
    pub last_id: StreamId,
    /// Entries up to `last_id` since the stream began, or [`ENTRIES_READ_UNKNOWN`].
    pub entries_read: i64,
    pending: OrderedMap<StreamId, Pending>,
    names: OrderedMap<Name, ConsumerNumber>,
    consumers: OrderedMap<ConsumerNumber, DataBox<Consumer>>,
    next_number: u32,
}

impl Consumer {
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Ids delivered to it and not acknowledged, in order.
    pub fn pending(&self) -> &OrderedMap<StreamId, ()> {
        &self.pending
    }
}

impl Group {
    pub fn new(last_id: StreamId, entries_read: i64) -> Self {
        Self {
            last_id,
            entries_read,
            pending: OrderedMap::new(),
            names: OrderedMap::new(),
            consumers: OrderedMap::new(),
            next_number: 0,
        }
    }

    /// Entries delivered and not acknowledged, by id.
    pub fn pending(&self) -> &OrderedMap<StreamId, Pending> {
        &self.pending
    }

    /// Number of consumers.
    pub fn consumer_count(&self) -> usize {
        self.names.len()
    }

    /// All consumers, by name.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.names.iter().filter_map(|(_, number)| self.consumer(*number))
    }

    /// The number of the consumer with this name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerNumber> {
        self.names.get(name).copied()
    }

    pub fn consumer(&self, number: ConsumerNumber) -> Option<&Consumer> {
        self.consumers.get(&number).map(|consumer| &**consumer)
    }

    pub fn consumer_mut(&mut self, number: ConsumerNumber) -> Option<&mut Consumer> {
        self.consumers.get_mut(&number).map(|consumer| &mut **consumer)
    }

    /// The name of a consumer; empty for a number that is not (any more) in use.
    pub fn consumer_name(&self, number: ConsumerNumber) -> &[u8] {
        self.consumer(number).map_or(&[], Consumer::name)
    }

    /// Adds a consumer, seen now; `None` if the name is taken.
    pub fn create_consumer(&mut self, name: &[u8], seen_ms: i64) -> Option<ConsumerNumber> {
        if self.names.contains(name) {
            return None;
        }
        // Numbers run round after 2^32 consumers; there is no room for as many at a time.
        let mut number = ConsumerNumber(self.next_number);
        while number == ConsumerNumber::NONE || self.consumers.contains(&number) {
            number.0 = number.0.wrapping_add(1);
        }
        self.next_number = number.0.wrapping_add(1);
        let name = Name::new(name);
        self.names.insert(name.clone(), number);
        let consumer = Consumer { name, seen_ms, active_ms: NEVER_ACTIVE, pending: OrderedMap::new() };
        self.consumers.insert(number, DataBox::new(consumer));
        Some(number)
    }

    /// Removes a consumer and what is pending for it; returns how many entries that was.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let number = self.names.remove(name)?;
        let consumer = self.consumers.remove(&number)?;
        for (id, ()) in consumer.pending.iter() {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Gives an entry to a consumer, from whomever had it.
    pub fn deliver(&mut self, id: StreamId, pending: Pending) {
        let before = self.pending.insert(id, pending);
        if before.is_some_and(|before| before.consumer == pending.consumer) {
            return;
        }
        if let Some(owner) = before.and_then(|before| self.consumer_mut(before.consumer)) {
            owner.pending.remove(&id);
        }
        if let Some(consumer) = self.consumer_mut(pending.consumer) {
            consumer.pending.insert(id, ());
        }
    }

    /// A pending entry is read again by its consumer.
    pub fn redeliver(&mut self, id: StreamId, now_ms: i64) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.delivered_ms = now_ms;
            pending.deliveries = pending.deliveries.wrapping_add(1);
        }
    }

    /// Takes an entry off both lists. Returns whether it was pending.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        if let Some(consumer) = self.consumer_mut(pending.consumer) {
            consumer.pending.remove(&id);
        }
        true
    }

    /// Reads an entry of the group's pending list; its consumer comes later ([`Self::load_owner`]).
    ///
    /// # Errors
    /// The entry is there already.
    pub fn load_pending(&mut self, id: StreamId, delivered_ms: i64, deliveries: u64) -> Result<(), Corrupt> {
        let pending = Pending { consumer: ConsumerNumber::NONE, delivered_ms, deliveries };
        match self.pending.insert(id, pending) {
            None => Ok(()),
            Some(_) => Err(Corrupt("Duplicated global PEL entry loading stream consumer group")),
        }
    }

    /// Reads an entry of a consumer's pending list.
    ///
    /// # Errors
    /// The group's list does not have it, or another consumer does.
    pub fn load_owner(&mut self, id: StreamId, consumer: ConsumerNumber) -> Result<(), Corrupt> {
        match self.pending.get_mut(&id) {
            None => return Err(Corrupt("Consumer entry not found in group global PEL")),
            Some(pending) if pending.consumer != ConsumerNumber::NONE => {
                return Err(Corrupt("pending entry of two consumers"));
            }
            Some(pending) => pending.consumer = consumer,
        }
        if let Some(consumer) = self.consumer_mut(consumer) {
            consumer.pending.insert(id, ());
        }
        Ok(())
    }

    /// Checks that everything pending has got its consumer. O(consumers).
    ///
    /// # Errors
    /// Something has not.
    pub fn finish_loading(&self) -> Result<(), Corrupt> {
        let owned: usize = self.consumers.iter().map(|(_, consumer)| consumer.pending.len()).sum();
        if owned == self.pending.len() {
            Ok(())
        } else {
            Err(Corrupt("Stream CG PEL entry without consumer"))
        }
    }

    /// Drops consumers and all that is pending and calls `pause` now and then.
    pub(super) fn clear_pausing(&mut self, pause: &mut dyn FnMut()) {
        self.pending.clear_pausing(pause);
        self.names.clear_pausing(pause);
        while let Some(number) = self.consumers.first().map(|(number, _)| *number) {
            if let Some(mut consumer) = self.consumers.remove(&number) {
                consumer.pending.clear_pausing(pause);
            }
            pause();
        }
    }

    /// One step of defragmentation. The stage: 0 the group's pending list, 1 the names, 2 the list
    /// of consumers, from 3 on each consumer by its number, of which some are missing. `None`: done.
    /// O(log consumers) beside the step itself.
    pub(super) fn relocate(&mut self, cursor: Cursor, mover: &mut Mover) -> Option<Cursor> {
        let next = match cursor.stage {
            0 => self.pending.relocate(cursor.position, mover),
            1 => self.names.relocate(cursor.position, mover),
            2 => self.consumers.relocate(cursor.position, mover),
            stage => {
                let wanted = ConsumerNumber(u32::try_from(stage - CONSUMER_STAGES).ok()?);
                let number = *self.consumers.iter_from(&wanted).next()?.0;
                let position = if number == wanted { cursor.position } else { 0 };
                return self.relocate_consumer(number, position, mover);
            }
        };
        Some(cursor.after(next))
    }

    fn relocate_consumer(
        &mut self,
        number: ConsumerNumber,
        position: u64,
        mover: &mut Mover,
    ) -> Option<Cursor> {
        let stage = u64::from(number.0) + CONSUMER_STAGES;
        if stage >= u64::from(u32::MAX) {
            // The stream has 32 bits for a stage; numbers run round long before there are so many.
            return None;
        }
        let consumer = self.consumer_mut(number)?;
        if position == 0 {
            consumer.name.relocate(mover);
        }
        let next = consumer.pending.relocate(position, mover);
        Some(Cursor { stage, position }.after(next))
    }

    /// Bytes of the data region behind the group's own block, by the first `samples` consumers: exact
    /// where there are no more. O(samples).
    pub fn memory_bytes(&self, samples: usize) -> usize {
        let lists =
            self.pending.allocated_bytes() + self.names.allocated_bytes() + self.consumers.allocated_bytes();
        let of_consumer = |consumer: &DataBox<Consumer>| {
            consumer.allocated_bytes()
                + 2 * consumer.name.allocated_bytes()
                + consumer.pending.allocated_bytes()
        };
        lists + sampled_sum(self.consumers.len(), samples, self.consumers.iter().map(|(_, c)| of_consumer(c)))
    }

    /// Both kinds of pending lists agree.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let mut owned = 0;
        for (number, consumer) in self.consumers.iter() {
            assert_eq!(self.find_consumer(consumer.name()), Some(*number));
            for (id, ()) in consumer.pending.iter() {
                assert_eq!(self.pending.get(id).map(|pending| pending.consumer), Some(*number), "{id}");
            }
            owned += consumer.pending.len();
        }
        assert_eq!((owned, self.consumers.len()), (self.pending.len(), self.names.len()));
    }
}
