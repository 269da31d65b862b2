//! One node of a quicklist: a listpack or one huge element, as it is or compressed.
//!
//! Owns the bytes and the count of elements in them.
//!
//! ```text
//!   packed:  listpack of `count` elements        -> 24 bytes and the block
//!   gapped:  the same with room before it, while elements come or go at its front (`listpack::gap`)
//!   plain:   the bytes of one element
//!   either compressed: LZF of those bytes, with their length before
//! ```

use crate::base::lzf;
use crate::ds::bytes::DataBytes;
use crate::ds::corrupt::Corrupt;
use crate::ds::element::{Element, Picked};
use crate::ds::listpack::{Listpack, ListpackView, Position, TooLarge, gap};
use crate::sys::data_alloc::{Mover, Relocate};
use std::borrow::Cow;

/// Smaller nodes are not worth compressing, bytes.
const MIN_COMPRESS_BYTES: usize = 48;
/// A compressed node must save more than this, bytes.
const MIN_COMPRESS_SAVING_BYTES: usize = 8;
/// Smaller listpacks are moved as a whole at each change of their front, bytes.
const MIN_GAPPED_BYTES: usize = 192;
/// Why reading a compressed node cannot fail.
const OWN_OUTPUT: &str = "the codec reads back what it wrote";

/// The compression of the nodes away from the ends, plugged in from the floor below.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// Compresses into at most the given number of bytes, or gives up.
    pub compress: fn(&[u8], usize) -> Option<Vec<u8>>,
    /// Restores the given number of bytes; must succeed on the output of `compress`.
    pub decompress: fn(&[u8], usize) -> Option<Vec<u8>>,
}

impl Codec {
    /// Compresses nothing.
    pub const NONE: Self = Self { compress: |_, _| None, decompress: |_, _| None };
    /// LZF, as Redis does: an RDB takes a compressed node as it is.
    pub const LZF: Self = Self { compress: compress_lzf, decompress: decompress_lzf };
}

/// With a table of its own (256 KiB, freed at once): nodes are compressed one by one, far apart.
fn compress_lzf(raw: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    lzf::Compressor::new().compress(raw, &mut out, most).then_some(out)
}

fn decompress_lzf(bytes: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    lzf::decompress(bytes, raw_len).ok()
}

/// How a node keeps its elements; the numbers are those of the RDB format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// The bytes of a single element.
    Plain = 1,
    /// A listpack.
    Packed = 2,
}

#[derive(Clone, Debug)]
enum Body {
    Packed(Listpack),
    /// The block and the length of its gap.
    Gapped(DataBytes, u32),
    Plain(DataBytes),
    PackedCompressed(DataBytes),
    PlainCompressed(DataBytes),
}

/// A node; never empty while it is in a list.
#[derive(Clone, Debug)]
pub(super) struct Node {
    body: Body,
    count: u32,
    /// Length before compression, bytes; only of a compressed node.
    raw_len: u32,
}

/// Before or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Towards the head.
    Before,
    /// Towards the tail.
    After,
}

impl Relocate for Node {
    fn relocate(&mut self, mover: &mut Mover) {
        match &mut self.body {
            Body::Packed(listpack) => listpack.relocate(mover),
            Body::Gapped(bytes, _)
            | Body::Plain(bytes)
            | Body::PackedCompressed(bytes)
            | Body::PlainCompressed(bytes) => bytes.relocate(mover),
        }
    }
}

impl Node {
    pub(super) fn packed(listpack: Listpack) -> Self {
        let count = listpack.len() as u32; // An entry takes two bytes of at most 2^32.
        Self { body: Body::Packed(listpack), count, raw_len: 0 }
    }

    pub(super) fn plain(bytes: &[u8]) -> Self {
        Self { body: Body::Plain(DataBytes::copy_of(bytes)), count: 1, raw_len: 0 }
    }

