//! The entry: key, value, expiry and access bits in one block of the data region.
//!
//! ```text
//!  byte 0        1       2..5            5           6        7
//!  ┌────────────┬───────┬───────────────┬───────────┬────────┬──────────┐
//!  │ type│repr  │ flags │ access clock  │ table tag │ keylen │ vallen   │  header, 8 bytes
//!  ├────────────┴───────┴───────────────┴───────────┴────────┴──────────┤
//!  │ expiry, Unix ms, i64                     (only with HAS_EXPIRY)    │
//!  │ key length, u64                          (only with WIDE_KEY)      │
//!  │ integer, or thin pointer to the value    (not when embedded)       │
//!  ├─────────────────────────────┬──────────────────────────────────────┤
//!  │ key bytes                   │ value bytes (embedded)               │
//!  └─────────────────────────────┴──────────────────────────────────────┘
//! ```
//! A 16-byte key with a 32-byte value takes 56 bytes, 64 with a TTL, 32 with an integer.
//! Redis 7.0 needs four blocks for the TTL case. The price: a new or dropped expiry and a value
//! that changes its size class move the entry to another block (one copy of a small block).
//!
//! The access clock holds Redis's 24 bits: LRU seconds, or LFU minutes (16) and counter (8).
//! The table tag names the table the entry belongs to, so that a snapshot child can walk the data
//! region in address order (see `persist::child`).
#![allow(unsafe_code)]

use crate::sys::data_alloc::{self, Cursor, DataBytes, Kind, Mover};
use crate::value::parts::{self, Parts};
use crate::value::string::{EMBEDDED_MAX_BYTES, StrRef, integer_encoding};
use crate::value::{Collection, Value, ValueRef, ValueType};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

const HEADER_BYTES: usize = 8;
const WORD_BYTES: usize = 8;
const HAS_EXPIRY: u8 = 1;
const WIDE_KEY: u8 = 2;
/// The short string was modified in place: Redis would show the encoding `raw`.
const RAW_STRING: u8 = 4;

const REPR_INT: u8 = 0;
const REPR_EMBEDDED: u8 = 1;
/// From here on: a thin pointer to a value whose encoding number is the rest.
const REPR_POINTER: u8 = 2;

const _: () = assert!(REPR_POINTER + parts::ENCODINGS_MAX <= 16);

/// Mask of the access clock's bits.
pub const ACCESS_MAX: u32 = (1 << 24) - 1;

/// The table's handle of an entry. It is the owner's job (`db`) to free it exactly once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryHandle(NonNull<u8>);

// SAFETY: a handle is an address; whoever turns it into a view proves that the entry lives.
unsafe impl Send for EntryHandle {}

/// What to store in an entry.
pub enum NewValue<'a> {
    /// As `SET` encodes it: canonical digits become an integer.
    Encoded(&'a [u8]),
    Int(i64),
    /// Bytes kept as they are; `raw` marks a result of a modification.
    Bytes {
        bytes: &'a [u8],
        raw: bool,
    },
    Owned(Value),
}

/// A value ready to be placed: representation and what fills it.
enum Placed<'a> {
    Int(i64),
    Embedded { bytes: &'a [u8], raw: bool },
    Pointer { kind: ValueType, parts: Parts },
}

/// The facts that fix a block's layout.
#[derive(Clone, Copy)]
struct Shape {
    repr: u8,
    flags: u8,
    key_len: usize,
    value_len: usize,
}

impl Shape {
    #[inline]
    fn expiry_offset(&self) -> usize {
        HEADER_BYTES
    }

    #[inline]
    fn wide_offset(&self) -> usize {
        HEADER_BYTES + if self.flags & HAS_EXPIRY != 0 { WORD_BYTES } else { 0 }
    }

    #[inline]
    fn word_offset(&self) -> usize {
        self.wide_offset() + if self.flags & WIDE_KEY != 0 { WORD_BYTES } else { 0 }
    }

