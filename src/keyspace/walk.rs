//! Walking all entries in address order: how a snapshot child reads memory from front to back.
//!
//! ```text
//!  2 MiB of entries:  | a db 0 | b db 3 | (free) | c (table that is being freed: skipped) | ...
//!                       visit    visit                                            then: done
//! ```
//! Table order touches two random cache lines a key and gives no memory back before the end.
//! In address order the processor reads ahead, and a block whose keys are saved can be given
//! back to the kernel whole: writes of the parent to it then copy nothing. Values outside of their
//! entries go block by block as well (see `data_alloc::LiveBytes`). The price: a database is no
//! contiguous part of what is visited.
#![allow(unsafe_code)]

use crate::keyspace::Keyspace;
use crate::keyspace::entry::{EntryHandle, EntryView};
use crate::keyspace::tags::SHARED;
use crate::sys::data_alloc;

/// One stop of the walk.
pub enum Stop<'a> {
    /// An entry and its database.
    Entry(usize, EntryView<'a>),
    /// All entries of a piece of memory have been visited.
    PieceDone,
}

impl Keyspace {
    /// Whether every table has a tag of its own, so that an entry tells its database.
    pub fn can_walk_memory(&self) -> bool {
        (0..self.databases()).all(|db| self.db(db).is_empty() || self.db(db).tag() != SHARED)
    }

    /// Visits every entry once, in address order, as long as `visit` answers true. With `give_back`
    /// pieces of memory are returned to the kernel (debug builds: poisoned) after [`Stop::PieceDone`].
    ///
    /// # Safety
    /// Only in a forked child, which has no other thread that could free entries; with
    /// `give_back` no entry is used afterwards. [`Keyspace::can_walk_memory`] holds.
    pub unsafe fn walk_memory(&self, give_back: bool, mut visit: impl FnMut(Stop<'_>) -> bool) {
        let databases = self.databases_by_tag();
        let mut byte_strings = give_back.then(data_alloc::live_bytes);
        let mut go_on = true;
        data_alloc::for_each_live_entry_block(|range, entries| {
            if !go_on {
                return;
            }
            for block in entries {
                // SAFETY: the allocator calls the block live and of kind Entry; such blocks are made
                // and initialised by `entry` alone, and nobody else runs in this process.
                let view = unsafe { EntryHandle::from_block(block).view() };
                if let Some(db) = databases[view.table_tag() as usize] {
                    go_on = visit(Stop::Entry(db, view));
                    if !go_on {
                        return;
                    }
                    let finished = byte_strings.as_mut().zip(view.value_address());
                    if let Some(range) = finished.and_then(|(strings, value)| strings.done(value)) {
                        // SAFETY: this is a child (contract), and every byte string in the range was
                        // the value of an entry that has been visited.
                        let _ = unsafe { data_alloc::release_range(range) };
                    }
                }
            }
            go_on = visit(Stop::PieceDone);
            if give_back {
                // SAFETY: this is a child (contract) and the range's entries are not read again.
                // A refusal of the kernel only means that the memory stays.
                let _ = unsafe { data_alloc::release_range(range) };
            }
        });
    }

    /// The database of each tag. Tags of tables that are being freed have none, nor has the one that
    /// tables share: what has it now is freed, or lies in no table that [`Keyspace::can_walk_memory`] let by.
    fn databases_by_tag(&self) -> [Option<usize>; 256] {
        let mut databases = [None; 256];
        for index in (0..self.databases()).filter(|index| !self.db(*index).is_empty()) {
            let tag = self.db(index).tag();
            if tag != SHARED {
                databases[tag as usize] = Some(index);
            }
        }
        databases
    }
}
