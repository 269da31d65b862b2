//! The set type.
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | packed | a listpack of its own, one thin pointer in the entry | `listpack` |

use crate::ds::listpack::{Listpack, ListpackView};

/// An owned set. The order of the variants is that of `value/parts.rs`.
#[derive(Debug)]
pub enum SetValue {
    Packed(Listpack),
}

/// A set seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum SetRef<'a> {
    Packed(ListpackView<'a>),
}

impl SetValue {
    /// An empty set.
    pub fn new() -> Self {
        SetValue::Packed(Listpack::new())
    }

    pub fn as_ref(&self) -> SetRef<'_> {
        match self {
            SetValue::Packed(listpack) => SetRef::Packed(listpack.view()),
        }
    }

    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        1
    }
}

impl Default for SetValue {
    fn default() -> Self {
        Self::new()
    }
}

impl SetRef<'_> {
    /// Members.
    pub fn len(&self) -> usize {
        match self {
            SetRef::Packed(listpack) => listpack.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            SetRef::Packed(_) => "listpack",
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> SetValue {
        match self {
            SetRef::Packed(listpack) => SetValue::Packed(Listpack::copy_of(*listpack)),
        }
    }

    /// Bytes of the data region that it occupies.
    pub fn memory_bytes(&self) -> usize {
        match self {
            SetRef::Packed(listpack) => listpack.memory_bytes(),
        }
    }
}