    #[inline]
    fn key_offset(&self) -> usize {
        self.word_offset() + if self.repr == REPR_EMBEDDED { 0 } else { WORD_BYTES }
    }

    #[inline]
    fn total_bytes(&self) -> usize {
        self.key_offset() + self.key_len + self.value_len
    }
}

impl EntryHandle {
    pub fn to_word(self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// # Safety
    /// `word` came from [`EntryHandle::to_word`] of an entry that still lives.
    #[inline]
    pub unsafe fn from_word(word: u64) -> Self {
        // SAFETY: by the contract the word is the address of a live block, so not null.
        EntryHandle(unsafe { NonNull::new_unchecked(word as *mut u8) })
    }

    /// The handle of a live block found by walking the data region.
    ///
    /// # Safety
    /// `block` is a live [`Kind::Entry`] block that this module has initialised.
    pub unsafe fn from_block(block: NonNull<u8>) -> Self {
        EntryHandle(block)
    }

    /// Looks at the entry.
    ///
    /// # Safety
    /// The entry lives and is not changed through `'a`.
    #[inline]
    pub unsafe fn view<'a>(self) -> EntryView<'a> {
        EntryView { block: self.0, lifetime: PhantomData }
    }

    /// Builds an entry.
    pub fn create(
        key: &[u8],
        value: NewValue<'_>,
        expiry_ms: Option<i64>,
        tag: u8,
        access: u32,
    ) -> EntryHandle {
        let placed = place(value);
        let shape = shape_of(&placed, key.len(), expiry_ms.is_some());
        let block = data_alloc::alloc(Kind::Entry, shape.total_bytes());
        // SAFETY: the block is fresh and has the shape's size.
        unsafe {
            write_header(block, &placed, &shape, tag, access);
            if let Some(expiry) = expiry_ms {
                write_word(block, shape.expiry_offset(), expiry as u64);
            }
            block.add(shape.key_offset()).copy_from_nonoverlapping(NonNull::from(key).cast(), key.len());
            write_value(block, &placed, &shape);
        }
        EntryHandle(block)
    }

    /// Frees the block and the value.
    ///
    /// # Safety
    /// The entry lives, this is its only owner, and no view of it is used afterwards.
    pub unsafe fn free(self) {
        // SAFETY: by the contract the value and the block are owned here.
        unsafe {
            drop(self.take_pointer());
            self.free_block();
        }
    }

    /// Frees the block and hands the value out.
    ///
    /// # Safety
    /// As [`EntryHandle::free`].
    pub unsafe fn into_value(self) -> Value {
        // SAFETY: the entry is owned; the view ends before the block is freed.
        unsafe {
            let value = match self.take_pointer() {
                Some(value) => value,
                None => self.view().value().to_value(),
            };
            self.free_block();
            value
        }
    }

    /// Whether freeing this entry frees more than its own block.
    ///
    /// # Safety
    /// The entry lives.
    pub unsafe fn has_pointer(self) -> bool {
        // SAFETY: by the contract.
        unsafe { self.shape() }.repr >= REPR_POINTER
    }

    /// The value behind the pointer, if this entry has one. The word in the block is then stale.
    ///
    /// # Safety
    /// The entry lives, the caller owns it, and takes the value once.
    unsafe fn take_pointer(self) -> Option<Value> {
        // SAFETY: the caller owns the entry and gives the pointer up.
        unsafe {
            let shape = self.shape();
            if shape.repr < REPR_POINTER {
                return None;
            }
            Some(parts::value_of(self.view().value_type(), self.read_parts(&shape)))
        }
    }

    /// Encoding number and pointer of an out-of-line value.
    ///
    /// # Safety
    /// The entry lives and has a pointer; `shape` is its shape.
    #[inline]
    unsafe fn read_parts(self, shape: &Shape) -> Parts {
        debug_assert!(shape.repr >= REPR_POINTER);
        // SAFETY: the representation says that the word is a value's thin pointer, never null.
        let raw = unsafe { NonNull::new_unchecked(read_word(self.0, shape.word_offset()) as *mut u8) };
        (shape.repr - REPR_POINTER, raw)
    }

    /// Takes a collection out of its entry, to be changed and put back by
    /// [`EntryHandle::put_collection`]. `None` for a value of another type.
    ///
    /// # Safety
    /// The entry lives and the caller alone uses it until the value is back.
    #[inline]
    pub unsafe fn take_collection<T: Collection>(self) -> Option<T> {
        // SAFETY: by the contract; a collection is always out of line.
        unsafe {
            let shape = self.shape();
            if self.view().value_type() != T::TYPE {
                return None;
            }
            Some(T::from_parts(self.read_parts(&shape)))
        }
    }

    /// Puts a collection back that was taken out of this entry.
    ///
    /// # Safety
    /// As [`EntryHandle::take_collection`], which has emptied the entry.
    #[inline]
    pub unsafe fn put_collection<T: Collection>(self, value: T) {
        let (encoding, raw) = value.into_parts();
        // SAFETY: the entry has a value word, because its type is T's.
        unsafe {
            let shape = self.shape();
            self.0.write(T::TYPE as u8 | (REPR_POINTER + encoding) << 4);
            write_word(self.0, shape.word_offset(), raw.as_ptr() as u64);
        }
    }

    /// # Safety
    /// The caller owns the block; its value has been taken or has no pointer.
    unsafe fn free_block(self) {
        // SAFETY: the caller owns the block; its size follows from its shape.
        unsafe { data_alloc::free(self.0, self.shape().total_bytes()) };
    }

    /// # Safety
    /// The entry lives.
    #[inline]
    unsafe fn shape(self) -> Shape {
        // SAFETY: the caller has shown that the entry lives.
        unsafe { self.view().shape() }
    }

    /// Stores a long string in the block of the long string that was there, when it has the same size
    /// class and nothing else changes. Neither the entry nor its table is written then, so that beside
    /// a child one page is copied and not three, and values stay in the order of their keys. Says
    /// whether it did.
    ///
    /// # Safety
    /// The entry lives and the caller alone uses it.
    pub unsafe fn overwrite_string(self, value: &NewValue<'_>, expiry: Option<i64>) -> bool {
        let (NewValue::Encoded(bytes) | NewValue::Bytes { bytes, .. }) = value else { return false };
        if bytes.len() <= EMBEDDED_MAX_BYTES {
            return false;
        }
        // SAFETY: the entry lives (contract); the word is a string's, and taking it as an owner for a
        // moment ends with giving it up again, at the same address.
        unsafe {
            let (view, shape) = (self.view(), self.shape());
            if shape.repr != REPR_POINTER
                || view.value_type() != ValueType::String
                || view.expiry_ms() != expiry
            {
                return false;
            }
            let raw = self.read_parts(&shape).1;
            let (old, new) = (DataBytes::slice_of_raw(raw).as_ptr_range(), bytes.as_ptr_range());
            if new.start < old.end && old.start < new.end {
                return false;
            }
            let mut string = DataBytes::from_raw(raw);
            let is_stored = string.replace_in_place(bytes);
            let same = string.into_raw();
            debug_assert_eq!(same, raw, "the block stays");
            is_stored
        }
    }

    /// Stores another value, and another expiry when `expiry` says so, moving the entry to a new
    /// block where it must. Returns the entry's handle from now on, and the old value's pointer
    /// part when it had one (big values are freed elsewhere).
    ///
    /// # Safety
    /// The entry lives, the caller owns it and replaces its handle by the one returned.
    pub unsafe fn overwrite(self, value: NewValue<'_>, expiry: Option<i64>) -> (EntryHandle, Option<Value>) {
        // SAFETY: the entry is owned by the caller through the whole function.
        unsafe {
            let view = self.view();
            let old = view.shape();
            let placed = place(value);
            let new = shape_of(&placed, old.key_len, expiry.is_some());
            let same_layout = (old.flags & HAS_EXPIRY) == (new.flags & HAS_EXPIRY)
                && (old.repr == REPR_EMBEDDED) == (new.repr == REPR_EMBEDDED)
                && same_class(old.total_bytes(), new.total_bytes());
            if !same_layout {
                return self.move_to(&placed, new, expiry);
            }
            let dropped = self.take_pointer();
            let (tag, access) = (view.table_tag(), view.access());
            write_header(self.0, &placed, &new, tag, access);
            if let Some(expiry) = expiry {
                write_word(self.0, new.expiry_offset(), expiry as u64);
            }
            write_value(self.0, &placed, &new);
            (self, dropped)
        }
    }

    /// Builds the overwritten entry in another block.
    ///
    /// # Safety
    /// As [`EntryHandle::overwrite`].
    unsafe fn move_to(
        self,
        placed: &Placed<'_>,
        new: Shape,
        expiry: Option<i64>,
    ) -> (EntryHandle, Option<Value>) {
        // SAFETY: the entry is owned by the caller; the new block is fresh and of the shape's size.
        unsafe {
            let view = self.view();
            let block = data_alloc::alloc(Kind::Entry, new.total_bytes());
            write_header(block, placed, &new, view.table_tag(), view.access());
            if let Some(expiry) = expiry {
                write_word(block, new.expiry_offset(), expiry as u64);
            }
            let key = view.key();
            block.add(new.key_offset()).copy_from_nonoverlapping(NonNull::from(key).cast(), key.len());
            write_value(block, placed, &new);
            let dropped = self.take_pointer();
            self.free_block();
            (EntryHandle(block), dropped)
        }
    }

    /// Overwrites the integer of an entry that holds one; false when it holds anything else.
    ///
    /// # Safety
    /// The entry lives and the caller owns it.
    #[inline]
    pub unsafe fn set_integer(self, value: i64) -> bool {
        // SAFETY: by the contract; the representation says that the word is there.
        unsafe {
            let shape = self.shape();
            if shape.repr != REPR_INT {
                return false;
            }
            write_word(self.0, shape.word_offset(), value as u64);
            true
        }
    }

    /// Sets or clears the expiry; the value stays. Returns the handle from now on.
    ///
    /// # Safety
    /// As [`EntryHandle::overwrite`].
    pub unsafe fn set_expiry(self, expiry: Option<i64>) -> EntryHandle {
        // SAFETY: the entry is owned by the caller; when it moves, the value's word moves with it.
        unsafe {
            let view = self.view();
            let shape = view.shape();
            if let (true, Some(expiry)) = (shape.flags & HAS_EXPIRY != 0, expiry) {
                write_word(self.0, shape.expiry_offset(), expiry as u64);
                return self;
            }
            if view.expiry_ms().is_none() && expiry.is_none() {
                return self;
            }
            let key = view.key();
            self.rebuild(key, expiry)
        }
    }

    /// Gives the entry another key (and keeps value and expiry). Returns the new handle.
    ///
    /// # Safety
    /// As [`EntryHandle::overwrite`]; `key` must not lie in this entry unless it is its own key.
    pub unsafe fn rename(self, key: &[u8]) -> EntryHandle {
        // SAFETY: by the contract.
        unsafe {
            let expiry = self.view().expiry_ms();
            self.rebuild(key, expiry)
        }
    }

    /// A new block with this entry's value; the old block is freed, the value is moved.
    ///
    /// # Safety
    /// As [`EntryHandle::overwrite`].
    unsafe fn rebuild(self, key: &[u8], expiry: Option<i64>) -> EntryHandle {
        // SAFETY: the value's word or bytes are copied before the old block is freed.
        unsafe {
            let view = self.view();
            let shape = view.shape();
            let placed = match shape.repr {
                REPR_INT => Placed::Int(read_word(self.0, shape.word_offset()) as i64),
                REPR_EMBEDDED => {
                    Placed::Embedded { bytes: view.embedded(&shape), raw: shape.flags & RAW_STRING != 0 }
                }
                _ => Placed::Pointer { kind: view.value_type(), parts: self.read_parts(&shape) },
            };
            let new = shape_of(&placed, key.len(), expiry.is_some());
            let block = data_alloc::alloc(Kind::Entry, new.total_bytes());
            write_header(block, &placed, &new, view.table_tag(), view.access());
            if let Some(expiry) = expiry {
                write_word(block, new.expiry_offset(), expiry as u64);
            }
            block.add(new.key_offset()).copy_from_nonoverlapping(NonNull::from(key).cast(), key.len());
            write_value(block, &placed, &new);
            self.free_block();
            EntryHandle(block)
        }
    }

    /// Moves the block out of a slab that is to be emptied; the value behind it stays.
    ///
    /// # Safety
    /// As [`EntryHandle::overwrite`].
    pub unsafe fn relocate(self, mover: &mut Mover) -> Option<EntryHandle> {
        // SAFETY: the block is owned by the caller; its size follows from its shape.
        unsafe { mover.relocate(self.0, self.shape().total_bytes()) }.map(EntryHandle)
    }

    /// One step of the value behind the block; see [`Value::relocate`]. `None`: all of it was seen.
    ///
    /// # Safety
    /// The entry lives and the caller alone uses it.
    pub unsafe fn relocate_value(self, cursor: Cursor, mover: &mut Mover) -> Option<Cursor> {
        // SAFETY: by the contract; the value keeps type and encoding, only its address may be another.
        unsafe {
            let shape = self.shape();
            let mut value = self.take_pointer()?;
            let next = value.relocate(cursor, mover);
            let Ok((_, (encoding, raw))) = parts::parts_of(value) else {
                unreachable!("an integer is not behind a pointer")
            };
            debug_assert_eq!(encoding, shape.repr - REPR_POINTER);
            write_word(self.0, shape.word_offset(), raw.as_ptr() as u64);
            next
        }
    }

    /// # Safety
    /// The entry lives and the caller may change it.
    pub unsafe fn set_access(self, access: u32) {
        let bytes = access.to_le_bytes();
        // SAFETY: the three bytes lie in the header.
        unsafe { self.0.add(2).copy_from_nonoverlapping(NonNull::from(&bytes).cast(), 3) };
    }

    /// # Safety
    /// As [`EntryHandle::set_access`].
    pub unsafe fn set_table_tag(self, tag: u8) {
        // SAFETY: the byte lies in the header.
        unsafe { self.0.add(5).write(tag) };
    }

    /// The large string behind this entry, to be changed in place.
    ///
    /// # Safety
    /// The entry lives, holds a string, and the caller alone uses it while `change` runs.
    pub unsafe fn with_large_string<R>(self, change: impl FnOnce(&mut DataBytes) -> R) -> Option<R> {
        // SAFETY: the word is taken out, changed and put back before anyone else can look.
        unsafe {
            let shape = self.shape();
            if shape.repr < REPR_POINTER || self.view().value_type() != ValueType::String {
                return None;
            }
            let word = read_word(self.0, shape.word_offset());
            let mut string = DataBytes::from_raw(NonNull::new_unchecked(word as *mut u8));
            let result = change(&mut string);
            write_word(self.0, shape.word_offset(), string.into_raw().as_ptr() as u64);
            Some(result)
        }
    }
}

/// A look at a living entry.
#[derive(Clone, Copy)]
pub struct EntryView<'a> {
    block: NonNull<u8>,
    lifetime: PhantomData<&'a u8>,
}

