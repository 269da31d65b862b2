//! How a value stands in an entry: its type, an encoding number and one word.
//!
//! The encoding numbers live in memory only (never in a file); each is the place of its variant
//! in the lists at the end. The string type has one out-of-line form and no number.
#![allow(unsafe_code)]

use crate::ds::field_table::FieldTable;
use crate::ds::intset::Intset;
use crate::ds::listpack::Listpack;
use crate::ds::member_table::MemberTable;
use crate::ds::quicklist::Quicklist;
use crate::ds::sorted_set::SortedSet;
use crate::ds::word::OneWord;
use crate::sys::data_alloc::{DataBox, DataBytes};
use crate::value::hash::{HashRef, HashValue};
use crate::value::list::{ListRef, ListValue};
use crate::value::set::{SetRef, SetValue};
use crate::value::stream::{Stream, StreamRef, StreamValue};
use crate::value::string::{StrRef, StringValue};
use crate::value::zset::{ZsetRef, ZsetValue};
use crate::value::{Value, ValueRef, ValueType};
use std::ptr::NonNull;

/// Encodings a type can have: what the entry's header has room for.
pub const ENCODINGS_MAX: u8 = 14;

/// What an entry keeps of a value: encoding number and thin pointer.
pub type Parts = (u8, NonNull<u8>);

/// A type other than string: an owner of one word, whatever its encoding.
pub trait Collection: Sized + Into<Value> {
    const TYPE: ValueType;

    /// A shared look at a value of this type.
    type Ref<'a>: Copy;

    /// Gives the value up for its parts.
    fn into_parts(self) -> Parts;

    /// Takes a value back.
    ///
    /// # Safety
    /// `parts` came from [`Collection::into_parts`] of this type, once.
    unsafe fn from_parts(parts: Parts) -> Self;

    /// Looks at a value.
    ///
    /// # Safety
    /// `parts` came from [`Collection::into_parts`] of this type; nobody changes or frees the
    /// value during `'a`.
    unsafe fn ref_of_parts<'a>(parts: Parts) -> Self::Ref<'a>;

    /// The value, if it is of this type.
    fn of_ref(value: ValueRef<'_>) -> Option<Self::Ref<'_>>;
}

/// Implements [`Collection`]: for each encoding its number, variant and owner.
macro_rules! collection {
    ($value:ident, $reference:ident, $kind:ident: $($number:literal => $variant:ident($owner:ty)),+ $(,)?) => {
        impl From<$value> for Value {
            fn from(value: $value) -> Value {
                Value::$kind(value)
            }
        }

        impl Collection for $value {
            const TYPE: ValueType = ValueType::$kind;
            type Ref<'a> = $reference<'a>;

            #[inline]
            fn into_parts(self) -> Parts {
                match self {
                    $( $value::$variant(owner) => ($number, OneWord::into_raw(owner)), )+
                }
            }

            #[inline]
            unsafe fn from_parts((encoding, raw): Parts) -> Self {
                // SAFETY: the number says which owner gave the pointer (caller).
                unsafe {
                    match encoding {
                        $( $number => $value::$variant(<$owner as OneWord>::from_raw(raw)), )+
                        _ => unreachable!("into_parts gives no other encoding number"),
                    }
                }
            }

            #[inline]
            unsafe fn ref_of_parts<'a>((encoding, raw): Parts) -> $reference<'a> {
                // SAFETY: the number says which owner gave the pointer (caller).
                unsafe {
                    match encoding {
                        $( $number => $reference::$variant(<$owner as OneWord>::view_of_raw(raw)), )+
                        _ => unreachable!("into_parts gives no other encoding number"),
                    }
                }
            }

            #[inline]
            fn of_ref(value: ValueRef<'_>) -> Option<$reference<'_>> {
                if let ValueRef::$kind(found) = value { Some(found) } else { None }
            }
        }
    };
}

collection!(ListValue, ListRef, List: 0 => Packed(Listpack), 1 => Linked(DataBox<Quicklist>));
collection!(
    SetValue, SetRef, Set:
    0 => Packed(Listpack),
    1 => Integers(Intset),
    2 => Big(DataBox<MemberTable>),
);
collection!(ZsetValue, ZsetRef, Zset: 0 => Packed(Listpack), 1 => Big(DataBox<SortedSet>));
collection!(
    HashValue, HashRef, Hash:
    0 => Packed(Listpack), 1 => PackedExpiry(Listpack), 2 => Big(DataBox<FieldTable>)
);
collection!(StreamValue, StreamRef, Stream: 0 => Log(DataBox<Stream>));

/// The parts of a value that lives out of line; an integer has none.
pub fn parts_of(value: Value) -> Result<(ValueType, Parts), i64> {
    Ok(match value {
        Value::String(StringValue::Int(number)) => return Err(number),
        Value::String(StringValue::Bytes(string)) => (ValueType::String, (0, string.into_raw())),
        Value::List(list) => (ValueType::List, list.into_parts()),
        Value::Set(set) => (ValueType::Set, set.into_parts()),
        Value::Zset(zset) => (ValueType::Zset, zset.into_parts()),
        Value::Hash(hash) => (ValueType::Hash, hash.into_parts()),
        Value::Stream(stream) => (ValueType::Stream, stream.into_parts()),
    })
}

/// Takes back a value that was given up.
///
/// # Safety
/// Type and parts came from [`parts_of`], once.
pub unsafe fn value_of(kind: ValueType, parts: Parts) -> Value {
    // SAFETY: by the contract the parts are of this type.
    unsafe {
        match kind {
            ValueType::String => Value::String(StringValue::Bytes(DataBytes::from_raw(parts.1))),
            ValueType::List => Value::List(ListValue::from_parts(parts)),
            ValueType::Set => Value::Set(SetValue::from_parts(parts)),
            ValueType::Zset => Value::Zset(ZsetValue::from_parts(parts)),
            ValueType::Hash => Value::Hash(HashValue::from_parts(parts)),
            ValueType::Stream => Value::Stream(StreamValue::from_parts(parts)),
        }
    }
}

/// Looks at a value that was given up.
///
/// # Safety
/// Type and parts came from [`parts_of`]; nobody changes or frees the value during `'a`.
#[inline]
pub unsafe fn ref_of<'a>(kind: ValueType, parts: Parts) -> ValueRef<'a> {
    // SAFETY: by the contract the parts are of this type, and live.
    unsafe {
        match kind {
            ValueType::String => ValueRef::String(StrRef::Large(DataBytes::slice_of_raw(parts.1))),
            ValueType::List => ValueRef::List(ListValue::ref_of_parts(parts)),
            ValueType::Set => ValueRef::Set(SetValue::ref_of_parts(parts)),
            ValueType::Zset => ValueRef::Zset(ZsetValue::ref_of_parts(parts)),
            ValueType::Hash => ValueRef::Hash(HashValue::ref_of_parts(parts)),
            ValueType::Stream => ValueRef::Stream(StreamValue::ref_of_parts(parts)),
        }
    }
}
