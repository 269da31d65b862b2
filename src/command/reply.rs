//! Writing what several families answer with.

use crate::ds::element::Element;
use crate::resp::Reply;

/// Appends an element of a packed structure as a bulk string.
#[inline]
pub fn put_element(out: &mut Reply, element: Element<'_>) {
    match element {
        Element::Int(value) => out.bulk_integer(value),
        Element::Bytes(bytes) => out.bulk(bytes),
    }
}