    /// A node of its own for `element`.
    pub(super) fn of(element: Element<'_>, large: bool) -> Self {
        let mut listpack = Listpack::new();
        if large || listpack.push_back(element).is_err() {
            return Self::plain(&element.to_vec());
        }
        Self { body: Body::Packed(listpack), count: 1, raw_len: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    pub(super) fn container(&self) -> Container {
        match self.body {
            Body::Packed(_) | Body::Gapped(..) | Body::PackedCompressed(_) => Container::Packed,
            Body::Plain(_) | Body::PlainCompressed(_) => Container::Plain,
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        self.container() == Container::Plain
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.body, Body::PackedCompressed(_) | Body::PlainCompressed(_))
    }

    /// The bytes as they lie in memory.
    pub(super) fn stored(&self) -> &[u8] {
        match &self.body {
            Body::Packed(listpack) => listpack.as_bytes(),
            Body::Gapped(bytes, gap) => gap::view(bytes, *gap).as_bytes(),
            Body::Plain(bytes) | Body::PackedCompressed(bytes) | Body::PlainCompressed(bytes) => {
                bytes.as_slice()
            }
        }
    }

    /// Length before compression, bytes.
    pub(super) fn raw_len(&self) -> usize {
        if self.is_compressed() { self.raw_len as usize } else { self.stored().len() }
    }

    /// Bytes held from the allocator besides the node itself.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.body {
            Body::Packed(listpack) => listpack.memory_bytes(),
            Body::Gapped(bytes, _)
            | Body::Plain(bytes)
            | Body::PackedCompressed(bytes)
            | Body::PlainCompressed(bytes) => bytes.memory_bytes(),
        }
    }

