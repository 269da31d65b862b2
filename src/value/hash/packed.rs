//! The listpack forms: pairs of field and value, or triples with an expiry.
//!
//! ```text
//!  | field | value | field | value | ...                     without expiry
//!  | field | value | 0 | field | value | 1767225600000 | ...  with expiry, Unix ms
//! ```
//! The second form is that of Redis 7.4 in files, except that the order there is by expiry.

use super::HashField;
use crate::ds::element::Element;
use crate::ds::listpack::{Listpack, ListpackView, Position, TooLarge};

/// A look at either form.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    view: ListpackView<'a>,
    with_expiry: bool,
}

/// The expiry as an element: 0 stands for none, so the first millisecond of 1970 is a bit late.
pub(super) fn expiry_element(expiry_ms: Option<i64>) -> Element<'static> {
    Element::Int(expiry_ms.map_or(0, |at_ms| if at_ms == 0 { 1 } else { at_ms }))
}

/// What an element in the place of an expiry means.
fn expiry_of(element: Option<Element<'_>>) -> Option<i64> {
    element.and_then(|element| element.as_integer()).filter(|at_ms| *at_ms != 0)
}

impl<'a> Packed<'a> {
    pub fn new(view: ListpackView<'a>, with_expiry: bool) -> Self {
        Packed { view, with_expiry }
    }

    /// Elements that belong to a field.
    #[inline]
    fn stride(self) -> usize {
        if self.with_expiry { 3 } else { 2 }
    }

    #[inline]
    pub fn len(self) -> usize {
        self.view.len() / self.stride()
    }

    pub fn first(self) -> Option<Position> {
        self.view.first()
    }

    /// Where the field with this name stands. O(n).
    #[inline]
    pub fn find(self, name: &[u8]) -> Option<Position> {
        self.view.find(self.view.first()?, name, self.stride() - 1)
    }

    /// Where the field number `index` stands. O(n).
    pub fn seek(self, index: usize) -> Option<Position> {
        self.view.seek(i64::try_from(index * self.stride()).ok()?)
    }

    /// The field whose name stands at `position`, and where the next one does.
    #[inline]
    pub fn step(self, position: Position) -> Option<(HashField<'a>, Option<Position>)> {
        let name = self.view.element(position)?;
        let value_at = self.view.next(position)?;
        let value = self.view.element(value_at)?;
        let mut next = self.view.next(value_at);
        let mut expiry_ms = None;
        if self.with_expiry {
            expiry_ms = expiry_of(next.and_then(|at| self.view.element(at)));
            next = next.and_then(|at| self.view.next(at));
        }
        Some((HashField { name, value, expiry_ms }, next))
    }

    #[inline]
    pub fn field_at(self, position: Position) -> Option<HashField<'a>> {
        self.step(position).map(|(field, _)| field)
    }

    /// Where value and expiry of the field at `position` stand.
    fn places(self, position: Position) -> Option<(Position, Option<Position>)> {
        let value = self.view.next(position)?;
        Some((value, if self.with_expiry { self.view.next(value) } else { None }))
    }
}

/// Adds a field that is not there.
pub(super) fn append(
    listpack: &mut Listpack,
    with_expiry: bool,
    field: HashField<'_>,
) -> Result<(), TooLarge> {
    listpack.push_back(field.name)?;
    listpack.push_back(field.value)?;
    if with_expiry {
        listpack.push_back(expiry_element(field.expiry_ms))?;
    }
    Ok(())
}

/// Replaces the value of the field at `position`, and its expiry when it differs from `before`.
pub(super) fn replace(
    listpack: &mut Listpack,
    position: Position,
    value: Element<'_>,
    expiry: Option<(Option<i64>, Option<i64>)>,
) -> Result<(), TooLarge> {
    let packed = Packed::new(listpack.view(), expiry.is_some());
    let Some((value_at, expiry_at)) = packed.places(position) else { return Ok(()) };
    // The expiry stands behind the value: it is written first, while its place is known.
    if let (Some(at), Some((before, after))) = (expiry_at, expiry)
        && before != after
    {
        listpack.replace(at, expiry_element(after))?;
    }
    listpack.replace(value_at, value)
}

/// Replaces the expiry of the field at `position`.
pub(super) fn replace_expiry(
    listpack: &mut Listpack,
    position: Position,
    expiry_ms: Option<i64>,
) -> Result<(), TooLarge> {
    let places = Packed::new(listpack.view(), true).places(position);
    match places {
        Some((_, Some(at))) => listpack.replace(at, expiry_element(expiry_ms)),
        _ => Ok(()),
    }
}

/// Removes the field at `position`; gives where the one behind it stands.
pub(super) fn remove(listpack: &mut Listpack, position: Position, with_expiry: bool) -> Option<Position> {
    listpack.delete_run(position, if with_expiry { 3 } else { 2 })
}
