//! The list type.
//!
//! | encoding | where | shown as |
//! | --- | --- | --- |
//! | packed | a listpack of its own, one thin pointer in the entry | `listpack` |
//! | linked | a quicklist in a box of its own | `quicklist` |
//!
//! A list is packed as long as it fits one node (`list-max-listpack-size`). It becomes a quicklist
//! before it outgrows that, and a listpack again when a removal leaves one node of half the limits,
//! so that it does not change back and forth.

use crate::ds::corrupt::Corrupt;
use crate::ds::element::{Element, Picked};
use crate::ds::listpack::{Listpack, ListpackView};
use crate::ds::quicklist::{Codec, Options, Quicklist, remove_from_listpack, visit_listpack};
use crate::sys::data_alloc::DataBox;
use crate::value::TypeLimits;
use crate::value::counted::counted;

pub use crate::ds::element::Element as ListElement;
pub use crate::ds::quicklist::{Container, Direction, NodeView, Side, Stored};

/// Why an edit of a packed list cannot fail: it would be a quicklist before.
const FITS: &str = "a packed list is far below 4 GiB";

/// The limits of a node, from the directives.
pub type ListLimits = Options;

impl TypeLimits {
    /// The limits of lists.
    pub fn list(&self) -> ListLimits {
        Self::list_of(self.list_fill, self.list_compress_depth, self.list_packed_threshold_bytes)
    }

    /// The limits of lists from the directives alone.
    #[inline]
    pub fn list_of(fill: i32, compress_depth: i32, packed_threshold_bytes: u64) -> ListLimits {
        let options = Options::new(i64::from(fill), i64::from(compress_depth));
        options.with_packed_threshold(packed_threshold_bytes).unwrap_or(options)
    }
}

/// An owned list. The order of the variants is that of `value/parts.rs`.
#[derive(Debug)]
pub enum ListValue {
    Packed(Listpack),
    Linked(DataBox<Quicklist>),
}

