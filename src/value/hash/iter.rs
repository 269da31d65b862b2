//! Ways through the fields: the iterator, HSCAN's steps.

use super::packed::Packed;
use super::{HashRef, is_past};
use crate::ds::element::Element;
use crate::ds::field_table::{Field, FieldIter};
use crate::ds::listpack::Position;

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashField<'a> {
    pub name: Element<'a>,
    pub value: Element<'a>,
    /// Unix ms.
    pub expiry_ms: Option<i64>,
}

impl<'a> From<Field<'a>> for HashField<'a> {
    #[inline]
    fn from(field: Field<'a>) -> Self {
        HashField {
            name: Element::Bytes(field.name),
            value: Element::Bytes(field.value),
            expiry_ms: field.expiry_ms,
        }
    }
}

/// All fields of a hash.
pub enum Fields<'a> {
    #[doc(hidden)]
    Packed(PackedFields<'a>),
    #[doc(hidden)]
    Big(FieldIter<'a>),
}

/// The fields of a listpack.
#[doc(hidden)]
pub struct PackedFields<'a> {
    packed: Packed<'a>,
    next: Option<Position>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = HashField<'a>;

    #[inline]
    fn next(&mut self) -> Option<HashField<'a>> {
        match self {
            Fields::Packed(fields) => {
                let (field, next) = fields.packed.step(fields.next?)?;
                fields.next = next;
                Some(field)
            }
            Fields::Big(fields) => fields.next().map(HashField::from),
        }
    }
}

impl<'a> HashRef<'a> {
    /// All fields, those whose time has passed included.
    pub fn fields(&self) -> Fields<'a> {
        match self.packed() {
            Ok(packed) => Fields::Packed(PackedFields { packed, next: packed.first() }),
            Err(table) => Fields::Big(table.iter()),
        }
    }

    /// The fields that have not expired at `now_ms`.
    pub fn live_fields(&self, now_ms: i64) -> impl Iterator<Item = HashField<'a>> + use<'a> {
        self.fields().filter(move |field| !is_past(field.expiry_ms, now_ms))
    }

    /// Fields that have not expired at `now_ms`. O(1) unless some have.
    pub fn live_len(&self, now_ms: i64) -> usize {
        if self.may_have_expired(now_ms) { self.live_fields(now_ms).count() } else { self.len() }
    }

    /// One step of HSCAN: visits the fields at `cursor` and returns the cursor of the next step,
    /// 0 at the end. A listpack is visited whole.
    pub fn scan(&self, cursor: u64, now_ms: i64, mut visit: impl FnMut(HashField<'_>)) -> u64 {
        let HashRef::Big(table) = self else {
            self.live_fields(now_ms).for_each(visit);
            return 0;
        };
        table.scan(cursor, |field| {
            if !is_past(field.expiry_ms, now_ms) {
                visit(field.into());
            }
        })
    }
}
