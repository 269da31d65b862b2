//! The zset type.
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | packed | a listpack of its own, one thin pointer in the entry | `listpack` |

use crate::ds::listpack::{Listpack, ListpackView};

/// An owned zset. The order of the variants is that of `value/parts.rs`.
#[derive(Debug)]
pub enum ZsetValue {
    Packed(Listpack),
}

/// A zset seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum ZsetRef<'a> {
    Packed(ListpackView<'a>),
}

impl ZsetValue {
    /// An empty zset.
    pub fn new() -> Self {
        ZsetValue::Packed(Listpack::new())
    }

    pub fn as_ref(&self) -> ZsetRef<'_> {
        match self {
            ZsetValue::Packed(listpack) => ZsetRef::Packed(listpack.view()),
        }
    }

    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        1
    }
}

impl Default for ZsetValue {
    fn default() -> Self {
        Self::new()
    }
}

impl ZsetRef<'_> {
    /// Members.
    pub fn len(&self) -> usize {
        match self {
            ZsetRef::Packed(listpack) => listpack.len() / 2,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            ZsetRef::Packed(_) => "listpack",
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> ZsetValue {
        match self {
            ZsetRef::Packed(listpack) => ZsetValue::Packed(Listpack::copy_of(*listpack)),
        }
    }

    /// Bytes of the data region that it occupies.
    pub fn memory_bytes(&self) -> usize {
        match self {
            ZsetRef::Packed(listpack) => listpack.memory_bytes(),
        }
    }
}
