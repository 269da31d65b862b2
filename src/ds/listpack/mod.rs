//! Listpack: a short sequence of strings and integers in one block of bytes.
//!
//! Owns the bytes, exactly as Redis 7.2 lays them out, so that an RDB stores and loads a small
//! collection as one blob.
//!
//! ```text
//!   | total bytes u32 LE | count u16 LE | entry | entry | ... | 0xFF |
//!   0                    4              6                       total - 1
//! ```
//!
//! A count of 65535 means "unknown, walk to learn it"; it appears when the 65535th entry comes.
//! Entries: see `entry`.
//!
//! Trade-off: 7 bytes for the whole and 2 to 11 for an entry, no pointers, one allocation; in
//! exchange access by index walks (the shorter way when the count is known) and an edit moves the
//! bytes after it. Meant for up to some KiB.
//!
//! Two types: `ListpackView` reads any bytes and is total, whatever they hold (walks go strictly
//! up or down and stop at nonsense); `Listpack` owns bytes and edits them.
#![allow(unsafe_code)]

mod entry;
pub mod gap;
#[cfg(test)]
mod tests;
mod view;

use crate::ds::bytes::DataBytes;
use crate::ds::corrupt::Corrupt;
use crate::ds::element::Element;
use crate::sys::data_alloc::{Mover, Relocate};
use entry::{END, Encoded};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
pub use view::{Iter, ListpackView, Position};

/// Bytes before the first entry.
pub const HEADER_BYTES: usize = 6;
/// Bytes of a listpack without entries.
pub const EMPTY_BYTES: usize = HEADER_BYTES + 1;
/// The largest listpack the header can describe, bytes.
pub const MAX_BYTES: usize = u32::MAX as usize;
/// The count that means "walk to learn it".
const COUNT_UNKNOWN: u16 = u16::MAX;

/// An edit would make the listpack larger than its header can say; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("listpack would exceed 4 GiB")
    }
}

impl std::error::Error for TooLarge {}

/// A listpack that owns its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Listpack {
    bytes: DataBytes,
}

impl Relocate for Listpack {
    fn relocate(&mut self, mover: &mut Mover) {
        self.bytes.relocate(mover);
    }
}

impl Listpack {
    /// An empty listpack.
    pub fn new() -> Self {
        Self::with_capacity(EMPTY_BYTES)
    }

