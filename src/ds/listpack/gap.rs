//! A listpack with room before it, for lists that change at their head.
//!
//! ```text
//!   | gap ........ | total | count | entry | entry | ... | 0xFF |
//!   0              gap (the listpack, as everywhere)        len
//!
//!   push:  | gap .. | total | count | new | entry | ...      the header moves, entries stay
//! ```
//!
//! Trade-off: a push or pop at the front of a plain listpack moves all its bytes, 4 KiB in the mean
//! for the nodes of a long list. Here it moves the header; in exchange the gap takes up to as many
//! bytes as the listpack, in one or two nodes of a list. Everything else closes the gap first.
//!
//! Invariant: the bytes from `gap` on are a listpack.

use super::entry::{self, END, Encoded};
use super::{COUNT_UNKNOWN, HEADER_BYTES, Listpack, ListpackView, MAX_BYTES, TooLarge};
use crate::ds::bytes::DataBytes;
use crate::ds::element::Element;

/// The largest gap opened at once beyond what an element needs, bytes: a node of usual size.
const GAP_MAX_BYTES: usize = 8192;

/// The bytes of a listpack, with a gap of 0.
pub fn open(listpack: Listpack) -> DataBytes {
    listpack.bytes
}

/// The listpack, moved to the start of its block. O(n).
pub fn close(mut bytes: DataBytes, gap: u32) -> Listpack {
    if gap > 0 {
        bytes.resize_window(0, gap as usize, 0);
        bytes.shrink_if_sparse();
    }
    Listpack { bytes }
}

/// A reader of the listpack.
#[inline]
pub fn view(bytes: &DataBytes, gap: u32) -> ListpackView<'_> {
    ListpackView::over(bytes.as_slice().get(gap as usize..).unwrap_or(&[]))
}

/// Prepends an element; O(its size), amortised.
///
/// # Errors
/// `TooLarge`; nothing was changed.
#[inline]
pub fn push_front(bytes: &mut DataBytes, gap: &mut u32, element: Element<'_>) -> Result<(), TooLarge> {
    let encoded = Encoded::new(element);
    let len = encoded.entry_len();
    let total = bytes.len() - *gap as usize + len;
    if total > MAX_BYTES - GAP_MAX_BYTES {
        return Err(TooLarge);
    }
    if (*gap as usize) < len {
        widen(bytes, gap, len);
    }
    let count = view(bytes, *gap).header_count();
    *gap -= len as u32;
    write_header(bytes, *gap, total, added(count));
    let start = *gap as usize + HEADER_BYTES;
    encoded.write_to(&mut bytes.as_mut_slice()[start..start + len]);
    Ok(())
}

/// Appends an element; O(its size), amortised.
///
/// # Errors
/// `TooLarge`; nothing was changed.
pub fn push_back(bytes: &mut DataBytes, gap: u32, element: Element<'_>) -> Result<(), TooLarge> {
    let encoded = Encoded::new(element);
    let len = encoded.entry_len();
    let total = bytes.len() - gap as usize + len;
    if total > MAX_BYTES - GAP_MAX_BYTES {
        return Err(TooLarge);
    }
    let count = view(bytes, gap).header_count();
    let end = bytes.len() - 1;
    encoded.write_to(bytes.resize_window(end, 0, len));
    write_header(bytes, gap, total, added(count));
    Ok(())
}

