//! The members of a set, whatever its encoding.

use super::SetRef;
use crate::ds::element::Element;
use crate::ds::intset::IntsetView;
use crate::ds::listpack;
use crate::ds::member_table;

/// Iterator over the members of a set.
pub struct SetIter<'a>(Inner<'a>);

#[allow(clippy::large_enum_variant, reason = "lives on the stack for one walk")]
enum Inner<'a> {
    Packed(listpack::Iter<'a>),
    Integers { intset: IntsetView<'a>, next: usize },
    Big(member_table::Iter<'a>),
}

impl<'a> SetIter<'a> {
    pub(super) fn new(set: SetRef<'a>) -> Self {
        SetIter(match set {
            SetRef::Packed(listpack) => Inner::Packed(listpack.iter()),
            SetRef::Integers(intset) => Inner::Integers { intset, next: 0 },
            SetRef::Big(table) => Inner::Big(table.iter()),
        })
    }
}

impl<'a> Iterator for SetIter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match &mut self.0 {
            Inner::Packed(iter) => iter.next(),
            Inner::Integers { intset, next } => {
                let value = intset.get(*next)?;
                *next += 1;
                Some(Element::Int(value))
            }
            Inner::Big(iter) => iter.next().map(Element::Bytes),
        }
    }
}
