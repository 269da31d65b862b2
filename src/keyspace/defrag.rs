//! Active defragmentation: a walk over all databases that moves what lies in slabs to be emptied.
//!
//! ```text
//!  databases ─► table, bucket by bucket ─► entry's block ─► small value: at once
//!                                                       └─► big value: noted, step by step next
//!           ─► the list of hashes with expiring fields
//! ```
//! Each step is short: a bucket, or a leaf or a few nodes of a big value. A big value is known by the
//! hash of its key from step to step, so that it may change, move or go meanwhile. Every step makes
//! the words of its database stale ([`crate::keyspace::EntryWord`]), since entries may have moved.
#![allow(unsafe_code)]

use crate::ds::table::Resolver;
use crate::keyspace::Keyspace;
use crate::keyspace::db::Db;
use crate::keyspace::entry::EntryHandle;
use crate::sys::data_alloc::{Cursor, DataVec, Mover};
use crate::value::ValueType;

/// A value that has moved so much in its bucket's step goes on in steps of its own, bytes: about 20 us.
const BUCKET_VALUE_BYTES_MAX: u64 = 128 << 10;

/// Keys by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Keys of which something moved.
    pub moved: u64,
    /// Keys that stayed as they were.
    pub kept: u64,
}

/// Where a walk is.
#[derive(Default)]
pub struct DefragScan {
    db: usize,
    /// The table is done, the list of hashes with expiring fields is next.
    in_fields: bool,
    position: u64,
    /// Hashes of the keys with big values in the bucket that was seen last.
    big: DataVec<u64>,
    /// Where the walk over the last of these is.
    cursor: Cursor,
    pub keys: KeyCounts,
}

impl Keyspace {
    /// One step; false at the end of the walk. Values of more than `fields_max` elements take steps
    /// of their own.
    pub fn defrag_step(&mut self, scan: &mut DefragScan, fields_max: usize, mover: &mut Mover) -> bool {
        let Some(db) = self.dbs.get_mut(scan.db) else { return false };
        if let Some(&hash) = scan.big.last() {
            match db.relocate_value(hash, scan.cursor, mover) {
                Some(next) => scan.cursor = next,
                None => {
                    scan.cursor = Cursor::default();
                    scan.big.pop();
                }
            }
            return true;
        }
        scan.position = match scan.in_fields {
            false => db.relocate_bucket(scan, fields_max, mover),
            true => db.relocate_field_due(scan.position, mover),
        };
        if scan.position == 0 {
            scan.db += usize::from(scan.in_fields);
            scan.in_fields = !scan.in_fields;
        }
        true
    }
}

impl Db {
    fn relocate_bucket(&mut self, scan: &mut DefragScan, fields_max: usize, mover: &mut Mover) -> u64 {
        let (table, resolver) = self.table_and_resolver();
        let (keys, big) = (&mut scan.keys, &mut scan.big);
        table.relocate(scan.position, mover, resolver, |word, mover| {
            let before = mover.moved;
            // SAFETY: the table holds words of live entries, and its borrow keeps all others away; a
            // new word takes the place of the old one.
            let moved = unsafe {
                let handle = EntryHandle::from_word(word);
                let moved = handle.relocate(mover);
                let handle = moved.unwrap_or(handle);
                if handle.has_pointer() {
                    let value = handle.view().value();
                    let is_big = match value.value_type() {
                        ValueType::String => value.out_of_line_bytes() as u64 > BUCKET_VALUE_BYTES_MAX,
                        _ => value.elements() > fields_max,
                    };
                    let mut cursor = (!is_big).then(Cursor::default);
                    let end_bytes = mover.moved_bytes + BUCKET_VALUE_BYTES_MAX;
                    while let Some(at) = cursor.filter(|_| mover.moved_bytes < end_bytes) {
                        cursor = handle.relocate_value(at, mover);
                    }
                    if is_big || cursor.is_some() {
                        // From its beginning: what has moved already stays where it is.
                        big.push(resolver.hash(handle.to_word()));
                    }
                }
                moved
            };
            if mover.moved > before {
                keys.moved += 1
            } else {
                keys.kept += 1
            }
            moved.map(EntryHandle::to_word)
        })
    }

    /// One step of the value of the key with this hash; `None` when it is done or gone.
    fn relocate_value(&mut self, hash: u64, cursor: Cursor, mover: &mut Mover) -> Option<Cursor> {
        let (table, resolver) = self.table_and_resolver();
        let word = table.find(hash, |word| resolver.hash(word) == hash)?;
        // SAFETY: as in `relocate_bucket`; the entry's block stays.
        unsafe { EntryHandle::from_word(word).relocate_value(cursor, mover) }
    }
}