/// Shows the first element to `take` and removes it. O(its size).
#[inline]
pub fn pop_front<R>(bytes: &mut DataBytes, gap: &mut u32, take: impl FnOnce(Element<'_>) -> R) -> Option<R> {
    let listpack = view(bytes, *gap);
    let (element, next) = entry::decode_and_skip(listpack.as_bytes(), HEADER_BYTES)?;
    let (taken, count) = (take(element), listpack.header_count());
    let total = listpack.as_bytes().len() - (next - HEADER_BYTES);
    *gap += (next - HEADER_BYTES) as u32;
    write_header(bytes, *gap, total, removed(count));
    Some(taken)
}

/// Shows the last element to `take` and removes it. O(its size).
pub fn pop_back<R>(bytes: &mut DataBytes, gap: u32, take: impl FnOnce(Element<'_>) -> R) -> Option<R> {
    let listpack = view(bytes, gap);
    let position = listpack.last()?;
    let (taken, count) = (take(listpack.element(position)?), listpack.header_count());
    let total = position.0 + 1;
    bytes.truncate(gap as usize + total);
    bytes.as_mut_slice()[gap as usize + position.0] = END;
    write_header(bytes, gap, total, removed(count));
    Some(taken)
}

/// Makes the gap as large as the listpack, and at least `needed` bytes.
#[cold]
fn widen(bytes: &mut DataBytes, gap: &mut u32, needed: usize) {
    let own = bytes.len() - *gap as usize;
    let wanted = needed.max(own.min(GAP_MAX_BYTES));
    bytes.resize_window(0, *gap as usize, wanted);
    *gap = wanted as u32;
}

fn added(count: u16) -> u16 {
    count.saturating_add(1)
}

fn removed(count: u16) -> u16 {
    if count == COUNT_UNKNOWN { count } else { count.saturating_sub(1) }
}

#[inline]
fn write_header(bytes: &mut DataBytes, gap: u32, total: usize, count: u16) {
    let total = u32::try_from(total).expect("edits are checked against MAX_BYTES");
    let header = &mut bytes.as_mut_slice()[gap as usize..gap as usize + HEADER_BYTES];
    header[..4].copy_from_slice(&total.to_le_bytes());
    header[4..].copy_from_slice(&count.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::{close, open, pop_back, pop_front, push_back, push_front, view};
    use crate::ds::element::Element;
    use crate::ds::listpack::{Listpack, ListpackView};
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn agrees_with_a_queue(edits in vec((0u8..6, any::<i64>(), 0usize..200), 0..120)) {
            let (mut bytes, mut gap) = (open(Listpack::new()), 0);
            let mut model: VecDeque<Vec<u8>> = VecDeque::new();
            for (edit, number, len) in edits {
                let text = if len % 3 == 0 { number.to_string().into_bytes() } else { vec![b'x'; len] };
                match edit {
                    0 | 1 => {
                        push_front(&mut bytes, &mut gap, Element::Bytes(&text)).expect("small");
                        model.push_front(text);
                    }
                    2 => {
                        push_back(&mut bytes, gap, Element::Bytes(&text)).expect("small");
                        model.push_back(text);
                    }
                    3 => {
                        let popped = pop_front(&mut bytes, &mut gap, |element| element.to_vec());
                        prop_assert_eq!(popped, model.pop_front());
                    }
                    4 => {
                        let popped = pop_back(&mut bytes, gap, |element| element.to_vec());
                        prop_assert_eq!(popped, model.pop_back());
                    }
                    _ => (bytes, gap) = (open(close(bytes, gap)), 0),
                }
                let listpack = view(&bytes, gap);
                prop_assert_eq!(ListpackView::validate(listpack.as_bytes(), true), Ok(()));
                let texts: Vec<Vec<u8>> = listpack.iter().map(|element| element.to_vec()).collect();
                prop_assert_eq!(&texts, &Vec::from(model.clone()));
            }
        }
    }

    #[test]
    fn the_count_goes_over_to_unknown() {
        let mut listpack = Listpack::new();
        (0..65_534).for_each(|_| listpack.push_back(1).expect("small"));
        let (mut bytes, mut gap) = (open(listpack), 0);
        for _ in 0..3 {
            push_front(&mut bytes, &mut gap, Element::Int(2)).expect("small");
        }
        assert_eq!(view(&bytes, gap).len(), 65_537);
        pop_front(&mut bytes, &mut gap, |_| ()).expect("not empty");
        assert_eq!(close(bytes, gap).len(), 65_536);
    }
}