/// A list seen in its entry.
#[derive(Clone, Copy, Debug)]
pub enum ListRef<'a> {
    Packed(ListpackView<'a>),
    Linked(&'a Quicklist),
}

counted!(ListValue, ListRef);

impl ListValue {
    /// An empty list.
    pub fn new() -> Self {
        ListValue::Packed(Listpack::new())
    }

    /// A list in the encoding that its size asks for.
    pub fn of_quicklist(list: Quicklist, limits: ListLimits) -> Self {
        let mut value = ListValue::Linked(DataBox::new(list));
        value.become_packed(limits, false);
        value
    }

    #[inline]
    pub fn as_ref(&self) -> ListRef<'_> {
        match self {
            ListValue::Packed(listpack) => ListRef::Packed(listpack.view()),
            ListValue::Linked(list) => ListRef::Linked(list),
        }
    }

    /// Blocks that freeing it gives back, about.
    pub fn free_effort(&self) -> usize {
        match self {
            ListValue::Packed(_) => 1,
            ListValue::Linked(list) => list.node_count(),
        }
    }

    /// Adds an element at one end. [`ListValue::grow_for`] comes before.
    #[inline]
    pub fn push(&mut self, side: Side, element: &[u8]) {
        match (self, side) {
            (ListValue::Packed(listpack), Side::Before) => listpack.push_front(element).expect(FITS),
            (ListValue::Packed(listpack), Side::After) => listpack.push_back(element).expect(FITS),
            (ListValue::Linked(list), Side::Before) => list.push_front(element),
            (ListValue::Linked(list), Side::After) => list.push_back(element),
        }
    }

    /// Shows the element at one end to `take` and removes it.
    #[inline]
    pub fn pop_with<R>(&mut self, side: Side, take: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        match self {
            ListValue::Packed(listpack) => {
                let view = listpack.view();
                let position = if side == Side::Before { view.first() } else { view.last() }?;
                let taken = take(view.element(position)?);
                listpack.delete(position);
                Some(taken)
            }
            ListValue::Linked(list) => list.pop_with(side, take),
        }
    }

    /// Replaces the element at `index`; whether there is one. [`ListValue::grow_for`] comes before.
    pub fn replace(&mut self, index: usize, element: &[u8]) -> bool {
        match self {
            ListValue::Packed(listpack) => match listpack.seek(index as i64) {
                Some(position) => listpack.replace(position, element).is_ok(),
                None => false,
            },
            ListValue::Linked(list) => list.replace(index, element),
        }
    }

    /// Inserts before or after the element at `index`; whether there is one.
    /// [`ListValue::grow_for`] comes before.
    pub fn insert(&mut self, index: usize, side: Side, element: &[u8]) -> bool {
        let listpack = match self {
            ListValue::Packed(listpack) => listpack,
            ListValue::Linked(list) => return list.insert(index, side, element),
        };
        let Some(position) = listpack.seek(index as i64) else { return false };
        match side {
            Side::Before => listpack.insert_before(position, element).expect(FITS),
            Side::After => drop(listpack.insert_after(position, element).expect(FITS)),
        }
        true
    }

    /// Removes up to `count` elements from `index` on; returns how many. [`ListValue::shrink`]
    /// comes after.
    pub fn delete_range(&mut self, index: usize, count: usize) -> usize {
        match self {
            ListValue::Packed(listpack) => listpack.delete_range(index as i64, count),
            ListValue::Linked(list) => list.delete_range(index, count),
        }
    }

    /// Removes up to `limit` elements that read as `needle`, from one end on; returns how many.
    /// [`ListValue::shrink`] comes after. O(n).
    pub fn remove_matching(&mut self, needle: &[u8], limit: usize, direction: Direction) -> usize {
        match (self, direction) {
            (ListValue::Packed(listpack), Direction::Forward) => {
                remove_from_listpack(listpack, needle, limit, Side::Before)
            }
            (ListValue::Packed(listpack), Direction::Backward) => {
                remove_from_listpack(listpack, needle, limit, Side::After)
            }
            (ListValue::Linked(list), _) => list.remove_matching(needle, limit, direction),
        }
    }

    /// Before `count` elements of `bytes` together are added: a packed list that they do not fit
    /// becomes a quicklist.
    #[inline]
    pub fn grow_for(&mut self, bytes: usize, count: usize, limits: ListLimits) {
        match self {
            ListValue::Packed(listpack) => {
                if limits.exceeds(listpack.byte_len() + bytes, listpack.len() + count) {
                    self.become_linked(limits);
                }
            }
            ListValue::Linked(list) => list.set_packed_threshold_of(limits),
        }
    }

    #[cold]
    fn become_linked(&mut self, limits: ListLimits) {
        if let ListValue::Packed(listpack) = self {
            let mut list = Quicklist::new(limits, &Codec::LZF);
            list.append_packed(std::mem::take(listpack));
            *self = ListValue::Linked(DataBox::new(list));
        }
    }

    /// After a removal: a quicklist that has become small becomes a listpack again.
    #[inline]
    pub fn shrink(&mut self, limits: ListLimits) {
        if self.as_ref().is_single_node() {
            self.become_packed(limits, true);
        }
    }

    /// Checks the bytes of all nodes, counts and order.
    ///
    /// # Errors
    /// The broken invariant.
    pub fn check_invariants(&self) -> Result<(), Corrupt> {
        match self {
            ListValue::Packed(listpack) => listpack.check_invariants(),
            ListValue::Linked(list) => list.check_invariants(),
        }
    }

    fn become_packed(&mut self, limits: ListLimits, was_larger: bool) {
        let ListValue::Linked(list) = self else { return };
        let allowed = |listpack: ListpackView<'_>| {
            limits.allows_single(listpack.as_bytes().len(), listpack.len(), was_larger)
        };
        if !list.single_listpack().is_some_and(allowed) {
            return;
        }
        if let Some(listpack) = list.take_single_listpack() {
            *self = ListValue::Packed(listpack);
        }
    }
}