impl<'a> EntryView<'a> {
    #[inline]
    fn byte(&self, offset: usize) -> u8 {
        // SAFETY: offsets below 8 lie in the header of a live entry.
        unsafe { self.block.add(offset).read() }
    }

    #[inline]
    fn shape(&self) -> Shape {
        let flags = self.byte(1);
        let mut shape =
            Shape { repr: self.byte(0) >> 4, flags, key_len: self.byte(6) as usize, value_len: 0 };
        if flags & WIDE_KEY != 0 {
            // SAFETY: WIDE_KEY says that the word is there.
            shape.key_len = unsafe { read_word(self.block, shape.wide_offset()) } as usize;
        }
        if shape.repr == REPR_EMBEDDED {
            shape.value_len = self.byte(7) as usize;
        }
        shape
    }

    #[inline]
    pub fn key(&self) -> &'a [u8] {
        let shape = self.shape();
        // SAFETY: the key's bytes follow the words of a live entry, unchanged through 'a.
        unsafe { slice::from_raw_parts(self.block.as_ptr().add(shape.key_offset()), shape.key_len) }
    }

    #[inline]
    fn embedded(&self, shape: &Shape) -> &'a [u8] {
        // SAFETY: an embedded value follows the key in the same block.
        unsafe {
            slice::from_raw_parts(
                self.block.as_ptr().add(shape.key_offset() + shape.key_len),
                shape.value_len,
            )
        }
    }

    pub fn value_type(&self) -> ValueType {
        match self.byte(0) & 0x0f {
            0 => ValueType::String,
            1 => ValueType::List,
            2 => ValueType::Set,
            3 => ValueType::Zset,
            4 => ValueType::Hash,
            _ => ValueType::Stream,
        }
    }

    /// Where the value begins, if it lies outside of the entry.
    #[inline]
    pub fn value_address(&self) -> Option<NonNull<u8>> {
        let shape = self.shape();
        if matches!(shape.repr, REPR_INT | REPR_EMBEDDED) {
            return None;
        }
        // SAFETY: the other representations have a word, the value's thin pointer.
        Some(unsafe { EntryHandle(self.block).read_parts(&shape) }.1)
    }

    #[inline]
    pub fn value(&self) -> ValueRef<'a> {
        let shape = self.shape();
        match shape.repr {
            REPR_INT => {
                // SAFETY: the representation says that the word is there.
                let word = unsafe { read_word(self.block, shape.word_offset()) };
                ValueRef::String(StrRef::Int(word as i64))
            }
            REPR_EMBEDDED => {
                let raw = shape.flags & RAW_STRING != 0;
                ValueRef::String(StrRef::Short { bytes: self.embedded(&shape), raw })
            }
            _ => {
                // SAFETY: the word is the value's thin pointer; the value lives as long as its entry.
                unsafe {
                    let parts = EntryHandle(self.block).read_parts(&shape);
                    parts::ref_of(self.value_type(), parts)
                }
            }
        }
    }

    #[inline]
    pub fn expiry_ms(&self) -> Option<i64> {
        if self.byte(1) & HAS_EXPIRY == 0 {
            return None;
        }
        // SAFETY: HAS_EXPIRY says that the word is there.
        Some(unsafe { read_word(self.block, HEADER_BYTES) } as i64)
    }

    pub fn access(&self) -> u32 {
        u32::from_le_bytes([self.byte(2), self.byte(3), self.byte(4), 0])
    }

    pub fn table_tag(&self) -> u8 {
        self.byte(5)
    }

    /// Bytes of the entry's block and of the value behind it, by size class.
    pub fn memory_bytes(&self) -> usize {
        let shape = self.shape();
        let block = data_alloc::usable_size(shape.total_bytes());
        block + self.value().out_of_line_bytes()
    }
}

