//! Reading a listpack: validation, walks both ways, search. Owns nothing; total on any bytes.

use super::entry::{self, END};
use super::{COUNT_UNKNOWN, EMPTY_BYTES, HEADER_BYTES};
use crate::ds::corrupt::Corrupt;
use crate::ds::element::{Element, parse_integer};
use crate::sys::data_alloc;
use std::fmt;
use std::iter::FusedIterator;

/// Length and capacity in front of the bytes (`sys::data_alloc::DataBytes`).
const BLOCK_HEADER_BYTES: usize = 8;

/// Where an entry starts. Any edit before it makes it stale; a stale position gives wrong
/// answers, never a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub(super) usize);

/// A reader of the bytes of a listpack.
#[derive(Clone, Copy)]
pub struct ListpackView<'a> {
    bytes: &'a [u8],
}

impl fmt::Debug for ListpackView<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> ListpackView<'a> {
    /// Checks serialised bytes. Shallow, O(1): size, header and end agree. Deep, O(n): each entry
    /// is known, inside, its backlen is right, and the count agrees.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn validate(bytes: &'a [u8], deep: bool) -> Result<(), Corrupt> {
        if bytes.len() < EMPTY_BYTES {
            return Err(Corrupt("listpack shorter than its header"));
        }
        let view = Self { bytes };
        if view.header_total() != bytes.len() {
            return Err(Corrupt("listpack header disagrees with its size"));
        }
        if bytes.last() != Some(&END) {
            return Err(Corrupt("listpack without end byte"));
        }
        if deep { view.validate_entries() } else { Ok(()) }
    }

    /// Reads validated serialised bytes; O(1), or O(n) when `deep`.
    ///
    /// # Errors
    /// The reason why the bytes are not a listpack.
    pub fn from_bytes(bytes: &'a [u8], deep: bool) -> Result<Self, Corrupt> {
        Self::validate(bytes, deep)?;
        Ok(Self { bytes })
    }

    /// Reads bytes that went through `validate` before. On other bytes the reads give nonsense or
    /// nothing, never a panic.
    pub fn over(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The serialised form.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the data region that a listpack of this size occupies without slack.
    pub fn memory_bytes(&self) -> usize {
        data_alloc::usable_size(self.bytes.len() + BLOCK_HEADER_BYTES)
    }

    /// The bytes of the entries alone.
    pub(super) fn entries(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..self.bytes.len().saturating_sub(1)).unwrap_or(&[])
    }

    /// Number of entries; O(n) from 65535 entries on, else O(1).
    pub fn len(&self) -> usize {
        match self.header_count() {
            COUNT_UNKNOWN => self.positions().count(),
            count => usize::from(count),
        }
    }

    /// Whether there is no entry; O(1).
    pub fn is_empty(&self) -> bool {
        self.bytes.len() <= EMPTY_BYTES
    }

    /// Position of the first entry.
    pub fn first(&self) -> Option<Position> {
        self.valid(HEADER_BYTES)
    }

    /// Position of the last entry.
    pub fn last(&self) -> Option<Position> {
        self.previous(Position(self.bytes.len().checked_sub(1)?))
    }

    /// Position of the entry after `position`.
    pub fn next(&self, position: Position) -> Option<Position> {
        entry::skip(self.bytes, position.0).and_then(|at| self.valid(at))
    }

    /// Position of the entry before `position`.
    pub fn previous(&self, position: Position) -> Option<Position> {
        let inner = entry::read_backlen(self.bytes, HEADER_BYTES, position.0)?;
        let start = position.0.checked_sub(inner + entry::backlen_size(inner))?;
        (start >= HEADER_BYTES).then_some(Position(start))
    }

    /// The element at `position`.
    pub fn element(&self, position: Position) -> Option<Element<'a>> {
        entry::decode(self.bytes, position.0)
    }

    /// The element at `position` and the position of the next one, measured once.
    #[inline]
    pub fn element_and_next(&self, position: Position) -> Option<(Element<'a>, Option<Position>)> {
        let (element, next) = entry::decode_and_skip(self.bytes, position.0)?;
        // The byte at `next` is there; only the end byte is no entry of a validated listpack.
        Some((element, (self.bytes[next] != END).then_some(Position(next))))
    }

    /// The element at `index`, negative from the end; O(n).
    pub fn get(&self, index: i64) -> Option<Element<'a>> {
        self.seek(index).and_then(|position| self.element(position))
    }

    /// The position of `index`, negative from the end; O(n), from the nearer end where the count
    /// is known.
    pub fn seek(&self, index: i64) -> Option<Position> {
        let count = self.header_count();
        if count == COUNT_UNKNOWN {
            return self.seek_unknown(index);
        }
        let count = i64::from(count);
        let forward = if index < 0 { index.checked_add(count)? } else { index };
        if !(0..count).contains(&forward) {
            return None;
        }
        if forward <= count / 2 {
            self.step_forward(forward.unsigned_abs())
        } else {
            self.step_back((count - 1 - forward).unsigned_abs())
        }
    }

    /// The first entry from `from` on that reads as `needle`, looking at one entry and then
    /// passing over `skip` of them (1 to look at the fields of field-value pairs). O(n).
    pub fn find(&self, from: Position, needle: &[u8], skip: usize) -> Option<Position> {
        let integer = parse_integer(needle);
        let mut at = from;
        loop {
            let matches = match self.element(at)? {
                Element::Int(value) => integer == Some(value),
                Element::Bytes(bytes) => bytes == needle,
            };
            if matches {
                return Some(at);
            }
            for _ in 0..=skip {
                at = self.next(at)?;
            }
        }
    }

    /// All elements, from either end.
    pub fn iter(&self) -> Iter<'a> {
        Iter { view: *self, front: self.first(), back: self.last() }
    }

    /// The elements from `position` to the end, from either end.
    pub fn iter_from(&self, position: Position) -> Iter<'a> {
        Iter { view: *self, front: self.valid(position.0), back: self.last() }
    }

    /// The positions of all entries in order.
    pub fn positions(&self) -> impl Iterator<Item = Position> + use<'a> {
        let view = *self;
        std::iter::successors(view.first(), move |&at| view.next(at))
    }

    /// The count field of the header; 0 when there is none.
    pub(super) fn header_count(&self) -> u16 {
        let field = self.bytes.get(4..).and_then(|rest| rest.first_chunk::<2>());
        field.map_or(0, |field| u16::from_le_bytes(*field))
    }

    fn header_total(&self) -> usize {
        self.bytes.first_chunk::<4>().map_or(0, |field| u32::from_le_bytes(*field) as usize)
    }

    /// `at` as a position when an entry starts there.
    fn valid(&self, at: usize) -> Option<Position> {
        entry::skip(self.bytes, at).map(|_| Position(at))
    }

    fn seek_unknown(&self, index: i64) -> Option<Position> {
        if index < 0 {
            self.step_back(index.unsigned_abs() - 1)
        } else {
            self.step_forward(index.unsigned_abs())
        }
    }

    fn step_forward(&self, steps: u64) -> Option<Position> {
        let mut at = HEADER_BYTES;
        for _ in 0..steps {
            at = entry::skip(self.bytes, at)?;
        }
        self.valid(at)
    }

    fn step_back(&self, steps: u64) -> Option<Position> {
        let mut at = self.last()?;
        for _ in 0..steps {
            at = self.previous(at)?;
        }
        Some(at)
    }

    fn validate_entries(&self) -> Result<(), Corrupt> {
        let end = self.bytes.len() - 1;
        let (mut at, mut count) = (HEADER_BYTES, 0usize);
        while at != end {
            if self.bytes[at] == END {
                return Err(Corrupt("listpack ends before its last byte"));
            }
            let Some(next) = entry::skip(self.bytes, at) else {
                return Err(Corrupt("listpack entry unknown or cut off"));
            };
            let inner = entry::read_backlen(self.bytes, HEADER_BYTES, next);
            if inner.is_none_or(|inner| inner + entry::backlen_size(inner) != next - at) {
                return Err(Corrupt("listpack entry with a wrong backlen"));
            }
            at = next;
            count += 1;
        }
        match self.header_count() {
            COUNT_UNKNOWN => Ok(()),
            known if usize::from(known) == count => Ok(()),
            _ => Err(Corrupt("listpack count disagrees with its entries")),
        }
    }
}

/// The elements of a listpack, from either end.
#[derive(Clone)]
pub struct Iter<'a> {
    view: ListpackView<'a>,
    front: Option<Position>,
    back: Option<Position>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let at = self.front.filter(|front| Some(*front) <= self.back)?;
        let (element, next) = self.view.element_and_next(at)?;
        self.front = next;
        Some(element)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let at = self.back.filter(|back| self.front.is_some_and(|front| front <= *back))?;
        self.back = self.view.previous(at);
        self.view.element(at)
    }
}

impl FusedIterator for Iter<'_> {}