    /// An empty listpack with room for `capacity` bytes, header and end included.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes = DataBytes::with_capacity(capacity.max(EMPTY_BYTES));
        bytes.extend_from_slice(&[EMPTY_BYTES as u8, 0, 0, 0, 0, 0, END]);
        Self { bytes }
    }

    /// Copies serialised bytes after validating them: O(1), or O(n) when `deep`.
    ///
    /// # Errors
    /// The reason why the bytes are not a listpack.
    pub fn from_bytes(bytes: &[u8], deep: bool) -> Result<Self, Corrupt> {
        ListpackView::validate(bytes, deep)?;
        Ok(Self { bytes: DataBytes::copy_of(bytes) })
    }

    /// A copy of another listpack, without slack.
    pub fn copy_of(other: ListpackView<'_>) -> Self {
        Self { bytes: DataBytes::copy_of(other.as_bytes()) }
    }

    /// A reader of the same bytes.
    #[inline]
    pub fn view(&self) -> ListpackView<'_> {
        ListpackView::over(self.bytes.as_slice())
    }

    /// The serialised form.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Gives up ownership for one thin pointer.
    pub fn into_raw(self) -> NonNull<u8> {
        self.bytes.into_raw()
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `raw` came from [`Self::into_raw`], once.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: the same contract.
        Self { bytes: unsafe { DataBytes::from_raw(raw) } }
    }

    /// A reader of the listpack behind a thin pointer.
    ///
    /// # Safety
    /// `raw` came from [`Self::into_raw`]; nobody changes or frees it during `'a`.
    #[inline]
    pub unsafe fn view_of_raw<'a>(raw: NonNull<u8>) -> ListpackView<'a> {
        // SAFETY: the same contract.
        ListpackView::over(unsafe { DataBytes::slice_of_raw(raw) })
    }

    /// Bytes of the serialised form.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes held from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.memory_bytes()
    }

    /// Gives unused memory back.
    pub fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Number of entries; O(n) from 65535 entries on, else O(1).
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// The element at `index`, negative from the end; O(n).
    pub fn get(&self, index: i64) -> Option<Element<'_>> {
        self.view().get(index)
    }

    /// The position of `index`, negative from the end; O(n).
    pub fn seek(&self, index: i64) -> Option<Position> {
        self.view().seek(index)
    }

    /// All elements, from either end.
    pub fn iter(&self) -> Iter<'_> {
        self.view().iter()
    }

    /// Appends an element; O(its size), amortised.
    ///
    /// # Errors
    /// `TooLarge`, see there.
    pub fn push_back<'e>(&mut self, element: impl Into<Element<'e>>) -> Result<(), TooLarge> {
        self.insert_at(self.bytes.len() - 1, element.into())
    }

    /// Prepends an element; O(n) for the move.
    ///
    /// # Errors
    /// `TooLarge`, see there.
    pub fn push_front<'e>(&mut self, element: impl Into<Element<'e>>) -> Result<(), TooLarge> {
        self.insert_at(HEADER_BYTES, element.into())
    }

    /// Appends many elements; stops at the first that does not fit, keeping those before it.
    ///
    /// # Errors
    /// `TooLarge`, see there.
    pub fn extend<'e>(&mut self, elements: impl IntoIterator<Item = Element<'e>>) -> Result<(), TooLarge> {
        elements.into_iter().try_for_each(|element| self.push_back(element))
    }

    /// Inserts before the entry at `position`; the new entry then is at `position`.
    ///
    /// # Errors
    /// `TooLarge`, see there.
    pub fn insert_before<'e>(
        &mut self,
        position: Position,
        element: impl Into<Element<'e>>,
    ) -> Result<(), TooLarge> {
        self.insert_at(self.clamp(position.0), element.into())
    }

    /// Inserts after the entry at `position`, which stays valid; returns the new entry's position.
    ///
    /// # Errors
    /// `TooLarge`, see there.
    pub fn insert_after<'e>(
        &mut self,
        position: Position,
        element: impl Into<Element<'e>>,
    ) -> Result<Position, TooLarge> {
        let at = self.end_of(self.clamp(position.0));
        self.insert_at(at, element.into())?;
        Ok(Position(at))
    }

    /// Replaces the entry at `position`, which stays valid. No effect where no entry is.
    ///
    /// # Errors
    /// `TooLarge`, see there.
    pub fn replace<'e>(
        &mut self,
        position: Position,
        element: impl Into<Element<'e>>,
    ) -> Result<(), TooLarge> {
        let at = self.clamp(position.0);
        let old_len = self.end_of(at) - at;
        if old_len == 0 {
            return Ok(());
        }
        self.splice(at, old_len, element.into())
    }

    /// Removes the entry at `position`; returns the position of the one that followed it.
    pub fn delete(&mut self, position: Position) -> Option<Position> {
        self.delete_run(position, 1)
    }

    /// Removes up to `count` entries from `position` on; returns the position of the entry that
    /// followed them. O(n) for the walk and the move.
    pub fn delete_run(&mut self, position: Position, count: usize) -> Option<Position> {
        let start = self.clamp(position.0);
        let (end, removed) = self.walk(start, count);
        self.cut(start..end, removed);
        (start < self.bytes.len() - 1).then_some(Position(start))
    }

    /// Removes up to `count` entries from `index` (negative from the end) on; returns how many.
    pub fn delete_range(&mut self, index: i64, count: usize) -> usize {
        let Some(Position(start)) = self.seek(index) else {
            return 0;
        };
        let (end, removed) = self.walk(start, count);
        self.cut(start..end, removed);
        removed
    }

    /// Moves the entries from `index` on into a listpack of their own. O(n).
    pub fn split_off(&mut self, index: usize) -> Self {
        let (start, kept) = self.walk(HEADER_BYTES, index);
        let tail = &self.bytes.as_slice()[start..];
        // A header that was only validated shallowly may claim fewer entries than there are.
        let moved = self.len().saturating_sub(kept);
        let mut other = Self::with_capacity(HEADER_BYTES + tail.len());
        other.bytes.truncate(HEADER_BYTES);
        other.bytes.extend_from_slice(tail);
        other.write_header(moved);
        let end = self.bytes.len() - 1;
        self.cut(start..end, moved);
        self.write_header(kept);
        self.bytes.shrink_if_sparse();
        other
    }

    /// Appends all entries of `other` in one copy. O(size of `other`).
    ///
    /// # Errors
    /// `TooLarge`, see there.
    pub fn append(&mut self, other: ListpackView<'_>) -> Result<(), TooLarge> {
        let count = self.len() + other.len();
        let body = other.entries();
        if self.bytes.len() + body.len() > MAX_BYTES {
            return Err(TooLarge);
        }
        let end = self.bytes.len() - 1;
        self.bytes.resize_window(end, 0, body.len()).copy_from_slice(body);
        self.write_header(count);
        Ok(())
    }

    /// Checks that the bytes are what Redis would accept.
    ///
    /// # Errors
    /// The broken invariant.
    pub fn check_invariants(&self) -> Result<(), Corrupt> {
        ListpackView::validate(self.as_bytes(), true)
    }

    /// The offset brought into the range where an entry may be inserted.
    fn clamp(&self, at: usize) -> usize {
        at.clamp(HEADER_BYTES, self.bytes.len() - 1)
    }

    /// Where the entry at `at` ends; `at` itself where no entry is.
    fn end_of(&self, at: usize) -> usize {
        entry::skip(self.bytes.as_slice(), at).unwrap_or(at)
    }

    /// Walks up to `count` entries from `at`: where they end and how many there were.
    fn walk(&self, at: usize, count: usize) -> (usize, usize) {
        let (mut end, mut walked) = (at, 0);
        while walked < count {
            let Some(next) = entry::skip(self.bytes.as_slice(), end) else {
                break;
            };
            end = next;
            walked += 1;
        }
        (end, walked)
    }

    fn insert_at(&mut self, at: usize, element: Element<'_>) -> Result<(), TooLarge> {
        self.splice(at, 0, element)?;
        let count = self.view().header_count();
        if count != COUNT_UNKNOWN {
            self.write_count(count + 1);
        }
        Ok(())
    }

    /// Puts `element` in the place of `old_len` bytes; keeps the count.
    fn splice(&mut self, at: usize, old_len: usize, element: Element<'_>) -> Result<(), TooLarge> {
        let encoded = Encoded::new(element);
        let new_len = encoded.entry_len();
        if self.bytes.len() - old_len + new_len > MAX_BYTES {
            return Err(TooLarge);
        }
        encoded.write_to(self.bytes.resize_window(at, old_len, new_len));
        self.write_total();
        Ok(())
    }

    /// Removes the bytes of `removed` entries.
    fn cut(&mut self, range: Range<usize>, removed: usize) {
        self.bytes.resize_window(range.start, range.len(), 0);
        self.bytes.shrink_if_sparse();
        self.write_total();
        let count = self.view().header_count();
        if count != COUNT_UNKNOWN {
            let left = usize::from(count).saturating_sub(removed);
            self.write_count(u16::try_from(left).unwrap_or(COUNT_UNKNOWN));
        }
    }

    fn write_header(&mut self, count: usize) {
        self.write_total();
        self.write_count(u16::try_from(count).unwrap_or(COUNT_UNKNOWN));
    }

    fn write_total(&mut self) {
        let total = u32::try_from(self.bytes.len()).expect("edits are checked against MAX_BYTES");
        self.bytes.as_mut_slice()[..4].copy_from_slice(&total.to_le_bytes());
    }

    fn write_count(&mut self, count: u16) {
        self.bytes.as_mut_slice()[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
    }
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Listpack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
