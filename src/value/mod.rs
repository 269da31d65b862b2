//! Floor 3: the types. One file or folder per type; each owns its encodings and conversions.
//!
//! A value lives in a keyspace entry as one word (an integer or a thin pointer) or, when it is a
//! short string, inside the entry's block. [`Value`] is the owned form outside of an entry.
//!
//! To add a type: a folder here with its encodings, a variant in [`Value`] and [`ValueRef`], a line
//! in `parts`, files in `persist/rdb` and `persist/aof/base`, a family in `command`.

mod counted;
pub mod digest;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod limits;
pub mod list;
pub mod parts;
mod relocate;
pub mod set;
pub mod stream;
pub mod string;
pub mod zset;

pub use hash::{HashRef, HashValue};
pub use limits::{PackedLimits, TypeLimits};
pub use list::{ListRef, ListValue};
pub use parts::Collection;
pub use set::{SetRef, SetValue};
pub use stream::{StreamRef, StreamValue};
pub use string::{StrRef, StringValue};
pub use zset::{ZsetRef, ZsetValue};

/// The type of a key, as `TYPE` names it. The numbers are those stored in an entry's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ValueType {
    String = 0,
    List = 1,
    Set = 2,
    Zset = 3,
    Hash = 4,
    Stream = 6,
}

impl ValueType {
    pub const fn name(self) -> &'static str {
        match self {
            ValueType::String => "string",
            ValueType::List => "list",
            ValueType::Set => "set",
            ValueType::Zset => "zset",
            ValueType::Hash => "hash",
            ValueType::Stream => "stream",
        }
    }

    /// The type with this `TYPE` name, in any case.
    pub fn from_name(name: &[u8]) -> Option<ValueType> {
        const ALL: [ValueType; 6] = [
            ValueType::String,
            ValueType::List,
            ValueType::Set,
            ValueType::Zset,
            ValueType::Hash,
            ValueType::Stream,
        ];
        ALL.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// An owned value, outside of any entry.
#[derive(Debug)]
pub enum Value {
    String(StringValue),
    List(ListValue),
    Set(SetValue),
    Zset(ZsetValue),
    Hash(HashValue),
    Stream(StreamValue),
}

impl Value {
    pub fn value_type(&self) -> ValueType {
        self.as_ref().value_type()
    }

    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::String(string) => ValueRef::String(string.as_ref()),
            Value::List(list) => ValueRef::List(list.as_ref()),
            Value::Set(set) => ValueRef::Set(set.as_ref()),
            Value::Zset(zset) => ValueRef::Zset(zset.as_ref()),
            Value::Hash(hash) => ValueRef::Hash(hash.as_ref()),
            Value::Stream(stream) => ValueRef::Stream(stream.as_ref()),
        }
    }

    /// Drops the value and calls `pause` now and then, each some tens of microseconds of work.
    pub fn drop_pausing(mut self, pause: &mut dyn FnMut()) {
        match &mut self {
            Value::List(ListValue::Linked(list)) => list.clear_pausing(pause),
            Value::Set(SetValue::Big(table)) => table.clear_pausing(pause),
            Value::Zset(ZsetValue::Big(set)) => set.clear_pausing(pause),
            Value::Hash(HashValue::Big(table)) => table.clear_pausing(pause),
            Value::Stream(StreamValue::Log(stream)) => stream.clear_pausing(pause),
            _ => {}
        }
    }

    /// How many allocations freeing it takes, about: what decides whether the lazy-free thread
    /// gets it (Redis's `lazyfreeGetFreeEffort`).
    pub fn free_effort(&self) -> usize {
        match self {
            Value::String(_) => 1,
            Value::List(list) => list.free_effort(),
            Value::Set(set) => set.free_effort(),
            Value::Zset(zset) => zset.free_effort(),
            Value::Hash(hash) => hash.free_effort(),
            Value::Stream(stream) => stream.free_effort(),
        }
    }
}

/// A value seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    String(StrRef<'a>),
    List(ListRef<'a>),
    Set(SetRef<'a>),
    Zset(ZsetRef<'a>),
    Hash(HashRef<'a>),
    Stream(StreamRef<'a>),
}

impl ValueRef<'_> {
    pub fn value_type(&self) -> ValueType {
        match self {
            ValueRef::String(_) => ValueType::String,
            ValueRef::List(_) => ValueType::List,
            ValueRef::Set(_) => ValueType::Set,
            ValueRef::Zset(_) => ValueType::Zset,
            ValueRef::Hash(_) => ValueType::Hash,
            ValueRef::Stream(_) => ValueType::Stream,
        }
    }

    /// The encoding `OBJECT ENCODING` names.
    pub fn encoding(&self) -> &'static str {
        match self {
            ValueRef::String(string) => string.encoding(),
            ValueRef::List(list) => list.encoding(),
            ValueRef::Set(set) => set.encoding(),
            ValueRef::Zset(zset) => zset.encoding(),
            ValueRef::Hash(hash) => hash.encoding(),
            ValueRef::Stream(stream) => stream.encoding(),
        }
    }

    /// Elements, fields, members, entries; the length of a string, bytes.
    pub fn elements(&self) -> usize {
        match self {
            ValueRef::String(string) => string.len(),
            ValueRef::List(list) => list.len(),
            ValueRef::Set(set) => set.len(),
            ValueRef::Zset(zset) => zset.len(),
            ValueRef::Hash(hash) => hash.len(),
            ValueRef::Stream(stream) => stream.len(),
        }
    }

    /// First stage of looking an element up ahead: starts loading what the look-up reads first.
    /// `Some`: the element's hash, for [`ValueRef::look_further`].
    #[inline]
    pub fn look_ahead(&self, element: &[u8]) -> Option<u64> {
        match self {
            ValueRef::Hash(hash) => hash.look_ahead(element),
            ValueRef::Set(SetRef::Big(table)) => {
                let hash = table.hash(element);
                table.prefetch_bucket(hash);
                Some(hash)
            }
            _ => None,
        }
    }

    /// Second stage: starts loading what the look-up compares.
    #[inline]
    pub fn look_further(&self, hash: u64) {
        match self {
            ValueRef::Hash(HashRef::Big(table)) => table.prefetch_field(hash),
            ValueRef::Set(SetRef::Big(table)) => table.prefetch_members(hash),
            _ => {}
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> Value {
        match self {
            ValueRef::String(string) => Value::String(string.to_value()),
            ValueRef::List(list) => Value::List(list.to_value()),
            ValueRef::Set(set) => Value::Set(set.to_value()),
            ValueRef::Zset(zset) => Value::Zset(zset.to_value()),
            ValueRef::Hash(hash) => Value::Hash(hash.to_value()),
            ValueRef::Stream(stream) => Value::Stream(stream.to_value()),
        }
    }

    /// Bytes of the data region behind the entry, by size class. O(1), O(nodes) for lists and streams.
    pub fn out_of_line_bytes(&self) -> usize {
        self.out_of_line_bytes_by(usize::MAX)
    }

    /// [`ValueRef::out_of_line_bytes`], of a list or stream by its first `samples` nodes. O(samples).
    pub fn out_of_line_bytes_by(&self, samples: usize) -> usize {
        match self {
            ValueRef::String(string) => string.out_of_line_bytes(),
            ValueRef::List(list) => list.memory_bytes(samples),
            ValueRef::Set(set) => set.memory_bytes(),
            ValueRef::Zset(zset) => zset.memory_bytes(),
            ValueRef::Hash(hash) => hash.memory_bytes(),
            ValueRef::Stream(stream) => stream.memory_bytes(samples),
        }
    }
}
