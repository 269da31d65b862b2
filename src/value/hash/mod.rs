//! The hash type.
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | packed | a listpack of its own, one thin pointer in the entry | `listpack` |

use crate::ds::listpack::{Listpack, ListpackView};

/// An owned hash. The order of the variants is that of `value/parts.rs`.
#[derive(Debug)]
pub enum HashValue {
    Packed(Listpack),
}

/// A hash seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum HashRef<'a> {
    Packed(ListpackView<'a>),
}

impl HashValue {
    /// An empty hash.
    pub fn new() -> Self {
        HashValue::Packed(Listpack::new())
    }

    pub fn as_ref(&self) -> HashRef<'_> {
        match self {
            HashValue::Packed(listpack) => HashRef::Packed(listpack.view()),
        }
    }

    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        1
    }
}

impl Default for HashValue {
    fn default() -> Self {
        Self::new()
    }
}

impl HashRef<'_> {
    /// Fields.
    pub fn len(&self) -> usize {
        match self {
            HashRef::Packed(listpack) => listpack.len() / 2,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            HashRef::Packed(_) => "listpack",
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> HashValue {
        match self {
            HashRef::Packed(listpack) => HashValue::Packed(Listpack::copy_of(*listpack)),
        }
    }

    /// Bytes of the data region that it occupies.
    pub fn memory_bytes(&self) -> usize {
        match self {
            HashRef::Packed(listpack) => listpack.memory_bytes(),
        }
    }
}
