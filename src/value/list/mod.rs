//! The list type.
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | packed | a listpack of its own, one thin pointer in the entry | `listpack` |

use crate::ds::listpack::{Listpack, ListpackView};

/// An owned list. The order of the variants is that of `value/parts.rs`.
#[derive(Debug)]
pub enum ListValue {
    Packed(Listpack),
}

/// A list seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum ListRef<'a> {
    Packed(ListpackView<'a>),
}

impl ListValue {
    /// An empty list.
    pub fn new() -> Self {
        ListValue::Packed(Listpack::new())
    }

    pub fn as_ref(&self) -> ListRef<'_> {
        match self {
            ListValue::Packed(listpack) => ListRef::Packed(listpack.view()),
        }
    }

    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        1
    }
}

impl Default for ListValue {
    fn default() -> Self {
        Self::new()
    }
}

impl ListRef<'_> {
    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            ListRef::Packed(listpack) => listpack.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            ListRef::Packed(_) => "listpack",
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> ListValue {
        match self {
            ListRef::Packed(listpack) => ListValue::Packed(Listpack::copy_of(*listpack)),
        }
    }

    /// Bytes of the data region that it occupies.
    pub fn memory_bytes(&self) -> usize {
        match self {
            ListRef::Packed(listpack) => listpack.memory_bytes(),
        }
    }
}