/// Whether two block sizes fall into one size class of the allocator.
#[inline]
fn same_class(left: usize, right: usize) -> bool {
    left == right || data_alloc::usable_size(left) == data_alloc::usable_size(right)
}

fn place(value: NewValue<'_>) -> Placed<'_> {
    match value {
        NewValue::Int(number) => Placed::Int(number),
        NewValue::Encoded(bytes) => match integer_encoding(bytes) {
            Some(number) => Placed::Int(number),
            None => place_bytes(bytes, false),
        },
        NewValue::Bytes { bytes, raw } => place_bytes(bytes, raw),
        NewValue::Owned(value) => match parts::parts_of(value) {
            Ok((kind, parts)) => Placed::Pointer { kind, parts },
            Err(number) => Placed::Int(number),
        },
    }
}

fn place_bytes(bytes: &[u8], raw: bool) -> Placed<'_> {
    if bytes.len() <= EMBEDDED_MAX_BYTES {
        return Placed::Embedded { bytes, raw };
    }
    Placed::Pointer { kind: ValueType::String, parts: (0, DataBytes::from_slice(bytes).into_raw()) }
}

fn shape_of(placed: &Placed<'_>, key_len: usize, has_expiry: bool) -> Shape {
    let mut flags = if has_expiry { HAS_EXPIRY } else { 0 };
    if key_len > u8::MAX as usize {
        flags |= WIDE_KEY;
    }
    let (repr, value_len) = match placed {
        Placed::Int(_) => (REPR_INT, 0),
        Placed::Embedded { bytes, raw } => {
            if *raw {
                flags |= RAW_STRING;
            }
            (REPR_EMBEDDED, bytes.len())
        }
        Placed::Pointer { parts: (encoding, _), .. } => (REPR_POINTER + encoding, 0),
    };
    Shape { repr, flags, key_len, value_len }
}

