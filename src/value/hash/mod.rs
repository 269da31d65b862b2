//! The hash type.
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | packed | a listpack of field, value, field, value ... | `listpack` |
//! | packed with expiry | a listpack of field, value, expiry (Unix ms, 0 for none) ... | `listpackex` |
//! | big | a box with a [`FieldTable`] | `hashtable` |
//!
//! A hash leaves its listpack for good when it has more fields than `hash-max-listpack-entries` or
//! one field or value longer than `hash-max-listpack-value`. The first expiry of a field turns a
//! packed hash into one with expiry; big hashes keep expiry times in the fields' blocks.
//!
//! A field whose time has passed stays until it is removed by [`HashValue::take_due`] or replaced.
//! Look-ups are told the time and do not see such fields; [`ALWAYS`] sees all.
//!
//! Files: `packed` (both listpack forms), `edit` (changes and conversions), `iter` (ways through
//! the fields), `pick` (random fields).

mod edit;
mod iter;
mod packed;
mod pick;
#[cfg(test)]
mod tests;

use crate::ds::element::Element;
use crate::ds::field_table::FieldTable;
use crate::ds::listpack::{Listpack, ListpackView};
use crate::ds::table::{TableStats, prefetch};
use crate::sys::data_alloc::DataBox;
use packed::Packed;

pub use crate::ds::field_table::FieldExpiry;
pub use edit::SetOutcome;
pub use iter::{Fields, HashField};

/// The time at which no field has expired.
pub const ALWAYS: i64 = i64::MIN;

/// Look-ups done side by side at most: see [`HashRef::get_many`].
pub const BATCH_FIELDS: usize = 32;
/// Fewer look-ups are not worth looking ahead.
const LOOK_AHEAD_MIN: usize = 3;

/// An owned hash. The order of the variants is that of `value/parts.rs`.
#[derive(Debug)]
pub enum HashValue {
    Packed(Listpack),
    PackedExpiry(Listpack),
    Big(DataBox<FieldTable>),
}

/// A hash seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum HashRef<'a> {
    Packed(ListpackView<'a>),
    PackedExpiry(ListpackView<'a>),
    Big(&'a FieldTable),
}

impl HashValue {
    /// An empty hash.
    pub fn new() -> Self {
        HashValue::Packed(Listpack::new())
    }

    #[inline]
    pub fn as_ref(&self) -> HashRef<'_> {
        match self {
            HashValue::Packed(listpack) => HashRef::Packed(listpack.view()),
            HashValue::PackedExpiry(listpack) => HashRef::PackedExpiry(listpack.view()),
            HashValue::Big(table) => HashRef::Big(table),
        }
    }

    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        match self {
            HashValue::Packed(_) | HashValue::PackedExpiry(_) => 1,
            HashValue::Big(table) => table.len().max(1),
        }
    }
}

impl Default for HashValue {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a time has passed.
#[inline]
pub(crate) fn is_past(expiry_ms: Option<i64>, now_ms: i64) -> bool {
    expiry_ms.is_some_and(|at_ms| now_ms > at_ms)
}

impl<'a> HashRef<'a> {
    /// The listpack forms as one.
    #[inline]
    fn packed(&self) -> Result<Packed<'a>, &'a FieldTable> {
        match self {
            HashRef::Packed(view) => Ok(Packed::new(*view, false)),
            HashRef::PackedExpiry(view) => Ok(Packed::new(*view, true)),
            HashRef::Big(table) => Err(table),
        }
    }