    /// The bytes before compression.
    pub(super) fn raw(&self, codec: &Codec) -> Cow<'_, [u8]> {
        if self.is_compressed() {
            Cow::Owned((codec.decompress)(self.stored(), self.raw_len()).expect(OWN_OUTPUT))
        } else {
            Cow::Borrowed(self.stored())
        }
    }

    /// The element at `offset`, which is below the count.
    pub(super) fn get(&self, offset: usize, codec: &Codec) -> Option<Picked<'_>> {
        let plain = self.is_plain();
        match self.raw(codec) {
            Cow::Borrowed(raw) if plain => Some(Element::Bytes(raw).into()),
            Cow::Borrowed(raw) => ListpackView::over(raw).get(offset as i64).map(Picked::from),
            Cow::Owned(raw) if plain => Some(Picked::Bytes(Cow::Owned(raw))),
            Cow::Owned(raw) => ListpackView::over(&raw).get(offset as i64).map(|element| element.to_picked()),
        }
    }

    /// Compresses, unless too small or not worth it.
    pub(super) fn compress(&mut self, codec: &Codec) {
        let raw = self.stored();
        let raw_len = raw.len();
        let Ok(short_len) = u32::try_from(raw_len) else {
            return;
        };
        if self.is_compressed() || raw_len < MIN_COMPRESS_BYTES {
            return;
        }
        let most = raw_len - MIN_COMPRESS_SAVING_BYTES - 1;
        let Some(bytes) = (codec.compress)(raw, most).filter(|bytes| bytes.len() <= most) else {
            return;
        };
        // Copied, as the codec may have allocated for the worst case.
        let bytes = DataBytes::copy_of(&bytes);
        self.raw_len = short_len;
        self.body = match self.container() {
            Container::Packed => Body::PackedCompressed(bytes),
            Container::Plain => Body::PlainCompressed(bytes),
        };
    }

    /// Undoes `compress`.
    pub(super) fn decompress(&mut self, codec: &Codec) {
        if !self.is_compressed() {
            return;
        }
        let raw = (codec.decompress)(self.stored(), self.raw_len()).expect(OWN_OUTPUT);
        self.raw_len = 0;
        self.body = match self.container() {
            Container::Packed => Body::Packed(Listpack::from_bytes(&raw, false).expect(OWN_OUTPUT)),
            Container::Plain => Body::Plain(DataBytes::copy_of(&raw)),
        };
    }

    /// The listpack of an uncompressed packed node.
    pub(super) fn listpack(&self) -> Option<ListpackView<'_>> {
        match &self.body {
            Body::Packed(listpack) => Some(listpack.view()),
            Body::Gapped(bytes, gap) => Some(gap::view(bytes, *gap)),
            _ => None,
        }
    }

    pub(super) fn into_listpack(mut self) -> Option<Listpack> {
        self.close_gap();
        if let Body::Packed(listpack) = self.body { Some(listpack) } else { None }
    }

    fn close_gap(&mut self) {
        if let Body::Gapped(bytes, gap) = &mut self.body {
            self.body = Body::Packed(gap::close(std::mem::take(bytes), *gap));
        }
    }

    /// Before a change at the front: a listpack that is not small gets its gap.
    #[inline]
    fn open_gap(&mut self) {
        if let Body::Packed(listpack) = &mut self.body
            && listpack.byte_len() >= MIN_GAPPED_BYTES
        {
            self.body = Body::Gapped(gap::open(std::mem::take(listpack)), 0);
        }
    }

    /// Before a change inside: neither compressed nor gapped.
    fn make_editable(&mut self, codec: &Codec) {
        self.decompress(codec);
        self.close_gap();
    }

    /// Runs `edit` on the listpack (decompressing it first) and adds `added` to the count when it
    /// succeeds. A plain node is too large for every such edit.
    fn grow(
        &mut self,
        codec: &Codec,
        added: u32,
        edit: impl FnOnce(&mut Listpack) -> Result<(), TooLarge>,
    ) -> Result<(), TooLarge> {
        self.make_editable(codec);
        let Body::Packed(listpack) = &mut self.body else {
            return Err(TooLarge);
        };
        edit(listpack)?;
        self.count += added;
        Ok(())
    }

    /// Adds an element at the end that `side` names.
    #[inline]
    pub(super) fn push(&mut self, side: Side, element: Element<'_>, codec: &Codec) -> Result<(), TooLarge> {
        self.decompress(codec);
        if side == Side::Before {
            self.open_gap();
        }
        match (&mut self.body, side) {
            (Body::Packed(listpack), Side::Before) => listpack.push_front(element)?,
            (Body::Packed(listpack), Side::After) => listpack.push_back(element)?,
            (Body::Gapped(bytes, gap), Side::Before) => gap::push_front(bytes, gap, element)?,
            (Body::Gapped(bytes, gap), Side::After) => gap::push_back(bytes, *gap, element)?,
            _ => return Err(TooLarge),
        }
        self.count += 1;
        Ok(())
    }

    /// Inserts so that the element is at `offset`, at most the count.
    pub(super) fn insert(
        &mut self,
        offset: usize,
        element: Element<'_>,
        codec: &Codec,
    ) -> Result<(), TooLarge> {
        self.grow(codec, 1, |listpack| match listpack.seek(offset as i64) {
            Some(position) => listpack.insert_before(position, element),
            None => listpack.push_back(element),
        })
    }

    /// Replaces the element at `offset` inside the listpack.
    pub(super) fn replace(
        &mut self,
        offset: usize,
        element: Element<'_>,
        codec: &Codec,
    ) -> Result<(), TooLarge> {
        self.grow(codec, 0, |listpack| match listpack.seek(offset as i64) {
            Some(position) => listpack.replace(position, element),
            None => Ok(()),
        })
    }

    /// Removes up to `count` elements from `offset` on; removing all leaves the node empty.
    pub(super) fn delete_range(&mut self, offset: usize, count: usize, codec: &Codec) {
        self.make_editable(codec);
        match &mut self.body {
            Body::Packed(listpack) => {
                self.count -= listpack.delete_range(offset as i64, count) as u32;
            }
            _ => self.count = 0,
        }
    }

    /// Shows the first or last element to `take` and removes it.
    #[inline]
    pub(super) fn pop_with<R>(
        &mut self,
        side: Side,
        codec: &Codec,
        take: impl FnOnce(Element<'_>) -> R,
    ) -> Option<R> {
        self.decompress(codec);
        if side == Side::Before {
            self.open_gap();
        }
        match &mut self.body {
            Body::Gapped(bytes, gap) => {
                let taken = match side {
                    Side::Before => gap::pop_front(bytes, gap, take),
                    Side::After => gap::pop_back(bytes, *gap, take),
                }?;
                self.count -= 1;
                Some(taken)
            }
            Body::Packed(listpack) => {
                let view = listpack.view();
                let position = if side == Side::Before { view.first() } else { view.last() }?;
                let taken = take(view.element(position)?);
                listpack.delete(position);
                self.count -= 1;
                Some(taken)
            }
            Body::Plain(bytes) => {
                self.count = 0;
                Some(take(Element::Bytes(bytes.as_slice())))
            }
            _ => None,
        }
    }

    /// Removes up to `limit` elements that read as `needle`, the first or the last of them;
    /// returns how many.
    pub(super) fn remove_matching(
        &mut self,
        needle: &[u8],
        limit: usize,
        from: Side,
        codec: &Codec,
    ) -> usize {
        let raw = self.raw(codec);
        if self.is_plain() {
            let matches = *raw == *needle;
            drop(raw);
            self.count -= u32::from(matches);
            return usize::from(matches);
        }
        let view = ListpackView::over(&raw);
        if view.first().is_none_or(|first| view.find(first, needle, 0).is_none()) {
            return 0;
        }
        drop(raw);
        self.make_editable(codec);
        let Body::Packed(listpack) = &mut self.body else {
            return 0;
        };
        let removed = remove_from_listpack(listpack, needle, limit, from);
        self.count -= removed as u32;
        removed
    }

    /// Moves the elements from `offset` on into a node of their own; a packed node only.
    pub(super) fn split_off(&mut self, offset: usize, codec: &Codec) -> Option<Self> {
        self.make_editable(codec);
        let Body::Packed(listpack) = &mut self.body else {
            return None;
        };
        let moved = listpack.split_off(offset);
        let kept = (offset as u32).min(self.count);
        let count = self.count - kept;
        self.count = kept;
        Some(Self { body: Body::Packed(moved), count, raw_len: 0 })
    }

    /// Appends all elements of `other`.
    pub(super) fn append(&mut self, other: &Self, codec: &Codec) -> Result<(), TooLarge> {
        let raw = other.raw(codec);
        self.grow(codec, other.count, |listpack| listpack.append(ListpackView::over(&raw)))
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.close_gap();
        if let Body::Packed(listpack) = &mut self.body {
            listpack.shrink_to_fit();
        }
    }

    pub(super) fn check_invariants(&self, codec: &Codec) -> Result<(), Corrupt> {
        let raw = self.raw(codec);
        if raw.len() != self.raw_len() || self.count == 0 {
            return Err(Corrupt("quicklist node is empty or of a wrong length"));
        }
        if self.is_compressed() && self.stored().len() + MIN_COMPRESS_SAVING_BYTES >= raw.len() {
            return Err(Corrupt("quicklist node compressed for nothing"));
        }
        if self.is_plain() {
            return if self.count == 1 { Ok(()) } else { Err(Corrupt("plain node of many")) };
        }
        let view = ListpackView::from_bytes(&raw, true)?;
        if view.len() == self.count() { Ok(()) } else { Err(Corrupt("quicklist node miscounted")) }
    }
}

/// Removes up to `limit` elements of a listpack that read as `needle`, the first or the last of
/// them; returns how many. O(n) for the search and for each removal.
pub fn remove_from_listpack(listpack: &mut Listpack, needle: &[u8], limit: usize, from: Side) -> usize {
    let all = matches_in(listpack.view(), needle);
    let chosen = match from {
        Side::Before => &all[..limit.min(all.len())],
        Side::After => &all[all.len().saturating_sub(limit)..],
    };
    // Last first, so that the positions before stay right.
    for &position in chosen.iter().rev() {
        listpack.delete(position);
    }
    chosen.len()
}

/// The positions of all entries that read as `needle`.
fn matches_in(view: ListpackView<'_>, needle: &[u8]) -> Vec<Position> {
    let first = view.first().and_then(|first| view.find(first, needle, 0));
    let next = |&at: &Position| view.next(at).and_then(|from| view.find(from, needle, 0));
    std::iter::successors(first, next).collect()
}