/// # Safety
/// `block` has room for the shape.
unsafe fn write_header(block: NonNull<u8>, placed: &Placed<'_>, shape: &Shape, tag: u8, access: u32) {
    let kind = match placed {
        Placed::Pointer { kind, .. } => *kind as u8,
        _ => ValueType::String as u8,
    };
    let clock = access.to_le_bytes();
    let key_len = if shape.flags & WIDE_KEY != 0 { 0 } else { shape.key_len as u8 };
    let header = [
        kind | shape.repr << 4,
        shape.flags,
        clock[0],
        clock[1],
        clock[2],
        tag,
        key_len,
        shape.value_len as u8,
    ];
    // SAFETY: by the contract the first eight bytes, and the wide key length if flagged, are there.
    unsafe {
        block.cast::<[u8; HEADER_BYTES]>().write(header);
        if shape.flags & WIDE_KEY != 0 {
            write_word(block, shape.wide_offset(), shape.key_len as u64);
        }
    }
}

/// # Safety
/// `block` has room for the shape, which was made for `placed`.
unsafe fn write_value(block: NonNull<u8>, placed: &Placed<'_>, shape: &Shape) {
    // SAFETY: by the contract; an embedded source never overlaps: it comes from a request, or from
    // an old block that is not the one written.
    unsafe {
        match placed {
            Placed::Int(number) => write_word(block, shape.word_offset(), *number as u64),
            Placed::Pointer { parts: (_, raw), .. } => {
                write_word(block, shape.word_offset(), raw.as_ptr() as u64);
            }
            Placed::Embedded { bytes, .. } => block
                .add(shape.key_offset() + shape.key_len)
                .copy_from_nonoverlapping(NonNull::from(*bytes).cast(), bytes.len()),
        }
    }
}

/// # Safety
/// A whole word lies at `offset` of the block, 8-aligned.
#[inline]
unsafe fn read_word(block: NonNull<u8>, offset: usize) -> u64 {
    // SAFETY: the caller has shown that the word lies in the block; words are 8-aligned.
    unsafe { block.add(offset).cast::<u64>().read() }
}

/// # Safety
/// A whole word lies at `offset` of the block, 8-aligned, and the caller may write it.
#[inline]
unsafe fn write_word(block: NonNull<u8>, offset: usize, word: u64) {
    // SAFETY: as in `read_word`.
    unsafe { block.add(offset).cast::<u64>().write(word) };
}