    /// Fields, those whose time has passed included. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        match self.packed() {
            Ok(packed) => packed.len(),
            Err(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            HashRef::Packed(_) => "listpack",
            HashRef::PackedExpiry(_) => "listpackex",
            HashRef::Big(_) => "hashtable",
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> HashValue {
        match self {
            HashRef::Packed(view) => HashValue::Packed(Listpack::copy_of(*view)),
            HashRef::PackedExpiry(view) => HashValue::PackedExpiry(Listpack::copy_of(*view)),
            HashRef::Big(table) => HashValue::Big(DataBox::new(FieldTable::clone(table))),
        }
    }

    /// Bytes of the data region that it occupies.
    pub fn memory_bytes(&self) -> usize {
        match self {
            HashRef::Packed(view) | HashRef::PackedExpiry(view) => view.memory_bytes(),
            HashRef::Big(table) => size_of::<FieldTable>() + table.memory_bytes(),
        }
    }

    /// The shape of a big hash's table (DEBUG HTSTATS-KEY).
    pub fn table_stats(&self) -> Option<TableStats> {
        if let HashRef::Big(table) = self { Some(table.stats()) } else { None }
    }

    /// A field, whether its time has passed or not. O(1) in a big hash, else O(n).
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<HashField<'a>> {
        match self.packed() {
            Ok(packed) => packed.find(name).and_then(|position| packed.field_at(position)),
            Err(table) => table.get(name).map(HashField::from),
        }
    }

    /// The value of a field that has not expired at `now_ms`.
    #[inline]
    pub fn get(&self, name: &[u8], now_ms: i64) -> Option<Element<'a>> {
        self.find(name).filter(|field| !is_past(field.expiry_ms, now_ms)).map(|field| field.value)
    }

    /// Looks up many fields, and calls `visit` for each name in order. In a big hash the cache
    /// misses of [`BATCH_FIELDS`] look-ups overlap.
    pub fn get_many<'n>(
        &self,
        names: impl Iterator<Item = &'n [u8]> + Clone,
        now_ms: i64,
        mut visit: impl FnMut(Option<Element<'a>>),
    ) {
        let HashRef::Big(table) = self else {
            names.for_each(|name| visit(self.get(name, now_ms)));
            return;
        };
        let mut rest = names;
        loop {
            let batch = rest.clone().take(BATCH_FIELDS);
            let (hashes, count) = look_ahead(table, batch.clone());
            for (name, hash) in batch.zip(hashes) {
                let field = table.get_hashed(hash, name);
                let seen = field.filter(|field| !is_past(field.expiry_ms, now_ms));
                visit(seen.map(|field| Element::Bytes(field.value)));
            }
            if count < BATCH_FIELDS {
                return;
            }
            rest.nth(BATCH_FIELDS - 1);
        }
    }

    /// Starts loading what a look-up of this field reads first; gives the name's hash where it
    /// reads more after that.
    #[inline]
    pub fn look_ahead(&self, name: &[u8]) -> Option<u64> {
        match self {
            HashRef::Packed(view) | HashRef::PackedExpiry(view) => {
                prefetch(view.as_bytes().as_ptr());
                None
            }
            HashRef::Big(table) => {
                let hash = table.hash(name);
                table.prefetch_bucket(hash);
                Some(hash)
            }
        }
    }

    /// Whether a field may have an expiry.
    #[inline]
    pub fn may_expire(&self) -> bool {
        match self {
            HashRef::Packed(_) => false,
            HashRef::PackedExpiry(_) => true,
            HashRef::Big(table) => table.volatile_len() > 0,
        }
    }

    /// When the first field expires, Unix ms, or a time before that; `None` if none does.
    pub fn earliest_expiry_ms(&self) -> Option<i64> {
        match self {
            HashRef::Packed(_) => None,
            HashRef::PackedExpiry(_) => self.fields().filter_map(|field| field.expiry_ms).min(),
            HashRef::Big(table) => table.earliest_expiry_ms(),
        }
    }

    /// Whether a field may have expired at `now_ms`: false is certain.
    pub fn may_have_expired(&self, now_ms: i64) -> bool {
        self.may_expire() && self.earliest_expiry_ms().is_some_and(|at_ms| now_ms > at_ms)
    }
}

/// Hashes up to [`BATCH_FIELDS`] names and starts loading what their look-ups read. Returns the
/// hashes and how many there are.
fn look_ahead<'n>(table: &FieldTable, names: impl Iterator<Item = &'n [u8]>) -> ([u64; BATCH_FIELDS], usize) {
    let mut hashes = [0; BATCH_FIELDS];
    let mut count = 0;
    for name in names {
        hashes[count] = table.hash(name);
        table.prefetch_bucket(hashes[count]);
        count += 1;
    }
    if count >= LOOK_AHEAD_MIN {
        for hash in &hashes[..count] {
            table.prefetch_field(*hash);
        }
    }
    (hashes, count)
}