impl<'a> ListRef<'a> {
    /// Elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            ListRef::Packed(listpack) => listpack.len(),
            ListRef::Linked(list) => list.len(),
        }
    }

    /// Whether it is a quicklist of one node.
    #[inline]
    fn is_single_node(&self) -> bool {
        matches!(self, ListRef::Linked(list) if list.node_count() == 1)
    }

    pub fn encoding(&self) -> &'static str {
        match self {
            ListRef::Packed(_) => "listpack",
            ListRef::Linked(_) => "quicklist",
        }
    }

    /// A deep copy.
    pub fn to_value(&self) -> ListValue {
        match self {
            ListRef::Packed(listpack) => ListValue::Packed(Listpack::copy_of(*listpack)),
            ListRef::Linked(list) => ListValue::Linked(DataBox::new(Quicklist::clone(list))),
        }
    }

    /// Bytes of the data region that it occupies. O(nodes).
    pub fn memory_bytes(&self, samples: usize) -> usize {
        match self {
            ListRef::Packed(listpack) => listpack.memory_bytes(),
            ListRef::Linked(list) => size_of::<Quicklist>() + list.memory_bytes(samples),
        }
    }

    /// Bytes of the elements as stored, compressed nodes by their full length, about; what a reply
    /// with all of them reserves. O(1) for a listpack, O(nodes).
    pub fn payload_bytes(&self) -> usize {
        match self {
            ListRef::Packed(listpack) => listpack.as_bytes().len(),
            ListRef::Linked(list) => list.nodes().map(|node| node.raw_len).sum(),
        }
    }

    /// The element at `index`.
    pub fn get(&self, index: usize) -> Option<Picked<'a>> {
        match self {
            ListRef::Packed(listpack) => listpack.get(index as i64).map(Picked::from),
            ListRef::Linked(list) => list.get(index),
        }
    }

    /// Shows up to `count` elements from `index` on, in `direction`, until `visit` gives false.
    #[inline]
    pub fn visit(
        &self,
        index: usize,
        count: usize,
        direction: Direction,
        visit: impl FnMut(Element<'_>) -> bool,
    ) {
        match self {
            ListRef::Packed(listpack) => {
                let start = listpack.seek(index as i64);
                visit_listpack(*listpack, start, count, direction, visit);
            }
            ListRef::Linked(list) => list.visit(index, count, direction, visit),
        }
    }

    /// Shows all elements in order.
    #[inline]
    pub fn for_each(&self, mut show: impl FnMut(Element<'_>)) {
        self.visit(0, usize::MAX, Direction::Forward, |element| {
            show(element);
            true
        });
    }

    /// The index of the first element that reads as `needle`. O(n).
    pub fn find(&self, needle: &Needle<'_>) -> Option<usize> {
        let (mut index, mut found) = (0, None);
        self.visit(0, usize::MAX, Direction::Forward, |element| {
            if needle.matches(element) {
                found = Some(index);
            }
            index += 1;
            found.is_none()
        });
        found
    }

    /// The nodes as a file keeps them; a packed list is one.
    pub fn nodes(&self) -> impl Iterator<Item = NodeView<'a>> + use<'a> {
        let (single, linked) = match *self {
            ListRef::Packed(listpack) => (Some(NodeView::of_listpack(listpack)), None),
            ListRef::Linked(list) => (None, Some(list)),
        };
        single.into_iter().chain(linked.into_iter().flat_map(Quicklist::nodes))
    }

    /// The settings of a quicklist: `list-max-listpack-size` and whether nodes are compressed.
    pub fn node_settings(&self) -> Option<(i16, bool)> {
        match self {
            ListRef::Packed(_) => None,
            ListRef::Linked(list) => Some((list.options().fill(), list.options().compress_depth() > 0)),
        }
    }
}

/// What is looked for in a list, looked at once for all elements.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'a> {
    bytes: &'a [u8],
    integer: Option<i64>,
}

impl<'a> Needle<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Needle { bytes, integer: Element::Bytes(bytes).as_integer() }
    }

    /// Whether an element reads as this.
    #[inline]
    pub fn matches(&self, element: Element<'_>) -> bool {
        match element {
            Element::Int(value) => self.integer == Some(value),
            Element::Bytes(bytes) => bytes == self.bytes,
        }
    }
}

/// Builds a list from what a file holds.
#[derive(Debug)]
pub struct ListBuilder {
    list: Quicklist,
    limits: ListLimits,
}

impl ListBuilder {
    pub fn new(limits: ListLimits) -> Self {
        ListBuilder { list: Quicklist::new(limits, &Codec::LZF), limits }
    }

    /// Appends an element.
    pub fn push(&mut self, element: Element<'_>) {
        self.list.push_back(element);
    }

    /// Appends a listpack as a node; an empty one is dropped.
    pub fn append_packed(&mut self, listpack: Listpack) {
        self.list.append_packed(listpack);
    }

    /// Appends an element as a node of its own.
    pub fn append_plain(&mut self, bytes: &[u8]) {
        self.list.append_plain(bytes);
    }

    /// The list; `None` when nothing was appended.
    pub fn finish(self) -> Option<ListValue> {
        (!self.list.is_empty()).then(|| ListValue::of_quicklist(self.list, self.limits))
    }
}
