//! Floor 3: the types. One file or folder per type; each owns its encodings and conversions.
//!
//! A value lives in a keyspace entry as one word (an integer or a thin pointer) or, when it is a
//! short string, inside the entry's block. [`Value`] is the owned form outside of an entry.
//!
//! To add a type: a file here with its encodings, a variant in [`Value`], [`ValueRef`] and
//! [`ValueMut`], a row in `persist/rdb`, a family in `command`.

pub mod string;

pub use string::{StrRef, StringValue};

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
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    String(StringValue),
}

impl Value {
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::String(_) => ValueType::String,
        }
    }

    /// How many allocations freeing it takes, about: what decides whether the lazy-free thread
    /// gets it (Redis's `lazyfreeGetFreeEffort`).
    pub fn free_effort(&self) -> usize {
        match self {
            Value::String(_) => 1,
        }
    }
}

/// A value seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    String(StrRef<'a>),
}

impl ValueRef<'_> {
    pub fn value_type(&self) -> ValueType {
        match self {
            ValueRef::String(_) => ValueType::String,
        }
    }

    /// The encoding `OBJECT ENCODING` names.
    pub fn encoding(&self) -> &'static str {
        match self {
            ValueRef::String(string) => string.encoding(),
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> Value {
        match self {
            ValueRef::String(string) => Value::String(string.to_value()),
        }
    }
}
