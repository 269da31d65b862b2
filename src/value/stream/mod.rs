//! The stream type.
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | packed | a listpack of its own, one thin pointer in the entry | `listpack` |

use crate::ds::listpack::{Listpack, ListpackView};

/// An owned stream. The order of the variants is that of `value/parts.rs`.
#[derive(Debug)]
pub enum StreamValue {
    Packed(Listpack),
}

/// A stream seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum StreamRef<'a> {
    Packed(ListpackView<'a>),
}

impl StreamValue {
    /// An empty stream.
    pub fn new() -> Self {
        StreamValue::Packed(Listpack::new())
    }

    pub fn as_ref(&self) -> StreamRef<'_> {
        match self {
            StreamValue::Packed(listpack) => StreamRef::Packed(listpack.view()),
        }
    }

    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        1
    }
}

impl Default for StreamValue {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamRef<'_> {
    /// Entries.
    pub fn len(&self) -> usize {
        match self {
            StreamRef::Packed(listpack) => listpack.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            StreamRef::Packed(_) => "listpack",
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> StreamValue {
        match self {
            StreamRef::Packed(listpack) => StreamValue::Packed(Listpack::copy_of(*listpack)),
        }
    }

    /// Bytes of the data region that it occupies.
    pub fn memory_bytes(&self) -> usize {
        match self {
            StreamRef::Packed(listpack) => listpack.memory_bytes(),
        }
    }
}
